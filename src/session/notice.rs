//! What a client is told of its certificate while there is still time to renew it.

use std::time::Duration;

use crate::identity::ClientIdentity;
use crate::types::{span, utc};
use crate::wire::notice_response;

/// The NoticeResponse for a client whose certificate has less left than `within`, and than a third of its lifetime: one that lives for a
/// day is not always about to expire.
pub(super) fn of_expiry(identity: &ClientIdentity, within: Duration, now: i64) -> Option<Vec<u8>> {
    let (begins, ends) = (identity.not_before(), identity.not_after());
    let left = ends.saturating_sub(now);
    let third = ends.saturating_sub(begins) / 3;
    let within = i64::try_from(within.as_secs()).unwrap_or(i64::MAX);
    (left < within && left < third).then(|| {
        let message = format!("your client certificate expires in {}", span(left));
        let detail = utc(ends).map(|ends| format!("It is valid until {ends}."));
        notice_response(&message, detail.as_deref())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::testing::identity;

    const DAY: i64 = 86_400;

    #[test]
    fn a_client_is_told_in_time_and_not_all_the_time() {
        let alice = identity("alice");
        let (begins, ends) = (alice.not_before(), alice.not_after());
        let third = (ends - begins) / 3;
        let tells = |within: i64, left: i64| of_expiry(&alice, Duration::from_secs(within.unsigned_abs()), ends - left).is_some();
        assert!(tells(7 * DAY, third.min(7 * DAY) - 1));
        assert!(!tells(7 * DAY, 7 * DAY));
        assert!(!tells(i64::MAX, third), "a third of its lifetime is left");
        assert!(!tells(0, 1));
    }
}
