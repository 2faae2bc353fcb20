//! The admin socket: a Unix socket for its owner and root, where sessions can be seen and ended.

use std::io;
use std::mem;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest, copy, sink};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{sleep, timeout};

use super::handover::{cancel_for_successor, hand_over};
use super::health::BackendState;
use super::protocol::{Body, Fault, FaultCode, LONGEST_REQUEST, Reply, Request, VERSION};
use super::socket_file::SocketFile;
use super::verbs::{Peer, Tools, carry_out, forbidden, may_ask, refused, report};
use super::view::View;
use crate::observe::{AdminReport, AdminResult, Event, harmless_json};
use crate::os;

/// How long a request may take to come, and its reply to be taken.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long, and how much, of what was not asked for is read and dropped.
const LINGER: Duration = Duration::from_millis(250);
const MOST_UNREAD: u64 = 64 * 1024;
/// Connections at once; whoever comes then waits for one of them to end.
const MOST_CONNECTIONS: usize = 16;
/// Processes that may wait for the daemon's end.
const MOST_WAITING: usize = 16;
/// How often is looked whether one of them has gone that has closed its half of the connection.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// The pause after an accept(2) that failed.
const BACK_OFF: Duration = Duration::from_millis(50);

/// Serves the socket's connections for as long as it is polled.
pub(super) async fn serve(listener: UnixListener, file: Arc<SocketFile>, view: Arc<View>, backend: watch::Receiver<BackendState>) {
    let room = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let counter = Arc::new(Counter { file, view, backend, benches: Arc::new(Semaphore::new(MOST_WAITING)) });
    loop {
        // The semaphore is never closed.
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let counter = Arc::clone(&counter);
                tokio::spawn(async move { counter.converse(stream, place).await });
            }
            Err(_) => sleep(BACK_OFF).await,
        }
    }
}

/// Where everybody is served.
struct Counter {
    file: Arc<SocketFile>,
    view: Arc<View>,
    backend: watch::Receiver<BackendState>,
    /// For those who wait for the daemon's end: they keep nobody from asking.
    benches: Arc<Semaphore>,
}

impl Counter {
    /// Reads a request, carries it out, records it and replies. Whoever is not there to hear the reply has been served all the same.
    async fn converse(&self, mut stream: UnixStream, place: OwnedSemaphorePermit) {
        let Ok(credentials) = stream.peer_cred() else { return };
        let peer = Peer { uid: credentials.uid(), pid: credentials.pid() };
        let mut bench = None;
        let (body, report) = if may_ask(peer.uid, os::effective_uid()) {
            match read_request(&mut stream).await {
                None => return,
                Some(Ok(Request::Handover)) => return succeed(stream, &self.file, &self.view, peer).await,
                Some(Ok(request @ Request::Drain { wait: true })) => match Arc::clone(&self.benches).try_acquire_owned() {
                    Ok(free) => {
                        bench = Some(free);
                        self.carry_out(&request, peer).await
                    }
                    Err(_) => busy(&request, peer),
                },
                Some(Ok(request)) => self.carry_out(&request, peer).await,
                Some(Err(fault)) => refused(peer, fault),
            }
        } else {
            forbidden(peer)
        };
        self.view.observers.emit(&Event::AdminHandled(&report));
        let _ = timeout(PATIENCE, reply(&mut stream, body)).await;
        if let Some(bench) = bench {
            drop(place);
            return wait_for_the_end(stream, bench).await;
        }
        let _ = stream.shutdown().await;
        // A socket that is closed with unread bytes is a reset to its peer, who may then never read the reply.
        let _ = timeout(LINGER, copy(&mut stream.take(MOST_UNREAD), &mut sink())).await;
    }

    async fn carry_out(&self, request: &Request, peer: Peer) -> (Body, AdminReport) {
        let Self { view, backend, .. } = self;
        let tools = Tools { sessions: &view.sessions, reload: &view.desk, leave: &view.leave };
        carry_out(request, peer, tools, || view.status(&backend.borrow().clone())).await
    }
}

/// What is said to one more who would wait than may.
fn busy(request: &Request, peer: Peer) -> (Body, AdminReport) {
    let message = format!("found {MOST_WAITING} processes that wait for the end already, expected fewer; ask without wait");
    (Body::Error(Fault { code: FaultCode::Busy, message }), report(peer, Some(request), AdminResult::Failed, 0))
}

/// Keeps the connection until its peer has gone, or else beyond this task and its runtime: the kernel closes it when the process has
/// ended, and that is what the peer waits for.
async fn wait_for_the_end(mut stream: UnixStream, _bench: OwnedSemaphorePermit) {
    let mut kept = Kept(stream.as_fd().try_clone_to_owned().ok());
    let _ = copy(&mut stream, &mut sink()).await;
    // It says no more; it may listen all the same.
    while stream.ready(Interest::WRITABLE).await.is_ok_and(|ready| !ready.is_write_closed()) {
        sleep(LOOK_INTERVAL).await;
    }
    drop(kept.0.take());
}

/// A descriptor that is never closed, unless it is taken out.
struct Kept(Option<OwnedFd>);

impl Drop for Kept {
    fn drop(&mut self) {
        mem::forget(self.0.take());
    }
}

/// Gives a successor the listeners, and then is at its service.
async fn succeed(mut stream: UnixStream, file: &SocketFile, view: &View, peer: Peer) {
    let result = hand_over(&mut stream, peer.pid, file, view).await;
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
