//! The StartupMessage inside TLS: what the client asks for.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::Transport;
use super::arrival::Arrival;
use super::authorize::Started;
use super::cancel::PendingCancel;
use super::panics::attempt;
use super::prefixed::Prefixed;
use super::reply::{Rejected, Reply};
use crate::error::SessionError;
use crate::identity::ClientIdentity;
use crate::observe::StartupFacts;
use crate::policy::{Replication, Request};
use crate::tls::{Negotiation, TlsStream};
use crate::types::PeerAddress;
use crate::wire::{ProtocolVersion, ReplicationParameter, StartupError, StartupMessage, StartupPacket, body_length};

/// A client's TLS connection.
pub(super) type Encrypted<S> = TlsStream<Prefixed<S>>;

/// A TLS connection, with the verified identity of its client or the fact that it sent no certificate.
pub(super) struct TlsEstablished<S> {
    stream: Encrypted<S>,
    peer: Option<ClientIdentity>,
    negotiation: Negotiation,
    arrival: Box<Arrival>,
}

/// What the client opens inside TLS.
pub(super) enum Opening<S> {
    Session(Box<Started<S>>),
    Cancel(PendingCancel<S>),
}

impl<S: Transport> TlsEstablished<S> {
    pub(super) fn new(stream: Encrypted<S>, peer: Option<ClientIdentity>, negotiation: Negotiation, arrival: Box<Arrival>) -> Self {
        Self { stream, peer, negotiation, arrival }
    }

    /// Reads the StartupMessage or CancelRequest, and nothing behind it.
    pub(super) async fn read_startup(mut self) -> Result<Opening<S>, Rejected<S>> {
        match attempt(self.read_opening_packet()).await {
            Ok(StartupPacket::Startup(message)) => {
                let Self { stream, peer, mut arrival, .. } = self;
                arrival.trail.startup = Some(startup_facts(&message));
                Ok(Opening::Session(Box::new(Started::new(stream, peer, message, arrival))))
            }
            Ok(StartupPacket::Cancel(request)) => {
                let Self { stream, peer, arrival, .. } = self;
                Ok(Opening::Cancel(PendingCancel::inside_tls(request, stream, peer, arrival)))
            }
            Ok(StartupPacket::SslRequest) => Err(self.reject(SessionError::Startup(StartupError::Version(ProtocolVersion::SSL_REQUEST)))),
            Ok(StartupPacket::GssEncRequest) => {
                Err(self.reject(SessionError::Startup(StartupError::Version(ProtocolVersion::GSSENC_REQUEST))))
            }
            Err(error) => Err(self.reject(error)),
        }
    }

    /// As PostgreSQL, which declines each of the two requests once inside direct TLS and knows neither inside requested TLS.
    async fn read_opening_packet(&mut self) -> Result<StartupPacket, SessionError> {
        let first = self.read_packet().await?;
        if self.negotiation == Negotiation::Requested || !is_encryption_request(&first) {
            return Ok(first);
        }
        self.decline().await?;
        let second = self.read_packet().await?;
        if second == first || !is_encryption_request(&second) {
            return Ok(second);
        }
        self.decline().await?;
        self.read_packet().await
    }

    async fn decline(&mut self) -> Result<(), SessionError> {
        let Self { stream, arrival, .. } = self;
        let answer = async {
            stream.write_all(b"N").await?;
            stream.flush().await
        };
        arrival.in_time(answer).await?.map_err(|_| SessionError::ClientClosed)
    }

    async fn read_packet(&mut self) -> Result<StartupPacket, SessionError> {
        let Self { stream, arrival, .. } = self;
        let mut head = [0; 4];
        let (first, rest) = head.split_at_mut(1);
        let read = arrival.in_time(stream.read(first)).await?;
        if !matches!(read, Ok(1)) {
            return Err(SessionError::ClientClosed);
        }
        let incomplete = |_| SessionError::IncompleteStartup;
        arrival.in_time(stream.read_exact(rest)).await?.map_err(incomplete)?;
        let length = body_length(head).map_err(SessionError::Startup)?;
        let mut body = vec![0; length];
        arrival.in_time(stream.read_exact(&mut body)).await?.map_err(incomplete)?;
        StartupPacket::decode(&body).map_err(SessionError::Startup)
    }

    fn reject(self, error: SessionError) -> Rejected<S> {
        Rejected::new(error, Reply::Encrypted(Box::new(self.stream)), self.arrival)
    }
}

fn is_encryption_request(packet: &StartupPacket) -> bool {
    matches!(packet, StartupPacket::SslRequest | StartupPacket::GssEncRequest)
}

/// What the rules are asked.
pub(super) fn request_of(message: &StartupMessage, address: PeerAddress) -> Request {
    Request {
        user: message.user().clone(),
        database: message.database().clone(),
        replication: match message.replication() {
            ReplicationParameter::Off => Replication::None,
            ReplicationParameter::Physical => Replication::Physical,
            ReplicationParameter::Database => Replication::Logical,
        },
        address,
        settings: message.parameters().settings(),
    }
}

/// What the record shows.
pub(super) fn startup_facts(message: &StartupMessage) -> StartupFacts {
    let (database, replication): (&[u8], _) = match message.replication() {
        ReplicationParameter::Off => (message.database().as_bytes(), None),
        ReplicationParameter::Physical => (b"", Some("true")),
        ReplicationParameter::Database => (message.database().as_bytes(), Some("database")),
    };
    StartupFacts {
        user: message.user().as_bytes().into(),
        database: database.into(),
        application_name: message.parameters().value(b"application_name").map(Into::into),
        replication,
    }
}
