//! An X.509 certificate, read once and kept in the parts that trust, policy and audit ask for (RFC 5280 section 4.1).
//!
//! Reading decides nothing about trust: whether anybody vouches for it is found out in `tls/`.

use std::fmt;

use crate::crypto::Sha256;

use super::der::{Malformed, Reader, integer, only, small, tag, whole_octets};
use super::extensions::Extensions;
use super::name::Name;
use super::public_key::PublicKey;
use super::time::time;

/// The version of a certificate's syntax. v2 is refused: nobody makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// Without extensions, as `openssl x509 -req` of OpenSSL 3.0 makes them.
    V1,
    /// All others.
    V3,
}

/// Why bytes are not a certificate that can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateError {
    /// Not the DER of a Certificate. Says where it breaks.
    Malformed(&'static str),
    /// A version other than v1 and v3.
    Version,
    /// The signature's algorithm inside the signed part differs from the one outside.
    AlgorithmMismatch,
    /// The subject or the issuer is longer than 8 KiB.
    NameTooLong,
}

/// A certificate. All parts are owned; a usual one takes about 2 KiB.
#[derive(Clone, Debug)]
pub struct Certificate {
    version: Version,
    serial: Box<[u8]>,
    issuer: Box<[u8]>,
    subject: Box<[u8]>,
    not_before: i64,
    not_after: i64,
    public_key: Box<[u8]>,
    extensions: Extensions,
    sha256: Sha256,
    signed: Signed,
}

/// What a signature is over, and the signature: the frame that certificates and CRLs share (RFC 5280 section 4.1.1).
#[derive(Clone, Debug)]
pub(crate) struct Signed {
    /// The DER of tbsCertificate or tbsCertList.
    pub(crate) message: Box<[u8]>,
    /// The contents of the AlgorithmIdentifier, without its tag and length.
    pub(crate) algorithm: Box<[u8]>,
    /// The signature's octets.
    pub(crate) signature: Box<[u8]>,
}

impl Certificate {
    /// Reads the certificate that `der` is, from its first byte to its last.
    pub fn parse(der: &[u8]) -> Result<Self, CertificateError> {
        let (tbs, signed) = Signed::split(der)?;
        let mut fields = Reader::new(tbs);
        let version = version(&mut fields)?;
        let serial = integer(&fields.expect(tag::INTEGER, "there is no serial number")?)?;
        if fields.expect(tag::SEQUENCE, "there is no signature algorithm")?.content != &*signed.algorithm {
            return Err(CertificateError::AlgorithmMismatch);
        }
        let issuer = name(&mut fields, "there is no issuer")?;
        let mut validity = fields.expect(tag::SEQUENCE, "there is no validity")?.inside();
        let (not_before, not_after) = (time(&mut validity)?, time(&mut validity)?);
        validity.end()?;
        let subject = name(&mut fields, "there is no subject")?;
        let public_key = fields.expect(tag::SEQUENCE, "there is no public key")?.encoded;
        PublicKey::parse(public_key)?;
        let extensions = match version {
            Version::V1 => Extensions::default(),
            Version::V3 => {
                // issuerUniqueID and subjectUniqueID: nobody uses them, and they say nothing here.
                fields.optional(tag::context(1))?;
                fields.optional(tag::context(2))?;
                let extensions = fields.optional(tag::context_constructed(3))?;
                extensions.map(|element| Extensions::parse(element.content)).transpose()?.unwrap_or_default()
            }
        };
        fields.end()?;
        Ok(Self {
            version,
            serial: serial.into(),
            issuer: issuer.as_der().into(),
            subject: subject.as_der().into(),
            not_before,
            not_after,
            public_key: public_key.into(),
            extensions,
            sha256: Sha256::of(der),
            signed,
        })
    }

    /// The version of its syntax.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The serial number's two's complement octets, as few as there can be.
    pub fn serial(&self) -> &[u8] {
        &self.serial
    }

    /// The serial number as `openssl x509 -serial` prints it, in lower case: two digits an octet, `-` before a negative one.
    pub fn serial_hex(&self) -> String {
        serial_hex(&self.serial)
    }

