//! A successor takes the listeners over: what the process that drains gives it, and does for it until it has ended.
//!
//! ```text
//! successor    {"v":1,"verb":"handover"}
//! we           {"v":1,"handover":["127.0.0.1:5432"]}            with a descriptor for each, in this order
//! successor    {"serving":true}                                once it can take connections; until then nothing has changed here
//! we           {"leaving":true}                                it takes them from now on
//! successor    {"id":0,"pid":7,"key":[1,2,3,4],"names":null}    a CancelRequest whose key it does not know
//! we           {"id":0,"result":"forwarded"}                   each when it is known, in any order
//! ```
//!
//! The queue of each listener is the kernel's, one for both processes: no connection is lost between them.

use std::collections::BTreeMap;
use std::io;
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader, Interest};
use tokio::net::UnixStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::desk::Leaving;
use super::protocol::{Body, Fault, FaultCode, Reply, VERSION};
use super::socket_file::SocketFile;
use super::view::View;
use crate::identity::ClientName;
use crate::observe::{AdminResult, harmless_json};
use crate::os;
use crate::session::{Names, cancel_passed};
use crate::wire::{CancelKey, CancelRequest};

/// How long a successor may take from being given the listeners to serving: it reads its files meanwhile.
const PATIENCE: Duration = Duration::from_secs(120);
/// The longest that a successor says once it serves, in bytes.
const LONGEST_ANSWER: usize = 64;
/// CancelRequests of a successor that are carried out at once.
const MOST_UNDER_WAY: usize = 64;
/// The longest line, in bytes.
pub(super) const LONGEST_LINE: u64 = 64 * 1024;

/// The listeners that a successor is given, until they are closed.
#[derive(Clone, Debug, Default)]
pub struct Listeners {
    open: Arc<Mutex<Vec<TcpListener>>>,
    /// Held by the successor that is being given them: there is one.
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl Listeners {
    /// These.
    pub fn new(listeners: Vec<TcpListener>) -> Self {
        Self { open: Arc::new(Mutex::new(listeners)), turn: Arc::default() }
    }

    /// Gives none any more.
    pub fn close(&self) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn lend(&self) -> io::Result<Vec<TcpListener>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).iter().map(TcpListener::try_clone).collect()
    }
}

/// What a successor says once it can take connections.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Serving {
    pub(super) serving: bool,
}

/// What it is told then. A successor that does not hear it may have come too late, and must not serve beside us.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Left {
    pub(super) leaving: bool,
}

/// A CancelRequest that a successor passes on.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CancelLine {
    /// What its answer is known by.
    pub(super) id: u64,
    pub(super) pid: u32,
    pub(super) key: Vec<u8>,
    /// By the word of their kind, as `CN`; null if no certificate came with it.
    pub(super) names: Option<BTreeMap<String, String>>,
}

/// What became of it.
#[derive(Serialize, Deserialize)]
pub(super) struct CancelAnswer {
    pub(super) id: u64,
    pub(super) result: String,
}

/// Gives the listeners to who asks. Once it serves this daemon leaves, and until then it goes on as if nobody had asked.
pub(super) async fn hand_over(stream: &mut UnixStream, to: Option<i32>, file: &SocketFile, view: &View) -> AdminResult {
    let turn = view.listeners.turn.try_lock();
    let listeners = match view.listeners.lend() {
        _ if turn.is_err() => Err("another process is taking over at this moment".to_owned()),
        Ok(listeners) if listeners.is_empty() => Err("the daemon was told to stop, and has no listener any more".to_owned()),
        Ok(listeners) => Ok(listeners),
        Err(error) => Err(format!("the listeners cannot be passed: {error}")),
    };
    let outcome = match listeners {
        Ok(listeners) => give(stream, &listeners).await.map_err(|error| format!("the listeners cannot be passed: {error}")),
        Err(message) => Err(message),
    };
    if let Err(message) = outcome {
        return refuse(stream, FaultCode::Draining, message).await;
    }
    let Ok(said) = timeout(PATIENCE, read_line_alone(stream)).await else {
        let message = format!("found no word within {} s that the successor serves", PATIENCE.as_secs());
        return refuse(stream, FaultCode::TooLong, message).await;
    };
    if !serde_json::from_slice(&said).is_ok_and(|Serving { serving }| serving) {
        return refuse(stream, FaultCode::Malformed, "expected {\"serving\":true}".to_owned()).await;
    }
    // The successor takes it when it hears the answer.
    file.give_up();
    // One that is gone by then serves nobody: so we go on.
    if stream.write_all(&line(&Left { leaving: true })).await.is_err() {
        file.keep();
        return AdminResult::Failed;
    }
    view.leave.ask(Leaving::HandedOver { to });
    AdminResult::Done
}

