//! Certificates for those who have no CA: two private ones, what they issue and revoke, and a look at any certificate as Postern sees it.
//!
//! Servers and clients have a CA each. Who may say "I am the database" and who may say "I am alice" are different powers, and a
//! server's certificate must never log in. Nothing here is ever overwritten but what is made to be replaced, the revocation lists: a
//! certificate that is renewed gets files of its own beside the old ones.
//!
//! The folder: `server-ca.crt`, `server-ca.key`, `server-ca.crl`, `client-ca.crt`, `client-ca.key`, `client-ca.crl`; with an
//! intermediate CA `server-root.crt`, `server-root.key`, `client-root.crt` and `client-root.key` too; `server.crt`, `server.key`;
//! `NAME.crt`, `NAME.key` for each client, and `NAME-2.crt` and so on for what was issued later; `index.jsonl`, which tells of all
//! that was issued and revoked; and `issued/SERIAL.crt`, a copy of everything that the two CAs have signed, so that what a lost key
//! can still do is known after its files are gone. Who changes anything holds a lock on the folder.

mod authority;
mod crl;
mod date;
mod error;
mod files;
mod folder;
mod index;
mod init;
mod issue;
mod key;
mod name;
mod revoke;
pub mod show;

pub use crl::{CRL_DAYS, CrlPart, ROOT_CRL_DAYS, WrittenCrl, write_crls};
pub use date::date;
pub use error::PkiError;
pub use folder::{Folder, Place, Purpose};
pub use index::{Entry, Kind, Reason, Revocation, list, newest};
pub use init::{CA_DAYS, Founding, init};
pub use issue::{CLIENT_DAYS, Issued, Order, SERVER_DAYS, issue_client, issue_server};
pub use key::{KeyKind, UnknownName};
pub use name::{AuthorityName, ClientName, HostName, NameError, OtherName};
pub use revoke::{Revokee, SerialDigits, revoke};
