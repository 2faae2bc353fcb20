//! Words of the command line to actions, and their outcome to an exit code.

mod admin;
mod check;
mod load;
mod serve;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::admin::{Request, Selector};

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
    Serve(ConfigFile),
    /// Load all that serve would load and print every fault; change nothing
    Check(ConfigFile),
    /// Ask the running daemon how it is
    Status(Asking),
    /// List the running daemon's sessions
    Sessions(Asking),
    /// End sessions of the running daemon
    Kill {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        asking: Asking,
    },
}

/// How to ask the running daemon.
#[derive(Debug, Args)]
struct Asking {
    #[command(flatten)]
    config: ConfigFile,
    /// Print JSON, for programs
    #[arg(long)]
    json: bool,
}

/// Which sessions to end.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Target {
    /// The session of this ID, as `postern sessions` and the audit trail show it
    #[arg(value_name = "ID")]
    id: Option<String>,
    /// Every session of this role
    #[arg(long, value_name = "ROLE")]
    role: Option<String>,
    /// Every session of the certificate with this SHA-256 fingerprint
    #[arg(long, value_name = "FINGERPRINT")]
    cert: Option<String>,
}

#[derive(Debug, Args)]
struct ConfigFile {
    /// The configuration file [default: $POSTERN_CONFIG, else /etc/postern/postern.yaml]
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Target {
    /// Clap sees to it that there is one.
    fn selector(self) -> Option<Selector> {
        let Self { id, role, cert } = self;
        id.map(Selector::Id).or(role.map(Selector::Role)).or(cert.map(Selector::Cert))
    }
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
        Command::Serve(file) => serve::run(&file.path()),
        Command::Check(file) => check::run(&file.path()),
        Command::Status(asking) => admin::run(&Request::Status, asking),
        Command::Sessions(asking) => admin::run(&Request::Sessions, asking),
        Command::Kill { target, asking } => match target.selector() {
            Some(selector) => admin::run(&Request::Kill(selector), asking),
            None => Exit::Failed,
        },
    }
    .into()
}
