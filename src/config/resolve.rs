//! From what the user wrote to what the program uses. Every fault is noted; a value exists only if nothing is wrong with it.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::admin;
use super::diagnostic::Faults;
use super::proxy;
use super::raw::{Node, Value};
use super::reader::{Read, Section, Wrong};
use super::rules::rules;
use super::settings::{BootSettings, CancelPlaintext, Fate, LimitSettings, ListenAddress, LiveSettings, Settings, ShutdownSettings};
use super::sni::sni;
use super::values::{
    LONGEST_SESSION, account, choice, count, count_or_none, duration, duration_or_never, listen_address, nullable, path, pause, peer, port,
    rate_or_none, text,
};
use super::words::Lookup;
use crate::backend::{BackendSettings, BackendTarget, Introduction, LookupSettings};
use crate::harden::{HardenSettings, Mode};
use crate::limits::SessionLimits;
use crate::observe::{AuditDestination, AuditSettings, LogFormat, LogLevel, LogSettings, ObserveSettings, OnFailure};
use crate::os::Account;
use crate::policy::Policy;
use crate::tls::{TlsSettings, X509V1};
use crate::types::RoleName;

/// The settings, if the file has no fault; relative paths start at `folder`.
pub(super) fn settings(root: &Node, folder: &Path, faults: &mut Faults) -> Option<Settings> {
    let root = Section::root(root, faults);
    let listen = addresses(&root, faults);
    let denylist_file = root.optional("denylist_file", None, nullable(path(folder)), faults);
    let tls = tls(&root.section("tls", faults), denylist_file, folder, faults);
    let backend = backend(&root.section("backend", faults), folder, faults);
    let lookup = Lookup::with(backend.as_ref().is_none_or(|backend| backend.lookup.is_some()));
    let rules = rules(&root, folder, lookup, faults);
    let trusted_balancers = proxy::trusted(&root, faults);
    let cancel_plaintext = root.section("cancel", faults).optional(
        "plaintext",
        CancelPlaintext::Allow,
        choice(&[("allow", CancelPlaintext::Allow), ("deny", CancelPlaintext::Deny)]),
        faults,
    );
    let limits = limits(&root.section("limits", faults), rules.as_ref().map(|rules| &rules.policy), faults);
    let sessions = root.section("sessions", faults);
    let idle_session_timeout = sessions.optional("idle_session_timeout", None, duration_or_never(LONGEST_SESSION), faults);
    let max_session_lifetime = sessions.optional("max_session_lifetime", None, duration_or_never(LONGEST_SESSION), faults);
    let shutdown = shutdown(&root.section("shutdown", faults), faults);
    let fates = [("terminate", Fate::Terminate), ("keep", Fate::Keep)];
    let on_revocation = sessions.optional("on_revocation", Fate::Terminate, choice(&fates), faults);
    let on_expiry = sessions.optional("on_expiry", Fate::Terminate, choice(&fates), faults);
    let expiry_notice = sessions.optional("expiry_notice", Some(NOTICE), duration_or_never(LONGEST_SESSION), faults);
    let reload_poll = root.section("reload", faults).optional("poll", Some(POLL), duration_or_never(LONGEST_POLL), faults);
    let audit = audit(&root.section("audit", faults), folder, faults);
    let clients: Vec<_> = listen.iter().flatten().filter_map(ListenAddress::tcp).collect();
    let admin = admin::settings(&root, folder, &clients, faults);
    let log = log(&root.section("log", faults), faults);
    let rules = rules?;
    let harden = harden(&root, faults);
    Some(Settings {
        boot: BootSettings { listen: listen?, observe: ObserveSettings { audit: audit?, log: log? }, admin: admin?, harden: harden? },
        live: LiveSettings {
            tls: tls?,
            backend: backend?,
            policy: rules.policy,
            rule_notices: rules.notices,
            rule_files: rules.files.into_iter().collect(),
            trusted_balancers: trusted_balancers?,
            cancel_plaintext: cancel_plaintext?,
            limits: limits?,
            idle_session_timeout: idle_session_timeout?,
            max_session_lifetime: max_session_lifetime?,
            shutdown: shutdown?,
            on_revocation: on_revocation?,
            on_expiry: on_expiry?,
            expiry_notice: expiry_notice?,
            reload_poll: reload_poll?,
        },
    })
}

fn addresses(root: &Section<'_>, faults: &mut Faults) -> Option<Vec<ListenAddress>> {
    let addresses = root.one_or_more("listen", listen_address, faults)?;
    let mut seen = HashSet::new();
    if let Some(again) = addresses.iter().find(|address| !seen.insert((*address).clone())) {
        let wrong = Wrong::new("each address once", "remove one of them").which(format!("which has {again} twice"));
        root.fault("listen", wrong, faults);
        return None;
    }
    Some(addresses)
}

