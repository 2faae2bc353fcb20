//! The `hba` list: pg_hba.conf's columns as keys, to PostgreSQL's meaning of each word.
//!
//! A word that means more in pg_hba.conf than this version implements is refused, never taken for a name.

use super::diagnostic::Faults;
use super::raw::{Node, Value};
use super::reader::{Read, Section, Wrong};
use super::values::{LONGEST_SESSION, address, boolean, choice, count_or_none, duration_or_never, text};
use crate::identity::ClientName;
use crate::policy::{AddressPattern, Bounds, DatabasePattern, IdentityMaps, Method, Policy, Rule, UserName, UserPattern};
use crate::types::{DatabaseName, MAX_NAME_LENGTH, RoleName};

/// The rules of the file, or `hostssl all all all cert` where it has none.
pub(super) fn policy(root: &Section<'_>, faults: &mut Faults) -> Option<Policy> {
    let Some(node) = root.find("hba") else { return Some(Policy::new(vec![everyone()], IdentityMaps::default())) };
    let Value::List(items) = &node.value else {
        root.fault("hba", no_rules(), faults);
        return None;
    };
    if items.is_empty() {
        root.fault("hba", no_rules(), faults);
        return None;
    }
    let rules: Vec<Option<Rule>> = items.iter().enumerate().map(|(number, item)| rule(number, item, faults)).collect();
    rules.into_iter().collect::<Option<Vec<Rule>>>().map(|rules| Policy::new(rules, IdentityMaps::default()))
}

/// PostgreSQL does not start with a pg_hba.conf without entries either.
fn no_rules() -> Wrong {
    Wrong::new("a list of at least one rule", "write - { database: all, user: all, address: all, method: cert }")
}

/// What the absence of `hba` means.
fn everyone() -> Rule {
    Rule {
        databases: vec![DatabasePattern::All],
        users: vec![UserPattern::All],
        address: AddressPattern::All,
        method: Method::Cert,
        clientname: ClientName::CommonName,
        map: None,
        user_name: UserName::Requested,
        denied_parameters: Vec::new(),
        bounds: Bounds::default(),
        source: source(0),
    }
}

fn source(number: usize) -> Box<str> {
    format!("hba[{number}]").into()
}

fn rule(number: usize, node: &Node, faults: &mut Faults) -> Option<Rule> {
    let source = source(number);
    let section = Section::of(node, source.to_string(), faults);
    let databases = section.one_or_more("database", database, faults);
    let users = section.one_or_more("user", user, faults);
    let address = section.required("address", address, faults);
    let method = section.required("method", method, faults);
    let bounds = bounds(&section, faults);
    Some(Rule {
        databases: databases?,
        users: users?,
        address: address?,
        method: method?,
        clientname: ClientName::CommonName,
        map: None,
        user_name: UserName::Requested,
        denied_parameters: Vec::new(),
        bounds: bounds?,
        source,
    })
}

fn bounds(section: &Section<'_>, faults: &mut Faults) -> Option<Bounds> {
    let max_connections = section.optional("max_connections", None, count_or_none, faults);
    let idle_session_timeout = section.optional("idle_session_timeout", None, duration_or_never(LONGEST_SESSION), faults);
    let max_session_lifetime = section.optional("max_session_lifetime", None, duration_or_never(LONGEST_SESSION), faults);
    let reserved = section.optional("reserved", false, boolean, faults);
    Some(Bounds {
        max_connections: max_connections?,
        idle_session_timeout: idle_session_timeout?,
        max_session_lifetime: max_session_lifetime?,
        reserved: reserved?,
    })
}

fn database(node: &Node) -> Read<DatabasePattern> {
    let expected = "a database's name, all or replication";
    match name(node, expected)? {
        "all" => Ok(DatabasePattern::All),
        "replication" => Ok(DatabasePattern::Replication),
        "sameuser" | "samerole" | "samegroup" => Err(Wrong::unbuilt(expected)),
        name => DatabaseName::truncated(name.as_bytes()).map(DatabasePattern::Name).ok_or_else(|| empty(expected)),
    }
}

fn user(node: &Node) -> Read<UserPattern> {
    let expected = "a role's name or all";
    match name(node, expected)? {
        "all" => Ok(UserPattern::All),
        name if name.starts_with('+') => Err(Wrong::unbuilt(expected)),
        name => RoleName::truncated(name.as_bytes()).map(UserPattern::Name).ok_or_else(|| empty(expected)),
    }
}

/// A text that can be a name or one of pg_hba.conf's keywords.
fn name<'a>(node: &'a Node, expected: &'static str) -> Read<&'a str> {
    let name = text(node, || match &node.value {
        Value::Boolean(_) | Value::Number { .. } => Wrong::new(expected, "write a name that looks like something else in quotes"),
        Value::Null | Value::Text(_) | Value::List(_) | Value::Map(_) => Wrong::new(expected, "write a name or a list of names"),
    })?;
    if name.is_empty() || name.contains('\0') {
        return Err(empty(expected));
    }
    if name.starts_with('/') || name.starts_with('@') {
        return Err(Wrong::unbuilt(expected));
    }
    if name.contains(',') {
        return Err(Wrong::new(expected, "write several names as a list, [a, b]").which("which holds a comma"));
    }
    if name.len() > MAX_NAME_LENGTH {
        // PostgreSQL cuts the name that a client asks for, not the rule's: the rule would match nobody.
        return Err(Wrong::new(expected, "cut it to 63 bytes, as PostgreSQL cut the name").which("which is longer than 63 bytes"));
    }
    Ok(name)
}

fn empty(expected: &'static str) -> Wrong {
    Wrong::new(expected, "write a name of 1 to 63 bytes without NUL")
}

fn method(node: &Node) -> Read<Method> {
    match &node.value {
        Value::Text(word) if OTHER_METHODS.contains(&word.as_str()) => Err(Wrong::unbuilt("cert or reject")),
        Value::Text(word) if NEVER_METHODS.contains(&word.as_str()) => {
            Err(Wrong::new("cert or reject", "write cert: Postern lets nobody in without a certificate"))
        }
        Value::Null | Value::Boolean(_) | Value::Number { .. } | Value::Text(_) | Value::List(_) | Value::Map(_) => {
            choice(&[("cert", Method::Cert), ("reject", Method::Reject)])(node)
        }
    }
}

const OTHER_METHODS: [&str; 1] = ["scram-sha-256"];

/// pg_hba.conf's other methods, which have no meaning in front of PostgreSQL.
const NEVER_METHODS: [&str; 12] = ["trust", "md5", "password", "gss", "sspi", "ident", "peer", "ldap", "radius", "pam", "bsd", "oauth"];
