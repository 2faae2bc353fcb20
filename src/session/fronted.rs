//! A load balancer's first words: the PROXY header that says whose connection it is, before the first packet.
//!
//! Only from the addresses of `proxy_protocol.trusted` is there one, and from them there must be: without it every client behind the
//! balancer would be taken for the balancer. From all others it is bytes like any that are no startup packet. It is read to its last
//! byte and not one further, and until it has been read nothing counts against an address.

use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use super::Transport;
use super::accepted::Accepted;
use super::arrival::Arrival;
use super::reply::{Rejected, Reply};
use crate::error::{ProxyFault, SessionError};
use crate::types::PeerAddress;
use crate::wire::{ProxyHeader, ProxyProgress};

/// A balancer sends its header with the connection: the protocol asks receivers to wait for three seconds at least (section 2).
const HEADER_TIME: Duration = Duration::from_secs(5);

/// A connection from a trusted balancer, of whose client nothing is known.
pub(super) struct Fronted<S> {
    stream: S,
    arrival: Box<Arrival>,
}

/// What the header says.
pub(super) enum Introduced<S> {
    /// Whose connection it is.
    Client(Accepted<S>),
    /// Nobody's: the balancer has looked whether this port is open.
    Probe,
}

impl<S: Transport> Fronted<S> {
    pub(super) fn new(stream: S, arrival: Box<Arrival>) -> Self {
        Self { stream, arrival }
    }

    /// Reads the header.
    pub(super) async fn introduce(mut self) -> Result<Introduced<S>, Rejected<S>> {
        let header = match self.read_header().await {
            Ok(Some(header)) => header,
            Ok(None) => return Ok(Introduced::Probe),
            Err(error) => return Err(self.reject(error)),
        };
        match header {
            ProxyHeader::Client(address) => self.arrival.introduce(PeerAddress::new(address)),
            ProxyHeader::Local => self.arrival.introduce(self.arrival.trail.client),
            // Health checks of version 1 say so, and leave.
            ProxyHeader::Unknown if !self.goes_on().await => return Ok(Introduced::Probe),
            ProxyHeader::Unknown => return Err(self.reject(SessionError::Proxy(ProxyFault::Unknown))),
        }
        Ok(Introduced::Client(Accepted::new(self.stream, self.arrival)))
    }

    /// The header; `None` from whoever says nothing and leaves, or stays for too long.
    async fn read_header(&mut self) -> Result<Option<ProxyHeader>, SessionError> {
        let Self { stream, arrival } = self;
        let mut bytes = Vec::new();
        let reading = async {
            loop {
                let missing = match ProxyHeader::parse(&bytes).map_err(ProxyFault::Malformed)? {
                    ProxyProgress::Whole(header) => return Ok(header),
                    // The parser knows no header that is longer than 4 KiB.
                    ProxyProgress::Missing(missing) => missing,
                };
                // What has not come yet is not in there, however this ends.
                let came = (&mut *stream).take(u64::try_from(missing).unwrap_or(u64::MAX)).read_buf(&mut bytes).await;
                if came.unwrap_or(0) == 0 {
                    return Err(ProxyFault::Incomplete);
                }
            }
        };
        let outcome = arrival.in_time(timeout(HEADER_TIME, reading)).await;
        match outcome {
            Ok(Ok(Ok(header))) => Ok(Some(header)),
            // Whoever says nothing leaves no trace, however the connection ends.
            _ if bytes.is_empty() => Ok(None),
            Ok(Ok(Err(fault))) => Err(SessionError::Proxy(fault)),
            Ok(Err(_)) => Err(SessionError::Proxy(ProxyFault::Late)),
            Err(error) => Err(error),
        }
    }

    /// Whether something follows the header. The byte is lost with the connection.
    async fn goes_on(&mut self) -> bool {
        matches!(self.arrival.in_time(self.stream.read(&mut [0])).await, Ok(Ok(1..)))
    }

    fn reject(self, error: SessionError) -> Rejected<S> {
        Rejected::new(error, Reply::Clear(self.stream), self.arrival)
    }
}