fn limits(section: &Section<'_>, policy: Option<&Policy>, faults: &mut Faults) -> Option<LimitSettings> {
    let authentication_timeout = section.optional("authentication_timeout", LOGIN, duration(LONGEST_LOGIN), faults);
    let max_handshakes = section.optional("max_handshakes", HANDSHAKES, count, faults);
    let failures = section.optional("max_failures_per_address", Some(FAILURES), rate_or_none, faults);
    let total = section.optional("max_connections", CONNECTIONS, count, faults);
    let per_role = section.optional("max_connections_per_role", None, count_or_none, faults);
    let per_address = section.optional("max_connections_per_address", None, count_or_none, faults);
    let reserve = policy.is_some_and(|policy| policy.rules().iter().any(|rule| rule.bounds.reserved));
    Some(LimitSettings {
        authentication_timeout: authentication_timeout?,
        max_handshakes: max_handshakes?,
        max_failures_per_address: failures?,
        sessions: SessionLimits { total: total?, reserve, per_role: per_role?, per_address: per_address? },
    })
}

fn shutdown(section: &Section<'_>, faults: &mut Faults) -> Option<ShutdownSettings> {
    let delay = section.optional("delay", Duration::ZERO, pause(LONGEST_SHUTDOWN), faults);
    let drain_timeout = section.optional("drain_timeout", DRAIN, pause(LONGEST_SHUTDOWN), faults);
    Some(ShutdownSettings { delay: delay?, drain_timeout: drain_timeout? })
}

fn tls(section: &Section<'_>, denylist_file: Option<Option<PathBuf>>, folder: &Path, faults: &mut Faults) -> Option<TlsSettings> {
    let ssl_cert_file = section.required("ssl_cert_file", path(folder), faults);
    let ssl_key_file = section.required("ssl_key_file", path(folder), faults);
    let sni = sni(section, folder, faults);
    let ssl_ca_file = section.required("ssl_ca_file", path(folder), faults);
    let ssl_crl_file = section.optional("ssl_crl_file", None, nullable(path(folder)), faults);
    let versions = choice(&[("accept", X509V1::Accept), ("refuse", X509V1::Refuse)]);
    let x509_v1 = section.optional("x509_v1", X509V1::Accept, versions, faults);
    Some(TlsSettings {
        ssl_cert_file: ssl_cert_file?,
        ssl_key_file: ssl_key_file?,
        sni: sni?,
        ssl_ca_file: ssl_ca_file?,
        ssl_crl_file: ssl_crl_file?,
        x509_v1: x509_v1?,
        denylist_file: denylist_file?,
    })
}

fn backend(section: &Section<'_>, folder: &Path, faults: &mut Faults) -> Option<BackendSettings> {
    let port = section.optional("port", POSTGRESQL_PORT, port, faults);
    let host = section.required("host", |node| host(node, port.unwrap_or(POSTGRESQL_PORT)), faults);
    let passfile = section.optional("passfile", None, nullable(path(folder)), faults);
    let connect_timeout = section.optional("connect_timeout", CONNECT, duration(LONGEST_CONNECT), faults);
    let require_peer = section.optional("require_peer", None, nullable(peer), faults);
    let introductions =
        choice(&[("none", Introduction::None), ("application_name", Introduction::ApplicationName), ("guc", Introduction::Guc)]);
    let identity = section.optional("identity", Introduction::None, introductions, faults);
    let lookup_role = section.optional("lookup_role", None, nullable(role), faults);
    let lookup_ttl = section.optional("lookup_ttl", Some(LOOKUP), duration_or_never(LONGEST_LOOKUP), faults);
    if let (Some((_, BackendTarget::Loopback(_))), Some(Some(_))) = (&host, require_peer) {
        let wrong = Wrong::new("null beside a TCP host", "use the Unix socket's directory as host, or remove it");
        section.fault("require_peer", wrong.which("which only a Unix socket can tell"), faults);
        return None;
    }
    let (host, target) = host?;
    let (lookup_role, lookup_ttl) = (lookup_role?, lookup_ttl?.unwrap_or_default());
    Some(BackendSettings {
        target,
        host,
        port: port?,
        passfile: passfile?,
        connect_timeout: connect_timeout?,
        require_peer: require_peer?,
        identity: identity?,
        lookup: lookup_role.map(|role| LookupSettings { role, ttl: lookup_ttl }),
    })
}

fn role(node: &Node) -> Read<RoleName> {
    let wrong = || Wrong::new("a role's name or null", "write a name of 1 to 63 bytes without NUL");
    RoleName::exact(text(node, wrong)?.as_bytes()).ok_or_else(wrong)
}

