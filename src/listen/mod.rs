//! The sockets that clients connect to, and the loop that accepts from them.

mod accept;
mod inherited;
mod tcp;

pub use accept::accept_all;
pub use inherited::{InheritError, Inherited};
pub use tcp::{BindError, adopt, bind};
