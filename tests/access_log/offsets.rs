//! `rx` and `tx` against a client that counts every byte.

use crate::logged::{Logged, range};
use crate::support::Client;

/// A client that knows how much it has sent and received.
struct Counting {
    client: Client,
    sent: u64,
    received: u64,
    /// Where each request, and its response, stood.
    ranges: Vec<(std::ops::Range<u64>, std::ops::Range<u64>)>,
}

impl Counting {
    fn new(client: Client) -> Counting {
        Counting { client, sent: 0, received: 0, ranges: Vec::new() }
    }

    /// One request, and what `read` takes of the response: how many bytes that was.
    fn exchange(&mut self, request: &str, read: impl FnOnce(&mut Client) -> usize) {
        let (sent, received) = (self.sent, self.received);
        self.client.send(request);
        self.sent += request.len() as u64;
        self.received += read(&mut self.client) as u64;
        self.ranges.push((sent..self.sent, received..self.received));
    }
}

fn with_length(client: &mut Client) -> usize {
    let (head, content) = client.read_response();
    head.len() + content.len()
}

fn head_only(client: &mut Client) -> usize {
    client.read_head().len()
}

fn chunked(client: &mut Client) -> usize {
    let mut length = client.read_head().len();
    let mut end = Vec::new();
    while !end.ends_with(b"0\r\n\r\n") {
        end.extend(client.read_exactly(1));
        length += 1;
    }
    length
}

fn to_the_end(client: &mut Client) -> usize {
    client.read_to_end().len()
}

const CHUNKED_ECHO: &str = "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n3\r\nsea\r\n0\r\nA: b\r\n\r\n";

