//! The bytes of a message's head (RFC 9112 §3, §4, §5) and of the framing around its content (§7.1).

use std::iter;

use super::framing::FramingField;
use crate::base::ring::RingBuffer;
use crate::http::date::DateCache;
use crate::http::fields::FieldSet;
use crate::http::message::{Announced, Origin, Response, Version};
use crate::http::method::Method;
use crate::http::status::Status;
use crate::http::upstream::OutgoingRequest;

/// The chunk that ends the content, without trailers.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";
/// What ends a line, and a chunk.
pub const CRLF: &[u8] = b"\r\n";

/// Adds the head of a response to `out`. The status line always says 1.1, also to a 1.0 client (RFC 9110 §2.5).
pub fn head(
    out: &mut Vec<u8>,
    response: &Response,
    field: FramingField,
    connection: ConnectionLines,
    date: &DateCache,
) {
    match (response.status, response.origin) {
        // Nearly every response begins like this. It is one copy, and its length is known to the compiler.
        (Status::OK, Origin::Here) => {
            out.extend_from_slice(b"HTTP/1.1 200 OK\r\nServer: tidemill\r\nDate: ");
            out.extend_from_slice(date.as_bytes());
        }
        (status, origin) => first_lines(out, status, origin, date),
    }
    if let Some(content_type) = &response.content_type {
        out.extend_from_slice(b"\r\nContent-Type: ");
        out.extend_from_slice(content_type.as_bytes());
    }
    match field {
        FramingField::None => {}
        FramingField::Chunked => out.extend_from_slice(b"\r\nTransfer-Encoding: chunked"),
        FramingField::Length(length) => {
            out.extend_from_slice(b"\r\nContent-Length: ");
            decimal(out, length);
        }
    }
    if connection.lines.is_empty() && response.prepared.is_empty() && response.fields.is_empty() {
        // The end of the last line and the empty line are one copy.
        return out.extend_from_slice(b"\r\n\r\n");
    }
    out.extend_from_slice(CRLF);
    out.extend_from_slice(connection.lines);
    if let Some(idle_secs) = connection.idle_secs {
        out.extend_from_slice(b"Keep-Alive: timeout=");
        decimal(out, idle_secs.into());
        out.extend_from_slice(CRLF);
    }
    out.extend_from_slice(response.prepared.as_lines());
    for (name, value) in &response.fields {
        field_line(out, name.as_str().as_bytes(), value.as_bytes());
    }
    out.extend_from_slice(CRLF);
}

/// Adds the head of a request to `out`.
pub fn request_head(out: &mut Vec<u8>, request: &OutgoingRequest) {
    // Host comes first (RFC 9110 §7.2).
    let line = [request.method.as_str().as_bytes(), b" ", &request.target, b" HTTP/1.1\r\n"];
    line.iter().for_each(|part| out.extend_from_slice(part));
    field_line(out, b"Host", &request.host);
    match (request.content, request.method) {
        // These methods have content normally, so a recipient must be told that there is none (RFC 9110 §8.6).
        (Announced::Nothing, Method::Post | Method::Put | Method::Patch) => {
            out.extend_from_slice(b"Content-Length: 0\r\n");
        }
        (Announced::Nothing, _) => {}
        (Announced::Length(length), _) => {
            out.extend_from_slice(b"Content-Length: ");
            decimal(out, length);
            out.extend_from_slice(CRLF);
        }
        (Announced::Unknown, _) => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
    }
    // There is nothing to wait with if there is no content (RFC 9110 §10.1.1).
    if request.expects_continue && request.content != Announced::Nothing {
        out.extend_from_slice(b"Expect: 100-continue\r\n");
    }
    // Fields that concern the connection, and Connection, which names them (RFC 9110 §7.6.1, §7.8, §10.1.4).
    if let Some(protocol) = &request.upgrade {
        field_line(out, b"Upgrade", protocol);
    }
    out.extend_from_slice(match (request.upgrade.is_some(), request.takes_trailers) {
        (false, false) => b"",
        (true, false) => b"Connection: Upgrade\r\n",
        (false, true) => b"TE: trailers\r\nConnection: TE\r\n",
        (true, true) => b"TE: trailers\r\nConnection: Upgrade, TE\r\n",
    });
    out.extend_from_slice(&request.lines);
    out.extend_from_slice(CRLF);
}

/// Adds a whole interim response to `outbox`; false if there is not enough room, and then nothing.
pub fn interim(outbox: &mut RingBuffer, status: Status, fields: &FieldSet) -> bool {
    let digits = three_digits(status.code());
    let parts = [b"HTTP/1.1 ", &digits[..], b" ", status.reason().as_bytes(), CRLF, fields.as_lines(), CRLF];
    put_all(outbox, parts.into_iter())
}

