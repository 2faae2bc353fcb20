//! A real PostgreSQL, with its own TLS on loopback and a Unix socket for the fronts.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;

use crate::stage::{Keys, Program, Stage, free_port};

/// Sessions of each load, with room for one front's leftovers.
const SETTINGS: &str = "
max_connections = 450
shared_buffers = 256MB
fsync = off
autovacuum = off
unix_socket_permissions = 0777
ssl = on
ssl_min_protocol_version = 'TLSv1.3'
ssl_cert_file = 'server.crt'
ssl_key_file = 'server.key'
ssl_ca_file = 'client-ca.crt'
";

/// The same rule for those who come by TCP as Postern has for its clients.
const HBA: &str = "local all all trust\nhostssl all all 127.0.0.1/32 cert\n";

pub struct Postgres {
    program: Program,
    bin: PathBuf,
    /// Where the Unix socket is.
    pub folder: PathBuf,
    pub address: SocketAddr,
}

impl Postgres {
    /// Starts one and fills pgbench's tables.
    pub fn start(stage: &Stage, scale: u32) -> Self {
        let bin = find();
        let folder = stage.room("postgres", Keys::Ecdsa);
        let data = folder.join("data");
        let mut initdb = Command::new(bin.join("initdb"));
        initdb.args(["--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "--no-sync", "-D"]).arg(&data);
        run(stage.as_server(&mut initdb));
        for file in ["server.crt", "server.key", "client-ca.crt"] {
            fs::copy(folder.join(file), data.join(file)).unwrap();
            stage.give(&data.join(file));
        }
        let address = free_port();
        let configured = fs::read_to_string(data.join("postgresql.conf")).unwrap();
        let place = format!("listen_addresses = '127.0.0.1'\nport = {}\nunix_socket_directories = '{}'", address.port(), folder.display());
        fs::write(data.join("postgresql.conf"), format!("{configured}{SETTINGS}{place}\n")).unwrap();
        fs::write(data.join("pg_hba.conf"), HBA).unwrap();
        let mut command = Command::new(bin.join("postgres"));
        let mut program = Program::start("PostgreSQL", stage.as_server(command.arg("-D").arg(&data)), &folder, Signal::SIGINT);
        let socket = folder.join(format!(".s.PGSQL.{}", address.port()));
        program.wait_until(|| fs::read_to_string(data.join("postmaster.pid")).is_ok_and(|text| text.trim_end().ends_with("ready")));
        assert!(socket.exists());
        let server = Self { program, bin, folder, address };
        server.sql("postgres", "CREATE ROLE alice LOGIN; GRANT CREATE ON SCHEMA public TO alice");
        run(server.command("pgbench").args(["-i", "-q", "-s", &scale.to_string(), &server.conninfo("alice")]));
        let rows = "CREATE TABLE wide AS SELECT i, repeat('x', 8000) AS text FROM generate_series(1, 16384) i; ALTER TABLE wide ALTER text SET STORAGE PLAIN";
        let narrow = "CREATE TABLE narrow AS SELECT i, 'a row of some forty characters, or so' AS text FROM generate_series(1, 1500000) i";
        server.sql("alice", &format!("{rows}; {narrow}"));
        server.sql("postgres", "VACUUM ANALYZE; CHECKPOINT");
        server
    }

    pub fn pid(&self) -> u32 {
        self.program.pid()
    }

    /// The Unix socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.join(format!(".s.PGSQL.{}", self.address.port()))
    }

    /// How its own programs come in by the Unix socket.
    pub fn conninfo(&self, user: &str) -> String {
        format!("host={} port={} user={user} dbname=postgres", self.folder.display(), self.address.port())
    }

    /// One of its client programs.
    pub fn command(&self, name: &str) -> Command {
        let mut command = Command::new(self.bin.join(name));
        command.env_clear().env("LC_ALL", "C").env("HOME", "/nonexistent").stdin(Stdio::null());
        command
    }

    /// As `postgres --version` says it.
    pub fn version(&self) -> String {
        run(self.command("postgres").arg("--version")).trim().to_owned()
    }

    fn sql(&self, user: &str, sql: &str) {
        let statements = sql.split("; ").flat_map(|statement| ["-c", statement]);
        run(self.command("psql").args(["-qX", "-v", "ON_ERROR_STOP=1", &self.conninfo(user)]).args(statements));
    }
}

/// `$PG_BIN`, or the newest that Debian packages.
fn find() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|version| version.path().join("bin"));
    let packaged = versions.filter(|bin| bin.join("pgbench").exists()).max();
    let named = std::env::var_os("PG_BIN").map(PathBuf::from);
    named.or(packaged).unwrap_or_else(|| panic!("there is no PostgreSQL here: tests/setup.sh bench installs it"))
}

/// What a program says, if it succeeds.
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{command:?}: {}", said(&output.stderr));
    said(&output.stdout)
}

/// The socket that a backend has in `folder`, by the name that PostgreSQL gives it.
pub fn socket_in(folder: &Path, port: u16) -> PathBuf {
    folder.join(format!(".s.PGSQL.{port}"))
}
