//! The backend's side of the login: its words go to the client as they are, up to the first ReadyForQuery, which waits until the
//! session's start is on record.

use tokio::io::AsyncReadExt;
use tokio::time::{Instant, timeout_at};

use super::Transport;
use super::arrival::Arrival;
use super::registry::Registration;
use super::reply::{Rejected, Reply};
use super::startup::Encrypted;
use crate::backend::BackendStream;
use crate::error::{BackendFailure, SessionError};
use crate::identity::ClientIdentity;
use crate::observe::SessionOpening;
use crate::types::RoleName;
use crate::wire::{Authentication, BackendMessage, CancelRequest, FrameError};

/// The most that the backend may say before ReadyForQuery; beside a login trigger's notices it is below 1 KiB.
const MAX_GREETING_LENGTH: usize = 256 * 1024;

/// A connection whose StartupMessage is with the backend.
pub(super) struct Connecting<S> {
    stream: Encrypted<S>,
    backend: BackendStream,
    identity: ClientIdentity,
    role: RoleName,
    connected: Instant,
    arrival: Box<Arrival>,
}

/// A session: both sides are ready, and its start is on record.
pub(super) struct Connected<S> {
    pub(super) stream: Encrypted<S>,
    pub(super) backend: BackendStream,
    pub(super) registration: Registration,
    pub(super) role: RoleName,
    /// The backend's answer, ReadyForQuery included, which the client has not had.
    pub(super) greeting: Vec<u8>,
    /// What the backend sent behind it.
    pub(super) early: Vec<u8>,
    pub(super) arrival: Box<Arrival>,
}

/// The backend's answer so far.
#[derive(Default)]
struct Answer {
    /// What was received and not yet understood.
    inbound: Vec<u8>,
    /// Whole messages, for the client.
    outbound: Vec<u8>,
    authenticated: bool,
    cancel: Option<CancelRequest>,
    pid: Option<u32>,
    ready: bool,
}

impl<S: Transport> Connecting<S> {
    pub(super) fn new(
        stream: Encrypted<S>,
        backend: BackendStream,
        identity: ClientIdentity,
        role: RoleName,
        arrival: Box<Arrival>,
    ) -> Self {
        Self { stream, backend, identity, role, connected: Instant::now(), arrival }
    }

    /// Takes the backend's answer. Between AuthenticationOk and ReadyForQuery it may take its time, as behind PostgreSQL alone.
    pub(super) async fn log_in(mut self) -> Result<Connected<S>, Rejected<S>> {
        let mut answer = Answer::default();
        let outcome = self.converse(&mut answer).await;
        let Self { stream, backend, identity, role, mut arrival, .. } = self;
        arrival.trail.backend_pid = answer.pid.map(u32::cast_signed);
        let reject = |error, stream, arrival| Rejected::new(error, Reply::Encrypted(Box::new(stream)), arrival);
        if let Err(error) = outcome {
            return Err(reject(error, stream, arrival).after(answer.outbound));
        }
        let Some(registration) = arrival.door.sessions.register(arrival.trail.session, identity, answer.cancel) else {
            return Err(reject(SessionError::Draining, stream, arrival));
        };
        let opening = SessionOpening { trail: arrival.trail.clone(), setup: arrival.accepted.elapsed() };
        if arrival.door.observers.record_session_start(&opening).await.is_err() {
            return Err(reject(SessionError::AuditUnavailable, stream, arrival));
        }
        Ok(Connected { stream, backend, registration, role, greeting: answer.outbound, early: answer.inbound, arrival })
    }

    async fn converse(&mut self, answer: &mut Answer) -> Result<(), SessionError> {
        let patience = self.arrival.door.snapshot.backend().connect_timeout;
        let deadline = self.connected.checked_add(patience).unwrap_or(self.connected).min(self.arrival.deadline());
        while !answer.ready {
            let read = self.backend.read_buf(&mut answer.inbound);
            let read = if answer.authenticated {
                read.await
            } else {
                timeout_at(deadline, read).await.map_err(|_| SessionError::Backend(BackendFailure::Silent))?
            };
            if !matches!(read, Ok(1..)) {
                return Err(SessionError::Backend(BackendFailure::Closed));
            }
            answer.understand()?;
        }
        Ok(())
    }
}

impl Answer {
    /// Moves whole messages from inbound to outbound, up to ReadyForQuery.
    fn understand(&mut self) -> Result<(), SessionError> {
        let mut understood = 0_usize;
        let outcome = loop {
            let rest = self.inbound.get(understood..).unwrap_or(&[]);
            let (message, length) = match BackendMessage::decode_login(rest) {
                Ok(Some(decoded)) => decoded,
                Ok(None) => break Ok(()),
                Err(error) => break Err(SessionError::Backend(BackendFailure::Protocol(error))),
            };
            let mut refusal = None;
            match message {
                BackendMessage::Authentication(Authentication::Ok) => self.authenticated = true,
                BackendMessage::Authentication(Authentication::Other(code)) => {
                    break Err(SessionError::Backend(BackendFailure::AsksForPassword(code)));
                }
                BackendMessage::BackendKeyData(pid, key) => {
                    self.pid = Some(pid);
                    self.cancel = key.map(|key| CancelRequest { pid, key });
                }
                BackendMessage::ReadyForQuery => self.ready = true,
                BackendMessage::ErrorResponse(fields) => {
                    let text = |kind| fields.field(kind).unwrap_or_default();
                    let sqlstate = String::from_utf8_lossy(text(b'C')).into_owned();
                    refusal = Some(SessionError::BackendRefused { sqlstate, message: text(b'M').into() });
                }
                BackendMessage::ForClient => {}
            }
            understood = understood.saturating_add(length);
            self.outbound.extend_from_slice(rest.get(..length).unwrap_or(rest));
            if self.outbound.len() > MAX_GREETING_LENGTH {
                self.outbound = Vec::new();
                break Err(SessionError::Backend(BackendFailure::Protocol(FrameError::TooMuch)));
            }
            match refusal {
                Some(error) => break Err(error),
                None if self.ready => break Ok(()),
                None => {}
            }
        };
        self.inbound.drain(..understood);
        outcome
    }
}
