//! A working life in short: sessions at work, logins, rotations, revocations, cuts, a database that restarts and daemons that take over from
//! one another, all at once.
//!
//! Nobody may see an error that nothing explains: only while the database restarts may a query or a login fail, at a handover only a session
//! that stays may be told to leave, and what was acknowledged is there afterwards.

use std::fs;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use super::Size;
use super::stand::{Ending, percentile, resident_kib};
use crate::harness::daemon::Daemon;
use crate::harness::pki::{Credentials, Pki, Profile};
use crate::harness::wait_until;
use crate::harness::wire::{End, Refusal, Wire};
use crate::reload::Site;

/// Sessions that stay for as long as they can.
const TELLERS: usize = 6;
/// Bob's first serial number that will be revoked.
const BOB: u64 = 0x0b0b_0000;
/// From one piece of bad news to the next.
const PACE: Duration = Duration::from_millis(500);

/// What all clients share.
struct Life {
    address: SocketAddr,
    over: AtomicBool,
    /// Read by whoever met an error; written while one of these goes on.
    calm: RwLock<()>,
    /// Counted before and after: an error is explained by what went on while the work was under way.
    restarts: AtomicUsize,
    handovers: AtomicUsize,
    /// How long each round trip took, since the last time somebody asked.
    round_trips: Mutex<Vec<Duration>>,
    logins: AtomicUsize,
}

impl Life {
    fn goes_on(&self) -> bool {
        !self.over.load(Ordering::SeqCst)
    }

    fn restarts(&self) -> usize {
        self.restarts.load(Ordering::SeqCst)
    }

    /// How much has happened that ends a session that stays.
    fn upheavals(&self) -> usize {
        self.restarts.load(Ordering::SeqCst) + self.handovers.load(Ordering::SeqCst)
    }

    /// Does a piece of work again until it succeeds: only what `excuses` counts may have made it fail.
    #[track_caller]
    fn insist<T>(&self, excuses: impl Fn(&Self) -> usize, mut work: impl FnMut() -> Result<T, Refusal>) -> T {
        loop {
            let before = excuses(self);
            match work() {
                Ok(done) => return done,
                Err(refusal) => {
                    drop(self.calm.read().unwrap());
                    assert!(excuses(self) != before, "nothing explains this: {refusal}");
                }
            }
        }
    }

    /// Lets something happen that `counter` counts.
    fn befall<T>(&self, counter: &AtomicUsize, event: impl FnOnce() -> T) -> T {
        let unrest = self.calm.write().unwrap();
        counter.fetch_add(1, Ordering::SeqCst);
        let outcome = event();
        counter.fetch_add(1, Ordering::SeqCst);
        drop(unrest);
        outcome
    }

    fn log_in(&self, who: &Credentials, user: &str) -> Result<Wire, Refusal> {
        let wire = Wire::log_in(self.address, who, user)?;
        self.logins.fetch_add(1, Ordering::Relaxed);
        Ok(wire)
    }

    /// A session that writes down one number after the other, each in a transaction of its own; the last that was acknowledged.
    fn tell(&self, who: &Credentials, teller: usize) -> u64 {
        let mut session: Option<(usize, Wire)> = None;
        let mut told = 0;
        while self.goes_on() {
            self.insist(Self::upheavals, || {
                let upheavals = self.upheavals();
                // One that was there before is no more.
                let held = session.take().filter(|(opened, _)| *opened == upheavals);
                let mut wire = held.map_or_else(|| self.open(who), |(_, wire)| Ok(wire))?;
                let begun = Instant::now();
                ask(&mut wire, "select 1")?;
                self.round_trips.lock().unwrap().push(begun.elapsed());
                ask(&mut wire, "begin")?;
                ask(&mut wire, &format!("insert into public.ledger values ({teller}, {})", told + 1))?;
                ask(&mut wire, "commit")?;
                session = Some((upheavals, wire));
                Ok(())
            });
            told += 1;
            thread::sleep(Duration::from_millis(5));
        }
        told
    }

