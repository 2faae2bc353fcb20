//! Would PostgreSQL let this OS user in as this role without a password? It is tried: the user becomes the acting one for a moment,
//! connects, and hears PostgreSQL's first word. No session comes of it.

use std::io;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::time::timeout;

use crate::backend::{BackendSettings, BackendTarget, admits};
use crate::error::BackendFailure;
use crate::os;
use crate::types::RoleName;

/// How long one try may take.
const PATIENCE: Duration = Duration::from_secs(3);

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
pub(super) fn attempt(uid: Option<u32>, target: &BackendTarget, backend: &BackendSettings, role: &RoleName) -> io::Result<Outcome> {
    let settings = BackendSettings { target: target.clone(), require_peer: None, ..backend.clone() };
    let attempt = || {
        let Ok(runtime) = Builder::new_current_thread().enable_all().build() else { return Outcome::Unclear };
        let answer = runtime.block_on(async { timeout(PATIENCE, admits(&settings, role)).await });
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
