//! A reload and what became of it, and a certificate or CRL that is about to expire.

use crate::types::ExpiryKind;

/// A reload of the configuration and its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReloadReport {
    /// Who asked for it.
    pub trigger: ReloadTrigger,
    /// What became of it.
    pub result: ReloadResult,
    /// The keys whose values, or whose files' contents, are others now.
    pub changed: Vec<String>,
    /// The keys whose values in the file are not those in force, because only a restart applies them.
    pub needs_restart: Vec<String>,
    /// Why it was rejected, one of `FILE:LINE:COLUMN key: what` each.
    pub faults: Vec<String>,
    /// What an operator should know of the new files and did not know of those before.
    pub notices: Vec<String>,
    /// How many live sessions were told to end.
    pub ended: u64,
}

/// A certificate or CRL of the files that has not much left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpiryReport {
    /// What it is.
    pub kind: ExpiryKind,
    /// The setting that names its file.
    pub setting: String,
    /// A certificate's subject, or a CRL's issuer, in the form of RFC 2253.
    pub subject: String,
    /// A certificate's serial number in lower-case hex.
    pub serial: Option<String>,
    /// A certificate's SHA-256 in lower-case hex.
    pub sha256: Option<String>,
    /// The end of its validity, in seconds since 1970.
    pub not_after: i64,
    /// How many seconds it has left; none or fewer if it has expired.
    pub left: i64,
}

/// Who asked for a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReloadTrigger {
    /// HUP.
    Signal,
    /// `postern reload`.
    Admin,
    /// Nobody: the files have changed.
    Poll,
}

/// What became of a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReloadResult {
    /// It is in force.
    Applied,
    /// It has faults, and nothing has changed.
    Rejected,
}

impl ReloadTrigger {
    /// The code in log and audit.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Signal => "signal",
            Self::Admin => "admin",
            Self::Poll => "poll",
        }
    }
}

impl ReloadResult {
    /// Every result.
    pub const ALL: [Self; 2] = [Self::Applied, Self::Rejected];

    /// The code in log, audit and metric label.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Rejected => "rejected",
        }
    }
}
