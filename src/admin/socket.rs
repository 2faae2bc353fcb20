//! The admin socket: a Unix socket for its owner and root, where sessions can be seen and ended.

use std::fmt;
use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::mem;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener as StdListener, UnixStream as StdStream};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy, sink};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};

use super::handover::{cancel_for_successor, hand_over};
use super::health::BackendState;
use super::protocol::{Body, Fault, FaultCode, LONGEST_REQUEST, Reply, Request, VERSION};
use super::verbs::{Peer, ROOT, Tools, carry_out, forbidden, may_ask, refused, report};
use super::view::View;
use crate::observe::{AdminResult, Event, harmless_json};
use crate::os;

/// How long a request may take to come, and its reply to be taken.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long, and how much, of what was not asked for is read and dropped.
const LINGER: Duration = Duration::from_millis(250);
const MOST_UNREAD: u64 = 64 * 1024;
/// Connections at once; whoever comes then waits for one of them to end.
const MOST_CONNECTIONS: usize = 16;
/// The pause after an accept(2) that failed.
const BACK_OFF: Duration = Duration::from_millis(50);

/// A socket in the file system; the file leaves with it.
#[derive(Debug)]
pub(super) struct AdminSocket {
    pub(super) listener: StdListener,
    pub(super) file: SocketFile,
}

/// The name of a socket, as long as it is still that socket's.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
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
    /// Its folder is another user's, who can put anything in its place.
    Folder(u32),
    /// Somebody answers there.
    Alive,
    /// What the kernel said.
    Kernel(io::Error),
}

impl AdminSocket {
    /// Makes the socket with mode 0600. One that was left behind is replaced if it is ours and nobody answers, or who answers is taken
    /// over from.
    pub(super) fn bind(path: &Path, takes_over: bool) -> Result<Self, SocketError> {
        bind(path, takes_over).map_err(|what| SocketError { path: path.to_owned(), what })
    }
}

/// The name appears only once the mode is set: by rename(2), over what was left behind.
fn bind(path: &Path, takes_over: bool) -> Result<AdminSocket, Obstacle> {
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = fs::metadata(folder)?;
    if !is_trusted(folder.uid(), folder.mode(), os::effective_uid()) {
        return Err(Obstacle::Folder(folder.uid()));
    }
    make_way(path, takes_over)?;
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}", process::id()));
    let temporary = PathBuf::from(temporary);
    // Only an earlier process of this very number could have left it.
    let _ = fs::remove_file(&temporary);
    let listener = StdListener::bind(&temporary)?;
    let published = publish(&temporary, path).inspect_err(|_| drop(fs::remove_file(&temporary)))?;
    listener.set_nonblocking(true)?;
    Ok(AdminSocket { listener, file: published })
}

fn publish(temporary: &Path, path: &Path) -> io::Result<SocketFile> {
    fs::set_permissions(temporary, Permissions::from_mode(0o600))?;
    let identity = identity(temporary)?;
    fs::rename(temporary, path)?;
    Ok(SocketFile { path: path.to_owned(), identity })
}

/// Whether a folder of this owner and mode keeps what a daemon that runs as `own` puts there: it is ours or root's, or sticky, so that
/// only who made a file may replace it.
fn is_trusted(owner: u32, mode: u32, own: u32) -> bool {
    owner == own || owner == ROOT || mode & STICKY != 0
}

/// S_ISVTX (inode(7)).
const STICKY: u32 = 0o1000;

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
    match StdStream::connect(path) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(()),
        Err(error) => Err(error.into()),
        Ok(_) if takes_over => Ok(()),
        Ok(_) => Err(Obstacle::Alive),
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|found| (found.dev(), found.ino()))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|found| found == self.identity) {
            let _ = fs::remove_file(&self.path);
        }
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
            Obstacle::Folder(uid) => {
                write!(
                    f,
                    "its folder belongs to uid {uid}, expected this user or root, or a sticky folder; choose a folder that only Postern may write to"
                )
            }
            Obstacle::Alive => write!(f, "another process answers there; stop it, or choose another name"),
            Obstacle::Kernel(error) => write!(f, "{error}; its folder must exist, and this user must be able to write to it"),
        }
    }
}

impl std::error::Error for SocketError {}

/// Serves the socket's connections for as long as it is polled.
pub(super) async fn serve(listener: UnixListener, view: Arc<View>, backend: watch::Receiver<BackendState>) {
    let room = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        // The semaphore is never closed.
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let (view, backend) = (Arc::clone(&view), backend.clone());
                tokio::spawn(async move {
                    converse(stream, &view, &backend).await;
                    drop(place);
                });
            }
            Err(_) => sleep(BACK_OFF).await,
        }
    }
}

