//! HTTP/2 by prior knowledge (RFC 9113 §3.3): every HEADERS frame is answered with the same HEADERS and DATA.
//!
//! It finds where frames begin and looks at nothing in them. It acknowledges SETTINGS, decodes no fields, keeps no
//! streams, and assumes that the client's windows are open. So it serves clients whose HEADERS are all requests without
//! content, as those of h2load are.

use crate::Protocol;
use mio::net::TcpStream;
use std::io::{self, Write};

const PREFACE_BYTES: usize = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".len();

/// Of a frame: length, type, flags, stream (§4.1).
const HEAD_BYTES: usize = 9;

/// Types and flags (§6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// Without a larger limit from the client, the longest payload (§6.5.2).
const PAYLOAD_MAX: usize = 16384;

/// Answers every request the same.
pub struct Http2 {
    /// For stream 0.
    answer: Vec<u8>,
    /// Where in the answer the heads of its two frames are.
    heads: [usize; 2],
}

/// A file's bytes.
pub fn memory(file: &str) -> io::Result<Http2> {
    let content = std::fs::read(file)?;
    if content.len() > PAYLOAD_MAX {
        return Err(io::Error::other(format!("{file} does not fit into one frame")));
    }
    Ok(Http2::new(&content))
}

/// What is known of a connection.
pub struct State {
    /// So many bytes of the preface or of a payload are still to come.
    skipped: usize,
    /// What has come of the head of a frame that came in pieces.
    partial_head: Vec<u8>,
    output: Vec<u8>,
    /// How many of the output's bytes are written.
    written: usize,
}

impl Default for State {
    /// The server's preface, which is SETTINGS without any (§3.4), waits for the client's.
    fn default() -> Self {
        let output = frame_head(0, SETTINGS, 0).into();
        Self { skipped: PREFACE_BYTES, partial_head: Vec::new(), output, written: 0 }
    }
}

fn frame_head(length: usize, kind: u8, flags: u8) -> [u8; HEAD_BYTES] {
    let [.., high, middle, low] = length.to_be_bytes();
    [high, middle, low, kind, flags, 0, 0, 0, 0]
}

impl Http2 {
    fn new(content: &[u8]) -> Self {
        let fields = fields(content.len());
        let mut answer = frame_head(fields.len(), HEADERS, END_HEADERS).to_vec();
        answer.extend(fields);
        let data = answer.len();
        answer.extend(frame_head(content.len(), DATA, END_STREAM));
        answer.extend(content);
        Self { answer, heads: [0, data] }
    }

    fn on_frame(&self, state: &mut State, head: [u8; HEAD_BYTES]) {
        let [high, middle, low, kind, flags, stream @ ..] = head;
        state.skipped = u32::from_be_bytes([0, high, middle, low]) as usize;
        match kind {
            HEADERS => {
                let start = state.output.len();
                state.output.extend_from_slice(&self.answer);
                for head in self.heads {
                    state.output[start + head + 5..][..4].copy_from_slice(&stream);
                }
            }
            SETTINGS if flags & ACK == 0 => state.output.extend(frame_head(0, SETTINGS, ACK)),
            _ => {}
        }
    }
}

/// `:status: 200` by its index, and Content-Length without one (RFC 7541 §6.1, §6.2.2): about as long as what a server
/// sends that has all its fields in the dynamic table.
fn fields(length: usize) -> Vec<u8> {
    let length = length.to_string();
    [&[0x88, 0x0f, 0x0d, length.len() as u8], length.as_bytes()].concat()
}

impl Protocol for Http2 {
    type State = State;

    fn receive(&self, state: &mut State, mut bytes: &[u8]) {
        loop {
            let skipped = state.skipped.min(bytes.len());
            state.skipped -= skipped;
            bytes = &bytes[skipped..];
            if bytes.is_empty() {
                return;
            }
            if state.partial_head.is_empty()
                && let Some((head, rest)) = bytes.split_first_chunk()
            {
                bytes = rest;
                self.on_frame(state, *head);
                continue;
            }
            let missing = (HEAD_BYTES - state.partial_head.len()).min(bytes.len());
            state.partial_head.extend_from_slice(&bytes[..missing]);
            bytes = &bytes[missing..];
            if let Ok(head) = state.partial_head.as_slice().try_into() {
                state.partial_head.clear();
                self.on_frame(state, head);
            }
        }
    }

    fn has_output(&self, state: &State) -> bool {
        !state.output.is_empty()
    }

    fn write(&self, state: &mut State, mut stream: &TcpStream) -> io::Result<()> {
        state.written += stream.write(&state.output[state.written..])?;
        if state.written == state.output.len() {
            state.written = 0;
            state.output.clear();
        }
        Ok(())
    }

    fn is_over(&self, _: &State) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_head_of_a_request_is_answered_on_its_stream_however_it_arrives() {
        let headers = |stream| [0, 0, 3, HEADERS, END_HEADERS | END_STREAM, 0, 0, 0, stream, 0x82, 0x86, 0x84];
        let mut input = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        input.extend(frame_head(0, SETTINGS, 0));
        input.extend([0, 0, 4, 8, 0, 0, 0, 0, 0, 0x7f, 0xff, 0, 0]); // WINDOW_UPDATE
        input.extend(headers(1));
        input.extend(frame_head(0, SETTINGS, ACK));
        input.extend(headers(3));
        let mut expected = [frame_head(0, SETTINGS, 0), frame_head(0, SETTINGS, ACK)].concat();
        for stream in [1, 3] {
            expected.extend([0, 0, 5, HEADERS, END_HEADERS, 0, 0, 0, stream, 0x88, 0x0f, 0x0d, 1, b'2']);
            expected.extend([0, 0, 2, DATA, END_STREAM, 0, 0, 0, stream, b'h', b'i']);
        }
        let floor = Http2::new(b"hi");
        for piece in 1..=input.len() {
            let mut state = State::default();
            input.chunks(piece).for_each(|bytes| floor.receive(&mut state, bytes));
            assert_eq!(state.output, expected, "in pieces of {piece}");
        }
    }
}
