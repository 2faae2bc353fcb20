//! The orderly end: nobody's work is lost, nobody new comes in, and the daemon is gone in its time.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::harness::clients::succeeded;
use crate::harness::daemon::postern;
use crate::harness::wire::{End, Wire, ssl_request};
use crate::harness::{World, signal, wait_until};

const ENDED: &str = "FATAL 57P01 terminating connection due to administrator command";

#[track_caller]
fn is_ended(wire: &mut Wire) {
    assert_eq!(wire.read_message().unwrap().fields().to_string(), ENDED);
    assert_eq!(wire.read_to_end(), (vec![], End::Closed));
}

fn drain(world: &World) {
    signal("TERM", world.postern().pid());
    wait_until("the daemon drains", || world.postern().log().contains("draining"));
}

fn no_longer_listens(world: &World) {
    wait_until("the daemon no longer listens", || TcpStream::connect(world.address()).is_err());
}

/// One who has asked for something, as every client that is not just coming.
fn settled(world: &World) -> Wire {
    let mut wire = world.log_in();
    wire.rows("select 1");
    wire
}

/// A psql that is told what to do line by line.
struct Psql(Child);

impl Psql {
    fn start(world: &World) -> Self {
        let mut psql = world.clients.command("psql");
        let psql = psql.args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-d", &world.conninfo()]);
        Self(psql.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    }

    /// Runs SQL of one row, and waits for it.
    fn row(&mut self, sql: &str) -> String {
        writeln!(self.0.stdin.as_mut().unwrap(), "{sql}").unwrap();
        let mut line = String::new();
        BufReader::with_capacity(1, self.0.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// What it says to this last statement and before it has ended.
    fn last(mut self, sql: &str) -> (bool, String) {
        writeln!(self.0.stdin.as_mut().unwrap(), "{sql}").unwrap();
        let output = self.0.wait_with_output().unwrap();
        (output.status.success(), String::from_utf8(output.stderr).unwrap())
    }
}

#[test]
fn an_operator_drains_it_and_waits_for_its_end_while_psql_finishes_a_transaction() {
    let mut kept = None;
    let mut world = World::configured(|config| kept.insert(config.with("admin: { socket: admin.sock }")).clone());
    let config = kept.unwrap();
    let path = config.dir().join("postern.yaml").display().to_string();
    world.postgres.sql("create table work (done int); grant insert, select on work to alice");
    let (mut idle, mut busy) = (Psql::start(&world), Psql::start(&world));
    assert_eq!(idle.row("select 'idle';"), "idle");
    assert_eq!(busy.row("begin; insert into work values (1) returning done;"), "1");

    assert_eq!(succeeded(postern(&["drain", "-c", &path])), "draining: 2 sessions leave, each when it has finished\n");
    no_longer_listens(&world);
    let (ended, said) = idle.last("select 1;");
    assert!(!ended && said.contains("FATAL:  terminating connection due to administrator command"), "{said}");
    let waiting = std::thread::spawn(move || postern(&["drain", "--wait", "--json", "-c", &path]));
    wait_until("the second request is on record", || {
        world.postern().records().iter().filter(|record| record["verb"] == "drain").count() == 2
    });
    assert_eq!(busy.row("insert into work values (2) returning done;"), "2");
    let (_, said) = busy.last("commit;");
    // The end may be read together with the answer, as a notice; a commit without one would be an error that tells of a lost connection.
    assert!(["", "FATAL:  terminating connection due to administrator command\n"].contains(&&*said), "the commit is answered: {said}");
    let waited = succeeded(waiting.join().unwrap());
    assert_eq!(waited, "{\"v\":1,\"drain\":{\"sessions\":1}}\n");
    assert_eq!(world.postern_mut().end("HUP").code(), Some(0), "it has ended by itself");
    assert_eq!(world.postgres.sql("select sum(done) from work"), "3");
    let asked: Vec<_> = world.postern().records().into_iter().filter(|record| record["event"] == "admin").collect();
    assert_eq!(
        asked.iter().map(|record| (record["verb"].as_str(), record["targets"].as_u64())).collect::<Vec<_>>(),
        [(Some("drain"), Some(2)), (Some("drain"), Some(1))]
    );
}

#[test]
fn the_first_term_after_an_operators_drain_ends_nobodys_work() {
    let mut kept = None;
    let mut world = World::configured(|config| kept.insert(config.with("admin: { socket: admin.sock }")).clone());
    let config = kept.unwrap();
    let path = config.dir().join("postern.yaml").display().to_string();
    let mut busy = settled(&world);
    busy.rows("begin");
    succeeded(postern(&["drain", "-c", &path]));
    drain(&world);
    assert_eq!(busy.rows("select 'still here'").len(), 1);
    assert_eq!(world.postern_mut().end("TERM").code(), Some(0));
    is_ended(&mut busy);
}

#[test]
fn an_idle_session_leaves_at_once_and_a_transaction_is_finished() {
    let mut world = World::new();
    let mut idle = settled(&world);
    let mut busy = settled(&world);
    world.postgres.sql("create table work (done int); grant insert on work to alice");
    busy.rows("begin");
    drain(&world);

    is_ended(&mut idle);
    no_longer_listens(&world);
    busy.rows("insert into work values (1)");
    busy.query("commit");
    let answers = busy.until_ready().unwrap();
    assert!(answers.last().unwrap().is('Z'), "the commit is answered first");
    is_ended(&mut busy);

    assert_eq!(world.postern_mut().end("HUP").code(), Some(0), "it ends by itself");
    assert_eq!(world.postgres.sql("select count(*) from work"), "1");
}

#[test]
fn a_statement_that_runs_is_answered_before_its_session_leaves() {
    let mut world = World::new();
    let mut busy = settled(&world);
    busy.query("select pg_sleep(1), 'whole'");
    world.postgres.wait_until(
        "select count(*) = 1 from pg_stat_activity where query like '%whole%' and state = 'active' and pid <> pg_backend_pid()",
    );
    drain(&world);
    let answers = busy.until_ready().unwrap();
    assert!(answers.iter().any(|message| message.is('D')), "its row has arrived");
    is_ended(&mut busy);
    assert_eq!(world.postern_mut().end("HUP").code(), Some(0));
    let end = world.postern().records().into_iter().find(|record| record["event"] == "session.end").unwrap();
    assert_eq!((end["reason"].as_str(), end["errors"].as_u64()), (Some("drain"), Some(0)));
}

#[test]
fn who_has_just_logged_in_gets_the_answer_to_the_first_statement() {
    let mut world = World::new();
    let mut fresh = world.log_in();
    drain(&world);
    no_longer_listens(&world);
    assert_eq!(fresh.rows("select 'served'"), [[Some("served".to_owned())]]);
    is_ended(&mut fresh);
    assert_eq!(world.postern_mut().end("HUP").code(), Some(0));
}

#[test]
fn who_logs_in_and_asks_for_nothing_does_not_hold_up_the_end() {
    let mut world = World::new();
    let mut silent = world.log_in();
    drain(&world);
    is_ended(&mut silent);
    assert_eq!(world.postern_mut().end("HUP").code(), Some(0));
}

#[test]
fn a_login_that_has_begun_is_completed() {
    let mut world = World::new();
    let mut wire = Wire::connect(world.address());
    wire.send_clear(&ssl_request());
    assert_eq!(wire.read_exactly(1).unwrap(), b"S");
    drain(&world);
    no_longer_listens(&world);
    wire.start_tls(&crate::harness::wire::TlsOptions::with(Some(world.alice.clone()))).unwrap();
    wire.send(&crate::harness::wire::startup(&[("user", "alice"), ("database", "postgres")]));
    wire.until_ready().unwrap();
    assert_eq!(wire.rows("select 1").len(), 1);
    is_ended(&mut wire);
    assert_eq!(world.postern_mut().end("HUP").code(), Some(0));
}

#[test]
fn a_copy_that_runs_is_completed() {
    let mut world = World::new();
    let mut loader = settled(&world);
    world.postgres.sql("create table rows (n int); grant insert on rows to alice");
    loader.query("copy rows from stdin");
    assert!(loader.read_message().unwrap().is('G'));
    loader.send_message('d', b"1\n");
    drain(&world);
    no_longer_listens(&world);
    loader.send_message('d', b"2\n");
    loader.send_message('c', b"");
    loader.until_ready().unwrap();
    is_ended(&mut loader);
    assert_eq!(world.postern_mut().end("HUP").code(), Some(0));
    assert_eq!(world.postgres.sql("select sum(n) from rows"), "3");
}

#[test]
fn a_walsender_leaves_at_a_message_boundary() {
    let mut world = World::new();
    let conninfo = world.conninfo_of("walreceiver", &world.pki.named("walreceiver"));
    let wal = world.dir().join("wal");
    std::fs::create_dir(&wal).unwrap();
    let mut receiver = world.clients.command("pg_receivewal");
    let mut receiver = receiver.args(["-n", "-D", wal.to_str().unwrap(), "-d", &conninfo]).stderr(Stdio::piped()).spawn().unwrap();
    world.postgres.wait_until("select count(*) = 1 from pg_stat_replication where state = 'streaming'");
    assert_eq!(world.postern_mut().end("TERM").code(), Some(0));
    assert!(!receiver.wait().unwrap().success());
    let end = world.postern().records().into_iter().find(|record| record["event"] == "session.end").unwrap();
    assert_eq!(end["reason"], "drain");
}

#[test]
fn what_is_left_when_the_time_is_over_is_ended() {
    let mut world = World::configured(|config| config.with("shutdown: { drain_timeout: 1s }"));
    let mut stubborn = settled(&world);
    stubborn.rows("begin");
    assert_eq!(world.postern_mut().end("TERM").code(), Some(0));
    is_ended(&mut stubborn);
}

#[test]
fn told_again_the_daemon_ends_all_at_once() {
    for again in ["TERM", "INT"] {
        let mut world = World::new();
        let mut busy = settled(&world);
        busy.rows("begin");
        drain(&world);
        assert_eq!(world.postern_mut().end(again).code(), Some(0));
        is_ended(&mut busy);
        world.postgres.wait_until("select count(*) = 0 from pg_stat_activity where usename = 'alice'");
    }
}

#[test]
fn connections_are_accepted_for_the_delay() {
    let mut world = World::configured(|config| config.with("shutdown: { delay: 2s }"));
    let mut early = settled(&world);
    drain(&world);
    let began = Instant::now();
    assert_eq!(settled(&world).rows("select 'late'").len(), 1);
    assert_eq!(early.rows("select 'still here'").len(), 1, "nobody is sent away while newcomers are let in");
    no_longer_listens(&world);
    assert!(began.elapsed() > Duration::from_secs(1));
    is_ended(&mut early);
    assert_eq!(world.postern_mut().end("HUP").code(), Some(0));
}
