//! Why a TLS handshake failed, in the terms of X.509 and RFC 8446. The library's own error types end in `tls/`.

use std::fmt;

use super::Reason;

/// The cause of a failed handshake. Each variant's text, where it has one, is for the operator alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsFailure {
    /// What came is not a TLS record or not a ClientHello.
    NotTls(String),
    /// The client does not offer TLS 1.3.
    Version,
    /// The client offers ALPN protocols and none is `postgresql`.
    ForeignAlpn,
    /// The client ended the handshake with this alert.
    ClientAlert(String),
    /// The client closed or reset the connection in the middle of the handshake.
    ClientClosed,
    /// No path from the certificate to a trust anchor.
    Untrusted(String),
    /// A certificate of the path is past its notAfter.
    Expired(String),
    /// A certificate of the path is before its notBefore.
    NotYetValid(String),
    /// A CRL lists a certificate of the path.
    Revoked(String),
    /// `denylist_file` names it.
    Denylisted(String),
    /// A CRL of the path has expired, is not yet in force, or is missing.
    RevocationUnknown(String),
    /// Key usage or extended key usage forbids client authentication, or CA certificates lack what a CA needs.
    Purpose(String),
    /// The certificate cannot be read or breaks X.509's rules.
    Invalid(String),
    /// Everything else.
    Other(String),
}

impl TlsFailure {
    /// The reason code.
    pub const fn reason(&self) -> Reason {
        match self {
            Self::NotTls(_) => Reason::Protocol,
            Self::Version => Reason::TlsVersion,
            Self::ForeignAlpn => Reason::TlsAlpn,
            Self::ClientAlert(_) => Reason::ClientAlert,
            Self::ClientClosed => Reason::ClientClosed,
            Self::Untrusted(_) => Reason::CertUntrusted,
            Self::Expired(_) => Reason::CertExpired,
            Self::NotYetValid(_) => Reason::CertNotYetValid,
            Self::Revoked(_) => Reason::CertRevoked,
            Self::Denylisted(_) => Reason::CertDenylisted,
            Self::RevocationUnknown(_) => Reason::CrlExpired,
            Self::Purpose(_) => Reason::CertPurpose,
            Self::Invalid(_) => Reason::CertInvalid,
            Self::Other(_) => Reason::TlsOther,
        }
    }
}

impl fmt::Display for TlsFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotTls(detail) => write!(f, "not a TLS handshake: {detail}"),
            Self::Version => write!(f, "the client does not offer TLS 1.3, the only version served"),
            Self::ForeignAlpn => write!(f, "the client's ALPN does not offer \"postgresql\""),
            Self::ClientAlert(alert) => write!(f, "the client ended the handshake with the alert {alert}"),
            Self::ClientClosed => write!(f, "the client closed the connection during the handshake"),
            Self::Untrusted(detail) => write!(f, "client certificate is not trusted: {detail}"),
            Self::Expired(detail) => write!(f, "client certificate has expired: {detail}"),
            Self::NotYetValid(detail) => write!(f, "client certificate is not yet valid: {detail}"),
            Self::Revoked(detail) => write!(f, "client certificate is revoked: {detail}"),
            Self::Denylisted(detail) => write!(f, "client certificate is on the deny list, {detail}"),
            Self::RevocationUnknown(detail) => write!(f, "revocation of the client certificate cannot be known: {detail}"),
            Self::Purpose(detail) => write!(f, "client certificate is not for client authentication: {detail}"),
            Self::Invalid(detail) => write!(f, "client certificate is invalid: {detail}"),
            Self::Other(detail) => write!(f, "TLS handshake failed: {detail}"),
        }
    }
}
