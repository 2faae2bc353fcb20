//! All that a new connection is judged and served by, read and checked together, immutable.

mod loading;
mod look;

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use tokio::sync::watch;

pub use loading::{Attempt, Ready, Unusable};
pub use look::Look;

use crate::backend::{BackendSettings, MembershipLookup, Passfile};
use crate::config::{CancelPlaintext, Fate, LimitSettings, LiveSettings, ShutdownSettings};
use crate::notice::Notice;
use crate::policy::{Bounds, Policy};
use crate::tls::{Acceptor, MaterialFault};

/// The snapshot that is in force, for all who serve by it. Whoever takes one keeps it only as long as a handshake: a reload puts
/// another in its place, and nobody holds the old one in memory.
pub struct Snapshots(watch::Sender<Snapshot>);

/// One consistent set of settings and what their files held. Cheap to clone.
#[derive(Clone)]
pub struct Snapshot {
    tls: Acceptor,
    terms: Arc<Terms>,
}

/// What a connection is judged and served by once it is encrypted: a snapshot without its certificates and CRLs, which can be large.
pub struct Terms {
    policy: Policy,
    backend: Arc<BackendSettings>,
    passfile: Option<Passfile>,
    memberships: Option<Arc<MembershipLookup>>,
    trusted_balancers: Vec<IpNet>,
    cancel_plaintext: CancelPlaintext,
    limits: LimitSettings,
    idle_session_timeout: Option<Duration>,
    max_session_lifetime: Option<Duration>,
    shutdown: ShutdownSettings,
    on_revocation: Fate,
    on_expiry: Fate,
    expiry_notice: Option<Duration>,
}

impl Snapshots {
    /// The first.
    pub fn new(first: Snapshot) -> Self {
        Self(watch::Sender::new(first))
    }

    /// The one that is in force.
    pub fn current(&self) -> Snapshot {
        self.0.borrow().clone()
    }

    /// Puts another in its place, at once for everybody who asks from now on.
    pub fn replace(&self, next: Snapshot) {
        self.0.send_replace(next);
    }
}

impl Snapshot {
    /// Reads the files that the settings name.
    ///
    /// # Errors
    /// Every fault that can be found, not the first.
    pub fn load(settings: &LiveSettings) -> Result<Self, Vec<MaterialFault>> {
        Self::read(settings, Acceptor::load(&settings.tls))
    }

    /// The same, to take this one's place: what has not changed is taken over, and what would serve worse is a fault.
    ///
    /// # Errors
    /// Every fault that can be found, not the first.
    pub fn successor(&self, settings: &LiveSettings) -> Result<Self, Vec<MaterialFault>> {
        Self::read(settings, self.tls.successor(&settings.tls))
    }

    fn read(settings: &LiveSettings, tls: Result<Acceptor, Vec<MaterialFault>>) -> Result<Self, Vec<MaterialFault>> {
        let mut faults = Vec::new();
        let tls = tls.map_err(|found| faults.extend(found)).ok();
        let passfile = load_passfile(settings.backend.passfile.as_deref()).map_err(|found| faults.extend(found)).ok();
        let (Some(tls), Some(passfile)) = (tls, passfile) else { return Err(faults) };
        let backend = Arc::new(settings.backend.clone());
        let terms = Terms {
            memberships: MembershipLookup::new(Arc::clone(&backend), passfile.clone()),
            passfile,
            policy: settings.policy.clone(),
            backend,
            trusted_balancers: settings.trusted_balancers.clone(),
            cancel_plaintext: settings.cancel_plaintext,
            limits: settings.limits.clone(),
            idle_session_timeout: settings.idle_session_timeout,
            max_session_lifetime: settings.max_session_lifetime,
            shutdown: settings.shutdown,
            on_revocation: settings.on_revocation,
            on_expiry: settings.on_expiry,
            expiry_notice: settings.expiry_notice,
        };
        Ok(Self { tls, terms: Arc::new(terms) })
    }

    /// What an operator should know about it although it is no fault.
    pub fn notices(&self) -> Vec<Notice> {
        let everybody = self.terms.trusted_balancers.iter().filter(|network| network.prefix_len() == 0);
        let told = everybody.map(|network| {
            let found = format!("proxy_protocol.trusted: {network} is every address: whoever can connect can say to be anywhere");
            Notice::new(found, "list the balancers alone")
        });
        self.tls.warnings().iter().cloned().chain(told).collect()
    }

    /// What accepts TLS.
    pub fn tls(&self) -> &Acceptor {
        &self.tls
    }

    /// All else.
    pub fn terms(&self) -> &Arc<Terms> {
        &self.terms
    }
}

impl Terms {
    /// The rules.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// How the backend is reached.
    pub fn backend(&self) -> &Arc<BackendSettings> {
        &self.backend
    }

    /// Passwords for a backend that asks for one.
    pub fn passfile(&self) -> Option<&Passfile> {
        self.passfile.as_ref()
    }

    /// Who knows of which roles a role is a member; nobody where `backend.lookup_role` is not set.
    pub fn memberships(&self) -> Option<&Arc<MembershipLookup>> {
        self.memberships.as_ref()
    }

    /// Whether a connection from this address begins with a PROXY header, whose word counts.
    pub fn trusts_balancer(&self, address: IpAddr) -> bool {
        self.trusted_balancers.iter().any(|network| network.contains(&address))
    }

    /// Whether a CancelRequest may come without a certificate.
    pub fn allows_cancel_without_certificate(&self) -> bool {
        self.cancel_plaintext == CancelPlaintext::Allow
    }

    /// How many may come, and in what time.
    pub fn limits(&self) -> &LimitSettings {
        &self.limits
    }

    /// How long the end may take.
    pub fn shutdown(&self) -> ShutdownSettings {
        self.shutdown
    }

    /// How long a session of these bounds may be idle.
    pub fn idle_session_timeout(&self, bounds: Bounds) -> Option<Duration> {
        bounds.idle_session_timeout.or(self.idle_session_timeout)
    }

    /// How long a session of these bounds may live.
    pub fn max_session_lifetime(&self, bounds: Bounds) -> Option<Duration> {
        bounds.max_session_lifetime.or(self.max_session_lifetime)
    }

    /// Whether a live session goes on although its certificate or its rule no longer holds.
    pub fn keeps_withdrawn(&self) -> bool {
        self.on_revocation == Fate::Keep
    }

    /// Whether a live session goes on although its certificate has expired.
    pub fn keeps_expired(&self) -> bool {
        self.on_expiry == Fate::Keep
    }

    /// How long before its certificate expires a client is told at login.
    pub fn expiry_notice(&self) -> Option<Duration> {
        self.expiry_notice
    }
}

fn load_passfile(file: Option<&Path>) -> Result<Option<Passfile>, Vec<MaterialFault>> {
    let Some(file) = file else { return Ok(None) };
    let fault = |what| MaterialFault { file: file.to_owned(), setting: "backend.passfile".to_owned(), what, pair: false };
    Passfile::load(file).map(Some).map_err(|faults| faults.into_iter().map(fault).collect())
}
