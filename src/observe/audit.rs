//! Event to audit record: which events leave one, and what it says.
//!
//! A record is one line of JSON, at most 64 KiB with its newline. What holds for every record (`v`, `boot`, `seq`, `prev`)
//! is put around it by the thread that writes, so that the numbers follow the order of the lines.

use std::time::SystemTime;

use super::event::Event;
use super::json::{Fields, Limits};
use super::merge::{Kind, Merged};
use super::reload::{ExpiryReport, ReloadReport};
use super::report::{
    AdminReport, AdminResult, AdminVerb, CancelReport, CertFacts, DecisionFacts, RefusalReport, SessionOpening, SessionReport,
    StartupFacts, TlsFacts, Trail,
};
use crate::crypto::Sha256;
use crate::types::PeerAddress;

/// One record on its way to the writer.
#[derive(Debug)]
pub(super) struct Record {
    /// What it tells of.
    pub event: RecordEvent,
    /// The fields between `seq` and `prev`.
    pub body: String,
    /// When it happened.
    pub at: SystemTime,
    /// What it may be merged with.
    pub kind: Option<Kind>,
}

/// What a record tells of: its field `event`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RecordEvent {
    DaemonStart,
    SessionStart,
    SessionEnd,
    ConnectionRefused,
    Cancel,
    Admin,
    ConfigReload,
    CertificateExpiring,
    Gap,
}

/// Where the next line goes in the chain of one process.
#[derive(Debug)]
pub(super) struct Chain {
    boot: String,
    seq: u64,
    prev: Option<Sha256>,
}

/// Records that could not be written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lost {
    /// How many.
    pub count: u64,
    /// When the first was lost.
    pub first: SystemTime,
    /// When the last was lost.
    pub last: SystemTime,
}

impl Record {
    /// The record of an event, or `None` for an event that is for the log alone.
    pub(super) fn of(event: &Event<'_>, at: SystemTime) -> Option<Self> {
        let (told, kind) = match event {
            Event::DaemonStarted { .. } => (RecordEvent::DaemonStart, None),
            Event::SessionStarted(_) => (RecordEvent::SessionStart, None),
            Event::SessionEnded(_) => (RecordEvent::SessionEnd, None),
            Event::ConnectionRefused(report) => (RecordEvent::ConnectionRefused, Kind::of_refusal(report)),
            Event::CancelHandled(report) => (RecordEvent::Cancel, Kind::of_cancel(report)),
            Event::AdminHandled(report) => (RecordEvent::Admin, Kind::of_admin(report)),
            Event::Reloaded(_) => (RecordEvent::ConfigReload, None),
            Event::Expiring(_) => (RecordEvent::CertificateExpiring, None),
            Event::Listening { .. }
            | Event::AdminListening { .. }
            | Event::BackendWentDown { .. }
            | Event::BackendCameUp
            | Event::BackendStaysAtWork { .. }
            | Event::ConnectionAccepted
            | Event::TlsEstablished { .. }
            | Event::BackendConnected { .. }
            | Event::AcceptFailed { .. }
            | Event::DaemonStopping
            | Event::ReloadIgnored
            | Event::TookOver { .. }
            | Event::HandedOver { .. }
            | Event::DrainStarted { .. }
            | Event::Panicked { .. }
            | Event::AuditFailed { .. }
            | Event::AuditRecovered { .. } => return None,
        };
        Some(Self::new(told, kind, at, |fields| describe(fields, event)))
    }

    /// The record that stands for many.
    pub(super) fn merged(merged: &Merged, at: SystemTime) -> Self {
        let (event, key, code) = match merged.kind {
            Kind::Refused(reason) => (RecordEvent::ConnectionRefused, "reason", reason.code()),
            Kind::Cancelled(result) => (RecordEvent::Cancel, "result", result.code()),
            Kind::Forbidden => (RecordEvent::Admin, "result", AdminResult::Forbidden.code()),
        };
        Self::new(event, None, at, |fields| {
            fields.text(key, code);
            fields.number("count", merged.count);
            fields.moment("first", merged.first);
            fields.moment("last", merged.last);
        })
    }

    /// The record that says how many are missing.
    pub(super) fn gap(lost: &Lost, at: SystemTime) -> Self {
        Self::new(RecordEvent::Gap, None, at, |fields| {
            fields.number("lost", lost.count);
            fields.moment("first", lost.first);
            fields.moment("last", lost.last);
        })
    }

    fn new(event: RecordEvent, kind: Option<Kind>, at: SystemTime, fill: impl Fn(&mut Fields)) -> Self {
        let body = body(at, |fields| {
            fields.text("event", event.code());
            fill(fields);
        });
        Self { event, body, at, kind }
    }
}

