//! What the tests stand on: certificates, PostgreSQL servers, the daemon, and clients for both.

pub mod clients;
pub mod der;
pub mod pki;
pub mod postgres;
pub mod wire;

use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// Where `tests/setup.sh` puts what Debian does not package.
pub fn tools() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).with_file_name("test-tools")
}

/// Tells one process, by its id.
pub fn signal(name: &str, pid: u32) {
    Command::new("sh")
        .args(["-c", &format!("kill -{name} {pid}")])
        .status()
        .unwrap();
}

/// Waits for a fact that nobody announces, by looking again and again.
#[track_caller]
pub fn wait_until(fact: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "this never came true: {fact}");
        thread::sleep(Duration::from_millis(5));
    }
}
