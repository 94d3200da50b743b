//! The length of a message (RFC 9112 §6.3), and the other fields that control a connection.
//!
//! A head that two recipients could understand differently is refused: such heads are used to smuggle requests
//! (RFC 9112 §11.2).

use super::bad_request;
use super::target::is_host_field_value;
use crate::http::fields::{Fields, Line, is_token, list_members, split_unquoted, token_or_quoted_string, trim_ows};
use crate::http::message::{Announced, Version};
use crate::http::method::Method;
use crate::http::status::Status;
use crate::http::upstream::ResponseContent;
use crate::protocol::ProtocolError;

/// The fields of a head that control the connection, found in one pass over the head.
#[derive(Debug, Default)]
pub struct ControlFields<'a> {
    host: Line<'a>,
    content_length: Line<'a>,
    transfer_encoding: Line<'a>,
    close: bool,
    keep_alive: bool,
    expects_continue: bool,
    expects_other: bool,
}

impl<'a> ControlFields<'a> {
    /// Finds them among all fields. It stands where it is called, because each head comes by one of its two callers.
    #[inline(always)]
    pub fn of(fields: Fields<'a>) -> ControlFields<'a> {
        let mut control = ControlFields::default();
        for (name, value) in fields.iter() {
            control.add(name, value);
        }
        control
    }

    /// Compares the length of the name first: most fields are none of these, and then that is the only comparison.
    #[inline(always)]
    fn add(&mut self, name: &[u8], value: &'a [u8]) {
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => self.host.add(value),
            6 if name.eq_ignore_ascii_case(b"expect") => self.add_expectation(value),
            10 if name.eq_ignore_ascii_case(b"connection") => self.add_options(value),
            14 if name.eq_ignore_ascii_case(b"content-length") => self.content_length.add(value),
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => self.transfer_encoding.add(value),
            _ => {}
        }
    }

