//! What `serve` and `check` share: the configuration and all that it names, or every fault of both.

use std::path::Path;

use crate::config::{self, BootSettings, Settings};
use crate::snapshot::Snapshot;

/// A configuration that can be served.
pub(super) struct Ready {
    pub(super) boot: BootSettings,
    pub(super) snapshot: Snapshot,
    /// What an operator should know although it is no fault.
    pub(super) notices: Vec<String>,
}

/// Reads the configuration and its files.
///
/// # Errors
/// One line a fault, all of them.
pub(super) fn load(path: &Path) -> Result<Ready, String> {
    let config::Loaded { settings, locator } = config::load(path).map_err(|faults| faults.to_string())?;
    let Settings { boot, live } = settings;
    let snapshot = Snapshot::load(&live).map_err(|faults| {
        let found = faults.iter().map(|fault| (fault.setting, format!("{}: {}", fault.file.display(), fault.what)));
        locator.diagnostics(found).to_string()
    })?;
    let notices = [boot.notices(), snapshot.notices(), live.rule_notices].concat();
    Ok(Ready { boot, snapshot, notices })
}
