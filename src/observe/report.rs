//! What is known about a connection, gathered as it advances and told once.
//!
//! Plain data for readers outside: nothing in the program decides by what stands here. Names are the bytes that came, not
//! text: how they can be shown is each consumer's business.

use std::sync::Arc;
use std::time::Duration;

use crate::error::{EndReason, Reason};
use crate::types::{PeerAddress, RoleName, SessionId};

/// How far a connection came, and what was learned on the way. A part that was not reached is `None`.
#[derive(Clone, Debug)]
pub struct Trail {
    /// The connection's name in log and audit.
    pub session: SessionId,
    /// Where the client is.
    pub client: PeerAddress,
    /// The TLS connection, once established.
    pub tls: Option<TlsFacts>,
    /// The client's certificate, once verified.
    pub cert: Option<CertFacts>,
    /// What the StartupMessage asked for.
    pub startup: Option<StartupFacts>,
    /// What the rules said, if they said yes.
    pub decision: Option<DecisionFacts>,
    /// The process that serves the session, from BackendKeyData.
    pub backend_pid: Option<i32>,
}

/// An established TLS connection. Its version is not noted: only 1.3 is served.
#[derive(Clone, Debug)]
pub struct TlsFacts {
    /// The cipher suite by its IANA name, `TLS_AES_256_GCM_SHA384`.
    pub cipher: &'static str,
    /// The key exchange group by its IANA name, `X25519MLKEM768`.
    pub group: &'static str,
    /// How TLS began, in the words of libpq's `sslnegotiation`: `direct`, or `postgres` after an SSLRequest.
    pub negotiation: &'static str,
    /// The host name that the client asked for.
    pub sni: Option<Box<str>>,
}

/// A verified client certificate.
#[derive(Clone, Debug)]
pub struct CertFacts {
    /// The subject in the form of RFC 2253, as PostgreSQL prints it.
    pub subject: Box<str>,
    /// The common name's bytes, if there is exactly one.
    pub cn: Option<Box<[u8]>>,
    /// The issuer in the form of RFC 2253.
    pub issuer: Box<str>,
    /// The serial number's DER content octets, in lower-case hex.
    pub serial: Box<str>,
    /// The SHA-256 of the whole certificate, in lower-case hex.
    pub sha256: Box<str>,
    /// The end of its validity, in seconds since 1970.
    pub not_after: i64,
}

/// What a StartupMessage asks for.
#[derive(Clone, Debug)]
pub struct StartupFacts {
    /// The requested user.
    pub user: Box<[u8]>,
    /// The requested database, or PostgreSQL's default for it. Empty for physical replication.
    pub database: Box<[u8]>,
    /// `application_name`, if given.
    pub application_name: Option<Box<[u8]>>,
    /// `true` for physical replication, `database` for logical, `None` for an ordinary session.
    pub replication: Option<&'static str>,
}

/// A login that the rules allow.
#[derive(Clone, Debug)]
pub struct DecisionFacts {
    /// The rule that matched, `hba[0]` or `FILE:LINE`.
    pub rule: Arc<str>,
    /// The user name map that was used.
    pub map: Option<Arc<str>>,
    /// The role that the backend is asked for.
    pub role: RoleName,
}

/// A connection that did not become a session.
#[derive(Clone, Debug)]
pub struct RefusalReport {
    /// How far it came.
    pub trail: Trail,
    /// Why it went no further.
    pub reason: Reason,
    /// The SQLSTATE that the client was sent, if it was sent an ErrorResponse.
    pub sqlstate: Option<Box<str>>,
    /// The message that the client was sent. It can hold names from the network.
    pub message: Option<Box<[u8]>>,
    /// What the operator should know, and the client must not.
    pub detail: String,
}

/// A session that begins.
#[derive(Clone, Debug)]
pub struct SessionOpening {
    /// All that is known about it.
    pub trail: Trail,
    /// From accept to the backend's ReadyForQuery.
    pub setup: Duration,
}

/// A session that is over.
#[derive(Clone, Debug)]
pub struct SessionReport {
    /// Its name in log and audit.
    pub session: SessionId,
    /// Where the client was.
    pub client: PeerAddress,
    /// The role it had.
    pub role: RoleName,
    /// Its database. Empty for physical replication.
    pub database: Box<[u8]>,
    /// Why it ended.
    pub reason: EndReason,
    /// What spoke against it, for the operator, if that is why.
    pub detail: Option<String>,
    /// From its start to its end.
    pub duration: Duration,
    /// Bytes of the protocol from the client to the backend.
    pub bytes_in: u64,
    /// Bytes of the protocol from the backend to the client.
    pub bytes_out: u64,
    /// Statements that the backend completed.
    pub statements: u64,
    /// ErrorResponses of the backend.
    pub errors: u64,
    /// The client's side ended without close_notify: something that it sent may be missing.
    pub truncated: bool,
}

