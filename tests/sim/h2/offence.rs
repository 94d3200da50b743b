//! What breaks a rule in such a way that the server must end the connection.

use super::frames::{
    CONTINUATION, DATA, END_HEADERS, GOAWAY, HEADERS, PING, RST_STREAM, SETTINGS, WINDOW_UPDATE, frame, settings,
};
use super::stream::NO_ERROR;

/// One of them.
#[derive(Debug, Clone, Copy)]
pub struct Offence {
    /// For people.
    pub what: &'static str,
    /// The bytes, where the next stream would be this one.
    pub bytes: fn(u32) -> Vec<u8>,
    /// The code that the server must say.
    pub code: u32,
}

impl Offence {
    /// Whether the connection may end with this code. Who does too much is warned before, and if there is no stream, that
    /// is the end.
    pub fn may_end_with(&self, code: u32) -> bool {
        code == self.code || self.code == ENHANCE_YOUR_CALM && code == NO_ERROR
    }
}

const PROTOCOL_ERROR: u32 = 0x1;
const FLOW_CONTROL_ERROR: u32 = 0x3;
const FRAME_SIZE_ERROR: u32 = 0x6;
const COMPRESSION_ERROR: u32 = 0x9;
const ENHANCE_YOUR_CALM: u32 = 0xb;

/// POST /gather/9 to http://sim, whose content follows. It uses no dynamic table, whatever the server allows.
const POST: &[u8] = b"\x20\x83\x86\x04\x09/gather/9\x41\x03sim";
/// More than the server bears, even if some is forgiven meanwhile.
const FLOOD: usize = 400;

const fn offence(what: &'static str, code: u32, bytes: fn(u32) -> Vec<u8>) -> Offence {
    Offence { what, bytes, code }
}

/// All of them.
pub const OFFENCES: [Offence; 23] = [
    offence("DATA on stream 0", PROTOCOL_ERROR, |_| frame(DATA, 0, 0, b"x")),
    offence("DATA on an idle stream", PROTOCOL_ERROR, |id| frame(DATA, 0, id, b"x")),
    offence("HEADERS on stream 0", PROTOCOL_ERROR, |_| frame(HEADERS, END_HEADERS, 0, POST)),
    offence("HEADERS on an even stream", PROTOCOL_ERROR, |id| frame(HEADERS, END_HEADERS, id + 1, POST)),
    offence("RST_STREAM on an idle stream", PROTOCOL_ERROR, |id| frame(RST_STREAM, 0, id, &[0; 4])),
    offence("RST_STREAM of 5 bytes", FRAME_SIZE_ERROR, |id| frame(RST_STREAM, 0, id, &[0; 5])),
    offence("SETTINGS on a stream", PROTOCOL_ERROR, |id| frame(SETTINGS, 0, id, &[])),
    offence("SETTINGS of 5 bytes", FRAME_SIZE_ERROR, |_| frame(SETTINGS, 0, 0, &[0; 5])),
    offence("a third kind of push", PROTOCOL_ERROR, |_| settings(&[(2, 2)])),
    offence("a window that is too large", FLOW_CONTROL_ERROR, |_| settings(&[(4, 0x8000_0000)])),
    offence("frames that are too small", PROTOCOL_ERROR, |_| settings(&[(5, 16_383)])),
    offence("PUSH_PROMISE", PROTOCOL_ERROR, |id| frame(0x5, END_HEADERS, id, &[0; 8])),
    offence("PING of 7 bytes", FRAME_SIZE_ERROR, |_| frame(PING, 0, 0, &[0; 7])),
    offence("GOAWAY of 7 bytes", FRAME_SIZE_ERROR, |_| frame(GOAWAY, 0, 0, &[0; 7])),
    offence("WINDOW_UPDATE of 0", PROTOCOL_ERROR, |_| frame(WINDOW_UPDATE, 0, 0, &[0; 4])),
    offence("a window that grows too large", FLOW_CONTROL_ERROR, |_| {
        frame(WINDOW_UPDATE, 0, 0, &0x7fff_ffff_u32.to_be_bytes()).repeat(2)
    }),
    offence("CONTINUATION of nothing", PROTOCOL_ERROR, |id| frame(CONTINUATION, END_HEADERS, id, POST)),
    offence("a PING within a field block", PROTOCOL_ERROR, |id| {
        [frame(HEADERS, 0, id, POST), frame(PING, 0, 0, &[0; 8])].concat()
    }),
    offence("a field block that means nothing", COMPRESSION_ERROR, |id| frame(HEADERS, END_HEADERS, id, b"\xff\xff")),
    offence("CONTINUATION without end", ENHANCE_YOUR_CALM, |id| {
        [frame(HEADERS, 0, id, POST), frame(CONTINUATION, 0, id, b"\x00\x01x\x01y").repeat(FLOOD)].concat()
    }),
    offence("a flood of PINGs", ENHANCE_YOUR_CALM, |_| frame(PING, 0, 0, &[0; 8]).repeat(FLOOD)),
    offence("a flood of SETTINGS", ENHANCE_YOUR_CALM, |_| settings(&[(4, 65_535)]).repeat(FLOOD)),
    offence("a flood of empty DATA", ENHANCE_YOUR_CALM, |id| {
        [frame(HEADERS, END_HEADERS, id, POST), frame(DATA, 0, id, b"").repeat(FLOOD)].concat()
    }),
];
