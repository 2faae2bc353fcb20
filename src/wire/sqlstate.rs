//! The SQLSTATE codes that Postern itself sends, by PostgreSQL's condition names (src/backend/utils/errcodes.txt).

use std::fmt;

/// A five-character SQLSTATE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SqlState(&'static str);

impl SqlState {
    /// `successful_completion`
    pub const SUCCESSFUL_COMPLETION: Self = Self("00000");
    /// `protocol_violation`
    pub const PROTOCOL_VIOLATION: Self = Self("08P01");
    /// `connection_failure`
    pub const CONNECTION_FAILURE: Self = Self("08006");
    /// `feature_not_supported`
    pub const FEATURE_NOT_SUPPORTED: Self = Self("0A000");
    /// `invalid_parameter_value`
    pub const INVALID_PARAMETER_VALUE: Self = Self("22023");
    /// `invalid_authorization_specification`
    pub const INVALID_AUTHORIZATION_SPECIFICATION: Self = Self("28000");
    /// `invalid_password`
    pub const INVALID_PASSWORD: Self = Self("28P01");
    /// `insufficient_privilege`
    pub const INSUFFICIENT_PRIVILEGE: Self = Self("42501");
    /// `disk_full`
    pub const DISK_FULL: Self = Self("53100");
    /// `too_many_connections`
    pub const TOO_MANY_CONNECTIONS: Self = Self("53300");
    /// `admin_shutdown`
    pub const ADMIN_SHUTDOWN: Self = Self("57P01");
    /// `idle_session_timeout`
    pub const IDLE_SESSION_TIMEOUT: Self = Self("57P05");
    /// `cannot_connect_now`
    pub const CANNOT_CONNECT_NOW: Self = Self("57P03");
    /// `internal_error`
    pub const INTERNAL_ERROR: Self = Self("XX000");

    /// The five characters.
    pub const fn code(self) -> &'static str {
        self.0
    }
}

impl fmt::Display for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}
