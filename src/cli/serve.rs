//! `postern serve`: the daemon in the foreground.

use std::env;
use std::path::Path;

use super::Exit;
use super::load::load;
use crate::config::{self, live_resources};
use crate::daemon::{Bound, Daemon, DaemonError};
use crate::harden::{Resources, confine};

/// Why it does not serve.
enum Stop {
    /// What is wrong with the configuration.
    Faults(String),
    /// What went wrong.
    Failed(DaemonError),
}

pub(super) fn run(path: &Path) -> Exit {
    match serve(path) {
        Ok(()) => Exit::Done,
        Err(Stop::Faults(faults)) => {
            eprintln!("{faults}");
            Exit::Config
        }
        Err(Stop::Failed(error)) => {
            eprintln!("postern: {error}");
            Exit::Failed
        }
    }
}

/// The configuration is read twice: by whoever started the process, to know what to bind, whom to become and what to keep within reach; and
/// with all that it names by whoever it is from then on, as every reload will.
fn serve(path: &Path) -> Result<(), Stop> {
    let config::Loaded { settings, files, .. } = config::load(path).map_err(|faults| Stop::Faults(faults.to_string()))?;
    let boot = settings.boot;
    let bound = Bound::new(&boot).map_err(Stop::Failed)?;
    let manager = env::var_os("NOTIFY_SOCKET").is_some_and(|socket| socket.as_encoded_bytes().starts_with(b"@"));
    let live = live_resources(path, &files, &settings.live.backend.target);
    let resources = Resources { abstract_sockets: manager, ..boot.and_resources(live) };
    let confined = confine(&boot.harden, &resources).map_err(|error| Stop::Failed(DaemonError::Harden(error)))?;
    let (look, ready) = load(path).map_err(Stop::Faults)?;
    if ready.boot != boot {
        return Err(Stop::Faults(format!("{}: it was changed while it was read; start again", path.display())));
    }
    Daemon::prepare(bound, path, look, ready, confined).and_then(Daemon::run).map_err(Stop::Failed)
}
