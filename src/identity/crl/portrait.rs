//! What a revocation list says that no login asks of, in words: its number, and of each certificate when and why.

use x509_parser::extensions::ParsedExtension;
use x509_parser::revocation_list::RevokedCertificate;
use x509_parser::x509::ReasonCode;

use super::{CRL_NUMBER, Crl, extensions};
use crate::identity::certificate::serial_hex;
use crate::identity::der::{Malformed, Reader, only, tag, whole};

/// A revocation list in words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CrlPortrait {
    /// Its number, in decimal as far as it has 64 bits, else in hexadecimal.
    pub number: Option<String>,
    /// The first certificates on it.
    pub first: Vec<Listed>,
}

/// A certificate that a list names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its serial number in lower-case hexadecimal.
    pub serial: String,
    /// When it was revoked, in seconds since 1970.
    pub time: i64,
    /// Why, in OpenSSL's words, where the list says so.
    pub reason: Option<&'static str>,
}

impl Crl {
    /// Reads what people ask about, of at most `most` certificates. It says nothing once the signed part was dropped.
    ///
    /// # Errors
    /// A part that is not what it should be. Says where it breaks.
    pub fn portrait(&self, most: usize) -> Result<CrlPortrait, &'static str> {
        self.read_portrait(most).map_err(|Malformed(what)| what)
    }

    fn read_portrait(&self, most: usize) -> Result<CrlPortrait, Malformed> {
        let mut portrait = CrlPortrait::default();
        if self.signed.message.is_empty() {
            return Ok(portrait);
        }
        let mut fields = only(&self.signed.message, tag::SEQUENCE, "it is not a SEQUENCE")?.inside();
        fields.optional(tag::INTEGER)?;
        for _ in 0..3 {
            fields.element()?;
        }
        if fields.optional(tag::UTC_TIME)?.is_none() {
            fields.optional(tag::GENERALIZED_TIME)?;
        }
        if let Some(entries) = fields.optional(tag::SEQUENCE)? {
            portrait.first = listed(entries.inside(), most)?;
        }
        if let Some(own) = fields.optional(tag::context_constructed(0))? {
            let own = extensions(own.content)?;
            let number = own.iter().find(|extension| extension.oid.as_bytes() == CRL_NUMBER);
            portrait.number = number
                .map(|extension| only(extension.value, tag::INTEGER, "its number is none"))
                .transpose()?
                .map(|number| words(number.content));
        }
        Ok(portrait)
    }
}

fn listed(mut entries: Reader<'_>, most: usize) -> Result<Vec<Listed>, Malformed> {
    let mut listed = Vec::new();
    while !entries.is_empty() && listed.len() < most {
        let entry: RevokedCertificate<'_> = whole(entries.element()?.encoded, "an entry cannot be read")?;
        let reason = entry.extensions().iter().find_map(|extension| {
            if let ParsedExtension::ReasonCode(reason) = *extension.parsed_extension() { reason_words(reason) } else { None }
        });
        listed.push(Listed { serial: serial_hex(entry.raw_serial()), time: entry.revocation_date.timestamp(), reason });
    }
    Ok(listed)
}

fn words(number: &[u8]) -> String {
    let magnitude: &[u8] = number.strip_prefix(&[0]).unwrap_or(number);
    if magnitude.len() > 8 {
        return serial_hex(number);
    }
    magnitude.iter().fold(0u64, |value, octet| (value << 8) | u64::from(*octet)).to_string()
}

/// OpenSSL's words for a reason (crypto/x509/v3_enum.c).
fn reason_words(reason: ReasonCode) -> Option<&'static str> {
    let words = [
        (ReasonCode::Unspecified, "unspecified"),
        (ReasonCode::KeyCompromise, "keyCompromise"),
        (ReasonCode::CACompromise, "CACompromise"),
        (ReasonCode::AffiliationChanged, "affiliationChanged"),
        (ReasonCode::Superseded, "superseded"),
        (ReasonCode::CessationOfOperation, "cessationOfOperation"),
        (ReasonCode::CertificateHold, "certificateHold"),
        (ReasonCode::RemoveFromCRL, "removeFromCRL"),
        (ReasonCode::PrivilegeWithdrawn, "privilegeWithdrawn"),
        (ReasonCode::AACompromise, "AACompromise"),
    ];
    words.into_iter().find(|(known, _)| *known == reason).map(|(_, words)| words)
}
