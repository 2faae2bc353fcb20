//! Where operators look: metrics, probes and the status page by HTTP, verbs by the admin socket.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use nix::unistd::Uid;
use serde_json::{Value, json};

use crate::harness::clients::{run_with_input, succeeded};
use crate::harness::daemon::{Config, Daemon, postern};
use crate::harness::http::{self, get, request};
use crate::harness::pki::Profile;
use crate::harness::postgres::free_port;
use crate::harness::wire::{End, TlsOptions, Wire, packet, startup};
use crate::harness::{World, signal, tools, wait_until};

/// A world whose operators can look.
struct Office {
    world: World,
    endpoint: SocketAddr,
    config: Config,
}

impl Office {
    fn new() -> Self {
        Self::with("")
    }

    fn with(more: &str) -> Self {
        let endpoint = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let mut kept = None;
        let world = World::configured(|config| {
            let admin = format!("admin: {{ listen: \"{endpoint}\", hosts: [metrics.example], socket: admin.sock }}\n{more}");
            kept.insert(config.with(&admin)).clone()
        });
        let office = Self { world, endpoint, config: kept.unwrap() };
        office.wait_until_ready();
        office
    }

    fn wait_until_ready(&self) {
        wait_until("the daemon is ready", || get(self.endpoint, "/readyz").status == 200);
    }

    fn socket(&self) -> PathBuf {
        self.config.dir().join("admin.sock")
    }

    /// Runs a verb of the command line.
    fn postern(&self, arguments: &[&str]) -> Output {
        let config = self.config.dir().join("postern.yaml").display().to_string();
        postern(&[arguments, &["-c", &config]].concat())
    }

    fn sessions(&self) -> Vec<Value> {
        let reply: Value = serde_json::from_str(&succeeded(self.postern(&["sessions", "--json"]))).unwrap();
        reply["sessions"].as_array().unwrap().clone()
    }

    /// Says this to the admin socket, and reads the reply.
    fn ask(&self, line: &str) -> Value {
        let mut stream = UnixStream::connect(self.socket()).unwrap();
        let _ = stream.write_all(line.as_bytes());
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        serde_json::from_str(&reply).unwrap_or_else(|error| panic!("{error}: {reply:?}"))
    }

    fn metric(&self, series: &str) -> f64 {
        let text = get(self.endpoint, "/metrics").body;
        let line = text.lines().find(|line| line.rsplit_once(' ').is_some_and(|(name, _)| name == series));
        line.unwrap_or_else(|| panic!("no {series} in\n{text}")).rsplit_once(' ').unwrap().1.parse().unwrap()
    }
}

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
fn a_backend_that_stops_is_seen_within_three_seconds_and_its_return_as_well() {
    let mut office = Office::new();
    office.world.postgres.stop();
    let stopped = Instant::now();
    wait_until("the daemon is not ready", || get(office.endpoint, "/readyz").status == 503);
    assert!(stopped.elapsed() < Duration::from_millis(3500), "{:?}", stopped.elapsed());
    let reason = get(office.endpoint, "/readyz").body;
    assert!(reason.contains("the backend cannot be reached"), "{reason}");
    assert_eq!(office.metric("postern_backend_up"), 0.0);
    assert_eq!((get(office.endpoint, "/livez").status, get(office.endpoint, "/startupz").status), (200, 200));
    let status = succeeded(office.postern(&["status"]));
    assert!(status.starts_with("Postern is not ready") && status.contains("the backend cannot be reached"), "{status}");

    office.world.postgres.start();
    let returned = Instant::now();
    wait_until("the daemon is ready again", || get(office.endpoint, "/readyz").status == 200);
    assert!(returned.elapsed() < Duration::from_millis(3500), "{:?}", returned.elapsed());
    assert_eq!(get(office.endpoint, "/readyz").body, "ok\n");
    wait_until("both are in the log", || {
        let log = office.world.postern().log();
        log.matches("the backend does not answer").count() == 1 && log.contains("the backend answers again")
    });
}

