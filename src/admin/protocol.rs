//! What is said over the admin socket: one request and one reply a connection, each a line of JSON.
//!
//! ```text
//! {"v":1,"verb":"kill","role":"alice"}
//! {"v":1,"killed":["01JD6Z..."]}
//! ```

use std::fmt;

use serde::{Deserialize, Serialize};

use super::desk::ReloadOutcome;
use super::view::Status;
use crate::observe::AdminVerb;

/// The version of the protocol. Fields may be added to a reply without a new one.
pub(super) const VERSION: u32 = 1;

/// The longest request, in bytes with its newline.
pub(super) const LONGEST_REQUEST: usize = 4096;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// How the daemon is.
    Status,
    /// Which sessions are alive.
    Sessions,
    /// To end these sessions.
    Kill(Selector),
    /// To read the configuration and its files again.
    Reload,
    /// To let the sessions leave, and to end.
    Drain {
        /// The connection stays open until the daemon has ended.
        wait: bool,
    },
    /// For the listeners, by a successor.
    Handover,
}

/// Which sessions are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// The one of this name.
    Id(String),
    /// All of this role.
    Role(String),
    /// All of the certificate with this SHA-256, in lower-case hex without colons.
    Cert(String),
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// [`VERSION`].
    pub v: u32,
    /// What was asked for, or why not.
    #[serde(flatten)]
    pub body: Body,
}

/// The answer itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Body {
    /// How the daemon is.
    Status(Box<Status>),
    /// The sessions that are alive, the oldest first.
    Sessions(Vec<SessionLine>),
    /// The sessions that were told to end.
    Killed(Vec<String>),
    /// What came of the reload.
    Reload(Box<ReloadOutcome>),
    /// That the daemon drains.
    Drain(DrainLine),
    /// The addresses of the listeners that come with it.
    Handover(Vec<String>),
    /// Why there is no answer.
    Error(Fault),
}

/// Who is waited for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainLine {
    /// How many sessions are alive.
    pub sessions: usize,
}

/// A live session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionLine {
    /// Its name in log and audit.
    pub id: String,
    /// The role it has.
    pub role: String,
    /// Its database; empty for physical replication.
    pub database: String,
    /// What its client called itself at the start.
    pub application_name: Option<String>,
    /// Address and port of its client.
    pub client: String,
    /// When it began.
    pub since: String,
    /// `active`, `idle` or `idle in transaction`.
    pub state: String,
    /// Bytes from the client.
    pub bytes_in: u64,
    /// Bytes to the client.
    pub bytes_out: u64,
    /// The process that serves it.
    pub backend_pid: Option<u32>,
    /// The certificate it came with.
    pub cert: CertLine,
}

/// The certificate of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertLine {
    /// Its common name, if there is exactly one.
    pub cn: Option<String>,
    /// Its serial number in hex.
    pub serial: String,
    /// Its SHA-256 in hex.
    pub sha256: String,
    /// The end of its validity.
    pub not_after: Option<String>,
}

/// Why a request was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// For programs.
    pub code: FaultCode,
    /// For people: what was found, what was expected.
    pub message: String,
}

/// The kinds of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultCode {
    /// Who asks may not ask.
    Forbidden,
    /// It is no request of this version.
    Malformed,
    /// The verb is not known.
    UnknownVerb,
    /// It is longer than [`LONGEST_REQUEST`], or did not come in time.
    TooLong,
    /// The daemon was told to stop.
    Draining,
    /// As many as may wait do so already.
    Busy,
}

/// A request as it stands on the line.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    v: u32,
    verb: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    role: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cert: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    wait: Option<bool>,
}

impl Request {
    /// Reads a request.
    ///
    /// # Errors
    /// What is wrong with it, for who sent it.
    pub fn parse(line: &[u8]) -> Result<Self, Fault> {
        let malformed = |message: String| Fault { code: FaultCode::Malformed, message };
        let Line { v, verb, id, role, cert, wait } = serde_json::from_slice(line)
            .map_err(|error| malformed(format!("found no request ({error}), expected {{\"v\":1,\"verb\":\"status\"}} or the like")))?;
        if v != VERSION {
            return Err(malformed(format!("found version {v}, expected {VERSION}")));
        }
        let Some(verb) = AdminVerb::ALL.into_iter().find(|known| known.code() == verb) else {
            let known = AdminVerb::ALL.map(AdminVerb::code).join(", ");
            return Err(Fault { code: FaultCode::UnknownVerb, message: format!("found an unknown verb, expected one of {known}") });
        };
        if wait.is_some() && verb != AdminVerb::Drain {
            return Err(malformed("expected wait beside drain alone".to_owned()));
        }
        match (verb, id, role, cert) {
            (AdminVerb::Drain, None, None, None) => Ok(Self::Drain { wait: wait.unwrap_or_default() }),
            (AdminVerb::Handover, None, None, None) => Ok(Self::Handover),
            (AdminVerb::Status, None, None, None) => Ok(Self::Status),
            (AdminVerb::Sessions, None, None, None) => Ok(Self::Sessions),
            (AdminVerb::Reload, None, None, None) => Ok(Self::Reload),
            (AdminVerb::Kill, Some(id), None, None) => Ok(Self::Kill(Selector::Id(id.to_ascii_uppercase()))),
            (AdminVerb::Kill, None, Some(role), None) => Ok(Self::Kill(Selector::Role(role))),
            (AdminVerb::Kill, None, None, Some(cert)) => fingerprint(&cert).map(Selector::Cert).map(Self::Kill).ok_or_else(|| {
                malformed("found no fingerprint, expected the certificate's SHA-256: 64 digits of hex, with or without colons".to_owned())
            }),
            (AdminVerb::Kill, _, _, _) => Err(malformed("expected one of id, role and cert beside kill".to_owned())),
            (AdminVerb::Status | AdminVerb::Sessions | AdminVerb::Reload | AdminVerb::Drain | AdminVerb::Handover, _, _, _) => {
                Err(malformed("expected nothing beside this verb".to_owned()))
            }
        }
    }

