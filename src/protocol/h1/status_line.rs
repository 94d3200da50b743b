//! The resumable search for the end of a response's head: a status line (RFC 9112 §4), and field lines as in a request.
//!
//! As with requests, the result does not depend on how the bytes are split.

use super::scan::{FieldScan, run_of_value_bytes};
use super::spans::Spans;
use super::{BARE_CR, BARE_LF, bad_gateway};
use crate::base::limits::Limits;
use crate::http::message::Version;
use crate::http::status::Status;
use crate::protocol::ProtocolError;

/// What every status line begins with; `0` stands for any digit. A space and a reason, or nothing, follow before CRLF.
const VERSION_AND_CODE: &[u8; 12] = b"HTTP/0.0 000";

/// The state of the search for the end of a head.
#[derive(Debug, Clone, Copy)]
pub enum ResponseScan {
    /// The status line has been read up to here, and is not complete.
    StatusLine { seen: u32 },
    /// The status line has so many bytes with its CRLF, and is well-formed.
    Fields { line_bytes: u32, scan: FieldScan },
}

impl ResponseScan {
    /// For a head of which nothing has been looked at.
    pub fn new() -> ResponseScan {
        ResponseScan::StatusLine { seen: 0 }
    }

    /// Whether it has looked at any byte.
    pub fn has_begun(&self) -> bool {
        !matches!(self, ResponseScan::StatusLine { seen: 0 })
    }

    /// Continues the search to the end of `bytes`. They begin with the status line in every call. If they are `full`, the
    /// head must not be longer. Once the head is complete: its length, and the spans of its field lines in `spans`.
    pub fn advance(
        &mut self,
        bytes: &[u8],
        full: bool,
        spans: &mut Spans,
        limits: &Limits,
    ) -> Result<Option<usize>, ProtocolError> {
        if let ResponseScan::StatusLine { seen } = self {
            if !read_status_line(seen, bytes)? {
                return if full { Err(LINE_TOO_LONG) } else { Ok(None) };
            }
            *self = ResponseScan::Fields { line_bytes: *seen, scan: FieldScan::starting_at(*seen) };
        }
        let ResponseScan::Fields { line_bytes, scan } = self else { return Ok(None) };
        scan.advance(bytes, *line_bytes as usize, full, spans, limits.fields_max)
    }
}

/// Continues to read the line at `seen`, up to its end or that of `bytes`; true at the end of the line.
fn read_status_line(seen: &mut u32, bytes: &[u8]) -> Result<bool, ProtocolError> {
    while (*seen as usize) < VERSION_AND_CODE.len() {
        let Some(byte) = bytes.get(*seen as usize) else { return Ok(false) };
        check_byte(*seen as usize, *byte)?;
        *seen += 1;
    }
    // Many servers leave out the space if they leave out the reason, though the grammar has it.
    if *seen as usize == VERSION_AND_CODE.len()
        && let Some(byte) = bytes.get(VERSION_AND_CODE.len())
        && !matches!(byte, b' ' | b'\r' | b'\n')
    {
        return Err(NOT_THREE_DIGITS);
    }
    // A CR that ends the bytes is not counted: it is looked at again together with what follows it.
    *seen += run_of_value_bytes(&bytes[*seen as usize..]) as u32;
    match bytes[*seen as usize..] {
        [] | [b'\r'] => Ok(false),
        [b'\r', b'\n', ..] => {
            *seen += 2;
            Ok(true)
        }
        [b'\r', _, ..] => Err(BARE_CR),
        [b'\n', ..] => Err(BARE_LF),
        _ => Err(bad_gateway("the reason phrase has a control character", "RFC 9112 §4")),
    }
}

/// Checks a byte of the version or the code.
fn check_byte(index: usize, byte: u8) -> Result<(), ProtocolError> {
    let fits = match (index, VERSION_AND_CODE[index]) {
        // What begins with another digit is not a status (RFC 9110 §15).
        (9, _) => matches!(byte, b'1'..=b'5'),
        // No later 1.x has come, and none will: HTTP/2 followed.
        (5, _) => byte == b'1',
        (7, _) => matches!(byte, b'0' | b'1'),
        (_, b'0') => byte.is_ascii_digit(),
        (_, expected) => byte == expected,
    };
    if fits { Ok(()) } else { Err(wrong_byte(index, byte)) }
}

#[cold]
fn wrong_byte(index: usize, byte: u8) -> ProtocolError {
    match (index, byte) {
        // A TLS record of type alert or handshake (RFC 8446 §5.1).
        (0, 0x15 | 0x16) => bad_gateway("the upstream speaks TLS; use https:// instead of http://", "RFC 9112 §4"),
        (_, b'\n') => BARE_LF,
        (0..5, _) => NOT_HTTP,
        (5..8, _) => bad_gateway("a response of another version than HTTP/1.0 and HTTP/1.1", "RFC 9112 §2.3"),
        (8, _) => bad_gateway("the version and the status code are separated by one space", "RFC 9112 §4"),
        (9, b'0'..=b'9') => NOT_A_STATUS,
        _ => NOT_THREE_DIGITS,
    }
}

/// The version and the status in a head whose status line is complete.
///
/// # Errors
/// The status line is not complete, or not well-formed.
pub fn version_and_status(head: &[u8]) -> Result<(Version, Status), ProtocolError> {
    let line = head.get(..VERSION_AND_CODE.len()).ok_or(NOT_HTTP)?;
    let version = if line[7] == b'0' { Version::Http10 } else { Version::Http11 };
    let code = line[9..].iter().fold(0, |code, digit| code * 10 + u16::from(digit.wrapping_sub(b'0')));
    Ok((version, Status::from_code(code).ok_or(NOT_A_STATUS)?))
}

const NOT_HTTP: ProtocolError = bad_gateway("what arrived is not an HTTP/1 response", "RFC 9112 §4");
const NOT_A_STATUS: ProtocolError = bad_gateway("a status code that is not between 100 and 599", "RFC 9110 §15");
const NOT_THREE_DIGITS: ProtocolError = bad_gateway("a status code is three digits", "RFC 9112 §4");
const LINE_TOO_LONG: ProtocolError = bad_gateway("the status line is longer than a head may be", "RFC 9112 §4");
