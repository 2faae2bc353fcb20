//! What a reload must not do: trade files that serve for others of which it is known that they cannot. A start takes them with a warning,
//! as PostgreSQL would; a reload has something better to keep.

use crate::identity::Certificate;

use super::material::MaterialFault;
use super::path::in_force;
use super::refusal::shown;
use super::server::Shown;
use super::trust::ClientTrust;
use super::{Inner, TlsSettings, source};

/// Why `next` is not to take the place of `current` at `now`, in seconds since 1970; nothing if nothing speaks against it.
pub(super) fn of(current: &Inner, next: &Inner, settings: &TlsSettings, now: i64) -> Vec<MaterialFault> {
    let mut faults = Vec::new();
    let is_new = |shown: &&Shown| !current.servers.iter().any(|known| known.leaf.sha256() == shown.leaf.sha256());
    for shown in next.servers.iter().filter(is_new) {
        if let Err(refusal) = in_force(&shown.leaf, now) {
            let what = format!("clients that verify the server would refuse it, {}; {KEPT}", refusal.cause);
            faults.push(source(&shown.file, &shown.setting).fault(what));
        }
    }
    if let Some(what) = of_anchors(&current.trust, &next.trust, now) {
        faults.push(source(&settings.ssl_ca_file, "tls.ssl_ca_file").fault(what));
    }
    if let Some(file) = &settings.ssl_crl_file {
        faults.extend(of_lists(&current.trust, &next.trust, now).into_iter().map(|what| source(file, "tls.ssl_crl_file").pair_fault(what)));
    }
    faults
}

fn of_anchors(current: &ClientTrust, next: &ClientTrust, now: i64) -> Option<String> {
    let serves = |trust: &ClientTrust| trust.anchors().any(|anchor| in_force(anchor, now).is_ok());
    (serves(current) && !serves(next)).then(|| format!("none of its self-signed certificates is in force, so nobody could log in; {KEPT}"))
}

/// CAs whose clients can log in now, and could not for want of a CRL.
fn of_lists(current: &ClientTrust, next: &ClientTrust, now: i64) -> Vec<String> {
    let refused: Vec<&Certificate> = next.anchors().filter(|anchor| !next.knows_revocations(anchor, now)).collect();
    let could = |anchor: &Certificate| {
        let same = |other: &Certificate| other.subject().as_der() == anchor.subject().as_der() && other.public_key() == anchor.public_key();
        current.anchors().any(same) && current.knows_revocations(anchor, now)
    };
    let nobody = refused.len() == next.anchors().count() && current.anchors().any(|anchor| current.knows_revocations(anchor, now));
    let worse = |anchor: &&&Certificate| nobody || could(anchor);
    let fault =
        |anchor: &&Certificate| format!("it has no CRL of {} that is in force, so all its clients would be refused; {KEPT}", shown(anchor));
    refused.iter().filter(worse).map(fault).collect()
}

const KEPT: &str = "the files before it are kept, and a restart would take these";
