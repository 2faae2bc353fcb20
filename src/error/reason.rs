//! The reason codes of log, audit, metrics and `explain`: one code per cause, the same everywhere.

use crate::wire::{ErrorResponse, SqlState};

/// Why a connection never became a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// A StartupMessage without TLS.
    Plaintext,
    /// Bytes that are not the PostgreSQL protocol, or a version of it that is not served.
    Protocol,
    /// The time from accept to AuthenticationOk ran out.
    Timeout,
    /// A client that cannot do TLS 1.3.
    TlsVersion,
    /// Direct TLS without ALPN, or a foreign ALPN.
    TlsAlpn,
    /// Any other failure of the handshake.
    TlsOther,
    /// A rule asks for a client certificate and none was sent.
    NoCertificate,
    /// No path from the certificate to a configured CA.
    CertUntrusted,
    /// The certificate, or one above it, is past its notAfter.
    CertExpired,
    /// The certificate, or one above it, is before its notBefore.
    CertNotYetValid,
    /// A CRL lists the certificate, or one above it.
    CertRevoked,
    /// Revocation cannot be known: the CRL of a CA in the chain has expired or is not there.
    CrlExpired,
    /// The certificate is not for client authentication.
    CertPurpose,
    /// The certificate cannot be read or breaks X.509's rules.
    CertInvalid,
    /// The deny list names the certificate.
    CertDenylisted,
    /// No usable name, a name that differs from the role, or no line of the map.
    Identity,
    /// No rule matches.
    HbaNoMatch,
    /// A rule says `reject`, or asks for no certificate.
    HbaReject,
    /// A startup parameter that the rule denies.
    Parameter,
    /// A limit on connections is reached.
    Limit,
    /// Too many failures from this address.
    RateLimit,
    /// The daemon is shutting down.
    Draining,
    /// The backend is not there, or did not answer in time.
    BackendUnreachable,
    /// The backend said no.
    BackendRefused,
    /// The backend said what no PostgreSQL says.
    BackendProtocol,
    /// The record of this session could not be written.
    AuditUnavailable,
    /// A fault of Postern's own.
    Internal,
    /// The client went away before the login was complete.
    ClientClosed,
    /// The client refused the server's certificate or another part of the handshake.
    ClientAlert,
}

/// Whose fault a refusal is: decides the level in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The peer, whoever it is: nothing for the operator to do.
    Client,
    /// The rules, doing their work.
    Policy,
    /// PostgreSQL behind Postern.
    Backend,
    /// The configuration or its files.
    Operator,
    /// Postern itself.
    Ourselves,
}

impl Reason {
    /// Every reason, in the contract's order.
    pub const ALL: [Self; 29] = [
        Self::Plaintext,
        Self::Protocol,
        Self::Timeout,
        Self::TlsVersion,
        Self::TlsAlpn,
        Self::TlsOther,
        Self::NoCertificate,
        Self::CertUntrusted,
        Self::CertExpired,
        Self::CertNotYetValid,
        Self::CertRevoked,
        Self::CrlExpired,
        Self::CertPurpose,
        Self::CertInvalid,
        Self::CertDenylisted,
        Self::Identity,
        Self::HbaNoMatch,
        Self::HbaReject,
        Self::Parameter,
        Self::Limit,
        Self::RateLimit,
        Self::Draining,
        Self::BackendUnreachable,
        Self::BackendRefused,
        Self::BackendProtocol,
        Self::AuditUnavailable,
        Self::Internal,
        Self::ClientClosed,
        Self::ClientAlert,
    ];

