//! `postern serve`: the daemon in the foreground.

use std::path::Path;

use super::Exit;
use super::load::load;
use crate::daemon::Daemon;

pub(super) fn run(path: &Path) -> Exit {
    let (look, ready) = match load(path) {
        Ok(loaded) => loaded,
        Err(faults) => {
            eprintln!("{faults}");
            return Exit::Config;
        }
    };
    let served = Daemon::prepare(path, look, ready).and_then(Daemon::run);
    match served {
        Ok(()) => Exit::Done,
        Err(error) => {
            eprintln!("postern: {error}");
            Exit::Failed
        }
    }
}
