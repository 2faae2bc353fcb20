//! An X.509 certificate, read once and kept in the parts that trust, policy and audit ask for (RFC 5280 section 4.1).
//!
//! x509-parser reads it. Reading decides nothing about trust: whether anybody vouches for it is found out in `tls/`.

use std::fmt;

use x509_parser::certificate::{TbsCertificate, X509CertificateParser};
use x509_parser::error::X509Error;
use x509_parser::nom::{self, Parser as _};
use x509_parser::x509::X509Version;

use crate::crypto::Sha256;

use super::clientname::AlternativeNames;
use super::der::{Malformed, Reader, only, tag, whole_octets};
use super::extensions::{Extensions, MAX_EXTENSIONS};
use super::name::Name;
use super::public_key::PublicKey;

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
    /// The subject or the issuer is longer than 8 KiB, or another field that is never as long.
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
    /// The names of its subjectAltName that a rule can compare: URI, DNS name and address.
    pub fn comparable_names(&self) -> [Option<&str>; 3] {
        let AlternativeNames { uri, dns, email } = &self.extensions.alternative_names;
        [uri, dns, email].map(|name| name.as_deref().ok())
    }

    /// Reads the certificate that `der` is, from its first byte to its last.
    pub fn parse(der: &[u8]) -> Result<Self, CertificateError> {
        let (content, signed) = Signed::split(der)?;
        within_limits(content)?;
        // Extensions are read one by one, and only those that matter: what x509-parser cannot read, it would leave out.
        let mut parser = X509CertificateParser::new().with_deep_parse_extensions(false);
        let (_, read) = parser.parse(der).map_err(|error| Malformed(unreadable(&error)))?;
        let tbs = &read.tbs_certificate;
        if tbs.as_ref() != &*signed.message {
            return Err(CertificateError::Malformed("bytes follow its last field"));
        }
        if tbs.signature != read.signature_algorithm {
            return Err(CertificateError::AlgorithmMismatch);
        }
        let version = version(tbs, content)?;
        let (issuer, subject) = (Name::parse(tbs.issuer.as_raw())?, Name::parse(tbs.subject.as_raw())?);
        PublicKey::parse(tbs.subject_pki.raw)?;
        Ok(Self {
            version,
            serial: serial(tbs.raw_serial())?.into(),
            issuer: issuer.as_der().into(),
            subject: subject.as_der().into(),
            not_before: tbs.validity.not_before.timestamp(),
            not_after: tbs.validity.not_after.timestamp(),
            public_key: tbs.subject_pki.raw.into(),
            extensions: Extensions::read(tbs.extensions())?,
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
    /// No signature covers this frame, so it is taken in its one DER form: who sends a certificate cannot change its digest.
    pub(super) fn split(der: &[u8]) -> Result<(&[u8], Self), Malformed> {
        let mut outer = only(der, tag::SEQUENCE, "it is not a SEQUENCE")?.inside();
        let message = outer.expect(tag::SEQUENCE, "its signed part is not a SEQUENCE")?;
        let algorithm = outer.expect(tag::SEQUENCE, "its signature algorithm is not a SEQUENCE")?.content;
        let signature = whole_octets(&outer.expect(tag::BIT_STRING, "its signature is not a BIT STRING")?)?;
        outer.end()?;
        Ok((message.content, Self { message: message.encoded.into(), algorithm: algorithm.into(), signature: signature.into() }))
    }
}

/// The two's complement octets of a serial number: at least one, and not one more than needed (X.690 8.3.2), so that a CRL and a
/// certificate write the same number in the same way.
pub(super) fn serial(octets: &[u8]) -> Result<&[u8], Malformed> {
    match octets {
        [] => Err(Malformed("a serial number is empty")),
        [0x00, second, ..] if second & 0x80 == 0 => Err(Malformed("a serial number is padded")),
        [0xff, second, ..] if second & 0x80 != 0 => Err(Malformed("a serial number is padded")),
        octets => Ok(octets),
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
            Self::NameTooLong => write!(f, "its subject, its issuer or its public key is longer than {MAX_NAME} bytes"),
        }
    }
}

/// That x509-parser, which allocates for each attribute of a name and for each extension, has few of them to read: whoever connects
/// chooses what stands there. `content` are the fields of a TBSCertificate.
fn within_limits(content: &[u8]) -> Result<(), CertificateError> {
    let mut fields = Reader::new(content);
    while !fields.is_empty() {
        let field = fields.element()?;
        if field.tag != tag::context_constructed(3) {
            if field.encoded.len() > MAX_NAME {
                return Err(CertificateError::NameTooLong);
            }
            continue;
        }
        let mut extensions = only(field.content, tag::SEQUENCE, "the extensions are not a SEQUENCE")?.inside();
        for _ in 0..MAX_EXTENSIONS {
            if !extensions.is_empty() {
                extensions.element()?;
            }
        }
        if !extensions.is_empty() {
            return Err(CertificateError::Malformed("there are more than 64 extensions"));
        }
    }
    Ok(())
}

/// The version of `tbs`, whose contents are `content`. v1 is what stands there if nothing else does: DER does not write a default,
/// and there is nothing in v1 behind the public key.
fn version(tbs: &TbsCertificate<'_>, content: &[u8]) -> Result<Version, CertificateError> {
    match tbs.version {
        X509Version::V3 => Ok(Version::V3),
        X509Version::V1 if content.first() != Some(&tag::context_constructed(0)) => {
            if tbs.extensions().is_empty() && tbs.issuer_uid.is_none() && tbs.subject_uid.is_none() {
                Ok(Version::V1)
            } else {
                Err(CertificateError::Malformed("a v1 certificate has fields of v3"))
            }
        }
        _ => Err(CertificateError::Version),
    }
}

/// What to say of bytes that x509-parser does not take.
#[allow(clippy::wildcard_enum_match_arm, reason = "the rest says nothing that helps")]
fn unreadable(error: &nom::Err<X509Error>) -> &'static str {
    match error {
        nom::Err::Incomplete(_) => "it ends in the middle of a field",
        nom::Err::Error(error) | nom::Err::Failure(error) => match error {
            X509Error::InvalidVersion => "its version cannot be read",
            X509Error::InvalidSerial => "its serial number cannot be read",
            X509Error::InvalidAlgorithmIdentifier => "its signature algorithm cannot be read",
            X509Error::InvalidX509Name => "its subject or issuer cannot be read",
            X509Error::InvalidDate => "its validity cannot be read",
            X509Error::InvalidSPKI => "its public key cannot be read",
            X509Error::InvalidExtensions => "its extensions cannot be read",
            _ => "a field cannot be read",
        },
    }
}

/// The longest name in DER, in bytes. A session keeps its names as text, at most three times as long, and an audit line
/// holds two of them in 64 KiB. RFC 5280 appendix A.1 allows 64 to 200 characters an attribute.
const MAX_NAME: usize = 8 * 1024;

#[cfg(test)]
mod tests;
