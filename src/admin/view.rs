//! What operators are shown, gathered at the moment they ask.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::desk::{LeaveDesk, ReloadDesk, ReloadOutcome};
use super::handover::Listeners;
use super::health::{BackendState, Phase, unready};
use crate::observe::{Hardening, Moment, Observers, ProcessUsage};
use crate::os;
use crate::session::Sessions;
use crate::snapshot::Snapshots;
use crate::tls::{Acceptor, HostPattern};
use crate::types::utc;

/// Where the answers come from.
pub struct View {
    /// Who counts.
    pub observers: Observers,
    /// The sessions that are alive.
    pub sessions: Arc<Sessions>,
    /// The settings that new connections get.
    pub snapshots: Arc<Snapshots>,
    /// Where reloads are asked for.
    pub desk: ReloadDesk,
    /// Where the daemon is asked to leave.
    pub leave: LeaveDesk,
    /// What a successor is given.
    pub listeners: Listeners,
    /// Where in its life the daemon is.
    pub phase: watch::Receiver<Phase>,
    /// What does not change.
    pub about: About,
}

/// What does not change while the daemon runs.
#[derive(Clone, Debug)]
pub struct About {
    /// The configuration file.
    pub config: PathBuf,
    /// The addresses that clients connect to.
    pub listen: Vec<String>,
    /// What the operator should know as long as the daemon runs.
    pub notices: Vec<String>,
    /// What the process gave up at its start.
    pub hardening: Hardening,
    /// When the daemon started.
    pub started: SystemTime,
}

/// How the daemon is: the status page, and what `postern status` shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Postern's version.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// When it started.
    pub started: String,
    /// How long it has been running.
    pub uptime_seconds: u64,
    /// Where in its life it is.
    pub phase: Phase,
    /// Whether it can serve a client now.
    pub ready: bool,
    /// Why it cannot.
    pub reason: Option<String>,
    /// The configuration file.
    pub config: String,
    /// The addresses that clients connect to.
    pub listen: Vec<String>,
    /// PostgreSQL behind it.
    pub backend: BackendStatus,
    /// Those who are in.
    pub sessions: SessionsStatus,
    /// Those who came.
    pub connections: ConnectionsStatus,
    /// When certificates and CRLs cease to be valid.
    pub certificates: CertificatesStatus,
    /// What came of the last reload, if there was one.
    pub reload: Option<ReloadOutcome>,
    /// What the operator should know.
    pub notices: Vec<String>,
    /// What the process gave up at its start.
    #[serde(default)]
    pub hardening: Hardening,
}

/// PostgreSQL behind Postern.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackendStatus {
    /// Its address.
    pub address: String,
    /// Whether it answered when last looked at; `None` before the first look.
    pub up: Option<bool>,
    /// Since when.
    pub since: Option<String>,
    /// What is wrong with it.
    pub error: Option<String>,
}

/// The sessions of a daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionsStatus {
    /// Sessions that are alive.
    pub active: u64,
    /// How many there may be.
    pub limit: u64,
    /// Bytes from clients, of all sessions that ever were.
    pub bytes_in: u64,
    /// Bytes to clients, of all sessions that ever were.
    pub bytes_out: u64,
    /// Sessions that are over, by reason.
    pub ended: BTreeMap<String, u64>,
}

/// The connections of a daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionsStatus {
    /// How many were accepted.
    pub accepted: u64,
    /// How many were refused, by reason.
    pub refused: BTreeMap<String, u64>,
}

/// When the files of a daemon cease to be valid; of several, the first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificatesStatus {
    /// The server's certificate.
    pub server: Option<String>,
    /// Its certificates for hosts that clients name.
    pub sni: Vec<SniStatus>,
    /// The CAs of client certificates.
    pub client_ca: Option<String>,
    /// The CRLs.
    pub crl: Option<String>,
}

/// A certificate of the server's for some hosts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SniStatus {
    /// The hosts.
    pub hosts: Vec<String>,
    /// When it ceases to be valid.
    pub not_after: Option<String>,
}

