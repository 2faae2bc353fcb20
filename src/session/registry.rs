//! The sessions that are alive: whom a CancelRequest may reach, and how one is told to end.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Waker;
use std::time::SystemTime;

use atomic_waker::AtomicWaker;
use tokio::time::Instant;

use super::predecessor::Names;
use super::timers::Timers;
use crate::backend::BackendSettings;
use crate::crypto::secrets_equal;
use crate::error::{EndReason, Withdrawal};
use crate::identity::{ClientIdentity, ClientName};
use crate::observe::StartupFacts;
use crate::policy::Request;
use crate::types::{PeerAddress, RoleName, SessionId};
use crate::wire::CancelRequest;

/// A live session, as others see it.
#[derive(Debug)]
pub struct LiveSession {
    id: SessionId,
    client: PeerAddress,
    /// Our end of the connection and the client's; `None` where it is not TCP.
    ends: Option<(SocketAddr, SocketAddr)>,
    identity: ClientIdentity,
    /// Which of its names admitted it.
    clientname: ClientName,
    /// What the backend gave the client to cancel with; `None` if it gave nothing usable.
    cancel: Option<CancelRequest>,
    /// Where its backend is, whatever a reload has said since.
    backend: Arc<BackendSettings>,
    role: RoleName,
    startup: Option<StartupFacts>,
    /// What it asked for, for the rules to be asked again.
    request: Request,
    since: SystemTime,
    traffic: LiveTraffic,
    timers: Mutex<Timers>,
    started: Instant,
    /// Counts what passes, two at a time; odd while the session is idle.
    activity: AtomicU32,
    /// A CancelRequest for it is on its way.
    cancelling: AtomicBool,
    order: OnceLock<Order>,
    leave: AtomicU8,
    waker: AtomicWaker,
}

/// What a session is told: to end, and why.
#[derive(Debug)]
struct Order {
    reason: EndReason,
    /// What speaks against it, if that is why.
    withdrawal: Option<Box<Withdrawal>>,
}

/// When a session that was asked to leave does so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Leave {
    /// Nobody asked.
    Stay = 0,
    /// As soon as it is idle, if it has ever asked for anything.
    Served = 1,
    /// As soon as it is idle.
    Idle = 2,
}

/// What a session's relay has passed so far. Only the relay writes it.
#[derive(Debug, Default)]
struct LiveTraffic {
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    running: AtomicBool,
}

/// What the backend of a session is doing, in the words of pg_stat_activity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// It works on something, or waits for the client in the middle of something.
    Active,
    /// It waits for a command.
    Idle,
    /// It waits for a command inside a transaction.
    IdleInTransaction,
}

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

impl LiveSession {
    /// Its name in log and audit.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// Where its client is.
    pub fn client(&self) -> PeerAddress {
        self.client
    }

    /// Who its client is.
    pub fn identity(&self) -> &ClientIdentity {
        &self.identity
    }

    /// The role it has.
    pub fn role(&self) -> &RoleName {
        &self.role
    }

    /// What its client asked for at the start.
    pub fn startup(&self) -> Option<&StartupFacts> {
        self.startup.as_ref()
    }

    /// When it began.
    pub fn since(&self) -> SystemTime {
        self.since
    }

    /// Bytes from the client, so far.
    pub fn bytes_in(&self) -> u64 {
        self.traffic.bytes_in.load(Ordering::Relaxed)
    }

    /// Bytes to the client, so far.
    pub fn bytes_out(&self) -> u64 {
        self.traffic.bytes_out.load(Ordering::Relaxed)
    }

    /// What its backend is doing.
    pub fn activity(&self) -> Activity {
        match (self.idle_at(), self.traffic.running.load(Ordering::Relaxed)) {
            (Some(_), _) => Activity::Idle,
            (None, true) => Activity::Active,
            (None, false) => Activity::IdleInTransaction,
        }
    }

    /// Shows what has passed, and whether the backend works on something. A few plain stores: the relay does it each time it stops
    /// to wait.
    pub(super) fn show(&self, bytes_in: u64, bytes_out: u64, running: bool) {
        self.traffic.bytes_in.store(bytes_in, Ordering::Relaxed);
        self.traffic.bytes_out.store(bytes_out, Ordering::Relaxed);
        self.traffic.running.store(running, Ordering::Relaxed);
    }

    /// The request that cancels what it is doing.
    pub fn cancel(&self) -> Option<&CancelRequest> {
        self.cancel.as_ref()
    }

    /// How its backend was reached, which is where its CancelRequest goes.
    pub(super) fn backend(&self) -> &BackendSettings {
        &self.backend
    }

