//! The tables: what was measured, as Markdown, with its circumstances and the goals.

use std::fmt::Write;
use std::fs;

use crate::fronts::Front;
use crate::results::{Better, Results, Row, Section};

/// What has to be known of the machine and the moment.
pub struct Circumstances {
    pub postgres: String,
    /// Cores that others kept busy on average, section by section.
    pub others: Vec<(Section, f64)>,
    pub load: [String; 2],
    /// When it began.
    pub date: String,
    /// Of which source.
    pub commit: String,
    pub minutes: f64,
    pub plan: String,
}

/// A goal: a ratio in this run, and its bound.
struct Goal {
    what: &'static str,
    better: Better,
    bound: f64,
    value: Option<f64>,
}

/// The whole report.
pub fn markdown(results: &Results, circumstances: &Circumstances) -> String {
    let mut text = String::from("# Comparison\n\n");
    text += &preface(circumstances);
    text += "\n## Goals\n\n";
    text += &goals_table(results);
    for section in Section::ALL {
        if results.of(section).next().is_some() {
            write!(text, "\n## {}\n\n", section.title()).unwrap();
            let value = |row: &Row, front| row.value(front).map(number);
            let ratio = |row: &Row, front| row.ratio_to(row.value(front)).map(|ratio| format!("{ratio:.2}"));
            if section == Section::Scaling {
                text += &table(results.of(section), &[Front::Postern], value);
            } else {
                let others: Vec<_> = Front::ALL.into_iter().filter(|front| *front != Front::Postern).collect();
                text += &table(results.of(section), &Front::ALL, value);
                text += "\nPostern as a part of each:\n\n";
                text += &table(results.of(section), &others, ratio);
            }
            write!(text, "\n![{}]({}.svg)\n", section.title(), section.slug()).unwrap();
        }
    }
    text
}

/// The few lines for the README.
pub fn summary(results: &Results) -> String {
    let wanted = [
        ("32 clients", "CPU s per 100k", "CPU seconds per 100 000 transactions, 32 clients"),
        ("32 clients", "tps", "transactions per second, 32 clients"),
        ("ECDSA P-256, fake backend", "CPU ms per login", "CPU milliseconds per login, ECDSA"),
        ("down, 8 KiB writes", "CPU s per GB", "CPU seconds per GB of download"),
        ("up, 8 KiB writes", "CPU s per GB", "CPU seconds per GB of upload"),
        ("real PostgreSQL", "p50 us", "round trip of one client, p50 in microseconds"),
        ("5000 idle, cold", "KB RSS each", "KB of RSS per idle connection, of 5000"),
        ("after 5000 have left", "RSS MB", "MB of RSS after they have left"),
    ];
    let fronts: Vec<_> = Front::ALL.into_iter().filter(|front| front.is_peer() || *front == Front::Postern).collect();
    let mut text = heading("", &fronts);
    for (name, unit, label) in wanted {
        if let Some(row) = results.find(name, unit) {
            line(&mut text, label, &fronts, |front| row.value(front).map(number));
        }
    }
    text
}

