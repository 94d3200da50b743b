//! What the driver owes to clients (RFC 9113), seen from a socket.

use std::time::Duration;

use super::client::{Client, bytes};
use crate::support::{Server, wait_until};

const POST: &str = ":method: POST | :scheme: http | :authority: a.test | :path: ";

fn server() -> Server {
    Server::start(&[])
}

/// RFC 9113 §3.4: whoever begins with it byte by byte is understood, and gets our SETTINGS first.
#[test]
fn the_preface_is_recognised_byte_by_byte() {
    let server = server();
    let mut client = Client::silent(&server);
    for byte in bytes("preface\nGET 1 /plaintext") {
        client.send_bytes(&[byte]);
    }
    let frames = client.until("DATA 1 end");
    assert!(frames[0].starts_with("SETTINGS 1=4096 3=100 "), "{frames:?}");
    assert!(frames.contains(&"SETTINGS ack".to_string()), "{frames:?}");
}

/// What only begins like the preface is a request of HTTP/1, and one of an unknown version.
#[test]
fn what_only_begins_like_the_preface_is_http1() {
    let server = server();
    for request in [
        "PRI * HTTP/1.1\r\nHost: a\r\n\r\n",
        "PRI / HTTP/1.1\r\nHost: a\r\n\r\n",
        "PRINT / HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        let answer = server.ask(&request.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"));
        assert!(answer.starts_with("HTTP/1.1 "), "{answer:?}");
    }
    // A client of HTTP/1 and one of HTTP/2, next to each other on one listener.
    let (mut one, mut other) = (server.connect(), Client::connect(&server));
    for stream in [1, 3, 5] {
        one.send("GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n");
        other.send(&format!("GET {stream} /plaintext"));
        assert_eq!(one.read_response().1, "Hello, World!");
        assert!(other.response(stream)[1].ends_with("\"Hello, World!\""));
    }
}

/// RFC 9113 §3.4: a preface that goes on wrong is the connection's error.
#[test]
fn a_preface_that_goes_on_wrong_ends_the_connection() {
    let server = server();
    for rest in ["\r\n\r\nXX\r\n\r\n", "\r\n\r\nSM\r\n\r!"] {
        let mut client = Client::silent(&server);
        client.send_bytes(format!("PRI * HTTP/2.0{rest}").as_bytes());
        let frames = client.rest();
        assert!(frames.last().is_some_and(|frame| frame.contains("PROTOCOL_ERROR")), "{frames:?}");
    }
    // Where the first twelve bytes are those of the preface, it is meant to be HTTP/2.
    let mut client = Client::silent(&server);
    client.send_bytes(b"PRI * HTTP/2.1\r\n\r\nSM\r\n\r\n");
    assert!(client.rest().last().is_some_and(|frame| frame.starts_with("GOAWAY 0 PROTOCOL_ERROR")));
}

/// RFC 9113 §3.1: the upgrade from HTTP/1.1 is no more.
#[test]
fn upgrade_h2c_is_ignored() {
    let request = "GET /plaintext HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\n\
                   HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n";
    let answer = server().ask(request);
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("Hello, World!"), "{answer}");
}

/// RFC 9113 §8.1: behind a complete response the rest of the request is not wanted.
#[test]
fn a_complete_response_ends_a_request_that_goes_on() {
    let server = server();
    let mut client = Client::connect(&server);
    client.send(&format!("HEADERS 1 {POST}/plaintext | content-length: 10000000"));
    let frames = client.response(1);
    assert!(frames[0].contains(":status: 405"), "{frames:?}");
    let last = client.until("RST_STREAM 1").pop();
    assert_eq!(last.as_deref(), Some("RST_STREAM 1 NO_ERROR"));
    // What was sent before the client knew does no harm.
    client.send("DATA 1 \"late\"\nDATA 1 end \"later\"\nGET 3 /plaintext");
    assert!(client.response(3)[0].contains(":status: 200"));
}

