//! pg_hba.conf and pg_ident.conf as lines of fields of tokens: comments, quotes, commas, continued lines, and what is included
//! (src/backend/libpq/hba.c, tokenize_auth_file, next_field_expand, next_token; PostgreSQL 16 and newer).

use std::cell::Cell;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::diagnostic::{Diagnostic, Faults, Position, quoted};
use super::super::words::Word;
use crate::os;

/// One word, and whether it begins with a quote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) text: Box<[u8]>,
    pub(super) quoted: bool,
    pub(super) at: Position,
}

/// A line that is not empty: its fields, each of one token or several between commas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) file: Arc<Path>,
    /// The first line of it, where it is continued.
    pub(super) number: usize,
    pub(super) fields: Vec<Vec<Token>>,
}

/// A file with all that it includes.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    pub(super) lines: Vec<Line>,
    /// Every file that was read or looked for, and every folder: a change of any can change the rules.
    pub(super) files: BTreeSet<PathBuf>,
}

impl Token {
    pub(super) fn word(&self) -> Word<'_> {
        Word { text: &self.text, quoted: self.quoted }
    }

    /// As a fault shows it.
    pub(super) fn shown(&self) -> String {
        quoted(&String::from_utf8_lossy(&self.text))
    }
}

/// Reads the file that a setting names.
///
/// # Errors
/// What kept it from being read. Faults of its lines are noted in `faults`, with their places.
pub(super) fn read(path: &Path, faults: &mut Faults) -> Result<Tokens, String> {
    let mut reading = Reading { faults, files: BTreeSet::new(), opened: 0, bytes: 0 };
    let lines = reading.file(path, 0)?;
    Ok(Tokens { lines, files: reading.files })
}

/// What has been read so far, all files together.
struct Reading<'f> {
    faults: &'f mut Faults,
    files: BTreeSet<PathBuf>,
    opened: usize,
    bytes: u64,
}

/// A line with its continuations, and where each begins in it.
struct Joined {
    text: Vec<u8>,
    /// Offset and number of each line of the file.
    parts: Vec<(usize, usize)>,
    /// The last place that was asked for: the next one is counted from there, so that a line of many tokens is counted once.
    last: Cell<(usize, Position)>,
}

/// Where reading is: for relative paths and for faults.
#[derive(Clone, Copy)]
struct Place<'a> {
    file: &'a Arc<Path>,
    depth: usize,
}

