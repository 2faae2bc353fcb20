use std::io::Write;
use std::sync::Arc;

use serde_json::Value;

use super::*;
use crate::error::Reason;
use crate::observe::StartupFacts;
use crate::observe::samples::{anonymous, cancel, ending, expiring, hostile_names, named, opening, refusal, start, trail};

/// What was written to the log.
#[derive(Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl Write for Page {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The lines that events leave.
fn lines(level: LogLevel, json: bool, events: &[Event<'_>]) -> Vec<String> {
    let page = Page::default();
    let writer = page.clone();
    let log = Log::new(level, json, move || writer.clone());
    events.iter().for_each(|event| log.emit(event));
    let written = page.0.lock().unwrap().clone();
    String::from_utf8(written).unwrap().split_terminator('\n').map(str::to_owned).collect()
}

#[test]
fn a_session_leaves_the_lines_that_postgresql_would() {
    let (opening, ending) = (opening(trail()), ending());
    let lines = lines(LogLevel::Info, false, &[Event::SessionStarted(&opening), Event::SessionEnded(&ending)]);
    let expected = [
        "connection received: host=10.1.2.3 port=51234",
        "connection authenticated: identity=\"CN=alice,O=Example\" method=cert (hba[0])",
        "connection authorized: user=alice database=app application_name=psql SSL enabled (protocol=TLSv1.3, cipher=TLS_AES_256_GCM_SHA384, bits=256)",
        "disconnection: session time: 0:01:02.400 user=alice database=app host=10.1.2.3 port=51234",
    ];
    assert_eq!(lines.len(), expected.len());
    for (line, expected) in lines.iter().zip(expected) {
        assert!(line.contains(&format!("  INFO {expected} ")), "{line}");
    }
}

#[test]
fn a_walsender_is_authorized_for_replication() {
    let mut trail = trail();
    trail.startup = trail.startup.map(|startup| StartupFacts { database: Box::default(), replication: Some("true"), ..startup });
    let lines = lines(LogLevel::Info, false, &[Event::SessionStarted(&opening(trail))]);
    assert!(lines[2].contains("replication connection authorized: user=alice application_name=psql SSL enabled"), "{lines:?}");
}

#[test]
fn a_refusal_has_its_reason_its_message_and_its_detail() {
    let lines = lines(LogLevel::Warn, true, &[Event::ConnectionRefused(&refusal(trail(), Reason::Identity))]);
    let line: Value = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!((&line["level"], &line["reason"], &line["sqlstate"]), (&"WARN".into(), &"identity".into(), &"28000".into()));
    let message = r#"connection refused: host=10.1.2.3 port=51234 user=alice database=app identity="CN=alice,O=Example" message="certificate authentication failed for user \"bob\"" detail="the certificate's name is alice""#;
    assert_eq!(line["message"], message);
}

#[test]
fn whose_fault_it_is_decides_the_level() {
    let level = |reason| {
        let lines = lines(LogLevel::Trace, true, &[Event::ConnectionRefused(&refusal(anonymous(), reason))]);
        serde_json::from_str::<Value>(&lines[0]).unwrap()["level"].clone()
    };
    assert_eq!(level(Reason::Plaintext), "INFO");
    assert_eq!(level(Reason::NoCertificate), "WARN");
    assert_eq!(level(Reason::BackendUnreachable), "ERROR");
    assert_eq!(level(Reason::CrlExpired), "ERROR");
    assert_eq!(level(Reason::Internal), "ERROR");
}

#[test]
fn a_flood_without_a_certificate_is_one_line() {
    let (refusal, cancel) = (refusal(anonymous(), Reason::Plaintext), cancel(CancelResult::UnknownKey));
    let events = [Event::ConnectionRefused(&refusal), Event::CancelHandled(&cancel)].repeat(50);
    let lines = lines(LogLevel::Trace, false, &events);
    assert!(lines.len() <= 4, "{} lines", lines.len());
}

#[test]
fn a_proven_client_is_never_left_out() {
    let refusal = refusal(trail(), Reason::HbaNoMatch);
    assert_eq!(lines(LogLevel::Info, false, &[Event::ConnectionRefused(&refusal); 20]).len(), 20);
}

#[test]
fn no_name_forges_a_line() {
    for (name, json) in hostile_names().iter().flat_map(|name| [(name, false), (name, true)]) {
        let text = String::from_utf8_lossy(name).into_owned();
        let notices = [text.clone()];
        let mut refused = refusal(named(name), Reason::Identity);
        (refused.message, refused.detail) = (Some(name.as_slice().into()), text.clone());
        let cancel = CancelReport { cn: Some(name.as_slice().into()), ..cancel(CancelResult::IdentityMismatch) };
        let expiring = ExpiryReport { subject: text.clone(), ..expiring(1) };
        let (opening, ending) = (opening(named(name)), SessionReport { database: name.as_slice().into(), ..ending() });
        let events = [
            start(&notices),
            Event::Listening { address: &text },
            Event::AcceptFailed { error: &io::Error::other("no descriptors"), again: false },
            Event::ConnectionRefused(&refused),
            Event::SessionStarted(&opening),
            Event::SessionEnded(&ending),
            Event::CancelHandled(&cancel),
            Event::AuditFailed { error: &text },
            Event::Panicked { place: &text, message: &text },
            Event::AuditRecovered { lost: 3 },
            Event::Expiring(&expiring),
            Event::DaemonStopping,
        ];
        let lines = lines(LogLevel::Trace, json, &events);
        assert_eq!(lines.len(), 17);
        for line in lines {
            assert!(!line.chars().any(crate::observe::text::deceives) && line.len() < 64 * 1024, "{} bytes", line.len());
            assert!(!json || serde_json::from_str::<Value>(&line).is_ok(), "{line}");
        }
    }
}

#[test]
fn what_expires_is_named_with_its_key_and_what_is_left() {
    let (soon, past) = (expiring(3 * 86_400), expiring(0));
    let lines = lines(LogLevel::Info, false, &[Event::Expiring(&soon), Event::Expiring(&past)]);
    let subject = r#"tls.ssl_ca_file: the client CA "CN=client-ca\u{1b}[2J""#;
    assert!(lines[0].contains(&format!("WARN {subject} expires in 3 days, at 2027-01-01T00:00:00Z")), "{}", lines[0]);
    assert!(lines[1].contains(&format!("ERROR {subject} has expired, at 2027-01-01T00:00:00Z")), "{}", lines[1]);
}

#[test]
fn a_level_hides_what_is_less_severe() {
    let refusal = refusal(trail(), Reason::Identity);
    assert!(lines(LogLevel::Error, false, &[Event::DaemonStopping, Event::ConnectionRefused(&refusal)]).is_empty());
}

/// A standard error that nobody reads.
struct Broken;

impl Write for Broken {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Err(io::ErrorKind::BrokenPipe.into())
    }
}

#[test]
fn a_closed_standard_error_ends_nothing() {
    Log::new(LogLevel::Info, false, || Broken).emit(&Event::DaemonStopping);
}
