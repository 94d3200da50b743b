//! From decoded fields to the head of a request (RFC 9113 §8), and from a response to fields.
//!
//! A request that breaks these rules is malformed: an error of its stream (§8.1.1). Where two recipients could understand a
//! request differently, it is refused here even if the RFC would let it pass, as with HTTP/1.

use super::error::{ErrorCode, Fault};
use super::fields::FieldList;
use super::hpack::encoder::Block;
use crate::base::limits::Limits;
use crate::http::date::DateCache;
use crate::http::fields::{FieldSet, Fields, Line, is_allowed_in_trailers};
use crate::http::message::{Announced, Origin, RequestHead, Response, Version};
use crate::http::method::Method;
use crate::http::status::Status;
use crate::http::target::{Target, TargetForm};
use crate::protocol::ProtocolError;
use crate::protocol::h1::framing::content_length;
use crate::protocol::h1::target::{host_and_port, is_host_field_value, with_path};

/// A request that is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It is malformed: the stream is reset.
    Malformed(Fault),
    /// It is well-formed, and answered with this error.
    Answer(ProtocolError),
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Refusal {
        Refusal::Malformed(fault)
    }
}

/// A request whose head keeps all rules. Its fields stay in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    method: Method,
    form: TargetForm,
    pseudo_fields: usize,
    /// How much content follows.
    pub announced: Announced,
    /// The value of content-length, if it is there.
    pub content_length: Option<u64>,
    /// It opens a tunnel (RFC 8441): its content goes on as long as the stream does.
    pub is_tunnel: bool,
    /// The client waits for 100 Continue before it sends content.
    pub expects_continue: bool,
}

impl Request {
    /// Makes a request of the fields of a head. `end_stream`: it has no content.
    ///
    /// # Errors
    /// The request is not served.
    pub fn new(list: &mut FieldList, end_stream: bool, limits: &Limits) -> Result<Request, Refusal> {
        let pseudo_fields = check_fields(list, true)?;
        list.join_cookies();
        let parts = Parts::of(list.fields(0));
        let token = once(parts.method, "a request without exactly one :method")?;
        let method = Method::from_token(token).ok_or(Fault::protocol(":method is not a method", "RFC 9113 §8.3.1"))?;
        let is_tunnel = parts.protocol != Line::Absent;
        let authority = parts.authority()?;
        let form = match method {
            Method::Connect if !is_tunnel => parts.connect_target(authority)?,
            _ => parts.target(&method, limits)?,
        };
        if is_tunnel {
            parts.check_protocol(&method)?;
        }
        if parts.expects_other {
            return Err(Refusal::Answer(UNKNOWN_EXPECTATION));
        }
        let content_length = if method == Method::Connect { None } else { parts.content_length()? };
        let announced = announced(end_stream, content_length)?;
        let expects_continue = parts.expects_continue && announced != Announced::Nothing;
        Ok(Request { method, form, pseudo_fields, announced, content_length, is_tunnel, expects_continue })
    }

    /// The head, with fields out of the list that the request was made of.
    pub fn head<'a>(&self, list: &'a FieldList) -> RequestHead<'a> {
        let fields = list.fields(self.pseudo_fields);
        let pseudo_field = |name| list.fields(0).first(name);
        let authority = pseudo_field(":authority").or_else(|| fields.first("host"));
        let target = match self.form {
            TargetForm::Authority => {
                let raw = authority.unwrap_or_default();
                Target { form: self.form, raw, authority, path: b"", query: None }
            }
            form => {
                let path = pseudo_field(":path").unwrap_or_default();
                with_path(form, path, authority, path)
            }
        };
        RequestHead {
            method: self.method,
            target,
            version: Version::Http2,
            fields,
            announced: self.announced,
            protocol: pseudo_field(":protocol"),
        }
    }
}

/// How much content follows a head with this content-length.
fn announced(end_stream: bool, content_length: Option<u64>) -> Result<Announced, Fault> {
    match (end_stream, content_length) {
        (true, Some(1..)) => Err(Fault::protocol("content-length without content", "RFC 9113 §8.1.1")),
        (true, _) | (false, Some(0)) => Ok(Announced::Nothing),
        (false, Some(length)) => Ok(Announced::Length(length)),
        (false, None) => Ok(Announced::Unknown),
    }
}

