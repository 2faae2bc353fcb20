//! What the process gave up before it served, for whoever looks: status, log and trail.

use serde::{Deserialize, Serialize};

/// What holds of the sandbox, and what does not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hardening {
    /// How much was asked for: `harden` of the configuration.
    pub mode: String,
    /// Whom the process acts as: `postern (uid 990)`.
    pub user: String,
    /// The measures that are in force.
    pub in_force: Vec<String>,
    /// Those that are not, `measure: why`.
    pub not_in_force: Vec<String>,
}
