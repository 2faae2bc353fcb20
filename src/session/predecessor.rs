//! CancelRequests for sessions of the process that this one took over from: their clients know no other door than this one.

use std::fmt;

use tokio::sync::{mpsc, oneshot};

use super::cancel::forward;
use super::registry::Sessions;
use crate::identity::{ClientIdentity, ClientName};
use crate::observe::CancelResult;
use crate::wire::CancelRequest;

/// Names of a certificate, each with its kind.
pub type Names = Vec<(ClientName, String)>;

/// The process before this one, for as long as it drains; or nobody.
#[derive(Clone, Default)]
pub struct Predecessor(Option<mpsc::Sender<PassedCancel>>);

/// A CancelRequest whose key this process does not know.
#[derive(Debug)]
pub struct PassedCancel {
    /// The request.
    pub request: CancelRequest,
    /// The names of the certificate that it came with, if it came with one.
    pub names: Option<Names>,
    /// Where it is told what became of it.
    pub reply: oneshot::Sender<CancelResult>,
}

/// Requests that wait for the predecessor; more are taken for unknown.
const MOST_WAITING: usize = 64;

impl Predecessor {
    /// Somebody, and what is asked of them.
    pub fn new() -> (Self, mpsc::Receiver<PassedCancel>) {
        let (ask, asked) = mpsc::channel(MOST_WAITING);
        (Self(Some(ask)), asked)
    }

    /// Passes a request on, and waits for what becomes of it.
    pub(super) async fn cancel(&self, request: &CancelRequest, identity: Option<&ClientIdentity>) -> CancelResult {
        let Some(ask) = &self.0 else { return CancelResult::UnknownKey };
        let (reply, outcome) = oneshot::channel();
        let passed = PassedCancel { request: request.clone(), names: identity.map(names), reply };
        if ask.try_send(passed).is_err() {
            return CancelResult::UnknownKey;
        }
        outcome.await.unwrap_or(CancelResult::UnknownKey)
    }
}

impl fmt::Debug for Predecessor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Predecessor(asked)" } else { "Predecessor(nobody)" })
    }
}

fn names(identity: &ClientIdentity) -> Names {
    ClientName::ALL.into_iter().filter_map(|kind| Some((kind, identity.name(kind).ok()?.to_owned()))).collect()
}

/// Carries out what a successor passes on: for a live session's key, and, where a certificate came with it, for the session's own name.
/// Whether it may come without one was the successor's to judge.
pub async fn cancel_passed(sessions: &Sessions, request: &CancelRequest, names: Option<&Names>) -> CancelResult {
    match sessions.find(request) {
        None => CancelResult::UnknownKey,
        Some(session) if names.is_some_and(|names| !session.is_named(names)) => CancelResult::IdentityMismatch,
        Some(session) => forward(&session, request).await,
    }
}
