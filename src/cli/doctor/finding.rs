//! What a look at one thing found, for people and for programs.

use serde_json::{Value, json};

/// What was looked at, and how it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    /// What was looked at: a fixed name for programs.
    pub(super) check: &'static str,
    pub(super) state: State,
    /// How it is, in a sentence.
    pub(super) found: String,
    /// The line to change, or what else to do; only of what is at fault or unknown.
    pub(super) change: Option<String>,
}

/// How it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// As it should be.
    Good,
    /// Not as it should be.
    Fault,
    /// It could not be looked at.
    Unknown,
}

impl Finding {
    pub(super) fn good(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, state: State::Good, found: found.into(), change: None }
    }

    pub(super) fn fault(check: &'static str, found: impl Into<String>, change: impl Into<String>) -> Self {
        Self { check, state: State::Fault, found: found.into(), change: Some(change.into()) }
    }

    pub(super) fn unknown(check: &'static str, found: impl Into<String>, change: impl Into<String>) -> Self {
        Self { check, state: State::Unknown, found: found.into(), change: Some(change.into()) }
    }

    pub(super) fn line(&self) -> String {
        let change = self.change.as_ref().map(|change| format!("; {change}")).unwrap_or_default();
        format!("{:<7}  {}: {}{change}", self.state.word(), self.check, self.found)
    }

    pub(super) fn json(&self) -> Value {
        json!({ "check": self.check, "state": self.state.word(), "found": self.found, "change": self.change })
    }
}

impl State {
    const fn word(self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::Fault => "fault",
            Self::Unknown => "unknown",
        }
    }
}
