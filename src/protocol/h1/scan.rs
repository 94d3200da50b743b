//! The resumable search for the end of a head. It looks at each byte a few times at most, however the bytes arrive, and
//! gives up at the first byte of the request line, or the first field line, that cannot be right.
//!
//! What is found never depends on how the bytes were cut: every check looks at bytes in order and fails at the same
//! byte, whether that byte comes alone or with everything behind it.

use memchr::memchr;

use super::spans::Spans;
use super::target;
use super::{BARE_CR, BARE_LF, bad_request};
use crate::base::limits::Limits;
use crate::http::fields::{FieldSpan, is_field_value_byte, is_tchar, trim_ows};
use crate::http::message::Version;
use crate::http::method::Method;
use crate::http::status::Status;
use crate::protocol::ProtocolError;

/// Longest method in bytes; the longest registered one has 17 (UPDATEREDIRECTREF).
const METHOD_BYTES_MAX: usize = 32;

/// How far the search for the end of a head has come.
#[derive(Debug, Clone, Copy, Default)]
pub struct HeadScan {
    line: RequestLine,
    fields: FieldScan,
}

impl HeadScan {
    /// Takes the search on to the end of `bytes`, which always start at the request line and end at the limit of a
    /// head if they are `full`. Once the head is complete: its length, and the spans of its field lines in `spans`.
    pub fn advance(
        &mut self,
        bytes: &[u8],
        full: bool,
        spans: &mut Spans,
        limits: &Limits,
    ) -> Result<Option<usize>, ProtocolError> {
        if self.line.stage != Stage::Complete {
            if !self.line.advance(bytes, limits.target_bytes_max)? {
                return if full { Err(TARGET_TOO_LONG) } else { Ok(None) };
            }
            self.fields = FieldScan::starting_at(self.line.at);
        }
        self.fields.advance(bytes, full, spans, limits.fields_max)
    }

    /// Whether no byte has been looked at.
    pub fn is_fresh(&self) -> bool {
        self.line.at == 0
    }

    /// The request line; its parts mean something once the head is complete.
    pub fn request_line(&self) -> RequestLine {
        self.line
    }
}

/// The request line: method SP target SP version CRLF (RFC 9112 §3).
#[derive(Debug, Clone, Copy)]
pub struct RequestLine {
    at: u32,
    target_len: u32,
    method_len: u8,
    stage: Stage,
    version: Version,
}

/// Which part of the request line the next byte belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Method,
    Target,
    Version,
    Complete,
}

impl Default for RequestLine {
    fn default() -> RequestLine {
        RequestLine { at: 0, target_len: 0, method_len: 0, stage: Stage::Method, version: Version::Http11 }
    }
}

impl RequestLine {
    /// Reads on to the end of the line or of `bytes`; true at the end of the line.
    fn advance(&mut self, bytes: &[u8], target_bytes_max: usize) -> Result<bool, ProtocolError> {
        if self.stage == Stage::Method {
            self.read_method(bytes)?;
        }
        if self.stage == Stage::Target {
            self.read_target(bytes, target_bytes_max)?;
        }
        if self.stage == Stage::Version {
            self.read_version(bytes)?;
        }
        Ok(self.stage == Stage::Complete)
    }

    fn read_method(&mut self, bytes: &[u8]) -> Result<(), ProtocolError> {
        // As most requests begin.
        if self.at == 0 && bytes.starts_with(b"GET ") {
            (self.method_len, self.at, self.stage) = (3, 4, Stage::Target);
            return Ok(());
        }
        let window = &bytes[self.at as usize..bytes.len().min(METHOD_BYTES_MAX + 1)];
        self.at += run_of(&TCHAR, window) as u32;
        if self.at as usize > METHOD_BYTES_MAX {
            return Err(METHOD_TOO_LONG);
        }
        match bytes.get(self.at as usize) {
            None => {}
            Some(b' ') if self.at > 0 => {
                self.method_len = self.at as u8;
                self.at += 1;
                self.stage = Stage::Target;
            }
            Some(byte) => return Err(wrong_in_method(self.at as usize, *byte)),
        }
        Ok(())
    }

