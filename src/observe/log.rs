//! Event to log line, on standard error.
//!
//! Lines use PostgreSQL's own words and field names, so that what greps its log greps this one
//! (src/backend/utils/init/postinit.c, PerformAuthentication; src/backend/libpq/auth.c, set_authn_id). The subscriber is a
//! value of its own, set for the time of a line and never for the process: lines come from here alone, from any thread, and
//! every value in them is escaped. A thread of its own writes them: who stops reading standard error misses lines, and stops nobody.

use std::io::{self, IsTerminal};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use tracing::level_filters::LevelFilter;
use tracing::{Dispatch, dispatcher};
use tracing_subscriber::fmt::MakeWriter;

use super::event::Event;
use super::hardening::Hardening;
use super::lines::LineWriter;
use super::merge::{Kind, Limiter};
use super::phrase::{Asked, Authorized, Host, Named, SessionTime, Told};
use super::reload::{ExpiryReport, ReloadReport, ReloadResult};
use super::report::{AdminReport, AdminResult, AdminVerb, CancelReport, CancelResult, RefusalReport, SessionOpening, SessionReport};
use super::text::{Escaped, Quoted, Word};
use super::{LogFormat, LogLevel, LogSettings};
use crate::error::{Blame, EndReason};
use crate::types::{ExpiryKind, span, utc};

/// A log. Clones write to the same place.
#[derive(Clone)]
pub(super) struct Log {
    dispatch: Dispatch,
    limiter: Arc<Mutex<Limiter>>,
}

/// Writes a line at a level that is known at run time only.
macro_rules! say {
    ($level:expr, $($line:tt)+) => {
        match $level {
            LogLevel::Error => tracing::error!($($line)+),
            LogLevel::Warn => tracing::warn!($($line)+),
            LogLevel::Info => tracing::info!($($line)+),
            LogLevel::Debug => tracing::debug!($($line)+),
            LogLevel::Trace => tracing::trace!($($line)+),
        }
    };
}

impl Log {
    /// The log as configured, and the thread that writes it to standard error.
    ///
    /// # Errors
    /// The thread could not be started.
    pub(super) fn start(settings: LogSettings) -> io::Result<(Self, LineWriter)> {
        let json = match settings.format {
            LogFormat::Auto => !io::stderr().is_terminal(),
            LogFormat::Text => false,
            LogFormat::Json => true,
        };
        let at_once = dispatch(settings.level, json, io::stderr);
        let tell_lost = move |lost| {
            dispatcher::with_default(&at_once, || {
                tracing::warn!(lost, "the log is written again: {lost} lines are missing from it; standard error was read too slowly");
            });
        };
        let writer = LineWriter::start(io::stderr(), tell_lost)?;
        Ok((Self::new(settings.level, json, writer.lines()), writer))
    }

    fn new(level: LogLevel, json: bool, writer: impl for<'w> MakeWriter<'w> + Send + Sync + 'static) -> Self {
        Self { dispatch: dispatch(level, json, writer), limiter: Arc::new(Mutex::new(Limiter::new())) }
    }

    /// Writes the lines of an event, if any.
    pub(super) fn emit(&self, event: &Event<'_>) {
        dispatcher::with_default(&self.dispatch, || self.say(event));
    }

