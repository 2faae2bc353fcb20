//! The built daemon in front of an isolated PostgreSQL, and what it says: audit records on stdout, its log on stderr.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::unistd::Uid;
use serde_json::Value;
use tempfile::TempDir;

use super::pki::Pki;
use super::postgres::{free_port, private_dir};

/// A configuration in the making. What a test does not say is left to the daemon's defaults.
#[derive(Clone)]
pub struct Config {
    listen: SocketAddr,
    certificates: Arc<TempDir>,
    with_crl: bool,
    backend: String,
    audit_file: Option<PathBuf>,
    descriptors: Option<usize>,
    further: Option<IpAddr>,
    obeys_modes: bool,
    more: String,
}

/// A running daemon.
pub struct Daemon {
    pub port: u16,
    process: Option<Child>,
    said: Arc<Said>,
    readers: Vec<JoinHandle<()>>,
}

/// What the daemon has said so far, line by line.
#[derive(Default)]
struct Said {
    lines: Mutex<Lines>,
    changed: Condvar,
}

#[derive(Default)]
struct Lines {
    audit: Vec<String>,
    log: String,
    closed: bool,
}

impl Config {
    pub fn new(pki: &Pki, socket_dir: &Path, port: u16) -> Self {
        let dir = private_dir();
        pki.server().write(dir.path(), "server");
        fs::write(dir.path().join("client-ca.crt"), pki.client_ca_pem()).unwrap();
        fs::write(dir.path().join("client-ca.crl"), pki.crl_pem()).unwrap();
        Self {
            listen: (Ipv4Addr::LOCALHOST, free_port()).into(),
            certificates: Arc::new(dir),
            with_crl: false,
            backend: format!("{{ host: {}, port: {port} }}", socket_dir.display()),
            audit_file: None,
            descriptors: None,
            further: None,
            obeys_modes: false,
            more: String::new(),
        }
    }

    pub fn with_crl(mut self) -> Self {
        self.with_crl = true;
        self
    }

    /// Top-level keys besides `listen`, `tls` and `backend`, as YAML.
    pub fn with(mut self, yaml: &str) -> Self {
        self.more.push_str(yaml);
        self.more.push('\n');
        self
    }

    /// A key of `backend` beside the isolated server's address.
    pub fn backend_key(mut self, yaml: &str) -> Self {
        self.backend = format!("{}, {yaml} }}", self.backend.trim_end_matches([' ', '}']));
        self
    }

    /// In place of the isolated server's address.
    pub fn backend(mut self, yaml: &str) -> Self {
        self.backend = yaml.to_owned();
        self
    }

    /// The trail goes to a file: the test reads it there, the harness sees nothing of it.
    pub fn audit_file(mut self, path: &Path) -> Self {
        self.audit_file = Some(path.to_owned());
        self.with(&format!("audit: {{ file: {} }}", path.display()))
    }

    /// The daemon may have no more than so many open descriptors.
    pub fn descriptors(mut self, most: usize) -> Self {
        self.descriptors = Some(most);
        self
    }

    /// The modes of files hold for the daemon even where the tests run as root.
    pub fn obeying_modes(mut self) -> Self {
        self.obeys_modes = true;
        self
    }

    /// A further address, at the same port.
    pub fn listen_also_on(mut self, address: IpAddr) -> Self {
        self.further = Some(address);
        self
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.listen
    }

    /// The folder of the certificate files, which is also the configuration's.
    pub fn dir(&self) -> &Path {
        self.certificates.path()
    }

    pub fn yaml(&self) -> String {
        let further = self.further.map(|address| format!(", \"{address}:{}\"", self.listen.port())).unwrap_or_default();
        let crl = if self.with_crl { "  ssl_crl_file: client-ca.crl\n" } else { "" };
        format!(
            "listen: [\"{}\"{further}]\ntls:\n  ssl_cert_file: server.crt\n  ssl_key_file: server.key\n  ssl_ca_file: client-ca.crt\n{crl}backend: {}\n{}",
            self.listen, self.backend, self.more
        )
    }

    /// Writes the file, beside the certificates.
    pub fn write(&self) -> PathBuf {
        let path = self.dir().join("postern.yaml");
        fs::write(&path, self.yaml()).unwrap();
        path
    }

    fn on_another_port(mut self) -> Self {
        self.listen.set_port(free_port());
        self
    }
}

impl Daemon {
    /// Starts it and waits until it says that it has started.
    pub fn start(config: &Config) -> Self {
        let mut config = config.clone();
        for _ in 0..3 {
            let daemon = Self::spawn(&config, &[]);
            if daemon.has_started(&config) {
                return daemon;
            }
            let log = daemon.log();
            assert!(log.to_lowercase().contains("in use"), "the daemon did not start with\n{}\nand said\n{log}", config.yaml());
            // Another process was quicker to take the free port.
            config = config.on_another_port();
        }
        panic!("no port was free for long enough");
    }

    /// Starts it in the place of one that runs with this configuration, and waits until it says that it has started.
    pub fn taking_over(config: &Config) -> Self {
        let daemon = Self::spawn(config, &["--handover"]);
        assert!(daemon.has_started(config), "the successor did not start and said\n{}", daemon.log());
        daemon
    }