/// Goes on as if nobody had asked, and says so: a successor that hears nothing takes this process for dead.
async fn refuse(stream: &mut UnixStream, code: FaultCode, message: String) -> AdminResult {
    let body = Body::Error(Fault { code, message });
    let _ = stream.write_all(&line(&Reply { v: VERSION, body })).await;
    AdminResult::Failed
}

/// A line, and not one byte behind it: a cancel may follow at once, and is another's to read. What has no end within its length is no line.
async fn read_line_alone(stream: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut said = Vec::new();
    while said.len() < LONGEST_ANSWER {
        match stream.read_u8().await {
            Ok(b'\n') => return said,
            Ok(byte) => said.push(byte),
            Err(_) => break,
        }
    }
    Vec::new()
}

async fn give(stream: &UnixStream, listeners: &[TcpListener]) -> io::Result<()> {
    let addresses = listeners.iter().map(|listener| Ok(listener.local_addr()?.to_string())).collect::<io::Result<Vec<_>>>()?;
    let bytes = line(&Reply { v: VERSION, body: Body::Handover(addresses) });
    let descriptors: Vec<_> = listeners.iter().map(AsFd::as_fd).collect();
    let sent = stream.async_io(Interest::WRITABLE, || os::send_with_descriptors(stream, &bytes, &descriptors)).await?;
    // An empty socket takes a line of this length at once.
    if sent == bytes.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

/// Carries out what the successor passes on, for as long as both live: none waits for another, since a backend may take seconds.
pub(super) async fn cancel_for_successor(stream: UnixStream, view: &View) -> io::Result<()> {
    let (said, answers) = stream.into_split();
    let (mut said, answers) = (BufReader::new(said), Arc::new(tokio::sync::Mutex::new(answers)));
    let mut under_way = JoinSet::new();
    loop {
        let mut line_said = Vec::new();
        if (&mut said).take(LONGEST_LINE).read_until(b'\n', &mut line_said).await? == 0 {
            return Ok(());
        }
        let CancelLine { id, pid, key, names } = serde_json::from_slice(&line_said)?;
        let request = CancelRequest { pid, key: CancelKey::new(&key).ok_or(io::ErrorKind::InvalidData)? };
        let kind = |word: &str| ClientName::ALL.into_iter().find(|kind| kind.word() == word);
        let known = |(word, name): (String, String)| kind(&word).map(|kind| (kind, name));
        let names = names.map(|names| names.into_iter().filter_map(known).collect::<Names>());
        let (sessions, answers) = (Arc::clone(&view.sessions), Arc::clone(&answers));
        while under_way.try_join_next().is_some() {}
        if under_way.len() >= MOST_UNDER_WAY {
            let _ = under_way.join_next().await;
        }
        under_way.spawn(async move {
            let result = cancel_passed(&sessions, &request, names.as_ref()).await.code().to_owned();
            // A successor that has gone is noticed where it is read from.
            let _ = answers.lock().await.write_all(&line(&CancelAnswer { id, result })).await;
        });
    }
}

/// A line of JSON.
pub(super) fn line(value: &impl Serialize) -> Vec<u8> {
    // Numbers and text are always JSON.
    (harmless_json(&serde_json::to_string(value).unwrap_or_default()) + "\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_cancel_that_follows_at_once_is_left_to_who_reads_next() {
        let mut both: &[u8] = b"{\"serving\":true}\n{\"pid\":7}\n";
        assert_eq!(read_line_alone(&mut both).await, b"{\"serving\":true}");
        assert_eq!(both, b"{\"pid\":7}\n");
        let mut endless: &[u8] = &[b'x'; 1000];
        assert!(read_line_alone(&mut endless).await.is_empty());
        assert!(read_line_alone(&mut &b"{\"serving\":true}"[..]).await.is_empty(), "cut short");
    }
}
