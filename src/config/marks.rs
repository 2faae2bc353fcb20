//! Where everything stands: the file's shape with a line and column at every key, and the syntax that is refused before its types
//! are read.
//!
//! One mapping of plain values is all that a configuration needs, so anchors, aliases and tags are faults here: nothing can
//! multiply, and what a reader of the file sees is what is there.

use saphyr_parser::{Event, Marker, Parser, Span};

use super::diagnostic::{Diagnostic, Faults, Position};

/// A value and its place.
#[derive(Debug)]
pub(super) struct Marked {
    /// Where it begins.
    pub(super) at: Position,
    /// What it is made of.
    pub(super) shape: Shape,
}

/// What a value is made of.
#[derive(Debug)]
pub(super) enum Shape {
    /// One value, as its text without quotes and escapes.
    Scalar(String),
    /// A list.
    List(Vec<Marked>),
    /// A mapping, with its duplicate keys.
    Map(Vec<(Key, Marked)>),
}

/// A key and its place.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) at: Position,
    pub(super) text: String,
}

/// Reads the one document of `text`; `None` where it holds no value at all.
///
/// # Errors
/// Every use of YAML that is refused, up to the first fault that leaves the rest without a meaning.
pub(super) fn read(text: &str) -> Result<Option<Marked>, Faults> {
    let mut parser = Parser::new_from_str(text);
    let mut builder = Builder::default();
    while let Some(event) = parser.next_event() {
        let taken = match event {
            Ok((event, span)) => builder.take(event, span),
            Err(error) => Err(syntax_fault(text, *error.marker(), error.info())),
        };
        if let Err(fault) = taken {
            builder.faults.push(fault);
            break;
        }
    }
    if builder.faults.is_empty() { Ok(builder.root) } else { Err(builder.faults) }
}

/// The tree under construction.
#[derive(Default)]
struct Builder {
    root: Option<Marked>,
    open: Vec<Open>,
    documents: usize,
    values: usize,
    faults: Faults,
}

/// A list or mapping whose end is still to come.
enum Open {
    List { at: Position, items: Vec<Marked> },
    Map { at: Position, entries: Vec<(Key, Marked)>, key: Option<Key> },
}

impl Builder {
    /// A thousand rules of a dozen values each, with room to spare.
    const MOST_VALUES: usize = 100_000;
    /// `hba`, its rule, the rule's list: three. More is not configuration.
    const DEEPEST: usize = 16;

    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Diagnostic> {
        let at = position(span.start);
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) => self.document(at),
            Event::Alias(_) => {
                self.refuse(at, "found an alias, expected a value; write the value itself here");
                self.place(Marked { at, shape: Shape::Scalar(String::new()) })
            }
            Event::Scalar(text, _, anchor, tag) => {
                self.plain_only(at, anchor, tag.is_some());
                self.place(Marked { at, shape: Shape::Scalar(text.into_owned()) })
            }
            Event::SequenceStart(anchor, tag) => {
                self.plain_only(at, anchor, tag.is_some());
                self.open(Open::List { at, items: Vec::new() }, at)
            }
            Event::MappingStart(anchor, tag) => {
                self.plain_only(at, anchor, tag.is_some());
                self.open(Open::Map { at, entries: Vec::new(), key: None }, at)
            }
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open::List { at, items }) => self.place(Marked { at, shape: Shape::List(items) }),
                Some(Open::Map { at, entries, .. }) => self.place(Marked { at, shape: Shape::Map(entries) }),
                None => Ok(()),
            },
        }
    }

    fn document(&mut self, at: Position) -> Result<(), Diagnostic> {
        self.documents = self.documents.saturating_add(1);
        if self.documents > 1 {
            return Err(Diagnostic::new(at, "", "found a second document, expected one; remove what follows this ---"));
        }
        Ok(())
    }

    fn plain_only(&mut self, at: Position, anchor: usize, tagged: bool) {
        if anchor != 0 {
            self.refuse(at, "found an anchor, expected a value; remove the & and its name");
        }
        if tagged {
            self.refuse(at, "found a tag, expected a value; remove the ! and its name");
        }
    }

    fn refuse(&mut self, at: Position, text: &str) {
        self.faults.push(Diagnostic::new(at, "", text));
    }

    fn open(&mut self, open: Open, at: Position) -> Result<(), Diagnostic> {
        if let Some(Open::Map { key: None, .. }) = self.open.last() {
            return Err(Diagnostic::new(at, "", "found a list or mapping as a key, expected a name; write KEY: VALUE"));
        }
        if self.open.len() >= Self::DEEPEST {
            return Err(Diagnostic::new(
                at,
                "",
                format!("found lists or mappings nested deeper than {}, expected at most four levels; remove the nesting", Self::DEEPEST),
            ));
        }
        self.open.push(open);
        Ok(())
    }

    /// Puts a finished value where it belongs: the file, a list, a mapping as key, a mapping as value.
    fn place(&mut self, value: Marked) -> Result<(), Diagnostic> {
        self.values = self.values.saturating_add(1);
        if self.values > Self::MOST_VALUES {
            let text = format!("found more than {} values, expected a configuration; name the right file with -c", Self::MOST_VALUES);
            return Err(Diagnostic::new(value.at, "", text));
        }
        match self.open.last_mut() {
            None => self.root = Some(value),
            Some(Open::List { items, .. }) => items.push(value),
            Some(Open::Map { entries, key, .. }) => match (key.take(), value.shape) {
                (Some(key), shape) => entries.push((key, Marked { at: value.at, shape })),
                (None, Shape::Scalar(text)) => *key = Some(Key { at: value.at, text }),
                (None, Shape::List(_) | Shape::Map(_)) => {}
            },
        }
        Ok(())
    }
}

fn position(mark: Marker) -> Position {
    Position { line: mark.line(), column: mark.col().saturating_add(1) }
}

fn syntax_fault(text: &str, mark: Marker, info: &str) -> Diagnostic {
    let at = position(mark);
    let info = info.replace(char::is_control, " ");
    let line = at.line.checked_sub(1).and_then(|before| text.lines().nth(before)).unwrap_or("");
    let advice = if line.contains("]:") {
        "write an IPv6 address with a port in quotes, as \"[::]:5432\""
    } else if line.contains('\t') {
        "indent with spaces, not tabs"
    } else {
        "look at this line and the one before it"
    };
    Diagnostic::new(at, "", format!("found a fault of syntax ({info}), expected YAML; {advice}"))
}
