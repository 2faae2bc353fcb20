//! A fault of Postern's own, wherever in a connection it strikes: the client is told where it can be, and nobody else notices.
//!
//! No command makes the daemon panic, so these tests run its sessions in their own process, over a client's stream that panics when told.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use postern::config::load;
use postern::observe::Observers;
use postern::session::{Door, House, Transport, serve};
use postern::snapshot::{Snapshot, Snapshots};
use postern::types::PeerAddress;
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::harness::daemon::Config;
use crate::harness::pki::{Credentials, Pki, Profile};
use crate::harness::postgres::private_dir;
use crate::harness::wire::{TlsOptions, message, packet, ssl_request, startup};

/// A client's stream, seen from the daemon: it panics at the next use after `armed` was set, once.
struct Faulty {
    stream: DuplexStream,
    armed: Arc<AtomicBool>,
}

impl Faulty {
    fn strike(&self) {
        assert!(!self.armed.swap(false, Ordering::SeqCst), "on purpose");
    }
}

impl AsyncRead for Faulty {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.strike();
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Faulty {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Transport for Faulty {
    fn local(&self) -> Option<std::net::SocketAddr> {
        None
    }

    fn poll_gone(&self, _cx: &mut Context<'_>) -> Poll<()> {
        self.strike();
        Poll::Pending
    }
}

/// A daemon's sessions without its process, and a backend that the test plays.
pub struct Theatre {
    door: Arc<Door>,
    backend: UnixListener,
    alice: Credentials,
    config: Config,
    dir: tempfile::TempDir,
}

impl Theatre {
    pub fn new() -> Self {
        let (pki, dir) = (Pki::new(), private_dir());
        let backend = UnixListener::bind(dir.path().join(".s.PGSQL.5432")).unwrap();
        let config = Config::new(&pki, dir.path(), 5432).with("audit: { file: audit.jsonl }\nlog: { level: error }");
        let settings = load(&config.write()).unwrap_or_else(|faults| panic!("{faults}")).settings;
        let observers = Observers::start(&settings.boot.observe).unwrap_or_else(|error| panic!("{error}"));
        let snapshot = Snapshot::load(&settings.live).unwrap_or_else(|faults| panic!("{}", faults[0]));
        let (alive, _) = mpsc::channel(1);
        let door = Door { snapshots: Arc::new(Snapshots::new(snapshot)), house: House::default(), observers, alive };
        Self { door: Arc::new(door), backend, alice: pki.client(Profile::Good), config, dir }
    }

    /// A client's end of a new connection, and what makes the daemon's end panic.
    pub fn connect(&self) -> (DuplexStream, Arc<AtomicBool>) {
        let (near, far) = duplex(64 * 1024);
        let armed = Arc::new(AtomicBool::new(false));
        let faulty = Faulty { stream: far, armed: Arc::clone(&armed) };
        tokio::spawn(serve(faulty, PeerAddress::new("127.0.0.1:50000".parse().unwrap()), Arc::clone(&self.door)));
        (near, armed)
    }

    /// The same, inside TLS, once the daemon has the whole handshake.
    pub async fn connect_tls(&self) -> (TlsStream<DuplexStream>, Arc<AtomicBool>) {
        let (mut stream, armed) = self.connect();
        stream.write_all(&ssl_request()).await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), b'S');
        let config = TlsOptions::with(Some(self.alice.clone())).config();
        let stream = TlsConnector::from(config).connect(ServerName::try_from("localhost").unwrap(), stream).await.unwrap();
        (stream, armed)
    }

    /// The backend's end of the next connection, its StartupMessage read.
    async fn appear(&self) -> UnixStream {
        let (mut stream, _) = self.backend.accept().await.unwrap();
        let length = stream.read_u32().await.unwrap();
        stream.read_exact(&mut vec![0; length as usize - 4]).await.unwrap();
        stream
    }

    /// The last record of the trail, once it is of this kind.
    pub async fn record(&self, event: &str) -> Value {
        self.wait(|theatre| {
            let trail = std::fs::read_to_string(theatre.config.dir().join("audit.jsonl")).unwrap();
            let last: Value = serde_json::from_str(trail.lines().last()?).ok()?;
            (last["event"] == event).then_some(last)
        })
        .await
    }

    async fn wait<T>(&self, mut look: impl FnMut(&Self) -> Option<T>) -> T {
        let looking = async {
            loop {
                match look(self) {
                    Some(found) => return found,
                    None => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            }
        };
        timeout(Duration::from_secs(20), looking).await.expect("a fact that comes true")
    }

    /// Somebody else logs in, now as ever.
    async fn still_serves(&self) {
        let (mut client, _) = self.connect_tls().await;
        client.write_all(&startup(&[("user", "alice")])).await.unwrap();
        let mut backend = self.appear().await;
        backend.write_all(&greeting()).await.unwrap();
        let mut answer = vec![0; greeting().len()];
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer, greeting());
    }

