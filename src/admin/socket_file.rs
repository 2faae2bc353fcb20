//! The admin socket's place in the file system: whose the folder is, who has the name, and when a name changes its owner.

use std::fmt;
use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::mem;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::os;

/// A socket in the file system; the file leaves with it. It is made beside its name, where nobody looks for it, and takes the name last.
#[derive(Debug)]
pub(super) struct AdminSocket {
    listener: UnixListener,
    file: SocketFile,
    /// The name that it is to have.
    path: PathBuf,
}

/// The name of a socket, as long as it is still that socket's.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
    /// Whether it is ours to take away.
    ours: Mutex<bool>,
}

/// Why there is no admin socket.
#[derive(Debug)]
pub struct SocketError {
    path: PathBuf,
    what: Obstacle,
}

#[derive(Debug)]
enum Obstacle {
    /// Something else has the name.
    NotASocket,
    /// A socket of another user's has it.
    Foreign(u32),
    /// Its folder belongs to this user, who can put anything in its place.
    Folder(u32),
    /// Somebody answers there.
    Alive,
    /// Somebody listens there and answers nobody.
    Silent,
    /// What the kernel said.
    Kernel(io::Error),
}

impl AdminSocket {
    /// Makes the socket with mode 0600, beside its name, which must be free, or held by a socket that is ours and that nobody answers at, or
    /// whose owner is taken over from.
    pub(super) fn bind(path: &Path, takes_over: bool) -> Result<Self, SocketError> {
        bind(path, takes_over).map_err(|what| SocketError { path: path.to_owned(), what })
    }

    /// Gives it its name, over what was left behind or is taken over from. One that cannot have it stays where it was made.
    pub(super) fn publish(&mut self) -> Result<(), SocketError> {
        let renamed = fs::rename(&self.file.path, &self.path);
        renamed.map_err(|error| SocketError { path: self.path.clone(), what: Obstacle::Kernel(error) })?;
        self.file.path.clone_from(&self.path);
        Ok(())
    }

    pub(super) fn into_parts(self) -> (UnixListener, SocketFile) {
        (self.listener, self.file)
    }
}

/// Who looks for it by its name finds it only once its mode is set.
fn bind(path: &Path, takes_over: bool) -> Result<AdminSocket, Obstacle> {
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = fs::metadata(folder)?;
    // In a sticky one only who made a file may replace it. Whether others may write to ours or root's is told by `harden`.
    if folder.mode() & os::STICKY == 0 && ![os::effective_uid(), os::ROOT].contains(&folder.uid()) {
        return Err(Obstacle::Folder(folder.uid()));
    }
    make_way(path, takes_over)?;
    let beside = beside(path);
    // Only an earlier process of this very number could have left it.
    let _ = fs::remove_file(&beside);
    let listener = UnixListener::bind(&beside)?;
    let file = SocketFile { identity: identity(&beside)?, path: beside, ours: Mutex::new(true) };
    fs::set_permissions(&file.path, Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    Ok(AdminSocket { listener, file, path: path.to_owned() })
}

/// Where a socket is made that is to have this name: in the same folder, so that it can be renamed.
fn beside(path: &Path) -> PathBuf {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}", process::id()));
    beside.into()
}

/// Whether the name is free, or held by a socket that is ours and dead, or whose owner is taken over from.
fn make_way(path: &Path, takes_over: bool) -> Result<(), Obstacle> {
    let found = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        found => found?,
    };
    if !found.file_type().is_socket() {
        return Err(Obstacle::NotASocket);
    }
    if found.uid() != os::effective_uid() {
        return Err(Obstacle::Foreign(found.uid()));
    }
    match os::connect_at_once(path) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(()),
        Err(error) if error.kind() == ErrorKind::WouldBlock && takes_over => Ok(()),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Err(Obstacle::Silent),
        Err(error) => Err(error.into()),
        Ok(_) if takes_over => Ok(()),
        Ok(_) => Err(Obstacle::Alive),
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|found| (found.dev(), found.ino()))
}

impl SocketFile {
    /// Leaves the name to a successor.
    pub(super) fn give_up(&self) {
        *self.lock() = false;
    }

