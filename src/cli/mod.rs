//! Words of the command line to actions, and their outcome to an exit code.

mod acting;
mod admin;
mod check;
mod config;
mod conninfo;
mod demo;
mod doctor;
mod explain;
mod load;
mod lockdown;
mod pki;
mod serve;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

/// The configuration file where neither `-c` nor POSTERN_CONFIG names one.
const DEFAULT_CONFIG: &str = "/etc/postern/postern.yaml";

/// The front door of an isolated PostgreSQL.
#[derive(Debug, Parser)]
#[command(name = "postern", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon in the foreground
    Serve(serve::Arguments),
    /// Load all that serve would load and print every fault; change nothing
    Check(ConfigFile),
    /// Say whether a certificate would be let in as a role, by which rule, and what its client would read
    Explain(explain::Arguments),
    /// Print the settings in force, or the JSON Schema of the file
    #[command(subcommand)]
    Config(config::Command),
    /// Ask the running daemon how it is
    Status(admin::Asking),
    /// List the running daemon's sessions
    Sessions(admin::Asking),
    /// End sessions of the running daemon
    Kill(admin::Killing),
    /// Have the running daemon read its configuration and files again
    Reload(admin::Asking),
    /// Have the running daemon let its sessions leave and end, as TERM does
    Drain(admin::Draining),
    /// Make and look at certificates
    #[command(subcommand)]
    Pki(pki::Command),
    /// Check, and look at the world: is PostgreSQL really isolated, file modes, expiry, clock, limits
    Doctor(doctor::Arguments),
    /// Print the lines of PostgreSQL's own files that leave Postern as the one way in
    Lockdown(lockdown::Arguments),
    /// Print how a user connects, for psql, drivers, pg_service.conf or JDBC
    Conninfo(conninfo::Arguments),
    /// Tell the whole story on this machine, with a PostgreSQL of its own
    Demo(demo::Arguments),
}

#[derive(Clone, Debug, Args)]
struct ConfigFile {
    /// The configuration file [default: $POSTERN_CONFIG, else /etc/postern/postern.yaml]
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl ConfigFile {
    fn path(self) -> PathBuf {
        let from_environment = || std::env::var_os("POSTERN_CONFIG").filter(|value| !value.is_empty()).map(PathBuf::from);
        self.config.or_else(from_environment).unwrap_or_else(|| PathBuf::from(DEFAULT_CONFIG))
    }
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exit {
    /// Done.
    Done,
    /// The answer is no, or it failed at run time.
    Failed,
    /// The configuration is at fault: EX_CONFIG of sysexits.h.
    Config,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Done => Self::SUCCESS,
            Exit::Failed => Self::from(1),
            Exit::Config => Self::from(78),
        }
    }
}

/// Runs the command line of this process. Usage errors end it with 2.
pub fn run() -> ExitCode {
    match Cli::parse().command {
        Command::Serve(arguments) => serve::run(arguments),
        Command::Check(file) => check::run(&file.path()),
        Command::Explain(arguments) => explain::run(arguments),
        Command::Config(command) => config::run(command),
        Command::Status(asking) => admin::status(asking),
        Command::Sessions(asking) => admin::sessions(asking),
        Command::Kill(killing) => admin::kill(killing),
        Command::Reload(asking) => admin::reload(asking),
        Command::Drain(draining) => admin::drain(draining),
        Command::Pki(command) => pki::run(command),
        Command::Doctor(arguments) => doctor::run(arguments),
        Command::Lockdown(arguments) => lockdown::run(arguments),
        Command::Conninfo(arguments) => conninfo::run(arguments),
        Command::Demo(arguments) => demo::run(&arguments),
    }
    .into()
}
