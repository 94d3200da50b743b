//! HTTPS, next to the best peer: requests, full handshakes, a large file, idle connections, and fairness.
//!
//! All servers have one certificate, made here. Clients offer one version, one cipher and one group.

use crate::arguments::Workload;
use crate::comparison::{Best, beside_best, column, print_rates, print_row, take_failures};
use crate::fairness;
use crate::idle::{self, Course};
use crate::process::cpu_us;
use crate::rates::{self, Options, Round, Variant};
use crate::server::{Protocol, Purpose, Running, Server};
use crate::table;
use crate::{Bench, Failure, network};
use rustls::CipherSuite;
use rustls::server::Acceptor;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tidemill_bench::tls::Identity;

/// What all but `large_file` ask for.
pub const SMALL: Purpose = Purpose::File { name: "1KiB.bin", bytes: 1 << 10, is_from_memory: false };
pub const LARGE: Purpose = Purpose::File { name: "10MiB.bin", bytes: 10 << 20, is_from_memory: false };

const IDLE_CONNECTIONS: usize = 2000;

/// Whether every server could be measured.
pub fn measure(bench: &Bench) -> Result<bool, Failure> {
    Identity::in_folder(&bench.scratch).make()?;
    check_offer_of_wrk(bench)?;
    let mut notes = Vec::new();
    let mut servers = bench.arguments.chosen(Workload::Tls);
    // One that is not there at all is named in the first lines.
    if let Some(program) = Server::Tidemill.program(bench)
        && servers.contains(&Server::Tidemill)
        && !speaks_tls(&program)?
    {
        servers.retain(|server| *server != Server::Tidemill);
        notes.push("tidemill: this build does not know --tls-cert, and speaks no TLS".to_string());
    }
    println!(
        "TLS 1.3, TLS_AES_128_GCM_SHA256, X25519, one ECDSA certificate on P-256. × best: to the best peer there.\n"
    );
    requests(bench, &servers, &mut notes);
    handshakes(bench, &servers, &mut notes);
    large_file(bench, &servers, &mut notes);
    idle_memory(bench, &servers, &mut notes);
    fairness::measure(bench, &servers, &mut notes);
    for note in &notes {
        println!("\nLeft out: {note}");
    }
    Ok(notes.is_empty())
}

/// An error if wrk, configured as for its rounds, offers another cipher than the other clients.
fn check_offer_of_wrk(bench: &Bench) -> Result<(), Failure> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let mut command = Command::new("wrk");
    rates::configure_tls(bench, &mut command)?;
    command.args(["-t1", "-c1", "-d2s", "--timeout", "1s", &format!("https://{}/", listener.local_addr()?)]);
    let mut wrk = command.stdout(Stdio::null()).spawn()?;
    let offer = offer_of_client(&listener);
    wrk.kill()?;
    wrk.wait()?;
    match offer?.as_slice() {
        [CipherSuite::TLS13_AES_128_GCM_SHA256] => Ok(()),
        others => Err(format!("wrk offers {others:?}").into()),
    }
}

/// The ciphers in the first hello that comes. wrk closes its first connection without one.
fn offer_of_client(listener: &TcpListener) -> Result<Vec<CipherSuite>, Failure> {
    listener.set_nonblocking(true)?;
    let deadline = Instant::now() + Duration::from_secs(5);
    while Instant::now() < deadline {
        let mut stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                std::thread::sleep(Duration::from_millis(1));
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        let mut acceptor = Acceptor::default();
        while acceptor.read_tls(&mut stream)? > 0 {
            if let Some(accepted) = acceptor.accept().map_err(|(error, _)| error)? {
                // The other value says that a client renegotiates safely (RFC 5746 §3.3), and is no cipher.
                let ciphers = accepted.client_hello().cipher_suites().to_vec().into_iter();
                return Ok(ciphers
                    .filter(|cipher| *cipher != CipherSuite::TLS_EMPTY_RENEGOTIATION_INFO_SCSV)
                    .collect());
            }
        }
    }
    Err("wrk sends no hello".into())
}

/// Whether tidemill was built with it.
fn speaks_tls(tidemill: &Path) -> Result<bool, Failure> {
    let help = Command::new(tidemill).arg("--help").output()?.stdout;
    Ok(memchr::memmem::find(&help, b"--tls-cert").is_some())
}

/// Of HTTPS.
pub fn variant(label: &'static str, purpose: Purpose, connections: u32) -> Variant {
    Variant { label, protocol: Protocol::Https, purpose, connections, options: Options::None }
}

fn requests(bench: &Bench, servers: &[Server], notes: &mut Vec<String>) {
    let variant = variant("tls, requests", SMALL, 64);
    let mut sides = variant.start_all(bench, servers, notes);
    rates::measure_in_turns(bench, &mut sides, &variant);
    let sides = take_failures(sides, notes);
    println!("### tls: requests for 1 KiB over 64 kept connections: wrk\n");
    print_rates(&sides, "requests/s", "CPU µs/request");
    let answers = sides.iter().map(|side| format!("{} {}", side.name(), side.running.answer_bytes));
    println!("\nBytes of an answer: {}.\n", answers.collect::<Vec<_>>().join(", "));
}

