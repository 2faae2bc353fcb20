//! One connection, from accept to its record. Each stage is a type that holds what is known by then; moving on consumes it.
//!
//! ```text
//! Accepted --negotiate--> Encrypting --handshake--> TlsEstablished --read_startup--> Started --authorize--> Authorized
//!          --connect--> Connecting --log_in--> Connected --pipe--> Relay
//! ```
//!
//! A stage that refuses yields a [`Rejected`]: the cause, and the only handle that can still write to the client.

mod accepted;
mod answer;
mod arrival;
mod authorize;
mod cancel;
mod closing;
mod handshake;
mod login;
mod lost;
mod pipe;
mod prefixed;
mod registry;
mod relay;
mod reply;
mod startup;

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};

pub use arrival::Door;
pub use lost::watch_for_lost_clients;
pub use registry::{LiveSession, SessionTotals, Sessions};

use accepted::{Accepted, Negotiated};
use arrival::Arrival;
use cancel::PendingCancel;
use login::Connected;
use reply::Rejected;
use startup::Opening;

use crate::types::PeerAddress;

/// A client's connection before TLS.
pub trait Transport: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Transport for S {}

/// Serves one connection to its end, or until its session runs as a task of its own.
pub async fn serve<S: Transport>(stream: S, peer: PeerAddress, door: Arc<Door>) {
    let arrival = Box::new(Arrival::new(peer, door));
    match establish(stream, arrival).await {
        Ok(Outcome::Session(connected)) => connected.pipe(),
        Ok(Outcome::Cancel(pending)) => pending.carry_out().await,
        Ok(Outcome::Probe) => {}
        Err(rejected) => rejected.deliver().await,
    }
}

/// What a connection turned out to be.
enum Outcome<S> {
    Session(Box<Connected<S>>),
    Cancel(PendingCancel<S>),
    Probe,
}

async fn establish<S: Transport>(stream: S, arrival: Box<Arrival>) -> Result<Outcome<S>, Rejected<S>> {
    let encrypting = match Accepted::new(stream, arrival).negotiate().await? {
        Negotiated::Encrypt(encrypting) => encrypting,
        Negotiated::Cancel(pending) => return Ok(Outcome::Cancel(pending)),
        Negotiated::Probe => return Ok(Outcome::Probe),
    };
    let started = match encrypting.handshake().await?.read_startup().await? {
        Opening::Session(started) => started,
        Opening::Cancel(pending) => return Ok(Outcome::Cancel(pending)),
    };
    let connected = started.authorize()?.connect().await?.log_in().await?;
    Ok(Outcome::Session(Box::new(connected)))
}
