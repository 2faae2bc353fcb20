//! Certificates for those who have no CA: two private ones, what they issue, and a look at any certificate as Postern sees it.
//!
//! Servers and clients have a CA each. Who may say "I am the database" and who may say "I am alice" are different powers, and a
//! server's certificate must never log in. Nothing here is ever overwritten: a name that is taken is refused, with what to do.
//!
//! The folder: `server-ca.crt`, `server-ca.key`, `client-ca.crt`, `client-ca.key`; `server.crt`, `server.key`; `NAME.crt`,
//! `NAME.key` for each client; and `issued/SERIAL.crt`, a copy of everything that the two CAs have signed, so that what a lost
//! key can still do is known after its files are gone. `client-ca.crl` is kept free for the revocation list.

mod authority;
mod error;
mod folder;
mod issue;
mod name;
pub mod show;

pub use error::PkiError;
pub use folder::{Folder, Purpose};
pub use issue::{CA_DAYS, CLIENT_DAYS, Issued, SERVER_DAYS, init, issue_client, issue_server};
pub use name::{ClientName, HostName, NameError};
