//! Requests that are passed on to an upstream: tidemill next to nginx, HAProxy and Caddy.
//!
//! The upstream is nginx with files. Where CPU time is measured it runs on the core of the load: the other one is the proxy's
//! alone.

use crate::arguments::Workload;
use crate::comparison::{Best, beside_best, print_rates, take_failures};
use crate::latency::{self, Quantiles};
use crate::rates::{self, Options, Side, Variant};
use crate::server::{Access, Protocol, Purpose, Role, Running, Server};
use crate::table::{self, Spread};
use crate::tls::{LARGE, SMALL};
use crate::{Bench, Failure};

const CONNECTIONS: u32 = 64;
const SHARE_OF_MAXIMUM: f64 = 0.5;

/// Whether every server could be measured.
pub fn measure(bench: &Bench) -> Result<bool, Failure> {
    let mut notes = Vec::new();
    println!("The upstream is nginx, on the core of the load. × best: to the best peer there.\n");
    let rate = passed_on(bench, "1 KiB", SMALL, &mut notes)?;
    println!();
    at_half_the_rate(bench, rate, &mut notes)?;
    println!();
    passed_on(bench, "10 MiB", LARGE, &mut notes)?;
    for note in &notes {
        println!("\nLeft out: {note}");
    }
    Ok(notes.is_empty())
}

/// Proxies and their upstream, which is to live as long as they.
struct Proxies {
    sides: Vec<Side>,
    _upstream: Running,
}

impl Proxies {
    fn start(
        bench: &Bench,
        label: &str,
        purpose: Purpose,
        upstream: Role,
        notes: &mut Vec<String>,
    ) -> Result<Self, Failure> {
        let access = |role| Access { protocol: Protocol::Http, link: None, role };
        let upstream = Running::start(bench, Server::Nginx, purpose, access(upstream))?;
        let start = |server| Running::start(bench, server, purpose, access(Role::Proxy(upstream.address)));
        let sides = Side::start_all(bench, &bench.arguments.chosen(Workload::Proxy), label, notes, start);
        Ok(Self { sides, _upstream: upstream })
    }
}

/// Requests per second and CPU time of each proxy. Returns the rate of the slowest.
fn passed_on(bench: &Bench, label: &'static str, purpose: Purpose, notes: &mut Vec<String>) -> Result<f64, Failure> {
    let mut proxies = Proxies::start(bench, label, purpose, Role::Upstream, notes)?;
    let options = Options::None;
    let variant = Variant { label, protocol: Protocol::Http, purpose, connections: CONNECTIONS, options };
    rates::measure_in_turns(bench, &mut proxies.sides, &variant);
    let sides = take_failures(proxies.sides, notes);
    println!("### proxy: {label} over {CONNECTIONS} connections: wrk\n");
    print_rates(&sides, "requests/s", "CPU µs/request");
    let slowest = sides.iter().filter_map(Side::median_rate).reduce(f64::min);
    slowest.ok_or_else(|| format!("{label}: no proxy could be measured").into())
}

/// Latency at half the `rate` of the slowest. What makes this load never sleeps, so the upstream has the core of the proxies.
fn at_half_the_rate(bench: &Bench, rate: f64, notes: &mut Vec<String>) -> Result<(), Failure> {
    let rate = (rate * SHARE_OF_MAXIMUM).round();
    let proxies = Proxies::start(bench, "latency", SMALL, Role::Server, notes)?;
    let sides = &proxies.sides;
    println!("### proxy: 1 KiB, {CONNECTIONS} connections, {rate} requests/s for every proxy\n");
    table::head(&["server", "p50 µs", "p99 µs", "p99 × best", "p99.9 µs"], 1);
    let rounds = latency::measure_in_turns(bench, notes, sides, SMALL, rate);
    let column = |which: usize| -> Vec<Vec<f64>> {
        let of = |measured: &Vec<Quantiles>| measured.iter().map(|quantiles| quantiles[which]).collect();
        rounds.iter().map(of).collect()
    };
    let p99 = beside_best(sides, column(1), Best::Least, 0);
    for (place, (side, [p99, beside_best])) in sides.iter().zip(p99).enumerate() {
        let cell = |which: usize| table::cell(Spread::of(column(which)[place].clone()), 0);
        table::row([side.name(), cell(0), p99, beside_best, cell(2)]);
    }
    println!("\nHere the upstream is on the core of the proxies. Latency runs from when a request was due.");
    Ok(())
}
