//! The log on standard error, where nobody reads it.

use std::collections::BTreeMap;
use std::io::Read;
use std::process::{Child, Command, Stdio};

use crate::harness::daemon::{Config, postern_path};
use crate::harness::wire::Wire;
use crate::harness::{World, signal, wait_until};

/// More than a pipe holds: four lines a session, each of two hundred bytes and more.
const LOGINS: usize = 150;

#[test]
fn a_log_that_nobody_reads_stops_nobody_and_is_whole_when_it_is_read() {
    let world = World::new();
    let config =
        Config::new(&world.pki, world.postgres.dir.path(), world.postgres.port).with("log: { format: json }\naudit: { file: audit.jsonl }");
    let mut postern = spawn(&config);
    let address = config.address();
    wait_until("it listens", || std::net::TcpStream::connect(address).is_ok());
    for _ in 0..LOGINS {
        Wire::log_in(address, &world.alice, "alice").unwrap_or_else(|refusal| panic!("{refusal}"));
    }
    let mut log = postern.stderr.take().unwrap();
    signal("TERM", postern.id());
    let mut text = String::new();
    log.read_to_string(&mut text).unwrap();
    assert!(postern.wait().unwrap().success());
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |words: &str| lines.iter().filter(|line| line["message"].as_str().is_some_and(|text| text.starts_with(words))).count();
    assert!(text.len() > 100 * 1024, "a pipe could have held {} bytes", text.len());
    assert_eq!((of("connection authorized"), of("disconnection")), (LOGINS, LOGINS));
    assert!(lines.last().unwrap()["message"].as_str().unwrap().starts_with("shutting down") || of("shutting down") == 1);
    // Two sessions speak at once, each in its own order.
    let mut sessions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for line in &lines {
        let session = line["session"].as_str().unwrap_or_default();
        sessions.entry(session).or_default().push(line["timestamp"].as_str().unwrap());
    }
    sessions.remove("");
    assert_eq!(sessions.len(), LOGINS);
    assert!(sessions.values().all(|times| times.len() > 1 && times.is_sorted()), "a session's lines keep their order");
}

/// The daemon, with its standard error in a pipe that is left alone.
fn spawn(config: &Config) -> Child {
    Command::new("setpriv")
        .args(["--pdeathsig=KILL", postern_path(), "serve", "-c"])
        .arg(config.write())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}
