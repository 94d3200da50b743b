//! The memory of keep-alive connections that made one request and are idle since.

use crate::arguments::Workload;
use crate::client::{self, BROWSER_FIELDS};
use crate::process::{open_files, resident_bytes};
use crate::server::{Purpose, Running, Server};
use crate::{Bench, Failure, table};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Files that a server, or this program, needs besides connections.
const SPARE_DESCRIPTORS: u64 = 1000;

/// Ports allow no more to one address.
const CONNECTIONS_MAX: usize = 50_000;

/// As many connections as the descriptor limit allows.
pub fn connections_max(bench: &Bench) -> usize {
    usize::try_from(bench.descriptors.saturating_sub(SPARE_DESCRIPTORS)).unwrap_or(usize::MAX).min(CONNECTIONS_MAX)
}

/// Opens so many connections, each of which makes one request with a browser's fields.
pub fn open(running: &Running, count: usize) -> Result<Vec<TcpStream>, Failure> {
    let request = client::request(running.address, Purpose::Plaintext.path(), &BROWSER_FIELDS);
    let open_one = |_| {
        let mut stream = client::connect(running.address)?;
        match client::exchange(&mut stream, request.as_bytes())? {
            answer if answer.is_ok() => Ok(stream),
            answer => Err(answer.head.into()),
        }
    };
    (0..count).map(open_one).collect()
}

/// Resident bytes of a server.
struct Memory {
    before: u64,
    idle: u64,
    after: u64,
}

/// Whether every server could be measured.
pub fn measure(bench: &Bench) -> Result<bool, Failure> {
    println!("### idle: memory of keep-alive connections after one request with a browser's fields, measured once\n");
    let columns = ["server", "connections", "bytes each", "RSS before, KiB", "RSS idle, KiB", "RSS after, KiB"];
    table::head(&columns, 1);
    let most = connections_max(bench);
    let counts = if most > 10_000 { vec![10_000, most] } else { vec![most] };
    let mut notes = Vec::new();
    for server in bench.arguments.chosen(Workload::Idle).into_iter().filter(|server| server.program(bench).is_some()) {
        for count in counts.iter().filter(|count| **count <= allowed(server, bench)) {
            let running = Running::start(bench, server, Purpose::Plaintext);
            match running.and_then(|running| memory(&running, *count)) {
                Ok(memory) => print_row(&server.name(), *count, &memory),
                Err(error) => notes.push(format!("{count} connections to {}: {error}", server.name())),
            }
        }
    }
    println!("\nBefore: after a first connection that was closed again. After: a second after all were closed.");
    println!("lighttpd takes no more than half as many connections as it may have files open.");
    for note in &notes {
        println!("\nLeft out: {note}");
    }
    Ok(notes.is_empty())
}

/// How many connections the server takes with so many descriptors.
fn allowed(server: Server, bench: &Bench) -> usize {
    let share = if server == Server::Lighttpd { 2 } else { 1 };
    usize::try_from(bench.descriptors / share).unwrap_or(usize::MAX)
}

fn memory(running: &Running, count: usize) -> Result<Memory, Failure> {
    let files = open_files(running.pid)?;
    drop(open(running, 1)?);
    wait_until_closed(running.pid, files)?;
    let before = resident_bytes(running.pid)?;
    let connections = open(running, count)?;
    let held = open_files(running.pid)?;
    if held < count {
        return Err(format!("only {held} are open").into());
    }
    let idle = resident_bytes(running.pid)?;
    drop(connections);
    wait_until_closed(running.pid, files)?;
    // Servers may clean up behind it: this is a figure of a second later, not a wait for something to happen.
    std::thread::sleep(Duration::from_secs(1));
    Ok(Memory { before, idle, after: resident_bytes(running.pid)? })
}

/// Waits until it has no more than so many files open. One that answered another connection first may keep one more.
fn wait_until_closed(pid: u32, files: usize) -> Result<(), Failure> {
    let deadline = Instant::now() + Duration::from_secs(10);
    while open_files(pid)? > files + 1 {
        if Instant::now() > deadline {
            return Err(format!("{} files are still open", open_files(pid)?).into());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

fn print_row(server: &str, count: usize, memory: &Memory) {
    let Memory { before, idle, after } = *memory;
    let each = idle.saturating_sub(before) as f64 / count as f64;
    let kibibytes = |bytes: u64| (bytes / 1024).to_string();
    let figures = [count.to_string(), format!("{each:.0}"), kibibytes(before), kibibytes(idle), kibibytes(after)];
    table::row([server.to_string()].into_iter().chain(figures));
}
