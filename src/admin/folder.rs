//! Whether a folder keeps what the daemon puts there.

use std::fmt;

use super::verbs::ROOT;

/// A folder's owner, group and permissions (inode(7)).
#[derive(Clone, Copy, Debug)]
pub(super) struct Folder {
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mode: u32,
}

/// Why somebody else can put anything in the place of what the daemon puts there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Distrust {
    /// It is another user's.
    Owner(u32),
    /// A group of others may write to it, and it is not sticky.
    Group(u32),
    /// Everybody may, and it is not sticky.
    Everybody,
}

impl Folder {
    /// What is wrong with it for a daemon of this user and group. In a sticky one only who made a file may replace it; root, and the groups
    /// of root and of the daemon, are trusted as the daemon itself.
    pub(super) fn distrusted_by(self, uid: u32, gid: u32) -> Option<Distrust> {
        let Self { uid: owner, gid: group, mode } = self;
        if mode & STICKY != 0 {
            return None;
        }
        if owner != uid && owner != ROOT {
            return Some(Distrust::Owner(owner));
        }
        if mode & OTHERS_WRITE != 0 {
            return Some(Distrust::Everybody);
        }
        (mode & GROUP_WRITE != 0 && group != gid && group != ROOT).then_some(Distrust::Group(group))
    }
}

impl fmt::Display for Distrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Owner(uid) => write!(
                f,
                "its folder belongs to uid {uid}, expected this user or root, or a sticky folder; choose a folder that only Postern may write to"
            ),
            Self::Group(gid) => {
                write!(f, "the group {gid} can write to its folder, expected its owner alone, this user's group or root's; chmod g-w it")
            }
            Self::Everybody => {
                write!(
                    f,
                    "everybody can write to its folder, expected its owner alone, or a sticky folder; chmod o-w it, or choose another"
                )
            }
        }
    }
}

/// S_ISVTX, S_IWGRP and S_IWOTH.
const STICKY: u32 = 0o1000;
const GROUP_WRITE: u32 = 0o020;
const OTHERS_WRITE: u32 = 0o002;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_others_can_write_to_is_trusted_only_where_it_is_sticky() {
        const POSTERN: u32 = 990;
        const POSTERNS: u32 = 991;
        for (uid, gid, mode, distrust) in [
            (POSTERN, POSTERNS, 0o40755, None),
            (POSTERN, POSTERNS, 0o40770, None),
            (ROOT, POSTERNS, 0o40775, None),
            (ROOT, ROOT, 0o40755, None),
            (ROOT, ROOT, 0o40775, None),
            (ROOT, ROOT, 0o41777, None),
            (992, 992, 0o41777, None),
            (ROOT, ROOT, 0o40777, Some(Distrust::Everybody)),
            (POSTERN, POSTERNS, 0o40777, Some(Distrust::Everybody)),
            (ROOT, 992, 0o40775, Some(Distrust::Group(992))),
            (POSTERN, 992, 0o42770, Some(Distrust::Group(992))),
            (992, 992, 0o40755, Some(Distrust::Owner(992))),
            (992, 992, 0o40777, Some(Distrust::Owner(992))),
        ] {
            assert_eq!(Folder { uid, gid, mode }.distrusted_by(POSTERN, POSTERNS), distrust, "{mode:o} of {uid}:{gid}");
        }
    }
}
