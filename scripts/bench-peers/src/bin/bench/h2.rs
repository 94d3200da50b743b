//! HTTP/2: requests without and with TLS, memory of connections and of streams that wait, and a link with a delay.

use crate::arguments::Workload;
use crate::client::BROWSER_FIELDS;
use crate::comparison::{print_rates, take_failures};
use crate::http2_client::Connection;
use crate::idle::{self, Course};
use crate::link::{Link, RTT};
use crate::process::{cpu_us, memory};
use crate::rates::{self, Round, Side};
use crate::server::{Protocol, Purpose, Running, Server};
use crate::tls::SMALL;
use crate::{Bench, Failure, table, transfers, urgency};
use std::process::Command;
use tidemill_bench::tls::Identity;

const CONNECTIONS: usize = 10;
const STREAMS: usize = 32;

const IDLE_CONNECTIONS: usize = 2000;

/// As many streams as a client may have with tidemill, on each of so many connections.
const WAITING_STREAMS: usize = 100;
const WAITING_CONNECTIONS: usize = 100;

/// Whether every server could be measured.
pub fn measure(bench: &Bench) -> Result<bool, Failure> {
    let mut notes = Vec::new();
    let servers = bench.arguments.chosen(Workload::H2);
    println!("× best: to the best peer there.\n");
    requests(bench, &servers, Protocol::H2c, &mut notes);
    match Identity::in_folder(&bench.scratch).make() {
        Ok(()) => {
            // The floor and the server on hyper speak no TLS, and nghttpd no X25519, the only group that clients offer.
            let able = without(&servers, &[Server::Floor, Server::Hyper, Server::Nghttpd]);
            requests(bench, &able, Protocol::H2, &mut notes);
        }
        Err(error) => notes.push(format!("h2 over TLS: {error}")),
    }
    idle_memory(bench, &without(&servers, &[Server::Floor]), &mut notes);
    if servers.contains(&Server::Tidemill) {
        waiting_memory(bench, &mut notes);
    }
    match Link::start() {
        Ok(link) => {
            println!("The link: {} ms there and back, no loss, no limit to its rate.\n", RTT.as_millis());
            transfers::measure(bench, &link, &servers, &mut notes);
            urgency::measure(bench, &link, &servers, &mut notes);
        }
        Err(error) => notes.push(format!("h2 over a link: {error}")),
    }
    for note in &notes {
        println!("\nLeft out: {note}");
    }
    Ok(notes.is_empty())
}

fn without(servers: &[Server], others: &[Server]) -> Vec<Server> {
    servers.iter().copied().filter(|server| !others.contains(server)).collect()
}

fn requests(bench: &Bench, servers: &[Server], protocol: Protocol, notes: &mut Vec<String>) {
    let (label, title) = match protocol {
        Protocol::H2 => ("h2, requests", "over TLS"),
        _ => ("h2c, requests", "without TLS"),
    };
    let mut sides =
        Side::start_all(bench, servers, label, notes, |server| Running::start(bench, server, SMALL, protocol));
    let rounds = rates::in_turns(bench, &mut sides, label, |running, seconds| load_round(running, protocol, seconds));
    sides.iter_mut().zip(rounds).for_each(|(side, rounds)| side.rounds = rounds);
    let sides = take_failures(sides, notes);
    println!(
        "### h2: requests for 1 KiB {title}, {STREAMS} at a time over each of {CONNECTIONS} connections: h2load\n"
    );
    print_rates(&sides, "requests/s", "CPU µs/request");
    let answers = sides.iter().map(|side| format!("{} {}", side.name(), side.running.answer_bytes));
    println!("\nBytes of the first answer of a connection: {}.\n", answers.collect::<Vec<_>>().join(", "));
}

/// One round of h2load.
fn load_round(running: &Running, protocol: Protocol, seconds: u64) -> Result<Round, Failure> {
    let mut h2load = Command::new("h2load");
    h2load.args(["-t", "1", "-c", &CONNECTIONS.to_string(), "-m", &STREAMS.to_string(), "-D", &seconds.to_string()]);
    h2load.args(["--tls13-ciphers=TLS_AES_128_GCM_SHA256", "--groups=X25519"]);
    h2load.arg(running.url(SMALL.path()));
    let cpu_before = cpu_us(running.pid)?;
    let output = h2load.output()?;
    let cpu = cpu_us(running.pid)? - cpu_before;
    let (requests, requests_per_second) = figures(&String::from_utf8(output.stdout)?, protocol)?;
    Ok(Round { requests_per_second, cpu_us_per_request: cpu / requests })
}

/// Requests, and requests per second; an error if one failed, or if anything but this protocol was spoken.
fn figures(text: &str, protocol: Protocol) -> Result<(f64, f64), Failure> {
    let expected: &[&str] = match protocol {
        Protocol::H2 => &[
            "TLS Protocol: TLSv1.3",
            "Cipher: TLS_AES_128_GCM_SHA256",
            "Server Temp Key: X25519 253 bits",
            "Application protocol: h2",
        ],
        _ => &["Application protocol: h2c"],
    };
    if let Some(missing) = expected.iter().find(|expected| !text.lines().any(|line| line == **expected)) {
        return Err(format!("h2load does not say {missing:?}:\n{text}").into());
    }
    let line = |start: &str| text.lines().find_map(|line| line.strip_prefix(start)).unwrap_or_default();
    let rate = line("finished in ").split(", ").find_map(|part| part.strip_suffix(" req/s"));
    let requests = line("requests: ");
    let count = |what: &str| requests.split(", ").find_map(|part| part.strip_suffix(what)?.trim().parse::<f64>().ok());
    // Of some of the last requests only the head has come.
    let is_well = line("status codes: ").ends_with(" 2xx, 0 3xx, 0 4xx, 0 5xx");
    match (rate, count(" done"), count(" failed"), count(" errored")) {
        (Some(rate), Some(done), Some(0.0), Some(0.0)) if done > 0.0 && is_well => Ok((done, rate.parse()?)),
        _ => Err(format!("not every request was answered well: {requests}; {}", line("status codes: ")).into()),
    }
}

