//! CancelRequest: the process ID and the secret key that BackendKeyData gave to the session.

use std::fmt;

/// The code in the place of a protocol version: 1234.5678 (src/include/libpq/pqcomm.h, CANCEL_REQUEST_CODE).
pub(super) const CANCEL_REQUEST_CODE: u32 = 1234 << 16 | 5678;

/// The shortest key: all of protocol 3.0.
const MIN_KEY_LENGTH: usize = 4;
/// The longest key that protocol 3.2 allows.
const MAX_KEY_LENGTH: usize = 256;

/// A session's secret key: 4 bytes in protocol 3.0, up to 256 from 3.2 on. It shows itself to nobody.
#[derive(Clone, PartialEq, Eq)]
pub struct CancelKey(Box<[u8]>);

impl CancelKey {
    /// The key; `None` if its length is not 4 to 256 bytes.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        (MIN_KEY_LENGTH..=MAX_KEY_LENGTH).contains(&bytes.len()).then(|| Self(bytes.into()))
    }

    /// The secret bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for CancelKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CancelKey({} bytes)", self.0.len())
    }
}

/// A request to cancel what a session is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CancelRequest {
    /// The backend's process ID.
    pub pid: u32,
    /// The secret key.
    pub key: CancelKey,
}

impl CancelRequest {
    /// Reads what follows the request code: process ID and key. `None` if the length is wrong.
    pub(super) fn decode(body: &[u8]) -> Option<Self> {
        let (pid, key) = body.split_first_chunk::<4>()?;
        Some(Self { pid: u32::from_be_bytes(*pid), key: CancelKey::new(key)? })
    }

    /// The packet, length word included.
    pub fn encode(&self) -> Vec<u8> {
        let length = self.key.0.len().saturating_add(12);
        let mut packet = Vec::with_capacity(length);
        packet.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
        packet.extend_from_slice(&CANCEL_REQUEST_CODE.to_be_bytes());
        packet.extend_from_slice(&self.pid.to_be_bytes());
        packet.extend_from_slice(&self.key.0);
        packet
    }
}
