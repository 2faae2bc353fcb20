//! What a certificate says that no decision hangs on and people ask about: all its names, purposes and algorithms, in words.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use x509_parser::certificate::TbsCertificateParser;
use x509_parser::extensions as read;
use x509_parser::extensions::{AuthorityKeyIdentifier, GeneralName, KeyIdentifier, SubjectAlternativeName, X509Extension};
use x509_parser::nom::Parser as _;

use super::certificate::Certificate;
use super::der::{Malformed, Reader, tag, whole};
use super::extensions::each_once;
use super::name::{Name, dotted};
use super::public_key::PublicKey;

/// What a certificate's extensions say, in words. Empty for v1.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Portrait {
    /// subjectAltName.
    pub alternative_names: Vec<AlternativeName>,
    /// keyUsage, in RFC 5280's words; `None` where the extension is absent.
    pub key_usage: Option<Vec<&'static str>>,
    /// extendedKeyUsage, in RFC 5280's words, or as numbers; `None` where the extension is absent.
    pub extended_key_usage: Option<Vec<String>>,
    /// subjectKeyIdentifier.
    pub subject_key_identifier: Option<Box<[u8]>>,
    /// The keyIdentifier of authorityKeyIdentifier.
    pub authority_key_identifier: Option<Box<[u8]>>,
}

/// One name of subjectAltName (RFC 5280 section 4.2.1.6). In text, what is not printable ASCII
/// is escaped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AlternativeName {
    /// dNSName.
    Dns(String),
    /// rfc822Name.
    Email(String),
    /// uniformResourceIdentifier.
    Uri(String),
    /// iPAddress.
    Address(IpAddr),
    /// directoryName, as RFC 2253 text.
    Directory(String),
    /// A form that nothing here reads.
    Other,
}

impl Certificate {
    /// Reads what people ask about.
    ///
    /// # Errors
    /// An extension that is not what its name says. Says where it breaks.
    pub fn portrait(&self) -> Result<Portrait, &'static str> {
        let mut portrait = Portrait::default();
        portrait.read(&self.signed().message).map_err(|Malformed(what)| what)?;
        Ok(portrait)
    }

    /// The public key's algorithm and curve or size in words, such as `ECDSA P-256` and `RSA 2048 bits`.
    pub fn key_words(&self) -> String {
        key_words(self.public_key())
    }

    /// The algorithm of the signature on it in words, as OpenSSL names it.
    pub fn signature_words(&self) -> String {
        next_oid(&mut Reader::new(&self.signed().algorithm)).map_or_else(|| "unreadable".to_owned(), |oid| named(SIGNATURE_ALGORITHMS, oid))
    }
}

impl Portrait {
    /// Reads the DER of a tbsCertificate that was read before.
    fn read(&mut self, tbs: &[u8]) -> Result<(), Malformed> {
        let mut parser = TbsCertificateParser::new().with_deep_parse_extensions(false);
        let (_, tbs) = parser.parse(tbs).map_err(|_| Malformed("its signed part cannot be read"))?;
        each_once(tbs.extensions(), |extension| self.extension(extension))
    }

    fn extension(&mut self, extension: &X509Extension<'_>) -> Result<(), Malformed> {
        let value = extension.value;
        match extension.oid.as_bytes() {
            [0x55, 0x1d, 14] => {
                let KeyIdentifier(identifier) = whole(value, "its subjectKeyIdentifier cannot be read")?;
                self.subject_key_identifier = Some(identifier.into());
            }
            [0x55, 0x1d, 15] => {
                let usage: read::KeyUsage = whole(value, "its keyUsage cannot be read")?;
                let set = KEY_USAGES.iter().enumerate().filter(|(bit, _)| usage.flags & (1 << bit) != 0);
                self.key_usage = Some(set.map(|(_, name)| *name).collect());
            }
            [0x55, 0x1d, 17] => {
                let names: SubjectAlternativeName<'_> = whole(value, "its subjectAltName cannot be read")?;
                self.alternative_names = names.general_names.iter().map(AlternativeName::of).collect();
            }
            [0x55, 0x1d, 35] => {
                let authority: AuthorityKeyIdentifier<'_> = whole(value, "its authorityKeyIdentifier cannot be read")?;
                self.authority_key_identifier = authority.key_identifier.map(|KeyIdentifier(identifier)| identifier.into());
            }
            [0x55, 0x1d, 37] => {
                self.extended_key_usage = Some(purposes(&whole(value, "its extendedKeyUsage cannot be read")?));
            }
            _ => {}
        }
        Ok(())
    }
}

impl AlternativeName {
    pub(super) fn of(name: &GeneralName<'_>) -> Self {
        let text = |text: &[u8]| text.escape_ascii().to_string();
        match name {
            GeneralName::RFC822Name(name) => Self::Email(text(name.as_bytes())),
            GeneralName::DNSName(name) => Self::Dns(text(name.as_bytes())),
            GeneralName::URI(name) => Self::Uri(text(name.as_bytes())),
            GeneralName::IPAddress(octets) => address(octets).map_or(Self::Other, Self::Address),
            GeneralName::DirectoryName(name) => Name::parse(name.as_raw()).map_or(Self::Other, |name| Self::Directory(name.rfc2253())),
            // What is not UTF-8, although it is to be ASCII.
            GeneralName::Invalid(tag, octets) => match tag.0 {
                1 => Self::Email(text(octets)),
                2 => Self::Dns(text(octets)),
                6 => Self::Uri(text(octets)),
                _ => Self::Other,
            },
            GeneralName::OtherName(..) | GeneralName::X400Address(_) | GeneralName::EDIPartyName(_) | GeneralName::RegisteredID(_) => {
                Self::Other
            }
        }
    }
}

