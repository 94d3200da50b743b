//! Where the time of requests went, by the log and by the clocks of their clients, over real sockets under torture.

use std::collections::HashMap;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::logged::Logged;
use crate::support::{Client, read};

const CLIENTS: usize = 4;
const REQUESTS: usize = 200;
/// So much does not fit into what a kernel holds for a client that does not read: the server bounds that.
const LARGE_BYTES: usize = 2_000_000;
/// Another process may have the processor between the two looks at the clock, so whoever disagrees is asked again; so often
/// at most. What is wrong with the parts themselves would be wrong each time.
const ROUNDS_MAX: usize = 60;

/// What is asked for.
#[derive(Debug, Clone, Copy)]
struct Ask {
    kind: u64,
    /// How long the client or the handler waits, if somebody does.
    pause: Duration,
}

/// What a client knows of a request.
#[derive(Debug)]
struct Known {
    ask: Ask,
    /// From before its first byte was sent until after the last one of its response was read, in milliseconds.
    took: f64,
    /// A part of that, and for how long it was brought about, in milliseconds.
    part: Option<(&'static str, f64)>,
}

/// The next one of numbers that look random.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

/// Sends one request, and reads its response. Where it sleeps, it waits for nothing: the pause itself is what is measured.
fn ask(client: &mut Client, ask: Ask) -> Known {
    let Ask { kind, pause } = ask;
    let ms = pause.as_secs_f64() * 1000.0;
    let began = Instant::now();
    let part = match kind {
        0 => {
            client.send("GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n");
            client.read_response();
            None
        }
        1 => {
            client.send("GET /plaintext HTTP/1.1\r\n");
            thread::sleep(pause);
            client.send("Host: a\r\n\r\n");
            client.read_response();
            Some(("head", ms))
        }
        2 => {
            client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 30000\r\n\r\n");
            thread::sleep(pause);
            client.send([b'x'; 30_000]);
            client.read_head();
            client.read_exactly(30_000);
            Some(("content", ms))
        }
        3 => {
            client.send(format!("GET /delay/{} HTTP/1.1\r\nHost: a\r\n\r\n", pause.as_millis()));
            client.read_response();
            Some(("clock", ms))
        }
        4 => {
            client.send(format!("GET /bytes/{LARGE_BYTES} HTTP/1.1\r\nHost: a\r\n\r\n"));
            thread::sleep(pause);
            read_large(&client.stream);
            None
        }
        _ => {
            client.send("GET /bytes/100000 HTTP/1.1\r\nHost: a\r\n\r\n");
            client.read_head();
            client.read_exactly(100_000);
            None
        }
    };
    Known { ask, took: began.elapsed().as_secs_f64() * 1000.0, part }
}

/// Reads a large response, as fast as possible.
fn read_large(mut stream: &TcpStream) {
    let (mut buffer, mut done, mut expected) = (vec![0; 1 << 18], 0, None);
    while expected.is_none_or(|expected| done < expected) {
        let n = read(&mut stream, &mut buffer).unwrap();
        let head_end = |bytes: &[u8]| bytes.windows(4).position(|end| end == b"\r\n\r\n").map(|at| at + 4);
        // A head in pieces is too long for this; torture tears larger ones.
        expected = expected.or_else(|| head_end(&buffer[..n]).map(|end| done + end + LARGE_BYTES));
        done += n;
        assert!(n > 0, "the response ends after {done} bytes");
    }
}

/// What the clients know, by their ports and the numbers of their requests.
fn ask_all(logged: &Logged, asks: &[Ask]) -> HashMap<(u16, u64), Known> {
    let one_by_one = |asks: Vec<Ask>| {
        let mut client = logged.connect();
        let port = client.stream.local_addr().unwrap().port();
        (1..).zip(asks).map(|(ordinal, what)| ((port, ordinal), ask(&mut client, what))).collect::<Vec<_>>()
    };
    thread::scope(|scope| {
        let shares = (0..CLIENTS).map(|first| asks.iter().skip(first).step_by(CLIENTS).copied().collect::<Vec<_>>());
        let clients: Vec<_> = shares.map(|share| scope.spawn(move || one_by_one(share))).collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    })
}

/// Within a millisecond, or 5 %.
fn agree(ours: f64, theirs: f64) -> bool {
    (ours - theirs).abs() <= (0.05 * theirs).max(1.0)
}

fn part(object: &Value, name: &str) -> f64 {
    object["timers_ms"][name].as_f64().unwrap_or(0.0)
}

/// Checks all that does not depend on who had the processor. Says whether the clocks agree.
fn check(object: &Value, known: &Known) -> bool {
    let parts = object["timers_ms"].as_object().unwrap();
    let sum: f64 = parts.values().map(|part| part.as_f64().unwrap()).sum();
    let whole = object["last_byte_ms"].as_f64().unwrap();
    // Each is rounded to a microsecond.
    assert!((sum - whole).abs() <= 0.001 * (parts.len() + 1) as f64, "{object}");
    let sending = ["blocked", "reader", "network"].map(|name| part(object, name)).iter().sum::<f64>();
    assert!((object["blocked_ms"].as_f64().unwrap() - sending).abs() <= 0.003, "{object}");
    // The clock of a handler begins with the turn, and counts in milliseconds.
    let agrees = |(name, ms): (&str, f64)| agree(part(object, name), ms) || agree(part(object, name), ms + 1.0);
    agree(whole, known.took) && known.part.is_none_or(agrees)
}

#[test]
fn parts_of_200_requests_are_the_whole_and_agree_with_their_clients() {
    let logged = Logged::start("json", &["--torture", "seed=7,short-read,short-write,would-block=0.1"]);
    let mut dice = 1;
    let mut draw = || Ask { kind: next(&mut dice) % 6, pause: Duration::from_millis(10 + next(&mut dice) % 30) };
    let mut asks: Vec<Ask> = (0..REQUESTS).map(|_| draw()).collect();
    let (mut lines, mut disagree) = (0, Vec::new());
    for _ in 0..ROUNDS_MAX {
        let known = ask_all(&logged, &asks);
        lines += known.len();
        disagree.clear();
        for object in &logged.objects(lines)[lines - known.len()..] {
            let port = object["peer"].as_str().unwrap().rsplit_once(':').unwrap().1.parse().unwrap();
            let known = &known[&(port, object["request"].as_u64().unwrap())];
            if !check(object, known) {
                disagree.push((known.ask, format!("{known:?} {object}")));
            }
        }
        asks = disagree.iter().map(|(ask, _)| *ask).collect();
        if asks.is_empty() {
            return;
        }
    }
    panic!("{} disagree each time: {disagree:#?}", disagree.len());
}
