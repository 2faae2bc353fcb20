//! `postern check`: would `serve` start with this configuration?

use std::path::Path;

use super::Exit;
use super::load::{faults_of, load};
use crate::config::{self, live_resources};
use crate::harden::{HardenSettings, Mode, Resources, confine};
use crate::notice::Notice;
use crate::snapshot::Ready;

pub(super) fn run(path: &Path) -> Exit {
    let looked = become_user(path).and_then(|()| load(path));
    match looked.and_then(|(_, ready)| Ok((gaps(path, &ready)?, ready))) {
        Ok((gaps, ready)) => {
            ready.notices().iter().chain(&gaps).for_each(|notice| println!("{}: notice: {notice}", path.display()));
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

/// What the sandbox of `serve` will leave open because of the folders that are configured.
fn gaps(path: &Path, ready: &Ready) -> Result<Vec<Notice>, String> {
    let live = live_resources(path, &ready.files, &ready.snapshot.terms().backend().target);
    ready.boot.harden.gaps(&ready.boot.and_resources(live)).map_err(|error| faults_of(path, &error))
}
