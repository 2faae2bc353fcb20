//! The words of pg_hba.conf's and pg_ident.conf's columns, as the list of the configuration and the files themselves have them
//! (src/backend/libpq/hba.c, parse_hba_line, parse_ident_line).

use std::net::IpAddr;

use ipnet::IpNet;

use super::reader::{Read, Wrong};
use crate::policy::{AddressPattern, DatabasePattern, MapName, Pattern, PgUser, SystemUser, UserPattern};
use crate::types::{DatabaseName, MAX_NAME_LENGTH, RoleName};

/// One word of a column.
#[derive(Clone, Copy)]
pub(super) struct Word<'a> {
    pub(super) text: &'a [u8],
    /// It begins with a quote, which takes the meaning of keywords, `+` and `@` away, and not that of `/`.
    pub(super) quoted: bool,
}

/// Whether memberships can be asked for: words that depend on them are faults where they cannot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lookup {
    Possible,
    Impossible,
}

impl Lookup {
    /// Whether there is a role to ask as. Where that is not known, another fault says so.
    pub(super) const fn with(role: bool) -> Self {
        if role { Self::Possible } else { Self::Impossible }
    }
}

impl<'a> Word<'a> {
    /// A text of the configuration, where quotes belong to the text only if they are written inside YAML's own: `'"all"'`.
    pub(super) fn of(text: &'a str) -> Self {
        match text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
            Some(inside) => Self { text: inside.as_bytes(), quoted: true },
            None => Self { text: text.as_bytes(), quoted: false },
        }
    }

    fn is(self, keyword: &str) -> bool {
        !self.quoted && self.text == keyword.as_bytes()
    }

    /// What stands behind the slash of a regular expression.
    fn expression(self, expected: &str) -> Read<Option<Pattern>> {
        let Some(source) = self.text.strip_prefix(b"/") else { return Ok(None) };
        let outside = |fault| {
            let advice = "write it with literals, sets, groups, | ^ $ and greedy quantifiers";
            Wrong::new(expected, advice).which(format!("a regular expression that {fault}"))
        };
        Pattern::parse(source).map(Some).map_err(outside)
    }

    /// What stands behind the `+` of a group.
    fn group(self, expected: &str, lookup: Lookup) -> Read<Option<RoleName>> {
        let Some(name) = self.text.strip_prefix(b"+").filter(|_| !self.quoted) else { return Ok(None) };
        possible(expected, lookup)?;
        role(name, expected).map(Some)
    }
}

/// An entry of the database column.
pub(super) fn database(word: Word<'_>, lookup: Lookup) -> Read<DatabasePattern> {
    let expected = "a database's name, all, sameuser, samerole, replication or /REGEX";
    if word.is("all") {
        return Ok(DatabasePattern::All);
    }
    if word.is("sameuser") {
        return Ok(DatabasePattern::SameUser);
    }
    if word.is("samerole") || word.is("samegroup") {
        return possible(expected, lookup).map(|()| DatabasePattern::SameRole);
    }
    if word.is("replication") {
        return Ok(DatabasePattern::Replication);
    }
    if let Some(pattern) = word.expression(expected)? {
        return Ok(DatabasePattern::Matching(pattern));
    }
    DatabaseName::exact(word.text).map(DatabasePattern::Name).ok_or_else(|| no_name(word.text, expected))
}

/// An entry of the user column.
pub(super) fn user(word: Word<'_>, lookup: Lookup) -> Read<UserPattern> {
    let expected = "a role's name, all, +ROLE or /REGEX";
    if word.is("all") {
        return Ok(UserPattern::All);
    }
    if let Some(role) = word.group(expected, lookup)? {
        return Ok(UserPattern::Group(role));
    }
    if let Some(pattern) = word.expression(expected)? {
        return Ok(UserPattern::Matching(pattern));
    }
    role(word.text, expected).map(UserPattern::Name)
}

/// An entry of the SYSTEM-USERNAME column.
pub(super) fn system_user(word: Word<'_>) -> Read<SystemUser> {
    let expected = "a certificate's name or /REGEX";
    match word.expression(expected)? {
        Some(pattern) => Ok(SystemUser::Matching(pattern)),
        None if word.text.is_empty() => Err(Wrong::new(expected, "write a name").which("which no certificate has")),
        None => Ok(SystemUser::Name(word.text.into())),
    }
}

