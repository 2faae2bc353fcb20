//! Which addresses fail too often. Only failures are counted, so a busy pool that succeeds is never held up; and an address above its
//! budget is slowed to a few handshakes at a time, never shut out, because a load balancer or NAT may share it with the innocent.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout};

use super::network_of;

/// Addresses that are remembered at once, whatever the network sends: the table never grows.
const ROWS: usize = 1024;
/// Addresses of one row; the one that has failed least gives way to a new one.
const WAYS: usize = 4;
/// Handshakes that an address above its budget may have at a time.
const TURNS: usize = 4;
/// The longest that a handshake waits for its turn: what an innocent neighbour of a flood feels.
const LONGEST_WAIT: Duration = Duration::from_millis(150);
/// How long a failed handshake of a slowed address keeps its turn.
const PENALTY: Duration = Duration::from_millis(100);

/// Where addresses are that hash alike. Most rows of a quiet door are never made.
type Row = Option<Box<[Option<Entry>; WAYS]>>;

/// The failures of addresses, as leaky buckets in a table of fixed size.
pub struct FailureBudget {
    table: Mutex<Box<[Row]>>,
    hasher: RandomState,
    started: Instant,
}

/// One address.
#[derive(Clone)]
struct Entry {
    address: IpAddr,
    /// Failures that have not leaked away, in thousandths.
    level: u64,
    /// Milliseconds from the start to the last change.
    at: u64,
    /// Made when the address first exceeds its budget.
    turns: Option<Arc<Semaphore>>,
}

/// A handshake's turn; it is at once everybody's who keeps to the budget.
#[derive(Debug, Default)]
pub struct Turn(Option<OwnedSemaphorePermit>);

impl Default for FailureBudget {
    fn default() -> Self {
        Self { table: Mutex::new(vec![None; ROWS].into()), hasher: RandomState::new(), started: Instant::now() }
    }
}

impl FailureBudget {
    /// Notes a failure.
    pub fn charge(&self, address: IpAddr, per_second: u32) {
        let address = network_of(address);
        let now = self.now();
        self.with_entry(address, now, per_second, |entry| entry.level = entry.level.saturating_add(1000));
    }

    /// Waits for a turn, if the address is above its budget; 150 ms at most. Cancel-safe.
    pub async fn turn(&self, address: IpAddr, per_second: u32) -> Turn {
        match self.turns_of(network_of(address), per_second) {
            None => Turn(None),
            Some(turns) => Turn(timeout(LONGEST_WAIT, turns.acquire_owned()).await.ok().and_then(Result::ok)),
        }
    }

    /// The turns of an address above its budget; `None` for all others.
    fn turns_of(&self, address: IpAddr, per_second: u32) -> Option<Arc<Semaphore>> {
        let now = self.now();
        let row = self.row_of(address);
        let mut table = self.lock();
        let entry = table.get_mut(row)?.as_mut()?.iter_mut().flatten().find(|entry| entry.address == address)?;
        entry.leak(now, per_second);
        let burst = u64::from(per_second).saturating_mul(1000);
        (entry.level > burst).then(|| Arc::clone(entry.turns.get_or_insert_with(|| Arc::new(Semaphore::new(TURNS)))))
    }

    fn with_entry(&self, address: IpAddr, now: u64, per_second: u32, change: impl FnOnce(&mut Entry)) {
        let row = self.row_of(address);
        let mut table = self.lock();
        let Some(row) = table.get_mut(row) else { return };
        let row = row.get_or_insert_with(|| Box::new([const { None }; WAYS]));
        row.iter_mut().flatten().for_each(|entry| entry.leak(now, per_second));
        let known = row.iter().position(|entry| entry.as_ref().is_some_and(|entry| entry.address == address));
        let least = || row.iter().enumerate().min_by_key(|(_, entry)| entry.as_ref().map_or(0, |entry| entry.level)).map(|(at, _)| at);
        let Some(slot) = known.or_else(least).and_then(|at| row.get_mut(at)) else { return };
        let fresh = Entry { address, level: 0, at: now, turns: None };
        let entry = match slot {
            Some(entry) if entry.address == address => entry,
            slot => slot.insert(fresh),
        };
        change(entry);
    }

