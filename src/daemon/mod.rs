//! The running daemon: what is bound and opened before the first thread exists, the loops, and their orderly end.

mod drain;
mod expiring;
mod reload;
mod signals;
mod systemd;

use std::io;
use std::iter;
use std::net::TcpListener;
use std::panic;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::{Duration, SystemTime};

use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{sleep, timeout};

use drain::{Drain, told_again};
use expiring::watch_expiry;
use reload::{Next, Reloader};
use signals::{Signal, Signals};

use crate::admin::{About, Admin, AdminError, HandoverError, Incumbent, LeaveDesk, Leaving, Listeners, Phase, Relieved, ReloadDesk, View};
use crate::config::{BootSettings, ListenAddress};
use crate::error::EndReason;
use crate::harden::{Confined, HardenError, Outcome, Report};
use crate::listen::{BindError, InheritError, Inherited, accept_all, bind};
use crate::notice::Notice;
use crate::observe::{Event, Hardening, ObserveError, Observers};
use crate::os::{self, Account};
use crate::session::{Door, House, Predecessor, watch_for_lost_clients, watch_timers};
use crate::snapshot::{Look, Ready, Snapshots};

/// How long sessions may take to end once they are told to: their farewell's time, and that of the close behind it.
const SESSIONS_TIMEOUT: Duration = Duration::from_secs(8);
/// How long the audit trail may take to be written to its end.
const AUDIT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a watch rests after a panic.
const WATCH_PAUSE: Duration = Duration::from_secs(1);

/// Why the daemon cannot start or go on.
#[derive(Debug)]
pub enum DaemonError {
    /// An address cannot be listened on.
    Bind(BindError),
    /// systemd has not passed a socket.
    Inherit(InheritError),
    /// The daemon that runs already gives nothing.
    Handover(HandoverError),
    /// Operators could not look.
    Admin(AdminError),
    /// Audit or log cannot be opened.
    Observe(ObserveError),
    /// The process cannot become whom it should, or give up what it must.
    Harden(HardenError),
    /// The daemon that was to be taken over from did not say that it leaves.
    Takeover(io::Error),
    /// The kernel refused a thread, a timer or a signal handler.
    Runtime(io::Error),
}

impl std::fmt::Display for DaemonError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bind(error) => error.fmt(f),
            Self::Inherit(error) => error.fmt(f),
            Self::Handover(error) => error.fmt(f),
            Self::Admin(error) => error.fmt(f),
            Self::Observe(error) => error.fmt(f),
            Self::Harden(error) => error.fmt(f),
            Self::Takeover(error) => {
                write!(f, "the daemon that runs did not say that it leaves: {error}; it goes on serving, see its log and start again")
            }
            Self::Runtime(error) => write!(f, "the runtime cannot be started: {error}"),
        }
    }
}

/// A daemon whose sockets are bound, whose files are open, and which has given up what it has no use for; no thread runs yet.
pub struct Daemon {
    bound: Bound,
    observers: crate::observe::OpenedObservers,
    loaded: Loaded,
}

/// The configuration that it starts with.
struct Loaded {
    config: PathBuf,
    look: Look,
    ready: Ready,
    /// What is to be known of the process itself.
    notices: Vec<String>,
    /// What it gave up.
    report: Report,
}

/// The sockets, which whoever starts the process may bind, and what else can be known before it is fenced in alone.
pub struct Bound {
    clients: Vec<TcpListener>,
    admin: Admin,
    workers: usize,
    /// The daemon that is taken over from.
    incumbent: Option<Incumbent>,
}

/// What [`Bound`] has become once nobody else serves.
struct Doors {
    clients: Vec<TcpListener>,
    admin: Admin,
    /// The daemon that was taken over from.
    relieved: Option<Relieved>,
}

impl Bound {
    /// Binds every address that the daemon that runs already does not give.
    ///
    /// # Errors
    /// The first that fails; nothing is left behind.
    pub fn new(settings: &BootSettings, mut incumbent: Option<Incumbent>) -> Result<Self, DaemonError> {
        let mut inherited = Inherited::from_environment();
        let mut clients = Vec::new();
        for address in &settings.listen {
            match address {
                ListenAddress::Systemd(name) => clients.extend(inherited.take(name).map_err(DaemonError::Inherit)?),
                ListenAddress::Tcp(address) => {
                    let given = incumbent.as_mut().and_then(|incumbent| incumbent.take(*address));
                    clients.push(given.map_or_else(|| bind(*address), Ok).map_err(DaemonError::Bind)?);
                }
            }
        }
        let admin = Admin::bind(&settings.admin, incumbent.as_mut()).map_err(DaemonError::Admin)?;
        // One for each processor, or as many as the control group's quota lets run, which is read from files out of reach later.
        let workers = available_parallelism().map_or(1, usize::from);
        Ok(Self { clients, admin, workers, incumbent })
    }
}

