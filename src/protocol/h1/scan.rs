//! The resumable search for the end of a head. It reads each byte a few times at most, however the bytes arrive. It
//! fails at the first invalid byte of the request line, or at the first invalid field line.
//!
//! The result does not depend on how the bytes are split: every check reads the bytes in order and fails at the same
//! byte, whether that byte arrives alone or with others behind it.

use memchr::memchr;

use super::spans::{Owner, Spans};
use super::target;
use super::{BARE_CR, BARE_LF, bad_request};
use crate::base::limits::Limits;
use crate::base::words::{below, equal_to, first};
use crate::http::fields::{FieldSpan, is_field_value_byte, is_tchar, trim_ows};
use crate::http::message::Version;
use crate::http::method::{METHOD_BYTES_MAX, Method};
use crate::http::status::Status;
use crate::protocol::ProtocolError;

/// The state of the search for the end of a head.
#[derive(Debug, Clone, Copy, Default)]
pub struct HeadScan {
    line: RequestLine,
    /// While the request line is not complete, this says only how much of it has been seen.
    fields: FieldScan,
}

impl HeadScan {
    /// Continues the search to the end of `bytes`. They begin with the request line in every call. If they are `full`,
    /// the head must not be longer. Once the head is complete: its length, and the spans of its field lines in `spans`.
    pub fn advance(
        &mut self,
        bytes: &[u8],
        full: bool,
        spans: &mut Spans,
        limits: &Limits,
    ) -> Result<Option<usize>, ProtocolError> {
        if !self.line.is_complete() {
            let mut at = self.fields.seen;
            let is_complete = self.line.advance(&mut at, bytes, limits.target_bytes_max)?;
            self.fields = FieldScan::starting_at(at);
            if !is_complete {
                return if full { Err(TARGET_TOO_LONG) } else { Ok(None) };
            }
        }
        self.fields.advance(bytes, self.line.bytes(), full, spans, limits.fields_max)
    }

    /// The request line; its parts are valid once it is complete.
    pub fn request_line(&self) -> RequestLine {
        self.line
    }
}

/// The request line: method SP target SP version CRLF (RFC 9112 §3).
#[derive(Debug, Clone, Copy)]
pub struct RequestLine {
    target_len: u32,
    method_len: u8,
    part: LinePart,
    version: Version,
}

/// Which part of the request line the next byte belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LinePart {
    Method,
    Target,
    Version,
    Complete,
}

impl Default for RequestLine {
    fn default() -> RequestLine {
        RequestLine { target_len: 0, method_len: 0, part: LinePart::Method, version: Version::Http11 }
    }
}

impl RequestLine {
    /// Continues at `at`, to the end of the line or of `bytes`; true at the end of the line.
    fn advance(&mut self, at: &mut u32, bytes: &[u8], target_bytes_max: usize) -> Result<bool, ProtocolError> {
        if self.part == LinePart::Method {
            self.read_method(at, bytes)?;
        }
        if self.part == LinePart::Target {
            self.read_target(at, bytes, target_bytes_max)?;
        }
        if self.part == LinePart::Version {
            self.read_version(at, bytes)?;
        }
        Ok(self.is_complete())
    }

    fn read_method(&mut self, at: &mut u32, bytes: &[u8]) -> Result<(), ProtocolError> {
        // Most requests begin like this.
        if *at == 0 && bytes.starts_with(b"GET ") {
            (self.method_len, *at, self.part) = (3, 4, LinePart::Target);
            return Ok(());
        }
        let window = &bytes[*at as usize..bytes.len().min(METHOD_BYTES_MAX + 1)];
        *at += run_of(&TCHAR, window) as u32;
        if *at as usize > METHOD_BYTES_MAX {
            return Err(METHOD_TOO_LONG);
        }
        match bytes.get(*at as usize) {
            None => {}
            Some(b' ') if *at > 0 => {
                self.method_len = *at as u8;
                *at += 1;
                self.part = LinePart::Target;
            }
            Some(byte) => return Err(wrong_in_method(*at as usize, *byte)),
        }
        Ok(())
    }

    fn read_target(&mut self, at: &mut u32, bytes: &[u8], target_bytes_max: usize) -> Result<(), ProtocolError> {
        let start = self.target_start();
        let window = &bytes[*at as usize..bytes.len().min(start.saturating_add(target_bytes_max).saturating_add(1))];
        *at += run_of_target_bytes(window) as u32;
        let len = *at as usize - start;
        if len > target_bytes_max {
            return Err(TARGET_TOO_LONG);
        }
        match bytes.get(*at as usize) {
            None => {}
            Some(b' ') if len > 0 => {
                self.target_len = len as u32;
                *at += 1;
                self.part = LinePart::Version;
            }
            Some(byte) => return Err(wrong_in_target(*byte)),
        }
        Ok(())
    }

    fn read_version(&mut self, at: &mut u32, bytes: &[u8]) -> Result<(), ProtocolError> {
        let start = self.target_start() + self.target_len as usize + 1;
        // Nearly every request has this version, and it arrives as a whole.
        if *at as usize == start && bytes[start..].starts_with(b"HTTP/1.1\r\n") {
            *at += VERSION_AND_CRLF.len() as u32;
            return self.complete(bytes, b'1', b'1');
        }
        while let Some(byte) = bytes.get(*at as usize) {
            let index = *at as usize - start;
            check_version_byte(index, *byte)?;
            *at += 1;
            if index + 1 == VERSION_AND_CRLF.len() {
                return self.complete(bytes, bytes[start + 5], bytes[start + 7]);
            }
        }
        Ok(())
    }

