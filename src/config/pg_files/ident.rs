//! A line of pg_ident.conf as a line of a map (src/backend/libpq/hba.c, parse_ident_line).

use super::super::diagnostic::{Diagnostic, Faults};
use super::super::words::{Lookup, map_name, pg_user, system_user};
use super::{Fields, Line};
use crate::notice::Notice;
use crate::policy::MapLine;

/// The map lines of these lines, and what an operator should know of them.
pub(super) fn lines(lines: &[Line], lookup: Lookup, faults: &mut Faults) -> (Vec<MapLine>, Vec<Notice>) {
    let (mut read_lines, mut notices) = (Vec::new(), Vec::new());
    for line in lines {
        let mut fields = Fields::of(line);
        match read(&mut fields, lookup) {
            Ok(read) => {
                if !fields.rest.is_empty() {
                    let found = format!("{}: what stands behind the third field is ignored, as by PostgreSQL", read.source);
                    notices.push(Notice::new(found, "remove it, or put a # before it"));
                }
                read_lines.push(read);
            }
            Err(fault) => faults.push(fault),
        }
    }
    (read_lines, notices)
}

fn read(fields: &mut Fields<'_>, lookup: Lookup) -> Result<MapLine, Diagnostic> {
    let map = fields.only("map", "a map's name")?;
    let system = fields.only("system_user", "a certificate's name or /REGEX")?;
    let role = fields.only("pg_user", "a role's name, all, +ROLE, /REGEX, or \\1 for what the first group took")?;
    let system_user = system_user(system.word()).map_err(|wrong| fields.wrong(system, "system_user", wrong))?;
    let pg_user = pg_user(role.word(), Some(&system_user), lookup).map_err(|wrong| fields.wrong(role, "pg_user", wrong))?;
    Ok(MapLine {
        map: map_name(&map.text).map_err(|wrong| fields.wrong(map, "map", wrong))?,
        system_user,
        pg_user,
        source: fields.line.source(),
    })
}
