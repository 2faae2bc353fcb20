//! Ten thousand connections that stand half-way, and everybody who has a certificate comes and goes as ever.

use std::net::Ipv4Addr;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use super::Size;
use super::attackers::{Attacker, Shape};
use super::stand::{Stand, percentile, while_running};

/// From where they come.
#[derive(Clone, Copy, Debug)]
enum Sources {
    One,
    Many,
}

impl Sources {
    /// The loopback network has sixteen million addresses.
    fn address(self, number: usize) -> Ipv4Addr {
        match self {
            Self::One => Ipv4Addr::LOCALHOST,
            Self::Many => Ipv4Addr::new(127, 1 + (number / 40_000) as u8, (number / 200 % 200) as u8, 1 + (number % 200) as u8),
        }
    }
}

/// What the attackers saw.
#[derive(Default)]
struct Siege {
    struck: usize,
    longest: Duration,
}

fn hold_against(size: Size, sources: Sources) {
    // The check has no ten seconds for each: the same, with less of everything.
    let limits = match size {
        Size::Small => "limits: { authentication_timeout: 2s, max_handshakes: 100 }",
        Size::Full => "",
    };
    let stand = Stand::new(limits);
    let mut unloaded: Vec<Duration> = (0..size.of(20, 100)).map(|_| stand.visit().unwrap()).collect();
    let calm = percentile(&mut unloaded, 99);
    let (before, attackers) = (stand.memory(), size.of(300, 10_000));

    let mut logins = Vec::new();
    let mut peak = before;
    let siege = while_running(
        || besiege(&stand, attackers, sources),
        || {
            let begun = Instant::now();
            logins.push(stand.visit().unwrap_or_else(|refusal| panic!("alice was kept out: {refusal}")));
            peak = peak.max(stand.memory());
            thread::sleep(Duration::from_millis(100).saturating_sub(begun.elapsed()));
        },
    );
    assert!(siege.struck > attackers / 2, "most of the attackers never came: {}", siege.struck);
    // An allocator gives back what it has not needed for some seconds.
    thread::sleep(Duration::from_secs(size.of(0, 15) as u64));
    let after = stand.memory();
    let loaded = percentile(&mut logins, 99);
    eprintln!(
        "soak: siege from {sources:?}: {} attackers, {} logins of alice, p99 {calm:?} before and {loaded:?} meanwhile; \
         memory {before} KiB before, {peak} at most, {after} after",
        siege.struck,
        logins.len(),
    );
    let slower = loaded.saturating_sub(calm);
    size.judge("p99 of a login above the unloaded one", slower.as_secs_f64() * 1000.0, 200.0, "ms");
    // The rest is for this process, which looks at ten thousand sockets in turn.
    size.judge("longest stay of an attacker", siege.longest.as_secs_f64(), 10.2, "s");
    size.judge("memory that stays", after - before, 6.0 * 1024.0, "KiB");
    assert!(stand.log_in().is_ok());
}

/// All of them, as fast as four threads can, each watched until the door has closed.
fn besiege(stand: &Stand, count: usize, sources: Sources) -> Siege {
    const WORKERS: usize = 4;
    let siege = Mutex::new(Siege::default());
    thread::scope(|scope| {
        for worker in 0..WORKERS {
            let siege = &siege;
            scope.spawn(move || {
                let mut open: Vec<Attacker> = Vec::new();
                for number in (worker..count).step_by(WORKERS) {
                    let shape = Shape::ALL[number / WORKERS % Shape::ALL.len()];
                    open.extend(Attacker::strike(stand, shape, sources.address(number)));
                    if open.len() % 100 == 99 {
                        look(&mut open, siege);
                    }
                }
                let deadline = Instant::now() + Duration::from_secs(60);
                while !open.is_empty() {
                    assert!(Instant::now() < deadline, "{} attackers are still there", open.len());
                    look(&mut open, siege);
                    thread::sleep(Duration::from_millis(20));
                }
            });
        }
    });
    siege.into_inner().unwrap()
}

fn look(open: &mut Vec<Attacker>, siege: &Mutex<Siege>) {
    open.retain_mut(|attacker| {
        let persists = attacker.persists();
        if !persists {
            let mut siege = siege.lock().unwrap();
            siege.struck += 1;
            siege.longest = siege.longest.max(attacker.since.elapsed());
        }
        persists
    });
}

#[test]
fn half_open_connections_from_many_addresses_keep_nobody_out() {
    hold_against(Size::Small, Sources::Many);
}

#[test]
fn half_open_connections_from_one_address_keep_nobody_out() {
    hold_against(Size::Small, Sources::One);
}

#[test]
#[ignore = "a minute: make soak"]
fn soak_siege_from_many_addresses() {
    hold_against(Size::Full, Sources::Many);
}

#[test]
#[ignore = "a minute: make soak"]
fn soak_siege_from_one_address() {
    hold_against(Size::Full, Sources::One);
}
