//! Making both CAs, with empty revocation lists, so that `ssl_crl_file` can be configured from the first day on.

use std::path::PathBuf;

use super::authority::{Authority, Validity};
use super::crl::{CRL_DAYS, ROOT_CRL_DAYS};
use super::files::{NewFile, check_free, write_all};
use super::folder::{Folder, Purpose, Seat};
use super::index::{Entry, Index, Kind};
use super::name::AuthorityName;
use super::{KeyKind, PkiError};

/// How long a CA lives, unless said otherwise: ten years. Renewing one means touching every machine.
pub const CA_DAYS: u32 = 3652;

/// What CAs to make.
#[derive(Clone, Debug, Default)]
pub struct Founding {
    /// Their subjects: `NAME server CA` and `NAME client CA`. Without it, the names of their files.
    pub name: Option<AuthorityName>,
    /// How long they live; [`CA_DAYS`] if not said.
    pub days: Option<u32>,
    /// The kind of their keys.
    pub key: KeyKind,
    /// Whether each issues below a root of its own, whose key is then not needed to issue.
    pub intermediate: bool,
}

/// Makes both CAs in a folder that has neither, and the folder if need be. Gives the files that were written.
///
/// # Errors
/// Any of the files is there, or cannot be written. Nothing was made then, except perhaps the folder.
pub fn init(folder: &Folder, founding: &Founding, now: i64) -> Result<Vec<PathBuf>, PkiError> {
    folder.make()?;
    let _lock = folder.lock()?;
    let mut index = Index::load(folder)?;
    let mut files = Vec::new();
    for purpose in [Purpose::Server, Purpose::Client] {
        let authorities = founding.found(folder, purpose, now)?;
        for (authority, issuer) in &authorities {
            let file = format!("{}.crt", authority.seat.stem());
            index.issued(&Entry::of(authority.certificate(), Kind::Ca, *issuer, file), now)?;
            files.extend(authority.files(folder));
        }
        let mut lists = String::new();
        for (authority, _) in authorities.iter().rev() {
            let validity = Validity::days(now, if authority.seat.root { ROOT_CRL_DAYS } else { CRL_DAYS });
            let number = index.next_crl(authority.seat, 1, now, validity.not_after)?;
            lists.push_str(&authority.sign_crl(std::iter::empty(), number, validity)?);
        }
        files.push(NewFile::public(folder.crl(purpose), lists));
    }
    check_free(&files)?;
    index.save()?;
    write_all(&files)?;
    Ok(files.into_iter().map(|file| file.path).collect())
}

impl Founding {
    /// The CAs of one purpose, the root first, each with who issued it.
    fn found(&self, folder: &Folder, purpose: Purpose, now: i64) -> Result<Vec<(Authority, Seat)>, PkiError> {
        let validity = Validity::days(now, self.days.unwrap_or(CA_DAYS));
        let (root, issuing) = (Seat::root(purpose), Seat::issuing(purpose));
        let name = |seat: Seat| match &self.name {
            Some(name) => name.of(seat),
            None => seat.stem().to_owned(),
        };
        if !self.intermediate {
            return Ok(vec![(Authority::found(folder, issuing, &name(issuing), validity, self.key, false)?, issuing)]);
        }
        let above = Authority::found(folder, root, &name(root), validity, self.key, true)?;
        let below = above.appoint(folder, issuing, &name(issuing), validity, self.key)?;
        Ok(vec![(above, root), (below, root)])
    }
}
