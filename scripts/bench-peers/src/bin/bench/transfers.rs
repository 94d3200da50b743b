//! 10 MiB down and up over a link with a delay, by HTTP/1.1 and by HTTP/2, with curl.

use crate::link::Link;
use crate::rates::{self, Side};
use crate::server::{Access, Protocol, Purpose, Role, Running, Server};
use crate::table::{self, Spread};
use crate::{Bench, Failure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const BYTES: usize = 10 << 20;

/// What curl says at its end, in a line of its own.
const REPORT: &str = "\n%{http_code} %{http_version} %{size_download} %{time_total}";

/// No transfer may take longer.
const PATIENCE_SECONDS: &str = "30";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Download,
    Upload,
}

impl Direction {
    fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }

    /// Those that speak both versions, and for uploads take all of the content before they answer.
    fn able(self) -> &'static [Server] {
        match self {
            Self::Download => &[Server::Tidemill, Server::Nginx, Server::H2o, Server::Hyper],
            Self::Upload => &[Server::Tidemill, Server::Hyper],
        }
    }

    fn purpose(self) -> Purpose {
        match self {
            Self::Download => Purpose::File { name: "10MiB.bin", bytes: BYTES, is_from_memory: false },
            Self::Upload => Purpose::Plaintext,
        }
    }
}

/// Why a server could not be measured goes to the notes.
pub fn measure(bench: &Bench, link: &Link, servers: &[Server], notes: &mut Vec<String>) {
    let upload = match write_upload(bench) {
        Ok(upload) => upload,
        Err(error) => return notes.push(format!("transfers: {error}")),
    };
    println!("### h2: 10 MiB over the link: curl\n");
    table::head(&["direction", "server", "HTTP/1.1 ms", "HTTP/2 ms", "HTTP/2 × HTTP/1.1"], 2);
    for direction in [Direction::Download, Direction::Upload] {
        let able: Vec<_> = servers.iter().copied().filter(|server| direction.able().contains(server)).collect();
        measure_direction(bench, link, direction, &able, &upload, notes);
    }
    println!();
}

/// Lines of JSON, since tidemill takes any amount of these and answers at the end.
fn write_upload(bench: &Bench) -> std::io::Result<PathBuf> {
    let path = bench.scratch.join("upload");
    let line = format!("\"{}\"\n", "0".repeat(1021));
    fs::write(&path, line.repeat(BYTES / line.len()))?;
    Ok(path)
}

fn measure_direction(
    bench: &Bench,
    link: &Link,
    direction: Direction,
    servers: &[Server],
    upload: &Path,
    notes: &mut Vec<String>,
) {
    let label = format!("{} over the link", direction.name());
    let mut sides = Vec::new();
    // Every server is there twice, so that one of them need not know by itself what it is spoken to in.
    for server in servers {
        for protocol in [Protocol::Http, Protocol::H2c] {
            sides.extend(Side::start_all(bench, &[*server], &label, notes, |server| {
                Running::start(
                    bench,
                    server,
                    direction.purpose(),
                    Access { protocol, link: Some(link), role: Role::Server },
                )
            }));
        }
    }
    let rounds = rates::in_turns(bench, &mut sides, &label, |running, _| transfer_ms(running, direction, upload));
    let measured: Vec<_> = sides.iter().zip(rounds).filter(|(side, _)| side.failure.is_none()).collect();
    for server in servers {
        let of = |is_http2| {
            let is_it = |side: &Side| side.running.server == *server && side.running.protocol.is_http2() == is_http2;
            measured.iter().find(|(side, _)| is_it(side)).map(|(_, rounds)| rounds.clone())
        };
        if let (Some(http1), Some(http2)) = (of(false), of(true)) {
            let times = [&http1, &http2].map(|rounds| table::cell(Spread::of(rounds.clone()), 0));
            let ratio = table::cell(table::ratio(http2, http1), 2);
            table::row([direction.name(), server.name()].into_iter().chain(times).chain([ratio]));
        }
    }
    notes.extend(sides.into_iter().filter_map(|side| side.failure));
}

/// Milliseconds from before the connection to the end of the response.
fn transfer_ms(running: &Running, direction: Direction, upload: &Path) -> Result<f64, Failure> {
    let (flag, version) = match running.protocol.is_http2() {
        true => ("--http2-prior-knowledge", "2"),
        false => ("--http1.1", "1.1"),
    };
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--max-time", PATIENCE_SECONDS, flag, "--write-out", REPORT]);
    match direction {
        Direction::Download => curl.args(["--output", "/dev/null", &running.url(direction.purpose().path())]),
        // Over HTTP/1.1, curl would ask first whether it may send, and wait for the answer.
        Direction::Upload => {
            curl.args(["--header", "Expect:", "--data-binary", &format!("@{}", upload.display())]);
            curl.arg(running.url("ndjson"))
        }
    };
    let output = curl.output().map_err(|error| format!("curl: {error}"))?;
    let said = String::from_utf8_lossy(&output.stdout);
    let (answer, report) = said.rsplit_once('\n').unwrap_or_default();
    let bytes = BYTES.to_string();
    match report.split(' ').collect::<Vec<_>>().as_slice() {
        ["200", spoken, down, seconds] if *spoken == version => {
            // How much was sent is what the server says: curl 7.88 sometimes misses the end of an upload over HTTP/2.
            let is_whole = if direction == Direction::Download { *down == bytes } else { answer.contains(&bytes) };
            is_whole.then_some(seconds.parse::<f64>()? * 1e3).ok_or_else(|| format!("not all bytes: {said}").into())
        }
        _ => Err(format!("curl: {said} {}", String::from_utf8_lossy(&output.stderr).trim()).into()),
    }
}
