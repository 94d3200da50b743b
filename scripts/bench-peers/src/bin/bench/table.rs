//! What the tables show of several rounds.

use std::fmt;

/// The median of some rounds, and between what they were.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    pub least: f64,
    pub median: f64,
    pub greatest: f64,
}

impl Spread {
    /// None of no rounds.
    pub fn of(rounds: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = rounds.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (least, greatest) = (*values.first()?, *values.last()?);
        let (lower, upper) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
        Some(Self { least, median: (lower + upper) / 2.0, greatest })
    }
}

/// With as many places after the point as asked for.
impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let places = f.precision().unwrap_or(0);
        let Self { least, median, greatest } = self;
        write!(f, "{median:.places$} ({least:.places$}–{greatest:.places$})")
    }
}

/// How the one is to the other, round by round: what else happens on the machine happens to both.
pub fn ratio(one: impl IntoIterator<Item = f64>, other: impl IntoIterator<Item = f64>) -> Option<Spread> {
    Spread::of(one.into_iter().zip(other).map(|(one, other)| one / other))
}

/// A cell; what there is none of is a dash.
pub fn cell(spread: Option<Spread>, places: usize) -> String {
    spread.map_or_else(|| "–".into(), |spread| format!("{spread:.places$}"))
}

/// Prints a row of Markdown.
pub fn row<T: fmt::Display>(cells: impl IntoIterator<Item = T>) {
    let line: String = cells.into_iter().map(|cell| format!(" {cell} |")).collect();
    println!("|{line}");
}

/// Prints the head of a table; the first so many columns are text, the others figures.
pub fn head(columns: &[&str], texts: usize) {
    row(columns);
    let rules: String = (0..columns.len()).map(|column| if column < texts { "---|" } else { "--:|" }).collect();
    println!("|{rules}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle_or_between_the_two_there() {
        assert_eq!(Spread::of([]), None);
        assert_eq!(Spread::of([7.0, 1.0, 3.0]), Some(Spread { least: 1.0, median: 3.0, greatest: 7.0 }));
        assert_eq!(Spread::of([7.0, 1.0, 3.0, 4.0]).map(|spread| spread.median), Some(3.5));
    }

    #[test]
    fn a_ratio_is_one_of_each_round() {
        let spread = ratio([2.0, 40.0, 600.0], [1.0, 10.0, 200.0]);
        assert_eq!(cell(spread, 1), "3.0 (2.0–4.0)");
        assert_eq!(cell(ratio([], [1.0]), 1), "–");
    }
}
