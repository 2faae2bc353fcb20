//! SIGKILL under load: whoever starts the daemon again finds nothing in the way, and the trail whole but for its last line.

use std::fs;
use std::process::Stdio;
use std::time::Instant;

use serde_json::Value;

use crate::harness::clients::succeeded;
use crate::harness::daemon::{Daemon, postern};
use crate::harness::{World, wait_until};

#[test]
fn killed_under_load_it_serves_again_at_once_and_its_trail_is_whole() {
    let mut kept = None;
    let trails = tempfile::tempdir().unwrap();
    let trail = trails.path().join("audit.jsonl");
    let mut world = World::configured(|config| kept.insert(config.audit_file(&trail).with("admin: { socket: admin.sock }")).clone());
    let config = kept.unwrap();
    let conninfo = world.conninfo().replace("dbname=postgres", "dbname=alice");
    succeeded(world.clients.run("pgbench", ["-i", "-q", "-s", "1", &conninfo]));
    let mut pgbench = world.clients.command("pgbench");
    let pgbench = pgbench.args(["-n", "-S", "-C", "-c", "4", "-j", "2", "-T", "60", &conninfo]);
    let mut load = pgbench.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let read = || fs::read(&trail).unwrap_or_default();
    let lines = |event: &str| String::from_utf8_lossy(&read()).matches(event).count();
    wait_until("the load is on record", || lines("\"session.end\"") > 20);
    world.postern_mut().end("KILL");
    let before = read();
    load.wait().unwrap();
    assert!(config.dir().join("admin.sock").exists(), "nobody took the socket away");

    let began = Instant::now();
    let successor = Daemon::start(&config);
    drop(world.log_in());
    eprintln!("a login was complete {} ms after the start", began.elapsed().as_millis());
    succeeded(postern(&["status", "-c", config.dir().join("postern.yaml").to_str().unwrap()]));
    wait_until("the login is on record", || read().len() > before.len() && read().ends_with(b"\n") && lines("\"daemon.start\"") == 2);

    let after = read();
    assert!(after.starts_with(&before), "nothing that is in the file is changed");
    let whole: Vec<&[u8]> = before.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
    let torn = whole.iter().filter(|line| serde_json::from_slice::<Value>(line).is_err()).count();
    assert!(torn == 0 || torn == 1 && serde_json::from_slice::<Value>(whole[whole.len() - 1]).is_err(), "{torn} lines are torn");
    let numbers: Vec<_> = whole.iter().filter_map(|line| serde_json::from_slice::<Value>(line).ok()?["seq"].as_u64()).collect();
    assert_eq!(numbers, (0..numbers.len() as u64).collect::<Vec<_>>(), "none is missing");
    let rest = after[before.len()..].split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    assert!(rest.into_iter().all(|line| serde_json::from_slice::<Value>(line).is_ok()), "the successor begins a line of its own");
    drop(successor);
}
