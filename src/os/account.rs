//! A user of this machine whom the daemon can become.

use std::ffi::CString;
use std::fmt;
use std::io;

use nix::unistd::{Gid, Uid, User, getgrouplist, setgroups, setresgid, setresuid};

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
        let groups = match &self.name {
            Some(name) => getgrouplist(&CString::new(name.as_str())?, gid)?,
            None => vec![gid],
        };
        setgroups(&groups)?;
        setresgid(gid, gid, gid)?;
        setresuid(uid, uid, uid)?;
        Ok(())
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
    fn a_user_is_found_by_name_and_by_number_and_an_unknown_number_is_one_too() {
        let root = Account::of_name("root").unwrap().unwrap();
        assert_eq!((root.uid, root.gid), (0, 0));
        assert_eq!(Account::of_uid(0).unwrap(), root);
        assert_eq!(Account::of_name("no-such-user-of-postern").unwrap(), None);
        let nameless = Account::of_uid(3_141_592_653).unwrap();
        assert_eq!((nameless.name.as_deref(), nameless.gid, nameless.to_string().as_str()), (None, 3_141_592_653, "uid 3141592653"));
    }
}
