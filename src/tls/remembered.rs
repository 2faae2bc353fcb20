//! Signatures on certificates that were found good, so that an issuer's signature is computed at a certificate's first login and
//! looked up at its next: a quarter of what a login costs.
//!
//! Whether a key made a signature over a message never changes, so nothing that was decided is kept here, and nothing has to be taken
//! back: dates, revocation lists, usages and paths are judged anew at every login. Bad signatures are not kept, nor those of handshakes,
//! which are made anew each time.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::pki_types::{AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm};

use crate::crypto::Sha256;

/// How many are kept: about 300 KB at most. Only certificates below a configured CA get here.
const CAPACITY: usize = 4096;

/// Digests of keys, messages and signatures that belong together.
#[derive(Default)]
struct GoodSignatures(Mutex<HashSet<Sha256>>);

/// An algorithm that remembers what it found good, together with others.
pub(super) struct Remembered {
    algorithm: &'static dyn SignatureVerificationAlgorithm,
    good: Arc<GoodSignatures>,
}

impl Remembered {
    /// These algorithms, with one memory.
    pub(super) fn all(algorithms: &[&'static dyn SignatureVerificationAlgorithm]) -> Vec<Self> {
        let good = Arc::new(GoodSignatures::default());
        algorithms.iter().map(|algorithm| Self { algorithm: *algorithm, good: Arc::clone(&good) }).collect()
    }
}

impl SignatureVerificationAlgorithm for Remembered {
    fn verify_signature(&self, public_key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
        let [key_kind, kind] = [self.public_key_alg_id(), self.signature_alg_id()];
        let digest = Sha256::of_parts(&[key_kind.as_ref(), kind.as_ref(), public_key, message, signature]);
        if self.good.contains(&digest) {
            return Ok(());
        }
        self.algorithm.verify_signature(public_key, message, signature)?;
        self.good.insert(digest);
        Ok(())
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.algorithm.public_key_alg_id()
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.algorithm.signature_alg_id()
    }

    fn fips(&self) -> bool {
        self.algorithm.fips()
    }
}

impl fmt::Debug for Remembered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Remembered").field(&self.algorithm).finish()
    }
}

impl GoodSignatures {
    fn contains(&self, digest: &Sha256) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(digest)
    }

    /// Where there is no more room, all is forgotten: what is still in use is soon back.
    fn insert(&self, digest: Sha256) {
        let mut good = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if good.len() >= CAPACITY {
            good.clear();
        }
        good.insert(digest);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use rustls::pki_types::alg_id;

    use super::*;

    /// Takes signatures that are their message, and counts how often it is asked.
    #[derive(Debug, Default)]
    struct Counting(AtomicUsize);

    impl SignatureVerificationAlgorithm for Counting {
        fn verify_signature(&self, _: &[u8], message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
            self.0.fetch_add(1, Ordering::Relaxed);
            (message == signature).then_some(()).ok_or(InvalidSignature)
        }

        fn public_key_alg_id(&self) -> AlgorithmIdentifier {
            alg_id::ECDSA_P256
        }

        fn signature_alg_id(&self) -> AlgorithmIdentifier {
            alg_id::ECDSA_SHA256
        }
    }

    fn counting() -> (&'static Counting, Remembered) {
        let counting: &Counting = Box::leak(Box::default());
        (counting, Remembered::all(&[counting]).remove(0))
    }

    #[test]
    fn a_good_signature_is_computed_once() {
        let (counting, remembered) = counting();
        for _ in 0..3 {
            assert!(remembered.verify_signature(b"key", b"message", b"message").is_ok());
        }
        assert_eq!(counting.0.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_bad_signature_is_computed_each_time_and_is_bad_after_a_good_one() {
        let (counting, remembered) = counting();
        remembered.verify_signature(b"key", b"message", b"message").unwrap();
        for _ in 0..3 {
            assert!(remembered.verify_signature(b"key", b"message", b"massage").is_err());
            assert!(remembered.verify_signature(b"key", b"massage", b"message").is_err());
        }
        assert_eq!(counting.0.load(Ordering::Relaxed), 7);
    }

    #[test]
    fn another_key_is_another_question() {
        let (counting, remembered) = counting();
        for key in [&b"key"[..], b"kez", b"key"] {
            remembered.verify_signature(key, b"message", b"message").unwrap();
        }
        assert_eq!(counting.0.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_full_memory_forgets_and_goes_on() {
        let (counting, remembered) = counting();
        for number in 0..=CAPACITY {
            let message = number.to_be_bytes();
            remembered.verify_signature(b"key", &message, &message).unwrap();
        }
        assert_eq!(remembered.good.0.lock().unwrap().len(), 1);
        assert_eq!(counting.0.load(Ordering::Relaxed), CAPACITY + 1);
    }
}
