//! `postern check`: would `serve` start with this configuration?

use std::path::Path;

use super::Exit;
use super::load::load;

pub(super) fn run(path: &Path) -> Exit {
    match load(path) {
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
