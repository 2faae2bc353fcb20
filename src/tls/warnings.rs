//! What an operator should know about files that load: nothing here keeps Postern from starting, since PostgreSQL would
//! start too, but each line is a login that will fail or a client that will refuse us.

use std::collections::HashSet;

use super::path::in_force;
use super::refusal::{shortened, shown};
use super::revocation::RevocationLists;
use super::server::Shown;
use super::signature::unusable;
use super::trust::ClientTrust;
use crate::identity::Version;
use crate::notice::Notice;

/// The warnings about `servers` and `trust` at `now`, in seconds since 1970.
pub(super) fn of(servers: &[Shown], trust: &ClientTrust, now: i64) -> Vec<Notice> {
    let mut warnings = Vec::new();
    servers.iter().for_each(|shown| of_server(shown, now, &mut warnings));
    of_authorities(trust, now, &mut warnings);
    if let Some(lists) = trust.lists() {
        of_lists(lists, trust, now, &mut warnings);
    }
    of_denylist(trust, &mut warnings);
    warnings
}

fn of_server(shown: &Shown, now: i64, warnings: &mut Vec<Notice>) {
    let Shown { setting, leaf: server, .. } = shown;
    let mut warn = |what: String, change: &str| warnings.push(Notice::new(format!("{setting}: {what}"), change));
    if let Err(refusal) = in_force(server, now) {
        warn(format!("clients that verify the server will refuse it: {}", refusal.cause), RENEW_SERVER);
    }
    if server.version() == Version::V1 {
        warn("the certificate is X.509 v1: libpq takes it, drivers in Go, Java, Rust and others may not".into(), MAKE_SERVER);
    } else if !server.extensions().subject_alt_name {
        warn(
            "the certificate has no subject alternative name: libpq takes its CN for the host, most other drivers refuse".into(),
            MAKE_SERVER,
        );
    }
}

const RENEW_SERVER: &str = "renew it: `postern pki server`, or your CA";
const MAKE_SERVER: &str = "make one with the names that clients connect to: `postern pki server DIR --host NAME`, or your CA";

fn of_authorities(trust: &ClientTrust, now: i64, warnings: &mut Vec<Notice>) {
    let mut warn = |what: String, change: &str| warnings.push(Notice::new(format!("tls.ssl_ca_file: {what}"), change));
    for anchor in trust.anchors() {
        if let Err(refusal) = in_force(anchor, now) {
            warn(format!("every client of this CA is refused: {}", refusal.cause), RENEW_CA);
        }
        if let Some(why) = unusable(anchor.key(), trust.algorithms()) {
            warn(format!("every client of {} is refused: {why}", shown(anchor)), "use a CA with another key, or remove it");
        }
    }
    for intermediate in trust.intermediates() {
        let who = shown(&intermediate.certificate);
        if !intermediate.usable() {
            let what = format!("{who} is never used: an intermediate CA must be X.509 v3 without unknown critical extensions");
            warn(what, "issue it anew, or remove it");
        } else if let Err(refusal) = in_force(&intermediate.certificate, now) {
            warn(format!("every client of this CA is refused: {}", refusal.cause), RENEW_CA);
        }
    }
    if trust.anchors().next().is_some() && trust.hints().is_empty() {
        let what =
            "its names are longer than 32 KiB and are not sent to clients: those with several certificates must be told which to use";
        warn(what.into(), "leave out the CAs that no client has");
    }
}

const RENEW_CA: &str = "issue a new CA and put it beside this one, or remove it";

fn of_lists(lists: &RevocationLists, trust: &ClientTrust, now: i64, warnings: &mut Vec<Notice>) {
    let mut warn = |what: String, change: &str| warnings.push(Notice::new(format!("tls.ssl_crl_file: {what}"), change));
    for crl in lists.asked(now) {
        if crl.next_update().is_some_and(|next| next <= now) {
            let who = shortened(&crl.issuer().rfc2253());
            warn(format!("the CRL of \"{who}\" has expired: every client of this CA is refused until there is a new one"), MAKE_CRL);
        }
    }
    for (crl, signed) in lists.all() {
        let who = shortened(&crl.issuer().rfc2253());
        if crl.this_update() > now {
            warn(format!("the CRL of \"{who}\" is not yet in force"), "look whether this machine's clock is right");
        }
        if !signed {
            let what = format!("no CA of tls.ssl_ca_file has signed the CRL of \"{who}\": it counts only for a CA that clients send along");
            warn(what, "remove it if no client has such a CA");
        }
    }
    let authorities = trust.anchors().chain(trust.intermediates().map(|authority| &authority.certificate));
    for authority in authorities.filter(|authority| !lists.knows(authority)) {
        warn(format!("it has no CRL of {}: every client of this CA is refused", shown(authority)), MAKE_CRL);
    }
}

/// An issuer that is not written as the audit shows it denies nobody, and says nothing of it at a login.
fn of_denylist(trust: &ClientTrust, warnings: &mut Vec<Notice>) {
    let authorities = trust.anchors().chain(trust.intermediates().map(|authority| &authority.certificate));
    let known: HashSet<String> = authorities.map(|authority| authority.subject().rfc2253()).collect();
    let mut unknown: Vec<(usize, &str)> = trust
        .denylist()
        .issuers()
        .into_iter()
        .filter(|(issuer, _)| !known.contains(*issuer))
        .map(|(issuer, line)| (line, issuer))
        .collect();
    unknown.sort_unstable();
    warnings.extend(unknown.into_iter().take(MOST_ISSUERS).map(|(line, issuer)| {
        let what = format!("denylist_file: line {line}: no CA of tls.ssl_ca_file is named \"{}\"", shortened(issuer));
        let one = known.iter().min().map(|name| format!(", as \"{}\"", shortened(name))).unwrap_or_default();
        Notice::new(what, format!("write the issuer as the audit shows it{one}, unless clients send its certificate along"))
    }));
}

/// How many of them are told.
const MOST_ISSUERS: usize = 10;

const MAKE_CRL: &str = "put a new one into the file: `postern pki crl`, or your CA's";
