//! Servers next to the best peer among them.

use crate::rates::{Round, Side};
use crate::server::Server;
use crate::table::{self, Spread};

/// Requests per second, or what the column is named, and the CPU time of each, also next to the floor, if there is one.
pub fn print_rates(sides: &[Side], rate: &str, cost: &str) {
    let floor = sides.iter().find(|side| side.running.server == Server::Floor);
    let beside_floor = floor.map(|_| "× floor");
    let columns = ["server", rate, "× best", cost, "× best"].into_iter().chain(beside_floor).chain(["busy"]);
    table::head(&columns.collect::<Vec<_>>(), 1);
    let rates = beside_best(sides, sides.iter().map(Side::rates).collect(), Best::Greatest, 0);
    let costs = beside_best(sides, sides.iter().map(Side::costs).collect(), Best::Least, 2);
    for ((side, rate), cost) in sides.iter().zip(rates).zip(costs) {
        let beside_floor = floor.map(|floor| table::cell(table::ratio(side.costs(), floor.costs()), 2));
        print_row(side, rate.into_iter().chain(cost).chain(beside_floor));
    }
}

/// The figures of a side, and how busy it was.
pub fn print_row(side: &Side, figures: impl Iterator<Item = String>) {
    let busy = Spread::of(side.busy_percent()).map_or_else(String::new, |busy| format!("{:.0} %", busy.median));
    table::row([side.name()].into_iter().chain(figures).chain([busy]));
}

/// Those that could be measured. Why others could not goes to the notes.
pub fn take_failures(sides: Vec<Side>, notes: &mut Vec<String>) -> Vec<Side> {
    let (failed, whole): (Vec<_>, Vec<_>) = sides.into_iter().partition(|side| side.failure.is_some());
    notes.extend(failed.into_iter().filter_map(|side| side.failure));
    whole
}

/// A figure of each side, round by round.
pub fn column(sides: &[Side], figure: impl Fn(&Round) -> f64) -> Vec<Vec<f64>> {
    sides.iter().map(|side| side.rounds.iter().map(&figure).collect()).collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Best {
    Least,
    Greatest,
}

/// For each side the figure, and its ratio, round by round, to that of the peer whose median is the best.
pub fn beside_best(sides: &[Side], figures: Vec<Vec<f64>>, which: Best, places: usize) -> Vec<[String; 2]> {
    let is_peer = |place: &usize| !matches!(sides[*place].running.server, Server::Tidemill | Server::Floor);
    let best = best_of(&figures, (0..sides.len()).filter(is_peer), which);
    let ratio = |rounds: &Vec<f64>| best.and_then(|best| table::ratio(rounds.clone(), figures[best].clone()));
    let cells = |rounds| [table::cell(Spread::of(Vec::clone(rounds)), places), table::cell(ratio(rounds), 2)];
    figures.iter().map(cells).collect()
}

/// The place, among these, where the median is the best.
fn best_of(figures: &[Vec<f64>], places: impl Iterator<Item = usize>, which: Best) -> Option<usize> {
    let medians = places.filter_map(|place| Some((place, Spread::of(figures[place].clone())?.median)));
    let better = |one: (usize, f64), other: (usize, f64)| match which {
        Best::Least if other.1 < one.1 => other,
        Best::Greatest if other.1 > one.1 => other,
        _ => one,
    };
    Some(medians.reduce(better)?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_has_the_best_median() {
        let figures = [vec![1.0, 5.0, 9.0], vec![4.0, 4.0, 90.0], vec![], vec![6.0, 6.0, 0.0]];
        assert_eq!(best_of(&figures, 0..4, Best::Least), Some(1));
        assert_eq!(best_of(&figures, 0..4, Best::Greatest), Some(3));
        assert_eq!(best_of(&figures, [0, 2].into_iter(), Best::Greatest), Some(0));
        assert_eq!(best_of(&figures, [2].into_iter(), Best::Least), None);
    }
}
