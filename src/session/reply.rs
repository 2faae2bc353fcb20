//! A refusal: the cause, and the only handle that can still write to the client.

use std::time::Duration;

use tokio::time::timeout;

use super::Transport;
use super::arrival::Arrival;
use super::closing::{part, part_encrypted};
use super::prefixed::Prefixed;
use super::startup::Encrypted;
use crate::error::SessionError;
use crate::observe::{Event, RefusalReport};
use crate::wire::{ErrorResponse, StartupError};

/// A connection that does not become a session.
pub(super) struct Rejected<S> {
    error: SessionError,
    reply: Reply<S>,
    /// What the backend has said, to be passed on before anything of ours.
    prelude: Vec<u8>,
    arrival: Box<Arrival>,
}

/// How the client can be told; chosen by the stage, not by the cause.
pub(super) enum Reply<S> {
    /// In the clear.
    Clear(S),
    /// It has been told by a TLS alert.
    AlertSent(Prefixed<S>),
    /// Inside TLS.
    Encrypted(Box<Encrypted<S>>),
    /// The stream was lost with the stage that held it.
    Gone,
}

impl<S: Transport> Rejected<S> {
    pub(super) fn new(error: SessionError, reply: Reply<S>, arrival: Box<Arrival>) -> Self {
        Self { error, reply, prelude: Vec::new(), arrival }
    }

    /// The same, with the backend's own words in front.
    pub(super) fn after(self, prelude: Vec<u8>) -> Self {
        Self { prelude, ..self }
    }

    /// Records the refusal, tells the client and leaves it.
    pub(super) async fn deliver(self) {
        let Self { error, reply, prelude, arrival } = self;
        let response = match &reply {
            Reply::Clear(_) | Reply::Encrypted(_) => error.response(),
            Reply::AlertSent(_) | Reply::Gone => None,
        };
        arrival.charge(&error);
        let refusal = report(&error, response.as_ref(), arrival.trail.clone());
        arrival.door.observers.emit(&Event::ConnectionRefused(&refusal));
        let mut last_words = prelude;
        last_words.extend(response.iter().flat_map(|response| encode(&error, response)));
        let parting = async {
            match reply {
                Reply::Clear(stream) => part(stream, &last_words).await,
                Reply::AlertSent(stream) => part(stream, b"").await,
                Reply::Encrypted(stream) => part_encrypted(stream, &last_words).await,
                Reply::Gone => {}
            }
        };
        if matches!(error, SessionError::Timeout) {
            // Its time is over: what its socket takes at once is sent, and nobody waits for what it still has to say.
            let _ = timeout(Duration::ZERO, parting).await;
        } else {
            arrival.until_shed(parting).await;
        }
    }
}

fn encode(error: &SessionError, response: &ErrorResponse) -> Vec<u8> {
    // Who speaks an older version would not understand the newer form.
    if let SessionError::Startup(StartupError::Version(version)) = error
        && version.major < 3
    {
        return response.encode_version_2();
    }
    response.encode()
}

fn report(error: &SessionError, response: Option<&ErrorResponse>, trail: crate::observe::Trail) -> RefusalReport {
    let (sqlstate, message) = match (error, response) {
        (SessionError::BackendRefused { sqlstate, message }, _) => (Some(sqlstate.as_str().into()), Some(message.clone())),
        (_, Some(response)) => (Some(response.sqlstate.code().into()), Some(response.message.as_slice().into())),
        (_, None) => (None, None),
    };
    RefusalReport { trail, reason: error.reason(), sqlstate, message, detail: error.to_string() }
}
