//! The file that audit records are appended to.
//!
//! Opened with O_APPEND and, if it has to be made, mode 0600; one write(2) a line; what is in it is never touched. No fsync:
//! what write(2) took survives the end of the process, but not always a power cut (the kernel writes back after 30 s or so).

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::merge::SECOND;

/// An open file, pipe or terminal that takes lines.
#[derive(Debug)]
pub(super) struct Output {
    file: File,
    /// `None` for standard output.
    path: Option<PathBuf>,
    /// Whether the last byte written was not a newline.
    torn: bool,
    /// When `path` was last compared with `file`.
    looked: Instant,
}

impl Output {
    /// The file at `path`, made if it is not there.
    pub(super) fn file(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        let torn = file.metadata()?.is_file() && is_torn(path);
        Ok(Self { file, path: Some(path.to_owned()), torn, looked: Instant::now() })
    }

    /// Standard output, past the buffer of the standard library: a line is a write(2).
    pub(super) fn stdout() -> io::Result<Self> {
        let file = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        Ok(Self { file, path: None, torn: false, looked: Instant::now() })
    }

    /// Appends a line and its newline; first a newline, if the last line has none.
    pub(super) fn append(&mut self, line: &str) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(line.len().saturating_add(2));
        if self.torn {
            bytes.push(b'\n');
        }
        bytes.extend_from_slice(line.as_bytes());
        bytes.push(b'\n');

        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            match self.file.write(rest) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => {
                    let (done, left) = rest.split_at_checked(written).unwrap_or((rest, &[]));
                    self.torn = done.last() != Some(&b'\n');
                    rest = left;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Opens the path anew. On an error the old file stays.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        if let Some(path) = &self.path {
            *self = Self::file(path)?;
        }
        Ok(())
    }

    /// Follows a file that was renamed or removed without a word, looking once a second: records that go where nobody reads
    /// them would be lost in silence. With `anew` the file is opened again in any case, because it fails.
    pub(super) fn follow(&mut self, anew: bool, now: Instant) -> io::Result<()> {
        let Some(path) = self.path.as_deref().filter(|_| now.saturating_duration_since(self.looked) >= SECOND) else { return Ok(()) };
        let here = self.file.metadata()?;
        let stands = fs::metadata(path).is_ok_and(|there| (there.dev(), there.ino()) == (here.dev(), here.ino()));
        if anew || !stands {
            self.reopen()?;
        }
        self.looked = now;
        Ok(())
    }
}

/// Whether a file ends in the middle of a line. One that cannot be read is taken to: an empty line does no harm.
fn is_torn(path: &Path) -> bool {
    let last = || -> io::Result<Option<u8>> {
        let mut file = File::open(path)?;
        if file.metadata()?.len() == 0 {
            return Ok(None);
        }
        file.seek(SeekFrom::End(-1))?;
        let mut byte = [0];
        file.read_exact(&mut byte)?;
        Ok(byte.first().copied())
    };
    last().map_or(true, |byte| byte.is_some_and(|byte| byte != b'\n'))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_new_file_is_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit");
        Output::file(&path).unwrap().append("{}").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        assert_eq!(fs::read_to_string(&path).unwrap(), "{}\n");
    }

    #[test]
    fn a_file_without_a_newline_at_its_end_gets_one_first() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit");
        fs::write(&path, "{\"torn").unwrap();
        let mut output = Output::file(&path).unwrap();
        output.append("1").unwrap();
        output.append("2").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\"torn\n1\n2\n");
    }

    #[test]
    fn a_file_that_was_moved_away_is_followed_within_a_second() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit");
        let mut output = Output::file(&path).unwrap();
        fs::rename(&path, dir.path().join("audit.1")).unwrap();
        output.follow(false, output.looked + Duration::from_millis(999)).unwrap();
        assert!(!path.exists());
        output.follow(false, output.looked + SECOND).unwrap();
        output.append("1").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "1\n");
    }

    #[test]
    fn a_full_disk_is_an_error_each_time() {
        let mut output = Output::file(Path::new("/dev/full")).unwrap();
        assert_eq!(output.append("1").unwrap_err().kind(), ErrorKind::StorageFull);
        assert_eq!(output.append("2").unwrap_err().kind(), ErrorKind::StorageFull);
    }
}
