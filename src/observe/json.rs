//! The writer of audit records' JSON: fields in the order they are given, names from the network beside their hex.
//!
//! A serializer that derives from types cannot say "and `user_hex` beside `user` if it was not clean text", nor escape what
//! RFC 8259 lets stand (DEL, C1, U+2028). What is written here is read back with serde_json in the tests.

use std::fmt::{Display, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;

use super::text::deceives;
use crate::types::utc;

/// The fields of one object, without its outer braces, as they are added.
pub(super) struct Fields {
    out: String,
    limits: Limits,
}

/// How much of what the network or the operator sent goes into one record.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    /// The longest text, in bytes of its value.
    pub text: usize,
    /// The longest list, in items.
    pub items: usize,
}

impl Fields {
    /// No fields yet.
    pub(super) fn new(limits: Limits) -> Self {
        Self { out: String::with_capacity(1024), limits }
    }

    /// The fields as text.
    pub(super) fn finish(self) -> String {
        self.out
    }

    /// A field that is absent.
    pub(super) fn null(&mut self, key: &str) {
        self.key(key);
        self.out.push_str("null");
    }

    /// A number.
    pub(super) fn number(&mut self, key: &str, value: impl Into<i128>) {
        self.key(key);
        self.push(value.into());
    }

    /// A yes or no.
    pub(super) fn truth(&mut self, key: &str, value: bool) {
        self.key(key);
        self.push(value);
    }

    /// A duration in milliseconds, to the microsecond.
    pub(super) fn millis(&mut self, key: &str, value: Duration) {
        self.key(key);
        self.push(value.as_micros() as f64 / 1000.0);
    }

    /// A moment, RFC 3339 in UTC with microseconds.
    pub(super) fn moment(&mut self, key: &str, at: SystemTime) {
        let nanoseconds = at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
        let parsed = i128::try_from(nanoseconds).ok().and_then(|since| OffsetDateTime::from_unix_timestamp_nanos(since).ok());
        let t = parsed.unwrap_or(OffsetDateTime::UNIX_EPOCH);
        self.key(key);
        let (date, hour, minute, second) = (t.date(), t.hour(), t.minute(), t.second());
        self.push(format_args!("\"{date}T{hour:02}:{minute:02}:{second:02}.{:06}Z\"", t.microsecond()));
    }

    /// A moment in seconds since 1970, RFC 3339 in UTC. `null` beyond the year 9999, which no certificate can state.
    pub(super) fn second(&mut self, key: &str, unix: i64) {
        self.maybe_text(key, utc(unix).as_deref());
    }

    /// Text of Postern's own or of the operator.
    pub(super) fn text(&mut self, key: &str, value: &str) {
        self.key(key);
        self.string(value);
    }

    /// Text that may be absent.
    pub(super) fn maybe_text(&mut self, key: &str, value: Option<&str>) {
        match value {
            Some(value) => self.text(key, value),
            None => self.null(key),
        }
    }

    /// Bytes from the network: as text, and in hex under `KEY_hex` if they are not UTF-8 or hold what deceives a reader.
    pub(super) fn name(&mut self, key: &str, value: &[u8]) {
        let text = String::from_utf8_lossy(value);
        self.text(key, &text);
        let clean = matches!(text, std::borrow::Cow::Borrowed(_)) && !text.chars().any(deceives);
        if !clean {
            self.key(&format!("{key}_hex"));
            self.out.push('"');
            for byte in value.get(..self.limits.text).unwrap_or(value) {
                self.push(format_args!("{byte:02x}"));
            }
            self.out.push('"');
        }
    }

    /// Bytes that may be absent.
    pub(super) fn maybe_name(&mut self, key: &str, value: Option<&[u8]>) {
        match value {
            Some(value) => self.name(key, value),
            None => self.null(key),
        }
    }

    /// A list of texts. What is beyond the limit is counted in a last item.
    pub(super) fn list(&mut self, key: &str, values: &[String]) {
        self.key(key);
        self.out.push('[');
        for (index, value) in values.iter().take(self.limits.items).enumerate() {
            if index > 0 {
                self.out.push(',');
            }
            self.string(value);
        }
        if let Some(more) = values.len().checked_sub(self.limits.items).filter(|more| *more > 0) {
            self.push(format_args!(",\"[{more} more]\""));
        }
        self.out.push(']');
    }

    /// An object of its own; `null` if there is nothing to say.
    pub(super) fn object<T>(&mut self, key: &str, value: Option<T>, fill: impl FnOnce(&mut Self, T)) {
        let Some(value) = value else { return self.null(key) };
        self.key(key);
        self.out.push('{');
        fill(self, value);
        self.out.push('}');
    }

    /// A key, after a comma unless it is the first of its object.
    fn key(&mut self, key: &str) {
        if !self.out.is_empty() && !self.out.ends_with('{') {
            self.out.push(',');
        }
        self.push(format_args!("\"{key}\":"));
    }

    /// A string with its quotes. One that is too long is cut between two characters, and its true length stands behind.
    fn string(&mut self, value: &str) {
        self.out.push('"');
        let kept = self.cut(value);
        for c in kept.chars() {
            match c {
                '"' => self.out.push_str("\\\""),
                '\\' => self.out.push_str("\\\\"),
                c if deceives(c) => c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| self.push(format_args!("\\u{unit:04x}"))),
                c => self.out.push(c),
            }
        }
        if kept.len() < value.len() {
            self.push(format_args!("[cut, {} bytes in all]", value.len()));
        }
        self.out.push('"');
    }

    fn cut<'v>(&self, value: &'v str) -> &'v str {
        if value.len() <= self.limits.text {
            return value;
        }
        let end = (0..=self.limits.text).rev().find(|end| value.is_char_boundary(*end)).unwrap_or(0);
        value.get(..end).unwrap_or_default()
    }

    fn push(&mut self, value: impl Display) {
        let _ = write!(self.out, "{value}"); // a String takes everything
    }
}