    fn read_target(&mut self, bytes: &[u8], target_bytes_max: usize) -> Result<(), ProtocolError> {
        let start = self.target_start();
        let window =
            &bytes[self.at as usize..bytes.len().min(start.saturating_add(target_bytes_max).saturating_add(1))];
        self.at += run_of_target_bytes(window) as u32;
        let len = self.at as usize - start;
        if len > target_bytes_max {
            return Err(TARGET_TOO_LONG);
        }
        match bytes.get(self.at as usize) {
            None => {}
            Some(b' ') if len > 0 => {
                self.target_len = len as u32;
                self.at += 1;
                self.stage = Stage::Version;
            }
            Some(byte) => return Err(wrong_in_target(*byte)),
        }
        Ok(())
    }

    fn read_version(&mut self, bytes: &[u8]) -> Result<(), ProtocolError> {
        let start = self.target_start() + self.target_len as usize + 1;
        // Nearly every request says just this, and all of it at once.
        if self.at as usize == start && bytes[start..].starts_with(b"HTTP/1.1\r\n") {
            self.at += VERSION_AND_CRLF.len() as u32;
            return self.complete(bytes, b'1', b'1');
        }
        while let Some(byte) = bytes.get(self.at as usize) {
            let index = self.at as usize - start;
            check_version_byte(index, *byte)?;
            self.at += 1;
            if index + 1 == VERSION_AND_CRLF.len() {
                return self.complete(bytes, bytes[start + 5], bytes[start + 7]);
            }
        }
        Ok(())
    }

    /// The line is well-formed: now its parts must mean something.
    fn complete(&mut self, bytes: &[u8], major: u8, minor: u8) -> Result<(), ProtocolError> {
        if major != b'1' {
            return Err(if self.method(bytes) == b"PRI" { NOT_HTTP2 } else { OTHER_MAJOR_VERSION });
        }
        // A higher minor version is understood as the highest we know (RFC 9110 §2.5).
        self.version = if minor == b'0' { Version::Http10 } else { Version::Http11 };
        self.stage = Stage::Complete;
        let (method, target) = (self.method(bytes), self.target(bytes));
        // A path is right whatever it is; anything else is found out now, not when the fields have come.
        match target {
            [b'/', ..] if method != b"CONNECT" => Ok(()),
            _ => target::parse(Method::from_token(method), target).map(|_| ()),
        }
    }

    /// The method in the bytes of the head.
    pub fn method<'a>(&self, head: &'a [u8]) -> &'a [u8] {
        &head[..self.method_len as usize]
    }

    /// Whether the method is known to be HEAD.
    pub fn is_head(&self, head: &[u8]) -> bool {
        self.method_len > 0 && self.method(head) == b"HEAD"
    }

    /// The target in the bytes of the head.
    pub fn target<'a>(&self, head: &'a [u8]) -> &'a [u8] {
        &head[self.target_start()..][..self.target_len as usize]
    }

    /// The version to treat the request as.
    pub fn version(&self) -> Version {
        self.version
    }

    fn target_start(&self) -> usize {
        self.method_len as usize + 1
    }
}

/// `0` stands for any digit.
const VERSION_AND_CRLF: &[u8; 10] = b"HTTP/0.0\r\n";

fn check_version_byte(index: usize, byte: u8) -> Result<(), ProtocolError> {
    let fits = match VERSION_AND_CRLF[index] {
        b'0' => byte.is_ascii_digit(),
        expected => byte == expected,
    };
    match (fits, index) {
        (true, _) => Ok(()),
        (false, 8) if byte == b'\n' => Err(BARE_LF),
        (false, 9) => Err(BARE_CR),
        (false, 0) if byte == b' ' => Err(NOT_SINGLE_SPACES),
        (false, _) => Err(MALFORMED_VERSION),
    }
}

/// How far the search for the empty line that ends a section of field lines has come (RFC 9112 §5, §7.1.2).
#[derive(Debug, Clone, Copy, Default)]
pub struct FieldScan {
    start: u32,
    line: u32,
    seen: u32,
    count: u32,
}

