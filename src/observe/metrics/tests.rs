use std::collections::{BTreeMap, BTreeSet};
use std::io;

use super::*;
use crate::observe::samples::{anonymous, cancel, ending, hostile_names, named, opening, refusal, reload, start, trail};

/// What the contract says, section 5, as far as this version has the facts.
const NAMES: &[&str] = &[
    "postern_build_info",
    "postern_connections_accepted_total",
    "postern_connections_refused_total",
    "postern_sessions_active",
    "postern_sessions_limit",
    "postern_sessions_ended_total",
    "postern_session_duration_seconds",
    "postern_tls_handshake_duration_seconds",
    "postern_login_duration_seconds",
    "postern_backend_connect_duration_seconds",
    "postern_backend_up",
    "postern_bytes_total",
    "postern_cancel_requests_total",
    "postern_certificate_expiry_timestamp_seconds",
    "postern_config_reloads_total",
    "postern_config_last_reload_successful",
    "postern_client_certificate_remaining_seconds",
    "postern_audit_records_total",
    "postern_audit_dropped_total",
    "postern_accept_errors_total",
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
    "process_open_fds",
    "process_max_fds",
    "process_start_time_seconds",
];

fn now() -> SystemTime {
    // A day before the sample certificate's notAfter.
    UNIX_EPOCH + Duration::from_secs(1_798_761_600 - 86_400)
}

fn moment() -> Moment {
    Moment {
        sessions_active: 3,
        sessions_limit: 1000,
        backend_up: true,
        bytes_in: 10,
        bytes_out: u64::MAX,
        server_expiry: 1_798_761_600,
        client_ca_expiry: 253_402_300_799,
        crl_expiry: Some(-1),
        process: ProcessUsage { cpu_seconds: Some(1.5), resident_bytes: Some(1 << 40), open_fds: Some(7), max_fds: Some(u64::MAX) },
    }
}

/// The samples of a scrape, each series with its value; panics where the text is no OpenMetrics.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let body = text.strip_suffix("# EOF\n").expect("an end");
    let mut types = BTreeMap::new();
    let mut samples = BTreeMap::new();
    for line in body.lines() {
        if let Some(description) = line.strip_prefix("# TYPE ") {
            let (name, kind) = description.split_once(' ').unwrap();
            assert!(types.insert(name.to_owned(), kind.to_owned()).is_none(), "{name} is described twice");
        } else if let Some(help) = line.strip_prefix("# HELP ") {
            assert!(help.split_once(' ').is_some_and(|(_, help)| !help.is_empty() && !help.ends_with("..")), "{line}");
        } else {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let name = series.split('{').next().unwrap();
            let families = ["_total", "_bucket", "_sum", "_count", "_info", ""].map(|suffix| name.strip_suffix(suffix));
            assert!(families.into_iter().flatten().any(|family| types.contains_key(family)), "{name} has no type");
            assert!(samples.insert(series.to_owned(), value.parse().unwrap()).is_none(), "{series} stands twice");
        }
    }
    samples
}

