//! Real PostgreSQL servers, in two postures: *native*, with its own TLS and `cert` rules, is what Postern must look
//! like; *isolated*, reachable by its Unix socket only, is what Postern stands before.
//!
//! Each version's cluster is initialised once per run and copied for each server. A server belongs to the value that
//! started it, and leaves with it.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use nix::unistd::{Uid, User};
use tempfile::TempDir;

use super::clients::{Clients, succeeded};
use super::pki::{Credentials, Pki};
use super::watchdog::Watched;

/// The server programs of one PostgreSQL version.
#[derive(Clone, Debug)]
pub struct Installation {
    pub bin: PathBuf,
    pub major: u32,
}

impl Installation {
    /// What Debian packages: 15 on Debian 12, 17 on Debian 13.
    pub fn debian() -> Self {
        let packaged = fs::read_dir("/usr/lib/postgresql")
            .ok()
            .into_iter()
            .flatten()
            .flatten()
            .map(|version| version.path().join("bin"))
            .filter(|bin| bin.join("postgres").exists())
            .max();
        Self::at(std::env::var_os("POSTERN_PG15_BIN").map(PathBuf::from).or(packaged))
    }

    pub fn eighteen() -> Self {
        let installed = super::tools().join("pg18/bin");
        let named = std::env::var_os("POSTERN_PG18_BIN").map(PathBuf::from);
        Self::at(named.or(Some(installed)).filter(|bin| bin.join("postgres").exists()))
    }

    pub fn both() -> [Self; 2] {
        [Self::debian(), Self::eighteen()]
    }

    fn at(bin: Option<PathBuf>) -> Self {
        let bin = bin.unwrap_or_else(|| panic!("a PostgreSQL server is missing here: run `make test`, which installs it"));
        let bin = reachable_by_the_server_user(bin);
        let version = succeeded(Command::new(bin.join("postgres")).arg("--version").output().unwrap());
        let major = version.split([' ', '.']).find_map(|word| word.parse().ok()).unwrap();
        Self { bin, major }
    }

    /// The pg_hba.conf that initdb writes.
    pub fn stock_hba(&self) -> String {
        fs::read_to_string(self.template().join("pg_hba.conf")).unwrap()
    }

    /// The initialised cluster that this run's servers of this version are copies of.
    fn template(&self) -> PathBuf {
        static MAKING: Mutex<()> = Mutex::new(());
        let _one_at_a_time = MAKING.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("cluster-{}-{}", self.major, std::process::id()));
        if path.exists() {
            return path;
        }
        remove_templates_of_earlier_runs();
        let work = server_dir();
        let data = work.path().join("data");
        let initdb = as_server_user(self.bin.join("initdb"))
            .args(["--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "--no-sync", "-D"])
            .arg(&data)
            .output()
            .unwrap();
        succeeded(initdb);
        copy(&data, &path);
        path
    }
}

/// A running server of one posture. Its superuser is `postgres`, over the Unix socket.
pub struct Postgres {
    pub installation: Installation,
    /// Where the Unix socket is, and where the data directory is.
    pub dir: TempDir,
    /// The port of the Unix socket's name, and of TCP where there is TCP.
    pub port: u16,
    process: Option<Child>,
    settings: String,
    _watched: Watched,
}

impl Postgres {
    /// Reachable by its Unix socket only; everyone who reaches that is trusted.
    pub fn isolated(installation: &Installation) -> Self {
        let mut server = Self::new(installation, "listen_addresses = ''\n");
        server.write_hba("local all all trust\nlocal replication all trust\n");
        server.start();
        server
    }

    /// Without TLS, reachable by its Unix socket and by 127.0.0.1; the given pg_hba.conf lines judge all but the superuser.
    pub fn local(installation: &Installation, hba: &str) -> Self {
        let mut server = Self::new(installation, "listen_addresses = '127.0.0.1'\n");
        server.write_hba(&format!("local all postgres trust\n{hba}"));
        server.start();
        server
    }

