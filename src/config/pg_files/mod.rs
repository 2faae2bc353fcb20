//! Real pg_hba.conf and pg_ident.conf files, read as PostgreSQL 18 reads them, to the same rules and maps as the configuration's own.
//!
//! What PostgreSQL would refuse to load is a fault, and so is what cannot be matched as PostgreSQL matches it. Nothing is left out in
//! silence: a line that cannot apply to TLS over TCP, or that asks for no certificate, is listed.

mod elsewhere;
mod hba;
mod ident;
mod options;
mod tokens;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::diagnostic::{Diagnostic, Faults, Position};
use super::reader::Wrong;
use super::words::Lookup;
use crate::notice::Notice;
use crate::policy::{MapLine, Rule};
use tokens::{Line, Token, Tokens};

/// What a file holds.
#[derive(Debug)]
pub(super) struct Held<T> {
    pub(super) items: Vec<T>,
    /// What an operator should know although it is no fault.
    pub(super) notices: Vec<Notice>,
    /// Every file that was read or looked for.
    pub(super) files: BTreeSet<PathBuf>,
}

impl<T> Held<T> {
    /// What the configuration itself holds.
    pub(super) fn of(items: Vec<T>) -> Self {
        Self { items, notices: Vec::new(), files: BTreeSet::new() }
    }

    /// Whether a file holds it.
    pub(super) fn is_from_file(&self) -> bool {
        !self.files.is_empty()
    }
}

/// The rules of a pg_hba.conf.
///
/// # Errors
/// What kept the file from being read; faults of its lines are noted.
pub(super) fn rules(path: &Path, lookup: Lookup, faults: &mut Faults) -> Result<Held<Rule>, String> {
    let Tokens { lines, files } = tokens::read(path, faults)?;
    let (items, notices) = hba::rules(&lines, lookup, faults);
    Ok(Held { items, notices, files })
}

/// The map lines of a pg_ident.conf.
///
/// # Errors
/// What kept the file from being read; faults of its lines are noted.
pub(super) fn maps(path: &Path, lookup: Lookup, faults: &mut Faults) -> Result<Held<MapLine>, String> {
    let Tokens { lines, files } = tokens::read(path, faults)?;
    let (items, notices) = ident::lines(&lines, lookup, faults);
    Ok(Held { items, notices, files })
}

/// Walks the fields of a line.
struct Fields<'a> {
    line: &'a Line,
    rest: &'a [Vec<Token>],
}

impl<'a> Fields<'a> {
    fn of(line: &'a Line) -> Self {
        Self { line, rest: &line.fields }
    }

    /// The tokens of the next field.
    fn next(&mut self, column: &str, expected: &str) -> Result<&'a [Token], Diagnostic> {
        let Some((field, rest)) = self.rest.split_first() else {
            let at = self.line.fields.last().and_then(|field| field.last()).map_or(Position::START, |token| token.at);
            return Err(self.fault(at, column, format!("found the end of the line, expected {expected}; write it")));
        };
        self.rest = rest;
        Ok(field)
    }

    /// The one token of the next field.
    fn only(&mut self, column: &str, expected: &str) -> Result<&'a Token, Diagnostic> {
        match self.next(column, expected)? {
            [token] => Ok(token),
            [first, ..] => {
                Err(self.wrong(first, column, Wrong::new(expected, "write a line for each").which("with others behind a comma")))
            }
            [] => Err(self.fault(Position::START, column, format!("found nothing, expected {expected}; write it"))),
        }
    }

    fn wrong(&self, token: &Token, column: &str, wrong: Wrong) -> Diagnostic {
        wrong.at(token.at, column.to_owned(), &token.shown()).inside(self.line.file.clone())
    }

    fn fault(&self, at: Position, column: &str, text: String) -> Diagnostic {
        Diagnostic::new(at, column, text).inside(self.line.file.clone())
    }
}

impl Line {
    /// How an operator finds it.
    fn source(&self) -> Box<str> {
        format!("{}:{}", self.file.display(), self.number).into()
    }
}

#[cfg(test)]
mod tests;
