//! The names that a certificate is issued for: a role's for a client, host names and addresses for a server.

use std::fmt;
use std::net::IpAddr;

use super::folder::{Purpose, Seat};

/// A role as it goes into a client certificate's CN: byte for byte what PostgreSQL will compare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientName(Box<str>);

/// A name or an address that clients connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostName {
    /// A DNS name, in which the first label may be `*`.
    Dns(Box<str>),
    /// An IP address.
    Address(IpAddr),
}

/// A further name in a client's certificate, for rules with a `clientname` of its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OtherName {
    /// A URI, such as `spiffe://example.org/billing`.
    Uri(Box<str>),
    /// A DNS name.
    Dns(Box<str>),
    /// An email address.
    Email(Box<str>),
}

/// Whose CAs they are: the first words of their subjects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorityName(Box<str>);

/// Why a name cannot be put into a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameError {
    /// It is empty.
    Empty,
    /// It is longer than PostgreSQL keeps: 63 bytes. Holds its length.
    TooLong(usize),
    /// It holds a control character, NUL being one.
    Control,
    /// It is no host name and no IP address. Says what is wrong with it.
    Host(&'static str),
    /// It is not what the option takes. Says what that is.
    Form(&'static str),
}

impl ClientName {
    /// Takes a role's name.
    ///
    /// # Errors
    /// It is empty, longer than a role's name can be, or holds a control character.
    pub fn parse(name: &str) -> Result<Self, NameError> {
        match name {
            "" => Err(NameError::Empty),
            // PostgreSQL cuts the requested role to 63 bytes but not the CN (hba.c, check_usermap): such a name never matches.
            _ if name.len() > crate::types::MAX_NAME_LENGTH => Err(NameError::TooLong(name.len())),
            _ if name.contains(char::is_control) => Err(NameError::Control),
            _ => Ok(Self(name.into())),
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as a file can bear it, before `.crt` and `.key`. Letters and digits of any script and `_ - + @ .` stand for
    /// themselves and every other byte is `%` and two hexadecimal digits, so that two names never share a file, none leaves its
    /// folder, hides in it or reads as an option, and none is a name that the folder uses itself.
    pub fn file_stem(&self) -> String {
        let reserved = RESERVED.iter().any(|name| self.0.eq_ignore_ascii_case(name));
        let mut stem = String::new();
        for (index, character) in self.0.char_indices() {
            let plain = character.is_alphanumeric() || "_+@".contains(character) || (index > 0 && "-.".contains(character));
            if plain && !(index == 0 && reserved) {
                stem.push(character);
            } else {
                let mut buffer = [0; 4];
                character.encode_utf8(&mut buffer).bytes().for_each(|byte| stem.push_str(&format!("%{byte:02X}")));
            }
        }
        stem
    }
}

impl HostName {
    /// Takes what a client writes after `host=`.
    ///
    /// # Errors
    /// It is neither a DNS name nor an IP address.
    pub fn parse(host: &str) -> Result<Self, NameError> {
        if host.is_empty() {
            return Err(NameError::Empty);
        }
        if let Ok(address) = host.parse() {
            return Ok(Self::Address(address));
        }
        if !host.is_ascii() {
            return Err(NameError::Host("it is not ASCII: write an internationalised name as DNS has it, xn--..."));
        }
        if host.contains([':', '/', '[', ']']) {
            return Err(NameError::Host("write the name or the address alone, without port, brackets or scheme"));
        }
        if host.len() > 253 {
            return Err(NameError::Host("a DNS name has at most 253 characters"));
        }
        let labels = host.strip_prefix("*.").unwrap_or(host);
        let label_is_good = |label: &str| {
            let characters = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
            (1..=63).contains(&label.len()) && characters && !label.starts_with('-') && !label.ends_with('-')
        };
        if !labels.split('.').all(label_is_good) {
            return Err(NameError::Host("a DNS name is labels of 1 to 63 letters, digits and hyphens with dots between them"));
        }
        // What ends in a number is an IPv4 address or a mistake, never a name (WHATWG URL; RFC 3696 section 2).
        if labels.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit())) {
            return Err(NameError::Host("it looks like an IPv4 address and is none"));
        }
        Ok(Self::Dns(host.into()))
    }
}

impl OtherName {
    /// Takes an absolute URI (RFC 3986 section 4.3; RFC 5280 section 4.2.1.6 takes no relative one).
    ///
    /// # Errors
    /// It is none.
    pub fn uri(text: &str) -> Result<Self, NameError> {
        let scheme = text.split_once(':').map(|(scheme, _)| scheme).unwrap_or_default();
        let letters = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
        let good = scheme.starts_with(|first: char| first.is_ascii_alphabetic()) && scheme.bytes().all(letters);
        let rest = text.get(scheme.len().saturating_add(1)..).unwrap_or_default();
        let written = text.bytes().all(|byte| byte.is_ascii_graphic() && !br#""<>\^`{|}"#.contains(&byte));
        if good && !rest.is_empty() && written && text.len() <= LONGEST {
            Ok(Self::Uri(text.into()))
        } else {
            Err(NameError::Form("expected an absolute URI in ASCII, such as spiffe://example.org/billing"))
        }
    }

    /// Takes a DNS name.
    ///
    /// # Errors
    /// It is none.
    pub fn dns(text: &str) -> Result<Self, NameError> {
        match HostName::parse(text)? {
            HostName::Dns(name) => Ok(Self::Dns(name)),
            HostName::Address(_) => Err(NameError::Host("expected a DNS name, found an IP address")),
        }
    }

    /// Takes an email address: a local part and a DNS name (RFC 5280 section 4.2.1.6).
    ///
    /// # Errors
    /// It is none.
    pub fn email(text: &str) -> Result<Self, NameError> {
        let (local, domain) = text.rsplit_once('@').unwrap_or_default();
        let letters = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&byte);
        if (1..=64).contains(&local.len()) && local.bytes().all(letters) && matches!(Self::dns(domain), Ok(Self::Dns(_))) {
            Ok(Self::Email(text.into()))
        } else {
            Err(NameError::Form("expected an email address in ASCII, such as alice@example.org"))
        }
    }
}

impl AuthorityName {
    /// Takes the first words of the CAs' subjects.
    ///
    /// # Errors
    /// It is empty or too long, or holds a control character.
    pub fn parse(name: &str) -> Result<Self, NameError> {
        match name.trim() {
            "" => Err(NameError::Empty),
            // X.520 allows 64 characters in a CN, and " server root CA" is to follow.
            name if name.chars().count() > 48 => Err(NameError::Form("expected at most 48 characters")),
            name if name.contains(char::is_control) => Err(NameError::Control),
            name => Ok(Self(name.into())),
        }
    }

    /// The common name of one of the CAs.
    pub(super) fn of(&self, seat: Seat) -> String {
        let kind = match (seat.purpose, seat.root) {
            (Purpose::Server, false) => "server CA",
            (Purpose::Client, false) => "client CA",
            (Purpose::Server, true) => "server root CA",
            (Purpose::Client, true) => "client root CA",
        };
        format!("{} {kind}", self.0)
    }
}

impl fmt::Display for ClientName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => f.write_str(name),
            Self::Address(address) => address.fmt(f),
        }
    }
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "it is empty"),
            Self::TooLong(length) => write!(f, "it has {length} bytes, and PostgreSQL's names have at most 63"),
            Self::Control => write!(f, "it holds a control character"),
            Self::Host(what) | Self::Form(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for NameError {}

/// File names that the folder uses itself, without their endings. Some file systems do not tell capitals from small letters.
const RESERVED: [&str; 5] = ["server", "server-ca", "client-ca", "server-root", "client-root"];

/// Longer than any name that is of use, and short enough for every reader.
const LONGEST: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn stem(name: &str) -> String {
        ClientName::parse(name).unwrap().file_stem()
    }

    #[test]
    fn a_plain_role_is_its_own_file_name() {
        for name in ["alice", "app_rw", "svc-billing", "a.b", "björn", "ops@example.org"] {
            assert_eq!(stem(name), name);
        }
    }

    #[test]
    fn a_role_never_leaves_the_folder_and_never_hides() {
        assert_eq!(stem("../etc/passwd"), "%2E.%2Fetc%2Fpasswd");
        assert_eq!(stem("."), "%2E");
        assert_eq!(stem("-rf"), "%2Drf");
        assert_eq!(stem("a b%20"), "a%20b%2520");
        assert_eq!(stem("it's"), "it%27s");
    }

    #[test]
    fn a_role_with_a_name_of_the_folders_own_gets_another_file() {
        assert_eq!(stem("server"), "%73erver");
        assert_eq!(stem("Client-CA"), "%43lient-CA");
        assert_eq!(stem("server-ca2"), "server-ca2");
    }

    #[test]
    fn names_that_can_never_log_in_are_refused() {
        assert_eq!(ClientName::parse(""), Err(NameError::Empty));
        assert_eq!(ClientName::parse(&"a".repeat(64)), Err(NameError::TooLong(64)));
        assert_eq!(ClientName::parse(&"ä".repeat(32)), Err(NameError::TooLong(64)));
        assert!(ClientName::parse(&"a".repeat(63)).is_ok());
        for name in ["a\0b", "a\nb", "\u{7f}", "\u{85}"] {
            assert_eq!(ClientName::parse(name), Err(NameError::Control), "{name:?}");
        }
    }

    #[test]
    fn further_names_have_the_form_of_their_kind() {
        for uri in ["spiffe://example.org/billing", "urn:uuid:f81d4fae", "https://a.b/c?d=e#f"] {
            assert_eq!(OtherName::uri(uri), Ok(OtherName::Uri(uri.into())));
        }
        for uri in ["", "x", "x:", ":x", "1x:y", "a b:c", "x:ä", "x:a b", "x:<y>", &format!("x:{}", "y".repeat(1100))] {
            assert!(OtherName::uri(uri).is_err(), "{uri:?}");
        }
        assert_eq!(OtherName::email("a.b+c@example.org"), Ok(OtherName::Email("a.b+c@example.org".into())));
        for address in ["", "a", "@b.c", "a@", "a@b c", "a b@c.d", "a@10.0.0.1", "ä@b.c"] {
            assert!(OtherName::email(address).is_err(), "{address:?}");
        }
        assert_eq!(OtherName::dns("a.example"), Ok(OtherName::Dns("a.example".into())));
        assert!(OtherName::dns("10.0.0.1").is_err());
    }

    #[test]
    fn the_cas_of_somebody_bear_his_name() {
        let name = AuthorityName::parse(" Example Ltd ").unwrap();
        assert_eq!(name.of(Seat::issuing(Purpose::Client)), "Example Ltd client CA");
        assert_eq!(name.of(Seat::root(Purpose::Server)), "Example Ltd server root CA");
        for name in ["", " ", "a\nb", &"a".repeat(49)] {
            assert!(AuthorityName::parse(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn hosts_are_names_or_addresses() {
        assert_eq!(HostName::parse("::1"), Ok(HostName::Address("::1".parse().unwrap())));
        assert_eq!(HostName::parse("10.0.0.1"), Ok(HostName::Address("10.0.0.1".parse().unwrap())));
        for name in ["localhost", "db.example.org", "*.example.org", "my_db", "xn--bcher-kva.example"] {
            assert_eq!(HostName::parse(name), Ok(HostName::Dns(name.into())));
        }
        for name in ["", "a..b", "db.example.", "-", "db:5432", "[::1]", "bücher.example", "a b", "1.2.3", "256.1.1.1", "a.*.b", "*"] {
            assert!(HostName::parse(name).is_err(), "{name:?}");
        }
    }
}
