//! Requests that are passed on. The test itself is the upstream: it says exactly what it is told, and when.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Duration;

use crate::frames::{DATA, END_STREAM, PING, RST_STREAM, frame};
use crate::http2_client::{Http2, head};
use crate::support::{Client, Server, Uninterrupted, field, status, wait_until};

mod failing;
mod tunnels;

/// An upstream whose part the test plays.
pub struct Upstream {
    listener: TcpListener,
}

impl Upstream {
    pub fn new() -> Upstream {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Upstream { listener }
    }

    /// A server that passes everything on to this upstream.
    pub fn behind(&self, options: &str) -> Server {
        Server::start(&["--proxy", &format!("/={}{options}", self.url())])
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.listener.local_addr().unwrap())
    }

    /// The next connection.
    pub fn accept(&self) -> Client {
        let mut accepted = None;
        wait_until("the upstream has a connection", || match self.listener.accept() {
            Ok((stream, _)) => {
                accepted = Some(stream);
                true
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                false
            }
        });
        let stream = accepted.unwrap();
        stream.set_nonblocking(false).unwrap();
        Client::new(stream)
    }

    /// Whether nobody has connected by now.
    pub fn is_alone(&self) -> bool {
        self.listener.accept().is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }
}

/// An upstream that refuses connections.
fn refusing() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

pub fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: app.test\r\n\r\n")
}

/// The fields of a head without those that differ from run to run.
fn lines(head: &str) -> Vec<&str> {
    head.lines().filter(|line| !line.is_empty() && !line.starts_with("Date: ")).collect()
}

pub const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[test]
fn what_the_upstream_and_the_client_get() {
    let upstream = Upstream::new();
    let server = Server::start(&["--proxy", &format!("/api/={} strip", upstream.url())]);
    let mut client = server.connect();
    client.send(
        "GET /api/a%2fb?q=1 HTTP/1.1\r\nHost: app.test\r\nConnection: X-Hop, Cookie\r\nX-Hop: 1\r\nCookie: a=b\r\n\
         X-Forwarded-For: 6.6.6.6\r\n\r\n",
    );
    let mut application = upstream.accept();
    assert_eq!(
        lines(&application.read_head()),
        [
            "GET /a%2Fb?q=1 HTTP/1.1",
            "Host: app.test",
            "Cookie: a=b",
            "X-Forwarded-For: 127.0.0.1",
            "X-Forwarded-Proto: http",
            "X-Forwarded-Host: app.test",
            "Via: 1.1 tidemill",
        ]
    );
    application.send(
        "HTTP/1.1 201 Fine\r\nServer: app\r\nKeep-Alive: timeout=9\r\nSet-Cookie: a=b\r\nset-cookie: c=d\r\n\
         Location: /a\r\nContent-Length: 2\r\n\r\nok",
    );
    let (head, content) = client.read_response();
    assert_eq!(
        lines(&head),
        [
            "HTTP/1.1 201 Created",
            "Content-Length: 2",
            "Server: app",
            "Set-Cookie: a=b",
            "set-cookie: c=d",
            "Location: /api/a",
            "Via: 1.1 tidemill",
        ]
    );
    assert_eq!(content, "ok");
}

#[test]
fn content_of_every_framing_arrives_as_one() {
    let upstream = Upstream::new();
    let server = upstream.behind("");
    for (response, expected) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "5||hello"),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nhe\r\n3\r\nllo\r\n0\r\nX-T: 1\r\n\r\n",
            "|chunked|5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n",
        ),
        ("HTTP/1.0 200 OK\r\n\r\nhello", "|chunked|5\r\nhello\r\n0\r\n\r\n"),
        ("HTTP/1.1 204 No Content\r\n\r\n", "||"),
        ("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", "9||"),
        ("HTTP/1.1 304 Not Modified\r\nContent-Length: 0\r\n\r\n", "||"),
        ("HTTP/1.1 304 Not Modified\r\n\r\n", "||"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\ncontent-length: 5\r\n\r\nhello", "5||hello"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello", "5||hello"),
    ] {
        let mut client = server.connect();
        client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let mut application = upstream.accept();
        application.read_head();
        application.send(response);
        // No connection is kept for the next response.
        application.finish();
        let answer = client.read_to_end();
        let (head, content) = answer.split_once("\r\n\r\n").unwrap();
        let (length, coding) = (field(head, "Content-Length"), field(head, "Transfer-Encoding"));
        let told = format!("{}|{}|{content}", length.unwrap_or_default(), coding.unwrap_or_default());
        assert_eq!(told, expected, "{response}");
    }
}