/// Checks the fields behind the content.
///
/// # Errors
/// The request is malformed.
pub fn check_trailers(list: &FieldList) -> Result<(), Fault> {
    check_fields(list, false).map(|_| ())
}

/// Checks every field by itself, and that pseudo-fields come first, if there may be any. Returns how many there are.
fn check_fields(list: &FieldList, may_have_pseudo_fields: bool) -> Result<usize, Fault> {
    list.check().map_err(malformed)?;
    let mut pseudo_fields = 0;
    for (index, (name, value)) in list.fields(0).iter().enumerate() {
        if name.first() != Some(&b':') {
            check_connection_field(name, value)?;
            continue;
        }
        if !may_have_pseudo_fields {
            return Err(Fault::protocol("a pseudo-field in trailers", "RFC 9113 §8.1"));
        }
        if pseudo_fields < index {
            return Err(Fault::protocol("a pseudo-field behind a field", "RFC 9113 §8.3"));
        }
        if !matches!(name, b":method" | b":scheme" | b":authority" | b":path" | b":protocol") {
            return Err(Fault::protocol("a pseudo-field that requests do not have", "RFC 9113 §8.3"));
        }
        pseudo_fields += 1;
    }
    Ok(pseudo_fields)
}

fn malformed(error: ProtocolError) -> Fault {
    Fault { code: ErrorCode::PROTOCOL_ERROR, reason: error.reason, section: error.section }
}

/// Fields that only mean something on one HTTP/1 connection (§8.2.2).
fn check_connection_field(name: &[u8], value: &[u8]) -> Result<(), Fault> {
    if is_connection_specific(name) {
        return Err(Fault::protocol("a connection-specific field", "RFC 9113 §8.2.2"));
    }
    if name == b"te" && !value.eq_ignore_ascii_case(b"trailers") {
        return Err(Fault::protocol("te says something else than trailers", "RFC 9113 §8.2.2"));
    }
    Ok(())
}

fn is_connection_specific(name: &[u8]) -> bool {
    // Most fields are told apart by their length.
    match name.len() {
        7 => name.eq_ignore_ascii_case(b"upgrade"),
        10 => name.eq_ignore_ascii_case(b"connection") || name.eq_ignore_ascii_case(b"keep-alive"),
        16 => name.eq_ignore_ascii_case(b"proxy-connection"),
        17 => name.eq_ignore_ascii_case(b"transfer-encoding"),
        _ => false,
    }
}

/// What makes a request of fields.
#[derive(Debug, Default)]
struct Parts<'a> {
    method: Line<'a>,
    scheme: Line<'a>,
    authority: Line<'a>,
    path: Line<'a>,
    protocol: Line<'a>,
    host: Line<'a>,
    content_length: Line<'a>,
    expects_continue: bool,
    expects_other: bool,
}

impl<'a> Parts<'a> {
    fn of(fields: Fields<'a>) -> Parts<'a> {
        let mut parts = Parts::default();
        for (name, value) in fields.iter() {
            match name {
                b":method" => parts.method.add(value),
                b":scheme" => parts.scheme.add(value),
                b":authority" => parts.authority.add(value),
                b":path" => parts.path.add(value),
                b":protocol" => parts.protocol.add(value),
                b"host" => parts.host.add(value),
                b"content-length" => parts.content_length.add(value),
                b"expect" => {
                    let is_continue = value.eq_ignore_ascii_case(b"100-continue");
                    parts.expects_continue |= is_continue;
                    parts.expects_other |= !is_continue;
                }
                _ => {}
            }
        }
        parts
    }

    /// Whom the request is for: `:authority`, or Host if there is none. If both are there, they must be the same (§8.3.1).
    fn authority(&self) -> Result<&'a [u8], Fault> {
        let fault = |reason| Fault::protocol(reason, "RFC 9113 §8.3.1");
        let (named, host) = match (self.authority, self.host) {
            (Line::Several, _) => return Err(fault("more than one :authority")),
            (_, Line::Several) => return Err(fault("more than one host")),
            (Line::Absent, Line::Absent) => return Err(fault("neither :authority nor host")),
            (Line::Once(named), Line::Absent) => (named, named),
            (Line::Absent, Line::Once(host)) => (host, host),
            (Line::Once(named), Line::Once(host)) => (named, host),
        };
        if named.contains(&b'@') {
            return Err(fault("user information in :authority"));
        }
        if named.is_empty() || !is_host_field_value(named) {
            return Err(fault("the authority is not a host and a port"));
        }
        if !named.eq_ignore_ascii_case(host) {
            return Err(fault("host is another than :authority"));
        }
        Ok(named)
    }