    /// The code in log, audit, metric label and `explain`.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Plaintext => "plaintext",
            Self::Protocol => "protocol",
            Self::Timeout => "timeout",
            Self::TlsVersion => "tls_version",
            Self::TlsAlpn => "tls_alpn",
            Self::TlsOther => "tls_other",
            Self::NoCertificate => "no_certificate",
            Self::CertUntrusted => "cert_untrusted",
            Self::CertExpired => "cert_expired",
            Self::CertNotYetValid => "cert_not_yet_valid",
            Self::CertRevoked => "cert_revoked",
            Self::CrlExpired => "crl_expired",
            Self::CertPurpose => "cert_purpose",
            Self::CertInvalid => "cert_invalid",
            Self::CertDenylisted => "cert_denylisted",
            Self::Identity => "identity",
            Self::HbaNoMatch => "hba_no_match",
            Self::HbaReject => "hba_reject",
            Self::Parameter => "parameter",
            Self::Limit => "limit",
            Self::RateLimit => "rate_limit",
            Self::Draining => "draining",
            Self::BackendUnreachable => "backend_unreachable",
            Self::BackendRefused => "backend_refused",
            Self::BackendProtocol => "backend_protocol",
            Self::AuditUnavailable => "audit_unavailable",
            Self::Internal => "internal",
            Self::ClientClosed => "client_closed",
            Self::ClientAlert => "client_alert",
        }
    }

    /// Whether it counts against the client's address: what a client does wrong, and not what it cannot help.
    pub const fn is_failure_of_client(self) -> bool {
        match self.blame() {
            Blame::Client => true,
            Blame::Policy => !matches!(self, Self::Limit | Self::RateLimit | Self::Draining),
            Blame::Backend | Blame::Operator | Blame::Ourselves => false,
        }
    }

    /// Whose fault it is.
    pub const fn blame(self) -> Blame {
        match self {
            Self::Plaintext
            | Self::Protocol
            | Self::Timeout
            | Self::TlsVersion
            | Self::TlsAlpn
            | Self::TlsOther
            | Self::ClientClosed
            | Self::ClientAlert => Blame::Client,
            Self::NoCertificate
            | Self::CertUntrusted
            | Self::CertExpired
            | Self::CertNotYetValid
            | Self::CertRevoked
            | Self::CertPurpose
            | Self::CertInvalid
            | Self::CertDenylisted
            | Self::Identity
            | Self::HbaNoMatch
            | Self::HbaReject
            | Self::Parameter
            | Self::Limit
            | Self::RateLimit
            | Self::Draining => Blame::Policy,
            Self::BackendUnreachable | Self::BackendRefused | Self::BackendProtocol => Blame::Backend,
            Self::CrlExpired | Self::AuditUnavailable => Blame::Operator,
            Self::Internal => Blame::Ourselves,
        }
    }
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EndReason {
    /// The client closed it.
    Client,
    /// The backend closed it, with or without a FATAL of its own.
    Backend,
    /// The certificate, or one above it, was revoked.
    Revoked,
    /// The certificate passed its notAfter.
    Expired,
    /// Rules or maps no longer admit it.
    Policy,
    /// It was idle for too long.
    Idle,
    /// It reached its greatest age.
    Lifetime,
    /// An operator ended it.
    Killed,
    /// The daemon is shutting down.
    Drain,
    /// The client's host is gone.
    ClientLost,
    /// The backend went away in the middle of the session.
    BackendLost,
    /// One side broke the protocol.
    Protocol,
    /// A record of the session could not be written.
    AuditUnavailable,
    /// A fault of Postern's own.
    Internal,
}

impl EndReason {
    /// Every reason, in the contract's order.
    pub const ALL: [Self; 14] = [
        Self::Client,
        Self::Backend,
        Self::Revoked,
        Self::Expired,
        Self::Policy,
        Self::Idle,
        Self::Lifetime,
        Self::Killed,
        Self::Drain,
        Self::ClientLost,
        Self::BackendLost,
        Self::Protocol,
        Self::AuditUnavailable,
        Self::Internal,
    ];

    /// The code in log, audit and metric label.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Backend => "backend",
            Self::Revoked => "revoked",
            Self::Expired => "expired",
            Self::Policy => "policy",
            Self::Idle => "idle",
            Self::Lifetime => "lifetime",
            Self::Killed => "killed",
            Self::Drain => "drain",
            Self::ClientLost => "client_lost",
            Self::BackendLost => "backend_lost",
            Self::Protocol => "protocol",
            Self::AuditUnavailable => "audit_unavailable",
            Self::Internal => "internal",
        }
    }

    /// The last message to a client whose session ends for this reason, at a message boundary; `None` where there is nobody to
    /// tell, or PostgreSQL has told it.
    pub fn farewell(self) -> Option<ErrorResponse> {
        let (sqlstate, message) = match self {
            Self::Drain | Self::Killed | Self::Revoked | Self::Expired | Self::Policy | Self::AuditUnavailable => {
                (SqlState::ADMIN_SHUTDOWN, "terminating connection due to administrator command")
            }
            Self::Lifetime => (SqlState::ADMIN_SHUTDOWN, "terminating connection due to maximum session lifetime"),
            Self::Idle => (SqlState::IDLE_SESSION_TIMEOUT, "terminating connection due to idle-session timeout"),
            Self::BackendLost => (SqlState::CONNECTION_FAILURE, "server closed the connection unexpectedly"),
            Self::Client | Self::Backend | Self::ClientLost | Self::Protocol | Self::Internal => return None,
        };
        Some(ErrorResponse::new(sqlstate, message))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_code_is_snake_case_and_stands_once() {
        let reasons = Reason::ALL.map(Reason::code);
        let ends = EndReason::ALL.map(EndReason::code);
        assert!(reasons.iter().chain(&ends).all(|code| code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')));
        assert_eq!(reasons.iter().collect::<HashSet<_>>().len(), reasons.len());
        assert_eq!(ends.iter().collect::<HashSet<_>>().len(), ends.len());
    }
}