#[test]
fn a_request_in_chunks_arrives_with_its_trailers() {
    let upstream = Upstream::new();
    let server = upstream.behind("");
    let mut client = server.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n");
    let mut application = upstream.accept();
    assert_eq!(field(&application.read_head(), "Transfer-Encoding"), Some("chunked"));
    assert_eq!(application.read_exactly(8), b"3\r\nabc\r\n", "it does not wait for more");
    client.send("0\r\nX-T: 1\r\nHost: evil\r\n\r\n");
    assert_eq!(application.read_exactly(13), b"0\r\nX-T: 1\r\n\r\n");
    application.send(OK);
    assert_eq!(client.read_response().1, "ok");
}

#[test]
fn head_gets_the_length_of_get_and_nothing_behind_it() {
    let upstream = Upstream::new();
    let server = upstream.behind("");
    let mut client = server.connect();
    client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut application = upstream.accept();
    application.read_head();
    application.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
    assert_eq!(field(&client.read_head(), "Content-Length"), Some("1000"));
    client.send(get("/"));
    application.read_head();
    application.send(OK);
    assert_eq!(client.read_response().1, "ok");
}

/// The content of the next chunk.
fn read_chunk(client: &mut Client) -> Vec<u8> {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        line.extend(client.read_exactly(1));
    }
    let size = usize::from_str_radix(String::from_utf8(line).unwrap().trim_end(), 16).unwrap();
    let content = client.read_exactly(size);
    assert_eq!(client.read_exactly(2), b"\r\n");
    content
}

#[test]
fn interim_responses_and_each_event_arrive_at_once() {
    let upstream = Upstream::new();
    let server = upstream.behind("");
    let mut client = server.connect();
    client.send(get("/"));
    let mut application = upstream.accept();
    application.read_head();
    application.send("HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n");
    let hints = client.read_head();
    assert_eq!(lines(&hints), ["HTTP/1.1 103 Early Hints", "Link: </a.css>; rel=preload", "Via: 1.1 tidemill"]);
    application.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert_eq!(status(&client.read_head()), "200");
    for _ in 0..3 {
        application.send("9\r\ndata: 1\n\n\r\n");
        let mut event = Vec::new();
        // Short reads make several chunks of one.
        while event.len() < 9 {
            event.extend(read_chunk(&mut client));
        }
        assert_eq!(event, b"data: 1\n\n");
    }
    application.send("0\r\n\r\n");
    assert_eq!(client.read_exactly(5), b"0\r\n\r\n");
}

