//! Responses that do not fit in one write: large files, and readers that do not keep up.
//!
//! How much the kernel takes at a time is its own affair. What a stop costs is not, and is what these tests look at.

use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use socket2::{Domain, SockAddr, Socket, Type};

use crate::scenarios::get;
use crate::support::{Client, DEADLINE, wait_until};
use crate::table;
use crate::trace::{Call, Counts, LOOK};
use crate::traced::{Scratch, Traced, Window, assert_calls, difference, while_fresh};

/// What is sent of a file at a time, in bytes.
const CHUNK: usize = 2 * 1024 * 1024;
/// The end of a larger file, and all of a smaller one.
const TAIL: usize = 256 * 1024;

#[test]
fn large_file_that_the_kernel_takes_at_once() {
    const TIMES: u64 = 5;
    let window = large_file(TAIL, TIMES);
    window.into_iter().for_each(|window| window.assert_row("large file, of 256 KiB", TIMES));
}

#[test]
fn large_file_of_many_chunks() {
    const CHUNKS: usize = 5;
    let Some(window) = large_file(CHUNKS * CHUNK + TAIL, 1) else { return };
    assert_eq!(window.others, [""; 0]);
    let ends = [table::expected("larger file, its first 2 MiB"), table::expected("larger file, its last 256 KiB")];
    let further = ends.iter().fold(undisturbed(&window), |counts, end| difference(&counts, end));
    let trace = format!("{:#?}", window.calls);
    assert_calls(&further, "larger file, each further 2 MiB", CHUNKS as u64 - 1, &trace);
}

/// A file of so many bytes is sent, after once for free, so many times to a client who takes a chunk at a time.
fn large_file(len: usize, times: u64) -> Option<Window> {
    let site = Scratch::new();
    std::fs::write(site.path("large.bin"), vec![b'x'; len]).unwrap();
    let root = site.path("").display().to_string();
    while_fresh(|| {
        let mut server = Traced::start(&[&root])?;
        let mut client = roomy_client(server.address());
        let looked_at = Instant::now();
        get(&server, &mut client, "/large.bin");
        server.explain();
        (0..times).for_each(|_| get(&server, &mut client, "/large.bin"));
        let took = looked_at.elapsed();
        server.explain();
        Some((took, server))
    })
}

fn roomy_client(address: &str) -> Client {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(CHUNK).unwrap();
    let address: SocketAddr = address.parse().unwrap();
    socket.connect_timeout(&SockAddr::from(address), DEADLINE).unwrap();
    Client::new(TcpStream::from(socket))
}

/// The calls as they would have been if the kernel had taken each chunk at once: each would have been a turn of its own,
/// and then one that only looks. A chunk is finished by the call that sends all that is asked of it.
fn undisturbed(window: &Window) -> Counts {
    let mut counts = window.busy();
    let chunks = window.calls.iter().filter(|call| is_send(call) && call.result() == call.last_argument()).count();
    counts.insert("sendfile", chunks as u64);
    let turns = window.calls.split(Call::is_wait).filter(|turn| turn.iter().any(is_send)).count();
    // There is no need to look after a rest that is shorter than what a turn may move.
    let last = window.calls.iter().rposition(is_send).expect("the file is sent");
    let looks = window.calls[last..].iter().find(|call| call.is_wait()).is_some_and(Call::only_looked);
    let others = counts["epoll_wait"] - turns as u64 - u64::from(looks);
    counts.insert("epoll_wait", chunks as u64 + 1 + others);
    // WRITE interest is set at the first stop, and cleared after the last.
    let toggles = counts.remove("epoll_ctl").unwrap_or(0);
    assert!(toggles == 0 || toggles == 2, "{:#?}", window.calls);
    counts
}

fn is_send(call: &Call) -> bool {
    call.name == "sendfile"
}

#[test]
fn a_reader_that_stops_us() {
    const SIZE: usize = 32 * 1024 * 1024;
    let Some(mut server) = Traced::start(&[]) else { return };
    let mut client = server.connect();
    get(&server, &mut client, "/plaintext");
    server.explain();
    server.settle();
    client.send(format!("GET /bytes/{SIZE} HTTP/1.1\r\nHost: a\r\n\r\n"));
    wait_until("the server is stopped", || server.text().contains("EPOLLOUT"));
    wait_until("the server has looked whether anybody reads", || server.text().contains(LOOK));
    client.read_head();
    client.read_exactly(SIZE);
    server.explain();
    let window = server.between_accounts();
    assert_eq!(window.others, [""; 0]);
    let trace = format!("{:#?}", window.calls);
    let (looked, looks, others) = without_looks(&window.calls);
    let whys = window.counts.get("netlink").map_or(0, |count| count - looks);
    assert!(looks > 0, "{trace}");
    assert_calls(&looked, "slow reader, each look how far it is", looks, &trace);
    let (stopped, stops) = stops_of_reader(&others);
    assert!(stops > 0, "{trace}");
    assert_calls(&stopped, "slow reader, each time it stops the server", stops, &trace);
    let toggles = window.counts.get("epoll_ctl").copied().unwrap_or(0);
    assert_calls(&[("epoll_ctl", toggles), ("netlink", whys)].into(), "slow reader, once", 1, &trace);
    assert_eq!(window.counts.get("read"), Some(&1), "{trace}");
}

/// The looks how far the reader is, each with the wait before it, how many there were, and all other calls, but for idle
/// wakes, looks at the CPU clock, and the question why there was no room, which is asked when all has been sent.
fn without_looks(calls: &[Call]) -> (Counts, u64, Vec<Call>) {
    let (mut counts, mut looks, mut others) = (Counts::new(), 0, Vec::<Call>::new());
    for call in calls {
        if call.name == "clock_gettime" {
            continue;
        }
        if call.name != "netlink" {
            others.pop_if(|before| call.is_wait() && before.timed_out());
            others.push(call.clone());
            continue;
        }
        if others.pop_if(|before| before.timed_out()).is_none() {
            continue;
        }
        *counts.entry("epoll_wait").or_default() += 1;
        *counts.entry("netlink").or_default() += 1;
        looks += 1;
    }
    (counts, looks, others)
}

/// The writes that found no room and the waits that ended them, and how many stops there were.
fn stops_of_reader(calls: &[Call]) -> (Counts, u64) {
    let (mut counts, mut stops) = (Counts::new(), 0);
    for (index, blocked) in calls.iter().enumerate().filter(|(_, call)| call.would_block()) {
        assert!(["sendto", "writev"].contains(&&*blocked.name), "only writes find no room: {blocked:?}");
        let until = calls[index + 1..].iter().position(Call::is_wait).expect("the loop waits") + index + 1;
        assert!(calls[until].rest.contains("EPOLLOUT") && !calls[until].only_looked(), "{:?}", calls[until]);
        let between = calls[index + 1..until].iter().filter(|call| call.name != "epoll_ctl");
        assert_eq!(between.count(), 0, "nothing is tried between a stop and its end: {calls:#?}");
        *counts.entry("write").or_default() += 1;
        *counts.entry("epoll_wait").or_default() += 1;
        stops += 1;
    }
    (counts, stops)
}
