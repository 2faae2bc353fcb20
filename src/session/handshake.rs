//! The TLS handshake. From here on the client's identity exists, or the fact that it has none.

use tokio::time::Instant;

use super::Transport;
use super::arrival::Arrival;
use super::prefixed::Prefixed;
use super::reply::{Rejected, Reply};
use super::startup::TlsEstablished;
use crate::error::SessionError;
use crate::identity::ClientIdentity;
use crate::observe::{CertFacts, Event, TlsFacts};
use crate::tls::{self, Acceptor, Negotiation};

/// A connection that is about to send its ClientHello.
pub(super) struct Encrypting<S> {
    stream: Prefixed<S>,
    negotiation: Negotiation,
    arrival: Box<Arrival>,
}

impl<S: Transport> Encrypting<S> {
    pub(super) fn new(stream: Prefixed<S>, negotiation: Negotiation, arrival: Box<Arrival>) -> Self {
        Self { stream, negotiation, arrival }
    }

    /// Does the handshake. What it refuses, the client learns by an alert.
    pub(super) async fn handshake(self, acceptor: Acceptor) -> Result<TlsEstablished<S>, Rejected<S>> {
        let Self { stream, negotiation, mut arrival } = self;
        let turn = arrival.turn().await;
        let began = Instant::now();
        let established = match arrival.in_time(acceptor.accept(stream, negotiation)).await {
            Ok(Ok(established)) => established,
            Ok(Err((failure, stream))) => {
                turn.failed();
                return Err(Rejected::new(SessionError::Tls(failure), Reply::AlertSent(stream), arrival));
            }
            Err(error) => {
                turn.failed();
                return Err(Rejected::new(error, Reply::Gone, arrival));
            }
        };
        drop((turn, acceptor));
        let tls::Established { stream, peer, facts } = established;
        arrival.door.observers.emit(&Event::TlsEstablished { handshake: began.elapsed() });
        arrival.trail.tls = Some(tls_facts(&facts));
        arrival.trail.cert = peer.as_ref().map(cert_facts);
        let reject = |error, stream, arrival| Err(Rejected::new(error, Reply::Encrypted(Box::new(stream)), arrival));
        match &peer {
            // As PostgreSQL from 17 on: the handshake completes, then the connection is closed.
            _ if facts.negotiation == Negotiation::Direct && !facts.alpn => reject(SessionError::AlpnMissing, stream, arrival),
            Some(identity) if identity.contains_nul() => {
                let subject = identity.subject().to_owned();
                reject(SessionError::SubjectHasNul(subject), stream, arrival)
            }
            _ => Ok(TlsEstablished::new(stream, peer, negotiation, arrival)),
        }
    }
}

fn tls_facts(facts: &tls::TlsFacts) -> TlsFacts {
    TlsFacts {
        cipher: facts.cipher,
        group: facts.group,
        negotiation: match facts.negotiation {
            Negotiation::Requested => "postgres",
            Negotiation::Direct => "direct",
        },
        sni: facts.sni.as_deref().map(Into::into),
    }
}

fn cert_facts(identity: &ClientIdentity) -> CertFacts {
    CertFacts {
        subject: identity.subject().into(),
        cn: identity.common_name().ok().map(|name| name.as_bytes().into()),
        issuer: identity.issuer().into(),
        serial: identity.serial().into(),
        sha256: identity.sha256().to_string().into(),
        not_after: identity.not_after(),
    }
}
