//! The CRLs of `tls.ssl_crl_file`, and what they say about one certificate. One routine for every certificate of a path,
//! v1 and v3 alike; what cannot be known is refused (OpenSSL, crypto/x509/x509_vfy.c, check_revocation with
//! X509_V_FLAG_CRL_CHECK_ALL).

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock, PoisonError};

use rustls::crypto::WebPkiSupportedAlgorithms;

use crate::crypto::Sha256;
use crate::identity::{Certificate, Crl, Link, Scope};

use super::refusal::{Alert, Refusal, shown};
use super::signature::{self, Verdict};

/// Every configured CRL, by issuer.
pub(super) struct RevocationLists {
    by_issuer: HashMap<Box<[u8]>, Vec<Listed>>,
    algorithms: WebPkiSupportedAlgorithms,
}

/// A CRL, and the key that its signature was verified with.
struct Listed {
    crl: Crl,
    /// The digest of the signer's SubjectPublicKeyInfo. A signature verifies with one key, so the first is the only one.
    signer: OnceLock<Sha256>,
    /// Keys that bear its issuer's name and did not sign it, so that a forged list of a million entries is not hashed at each login.
    others: Mutex<Vec<Sha256>>,
}

impl RevocationLists {
    /// Takes in `crls`, and verifies those at once whose issuer is among `authorities`: a list of a million entries is not
    /// hashed again at a login.
    pub(super) fn new(crls: Vec<Crl>, authorities: &[&Certificate], algorithms: WebPkiSupportedAlgorithms) -> Self {
        let mut by_issuer: HashMap<Box<[u8]>, Vec<Listed>> = HashMap::new();
        for crl in crls {
            let mut listed = Listed { crl, signer: OnceLock::new(), others: Mutex::default() };
            let named = authorities.iter().filter(|authority| authority.subject().as_der() == listed.crl.issuer().as_der());
            if named.into_iter().any(|authority| listed.signed_by(authority.public_key(), &algorithms)) {
                listed.crl.forget_message();
            }
            by_issuer.entry(listed.crl.issuer().as_der().into()).or_default().push(listed);
        }
        Self { by_issuer, algorithms }
    }

    /// That `certificate`, which `issuer` issued, is not revoked at `now`, in seconds since 1970.
    pub(super) fn check(&self, certificate: &Certificate, issuer: &Certificate, now: i64) -> Result<(), Refusal> {
        let (who, by) = (|| shown(certificate), || shown(issuer));
        let unknown = |what: String, alert| Err(Refusal::revocation_unknown(what, alert));
        if issuer.extensions().key_usage.is_some_and(|usage| !usage.crl_sign) {
            return unknown(format!("{} may not sign CRLs: its key usage lacks cRLSign", by()), Alert::CertificateUnknown);
        }
        let (mut covering, mut others) = (Vec::new(), false);
        for crl in self.of(issuer.subject().as_der(), issuer.public_key()) {
            match crl.scope().covers(certificate) {
                Ok(true) => covering.push(crl),
                Ok(false) => others = true,
                Err(error) => {
                    return unknown(format!("the CRL distribution points of {} cannot be read: {error}", who()), Alert::BadCertificate);
                }
            }
        }
        let newest = newest_of_each_scope(&covering, now);
        match (covering.is_empty(), newest.is_empty()) {
            // X509_V_ERR_DIFFERENT_CRL_SCOPE, X509_V_ERR_UNABLE_TO_GET_CRL, X509_V_ERR_CRL_NOT_YET_VALID.
            (true, _) if others => return unknown(format!("no CRL of {} covers {}", by(), who()), Alert::CertificateUnknown),
            (true, _) => return unknown(format!("there is no CRL of {}", by()), Alert::UnknownCa),
            (false, true) => return unknown(format!("the CRL of {} is not yet in force", by()), Alert::BadCertificate),
            (false, false) => {}
        }
        if newest.iter().all(|crl| crl.next_update().is_some_and(|next| next <= now)) {
            return unknown(format!("the CRL of {} has expired", by()), Alert::CertificateExpired);
        }
        if newest.iter().any(|crl| crl.lists(certificate.serial())) {
            return Err(Refusal::revoked(format!("a CRL of {} lists {}", by(), who())));
        }
        Ok(())
    }

    /// Whether the newest CRLs list what `link` is about: positive evidence, for judging a session that lives.
    pub(super) fn lists(&self, link: &Link, now: i64) -> bool {
        let crls: Vec<_> = self.of(&link.issuer, &link.issuer_key).collect();
        newest_of_each_scope(&crls, now).iter().any(|crl| crl.lists(&link.serial))
    }

    /// Whether there is a CRL of this issuer's that its key signed.
    pub(super) fn knows(&self, issuer: &Certificate) -> bool {
        self.of(issuer.subject().as_der(), issuer.public_key()).next().is_some()
    }

