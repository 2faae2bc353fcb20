//! What a login would say of a certificate, asked without one: the same rules, for `pki show`.

use crate::identity::Certificate;

use super::path::{in_force, may_log_in};
use super::server::provider;
use super::signature::{Verdict, unusable, verify};

/// Why `leaf` would be refused as a client's at `now`, in seconds since 1970, whoever had issued it; empty if nothing speaks
/// against it.
pub fn faults_at_login(leaf: &Certificate, now: i64) -> Vec<String> {
    let rules = [may_log_in(leaf), in_force(leaf, now)];
    let refused = rules.into_iter().filter_map(Result::err).map(|refusal| refusal.cause.to_string());
    refused.chain(unusable_key(leaf)).chain(unusable_signature(leaf)).collect()
}

/// What makes a certificate's key unusable for any signature here, or `None` if nothing does.
pub fn unusable_key(certificate: &Certificate) -> Option<String> {
    unusable(certificate.key(), &provider().signature_verification_algorithms)
}

/// That nobody here can verify the kind of signature that is on `certificate`.
fn unusable_signature(certificate: &Certificate) -> Option<String> {
    let algorithms = provider().signature_verification_algorithms;
    let known = algorithms.all.iter().any(|algorithm| algorithm.signature_alg_id().as_ref() == &*certificate.signed().algorithm);
    (!known).then(|| format!("its signature ({}) is of a kind that cannot be verified here", certificate.signature_words()))
}

/// Whether the key of `issuer` made the signature on `certificate`; `None` if its algorithm, or that key, cannot be used here.
pub fn is_signed_by(certificate: &Certificate, issuer: &Certificate) -> Option<bool> {
    if unusable_key(issuer).is_some() {
        return None;
    }
    match verify(certificate.signed(), issuer.public_key(), provider().signature_verification_algorithms.all) {
        Verdict::Good => Some(true),
        Verdict::Bad => Some(false),
        Verdict::Unsupported => None,
    }
}
