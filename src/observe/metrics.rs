//! Event to number: what a scrape reads, in OpenMetrics. The home of prometheus-client.
//!
//! Labels come from fieldless enums, and every series exists from the start, at zero: whatever the network sends, none is added, and
//! an alert on the first refusal of a kind sees its counter rise. Names, databases and addresses are for the audit trail alone.

mod labelled;

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry};

use labelled::{Label, Labelled, Values};

use super::audit::RecordEvent;
use super::event::Event;
use super::reload::ReloadResult;
use super::report::{CancelResult, SessionOpening};
use crate::error::{EndReason, Reason};
use crate::types::ExpiryKind;

/// What is true at the moment of a scrape, and no event says.
#[derive(Clone, Debug, Default)]
pub struct Moment {
    /// Sessions that are alive.
    pub sessions_active: u64,
    /// `limits.max_connections`.
    pub sessions_limit: u64,
    /// Whether the backend answered when it was last looked at.
    pub backend_up: bool,
    /// Bytes from clients, of all sessions that ever were.
    pub bytes_in: u64,
    /// Bytes to clients, of all sessions that ever were.
    pub bytes_out: u64,
    /// When the server's certificate ceases to be valid, in seconds since 1970.
    pub server_expiry: i64,
    /// When the first trust anchor for clients does.
    pub client_ca_expiry: i64,
    /// When the first CRL does, if there are any that say.
    pub crl_expiry: Option<i64>,
    /// What the process uses.
    pub process: ProcessUsage,
}

/// What the process uses. What the kernel did not tell is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ProcessUsage {
    /// Processor time, user and system, in seconds.
    pub cpu_seconds: Option<f64>,
    /// Memory that is resident, in bytes.
    pub resident_bytes: Option<u64>,
    /// Open descriptors.
    pub open_fds: Option<u64>,
    /// How many there may be.
    pub max_fds: Option<u64>,
}

/// What happened since the start, for a status page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Totals {
    /// Connections accepted.
    pub accepted: u64,
    /// Connections refused by reason, in the contract's order; reasons that did not occur are left out.
    pub refused: Vec<(Reason, u64)>,
    /// Ended sessions by reason, likewise.
    pub ended: Vec<(EndReason, u64)>,
}

/// The counters and histograms. Cheap to count in: an atomic, or a lock for the length of an addition.
pub(super) struct Metrics {
    registry: Registry,
    started: SystemTime,
    accepted: Counter,
    accept_errors: Counter,
    refused: Labelled<Reason>,
    ended: Labelled<EndReason>,
    cancels: Labelled<CancelResult>,
    reloads: Labelled<ReloadResult>,
    last_reload: Gauge,
    tls_handshake: Histogram,
    backend_connect: Histogram,
    login: Histogram,
    session: Histogram,
    certificate_remaining: Histogram,
    audit: AuditMeter,
}

/// What the audit trail's writer counts. Clones share the counters.
#[derive(Clone, Default)]
pub(super) struct AuditMeter {
    records: Labelled<RecordEvent>,
    dropped: Counter,
}

impl Metrics {
    /// All series, at zero.
    pub(super) fn new(started: SystemTime) -> Self {
        let metrics = Self {
            registry: Registry::default(),
            started,
            accepted: Counter::default(),
            accept_errors: Counter::default(),
            refused: Labelled::default(),
            ended: Labelled::default(),
            cancels: Labelled::default(),
            reloads: Labelled::default(),
            last_reload: Gauge::default(),
            tls_handshake: Histogram::new([0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 1.0]),
            backend_connect: Histogram::new([0.0001, 0.0005, 0.001, 0.005, 0.025, 0.1, 1.0]),
            login: Histogram::new([0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0]),
            session: Histogram::new([0.1, 1.0, 10.0, 60.0, 600.0, HOUR, 8.0 * HOUR, DAY]),
            certificate_remaining: Histogram::new([HOUR, DAY, 7.0 * DAY, 14.0 * DAY, 30.0 * DAY, 90.0 * DAY, 365.0 * DAY]),
            audit: AuditMeter::default(),
        };
        // A start is a reload that was applied.
        metrics.last_reload.set(1);
        metrics.registered()
    }

