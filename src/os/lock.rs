//! One at a time: a lock on a file or a folder that the kernel takes back whatever becomes of its holder.

use std::fs::File;
use std::io;

use nix::fcntl::{Flock, FlockArg};

/// A lock that nobody else holds while this value lives.
#[derive(Debug)]
pub struct Lock {
    _held: Flock<File>,
}

impl Lock {
    /// Waits for the lock on what `file` is, and takes it (flock(2)).
    ///
    /// # Errors
    /// The file system has no locks.
    pub fn exclusive(file: File) -> io::Result<Self> {
        match Flock::lock(file, FlockArg::LockExclusive) {
            Ok(held) => Ok(Self { _held: held }),
            Err((_, errno)) => Err(errno.into()),
        }
    }
}
