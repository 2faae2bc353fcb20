//! Where the fire is: the daemon, before a backend that logs everybody in and answers every query at once.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use crate::harness::daemon::{Config, Daemon};
use crate::harness::http::get;
use crate::harness::pki::{Credentials, Pki, Profile};
use crate::harness::postgres::{free_port, private_dir};
use crate::harness::wire::{Refusal, TlsOptions, Wire, message, ssl_request, startup};

/// A daemon under fire.
pub struct Stand {
    pub postern: Daemon,
    pub pki: Pki,
    pub alice: Credentials,
    pub endpoint: SocketAddr,
    client: Arc<ClientConfig>,
    _dir: tempfile::TempDir,
}

impl Stand {
    /// With keys of the configuration beside those that every stand has.
    pub fn new(more: &str) -> Self {
        raise_descriptor_limit();
        let (pki, dir) = (Pki::new(), private_dir());
        serve_backend(dir.path().join(".s.PGSQL.5432"));
        let endpoint = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let config = Config::new(&pki, dir.path(), 5432)
            .with(&format!("admin: {{ listen: \"{endpoint}\" }}"))
            .audit_file(&dir.path().join("audit.jsonl"))
            .with(more);
        let alice = pki.client(Profile::Good);
        let client = TlsOptions::with(Some(alice.clone())).config();
        Self { postern: Daemon::start(&config), alice, pki, endpoint, client, _dir: dir }
    }

    /// Alice logs in.
    pub fn log_in(&self) -> Result<Wire, Refusal> {
        let mut wire = Wire::connect(self.postern.address());
        wire.send(&ssl_request());
        assert_eq!(wire.read_exactly(1)?, b"S", "the answer to SSLRequest");
        wire.start_tls_with(ClientConnection::new(Arc::clone(&self.client), ServerName::try_from("localhost").unwrap()).unwrap())?;
        wire.send(&alices_startup());
        wire.until_ready()?;
        Ok(wire)
    }

    /// Alice comes, asks and goes; how long her login took.
    pub fn visit(&self) -> Result<Duration, Refusal> {
        let begun = Instant::now();
        let mut wire = self.log_in()?;
        let took = begun.elapsed();
        wire.query("select 1");
        wire.until_ready()?;
        wire.send_message('X', b"");
        wire.read_to_end();
        Ok(took)
    }

    /// Processor time of the daemon so far.
    pub fn cpu(&self) -> Duration {
        cpu_of(self.postern.pid())
    }

    /// Its resident memory in KiB.
    pub fn memory(&self) -> f64 {
        resident_kib(self.postern.pid())
    }

    /// Its open descriptors.
    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.postern.pid())).unwrap().count()
    }

    /// A series of its metrics.
    pub fn metric(&self, series: &str) -> f64 {
        let text = get(self.endpoint, "/metrics").body;
        text.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok()).unwrap_or_else(|| panic!("no {series} in\n{text}"))
    }
}

/// Processor time of a process, user and system: utime and stime, in hundredths of a second (proc_pid_stat(5)).
pub fn cpu_of(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let ticks = |column: usize| stat.rsplit_once(')').unwrap().1.split_whitespace().nth(column).unwrap().parse::<u64>().unwrap();
    Duration::from_millis((ticks(11) + ticks(12)) * 10)
}

/// Resident memory of a process in KiB.
pub fn resident_kib(pid: u32) -> f64 {
    status_kib(pid, "VmRSS:")
}

/// The most that was ever resident of a process, in KiB.
pub fn peak_kib(pid: u32) -> f64 {
    status_kib(pid, "VmHWM:")
}

/// A line of proc_pid_status(5).
fn status_kib(pid: u32, field: &str) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// A client's connection from this address of the loopback network.
pub fn connect_from(source: Ipv4Addr, server: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddrV4::new(source, 0).into()).unwrap();
    socket.connect_timeout(&server.into(), Duration::from_secs(20)).unwrap();
    socket.into()
}

/// A client's side of TLS without a connection.
pub fn tls(credentials: Option<Credentials>) -> ClientConnection {
    ClientConnection::new(TlsOptions::with(credentials).config(), ServerName::try_from("localhost").unwrap()).unwrap()
}

pub fn alices_startup() -> Vec<u8> {
    startup(&[("user", "alice"), ("database", "postgres")])
}

/// Tells those who work in other threads that it is over, also where the test fails: they would go on, and it wait for them, for ever.
pub struct Ending<'a>(pub &'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Runs `load` while `watch` is asked again and again; both see when the other has ended.
pub fn while_running<T: Send>(load: impl FnOnce() -> T + Send, mut watch: impl FnMut()) -> T {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let load = scope.spawn(|| {
            let _ending = Ending(&over);
            load()
        });
        while !over.load(Ordering::SeqCst) {
            watch();
        }
        load.join().unwrap()
    })
}

/// The value below which so many of a hundred lie; of none, zero.
pub fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    times.get(times.len().saturating_sub(1) * percent / 100).copied().unwrap_or_default()
}

/// The daemon may have as many descriptors as this process, which holds the clients' and the backend's ends of all of them. More than the hard
/// limit is root's to give.
fn raise_descriptor_limit() {
    const WANTED: u64 = 100_000;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    if setrlimit(Resource::RLIMIT_NOFILE, WANTED.max(hard), WANTED.max(hard)).is_err() {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    }
}

fn serve_backend(path: std::path::PathBuf) {
    let (bound, is_bound) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = UnixListener::bind(path).unwrap();
            bound.send(()).unwrap();
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => drop(tokio::spawn(play_backend(stream))),
                    Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            }
        });
    });
    is_bound.recv().unwrap();
}

/// One connection. An SSLRequest is the daemon, looking whether we live.
async fn play_backend(mut stream: UnixStream) -> Option<()> {
    let ready = message('Z', b"I");
    let length = stream.read_u32().await.ok()?;
    let mut packet = vec![0; length as usize - 4];
    stream.read_exact(&mut packet).await.ok()?;
    if length == 8 {
        return stream.write_all(b"N").await.ok();
    }
    let key = message('K', &[0, 0, 0, 1, 0, 0, 0, 2]);
    stream.write_all(&[message('R', &[0; 4]), key, ready.clone()].concat()).await.ok()?;
    let answer = [message('C', b"SELECT 0\0"), ready].concat();
    loop {
        let kind = stream.read_u8().await.ok()?;
        let mut body = vec![0; stream.read_u32().await.ok()? as usize - 4];
        stream.read_exact(&mut body).await.ok()?;
        match kind {
            b'X' => return None,
            _ => stream.write_all(&answer).await.ok()?,
        }
    }
}
