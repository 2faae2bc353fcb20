//! What an operator's request does, and who may make it.

use std::sync::Arc;

use super::desk::{LeaveDesk, Leaving, ReloadDesk};
use super::protocol::{Body, CertLine, DrainLine, Fault, FaultCode, Request, Selector, SessionLine};
use super::view::{Status, moment};
use crate::error::EndReason;
use crate::observe::{AdminReport, AdminResult};
use crate::os;
use crate::session::{Activity, LiveSession, Sessions};
use crate::types::utc;

/// A process that asks, by the kernel's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Peer {
    pub(super) uid: u32,
    pub(super) pid: Option<i32>,
}

/// Whether a process of this user may ask anything of a daemon that runs as `own`: only one that could as well end or trace it.
pub(super) fn may_ask(uid: u32, own: u32) -> bool {
    uid == own || uid == os::ROOT
}

/// What is said to a peer that may not ask.
pub(super) fn forbidden(peer: Peer) -> (Body, AdminReport) {
    let message = format!("uid {} may not ask, expected root or the user that Postern runs as", peer.uid);
    (Body::Error(Fault { code: FaultCode::Forbidden, message }), report(peer, None, AdminResult::Forbidden, 0))
}

/// What is said to a peer whose request cannot be understood.
pub(super) fn refused(peer: Peer, fault: Fault) -> (Body, AdminReport) {
    (Body::Error(fault), report(peer, None, AdminResult::Malformed, 0))
}

/// What verbs work on.
#[derive(Clone, Copy)]
pub(super) struct Tools<'a> {
    pub(super) sessions: &'a Sessions,
    pub(super) reload: &'a ReloadDesk,
    pub(super) leave: &'a LeaveDesk,
}

/// Carries a request out.
pub(super) async fn carry_out(request: &Request, peer: Peer, tools: Tools<'_>, status: impl FnOnce() -> Status) -> (Body, AdminReport) {
    let Tools { sessions, reload: desk, leave } = tools;
    let (body, result, targets) = match request {
        Request::Status => (Body::Status(Box::new(status())), AdminResult::Done, 0),
        Request::Sessions => {
            let lines = list(sessions);
            let targets = lines.len();
            (Body::Sessions(lines), AdminResult::Done, targets)
        }
        Request::Kill(selector) => {
            let killed = kill(sessions, selector);
            let (result, targets) = (if killed.is_empty() { AdminResult::NoMatch } else { AdminResult::Done }, killed.len());
            (Body::Killed(killed), result, targets)
        }
        Request::Reload => reload(desk).await,
        // It takes the connection itself (handover.rs): by words alone nothing is given.
        Request::Handover => (Body::Handover(Vec::new()), AdminResult::Failed, 0),
        Request::Drain { .. } => {
            leave.ask(Leaving::Told);
            let sessions = sessions.list().len();
            (Body::Drain(DrainLine { sessions }), AdminResult::Done, sessions)
        }
    };
    (body, report(peer, Some(request), result, targets))
}

/// Has the daemon read its configuration and files again.
async fn reload(desk: &ReloadDesk) -> (Body, AdminResult, usize) {
    let Some(outcome) = desk.reload().await else {
        let message = "the daemon was told to stop, and reloads no more".to_owned();
        return (Body::Error(Fault { code: FaultCode::Draining, message }), AdminResult::Failed, 0);
    };
    let result = if outcome.is_applied() { AdminResult::Done } else { AdminResult::Failed };
    let targets = usize::try_from(outcome.ended).unwrap_or(usize::MAX);
    (Body::Reload(Box::new(outcome)), result, targets)
}

fn list(sessions: &Sessions) -> Vec<SessionLine> {
    let mut live = sessions.list();
    live.sort_unstable_by_key(|session| session.id());
    live.iter().map(|session| line(session)).collect()
}

/// Tells the sessions to end: at their next message boundary, with PostgreSQL's words for it.
fn kill(sessions: &Sessions, selector: &Selector) -> Vec<String> {
    let mut meant: Vec<Arc<LiveSession>> = sessions.list();
    meant.retain(|session| is_meant(session, selector));
    meant.sort_unstable_by_key(|session| session.id());
    meant.iter().for_each(|session| session.end(EndReason::Killed));
    meant.iter().map(|session| session.id().to_string()).collect()
}

fn is_meant(session: &LiveSession, selector: &Selector) -> bool {
    match selector {
        Selector::Id(id) => session.id().to_string() == *id,
        Selector::Role(role) => session.role().as_bytes() == role.as_bytes(),
        Selector::Cert(sha256) => session.identity().sha256().to_string() == *sha256,
    }
}

