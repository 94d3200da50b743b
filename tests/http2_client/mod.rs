//! A client of HTTP/2 for tests of the real binary. Whoever uses it has `frames` and `support` beside it.

use crate::frames::{DATA, END_HEADERS, END_STREAM, Frame, HEADERS, PREFACE, WINDOW_UPDATE, frame, settings};
use crate::support::Client;

/// SETTINGS_INITIAL_WINDOW_SIZE
const INITIAL_WINDOW: u16 = 4;

/// A client of HTTP/2 that does only what it is told.
pub struct Http2 {
    pub client: Client,
}

impl Http2 {
    /// With this window for each of its streams.
    pub fn new(mut client: Client, window: u32) -> Http2 {
        client.send([PREFACE, &settings(&[(INITIAL_WINDOW, window)])].concat());
        Http2 { client }
    }

    /// A request with literal fields, without content if `flags` say so.
    pub fn ask(&mut self, stream: u32, flags: u8, fields: &[(&str, &str)]) {
        let block = fields.iter().flat_map(|(name, value)| [vec![0], text(name), text(value)].concat());
        self.client.send(frame(HEADERS, END_HEADERS | flags, stream, &block.collect::<Vec<u8>>()));
    }

    pub fn get(&mut self, stream: u32, target: &str, priority: &str) {
        let fields =
            [(":method", "GET"), (":scheme", "http"), (":path", target), (":authority", "a"), ("priority", priority)];
        self.ask(stream, END_STREAM, &fields);
    }

    pub fn widen(&mut self, stream: u32, bytes: u32) {
        self.client.send(frame(WINDOW_UPDATE, 0, stream, &bytes.to_be_bytes()));
    }

    pub fn read(&mut self) -> Frame {
        let head = self.client.read_exactly(9);
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let stream = u32::from_be_bytes(head[5..9].try_into().unwrap());
        Frame { kind: head[3], flags: head[4], stream, payload: self.client.read_exactly(length) }
    }

    pub fn read_until(&mut self, mut is_wanted: impl FnMut(&Frame) -> bool) {
        while !is_wanted(&self.read()) {}
    }

    /// Reads until a response of this stream has ended.
    pub fn read_end_of(&mut self, stream: u32) {
        self.read_until(|frame| {
            frame.stream == stream && [DATA, HEADERS].contains(&frame.kind) && frame.has(END_STREAM)
        });
    }
}

fn text(text: &str) -> Vec<u8> {
    assert!(text.len() < 127, "a prefix of 7 bits");
    [&[text.len() as u8], text.as_bytes()].concat()
}

/// The pseudo-fields of a request.
pub fn head<'a>(method: &'a str, target: &'a str) -> [(&'a str, &'a str); 4] {
    [(":method", method), (":scheme", "http"), (":path", target), (":authority", "a")]
}
