//! Dates as people and the index read them: RFC 3339, in UTC, to the second.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::types::utc;

/// A moment, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct Date(pub(super) i64);

impl TryFrom<String> for Date {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let date = OffsetDateTime::parse(&text, &Rfc3339);
        date.map(|date| Self(date.unix_timestamp())).map_err(|_| format!("found {text:?}, expected a date such as 2027-01-31T12:00:00Z"))
    }
}

impl From<Date> for String {
    fn from(Date(seconds): Date) -> Self {
        date(seconds)
    }
}

/// The date in words: `2027-01-31T12:00:00Z`.
pub fn date(seconds: i64) -> String {
    utc(seconds).unwrap_or_else(|| format!("{seconds} s since 1970"))
}
