//! Who may be what and where: every certificate of a folder, as every role and in every database that anything names.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::super::table::{Align, table};
use super::case::{Case, CertificateFacts, Court};
use crate::error::Reason;
use crate::identity::{ClientIdentity, ClientName};
use crate::policy::{DatabasePattern, PgUser, UserPattern};
use crate::tls::Refusal;

/// The database that is asked for where rules name none.
const ANY_DATABASE: &str = "postgres";

/// More certificates than this are no folder of somebody's own.
const MOST_CERTIFICATES: usize = 10_000;

/// One certificate as one role in one database, or why it is nobody anywhere.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Row {
    file: String,
    subject: String,
    role: Option<String>,
    /// `replication` in brackets is physical replication.
    database: Option<String>,
    admitted: bool,
    rule: Option<String>,
    map: Option<String>,
    reason: Option<&'static str>,
    /// What the operator reads of a refusal.
    detail: Option<String>,
}

/// # Errors
/// The folder cannot be read, or holds no certificate.
pub(super) fn of(court: &Court, folder: &Path, address: IpAddr) -> Result<Vec<Row>, String> {
    let mut rows = Vec::new();
    for file in files(folder)? {
        // What is no certificate stands beside them: keys, CRLs.
        let Ok((facts, verdict)) = court.examine(&file) else { continue };
        rows.extend(rows_of(court, &file, &facts, &verdict, address)?);
    }
    if rows.is_empty() { Err(format!("{}: it holds no certificate", folder.display())) } else { Ok(rows) }
}

fn files(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let shown = |error: std::io::Error| format!("{}: {error}", folder.display());
    let entries = std::fs::read_dir(folder).map_err(shown)?.take(MOST_CERTIFICATES);
    let mut files = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>().map_err(shown)?;
    files.retain(|file| file.is_file());
    files.sort();
    Ok(files)
}

fn rows_of(
    court: &Court,
    file: &Path,
    facts: &CertificateFacts,
    verdict: &Result<ClientIdentity, Refusal>,
    address: IpAddr,
) -> Result<Vec<Row>, String> {
    let row = |role: Option<String>, database: Option<String>| Row {
        file: facts.file.clone(),
        subject: facts.subject.clone(),
        role,
        database,
        admitted: false,
        rule: None,
        map: None,
        reason: None,
        detail: None,
    };
    let identity = match verdict {
        Ok(identity) => identity,
        Err(refusal) => {
            let (reason, detail) = (Some(refusal.cause.reason().code()), Some(refusal.cause.to_string()));
            return Ok(vec![Row { reason, detail, ..row(None, None) }]);
        }
    };
    let mut rows = Vec::new();
    for role in roles(court, identity) {
        for (database, replication) in databases(court) {
            let case = Case { file, user: &role, database: &database, address, replication };
            let outcome = court.explain(&case, facts.clone(), verdict)?.outcome;
            let shown = if replication { "[replication]".to_owned() } else { database };
            rows.push(Row {
                admitted: outcome.admitted,
                rule: outcome.rule,
                map: outcome.map,
                reason: outcome.reason,
                detail: outcome.detail,
                ..row(Some(outcome.role.unwrap_or_else(|| role.clone())), Some(shown))
            });
        }
    }
    Ok(rows)
}

/// The roles that the certificate, a rule or a map names.
fn roles(court: &Court, identity: &ClientIdentity) -> BTreeSet<String> {
    let policy = court.policy();
    let own = ClientName::ALL.into_iter().filter_map(|kind| identity.name(kind).ok()).map(str::to_owned);
    let ruled = policy.rules().iter().flat_map(|rule| &rule.users).filter_map(|pattern| match pattern {
        UserPattern::Name(role) => Some(role.to_string()),
        UserPattern::All | UserPattern::Group(_) | UserPattern::Matching(_) => None,
    });
    let mapped = policy.maps().lines().iter().filter_map(|line| match &line.pg_user {
        PgUser::Name(role) => Some(role.to_string()),
        PgUser::All | PgUser::Group(_) | PgUser::Matching(_) | PgUser::Template { .. } => None,
    });
    own.chain(ruled).chain(mapped).collect()
}

/// The databases that a rule names, and physical replication where one does.
fn databases(court: &Court) -> BTreeSet<(String, bool)> {
    let patterns = court.policy().rules().iter().flat_map(|rule| &rule.databases);
    let named = patterns.filter_map(|pattern| match pattern {
        DatabasePattern::Name(name) => Some((name.to_string(), false)),
        DatabasePattern::Replication => Some((ANY_DATABASE.to_owned(), true)),
        DatabasePattern::All | DatabasePattern::SameUser | DatabasePattern::SameRole | DatabasePattern::Matching(_) => None,
    });
    named.chain([(ANY_DATABASE.to_owned(), false)]).collect()
}

/// What could not be decided, because nobody could be asked about memberships.
pub(super) fn undecided(rows: &[Row]) -> BTreeSet<&str> {
    let open = rows.iter().filter(|row| row.reason == Some(Reason::BackendUnreachable.code()));
    open.filter_map(|row| row.detail.as_deref()).collect()
}

/// Those who come in, below them the certificates that nobody comes in with, and what is not known.
pub(super) fn text(rows: &[Row]) -> String {
    let cells = |row: &Row| {
        let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        vec![row.subject.clone(), or_dash(&row.role), or_dash(&row.database), or_dash(&row.rule), or_dash(&row.map), row.file.clone()]
    };
    let header = ["CERTIFICATE", "ROLE", "DATABASE", "RULE", "MAP", "FILE"].map(|title| (title, Align::Left));
    let admitted: BTreeSet<&str> = rows.iter().filter(|row| row.admitted).map(|row| row.file.as_str()).collect();
    let mut shown = table(&header, rows.iter().filter(|row| row.admitted).map(cells).collect()) + "\n";
    let mut told = BTreeSet::new();
    for row in rows.iter().filter(|row| !admitted.contains(row.file.as_str())) {
        if told.insert(&row.file) {
            let reasons: BTreeSet<&str> = rows.iter().filter(|other| other.file == row.file).filter_map(|other| other.reason).collect();
            let reasons: Vec<&str> = reasons.into_iter().collect();
            shown.push_str(&format!("nowhere: {} ({}): {}\n", row.subject, row.file, reasons.join(", ")));
        }
    }
    undecided(rows).into_iter().for_each(|why| shown.push_str(&format!("not known: {why}\n")));
    shown
}