#[test]
fn requests_of_every_kind_stand_where_the_client_counted_them() {
    let logged = Logged::start("json", &[]);
    let mut client = Counting::new(logged.connect());
    client.exchange("GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n", with_length);
    client.exchange("HEAD /plaintext HTTP/1.1\r\nHost: a\r\n\r\n", head_only);
    client.exchange(CHUNKED_ECHO, chunked);
    client.exchange("GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n", with_length);
    client.exchange("POST /users HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n[]", with_length);
    client.exchange("POST /plaintext HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nwhat?", with_length);
    client.exchange("GET /bytes/300000 HTTP/1.1\r\nHost: a\r\n\r\n", with_length);
    // Refused at its last byte, so that it does not matter what is read at a time.
    client.exchange("GET / HTTP/1.1\r\n\r\n", to_the_end);
    let objects = logged.objects(8);
    let logged: Vec<_> = objects.iter().map(|object| (range(object, "rx"), range(object, "tx"))).collect();
    assert_eq!(logged, client.ranges);
    let statuses: Vec<_> = objects.iter().map(|object| object["status"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [200, 200, 200, 404, 200, 405, 200, 400]);
    let ordinals: Vec<_> = objects.iter().map(|object| object["request"].as_u64().unwrap()).collect();
    assert_eq!(ordinals, [1, 2, 3, 4, 5, 6, 7, 8]);
    // What was refused for its fields is named all the same: its first line was complete.
    let refused = &objects[7];
    assert_eq!((&refused["method"], &refused["target"]), (&"GET".into(), &"/".into()), "{refused}");
    assert_eq!(refused["close"], serde_json::Value::Null);
}

#[test]
fn pipelined_requests_stand_one_behind_the_other() {
    let logged = Logged::start("json", &[]);
    let requests = [
        "GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n",
        CHUNKED_ECHO,
        "HEAD /json HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /json HTTP/1.1\r\nHost: a\r\n\r\n",
    ];
    let mut client = Counting::new(logged.connect());
    client.client.send(requests.concat());
    for (request, read) in requests.iter().zip([with_length, chunked, head_only, with_length]) {
        let (sent, received) = (client.sent, client.received);
        client.sent += request.len() as u64;
        client.received += read(&mut client.client) as u64;
        client.ranges.push((sent..client.sent, received..client.received));
    }
    let objects = logged.objects(4);
    let ranges: Vec<_> = objects.iter().map(|object| (range(object, "rx"), range(object, "tx"))).collect();
    assert_eq!(ranges, client.ranges);
    assert!(objects.iter().all(|object| object["first_byte_ms"].is_number()), "{objects:#?}");
}

#[test]
fn a_request_that_arrives_byte_by_byte_is_where_it_is() {
    let logged = Logged::start("json", &[]);
    let mut client = logged.connect();
    for byte in CHUNKED_ECHO.as_bytes() {
        client.send([*byte]);
    }
    let received = chunked(&mut client);
    let object = logged.objects(1).remove(0);
    assert_eq!(range(&object, "rx"), 0..CHUNKED_ECHO.len() as u64);
    assert_eq!(range(&object, "tx"), 0..received as u64);
}

#[test]
fn a_response_that_the_client_cuts_ends_where_it_was_cut() {
    let logged = Logged::start("json", &[]);
    let mut client = logged.connect();
    client.send("GET /bytes/100000000 HTTP/1.1\r\nHost: a\r\n\r\n");
    let head = client.read_head().len() as u64;
    let content = client.read_exactly(1000).len() as u64;
    // Closed with input that nobody read: a reset.
    drop(client);
    let object = logged.objects(1).remove(0);
    assert_eq!(object["status"], 200);
    assert!(object["close"].as_str().unwrap().starts_with("broken: "), "{object}");
    let tx = range(&object, "tx");
    assert!(tx.start == 0 && (head + content..100_000_000).contains(&tx.end), "{object}");
    assert_eq!(object["bytes"].as_u64().unwrap(), tx.end - head);
}

#[test]
fn a_request_without_an_answer_has_no_status() {
    const FIRST: &str = "GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n";
    let logged = Logged::start("json", &[]);
    let mut client = logged.connect();
    client.send(FIRST);
    let (sent, received) = (FIRST.len() as u64, with_length(&mut client) as u64);
    let request = "GET /delay/50000 HTTP/1.1\r\nHost: a\r\n\r\n";
    client.send(request);
    // A second client is answered only after the first one's request was read, which was there before.
    logged.server.ask("GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    socket2::SockRef::from(&client.stream).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    drop(client);
    let object = logged.objects(3).remove(2);
    assert_eq!((&object["status"], &object["first_byte_ms"]), (&serde_json::Value::Null, &serde_json::Value::Null));
    assert_eq!((range(&object, "rx"), range(&object, "tx")), (sent..sent + request.len() as u64, received..received));
}

#[test]
fn what_is_said_over_a_websocket_belongs_to_the_request_that_opened_it() {
    let logged = Logged::start("json", &[]);
    let mut client = logged.connect();
    let request = "GET /ws/echo HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    client.send(request);
    let head = client.read_head();
    // "t" under a mask of zeros, which cannot arrive in two pieces, then a Close without a code.
    let frames = [&b"\x81\x81\0\0\0\0t"[..], b"\x88\x80\0\0\0\0"].concat();
    client.send(&frames);
    let answered = b"\x81\x01t\x88\0";
    assert_eq!(client.read_exactly(answered.len()), answered);
    client.finish();
    let object = &logged.objects(1)[0];
    assert_eq!(range(object, "rx"), 0..(request.len() + frames.len()) as u64);
    assert_eq!(range(object, "tx"), 0..(head.len() + answered.len()) as u64);
}

#[test]
fn content_that_the_client_did_not_end_belongs_to_its_request() {
    let logged = Logged::start("json", &[]);
    let mut client = logged.connect();
    let request = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf of it";
    client.send(request);
    client.finish();
    assert!(client.is_closed_by_server());
    assert_eq!(range(&logged.objects(1)[0], "rx"), 0..request.len() as u64);
}