    /// The request as a line.
    pub fn line(&self) -> String {
        let (id, role, cert) = match self {
            Self::Status | Self::Sessions | Self::Reload | Self::Drain { .. } | Self::Handover => (None, None, None),
            Self::Kill(Selector::Id(id)) => (Some(id.clone()), None, None),
            Self::Kill(Selector::Role(role)) => (None, Some(role.clone()), None),
            Self::Kill(Selector::Cert(cert)) => (None, None, Some(cert.clone())),
        };
        let wait = matches!(self, Self::Drain { wait: true }).then_some(true);
        let line = Line { v: VERSION, verb: self.verb().code().to_owned(), id, role, cert, wait };
        // Numbers and text are always JSON.
        serde_json::to_string(&line).unwrap_or_default() + "\n"
    }

    /// The verb.
    pub fn verb(&self) -> AdminVerb {
        match self {
            Self::Status => AdminVerb::Status,
            Self::Sessions => AdminVerb::Sessions,
            Self::Kill(_) => AdminVerb::Kill,
            Self::Reload => AdminVerb::Reload,
            Self::Drain { .. } => AdminVerb::Drain,
            Self::Handover => AdminVerb::Handover,
        }
    }
}

impl Selector {
    /// What it chooses by, and the value.
    pub fn parts(&self) -> (&'static str, &str) {
        match self {
            Self::Id(id) => ("id", id),
            Self::Role(role) => ("role", role),
            Self::Cert(cert) => ("cert", cert),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// A SHA-256 as openssl or Postern prints it, in lower-case hex.
fn fingerprint(text: &str) -> Option<String> {
    let digits: String = text.chars().filter(|c| *c != ':').collect::<String>().to_ascii_lowercase();
    (digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_as_it_was_written() {
        let cert = "9f".repeat(32);
        for request in [
            Request::Status,
            Request::Sessions,
            Request::Reload,
            Request::Drain { wait: false },
            Request::Drain { wait: true },
            Request::Handover,
            Request::Kill(Selector::Id("01JD6Z".to_owned())),
            Request::Kill(Selector::Role("al\"ice\n".to_owned())),
            Request::Kill(Selector::Cert(cert)),
        ] {
            let line = request.line();
            assert_eq!(line.matches('\n').count(), 1, "{line}");
            assert_eq!(Request::parse(line.as_bytes()), Ok(request));
        }
    }

    #[test]
    fn a_fingerprint_is_taken_as_openssl_prints_it() {
        let openssl = ["9F"; 32].join(":");
        let line = format!(r#"{{"v":1,"verb":"kill","cert":"{openssl}"}}"#);
        assert_eq!(Request::parse(line.as_bytes()), Ok(Request::Kill(Selector::Cert("9f".repeat(32)))));
    }

    #[test]
    fn what_is_no_request_is_refused_and_says_why() {
        for (line, code, said) in [
            ("", FaultCode::Malformed, "found no request"),
            ("status", FaultCode::Malformed, "found no request"),
            ("{}", FaultCode::Malformed, "missing field"),
            (r#"{"v":2,"verb":"status"}"#, FaultCode::Malformed, "version 2"),
            (r#"{"v":1,"verb":"shutdown"}"#, FaultCode::UnknownVerb, "status, sessions, kill"),
            (r#"{"v":1,"verb":"STATUS"}"#, FaultCode::UnknownVerb, "status, sessions, kill"),
            (r#"{"v":1,"verb":"status","role":"a"}"#, FaultCode::Malformed, "nothing beside"),
            (r#"{"v":1,"verb":"status","wait":true}"#, FaultCode::Malformed, "wait beside drain alone"),
            (r#"{"v":1,"verb":"status","x":1}"#, FaultCode::Malformed, "unknown field"),
            (r#"{"v":1,"verb":"kill"}"#, FaultCode::Malformed, "one of id, role and cert"),
            (r#"{"v":1,"verb":"kill","id":"a","role":"b"}"#, FaultCode::Malformed, "one of id, role and cert"),
            (r#"{"v":1,"verb":"kill","cert":"9f"}"#, FaultCode::Malformed, "64 digits"),
        ] {
            let fault = Request::parse(line.as_bytes()).unwrap_err();
            assert_eq!(fault.code, code, "{line}");
            assert!(fault.message.contains(said), "{line}: {fault}");
        }
    }
}
