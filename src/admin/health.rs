//! Whether the daemon can do its work: its own phase, and the backend by one look every two seconds.
//!
//! Whoever asks is told what was seen last. However often probes and scrapes come, none of them opens a connection to the backend.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use crate::backend::look;
use crate::error::BackendFailure;
use crate::observe::{Event, Observers};
use crate::snapshot::Snapshots;

/// The time from one look to the next. With the second that a look may take, an operator knows within three.
const PERIOD: Duration = Duration::from_secs(2);

/// Where in its life the daemon is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It does not listen yet.
    Starting,
    /// It takes connections.
    Serving,
    /// It was told to stop.
    Draining,
}

/// What the last look at the backend showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum BackendState {
    /// Nobody has looked yet.
    Unknown,
    /// It answers, since then.
    Up(SystemTime),
    /// It does not, since then.
    Down {
        /// The first look that failed.
        since: SystemTime,
        /// What the last one found.
        error: String,
    },
}

/// Why the daemon cannot serve a client now; `None` if it can.
pub(super) fn unready(phase: Phase, backend: &BackendState) -> Option<String> {
    match (phase, backend) {
        (Phase::Starting, _) => Some("starting: not listening yet".to_owned()),
        (Phase::Draining, _) => Some("draining: told to stop".to_owned()),
        (Phase::Serving, BackendState::Unknown) => Some("the backend was not looked at yet".to_owned()),
        (Phase::Serving, BackendState::Down { error, .. }) => Some(error.clone()),
        (Phase::Serving, BackendState::Up(_)) => None,
    }
}

/// Looks at the backend for as long as somebody wants to know, and says when it goes and comes.
pub(super) async fn watch_backend(snapshots: Arc<Snapshots>, observers: Observers, seen: watch::Sender<BackendState>) {
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !seen.is_closed() {
        ticks.tick().await;
        let backend = Arc::clone(snapshots.current().terms().backend());
        let outcome = look(&backend).await.map_err(|failure| shown(&failure));
        let before = seen.borrow().clone();
        let after = before.after(outcome, SystemTime::now());
        match (&before, &after) {
            (BackendState::Unknown | BackendState::Up(_), BackendState::Down { error, .. }) => {
                observers.emit(&Event::BackendWentDown { error });
            }
            (BackendState::Down { .. }, BackendState::Up(_)) => observers.emit(&Event::BackendCameUp),
            (BackendState::Down { .. }, BackendState::Down { .. }) | (_, BackendState::Up(_) | BackendState::Unknown) => {}
        }
        seen.send_replace(after);
    }
}

impl BackendState {
    /// What is known after a further look at `now`.
    fn after(&self, outcome: Result<(), String>, now: SystemTime) -> Self {
        match (self, outcome) {
            (Self::Up(since), Ok(())) => Self::Up(*since),
            (_, Ok(())) => Self::Up(now),
            (Self::Down { since, .. }, Err(error)) => Self::Down { since: *since, error },
            (_, Err(error)) => Self::Down { since: now, error },
        }
    }
}

/// A login waits for as long as `backend.connect_timeout` says; a look does not.
fn shown(failure: &BackendFailure) -> String {
    match failure {
        BackendFailure::Silent => "the backend does not answer; is it stopped, or its machine out of memory?".to_owned(),
        BackendFailure::Unreachable { .. }
        | BackendFailure::Closed
        | BackendFailure::WrongPeer { .. }
        | BackendFailure::AsksForPassword(_)
        | BackendFailure::PasswordRejected(_)
        | BackendFailure::RefusedUnproven(_)
        | BackendFailure::Refused { .. }
        | BackendFailure::NoScram
        | BackendFailure::ScramInvalid
        | BackendFailure::NotProven
        | BackendFailure::Protocol(_) => failure.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(second: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(second)
    }

    #[test]
    fn a_state_lasts_from_the_look_that_first_showed_it() {
        let down = |since, error: &str| BackendState::Down { since: second(since), error: error.to_owned() };
        let mut state = BackendState::Unknown;
        for (now, outcome, expected) in [
            (2, Ok(()), BackendState::Up(second(2))),
            (4, Ok(()), BackendState::Up(second(2))),
            (6, Err("refused"), down(6, "refused")),
            (8, Err("silent"), down(6, "silent")),
            (10, Ok(()), BackendState::Up(second(10))),
        ] {
            state = state.after(outcome.map_err(str::to_owned), second(now));
            assert_eq!(state, expected);
        }
    }

    #[test]
    fn only_a_serving_daemon_before_an_answering_backend_is_ready() {
        let down = BackendState::Down { since: second(1), error: "gone".to_owned() };
        for (phase, backend, reason) in [
            (Phase::Serving, BackendState::Up(second(1)), None),
            (Phase::Serving, BackendState::Unknown, Some("not looked at")),
            (Phase::Serving, down.clone(), Some("gone")),
            (Phase::Starting, BackendState::Up(second(1)), Some("starting")),
            (Phase::Draining, BackendState::Up(second(1)), Some("draining")),
            (Phase::Draining, down, Some("draining")),
        ] {
            let found = unready(phase, &backend);
            assert_eq!(found.is_none(), reason.is_none(), "{phase:?} {backend:?}");
            assert!(found.unwrap_or_default().contains(reason.unwrap_or_default()), "{phase:?} {backend:?}");
        }
    }
}
