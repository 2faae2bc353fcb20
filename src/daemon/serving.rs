//! The daemon at work: what is wired together before the first connection is taken, what it is told meanwhile, and its orderly end.

use std::future::pending;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::drain::{Drain, told_again};
use super::expiring::watch_expiry;
use super::reload::{Next, Reloader};
use super::signals::{Signal, Signals};
use super::{Bound, DaemonError, Loaded, systemd};
use crate::admin::{About, Admin, LeaveCalls, LeaveDesk, Leaving, Listeners, Phase, Relieved, ReloadDesk, ServedAdmin, View};
use crate::error::EndReason;
use crate::harden::{Outcome, Report};
use crate::listen::accept_all;
use crate::notice::Notice;
use crate::observe::{Event, Hardening, Observers};
use crate::os::{self, Account};
use crate::session::{Door, House, Predecessor, watch_for_lost_clients, watch_timers};
use crate::snapshot::Snapshots;

/// How long sessions may take to end once they are told to: their farewell's time, and that of the close behind it.
const SESSIONS_TIMEOUT: Duration = Duration::from_secs(8);

/// How long a watch rests after a panic.
const WATCH_PAUSE: Duration = Duration::from_secs(1);

/// What is bound, within the runtime.
struct Doors {
    /// Each with its address.
    clients: Vec<(TcpListener, String)>,
    admin: Admin,
    /// All of it once more, for a successor.
    given: Listeners,
}

/// A daemon that takes connections.
struct Serving {
    observers: Observers,
    snapshots: Arc<Snapshots>,
    house: House,
    admin: ServedAdmin,
    phase: watch::Sender<Phase>,
    /// Ends listening.
    stop: watch::Sender<bool>,
    /// Ends when nothing of any connection lives.
    all_gone: mpsc::Receiver<()>,
    leaving: LeaveCalls,
    reloading: JoinHandle<()>,
    hangup: Arc<Notify>,
}

/// What ends its service.
enum Told {
    /// TERM.
    Drain,
    /// INT.
    Stop,
    /// What was said at the admin socket.
    Leave(Leaving),
}

/// Takes over from the daemon that runs, if there is one; serves until it is told to leave, and leaves.
///
/// # Errors
/// The kernel refuses a signal handler, a descriptor or a timer; or the daemon that runs goes on.
pub(super) async fn serve(bound: Bound, mut loaded: Loaded, observers: &Observers) -> Result<(), DaemonError> {
    // Before anything says that the daemon is up: a signal from then on is never the default one.
    let mut signals = Signals::install().map_err(DaemonError::Runtime)?;
    let Bound { clients, admin, incumbent, .. } = bound;
    let mut doors = Doors::new(clients, admin).map_err(DaemonError::Runtime)?;
    let takes_over = incumbent.is_some();
    let relieved = match incumbent {
        // Before a connection is taken: two daemons must not serve side by side.
        Some(incumbent) => incumbent.relieve().await.map_err(DaemonError::Takeover)?,
        None => None,
    };
    match doors.admin.publish() {
        // Nobody else serves any more: clients come first.
        Err(error) if takes_over => loaded.notices.push(error.to_string()),
        published => published.map_err(DaemonError::Admin)?,
    }
    let mut serving = Serving::begin(doors, relieved, loaded, observers.clone()).map_err(DaemonError::Runtime)?;
    let told = serving.until_told(&mut signals).await;
    serving.end(told, &mut signals).await;
    Ok(())
}

impl Doors {
    fn new(clients: Vec<std::net::TcpListener>, admin: Admin) -> io::Result<Self> {
        let given = clients.iter().map(std::net::TcpListener::try_clone).chain(admin.another_endpoint().transpose());
        let given = Listeners::new(given.collect::<io::Result<_>>()?);
        let with_address = |listener: std::net::TcpListener| {
            let address = listener.local_addr()?.to_string();
            Ok((TcpListener::from_std(listener)?, address))
        };
        let clients = clients.into_iter().map(with_address).collect::<io::Result<_>>()?;
        Ok(Self { clients, admin, given })
    }
}

