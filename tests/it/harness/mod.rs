//! What the tests stand on: certificates, PostgreSQL servers, the daemon, and clients for both.

pub mod clients;
pub mod daemon;
pub mod der;
pub mod pki;
pub mod postgres;
pub mod wire;

use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use clients::Clients;
use daemon::{Config, Daemon};
use pki::{CredentialFiles, Credentials, Pki, Profile};
use postgres::{Installation, Postgres};
use tempfile::TempDir;

/// Postern in front of an isolated PostgreSQL, with a role `alice` and her certificate.
pub struct World {
    // Fields are dropped from top to bottom: the daemon leaves before its database does.
    pub postern: Daemon,
    pub postgres: Postgres,
    pub pki: Pki,
    pub alice: Credentials,
    pub clients: Clients,
    files: TempDir,
}

impl World {
    /// In front of the distribution's PostgreSQL.
    pub fn new() -> Self {
        Self::with("")
    }

    /// With more of a configuration than the address, the certificates and the backend.
    pub fn with(yaml: &str) -> Self {
        Self::before(&Installation::debian(), yaml)
    }

    pub fn before(installation: &Installation, yaml: &str) -> Self {
        Self::configured(installation, |config| config.with(yaml))
    }

    pub fn configured(installation: &Installation, configure: impl FnOnce(Config) -> Config) -> Self {
        let pki = Pki::new();
        let postgres = Postgres::isolated(installation);
        postgres.sql("create role alice login; create role bob login; create database alice owner alice;");
        let config = configure(Config::new(&pki, postgres.dir.path(), postgres.port));
        let postern = Daemon::start(&config);
        let alice = pki.client(Profile::Good);
        Self { postern, alice, pki, clients: Clients::for_server(installation), postgres, files: postgres::private_dir() }
    }

    /// How alice connects, for libpq.
    pub fn conninfo(&self) -> String {
        self.conninfo_of("alice", &self.alice)
    }

    pub fn conninfo_of(&self, user: &str, credentials: &Credentials) -> String {
        let CredentialFiles { certificate, key } = credentials.write(self.files.path(), user);
        format!(
            "host=127.0.0.1 port={} user={user} dbname=postgres sslmode=require sslcert={} sslkey={}",
            self.postern.port,
            certificate.display(),
            key.display()
        )
    }
}

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
