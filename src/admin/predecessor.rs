//! The daemon that runs already, as the process sees it that takes over from it.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdStream;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::handover::{CancelAnswer, CancelLine, LONGEST_LINE, Left, Serving, line};
use super::protocol::{Body, Fault, Reply, Request};
use crate::listen::adopt;
use crate::observe::CancelResult;
use crate::os;
use crate::session::PassedCancel;
use crate::wire::CancelRequest;

/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A running daemon that has given its listeners, and serves until it is told that somebody else does.
#[derive(Debug)]
pub struct Incumbent {
    path: PathBuf,
    stream: StdStream,
    pid: Option<i32>,
    listeners: Vec<TcpListener>,
}

/// One that has said that it leaves.
#[derive(Debug)]
pub struct Relieved {
    stream: BufReader<UnixStream>,
    pid: Option<i32>,
}

/// Why it gives nothing.
#[derive(Debug)]
pub struct HandoverError {
    path: PathBuf,
    what: Obstacle,
}

#[derive(Debug)]
enum Obstacle {
    /// It runs as somebody else.
    Foreign { found: u32, expected: u32 },
    /// It says why not.
    Refused(Fault),
    /// It says nothing.
    Silent,
    /// What came is no answer.
    Answer(String),
    /// What the kernel said.
    Kernel(io::Error),
}

impl Incumbent {
    /// Asks the daemon behind an admin socket for its listeners; `None` if nobody is there. It must run as `uid`, whom this process is
    /// going to be: else whoever can make a socket of that name could give us a listener of their own.
    ///
    /// # Errors
    /// It is somebody else's, or gives nothing.
    pub fn ask(path: &Path, uid: u32) -> Result<Option<Self>, HandoverError> {
        ask(path, uid).map_err(|what| HandoverError { path: path.to_owned(), what })
    }

    /// The listener of an address, if it has one.
    pub fn take(&mut self, address: SocketAddr) -> Option<TcpListener> {
        let found = self.listeners.iter().position(|listener| listener.local_addr().is_ok_and(|own| own == address))?;
        Some(self.listeners.swap_remove(found))
    }

    /// Tells it that this process can serve, and waits for its word that it leaves. `None` if it has ended meanwhile: nobody else serves
    /// then, and what it gave is here. Within a runtime.
    ///
    /// # Errors
    /// It has not said so: it may have given this process up, and go on serving.
    pub async fn relieve(self) -> io::Result<Option<Relieved>> {
        let Self { path, stream, pid, listeners } = self;
        drop(listeners);
        stream.set_nonblocking(true)?;
        let mut stream = BufReader::new(UnixStream::from_std(stream)?);
        // Who does not take it is found out by what is read.
        let _ = stream.write_all(&line(&Serving { serving: true })).await;
        let mut said = Vec::new();
        let read = timeout(PATIENCE, (&mut stream).take(LONGEST_LINE).read_until(b'\n', &mut said)).await?;
        if read.is_err() || said.is_empty() {
            return if is_deserted(&path) { Ok(None) } else { Err(ErrorKind::UnexpectedEof.into()) };
        }
        match serde_json::from_slice(&said) {
            Ok(Left { leaving: true }) => Ok(Some(Relieved { stream, pid })),
            Ok(Left { leaving: false }) | Err(_) => Err(refusal(&said)),
        }
    }
}

/// Whether nobody answers at an admin socket.
fn is_deserted(path: &Path) -> bool {
    os::connect_at_once(path).is_err_and(|error| matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused))
}

/// What it says instead.
fn refusal(said: &[u8]) -> io::Error {
    match serde_json::from_slice(said) {
        Ok(Reply { body: Body::Error(fault), .. }) => io::Error::other(fault.to_string()),
        Ok(_) => ErrorKind::InvalidData.into(),
        Err(error) => error.into(),
    }
}

impl Relieved {
    /// Its process ID, if the kernel knows one.
    pub fn pid(&self) -> Option<i32> {
        self.pid
    }

