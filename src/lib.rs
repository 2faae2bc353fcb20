//! Postern: the front door of an isolated PostgreSQL.

pub mod crypto;
pub mod error;
pub mod observe;
pub mod types;
