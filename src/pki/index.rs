//! What was ever issued from a folder, and what was revoked: `index.jsonl`, a line of JSON for each event, added and never changed.
//!
//! It is written before the certificate that it tells of: what it names may not exist, what exists is named. A certificate of
//! `issued/` that it does not know, from a version that kept no index, is taken in.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::date::Date;
use super::files::{NewFile, failed, replace};
use super::folder::{Folder, Place, Seat};
use super::key::{UnknownName, by_name};
use super::{ClientName, PkiError, date};
use crate::identity::Certificate;

/// A certificate that was issued.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// The serial number in lower-case hexadecimal.
    pub serial: String,
    /// What it is for.
    pub kind: Kind,
    /// Its common name: the role, for a client.
    pub cn: String,
    /// Which CA of the folder issued it, by its files' name.
    pub authority: String,
    /// From when it is valid, in seconds since 1970.
    #[serde(serialize_with = "as_date")]
    pub not_before: i64,
    /// Until when.
    #[serde(serialize_with = "as_date")]
    pub not_after: i64,
    /// The SHA-256 of its DER, in hexadecimal.
    pub sha256: String,
    /// The file that it was written to, from the folder on.
    pub file: String,
    /// When it was revoked and why.
    pub revoked: Option<Revocation>,
}

/// That a certificate was revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Revocation {
    /// When, in seconds since 1970.
    #[serde(serialize_with = "as_date")]
    pub time: i64,
    /// Why.
    pub reason: Reason,
}

/// What a certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// To issue others.
    Ca,
    /// To be the database.
    Server,
    /// To log in.
    Client,
}

/// Why a certificate was revoked (RFC 5280 section 5.3.1). A hold is not among them: what is revoked stays so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Reason {
    /// Nobody said.
    #[default]
    Unspecified,
    /// Somebody else has its key, or may have it.
    KeyCompromise,
    /// Somebody else has the key of the CA that it is.
    CaCompromise,
    /// Its name no longer fits.
    AffiliationChanged,
    /// Another one took its place.
    Superseded,
    /// It is not needed any more.
    CessationOfOperation,
    /// Its holder may not log in any more.
    PrivilegeWithdrawn,
}

impl Kind {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ca => "ca",
            Self::Server => "server",
            Self::Client => "client",
        }
    }
}

impl Reason {
    /// All of them, by OpenSSL's names.
    pub const ALL: [(&'static str, Self); 7] = [
        ("unspecified", Self::Unspecified),
        ("keyCompromise", Self::KeyCompromise),
        ("CACompromise", Self::CaCompromise),
        ("affiliationChanged", Self::AffiliationChanged),
        ("superseded", Self::Superseded),
        ("cessationOfOperation", Self::CessationOfOperation),
        ("privilegeWithdrawn", Self::PrivilegeWithdrawn),
    ];

    /// The reason of that name.
    ///
    /// # Errors
    /// There is none; says which there are.
    pub fn parse(name: &str) -> Result<Self, UnknownName> {
        by_name(&Self::ALL, name)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, reason)| *reason == self).map_or("unspecified", |(name, _)| name)
    }
}

impl TryFrom<String> for Reason {
    type Error = UnknownName;

    fn try_from(name: String) -> Result<Self, UnknownName> {
        Self::parse(&name)
    }
}

impl From<Reason> for String {
    fn from(reason: Reason) -> Self {
        reason.name().to_owned()
    }
}

impl Entry {
    /// A certificate that `authority` has just signed.
    pub(super) fn of(certificate: &Certificate, kind: Kind, authority: Seat, file: String) -> Self {
        let cn = certificate.subject().common_name().map(|name| name.as_str().to_owned()).unwrap_or_default();
        Self {
            serial: certificate.serial_hex(),
            kind,
            cn,
            authority: authority.stem().to_owned(),
            not_before: certificate.not_before(),
            not_after: certificate.not_after(),
            sha256: certificate.sha256().to_string(),
            file,
            revoked: None,
        }
    }

    /// Whether somebody can use it at `now`.
    pub fn is_live(&self, now: i64) -> bool {
        self.revoked.is_none() && self.not_after > now
    }
}

/// One event, as a line has it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase", deny_unknown_fields)]
enum Line {
    /// A certificate was issued.
    Issued {
        time: Date,
        serial: String,
        kind: Kind,
        cn: String,
        authority: String,
        not_before: Date,
        not_after: Date,
        sha256: String,
        file: String,
    },
    /// A certificate was revoked.
    Revoked { time: Date, authority: String, serial: String, reason: Reason },
    /// A revocation list was signed.
    Crl { time: Date, authority: String, number: u64, next_update: Date },
}

/// The index of a folder, to be read by anybody and to be changed by who holds the folder's lock.
pub(super) struct Index {
    path: PathBuf,
    text: String,
    entries: Vec<Entry>,
    /// The number of each CA's last revocation list.
    numbers: BTreeMap<String, u64>,
}

