//! Why a connection never became a session, and what its client reads: what PostgreSQL would say, to the byte.

use std::fmt;

use super::{BackendFailure, Limit, PasswordFault, ProxyFault, Reason, TlsFailure};
use crate::policy::{Cause, Denial, Method, Replication, Request};
use crate::types::RoleName;
use crate::wire::{ErrorResponse, ProtocolVersion, SqlState, StartupError};

/// The cause of a refusal, with what the operator needs to know.
#[derive(Debug)]
pub enum SessionError {
    /// A trusted load balancer did not say where its client is.
    Proxy(ProxyFault),
    /// A StartupMessage without TLS.
    Plaintext(Box<Request>),
    /// A startup packet that cannot be served.
    Startup(StartupError),
    /// The connection ended in the middle of a startup packet.
    IncompleteStartup,
    /// The time from accept to AuthenticationOk ran out while the client was to speak.
    Timeout,
    /// The handshake failed; the client has its alert.
    Tls(TlsFailure),
    /// Direct TLS without ALPN.
    AlpnMissing,
    /// The certificate's subject holds a NUL.
    SubjectHasNul(String),
    /// More connections waited to log in than may, and this was the oldest.
    Shed,
    /// A limit on sessions is reached.
    Limit(Limit, RoleName),
    /// The rules say no.
    Denied(Denial, Box<Request>),
    /// The password exchange between backend and client is at fault; the role.
    Password(PasswordFault, RoleName),
    /// The backend could not be asked.
    Backend(BackendFailure),
    /// The backend said no; the client has its words.
    BackendRefused {
        /// Its SQLSTATE.
        sqlstate: String,
        /// Its message.
        message: Box<[u8]>,
    },
    /// The record of the session could not be written.
    AuditUnavailable,
    /// The daemon is shutting down.
    Draining,
    /// The client went away before the login was complete.
    ClientClosed,
    /// A fault of Postern's own: a step of the login panicked.
    Internal,
}

impl SessionError {
    /// The reason code.
    pub const fn reason(&self) -> Reason {
        match self {
            Self::Proxy(fault) => fault.reason(),
            Self::Plaintext(_) => Reason::Plaintext,
            Self::Startup(_) | Self::IncompleteStartup => Reason::Protocol,
            Self::Timeout => Reason::Timeout,
            Self::Tls(failure) => failure.reason(),
            Self::AlpnMissing => Reason::TlsAlpn,
            Self::SubjectHasNul(_) => Reason::Identity,
            Self::Shed | Self::Limit(..) => Reason::Limit,
            Self::Denied(denial, _) => denial_reason(denial.cause()),
            Self::Password(fault, _) => fault.reason(),
            Self::Backend(failure) => failure.reason(),
            Self::BackendRefused { .. } => Reason::BackendRefused,
            Self::AuditUnavailable => Reason::AuditUnavailable,
            Self::Draining => Reason::Draining,
            Self::ClientClosed => Reason::ClientClosed,
            Self::Internal => Reason::Internal,
        }
    }

    /// Whether it counts against the client's address: a login that fails by what the client is or does, a wrong password included.
    pub fn is_failure_of_client(&self) -> bool {
        let wrong_password = matches!(self, Self::BackendRefused { sqlstate, .. } if sqlstate == SqlState::INVALID_PASSWORD.code());
        wrong_password || self.reason().is_failure_of_client()
    }

    /// What the client reads; `None` where PostgreSQL closes without a word, or the words have been sent.
    pub fn response(&self) -> Option<ErrorResponse> {
        match self {
            Self::Plaintext(request) => {
                let mut response = no_entry(request, Encryption::None);
                response.hint =
                    Some("This server accepts TLS connections with a client certificate only: set sslmode, sslcert and sslkey.".into());
                Some(response)
            }
            Self::Startup(error) => startup_response(error),
            Self::Denied(denial, request) => Some(denial_response(denial, request)),
            Self::Limit(limit, role) => Some(limit.response(role)),
            Self::Password(fault, role) => fault.response(role),
            Self::Backend(failure) => Some(not_accepting(failure.client_detail())),
            Self::Draining => Some(not_accepting("The server is shutting down.")),
            Self::AuditUnavailable => {
                let mut response = ErrorResponse::new(SqlState::DISK_FULL, "could not write the audit record of this session");
                response.detail = Some("No session is admitted without its record.".into());
                Some(response)
            }
            Self::Internal => Some(ErrorResponse::new(SqlState::INTERNAL_ERROR, "internal error")),
            Self::Proxy(_)
            | Self::IncompleteStartup
            | Self::Timeout
            | Self::Shed
            | Self::Tls(_)
            | Self::AlpnMissing
            | Self::SubjectHasNul(_)
            | Self::BackendRefused { .. }
            | Self::ClientClosed => None,
        }
    }
}

