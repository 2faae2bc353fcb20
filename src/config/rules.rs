//! The whole of what decides who may enter: rules and maps, from the configuration itself or from real files, and whether they fit.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::diagnostic::{Diagnostic, Faults, quoted};
use super::keys::nearest;
use super::pg_files::{self, Held};
use super::raw::Value;
use super::reader::{Section, Wrong};
use super::values::{nullable, path};
use super::words::Lookup;
use super::{hba, ident};
use crate::notice::Notice;
use crate::policy::{IdentityMaps, MapLine, MapName, Policy, Rule, UserName};

/// The policy and where it stands.
pub(super) struct Rules {
    pub(super) policy: Policy,
    /// What an operator should know although it is no fault.
    pub(super) notices: Vec<Notice>,
    /// Every file that was read or looked for.
    pub(super) files: BTreeSet<PathBuf>,
}

/// Reads `hba` or `hba_file`, `ident` or `ident_file`.
pub(super) fn rules(root: &Section<'_>, folder: &Path, lookup: Lookup, faults: &mut Faults) -> Option<Rules> {
    let rules = match file(root, "hba", "hba_file", folder, faults) {
        Some(path) => held(root, "hba_file", pg_files::rules(&path, lookup, faults), faults),
        None => hba::rules(root, lookup, faults).map(Held::of),
    };
    let lines = match file(root, "ident", "ident_file", folder, faults) {
        Some(path) => held(root, "ident_file", pg_files::maps(&path, lookup, faults), faults),
        None => ident::lines(root, lookup, faults).map(Held::of),
    };
    let (rules, lines) = (rules?, lines?);
    if rules.is_from_file() && faults.is_empty() && !rules.items.iter().any(Rule::admits) {
        let wrong = Wrong::new("at least one hostssl line with the method cert", "write hostssl all all all cert, or what you mean by it");
        root.fault("hba_file", wrong.which("in which no line asks for a certificate"), faults);
        return None;
    }
    let from_file = rules.is_from_file();
    let maps = IdentityMaps::new(lines.items);
    let mut notices = [rules.notices, lines.notices].concat();
    for (number, rule) in rules.items.iter().enumerate() {
        let place = (!from_file).then_some(number);
        fit(root, place, rule, &maps, faults, &mut notices);
    }
    Some(Rules { policy: Policy::new(rules.items, maps), notices, files: rules.files.into_iter().chain(lines.files).collect() })
}

/// The file that stands in the place of a section, if one is named.
fn file(root: &Section<'_>, list: &str, key: &str, folder: &Path, faults: &mut Faults) -> Option<PathBuf> {
    let file = root.optional(key, None, nullable(path(folder)), faults)??;
    if root.find(list).is_none_or(|node| node.value == Value::Null) {
        return Some(file);
    }
    root.fault(key, Wrong::new(format!("either {list} or {key}"), "remove one of them").which(format!("beside {list}")), faults);
    None
}

fn held<T>(root: &Section<'_>, key: &str, read: Result<Held<T>, String>, faults: &mut Faults) -> Option<Held<T>> {
    let unreadable =
        |which: String| root.fault(key, Wrong::new("a file that can be read", "correct its name or the file").which(which), faults);
    read.map_err(unreadable).ok()
}

/// Whether the rule and its map fit. `place` is the rule's number in the configuration's own list.
fn fit(root: &Section<'_>, place: Option<usize>, rule: &Rule, maps: &IdentityMaps, faults: &mut Faults, notices: &mut Vec<Notice>) {
    let Some(map) = &rule.map else { return };
    if maps.of(map).next().is_none() {
        match place {
            Some(number) => faults.push(unknown_map(root, number, map, maps)),
            None => {
                let found = format!("{}: the map \"{map}\" has no line: whom this line matches is refused", rule.source);
                notices.push(Notice::new(found, "write its lines into ident_file, or remove the option"));
            }
        }
    }
    if let (UserName::Mapped, Some(number)) = (rule.user_name, place)
        && let Some(line) = maps.of(map).find(|line| !line.fixes_role())
    {
        let wrong = Wrong::new("requested beside such a map", "let each line of the map name one role");
        let which = format!("although {} names no one role", line.source);
        faults.push(wrong.which(which).at(
            root.place(&format!("hba[{number}].user_name")),
            format!("hba[{number}].user_name"),
            "\"mapped\"",
        ));
    }
}

/// A rule of the configuration that names a map which is not there: near misses are named.
fn unknown_map(root: &Section<'_>, number: usize, map: &MapName, maps: &IdentityMaps) -> Diagnostic {
    let names: BTreeSet<&str> = maps.lines().iter().map(|line: &MapLine| line.map.as_str()).collect();
    let advice = match nearest(map.as_str(), names.into_iter()) {
        Some(name) => format!("did you mean {name}?"),
        None => "write the map's lines under ident or into ident_file".to_owned(),
    };
    let key = format!("hba[{number}].map");
    Wrong::new("the name of a map that has lines", advice).at(root.place(&key), key, &quoted(map.as_str()))
}
