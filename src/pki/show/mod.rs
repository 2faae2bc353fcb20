//! A look into a file of PEM or DER: what each block is, and what Postern will make of its certificates.
//!
//! It only reads, never waits for anybody, and shows no secret. Whether a certificate is signed and would pass a login is asked
//! of a [`Verifier`], so that there is one set of rules.

mod render;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use rcgen::{KeyPair, PublicKeyData};

use crate::identity::{Certificate, CertificateError, Crl, CrlError, Request};

pub use render::render;

/// Who knows what a login would say.
pub trait Verifier {
    /// Whether the key of `issuer` made the signature on `certificate`; `None` if nobody here can tell.
    fn is_signed_by(&self, certificate: &Certificate, issuer: &Certificate) -> Option<bool>;
    /// Why `certificate` would be refused as a client's at `now`, whoever had issued it.
    fn faults_at_login(&self, certificate: &Certificate, now: i64) -> Vec<String>;
    /// What makes a certificate's key unusable.
    fn unusable_key(&self, certificate: &Certificate) -> Option<String>;
}

/// One block of a PEM file.
#[derive(Debug)]
pub enum Block {
    /// CERTIFICATE.
    Certificate(Result<Box<Certificate>, CertificateError>),
    /// X509 CRL.
    Crl(Result<Box<Crl>, CrlError>),
    /// CERTIFICATE REQUEST.
    Request(Result<Box<Request>, &'static str>),
    /// A private key: its label, and its public half if it can be read.
    Key {
        /// The block's label.
        label: String,
        /// The DER of its SubjectPublicKeyInfo; `None` behind a passphrase, or for a kind that is not known here.
        public_key: Option<Vec<u8>>,
    },
    /// Something else: its label.
    Other(String),
}

/// Why a file shows nothing.
#[derive(Debug)]
pub enum ShowError {
    /// It cannot be read.
    Unreadable(io::Error),
    /// It is longer than anything that belongs here.
    TooLong,
    /// A block of it cannot be decoded.
    BrokenPem(pem::PemError),
    /// It has no block, and is no DER certificate either.
    Nothing,
}

/// Reads every block of a file, in its order; at least one. A certificate, a CRL, a request or a key in DER counts as a block too.
///
/// # Errors
/// The file cannot be read, or is not PEM.
pub fn read(path: &Path) -> Result<Vec<Block>, ShowError> {
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(LARGEST.saturating_add(1)).read_to_end(&mut bytes)).map_err(ShowError::Unreadable)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > LARGEST {
        return Err(ShowError::TooLong);
    }
    blocks(&bytes)
}

/// The blocks in `bytes`.
fn blocks(bytes: &[u8]) -> Result<Vec<Block>, ShowError> {
    if bytes.first() == Some(&DER_SEQUENCE) {
        return der(bytes).map(|block| vec![block]).ok_or(ShowError::Nothing);
    }
    let blocks: Vec<_> = pem::parse_many(bytes).map_err(ShowError::BrokenPem)?.iter().map(block).collect();
    if blocks.is_empty() { Err(ShowError::Nothing) } else { Ok(blocks) }
}

/// What `bytes` are, if anything that is known here.
fn der(bytes: &[u8]) -> Option<Block> {
    if let Ok(certificate) = Certificate::parse(bytes) {
        return Some(Block::Certificate(Ok(Box::new(certificate))));
    }
    if let Ok(crl) = Crl::parse(bytes) {
        return Some(Block::Crl(Ok(Box::new(crl))));
    }
    if let Ok(request) = Request::parse(bytes) {
        return Some(Block::Request(Ok(Box::new(request))));
    }
    let key = KeyPair::try_from(bytes).ok()?;
    Some(Block::Key { label: "DER".to_owned(), public_key: Some(key.subject_public_key_info()) })
}

fn block(pem: &pem::Pem) -> Block {
    match pem.tag() {
        "CERTIFICATE" => Block::Certificate(Certificate::parse(pem.contents()).map(Box::new)),
        "X509 CRL" => Block::Crl(Crl::parse(pem.contents()).map(Box::new)),
        "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => Block::Request(Request::parse(pem.contents()).map(Box::new)),
        label if label.ends_with("PRIVATE KEY") => {
            let readable = if label == "ENCRYPTED PRIVATE KEY" { None } else { KeyPair::try_from(pem.contents()).ok() };
            Block::Key { label: label.to_owned(), public_key: readable.map(|key| key.subject_public_key_info()) }
        }
        label => Block::Other(label.chars().filter(|character| character.is_ascii_graphic() || *character == ' ').take(40).collect()),
    }
}

impl std::fmt::Display for ShowError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreadable(error) => write!(f, "it cannot be read: {error}"),
            Self::TooLong => write!(f, "it is longer than {LARGEST} bytes, expected a PEM file with certificates"),
            Self::BrokenPem(error) => write!(f, "it is not whole PEM ({error}): perhaps it was copied in part, write it again"),
            Self::Nothing => write!(
                f,
                "found no PEM block and nothing in DER that is known here, expected certificates, keys, requests or CRLs; for PKCS#12 try `openssl pkcs12 -nokeys -in` and \
                 its path, for PKCS#7 `openssl pkcs7 -print_certs -in`"
            ),
        }
    }
}

impl std::error::Error for ShowError {}

/// A system's bundle of all public CAs has 250 kB; a CRL with a million entries, which `check` reads, 50 MB.
const LARGEST: u64 = 64 << 20;
/// What every DER certificate starts with.
const DER_SEQUENCE: u8 = 0x30;

#[cfg(test)]
mod tests;