    /// Everything but CONNECT, and the CONNECT of RFC 8441: `:scheme` and `:path` exactly once (§8.3.1).
    fn target(&self, method: &Method, limits: &Limits) -> Result<TargetForm, Refusal> {
        let scheme = once(self.scheme, "a request without exactly one :scheme")?;
        if !is_scheme(scheme) {
            return Err(Fault::protocol(":scheme is not a scheme", "RFC 9113 §8.3.1").into());
        }
        let path = once(self.path, "a request without exactly one :path")?;
        let form = match (path, method) {
            (b"*", Method::Options) => TargetForm::Asterisk,
            ([b'/', ..], _) => TargetForm::Origin,
            _ => return Err(Fault::protocol(":path is neither a path nor the * of OPTIONS", "RFC 9113 §8.3.1").into()),
        };
        if path.iter().any(|byte| matches!(byte, 0..=b' ' | b'#' | 0x7f)) {
            let reason = ":path has a space, a control character or a fragment";
            return Err(Fault::protocol(reason, "RFC 9113 §8.3.1").into());
        }
        if path.len() > limits.target_bytes_max {
            return Err(Refusal::Answer(TARGET_TOO_LONG));
        }
        Ok(form)
    }

    /// CONNECT has `:authority` alone, with a port (§8.5). It is answered like one of HTTP/1.
    fn connect_target(&self, authority: &[u8]) -> Result<TargetForm, Fault> {
        let fault = |reason| Fault::protocol(reason, "RFC 9113 §8.5");
        if (self.scheme, self.path) != (Line::Absent, Line::Absent) {
            return Err(fault("CONNECT with :scheme or :path"));
        }
        match (self.authority, host_and_port(authority)) {
            (Line::Once(_), Some((host, Some(port)))) if !host.is_empty() && !port.is_empty() => {
                Ok(TargetForm::Authority)
            }
            _ => Err(fault("the :authority of CONNECT is not host:port")),
        }
    }

    /// `:protocol` is for CONNECT only (RFC 8441 §4), and we know one.
    fn check_protocol(&self, method: &Method) -> Result<(), Refusal> {
        match self.protocol {
            Line::Once(_) if *method != Method::Connect => {
                Err(Fault::protocol(":protocol without CONNECT", "RFC 8441 §4").into())
            }
            Line::Once(protocol) if protocol.eq_ignore_ascii_case(b"websocket") => Ok(()),
            Line::Once(_) => Err(Refusal::Answer(UNKNOWN_PROTOCOL)),
            Line::Absent | Line::Several => Err(Fault::protocol("more than one :protocol", "RFC 9113 §8.3").into()),
        }
    }

    fn content_length(&self) -> Result<Option<u64>, Fault> {
        match self.content_length {
            Line::Absent => Ok(None),
            Line::Several => Err(Fault::protocol("more than one content-length", "RFC 9113 §8.1.1")),
            Line::Once(value) => match content_length(value) {
                Some(Announced::Length(length)) => Ok(Some(length)),
                Some(Announced::Nothing | Announced::Unknown) => Ok(Some(0)),
                None => Err(Fault::protocol("content-length is not a length", "RFC 9113 §8.1.1")),
            },
        }
    }
}

