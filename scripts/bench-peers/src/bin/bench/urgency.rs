//! How long the first byte of an urgent response takes while a large response runs on the same connection (RFC 9218),
//! over a link with a delay.

use crate::link::{Link, RTT};
use crate::rates::{self, Side};
use crate::server::{Access, Protocol, Purpose, Role, Running, Server};
use crate::table::{self, Spread};
use crate::tls::SMALL;
use crate::{Bench, Failure};
use std::time::Instant;

const LARGE: Purpose = Purpose::File { name: "100MiB.bin", bytes: 100 << 20, is_from_memory: false };

/// The urgent requests begin once so much of the large response has come.
const START_BYTES: usize = 1 << 20;

const LABEL: &str = "urgency";

/// What a round tells.
struct Delays {
    /// In round trips, of a request with nothing else on the connection.
    alone: f64,
    /// The same beside the large response, in order.
    beside: Vec<f64>,
    megabytes_per_second: f64,
}

/// Why a server could not be measured goes to the notes.
pub fn measure(bench: &Bench, link: &Link, servers: &[Server], notes: &mut Vec<String>) {
    const ABLE: [Server; 5] = [Server::Tidemill, Server::Nginx, Server::H2o, Server::Hyper, Server::Nghttpd];
    let able: Vec<_> = servers.iter().copied().filter(|server| ABLE.contains(server)).collect();
    // hyper's server reads all files when it starts.
    if let Err(error) = SMALL.write_file(bench) {
        return notes.push(format!("{LABEL}: {error}"));
    }
    let mut sides = Side::start_all(bench, &able, LABEL, notes, |server| {
        Running::start(bench, server, LARGE, Access { protocol: Protocol::H2c, link: Some(link), role: Role::Server })
    });
    let rounds = rates::in_turns(bench, &mut sides, LABEL, |running, _| delays(running));
    println!("### h2: first byte of 1 KiB of urgency 0 while 100 MiB of urgency 5 come on the same connection\n");
    let columns = ["server", "alone, RTT", "median, RTT", "greatest, RTT", "requests", "MB/s of the large response"];
    table::head(&columns, 1);
    for (side, rounds) in sides.iter().zip(&rounds).filter(|(side, _)| side.failure.is_none()) {
        let column = |of: fn(&Delays) -> f64, places| table::cell(Spread::of(rounds.iter().map(of)), places);
        let requests: usize = rounds.iter().map(|round| round.beside.len()).sum();
        table::row([
            side.name(),
            column(|round| round.alone, 2),
            column(|round| Spread::of(round.beside.clone()).map_or(f64::NAN, |spread| spread.median), 2),
            column(|round| Spread::of(round.beside.clone()).map_or(f64::NAN, |spread| spread.greatest), 2),
            requests.to_string(),
            column(|round| round.megabytes_per_second, 1),
        ]);
    }
    notes.extend(sides.into_iter().filter_map(|side| side.failure));
}

/// One urgent request after the other, until the large response is there.
fn delays(running: &Running) -> Result<Delays, Failure> {
    let urgent = [("priority", "u=0")];
    let mut connection = running.connect_http2()?;
    let start = Instant::now();
    connection.exchange(SMALL.path(), &urgent)?;
    let alone = round_trips(start);

    let (start, large) = (Instant::now(), connection.request(LARGE.path(), &[("priority", "u=5")])?);
    let (mut received, mut beside) = (0, Vec::new());
    // The stream of the request under way, and when it was sent, until the first byte of its response.
    let (mut small, mut sent) = (None, None);
    loop {
        let frame = connection.next_frame()?;
        let content = frame.content().map_or(0, <[u8]>::len);
        if frame.stream == large {
            received += content;
            if frame.ends_stream() {
                break;
            }
        }
        if small == Some(frame.stream) {
            beside.extend(sent.take_if(|_| content > 0).map(round_trips));
            small = small.filter(|_| !frame.ends_stream());
        }
        if small.is_none() && received >= START_BYTES {
            sent = Some(Instant::now());
            small = Some(connection.request(SMALL.path(), &urgent)?);
        }
    }
    if beside.is_empty() {
        return Err("no urgent request was answered before the end of the large response".into());
    }
    let megabytes_per_second = received as f64 / 1e6 / start.elapsed().as_secs_f64();
    Ok(Delays { alone, beside, megabytes_per_second })
}

fn round_trips(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() / RTT.as_secs_f64()
}
