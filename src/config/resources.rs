//! Which files and ports a configuration makes the daemon use, for the fence around it.

use std::path::Path;

use super::files::NamedFile;
use super::settings::BootSettings;
use crate::backend::BackendTarget;
use crate::harden::{Named, Resources};
use crate::observe::AuditDestination;

/// What a reload makes the daemon use: the configuration itself, the files that it names, and the backend.
pub fn live_resources(config: &Path, files: &[NamedFile], backend: &BackendTarget) -> Resources {
    let mut read = vec![Named::new("-c", config.to_owned())];
    read.extend(files.iter().map(|file| Named::new(file.key.as_str(), file.path.clone())));
    let connected = match backend {
        BackendTarget::Loopback(address) => vec![Named::new("backend.port", address.port())],
        BackendTarget::Unix(_) => Vec::new(),
    };
    Resources { read, connected, ..Resources::default() }
}

impl BootSettings {
    /// The same, and what only a start makes the daemon use.
    pub fn and_resources(&self, live: Resources) -> Resources {
        let appended = match &self.observe.audit.destination {
            AuditDestination::File(path) => vec![Named::new("audit.file", path.clone())],
            AuditDestination::Stdout | AuditDestination::Off => Vec::new(),
        };
        let sockets = self.admin.socket.iter().map(|path| Named::new("admin.socket", path.clone())).collect();
        Resources { appended, sockets, ..live }
    }
}
