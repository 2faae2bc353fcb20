//! Moments as people and programs read them.

use time::OffsetDateTime;

/// Seconds since 1970 as RFC 3339 in UTC, `2027-01-01T00:00:00Z`. `None` beyond the year 9999, which no certificate can state.
pub fn utc(unix: i64) -> Option<String> {
    let t = OffsetDateTime::from_unix_timestamp(unix).ok()?;
    Some(format!("{}T{:02}:{:02}:{:02}Z", t.date(), t.hour(), t.minute(), t.second()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_shown_in_utc_or_not_at_all() {
        assert_eq!(utc(1_798_761_600).as_deref(), Some("2027-01-01T00:00:00Z"));
        assert_eq!(utc(-1).as_deref(), Some("1969-12-31T23:59:59Z"));
        assert_eq!(utc(i64::MAX), None);
    }
}