impl RecordEvent {
    /// Every one.
    pub(super) const ALL: [Self; 9] = [
        Self::DaemonStart,
        Self::SessionStart,
        Self::SessionEnd,
        Self::ConnectionRefused,
        Self::Cancel,
        Self::Admin,
        Self::ConfigReload,
        Self::CertificateExpiring,
        Self::Gap,
    ];

    /// The field's value, in metrics too.
    pub(super) const fn code(self) -> &'static str {
        match self {
            Self::DaemonStart => "daemon.start",
            Self::SessionStart => "session.start",
            Self::SessionEnd => "session.end",
            Self::ConnectionRefused => "connection.refused",
            Self::Cancel => "cancel",
            Self::Admin => "admin",
            Self::ConfigReload => "config.reload",
            Self::CertificateExpiring => "certificate.expiring",
            Self::Gap => "audit.gap",
        }
    }
}

impl Chain {
    /// The chain of the process `boot`, before its first line.
    pub(super) fn new(boot: String) -> Self {
        Self { boot, seq: 0, prev: None }
    }

    /// The line that a body makes here, without its newline. The first line's `prev` is `null`.
    pub(super) fn line(&self, body: &str) -> String {
        let prev = self.prev.map_or_else(|| "null".to_owned(), |digest| format!("\"{digest}\""));
        format!("{{\"v\":1,\"boot\":\"{}\",\"seq\":{},{body},\"prev\":{prev}}}", self.boot, self.seq)
    }

    /// A line was written. A line that could not be written leaves the chain as it is.
    pub(super) fn advance(&mut self, line: &str) {
        self.seq = self.seq.saturating_add(1);
        self.prev = Some(Sha256::of(line.as_bytes()));
    }
}

fn describe(fields: &mut Fields, event: &Event<'_>) {
    match *event {
        Event::DaemonStarted { version, listen, config, notices, hardening } => {
            fields.text("version", version);
            fields.list("listen", listen);
            fields.name("config", config.as_os_str().as_encoded_bytes());
            fields.list("notices", notices);
            fields.object("hardening", Some(hardening), |fields, hardening| {
                fields.text("mode", &hardening.mode);
                fields.text("user", &hardening.user);
                fields.list("in_force", &hardening.in_force);
                fields.list("not_in_force", &hardening.not_in_force);
            });
        }
        Event::ConnectionRefused(report) => refused(fields, report),
        Event::SessionStarted(opening) => started(fields, opening),
        Event::SessionEnded(report) => ended(fields, report),
        Event::CancelHandled(report) => cancelled(fields, report),
        Event::AdminHandled(report) => administered(fields, report),
        Event::Reloaded(report) => reloaded(fields, report),
        Event::Expiring(report) => expiring(fields, report),
        Event::Listening { .. }
        | Event::AdminListening { .. }
        | Event::BackendWentDown { .. }
        | Event::BackendCameUp
        | Event::BackendStaysAtWork { .. }
        | Event::ConnectionAccepted
        | Event::TlsEstablished { .. }
        | Event::BackendConnected { .. }
        | Event::AcceptFailed { .. }
        | Event::DaemonStopping
        | Event::ReloadIgnored
        | Event::TookOver { .. }
        | Event::HandedOver { .. }
        | Event::DrainStarted { .. }
        | Event::Panicked { .. }
        | Event::AuditFailed { .. }
        | Event::AuditRecovered { .. } => {}
    }
}

fn started(fields: &mut Fields, opening: &SessionOpening) {
    trail(fields, &opening.trail);
    fields.millis("setup_ms", opening.setup);
}

fn refused(fields: &mut Fields, report: &RefusalReport) {
    trail(fields, &report.trail);
    fields.text("reason", report.reason.code());
    fields.maybe_text("sqlstate", report.sqlstate.as_deref());
    fields.maybe_name("message", report.message.as_deref());
    fields.text("detail", &report.detail);
}

fn ended(fields: &mut Fields, report: &SessionReport) {
    fields.text("session", &report.session.to_string());
    fields.text("reason", report.reason.code());
    fields.maybe_text("detail", report.detail.as_deref());
    fields.millis("duration_ms", report.duration);
    fields.number("bytes_in", report.bytes_in);
    fields.number("bytes_out", report.bytes_out);
    fields.number("statements", report.statements);
    fields.number("errors", report.errors);
    fields.truth("truncated", report.truncated);
}

