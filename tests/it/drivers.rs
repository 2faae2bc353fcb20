//! Each driver that people use, doing what their programs do. One program for each, in its own language, connects by its
//! driver's own means and prints what it saw, a fact a line; the tests here say what it must have seen.
//!
//! Every program checks the server's certificate and name, and reads the same answers as it would from PostgreSQL's own door.

mod tokio_client;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use aws_lc_rs::digest::{SHA256, digest};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;

use crate::harness::clients::succeeded;
use crate::harness::daemon::{Config, Daemon};
use crate::harness::pki::{CredentialFiles, Pki, Profile};
use crate::harness::postgres::{Installation, Postgres, private_dir};
use crate::harness::tools;

/// A door, and the files with which alice's programs come to it.
struct Door {
    // Fields are dropped from top to bottom: the daemon leaves before its database does.
    postern: Option<Daemon>,
    postgres: Postgres,
    /// What the server's certificate is checked with.
    root: PathBuf,
    alice: CredentialFiles,
    _dir: tempfile::TempDir,
}

/// What a program saw, and the door's own view of it.
struct Facts<'a> {
    seen: BTreeMap<String, String>,
    door: &'a Door,
}

impl Door {
    fn new() -> Self {
        Self::before(&Installation::debian())
    }

    /// With `POSTERN_IT_DOOR=native`, PostgreSQL's own: what the programs see there is what they must see.
    fn before(installation: &Installation) -> Self {
        let pki = Pki::new();
        let dir = private_dir();
        let root = dir.path().join("server-ca.crt");
        let alice = pki.client(Profile::Good).write(dir.path(), "alice");
        let (postgres, postern) = if std::env::var("POSTERN_IT_DOOR").is_ok_and(|door| door == "native") {
            let postgres = Postgres::native(installation, &pki, false, "hostssl all all all cert\n");
            fs::copy(postgres.data().join("server.crt"), &root).unwrap();
            (postgres, None)
        } else {
            let postgres = Postgres::isolated(installation);
            let config = Config::new(&pki, postgres.dir.path(), postgres.port);
            fs::copy(config.dir().join("server.crt"), &root).unwrap();
            (postgres, Some(Daemon::start(&config)))
        };
        postgres.sql("create role alice login; create role bob login");
        Self { postern, postgres, root, alice, _dir: dir }
    }

    fn port(&self) -> u16 {
        self.postern.as_ref().map_or(self.postgres.port, |postern| postern.port)
    }

    /// Runs a program: its language's command is given, where to connect follows.
    fn run(&self, program: &mut Command) -> Facts<'_> {
        self.run_with(program, &self.alice.key, &[])
    }

    fn run_with(&self, program: &mut Command, key: &Path, more: &[&str]) -> Facts<'_> {
        program.arg(self.port().to_string()).args([&*self.root, &*self.alice.certificate, key]).args(more);
        let output = program.output().unwrap_or_else(|error| missing(&format!("{program:?} ({error})")));
        let complaint = String::from_utf8_lossy(&output.stderr);
        if ["ModuleNotFoundError", "MODULE_NOT_FOUND"].iter().any(|fault| complaint.contains(fault)) {
            missing(&complaint);
        }
        self.facts(&succeeded(output))
    }

    fn facts(&self, printed: &str) -> Facts<'_> {
        let fact = |line: &str| line.split_once('=').map(|(name, fact)| (name.to_owned(), fact.to_owned()));
        Facts { seen: printed.lines().filter_map(fact).collect(), door: self }
    }
}

impl Facts<'_> {
    #[track_caller]
    fn fact(&self, name: &str) -> &str {
        self.seen.get(name).unwrap_or_else(|| panic!("the program says nothing about {name}: {:?}", self.seen))
    }

    /// It had a session, by TLS 1.3, as the name on the certificate; parameters and a big result were what they should be.
    #[track_caller]
    fn served(&self) -> &Self {
        assert_eq!(self.fact("user"), "alice");
        assert_eq!(self.fact("parameters"), "it's \"Grüße\", 世界 🐘 18 2147483648 true");
        let rows: String = (1..=51200).map(|i| format!("{i:08}").repeat(128)).collect();
        assert_eq!(self.fact("big"), format!("51200 52428800 {}", sha256(rows.as_bytes())));
        if let Some(postern) = &self.door.postern {
            let start = postern.wait_for_record(|record| record["event"] == "session.start");
            assert_eq!((start["tls"]["version"].as_str(), start["cert"]["cn"].as_str()), (Some("TLSv1.3"), Some("alice")), "{start}");
        }
        self
    }

    #[track_caller]
    fn copied_in(&self) -> &Self {
        assert_eq!(self.fact("copy_in"), "100000 5000050000");
        self
    }

    #[track_caller]
    fn copied_out(&self) -> &Self {
        let lines = (1..=100_000).fold(String::new(), |mut lines, i| {
            writeln!(lines, "{i}\tnumber {i}").unwrap();
            lines
        });
        assert_eq!(self.fact("copy_out"), sha256(lines.as_bytes()));
        self
    }

    /// Its statement was cancelled at once, and it could go on.
    #[track_caller]
    fn cancelled(&self, by: &str, expected: &str) -> &Self {
        assert!(self.fact(by).contains(expected), "{by}: {}", self.fact(by));
        let elapsed: u64 = self.fact(&format!("{by}_ms")).parse().unwrap();
        assert!(elapsed < 5000, "{by} took {elapsed} ms");
        assert_eq!(self.fact("after"), "1");
        assert!(self.door.postgres.log().contains("canceling statement due to user request"));
        self
    }

    /// Its user read why there was no session as bob, and none without a certificate; `sqlstate` where its driver tells it.
    #[track_caller]
    fn refused(&self, sqlstate: &str) -> &Self {
        for (attempt, message) in [
            ("wrong_role", "certificate authentication failed for user \"bob\""),
            ("no_certificate", "connection requires a valid client certificate"),
        ] {
            let seen = self.fact(attempt);
            assert!(seen.starts_with(sqlstate) && seen.contains(message), "{attempt}: {seen}");
        }
        self
    }

    #[track_caller]
    fn by_direct_tls(&self) -> &Self {
        if let Some(postern) = &self.door.postern {
            postern.wait_for_record(|record| record["event"] == "session.start" && record["tls"]["negotiation"] == "direct");
        }
        self
    }
}