fn line(session: &LiveSession) -> SessionLine {
    let identity = session.identity();
    let startup = session.startup();
    SessionLine {
        id: session.id().to_string(),
        role: text(session.role().as_bytes()),
        database: startup.map(|startup| text(&startup.database)).unwrap_or_default(),
        application_name: startup.and_then(|startup| startup.application_name.as_deref()).map(text),
        client: session.client().to_string(),
        since: moment(session.since()).unwrap_or_default(),
        state: match session.activity() {
            Activity::Active => "active".to_owned(),
            Activity::Idle => "idle".to_owned(),
            Activity::IdleInTransaction => "idle in transaction".to_owned(),
        },
        bytes_in: session.bytes_in(),
        bytes_out: session.bytes_out(),
        backend_pid: session.cancel().map(|cancel| cancel.pid),
        cert: CertLine {
            cn: identity.common_name().ok().map(|name| text(name.as_bytes())),
            serial: identity.serial().to_owned(),
            sha256: identity.sha256().to_string(),
            not_after: utc(identity.not_after()),
        },
    }
}

/// A name from the network; the audit trail has its very bytes.
fn text(name: &[u8]) -> String {
    String::from_utf8_lossy(name.get(..LONGEST_SHOWN).unwrap_or(name)).into_owned()
}

/// Names have 63 bytes at most; what a client calls itself can be longer, and PostgreSQL cuts that as well.
const LONGEST_SHOWN: usize = 63;

pub(super) fn report(peer: Peer, request: Option<&Request>, result: AdminResult, targets: usize) -> AdminReport {
    let selector = match request {
        Some(Request::Kill(selector)) => Some(selector.parts()),
        Some(Request::Status | Request::Sessions | Request::Reload | Request::Drain { .. } | Request::Handover) | None => None,
    };
    AdminReport {
        verb: request.map(Request::verb),
        uid: peer.uid,
        pid: peer.pid,
        selector: selector.map(|(by, value)| (by, value.into())),
        result,
        targets: u64::try_from(targets).unwrap_or(u64::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::AdminVerb;
    use crate::os::ROOT;

    #[test]
    fn every_verb_is_for_root_and_the_daemons_own_user_and_for_nobody_else() {
        const POSTERN: u32 = 990;
        for (own, uid, allowed) in [
            (POSTERN, ROOT, true),
            (POSTERN, POSTERN, true),
            (POSTERN, 991, false),
            (POSTERN, 65_534, false),
            (POSTERN, u32::MAX, false),
            (ROOT, ROOT, true),
            (ROOT, POSTERN, false),
        ] {
            assert_eq!(may_ask(uid, own), allowed, "{uid} of a daemon that runs as {own}");
        }
    }

    #[test]
    fn a_refusal_is_recorded_with_who_asked() {
        let peer = Peer { uid: 991, pid: Some(7) };
        let (body, report) = forbidden(peer);
        assert!(matches!(body, Body::Error(Fault { code: FaultCode::Forbidden, .. })));
        assert_eq!((report.verb, report.uid, report.result), (None, 991, AdminResult::Forbidden));
        let fault = Request::parse(b"{\"v\":1,\"verb\":\"drop\"}").unwrap_err();
        let (_, report) = refused(peer, fault);
        assert_eq!((report.verb, report.pid, report.result), (None, Some(7), AdminResult::Malformed));
    }

    #[tokio::test]
    async fn a_reload_of_a_daemon_that_stops_is_not_waited_for() {
        let (desk, calls) = ReloadDesk::new();
        drop(calls);
        let status = || unreachable!("nobody asked for it");
        let tools = Tools { sessions: &Sessions::default(), reload: &desk, leave: &LeaveDesk::new().0 };
        let (body, report) = carry_out(&Request::Reload, Peer { uid: 0, pid: None }, tools, status).await;
        assert!(matches!(body, Body::Error(Fault { code: FaultCode::Draining, .. })), "{body:?}");
        assert_eq!((report.verb, report.result), (Some(AdminVerb::Reload), AdminResult::Failed));
    }

    #[tokio::test]
    async fn a_kill_that_means_nobody_says_so() {
        let request = Request::Kill(Selector::Role("alice".to_owned()));
        let status = || unreachable!("nobody asked for it");
        let tools = Tools { sessions: &Sessions::default(), reload: &ReloadDesk::new().0, leave: &LeaveDesk::new().0 };
        let (body, report) = carry_out(&request, Peer { uid: 0, pid: None }, tools, status).await;
        assert_eq!((body, report.result, report.targets), (Body::Killed(Vec::new()), AdminResult::NoMatch, 0));
        assert_eq!(report.selector, Some(("role", "alice".into())));
    }
}