impl Serving {
    fn begin(doors: Doors, relieved: Option<Relieved>, loaded: Loaded, observers: Observers) -> io::Result<Self> {
        let Doors { clients, admin, given } = doors;
        let addresses: Vec<_> = clients.iter().map(|(_, address)| address.clone()).collect();
        let about = announce(&loaded, &addresses, &observers);
        if let Some(relieved) = &relieved {
            observers.emit(&Event::TookOver { from: relieved.pid() });
        }
        let Loaded { config, look, ready, report, .. } = loaded;
        let snapshots = Arc::new(Snapshots::new(ready.snapshot));
        let (desk, calls) = ReloadDesk::new();
        let (leave, leaving) = LeaveDesk::new();
        let (predecessor, passed) = relieved.is_some().then(Predecessor::new).unzip();
        let house = House { predecessor: predecessor.unwrap_or_default(), ..House::default() };
        let (phase, phases) = watch::channel(Phase::Starting);
        tokio::spawn(systemd::tell(phases.clone()));
        let admin = admin.serve(View {
            observers: observers.clone(),
            sessions: Arc::clone(&house.sessions),
            snapshots: Arc::clone(&snapshots),
            desk,
            leave,
            listeners: given.clone(),
            phase: phases,
            about,
        })?;
        let (alive, all_gone) = mpsc::channel(1);
        let door = Door { snapshots: Arc::clone(&snapshots), house: house.clone(), observers: observers.clone(), alive };
        let (stop, stopped) = watch::channel(false);
        open(door, clients, &stopped);
        tokio::spawn(close_with(stopped, given));
        phase.send_replace(Phase::Serving);
        if let Some((relieved, passed)) = relieved.zip(passed) {
            tokio::spawn(relieved.pass_on(passed));
        }
        watch_over(&house, &snapshots, &observers);
        let reloader = Reloader {
            config,
            snapshots: Arc::clone(&snapshots),
            sessions: Arc::clone(&house.sessions),
            observers: observers.clone(),
            report,
            boot: ready.boot,
            booted: ready.document.clone(),
            document: ready.document,
            applied: look.clone(),
            tried: look,
            poll: ready.poll,
            next: Next::Change,
            announced: false,
        };
        let hangup = Arc::new(Notify::new());
        let reloading = tokio::spawn(reloader.run(Arc::clone(&hangup), calls));
        Ok(Self { observers, snapshots, house, admin, phase, stop, all_gone, leaving, reloading, hangup })
    }

    /// Does what else it is told by signals, until it is told to go.
    async fn until_told(&mut self, signals: &mut Signals) -> Told {
        loop {
            // Both branches are cancel-safe.
            tokio::select! {
                why = self.leaving.asked() => return Told::Leave(why),
                signal = signals.next() => match signal {
                    Signal::Drain => return Told::Drain,
                    Signal::Stop => return Told::Stop,
                    Signal::ReopenFiles => self.observers.reopen(),
                    Signal::Reload => self.hangup.notify_one(),
                },
            }
        }
    }

    /// Lets the sessions leave, where there is time for it, and ends what is left.
    async fn end(self, told: Told, signals: &mut Signals) {
        let Self { observers, snapshots, house, admin, phase, stop, mut all_gone, mut leaving, reloading, hangup: _ } = self;
        phase.send_replace(Phase::Draining);
        let mut shutdown = snapshots.current().terms().shutdown();
        if matches!(told, Told::Leave(Leaving::HandedOver { .. })) {
            shutdown.delay = Duration::ZERO;
        }
        let ending = async {
            if let Told::Drain | Told::Leave(_) = told {
                observers.emit(&Event::DrainStarted { delay: shutdown.delay, timeout: shutdown.drain_timeout });
                let drain = Drain { shutdown, stop: &stop, sessions: &house.sessions, all_gone: &mut all_gone };
                tokio::select! {
                    () = drain.run() => {}
                    () = told_again(signals, &observers, matches!(told, Told::Leave(_))) => {}
                }
            }
            stop.send_replace(true);
            observers.emit(&Event::DaemonStopping);
            house.handshakes.close();
            house.sessions.end_all(EndReason::Drain);
            // Nothing is ever sent: the channel ends when the last connection has gone.
            let _ = timeout(SESSIONS_TIMEOUT, all_gone.recv()).await;
        };
        tokio::select! {
            biased;
            // Both are polled until the end, which is the other's: neither is cancelled half-way.
            () = leave_to_successor(&mut leaving, &admin, &stop, &observers) => {}
            () = ending => {}
        }
        // Until here: who stays for the rest of a transaction is judged by what the files say meanwhile.
        reloading.abort();
    }
}