/// RFC 9110 §10.1.1.
#[test]
fn content_is_asked_for_when_it_is_wanted() {
    let server = server();
    let mut client = Client::connect(&server);
    client.send(&format!("HEADERS 1 {POST}/echo | expect: 100-continue"));
    assert_eq!(client.next().as_deref(), Some("HEADERS 1 :status: 100"));
    client.send("DATA 1 end \"asked\"");
    let frames = client.response(1);
    assert!(frames[0].contains(":status: 200") && frames.iter().any(|frame| frame.contains("\"asked\"")), "{frames:?}");
    // What is refused is not asked for.
    client.send(&format!("HEADERS 5 {POST}/plaintext | expect: 100-continue | content-length: 5"));
    assert!(client.response(5)[0].contains(":status: 405"));
}

/// RFC 9113 §8.1: trailers both ways.
#[test]
fn trailers_come_and_go() {
    let server = server();
    let mut client = Client::connect(&server);
    client.send("GET 1 /trailers");
    let frames = client.response(1);
    assert_eq!(frames.last().map(String::as_str), Some("HEADERS 1 end x-lines: 3 | x-bytes: 14"));
    client.send(&format!("HEADERS 3 {POST}/echo\nDATA 3 \"some\"\nHEADERS 3 end x-sum: 4"));
    let frames = client.response(3);
    assert!(frames.iter().any(|frame| frame.contains("\"some\"")) && frames[0].contains(":status: 200"), "{frames:?}");
}

/// RFC 9110 §6.4.1: responses without content are HEADERS alone.
#[test]
fn head_204_and_304_have_no_content() {
    let site = std::env::temp_dir().join(format!("tidemill-http2-rules-{}", std::process::id()));
    std::fs::create_dir_all(&site).unwrap();
    std::fs::write(site.join("page.txt"), "a page").unwrap();
    let server = Server::start(&[site.to_str().unwrap(), "--lab"]);
    let mut client = Client::connect(&server);
    let mut ask = |request: &str, stream| {
        client.send(request);
        client.response(stream)
    };
    let head = ask("HEAD 1 /page.txt", 1);
    assert!(
        head.len() == 1 && head[0].starts_with("HEADERS 1 end") && head[0].contains("content-length: 6"),
        "{head:?}"
    );
    let (head, get) = (ask("HEAD 3 /status/204", 3), ask("GET 5 /status/204", 5));
    assert!(head.len() == 1 && get.len() == 1 && !get[0].contains("content-length"), "{head:?} {get:?}");
    let page = ask("GET 7 /page.txt", 7);
    let tag = page[0].split(" | ").find_map(|field| field.strip_prefix("etag: ")).unwrap();
    let unmodified = ask(&format!("GET 9 /page.txt if-none-match: {tag}"), 9);
    assert!(unmodified.len() == 1 && unmodified[0].starts_with("HEADERS 9 end :status: 304"), "{unmodified:?}");
    std::fs::remove_dir_all(&site).unwrap();
}

/// RFC 9113 §8.1.1.
#[test]
fn content_that_is_not_as_long_as_announced_is_malformed() {
    let server = server();
    let mut client = Client::connect(&server);
    client.send(&format!("HEADERS 1 {POST}/users | content-length: 3\nDATA 1 end \"{{}}\""));
    client.send(&format!("HEADERS 3 {POST}/users | content-length: 1\nDATA 3 \"{{}}\""));
    client.send(&format!("HEADERS 5 {POST}/users | content-length: 2\nHEADERS 5 end trailer: a"));
    client.send(&format!("HEADERS 7 end {POST}/users | content-length: 2"));
    for stream in [1, 3, 5, 7] {
        let last = client.until("RST_STREAM").pop();
        assert_eq!(last, Some(format!("RST_STREAM {stream} PROTOCOL_ERROR")));
    }
}

/// RFC 9113 §6.9: content opens the windows again when it has been consumed, and not when it has arrived.
#[test]
fn windows_open_with_consumption() {
    let server = server();
    let mut client = Client::connect(&server);
    // Echoed as soon as there is a window for it: 16 KiB are in the echo, 16 KiB in flight; the rest is not consumed.
    client.send("SETTINGS 4=0\nPOST 1 /echo");
    let content = |bytes: usize| format!("DATA 1 \"\\{{x*{bytes}}}\"");
    client.send(
        &[content(16_000), content(16_000), content(16_000), content(16_000), "PING \"all read\"".into()].join("\n"),
    );
    let frames = client.until("PING");
    assert!(!frames.iter().any(|frame| frame.starts_with("WINDOW_UPDATE 1")), "{frames:?}");
    client.send("WINDOW_UPDATE 1 64000\nWINDOW_UPDATE 0 64000");
    assert!(client.until("WINDOW_UPDATE 1").len() > 1);
}

