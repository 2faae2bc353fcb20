//! The PEM files of `tls`: certificates, private key, CRLs. Each fault says what was found, what was expected, what to do.

use std::fmt;
use std::fs::Metadata;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};

use crate::identity::{Certificate, Crl, Denylist};
use crate::os;

/// What is wrong with a file that `tls` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaterialFault {
    /// The file.
    pub file: PathBuf,
    /// The setting that names it: `tls.ssl_key_file`.
    pub setting: String,
    /// What was found, what was expected, what to do.
    pub what: String,
    /// Nothing is wrong with the file itself: it does not fit another one, as while both are being replaced.
    pub pair: bool,
}

impl fmt::Display for MaterialFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.setting, self.file.display(), self.what)
    }
}

/// A file that a setting names.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) file: &'a Path,
    pub(super) setting: &'a str,
}

/// A certificate of a file, as it was and as it was read.
pub(super) struct Read {
    pub(super) der: CertificateDer<'static>,
    pub(super) certificate: Certificate,
}

impl Source<'_> {
    pub(super) fn fault(&self, what: impl Into<String>) -> MaterialFault {
        MaterialFault { file: self.file.to_owned(), setting: self.setting.to_owned(), what: what.into(), pair: false }
    }

    /// A fault of this file and another together.
    pub(super) fn pair_fault(&self, what: impl Into<String>) -> MaterialFault {
        MaterialFault { pair: true, ..self.fault(what) }
    }

    /// Every certificate of the file, at least one, in its order.
    pub(super) fn certificates(&self) -> Result<Vec<Read>, Vec<MaterialFault>> {
        let (bytes, _) = self.read(MAX_CERTIFICATES).map_err(|fault| vec![fault])?;
        for label in ["TRUSTED CERTIFICATE", "X509 CERTIFICATE"] {
            if has_block(&bytes, label) {
                let file = self.file.display();
                let what =
                    format!("a block \"{label}\" was found, which is not read; write it as \"CERTIFICATE\": openssl x509 -in {file}");
                return Err(vec![self.fault(what)]);
            }
        }
        let blocks: Result<Vec<CertificateDer<'static>>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
        let blocks = blocks.map_err(|error| vec![self.fault(broken(&error))])?;
        if blocks.is_empty() {
            return Err(vec![self.fault(self.none_found(&bytes, "CERTIFICATE", "x509"))]);
        }
        let (mut read, mut faults) = (Vec::new(), Vec::new());
        for (number, der) in (1..).zip(blocks) {
            match Certificate::parse(&der) {
                Ok(certificate) => read.push(Read { der, certificate }),
                Err(error) => faults.push(self.fault(format!("certificate number {number} cannot be used: {error}; replace it"))),
            }
        }
        if faults.is_empty() { Ok(read) } else { Err(faults) }
    }

    /// The first private key of the file.
    pub(super) fn private_key(&self) -> Result<PrivateKeyDer<'static>, MaterialFault> {
        let (mut bytes, metadata) = self.read(MAX_KEY)?;
        let encrypted = has_block(&bytes, "ENCRYPTED PRIVATE KEY") || contains(&bytes, b"Proc-Type: 4,ENCRYPTED");
        let key = PrivateKeyDer::from_pem_slice(&bytes);
        let none = self.none_found(&bytes, "PRIVATE KEY", "pkey");
        // Best effort: the text of the key need not stay in freed memory. black_box keeps the write.
        bytes.fill(0);
        std::hint::black_box(&bytes);
        // A file that is no key at all, such as the certificate, need not have a key's mode.
        if !encrypted && matches!(key, Err(pem::Error::NoItemsFound)) {
            return Err(self.fault(none));
        }
        self.check_permissions(&metadata)?;
        match key {
            _ if encrypted => Err(self.fault(format!(
                "the private key is protected by a passphrase, which nobody could type; write it without: openssl pkey -in {}",
                self.file.display()
            ))),
            Ok(key) => Ok(key),
            Err(error) => Err(self.fault(broken(&error))),
        }
    }

    /// A deny list, which is text; an empty file denies nobody.
    pub(super) fn denylist(&self) -> Result<Denylist, Vec<MaterialFault>> {
        let absent = format!("make it, it may be empty: touch {}", self.file.display());
        let (bytes, _) = self.read_or_empty(MAX_DENYLIST, &absent).map_err(|fault| vec![fault])?;
        let text = str::from_utf8(&bytes).map_err(|_| vec![self.fault("it is not UTF-8; write it as UTF-8 text, an entry a line")])?;
        Denylist::parse(text)
            .map_err(|faults| faults.iter().map(|fault| self.fault(format!("line {}: {}", fault.line, fault.what))).collect())
    }

    /// The file that CRLs are read from, as it is.
    pub(super) fn crl_file(&self) -> Result<Vec<u8>, Vec<MaterialFault>> {
        self.read(MAX_CRLS).map(|(bytes, _)| bytes).map_err(|fault| vec![fault])
    }

    /// Every CRL of the file, whose content is `bytes`; at least one.
    pub(super) fn crls(&self, bytes: &[u8]) -> Result<Vec<Crl>, Vec<MaterialFault>> {
        let blocks: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(bytes).collect();
        let blocks = blocks.map_err(|error| vec![self.fault(broken(&error))])?;
        if blocks.is_empty() {
            return Err(vec![self.fault(self.none_found(bytes, "X509 CRL", "crl"))]);
        }
        let (mut crls, mut faults) = (Vec::new(), Vec::new());
        for (number, der) in (1..).zip(blocks) {
            // A CRL comes from elsewhere, every day anew, and is read before its signature can be checked: whatever it holds,
            // the daemon goes on with the old ones (RUSTSEC-2026-0104 was a panic here, in another parser).
            match catch_unwind(AssertUnwindSafe(|| Crl::parse(&der))) {
                Ok(Ok(crl)) => crls.push(crl),
                Ok(Err(error)) => {
                    faults.push(self.fault(format!("CRL number {number} cannot be used: {error}; ask the CA for a complete one")))
                }
                Err(_) => faults.push(self.fault(format!("CRL number {number} broke the parser, which is a fault of Postern; replace it"))),
            }
        }
        if faults.is_empty() { Ok(crls) } else { Err(faults) }
    }

    /// The bytes of the regular file, at most `limit`, and what the open file is; `absent` says what to do where there is none.
    fn read_or_empty(&self, limit: u64, absent: &str) -> Result<(Vec<u8>, Metadata), MaterialFault> {
        #[allow(clippy::wildcard_enum_match_arm)] // io::ErrorKind is non-exhaustive
        let unreadable = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::NotFound => self.fault(format!("there is no such file; {absent}")),
            std::io::ErrorKind::PermissionDenied => {
                let us = os::us();
                self.fault(format!(
                    "it may not be read by {us}, whom Postern runs as; chown {us} {file}, or, if it is that user's, chmod u+r {file}",
                    file = self.file.display()
                ))
            }
            _ => self.fault(format!("it cannot be read: {error}")),
        };
        let file = os::open_at_once(self.file).map_err(unreadable)?;
        let metadata = file.metadata().map_err(unreadable)?;
        if !metadata.is_file() {
            return Err(self.fault("it is not a regular file; give the path of one"));
        }
        let mut bytes = Vec::new();
        file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(unreadable)?;
        if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > limit {
            return Err(self.fault(format!("it is longer than {limit} bytes, the most that is read")));
        }
        Ok((bytes, metadata))
    }

    /// The same, at least one.
    fn read(&self, limit: u64) -> Result<(Vec<u8>, Metadata), MaterialFault> {
        let (bytes, metadata) = self.read_or_empty(limit, "give the path of a PEM file, or make it with `postern pki`")?;
        if bytes.is_empty() {
            return Err(self.fault("it is empty; a PEM file was expected"));
        }
        Ok((bytes, metadata))
    }

    fn check_permissions(&self, metadata: &Metadata) -> Result<(), MaterialFault> {
        let forbidden = forbidden_mode(self.file, metadata.mode(), metadata.uid(), os::effective_uid());
        forbidden.map_or(Ok(()), |what| Err(self.fault(what)))
    }

    /// What to say of a file without a block called `label`; `tool` is the openssl command that makes one from DER.
    fn none_found(&self, bytes: &[u8], label: &str, tool: &str) -> String {
        if bytes.first() == Some(&0x30) {
            return format!("it seems to be DER; PEM was expected: openssl {tool} -inform DER -in {}", self.file.display());
        }
        let found =
            first_label(bytes).map_or_else(|| "no PEM block was found".to_owned(), |found| format!("a block \"{found}\" was found"));
        format!("{found}; \"-----BEGIN {label}-----\" was expected; are two file names mixed up?")
    }
}

