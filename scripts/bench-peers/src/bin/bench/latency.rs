//! Latency at a rate that every server can do.

use crate::arguments::Workload;
use crate::open_loop::Load;
use crate::rates::{self, PLAINTEXT, Side};
use crate::server::{Purpose, Server};
use crate::table::{self, Spread};
use crate::{Bench, Failure, client};
use std::time::Duration;

const CONNECTIONS: usize = 64;
const SHARE_OF_MAXIMUM: f64 = 0.7;

/// p50, p99, p99.9 and the maximum, in microseconds.
pub type Quantiles = [f64; 4];

/// Whether every server could be measured.
pub fn measure(bench: &Bench) -> Result<bool, Failure> {
    let mut notes = Vec::new();
    let servers = bench.arguments.chosen(Workload::Latency);
    let mut sides = PLAINTEXT.start_all(bench, &servers, &mut notes);
    rates::measure_in_turns(bench, &mut sides, &PLAINTEXT);
    notes.extend(sides.iter().filter_map(|side| side.failure.clone()));
    sides.retain(|side| side.failure.is_none());
    let slowest = sides.iter().filter_map(Side::median_rate).reduce(f64::min).ok_or(notes.join("\n"))?;
    let rate = (slowest * SHARE_OF_MAXIMUM).round();
    println!("### latency: /plaintext, {CONNECTIONS} connections, {rate} requests/s for every server\n");
    let columns = ["server", "maximum requests/s", "p50 µs", "p99 µs", "p99.9 µs", "greatest µs", "p99.9 × nginx"];
    table::head(&columns, 1);
    print_rows(&sides, &measure_in_turns(bench, &mut notes, &sides, PLAINTEXT.purpose, rate));
    println!("\nThe rate is 70 % of the slowest maximum above. Latency runs from when a request was due.");
    for note in &notes {
        println!("\nLeft out: {note}");
    }
    Ok(notes.is_empty())
}

/// The rounds of each side, after a warm-up of a second.
pub fn measure_in_turns(
    bench: &Bench,
    notes: &mut Vec<String>,
    sides: &[Side],
    purpose: Purpose,
    rate: f64,
) -> Vec<Vec<Quantiles>> {
    let mut rounds = vec![Vec::new(); sides.len()];
    for round in 0..=bench.arguments.rounds {
        let duration = Duration::from_secs(if round == 0 { 1 } else { bench.arguments.seconds });
        for (side, measured) in sides.iter().zip(&mut rounds) {
            match measure_round(side, purpose, rate, duration) {
                Ok(_) if round == 0 => {}
                Ok(quantiles) => measured.push(quantiles),
                Err(error) => notes.push(format!("a round of {}: {error}", side.name())),
            }
        }
    }
    rounds
}

fn measure_round(side: &Side, purpose: Purpose, rate: f64, duration: Duration) -> Result<Quantiles, Failure> {
    let address = side.running.address;
    let request = client::request(address, purpose.path(), &[]);
    let answer_bytes = side.running.answer_bytes;
    let load = Load { address, request: request.as_bytes(), answer_bytes, connections: CONNECTIONS, rate, duration };
    let mut latencies_us = load.run()?;
    Ok(quantiles(&mut latencies_us))
}

pub fn quantiles(latencies_us: &mut [f64]) -> Quantiles {
    latencies_us.sort_by(f64::total_cmp);
    [0.5, 0.99, 0.999, 1.0].map(|share| quantile(latencies_us, share))
}

/// The least of these, in order, that so large a share of them does not exceed.
fn quantile(ordered: &[f64], share: f64) -> f64 {
    let rank = (ordered.len() as f64 * share).ceil() as usize;
    ordered.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

fn print_rows(sides: &[Side], rounds: &[Vec<Quantiles>]) {
    let nginx = sides.iter().position(|side| side.running.server == Server::Nginx).map(|place| &rounds[place]);
    for (side, measured) in sides.iter().zip(rounds) {
        let of = |which: usize| table::cell(Spread::of(measured.iter().map(|quantiles| quantiles[which])), 0);
        let p999 = |rounds: &[Quantiles]| rounds.iter().map(|quantiles| quantiles[2]).collect::<Vec<_>>();
        let ratio = nginx.and_then(|nginx| table::ratio(p999(measured), p999(nginx)));
        let maximum = side.median_rate().map_or_else(String::new, |rate| format!("{rate:.0}"));
        table::row([side.name(), maximum, of(0), of(1), of(2), of(3), table::cell(ratio, 2)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_one_of_the_values() {
        let values: Vec<f64> = (1..=1000).map(f64::from).collect();
        assert_eq!([0.5, 0.99, 0.999, 1.0].map(|share| quantile(&values, share)), [500.0, 990.0, 999.0, 1000.0]);
        assert_eq!(quantile(&[7.0], 0.5), 7.0);
    }
}
