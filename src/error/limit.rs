//! Which limit on sessions is reached, and PostgreSQL's words for it (src/backend/utils/init/postinit.c, src/backend/tcop).

use std::fmt;

use crate::types::RoleName;
use crate::wire::{ErrorResponse, SqlState};

/// A limit on sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// `limits.max_connections`.
    Connections,
    /// `limits.max_connections_per_role`.
    Role,
    /// `limits.max_connections_per_address`.
    Address,
    /// `max_connections` of the rule.
    Rule,
}

impl Limit {
    /// What the client reads.
    pub(super) fn response(self, role: &RoleName) -> ErrorResponse {
        let message = match self {
            Self::Role => [b"too many connections for role \"", role.as_bytes(), b"\""].concat(),
            Self::Connections | Self::Address | Self::Rule => b"sorry, too many clients already".to_vec(),
        };
        ErrorResponse::new(SqlState::TOO_MANY_CONNECTIONS, message)
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connections => "limits.max_connections",
            Self::Role => "limits.max_connections_per_role",
            Self::Address => "limits.max_connections_per_address",
            Self::Rule => "max_connections of the rule",
        })
    }
}
