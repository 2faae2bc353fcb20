//! What systemd is told of a daemon that it has started: that it serves, reloads, leaves, and now and then that it is alive
//! (sd_notify(3)). Started by anybody else, it tells nobody.
//!
//! The home of `sd-notify`.

use std::time::Duration;

use sd_notify::{NotifyState, notify, watchdog_enabled};
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};

use crate::admin::Phase;

/// Where systemd has set no watchdog, nothing is due.
const NEVER: Duration = Duration::from_secs(24 * 3600);

/// Tells of every phase, and keeps the watchdog quiet for as long as this runtime turns; until the last phase's sender is gone.
pub(super) async fn tell(mut phases: watch::Receiver<Phase>) {
    // Half of the time, as sd_watchdog_enabled(3) advises.
    let watchdog = watchdog_enabled();
    let mut due = interval(watchdog.and_then(|time| time.checked_div(2)).map_or(NEVER, |half| half.max(Duration::from_millis(1))));
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let phase = *phases.borrow_and_update();
    say(phase).await;
    loop {
        // Both branches are cancel-safe.
        tokio::select! {
            changed = phases.changed() => {
                if changed.is_err() {
                    return;
                }
                let phase = *phases.borrow_and_update();
                say(phase).await;
            }
            _ = due.tick() => {
                if watchdog.is_some() {
                    send(&[NotifyState::Watchdog]).await;
                }
            }
        }
    }
}

/// HUP has come: what is in force is about to be replaced. systemd 253 and later, with `Type=notify-reload`, wait for the end of it.
pub(super) async fn reload_begins() {
    let since = NotifyState::monotonic_usec_now().ok();
    send(&[[NotifyState::Reloading].as_slice(), since.as_slice()].concat()).await;
}

/// What came of it is in force, or what was before.
pub(super) async fn reload_ends(applied: bool) {
    let status = if applied { "serving" } else { "serving; the last reload was rejected, its faults are in the log" };
    send(&[NotifyState::Ready, NotifyState::Status(status)]).await;
}

async fn say(phase: Phase) {
    match phase {
        Phase::Starting => send(&[NotifyState::Status("starting")]).await,
        Phase::Serving => send(&[NotifyState::Ready, NotifyState::Status("serving")]).await,
        Phase::Draining => send(&[NotifyState::Stopping, NotifyState::Status("draining: sessions finish what they are at")]).await,
    }
}

/// Without NOTIFY_SOCKET nothing is sent. A systemd that does not listen is not waited for by anybody who serves.
async fn send(states: &[NotifyState<'static>]) {
    let states = states.to_vec();
    let _ = spawn_blocking(move || notify(&states)).await;
}
