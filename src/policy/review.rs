//! What is probably not meant: rules that can never match, expressions that match more than a whole name, maps that reach superusers.
//!
//! None of it is a fault: PostgreSQL would do the same.

use super::Policy;
use super::map::{MapLine, PgUser, SystemUser};
use super::pattern::Pattern;
use super::rule::{AddressPattern, DatabasePattern, Rule, UserPattern};
use crate::notice::Notice;

impl Policy {
    /// What an operator should look at; of many of a kind the first ones.
    pub fn review(&self) -> Vec<Notice> {
        let shadowed = self.rules().iter().enumerate().filter_map(|(number, rule)| self.shadow(number, rule));
        let unanchored = self.rules().iter().flat_map(unanchored_in_rule);
        let lines = self.maps().lines();
        let reaching = lines.iter().filter_map(reaches_superusers);
        let lacking = lines.iter().filter_map(lacks_its_group);
        let lines = lines.iter().flat_map(unanchored_in_line);
        [first(shadowed), first(unanchored.chain(lines)), first(reaching), first(lacking)].concat()
    }

    /// The earlier rule that takes everybody whom `rule` could match. Only one that a request for what `rule` names meets can.
    fn shadow(&self, number: usize, rule: &Rule) -> Option<Notice> {
        let before = self.index.beside(rule).take_while(|other| *other < number);
        let mut before = before.filter_map(|other| Some((other, self.rules().get(other)?)));
        let (_, cover) = before.find(|(other, earlier)| covers(earlier, rule) && self.covers_users(*other, earlier, rule))?;
        let found = format!("{}: can never match: {} takes everybody before it", rule.source, cover.source);
        Some(Notice::new(found, "move or remove one of them"))
    }
}

impl Policy {
    /// Whether every user of `rule` is one of an earlier rule, whose number is `other`. Two long lists of names are not compared name by name.
    fn covers_users(&self, other: usize, earlier: &Rule, rule: &Rule) -> bool {
        rule.users.iter().all(|one| {
            let named = one.name().and_then(|name| self.index.names(other, earlier, name));
            named.unwrap_or_else(|| earlier.users.iter().any(|pattern| pattern == one || *pattern == UserPattern::All))
        })
    }
}

/// A file of nothing but remarks must not fill the screen.
const MOST: usize = 20;

fn first(remarks: impl Iterator<Item = Notice>) -> Vec<Notice> {
    let mut all: Vec<Notice> = remarks.collect();
    let more = all.len().saturating_sub(MOST);
    all.truncate(MOST);
    if more > 0 {
        all.push(Notice::new(format!("and {more} more of this kind"), "mend the first ones, and look again"));
    }
    all
}

/// Whether every database and address of `rule` is one of the earlier rule.
fn covers(earlier: &Rule, rule: &Rule) -> bool {
    let database = |one: &DatabasePattern| {
        earlier.databases.iter().any(|other| other == one || (*other == DatabasePattern::All && *one != DatabasePattern::Replication))
    };
    let address = match (&earlier.address, &rule.address) {
        (AddressPattern::All, _) => true,
        (AddressPattern::Network(wide), AddressPattern::Network(narrow)) => wide.contains(narrow),
        (one, other) => one == other,
    };
    address && rule.databases.iter().all(database)
}

fn unanchored_in_rule(rule: &Rule) -> impl Iterator<Item = Notice> {
    let databases = rule.databases.iter().filter_map(|pattern| match pattern {
        DatabasePattern::Matching(pattern) => Some(pattern),
        DatabasePattern::All
        | DatabasePattern::SameUser
        | DatabasePattern::SameRole
        | DatabasePattern::Replication
        | DatabasePattern::Name(_) => None,
    });
    let users = rule.users.iter().filter_map(|pattern| match pattern {
        UserPattern::Matching(pattern) => Some(pattern),
        UserPattern::All | UserPattern::Group(_) | UserPattern::Name(_) => None,
    });
    databases.chain(users).filter_map(|pattern| unanchored(&rule.source, pattern))
}

fn unanchored_in_line(line: &MapLine) -> impl Iterator<Item = Notice> {
    let system_user = match &line.system_user {
        SystemUser::Matching(pattern) => Some(pattern),
        SystemUser::Name(_) => None,
    };
    let pg_user = match &line.pg_user {
        PgUser::Matching(pattern) => Some(pattern),
        PgUser::All | PgUser::Group(_) | PgUser::Name(_) | PgUser::Template { .. } => None,
    };
    system_user.into_iter().chain(pg_user).filter_map(|pattern| unanchored(&line.source, pattern))
}

fn unanchored(source: &str, pattern: &Pattern) -> Option<Notice> {
    let found = || format!("{source}: {pattern} matches a part of a name, wherever it stands");
    (!pattern.is_anchored()).then(|| Notice::new(found(), "begin it with ^ and end it with $ to mean the whole"))
}