    /// The issuer's name.
    pub fn issuer(&self) -> Name<'_> {
        Name::checked(&self.issuer)
    }

    /// The subject's name.
    pub fn subject(&self) -> Name<'_> {
        Name::checked(&self.subject)
    }

    /// When it starts to be valid, in seconds since 1970.
    pub fn not_before(&self) -> i64 {
        self.not_before
    }

    /// When it ceases to be valid, in seconds since 1970.
    pub fn not_after(&self) -> i64 {
        self.not_after
    }

    /// The DER of SubjectPublicKeyInfo.
    pub fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    /// What kind of key it is; `None` never happens, the structure was checked when the certificate was read.
    pub fn key(&self) -> Option<PublicKey<'_>> {
        PublicKey::parse(&self.public_key).ok()
    }

    /// What its extensions say.
    pub fn extensions(&self) -> &Extensions {
        &self.extensions
    }

    /// The digest of its DER, its "fingerprint".
    pub fn sha256(&self) -> Sha256 {
        self.sha256
    }

    /// Whether issuer and subject are the same name, byte for byte. That it signed itself is another question.
    pub fn self_issued(&self) -> bool {
        self.issuer == self.subject
    }

    /// Whether its basicConstraints say that it is a CA.
    pub fn is_authority(&self) -> bool {
        self.extensions.basic_constraints.is_some_and(|constraints| constraints.ca)
    }

    /// The signed part and the signature over it.
    pub(crate) fn signed(&self) -> &Signed {
        &self.signed
    }
}

impl Signed {
    /// Splits `SEQUENCE { signed part, AlgorithmIdentifier, BIT STRING }`, and gives the contents of the signed part as well.
    pub(super) fn split(der: &[u8]) -> Result<(&[u8], Self), Malformed> {
        let mut outer = only(der, tag::SEQUENCE, "it is not a SEQUENCE")?.inside();
        let message = outer.expect(tag::SEQUENCE, "its signed part is not a SEQUENCE")?;
        let algorithm = outer.expect(tag::SEQUENCE, "its signature algorithm is not a SEQUENCE")?.content;
        let signature = whole_octets(&outer.expect(tag::BIT_STRING, "its signature is not a BIT STRING")?)?;
        outer.end()?;
        Ok((message.content, Self { message: message.encoded.into(), algorithm: algorithm.into(), signature: signature.into() }))
    }
}

/// The serial number whose two's complement octets are `octets`, in lower-case hexadecimal, without its sign octet.
pub(super) fn serial_hex(octets: &[u8]) -> String {
    let negative = octets.first().is_some_and(|first| first & 0x80 != 0);
    let mut magnitude: Vec<u8> = octets.to_vec();
    if negative {
        let mut carry = true;
        for octet in magnitude.iter_mut().rev() {
            let (sum, overflowed) = (!*octet).overflowing_add(u8::from(carry));
            (*octet, carry) = (sum, overflowed);
        }
    }
    let shown = match magnitude.as_slice() {
        [0, rest @ ..] if !rest.is_empty() => rest,
        all => all,
    };
    let sign = if negative { "-" } else { "" };
    shown.iter().fold(String::from(sign), |text, octet| text + &format!("{octet:02x}"))
}

impl From<Malformed> for CertificateError {
    fn from(Malformed(what): Malformed) -> Self {
        Self::Malformed(what)
    }
}

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(what) => write!(f, "it is not the DER of an X.509 certificate: {what}"),
            Self::Version => write!(f, "it is neither an X.509 v1 nor a v3 certificate"),
            Self::AlgorithmMismatch => write!(f, "its two signature algorithms differ"),
            Self::NameTooLong => write!(f, "its subject or issuer is longer than {MAX_NAME} bytes"),
        }
    }
}

/// The version field: absent means v1, and DER does not write what is the default.
fn version(fields: &mut Reader<'_>) -> Result<Version, CertificateError> {
    let Some(explicit) = fields.optional(tag::context_constructed(0))? else { return Ok(Version::V1) };
    match small(&only(explicit.content, tag::INTEGER, "its version is not a number")?)? {
        2 => Ok(Version::V3),
        _ => Err(CertificateError::Version),
    }
}

fn name<'a>(fields: &mut Reader<'a>, otherwise: &'static str) -> Result<Name<'a>, CertificateError> {
    let encoded = fields.expect(tag::SEQUENCE, otherwise)?.encoded;
    if encoded.len() > MAX_NAME {
        return Err(CertificateError::NameTooLong);
    }
    Ok(Name::parse(encoded)?)
}

/// The longest name in DER, in bytes. A session keeps its names as text, at most three times as long, and an audit line
/// holds two of them in 64 KiB. RFC 5280 appendix A.1 allows 64 to 200 characters an attribute.
const MAX_NAME: usize = 8 * 1024;

#[cfg(test)]
mod tests;
