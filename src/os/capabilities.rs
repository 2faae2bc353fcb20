//! What root may do beyond others, and how this process stops being able to (capabilities(7)).

use std::io;

use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, remove_capability_from_bounding_set, set_capabilities};

/// Takes every capability out of the bounding set, as far as the process may.
pub fn empty_bounding_set() {
    for capability in CapabilitySet::all().iter() {
        // One that this kernel does not know is none to lose.
        let _ = remove_capability_from_bounding_set(capability);
    }
}

/// Empties the effective, permitted and inheritable sets, and with them the ambient one. If they are empty already they are left alone:
/// a service manager that gave none may also have forbidden to set them.
///
/// # Errors
/// The kernel does not allow it.
pub fn drop_capabilities() -> io::Result<()> {
    let none = CapabilitySets { effective: CapabilitySet::empty(), permitted: CapabilitySet::empty(), inheritable: CapabilitySet::empty() };
    if capabilities(None)? == none {
        return Ok(());
    }
    Ok(set_capabilities(None, none)?)
}
