//! The `hba` list: pg_hba.conf's columns as keys, to PostgreSQL's meaning of each word.

use super::diagnostic::Faults;
use super::raw::{Node, Value};
use super::reader::{Read, Section, Wrong};
use super::values::{LONGEST_SESSION, boolean, choice, count_or_none, duration_or_never, nullable, text};
use super::words::{Lookup, Word, address, database, map_name, user};
use crate::identity::ClientName;
use crate::policy::{AddressPattern, Bounds, DatabasePattern, MapName, Method, Rule, UserName, UserPattern};
use crate::types::SettingName;

/// The rules of the list, or `hostssl all all all cert` where there is none.
pub(super) fn rules(root: &Section<'_>, lookup: Lookup, faults: &mut Faults) -> Option<Vec<Rule>> {
    let Some(node) = root.find("hba") else { return Some(vec![everyone()]) };
    let Value::List(items) = &node.value else {
        root.fault("hba", no_rules(), faults);
        return None;
    };
    if items.is_empty() {
        root.fault("hba", no_rules(), faults);
        return None;
    }
    let rules: Vec<Option<Rule>> = items.iter().enumerate().map(|(number, item)| rule(number, item, lookup, faults)).collect();
    rules.into_iter().collect()
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
        clientcert: true,
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

fn rule(number: usize, node: &Node, lookup: Lookup, faults: &mut Faults) -> Option<Rule> {
    let source = source(number);
    let section = Section::of(node, source.to_string(), faults);
    let databases = section.one_or_more("database", |node| database(name(node, "a database's name")?, lookup), faults);
    let users = section.one_or_more("user", |node| user(name(node, "a role's name")?, lookup), faults);
    let address = section.required("address", block, faults);
    let method = section.required("method", method, faults);
    let clientcert = section.optional("clientcert", None, nullable(choice(&[("verify-full", ())])), faults);
    let map = section.optional("map", None, nullable(map), faults);
    let clientname = section.optional("clientname", ClientName::CommonName, clientname, faults);
    let user_names = choice(&[("requested", UserName::Requested), ("mapped", UserName::Mapped)]);
    let user_name = section.optional("user_name", UserName::Requested, user_names, faults);
    let denied_parameters = denied_parameters(&section, faults);
    let bounds = bounds(&section, faults);
    if (method, clientcert) == (Some(Method::ScramWithCertificate), Some(None)) {
        let wrong = Wrong::new("clientcert: verify-full beside it", "add it: nobody comes in without a certificate");
        section.fault("method", wrong, faults);
        return None;
    }
    if (&user_name, &map) == (&Some(UserName::Mapped), &Some(None)) {
        section.fault("user_name", Wrong::new("requested in a rule without a map", "set map to what yields the role"), faults);
        return None;
    }
    Some(Rule {
        databases: databases?,
        users: users?,
        address: address?,
        clientcert: clientcert?.is_some() || method == Some(Method::Cert),
        method: method?,
        clientname: clientname?,
        map: map?,
        user_name: user_name?,
        denied_parameters: denied_parameters?,
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

/// The text of a column that holds names and keywords.
pub(super) fn name<'a>(node: &'a Node, expected: &'static str) -> Read<Word<'a>> {
    let name = text(node, || match &node.value {
        Value::Boolean(_) | Value::Number { .. } => Wrong::new(expected, "write a name that looks like something else in quotes"),
        Value::Null | Value::Text(_) | Value::List(_) | Value::Map(_) => Wrong::new(expected, "write a name or a list of names"),
    })?;
    let word = Word::of(name);
    if !word.quoted && name.starts_with('@') {
        return Err(Wrong::new(expected, "write the names as a list, [a, b]").which("which names a file, as hba_file can"));
    }
    if !word.quoted && !name.starts_with('/') && name.contains(',') {
        return Err(Wrong::new(expected, "write several names as a list, [a, b]").which("which holds a comma"));
    }
    Ok(word)
}

fn block(node: &Node) -> Read<AddressPattern> {
    let wrong = || Wrong::new("a CIDR block, all, samehost or samenet", "write 10.0.0.0/8, \"fd00::/8\" or all");
    address(Word { text: text(node, wrong)?.as_bytes(), quoted: false })
}

fn method(node: &Node) -> Read<Method> {
    match &node.value {
        Value::Text(word) if NEVER_METHODS.contains(&word.as_str()) => {
            Err(Wrong::new("cert, reject or scram-sha-256", "write cert: Postern lets nobody in without a certificate"))
        }
        Value::Null | Value::Boolean(_) | Value::Number { .. } | Value::Text(_) | Value::List(_) | Value::Map(_) => {
            choice(&[("cert", Method::Cert), ("reject", Method::Reject), ("scram-sha-256", Method::ScramWithCertificate)])(node)
        }
    }
}

fn map(node: &Node) -> Read<MapName> {
    map_name(text(node, || Wrong::new("a map's name or null", "write the name of one of the maps in ident"))?.as_bytes())
}

fn clientname(node: &Node) -> Read<ClientName> {
    choice(&ClientName::ALL.map(|kind| (kind.word(), kind)))(node)
}

/// The settings that a rule's clients may not give; none where the list is empty.
fn denied_parameters(section: &Section<'_>, faults: &mut Faults) -> Option<Vec<SettingName>> {
    match section.find("deny_parameters") {
        None => Some(Vec::new()),
        Some(Node { value: Value::List(items), .. }) if items.is_empty() => Some(Vec::new()),
        Some(_) => section.one_or_more("deny_parameters", parameter, faults),
    }
}

fn parameter(node: &Node) -> Read<SettingName> {
    let wrong = |advice: &str| Wrong::new("the name of a run-time setting", advice);
    let name = text(node, || wrong("write a name, as search_path, or a list of names"))?;
    if ["user", "database"].contains(&name) {
        return Err(wrong("use the columns user and database").which("which every session has"));
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.$".contains(&byte) || !byte.is_ascii();
    if name.is_empty() || !name.bytes().all(plain) {
        return Err(wrong("write it as SHOW ALL lists it"));
    }
    Ok(SettingName::new(name.as_bytes()))
}

/// pg_hba.conf's other methods, which have no meaning in front of PostgreSQL.
const NEVER_METHODS: [&str; 12] = ["trust", "md5", "password", "gss", "sspi", "ident", "peer", "ldap", "radius", "pam", "bsd", "oauth"];
