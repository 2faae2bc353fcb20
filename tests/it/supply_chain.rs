//! What is linked is what `.deny.toml` allows, judged without cargo-deny and without a network.
//!
//! Advisories that nobody wrote down here are cargo-deny's to find: it needs their database.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use toml::{Table, Value};

use crate::harness::daemon::postern_path;

#[test]
fn nothing_is_linked_that_is_banned() {
    let banned: Vec<_> = bans("deny").collect();
    assert!(banned.len() > 10);
    for package in &shipped() {
        for ban in banned.iter().filter(|ban| ban.name == package.name) {
            assert!(!ban.matches(&package.version), "{} {} is linked: {}", package.name, package.version, ban.reason);
        }
    }
}

#[test]
fn every_licence_is_allowed() {
    let config = deny();
    let allowed: Vec<&str> = list(&config, "licenses", "allow").iter().filter_map(Value::as_str).collect();
    for package in &shipped() {
        let Package { name, licence, .. } = package;
        assert!(Licence::of(licence).is_allowed(&allowed), "{name} has the licence {licence}");
    }
}

#[test]
fn no_crate_is_linked_twice_without_a_reason() {
    let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in shipped() {
        versions.entry(package.name).or_default().insert(package.version);
    }
    let excused: Vec<_> = bans("skip").collect();
    for ban in &excused {
        assert!(versions.get(&ban.name).is_some_and(|versions| versions.len() > 1), "{} needs no excuse any more", ban.name);
    }
    for (name, versions) in versions {
        let counted = versions.iter().filter(|version| !excused.iter().any(|ban| ban.name == name && ban.matches(version)));
        assert!(counted.count() < 2, "{name} is linked as {versions:?}");
    }
}

#[test]
fn the_release_build_has_fewer_than_150_crates() {
    let shipped = shipped();
    assert!((50..150).contains(&shipped.len()), "there are {}", shipped.len());
}

#[test]
fn every_crate_comes_from_crates_io_with_its_checksum() {
    let lock: Table = read("Cargo.lock").parse().unwrap();
    let registry = "registry+https://github.com/rust-lang/crates.io-index";
    for package in lock["package"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        if name != env!("CARGO_PKG_NAME") {
            assert_eq!(package.get("source").and_then(Value::as_str), Some(registry), "{name}");
            assert!(package.get("checksum").is_some(), "{name}");
        }
    }
}

#[test]
fn every_exception_has_a_reason() {
    let config = deny();
    for (section, key) in [("advisories", "ignore"), ("bans", "deny"), ("bans", "skip")] {
        for entry in list(&config, section, key) {
            assert!(entry.get("reason").and_then(Value::as_str).is_some_and(|reason| reason.len() > 5), "{section}.{key}: {entry:?}");
        }
    }
}

#[test]
fn the_image_is_built_from_all_that_the_build_reads() {
    let ignored = read(".dockerignore");
    let admitted: Vec<&str> = ignored.lines().filter_map(|line| line.strip_prefix('!')).collect();
    let manifest: Table = read("Cargo.toml").parse().unwrap();
    let targets = ["test", "bench", "bin"].iter().flat_map(|kind| manifest[*kind].as_array().unwrap());
    let mut needed: Vec<String> = targets.map(|target| target["path"].as_str().unwrap().to_owned()).collect();
    needed.extend(included("src"));
    needed.push(".cargo/config.toml".to_owned());
    assert!(needed.len() > 5, "{needed:?}");
    for file in needed {
        let reaches_the_builder = admitted.iter().any(|admitted| Path::new(&file).starts_with(admitted));
        assert!(reaches_the_builder, "the build reads {file}, which .dockerignore keeps from it");
    }
}

/// Cargo hands the settings of `.cargo/config.toml` to jemalloc's build: a build that lost them would keep what a busy hour took.
#[test]
fn the_allocator_is_built_to_give_freed_pages_back_at_once() {
    let config: Table = read(".cargo/config.toml").parse().unwrap();
    let wanted = config["env"]["JEMALLOC_SYS_WITH_MALLOC_CONF"].as_str().unwrap();
    assert!(wanted.contains("dirty_decay_ms:0,"), "{wanted}");
    let program = fs::read(postern_path()).unwrap();
    assert!(program.windows(wanted.len()).any(|window| window == wanted.as_bytes()), "the program was not built with {wanted}");
}

/// The files that the sources of a folder have the compiler read in, their tests left out, by their paths from the root.
fn included(folder: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).unwrap() {
        let name = entry.as_ref().unwrap().file_name().into_string().unwrap();
        let path = format!("{folder}/{name}");
        if entry.unwrap().path().is_dir() {
            found.extend(included(&path));
        } else if name != "tests.rs" {
            let text = read(&path);
            let code = text.split("#[cfg(test)]").next().unwrap();
            let calls = code.split("include_str!(\"").chain(code.split("include_bytes!(\"")).filter_map(|rest| rest.split_once("\")"));
            let named = calls.map(|(named, _)| named).filter(|named| named.starts_with("../"));
            found.extend(named.map(|named| from_root(folder, named)));
        }
    }
    found
}

