//! CancelRequests for sessions of the process that this one took over from: their clients know no other door than this one.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::cancel::forward;
use super::registry::Sessions;
use crate::identity::{ClientIdentity, ClientName};
use crate::limits::network_of;
use crate::observe::CancelResult;
use crate::wire::CancelRequest;

/// Names of a certificate, each with its kind.
pub type Names = Vec<(ClientName, String)>;

/// The process before this one, for as long as it drains; or nobody.
#[derive(Clone, Default)]
pub struct Predecessor(Option<Arc<Lane>>);

/// The way to it.
struct Lane {
    ask: mpsc::Sender<PassedCancel>,
    /// How many requests of each address are on their way.
    waiting: Mutex<HashMap<IpAddr, usize>>,
}

/// The place of a request on its way; dropping it frees the place.
struct Place<'a> {
    lane: &'a Lane,
    address: IpAddr,
}

/// A CancelRequest whose key this process does not know.
#[derive(Debug)]
pub struct PassedCancel {
    /// The request.
    pub request: CancelRequest,
    /// The names of the certificate that it came with, if it came with one.
    pub names: Option<Names>,
    /// Where it is told what became of it; closed once nobody waits for that any more.
    pub reply: oneshot::Sender<CancelResult>,
}

/// Requests on their way to the predecessor, of all addresses.
const MOST_WAITING: usize = 256;
/// And of one address, so that none fills the way: it knows of unknown keys at once, and one user cancels one thing at a time.
const MOST_OF_ADDRESS: usize = 4;
/// How long the predecessor may take; it gives its backend as long.
const PATIENCE: Duration = Duration::from_secs(5);

impl Predecessor {
    /// Somebody, and what is asked of them.
    pub fn new() -> (Self, mpsc::Receiver<PassedCancel>) {
        let (ask, asked) = mpsc::channel(MOST_WAITING);
        (Self(Some(Arc::new(Lane { ask, waiting: Mutex::default() }))), asked)
    }

    /// Passes the request of an address on, and waits for what becomes of it: for a few seconds.
    pub(super) async fn cancel(&self, address: IpAddr, request: &CancelRequest, identity: Option<&ClientIdentity>) -> CancelResult {
        let Some(lane) = &self.0 else { return CancelResult::UnknownKey };
        let Some(_place) = lane.enter(address) else { return CancelResult::RateLimited };
        let (reply, outcome) = oneshot::channel();
        let passed = PassedCancel { request: request.clone(), names: identity.map(names), reply };
        match lane.ask.try_send(passed) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => return CancelResult::RateLimited,
            // It has ended, and its sessions with it.
            Err(TrySendError::Closed(_)) => return CancelResult::UnknownKey,
        }
        match timeout(PATIENCE, outcome).await {
            Ok(result) => result.unwrap_or(CancelResult::UnknownKey),
            Err(_) => CancelResult::BackendUnreachable,
        }
    }
}

impl Lane {
    fn enter(&self, address: IpAddr) -> Option<Place<'_>> {
        let address = network_of(address);
        let mut waiting = self.lock();
        let all: usize = waiting.values().sum();
        let own = waiting.get(&address).copied().unwrap_or_default();
        if all >= MOST_WAITING || own >= MOST_OF_ADDRESS {
            return None;
        }
        waiting.insert(address, own.saturating_add(1));
        Some(Place { lane: self, address })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut waiting = self.lane.lock();
        match waiting.get_mut(&self.address) {
            Some(own) if *own > 1 => *own = own.saturating_sub(1),
            Some(_) | None => drop(waiting.remove(&self.address)),
        }
    }
}

impl fmt::Debug for Predecessor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Predecessor(asked)" } else { "Predecessor(nobody)" })
    }
}

fn names(identity: &ClientIdentity) -> Names {
    ClientName::ALL.into_iter().filter_map(|kind| Some((kind, identity.name(kind).ok()?.to_owned()))).collect()
}

/// Carries out what a successor passes on: for a live session's key, and, where a certificate came with it, for the session's own name.
/// Whether it may come without one was the successor's to judge.
pub async fn cancel_passed(sessions: &Sessions, request: &CancelRequest, names: Option<&Names>) -> CancelResult {
    match sessions.find(request) {
        None => CancelResult::UnknownKey,
        Some(session) if names.is_some_and(|names| !session.is_named(names)) => CancelResult::IdentityMismatch,
        Some(session) => forward(&session, request).await,
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use tokio::time::Instant;

    use super::*;
    use crate::wire::CancelKey;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn request() -> CancelRequest {
        CancelRequest { pid: 7, key: CancelKey::new(&[1, 2, 3, 4]).unwrap() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_predecessor_that_does_not_answer_is_waited_for_five_seconds() {
        let (predecessor, _asked) = Predecessor::new();
        let began = Instant::now();
        assert_eq!(predecessor.cancel(address("10.0.0.1"), &request(), None).await, CancelResult::BackendUnreachable);
        assert_eq!(began.elapsed(), PATIENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn one_address_leaves_room_for_others() {
        let (predecessor, mut asked) = Predecessor::new();
        let request = request();
        let ask = |from: &str| Box::pin(predecessor.cancel(address(from), &request, None));
        let mut flood: Vec<_> = (0..MOST_OF_ADDRESS).map(|host| ask(&format!("2001:db8::{host}"))).collect();
        assert!(flood.iter_mut().all(|asking| asking.now_or_never().is_none()));
        assert_eq!(ask("2001:db8::ffff").await, CancelResult::RateLimited);
        let answered = async { asked.recv().await.unwrap().reply.send(CancelResult::Forwarded).unwrap() };
        let (first, ()) = tokio::join!(flood.remove(0), answered);
        assert_eq!(first, CancelResult::Forwarded);
        let mut neighbour = ask("10.0.0.1");
        assert!((&mut neighbour).now_or_never().is_none(), "another address is passed on");
        let mut again = ask("2001:db8::ffff");
        assert!((&mut again).now_or_never().is_none(), "and so is this one, now that one of its requests is answered");
    }
}
