//! What comes of a request does not depend on how its bytes are cut on their way: the same statuses, the same content,
//! and the connection persists or not.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::thread;
use std::time::Instant;

use crate::support::{Client, DEADLINE, Server, field};

const NEXT: &[u8] = b"GET /json HTTP/1.1\r\nHost: a\r\n\r\n";
/// With more pieces than this it makes no difference how the server reads them.
const WAITED_FOR_MAX: usize = 20;
/// Whoever sends more than this byte by byte waits too long.
const BYTE_BY_BYTE_MAX: usize = 2000;
/// More unwanted content than a server throws away, in bytes.
const TOO_MUCH: usize = 70_000;

/// What came of a request and of the one behind it.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    /// Each response that is complete: its status, whether it says that it is the last, and its content.
    responses: Vec<(String, bool, String)>,
    /// The response that broke off, if one did: its status and as much of its content as came.
    broken: Option<(String, String)>,
    /// Whether a response broke off, or the connection was reset before the last response was complete.
    cut: bool,
}

fn with_length(line: &str, content: &str) -> Vec<u8> {
    format!("{line} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{content}", content.len()).into_bytes()
}

/// In chunks of at most so many bytes.
fn chunked(line: &str, content: &str, chunk: usize) -> Vec<u8> {
    let mut request = format!("{line} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    for piece in content.as_bytes().chunks(chunk) {
        request += &format!("{:x}\r\n{}\r\n", piece.len(), String::from_utf8_lossy(piece));
    }
    (request + "0\r\n\r\n").into_bytes()
}

/// With chunked content as it stands here.
fn raw_chunks(line: &str, content: &str) -> Vec<u8> {
    format!("{line} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{content}").into_bytes()
}

/// The content is held back, in theory. It is sent all the same.
fn expecting(line: &str, content: &str) -> Vec<u8> {
    let length = content.len();
    let head = format!("{line} HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n");
    (head + content).into_bytes()
}

fn requests() -> Vec<Vec<u8>> {
    let too_much = "x".repeat(TOO_MUCH);
    vec![
        b"GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
        b"GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
        b"GET /plaintext HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".to_vec(),
        b"GET /plaintext HTTP/1.0\r\n\r\n".to_vec(),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        b"GET /small.txt HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
        with_length("GET /plaintext", "unwanted"),
        with_length("GET /small.txt", "unwanted"),
        chunked("GET /small.txt", "unwanted", 3),
        with_length("POST /plaintext", "unwanted"),
        chunked("POST /plaintext", "unwanted", 3),
        with_length("PUT /nothing", ""),
        with_length("POST /nothing", "unwanted"),
        chunked("POST /nothing", "unwanted", 3),
        raw_chunks("POST /nothing", "zzz\r\n"),
        raw_chunks("POST /nothing", "3\r\nabc\r\nzzz\r\n"),
        raw_chunks("POST /nothing", "3\r\nabcdef\r\n0\r\n\r\n"),
        with_length("POST /nothing", &too_much),
        chunked("POST /nothing", &too_much, 9999),
        chunked("GET /plaintext", &too_much, 9999),
        chunked("PUT /small.txt", &too_much, 9999),
        with_length("POST /", "unwanted"),
        expecting("POST /nothing", "unwanted"),
        expecting("GET /small.txt", "unwanted"),
        with_length("POST /echo", "hello, echo"),
        with_length("PUT /echo", ""),
        chunked("POST /echo", "hello, echo", 3),
        chunked("PUT /echo", "", 1),
        chunked("POST /echo", &too_much, 9999),
        expecting("POST /echo", "hello, echo"),
        raw_chunks("POST /echo", "zzz\r\n"),
        raw_chunks("POST /echo", "3\r\nabc\r\nzzz\r\n"),
        raw_chunks("POST /echo", "3\r\nabc\r\n4\r\ndefg\r\nzzz\r\n"),
        raw_chunks("POST /echo", "3\r\nabcdef\r\n0\r\n\r\n"),
        raw_chunks("POST /echo", "3\r\nabc\r\n0\r\nbad trailer\r\n\r\n"),
        with_length("POST /users", "[1, 2]"),
        with_length("POST /users", "[1, 2"),
        chunked("POST /users", "[1, 2]", 1),
        expecting("POST /users", "[1, 2]"),
        raw_chunks("POST /users", "zzz\r\n"),
        raw_chunks("POST /users", "2\r\n[1\r\nzzz\r\n"),
        with_length("PUT /users", "[1, 2]"),
        with_length("POST /ndjson", "{\"a\":1}\n[2]\n"),
        chunked("POST /ndjson", "{\"a\":1}\n[2]\n", 5),
        raw_chunks("POST /ndjson", "zzz\r\n"),
        raw_chunks("POST /ndjson", "4\r\n[1]\n\r\nzzz\r\n"),
        b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc".to_vec(),
        b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: tea, chunked\r\n\r\n0\r\n\r\n".to_vec(),
        b"POST /echo HTTP/1.1\r\nHost: a\r\nExpect: tea\r\nContent-Length: 3\r\n\r\nabc".to_vec(),
    ]
}

