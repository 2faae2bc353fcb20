//! What a certificate says that no decision hangs on and people ask about: all its names, purposes and algorithms, in words.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::certificate::Certificate;
use super::der::{Malformed, Reader, named_bits, object_identifier, only, tag};
use super::extensions::each_extension;
use super::name::{Name, dotted};

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
        let Some(key) = self.key() else { return "unreadable".to_owned() };
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

    /// The algorithm of the signature on it in words, as OpenSSL names it.
    pub fn signature_words(&self) -> String {
        next_oid(&mut Reader::new(&self.signed().algorithm)).map_or_else(|| "unreadable".to_owned(), |oid| named(SIGNATURE_ALGORITHMS, oid))
    }
}

impl Portrait {
    /// Reads the DER of a tbsCertificate whose structure was checked before.
    fn read(&mut self, tbs: &[u8]) -> Result<(), Malformed> {
        let mut fields = only(tbs, tag::SEQUENCE, "its signed part is not a SEQUENCE")?.inside();
        while !fields.is_empty() {
            let field = fields.element()?;
            if field.tag == tag::context_constructed(3) {
                each_extension(field.content, |extension| self.extension(extension.oid, extension.value))?;
            }
        }
        Ok(())
    }

    fn extension(&mut self, oid: &[u8], value: &[u8]) -> Result<(), Malformed> {
        match oid {
            [0x55, 0x1d, 14] => {
                let identifier = only(value, tag::OCTET_STRING, "subjectKeyIdentifier is not an OCTET STRING")?;
                self.subject_key_identifier = Some(identifier.content.into());
            }
            [0x55, 0x1d, 15] => {
                let bits = named_bits(only(value, tag::BIT_STRING, "keyUsage is not a BIT STRING")?.content)?;
                let set = KEY_USAGES.iter().enumerate().filter(|(bit, _)| bits & (0x8000u16 >> bit) != 0);
                self.key_usage = Some(set.map(|(_, name)| *name).collect());
            }
            [0x55, 0x1d, 17] => {
                let mut names = only(value, tag::SEQUENCE, "subjectAltName is not a SEQUENCE")?.inside();
                while !names.is_empty() {
                    let name = names.element()?;
                    self.alternative_names.push(AlternativeName::of(name.tag, name.content));
                }
            }
            [0x55, 0x1d, 35] => {
                let mut fields = only(value, tag::SEQUENCE, "authorityKeyIdentifier is not a SEQUENCE")?.inside();
                self.authority_key_identifier = fields.optional(tag::context(0))?.map(|identifier| identifier.content.into());
            }
            [0x55, 0x1d, 37] => {
                let mut purposes = only(value, tag::SEQUENCE, "extendedKeyUsage is not a SEQUENCE")?.inside();
                let words = self.extended_key_usage.get_or_insert_default();
                while !purposes.is_empty() {
                    words.push(named(PURPOSES, object_identifier(&purposes.element()?)?));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

impl AlternativeName {
    fn of(kind: u8, content: &[u8]) -> Self {
        let text = || content.escape_ascii().to_string();
        match kind {
            0x81 => Self::Email(text()),
            0x82 => Self::Dns(text()),
            0x86 => Self::Uri(text()),
            0x87 => address(content).map_or(Self::Other, Self::Address),
            0xa4 => Name::parse(content).map_or(Self::Other, |name| Self::Directory(name.rfc2253())),
            _ => Self::Other,
        }
    }
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

/// Purposes (RFC 5280 section 4.2.1.12): id-kp is 1.3.6.1.5.5.7.3.
const PURPOSES: &[(&[u8], &str)] = &[
    (&[0x2b, 6, 1, 5, 5, 7, 3, 1], "serverAuth"),
    (&[0x2b, 6, 1, 5, 5, 7, 3, 2], "clientAuth"),
    (&[0x2b, 6, 1, 5, 5, 7, 3, 3], "codeSigning"),
    (&[0x2b, 6, 1, 5, 5, 7, 3, 4], "emailProtection"),
    (&[0x2b, 6, 1, 5, 5, 7, 3, 8], "timeStamping"),
    (&[0x2b, 6, 1, 5, 5, 7, 3, 9], "OCSPSigning"),
    (&[0x55, 0x1d, 37, 0], "anyExtendedKeyUsage"),
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
