//! Why a connection was refused and why a session ended, and what each reader is told: the client, the operator, the counter.

mod backend;
mod limit;
mod password;
mod proxy;
mod reason;
mod session;
mod tls;
mod withdrawal;

pub use backend::BackendFailure;
pub use limit::Limit;
pub use password::PasswordFault;
pub use proxy::ProxyFault;
pub use reason::{Blame, EndReason, Reason};
pub use session::SessionError;
pub use tls::TlsFailure;
pub use withdrawal::Withdrawal;
