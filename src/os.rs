//! The operating system's answers to questions about itself: the home of `nix`.

use std::io;

use nix::unistd::User;

/// The uid of a user's name, as the system's databases know it; `None` where they do not.
///
/// # Errors
/// The databases could not be asked.
pub fn uid_of(name: &str) -> io::Result<Option<u32>> {
    Ok(User::from_name(name)?.map(|user| user.uid.as_raw()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_uid_0_and_a_strange_name_is_nobody() {
        assert_eq!(uid_of("root").ok(), Some(Some(0)));
        assert_eq!(uid_of("no-such-user-of-postern").ok(), Some(None));
        assert_eq!(uid_of("root\0").ok(), Some(None));
    }
}