/// Three digits that count.
pub fn number(value: f64) -> String {
    match value.abs() {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

fn preface(circumstances: &Circumstances) -> String {
    let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let cpu = cpu.lines().find_map(|line| line.strip_prefix("model name")).map_or("", |line| line.trim_start_matches([' ', '\t', ':']));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = read("/proc/sys/kernel/osrelease");
    let [before, after] = &circumstances.load;
    let others: Vec<_> = circumstances.others.iter().map(|(section, cores)| format!("{} {cores:.2}", section.slug())).collect();
    let mut text = format!(
        "Made by `make bench` on {} of commit {}; loads and all servers on one machine, loopback, in one run of {:.0} minutes: {}. Medians. {cores} cores ({cpu}), \
         Linux {}. Load average before {before}, after {after}; cores that other work kept busy meanwhile: {}.\n\n\
         CPU is user and system time of the front's whole process tree. Of native TLS it is what PostgreSQL's processes take more than \
         for the same work by the Unix socket. `bare relay` is a yardstick, no product: blocking rustls, a thread and two 64 KiB buffers \
         for each connection, without rules, limits or a record. HAProxy and nginx know direct TLS only, which pgbench 15 does not speak. \
         A fake backend answers at once, so that PostgreSQL does not hide the front. Postern has audit, limits and metrics on.\n\n",
        circumstances.date,
        circumstances.commit,
        circumstances.minutes,
        circumstances.plan,
        kernel.trim(),
        others.join(", "),
    );
    writeln!(text, "- {}", circumstances.postgres).unwrap();
    for front in Front::proxies().filter(|front| *front != Front::Bare) {
        writeln!(text, "- {}", front.version()).unwrap();
    }
    text
}

fn table<'a>(rows: impl Iterator<Item = &'a Row>, fronts: &[Front], cell: impl Fn(&Row, Front) -> Option<String>) -> String {
    let mut text = heading("", fronts);
    for row in rows {
        line(&mut text, &format!("{}: {}", row.measure.name, row.measure.unit), fronts, |front| cell(row, front));
    }
    text
}

fn heading(first: &str, fronts: &[Front]) -> String {
    let names: Vec<_> = fronts.iter().map(|front| front.name()).collect();
    format!("| {first} | {} |\n|---|{}\n", names.join(" | "), "---:|".repeat(names.len()))
}

fn line(text: &mut String, label: &str, fronts: &[Front], cell: impl Fn(Front) -> Option<String>) {
    let shown = |front: &Front| match cell(*front) {
        Some(value) if *front == Front::Postern => format!("**{value}**"),
        Some(value) => value,
        None => "-".to_owned(),
    };
    let cells: Vec<_> = fronts.iter().map(shown).collect();
    writeln!(text, "| {label} | {} |", cells.join(" | ")).unwrap();
}

fn goals_table(results: &Results) -> String {
    let mut text = String::from("| measure | goal | measured | |\n|---|---|---|---|\n");
    for goal in goals(results) {
        let Some(value) = goal.value else { continue };
        let (sign, met) = match goal.better {
            Better::Lower => ("<=", value <= goal.bound),
            Better::Higher => (">=", value >= goal.bound),
        };
        writeln!(text, "| {} | {sign} {} | {value:.2} | {} |", goal.what, goal.bound, if met { "met" } else { "**not met**" }).unwrap();
    }
    text
}

fn goals(results: &Results) -> Vec<Goal> {
    let row = |name: &str, unit: &str| results.find(name, unit);
    let best = |name: &str, unit: &str| row(name, unit).and_then(|row| row.ratio_to(row.best_peer()));
    let against = |name: &str, unit: &str, front| row(name, unit).and_then(|row| row.ratio_to(row.value(front)));
    let own = |name: &str, unit: &str| row(name, unit).and_then(|row| row.value(Front::Postern));
    let low = |what, bound, value| Goal { what, better: Better::Lower, bound, value };
    let high = |what, bound, value| Goal { what, better: Better::Higher, bound, value };
    vec![
        low("full login, ECDSA, CPU, of the best peer", 0.35, best("ECDSA P-256, fake backend", "CPU ms per login")),
        low("full login, RSA, CPU, of the best peer", 0.45, best("RSA 2048, fake backend", "CPU ms per login")),
        low("download CPU per GB, 8 KiB writes, of the best peer", 0.65, best("down, 8 KiB writes", "CPU s per GB")),
        low("download CPU per GB, 64 KiB writes, of the best peer", 0.48, best("down, 64 KiB writes", "CPU s per GB")),
        low("upload CPU per GB, 8 KiB writes, of the best peer", 0.72, best("up, 8 KiB writes", "CPU s per GB")),
        low("p50 of a round trip, 1 client, of the best peer", 0.97, best("fake backend", "p50 us")),
        low("p50 of a round trip, 1 client, of a bare rustls relay", 1.03, against("fake backend", "p50 us", Front::Bare)),
        low("CPU per 100k transactions, 8 clients, of PgBouncer", 0.62, against("8 clients", "CPU s per 100k", Front::PgBouncer)),
        low("CPU per 100k transactions, 32 clients, of PgBouncer", 0.80, against("32 clients", "CPU s per 100k", Front::PgBouncer)),
        high("tps at 8 clients, of native TLS", 0.95, against("8 clients", "tps", Front::Native)),
        high("tps at 32 clients, of native TLS", 0.75, against("32 clients", "tps", Front::Native)),
        low("KB per idle connection, 5000, cold", 10.0, own("5000 idle, cold", "KB RSS each")),
        low("KB per idle connection, 5000, after 1 MB of download", 10.0, own("5000 idle, after 1 MB each", "KB RSS each")),
        low("base RSS, MB", 8.0, own("nobody there yet", "RSS MB")),
        low("RSS after 5000 have left, % of the peak", 30.0, own("after 5000 have left", "% of the peak")),
    ]
}
