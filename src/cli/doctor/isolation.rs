//! Is Postern the one way to PostgreSQL? Who serves its socket, where else it listens, and whom it lets in.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::runtime::Builder;
use tokio::time::timeout;

use super::finding::Finding;
use super::probe::{Outcome, attempt};
use crate::backend::{BackendSettings, BackendTarget, Client, Passfile, look};
use crate::config::Settings;
use crate::error::BackendFailure;
use crate::os::{self, Listeners};
use crate::policy::UserPattern;
use crate::snapshot::Terms;
use crate::types::RoleName;

/// The advice of `postern lockdown` in one place.
const LOCKDOWN: &str = "`postern lockdown` prints what belongs there";
/// The OS user that owns nothing.
const NOBODY: u32 = 65534;
/// The most roles of the rules that are tried.
const MOST_ROLES: usize = 32;

pub(super) fn examine(settings: &Settings, terms: &Terms, os_user: Option<&str>) -> Vec<Finding> {
    let backend = terms.backend();
    let Ok(runtime) = Builder::new_current_thread().enable_all().build() else {
        return vec![Finding::unknown("backend", "the kernel gave no event queue", "try again")];
    };
    if let Err(failure) = runtime.block_on(look(backend)) {
        return vec![Finding::fault("backend", failure.to_string(), "nothing more of it could be looked at")];
    }
    let peer = runtime.block_on(peer(&backend.target));
    let mut findings = vec![Finding::good("backend", "PostgreSQL answers")];
    findings.extend(directory(backend, peer));
    let listeners = tcp_listeners(backend, peer, &settings.boot.listen);
    findings.push(listening(&runtime.block_on(listen_addresses(backend, terms.passfile())), &listeners, backend));
    findings.extend(lookup(&runtime.block_on(log_in(backend, terms.passfile())), backend));
    drop(runtime);
    let found = listeners.map(|listeners| listeners.of_server).unwrap_or_default();
    findings.extend(others(settings, backend, &found));
    findings.push(superuser(backend, os_user));
    findings
}

/// Who serves the socket.
#[derive(Clone, Copy)]
struct Peer {
    uid: u32,
    pid: Option<u32>,
}

async fn peer(target: &BackendTarget) -> Option<Peer> {
    let BackendTarget::Unix(path) = target else { return None };
    let credentials = UnixStream::connect(path).await.ok()?.peer_cred().ok()?;
    Some(Peer { uid: credentials.uid(), pid: credentials.pid().and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid > 0) })
}

/// Others who can write to the socket's directory can listen there in PostgreSQL's place.
fn directory(backend: &BackendSettings, peer: Option<Peer>) -> Option<Finding> {
    let BackendTarget::Unix(_) = backend.target else { return None };
    let mode = fs::metadata(&backend.host).ok()?.mode() & 0o7777;
    let found = format!("backend.host: {} has mode {mode:04o}", backend.host);
    Some(match (mode & 0o022 != 0, backend.require_peer) {
        (true, None) => {
            let server = peer.and_then(|peer| os::user_name(peer.uid).ok().flatten().or_else(|| Some(peer.uid.to_string())));
            let found = format!("{found}: others can listen there while PostgreSQL is down, and backend.require_peer is null");
            Finding::fault("backend.require_peer", found, format!("require_peer: {}", server.as_deref().unwrap_or("postgres")))
        }
        (true, Some(_)) => Finding::good("backend.require_peer", format!("{found}, and who listens there is verified")),
        (false, _) => Finding::good("backend.require_peer", format!("{found}: nobody else can listen there")),
    })
}

/// Where TCP is listened on that leads, or may lead, to PostgreSQL.
struct Found {
    /// By PostgreSQL's own descriptors.
    of_server: Vec<SocketAddr>,
    /// By somebody at PostgreSQL's port; whose it is could not be seen.
    at_port: Vec<SocketAddr>,
}

/// `None` where the kernel's tables cannot be read.
fn tcp_listeners(backend: &BackendSettings, peer: Option<Peer>, own: &[SocketAddr]) -> Option<Found> {
    let of_server = peer.and_then(|peer| peer.pid).and_then(|pid| Listeners::of_process(pid).ok());
    let at_port = || Some(Listeners::here().ok()?.into_iter().filter(|at| at.port() == backend.port && !own.contains(at)).collect());
    match of_server {
        Some(of_server) => Some(Found { of_server, at_port: Vec::new() }),
        None => at_port().map(|at_port| Found { of_server: Vec::new(), at_port }),
    }
}