fn names(samples: &BTreeMap<String, f64>) -> BTreeSet<&str> {
    let name = |series: &'_ str| series.find('{').unwrap_or(series.len());
    let names = samples.keys().map(|series| &series[..name(series)]);
    names.map(|name| ["_bucket", "_sum", "_count"].iter().find_map(|part| name.strip_suffix(part)).unwrap_or(name)).collect()
}

#[test]
fn a_scrape_has_the_contracts_names_and_no_others() {
    let metrics = Metrics::new(now());
    let samples = samples(&metrics.scrape(&moment()));
    assert_eq!(names(&samples), NAMES.iter().copied().collect());
    assert!(samples.len() <= 160, "{} series: some of the 200 belong to what is still to come", samples.len());
}

#[test]
fn what_the_network_sends_adds_no_series() {
    let metrics = Metrics::new(now());
    let before = samples(&metrics.scrape(&moment())).len();
    let made_up = (0..600).map(|number| format!("role-{number}").into_bytes()).chain(hostile_names());
    for name in made_up {
        for reason in Reason::ALL {
            metrics.emit(&Event::ConnectionRefused(&refusal(named(&name), reason)), now());
        }
        metrics.emit(&Event::SessionStarted(&opening(named(&name))), now());
        metrics.emit(&Event::SessionEnded(&ending()), now());
    }
    let after = samples(&metrics.scrape(&moment()));
    assert_eq!(after.len(), before);
    assert_eq!(after[r#"postern_connections_refused_total{reason="identity"}"#], 610.0);
}

#[test]
fn every_event_is_counted_where_it_belongs() {
    let metrics = Metrics::new(now());
    let millisecond = Duration::from_millis(1);
    let events = [
        start(&[]),
        Event::ConnectionAccepted,
        Event::ConnectionAccepted,
        Event::AcceptFailed { error: &io::Error::other("EMFILE"), again: true },
        Event::TlsEstablished { handshake: millisecond },
        Event::BackendConnected { connect: millisecond },
        Event::ConnectionRefused(&refusal(anonymous(), Reason::Plaintext)),
        Event::SessionStarted(&opening(trail())),
        Event::SessionEnded(&ending()),
        Event::CancelHandled(&cancel(CancelResult::UnknownKey)),
        Event::Reloaded(&reload(ReloadResult::Applied)),
        Event::Reloaded(&reload(ReloadResult::Rejected)),
    ];
    events.iter().for_each(|event| metrics.emit(event, now()));
    metrics.audit_meter().wrote(RecordEvent::SessionStart);
    metrics.audit_meter().lost(9);
    let samples = samples(&metrics.scrape(&moment()));
    for (series, value) in [
        ("postern_connections_accepted_total", 2.0),
        ("postern_accept_errors_total", 1.0),
        (r#"postern_connections_refused_total{reason="plaintext"}"#, 1.0),
        (r#"postern_connections_refused_total{reason="identity"}"#, 0.0),
        (r#"postern_sessions_ended_total{reason="client"}"#, 1.0),
        (r#"postern_cancel_requests_total{result="unknown_key"}"#, 1.0),
        (r#"postern_tls_handshake_duration_seconds_bucket{le="0.001"}"#, 1.0),
        ("postern_backend_connect_duration_seconds_count", 1.0),
        ("postern_login_duration_seconds_sum", 0.0031),
        ("postern_session_duration_seconds_sum", 62.4),
        ("postern_client_certificate_remaining_seconds_sum", 86_400.0),
        (r#"postern_audit_records_total{event="session.start"}"#, 1.0),
        ("postern_audit_dropped_total", 9.0),
        (r#"postern_config_reloads_total{result="applied"}"#, 1.0),
        (r#"postern_config_reloads_total{result="rejected"}"#, 1.0),
        ("postern_config_last_reload_successful", 0.0),
        ("postern_sessions_active", 3.0),
        ("postern_sessions_limit", 1000.0),
        ("postern_backend_up", 1.0),
        (r#"postern_bytes_total{direction="in"}"#, 10.0),
        (r#"postern_certificate_expiry_timestamp_seconds{kind="client_ca"}"#, 253_402_300_799.0),
        (r#"postern_certificate_expiry_timestamp_seconds{kind="crl"}"#, -1.0),
        ("process_cpu_seconds_total", 1.5),
        ("process_open_fds", 7.0),
    ] {
        assert_eq!(samples.get(series), Some(&value), "{series}");
    }
    let totals = metrics.totals();
    assert_eq!(totals, Totals { accepted: 2, refused: vec![(Reason::Plaintext, 1)], ended: vec![(EndReason::Client, 1)] });
}

#[test]
fn what_the_kernel_does_not_tell_is_left_out() {
    let moment = Moment { crl_expiry: None, process: ProcessUsage::default(), ..moment() };
    let text = Metrics::new(now()).scrape(&moment);
    assert!(!text.contains("process_open_fds") && !text.contains("kind=\"crl\"") && text.contains("process_start_time_seconds"), "{text}");
}

#[test]
fn every_label_stands_at_its_own_number() {
    fn check<L: Label>() {
        assert!(L::ALL.iter().map(|label| label.index()).eq(0..L::ALL.len()));
        assert_eq!(L::ALL.iter().map(|label| label.code()).collect::<BTreeSet<_>>().len(), L::ALL.len());
    }
    check::<Reason>();
    check::<EndReason>();
    check::<CancelResult>();
    check::<RecordEvent>();
    check::<ReloadResult>();
}