    /// Passes on the CancelRequests that are for its sessions, until it has ended.
    ///
    /// # Errors
    /// It has gone already, which is no harm.
    pub async fn pass_on(self, calls: mpsc::Receiver<PassedCancel>) -> io::Result<()> {
        // It says nothing unasked: nothing is buffered.
        let (said, link) = self.stream.into_inner().into_split();
        let waiting = Waiting::default();
        // Either ends with the link, and what is lost of the other is lost with it.
        tokio::select! {
            ended = pass(calls, link, &waiting) => ended,
            ended = hear(BufReader::new(said), &waiting) => ended,
        }
    }
}

/// Those who wait for an answer, by what it is known by.
type Waiting = Mutex<HashMap<u64, oneshot::Sender<CancelResult>>>;

async fn pass(mut calls: mpsc::Receiver<PassedCancel>, mut link: OwnedWriteHalf, waiting: &Waiting) -> io::Result<()> {
    let mut id = 0_u64;
    while let Some(PassedCancel { request: CancelRequest { pid, key }, names, reply }) = calls.recv().await {
        // Whoever has given up would no longer mean what runs by now.
        if reply.is_closed() {
            continue;
        }
        id = id.wrapping_add(1);
        {
            let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.retain(|_, reply| !reply.is_closed());
            waiting.insert(id, reply);
        }
        let names = names.map(|names| names.into_iter().map(|(kind, name)| (kind.word().to_owned(), name)).collect());
        link.write_all(&line(&CancelLine { id, pid, key: key.as_bytes().to_vec(), names })).await?;
    }
    Ok(())
}

async fn hear(mut said: BufReader<OwnedReadHalf>, waiting: &Waiting) -> io::Result<()> {
    loop {
        let mut answer = Vec::new();
        if (&mut said).take(LONGEST_LINE).read_until(b'\n', &mut answer).await? == 0 {
            return Ok(());
        }
        let CancelAnswer { id, result } = serde_json::from_slice(&answer)?;
        let result = CancelResult::ALL.into_iter().find(|known| known.code() == result).unwrap_or(CancelResult::UnknownKey);
        if let Some(reply) = waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&id) {
            // Whoever has left is not told.
            let _ = reply.send(result);
        }
    }
}

fn ask(path: &Path, uid: u32) -> Result<Option<Incumbent>, Obstacle> {
    let mut stream = match os::connect_at_once(path) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => return Ok(None),
        stream => stream?,
    };
    let peer = os::Peer::of(&stream)?;
    if peer.uid != uid {
        return Err(Obstacle::Foreign { found: peer.uid, expected: uid });
    }
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(Request::Handover.line().as_bytes())?;
    let (mut said, mut descriptors) = (Vec::new(), Vec::new());
    while said.last() != Some(&b'\n') {
        let mut bytes = [0; 4096];
        let (length, more) = os::receive_with_descriptors(&stream, &mut bytes)?;
        descriptors.extend(more);
        said.extend_from_slice(bytes.get(..length).unwrap_or_default());
        if length == 0 || said.len() > usize::try_from(LONGEST_LINE).unwrap_or(usize::MAX) {
            return Err(Obstacle::Answer("it ended before its answer did".to_owned()));
        }
    }
    let reply: Reply = serde_json::from_slice(&said).map_err(|error| Obstacle::Answer(error.to_string()))?;
    match reply.body {
        Body::Handover(addresses) => {
            Ok(Some(Incumbent { path: path.to_owned(), stream, pid: peer.pid, listeners: listening(descriptors, &addresses)? }))
        }
        Body::Error(fault) => Err(Obstacle::Refused(fault)),
        Body::Status(_) | Body::Sessions(_) | Body::Killed(_) | Body::Reload(_) | Body::Drain(_) => {
            Err(Obstacle::Answer("it answers another question".to_owned()))
        }
    }
}

/// Each must listen by TCP: what it is, is the kernel's word, not its giver's.
fn listening(descriptors: Vec<OwnedFd>, addresses: &[String]) -> Result<Vec<TcpListener>, Obstacle> {
    if descriptors.len() != addresses.len() {
        return Err(Obstacle::Answer(format!("it names {} listeners and passes {}", addresses.len(), descriptors.len())));
    }
    let adopted = descriptors.into_iter().zip(addresses).map(|(descriptor, address)| {
        adopt(descriptor.into()).map_err(|error| Obstacle::Answer(format!("{error} for {address}, expected one that listens by TCP")))
    });
    adopted.collect()
}

