//! Why nothing is known of a client behind a load balancer.

use std::fmt;

use super::Reason;
use crate::wire::ProxyError;

/// What is wrong with the first bytes of a connection from a trusted balancer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyFault {
    /// They are no PROXY header.
    Malformed(ProxyError),
    /// The connection ended in the middle of it.
    Incomplete,
    /// It did not come in time.
    Late,
    /// It does not say where the client is.
    Unknown,
}

impl ProxyFault {
    /// The reason code.
    pub const fn reason(self) -> Reason {
        match self {
            Self::Malformed(_) | Self::Incomplete | Self::Unknown => Reason::Protocol,
            Self::Late => Reason::Timeout,
        }
    }
}

impl fmt::Display for ProxyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(error) => write!(
                f,
                "{error}; proxy_protocol.trusted names this address, so it must send one (haproxy: send-proxy-v2), or be taken out of it"
            ),
            Self::Incomplete => write!(f, "the connection ended in the middle of its PROXY header"),
            Self::Late => write!(f, "the balancer began a PROXY header and did not complete it within 5 s"),
            Self::Unknown => {
                write!(f, "the PROXY header does not say where the client is, and rules by address would take the balancer for it")
            }
        }
    }
}
