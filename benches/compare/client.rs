//! The load's own client: blocking rustls, a session a thread or thousands held by one.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::wire::{Load, Messages, message, query};

/// Where and how a session is opened.
#[derive(Clone)]
pub enum Way {
    /// By a Unix socket, without TLS.
    Socket(PathBuf),
    /// By an SSLRequest.
    Requested(SocketAddr, Arc<ClientConfig>),
    /// By TLS from the first byte.
    Direct(SocketAddr, Arc<ClientConfig>),
}

/// An open session.
pub struct Session {
    stream: Stream,
    messages: Messages,
    passed: usize,
}

enum Stream {
    Socket(UnixStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Way {
    fn connect(&self) -> io::Result<Stream> {
        match self {
            Self::Socket(path) => UnixStream::connect(path).map(Stream::Socket),
            Self::Requested(address, config) => {
                let mut socket = TcpStream::connect(address)?;
                socket.write_all(&[0, 0, 0, 8, 4, 210, 22, 47])?;
                let mut answer = [0];
                socket.read_exact(&mut answer)?;
                assert_eq!(&answer, b"S", "the answer to an SSLRequest");
                encrypt(socket, config)
            }
            Self::Direct(address, config) => encrypt(TcpStream::connect(address)?, config),
        }
    }
}

fn encrypt(socket: TcpStream, config: &Arc<ClientConfig>) -> io::Result<Stream> {
    socket.set_nodelay(true)?;
    let connection = ClientConnection::new(Arc::clone(config), ServerName::try_from("localhost").unwrap()).unwrap();
    Ok(Stream::Tls(Box::new(StreamOwned::new(connection, socket))))
}

impl Session {
    /// Logs in as alice.
    pub fn open(way: &Way) -> io::Result<Self> {
        let mut session = Self { stream: way.connect()?, messages: Messages::default(), passed: 0 };
        session.stream.write_all(b"\0\0\0\x26\0\x03\0\0user\0alice\0database\0postgres\0\0")?;
        session.until_ready()?;
        Ok(session)
    }

    /// One query and all of its answer.
    pub fn ask(&mut self, text: &str) -> io::Result<()> {
        self.stream.write_all(&query(text))?;
        self.until_ready()
    }

    /// Sends `load` as CopyData after `text`, which begins a COPY FROM STDIN: `rows` again and again, or bytes without a meaning.
    pub fn copy_in(&mut self, text: &str, load: Load, rows: &[u8]) -> io::Result<()> {
        self.stream.write_all(&query(text))?;
        while self.next()? != b'G' {}
        self.passed += load.bytes;
        if rows.is_empty() {
            load.pieces(b'd', |piece| self.stream.write_all(piece))?;
        } else {
            (0..load.bytes / rows.len()).try_for_each(|_| self.stream.write_all(rows))?;
        }
        self.stream.write_all(&message(b'c', b""))?;
        self.until_ready()
    }

    /// Says goodbye.
    pub fn close(mut self) -> io::Result<()> {
        self.stream.write_all(&message(b'X', b""))?;
        if let Stream::Tls(tls) = &mut self.stream {
            tls.conn.send_close_notify();
            tls.flush()?;
        }
        Ok(())
    }

    /// Bytes of data so far, both ways.
    pub fn passed(&self) -> usize {
        self.passed
    }

    /// Gives back what memory it holds for reading.
    pub fn rest(&mut self) {
        self.messages.rest();
    }

    fn until_ready(&mut self) -> io::Result<()> {
        while self.next()? != b'Z' {}
        Ok(())
    }

    fn next(&mut self) -> io::Result<u8> {
        let (kind, length) = self.messages.next(&mut self.stream)?;
        if kind == b'E' {
            let mut body = vec![0; length];
            self.messages.read(&mut self.stream, &mut body)?;
            panic!("an error was answered: {}", body.escape_ascii());
        }
        self.messages.skip(&mut self.stream, length)?;
        self.passed += length + 5;
        Ok(kind)
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Socket(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Socket(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Socket(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}
