//! The decision: from here on a grant exists, and nothing was asked of the backend before.

use tokio::time::{Instant, timeout};

use super::Transport;
use super::arrival::Arrival;
use super::login::{Connecting, Holding};
use super::panics::{attempt, guarded};
use super::reply::{Rejected, Reply};
use super::startup::{Encrypted, request_of};
use super::surroundings::surroundings;
use crate::backend;
use crate::error::{BackendFailure, SessionError};
use crate::identity::ClientIdentity;
use crate::limits::{SessionPermit, Wanted};
use crate::observe::{DecisionFacts, Event};
use crate::policy::{Grant, Request};
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
    request: Request,
    grant: Grant,
    permit: SessionPermit,
    arrival: Box<Arrival>,
}

impl<S: Transport> Started<S> {
    pub(super) fn new(stream: Encrypted<S>, peer: Option<ClientIdentity>, message: StartupMessage, arrival: Box<Arrival>) -> Self {
        Self { stream, peer, message, arrival }
    }

    /// Asks the rules.
    pub(super) async fn authorize(self) -> Result<Authorized<S>, Rejected<S>> {
        let Self { stream, peer, message, mut arrival } = self;
        let request = request_of(&message, arrival.trail.client);
        let decision = match surroundings(&arrival, peer.as_ref(), &request).await {
            Ok(surroundings) => guarded(|| arrival.terms.policy().authorize(peer, &request, &surroundings)),
            Err(error) => Err(error),
        };
        let decision = match decision {
            Ok(decision) => decision,
            Err(error) => return Err(Rejected::new(error, Reply::Encrypted(Box::new(stream)), arrival)),
        };
        match decision {
            Ok((grant, identity)) => {
                arrival.trail.decision = Some(decision_facts(&grant));
                match arrival.door.house.slots.take(wanted(&grant, &arrival), &arrival.terms.limits().sessions) {
                    Ok(permit) => {
                        arrival.admit();
                        Ok(Authorized { stream, identity, message, request, grant, permit, arrival })
                    }
                    Err(limit) => {
                        let error = SessionError::Limit(limit, grant.role().clone());
                        Err(Rejected::new(error, Reply::Encrypted(Box::new(stream)), arrival))
                    }
                }
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
        let Self { stream, identity, message, request, grant, permit, arrival } = self;
        let settings = arrival.terms.backend();
        let patience = settings.connect_timeout.min(arrival.deadline().saturating_duration_since(Instant::now()));
        let holding = Holding {
            role: grant.role().clone(),
            clientname: grant.clientname(),
            method: grant.method(),
            bounds: grant.bounds(),
            request,
            permit,
        };
        let began = Instant::now();
        let connecting = async {
            let last = settings.identity.parameters(&identity, grant.clientname(), arrival.trail.client.ip(), &message);
            let connecting = backend::connect(settings, &message, &last, grant);
            timeout(patience, connecting).await.unwrap_or(Err(SessionError::Backend(BackendFailure::Silent)))
        };
        match attempt(connecting).await {
            Ok(backend) => {
                arrival.door.observers.emit(&Event::BackendConnected { connect: began.elapsed() });
                Ok(Connecting::new(stream, backend, identity, holding, arrival))
            }
            Err(error) => Err(Rejected::new(error, Reply::Encrypted(Box::new(stream)), arrival)),
        }
    }
}

/// What the record shows.
fn decision_facts(grant: &Grant) -> DecisionFacts {
    DecisionFacts { rule: grant.rule().into(), map: grant.map().map(Into::into), role: grant.role().clone() }
}

/// What the session will count as.
fn wanted(grant: &Grant, arrival: &Arrival) -> Wanted {
    let bounds = grant.bounds();
    Wanted {
        role: grant.role().clone(),
        address: arrival.trail.client.ip(),
        rule: grant.rule().into(),
        rule_limit: bounds.max_connections,
        reserved: bounds.reserved,
    }
}
