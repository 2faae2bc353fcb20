//! May this client have this session? A pure function of the rules, the request and the identity: no clock, no file, no counter.
//!
//! Deny by default. The order of complaints is PostgreSQL's (src/backend/libpq/auth.c, ClientAuthentication): the rule first,
//! then whether there is a certificate, then whether its name is the role.

mod grant;
mod rule;

pub use grant::{Cause, Denial, Grant};
pub use rule::{AddressPattern, Bounds, DatabasePattern, Method, Rule, UserPattern};

use crate::identity::ClientIdentity;
use crate::types::{DatabaseName, PeerAddress, RoleName};

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

/// The rules, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    rules: Vec<Rule>,
}

impl Policy {
    /// A policy of these rules; without any, it refuses everybody.
    pub fn new(rules: Vec<Rule>) -> Self {
        Self { rules }
    }

    /// The rules, in order.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Decides. `identity` is `None` where the client sent no certificate; a grant comes with the identity it was given to.
    ///
    /// # Errors
    /// The cause, and the rule that decided; the client is told what PostgreSQL would tell it.
    pub fn authorize(&self, identity: Option<ClientIdentity>, request: &Request) -> Result<(Grant, ClientIdentity), Denial> {
        let Some(rule) = self.rules.iter().find(|rule| rule.matches(request)) else {
            return Err(Denial::new(Cause::NoMatch, None));
        };
        let denied = |cause| Denial::new(cause, Some(rule.source.clone()));
        match (rule.method, identity) {
            (Method::Reject, _) => Err(denied(Cause::Rejected)),
            (Method::Cert, None) => Err(denied(Cause::NoCertificate)),
            (Method::Cert, Some(identity)) => {
                let name = identity.common_name().map_err(|fault| denied(Cause::UnusableName(fault.to_string())))?;
                if name.as_bytes() == request.user.as_bytes() {
                    Ok((Grant::new(request.user.clone(), rule), identity))
                } else {
                    Err(denied(Cause::NameDiffers))
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