fn host(node: &Node, port: u16) -> Read<(String, BackendTarget)> {
    let wrong = |advice: &str| Wrong::new("the absolute directory of a Unix socket, a loopback address or localhost", advice);
    let host = text(node, || wrong("write PostgreSQL's unix_socket_directories, as /var/run/postgresql"))?;
    if host.contains('\0') {
        return Err(wrong("write PostgreSQL's unix_socket_directories, as /var/run/postgresql").which("which holds a NUL"));
    }
    let target = BackendTarget::parse(host, port)
        .map_err(|_| wrong("let PostgreSQL listen on this machine: nothing else is protected by Postern").which("which is not local"))?;
    match &target {
        BackendTarget::Unix(socket) if socket.as_os_str().len() > LONGEST_SOCKET_PATH => {
            Err(wrong("use a shorter directory").which(format!("whose socket's path is longer than {LONGEST_SOCKET_PATH} bytes")))
        }
        BackendTarget::Unix(_) | BackendTarget::Loopback(_) => Ok((host.to_owned(), target)),
    }
}

fn audit(section: &Section<'_>, folder: &Path, faults: &mut Faults) -> Option<AuditSettings> {
    let destination = section.optional("file", AuditDestination::Stdout, |node| destination(node, folder), faults);
    let choices = choice(&[("refuse", OnFailure::Refuse), ("continue", OnFailure::Continue)]);
    let on_failure = section.optional("on_failure", OnFailure::Refuse, choices, faults);
    Some(AuditSettings { destination: destination?, on_failure: on_failure? })
}

fn destination(node: &Node, folder: &Path) -> Read<AuditDestination> {
    let wrong = |advice: &str| Wrong::new("a path, stdout or null", advice);
    match &node.value {
        Value::Null => Ok(AuditDestination::Off),
        Value::Text(word) if word == "stdout" => Ok(AuditDestination::Stdout),
        Value::Text(word) if ["off", "none"].contains(&word.as_str()) => Err(wrong("write null for no audit")),
        Value::Text(word) if ["stderr", "-", "syslog"].contains(&word.as_str()) => Err(wrong("write stdout: the log goes to stderr")),
        Value::Boolean(_) | Value::Number { .. } | Value::Text(_) | Value::List(_) | Value::Map(_) => {
            path(folder)(node).map(AuditDestination::File).map_err(|_| wrong("write one of them"))
        }
    }
}

fn log(section: &Section<'_>, faults: &mut Faults) -> Option<LogSettings> {
    let levels = choice(&[
        ("error", LogLevel::Error),
        ("warn", LogLevel::Warn),
        ("info", LogLevel::Info),
        ("debug", LogLevel::Debug),
        ("trace", LogLevel::Trace),
    ]);
    let level = section.optional("level", LogLevel::Info, levels, faults);
    let formats = choice(&[("auto", LogFormat::Auto), ("text", LogFormat::Text), ("json", LogFormat::Json)]);
    let format = section.optional("format", LogFormat::Auto, formats, faults);
    Some(LogSettings { level: level?, format: format? })
}

fn harden(root: &Section<'_>, faults: &mut Faults) -> Option<HardenSettings> {
    let modes = choice(&[("required", Mode::Required), ("best_effort", Mode::BestEffort), ("none", Mode::None)]);
    let mode = root.optional("harden", Mode::BestEffort, modes, faults);
    let user = user(root, faults);
    Some(HardenSettings { mode: mode?, user: user? })
}

/// The OS user to become, if there is one.
pub(super) fn user(root: &Section<'_>, faults: &mut Faults) -> Option<Option<Account>> {
    root.optional("user", None, nullable(account), faults)
}

const POSTGRESQL_PORT: u16 = 5432;
const CONNECT: Duration = Duration::from_secs(5);
const LOOKUP: Duration = Duration::from_secs(10);
const HANDSHAKES: usize = 2000;
const FAILURES: u32 = 50;
const CONNECTIONS: usize = 1000;
const LOGIN: Duration = Duration::from_secs(10);
/// With five seconds of delay before it, it fits Kubernetes' terminationGracePeriodSeconds of 30.
const DRAIN: Duration = Duration::from_secs(25);
const NOTICE: Duration = Duration::from_secs(7 * 86_400);
const POLL: Duration = Duration::from_secs(10);

/// A day: who wants it more seldom wants it by HUP.
const LONGEST_POLL: Duration = Duration::from_secs(86_400);

/// The upper end of PostgreSQL's own authentication_timeout (src/backend/utils/misc/guc_tables.c).
const LONGEST_LOGIN: Duration = Duration::from_secs(600);

/// Whoever waits longer for the last session does so on purpose: a day.
const LONGEST_SHUTDOWN: Duration = Duration::from_secs(24 * 3600);

/// A membership that was revoked an hour ago and still lets in is nothing that anybody wants.
const LONGEST_LOOKUP: Duration = Duration::from_secs(3600);

/// A connect is a part of the login.
const LONGEST_CONNECT: Duration = LONGEST_LOGIN;

/// `sun_path` without its NUL (unix(7)); libpq has the same limit.
const LONGEST_SOCKET_PATH: usize = 107;
