//! The one PostgreSQL behind Postern: where it is, how it is reached, who must be at the other end.

mod connect;
mod introduction;
mod look;
mod passfile;
mod scram;
mod settings;
mod target;

pub use connect::{BackendStream, connect, forward_cancel};
pub use introduction::Introduction;
pub use look::look;
pub use passfile::{Passfile, PassfileFault, Password, Wanted};
pub use scram::Exchange;
pub use settings::BackendSettings;
pub use target::{BackendTarget, NotLocal};
