//! What this process gives up before it serves: the user it was started as, privileges, files, ports and system calls that it has no
//! use for.
//!
//! All of it is done before the first thread exists, since each thread takes over what its maker had. The order is: sockets are bound by
//! whoever started the process; [`confine`] makes it another user and fences it in; the files are read in there, by the way that a reload
//! will read them; [`Confined::seal`] takes the system calls of that time away; then threads are started. What this kernel cannot enforce
//! is reported as not in force, and is no reason to go on where `harden` says `required`.

mod gaps;
mod landlock;
mod links;
mod process;
mod resources;
mod seccomp;

#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::path::PathBuf;

pub use resources::{Named, Resources};

use landlock::Fence;

use crate::notice::Notice;
use crate::os::{self, Account};

/// How much of it there must be: `harden` of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// All of it, or the daemon does not start.
    Required,
    /// What this kernel can enforce.
    BestEffort,
    /// None of it.
    None,
}

/// `harden` and `user` of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HardenSettings {
    /// How much of it there must be.
    pub mode: Mode,
    /// Whom to become, where the process was started as root.
    pub user: Option<Account>,
}

/// One thing that is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// The user that the process was started as, where another is configured.
    User,
    /// Every capability; those of the bounding set as well, where the process may change it (capabilities(7)).
    Capabilities,
    /// To gain privileges by execve(2) (PR_SET_NO_NEW_PRIVS).
    NoNewPrivileges,
    /// To be read by other processes of its user, by ptrace(2) or /proc (PR_SET_DUMPABLE).
    NotDumpable,
    /// To leave its memory in a core file (RLIMIT_CORE).
    NoCoreFile,
    /// Files outside of the folders that the configuration names (Landlock, Linux 5.13).
    Files,
    /// To bind TCP ports, and to connect to others than the backend's (Landlock, Linux 6.7).
    TcpPorts,
    /// Abstract Unix sockets and signals of processes outside (Landlock, Linux 6.12).
    OtherProcesses,
    /// System calls that it has no use for (seccomp(2)).
    SystemCalls,
}

/// A process that is fenced in and has not read its files yet.
#[derive(Debug)]
pub struct Confined {
    mode: Mode,
    outcomes: Vec<Outcome>,
    gaps: Vec<Notice>,
    fence: Fence,
}

/// What holds from now on, for every thread.
#[derive(Clone, Debug)]
pub struct Report {
    /// How much was asked for.
    pub mode: Mode,
    /// Each measure, and why it is not in force if it is not. None where none was asked for.
    pub outcomes: Vec<Outcome>,
    fence: Fence,
}

/// A measure, and why it is not in force if it is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The measure.
    pub measure: Measure,
    /// Why it is not in force.
    pub missing: Option<String>,
}

/// Why the process must not go on.
#[derive(Debug)]
pub enum HardenError {
    /// It could not become the user that is configured.
    User(Account, io::Error),
    /// What is required cannot be had.
    Missing(Vec<Outcome>),
    /// What is required cannot be had with the folders that are configured.
    Gaps(Vec<Notice>),
}

/// A file or port that the fence does not let the process reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outside {
    /// The key of the configuration that names it.
    pub setting: String,
    /// The folder, or the port.
    pub what: String,
}

impl Measure {
    /// Its name in status, log and audit.
    pub const fn label(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Capabilities => "capabilities",
            Self::NoNewPrivileges => "no_new_privileges",
            Self::NotDumpable => "not_dumpable",
            Self::NoCoreFile => "no_core_file",
            Self::Files => "files",
            Self::TcpPorts => "tcp_ports",
            Self::OtherProcesses => "other_processes",
            Self::SystemCalls => "system_calls",
        }
    }
}

impl HardenSettings {
    /// What the fence around `resources` will leave open because of the folders that they lie in.
    ///
    /// # Errors
    /// There are such gaps, and all is required.
    pub fn gaps(&self, resources: &Resources) -> Result<Vec<Notice>, HardenError> {
        let gaps = if self.mode == Mode::None { Vec::new() } else { gaps::gaps(resources) };
        if self.mode == Mode::Required && !gaps.is_empty() { Err(HardenError::Gaps(gaps)) } else { Ok(gaps) }
    }
}

