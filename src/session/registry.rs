//! The sessions that are alive: whom a CancelRequest may reach, and how all of them are told to end.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::live::{LiveSession, Newcomer};
use super::timers::Timers;
use crate::crypto::secrets_equal;
use crate::error::EndReason;
use crate::types::SessionId;
use crate::wire::CancelRequest;

/// What all sessions together are and have passed, those that are over included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionTotals {
    /// Sessions that are alive.
    pub active: u64,
    /// Bytes from clients. It never falls.
    pub bytes_in: u64,
    /// Bytes to clients. It never falls.
    pub bytes_out: u64,
}

/// All live sessions.
#[derive(Debug, Default)]
pub struct Sessions(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    live: HashMap<SessionId, Arc<LiveSession>>,
    by_pid: HashMap<u32, Arc<LiveSession>>,
    /// No session begins any more.
    closing: bool,
    /// Bytes of the sessions that are over.
    past_in: u64,
    past_out: u64,
}

impl Sessions {
    /// Enters a session; it is left by dropping the registration. `None` once [`Sessions::end_all`] was called.
    pub(super) fn register(self: &Arc<Self>, newcomer: Newcomer) -> Option<Registration> {
        let session = Arc::new(LiveSession::new(newcomer));
        let mut state = self.lock();
        if state.closing {
            return None;
        }
        if let Some(request) = session.cancel() {
            state.by_pid.insert(request.pid, Arc::clone(&session));
        }
        state.live.insert(session.id(), Arc::clone(&session));
        Some(Registration { sessions: Arc::clone(self), session })
    }

    /// The session whose process and key a CancelRequest names. The key's comparison takes the same time wherever it differs.
    pub fn find(&self, request: &CancelRequest) -> Option<Arc<LiveSession>> {
        let session = self.lock().by_pid.get(&request.pid).cloned()?;
        let key = &session.cancel()?.key;
        secrets_equal(key.as_bytes(), request.key.as_bytes()).then_some(session)
    }

    /// The sessions that may not be idle or live for ever.
    pub(super) fn with_timers(&self) -> Vec<Arc<LiveSession>> {
        let limited = |session: &&Arc<LiveSession>| {
            let Timers { idle, lifetime } = session.timers();
            idle.is_some() || lifetime.is_some()
        };
        self.lock().live.values().filter(limited).cloned().collect()
    }

    /// The sessions whose certificates have expired at `now`, in seconds since 1970.
    pub(super) fn expired(&self, now: i64) -> Vec<Arc<LiveSession>> {
        self.lock().live.values().filter(|session| session.identity().not_after() < now).cloned().collect()
    }

    /// Whether no session is alive.
    pub fn is_empty(&self) -> bool {
        self.lock().live.is_empty()
    }

    /// All live sessions, in no order.
    pub fn list(&self) -> Vec<Arc<LiveSession>> {
        self.lock().live.values().cloned().collect()
    }

    /// How many there are and what they have passed. Each session is counted once, alive or over.
    pub fn totals(&self) -> SessionTotals {
        let state = self.lock();
        let live = SessionTotals { active: length(state.live.len()), bytes_in: state.past_in, bytes_out: state.past_out };
        state.live.values().fold(live, |totals, session| SessionTotals {
            bytes_in: totals.bytes_in.saturating_add(session.bytes_in()),
            bytes_out: totals.bytes_out.saturating_add(session.bytes_out()),
            ..totals
        })
    }

    /// Tells the sessions of these connections to end, our end of each first.
    pub(super) fn end_connections(&self, connections: &HashSet<(SocketAddr, SocketAddr)>, reason: EndReason) {
        let lost = |session: &&Arc<LiveSession>| session.ends().is_some_and(|ends| connections.contains(&ends));
        let sessions: Vec<_> = self.lock().live.values().filter(lost).cloned().collect();
        sessions.iter().for_each(|session| session.end(reason));
    }

    /// Tells every session to end, and admits no further one.
    pub fn end_all(&self, reason: EndReason) {
        let sessions: Vec<_> = {
            let mut state = self.lock();
            state.closing = true;
            state.live.values().cloned().collect()
        };
        sessions.iter().for_each(|session| session.end(reason));
    }

    /// No code between lock and unlock can panic half-way through a change, so a poisoned lock holds a sound state.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A session's place among the live ones.
#[derive(Debug)]
pub(super) struct Registration {
    sessions: Arc<Sessions>,
    session: Arc<LiveSession>,
}

impl Registration {
    /// The session.
    pub(super) fn session(&self) -> &Arc<LiveSession> {
        &self.session
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut state = self.sessions.lock();
        state.live.remove(&self.session.id());
        state.past_in = state.past_in.saturating_add(self.session.bytes_in());
        state.past_out = state.past_out.saturating_add(self.session.bytes_out());
        // The backend may have given the process ID to a newer session already.
        if let Some(request) = self.session.cancel()
            && state.by_pid.get(&request.pid).is_some_and(|entry| Arc::ptr_eq(entry, &self.session))
        {
            state.by_pid.remove(&request.pid);
        }
    }
}

fn length(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enter(sessions: &Arc<Sessions>) -> Registration {
        sessions.register(Newcomer::alice()).unwrap()
    }

    #[test]
    fn bytes_count_once_while_a_session_lives_and_when_it_is_over() {
        let sessions = Arc::new(Sessions::default());
        let (first, second) = (enter(&sessions), enter(&sessions));
        first.session().show(1, 10, true);
        second.session().show(2, 20, false);
        assert_eq!(sessions.totals(), SessionTotals { active: 2, bytes_in: 3, bytes_out: 30 });
        first.session().show(4, 40, false);
        drop(first);
        assert_eq!(sessions.totals(), SessionTotals { active: 1, bytes_in: 6, bytes_out: 60 });
        drop(second);
        assert_eq!(sessions.totals(), SessionTotals { active: 0, bytes_in: 6, bytes_out: 60 });
    }
}
