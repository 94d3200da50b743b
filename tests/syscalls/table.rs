//! The table in docs/syscalls.md: what the tests expect is what the page says.

use crate::trace::{Counts, KINDS};

const PAGE: &str = include_str!("../../docs/syscalls.md");
const FIRST_COLUMN: &str = "scenario";

/// The calls that the page promises for a scenario; none of those kinds that it has no column for.
pub fn expected(scenario: &str) -> Counts {
    let mut rows = PAGE.lines().map(cells).skip_while(|row| row.first().is_none_or(|cell| cell != FIRST_COLUMN));
    let kinds = rows.next().expect("the page has the table");
    let row = rows
        .take_while(|row| row.len() == kinds.len())
        .find(|row| row[0] == scenario)
        .unwrap_or_else(|| panic!("no row for {scenario:?}"));
    let pairs = kinds.iter().zip(&row).skip(1);
    pairs.map(|(kind, count)| (known(kind), number(count))).filter(|(_, count)| *count > 0).collect()
}

/// The cells of a table's line, without marks for code.
fn cells(line: &str) -> Vec<String> {
    let inner = line.strip_prefix('|').and_then(|line| line.strip_suffix('|'));
    inner.map_or(Vec::new(), |inner| inner.split('|').map(|cell| cell.trim().replace('`', "")).collect())
}

fn known(column: &str) -> &'static str {
    KINDS.into_iter().find(|kind| *kind == column).unwrap_or_else(|| panic!("no kind of call is named {column:?}"))
}

fn number(cell: &str) -> u64 {
    if cell == "–" { 0 } else { cell.parse().unwrap_or_else(|_| panic!("{cell:?} is no number")) }
}