fn cancelled(fields: &mut Fields, report: &CancelReport) {
    fields.maybe_text("session", report.target.map(|session| session.to_string()).as_deref());
    client(fields, report.client);
    fields.truth("encrypted", report.encrypted);
    fields.maybe_name("cn", report.cn.as_deref());
    fields.text("result", report.result.code());
    fields.object("backend", report.pid, |fields, pid| fields.number("pid", pid));
}

fn administered(fields: &mut Fields, report: &AdminReport) {
    fields.maybe_text("verb", report.verb.map(AdminVerb::code));
    fields.object("peer", Some((report.uid, report.pid)), |fields, (uid, pid)| {
        fields.number("uid", uid);
        match pid {
            Some(pid) => fields.number("pid", pid),
            None => fields.null("pid"),
        }
    });
    fields.object("selector", report.selector.as_ref(), |fields, (by, value)| {
        fields.text("by", by);
        fields.name("value", value.as_bytes());
    });
    fields.text("result", report.result.code());
    fields.number("targets", report.targets);
}

fn reloaded(fields: &mut Fields, report: &ReloadReport) {
    fields.text("trigger", report.trigger.code());
    fields.text("result", report.result.code());
    fields.list("changed", &report.changed);
    fields.list("needs_restart", &report.needs_restart);
    fields.list("faults", &report.faults);
    fields.list("notices", &report.notices);
    fields.number("ended", report.ended);
}

fn expiring(fields: &mut Fields, report: &ExpiryReport) {
    fields.text("kind", report.kind.code());
    fields.text("setting", &report.setting);
    fields.name("subject", report.subject.as_bytes());
    fields.maybe_text("serial", report.serial.as_deref());
    fields.maybe_text("sha256", report.sha256.as_deref());
    fields.second("not_after", report.not_after);
    fields.number("left_seconds", report.left);
}

fn trail(fields: &mut Fields, trail: &Trail) {
    fields.text("session", &trail.session.to_string());
    client(fields, trail.client);
    fields.object("tls", trail.tls.as_ref(), |fields, tls: &TlsFacts| {
        fields.text("version", "TLSv1.3");
        fields.text("cipher", tls.cipher);
        fields.text("group", tls.group);
        fields.text("negotiation", tls.negotiation);
        fields.maybe_name("sni", tls.sni.as_deref().map(str::as_bytes));
    });
    fields.object("cert", trail.cert.as_ref(), |fields, cert: &CertFacts| {
        fields.name("subject", cert.subject.as_bytes());
        fields.maybe_name("cn", cert.cn.as_deref());
        fields.name("issuer", cert.issuer.as_bytes());
        fields.text("serial", &cert.serial);
        fields.text("sha256", &cert.sha256);
        fields.second("not_after", cert.not_after);
    });
    fields.object("startup", trail.startup.as_ref(), |fields, startup: &StartupFacts| {
        fields.name("user", &startup.user);
        fields.name("database", &startup.database);
        fields.maybe_name("application_name", startup.application_name.as_deref());
        fields.maybe_text("replication", startup.replication);
    });
    fields.object("decision", trail.decision.as_ref(), |fields, decision: &DecisionFacts| {
        fields.text("rule", &decision.rule);
        fields.maybe_text("map", decision.map.as_deref());
        fields.name("role", decision.role.as_bytes());
    });
    fields.object("backend", trail.backend_pid, |fields, pid| fields.number("pid", pid));
}

fn client(fields: &mut Fields, client: PeerAddress) {
    fields.object("client", Some(client), |fields, client| {
        fields.text("address", &client.ip().to_string());
        fields.number("port", client.port());
    });
}

/// The body with as much of each value as fits into a line.
fn body(at: SystemTime, fill: impl Fn(&mut Fields)) -> String {
    let write = |limits| {
        let mut fields = Fields::new(limits);
        fields.moment("time", at);
        fill(&mut fields);
        fields.finish()
    };
    let whole = write(GENEROUS);
    if whole.len() <= BODY_LIMIT { whole } else { write(STRICT) }
}

/// A record's greatest length in bytes, with its newline (contract, section 4).
#[cfg(test)]
pub(super) const LINE_LIMIT: usize = 64 * 1024;

/// What `v`, `boot`, `seq`, `prev` and the newline leave of a line: they take 190 bytes at most.
const BODY_LIMIT: usize = 64 * 1024 - 256;

/// Limits that no honest name reaches.
const GENEROUS: Limits = Limits { text: 8 * 1024, items: 256 };

/// Limits under which every record fits: one byte becomes at most six (`\u001b`) and two of hex, and no record has more than
/// 14 texts, or two lists and two texts.
const STRICT: Limits = Limits { text: 384, items: 8 };

#[cfg(test)]
mod tests;
