//! Every message comes back, whatever its kind, its size and its frames.

use std::thread;

use tungstenite::Message;

use crate::client::{BINARY, CONTINUATION, FIN, Frame, PING, PONG, TEXT, WebSocket, frame, tungstenite};
use crate::support::Server;

#[test]
fn another_implementation_hears_itself() {
    let server = Server::start(&[]);
    let mut socket = tungstenite(&server, "/ws/echo");
    let long = "mühle ".repeat(30_000);
    for message in [
        Message::text("hello"),
        Message::text(""),
        Message::text(long),
        Message::binary(vec![]),
        Message::binary(vec![0xff; 126]),
        Message::binary((0..1 << 20).map(|n: u32| (n >> 3) as u8).collect::<Vec<_>>()),
    ] {
        socket.send(message.clone()).unwrap();
        assert!(socket.read().unwrap() == message, "{} bytes", message.len());
    }
    socket.close(None).unwrap();
    assert!(matches!(socket.read(), Ok(Message::Close(None))));
    assert!(matches!(socket.read(), Err(tungstenite::Error::ConnectionClosed)));
}

#[test]
fn lengths_around_every_change_of_encoding_come_back() {
    let server = Server::start(&[]);
    let mut socket = WebSocket::open(&server, "/ws/echo");
    for length in [0, 1, 124, 125, 126, 127, 16_383, 16_384, 16_385, 65_535, 65_536, 65_537, 200_000] {
        let content: Vec<u8> = (0..length).map(|n: usize| ((n * 31) >> 4) as u8).collect();
        socket.send(FIN | BINARY, &content);
        assert!(socket.read_message() == (BINARY, content), "{length}");
    }
}

#[test]
fn pongs_overtake_nothing_and_interrupt_only_between_frames() {
    let server = Server::start(&[]);
    let mut socket = WebSocket::open(&server, "/ws/echo");
    socket.send(TEXT, "one ");
    socket.send(FIN | PING, "first");
    socket.send(CONTINUATION, "");
    socket.send(CONTINUATION, "two ");
    socket.send(FIN | PING, [9; 125]);
    socket.send(FIN | CONTINUATION, "three");
    let (mut content, mut pongs) = (Vec::new(), Vec::new());
    while !content.ends_with(b"three") {
        let Frame { first, payload } = socket.read();
        match first & 0xf {
            PONG => pongs.push((content.len(), payload)),
            _ => content.extend(payload),
        }
    }
    assert_eq!(content, b"one two three");
    assert_eq!(pongs, [(4, b"first".to_vec()), (8, vec![9; 125])]);
}

#[test]
fn a_pong_that_nobody_asked_for_is_no_event() {
    let server = Server::start(&[]);
    let mut socket = WebSocket::open(&server, "/ws/echo");
    socket.send(FIN | PONG, "unasked");
    socket.send(FIN | TEXT, "next");
    assert_eq!(socket.read_text(), "next");
}

#[test]
fn frames_may_arrive_byte_by_byte() {
    let server = Server::start(&[]);
    let mut socket = WebSocket::open(&server, "/ws/echo");
    let frames = [frame(TEXT, "sl€".as_bytes()), frame(FIN | CONTINUATION, &b"o".repeat(130))].concat();
    for byte in frames {
        socket.client.send([byte]);
    }
    assert_eq!(socket.read_text(), format!("sl€{}", "o".repeat(130)));
}

#[test]
fn characters_may_be_cut_between_frames() {
    let server = Server::start(&[]);
    let mut socket = WebSocket::open(&server, "/ws/echo");
    let text = "Ж€🌊";
    let (last, front) = text.as_bytes().split_last().unwrap();
    for (at, byte) in front.iter().enumerate() {
        socket.send(if at == 0 { TEXT } else { CONTINUATION }, [*byte]);
    }
    socket.send(FIN | CONTINUATION, [*last]);
    assert_eq!(socket.read_text(), text);
}

#[test]
fn many_messages_in_one_segment_come_back_in_order() {
    let server = Server::start(&[]);
    let mut socket = WebSocket::open(&server, "/ws/echo");
    let frames: Vec<u8> = (0..2000).flat_map(|n| frame(FIN | TEXT, format!("message {n}").as_bytes())).collect();
    let mut writer = socket.client.stream.try_clone().unwrap();
    let sender = thread::spawn(move || std::io::Write::write_all(&mut writer, &frames).unwrap());
    for n in 0..2000 {
        assert_eq!(socket.read_text(), format!("message {n}"));
    }
    sender.join().unwrap();
}

#[test]
fn a_websocket_outlives_the_timeouts_of_requests() {
    let server = Server::start(&["--keep-alive-timeout", "50ms", "--body-timeout", "50ms", "--send-timeout", "300ms"]);
    let mut socket = WebSocket::open(&server, "/ws/echo");
    let mut clock = server.connect();
    // Half a frame is content that does not come; the server itself says when the timeouts have passed. Its own
    // connection would not live that long between two requests.
    let frame = frame(FIN | TEXT, b"patience");
    socket.client.send(&frame[..7]);
    clock.send("GET /delay/700 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(clock.read_response().1, r#"{"delayed_ms":700}"#);
    socket.client.send(&frame[7..]);
    assert_eq!(socket.read_text(), "patience");
}
