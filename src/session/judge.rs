//! Live sessions, judged again by the settings that have come since: pure functions of what a session was admitted by.
//!
//! Only positive evidence ends one. A CRL that is stale or gone refuses whoever comes next and says nothing of those who are in.

use super::registry::{LiveSession, Sessions};
use super::timers::Timers;
use crate::error::{SessionError, Withdrawal};
use crate::identity::ClientIdentity;
use crate::os;
use crate::policy::{Bounds, Cause, Interfaces, Policy, Request, Surroundings, Unknown};
use crate::snapshot::Snapshot;
use crate::types::RoleName;

impl Sessions {
    /// Judges every live session by `snapshot` at `now`, in seconds since 1970. Those that it does not admit are told to end, unless
    /// `sessions.on_revocation` keeps them; for the others its time limits hold from now on. Gives how many were told.
    pub fn judge(&self, snapshot: &Snapshot, now: i64) -> u64 {
        let told = self.list().into_iter().filter(|session| session.judge(snapshot, now)).count();
        u64::try_from(told).unwrap_or(u64::MAX)
    }
}

impl LiveSession {
    /// Judges one of them; whether it was told to end.
    pub(super) fn judge(&self, snapshot: &Snapshot, now: i64) -> bool {
        match verdict(self.identity(), self.request(), self.role(), snapshot, now) {
            Ok(Some(bounds)) => self.set_timers(Timers::of(snapshot.terms(), bounds)),
            Ok(None) => {}
            Err(_) if snapshot.terms().keeps_withdrawn() => {}
            Err(withdrawal) => return self.withdraw(withdrawal),
        }
        false
    }
}

/// Whether a session of `role` would still be admitted: what its rule holds it to, or why not. `None` where nobody can say, because
/// the decision depends on what would have to be asked.
fn verdict(
    identity: &ClientIdentity,
    request: &Request,
    role: &RoleName,
    snapshot: &Snapshot,
    now: i64,
) -> Result<Option<Bounds>, Withdrawal> {
    snapshot.tls().still_holds(identity, now).map_err(Withdrawal::from)?;
    let policy = snapshot.terms().policy();
    match policy.authorize(Some(identity.clone()), request, &known_surroundings(policy, identity, request)) {
        Ok((grant, _)) if grant.role() == role => Ok(Some(grant.bounds())),
        Ok((grant, _)) => Err(Withdrawal::NotAdmitted(format!("{} now admits it as another role", grant.rule()))),
        Err(denial) if matches!(denial.cause(), Cause::MembershipsUnknown(_) | Cause::InterfacesUnknown(_)) => Ok(None),
        Err(denial) => Err(Withdrawal::NotAdmitted(SessionError::Denied(denial, Box::new(request.clone())).to_string())),
    }
}

/// What the decision needs to know and can be known at once: nobody is asked for memberships because of a reload.
fn known_surroundings(policy: &Policy, identity: &ClientIdentity, request: &Request) -> Surroundings {
    let mut surroundings = Surroundings::unasked();
    if policy.needs(Some(identity), request, &surroundings) == Some(Unknown::Interfaces) {
        surroundings.interfaces = os::interfaces().map_or_else(|error| Interfaces::Unknown(error.to_string().into()), Interfaces::Known);
    }
    surroundings
}
