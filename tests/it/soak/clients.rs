//! Clients that stop, and clients that are gone: the first keep what is theirs, the second leave nothing behind.

use std::net::{IpAddr, Ipv4Addr};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::unistd::Uid;

use super::Size;
use crate::harness::World;
use crate::harness::clients::succeeded;
use crate::harness::wait_until;

fn stop_reading(size: Size) {
    const ROWS: usize = 40_000;
    let world = World::new();
    let mut wire = world.log_in();
    wire.query(&format!("select repeat('x', 1000) from generate_series(1, {ROWS})"));
    assert!(wire.read_message().unwrap().is('T'));
    // Longer than any timer of the kernel's or Postern's; every buffer on the way is full by then.
    thread::sleep(Duration::from_secs(size.of(1, 120) as u64));
    let messages = wire.until_ready().unwrap_or_else(|refusal| panic!("{refusal}"));
    assert_eq!(messages.iter().filter(|message| message.is('D')).count(), ROWS);
    assert!(messages.iter().any(|message| message.is('C')));
}

#[test]
fn a_reader_that_stops_for_a_while_gets_its_whole_result() {
    stop_reading(Size::Small);
}

#[test]
#[ignore = "two minutes: make soak"]
fn soak_reader_that_stops_for_two_minutes() {
    stop_reading(Size::Full);
}

/// Another host, as far as TCP can tell: a network namespace behind a cable of its own.
struct Island {
    name: String,
}

impl Island {
    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 213, 47, 1));

    fn new() -> Self {
        let island = Self { name: format!("postern{}", std::process::id()) };
        let name = &island.name;
        let (here, there) = (format!("ph{}", std::process::id()), format!("pt{}", std::process::id()));
        ip(&["netns", "add", name]);
        ip(&["link", "add", &here, "type", "veth", "peer", "name", &there, "netns", name]);
        ip(&["address", "add", "10.213.47.1/30", "dev", &here]);
        ip(&["link", "set", &here, "up"]);
        ip(&["-n", name, "address", "add", "10.213.47.2/30", "dev", &there]);
        ip(&["-n", name, "link", "set", &there, "up"]);
        island
    }

    /// psql there, logged in and at this statement.
    fn psql(&self, world: &World, sql: &str) -> Client {
        let conninfo = world.conninfo().replace("host=127.0.0.1", &format!("host={}", Self::HERE));
        let psql = world.clients.command("psql");
        let mut psql_there = Command::new("ip");
        psql_there
            .args(["netns", "exec", &self.name])
            .arg(psql.get_program())
            .args([conninfo.as_str(), "-Xqc", sql])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Client(psql_there.spawn().unwrap())
    }

    /// From now on nothing comes from there and nothing arrives: its host has lost its power.
    fn sink(&self) {
        for chain in ["INPUT", "OUTPUT"] {
            ip(&["netns", "exec", &self.name, "iptables", "-A", chain, "-j", "DROP"]);
        }
    }
}

/// A program there. Left alive, it would keep the island.
struct Client(Child);

impl Drop for Client {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Drop for Island {
    fn drop(&mut self) {
        // The cable goes with it.
        drop(Command::new("ip").args(["netns", "delete", &self.name]).status());
    }
}

fn ip(arguments: &[&str]) {
    succeeded(Command::new("ip").args(arguments).output().unwrap());
}

#[test]
#[ignore = "a minute, and root for a network namespace: make soak"]
fn soak_client_whose_host_is_gone() {
    assert!(Uid::effective().is_root(), "only root can make a network namespace");
    let island = Island::new();
    let world = World::configured(|config| config.listen_also_on(Island::HERE));
    let _clients = ["select pg_sleep(600)", "copy (select repeat('x', 1000), generate_series(1, 100000000)) to stdout"]
        .map(|sql| island.psql(&world, sql));
    let at_work = "select count(*) from pg_stat_activity where usename = 'alice' and state = 'active'";
    wait_until("both are at work", || world.postgres.sql(at_work).trim() == "2");
    // The second is in the middle of its result: more is on its way than was acknowledged.
    thread::sleep(Duration::from_secs(2));
    island.sink();
    let begun = Instant::now();
    wait_until("both are gone", || world.postgres.sql("select count(*) from pg_stat_activity where usename = 'alice'").trim() == "0");
    Size::Full.judge("a vanished client's session", begun.elapsed().as_secs_f64(), 45.0, "s");
    let lost = |record: &serde_json::Value| record["event"] == "session.end" && record["reason"] == "client_lost";
    world.postern().wait_for_record(lost);
    assert_eq!(world.postern().records().iter().filter(|record| lost(record)).count(), 2);
}
