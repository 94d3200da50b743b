//! How long an established connection waits while 64 clients do nothing but full handshakes.
//!
//! On the connection a request is made, its answer awaited, and then nothing is done for a millisecond. Latency runs from
//! when the request is sent. One stall is thus one request: the greatest latency shows it, and p99 only if there are more.
//!
//! The load shares its core with this program, and must not delay it: it runs as SCHED_IDLE, which gives way at once to
//! whoever wakes up.

use crate::comparison::{self, Best};
use crate::latency::{Quantiles, quantiles};
use crate::process::cpu_us;
use crate::rates::{self, Round, Side};
use crate::server::{Running, Server};
use crate::table::{self, Spread};
use crate::tls::{self, SMALL};
use crate::{Bench, Failure, client};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// Between an answer and the next request.
const PAUSE: Duration = Duration::from_millis(1);

/// After so long all clients of the load are under way.
const START: Duration = Duration::from_millis(100);

/// Why a server could not be measured goes to the notes.
pub fn measure(bench: &Bench, servers: &[Server], notes: &mut Vec<String>) {
    let variant = tls::variant("tls, fairness", SMALL, 1);
    let mut sides = variant.start_all(bench, servers, notes);
    let rounds =
        rates::in_turns(bench, &mut sides, variant.label, |running, seconds| measure_round(bench, running, seconds));
    let mut latencies = Vec::new();
    for (side, rounds) in sides.iter_mut().zip(rounds) {
        let (rates, quantiles): (Vec<_>, Vec<_>) = rounds.into_iter().unzip();
        side.rounds = rates;
        latencies.extend(side.failure.is_none().then_some(quantiles));
    }
    println!("### tls: latency of a kept connection while 64 clients make full handshakes: tls-load\n");
    print_rows(&comparison::take_failures(sides, notes), &latencies);
    println!("\nHandshakes without a request. The kept connection asks for 1 KiB, a millisecond after each answer.");
}

fn print_rows(sides: &[Side], latencies: &[Vec<Quantiles>]) {
    let columns =
        ["server", "p50 µs", "p99 µs", "p99 × best", "greatest µs", "handshakes/s", "CPU µs/handshake", "busy"];
    table::head(&columns, 1);
    let of = |rounds: &[Quantiles], which: usize| rounds.iter().map(|quantiles| quantiles[which]).collect::<Vec<_>>();
    let p99 = comparison::beside_best(sides, latencies.iter().map(|rounds| of(rounds, 1)).collect(), Best::Least, 0);
    for ((side, rounds), [p99, ratio]) in sides.iter().zip(latencies).zip(p99) {
        let [p50, greatest] = [0, 3].map(|which| table::cell(Spread::of(of(rounds, which)), 0));
        let (rate, cost) = (Spread::of(side.rates()), Spread::of(side.costs()));
        let load = [table::cell(rate, 0), table::cell(cost, 2)];
        comparison::print_row(side, [p50, p99, ratio, greatest].into_iter().chain(load));
    }
}

fn measure_round(bench: &Bench, running: &Running, seconds: u64) -> Result<(Round, Quantiles), Failure> {
    let mut chrt = Command::new("chrt");
    chrt.args(["--idle", "0"]).arg(bench.programs.join("tls-load"));
    // Connected before: that it gets in at all is not the question.
    let mut probe = Probe::connect(running)?;
    let cpu_before = cpu_us(running.pid)?;
    let mut load =
        tls::handshake_load(bench, running, seconds, chrt).spawn().map_err(|error| format!("chrt: {error}"))?;
    std::thread::sleep(START);
    let latencies_us = probe.run_beside(&mut load);
    if latencies_us.is_err() {
        load.kill()?;
    }
    let output = load.wait_with_output()?;
    let mut latencies_us = latencies_us?;
    let cpu = cpu_us(running.pid)? - cpu_before;
    let (handshakes, requests_per_second) = tls::handshake_figures(&output.stdout)?;
    let quantiles = quantiles(&mut latencies_us);
    Ok((Round { requests_per_second, cpu_us_per_request: cpu / handshakes }, quantiles))
}

struct Probe {
    stream: Box<dyn client::Stream>,
    request: String,
}

impl Probe {
    /// After a first request.
    fn connect(running: &Running) -> Result<Self, Failure> {
        let request = client::request(running.address, SMALL.path(), &[]);
        let mut probe = Self { stream: running.connect()?, request };
        probe.exchange()?;
        Ok(probe)
    }

    fn exchange(&mut self) -> Result<(), Failure> {
        match client::exchange(&mut self.stream, self.request.as_bytes())? {
            answer if answer.is_ok => Ok(()),
            answer => Err(answer.head.into()),
        }
    }

    /// Latencies in microseconds, until the load ends.
    fn run_beside(&mut self, load: &mut Child) -> Result<Vec<f64>, Failure> {
        let mut latencies_us = Vec::new();
        while load.try_wait()?.is_none() {
            std::thread::sleep(PAUSE);
            let start = Instant::now();
            self.exchange()?;
            latencies_us.push(start.elapsed().as_secs_f64() * 1e6);
        }
        Ok(latencies_us)
    }
}
