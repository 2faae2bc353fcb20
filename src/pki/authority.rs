//! A CA: making one, and reading one back to sign with it.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType, IsCa, Issuer, KeyIdMethod, KeyPair,
    KeyUsagePurpose, PublicKeyData, RevocationReason, RevokedCertParams, SerialNumber,
};
use time::OffsetDateTime;

use crate::crypto::random;
use crate::identity::Certificate;

use super::files::{NewFile, failed};
use super::folder::{Folder, Seat};
use super::index::{Entry, Reason};
use super::{KeyKind, PkiError};

/// A CA that can sign.
pub(super) struct Authority {
    pub(super) seat: Seat,
    issuer: Issuer<'static, KeyPair>,
    certificate: Certificate,
    /// Its own certificate in PEM, then those of the CAs above it, the root last.
    chain: Vec<(Certificate, String)>,
    path: PathBuf,
}

impl Authority {
    /// Makes a root. It may issue CAs if `above` others; else leaves and revocation lists and no further CA.
    pub(super) fn found(folder: &Folder, seat: Seat, name: &str, validity: Validity, key: KeyKind, above: bool) -> Result<Self, PkiError> {
        let key = key.generate()?;
        let params = authority_params(name, validity, u8::from(above))?;
        let made = params.self_signed(&key)?;
        Self::assume(folder, seat, (made.der(), made.pem()), Vec::new(), key)
    }

    /// Makes a CA below this one.
    pub(super) fn appoint(&self, folder: &Folder, seat: Seat, name: &str, validity: Validity, key: KeyKind) -> Result<Self, PkiError> {
        let key = key.generate()?;
        let validity = Validity { not_after: validity.not_after.min(self.not_after()), ..validity };
        let mut params = authority_params(name, validity, 0)?;
        params.use_authority_key_identifier_extension = true;
        let made = params.signed_by(&key, &self.issuer)?;
        Self::assume(folder, seat, (made.der(), made.pem()), self.chain.clone(), key)
    }

    /// Reads a CA back, and makes sure that what it signs will be taken for its own.
    pub(super) fn load(folder: &Folder, seat: Seat, now: i64) -> Result<Self, PkiError> {
        let path = folder.certificate_of(seat);
        let chain = read_chain(&path)?;
        let key_path = folder.key_of(seat);
        let key = read_key(&key_path)?;
        let wrong = |fault: &str| PkiError::Authority { path: path.clone(), fault: fault.to_owned() };
        let Some((certificate, _)) = chain.first() else { return Err(wrong(EMPTY)) };
        if key.subject_public_key_info() != certificate.public_key() {
            return Err(wrong(&format!("the key in {} is not this certificate's", key_path.display())));
        }
        if !certificate.is_authority() {
            return Err(wrong("it is not the certificate of a CA"));
        }
        if chain.iter().any(|(certificate, _)| !(certificate.not_before()..=certificate.not_after()).contains(&now)) {
            return Err(wrong("the CA is not valid now, so nobody would accept what it issues: make a new one in another folder"));
        }
        if chain.windows(2).any(|pair| matches!(pair, [(below, _), (above, _)] if below.issuer() != above.subject())) {
            return Err(wrong("a certificate in it is not that of the issuer of the one before it: put them in order, the root last"));
        }
        Self::new(seat, chain, path, key)
    }

    fn assume(
        folder: &Folder,
        seat: Seat,
        (der, pem): (&[u8], String),
        above: Vec<(Certificate, String)>,
        key: KeyPair,
    ) -> Result<Self, PkiError> {
        let path = folder.certificate_of(seat);
        let certificate = Certificate::parse(der).map_err(|error| unreadable(&path, &error))?;
        Self::new(seat, [(certificate, pem)].into_iter().chain(above).collect(), path, key)
    }

    fn new(seat: Seat, chain: Vec<(Certificate, String)>, path: PathBuf, key: KeyPair) -> Result<Self, PkiError> {
        let wrong = |fault: &str| PkiError::Authority { path: path.clone(), fault: fault.to_owned() };
        let Some((certificate, _)) = chain.first().cloned() else { return Err(wrong(EMPTY)) };
        let name = certificate.subject().common_name().map_err(|_| wrong(FOREIGN))?;
        let mut params = CertificateParams::default();
        params.distinguished_name = common_name(name.as_str());
        if let Some(identifier) = certificate.portrait().map_err(wrong)?.subject_key_identifier {
            params.key_identifier_method = KeyIdMethod::PreSpecified(identifier.into_vec());
        }
        Ok(Self { seat, issuer: Issuer::new(params, key), certificate, chain, path })
    }

    /// The two files that it is.
    pub(super) fn files(&self, folder: &Folder) -> [NewFile; 2] {
        let pem: String = self.chain.iter().map(|(_, pem)| pem.as_str()).collect();
        [
            NewFile::secret(folder.key_of(self.seat), self.issuer.key().serialize_pem()),
            NewFile::public(folder.certificate_of(self.seat), pem),
        ]
    }

    /// Its certificate.
    pub(super) fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// When it ends, in seconds since 1970.
    pub(super) fn not_after(&self) -> i64 {
        self.chain.iter().map(|(certificate, _)| certificate.not_after()).min().unwrap_or_default()
    }

