//! When what the files hold ceases to be valid: for metrics and status, and so that operators are told in time.

use crate::crypto::Sha256;
use crate::identity::{Certificate, Crl};
use crate::types::ExpiryKind;

use super::refusal::shortened;
use super::server::Shown;
use super::trust::ClientTrust;

/// From when to when something in a file is valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lifespan {
    /// What it is.
    pub kind: ExpiryKind,
    /// The setting that names its file.
    pub setting: String,
    /// A certificate's subject, or a CRL's issuer, in the form of RFC 2253.
    pub subject: String,
    /// A certificate's serial number in lower-case hex.
    pub serial: Option<String>,
    /// A certificate's digest.
    pub sha256: Option<Sha256>,
    /// By which it is known again after a reload.
    pub identity: Sha256,
    /// notBefore or thisUpdate, in seconds since 1970.
    pub begins: i64,
    /// notAfter or nextUpdate.
    pub ends: i64,
}

/// When the loaded files cease to be valid, in seconds since 1970; of several, the first to do so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiries {
    /// A certificate of the server's.
    pub server: i64,
    /// A CA of client certificates.
    pub client_ca: i64,
    /// A CRL, if there are any that say.
    pub crl: Option<i64>,
}

/// The lifespans of the server's certificates, of every CA, and of the CRLs that count at `now`, in seconds since 1970: one that a newer
/// one has replaced keeps nobody out.
pub(super) fn of(servers: &[Shown], trust: &ClientTrust, now: i64) -> Vec<Lifespan> {
    let authorities = trust.anchors().chain(trust.intermediates().map(|authority| &authority.certificate));
    let authorities = authorities.map(|authority| Lifespan::of(ExpiryKind::ClientCa, "tls.ssl_ca_file", authority));
    let lists = trust.lists().into_iter().flat_map(|lists| lists.asked(now)).filter_map(Lifespan::of_crl);
    let servers = servers.iter().map(|shown| Lifespan::of(ExpiryKind::Server, &shown.setting, &shown.leaf));
    servers.chain(authorities).chain(lists).collect()
}

impl Lifespan {
    fn of(kind: ExpiryKind, setting: &str, certificate: &Certificate) -> Self {
        Self {
            kind,
            setting: setting.to_owned(),
            subject: shortened(&certificate.subject().rfc2253()),
            serial: Some(certificate.serial_hex()),
            sha256: Some(certificate.sha256()),
            identity: certificate.sha256(),
            begins: certificate.not_before(),
            ends: certificate.not_after(),
        }
    }

    /// `None` for one that does not say when the next is due.
    fn of_crl(crl: &Crl) -> Option<Self> {
        Some(Self {
            kind: ExpiryKind::Crl,
            setting: "tls.ssl_crl_file".to_owned(),
            subject: shortened(&crl.issuer().rfc2253()),
            serial: None,
            sha256: None,
            identity: Sha256::of(&crl.signed().signature),
            begins: crl.this_update(),
            ends: crl.next_update()?,
        })
    }
}

impl Expiries {
    pub(super) fn of(lifespans: &[Lifespan]) -> Self {
        let first = |kind| lifespans.iter().filter(|lifespan| lifespan.kind == kind).map(|lifespan| lifespan.ends).min();
        Self {
            server: first(ExpiryKind::Server).unwrap_or(i64::MAX),
            client_ca: first(ExpiryKind::ClientCa).unwrap_or(i64::MAX),
            crl: first(ExpiryKind::Crl),
        }
    }
}
