//! The primitives that Postern needs beside TLS: SHA-256 for fingerprints and the audit chain, a comparison whose time does
//! not depend on where two secrets differ, random octets, and a key in a form that all can read. Only this file uses aws-lc-rs directly.

use std::io::{self, Read};

use aws_lc_rs::signature::Ed25519KeyPair;
use aws_lc_rs::{constant_time, digest, rand};
use zeroize::Zeroizing;

/// A SHA-256 digest (FIPS 180-4).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sha256([u8; 32]);

impl Sha256 {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self::from_digest(&digest::digest(&digest::SHA256, bytes))
    }

    /// The digest of what `source` holds, up to `most` bytes of it.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn of_all(source: impl Read, most: u64) -> io::Result<Self> {
        let mut context = digest::Context::new(&digest::SHA256);
        let mut source = source.take(most);
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match source.read(&mut buffer) {
                Ok(0) => return Ok(Self::from_digest(&context.finish())),
                Ok(read) => context.update(buffer.get(..read).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The digest of a list: each part with its length before it, so that no other list of parts has the same.
    pub fn of_parts(parts: &[&[u8]]) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        for part in parts {
            context.update(&part.len().to_be_bytes());
            context.update(part);
        }
        Self::from_digest(&context.finish())
    }

    fn from_digest(digest: &digest::Digest) -> Self {
        let mut out = [0; 32];
        for (to, from) in out.iter_mut().zip(digest.as_ref()) {
            *to = *from;
        }
        Self(out)
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl std::fmt::Display for Sha256 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sha256({self})")
    }
}

/// Whether two secrets are equal, in a time that depends on their lengths alone.
pub fn secrets_equal(one: &[u8], other: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(one, other).is_ok()
}

/// The system has no random octets to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRandomness;

impl std::fmt::Display for NoRandomness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the system's random number generator failed")
    }
}

/// Octets that nobody can guess.
///
/// # Errors
/// The system has none.
pub fn random<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut octets = [0; N];
    rand::fill(&mut octets).map_err(|_| NoRandomness)?;
    Ok(octets)
}

/// A new Ed25519 key as PKCS #8 of version 1 (RFC 5208), in DER: OpenSSL before 3.2 and Java cannot read version 2, which has the
/// public key too.
///
/// # Errors
/// The system has no random octets.
pub fn ed25519_key() -> Result<Zeroizing<Vec<u8>>, NoRandomness> {
    let key = Ed25519KeyPair::generate().and_then(|key| key.to_pkcs8v1()).map_err(|_| NoRandomness)?;
    Ok(Zeroizing::new(key.as_ref().to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_of_abc_is_the_one_of_fips_180() {
        assert_eq!(Sha256::of(b"abc").to_string(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn the_digest_of_a_stream_is_that_of_its_bytes() {
        let bytes = vec![7; 200_000];
        assert_eq!(Sha256::of_all(bytes.as_slice(), u64::MAX).unwrap(), Sha256::of(&bytes));
        assert_eq!(Sha256::of_all(bytes.as_slice(), 100_000).unwrap(), Sha256::of(&bytes[..100_000]));
    }

    #[test]
    fn a_list_has_another_digest_than_its_parts_cut_otherwise() {
        let digest = Sha256::of_parts(&[b"ab", b"c"]);
        assert_eq!(digest, Sha256::of_parts(&[b"ab", b"c"]));
        for other in [&[&b"a"[..], b"bc"][..], &[b"abc"], &[b"ab", b"c", b""], &[b"c", b"ab"]] {
            assert_ne!(digest, Sha256::of_parts(other));
        }
    }

    #[test]
    fn random_octets_are_not_the_same_twice() {
        let (one, other): (Result<[u8; 16], _>, Result<[u8; 16], _>) = (random(), random());
        assert!(one.is_ok() && other.is_ok());
        assert_ne!(one, other);
    }

    #[test]
    fn secrets_of_different_length_or_content_differ() {
        assert!(secrets_equal(b"key", b"key"));
        assert!(!secrets_equal(b"key", b"kez"));
        assert!(!secrets_equal(b"key", b"ke"));
    }
}
