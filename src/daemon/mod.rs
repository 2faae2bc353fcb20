//! The running daemon: what is bound and opened before the first thread exists, and what frames its work.

mod drain;
mod expiring;
mod reload;
mod serving;
mod signals;
mod systemd;

use std::io;
use std::net::TcpListener;
use std::panic;
use std::path::{Path, PathBuf};
use std::thread::available_parallelism;
use std::time::Duration;

use tokio::runtime::Builder;

use serving::serve;

use crate::admin::{Admin, AdminError, HandoverError, Incumbent};
use crate::config::{BootSettings, LimitSettings, ListenAddress};
use crate::harden::{Confined, HardenError, Report};
use crate::listen::{BindError, InheritError, Inherited, bind};
use crate::observe::{Event, ObserveError, Observers};
use crate::os;
use crate::snapshot::{Look, Ready};

/// How long the audit trail may take to be written to its end.
const AUDIT_TIMEOUT: Duration = Duration::from_secs(5);

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
    /// What was found and is of no use.
    notices: Vec<String>,
    /// The daemon that is taken over from.
    incumbent: Option<Incumbent>,
}

impl DaemonError {
    /// The key of the configuration that it is about, where it is about one.
    pub fn key(&self) -> Option<&'static str> {
        match self {
            Self::Bind(_) | Self::Inherit(_) => Some("listen"),
            Self::Handover(_) | Self::Admin(_) | Self::Observe(_) | Self::Harden(_) | Self::Takeover(_) | Self::Runtime(_) => None,
        }
    }
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
        let closed = inherited.close_rest().into_iter().map(|name| {
            format!("listen: systemd passed a socket {name} that no entry names, and it was closed; add systemd:{name}, or take it from the socket unit")
        });
        let notices = closed.collect();
        let admin = Admin::bind(&settings.admin, incumbent.as_mut()).map_err(DaemonError::Admin)?;
        // One for each processor, or as many as the control group's quota lets run, which is read from files out of reach later.
        let workers = available_parallelism().map_or(1, usize::from);
        Ok(Self { clients, admin, workers, incumbent, notices })
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
        let admin = bound.admin.with_socket(&settings.admin, bound.incumbent.is_some()).map_err(DaemonError::Admin)?;
        let (gaps, unused) = (confined.gaps().iter().map(ToString::to_string), bound.notices.iter().cloned());
        let notices =
            descriptor_notice(ready.snapshot.terms().limits()).into_iter().chain(root_notice()).chain(gaps).chain(unused).collect();
        let report = confined.seal().map_err(DaemonError::Harden)?;
        let loaded = Loaded { config: config.to_owned(), look, ready, notices, report };
        Ok(Self { bound: Bound { admin, ..bound }, observers, loaded })
    }

    /// Serves until TERM, then lets the sessions leave, or until INT or a second TERM, then ends them; and returns.
    ///
    /// # Errors
    /// A thread, timer or signal handler that the kernel refuses; or the daemon that is to be taken over from goes on. Nobody who looks
    /// for a daemon has found this one then.
    pub fn run(self) -> Result<(), DaemonError> {
        let Self { bound, observers, loaded } = self;
        let observers = observers.start().map_err(DaemonError::Observe)?;
        tell_panics(observers.clone());
        let runtime = Builder::new_multi_thread().worker_threads(bound.workers).enable_all().build().map_err(DaemonError::Runtime)?;
        let outcome = runtime.block_on(serve(bound, loaded, &observers));
        runtime.shutdown_timeout(Duration::ZERO);
        observers.shutdown(AUDIT_TIMEOUT);
        outcome
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

/// A session takes two descriptors, so their number is the first limit that a busy door meets.
fn descriptor_notice(limits: &LimitSettings) -> Option<String> {
    let needed = limits.descriptors();
    match os::raise_descriptor_limit() {
        Ok(limit) if limit >= needed => None,
        Ok(limit) => Some(format!(
            "{limit} open descriptors are allowed, limits.max_connections and max_handshakes can need {needed}; set LimitNOFILE={needed} in \
             the service's unit (ulimit -n), or lower them"
        )),
        Err(error) => Some(format!("the limit on open descriptors could not be raised: {error}; a session takes two")),
    }
}

/// A process of root's that is taken over reads and writes root's files, where the fence does not keep it from them.
fn root_notice() -> Option<String> {
    let text = "user: the daemon runs as root; name a user of its own, whom it becomes once its sockets are bound";
    (os::effective_uid() == 0).then(|| text.to_owned())
}
