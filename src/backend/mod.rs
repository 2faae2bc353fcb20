//! The one PostgreSQL behind Postern: where it is, how it is reached, who must be at the other end.

mod connect;
mod target;

pub use connect::{BackendStream, connect, forward_cancel};
pub use target::{BackendTarget, NotLocal};

use std::time::Duration;

/// How the backend is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendSettings {
    /// Where it listens.
    pub target: BackendTarget,
    /// The time from the first connect to its AuthenticationOk.
    pub connect_timeout: Duration,
    /// The user ID that the server's end of a Unix socket must run as (libpq's `requirepeer`).
    pub require_peer: Option<u32>,
}