impl fmt::Display for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Proxy(fault) => fault.fmt(f),
            Self::Plaintext(_) => write!(f, "a StartupMessage without TLS; the client needs sslmode=verify-full, sslcert and sslkey"),
            Self::Startup(error) => error.fmt(f),
            Self::IncompleteStartup => write!(f, "incomplete startup packet"),
            Self::Timeout => write!(f, "the client did not complete its login within limits.authentication_timeout"),
            Self::Tls(failure) => failure.fmt(f),
            Self::AlpnMissing => write!(f, "received direct SSL connection request without ALPN protocol negotiation extension"),
            Self::SubjectHasNul(subject) => write!(f, "the client certificate's subject contains an embedded null: {subject}"),
            Self::Shed => write!(f, "limits.max_handshakes connections were waiting to log in, and this one for the longest time"),
            Self::Limit(limit, role) => write!(f, "{limit} is reached for role {role}"),
            Self::Denied(denial, request) => fmt_denial(denial, request, f),
            Self::Password(fault, _) => fault.fmt(f),
            Self::Backend(failure) => failure.fmt(f),
            Self::BackendRefused { sqlstate, message } => {
                write!(f, "the backend refused: {sqlstate} {}", String::from_utf8_lossy(message))?;
                // The other way round it is about the client's certificate; here it is about Postern at PostgreSQL's own door, or about
                // the password that a rule asks for beside the certificate.
                if sqlstate.starts_with("28") && sqlstate != SqlState::INVALID_PASSWORD.code() {
                    write!(f, "; the local lines of PostgreSQL's own pg_hba.conf must let the OS user of Postern log in as this role")?;
                }
                Ok(())
            }
            Self::AuditUnavailable => write!(f, "the record session.start could not be written, and audit.on_failure is refuse"),
            Self::Draining => write!(f, "the daemon is shutting down"),
            Self::Internal => {
                write!(f, "a step of the login failed in a way that must not be; please report it, with the log's lines before it")
            }
            Self::ClientClosed => write!(f, "the client closed the connection before the login was complete"),
        }
    }
}

/// The words of pg_hba.conf's messages for how a connection is encrypted.
#[derive(Clone, Copy)]
enum Encryption {
    None,
    Tls,
}

impl Encryption {
    const fn words(self) -> &'static str {
        match self {
            Self::None => "no encryption",
            Self::Tls => "SSL encryption",
        }
    }
}

/// FATAL 57P03: drivers and pg_isready take it as "try again later".
fn not_accepting(detail: &str) -> ErrorResponse {
    let mut response = ErrorResponse::new(SqlState::CANNOT_CONNECT_NOW, "the database system is not accepting connections");
    response.detail = Some(detail.into());
    response
}

/// src/backend/tcop/backend_startup.c, ProcessStartupPacket.
fn startup_response(error: &StartupError) -> Option<ErrorResponse> {
    let (sqlstate, hint) = match error {
        StartupError::Length(_) | StartupError::CancelLength => return None,
        StartupError::Version(version) => return Some(unsupported(*version)),
        StartupError::Layout | StartupError::Duplicate(_) => (SqlState::PROTOCOL_VIOLATION, None),
        StartupError::NoUser => (SqlState::INVALID_AUTHORIZATION_SPECIFICATION, None),
        StartupError::Replication(value) => {
            let message = concat(&[b"invalid value for parameter \"replication\": \"", value, b"\""]);
            let mut response = ErrorResponse::new(SqlState::INVALID_PARAMETER_VALUE, message);
            response.hint = Some("Valid values are: \"false\", 0, \"true\", 1, \"database\".".into());
            return Some(response);
        }
    };
    let mut response = ErrorResponse::new(sqlstate, error.to_string());
    response.hint = hint;
    Some(response)
}

