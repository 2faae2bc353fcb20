//! `postern check`: would `serve` start with this configuration?

use std::path::Path;

use super::Exit;
use super::load::load;
use crate::config;
use crate::harden::{HardenSettings, Mode, Resources, confine};

pub(super) fn run(path: &Path) -> Exit {
    match become_user(path).and_then(|()| load(path)) {
        Ok((_, ready)) => {
            ready.notices().iter().for_each(|notice| println!("{}: notice: {notice}", path.display()));
            println!("{}: no faults", path.display());
            Exit::Done
        }
        Err(faults) => {
            println!("{faults}");
            Exit::Config
        }
    }
}

/// Looks as the user whom `serve` would become, if that can be had: what only root may read is a fault then.
fn become_user(path: &Path) -> Result<(), String> {
    let harden = config::load(path).map_err(|faults| faults.to_string())?.settings.boot.harden;
    let settings = HardenSettings { mode: Mode::None, ..harden };
    confine(&settings, &Resources::default()).map(drop).map_err(|error| error.to_string())
}