    /// What the audit trail's writer counts with.
    pub(super) fn audit_meter(&self) -> AuditMeter {
        self.audit.clone()
    }

    /// Counts an event that happened at `now`.
    pub(super) fn emit(&self, event: &Event<'_>, now: SystemTime) {
        match *event {
            Event::ConnectionAccepted => drop(self.accepted.inc()),
            Event::AcceptFailed { .. } => drop(self.accept_errors.inc()),
            Event::TlsEstablished { handshake } => self.tls_handshake.observe(handshake.as_secs_f64()),
            Event::BackendConnected { connect } => self.backend_connect.observe(connect.as_secs_f64()),
            Event::ConnectionRefused(report) => self.refused.add(report.reason),
            Event::SessionStarted(opening) => self.session_started(opening, now),
            Event::SessionEnded(report) => {
                self.ended.add(report.reason);
                self.session.observe(report.duration.as_secs_f64());
            }
            Event::CancelHandled(report) => self.cancels.add(report.result),
            Event::Reloaded(report) => {
                self.reloads.add(report.result);
                self.last_reload.set(i64::from(report.result == ReloadResult::Applied));
            }
            // A gap is counted where it comes about, by the writer.
            Event::Panicked { .. } | Event::AuditFailed { .. } | Event::AuditRecovered { .. } => {}
            Event::DaemonStarted { .. }
            | Event::Listening { .. }
            | Event::AdminListening { .. }
            | Event::DaemonStopping
            | Event::Expiring(_)
            | Event::ReloadIgnored
            | Event::TookOver { .. }
            | Event::HandedOver { .. }
            | Event::DrainStarted { .. }
            | Event::BackendWentDown { .. }
            | Event::BackendCameUp
            | Event::BackendStaysAtWork { .. }
            | Event::AdminHandled(_) => {}
        }
    }

    /// The text of a scrape.
    pub(super) fn scrape(&self, moment: &Moment) -> String {
        let mut text = String::with_capacity(32 * 1024);
        // A String takes everything, so neither can fail.
        let _ = encode_registry(&mut text, &self.registry);
        let _ = encode_registry(&mut text, &moment.registry(self.started));
        let _ = encode_eof(&mut text);
        text
    }

    /// What happened since the start.
    pub(super) fn totals(&self) -> Totals {
        Totals { accepted: self.accepted.get(), refused: self.refused.occurred(), ended: self.ended.occurred() }
    }

    fn session_started(&self, opening: &SessionOpening, now: SystemTime) {
        self.login.observe(opening.setup.as_secs_f64());
        if let Some(cert) = &opening.trail.cert {
            let expiry = UNIX_EPOCH.checked_add(Duration::from_secs(u64::try_from(cert.not_after).unwrap_or(0)));
            let remaining = expiry.and_then(|expiry| expiry.duration_since(now).ok()).unwrap_or_default();
            self.certificate_remaining.observe(remaining.as_secs_f64());
        }
    }