/// PostgreSQL listens where Postern comes from, and nowhere else.
fn listening(said: &Result<Option<String>, BackendFailure>, found: &Option<Found>, backend: &BackendSettings) -> Finding {
    const CHECK: &str = "backend.listeners";
    let (wanted, foreign): (&str, fn(&SocketAddr) -> bool) = match backend.target {
        BackendTarget::Unix(_) => ("listen_addresses = ''", |_| true),
        BackendTarget::Loopback(_) => ("listen_addresses = '127.0.0.1'", |at| !at.ip().is_loopback()),
    };
    let change = format!("postgresql.conf: {wanted}, and a restart of PostgreSQL; {LOCKDOWN}");
    let all = found.iter().flat_map(|found| found.of_server.iter().chain(&found.at_port));
    let listed: Vec<String> = all.filter(|at| foreign(at)).map(ToString::to_string).collect();
    if !listed.is_empty() {
        return Finding::fault(CHECK, format!("PostgreSQL is listening on {} too", listed.join(", ")), change);
    }
    let local = |said: &str| said.split(',').all(|at| matches!(at.trim(), "" | "localhost" | "127.0.0.1" | "::1"));
    match (said, found, &backend.target) {
        (Ok(Some(said)), _, BackendTarget::Unix(_)) if !said.trim().is_empty() => {
            Finding::fault(CHECK, format!("PostgreSQL's listen_addresses is '{said}'"), change)
        }
        (Ok(Some(said)), _, BackendTarget::Loopback(_)) if !local(said) => {
            Finding::fault(CHECK, format!("PostgreSQL's listen_addresses is '{said}'"), change)
        }
        (Ok(Some(said)), _, _) => Finding::good(CHECK, format!("PostgreSQL's listen_addresses is '{said}'")),
        (_, Some(found), BackendTarget::Unix(_)) if found.at_port.is_empty() => Finding::good(CHECK, "no TCP listener leads to PostgreSQL"),
        (_, Some(_), BackendTarget::Loopback(_)) => Finding::good(CHECK, "nobody listens at PostgreSQL's port beyond loopback"),
        (Ok(_) | Err(_), _, _) => {
            Finding::unknown(CHECK, "where PostgreSQL listens could not be seen", "run it as root, or set backend.lookup_role")
        }
    }
}

async fn log_in(backend: &BackendSettings, passfile: Option<&Passfile>) -> Option<Result<(), BackendFailure>> {
    let lookup = backend.lookup.as_ref()?;
    let log_in = Client::log_in(backend, passfile, &lookup.role, "postgres", PATIENCE);
    Some(match timeout(PATIENCE, log_in).await {
        Ok(Ok(client)) => {
            client.close().await;
            Ok(())
        }
        Ok(Err(failure)) => Err(failure),
        Err(_) => Err(BackendFailure::Silent),
    })
}

/// `listen_addresses` as PostgreSQL says it; `None` without a role to ask as.
async fn listen_addresses(backend: &BackendSettings, passfile: Option<&Passfile>) -> Result<Option<String>, BackendFailure> {
    let Some(lookup) = &backend.lookup else { return Ok(None) };
    let ask = async {
        let mut client = Client::log_in(backend, passfile, &lookup.role, "postgres", PATIENCE).await?;
        let rows = client.query("SELECT pg_catalog.current_setting('listen_addresses')", &[]).await?;
        client.close().await;
        Ok(rows.into_iter().flatten().flatten().next().map(|value| String::from_utf8_lossy(&value).into_owned()))
    };
    timeout(PATIENCE, ask).await.unwrap_or(Err(BackendFailure::Silent))
}

/// How long one question to PostgreSQL may take.
const PATIENCE: Duration = Duration::from_secs(5);

fn lookup(outcome: &Option<Result<(), BackendFailure>>, backend: &BackendSettings) -> Option<Finding> {
    let role = &backend.lookup.as_ref()?.role;
    Some(match outcome.as_ref()? {
        Ok(()) => Finding::good("backend.lookup_role", format!("Postern can ask PostgreSQL as {role}")),
        Err(failure) => Finding::fault(
            "backend.lookup_role",
            format!("as {role}, {failure}"),
            "CREATE ROLE it with LOGIN, and let the OS user that runs this in as it",
        ),
    })
}

