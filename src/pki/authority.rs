//! A CA: making one, and reading one back to sign with it.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, PublicKeyData,
    SerialNumber,
};
use time::OffsetDateTime;

use crate::crypto::random;
use crate::identity::Certificate;

use super::PkiError;
use super::folder::{Folder, NewFile, Purpose, failed};

/// A CA that can sign.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: Certificate,
    path: PathBuf,
}

impl Authority {
    /// Makes a CA that may issue leaves and revocation lists and no further CA. Gives the two files that it is.
    pub(super) fn create(folder: &Folder, purpose: Purpose, validity: Validity) -> Result<[NewFile; 2], PkiError> {
        let key = KeyPair::generate()?;
        let mut params = validity.params()?;
        params.distinguished_name = common_name(purpose.authority());
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key)?;
        Ok([
            NewFile::key(folder.authority_key(purpose), key.serialize_pem()),
            NewFile::certificate(folder.authority_certificate(purpose), certificate.pem()),
        ])
    }

    /// Reads a CA back, and makes sure that what it signs will be taken for its own.
    pub(super) fn load(folder: &Folder, purpose: Purpose, now: i64) -> Result<Self, PkiError> {
        let path = folder.authority_certificate(purpose);
        let key_path = folder.authority_key(purpose);
        let certificate = read_certificate(&path)?;
        let key = read_key(&key_path)?;
        let wrong = |fault: &str| PkiError::Authority { path: path.clone(), fault: fault.to_owned() };
        if key.subject_public_key_info() != certificate.public_key() {
            return Err(wrong(&format!("the key in {} is not this certificate's", key_path.display())));
        }
        if !(certificate.not_before()..=certificate.not_after()).contains(&now) {
            return Err(wrong("the CA is not valid now, so nobody would accept what it issues: make a new one in another folder"));
        }
        if !certificate.is_authority() {
            return Err(wrong("it is not the certificate of a CA"));
        }
        let name = certificate.subject().common_name().map_err(|_| wrong(FOREIGN))?;
        let mut params = CertificateParams::default();
        params.distinguished_name = common_name(name.as_str());
        if let Some(identifier) = certificate.portrait().map_err(wrong)?.subject_key_identifier {
            params.key_identifier_method = KeyIdMethod::PreSpecified(identifier.into_vec());
        }
        Ok(Self { issuer: Issuer::new(params, key), certificate, path })
    }

    /// When the CA ends, in seconds since 1970.
    pub(super) fn not_after(&self) -> i64 {
        self.certificate.not_after()
    }

    /// Signs a leaf. Gives it as PEM and as it will be read.
    pub(super) fn sign(&self, mut params: CertificateParams, key: &KeyPair) -> Result<(String, Certificate), PkiError> {
        params.use_authority_key_identifier_extension = true;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let signed = params.signed_by(key, &self.issuer)?;
        let wrong = |fault: String| PkiError::Authority { path: self.path.clone(), fault };
        let leaf = Certificate::parse(signed.der()).map_err(|error| wrong(format!("what it signed cannot be read: {error}")))?;
        if leaf.issuer() != self.certificate.subject() {
            return Err(wrong(FOREIGN.to_owned()));
        }
        Ok((signed.pem(), leaf))
    }
}

/// From when until when, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Validity {
    pub(super) not_before: i64,
    pub(super) not_after: i64,
}

impl Validity {
    /// `days` from `now` on, and a little before: a clock that is slow would refuse a certificate that was just made.
    pub(super) fn days(now: i64, days: u32) -> Self {
        let length = i64::from(days).saturating_mul(86_400);
        Self { not_before: now.saturating_sub(CLOCK_SKEW), not_after: now.saturating_add(length) }
    }

    /// Parameters with these dates and a serial number that nobody can foresee: 128 random bits, where RFC 5280 section 4.1.2.2
    /// allows 20 octets, positive, and CAs must use 64 bits of chance.
    pub(super) fn params(self) -> Result<CertificateParams, PkiError> {
        let date = |seconds| OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| PkiError::Date);
        let mut params = CertificateParams::default();
        params.not_before = date(self.not_before)?;
        params.not_after = date(self.not_after)?;
        params.serial_number = Some(SerialNumber::from_slice(&random::<16>()?));
        Ok(params)
    }
}

/// A name of one attribute: CN, a UTF8String.
pub(super) fn common_name(name: &str) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name);
    subject
}

fn read_certificate(path: &Path) -> Result<Certificate, PkiError> {
    let text = read(path)?;
    let wrong = |fault: String| PkiError::Authority { path: path.to_owned(), fault };
    let blocks = pem::parse_many(&text).map_err(|error| wrong(format!("it is not PEM: {error}")))?;
    let [block] = blocks.as_slice() else { return Err(wrong(format!("found {} PEM blocks, expected one certificate", blocks.len()))) };
    Certificate::parse(block.contents()).map_err(|error| wrong(error.to_string()))
}

fn read_key(path: &Path) -> Result<KeyPair, PkiError> {
    let text = read(path)?;
    let mode = fs::metadata(path).map_err(failed("look at", path))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(PkiError::OpenKey(path.to_owned()));
    }
    KeyPair::from_pem(&text).map_err(|error| PkiError::Authority {
        path: path.to_owned(),
        fault: format!("found no private key that can be used ({error}), expected PKCS#8 in PEM without a passphrase"),
    })
}

fn read(path: &Path) -> Result<String, PkiError> {
    fs::read_to_string(path).map_err(|error| {
        if error.kind() == io::ErrorKind::NotFound { PkiError::NoAuthority(path.to_owned()) } else { failed("read", path)(error) }
    })
}

/// How far in the past a new certificate's life starts.
const CLOCK_SKEW: i64 = 5 * 60;

/// A CA whose name cannot be written again as it stands would have its certificates refused for an issuer that nobody knows.
const FOREIGN: &str = "this CA has a name of another form than one CN in UTF-8: issue with the tool that made it";
