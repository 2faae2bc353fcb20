//! Why a live session may not go on: what it was admitted by no longer holds.

use std::fmt;

use super::{EndReason, TlsFailure};
use crate::types::utc;
use crate::wire::{ErrorResponse, SqlState};

/// Positive evidence against a live session. The texts are for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Withdrawal {
    /// A CRL lists its certificate, or one above it; or the deny list names it.
    Revoked(String),
    /// Its trust anchor is no longer one.
    Untrusted(String),
    /// Rules or maps no longer admit it.
    NotAdmitted(String),
    /// Its certificate passed notAfter, which is in seconds since 1970.
    Expired(i64),
}

impl Withdrawal {
    /// The reason in the record of its end.
    pub const fn reason(&self) -> EndReason {
        match self {
            Self::Revoked(_) | Self::Untrusted(_) => EndReason::Revoked,
            Self::NotAdmitted(_) => EndReason::Policy,
            Self::Expired(_) => EndReason::Expired,
        }
    }

    /// The client's last message.
    pub fn response(&self) -> ErrorResponse {
        let message = match self {
            Self::Revoked(_) => "terminating connection because the client certificate has been revoked",
            Self::Untrusted(_) => "terminating connection because the client certificate is no longer trusted",
            Self::NotAdmitted(_) => "terminating connection because it is no longer admitted by the access rules",
            Self::Expired(_) => "terminating connection because the client certificate has expired",
        };
        ErrorResponse::new(SqlState::ADMIN_SHUTDOWN, message)
    }
}

impl From<TlsFailure> for Withdrawal {
    fn from(failure: TlsFailure) -> Self {
        if matches!(failure, TlsFailure::Revoked(_) | TlsFailure::Denylisted(_)) {
            Self::Revoked(failure.to_string())
        } else {
            Self::Untrusted(failure.to_string())
        }
    }
}

impl fmt::Display for Withdrawal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Revoked(what) | Self::Untrusted(what) | Self::NotAdmitted(what) => f.write_str(what),
            Self::Expired(not_after) => match utc(*not_after) {
                Some(moment) => write!(f, "client certificate was valid until {moment}"),
                None => write!(f, "client certificate has expired"),
            },
        }
    }
}
