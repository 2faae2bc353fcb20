//! Postern beside what else stands before PostgreSQL, by one load in one run: `make bench`, or `make bench-quick` for a glance.
//!
//! Everything is started here, on loopback, and ends with this program: PostgreSQL, the peers of Debian's packages, Postern's release
//! build with audit, limits and metrics on, a fake backend and the loads. What is written into `benches/results/` is what one full run
//! said.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    unreachable_pub,
    missing_docs,
    reason = "a bench panics when it cannot measure"
)]

#[path = "../measure.rs"]
mod measure;
#[path = "../world.rs"]
mod world;

mod backend;
mod bare;
mod client;
mod fronts;
mod instructions;
mod loads;
mod plot;
mod postgres;
mod report;
mod results;
mod stage;
mod usage;
mod wire;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use fronts::Target;
use loads::{Bench, Plan};
use nix::sys::signal::Signal;
use postgres::{Postgres, socket_in};
use report::Circumstances;
use results::{Results, Row, Section};
use stage::{Keys, Program, Stage};

fn main() {
    let arguments: Vec<String> = env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        // What this program starts itself as.
        ["backend", folder] => backend::serve(Path::new(folder)),
        ["bare", address, folder, socket] => bare::serve(address.parse().unwrap(), Path::new(folder), Path::new(socket)),
        ["instructions"] => instructions::record(&results_folder()),
        ["full", ref sections @ ..] => compare(&Plan::full(), sections, &results_folder()),
        ["quick", ref sections @ ..] => compare(&Plan::quick(), sections, &Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench")),
        _ => println!("compare: not run; `make bench` takes a quarter of an hour, `make bench-quick` two minutes"),
    }
}

impl Plan {
    fn full() -> Self {
        Self {
            rounds: 3,
            turn: turn(3),
            clients: vec![1, 8, 32, 64],
            bytes: 512 << 20,
            idle: vec![1000, 5000],
            scale: vec![100, 1000, 5000, 9000],
            patience: Duration::from_secs(12),
        }
    }

    fn quick() -> Self {
        Self {
            rounds: 1,
            turn: turn(1),
            clients: vec![1, 8, 32],
            bytes: 256 << 20,
            idle: vec![100, 500],
            scale: vec![100, 500, 1000],
            patience: Duration::from_secs(3),
        }
    }

    fn describe(&self) -> String {
        format!("{} rounds, turns of {} s, bulk of {} MiB", self.rounds, self.turn.as_secs(), self.bytes >> 20)
    }
}

/// `BENCH_SECONDS`, or what the plan has.
fn turn(seconds: u64) -> Duration {
    let named = env::var("BENCH_SECONDS").ok().and_then(|named| named.parse().ok());
    Duration::from_secs(named.unwrap_or(seconds))
}

fn results_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/results")
}

/// A fake backend that runs as a process of its own.
pub fn fake_backend(stage: &Stage) -> (Program, Target) {
    let folder = stage.room("fake", Keys::Ecdsa);
    let mut command = Command::new(env::current_exe().unwrap());
    let mut program = Program::start("the fake backend", command.arg("backend").arg(&folder), &folder, Signal::SIGTERM);
    program.wait_until(|| std::os::unix::net::UnixStream::connect(socket_in(&folder, 5432)).is_ok());
    (program, Target { folder, port: 5432 })
}

/// Of which source this is, and whether it was changed since.
fn commit() -> String {
    let git = Command::new("git").args(["-C", env!("CARGO_MANIFEST_DIR"), "describe", "--always", "--dirty"]).output();
    let said = git.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default();
    if said.is_empty() { "unknown".to_owned() } else { said }
}

/// Runs the sections that are named, all if none is, and writes what came of it into `folder`.
fn compare(plan: &Plan, wanted: &[&str], folder: &Path) {
    let limit = postern::os::raise_descriptor_limit().unwrap();
    let needed = 2 * plan.idle.iter().chain(&plan.scale).max().unwrap() + 500;
    assert!(limit >= u64::try_from(needed).unwrap(), "{needed} open descriptors are needed and {limit} allowed: raise `ulimit -Hn`");
    let (begun, before) = (Instant::now(), usage::load());
    let date = postern::types::utc(postern::os::unix_now()).unwrap();
    let stage = Stage::set_up();
    let (_backend, fake) = fake_backend(&stage);
    let postgres = Postgres::start(&stage, 10);
    let bench = Bench { stage: &stage, plan, postgres: &postgres, fake };
    let (mut results, mut others) = (Results::default(), Vec::new());
    for section in Section::ALL.into_iter().filter(|section| wanted.is_empty() || wanted.contains(&section.slug())) {
        eprintln!("{:>4} s  {}", begun.elapsed().as_secs(), section.title());
        let foreign = || usage::machine_busy_seconds() - usage::cpu_seconds(std::process::id());
        let (busy, since) = (foreign(), Instant::now());
        match section {
            Section::Transactions => bench.transactions(&mut results),
            Section::RoundTrips => bench.round_trips(&mut results),
            Section::Logins => bench.logins(&mut results),
            Section::Bulk => bench.bulk(&mut results),
            Section::Memory => bench.memory(&mut results),
            Section::Scaling => bench.scaling(&mut results),
        }
        others.push((section, (foreign() - busy) / since.elapsed().as_secs_f64()));
    }
    let circumstances = Circumstances {
        postgres: postgres.version(),
        others,
        load: [before, usage::load()],
        date,
        commit: commit(),
        minutes: begun.elapsed().as_secs_f64() / 60.0,
        plan: plan.describe(),
    };
    let whole = wanted.is_empty() && env::var_os("BENCH_FRONTS").is_none();
    write(&results, &circumstances, folder, whole);
}

/// A part of a run is shown and not kept.
fn write(results: &Results, circumstances: &Circumstances, folder: &Path, whole: bool) {
    let text = report::markdown(results, circumstances);
    println!("{text}");
    if !whole {
        return;
    }
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("comparison.md"), text).unwrap();
    fs::write(folder.join("summary.md"), report::summary(results)).unwrap();
    for section in Section::ALL {
        let rows: Vec<&Row> = results.of(section).collect();
        fs::write(folder.join(format!("{}.svg", section.slug())), plot::svg(section.title(), &rows)).unwrap();
    }
    eprintln!("written to {}", folder.display());
}
