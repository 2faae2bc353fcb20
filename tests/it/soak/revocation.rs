//! One of many busy sessions loses its certificate: it ends, its transaction with it, and nobody else notices.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::Size;
use super::stand::Ending;
use crate::harness::wire::{End, Wire};
use crate::reload::Site;

/// A serial number of bob's.
const BOB: u64 = 0x0b0b;

/// Queries without an end, each answered whole; how many.
fn work(mut wire: Wire, over: &AtomicBool) -> usize {
    let mut answers = 0;
    while !over.load(Ordering::SeqCst) {
        assert_eq!(wire.rows("select count(*) from generate_series(1, 1000)"), [[Some("1000".to_owned())]]);
        answers += 1;
        thread::sleep(Duration::from_millis(50));
    }
    answers
}

fn revoke(size: Size) {
    let others = size.of(30, 199);
    let mut site = Site::with(|config| config.with_crl().with("reload: { poll: 0 }\nlog: { level: warn }"));
    site.world.postgres.restart_with("max_connections = 250");
    site.world.postgres.sql("create table public.t (i int); grant all on public.t to alice, bob;");
    let bob = site.world.pki.named_with_serial("bob", BOB);
    let mut bobs = Wire::log_in(site.world.address(), &bob, "bob").unwrap();
    let alices: Vec<Wire> = (0..others).map(|_| site.world.log_in()).collect();
    bobs.rows("begin");
    bobs.rows("insert into t values (1)");
    bobs.query("select pg_sleep(600)");
    let over = AtomicBool::new(false);
    let (ended, refused, answers) = thread::scope(|scope| {
        let over = &over;
        let ending = Ending(over);
        let working: Vec<_> = alices.into_iter().map(|wire| scope.spawn(move || work(wire, over))).collect();
        thread::sleep(Duration::from_millis(500));
        site.write("client-ca.crl", site.world.pki.crl_pem_with(&[BOB]));
        let begun = Instant::now();
        let said = site.reload();
        assert!(said.contains("sessions told to end: 1"), "{said}");
        let reloaded = Instant::now();
        let refusal = Wire::log_in(site.world.address(), &bob, "bob").err().unwrap().to_string();
        assert!(refusal.contains("CertificateRevoked"), "{refusal}");
        let refused = reloaded.elapsed();
        let words = bobs.read_message().unwrap().fields().to_string();
        assert_eq!(words, "FATAL 57P01 terminating connection because the client certificate has been revoked");
        assert_eq!(bobs.read_to_end(), (vec![], End::Closed));
        let ended = begun.elapsed();
        thread::sleep(Duration::from_millis(500));
        drop(ending);
        (ended, refused, working.into_iter().map(|work| work.join().unwrap()).sum::<usize>())
    });
    site.world.postgres.wait_until("select count(*) = 0 from pg_stat_activity where usename = 'bob'");
    assert_eq!(site.world.postgres.sql("select count(*) from t").trim(), "0", "its transaction is rolled back");
    let ends = site.world.postern().records().into_iter().filter(|record| record["event"] == "session.end" && record["reason"] != "client");
    assert_eq!(ends.map(|record| record["reason"].clone()).collect::<Vec<_>>(), ["revoked"]);
    eprintln!("soak: one of {} sessions revoked; the others had {answers} answers and no error", others + 1);
    size.judge("its end, reload included", ended.as_secs_f64() * 1000.0, 5000.0, "ms");
    size.judge("from the reload to a new login that was refused", refused.as_secs_f64() * 1000.0, 1000.0, "ms");
}

#[test]
fn a_revoked_session_ends_among_busy_ones_that_go_on() {
    revoke(Size::Small);
}

#[test]
#[ignore = "seconds, and 250 connections: make soak"]
fn soak_revocation_of_one_of_200() {
    revoke(Size::Full);
}
