//! Why nothing was issued: what was found, what was expected, what to do.

use std::fmt;
use std::io;
use std::path::PathBuf;

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
            Self::NoHost => write!(f, "no host was named: say with --host what clients connect to, once for each name and address"),
            Self::Generate(error) => write!(f, "the certificate could not be made: {error}"),
            Self::Randomness(error) => error.fmt(f),
            Self::Date => write!(f, "the certificate would end after the year 9999: choose fewer --days"),
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