/// What is wrong with a key file of this mode and owner for the user `us`, by PostgreSQL's rule
/// (src/backend/libpq/be-secure-common.c, check_ssl_key_file_permissions). Root's own files count as root's even if we are root.
fn forbidden_mode(file: &Path, mode: u32, owner: u32, us: u32) -> Option<String> {
    let (forbidden, allowed, whose) = match owner {
        0 => (0o037, "0640", "root's"),
        _ if owner == us => (0o077, "0600", "ours"),
        _ => return Some(format!("its owner is uid {owner}; it must be owned by root or by the user that runs Postern, uid {us}")),
    };
    let (mode, file) = (mode & 0o777, file.display());
    (mode & forbidden != 0).then(|| format!("its mode is {mode:04o}; it is {whose} and may be at most {allowed}: chmod {allowed} {file}"))
}

/// What to say of a PEM block that cannot be decoded.
fn broken(error: &pem::Error) -> String {
    // pem::Error is non-exhaustive, and shows bytes as numbers. Its end marker is the block's label.
    #[allow(clippy::wildcard_enum_match_arm)]
    let what = match error {
        pem::Error::MissingSectionEnd { end_marker } => format!("the line \"-----END {}-----\" is missing", end_marker.escape_ascii()),
        pem::Error::IllegalSectionStart { .. } => "a line that should begin a block does not end with \"-----\"".to_owned(),
        other => other.to_string(),
    };
    format!("it is not whole PEM: {what}; perhaps it was copied in part, write it again")
}

/// The label of the first PEM block, if it is plain text of a reasonable length.
fn first_label(bytes: &[u8]) -> Option<&str> {
    let text = bytes.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"-----BEGIN "))?;
    let label = str::from_utf8(text.trim_ascii_end().strip_suffix(b"-----")?).ok()?;
    (label.len() <= 40 && label.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ')).then_some(label)
}

fn has_block(bytes: &[u8], label: &str) -> bool {
    contains(bytes, format!("-----BEGIN {label}-----").as_bytes())
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// The largest files that are read, in bytes. A CRL with a million entries has about 50 MB in PEM; a system's bundle of all
/// public CAs 250 kB.
const MAX_KEY: u64 = 1 << 20;
const MAX_CERTIFICATES: u64 = 16 << 20;
const MAX_CRLS: u64 = 512 << 20;
const MAX_DENYLIST: u64 = 64 << 20;

#[cfg(test)]
mod tests;