fn unsupported(version: ProtocolVersion) -> ErrorResponse {
    let message = format!("unsupported frontend protocol {version}: server supports 3.0 to 3.2");
    ErrorResponse::new(SqlState::FEATURE_NOT_SUPPORTED, message)
}

const fn denial_reason(cause: &Cause) -> Reason {
    match cause {
        Cause::NoMatch => Reason::HbaNoMatch,
        Cause::Rejected | Cause::Unsupported => Reason::HbaReject,
        Cause::NoCertificate => Reason::NoCertificate,
        Cause::UnusableName(_)
        | Cause::NameDiffers(_)
        | Cause::NotMapped { .. }
        | Cause::AmbiguouslyMapped { .. }
        | Cause::NoCapture { .. } => Reason::Identity,
        Cause::Parameter(_) => Reason::Parameter,
        Cause::MembershipsUnknown(_) => Reason::BackendUnreachable,
        Cause::InterfacesUnknown(_) => Reason::Internal,
    }
}

/// src/backend/libpq/auth.c, ClientAuthentication and auth_failed.
fn denial_response(denial: &Denial, request: &Request) -> ErrorResponse {
    let message = match denial.cause() {
        Cause::NoMatch => return no_entry(request, Encryption::Tls),
        Cause::Rejected | Cause::Unsupported => {
            let what: &[u8] = match request.replication {
                Replication::Physical => b"pg_hba.conf rejects replication connection",
                Replication::None | Replication::Logical => b"pg_hba.conf rejects connection",
            };
            concat(&[what, b" for ", &host_and_names(request), b", ", Encryption::Tls.words().as_bytes()])
        }
        Cause::NoCertificate => b"connection requires a valid client certificate".to_vec(),
        Cause::UnusableName(_)
        | Cause::NameDiffers(_)
        | Cause::NotMapped { .. }
        | Cause::AmbiguouslyMapped { .. }
        | Cause::NoCapture { .. } => {
            return authentication_failed(denial.method(), request);
        }
        Cause::Parameter(setting) => {
            let message = format!("permission denied to set parameter \"{setting}\"");
            return ErrorResponse::new(SqlState::INSUFFICIENT_PRIVILEGE, message);
        }
        Cause::MembershipsUnknown(_) => return not_accepting("Role memberships cannot be looked up."),
        Cause::InterfacesUnknown(_) => return ErrorResponse::new(SqlState::INTERNAL_ERROR, "internal error"),
    };
    ErrorResponse::new(SqlState::INVALID_AUTHORIZATION_SPECIFICATION, message)
}

/// auth_failed, in the words of the rule's method.
fn authentication_failed(method: Option<Method>, request: &Request) -> ErrorResponse {
    let (sqlstate, what): (_, &[u8]) = match method {
        Some(Method::ScramWithCertificate) => (SqlState::INVALID_PASSWORD, b"password"),
        Some(Method::TrustWithCertificate) => (SqlState::INVALID_AUTHORIZATION_SPECIFICATION, b"\"trust\""),
        Some(Method::Cert | Method::Reject | Method::Unsupported(_)) | None => {
            (SqlState::INVALID_AUTHORIZATION_SPECIFICATION, b"certificate")
        }
    };
    ErrorResponse::new(sqlstate, concat(&[what, b" authentication failed for user \"", request.user.as_bytes(), b"\""]))
}

fn no_entry(request: &Request, encryption: Encryption) -> ErrorResponse {
    let what: &[u8] = match request.replication {
        Replication::Physical => b"no pg_hba.conf entry for replication connection from ",
        Replication::None | Replication::Logical => b"no pg_hba.conf entry for ",
    };
    let message = concat(&[what, &host_and_names(request), b", ", encryption.words().as_bytes()]);
    ErrorResponse::new(SqlState::INVALID_AUTHORIZATION_SPECIFICATION, message)
}

