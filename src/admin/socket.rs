//! The admin socket: a Unix socket for its owner and root, where sessions can be seen and ended.

use std::io;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy, sink};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};

use super::handover::{cancel_for_successor, hand_over};
use super::health::BackendState;
use super::protocol::{Body, Fault, FaultCode, LONGEST_REQUEST, Reply, Request, VERSION};
use super::socket_file::SocketFile;
use super::verbs::{Peer, Tools, carry_out, forbidden, may_ask, refused, report};
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

/// Serves the socket's connections for as long as it is polled.
pub(super) async fn serve(listener: UnixListener, file: Arc<SocketFile>, view: Arc<View>, backend: watch::Receiver<BackendState>) {
    let room = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        // The semaphore is never closed.
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let (file, view, backend) = (Arc::clone(&file), Arc::clone(&view), backend.clone());
                tokio::spawn(async move {
                    converse(stream, &file, &view, &backend).await;
                    drop(place);
                });
            }
            Err(_) => sleep(BACK_OFF).await,
        }
    }
}

/// Reads a request, carries it out, records it and replies. Whoever is not there to hear the reply has been served all the same.
async fn converse(mut stream: UnixStream, file: &SocketFile, view: &View, backend: &watch::Receiver<BackendState>) {
    let Ok(credentials) = stream.peer_cred() else { return };
    let peer = Peer { uid: credentials.uid(), pid: credentials.pid() };
    let mut waits = false;
    let (body, report) = if may_ask(peer.uid, os::effective_uid()) {
        match read_request(&mut stream).await {
            None => return,
            Some(Ok(Request::Handover)) => return succeed(stream, file, view, peer).await,
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
