//! From a client's request to the one that an upstream gets.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::connection::{Options, is_about_the_connection};
use super::forwarded::{Forwarding, push_forwarded, push_x_forwarded};
use super::response::{Asked, Recoding};
use super::{PASSES_MAX, passes, push_line, via};
use crate::base::peer::Peer;
use crate::http::fields::{ALLOW, FieldName, FieldValue, Fields, Line, is_token, list_members};
use crate::http::message::{Announced, RequestHead, Response, Version};
use crate::http::method::Method;
use crate::http::status::Status;
use crate::http::target::TargetForm;
use crate::http::upstream::OutgoingRequest;
use crate::protocol::ws::handshake;
use crate::service::errors::{self, Detail};
use crate::service::proxy::path::push_escape;
use crate::service::proxy::route::Matched;

/// The only protocol that a tunnel of HTTP/2 is translated for.
const WEBSOCKET: &[u8] = b"websocket";
/// What our own fields and a new place for the prefix add to a request, in bytes, as a rule.
const ADDED_BYTES: usize = 256;

/// Who has sent a request to us, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sender<'a> {
    /// Who is at the other end of the connection.
    pub peer: Peer,
    /// Whether it is a proxy whose word counts.
    pub is_trusted: bool,
    /// Whether the connection is one of TLS.
    pub is_secured: bool,
    /// The identifier of its request, and the field that it travels in, if requests have one.
    pub identifier: Option<(&'a FieldName, &'a [u8])>,
}

impl Sender<'_> {
    /// The scheme of what it has asked for.
    pub fn scheme(&self) -> &'static str {
        if self.is_secured { "https" } else { "http" }
    }
}

/// A request to an upstream, and what its response is treated by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// What is sent. Its `host` is the one for the first upstream of the route; [`host_for`](crate::service::proxy::route::Route::host_for) has that of another.
    pub request: OutgoingRequest,
    /// What has to be known when the response comes.
    pub asked: Asked,
}

impl Outgoing {
    /// The request that checks whether an upstream is well.
    pub fn check(target: &str, host: &[u8]) -> Outgoing {
        let request = OutgoingRequest {
            method: Method::Get,
            target: target.into(),
            host: host.to_vec(),
            lines: b"User-Agent: tidemill\r\n".to_vec(),
            content: Announced::Nothing,
            expects_continue: false,
            upgrade: None,
            takes_trailers: false,
        };
        Outgoing {
            request,
            asked: Asked { identified_by: None, authority: None, upgrade: None, accept: None, recoding: None },
        }
    }
}

/// Why a request is not passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Its target or a field is wrong, for this reason: 400.
    Invalid(&'static str),
    /// Its head is larger than what can be sent to an upstream at a time: 431.
    TooLarge,
    /// It asks for a tunnel to any host: 405. We are a gateway to our upstreams, and no proxy to others (RFC 9110 §9.3.6).
    Connect,
    /// It asks for a tunnel to a protocol that is not known here: 501 (RFC 9220 §3).
    UnknownProtocol,
    /// It has been here too often: 508.
    Loop,
    /// Its `Max-Forwards` ends here, so we are asked and not the upstream (RFC 9110 §7.6.2): 204 to OPTIONS.
    EndsHere,
    /// The same for TRACE: 405, because we do not echo requests, which have secrets in them (RFC 9110 §9.3.8).
    TraceEndsHere,
}

/// Why, for people.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::Invalid(reason) => reason,
            Refusal::TooLarge => "its head would be larger than what can be sent to an upstream at a time",
            Refusal::Connect => {
                "a tunnel to any host is not made: this is a gateway to its upstreams (RFC 9110 §9.3.6)"
            }
            Refusal::UnknownProtocol => "a tunnel to a protocol other than websocket is not known here (RFC 9220 §3)",
            Refusal::Loop => LOOP,
            Refusal::EndsHere => "Max-Forwards: 0 asks this server and no upstream (RFC 9110 §7.6.2)",
            Refusal::TraceEndsHere => {
                "Max-Forwards: 0 asks this server and no upstream (RFC 9110 §7.6.2), and requests are not echoed here"
            }
        })
    }
}

