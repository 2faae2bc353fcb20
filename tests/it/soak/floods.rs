//! Handshakes that fail, as many as come.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use super::Size;
use super::stand::{Stand, alices_startup, percentile, while_running};
use crate::harness::pki::{Credentials, Profile};
use crate::harness::wire::{TlsOptions, Wire, ssl_request};

const PARALLEL: usize = 16;

/// What is wrong with one.
enum Fault {
    NoCertificate,
    Bad(Credentials),
    Nonsense,
}

impl Fault {
    fn all(stand: &Stand) -> Vec<Self> {
        let bad = [Profile::Expired, Profile::OtherCaSameName, Profile::SelfSigned, Profile::NotYetValid];
        bad.into_iter().map(|profile| Self::Bad(stand.pki.client(profile))).chain([Self::NoCertificate, Self::Nonsense]).collect()
    }

    /// Tries, and is refused.
    fn commit(&self, stand: &Stand) {
        let server = stand.postern.address();
        let credentials = match self {
            Self::NoCertificate => None,
            Self::Bad(credentials) => Some(credentials.clone()),
            Self::Nonsense => {
                let mut wire = Wire::connect(server);
                wire.send_clear(&[ssl_request(), vec![0x16, 3, 1, 0, 5, 1, 2, 3, 4, 5]].concat());
                wire.read_to_end();
                return;
            }
        };
        // With TLS 1.3 the refusal may come behind the handshake.
        if let Ok(mut wire) = Wire::connect_tls(server, &TlsOptions::with(credentials)) {
            wire.send(&alices_startup());
            assert!(wire.until_ready().is_err(), "somebody got in");
        }
    }
}

fn flood(stand: &Stand, faults: &[Fault], count: usize) {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..PARALLEL {
            scope.spawn(|| {
                while let number = next.fetch_add(1, Ordering::Relaxed)
                    && number < count
                {
                    faults[number % faults.len()].commit(stand);
                }
            });
        }
    });
}

fn withstand(size: Size) {
    let count = size.of(96, 3000);
    let stand = Stand::new("");
    let faults = Fault::all(&stand);
    flood(&stand, &faults, 32);
    let before = stand.cpu();
    flood(&stand, &faults, count);
    let each = (stand.cpu() - before).as_secs_f64() * 1000.0 / count as f64;
    size.judge("processor time of a bad handshake", each, 0.8, "ms");

    let mut logins = Vec::new();
    while_running(
        || flood(&stand, &faults, count),
        || {
            logins.push(stand.visit().unwrap_or_else(|refusal| panic!("alice was kept out: {refusal}")));
            thread::sleep(Duration::from_millis(100));
        },
    );
    let slowest = percentile(&mut logins, 100);
    size.judge("slowest login beside them, from the same address", slowest.as_secs_f64(), 2.0, "s");
    let refused: f64 = ["no_certificate", "cert_expired", "cert_untrusted", "cert_not_yet_valid"]
        .map(|reason| stand.metric(&format!("postern_connections_refused_total{{reason=\"{reason}\"}}")))
        .iter()
        .sum();
    assert!(refused as usize >= count, "{refused} were counted");
}

#[test]
fn bad_handshakes_are_refused_and_a_good_one_beside_them_is_not() {
    withstand(Size::Small);
}

#[test]
#[ignore = "a minute: make soak"]
fn soak_bad_handshakes() {
    withstand(Size::Full);
}
