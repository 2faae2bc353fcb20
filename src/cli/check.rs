//! `postern check`: would `serve` start with this configuration?

use std::path::{Path, PathBuf};

use super::Exit;
use super::load::{faults_of, load};
use crate::config::{self, BootSettings, live_resources};
use crate::harden::{HardenSettings, Mode, Named, Resources, confine};
use crate::notice::Notice;
use crate::os;
use crate::snapshot::Ready;

pub(super) fn run(path: &Path) -> Exit {
    let looked = become_user(path).and_then(|()| load(path));
    match looked.and_then(|(_, ready)| Ok((gaps(path, &ready)?, ready))) {
        Ok((gaps, ready)) => {
            let unwritable = unwritable(&ready.boot);
            ready.notices().iter().chain(&gaps).chain(&unwritable).for_each(|notice| println!("{}: notice: {notice}", path.display()));
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

/// Where `serve` has to write and this user cannot. No fault: a unit of systemd makes its folders at the start.
fn unwritable(boot: &BootSettings) -> Vec<Notice> {
    let Resources { appended, sockets, .. } = boot.and_resources(Resources::default());
    let obstacle = |named: &Named<PathBuf>, written: &Path| {
        let error = os::may_write(written).err()?;
        let found = format!("{}: {} cannot write to {}: {error}", named.setting, os::us(), written.display());
        Some(Notice::new(
            found,
            "serve will not start unless it can by then: create it and chown it to `user`, or let the service's unit do it",
        ))
    };
    let appended = appended.iter().filter_map(|file| match file.value.exists() {
        true => obstacle(file, &file.value),
        false => obstacle(file, folder_of(&file.value)),
    });
    appended.chain(sockets.iter().filter_map(|socket| obstacle(socket, folder_of(&socket.value)))).collect()
}

fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// What the sandbox of `serve` will leave open because of the folders that are configured.
fn gaps(path: &Path, ready: &Ready) -> Result<Vec<Notice>, String> {
    let live = live_resources(path, &ready.files, &ready.snapshot.terms().backend().target);
    ready.boot.harden.gaps(&ready.boot.and_resources(live)).map_err(|error| faults_of(path, &error))
}