const LOOP: &str = "Via says that the request has been here too often";

impl Refusal {
    /// What the client gets instead.
    pub fn response(self) -> Response {
        match self {
            Refusal::Invalid(reason) => errors::bad_request("invalid_request", [("detail", Detail::Text(reason))]),
            Refusal::TooLarge => errors::error(Status::REQUEST_HEADER_FIELDS_TOO_LARGE, "head_too_large", []),
            Refusal::Connect | Refusal::TraceEndsHere => errors::method_not_allowed(ALLOWED),
            Refusal::UnknownProtocol => errors::not_implemented(),
            Refusal::Loop => errors::error(Status::LOOP_DETECTED, "loop_detected", [("detail", Detail::Text(LOOP))]),
            Refusal::EndsHere => Response::new(Status::NO_CONTENT).with_field(ALLOW, ALLOWED),
        }
    }
}

/// `Allow` where the upstream is not asked.
const ALLOWED: FieldValue = FieldValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");

/// What an upstream gets for a request that has taken a route.
///
/// # Errors
/// It is not passed on.
pub fn request(head: &RequestHead<'_>, matched: &Matched<'_, '_>, sender: &Sender<'_>) -> Result<Outgoing, Refusal> {
    let tunnel = tunnel(head)?;
    let route = &**matched.route;
    let options = Options::of(head.fields);
    let target = target(head, matched)?;
    let upgrade = if tunnel { Some(WEBSOCKET.to_vec()) } else { upgrade(head, &options) };
    let mut lines = Vec::with_capacity(bytes_of(head.fields) + ADDED_BYTES);
    let taken = push_fields(&mut lines, head, &options, sender)?;
    if let Some((name, value)) = sender.identifier {
        push_line(&mut lines, name.as_str().as_bytes(), value);
    }
    let accept = tunnel.then(|| push_key(&mut lines));
    let host = head.authority();
    push_x_forwarded(&mut lines, sender, host, head.fields);
    push_forwarded(&mut lines, sender, host, head.fields, route.sends_forwarded);
    push_line(&mut lines, b"Via", via(head.version).as_bytes());
    let first = route.upstreams.first().map(|upstream| route.host_for(upstream, host));
    let request = OutgoingRequest {
        method: if tunnel { Method::Get } else { head.method },
        target,
        host: first.unwrap_or_default().to_vec(),
        lines,
        content: if tunnel { Announced::Nothing } else { head.announced },
        expects_continue: taken.expects_continue && !tunnel,
        takes_trailers: taken.takes_trailers,
        upgrade,
    };
    let asked = Asked {
        authority: route.replacement.as_ref().and(host).map(Into::into),
        upgrade: request.upgrade.clone(),
        accept,
        recoding: route.compresses.then(|| Recoding::of(head.fields)),
        identified_by: sender.identifier.map(|(name, _)| name.clone()),
    };
    Ok(Outgoing { request, asked })
}

/// Whether the request is for a tunnel of HTTP/2 (RFC 8441). HTTP/1 asks with `Upgrade`.
fn tunnel(head: &RequestHead<'_>) -> Result<bool, Refusal> {
    match head.protocol {
        None if head.method == Method::Connect || head.target.form == TargetForm::Authority => Err(Refusal::Connect),
        None => Ok(false),
        Some(protocol) if protocol.eq_ignore_ascii_case(WEBSOCKET) => Ok(true),
        Some(_) => Err(Refusal::UnknownProtocol),
    }
}

