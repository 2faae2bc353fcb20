//! A client made of bytes: it sends what a test tells it to, and notes exactly how the other side answered and left.

use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{AlertDescription, ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme};

use super::pki::Credentials;

/// How long any single answer may take before a test calls it silence.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// How a connection ended, as its client saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    Alert(AlertDescription),
    /// A TLS alert in a record that no session key protects.
    ClearAlert(u8),
    /// close_notify, then FIN.
    Closed,
    /// FIN alone: on TLS, a truncation.
    Fin,
    Reset,
    Timeout,
    /// The peer broke the rules of TLS.
    Broken(String),
}

impl End {
    /// The end of an ordinary close, whether or not TLS said goodbye.
    pub fn is_orderly(&self) -> bool {
        matches!(self, Self::Closed | Self::Fin)
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Alert(description) => write!(f, "alert {description:?}"),
            Self::ClearAlert(description) => {
                write!(f, "alert {:?}", AlertDescription::from(*description))
            }
            Self::Closed | Self::Fin => f.write_str("closed"),
            Self::Reset => f.write_str("reset"),
            Self::Timeout => f.write_str("still open"),
            Self::Broken(why) => write!(f, "broken TLS: {why}"),
        }
    }
}

/// What the client brings to a handshake.
#[derive(Clone, Default)]
pub struct TlsOptions {
    pub credentials: Option<Credentials>,
    pub alpn: Vec<Vec<u8>>,
}

impl TlsOptions {
    pub fn with(credentials: Option<Credentials>) -> Self {
        Self { credentials, alpn: vec![] }
    }

    pub fn alpn(mut self, protocol: &str) -> Self {
        self.alpn.push(protocol.as_bytes().to_vec());
        self
    }

    pub fn connection(&self) -> ClientConnection {
        ClientConnection::new(self.config(), ServerName::try_from("localhost").unwrap()).unwrap()
    }

    /// For many connections by the same means.
    pub fn config(&self) -> Arc<ClientConfig> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyServer(provider)));
        let mut config = match &self.credentials {
            Some(credentials) => builder.with_client_cert_resolver(Arc::new(AsGiven(credentials.certified_key()))),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols.clone_from(&self.alpn);
        Arc::new(config)
    }
}

/// One message of the backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub kind: u8,
    pub body: Vec<u8>,
}

impl Message {
    pub fn is(&self, kind: char) -> bool {
        self.kind == kind as u8
    }

    /// The fields of an ErrorResponse or NoticeResponse.
    pub fn fields(&self) -> Fields {
        let field = |code: u8| {
            self.body
                .split(|byte| *byte == 0)
                .find(|field| field.first() == Some(&code))
                .map(|field| String::from_utf8_lossy(&field[1..]).into_owned())
        };
        Fields {
            severity: field(b'S').unwrap_or_default(),
            sqlstate: field(b'C').unwrap_or_default(),
            message: field(b'M').unwrap_or_default(),
            detail: field(b'D'),
            hint: field(b'H'),
        }
    }

    /// The columns of a DataRow, as text.
    pub fn columns(&self) -> Vec<Option<String>> {
        let mut rest = &self.body[2..];
        let mut columns = Vec::new();
        while rest.len() >= 4 {
            let length = i32::from_be_bytes(rest[..4].try_into().unwrap());
            rest = &rest[4..];
            if length < 0 {
                columns.push(None);
                continue;
            }
            let (value, tail) = rest.split_at(length as usize);
            columns.push(Some(String::from_utf8_lossy(value).into_owned()));
            rest = tail;
        }
        columns
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fields {
    pub severity: String,
    pub sqlstate: String,
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
}

impl fmt::Display for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.severity, self.sqlstate, self.message)
    }
}

/// A connection, in the clear until [`Wire::start_tls`].
pub struct Wire {
    tcp: TcpStream,
    tls: Option<Box<ClientConnection>>,
    received: Vec<u8>,
    end: Option<End>,
    patience: Duration,
}

