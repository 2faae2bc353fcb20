//! What the daemon goes on needing of the system while it serves.

use std::path::PathBuf;

/// What the daemon goes on needing, each with the key of the configuration that it comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// Files that are read, at the start and by every reload; of a directory, all in it.
    pub read: Vec<Named<PathBuf>>,
    /// Files that are appended to, and made anew when they are rotated away.
    pub appended: Vec<Named<PathBuf>>,
    /// Sockets that are made, renamed and removed.
    pub sockets: Vec<Named<PathBuf>>,
    /// Ports on loopback that are connected to.
    pub connected: Vec<Named<u16>>,
    /// Whether an abstract Unix socket is connected to: the service manager's, where NOTIFY_SOCKET begins with `@` (sd_notify(3)).
    pub abstract_sockets: bool,
}

/// Something, and the key that names it, as `tls.ssl_key_file`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named<T> {
    /// The key.
    pub setting: String,
    /// What it names.
    pub value: T,
}

impl<T> Named<T> {
    /// `value`, as `setting` names it.
    pub fn new(setting: impl Into<String>, value: T) -> Self {
        Self { setting: setting.into(), value }
    }
}

impl<T> Named<T> {
    /// Another value by the same key.
    pub(super) fn with<U>(&self, value: U) -> Named<U> {
        Named { setting: self.setting.clone(), value }
    }
}
