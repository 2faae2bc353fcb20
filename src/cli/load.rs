//! What `serve` and `check` share: the configuration and all that it names, or every fault of both.

use std::path::Path;

use crate::harden::HardenError;
use crate::snapshot::{Attempt, Look, Ready};

/// Reads the configuration and its files; gives what they were like as well.
///
/// # Errors
/// One line a fault, all of them.
pub(super) fn load(path: &Path) -> Result<(Look, Ready), String> {
    let Attempt { look, outcome } = Attempt::new(path, &Look::default(), None);
    outcome.map(|ready| (look, ready)).map_err(|unusable| unusable.faults.to_string())
}

/// What the sandbox cannot be with this configuration, a line a fault.
pub(super) fn faults_of(config: &Path, error: &HardenError) -> String {
    error.to_string().lines().map(|line| format!("{}: {line}", config.display())).collect::<Vec<_>>().join("\n")
}
