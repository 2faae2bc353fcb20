//! Which roles a role is a member of, as `+group` and `samerole` ask it: PostgreSQL's own `is_member_of_role_nosuper`
//! (src/backend/utils/adt/acl.c), directly or indirectly, itself included, and superusers not automatically.
//!
//! It is asked on a connection of Postern's own, as `backend.lookup_role`, by one fixed statement in which every name is qualified: no
//! search_path, no parameter and no session of a client has a part in it (CVE-2025-12819). What cannot be known is an error, is not
//! kept, and is never "no".

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout};

use super::{BackendSettings, Client, Passfile};
use crate::error::BackendFailure;
use crate::types::RoleName;

/// `backend.lookup_role` and `backend.lookup_ttl`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LookupSettings {
    /// As whom it is asked.
    pub role: RoleName,
    /// How long an answer is believed, from the moment it was asked for.
    pub ttl: Duration,
}

/// The roles that a role is a member of; empty where there is no such role.
pub type Groups = Arc<HashSet<RoleName>>;

/// An answer, or why there is none.
type Answer = Result<Groups, Arc<BackendFailure>>;

/// Asks for memberships and remembers them. One question about a role is on its way at a time; who has the same waits with it.
pub struct MembershipLookup {
    backend: Arc<BackendSettings>,
    passfile: Option<Passfile>,
    settings: LookupSettings,
    known: Mutex<HashMap<RoleName, Entry>>,
    turns: Semaphore,
}

enum Entry {
    Asked(watch::Receiver<Option<Answer>>),
    Known { groups: Groups, until: Instant },
}

impl MembershipLookup {
    /// One that knows nothing yet; `None` where there is no role to ask as.
    pub fn new(backend: Arc<BackendSettings>, passfile: Option<Passfile>) -> Option<Arc<Self>> {
        let settings = backend.lookup.clone()?;
        Some(Arc::new(Self { backend, passfile, settings, known: Mutex::default(), turns: Semaphore::new(MOST_CONNECTIONS) }))
    }

    /// The roles that `role` is a member of. Within `backend.connect_timeout` there is an answer or a failure; a caller with less time
    /// can leave, the question goes on for the others. Cancel-safe.
    ///
    /// # Errors
    /// Why it cannot be known.
    pub async fn groups_of(self: &Arc<Self>, role: &RoleName) -> Answer {
        let mut asked = match self.known_or_asked(role) {
            Entry::Known { groups, .. } => return Ok(groups),
            Entry::Asked(asked) => asked,
        };
        let answer = asked.wait_for(Option::is_some).await.ok().and_then(|answer| answer.clone());
        answer.unwrap_or_else(|| Err(Arc::new(BackendFailure::Closed)))
    }

    fn known_or_asked(self: &Arc<Self>, role: &RoleName) -> Entry {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match known.get(role) {
            Some(Entry::Known { groups, until }) if Instant::now() < *until => {
                return Entry::Known { groups: Arc::clone(groups), until: *until };
            }
            // Where the one who asked is gone without an answer, it is asked again.
            Some(Entry::Asked(asked)) if asked.has_changed().is_ok() => return Entry::Asked(asked.clone()),
            Some(Entry::Known { .. } | Entry::Asked(_)) | None => {}
        }
        make_room(&mut known);
        let (tell, asked) = watch::channel(None);
        known.insert(role.clone(), Entry::Asked(asked.clone()));
        tokio::spawn(Arc::clone(self).ask(role.clone(), tell));
        Entry::Asked(asked)
    }

    async fn ask(self: Arc<Self>, role: RoleName, tell: watch::Sender<Option<Answer>>) {
        let asked = Instant::now();
        let patience = self.backend.connect_timeout;
        let answer = timeout(patience, self.query(&role, patience)).await.unwrap_or(Err(BackendFailure::Silent));
        let answer = answer.map(Arc::new).map_err(Arc::new);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match (&answer, asked.checked_add(self.settings.ttl)) {
            (Ok(groups), Some(until)) => drop(known.insert(role, Entry::Known { groups: Arc::clone(groups), until })),
            (Ok(_), None) | (Err(_), _) => drop(known.remove(&role)),
        }
        tell.send_replace(Some(answer));
    }

    async fn query(&self, role: &RoleName, patience: Duration) -> Result<HashSet<RoleName>, BackendFailure> {
        // A crowd of logins must not take all that the backend has for sessions.
        let _turn = self.turns.acquire().await;
        let mut client = self.log_in(patience).await?;
        let rows = client.query(MEMBERSHIPS, &[role.as_bytes()]).await?;
        client.close().await;
        Ok(rows.into_iter().flatten().flatten().filter_map(|name| RoleName::truncated(&name)).collect())
    }

    /// `postgres` is there for such as us; where somebody has dropped it, `template1` is.
    async fn log_in(&self, patience: Duration) -> Result<Client, BackendFailure> {
        let log_in = |database| Client::log_in(&self.backend, self.passfile.as_ref(), &self.settings.role, database, patience);
        match log_in("postgres").await {
            Err(BackendFailure::Refused { sqlstate, .. }) if sqlstate == NO_SUCH_DATABASE => log_in("template1").await,
            outcome => outcome,
        }
    }
}

/// Every membership counts, whatever its INHERIT and SET options (16 and newer). Both catalogs are readable for everybody.
const MEMBERSHIPS: &str = "\
    WITH RECURSIVE membership (oid) AS (
        SELECT r.oid FROM pg_catalog.pg_roles r WHERE pg_catalog.namesend(r.rolname) OPERATOR(pg_catalog.=) $1
      UNION
        SELECT m.roleid FROM pg_catalog.pg_auth_members m JOIN membership ON m.member OPERATOR(pg_catalog.=) membership.oid
    )
    SELECT r.rolname FROM pg_catalog.pg_roles r JOIN membership ON r.oid OPERATOR(pg_catalog.=) membership.oid";

/// `invalid_catalog_name`.
const NO_SUCH_DATABASE: &str = "3D000";

/// How many questions are on their way at a time.
const MOST_CONNECTIONS: usize = 8;

/// How many roles are remembered.
const MOST_ROLES: usize = 4096;

/// Forgets what has expired, then what expires first, where too much is remembered. A question on its way stays.
fn make_room(known: &mut HashMap<RoleName, Entry>) {
    if known.len() < MOST_ROLES {
        return;
    }
    let now = Instant::now();
    known.retain(|_, entry| match entry {
        Entry::Known { until, .. } => now < *until,
        Entry::Asked(asked) => asked.has_changed().is_ok(),
    });
    let expiry = |(role, entry): (&RoleName, &Entry)| match entry {
        Entry::Known { until, .. } => Some((*until, role.clone())),
        Entry::Asked(_) => None,
    };
    if known.len() >= MOST_ROLES
        && let Some((_, first)) = known.iter().filter_map(expiry).min()
    {
        known.remove(&first);
    }
}

#[cfg(test)]
mod tests;
