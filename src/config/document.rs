//! A configuration as it was written, to be compared with another: which keys differ.

use super::keys::join;
use super::raw::{Entry, Node, Value};

/// What a file says, without its layout.
#[derive(Clone, Debug)]
pub struct Document(Node);

impl Document {
    pub(super) fn new(root: Node) -> Self {
        Self(root)
    }

    /// The paths of the keys whose values differ, one that only one of the two has included; of a list, the list as a whole.
    pub fn changes(&self, other: &Self) -> Vec<String> {
        let mut paths = Vec::new();
        compare(String::new(), Some(&self.0), Some(&other.0), &mut paths);
        paths
    }
}

fn compare(path: String, one: Option<&Node>, other: Option<&Node>, paths: &mut Vec<String>) {
    let nothing = &[][..];
    match (one.map(|node| &node.value), other.map(|node| &node.value)) {
        (Some(Value::Map(ours)), Some(Value::Map(theirs))) => compare_keys(&path, ours, theirs, paths),
        // A section that only one of them has counts key by key, like one that is empty.
        (Some(Value::Map(ours)), None | Some(Value::Null)) => compare_keys(&path, ours, nothing, paths),
        (None | Some(Value::Null), Some(Value::Map(theirs))) => compare_keys(&path, nothing, theirs, paths),
        (Some(ours), Some(theirs)) if is_same(ours, theirs) => {}
        (None, None) => {}
        (Some(_), _) | (None, Some(_)) => paths.push(path),
    }
}

fn compare_keys(path: &str, ours: &[Entry], theirs: &[Entry], paths: &mut Vec<String>) {
    let find = |entries: &'_ [Entry], key: &str| entries.iter().position(|entry| entry.key == key);
    for Entry { key, node } in ours {
        let other = find(theirs, key).and_then(|at| theirs.get(at)).map(|entry| &entry.node);
        compare(join(path, key), Some(node), other, paths);
    }
    for Entry { key, node } in theirs.iter().filter(|entry| find(ours, &entry.key).is_none()) {
        compare(join(path, key), None, Some(node), paths);
    }
}

/// Whether two values are the same, wherever they stand.
fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::List(ours), Value::List(theirs)) => {
            ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(one, other)| is_same(&one.value, &other.value))
        }
        (Value::Map(ours), Value::Map(theirs)) => {
            ours.len() == theirs.len()
                && ours
                    .iter()
                    .all(|Entry { key, node }| theirs.iter().any(|other| other.key == *key && is_same(&node.value, &other.node.value)))
        }
        (one, other) => one == other,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{marks, raw};
    use super::*;

    fn document(text: &str) -> Document {
        let marked = marks::read(text).ok().flatten().unwrap();
        Document::new(raw::read(text, &marked).unwrap())
    }

    #[test]
    fn what_differs_is_named_by_its_key_and_layout_is_no_difference() {
        let old = document("listen: a\ntls: { x: 1, y: 2 }\nhba: [{ user: all, database: all }]\nlog:\n");
        let new = document("# moved\ntls:\n  y: 2\n  x: 3\nlisten: a\nhba: [{ database: all, user: all }]\nlimits: { max: 1 }\n");
        assert_eq!(old.changes(&new), ["tls.x", "log", "limits.max"]);
        assert_eq!(new.changes(&old), ["tls.x", "limits.max", "log"]);
        assert!(old.changes(&old).is_empty());
        let other = document("listen: a\ntls: { x: 1, y: 2 }\nhba: [{ user: bob, database: all }]\nlog: {}\n");
        assert_eq!(old.changes(&other), ["hba"]);
    }
}
