//! Every key that a configuration can have: which of them this version implements, and what was probably meant by any other.

use std::collections::HashMap;

use super::diagnostic::{Diagnostic, Faults, Position, plain};
use super::raw::{Entry, Node, Value};

/// A key of the configuration.
struct Known {
    /// Its path; `[]` stands for any item of a list.
    path: &'static str,
    status: Status,
}

/// Whether this version reads it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Status {
    Built,
    Later,
}

use Status::{Built, Later};

/// Finds unknown keys, keys of later versions and duplicate keys in the whole file.
pub(super) fn check(root: &Node, faults: &mut Faults) {
    if let Value::Map(entries) = &root.value {
        check_mapping(entries, "", "", faults);
    }
}

/// The paths of all keys that this version reads; sections and keys of list items are among them.
#[cfg(test)]
pub(super) fn built() -> impl Iterator<Item = &'static str> {
    KEYS.iter().filter(|known| known.status == Built).map(|known| known.path)
}

/// `path` as the table writes it, `shown` as a fault does: `hba[].user` and `hba[2].user`.
fn check_mapping(entries: &[Entry], path: &str, shown: &str, faults: &mut Faults) {
    let mut places: HashMap<&str, Position> = HashMap::with_capacity(entries.len());
    for Entry { key, node } in entries {
        let here = join(shown, &plain(key));
        if let Some(Position { line, column }) = places.get(key.as_str()) {
            let text = format!("found the key again, expected it once; keep this one or the one at {line}:{column}");
            faults.push(Diagnostic::new(node.at, here, text));
            continue;
        }
        places.insert(key, node.at);
        let path = join(path, if NAMED_FREELY.contains(&path) { "*" } else { key });
        match KEYS.iter().find(|known| known.path == path) {
            None => faults.push(Diagnostic::new(node.at, here, unknown(&path))),
            Some(Known { status: Later, .. }) => faults.push(Diagnostic::new(node.at, here, later(&path))),
            Some(Known { status: Built, .. }) => check_value(&node.value, &path, &here, faults),
        }
    }
}

fn check_value(value: &Value, path: &str, shown: &str, faults: &mut Faults) {
    match value {
        Value::Map(entries) if has_children(path) => check_mapping(entries, path, shown, faults),
        Value::List(items) if has_children(&format!("{path}[]")) => {
            for (number, item) in items.iter().enumerate() {
                if let Value::Map(entries) = &item.value {
                    check_mapping(entries, &format!("{path}[]"), &format!("{shown}[{number}]"), faults);
                }
            }
        }
        Value::Map(_) | Value::List(_) | Value::Null | Value::Boolean(_) | Value::Number { .. } | Value::Text(_) => {}
    }
}

/// A key's path below its section's.
pub(super) fn join(section: &str, key: &str) -> String {
    if section.is_empty() { key.to_owned() } else { format!("{section}.{key}") }
}

/// What stands before the last name of a path, and that name.
fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('.').unwrap_or(("", path))
}

fn has_children(path: &str) -> bool {
    KEYS.iter().any(|known| split(known.path).0 == path)
}

fn siblings(path: &str) -> impl Iterator<Item = &'static Known> {
    KEYS.iter().filter(move |known| split(known.path).0 == split(path).0)
}

/// The keys that may stand here, for a fault.
fn expected(path: &str) -> String {
    let names: Vec<&str> = siblings(path).filter(|known| known.status == Built).map(|known| split(known.path).1).collect();
    format!("expected {}", one_of(&names))
}

fn later(path: &str) -> String {
    format!("found a key that is not implemented in this version, {}; remove it", expected(path))
}

fn unknown(path: &str) -> String {
    let advice = match near_miss(path) {
        Some((name, Built)) => format!("did you mean {name}?"),
        Some((name, Later)) => format!("did you mean {name}? It is not implemented in this version, so remove it"),
        None => "remove it".to_owned(),
    };
    format!("found an unknown key, {}; {advice}", expected(path))
}

/// The key that was probably meant: one beside it that is spelt alike, one of the same name elsewhere, or one beside it that
/// contains it.
fn near_miss(path: &str) -> Option<(&'static str, Status)> {
    let (_, name) = split(path);
    let alike = nearest(name, siblings(path).map(|known| split(known.path).1));
    if let Some(meant) = alike {
        return siblings(path).find(|known| split(known.path).1 == meant).map(|known| (meant, known.status));
    }
    let elsewhere = KEYS.iter().find(|known| split(known.path).1 == name && !known.path.contains("[]"));
    if let Some(known) = elsewhere {
        return Some((known.path, known.status));
    }
    let longer = siblings(path).find(|known| name.len() > 1 && split(known.path).1.contains(name));
    longer.map(|known| (split(known.path).1, known.status))
}

