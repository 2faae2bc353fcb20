//! May this client have this session? A pure function of the rules, the request and the identity: no clock, no file, no counter.
//!
//! Deny by default. The order of complaints is PostgreSQL's (src/backend/libpq/auth.c, ClientAuthentication): the rule first,
//! then whether there is a certificate, then whether its name may be the role. What a decision depends on and nobody knows refuses.

mod grant;
mod index;
mod map;
mod pattern;
mod review;
mod rule;
mod surroundings;
mod witness;

pub use grant::{Cause, Denial, Grant};
pub use map::{IdentityMaps, LineMatch, MapLine, MapName, PgUser, SystemUser};
pub use pattern::{Pattern, PatternFault};
pub use rule::{AddressPattern, Bounds, Column, DatabasePattern, Method, Rule, RuleMatch, UserName, UserPattern};
pub use surroundings::{Interfaces, Memberships, Surroundings, Unknown};
pub use witness::{Trace, Witness};

use index::RuleIndex;
use map::Mapped;

use crate::identity::ClientIdentity;
use crate::types::{DatabaseName, PeerAddress, RoleName, SettingName};

/// What a StartupMessage asks for, and from where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The role the client asks for.
    pub user: RoleName,
    /// The database it asks for; as PostgreSQL, the role's name where it names none.
    pub database: DatabaseName,
    /// Whether it asks for a walsender.
    pub replication: Replication,
    /// The client's address.
    pub address: PeerAddress,
    /// The settings that it gives, in parameters of their own or inside `options`.
    pub settings: Vec<SettingName>,
}

/// The `replication` startup parameter (protocol, "Streaming Replication Protocol").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replication {
    /// An ordinary session.
    None,
    /// A walsender that is bound to no database: only a `replication` rule admits it.
    Physical,
    /// `replication=database`: a walsender that the rules of its database admit.
    Logical,
}

/// The rules, in order, and the maps that they name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    rules: Vec<Rule>,
    maps: IdentityMaps,
    index: RuleIndex,
    /// Whether any decision can depend on the surroundings.
    looks_around: bool,
}

/// What the policy says of a request: a grant with the identity it was given to, or the cause and the rule that decided.
pub type Decision = Result<(Grant, ClientIdentity), Denial>;

impl Policy {
    /// A policy of these rules; without any, it refuses everybody.
    pub fn new(rules: Vec<Rule>, maps: IdentityMaps) -> Self {
        let looks_around = rules.iter().any(Rule::looks_around) || maps.look_around();
        let index = RuleIndex::new(&rules);
        Self { rules, maps, index, looks_around }
    }

    /// The rules, in order.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The maps.
    pub fn maps(&self) -> &IdentityMaps {
        &self.maps
    }

    /// Decides. `identity` is `None` where the client sent no certificate.
    ///
    /// # Errors
    /// The cause, and the rule that decided; the client is told what PostgreSQL would tell it.
    pub fn authorize(&self, identity: Option<ClientIdentity>, request: &Request, surroundings: &Surroundings) -> Decision {
        self.decide(identity, request, surroundings, &mut ())
    }

    /// Decides in the same way, and tells what was consulted.
    pub fn trace(&self, identity: Option<ClientIdentity>, request: &Request, surroundings: &Surroundings) -> (Decision, Trace) {
        let mut trace = Trace::default();
        let decision = self.decide(identity, request, surroundings, &mut trace);
        (decision, trace)
    }

    /// What the decision on this request depends on and `surroundings` does not know, if anything: who asks for it decides again.
    pub fn needs(&self, identity: Option<&ClientIdentity>, request: &Request, surroundings: &Surroundings) -> Option<Unknown> {
        if !self.looks_around {
            return None;
        }
        match self.authorize(identity.cloned(), request, surroundings) {
            Ok(_) => None,
            Err(denial) => match denial.cause() {
                Cause::MembershipsUnknown(_) => Some(Unknown::Memberships),
                Cause::InterfacesUnknown(_) => Some(Unknown::Interfaces),
                Cause::NoMatch
                | Cause::Rejected
                | Cause::Unsupported
                | Cause::NoCertificate
                | Cause::UnusableName(_)
                | Cause::NameDiffers(_)
                | Cause::NotMapped { .. }
                | Cause::AmbiguouslyMapped { .. }
                | Cause::NoCapture { .. }
                | Cause::Parameter(_) => None,
            },
        }
    }

