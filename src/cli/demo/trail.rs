//! What the logins left in the audit trail.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::error::DemoError;
use super::interrupt::Interrupt;
use super::logins::Outcome;

/// One record: the line as it stands in the file, and what it says.
pub(super) struct Record {
    line: String,
    value: Value,
}

impl Record {
    /// The text at a JSON pointer, or nothing.
    fn text(&self, pointer: &str) -> &str {
        self.value.pointer(pointer).and_then(Value::as_str).unwrap_or("")
    }

    /// What happened.
    pub(super) fn event(&self) -> &str {
        self.text("/event")
    }
}

/// The records that are there, without a line that is still being written.
pub(super) fn records(file: &Path) -> Vec<Record> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let record = |line: &str| Some(Record { line: line.to_owned(), value: serde_json::from_str(line).ok()? });
    text.lines().filter_map(record).collect()
}

/// Waits for the records of every login, and gives all there are: a session's end is written after psql has gone.
pub(super) fn read(file: &Path, outcomes: &[Outcome], interrupt: &Interrupt) -> Result<Vec<Record>, DemoError> {
    let complete = interrupt.wait_for(Duration::from_secs(5), || {
        let found = records(file);
        Ok(is_complete(&found, outcomes).then_some(found))
    })?;
    Ok(complete.unwrap_or_else(|| records(file)))
}

/// Whether each session has its start and its end, and each refusal its record.
pub(super) fn is_complete(records: &[Record], outcomes: &[Outcome]) -> bool {
    let count = |event: &str| records.iter().filter(|record| record.event() == event).count();
    let sessions = outcomes.iter().filter(|outcome| outcome.login.expected.is_let_in()).count();
    let refusals = outcomes.len().saturating_sub(sessions);
    count("session.start") == sessions && count("session.end") == sessions && count("connection.refused") == refusals
}

/// The first session's records and every refusal, cut to what matters, and one of them whole.
pub(super) fn show(records: &[Record]) -> String {
    let first = records.iter().find(|record| record.event() == "session.start");
    let session = first.map_or("", |record| record.text("/session"));
    let of_first = records.iter().filter(|record| !session.is_empty() && record.text("/session") == session);
    let refused = records.iter().filter(|record| record.event() == "connection.refused");
    let lines: String = of_first.chain(refused).map(|record| format!("  {}\n", brief(record))).collect();
    let whole = first.map_or_else(String::new, |record| format!("\nOne of them whole:\n\n  {}\n", record.line));
    format!("What the audit trail says of the first session and of every refusal, in brief:\n\n{lines}{whole}")
}

fn brief(record: &Record) -> String {
    let shown = FACTS.iter().filter(|(_, path)| !record.text(path).is_empty());
    let facts = shown.map(|(name, path)| format!("{name}={}", record.text(path))).collect::<Vec<_>>().join(" ");
    format!("{:<18}  {facts}", record.event())
}

/// What is shown of a record: its name here, and where it stands there.
const FACTS: [(&str, &str); 7] = [
    ("certificate", "/cert/cn"),
    ("role", "/startup/user"),
    ("rule", "/decision/rule"),
    ("tls", "/tls/version"),
    ("reason", "/reason"),
    ("sqlstate", "/sqlstate"),
    ("message", "/message"),
];
