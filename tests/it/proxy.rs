//! Behind a load balancer: whose address counts, what a balancer may say, and who may not say it.

use std::fs;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use crate::harness::clients::{Clients, failed, succeeded};
use crate::harness::http::get;
use crate::harness::postgres::free_port;
use crate::harness::wire::{End, Refusal, TlsOptions, Wire, ssl_request, startup};
use crate::harness::{World, wait_until};

/// This machine's loopback addresses are balancers.
const TRUSTED: &str = "proxy_protocol: { trusted: [127.0.0.0/8] }\n";

#[test]
fn the_clients_own_address_is_judged_and_recorded() {
    let world = World::configured(|config| {
        config.with(TRUSTED).with("hba:\n  - { database: all, user: all, address: 192.0.2.0/24, method: cert }")
    });
    let mapped = b"PROXY TCP6 ::ffff:192.0.2.7 ::1 4000 5432\r\n";
    for header in [&b"PROXY TCP4 192.0.2.7 198.51.100.1 4000 5432\r\n"[..], &v2(0x21, 0x11, &CLIENT), mapped] {
        let mut session = log_in(&world, header).unwrap_or_else(|refusal| panic!("{refusal}"));
        assert_eq!(session.rows("select session_user"), [[Some("alice".to_owned())]]);
        drop(session);
    }
    wait_until("all have left", || count(&world, "session.end") == 3);
    for record in world.postern().records().iter().filter(|record| record["event"] == "session.start") {
        assert_eq!((record["client"]["address"].as_str(), record["client"]["port"].as_u64()), (Some("192.0.2.7"), Some(4000)));
    }
    let Err(refusal) = log_in(&world, b"PROXY TCP4 203.0.113.9 198.51.100.1 4000 5432\r\n") else { panic!("somebody else was let in") };
    assert!(refusal.to_string().contains("no pg_hba.conf entry for host \"203.0.113.9\", user \"alice\""), "{refusal}");
    // The balancer itself is not on the list either: LOCAL makes it a client like others.
    let Err(refusal) = log_in(&world, &v2(0x20, 0, &[])) else { panic!("the balancer was let in") };
    assert!(refusal.to_string().contains("no pg_hba.conf entry for host \"127.0.0.1\""), "{refusal}");
}

#[test]
fn a_header_from_any_other_address_is_no_header() {
    let world = World::configured(|config| config.with("proxy_protocol: { trusted: [192.0.2.0/24] }"));
    for header in [&b"PROXY TCP4 192.0.2.7 198.51.100.1 4000 5432\r\n"[..], &v2(0x21, 0x11, &CLIENT), b"PROXY UNKNOWN\r\n"] {
        let (answer, reason) = refused(&world, &[header, &ssl_request()].concat());
        assert_eq!((answer.as_slice(), reason.as_str()), (&b""[..], "protocol"));
    }
    assert_eq!(world.log_in().rows("select 1"), [[Some("1".to_owned())]]);
}

#[test]
fn a_trusted_balancer_must_send_a_whole_header_and_a_good_one() {
    let world = World::configured(|config| config.with(TRUSTED));
    let unknown = [b"PROXY UNKNOWN\r\n", ssl_request().as_slice()].concat();
    let unspecified = [v2(0x21, 0, &[]), ssl_request()].concat();
    let too_long = v2(0x21, 0x11, &[0; 4090]);
    for bytes in [
        &ssl_request()[..],
        b"\x16\x03\x01\x02\x00",
        b"GET / HTTP/1.1\r\n\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 4000 5432\n",
        &v2(0x21, 0x12, &CLIENT),
        &too_long,
        &unknown,
        &unspecified,
    ] {
        let (answer, reason) = refused(&world, bytes);
        assert_eq!((answer.as_slice(), reason.as_str()), (&b""[..], "protocol"), "{bytes:?}");
    }
    // Half a header and the end of the connection.
    let mut wire = Wire::connect(world.address());
    wire.send_clear(b"PROXY TCP4 192.0");
    wire.shutdown_write();
    world.postern().wait_for_record(|record| record["event"] == "connection.refused" && reason_of(record) == Some("protocol"));
    assert!(world.postern().log().contains("proxy_protocol.trusted names this address, so it must send one"));
}

#[test]
fn a_header_that_does_not_come_to_its_end_is_given_up() {
    let world = World::configured(|config| config.with(TRUSTED));
    let begun = Instant::now();
    let (answer, reason) = refused(&world, b"PROXY TCP4 192.0.2.7 ");
    assert_eq!((answer.as_slice(), reason.as_str()), (&b""[..], "timeout"));
    assert!(begun.elapsed().as_secs() < 10, "it has a deadline of its own, before that of the login");
}

#[test]
fn a_balancer_that_only_looks_leaves_no_record() {
    let world = World::configured(|config| config.with(TRUSTED));
    for header in [&b""[..], &v2(0x20, 0, &[]), &v2(0x20, 0x11, &CLIENT), b"PROXY UNKNOWN\r\n", &v2(0x21, 0, &[]), &v2(0x21, 0x11, &CLIENT)]
    {
        let mut wire = Wire::connect(world.address());
        wire.send_clear(header);
        wire.shutdown_write();
        assert!(wire.read_to_end().0.is_empty());
    }
    drop(log_in(&world, &v2(0x21, 0x11, &CLIENT)).unwrap_or_else(|refusal| panic!("{refusal}")));
    wait_until("the session is over", || count(&world, "session.end") == 1);
    assert_eq!((count(&world, "connection.refused"), count(&world, "session.start")), (0, 1));
}

