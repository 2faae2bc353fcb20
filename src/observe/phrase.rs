//! The phrases of log lines, in PostgreSQL's words: `host= port=`, `connection authorized:`, `session time:`.

use std::fmt;
use std::time::Duration;

use super::report::{StartupFacts, TlsFacts, Trail};
use super::text::{Quoted, Word};

/// `host= port=`.
pub(super) struct Host<'a>(pub &'a Trail);

/// What was asked for, and by whom: `user= database= identity=`, as far as known.
pub(super) struct Asked<'a>(pub &'a Trail);

/// The message that the client was sent.
pub(super) struct Told<'a>(pub Option<&'a [u8]>);

/// A word with its key, if there is one.
pub(super) struct Named<'a>(pub &'a str, pub Option<&'a [u8]>);

/// PostgreSQL's `connection authorized`; as there, a walsender's line has no database.
pub(super) struct Authorized<'a>(pub &'a Trail);

/// `H:MM:SS.mmm`, as PostgreSQL's log_disconnections.
pub(super) struct SessionTime(pub Duration);

impl fmt::Display for Host<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "host={} port={}", self.0.client.ip(), self.0.client.port())
    }
}

impl fmt::Display for Asked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(StartupFacts { user, database, .. }) = &self.0.startup {
            write!(f, " user={} database={}", Word(user), Word(database))?;
        }
        match &self.0.cert {
            Some(cert) => write!(f, " identity={}", Quoted(cert.subject.as_bytes())),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |message| write!(f, " message={}", Quoted(message)))
    }
}

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.1.map_or(Ok(()), |value| write!(f, " {}={}", self.0, Word(value)))
    }
}

impl fmt::Display for Authorized<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let replication = self.0.startup.as_ref().is_some_and(|startup| startup.replication.is_some());
        f.write_str(if replication { "replication connection authorized:" } else { "connection authorized:" })?;
        Named("user", self.0.decision.as_ref().map(|decision| decision.role.as_bytes())).fmt(f)?;
        if let Some(startup) = &self.0.startup {
            Named("database", Some(&*startup.database).filter(|_| !replication)).fmt(f)?;
            Named("application_name", startup.application_name.as_deref()).fmt(f)?;
        }
        match &self.0.tls {
            Some(TlsFacts { cipher, .. }) => {
                let bits = if cipher.contains("AES_128") { 128 } else { 256 };
                write!(f, " SSL enabled (protocol=TLSv1.3, cipher={cipher}, bits={bits})")
            }
            None => Ok(()),
        }
    }
}

impl fmt::Display for SessionTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        write!(f, "{}:{:02}:{:02}.{:03}", seconds / 3600, seconds / 60 % 60, seconds % 60, self.0.subsec_millis())
    }
}
