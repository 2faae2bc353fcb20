//! How a client is introduced to the backend: startup parameters of Postern's own, which PostgreSQL shows to those who look.
//!
//! They are sent last. PostgreSQL takes what `options` says first, then the packet's parameters in their order, and of two values the
//! later one (src/backend/utils/init/postinit.c, process_startup_options): nothing that a client sends at startup can win over them.
//! Afterwards they are settings as any other, which the session can change; nothing may be authorised by them.

use std::net::IpAddr;

use crate::identity::{ClientIdentity, ClientName};
use crate::types::MAX_NAME_LENGTH;
use crate::wire::{ReplicationParameter, StartupMessage};

/// `backend.identity`: by what the backend learns who the client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Introduction {
    /// By nothing but the role.
    None,
    /// By `application_name`: `NAME@ADDRESS APPLICATION`.
    ApplicationName,
    /// By the settings `postern.identity` and `postern.address`.
    Guc,
}

impl Introduction {
    /// The parameters, in the order in which they go behind the client's own. `clientname` is the name that the rule compared.
    pub fn parameters(
        self,
        identity: &ClientIdentity,
        clientname: ClientName,
        address: IpAddr,
        startup: &StartupMessage,
    ) -> Vec<(&'static str, Vec<u8>)> {
        let name = |clientname| identity.name(clientname).unwrap_or(identity.subject()).as_bytes();
        match (self, startup.replication()) {
            // A standby's and a subscription's application_name is its name in synchronous_standby_names.
            (Self::None, _) | (Self::ApplicationName, ReplicationParameter::Physical | ReplicationParameter::Database) => Vec::new(),
            (Self::ApplicationName, ReplicationParameter::Off) => {
                let own = startup.parameters().iter().filter(|(key, _)| key.eq_ignore_ascii_case(APPLICATION_NAME.as_bytes())).last();
                vec![(APPLICATION_NAME, application_name(name(clientname), address, own.map_or(b"", |(_, value)| value)))]
            }
            (Self::Guc, _) => {
                // PostgreSQL's own word for who somebody is by a certificate is the whole subject, also where the CN is compared
                // (src/backend/libpq/auth.c, CheckCertAuth).
                let whole = match clientname {
                    ClientName::CommonName | ClientName::DistinguishedName => ClientName::DistinguishedName,
                    ClientName::Uri | ClientName::Dns | ClientName::Email => clientname,
                };
                vec![("postern.identity", name(whole).to_vec()), ("postern.address", address.to_string().into_bytes())]
            }
        }
    }
}

const APPLICATION_NAME: &str = "application_name";

/// What stands in the place of a name's end that was cut off.
const CUT: &[u8] = b"...";

/// The name and the address, then what the client calls itself, in the 63 bytes that PostgreSQL keeps. The client's part begins behind
/// the first space, for there is none before it; PostgreSQL cleans it as ever.
fn application_name(name: &[u8], address: IpAddr, own: &[u8]) -> Vec<u8> {
    let address = address.to_string();
    let room = MAX_NAME_LENGTH.saturating_sub(address.len()).saturating_sub(1);
    let mut text: Vec<u8> = name.iter().flat_map(|byte| shown(*byte)).collect();
    if text.len() > room {
        text.truncate(room.saturating_sub(CUT.len()));
        text.extend_from_slice(CUT);
    }
    text.push(b'@');
    text.extend_from_slice(address.as_bytes());
    if !own.is_empty() {
        text.push(b' ');
        text.extend_from_slice(own);
    }
    text.truncate(MAX_NAME_LENGTH);
    text
}

/// A byte of a name: printable ASCII but space and backslash as it is, any other as PostgreSQL 16 and newer show it in
/// application_name (src/common/string.c, pg_clean_ascii).
fn shown(byte: u8) -> Vec<u8> {
    if byte.is_ascii_graphic() && byte != b'\\' { vec![byte] } else { format!("\\x{byte:02x}").into_bytes() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown_as(name: &str, address: &str, own: &str) -> String {
        String::from_utf8(application_name(name.as_bytes(), address.parse().unwrap(), own.as_bytes())).unwrap()
    }

    #[test]
    fn who_and_whence_come_before_what_the_client_calls_itself() {
        assert_eq!(shown_as("alice", "10.1.2.3", "psql"), "alice@10.1.2.3 psql");
        assert_eq!(shown_as("alice", "fd00::7", ""), "alice@fd00::7");
    }

    #[test]
    fn nothing_before_the_first_space_is_the_clients() {
        assert_eq!(shown_as("al ice", "10.1.2.3", "bob@10.9.9.9 psql"), r"al\x20ice@10.1.2.3 bob@10.9.9.9 psql");
        assert_eq!(shown_as("\u{e4}\\\n", "10.1.2.3", "x"), r"\xc3\xa4\x5c\x0a@10.1.2.3 x");
    }

    #[test]
    fn it_is_cut_to_63_bytes_and_the_address_is_never_lost() {
        let long = "a".repeat(100);
        let address = "2001:db8:1111:2222:3333:4444:5555:6666";
        assert_eq!(shown_as(&long, address, &long), format!("{}...@{address}", "a".repeat(21)));
        let cut = shown_as("alice", "10.1.2.3", &long);
        assert_eq!((cut.len(), &cut[..16]), (63, "alice@10.1.2.3 a"));
    }
}