#[test]
fn a_balancer_that_stays_and_says_nothing_leaves_no_record_either() {
    let world = World::configured(|config| config.with(TRUSTED).with("limits: { authentication_timeout: 1s }"));
    let mut silent = Wire::connect(world.address());
    assert!(silent.read_to_end().1.is_orderly());
    // Whoever begins and goes no further is on record, behind the silent one.
    let mut late = Wire::connect(world.address());
    late.send_clear(b"PROXY");
    world.postern().wait_for_record(|record| record["event"] == "connection.refused");
    assert_eq!(count(&world, "connection.refused"), 1);
}

#[test]
fn limits_by_address_count_clients_and_not_their_balancer() {
    let world = World::configured(|config| config.with(TRUSTED).with("limits: { max_connections_per_address: 1 }"));
    let by = |address: &str| log_in(&world, format!("PROXY TCP4 {address} 198.51.100.1 4000 5432\r\n").as_bytes());
    let _first = by("192.0.2.1").unwrap_or_else(|refusal| panic!("{refusal}"));
    let _second = by("192.0.2.2").unwrap_or_else(|refusal| panic!("{refusal}"));
    let Err(refusal) = by("192.0.2.1") else { panic!("there is one from there already") };
    assert!(refusal.to_string().starts_with("FATAL 53300 "), "{refusal}");
}

#[test]
fn haproxy_brings_clients_in_and_its_checks_leave_no_record() {
    for option in ["send-proxy", "send-proxy-v2"] {
        let endpoint = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let world = World::configured(|config| {
            config
                .with("proxy_protocol: { trusted: [127.0.0.9/32] }")
                .with(&format!("admin: {{ listen: \"{endpoint}\" }}"))
                .with("hba:\n  - { database: all, user: all, address: 127.0.0.1/32, method: cert }")
        });
        let balancer = Balancer::before(&world, option);
        let conninfo = world.conninfo().replace(&format!("port={}", world.address().port()), &format!("port={}", balancer.port));
        let accepted = || {
            let metrics = get(endpoint, "/metrics").body;
            let line = metrics.lines().find_map(|line| line.strip_prefix("postern_connections_accepted_total "));
            line.and_then(|value| value.parse::<f64>().ok()).unwrap_or_default()
        };
        wait_until("haproxy has looked five times", || accepted() >= 5.0);
        assert_eq!(succeeded(Clients::debian().psql(&conninfo, "select session_user")), "alice\n", "{option}");
        let said = failed(Clients::debian().psql(&conninfo.replace("user=alice", "user=bob"), "select 1"));
        assert!(said.contains("certificate authentication failed for user \"bob\""), "{said}");
        let start = world.postern().wait_for_record(|record| record["event"] == "session.start");
        // haproxy comes from 127.0.0.9; psql does not.
        assert_eq!(start["client"]["address"], "127.0.0.1");
        world.postern().wait_for_record(|record| record["event"] == "connection.refused" && record["reason"] == "identity");
        assert_eq!(count(&world, "connection.refused"), 1, "{option}");
        // Who is not the balancer needs no header.
        assert_eq!(world.log_in().rows("select 1"), [[Some("1".to_owned())]]);
    }
}

/// 192.0.2.7:4000 to 198.51.100.1:5432.
const CLIENT: [u8; 12] = [192, 0, 2, 7, 198, 51, 100, 1, 0x0f, 0xa0, 0x15, 0x38];

/// A header of version 2.
fn v2(command: u8, transport: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[command, transport][..], &length, rest].concat()
}

/// Alice's session behind this header.
fn log_in(world: &World, header: &[u8]) -> Result<Wire, Refusal> {
    let mut wire = Wire::connect(world.address());
    // In one segment: what follows the header must be found by who reads on.
    wire.send_clear(&[header, &ssl_request()].concat());
    assert_eq!(wire.read_exactly(1)?, b"S");
    wire.start_tls(&TlsOptions::with(Some(world.alice.clone())))?;
    wire.send(&startup(&[("user", "alice"), ("database", "postgres")]));
    wire.until_ready()?;
    Ok(wire)
}

/// Sends these bytes and waits for the end: what came back, and the reason of the record.
fn refused(world: &World, bytes: &[u8]) -> (Vec<u8>, String) {
    let before = count(world, "connection.refused");
    let mut wire = Wire::connect(world.address());
    wire.send_clear(bytes);
    let (answer, end) = wire.read_to_end();
    assert!(end.is_orderly() || end == End::Reset, "{end}");
    wait_until("the refusal is on record", || count(world, "connection.refused") > before);
    let records = world.postern().records();
    let last = records.iter().rfind(|record| record["event"] == "connection.refused").unwrap();
    (answer, last["reason"].as_str().unwrap().to_owned())
}

fn reason_of(record: &serde_json::Value) -> Option<&str> {
    record["reason"].as_str()
}

fn count(world: &World, event: &str) -> usize {
    world.postern().records().iter().filter(|record| record["event"] == event).count()
}

/// haproxy in front of Postern, at 127.0.0.9, which looks every tenth of a second whether Postern is there.
struct Balancer {
    port: u16,
    process: Child,
}

impl Balancer {
    fn before(world: &World, option: &str) -> Self {
        let port = free_port();
        let config = world.dir().join("haproxy.cfg");
        let server = format!("server postern {} source 127.0.0.9 {option} check inter 100ms", world.address());
        let text = format!(
            "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n\
             listen door\n  bind 127.0.0.1:{port}\n  {server}\n"
        );
        fs::write(&config, text).unwrap();
        let mut haproxy = Command::new("setpriv");
        haproxy.args(["--pdeathsig=KILL", "haproxy", "-db", "-q", "-f"]).arg(config);
        haproxy.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = haproxy.spawn().unwrap();
        wait_until("haproxy listens: `make test` installs it", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        Self { port, process }
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