    fn has_started(&self, config: &Config) -> bool {
        let patience = Duration::from_secs(20);
        match &config.audit_file {
            None => self.find(patience, |record| record["event"] == "daemon.start").is_some(),
            Some(_) => self.said.wait(patience, |lines| lines.log.contains("listening on").then_some(())).is_some(),
        }
    }

    /// Waits until it has ended by itself.
    #[track_caller]
    pub fn ended(&mut self) -> ExitStatus {
        let process = self.process.as_mut().unwrap();
        super::wait_until("the daemon has ended", || process.try_wait().unwrap().is_some());
        let status = self.process.take().unwrap().wait().unwrap();
        self.readers.drain(..).for_each(|reader| reader.join().unwrap());
        status
    }

    fn spawn(config: &Config, arguments: &[&str]) -> Self {
        // What is not limited here has the limit of the tests.
        let descriptors = config.descriptors.map(|most| format!("--nofile={most}:{most}"));
        let overriding = config.obeys_modes && Uid::effective().is_root();
        let mut process = Command::new("prlimit")
            .args(descriptors)
            // Where the tests die without a word, the daemon follows.
            .args(["setpriv", "--pdeathsig=KILL"])
            .args(overriding.then_some("--bounding-set=-dac_override,-dac_read_search"))
            .args([postern_path(), "serve", "-c"])
            .arg(config.write())
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let said = Arc::new(Said::default());
        let audit = read_lines(process.stdout.take().unwrap(), said.clone(), |lines, line| lines.audit.push(line));
        let log = read_lines(process.stderr.take().unwrap(), said.clone(), |lines, line| {
            lines.log.push_str(&line);
            lines.log.push('\n');
        });
        let port = config.listen.port();
        Self { port, process: Some(process), said, readers: vec![audit, log] }
    }

    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    pub fn pid(&self) -> u32 {
        self.process.as_ref().unwrap().id()
    }

    /// The lines of the audit trail so far, as they stand there.
    pub fn audit_lines(&self) -> Vec<String> {
        self.said.lock().audit.clone()
    }

    pub fn records(&self) -> Vec<Value> {
        self.audit_lines().iter().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
    }

    pub fn log(&self) -> String {
        self.said.lock().log.clone()
    }

    /// Waits for an audit record, past or future.
    #[track_caller]
    pub fn wait_for_record(&self, predicate: impl FnMut(&Value) -> bool) -> Value {
        self.find(Duration::from_secs(20), predicate).unwrap_or_else(|| {
            panic!("no such record among these:\n{}\nthe log says:\n{}", self.audit_lines().join("\n"), self.log());
        })
    }

    /// Tells it to leave, by the name of a signal, and waits until it has.
    #[track_caller]
    pub fn end(&mut self, signal: &str) -> ExitStatus {
        super::signal(signal, self.pid());
        self.ended()
    }

    fn find(&self, patience: Duration, mut predicate: impl FnMut(&Value) -> bool) -> Option<Value> {
        let mut seen = 0;
        self.said.wait(patience, |lines| {
            let new = &lines.audit[seen..];
            seen = lines.audit.len();
            new.iter().filter_map(|line| serde_json::from_str(line).ok()).find(&mut predicate)
        })
    }

    fn leave(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        let deadline = Instant::now() + Duration::from_secs(10);
        // The first TERM drains, the second ends what is left.
        super::signal("TERM", process.id());
        while process.try_wait().unwrap().is_none() {
            if Instant::now() > deadline {
                drop(process.kill());
            } else {
                super::signal("TERM", process.id());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.leave();
        self.readers.drain(..).for_each(|reader| drop(reader.join()));
        let log = self.log();
        if std::thread::panicking() {
            let records = self.audit_lines();
            let log: Vec<&str> = log.lines().collect();
            eprintln!("the daemon's last records:\n{}", records[records.len().saturating_sub(20)..].join("\n"));
            eprintln!("and of its log:\n{}", log[log.len().saturating_sub(40)..].join("\n"));
        } else {
            assert!(!log.contains("panicked at"), "the daemon panicked:\n{log}");
        }
    }
}

impl Said {
    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn wait<T>(&self, patience: Duration, mut look: impl FnMut(&Lines) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + patience;
        let mut lines = self.lock();
        loop {
            let found = look(&lines);
            let left = deadline.saturating_duration_since(Instant::now());
            if found.is_some() || lines.closed || left.is_zero() {
                return found;
            }
            lines = self.changed.wait_timeout(lines, left).unwrap_or_else(|poisoned| poisoned.into_inner()).0;
        }
    }
}

/// Runs another of the program's commands to its end; a `serve` that should have been refused is killed after a minute.
pub fn postern(arguments: &[&str]) -> Output {
    Command::new("timeout").args(["--signal=KILL", "60", postern_path()]).args(arguments).stdin(Stdio::null()).output().unwrap()
}

pub const fn postern_path() -> &'static str {
    env!("CARGO_BIN_EXE_postern")
}

fn read_lines(pipe: impl Read + Send + 'static, said: Arc<Said>, keep: impl Fn(&mut Lines, String) + Send + 'static) -> JoinHandle<()> {
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
            keep(&mut said.lock(), String::from_utf8_lossy(&line).into_owned());
            said.changed.notify_all();
        }
        said.lock().closed = true;
        said.changed.notify_all();
    })
}
