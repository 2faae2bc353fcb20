//! The folder in which all of a run happens, and which goes with it.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, lchown};
use std::path::{Path, PathBuf};

use super::error::DemoError;
use crate::crypto::{Sha256, random};
use crate::os::User;

/// Two folders, each of one user alone, and PostgreSQL's socket within Postern's reach: nobody else on this machine reaches it, and it
/// trusts whoever does.
pub(super) struct Workplace {
    root: PathBuf,
    /// Postern's: configuration, audit trail, log.
    pub(super) own: PathBuf,
    /// PostgreSQL's: data and socket.
    pub(super) servers: PathBuf,
    /// Whom PostgreSQL runs as, where it cannot be us.
    pub(super) server_user: Option<User>,
}

impl Workplace {
    /// Makes the folders.
    pub(super) fn make(server_user: Option<User>) -> Result<Self, DemoError> {
        let chance: [u8; 16] = random().map_err(|error| DemoError::Text(error.to_string()))?;
        let unique = Sha256::of(&chance).to_string();
        let root = parent().join(format!("postern-demo-{}", unique.get(..12).unwrap_or(&unique)));
        let this = Self { own: root.join("postern"), servers: root.join("postgres"), root, server_user };
        this.fill().map_err(|error| DemoError::io(format!("make {}", this.root.display()), error))?;
        Ok(this)
    }

    fn fill(&self) -> io::Result<()> {
        for folder in [&self.root, &self.own, &self.servers] {
            DirBuilder::new().mode(0o700).create(folder)?;
        }
        if let Some(user) = &self.server_user {
            fs::set_permissions(&self.root, Permissions::from_mode(0o711))?;
            // Its group stays ours: root that has given up its capabilities gets in as its member, to the socket.
            lchown(&self.servers, Some(user.uid.as_raw()), None)?;
            fs::set_permissions(&self.servers, Permissions::from_mode(0o710))?;
        }
        Ok(())
    }

    /// The audit trail.
    pub(super) fn audit(&self) -> PathBuf {
        self.own.join("audit.jsonl")
    }
}

impl Drop for Workplace {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.root) {
            eprintln!("postern: {} could not be removed: {error}", self.root.display());
        }
    }
}

/// The system's temporary folder, unless the name of a socket in it would be too long: the kernel takes 107 bytes.
fn parent() -> PathBuf {
    let named = std::env::temp_dir();
    if named.is_absolute() && named.as_os_str().len() <= 50 { named } else { Path::new("/tmp").to_owned() }
}
