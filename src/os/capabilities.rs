//! What root may do beyond others, and how this process stops being able to (capabilities(7)).

use std::io;

use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set, remove_capability_from_bounding_set, set_capabilities,
};

/// Takes every capability out of the bounding set that this kernel knows, if the process may: if not, nothing is done.
///
/// # Errors
/// One stays in it.
pub fn empty_bounding_set() -> io::Result<()> {
    if !capabilities(None)?.effective.contains(CapabilitySet::SETPCAP) {
        return Ok(());
    }
    for number in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        // One that this kernel does not know is the first that there is not.
        let Ok(is_in) = capability_is_in_bounding_set(capability) else { break };
        if is_in {
            remove_capability_from_bounding_set(capability)?;
        }
        if capability_is_in_bounding_set(capability)? {
            return Err(io::Error::other(format!("capability {number} stays in the bounding set")));
        }
    }
    Ok(())
}

/// Empties the effective, permitted and inheritable sets, and with them the ambient one. If they are empty already they are left alone:
/// a service manager that gave none may also have forbidden to set them.
///
/// # Errors
/// The kernel does not allow it, or keeps one.
pub fn drop_capabilities() -> io::Result<()> {
    let none = CapabilitySets { effective: CapabilitySet::empty(), permitted: CapabilitySet::empty(), inheritable: CapabilitySet::empty() };
    if capabilities(None)? == none {
        return Ok(());
    }
    set_capabilities(None, none)?;
    if capabilities(None)? == none { Ok(()) } else { Err(io::Error::other("some of them stay")) }
}
