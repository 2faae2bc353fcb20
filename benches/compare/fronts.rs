//! What stands before a backend: each by its package's defaults, and held to the same work: TLS 1.3, a client certificate that is
//! verified, no resumption, one backend connection for each session.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::Signal;

use crate::client::Way;
use crate::postgres::{Postgres, run, socket_in};
use crate::stage::{Keys, Program, Stage, free_port, listens};

/// All ways to a backend, in the order of the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Front {
    /// PostgreSQL's Unix socket: no TLS, no front.
    Socket,
    /// PostgreSQL's own TLS: `hostssl all all cert`.
    Native,
    PgBouncer,
    Stunnel,
    HaProxy,
    Nginx,
    /// A relay of blocking rustls that does nothing else.
    Bare,
    Postern,
}

/// What a front stands before.
#[derive(Clone, Debug)]
pub struct Target {
    /// Of the Unix socket.
    pub folder: PathBuf,
    pub port: u16,
}

/// A front at work.
pub struct Running {
    pub front: Front,
    pub way: Way,
    address: Option<SocketAddr>,
    /// The process whose tree is measured.
    pub pid: u32,
    _program: Option<Program>,
}

impl Front {
    pub const ALL: [Self; 8] =
        [Self::Socket, Self::Native, Self::PgBouncer, Self::Stunnel, Self::HaProxy, Self::Nginx, Self::Bare, Self::Postern];

    /// All, or those that `BENCH_FRONTS` names.
    pub fn wanted() -> impl Iterator<Item = Self> {
        let named = std::env::var("BENCH_FRONTS").ok();
        let wanted = move |front: &Self| named.as_ref().is_none_or(|named| named.split(',').any(|name| name == front.name()));
        Self::ALL.into_iter().filter(wanted)
    }

    /// Those that are programs of their own.
    pub fn proxies() -> impl Iterator<Item = Self> {
        Self::wanted().filter(|front| !front.is_postgres())
    }

    /// Whether it is PostgreSQL that the client talks to.
    pub fn is_postgres(self) -> bool {
        matches!(self, Self::Socket | Self::Native)
    }

    /// Whether libpq before 17 can come in: it begins with an SSLRequest.
    pub fn takes_ssl_request(self) -> bool {
        !matches!(self, Self::HaProxy | Self::Nginx)
    }

