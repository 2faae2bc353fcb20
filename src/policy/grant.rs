//! The two answers of the policy. A `Grant` is permission as a value: only `Policy::authorize` makes one, and connecting to the
//! backend spends it.

use super::{Bounds, Rule};
use crate::types::RoleName;

/// Proof that a rule admits the client as `role`.
#[derive(Debug)]
#[must_use]
pub struct Grant {
    role: RoleName,
    rule: Box<str>,
    bounds: Bounds,
}

impl Grant {
    pub(super) fn new(role: RoleName, rule: &Rule) -> Self {
        Self { role, rule: rule.source.clone(), bounds: rule.bounds }
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
}

/// A refusal: why, and by which rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    cause: Cause,
    rule: Option<Box<str>>,
}

/// Why the policy refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// No rule matches.
    NoMatch,
    /// The rule says `reject`.
    Rejected,
    /// The rule asks for a certificate and the client sent none.
    NoCertificate,
    /// The certificate has no name that the rule could use; the text is for the operator.
    UnusableName(String),
    /// The certificate's name is not the requested role.
    NameDiffers,
}

impl Denial {
    pub(super) fn new(cause: Cause, rule: Option<Box<str>>) -> Self {
        Self { cause, rule }
    }

    /// Why.
    pub const fn cause(&self) -> &Cause {
        &self.cause
    }

    /// The rule that decided; none where no rule matched.
    pub fn rule(&self) -> Option<&str> {
        self.rule.as_deref()
    }
}
