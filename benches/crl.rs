//! What a revocation list of a million entries costs: to load, and at each handshake. What it takes of memory is measured by
//! tests/it/soak/lists.rs, in a process that holds nothing else.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    missing_docs,
    reason = "a bench panics when it cannot measure"
)]

mod measure;
mod world;

use std::fs;
use std::hint::black_box;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use measure::median;
use postern::tls::{Acceptor, TlsSettings, read_certificates};
use rcgen::{PKCS_ECDSA_P256_SHA256, RevocationReason, SerialNumber};
use time::{Duration, OffsetDateTime};
use world::{World, cpu_time};

const ENTRIES: u64 = 1_000_000;
const GENERATIONS: u64 = 5;
/// A figure is the median of so many samples of so many calls.
const SAMPLES: u32 = 201;
const CALLS: u32 = 500;

fn main() {
    let world = World::new(&PKCS_ECDSA_P256_SHA256);
    let plain = world.settings.live.tls.clone();
    let listed = TlsSettings { ssl_crl_file: Some(world.folder.path().join("client-ca.crl")), ..plain.clone() };
    let mut acceptor = load(&plain);
    println!("{:<44} {:>8.2} us", "verify a client without CRLs", verification(&acceptor, &world) * 1e6);
    for entries in [0, ENTRIES] {
        write(&world, &listed, entries, 0);
        acceptor = load(&listed);
        println!("{:<44} {:>8.2} us", format!("verify a client, {entries} entries"), verification(&acceptor, &world) * 1e6);
    }
    for generation in 1..=GENERATIONS {
        let bytes = write(&world, &listed, ENTRIES, generation);
        let (begun, used) = (Instant::now(), cpu_time());
        acceptor = acceptor.successor(&listed).unwrap_or_else(|faults| panic!("{}", faults[0]));
        let (took, used) = (begun.elapsed().as_secs_f64(), (cpu_time() - used).as_secs_f64());
        println!("generation {generation}: {} MB of PEM loaded in {took:.2} s, {used:.2} s of a processor", bytes / 1_000_000);
    }
    let begun = Instant::now();
    acceptor.successor(&listed).unwrap_or_else(|faults| panic!("{}", faults[0]));
    println!("the same file again: {:.2} s", begun.elapsed().as_secs_f64());
}

fn load(settings: &TlsSettings) -> Acceptor {
    Acceptor::load(settings).unwrap_or_else(|faults| panic!("{}", faults[0]))
}

/// Seconds that alice's certificate takes to be verified, as a handshake does it, her key's signature left out.
fn verification(acceptor: &Acceptor, world: &World) -> f64 {
    let alice = read_certificates(&world.folder.path().join("alice.crt"), "alice").unwrap_or_else(|faults| panic!("{}", faults[0]));
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap();
    let verify = || acceptor.verify(&alice[0], &[], now).unwrap_or_else(|refusal| panic!("{}", refusal.cause));
    // Processor time, which other work on the machine leaves alone.
    let sample = |_| {
        let begun = cpu_time();
        (0..CALLS).for_each(|_| drop(black_box(verify())));
        (cpu_time() - begun).as_secs_f64() / f64::from(CALLS)
    };
    median(&mut (0..SAMPLES).map(sample).collect::<Vec<_>>())
}

/// Writes a list with serial numbers of 16 octets and a reason each; its length in bytes.
fn write(world: &World, settings: &TlsSettings, entries: u64, generation: u64) -> usize {
    let now = OffsetDateTime::now_utc();
    let serial = |number: u64| {
        let spread = (number + generation).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        SerialNumber::from([&[0x40][..], &spread.to_be_bytes(), &spread.to_le_bytes()[..7]].concat())
    };
    let revoked = (0..entries).map(|number| rcgen::RevokedCertParams {
        serial_number: serial(number),
        revocation_time: now,
        reason_code: Some(RevocationReason::KeyCompromise),
        invalidity_date: None,
    });
    let params = rcgen::CertificateRevocationListParams {
        this_update: now - Duration::hours(1),
        next_update: now + Duration::days(30),
        crl_number: SerialNumber::from(generation + 1),
        issuing_distribution_point: None,
        revoked_certs: revoked.collect(),
        key_identifier_method: rcgen::KeyIdMethod::Sha256,
    };
    let pem = world.revoke(params);
    fs::write(settings.ssl_crl_file.as_ref().unwrap(), &pem).unwrap();
    pem.len()
}
