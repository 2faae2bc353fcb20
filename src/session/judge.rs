//! Live sessions, judged again by the settings that have come since: pure functions of what a session was admitted by, and of what
//! PostgreSQL says where a rule asks for memberships.
//!
//! Only positive evidence ends one. A CRL that is stale or gone, or a membership that cannot be asked, refuses whoever comes next and
//! says nothing of those who are in.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::task::JoinSet;

use super::live::LiveSession;
use super::registry::Sessions;
use super::timers::Timers;
use crate::error::{SessionError, Withdrawal};
use crate::identity::ClientIdentity;
use crate::os;
use crate::policy::{Cause, Interfaces, Memberships, Policy, Request, Surroundings, Unknown};
use crate::snapshot::{Snapshot, Snapshots, Terms};
use crate::types::RoleName;

/// What came of judging sessions.
#[derive(Default)]
pub struct Judgement {
    ended: u64,
    /// Those whose admission hinges on memberships, and the terms that they are judged by.
    open: Option<(Arc<Terms>, Vec<Arc<LiveSession>>)>,
}

/// What is known of one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// It goes on.
    Holds,
    /// It was told to end.
    Ended,
    /// It depends on which roles its own is a member of.
    Open,
}

impl Sessions {
    /// Judges every live session by `snapshot` at `now`, in seconds since 1970. Those that it does not admit are told to end, unless
    /// `sessions.on_revocation` keeps them; for the others its time limits hold from now on.
    pub fn judge(&self, snapshot: &Snapshot, now: i64) -> Judgement {
        Judgement::of(self.list(), snapshot, now)
    }
}

impl Judgement {
    /// Judges `sessions` in the same way.
    pub(super) fn of(sessions: Vec<Arc<LiveSession>>, snapshot: &Snapshot, now: i64) -> Self {
        let (mut ended, mut open) = (0_u64, Vec::new());
        for session in sessions {
            match session.judge(snapshot, now) {
                Verdict::Holds => {}
                Verdict::Ended => ended = ended.saturating_add(1),
                Verdict::Open => open.push(session),
            }
        }
        let open = (!open.is_empty()).then(|| (Arc::clone(snapshot.terms()), open));
        Self { ended, open }
    }

    /// How many were told to end so far.
    pub fn ended(&self) -> u64 {
        self.ended
    }

    /// Asks PostgreSQL, in a task of its own, about those whose admission hinges on memberships, and judges them by what it says. Where
    /// another snapshot has come meanwhile, they were judged by that one.
    pub fn settle(self, snapshots: &Arc<Snapshots>) {
        if let Some((terms, sessions)) = self.open {
            tokio::spawn(settle(terms, sessions, Arc::clone(snapshots)));
        }
    }
}

async fn settle(terms: Arc<Terms>, sessions: Vec<Arc<LiveSession>>, snapshots: Arc<Snapshots>) {
    let Some(lookup) = terms.memberships() else { return };
    let mut of_role: HashMap<RoleName, Vec<Arc<LiveSession>>> = HashMap::new();
    for session in sessions {
        of_role.entry(session.request().user.clone()).or_default().push(session);
    }
    // All at once: the lookup has its own limits, on how many questions are on their way and for how long.
    let mut asked = JoinSet::new();
    for (role, sessions) in of_role {
        let lookup = Arc::clone(lookup);
        asked.spawn(async move { (lookup.groups_of(&role).await, sessions) });
    }
    while let Some(answer) = asked.join_next().await {
        let Ok((Ok(groups), sessions)) = answer else { continue };
        if !Arc::ptr_eq(snapshots.current().terms(), &terms) {
            return;
        }
        for session in sessions {
            session.judge_rules(&terms, Memberships::Known(Arc::clone(&groups)));
        }
    }
}

impl LiveSession {
    fn judge(&self, snapshot: &Snapshot, now: i64) -> Verdict {
        match snapshot.tls().still_holds(self.identity(), now) {
            Ok(()) => self.judge_rules(snapshot.terms(), Surroundings::unasked().memberships),
            Err(failure) => self.withdrawn(snapshot.terms(), Withdrawal::from(failure)),
        }
    }

    /// Judges it by the rules of `terms` alone.
    fn judge_rules(&self, terms: &Terms, memberships: Memberships) -> Verdict {
        let surroundings = known_surroundings(terms.policy(), self.identity(), self.request(), memberships);
        let what = match terms.policy().authorize(Some(self.identity().clone()), self.request(), &surroundings) {
            Ok((grant, _)) if grant.role() == self.role() => {
                self.set_timers(Timers::of(terms, grant.bounds()));
                return Verdict::Holds;
            }
            Ok((grant, _)) => format!("{} now admits it as another role", grant.rule()),
            Err(denial) if matches!(denial.cause(), Cause::MembershipsUnknown(_)) => return Verdict::Open,
            Err(denial) if matches!(denial.cause(), Cause::InterfacesUnknown(_)) => return Verdict::Holds,
            Err(denial) => SessionError::Denied(denial, Box::new(self.request().clone())).to_string(),
        };
        self.withdrawn(terms, Withdrawal::NotAdmitted(what))
    }

    fn withdrawn(&self, terms: &Terms, withdrawal: Withdrawal) -> Verdict {
        if !terms.keeps_withdrawn() && self.withdraw(withdrawal) { Verdict::Ended } else { Verdict::Holds }
    }
}

/// What the decision needs to know; this machine's addresses can be known at once.
fn known_surroundings(policy: &Policy, identity: &ClientIdentity, request: &Request, memberships: Memberships) -> Surroundings {
    let mut surroundings = Surroundings { memberships, ..Surroundings::unasked() };
    if policy.needs(Some(identity), request, &surroundings) == Some(Unknown::Interfaces) {
        surroundings.interfaces = os::interfaces().map_or_else(|error| Interfaces::Unknown(error.to_string().into()), Interfaces::Known);
    }
    surroundings
}