impl Reading<'_> {
    /// The lines of one file. `depth` counts the files that include it.
    fn file(&mut self, path: &Path, depth: usize) -> Result<Vec<Line>, String> {
        if depth > DEEPEST {
            return Err(format!("which is included more than {DEEPEST} deep"));
        }
        let content = self.content(path)?;
        let file: Arc<Path> = path.into();
        let place = Place { file: &file, depth };
        let mut lines = Vec::new();
        for joined in join(&content) {
            self.line(&joined, place, &mut lines);
        }
        Ok(lines)
    }

    /// A whole file, or what forbids it; nothing is read beyond the limits.
    fn content(&mut self, path: &Path) -> Result<Vec<u8>, String> {
        self.files.insert(path.to_owned());
        self.opened = self.opened.saturating_add(1);
        let left = LARGEST_SUM.saturating_sub(self.bytes);
        if self.opened > MOST_FILES || left == 0 {
            return Err(format!("behind more than {MOST_FILES} files or 16 MiB"));
        }
        let most = LARGEST_FILE.min(left);
        let mut content = Vec::new();
        os::open_at_once(path)
            .and_then(|file| file.take(most.saturating_add(1)).read_to_end(&mut content))
            .map_err(|error| format!("which cannot be read ({error})"))?;
        let length = u64::try_from(content.len()).unwrap_or(u64::MAX);
        self.bytes = self.bytes.saturating_add(length);
        match content {
            _ if length > most => Err("which is larger than 4 MiB".to_owned()),
            content if content.contains(&0) => Err("which holds a NUL".to_owned()),
            content if content.starts_with(b"\xef\xbb\xbf") => Err("which begins with a byte order mark".to_owned()),
            content => Ok(content),
        }
    }

    fn line(&mut self, joined: &Joined, place: Place<'_>, lines: &mut Vec<Line>) {
        let mut fields = Vec::new();
        let mut rest = 0;
        while rest < joined.text.len() {
            match self.field(joined, &mut rest, place) {
                // An included file without tokens leaves no field, as in PostgreSQL.
                Ok(field) if field.is_empty() => {}
                Ok(field) => fields.push(field),
                Err(fault) => return self.faults.push(fault),
            }
        }
        if fields.is_empty() {
            return;
        }
        match self.include(&fields, place, lines) {
            Ok(true) => {}
            Ok(false) => lines.push(Line { file: Arc::clone(place.file), number: joined.number(), fields }),
            Err(fault) => self.faults.push(fault),
        }
    }

    /// Tokens up to one that no comma follows, those of `@file` in its place.
    fn field(&mut self, joined: &Joined, rest: &mut usize, place: Place<'_>) -> Result<Vec<Token>, Diagnostic> {
        let mut tokens = Vec::new();
        while let Some((token, comma)) = joined.token(rest) {
            match token.text.strip_prefix(b"@").filter(|name| !token.quoted && !name.is_empty()) {
                Some(name) => {
                    let included = self.included(&beside(place.file, name), &token, place)?;
                    tokens.extend(included.into_iter().flat_map(|line| line.fields).flatten().map(|inner| Token { at: token.at, ..inner }));
                }
                None => tokens.push(token),
            }
            if !comma {
                break;
            }
        }
        Ok(tokens)
    }

    /// Follows a line that includes others; `false` where it does not.
    fn include(&mut self, fields: &[Vec<Token>], place: Place<'_>, lines: &mut Vec<Line>) -> Result<bool, Diagnostic> {
        let [directive, target] = fields else { return Ok(false) };
        let (Some(directive), Some(target)) = (directive.first(), target.first()) else { return Ok(false) };
        let path = beside(place.file, &target.text);
        match &*directive.text {
            b"include" => lines.extend(self.included(&path, target, place)?),
            b"include_if_exists" => {
                self.files.insert(path.clone());
                if path.try_exists().unwrap_or(true) {
                    lines.extend(self.included(&path, target, place)?);
                }
            }
            b"include_dir" => {
                self.files.insert(path.clone());
                let files = files_in(&path).map_err(|error| unreadable(target, &format!("which cannot be listed ({error})"), place))?;
                for file in files {
                    lines.extend(self.included(&file, target, place)?);
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn included(&mut self, path: &Path, token: &Token, place: Place<'_>) -> Result<Vec<Line>, Diagnostic> {
        self.file(path, place.depth.saturating_add(1)).map_err(|what| unreadable(token, &what, place))
    }
}

fn unreadable(token: &Token, what: &str, place: Place<'_>) -> Diagnostic {
    let text = format!("found {}, {what}, expected a file that can be read; correct its name or the file", token.shown());
    Diagnostic::new(token.at, "", text).inside(Arc::clone(place.file))
}

/// A path in a file starts at the file's folder.
fn beside(file: &Path, name: &[u8]) -> PathBuf {
    file.parent().unwrap_or(Path::new("")).join(OsStr::from_bytes(name))
}

/// The files of a folder that count: `*.conf` by name (src/backend/utils/misc/conffiles.c, GetConfFilesInDir).
fn files_in(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in folder.read_dir()?.take(MOST_FILES) {
        let path = entry?.path();
        let name = path.file_name().map(OsStr::as_bytes).unwrap_or_default();
        if name.len() > b".conf".len() && !name.starts_with(b".") && name.ends_with(b".conf") && !path.is_dir() {
            files.push(path);
        }
    }
    files.sort_by(|one, other| one.as_os_str().as_bytes().cmp(other.as_os_str().as_bytes()));
    Ok(files)
}

/// Lines, those that end with a backslash joined with what follows. A comment can be continued too.
fn join(content: &[u8]) -> impl Iterator<Item = Joined> {
    let mut physical = content.split_inclusive(|byte| *byte == b'\n').zip(1_usize..);
    std::iter::from_fn(move || {
        let (first, number) = physical.next()?;
        let last = Cell::new((0, Position { line: number, column: 1 }));
        let mut joined = Joined { text: without_end(first).to_vec(), parts: vec![(0, number)], last };
        let mut continued = 0;
        while joined.text.len() > continued && joined.text.last() == Some(&b'\\') {
            joined.text.pop();
            continued = joined.text.len();
            let Some((next, number)) = physical.next() else { break };
            joined.parts.push((continued, number));
            joined.text.extend_from_slice(without_end(next));
        }
        Some(joined)
    })
}

fn without_end(line: &[u8]) -> &[u8] {
    let end = line.iter().rposition(|byte| !matches!(byte, b'\n' | b'\r')).map_or(0, |last| last.saturating_add(1));
    line.get(..end).unwrap_or(line)
}

impl Joined {
    /// The number of its first line.
    fn number(&self) -> usize {
        self.parts.first().map_or(1, |(_, number)| *number)
    }

    fn position(&self, offset: usize) -> Position {
        let part = self.parts.partition_point(|(begin, _)| *begin <= offset).checked_sub(1);
        let (begin, line) = part.and_then(|part| self.parts.get(part)).copied().unwrap_or((0, 1));
        let (from, column) = match self.last.get() {
            (last, at) if at.line == line && (begin..=offset).contains(&last) => (last, at.column),
            _ => (begin, 1),
        };
        let between = String::from_utf8_lossy(self.text.get(from..offset).unwrap_or_default()).chars().count();
        let at = Position { line, column: column.saturating_add(between) };
        self.last.set((offset, at));
        at
    }

    /// The token at or behind `rest`, and whether a comma ends it. `None` at the end of the line or at a comment.
    fn token(&self, rest: &mut usize) -> Option<(Token, bool)> {
        let at = |place: usize| self.text.get(place).copied();
        while at(*rest).is_some_and(|byte| is_blank(byte) || byte == b',') {
            *rest = rest.saturating_add(1);
        }
        let begin = *rest;
        let mut token = Token { text: Box::default(), quoted: false, at: self.position(begin) };
        let (mut text, mut comma) = (Vec::new(), false);
        let (mut inside, mut doubled, mut any_quote) = (false, false, false);
        while let Some(byte) = at(*rest).filter(|byte| inside || !is_blank(*byte)) {
            if byte == b'#' && !inside {
                *rest = self.text.len();
                break;
            }
            if byte == b',' && !inside {
                comma = true;
                *rest = rest.saturating_add(1);
                break;
            }
            if byte != b'"' || doubled {
                text.push(byte);
            }
            // Two quotes inside quotes are one that belongs to the text.
            doubled = inside && byte == b'"' && !doubled;
            if byte == b'"' {
                inside = !inside;
                any_quote = true;
                token.quoted |= text.is_empty();
            }
            *rest = rest.saturating_add(1);
        }
        let found = any_quote || !text.is_empty();
        token.text = text.into();
        found.then_some((token, comma))
    }
}

/// As `pg_isblank`.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r')
}

/// CONF_FILE_MAX_DEPTH (src/include/utils/conffiles.h).
const DEEPEST: usize = 10;

/// A hundred thousand lines fit; a larger file holds something else.
const LARGEST_FILE: u64 = 4 << 20;

/// All files together, each as often as it is included.
const LARGEST_SUM: u64 = 16 << 20;

/// How often a file may be included, all inclusions together.
const MOST_FILES: usize = 10_000;

#[cfg(test)]
mod tests;
