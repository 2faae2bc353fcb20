//! The first packet of a connection: SSLRequest, GSSENCRequest, CancelRequest or StartupMessage
//! (src/backend/tcop/backend_startup.c, ProcessStartupPacket).

use std::fmt;

use super::cancel::CANCEL_REQUEST_CODE;
use super::{CancelRequest, StartupParameters};
use crate::types::{DatabaseName, RoleName};

/// The longest packet behind the length word (src/include/libpq/pqcomm.h, MAX_STARTUP_PACKET_LENGTH).
pub const MAX_STARTUP_PACKET_LENGTH: usize = 10_000;
/// The shortest: a protocol version alone.
const MIN_STARTUP_PACKET_LENGTH: usize = 4;

/// 1234.5679 (src/include/libpq/pqcomm.h, NEGOTIATE_SSL_CODE).
const NEGOTIATE_SSL_CODE: u32 = 1234 << 16 | 5679;
/// 1234.5680 (src/include/libpq/pqcomm.h, NEGOTIATE_GSS_CODE).
const NEGOTIATE_GSS_CODE: u32 = 1234 << 16 | 5680;
/// The one major version that is served.
const SERVED_MAJOR: u16 = 3;

/// The length of the packet behind its length word.
///
/// # Errors
/// [`StartupError::Length`] before anything is allocated; PostgreSQL closes such a connection without a message.
pub fn body_length(word: [u8; 4]) -> Result<usize, StartupError> {
    let length = u32::from_be_bytes(word);
    usize::try_from(length)
        .ok()
        .and_then(|length| length.checked_sub(word.len()))
        .filter(|body| (MIN_STARTUP_PACKET_LENGTH..=MAX_STARTUP_PACKET_LENGTH).contains(body))
        .ok_or(StartupError::Length(length))
}

/// A protocol version: major and minor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProtocolVersion {
    /// 3 for all that is served.
    pub major: u16,
    /// 0 for every libpq before 18; 2 is the newest.
    pub minor: u16,
}

impl ProtocolVersion {
    /// What a second SSLRequest looks like as a version.
    pub const SSL_REQUEST: Self = Self::from_word(NEGOTIATE_SSL_CODE);
    /// What a second GSSENCRequest looks like as a version.
    pub const GSSENC_REQUEST: Self = Self::from_word(NEGOTIATE_GSS_CODE);

    const fn from_word(word: u32) -> Self {
        let [a, b, c, d] = word.to_be_bytes();
        Self { major: u16::from_be_bytes([a, b]), minor: u16::from_be_bytes([c, d]) }
    }

    fn to_word(self) -> u32 {
        u32::from(self.major) << 16 | u32::from(self.minor)
    }
}

impl fmt::Display for ProtocolVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// A startup packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartupPacket {
    /// A request for TLS.
    SslRequest,
    /// A request for GSSAPI encryption.
    GssEncRequest,
    /// A request to cancel what a session is doing.
    Cancel(CancelRequest),
    /// A request for a session.
    Startup(StartupMessage),
}

impl StartupPacket {
    /// The SSLRequest, length word included.
    pub const fn ssl_request() -> [u8; 8] {
        let ([a, b, c, d], [e, f, g, h]) = (8_u32.to_be_bytes(), NEGOTIATE_SSL_CODE.to_be_bytes());
        [a, b, c, d, e, f, g, h]
    }

    /// Reads the packet behind its length word.
    ///
    /// # Errors
    /// The first complaint that PostgreSQL would have, in its order: version, replication, layout, user.
    pub fn decode(body: &[u8]) -> Result<Self, StartupError> {
        let too_short = StartupError::Length(u32::try_from(body.len()).unwrap_or(u32::MAX));
        let Some((word, rest)) = body.split_first_chunk::<4>() else { return Err(too_short) };
        match u32::from_be_bytes(*word) {
            NEGOTIATE_SSL_CODE => Ok(Self::SslRequest),
            NEGOTIATE_GSS_CODE => Ok(Self::GssEncRequest),
            CANCEL_REQUEST_CODE => CancelRequest::decode(rest).map(Self::Cancel).ok_or(StartupError::CancelLength),
            word => StartupMessage::decode(ProtocolVersion::from_word(word), rest).map(Self::Startup),
        }
    }
}

/// The value of the `replication` parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplicationParameter {
    /// Absent, or false.
    Off,
    /// True: physical replication.
    Physical,
    /// `database`: logical replication.
    Database,
}

/// A request for a session, with what PostgreSQL makes of it before any rule is asked.
#[derive(Clone, PartialEq, Eq)]
pub struct StartupMessage {
    version: ProtocolVersion,
    parameters: StartupParameters,
    user: RoleName,
    database: DatabaseName,
    replication: ReplicationParameter,
}

impl StartupMessage {
    fn decode(version: ProtocolVersion, body: &[u8]) -> Result<Self, StartupError> {
        if version.major != SERVED_MAJOR {
            return Err(StartupError::Version(version));
        }
        let parameters = StartupParameters::decode(body).ok_or(StartupError::Layout)?;
        // PostgreSQL takes the last of several; what two readers may read differently is refused.
        for name in ["user", "database", "replication"] {
            if parameters.count(name.as_bytes()) > 1 {
                return Err(StartupError::Duplicate(name));
            }
        }
        let replication = parameters.value(b"replication").map_or(Ok(ReplicationParameter::Off), decode_replication)?;
        let user = parameters.value(b"user").and_then(RoleName::truncated).ok_or(StartupError::NoUser)?;
        let named = parameters.value(b"database").filter(|name| !name.is_empty()).unwrap_or(user.as_bytes());
        let database = DatabaseName::truncated(named).ok_or(StartupError::Layout)?;
        Ok(Self { version, parameters, user, database, replication })
    }