/// The value of a pseudo-field that must be there exactly once.
fn once<'a>(line: Line<'a>, otherwise: &'static str) -> Result<&'a [u8], Fault> {
    match line {
        Line::Once(value) => Ok(value),
        Line::Absent | Line::Several => Err(Fault::protocol(otherwise, "RFC 9113 §8.3.1")),
    }
}

/// ALPHA *( ALPHA / DIGIT / "+" / "-" / "." ) (RFC 3986 §3.1)
fn is_scheme(scheme: &[u8]) -> bool {
    let is_scheme_byte = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    scheme.first().is_some_and(u8::is_ascii_alphabetic) && scheme.iter().all(is_scheme_byte)
}

/// What follows the head of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseContent {
    /// Nothing: the head has END_STREAM.
    Nothing,
    /// So many bytes, at least one.
    Length(u64),
    /// As much as comes.
    Unknown,
}

/// What follows the head of a response with content of this `length`, if known, and the length that the head announces.
/// No response to HEAD, and none with 204 or 304, has content (RFC 9110 §6.4.1); 205 has none either (§15.3.6). A 304 may have
/// the length of the response that it stands for (§8.6), which only an upstream says; zero is that of the 304 itself.
pub fn response_content(status: Status, is_head: bool, length: Option<u64>) -> (ResponseContent, Option<u64>) {
    let (content, field) = match (status, length) {
        (Status::NOT_MODIFIED, Some(length @ 1..)) => (ResponseContent::Nothing, Some(length)),
        _ if !status.allows_content() => (ResponseContent::Nothing, None),
        (Status::RESET_CONTENT, _) | (_, Some(0)) => (ResponseContent::Nothing, Some(0)),
        (_, Some(length)) => (ResponseContent::Length(length), Some(length)),
        (_, None) => (ResponseContent::Unknown, None),
    };
    (if is_head { ResponseContent::Nothing } else { content }, field)
}

/// Adds the head of a response to a field block. Connection-specific fields are left out (§8.2.2).
pub fn put_response(block: &mut Block<'_>, response: &Response, length: Option<u64>, date: &DateCache) {
    block.status(response.status);
    if response.origin == Origin::Here {
        block.field(b"server", b"tidemill");
    }
    if response.origin != (Origin::Upstream { is_dated: true }) {
        block.date(date);
    }
    if let Some(content_type) = &response.content_type {
        block.field(b"content-type", content_type.as_bytes());
    }
    if let Some(length) = length {
        block.content_length(length);
    }
    for (hash, name, value) in response.prepared.hashed() {
        if !is_connection_specific(name) {
            block.hashed_field(hash, name, value);
        }
    }
    put_fields(block, response.fields.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes())));
}

/// The same for an interim response (RFC 9110 §15.2).
pub fn put_interim(block: &mut Block<'_>, status: Status, fields: &FieldSet) {
    block.status(status);
    put_fields(block, fields.iter());
}

/// Adds trailers to a field block, but those that trailers must not have (RFC 9110 §6.5.1).
pub fn put_trailers(block: &mut Block<'_>, trailers: &FieldSet) {
    put_fields(block, trailers.iter().filter(|(name, _)| is_allowed_in_trailers(name)));
}

fn put_fields<'a>(block: &mut Block<'_>, fields: impl Iterator<Item = (&'a [u8], &'a [u8])>) {
    for (name, value) in fields.filter(|(name, _)| !is_connection_specific(name)) {
        block.field(name, value);
    }
}

const TARGET_TOO_LONG: ProtocolError = ProtocolError {
    status: Status::URI_TOO_LONG,
    reason: "the target is longer than the limit",
    section: "RFC 9110 §15.5.15",
};
const UNKNOWN_EXPECTATION: ProtocolError = ProtocolError {
    status: Status::EXPECTATION_FAILED,
    reason: "an expectation other than 100-continue",
    section: "RFC 9110 §10.1.1",
};
const UNKNOWN_PROTOCOL: ProtocolError = ProtocolError {
    status: Status::NOT_IMPLEMENTED,
    reason: "a :protocol other than websocket",
    section: "RFC 8441 §4",
};

#[cfg(test)]
mod tests;
