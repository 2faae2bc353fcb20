//! The settings in force: what a file says, and the reference's defaults for all that it leaves out, in the reference's order.
//!
//! What comes out is a configuration that means the same. Nothing in it is a secret: passwords stand in `backend.passfile` alone.

use std::path::Path;

use super::raw::{Entry, Node, Value};

/// Paths, which are printed with their folder. `audit.file` is one where it is no keyword.
const PATHS: [&str; 3] = ["passfile", "socket", "file"];

/// Words that stand in a path's place.
const NO_PATHS: [&str; 1] = ["stdout"];

/// Lists that a file takes the place of, and that file's key: where it is named, the list's default is not in force.
const REPLACED_BY_FILES: [(&str, &str); 2] = [("hba", "hba_file"), ("ident", "ident_file")];

/// Every setting in force.
#[derive(Clone, Debug, PartialEq)]
pub struct Effective(serde_yaml::Value);

impl Effective {
    /// `written`, completed by `reference`; relative paths start at `folder`.
    pub(super) fn new(written: &Node, reference: &Node, folder: &Path) -> Self {
        let mut root = merge(written, reference);
        let replaced: Vec<&str> = REPLACED_BY_FILES.iter().filter(|(_, file)| names_a_file(&root, file)).map(|(list, _)| *list).collect();
        if let Value::Map(entries) = &mut root.value {
            entries.retain(|entry| !replaced.contains(&entry.key.as_str()));
        }
        Self(plain(&root, folder, ""))
    }

    /// As a configuration file.
    ///
    /// # Errors
    /// The writer's words, should it refuse.
    pub fn yaml(&self) -> Result<String, String> {
        serde_yaml::to_string(&self.0).map_err(|error| error.to_string())
    }

    /// As one object, for programs.
    ///
    /// # Errors
    /// The writer's words, should it refuse.
    pub fn json(&self) -> Result<String, String> {
        serde_json::to_string_pretty(&self.0).map(|text| text + "\n").map_err(|error| error.to_string())
    }
}

fn names_a_file(root: &Node, key: &str) -> bool {
    let Value::Map(entries) = &root.value else { return false };
    entries.iter().any(|entry| entry.key == key && matches!(entry.node.value, Value::Text(_)))
}

/// A mapping takes what it lacks from the reference, and so does every mapping in a list; all else stays as it is written.
fn merge(written: &Node, reference: &Node) -> Node {
    let value = match (&written.value, &reference.value) {
        // A section whose keys are all commented out.
        (Value::Null, Value::Map(_)) => reference.value.clone(),
        (Value::Map(written), Value::Map(known)) => Value::Map(merge_entries(written, known)),
        (Value::List(items), Value::List(known)) => match known.first() {
            Some(example) => Value::List(items.iter().map(|item| merge(item, example)).collect()),
            None => Value::List(items.clone()),
        },
        (value, _) => value.clone(),
    };
    Node { at: written.at, value }
}

/// The reference's keys in its order, and behind them those that it does not have: the names of maps.
fn merge_entries(written: &[Entry], known: &[Entry]) -> Vec<Entry> {
    let find = |entries: &[Entry], key: &str| entries.iter().find(|entry| entry.key == key).map(|entry| entry.node.clone());
    let completed = known.iter().map(|default| {
        let node = find(written, &default.key).map_or_else(|| default.node.clone(), |node| merge(&node, &default.node));
        Entry { key: default.key.clone(), node }
    });
    let further = written.iter().filter(|entry| find(known, &entry.key).is_none()).cloned();
    completed.chain(further).collect()
}

fn plain(node: &Node, folder: &Path, key: &str) -> serde_yaml::Value {
    match &node.value {
        Value::Null => serde_yaml::Value::Null,
        Value::Boolean(value) => (*value).into(),
        Value::Number { whole: Some(whole), .. } => (*whole).into(),
        Value::Number { text, whole: None } => text.clone().into(),
        Value::Text(text) if is_path(key) && !NO_PATHS.contains(&text.as_str()) => folder.join(text).to_string_lossy().into(),
        Value::Text(text) => text.clone().into(),
        Value::List(items) => serde_yaml::Value::Sequence(items.iter().map(|item| plain(item, folder, key)).collect()),
        Value::Map(entries) => {
            serde_yaml::Value::Mapping(entries.iter().map(|Entry { key, node }| (key.clone().into(), plain(node, folder, key))).collect())
        }
    }
}

fn is_path(key: &str) -> bool {
    PATHS.contains(&key) || key.ends_with("_file")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;

    use super::super::{SCHEMA, effective, keys, load};
    use super::*;

    fn files(folder: &str) -> Vec<std::path::PathBuf> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        files.filter(|path| path.extension().is_some_and(|extension| extension == "yaml")).collect()
    }

    #[test]
    fn what_is_printed_means_the_same() {
        let elsewhere = tempfile::tempdir().unwrap();
        let files = [files("tests/config/valid"), vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("config/example.yaml")]].concat();
        assert!(files.len() > 5);
        for file in files {
            let shown = effective(&file).unwrap();
            for text in [shown.yaml().unwrap(), shown.json().unwrap()] {
                let copy = elsewhere.path().join("postern.yaml");
                fs::write(&copy, &text).unwrap();
                let (own, other) = (load(&file).unwrap(), load(&copy).unwrap_or_else(|faults| panic!("{faults}\n{text}")));
                assert_eq!(own.settings, other.settings, "{}\n{text}", file.display());
            }
        }
    }

    #[test]
    fn what_is_printed_has_every_key_that_is_built() {
        let elsewhere = tempfile::tempdir().unwrap();
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/reference.yaml");
        let copy = elsewhere.path().join("postern.yaml");
        fs::write(&copy, effective(&file).unwrap().yaml().unwrap()).unwrap();
        let locator = load(&copy).unwrap().locator;
        for key in keys::built().filter(|key| (!key.contains("[].") || key.starts_with("hba[]")) && !key.contains('*')) {
            assert!(locator.find(&key.replace("[]", "[0]")).is_some(), "{key} is not printed");
        }
    }

    #[test]
    fn the_schema_has_the_keys_that_are_built_and_no_others() {
        let schema: serde_json::Value = serde_json::from_str(SCHEMA).unwrap();
        let mut found = BTreeSet::new();
        note_keys(&schema, &schema, "", &mut found);
        assert_eq!(found, keys::built().map(str::to_owned).collect());
    }

    /// The keys that a schema's object may have, below `path`.
    fn note_keys(schema: &serde_json::Value, root: &serde_json::Value, path: &str, found: &mut BTreeSet<String>) {
        if let Some(name) = schema["$ref"].as_str() {
            return note_keys(&root["$defs"][name.trim_start_matches("#/$defs/")], root, path, found);
        }
        if schema["items"].is_object() {
            note_keys(&schema["items"], root, &format!("{path}[]"), found);
        }
        if schema["additionalProperties"].is_object() {
            let path = super::super::keys::join(path, "*");
            note_keys(&schema["additionalProperties"], root, &path, found);
            found.insert(path);
        }
        for (key, below) in schema["properties"].as_object().into_iter().flatten() {
            let path = super::super::keys::join(path, key);
            note_keys(below, root, &path, found);
            found.insert(path);
        }
    }
}
