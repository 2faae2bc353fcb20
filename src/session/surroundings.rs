//! What a decision needs to know around a request, asked only where the rules make it depend on that.

use super::arrival::Arrival;
use super::panics::guarded;
use crate::error::SessionError;
use crate::identity::ClientIdentity;
use crate::os;
use crate::policy::{Interfaces, Memberships, Request, Surroundings, Unknown};
use crate::types::RoleName;

/// Finds out what the decision on `request` depends on.
///
/// # Errors
/// The time of the login ran out, or the connection has to give way.
pub(super) async fn surroundings(
    arrival: &Arrival,
    peer: Option<&ClientIdentity>,
    request: &Request,
) -> Result<Surroundings, SessionError> {
    let policy = arrival.terms.policy();
    let mut surroundings = Surroundings::unasked();
    // Each at most once: what stays unknown then is for the decision to refuse.
    let (mut ask_interfaces, mut ask_memberships) = (true, true);
    while let Some(unknown) = guarded(|| policy.needs(peer, request, &surroundings))? {
        match unknown {
            Unknown::Interfaces if std::mem::take(&mut ask_interfaces) => {
                surroundings.interfaces =
                    os::interfaces().map_or_else(|error| Interfaces::Unknown(error.to_string().into()), Interfaces::Known);
            }
            Unknown::Memberships if std::mem::take(&mut ask_memberships) => {
                surroundings.memberships = memberships(arrival, &request.user).await?;
            }
            Unknown::Interfaces | Unknown::Memberships => break,
        }
    }
    Ok(surroundings)
}

async fn memberships(arrival: &Arrival, role: &RoleName) -> Result<Memberships, SessionError> {
    let Some(lookup) = arrival.terms.memberships() else {
        return Ok(Memberships::Unknown("backend.lookup_role is not set".into()));
    };
    Ok(match arrival.in_time(lookup.groups_of(role)).await? {
        Ok(groups) => Memberships::Known(groups),
        Err(failure) => Memberships::Unknown(format!("as backend.lookup_role, {failure}").into()),
    })
}
