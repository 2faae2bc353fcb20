//! A new process takes the listeners over from the old one, and nobody's work is lost between the two.

use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::thread;

use crate::harness::clients::succeeded;
use crate::harness::daemon::{Config, Daemon, postern, postern_path};
use crate::harness::http::get;
use crate::harness::pki::Credentials;
use crate::harness::postgres::free_port;
use crate::harness::wire::{End, TlsOptions, Wire, cancel_request, startup};
use crate::harness::{World, signal, wait_until};

/// A daemon with an admin socket, and what it was started with.
struct House {
    world: World,
    config: Config,
}

impl House {
    fn new() -> Self {
        Self::with("admin: { socket: admin.sock }")
    }

    fn with(more: &str) -> Self {
        let mut kept = None;
        let world = World::configured(|config| kept.insert(config.with(more)).clone());
        Self { world, config: kept.unwrap() }
    }

    fn path(&self) -> String {
        self.config.dir().join("postern.yaml").display().to_string()
    }

    /// The process that answers at the admin socket.
    fn asked(&self) -> u64 {
        let status = succeeded(postern(&["status", "--json", "-c", &self.path()]));
        serde_json::from_str::<serde_json::Value>(&status).unwrap()["status"]["pid"].as_u64().unwrap()
    }

    fn handed_over(&self) {
        let record = |record: &serde_json::Value| record["verb"] == "handover" && record["result"] == "done";
        self.world.postern().wait_for_record(record);
    }
}

#[test]
fn logins_go_on_while_three_successors_take_over() {
    let house = House::new();
    let pgbench = |options: &[&str]| {
        let conninfo = house.world.conninfo().replace("dbname=postgres", "dbname=alice");
        house.world.clients.run("pgbench", [options, &[conninfo.as_str()]].concat())
    };
    succeeded(pgbench(&["-i", "-q", "-s", "1"]));
    let report = thread::scope(|scope| {
        let load = scope.spawn(|| pgbench(&["-n", "-S", "-C", "-c", "4", "-j", "2", "-T", "8"]));
        house.world.postern().wait_for_record(|record| record["startup"]["application_name"] == "pgbench");
        let mut successors: Vec<Daemon> = Vec::new();
        for _ in 0..3 {
            let successor = Daemon::taking_over(&house.config);
            // It has logged somebody in: the load has found it.
            successor.wait_for_record(|record| record["event"] == "session.end");
            let status = successors.last_mut().map(Daemon::ended);
            assert!(status.is_none_or(|status| status.success()));
            successors.push(successor);
        }
        load.join().unwrap()
    });
    let said = succeeded(report);
    assert!(said.contains("number of failed transactions: 0 (0.000%)"), "{said}");
    eprintln!("{}", said.lines().filter(|line| line.starts_with("number of")).collect::<Vec<_>>().join("; "));
}

#[test]
fn the_open_transaction_and_the_query_in_flight_finish_with_the_predecessor() {
    let mut house = House::new();
    house.world.postgres.sql("create table work (done int); grant insert on work to alice");
    let (mut open, mut busy, mut idle) = (house.world.log_in(), house.world.log_in(), house.world.log_in());
    open.rows("begin");
    idle.rows("select 1");
    busy.query("select pg_sleep(2), 'whole'");
    house.world.postgres.wait_until("select count(*) = 1 from pg_stat_activity where usename = 'alice' and wait_event = 'PgSleep'");
    let successor = Daemon::taking_over(&house.config);
    house.handed_over();
    assert_eq!(house.asked(), u64::from(successor.pid()), "operators ask the successor");
    assert_eq!(idle.read_message().unwrap().fields().to_string(), "FATAL 57P01 terminating connection due to administrator command");

    let mut newcomer = house.world.log_in();
    assert_eq!(newcomer.rows("select 'served'").len(), 1);
    successor.wait_for_record(|record| record["event"] == "session.start");
    assert!(busy.until_ready().unwrap().iter().any(|message| message.is('D')), "its row has arrived");
    open.rows("insert into work values (1)");
    open.query("commit");
    assert!(open.until_ready().unwrap().last().unwrap().is('Z'));
    assert!(house.world.postern_mut().ended().success(), "the predecessor ends by itself");
    assert_eq!(house.world.postgres.sql("select count(*) from work"), "1");
    assert_eq!(newcomer.rows("select 'still here'").len(), 1);
    assert!(house.config.dir().join("admin.sock").exists(), "the socket is the successor's");
}

