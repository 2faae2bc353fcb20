//! Sessions that leave when the daemon does: each at its own time, so that nobody's work is lost.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::live::{Leave, LiveSession};
use super::registry::Sessions;
use crate::error::EndReason;

/// How long a session that has just begun may take to its first statement: a driver that has logged in is about to send one.
const FIRST_STATEMENT: Duration = Duration::from_secs(5);
/// How often those are looked at that have come, or were not asked yet.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// Asks every session to leave, those included that still log in, for as long as it is polled; it never resolves. Idle ones go at once,
/// others at the end of their transaction, a walsender at its next message boundary.
pub async fn ask_all_to_leave(sessions: Arc<Sessions>) {
    let mut looks = interval(LOOK_INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        for session in sessions.list() {
            if is_walsender(&session) {
                // It is never idle: it streams until somebody ends it, and resumes where it was.
                session.end(EndReason::Drain);
            } else if session.started().elapsed() < FIRST_STATEMENT {
                session.ask_to_leave(Leave::Served);
            } else {
                session.ask_to_leave(Leave::Idle);
            }
        }
    }
}

fn is_walsender(session: &LiveSession) -> bool {
    session.startup().is_some_and(|startup| startup.replication.is_some())
}
