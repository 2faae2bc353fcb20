//! The outcomes as a table.

use super::logins::Outcome;

/// A line an outcome, each column as wide as it must be.
pub(super) fn of(outcomes: &[Outcome]) -> String {
    let rows: Vec<_> = outcomes.iter().map(cells).collect();
    // The longest column last, so that a narrow terminal breaks lines where it hurts least.
    let heads = ["", "who", "asks", "and reads"];
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(String::as_str).chain(heads.get(column).copied());
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..heads.len()).map(width).collect();
    let line = |cells: &[&str]| {
        let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect::<Vec<_>>().join("  ");
        format!("  {}\n", padded.trim_end())
    };
    let rule: Vec<_> = widths.iter().map(|width| "-".repeat(*width)).collect();
    let mut out = String::from("\n") + &line(&heads) + &line(&rule.iter().map(String::as_str).collect::<Vec<_>>());
    for row in &rows {
        out.push_str(&line(&row.each_ref().map(String::as_str)));
    }
    out
}

fn cells(outcome: &Outcome) -> [String; 4] {
    let verdict = if outcome.is_as_expected() { "ok" } else { "NOT AS EXPECTED" };
    [verdict.to_owned(), outcome.login.who.to_owned(), outcome.login.asks.to_owned(), outcome.answer.clone()]
}
