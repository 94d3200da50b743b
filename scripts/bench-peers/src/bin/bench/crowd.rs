//! 64 connections among thousands of idle ones, next to 64 alone.

use crate::arguments::Workload;
use crate::rates::{PLAINTEXT, Side, measure_in_turns};
use crate::server::Server;
use crate::table::{self, Spread};
use crate::{Bench, Failure, idle};

/// Whether every server could be measured.
pub fn measure(bench: &Bench) -> Result<bool, Failure> {
    let crowd = idle::connections_max(bench);
    println!("### crowd: 64 connections alone, and among {} idle ones\n", crowd - 64);
    table::head(&["server", "alone, requests/s", "in the crowd", "crowd / alone", "CPU crowd / alone"], 1);
    let mut notes = Vec::new();
    for server in bench.arguments.chosen(Workload::Crowd) {
        if let Err(error) = measure_server(bench, server, crowd - 64) {
            notes.push(format!("{}: {error}", server.name()));
        }
    }
    for note in &notes {
        println!("\nLeft out: {note}");
    }
    Ok(notes.is_empty())
}

/// Two of it run at the same time, and are measured in turns.
fn measure_server(bench: &Bench, server: Server, crowd: usize) -> Result<(), Failure> {
    let mut notes = Vec::new();
    let mut sides = PLAINTEXT.start_all(bench, &[server, server], &mut notes);
    let [_, crowded] = sides.as_slice() else { return Err(notes.join(", ").into()) };
    let open = |_| idle::open(&crowded.running, PLAINTEXT.purpose);
    let connections = (0..crowd).map(open).collect::<Result<Vec<_>, _>>()?;
    measure_in_turns(bench, &mut sides, &PLAINTEXT);
    drop(connections);
    if let Some(failure) = sides.iter().find_map(|side| side.failure.clone()) {
        return Err(failure.into());
    }
    let [rates, costs] = [Side::rates, Side::costs].map(|of| [of(&sides[0]), of(&sides[1])]);
    let [alone, crowded] = rates.clone().map(|rounds| table::cell(Spread::of(rounds), 0));
    let ratio = |[alone, crowded]: [Vec<f64>; 2]| table::cell(table::ratio(crowded, alone), 2);
    table::row([server.name(), alone, crowded, ratio(rates), ratio(costs)]);
    Ok(())
}