    /// The protocol version that the client asks for.
    pub fn version(&self) -> ProtocolVersion {
        self.version
    }

    /// All parameters as they came.
    pub fn parameters(&self) -> &StartupParameters {
        &self.parameters
    }

    /// The requested role, cut to 63 bytes.
    pub fn user(&self) -> &RoleName {
        &self.user
    }

    /// The requested database, cut to 63 bytes; the user's name if none or an empty one was given.
    pub fn database(&self) -> &DatabaseName {
        &self.database
    }

    /// Whether the client asks for a walsender.
    pub fn replication(&self) -> ReplicationParameter {
        self.replication
    }

    /// The packet for the backend, length word included: all parameters in their order, with `user` in the place of the client's,
    /// and the database as it was judged: neither a backend built with another NAMEDATALEN nor the default for a user that is not the
    /// client's can make it another. Behind them come those of `last`, which win over the client's of the same names.
    ///
    /// # Errors
    /// [`StartupError::Length`] if PostgreSQL would not read it to its end.
    pub fn encode_as(&self, user: &RoleName, last: &[(&'static str, Vec<u8>)]) -> Result<Vec<u8>, StartupError> {
        let mut packet = Vec::with_capacity(self.parameters.encoded_length().saturating_add(8));
        packet.extend_from_slice(&[0; 4]);
        packet.extend_from_slice(&self.version.to_word().to_be_bytes());
        for (name, value) in self.parameters.iter() {
            let value = match name {
                b"user" => user.as_bytes(),
                b"database" => self.database.as_bytes(),
                _ => value,
            };
            put_pair(&mut packet, name, value);
        }
        if *user != self.user && self.parameters.count(b"database") == 0 {
            put_pair(&mut packet, b"database", self.database.as_bytes());
        }
        last.iter().for_each(|(name, value)| put_pair(&mut packet, name.as_bytes(), value));
        packet.push(0);
        let word = u32::try_from(packet.len()).unwrap_or(u32::MAX).to_be_bytes();
        body_length(word)?;
        packet.splice(..4, word);
        Ok(packet)
    }
}

impl fmt::Debug for StartupMessage {
    /// Without the parameters' values: `options` can hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StartupMessage")
            .field("version", &self.version)
            .field("user", &self.user)
            .field("database", &self.database)
            .field("replication", &self.replication)
            .finish_non_exhaustive()
    }
}

/// A StartupMessage of Postern's own, length word included. Neither names nor values hold a NUL, and all of them fit.
pub fn startup_packet(parameters: &[(&'static str, &[u8])]) -> Vec<u8> {
    let mut packet = vec![0; 4];
    packet.extend_from_slice(&ProtocolVersion { major: SERVED_MAJOR, minor: 0 }.to_word().to_be_bytes());
    parameters.iter().for_each(|(name, value)| put_pair(&mut packet, name.as_bytes(), value));
    packet.push(0);
    packet.splice(..4, u32::try_from(packet.len()).unwrap_or(u32::MAX).to_be_bytes());
    packet
}

fn put_pair(packet: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    for field in [name, value] {
        packet.extend_from_slice(field);
        packet.push(0);
    }
}

fn decode_replication(value: &[u8]) -> Result<ReplicationParameter, StartupError> {
    if value == b"database" {
        return Ok(ReplicationParameter::Database);
    }
    match parse_bool(value) {
        Some(true) => Ok(ReplicationParameter::Physical),
        Some(false) => Ok(ReplicationParameter::Off),
        None => Err(StartupError::Replication(value.into())),
    }
}

/// As `parse_bool` (src/backend/utils/adt/bool.c): `1`, `0`, or any unambiguous beginning of true, false, yes, no, on, off.
fn parse_bool(value: &[u8]) -> Option<bool> {
    let begins =
        |word: &[u8], least: usize| value.len() >= least && word.get(..value.len()).is_some_and(|start| start.eq_ignore_ascii_case(value));
    if value == b"1" || begins(b"true", 1) || begins(b"yes", 1) || begins(b"on", 2) {
        Some(true)
    } else if value == b"0" || begins(b"false", 1) || begins(b"no", 1) || begins(b"off", 2) {
        Some(false)
    } else {
        None
    }
}

/// What is wrong with a startup packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartupError {
    /// The length word is below 8 or above 10 004: closed without a message.
    Length(u32),
    /// A CancelRequest whose key is not 4 to 256 bytes long: closed without a message.
    CancelLength,
    /// A major version other than 3, or a request where it has no place.
    Version(ProtocolVersion),
    /// Not name and value pairs with a terminator as the last byte.
    Layout,
    /// This parameter is given more than once.
    Duplicate(&'static str),
    /// `replication` is neither a boolean nor `database`.
    Replication(Box<[u8]>),
    /// No `user`, or an empty one.
    NoUser,
}

impl fmt::Display for StartupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length(length) => write!(f, "invalid length of startup packet: {length}"),
            Self::CancelLength => write!(f, "invalid length of cancel request packet"),
            Self::Version(version) => write!(f, "unsupported frontend protocol {version}"),
            Self::Layout => write!(f, "invalid startup packet layout: expected terminator as last byte"),
            Self::Duplicate(name) => write!(f, "startup packet gives the parameter \"{name}\" more than once"),
            Self::Replication(value) => write!(f, "invalid value for parameter \"replication\": \"{}\"", value.escape_ascii()),
            Self::NoUser => write!(f, "no PostgreSQL user name specified in startup packet"),
        }
    }
}

#[cfg(test)]
mod tests;
