//! A live session, as others see it: what it is and does, and how it is told to end.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::Waker;
use std::time::SystemTime;

use atomic_waker::AtomicWaker;
use tokio::time::Instant;

use super::predecessor::Names;
use super::timers::Timers;
use crate::backend::BackendSettings;
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
    /// Looks at the kernel's table in a row that have not found its connection, and one more; 0 if none ever has.
    missed: AtomicU8,
    waker: AtomicWaker,
}

/// Looks in a row that must miss a connection.
const MISSED_LOOKS: u8 = 3;

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

impl LiveSession {
    pub(super) fn new(newcomer: Newcomer) -> Self {
        Self {
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
            missed: AtomicU8::new(0),
            waker: AtomicWaker::new(),
        }
    }

    /// Its name in log and audit.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// Where its client is.
    pub fn client(&self) -> PeerAddress {
        self.client
    }

    /// Our end of the connection and the client's; `None` where it is not TCP.
    pub(super) fn ends(&self) -> Option<(SocketAddr, SocketAddr)> {
        self.ends
    }

    /// Whether its connection is gone: it was among the `open` ones, and has not been for several looks, since one may leave it out. Only
    /// the watch over lost clients calls it.
    pub(super) fn is_missing(&self, open: &HashSet<(SocketAddr, SocketAddr)>) -> bool {
        let Some(ends) = &self.ends else { return false };
        let missed = match self.missed.load(Ordering::Relaxed) {
            _ if open.contains(ends) => 1,
            0 => 0,
            missed => missed.saturating_add(1),
        };
        self.missed.store(missed, Ordering::Relaxed);
        missed > MISSED_LOOKS
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

    #[test]
    fn a_connection_is_missed_that_was_there_and_is_not_for_three_looks() {
        let ends = ("127.0.0.1:5432".parse().unwrap(), "127.0.0.1:5000".parse().unwrap());
        let (there, gone) = (HashSet::from([ends]), HashSet::new());
        let session = LiveSession::new(Newcomer { ends: Some(ends), ..Newcomer::alice() });
        assert!(!(0..10).any(|_| session.is_missing(&gone)), "a table that never had it says nothing");
        assert!(!session.is_missing(&there));
        assert_eq!([(); 4].map(|()| session.is_missing(&gone)), [false, false, true, true]);
        assert!(!session.is_missing(&there) && !session.is_missing(&gone));
        let elsewhere = LiveSession::new(Newcomer::alice());
        assert!(!(0..10).any(|_| elsewhere.is_missing(&gone)));
    }

    #[test]
    fn what_a_session_does_has_pg_stat_activitys_words() {
        let session = LiveSession::new(Newcomer::alice());
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
