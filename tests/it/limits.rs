//! Limits: who is refused when there is no more room, who is ended, and who gets in whatever others do.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::harness::wire::{TlsOptions, Wire, ssl_request};
use crate::harness::{World, signal, wait_until};

fn refused(world: &World, user: &str) -> String {
    match Wire::log_in(world.address(), &world.pki.named(user), user) {
        Ok(_) => "logged in".into(),
        Err(refusal) => refusal.to_string(),
    }
}

fn with_role_bob(configure: &str) -> World {
    let world = World::configured(|config| config.with(configure));
    world.postgres.sql("do $$ begin create role bob login; exception when duplicate_object then null; end $$");
    world
}

#[test]
fn the_last_session_that_fits_is_let_in_and_the_next_reads_why_not() {
    let world = with_role_bob("limits: { max_connections: 2 }");
    let first = world.log_in();
    let _second = world.log_in();
    assert_eq!(refused(&world, "bob"), "FATAL 53300 sorry, too many clients already");
    let record = world.postern().wait_for_record(|record| record["event"] == "connection.refused");
    assert_eq!((record["reason"].as_str(), record["sqlstate"].as_str()), (Some("limit"), Some("53300")));
    drop(first);
    wait_until("the slot is free again", || refused(&world, "bob") == "logged in");
}

#[test]
fn a_role_at_its_limit_leaves_the_others_alone() {
    let world = with_role_bob("limits: { max_connections_per_role: 1 }");
    let _alice = world.log_in();
    assert_eq!(refused(&world, "alice"), "FATAL 53300 too many connections for role \"alice\"");
    assert_eq!(refused(&world, "bob"), "logged in");
}

#[test]
fn a_rule_at_its_limit_leaves_the_reserved_rule_its_slots() {
    let world = with_role_bob(
        "limits: { max_connections: 4 }\n\
         hba:\n\
         - { database: all, user: bob, address: all, method: cert, reserved: true }\n\
         - { database: all, user: all, address: all, method: cert }",
    );
    let _ordinary = world.log_in();
    assert_eq!(refused(&world, "alice"), "FATAL 53300 sorry, too many clients already");
    assert_eq!(refused(&world, "bob"), "logged in");
}

#[test]
fn an_idle_session_is_ended_and_a_transaction_is_not_idle() {
    let world = World::configured(|config| config.with("sessions: { idle_session_timeout: 1s }"));
    let mut in_transaction = world.log_in();
    in_transaction.rows("begin");
    let mut idle = world.log_in();
    idle.rows("select 1");
    let farewell = idle.read_message().unwrap().fields();
    assert_eq!((farewell.sqlstate.as_str(), farewell.message.as_str()), ("57P05", "terminating connection due to idle-session timeout"));
    assert!(idle.read_message().unwrap_err().is_orderly());
    world.postern().wait_for_record(|record| record["event"] == "session.end" && record["reason"] == "idle");
    assert_eq!(in_transaction.rows("select 'still here'")[0][0].as_deref(), Some("still here"));
}

#[test]
fn a_session_does_not_outlive_its_greatest_age() {
    let world = World::configured(|config| config.with("sessions: { max_session_lifetime: 1s }"));
    let mut session = world.log_in();
    session.query("select pg_sleep(60)");
    let farewell = session.read_message().unwrap().fields();
    assert_eq!(
        (farewell.sqlstate.as_str(), farewell.message.as_str()),
        ("57P01", "terminating connection due to maximum session lifetime")
    );
    world.postgres.wait_until(
        "select count(*) = 0 from pg_stat_activity where query like '%pg_sleep(60)%' and state = 'active' and pid <> pg_backend_pid()",
    );
}

#[test]
fn silent_connections_never_keep_a_certificate_holder_out() {
    let world = World::configured(|config| config.with("limits: { max_handshakes: 50, authentication_timeout: 60s }"));
    let silent: Vec<TcpStream> = (0..100).map(|_| TcpStream::connect(world.address()).unwrap()).collect();
    let half_way: Vec<Wire> = (0..100)
        .map(|_| {
            let mut wire = Wire::connect(world.address());
            wire.send_clear(&ssl_request());
            wire
        })
        .collect();
    let start = Instant::now();
    let mut session = world.log_in();
    assert_eq!(session.rows("select 1")[0][0].as_deref(), Some("1"));
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    // Those that spoke and were shed are on record, by the reason that the contract has for it.
    let shed = world.postern().wait_for_record(|record| record["event"] == "connection.refused");
    assert_eq!(shed["reason"], "limit");
    drop((silent, half_way));
}

#[test]
fn an_address_that_fails_too_often_is_slowed_and_not_shut_out() {
    let world = World::configured(|config| config.with("limits: { max_failures_per_address: 1/s }"));
    for _ in 0..20 {
        let mut wire = Wire::connect_tls(world.address(), &TlsOptions::with(None)).unwrap();
        wire.send(&crate::harness::wire::startup(&[("user", "alice")]));
        assert_eq!(wire.until_ready().unwrap_err().to_string(), "FATAL 28000 connection requires a valid client certificate");
    }
    assert_eq!(refused(&world, "alice"), "logged in");
}

#[test]
fn a_connection_that_waits_at_the_end_leaves_its_record() {
    let mut world = World::new();
    let mut wire = Wire::connect(world.address());
    wire.send_clear(&ssl_request());
    assert_eq!(wire.read_exactly(1).unwrap(), b"S");
    signal("INT", world.postern().pid());
    world.postern().wait_for_record(|record| record["event"] == "connection.refused" && record["reason"] == "draining");
    assert!(world.postern_mut().end("INT").success());
}