    /// Takes the one place for a CancelRequest on its way to the backend: a flood with the right key costs the backend one at a time.
    pub(super) fn begin_cancel(&self) -> Option<CancelInFlight<'_>> {
        let taken = self.cancelling.swap(true, Ordering::Relaxed);
        (!taken).then_some(CancelInFlight(&self.cancelling))
    }

    /// Whether a certificate's name is the name that this session was admitted by, whichever certificate carries it.
    pub fn is_of(&self, identity: &ClientIdentity) -> bool {
        match (self.identity.name(self.clientname), identity.name(self.clientname)) {
            (Ok(own), Ok(other)) => own == other,
            _ => false,
        }
    }

    /// The same of a certificate's names, each with its kind.
    pub(super) fn is_named(&self, names: &Names) -> bool {
        let own = self.identity.name(self.clientname).ok();
        names.iter().any(|(kind, name)| *kind == self.clientname && own == Some(name.as_str()))
    }

    /// What its client asked for, as the rules see it.
    pub(super) fn request(&self) -> &Request {
        &self.request
    }

    /// How long it may be idle and may live.
    pub(super) fn timers(&self) -> Timers {
        *self.timers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Holds it to other times from now on.
    pub(super) fn set_timers(&self, timers: Timers) {
        *self.timers.lock().unwrap_or_else(PoisonError::into_inner) = timers;
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
        self.give(Order { reason, withdrawal: None });
    }

    /// Tells it to end for what speaks against it; `false` if it was told to end already.
    pub(super) fn withdraw(&self, withdrawal: Withdrawal) -> bool {
        self.give(Order { reason: withdrawal.reason(), withdrawal: Some(Box::new(withdrawal)) })
    }

    /// What spoke against it, if that is why it was told to end.
    pub(super) fn withdrawal(&self) -> Option<&Withdrawal> {
        self.order.get()?.withdrawal.as_deref()
    }

    fn give(&self, order: Order) -> bool {
        let first = self.order.set(order).is_ok();
        self.waker.wake();
        first
    }

    /// Asks it to leave at its own time. What was asked before is never taken back.
    pub(super) fn ask_to_leave(&self, leave: Leave) {
        let asked = leave as u8;
        if self.leave.fetch_max(asked, Ordering::Relaxed) < asked {
            self.waker.wake();
        }
    }

    /// The order to end, if there is one; `waker` is woken when one comes.
    pub(super) fn order(&self, waker: &Waker) -> Option<EndReason> {
        self.waker.register(waker);
        self.order.get().map(|order| order.reason)
    }

    /// Whether it was asked to leave if it is idle now, having asked for something before or not.
    pub(super) fn may_leave(&self, served: bool) -> bool {
        let asked = self.leave.load(Ordering::Relaxed);
        asked >= if served { Leave::Served } else { Leave::Idle } as u8
    }
}

/// A session that is about to be entered.
pub(super) struct Newcomer {
    pub(super) id: SessionId,
    pub(super) client: PeerAddress,
    pub(super) ends: Option<(SocketAddr, SocketAddr)>,
    pub(super) role: RoleName,
    pub(super) startup: Option<StartupFacts>,
    pub(super) request: Request,
    pub(super) identity: ClientIdentity,
    pub(super) clientname: ClientName,
    pub(super) cancel: Option<CancelRequest>,
    pub(super) backend: Arc<BackendSettings>,
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
    /// Bytes of the sessions that are over.
    past_in: u64,
    past_out: u64,
}

impl Sessions {
    /// Enters a session; it is left by dropping the registration. `None` once [`Sessions::end_all`] was called.
    pub(super) fn register(self: &Arc<Self>, newcomer: Newcomer) -> Option<Registration> {
        let session = Arc::new(LiveSession {
            id: newcomer.id,
            client: newcomer.client,
            ends: newcomer.ends,
            role: newcomer.role,
            startup: newcomer.startup,
            request: newcomer.request,
            identity: newcomer.identity,
            clientname: newcomer.clientname,
            cancel: newcomer.cancel,
            backend: newcomer.backend,
            timers: Mutex::new(newcomer.timers),
            since: SystemTime::now(),
            traffic: LiveTraffic::default(),
            started: Instant::now(),
            activity: AtomicU32::new(1),
            cancelling: AtomicBool::new(false),
            order: OnceLock::new(),
            leave: AtomicU8::new(Leave::Stay as u8),
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
        let limited = |session: &&Arc<LiveSession>| {
            let Timers { idle, lifetime } = session.timers();
            idle.is_some() || lifetime.is_some()
        };
        self.lock().live.values().filter(limited).cloned().collect()
    }

    /// The sessions whose certificates have expired at `now`, in seconds since 1970.
    pub(super) fn expired(&self, now: i64) -> Vec<Arc<LiveSession>> {
        self.lock().live.values().filter(|session| session.identity.not_after() < now).cloned().collect()
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
        state.past_in = state.past_in.saturating_add(self.session.bytes_in());
        state.past_out = state.past_out.saturating_add(self.session.bytes_out());
        // The backend may have given the process ID to a newer session already.
        if let Some(request) = &self.session.cancel
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
impl Newcomer {
    /// One for tests: alice, from this machine, held to nothing.
    pub(super) fn alice() -> Self {
        Self {
            id: SessionId::generate(),
            client: PeerAddress::new("127.0.0.1:5000".parse().unwrap()),
            ends: None,
            role: RoleName::truncated(b"alice").unwrap(),
            startup: None,
            request: Request {
                user: RoleName::truncated(b"alice").unwrap(),
                database: crate::types::DatabaseName::truncated(b"app").unwrap(),
                replication: crate::policy::Replication::None,
                address: PeerAddress::new("127.0.0.1:5000".parse().unwrap()),
                settings: Vec::new(),
            },
            identity: crate::identity::testing::identity("alice"),
            clientname: ClientName::CommonName,
            cancel: None,
            backend: Arc::new(BackendSettings::nowhere()),
            timers: Timers::default(),
        }
    }
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

    #[test]
    fn what_a_session_does_has_pg_stat_activitys_words() {
        let sessions = Arc::new(Sessions::default());
        let session = enter(&sessions);
        let session = session.session();
        assert_eq!(session.activity(), Activity::Idle);
        session.note_activity(false);
        session.show(1, 1, true);
        assert_eq!(session.activity(), Activity::Active);
        session.show(2, 2, false);
        assert_eq!(session.activity(), Activity::IdleInTransaction);
        session.note_activity(true);
        assert_eq!(session.activity(), Activity::Idle);
    }
}