/// The request and the one behind it, cut in every way that is tried.
fn ways(request: &[u8]) -> Vec<Vec<Vec<u8>>> {
    let all = [request, NEXT].concat();
    let head = request.windows(4).position(|end| end == b"\r\n\r\n").map_or(request.len(), |at| at + 4);
    let cut = |at: usize| vec![all[..at].to_vec(), all[at..].to_vec()];
    let mut places = vec![1, 10, head - 2, head, head + 1, head + 4, head + 8, head + 20, request.len() - 1];
    places.extend([request.len(), request.len() + 5]);
    places.retain(|at| (1..all.len()).contains(at));
    places.sort_unstable();
    places.dedup();
    let mut ways = vec![vec![all.clone()]];
    ways.extend(places.into_iter().map(cut));
    ways.push(vec![request[..head].to_vec(), request[head..].to_vec(), NEXT.to_vec()]);
    if all.len() <= BYTE_BY_BYTE_MAX {
        ways.push(all.chunks(1).map(<[u8]>::to_vec).collect());
    } else {
        ways.push(all.chunks(10_000).map(<[u8]>::to_vec).collect());
    }
    ways
}

/// Returns when the server has read what was sent, and so sees it as a piece of its own; also when it has closed.
fn wait_until_read(stream: &TcpStream) {
    // After a reset there is no peer.
    let (Ok(ours), Ok(theirs)) = (stream.local_addr(), stream.peer_addr()) else { return };
    let give_up = Instant::now() + DEADLINE;
    // What the client's side has not got rid of, and what the server's side has not read.
    while queues(ours, theirs).is_some_and(|[sent, _]| sent > 0)
        || queues(theirs, ours).is_some_and(|[_, read]| read > 0)
    {
        assert!(Instant::now() < give_up, "the server does not read");
        thread::yield_now();
    }
}

/// What waits in the kernel for a connection, seen from `local`, in bytes: to be acknowledged, and to be read. `None`: there is
/// no such connection (any more).
fn queues(local: SocketAddr, remote: SocketAddr) -> Option<[u64; 2]> {
    // As proc_pid_net(5) shows 127.0.0.1:8080.
    let shown = |address: SocketAddr| match address {
        SocketAddr::V4(address) => format!("{:08X}:{:04X}", u32::from_le_bytes(address.ip().octets()), address.port()),
        SocketAddr::V6(_) => panic!("the server listens on 127.0.0.1"),
    };
    let (local, remote) = (shown(local), shown(remote));
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let mut lines = table.lines().map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
    let line = lines.find(|words| words.get(1) == Some(&local.as_str()) && words.get(2) == Some(&remote.as_str()))?;
    let (sent, read) = line[4].split_once(':').unwrap();
    Some([sent, read].map(|hex| u64::from_str_radix(hex, 16).unwrap()))
}

