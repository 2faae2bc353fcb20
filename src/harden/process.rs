//! What the process itself gives up: its user, capabilities, new privileges, and being looked into.

use std::io;

use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::os::{self, Account};

/// Becomes `user` for good, its groups included, and looks whether it is nobody else besides. Without the rights of root the process stays
/// who it is, which is then said.
pub(super) fn become_user(user: &Account) -> io::Result<Result<(), String>> {
    let Some(foreign) = user.foreign()? else { return Ok(Ok(())) };
    if os::effective_uid() != 0 {
        return Ok(Err(format!("it was started as {foreign}, and only root can become {user}; start it as root, or as that user")));
    }
    user.assume()?;
    match user.foreign()? {
        None => Ok(Ok(())),
        Some(foreign) => Err(io::Error::other(format!("it stays {foreign}"))),
    }
}

/// Takes every capability out of the bounding set, if the process may. Who may not has none that execve(2) could give back once new
/// privileges are forbidden.
pub(super) fn empty_bounding_set() -> Result<(), String> {
    os::empty_bounding_set().map_err(|error| error.to_string())
}

/// What is given up is given up by one thread, and by those that it makes.
pub(super) fn is_alone(threads: io::Result<usize>) -> Result<(), String> {
    match threads {
        Ok(1) => Ok(()),
        Ok(threads) => Err(format!(
            "{threads} threads exist, and those that came before have kept all; start it without what makes them, as LD_PRELOAD"
        )),
        Err(error) => Err(format!("whether other threads exist cannot be seen: {error}; mount /proc")),
    }
}

/// Empties all other sets.
pub(super) fn drop_capabilities() -> Result<(), String> {
    os::drop_capabilities().map_err(|error| error.to_string())
}

/// For this process and all that it could ever start.
pub(super) fn forbid_new_privileges() -> Result<(), String> {
    prctl::set_no_new_privs().map_err(|error| error.to_string())
}

/// The server's key is in its memory.
pub(super) fn forbid_dumps() -> Result<(), String> {
    prctl::set_dumpable(false).map_err(|error| error.to_string())
}

/// A core_pattern that is a pipe is given none either: it looks at the dumpable flag.
pub(super) fn forbid_core_files() -> Result<(), String> {
    if getrlimit(Resource::RLIMIT_CORE).is_ok_and(|limits| limits == (0, 0)) {
        return Ok(());
    }
    setrlimit(Resource::RLIMIT_CORE, 0, 0).map_err(|error| error.to_string())
}
