//! What every stage of a login carries: the settings of its moment, its one deadline, and the trail for the record.

use std::future::Future;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::registry::Sessions;
use crate::error::SessionError;
use crate::observe::{Observers, Trail};
use crate::snapshot::Snapshot;
use crate::types::{PeerAddress, SessionId};

/// What a connection finds when it arrives.
pub struct Door {
    /// The settings of this moment; a connection keeps them to its end.
    pub snapshot: Arc<Snapshot>,
    /// The sessions that are alive.
    pub sessions: Arc<Sessions>,
    /// Who is told what happens.
    pub observers: Observers,
    /// Held as long as anything of the connection lives: the daemon waits until all are dropped.
    pub alive: mpsc::Sender<()>,
}

/// A connection's common part before it is a session.
pub(super) struct Arrival {
    pub(super) door: Arc<Door>,
    pub(super) accepted: Instant,
    pub(super) trail: Trail,
}

impl Arrival {
    pub(super) fn new(peer: PeerAddress, door: Arc<Door>) -> Self {
        Self { door, accepted: Instant::now(), trail: Trail::new(SessionId::generate(), peer) }
    }

    /// The one deadline of all that comes before AuthenticationOk. It is absolute: bytes that trickle in do not move it.
    pub(super) fn deadline(&self) -> Instant {
        let timeout = self.door.snapshot.authentication_timeout();
        self.accepted.checked_add(timeout).unwrap_or(self.accepted)
    }

    /// What `step` yields, if it does so before the deadline.
    ///
    /// # Errors
    /// [`SessionError::Timeout`].
    pub(super) async fn in_time<T>(&self, step: impl Future<Output = T>) -> Result<T, SessionError> {
        timeout_at(self.deadline(), step).await.map_err(|_| SessionError::Timeout)
    }
}
