//! How WebSockets end (RFC 6455 §7): by either side, in order, and when the server stops.

use tungstenite::Message;
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;

use crate::client::{BINARY, CLOSE, CONTINUATION, FIN, Frame, PING, RSV1, TEXT, WebSocket, frame, tungstenite};
use crate::support::{Server, field, status};

#[test]
fn a_close_is_answered_with_its_code_and_then_the_connection_ends() {
    let server = Server::start(&[]);
    for code in [1000, 1001, 1011, 1014, 3000, 4999] {
        let mut socket = WebSocket::open(&server, "/ws/echo");
        socket.send_close(code);
        assert_eq!(socket.read_close(), (code, String::new()));
        socket.expect_end();
    }
    let mut socket = WebSocket::open(&server, "/ws/echo");
    socket.send(FIN | CLOSE, "");
    assert_eq!(socket.read(), Frame { first: FIN | CLOSE, payload: Vec::new() });
    socket.expect_end();
}

#[test]
fn another_implementation_sees_a_clean_end() {
    let server = Server::start(&[]);
    let mut socket = tungstenite(&server, "/ws/echo");
    socket.close(Some(CloseFrame { code: CloseCode::Library(4711), reason: "enough".into() })).unwrap();
    let Message::Close(Some(answer)) = socket.read().unwrap() else { panic!("no Close") };
    assert_eq!(answer.code, CloseCode::Library(4711));
    assert!(matches!(socket.read(), Err(tungstenite::Error::ConnectionClosed)));
}

#[test]
fn what_comes_before_a_close_is_answered_and_what_comes_after_it_is_not() {
    let server = Server::start(&[]);
    let mut socket = WebSocket::open(&server, "/ws/echo");
    let close = frame(FIN | CLOSE, &1000_u16.to_be_bytes());
    socket.client.send([frame(FIN | TEXT, b"before"), close, frame(FIN | TEXT, b"after")].concat());
    assert_eq!(socket.read_text(), "before");
    assert_eq!(socket.read_close().0, 1000);
    socket.expect_end();
}

#[test]
fn a_broken_rule_gets_its_code_and_an_orderly_end_although_more_was_sent() {
    let server = Server::start(&[]);
    let unmasked = [&[FIN | TEXT, 2][..], b"hi"].concat();
    let cases: [(&str, u16, Vec<u8>); 16] = [
        ("no mask", 1002, unmasked),
        ("a reserved bit", 1002, frame(FIN | 0x20 | TEXT, b"a")),
        ("compressed without an agreement", 1002, frame(FIN | RSV1 | TEXT, b"a")),
        ("a reserved opcode", 1002, frame(FIN | 0x3, b"a")),
        ("a reserved control opcode", 1002, frame(FIN | 0xb, b"a")),
        ("a fragmented ping", 1002, frame(PING, b"a")),
        ("a ping of 126 bytes", 1002, frame(FIN | PING, &[0; 126])),
        ("a continuation of nothing", 1002, frame(FIN | CONTINUATION, b"a")),
        ("a message in a message", 1002, [frame(TEXT, b"a"), frame(FIN | TEXT, b"b")].concat()),
        ("a length of 3 in two bytes", 1002, vec![FIN | BINARY, 0xfe, 0, 3]),
        ("a length of 65535 in eight bytes", 1002, vec![FIN | BINARY, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff]),
        ("half a close code", 1002, frame(FIN | CLOSE, &[3])),
        ("a close code that is not sent", 1002, frame(FIN | CLOSE, &1005_u16.to_be_bytes())),
        ("a reason that is not UTF-8", 1007, frame(FIN | CLOSE, b"\x03\xe8\xff")),
        ("text that is not UTF-8", 1007, frame(FIN | TEXT, b"a\xc3(")),
        ("half a character at the end", 1007, frame(FIN | TEXT, b"\xe2\x82")),
    ];
    for (what, code, bytes) in cases {
        let mut socket = WebSocket::open(&server, "/ws/echo");
        // Input that nobody reads any more would turn the end into a reset.
        socket.client.send([bytes, vec![b'x'; 50_000]].concat());
        // A good beginning may have come back already.
        let (found, reason) = socket.read_close_after_content();
        assert_eq!(found, code, "{what}: {reason}");
        assert!(!reason.is_empty(), "{what}: a reason");
        socket.client.finish();
        socket.expect_end();
    }
    server.wait_for_log("WebSocket closed with 1002: a client's frame without a mask (RFC 6455 §5.1)");
    server.wait_for_log("WebSocket closed with 1007:");
}