#[test]
fn the_word_of_the_upstream_answers_an_expectation() {
    let upstream = Upstream::new();
    let server = upstream.behind("");
    let expecting = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n";
    let mut client = server.connect();
    client.send(expecting);
    let mut application = upstream.accept();
    assert_eq!(field(&application.read_head(), "Expect"), Some("100-continue"));
    application.send("HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(status(&client.read_head()), "100");
    client.send("abc");
    assert_eq!(application.read_exactly(3), b"abc");
    application.send(OK);
    assert_eq!(client.read_response().1, "ok");

    client.send(expecting);
    application.read_head();
    application.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig");
    let (head, content) = client.read_response();
    assert_eq!((status(&head), content.as_str()), ("413", "big"), "no 100 comes first");
    // Whether the client sends its content now cannot be told.
    assert_eq!(field(&head, "Connection"), Some("close"));
    assert!(application.is_closed_by_server());
}

#[test]
fn an_upstream_that_does_not_know_expectations_gets_the_content_nevertheless() {
    let upstream = Upstream::new();
    let server = upstream.behind("");
    let mut client = server.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
    let mut application = upstream.accept();
    application.read_head();
    assert_eq!(status(&client.read_head()), "100");
    client.send("abc");
    assert_eq!(application.read_exactly(3), b"abc");
    application.send(OK);
    assert_eq!(client.read_response().1, "ok");
}

#[test]
fn an_answer_before_the_content_is_passed_on() {
    let upstream = Upstream::new();
    let server = upstream.behind("");
    let mut client = server.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nabc");
    let mut application = upstream.accept();
    application.read_head();
    application.send("HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 3\r\n\r\nbig");
    let (head, content) = client.read_response();
    assert_eq!((status(&head), content.as_str()), ("413", "big"));
}

#[test]
fn another_protocol_ends_in_each_direction_by_itself() {
    let upstream = Upstream::new();
    let server = upstream.behind("");
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nearly");
    let mut application = upstream.accept();
    let head = application.read_head();
    assert_eq!((field(&head, "Upgrade"), field(&head, "Connection")), (Some("echo"), Some("Upgrade")));
    application.send(
        "HTTP/1.1 101 Switching Protocols\r\nServer: app\r\nDate: Fri, 27 Nov 2026 21:00:00 GMT\r\nConnection: Upgrade\r\n\
         Upgrade: echo\r\n\r\nhello",
    );
    let mut head = client.read_head().lines().map(str::to_owned).collect::<Vec<_>>();
    head.sort();
    assert_eq!(
        head,
        [
            "",
            "Connection: Upgrade",
            "Date: Fri, 27 Nov 2026 21:00:00 GMT",
            "HTTP/1.1 101 Switching Protocols",
            "Server: app",
            "Upgrade: echo",
            "Via: 1.1 tidemill",
        ]
    );
    assert_eq!(client.read_exactly(5), b"hello");
    assert_eq!(application.read_exactly(5), b"early");
    client.finish();
    assert_eq!(application.read_to_end(), "");
    application.send("bye");
    drop(application);
    assert_eq!(client.read_to_end(), "bye");
}

#[test]
fn a_response_that_is_cut_off_is_never_a_whole_one() {
    let upstream = Upstream::new();
    let server = upstream.behind("");
    for response in [
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n",
    ] {
        for version in ["1.0", "1.1"] {
            let mut client = server.connect();
            client.send(format!("GET / HTTP/{version}\r\nHost: a\r\n\r\n"));
            let mut application = upstream.accept();
            application.read_head();
            application.send(response);
            drop(application);
            // Of HTTP/1.0 only a reset says that the content is not whole.
            let mut received = Vec::new();
            let ended = client.stream.read_to_end(&mut received).map_err(|error| error.kind());
            assert_eq!(ended, Err(ErrorKind::ConnectionReset), "{version} {response}");
            let received = String::from_utf8(received).unwrap();
            assert!(received.starts_with("HTTP/1.1 200 OK\r\n") && !received.contains("0\r\n\r\n"), "{received}");
        }
    }
}

#[test]
fn the_length_of_a_304_and_of_head_passes_over_http2_too() {
    let upstream = Upstream::new();
    let server = upstream.behind("");
    let mut client = Http2::new(server.connect(), 65535);
    let mut application = None;
    for (stream, method, status) in
        [(1, "GET", "304 Not Modified"), (3, "HEAD", "200 OK"), (5, "HEAD", "304 Not Modified")]
    {
        client.ask(stream, END_STREAM, &head(method, "/"));
        let application = application.get_or_insert_with(|| upstream.accept());
        application.read_head();
        application.send(format!("HTTP/1.1 {status}\r\nContent-Length: 12345\r\n\r\n"));
        let mut block = Vec::new();
        client.read_until(|frame| {
            if frame.stream == stream {
                assert!(frame.has(END_STREAM), "nothing follows");
                block = frame.payload.clone();
            }
            frame.stream == stream
        });
        // A literal whose name is static 28, in Huffman's code or not (RFC 7541 §6.2.2).
        let lengths = [&b"\x0f\x0d\x05\x31\x32\x33\x34\x35"[..], b"\x0f\x0d\x84\x08\x99\x69\xbf"];
        assert!(
            lengths.iter().any(|length| memchr::memmem::find(&block, length).is_some()),
            "{method} {status}: {block:x?}"
        );
    }
}

#[test]
fn clients_of_http2_get_whole_responses_or_a_reset_and_may_reset_themselves() {
    let upstream = Upstream::new();
    let server = upstream.behind("");
    let mut client = Http2::new(server.connect(), 65535);
    client.ask(1, END_STREAM, &head("GET", "/whole"));
    let mut application = upstream.accept();
    assert!(application.read_head().contains("\r\nVia: 2.0 tidemill\r\n"));
    application.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
    client.read_end_of(1);

    client.ask(3, END_STREAM, &head("GET", "/cut"));
    application.read_head();
    application.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
    drop(application);
    client.read_until(|frame| {
        assert!(frame.stream != 3 || frame.kind == RST_STREAM || !frame.has(END_STREAM), "a part is no whole response");
        frame.stream == 3 && frame.kind == RST_STREAM
    });

    client.ask(5, 0, &head("POST", "/reset"));
    client.client.send(frame(DATA, 0, 5, b"abc"));
    let mut application = upstream.accept();
    application.read_head();
    assert_eq!(application.read_exactly(8), b"3\r\nabc\r\n");
    client.client.send(frame(RST_STREAM, 0, 5, &8_u32.to_be_bytes()));
    // Not as if the content were complete.
    let mut rest = Vec::new();
    assert!(application.is_closed_by_server_into(&mut rest));
    assert_eq!(rest, b"");
}

#[test]
fn a_websocket_of_http2_becomes_one_of_http1() {
    let upstream = Upstream::new();
    let server = upstream.behind("");
    let mut client = Http2::new(server.connect(), 65535);
    let websocket = [&head("CONNECT", "/ws")[..], &[(":protocol", "websocket"), ("sec-websocket-version", "13")]];
    client.ask(1, 0, &websocket.concat());
    let mut application = upstream.accept();
    let request = application.read_head();
    assert!(request.starts_with("GET /ws HTTP/1.1\r\n"), "{request}");
    assert_eq!((field(&request, "Upgrade"), field(&request, "Connection")), (Some("websocket"), Some("Upgrade")));
    // Whoever does not know the key cannot have understood the request.
    application.send(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
    );
    client.read_end_of(1);
    assert!(application.is_closed_by_server());
    wait_until("the log says why", || server.log().contains("502 Bad Gateway"));
}

#[test]
fn whatever_is_no_response_becomes_502_that_says_what_was_wrong() {
    let upstream = Upstream::new();
    let server = upstream.behind("");
    for (response, phase, why) in [
        ("", "first-byte", "it has closed the connection"),
        ("HTTP/1.1 200 OK\r\nContent-Le", "head", "it has closed the connection"),
        ("garbage\r\n\r\n", "head", "what arrived is not an HTTP/1 response"),
        ("HTTP/1.1 200 OK\r\nX: a\nEvil: b\r\n\r\n", "head", "bare LF"),
        ("HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n", "head", "whitespace"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "head", "both"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", "head", "different values of Content"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\nab", "head", "different values of Content-Length"),
        ("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n", "head", "101"),
        ("HTTP/1.1 103 Early Hints\r\n\r\n", "head", "it has closed the connection"),
    ] {
        let mut client = server.connect();
        client.send(get("/"));
        let mut application = upstream.accept();
        application.read_head();
        application.send(response);
        // What it has sent may have had the server reset the connection already.
        drop(application.stream.shutdown(Shutdown::Write));
        let mut head = client.read_head();
        if status(&head) == "103" {
            head = client.read_head();
        }
        let content = client.read_exactly(field(&head, "Content-Length").unwrap().parse().unwrap());
        let content = String::from_utf8(content).unwrap();
        assert_eq!(status(&head), "502", "{response:?}");
        assert!(content.contains(&format!(r#""phase":"{phase}""#)) && content.contains(why), "{response:?}: {content}");
    }
}

#[test]
fn what_stands_behind_a_response_is_no_answer_to_the_next_request() {
    let upstream = Upstream::new();
    let server = upstream.behind("");
    let mut client = server.connect();
    client.send(get("/"));
    let mut application = upstream.accept();
    application.read_head();
    application.send(format!("{OK}HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"));
    assert_eq!(client.read_response().1, "ok");
    client.send(get("/"));
    let mut next = upstream.accept();
    next.read_head();
    next.send(OK);
    assert_eq!(client.read_response().1, "ok");
}

/// Connections that the server has kept, each of which has served one request, which had `n` of them under way at a time.
fn kept(upstream: &Upstream, server: &Server, n: usize) -> Vec<Client> {
    let mut clients: Vec<Client> = (0..n).map(|_| server.connect()).collect();
    clients.iter_mut().for_each(|client| client.send(get("/first")));
    let mut kept: Vec<Client> = (0..n).map(|_| upstream.accept()).collect();
    for connection in &mut kept {
        connection.read_head();
        connection.send(OK);
    }
    clients.iter_mut().for_each(|client| assert_eq!(client.read_response().1, "ok"));
    kept
}

#[test]
fn a_get_that_a_kept_connection_has_lost_is_sent_once_more() {
    let upstream = Upstream::new();
    let server = upstream.behind("");
    // Both end when they get another request, as those of an upstream that is killed just then.
    let mut kept = kept(&upstream, &server, 2);
    let mut client = server.connect();
    client.send(get("/again"));
    let connection = kept.pop().unwrap();
    let mut other = kept.pop().unwrap();
    // Which of them is the newest is the server's business.
    connection.stream.set_nonblocking(true).unwrap();
    other.stream.set_nonblocking(true).unwrap();
    let mut lost = None;
    wait_until("one of them has the request", || {
        let has_request = |stream: &TcpStream| matches!(stream.peek(&mut [0; 1]), Ok(1));
        lost = [has_request(&connection.stream), has_request(&other.stream)].iter().position(|has_it| *has_it);
        lost.is_some()
    });
    let lost = if lost == Some(0) { connection } else { std::mem::replace(&mut other, connection) };
    drop(lost);
    // The second connection might be as dead: it is not tried.
    let mut fresh = upstream.accept();
    assert_eq!(fresh.read_head().lines().next(), Some("GET /again HTTP/1.1"));
    fresh.send(OK);
    assert_eq!(client.read_response().1, "ok");
    assert!(server.log().contains("retry=reused-eof-0B"), "{}", server.log());
}

#[test]
fn a_post_that_a_kept_connection_has_lost_is_not_sent_again() {
    let upstream = Upstream::new();
    let server = upstream.behind("");
    let mut kept = kept(&upstream, &server, 1);
    let mut client = server.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
    let mut connection = kept.pop().unwrap();
    connection.read_head();
    connection.read_exactly(3);
    drop(connection);
    assert_eq!(status(&client.read_response().0), "502");
    assert!(upstream.is_alone());
}

#[test]
fn a_post_that_no_byte_was_written_of_is_sent_to_another() {
    let upstream = Upstream::new();
    let server = Server::start(&["--proxy", &format!("/={},{}", refusing(), upstream.url())]);
    for _ in 0..2 {
        let mut client = server.connect();
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
        let mut application = upstream.accept();
        application.read_head();
        assert_eq!(application.read_exactly(3), b"abc");
        application.send(OK);
        application.finish();
        assert_eq!(client.read_response().1, "ok");
    }
    assert!(server.log().contains("retry=connect-refused"), "{}", server.log());
}

#[test]
fn an_upstream_that_refuses_is_502_and_one_that_is_silent_504() {
    let server = Server::start(&["--proxy", &format!("/={}", refusing())]);
    let mut client = server.connect();
    client.send(get("/"));
    let (head, content) = client.read_response();
    assert_eq!(status(&head), "502");
    assert!(content.contains(r#""phase":"connect","why":"connection refused""#), "{content}");

    let upstream = Upstream::new();
    let server = upstream.behind(" response-timeout=50ms");
    let mut client = server.connect();
    client.send(get("/"));
    let mut application = upstream.accept();
    application.read_head();
    let (head, content) = client.read_response();
    assert_eq!(status(&head), "504");
    assert!(content.contains(r#""phase":"first-byte""#), "{content}");
    assert!(application.is_closed_by_server());
}

#[test]
fn content_that_came_while_its_request_was_queued_is_sent() {
    let upstream = Upstream::new();
    let server = upstream.behind(" max=1");
    let mut first = server.connect();
    first.send(get("/first"));
    let mut application = upstream.accept();
    application.read_head();
    let mut second = Http2::new(server.connect(), 65535);
    second.ask(1, 0, &[&head("POST", "/second")[..], &[("content-length", "3")]].concat());
    second.client.send(frame(DATA, END_STREAM, 1, b"abc"));
    // Its answer shows that what comes before it has been looked at.
    second.client.send(frame(PING, 0, 0, b"12345678"));
    second.read_until(|frame| frame.kind == PING);
    let mut third = server.connect();
    third.send("POST /third HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
    for path in ["/second", "/third"] {
        application.send(OK);
        assert_eq!(application.read_head().lines().next().unwrap(), format!("POST {path} HTTP/1.1"));
        assert_eq!(application.read_exactly(3), b"abc");
    }
    application.send(OK);
    assert_eq!(third.read_response().1, "ok");
}

#[test]
fn an_upstream_is_not_late_because_its_client_was_slow() {
    let upstream = Upstream::new();
    let server = upstream.behind(" response-timeout=100ms");
    let mut client = server.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n");
    let mut application = upstream.accept();
    application.read_head();
    // Longer than the timeout: that nothing happens is what is tested.
    std::thread::sleep(Duration::from_millis(250));
    client.send("abc");
    assert_eq!(application.read_exactly(3), b"abc");
    application.send(OK);
    assert_eq!(client.read_response().1, "ok");

    client.send(get("/"));
    application.read_head();
    let total = 64 * 1024 * 1024_usize;
    let writer = std::thread::spawn(move || {
        application.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {total}\r\n\r\n"));
        application.send(vec![b'x'; total]);
    });
    client.read_head();
    // The client reads nothing for longer than the timeout, and nothing may come of that.
    std::thread::sleep(Duration::from_millis(250));
    assert_eq!(client.read_exactly(total).len(), total);
    writer.join().unwrap();
}

#[test]
fn a_client_that_sends_too_large_a_head_does_not_look_like_a_fault_of_the_upstream() {
    let upstream = Upstream::new();
    let url = format!("/={}", upstream.url());
    let server = Server::start(&["--max-header-size", "256KiB", "--proxy", &url]);
    for _ in 0..4 {
        let mut client = server.connect();
        client.send(format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(100_000)));
        assert_eq!(status(&client.read_response().0), "431");
    }
    assert!(upstream.is_alone());
    assert_eq!(server.log(), "");
}

#[test]
fn an_upstream_is_read_from_no_faster_than_the_client_reads() {
    let upstream = Upstream::new();
    let server = upstream.behind("");
    let mut client = server.connect();
    client.send(get("/"));
    let mut application = upstream.accept();
    application.read_head();
    let total = 256 * 1024 * 1024_usize;
    application.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {total}\r\n\r\n"));
    // As much as the kernel's buffers and ours hold.
    let piece = vec![b'x'; 64 * 1024];
    application.stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let mut sent = 0;
    while let Ok(n) = Uninterrupted(&mut application.stream).write(&piece) {
        sent += n;
        assert!(sent < total, "the server takes what nobody reads");
    }
    assert!(server.peak_kib() < 24 * 1024, "{} KiB", server.peak_kib());
    client.read_head();
    // The rest is still on its way: this is no end but a reset.
    client.read_exactly(sent / 2);
    drop(client);
    assert!(application.is_closed_by_server(), "an upstream is not asked for what nobody waits for");
}

#[test]
fn a_request_in_flight_is_answered_before_the_server_stops_and_a_kept_connection_does_not_delay_it() {
    let upstream = Upstream::new();
    let mut server = upstream.behind("");
    let mut kept = kept(&upstream, &server, 2);
    let mut client = server.connect();
    client.send(get("/slow"));
    kept.iter().for_each(|connection| connection.stream.set_nonblocking(true).unwrap());
    let mut busy = None;
    wait_until("a kept connection has the request", || {
        busy = kept.iter().position(|connection| matches!(connection.stream.peek(&mut [0; 1]), Ok(1)));
        busy.is_some()
    });
    let mut busy = kept.swap_remove(busy.unwrap());
    busy.stream.set_nonblocking(false).unwrap();
    busy.read_head();
    server.signal("TERM");
    server.wait_for_log("stopping");
    busy.send(OK);
    let (head, content) = client.read_response();
    assert_eq!((field(&head, "Connection"), content.as_str()), (Some("close"), "ok"));
    assert!(server.wait().success());
}