impl Wire {
    pub fn connect(server: SocketAddr) -> Self {
        let tcp = TcpStream::connect_timeout(&server, PATIENCE).unwrap();
        tcp.set_nodelay(true).unwrap();
        tcp.set_write_timeout(Some(Duration::from_secs(60))).unwrap();
        Self { tcp, tls: None, received: Vec::new(), end: None, patience: PATIENCE }
    }

    /// SSLRequest, handshake, and no further word.
    pub fn connect_tls(server: SocketAddr, options: &TlsOptions) -> Result<Self, End> {
        let mut wire = Self::connect(server);
        wire.send(&ssl_request());
        assert_eq!(wire.read_exactly(1)?, b"S", "the answer to SSLRequest");
        wire.start_tls(options)?;
        Ok(wire)
    }

    /// Logged in, up to the first ReadyForQuery.
    pub fn log_in(server: SocketAddr, credentials: &Credentials, user: &str) -> Result<Self, Refusal> {
        let mut wire = Self::connect_tls(server, &TlsOptions::with(Some(credentials.clone())))?;
        wire.send(&startup(&[("user", user), ("database", "postgres")]));
        wire.until_ready()?;
        Ok(wire)
    }

    pub fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// What the server has shown.
    pub fn server_certificate(&self) -> Vec<u8> {
        self.tls.as_ref().unwrap().peer_certificates().unwrap()[0].to_vec()
    }

    pub fn local_port(&self) -> u16 {
        self.tcp.local_addr().unwrap().port()
    }

    pub fn start_tls(&mut self, options: &TlsOptions) -> Result<(), End> {
        self.start_tls_with(options.connection())
    }

    pub fn start_tls_with(&mut self, mut connection: ClientConnection) -> Result<(), End> {
        // What came along with the `S` belongs to TLS.
        let early = std::mem::take(&mut self.received);
        connection.read_tls(&mut early.as_slice()).unwrap();
        let judged = connection.process_new_packets().map(drop).map_err(|error| end_of_tls(&error));
        self.tls = Some(Box::new(connection));
        judged?;
        while self.tls.as_ref().is_some_and(|tls| tls.is_handshaking()) {
            self.flush();
            self.receive()?;
        }
        self.flush();
        Ok(())
    }

    /// Sends what it can. A peer that has left is noticed by whoever reads next, who then also sees its last words.
    pub fn send(&mut self, bytes: &[u8]) {
        let Some(tls) = &mut self.tls else { return self.send_clear(bytes) };
        // rustls buffers no more than it was asked to: record by record, nothing is turned away.
        for record in bytes.chunks(16 * 1024) {
            tls.writer().write_all(record).unwrap();
            while tls.wants_write() {
                if tls.write_tls(&mut self.tcp).is_err() {
                    return;
                }
            }
        }
    }

    /// Beneath TLS, if there is any.
    pub fn send_clear(&mut self, bytes: &[u8]) {
        drop(self.tcp.write_all(bytes));
    }

    pub fn send_message(&mut self, kind: char, body: &[u8]) {
        self.send(&message(kind, body));
    }

    pub fn query(&mut self, sql: &str) {
        self.send_message('Q', &[sql.as_bytes(), b"\0"].concat());
    }

    /// The answer to one simple query, which must succeed: its rows.
    pub fn rows(&mut self, sql: &str) -> Vec<Vec<Option<String>>> {
        self.query(sql);
        let messages = self.until_ready().unwrap_or_else(|refusal| panic!("{sql}: {refusal}"));
        messages.iter().filter(|message| message.is('D')).map(Message::columns).collect()
    }

