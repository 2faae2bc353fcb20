//! The house stands as drawn: modules import from floors below their own, and each library lives in one place.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Each module's floor. Modules that share a floor do not import each other.
const FLOORS: &[(&str, u8)] = &[
    ("main", 12),
    ("cli", 11),
    ("daemon", 10),
    ("tunnel", 9),
    ("admin", 9),
    ("listen", 8),
    ("session", 7),
    ("snapshot", 6),
    ("config", 5),
    ("tls", 4),
    ("backend", 4),
    ("observe", 4),
    ("os", 4),
    ("harden", 4),
    ("pki", 4),
    ("drain", 4),
    ("limits", 4),
    ("error", 3),
    ("policy", 2),
    ("identity", 1),
    ("wire", 0),
    // Beneath the ground: words and digests that even the bytes are made of.
    ("types", 0),
    ("notice", 0),
    ("crypto", 0),
];

/// `wire` stands on these two, although they share its floor in the picture.
const GROUND: &[&str] = &["types", "crypto"];

/// Just below floor 4, although it shares its number: the system's answers.
const CELLAR: &str = "os";

/// A connection sees its snapshot, never where that came from.
const FORBIDDEN: &[(&str, &str)] = &[("session", "config"), ("listen", "config")];

/// The one place of each library: a folder ends in a slash.
const HOMES: &[(&str, &str)] = &[
    ("rustls", "tls/"),
    ("webpki", "tls/"),
    ("x509_parser", "identity/"),
    ("serde_yaml", "config/"),
    ("saphyr_parser", "config/"),
    ("regex", "policy/pattern/"),
    ("rcgen", "pki/"),
    ("pem", "pki/"),
    ("aws_lc_rs", "crypto.rs"),
    ("socket2", "listen/"),
    ("listenfd", "listen/inherited.rs"),
    ("tikv_jemallocator", "main.rs"),
    ("rustix", "os/"),
    ("landlock", "harden/landlock.rs"),
    ("seccompiler", "harden/seccomp.rs"),
    ("clap", "cli/"),
    ("hyper", "admin/"),
    ("prometheus_client", "observe/"),
    ("tracing_subscriber", "observe/"),
];

/// What floors 0 to 3 do without, so that they can be read and tested alone.
const OUTSIDE_WORLD: &[&str] =
    &["tokio", "std::fs", "std::process", "std::net::TcpStream", "std::net::TcpListener", "Instant::now", "SystemTime::now"];

#[test]
fn modules_import_only_from_floors_below_their_own() {
    let mut faults = Vec::new();
    for file in sources() {
        let Some(own) = floor(&file.module) else {
            faults.push(format!("{} is on no floor: give `{}` one", file.path.display(), file.module));
            continue;
        };
        for path in &file.paths {
            if path == "crate" {
                faults.push(format!("{} imports several modules in one line", file.path.display()));
            }
            let Some(used) = path.strip_prefix("crate::").or_else(|| path.strip_prefix("postern::")) else { continue };
            let used = used.split("::").next().unwrap_or_default();
            match floor(used) {
                _ if used == file.module => {}
                Some(beside) if beside == own && used == CELLAR => {}
                Some(below) if below < own || (GROUND.contains(&used) && !GROUND.contains(&file.module.as_str())) => {}
                Some(_) => faults.push(format!("{} uses `{used}`, which is not below it", file.path.display())),
                None => faults.push(format!("{} uses `{path}`: name one module", file.path.display())),
            }
            if FORBIDDEN.contains(&(&file.module, used)) {
                faults.push(format!("{} uses `{used}`: take it from the snapshot", file.path.display()));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn each_library_is_used_in_its_home_only() {
    let mut faults = Vec::new();
    for file in sources() {
        for (library, home) in HOMES {
            let at_home = file.path.starts_with(home.trim_end_matches('/'));
            if !at_home && file.paths.iter().any(|path| path.split("::").next() == Some(library)) {
                faults.push(format!("{} uses {library}, whose home is {home}", file.path.display()));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_lower_floors_have_no_clock_no_file_and_no_socket() {
    let mut faults = Vec::new();
    for file in sources().into_iter().filter(|file| floor(&file.module).is_some_and(|floor| floor <= 3)) {
        for path in &file.paths {
            let outside = |world: &str| path == world || path.starts_with(&format!("{world}::"));
            if OUTSIDE_WORLD.iter().any(|world| outside(world)) {
                faults.push(format!("{} uses {path}", file.path.display()));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// A file of `src/`, its tests left out, and every path that its code writes.
struct Source {
    path: PathBuf,
    module: String,
    paths: BTreeSet<String>,
}

fn floor(module: &str) -> Option<u8> {
    FLOORS.iter().find(|(name, _)| *name == module).map(|(_, floor)| *floor)
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs")
                && !path.ends_with("tests.rs")
                && !path.ends_with("testing.rs")
                && !path.components().any(|part| part.as_os_str() == "tests")
                && path != root.join("lib.rs")
            {
                files.push(read(&root, &path));
            }
        }
    }
    files
}

fn read(root: &Path, file: &Path) -> Source {
    let path = file.strip_prefix(root).unwrap().to_owned();
    let module = path.components().next().unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned();
    let text = fs::read_to_string(file).unwrap();
    let lines = text.lines().take_while(|line| *line != "#[cfg(test)]").map(|line| line.split("//").next().unwrap_or_default());
    let code: Vec<&str> = lines.collect();
    // `use rustls::crypto::aws_lc_rs` gives the name of one library to a part of another.
    let borrowed = |name: &str| {
        let mut imports = code.iter().filter_map(|line| line.strip_prefix("use "));
        imports.any(|import| !import.starts_with(name) && words(import).any(|word| word.split("::").any(|part| part == name)))
    };
    let paths = code.iter().flat_map(|line| words(line)).filter(|word| word.contains("::"));
    let paths = paths.map(|path| path.trim_end_matches(':').to_owned());
    let paths = paths.filter(|path| !borrowed(path.split("::").next().unwrap_or_default())).collect();
    Source { path, module, paths }
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'))
}
