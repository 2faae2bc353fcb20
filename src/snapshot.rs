//! All that a new connection is judged and served by, read and checked together, immutable.

use std::time::Duration;

use crate::backend::BackendSettings;
use crate::config::{CancelPlaintext, LiveSettings};
use crate::policy::Policy;
use crate::tls::{Acceptor, MaterialFault};

/// One consistent set of settings and what their files held.
pub struct Snapshot {
    tls: Acceptor,
    policy: Policy,
    backend: BackendSettings,
    cancel_plaintext: CancelPlaintext,
    authentication_timeout: Duration,
}

impl Snapshot {
    /// Reads the files that the settings name.
    ///
    /// # Errors
    /// Every fault that can be found, not the first.
    pub fn load(settings: &LiveSettings) -> Result<Self, Vec<MaterialFault>> {
        Ok(Self {
            tls: Acceptor::load(&settings.tls)?,
            policy: settings.policy.clone(),
            backend: settings.backend.clone(),
            cancel_plaintext: settings.cancel_plaintext,
            authentication_timeout: settings.authentication_timeout,
        })
    }

    /// What an operator should know about it although it is no fault, a sentence each.
    pub fn notices(&self) -> Vec<String> {
        self.tls.warnings().to_vec()
    }

    /// What accepts TLS.
    pub fn tls(&self) -> &Acceptor {
        &self.tls
    }

    /// The rules.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// How the backend is reached.
    pub fn backend(&self) -> &BackendSettings {
        &self.backend
    }

    /// Whether a CancelRequest may come without a certificate.
    pub fn allows_cancel_without_certificate(&self) -> bool {
        self.cancel_plaintext == CancelPlaintext::Allow
    }

    /// From accept to the backend's AuthenticationOk.
    pub fn authentication_timeout(&self) -> Duration {
        self.authentication_timeout
    }
}
