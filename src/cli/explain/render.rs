//! An explanation for people: what was looked at, in the order in which a login would be judged.

use super::super::table::table;
use super::case::{Explanation, LineFacts, Outcome, RuleFacts};
use super::groups::GroupsFacts;

/// The explanation as text, with a newline at its end.
pub(super) fn text(explanation: &Explanation) -> String {
    let Explanation { certificate, chain, names, request, memberships, rules, map_lines, outcome, .. } = explanation;
    let mut rows = Vec::new();
    let mut section = |title: &str, lines: Vec<String>| {
        let titles = std::iter::once(title).chain(std::iter::repeat(""));
        rows.extend(titles.zip(lines).map(|(title, line)| vec![title.to_owned(), line]));
    };
    let unknown = || "?".to_owned();
    section(
        "certificate",
        vec![
            format!("{} ({})", certificate.subject, certificate.file),
            format!("serial {}, issued by {}", certificate.serial, certificate.issuer),
            format!(
                "valid from {} to {}",
                certificate.not_before.clone().unwrap_or_else(unknown),
                certificate.not_after.clone().unwrap_or_else(unknown)
            ),
        ],
    );
    section("chain", vec![chain.detail.clone().unwrap_or_else(|| "good, up to a trust anchor of tls.ssl_ca_file".to_owned())]);
    let usable = names.iter().filter_map(|facts| Some(format!("{} {}", facts.clientname, facts.name.as_ref()?)));
    section("names", usable.collect());
    let what = request.database.as_ref().map_or_else(|| "physical replication".to_owned(), |database| format!("database {database}"));
    section("request", vec![format!("user {}, {what}, from {}", request.user, request.address)]);
    section("memberships", memberships.iter().map(membership).collect());
    section("rules", rules.iter().map(rule).collect());
    section("map", map_lines.iter().map(map_line).collect());
    section("outcome", outcome_lines(outcome));
    section("client reads", client_lines(explanation));
    table(&[], rows) + "\n"
}

fn membership(facts: &GroupsFacts) -> String {
    let GroupsFacts { source, roles, fault } = facts;
    let by = source.map(|source| format!(", by {source}")).unwrap_or_default();
    match (roles, fault) {
        (Some(roles), _) if roles.is_empty() => format!("none: there is no such role{by}"),
        (Some(roles), _) => format!("{}{by}", roles.iter().map(String::as_str).collect::<Vec<_>>().join(", ")),
        (None, fault) => format!("not known: {}", fault.as_deref().unwrap_or_default()),
    }
}

fn rule(facts: &RuleFacts) -> String {
    let RuleFacts { rule, outcome, column } = facts;
    match column {
        Some(column) if *outcome == "differs" => format!("{rule}: the {column} differs"),
        Some(column) => format!("{rule}: whether the {column} matches is not known"),
        None => format!("{rule}: matches, and decides"),
    }
}

fn map_line(facts: &LineFacts) -> String {
    let LineFacts { line, outcome, role } = facts;
    match (role, *outcome) {
        (Some(role), _) => format!("{line}: admits, as {role}"),
        (None, "system_user_differs") => format!("{line}: the certificate's name differs"),
        (None, "pg_user_differs") => format!("{line}: the role differs"),
        (None, _) => format!("{line}: whether the role matches is not known"),
    }
}

fn outcome_lines(outcome: &Outcome) -> Vec<String> {
    let by = |what: &str, source: &Option<String>| source.as_ref().map(|source| format!(", by {what} {source}")).unwrap_or_default();
    match (&outcome.role, outcome.reason) {
        (Some(role), _) => vec![format!("let in as {role}{}{}", by("rule", &outcome.rule), by("map line", &outcome.map))],
        (None, reason) => {
            let refused = format!("refused, reason {}", reason.unwrap_or_default());
            std::iter::once(refused).chain(outcome.detail.clone()).collect()
        }
    }
}

fn client_lines(explanation: &Explanation) -> Vec<String> {
    let Outcome { admitted, message, sqlstate, .. } = &explanation.outcome;
    match (message, explanation.chain.alert) {
        _ if *admitted => Vec::new(),
        (Some(message), _) => vec![format!("FATAL:  {message} (SQLSTATE {})", sqlstate.unwrap_or_default())],
        (None, Some(alert)) => vec![format!("TLS alert {alert}")],
        (None, None) => vec!["nothing: the connection is closed".to_owned()],
    }
}
