//! The one PostgreSQL behind Postern: where it is, how it is reached, who must be at the other end.

mod client;
mod connect;
mod introduction;
mod login;
mod look;
mod membership;
mod passfile;
mod scram;
mod settings;
mod target;

pub use client::{Client, Row, admits};
pub use connect::{BackendStream, connect, forward_cancel};
pub use introduction::Introduction;
pub use login::{Credentials, Login};
pub use look::look;
pub use membership::{Groups, LookupSettings, MembershipLookup};
pub use passfile::{Passfile, PassfileFault, Password, Wanted};
pub use scram::Exchange;
pub use settings::BackendSettings;
pub use target::{BackendTarget, NotLocal};
