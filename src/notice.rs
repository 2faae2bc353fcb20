//! What an operator should know although it is no fault: what was found, and what to do about it.

use std::fmt;

/// One thing to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    found: String,
    change: Option<String>,
}

impl Notice {
    /// What is probably not meant, or will keep somebody out; `found` begins with the key or the line that it is about.
    pub fn new(found: impl Into<String>, change: impl Into<String>) -> Self {
        Self { found: found.into(), change: Some(change.into()) }
    }

    /// What is as it should be, and still worth knowing.
    pub fn of_course(found: impl Into<String>) -> Self {
        Self { found: found.into(), change: None }
    }

    /// What was found, with the key or the line that it is about.
    pub fn found(&self) -> &str {
        &self.found
    }

    /// What to do about it; none where nothing is to be done.
    pub fn change(&self) -> Option<&str> {
        self.change.as_deref()
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.found)?;
        self.change.iter().try_for_each(|change| write!(f, "; {change}"))
    }
}
