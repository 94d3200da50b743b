use std::time::UNIX_EPOCH;

use super::encode::ChunkPrefix;
use super::*;
use crate::http::body::Body;
use crate::http::fields::{ETAG, FieldName, FieldValue};

struct Peer {
    server: Server,
    inbox: RingBuffer,
    outbox: RingBuffer,
    scratch: Scratch,
    limits: Limits,
}

impl Peer {
    fn new(outbox_bytes: usize) -> Peer {
        Peer {
            server: Server::new(),
            inbox: RingBuffer::new(1024),
            outbox: RingBuffer::new(outbox_bytes),
            scratch: Scratch::default(),
            limits: Limits::default(),
        }
    }

    fn send(&mut self, bytes: &[u8]) {
        assert_eq!(self.inbox.put(bytes), bytes.len());
    }

    fn step(&mut self) -> Result<Step<'_>, ProtocolError> {
        self.server.receive(&mut self.inbox, &mut self.scratch, &self.limits)
    }

    /// The whole of one request is received.
    fn request(&mut self, bytes: &[u8]) {
        self.send(bytes);
        loop {
            let content = match self.step().expect("a good request") {
                Step::Content(n) => n,
                Step::Paused => break,
                Step::Head(_) | Step::End(_) => 0,
                Step::NeedBytes => panic!("the request is not complete"),
            };
            self.server.taken(&mut self.inbox, content);
        }
    }

    fn answer(&mut self, status: Status, length: Option<u64>, last: bool) -> String {
        self.answer_telling(None, status, length, last)
    }

    fn answer_telling(&mut self, idle_secs: Option<u32>, status: Status, length: Option<u64>, last: bool) -> String {
        let mut head = Vec::new();
        let date = DateCache::new(UNIX_EPOCH);
        self.server.send_head(&Response::new(status), length, last, idle_secs, &date, &mut head);
        let date_line = "Server: tidemill\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n";
        let head = String::from_utf8(head).expect("text");
        assert!(head.contains(date_line) && head.ends_with("\r\n\r\n"), "{head}");
        head.replace(date_line, "").replace("\r\n", "|")
    }

    fn put(&mut self, content: &[u8]) -> usize {
        let Some(mut room) = self.server.room(&mut self.outbox) else { return 0 };
        let n = room.put(content);
        self.server.seal(&mut self.outbox, n);
        n
    }

    fn sent(&mut self) -> Vec<u8> {
        let sent = self.outbox.readable().concat();
        self.outbox.clear();
        sent
    }
}

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const GET_1_0: &[u8] = b"GET / HTTP/1.0\r\n\r\n";
const KEEP_1_0: &[u8] = b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n";
const HEAD: &[u8] = b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn a_server_is_small() {
    assert!(size_of::<Server>() <= 64, "{}", size_of::<Server>());
}

#[test]
fn a_head_is_always_followed_by_an_end_and_then_nothing() {
    let mut peer = Peer::new(64);
    assert_eq!(peer.server.receiving(), Receiving::Idle);
    peer.send(GET);
    peer.send(GET);
    assert!(matches!(peer.step(), Ok(Step::Head(head)) if head.method == Method::Get));
    assert_eq!(peer.server.receiving(), Receiving::Done);
    assert!(matches!(peer.step(), Ok(Step::End(trailers)) if trailers.is_empty()));
    assert!(matches!(peer.step(), Ok(Step::Paused)));
    assert_eq!(peer.inbox.len(), GET.len(), "the next request waits in the inbox");
    assert!(!peer.server.cycle(), "not before the answer");
    assert_eq!(peer.answer(Status::NO_CONTENT, None, false), "HTTP/1.1 204 No Content||");
    assert!(peer.server.cycle());
    assert!(matches!(peer.step(), Ok(Step::Head(_))));
}

#[test]
fn the_content_of_a_chunked_request_is_offered_until_it_is_taken() {
    let mut peer = Peer::new(64);
    peer.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nT: 1\r\n\r\n");
    assert!(matches!(peer.step(), Ok(Step::Head(head)) if head.announced == Announced::Unknown));
    assert!(matches!(peer.step(), Ok(Step::Content(3))));
    assert!(matches!(peer.step(), Ok(Step::Content(3))));
    peer.server.taken(&mut peer.inbox, 1);
    assert!(matches!(peer.step(), Ok(Step::Content(2))));
    assert_eq!(peer.server.content_to_come(), Announced::Unknown);
    peer.server.taken(&mut peer.inbox, 2);
    assert!(matches!(peer.step(), Ok(Step::End(trailers)) if trailers.first("t") == Some(b"1")));
    peer.server.release(&mut peer.inbox);
    assert!(peer.inbox.is_empty());
    assert_eq!(peer.server.content_to_come(), Announced::Nothing);
}

