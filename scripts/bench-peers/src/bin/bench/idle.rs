//! The memory of keep-alive connections that made one request and are idle since.

use crate::arguments::Workload;
use crate::client::{self, BROWSER_FIELDS, Stream};
use crate::process::{Memory, memory, open_files};
use crate::server::{Protocol, Purpose, Running, Server};
use crate::{Bench, Failure, table};
use std::time::{Duration, Instant};

/// Files that a server, or this program, needs besides connections.
const SPARE_DESCRIPTORS: u64 = 1000;

/// Ports allow no more to one address.
const CONNECTIONS_MAX: usize = 50_000;

/// As many connections as the descriptor limit allows.
pub fn connections_max(bench: &Bench) -> usize {
    usize::try_from(bench.descriptors.saturating_sub(SPARE_DESCRIPTORS)).unwrap_or(usize::MAX).min(CONNECTIONS_MAX)
}

/// Opens a connection that makes one request with a browser's fields.
pub fn open(running: &Running, purpose: Purpose) -> Result<Box<dyn Stream>, Failure> {
    let request = client::request(running.address, purpose.path(), &BROWSER_FIELDS);
    let mut stream = running.connect()?;
    match client::exchange(&mut stream, request.as_bytes())? {
        answer if answer.is_ok => Ok(stream),
        answer => Err(answer.head.into()),
    }
}

/// What a server had.
pub struct Course {
    pub before: Memory,
    pub idle: Memory,
    pub after: Memory,
}

impl Course {
    /// How many of these bytes came with each connection.
    pub fn growth(&self, bytes: impl Fn(&Memory) -> u64, count: usize) -> f64 {
        bytes(&self.idle).saturating_sub(bytes(&self.before)) as f64 / count as f64
    }

    /// Resident KiB before, idle, after.
    pub fn resident_kib(&self) -> [String; 3] {
        [self.before, self.idle, self.after].map(|memory| (memory.resident / 1024).to_string())
    }
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
            let running = Running::start(bench, server, Purpose::Plaintext, Protocol::Http);
            match running.and_then(|running| course(&running, *count, || open(&running, Purpose::Plaintext))) {
                Ok(course) => print_row(&server.name(), *count, &course),
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

/// Opens so many connections, and closes them again.
pub fn course<C>(running: &Running, count: usize, open: impl Fn() -> Result<C, Failure>) -> Result<Course, Failure> {
    let files = open_files(running.pid)?;
    drop(open()?);
    wait_until_closed(running.pid, files)?;
    let before = memory(running.pid)?;
    let connections = (0..count).map(|_| open()).collect::<Result<Vec<_>, _>>()?;
    let held = open_files(running.pid)?;
    if held < count {
        return Err(format!("only {held} are open").into());
    }
    let idle = memory(running.pid)?;
    drop(connections);
    wait_until_closed(running.pid, files)?;
    // Servers may clean up behind it: this is a figure of a second later, not a wait for something to happen.
    std::thread::sleep(Duration::from_secs(1));
    Ok(Course { before, idle, after: memory(running.pid)? })
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

fn print_row(server: &str, count: usize, course: &Course) {
    let each = course.growth(|memory| memory.resident, count);
    let first = [server.to_string(), count.to_string(), format!("{each:.0}")];
    table::row(first.into_iter().chain(course.resident_kib()));
}
