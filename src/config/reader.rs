//! Reads a section's keys one by one, so that each fault is found and none hides another.
//!
//! A key that is absent or at fault yields `None` after its fault was noted; there is no other meaning of `None` here.

use super::diagnostic::{Diagnostic, Faults, Position};
use super::keys::join;
use super::raw::{Entry, Node, Value};

/// What a value should have been.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    note: String,
    expected: String,
    advice: String,
}

/// The outcome of reading one value.
pub(super) type Read<T> = Result<T, Wrong>;

/// A mapping of the file, its absence, or the wrong thing in its place.
pub(super) struct Section<'a> {
    path: String,
    at: Position,
    /// `None` where something else than a mapping was found: its keys are then neither there nor missing.
    entries: Option<&'a [Entry]>,
}

impl Wrong {
    /// What was expected, and what to do.
    pub(super) fn new(expected: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { note: String::new(), expected: expected.into(), advice: advice.into() }
    }

    /// The same, with what is wrong about the value: `, which ...`.
    pub(super) fn which(mut self, note: impl Into<String>) -> Self {
        self.note = format!(", {}", note.into());
        self
    }

    /// A value that the contract has and this version does not.
    pub(super) fn unbuilt(expected: impl Into<String>) -> Self {
        Self::new(expected, "remove it").which("which is not implemented in this version")
    }

    pub(super) fn at(self, position: Position, path: String, found: &str) -> Diagnostic {
        let Self { note, expected, advice } = self;
        Diagnostic::new(position, path, format!("found {found}{note}, expected {expected}; {advice}"))
    }
}

impl<'a> Section<'a> {
    /// The file itself.
    pub(super) fn root(node: &'a Node, faults: &mut Faults) -> Self {
        Self::of(node, String::new(), faults)
    }

    /// A mapping that stands at `path`.
    pub(super) fn of(node: &'a Node, path: String, faults: &mut Faults) -> Self {
        let entries = match &node.value {
            Value::Map(entries) => Some(entries.as_slice()),
            Value::Null | Value::Boolean(_) | Value::Number { .. } | Value::Text(_) | Value::List(_) => {
                let wrong = Wrong::new("a mapping", "write KEY: VALUE");
                faults.push(wrong.at(node.at, path.clone(), &node.shown()));
                None
            }
        };
        Self { path, at: node.at, entries }
    }

    /// A section below this one. One that is absent, or has all its keys commented out, is empty.
    pub(super) fn section(&self, key: &str, faults: &mut Faults) -> Section<'a> {
        let path = join(&self.path, key);
        match self.find(key) {
            Some(Node { at, value: Value::Null }) => Section { path, at: *at, entries: Some(&[]) },
            Some(node) => Section::of(node, path, faults),
            None => Section { path, at: self.at, entries: self.entries.map(|_| [].as_slice()) },
        }
    }

    /// The value of a key, if it is there.
    pub(super) fn find(&self, key: &str) -> Option<&'a Node> {
        self.entries?.iter().find(|entry| entry.key == key).map(|entry| &entry.node)
    }

    /// Every key with its value, in the file's order; `None` where something else than a mapping stands in its place.
    pub(super) fn entries(&self) -> Option<impl Iterator<Item = (&'a str, &'a Node)>> {
        Some(self.entries?.iter().map(|entry| (entry.key.as_str(), &entry.node)))
    }

    /// Where a key below this section stands, as `hba[2].map`; or what stands around it.
    pub(super) fn place(&self, path: &str) -> Position {
        let mut place = self.at;
        let mut entries = self.entries;
        for step in path.split('.') {
            let (key, number) = step.strip_suffix(']').and_then(|step| step.split_once('[')).unwrap_or((step, ""));
            let Some(entry) = entries.and_then(|entries| entries.iter().find(|entry| entry.key == key)) else { return place };
            let node = match (&entry.node.value, number.parse::<usize>()) {
                (Value::List(items), Ok(number)) => items.get(number).unwrap_or(&entry.node),
                _ => &entry.node,
            };
            place = node.at;
            entries = match &node.value {
                Value::Map(entries) => Some(entries),
                Value::Null | Value::Boolean(_) | Value::Number { .. } | Value::Text(_) | Value::List(_) => None,
            };
        }
        place
    }

    /// Notes a fault of a key that was found by looking at more than its value.
    pub(super) fn fault(&self, key: &str, wrong: Wrong, faults: &mut Faults) {
        let (at, found) = self.find(key).map_or((self.at, "nothing".to_owned()), |node| (node.at, node.shown()));
        faults.push(wrong.at(at, join(&self.path, key), &found));
    }

    /// A key with a default.
    pub(super) fn optional<T>(&self, key: &str, default: T, read: impl Fn(&Node) -> Read<T>, faults: &mut Faults) -> Option<T> {
        self.entries?;
        match self.find(key) {
            None => Some(default),
            Some(node) => self.value(key, node, read, faults),
        }
    }

    /// A key without a default: where it is absent, `read` says what it expected.
    pub(super) fn required<T>(&self, key: &str, read: impl Fn(&Node) -> Read<T>, faults: &mut Faults) -> Option<T> {
        self.entries?;
        let absent = Node { at: self.at, value: Value::Null };
        self.value(key, self.find(key).unwrap_or(&absent), read, faults)
    }

    /// A key without a default that takes one value or a list of them; at least one. Each comes with its path.
    pub(super) fn one_or_more<T>(&self, key: &str, read: impl Fn(&Node) -> Read<T>, faults: &mut Faults) -> Option<Vec<T>> {
        let Some(Node { value: Value::List(items), .. }) = self.find(key) else {
            return self.required(key, read, faults).map(|only| vec![only]);
        };
        if items.is_empty() {
            self.fault(key, Wrong::new("at least one value", "write one"), faults);
            return None;
        }
        let values: Vec<Option<T>> =
            items.iter().enumerate().map(|(number, item)| self.value(&format!("{key}[{number}]"), item, &read, faults)).collect();
        values.into_iter().collect()
    }

    fn value<T>(&self, key: &str, node: &Node, read: impl Fn(&Node) -> Read<T>, faults: &mut Faults) -> Option<T> {
        read(node).map_err(|wrong| faults.push(wrong.at(node.at, join(&self.path, key), &node.shown()))).ok()
    }
}