    /// close_notify, but no FIN.
    pub fn close_notify(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
        }
        self.flush();
    }

    pub fn shutdown_write(&mut self) {
        drop(self.tcp.shutdown(Shutdown::Write));
    }

    /// Leaves by RST: what is in flight is lost.
    pub fn reset(self) {
        socket2::SockRef::from(&self.tcp).set_linger(Some(Duration::ZERO)).unwrap();
    }

    pub fn read_exactly(&mut self, count: usize) -> Result<Vec<u8>, End> {
        while self.received.len() < count {
            self.receive()?;
        }
        Ok(self.received.drain(..count).collect())
    }

    /// The next bytes, left where they are; fewer than `count` if the connection ends before.
    pub fn peek(&mut self, count: usize) -> &[u8] {
        while self.received.len() < count && self.receive().is_ok() {}
        &self.received[..count.min(self.received.len())]
    }

    /// Reads this many bytes and forgets them.
    pub fn skip(&mut self, mut count: usize) -> Result<(), End> {
        while count > 0 {
            if self.received.is_empty() {
                self.receive()?;
            }
            let now = count.min(self.received.len());
            self.received.drain(..now);
            count -= now;
        }
        Ok(())
    }

    /// All that still comes, and how it ends.
    pub fn read_to_end(&mut self) -> (Vec<u8>, End) {
        let end = loop {
            if let Err(end) = self.receive() {
                break end;
            }
        };
        (std::mem::take(&mut self.received), end)
    }

    pub fn read_message(&mut self) -> Result<Message, End> {
        let head = self.read_exactly(5)?;
        let length = u32::from_be_bytes(head[1..].try_into().unwrap()) as usize;
        assert!((4..1 << 30).contains(&length), "no message is {length} bytes long: {head:?}");
        Ok(Message { kind: head[0], body: self.read_exactly(length - 4)? })
    }

    /// Every message up to ReadyForQuery, which is the last; an ErrorResponse among them is a refusal.
    pub fn until_ready(&mut self) -> Result<Vec<Message>, Refusal> {
        let mut messages = Vec::new();
        loop {
            let message = self.read_message()?;
            if message.is('E') {
                return Err(Refusal::Error(message.fields()));
            }
            let ready = message.is('Z');
            messages.push(message);
            if ready {
                return Ok(messages);
            }
        }
    }

    /// One more read from the socket, by way of TLS where there is TLS.
    fn receive(&mut self) -> Result<(), End> {
        if let Some(end) = &self.end {
            return Err(end.clone());
        }
        let outcome = if self.tls.is_some() { self.receive_tls() } else { self.receive_clear() };
        if let Err(end) = &outcome
            && *end != End::Timeout
        {
            self.end = Some(end.clone());
        }
        outcome
    }

    fn receive_clear(&mut self) -> Result<(), End> {
        self.tcp.set_read_timeout(Some(self.patience)).unwrap();
        let mut buffer = [0; 4096];
        match self.tcp.read(&mut buffer) {
            Ok(0) => Err(End::Fin),
            Ok(count) => {
                self.received.extend_from_slice(&buffer[..count]);
                Ok(())
            }
            // A process that was stopped and goes on sees this at a socket with a timeout (signal(7)): nothing has happened.
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(end_of(&error)),
        }
    }

    fn receive_tls(&mut self) -> Result<(), End> {
        let deadline = Instant::now() + self.patience;
        let tls = self.tls.as_mut().unwrap();
        if tls.process_new_packets().is_ok_and(|state| state.peer_has_closed()) {
            return Err(End::Closed);
        }
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(End::Timeout);
            }
            self.tcp.set_read_timeout(Some(left)).unwrap();
            match tls.read_tls(&mut self.tcp) {
                Ok(0) => return Err(End::Fin),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(end_of(&error)),
            }
            let state = match tls.process_new_packets() {
                Ok(state) => state,
                Err(rustls::Error::AlertReceived(description)) => {
                    return Err(End::Alert(description));
                }
                Err(error) => return Err(End::Broken(error.to_string())),
            };
            if state.plaintext_bytes_to_read() > 0 {
                let start = self.received.len();
                self.received.resize(start + state.plaintext_bytes_to_read(), 0);
                tls.reader().read_exact(&mut self.received[start..]).unwrap();
                return Ok(());
            }
            if state.peer_has_closed() {
                return Err(End::Closed);
            }
            if tls.wants_write() {
                drop(tls.write_tls(&mut self.tcp));
                return Ok(());
            }
            if !tls.is_handshaking() && state.tls_bytes_to_write() == 0 {
                // A post-handshake message, or half a record: the caller decides whether to go on.
                return Ok(());
            }
        }
    }

    fn flush(&mut self) {
        if let Some(tls) = &mut self.tls {
            while tls.wants_write() && tls.write_tls(&mut self.tcp).is_ok() {}
        }
    }
}

