//! What the program uses: every value is there, in the domain's own types, and fits the others.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use crate::backend::BackendSettings;
use crate::harden::HardenSettings;
use crate::limits::SessionLimits;
use crate::notice::Notice;
use crate::observe::ObserveSettings;
use crate::policy::Policy;
use crate::tls::TlsSettings;

/// The whole of a configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What only a restart changes.
    pub boot: BootSettings,
    /// What a reload may replace.
    pub live: LiveSettings,
}

/// What is bound or opened once, at the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootSettings {
    /// Where clients connect to; at least one, none twice.
    pub listen: Vec<ListenAddress>,
    /// Where audit and log go.
    pub observe: ObserveSettings,
    /// Where operators look.
    pub admin: AdminSettings,
    /// What the process gives up before it serves.
    pub harden: HardenSettings,
}

/// Where clients connect to: an entry of `listen`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ListenAddress {
    /// An address that is bound at the start.
    Tcp(SocketAddr),
    /// What systemd has bound, by the name in its socket unit.
    Systemd(String),
}

impl ListenAddress {
    /// The address, where it is known before the start.
    pub fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Systemd(_) => None,
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Systemd(name) => write!(f, "systemd:{name}"),
        }
    }
}

/// Where operators look: `admin` of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AdminSettings {
    /// The address of metrics, probes and status page.
    pub listen: Option<SocketAddr>,
    /// Names, in lower case, that a Host header may carry beside localhost and IP literals.
    pub hosts: Vec<String>,
    /// The Unix socket of `status`, `sessions` and `kill`.
    pub socket: Option<PathBuf>,
}

impl BootSettings {
    /// Whether the key at `path` is one of theirs: only a restart applies it.
    pub fn holds(path: &str) -> bool {
        BOOT_KEYS.iter().any(|key| path.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
    }

    /// What an operator should know about them although it is no fault, a sentence each.
    pub fn notices(&self) -> Vec<Notice> {
        let exposed = self.admin.listen.filter(|address| !address.ip().is_loopback());
        let warn = |address| {
            let found = format!(
                "admin.listen: {address} is not loopback: whoever reaches it reads metrics and status, in the clear and without a password"
            );
            Notice::new(found, "keep others away with a firewall or a network policy")
        };
        exposed.map(warn).into_iter().collect()
    }
}

/// The keys of [`BootSettings`], sections as a whole.
const BOOT_KEYS: [&str; 6] = ["listen", "audit", "admin", "log", "harden", "user"];

/// What each new connection is judged and served by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveSettings {
    /// The files and choices of TLS; the files have not been looked at.
    pub tls: TlsSettings,
    /// The one PostgreSQL behind.
    pub backend: BackendSettings,
    /// The rules, at least one, and their maps.
    pub policy: Policy,
    /// What an operator should know of them although it is no fault.
    pub rule_notices: Vec<Notice>,
    /// The files that they were read from or would be: a change of any, or of a folder among them, can change them.
    pub rule_files: Vec<PathBuf>,
    /// The load balancers that state their clients' addresses, and must.
    pub trusted_balancers: Vec<IpNet>,
    /// What becomes of a CancelRequest without a certificate.
    pub cancel_plaintext: CancelPlaintext,
    /// What is allowed to come, and how many of it.
    pub limits: LimitSettings,
    /// How long a session may be idle, where its rule does not say.
    pub idle_session_timeout: Option<Duration>,
    /// How long a session may live, where its rule does not say.
    pub max_session_lifetime: Option<Duration>,
    /// How long the end may take.
    pub shutdown: ShutdownSettings,
    /// What becomes of live sessions whose certificate or rule no longer holds.
    pub on_revocation: Fate,
    /// What becomes of live sessions whose certificate passes notAfter.
    pub on_expiry: Fate,
    /// How long before its certificate expires a client is told at login; `None` is never.
    pub expiry_notice: Option<Duration>,
    /// How often the files are looked at for changes; `None` is never.
    pub reload_poll: Option<Duration>,
}

/// How long the end may take: `shutdown` of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShutdownSettings {
    /// From TERM on, while `/readyz` says no and connections are still accepted.
    pub delay: Duration,
    /// From then on, until the sessions that are left are ended.
    pub drain_timeout: Duration,
}

/// How many may come, and in what time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitSettings {
    /// From accept to the backend's AuthenticationOk.
    pub authentication_timeout: Duration,
    /// Connections that have not logged in; above it the oldest gives way.
    pub max_handshakes: usize,
    /// Failures a second of one address, above which it is slowed.
    pub max_failures_per_address: Option<u32>,
    /// Sessions.
    pub sessions: SessionLimits,
}

/// What Postern needs beside its sessions and logins.
const SPARE_DESCRIPTORS: u64 = 64;

impl LimitSettings {
    /// The most descriptors that so many sessions and logins can need: a session takes two.
    pub fn descriptors(&self) -> u64 {
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        count(self.sessions.total).saturating_mul(2).saturating_add(count(self.max_handshakes)).saturating_add(SPARE_DESCRIPTORS)
    }
}

/// What becomes of a live session that would not be admitted any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It ends.
    Terminate,
    /// It goes on.
    Keep,
}

/// Whether a CancelRequest may come without a certificate, in the clear or inside TLS: all that libpq before 17 can send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelPlaintext {
    /// It is forwarded if its key is a live session's.
    Allow,
    /// It is dropped.
    Deny,
}
