//! A fault of the file as its author reads it: where, which key, what was found, what was expected, what to do.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A place in the file; both count from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Where it is not the configuration itself.
    file: Option<Arc<Path>>,
    position: Option<Position>,
    key: String,
    text: String,
}

/// Every fault of one file, in the file's order; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostics {
    file: PathBuf,
    list: Vec<Diagnostic>,
    unlisted: usize,
}

/// Faults while they are being collected.
#[derive(Debug, Default)]
pub(super) struct Faults {
    list: Vec<Diagnostic>,
    unlisted: usize,
}

impl Position {
    /// The beginning of a file.
    pub const START: Self = Self { line: 1, column: 1 };
}

impl Diagnostic {
    /// A fault of the key `key`, or of the file as a whole where that is empty.
    pub(super) fn new(position: Position, key: impl Into<String>, text: impl Into<String>) -> Self {
        Self { file: None, position: Some(position), key: key.into(), text: text.into() }
    }

    /// A fault of a file that has no lines to point at: it cannot be read.
    pub(super) fn of_file(text: impl Into<String>) -> Self {
        Self { file: None, position: None, key: String::new(), text: text.into() }
    }

    /// The same, in a file that the configuration names.
    pub(super) fn inside(self, file: Arc<Path>) -> Self {
        Self { file: Some(file), ..self }
    }

    /// Where it is; `None` where the file could not be read at all.
    pub fn position(&self) -> Option<Position> {
        self.position
    }

    /// The key's path, as `tls.ssl_cert_file` or `hba[2].address`; empty for the file as a whole.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// What was found, what was expected, what to do.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl Faults {
    /// A file of nothing but faults must not fill the screen, or memory.
    const MOST: usize = 200;

    pub(super) fn push(&mut self, fault: Diagnostic) {
        if self.list.len() < Self::MOST {
            self.list.push(fault);
        } else {
            self.unlisted = self.unlisted.saturating_add(1);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(super) fn of(mut self, file: &Path) -> Diagnostics {
        self.list.sort_by(|one, other| (&one.file, one.position).cmp(&(&other.file, other.position)));
        Diagnostics { file: file.to_owned(), list: self.list, unlisted: self.unlisted }
    }
}

impl From<Diagnostic> for Faults {
    fn from(fault: Diagnostic) -> Self {
        Self { list: vec![fault], unlisted: 0 }
    }
}

impl Diagnostics {
    /// The faults, in the file's order; more than two hundred are only counted.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.list.iter()
    }

    /// The file.
    pub fn file(&self) -> &Path {
        &self.file
    }
}

impl fmt::Display for Diagnostic {
    /// `LINE:COLUMN key.path: text`, without what it does not have.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(Position { line, column }) = self.position {
            write!(f, "{line}:{column}")?;
        }
        if !self.key.is_empty() {
            write!(f, " {}", self.key)?;
        }
        if self.position.is_some() || !self.key.is_empty() {
            write!(f, ":")?;
        }
        write!(f, " {}", self.text)
    }
}

impl fmt::Display for Diagnostics {
    /// `FILE:LINE:COLUMN key.path: text`, one a line, without a newline at the end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let own = &self.file;
        for (number, fault) in self.list.iter().enumerate() {
            let newline = if number == 0 { "" } else { "\n" };
            let file = fault.file.as_deref().unwrap_or(own).display();
            write!(f, "{newline}{file}:{fault}")?;
        }
        if self.unlisted > 0 {
            write!(f, "\n{}: and {} more", own.display(), self.unlisted)?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}

/// A text of the file, quoted, without control characters and of bounded length: a value cannot forge a line.
pub(super) fn quoted(text: &str) -> String {
    match cut(text) {
        Some(kept) => format!("\"{}...\"", kept.escape_debug()),
        None => format!("\"{}\"", text.escape_debug()),
    }
}

/// A key of the file as part of a path, with the same care.
pub(super) fn plain(key: &str) -> String {
    match cut(key) {
        Some(kept) => format!("{}...", kept.escape_debug()),
        None => key.escape_debug().to_string(),
    }
}

/// The beginning of a text that is too long to be shown.
fn cut(text: &str) -> Option<&str> {
    let (end, _) = text.char_indices().nth(LONGEST_SHOWN)?;
    text.get(..end)
}

const LONGEST_SHOWN: usize = 60;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_one_line_whatever_the_value_holds() {
        let at = Position { line: 3, column: 5 };
        let mut faults = Faults::default();
        faults.push(Diagnostic::new(at, plain("a\nb"), format!("found {}", quoted("x\n\x1b[31m\"y"))));
        let shown = faults.of(Path::new("p.yaml")).to_string();
        assert_eq!(shown, r#"p.yaml:3:5 a\nb: found "x\n\u{1b}[31m\"y""#);
    }

    #[test]
    fn a_long_value_is_cut() {
        assert_eq!(quoted(&"é".repeat(100)), format!("\"{}...\"", "é".repeat(60)));
    }

    #[test]
    fn faults_are_sorted_by_place_and_counted_beyond_two_hundred() {
        let mut faults = Faults::default();
        for line in (1..=300).rev() {
            faults.push(Diagnostic::new(Position { line, column: 1 }, "k", "t"));
        }
        let diagnostics = faults.of(Path::new("p.yaml"));
        assert_eq!(diagnostics.iter().next().and_then(Diagnostic::position), Some(Position { line: 101, column: 1 }));
        assert!(diagnostics.to_string().ends_with("\np.yaml: and 100 more"));
    }

    #[test]
    fn a_file_that_cannot_be_read_has_no_place() {
        let diagnostics = Faults::from(Diagnostic::of_file("found nothing")).of(Path::new("/x/p.yaml"));
        assert_eq!(diagnostics.to_string(), "/x/p.yaml: found nothing");
    }
}
