//! The server side of HTTP/1 against a naive reader: they agree about every input, valid or broken, however it is cut;
//! and what the server sends is what a naive client reads.

mod h1_broken;
mod h1_driver;
mod h1_naive;

use std::time::UNIX_EPOCH;

use h1_broken::{mutation, pieces};
use h1_driver::{Event, Head, events};
use h1_naive::{Framing, Said, read};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use tidemill::base::limits::Limits;
use tidemill::base::ring::RingBuffer;
use tidemill::http::date::DateCache;
use tidemill::http::message::{Announced, Response};
use tidemill::http::status::Status;
use tidemill::protocol::h1::Sending;
use tidemill::protocol::h1::server::{Server, Step};
use tidemill::protocol::h1::spans::Scratch;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn requests_are_understood_as_a_naive_reader_understands_them(
        requests in vec(request(), 1..5),
        cuts in vec(1usize..40, 1..30),
    ) {
        check(&requests.concat(), &cuts, &Limits::default())?;
    }

    #[test]
    fn broken_requests_are_refused_where_a_naive_reader_refuses_them(
        requests in vec(request(), 1..4),
        mutations in vec(mutation(), 1..4),
        cuts in vec(1usize..40, 1..30),
    ) {
        let mut input = requests.concat();
        for mutation in &mutations {
            mutation.apply(&mut input);
        }
        check(&input, &cuts, &Limits::default())?;
    }

    #[test]
    fn limits_hold_where_a_naive_reader_finds_them(
        requests in vec(request(), 1..4),
        cuts in vec(1usize..40, 1..30),
        (head, target, fields) in (20usize..160, 1usize..20, 0usize..6),
    ) {
        let limits =
            Limits { head_bytes_max: head, target_bytes_max: target, fields_max: fields, ..Limits::default() };
        check(&requests.concat(), &cuts, &limits)?;
    }

    #[test]
    fn fields_that_steer_the_connection_are_weighed_as_a_naive_reader_weighs_them(
        version in select(vec!["1.0", "1.1"]),
        lines in vec(control_field(), 0..5),
        body in select(vec!["", "abc", "3\r\nabc\r\n0\r\n\r\n", "0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"]),
        cuts in vec(1usize..40, 1..30),
    ) {
        let input = format!("POST / HTTP/{version}\r\n{}\r\n{body}", lines.concat());
        check(input.as_bytes(), &cuts, &Limits::default())?;
    }

    #[test]
    fn targets_and_hosts_are_taken_apart_as_a_naive_reader_takes_them(
        method in select(vec!["GET", "OPTIONS", "CONNECT"]),
        scheme in select(vec!["", "", "http://", "HTTPS://", "ws://"]),
        host in "[a%2:.\\[\\]v@*/?]{0,9}",
        field in "[a%2:.\\[\\]v@*/?]{0,9}",
        cuts in vec(1usize..40, 1..30),
    ) {
        let target = format!("{scheme}{host}");
        let input = format!("{method} {target} HTTP/1.1\r\nHost: {field}\r\n\r\n");
        check(input.as_bytes(), &cuts, &Limits::default())?;
    }

    #[test]
    fn what_is_sent_is_what_a_naive_client_reads(exchange in exchange()) {
        exchange.check()?;
    }
}

/// Both readers agree about `input`, and the server about every way to cut it.
fn check(input: &[u8], cuts: &[usize], limits: &Limits) -> Result<(), TestCaseError> {
    let whole = events([input], limits);
    prop_assert_eq!(said(&whole), read(input, limits), "{}", input.escape_ascii());
    prop_assert_eq!(&events(input.chunks(1), limits), &whole, "byte by byte: {}", input.escape_ascii());
    prop_assert_eq!(&events(pieces(input, cuts), limits), &whole, "in pieces: {}", input.escape_ascii());
    // An inbox that just holds the longest head wraps often.
    let small = Limits { inbox_bytes: limits.head_bytes_max.min(input.len().max(1)), ..limits.clone() };
    prop_assert_eq!(&events(pieces(input, cuts), &small), &events([input], &small), "{}", input.escape_ascii());
    Ok(())
}

/// The events in the words of the naive reader.
fn said(events: &[Event]) -> Vec<Said> {
    let said = events.iter().map(|event| match event {
        Event::Head(head) => said_head(head),
        Event::Content(content) => Said::Content(content.clone()),
        Event::End(trailers) => Said::End(trailers.clone()),
        Event::Error(_) | Event::EofError => Said::Rejected,
        Event::Close => Said::Close,
        Event::EofOk => Said::EndOfInput,
    });
    said.collect()
}

