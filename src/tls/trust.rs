//! Who may issue client certificates, and whether one certificate is good now. A pure function of the files and the time:
//! the handshake asks it, `explain` asks it, and nothing else decides.
//!
//! OpenSSL's rules, since PostgreSQL's users have them: only self-signed certificates of the CA file end a path, all others
//! in it are intermediates; the anchor's own dates and usage count. Signatures, names and constraints of v3 paths are left
//! to webpki. A v1 leaf, which webpki does not read, is judged by the same rules, its issuer being an anchor itself.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use rustls::DistinguishedName;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, SignatureVerificationAlgorithm, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage, VerifiedPath};

use crate::error::TlsFailure;
use crate::identity::{Certificate, CommonName, Denylist, Link, Traits, VerifiedChain, Version};

use super::X509V1;
use super::path::{Path, in_force};
use super::refusal::{Refusal, shortened, shown};
use super::remembered::Remembered;
use super::revocation::RevocationLists;
use super::signature::{self, Verdict};

/// What `tls.ssl_ca_file`, `tls.ssl_crl_file` and `tls.x509_v1` say.
pub(super) struct ClientTrust {
    anchors: Vec<Certificate>,
    intermediates: Vec<Authority>,
    lists: Option<Arc<RevocationLists>>,
    x509_v1: X509V1,
    denylist: Denylist,
    algorithms: WebPkiSupportedAlgorithms,
    /// The algorithms once more, for the signatures on certificates, which come again with every login.
    remembered: Vec<Remembered>,
    /// The anchors once more, as webpki wants them, in the same order.
    webpki_anchors: Vec<TrustAnchor<'static>>,
}

/// A certificate of the CA file with its DER.
pub(super) struct Authority {
    pub(super) certificate: Certificate,
    pub(super) der: CertificateDer<'static>,
}

impl Authority {
    /// Whether webpki reads it, so that it can be part of a path. One that it does not read would only hide, by its own
    /// error, why no path was found.
    pub(super) fn usable(&self) -> bool {
        self.certificate.version() == Version::V3 && EndEntityCert::try_from(&self.der).is_ok()
    }
}

impl ClientTrust {
    /// Sorts the CA file's certificates into anchors and intermediates. An error for each anchor that
    /// webpki cannot read; no anchor at all is for the caller to judge.
    pub(super) fn new(
        authorities: Vec<Authority>,
        lists: Option<Arc<RevocationLists>>,
        x509_v1: X509V1,
        algorithms: WebPkiSupportedAlgorithms,
    ) -> Result<Self, Vec<String>> {
        let mut trust = Self {
            anchors: Vec::new(),
            intermediates: Vec::new(),
            lists,
            x509_v1,
            denylist: Denylist::default(),
            algorithms,
            remembered: Remembered::all(algorithms.all),
            webpki_anchors: Vec::new(),
        };
        let mut faults = Vec::new();
        for authority in authorities {
            if !self_signed(&authority.certificate, &algorithms) {
                trust.intermediates.push(authority);
                continue;
            }
            match webpki::anchor_from_trusted_cert(&authority.der) {
                Ok(anchor) => {
                    trust.webpki_anchors.push(anchor.to_owned());
                    trust.anchors.push(authority.certificate);
                }
                Err(error) => faults.push(format!("{} cannot be a trust anchor: {error:?}", shown(&authority.certificate))),
            }
        }
        if faults.is_empty() { Ok(trust) } else { Err(faults) }
    }

    /// The self-signed certificates of the CA file.
    pub(super) fn anchors(&self) -> impl Iterator<Item = &Certificate> {
        self.anchors.iter()
    }

    /// The other certificates of the CA file.
    pub(super) fn intermediates(&self) -> impl Iterator<Item = &Authority> {
        self.intermediates.iter()
    }

    /// The subjects of the CA file's certificates, which the server shows its clients so that they can choose one of their
    /// own: all of them, as PostgreSQL (be_tls_init, SSL_load_client_CA_file). None if they are too long for the message.
    pub(super) fn hints(&self) -> Vec<DistinguishedName> {
        let mut subjects: Vec<&[u8]> = Vec::new();
        for certificate in self.anchors().chain(self.intermediates.iter().map(|authority| &authority.certificate)) {
            let subject = certificate.subject().as_der();
            if !subjects.contains(&subject) {
                subjects.push(subject);
            }
        }
        if subjects.iter().map(|subject| subject.len()).sum::<usize>() > MAX_HINTS {
            return Vec::new();
        }
        subjects.into_iter().map(|subject| DistinguishedName::from(subject.to_vec())).collect()
    }

    /// The configured CRLs, if there are any.
    pub(super) fn lists(&self) -> Option<&RevocationLists> {
        self.lists.as_deref()
    }

    /// Whether it can be known at `now` what `anchor` has revoked; without CRLs nobody asks.
    pub(super) fn knows_revocations(&self, anchor: &Certificate, now: i64) -> bool {
        self.lists.as_ref().is_none_or(|lists| lists.in_force(anchor, now))
    }

    /// The signature algorithms that can be verified.
    pub(super) fn algorithms(&self) -> &WebPkiSupportedAlgorithms {
        &self.algorithms
    }

