//! What a decision needs to know besides the rules and the request: of which roles the requested one is a member, and which
//! addresses are this machine's. Both are handed in as values, or as the fact that they are not known.

use std::collections::HashSet;
use std::sync::Arc;

use ipnet::IpNet;

use super::Cause;
use crate::types::RoleName;

/// What is known around a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surroundings {
    /// Whose member the requested role is.
    pub memberships: Memberships,
    /// This machine's own addresses.
    pub interfaces: Interfaces,
}

/// The roles that the requested role is a member of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Memberships {
    /// Directly or indirectly, itself included if it exists, and not by being a superuser (src/backend/libpq/hba.c, is_member).
    Known(Arc<HashSet<RoleName>>),
    /// They were not asked for, or cannot be known. The text is for the operator.
    Unknown(Box<str>),
}

/// The addresses of this machine's network interfaces, each with its network's mask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Interfaces {
    /// All of them.
    Known(Vec<IpNet>),
    /// They were not asked for, or cannot be known. The text is for the operator.
    Unknown(Box<str>),
}

impl Surroundings {
    /// Nothing was asked: enough for every request that no `+group`, `samerole`, `samehost` or `samenet` decides.
    pub fn unasked() -> Self {
        let unasked = || "they were not asked for".into();
        Self { memberships: Memberships::Unknown(unasked()), interfaces: Interfaces::Unknown(unasked()) }
    }
}

/// Whether something matches, as far as that can be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Matching {
    Yes,
    No,
    /// It depends on what is not known.
    Unknown(Unknown),
}

/// What a decision would need to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// [`Surroundings::memberships`].
    Memberships,
    /// [`Surroundings::interfaces`].
    Interfaces,
}

impl From<bool> for Matching {
    fn from(matches: bool) -> Self {
        if matches { Self::Yes } else { Self::No }
    }
}

impl Matching {
    /// Whether any of several matches: one that does settles it, one that is not known leaves it open.
    pub(super) fn any(several: impl Iterator<Item = Self>) -> Self {
        let mut outcome = Self::No;
        for one in several {
            match one {
                Self::Yes => return Self::Yes,
                Self::No => {}
                Self::Unknown(_) => outcome = one,
            }
        }
        outcome
    }
}

impl Surroundings {
    /// Whether the requested role is a member of `role`.
    pub(super) fn is_member_of(&self, role: &RoleName) -> Matching {
        match &self.memberships {
            Memberships::Known(roles) => roles.contains(role).into(),
            Memberships::Unknown(_) => Matching::Unknown(Unknown::Memberships),
        }
    }

    /// Whether any of this machine's interfaces is as `like` says.
    pub(super) fn has_interface(&self, like: impl Fn(&IpNet) -> bool) -> Matching {
        match &self.interfaces {
            Interfaces::Known(interfaces) => interfaces.iter().any(like).into(),
            Interfaces::Unknown(_) => Matching::Unknown(Unknown::Interfaces),
        }
    }

    /// The refusal for want of `what`.
    pub(super) fn cause(&self, what: Unknown) -> Cause {
        let known = || "they are known".into();
        match what {
            Unknown::Memberships => Cause::MembershipsUnknown(match &self.memberships {
                Memberships::Unknown(why) => why.clone(),
                Memberships::Known(_) => known(),
            }),
            Unknown::Interfaces => Cause::InterfacesUnknown(match &self.interfaces {
                Interfaces::Unknown(why) => why.clone(),
                Interfaces::Known(_) => known(),
            }),
        }
    }
}
