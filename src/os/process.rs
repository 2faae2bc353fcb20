//! What this process uses, by the kernel's word.

use std::fs;
use std::io;
use std::time::Duration;

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage};
use nix::sys::time::TimeValLike;

/// Processor time of this process, user and system.
pub fn cpu_time() -> Option<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    let microseconds = usage.user_time().num_microseconds().checked_add(usage.system_time().num_microseconds())?;
    u64::try_from(microseconds).ok().map(Duration::from_micros)
}

/// Its resident memory in bytes.
pub fn resident_bytes() -> Option<u64> {
    status("VmRSS").ok()?.strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

/// How many threads it has.
///
/// # Errors
/// The kernel does not say.
pub fn threads() -> io::Result<usize> {
    status("Threads")?.parse().map_err(io::Error::other)
}

/// A field of its status (proc_pid_status(5)).
fn status(field: &str) -> io::Result<String> {
    let status = fs::read_to_string("/proc/self/status")?;
    let value = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    value.map(|value| value.trim().to_owned()).ok_or_else(|| io::Error::other(format!("/proc/self/status has no {field}")))
}

/// How many descriptors it has open.
pub fn open_descriptors() -> Option<u64> {
    // Linux 6.2 and later give the count as the directory's size; before, they are counted.
    let counted = || u64::try_from(fs::read_dir("/proc/self/fd").ok()?.count()).ok()?.checked_sub(1);
    match fs::metadata("/proc/self/fd").ok()?.len() {
        0 => counted(),
        known => Some(known),
    }
}

/// How many it may have open: the soft limit.
pub fn most_descriptors() -> Option<u64> {
    getrlimit(Resource::RLIMIT_NOFILE).ok().map(|(soft, _)| soft)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_knows_what_this_process_uses() {
        assert!(cpu_time().is_some_and(|time| !time.is_zero()));
        assert!(resident_bytes().is_some_and(|bytes| (1 << 20..1 << 34).contains(&bytes)));
        assert!(most_descriptors() >= open_descriptors());
    }

    #[test]
    fn a_thread_is_counted_as_long_as_it_lives() {
        let (tell, wait) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || wait.recv());
        assert!(threads().unwrap() >= 2);
        drop(tell);
        assert!(thread.join().unwrap().is_err());
    }

    #[test]
    fn an_open_file_is_one_descriptor_more() {
        let before = open_descriptors().unwrap();
        let files: Vec<_> = (0..64).map(|_| fs::File::open("/dev/null").unwrap()).collect();
        // Other tests of this process open and close as they like.
        assert!(open_descriptors().unwrap() > before + 32);
        drop(files);
    }
}
