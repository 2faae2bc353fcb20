//! Connections that have not logged in yet. Accepting never waits for a place: above the limit the oldest gives way, so that any
//! number of silent sockets holds up nobody who speaks.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::Notify;

/// All connections before their login, in the order of their arrival.
#[derive(Debug, Default)]
pub struct Handshakes(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    arrivals: u64,
    /// Those that may be shed.
    waiting: BTreeMap<u64, Arc<Order>>,
    /// Those that the policy has admitted and the backend has not: they give way to nobody.
    admitted: BTreeMap<u64, Arc<Order>>,
    closing: bool,
}

/// What a connection is told.
#[derive(Debug, Default)]
struct Order {
    given: OnceLock<GiveWay>,
    told: Notify,
}

/// Why a connection must go before it has logged in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GiveWay {
    /// More wait than may, and this is the oldest.
    Oldest,
    /// Nobody is let in any more.
    Closing,
}

/// A connection's place among them; dropping it leaves.
#[derive(Debug)]
pub struct Waiting {
    handshakes: Arc<Handshakes>,
    arrival: u64,
    order: Arc<Order>,
}

impl Handshakes {
    /// Enters a connection; if there are then more than `limit`, the oldest is told to go.
    pub fn enter(self: &Arc<Self>, limit: usize) -> Waiting {
        let order = Arc::new(Order::default());
        let mut state = self.lock();
        state.arrivals = state.arrivals.saturating_add(1);
        let arrival = state.arrivals;
        if state.closing {
            order.give(GiveWay::Closing);
        }
        state.waiting.insert(arrival, Arc::clone(&order));
        if state.waiting.len() > limit.max(1) {
            shed_first(&mut state);
        }
        Waiting { handshakes: Arc::clone(self), arrival, order }
    }

    /// Tells all to go, and all that come from now on.
    pub fn close(&self) {
        let mut state = self.lock();
        state.closing = true;
        state.waiting.values().chain(state.admitted.values()).for_each(|order| order.give(GiveWay::Closing));
    }

    /// Tells the oldest to go; `false` if there is none.
    pub fn shed_oldest(&self) -> bool {
        shed_first(&mut self.lock())
    }

    /// A poisoned lock holds a sound state: nothing between lock and unlock can panic half-way.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn shed_first(state: &mut State) -> bool {
    state.waiting.pop_first().map(|(_, oldest)| oldest.give(GiveWay::Oldest)).is_some()
}

impl Order {
    /// The first order stands.
    fn give(&self, order: GiveWay) {
        let _ = self.given.set(order);
        self.told.notify_one();
    }
}

impl Waiting {
    /// The policy has admitted this connection: from now on it gives way to nobody, until the daemon closes.
    pub fn admit(&self) {
        let mut state = self.handshakes.lock();
        if let Some(order) = state.waiting.remove(&self.arrival) {
            state.admitted.insert(self.arrival, order);
        }
    }

    /// Resolves when this connection must give way. Cancel-safe, and whoever asks again is told again.
    pub async fn must_go(&self) -> GiveWay {
        loop {
            if let Some(order) = self.order.given.get() {
                return *order;
            }
            self.order.told.notified().await;
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut state = self.handshakes.lock();
        state.waiting.remove(&self.arrival);
        state.admitted.remove(&self.arrival);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    async fn is_shed(waiting: &Waiting) -> bool {
        timeout(Duration::ZERO, waiting.must_go()).await == Ok(GiveWay::Oldest)
    }

    #[tokio::test(start_paused = true)]
    async fn above_the_limit_the_oldest_gives_way() {
        let handshakes = Arc::new(Handshakes::default());
        let [first, second] = [handshakes.enter(2), handshakes.enter(2)];
        assert!(!is_shed(&first).await);
        let third = handshakes.enter(2);
        assert!(is_shed(&first).await && is_shed(&first).await);
        assert!(!is_shed(&second).await && !is_shed(&third).await);
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_left_makes_room() {
        let handshakes = Arc::new(Handshakes::default());
        let first = handshakes.enter(1);
        drop(first);
        let second = handshakes.enter(1);
        assert!(!is_shed(&second).await);
        assert!(handshakes.shed_oldest());
        assert!(is_shed(&second).await);
        assert!(!handshakes.shed_oldest());
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_admitted_gives_way_to_nobody_until_the_door_closes() {
        let handshakes = Arc::new(Handshakes::default());
        let first = handshakes.enter(1);
        first.admit();
        let second = handshakes.enter(1);
        let _third = handshakes.enter(1);
        assert!(!is_shed(&first).await && is_shed(&second).await);
        handshakes.close();
        assert_eq!(first.must_go().await, GiveWay::Closing);
        assert_eq!(handshakes.enter(1).must_go().await, GiveWay::Closing);
    }
}
