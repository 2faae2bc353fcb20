//! Everything that the daemon can say happened, in one enum.
//!
//! Past tense and plain data: no formatting, no sink, no clock. Each consumer in `observe/` matches it without a wildcard,
//! so that a new event does not compile until log and audit have each decided about it.

use std::io;
use std::path::Path;
use std::time::Duration;

use super::hardening::Hardening;
use super::reload::{ExpiryReport, ReloadReport};
use super::report::{AdminReport, CancelReport, RefusalReport, SessionOpening, SessionReport};
use crate::types::SessionId;

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
        /// What the process gave up before.
        hardening: &'a Hardening,
    },
    /// A socket accepts connections.
    Listening {
        /// The address that the kernel gave it.
        address: &'a str,
    },
    /// The admin endpoint or the admin socket can be reached.
    AdminListening {
        /// Where.
        address: &'a str,
    },
    /// The backend did not answer when it was looked at, having answered before or never.
    BackendWentDown {
        /// What was wrong.
        error: &'a str,
    },
    /// The backend answers again.
    BackendCameUp,
    /// A session is over, and the backend does not leave what it did for it.
    BackendStaysAtWork {
        /// The session.
        session: SessionId,
        /// The backend's process.
        pid: u32,
    },
    /// A client's connection was accepted.
    ConnectionAccepted,
    /// A client's TLS handshake succeeded.
    TlsEstablished {
        /// How long it took.
        handshake: Duration,
    },
    /// The backend was reached, and has the StartupMessage.
    BackendConnected {
        /// How long it took.
        connect: Duration,
    },
    /// `accept(2)` failed: descriptors or memory have run out, mostly.
    AcceptFailed {
        /// What the kernel said.
        error: &'a io::Error,
        /// It was told already within this second.
        again: bool,
    },
    /// The configuration and its files were read again.
    Reloaded(&'a ReloadReport),
    /// A certificate or CRL of the files will soon expire, or has. Said once for each of its thresholds.
    Expiring(&'a ExpiryReport),
    /// HUP came when the daemon was told to stop already.
    ReloadIgnored,
    /// This daemon serves in the place of another, which has said that it leaves.
    TookOver {
        /// The other's process ID, if the kernel knows one.
        from: Option<i32>,
    },
    /// Another daemon serves in the place of this one.
    HandedOver {
        /// The other's process ID, if the kernel knows one.
        to: Option<i32>,
    },
    /// The daemon was told to let its sessions leave and then to stop.
    DrainStarted {
        /// How long it still accepts.
        delay: Duration,
        /// How long after that the sessions have.
        timeout: Duration,
    },
    /// The daemon ends what is left, and no longer listens.
    DaemonStopping,
    /// A connection ended before it became a session.
    ConnectionRefused(&'a RefusalReport),
    /// The backend accepted the login; nothing of that is forwarded before the event is recorded.
    SessionStarted(&'a SessionOpening),
    /// A session is over, both sides of it.
    SessionEnded(&'a SessionReport),
    /// A CancelRequest was read and dealt with.
    CancelHandled(&'a CancelReport),
    /// An operator asked something of the daemon through the admin socket, and was answered.
    AdminHandled(&'a AdminReport),
    /// A thread panicked: a fault of Postern's own. What it ended is told by an event of its own.
    Panicked {
        /// File, line and column.
        place: &'a str,
        /// What it said.
        message: &'a str,
    },
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
