//! A WebSocket client that sends exactly the frames it is told to, and checks the rules in those that come back.

use std::net::TcpStream;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

use crate::support::{Client, Server, Uninterrupted, field, status};

pub const CONTINUATION: u8 = 0x0;
pub const TEXT: u8 = 0x1;
pub const BINARY: u8 = 0x2;
pub const CLOSE: u8 = 0x8;
pub const PING: u8 = 0x9;
pub const PONG: u8 = 0xa;
/// The bit of a message's last frame.
pub const FIN: u8 = 0x80;
/// The bit of a compressed message's first frame.
pub const RSV1: u8 = 0x40;

pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// An open WebSocket, frame by frame.
pub struct WebSocket {
    pub client: Client,
    /// The head of the response that opened it.
    pub head: String,
}

/// A frame of the server.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame {
    /// FIN, the reserved bits and the opcode.
    pub first: u8,
    pub payload: Vec<u8>,
}

impl WebSocket {
    pub fn open(server: &Server, target: &str) -> WebSocket {
        WebSocket::open_with(server, target, "")
    }

    /// Opens it with more fields in the request, each ended by CRLF.
    pub fn open_with(server: &Server, target: &str, fields: &str) -> WebSocket {
        WebSocket::open_on(server.connect(), target, fields)
    }

    pub fn open_on(mut client: Client, target: &str, fields: &str) -> WebSocket {
        client.send(request(target, fields));
        let head = client.read_head();
        assert_eq!(status(&head), "101", "{head}");
        assert_eq!(field(&head, "Sec-WebSocket-Accept"), Some(&*accept(KEY)), "{head}");
        WebSocket { client, head }
    }

    pub fn send(&mut self, first: u8, payload: impl AsRef<[u8]>) {
        self.client.send(frame(first, payload.as_ref()));
    }

    /// The next frame, which must be one that a server may send: without a mask, its length as short as can be.
    pub fn read(&mut self) -> Frame {
        let head = self.client.read_exactly(2);
        assert_eq!(head[1] & 0x80, 0, "a server does not mask");
        let length = match head[1] {
            126 => number(&self.client.read_exactly(2)),
            127 => number(&self.client.read_exactly(8)),
            short => usize::from(short),
        };
        let shortest = [(126, 126), (127, 65536)].into_iter().find(|(code, _)| *code == head[1]);
        assert!(shortest.is_none_or(|(_, least)| length >= least), "a length of {length} after {}", head[1]);
        Frame { first: head[0], payload: self.client.read_exactly(length) }
    }

    /// The next message: its kind and its content, from as many frames as it takes. Nothing may come in between.
    pub fn read_message(&mut self) -> (u8, Vec<u8>) {
        let Frame { first, payload: mut content } = self.read();
        let (kind, mut fin) = (first & !FIN, first & FIN != 0);
        assert!([TEXT, BINARY].contains(&kind), "not the beginning of a message: {first:#x}");
        while !fin {
            let next = self.read();
            assert_eq!(next.first & !FIN, CONTINUATION);
            fin = next.first & FIN != 0;
            content.extend(next.payload);
        }
        (kind, content)
    }

    /// The next message, which must be text.
    pub fn read_text(&mut self) -> String {
        let (kind, content) = self.read_message();
        assert_eq!(kind, TEXT);
        String::from_utf8(content).unwrap()
    }

    /// The code and reason of the Close that must come next.
    pub fn read_close(&mut self) -> (u16, String) {
        let Frame { first, payload } = self.read();
        assert_eq!(first, FIN | CLOSE, "{:?}", String::from_utf8_lossy(&payload));
        let (code, reason) = payload.split_at(2);
        (number(code) as u16, String::from_utf8(reason.to_vec()).unwrap())
    }

    pub fn send_close(&mut self, code: u16) {
        self.send(FIN | CLOSE, code.to_be_bytes());
    }

    /// The server's direction must end now, in order.
    pub fn expect_end(&mut self) {
        assert_eq!(self.client.read_to_end(), "", "after the Close");
    }

    /// The server must close with this code, and then the connection; says the reason.
    pub fn expect_close(&mut self, code: u16) -> String {
        let (received, reason) = self.read_close();
        assert_eq!(received, code, "{reason}");
        self.send_close(code);
        self.expect_end();
        reason
    }
}

/// A request that opens a WebSocket, with more fields.
pub fn request(target: &str, fields: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{fields}\r\n"
    )
}

/// What proves that the server has read the key (RFC 6455 §4.2.2).
pub fn accept(key: &str) -> String {
    let hash = Sha1::new().chain_update(key).chain_update("258EAFA5-E914-47DA-95CA-C5AB0DC85B11").finalize();
    STANDARD.encode(hash)
}

/// A client's frame.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..=125 => frame.push(0x80 | length as u8),
        length @ 126..=0xffff => frame.extend([&[0xfe][..], &(length as u16).to_be_bytes()].concat()),
        length => frame.extend([&[0xff][..], &(length as u64).to_be_bytes()].concat()),
    }
    frame.extend(MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

fn number(bytes: &[u8]) -> usize {
    bytes.iter().fold(0, |number, byte| number << 8 | usize::from(*byte))
}

/// Another implementation's client.
pub fn tungstenite(server: &Server, target: &str) -> tungstenite::WebSocket<Uninterrupted<TcpStream>> {
    let stream = Uninterrupted(server.connect().stream);
    let (socket, response) = tungstenite::client(format!("ws://{}{target}", server.address), stream).unwrap();
    assert_eq!(response.status(), 101);
    socket
}