#[test]
fn sessions_that_stay_lose_no_query_of_a_transaction_and_no_commit() {
    const CLIENTS: &str = "8";
    let house = House::new();
    house.world.postgres.sql("create table work (done int); grant insert on work to alice");
    let script = house.world.dir().join("work.sql");
    fs::write(&script, "begin;\nselect pg_sleep(0.02);\ninsert into work values (1);\nselect 1;\ncommit;\n").unwrap();
    let options = ["-n", "-c", CLIENTS, "-j", "2", "-T", "30", "-f", script.to_str().unwrap()];
    let conninfo = house.world.conninfo();
    let (report, _successor) = thread::scope(|scope| {
        let load = scope.spawn(|| house.world.clients.run("pgbench", [&options[..], &[conninfo.as_str()]].concat()));
        house.world.postgres.wait_until("select count(*) > 50 from work");
        let successor = Daemon::taking_over(&house.config);
        (load.join().unwrap(), successor)
    });
    let (said, complaints) = (String::from_utf8_lossy(&report.stdout), String::from_utf8_lossy(&report.stderr));
    let aborted: Vec<_> = complaints.lines().filter(|line| line.contains("aborted in command")).collect();
    // Each hears of it between two transactions, when its `begin` is not carried out any more.
    assert_eq!(aborted.len().to_string(), CLIENTS, "{complaints}");
    assert!(aborted.iter().all(|line| line.contains("aborted in command 0 ")), "{complaints}");
    let processed = said.lines().find_map(|line| line.strip_prefix("number of transactions actually processed: "));
    assert_eq!(processed, Some(house.world.postgres.sql("select count(*) from work").as_str()), "{said}");
    eprintln!("{} transactions, all of them whole", processed.unwrap());
}

#[test]
fn a_second_daemon_by_mistake_fails_with_address_in_use() {
    let house = House::new();
    let refused = postern(&["serve", "-c", &house.path()]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("Address already in use") && said.contains("--handover"), "{said}");
    drop(house.world.log_in());
}

#[test]
fn a_successor_that_does_not_come_to_serve_changes_nothing() {
    let house = House::new();
    let key = house.config.dir().join("server.key");
    let good = fs::read(&key).unwrap();
    fs::write(&key, "").unwrap();
    let failed = postern(&["serve", "--handover", "-c", &house.path()]);
    assert_eq!(failed.status.code(), Some(78), "{}", String::from_utf8_lossy(&failed.stderr));
    fs::write(&key, good).unwrap();
    house.world.postern().wait_for_record(|record| record["verb"] == "handover" && record["result"] == "failed");
    let mut session = house.world.log_in();
    assert_eq!(session.rows("select 1").len(), 1);
    assert_eq!(house.asked(), u64::from(house.world.postern().pid()));
    let _successor = Daemon::taking_over(&house.config);
    house.handed_over();
}

#[test]
fn a_successor_that_fails_at_its_last_step_leaves_operators_the_predecessor() {
    let house = House::new();
    // The runtime, which comes after all that the configuration asks for, cannot be made.
    let failed = Command::new("timeout")
        .args(["20", "strace", "-f", "-o", "/dev/null", "-e", "trace=epoll_create1", "-e", "inject=epoll_create1:error=EMFILE"])
        .args([postern_path(), "serve", "--handover", "-c", &house.path()])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&failed.stderr);
    assert!(failed.status.code() == Some(1) && said.contains("the runtime cannot be started"), "{said}");
    assert_eq!(house.asked(), u64::from(house.world.postern().pid()));
    let sockets = fs::read_dir(house.config.dir()).unwrap().flatten().filter(|entry| entry.file_type().unwrap().is_socket());
    assert_eq!(sockets.map(|entry| entry.file_name()).collect::<Vec<_>>(), ["admin.sock"]);
    let successor = Daemon::taking_over(&house.config);
    house.handed_over();
    assert_eq!(house.asked(), u64::from(successor.pid()));
}

