//! A PostgreSQL of the demo's own: found, initialised, started, reachable by a Unix socket only.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use super::error::DemoError;
use super::interrupt::Interrupt;
use super::process::Process;
use super::workplace::Workplace;
use crate::os::{User, effective_uid, user};

/// PostgreSQL's programs on this machine.
pub(super) struct Installation {
    bin: PathBuf,
    /// As `postgres --version` says it: `15.14 (Debian ...)`.
    pub(super) version: String,
}

/// A running server whose superuser is `postgres`.
pub(super) struct Cluster {
    process: Process,
    folder: PathBuf,
    psql: PathBuf,
    owner: u32,
}

/// Where Postern finds the server.
pub(super) struct Target {
    pub(super) folder: PathBuf,
    /// Whom the server runs as.
    pub(super) owner: u32,
}

impl Installation {
    /// `$PG_BIN`, then the newest that is packaged, then `$PATH`.
    pub(super) fn find() -> Result<Self, DemoError> {
        let named = std::env::var_os("PG_BIN").map(PathBuf::from);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut places = named.into_iter().chain(packaged()).chain(std::env::split_paths(&path));
        let complete = |bin: &PathBuf| ["initdb", "postgres", "psql"].iter().all(|program| bin.join(program).is_file());
        let bin = places.find(complete).ok_or(DemoError::NoPostgres)?;
        let output = Command::new(bin.join("postgres")).arg("--version").output();
        let output = output.map_err(|error| DemoError::io("ask PostgreSQL for its version", error))?;
        let said = String::from_utf8_lossy(&output.stdout);
        let version = said.trim().rsplit_once("PostgreSQL) ").map_or(said.trim(), |(_, version)| version).to_owned();
        Ok(Self { bin, version })
    }

    /// Whom the server must run as, if it cannot be us: PostgreSQL refuses to be root.
    pub(super) fn server_user(&self) -> Result<Option<User>, DemoError> {
        if effective_uid() != 0 {
            return Ok(None);
        }
        let find = |name| user(name).map_err(|error| DemoError::io("look for PostgreSQL's user", error));
        match find("postgres")? {
            Some(user) => Ok(Some(user)),
            None => find("nobody")?.map(Some).ok_or(DemoError::NoServerUser),
        }
    }

    /// The psql that belongs to it.
    pub(super) fn psql(&self) -> PathBuf {
        self.bin.join("psql")
    }

    /// One of its programs, as the server's user and without this process's surroundings.
    fn program(&self, name: &str, workplace: &Workplace) -> Command {
        let mut command = Command::new(self.bin.join(name));
        command.env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C").env("TZ", "UTC").current_dir("/");
        if let Some(user) = &workplace.server_user {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        command
    }
}

impl Cluster {
    /// Initialises a cluster and starts it, and waits until it takes connections.
    pub(super) fn start(installation: &Installation, workplace: &Workplace, interrupt: &Interrupt) -> Result<Self, DemoError> {
        let folder = workplace.servers.clone();
        let data = folder.join("data");
        // Whoever reaches the socket is trusted, and nobody but its owner and us does: the folder keeps the others away.
        let mut initdb = installation.program("initdb", workplace);
        initdb.args(["--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "--no-sync", "-D"]).arg(&data);
        let initialised = initdb.stdin(Stdio::null()).output();
        interrupt.check()?;
        succeeded("initdb", initialised)?;

        let owner = fs::metadata(&data).map_err(|error| DemoError::io("look at PostgreSQL's data", error))?.uid();
        let mut server = installation.program("postgres", workplace);
        server.arg("-D").arg(&data).arg("-k").arg(&folder).args(["-p", PORT]);
        server.args(SETTINGS.iter().flat_map(|setting| ["-c", setting]));
        let process = Process::start("PostgreSQL", &mut server, workplace.own.join("postgresql.log"))?;
        let mut this = Self { process, psql: installation.psql(), folder, owner };
        let ready = interrupt.wait_for(Duration::from_secs(60), || {
            this.check()?;
            Ok(is_ready(&data).then_some(()))
        })?;
        ready.map(|()| this).ok_or_else(|| DemoError::Program { name: "PostgreSQL", said: "it was not ready within a minute".to_owned() })
    }

    /// Runs SQL as superuser.
    pub(super) fn run(&self, sql: &str) -> Result<(), DemoError> {
        let conninfo = format!("host='{}' port={PORT} user=postgres dbname=postgres", self.folder.display());
        let mut psql = Command::new(&self.psql);
        psql.args(["-qX", "-v", "ON_ERROR_STOP=1", "-f", "-", "-d", &conninfo]).current_dir("/");
        clean(&mut psql).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut run = || {
            let mut child = psql.spawn()?;
            // It is short enough for the pipe: psql cannot be waiting for us to read before it has read all of it.
            child.stdin.take().map(|mut stdin| stdin.write_all(sql.as_bytes())).transpose()?;
            child.wait_with_output()
        };
        succeeded("psql", run())
    }

    /// Its Unix socket.
    pub(super) fn socket(&self) -> PathBuf {
        self.folder.join(format!(".s.PGSQL.{PORT}"))
    }

    /// Where Postern finds it.
    pub(super) fn target(&self) -> Target {
        Target { folder: self.folder.clone(), owner: self.owner }
    }

    /// An error if it has ended.
    pub(super) fn check(&mut self) -> Result<(), DemoError> {
        self.process.check()
    }
}

/// Without what the user has set for his own connections.
pub(super) fn clean(command: &mut Command) -> &mut Command {
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PG")) {
        command.env_remove(name);
    }
    command.env("LC_ALL", "C").env("HOME", "/nonexistent").env("PGCONNECT_TIMEOUT", "10")
}

/// What Debian's and Red Hat's packages install, the newest first.
fn packaged() -> Vec<PathBuf> {
    let versions = |parent: &str, prefix: &str| -> Vec<(u32, PathBuf)> {
        let entries = fs::read_dir(parent).into_iter().flatten().flatten();
        let version = |name: &str| name.strip_prefix(prefix)?.parse().ok();
        entries.filter_map(|entry| Some((version(entry.file_name().to_str()?)?, entry.path().join("bin")))).collect()
    };
    let mut found = versions("/usr/lib/postgresql", "");
    found.extend(versions("/usr", "pgsql-"));
    found.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    found.into_iter().map(|(_, bin)| bin).collect()
}

/// The fact of readiness: the eighth line of postmaster.pid says so (src/include/utils/pidfile.h).
fn is_ready(data: &Path) -> bool {
    fs::read_to_string(data.join("postmaster.pid")).is_ok_and(|pid| pid.lines().nth(7).is_some_and(|status| status.trim() == "ready"))
}

fn succeeded(name: &'static str, output: std::io::Result<Output>) -> Result<(), DemoError> {
    let output = output.map_err(|error| DemoError::io(format!("run {name}"), error))?;
    if output.status.success() {
        return Ok(());
    }
    Err(DemoError::Program { name, said: String::from_utf8_lossy(&output.stderr).into_owned() })
}

/// Only a part of the socket's name.
const PORT: &str = "5432";

/// No TCP; and no waiting for the disk, since all of it goes at the end.
const SETTINGS: [&str; 5] = ["listen_addresses=", "fsync=off", "full_page_writes=off", "synchronous_commit=off", "shared_buffers=16MB"];
