//! The first bytes, in the clear: which of the ways to TLS the client takes (src/backend/tcop/backend_startup.c).
//!
//! Each packet is read to its last byte and not one further, so nothing that was sent ahead in the clear can become part of what
//! is read inside TLS (CVE-2021-23214 and its family).

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::Transport;
use super::arrival::Arrival;
use super::cancel::PendingCancel;
use super::handshake::Encrypting;
use super::panics::attempt;
use super::prefixed::Prefixed;
use super::reply::{Rejected, Reply};
use super::startup::{request_of, startup_facts};
use crate::error::SessionError;
use crate::tls::Negotiation;
use crate::wire::{ProtocolVersion, StartupError, StartupPacket, body_length};

/// The first byte of a TLS record that holds a handshake message (RFC 8446, 5.1); no startup packet can begin with it.
const TLS_HANDSHAKE: u8 = 0x16;

/// A connection of which nothing is known.
pub(super) struct Accepted<S> {
    stream: S,
    arrival: Box<Arrival>,
}

/// A connection whose GSSENCRequest was declined: it cannot ask again.
struct GssDeclined<S>(Accepted<S>);

/// What the first packets ask for.
pub(super) enum Negotiated<S> {
    Encrypt(Encrypting<S>),
    Cancel(PendingCancel<S>),
    /// The client went away without a byte: nothing happened.
    Probe,
}

/// The first four bytes of a packet.
enum Head {
    Nothing,
    Bytes([u8; 4]),
}

impl<S: Transport> Accepted<S> {
    pub(super) fn new(stream: S, arrival: Box<Arrival>) -> Self {
        Self { stream, arrival }
    }

    /// Reads packets until the way is clear.
    pub(super) async fn negotiate(mut self) -> Result<Negotiated<S>, Rejected<S>> {
        let head = match attempt(self.read_head()).await {
            Ok(Head::Bytes(head)) => head,
            // Whoever says nothing leaves no trace, however the connection ends.
            Ok(Head::Nothing) | Err(SessionError::Timeout) => return Ok(Negotiated::Probe),
            Err(error) => return Err(self.reject(error)),
        };
        if let [TLS_HANDSHAKE, ..] = head {
            let stream = Prefixed::replaying(head, self.stream);
            return Ok(Negotiated::Encrypt(Encrypting::new(stream, Negotiation::Direct, self.arrival)));
        }
        match attempt(self.read_packet(head)).await {
            Ok(StartupPacket::GssEncRequest) => match attempt(self.answer(b'N')).await {
                Ok(()) => GssDeclined(self).negotiate().await,
                Err(error) => Err(self.reject(error)),
            },
            packet => self.decide(packet).await,
        }
    }

    async fn decide(mut self, packet: Result<StartupPacket, SessionError>) -> Result<Negotiated<S>, Rejected<S>> {
        match packet {
            Ok(StartupPacket::SslRequest) => match attempt(self.answer(b'S')).await {
                Ok(()) => {
                    let stream = Prefixed::untouched(self.stream);
                    Ok(Negotiated::Encrypt(Encrypting::new(stream, Negotiation::Requested, self.arrival)))
                }
                Err(error) => Err(self.reject(error)),
            },
            Ok(StartupPacket::GssEncRequest) => {
                Err(self.reject(SessionError::Startup(StartupError::Version(ProtocolVersion::GSSENC_REQUEST))))
            }
            Ok(StartupPacket::Cancel(request)) => Ok(Negotiated::Cancel(PendingCancel::in_the_clear(request, self.stream, self.arrival))),
            Ok(StartupPacket::Startup(message)) => {
                self.arrival.trail.startup = Some(startup_facts(&message));
                let request = request_of(&message, self.arrival.trail.client);
                Err(self.reject(SessionError::Plaintext(Box::new(request))))
            }
            Err(error) => Err(self.reject(error)),
        }
    }

    async fn read_head(&mut self) -> Result<Head, SessionError> {
        let Self { stream, arrival } = self;
        let mut head = [0; 4];
        let mut filled = 0_usize;
        while let Some(rest) = head.get_mut(filled..)
            && !rest.is_empty()
        {
            let read = match arrival.in_time(stream.read(rest)).await {
                Ok(read) => read.unwrap_or(0),
                Err(_) if filled == 0 => 0,
                Err(error) => return Err(error),
            };
            match (read, filled) {
                (0, 0) => return Ok(Head::Nothing),
                (0, _) => return Err(SessionError::IncompleteStartup),
                (read, _) => filled = filled.saturating_add(read),
            }
        }
        Ok(Head::Bytes(head))
    }

    async fn read_packet(&mut self, head: [u8; 4]) -> Result<StartupPacket, SessionError> {
        let length = body_length(head).map_err(SessionError::Startup)?;
        let mut body = vec![0; length];
        let read = self.arrival.in_time(self.stream.read_exact(&mut body)).await?;
        read.map_err(|_| SessionError::IncompleteStartup)?;
        StartupPacket::decode(&body).map_err(SessionError::Startup)
    }

    async fn answer(&mut self, byte: u8) -> Result<(), SessionError> {
        let written = self.arrival.in_time(self.stream.write_all(&[byte])).await?;
        written.map_err(|_| SessionError::ClientClosed)
    }

    fn reject(self, error: SessionError) -> Rejected<S> {
        Rejected::new(error, Reply::Clear(self.stream), self.arrival)
    }
}

impl<S: Transport> GssDeclined<S> {
    async fn negotiate(self) -> Result<Negotiated<S>, Rejected<S>> {
        let Self(mut accepted) = self;
        let packet = match attempt(accepted.read_head()).await {
            Ok(Head::Bytes(head)) => attempt(accepted.read_packet(head)).await,
            Ok(Head::Nothing) => Err(SessionError::ClientClosed),
            Err(error) => Err(error),
        };
        accepted.decide(packet).await
    }
}
