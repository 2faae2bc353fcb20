//! Why a client certificate is refused, and the alert that says so: the one OpenSSL would send for PostgreSQL.

use std::fmt;

use rustls::CertificateError;
use rustls::pki_types::UnixTime;

use crate::error::TlsFailure;
use crate::identity::Certificate;
use crate::types::utc;

/// A refused certificate: the precise cause for the operator, the alert for the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub cause: TlsFailure,
    /// What the client hears.
    pub alert: Alert,
}

/// The alerts for certificates (RFC 8446 section 6.2), as OpenSSL chooses them (ssl/statem/statem_lib.c, x509table).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alert {
    /// 42
    BadCertificate,
    /// 43
    UnsupportedCertificate,
    /// 44
    CertificateRevoked,
    /// 45
    CertificateExpired,
    /// 46
    CertificateUnknown,
    /// 48
    UnknownCa,
}

impl Alert {
    /// Its name in RFC 8446.
    pub const fn name(self) -> &'static str {
        match self {
            Self::BadCertificate => "bad_certificate",
            Self::UnsupportedCertificate => "unsupported_certificate",
            Self::CertificateRevoked => "certificate_revoked",
            Self::CertificateExpired => "certificate_expired",
            Self::CertificateUnknown => "certificate_unknown",
            Self::UnknownCa => "unknown_ca",
        }
    }
}

impl Refusal {
    /// No path to a trust anchor.
    pub(super) fn untrusted(detail: String) -> Self {
        Self { cause: TlsFailure::Untrusted(detail), alert: Alert::UnknownCa }
    }

    /// Past its notAfter.
    pub(super) fn expired(detail: String) -> Self {
        Self { cause: TlsFailure::Expired(detail), alert: Alert::CertificateExpired }
    }

    /// Before its notBefore. OpenSSL's table has 42 here, not 45.
    pub(super) fn not_yet_valid(detail: String) -> Self {
        Self { cause: TlsFailure::NotYetValid(detail), alert: Alert::BadCertificate }
    }

    /// Listed in a CRL.
    pub(super) fn revoked(detail: String) -> Self {
        Self { cause: TlsFailure::Revoked(detail), alert: Alert::CertificateRevoked }
    }

    /// On the deny list: its holder reads what a CRL would make him read.
    pub(super) fn denylisted(detail: String) -> Self {
        Self { cause: TlsFailure::Denylisted(detail), alert: Alert::CertificateRevoked }
    }

    /// No CRL says whether it is revoked.
    pub(super) fn revocation_unknown(detail: String, alert: Alert) -> Self {
        Self { cause: TlsFailure::RevocationUnknown(detail), alert }
    }

    /// Its own extensions forbid client authentication (X509_V_ERR_INVALID_PURPOSE).
    pub(super) fn purpose(detail: String) -> Self {
        Self { cause: TlsFailure::Purpose(detail), alert: Alert::UnsupportedCertificate }
    }

    /// A certificate above it may not issue (X509_V_ERR_INVALID_CA, X509_V_ERR_PATH_LENGTH_EXCEEDED).
    pub(super) fn no_authority(detail: String) -> Self {
        Self { cause: TlsFailure::Purpose(detail), alert: Alert::UnknownCa }
    }

    /// It cannot be read.
    pub(super) fn malformed(detail: String) -> Self {
        Self { cause: TlsFailure::Invalid(detail), alert: Alert::BadCertificate }
    }

    /// It breaks a rule that has no alert of its own (x509table's last line).
    pub(super) fn invalid(detail: String) -> Self {
        Self { cause: TlsFailure::Invalid(detail), alert: Alert::CertificateUnknown }
    }

    /// It is X.509 v1 and the configuration does not want those.
    pub(super) fn version(detail: String) -> Self {
        Self { cause: TlsFailure::Invalid(detail), alert: Alert::UnsupportedCertificate }
    }

