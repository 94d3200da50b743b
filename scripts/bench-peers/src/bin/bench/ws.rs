//! WebSocket echoes: tidemill next to npm ws and tungstenite.
//!
//! 64 connections with one binary message in flight each, no compression. `ws-load` makes one read and one write an
//! echo, so that a cheap server may wait for it: messages/s times CPU µs/message is near 1,000,000 where it did not.

use crate::process::{Process, cpu_us};
use crate::server::{Protocol, Purpose, Running, Server, find_program};
use crate::table::{self, Spread};
use crate::{Bench, Failure};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

const VERSION: &str = "8.18.3";
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/ws-npm.js");
const SIZES: [(&str, u32); 2] = [("32 B", 32), ("16 KiB", 16 << 10)];

fn folder() -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache");
    let cache = std::env::var_os("XDG_CACHE_HOME").map_or_else(home, PathBuf::from);
    cache.join(format!("tidemill/npm-ws-{VERSION}"))
}

fn is_installed() -> bool {
    find_program("node").is_some() && folder().join("node_modules/ws/package.json").exists()
}

/// Installs npm ws, without its optional native parts, unless it is there.
pub fn install() {
    let mut npm = Command::new("npm");
    npm.args(["install", "--silent", "--no-audit", "--no-fund", "--prefix"]).arg(folder()).arg(format!("ws@{VERSION}"));
    let is_there = is_installed() || npm.status().is_ok_and(|status| status.success());
    if !is_there || find_program("node").is_none() {
        eprintln!("missing: node and npm (apt install nodejs npm): npm ws is left out");
    }
}

struct Side {
    name: String,
    url: String,
    pid: u32,
    /// Messages per second and CPU microseconds per message: by size, then by round.
    rounds: [Vec<[f64; 2]>; 2],
    /// Ends with the side.
    _process: Process,
}

/// Whether every server could be measured.
pub fn measure(bench: &Bench) -> Result<bool, Failure> {
    let mut sides = vec![tidemill(bench)?];
    if is_installed() {
        let mut node = Command::new("node");
        sides.push(peer(format!("npm ws {VERSION}"), node.arg(SCRIPT).arg(folder().join("node_modules")))?);
    }
    sides.push(peer("tungstenite".into(), &mut Command::new(bench.programs.join("ws-tungstenite")))?);
    for round in 0..=bench.arguments.rounds {
        for (place, (_, bytes)) in SIZES.iter().enumerate() {
            for side in &mut sides {
                let seconds = if round == 0 { 1 } else { bench.arguments.seconds };
                let measured = echoes(bench, side, *bytes, seconds)?;
                if round > 0 {
                    side.rounds[place].push(measured);
                }
            }
        }
    }
    println!("### ws: echoes over 64 connections\n");
    let columns = ["message", "server", "messages/s", "× tidemill", "CPU µs/message", "× tidemill"];
    table::head(&columns, 2);
    for (place, (size, _)) in SIZES.iter().enumerate() {
        print_rows(&sides, size, place);
    }
    Ok(true)
}

fn tidemill(bench: &Bench) -> Result<Side, Failure> {
    let running = Running::start(bench, Server::Tidemill, Purpose::Plaintext, Protocol::Http)?;
    let url = format!("ws://{}/ws/echo", running.address);
    let pid = running.pid;
    let (rounds, process) = (Default::default(), running.into_process());
    Ok(Side { name: "tidemill".into(), url, pid, rounds, _process: process })
}

/// Starts a server that says where it listens.
fn peer(name: String, command: &mut Command) -> Result<Side, Failure> {
    let mut process = Process::start(command.stdout(Stdio::piped()))?;
    let mut line = String::new();
    BufReader::new(process.take_stdout().ok_or("no stdout")?).read_line(&mut line)?;
    let url =
        line.trim().strip_prefix("listening on ").ok_or_else(|| format!("{name} does not say where it listens"))?;
    let (url, pid) = (url.to_string(), process.id());
    Ok(Side { name, url, pid, rounds: Default::default(), _process: process })
}

/// One round of `ws-load`: messages per second, CPU microseconds per message.
fn echoes(bench: &Bench, side: &Side, bytes: u32, seconds: u64) -> Result<[f64; 2], Failure> {
    let before = cpu_us(side.pid)?;
    let mut load = Command::new(bench.programs.join("ws-load"));
    let output = load.args([&side.url, &seconds.to_string(), &bytes.to_string()]).stderr(Stdio::inherit()).output()?;
    let cpu = cpu_us(side.pid)? - before;
    let text = String::from_utf8(output.stdout)?;
    let (messages, rate) = text.trim().split_once(' ').ok_or_else(|| format!("no echoes of {}", side.name))?;
    Ok([rate.parse()?, cpu / messages.parse::<f64>()?])
}

fn print_rows(sides: &[Side], size: &str, place: usize) {
    let column = |side: &Side, which: usize| side.rounds[place].iter().map(|round| round[which]).collect::<Vec<_>>();
    for side in sides {
        let spread = |which, places| table::cell(Spread::of(column(side, which)), places);
        let ratio = |which| table::cell(table::ratio(column(side, which), column(&sides[0], which)), 2);
        table::row([size.into(), side.name.clone(), spread(0, 0), ratio(0), spread(1, 3), ratio(1)]);
    }
}