#[test]
fn a_predecessor_that_is_killed_before_the_successor_serves_leaves_nobody_outside() {
    let mut house = House::new();
    // Between what the configuration asks for and the runtime there is time enough to kill somebody.
    let mut successor = Command::new("timeout")
        .args(["--signal=INT", "60", "strace", "-f", "-o", "/dev/null", "-e", "trace=epoll_create1"])
        .args(["-e", "inject=epoll_create1:delay_enter=3s", postern_path(), "serve", "--handover", "-c", &house.path()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let sockets = || fs::read_dir(house.config.dir()).unwrap().flatten().filter(|entry| entry.file_type().unwrap().is_socket()).count();
    wait_until("the successor has its own socket beside the predecessor's", || sockets() == 2);
    house.world.postern_mut().end("KILL");
    let address = house.config.address();
    wait_until("the successor serves", || Wire::log_in(address, &house.world.alice, "alice").is_ok());
    let served_by = u32::try_from(house.asked()).unwrap();
    signal("INT", served_by);
    assert!(successor.wait().unwrap().success());
}

#[test]
fn a_successor_that_is_gone_when_it_would_be_told_to_serve_changes_nothing() {
    let mut house = House::new();
    let socket = house.config.dir().join("admin.sock");
    let mut dying = UnixStream::connect(&socket).unwrap();
    dying.write_all(b"{\"v\":1,\"verb\":\"handover\"}\n").unwrap();
    assert!(dying.read(&mut [0; 64]).unwrap() > 0);
    // It hears nothing any more.
    dying.shutdown(Shutdown::Read).unwrap();
    dying.write_all(b"{\"serving\":true}\n").unwrap();
    house.world.postern().wait_for_record(|record| record["verb"] == "handover" && record["result"] == "failed");
    drop(house.world.log_in());
    assert_eq!(house.asked(), u64::from(house.world.postern().pid()));
    assert!(house.world.postern_mut().end("INT").success());
    assert!(!socket.exists(), "its name is its own again");
}

#[test]
fn a_certificate_that_is_revoked_ends_its_session_with_the_predecessor_too() {
    let mut kept = None;
    let more = "admin: { socket: admin.sock }\nreload: { poll: 1s }";
    let world = World::configured(|config| kept.insert(config.with_crl().with(more)).clone());
    let mut house = House { world, config: kept.unwrap() };
    let bob = house.world.pki.named_with_serial("bob", 0x0b0b);
    let mut session = Wire::log_in(house.world.address(), &bob, "bob").unwrap();
    session.rows("begin");
    let _successor = Daemon::taking_over(&house.config);
    house.handed_over();
    fs::write(house.config.dir().join("client-ca.crl"), house.world.pki.crl_pem_with(&[0x0b0b])).unwrap();
    let words = session.read_message().unwrap().fields().to_string();
    assert_eq!(words, "FATAL 57P01 terminating connection because the client certificate has been revoked");
    assert!(house.world.postern_mut().ended().success());
}

#[test]
fn one_successor_at_a_time_is_given_the_listeners() {
    let house = House::new();
    let mut first = UnixStream::connect(house.config.dir().join("admin.sock")).unwrap();
    first.write_all(b"{\"v\":1,\"verb\":\"handover\"}\n").unwrap();
    let mut answer = [0; 64];
    assert!(first.read(&mut answer).unwrap() > 0 && answer.starts_with(b"{\"v\":1,\"handover\":["));
    let second = postern(&["serve", "--handover", "-c", &house.path()]);
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(second.status.code() == Some(1) && said.contains("another process is taking over at this moment"), "{said}");
    drop(first);
    wait_until("the first is given up", || {
        house.world.postern().records().iter().filter(|record| record["verb"] == "handover" && record["result"] == "failed").count() == 2
    });
    let _successor = Daemon::taking_over(&house.config);
    house.handed_over();
}

#[test]
fn a_successor_that_comes_while_the_daemon_drains_ends_its_delay() {
    for by_signal in [true, false] {
        let endpoint = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let more = format!("admin: {{ socket: admin.sock, listen: \"{endpoint}\" }}\nshutdown: {{ delay: 10m }}");
        let mut house = House::with(&more);
        let mut open = house.world.log_in();
        open.rows("begin");
        if by_signal {
            signal("TERM", house.world.postern().pid());
        } else {
            succeeded(postern(&["drain", "-c", &house.path()]));
        }
        wait_until("it drains", || house.world.postern().log().contains("draining"));
        let successor = Daemon::taking_over(&house.config);
        wait_until("it is relieved", || house.world.postern().log().contains("relieved by a successor"));
        wait_until("the successor is ready", || get(endpoint, "/readyz").status == 200);
        assert!((0..20).all(|_| get(endpoint, "/readyz").status == 200), "no probe comes to the predecessor");
        assert_eq!(open.rows("select 'still here'").len(), 1);
        open.query("commit");
        assert!(open.until_ready().unwrap().last().unwrap().is('Z'));
        wait_until("the predecessor ends", || house.world.postern().log().contains("no longer listening"));
        assert!(house.world.postern_mut().ended().success());
        drop(house.world.log_in());
        successor.wait_for_record(|record| record["event"] == "session.end");
    }
}

#[test]
fn each_of_the_two_says_who_the_other_is() {
    let house = House::new();
    let successor = Daemon::taking_over(&house.config);
    house.handed_over();
    let tells = |daemon: &Daemon, what: &str, other: &Daemon| {
        let pid = format!("\"pid\":{}", other.pid());
        wait_until(what, || daemon.log().lines().any(|line| line.contains(what) && line.contains(&pid)));
    };
    tells(&successor, "took over from the daemon that ran", house.world.postern());
    tells(house.world.postern(), "relieved by a successor", &successor);
}

#[test]
fn with_nobody_to_take_over_from_it_starts_as_ever() {
    let mut house = House::new();
    assert!(house.world.postern_mut().end("TERM").success());
    let successor = Daemon::taking_over(&house.config);
    drop(house.world.log_in());
    successor.wait_for_record(|record| record["event"] == "session.end");
}

#[test]
fn a_cancel_that_comes_to_the_successor_reaches_the_predecessors_session() {
    let house = House::new();
    let login = |credentials: &Credentials| Wire::connect_tls(house.world.address(), &TlsOptions::with(Some(credentials.clone()))).unwrap();
    let mut idle = house.world.log_in();
    idle.rows("select 1");
    let mut wire = login(&house.world.alice);
    wire.send(&startup(&[("user", "alice"), ("database", "postgres")]));
    let key = wire.until_ready().unwrap().into_iter().find(|message| message.is('K')).unwrap().body;
    let pid = u32::from_be_bytes(key[..4].try_into().unwrap());
    wire.query("select pg_sleep(600)");
    house.world.postgres.wait_until("select count(*) = 1 from pg_stat_activity where usename = 'alice' and wait_event = 'PgSleep'");
    let successor = Daemon::taking_over(&house.config);
    house.handed_over();
    let told = |result: &str, number: usize| {
        wait_until(result, || {
            successor.records().iter().filter(|record| record["event"] == "cancel" && record["result"] == result).count() >= number
        });
    };

    // Only once it listens no more are its sessions asked to leave.
    assert!(idle.read_message().unwrap().fields().to_string().contains("57P01"));

    wait_until("the successor is asked", || {
        let mut wrong = Wire::connect(house.world.address());
        wrong.send_clear(&cancel_request(pid, &[0; 4]));
        wrong.read_to_end();
        successor.records().iter().any(|record| record["event"] == "cancel" && record["result"] == "unknown_key")
    });
    let mut bobs = login(&house.world.pki.named("bob"));
    bobs.send(&cancel_request(pid, &key[4..]));
    told("identity_mismatch", 1);
    let mut own = login(&house.world.alice);
    own.send(&cancel_request(pid, &key[4..]));
    assert!(wire.until_ready().unwrap_err().to_string().contains("57014"), "the statement is cancelled");
    told("forwarded", 1);
    assert_eq!(own.read_to_end(), (vec![], End::Closed));
}
