//! Is Postern the one way to PostgreSQL? Who serves its socket, where else it listens, and whom it lets in.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;

use tokio::net::UnixStream;
use tokio::runtime::Builder;

use super::super::acting::as_postern;
use super::finding::Finding;
use super::said::{Said, ask};
use super::{LOCKDOWN, passing};
use crate::backend::{BackendSettings, BackendTarget, look};
use crate::config::{ListenAddress, Settings};
use crate::error::BackendFailure;
use crate::os::{self, Listeners};
use crate::snapshot::Terms;

pub(super) fn examine(settings: &Settings, terms: &Terms, os_user: Option<&str>) -> Vec<Finding> {
    let backend = terms.backend();
    let Ok(runtime) = Builder::new_current_thread().enable_all().build() else {
        return vec![Finding::unknown("backend", "the kernel gave no event queue", "try again")];
    };
    if let Err(failure) = runtime.block_on(look(backend)) {
        return vec![Finding::fault("backend", failure.to_string(), "nothing more of it could be looked at")];
    }
    let peer = runtime.block_on(peer(&backend.target));
    let said = as_postern(os_user, || runtime.block_on(ask(backend, terms.passfile())));
    drop(runtime);
    let mut findings = vec![Finding::good("backend", "PostgreSQL answers")];
    findings.extend(directory(backend, peer));
    let listeners = tcp_listeners(backend, peer, &settings.boot.listen.iter().filter_map(ListenAddress::tcp).collect::<Vec<_>>());
    findings.push(listening(&said, &listeners, backend));
    findings.extend(said.as_ref().map(|said| lookup(said, backend)));
    let found = listeners.map(|listeners| listeners.of_server).unwrap_or_default();
    let said = said.and_then(Result::ok).unwrap_or_default();
    let owner = peer.and_then(|peer| os::user_name(peer.uid).ok().flatten());
    findings.extend(passing::examine(settings, backend, &said, &passing::Here { listeners: found, owner, os_user }));
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
fn listening(said: &Option<Result<Said, BackendFailure>>, found: &Option<Found>, backend: &BackendSettings) -> Finding {
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
    let said = said.as_ref().and_then(|said| said.as_ref().ok()).map(|said| said.listen_addresses.as_str());
    match (said, found, &backend.target) {
        (Some(said), _, BackendTarget::Unix(_)) if !said.trim().is_empty() => {
            Finding::fault(CHECK, format!("PostgreSQL's listen_addresses is '{said}'"), change)
        }
        (Some(said), _, BackendTarget::Loopback(_)) if !local(said) => {
            Finding::fault(CHECK, format!("PostgreSQL's listen_addresses is '{said}'"), change)
        }
        (Some(said), _, _) => Finding::good(CHECK, format!("PostgreSQL's listen_addresses is '{said}'")),
        (None, Some(found), BackendTarget::Unix(_)) if found.at_port.is_empty() => {
            Finding::good(CHECK, "no TCP listener leads to PostgreSQL")
        }
        (None, Some(_), BackendTarget::Loopback(_)) => Finding::good(CHECK, "nobody listens at PostgreSQL's port beyond loopback"),
        (None, Some(_) | None, _) => {
            Finding::unknown(CHECK, "where PostgreSQL listens could not be seen", "run it as root, or set backend.lookup_role")
        }
    }
}

fn lookup(said: &Result<Said, BackendFailure>, backend: &BackendSettings) -> Finding {
    let role = backend.lookup.as_ref().map(|lookup| lookup.role.to_string()).unwrap_or_default();
    match said {
        Ok(_) => Finding::good("backend.lookup_role", format!("Postern can ask PostgreSQL as {role}")),
        Err(failure) => Finding::fault(
            "backend.lookup_role",
            format!("as {role}, {failure}"),
            "CREATE ROLE it with LOGIN, and let Postern's OS user in as it; root says who that is with --os-user",
        ),
    }
}
