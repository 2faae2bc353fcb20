//! One connection, from accept to its record. Each stage is a type that holds what is known by then; moving on consumes it.
//!
//! ```text
//! [Fronted --introduce-->] Accepted --negotiate--> Encrypting --handshake--> TlsEstablished --read_startup--> Started --authorize--> Authorized
//!          --connect--> Connecting --log_in--> Connected --pipe--> Relay
//! ```
//!
//! A stage that refuses yields a [`Rejected`]: the cause, and the only handle that can still write to the client.

mod accepted;
mod answer;
mod arrival;
mod authorize;
mod call_off;
mod cancel;
mod closing;
mod fronted;
mod handshake;
mod judge;
mod leave;
mod live;
mod login;
mod lost;
mod notice;
mod panics;
mod password;
mod pipe;
mod predecessor;
mod prefixed;
mod registry;
mod relay;
mod reply;
mod startup;
mod surroundings;
mod timers;
mod wall_clock;

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

pub use arrival::{Door, House};
pub use call_off::CallOffs;
pub use judge::Judgement;
pub use leave::ask_all_to_leave;
pub use live::{Activity, LiveSession};
pub use lost::watch_for_lost_clients;
pub use predecessor::{Names, PassedCancel, Predecessor, cancel_passed};
pub use registry::{SessionTotals, Sessions};
pub use timers::watch_timers;
pub use wall_clock::WallClock;

use accepted::{Accepted, Negotiated};
use arrival::Arrival;
use authorize::Started;
use cancel::PendingCancel;
use fronted::{Fronted, Introduced};
use handshake::Encrypting;
use login::Connected;
use panics::poll_guarded;
use reply::Rejected;
use startup::Opening;

use crate::observe::{Event, RefusalReport};
use crate::tls::Acceptor;
use crate::types::PeerAddress;

/// A client's connection before TLS.
pub trait Transport: AsyncRead + AsyncWrite + Unpin + Send + Sync + 'static {
    /// Our end of it, in its canonical form; `None` where it is not TCP.
    fn local(&self) -> Option<SocketAddr>;

    /// Ready when the client has gone away, with nothing left to read. Takes no byte.
    fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()>;
}

impl Transport for TcpStream {
    fn local(&self) -> Option<SocketAddr> {
        self.local_addr().ok().map(|address| SocketAddr::new(address.ip().to_canonical(), address.port()))
    }

    fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        match ready!(self.poll_peek(cx, &mut ReadBuf::new(&mut [0]))) {
            // It has spoken already, and what comes behind that is not known yet.
            Ok(1..) => Poll::Pending,
            Ok(0) | Err(_) => Poll::Ready(()),
        }
    }
}

/// Serves one connection to its end, or until its session runs as a task of its own. It takes its place among those that wait at
/// once, so that the order of the calls is the order in which they give way.
pub fn serve<S: Transport>(stream: S, peer: PeerAddress, door: Arc<Door>) -> impl Future<Output = ()> + Send {
    let snapshot = door.snapshots.current();
    let arrival = Box::new(Arrival::new(peer, stream.local(), Arc::clone(snapshot.terms()), door));
    serve_arrival(stream, snapshot.tls().clone(), arrival)
}

async fn serve_arrival<S: Transport>(stream: S, acceptor: Acceptor, arrival: Box<Arrival>) {
    let (door, bare_trail) = (Arc::clone(&arrival.door), arrival.trail.clone());
    let mut serving = Box::pin(async {
        match establish(stream, acceptor, arrival).await {
            Ok(Outcome::Session(connected)) => connected.pipe(),
            Ok(Outcome::Cancel(pending)) => pending.carry_out().await,
            Ok(Outcome::Probe) => {}
            Err(rejected) => rejected.deliver().await,
        }
    });
    if let Err(error) = poll_fn(|cx| poll_guarded(&mut serving, cx)).await {
        // The stream was lost in the panic, and what was known of the connection with it.
        door.observers.emit(&Event::ConnectionRefused(&RefusalReport::untold(bare_trail, error.reason(), error.to_string())));
    }
}

/// What a connection turned out to be.
enum Outcome<S> {
    Session(Box<Connected<S>>),
    Cancel(PendingCancel<S>),
    Probe,
}

async fn establish<S: Transport>(stream: S, acceptor: Acceptor, arrival: Box<Arrival>) -> Result<Outcome<S>, Rejected<S>> {
    let accepted = if arrival.is_introduced() {
        Accepted::new(stream, arrival)
    } else {
        match Fronted::new(stream, arrival).introduce().await? {
            Introduced::Client(accepted) => accepted,
            Introduced::Probe => return Ok(Outcome::Probe),
        }
    };
    let encrypting = match accepted.negotiate().await? {
        Negotiated::Encrypt(encrypting) => encrypting,
        Negotiated::Cancel(pending) => return Ok(Outcome::Cancel(pending)),
        Negotiated::Probe => return Ok(Outcome::Probe),
    };
    let started = match Box::pin(open(encrypting, acceptor)).await? {
        Opening::Session(started) => started,
        Opening::Cancel(pending) => return Ok(Outcome::Cancel(pending)),
    };
    Ok(Outcome::Session(Box::pin(log_in(started)).await?))
}

/// The stages inside TLS. They and those below are boxed by their caller: a connection that has sent nothing yet does not hold the memory
/// that they will take.
async fn open<S: Transport>(encrypting: Encrypting<S>, acceptor: Acceptor) -> Result<Opening<S>, Rejected<S>> {
    encrypting.handshake(acceptor).await?.read_startup().await
}

/// The stages towards the backend.
async fn log_in<S: Transport>(started: Box<Started<S>>) -> Result<Box<Connected<S>>, Rejected<S>> {
    started.authorize().await?.connect().await?.log_in().await.map(Box::new)
}