    /// Keeps the name after all: the successor did not come to take it.
    pub(super) fn keep(&self) {
        *self.lock() = true;
    }

    /// Takes the name away, unless it is somebody else's by now.
    pub(super) fn remove(&self) {
        // Whoever gives the name up at this moment waits: what is looked at here is still true when the name is removed.
        let mut ours = self.lock();
        if mem::take(&mut *ours) && identity(&self.path).is_ok_and(|found| found == self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        self.ours.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        self.remove();
    }
}

impl fmt::Display for SocketFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.display().fmt(f)
    }
}

impl From<io::Error> for Obstacle {
    fn from(error: io::Error) -> Self {
        Self::Kernel(error)
    }
}

impl fmt::Display for SocketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, what } = self;
        write!(f, "admin.socket: {} cannot be made: ", path.display())?;
        match what {
            Obstacle::NotASocket => write!(f, "something that is no socket has this name; choose another, or remove it"),
            Obstacle::Foreign(uid) => write!(f, "a socket of uid {uid} has this name; choose a folder that only Postern may write to"),
            Obstacle::Folder(uid) => write!(
                f,
                "its folder belongs to uid {uid}, expected this user or root, or a sticky folder; choose a folder that only Postern may write to"
            ),
            Obstacle::Alive => write!(f, "another process answers there; stop it, or choose another name"),
            Obstacle::Silent => {
                write!(
                    f,
                    "a process listens there and does not answer; if it is stopped, let it go on (CONT) or kill it, or choose another name"
                )
            }
            Obstacle::Kernel(error) => write!(f, "{error}; its folder must exist, and this user must be able to write to it"),
        }
    }
}

impl std::error::Error for SocketError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(path: &Path) -> AdminSocket {
        let mut socket = AdminSocket::bind(path, false).unwrap();
        socket.publish().unwrap();
        socket
    }

    #[test]
    fn the_socket_is_its_owners_alone_and_leaves_with_its_daemon() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        let socket = named(&path);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "the temporary name is gone");
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn a_socket_that_was_left_behind_is_replaced_and_a_living_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "a listener of the standard library leaves its file behind");
        let alive = named(&path);
        let refusal = AdminSocket::bind(&path, false).unwrap_err().to_string();
        assert!(refusal.contains("another process answers there"), "{refusal}");
        drop(alive);
    }

    #[test]
    fn a_socket_whose_process_is_stopped_is_neither_waited_for_nor_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        let (_listener, _waiting) = os::stopped_listener(&path);
        let refusal = AdminSocket::bind(&path, false).unwrap_err().to_string();
        assert!(refusal.contains("does not answer; if it is stopped, let it go on (CONT) or kill it"), "{refusal}");
        assert!(AdminSocket::bind(&path, true).is_ok(), "its owner has given it up");
    }

    #[test]
    fn what_is_no_socket_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        fs::write(&path, "precious").unwrap();
        let refusal = AdminSocket::bind(&path, false).unwrap_err().to_string();
        assert!(refusal.contains("no socket"), "{refusal}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        let nowhere = AdminSocket::bind(&dir.path().join("none/admin.sock"), false).unwrap_err().to_string();
        assert!(nowhere.contains("its folder must exist"), "{nowhere}");
    }

    #[test]
    fn a_successors_socket_is_not_taken_away() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        let old = named(&path);
        let mut new = AdminSocket::bind(&path, true).unwrap();
        new.publish().unwrap();
        drop(old);
        assert!(path.exists());
    }

    #[test]
    fn until_a_successor_takes_the_name_it_is_the_predecessors_and_nothing_is_left_of_one_that_fails() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        let old = named(&path);
        // What a successor of this very number left behind when it was killed.
        drop(UnixListener::bind(beside(&path)).unwrap());
        let failing = AdminSocket::bind(&path, true).unwrap();
        assert_eq!(identity(&path).unwrap(), old.file.identity);
        drop(failing);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert_eq!(identity(&path).unwrap(), old.file.identity);
    }

    #[test]
    fn a_name_that_was_given_up_stays_for_whoever_takes_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        let old = named(&path);
        old.file.give_up();
        drop(old);
        assert!(path.exists(), "a successor may take it at any moment: looking first would be too early");
    }
}
