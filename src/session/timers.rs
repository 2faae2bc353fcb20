//! The times that a session may be idle and may live: one look a second at all of them, not a timer each.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

use super::registry::Sessions;
use super::wall_clock::WallClock;
use crate::error::{EndReason, Withdrawal};
use crate::os::unix_now;
use crate::policy::Bounds;
use crate::snapshot::{Snapshots, Terms};
use crate::types::SessionId;

/// How often all sessions are looked at: how late one may be ended.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// How long a session may be idle and may live; `None` is for ever.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Timers {
    pub(super) idle: Option<Duration>,
    pub(super) lifetime: Option<Duration>,
}

impl Timers {
    /// Those of a session of these bounds.
    pub(super) fn of(terms: &Terms, bounds: Bounds) -> Self {
        Self { idle: terms.idle_session_timeout(bounds), lifetime: terms.max_session_lifetime(bounds) }
    }
}

/// Ends sessions that have been idle or have lived for too long, and those whose certificates have expired, for as long as it is polled.
pub async fn watch_timers(sessions: Arc<Sessions>, snapshots: Arc<Snapshots>) {
    let mut looks = interval(LOOK_INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut clock = WallClock::default();
    let mut quiet: HashMap<SessionId, (u32, Instant)> = HashMap::new();
    loop {
        let now = looks.tick().await;
        let wall = clock.believe(unix_now(), now);
        if !snapshots.current().terms().keeps_expired() {
            end_expired(&sessions, wall);
        }
        let mut still_quiet = HashMap::new();
        for session in sessions.with_timers() {
            let Timers { idle, lifetime } = session.timers();
            if lifetime.is_some_and(|most| now.saturating_duration_since(session.started()) >= most) {
                session.end(EndReason::Lifetime);
            }
            let (Some(most), Some(activity)) = (idle, session.idle_at()) else { continue };
            // As idle as at the look before, with nothing in between: idle since then.
            let since = quiet.get(&session.id()).filter(|(seen, _)| *seen == activity).map_or(now, |(_, since)| *since);
            if now.saturating_duration_since(since) >= most {
                session.end(EndReason::Idle);
            }
            still_quiet.insert(session.id(), (activity, since));
        }
        quiet = still_quiet;
    }
}

fn end_expired(sessions: &Sessions, now: i64) {
    for session in sessions.expired(now) {
        session.withdraw(Withdrawal::Expired(session.identity().not_after()));
    }
}
