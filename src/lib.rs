//! Postern: the front door of an isolated PostgreSQL.

pub mod crypto;
pub mod error;
pub mod identity;
pub mod tls;
pub mod types;
