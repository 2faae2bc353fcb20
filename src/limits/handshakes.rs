//! Connections that have not logged in yet. Accepting never waits for a place: above the limit the oldest gives way, so that any
//! number of silent sockets holds up nobody who speaks.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// All connections before their login, in the order of their arrival.
#[derive(Debug, Default)]
pub struct Handshakes(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    arrivals: u64,
    waiting: BTreeMap<u64, Arc<Notify>>,
}

/// A connection's place among them; dropping it leaves.
#[derive(Debug)]
pub struct Waiting {
    handshakes: Arc<Handshakes>,
    arrival: u64,
    shed: Arc<Notify>,
}

impl Handshakes {
    /// Enters a connection; if there are then more than `limit`, the oldest is told to go.
    pub fn enter(self: &Arc<Self>, limit: usize) -> Waiting {
        let shed = Arc::new(Notify::new());
        let mut state = self.lock();
        state.arrivals = state.arrivals.saturating_add(1);
        let arrival = state.arrivals;
        state.waiting.insert(arrival, Arc::clone(&shed));
        if state.waiting.len() > limit.max(1) {
            shed_first(&mut state);
        }
        Waiting { handshakes: Arc::clone(self), arrival, shed }
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
    state.waiting.pop_first().map(|(_, oldest)| oldest.notify_one()).is_some()
}

impl Waiting {
    /// Resolves when this connection must give way. Cancel-safe.
    pub async fn shed(&self) {
        self.shed.notified().await;
        // The order stands: whoever asks again is told again.
        self.shed.notify_one();
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.handshakes.lock().waiting.remove(&self.arrival);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    async fn is_shed(waiting: &Waiting) -> bool {
        timeout(Duration::ZERO, waiting.shed()).await.is_ok()
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
}