    /// A session whose commits are in the log before they are acknowledged.
    fn open(&self, who: &Credentials) -> Result<Wire, Refusal> {
        let mut wire = self.log_in(who, "alice")?;
        ask(&mut wire, "set synchronous_commit = on")?;
        Ok(wire)
    }

    /// Sessions of one query, by each of these certificates in turn.
    fn visit(&self, good: &[Credentials]) {
        for who in good.iter().cycle() {
            if !self.goes_on() {
                return;
            }
            self.insist(Self::restarts, || {
                let mut wire = self.log_in(who, "alice")?;
                ask(&mut wire, "select sum(n) from generate_series(1, 100) n")?;
                wire.send_message('X', b"");
                wire.read_to_end();
                Ok(())
            });
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// A client that is cut off in the middle of a result.
    fn cut(&self, who: &Credentials) {
        self.insist(Self::restarts, || {
            let mut wire = self.log_in(who, "alice")?;
            wire.query("select generate_series(1, 100000000)");
            wire.skip(100_000)?;
            wire.reset();
            Ok(())
        });
    }

    /// The 99th percentile of the round trips since the last time.
    fn slowest(&self) -> Duration {
        percentile(&mut std::mem::take(&mut *self.round_trips.lock().unwrap()), 99)
    }
}

fn ask(wire: &mut Wire, sql: &str) -> Result<(), Refusal> {
    wire.query(sql);
    wire.until_ready().map(drop)
}

/// Puts something new in place, and has it read.
fn rotate(site: &Site, other: &Pki, revoked: &[u64], turn: usize) {
    match turn % 3 {
        0 => drop(site.replace_server()),
        1 => {
            let further = if turn.is_multiple_of(2) { other.main_ca_pem() } else { String::new() };
            site.write("client-ca.crt", site.world.pki.client_ca_pem() + &further);
        }
        _ => site.write("client-ca.crl", site.world.pki.crl_pem_with(&[revoked, &[turn as u64 + 1_000_000]].concat())),
    }
    site.hup();
}

/// Bob's certificate is revoked while he works, and no other.
fn revoke(life: &Life, site: &Site, revoked: &mut Vec<u64>) {
    let serial = BOB + revoked.len() as u64;
    let bob = site.world.pki.named_with_serial("bob", serial);
    let mut wire = life.insist(Life::restarts, || life.log_in(&bob, "bob"));
    wire.query("select pg_sleep(600)");
    revoked.push(serial);
    site.write("client-ca.crl", site.world.pki.crl_pem_with(revoked));
    site.reload();
    let words = wire.read_message().unwrap().fields().to_string();
    assert_eq!(words, "FATAL 57P01 terminating connection because the client certificate has been revoked");
    assert_eq!(wire.read_to_end(), (vec![], End::Closed));
}

fn restart(life: &Life, site: &mut Site) {
    life.befall(&life.restarts, || {
        site.world.postgres.stop();
        site.world.postgres.start();
    });
}

/// A new process takes over, and the old one ends by itself when its last session has left.
fn hand_over(life: &Life, site: &mut Site) {
    life.befall(&life.handovers, || {
        let successor = Daemon::taking_over(&site.config);
        let mut predecessor = std::mem::replace(site.world.postern_mut(), successor);
        assert!(predecessor.ended().success());
    });
}

/// How long a full life is: `SOAK_MINUTES`, or an hour.
fn minutes() -> usize {
    std::env::var("SOAK_MINUTES").ok().map_or(60, |minutes| minutes.parse().expect("SOAK_MINUTES is a number"))
}

fn live(size: Size) {
    let turns = size.of(20, minutes() * 120);
    let mut site =
        Site::with(|config| config.with_crl().with("reload: { poll: 0 }\nlog: { level: error }\nlimits: { max_failures_per_address: 0 }"));
    site.world.postgres.sql("create table public.ledger (teller int, n bigint); grant all on public.ledger to alice; checkpoint;");
    let other = Pki::new();
    let good = [Profile::Good, Profile::ByRsaRoot, Profile::ViaIntermediate].map(|profile| site.world.pki.client(profile));
    let life = Life {
        address: site.world.address(),
        over: AtomicBool::new(false),
        calm: RwLock::default(),
        restarts: AtomicUsize::new(0),
        handovers: AtomicUsize::new(0),
        round_trips: Mutex::default(),
        logins: AtomicUsize::new(0),
    };
    let descriptors = |site: &Site| fs::read_dir(format!("/proc/{}/fd", site.world.postern().pid())).unwrap().count();
    let idle_descriptors = descriptors(&site);
    let (mut revoked, mut memory, mut slowest) = (Vec::new(), Vec::new(), Vec::new());
    let told = thread::scope(|scope| {
        let (life, good) = (&life, &good);
        let ending = Ending(&life.over);
        let tellers: Vec<_> = (0..TELLERS).map(|teller| scope.spawn(move || life.tell(&good[teller % good.len()], teller))).collect();
        scope.spawn(|| life.visit(good));
        let begun = Instant::now();
        for turn in 1..=turns {
            match turn {
                turn if turn % size.of(10, 600) == 0 => restart(life, &mut site),
                // The last half is one process's, whose memory is looked at.
                turn if turn < turns / 2 && turn % size.of(8, 1200) == size.of(0, 300) => hand_over(life, &mut site),
                turn if turn % size.of(5, 40) == 0 => revoke(life, &site, &mut revoked),
                turn if turn % 4 == 0 => life.cut(&good[turn % good.len()]),
                turn => rotate(&site, &other, &revoked, turn),
            }
            memory.push(resident_kib(site.world.postern().pid()));
            if turn % (turns / 10) == 0 {
                slowest.push(life.slowest());
            }
            thread::sleep((PACE * turn as u32).saturating_sub(begun.elapsed()));
        }
        drop(ending);
        tellers.into_iter().map(|teller| teller.join().unwrap()).collect::<Vec<_>>()
    });
    for (teller, told) in told.iter().enumerate() {
        let (most, distinct) = (format!("select max(n) from ledger where teller = {teller}"), told.to_string());
        assert_eq!(site.world.postgres.sql(&most).trim(), distinct, "the last that teller {teller} was told is there");
        let gaps = format!("select count(distinct n) from ledger where teller = {teller}");
        assert_eq!(site.world.postgres.sql(&gaps).trim(), distinct, "and all before it");
    }
    eprintln!(
        "soak: life of {turns} turns: {} transactions, {} logins, {} reloads by the last process, {} revocations, {} restarts, {} handovers, no error that nothing explains; \
         descriptors {idle_descriptors} before and {} at the end; p99 of a round trip in each tenth: {slowest:?}",
        told.iter().sum::<u64>(),
        life.logins.load(Ordering::Relaxed),
        site.reloads().len(),
        revoked.len(),
        life.restarts() / 2,
        life.handovers.load(Ordering::SeqCst) / 2,
        descriptors(&site),
    );
    wait_until("no session is left", || descriptors(&site) <= idle_descriptors + 1);
    site.world.postgres.wait_until("select count(*) = 0 from pg_stat_activity where usename in ('alice', 'bob')");
    if size == Size::Full {
        let tenth = turns / 10;
        let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
        let hours = (PACE * (3 * tenth) as u32).as_secs_f64() / 3600.0;
        let slope = (mean(&memory[9 * tenth..]) - mean(&memory[6 * tenth..7 * tenth])) / hours;
        size.judge("memory kept by an hour", slope, 1024.0, "KiB");
        let slower = slowest[9].as_secs_f64() / slowest[0].as_secs_f64();
        size.judge("p99 of the last tenth, as a part of the first's", slower * 100.0, 110.0, "%");
    }
}

#[test]
fn work_goes_on_through_rotations_revocations_cuts_restarts_and_handovers() {
    live(Size::Small);
}

#[test]
#[ignore = "an hour: make soak SOAK=life"]
fn soak_life() {
    live(Size::Full);
}