    fn registered(mut self) -> Self {
        let registry = &mut self.registry;
        registry.register("postern_build", "Postern's version", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        registry.register("postern_connections_accepted", "Connections that were accepted", self.accepted.clone());
        registry.register("postern_connections_refused", "Connections that ended before they became a session", self.refused.clone());
        registry.register("postern_accept_errors", "Failures of accept(2)", self.accept_errors.clone());
        registry.register("postern_sessions_ended", "Sessions that are over", self.ended.clone());
        registry.register("postern_cancel_requests", "CancelRequests", self.cancels.clone());
        registry.register("postern_config_reloads", "Reloads of the configuration and its files", self.reloads.clone());
        let last = self.last_reload.clone();
        registry.register("postern_config_last_reload_successful", "1 if the last reload was applied, or there was none", last);
        registry.register("postern_tls_handshake_duration_seconds", "TLS handshakes that succeeded", self.tls_handshake.clone());
        registry.register("postern_backend_connect_duration_seconds", "Connects to the backend", self.backend_connect.clone());
        registry.register("postern_login_duration_seconds", "Logins, from accept to ReadyForQuery", self.login.clone());
        registry.register("postern_session_duration_seconds", "Sessions that are over, from ReadyForQuery on", self.session.clone());
        let remaining = self.certificate_remaining.clone();
        registry.register("postern_client_certificate_remaining_seconds", "Validity left of client certificates at login", remaining);
        registry.register("postern_audit_records", "Audit records that were written", self.audit.records.clone());
        registry.register("postern_audit_dropped", "Audit records that were lost", self.audit.dropped.clone());
        self
    }
}

impl Moment {
    fn registry(&self, started: SystemTime) -> Registry {
        let mut registry = Registry::default();
        let gauge = |value: u64| ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
        registry.register("postern_sessions_active", "Sessions that are alive", gauge(self.sessions_active));
        registry.register("postern_sessions_limit", "The most sessions at once, limits.max_connections", gauge(self.sessions_limit));
        registry.register("postern_backend_up", "1 if the backend answered when last looked at", gauge(self.backend_up.into()));
        let bytes = Values::counters([(Direction::In, self.bytes_in), (Direction::Out, self.bytes_out)]);
        registry.register("postern_bytes", "Bytes of the protocol from and to clients", bytes);
        let mut expiries = vec![(ExpiryKind::Server, self.server_expiry), (ExpiryKind::ClientCa, self.client_ca_expiry)];
        expiries.extend(self.crl_expiry.map(|expiry| (ExpiryKind::Crl, expiry)));
        let expiries = Values::gauges(expiries);
        registry.register("postern_certificate_expiry_timestamp_seconds", "When the first file of a kind ceases to be valid", expiries);
        self.process.register(started, &mut registry);
        registry
    }
}

impl ProcessUsage {
    fn register(&self, started: SystemTime, registry: &mut Registry) {
        fn known(registry: &mut Registry, name: &str, help: &str, metric: Option<impl Metric>) {
            if let Some(metric) = metric {
                registry.register(name, help, metric);
            }
        }
        let gauge = |value: u64| ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
        known(registry, "process_cpu_seconds", "Processor time, user and system", self.cpu_seconds.map(ConstCounter::new));
        known(registry, "process_resident_memory_bytes", "Resident memory", self.resident_bytes.map(gauge));
        known(registry, "process_open_fds", "Open descriptors", self.open_fds.map(gauge));
        known(registry, "process_max_fds", "The most descriptors", self.max_fds.map(gauge));
        let since = started.duration_since(UNIX_EPOCH).ok().map(|since| ConstGauge::new(since.as_secs_f64()));
        known(registry, "process_start_time_seconds", "When the process started, in seconds since 1970", since);
    }
}

impl AuditMeter {
    /// A record is in the trail.
    pub(super) fn wrote(&self, event: RecordEvent) {
        self.records.add(event);
    }

    /// Records that will never be in the trail.
    pub(super) fn lost(&self, count: u64) {
        self.dropped.inc_by(count);
    }
}

impl fmt::Debug for AuditMeter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditMeter").finish_non_exhaustive()
    }
}

/// Which way bytes went: from a client in, to a client out.
#[derive(Clone, Copy, Debug)]
enum Direction {
    In,
    Out,
}

/// An enum with `ALL` and `code` as a label.
macro_rules! label {
    ($($type:ty: $name:literal;)+) => {$(
        impl Label for $type {
            const NAME: &'static str = $name;
            const ALL: &'static [Self] = &Self::ALL;

            fn index(self) -> usize {
                self as usize
            }

            fn code(self) -> &'static str {
                self.code()
            }
        }
    )+};
}

label! {
    Reason: "reason";
    EndReason: "reason";
    CancelResult: "result";
    ReloadResult: "result";
    RecordEvent: "event";
    Direction: "direction";
    ExpiryKind: "kind";
}

impl Direction {
    const ALL: [Self; 2] = [Self::In, Self::Out];

    const fn code(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::Out => "out",
        }
    }
}

const HOUR: f64 = 3600.0;
const DAY: f64 = 24.0 * HOUR;

#[cfg(test)]
mod tests;