impl CertificatesStatus {
    fn of(tls: &Acceptor) -> Self {
        let expiries = tls.expiries();
        let mut servers = tls.servers();
        let server = servers.next().and_then(|(_, not_after)| utc(not_after));
        let hosts = |hosts: &[HostPattern]| hosts.iter().map(ToString::to_string).collect();
        let sni = servers.map(|(patterns, not_after)| SniStatus { hosts: hosts(patterns), not_after: utc(not_after) }).collect();
        Self { server, sni, client_ca: utc(expiries.client_ca), crl: expiries.crl.and_then(utc) }
    }
}

impl View {
    /// Where in its life the daemon is.
    pub(super) fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// The text of a scrape.
    pub(super) fn scrape(&self, backend: &BackendState) -> String {
        let sessions = self.sessions.totals();
        let expiries = self.snapshots.current().tls().expiries();
        self.observers.scrape(&Moment {
            sessions_active: sessions.active,
            sessions_limit: self.sessions_limit(),
            backend_up: matches!(backend, BackendState::Up(_)),
            bytes_in: sessions.bytes_in,
            bytes_out: sessions.bytes_out,
            server_expiry: expiries.server,
            client_ca_expiry: expiries.client_ca,
            crl_expiry: expiries.crl,
            process: usage(),
        })
    }

    /// How the daemon is.
    pub(super) fn status(&self, backend: &BackendState) -> Status {
        let reason = unready(self.phase(), backend);
        let totals = self.observers.totals();
        let sessions = self.sessions.totals();
        let About { config, listen, notices, hardening, started } = &self.about;
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: process::id(),
            started: moment(*started).unwrap_or_default(),
            uptime_seconds: started.elapsed().map_or(0, |elapsed| elapsed.as_secs()),
            phase: self.phase(),
            ready: reason.is_none(),
            reason,
            config: config.display().to_string(),
            listen: listen.clone(),
            backend: self.backend_status(backend),
            sessions: SessionsStatus {
                active: sessions.active,
                limit: self.sessions_limit(),
                bytes_in: sessions.bytes_in,
                bytes_out: sessions.bytes_out,
                ended: totals.ended.iter().map(|(reason, count)| (reason.code().to_owned(), *count)).collect(),
            },
            connections: ConnectionsStatus {
                accepted: totals.accepted,
                refused: totals.refused.iter().map(|(reason, count)| (reason.code().to_owned(), *count)).collect(),
            },
            certificates: CertificatesStatus::of(self.snapshots.current().tls()),
            reload: self.desk.last(),
            notices: notices.iter().cloned().chain(self.snapshots.current().notices().iter().map(ToString::to_string)).collect(),
            hardening: hardening.clone(),
        }
    }

    fn backend_status(&self, backend: &BackendState) -> BackendStatus {
        let address = self.snapshots.current().terms().backend().target.to_string();
        match backend {
            BackendState::Unknown => BackendStatus { address, up: None, since: None, error: None },
            BackendState::Up(since) => BackendStatus { address, up: Some(true), since: moment(*since), error: None },
            BackendState::Down { since, error } => {
                BackendStatus { address, up: Some(false), since: moment(*since), error: Some(error.clone()) }
            }
        }
    }

    fn sessions_limit(&self) -> u64 {
        u64::try_from(self.snapshots.current().terms().limits().sessions.total).unwrap_or(u64::MAX)
    }
}

/// What this process uses, as far as the kernel says.
fn usage() -> ProcessUsage {
    ProcessUsage {
        cpu_seconds: os::cpu_time().map(|time| time.as_secs_f64()),
        resident_bytes: os::resident_bytes(),
        open_fds: os::open_descriptors(),
        max_fds: os::most_descriptors(),
    }
}

/// A moment to the second.
pub(super) fn moment(at: SystemTime) -> Option<String> {
    let since: Duration = at.duration_since(UNIX_EPOCH).ok()?;
    utc(i64::try_from(since.as_secs()).ok()?)
}
