//! Postern: the front door of an isolated PostgreSQL.

pub mod crypto;
pub mod error;
pub mod types;
pub mod wire;
