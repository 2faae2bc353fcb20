//! The one place that checks a signature on a certificate or a CRL outside webpki's own path building.

use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer};
use webpki::RawPublicKeyEntity;

use crate::identity::{PublicKey, Signed};

/// What is known of a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The key made it.
    Good,
    /// The key did not make it.
    Bad,
    /// Nobody here can tell: the algorithm, or the key's kind or size, is not supported.
    Unsupported,
}

/// Whether the key in the SubjectPublicKeyInfo `public_key` made the signature of `signed`.
pub(super) fn verify(signed: &Signed, public_key: &[u8], algorithms: &[&dyn SignatureVerificationAlgorithm]) -> Verdict {
    let spki = SubjectPublicKeyInfoDer::from(public_key);
    let Ok(key) = RawPublicKeyEntity::try_from(&spki) else { return Verdict::Unsupported };
    let named = algorithms.iter().filter(|algorithm| algorithm.signature_alg_id().as_ref() == &*signed.algorithm);
    for algorithm in named {
        match key.verify_signature(*algorithm, &signed.message, &signed.signature) {
            Ok(()) => return Verdict::Good,
            Err(webpki::Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_)) => {}
            Err(_) => return Verdict::Bad,
        }
    }
    Verdict::Unsupported
}

/// What makes a key unusable for any signature here, or `None` if nothing does.
pub(super) fn unusable(key: Option<PublicKey<'_>>, algorithms: &WebPkiSupportedAlgorithms) -> Option<String> {
    let key = key?;
    if let Some(bits) = key.rsa_bits() {
        return (!(2048..=8192).contains(&bits)).then(|| format!("its RSA key has {bits} bits; 2048 to 8192 can be used"));
    }
    let known = algorithms.all.iter().any(|algorithm| algorithm.public_key_alg_id().as_ref() == key.algorithm());
    (!known).then(|| "its key is of a kind that cannot be used here, such as Ed448, a Brainpool curve or RSA-PSS".to_owned())
}
