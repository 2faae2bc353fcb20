//! What an operator should know about files that load: nothing here keeps Postern from starting, since PostgreSQL would
//! start too, but each line is a login that will fail or a client that will refuse us.

use crate::identity::Version;

use super::path::in_force;
use super::refusal::{shortened, shown};
use super::revocation::RevocationLists;
use super::server::Shown;
use super::signature::unusable;
use super::trust::ClientTrust;

/// The warnings about `servers` and `trust` at `now`, in seconds since 1970.
pub(super) fn of(servers: &[Shown], trust: &ClientTrust, now: i64) -> Vec<String> {
    let mut warnings = Vec::new();
    servers.iter().for_each(|shown| of_server(shown, now, &mut warnings));
    of_authorities(trust, now, &mut warnings);
    if let Some(lists) = trust.lists() {
        of_lists(lists, trust, now, &mut warnings);
    }
    warnings
}

fn of_server(shown: &Shown, now: i64, warnings: &mut Vec<String>) {
    let Shown { setting, leaf: server, .. } = shown;
    let mut warn = |what: String| warnings.push(format!("{setting}: {what}"));
    if let Err(refusal) = in_force(server, now) {
        warn(format!("clients that verify the server will refuse it: {}", refusal.cause));
    }
    if server.version() == Version::V1 {
        warn(
            "the certificate is X.509 v1: libpq takes it, drivers in Go, Java, Rust and others may not; `postern pki server` makes v3"
                .into(),
        );
    } else if !server.extensions().subject_alt_name {
        warn("the certificate has no subject alternative name: libpq takes its CN for the host, most other drivers refuse".into());
    }
}

fn of_authorities(trust: &ClientTrust, now: i64, warnings: &mut Vec<String>) {
    let mut warn = |what: String| warnings.push(format!("tls.ssl_ca_file: {what}"));
    for anchor in trust.anchors() {
        if let Err(refusal) = in_force(anchor, now) {
            warn(format!("every client of this CA is refused: {}", refusal.cause));
        }
        if let Some(why) = unusable(anchor.key(), trust.algorithms()) {
            warn(format!("every client of {} is refused: {why}", shown(anchor)));
        }
    }
    for intermediate in trust.intermediates() {
        let who = shown(&intermediate.certificate);
        if !intermediate.usable() {
            warn(format!("{who} is never used: an intermediate CA must be X.509 v3 without unknown critical extensions"));
        } else if let Err(refusal) = in_force(&intermediate.certificate, now) {
            warn(format!("every client of this CA is refused: {}", refusal.cause));
        }
    }
    if trust.anchors().next().is_some() && trust.hints().is_empty() {
        warn(
            "its names are longer than 32 KiB and are not sent to clients: those with several certificates must be told which to use"
                .into(),
        );
    }
}

fn of_lists(lists: &RevocationLists, trust: &ClientTrust, now: i64, warnings: &mut Vec<String>) {
    let mut warn = |what: String| warnings.push(format!("tls.ssl_crl_file: {what}"));
    for crl in lists.asked(now) {
        if crl.next_update().is_some_and(|next| next <= now) {
            let who = shortened(&crl.issuer().rfc2253());
            warn(format!("the CRL of \"{who}\" has expired: every client of this CA is refused until there is a new one"));
        }
    }
    for (crl, signed) in lists.all() {
        let who = shortened(&crl.issuer().rfc2253());
        if crl.this_update() > now {
            warn(format!("the CRL of \"{who}\" is not yet in force: is the clock right?"));
        }
        if !signed {
            warn(format!("no CA of tls.ssl_ca_file has signed the CRL of \"{who}\": it counts only for a CA that clients send along"));
        }
    }
    let authorities = trust.anchors().chain(trust.intermediates().map(|authority| &authority.certificate));
    for authority in authorities.filter(|authority| !lists.knows(authority)) {
        warn(format!("it has no CRL of {}: every client of this CA is refused", shown(authority)));
    }
}
