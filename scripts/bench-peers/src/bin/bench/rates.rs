//! Requests per second, and the server's CPU time for each, with wrk.

use crate::arguments::Workload;
use crate::client::BROWSER_FIELDS;
use crate::process::cpu_us;
use crate::server::{Protocol, Purpose, Running, Server};
use crate::table::{self, Spread};
use crate::{Bench, Failure, network};
use std::fs;
use std::process::Command;

/// Sends 16 requests at a time.
const PIPELINE: &str = "
init = function()
  local requests = {}
  for place = 1, 16 do requests[place] = wrk.format('GET') end
  batch = table.concat(requests)
end
request = function() return batch end
";

/// What wrk's OpenSSL is to offer, and nothing else, as the other clients do (`tls.rs`). OpenSSL says nothing of a
/// configuration that it does not understand.
const OPENSSL: &str = "
openssl_conf = library
[library]
ssl_conf = ssl
[ssl]
system_default = offer
[offer]
MinProtocol = TLSv1.3
Ciphersuites = TLS_AES_128_GCM_SHA256
Groups = X25519
";

/// A line of the workload's table for each server.
pub struct Variant {
    pub label: &'static str,
    pub protocol: Protocol,
    pub purpose: Purpose,
    pub connections: u32,
    /// What wrk is told besides.
    pub options: Options,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Options {
    None,
    BrowserFields,
    Pipelining,
    ConnectionClose,
}

impl Variant {
    const fn new(label: &'static str, purpose: Purpose, connections: u32, options: Options) -> Self {
        Self { label, protocol: Protocol::Http, purpose, connections, options }
    }

    /// As `Side::start_all` does.
    pub fn start_all(&self, bench: &Bench, servers: &[Server], notes: &mut Vec<String>) -> Vec<Side> {
        let start = |server| Running::start(bench, server, self.purpose, self.protocol);
        Side::start_all(bench, servers, self.label, notes, start)
    }
}

/// The small request of wrk.
pub const PLAINTEXT: Variant = Variant::new("plaintext, 64", Purpose::Plaintext, 64, Options::None);

fn variants(workload: Workload) -> Vec<Variant> {
    use Purpose::{Closing, File, Plaintext};
    match workload {
        Workload::Plaintext => vec![PLAINTEXT, Variant::new("plaintext, 512", Plaintext, 512, Options::None)],
        Workload::Browser => vec![
            Variant::new("browser, 64", Plaintext, 64, Options::BrowserFields),
            Variant::new("browser, 512", Plaintext, 512, Options::BrowserFields),
        ],
        Workload::Pipelined => vec![Variant::new("pipelined 16, 64", Plaintext, 64, Options::Pipelining)],
        Workload::Connection => vec![Variant::new("a connection each, 64", Closing, 64, Options::ConnectionClose)],
        Workload::Files => {
            let file = |name, bytes, is_from_memory| File { name, bytes, is_from_memory };
            vec![
                Variant::new("1 KiB, 64", file("1KiB.bin", 1 << 10, true), 64, Options::None),
                Variant::new("100 KiB, 64", file("100KiB.bin", 100 << 10, true), 64, Options::None),
                Variant::new("10 MiB, 8", file("10MiB.bin", 10 << 20, false), 8, Options::None),
            ]
        }
        _ => vec![],
    }
}

/// Whether every server could be measured.
pub fn measure(bench: &Bench, workload: Workload) -> Result<bool, Failure> {
    println!("### {}: wrk\n", workload.name());
    let columns =
        ["workload", "server", "requests/s", "× floor", "× nginx", "CPU µs/request", "× floor", "× nginx", "busy"];
    table::head(&columns, 2);
    let (mut notes, mut answers) = (Vec::new(), String::new());
    for variant in variants(workload) {
        let mut sides = variant.start_all(bench, &bench.arguments.chosen(workload), &mut notes);
        measure_in_turns(bench, &mut sides, &variant);
        print_rows(&sides, variant.label);
        if answers.is_empty() {
            answers = sides.iter().map(|side| format!(" {} {},", side.name(), side.running.answer_bytes)).collect();
        }
        notes.extend(sides.into_iter().filter_map(|side| side.failure));
    }
    println!("\nBytes of an answer in the first rows:{}.", answers.trim_end_matches(','));
    for note in &notes {
        println!("\nLeft out: {note}");
    }
    Ok(notes.is_empty())
}

/// A server and what was measured of it.
pub struct Side {
    pub running: Running,
    pub rounds: Vec<Round>,
    /// Why it is not measured any more.
    pub failure: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Round {
    pub requests_per_second: f64,
    pub cpu_us_per_request: f64,
}

impl Side {
    /// Starts those that can be started; why others cannot goes to the notes.
    pub fn start_all(
        bench: &Bench,
        servers: &[Server],
        label: &str,
        notes: &mut Vec<String>,
        start: impl Fn(Server) -> Result<Running, Failure>,
    ) -> Vec<Self> {
        let mut sides = Vec::new();
        for server in servers.iter().filter(|server| server.program(bench).is_some()) {
            match start(*server) {
                Ok(running) => sides.push(Self { running, rounds: Vec::new(), failure: None }),
                Err(error) => notes.push(format!("{label}: {error}")),
            }
        }
        sides
    }

