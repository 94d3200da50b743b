//! From exec to the first response, and the size of what is started.

use crate::arguments::Workload;
use crate::process::Process;
use crate::server::{Launch, Protocol, Purpose, Server};
use crate::table::{self, Spread};
use crate::{Bench, Failure};
use std::path::Path;
use std::time::Instant;

/// How often each is started, for each round of the other workloads.
const STARTS_PER_ROUND: usize = 5;

/// Whether every server could be measured.
pub fn measure(bench: &Bench) -> Result<bool, Failure> {
    let starts = STARTS_PER_ROUND * bench.arguments.rounds;
    println!("### start: {starts} of each, in turns\n");
    table::head(&["server", "ms to the first response", "program, KiB"], 1);
    let able =
        bench.arguments.chosen(Workload::Start).into_iter().filter_map(|server| Some((server, server.program(bench)?)));
    let mut able: Vec<_> = able.map(|(server, program)| (server, program, Vec::new())).collect();
    let mut notes = Vec::new();
    // The first of each warms the machine up.
    for start in 0..=starts {
        able.retain_mut(|(server, program, times)| match first_response_ms(bench, *server, program) {
            Ok(ms) => {
                times.extend((start > 0).then_some(ms));
                true
            }
            Err(error) => {
                notes.push(format!("{}: {error}", server.name()));
                false
            }
        });
    }
    for (server, program, times) in able {
        let size = std::fs::metadata(program)?.len() / 1024;
        table::row([server.name(), table::cell(Spread::of(times), 1), size.to_string()]);
    }
    println!("\nFrom before the process is created to the whole answer. Programs without the libraries they load.");
    for note in &notes {
        println!("\nLeft out: {note}");
    }
    Ok(notes.is_empty())
}

fn first_response_ms(bench: &Bench, server: Server, program: &Path) -> Result<f64, Failure> {
    let launch = Launch::prepare(bench, server, Purpose::Plaintext, Protocol::Http)?;
    let mut command = launch.command(program)?;
    let start = Instant::now();
    let mut process = Process::start(&mut command)?;
    let answer = launch.first_answer(&mut process)?;
    let elapsed = start.elapsed();
    if !answer.is_ok {
        return Err(answer.head.into());
    }
    Ok(elapsed.as_secs_f64() * 1e3)
}
