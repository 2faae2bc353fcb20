//! Saying what happened: one event, told to the audit trail, to the metrics and to the log.
//!
//! Sessions emit events and know nothing of files, formats or levels; nothing here decides anything about a session, except
//! that one whose start cannot be recorded may be refused (`audit.on_failure`). A further consumer is one more field of
//! `Consumers` with one more exhaustive `match`.

mod audit;
mod event;
mod hardening;
mod json;
mod lines;
mod log;
mod merge;
mod metrics;
mod output;
mod phrase;
mod reload;
mod report;
mod sink;
mod text;
mod worker;
mod writer;

#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ulid::Ulid;

pub use event::Event;
pub use hardening::Hardening;
pub use metrics::{Moment, ProcessUsage, Totals};
pub use reload::{ExpiryReport, ReloadReport, ReloadResult, ReloadTrigger};
pub use report::{
    AdminReport, AdminResult, AdminVerb, CancelReport, CancelResult, CertFacts, DecisionFacts, RefusalReport, SessionOpening,
    SessionReport, StartupFacts, TlsFacts, Trail,
};
pub use sink::AuditUnavailable;
pub use text::{Word, harmless_json};

use audit::Record;
use lines::LineWriter;
use log::Log;
use metrics::Metrics;
use output::Output;
use sink::Sink;
use writer::Writer;

/// Where events go, as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObserveSettings {
    /// The audit trail.
    pub audit: AuditSettings,
    /// The log.
    pub log: LogSettings,
}

/// The audit trail: `audit` of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditSettings {
    /// `audit.file`.
    pub destination: AuditDestination,
    /// `audit.on_failure`.
    pub on_failure: OnFailure,
}

/// Where audit records are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditDestination {
    /// Nowhere.
    Off,
    /// To standard output.
    Stdout,
    /// To the end of this file.
    File(PathBuf),
}

/// What an audit trail that cannot be written does to sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// A session whose start cannot be recorded is refused.
    Refuse,
    /// Sessions go on, and what is missing is counted.
    Continue,
}

/// The log on standard error: `log` of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// `log.level`: the least severe level that is written.
    pub level: LogLevel,
    /// `log.format`.
    pub format: LogFormat,
}

/// How severe a line of the log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// Something is broken, and an operator must act.
    Error,
    /// Something that an operator should look at.
    Warn,
    /// What happens in ordinary work.
    Info,
    /// For those who look for a fault.
    Debug,
    /// Everything.
    Trace,
}

/// How a line of the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, else JSON.
    Auto,
    /// For people.
    Text,
    /// For programs, an object a line.
    Json,
}

/// Where every event goes. Clones share the trail, the numbers and the log.
#[derive(Clone)]
pub struct Observers {
    consumers: Arc<Consumers>,
}

/// The files are open and no thread runs yet: what must happen before privileges are dropped, and nothing more.
pub struct OpenedObservers {
    output: Option<Output>,
    on_failure: OnFailure,
    log: LogSettings,
}

/// Why the audit trail cannot be opened.
#[derive(Debug)]
pub enum ObserveError {
    /// `audit.file` cannot be appended to.
    File {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        error: io::Error,
    },
    /// `audit.file: stdout`, and there is no standard output.
    Stdout(io::Error),
    /// No thread could be started.
    Thread(io::Error),
}

struct Consumers {
    audit: Option<Sink>,
    metrics: Metrics,
    log: Log,
    /// The thread that writes the log.
    log_writer: LineWriter,
}

impl Observers {
    /// Opens the files and starts the writers at once.
    pub fn start(settings: &ObserveSettings) -> Result<Self, ObserveError> {
        Self::open(settings)?.start()
    }

    /// Opens the files.
    pub fn open(settings: &ObserveSettings) -> Result<OpenedObservers, ObserveError> {
        let output = match &settings.audit.destination {
            AuditDestination::Off => None,
            AuditDestination::Stdout => Some(Output::stdout().map_err(ObserveError::Stdout)?),
            AuditDestination::File(path) => Some(Output::file(path).map_err(|error| ObserveError::File { path: path.clone(), error })?),
        };
        Ok(OpenedObservers { output, on_failure: settings.audit.on_failure, log: settings.log })
    }

