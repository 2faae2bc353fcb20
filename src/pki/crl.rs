//! The revocation lists: one file for each of the two purposes, with a list of every CA of the chain, because PostgreSQL and Postern
//! ask for one of each.

use std::fs;
use std::io;
use std::path::PathBuf;

use super::PkiError;
use super::authority::{Authority, Validity, octets};
use super::files::{NewFile, failed, is_taken, replace};
use super::folder::{Folder, Purpose, Seat};
use super::index::{Entry, Index};
use crate::identity::Crl;

/// How long a revocation list holds, unless said otherwise. A login is refused once it is overdue, so it is long enough to notice that
/// the job that makes it has stopped: Postern says so from thirty days before.
pub const CRL_DAYS: u32 = 90;
/// The same for a root's: its key is fetched once a year.
pub const ROOT_CRL_DAYS: u32 = 397;

/// A file of revocation lists that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrittenCrl {
    /// Where.
    pub path: PathBuf,
    /// Its lists, the issuing CA's first.
    pub parts: Vec<CrlPart>,
}

/// A list in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrlPart {
    /// Whose it is, by its files' name.
    pub authority: &'static str,
    /// Its number, if it was signed now; without the CA's key the earlier list stays.
    pub number: Option<u64>,
    /// How many certificates it lists.
    pub lists: usize,
    /// When the next one is due, in seconds since 1970.
    pub next_update: i64,
}

/// Signs the revocation lists anew and writes them, each file in one step. A purpose of which no key is here is left as it is.
///
/// # Errors
/// There is no key of a CA here, a list of a CA whose key is away is missing, or the lists that stand there name certificates that the
/// index does not.
pub fn write_crls(folder: &Folder, days: Option<u32>, now: i64) -> Result<Vec<WrittenCrl>, PkiError> {
    let _lock = folder.lock()?;
    let mut index = Index::load(folder)?;
    let mut written = Vec::new();
    let mut files = Vec::new();
    for purpose in [Purpose::Client, Purpose::Server] {
        let mut seats = vec![Seat::issuing(purpose), Seat::root(purpose)];
        seats.retain(|seat| is_taken(&folder.certificate_of(*seat)));
        if !seats.iter().any(|seat| is_taken(&folder.key_of(*seat))) {
            continue;
        }
        let earlier = Earlier::read(folder, purpose)?;
        let mut text = String::new();
        let mut parts = Vec::new();
        for seat in seats {
            let (pem, part) = list(folder, seat, &earlier, &mut index, days, now)?;
            text.push_str(&pem);
            parts.push(part);
        }
        files.push(NewFile::public(folder.crl(purpose), text));
        written.push(WrittenCrl { path: folder.crl(purpose), parts });
    }
    if written.is_empty() {
        return Err(PkiError::NoAuthority(folder.authority_key(Purpose::Client)));
    }
    index.save()?;
    files.iter().try_for_each(replace)?;
    Ok(written)
}

/// One CA's list: signed now where its key is here, else the one that stood there.
fn list(
    folder: &Folder,
    seat: Seat,
    earlier: &Earlier,
    index: &mut Index,
    days: Option<u32>,
    now: i64,
) -> Result<(String, CrlPart), PkiError> {
    let usual = if seat.root { ROOT_CRL_DAYS } else { CRL_DAYS };
    let revoked: Vec<Entry> = revoked_by(index, seat).cloned().collect();
    let before = earlier.of(folder, seat);
    if let Some((list, _)) = before {
        let known = revoked.iter().filter_map(|entry| integer(&entry.serial)).filter(|serial| list.lists(serial)).count();
        if known < list.len() {
            let (path, listed) = (folder.crl(seat.purpose), list.len());
            return Err(PkiError::Forgotten { path, listed, known });
        }
    }
    if !is_taken(&folder.key_of(seat)) {
        let Some((list, pem)) = before else { return Err(PkiError::NoAuthority(folder.key_of(seat))) };
        if list.len() < revoked.len() {
            return Err(PkiError::NoAuthority(folder.key_of(seat)));
        }
        let next_update = list.next_update().unwrap_or(i64::MAX);
        return Ok((pem.clone(), CrlPart { authority: seat.stem(), number: None, lists: list.len(), next_update }));
    }
    let authority = Authority::load(folder, seat, now)?;
    let validity = Validity::days(now, days.unwrap_or(usual));
    let number = index.next_crl(seat, 1, now, validity.not_after)?;
    let pem = authority.sign_crl(revoked.iter(), number, validity)?;
    let part = CrlPart { authority: seat.stem(), number: Some(number), lists: revoked.len(), next_update: validity.not_after };
    Ok((pem, part))
}

fn revoked_by(index: &Index, seat: Seat) -> impl Iterator<Item = &Entry> {
    index.entries().iter().filter(move |entry| entry.authority == seat.stem() && entry.revoked.is_some())
}

/// The two's complement octets of a positive number in hexadecimal.
fn integer(serial: &str) -> Option<Vec<u8>> {
    let magnitude = octets(serial)?;
    let sign = magnitude.first().is_some_and(|first| first & 0x80 != 0).then_some(0);
    Some(sign.into_iter().chain(magnitude).collect())
}

/// The lists that a file had before, each with its PEM.
struct Earlier(Vec<(Crl, String)>);

impl Earlier {
    fn read(folder: &Folder, purpose: Purpose) -> Result<Self, PkiError> {
        let path = folder.crl(purpose);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self(Vec::new())),
            Err(error) => return Err(failed("read", &path)(error)),
        };
        let wrong = |fault: String| PkiError::Authority {
            path: path.clone(),
            fault: format!("{fault}: whom it revoked cannot be told; bring back a good copy, or move it away"),
        };
        let blocks = pem::parse_many(&text).map_err(|error| wrong(format!("it is not PEM ({error})")))?;
        let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
        let read = |block: &pem::Pem| {
            let list = Crl::parse(block.contents()).map_err(|error| wrong(error.to_string()))?;
            Ok::<_, PkiError>((list, pem::encode_config(block, config)))
        };
        Ok(Self(blocks.iter().map(read).collect::<Result<_, _>>()?))
    }

    /// The newest list of a CA.
    fn of(&self, folder: &Folder, seat: Seat) -> Option<&(Crl, String)> {
        let authority = folder.first_certificate(seat)?;
        self.0.iter().filter(|(list, _)| list.issuer() == authority.subject()).max_by_key(|(list, _)| list.this_update())
    }
}

#[cfg(test)]
mod tests;
