//! The two answers of the policy. A `Grant` is permission as a value: only `Policy::authorize` makes one, and connecting to the
//! backend spends it.

use super::map::{MapLine, MapName};
use super::{Bounds, Method, Rule};
use crate::identity::{ClientName, UnusableName};
use crate::types::{RoleName, SettingName};

/// Proof that a rule admits the client as `role`.
#[derive(Debug)]
#[must_use]
pub struct Grant {
    role: RoleName,
    rule: Box<str>,
    map: Option<Box<str>>,
    clientname: ClientName,
    method: Method,
    bounds: Bounds,
}

impl Grant {
    pub(super) fn new(role: RoleName, rule: &Rule, line: Option<&MapLine>) -> Self {
        Self {
            role,
            rule: rule.source.clone(),
            map: line.map(|line| line.source.clone()),
            clientname: rule.clientname,
            method: rule.method,
            bounds: rule.bounds,
        }
    }

    /// The role the session will be, and the one name that is sent to the backend.
    pub fn role(&self) -> &RoleName {
        &self.role
    }

    /// What the rule holds the session to.
    pub fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// The rule that admitted it, as the operator knows it.
    pub fn rule(&self) -> &str {
        &self.rule
    }

    /// The map line that admitted it, as the operator knows it; none where the rule has no map.
    pub fn map(&self) -> Option<&str> {
        self.map.as_deref()
    }

    /// Which name of the certificate it was admitted by.
    pub fn clientname(&self) -> ClientName {
        self.clientname
    }

    /// What the rule asks for: of the methods only those that admit.
    pub fn method(&self) -> Method {
        self.method
    }
}

/// A refusal: why, and by which rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    cause: Box<Cause>,
    /// Its source and its method.
    rule: Option<Box<(Box<str>, Method)>>,
}

/// Why the policy refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// No rule matches.
    NoMatch,
    /// The rule says `reject`.
    Rejected,
    /// The rule's method asks for no certificate, and nobody comes in without one.
    Unsupported,
    /// The rule asks for a certificate and the client sent none.
    NoCertificate,
    /// The certificate has no name that the rule could use.
    UnusableName(UnusableName),
    /// The certificate's name, which is this one, is not the requested role.
    NameDiffers(Box<str>),
    /// No line of the rule's map admits the certificate's name as the requested role.
    NotMapped {
        /// The map.
        map: MapName,
        /// The certificate's name.
        name: Box<str>,
    },
    /// The rule's map yields more than one role for the certificate's name, and the rule takes the role from the map.
    AmbiguouslyMapped {
        /// The map.
        map: MapName,
        /// The certificate's name.
        name: Box<str>,
    },
    /// A line of the rule's map asks for `\1`, and its regular expression has no group.
    NoCapture {
        /// The map.
        map: MapName,
        /// The line, as the operator knows it.
        line: Box<str>,
    },
    /// The client gives a setting at startup that the rule denies.
    Parameter(SettingName),
    /// The decision depends on role memberships that are not known. The text is for the operator.
    MembershipsUnknown(Box<str>),
    /// The decision depends on this machine's addresses, which are not known. The text is for the operator.
    InterfacesUnknown(Box<str>),
}

impl Denial {
    pub(super) fn new(cause: Cause, rule: Option<&Rule>) -> Self {
        Self { cause: Box::new(cause), rule: rule.map(|rule| Box::new((rule.source.clone(), rule.method))) }
    }

    /// Why.
    pub const fn cause(&self) -> &Cause {
        &self.cause
    }

    /// The rule that decided; none where no rule matched.
    pub fn rule(&self) -> Option<&str> {
        self.rule.as_ref().map(|rule| &*rule.0)
    }

    /// What that rule asks for.
    pub fn method(&self) -> Option<Method> {
        self.rule.as_ref().map(|rule| rule.1)
    }
}
