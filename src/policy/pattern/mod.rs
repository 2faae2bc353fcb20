//! Regular expressions of pg_hba.conf and pg_ident.conf: the part of PostgreSQL's advanced regular expressions that means the same
//! to an engine of linear time (<https://www.postgresql.org/docs/current/functions-matching.html#POSIX-SYNTAX-DETAILS>).
//!
//! PostgreSQL reads them in the postmaster, whose encoding is SQL_ASCII, with the C collation: a character is a byte. They are not
//! anchored. What is not understood exactly is a fault that names the construct; nothing is approximated.

mod extent;
mod parse;

use std::fmt;

use regex::bytes::{Regex, RegexBuilder};

use parse::{Alternatives, Atom, ByteSet, Item};

/// A regular expression that decides as PostgreSQL's.
#[derive(Clone)]
pub struct Pattern {
    /// As it is written, without the leading slash.
    source: Box<[u8]>,
    regex: Regex,
    anchored: bool,
    groups: bool,
    /// Why the extent of the first group could be another than in PostgreSQL, if it could.
    uncertain: Option<&'static str>,
}

/// What a regular expression holds that is not in the subset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatternFault {
    what: Box<str>,
    invalid: bool,
}

impl Pattern {
    /// Understands what stands behind the slash.
    ///
    /// # Errors
    /// The construct that is outside the subset, or invalid in PostgreSQL too.
    pub fn parse(source: &[u8]) -> Result<Self, PatternFault> {
        let alternatives = parse::parse(source)?;
        let mut translated = String::new();
        put_alternatives(&alternatives, &mut translated);
        let regex = RegexBuilder::new(&translated).unicode(false).size_limit(LARGEST_PROGRAM).dfa_size_limit(LARGEST_CACHE).build();
        Ok(Self {
            source: source.into(),
            regex: regex.map_err(|_| PatternFault::new("is too large once its repetitions are written out"))?,
            anchored: extent::is_anchored(&alternatives),
            groups: alternatives.has_group(),
            uncertain: extent::uncertainty(&alternatives),
        })
    }

    /// Whether it matches anywhere in `text`.
    pub fn is_match(&self, text: &[u8]) -> bool {
        self.regex.is_match(text)
    }

    /// What the first group takes of `text`; `None` where the expression does not match.
    pub fn capture<'a>(&self, text: &'a [u8]) -> Option<&'a [u8]> {
        self.regex.captures(text)?.get(1).map(|group| group.as_bytes())
    }

    /// Whether it begins with `^` and ends with `$`, so that it is about the whole name.
    pub fn is_anchored(&self) -> bool {
        self.anchored
    }

    /// Whether it has a group, for `\1` to stand for.
    pub fn has_group(&self) -> bool {
        self.groups
    }

    /// That the first group takes exactly what it takes in PostgreSQL, which looks for the longest match where the engine looks for the
    /// first.
    ///
    /// # Errors
    /// What that hangs on.
    pub fn certain_capture(&self) -> Result<(), PatternFault> {
        self.uncertain.map_or(Ok(()), |what| Err(PatternFault::new(what)))
    }

    /// As it is written, without the leading slash.
    pub fn source(&self) -> &[u8] {
        &self.source
    }
}

/// Two that are written alike are the same.
impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for Pattern {}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", self.source.escape_ascii())
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl PatternFault {
    /// What PostgreSQL may understand.
    fn new(what: impl Into<Box<str>>) -> Self {
        Self { what: what.into(), invalid: false }
    }

    /// What PostgreSQL does not understand either.
    fn invalid(what: impl Into<Box<str>>) -> Self {
        Self { what: what.into(), invalid: true }
    }

    /// Whether PostgreSQL is known not to understand it either.
    pub fn is_invalid(&self) -> bool {
        self.invalid
    }
}

/// What it holds, to be read behind "a regular expression that".
impl fmt::Display for PatternFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

/// The engine's syntax for it. Every byte is written as a number, so that nothing can be read as a construct.
fn put_alternatives(alternatives: &Alternatives, out: &mut String) {
    for (number, branch) in alternatives.branches.iter().enumerate() {
        if number > 0 {
            out.push('|');
        }
        branch.iter().for_each(|item| put_item(item, out));
    }
}

fn put_item(item: &Item, out: &mut String) {
    match &item.atom {
        Atom::Set(set) => put_set(set, out),
        Atom::Start => out.push_str(r"\A"),
        Atom::End => out.push_str(r"\z"),
        Atom::Group(inner) => {
            out.push('(');
            put_alternatives(inner, out);
            out.push(')');
        }
    }
    match (item.least, item.most) {
        (1, Some(1)) => {}
        (least, Some(most)) => out.push_str(&format!("{{{least},{most}}}")),
        (least, None) => out.push_str(&format!("{{{least},}}")),
    }
}

fn put_set(set: &ByteSet, out: &mut String) {
    let mut ranges = set.ranges();
    if let (Some((first, last)), None) = (ranges.next(), ranges.next())
        && first == last
    {
        out.push_str(&format!(r"\x{first:02x}"));
        return;
    }
    out.push('[');
    if set.is_empty() {
        out.push_str(r"^\x00-\xff");
    }
    for (first, last) in set.ranges() {
        out.push_str(&format!(r"\x{first:02x}-\x{last:02x}"));
    }
    out.push(']');
}

/// In bytes; PostgreSQL has a limit of its own on such expressions (src/include/regex/regguts.h, REG_MAX_COMPILE_SPACE).
const LARGEST_PROGRAM: usize = 1 << 20;

/// What each thread may remember of one expression, in bytes: names are short, and rules can be many.
const LARGEST_CACHE: usize = 128 << 10;

#[cfg(test)]
mod tests;
