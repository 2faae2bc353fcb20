//! What anyone can cause without a certificate, counted together once it comes too often.
//!
//! A client that proves nothing must not be able to fill the disk with records about itself, nor the log with lines. So
//! the records of one kind are written in full up to an allowance a second, and one record counts those above it. The
//! tables have one place for each kind, whatever is sent; time is an argument.

use std::time::{Duration, Instant, SystemTime};

use super::report::{AdminReport, AdminResult, CancelReport, CancelResult, RefusalReport};
use crate::error::Reason;

/// What is counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Connections refused for this reason.
    Refused(Reason),
    /// CancelRequests with this result.
    Cancelled(CancelResult),
    /// Requests to the admin socket by those who may not ask.
    Forbidden,
}

/// Records that were counted instead of written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Merged {
    /// What they have in common.
    pub kind: Kind,
    /// How many there were.
    pub count: u64,
    /// When the first of them happened.
    pub first: SystemTime,
    /// When the last of them happened.
    pub last: SystemTime,
}

/// Decides for each record whether it is written in full, and gives the counts when their second is over.
pub(super) struct Merger {
    windows: [Window; Kind::COUNT],
}

/// Decides for each log line whether it is written.
pub(super) struct Limiter {
    windows: [Window; Kind::COUNT],
}

/// One second in the life of one kind.
#[derive(Clone, Copy)]
struct Window {
    opened: Option<Instant>,
    written: u32,
    merged: Option<Merged>,
}

impl Kind {
    const COUNT: usize = Reason::ALL.len() + CancelResult::ALL.len() + 1;

    /// The kind of a refusal whose client has not proven who it is; `None` once a certificate was verified.
    pub(super) fn of_refusal(report: &RefusalReport) -> Option<Self> {
        // Where the handshake failed, the certificate that came is the very thing that could not be verified.
        let unverified = matches!(
            report.reason,
            Reason::CertUntrusted
                | Reason::CertExpired
                | Reason::CertNotYetValid
                | Reason::CertRevoked
                | Reason::CrlExpired
                | Reason::CertPurpose
                | Reason::CertInvalid
        );
        let unproven = unverified || report.trail.cert.is_none();
        unproven.then_some(Self::Refused(report.reason))
    }

    /// The kind of a CancelRequest that came without a certificate and did not hold a live session's key.
    pub(super) fn of_cancel(report: &CancelReport) -> Option<Self> {
        let unproven = report.cn.is_none() && report.target.is_none();
        unproven.then_some(Self::Cancelled(report.result))
    }

    /// The kind of a request to the admin socket by a user who may not ask.
    pub(super) fn of_admin(report: &AdminReport) -> Option<Self> {
        (report.result == AdminResult::Forbidden).then_some(Self::Forbidden)
    }

    fn index(self) -> usize {
        match self {
            Self::Refused(reason) => reason as usize,
            Self::Cancelled(result) => (result as usize).saturating_add(Reason::ALL.len()),
            Self::Forbidden => Self::COUNT.saturating_sub(1),
        }
    }
}

impl Merger {
    /// Nothing counted yet.
    pub(super) fn new() -> Self {
        Self { windows: [Window::CLOSED; Kind::COUNT] }
    }

    /// Whether a record of this kind is written in full. If not, it is counted. Ask `due` first.
    pub(super) fn admits(&mut self, kind: Kind, now: Instant, at: SystemTime) -> bool {
        self.windows.get_mut(kind.index()).is_none_or(|window| window.admits(kind, ALLOWANCE, now, at))
    }

    /// The counts whose second is over. Each is given once.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Merged> {
        self.windows.iter_mut().filter(|window| window.is_over(now)).filter_map(|window| window.merged.take()).collect()
    }

    /// All counts, due or not.
    pub(super) fn drain(&mut self) -> Vec<Merged> {
        self.windows.iter_mut().filter_map(|window| window.merged.take()).collect()
    }

    /// Whether a count waits for its second to be over.
    pub(super) fn is_pending(&self) -> bool {
        self.windows.iter().any(|window| window.merged.is_some())
    }
}