/// An entry of the PG-USERNAME column, beside this one of the other.
pub(super) fn pg_user(word: Word<'_>, system_user: Option<&SystemUser>, lookup: Lookup) -> Read<PgUser> {
    let expected = "a role's name, all, +ROLE, /REGEX, or \\1 for what the first group took";
    if word.is("all") {
        return Ok(PgUser::All);
    }
    if let Some(role) = word.group(expected, lookup)? {
        return Ok(PgUser::Group(role));
    }
    if let Some(pattern) = word.expression(expected)? {
        return Ok(PgUser::Matching(pattern));
    }
    let place = word.text.windows(2).position(|pair| pair == b"\\1");
    if let (Some(place), Some(SystemUser::Matching(pattern))) = (place, system_user) {
        let uncertain = |fault| Wrong::new(expected, "or name the role").which(format!("beside a regular expression that {fault}"));
        pattern.certain_capture().map_err(uncertain)?;
        let (before, rest) = word.text.split_at_checked(place).unwrap_or_default();
        return Ok(PgUser::Template { before: before.into(), after: rest.get(2..).unwrap_or_default().into() });
    }
    role(word.text, expected).map(PgUser::Name)
}

/// A map's name.
pub(super) fn map_name(text: &[u8]) -> Read<MapName> {
    let name = str::from_utf8(text).ok().filter(|name| !name.contains('\0')).and_then(MapName::new);
    name.ok_or_else(|| Wrong::new("a map's name", "write a name in UTF-8 that is not empty"))
}

/// The address column where it is one word: a keyword or a CIDR block. As PostgreSQL, bits behind the mask are ignored.
pub(super) fn address(word: Word<'_>) -> Read<AddressPattern> {
    let wrong = |advice: &str| Wrong::new("a CIDR block, all, samehost or samenet", advice);
    for (keyword, pattern) in [("all", AddressPattern::All), ("samehost", AddressPattern::SameHost), ("samenet", AddressPattern::SameNet)] {
        if word.is(keyword) {
            return Ok(pattern);
        }
    }
    let text = str::from_utf8(word.text).unwrap_or_default();
    if let Ok(address) = text.parse::<IpAddr>() {
        let bits = if address.is_ipv6() { 128 } else { 32 };
        return Err(wrong(&format!("write {address}/{bits} for this address alone")).which("which has no mask"));
    }
    let Some((host, bits)) = text.split_once('/') else {
        return Err(wrong("write its address: names are not looked up").which("which is a name"));
    };
    let Ok(address) = host.parse::<IpAddr>() else {
        return Err(wrong("write 10.0.0.0/8, \"fd00::/8\" or all").which("which does not begin with an IP address"));
    };
    let bits = bits.parse::<u8>().ok().filter(|_| bits.bytes().all(|byte| byte.is_ascii_digit()));
    match bits.and_then(|bits| IpNet::new(address, bits).ok()) {
        Some(network) => block(network),
        None if address.is_ipv4() => Err(wrong("write a mask from 0 to 32").which("whose mask is out of range")),
        None => Err(wrong("write a mask from 0 to 128").which("whose mask is out of range")),
    }
}

/// The address column where it is two words: an address and its mask.
pub(super) fn masked(address: IpAddr, mask: &[u8]) -> Read<AddressPattern> {
    let wrong = |advice: &str| Wrong::new("a mask of the address's family", advice);
    let mask: IpAddr = str::from_utf8(mask).ok().and_then(|mask| mask.parse().ok()).ok_or_else(|| wrong("write it as 255.255.255.0"))?;
    if mask.is_ipv4() != address.is_ipv4() {
        return Err(wrong("write a mask of the same family").which("which is of the other family"));
    }
    let network = IpNet::with_netmask(address, mask).map_err(|_| wrong("write one line for each block").which("which has a gap"))?;
    block(network)
}

fn block(network: IpNet) -> Read<AddressPattern> {
    let mapped = match network.addr() {
        IpAddr::V4(_) => false,
        IpAddr::V6(v6) => v6.to_ipv4_mapped().is_some(),
    };
    if mapped {
        let which = "which no client matches: its IPv4 address is judged as such";
        return Err(Wrong::new("a CIDR block, all, samehost or samenet", "write the IPv4 block").which(which));
    }
    Ok(AddressPattern::Network(network.trunc()))
}

fn role(name: &[u8], expected: &str) -> Read<RoleName> {
    RoleName::exact(name).ok_or_else(|| no_name(name, expected))
}

fn possible(expected: &str, lookup: Lookup) -> Read<()> {
    match lookup {
        Lookup::Possible => Ok(()),
        Lookup::Impossible => {
            let which = "which depends on role memberships, and there is no role to ask for them as";
            Err(Wrong::new(expected, "set backend.lookup_role, or name the roles").which(which))
        }
    }
}

fn no_name(name: &[u8], expected: &str) -> Wrong {
    if name.len() > MAX_NAME_LENGTH {
        // PostgreSQL cuts the name that a client asks for, not the rule's: the rule would match nobody.
        Wrong::new(expected, "cut it to 63 bytes, as PostgreSQL cut the name").which("which is longer than 63 bytes")
    } else {
        Wrong::new(expected, "write a name of 1 to 63 bytes without NUL")
    }
}
