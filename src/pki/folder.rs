//! The folder that holds the CAs and what they issued: where each file is, and who may change them.

use std::fs::{self, DirBuilder, File, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::files::{failed, is_taken, sweep};
use super::{ClientName, PkiError};
use crate::identity::Certificate;
use crate::os::{Lock, effective_uid};

/// The two powers, each with a CA of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Says "I am the database".
    Server,
    /// Says "I am this role".
    Client,
}

impl Purpose {
    /// The CA that issues, by its files' name.
    pub fn authority(self) -> &'static str {
        Seat::issuing(self).stem()
    }
}

/// A CA's place: what it is for, and whether it issues certificates or is the root above the one that does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seat {
    pub(super) purpose: Purpose,
    pub(super) root: bool,
}

impl Seat {
    pub(super) const ALL: [Self; 4] = [
        Self::issuing(Purpose::Client),
        Self::issuing(Purpose::Server),
        Self { purpose: Purpose::Client, root: true },
        Self { purpose: Purpose::Server, root: true },
    ];

    /// The one that issues.
    pub(super) const fn issuing(purpose: Purpose) -> Self {
        Self { purpose, root: false }
    }

    /// The root, where there is an intermediate CA.
    pub(super) const fn root(purpose: Purpose) -> Self {
        Self { purpose, root: true }
    }

    /// Its files' name.
    pub(super) fn stem(self) -> &'static str {
        match (self.purpose, self.root) {
            (Purpose::Server, false) => "server-ca",
            (Purpose::Client, false) => "client-ca",
            (Purpose::Server, true) => "server-root",
            (Purpose::Client, true) => "client-root",
        }
    }
}

/// Where everything is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder(PathBuf);

/// The files of one certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The certificate, with the CAs between it and the root.
    pub certificate: PathBuf,
    /// The key, as PKCS #8 in PEM.
    pub key: PathBuf,
    /// The key as PKCS #8 in DER, where that was asked for.
    pub pk8: PathBuf,
}

impl Folder {
    /// The folder at `path`, which need not exist.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The certificate of a CA, with the root's behind it where it is not the root itself: what `tls.ssl_ca_file` and
    /// `sslrootcert` take.
    pub fn authority_certificate(&self, purpose: Purpose) -> PathBuf {
        self.certificate_of(Seat::issuing(purpose))
    }

    /// The key of a CA.
    pub fn authority_key(&self, purpose: Purpose) -> PathBuf {
        self.key_of(Seat::issuing(purpose))
    }

    /// The key of the root above a CA, where there is one.
    pub fn root_key(&self, purpose: Purpose) -> PathBuf {
        self.key_of(Seat::root(purpose))
    }

    /// The revocation lists of a CA and of the root above it.
    pub fn crl(&self, purpose: Purpose) -> PathBuf {
        self.0.join(format!("{}.crl", purpose.authority()))
    }

    /// The index of what was issued and revoked.
    pub fn index(&self) -> PathBuf {
        self.0.join("index.jsonl")
    }

    /// The server's certificate.
    pub fn server_certificate(&self) -> PathBuf {
        self.place(SERVER).certificate
    }

    /// The server's key.
    pub fn server_key(&self) -> PathBuf {
        self.place(SERVER).key
    }

    /// A client's first certificate.
    pub fn client_certificate(&self, name: &ClientName) -> PathBuf {
        self.place(&name.file_stem()).certificate
    }

    /// A client's first key.
    pub fn client_key(&self, name: &ClientName) -> PathBuf {
        self.place(&name.file_stem()).key
    }

    /// The copy of what was issued under a serial number.
    pub fn issued(&self, serial: &str) -> PathBuf {
        self.0.join("issued").join(format!("{serial}.crt"))
    }

    pub(super) fn certificate_of(&self, seat: Seat) -> PathBuf {
        self.0.join(format!("{}.crt", seat.stem()))
    }

    pub(super) fn key_of(&self, seat: Seat) -> PathBuf {
        self.0.join(format!("{}.key", seat.stem()))
    }

    /// The first certificate in a CA's file, if there is one that can be read.
    pub(super) fn first_certificate(&self, seat: Seat) -> Option<Certificate> {
        let blocks = pem::parse_many(fs::read(self.certificate_of(seat)).ok()?).ok()?;
        Certificate::parse(blocks.first()?.contents()).ok()
    }