    /// Connection options (RFC 9110 §7.6.1). Unknown options are ignored: they name fields that we do not use.
    fn add_options(&mut self, value: &[u8]) {
        for option in list_members(value) {
            self.close |= option.eq_ignore_ascii_case(b"close");
            self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }

    fn add_expectation(&mut self, value: &[u8]) {
        let is_continue = value.eq_ignore_ascii_case(b"100-continue");
        self.expects_continue |= is_continue;
        self.expects_other |= !is_continue;
    }

    /// Host: exactly once in HTTP/1.1, never twice, and valid (RFC 9112 §3.2).
    pub fn check_host(&self, version: Version) -> Result<(), ProtocolError> {
        match self.host {
            Line::Absent if version == Version::Http10 => Ok(()),
            Line::Absent => Err(bad_request("a request without Host", "RFC 9112 §3.2")),
            Line::Several => Err(bad_request("more than one Host", "RFC 9112 §3.2")),
            Line::Once(value) if is_host_field_value(value) => Ok(()),
            Line::Once(_) => Err(bad_request("the value of Host is not a host and a port", "RFC 9112 §3.2")),
        }
    }

    /// How much content the request with these `fields` has: RFC 9112 §6.3, by its numbers.
    pub fn request_framing(
        &self,
        method: &Method,
        version: Version,
        fields: Fields<'_>,
    ) -> Result<Announced, ProtocolError> {
        // 1. and 2. concern responses.
        let announced = self.framing_fields(version, fields)?;
        match method {
            // Content of CONNECT has no meaning (RFC 9110 §9.3.6).
            Method::Connect => Ok(Announced::Nothing),
            // 7. A request with neither field has no content. 8. concerns responses.
            _ => Ok(announced.unwrap_or(Announced::Nothing)),
        }
    }

    /// How much content follows the head of a response with this `status` and these `fields`: RFC 9112 §6.3, by its
    /// numbers. `to_head`: the request was HEAD. The two fields must be right even if they do not frame anything.
    pub fn response_content(
        &self,
        status: Status,
        to_head: bool,
        version: Version,
        fields: Fields<'_>,
    ) -> Result<ResponseContent, ProtocolError> {
        let announced = match (self.transfer_encoding, self.content_length) {
            (Line::Absent, Line::Several) => Some(repeated_length(fields)?),
            (Line::Absent, Line::Once(value)) if content_length(value).is_none() => Some(repeated_length(fields)?),
            _ => self.framing_fields(version, fields)?,
        };
        let length = match announced {
            Some(Announced::Nothing) => Some(0),
            Some(Announced::Length(length)) => Some(length),
            Some(Announced::Unknown) | None => None,
        };
        Ok(match (status, announced) {
            // Behind 101 there is another protocol (RFC 9110 §15.2.2).
            (Status::SWITCHING_PROTOCOLS, _) => ResponseContent::Tunnel,
            // 1. Whatever the fields say. Those of HEAD and 304 speak of the response to GET (RFC 9110 §8.6).
            (Status::NOT_MODIFIED, _) => ResponseContent::Nothing(length),
            _ if !status.allows_content() => ResponseContent::Nothing(None),
            _ if to_head => ResponseContent::Nothing(length),
            // 2. concerns CONNECT, which is not sent. 7. concerns requests.
            (_, Some(Announced::Unknown)) => ResponseContent::Chunked,
            (_, Some(Announced::Nothing)) => ResponseContent::Length(0),
            (_, Some(Announced::Length(length))) => ResponseContent::Length(length),
            // 8. Only the end of the connection ends it.
            (_, None) => ResponseContent::UntilClose,
        })
    }

    /// What Transfer-Encoding and Content-Length say, by the numbers of RFC 9112 §6.3; `None` if neither is there.
    #[inline(always)]
    fn framing_fields(&self, version: Version, fields: Fields<'_>) -> Result<Option<Announced>, ProtocolError> {
        match (self.transfer_encoding, self.content_length) {
            // 3. Both Transfer-Encoding and Content-Length: an error of the sender, or an attack.
            (Line::Once(_) | Line::Several, Line::Once(_) | Line::Several) => Err(BOTH_FRAMINGS),
            // 4. Transfer-Encoding: chunked must be the final coding, and we know no other. §6.1: the framing of a 1.0
            //    message with this field is faulty.
            (Line::Once(_) | Line::Several, Line::Absent) if version == Version::Http10 => Err(CHUNKED_IN_1_0),
            (Line::Once(coding), Line::Absent) if coding.eq_ignore_ascii_case(b"chunked") => {
                Ok(Some(Announced::Unknown))
            }
            (Line::Once(_) | Line::Several, Line::Absent) => Err(refused_codings(fields)),
            // 5. Content-Length that is not a single number. The RFC would let equal values pass; no honest client needs it.
            // 6. Content-Length that is one.
            (Line::Absent, Line::Several) => Err(SEVERAL_LENGTHS),
            (Line::Absent, Line::Once(value)) => content_length(value).map(Some).ok_or(INVALID_LENGTH),
            (Line::Absent, Line::Absent) => Ok(None),
        }
    }

    /// Whether one of the two among these `fields` says that there is content. A response that cannot have content should not have them
    /// (RFC 9112 §6.1, RFC 9110 §8.6), but `Content-Length: 0` does no harm.
    pub fn announce_content(&self, fields: Fields<'_>) -> bool {
        let has_length = match self.content_length {
            Line::Absent => false,
            Line::Once(b"0") => false,
            Line::Once(_) | Line::Several => repeated_length(fields) != Ok(Announced::Nothing),
        };
        has_length || self.transfer_encoding != Line::Absent
    }

    /// Whether the client waits for 100 Continue (RFC 9110 §10.1.1). Ignored for HTTP/1.0 and for requests without
    /// content.
    pub fn expectation(&self, version: Version, announced: Announced) -> Result<bool, ProtocolError> {
        if version == Version::Http10 {
            return Ok(false);
        }
        if self.expects_other {
            return Err(UNKNOWN_EXPECTATION);
        }
        Ok(self.expects_continue && announced != Announced::Nothing)
    }

    /// Whether the peer wants the connection to persist (RFC 9112 §9.3).
    pub fn persistence(&self, version: Version) -> bool {
        !self.close && (version == Version::Http11 || self.keep_alive)
    }
}

/// What is wrong with a Transfer-Encoding that is not just `chunked`. All its lines are one list (RFC 9110 §5.3).
///
/// If the last coding is chunked, both sides agree where the content ends, and we only do not know the codings before
/// it: 501 (RFC 9112 §6.1). In all other cases the end is unknown or in doubt: 400 (§6.3). The list is read strictly here:
/// an empty member is in doubt, and so is a quoted string that its line does not end.
#[cold]
fn refused_codings(fields: Fields<'_>) -> ProtocolError {
    let lines = fields.all("transfer-encoding");
    let mut codings = lines.flat_map(|line| split_unquoted(line, b',')).map(trim_ows).peekable();
    while let Some(coding) = codings.next() {
        let is_last = codings.peek().is_none();
        match is_last {
            true if coding.eq_ignore_ascii_case(b"chunked") => return UNKNOWN_CODING,
            false if is_coding_before_chunked(coding) => {}
            _ => break,
        }
    }
    OTHER_CODING
}

/// token *( OWS ";" OWS parameter ) (RFC 9112 §7), but not chunked, which must not be applied twice (§6.1).
fn is_coding_before_chunked(coding: &[u8]) -> bool {
    let mut parts = split_unquoted(coding, b';').map(trim_ows);
    let is_name = |name: &[u8]| is_token(name) && !name.eq_ignore_ascii_case(b"chunked");
    parts.next().is_some_and(is_name) && parts.all(is_parameter)
}

/// token BWS "=" BWS ( token / quoted-string ) (RFC 9112 §7).
fn is_parameter(parameter: &[u8]) -> bool {
    let Some(equals) = memchr::memchr(b'=', parameter) else { return false };
    let (name, value) = (trim_ows(&parameter[..equals]), trim_ows(&parameter[equals + 1..]));
    is_token(name) && token_or_quoted_string(value).is_some()
}

/// The length of a response that says it several times, in several lines or in a list: then all of them must say the same
/// (RFC 9112 §6.3, 5). Upstreams do that whose framework and whose application both add the field. What goes on says it once,
/// so nobody behind us can understand it differently.
#[cold]
fn repeated_length(fields: Fields<'_>) -> Result<Announced, ProtocolError> {
    let values = fields.all("content-length").flat_map(|line| line.split(|byte| *byte == b','));
    let mut lengths = values.map(|value| content_length(trim_ows(value)).ok_or(INVALID_LENGTH));
    let first = lengths.next().unwrap_or(Err(INVALID_LENGTH))?;
    lengths.try_fold(first, |first, length| if length? == first { Ok(first) } else { Err(DIFFERENT_LENGTHS) })
}

/// Whether the field with this name frames content.
pub fn is_framing(name: &[u8]) -> bool {
    [&b"content-length"[..], b"transfer-encoding"].iter().any(|framing| name.eq_ignore_ascii_case(framing))
}

/// For how many seconds a `Keep-Alive` field of a response lets the connection stay idle: its smallest `timeout`
/// (RFC 9112 Appendix C.2.2, RFC 2068 §19.7.1.1). What is not a number says nothing.
pub fn keep_alive_secs(fields: Fields<'_>) -> Option<u32> {
    let parameters = fields.all("keep-alive").flat_map(list_members);
    let timeouts = parameters.filter_map(|parameter| {
        let equals = memchr::memchr(b'=', parameter)?;
        let (name, value) = (trim_ows(&parameter[..equals]), trim_ows(&parameter[equals + 1..]));
        let secs = content_length(value).filter(|_| name.eq_ignore_ascii_case(b"timeout"))?;
        Some(if let Announced::Length(secs) = secs { u32::try_from(secs).unwrap_or(u32::MAX) } else { 0 })
    });
    timeouts.min()
}

/// 1*DIGIT (RFC 9110 §8.6).
pub fn content_length(value: &[u8]) -> Option<Announced> {
    if value.is_empty() {
        return None;
    }
    let add = |sum: u64, byte: &u8| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    };
    let length = value.iter().try_fold(0, add)?;
    Some(if length == 0 { Announced::Nothing } else { Announced::Length(length) })
}

