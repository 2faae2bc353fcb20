//! A few seconds of fuzzing in each check: recorded bytes, damaged at random, against what must hold for any bytes.
//!
//! The damage is the same in each run, so that the check says of the same code what it said before. `make fuzz` looks where nobody has been
//! yet, and so does another `POSTERN_IT_SEED`. What they find becomes a file in `tests/vectors`, from which every later run starts.

#[path = "../fuzz/bodies/mod.rs"]
mod bodies;

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use postern::identity::Certificate;

use crate::harness::watchdog::Watched;

#[test]
fn startup_packets_are_read_as_postgresql_reads_them() {
    fuzz("startup", bodies::startup, &vectors(".startup.bin"));
}

#[test]
fn a_proxy_header_is_read_to_its_last_byte_and_no_further() {
    fuzz("proxy", bodies::proxy, &vectors(".proxy.bin"));
}

#[test]
fn a_clients_stream_has_the_same_messages_however_it_is_cut() {
    fuzz("frontend_scanner", bodies::frontend_scanner, &vectors(".frontend.bin"));
}

#[test]
fn a_session_has_the_same_state_however_it_is_cut() {
    fuzz("backend_scanner", bodies::backend_scanner, &vectors(".session.bin"));
}

#[test]
fn who_answers_for_the_backend_is_read_with_care_and_never_believed() {
    fuzz("backend_login", bodies::backend_login, &vectors(".login.bin"));
}

#[test]
fn names_of_certificates_are_read_in_one_way_and_shown_on_one_line() {
    let mut seeds = vectors(".certificate.der");
    let subjects = seeds.iter().filter_map(|der| Certificate::parse(der).ok()).map(|certificate| certificate.subject().as_der().to_vec());
    seeds.extend(subjects.collect::<Vec<_>>());
    seeds.extend(vectors(".crl.der"));
    fuzz("certificate", bodies::certificate, &seeds);
}

#[test]
fn a_configuration_loads_or_says_what_is_wrong_with_it() {
    let folders = ["config", "tests/config/valid", "tests/config/invalid"];
    let seeds: Vec<_> = folders.iter().flat_map(|folder| files(folder, ".yaml")).collect();
    fuzz("config", bodies::config, &seeds);
}

#[test]
fn rule_files_are_read_or_say_what_is_wrong_with_them() {
    fuzz("rule_files", bodies::rule_files, &[vectors(".rules.conf"), vectors(".maps.conf")].concat());
}

#[test]
fn regular_expressions_are_understood_or_named() {
    fuzz("regular_expression", bodies::regular_expression, &vectors(".pattern.bin"));
}

/// Runs every seed as it is, then damaged ones for as long as `POSTERN_FUZZ_SECONDS` says.
fn fuzz(target: &str, body: fn(&[u8]), seeds: &[Vec<u8>]) {
    let _watched = Watched::new();
    assert!(!seeds.is_empty(), "{target} has nothing to start from");
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let patience = Duration::from_secs(number("POSTERN_FUZZ_SECONDS").unwrap_or(2));
    let seed = number("POSTERN_IT_SEED").unwrap_or(1);
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let run = |input: &[u8]| {
        let witness = Witness { target, input };
        let begun = Instant::now();
        body(input);
        assert!(begun.elapsed() < Duration::from_secs(5), "{} bytes took {:?}", input.len(), begun.elapsed());
        drop(witness);
    };
    seeds.iter().for_each(|seed| run(seed));
    let (deadline, mut runs) = (Instant::now() + patience, 0_u64);
    while Instant::now() < deadline {
        run(&random.damage(seeds));
        runs += 1;
    }
    println!("{target}: {} seeds, {runs} damaged (POSTERN_IT_SEED={seed})", seeds.len());
}

/// Keeps the bytes at which a body panics.
struct Witness<'a> {
    target: &'a str,
    input: &'a [u8],
}

impl Drop for Witness<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("found.{}.bin", self.target));
            drop(fs::write(&path, self.input));
            eprintln!("{} fails at {}", self.target, path.display());
        }
    }
}

fn vectors(suffix: &str) -> Vec<Vec<u8>> {
    files("tests/vectors", suffix)
}

/// The contents of a folder's files, in the order of their names.
fn files(folder: &str, suffix: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.to_str().is_some_and(|path| path.ends_with(suffix)));
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// A generator of damage.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    fn range(&mut self, bytes: &[u8]) -> std::ops::Range<usize> {
        let from = self.below(bytes.len() + 1);
        let most = (bytes.len() - from).min(64);
        from..from + self.below(most + 1)
    }

    /// One to eight wounds to one of the seeds.
    fn damage(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = seeds[self.below(seeds.len())].clone();
        for _ in 0..=self.below(8) {
            self.wound(&mut bytes, seeds);
        }
        bytes.truncate(64 * 1024);
        bytes
    }

    fn wound(&mut self, bytes: &mut Vec<u8>, seeds: &[Vec<u8>]) {
        const WORDS: [u32; 10] = [0, 3, 4, 5, 8, 10_004, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, 0xffff_ffff];
        const BYTES: &[u8] = b"\0\x01\x7f\x80\x84\xff\n\r \"'#:,[]{}&*!|>%@QXSZECGWcfAN";
        let place = self.below(bytes.len());
        match self.below(9) {
            0 => bytes.iter_mut().skip(place).take(1).for_each(|byte| *byte ^= 1 << self.below(8)),
            1 => bytes.iter_mut().skip(place).take(1).for_each(|byte| *byte = BYTES[self.below(BYTES.len())]),
            2 => bytes.insert(place, BYTES[self.below(BYTES.len())]),
            3 => bytes.insert(place, self.next() as u8),
            4 => bytes.truncate(place),
            5 => {
                let range = self.range(bytes);
                bytes.drain(range);
            }
            6 => {
                let piece = bytes[self.range(bytes)].to_vec();
                bytes.splice(place..place, piece);
            }
            7 => {
                let other = &seeds[self.below(seeds.len())];
                let piece = other[self.range(other)].to_vec();
                bytes.splice(place..place, piece);
            }
            _ => {
                let word = WORDS[self.below(WORDS.len())].to_be_bytes();
                let end = (place + word.len()).min(bytes.len());
                bytes.splice(place..end, word);
            }
        }
    }
}
