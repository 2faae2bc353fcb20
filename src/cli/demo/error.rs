//! Why the story could not be told to its end.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::pki::PkiError;

/// The cause.
#[derive(Debug)]
pub(super) enum DemoError {
    /// Somebody asked to end.
    Interrupted,
    /// There is no PostgreSQL server on this machine.
    NoPostgres,
    /// PostgreSQL refuses to run as root, and there is nobody else.
    NoServerUser,
    /// The system refused something.
    Io {
        /// What.
        what: String,
        /// Why.
        error: io::Error,
    },
    /// A program failed.
    Program {
        /// Which.
        name: &'static str,
        /// What it said last.
        said: String,
    },
    /// The certificates could not be made.
    Pki(PkiError),
    /// The folder holds what the demo has not made.
    Foreign(PathBuf),
    /// A path or a name that cannot be written where it is needed.
    Text(String),
}

impl DemoError {
    pub(super) fn io(what: impl Into<String>, error: io::Error) -> Self {
        Self::Io { what: what.into(), error }
    }
}

impl fmt::Display for DemoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interrupted => write!(f, "interrupted; everything was cleaned up"),
            Self::NoPostgres => write!(
                f,
                "found no PostgreSQL server (initdb, postgres and psql in $PG_BIN, /usr/lib/postgresql, /usr/pgsql-* or $PATH), expected \
                 one: run `make demo`, which installs it, or `apt-get install postgresql`"
            ),
            Self::NoServerUser => {
                write!(
                    f,
                    "PostgreSQL does not run as root, and this machine has neither a user postgres nor nobody: run the demo as a user"
                )
            }
            Self::Io { what, error } => write!(f, "cannot {what}: {error}"),
            Self::Program { name, said } => write!(f, "{name} failed: {}", said.trim_end()),
            Self::Pki(error) => error.fmt(f),
            Self::Foreign(path) => write!(
                f,
                "{} has certificates that are incomplete, expired or somebody else's, and the demo did not make them: name another folder \
                 with --dir",
                path.display()
            ),
            Self::Text(what) => f.write_str(what),
        }
    }
}

impl From<PkiError> for DemoError {
    fn from(error: PkiError) -> Self {
        Self::Pki(error)
    }
}
