//! The `ident` maps: pg_ident.conf's columns as keys, below the name of each map.

use super::diagnostic::Faults;
use super::hba::name;
use super::raw::{Node, Value};
use super::reader::{Section, Wrong};
use super::values::text;
use super::words::{Lookup, Word, map_name, pg_user, system_user};
use crate::policy::{MapLine, MapName};

/// The lines of all maps; none where there are no maps.
pub(super) fn lines(root: &Section<'_>, lookup: Lookup, faults: &mut Faults) -> Option<Vec<MapLine>> {
    let mut lines = Some(Vec::new());
    for (key, node) in root.section("ident", faults).entries()? {
        let read = match (map_name(key.as_bytes()), &node.value) {
            (Ok(map), Value::List(items)) => map_lines(&map, items, lookup, faults),
            (Ok(_), _) => {
                faults.push(Wrong::new("a list of lines", "write - { system_user: NAME, pg_user: ROLE }").at(
                    node.at,
                    path(key),
                    &node.shown(),
                ));
                None
            }
            (Err(wrong), _) => {
                faults.push(wrong.at(node.at, path(key), &format!("{key:?}")));
                None
            }
        };
        lines = lines.zip(read).map(|(lines, read)| [lines, read].concat());
    }
    lines
}

fn path(map: &str) -> String {
    format!("ident.{}", super::diagnostic::plain(map))
}

fn map_lines(map: &MapName, items: &[Node], lookup: Lookup, faults: &mut Faults) -> Option<Vec<MapLine>> {
    let lines: Vec<Option<MapLine>> = items
        .iter()
        .enumerate()
        .map(|(number, item)| {
            let source = format!("{}[{number}]", path(map.as_str()));
            let section = Section::of(item, source.clone(), faults);
            let expected = || Wrong::new("a certificate's name or /REGEX", "write a name, in quotes if it looks like something else");
            let system_user = section.required("system_user", |node| system_user(Word::of(text(node, expected)?)), faults);
            let pg_user = section.required("pg_user", |node| pg_user(name(node, "a role's name")?, system_user.as_ref(), lookup), faults);
            Some(MapLine { map: map.clone(), system_user: system_user?, pg_user: pg_user?, source: source.into() })
        })
        .collect();
    lines.into_iter().collect()
}
