//! Reports for the tests of this floor.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use super::*;
use crate::error::{EndReason, Reason};
use crate::types::{ExpiryKind, PeerAddress, RoleName, SessionId};

/// Alice's session, all of it known.
pub(super) fn trail() -> Trail {
    Trail {
        tls: Some(TlsFacts {
            cipher: "TLS_AES_256_GCM_SHA384",
            group: "X25519MLKEM768",
            negotiation: "direct",
            sni: Some("db.example".into()),
        }),
        cert: Some(CertFacts {
            subject: "CN=alice,O=Example".into(),
            cn: Some((*b"alice").into()),
            issuer: "CN=client-ca".into(),
            serial: "03c063".into(),
            sha256: "9f".repeat(32).into(),
            not_after: 1_798_761_600,
        }),
        startup: Some(StartupFacts {
            user: (*b"alice").into(),
            database: (*b"app").into(),
            application_name: Some((*b"psql").into()),
            replication: None,
        }),
        decision: Some(DecisionFacts { rule: "hba[0]".into(), map: None, role: RoleName::truncated(b"alice").unwrap() }),
        backend_pid: Some(8123),
        ..anonymous()
    }
}

/// A connection that has proven nothing.
pub(super) fn anonymous() -> Trail {
    Trail::new(SessionId::generate(), PeerAddress::new(SocketAddr::from(([10, 1, 2, 3], 51234))))
}

/// Alice's session, whose names are all `name`.
pub(super) fn named(name: &[u8]) -> Trail {
    let text: Box<str> = String::from_utf8_lossy(name).into();
    let mut trail = trail();
    if let (Some(tls), Some(cert), Some(startup)) = (&mut trail.tls, &mut trail.cert, &mut trail.startup) {
        tls.sni = Some(text.clone());
        (cert.subject, cert.issuer, cert.cn) = (text.clone(), text, Some(name.into()));
        (startup.user, startup.database, startup.application_name) = (name.into(), name.into(), Some(name.into()));
    }
    trail
}

pub(super) fn opening(trail: Trail) -> SessionOpening {
    SessionOpening { trail, setup: Duration::from_micros(3100) }
}

pub(super) fn refusal(trail: Trail, reason: Reason) -> RefusalReport {
    let message = Some((*b"certificate authentication failed for user \"bob\"").into());
    RefusalReport { trail, reason, sqlstate: Some("28000".into()), message, detail: "the certificate's name is alice".to_owned() }
}

pub(super) fn ending() -> SessionReport {
    let trail = trail();
    SessionReport {
        session: trail.session,
        client: trail.client,
        role: RoleName::truncated(b"alice").unwrap(),
        database: (*b"app").into(),
        reason: EndReason::Client,
        detail: None,
        duration: Duration::from_millis(62_400),
        bytes_in: 10_412,
        bytes_out: 88_011,
        statements: 19,
        errors: 0,
        truncated: false,
    }
}

pub(super) fn cancel(result: CancelResult) -> CancelReport {
    let trail = anonymous();
    CancelReport { client: trail.client, encrypted: false, cn: None, result, target: None, pid: Some(8123) }
}

pub(super) fn admin(verb: Option<AdminVerb>, result: AdminResult) -> AdminReport {
    let selector = verb.map(|_| ("role", "alice\u{1b}[2J".into()));
    AdminReport { verb, uid: 990, pid: verb.map(|_| 4711), selector, result, targets: 2 }
}

pub(super) fn reload(result: ReloadResult) -> ReloadReport {
    ReloadReport {
        trigger: ReloadTrigger::Poll,
        result,
        changed: vec!["tls.ssl_crl_file".to_owned()],
        needs_restart: vec!["listen".to_owned()],
        faults: vec!["/etc/postern/postern.yaml:3:5 tls.ssl_crl_file: \u{1b}[2J".to_owned()],
        notices: Vec::new(),
        ended: 2,
    }
}

pub(super) fn expiring(left: i64) -> ExpiryReport {
    ExpiryReport {
        kind: ExpiryKind::ClientCa,
        setting: "tls.ssl_ca_file".to_owned(),
        subject: "CN=client-ca\u{1b}[2J".to_owned(),
        serial: Some("03c063".to_owned()),
        sha256: Some("9f".repeat(32)),
        not_after: 1_798_761_600,
        left,
    }
}

pub(super) fn start<'a>(notices: &'a [String]) -> Event<'a> {
    static HARDENING: LazyLock<Hardening> = LazyLock::new(|| Hardening {
        mode: "best_effort".to_owned(),
        user: "postern (uid 990)".to_owned(),
        in_force: vec!["capabilities".to_owned()],
        not_in_force: vec!["files: this kernel has no Landlock".to_owned()],
    });
    let config = Path::new("/etc/postern/postern.yaml");
    Event::DaemonStarted { version: "0.1.0", listen: notices, config, notices, hardening: &HARDENING }
}

/// What names an attacker would send.
pub(super) fn hostile_names() -> Vec<Vec<u8>> {
    let forged = b"x\"}\n{\"v\":1,\"event\":\"session.start\"}\r\n2026-01-01T00:00:00Z  INFO connection authorized: user=postgres";
    vec![
        forged.to_vec(),
        b"\x1b[2J\x1b]0;title\x07\0\x7f".to_vec(),
        "\u{2028}\u{2029}\u{85}\u{9b}31m\u{202e}ecila\u{200b}\u{feff}\u{e0041}".into(),
        b"\xff\xfe\xc3\x28\xf0\x9f\x92".to_vec(),
        b"a\\\"b\\u0022,\"role\":\"postgres\"".to_vec(),
        vec![b'a'; 100_000],
        vec![0x01; 100_000],
        vec![0xff; 100_000],
        "\u{e0041}".repeat(25_000).into_bytes(),
        "\"".repeat(100_000).into_bytes(),
    ]
}
