//! A user of this machine whom the daemon can become.

use std::ffi::CString;
use std::fmt;
use std::io;

use nix::unistd::{Gid, Uid, User, getgrouplist, getgroups, getresgid, getresuid, setfsgid, setfsuid, setgroups, setresgid, setresuid};

/// A user, by name where the system's databases know one, and by numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The name; `None` for a uid that the databases do not know.
    pub name: Option<String>,
    /// The user's number.
    pub uid: u32,
    /// The number of the user's own group. Where the databases do not know it, that of the user.
    pub gid: u32,
}

impl Account {
    /// The user of a name; `None` where the databases know none.
    ///
    /// # Errors
    /// The databases could not be asked.
    pub fn of_name(name: &str) -> io::Result<Option<Self>> {
        Ok(User::from_name(name)?.map(Self::from))
    }

    /// The user of a number, known or not: a container has no databases.
    ///
    /// # Errors
    /// The databases could not be asked.
    pub fn of_uid(uid: u32) -> io::Result<Self> {
        Ok(User::from_uid(Uid::from_raw(uid))?.map_or(Self { name: None, uid, gid: uid }, Self::from))
    }

    /// Makes this process the user's for good: groups, group, user. Needs CAP_SETGID and CAP_SETUID, and leaves no capability.
    ///
    /// # Errors
    /// The kernel does not allow it, or the databases could not be asked.
    pub fn assume(&self) -> io::Result<()> {
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        setgroups(&self.groups()?)?;
        setresgid(gid, gid, gid)?;
        setresuid(uid, uid, uid)?;
        Ok(())
    }

    /// What this process is beside this user: an id of its own, or a group that the user is not in. `None` if nothing.
    ///
    /// # Errors
    /// The kernel or the databases could not be asked.
    pub fn foreign(&self) -> io::Result<Option<String>> {
        Ok(self.foreign_among(&Ids::of_this_process()?, &self.groups()?))
    }

    fn groups(&self) -> io::Result<Vec<Gid>> {
        let gid = Gid::from_raw(self.gid);
        match &self.name {
            Some(name) => Ok(getgrouplist(&CString::new(name.as_str())?, gid)?),
            None => Ok(vec![gid]),
        }
    }

    fn foreign_among(&self, ids: &Ids, groups: &[Gid]) -> Option<String> {
        let ids_of = |what: &str, own: u32, found: [u32; 4]| match found {
            [real, effective, saved, files] if found != [own; 4] && found != [real; 4] => {
                Some(format!("real, effective, saved and file system {what} {real}, {effective}, {saved} and {files}"))
            }
            [real, ..] => (real != own).then(|| format!("{what} {real}")),
        };
        let more: Vec<_> = ids.groups.iter().filter(|group| !groups.contains(group)).map(ToString::to_string).collect();
        let more = (!more.is_empty()).then(|| format!("a member of the group {}", more.join(", ")));
        let found: Vec<_> = [ids_of("uid", self.uid, ids.uids), ids_of("gid", self.gid, ids.gids), more].into_iter().flatten().collect();
        (!found.is_empty()).then(|| found.join(", "))
    }
}

/// Whom a process is: real, effective, saved and file system ids, and supplementary groups (credentials(7)).
struct Ids {
    uids: [u32; 4],
    gids: [u32; 4],
    groups: Vec<Gid>,
}

impl Ids {
    fn of_this_process() -> io::Result<Self> {
        let (uids, gids) = (getresuid()?, getresgid()?);
        // A number that is nobody's changes nothing, and is answered with the one in force (setfsuid(2)).
        let (files, files_group) = (setfsuid(Uid::from_raw(u32::MAX)), setfsgid(Gid::from_raw(u32::MAX)));
        Ok(Self {
            uids: [uids.real, uids.effective, uids.saved, files].map(Uid::as_raw),
            gids: [gids.real, gids.effective, gids.saved, files_group].map(Gid::as_raw),
            groups: getgroups()?,
        })
    }
}

impl From<User> for Account {
    fn from(user: User) -> Self {
        Self { name: Some(user.name), uid: user.uid.as_raw(), gid: user.gid.as_raw() }
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{name} (uid {})", self.uid),
            None => write!(f, "uid {}", self.uid),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_another_id_or_group_is_not_wholly_the_user() {
        let user = Account { name: Some("postern".to_owned()), uid: 990, gid: 991 };
        let (own, theirs) = ([990; 4], [991; 4]);
        let [audit, docker] = [4, 27].map(Gid::from_raw);
        for (uids, gids, groups, foreign) in [
            (own, theirs, vec![audit], None),
            (own, theirs, vec![], None),
            ([0; 4], theirs, vec![], Some("uid 0")),
            ([0, 990, 990, 990], theirs, vec![], Some("real, effective, saved and file system uid 0, 990, 990 and 990")),
            ([990, 990, 0, 990], theirs, vec![], Some("real, effective, saved and file system uid 990, 990, 0 and 990")),
            ([990, 990, 990, 0], theirs, vec![], Some("real, effective, saved and file system uid 990, 990, 990 and 0")),
            (own, [0; 4], vec![docker], Some("gid 0, a member of the group 27")),
        ] {
            assert_eq!(user.foreign_among(&Ids { uids, gids, groups }, &[audit, Gid::from_raw(991)]).as_deref(), foreign);
        }
    }

    #[test]
    fn a_user_is_found_by_name_and_by_number_and_an_unknown_number_is_one_too() {
        let root = Account::of_name("root").unwrap().unwrap();
        assert_eq!((root.uid, root.gid), (0, 0));
        assert_eq!(Account::of_uid(0).unwrap(), root);
        assert_eq!(Account::of_name("no-such-user-of-postern").unwrap(), None);
        let nameless = Account::of_uid(3_141_592_653).unwrap();
        assert_eq!((nameless.name.as_deref(), nameless.gid, nameless.to_string().as_str()), (None, 3_141_592_653, "uid 3141592653"));
    }
}
