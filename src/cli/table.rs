//! Rows of text under each other, as wide as they need to be.

/// On which side of its column a cell stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Right,
}

/// A table; without a header all its columns are aligned left. Two spaces part the columns, and no line ends in any.
pub(super) fn table(header: &[(&str, Align)], rows: Vec<Vec<String>>) -> String {
    let titles: Vec<String> = header.iter().map(|(title, _)| (*title).to_owned()).collect();
    let all: Vec<Vec<String>> = [titles].into_iter().filter(|titles| !titles.is_empty()).chain(rows).collect();
    let columns = all.iter().map(Vec::len).max().unwrap_or(0);
    let widest = |column: usize| all.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(widest).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| match header.get(column) {
            Some((_, Align::Right)) => format!("{cell:>width$}"),
            Some((_, Align::Left)) | None => format!("{cell:<width$}"),
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    all.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_under_each_other() {
        let rows = vec![vec!["alice".to_owned(), "7".to_owned(), "x".to_owned()], vec!["zoë".to_owned(), "4200".to_owned(), String::new()]];
        let header = [("ROLE", Align::Left), ("IN", Align::Right), ("C", Align::Left)];
        assert_eq!(table(&header, rows), "ROLE     IN  C\nalice     7  x\nzoë    4200");
        assert_eq!(table(&header, Vec::new()), "ROLE  IN  C");
        assert_eq!(table(&[], Vec::new()), "");
    }
}
