//! The operating system's answers to questions about itself: the home of `nix`.

use std::io;

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::{Pid, Uid};

pub use nix::sys::signal::Signal;
pub use nix::unistd::User;

/// The uid of a user's name, as the system's databases know it; `None` where they do not.
///
/// # Errors
/// The databases could not be asked.
pub fn uid_of(name: &str) -> io::Result<Option<u32>> {
    Ok(User::from_name(name)?.map(|user| user.uid.as_raw()))
}

/// A user of this machine, by name; `None` where the system's databases know none.
///
/// # Errors
/// The databases could not be asked.
pub fn user(name: &str) -> io::Result<Option<User>> {
    Ok(User::from_name(name)?)
}

/// Whom this process acts as.
pub fn effective_uid() -> u32 {
    Uid::effective().as_raw()
}

/// Tells one process. That it is gone already is no error.
///
/// # Errors
/// It belongs to somebody else, or `pid` is none.
pub fn signal(pid: u32, signal: Signal) -> io::Result<()> {
    // Neither 0 nor a negative number: those are groups of processes.
    let pid = i32::try_from(pid).ok().filter(|pid| *pid > 0).ok_or(io::ErrorKind::InvalidInput)?;
    match kill(Pid::from_raw(pid), signal) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_uid_0_and_a_strange_name_is_nobody() {
        assert_eq!(uid_of("root").ok(), Some(Some(0)));
        assert_eq!(uid_of("no-such-user-of-postern").ok(), Some(None));
        assert_eq!(uid_of("root\0").ok(), Some(None));
    }
}
