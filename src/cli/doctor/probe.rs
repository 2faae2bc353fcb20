//! Would PostgreSQL let this OS user in as this role without a password? It is tried: the user becomes the acting one for a moment,
//! connects, and hears PostgreSQL's first word. No session comes of it.

use std::fmt;
use std::io;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::time::timeout;

use crate::backend::{BackendSettings, BackendTarget, admits};
use crate::error::BackendFailure;
use crate::os;
use crate::types::{DatabaseName, RoleName};

/// How long one try may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// A session in this database; it need not exist.
    Database(DatabaseName),
    /// Physical replication: a copy of everything.
    Replication,
}

impl Wish {
    /// What a line for all databases lets in.
    pub(super) fn any() -> Self {
        DatabaseName::exact(b"postgres").map_or(Self::Replication, Self::Database)
    }
}

impl fmt::Display for Wish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            wish if *wish == Self::any() => Ok(()),
            Self::Database(name) => write!(f, ", database {name}"),
            Self::Replication => write!(f, ", physical replication"),
        }
    }
}

/// What came of a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// PostgreSQL let the role in without asking for anything.
    LetIn,
    /// It refused, or asked for a password.
    KeptOut,
    /// There is no telling.
    Unclear,
}

/// Tries as this OS user; `None` acts as whoever runs this. Only root can act as somebody else.
///
/// # Errors
/// The process may not act as that user.
pub(super) fn attempt(
    uid: Option<u32>,
    target: &BackendTarget,
    backend: &BackendSettings,
    role: &RoleName,
    wish: &Wish,
) -> io::Result<Outcome> {
    let settings = BackendSettings { target: target.clone(), require_peer: None, ..backend.clone() };
    let attempt = || {
        let Ok(runtime) = Builder::new_current_thread().enable_all().build() else { return Outcome::Unclear };
        let database = match wish {
            Wish::Database(name) => Some(name),
            Wish::Replication => None,
        };
        let answer = runtime.block_on(async { timeout(PATIENCE, admits(&settings, role, database)).await });
        match answer {
            Ok(Ok(true)) => Outcome::LetIn,
            Ok(Ok(false)) => Outcome::KeptOut,
            // Who may not even open the socket is kept out by its directory.
            Ok(Err(BackendFailure::Unreachable { error, .. })) if error.kind() == io::ErrorKind::PermissionDenied => Outcome::KeptOut,
            Ok(Err(_)) | Err(_) => Outcome::Unclear,
        }
    };
    match uid {
        Some(uid) => os::acting_as(uid, attempt),
        None => Ok(attempt()),
    }
}
