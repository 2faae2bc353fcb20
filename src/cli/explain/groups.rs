//! Of which roles the requested one is a member: what the caller says, or what the backend says, asked as at a login.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use serde::Serialize;
use tokio::runtime::{Builder, Runtime};

use crate::backend::MembershipLookup;
use crate::policy::Memberships;
use crate::snapshot::Terms;
use crate::types::RoleName;

/// Who knows of memberships.
pub(super) enum Groups {
    /// The caller named them: `--member-of`.
    Named(Memberships),
    /// `backend.lookup_role` asks for them, once for each role.
    Asked { lookup: Arc<MembershipLookup>, runtime: Runtime, known: RefCell<HashMap<RoleName, Memberships>> },
    /// Nobody does.
    Nobody,
}

/// What was found of them.
#[derive(Clone, Debug, Serialize)]
pub(super) struct GroupsFacts {
    /// `--member-of` or `backend.lookup_role`; none where nobody could be asked.
    pub(super) source: Option<&'static str>,
    /// The roles, itself included if it exists; none where they are not known.
    pub(super) roles: Option<BTreeSet<String>>,
    /// Why they are not known.
    pub(super) fault: Option<String>,
}

impl Groups {
    /// # Errors
    /// A name in `member_of` that no role can have, or no event queue to ask by.
    pub(super) fn new(terms: &Terms, member_of: &[String]) -> Result<Self, String> {
        let role = |name: &String| RoleName::exact(name.as_bytes()).ok_or_else(|| format!("--member-of: {name:?} is no role's name"));
        let roles = member_of.iter().map(role).collect::<Result<HashSet<_>, _>>()?;
        match terms.memberships() {
            _ if !roles.is_empty() => Ok(Self::Named(Memberships::Known(Arc::new(roles)))),
            Some(lookup) => {
                let runtime = Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
                Ok(Self::Asked { lookup: Arc::clone(lookup), runtime, known: RefCell::default() })
            }
            None => Ok(Self::Nobody),
        }
    }

    /// The memberships of one role, for the decision and for the reader.
    pub(super) fn of(&self, role: &RoleName) -> (Memberships, GroupsFacts) {
        let (memberships, source) = match self {
            Self::Named(memberships) => (memberships.clone(), Some("--member-of")),
            Self::Asked { lookup, runtime, known } => {
                let ask = || ask(lookup, runtime, role);
                (known.borrow_mut().entry(role.clone()).or_insert_with(ask).clone(), Some("backend.lookup_role"))
            }
            Self::Nobody => (Memberships::Unknown("backend.lookup_role is not set".into()), None),
        };
        let (roles, fault) = match &memberships {
            Memberships::Known(roles) => (Some(roles.iter().map(ToString::to_string).collect()), None),
            Memberships::Unknown(why) => (None, Some(why.to_string())),
        };
        (memberships, GroupsFacts { source, roles, fault })
    }
}

fn ask(lookup: &Arc<MembershipLookup>, runtime: &Runtime, role: &RoleName) -> Memberships {
    match runtime.block_on(lookup.groups_of(role)) {
        Ok(groups) => Memberships::Known(groups),
        Err(failure) => {
            let why = format!("as backend.lookup_role, {failure}; run it as the OS user of Postern, or name the groups with --member-of");
            Memberships::Unknown(why.into())
        }
    }
}
