//! What the process itself gives up: its user, capabilities, new privileges, and being looked into.

use std::io;

use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::os::{self, Account};

/// Becomes `user` for good, its groups included. Without the rights of root the process stays who it is, which is then said.
pub(super) fn become_user(user: &Account) -> io::Result<Result<(), String>> {
    let us = os::effective_uid();
    if us == user.uid {
        return Ok(Ok(()));
    }
    if us != 0 {
        return Ok(Err(format!("it was started as uid {us}, and only root can become {user}; start it as root, or as that user")));
    }
    user.assume()?;
    Ok(Ok(()))
}

/// Takes every capability out of the bounding set, as far as the process may. Who may not has none to lose that execve(2) could give
/// back once new privileges are forbidden.
pub(super) fn empty_bounding_set() {
    os::empty_bounding_set();
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