impl Limiter {
    /// Nothing counted yet.
    pub(super) fn new() -> Self {
        Self { windows: [Window::CLOSED; Kind::COUNT] }
    }

    /// How many lines of this kind were left out before this one, or `None` if this one is left out as well.
    pub(super) fn admits(&mut self, kind: Kind, now: Instant, at: SystemTime) -> Option<u64> {
        let Some(window) = self.windows.get_mut(kind.index()) else { return Some(0) };
        let left_out = if window.is_over(now) { window.merged.take().map_or(0, |merged| merged.count) } else { 0 };
        window.admits(kind, 1, now, at).then_some(left_out)
    }
}

impl Window {
    const CLOSED: Self = Self { opened: None, written: 0, merged: None };

    fn is_over(&self, now: Instant) -> bool {
        self.opened.is_none_or(|opened| now.saturating_duration_since(opened) >= SECOND)
    }

    fn admits(&mut self, kind: Kind, allowance: u32, now: Instant, at: SystemTime) -> bool {
        if self.is_over(now) {
            (self.opened, self.written) = (Some(now), 0);
        }
        if self.written < allowance {
            self.written = self.written.saturating_add(1);
            return true;
        }
        let merged = self.merged.get_or_insert(Merged { kind, count: 0, first: at, last: at });
        merged.count = merged.count.saturating_add(1);
        merged.last = at;
        false
    }
}

/// How many records of one kind are written in full in one second (contract, section 4).
const ALLOWANCE: u32 = 10;

/// How long records are counted together.
pub(super) const SECOND: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: Kind = Kind::Refused(Reason::Plaintext);

    fn at(milliseconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(milliseconds)).unwrap()
    }

    #[test]
    fn every_kind_has_a_place_of_its_own() {
        let kinds = Reason::ALL.map(Kind::Refused).into_iter().chain(CancelResult::ALL.map(Kind::Cancelled)).chain([Kind::Forbidden]);
        assert!(kinds.map(Kind::index).eq(0..Kind::COUNT));
    }

    #[test]
    fn ten_a_second_are_written_and_the_rest_is_one_count() {
        let (mut merger, start) = (Merger::new(), Instant::now());
        let written = (0..900).filter(|ms| merger.admits(KIND, start + Duration::from_millis(*ms), at(*ms))).count();
        assert_eq!(written, 10);
        assert!(merger.is_pending() && merger.due(start + Duration::from_millis(999)).is_empty());
        let due = merger.due(start + SECOND);
        assert_eq!(due, [Merged { kind: KIND, count: 890, first: at(10), last: at(899) }]);
        assert!(!merger.is_pending() && merger.due(start + SECOND).is_empty());
    }

    #[test]
    fn the_next_second_is_written_again_and_other_kinds_are_not_touched() {
        let (mut merger, start) = (Merger::new(), Instant::now());
        assert_eq!((0..100).filter(|ms| merger.admits(KIND, start, at(*ms))).count(), 10);
        assert!(merger.admits(Kind::Refused(Reason::Timeout), start, at(0)));
        assert!(!merger.admits(KIND, start, at(0)));
        assert_eq!(merger.due(start + SECOND).len(), 1);
        assert!(merger.admits(KIND, start + SECOND, at(1000)));
    }

    #[test]
    fn a_shutdown_takes_what_is_not_yet_due() {
        let (mut merger, now) = (Merger::new(), Instant::now());
        assert_eq!((0..11).filter(|ms| merger.admits(KIND, now, at(*ms))).count(), 10);
        assert_eq!(merger.drain().iter().map(|merged| merged.count).sum::<u64>(), 1);
    }

    #[test]
    fn the_log_has_one_line_a_second_that_tells_how_many_it_left_out() {
        let (mut limiter, start) = (Limiter::new(), Instant::now());
        assert_eq!(limiter.admits(KIND, start, at(0)), Some(0));
        assert!((1..50).all(|ms| limiter.admits(KIND, start, at(ms)).is_none()));
        assert_eq!(limiter.admits(KIND, start + SECOND, at(1000)), Some(49));
        assert_eq!(limiter.admits(KIND, start + SECOND * 3, at(3000)), Some(0));
    }
}