impl FieldScan {
    /// A section whose first line begins `start` bytes into the bytes that `advance` will be given.
    pub fn starting_at(start: u32) -> FieldScan {
        FieldScan { start, line: start, seen: start, count: 0 }
    }

    /// Takes the search on to the end of `bytes`, which begin with the same section each time; it must not be longer if
    /// they are `full`. Once the section is complete: where it ends, and its spans in `spans`.
    pub fn advance(
        &mut self,
        bytes: &[u8],
        full: bool,
        spans: &mut Spans,
        fields_max: usize,
    ) -> Result<Option<usize>, ProtocolError> {
        spans.turn_to(bytes, self.count == 0);
        // The empty line is in every section.
        while !bytes[self.line as usize..].starts_with(b"\r\n") {
            if !self.take_line(bytes, spans)? {
                return if full { Err(SECTION_TOO_LONG) } else { Ok(None) };
            }
            self.count += 1;
            if self.count as usize > fields_max {
                return Err(TOO_MANY_FIELDS);
            }
        }
        let end = self.line as usize + 2;
        let are_all_there = spans.len() == self.count as usize;
        if are_all_there { Ok(Some(end)) } else { self.read_again(&bytes[..end], spans, fields_max) }
    }

    /// Adds the span of the next line; false if the line has not come to its end.
    fn take_line(&mut self, bytes: &[u8], spans: &mut Spans) -> Result<bool, ProtocolError> {
        // Nearly every line comes as a whole, and then one look finds all of it.
        if self.seen == self.line
            && let Some(end) = read_line(bytes, self.line as usize, spans)
        {
            (self.line, self.seen) = (end, end);
            return Ok(true);
        }
        let Some(offset) = memchr(b'\n', &bytes[self.seen as usize..]) else {
            self.seen = bytes.len() as u32;
            return Ok(false);
        };
        let (start, lf) = (self.line as usize, self.seen as usize + offset);
        let Some(end) = read_line(&bytes[..=lf], start, spans) else {
            return Err(wrong_in_line(&bytes[start..lf]));
        };
        (self.line, self.seen) = (end, end);
        Ok(true)
    }

    /// The spans of lines that were checked when they arrived are gone: another connection has used the same memory.
    fn read_again(&self, bytes: &[u8], spans: &mut Spans, fields_max: usize) -> Result<Option<usize>, ProtocolError> {
        FieldScan::starting_at(self.start).advance(bytes, false, spans, fields_max)
    }
}

/// Adds the span of the field line that begins at `start`: name ":" OWS value OWS CRLF (RFC 9112 §5). Returns where it
/// ends; `None` if there is no whole line, or a wrong one.
///
/// The span is not returned but written where it belongs: read back at once as a whole, what was just stored in parts
/// makes the processor wait, and for longer than it takes to read a line.
fn read_line(bytes: &[u8], start: usize, spans: &mut Spans) -> Option<u32> {
    let line = &bytes[start..];
    let name_len = run_of(&TCHAR, line);
    if name_len == 0 || line.get(name_len) != Some(&b':') {
        return None;
    }
    let behind_colon = &line[name_len + 1..];
    let before_value = behind_colon.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    let value = &behind_colon[before_value..];
    let (value, behind_value) = value.split_at(run_of_value_bytes(value));
    if !behind_value.starts_with(b"\r\n") {
        return None;
    }
    spans.push(FieldSpan {
        name_start: start as u32,
        name_len: name_len as u32,
        value_start: (start + name_len + 1 + before_value) as u32,
        value_len: trim_ows(value).len() as u32,
    });
    Some((bytes.len() - behind_value.len() + 2) as u32)
}

/// How many bytes at the front of `bytes` may stand in a field value.
fn run_of_value_bytes(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(word) = bytes[at..].first_chunk() {
        match first_control_byte(u64::from_le_bytes(*word)) {
            None => at += size_of::<u64>(),
            Some(offset) if bytes[at + offset] == b'\t' => at += offset + 1,
            Some(offset) => return at + offset,
        }
    }
    let rest = &bytes[at..];
    at + rest.iter().position(|byte| !is_field_value_byte(*byte)).unwrap_or(rest.len())
}