    /// What webpki found wrong while it looked for a path for `leaf`.
    pub(super) fn of_webpki(error: &webpki::Error, leaf: &Certificate) -> Self {
        use webpki::Error;
        let who = shown(leaf);
        let date = |time: &UnixTime| date(i64::try_from(time.as_secs()).unwrap_or(i64::MAX));
        // webpki::Error is non-exhaustive: what is not named here is an encoding it does not take.
        #[allow(clippy::wildcard_enum_match_arm)]
        match error {
            Error::UnknownIssuer => Self::untrusted(format!("no path from {who} to a self-signed certificate of tls.ssl_ca_file")),
            Error::InvalidSignatureForPublicKey => Self::untrusted(format!("a CA above {who} did not sign what bears its name")),
            Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => Self::untrusted(format!(
                "the issuer that {who}, or a CA above it, names is in tls.ssl_ca_file, but with a key of another kind than the one that \
                 signed: another CA of the same name did, or the algorithm cannot be verified here"
            )),
            Error::UnsupportedSignatureAlgorithmContext(_) => {
                Self::untrusted(format!("{who}, or a CA above it, is signed with an algorithm that cannot be verified here"))
            }
            Error::MaximumSignatureChecksExceeded
            | Error::MaximumPathBuildCallsExceeded
            | Error::MaximumPathDepthExceeded
            | Error::MaximumNameConstraintComparisonsExceeded => Self::untrusted(format!("the chain of {who} is too long or too tangled")),
            Error::CertExpired { not_after, .. } => Self::expired(format!("a CA above {who} was valid until {}", date(not_after))),
            Error::CertNotValidYet { not_before, .. } => {
                Self::not_yet_valid(format!("a CA above {who} is valid only from {}", date(not_before)))
            }
            Error::InvalidCertValidity => Self::expired(format!("{who}, or a CA above it, ends before it begins")),
            Error::EndEntityUsedAsCa => Self::no_authority(format!("a certificate above {who} is not a CA")),
            Error::PathLenConstraintViolated => Self::no_authority(format!("more CAs stand above {who} than one of them allows")),
            Error::CaUsedAsEndEntity => Self::purpose(format!("{who} is a CA certificate, which cannot log in")),
            Error::RequiredEkuNotFoundContext(_) | Error::EmptyEkuExtension => {
                Self::purpose(format!("the extended key usage of {who}, or of a CA above it, does not list clientAuth"))
            }
            Error::NameConstraintViolation => Self::invalid(format!("the name constraints of a CA above {who} exclude it")),
            Error::UnsupportedCriticalExtension => {
                Self::invalid(format!("{who}, or a CA above it, has a critical extension that is not known here"))
            }
            other => Self::malformed(format!("{who}, or a CA above it, cannot be read: {other:?}")),
        }
    }
}

impl From<Refusal> for rustls::Error {
    fn from(refusal: Refusal) -> Self {
        let error = match refusal.alert {
            Alert::BadCertificate => CertificateError::BadEncoding,
            Alert::UnsupportedCertificate => CertificateError::InvalidPurpose,
            Alert::CertificateRevoked => CertificateError::Revoked,
            Alert::CertificateExpired => CertificateError::Expired,
            Alert::UnknownCa => CertificateError::UnknownIssuer,
            Alert::CertificateUnknown => {
                let text: Box<dyn std::error::Error + Send + Sync> = refusal.cause.to_string().into();
                CertificateError::Other(rustls::OtherError(text.into()))
            }
        };
        Self::InvalidCertificate(error)
    }
}

/// A certificate in an operator's message. Nothing is written unless somebody is refused.
pub(super) fn shown(certificate: &Certificate) -> Shown<'_> {
    Shown(certificate)
}

/// Its subject, cut to a line's length, and its serial number. The subject is ASCII without control characters.
#[derive(Clone, Copy)]
pub(super) struct Shown<'a>(&'a Certificate);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\" (serial {})", shortened(&self.0.subject().rfc2253()), shortened(&self.0.serial_hex()))
    }
}

/// A moment, in seconds since 1970, in an operator's message.
pub(super) fn date(unix: i64) -> String {
    utc(unix).unwrap_or_else(|| format!("{unix} s since 1970"))
}

/// The first 200 bytes of ASCII text.
pub(super) fn shortened(text: &str) -> String {
    match text.get(..200) {
        Some(start) if start.len() < text.len() => format!("{start}..."),
        _ => text.to_owned(),
    }
}
