//! What every stage of a login carries: the settings of its moment, its one deadline, and the trail for the record.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::call_off::CallOffs;
use super::predecessor::Predecessor;
use super::registry::Sessions;
use crate::error::SessionError;
use crate::limits::{FailureBudget, GiveWay, Handshakes, SessionSlots, Turn, Waiting};
use crate::observe::{Observers, Trail};
use crate::snapshot::{Snapshots, Terms};
use crate::types::{PeerAddress, SessionId};

/// What a connection finds when it arrives.
pub struct Door {
    /// The settings; a connection keeps those of its arrival until it has logged in.
    pub snapshots: Arc<Snapshots>,
    /// Who is here and how many may be.
    pub house: House,
    /// Who is told what happens.
    pub observers: Observers,
    /// Held as long as anything of the connection lives: the daemon waits until all are dropped.
    pub alive: mpsc::Sender<()>,
}

/// Who is here and how many may be; what outlives every change of the settings.
#[derive(Clone, Default)]
pub struct House {
    /// The sessions that are alive.
    pub sessions: Arc<Sessions>,
    /// The sessions that count against a limit.
    pub slots: Arc<SessionSlots>,
    /// The connections that have not logged in.
    pub handshakes: Arc<Handshakes>,
    /// The addresses that fail.
    pub failures: Arc<FailureBudget>,
    /// Who served before this process, if it took over.
    pub predecessor: Predecessor,
    /// The cancels for sessions that are over.
    pub call_offs: CallOffs,
}

/// A connection's common part before it is a session.
pub(super) struct Arrival {
    pub(super) door: Arc<Door>,
    /// The settings of the moment of arrival.
    pub(super) terms: Arc<Terms>,
    pub(super) accepted: Instant,
    pub(super) trail: Trail,
    /// Our end of the connection; `None` where it is not TCP.
    pub(super) local: Option<SocketAddr>,
    /// The other end, as the kernel has it: the client's, or its balancer's.
    peer: SocketAddr,
    /// The address that failures count against; `None` while only a balancer's is known.
    counted: Option<IpAddr>,
    waiting: Waiting,
}

impl Arrival {
    pub(super) fn new(peer: PeerAddress, local: Option<SocketAddr>, terms: Arc<Terms>, door: Arc<Door>) -> Self {
        let waiting = door.house.handshakes.enter(terms.limits().max_handshakes);
        let counted = (!terms.trusts_balancer(peer.ip())).then_some(peer.ip());
        let trail = Trail::new(SessionId::generate(), peer);
        Self { door, terms, accepted: Instant::now(), trail, local, peer: peer.socket_address(), counted, waiting }
    }

    /// Whether it is known where the client is: from the start, unless a balancer is to say so.
    pub(super) fn is_introduced(&self) -> bool {
        self.counted.is_some()
    }

    /// A balancer has said where the client is: that is what rules, limits and records see.
    pub(super) fn introduce(&mut self, client: PeerAddress) {
        self.trail.client = client;
        self.counted = Some(client.ip());
    }

    /// Both ends of the connection, ours first, as the kernel's tables have them.
    pub(super) fn ends(&self) -> Option<(SocketAddr, SocketAddr)> {
        self.local.map(|local| (local, self.peer))
    }

    /// The one deadline of all that comes before AuthenticationOk. It is absolute: bytes that trickle in do not move it.
    pub(super) fn deadline(&self) -> Instant {
        let timeout = self.terms.limits().authentication_timeout;
        self.accepted.checked_add(timeout).unwrap_or(self.accepted)
    }

    /// What `step` yields, if it does so before the deadline and before this connection has to give way to a newer one.
    ///
    /// # Errors
    /// [`SessionError::Timeout`], [`SessionError::Shed`].
    pub(super) async fn in_time<T>(&self, step: impl Future<Output = T>) -> Result<T, SessionError> {
        tokio::select! {
            biased;
            // Whichever comes first ends the other for good: nobody goes on with a step that was given up.
            outcome = timeout_at(self.deadline(), step) => outcome.map_err(|_| SessionError::Timeout),
            error = self.must_go() => Err(error),
        }
    }

    /// The rules admit it: from now on it gives way to nobody.
    pub(super) fn admit(&self) {
        self.waiting.admit();
    }

    /// Resolves when this connection has to go before it has logged in. Cancel-safe.
    pub(super) async fn must_go(&self) -> SessionError {
        match self.waiting.must_go().await {
            GiveWay::Oldest => SessionError::Shed,
            GiveWay::Closing => SessionError::Draining,
        }
    }

    /// The turn of this client's address for a handshake; at once for an address that keeps to its budget.
    pub(super) async fn turn(&self) -> Turn {
        match (self.terms.limits().max_failures_per_address, self.counted) {
            (Some(per_second), Some(address)) => self.door.house.failures.turn(address, per_second).await,
            (None, _) | (_, None) => Turn::default(),
        }
    }

    /// Counts a refusal against the client's address, if it is the client's doing.
    pub(super) fn charge(&self, error: &SessionError) {
        if let Some(per_second) = self.terms.limits().max_failures_per_address
            && let Some(address) = self.counted
            && error.is_failure_of_client()
        {
            self.door.house.failures.charge(address, per_second);
        }
    }

    /// Lets a refused client read its last words, unless this connection has to give way meanwhile.
    pub(super) async fn until_shed(&self, parting: impl Future<Output = ()>) {
        tokio::select! {
            () = parting => {}
            _ = self.must_go() => {}
        }
    }
}