    fn say(&self, event: &Event<'_>) {
        match *event {
            Event::DaemonStarted { version, listen, config, notices, hardening } => {
                let config = Quoted(config.as_os_str().as_encoded_bytes());
                tracing::info!("postern {version} started: listen={} config={config}", Quoted(listen.join(", ").as_bytes()));
                let Hardening { mode, user, in_force, not_in_force } = hardening;
                tracing::info!("harden={mode} user={} in force: {}", Quoted(user.as_bytes()), in_force.join(", "));
                not_in_force.iter().for_each(|missing| tracing::warn!("harden: not in force: {}", Escaped(missing.as_bytes())));
                notices.iter().for_each(|notice| tracing::warn!("{}", Escaped(notice.as_bytes())));
            }
            Event::Listening { address } => tracing::info!("listening on {}", Escaped(address.as_bytes())),
            Event::AdminListening { address } => tracing::info!("admin: reachable at {}", Escaped(address.as_bytes())),
            Event::BackendWentDown { error } => tracing::error!("the backend does not answer: {}", Escaped(error.as_bytes())),
            Event::BackendCameUp => tracing::info!("the backend answers again"),
            Event::BackendStaysAtWork { session, pid } => tracing::warn!(
                %session,
                pid,
                "the backend goes on with a statement whose session is over, and catches every cancel; pg_terminate_backend({pid}) ends it"
            ),
            Event::ConnectionAccepted | Event::TlsEstablished { .. } | Event::BackendConnected { .. } => {}
            Event::AcceptFailed { error, again: false } => tracing::error!("could not accept new connection: {error}"),
            Event::AcceptFailed { again: true, .. } => {}
            Event::ReloadIgnored => tracing::warn!("HUP ignored: the daemon is shutting down"),
            Event::TookOver { from } => tracing::info!(pid = from, "took over from the daemon that ran, which finishes what it has begun"),
            Event::HandedOver { to } => tracing::info!(pid = to, "relieved by a successor, which takes all connections from now on"),
            Event::DrainStarted { delay, timeout } => tracing::info!(
                "draining: connections are accepted for {} s more, sessions have {} s from then on; TERM or INT again ends them at once",
                delay.as_secs_f32(),
                timeout.as_secs_f32()
            ),
            Event::Reloaded(report) => reloaded(report),
            Event::Expiring(report) => expiring(report),
            Event::DaemonStopping => tracing::info!("shutting down: no longer listening"),
            Event::ConnectionRefused(report) => self.refused(report),
            Event::SessionStarted(opening) => started(opening),
            Event::SessionEnded(report) => ended(report),
            Event::CancelHandled(report) => self.cancelled(report),
            Event::AdminHandled(report) => self.administered(report),
            Event::Panicked { place, message } => tracing::error!(
                "a thread panicked at {}: {}; please report it, with the lines around it",
                Escaped(place.as_bytes()),
                Escaped(message.as_bytes())
            ),
            Event::AuditFailed { error } => tracing::error!("could not write to the audit trail: {}", Escaped(error.as_bytes())),
            Event::AuditRecovered { lost } => tracing::warn!(lost, "the audit trail is written again: {lost} records are missing from it"),
        }
    }

    fn refused(&self, report: &RefusalReport) {
        let Some(left_out) = self.admits(Kind::of_refusal(report)) else { return };
        let level = match report.reason.blame() {
            Blame::Client => LogLevel::Info,
            Blame::Policy => LogLevel::Warn,
            Blame::Backend | Blame::Operator | Blame::Ourselves => LogLevel::Error,
        };
        say!(
            level,
            reason = %report.reason.code(),
            sqlstate = report.sqlstate.as_deref().map(tracing::field::display),
            session = %report.trail.session,
            left_out,
            "connection refused: {}{}{} detail={}",
            Host(&report.trail),
            Asked(&report.trail),
            Told(report.message.as_deref()),
            Quoted(report.detail.as_bytes()),
        );
    }

    fn cancelled(&self, report: &CancelReport) {
        let Some(left_out) = self.admits(Kind::of_cancel(report)) else { return };
        let level = match report.result {
            CancelResult::Forwarded | CancelResult::UnknownKey | CancelResult::Malformed | CancelResult::RateLimited => LogLevel::Info,
            CancelResult::IdentityMismatch | CancelResult::Denied | CancelResult::BackendUnreachable => LogLevel::Warn,
        };
        say!(
            level,
            session = report.target.map(tracing::field::display),
            pid = report.pid,
            left_out,
            "cancel request: result={} host={} port={} encrypted={}{}",
            report.result.code(),
            report.client.ip(),
            report.client.port(),
            report.encrypted,
            Named("cn", report.cn.as_deref()),
        );
    }

    fn administered(&self, report: &AdminReport) {
        let Some(left_out) = self.admits(Kind::of_admin(report)) else { return };
        let level = match (report.result, report.verb) {
            (AdminResult::Forbidden, _) => LogLevel::Warn,
            (AdminResult::Done, Some(AdminVerb::Status | AdminVerb::Sessions)) => LogLevel::Debug,
            (AdminResult::Done | AdminResult::NoMatch | AdminResult::Malformed | AdminResult::Failed, _) => LogLevel::Info,
        };
        let (by, value) = report.selector.as_ref().map_or(("", None), |(by, value)| (*by, Some(value.as_bytes())));
        say!(
            level,
            uid = report.uid,
            pid = report.pid,
            left_out,
            "admin: verb={}{} result={} targets={}",
            report.verb.map_or("none", AdminVerb::code),
            Named(by, value),
            report.result.code(),
            report.targets,
        );
    }