/// `host "..", user "..", database ".."`; a physical walsender has no database.
fn host_and_names(request: &Request) -> Vec<u8> {
    let host = request.address.ip().to_string();
    let mut text = concat(&[b"host \"", host.as_bytes(), b"\", user \"", request.user.as_bytes(), b"\""]);
    match request.replication {
        Replication::Physical => {}
        Replication::None | Replication::Logical => {
            text.extend_from_slice(&concat(&[b", database \"", request.database.as_bytes(), b"\""]));
        }
    }
    text
}

fn concat(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

/// What the operator reads: the name that was found, and the rule that decided.
fn fmt_denial(denial: &Denial, request: &Request, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let rule = denial.rule().unwrap_or("none");
    match denial.cause() {
        Cause::NoMatch => match request.replication {
            Replication::Physical => write!(
                f,
                "no rule matches host {}, user {}, physical replication; \"all\" does not match it, only database: replication",
                request.address.ip(),
                request.user
            ),
            Replication::None | Replication::Logical => {
                write!(f, "no rule matches host {}, user {}, database {}", request.address.ip(), request.user, request.database)
            }
        },
        Cause::Rejected => write!(f, "rule {rule} rejects"),
        Cause::Unsupported => {
            let method = denial.method().map_or("another", Method::word);
            write!(f, "rule {rule} has the method {method}, which asks for no certificate: Postern refuses whom it matches")
        }
        Cause::NoCertificate => write!(f, "rule {rule} asks for a client certificate and the client sent none"),
        Cause::UnusableName(fault) => write!(f, "rule {rule}: {fault}"),
        Cause::NameDiffers(name) => {
            let (user, name) = (&request.user, name.escape_debug());
            write!(f, "rule {rule}: provided user name ({user}) and authenticated user name ({name}) do not match")
        }
        Cause::NotMapped { map, name } => {
            let (user, name) = (&request.user, name.escape_debug());
            write!(f, "rule {rule}: no match in usermap \"{map}\" for user \"{user}\" authenticated as \"{name}\"")
        }
        Cause::AmbiguouslyMapped { map, name } => {
            let name = name.escape_debug();
            write!(f, "rule {rule}: usermap \"{map}\" yields more than one role for \"{name}\", and user_name: mapped takes one")
        }
        Cause::NoCapture { map, line } => {
            write!(f, "rule {rule}: usermap \"{map}\" at {line}: the regular expression has no subexpressions as requested by \\1")
        }
        Cause::Parameter(setting) => write!(f, "rule {rule} denies the startup parameter \"{setting}\""),
        Cause::MembershipsUnknown(why) => write!(f, "rule {rule} depends on role memberships that are not known: {why}"),
        Cause::InterfacesUnknown(why) => write!(f, "rule {rule} depends on this machine's addresses, which are not known: {why}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{DatabaseName, PeerAddress};

    fn request(replication: Replication) -> Box<Request> {
        Box::new(Request {
            user: RoleName::truncated(b"al\xffice").unwrap(),
            database: DatabaseName::truncated(b"app").unwrap(),
            replication,
            address: PeerAddress::new("[::ffff:10.0.0.1]:5000".parse().unwrap()),
            settings: Vec::new(),
        })
    }

    #[test]
    fn a_plaintext_refusal_reads_as_postgresqls_in_the_bytes_of_its_names() {
        let response = SessionError::Plaintext(request(Replication::None)).response().unwrap();
        assert_eq!(response.message, b"no pg_hba.conf entry for host \"10.0.0.1\", user \"al\xffice\", database \"app\", no encryption");
        let response = SessionError::Plaintext(request(Replication::Physical)).response().unwrap();
        assert_eq!(
            response.message,
            b"no pg_hba.conf entry for replication connection from host \"10.0.0.1\", user \"al\xffice\", no encryption"
        );
    }

    #[test]
    fn the_backends_absence_is_57p03_without_a_path() {
        let failure = BackendFailure::Unreachable { target: "/secret/path".into(), error: std::io::Error::other("x") };
        let response = SessionError::Backend(failure).response().unwrap();
        assert_eq!(response.sqlstate, SqlState::CANNOT_CONNECT_NOW);
        assert_eq!(response.detail.as_deref(), Some("The database server cannot be reached."));
    }
}
