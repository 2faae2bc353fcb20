//! Who gets into PostgreSQL past Postern: it is tried, by the socket and by every TCP listener, as roles that somebody would try.

use std::net::SocketAddr;

use super::LOCKDOWN;
use super::finding::Finding;
use super::probe::{Outcome, Wish, attempt};
use super::said::Said;
use crate::backend::{BackendSettings, BackendTarget};
use crate::config::Settings;
use crate::os;
use crate::policy::{DatabasePattern, PgUser, UserPattern};
use crate::types::{DatabaseName, RoleName};

/// The OS user that owns nothing.
const NOBODY: u32 = 65534;
/// The most roles that are tried, and databases.
const MOST_ROLES: usize = 48;
const MOST_DATABASES: usize = 8;
/// The most ways in that one finding lists.
const MOST_LISTED: usize = 12;

/// What is known of this machine.
pub(super) struct Here<'a> {
    /// The TCP listeners of PostgreSQL's own.
    pub(super) listeners: Vec<SocketAddr>,
    /// The OS user that PostgreSQL runs as.
    pub(super) owner: Option<String>,
    /// The OS user that Postern runs as, if it was named.
    pub(super) os_user: Option<&'a str>,
}

pub(super) fn examine(settings: &Settings, backend: &BackendSettings, said: &Said, here: &Here<'_>) -> Vec<Finding> {
    let superusers = superusers(said, here);
    let roles = roles(settings, backend, said, here, &superusers);
    let mut findings = others(settings, backend, here, &roles);
    findings.push(superuser(backend, here.os_user, &superusers));
    findings
}

/// Whom PostgreSQL lets in past Postern.
fn others(settings: &Settings, backend: &BackendSettings, here: &Here<'_>, roles: &[RoleName]) -> Vec<Finding> {
    const CHECK: &str = "backend.others";
    let is_root = os::effective_uid() == 0;
    let mut findings = Vec::new();
    if !is_root {
        let found = "what PostgreSQL says to other OS users of this machine could not be tried";
        findings.push(Finding::unknown(CHECK, found, "run it as root"));
    }
    let mut tries = Tries { backend, wishes: wishes(settings), let_in: Vec::new(), unclear: 0 };
    if is_root {
        roles.iter().for_each(|role| tries.try_in(Some(NOBODY), &backend.target, role, ""));
    }
    // By TCP nobody's OS user counts, so that any will do.
    for at in &here.listeners {
        roles.iter().for_each(|role| tries.try_in(None, &BackendTarget::Loopback(*at), role, ""));
    }
    // `peer` without a map lets in the OS user of a role's name, which is how the administrator comes.
    for role in roles.iter().filter(|role| is_root && matches!(backend.target, BackendTarget::Unix(_)) && !is_administrator(role, here)) {
        namesake(role).iter().for_each(|uid| tries.try_in(Some(*uid), &backend.target, role, " for the OS user of that name"));
    }
    let Tries { let_in, unclear, .. } = tries;
    if !let_in.is_empty() {
        let more = let_in.len().saturating_sub(MOST_LISTED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let listed: Vec<String> = let_in.into_iter().take(MOST_LISTED).collect();
        let found = format!("PostgreSQL lets in past Postern, without a password: {}{more}", listed.join(", "));
        let change = format!("pg_hba.conf: in place of trust, `local all all peer map=postern`, and no host line; {LOCKDOWN}");
        findings.push(Finding::fault(CHECK, found, change));
    } else if unclear > 0 {
        let found = format!("{unclear} tries to get in past Postern ended without an answer");
        findings.push(Finding::unknown(CHECK, found, "see PostgreSQL's log"));
    } else if is_root || !here.listeners.is_empty() {
        findings.push(Finding::good(CHECK, format!("nobody else gets in without a password as any of {} roles", roles.len())));
    }
    findings
}

/// What came of all tries.
struct Tries<'a> {
    backend: &'a BackendSettings,
    wishes: Vec<Wish>,
    let_in: Vec<String>,
    unclear: usize,
}

impl Tries<'_> {
    /// Asks for one thing after the other, up to the first that is had.
    fn try_in(&mut self, uid: Option<u32>, target: &BackendTarget, role: &RoleName, how: &str) {
        let mut unclear = false;
        for wish in &self.wishes {
            match attempt(uid, target, self.backend, role, wish) {
                Ok(Outcome::LetIn) => {
                    self.let_in.push(format!("{role} at {target}{wish}{how}"));
                    return;
                }
                Ok(Outcome::KeptOut) => {}
                Ok(Outcome::Unclear) | Err(_) => unclear = true,
            }
        }
        self.unclear = self.unclear.saturating_add(usize::from(unclear));
    }
}