impl Daemon {
    /// Opens the audit and makes the admin socket, as the user and within the fence of `confined`, and gives up what only a start needs.
    /// `look` is what the files were like when `config` was loaded.
    ///
    /// # Errors
    /// The first that fails; nothing is left behind.
    pub fn prepare(bound: Bound, config: &Path, look: Look, ready: Ready, confined: Confined) -> Result<Self, DaemonError> {
        let settings = &ready.boot;
        let observers = Observers::open(&settings.observe).map_err(DaemonError::Observe)?;
        // Last of all that can fail for a reason of the configuration's: who has this name is the one whom operators ask.
        let admin = bound.admin.with_socket(&settings.admin, bound.incumbent.is_some()).map_err(DaemonError::Admin)?;
        let notices = iter::once(descriptor_notice()).chain(root_notice()).collect();
        let report = confined.seal().map_err(DaemonError::Harden)?;
        let loaded = Loaded { config: config.to_owned(), look, ready, notices, report };
        Ok(Self { bound: Bound { admin, ..bound }, observers, loaded })
    }

    /// Serves until TERM, then lets the sessions leave, or until INT or a second TERM, then ends them; and returns.
    ///
    /// # Errors
    /// A thread, timer or signal handler that the kernel refuses.
    pub fn run(self) -> Result<(), DaemonError> {
        let Self { bound, observers, loaded } = self;
        let observers = observers.start().map_err(DaemonError::Observe)?;
        tell_panics(observers.clone());
        let runtime = Builder::new_multi_thread().worker_threads(bound.workers).enable_all().build().map_err(DaemonError::Runtime)?;
        let Bound { clients, admin, incumbent, .. } = bound;
        // Before a connection is taken: two daemons must not serve side by side.
        let relieved = incumbent.map(|incumbent| runtime.block_on(incumbent.relieve())).transpose().map_err(DaemonError::Takeover)?;
        let outcome = serve(&runtime, Doors { clients, admin, relieved }, loaded, &observers);
        runtime.shutdown_timeout(Duration::ZERO);
        observers.shutdown(AUDIT_TIMEOUT);
        outcome.map_err(DaemonError::Runtime)
    }
}

/// Has panics told in the log, like everything else: what they say may hold what a client sent, and standard error has one writer.
fn tell_panics(observers: Observers) {
    panic::set_hook(Box::new(move |panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let said = panic.payload();
        let message = said.downcast_ref::<&str>().copied().or_else(|| said.downcast_ref::<String>().map(String::as_str));
        observers.emit(&Event::Panicked { place: &place, message: message.unwrap_or("no message") });
    }));
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

/// A session takes two descriptors, so their number is the first limit that a busy door meets.
fn descriptor_notice() -> String {
    match os::raise_descriptor_limit() {
        Ok(limit) => format!("{limit} open descriptors are allowed; a session takes two"),
        Err(error) => format!("the limit on open descriptors could not be raised: {error}; a session takes two"),
    }
}

