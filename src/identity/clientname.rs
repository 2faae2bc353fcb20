//! Which of a certificate's names a rule compares with the role: pg_hba.conf's `clientname`, and the names of subjectAltName besides.
//!
//! Each kind stands for itself: none is a fallback for another, and a certificate with two names of one kind has none of that kind.

use std::fmt;

use x509_parser::extensions::GeneralName;

use super::name::NameFault;

/// The kind of name that a rule compares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ClientName {
    /// `CN`: the subject's common name.
    #[default]
    CommonName,
    /// `DN`: the subject as RFC 2253 text, in PostgreSQL's form.
    DistinguishedName,
    /// `SAN-URI`: the uniformResourceIdentifier of subjectAltName, such as a SPIFFE ID.
    Uri,
    /// `SAN-DNS`: its dNSName.
    Dns,
    /// `SAN-EMAIL`: its rfc822Name.
    Email,
}

impl ClientName {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::CommonName, Self::DistinguishedName, Self::Uri, Self::Dns, Self::Email];

    /// The word in a rule.
    pub const fn word(self) -> &'static str {
        match self {
            Self::CommonName => "CN",
            Self::DistinguishedName => "DN",
            Self::Uri => "SAN-URI",
            Self::Dns => "SAN-DNS",
            Self::Email => "SAN-EMAIL",
        }
    }
}

/// Why a certificate has no name of the kind that a rule compares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnusableName {
    /// The kind.
    pub clientname: ClientName,
    /// What is wrong with it.
    pub fault: NameFault,
}

impl fmt::Display for UnusableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = self.clientname.word();
        match (self.clientname, &self.fault) {
            (ClientName::CommonName, fault) => fault.fmt(f),
            (ClientName::DistinguishedName, _) => write!(f, "client certificate contains no user name: its subject is empty"),
            (_, NameFault::Missing) => write!(f, "client certificate contains no user name: it has no {word}"),
            (_, NameFault::Ambiguous) => write!(f, "client certificate has more than one {word}"),
            (_, NameFault::Encoding(_)) => write!(f, "client certificate's {word} is not plain text"),
            (_, NameFault::Control) => write!(f, "client certificate's {word} contains a control character"),
            (_, NameFault::Empty) => write!(f, "client certificate contains no user name: its {word} is empty"),
        }
    }
}

/// The one name of each kind in subjectAltName (RFC 5280 section 4.2.1.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AlternativeNames {
    pub(super) uri: Result<Box<str>, NameFault>,
    pub(super) dns: Result<Box<str>, NameFault>,
    pub(super) email: Result<Box<str>, NameFault>,
}

impl Default for AlternativeNames {
    fn default() -> Self {
        let missing = || Err(NameFault::Missing);
        Self { uri: missing(), dns: missing(), email: missing() }
    }
}

impl AlternativeNames {
    /// Those in `names`.
    pub(super) fn of(names: &[GeneralName<'_>]) -> Self {
        let mut found = Self::default();
        for name in names {
            match name {
                GeneralName::URI(name) => add(&mut found.uri, name.as_bytes()),
                GeneralName::DNSName(name) => add(&mut found.dns, name.as_bytes()),
                GeneralName::RFC822Name(name) => add(&mut found.email, name.as_bytes()),
                // What is not even UTF-8.
                GeneralName::Invalid(tag, octets) => match tag.0 {
                    1 => add(&mut found.email, octets),
                    2 => add(&mut found.dns, octets),
                    6 => add(&mut found.uri, octets),
                    _ => {}
                },
                GeneralName::IPAddress(_)
                | GeneralName::DirectoryName(_)
                | GeneralName::OtherName(..)
                | GeneralName::X400Address(_)
                | GeneralName::EDIPartyName(_)
                | GeneralName::RegisteredID(_) => {}
            }
        }
        found
    }
}

fn add(place: &mut Result<Box<str>, NameFault>, octets: &[u8]) {
    *place = if *place == Err(NameFault::Missing) { plain(octets) } else { Err(NameFault::Ambiguous) };
}

/// The name as text: an IA5String is ASCII, and a control character in it could be read in two ways.
fn plain(octets: &[u8]) -> Result<Box<str>, NameFault> {
    let text = str::from_utf8(octets).ok().filter(|text| text.is_ascii()).ok_or(NameFault::Encoding("IA5String"))?;
    match text {
        "" => Err(NameFault::Empty),
        text if text.bytes().any(|byte| byte < 0x20 || byte == 0x7f) => Err(NameFault::Control),
        text => Ok(text.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::testing::identity_with_names;

    const URI: u8 = 0x86;
    const DNS: u8 = 0x82;
    const EMAIL: u8 = 0x81;

    fn name_of(names: &[(u8, &[u8])], kind: ClientName) -> Result<String, NameFault> {
        identity_with_names("alice", names).name(kind).map(str::to_owned).map_err(|unusable| unusable.fault)
    }

    #[test]
    fn each_kind_of_name_stands_for_itself() {
        let names: &[(u8, &[u8])] = &[(URI, b"spiffe://td/alice"), (DNS, b"alice.example"), (EMAIL, b"alice@example.com")];
        let found: Vec<_> = ClientName::ALL.iter().map(|kind| name_of(names, *kind).unwrap()).collect();
        assert_eq!(found, ["alice", "CN=alice", "spiffe://td/alice", "alice.example", "alice@example.com"]);
        for kind in [ClientName::Dns, ClientName::Email] {
            assert_eq!(name_of(&[(URI, b"spiffe://td/alice")], kind), Err(NameFault::Missing));
        }
    }

    #[test]
    fn two_names_of_one_kind_are_none() {
        let names: &[(u8, &[u8])] = &[(URI, b"spiffe://td/alice"), (DNS, b"a"), (URI, b"spiffe://td/alice")];
        assert_eq!(name_of(names, ClientName::Uri), Err(NameFault::Ambiguous));
        assert_eq!(name_of(names, ClientName::Dns).as_deref(), Ok("a"));
        assert_eq!(name_of(&[(DNS, b""), (DNS, b"a")], ClientName::Dns), Err(NameFault::Ambiguous));
    }

    #[test]
    fn a_name_that_can_be_read_in_two_ways_is_none() {
        assert_eq!(name_of(&[(DNS, b"alice\0.example")], ClientName::Dns), Err(NameFault::Control));
        assert_eq!(name_of(&[(DNS, b"")], ClientName::Dns), Err(NameFault::Empty));
        assert_eq!(name_of(&[(URI, b"spiffe://td/\xff")], ClientName::Uri), Err(NameFault::Encoding("IA5String")));
        assert_eq!(name_of(&[(EMAIL, "søren@example.com".as_bytes())], ClientName::Email), Err(NameFault::Encoding("IA5String")));
    }
}
