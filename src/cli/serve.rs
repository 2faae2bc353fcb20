//! `postern serve`: the daemon in the foreground.

use std::env;
use std::path::Path;

use clap::Args;

use super::load::{faults_of, load};
use super::{ConfigFile, Exit};
use crate::admin::Incumbent;
use crate::config::{self, BootSettings, Position, live_resources};
use crate::daemon::{Bound, Daemon, DaemonError};
use crate::harden::{HardenError, Resources, confine};
use crate::os;

/// What to serve, and in whose place.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigFile,
    /// Take over from the daemon that runs with this configuration, which then drains; start as ever if none does
    #[arg(long)]
    handover: bool,
}

/// Why it does not serve.
enum Stop {
    /// What is wrong with the configuration.
    Faults(String),
    /// What went wrong, and which place of the configuration it is about.
    Failed(DaemonError, Option<Position>),
}

impl From<DaemonError> for Stop {
    fn from(error: DaemonError) -> Self {
        Self::Failed(error, None)
    }
}

impl Stop {
    /// Folders are the configuration's choice; what else is missing is this machine's.
    fn not_hardened(config: &Path, error: HardenError) -> Self {
        match error {
            HardenError::Gaps(_) => Self::Faults(faults_of(config, &error)),
            HardenError::User(..) | HardenError::Missing(_) => Self::from(DaemonError::Harden(error)),
        }
    }
}

pub(super) fn run(arguments: Arguments) -> Exit {
    let path = arguments.config.path();
    match serve(&path, arguments.handover) {
        Ok(()) => Exit::Done,
        Err(Stop::Faults(faults)) => {
            eprintln!("{faults}");
            Exit::Config
        }
        Err(Stop::Failed(error, place)) => {
            let file = path.display();
            let place = place.map(|Position { line, column }| format!("{file}:{line}:{column} ")).unwrap_or("postern: ".to_owned());
            eprintln!("{place}{error}");
            Exit::Failed
        }
    }
}

/// The configuration is read twice: by whoever started the process, to know what to bind, whom to become and what to keep within reach; and
/// with all that it names by whoever it is from then on, as every reload will.
fn serve(path: &Path, handover: bool) -> Result<(), Stop> {
    let config::Loaded { settings, files, locator, .. } = config::load(path).map_err(|faults| Stop::Faults(faults.to_string()))?;
    let boot = settings.boot;
    let manager = env::var_os("NOTIFY_SOCKET").is_some_and(|socket| socket.as_encoded_bytes().starts_with(b"@"));
    let live = live_resources(path, &files, &settings.live.backend.target);
    let resources = Resources { abstract_sockets: manager, ..boot.and_resources(live) };
    // Before anything is bound, or asked of a daemon that runs.
    boot.harden.gaps(&resources).map_err(|error| Stop::not_hardened(path, error))?;
    let incumbent = if handover { incumbent(path, &boot)? } else { None };
    let bound = Bound::new(&boot, incumbent).map_err(|error| {
        let place = error.key().map(|key| locator.at(key));
        Stop::Failed(error, place)
    })?;
    let confined = confine(&boot.harden, &resources).map_err(|error| Stop::not_hardened(path, error))?;
    let (look, ready) = load(path).map_err(Stop::Faults)?;
    if ready.boot != boot {
        return Err(Stop::Faults(format!("{}: it was changed while it was read; start again", path.display())));
    }
    Daemon::prepare(bound, path, look, ready, confined).and_then(Daemon::run).map_err(Stop::from)
}

/// Whom this process takes over from, if anybody serves.
fn incumbent(path: &Path, boot: &BootSettings) -> Result<Option<Incumbent>, Stop> {
    let Some(socket) = &boot.admin.socket else {
        let fault = "admin.socket: found null, expected the path of the running daemon's admin socket, through which --handover asks it";
        return Err(Stop::Faults(format!("{}: {fault}; set it, and restart once without --handover", path.display())));
    };
    let us = os::effective_uid();
    let uid = boot.harden.user.as_ref().filter(|_| us == 0).map_or(us, |user| user.uid);
    Incumbent::ask(socket, uid).map_err(|error| Stop::from(DaemonError::Handover(error)))
}
