//! Connections that never log in, in every shape of standing half-way.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustls::ClientConnection;

use super::stand::{Stand, alices_startup, connect_from, tls};
use crate::harness::wire::{gssenc_request, ssl_request};

/// Where an attacker stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Says nothing.
    Silent,
    /// Half an SSLRequest.
    HalfRequest,
    /// An SSLRequest, a byte a second.
    TricklingRequest,
    /// SSLRequest, and nothing behind the `S`.
    NoHello,
    /// SSLRequest and half a ClientHello.
    HalfHello,
    /// A ClientHello, a byte a second.
    TricklingHello,
    /// GSSENCRequest, and nothing behind the `N`.
    GssDeclined,
    /// A whole handshake without a certificate, then silence.
    Anonymous,
    /// A whole handshake with a good certificate, then silence.
    Authenticated,
    /// The same, then the StartupMessage, a byte a second.
    TricklingStartup,
}

impl Shape {
    pub const ALL: [Self; 10] = [
        Self::Silent,
        Self::HalfRequest,
        Self::TricklingRequest,
        Self::NoHello,
        Self::HalfHello,
        Self::TricklingHello,
        Self::GssDeclined,
        Self::Anonymous,
        Self::Authenticated,
        Self::TricklingStartup,
    ];
}

/// One of them, connected.
pub struct Attacker {
    stream: TcpStream,
    tls: Option<ClientConnection>,
    /// What it still has to say, a byte a second.
    trickle: Vec<u8>,
    pub since: Instant,
    said: Instant,
}

impl Attacker {
    /// Goes as far as its shape goes. `None` if the door closed before.
    pub fn strike(stand: &Stand, shape: Shape, source: Ipv4Addr) -> Option<Self> {
        let since = Instant::now();
        let server: SocketAddr = stand.postern.address();
        let mut stream = connect_from(source, server);
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut hello = Vec::new();
        let mut session = None;
        let mut trickle = Vec::new();
        match shape {
            Shape::Silent => {}
            Shape::HalfRequest => stream.write_all(&ssl_request()[..5]).ok()?,
            Shape::TricklingRequest => trickle = ssl_request(),
            Shape::NoHello => ask(&mut stream, &ssl_request())?,
            Shape::GssDeclined => ask(&mut stream, &gssenc_request())?,
            Shape::HalfHello | Shape::TricklingHello => {
                ask(&mut stream, &ssl_request())?;
                tls(None).write_tls(&mut hello).unwrap();
                match shape {
                    Shape::HalfHello => stream.write_all(&hello[..hello.len() / 2]).ok()?,
                    _ => trickle = hello,
                }
            }
            Shape::Anonymous | Shape::Authenticated | Shape::TricklingStartup => {
                ask(&mut stream, &ssl_request())?;
                let mut connection = tls((shape != Shape::Anonymous).then(|| stand.alice.clone()));
                while connection.is_handshaking() {
                    connection.complete_io(&mut stream).ok()?;
                }
                if shape == Shape::TricklingStartup {
                    trickle = alices_startup();
                }
                session = Some(connection);
            }
        }
        stream.set_nonblocking(true).unwrap();
        Some(Self { stream, tls: session, trickle, since, said: Instant::now() })
    }

    /// Says its next byte if it is time, and looks whether the door has closed. `true` while it is open.
    pub fn persists(&mut self) -> bool {
        if !self.trickle.is_empty() && self.said.elapsed() >= Duration::from_secs(1) {
            let byte = self.trickle.remove(0);
            self.said = Instant::now();
            match &mut self.tls {
                Some(tls) => {
                    tls.writer().write_all(&[byte]).unwrap();
                    let _ = tls.write_tls(&mut self.stream);
                }
                None => drop(self.stream.write(&[byte])),
            }
        }
        loop {
            match self.stream.read(&mut [0; 4096]) {
                Ok(0) => return false,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(_) => return false,
            }
        }
    }
}

fn ask(stream: &mut TcpStream, request: &[u8]) -> Option<()> {
    stream.write_all(request).ok()?;
    stream.read_exact(&mut [0]).ok()
}