/// A CancelRequest and what became of it.
#[derive(Clone, Debug)]
pub struct CancelReport {
    /// Where it came from.
    pub client: PeerAddress,
    /// Whether it came inside TLS.
    pub encrypted: bool,
    /// The common name of the verified certificate that came with it.
    pub cn: Option<Box<[u8]>>,
    /// What became of it.
    pub result: CancelResult,
    /// The session it is meant for, if its key belongs to one.
    pub target: Option<SessionId>,
    /// The process it names, if it could be read.
    pub pid: Option<i32>,
}

/// What became of a CancelRequest. The client is told nothing in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CancelResult {
    /// The backend was asked to cancel.
    Forwarded,
    /// No live session has this process and this key.
    UnknownKey,
    /// The certificate's name is not the session's.
    IdentityMismatch,
    /// `cancel.plaintext: deny`, and no certificate came with it.
    Denied,
    /// It is not a CancelRequest of any protocol version.
    Malformed,
    /// The session exists, and its backend could not be reached; or the predecessor that may have it did not answer in time.
    BackendUnreachable,
    /// Another one for the same session is still on its way, or as many of the same address to the predecessor as may be.
    RateLimited,
}

/// What was asked through the admin socket, by whom, and what became of it.
#[derive(Clone, Debug)]
pub struct AdminReport {
    /// What was asked; `None` if it could not be understood.
    pub verb: Option<AdminVerb>,
    /// The user ID of the process that asked, by the kernel's word.
    pub uid: u32,
    /// Its process ID, if the kernel knows one.
    pub pid: Option<i32>,
    /// What `kill` was to choose the sessions by, and by which value.
    pub selector: Option<(&'static str, Box<str>)>,
    /// What became of it.
    pub result: AdminResult,
    /// How many sessions it concerned.
    pub targets: u64,
}

/// What the admin socket can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AdminVerb {
    /// How the daemon is.
    Status,
    /// Which sessions are alive.
    Sessions,
    /// To end sessions.
    Kill,
    /// To read the configuration and its files again.
    Reload,
    /// To let the sessions leave, and to end.
    Drain,
    /// To give a successor the listeners, and to drain.
    Handover,
}

/// What became of a request to the admin socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AdminResult {
    /// It was carried out.
    Done,
    /// No session is meant by it.
    NoMatch,
    /// It could not be understood.
    Malformed,
    /// Who asked may not ask.
    Forbidden,
    /// It was tried, and nothing has changed.
    Failed,
}

impl AdminVerb {
    /// Every verb.
    pub const ALL: [Self; 6] = [Self::Status, Self::Sessions, Self::Kill, Self::Reload, Self::Drain, Self::Handover];

    /// The word in requests, log and audit.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Sessions => "sessions",
            Self::Kill => "kill",
            Self::Reload => "reload",
            Self::Drain => "drain",
            Self::Handover => "handover",
        }
    }
}

impl AdminResult {
    /// Every result.
    pub const ALL: [Self; 5] = [Self::Done, Self::NoMatch, Self::Malformed, Self::Forbidden, Self::Failed];

    /// The code in log and audit.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::NoMatch => "no_match",
            Self::Malformed => "malformed",
            Self::Forbidden => "forbidden",
            Self::Failed => "failed",
        }
    }
}

impl Trail {
    /// The trail of a connection of which nothing is known but where it comes from.
    pub fn new(session: SessionId, client: PeerAddress) -> Self {
        Self { session, client, tls: None, cert: None, startup: None, decision: None, backend_pid: None }
    }
}

impl RefusalReport {
    /// A refusal of which the client was told nothing.
    pub fn untold(trail: Trail, reason: Reason, detail: String) -> Self {
        Self { trail, reason, sqlstate: None, message: None, detail }
    }
}

impl CancelResult {
    /// Every result.
    pub const ALL: [Self; 7] = [
        Self::Forwarded,
        Self::UnknownKey,
        Self::IdentityMismatch,
        Self::Denied,
        Self::Malformed,
        Self::BackendUnreachable,
        Self::RateLimited,
    ];

    /// The code in log, audit and metric label.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Forwarded => "forwarded",
            Self::UnknownKey => "unknown_key",
            Self::IdentityMismatch => "identity_mismatch",
            Self::Denied => "denied",
            Self::Malformed => "malformed",
            Self::BackendUnreachable => "backend_unreachable",
            Self::RateLimited => "rate_limited",
        }
    }
}
