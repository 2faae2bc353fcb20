//! What was wrong with a password exchange that Postern passes on between backend and client.

use std::fmt;

use super::Reason;
use super::backend::authentication_name;
use crate::types::RoleName;
use crate::wire::{ErrorResponse, SqlState};

/// The cause, by whose doing it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordFault {
    /// The backend let the session in without a completed exchange.
    NotAsked,
    /// The backend asks for something else than SASL: the code of its Authentication message.
    AskedOtherwise(u32),
    /// The backend offers SASL without SCRAM-SHA-256.
    NoScram,
    /// The backend's part of the exchange came out of turn, or is too long.
    OutOfTurn,
    /// The client sent a message of this type in place of its answer.
    ClientMessage(u8),
    /// The client's answer says that it is this long, which none is.
    ClientLength(u32),
    /// The client chose another mechanism than the one that it was offered, or did not begin the exchange with it.
    ClientMechanism,
}

impl PasswordFault {
    /// The reason code.
    pub(super) const fn reason(self) -> Reason {
        match self {
            Self::NotAsked | Self::AskedOtherwise(_) | Self::NoScram | Self::OutOfTurn => Reason::BackendProtocol,
            Self::ClientMessage(_) | Self::ClientLength(_) | Self::ClientMechanism => Reason::Protocol,
        }
    }

    /// What the client reads: src/backend/libpq/auth.c, auth_failed, and auth-sasl.c, CheckSASLAuth.
    pub(super) fn response(self, role: &RoleName) -> Option<ErrorResponse> {
        match self {
            Self::NotAsked | Self::AskedOtherwise(_) | Self::NoScram | Self::OutOfTurn => {
                let message = [b"password authentication failed for user \"", role.as_bytes(), b"\""].concat();
                Some(ErrorResponse::new(SqlState::INVALID_PASSWORD, message))
            }
            Self::ClientMessage(kind) => {
                Some(ErrorResponse::new(SqlState::PROTOCOL_VIOLATION, format!("expected SASL response, got message type {kind}")))
            }
            Self::ClientLength(_) => None,
            Self::ClientMechanism => {
                Some(ErrorResponse::new(SqlState::PROTOCOL_VIOLATION, "client selected an invalid SASL authentication mechanism"))
            }
        }
    }
}

impl fmt::Display for PasswordFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAsked => write!(f, "the rule asks for a password too, and the backend let the client in without one; {ADVICE}"),
            Self::AskedOtherwise(code) => {
                write!(
                    f,
                    "the rule asks for a password by SCRAM-SHA-256, and the backend asks for {}; {ADVICE}",
                    authentication_name(*code)
                )
            }
            Self::NoScram => {
                write!(f, "the backend offers SASL without SCRAM-SHA-256; set password_encryption and the role's password anew")
            }
            Self::OutOfTurn => write!(f, "the backend's side of the client's SCRAM exchange came out of turn; is it PostgreSQL?"),
            Self::ClientMessage(kind) => write!(f, "the client sent the message '{}' in place of its password", kind.escape_ascii()),
            Self::ClientLength(length) => write!(f, "the client sent a password message of {length} bytes"),
            Self::ClientMechanism => write!(f, "the client chose another SASL mechanism than SCRAM-SHA-256"),
        }
    }
}

const ADVICE: &str = "give the lines of the backend's pg_hba.conf by which Postern comes for this rule's roles the method scram-sha-256";