#[test]
fn the_spans_of_another_connection_do_not_disturb_a_head_in_pieces() {
    let mut peer = Peer::new(64);
    peer.send(b"GET / HTTP/1.1\r\nHost: a\r\nOne: 1\r\nTw");
    assert!(matches!(peer.step(), Ok(Step::NeedBytes)));
    assert_eq!(peer.server.receiving(), Receiving::Head);
    let mut other = Peer::new(64);
    for piece in ["o: 2\r\nThree", ": 3\r\n", "\r\n"] {
        std::mem::swap(&mut peer.scratch, &mut other.scratch);
        other.request(b"GET / HTTP/1.1\r\nHost: other\r\nA: b\r\nC: d\r\nE: f\r\n\r\n");
        assert_eq!(other.answer(Status::OK, Some(0), false), "HTTP/1.1 200 OK|Content-Length: 0||");
        assert!(other.server.cycle());
        std::mem::swap(&mut peer.scratch, &mut other.scratch);
        peer.send(piece.as_bytes());
        if piece != "\r\n" {
            assert!(matches!(peer.step(), Ok(Step::NeedBytes)));
        }
    }
    assert_eq!(fields(&mut peer), "Host=a One=1 Two=2 Three=3 ");
}

#[test]
fn a_head_in_pieces_is_not_disturbed_by_one_that_stood_in_its_place() {
    let mut peer = Peer::new(64);
    peer.request(b"GET / HTTP/1.1\r\nHost: b\r\nFour: 4\r\n\r\n");
    assert_eq!(peer.answer(Status::OK, Some(0), false), "HTTP/1.1 200 OK|Content-Length: 0||");
    assert!(peer.server.cycle());
    for piece in ["GET / HT", "TP/1.1\r\nHo", "st: a\r\nOne: 1\r", "\nTwo: 2"] {
        peer.send(piece.as_bytes());
        assert!(matches!(peer.step(), Ok(Step::NeedBytes)));
    }
    peer.send(b"\r\n\r\n");
    assert_eq!(fields(&mut peer), "Host=a One=1 Two=2 ");
}

/// The fields of the head that is complete.
fn fields(peer: &mut Peer) -> String {
    let Ok(Step::Head(head)) = peer.step() else { panic!("a head") };
    let text = |(name, value): (&[u8], &[u8])| format!("{}={} ", name.escape_ascii(), value.escape_ascii());
    head.fields.iter().map(text).collect()
}

#[test]
fn after_an_error_nothing_is_received_and_the_answer_closes() {
    let mut peer = Peer::new(64);
    peer.send(b"GET / HTTP/1.1\r\n\r\n");
    assert_eq!(peer.step().map(|_| ()).map_err(|error| error.status), Err(Status::BAD_REQUEST));
    assert!(matches!(peer.step(), Ok(Step::Paused)));
    assert!(!peer.server.persists());
    assert_eq!(
        peer.answer(Status::BAD_REQUEST, Some(0), false),
        "HTTP/1.1 400 Bad Request|Content-Length: 0|Connection: close||"
    );
    assert!(!peer.server.cycle());
}