    /// Signs a leaf. Gives it as PEM, with the CAs between it and the root behind it, and as it will be read.
    pub(super) fn sign(&self, mut params: CertificateParams, key: &KeyPair) -> Result<(String, Certificate), PkiError> {
        params.use_authority_key_identifier_extension = true;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let signed = params.signed_by(key, &self.issuer)?;
        let leaf = Certificate::parse(signed.der()).map_err(|error| unreadable(&self.path, &error))?;
        if leaf.issuer() != self.certificate.subject() {
            return Err(PkiError::Authority { path: self.path.clone(), fault: FOREIGN.to_owned() });
        }
        let between = self.chain.iter().filter(|(certificate, _)| !certificate.self_issued()).map(|(_, pem)| pem.as_str());
        Ok((std::iter::once(signed.pem().as_str()).chain(between).collect(), leaf))
    }

    /// Signs a revocation list, in PEM, of those of `entries` that are revoked.
    pub(super) fn sign_crl<'e>(
        &self,
        entries: impl Iterator<Item = &'e Entry>,
        number: u64,
        validity: Validity,
    ) -> Result<String, PkiError> {
        let params = CertificateRevocationListParams {
            this_update: moment(validity.not_before)?,
            next_update: moment(validity.not_after)?,
            crl_number: SerialNumber::from(number),
            issuing_distribution_point: None,
            revoked_certs: entries.filter_map(|entry| revoked(entry).transpose()).collect::<Result<_, _>>()?,
            key_identifier_method: self.key_identifier_method(),
        };
        Ok(params.signed_by(&self.issuer)?.pem()?)
    }

    /// How its own certificate says which key it has, so that what it signs says the same.
    fn key_identifier_method(&self) -> KeyIdMethod {
        let identifier = self.certificate.portrait().ok().and_then(|portrait| portrait.subject_key_identifier);
        identifier.map_or(KeyIdMethod::Sha256, |identifier| KeyIdMethod::PreSpecified(identifier.into_vec()))
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
        let mut params = CertificateParams::default();
        params.not_before = moment(self.not_before)?;
        params.not_after = moment(self.not_after)?;
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

fn authority_params(name: &str, validity: Validity, path_length: u8) -> Result<CertificateParams, PkiError> {
    let mut params = validity.params()?;
    params.distinguished_name = common_name(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(path_length));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

/// An entry as a revocation list has it, if it is revoked.
fn revoked(entry: &Entry) -> Result<Option<RevokedCertParams>, PkiError> {
    let Some(revocation) = entry.revoked else { return Ok(None) };
    let serial = octets(&entry.serial).ok_or_else(|| PkiError::Serial(entry.serial.clone()))?;
    Ok(Some(RevokedCertParams {
        serial_number: SerialNumber::from_slice(&serial),
        revocation_time: moment(revocation.time)?,
        reason_code: match revocation.reason {
            Reason::Unspecified => None,
            Reason::KeyCompromise => Some(RevocationReason::KeyCompromise),
            Reason::CaCompromise => Some(RevocationReason::CaCompromise),
            Reason::AffiliationChanged => Some(RevocationReason::AffiliationChanged),
            Reason::Superseded => Some(RevocationReason::Superseded),
            Reason::CessationOfOperation => Some(RevocationReason::CessationOfOperation),
            Reason::PrivilegeWithdrawn => Some(RevocationReason::PrivilegeWithdrawn),
        },
        invalidity_date: None,
    }))
}

/// The octets that hexadecimal digits name.
pub(super) fn octets(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).ok());
    let octet = |pair: Option<&str>| pair.filter(|pair| pair.len() == 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    pairs.map(octet).collect()
}

fn moment(seconds: i64) -> Result<OffsetDateTime, PkiError> {
    OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| PkiError::Date)
}

fn read_chain(path: &Path) -> Result<Vec<(Certificate, String)>, PkiError> {
    let text = read(path)?;
    let wrong = |fault: String| PkiError::Authority { path: path.to_owned(), fault };
    let blocks = pem::parse_many(&text).map_err(|error| wrong(format!("it is not PEM: {error}")))?;
    if !(1..=LONGEST_CHAIN).contains(&blocks.len()) {
        let found = blocks.len();
        return Err(wrong(format!("found {found} PEM blocks, expected the certificate of the CA and those above it, the root last")));
    }
    let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    let read = |block: &pem::Pem| {
        let certificate = Certificate::parse(block.contents()).map_err(|error| wrong(error.to_string()))?;
        Ok((certificate, pem::encode_config(block, config)))
    };
    blocks.iter().map(read).collect()
}

fn read_key(path: &Path) -> Result<KeyPair, PkiError> {
    let text = zeroize::Zeroizing::new(read(path)?);
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

fn unreadable(path: &Path, error: &dyn std::fmt::Display) -> PkiError {
    PkiError::Authority { path: path.to_owned(), fault: format!("what it signed cannot be read: {error}") }
}

/// How far in the past a new certificate's life starts.
const CLOCK_SKEW: i64 = 5 * 60;

/// As many as OpenSSL and Postern follow with ease.
const LONGEST_CHAIN: usize = 4;

const EMPTY: &str = "found no certificate, expected that of the CA";

/// A CA whose name cannot be written again as it stands would have its certificates refused for an issuer that nobody knows.
const FOREIGN: &str = "this CA has a name of another form than one CN in UTF-8: issue with the tool that made it";