    /// Verifies the certificate `leaf` at `now`, in seconds since 1970, with the certificates `sent` beside it.
    pub(super) fn verify(&self, leaf: &[u8], sent: &[CertificateDer<'_>], now: i64) -> Result<VerifiedChain, Refusal> {
        if sent.len() > MAX_SENT {
            return Err(Refusal::untrusted(format!("{} certificates were sent beside the client's own; {MAX_SENT} are read", sent.len())));
        }
        let certificate = Certificate::parse(leaf).map_err(|error| Refusal::malformed(error.to_string()))?;
        let links = match certificate.version() {
            Version::V1 => self.judge_v1(&certificate, now)?,
            Version::V3 => self.judge_v3(&certificate, leaf, sent, now)?,
        };
        in_force(&certificate, now)?;
        let (serial, issuer, name) = (certificate.serial_hex(), certificate.issuer().rfc2253(), certificate.subject().common_name().ok());
        let (subject, [uri, dns, email]) = (certificate.subject().rfc2253(), certificate.comparable_names());
        let traits = Traits {
            serial: &serial,
            issuer: &issuer,
            public_key: certificate.public_key_sha256(),
            sha256: certificate.sha256(),
            names: [name.as_ref().map(CommonName::as_str), Some(&subject), uri, dns, email],
        };
        if let Some(why) = self.denied(&traits) {
            return Err(Refusal::denylisted(why));
        }
        Ok(VerifiedChain::new(certificate, links))
    }

    /// The same trust, with a deny list.
    pub(super) fn denying(self, denylist: Denylist) -> Self {
        Self { denylist, ..self }
    }

    /// The deny list.
    pub(super) fn denylist(&self) -> &Denylist {
        &self.denylist
    }

    /// Why the deny list names a certificate, if it does.
    pub(super) fn denied(&self, certificate: &Traits<'_>) -> Option<String> {
        self.denylist.find(certificate)
    }

    /// Whether what `links` were built on still holds: the trust anchor is still configured, and no CRL lists a certificate
    /// of the path. Only positive evidence ends a live session: a CRL that is stale or gone says nothing here.
    pub(super) fn still_holds(&self, links: &[Link], now: i64) -> Result<(), TlsFailure> {
        let anchored = links.last().is_some_and(|last| {
            self.anchors().any(|anchor| anchor.subject().as_der() == &*last.issuer && anchor.public_key() == &*last.issuer_key)
        });
        if !anchored {
            return Err(TlsFailure::Untrusted("its trust anchor is no longer in tls.ssl_ca_file".to_owned()));
        }
        match &self.lists {
            Some(lists) if links.iter().any(|link| lists.lists(link, now)) => {
                Err(TlsFailure::Revoked("a CRL lists it, or a CA above it".to_owned()))
            }
            _ => Ok(()),
        }
    }

    fn judge_v1(&self, leaf: &Certificate, now: i64) -> Result<Vec<Link>, Refusal> {
        let who = || shown(leaf);
        if self.x509_v1 == X509V1::Refuse {
            return Err(Refusal::version(format!("{} is an X.509 v1 certificate, which tls.x509_v1 refuses", who())));
        }
        let algorithms = self.remembered();
        let signed_by = |anchor: &&Certificate| {
            anchor.subject() == leaf.issuer() && signature::verify(leaf.signed(), anchor.public_key(), &algorithms) == Verdict::Good
        };
        // An anchor that was renewed under its old key stands here twice; one that passes is enough.
        let judged = first_good(self.anchors().filter(signed_by).map(|anchor| {
            if anchor.extensions().name_constraints {
                return Err(Refusal::invalid(format!(
                    "{} is X.509 v1 under a CA with name constraints, which cannot be checked on it",
                    who()
                )));
            }
            Path { leaf, intermediates: &[], anchor }.judge(self.lists.as_deref(), now)
        }));
        judged.unwrap_or_else(|| {
            let issuer = shortened(&leaf.issuer().rfc2253());
            Err(Refusal::untrusted(format!("no trust anchor of tls.ssl_ca_file issued {}, whose issuer is \"{issuer}\"", who())))
        })
    }

    fn judge_v3(&self, leaf: &Certificate, der: &[u8], sent: &[CertificateDer<'_>], now: i64) -> Result<Vec<Link>, Refusal> {
        let sent = useful(sent);
        let mut issuers = sent
            .iter()
            .map(|(_, certificate)| certificate)
            .chain(self.intermediates.iter().map(|own| &own.certificate))
            .chain(self.anchors());
        if !issuers.any(|issuer| issuer.subject() == leaf.issuer()) {
            let issuer = shortened(&leaf.issuer().rfc2253());
            return Err(Refusal::untrusted(format!("nobody known issued {}: its issuer is \"{issuer}\"", shown(leaf))));
        }
        let der = CertificateDer::from(der);
        let entity = EndEntityCert::try_from(&der).map_err(|error| Refusal::of_webpki(&error, leaf))?;
        let own =
            self.intermediates.iter().filter(|authority| authority.usable()).map(|authority| CertificateDer::from(authority.der.as_ref()));
        let candidates: Vec<_> = sent.iter().map(|(der, _)| CertificateDer::from(*der)).chain(own).collect();

        // webpki looks at the leaf's dates first, OpenSSL last. So webpki is asked about a moment when the leaf is valid, and
        // `verify` looks at the dates afterwards: if that moment is not now, the leaf is refused there.
        let moment = now.max(leaf.not_before()).min(leaf.not_after());
        let judged: RefCell<Option<Result<Vec<Link>, Refusal>>> = RefCell::new(None);
        let judge = |path: &VerifiedPath<'_>| {
            let verdict = self.judge_candidate(leaf, path, now);
            let good = verdict.is_ok();
            let mut judged = judged.borrow_mut();
            if good || judged.is_none() {
                *judged = Some(verdict);
            }
            if good { Ok(()) } else { Err(webpki::Error::UnknownIssuer) }
        };
        let found = entity
            .verify_for_usage(
                &self.remembered(),
                &self.webpki_anchors,
                &candidates,
                unix_time(moment),
                KeyUsage::client_auth(),
                None,
                Some(&judge),
            )
            .map(|_| ());
        match (found, judged.into_inner()) {
            (Ok(()), Some(Ok(links))) => Ok(links),
            (_, Some(Err(refusal))) => Err(refusal),
            (Err(error), _) => Err(Refusal::of_webpki(&error, leaf)),
            (Ok(()), None) => Err(Refusal::untrusted(format!("the path above {} was not judged", shown(leaf)))),
        }
    }

    fn remembered(&self) -> Vec<&dyn SignatureVerificationAlgorithm> {
        self.remembered.iter().map(|algorithm| -> &dyn SignatureVerificationAlgorithm { algorithm }).collect()
    }

    /// Judges a path that webpki has found good.
    fn judge_candidate(&self, leaf: &Certificate, path: &VerifiedPath<'_>, now: i64) -> Result<Vec<Link>, Refusal> {
        let intermediates = path
            .intermediate_certificates()
            .map(|intermediate| Certificate::parse(&intermediate.der()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| Refusal::malformed(format!("a CA above {} cannot be read: {error}", shown(leaf))))?;
        let anchors = self.webpki_anchors.iter().zip(self.anchors()).filter(|(webpki, _)| *webpki == path.anchor());
        let judged =
            first_good(anchors.map(|(_, anchor)| Path { leaf, intermediates: &intermediates, anchor }.judge(self.lists.as_deref(), now)));
        judged.unwrap_or_else(|| Err(Refusal::untrusted(format!("the path above {} ends nowhere", shown(leaf)))))
    }
}

/// Of the certificates that a client sent beside its own, those that can be part of a path: v3, readable, and no more than
/// two of one subject. webpki tries every order of certificates that name each other, which is factorial in their number;
/// two of a name are what a re-keyed or cross-signed CA has.
fn useful<'a>(sent: &'a [CertificateDer<'_>]) -> Vec<(&'a [u8], Certificate)> {
    let mut of_subject: HashMap<Vec<u8>, usize> = HashMap::new();
    let mut useful: Vec<(&[u8], Certificate)> = Vec::new();
    for der in sent {
        let Ok(certificate) = Certificate::parse(der) else { continue };
        let known = useful.iter().any(|(_, other)| other.sha256() == certificate.sha256());
        if known || certificate.version() != Version::V3 {
            continue;
        }
        let count = of_subject.entry(certificate.subject().as_der().to_vec()).or_default();
        *count = count.saturating_add(1);
        if *count <= 2 {
            useful.push((der.as_ref(), certificate));
        }
    }
    useful
}

/// Whether `certificate` is its own issuer. OpenSSL goes by names and key identifiers alone, since nothing is gained by
/// forging a trust anchor in one's own CA file; so a signature that cannot be checked here (SHA-1, Ed448) counts, and one
/// that another key of the same CA made (a re-keyed CA's link certificate) does not.
fn self_signed(certificate: &Certificate, algorithms: &WebPkiSupportedAlgorithms) -> bool {
    if !certificate.self_issued() {
        return false;
    }
    match signature::verify(certificate.signed(), certificate.public_key(), algorithms.all) {
        Verdict::Good | Verdict::Unsupported => true,
        Verdict::Bad => signature::unusable(certificate.key(), algorithms).is_some(),
    }
}

/// The first good result, or else the first; `None` if there is none.
fn first_good<T>(results: impl Iterator<Item = Result<T, Refusal>>) -> Option<Result<T, Refusal>> {
    let mut first = None;
    for result in results {
        if result.is_ok() {
            return Some(result);
        }
        first.get_or_insert(result);
    }
    first
}

fn unix_time(seconds: i64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

/// How many certificates beside its own a client may send. webpki follows at most six intermediates; a root that is sent
/// along and a spare one may stand beside them.
const MAX_SENT: usize = 8;

/// The most bytes of names that are shown to clients. The extension itself ends at 64 KiB (RFC 8446 section 4.2.4).
const MAX_HINTS: usize = 32 * 1024;

#[cfg(test)]
mod tests;
