//! The configuration file: YAML in, [`Settings`] out, or every fault of it with its line, column and key.
//!
//! Nothing is guessed and nothing is ignored: an unknown key, a key of a later version, a duplicate, a value that this machine
//! cannot honour are faults. Of the files that the settings name only those of rules and maps are read here; who opens the others asks
//! the [`Locator`] where their keys stand.

mod admin;
mod diagnostic;
mod document;
mod files;
mod hba;
mod ident;
mod keys;
mod locator;
mod marks;
mod pg_files;
mod print;
mod proxy;
mod raw;
mod reader;
mod resolve;
mod resources;
mod rules;
mod settings;
mod sni;
mod values;
mod words;

use std::io::Read;
use std::path::{Path, PathBuf};

pub use diagnostic::{Diagnostic, Diagnostics, Position};
pub use document::Document;
pub use files::NamedFile;
pub use locator::Locator;
pub use print::Effective;
pub use resources::live_resources;
pub use settings::{
    AdminSettings, BootSettings, CancelPlaintext, Fate, LimitSettings, ListenAddress, LiveSettings, Settings, ShutdownSettings,
};

use diagnostic::Faults;
use reader::Section;

use crate::os::{self, Account};

/// A configuration that can be used, and where its keys stand.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// Every value.
    pub settings: Settings,
    /// Every key's place, for faults that are found later.
    pub locator: Locator,
    /// What is written in it.
    pub document: Document,
    /// The files that it names and that are read with it.
    pub files: Vec<NamedFile>,
}

/// Reads a configuration file. It blocks: the file is read, and the system is asked for the user of `backend.require_peer`.
///
/// # Errors
/// Every fault of the file, not the first; at least one.
pub fn load(path: &Path) -> Result<Loaded, Diagnostics> {
    read_file(path).map_err(Faults::from).and_then(|text| parse(&text, path)).map_err(|faults| faults.of(path))
}

/// `admin.socket` of a file that may be at fault elsewhere: whoever wants to ask a running daemon what is wrong must find it.
///
/// # Errors
/// The file cannot be read as YAML, or its section `admin` is at fault.
pub fn admin_socket(path: &Path) -> Result<Option<PathBuf>, Diagnostics> {
    let find = |text: &str| {
        let root = root(text)?;
        let mut faults = Faults::default();
        let folder = path.parent().unwrap_or(Path::new(""));
        match admin::settings(&Section::root(&root, &mut faults), folder, &[], &mut faults) {
            Some(settings) if faults.is_empty() => Ok(settings.socket),
            Some(_) | None => Err(faults),
        }
    };
    read_file(path).map_err(Faults::from).and_then(|text| find(&text)).map_err(|faults| faults.of(path))
}

/// `user` of a file that may be at fault elsewhere; `None` if it names none, or cannot be read.
pub fn daemons_user(path: &Path) -> Option<Account> {
    let text = read_file(path).ok()?;
    resolve::user(&Section::root(&root(&text).ok()?, &mut Faults::default()), &mut Faults::default()).flatten()
}

/// Every setting that `serve` would work by, those included that the file leaves to their defaults: as YAML that means the same.
///
/// # Errors
/// Every fault of the file, not the first; at least one.
pub fn effective(path: &Path) -> Result<Effective, Diagnostics> {
    let complete = |text: &str| {
        parse(text, path)?;
        let folder = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        Ok(Effective::new(&root(text)?, &root(REFERENCE)?, folder.parent().unwrap_or(Path::new(""))))
    };
    read_file(path).map_err(Faults::from).and_then(|text| complete(&text)).map_err(|faults| faults.of(path))
}

/// The JSON Schema of the file, for editors and for tools that write it.
pub const SCHEMA: &str = include_str!("../../config/postern.schema.json");

/// Every key with its default and its meaning.
const REFERENCE: &str = include_str!("../../config/reference.yaml");

/// What stands in `text`, with its types and places.
fn root(text: &str) -> Result<raw::Node, Faults> {
    let Some(marked) = marks::read(text)? else { return Err(empty().into()) };
    let root = raw::read(text, &marked)?;
    if root.value == raw::Value::Null { Err(empty().into()) } else { Ok(root) }
}

/// The settings in `text`, which is the content of `path`.
fn parse(text: &str, path: &Path) -> Result<Loaded, Faults> {
    let root = root(text)?;
    let mut faults = Faults::default();
    keys::check(&root, &mut faults);
    let folder = path.parent().unwrap_or(Path::new(""));
    match resolve::settings(&root, folder, &mut faults) {
        Some(settings) if faults.is_empty() => {
            let (locator, files) = (Locator::new(path, &root), files::of(&settings.live));
            Ok(Loaded { settings, locator, document: Document::new(root), files })
        }
        Some(_) | None => Err(faults),
    }
}

fn empty() -> Diagnostic {
    Diagnostic::new(Position::START, "", "found an empty file, expected a configuration; begin with the keys listen, tls and backend")
}

fn read_file(path: &Path) -> Result<String, Diagnostic> {
    let mut bytes = Vec::new();
    // A pipe that nobody writes to would hold up every later reload as well.
    os::open_at_once(path).and_then(|file| file.take(LARGEST_FILE.saturating_add(1)).read_to_end(&mut bytes)).map_err(|error| {
        Diagnostic::of_file(format!("found no file that can be read ({error}), expected a configuration; name it with -c"))
    })?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > LARGEST_FILE) {
        return Err(Diagnostic::of_file("found more than 1 MiB, expected a configuration; name the right file with -c"));
    }
    decode(bytes)
}

fn decode(bytes: Vec<u8>) -> Result<String, Diagnostic> {
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Err(Diagnostic::new(Position::START, "", "found UTF-16, expected UTF-8; save the file as UTF-8"));
    }
    if bytes.starts_with(b"\xef\xbb\xbf") {
        let text = "found a byte order mark, expected UTF-8 without one; save the file as UTF-8 without BOM";
        return Err(Diagnostic::new(Position::START, "", text));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
        let text = "found a byte that is not UTF-8, expected UTF-8; save the file as UTF-8";
        Diagnostic::new(end_of(&String::from_utf8_lossy(valid)), "", text)
    })?;
    match text.split_once(|c: char| c.is_control() && !"\t\n\r\u{85}".contains(c)) {
        None => Ok(text),
        Some((before, _)) => Err(Diagnostic::new(end_of(before), "", "found a control character, expected text; remove it")),
    }
}

/// The place just behind a text. YAML ends a line at a carriage return too, with or without a line feed behind it.
fn end_of(text: &str) -> Position {
    let text = text.replace("\r\n", "\n");
    let ends = ['\n', '\r'];
    let line = text.matches(ends).count().saturating_add(1);
    let column = text.rsplit(ends).next().unwrap_or("").chars().count().saturating_add(1);
    Position { line, column }
}

/// Ten thousand rules fit; a larger file is not a configuration, and is not read to its end.
const LARGEST_FILE: u64 = 1 << 20;

#[cfg(test)]
mod tests;