fn idle_memory(bench: &Bench, servers: &[Server], notes: &mut Vec<String>) {
    let count = IDLE_CONNECTIONS.min(idle::connections_max(bench));
    let mut measured = Vec::new();
    for server in servers.iter().filter(|server| server.program(bench).is_some()) {
        match idle_courses(bench, *server, count) {
            Ok(courses) => measured.push((*server, courses)),
            Err(error) => notes.push(format!("h2c, {count} idle connections: {error}")),
        }
    }
    println!("### h2: memory of {count} idle connections without TLS, measured once\n");
    let columns = [
        "server",
        "bytes each, after SETTINGS",
        "bytes each, after a request",
        "RSS before, KiB",
        "RSS idle, KiB",
        "RSS after, KiB",
    ];
    table::head(&columns, 1);
    for (server, [greeted, used]) in measured {
        let [greeted, each] = [&greeted, &used].map(|course| course.growth(|memory| memory.resident, count));
        let first = [server.name(), format!("{greeted:.0}"), format!("{each:.0}")];
        table::row(first.into_iter().chain(used.resident_kib()));
    }
    println!("\nThe request has a browser's fields. RSS is that of the second column.\n");
}

/// Of connections that exchanged settings and no more, and of ones that made a request, each with a server of its own.
fn idle_courses(bench: &Bench, server: Server, count: usize) -> Result<[Course; 2], Failure> {
    let course = |open: fn(&Running) -> Result<Connection, Failure>| {
        let running = Running::start(bench, server, SMALL, Protocol::H2c)?;
        idle::course(&running, count, || open(&running))
            .map_err(|error| -> Failure { format!("{}: {error}", server.name()).into() })
    };
    Ok([course(Running::connect_http2)?, course(connect_and_ask)?])
}

fn connect_and_ask(running: &Running) -> Result<Connection, Failure> {
    let mut connection = running.connect_http2()?;
    // Connection is a field of HTTP/1 (RFC 9113 §8.2.2).
    let fields = BROWSER_FIELDS.iter().filter(|(name, _)| *name != "Connection");
    let fields: Vec<_> = fields.map(|(name, value)| (name.to_ascii_lowercase(), *value)).collect();
    let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    connection.exchange(SMALL.path(), &fields)?;
    Ok(connection)
}

fn waiting_memory(bench: &Bench, notes: &mut Vec<String>) {
    match bytes_per_waiting_stream(bench) {
        Ok(bytes) => {
            println!("### h2: memory of streams that wait for a timer, measured once\n");
            table::head(&["server", "streams", "bytes each"], 1);
            let streams = format!("{WAITING_CONNECTIONS} × {WAITING_STREAMS}");
            table::row(["tidemill".into(), streams, format!("{bytes:.0}")]);
            println!();
        }
        Err(error) => notes.push(format!("h2c, streams that wait: {error}")),
    }
}

/// What comes with a stream, over what its connection took after a first one.
fn bytes_per_waiting_stream(bench: &Bench) -> Result<f64, Failure> {
    let running = Running::start(bench, Server::Tidemill, Purpose::Plaintext, Protocol::H2c)?;
    let open = |_| {
        let mut connection = running.connect_http2()?;
        connection.exchange("delay/0", &[])?;
        Ok(connection)
    };
    let mut connections = (0..WAITING_CONNECTIONS).map(open).collect::<Result<Vec<_>, Failure>>()?;
    let before = memory(running.pid)?.resident;
    for connection in &mut connections {
        for _ in 0..WAITING_STREAMS {
            connection.request("delay/600000", &[])?;
        }
        connection.ping()?;
    }
    let growth = memory(running.pid)?.resident.saturating_sub(before);
    Ok(growth as f64 / (WAITING_CONNECTIONS * WAITING_STREAMS) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Application protocol: h2c\n\n\
        finished in 1.00s, 594400.00 req/s, 595.21MB/s\n\
        requests: 594400 total, 594720 started, 594400 done, 594400 succeeded, 0 failed, 0 errored, 0 timeout\n\
        status codes: 594400 2xx, 0 3xx, 0 4xx, 0 5xx\n";

    #[test]
    fn figures_are_those_of_h2load() {
        assert_eq!(figures(TEXT, Protocol::H2c).ok(), Some((594_400.0, 594_400.0)));
    }

    #[test]
    fn a_round_with_errors_or_another_protocol_is_none() {
        let wrong = [
            ("0 errored", "3 errored"),
            ("594400 2xx, 0 3xx, 0 4xx", "594400 2xx, 0 3xx, 1 4xx"),
            ("594400 done", "0 done"),
            ("h2c", "http/1.1"),
        ];
        for (right, wrong) in wrong {
            assert!(figures(&TEXT.replacen(right, wrong, 1), Protocol::H2c).is_err(), "{wrong}");
        }
        assert!(figures(TEXT, Protocol::H2).is_err());
    }
}
