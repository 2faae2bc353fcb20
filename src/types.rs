//! Words that every floor shares: names as PostgreSQL knows them, where a peer is, which session is meant.
//!
//! Text from outside becomes one of these types at the edge; after that nobody checks it again.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use time::OffsetDateTime;
use ulid::Ulid;

/// The longest name PostgreSQL keeps, in bytes: `NAMEDATALEN - 1` (src/include/pg_config_manual.h).
pub const MAX_NAME_LENGTH: usize = 63;

/// A role's name as the backend will see it: 1 to 63 bytes, no NUL, in no particular encoding.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RoleName(Box<[u8]>);

/// A database's name as the backend will see it: 1 to 63 bytes, no NUL, in no particular encoding.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DatabaseName(Box<[u8]>);

macro_rules! name_type {
    ($name:ident) => {
        impl $name {
            /// The name, cut to 63 bytes as PostgreSQL cuts it before any comparison
            /// (src/backend/tcop/backend_startup.c, ProcessStartupPacket). `None` if it is empty or holds a NUL.
            pub fn truncated(bytes: &[u8]) -> Option<Self> {
                let kept = bytes.get(..MAX_NAME_LENGTH).unwrap_or(bytes);
                (!kept.is_empty() && !kept.contains(&0)).then(|| Self(kept.into()))
            }

            /// The name as it stands in a rule, which PostgreSQL does not cut: `None` if it is empty, longer than 63 bytes, or holds a NUL.
            pub fn exact(bytes: &[u8]) -> Option<Self> {
                Self::truncated(bytes).filter(|name| name.0.len() == bytes.len())
            }

            /// The name's bytes.
            pub fn as_bytes(&self) -> &[u8] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0.escape_ascii(), f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "\"{self}\"")
            }
        }
    };
}

name_type!(RoleName);
name_type!(DatabaseName);

/// The name of a run-time setting (a GUC) as PostgreSQL compares it: in lower case (src/backend/utils/misc/guc.c, guc_name_compare).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SettingName(Box<str>);

impl SettingName {
    /// The name, under its present name where it is an old one (guc.c, map_old_guc_names).
    pub fn new(bytes: &[u8]) -> Self {
        let name = String::from_utf8_lossy(bytes).to_ascii_lowercase();
        match name.as_str() {
            "sort_mem" => Self("work_mem".into()),
            "vacuum_mem" => Self("maintenance_work_mem".into()),
            "ssl_ecdh_curve" => Self("ssl_groups".into()),
            _ => Self(name.into()),
        }
    }

    /// The name's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SettingName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0.escape_debug(), f)
    }
}

impl fmt::Debug for SettingName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// One connection's name in log and audit, unique over time (a ULID).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(Ulid);

impl SessionId {
    /// A new one: the time of the call and 80 random bits.
    pub fn generate() -> Self {
        Self(Ulid::generate())
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Where a client is, as rules and records see it. An IPv4 address that came through an IPv6 socket is IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerAddress(SocketAddr);

impl PeerAddress {
    /// The address in its canonical form.
    pub fn new(address: SocketAddr) -> Self {
        Self(SocketAddr::new(address.ip().to_canonical(), address.port()))
    }

    /// Address and port.
    pub fn socket_address(&self) -> SocketAddr {
        self.0
    }

    /// The IP address.
    pub fn ip(&self) -> IpAddr {
        self.0.ip()
    }

    /// The TCP port.
    pub fn port(&self) -> u16 {
        self.0.port()
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Seconds since 1970 as RFC 3339 in UTC, `2027-01-01T00:00:00Z`. `None` beyond the year 9999, which no certificate can state.
pub fn utc(unix: i64) -> Option<String> {
    let t = OffsetDateTime::from_unix_timestamp(unix).ok()?;
    Some(format!("{}T{:02}:{:02}:{:02}Z", t.date(), t.hour(), t.minute(), t.second()))
}

/// A span of seconds in its largest unit, `3 days`.
pub fn span(seconds: i64) -> String {
    let (count, unit) = match seconds {
        DAY.. => (seconds / DAY, "day"),
        HOUR.. => (seconds / HOUR, "hour"),
        MINUTE.. => (seconds / MINUTE, "minute"),
        _ => return "less than a minute".to_owned(),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

/// What ceases to be valid one day, and keeps clients out when it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExpiryKind {
    /// A certificate of the server's.
    Server,
    /// A CA of client certificates.
    ClientCa,
    /// A certificate revocation list.
    Crl,
}

impl ExpiryKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Server, Self::ClientCa, Self::Crl];

    /// The code in audit and metric label.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::ClientCa => "client_ca",
            Self::Crl => "crl",
        }
    }
}

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_cut_to_63_bytes_and_never_empty() {
        assert_eq!(RoleName::truncated(&[b'a'; 80]).map(|name| name.as_bytes().len()), Some(63));
        assert_eq!(RoleName::truncated(b""), None);
        assert_eq!(RoleName::truncated(b"a\0b"), None);
    }

    #[test]
    fn a_name_shows_control_bytes_escaped() {
        let name = RoleName::truncated(b"a\nb\x1b\xff");
        assert_eq!(name.map(|name| name.to_string()).as_deref(), Some(r"a\nb\x1b\xff"));
    }

    #[test]
    fn a_span_is_told_in_its_largest_unit() {
        let spans = [3 * DAY + HOUR, DAY, 5 * HOUR + 1, 61, 59, -1].map(span);
        assert_eq!(spans, ["3 days", "1 day", "5 hours", "1 minute", "less than a minute", "less than a minute"]);
    }

    #[test]
    fn a_moment_is_shown_in_utc_or_not_at_all() {
        assert_eq!(utc(1_798_761_600).as_deref(), Some("2027-01-01T00:00:00Z"));
        assert_eq!(utc(-1).as_deref(), Some("1969-12-31T23:59:59Z"));
        assert_eq!(utc(i64::MAX), None);
    }
}