    /// Whether there is one that has begun and not expired at `now`.
    pub(super) fn in_force(&self, issuer: &Certificate, now: i64) -> bool {
        let crls: Vec<_> = self.of(issuer.subject().as_der(), issuer.public_key()).collect();
        newest_of_each_scope(&crls, now).iter().any(|crl| crl.next_update().is_none_or(|next| next > now))
    }

    /// Every CRL, with whether a configured CA signed it.
    pub(super) fn all(&self) -> impl Iterator<Item = (&Crl, bool)> {
        self.by_issuer.values().flatten().map(|listed| (&listed.crl, listed.signer.get().is_some()))
    }

    /// The CRLs that are asked at `now`, of each issuer's key and scope the newest.
    pub(super) fn asked(&self, now: i64) -> Vec<&Crl> {
        let mut of_signer: HashMap<(&[u8], Option<Sha256>), Vec<&Crl>> = HashMap::new();
        for (issuer, listed) in self.by_issuer.iter().flat_map(|(issuer, named)| named.iter().map(move |listed| (issuer, listed))) {
            of_signer.entry((issuer, listed.signer.get().copied())).or_default().push(&listed.crl);
        }
        of_signer.values().flat_map(|crls| newest_of_each_scope(crls, now)).collect()
    }

    /// The CRLs in the name `issuer` that the key `public_key` signed.
    fn of<'a>(&'a self, issuer: &[u8], public_key: &'a [u8]) -> impl Iterator<Item = &'a Crl> {
        let named = self.by_issuer.get(issuer).map(Vec::as_slice).unwrap_or_default();
        named.iter().filter(|listed| listed.signed_by(public_key, &self.algorithms)).map(|listed| &listed.crl)
    }
}

impl Listed {
    fn signed_by(&self, public_key: &[u8], algorithms: &WebPkiSupportedAlgorithms) -> bool {
        let digest = Sha256::of(public_key);
        if let Some(signer) = self.signer.get() {
            return *signer == digest;
        }
        if self.others.lock().unwrap_or_else(PoisonError::into_inner).contains(&digest) {
            return false;
        }
        if signature::verify(self.crl.signed(), public_key, algorithms.all) == Verdict::Good {
            return *self.signer.get_or_init(|| digest) == digest;
        }
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        if others.len() < MOST_OTHERS && !others.contains(&digest) {
            others.push(digest);
        }
        false
    }
}

/// More keys than a CA has under one name.
const MOST_OTHERS: usize = 16;

/// Of the CRLs in force at `now`, the newest of each scope, and all of them where several are equally new. An older one is
/// not asked, even if the newest has expired.
fn newest_of_each_scope<'a>(crls: &[&'a Crl], now: i64) -> Vec<&'a Crl> {
    let in_force = || crls.iter().copied().filter(|crl| crl.this_update() <= now);
    let mut newest: HashMap<&Scope, i64> = HashMap::new();
    for crl in in_force() {
        let time = newest.entry(crl.scope()).or_insert_with(|| crl.this_update());
        *time = crl.this_update().max(*time);
    }
    in_force().filter(|crl| newest.get(crl.scope()) == Some(&crl.this_update())).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use rustls::pki_types::{AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm, alg_id};

    use super::*;
    use crate::identity::testing::{CrlDraft, Maker};

    /// Finds no signature good, and counts how often it is asked.
    #[derive(Debug, Default)]
    struct Counting(AtomicUsize);

    impl SignatureVerificationAlgorithm for Counting {
        fn verify_signature(&self, _: &[u8], _: &[u8], _: &[u8]) -> Result<(), InvalidSignature> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Err(InvalidSignature)
        }

        fn public_key_alg_id(&self) -> AlgorithmIdentifier {
            alg_id::ECDSA_P256
        }

        fn signature_alg_id(&self) -> AlgorithmIdentifier {
            alg_id::ECDSA_SHA256
        }
    }

    #[test]
    fn a_forged_list_is_hashed_once_for_each_key_and_not_at_every_login() {
        let counting: &Counting = Box::leak(Box::default());
        let all: &[&dyn SignatureVerificationAlgorithm] = Box::leak(Box::new([counting as &dyn SignatureVerificationAlgorithm]));
        let algorithms = WebPkiSupportedAlgorithms { all, mapping: &[] };
        let forged = Crl::parse(&CrlDraft::of(&[&[5]]).sign(&Maker::new("ca"))).expect("a CRL");
        let [one, other] = [Maker::new("ca"), Maker::new("ca")].map(|ca| Certificate::parse(&ca.root()).expect("a certificate"));
        let lists = RevocationLists::new(vec![forged], &[&one], algorithms);
        for _ in 0..3 {
            assert!(!lists.knows(&one) && !lists.knows(&other));
        }
        assert_eq!(counting.0.load(Ordering::Relaxed), 2);
    }
}