/// The target in origin-form, or `*`. The path is the one that the route was found by, with the prefix replaced; the query
/// is as it came. Bytes that are not ASCII must not be in a target (RFC 9112 §3.2), and are escaped: they mean the same.
fn target(head: &RequestHead<'_>, matched: &Matched<'_, '_>) -> Result<Vec<u8>, Refusal> {
    if let Some(defect) = matched.path.defect() {
        return Err(Refusal::Invalid(defect));
    }
    let Matched { route, path, .. } = matched;
    let path = path.as_bytes();
    let query = head.target.query;
    let mut target = Vec::with_capacity(path.len() + query.map_or(0, |query| query.len() + 1) + ADDED_BYTES / 4);
    match &route.replacement {
        Some(replacement) if path != b"*" => {
            target.extend_from_slice(replacement.as_bytes());
            let rest = path.get(route.prefix.len()..).unwrap_or_default();
            // What begins with two slashes looks like the name of another host, in the target and in redirects made of it.
            let slashes = rest.iter().take_while(|byte| **byte == b'/').count();
            target.push(b'/');
            target.extend_from_slice(&rest[slashes..]);
        }
        _ => target.extend_from_slice(path),
    }
    if let Some(query) = query {
        target.push(b'?');
        for byte in query {
            match byte {
                b'!'..=b'~' if *byte != b'#' => target.push(*byte),
                0x80.. => push_escape(&mut target, *byte),
                _ => return Err(Refusal::Invalid("the query has a space, a control character or a #")),
            }
        }
    }
    Ok(target)
}

/// The protocols that a request of HTTP/1.1 asks for (RFC 9110 §7.8), if the upstream is asked for them. It is not if there
/// is content: that would have to be sent before the other protocol begins.
///
/// Other versions of HTTP and TLS are left out: what is said in them could not be looked at, so requests in it would get
/// past all routes.
fn upgrade(head: &RequestHead<'_>, options: &Options<'_>) -> Option<Vec<u8>> {
    if head.version != Version::Http11 || !options.has_upgrade || head.announced != Announced::Nothing {
        return None;
    }
    let protocols = head.fields.all("upgrade").flat_map(list_members).filter(|protocol| is_passed_on(protocol));
    let upgrade = protocols.collect::<Vec<_>>().join(&b", "[..]);
    (!upgrade.is_empty()).then_some(upgrade)
}

/// protocol-name [ "/" protocol-version ] (RFC 9110 §7.8)
fn is_passed_on(protocol: &[u8]) -> bool {
    let mut parts = protocol.splitn(2, |byte| *byte == b'/');
    let name = parts.next().unwrap_or_default();
    let is_other = !["h2c", "h2", "http", "tls"].iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()));
    is_other && is_token(name) && parts.next().is_none_or(is_token)
}

fn bytes_of(fields: Fields<'_>) -> usize {
    fields.iter().map(|(name, value)| name.len() + value.len() + ": \r\n".len()).sum()
}

/// What becomes of a field by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is passed on.
    Passes,
    /// It is about the client's connection, as its name says.
    OfConnection,
    /// It is about the client's connection, as `Connection` says.
    Named,
    /// It says who the client is, and its sender is not trusted.
    Untrusted,
    /// It says who the client is. We write it ourselves, with what a trusted sender has said in front.
    Written,
    /// Some take its name with underscores for one that says who the client is.
    Lookalike,
    /// It would identify the request. We write it ourselves, as it stands in the access log and in the response.
    Identifies,
}

impl Fate {
    #[inline]
    fn of(name: &[u8], options: &Options<'_>, sender: &Sender<'_>) -> Fate {
        match Forwarding::of(name) {
            _ if sender.identifier.is_some_and(|(own, _)| is_name(own, name)) => Fate::Identifies,
            None if is_about_the_connection(name) => Fate::OfConnection,
            None if options.names(name) => Fate::Named,
            None => Fate::Passes,
            Some(Forwarding::Other) if sender.is_trusted => Fate::Passes,
            Some(Forwarding::Other) => Fate::Untrusted,
            Some(Forwarding::Written) => Fate::Written,
            Some(Forwarding::Lookalike) => Fate::Lookalike,
        }
    }
}

