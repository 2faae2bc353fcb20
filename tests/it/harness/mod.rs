//! What the tests stand on: certificates, PostgreSQL servers, the daemon, and clients for both.

pub mod clients;
pub mod daemon;
pub mod der;
pub mod http;
pub mod pki;
pub mod postgres;
pub mod watchdog;
pub mod wire;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use clients::Clients;
use daemon::{Config, Daemon};
use pki::{CredentialFiles, Credentials, Pki, Profile};
use postgres::{Installation, Postgres};
use tempfile::TempDir;
use wire::Wire;

/// A door to a PostgreSQL with a role `alice`, who has a certificate: Postern's door.
///
/// With `POSTERN_IT_DOOR=native` it is PostgreSQL's own instead: what holds there is no invention of the tests.
pub struct World {
    // Fields are dropped from top to bottom: the daemon leaves before its database does.
    daemon: Option<Daemon>,
    pub postgres: Postgres,
    pub pki: Pki,
    pub alice: Credentials,
    pub clients: Clients,
    files: TempDir,
}

impl World {
    /// In front of the distribution's PostgreSQL, every database and replication open to whoever has the certificate.
    pub fn new() -> Self {
        Self::before(&Installation::debian())
    }

    pub fn before(installation: &Installation) -> Self {
        let pki = Pki::new();
        if std::env::var("POSTERN_IT_DOOR").is_ok_and(|door| door == "native") {
            let hba = "hostssl all all all cert\nhostssl replication all all cert\n";
            return Self::populated(None, Postgres::native(installation, &pki, false, hba), pki);
        }
        let postgres = Postgres::isolated(installation);
        let config = Config::new(&pki, postgres.dir.path(), postgres.port).with(OPEN_TO_ALL);
        Self::populated(Some(Daemon::start(&config)), postgres, pki)
    }

    /// With a configuration of the test's own.
    pub fn configured(configure: impl FnOnce(Config) -> Config) -> Self {
        Self::configured_before(&Installation::debian(), configure)
    }

    /// With a configuration of the test's own, in front of this version.
    pub fn configured_before(installation: &Installation, configure: impl FnOnce(Config) -> Config) -> Self {
        let pki = Pki::new();
        let postgres = Postgres::isolated(installation);
        let config = configure(Config::new(&pki, postgres.dir.path(), postgres.port));
        Self::populated(Some(Daemon::start(&config)), postgres, pki)
    }

    fn populated(daemon: Option<Daemon>, postgres: Postgres, pki: Pki) -> Self {
        postgres.sql(
            "create role alice login createdb; create role bob login; create role walreceiver login replication;
             create database alice owner alice;",
        );
        let clients = Clients::for_server(&postgres.installation);
        Self { daemon, alice: pki.client(Profile::Good), pki, clients, postgres, files: postgres::private_dir() }
    }

    pub fn postern(&self) -> &Daemon {
        self.daemon.as_ref().expect("this test is about Postern: it has nothing to ask PostgreSQL's own door")
    }

    pub fn postern_mut(&mut self) -> &mut Daemon {
        self.daemon.as_mut().expect("this test is about Postern: it has nothing to ask PostgreSQL's own door")
    }

    pub fn address(&self) -> SocketAddr {
        self.daemon.as_ref().map_or_else(|| self.postgres.address(), Daemon::address)
    }

    /// A folder for what a test writes.
    pub fn dir(&self) -> &Path {
        self.files.path()
    }

    /// How alice connects, for libpq.
    pub fn conninfo(&self) -> String {
        self.conninfo_of("alice", &self.alice)
    }

    pub fn conninfo_of(&self, user: &str, credentials: &Credentials) -> String {
        conninfo(self.address(), user, credentials, self.files.path())
    }

    /// Alice's session, just logged in.
    #[track_caller]
    pub fn log_in(&self) -> Wire {
        Wire::log_in(self.address(), &self.alice, "alice").unwrap_or_else(|refusal| panic!("alice was refused: {refusal}"))
    }
}

/// How `user` connects to `address`, for libpq, with what is written to `dir`.
pub fn conninfo(address: SocketAddr, user: &str, credentials: &Credentials, dir: &Path) -> String {
    let CredentialFiles { certificate, key } = credentials.write(dir, user);
    format!(
        "host=127.0.0.1 port={} user={user} dbname=postgres sslmode=require sslcert={} sslkey={}",
        address.port(),
        certificate.display(),
        key.display()
    )
}

/// What `hostssl all all all cert` and `hostssl replication all all cert` say.
pub const OPEN_TO_ALL: &str = "hba:
  - { database: all, user: all, address: all, method: cert }
  - { database: replication, user: all, address: all, method: cert }";

/// Where `tests/setup.sh` puts what Debian does not package.
pub fn tools() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).with_file_name("test-tools")
}

/// Tells one process, by its id.
pub fn signal(name: &str, pid: u32) {
    Command::new("sh").args(["-c", &format!("kill -{name} {pid}")]).status().unwrap();
}

/// Waits for a fact that nobody announces, by looking again and again.
#[track_caller]
pub fn wait_until(fact: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "this never came true: {fact}");
        thread::sleep(Duration::from_millis(5));
    }
}