impl Mode {
    /// Its name in the configuration.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Required => "required",
            Self::BestEffort => "best_effort",
            Self::None => "none",
        }
    }
}

/// Becomes the configured user, in every mode, and gives up what the mode asks for, but for system calls. From here on the process
/// reaches only `resources`. There must be no other thread, and the sockets of privileged ports must be bound.
///
/// # Errors
/// It could not become the user; or it cannot give up what is required.
pub fn confine(settings: &HardenSettings, resources: &Resources) -> Result<Confined, HardenError> {
    let HardenSettings { mode, user } = settings;
    let gaps = settings.gaps(resources)?;
    let mut outcomes = Vec::new();
    let mut note = |measure, outcome: Result<(), String>| outcomes.push(Outcome { measure, missing: outcome.err() });
    // Only who may change capabilities can empty the bounding set, and the next step takes that away.
    let bounding_set = if *mode == Mode::None { Ok(()) } else { process::empty_bounding_set() };
    if let Some(user) = user {
        note(Measure::User, process::become_user(user).map_err(|error| HardenError::User(user.clone(), error))?);
    }
    if *mode == Mode::None {
        return Ok(Confined { mode: *mode, outcomes, gaps, fence: Fence::none() });
    }
    note(Measure::Capabilities, bounding_set.and(process::drop_capabilities()));
    note(Measure::NoNewPrivileges, process::forbid_new_privileges());
    note(Measure::NotDumpable, process::forbid_dumps());
    note(Measure::NoCoreFile, process::forbid_core_files());
    let fence = Fence::around(resources);
    for (measure, outcome) in fence.outcomes() {
        note(measure, outcome);
    }
    Confined { mode: *mode, outcomes, gaps, fence }.checked()
}

impl Confined {
    /// What the fence leaves open because of the folders that are configured.
    pub fn gaps(&self) -> &[Notice] {
        &self.gaps
    }

    /// Gives up the system calls that only a start needs.
    ///
    /// # Errors
    /// They are required to be given up, and cannot be; or another thread exists that has given up nothing.
    pub fn seal(self) -> Result<Report, HardenError> {
        let threads = os::threads();
        self.seal_among(threads)
    }

    fn seal_among(mut self, threads: io::Result<usize>) -> Result<Report, HardenError> {
        if self.mode != Mode::None {
            let installed = seccomp::install();
            self.outcomes.push(Outcome { measure: Measure::SystemCalls, missing: process::is_alone(threads).and(installed).err() });
        }
        let Self { mode, outcomes, fence, .. } = self.checked()?;
        Ok(Report { mode, outcomes, fence })
    }

    fn checked(self) -> Result<Self, HardenError> {
        let missing: Vec<_> = self.outcomes.iter().filter(|outcome| outcome.missing.is_some()).cloned().collect();
        match self.mode {
            Mode::Required if !missing.is_empty() => Err(HardenError::Missing(missing)),
            Mode::Required | Mode::BestEffort | Mode::None => Ok(self),
        }
    }
}

impl Report {
    /// What of `resources` the process cannot reach, because it could not have foreseen at its start that it would be asked to: that
    /// needs a restart. It looks where symbolic links lead to, and opens nothing.
    pub fn outside(&self, resources: &Resources) -> Vec<Outside> {
        self.fence.outside(resources)
    }
}

impl fmt::Display for HardenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(user, error) => {
                write!(
                    f,
                    "user: the process cannot become {user}: {error}; it needs CAP_SETUID and CAP_SETGID for that, or start it as this user"
                )
            }
            Self::Gaps(gaps) => {
                let shown: Vec<_> = gaps.iter().map(|gap| format!("{gap}, or write harden: best_effort")).collect();
                f.write_str(&shown.join("\n"))
            }
            Self::Missing(missing) => {
                write!(f, "harden: required, but not all of it can be had here:")?;
                for Outcome { measure, missing } in missing {
                    write!(f, " {}: {};", measure.label(), missing.as_deref().unwrap_or_default())?;
                }
                write!(f, " mend that, or write harden: best_effort, which goes on without and says so")
            }
        }
    }
}

impl std::error::Error for HardenError {}

/// The folder or file that a path leads to, as the kernel names it, if it is there.
fn real(path: &std::path::Path) -> Option<PathBuf> {
    std::fs::canonicalize(path).ok()
}
