//! Why a connection was refused and why a session ended, and what each reader is told: the client, the operator, the counter.

mod reason;
mod tls;

pub use reason::{Blame, EndReason, Reason};
pub use tls::TlsFailure;
