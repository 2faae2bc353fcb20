//! Where each key of a file stands, for faults that are found after it was read: a certificate that does not fit its key, a port
//! that is taken.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::diagnostic::{Diagnostic, Diagnostics, Faults, Position};
use super::keys::join;
use super::raw::{Entry, Node, Value};

/// The places of a file's keys and list items.
#[derive(Clone, Debug)]
pub struct Locator {
    file: PathBuf,
    places: BTreeMap<String, Position>,
}

impl Locator {
    /// The places in `root`, the content of `file`.
    pub(super) fn new(file: &Path, root: &Node) -> Self {
        let mut places = BTreeMap::new();
        note(root, String::new(), &mut places);
        Self { file: file.to_owned(), places }
    }

    /// The file.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Where a key stands, as `tls.ssl_key_file` or `hba[2].address`; `None` where the file leaves it to its default.
    pub fn find(&self, key: &str) -> Option<Position> {
        self.places.get(key).copied()
    }

    /// Where a key stands or would: that of its section, or of the file's first key.
    pub fn at(&self, key: &str) -> Position {
        let mut path = key;
        loop {
            if let Some(place) = self.find(path) {
                return place;
            }
            path = path.rfind(['.', '[']).and_then(|end| path.get(..end)).unwrap_or("");
            if path.is_empty() {
                return self.find("").unwrap_or(Position::START);
            }
        }
    }

    /// Faults of keys, shown as those of the file itself. Each comes with what was found, what was expected, what to do.
    pub fn diagnostics<K: Into<String>>(&self, found: impl IntoIterator<Item = (K, String)>) -> Diagnostics {
        let mut faults = Faults::default();
        for (key, text) in found {
            let key = key.into();
            faults.push(Diagnostic::new(self.at(&key), key, text));
        }
        faults.of(&self.file)
    }
}

fn note(node: &Node, path: String, places: &mut BTreeMap<String, Position>) {
    match &node.value {
        Value::Map(entries) => {
            for Entry { key, node } in entries {
                note(node, join(&path, key), places);
            }
        }
        Value::List(items) => {
            for (number, item) in items.iter().enumerate() {
                note(item, format!("{path}[{number}]"), places);
            }
        }
        Value::Null | Value::Boolean(_) | Value::Number { .. } | Value::Text(_) => {}
    }
    places.insert(path, node.at);
}