/// Whom PostgreSQL lets in past Postern: other OS users, by the socket and by every TCP listener.
fn others(settings: &Settings, backend: &BackendSettings, listeners: &[SocketAddr]) -> Vec<Finding> {
    const CHECK: &str = "backend.others";
    let is_root = os::effective_uid() == 0;
    let mut findings = Vec::new();
    if !is_root {
        let found = "what PostgreSQL says to other OS users of this machine could not be tried";
        findings.push(Finding::unknown(CHECK, found, "run it as root"));
    }
    let roles = roles(settings, backend);
    let mut targets = vec![(backend.target.clone(), is_root.then_some(NOBODY))];
    // By TCP nobody's OS user counts, so that any will do.
    targets.extend(listeners.iter().map(|at| (BackendTarget::Loopback(*at), None)));
    let (mut let_in, mut unclear) = (Vec::new(), 0_usize);
    for (target, uid) in targets.iter().filter(|(target, uid)| uid.is_some() || matches!(target, BackendTarget::Loopback(_))) {
        for role in &roles {
            match attempt(*uid, target, backend, role) {
                Ok(Outcome::LetIn) => let_in.push(format!("{role} at {target}")),
                Ok(Outcome::KeptOut) => {}
                Ok(Outcome::Unclear) | Err(_) => unclear = unclear.saturating_add(1),
            }
        }
    }
    for role in roles.iter().filter(|_| is_root && matches!(backend.target, BackendTarget::Unix(_))) {
        let Some(uid) = namesake(role) else { continue };
        if matches!(attempt(Some(uid), &backend.target, backend, role), Ok(Outcome::LetIn)) && role.as_bytes() != b"postgres" {
            let_in.push(format!("{role} for the OS user of that name"));
        }
    }
    if !let_in.is_empty() {
        let found = format!("PostgreSQL lets in past Postern, without a password: {}", let_in.join(", "));
        let change = format!("pg_hba.conf: in place of trust, `local all all peer map=postern`, and no host line; {LOCKDOWN}");
        findings.push(Finding::fault(CHECK, found, change));
    } else if unclear > 0 {
        findings.push(Finding::unknown(
            CHECK,
            format!("{unclear} tries to get in past Postern ended without an answer"),
            "see PostgreSQL's log",
        ));
    } else if is_root || !listeners.is_empty() {
        findings.push(Finding::good(CHECK, format!("nobody else gets in without a password as any of {} roles", roles.len())));
    }
    findings
}

/// The roles that are tried: those that the rules name, the superuser of most clusters, and the lookup role.
fn roles(settings: &Settings, backend: &BackendSettings) -> Vec<RoleName> {
    let mut roles: Vec<RoleName> =
        RoleName::exact(b"postgres").into_iter().chain(backend.lookup.as_ref().map(|lookup| lookup.role.clone())).collect();
    for pattern in settings.live.policy.rules().iter().flat_map(|rule| &rule.users) {
        match pattern {
            UserPattern::Name(role) if !roles.contains(role) && roles.len() < MOST_ROLES => roles.push(role.clone()),
            UserPattern::Name(_) | UserPattern::All | UserPattern::Group(_) | UserPattern::Matching(_) => {}
        }
    }
    roles
}

/// The OS user of a role's name: `peer` without a map lets such in.
fn namesake(role: &RoleName) -> Option<u32> {
    let name = std::str::from_utf8(role.as_bytes()).ok()?;
    os::uid_of(name).ok().flatten().filter(|uid| *uid != 0)
}

/// Whether PostgreSQL takes Postern's own OS user for a superuser.
fn superuser(backend: &BackendSettings, os_user: Option<&str>) -> Finding {
    const CHECK: &str = "backend.superuser";
    let me = os::effective_uid();
    let uid = match os_user {
        Some(name) => os::uid_of(name).ok().flatten(),
        None => Some(me).filter(|uid| *uid != 0),
    };
    let (Some(uid), Some(role)) = (uid, RoleName::exact(b"postgres")) else {
        return Finding::unknown(CHECK, "as which OS user Postern runs is not known here", "name it with --os-user");
    };
    match attempt(Some(uid).filter(|uid| *uid != me), &backend.target, backend, &role) {
        Ok(Outcome::LetIn) => Finding::fault(
            CHECK,
            "PostgreSQL lets the OS user that Postern runs as in as the superuser postgres",
            format!("pg_ident.conf: a line for each role that comes through Postern, none for postgres and none for all; {LOCKDOWN}"),
        ),
        Ok(Outcome::KeptOut) => Finding::good(CHECK, "PostgreSQL does not take Postern's OS user for the superuser postgres"),
        Ok(Outcome::Unclear) | Err(_) => Finding::unknown(CHECK, "it could not be tried as Postern's OS user", "run it as root"),
    }
}