    fn backend_path(&self) -> &Path {
        self.dir.path()
    }
}

fn greeting() -> Vec<u8> {
    [message('R', &[0; 4]), message('K', &[0, 0, 0, 7, 0, 0, 0, 9]), message('Z', b"I")].concat()
}

/// All that still comes; how it ends is another matter.
async fn read_all(stream: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = timeout(Duration::from_secs(20), stream.read_to_end(&mut bytes)).await.expect("an end");
    bytes
}

fn internal_error() -> Vec<u8> {
    message('E', b"SFATAL\0VFATAL\0CXX000\0Minternal error\0\0")
}

#[tokio::test]
async fn a_panic_before_tls_is_told_in_the_clear() {
    let theatre = Theatre::new();
    let (mut client, armed) = theatre.connect();
    armed.store(true, Ordering::SeqCst);
    client.write_all(&ssl_request()).await.unwrap();
    assert_eq!(read_all(&mut client).await, internal_error());
    let record = theatre.record("connection.refused").await;
    assert_eq!((&record["reason"], &record["sqlstate"]), (&"internal".into(), &"XX000".into()));
    theatre.still_serves().await;
}

#[tokio::test]
async fn a_panic_in_the_handshake_ends_the_connection_and_is_on_record() {
    let theatre = Theatre::new();
    let (mut client, armed) = theatre.connect();
    client.write_all(&ssl_request()).await.unwrap();
    assert_eq!(client.read_u8().await.unwrap(), b'S');
    armed.store(true, Ordering::SeqCst);
    client.write_all(&[0x16, 3, 1]).await.unwrap();
    assert_eq!(read_all(&mut client).await, b"");
    assert_eq!(theatre.record("connection.refused").await["reason"], "internal");
    theatre.still_serves().await;
}

#[tokio::test]
async fn a_panic_inside_tls_is_told_inside_tls() {
    let theatre = Theatre::new();
    let (mut client, armed) = theatre.connect_tls().await;
    // Where the handshake would be struck, the stream were lost.
    let established = "postern_tls_handshake_duration_seconds_count 1";
    theatre.wait(|theatre| theatre.door.observers.scrape(&postern::observe::Moment::default()).contains(established).then_some(())).await;
    armed.store(true, Ordering::SeqCst);
    client.write_all(&startup(&[("user", "alice")])).await.unwrap();
    assert_eq!(read_all(&mut client).await, internal_error());
    let record = theatre.record("connection.refused").await;
    assert_eq!((&record["reason"], &record["sqlstate"], &record["cert"]["cn"]), (&"internal".into(), &"XX000".into(), &"alice".into()));
    theatre.still_serves().await;
}

#[tokio::test]
async fn a_panic_while_the_backend_answers_is_told_and_leaves_no_backend() {
    let theatre = Theatre::new();
    let (mut client, armed) = theatre.connect_tls().await;
    client.write_all(&startup(&[("user", "alice")])).await.unwrap();
    let mut backend = theatre.appear().await;
    armed.store(true, Ordering::SeqCst);
    backend.write_all(&message('R', &[0; 4])).await.unwrap();
    let heard = read_all(&mut client).await;
    assert!(heard.ends_with(&internal_error()), "{}", String::from_utf8_lossy(&heard));
    assert_eq!(read_all(&mut backend).await, b"");
    let record = theatre.record("connection.refused").await;
    assert_eq!((&record["reason"], &record["decision"]["role"]), (&"internal".into(), &"alice".into()));
    theatre.still_serves().await;
}

#[tokio::test]
async fn a_panic_in_the_pipe_ends_the_session_without_a_word_and_cancels_its_statement() {
    let theatre = Theatre::new();
    let (mut client, armed) = theatre.connect_tls().await;
    client.write_all(&startup(&[("user", "alice")])).await.unwrap();
    let mut backend = theatre.appear().await;
    backend.write_all(&greeting()).await.unwrap();
    client.read_exact(&mut vec![0; greeting().len()]).await.unwrap();
    armed.store(true, Ordering::SeqCst);
    client.write_all(&message('Q', b"select 1\0")).await.unwrap();
    assert_eq!(read_all(&mut client).await, b"");
    let (mut cancel, _) = theatre.backend.accept().await.unwrap();
    assert_eq!(read_to(&mut cancel, 16).await, packet(80_877_102, &[0, 0, 0, 7, 0, 0, 0, 9]));
    drop(cancel);
    assert_eq!(read_all(&mut backend).await, b"");
    assert_eq!(theatre.record("session.end").await["reason"], "internal");
    assert!(theatre.backend_path().exists());
    theatre.still_serves().await;
}

async fn read_to(stream: &mut UnixStream, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    timeout(Duration::from_secs(20), stream.read_exact(&mut bytes)).await.expect("an answer").unwrap();
    bytes
}