/// Reads a request, carries it out, records it and replies. Whoever is not there to hear the reply has been served all the same.
async fn converse(mut stream: UnixStream, view: &View, backend: &watch::Receiver<BackendState>) {
    let Ok(credentials) = stream.peer_cred() else { return };
    let peer = Peer { uid: credentials.uid(), pid: credentials.pid() };
    let mut waits = false;
    let (body, report) = if may_ask(peer.uid, os::effective_uid()) {
        match read_request(&mut stream).await {
            None => return,
            Some(Ok(Request::Handover)) => return succeed(stream, view, peer).await,
            Some(Ok(request)) => {
                waits = matches!(request, Request::Drain { wait: true });
                let tools = Tools { sessions: &view.sessions, reload: &view.desk, leave: &view.leave };
                carry_out(&request, peer, tools, || view.status(&backend.borrow().clone())).await
            }
            Some(Err(fault)) => refused(peer, fault),
        }
    } else {
        forbidden(peer)
    };
    view.observers.emit(&Event::AdminHandled(&report));
    let _ = timeout(PATIENCE, reply(&mut stream, body)).await;
    if waits {
        // The kernel closes it when this process has ended, and that is what its peer waits for.
        mem::forget(stream.into_std());
        return;
    }
    let _ = stream.shutdown().await;
    // A socket that is closed with unread bytes is a reset to its peer, who may then never read the reply.
    let _ = timeout(LINGER, copy(&mut stream.take(MOST_UNREAD), &mut sink())).await;
}

/// Gives a successor the listeners, and then is at its service.
async fn succeed(mut stream: UnixStream, view: &View, peer: Peer) {
    let result = hand_over(&mut stream, view).await;
    view.observers.emit(&Event::AdminHandled(&report(peer, Some(&Request::Handover), result, view.sessions.list().len())));
    if result == AdminResult::Done {
        // An error is its end, or nonsense: nothing is passed on any more.
        let _ = cancel_for_successor(stream, view).await;
    }
}

async fn reply(stream: &mut UnixStream, body: Body) -> io::Result<()> {
    let json = serde_json::to_string(&Reply { v: VERSION, body }).unwrap_or_default();
    stream.write_all((harmless_json(&json) + "\n").as_bytes()).await
}

/// A line, or what is wrong with it; `None` if nothing came at all.
async fn read_request(stream: &mut UnixStream) -> Option<Result<Request, Fault>> {
    let mut line = Vec::new();
    let read = timeout(PATIENCE, read_line(stream, &mut line)).await;
    if line.is_empty() {
        return None;
    }
    let too_long = |message: String| Some(Err(Fault { code: FaultCode::TooLong, message }));
    match read {
        Ok(Ok(true)) => Some(Request::parse(&line)),
        Ok(Ok(false)) => too_long(format!("found more than {LONGEST_REQUEST} bytes, expected a request in one line")),
        Ok(Err(_)) => None,
        Err(_) => too_long(format!("found no end of line within {} s, expected a request in one line", PATIENCE.as_secs())),
    }
}

/// Whether a line has come whole, with its newline or the end of what is sent.
async fn read_line(stream: &mut UnixStream, line: &mut Vec<u8>) -> io::Result<bool> {
    let mut limited = stream.take(u64::try_from(LONGEST_REQUEST).unwrap_or(u64::MAX));
    while limited.read_buf(line).await? > 0 {
        if let Some(end) = line.iter().position(|byte| *byte == b'\n') {
            line.truncate(end);
            return Ok(true);
        }
    }
    Ok(limited.limit() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_is_its_owners_alone_and_leaves_with_its_daemon() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        let socket = AdminSocket::bind(&path, false).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "the temporary name is gone");
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn a_folder_of_somebody_elses_is_trusted_only_where_it_is_sticky() {
        const POSTERN: u32 = 990;
        for (owner, mode, trusted) in [
            (POSTERN, 0o40755, true),
            (ROOT, 0o40755, true),
            (ROOT, 0o41777, true),
            (991, 0o40755, false),
            (991, 0o40777, false),
            (991, 0o41777, true),
        ] {
            assert_eq!(is_trusted(owner, mode, POSTERN), trusted, "{mode:o} of {owner}");
        }
    }

    #[test]
    fn a_socket_that_was_left_behind_is_replaced_and_a_living_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        drop(StdListener::bind(&path).unwrap());
        assert!(path.exists(), "a listener of the standard library leaves its file behind");
        let alive = AdminSocket::bind(&path, false).unwrap();
        let refusal = AdminSocket::bind(&path, false).unwrap_err().to_string();
        assert!(refusal.contains("another process answers there"), "{refusal}");
        drop(alive);
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
        let old = AdminSocket::bind(&path, false).unwrap();
        let _new = AdminSocket::bind(&path, true).unwrap();
        drop(old);
        assert!(path.exists());
    }
}
