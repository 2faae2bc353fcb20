//! How many may come in, and how often an address may fail: admission, handed down as values.
//!
//! Three questions, three answers: who waits to log in (the oldest gives way), who has a session (the limit refuses), and which
//! address fails too often (it is slowed, never shut out).

mod failures;
mod handshakes;
mod sessions;

use std::net::{IpAddr, Ipv6Addr};

pub use failures::{FailureBudget, Turn};
pub use handshakes::{GiveWay, Handshakes, Waiting};
pub use sessions::{SessionLimits, SessionPermit, SessionSlots, Wanted};

/// An IPv6 host has its whole /64 to itself (RFC 6177): that is what counts as one.
pub fn network_of(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}
