//! The decision: from here on a grant exists, and nothing was asked of the backend before.

use tokio::time::{Instant, timeout};

use super::Transport;
use super::arrival::Arrival;
use super::login::Connecting;
use super::reply::{Rejected, Reply};
use super::startup::{Encrypted, request_of};
use crate::backend;
use crate::error::{BackendFailure, SessionError};
use crate::identity::ClientIdentity;
use crate::observe::{DecisionFacts, Event};
use crate::policy::Grant;
use crate::wire::StartupMessage;

/// A connection that has said what it wants.
pub(super) struct Started<S> {
    stream: Encrypted<S>,
    peer: Option<ClientIdentity>,
    message: StartupMessage,
    arrival: Box<Arrival>,
}

/// A connection that a rule admits.
pub(super) struct Authorized<S> {
    stream: Encrypted<S>,
    identity: ClientIdentity,
    message: StartupMessage,
    grant: Grant,
    arrival: Box<Arrival>,
}

impl<S: Transport> Started<S> {
    pub(super) fn new(stream: Encrypted<S>, peer: Option<ClientIdentity>, message: StartupMessage, arrival: Box<Arrival>) -> Self {
        Self { stream, peer, message, arrival }
    }

    /// Asks the rules.
    pub(super) fn authorize(self) -> Result<Authorized<S>, Rejected<S>> {
        let Self { stream, peer, message, mut arrival } = self;
        let request = request_of(&message, arrival.trail.client);
        match arrival.door.snapshot.policy().authorize(peer, &request) {
            Ok((grant, identity)) => {
                arrival.trail.decision = Some(DecisionFacts { rule: grant.rule().into(), map: None, role: grant.role().clone() });
                Ok(Authorized { stream, identity, message, grant, arrival })
            }
            Err(denial) => {
                let error = SessionError::Denied(denial, Box::new(request));
                Err(Rejected::new(error, Reply::Encrypted(Box::new(stream)), arrival))
            }
        }
    }
}

impl<S: Transport> Authorized<S> {
    /// Spends the grant on a connection to the backend.
    pub(super) async fn connect(self) -> Result<Connecting<S>, Rejected<S>> {
        let Self { stream, identity, message, grant, arrival } = self;
        let settings = arrival.door.snapshot.backend();
        let patience = settings.connect_timeout.min(arrival.deadline().saturating_duration_since(Instant::now()));
        let role = grant.role().clone();
        let began = Instant::now();
        let failure = match timeout(patience, backend::connect(settings, &message, grant)).await {
            Ok(Ok(backend)) => {
                arrival.door.observers.emit(&Event::BackendConnected { connect: began.elapsed() });
                return Ok(Connecting::new(stream, backend, identity, role, arrival));
            }
            Ok(Err(failure)) => failure,
            Err(_) => BackendFailure::Silent,
        };
        Err(Rejected::new(SessionError::Backend(failure), Reply::Encrypted(Box::new(stream)), arrival))
    }
}
