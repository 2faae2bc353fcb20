//! What the files of a configuration are like at one moment, by content: so that a changed set is noticed however it was put there,
//! by a symlink that was swapped, a rename, or a write in place.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::crypto::Sha256;
use crate::os;

/// What each file was like. Two looks are equal if nothing that a reload would read has changed between them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look(BTreeMap<PathBuf, Seen>);

/// What one file was like.
#[derive(Clone, Debug)]
struct Seen {
    state: State,
    /// By which the file is known to be the same without reading it again.
    stamp: Option<Stamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It cannot be opened or read, or is no regular file.
    Unreadable(io::ErrorKind),
    /// Its content, and who may read it: a key's mode counts.
    Content { sha256: Sha256, mode: u32, owner: u32 },
}

/// Who the file is, and when it was last touched. The kernel sets the time of the last change itself, at each write, rename or chmod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

impl Look {
    /// Looks at `files` as well, if they were not looked at yet. What is known from `before` is not read again unless it was touched.
    pub fn add(&mut self, files: impl IntoIterator<Item = PathBuf>, before: &Self) {
        for file in files {
            if let Entry::Vacant(vacant) = self.0.entry(file) {
                let seen = Seen::of(vacant.key(), before.0.get(vacant.key()));
                vacant.insert(seen);
            }
        }
    }

    /// The files that were looked at.
    pub fn files(&self) -> impl Iterator<Item = PathBuf> {
        self.0.keys().cloned()
    }

    /// Looks at the same files again.
    pub fn again(&self) -> Self {
        let mut look = Self::default();
        look.add(self.files(), self);
        look
    }

    /// Whether `file` holds something else than at `before`; one that only one of the two could read does.
    pub fn differs(&self, before: &Self, file: &Path) -> bool {
        let content = |look: &Self| look.0.get(file).and_then(Seen::content);
        content(self) != content(before)
    }
}

impl PartialEq for Seen {
    fn eq(&self, other: &Self) -> bool {
        self.state == other.state
    }
}

impl Eq for Seen {}

impl Seen {
    fn content(&self) -> Option<Sha256> {
        match self.state {
            State::Unreadable(_) => None,
            State::Content { sha256, .. } => Some(sha256),
        }
    }

    fn of(file: &Path, before: Option<&Self>) -> Self {
        Self::read(file, before).unwrap_or_else(|error| Self { state: State::Unreadable(error.kind()), stamp: None })
    }

    fn read(file: &Path, before: Option<&Self>) -> io::Result<Self> {
        let open = os::open_at_once(file)?;
        let metadata = open.metadata()?;
        if metadata.is_dir() {
            let sha256 = names_in(file)?;
            return Ok(Self { state: State::Content { sha256, mode: metadata.mode() & 0o7777, owner: metadata.uid() }, stamp: None });
        }
        if !metadata.is_file() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let stamp = Stamp::of(&metadata, SystemTime::now());
        if let Some(before) = before
            && stamp.is_some()
            && before.stamp == stamp
        {
            return Ok(before.clone());
        }
        let sha256 = Sha256::of_all(open, MOST_BYTES)?;
        Ok(Self { state: State::Content { sha256, mode: metadata.mode() & 0o7777, owner: metadata.uid() }, stamp })
    }
}

impl Stamp {
    /// `None` where the file was touched so short a while ago that it could change once more within the same tick of the clock.
    fn of(metadata: &Metadata, now: SystemTime) -> Option<Self> {
        let changed = (metadata.ctime(), metadata.ctime_nsec());
        let at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(u64::try_from(changed.0).ok()?))?;
        let settled = now.duration_since(at).is_ok_and(|age| age >= SETTLED);
        settled.then(|| Self { device: metadata.dev(), inode: metadata.ino(), size: metadata.size(), changed })
    }
}

/// The digest of the names in a folder: of one that is included, a file that comes or goes is a change.
fn names_in(folder: &Path) -> io::Result<Sha256> {
    let mut names = fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>()?;
    names.sort();
    let bytes: Vec<u8> = names.iter().flat_map(|name| name.as_encoded_bytes().iter().copied().chain([0])).collect();
    Ok(Sha256::of(&bytes))
}

/// The granularity of time stamps is a few milliseconds on local file systems and up to two seconds on others.
const SETTLED: Duration = Duration::from_secs(3);

/// As much as the largest file that is read (tls/material.rs); of a larger one this much tells enough.
const MOST_BYTES: u64 = 512 << 20;

#[cfg(test)]
impl Look {
    /// The first look at one file.
    pub(super) fn at(file: &Path) -> Self {
        let mut look = Self::default();
        look.add([file.to_owned()], &Self::default());
        look
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_file_that_is_written_with_the_same_content_has_not_changed() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a");
        fs::write(&file, "one").unwrap();
        let before = Look::at(&file);
        let replacement = dir.path().join("b");
        fs::write(&replacement, "one").unwrap();
        fs::rename(&replacement, &file).unwrap();
        assert_eq!(before.again(), before);
        assert!(!before.again().differs(&before, &file));
    }

    #[test]
    fn a_write_in_place_of_the_same_length_a_swapped_link_and_a_chmod_are_seen() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two, link) = (dir.path().join("1"), dir.path().join("2"), dir.path().join("..data"));
        fs::create_dir(&one).unwrap();
        fs::create_dir(&two).unwrap();
        fs::write(one.join("tls.crt"), "old").unwrap();
        fs::write(two.join("tls.crt"), "new").unwrap();
        symlink(&one, &link).unwrap();
        let file = link.join("tls.crt");
        let first = Look::at(&file);

        symlink(&two, dir.path().join("tmp")).unwrap();
        fs::rename(dir.path().join("tmp"), &link).unwrap();
        let second = first.again();
        assert_ne!(second, first);

        fs::write(&file, "odd").unwrap();
        let third = second.again();
        assert_ne!(third, second);

        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let fourth = third.again();
        assert_ne!(fourth, third);
        assert!(third.differs(&second, &file) && !fourth.differs(&third, &file));
    }

    #[test]
    fn what_is_not_there_or_no_file_is_unlike_what_is() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a");
        let absent = Look::at(&file);
        assert_eq!(absent.again(), absent);
        fs::create_dir(&file).unwrap();
        let folder = absent.again();
        assert_ne!(folder, absent);
        fs::remove_dir(&file).unwrap();
        fs::write(&file, "").unwrap();
        assert_ne!(folder.again(), folder);
    }
}