/// Whether `name` is this name, whatever the case.
pub(super) fn is_name(own: &FieldName, name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(own.as_str().as_bytes())
}

/// The names of a request's fields, each with what becomes of it. [`request`] decides by the same, and sends `Host`, `Expect`
/// and `Max-Forwards` in its own words.
pub fn fates<'a>(head: &RequestHead<'a>, sender: &Sender<'_>) -> impl Iterator<Item = (&'a [u8], Fate)> {
    let options = Options::of(head.fields);
    head.fields.iter().map(move |(name, _)| (name, Fate::of(name, &options, sender)))
}

/// What fields have said that are not passed on as they are.
#[derive(Default)]
struct Taken {
    expects_continue: bool,
    takes_trailers: bool,
}

/// Adds the fields that are passed on, in their order.
fn push_fields(
    lines: &mut Vec<u8>,
    head: &RequestHead<'_>,
    options: &Options<'_>,
    sender: &Sender<'_>,
) -> Result<Taken, Refusal> {
    let mut taken = Taken::default();
    let mut passed_here = 0;
    let mut max_forwards = Line::Absent;
    for (name, value) in head.fields.iter() {
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        match name.len() {
            2 if is("te") => {
                taken.takes_trailers |= list_members(value).any(|member| member.eq_ignore_ascii_case(b"trailers"))
            }
            3 if is("via") => passed_here += passes(value),
            4 if is("host") => continue,
            6 if is("expect") => {
                // HTTP/1.0 does not know it, and without content there is nothing to wait for (RFC 9110 §10.1.1).
                let means_something = head.version > Version::Http10 && head.announced != Announced::Nothing;
                taken.expects_continue |= means_something && value.eq_ignore_ascii_case(b"100-continue");
                continue;
            }
            12 if is("max-forwards") && matches!(head.method, Method::Options | Method::Trace) => {
                max_forwards.add(value);
                write!(lines, "Max-Forwards: {}\r\n", one_less(head.method, max_forwards)?)
                    .expect("memory takes what is written");
                continue;
            }
            17 if head.protocol.is_some() && is("sec-websocket-key") => continue,
            _ => {}
        }
        if Fate::of(name, options, sender) == Fate::Passes {
            push_line(lines, name, value);
        }
    }
    if passed_here >= PASSES_MAX { Err(Refusal::Loop) } else { Ok(taken) }
}

/// How often the request may be passed on behind us (RFC 9110 §7.6.2).
fn one_less(method: Method, max_forwards: Line<'_>) -> Result<u64, Refusal> {
    let number = match max_forwards {
        Line::Once(value) if !value.is_empty() && value.iter().all(u8::is_ascii_digit) => {
            // More than fits is as good as the most that fits.
            value.iter().fold(0_u64, |sum, digit| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0')))
        }
        _ => return Err(Refusal::Invalid("Max-Forwards is not one number (RFC 9110 §7.6.2)")),
    };
    let ends_here = if method == Method::Trace { Refusal::TraceEndsHere } else { Refusal::EndsHere };
    number.checked_sub(1).ok_or(ends_here)
}

/// Adds a new `Sec-WebSocket-Key`, and returns what the upstream answers to it. Clients of HTTP/2 send none (RFC 8441 §5).
fn push_key(lines: &mut Vec<u8>) -> String {
    // RFC 6455 §10.3 asks for no secret here: the answer shows that the other side speaks WebSocket.
    let random = || RandomState::new().hash_one(lines.len());
    let key = STANDARD.encode([random().to_ne_bytes(), random().to_ne_bytes()].concat());
    push_line(lines, b"Sec-WebSocket-Key", key.as_bytes());
    handshake::accept_of(key.as_bytes())
}