/// How many bytes at the front of `bytes` may stand in a target.
fn run_of_target_bytes(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(word) = bytes[at..].first_chunk() {
        let word = u64::from_le_bytes(*word);
        match first(below(b'!', word) | equal_to(0x7f, word) | equal_to(b'#', word)) {
            None => at += size_of::<u64>(),
            Some(offset) => return at + offset,
        }
    }
    at + run_of(&TARGET_BYTE, &bytes[at..])
}

/// Where the first control character stands (tab is one) in eight bytes, the first of them the lowest.
fn first_control_byte(word: u64) -> Option<usize> {
    first(below(b' ', word) | equal_to(0x7f, word))
}

/// 1 in each of eight bytes.
const EACH: u64 = u64::MAX / 0xff;

/// Sets the top bit of each byte that is below `bound` (at most 0x80): taking more from a byte than it has borrows. A byte
/// behind one that is found may be wrong by the borrow.
fn below(bound: u8, word: u64) -> u64 {
    word.wrapping_sub(EACH * u64::from(bound)) & !word
}

/// The same for each byte that is `byte`: only 0 is below 1.
fn equal_to(byte: u8, word: u64) -> u64 {
    below(1, word ^ (EACH * u64::from(byte)))
}

/// Which byte is the first whose top bit is set.
fn first(found: u64) -> Option<usize> {
    let found = found & (EACH * 0x80);
    (found != 0).then(|| found.trailing_zeros() as usize / 8)
}

/// A set of bytes, as a table.
type ByteSet = [bool; 256];

const TCHAR: ByteSet = byte_set(true);
/// Anything visible, and obs-text because clients send raw UTF-8; but no fragment, which a client keeps to itself.
const TARGET_BYTE: ByteSet = byte_set(false);

const fn byte_set(token: bool) -> ByteSet {
    let mut set = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        let value = byte as u8;
        set[byte] = if token { is_tchar(value) } else { value > b' ' && value != 0x7f && value != b'#' };
        byte += 1;
    }
    set
}

/// How many bytes at the front of `bytes` are in `set`.
fn run_of(set: &ByteSet, bytes: &[u8]) -> usize {
    bytes.iter().position(|byte| !set[*byte as usize]).unwrap_or(bytes.len())
}

#[cold]
fn wrong_in_method(at: usize, byte: u8) -> ProtocolError {
    match byte {
        // A TLS record of type handshake (RFC 8446 §5.1).
        0x16 if at == 0 => {
            bad_request("this is a TLS handshake on a plain HTTP port; use http:// instead of https://", "RFC 9112 §3")
        }
        b'\n' if at == 0 => BARE_LF,
        _ if at == 0 => bad_request("a request cannot begin with this byte", "RFC 9112 §3"),
        b'\r' | b'\n' => NOT_THREE_PARTS,
        b'\t' => NOT_SINGLE_SPACES,
        _ => bad_request("the method has a byte that is not allowed in a token", "RFC 9110 §9.1"),
    }
}

#[cold]
fn wrong_in_target(byte: u8) -> ProtocolError {
    match byte {
        b'\r' | b'\n' => NOT_THREE_PARTS,
        b' ' | b'\t' => NOT_SINGLE_SPACES,
        b'#' => bad_request("a request target has no fragment", "RFC 9112 §3.2"),
        _ => bad_request("the target has a control character", "RFC 9112 §3.2"),
    }
}

/// What is wrong with a line that ends in LF. `line` is what stands before that.
#[cold]
fn wrong_in_line(line: &[u8]) -> ProtocolError {
    let [line @ .., b'\r'] = line else { return BARE_LF };
    let name_len = run_of(&TCHAR, line);
    if name_len > 0 && line.get(name_len) == Some(&b':') {
        return wrong_in_value(&line[name_len + 1..]);
    }
    wrong_in_name(line, name_len)
}