    pub fn name(&self) -> String {
        self.running.server.name()
    }

    /// Requests per second, round by round.
    pub fn rates(&self) -> Vec<f64> {
        self.rounds.iter().map(|round| round.requests_per_second).collect()
    }

    /// CPU microseconds per request, round by round.
    pub fn costs(&self) -> Vec<f64> {
        self.rounds.iter().map(|round| round.cpu_us_per_request).collect()
    }

    /// Of the servers' core.
    pub fn busy_percent(&self) -> impl Iterator<Item = f64> {
        self.rounds.iter().map(|round| round.requests_per_second * round.cpu_us_per_request / 1e4)
    }

    pub fn median_rate(&self) -> Option<f64> {
        Spread::of(self.rates()).map(|spread| spread.median)
    }
}

/// The rounds of each side, with wrk.
pub fn measure_in_turns(bench: &Bench, sides: &mut [Side], variant: &Variant) {
    let rounds =
        in_turns(bench, sides, variant.label, |running, seconds| measure_round(bench, running, variant, seconds));
    sides.iter_mut().zip(rounds).for_each(|(side, rounds)| side.rounds = rounds);
}

/// A warm-up of a second each, then round after round: A B C A B C. What was measured of each side.
pub fn in_turns<R>(
    bench: &Bench,
    sides: &mut [Side],
    label: &str,
    measure: impl Fn(&Running, u64) -> Result<R, Failure>,
) -> Vec<Vec<R>> {
    let mut rounds: Vec<Vec<R>> = sides.iter().map(|_| Vec::new()).collect();
    for round in 0..=bench.arguments.rounds {
        let seconds = if round == 0 { 1 } else { bench.arguments.seconds };
        for (side, rounds) in sides.iter_mut().zip(&mut rounds).filter(|(side, _)| side.failure.is_none()) {
            match measure(&side.running, seconds) {
                Ok(_) if round == 0 => {}
                Ok(measured) => rounds.push(measured),
                Err(error) => side.failure = Some(format!("{label}: {}: {error}", side.name())),
            }
        }
    }
    rounds
}

/// One round of wrk.
pub fn measure_round(bench: &Bench, running: &Running, variant: &Variant, seconds: u64) -> Result<Round, Failure> {
    let mut wrk = wrk(bench, running, variant, seconds)?;
    let (cpu_before, accepted_before) = (cpu_us(running.pid)?, network::connections_accepted()?);
    let output = wrk.output()?;
    let cpu = cpu_us(running.pid)? - cpu_before;
    let accepted = network::connections_accepted()? - accepted_before;
    let text = String::from_utf8(output.stdout)?;
    let (requests, requests_per_second) = figures(&text)?;
    if variant.options == Options::ConnectionClose && (accepted as f64) < requests {
        return Err(format!("{accepted} connections for {requests} requests").into());
    }
    Ok(Round { requests_per_second, cpu_us_per_request: cpu / requests })
}

fn wrk(bench: &Bench, running: &Running, variant: &Variant, seconds: u64) -> Result<Command, Failure> {
    let mut command = Command::new("wrk");
    command.args(["-t", "1", "-c", &variant.connections.to_string(), "-d", &format!("{seconds}s")]);
    if variant.protocol == Protocol::Https {
        configure_tls(bench, &mut command)?;
    }
    match variant.options {
        Options::None => {}
        Options::BrowserFields => {
            command.args(BROWSER_FIELDS.iter().flat_map(|(name, value)| ["-H".into(), format!("{name}: {value}")]));
        }
        Options::Pipelining => {
            let script = bench.scratch.join("pipeline.lua");
            fs::write(&script, PIPELINE)?;
            command.arg("-s").arg(script);
        }
        Options::ConnectionClose => {
            command.args(["-H", "Connection: close"]);
        }
    }
    command.arg(running.url(variant.purpose.path()));
    Ok(command)
}

/// For a command of wrk.
pub fn configure_tls(bench: &Bench, wrk: &mut Command) -> Result<(), Failure> {
    let configuration = bench.scratch.join("openssl.conf");
    fs::write(&configuration, OPENSSL)?;
    wrk.env("OPENSSL_CONF", configuration);
    Ok(())
}

/// Requests, and requests per second; an error if one failed.
fn figures(text: &str) -> Result<(f64, f64), Failure> {
    if let Some(line) = text.lines().find(|line| line.contains("Socket errors") || line.contains("Non-2xx")) {
        return Err(line.trim().into());
    }
    let requests = text.lines().find_map(|line| line.split_once(" requests in "));
    let rate = text.lines().find_map(|line| line.strip_prefix("Requests/sec:"));
    match (requests, rate) {
        (Some((requests, _)), Some(rate)) => match (requests.trim().parse()?, rate.trim().parse()?) {
            (requests, rate) if requests > 0.0 => Ok((requests, rate)),
            _ => Err("no request was answered".into()),
        },
        _ => Err(format!("wrk says nothing of requests: {text}").into()),
    }
}

fn print_rows(sides: &[Side], label: &str) {
    let find = |server| sides.iter().find(|side| side.running.server == server);
    let (floor, nginx) = (find(Server::Floor), find(Server::Nginx));
    for side in sides.iter().filter(|side| side.failure.is_none()) {
        let rate = |to: Option<&Side>| table::cell(to.and_then(|to| table::ratio(side.rates(), to.rates())), 2);
        let cost = |to: Option<&Side>| table::cell(to.and_then(|to| table::ratio(side.costs(), to.costs())), 2);
        table::row([
            label.into(),
            side.name(),
            table::cell(Spread::of(side.rates()), 0),
            rate(floor),
            rate(nginx),
            table::cell(Spread::of(side.costs()), 2),
            cost(floor),
            cost(nginx),
            Spread::of(side.busy_percent()).map_or_else(String::new, |busy| format!("{:.0} %", busy.median)),
        ]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_those_of_wrk() {
        let text = "Running 1s test\n  89252 requests in 2.00s, 11.3MB read\nRequests/sec:  44626.01\n";
        assert_eq!(figures(text).ok(), Some((89252.0, 44626.01)));
    }

    #[test]
    fn a_round_with_errors_is_none() {
        for line in ["Socket errors: connect 0, read 3, write 0, timeout 0", "Non-2xx or 3xx responses: 7"] {
            let text = format!("  10 requests in 1.00s, 1MB read\n  {line}\nRequests/sec:  10.0\n");
            assert_eq!(figures(&text).map_err(|error| error.to_string()), Err(line.to_string()));
        }
        assert!(figures("  0 requests in 1.00s, 0B read\nRequests/sec:  0.0\n").is_err());
        assert!(figures("unable to connect").is_err());
    }
}
