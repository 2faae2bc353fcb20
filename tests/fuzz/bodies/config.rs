//! The configuration file.

use std::fs;

use postern::config::{Diagnostic, Diagnostics, Position, load};
use tempfile::TempDir;

/// A file loads, or says at least one fault with a place that is in it, each on a line of its own; and it does so again.
pub fn config(data: &[u8]) {
    thread_local! {
        static FOLDER: TempDir = TempDir::new().expect("there is a folder for temporary files");
    }
    FOLDER.with(|folder| {
        let path = folder.path().join("p.yaml");
        fs::write(&path, data).expect("a temporary file can be written");
        let read = || load(&path).map(|loaded| loaded.settings);
        let first = read();
        if let Err(diagnostics) = &first {
            check_faults(diagnostics, data, &path.display().to_string());
        }
        assert_eq!(first, read());
    });
}

fn check_faults(diagnostics: &Diagnostics, data: &[u8], path: &str) {
    let shown = diagnostics.to_string();
    assert!(!shown.is_empty());
    for line in shown.split('\n') {
        assert!(!line.contains(char::is_control), "{line:?} is not fit for a terminal");
        assert!(line.starts_with(path), "{line:?} does not begin with the file's name");
    }
    // Places are compared with the file as anybody counts it; the end of it counts, and so does what YAML alone takes for a line's end.
    let text = String::from_utf8_lossy(data);
    let lines: Vec<usize> = text.split(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']).map(|line| line.chars().count()).collect();
    let longest = lines.iter().max().copied().unwrap_or_default();
    for Position { line, column } in diagnostics.iter().filter_map(Diagnostic::position) {
        assert!((1..=lines.len() + 1).contains(&line) && (1..=longest + 2).contains(&column), "{line}:{column} is not in the file");
    }
}