/// Sends the pieces, and then the end of the client's direction.
fn outcome(mut client: Client, pieces: &[Vec<u8>]) -> Outcome {
    let mut reset = false;
    for (number, piece) in pieces.iter().enumerate() {
        if number > 0 && pieces.len() <= WAITED_FOR_MAX {
            wait_until_read(&client.stream);
        }
        // A reset is told once: to a write or to a read.
        reset |= client.stream.write_all(piece).is_err();
    }
    client.stream.shutdown(Shutdown::Write).ok();
    let mut read = Vec::new();
    match client.stream.read_to_end(&mut read) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => reset = true,
        Err(error) => panic!("{error} after {:?}", String::from_utf8_lossy(&read)),
    }
    responses(&String::from_utf8_lossy(&read), reset)
}

fn responses(mut text: &str, reset: bool) -> Outcome {
    let mut outcome = Outcome { responses: Vec::new(), broken: None, cut: reset };
    while let Some((head, rest)) = text.split_once("\r\n\r\n") {
        // Whether the client is told to go on may depend on whether its content has come already.
        if head.starts_with("HTTP/1.1 100 ") {
            text = rest;
            continue;
        }
        let closes = field(head, "Connection") == Some("close");
        let status = head[9..12].to_owned();
        let (content, length) = match field(head, "Content-Length") {
            Some(length) => {
                let length: usize = length.parse().unwrap();
                (rest[..length.min(rest.len())].to_owned(), Some(length).filter(|length| *length <= rest.len()))
            }
            None => unchunked(rest),
        };
        let Some(length) = length else {
            outcome.broken = Some((status, content));
            break;
        };
        outcome.responses.push((status, closes, content));
        text = &rest[length..];
    }
    outcome.cut |= !text.is_empty();
    // Whoever sends on behind a response that says it is the last may meet a closed socket. The response was there before.
    outcome.cut &= !(text.is_empty() && outcome.responses.last().is_some_and(|(_, closes, _)| *closes));
    outcome
}

/// The content, and how many bytes it took, if it is complete.
fn unchunked(text: &str) -> (String, Option<usize>) {
    let (mut content, mut rest) = (String::new(), text);
    while let Some((size, behind)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        content += &behind[..size.min(behind.len())];
        let Some(next) = behind.get(size..).and_then(|end| end.strip_prefix("\r\n")) else { break };
        if size == 0 {
            return (content, Some(text.len() - next.len()));
        }
        rest = next;
    }
    (content, None)
}

struct Site(PathBuf);

impl Site {
    fn new() -> Site {
        let path = std::env::temp_dir().join(format!("tidemill-segmentation-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(path.join("small.txt"), "a small file").unwrap();
        Site(path)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

#[test]
fn the_outcome_never_depends_on_segmentation() {
    let site = Site::new();
    let server = Server::start(&["--lab", site.0.to_str().unwrap()]);
    let mut wrong = String::new();
    let (mut persisted, mut ended, mut cut) = (0, 0, 0);
    for request in requests() {
        let shown = String::from_utf8_lossy(&request[..request.len().min(150)]).into_owned();
        let ways = ways(&request);
        // Ways do not disturb each other, and most of their time they wait.
        let outcomes: Vec<Outcome> = thread::scope(|scope| {
            let connected = ways.iter().map(|pieces| (server.connect(), pieces));
            let threads: Vec<_> =
                connected.map(|(client, pieces)| scope.spawn(move || outcome(client, pieces))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(outcomes[0].responses.iter().all(|(status, ..)| status != "500"), "{shown:?}: {:?}", outcomes[0]);
        match &outcomes[0] {
            Outcome { cut: true, .. } => cut += 1,
            Outcome { responses, .. } if responses.len() == 2 => persisted += 1,
            Outcome { .. } => ended += 1,
        }
        for (other, pieces) in outcomes.iter().zip(&ways).skip(1).filter(|(other, _)| **other != outcomes[0]) {
            let lengths: Vec<usize> = pieces.iter().map(Vec::len).take(5).collect();
            wrong += &format!("{shown:?}\n  whole: {:.300?}\n  in pieces of {lengths:?}: {other:.300?}\n", outcomes[0]);
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(persisted >= 20 && ended >= 10 && cut >= 2, "{persisted} persisted, {ended} ended, {cut} were cut");
}