/// A client that ends its direction gets what it has asked for.
#[test]
fn half_closed_tcp_still_gets_its_answers() {
    let server = server();
    let mut client = Client::connect(&server);
    client.send("GET 1 /delay/200\nGET 3 /bytes/50000");
    client.finish();
    let frames = client.rest();
    assert!(frames.iter().any(|frame| frame.contains("delayed_ms")), "{frames:?}");
    assert!(frames.iter().any(|frame| frame.starts_with("DATA 3 end")), "{frames:?}");
}

/// An end in the middle of a frame, a field block, a request: nothing is left behind.
#[test]
fn an_end_in_the_middle_ends_the_connection() {
    let server = Server::start(&["--admin", "127.0.0.1:0"]);
    let halves = [
        "GET 1 /plaintext",
        "HEADERS 1 more :method: GET",
        "POST 1 /echo",
        "POST 1 /echo\nDATA 1 \"half\"",
        "PING \"12345678\"",
    ];
    for half in halves {
        for cut in [0, 1, 5, 10] {
            let mut client = Client::connect(&server);
            let bytes = bytes(half);
            client.send_bytes(&bytes[..bytes.len() - cut]);
            client.finish();
            client.rest();
        }
    }
    for cut in [1, 12, 20, 23] {
        let mut client = Client::silent(&server);
        client.send_bytes(&bytes("PREFACE")[..cut]);
        client.finish();
        client.rest();
    }
    assert!(server.ask("GET /plaintext HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").contains("200"));
}

/// RFC 9113 §6.8, §5.4: each end that has a reason says it.
#[test]
fn deadlines_say_why() {
    let arguments = ["--http2-settings-timeout", "300ms", "--header-timeout", "400ms", "--keep-alive-timeout", "500ms"];
    let server = Server::start(&arguments);
    let last = |mut client: Client| client.rest().pop().unwrap();
    let mut silent = Client::silent(&server);
    silent.send("preface");
    assert!(last(silent).contains("SETTINGS_TIMEOUT"));
    let mut late = Client::connect(&server);
    late.send_bytes(&bytes("GET 1 /")[..10]);
    assert!(last(late).contains("ENHANCE_YOUR_CALM \"a frame did not arrive in time"));
    assert_eq!(last(Client::connect(&server)), "GOAWAY 0 NO_ERROR \"idle for too long\"");
}

/// RFC 9113 §6.8: GOAWAY twice, a second apart.
#[test]
fn a_server_that_stops_says_so_twice() {
    let mut server = server();
    let mut client = Client::connect(&server);
    client.send("GET 1 /delay/1700");
    let mut idle = Client::connect(&server);
    client.send("PING \"it began\"");
    client.until("PING");
    server.signal("TERM");
    assert_eq!(client.next().as_deref(), Some("GOAWAY 2147483647 NO_ERROR \"the server stops\""));
    assert_eq!(client.next().as_deref(), Some("PING \"stopping\""));
    client.send("GET 3 /plaintext");
    assert!(client.response(3)[0].contains(":status: 200"));
    assert_eq!(client.next().as_deref(), Some("GOAWAY 3 NO_ERROR \"the server stops\""));
    client.send("GET 5 /plaintext");
    assert_eq!(client.next().as_deref(), Some("RST_STREAM 5 REFUSED_STREAM"));
    assert!(client.rest().iter().any(|frame| frame.contains("delayed_ms")));
    assert!(idle.rest()[0].starts_with("GOAWAY"));
    assert_eq!(server.wait().code(), Some(0));
    wait_until("it is gone", || {
        std::net::TcpStream::connect_timeout(&server.address.parse().unwrap(), Duration::from_secs(1)).is_err()
    });
}