/// Leaves whoever comes to a successor, once there is one, early or late in the drain. It never resolves.
async fn leave_to_successor(leaving: &mut LeaveCalls, admin: &ServedAdmin, stop: &watch::Sender<bool>, observers: &Observers) {
    let to = leaving.handed_over().await;
    observers.emit(&Event::HandedOver { to });
    admin.leave_endpoint();
    stop.send_replace(true);
    pending().await
}

/// Says that the daemon is up, and keeps for whoever looks later what was said.
fn announce(loaded: &Loaded, addresses: &[String], observers: &Observers) -> About {
    let Loaded { config, ready, notices: own, report, .. } = loaded;
    let shown = |notices: Vec<Notice>| notices.iter().map(ToString::to_string).chain(own.iter().cloned()).collect::<Vec<_>>();
    let hardening = hardening(report);
    let version = env!("CARGO_PKG_VERSION");
    let notices = shown(ready.notices());
    observers.emit(&Event::DaemonStarted { version, listen: addresses, config, notices: &notices, hardening: &hardening });
    About {
        config: config.clone(),
        listen: addresses.to_owned(),
        notices: shown(ready.boot.notices()),
        hardening,
        started: SystemTime::now(),
    }
}

/// Takes connections from now on.
fn open(door: Door, clients: Vec<(TcpListener, String)>, stopped: &watch::Receiver<bool>) {
    let door = Arc::new(door);
    for (listener, address) in clients {
        tokio::spawn(accept_all(listener, Arc::clone(&door), stopped.clone()));
        door.observers.emit(&Event::Listening { address: &address });
    }
}

/// Keeps the listeners for a successor only as long as they are listened on.
async fn close_with(mut stop: watch::Receiver<bool>, listeners: Listeners) {
    let _ = stop.wait_for(|stop| *stop).await;
    listeners.close();
}

/// Begins the watches over sessions and certificates.
fn watch_over(house: &House, snapshots: &Arc<Snapshots>, observers: &Observers) {
    keep_watching({
        let (sessions, snapshots) = (Arc::clone(&house.sessions), Arc::clone(snapshots));
        move || watch_timers(Arc::clone(&sessions), Arc::clone(&snapshots))
    });
    keep_watching({
        let sessions = Arc::clone(&house.sessions);
        move || watch_for_lost_clients(Arc::clone(&sessions))
    });
    keep_watching({
        let (snapshots, observers) = (Arc::clone(snapshots), observers.clone());
        move || watch_expiry(Arc::clone(&snapshots), observers.clone())
    });
}

/// Runs a watch for as long as the runtime lives: one that panicked, which the log has told, begins anew, so that sessions are still ended
/// in their time.
fn keep_watching<F: Future<Output = ()> + Send + 'static>(watch: impl Fn() -> F + Send + 'static) {
    tokio::spawn(async move {
        while tokio::spawn(watch()).await.is_err_and(|ended| ended.is_panic()) {
            sleep(WATCH_PAUSE).await;
        }
    });
}

/// What of the sandbox holds, for whoever looks.
fn hardening(report: &Report) -> Hardening {
    let (mut in_force, mut not_in_force) = (Vec::new(), Vec::new());
    for Outcome { measure, missing } in &report.outcomes {
        match missing {
            None => in_force.push(measure.label().to_owned()),
            Some(why) => not_in_force.push(format!("{}: {why}", measure.label())),
        }
    }
    let us = os::effective_uid();
    let user = Account::of_uid(us).map_or_else(|_| format!("uid {us}"), |account| account.to_string());
    Hardening { mode: report.mode.label().to_owned(), user, in_force, not_in_force }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_watch_that_panics_begins_anew_and_one_that_ends_does_not() {
        let begun = Arc::new(AtomicUsize::new(0));
        keep_watching({
            let begun = Arc::clone(&begun);
            move || {
                let before = begun.fetch_add(1, Ordering::Relaxed);
                async move { assert!(before >= 2, "on purpose") }
            }
        });
        sleep(10 * WATCH_PAUSE).await;
        assert_eq!(begun.load(Ordering::Relaxed), 3);
    }
}