    /// TLS 1.3 with client certificates on 127.0.0.1, judged by the given pg_hba.conf lines.
    pub fn native(installation: &Installation, pki: &Pki, with_crl: bool, hba: &str) -> Self {
        let settings = "listen_addresses = '127.0.0.1'\nssl = on\nssl_min_protocol_version = 'TLSv1.3'\n\
                        ssl_cert_file = 'server.crt'\nssl_key_file = 'server.key'\nssl_ca_file = 'ca.crt'\n";
        let crl = if with_crl { "ssl_crl_file = 'ca.crl'\n" } else { "" };
        let mut server = Self::new(installation, &format!("{settings}{crl}"));
        server.write_hba(&format!("local all all trust\n{hba}"));
        server.install_tls(&pki.server(), &pki.client_ca_pem(), &pki.crl_pem());
        server.start();
        server
    }

    fn new(installation: &Installation, settings: &str) -> Self {
        let dir = server_dir();
        let data = dir.path().join("data");
        copy(&installation.template(), &data);
        Self {
            installation: installation.clone(),
            dir,
            port: free_port(),
            process: None,
            settings: settings.into(),
            _watched: Watched::new(),
        }
    }

    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    pub fn write_hba(&self, lines: &str) {
        fs::write(self.data().join("pg_hba.conf"), lines).unwrap();
    }

    pub fn install_tls(&self, server: &Credentials, client_ca: &str, crl: &str) {
        let data = self.data();
        let files = server.write(&data, "server");
        for file in [&files.certificate, &files.key] {
            give_to_server_user(file);
        }
        fs::write(data.join("ca.crt"), client_ca).unwrap();
        fs::write(data.join("ca.crl"), crl).unwrap();
    }

    /// Runs SQL as superuser over the Unix socket; unaligned rows come back.
    #[track_caller]
    pub fn sql(&self, sql: &str) -> String {
        succeeded(Clients::debian().psql(&self.superuser_conninfo(), sql)).trim_end().to_owned()
    }

    pub fn superuser_conninfo(&self) -> String {
        format!("host={} port={} user=postgres dbname=postgres", self.dir.path().display(), self.port)
    }

