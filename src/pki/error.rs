//! Why nothing was issued: what was found, what was expected, what to do.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::{Entry, date};
use crate::crypto::NoRandomness;

/// The cause. Nothing was changed when one of these is returned.
#[derive(Debug)]
pub enum PkiError {
    /// A file stands where one would be written.
    Taken(PathBuf),
    /// A file cannot be read or written.
    File {
        /// What was to be done with it.
        action: &'static str,
        /// Which.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// The folder has no such CA, or half of it.
    NoAuthority(PathBuf),
    /// Others than the owner may change the folder's files.
    OpenFolder(PathBuf),
    /// The folder is another user's, who may change its files.
    ForeignFolder {
        /// Which folder.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
    },
    /// Others than the owner can use a CA's key.
    OpenKey(PathBuf),
    /// A CA's file does not hold what it should. Says what.
    Authority {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        fault: String,
    },
    /// The name has a certificate that can be used.
    Live {
        /// Which.
        entry: Box<Entry>,
        /// The folder.
        folder: PathBuf,
    },
    /// A certificate would live longer than its CA, which ends at this time, in seconds since 1970.
    Outlives(i64),
    /// There is no certificate that could be revoked.
    NothingToRevoke {
        /// The folder.
        folder: PathBuf,
        /// What was asked for, in words.
        which: String,
        /// The last of those, if there is one: it has ended or is revoked.
        last: Option<Box<Entry>>,
    },
    /// A root cannot be revoked by itself. Names its file.
    Root(String),
    /// A revocation list names certificates of which the index knows no revocation.
    Forgotten {
        /// The list's file.
        path: PathBuf,
        /// How many it lists.
        listed: usize,
        /// How many of them the index knows.
        known: usize,
    },
    /// A line of the index is not what was written there.
    Index {
        /// The index.
        path: PathBuf,
        /// Which line, from 1 on.
        line: usize,
        /// Where in it, from 1 on.
        column: usize,
        /// What is wrong.
        fault: String,
    },
    /// A serial number in the index is none.
    Serial(String),
    /// What is to be replaced is no file: a link, or a folder.
    NoFile(PathBuf),
    /// A server certificate for no host.
    NoHost,
    /// The certificate could not be made.
    Generate(rcgen::Error),
    /// The system has no random numbers.
    Randomness(NoRandomness),
    /// A date beyond the calendar.
    Date,
}

impl fmt::Display for PkiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Taken(path) => write!(
                f,
                "{} is there already, and nothing is ever overwritten: move it away with its key, or use another folder or name",
                path.display()
            ),
            Self::File { action, path, error } => write!(f, "cannot {action} {}: {error}", path.display()),
            Self::NoAuthority(path) => write!(
                f,
                "there is no {}, and a CA's certificate and key are both needed to issue: make them with `postern pki init`, or bring \
                 the key back from where it is kept",
                path.display()
            ),
            Self::OpenFolder(path) => write!(
                f,
                "{0} can be written to by its group or by everybody, who could put their own CA there: `chmod go-w {0}`",
                path.display()
            ),
            Self::ForeignFolder { path, owner } => {
                write!(f, "{} belongs to uid {owner}, who could put their own CA there: use a folder of your own", path.display())
            }
            Self::OpenKey(path) => {
                write!(
                    f,
                    "{0} can be read by others than its owner, expected a key that nobody else can use: `chmod 600 {0}`",
                    path.display()
                )
            }
            Self::Authority { path, fault } => write!(f, "{}: {fault}", path.display()),
            Self::Live { entry, folder } => live(f, entry, folder),
            Self::Outlives(end) => write!(
                f,
                "the certificate would end after its CA, which ends on {}: choose fewer --days, or leave it out and it ends with its CA",
                date(*end)
            ),
            Self::NothingToRevoke { folder, which, last } => nothing_to_revoke(f, folder, which, last.as_deref()),
            Self::Root(file) => {
                write!(f, "{file} is a root, which no revocation list can revoke: take it out of tls.ssl_ca_file where it is trusted")
            }
            Self::Forgotten { path, listed, known } => write!(
                f,
                "{} revokes {listed} certificates, and the index knows of {known} of them: bring the index back from a copy, because a new \
                 list would let the others in again; or move this list away to do just that",
                path.display()
            ),
            Self::Index { path, line, column, fault } => {
                write!(f, "{}:{line}:{column} {fault}; bring this file back from a copy: it is only ever added to", path.display())
            }
            Self::Serial(serial) => write!(f, "found {serial:?} in the index, expected a serial number in hexadecimal"),
            Self::NoFile(path) => write!(
                f,
                "{} is a link or a folder, expected a file that can be replaced: move it away, and link to the file here from elsewhere \
                 instead",
                path.display()
            ),
            Self::NoHost => write!(f, "no host was named: say with --host what clients connect to, once for each name and address"),
            Self::Generate(error) => write!(f, "the certificate could not be made: {error}"),
            Self::Randomness(error) => error.fmt(f),
            Self::Date => write!(f, "the certificate would end after the year 9999: choose fewer --days"),
        }
    }
}

fn live(f: &mut fmt::Formatter<'_>, entry: &Entry, folder: &Path) -> fmt::Result {
    let (who, folder) = (entry.cn.escape_debug(), folder.display());
    write!(
        f,
        "{who} has a certificate: {} in {folder}, valid until {}, serial number {}. With --renew another one is issued beside it, with a \
         key of its own, and both are good; `postern pki revoke {folder} --serial {}` ends this one",
        entry.file,
        date(entry.not_after),
        entry.serial,
        entry.serial
    )
}

fn nothing_to_revoke(f: &mut fmt::Formatter<'_>, folder: &Path, which: &str, last: Option<&Entry>) -> fmt::Result {
    match last {
        None => write!(f, "no certificate {which} was issued here: `postern pki list {}` has all that were", folder.display()),
        Some(Entry { serial, revoked: Some(revocation), .. }) => write!(
            f,
            "no certificate {which} can be used: the last one, {serial}, was revoked on {} ({}); `postern pki crl {}` writes the list",
            date(revocation.time),
            revocation.reason.name(),
            folder.display()
        ),
        Some(Entry { serial, not_after, .. }) => {
            write!(f, "no certificate {which} can be used: the last one, {serial}, ended on {}", date(*not_after))
        }
    }
}

impl std::error::Error for PkiError {}

impl From<rcgen::Error> for PkiError {
    fn from(error: rcgen::Error) -> Self {
        Self::Generate(error)
    }
}

impl From<NoRandomness> for PkiError {
    fn from(error: NoRandomness) -> Self {
        Self::Randomness(error)
    }
}