/// The word that a misspelt one is nearest to, if it is near.
pub(super) fn nearest<'a>(word: &str, words: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let length = word.chars().count();
    if length > LONGEST_KEY {
        return None;
    }
    let tolerance = length.div_ceil(4).max(1);
    let close = words.map(|known| (distance(word, known), known)).filter(|(distance, _)| *distance <= tolerance);
    close.min_by_key(|(distance, _)| *distance).map(|(_, known)| known)
}

/// `a`, `a or b`, `a, b or c`.
pub(super) fn one_of(words: &[&str]) -> String {
    match words {
        [] => "no key".to_owned(),
        [only] => (*only).to_owned(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

/// Levenshtein's distance, by character, where letter case and `-` for `_` cost nothing.
fn distance(left: &str, right: &str) -> usize {
    let fold = |c: char| if c == '-' { '_' } else { c.to_ascii_lowercase() };
    let right: Vec<char> = right.chars().map(fold).collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for c in left.chars().map(fold) {
        let mut next = Vec::with_capacity(row.len());
        let mut before = row.first().copied().unwrap_or(0).saturating_add(1);
        next.push(before);
        for (pair, other) in row.windows(2).zip(&right) {
            let &[diagonal, above] = pair else { continue };
            let replaced = diagonal.saturating_add(usize::from(c != *other));
            before = replaced.min(above.saturating_add(1)).min(before.saturating_add(1));
            next.push(before);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

/// Sections whose keys are names that the user gives; `*` stands for any.
const NAMED_FREELY: [&str; 1] = ["ident"];

/// No key has more than 30 characters; what is longer than this is no slip of one.
const LONGEST_KEY: usize = 40;

macro_rules! keys {
    ($($status:ident: $($path:literal)+;)+) => {
        &[$($(Known { path: $path, status: $status },)+)+]
    };
}

#[rustfmt::skip] // a table
const KEYS: &[Known] = keys! {
    Built: "listen" "proxy_protocol" "tls" "backend" "hba" "sessions" "cancel" "limits" "shutdown" "audit" "admin" "log" "reload" "denylist_file" "harden" "user";
    Built: "proxy_protocol.trusted";
    Built: "tls.ssl_cert_file" "tls.ssl_key_file" "tls.ssl_ca_file" "tls.ssl_crl_file" "tls.x509_v1";
    Built: "tls.sni" "tls.sni[].hosts" "tls.sni[].ssl_cert_file" "tls.sni[].ssl_key_file";
    Built: "backend.host" "backend.port" "backend.connect_timeout" "backend.require_peer";
    Built: "backend.passfile" "backend.identity" "backend.lookup_role" "backend.lookup_ttl";
    Built: "hba[].database" "hba[].user" "hba[].address" "hba[].method" "hba[].max_connections" "hba[].idle_session_timeout" "hba[].max_session_lifetime"
           "hba[].reserved";
    Built: "hba[].clientcert" "hba[].map" "hba[].clientname" "hba[].user_name" "hba[].deny_parameters";
    Built: "hba_file" "ident" "ident.*" "ident.*[].system_user" "ident.*[].pg_user" "ident_file";
    Built: "sessions.idle_session_timeout" "sessions.max_session_lifetime";
    Built: "sessions.on_revocation" "sessions.on_expiry" "sessions.expiry_notice";
    Built: "cancel.plaintext";
    Built: "limits.authentication_timeout" "limits.max_connections" "limits.max_handshakes" "limits.max_connections_per_role" "limits.max_connections_per_address"
           "limits.max_failures_per_address";
    Built: "shutdown.delay" "shutdown.drain_timeout";
    Built: "audit.file" "audit.on_failure";
    Later: "audit.format" "audit.statements" "audit.parameters";
    Built: "admin.listen" "admin.hosts" "admin.socket";
    Built: "log.level" "log.format";
    Built: "reload.poll";
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_key_is_recognised() {
        let meant = |path| near_miss(path).map(|(name, _)| name);
        assert_eq!(meant("tls.ssl_cert_flie"), Some("ssl_cert_file"));
        assert_eq!(meant("tls.ssl-key-file"), Some("ssl_key_file"));
        assert_eq!(meant("tls.ca_file"), Some("ssl_ca_file"));
        assert_eq!(meant("Listen"), Some("listen"));
        assert_eq!(meant("hba[].databases"), Some("database"));
        assert_eq!(meant("hba[].mehtod"), Some("method"));
        assert_eq!(meant("ssl_key_file"), Some("tls.ssl_key_file"));
        assert_eq!(meant("backend.max_connections"), Some("limits.max_connections"));
        assert_eq!(meant("colour"), None);
        assert_eq!(meant(&"x".repeat(100_000)), None);
    }

    #[test]
    fn the_table_names_each_key_once_and_below_a_section_that_it_names() {
        for (number, known) in KEYS.iter().enumerate() {
            assert!(!KEYS.iter().skip(number + 1).any(|other| other.path == known.path), "{} stands twice", known.path);
            let section = split(known.path).0.trim_end_matches("[]");
            assert!(section.is_empty() || KEYS.iter().any(|other| other.path == section), "{} has no section", known.path);
        }
    }
}
