//! Placeholder until the identity floor is in place.