/// A process of root's that is taken over reads and writes root's files, where the fence does not keep it from them.
fn root_notice() -> Option<String> {
    let text = "user: the daemon runs as root; name a user of its own, whom it becomes once its sockets are bound";
    (os::effective_uid() == 0).then(|| text.to_owned())
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

/// Keeps the listeners for a successor only as long as they are listened on.
async fn close_with(mut stop: watch::Receiver<bool>, listeners: Listeners) {
    let _ = stop.wait_for(|stop| *stop).await;
    listeners.close();
}

fn serve(runtime: &Runtime, doors: Doors, loaded: Loaded, observers: &Observers) -> io::Result<()> {
    runtime.block_on(async {
        // Before anything says that the daemon is up: a signal from then on is never the default one.
        let mut signals = Signals::install()?;
        let Loaded { config, look, ready, notices: own, report } = loaded;
        let hardening = hardening(&report);
        let addresses = doors.clients.iter().map(|listener| Ok(listener.local_addr()?.to_string())).collect::<io::Result<Vec<_>>>()?;
        let given = doors.clients.iter().map(TcpListener::try_clone).chain(doors.admin.another_endpoint().transpose());
        let given = Listeners::new(given.collect::<io::Result<_>>()?);
        let listeners = doors.clients.into_iter().map(tokio::net::TcpListener::from_std).collect::<io::Result<Vec<_>>>()?;
        let shown = |notices: Vec<Notice>| notices.iter().map(ToString::to_string).chain(own.iter().cloned()).collect::<Vec<_>>();
        let (notices, lasting_notices) = (shown(ready.notices()), shown(ready.boot.notices()));
        let version = env!("CARGO_PKG_VERSION");
        observers.emit(&Event::DaemonStarted { version, listen: &addresses, config: &config, notices: &notices, hardening: &hardening });
        let snapshots = Arc::new(Snapshots::new(ready.snapshot));
        let (desk, calls) = ReloadDesk::new();
        let (leave, mut leaving) = LeaveDesk::new();
        let (predecessor, passed) = doors.relieved.is_some().then(Predecessor::new).unzip();
        let house = House { predecessor: predecessor.unwrap_or_default(), ..House::default() };
        let (phase, phases) = watch::channel(Phase::Starting);
        tokio::spawn(systemd::tell(phases.clone()));
        let admin = doors.admin.serve(View {
            observers: observers.clone(),
            sessions: Arc::clone(&house.sessions),
            snapshots: Arc::clone(&snapshots),
            desk,
            leave,
            listeners: given.clone(),
            phase: phases,
            about: About {
                config: config.clone(),
                listen: addresses.clone(),
                notices: lasting_notices,
                hardening,
                started: SystemTime::now(),
            },
        })?;
        let (alive, mut all_gone) = mpsc::channel(1);
        let door = Door { snapshots: Arc::clone(&snapshots), house: house.clone(), observers: observers.clone(), alive };
        let door = Arc::new(door);
        let (stop, stopped) = watch::channel(false);
        for (listener, address) in listeners.into_iter().zip(&addresses) {
            tokio::spawn(accept_all(listener, Arc::clone(&door), stopped.clone()));
            observers.emit(&Event::Listening { address });
        }
        drop(door);
        tokio::spawn(close_with(stopped, given));
        phase.send_replace(Phase::Serving);
        if let Some((relieved, passed)) = doors.relieved.zip(passed) {
            tokio::spawn(relieved.pass_on(passed));
        }
        keep_watching({
            let (sessions, snapshots) = (Arc::clone(&house.sessions), Arc::clone(&snapshots));
            move || watch_timers(Arc::clone(&sessions), Arc::clone(&snapshots))
        });
        keep_watching({
            let sessions = Arc::clone(&house.sessions);
            move || watch_for_lost_clients(Arc::clone(&sessions))
        });
        keep_watching({
            let (snapshots, observers) = (Arc::clone(&snapshots), observers.clone());
            move || watch_expiry(Arc::clone(&snapshots), observers.clone())
        });
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
        let (mut asked, mut handed_over) = (false, false);
        let in_order = loop {
            // Both branches are cancel-safe.
            tokio::select! {
                why = leaving.asked() => {
                    asked = true;
                    handed_over = why == Leaving::HandedOver;
                    break true;
                }
                signal = signals.next() => match signal {
                    Signal::Drain => break true,
                    Signal::Stop => break false,
                    Signal::ReopenFiles => observers.reopen(),
                    Signal::Reload => hangup.notify_one(),
                },
            }
        };
        reloading.abort();
        phase.send_replace(Phase::Draining);
        if in_order {
            let mut shutdown = snapshots.current().terms().shutdown();
            if handed_over {
                // Whoever comes is served, by the successor.
                shutdown.delay = Duration::ZERO;
                admin.leave_endpoint();
            }
            observers.emit(&Event::DrainStarted { delay: shutdown.delay, timeout: shutdown.drain_timeout });
            let drain = Drain { shutdown, stop: &stop, sessions: &house.sessions, all_gone: &mut all_gone };
            tokio::select! {
                () = drain.run() => {}
                () = told_again(&mut signals, observers, asked) => {}
            }
        }
        stop.send_replace(true);
        observers.emit(&Event::DaemonStopping);
        house.handshakes.close();
        house.sessions.end_all(EndReason::Drain);
        // Nothing is ever sent: the channel ends when the last connection has gone.
        let _ = timeout(SESSIONS_TIMEOUT, all_gone.recv()).await;
        Ok(())
    })
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
