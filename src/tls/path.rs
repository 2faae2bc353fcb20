//! The rules for a path whose signatures are known to be good: what OpenSSL asks of it and webpki does not, in OpenSSL's
//! order (crypto/x509/x509_vfy.c, verify_chain: extensions, then revocation, then dates).

use crate::identity::{Certificate, Link, Version};

use super::refusal::{Refusal, date, shown};
use super::revocation::RevocationLists;

/// A leaf, the CAs above it from its issuer upwards, and the trust anchor that ends it.
pub(super) struct Path<'a> {
    pub(super) leaf: &'a Certificate,
    pub(super) intermediates: &'a [Certificate],
    pub(super) anchor: &'a Certificate,
}

impl Path<'_> {
    /// Judges everything but the leaf's own dates, which come last, and gives the path's links.
    pub(super) fn judge(&self, lists: Option<&RevocationLists>, now: i64) -> Result<Vec<Link>, Refusal> {
        may_log_in(self.leaf)?;
        for (index, intermediate) in self.intermediates.iter().enumerate() {
            may_issue(intermediate, self.below(index))?;
        }
        may_issue(self.anchor, self.intermediates)?;
        self.names_are_constrained_in_full()?;
        if let Some(lists) = lists {
            self.steps().try_for_each(|(certificate, issuer)| lists.check(certificate, issuer, now))?;
        }
        in_force(self.anchor, now)?;
        self.intermediates.iter().rev().try_for_each(|intermediate| in_force(intermediate, now))?;
        Ok(self.steps().map(|(certificate, issuer)| link(certificate, issuer)).collect())
    }

    /// webpki holds a leaf's alternative names to the constraints above it, OpenSSL the common name too where there is no dNSName
    /// (crypto/x509/v3_ncons.c, NAME_CONSTRAINTS_check_CN). The common name is the role here, so without a dNSName nobody enters.
    fn names_are_constrained_in_full(&self) -> Result<(), Refusal> {
        let constrained = self.intermediates.iter().chain([self.anchor]).any(|authority| authority.extensions().name_constraints);
        if constrained && !self.leaf.extensions().dns_name {
            return Err(Refusal::invalid(format!(
                "{} has no DNS name, and a CA above it has name constraints, which cannot be checked on its common name",
                shown(self.leaf)
            )));
        }
        Ok(())
    }

    /// The intermediates below the one at `index`.
    fn below(&self, index: usize) -> &[Certificate] {
        self.intermediates.get(..index).unwrap_or_default()
    }

    /// Each certificate with its issuer, from the leaf to the anchor, which is its own issuer: OpenSSL asks its CRL about the
    /// anchor too.
    fn steps(&self) -> impl Iterator<Item = (&Certificate, &Certificate)> {
        let certificates = std::iter::once(self.leaf).chain(self.intermediates).chain([self.anchor]);
        let issuers = self.intermediates.iter().chain([self.anchor, self.anchor]);
        certificates.zip(issuers)
    }
}

/// That `certificate` is valid at `now`, in seconds since 1970. Its last second is over when it begins, as in OpenSSL
/// (X509_cmp_time).
pub(super) fn in_force(certificate: &Certificate, now: i64) -> Result<(), Refusal> {
    if now < certificate.not_before() {
        let who = shown(certificate);
        return Err(Refusal::not_yet_valid(format!("{who} is valid only from {}", date(certificate.not_before()))));
    }
    if now >= certificate.not_after() {
        let who = shown(certificate);
        return Err(Refusal::expired(format!("{who} was valid until {}", date(certificate.not_after()))));
    }
    Ok(())
}

/// That the leaf may authenticate a TLS client (crypto/x509/v3_purp.c, check_purpose_ssl_client), and is no CA.
pub(super) fn may_log_in(leaf: &Certificate) -> Result<(), Refusal> {
    let extensions = leaf.extensions();
    let refused = |what: &str| Err(Refusal::purpose(format!("{} {what}", shown(leaf))));
    if leaf.is_authority() {
        return refused("is a CA certificate, which cannot log in");
    }
    if extensions.extended_key_usage.is_some_and(|usage| !usage.client_auth) {
        return refused("has an extended key usage without clientAuth");
    }
    if extensions.key_usage.is_some_and(|usage| !usage.digital_signature && !usage.key_agreement) {
        return refused("has a key usage with neither digitalSignature nor keyAgreement");
    }
    if extensions.netscape_client == Some(false) {
        return refused("has a Netscape certificate type that is not for clients");
    }
    Ok(())
}

/// That `authority` may issue, with the intermediates `below` between it and the leaf (v3_purp.c, check_ca; x509_vfy.c,
/// check_extensions).
fn may_issue(authority: &Certificate, below: &[Certificate]) -> Result<(), Refusal> {
    let extensions = authority.extensions();
    let refused = |what: &str| Err(Refusal::no_authority(format!("{} {what}", shown(authority))));
    if extensions.key_usage.is_some_and(|usage| !usage.cert_sign) {
        return refused("may not issue: its key usage lacks keyCertSign");
    }
    let declared = match (extensions.basic_constraints, authority.version()) {
        (Some(constraints), _) => constraints.ca,
        // A v1 root, or a v3 root of old that has only the key usage.
        (None, Version::V1) => authority.self_issued(),
        (None, Version::V3) => authority.self_issued() && extensions.key_usage.is_some(),
    };
    if !declared {
        return refused("may not issue: it is not a CA certificate");
    }
    let counted = below.iter().filter(|intermediate| !intermediate.self_issued()).count();
    let allowed = extensions.basic_constraints.and_then(|constraints| constraints.path_length);
    if allowed.is_some_and(|allowed| counted > usize::try_from(allowed).unwrap_or(usize::MAX)) {
        return refused("allows fewer CAs below it than there are");
    }
    if extensions.extended_key_usage.is_some_and(|usage| !usage.client_auth) {
        return Err(Refusal::purpose(format!(
            "{} may issue only certificates for other purposes: its extended key usage lacks clientAuth",
            shown(authority)
        )));
    }
    if extensions.unknown_critical {
        return Err(Refusal::invalid(format!("{} has a critical extension that is not known here", shown(authority))));
    }
    Ok(())
}

fn link(certificate: &Certificate, issuer: &Certificate) -> Link {
    Link { serial: certificate.serial().into(), issuer: issuer.subject().as_der().into(), issuer_key: issuer.public_key().into() }
}