impl From<io::Error> for Obstacle {
    fn from(error: io::Error) -> Self {
        // What connect(2) says where too many wait already, and read(2) once our patience is over.
        let is_silence = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
        if is_silence { Self::Silent } else { Self::Kernel(error) }
    }
}

impl fmt::Display for HandoverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, what } = self;
        write!(f, "admin.socket: the daemon at {} does not hand over: ", path.display())?;
        match what {
            Obstacle::Foreign { found, expected } => {
                write!(f, "it runs as uid {found}, and this one is going to be uid {expected}; stop it, and start without --handover")
            }
            Obstacle::Refused(fault) => write!(f, "{fault}; wait for its end, or stop it, and start without --handover"),
            Obstacle::Silent => {
                write!(f, "it does not answer; if it is stopped, let it go on (CONT) or kill it, and start without --handover")
            }
            Obstacle::Answer(what) => write!(f, "its answer cannot be understood ({what}); is it of another version?"),
            Obstacle::Kernel(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for HandoverError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::CancelKey;

    #[tokio::test]
    async fn only_a_daemon_that_says_that_it_leaves_or_has_ended_is_relieved() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        let relieve = async |answer: &str| {
            let (stream, mut other) = StdStream::pair().unwrap();
            other.write_all(answer.as_bytes()).unwrap();
            other.shutdown(std::net::Shutdown::Write).unwrap();
            Incumbent { path: path.clone(), stream, pid: Some(7), listeners: Vec::new() }.relieve().await
        };
        assert_eq!(relieve("{\"leaving\":true}\n").await.unwrap().unwrap().pid(), Some(7));
        assert!(relieve("").await.unwrap().is_none(), "nobody answers at its socket");
        let _alive = std::os::unix::net::UnixListener::bind(&path).unwrap();
        for answer in ["", "{\"leaving\":false}\n", "leaving\n"] {
            assert!(relieve(answer).await.is_err(), "{answer}");
        }
        let refused = relieve("{\"v\":1,\"error\":{\"code\":\"too_long\",\"message\":\"too late\"}}\n").await;
        assert_eq!(refused.unwrap_err().to_string(), "too late");
    }

    #[test]
    fn a_daemon_that_is_stopped_is_not_waited_for_and_the_message_says_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        let (_listener, _waiting) = os::stopped_listener(&path);
        let refusal = Incumbent::ask(&path, os::effective_uid()).unwrap_err().to_string();
        assert!(refusal.contains("it does not answer; if it is stopped, let it go on (CONT) or kill it"), "{refusal}");
        assert!(!is_deserted(&path));
    }

    #[tokio::test]
    async fn an_answer_that_takes_its_time_holds_up_no_other() {
        let (stream, other) = StdStream::pair().unwrap();
        stream.set_nonblocking(true).unwrap();
        let relieved = Relieved { stream: BufReader::new(UnixStream::from_std(stream).unwrap()), pid: None };
        let (ask, calls) = mpsc::channel(4);
        let passing = tokio::spawn(relieved.pass_on(calls));
        let outcomes = [7, 8].map(|pid| {
            let (reply, outcome) = oneshot::channel();
            let request = CancelRequest { pid, key: CancelKey::new(&[1, 2, 3, 4]).unwrap() };
            ask.try_send(PassedCancel { request, names: None, reply }).unwrap();
            outcome
        });
        other.set_nonblocking(true).unwrap();
        let mut other = BufReader::new(UnixStream::from_std(other).unwrap());
        let mut ids = Vec::new();
        for pid in [7, 8] {
            let mut said = Vec::new();
            other.read_until(b'\n', &mut said).await.unwrap();
            let CancelLine { id, pid: asked, .. } = serde_json::from_slice(&said).unwrap();
            assert_eq!(asked, pid);
            ids.push(id);
        }
        for (id, result) in ids.into_iter().rev().zip(["forwarded", "unknown_key"]) {
            other.write_all(&line(&CancelAnswer { id, result: result.to_owned() })).await.unwrap();
        }
        let [first, second] = outcomes;
        assert_eq!((first.await, second.await), (Ok(CancelResult::UnknownKey), Ok(CancelResult::Forwarded)));
        drop(other);
        assert!(passing.await.unwrap().is_ok(), "its end ends it");
    }
}
