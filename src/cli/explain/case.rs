//! One login that did not take place: what it is judged by, and what was found.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use serde::Serialize;

use super::groups::{Groups, GroupsFacts};

use crate::error::SessionError;
use crate::identity::{Certificate, ClientIdentity, ClientName};
use crate::os;
use crate::policy::{Column, Decision, Interfaces, LineMatch, Policy, Replication, Request, RuleMatch, Surroundings, Unknown};
use crate::snapshot::Snapshot;
use crate::tls::{self, Refusal};
use crate::types::{DatabaseName, PeerAddress, RoleName, utc};

/// What logins are judged by, at one moment.
pub(super) struct Court {
    snapshot: Snapshot,
    interfaces: Interfaces,
    groups: Groups,
    now: i64,
}

/// What a client would ask for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Case<'a> {
    pub(super) file: &'a Path,
    pub(super) user: &'a str,
    pub(super) database: &'a str,
    pub(super) address: IpAddr,
    pub(super) replication: bool,
}

/// All that was found.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Explanation {
    pub(super) v: u32,
    pub(super) certificate: CertificateFacts,
    pub(super) chain: Chain,
    /// The names that a rule could compare; a kind that the certificate has no usable name of says why.
    pub(super) names: Vec<NameFacts>,
    pub(super) request: RequestFacts,
    /// Of which roles the requested one is a member; none where the decision does not depend on it.
    pub(super) memberships: Option<GroupsFacts>,
    /// Each rule that was looked at, up to the one that decided.
    pub(super) rules: Vec<RuleFacts>,
    /// Each line of that rule's map that was looked at.
    pub(super) map_lines: Vec<LineFacts>,
    pub(super) outcome: Outcome,
}

/// What the file's first certificate says of itself.
#[derive(Clone, Debug, Serialize)]
pub(super) struct CertificateFacts {
    pub(super) file: String,
    pub(super) subject: String,
    pub(super) issuer: String,
    pub(super) serial: String,
    pub(super) sha256: String,
    pub(super) not_before: Option<String>,
    pub(super) not_after: Option<String>,
}

/// Whether the handshake would take it.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Chain {
    pub(super) good: bool,
    pub(super) alert: Option<&'static str>,
    pub(super) detail: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct NameFacts {
    pub(super) clientname: &'static str,
    pub(super) name: Option<String>,
    pub(super) fault: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct RequestFacts {
    pub(super) user: String,
    pub(super) database: Option<String>,
    pub(super) address: IpAddr,
    pub(super) replication: bool,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct RuleFacts {
    pub(super) rule: String,
    /// `matches`, `differs` or `unknown`.
    pub(super) outcome: &'static str,
    /// The column that differs, or that depends on what is not known.
    pub(super) column: Option<&'static str>,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct LineFacts {
    pub(super) line: String,
    /// `admits`, `system_user_differs`, `pg_user_differs` or `unknown`.
    pub(super) outcome: &'static str,
    pub(super) role: Option<String>,
}

/// What would become of it.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Outcome {
    pub(super) admitted: bool,
    pub(super) role: Option<String>,
    pub(super) rule: Option<String>,
    pub(super) map: Option<String>,
    /// The reason code of log, audit and metric.
    pub(super) reason: Option<&'static str>,
    pub(super) sqlstate: Option<&'static str>,
    /// What the client reads; none where it has an alert, or nothing but the end.
    pub(super) message: Option<String>,
    /// What the operator reads.
    pub(super) detail: Option<String>,
}

impl Court {
    /// # Errors
    /// A name in `member_of` that no role can have.
    pub(super) fn new(snapshot: Snapshot, member_of: &[String], now: i64) -> Result<Self, String> {
        let groups = Groups::new(snapshot.terms(), member_of)?;
        let interfaces = match os::interfaces() {
            Ok(interfaces) => Interfaces::Known(interfaces),
            Err(error) => Interfaces::Unknown(error.to_string().into()),
        };
        Ok(Self { snapshot, interfaces, groups, now })
    }

    pub(super) fn policy(&self) -> &Policy {
        self.snapshot.terms().policy()
    }

    /// Judges a login as the daemon would; limits are not looked at.
    ///
    /// # Errors
    /// The file has no certificate that can be read, or a name is none.
    pub(super) fn judge(&self, case: &Case<'_>) -> Result<Explanation, String> {
        let (certificate, verdict) = self.examine(case.file)?;
        self.explain(case, certificate, &verdict)
    }

    /// What a file's certificate says, and what a handshake would make of it.
    pub(super) fn examine(&self, file: &Path) -> Result<(CertificateFacts, Result<ClientIdentity, Refusal>), String> {
        let read = tls::read_certificates(file, "--cert").map_err(|faults| {
            let lines: Vec<String> = faults.iter().map(|fault| format!("{}: {}", fault.file.display(), fault.what)).collect();
            lines.join("\npostern: ")
        })?;
        let Some((leaf, sent)) = read.split_first() else { return Err(format!("{}: it has no certificate", file.display())) };
        let certificate = Certificate::parse(leaf).map_err(|error| format!("{}: {error}", file.display()))?;
        let facts = CertificateFacts {
            file: file.display().to_string(),
            subject: certificate.subject().rfc2253(),
            issuer: certificate.issuer().rfc2253(),
            serial: certificate.serial_hex(),
            sha256: certificate.sha256().to_string(),
            not_before: utc(certificate.not_before()),
            not_after: utc(certificate.not_after()),
        };
        Ok((facts, self.snapshot.tls().verify(leaf, sent, self.now)))
    }

    pub(super) fn explain(
        &self,
        case: &Case<'_>,
        certificate: CertificateFacts,
        verdict: &Result<ClientIdentity, Refusal>,
    ) -> Result<Explanation, String> {
        let request = case.request()?;
        let mut explanation = Explanation {
            v: 1,
            certificate,
            chain: Chain { good: true, alert: None, detail: None },
            names: Vec::new(),
            request: RequestFacts {
                user: case.user.to_owned(),
                database: (!case.replication).then(|| case.database.to_owned()),
                address: case.address,
                replication: case.replication,
            },
            memberships: None,
            rules: Vec::new(),
            map_lines: Vec::new(),
            outcome: Outcome::default(),
        };
        match verdict {
            Err(refusal) => {
                let detail = refusal.cause.to_string();
                explanation.chain = Chain { good: false, alert: Some(refusal.alert.name()), detail: Some(detail) };
                explanation.outcome = refused(&SessionError::Tls(refusal.cause.clone()), None);
            }
            Ok(identity) => {
                explanation.names = names(identity);
                if identity.contains_nul() {
                    explanation.outcome = refused(&SessionError::SubjectHasNul(identity.subject().to_owned()), None);
                } else {
                    let (surroundings, asked) = self.surroundings(identity, &request);
                    let (decision, trace) = self.policy().trace(Some(identity.clone()), &request, &surroundings);
                    explanation.memberships = asked;
                    explanation.rules = trace.rules.iter().map(rule_facts).collect();
                    explanation.map_lines = trace.map_lines.iter().map(line_facts).collect();
                    explanation.outcome = outcome(decision, request);
                }
            }
        }
        Ok(explanation)
    }

    /// What is known around a request; memberships are asked for where the decision depends on them, as at a login.
    fn surroundings(&self, identity: &ClientIdentity, request: &Request) -> (Surroundings, Option<GroupsFacts>) {
        let Surroundings { memberships, .. } = Surroundings::unasked();
        let mut surroundings = Surroundings { memberships, interfaces: self.interfaces.clone() };
        if self.policy().needs(Some(identity), request, &surroundings) != Some(Unknown::Memberships) {
            return (surroundings, None);
        }
        let (memberships, facts) = self.groups.of(&request.user);
        surroundings.memberships = memberships;
        (surroundings, Some(facts))
    }
}

impl Case<'_> {
    /// What the rules are asked: names are cut to 63 bytes, as at a login.
    fn request(&self) -> Result<Request, String> {
        let no_name = |option: &str, name: &str| format!("{option}: {name:?} is no name that PostgreSQL could have");
        Ok(Request {
            user: RoleName::truncated(self.user.as_bytes()).ok_or_else(|| no_name("--user", self.user))?,
            database: DatabaseName::truncated(self.database.as_bytes()).ok_or_else(|| no_name("--database", self.database))?,
            replication: if self.replication { Replication::Physical } else { Replication::None },
            address: PeerAddress::new(SocketAddr::new(self.address, 0)),
            settings: Vec::new(),
        })
    }
}

