//! A program that runs beside the story and ends with it.

use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::error::DemoError;
use crate::os::{Signal, signal};

/// A running program, what it writes going to a file. Leaving the scope ends it.
pub(super) struct Process {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts it, in a process group of its own: a terminal's Ctrl-C is for the demo, which ends things in their order.
    pub(super) fn start(name: &'static str, command: &mut Command, log: PathBuf) -> Result<Self, DemoError> {
        let mut start = || -> io::Result<Child> {
            let out = File::create(&log)?;
            command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out).process_group(0).spawn()
        };
        let child = start().map_err(|error| DemoError::io(format!("start {name}"), error))?;
        Ok(Self { name, child, log })
    }

    /// An error, with what it said, if it has ended.
    pub(super) fn check(&mut self) -> Result<(), DemoError> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(_)) => Err(self.failed()),
            Err(error) => Err(DemoError::io(format!("look after {}", self.name), error)),
        }
    }

    /// What to say when it does not do what it should: its last words.
    pub(super) fn failed(&self) -> DemoError {
        DemoError::Program { name: self.name, said: self.last_words() }
    }

    /// The end of what it has written.
    pub(super) fn last_words(&self) -> String {
        let said = std::fs::read(&self.log).unwrap_or_default();
        let start = said.len().saturating_sub(LAST_WORDS);
        String::from_utf8_lossy(said.get(start..).unwrap_or_default()).into_owned()
    }

    fn ends_within(&mut self, patience: Duration) -> bool {
        let started = Instant::now();
        while started.elapsed() < patience {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return true;
            }
            thread::sleep(Duration::from_millis(10));
        }
        false
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // INT is "fast shutdown" to PostgreSQL and "end every session now" to Postern; QUIT is "immediate shutdown" to PostgreSQL.
        for next in [Signal::SIGINT, Signal::SIGQUIT] {
            let _ = signal(self.child.id(), next);
            if self.ends_within(Duration::from_secs(10)) {
                return;
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How much of a log is shown, in bytes.
const LAST_WORDS: usize = 2000;