/// Adds the chunk that ends the content, with these trailers (RFC 9112 §7.1.2), to `outbox`; false if there is not
/// enough room, and then nothing.
pub fn last_chunk<'a>(outbox: &mut RingBuffer, trailers: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone) -> bool {
    let lines = trailers.flat_map(|(name, value)| [name, b": ", value, CRLF]);
    put_all(outbox, iter::once(&b"0\r\n"[..]).chain(lines).chain([CRLF]))
}

/// Adds all the parts, or nothing.
fn put_all<'a>(outbox: &mut RingBuffer, parts: impl Iterator<Item = &'a [u8]> + Clone) -> bool {
    let len: usize = parts.clone().map(<[u8]>::len).sum();
    let fits = len <= outbox.free();
    if fits {
        for part in parts {
            outbox.put(part);
        }
    }
    fits
}

/// What a head says about its connection: whole lines, and then a Keep-Alive line if there is something to say in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLines {
    lines: &'static [u8],
    idle_secs: Option<u32>,
}

impl ConnectionLines {
    /// The lines that a response needs: none for the default of the version (RFC 9112 §9.3). A response with Upgrade also
    /// names that field here (RFC 9110 §7.8).
    ///
    /// If the connection persists, `idle_secs` is how long the client may keep it idle, in seconds. That field belongs to
    /// the connection, so Connection names it (RFC 9110 §7.6.1, RFC 9112 Appendix C.2.2).
    pub fn new(status: Status, persists: bool, version: Version, idle_secs: Option<u32>) -> ConnectionLines {
        let (lines, idle_secs): (&[u8], _) = match (status, persists, idle_secs) {
            (Status::SWITCHING_PROTOCOLS, ..) => (b"Connection: Upgrade\r\n", None),
            (Status::UPGRADE_REQUIRED, false, _) => (b"Connection: close, Upgrade\r\n", None),
            (Status::UPGRADE_REQUIRED, true, None) => (b"Connection: Upgrade\r\n", None),
            (Status::UPGRADE_REQUIRED, true, idle) => (b"Connection: keep-alive, Upgrade\r\n", idle),
            (_, false, _) => (b"Connection: close\r\n", None),
            (_, true, None) if version > Version::Http10 => (b"", None),
            (_, true, idle) => (b"Connection: keep-alive\r\n", idle),
        };
        ConnectionLines { lines, idle_secs }
    }
}

/// Adds a field to a head that is complete.
pub fn add_field(head: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    debug_assert!(head.ends_with(b"\r\n\r\n"), "it ends with an empty line");
    head.truncate(head.len() - CRLF.len());
    field_line(head, name, value);
    head.extend_from_slice(CRLF);
}

/// Adds the status line, and Server and Date as far as they are not among the fields. There is no CRLF behind the last line.
fn first_lines(out: &mut Vec<u8>, status: Status, origin: Origin, date: &DateCache) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(&three_digits(status.code()));
    out.push(b' ');
    out.extend_from_slice(status.reason().as_bytes());
    if origin == Origin::Here {
        out.extend_from_slice(b"\r\nServer: tidemill");
    }
    if origin != (Origin::Upstream { is_dated: true }) {
        out.extend_from_slice(b"\r\nDate: ");
        out.extend_from_slice(date.as_bytes());
    }
}

fn field_line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(CRLF);
}

fn three_digits(code: u16) -> [u8; 3] {
    [code / 100, code / 10 % 10, code % 10].map(|digit| b'0' + digit as u8)
}

/// Writes the digits to `out` in reverse and then reverses them there. In a buffer of their own they would be copied as
/// a whole right after they were stored one by one, and the processor would wait for its store buffer before that.
fn decimal(out: &mut Vec<u8>, mut number: u64) {
    let start = out.len();
    loop {
        out.push(b'0' + (number % 10) as u8);
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out[start..].reverse();
}

/// The line in front of a chunk's content: its size and CRLF.
pub struct ChunkPrefix {
    bytes: [u8; 18],
    start: usize,
}

impl ChunkPrefix {
    /// For a chunk of `size` bytes, with no more digits than it needs.
    pub fn new(size: usize) -> ChunkPrefix {
        let mut prefix = ChunkPrefix { bytes: *b"0000000000000000\r\n", start: 16 };
        let mut rest = size;
        loop {
            prefix.start -= 1;
            prefix.bytes[prefix.start] = b"0123456789abcdef"[rest & 15];
            rest >>= 4;
            if rest == 0 {
                return prefix;
            }
        }
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }
}

/// Returns the size of a gap for a chunk's prefix, and of the content behind it. Both, and the CRLF behind them, fit
/// into `free` bytes.
pub fn chunk_room(free: usize) -> (usize, usize) {
    let mut digits = 1;
    loop {
        let gap = digits + CRLF.len();
        let size = free.saturating_sub(gap + CRLF.len());
        if size.checked_shr(4 * digits as u32).unwrap_or(0) == 0 {
            return (gap, size);
        }
        digits += 1;
    }
}