fn handshakes(bench: &Bench, servers: &[Server], notes: &mut Vec<String>) {
    let variant = variant("tls, handshakes", SMALL, 64);
    let mut sides = variant.start_all(bench, servers, notes);
    let rounds =
        rates::in_turns(bench, &mut sides, variant.label, |running, seconds| handshake_round(bench, running, seconds));
    sides.iter_mut().zip(rounds).for_each(|(side, rounds)| side.rounds = rounds);
    println!("### tls: a connection, a full handshake and a request for 1 KiB each, 64 at a time: tls-load\n");
    print_rates(&take_failures(sides, notes), "handshakes/s", "CPU µs/handshake");
    println!();
}

fn handshake_round(bench: &Bench, running: &Running, seconds: u64) -> Result<Round, Failure> {
    let mut load = handshake_load(bench, running, seconds, Command::new(bench.programs.join("tls-load")));
    let (cpu_before, accepted_before) = (cpu_us(running.pid)?, network::connections_accepted()?);
    let output = load.arg(SMALL.path()).output()?;
    let cpu = cpu_us(running.pid)? - cpu_before;
    let accepted = network::connections_accepted()? - accepted_before;
    let (handshakes, requests_per_second) = handshake_figures(&output.stdout)?;
    if (accepted as f64) < handshakes {
        return Err(format!("{accepted} connections for {handshakes} handshakes").into());
    }
    Ok(Round { requests_per_second, cpu_us_per_request: cpu / handshakes })
}

/// This program, or one that is to start it, with what it is told.
pub fn handshake_load(bench: &Bench, running: &Running, seconds: u64, mut program: Command) -> Command {
    program.args([running.address.to_string(), seconds.to_string()]);
    program.arg(Identity::in_folder(&bench.scratch).certificate).stdout(Stdio::piped()).stderr(Stdio::inherit());
    program
}

/// How many handshakes there were, and how many a second.
pub fn handshake_figures(stdout: &[u8]) -> Result<(f64, f64), Failure> {
    let text = std::str::from_utf8(stdout)?;
    let (handshakes, rate) = text.trim().split_once(' ').ok_or("the load failed")?;
    Ok((handshakes.parse()?, rate.parse()?))
}

fn large_file(bench: &Bench, servers: &[Server], notes: &mut Vec<String>) {
    // HAProxy serves no files, and keeps no content of that size.
    let servers: Vec<_> = servers.iter().copied().filter(|server| *server != Server::Haproxy).collect();
    let variant = variant("tls, 10 MiB", LARGE, 8);
    let mut sides = variant.start_all(bench, &servers, notes);
    rates::measure_in_turns(bench, &mut sides, &variant);
    let sides = take_failures(sides, notes);
    let megabytes = (10 << 20) as f64 / 1e6;
    let rates = column(&sides, |round: &Round| round.requests_per_second * megabytes);
    let yields = column(&sides, |round: &Round| megabytes / (round.cpu_us_per_request / 1e6));
    println!("### tls: a file of 10 MiB over 8 kept connections: wrk\n");
    table::head(&["server", "MB/s", "× best", "MB/CPU s", "× best", "busy"], 1);
    let figures = beside_best(&sides, rates, Best::Greatest, 0).into_iter();
    for (place, (rate, yielded)) in figures.zip(beside_best(&sides, yields, Best::Greatest, 0)).enumerate() {
        print_row(&sides[place], rate.into_iter().chain(yielded));
    }
    println!();
}

fn idle_memory(bench: &Bench, servers: &[Server], notes: &mut Vec<String>) {
    let count = IDLE_CONNECTIONS.min(idle::connections_max(bench));
    let mut measured = Vec::new();
    for server in servers.iter().filter(|server| server.program(bench).is_some()) {
        let running = Running::start(bench, *server, SMALL, Protocol::Https);
        match running.and_then(|running| idle::course(&running, count, || idle::open(&running, SMALL))) {
            Ok(course) => measured.push((*server, course)),
            Err(error) => notes.push(format!("tls, {count} idle connections: {}: {error}", server.name())),
        }
    }
    println!("### tls: memory of {count} kept connections after one request with a browser's fields, measured once\n");
    let kibibytes = ["RSS before, KiB", "RSS idle, KiB", "RSS after, KiB"];
    table::head(&[&["server", "RSS bytes each", "× best", "PSS bytes each"], kibibytes.as_slice()].concat(), 1);
    let each = |course: &Course| course.growth(|memory| memory.resident, count);
    let peers = measured.iter().filter(|(server, _)| *server != Server::Tidemill);
    let best = peers.map(|(_, course)| each(course)).reduce(f64::min);
    for (server, course) in &measured {
        let ratio = best.map_or_else(|| "–".into(), |best| format!("{:.2}", each(course) / best));
        let proportional = course.growth(|memory| memory.proportional, count);
        let first = [server.name(), format!("{:.0}", each(course)), ratio, format!("{proportional:.0}")];
        table::row(first.into_iter().chain(course.resident_kib()));
    }
    println!();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_that_failed_has_no_figures() {
        assert_eq!(handshake_figures(b"1200 400.5\n").ok(), Some((1200.0, 400.5)));
        assert!(handshake_figures(b"").is_err());
    }
}
