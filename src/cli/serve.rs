//! `postern serve`: the daemon in the foreground.

use std::path::Path;

use super::Exit;
use super::load::load;
use crate::daemon::Daemon;

pub(super) fn run(path: &Path) -> Exit {
    let ready = match load(path) {
        Ok(ready) => ready,
        Err(faults) => {
            eprintln!("{faults}");
            return Exit::Config;
        }
    };
    let served = Daemon::prepare(&ready.boot, ready.snapshot).and_then(|daemon| daemon.run(path, &ready.notices));
    match served {
        Ok(()) => Exit::Done,
        Err(error) => {
            eprintln!("postern: {error}");
            Exit::Failed
        }
    }
}