#[test]
fn the_end_of_input_is_an_error_only_inside_a_request() {
    let mut peer = Peer::new(64);
    assert_eq!(peer.server.on_eof(), Ok(false));
    peer.send(b"\r\n");
    assert!(matches!(peer.step(), Ok(Step::NeedBytes)));
    assert_eq!(peer.server.on_eof(), Ok(false), "an empty line is not a request");
    peer.send(b"\r");
    assert!(matches!(peer.step(), Ok(Step::NeedBytes)));
    assert!(peer.server.on_eof().is_err());
    assert_eq!(peer.server.receiving(), Receiving::Done);

    let mut peer = Peer::new(64);
    peer.send(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n1");
    assert!(matches!(peer.step(), Ok(Step::Head(_))));
    assert!(matches!(peer.step(), Ok(Step::Content(1))));
    peer.server.taken(&mut peer.inbox, 1);
    assert_eq!(peer.server.content_to_come(), Announced::Length(1));
    assert!(peer.server.on_eof().is_err());
}

type FramingCase = (&'static [u8], Status, Option<u64>, &'static str, Sending, bool);

#[test]
fn the_framing_of_a_response_follows_the_request_and_the_length() {
    let cases: [FramingCase; 16] = [
        (GET, Status::OK, Some(5), "Content-Length: 5|", Sending::Content, true),
        (GET, Status::OK, Some(0), "Content-Length: 0|", Sending::Done, true),
        (GET, Status::OK, None, "Transfer-Encoding: chunked|", Sending::Content, true),
        (GET, Status::NO_CONTENT, Some(0), "", Sending::Done, true),
        (GET, Status::NOT_MODIFIED, Some(5), "Content-Length: 5|", Sending::Done, true),
        (GET, Status::NOT_MODIFIED, Some(0), "", Sending::Done, true),
        (HEAD, Status::NOT_MODIFIED, Some(5), "Content-Length: 5|", Sending::Done, true),
        (GET, Status::RESET_CONTENT, None, "Content-Length: 0|", Sending::Done, true),
        (HEAD, Status::OK, Some(5), "Content-Length: 5|", Sending::Done, true),
        (HEAD, Status::OK, None, "Transfer-Encoding: chunked|", Sending::Done, true),
        (HEAD, Status::NO_CONTENT, None, "", Sending::Done, true),
        (GET_1_0, Status::OK, Some(5), "Content-Length: 5|Connection: close|", Sending::Content, false),
        (GET_1_0, Status::OK, None, "Connection: close|", Sending::Content, false),
        (KEEP_1_0, Status::OK, Some(5), "Content-Length: 5|Connection: keep-alive|", Sending::Content, true),
        (KEEP_1_0, Status::OK, None, "Connection: close|", Sending::Content, false),
        (KEEP_1_0, Status::NO_CONTENT, None, "Connection: keep-alive|", Sending::Done, true),
    ];
    for (request, status, length, fields, sending, persists) in cases {
        let mut peer = Peer::new(64);
        peer.request(request);
        let head = peer.answer(status, length, false);
        assert_eq!(head, format!("HTTP/1.1 {status}|{fields}|"));
        assert_eq!((peer.server.sending(), peer.server.persists()), (sending, persists), "{head}");
    }
}

#[test]
fn an_upstreams_response_keeps_its_date_and_server_and_gets_a_date_if_it_has_none() {
    let head = |fields: &[(&str, &str)]| {
        let mut peer = Peer::new(64);
        peer.request(GET);
        let fields = fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        let response = Response::of_upstream(Status::OK, FieldSet::of_parsed(fields), Body::Empty);
        let mut head = Vec::new();
        peer.server.send_head(&response, Some(0), false, None, &DateCache::new(UNIX_EPOCH), &mut head);
        assert!(head.len() <= response.head_bytes_max());
        String::from_utf8(head).expect("text").replace("\r\n", "|")
    };
    let ours = "Date: Thu, 01 Jan 1970 00:00:00 GMT|";
    assert_eq!(head(&[]), format!("HTTP/1.1 200 OK|{ours}Content-Length: 0||"));
    let of_upstream =
        [("server", "nginx"), ("X", "1"), ("DATE", "Fri, 27 Nov 2026 21:00:00 GMT"), ("Content-Type", "a/b")];
    let lines = "server: nginx|X: 1|DATE: Fri, 27 Nov 2026 21:00:00 GMT|Content-Type: a/b|";
    assert_eq!(head(&of_upstream), format!("HTTP/1.1 200 OK|Content-Length: 0|{lines}|"));
    assert_eq!(head(&of_upstream[..1]), format!("HTTP/1.1 200 OK|{ours}Content-Length: 0|server: nginx||"));
}

#[test]
fn the_last_response_says_so() {
    let mut peer = Peer::new(64);
    peer.request(GET);
    assert_eq!(peer.answer(Status::OK, Some(0), true), "HTTP/1.1 200 OK|Content-Length: 0|Connection: close||");
    assert!(!peer.server.cycle());
}

#[test]
fn a_client_is_told_how_long_it_may_stay_idle_only_where_the_connection_persists() {
    const NOTHING: Option<u64> = Some(0);
    for (request, status, length, last, fields) in [
        (GET, Status::OK, NOTHING, false, "Content-Length: 0|Connection: keep-alive|Keep-Alive: timeout=60|"),
        (KEEP_1_0, Status::OK, NOTHING, false, "Content-Length: 0|Connection: keep-alive|Keep-Alive: timeout=60|"),
        (HEAD, Status::NOT_MODIFIED, NOTHING, false, "Connection: keep-alive|Keep-Alive: timeout=60|"),
        (
            GET,
            Status::UPGRADE_REQUIRED,
            NOTHING,
            false,
            "Content-Length: 0|Connection: keep-alive, Upgrade|Keep-Alive: timeout=60|",
        ),
        (GET, Status::OK, NOTHING, true, "Content-Length: 0|Connection: close|"),
        (GET_1_0, Status::OK, NOTHING, false, "Content-Length: 0|Connection: close|"),
        // Its end is the connection's.
        (KEEP_1_0, Status::OK, None, false, "Connection: close|"),
    ] {
        let mut peer = Peer::new(64);
        peer.request(request);
        let head = peer.answer_telling(Some(60), status, length, last);
        assert_eq!(head, format!("HTTP/1.1 {status}|{fields}|"));
        assert_eq!(peer.server.persists(), head.contains("Keep-Alive: "), "{head}");
    }
}

#[test]
fn chunks_have_minimal_sizes_and_a_last_one() {
    let mut peer = Peer::new(64);
    peer.request(GET);
    let head = peer.answer(Status::OK, None, false);
    assert!(head.contains("chunked"));
    assert_eq!(peer.put(b"hello"), 5);
    assert_eq!(peer.put(b"again"), 0, "too little room behind a piece to be useful");
    assert_eq!(peer.sent(), b"5\r\nhello\r\n");
    assert_eq!(peer.put(b""), 0);
    assert_eq!(peer.sent(), b"");
    assert_eq!(peer.put(&[b'x'; 100]), 64 - 6);
    assert_eq!(peer.server.finish(&mut peer.outbox, None), Ok(false), "no room for the last chunk");
    assert_eq!(peer.sent().len(), 64);
    assert_eq!(peer.server.finish(&mut peer.outbox, None), Ok(true));
    assert_eq!(peer.sent(), b"0\r\n\r\n");
    assert!(peer.server.cycle());
}

#[test]
fn content_with_a_length_never_exceeds_it_and_must_reach_it() {
    let mut peer = Peer::new(64);
    peer.request(GET);
    let _head = peer.answer(Status::OK, Some(70), false);
    assert_eq!(peer.put(&[b'x'; 100]), 64);
    assert_eq!(peer.server.finish(&mut peer.outbox, None), Err(ShortContent { missing: 6 }));
    peer.outbox.consume(1);
    assert_eq!(peer.put(&[b'x'; 100]), 0, "one byte is not worth it");
    peer.outbox.consume(9);
    assert_eq!(peer.put(&[b'x'; 100]), 6, "all that remains is");
    assert_eq!(peer.server.finish(&mut peer.outbox, None), Ok(true));
    assert_eq!(peer.server.sending(), Sending::Done);
}

#[test]
fn the_room_of_a_chunk_always_fits_with_its_framing() {
    for free in 0..5000 {
        let (gap, size) = encode::chunk_room(free);
        let prefix = ChunkPrefix::new(size);
        assert!(size == 0 || gap + size + 2 <= free, "{free}: {gap} + {size}");
        assert!(prefix.as_bytes().len() <= gap, "{free}: {gap} + {size}");
        assert!(free < 6 || size >= free - gap - 2, "{free}: {size} is less than there is room for");
    }
}

#[test]
fn continue_is_sent_once_and_only_to_who_waits() {
    let expecting = b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n";
    let mut peer = Peer::new(64);
    peer.send(expecting);
    assert!(matches!(peer.step(), Ok(Step::Head(_))));
    assert!(peer.server.expects_continue());
    let mut full = RingBuffer::new(8);
    assert!(!peer.server.send_continue(&mut full) && full.is_empty());
    assert!(peer.server.send_continue(&mut peer.outbox));
    assert!(peer.server.send_continue(&mut peer.outbox));
    assert_eq!(peer.sent(), b"HTTP/1.1 100 Continue\r\n\r\n");
    assert!(!peer.server.expects_continue());

    let mut peer = Peer::new(64);
    peer.send(expecting);
    peer.send(b"x");
    assert!(matches!(peer.step(), Ok(Step::Head(_))));
    assert!(matches!(peer.step(), Ok(Step::Content(1))));
    assert!(!peer.server.expects_continue(), "who sends does not wait");
}

#[test]
fn the_response_has_its_own_fields_last() {
    use crate::http::fields::ALLOW;
    let mut peer = Peer::new(64);
    peer.request(GET);
    let response = Response::new(Status::METHOD_NOT_ALLOWED)
        .with_content(FieldValue::from_static("text/plain"), Body::Empty)
        .with_field(ALLOW, FieldValue::from_static("GET, HEAD"));
    let mut head = b"before".to_vec();
    peer.server.send_head(&response, Some(u64::MAX), false, None, &DateCache::new(UNIX_EPOCH), &mut head);
    let expected = "beforeHTTP/1.1 405 Method Not Allowed\r\nServer: tidemill\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\
        Content-Type: text/plain\r\nContent-Length: 18446744073709551615\r\nAllow: GET, HEAD\r\n\r\n";
    assert_eq!(String::from_utf8(head).expect("text"), expected);
}

/// A set of these fields.
fn set<const N: usize>(fields: [(&str, &str); N]) -> FieldSet {
    let field =
        |(name, value): (&str, &str)| (FieldName::new(name).expect("a name"), FieldValue::new(value).expect("a value"));
    FieldSet::new(fields.map(field))
}

#[test]
fn an_interim_response_is_written_whole_or_not_at_all() {
    let hints = set([("Link", "</a.css>; rel=preload"), ("Link", "</b.js>; rel=preload")]);
    let expected = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nLink: </b.js>; rel=preload\r\n\r\n";
    let mut peer = Peer::new(expected.len());
    peer.request(GET);
    assert!(peer.server.interim(Status::EARLY_HINTS, &hints, &mut peer.outbox));
    assert_eq!(peer.sent(), expected);
    assert!(peer.server.interim(Status::PROCESSING, &FieldSet::EMPTY, &mut peer.outbox));
    assert_eq!(peer.sent(), b"HTTP/1.1 102 Processing\r\n\r\n");
    assert_eq!(peer.answer(Status::NO_CONTENT, None, false), "HTTP/1.1 204 No Content||", "the final one follows");
    assert!(peer.server.cycle());

    let mut peer = Peer::new(expected.len() - 1);
    peer.request(GET);
    assert!(!peer.server.interim(Status::EARLY_HINTS, &hints, &mut peer.outbox));
    assert_eq!((peer.sent(), peer.server.sending()), (Vec::new(), Sending::Idle));
}

#[test]
fn a_1_0_client_gets_no_interim_response() {
    for request in [GET_1_0, KEEP_1_0] {
        let mut peer = Peer::new(8);
        peer.request(request);
        assert!(peer.server.interim(Status::EARLY_HINTS, &FieldSet::EMPTY, &mut peer.outbox));
        assert_eq!(peer.sent(), b"");
    }
}

#[test]
fn trailers_are_in_the_last_chunk_whole_or_not_at_all() {
    let trailers = set([("Server-Timing", "db;dur=5"), ("ETag", "\"1\"")]);
    let expected = b"0\r\nServer-Timing: db;dur=5\r\nETag: \"1\"\r\n\r\n";
    let mut peer = Peer::new(64);
    peer.request(GET);
    let _head = peer.answer(Status::OK, None, false);
    let mut narrow = RingBuffer::new(expected.len() - 1);
    assert_eq!(peer.server.finish(&mut narrow, Some(&trailers)), Ok(false));
    assert_eq!((narrow.len(), peer.server.sending()), (0, Sending::Content));
    let mut exact = RingBuffer::new(expected.len());
    assert_eq!(peer.server.finish(&mut exact, Some(&trailers)), Ok(true));
    assert_eq!(exact.readable().concat(), expected);
    assert!(peer.server.cycle());
}

#[test]
fn fields_that_trailers_must_not_have_are_left_out() {
    let fields =
        [("Content-Length", "5"), ("host", "a"), ("A", "1"), ("SET-COOKIE", "a=b"), ("Transfer-Encoding", "x")];
    for (trailers, expected) in
        [(set(fields), &b"0\r\nA: 1\r\n\r\n"[..]), (set([("TE", "a")]), b"0\r\n\r\n"), (FieldSet::EMPTY, b"0\r\n\r\n")]
    {
        let mut peer = Peer::new(64);
        peer.request(GET);
        let _head = peer.answer(Status::OK, None, false);
        let mut exact = RingBuffer::new(expected.len());
        assert_eq!(peer.server.finish(&mut exact, Some(&trailers)), Ok(true));
        assert_eq!(exact.readable().concat(), expected);
    }
}

#[test]
fn trailers_are_ignored_without_chunks() {
    let trailers = FieldSet::new([(ETAG, FieldValue::from_static("\"1\""))]);
    for (request, length) in [(GET, Some(1)), (GET_1_0, None), (HEAD, None)] {
        let mut peer = Peer::new(64);
        peer.request(request);
        let _head = peer.answer(Status::OK, length, false);
        let put = peer.put(b"x");
        assert_eq!(peer.server.finish(&mut peer.outbox, Some(&trailers)), Ok(true));
        assert_eq!(peer.sent().len(), put);
        assert_eq!(peer.server.sending(), Sending::Done);
    }
}

impl Peer {
    /// The request line, as far as it can be named.
    fn line(&mut self) -> Option<String> {
        let line = self.server.request_line(&mut self.inbox)?;
        Some(format!("{} {} {:?}", line.method, line.target.escape_ascii(), line.version))
    }
}

#[test]
fn a_request_line_can_be_named_as_soon_as_it_is_complete_and_until_its_head_is_released() {
    let head = b"BREW /a?b HTTP/1.1\r\nHost: a\r\nX: 1\r\n\r\n";
    let line_len = b"BREW /a?b HTTP/1.1\r\n".len();
    for at in 0..head.len() {
        let mut peer = Peer::new(64);
        // Behind an earlier request and an empty line.
        peer.request(GET);
        let _head = peer.answer(Status::OK, Some(0), false);
        assert!(peer.server.cycle());
        assert_eq!(peer.line(), None);
        peer.send(b"\r\n");
        peer.send(&head[..at]);
        assert!(matches!(peer.step(), Ok(Step::NeedBytes)));
        let expected = "BREW /a?b Http11";
        assert_eq!(peer.line().as_deref(), (at >= line_len).then_some(expected), "{at}");
        peer.send(&head[at..]);
        assert!(matches!(peer.step(), Ok(Step::Head(_))));
        assert_eq!(peer.line().as_deref(), Some(expected), "{at}");
        peer.server.release(&mut peer.inbox);
        assert_eq!(peer.line(), None);
    }
}

#[test]
fn the_request_line_of_a_refused_head_can_be_named_however_it_arrives() {
    let cases: [(&[u8], Option<&str>); 9] = [
        (b"GET /a HTTP/1.0\r\nHost : a\r\n\r\n", Some("GET /a Http10")),
        (b"GET /a HTTP/1.1\r\nX: 1\r\n\r\n", Some("GET /a Http11")),
        (b"PUT /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", Some("PUT /a Http11")),
        (b"GET /a HTTP/1.1\r\n\n", Some("GET /a Http11")),
        (b"GET a HTTP/1.1\r\n", Some("GET a Http11")),
        (b"GET /a HTTP/2.0\r\n", None),
        (b"GET /a\r\n", None),
        (b"G\0T /a HTTP/1.1\r\n", None),
        (b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx", None),
    ];
    for (input, expected) in cases {
        for at in 0..input.len() {
            let mut peer = Peer::new(64);
            let mut refused = false;
            for piece in [&input[..at], &input[at..]] {
                peer.send(piece);
                while !refused {
                    match peer.step() {
                        Ok(Step::NeedBytes) => break,
                        Ok(_) => {}
                        Err(_) => refused = true,
                    }
                }
            }
            assert!(refused);
            assert_eq!(peer.line().as_deref(), expected, "{} {at}", input.escape_ascii());
            assert!(matches!(peer.step(), Ok(Step::Paused)));
            assert_eq!(peer.line().as_deref(), expected, "{} {at}, later", input.escape_ascii());
            peer.inbox.clear();
            assert_eq!(peer.line(), None);
        }
    }
}

#[test]
fn the_request_line_of_a_head_that_is_cut_short_or_too_long_can_be_named() {
    let mut peer = Peer::new(64);
    peer.send(b"GET /a HTTP/1.1\r\nHost");
    assert!(matches!(peer.step(), Ok(Step::NeedBytes)));
    assert!(peer.server.on_eof().is_err());
    assert_eq!(peer.line().as_deref(), Some("GET /a Http11"));

    let mut peer = Peer::new(64);
    peer.limits.head_bytes_max = 24;
    peer.send(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(peer.step().is_err());
    assert_eq!(peer.line().as_deref(), Some("GET /a Http11"));
}
