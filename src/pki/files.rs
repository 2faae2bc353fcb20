//! Files that come into being whole: written and synced under another name, and given their own in one step.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::PkiError;
use crate::crypto::random;

/// A file in the making.
pub(super) struct NewFile {
    pub(super) path: PathBuf,
    content: Zeroizing<Vec<u8>>,
    mode: u32,
}

impl NewFile {
    /// For its owner alone: a private key, or the index.
    pub(super) fn secret(path: PathBuf, content: impl Into<Vec<u8>>) -> Self {
        Self { path, content: Zeroizing::new(content.into()), mode: 0o600 }
    }

    /// For everybody: a certificate, or a revocation list.
    pub(super) fn public(path: PathBuf, content: impl Into<Vec<u8>>) -> Self {
        Self { path, content: Zeroizing::new(content.into()), mode: 0o644 }
    }
}

/// That none of the files is there.
pub(super) fn check_free(files: &[NewFile]) -> Result<(), PkiError> {
    match files.iter().find(|file| is_taken(&file.path)) {
        Some(taken) => Err(PkiError::Taken(taken.path.clone())),
        None => Ok(()),
    }
}

/// Whether something bears that name, a link that points nowhere included.
pub(super) fn is_taken(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// Writes files that must not exist, all of them or none.
pub(super) fn write_all(files: &[NewFile]) -> Result<(), PkiError> {
    check_free(files)?;
    let drafts = files.iter().map(Draft::write).collect::<Result<Vec<_>, _>>()?;
    for (index, draft) in drafts.iter().enumerate() {
        if let Err(error) = draft.publish() {
            drafts.iter().take(index).for_each(|published| drop(fs::remove_file(&published.file.path)));
            return Err(error);
        }
    }
    drafts.iter().try_for_each(|draft| sync_folder_of(&draft.file.path))
}

/// Writes a file in the place of an earlier one: whoever reads finds the old or the new one, whole.
pub(super) fn replace(file: &NewFile) -> Result<(), PkiError> {
    // The new file would stand where the link does, and what it points to would stay as it is.
    if fs::symlink_metadata(&file.path).is_ok_and(|found| !found.is_file()) {
        return Err(PkiError::NoFile(file.path.clone()));
    }
    let draft = Draft::write(file)?;
    fs::rename(&draft.path, &file.path).map_err(failed("write", &file.path))?;
    sync_folder_of(&file.path)
}

/// Removes what a run that was cut short has left in `folder`. Only for the one who holds its lock.
pub(super) fn sweep(folder: &Path) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let left = entries.filter(|entry| entry.file_name().to_str().is_some_and(|name| name.starts_with(DRAFT)));
    left.for_each(|entry| drop(fs::remove_file(entry.path())));
}

/// For `map_err`: what was to be done with which file.
pub(super) fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> PkiError {
    let path = path.to_owned();
    move |error| PkiError::File { action, path, error }
}

/// A file's content under a name that nobody looks for; it leaves with this value.
struct Draft<'a> {
    file: &'a NewFile,
    path: PathBuf,
}

impl<'a> Draft<'a> {
    fn write(file: &'a NewFile) -> Result<Self, PkiError> {
        let name = random::<8>()?.iter().fold(DRAFT.to_owned(), |name, octet| format!("{name}{octet:02x}"));
        let path = file.path.with_file_name(name);
        let opened = OpenOptions::new().write(true).create_new(true).mode(file.mode).open(&path);
        let mut out = opened.map_err(failed("write", &file.path))?;
        let draft = Self { file, path };
        draft.fill(&mut out).map_err(failed("write", &file.path))?;
        Ok(draft)
    }

    fn fill(&self, out: &mut File) -> io::Result<()> {
        // The umask may have taken bits away: a certificate is for everybody whatever it says.
        out.set_permissions(Permissions::from_mode(self.file.mode))?;
        out.write_all(&self.file.content)?;
        out.sync_all()
    }

    /// Gives the file its name, which nobody must bear: link(2) never replaces anything, rename(2) would.
    fn publish(&self) -> Result<(), PkiError> {
        let path = &self.file.path;
        fs::hard_link(&self.path, path).map_err(|error| {
            if error.kind() == io::ErrorKind::AlreadyExists { PkiError::Taken(path.clone()) } else { failed("write", path)(error) }
        })
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.path));
    }
}

/// A name is on the disk when its folder is.
fn sync_folder_of(path: &Path) -> Result<(), PkiError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed("write", path))
}

/// How the names of drafts begin.
const DRAFT: &str = ".postern-draft-";

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn either_all_files_are_written_or_none_is() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("b"), "before").unwrap();
        let files = |names: [&str; 2]| names.map(|name| NewFile::public(at(name), "after"));
        assert!(matches!(write_all(&files(["a", "b"])), Err(PkiError::Taken(path)) if path == at("b")));
        assert_eq!(names(dir.path()), ["b"]);
        write_all(&files(["a", "c"])).unwrap();
        assert_eq!(names(dir.path()), ["a", "b", "c"]);
        assert_eq!(fs::read_to_string(at("b")).unwrap(), "before");
    }

    #[test]
    fn one_that_appears_meanwhile_is_kept_and_the_others_leave() {
        let dir = tempfile::tempdir().unwrap();
        let files = ["a", "a"].map(|name| NewFile::public(dir.path().join(name), "x"));
        assert!(matches!(write_all(&files), Err(PkiError::Taken(_))));
        assert!(names(dir.path()).is_empty());
    }

    #[test]
    fn a_link_is_never_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let (link, target) = (dir.path().join("link"), dir.path().join("target"));
        std::os::unix::fs::symlink(&target, &link).unwrap();
        assert!(matches!(replace(&NewFile::public(link, "x")), Err(PkiError::NoFile(_))));
        assert!(!target.exists());
    }

    #[test]
    fn drafts_of_a_run_that_was_cut_short_are_swept() {
        let dir = tempfile::tempdir().unwrap();
        for name in [".postern-draft-00", ".other"] {
            fs::write(dir.path().join(name), "x").unwrap();
        }
        sweep(dir.path());
        assert_eq!(names(dir.path()), [".other"]);
    }
}