/// The algorithm and the curve or size of the key in a SubjectPublicKeyInfo, in words.
pub fn key_words(public_key: &[u8]) -> String {
    let Ok(key) = PublicKey::parse(public_key) else { return "unreadable".to_owned() };
    let mut fields = Reader::new(key.algorithm());
    let Some(algorithm) = next_oid(&mut fields) else { return "unreadable".to_owned() };
    match word(KEY_ALGORITHMS, algorithm) {
        Some("RSA") => key.rsa_bits().map_or_else(|| "RSA".to_owned(), |bits| format!("RSA {bits} bits")),
        Some("ECDSA") => {
            let curve = next_oid(&mut fields).map_or_else(|| "with a curve of its own".to_owned(), |curve| named(CURVES, curve));
            format!("ECDSA {curve}")
        }
        Some(other) => other.to_owned(),
        None => dotted(algorithm),
    }
}

/// The purposes that are listed (RFC 5280 section 4.2.1.12), those with a name first.
fn purposes(listed: &read::ExtendedKeyUsage<'_>) -> Vec<String> {
    let named = [
        (listed.server_auth, "serverAuth"),
        (listed.client_auth, "clientAuth"),
        (listed.code_signing, "codeSigning"),
        (listed.email_protection, "emailProtection"),
        (listed.time_stamping, "timeStamping"),
        (listed.ocsp_signing, "OCSPSigning"),
        (listed.any, "anyExtendedKeyUsage"),
    ];
    let named = named.into_iter().filter(|(listed, _)| *listed).map(|(_, name)| name.to_owned());
    named.chain(listed.other.iter().map(|purpose| dotted(purpose.as_bytes()))).collect()
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    if let Ok(octets) = <[u8; 4]>::try_from(octets) {
        return Some(Ipv4Addr::from(octets).into());
    }
    <[u8; 16]>::try_from(octets).ok().map(|octets| Ipv6Addr::from(octets).into())
}

fn next_oid<'a>(fields: &mut Reader<'a>) -> Option<&'a [u8]> {
    fields.optional(tag::OBJECT_IDENTIFIER).ok().flatten().map(|element| element.content)
}

fn word(words: &[(&[u8], &'static str)], oid: &[u8]) -> Option<&'static str> {
    words.iter().find(|(known, _)| *known == oid).map(|(_, word)| *word)
}

fn named(words: &[(&[u8], &'static str)], oid: &[u8]) -> String {
    word(words, oid).map_or_else(|| dotted(oid), str::to_owned)
}

/// The bits of keyUsage, from 0 on (RFC 5280 section 4.2.1.3).
const KEY_USAGES: [&str; 9] = [
    "digitalSignature",
    "nonRepudiation",
    "keyEncipherment",
    "dataEncipherment",
    "keyAgreement",
    "keyCertSign",
    "cRLSign",
    "encipherOnly",
    "decipherOnly",
];

const KEY_ALGORITHMS: &[(&[u8], &str)] = &[
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01], "RSA"),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a], "RSA-PSS"),
    (&[0x2a, 0x86, 0x48, 0xce, 0x38, 0x04, 0x01], "DSA"),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01], "ECDSA"),
    (&[0x2b, 0x65, 0x70], "Ed25519"),
    (&[0x2b, 0x65, 0x71], "Ed448"),
    (&[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x03, 17], "ML-DSA-44"),
    (&[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x03, 18], "ML-DSA-65"),
    (&[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x03, 19], "ML-DSA-87"),
];

/// Curves: SEC 2 (1.3.132.0), ANSI X9.62 and Brainpool (RFC 5639, 1.3.36.3.3.2.8.1.1).
const CURVES: &[(&[u8], &str)] = &[
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07], "P-256"),
    (&[0x2b, 0x81, 0x04, 0x00, 34], "P-384"),
    (&[0x2b, 0x81, 0x04, 0x00, 35], "P-521"),
    (&[0x2b, 0x81, 0x04, 0x00, 33], "P-224"),
    (&[0x2b, 0x81, 0x04, 0x00, 10], "secp256k1"),
    (&[0x2b, 0x24, 3, 3, 2, 8, 1, 1, 7], "brainpoolP256r1"),
    (&[0x2b, 0x24, 3, 3, 2, 8, 1, 1, 8], "brainpoolP256t1"),
    (&[0x2b, 0x24, 3, 3, 2, 8, 1, 1, 11], "brainpoolP384r1"),
    (&[0x2b, 0x24, 3, 3, 2, 8, 1, 1, 12], "brainpoolP384t1"),
    (&[0x2b, 0x24, 3, 3, 2, 8, 1, 1, 13], "brainpoolP512r1"),
    (&[0x2b, 0x24, 3, 3, 2, 8, 1, 1, 14], "brainpoolP512t1"),
];

/// Signatures, by the names of OpenSSL's `Signature Algorithm` line.
const SIGNATURE_ALGORITHMS: &[(&[u8], &str)] = &[
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x04], "md5WithRSAEncryption"),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x05], "sha1WithRSAEncryption"),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a], "rsassaPss"),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b], "sha256WithRSAEncryption"),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0c], "sha384WithRSAEncryption"),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0d], "sha512WithRSAEncryption"),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x01], "ecdsa-with-SHA1"),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02], "ecdsa-with-SHA256"),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03], "ecdsa-with-SHA384"),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x04], "ecdsa-with-SHA512"),
    (&[0x2b, 0x65, 0x70], "ED25519"),
    (&[0x2b, 0x65, 0x71], "ED448"),
];

#[cfg(test)]
mod tests;