    /// Every certificate that `issued/` has a copy of.
    pub(super) fn copies(&self) -> Result<Vec<Certificate>, PkiError> {
        let path = self.0.join("issued");
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed("read", &path)(error)),
        };
        let files = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
        let mut files: Vec<_> = files.filter(|path| path.extension().is_some_and(|extension| extension == "crt")).collect();
        files.sort();
        files.into_iter().map(|path| copy(&path)).collect()
    }

    /// Free names for a certificate that is to be called `stem`: that one, or the first of `stem-2`, `stem-3` and so on of which no
    /// file is there.
    pub(super) fn free_place(&self, stem: &str) -> Place {
        let numbered = (2u32..).map(|number| self.place(&format!("{stem}-{number}")));
        let mut places = std::iter::once(self.place(stem)).chain(numbered);
        places.find(Place::is_free).unwrap_or_else(|| self.place(stem))
    }

    pub(super) fn place(&self, stem: &str) -> Place {
        let at = |ending: &str| self.0.join(format!("{stem}.{ending}"));
        Place { certificate: at("crt"), key: at("key"), pk8: at("pk8") }
    }

    /// Makes the folder if it is not there, for its owner alone.
    pub(super) fn make(&self) -> Result<(), PkiError> {
        make(&self.0)
    }

    /// Waits until nobody else changes the folder, keeps others out while the value lives, and checks that nobody but the owner may
    /// change what is in it, and that the owner is one to be trusted with it.
    pub(super) fn lock(&self) -> Result<Lock, PkiError> {
        let folder = File::open(&self.0).map_err(failed("open the folder", &self.0))?;
        let found = folder.metadata().map_err(failed("look at the folder", &self.0))?;
        if found.permissions().mode() & 0o022 != 0 {
            return Err(PkiError::OpenFolder(self.0.clone()));
        }
        self.check_owner_of(&found)?;
        let lock = Lock::exclusive(folder).map_err(failed("lock the folder", &self.0))?;
        sweep(&self.0);
        sweep(&self.0.join("issued"));
        Ok(lock)
    }

    /// Checks that the folder is not another user's, such as one that was waiting for us in /tmp.
    ///
    /// # Errors
    /// It is, or there is none.
    pub fn check_owner(&self) -> Result<(), PkiError> {
        self.check_owner_of(&fs::metadata(&self.0).map_err(failed("look at the folder", &self.0))?)
    }

    fn check_owner_of(&self, found: &Metadata) -> Result<(), PkiError> {
        let owner = found.uid();
        let parent = std::path::absolute(&self.0).ok().and_then(|path| Some(fs::metadata(path.parent()?).ok()?.uid()));
        if may_own(owner, effective_uid(), parent) {
            return Ok(());
        }
        Err(PkiError::ForeignFolder { path: self.0.clone(), owner })
    }

    /// Makes the folder of copies, if it is not there.
    pub(super) fn make_issued(&self) -> Result<(), PkiError> {
        make(&self.0.join("issued"))
    }
}

impl Place {
    fn is_free(&self) -> bool {
        [&self.certificate, &self.key, &self.pk8].iter().all(|path| !is_taken(path))
    }
}

/// Whether a folder of this owner is one for us to work in. Whoever owns the folder around it could put another in its place at
/// any time, so that nothing is gained by distrusting them: that is root in a checkout of somebody's.
fn may_own(owner: u32, us: u32, parent: Option<u32>) -> bool {
    owner == us || owner == 0 || Some(owner) == parent
}

fn make(path: &Path) -> Result<(), PkiError> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(failed("make the folder", path)(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn copy(path: &Path) -> Result<Certificate, PkiError> {
    let text = fs::read(path).map_err(failed("read", path))?;
    let wrong = |fault: String| PkiError::Authority { path: path.to_owned(), fault: format!("{fault}; move it out of this folder") };
    let blocks = pem::parse_many(text).map_err(|error| wrong(format!("it is not PEM: {error}")))?;
    let first = blocks.first().ok_or_else(|| wrong("found no PEM block, expected a certificate".to_owned()))?;
    Certificate::parse(first.contents()).map_err(|error| wrong(error.to_string()))
}

/// What the server's files are called.
pub(super) const SERVER: &str = "server";

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
