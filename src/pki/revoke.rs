//! Withdrawing certificates: noted in the index here, and told to servers by the next revocation list.

use super::folder::Folder;
use super::index::{Entry, Index, Kind, Reason};
use super::{ClientName, PkiError};

/// Which certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Revokee {
    /// All of a client's that can still be used.
    Name(ClientName),
    /// The one with this serial number.
    Serial(SerialDigits),
}

/// A serial number in lower-case hexadecimal, as the index has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SerialDigits(Box<str>);

impl SerialDigits {
    /// Takes a serial number as `pki list`, `pki show` and OpenSSL print it: hexadecimal digits, with colons between them or without.
    ///
    /// # Errors
    /// It is something else.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let digits: String = text.chars().filter(|character| *character != ':').map(|digit| digit.to_ascii_lowercase()).collect();
        if !(1..=40).contains(&digits.len()) || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err("expected a serial number: at most 40 hexadecimal digits");
        }
        let digits = digits.trim_start_matches('0');
        let padding = if digits.len() % 2 == 1 || digits.is_empty() { "0" } else { "" };
        let whole = if digits.is_empty() { "00".to_owned() } else { format!("{padding}{digits}") };
        Ok(Self(whole.into()))
    }
}

/// Revokes certificates that `folder` has issued; gives which.
///
/// # Errors
/// There is none to revoke. Nothing was changed.
pub fn revoke(folder: &Folder, revokee: &Revokee, reason: Reason, now: i64) -> Result<Vec<Entry>, PkiError> {
    let _lock = folder.lock()?;
    let mut index = Index::load(folder)?;
    let chosen: Vec<Entry> = index.entries().iter().filter(|entry| revokee.is(entry)).cloned().collect();
    let mut live: Vec<Entry> = chosen.iter().filter(|entry| entry.is_live(now)).cloned().collect();
    if live.is_empty() {
        return Err(nothing(folder, revokee, chosen, now));
    }
    if let Some(root) = live.iter().find(|entry| entry.kind == Kind::Ca && entry.file == format!("{}.crt", entry.authority)) {
        return Err(PkiError::Root(root.file.clone()));
    }
    for entry in &mut live {
        index.revoked(entry, reason, now)?;
        entry.revoked = Some(super::Revocation { time: now, reason });
    }
    index.save()?;
    Ok(live)
}

impl Revokee {
    fn is(&self, entry: &Entry) -> bool {
        match self {
            Self::Name(name) => entry.kind == Kind::Client && entry.cn == name.as_str(),
            Self::Serial(SerialDigits(digits)) => entry.serial == **digits,
        }
    }
}

impl std::fmt::Display for Revokee {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Name(name) => write!(f, "of the role {name}"),
            Self::Serial(SerialDigits(digits)) => write!(f, "with the serial number {digits}"),
        }
    }
}

/// Why there is nothing to revoke.
fn nothing(folder: &Folder, revokee: &Revokee, chosen: Vec<Entry>, now: i64) -> PkiError {
    let which = revokee.to_string();
    let last = chosen.into_iter().max_by_key(|entry| (entry.not_after > now, entry.not_after)).map(Box::new);
    PkiError::NothingToRevoke { folder: folder.path().to_owned(), which, last }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serial_numbers_are_taken_as_everybody_prints_them() {
        for text in ["03C063", "03:c0:63", "3c063", "0003c063"] {
            assert_eq!(SerialDigits::parse(text), Ok(SerialDigits("03c063".into())), "{text}");
        }
        assert_eq!(SerialDigits::parse("0"), Ok(SerialDigits("00".into())));
        for text in ["", ":", "-1", "0x1f", "g", &"a".repeat(41)] {
            assert!(SerialDigits::parse(text).is_err(), "{text:?}");
        }
    }
}