#[test]
fn a_daemon_that_was_told_to_stop_is_not_ready() {
    let office = Office::new();
    // A client that reads nothing keeps the daemon a little longer.
    let mut wire = office.world.log_in();
    wire.query("select repeat('x', 1000) from generate_series(1, 100000)");
    wait_until("the answer is on its way", || office.metric(r#"postern_bytes_total{direction="out"}"#) > 50_000.0);
    signal("TERM", office.world.postern().pid());
    wait_until("the daemon is draining", || get(office.endpoint, "/readyz").body.starts_with("draining"));
    assert_eq!(get(office.endpoint, "/readyz").status, 503);
    assert_eq!(get(office.endpoint, "/livez").status, 200);
}

#[test]
fn looking_at_the_backend_leaves_no_line_in_its_log() {
    let office = Office::new();
    office.postern(&["status"]);
    let log = office.world.postgres.log();
    assert!(!log.contains("incomplete startup packet") && !log.contains("invalid"), "{log}");
    office.world.postgres.wait_until("select count(*) = 0 from pg_stat_activity where usename = 'alice'");
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
fn only_requests_for_this_host_are_answered() {
    let office = Office::new();
    let ask = |host: &str| request(office.endpoint, &format!("GET /metrics HTTP/1.1\r\n{host}Connection: close\r\n\r\n")).unwrap().status;
    let port = office.endpoint.port();
    for host in ["127.0.0.1", "[::1]", "localhost", "metrics.example", "10.0.0.1", "Metrics.Example:80"] {
        assert_eq!(ask(&format!("Host: {host}\r\n")), 200, "{host}");
        assert_eq!(ask(&format!("hOST: {}:{port}\r\n", host.trim_end_matches(":80"))), 200, "{host}");
    }
    for host in ["evil.example", "127.0.0.1.evil.example", "metrics.example.evil.example", "localhost.evil.example"] {
        assert_eq!(ask(&format!("Host: {host}\r\n")), 421, "{host}");
    }
    assert_eq!(ask(""), 400);
    assert_eq!(ask("Host: localhost\r\nHost: evil.example\r\n"), 400);
    let absolute = "GET http://evil.example/metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert_eq!(request(office.endpoint, absolute).unwrap().status, 421);
}

#[test]
fn the_endpoint_is_read_only_and_serves_its_own_paths() {
    let office = Office::new();
    for method in ["POST", "PUT", "DELETE", "HEAD", "OPTIONS", "CONNECT", "TRACE", "PATCH", "KILL"] {
        let target = if method == "CONNECT" { "localhost:80" } else { "/metrics" };
        let text = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc");
        let answer = request(office.endpoint, &text).unwrap();
        assert_eq!((answer.status, answer.head.contains("allow: get")), (405, true), "{method}: {}", answer.head);
    }
    for path in ["/nowhere", "/metrics/", "/debug/pprof", "//metrics", "/../etc/passwd"] {
        assert_eq!(get(office.endpoint, path).status, 404, "{path}");
    }
    for path in ["/metrics", "/livez", "/readyz", "/startupz", "/status", "/", "/metrics?name[]=up"] {
        let answer = get(office.endpoint, path);
        assert_eq!(answer.status, 200, "{path}");
        assert!(
            answer.head.contains("cache-control: no-store") && answer.head.contains("x-content-type-options: nosniff"),
            "{}",
            answer.head
        );
    }
}

#[test]
fn the_status_is_a_page_for_people_and_json_for_programs() {
    let office = Office::new();
    assert!(Wire::log_in(office.world.address(), &office.world.alice, "bob").is_err());
    let _session = office.world.log_in();
    wait_until("the session is shown", || get(office.endpoint, "/status").body.contains("1 of at most 1000"));
    let page = get(office.endpoint, "/status");
    assert!(page.head.contains("content-type: text/html") && page.head.contains("default-src 'none'"), "{}", page.head);
    assert!(
        page.body.contains("Postern is <span class=\"ready\">ready</span>") && page.body.contains("refused: identity"),
        "{}",
        page.body
    );
    assert!(!page.body.contains("alice"), "the page shows nothing of any client");

    let json = format!("GET /status HTTP/1.1\r\nHost: {}\r\nAccept: application/json\r\nConnection: close\r\n\r\n", office.endpoint);
    let status: Value = serde_json::from_str(&request(office.endpoint, &json).unwrap().body).unwrap();
    assert_eq!((&status["ready"], &status["phase"]), (&json!(true), &json!("serving")));
    assert_eq!((&status["backend"]["up"], &status["sessions"]["active"]), (&json!(true), &json!(1)));
    assert_eq!(status["connections"]["refused"]["identity"], 1);
    assert!(status["certificates"]["server"].as_str().unwrap().ends_with('Z'), "{status}");

    let reply: Value = serde_json::from_str(&succeeded(office.postern(&["status", "--json"]))).unwrap();
    assert_eq!((&reply["v"], &reply["status"]["pid"]), (&json!(1), &json!(office.world.postern().pid())));
}

#[test]
fn slow_and_greedy_callers_are_dropped_and_keep_nobody_out() {
    let office = Office::new();
    let connect = || {
        let stream = TcpStream::connect(office.endpoint).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    };
    let began = Instant::now();
    // Two that trickle and one that asks, is answered and then rests.
    let mut slow = [connect(), connect()];
    let mut idle = connect();
    idle.write_all(format!("GET /livez HTTP/1.1\r\nHost: {}\r\n\r\n", office.endpoint).as_bytes()).unwrap();
    assert_eq!(http::read(&mut idle).unwrap().body, "ok\n");
    for stream in &mut slow {
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: local").unwrap();
    }
    // Forty more do nothing at all: a probe is answered at once, for the oldest give way.
    let _silent: Vec<TcpStream> = (0..40).map(|_| connect()).collect();
    let asked = Instant::now();
    assert_eq!(get(office.endpoint, "/livez").status, 200);
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    // One alone has its five seconds.
    wait_until("all are dropped", || office.metric("process_open_fds") < 30.0);
    let mut lone = connect();
    lone.write_all(b"GET /metr").unwrap();
    let lonely = Instant::now();
    assert_eq!(lone.read(&mut [0; 64]).unwrap_or(0), 0);
    assert!((Duration::from_millis(4900)..Duration::from_secs(7)).contains(&lonely.elapsed()), "{:?}", lonely.elapsed());
    for stream in slow.iter_mut().chain([&mut idle]) {
        assert_eq!(stream.read(&mut [0; 64]).unwrap_or(0), 0);
    }
    assert!(began.elapsed() < Duration::from_secs(20));

    let long = format!("GET /metrics HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(9000));
    assert_eq!(request(office.endpoint, &long).map(|answer| answer.status), Some(431));
}

#[test]
fn one_connection_serves_request_after_request() {
    let office = Office::new();
    let mut stream = TcpStream::connect(office.endpoint).unwrap();
    for path in ["/metrics", "/readyz", "/livez"] {
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", office.endpoint).as_bytes()).unwrap();
        assert_eq!(http::read(&mut stream).unwrap().status, 200);
    }
}

#[test]
fn sessions_are_listed_with_what_an_operator_looks_for() {
    let office = Office::new();
    let mut wire = Wire::connect_tls(office.world.address(), &TlsOptions::with(Some(office.world.alice.clone()))).unwrap();
    wire.send(&startup(&[("user", "alice"), ("database", "postgres"), ("application_name", "night\u{1b}[2J job")]));
    wire.until_ready().unwrap();
    let port = wire.local_port();
    let state = |expected: &str| wait_until(expected, || office.sessions()[0]["state"] == expected);
    state("idle");
    wire.query("begin");
    wire.until_ready().unwrap();
    state("idle in transaction");
    wire.query("select pg_sleep(60)");
    state("active");

    let sessions = office.sessions();
    let [session] = sessions.as_slice() else { panic!("{sessions:?}") };
    assert_eq!((&session["role"], &session["database"]), (&json!("alice"), &json!("postgres")));
    assert_eq!((&session["application_name"], &session["client"]), (&json!("night\u{1b}[2J job"), &json!(format!("127.0.0.1:{port}"))));
    assert_eq!(session["cert"]["cn"], "alice");
    let record = office.world.postern().wait_for_record(|record| record["event"] == "session.start");
    assert_eq!(session["id"], record["session"]);
    for field in ["serial", "sha256", "not_after"] {
        assert_eq!(session["cert"][field], record["cert"][field], "{field}");
    }
    assert_eq!(session["backend_pid"], record["backend"]["pid"]);
    assert!(session["bytes_in"].as_u64() > Some(0) && session["bytes_out"].as_u64() > Some(0), "{session}");

    let table = succeeded(office.postern(&["sessions"]));
    assert!(table.starts_with("ID ") && table.contains("alice") && table.ends_with("1 session\n"), "{table}");
    assert!(!table.contains('\u{1b}') && table.contains(r"night\u{1b}[2J job"), "{table:?}");
}

#[test]
fn a_killed_session_hears_so_and_the_trail_knows_who_did_it() {
    let office = Office::new();
    let address = office.world.address();
    let bob = office.world.pki.named("bob");
    let second = office.world.pki.client(Profile::Good);
    let mut alices = [office.world.log_in(), office.world.log_in(), Wire::log_in(address, &second, "alice").unwrap()];
    let mut bobs = Wire::log_in(address, &bob, "bob").unwrap();
    let killed = |wire: &mut Wire| {
        let last = wire.read_message().unwrap().fields();
        assert_eq!(last.to_string(), "FATAL 57P01 terminating connection due to administrator command");
        assert_eq!(wire.read_to_end(), (vec![], End::Closed));
    };

    let by_port = |port: u16| office.sessions().into_iter().find(|session| session["client"] == format!("127.0.0.1:{port}")).unwrap();
    let first = by_port(alices[0].local_port());
    let id = first["id"].as_str().unwrap().to_owned();
    assert_eq!(succeeded(office.postern(&["kill", &id])), format!("{id}: told to end\n"));
    killed(&mut alices[0]);
    let end = office.world.postern().wait_for_record(|record| record["event"] == "session.end");
    assert_eq!((&end["session"], &end["reason"]), (&json!(id), &json!("killed")));
    wait_until("it is gone", || office.sessions().len() == 3);
    let again = office.postern(&["kill", &id]);
    assert_eq!((again.status.code(), String::from_utf8(again.stdout).unwrap()), (Some(1), format!("no session {id}\n")));

    let third = by_port(alices[2].local_port());
    let colons =
        |hex: &str| hex.as_bytes().chunks(2).map(|pair| String::from_utf8_lossy(pair).to_uppercase()).collect::<Vec<_>>().join(":");
    let fingerprint = colons(third["cert"]["sha256"].as_str().unwrap());
    let reply: Value = serde_json::from_str(&succeeded(office.postern(&["kill", "--cert", &fingerprint, "--json"]))).unwrap();
    assert_eq!(reply, json!({ "v": 1, "killed": [third["id"]] }));
    killed(&mut alices[2]);

    succeeded(office.postern(&["kill", "--role", "alice"]));
    killed(&mut alices[1]);
    assert_eq!(bobs.rows("select session_user"), [[Some("bob".to_owned())]]);

    let uid = Uid::current().as_raw();
    let recorded = |by: &str, result: &str| {
        let record = office.world.postern().wait_for_record(|record| {
            record["event"] == "admin" && record["verb"] == "kill" && record["selector"]["by"] == by && record["result"] == result
        });
        assert_eq!(record["peer"]["uid"], uid, "{record}");
        record
    };
    assert_eq!(recorded("id", "done")["targets"], 1);
    assert_eq!(recorded("id", "no_match")["selector"]["value"], id.as_str());
    assert_eq!(recorded("role", "done")["selector"]["value"], "alice");
    assert_eq!(recorded("cert", "done")["targets"], 1);
    office.world.postern().wait_for_record(|record| record["event"] == "admin" && record["verb"] == "sessions");
}

#[test]
fn a_session_that_runs_a_statement_is_killed_with_it() {
    let office = Office::new();
    let mut wire = office.world.log_in();
    wire.query("select pg_sleep(600)");
    office.world.postgres.wait_until("select count(*) = 1 from pg_stat_activity where usename = 'alice' and state = 'active'");
    succeeded(office.postern(&["kill", "--role", "alice"]));
    assert_eq!(wire.read_message().unwrap().fields().sqlstate, "57P01");
    office.world.postgres.wait_until("select count(*) = 0 from pg_stat_activity where usename = 'alice'");
}

#[test]
fn the_socket_refuses_what_is_no_request() {
    let office = Office::new();
    for (line, code) in [
        ("{\"v\":1,\"verb\":\"shutdown\"}\n", "unknown_verb"),
        ("{\"v\":1,\"verb\":\"status\",\"role\":\"a\"}\n", "malformed"),
        ("{\"v\":9,\"verb\":\"status\"}\n", "malformed"),
        ("GET /metrics HTTP/1.1\r\n\r\n", "malformed"),
        (&format!("{{\"v\":1,\"verb\":\"kill\",\"role\":\"{}\"}}\n", "x".repeat(5000)), "too_long"),
    ] {
        let reply = office.ask(line);
        assert_eq!((&reply["v"], &reply["error"]["code"]), (&json!(1), &json!(code)), "{line}: {reply}");
    }
    office
        .world
        .postern()
        .wait_for_record(|record| record["event"] == "admin" && record["result"] == "malformed" && record["verb"].is_null());
    // Whoever is slow is dropped after five seconds, and keeps nobody out meanwhile.
    let mut slow = UnixStream::connect(office.socket()).unwrap();
    slow.write_all(b"{\"v\":1,").unwrap();
    let began = Instant::now();
    assert!(office.ask("{\"v\":1,\"verb\":\"status\"}\n")["status"].is_object());
    let mut reply = String::new();
    slow.read_to_string(&mut reply).unwrap();
    assert!((Duration::from_millis(4900)..Duration::from_secs(7)).contains(&began.elapsed()), "{:?}", began.elapsed());
    assert!(reply.contains("too_long"), "{reply}");
}

#[test]
fn the_socket_is_its_owners_and_leaves_with_the_daemon() {
    let mut office = Office::new();
    let found = fs::symlink_metadata(office.socket()).unwrap();
    assert_eq!((found.file_type().is_socket(), found.mode() & 0o777), (true, 0o600));
    office.world.postern_mut().end("TERM");
    assert!(!office.socket().exists());
    let output = office.postern(&["status"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("is the daemon running"), "{output:?}");
}

#[test]
fn a_socket_that_a_killed_daemon_left_behind_is_replaced_and_a_living_ones_is_not() {
    let mut office = Office::new();
    let second = office.postern(&["serve"]);
    assert_eq!(second.status.code(), Some(1), "two daemons with one configuration: {second:?}");
    assert!(office.socket().exists());
    office.world.postern_mut().end("KILL");
    assert!(office.socket().exists());
    let successor = Daemon::start(&office.config);
    office.wait_until_ready();
    let reply: Value = serde_json::from_str(&succeeded(office.postern(&["status", "--json"]))).unwrap();
    assert_eq!(reply["status"]["pid"], successor.pid());
}

#[test]
fn another_user_is_refused_even_where_the_mode_would_let_him_in() {
    if !Uid::effective().is_root() {
        eprintln!("skipped: only root can become another user");
        return;
    }
    let office = Office::new();
    let mut path = office.socket();
    let ask = |path: &PathBuf| {
        let script = "use IO::Socket::UNIX; my $s = IO::Socket::UNIX->new(Peer => $ARGV[0]) or die \"$!\\n\"; \
                      print $s qq({\"v\":1,\"verb\":\"kill\",\"role\":\"alice\"}\\n); print <$s>;";
        let nobody = ["--reuid=nobody", "--regid=nogroup", "--clear-groups", "/usr/bin/perl", "-e", script];
        Command::new("setpriv").args(nobody).arg(path).current_dir("/").output().unwrap()
    };
    let _session = office.world.log_in();
    let refused = ask(&path);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("Permission denied"), "{refused:?}");

    // A careless chmod of the socket and of every folder above it.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    while path.pop() && path.starts_with("/tmp") && path.components().count() > 2 {
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let refused = succeeded(ask(&office.socket()));
    assert!(refused.contains(r#""code":"forbidden""#), "{refused}");
    let record = office.world.postern().wait_for_record(|record| record["event"] == "admin" && record["result"] == "forbidden");
    assert_ne!(record["peer"]["uid"], 0);
    assert_eq!(office.sessions().len(), 1);
}

#[test]
fn an_endpoint_beyond_loopback_is_served_and_warned_of() {
    let office = Office::new();
    let yaml = office.config.yaml().replace(&format!("listen: \"{}\"", office.endpoint), "listen: \"0.0.0.0:9187\"");
    fs::write(office.config.dir().join("exposed.yaml"), &yaml).unwrap();
    let output = postern(&["check", "-c", office.config.dir().join("exposed.yaml").to_str().unwrap()]);
    let said = succeeded(output);
    assert!(said.contains("notice: admin.listen: 0.0.0.0:9187 is not loopback"), "{said}\n{yaml}");
    let said = succeeded(office.postern(&["check"]));
    assert!(!said.contains("admin.listen"), "{said}");
}

#[test]
fn a_daemon_without_an_admin_socket_says_where_to_set_one() {
    let world = World::configured(|config| config);
    let config = Config::new(&world.pki, world.postgres.dir.path(), world.postgres.port);
    let output = postern(&["sessions", "-c", config.write().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(78));
    assert!(String::from_utf8_lossy(&output.stderr).contains("admin.socket: found null"), "{output:?}");
    let usage = postern(&["kill"]);
    assert_eq!(usage.status.code(), Some(2), "{usage:?}");
    let both = postern(&["kill", "01JD6Y", "--role", "alice"]);
    assert_eq!(both.status.code(), Some(2), "{both:?}");
}

#[test]
fn a_cancel_is_counted_by_what_became_of_it() {
    let office = Office::new();
    let mut wire = Wire::connect(office.world.address());
    wire.send(&packet(1234 << 16 | 5678, &[0, 0, 0, 9, 1, 2, 3, 4]));
    wire.read_to_end();
    wait_until("it is counted", || office.metric(r#"postern_cancel_requests_total{result="unknown_key"}"#) == 1.0);
}