impl Index {
    /// Reads the index of `folder`; where there is none yet, an empty one.
    pub(super) fn load(folder: &Folder) -> Result<Self, PkiError> {
        let path = folder.index();
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(failed("read", &path)(error)),
        };
        let mut index = Self { path, text: String::new(), entries: Vec::new(), numbers: BTreeMap::new() };
        for (number, line) in text.lines().enumerate() {
            let path = index.path.clone();
            let wrong = |column, fault: String| PkiError::Index { path: path.clone(), line: number.saturating_add(1), column, fault };
            let parsed = serde_json::from_str(line).map_err(|error| wrong(error.column(), error.to_string()))?;
            index.apply(parsed).map_err(|fault| wrong(1, fault))?;
        }
        index.text = text;
        index.adopt(folder)?;
        Ok(index)
    }

    /// Every certificate, in the order in which they were issued.
    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Adds a certificate.
    pub(super) fn issued(&mut self, entry: &Entry, now: i64) -> Result<(), PkiError> {
        let entry = entry.clone();
        self.add(Line::Issued {
            time: Date(now),
            serial: entry.serial,
            kind: entry.kind,
            cn: entry.cn,
            authority: entry.authority,
            not_before: Date(entry.not_before),
            not_after: Date(entry.not_after),
            sha256: entry.sha256,
            file: entry.file,
        })
    }

    /// Marks a certificate that is in it as revoked.
    pub(super) fn revoked(&mut self, entry: &Entry, reason: Reason, now: i64) -> Result<(), PkiError> {
        let (authority, serial) = (entry.authority.clone(), entry.serial.clone());
        self.add(Line::Revoked { time: Date(now), authority, serial, reason })
    }

    /// Takes the number of the next revocation list of `authority`.
    pub(super) fn next_crl(&mut self, authority: Seat, at_least: u64, now: i64, next_update: i64) -> Result<u64, PkiError> {
        let authority = authority.stem().to_owned();
        let number = self.numbers.get(&authority).copied().unwrap_or(0).saturating_add(1).max(at_least);
        self.add(Line::Crl { time: Date(now), authority, number, next_update: Date(next_update) })?;
        Ok(number)
    }

    /// Writes it back.
    pub(super) fn save(&self) -> Result<(), PkiError> {
        replace(&NewFile::secret(self.path.clone(), self.text.as_bytes()))
    }

    fn add(&mut self, line: Line) -> Result<(), PkiError> {
        let fault = |fault| PkiError::Index { path: self.path.clone(), line: self.text.lines().count(), column: 1, fault };
        let text = serde_json::to_string(&line).map_err(|error| fault(error.to_string()))?;
        if !self.text.is_empty() && !self.text.ends_with('\n') {
            self.text.push('\n');
        }
        self.text.push_str(&text);
        self.text.push('\n');
        let path = self.path.clone();
        self.apply(line).map_err(|fault| PkiError::Index { path, line: 0, column: 1, fault })
    }

    fn apply(&mut self, line: Line) -> Result<(), String> {
        match line {
            Line::Issued { serial, kind, cn, authority, not_before, not_after, sha256, file, .. } => {
                let (not_before, not_after) = (not_before.0, not_after.0);
                self.entries.push(Entry { serial, kind, cn, authority, not_before, not_after, sha256, file, revoked: None });
            }
            Line::Revoked { time, authority, serial, reason } => {
                let same = |entry: &&mut Entry| entry.authority == authority && entry.serial == serial;
                let entry = self.entries.iter_mut().find(same).ok_or_else(|| format!("{authority} has issued no {serial} before"))?;
                entry.revoked.get_or_insert(Revocation { time: time.0, reason });
            }
            Line::Crl { authority, number, .. } => {
                let last = self.numbers.entry(authority).or_default();
                *last = number.max(*last);
            }
        }
        Ok(())
    }

    /// Takes in the certificates of `issued/` that it does not know and that a CA of the folder has issued.
    fn adopt(&mut self, folder: &Folder) -> Result<(), PkiError> {
        let seats = Seat::ALL.map(|seat| (seat, folder.first_certificate(seat)));
        for certificate in folder.copies()? {
            let sha256 = certificate.sha256().to_string();
            if self.entries.iter().any(|entry| entry.sha256 == sha256) {
                continue;
            }
            let issuer = |(_, authority): &&(Seat, Option<Certificate>)| {
                authority.as_ref().is_some_and(|authority| authority.subject() == certificate.issuer())
            };
            let Some((seat, _)) = seats.iter().find(issuer) else { continue };
            let client = certificate.extensions().extended_key_usage.is_some_and(|purposes| purposes.client_auth);
            let kind = if client { Kind::Client } else { Kind::Server };
            let file = format!("issued/{}.crt", certificate.serial_hex());
            self.issued(&Entry::of(&certificate, kind, *seat, file), certificate.not_before())?;
        }
        Ok(())
    }
}

/// Every certificate that was issued from a folder, in that order.
///
/// # Errors
/// The index cannot be read.
pub fn list(folder: &Folder) -> Result<Vec<Entry>, PkiError> {
    fs::metadata(folder.path()).map_err(failed("look at the folder", folder.path()))?;
    Ok(Index::load(folder)?.entries)
}

/// The files of a client's newest certificate that can be used at `now` and whose key is in the folder; `None` where the index knows
/// of none, or cannot be read.
pub fn newest(folder: &Folder, name: &ClientName, now: i64) -> Option<Place> {
    let entries = list(folder).ok()?;
    let of_client = |entry: &&Entry| entry.kind == Kind::Client && entry.cn == name.as_str() && entry.is_live(now);
    let places = entries.iter().rev().filter(of_client).filter_map(|entry| Some(folder.place(entry.file.strip_suffix(".crt")?)));
    places.into_iter().find(|place| place.certificate.exists() && place.key.exists())
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the form that serde asks for")]
fn as_date<S: serde::Serializer>(seconds: &i64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&date(*seconds))
}

#[cfg(test)]
mod tests;
