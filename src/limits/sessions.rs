//! How many sessions there may be: in all, of a role, of an address, of a rule.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::network_of;
use crate::error::Limit;
use crate::types::RoleName;

/// Slots of `max_connections` that only rules marked `reserved` may use, where there is such a rule: as many as PostgreSQL's
/// superuser_reserved_connections has by default.
const RESERVED: usize = 3;

/// The limits; `None` is no limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionLimits {
    /// Sessions in all.
    pub total: usize,
    /// Whether a rule is marked `reserved`.
    pub reserve: bool,
    /// Sessions of one role.
    pub per_role: Option<usize>,
    /// Sessions of one client address, IPv6 by /64.
    pub per_address: Option<usize>,
}

/// What a session counts as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its role.
    pub role: RoleName,
    /// Its client's address; an IPv6 host counts as its whole /64.
    pub address: IpAddr,
    /// The rule that admits it.
    pub rule: Box<str>,
    /// That rule's own limit.
    pub rule_limit: Option<usize>,
    /// Whether that rule is marked `reserved`.
    pub reserved: bool,
}

/// The sessions there are, counted.
#[derive(Debug, Default)]
pub struct SessionSlots(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    total: usize,
    roles: HashMap<RoleName, usize>,
    addresses: HashMap<IpAddr, usize>,
    rules: HashMap<Box<str>, usize>,
}

/// A session's slot; dropping it frees it.
#[derive(Debug)]
pub struct SessionPermit {
    slots: Arc<SessionSlots>,
    wanted: Box<Wanted>,
}

impl SessionSlots {
    /// Takes a slot.
    ///
    /// # Errors
    /// The first limit that is reached.
    pub fn take(self: &Arc<Self>, wanted: Wanted, limits: &SessionLimits) -> Result<SessionPermit, Limit> {
        let wanted = Wanted { address: network_of(wanted.address), ..wanted };
        let mut counts = self.lock();
        let kept_back = if limits.reserve && !wanted.reserved { RESERVED } else { 0 };
        if counts.total >= limits.total.saturating_sub(kept_back) {
            return Err(Limit::Connections);
        }
        if is_full(&counts.roles, &wanted.role, limits.per_role) {
            return Err(Limit::Role);
        }
        if is_full(&counts.addresses, &wanted.address, limits.per_address) {
            return Err(Limit::Address);
        }
        if is_full(&counts.rules, &wanted.rule, wanted.rule_limit) {
            return Err(Limit::Rule);
        }
        counts.total = counts.total.saturating_add(1);
        add(&mut counts.roles, &wanted.role);
        add(&mut counts.addresses, &wanted.address);
        add(&mut counts.rules, &wanted.rule);
        drop(counts);
        Ok(SessionPermit { slots: Arc::clone(self), wanted: Box::new(wanted) })
    }

    /// Sessions in all.
    pub fn total(&self) -> usize {
        self.lock().total
    }

    /// A poisoned lock holds a sound state: nothing between lock and unlock can panic half-way.
    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for SessionPermit {
    fn drop(&mut self) {
        let mut counts = self.slots.lock();
        counts.total = counts.total.saturating_sub(1);
        subtract(&mut counts.roles, &self.wanted.role);
        subtract(&mut counts.addresses, &self.wanted.address);
        subtract(&mut counts.rules, &self.wanted.rule);
    }
}

fn is_full<K: Hash + Eq>(counts: &HashMap<K, usize>, key: &K, limit: Option<usize>) -> bool {
    limit.is_some_and(|limit| counts.get(key).copied().unwrap_or(0) >= limit)
}

fn add<K: Hash + Eq + Clone>(counts: &mut HashMap<K, usize>, key: &K) {
    let count = counts.entry(key.clone()).or_insert(0);
    *count = count.saturating_add(1);
}

/// A count of zero is forgotten: names come and go without end.
fn subtract<K: Hash + Eq>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(role: &str, address: &str) -> Wanted {
        let role = RoleName::truncated(role.as_bytes()).unwrap();
        Wanted { role, address: address.parse().unwrap(), rule: "hba[0]".into(), rule_limit: None, reserved: false }
    }

    const OPEN: SessionLimits = SessionLimits { total: 1000, reserve: false, per_role: None, per_address: None };

    #[test]
    fn each_limit_refuses_on_its_own_and_a_session_that_ends_makes_room() {
        for (limits, rule_limit, reached) in [
            (SessionLimits { total: 1, ..OPEN }, None, Limit::Connections),
            (SessionLimits { per_role: Some(1), ..OPEN }, None, Limit::Role),
            (SessionLimits { per_address: Some(1), ..OPEN }, None, Limit::Address),
            (OPEN, Some(1), Limit::Rule),
        ] {
            let slots = Arc::new(SessionSlots::default());
            let take = || slots.take(Wanted { rule_limit, ..wanted("alice", "10.0.0.1") }, &limits);
            let first = take().unwrap();
            assert_eq!(take().err(), Some(reached));
            drop(first);
            assert!(take().is_ok());
            assert_eq!(slots.total(), 0);
            assert!(slots.lock().roles.is_empty() && slots.lock().addresses.is_empty() && slots.lock().rules.is_empty());
        }
    }

    #[test]
    fn hosts_of_one_ipv6_network_share_the_limit_of_an_address() {
        let limits = SessionLimits { per_address: Some(1), ..OPEN };
        let slots = Arc::new(SessionSlots::default());
        let held = slots.take(wanted("alice", "2001:db8::1"), &limits).unwrap();
        assert_eq!(slots.take(wanted("bob", "2001:db8::ffff:2"), &limits).err(), Some(Limit::Address));
        assert!(slots.take(wanted("bob", "2001:db8:0:1::1"), &limits).is_ok());
        drop(held);
        assert!(slots.take(wanted("bob", "2001:db8::ffff:2"), &limits).is_ok());
    }

    #[test]
    fn the_last_slots_are_for_rules_that_are_marked_reserved() {
        let limits = SessionLimits { total: 4, reserve: true, ..OPEN };
        let slots = Arc::new(SessionSlots::default());
        let _ordinary = slots.take(wanted("alice", "10.0.0.1"), &limits).unwrap();
        assert_eq!(slots.take(wanted("bob", "10.0.0.2"), &limits).err(), Some(Limit::Connections));
        let reserved = || slots.take(Wanted { reserved: true, ..wanted("admin", "10.0.0.3") }, &limits);
        let held = [reserved(), reserved(), reserved()];
        assert!(held.iter().all(Result::is_ok));
        assert_eq!(reserved().err(), Some(Limit::Connections));
    }
}