/// Whether the line can yield `postgres`, the usual superuser, or one of the predefined roles, although it does not name them.
fn reaches_superusers(line: &MapLine) -> Option<Notice> {
    let reached = match &line.pg_user {
        PgUser::All => true,
        PgUser::Matching(pattern) => pattern.is_match(b"postgres") || pattern.is_match(b"pg_read_all_data"),
        PgUser::Template { before, after } => {
            let superuser: &[u8] = b"postgres";
            let whole = superuser.strip_prefix(&**before).is_some_and(|rest| rest.ends_with(after));
            whole || b"pg_".starts_with(before) || before.starts_with(b"pg_")
        }
        PgUser::Group(_) | PgUser::Name(_) => false,
    };
    let found = || format!("{}: can admit as postgres or as a role pg_*, which it does not name", line.source);
    reached.then(|| Notice::new(found(), "narrow it if that is not meant"))
}

fn lacks_its_group(line: &MapLine) -> Option<Notice> {
    let lacking = match (&line.system_user, &line.pg_user) {
        (SystemUser::Matching(pattern), PgUser::Template { .. }) => !pattern.has_group(),
        (SystemUser::Matching(_) | SystemUser::Name(_), _) => false,
    };
    let found = || format!("{}: asks for \\1, and the regular expression has no group: whom it matches is refused", line.source);
    lacking.then(|| Notice::new(found(), "put what \\1 is to stand for in parentheses"))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{everyone, line, named, role, rule};
    use super::super::{IdentityMaps, Method};
    use super::*;

    fn review(rules: Vec<Rule>, lines: Vec<MapLine>) -> Vec<String> {
        Policy::new(rules, IdentityMaps::new(lines)).review().iter().map(ToString::to_string).collect()
    }

    fn pattern(source: &str) -> Pattern {
        Pattern::parse(source.as_bytes()).unwrap()
    }

    #[test]
    fn a_rule_behind_one_that_takes_all_it_could_match_is_named() {
        let of = |database: &str, user: &str, network: &str| {
            rule(vec![named(database)], vec![UserPattern::Name(role(user))], network, Method::Cert)
        };
        let physical = rule(vec![DatabasePattern::Replication], vec![UserPattern::All], "all", Method::Cert);
        let found = review(vec![of("app", "bob", "10.0.0.0/8"), of("app", "bob", "10.1.0.0/16"), of("app", "bob", "11.0.0.0/8")], vec![]);
        assert_eq!(found, ["Cert 10.1.0.0/16: can never match: Cert 10.0.0.0/8 takes everybody before it; move or remove one of them"]);
        assert_eq!(review(vec![everyone(Method::Reject), physical], vec![]), Vec::<String>::new());
        assert_eq!(review(vec![everyone(Method::Reject), of("app", "bob", "all")], vec![]).len(), 1);
        assert_eq!(review(vec![of("app", "bob", "all"), everyone(Method::Cert)], vec![]), Vec::<String>::new());
    }

    #[test]
    fn long_lists_of_names_are_compared_like_short_ones() {
        let of = |range: std::ops::Range<usize>, more: Option<UserPattern>| {
            let names = range.map(|number| UserPattern::Name(role(&format!("u{number}"))));
            rule(vec![DatabasePattern::All], names.chain(more).collect(), "all", Method::Cert)
        };
        assert_eq!(review(vec![of(0..50_000, None), of(0..50_000, None)], vec![]).len(), 1);
        assert_eq!(review(vec![of(0..50_000, None), of(0..50_001, None)], vec![]).len(), 0);
        assert_eq!(review(vec![of(0..10, Some(UserPattern::All)), of(5..20, None)], vec![]).len(), 1);
        assert_eq!(
            review(vec![of(0..10, Some(UserPattern::Group(role("g")))), of(5..10, Some(UserPattern::Group(role("g"))))], vec![]).len(),
            1
        );
    }

    #[test]
    fn an_expression_that_is_about_a_part_of_a_name_is_named() {
        let rule = |source: &str| rule(vec![DatabasePattern::Matching(pattern(source))], vec![UserPattern::All], "all", Method::Cert);
        assert_eq!(review(vec![rule("^app$")], vec![]), Vec::<String>::new());
        assert!(review(vec![rule("^app")], vec![]).concat().contains("/^app matches a part of a name"));
    }

    #[test]
    fn a_map_that_reaches_superusers_without_naming_them_is_named() {
        let of = |pg_user| MapLine { system_user: SystemUser::Matching(pattern("^(.*)$")), ..line("m", "x", pg_user) };
        let template = |before: &str, after: &str| PgUser::Template { before: before.as_bytes().into(), after: after.as_bytes().into() };
        for reaching in [PgUser::All, template("", ""), template("post", "s"), template("pg_r", ""), PgUser::Matching(pattern("^p"))] {
            assert!(review(vec![], vec![of(reaching.clone())]).concat().contains("can admit as postgres"), "{reaching:?}");
        }
        for harmless in [PgUser::Name(role("postgres")), template("svc_", "")] {
            assert_eq!(review(vec![], vec![of(harmless.clone())]), Vec::<String>::new(), "{harmless:?}");
        }
    }

    #[test]
    fn a_map_line_without_the_group_that_it_asks_for_is_named() {
        let template = PgUser::Template { before: (*b"svc_").into(), after: [].into() };
        let line = MapLine { system_user: SystemUser::Matching(pattern("^a$")), ..line("m", "x", template) };
        assert!(review(vec![], vec![line]).concat().contains("has no group"));
    }
}
