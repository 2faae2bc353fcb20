//! How many may come in, and how often an address may fail: admission, handed down as values.
//!
//! Three questions, three answers: who waits to log in (the oldest gives way), who has a session (the limit refuses), and which
//! address fails too often (it is slowed, never shut out).

mod failures;
mod handshakes;
mod sessions;

pub use failures::{FailureBudget, Turn};
pub use handshakes::{GiveWay, Handshakes, Waiting};
pub use sessions::{SessionLimits, SessionPermit, SessionSlots, Wanted};
