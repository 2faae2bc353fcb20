//! A CancelRequest, in the clear or inside TLS: forwarded only where its key is a live session's, and never answered.

use super::Transport;
use super::arrival::Arrival;
use super::closing::{part, part_encrypted};
use super::live::LiveSession;
use super::startup::Encrypted;
use crate::backend::forward_cancel;
use crate::identity::ClientIdentity;
use crate::observe::{CancelReport, CancelResult, Event};
use crate::wire::CancelRequest;

/// A CancelRequest that was read and not yet judged.
pub(super) struct PendingCancel<S> {
    request: CancelRequest,
    way: Way<S>,
    arrival: Box<Arrival>,
}

/// How it came.
enum Way<S> {
    Clear(S),
    Encrypted(Box<Encrypted<S>>, Option<ClientIdentity>),
}

impl<S: Transport> PendingCancel<S> {
    /// One that came in the clear, as every libpq before 17 sends it.
    pub(super) fn in_the_clear(request: CancelRequest, stream: S, arrival: Box<Arrival>) -> Self {
        Self { request, way: Way::Clear(stream), arrival }
    }

    /// One that came inside TLS, with the identity of its certificate if it had one.
    pub(super) fn inside_tls(request: CancelRequest, stream: Encrypted<S>, peer: Option<ClientIdentity>, arrival: Box<Arrival>) -> Self {
        Self { request, way: Way::Encrypted(Box::new(stream), peer), arrival }
    }

    /// Judges it, forwards it, and closes the connection once the backend has taken it: drivers read that end as "processed".
    pub(super) async fn carry_out(self) {
        let Self { request, way, arrival } = self;
        let (encrypted, identity) = match &way {
            Way::Clear(_) => (false, None),
            Way::Encrypted(_, identity) => (true, identity.as_ref()),
        };
        let door = &arrival.door;
        let target = door.house.sessions.find(&request);
        let result = match judge(identity, target.as_deref(), arrival.terms.allows_cancel_without_certificate()) {
            Ok(session) => forward(session, &request).await,
            Err(CancelResult::UnknownKey) => {
                let passed = door.house.predecessor.cancel(arrival.trail.client.ip(), &request, identity);
                arrival.in_time(passed).await.unwrap_or(CancelResult::BackendUnreachable)
            }
            Err(result) => result,
        };
        door.observers.emit(&Event::CancelHandled(&CancelReport {
            client: arrival.trail.client,
            encrypted,
            cn: identity.and_then(|identity| identity.common_name().ok()).map(|name| name.as_bytes().into()),
            result,
            target: target.map(|session| session.id()),
            pid: Some(request.pid.cast_signed()),
        }));
        let parting = async {
            match way {
                Way::Clear(stream) => part(stream, b"").await,
                Way::Encrypted(stream, _) => part_encrypted(stream, b"").await,
            }
        };
        arrival.until_shed(parting).await;
    }
}

pub(super) async fn forward(session: &LiveSession, request: &CancelRequest) -> CancelResult {
    let Some(_in_flight) = session.begin_cancel() else { return CancelResult::RateLimited };
    match forward_cancel(session.backend(), request).await {
        Ok(()) => CancelResult::Forwarded,
        Err(_) => CancelResult::BackendUnreachable,
    }
}

/// Whether it may reach the backend. `target` is the session whose key it carries.
fn judge<'a>(
    identity: Option<&ClientIdentity>,
    target: Option<&'a LiveSession>,
    without_certificate: bool,
) -> Result<&'a LiveSession, CancelResult> {
    match (identity, target) {
        (None, _) if !without_certificate => Err(CancelResult::Denied),
        (_, None) => Err(CancelResult::UnknownKey),
        (Some(identity), Some(session)) if !session.is_of(identity) => Err(CancelResult::IdentityMismatch),
        (_, Some(session)) => Ok(session),
    }
}