    fn row_of(&self, address: IpAddr) -> usize {
        let hash = self.hasher.hash_one(address);
        usize::try_from(hash).unwrap_or(0).checked_rem(ROWS).unwrap_or(0)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// A poisoned lock holds a sound state: nothing between lock and unlock can panic half-way.
    fn lock(&self) -> MutexGuard<'_, Box<[Row]>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    /// One failure in `1 / per_second` seconds is forgiven.
    fn leak(&mut self, now: u64, per_second: u32) {
        let leaked = now.saturating_sub(self.at).saturating_mul(u64::from(per_second));
        // More than ten seconds' worth is never owed, so that a flood is not remembered for an hour.
        let most = u64::from(per_second).saturating_mul(10_000);
        self.level = self.level.min(most).saturating_sub(leaked);
        self.at = now;
    }
}

impl Turn {
    /// Gives the turn back after a failure: that of a slowed address a little later, so that failing fast gains nothing.
    pub fn failed(self) {
        if let Some(permit) = self.0 {
            tokio::spawn(async move {
                sleep(PENALTY).await;
                drop(permit);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const PER_SECOND: u32 = 50;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn fail(budget: &FailureBudget, who: &str, times: u32) {
        (0..times).for_each(|_| budget.charge(address(who), PER_SECOND));
    }

    fn is_slowed(budget: &FailureBudget, who: &str) -> bool {
        budget.turns_of(network_of(address(who)), PER_SECOND).is_some()
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_above_its_budget_is_slowed_until_its_failures_have_leaked_away() {
        let budget = FailureBudget::default();
        fail(&budget, "10.0.0.1", 50);
        assert!(!is_slowed(&budget, "10.0.0.1"));
        fail(&budget, "10.0.0.1", 10);
        assert!(is_slowed(&budget, "10.0.0.1"));
        assert!(!is_slowed(&budget, "10.0.0.2"));
        advance(Duration::from_millis(300)).await;
        assert!(!is_slowed(&budget, "10.0.0.1"));
    }

    #[tokio::test(start_paused = true)]
    async fn hosts_of_one_ipv6_network_are_one() {
        let budget = FailureBudget::default();
        fail(&budget, "2001:db8::1", 60);
        assert!(is_slowed(&budget, "2001:db8::ffff:2"));
        assert!(!is_slowed(&budget, "2001:db8:0:1::1"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slowed_address_has_few_turns_and_nobody_waits_long_for_one() {
        let budget = FailureBudget::default();
        fail(&budget, "10.0.0.1", 400);
        let mut held = Vec::new();
        for _ in 0..TURNS {
            held.push(budget.turn(address("10.0.0.1"), PER_SECOND).await);
        }
        let start = Instant::now();
        let late = budget.turn(address("10.0.0.1"), PER_SECOND).await;
        assert_eq!((late.0.is_none(), start.elapsed()), (true, LONGEST_WAIT));
        held.pop().unwrap().failed();
        tokio::task::yield_now().await;
        assert!(budget.turn(address("10.0.0.1"), PER_SECOND).await.0.is_some(), "after the penalty the turn is free");
        assert_eq!(start.elapsed(), LONGEST_WAIT + PENALTY);
    }

    #[tokio::test(start_paused = true)]
    async fn the_table_never_grows_and_forgets_who_failed_least() {
        let budget = FailureBudget::default();
        fail(&budget, "10.0.0.1", 400);
        (0..20_000u32).for_each(|number| budget.charge(IpAddr::from(number.to_be_bytes()), PER_SECOND));
        assert!(is_slowed(&budget, "10.0.0.1"));
    }
}
