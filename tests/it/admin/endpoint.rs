//! Probes, the status page, and who may ask for them how.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Office;
use crate::harness::clients::succeeded;
use crate::harness::daemon::postern;
use crate::harness::http::{self, get, request};
use crate::harness::wire::Wire;
use crate::harness::{signal, wait_until};

#[test]
fn a_backend_that_stops_is_seen_within_three_seconds_and_its_return_as_well() {
    let mut office = Office::new();
    office.world.postgres.stop();
    let stopped = Instant::now();
    wait_until("the daemon is not ready", || get(office.endpoint, "/readyz").status == 503);
    assert!(stopped.elapsed() < Duration::from_millis(3500), "{:?}", stopped.elapsed());
    let reason = get(office.endpoint, "/readyz").body;
    assert!(reason.contains("cannot be reached"), "{reason}");
    assert_eq!(office.metric("postern_backend_up"), 0.0);
    assert_eq!((get(office.endpoint, "/livez").status, get(office.endpoint, "/startupz").status), (200, 200));
    let status = succeeded(office.postern(&["status"]));
    assert!(status.starts_with("Postern is not ready") && status.contains("cannot be reached"), "{status}");

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
    let (lonely, mut rest) = (Instant::now(), Vec::new());
    // Reads again where it is interrupted: a process that was stopped and goes on is.
    let _ = lone.read_to_end(&mut rest);
    assert!((Duration::from_millis(4900)..Duration::from_secs(7)).contains(&lonely.elapsed()), "{:?}", lonely.elapsed());
    for stream in slow.iter_mut().chain([&mut idle]) {
        let _ = stream.read_to_end(&mut rest);
    }
    assert_eq!(rest, b"", "nobody was answered");
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
