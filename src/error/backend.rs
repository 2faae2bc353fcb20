//! Why the backend could not be reached, or what it said that Postern cannot serve.

use std::fmt;
use std::io;

use super::Reason;
use crate::wire::FrameError;

/// The cause of a login that failed behind Postern.
#[derive(Debug)]
pub enum BackendFailure {
    /// Nobody listens, or the socket cannot be opened.
    Unreachable {
        /// Its address.
        target: String,
        /// What the kernel said.
        error: io::Error,
    },
    /// It accepted, and closed before it answered.
    Closed,
    /// It did not answer within `backend.connect_timeout`.
    Silent,
    /// The server's end of the socket runs as another user than `backend.require_peer`.
    WrongPeer {
        /// The user ID that was found.
        found: u32,
        /// The user ID that is required.
        required: u32,
    },
    /// It asks for a password, or for more, that Postern has not or does not give: the code of its Authentication message.
    AsksForPassword(u32),
    /// It did not take the password of `backend.passfile`: its SQLSTATE and message.
    PasswordRejected(String),
    /// It refused before it proved that it knows the password that `backend.passfile` has for the role: its SQLSTATE and message.
    RefusedUnproven(String),
    /// It refused a login or a statement of Postern's own.
    Refused {
        /// Its SQLSTATE.
        sqlstate: String,
        /// Its message, printable.
        message: String,
    },
    /// It offers SASL without SCRAM-SHA-256.
    NoScram,
    /// Its side of the SCRAM exchange is malformed, out of turn, or asks for too many iterations.
    ScramInvalid,
    /// It did not prove that it knows the password that `backend.passfile` has for the role.
    NotProven,
    /// It said what no PostgreSQL says.
    Protocol(FrameError),
}

impl BackendFailure {
    /// The reason code.
    pub const fn reason(&self) -> Reason {
        match self {
            Self::Unreachable { .. } | Self::Closed | Self::Silent | Self::WrongPeer { .. } => Reason::BackendUnreachable,
            Self::AsksForPassword(_) | Self::PasswordRejected(_) | Self::RefusedUnproven(_) | Self::Refused { .. } | Self::NoScram => {
                Reason::BackendRefused
            }
            Self::ScramInvalid | Self::NotProven | Self::Protocol(_) => Reason::BackendProtocol,
        }
    }

    /// What the client reads as DETAIL: no path, no address, nothing that the network chose.
    pub(super) const fn client_detail(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "The database server cannot be reached.",
            Self::Closed => "The database server closed the connection before it answered.",
            Self::Silent => "The database server did not answer in time.",
            Self::WrongPeer { .. } => "The database server could not be verified.",
            Self::AsksForPassword(_) | Self::NoScram => "The database server asks for a password that is not configured here.",
            Self::PasswordRejected(_) => "The database server did not accept the password that is configured here.",
            Self::RefusedUnproven(_) => "The database server refused the connection before it could be verified.",
            Self::Refused { .. } => "The database server does not say what must be known here.",
            Self::NotProven => "The database server could not be verified.",
            Self::ScramInvalid | Self::Protocol(_) => "The database server sent an invalid answer.",
        }
    }
}

impl fmt::Display for BackendFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable { target, error } => {
                write!(f, "{target} cannot be reached: {error}; is PostgreSQL running, and are backend.host and backend.port right?")
            }
            Self::Closed => write!(f, "the backend closed the connection before it answered; see PostgreSQL's own log"),
            Self::Silent => write!(
                f,
                "the backend did not answer within backend.connect_timeout, or did not complete the login within limits.authentication_timeout"
            ),
            Self::WrongPeer { found, required } => {
                write!(f, "the backend's socket is served by uid {found}, backend.require_peer asks for uid {required}")
            }
            Self::AsksForPassword(10) => write!(
                f,
                "the backend asks for a SCRAM password and backend.passfile has none for this role here: add a line \
                 hostname:port:database:username:password, with backend.host and backend.port as they are written or *, or give Postern's \
                 line in the backend's pg_hba.conf the method peer"
            ),
            Self::AsksForPassword(code) => write!(
                f,
                "the backend asks for {}, which is not answered; give Postern's line in the backend's pg_hba.conf the method peer, or \
                 scram-sha-256 with backend.passfile",
                authentication_name(*code)
            ),
            Self::PasswordRejected(said) => {
                write!(
                    f,
                    "the backend did not take the role's password of backend.passfile: {said}; correct the line or the role's password"
                )
            }
            Self::RefusedUnproven(said) => write!(
                f,
                "whoever listens at backend.host refused before it proved that it knows the role's password of backend.passfile, so its \
                 words are not passed on: {said}; if PostgreSQL is starting or stopping, wait, else see its pg_hba.conf and its own log"
            ),
            Self::Refused { sqlstate, message } => write!(f, "the backend refused: {sqlstate} {message}"),
            Self::NoScram => {
                write!(f, "the backend offers SASL without SCRAM-SHA-256; set password_encryption and the role's password anew")
            }
            Self::ScramInvalid => write!(f, "the backend's side of the SCRAM exchange is malformed or asks for too many iterations"),
            Self::NotProven => write!(
                f,
                "the backend did not prove that it knows the role's password of backend.passfile; is another process listening in its place?"
            ),
            Self::Protocol(error) => write!(f, "the backend sent {error}; is it PostgreSQL?"),
        }
    }
}

/// What an Authentication message with this code asks for
/// (<https://www.postgresql.org/docs/current/protocol-message-formats.html>).
pub(super) fn authentication_name(code: u32) -> &'static str {
    match code {
        2 => "Kerberos V5 authentication",
        3 => "a cleartext password (method password, ldap, radius or pam)",
        5 => "an MD5 password (method md5)",
        7 | 8 => "GSSAPI authentication (method gss)",
        9 => "SSPI authentication (method sspi)",
        _ => "an authentication that is not known",
    }
}
