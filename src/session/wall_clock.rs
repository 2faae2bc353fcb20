//! The wall clock as certificates are judged by it while sessions live, however it is set.
//!
//! A clock that is set back ends nobody, and nobody comes back. One that leaps forward may be wrong for a moment, as when a machine wakes
//! up or a first NTP answer is bad: it is believed once it has stayed there for a few seconds of the monotonic clock.

use std::time::Duration;

use tokio::time::Instant;

/// How much further than the monotonic clock the wall clock may get between two looks: NTP slews by far less.
const TOLERANCE: i64 = 2;
/// How long a leap must last.
const CONFIRMED: Duration = Duration::from_secs(3);

/// The wall clock, looked at about once a second.
#[derive(Debug, Default)]
pub struct WallClock {
    /// What was believed last, in seconds since 1970, and when.
    believed: Option<(i64, Instant)>,
    /// Since when it has been further ahead than that.
    leaping: Option<Instant>,
}

impl WallClock {
    /// What to believe, in seconds since 1970, when the clock says `wall` at `now`.
    pub fn believe(&mut self, wall: i64, now: Instant) -> i64 {
        let Some((before, then)) = self.believed else { return self.set(wall, now) };
        let passed = i64::try_from(now.saturating_duration_since(then).as_secs()).unwrap_or(i64::MAX);
        let expected = before.saturating_add(passed);
        if wall <= expected.saturating_add(TOLERANCE) {
            self.leaping = None;
            return self.set(wall, now);
        }
        let since = *self.leaping.get_or_insert(now);
        if now.saturating_duration_since(since) >= CONFIRMED {
            self.leaping = None;
            return self.set(wall, now);
        }
        expected
    }

    fn set(&mut self, wall: i64, now: Instant) -> i64 {
        self.believed = Some((wall, now));
        wall
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is believed of what a clock says second by second from 1000 on.
    fn believed(says: &[i64]) -> Vec<i64> {
        let (mut clock, start) = (WallClock::default(), Instant::now());
        (0..).zip(says).map(|(second, wall)| clock.believe(*wall, start + Duration::from_secs(second))).collect()
    }

    #[test]
    fn a_clock_that_goes_is_believed() {
        assert_eq!(believed(&[1000, 1001, 1002, 1004, 1004]), [1000, 1001, 1002, 1004, 1004]);
    }

    #[test]
    fn a_clock_that_is_set_back_is_believed_at_once_so_that_nobody_has_expired() {
        assert_eq!(believed(&[1000, 1001, -2600, -2599]), [1000, 1001, -2600, -2599]);
    }

    #[test]
    fn a_leap_forward_is_believed_once_it_has_lasted() {
        assert_eq!(believed(&[1000, 4601, 4602, 4603, 4604, 4605]), [1000, 1001, 1002, 1003, 4604, 4605]);
    }

    #[test]
    fn a_leap_that_is_taken_back_never_was() {
        assert_eq!(believed(&[1000, 4601, 4602, 1003, 1004, 4605, 4606]), [1000, 1001, 1002, 1003, 1004, 1005, 1006]);
    }

    #[test]
    fn a_machine_that_slept_is_believed_after_a_few_seconds() {
        // The monotonic clock did not count the night.
        assert_eq!(believed(&[1000, 31_000, 31_001, 31_002, 31_003]), [1000, 1001, 1002, 1003, 31_003]);
    }
}