fn said_head(head: &Head) -> Said {
    Said::Head {
        method: head.method.as_str().into(),
        target: head.target.clone(),
        fields: head.fields.clone(),
        content: match head.announced {
            Announced::Nothing => Framing::Nothing,
            Announced::Length(length) => Framing::Length(length),
            Announced::Unknown => Framing::Chunked,
        },
    }
}

fn request() -> impl Strategy<Value = Vec<u8>> {
    (request_line(), vec(field(), 0..5), content()).prop_map(|(line, fields, content)| {
        format!("{line}\r\nHost: example.org:80\r\n{}{content}", fields.concat()).into_bytes()
    })
}

fn request_line() -> impl Strategy<Value = String> {
    let methods = select(vec!["GET", "HEAD", "POST", "OPTIONS", "BREW", "DELETE"]);
    let targets = prop_oneof!["/[a-z0-9/%.?&=]{0,20}", "http://[a-z.]{1,9}(:[0-9]{1,4})?/[a-z?]{0,5}"];
    let version = prop_oneof![9 => Just("1.1"), 1 => Just("1.0")];
    (methods, targets, version).prop_map(|(method, target, version)| format!("{method} {target} HTTP/{version}"))
}

fn field() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => "[a-zA-Z0-9!#$%&'*+.^_`|~-]{1,12}:[ \t]{0,2}[!-~]{0,3}[ -~\t]{0,20}[ \t]{0,2}\r\n",
        1 => Just("Connection: keep-alive\r\n".to_owned()),
        1 => Just("X: \u{fc}\u{1F40E}\r\n".to_owned()),
    ]
}

/// The end of a head, and content.
fn content() -> impl Strategy<Value = String> {
    let chunk = ("[a-z\r\n]{1,20}", "( ?;[a-z =\"]{0,9})?", 0usize..3).prop_map(|(content, extension, zeros)| {
        format!("{}{:x}{extension}\r\n{content}\r\n", "0".repeat(zeros), content.len())
    });
    let trailers = vec("[a-zA-Z]{1,8}: ?[a-z]{0,9}\r\n", 0..3);
    prop_oneof![
        Just("\r\n".to_owned()),
        "[a-z\r\n]{0,30}".prop_map(|content| format!("Content-Length: {}\r\n\r\n{content}", content.len())),
        (vec(chunk, 0..4), trailers).prop_map(|(chunks, trailers)| {
            format!("Transfer-Encoding: chunked\r\n\r\n{}0\r\n{}\r\n", chunks.concat(), trailers.concat())
        }),
    ]
}

fn control_field() -> impl Strategy<Value = String> {
    let lengths = select(vec!["3", "0", "", "3, 3", "+3", "99999999999999999999", "003"]);
    let codings =
        select(vec!["chunked", "Chunked", "gzip", "chunked, chunked", "gzip, chunked", "gzip, chunked;q=1", ",", ""]);
    let options = select(vec!["close", "keep-alive", "Keep-Alive, close", ",", "closed", "x ,\tCLOSE"]);
    let expectations = select(vec!["100-continue", "100-Continue", "", "cake"]);
    let hosts = select(vec!["a", "a:80", "", "a b", "[::1]"]);
    prop_oneof![
        2 => lengths.prop_map(|value| format!("Content-Length: {value}\r\n")),
        2 => codings.prop_map(|value| format!("transfer-encoding:{value}\r\n")),
        2 => options.prop_map(|value| format!("Connection: {value}\r\n")),
        1 => expectations.prop_map(|value| format!("Expect: {value}\r\n")),
        4 => hosts.prop_map(|value| format!("Host: {value}\r\n")),
    ]
}

/// A response to be sent through a small outbox.
#[derive(Debug)]
struct Exchange {
    request: &'static str,
    status: Status,
    content: Vec<u8>,
    length_known: bool,
    outbox_bytes: usize,
    /// How much is put into a room, and how much is flushed after it; over and over, so one of them moves something.
    steps: Vec<(usize, usize)>,
}

fn exchange() -> impl Strategy<Value = Exchange> {
    let requests = select(vec![
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    ]);
    let statuses =
        select(vec![Status::OK, Status::NOT_FOUND, Status::NO_CONTENT, Status::NOT_MODIFIED, Status::RESET_CONTENT]);
    let content = prop_oneof![3 => vec(any::<u8>(), 0..200), 1 => vec(any::<u8>(), 0..3000)];
    let outbox = prop_oneof![6usize..80, 500usize..1200];
    let steps = (vec((0usize..400, 0usize..400), 0..20), (1usize..400, 1usize..400)).prop_map(|(mut steps, moving)| {
        steps.push(moving);
        steps
    });
    (requests, statuses, content, any::<bool>(), outbox, steps).prop_map(
        |(request, status, content, length_known, outbox_bytes, steps)| Exchange {
            request,
            status,
            content,
            length_known,
            outbox_bytes,
            steps,
        },
    )
}