/// The field that announces a response's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FramingField {
    /// None.
    None,
    /// `Content-Length`
    Length(u64),
    /// `Transfer-Encoding: chunked`
    Chunked,
}

/// How the content behind a response's head is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    /// Nothing.
    Nothing,
    /// So many bytes, at least one.
    Length(u64),
    /// Chunks.
    Chunked,
    /// Everything up to the end of the connection.
    UntilClose,
}

/// A response's framing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResponseFraming {
    /// What the head says.
    pub field: FramingField,
    /// What is then sent.
    pub wire: Wire,
    /// Whether only the end of the connection ends the content. For HEAD: whether it would for GET.
    pub ends_with_connection: bool,
}

/// How a response with content of this `length`, if known, is framed for a client of this `version`: RFC 9112 §6.3, by
/// its numbers.
pub fn response_framing(status: Status, to_head: bool, version: Version, length: Option<u64>) -> ResponseFraming {
    let framing = |field, wire| ResponseFraming { field, wire, ends_with_connection: wire == Wire::UntilClose };
    let as_to_get = match (status, length) {
        // Behind 101 there is another protocol.
        (Status::SWITCHING_PROTOCOLS, _) => framing(FramingField::None, Wire::UntilClose),
        // 1. 204 and 304 end with the head. 204 must not have a framing field; 304 may have the length of the response that it
        //    stands for, which only an upstream says (RFC 9110 §8.6). Zero is that of the 304 itself.
        (Status::NOT_MODIFIED, Some(length @ 1..)) => framing(FramingField::Length(length), Wire::Nothing),
        _ if !status.allows_content() => framing(FramingField::None, Wire::Nothing),
        // 205 has no content, and its head must say so (RFC 9110 §15.3.6).
        (Status::RESET_CONTENT, _) | (_, Some(0)) => framing(FramingField::Length(0), Wire::Nothing),
        // 2. to 5. cannot occur: there are no tunnels for CONNECT, and never two framing fields.
        // 6. Content with a known length.
        (_, Some(length)) => framing(FramingField::Length(length), Wire::Length(length)),
        // 4. The length is not known.
        (_, None) if version == Version::Http11 => framing(FramingField::Chunked, Wire::Chunked),
        // 8. The length is not known, and the client does not know chunks.
        (_, None) => framing(FramingField::None, Wire::UntilClose),
    };
    // 1. for HEAD: the same head as for GET, without content.
    if to_head { ResponseFraming { wire: Wire::Nothing, ..as_to_get } } else { as_to_get }
}

const BOTH_FRAMINGS: ProtocolError = bad_request("both Transfer-Encoding and Content-Length", "RFC 9112 §6.3");
const CHUNKED_IN_1_0: ProtocolError = bad_request("Transfer-Encoding in HTTP/1.0", "RFC 9112 §6.1");
const OTHER_CODING: ProtocolError = bad_request("a Transfer-Encoding other than one chunked", "RFC 9112 §6.1");
const UNKNOWN_CODING: ProtocolError = ProtocolError {
    status: Status::NOT_IMPLEMENTED,
    reason: "a transfer coding other than chunked is not known here",
    section: "RFC 9112 §6.1",
};
const SEVERAL_LENGTHS: ProtocolError = bad_request("more than one Content-Length", "RFC 9112 §6.3");
const DIFFERENT_LENGTHS: ProtocolError = bad_request("different values of Content-Length", "RFC 9112 §6.3");
const INVALID_LENGTH: ProtocolError = bad_request("the value of Content-Length is not a length", "RFC 9112 §6.3");
const UNKNOWN_EXPECTATION: ProtocolError = ProtocolError {
    status: Status::EXPECTATION_FAILED,
    reason: "an expectation other than 100-continue",
    section: "RFC 9110 §10.1.1",
};