fn from_root(folder: &str, path: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').collect();
    for part in path.split('/') {
        match part {
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// A crate of the release build.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Package {
    name: String,
    version: String,
    licence: String,
}

/// All that the release build of this machine's target compiles, what only builds it included.
fn shipped() -> Vec<Package> {
    let arguments = ["tree", "--offline", "--locked", "--edges", "normal,build", "--prefix", "none", "--format", "{p}|{l}"];
    let output = Command::new(env!("CARGO")).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let packages = text.lines().map(|line| {
        let (package, licence) = line.trim_end_matches(" (*)").split_once('|').unwrap();
        let mut words = package.split(' ');
        let (name, version) = (words.next().unwrap(), words.next().unwrap());
        Package { name: name.into(), version: version.trim_start_matches('v').into(), licence: licence.into() }
    });
    packages.collect::<BTreeSet<_>>().into_iter().collect()
}

fn deny() -> Table {
    read(".deny.toml").parse().unwrap()
}

fn read(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}

fn list<'a>(config: &'a Table, section: &str, key: &str) -> &'a [Value] {
    config[section][key].as_array().unwrap_or_else(|| panic!("{section}.{key} is no list"))
}

/// A crate, or some of its versions: `name`, `name@version` (with all that begin so) or `name@<version`.
struct Spec {
    name: String,
    versions: Option<String>,
    reason: String,
}

fn bans(key: &str) -> impl Iterator<Item = Spec> {
    let config = deny();
    list(&config, "bans", key)
        .iter()
        .map(|entry| {
            let (spec, reason) = (entry["crate"].as_str().unwrap(), entry["reason"].as_str().unwrap());
            let (name, versions) = spec.split_once('@').map_or((spec, None), |(name, versions)| (name, Some(versions.to_owned())));
            Spec { name: name.into(), versions, reason: reason.into() }
        })
        .collect::<Vec<_>>()
        .into_iter()
}

impl Spec {
    fn matches(&self, version: &str) -> bool {
        let Some(versions) = &self.versions else { return true };
        match versions.strip_prefix('<') {
            Some(floor) => compare(version, floor) == Ordering::Less,
            None => version.strip_prefix(versions.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')),
        }
    }
}

/// Compares versions by their numbers. One before its release is older than the release.
fn compare(one: &str, other: &str) -> Ordering {
    let parts = |version: &str| {
        let version = version.split('+').next().unwrap_or_default().to_owned();
        let (numbers, before) = version.split_once('-').map_or((version.as_str(), false), |(numbers, _)| (numbers, true));
        let numbers: Vec<u64> = numbers.split('.').map(|number| number.parse().unwrap()).collect();
        (numbers, !before)
    };
    parts(one).cmp(&parts(other))
}

/// An SPDX expression, with the slash that older crates write for OR.
enum Licence<'a> {
    Name(&'a str),
    All(Vec<Self>),
    Any(Vec<Self>),
}

impl<'a> Licence<'a> {
    fn of(expression: &'a str) -> Self {
        assert!(!expression.is_empty(), "a crate without a licence");
        // "WITH" an exception is another licence's name.
        let alternatives = split(expression, &[" OR ", "/"]);
        if alternatives.len() > 1 {
            return Self::Any(alternatives.into_iter().map(Self::of).collect());
        }
        let parts = split(expression, &[" AND "]);
        if parts.len() > 1 {
            return Self::All(parts.into_iter().map(Self::of).collect());
        }
        match expression.strip_prefix('(').and_then(|inner| inner.strip_suffix(')')) {
            Some(inner) => Self::of(inner),
            None => Self::Name(expression),
        }
    }

    fn is_allowed(&self, allowed: &[&str]) -> bool {
        match self {
            Self::Name(name) => allowed.contains(name),
            Self::All(parts) => parts.iter().all(|part| part.is_allowed(allowed)),
            Self::Any(parts) => parts.iter().any(|part| part.is_allowed(allowed)),
        }
    }
}

/// Splits an expression where a separator stands outside of all parentheses.
fn split<'a>(expression: &'a str, separators: &[&str]) -> Vec<&'a str> {
    let (mut parts, mut depth, mut from, mut at) = (Vec::new(), 0, 0, 0);
    while at < expression.len() {
        match expression.as_bytes()[at] {
            b'(' => depth += 1,
            b')' => depth -= 1,
            _ => {}
        }
        match separators.iter().find(|separator| depth == 0 && expression[at..].starts_with(**separator)) {
            Some(separator) => {
                parts.push(&expression[from..at]);
                at += separator.len();
                from = at;
            }
            None => at += 1,
        }
    }
    parts.push(&expression[from..]);
    parts
}

#[test]
fn licences_and_versions_are_read_as_they_are_meant() {
    let allowed = ["MIT", "Unicode-3.0"];
    for (expression, expected) in [
        ("MIT", true),
        ("MIT/Apache-2.0", true),
        ("GPL-3.0 OR (MIT AND Unicode-3.0)", true),
        ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
        ("MIT AND GPL-3.0", false),
        ("MIT AND (GPL-3.0 OR BSL-1.0)", false),
    ] {
        assert_eq!(Licence::of(expression).is_allowed(&allowed), expected, "{expression}");
    }
    assert_eq!(compare("0.103.9", "0.103.13"), Ordering::Less);
    assert_eq!(compare("1.11.1-rc.1", "1.11.1"), Ordering::Less);
    assert_eq!(compare("3.0.0+spec-1.1.0", "3.0.0"), Ordering::Equal);
}