    /// The line is well-formed. Checks whether its parts are valid.
    fn complete(&mut self, bytes: &[u8], major: u8, minor: u8) -> Result<(), ProtocolError> {
        if major != b'1' {
            return Err(if self.method(bytes) == b"PRI" { NOT_HTTP2 } else { OTHER_MAJOR_VERSION });
        }
        // A higher minor version is understood as the highest we know (RFC 9110 §2.5).
        self.version = if minor == b'0' { Version::Http10 } else { Version::Http11 };
        self.part = LinePart::Complete;
        let (method, target) = (self.method(bytes), self.target(bytes));
        // A path is always valid. All other targets are checked now, so that they are refused before the fields arrive.
        match target {
            [b'/', ..] if method != b"CONNECT" => Ok(()),
            _ => target::parse(&Method::from_token(method).ok_or(NOT_A_METHOD)?, target).map(|_| ()),
        }
    }

    /// The request line that `head` begins with, if all of it is there and well-formed.
    pub fn of(head: &[u8]) -> Option<RequestLine> {
        let mut line = RequestLine::default();
        matches!(line.advance(&mut 0, head, usize::MAX), Ok(true)).then_some(line)
    }

    /// Whether all of it has been found and is well-formed.
    pub fn is_complete(&self) -> bool {
        self.part == LinePart::Complete
    }

    /// How many bytes it has with its CRLF, once it is complete.
    pub fn bytes(&self) -> usize {
        self.target_start() + self.target_len as usize + b" ".len() + VERSION_AND_CRLF.len()
    }

    /// The method in the bytes of the head.
    pub fn method<'a>(&self, head: &'a [u8]) -> &'a [u8] {
        &head[..self.method_len as usize]
    }

    /// Whether the method has arrived and is HEAD.
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

/// The state of the search for the empty line that ends a section of field lines (RFC 9112 §5, §7.1.2).
#[derive(Debug, Clone, Copy, Default)]
pub struct FieldScan {
    /// Where the first line begins that is not complete.
    line: u32,
    /// Up to where that line has been searched: there is no LF before.
    seen: u32,
    /// How many lines are complete.
    count: u32,
    /// The owner of the spans while they belong to this section.
    owner: Owner,
}

impl FieldScan {
    /// A section whose first line begins `start` bytes into the bytes that `advance` will be given.
    pub fn starting_at(start: u32) -> FieldScan {
        FieldScan { line: start, seen: start, count: 0, owner: Owner::default() }
    }

    /// Continues the search to the end of `bytes`. They begin with the same bytes in every call, and the section begins
    /// at `start`. If they are `full`, the section must not be longer. Once it is complete: where it ends, and the
    /// spans of its lines in `spans`.
    pub fn advance(
        &mut self,
        bytes: &[u8],
        start: usize,
        full: bool,
        spans: &mut Spans,
        fields_max: usize,
    ) -> Result<Option<usize>, ProtocolError> {
        // If the spans have been overwritten, the search continues without them. At the end all lines are read again,
        // once, however often the spans were overwritten.
        if !spans.belong_to(self.owner) {
            self.owner = spans.begin();
        }
        // The loop ends at the empty line, which every section has.
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
        if are_all_there { Ok(Some(end)) } else { FieldScan::read_again(&bytes[..end], start, spans, fields_max) }
    }

    /// Adds the span of the next line; false if the line is not complete.
    fn take_line(&mut self, bytes: &[u8], spans: &mut Spans) -> Result<bool, ProtocolError> {
        // Nearly every line arrives as a whole. Then it is read in one pass.
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

    /// Reads all lines again, because another section has overwritten their spans.
    #[cold]
    fn read_again(
        bytes: &[u8],
        start: usize,
        spans: &mut Spans,
        fields_max: usize,
    ) -> Result<Option<usize>, ProtocolError> {
        FieldScan::starting_at(start as u32).advance(bytes, start, false, spans, fields_max)
    }
}

/// Adds the span of the field line that begins at `start`: name ":" OWS value OWS CRLF (RFC 9112 §5). Returns where it
/// ends; `None` if there is no whole line, or a wrong one.
///
/// The span is written to `spans` and not returned. A returned span is stored in parts and then loaded as a whole; the
/// processor would wait for its store buffer before that, for longer than it takes to read a line.
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

/// How many bytes at the front of `bytes` may stand in a field value. It stands where it is called: once for each field.
#[inline(always)]
pub(super) fn run_of_value_bytes(bytes: &[u8]) -> usize {
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

/// A set of bytes, as a table.
type ByteSet = [bool; 256];

const TCHAR: ByteSet = byte_set(true);
/// Visible characters, and obs-text because clients send raw UTF-8. `#` is excluded: a client does not send fragments.
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
        _ => NOT_A_METHOD,
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

/// What is wrong with a line that ends in LF. `line` does not have the LF.
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
/// The method has a byte that no token has.
pub const NOT_A_METHOD: ProtocolError =
    bad_request("the method has a byte that is not allowed in a token", "RFC 9110 §9.1");
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

    /// Mostly bytes of a value, and sometimes another byte, or one that is a limit of the set.
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
