//! TCP listeners, and what is set on every connection they accept.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::TcpStream;

/// Connections that may wait to be accepted: bursts of logins must not run into SYN retries. The kernel caps it at
/// net.core.somaxconn.
pub(super) const BACKLOG: u16 = 4096;
/// A peer that is silent for this long is asked whether it lives. With the three answers it may miss, a client whose host is gone is
/// found dead in 40 seconds.
const KEEPALIVE_TIME: Duration = Duration::from_secs(10);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_RETRIES: u32 = 3;

/// An address that cannot be listened on.
#[derive(Debug)]
pub struct BindError {
    address: SocketAddr,
    error: io::Error,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, error } = self;
        write!(f, "listen: {address} cannot be bound: {error}")?;
        let advice = ADVICE.iter().find(|(kind, _)| *kind == error.kind());
        advice.map_or(Ok(()), |(_, advice)| write!(f, "; {advice}"))
    }
}

/// What to do about an address that cannot be bound.
const ADVICE: [(io::ErrorKind, &str); 3] = [
    (
        io::ErrorKind::AddrInUse,
        "another process listens there: stop it, take over from it by `serve --handover` if it is Postern, or choose another port",
    ),
    (io::ErrorKind::PermissionDenied, "ports below 1024 need CAP_NET_BIND_SERVICE"),
    (io::ErrorKind::AddrNotAvailable, "no interface of this machine has this address"),
];

/// Binds and listens. An IPv6 socket takes IPv6 alone, as PostgreSQL's (src/backend/libpq/pqcomm.c, ListenServerPort).
///
/// # Errors
/// What the kernel said, with the address.
pub fn bind(address: SocketAddr) -> Result<TcpListener, BindError> {
    listen(address).map_err(|error| BindError { address, error })
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // A port whose last connections linger in TIME_WAIT can be bound again; one that is listened on cannot.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG.into())?;
    Ok(socket.into())
}

/// Takes a socket that another process has made, if it is what this one would have made: one that listens by TCP.
///
/// # Errors
/// What it is instead.
pub fn adopt(listener: TcpListener) -> io::Result<TcpListener> {
    let socket = SockRef::from(&listener);
    let is_ip = [Domain::IPV4, Domain::IPV6].contains(&socket.domain()?);
    let is_tcp = is_ip && socket.r#type()? == Type::STREAM && socket.protocol()?.is_some_and(|protocol| TCP.contains(&protocol));
    let instead = match (is_tcp, socket.is_listener()?) {
        (true, true) => None,
        (true, false) => Some("found a TCP socket that does not listen"),
        (false, _) => Some("found a socket that is not of TCP"),
    };
    if let Some(found) = instead {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, found));
    }
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Those whose connections are streams as TCP's: TCP, and where its maker asked for several paths, MPTCP (RFC 8684).
const TCP: [Protocol; 2] = [Protocol::TCP, Protocol::MPTCP];

/// Sets what every client's connection has: no delay for small messages, and keepalive, so that a client whose host has gone is
/// noticed.
pub(super) fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_TIME).with_interval(KEEPALIVE_INTERVAL).with_retries(KEEPALIVE_RETRIES);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, UdpSocket};
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn of_passed_sockets_only_one_that_listens_by_tcp_is_taken() {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        assert!(adopt(TcpListener::bind(any).unwrap()).is_ok());
        let refused = |socket: OwnedFd| adopt(socket.into()).unwrap_err().to_string();
        let bound = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        bound.bind(&any.into()).unwrap();
        assert_eq!(refused(bound.into()), "found a TCP socket that does not listen");
        let dir = tempfile::tempdir().unwrap();
        let unix = UnixListener::bind(dir.path().join("socket")).unwrap();
        for other in [UdpSocket::bind(any).unwrap().into(), unix.into()] {
            assert_eq!(refused(other), "found a socket that is not of TCP");
        }
        let file = tempfile::tempfile().unwrap();
        assert!(adopt(OwnedFd::from(file).into()).is_err(), "no socket at all");
    }
}