impl Exchange {
    fn check(&self) -> Result<(), TestCaseError> {
        let mut server = Server::new();
        self.receive(&mut server);
        let mut wire = Vec::new();
        let length = self.length_known.then_some(self.content.len() as u64);
        let date = DateCache::new(UNIX_EPOCH);
        server.send_head(&Response::new(self.status), length, false, None, &date, &mut wire);
        let behind_head = wire.len();
        self.send_content(&mut server, &mut wire)?;
        self.compare(&wire[..behind_head], &wire[behind_head..], server.persists())
    }

    fn receive(&self, server: &mut Server) {
        let mut inbox = RingBuffer::new(256);
        inbox.put(self.request.as_bytes());
        let (mut scratch, limits) = (Scratch::default(), Limits::default());
        while !matches!(server.receive(&mut inbox, &mut scratch, &limits).expect("a good request"), Step::Paused) {}
    }

    fn send_content(&self, server: &mut Server, wire: &mut Vec<u8>) -> Result<(), TestCaseError> {
        let mut outbox = RingBuffer::new(self.outbox_bytes);
        let mut content = &self.content[..];
        let mut steps = self.steps.iter().cycle();
        let mut idle = 0;
        while server.sending() == Sending::Content {
            let (put, flushed) = *steps.next().expect("a cycle does not end");
            let before = (content.len(), outbox.len());
            if content.is_empty() {
                prop_assert!(server.finish(&mut outbox, None).is_ok());
            } else if let Some(mut room) = server.room(&mut outbox) {
                prop_assert!(!room.is_full(), "room for nothing");
                let n = room.put(&content[..put.min(content.len())]);
                server.seal(&mut outbox, n);
                content = &content[n..];
            }
            flush(&mut outbox, flushed, wire);
            idle = if before == (content.len(), outbox.len()) { idle + 1 } else { 0 };
            prop_assert!(idle <= self.steps.len(), "nothing moves any more");
        }
        flush(&mut outbox, usize::MAX, wire);
        Ok(())
    }

    fn compare(&self, head: &[u8], content: &[u8], persists: bool) -> Result<(), TestCaseError> {
        let head = std::str::from_utf8(head).expect("text");
        let has = |line: &str| head.contains(&format!("\r\n{line}\r\n"));
        let status_line = format!("HTTP/1.1 {}\r\n", self.status);
        prop_assert!(head.starts_with(&status_line) && head.ends_with("\r\n\r\n"));
        prop_assert_eq!(!persists, has("Connection: close"));
        prop_assert!(!(head.contains("Content-Length") && head.contains("Transfer-Encoding")));
        let none =
            self.request.starts_with("HEAD") || !self.status.allows_content() || self.status == Status::RESET_CONTENT;
        let expected = if none { &[][..] } else { &self.content[..] };
        if has("Transfer-Encoding: chunked") && !self.request.starts_with("HEAD") {
            prop_assert_eq!(dechunked(content), expected);
            return Ok(());
        }
        prop_assert_eq!(content, expected);
        prop_assert!(none || has(&format!("Content-Length: {}", expected.len())) || !persists, "no end: {}", head);
        Ok(())
    }
}

fn flush(outbox: &mut RingBuffer, most: usize, wire: &mut Vec<u8>) {
    let n = outbox.len().min(most);
    wire.extend_from_slice(&outbox.readable().concat()[..n]);
    outbox.consume(n);
}

/// The content of chunks with minimal sizes and no trailers.
fn dechunked(mut wire: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    loop {
        let end = wire.windows(2).position(|two| two == b"\r\n").expect("a chunk's line");
        let digits = std::str::from_utf8(&wire[..end]).expect("text");
        let size = usize::from_str_radix(digits, 16).expect("a size");
        assert_eq!(digits, format!("{size:x}"), "no more digits than needed");
        content.extend_from_slice(&wire[end + 2..][..size]);
        wire = wire[end + 2 + size..].strip_prefix(b"\r\n").expect("the end of a chunk");
        if size == 0 {
            assert!(wire.is_empty(), "nothing behind the last chunk");
            return content;
        }
    }
}

#[test]
fn the_naive_reader_refuses_what_it_should() {
    for input in ["GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\nHost: a\n\n", "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n"] {
        assert_eq!(read(input.as_bytes(), &Limits::default()), [Said::Rejected]);
    }
}
