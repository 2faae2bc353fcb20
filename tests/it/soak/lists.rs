//! Long revocation lists and deny lists: quickly in force, and not kept for longer than they count.

use std::fs;
use std::time::{Duration, Instant};

use super::Size;
use super::stand::{peak_kib, resident_kib};
use crate::harness::pki::Pki;
use crate::harness::wire::Wire;
use crate::reload::Site;

/// Lists of so many entries, reloaded again and again beside a client that comes and goes.
fn load_lists(size: Size) {
    let entries = size.of(20_000, 1_000_000) as u64;
    let site = Site::with(|config| config.with_crl().with("reload: { poll: 0 }\nlog: { level: warn }"));
    let before = resident(&site);
    let mut memory = Vec::new();
    for generation in 0..6 {
        site.write("client-ca.crl", list_of(&site.world.pki, entries, generation));
        let begun = Instant::now();
        assert_eq!(site.reload(), "applied: tls.ssl_crl_file\n");
        size.judge(&format!("a reload of CRLs with {entries} entries"), begun.elapsed().as_secs_f64(), 3.0, "s");
        memory.push((resident(&site) - before) / 1024.0);
        site.world.log_in();
        let listed = site.world.pki.named_with_serial("bob", FIRST + generation);
        assert!(Wire::log_in(site.world.address(), &listed, "bob").is_err(), "the last of them counts");
    }
    // A reload of what has not changed neither reads the list again nor keeps it twice.
    let begun = Instant::now();
    assert_eq!(site.reload(), "applied: nothing has changed\n");
    let peak = peak_kib(site.world.postern().pid()) / 1024.0;
    eprintln!("soak: at most {peak:.0} MiB were resident, while a file was read");
    eprintln!(
        "soak: a reload of unchanged CRLs took {:.2} s; memory in MiB after each of six generations: {memory:.0?}",
        begun.elapsed().as_secs_f64()
    );
    size.judge("memory kept by the last three generations", memory[5] - memory[2], 20.0, "MiB");
}

/// Serial numbers of eight octets, as CAs use.
const FIRST: u64 = 0x4000_0000_0000_0000;

fn list_of(pki: &Pki, entries: u64, generation: u64) -> String {
    let serials: Vec<u64> = (0..entries).map(|number| FIRST + generation + number * 0x1_0001).collect();
    pki.crl_pem_with(&serials)
}

fn resident(site: &Site) -> f64 {
    resident_kib(site.world.postern().pid())
}

/// A deny list of so many entries: from `postern reload` to the refusal.
fn deny(size: Size) {
    let site = Site::with(|config| {
        fs::write(config.dir().join("denied.txt"), "").unwrap();
        config.with("reload: { poll: 0 }\ndenylist_file: denied.txt\nlog: { level: warn }")
    });
    let entries = size.of(1000, 100_000);
    let bob = site.world.pki.named_with_serial("bob", 0x0b0b);
    let mut session = Wire::log_in(site.world.address(), &bob, "bob").unwrap();
    let others = (0..entries).map(|number| format!("serial {:x} \"CN=client-ca\" lost\n", FIRST + number as u64));
    site.write("denied.txt", others.collect::<String>() + "serial 0b0b \"CN=client-ca\" lost\n");
    let begun = Instant::now();
    assert!(site.reload().contains("sessions told to end: 1"));
    assert!(Wire::log_in(site.world.address(), &bob, "bob").is_err());
    session.read_to_end();
    let took: Duration = begun.elapsed();
    size.judge(&format!("until a deny list of {entries} was in force and its session over"), took.as_secs_f64() * 1000.0, 1000.0, "ms");
}

#[test]
fn a_deny_list_is_in_force_from_the_reload_on() {
    deny(Size::Small);
}

#[test]
#[ignore = "seconds: make soak"]
fn soak_deny_list() {
    deny(Size::Full);
}

#[test]
fn long_lists_are_loaded_again_and_again() {
    load_lists(Size::Small);
}

#[test]
#[ignore = "a minute: make soak"]
fn soak_crl_of_a_million() {
    load_lists(Size::Full);
}