#[test]
fn psycopg_is_served_and_refused() {
    for installation in Installation::both() {
        let door = Door::before(&installation);
        let facts = door.run(&mut python("psycopg_client.py"));
        facts.served().copied_in().copied_out().cancelled("cancel", "57014").cancelled("cancel_safe", "57014").refused("");
        assert_eq!(facts.fact("protocol"), "3.0");
    }
}

#[test]
fn psycopg_is_served_and_refused_by_direct_tls_in_protocol_3_2() {
    let door = Door::before(&Installation::eighteen());
    let newest = ["sslnegotiation=direct", "min_protocol_version=3.2", "max_protocol_version=3.2"];
    let facts = door.run_with(&mut python("psycopg_client.py"), &door.alice.key, &newest);
    facts.served().by_direct_tls().copied_in().copied_out().cancelled("cancel", "57014").cancelled("cancel_safe", "57014").refused("");
    assert_eq!(facts.fact("protocol"), "3.2");
}

#[test]
fn asyncpg_is_served_and_refused() {
    let door = Door::before(&Installation::eighteen());
    let facts = door.run(&mut python("asyncpg_client.py"));
    facts.served().by_direct_tls().copied_in().copied_out().cancelled("cancel", "CancelledError").refused("28000");
    assert_eq!(facts.fact("direct_tls"), "alice");
}

#[test]
fn pg8000_is_served_and_refused() {
    Door::new().run(&mut python("pg8000_client.py")).served().copied_in().copied_out().refused("28000");
}

#[test]
fn odbc_is_served_and_refused() {
    let installed = |entry: fs::DirEntry| Some(entry.path().join("odbc/psqlodbcw.so")).filter(|driver| driver.exists());
    let driver = fs::read_dir("/usr/lib").unwrap().flatten().find_map(installed).unwrap_or_else(|| missing("psqlodbcw.so"));
    Door::new().run(python("odbc_client.py").arg(driver)).served().cancelled("cancel", "57014").refused("");
}

#[test]
fn node_postgres_is_served_and_refused() {
    // Where the machine had no node, setup borrowed one.
    let borrowed = tools().join("python/bin/node");
    let node = if borrowed.exists() { borrowed } else { "node".into() };
    let mut node = program(node, &[], "node_postgres.js");
    node.env("NODE_PATH", installed(tools().join("node/node_modules")));
    Door::new().run(&mut node).served().copied_in().copied_out().cancelled("cancel", "57014").refused("28000");
}

#[test]
fn pgjdbc_is_served_and_refused() {
    let door = Door::new();
    // pgjdbc wants the key as PKCS #8 in DER.
    let key = door.alice.key.with_extension("pk8");
    fs::write(&key, PrivateKeyDer::from_pem_file(&door.alice.key).unwrap().secret_der()).unwrap();
    let driver = installed("/usr/share/java/postgresql.jar".into());
    // Java does not ask HOME where a certificate of the user's own would be.
    let mut java = program("java", &["-Duser.home=/nonexistent", "-cp", driver.to_str().unwrap()], "Pgjdbc.java");
    door.run_with(&mut java, &key, &[]).served().copied_in().copied_out().cancelled("cancel", "57014").refused("28000");
}

#[test]
fn lib_pq_is_served_and_refused() {
    installed("/usr/share/gocode/src/github.com/lib/pq".into());
    let mut go = program("go", &["run"], "lib_pq.go");
    // Debian packages libraries for the time before modules. Without cgo the run needs no C compiler.
    go.env("GO111MODULE", "off").env("GOPATH", "/usr/share/gocode").env("CGO_ENABLED", "0").env("GOCACHE", tools().join("go-cache"));
    Door::new().run(&mut go).served().copied_in().cancelled("cancel", "57014").refused("28000");
}

#[test]
fn tokio_postgres_is_served_and_refused() {
    let door = Door::before(&Installation::eighteen());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let printed = runtime.block_on(tokio_client::run(door.port(), &door.root, &door.alice));
    let facts = door.facts(&printed);
    facts.served().by_direct_tls().copied_in().copied_out().cancelled("cancel", "57014").refused("28000");
    assert_eq!(facts.fact("direct_tls"), "alice");
}

fn python(name: &str) -> Command {
    program(installed(tools().join("python/bin/python")), &[], name)
}

/// One of the programs, which sees nothing of the developer's own settings.
fn program(interpreter: impl AsRef<OsStr>, options: &[&str], name: &str) -> Command {
    let mut command = Command::new(interpreter);
    command.args(options).arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/drivers").join(name));
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("HOME", "/nonexistent").env("LC_ALL", "C.UTF-8").env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

fn installed(path: PathBuf) -> PathBuf {
    if path.exists() { path } else { missing(&path.display().to_string()) }
}

fn missing(what: &str) -> ! {
    panic!("a driver is missing here, {what}: run `make test`, which installs it")
}

/// The SHA-256 of some text.
fn sha256(text: &[u8]) -> String {
    digest(&SHA256, text).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