/// The database that every cluster has, physical replication, and the databases that the rules name: a line of pg_hba.conf can be for one
/// of them alone.
fn wishes(settings: &Settings) -> Vec<Wish> {
    let named = settings.live.policy.rules().iter().flat_map(|rule| &rule.databases).filter_map(|pattern| match pattern {
        DatabasePattern::Name(name) => Some(name.clone()),
        DatabasePattern::All
        | DatabasePattern::SameUser
        | DatabasePattern::SameRole
        | DatabasePattern::Replication
        | DatabasePattern::Matching(_) => None,
    });
    let mut databases: Vec<DatabaseName> = Vec::new();
    for name in DatabaseName::exact(b"postgres").into_iter().chain(named) {
        if !databases.contains(&name) && databases.len() < MOST_DATABASES {
            databases.push(name);
        }
    }
    databases.into_iter().map(Wish::Database).chain([Wish::Replication]).collect()
}

/// The superusers: those that PostgreSQL names, and without a role to ask as those of the usual names.
fn superusers(said: &Said, here: &Here<'_>) -> Vec<RoleName> {
    if !said.superusers.is_empty() {
        return said.superusers.clone();
    }
    let owner = here.owner.as_deref().filter(|name| *name != "postgres").and_then(|name| RoleName::exact(name.as_bytes()));
    RoleName::exact(b"postgres").into_iter().chain(owner).collect()
}

/// The roles that are tried: superusers, the lookup role, those that rules and maps name, that of Postern's own OS user, and those that
/// PostgreSQL names.
fn roles(settings: &Settings, backend: &BackendSettings, said: &Said, here: &Here<'_>, superusers: &[RoleName]) -> Vec<RoleName> {
    let policy = &settings.live.policy;
    let ruled = policy.rules().iter().flat_map(|rule| &rule.users).filter_map(|pattern| match pattern {
        UserPattern::Name(role) => Some(role.clone()),
        UserPattern::All | UserPattern::Group(_) | UserPattern::Matching(_) => None,
    });
    let mapped = policy.maps().lines().iter().filter_map(|line| match &line.pg_user {
        PgUser::Name(role) => Some(role.clone()),
        PgUser::All | PgUser::Group(_) | PgUser::Matching(_) | PgUser::Template { .. } => None,
    });
    let own = here.os_user.and_then(|name| RoleName::exact(name.as_bytes()));
    let lookup = backend.lookup.as_ref().map(|lookup| lookup.role.clone());
    let all = superusers.iter().cloned().chain(lookup).chain(own).chain(ruled).chain(mapped).chain(said.roles.iter().cloned());
    let mut roles = Vec::new();
    for role in all {
        if roles.len() < MOST_ROLES && !roles.contains(&role) {
            roles.push(role);
        }
    }
    roles
}

fn is_administrator(role: &RoleName, here: &Here<'_>) -> bool {
    let own = |name: Option<&str>| name.is_some_and(|name| name.as_bytes() == role.as_bytes());
    role.as_bytes() == b"postgres" || own(here.owner.as_deref()) || own(here.os_user)
}

/// The OS user of a role's name.
fn namesake(role: &RoleName) -> Option<u32> {
    let name = std::str::from_utf8(role.as_bytes()).ok()?;
    os::uid_of(name).ok().flatten().filter(|uid| *uid != 0)
}

/// Whether PostgreSQL takes Postern's own OS user for a superuser.
fn superuser(backend: &BackendSettings, os_user: Option<&str>, superusers: &[RoleName]) -> Finding {
    const CHECK: &str = "backend.superuser";
    let me = os::effective_uid();
    let uid = match os_user {
        Some(name) => os::uid_of(name).ok().flatten(),
        None => Some(me).filter(|uid| *uid != 0),
    };
    let Some(uid) = uid else {
        return Finding::unknown(CHECK, "as which OS user Postern runs is not known here", "name it with --os-user");
    };
    let (mut taken, mut unclear) = (Vec::new(), false);
    for role in superusers {
        match attempt(Some(uid).filter(|uid| *uid != me), &backend.target, backend, role, &Wish::any()) {
            Ok(Outcome::LetIn) => taken.push(role.to_string()),
            Ok(Outcome::KeptOut) => {}
            Ok(Outcome::Unclear) | Err(_) => unclear = true,
        }
    }
    let names: Vec<String> = superusers.iter().map(ToString::to_string).collect();
    match (taken.is_empty(), unclear) {
        (false, _) => Finding::fault(
            CHECK,
            format!("PostgreSQL lets the OS user that Postern runs as in as the superuser {}", taken.join(", ")),
            format!("pg_ident.conf: a line for each role that comes through Postern, none for a superuser and none for all; {LOCKDOWN}"),
        ),
        (true, true) => Finding::unknown(CHECK, "it could not be tried as Postern's OS user", "run it as root"),
        (true, false) => Finding::good(CHECK, format!("PostgreSQL does not take Postern's OS user for a superuser ({})", names.join(", "))),
    }
}