    /// Tells everyone who listens. Never waits for the audit sink.
    pub fn emit(&self, event: &Event<'_>) {
        let Consumers { audit, metrics, log, .. } = &*self.consumers;
        let now = SystemTime::now();
        if let Some(sink) = audit
            && let Some(record) = Record::of(event, now)
        {
            sink.emit(record);
        }
        metrics.emit(event, now);
        log.emit(event);
    }

    /// Tells that a session starts, and returns once its record is written: with write(2) returned, not with the disk synced.
    ///
    /// An error means that the session must be refused, with `audit_unavailable`. It then has no record of its start, unless
    /// the wait ended while the line was being written: a `connection.refused` of the same session then follows it. Waits 5
    /// seconds at most. Under `audit.on_failure: continue`, and with the trail off, it does not fail. Cancel-safe.
    pub async fn record_session_start(&self, opening: &SessionOpening) -> Result<(), AuditUnavailable> {
        let Consumers { audit, metrics, log, .. } = &*self.consumers;
        let event = Event::SessionStarted(opening);
        let now = SystemTime::now();
        if let Some(sink) = audit
            && let Some(record) = Record::of(&event, now)
        {
            sink.record(record).await?;
        }
        metrics.emit(&event, now);
        log.emit(&event);
        Ok(())
    }

    /// All metrics, as OpenMetrics text.
    pub fn scrape(&self, moment: &Moment) -> String {
        self.consumers.metrics.scrape(moment)
    }

    /// What happened since the start.
    pub fn totals(&self) -> Totals {
        self.consumers.metrics.totals()
    }

    /// Has the audit file opened anew. If that fails the log says so, and the old file stays.
    pub fn reopen(&self) {
        if let Some(sink) = &self.consumers.audit {
            sink.reopen();
        }
    }

    /// Has the audit trail and then the log written to their ends. `false` if the trail takes longer than `patience`.
    ///
    /// Blocks, so it is the last thing after the runtime has ended. Without it, what is queued is lost with the process.
    pub fn shutdown(&self, patience: Duration) -> bool {
        let Consumers { audit, log_writer, .. } = &*self.consumers;
        let complete = audit.as_ref().is_none_or(|sink| sink.stop(patience));
        log_writer.stop(LOG_PATIENCE);
        complete
    }
}

impl OpenedObservers {
    /// Starts the writers. A thread has the restrictions of the one that starts it, so this comes after hardening.
    pub fn start(self) -> Result<Observers, ObserveError> {
        let Self { output, on_failure, log } = self;
        let (log, log_writer) = Log::start(log).map_err(ObserveError::Thread)?;
        let metrics = Metrics::new(SystemTime::now());
        let start = |output| {
            let log = log.clone();
            let boot = Ulid::generate().to_string();
            let tell = Box::new(move |event: &Event<'_>| log.emit(event));
            let meter = metrics.audit_meter();
            Sink::start(on_failure, |shared| Writer::new(output, on_failure, boot, shared, meter, tell))
        };
        let audit = output.map(start).transpose().map_err(ObserveError::Thread)?;
        Ok(Observers { consumers: Arc::new(Consumers { audit, metrics, log, log_writer }) })
    }
}

impl fmt::Display for ObserveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, error } => write!(
                f,
                "audit.file: {} cannot be opened for appending: {error}; expected a file that this user may write to or create; \
                 create its folder, change its owner, or set audit.file to stdout",
                path.display()
            ),
            Self::Stdout(error) => write!(
                f,
                "audit.file: standard output cannot be written to: {error}; expected an open descriptor 1; redirect it, or set audit.file \
                 to a path"
            ),
            Self::Thread(error) => {
                write!(f, "the thread of the audit trail or the log cannot be started: {error}; expected room for one more thread")
            }
        }
    }
}

impl std::error::Error for ObserveError {}

/// How long the last lines of the log may take to be read.
const LOG_PATIENCE: Duration = Duration::from_secs(1);