/// Why there is no session: the other side's word, or its silence.
#[derive(Debug, PartialEq, Eq)]
pub enum Refusal {
    Error(Fields),
    End(End),
}

impl From<End> for Refusal {
    fn from(end: End) -> Self {
        Self::End(end)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error(fields) => fields.fmt(f),
            Self::End(end) => end.fmt(f),
        }
    }
}

pub fn message(kind: char, body: &[u8]) -> Vec<u8> {
    [&[kind as u8], &(body.len() as u32 + 4).to_be_bytes()[..], body].concat()
}

/// A packet as they stand before the first message: a length, a code, a body.
pub fn packet(code: u32, body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32 + 8).to_be_bytes()[..], &code.to_be_bytes(), body].concat()
}

pub fn ssl_request() -> Vec<u8> {
    packet(80_877_103, b"")
}

pub fn gssenc_request() -> Vec<u8> {
    packet(80_877_104, b"")
}

pub fn cancel_request(pid: u32, key: &[u8]) -> Vec<u8> {
    packet(80_877_102, &[&pid.to_be_bytes()[..], key].concat())
}

pub fn startup(parameters: &[(&str, &str)]) -> Vec<u8> {
    startup_of_version(3, 0, parameters)
}

pub fn startup_of_version(major: u32, minor: u32, parameters: &[(&str, &str)]) -> Vec<u8> {
    let parameters: Vec<u8> =
        parameters.iter().flat_map(|(key, value)| [key.as_bytes(), b"\0", value.as_bytes(), b"\0"].concat()).collect();
    packet(major << 16 | minor, &[&parameters[..], b"\0"].concat())
}

/// A ClientHello of our own making, whose highest version is `version`: one that rustls would not send.
/// From TLS 1.0 on it is well-formed; what a server that only speaks TLS 1.3 owes it is an alert.
pub fn old_client_hello(version: u16) -> Vec<u8> {
    let suites = [0xc02bu16, 0xc02f, 0xc013, 0x009c, 0x002f];
    let groups = [0x00, 0x0a, 0x00, 0x06, 0x00, 0x04, 0x00, 0x1d, 0x00, 0x17];
    let schemes = [0x00, 0x0d, 0x00, 0x08, 0x00, 0x06, 0x04, 0x03, 0x08, 0x04, 0x04, 0x01];
    let extensions = [&groups[..], &schemes[..]].concat();
    let suites: Vec<u8> = suites.iter().flat_map(|suite| suite.to_be_bytes()).collect();
    let hello = [
        &version.to_be_bytes()[..],
        &[0x5a; 32],
        &[0],
        &(suites.len() as u16).to_be_bytes(),
        &suites,
        &[1, 0],
        &(extensions.len() as u16).to_be_bytes(),
        &extensions,
    ]
    .concat();
    let handshake = [&[1, 0][..], &(hello.len() as u16).to_be_bytes(), &hello].concat();
    [&[0x16, 0x03, 0x01][..], &(handshake.len() as u16).to_be_bytes(), &handshake].concat()
}

fn end_of(error: &std::io::Error) -> End {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => End::Timeout,
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted => End::Reset,
        ErrorKind::UnexpectedEof => End::Fin,
        _ => End::Broken(error.to_string()),
    }
}

fn end_of_tls(error: &rustls::Error) -> End {
    match error {
        rustls::Error::AlertReceived(description) => End::Alert(*description),
        error => End::Broken(error.to_string()),
    }
}

/// Sends the client certificate it was given whatever the server hints at, as libpq does.
#[derive(Debug)]
struct AsGiven(Arc<CertifiedKey>);

impl ResolvesClientCert for AsGiven {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Takes any server for what it says it is: what these tests judge is the other direction.
#[derive(Debug)]
struct AnyServer(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
