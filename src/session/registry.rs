//! The sessions that are alive: whom a CancelRequest may reach, and how one is told to end.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Waker;

use atomic_waker::AtomicWaker;
use tokio::time::Instant;

use super::timers::Timers;
use crate::crypto::secrets_equal;
use crate::error::EndReason;
use crate::identity::ClientIdentity;
use crate::types::SessionId;
use crate::wire::CancelRequest;

/// A live session, as others see it.
#[derive(Debug)]
pub struct LiveSession {
    id: SessionId,
    /// Our end of the connection and the client's; `None` where it is not TCP.
    ends: Option<(SocketAddr, SocketAddr)>,
    identity: ClientIdentity,
    /// What the backend gave the client to cancel with; `None` if it gave nothing usable.
    cancel: Option<CancelRequest>,
    timers: Timers,
    started: Instant,
    /// Counts what passes, two at a time; odd while the session is idle.
    activity: AtomicU32,
    /// A CancelRequest for it is on its way.
    cancelling: AtomicBool,
    order: OnceLock<EndReason>,
    waker: AtomicWaker,
}

impl LiveSession {
    /// Its name in log and audit.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// The request that cancels what it is doing.
    pub fn cancel(&self) -> Option<&CancelRequest> {
        self.cancel.as_ref()
    }

    /// Takes the one place for a CancelRequest on its way to the backend: a flood with the right key costs the backend one at a time.
    pub(super) fn begin_cancel(&self) -> Option<CancelInFlight<'_>> {
        let taken = self.cancelling.swap(true, Ordering::Relaxed);
        (!taken).then_some(CancelInFlight(&self.cancelling))
    }

    /// Whether a certificate's name is the name that this session was admitted by, whichever certificate carries it.
    pub fn is_of(&self, identity: &ClientIdentity) -> bool {
        match (self.identity.common_name(), identity.common_name()) {
            (Ok(own), Ok(other)) => own.as_bytes() == other.as_bytes(),
            _ => false,
        }
    }

    /// How long it may be idle and may live.
    pub(super) fn timers(&self) -> Timers {
        self.timers
    }

    /// When it began.
    pub(super) fn started(&self) -> Instant {
        self.started
    }

    /// What passed so far, as a number that changes whenever something passes; `None` if the session is not idle.
    pub(super) fn idle_at(&self) -> Option<u32> {
        Some(self.activity.load(Ordering::Relaxed)).filter(|activity| activity & 1 == 1)
    }

    /// Notes that something passed, and whether the session is idle after it. Only the session's own task calls it.
    pub(super) fn note_activity(&self, idle: bool) {
        let passed = self.activity.load(Ordering::Relaxed) >> 1;
        self.activity.store(passed.wrapping_add(1) << 1 | u32::from(idle), Ordering::Relaxed);
    }

    /// Tells it to end. The first order stands.
    pub fn end(&self, reason: EndReason) {
        let _ = self.order.set(reason);
        self.waker.wake();
    }

    /// The order to end, if there is one; `waker` is woken when one comes.
    pub(super) fn order(&self, waker: &Waker) -> Option<EndReason> {
        self.waker.register(waker);
        self.order.get().copied()
    }
}

/// A session that is about to be entered.
pub(super) struct Newcomer {
    pub(super) id: SessionId,
    pub(super) ends: Option<(SocketAddr, SocketAddr)>,
    pub(super) identity: ClientIdentity,
    pub(super) cancel: Option<CancelRequest>,
    pub(super) timers: Timers,
}

/// A CancelRequest on its way; dropping it makes room for the next.
#[derive(Debug)]
pub(super) struct CancelInFlight<'a>(&'a AtomicBool);

impl Drop for CancelInFlight<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
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
}

impl Sessions {
    /// Enters a session; it is left by dropping the registration. `None` once [`Sessions::end_all`] was called.
    pub(super) fn register(self: &Arc<Self>, newcomer: Newcomer) -> Option<Registration> {
        let session = Arc::new(LiveSession {
            id: newcomer.id,
            ends: newcomer.ends,
            identity: newcomer.identity,
            cancel: newcomer.cancel,
            timers: newcomer.timers,
            started: Instant::now(),
            activity: AtomicU32::new(1),
            cancelling: AtomicBool::new(false),
            order: OnceLock::new(),
            waker: AtomicWaker::new(),
        });
        let mut state = self.lock();
        if state.closing {
            return None;
        }
        if let Some(request) = &session.cancel {
            state.by_pid.insert(request.pid, Arc::clone(&session));
        }
        state.live.insert(session.id, Arc::clone(&session));
        Some(Registration { sessions: Arc::clone(self), session })
    }

    /// The session whose process and key a CancelRequest names. The key's comparison takes the same time wherever it differs.
    pub fn find(&self, request: &CancelRequest) -> Option<Arc<LiveSession>> {
        let session = self.lock().by_pid.get(&request.pid).cloned()?;
        let key = &session.cancel.as_ref()?.key;
        secrets_equal(key.as_bytes(), request.key.as_bytes()).then_some(session)
    }

    /// The sessions that may not be idle or live for ever.
    pub(super) fn with_timers(&self) -> Vec<Arc<LiveSession>> {
        let limited = |session: &&Arc<LiveSession>| session.timers.idle.is_some() || session.timers.lifetime.is_some();
        self.lock().live.values().filter(limited).cloned().collect()
    }

    /// Whether no session is alive.
    pub fn is_empty(&self) -> bool {
        self.lock().live.is_empty()
    }

    /// Tells the sessions of these connections to end, our end of each first.
    pub(super) fn end_connections(&self, connections: &HashSet<(SocketAddr, SocketAddr)>, reason: EndReason) {
        let lost = |session: &&Arc<LiveSession>| session.ends.is_some_and(|ends| connections.contains(&ends));
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
        state.live.remove(&self.session.id);
        // The backend may have given the process ID to a newer session already.
        if let Some(request) = &self.session.cancel
            && state.by_pid.get(&request.pid).is_some_and(|entry| Arc::ptr_eq(entry, &self.session))
        {
            state.by_pid.remove(&request.pid);
        }
    }
}
