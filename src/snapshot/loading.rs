//! From a configuration file to what can be served, at the start and at every reload: the file, all that it names, and what they were
//! like when they were read.

use std::path::Path;
use std::time::Duration;

use super::{Look, Snapshot};
use crate::config::{self, BootSettings, Diagnostics, Document, NamedFile, Settings};
use crate::notice::Notice;

/// An attempt to load: what the files were like, and what came of it.
pub struct Attempt {
    /// Every file, looked at before it was read: what changes meanwhile is a change.
    pub look: Look,
    /// What came of it.
    pub outcome: Result<Ready, Unusable>,
}

/// A configuration that can be served.
pub struct Ready {
    /// What only a start applies.
    pub boot: BootSettings,
    /// What a reload applies.
    pub snapshot: Snapshot,
    /// What an operator should know of the rules although it is no fault.
    pub rule_notices: Vec<Notice>,
    /// What was written.
    pub document: Document,
    /// The files that it names.
    pub files: Vec<NamedFile>,
    /// How often they are to be looked at.
    pub poll: Option<Duration>,
}

/// A configuration that cannot be served.
#[derive(Debug)]
pub struct Unusable {
    /// Every fault.
    pub faults: Diagnostics,
    /// Nothing is wrong but that files do not fit each other: what a set looks like that is just being replaced.
    pub between_two_pairs: bool,
}

impl Ready {
    /// What an operator should know although it is no fault.
    pub fn notices(&self) -> Vec<Notice> {
        [self.boot.notices(), self.snapshot.notices(), self.rule_notices.clone(), self.snapshot.terms().policy().review()].concat()
    }
}

impl Attempt {
    /// Loads `path`. It blocks: files are read, and the system may be asked for users. `before` is what the files were like last time,
    /// and `current` the snapshot that another would take the place of; what has not changed is taken over from it.
    pub fn new(path: &Path, before: &Look, current: Option<&Snapshot>) -> Self {
        let (look, outcome) = of_one_set(|| {
            let Self { look, outcome } = Self::once(path, before, current);
            (look, outcome)
        });
        Self { look, outcome }
    }

    fn once(path: &Path, before: &Look, current: Option<&Snapshot>) -> Self {
        let mut look = Look::default();
        look.add([path.to_owned()], before);
        let outcome = load(path, before, current, &mut look);
        if outcome.is_err() {
            // What is wrong may be mended in a file that was not come to.
            look.add(before.files(), before);
        }
        Self { look, outcome }
    }
}

/// What `read` came to, read again where a file has changed meanwhile: of files that are replaced while they are read, some would be of
/// the old set and some of the new. Where they never come to rest, the last counts, and what changes after it is a change.
fn of_one_set<T>(mut read: impl FnMut() -> (Look, T)) -> (Look, T) {
    let (mut look, mut outcome) = read();
    for _ in 0..MOST_READS {
        if look.again() == look {
            break;
        }
        (look, outcome) = read();
    }
    (look, outcome)
}

/// How often files are read again that change meanwhile.
const MOST_READS: usize = 3;

fn load(path: &Path, before: &Look, current: Option<&Snapshot>, look: &mut Look) -> Result<Ready, Unusable> {
    let config::Loaded { settings, locator, document, files } =
        config::load(path).map_err(|faults| Unusable { faults, between_two_pairs: false })?;
    look.add(files.iter().map(|named| named.path.clone()), before);
    let Settings { boot, live } = settings;
    let loaded = match current {
        Some(current) => current.successor(&live),
        None => Snapshot::load(&live),
    };
    match loaded {
        Ok(snapshot) => Ok(Ready { boot, snapshot, rule_notices: live.rule_notices, document, files, poll: live.reload_poll }),
        Err(faults) => {
            let between_two_pairs = faults.iter().all(|fault| fault.pair);
            let found = faults.into_iter().map(|fault| {
                let text = format!("{}: {}", fault.file.display(), fault.what);
                (fault.setting, text)
            });
            Err(Unusable { faults: locator.diagnostics(found), between_two_pairs })
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_set_that_changes_while_it_is_read_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let (one, other) = (dir.path().join("one"), dir.path().join("other"));
        let replace = |generation: &str| [&one, &other].map(|file| fs::write(file, generation).unwrap());
        replace("1");
        let mut reads = 0;
        let (seen, read) = of_one_set(|| {
            let mut seen = Look::at(&one);
            seen.add([other.clone()], &Look::default());
            let first = fs::read_to_string(&one).unwrap();
            reads += 1;
            if reads == 1 {
                replace("2");
            }
            (seen, [first, fs::read_to_string(&other).unwrap()])
        });
        assert_eq!((reads, read), (2, ["2".to_owned(), "2".to_owned()]));
        assert_eq!(seen.again(), seen);
    }

    #[test]
    fn files_that_never_rest_are_not_read_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        let mut reads = 0_usize;
        of_one_set(|| {
            let seen = Look::at(&file);
            reads += 1;
            fs::write(&file, reads.to_string()).unwrap();
            (seen, ())
        });
        assert_eq!(reads, 1 + MOST_READS);
    }
}