fn names(identity: &ClientIdentity) -> Vec<NameFacts> {
    let facts = |clientname: ClientName| match identity.name(clientname) {
        Ok(name) => NameFacts { clientname: clientname.word(), name: Some(name.to_owned()), fault: None },
        Err(unusable) => NameFacts { clientname: clientname.word(), name: None, fault: Some(unusable.to_string()) },
    };
    ClientName::ALL.into_iter().map(facts).collect()
}

fn rule_facts((rule, outcome): &(Box<str>, RuleMatch)) -> RuleFacts {
    let (outcome, column) = match outcome {
        RuleMatch::Matches => ("matches", None),
        RuleMatch::Differs(column) => ("differs", Some(*column)),
        RuleMatch::Unknown(column, _) => ("unknown", Some(*column)),
    };
    let column = column.map(|column| match column {
        Column::Address => "address",
        Column::Database => "database",
        Column::User => "user",
    });
    RuleFacts { rule: rule.to_string(), outcome, column }
}

fn line_facts((line, outcome): &(Box<str>, LineMatch)) -> LineFacts {
    let (outcome, role) = match outcome {
        LineMatch::Admits(role) => ("admits", Some(role.to_string())),
        LineMatch::SystemUserDiffers => ("system_user_differs", None),
        LineMatch::PgUserDiffers => ("pg_user_differs", None),
        LineMatch::NoCapture => ("no_capture", None),
        LineMatch::Unknown => ("unknown", None),
    };
    LineFacts { line: line.to_string(), outcome, role }
}

fn outcome(decision: Decision, request: Request) -> Outcome {
    match decision {
        Ok((grant, _)) => Outcome {
            admitted: true,
            role: Some(grant.role().to_string()),
            rule: Some(grant.rule().to_owned()),
            map: grant.map().map(str::to_owned),
            ..Outcome::default()
        },
        Err(denial) => {
            let rule = denial.rule().map(str::to_owned);
            refused(&SessionError::Denied(denial, Box::new(request)), rule)
        }
    }
}

fn refused(error: &SessionError, rule: Option<String>) -> Outcome {
    let response = error.response();
    Outcome {
        rule,
        reason: Some(error.reason().code()),
        sqlstate: response.as_ref().map(|response| response.sqlstate.code()),
        message: response.map(|response| String::from_utf8_lossy(&response.message).into_owned()),
        detail: Some(error.to_string()),
        ..Outcome::default()
    }
}