    fn decide<W: Witness>(
        &self,
        identity: Option<ClientIdentity>,
        request: &Request,
        surroundings: &Surroundings,
        witness: &mut W,
    ) -> Decision {
        let mut rules = self.rules.iter();
        let mut candidates = self.index.candidates(request);
        while let Some(rule) = if W::THOROUGH { rules.next() } else { candidates.next().and_then(|number| self.rules.get(number)) } {
            let outcome = rule.matches(request, surroundings);
            witness.rule(rule, outcome);
            match outcome {
                RuleMatch::Differs(_) => {}
                RuleMatch::Matches => return self.apply(rule, identity, request, surroundings, witness),
                // Whatever it is, who has no certificate is not let in: the backend is not asked about such.
                RuleMatch::Unknown(_, Unknown::Memberships) if identity.is_none() => {
                    return Err(Denial::new(Cause::NoCertificate, Some(rule)));
                }
                RuleMatch::Unknown(_, what) => return Err(Denial::new(surroundings.cause(what), Some(rule))),
            }
        }
        Err(Denial::new(Cause::NoMatch, None))
    }

    /// What the rule that matched says.
    fn apply(
        &self,
        rule: &Rule,
        identity: Option<ClientIdentity>,
        request: &Request,
        surroundings: &Surroundings,
        witness: &mut impl Witness,
    ) -> Decision {
        let denied = |cause| Err(Denial::new(cause, Some(rule)));
        if rule.clientcert && identity.is_none() {
            return denied(Cause::NoCertificate);
        }
        match rule.method {
            Method::Reject => return denied(Cause::Rejected),
            Method::Unsupported(_) => return denied(Cause::Unsupported),
            Method::Cert | Method::TrustWithCertificate | Method::ScramWithCertificate => {}
        }
        let Some(identity) = identity else { return denied(Cause::NoCertificate) };
        let (role, line) = match self.role(rule, &identity, request, surroundings, witness) {
            Ok(admitted) => admitted,
            Err(cause) => return denied(cause),
        };
        if let Some(setting) = request.settings.iter().find(|setting| rule.denied_parameters.contains(setting)) {
            return denied(Cause::Parameter(setting.clone()));
        }
        Ok((Grant::new(role, rule, line), identity))
    }

    /// The role that the rule admits `identity` as, and the map line by which it does.
    fn role<'a>(
        &'a self,
        rule: &'a Rule,
        identity: &ClientIdentity,
        request: &Request,
        surroundings: &Surroundings,
        witness: &mut impl Witness,
    ) -> Result<(RoleName, Option<&'a MapLine>), Cause> {
        let name = identity.name(rule.clientname).map_err(Cause::UnusableName)?;
        let Some(map) = &rule.map else {
            let same = name.as_bytes() == request.user.as_bytes();
            return if same { Ok((request.user.clone(), None)) } else { Err(Cause::NameDiffers(name.into())) };
        };
        let mapped = match rule.user_name {
            UserName::Requested => self.maps.admit(map, name, &request.user, surroundings, witness),
            UserName::Mapped => self.maps.assign(map, name, witness),
        };
        match mapped {
            Mapped::As(role, line) => Ok((role, Some(line))),
            Mapped::Nobody => Err(Cause::NotMapped { map: map.clone(), name: name.into() }),
            Mapped::Ambiguous => Err(Cause::AmbiguouslyMapped { map: map.clone(), name: name.into() }),
            Mapped::NoCapture(line) => Err(Cause::NoCapture { map: map.clone(), line: line.source.clone() }),
            Mapped::Unknown(what) => Err(surroundings.cause(what)),
        }
    }
}

#[cfg(test)]
mod tests;
