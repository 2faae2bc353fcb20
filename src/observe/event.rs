//! Everything that the daemon can say happened, in one enum.
//!
//! Past tense and plain data: no formatting, no sink, no clock. Each consumer in `observe/` matches it without a wildcard,
//! so that a new event does not compile until log and audit have each decided about it.

use std::io;
use std::path::Path;

use super::report::{CancelReport, RefusalReport, SessionOpening, SessionReport};

/// One thing that happened.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// The configuration is loaded and every socket is bound. The first event of a process.
    DaemonStarted {
        /// Postern's version.
        version: &'a str,
        /// The addresses that are listened on, as configured.
        listen: &'a [String],
        /// The configuration file.
        config: &'a Path,
        /// What the operator should know about this configuration although it is no fault, a sentence each.
        notices: &'a [String],
    },
    /// A socket accepts connections.
    Listening {
        /// The address that the kernel gave it.
        address: &'a str,
    },
    /// `accept(2)` failed: descriptors or memory have run out, mostly.
    AcceptFailed {
        /// What the kernel said.
        error: &'a io::Error,
    },
    /// HUP came, and this version cannot reload.
    ReloadIgnored,
    /// The daemon was told to stop, and no longer listens.
    DaemonStopping,
    /// A connection ended before it became a session.
    ConnectionRefused(&'a RefusalReport),
    /// The backend accepted the login; nothing of that is forwarded before the event is recorded.
    SessionStarted(&'a SessionOpening),
    /// A session is over, both sides of it.
    SessionEnded(&'a SessionReport),
    /// A CancelRequest was read and dealt with.
    CancelHandled(&'a CancelReport),
    /// The audit sink began to fail. Said once, not for each record.
    AuditFailed {
        /// What the kernel said.
        error: &'a str,
    },
    /// The audit sink writes again, and a gap record stands in the trail.
    AuditRecovered {
        /// How many records were not written.
        lost: u64,
    },
}