    /// Whether a line is written, and after how many that were not. `None` as a kind is always written.
    fn admits(&self, kind: Option<Kind>) -> Option<Option<u64>> {
        let Some(kind) = kind else { return Some(None) };
        let mut limiter = self.limiter.lock().unwrap_or_else(PoisonError::into_inner);
        let left_out = limiter.admits(kind, Instant::now(), SystemTime::now())?;
        Some((left_out > 0).then_some(left_out))
    }
}

fn reloaded(report: &ReloadReport) {
    let list = |words: &[String]| words.join(", ");
    let trigger = report.trigger.code();
    match report.result {
        ReloadResult::Applied if report.changed.is_empty() => {
            tracing::info!("configuration reloaded: trigger={trigger}, nothing has changed")
        }
        ReloadResult::Applied => {
            let changed = list(&report.changed);
            tracing::info!("configuration reloaded: trigger={trigger} changed={} ended={}", Quoted(changed.as_bytes()), report.ended);
        }
        ReloadResult::Rejected => tracing::error!("configuration not reloaded, what was in force stays: trigger={trigger}"),
    }
    report.faults.iter().for_each(|fault| tracing::error!("{}", Escaped(fault.as_bytes())));
    report.notices.iter().for_each(|notice| tracing::warn!("{}", Escaped(notice.as_bytes())));
    if !report.needs_restart.is_empty() {
        let keys = list(&report.needs_restart);
        tracing::warn!("these have changed and take a restart: {}", Escaped(keys.as_bytes()));
    }
}

fn expiring(report: &ExpiryReport) {
    let what = match report.kind {
        ExpiryKind::Server => "the server certificate",
        ExpiryKind::ClientCa => "the client CA",
        ExpiryKind::Crl => "the CRL of",
    };
    let (subject, setting) = (Quoted(report.subject.as_bytes()), &report.setting);
    let at = utc(report.not_after).unwrap_or_default();
    if report.left > 0 {
        tracing::warn!("{setting}: {what} {subject} expires in {}, at {at}; put a new one in its place", span(report.left));
    } else {
        tracing::error!("{setting}: {what} {subject} has expired, at {at}; put a new one in its place");
    }
}

fn dispatch(level: LogLevel, json: bool, writer: impl for<'w> MakeWriter<'w> + Send + Sync + 'static) -> Dispatch {
    let builder = tracing_subscriber::fmt()
        .with_max_level(filter(level))
        .with_target(false)
        .with_ansi(false)
        .log_internal_errors(false) // it would report a closed standard error with eprintln!, which panics on one
        .with_writer(writer);
    if json {
        Dispatch::new(builder.json().flatten_event(true).with_current_span(false).with_span_list(false).finish())
    } else {
        Dispatch::new(builder.finish())
    }
}

fn started(opening: &SessionOpening) {
    let trail = &opening.trail;
    let session = trail.session;
    tracing::info!(%session, "connection received: {}", Host(trail));
    if let (Some(cert), Some(decision)) = (&trail.cert, &trail.decision) {
        let identity = Quoted(cert.subject.as_bytes());
        tracing::info!(%session, "connection authenticated: identity={identity} method=cert ({})", Escaped(decision.rule.as_bytes()));
    }
    tracing::info!(%session, pid = trail.backend_pid, "{}", Authorized(trail));
}

fn ended(report: &SessionReport) {
    let level = match report.reason {
        EndReason::Internal => LogLevel::Error,
        EndReason::BackendLost | EndReason::Protocol | EndReason::AuditUnavailable => LogLevel::Warn,
        EndReason::Client
        | EndReason::Backend
        | EndReason::Revoked
        | EndReason::Expired
        | EndReason::Policy
        | EndReason::Idle
        | EndReason::Lifetime
        | EndReason::Killed
        | EndReason::Drain
        | EndReason::ClientLost => LogLevel::Info,
    };
    say!(
        level,
        reason = %report.reason.code(),
        session = %report.session,
        "disconnection: session time: {} user={} database={} host={} port={}",
        SessionTime(report.duration),
        Word(report.role.as_bytes()),
        Word(&report.database),
        report.client.ip(),
        report.client.port(),
    );
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

#[cfg(test)]
mod tests;
