//! What systemd is told of a daemon that it has started: that it serves, reloads, leaves, and now and then that it is alive
//! (sd_notify(3)). Started by anybody else, it tells nobody.

use std::env;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};

use crate::admin::Phase;
use crate::os;

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
                    send("WATCHDOG=1".to_owned()).await;
                }
            }
        }
    }
}

/// HUP has come: what is in force is about to be replaced. systemd 253 and later, with `Type=notify-reload`, wait for the end of it.
pub(super) async fn reload_begins() {
    send(format!("RELOADING=1\nMONOTONIC_USEC={}", os::monotonic().as_micros())).await;
}

/// What came of it is in force, or what was before.
pub(super) async fn reload_ends(applied: bool) {
    let status = if applied { "serving" } else { "serving; the last reload was rejected, its faults are in the log" };
    send(format!("READY=1\nSTATUS={status}")).await;
}

async fn say(phase: Phase) {
    let states = match phase {
        Phase::Starting => "STATUS=starting",
        Phase::Serving => "READY=1\nSTATUS=serving",
        Phase::Draining => "STOPPING=1\nSTATUS=draining: sessions finish what they are at",
    };
    send(states.to_owned()).await;
}

/// The longest silence that systemd bears, if it bears none for ever (sd_watchdog_enabled(3)).
fn watchdog_enabled() -> Option<Duration> {
    let number = |name| env::var(name).ok()?.parse::<u64>().ok();
    let ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(process::id()));
    number("WATCHDOG_USEC").filter(|time| ours && *time > 0).map(Duration::from_micros)
}

/// A systemd that does not listen is not waited for by anybody who serves.
async fn send(states: String) {
    let _ = spawn_blocking(move || notify(&states)).await;
}

/// Without NOTIFY_SOCKET nothing is sent. One that begins with `@` is an abstract name.
fn notify(states: &str) -> io::Result<()> {
    let Some(name) = env::var_os("NOTIFY_SOCKET") else { return Ok(()) };
    let address = match name.as_encoded_bytes().strip_prefix(b"@") {
        Some(hidden) => SocketAddr::from_abstract_name(hidden)?,
        None => SocketAddr::from_pathname(name)?,
    };
    UnixDatagram::unbound()?.send_to_addr(states.as_bytes(), &address).map(drop)
}
