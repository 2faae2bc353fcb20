//! `/metrics`: what is counted, in which form, and how fast.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::net::UnixListener;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use super::Office;
use crate::harness::clients::{run_with_input, succeeded};
use crate::harness::daemon::{Config, Daemon};
use crate::harness::http::get;
use crate::harness::pki::{Pki, Profile};
use crate::harness::postgres::{free_port, private_dir};
use crate::harness::wire::{TlsOptions, Wire, message, packet, startup};
use crate::harness::{tools, wait_until};

#[test]
fn a_scrape_counts_what_happened() {
    let office = Office::new();
    let mut wire = office.world.log_in();
    wire.rows("select repeat('x', 100000)");
    wait_until("the session's bytes are counted", || office.metric(r#"postern_bytes_total{direction="out"}"#) > 100_000.0);
    assert_eq!(office.metric("postern_sessions_active"), 1.0);
    wire.send_message('X', b"");
    wire.read_to_end();
    assert!(Wire::log_in(office.world.address(), &office.world.alice, "bob").is_err());
    wait_until("the session is over", || office.metric("postern_sessions_active") == 0.0);
    for (series, least) in [
        (r#"postern_sessions_ended_total{reason="client"}"#, 1.0),
        (r#"postern_connections_refused_total{reason="identity"}"#, 1.0),
        ("postern_connections_accepted_total", 2.0),
        ("postern_tls_handshake_duration_seconds_count", 2.0),
        ("postern_login_duration_seconds_count", 1.0),
        ("postern_backend_connect_duration_seconds_count", 1.0),
        ("postern_client_certificate_remaining_seconds_count", 1.0),
        (r#"postern_audit_records_total{event="session.start"}"#, 1.0),
        (r#"postern_audit_records_total{event="session.end"}"#, 1.0),
        (r#"postern_bytes_total{direction="out"}"#, 100_000.0),
        (r#"postern_bytes_total{direction="in"}"#, 20.0),
        ("postern_backend_up", 1.0),
        ("postern_sessions_limit", 1000.0),
        ("process_cpu_seconds_total", 0.01),
        ("process_resident_memory_bytes", 1e6),
        ("process_open_fds", 10.0),
    ] {
        assert!(office.metric(series) >= least, "{series}: {}", office.metric(series));
    }
    let expiry = office.metric(r#"postern_certificate_expiry_timestamp_seconds{kind="server"}"#);
    assert!(expiry > office.metric("process_start_time_seconds"), "{expiry}");
    let scrape = get(office.endpoint, "/metrics");
    assert!(scrape.head.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8"), "{}", scrape.head);
    assert!(scrape.body.ends_with("# EOF\n"));
    promtool(&["check", "metrics"], &classic(&scrape.body));
}

/// The classic text format: there a counter's name ends in `_total` in its description as well.
fn classic(openmetrics: &str) -> String {
    let rename = |line: &str| match line.strip_prefix("# TYPE ").and_then(|rest| rest.strip_suffix(" counter")) {
        Some(name) => format!("# TYPE {name}_total counter\n"),
        None => line.strip_suffix(" info").map_or_else(|| format!("{line}\n"), |line| format!("{line}_info gauge\n")),
    };
    let counters: Vec<&str> = openmetrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter")).collect();
    let renamed = openmetrics.lines().map(|line| match line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
        Some((name, help)) if counters.contains(&name) => format!("# HELP {name}_total {help}\n"),
        Some(("postern_build", help)) => format!("# HELP postern_build_info {help}\n"),
        _ => rename(line),
    });
    renamed.collect()
}

#[test]
fn the_alerts_are_rules_that_prometheus_takes() {
    let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/config/prometheus-alerts.yaml");
    promtool(&["check", "rules", rules], "");
    // What an alert asks about is there.
    let office = Office::new();
    let scrape = get(office.endpoint, "/metrics").body;
    let text = fs::read_to_string(rules).unwrap();
    let words = text
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .flat_map(|line| line.split(|c: char| !(c.is_alphanumeric() || c == '_')));
    let mut names: Vec<&str> = words.filter(|word| word.starts_with("postern_") || word.starts_with("process_")).collect();
    names.sort_unstable();
    names.dedup();
    assert!(names.len() >= 8, "{names:?}");
    for name in names {
        assert!(scrape.contains(&format!("\n{name}")), "no {name} in a scrape");
    }
}

/// Runs promtool, where `tests/setup.sh` could fetch it.
fn promtool(arguments: &[&str], input: &str) {
    let program = tools().join("promtool");
    if !program.exists() {
        eprintln!("skipped: {} is not there", program.display());
        return;
    }
    succeeded(run_with_input(Command::new(program).args(arguments), input.as_bytes()));
}

#[test]
fn made_up_names_add_no_series() {
    let office = Office::with("limits: { max_failures_per_address: 0 }");
    let series = |text: &str| text.lines().filter(|line| !line.starts_with('#')).count();
    let before = series(&get(office.endpoint, "/metrics").body);
    for number in 0..600 {
        let (user, database) = (format!("user-{number}"), format!("database{number}"));
        let first = startup(&[("user", &user), ("database", &database), ("application_name", &user)]);
        let mut wire = if number % 10 == 0 {
            Wire::connect_tls(office.world.address(), &TlsOptions::with(Some(office.world.alice.clone()))).unwrap()
        } else {
            Wire::connect(office.world.address())
        };
        wire.send(&first);
        wire.read_to_end();
    }
    wait_until("all are refused", || {
        let refused = |reason: &str| office.metric(&format!("postern_connections_refused_total{{reason=\"{reason}\"}}"));
        refused("plaintext") == 540.0 && refused("identity") == 60.0
    });
    let after = get(office.endpoint, "/metrics").body;
    assert_eq!(series(&after), before);
    assert!(before <= 200, "{before} series");
    assert!(!after.contains("user-") && !after.contains("database"), "{after}");
}

#[test]
fn a_cancel_is_counted_by_what_became_of_it() {
    let office = Office::new();
    let mut wire = Wire::connect(office.world.address());
    wire.send(&packet(1234 << 16 | 5678, &[0, 0, 0, 9, 1, 2, 3, 4]));
    wire.read_to_end();
    wait_until("it is counted", || office.metric(r#"postern_cancel_requests_total{result="unknown_key"}"#) == 1.0);
}

#[test]
#[ignore = "a minute of handshakes, for soak runs: cargo test --test it scrape_of_5000 -- --ignored --nocapture"]
fn a_scrape_of_5000_sessions_takes_less_than_5_ms() {
    const SESSIONS: usize = 5000;
    let endpoint = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let dir = private_dir();
    let listener = UnixListener::bind(dir.path().join(".s.PGSQL.5432")).unwrap();
    thread::spawn(move || hold_sessions(&listener));
    let pki = Pki::new();
    let config = Config::new(&pki, dir.path(), 5432)
        .with(&format!("admin: {{ listen: \"{endpoint}\" }}\nlimits: {{ max_connections: {SESSIONS} }}\nlog: {{ level: warn }}"));
    let postern = Daemon::start(&config);
    let alice = pki.client(Profile::Good);
    let log_in = || Wire::log_in(postern.address(), &alice, "alice").unwrap_or_else(|refusal| panic!("{refusal}"));
    let _sessions: Vec<Wire> = (0..SESSIONS).map(|_| log_in()).collect();
    assert!(get(endpoint, "/metrics").body.contains(&format!("\npostern_sessions_active {SESSIONS}\n")));
    let mut times: Vec<Duration> = (0..101)
        .map(|_| {
            let began = Instant::now();
            get(endpoint, "/metrics");
            began.elapsed()
        })
        .collect();
    times.sort_unstable();
    eprintln!("a scrape of {SESSIONS} sessions: {:?} in the median, {:?} at most", times[50], times[100]);
    assert!(times[50] < Duration::from_millis(5), "{times:?}");
}

/// A backend that logs everybody in and says nothing more.
fn hold_sessions(listener: &UnixListener) {
    let greeting = [message('R', &[0; 4]), message('K', &[0, 0, 0, 1, 0, 0, 0, 2]), message('Z', b"I")].concat();
    let mut held = Vec::new();
    for mut stream in listener.incoming().map_while(Result::ok) {
        // An SSLRequest of eight bytes is the daemon, looking whether we live.
        if stream.read(&mut [0; 1024]).unwrap() == 8 {
            stream.write_all(b"N").unwrap();
        } else {
            stream.write_all(&greeting).unwrap();
            held.push(stream);
        }
    }
}
