//! What a process and all that descend from it use, by /proc.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

/// One line of /proc/PID/stat.
struct Stat {
    parent: u32,
    /// User and system, its own and that of children it has waited for, in ticks.
    ticks: u64,
}

/// Memory of a tree of processes, in bytes.
#[derive(Clone, Copy, Default)]
pub struct Memory {
    pub rss: f64,
    pub pss: f64,
}

/// /proc counts in hundredths of a second, on every machine (USER_HZ).
const TICK: Duration = Duration::from_millis(10);

/// Processor time of `root` and its descendants, of those that have gone too.
pub fn cpu_seconds(root: u32) -> f64 {
    let stats = stats();
    let ticks: u64 = tree(root, &stats).iter().filter_map(|pid| stats.get(pid)).map(|stat| stat.ticks).sum();
    ticks as f64 * TICK.as_secs_f64()
}

/// Resident memory, and the same with shared pages counted once.
pub fn memory(root: u32) -> Memory {
    let field = |pid: u32, file: &str, name: &str| {
        let text = fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("0 kB").to_owned();
        line.trim().trim_end_matches(" kB").parse().unwrap_or(0.0) * 1024.0
    };
    let processes = tree(root, &stats());
    let sum = |file: &str, name: &str| processes.iter().map(|pid| field(*pid, file, name)).sum();
    Memory { rss: sum("status", "VmRSS:"), pss: sum("smaps_rollup", "Pss:") }
}

/// What all cores have done since the start of the machine, in seconds; waiting left out.
pub fn machine_busy_seconds() -> f64 {
    let text = fs::read_to_string("/proc/stat").unwrap();
    let fields: Vec<u64> = text.lines().next().unwrap().split_whitespace().skip(1).map(|field| field.parse().unwrap()).collect();
    // user, nice, system; irq, softirq, steal. Between them stand idle and iowait.
    [0, 1, 2, 5, 6, 7].iter().filter_map(|index| fields.get(*index)).sum::<u64>() as f64 * TICK.as_secs_f64()
}

/// The three averages of /proc/loadavg.
pub fn load() -> String {
    fs::read_to_string("/proc/loadavg").unwrap().split(' ').take(3).collect::<Vec<_>>().join(" ")
}

fn stats() -> HashMap<u32, Stat> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid: u32| Some((pid, stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?))).collect()
}

/// The name before the last parenthesis may hold anything.
fn stat(line: &str) -> Option<Stat> {
    let fields: Vec<&str> = line.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some(Stat { parent: number(1)?.try_into().ok()?, ticks: number(11)? + number(12)? + number(13)? + number(14)? })
}

fn tree(root: u32, stats: &HashMap<u32, Stat>) -> Vec<u32> {
    let mut members = vec![root];
    let mut next = 0;
    while let Some(parent) = members.get(next).copied() {
        members.extend(stats.iter().filter(|(_, stat)| stat.parent == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    members
}