#[test]
fn text_is_refused_at_its_first_bad_byte() {
    let server = Server::start(&[]);
    let mut socket = WebSocket::open(&server, "/ws/echo");
    // The frame announces more than will ever be sent.
    let frame = frame(FIN | TEXT, &[b"ab\xff".as_slice(), &[b'c'; 100]].concat());
    socket.client.send(&frame[..6 + 3]);
    let (code, _) = socket.read_close_after_content();
    assert_eq!(code, 1007);
    socket.client.finish();
    socket.expect_end();
}

#[test]
fn a_client_that_leaves_without_a_close_leaves_nothing_behind() {
    let server = Server::start(&["--ws-compressed", "1"]);
    for _ in 0..3 {
        let offer = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
        let mut socket = WebSocket::open_with(&server, "/ws/echo", offer);
        let granted = field(&socket.head, "Sec-WebSocket-Extensions");
        assert_eq!(granted, Some("permessage-deflate"), "the one before has given back its share");
        socket.client.send(&frame(FIN | TEXT, b"half a frame")[..9]);
        socket.client.finish();
        let rest = socket.client.read_to_end();
        assert!(rest.len() <= 5, "at most what was understood of it: {rest:?}");
    }
    // An abrupt end: unread input makes it a reset.
    let mut socket = WebSocket::open(&server, "/ws/echo");
    socket.send(FIN | TEXT, "unread");
    drop(socket);
    assert_eq!(status(&server.ask("GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")), "200");
    assert!(!server.log().contains("panicked"), "{}", server.log());
}

#[test]
fn a_server_that_stops_says_goodbye_and_waits_for_the_answers() {
    let mut server = Server::start(&[]);
    let mut polite = tungstenite(&server, "/ws/echo");
    let mut raw = WebSocket::open(&server, "/ws/chat?room=r");
    let mut in_a_message = WebSocket::open(&server, "/ws/echo");
    in_a_message.send(TEXT, "b");
    assert_eq!(in_a_message.read(), Frame { first: TEXT, payload: b"b".to_vec() });
    assert!(raw.read_text().contains("welcome"));
    assert!(raw.read_text().contains("joined"));
    server.signal("TERM");
    let Message::Close(Some(close)) = polite.read().unwrap() else { panic!("no Close") };
    assert_eq!(close.code, CloseCode::Away);
    assert!(matches!(polite.read(), Err(tungstenite::Error::ConnectionClosed)));
    assert_eq!(in_a_message.expect_close(1001), "the server stops");
    raw.expect_close(1001);
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn a_client_that_does_not_answer_the_goodbye_delays_the_end_until_the_deadline_at_most() {
    let mut server = Server::start(&["--drain-timeout", "300ms"]);
    let mut mute = WebSocket::open(&server, "/ws/echo");
    server.signal("TERM");
    assert_eq!(mute.read_close().0, 1001);
    assert_eq!(server.wait().code(), Some(3));
}

#[test]
fn after_the_order_to_stop_no_websocket_is_opened() {
    let mut server = Server::start(&[]);
    let mut client = server.connect();
    client.send("GET /delay/500 HTTP/1.1\r\nHost: a\r\n\r\n");
    client.send(crate::client::request("/ws/echo", ""));
    server.signal("TERM");
    let answer = client.read_to_end();
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "only what was in flight: {answer}");
    assert_eq!(server.wait().code(), Some(0));
}

impl WebSocket {
    /// The Close that comes after parts of messages.
    fn read_close_after_content(&mut self) -> (u16, String) {
        loop {
            let Frame { first, payload } = self.read();
            if first == FIN | CLOSE {
                let (code, reason) = payload.split_first_chunk().unwrap();
                return (u16::from_be_bytes(*code), String::from_utf8(reason.to_vec()).unwrap());
            }
        }
    }
}