fn wrong_in_name(line: &[u8], name_len: usize) -> ProtocolError {
    match (name_len, line.get(name_len)) {
        (0, Some(b' ' | b'\t')) => bad_request("a field line must not begin with whitespace", "RFC 9112 §5.2"),
        (0, Some(b':')) => bad_request("a field line without a name", "RFC 9112 §5"),
        (_, Some(b' ' | b'\t')) => bad_request("whitespace between a field name and its colon", "RFC 9112 §5.1"),
        (_, Some(b'\r')) => BARE_CR,
        (_, Some(_)) => bad_request("a field name has a byte that is not allowed in a token", "RFC 9110 §5.1"),
        (_, None) => bad_request("a field line without a colon", "RFC 9112 §5"),
    }
}

fn wrong_in_value(value: &[u8]) -> ProtocolError {
    if value.contains(&b'\r') {
        return BARE_CR;
    }
    bad_request("a field value has a control character", "RFC 9110 §5.5")
}

const NOT_THREE_PARTS: ProtocolError =
    bad_request("a request line is a method, a target and a version; HTTP/0.9 is not spoken here", "RFC 9112 §3");
const NOT_SINGLE_SPACES: ProtocolError =
    bad_request("the parts of a request line are separated by one space each", "RFC 9112 §3");
const METHOD_TOO_LONG: ProtocolError = bad_request("the method is longer than 32 bytes", "RFC 9112 §3");
const MALFORMED_VERSION: ProtocolError =
    bad_request("the request line must end in a version such as HTTP/1.1", "RFC 9112 §2.3");
const TARGET_TOO_LONG: ProtocolError = ProtocolError {
    status: Status::URI_TOO_LONG,
    reason: "the request target is longer than this server takes",
    section: "RFC 9112 §3",
};
const SECTION_TOO_LONG: ProtocolError = ProtocolError {
    status: Status::REQUEST_HEADER_FIELDS_TOO_LARGE,
    reason: "the fields are longer than this server takes",
    section: "RFC 6585 §5",
};
const TOO_MANY_FIELDS: ProtocolError = ProtocolError {
    status: Status::REQUEST_HEADER_FIELDS_TOO_LARGE,
    reason: "more field lines than this server takes",
    section: "RFC 6585 §5",
};
const OTHER_MAJOR_VERSION: ProtocolError = ProtocolError {
    status: Status::HTTP_VERSION_NOT_SUPPORTED,
    reason: "only HTTP/1.1 and HTTP/1.0 are spoken here",
    section: "RFC 9110 §15.6.6",
};
const NOT_HTTP2: ProtocolError = ProtocolError {
    status: Status::HTTP_VERSION_NOT_SUPPORTED,
    reason: "HTTP/2 is not spoken here; use HTTP/1.1",
    section: "RFC 9113 §3.4",
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Mostly bytes of a value, and now and then one that is none, or nearly.
    fn value_or_not() -> impl Strategy<Value = Vec<u8>> {
        let odd = prop::sample::select(&b"\0\x01\x08\t\t\n\r\x1f\x7e\x7f\x80\x9f\xa0\xff"[..]);
        prop::collection::vec(prop_oneof![12 => b' '..=b'~', 1 => odd, 1 => any::<u8>()], 0..64)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn eight_bytes_at_a_time_are_what_one_at_a_time_are(bytes in value_or_not()) {
            let naive = bytes.iter().take_while(|byte| is_field_value_byte(**byte)).count();
            prop_assert_eq!(run_of_value_bytes(&bytes), naive);
        }
    }

    #[test]
    fn every_byte_is_known_in_every_place() {
        for (at, byte) in (0..8).flat_map(|at| (0..=u8::MAX).map(move |byte| (at, byte))) {
            let mut word = [b'a'; 8];
            word[at] = byte;
            let is_control = byte < b' ' || byte == 0x7f;
            assert_eq!(first_control_byte(u64::from_le_bytes(word)), is_control.then_some(at), "{byte:#04x} at {at}");
        }
    }
}
