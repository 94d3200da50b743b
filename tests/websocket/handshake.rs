//! The request that opens a WebSocket, and what it gets when it does not (RFC 6455 §4.2).

use crate::client::{BINARY, FIN, Frame, KEY, PING, PONG, TEXT, WebSocket, accept, frame, request};
use crate::support::{Client, Server, field, status};

/// One request on a connection that must survive it: the response's head and content.
fn refused(client: &mut Client, request: &str) -> (String, String) {
    client.send(request);
    let answer = client.read_response();
    client.send("GET /health HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.read_response().1, r#"{"status":"up"}"#, "after {}", answer.0);
    answer
}

fn without(line: &str) -> String {
    let whole = request("/ws/echo", "");
    let request = whole.replace(line, "");
    assert_ne!(request, whole);
    request
}

fn with(line: &str, instead: &str) -> String {
    let whole = request("/ws/echo", "");
    let request = whole.replace(line, instead);
    assert_ne!(request, whole);
    request
}

#[test]
fn the_example_of_the_standard() {
    assert_eq!(accept(KEY), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    let server = Server::start(&[]);
    let head = WebSocket::open(&server, "/ws/echo").head;
    assert!(head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{head}");
    assert_eq!(field(&head, "Upgrade"), Some("websocket"));
    assert_eq!(field(&head, "Connection").map(str::to_lowercase).as_deref(), Some("upgrade"));
    for absent in ["Content-Length", "Transfer-Encoding", "Sec-WebSocket-Extensions", "Sec-WebSocket-Protocol"] {
        assert_eq!(field(&head, absent), None, "{head}");
    }
}

#[test]
fn methods_other_than_get_are_told_what_there_is() {
    let server = Server::start(&[]);
    for target in ["/ws/echo", "/ws/chat"] {
        for (method, expected) in
            [("OPTIONS", "204"), ("HEAD", "405"), ("POST", "405"), ("PUT", "405"), ("DELETE", "405")]
        {
            let request = request(target, "Connection: close\r\n").replace("GET ", &format!("{method} "));
            let answer = server.ask(&request);
            let found = (status(&answer), field(&answer, "Allow"));
            assert_eq!(found, (expected, Some("GET, OPTIONS")), "{method} {target}");
            assert_eq!(answer.ends_with("\r\n\r\n"), matches!(method, "OPTIONS" | "HEAD"), "content: {answer}");
        }
        refused(&mut server.connect(), &request(target, "").replace("GET ", "POST "));
    }
}

#[test]
fn who_does_not_ask_for_version_13_is_told_to() {
    let server = Server::start(&[]);
    let plain = "GET /ws/echo HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned();
    for request in [
        plain,
        with("Upgrade: websocket", "Upgrade: h2c"),
        with("Version: 13", "Version: 12"),
        with("Version: 13", "Version: 13, 8"),
        with("Version: 13", "Version: 13\r\nSec-WebSocket-Version: 13"),
        without("Sec-WebSocket-Version: 13\r\n"),
    ] {
        let (head, content) = refused(&mut server.connect(), &request);
        assert_eq!(status(&head), "426", "{request}");
        assert_eq!(field(&head, "Upgrade"), Some("websocket"), "{head}");
        assert_eq!(field(&head, "Connection"), Some("Upgrade"), "{head}");
        assert_eq!(field(&head, "Sec-WebSocket-Version"), Some("13"), "{head}");
        assert!(content.starts_with(r#"{"error":"upgrade_required","detail":""#), "{content}");
    }
}

#[test]
fn what_cannot_be_a_handshake_gets_400() {
    let server = Server::start(&[]);
    for (request, detail) in [
        (with("HTTP/1.1", "HTTP/1.0"), "HTTP/1.1"),
        (with("Connection: Upgrade", "Connection: keep-alive"), "Connection"),
        (without("Connection: Upgrade\r\n"), "Connection"),
        (without(&format!("Sec-WebSocket-Key: {KEY}\r\n")), "there once"),
        (with("\r\n\r\n", &format!("\r\nSec-WebSocket-Key: {KEY}\r\n\r\n")), "there once"),
        (with("\r\n\r\n", "\r\nOrigin: http://localhost\r\nOrigin: http://evil.example\r\n\r\n"), "twice"),
        (with(KEY, "AAAA"), "16 bytes"),
        (with(KEY, "dGhlIHNhbXBsZSBub25jZQ"), "16 bytes"),
        (with(KEY, "?GhlIHNhbXBsZSBub25jZQ=="), "16 bytes"),
        (with("\r\n\r\n", "\r\nContent-Length: 2\r\n\r\nhi"), "content"),
        (with("\r\n\r\n", "\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), "content"),
    ] {
        let mut client = server.connect();
        client.send(&request);
        let (head, content) = client.read_response();
        assert_eq!(status(&head), "400", "{request}");
        assert!(content.starts_with(r#"{"error":"invalid_handshake""#) && content.contains(detail), "{content}");
    }
}

#[test]
fn a_refusal_leaves_the_connection_usable_even_for_a_websocket() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    assert_eq!(status(&refused(&mut client, &with(KEY, "AAAA")).0), "400");
    let mut socket = WebSocket::open_on(client, "/ws/echo", "");
    socket.send(FIN | TEXT, "now");
    assert_eq!(socket.read_text(), "now");
}

#[test]
fn connection_and_upgrade_are_lists_in_any_case() {
    let server = Server::start(&[]);
    for (line, instead) in [
        ("Connection: Upgrade", "Connection: keep-alive, UPGRADE"),
        ("Connection: Upgrade", "connection: Keep-Alive\r\nConnection:upgrade"),
        ("Upgrade: websocket", "Upgrade: h2c, WebSocket"),
        ("Upgrade: websocket", "UPGRADE: ,WEBSOCKET,"),
    ] {
        let mut client = server.connect();
        client.send(with(line, instead));
        assert_eq!(status(&client.read_head()), "101", "{instead}");
    }
}

#[test]
fn pages_of_other_hosts_cannot_open_the_chat() {
    let server = Server::start(&[]);
    for (origin, expected) in [
        ("http://localhost", "101"),
        ("https://localhost", "101"),
        ("http://localhost:8080", "403"),
        ("http://evil.example", "403"),
        ("null", "403"),
    ] {
        let mut client = server.connect();
        client.send(request("/ws/chat", &format!("Origin: {origin}\r\n")));
        let head = client.read_head();
        assert_eq!(status(&head), expected, "{origin}");
        WebSocket::open_with(&server, "/ws/echo", &format!("Origin: {origin}\r\n"));
    }
    let (head, content) = refused(&mut server.connect(), &request("/ws/chat", "Origin: http://evil.example\r\n"));
    assert_eq!((status(&head), &*content), ("403", r#"{"error":"origin_not_allowed"}"#));
}

#[test]
fn the_log_says_why_a_page_may_not_open_the_chat() {
    let server = Server::start(&[]);
    let named = Server::start(&["--ws-origin", "https://a.example"]);
    const PROXY: &str = "nginx: proxy_set_header Host $http_host";
    // The request's Host is `localhost`.
    for (server, origin, says) in [
        (
            &server,
            "http://localhost:8080",
            "its page is of http://localhost:8080, and Host is localhost, without the same port",
        ),
        (&server, "http://localhost:9090", PROXY),
        (&server, "http://evil.example", "its page is of http://evil.example, and Host is localhost: the chat lets in"),
        (&server, "null", "its page is of null, and Host is localhost: the chat lets in"),
        (&named, "http://localhost", "its page is of http://localhost, which --ws-origin does not name"),
    ] {
        let (head, _) = refused(&mut server.connect(), &request("/ws/chat", &format!("Origin: {origin}\r\n")));
        assert_eq!(status(&head), "403", "{origin}");
        server.wait_for_log(says);
    }
    assert_eq!(server.log().matches(PROXY).count(), 2, "only where it helps:\n{}", server.log());
}

#[test]
fn only_the_origins_that_were_named_may_open_anything() {
    let server = Server::start(&["--ws-origin", "https://a.example:443,https://b.example:8443"]);
    for target in ["/ws/echo", "/ws/chat"] {
        for origin in ["https://A.example", "https://b.example:8443"] {
            WebSocket::open_with(&server, target, &format!("Origin: {origin}\r\n"));
        }
        for origin in ["http://a.example", "https://b.example", "http://localhost", "null"] {
            let mut client = server.connect();
            let (head, _) = refused(&mut client, &request(target, &format!("Origin: {origin}\r\n")));
            assert_eq!(status(&head), "403", "{target} from {origin}");
        }
        // Who is not a browser names no origin.
        WebSocket::open(&server, target);
    }
    let all = Server::start(&["--ws-origin", "*"]);
    WebSocket::open_with(&all, "/ws/chat", "Origin: null\r\n");
}

#[test]
fn the_first_subprotocol_that_both_know_is_spoken() {
    let server = Server::start(&[]);
    let spoken = |target, fields| {
        let head = WebSocket::open_with(&server, target, fields).head;
        field(&head, "Sec-WebSocket-Protocol").map(str::to_owned)
    };
    let offer = "Sec-WebSocket-Protocol: other, chat.tidemill\r\nSec-WebSocket-Protocol: third\r\n";
    assert_eq!(spoken("/ws/chat", offer).as_deref(), Some("chat.tidemill"));
    assert_eq!(spoken("/ws/chat", "Sec-WebSocket-Protocol: other\r\n"), None);
    assert_eq!(spoken("/ws/chat", "Sec-WebSocket-Protocol: CHAT.tidemill\r\n"), None);
    // The echo speaks whatever is offered, and the first one is liked best.
    assert_eq!(spoken("/ws/echo", offer).as_deref(), Some("other"));
    assert_eq!(spoken("/ws/echo", "Sec-WebSocket-Protocol: ,, no token, soap,wamp\r\n").as_deref(), Some("soap"));
    assert_eq!(spoken("/ws/echo", "Sec-WebSocket-Protocol: \"quoted\"\r\n"), None);
    assert_eq!(spoken("/ws/echo", ""), None);
}

#[test]
fn bytes_that_come_with_the_handshake_are_frames() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let together =
        [request("/ws/echo", "").as_bytes(), &frame(FIN | PING, b"p"), &frame(FIN | BINARY, &[7; 300])].concat();
    client.send(&together);
    let head = client.read_head();
    assert_eq!(status(&head), "101");
    let mut socket = WebSocket { client, head };
    assert_eq!(socket.read(), Frame { first: FIN | PONG, payload: b"p".to_vec() });
    assert_eq!(socket.read_message(), (BINARY, vec![7; 300]));
}

#[test]
fn requests_in_front_of_the_handshake_are_answered_first() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    client.send(format!("GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n{}", request("/ws/echo", "")));
    assert_eq!(client.read_response().1, "Hello, World!");
    assert_eq!(status(&client.read_head()), "101");
}

#[test]
fn the_lab_next_to_a_folder_has_websockets_too() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/docs");
    let server = Server::start(&["--lab", folder]);
    let mut socket = WebSocket::open(&server, "/ws/echo");
    socket.send(FIN | TEXT, "here");
    assert_eq!(socket.read_text(), "here");
    let without = Server::start(&[folder]);
    assert_eq!(status(&without.ask(&request("/ws/echo", "Connection: close\r\n"))), "404");
}
