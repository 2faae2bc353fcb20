//! What the backend says until its first ReadyForQuery, as far as it has been heard: sans-IO, and not trusted.

use crate::backend::{Exchange, Password};
use crate::error::{BackendFailure, SessionError};
use crate::wire::{Authentication, BackendMessage, CancelRequest, ErrorFields, FrameError, sasl_initial_response, sasl_response};

/// The most that the backend may say before ReadyForQuery; beside a login trigger's notices it is below 1 KiB.
const MAX_GREETING_LENGTH: usize = 256 * 1024;

/// The backend's answer so far.
#[derive(Default)]
pub(super) struct Answer {
    /// What was received and not yet understood.
    inbound: Vec<u8>,
    /// Whole messages, for the client.
    outbound: Vec<u8>,
    exchange: Option<Exchange>,
    authenticated: bool,
    cancel: Option<CancelRequest>,
    pid: Option<u32>,
    ready: bool,
}

/// What a backend that asks for a password is given.
pub(super) struct Credentials<'a> {
    /// The password of `backend.passfile` for the role.
    pub(super) password: Option<&'a Password>,
    /// Anybody on this machine could listen in the backend's place, so where there is a password it must prove that it knows it.
    pub(super) must_prove: bool,
}

impl Answer {
    /// Where the next bytes are to be put.
    pub(super) fn inbound(&mut self) -> &mut Vec<u8> {
        &mut self.inbound
    }

    /// Whether AuthenticationOk was heard.
    pub(super) fn is_authenticated(&self) -> bool {
        self.authenticated
    }

    /// Whether ReadyForQuery was heard.
    pub(super) fn is_ready(&self) -> bool {
        self.ready
    }

    /// The process ID of BackendKeyData.
    pub(super) fn pid(&self) -> Option<u32> {
        self.pid
    }

    /// What is for the client, what came behind it, and what cancels the session.
    pub(super) fn into_parts(self) -> (Vec<u8>, Vec<u8>, Option<CancelRequest>) {
        (self.outbound, self.inbound, self.cancel)
    }

    /// Moves whole messages from inbound to outbound, up to ReadyForQuery; what concerns the password stays here. Gives what is to
    /// be sent to the backend, nothing mostly.
    ///
    /// # Errors
    /// The backend's refusal, or its fault; what it said for the client until then is in outbound.
    pub(super) fn understand(&mut self, credentials: &Credentials<'_>) -> Result<Vec<u8>, SessionError> {
        let mut reply = Vec::new();
        let inbound = std::mem::take(&mut self.inbound);
        let mut rest = inbound.as_slice();
        while !self.ready {
            let decoded = BackendMessage::decode_login(rest).map_err(|error| SessionError::Backend(BackendFailure::Protocol(error)))?;
            let Some((message, length)) = decoded else { break };
            let (raw, behind) = rest.split_at_checked(length).unwrap_or((rest, &[]));
            rest = behind;
            let for_client = match message {
                BackendMessage::Authentication(authentication) => {
                    reply = self.authenticate(authentication, credentials).map_err(SessionError::Backend)?;
                    self.authenticated
                }
                BackendMessage::BackendKeyData(pid, key) => {
                    self.pid = Some(pid);
                    self.cancel = key.map(|key| CancelRequest { pid, key });
                    true
                }
                BackendMessage::ReadyForQuery => {
                    self.ready = true;
                    true
                }
                BackendMessage::ErrorResponse(fields) => return Err(self.refused(fields, raw)),
                BackendMessage::ForClient => true,
            };
            if for_client {
                self.outbound.extend_from_slice(raw);
            }
            if self.outbound.len() > MAX_GREETING_LENGTH {
                self.outbound = Vec::new();
                return Err(SessionError::Backend(BackendFailure::Protocol(FrameError::TooMuch)));
            }
        }
        self.inbound = rest.to_vec();
        Ok(reply)
    }

    fn authenticate(&mut self, authentication: Authentication<'_>, credentials: &Credentials<'_>) -> Result<Vec<u8>, BackendFailure> {
        match (authentication, &mut self.exchange, credentials.password) {
            _ if self.authenticated => Err(BackendFailure::Protocol(FrameError::Unexpected(b'R'))),
            (Authentication::Ok, exchange, password) => {
                let proven = exchange.as_ref().map(Exchange::is_proven);
                if proven.unwrap_or(password.is_none() || !credentials.must_prove) {
                    self.authenticated = true;
                    Ok(Vec::new())
                } else {
                    Err(BackendFailure::NotProven)
                }
            }
            (Authentication::Sasl(mechanisms), None, Some(password)) => {
                let (exchange, mechanism, first) = Exchange::begin(password, mechanisms)?;
                self.exchange = Some(exchange);
                Ok(sasl_initial_response(mechanism, &first))
            }
            (Authentication::Sasl(_), None, None) => Err(BackendFailure::AsksForPassword(10)),
            (Authentication::SaslContinue(challenge), Some(exchange), _) => Ok(sasl_response(&exchange.answer(challenge)?)),
            (Authentication::SaslFinal(signature), Some(exchange), _) => exchange.verify(signature).map(|()| Vec::new()),
            (Authentication::Sasl(_) | Authentication::SaslContinue(_) | Authentication::SaslFinal(_), _, _) => {
                Err(BackendFailure::ScramInvalid)
            }
            (Authentication::Other(code), _, _) => Err(BackendFailure::AsksForPassword(code)),
        }
    }

    /// The backend's words are the client's, unless they are about a password that the client never gave.
    fn refused(&mut self, fields: ErrorFields<'_>, raw: &[u8]) -> SessionError {
        let text = |kind| fields.field(kind).unwrap_or_default();
        let sqlstate = String::from_utf8_lossy(text(b'C')).into_owned();
        if self.exchange.is_some() && !self.authenticated {
            return SessionError::Backend(BackendFailure::PasswordRejected(format!("{sqlstate} {}", text(b'M').escape_ascii())));
        }
        self.outbound.extend_from_slice(raw);
        SessionError::BackendRefused { sqlstate, message: text(b'M').into() }
    }
}
