//! Commands that root runs about a Postern that is another OS user.

use crate::os;

/// Does something as the OS user that Postern runs as, if it was named and root runs this: whose key it is, what it can read and whom
/// PostgreSQL takes it for depend on that. As whoever runs this where that cannot be.
pub(super) fn as_postern<T>(os_user: Option<&str>, step: impl Fn() -> T) -> T {
    let other = os_user.and_then(|name| os::uid_of(name).ok().flatten()).filter(|uid| os::effective_uid() == 0 && *uid != 0);
    other.and_then(|uid| os::acting_as(uid, &step).ok()).unwrap_or_else(step)
}
