//! Which rules and map lines can match at all: those that name others are not looked at, so that thousands of them cost no more than a few.
//!
//! It leaves out nothing that could match, and keeps the order. Whoever wants to see every line does without it.

use std::collections::HashMap;
use std::net::IpAddr;

use super::Request;
use super::map::{MapLine, MapName, SystemUser};
use super::rule::{AddressPattern, DatabasePattern, Rule, UserPattern};
use crate::types::{DatabaseName, RoleName};

/// The rules by what they name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RuleIndex {
    by_user: HashMap<RoleName, Vec<usize>>,
    by_database: HashMap<DatabaseName, Vec<usize>>,
    others: Vec<usize>,
    /// Of each rule the first and the last address that it can match: side by side, so that thousands are looked through at once.
    reaches: Vec<(u128, u128)>,
}

/// The lines of each map by the name that they are about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct MapIndex(HashMap<MapName, MapLines>);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct MapLines {
    by_name: HashMap<Box<[u8]>, Vec<usize>>,
    others: Vec<usize>,
}

impl RuleIndex {
    pub(super) fn new(rules: &[Rule]) -> Self {
        let mut index = Self::default();
        for (number, rule) in rules.iter().enumerate() {
            index.reaches.push(reach(&rule.address));
            let users: Option<Vec<_>> = rule.users.iter().map(UserPattern::name).collect();
            let databases: Option<Vec<_>> = rule.databases.iter().map(DatabasePattern::name).collect();
            match (users, databases) {
                (Some(names), _) => names.into_iter().for_each(|name| enter(&mut index.by_user, name, number)),
                (None, Some(names)) => names.into_iter().for_each(|name| enter(&mut index.by_database, name, number)),
                (None, None) => index.others.push(number),
            }
        }
        index
    }

    /// The rules that can match a request for what `rule` names first, in order: among them is every one that takes all it could match.
    pub(super) fn beside<'a>(&'a self, rule: &Rule) -> impl Iterator<Item = usize> + use<'a> {
        let user = rule.users.first().and_then(UserPattern::name).map(|name| entered(&self.by_user, name));
        let database = rule.databases.first().and_then(DatabasePattern::name).map(|name| entered(&self.by_database, name));
        Merged([user.unwrap_or_default(), database.unwrap_or_default(), &self.others])
    }

    /// Whether a rule that names all its users names this one; `None` of a rule that does not name all of them.
    pub(super) fn names(&self, number: usize, rule: &Rule, user: &RoleName) -> Option<bool> {
        let named = |name: &RoleName| entered(&self.by_user, name).binary_search(&number).is_ok();
        rule.users.first().and_then(UserPattern::name).is_some_and(named).then(|| named(user))
    }

    /// The rules that can match, in order.
    pub(super) fn candidates<'a>(&'a self, request: &Request) -> impl Iterator<Item = usize> + use<'a> {
        let at = as_number(request.address.ip());
        let reached = move |number: &usize| self.reaches.get(*number).is_none_or(|(first, last)| (*first..=*last).contains(&at));
        Merged([entered(&self.by_user, &request.user), entered(&self.by_database, &request.database), &self.others]).filter(reached)
    }
}

impl MapIndex {
    pub(super) fn new(lines: &[MapLine]) -> Self {
        let mut maps: HashMap<MapName, MapLines> = HashMap::new();
        for (number, line) in lines.iter().enumerate() {
            let map = maps.entry(line.map.clone()).or_default();
            match &line.system_user {
                SystemUser::Name(name) => enter(&mut map.by_name, name, number),
                SystemUser::Matching(_) => map.others.push(number),
            }
        }
        Self(maps)
    }

    /// The lines of a map that can be about a name, in order.
    pub(super) fn candidates<'a>(&'a self, map: &MapName, name: &str) -> impl Iterator<Item = usize> + use<'a> {
        let lines = self.0.get(map);
        let named = lines.and_then(|lines| lines.by_name.get(name.as_bytes())).map(Vec::as_slice);
        Merged([named.unwrap_or_default(), lines.map(|lines| lines.others.as_slice()).unwrap_or_default(), &[]])
    }
}

/// The addresses that a pattern can match, as numbers, or more.
fn reach(pattern: &AddressPattern) -> (u128, u128) {
    match pattern {
        AddressPattern::Network(network) => (as_number(network.network()), as_number(network.broadcast())),
        AddressPattern::All | AddressPattern::SameHost | AddressPattern::SameNet => (0, u128::MAX),
    }
}

/// An IPv4 address has the number of its IPv6 form, ::ffff:a.b.c.d: that the families differ is for the rule to say.
fn as_number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// A rule can name the same twice.
fn enter<K: Clone + Eq + std::hash::Hash>(places: &mut HashMap<K, Vec<usize>>, key: &K, number: usize) {
    let numbers = places.entry(key.clone()).or_default();
    if numbers.last() != Some(&number) {
        numbers.push(number);
    }
}

fn entered<'a, K: Eq + std::hash::Hash>(places: &'a HashMap<K, Vec<usize>>, key: &K) -> &'a [usize] {
    places.get(key).map(Vec::as_slice).unwrap_or_default()
}

/// Lists in ascending order as one.
struct Merged<'a>([&'a [usize]; 3]);

impl Iterator for Merged<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let least = self.0.iter().filter_map(|list| list.first().copied()).min()?;
        for list in &mut self.0 {
            if let Some((first, rest)) = list.split_first()
                && *first == least
            {
                *list = rest;
            }
        }
        Some(least)
    }
}