    /// Whether it is a product that Postern is compared with, and no yardstick.
    pub fn is_peer(self) -> bool {
        !matches!(self, Self::Socket | Self::Bare | Self::Postern)
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Socket => "Unix socket",
            Self::Native => "native TLS",
            Self::PgBouncer => "PgBouncer",
            Self::Stunnel => "stunnel",
            Self::HaProxy => "HAProxy",
            Self::Nginx => "nginx",
            Self::Bare => "bare relay",
            Self::Postern => "Postern",
        }
    }

    /// What its program says of its version; empty for those that have none of their own.
    pub fn version(self) -> String {
        let said = |program: &str, argument: &str| {
            let output = Command::new(find(program)).arg(argument).output().unwrap();
            let text = [output.stdout, output.stderr].concat();
            String::from_utf8_lossy(&text).lines().find(|line| line.contains(|c: char| c.is_ascii_digit())).unwrap_or_default().to_owned()
        };
        match self {
            Self::Socket | Self::Native | Self::Bare => String::new(),
            Self::PgBouncer => said("pgbouncer", "--version"),
            Self::Stunnel => said("stunnel4", "-version").replace("[ ] ", ""),
            Self::HaProxy => said("haproxy", "-v"),
            Self::Nginx => said("nginx", "-v"),
            Self::Postern => run(Command::new(POSTERN).arg("--version")).trim().to_owned(),
        }
    }

    /// Starts it before `target`, unless it is PostgreSQL itself.
    pub fn start(self, stage: &Stage, target: &Target, keys: Keys) -> Running {
        self.start_under(stage, target, keys, &[])
    }

    /// The same as an argument of another command, which counts what it does.
    pub fn start_under(self, stage: &Stage, target: &Target, keys: Keys, counter: &[String]) -> Running {
        let room = stage.room(self.program(), keys);
        let address = free_port();
        let mut command = match self {
            Self::Socket | Self::Native => panic!("PostgreSQL runs already"),
            Self::PgBouncer => pgbouncer(&room, address, target),
            Self::Stunnel => stunnel(&room, address, target),
            Self::HaProxy => haproxy(&room, address, target),
            Self::Nginx => nginx(&room, address, target),
            Self::Bare => {
                let mut command = Command::new(std::env::current_exe().unwrap());
                command.arg("bare").arg(address.to_string()).arg(&room).arg(socket_in(&target.folder, target.port));
                command
            }
            Self::Postern => postern(&room, address, target),
        };
        if let [counter, arguments @ ..] = counter {
            let counted = std::mem::replace(&mut command, Command::new(counter));
            command.args(arguments).arg(counted.get_program()).args(counted.get_args());
        }
        fs::read_dir(&room).unwrap().flatten().for_each(|file| stage.give(&file.path()));
        let mut program = Program::start(self.name(), stage.as_server(&mut command), &room, Signal::SIGTERM);
        program.wait_until(|| listens(address));
        let config = stage.client(keys);
        let way = if self.takes_ssl_request() { Way::Requested(address, config) } else { Way::Direct(address, config) };
        Running { front: self, way, address: Some(address), pid: program.pid(), _program: Some(program) }
    }

    /// Everyone at work before PostgreSQL, PostgreSQL itself included.
    pub fn all_before(stage: &Stage, postgres: &Postgres, fronts: &[Self]) -> Vec<Running> {
        let target = Target { folder: postgres.folder.clone(), port: postgres.address.port() };
        let running = |way, address, front| Running { front, way, address, pid: postgres.pid(), _program: None };
        let start = |front: &Self| match front {
            Self::Socket => running(Way::Socket(postgres.socket()), None, *front),
            Self::Native => running(Way::Requested(postgres.address, stage.client(Keys::Ecdsa)), Some(postgres.address), *front),
            Self::PgBouncer | Self::Stunnel | Self::HaProxy | Self::Nginx | Self::Bare | Self::Postern => {
                front.start(stage, &target, Keys::Ecdsa)
            }
        };
        fronts.iter().map(start).collect()
    }

    fn program(self) -> &'static str {
        match self {
            Self::Socket | Self::Native => "postgres",
            Self::PgBouncer => "pgbouncer",
            Self::Stunnel => "stunnel4",
            Self::HaProxy => "haproxy",
            Self::Nginx => "nginx",
            Self::Bare => "bare",
            Self::Postern => "postern",
        }
    }
}

impl Running {
    /// What libpq is told to come in here as alice; `files` has hers.
    pub fn conninfo(&self, postgres: &Postgres, files: &Path) -> String {
        let Some(address) = self.address else { return postgres.conninfo("alice") };
        let [root, certificate, key] = ["client-ca.crt", "alice.crt", "alice.key"].map(|name| files.join(name).display().to_string());
        let port = address.port();
        format!(
            "host=127.0.0.1 port={port} user=alice dbname=postgres sslmode=verify-ca sslrootcert={root} sslcert={certificate} sslkey={key}"
        )
    }
}

/// The program under measurement: the release build, as it ships.
const POSTERN: &str = env!("CARGO_BIN_EXE_postern");

fn find(program: &str) -> PathBuf {
    let places = ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"];
    let mut found = places.iter().map(|place| Path::new(place).join(program)).filter(|path| path.exists());
    found.next().unwrap_or_else(|| panic!("{program} is missing: tests/setup.sh bench installs it"))
}

/// Writes the configuration, and gives the command that runs it in the foreground.
fn configured(program: &str, arguments: &[&str], room: &Path, file: &str, text: &str) -> Command {
    let path = room.join(file);
    fs::write(&path, text).unwrap();
    let mut command = Command::new(find(program));
    command.args(arguments).arg(path);
    command
}

