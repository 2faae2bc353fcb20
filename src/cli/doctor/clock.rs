//! The clock: by one that is behind, what has expired is still taken.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use super::finding::Finding;

/// What may be between two clocks of one machine room.
const TOLERANCE: Duration = Duration::from_secs(60);

/// Of the files that Postern reads, and of the service that keeps the clock.
pub(super) fn examine<'a>(files: impl Iterator<Item = &'a Path>) -> [Finding; 2] {
    [ahead_of_files(files, SystemTime::now()), synchronized(is_synchronized(Path::new(FLAG), Command::new(TIMEDATECTL)))]
}

/// A file that was written in the future says that the clock is behind.
fn ahead_of_files<'a>(mut files: impl Iterator<Item = &'a Path>, now: SystemTime) -> Finding {
    let future = now.checked_add(TOLERANCE);
    let ahead = |file: &&Path| {
        let changed = fs::metadata(file).and_then(|metadata| metadata.modified()).ok();
        future.is_some_and(|future| changed.is_some_and(|changed| changed > future))
    };
    match files.find(ahead) {
        Some(file) => Finding::fault(
            "clock",
            format!("{} was changed in the future by this machine's clock: what has expired may still be taken", file.display()),
            "set the clock (timedatectl set-ntp true)",
        ),
        None => Finding::good("clock", "no file of Postern's is from the future"),
    }
}

/// What systemd-timesyncd writes once it has set the clock (systemd-timesyncd.service(8)).
const FLAG: &str = "/run/systemd/timesync/synchronized";
/// It asks the kernel, whichever service keeps the clock (timedatectl(1), NTPSynchronized).
const TIMEDATECTL: &str = "/usr/bin/timedatectl";

/// Whether the clock is kept; `None` where this machine cannot say, as in a container, whose clock is its host's.
fn is_synchronized(flag: &Path, mut timedatectl: Command) -> Option<bool> {
    if flag.exists() {
        return Some(true);
    }
    timedatectl.args(["show", "--property=NTPSynchronized", "--value"]).stdin(Stdio::null()).stderr(Stdio::null());
    match timedatectl.output().ok()?.stdout.trim_ascii() {
        b"yes" => Some(true),
        b"no" => Some(false),
        _ => None,
    }
}

fn synchronized(synchronized: Option<bool>) -> Finding {
    const CHECK: &str = "clock.synchronized";
    match synchronized {
        Some(true) => Finding::good(CHECK, "a time service keeps this machine's clock"),
        Some(false) => Finding::fault(
            CHECK,
            "no time service keeps this machine's clock: certificates and CRLs are judged by it",
            "timedatectl set-ntp true, or another time service (chrony)",
        ),
        None => Finding::unknown(
            CHECK,
            "whether a time service keeps this machine's clock is not told here",
            "look at `timedatectl` or `chronyc tracking`, in a container on its host",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::State;
    use super::*;

    #[test]
    fn a_file_from_the_future_says_that_the_clock_is_behind() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let state = |now| ahead_of_files([file.path()].into_iter(), now).state;
        let now = SystemTime::now();
        assert_eq!(state(now), State::Good);
        assert_eq!(state(now - Duration::from_secs(3600)), State::Fault);
    }

    #[test]
    fn the_clock_is_kept_if_the_system_says_so_and_unknown_where_it_says_nothing() {
        let (absent, flag) = (Path::new("/nonexistent/synchronized"), tempfile::NamedTempFile::new().unwrap());
        let saying = |words: &str| {
            let mut shell = Command::new("sh");
            shell.args(["-c", words]);
            is_synchronized(absent, shell)
        };
        assert_eq!(is_synchronized(flag.path(), Command::new("/nonexistent/timedatectl")), Some(true));
        assert_eq!((saying("echo yes"), saying("echo no")), (Some(true), Some(false)));
        assert_eq!((saying("echo"), saying("exit 1")), (None, None));
        assert_eq!(is_synchronized(absent, Command::new("/nonexistent/timedatectl")), None);
        assert_eq!(synchronized(Some(false)).state, State::Fault);
    }
}
