//! What `serve` and `check` share: the configuration and all that it names, or every fault of both.

use std::path::Path;

use crate::snapshot::{Attempt, Look, Ready};

/// Reads the configuration and its files; gives what they were like as well.
///
/// # Errors
/// One line a fault, all of them.
pub(super) fn load(path: &Path) -> Result<(Look, Ready), String> {
    let Attempt { look, outcome } = Attempt::new(path, &Look::default(), None);
    outcome.map(|ready| (look, ready)).map_err(|unusable| unusable.faults.to_string())
}