fn postern(room: &Path, address: SocketAddr, target: &Target) -> Command {
    let (folder, port) = (target.folder.display(), target.port);
    let text = format!(
        "listen: {address}
tls: {{ ssl_cert_file: server.crt, ssl_key_file: server.key, ssl_ca_file: client-ca.crt }}
backend: {{ host: {folder}, port: {port} }}
limits: {{ max_connections: 10000 }}
audit: {{ file: audit.jsonl }}
admin: {{ listen: 127.0.0.1:{} }}
",
        free_port().port()
    );
    fs::write(room.join("postern.yaml"), text).unwrap();
    let mut command = Command::new(POSTERN);
    command.arg("serve").arg("-c").arg(room.join("postern.yaml"));
    command
}

fn pgbouncer(room: &Path, address: SocketAddr, target: &Target) -> Command {
    let (room_, folder, port) = (room.display(), target.folder.display(), target.port);
    let text = format!(
        "[databases]
* = host={folder} port={port}
[pgbouncer]
listen_addr = {}
listen_port = {}
unix_socket_dir =
pool_mode = session
auth_type = cert
auth_file = {room_}/users.txt
client_tls_sslmode = verify-full
client_tls_protocols = tlsv1.3
client_tls_ca_file = {room_}/client-ca.crt
client_tls_cert_file = {room_}/server.crt
client_tls_key_file = {room_}/server.key
max_client_conn = 6000
default_pool_size = 6000
listen_backlog = 4096
",
        address.ip(),
        address.port()
    );
    fs::write(room.join("users.txt"), "\"alice\" \"\"\n").unwrap();
    configured("pgbouncer", &[], room, "pgbouncer.ini", &text)
}

fn stunnel(room: &Path, address: SocketAddr, target: &Target) -> Command {
    let (room_, socket) = (room.display(), socket_in(&target.folder, target.port));
    let text = format!(
        "foreground = yes
pid =
socket = l:TCP_NODELAY=1
[postgres]
accept = {address}
connect = {}
protocol = pgsql
cert = {room_}/server.crt
key = {room_}/server.key
CAfile = {room_}/client-ca.crt
verifyChain = yes
sslVersionMin = TLSv1.3
sessionResume = no
",
        socket.display()
    );
    configured("stunnel4", &[], room, "stunnel.conf", &text)
}

fn haproxy(room: &Path, address: SocketAddr, target: &Target) -> Command {
    let (room_, socket) = (room.display(), socket_in(&target.folder, target.port));
    let pair = ["server.crt", "server.key"].map(|name| fs::read_to_string(room.join(name)).unwrap()).concat();
    fs::write(room.join("server.pem"), pair).unwrap();
    let text = format!(
        "global
    maxconn 6000
defaults
    mode tcp
    maxconn 6000
    timeout connect 5s
    timeout client 1h
    timeout server 1h
listen postgres
    bind {address} ssl crt {room_}/server.pem ca-file {room_}/client-ca.crt verify required ssl-min-ver TLSv1.3 no-tls-tickets alpn postgresql
    server postgres unix@{}
",
        socket.display()
    );
    configured("haproxy", &["-db", "-q", "-f"], room, "haproxy.cfg", &text)
}

fn nginx(room: &Path, address: SocketAddr, target: &Target) -> Command {
    let (room_, socket) = (room.display(), socket_in(&target.folder, target.port));
    let text = format!(
        "load_module /usr/lib/nginx/modules/ngx_stream_module.so;
daemon off;
pid {room_}/nginx.pid;
error_log {room_}/error.log;
worker_processes auto;
events {{ worker_connections 12500; }}
stream {{
    server {{
        listen {address} ssl;
        ssl_certificate {room_}/server.crt;
        ssl_certificate_key {room_}/server.key;
        ssl_client_certificate {room_}/client-ca.crt;
        ssl_verify_client on;
        ssl_protocols TLSv1.3;
        ssl_session_cache off;
        ssl_session_tickets off;
        proxy_pass unix:{};
        proxy_timeout 1h;
    }}
}}
",
        socket.display()
    );
    configured("nginx", &["-c"], room, "nginx.conf", &text)
}