    /// Waits until a query by the superuser answers `t`.
    #[track_caller]
    pub fn wait_until(&self, query: &str) {
        super::wait_until(query, || self.sql(query) == "t");
    }

    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.dir.path().join("log")).unwrap_or_default()).into_owned()
    }

    /// Ends the server at once, sessions and all; the data stays.
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            super::signal("QUIT", process.id());
            let deadline = Instant::now() + Duration::from_secs(60);
            while process.try_wait().unwrap().is_none() {
                if Instant::now() > deadline {
                    process.kill().unwrap();
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }

    /// Starts it again, with a line for postgresql.conf.
    pub fn restart_with(&mut self, setting: &str) {
        self.stop();
        self.settings.push_str(&format!("{setting}\n"));
        self.start();
    }

    pub fn start(&mut self) {
        // Another test may take a free port before the server does: then it is asked for another one.
        for _ in 0..5 {
            if self.try_start() {
                return;
            }
            self.port = free_port();
        }
        panic!("PostgreSQL {} did not start:\n{}", self.installation.major, self.log());
    }

    fn try_start(&mut self) -> bool {
        let settings =
            format!("{COMMON_SETTINGS}{}port = {}\nunix_socket_directories = '{}'\n", self.settings, self.port, self.dir.path().display());
        fs::write(self.data().join("postgresql.auto.conf"), settings).unwrap();
        let log = fs::File::create(self.dir.path().join("log")).unwrap();
        let mut process = as_server_user(self.installation.bin.join("postgres"))
            .arg("-D")
            .arg(self.data())
            .stderr(log.try_clone().unwrap())
            .stdout(log)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        super::wait_until("PostgreSQL is ready or gone", || self.accepts() || process.try_wait().unwrap().is_some());
        if process.try_wait().unwrap().is_some() {
            return false;
        }
        self.process = Some(process);
        true
    }

    /// The fact of readiness: postmaster.pid says so in its eighth line.
    fn accepts(&self) -> bool {
        fs::read_to_string(self.data().join("postmaster.pid"))
            .is_ok_and(|pid| pid.lines().nth(7).is_some_and(|status| status.trim() == "ready"))
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A folder for one test, with a path short enough for Unix sockets, in which everybody may look.
pub fn private_dir() -> TempDir {
    let dir = tempfile::Builder::new().prefix("postern-it-").tempdir_in("/tmp").unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

/// The same for a server, and its user's.
fn server_dir() -> TempDir {
    let dir = private_dir();
    give_to_server_user(dir.path());
    dir
}

/// A port that nobody else in this run was told of.
pub fn free_port() -> u16 {
    static TOLD: Mutex<Vec<u16>> = Mutex::new(Vec::new());
    loop {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let mut told = TOLD.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if !told.contains(&port) {
            told.push(port);
            return port;
        }
    }
}

/// The OS user that servers run as: PostgreSQL refuses to run as root.
fn server_user() -> Option<&'static User> {
    static USER: OnceLock<Option<User>> = OnceLock::new();
    USER.get_or_init(|| {
        if !Uid::effective().is_root() {
            return None;
        }
        ["postgres", "nobody"].iter().find_map(|name| User::from_name(name).unwrap())
    })
    .as_ref()
}

pub fn as_server_user(program: impl AsRef<Path>) -> Command {
    let mut command = Command::new("setpriv");
    // Where the tests die without a word, their servers follow.
    command.arg("--pdeathsig=QUIT");
    if let Some(user) = server_user() {
        command.args([format!("--reuid={}", user.uid), format!("--regid={}", user.gid), "--clear-groups".into()]);
    }
    command.arg(program.as_ref()).env_clear().env("LC_ALL", "C").env("PATH", "/usr/bin:/bin").current_dir("/");
    command
}

pub fn give_to_server_user(path: &Path) {
    if let Some(user) = server_user() {
        chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
    }
}

/// A checkout below /root is closed to the server's user: then its programs are copied to where they are not.
fn reachable_by_the_server_user(bin: PathBuf) -> PathBuf {
    static COPYING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = COPYING.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if as_server_user("test").arg("-x").arg(bin.join("postgres")).status().is_ok_and(|status| status.success()) {
        return bin;
    }
    let home = bin.parent().unwrap();
    let changed = fs::metadata(bin.join("postgres")).unwrap().mtime();
    let copied = Path::new("/tmp").join(format!("postern-it-programs-{}-{changed}", Uid::effective()));
    if !copied.exists() {
        let making = private_dir();
        copy(home, &making.path().join("pg"));
        succeeded(Command::new("chmod").args(["-R", "a+rX"]).arg(making.path()).output().unwrap());
        fs::rename(making.keep(), &copied).unwrap();
    }
    copied.join("pg").join(bin.file_name().unwrap())
}

fn remove_templates_of_earlier_runs() {
    for entry in fs::read_dir(env!("CARGO_TARGET_TMPDIR")).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap_or_default();
        let owner = name.strip_prefix("cluster-").and_then(|rest| rest.split_once('-')).map(|(_, pid)| pid.to_owned());
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            drop(fs::remove_dir_all(entry.path()));
        }
    }
}

fn copy(from: &Path, to: &Path) {
    succeeded(Command::new("cp").args(["-a", "--reflink=auto"]).arg(from).arg(to).output().unwrap());
}

const COMMON_SETTINGS: &str = "
fsync = off
synchronous_commit = off
full_page_writes = off
shared_buffers = 16MB
max_connections = 60
wal_level = logical
max_wal_senders = 5
max_wal_size = 256MB
logging_collector = off
log_connections = on
log_min_messages = info
";
