//! Instructions by callgrind and system calls by strace: what no other work on the machine disturbs, so that a change can be compared
//! with what stood before it. Each figure is the difference of two runs of the daemon that differ in nothing but how often the thing
//! was done.

use std::collections::HashMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::client::Session;
use crate::fake_backend;
use crate::fronts::{Front, Running, Target};
use crate::stage::{Keys, Stage};
use crate::wire::Load;

/// What is done, how often in either run, and by how much the difference is divided.
struct Subject {
    name: &'static str,
    keys: Keys,
    counts: [usize; 2],
    work: fn(&Running, usize),
}

/// The counters, as the commands before the daemon's own; `FILE` is where each writes.
const CALLGRIND: [&str; 3] = ["valgrind", "--tool=callgrind", "--callgrind-out-file=FILE"];
const STRACE: [&str; 6] = ["strace", "-D", "-f", "-c", "-o", "FILE"];

const SUBJECTS: [Subject; 7] = [
    Subject { name: "login, ECDSA P-256", keys: Keys::Ecdsa, counts: [10, 60], work: logins },
    Subject { name: "login, RSA 2048", keys: Keys::Rsa, counts: [10, 60], work: logins },
    Subject { name: "round trip", keys: Keys::Ecdsa, counts: [500, 4500], work: round_trips },
    Subject { name: "MiB down, 8 KiB writes", keys: Keys::Ecdsa, counts: [4, 36], work: |front, count| bulk(front, count, "down", 8192) },
    Subject { name: "MiB down, 64 KiB writes", keys: Keys::Ecdsa, counts: [4, 36], work: |front, count| bulk(front, count, "down", 65536) },
    Subject { name: "MiB up, 8 KiB writes", keys: Keys::Ecdsa, counts: [4, 36], work: |front, count| bulk(front, count, "up", 8192) },
    Subject { name: "MiB up, 64 KiB writes", keys: Keys::Ecdsa, counts: [4, 36], work: |front, count| bulk(front, count, "up", 65536) },
];

/// Counts, prints what has changed since the last record in `folder`, and leaves a new one.
pub fn record(folder: &Path) {
    let stage = Stage::set_up();
    let (_backend, fake) = fake_backend(&stage);
    let file = folder.join("instructions.md");
    let before = recorded(&fs::read_to_string(&file).unwrap_or_default());
    let mut text = format!(
        "# Instructions and system calls\n\nOf the whole daemon, release build, audit, limits and metrics on, by callgrind and strace: \
         `make bench-instructions`, which compares with this file and writes it anew. {}.\n\n| one | instructions | system calls |\n\
         |---|---:|---:|\n",
        Front::Postern.version()
    );
    for subject in &SUBJECTS {
        let [instructions, calls] = [subject.measure(&stage, &fake, &CALLGRIND), subject.measure(&stage, &fake, &STRACE)];
        writeln!(text, "| {} | {instructions:.0} | {calls:.1} |", subject.name).unwrap();
        let was = before.get(subject.name).map(|was| format!(" ({:+.1} % since the last record)", (instructions / was - 1.0) * 100.0));
        println!("{:<24} {instructions:>12.0} instructions{} {calls:>8.1} system calls", subject.name, was.unwrap_or_default());
    }
    fs::create_dir_all(folder).unwrap();
    fs::write(file, text).unwrap();
}

/// The instructions of an earlier record, by subject.
fn recorded(text: &str) -> HashMap<String, f64> {
    let rows = text.lines().map(|line| line.split('|').map(str::trim).collect::<Vec<_>>());
    rows.filter_map(|row| Some(((*row.get(1)?).to_owned(), row.get(2)?.parse().ok()?))).collect()
}

impl Subject {
    fn measure(&self, stage: &Stage, fake: &Target, counter: &[&str]) -> f64 {
        let [few, many] = self.counts.map(|count| self.count(stage, fake, counter, count));
        (many - few) / (self.counts[1] - self.counts[0]) as f64
    }

    /// What the counter counts in one life of the daemon.
    fn count(&self, stage: &Stage, fake: &Target, counter: &[&str], count: usize) -> f64 {
        let folder = stage.room("counter", self.keys);
        let file = folder.join("counted");
        let counter: Vec<_> = counter.iter().map(|word| word.replace("FILE", &file.display().to_string())).collect();
        let front = Front::Postern.start_under(stage, fake, self.keys, &counter);
        // What is done once in a life is done.
        logins(&front, 3);
        (self.work)(&front, count);
        drop(front);
        let begun = Instant::now();
        loop {
            if let Some(total) = total(&fs::read_to_string(&file).unwrap_or_default()) {
                return total;
            }
            assert!(begun.elapsed() < Duration::from_secs(30), "{} counted nothing; tests/setup.sh bench installs it", counter[0]);
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// The sum in callgrind's file (`summary: N`) or strace's (`100.00 SECONDS USECS/CALL CALLS [ERRORS] total`).
fn total(text: &str) -> Option<f64> {
    let of_callgrind = || text.lines().find_map(|line| line.strip_prefix("summary: "))?.trim().parse().ok();
    let of_strace = || text.lines().find(|line| line.ends_with(" total"))?.split_whitespace().nth(3)?.parse().ok();
    of_callgrind().or_else(of_strace)
}

fn logins(front: &Running, count: usize) {
    (0..count).for_each(|_| Session::open(&front.way).unwrap().close().unwrap());
}

fn round_trips(front: &Running, count: usize) {
    let mut session = Session::open(&front.way).unwrap();
    (0..count).for_each(|_| session.ask("SELECT 1").unwrap());
    session.close().unwrap();
}

fn bulk(front: &Running, mebibytes: usize, verb: &str, write: usize) {
    let load = Load { bytes: mebibytes << 20, message: 8192, write };
    let mut session = Session::open(&front.way).unwrap();
    match verb {
        "down" => session.ask(&load.query(verb)).unwrap(),
        _ => session.copy_in(&load.query(verb), load, &[]).unwrap(),
    }
    session.close().unwrap();
}
