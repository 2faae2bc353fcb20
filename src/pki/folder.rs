//! The folder that holds the CAs and what they issued, and the only writer in it: files come into being whole, or not at all.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::{ClientName, PkiError};
use crate::os::effective_uid;

/// The two powers, each with a CA of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Says "I am the database".
    Server,
    /// Says "I am this role".
    Client,
}

impl Purpose {
    /// The CA's common name, which is its files' name too.
    pub fn authority(self) -> &'static str {
        match self {
            Self::Server => "server-ca",
            Self::Client => "client-ca",
        }
    }
}

/// Where everything is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder(PathBuf);

impl Folder {
    /// The folder at `path`, which need not exist.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The certificate of a CA.
    pub fn authority_certificate(&self, purpose: Purpose) -> PathBuf {
        self.0.join(format!("{}.crt", purpose.authority()))
    }

    /// The key of a CA.
    pub fn authority_key(&self, purpose: Purpose) -> PathBuf {
        self.0.join(format!("{}.key", purpose.authority()))
    }

    /// The server's certificate.
    pub fn server_certificate(&self) -> PathBuf {
        self.0.join("server.crt")
    }

    /// The server's key.
    pub fn server_key(&self) -> PathBuf {
        self.0.join("server.key")
    }

    /// A client's certificate.
    pub fn client_certificate(&self, name: &ClientName) -> PathBuf {
        self.0.join(format!("{}.crt", name.file_stem()))
    }

    /// A client's key.
    pub fn client_key(&self, name: &ClientName) -> PathBuf {
        self.0.join(format!("{}.key", name.file_stem()))
    }

    /// The copy of what was issued under a serial number.
    pub fn issued(&self, serial: &str) -> PathBuf {
        self.0.join("issued").join(format!("{serial}.crt"))
    }

    /// Makes the folder if it is not there, for its owner alone, and checks that nobody else may change what is in it.
    pub(super) fn make(&self) -> Result<(), PkiError> {
        match DirBuilder::new().mode(0o700).create(&self.0) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => self.check(),
            Err(error) => Err(failed("make the folder", &self.0)(error)),
        }
    }

    /// Checks that nobody but the owner may change what is in the folder, and that the owner is one to be trusted with it.
    pub(super) fn check(&self) -> Result<(), PkiError> {
        let mode = self.look()?.permissions().mode();
        if mode & 0o022 == 0 { self.check_owner() } else { Err(PkiError::OpenFolder(self.0.clone())) }
    }

    /// Checks that the folder is not another user's, such as one that was waiting for us in /tmp.
    ///
    /// # Errors
    /// It is, or there is none.
    pub fn check_owner(&self) -> Result<(), PkiError> {
        let owner = self.look()?.uid();
        let parent = std::path::absolute(&self.0).ok().and_then(|path| Some(fs::metadata(path.parent()?).ok()?.uid()));
        if may_own(owner, effective_uid(), parent) {
            return Ok(());
        }
        Err(PkiError::ForeignFolder { path: self.0.clone(), owner })
    }

    fn look(&self) -> Result<Metadata, PkiError> {
        fs::metadata(&self.0).map_err(failed("look at the folder", &self.0))
    }

    /// Makes the folder of copies, if it is not there.
    pub(super) fn make_issued(&self) -> Result<(), PkiError> {
        let path = self.0.join("issued");
        match DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(failed("make the folder", &path)(error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

/// Whether a folder of this owner is one for us to work in. Whoever owns the folder around it could put another in its place at
/// any time, so that nothing is gained by distrusting them: that is root in a checkout of somebody's.
fn may_own(owner: u32, us: u32, parent: Option<u32>) -> bool {
    owner == us || owner == 0 || Some(owner) == parent
}

/// A file in the making.
pub(super) struct NewFile {
    pub(super) path: PathBuf,
    pub(super) content: String,
    pub(super) mode: u32,
}

impl NewFile {
    /// A private key, for its owner alone.
    pub(super) fn key(path: PathBuf, pem: String) -> Self {
        Self { path, content: pem, mode: 0o600 }
    }

    /// A certificate, for everybody.
    pub(super) fn certificate(path: PathBuf, pem: String) -> Self {
        Self { path, content: pem, mode: 0o644 }
    }
}

/// Writes files that must not exist, all of them or none.
pub(super) fn write_all(files: &[NewFile]) -> Result<(), PkiError> {
    // Said before anything is made, so that the usual refusal touches nothing; that it holds is seen to by create_new.
    if let Some(taken) = files.iter().find(|file| fs::symlink_metadata(&file.path).is_ok()) {
        return Err(PkiError::Taken(taken.path.clone()));
    }
    let mut written: Vec<&Path> = Vec::new();
    for file in files {
        if let Err(error) = write(file, &mut written) {
            written.iter().for_each(|path| drop(fs::remove_file(path)));
            return Err(error);
        }
    }
    Ok(())
}

fn write<'a>(file: &'a NewFile, written: &mut Vec<&'a Path>) -> Result<(), PkiError> {
    let path = file.path.as_path();
    let opened = OpenOptions::new().write(true).create_new(true).mode(file.mode).open(path);
    let mut out = opened.map_err(|error| {
        if error.kind() == io::ErrorKind::AlreadyExists { PkiError::Taken(path.to_owned()) } else { failed("write", path)(error) }
    })?;
    written.push(path);
    let fill = |out: &mut File| {
        // The umask may have taken bits away: a certificate is for everybody whatever it says.
        out.set_permissions(Permissions::from_mode(file.mode))?;
        out.write_all(file.content.as_bytes())?;
        out.sync_all()
    };
    fill(&mut out).map_err(failed("write", path))
}

/// For `map_err`: what was to be done with which file.
pub(super) fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> PkiError {
    let path = path.to_owned();
    move |error| PkiError::File { action, path, error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_waited_for_root_in_tmp_is_not_used() {
        assert!(!may_own(1000, 0, Some(0)));
        assert!(!may_own(1000, 1001, Some(0)));
        for (owner, us, parent) in [(0, 0, Some(0)), (1000, 1000, Some(0)), (0, 1000, Some(0)), (1000, 0, Some(1000)), (1000, 1000, None)] {
            assert!(may_own(owner, us, parent), "{owner}'s for {us} in {parent:?}'s");
        }
    }
}
