//! How the backend is reached, as the operator wrote it.

use std::path::PathBuf;
use std::time::Duration;

use super::{BackendTarget, Introduction, LookupSettings};

/// Where PostgreSQL listens, how long to wait for it, and who it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendSettings {
    /// Its address on this machine.
    pub target: BackendTarget,
    /// `backend.host` and `backend.port` as they were written, which lines of a password file are for.
    pub host: String,
    /// The port, as for `host`.
    pub port: u16,
    /// A password file, for a backend that asks for SCRAM-SHA-256.
    pub passfile: Option<PathBuf>,
    /// The longest that a connect may take.
    pub connect_timeout: Duration,
    /// The OS user that the server's end of the Unix socket must run as (libpq's requirepeer); `None` is not checked.
    pub require_peer: Option<u32>,
    /// How the backend learns who a client is.
    pub identity: Introduction,
    /// As whom memberships are asked; `None` cannot ask.
    pub lookup: Option<LookupSettings>,
}

#[cfg(test)]
impl BackendSettings {
    /// Settings for tests that reach no backend.
    pub(crate) fn nowhere() -> Self {
        Self {
            target: BackendTarget::Unix("/nowhere/.s.PGSQL.5432".into()),
            host: "/nowhere".to_owned(),
            port: 5432,
            passfile: None,
            connect_timeout: Duration::from_secs(5),
            require_peer: None,
            identity: Introduction::None,
            lookup: None,
        }
    }
}
