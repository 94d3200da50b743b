//! The request that opens a WebSocket (RFC 6455 §4.2).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

use super::deflate::Agreement;
use crate::http::fields::{Line, list_members};
use crate::http::message::{Announced, RequestHead, Version};
use crate::http::method::Method;

/// What the key is joined with before it is hashed (RFC 6455 §1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// Length of a key in bytes, decoded.
const KEY_BYTES: usize = 16;

/// A valid request for a WebSocket.
#[derive(Debug, PartialEq, Eq)]
pub struct Handshake<'a> {
    /// The value of `Sec-WebSocket-Accept` that proves that it was understood.
    pub accept: String,
    /// The origin that a browser says its page has.
    pub origin: Option<&'a [u8]>,
    /// What the client offers to compress with, as far as we can.
    pub deflate: Option<Agreement>,
    /// The subprotocols that the client knows, the one it likes best first.
    pub protocols: Vec<&'a [u8]>,
}

/// Why a request does not open a WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It is not a GET: 405.
    Method,
    /// It does not ask for a WebSocket, or not for version 13: 426.
    Upgrade(&'static str),
    /// It asks in a way that cannot be right: 400, for this reason.
    Invalid(&'static str),
}

impl<'a> Handshake<'a> {
    /// Checks a request by the list in RFC 6455 §4.2.1.
    pub fn of(request: &RequestHead<'a>) -> Result<Handshake<'a>, Refusal> {
        if request.method != Method::Get {
            return Err(Refusal::Method);
        }
        if !has_member(request, "Upgrade", "websocket") {
            return Err(Refusal::Upgrade("this resource is a WebSocket"));
        }
        if request.version < Version::Http11 {
            return Err(Refusal::Invalid("an upgrade needs HTTP/1.1"));
        }
        if !has_member(request, "Connection", "upgrade") {
            return Err(Refusal::Invalid("Connection must name Upgrade"));
        }
        if request.announced != Announced::Nothing {
            return Err(Refusal::Invalid("the request must not have content"));
        }
        if line(request, "Sec-WebSocket-Version") != Line::Once(b"13") {
            return Err(Refusal::Upgrade("Sec-WebSocket-Version must be 13"));
        }
        Ok(Handshake {
            accept: accept(line(request, "Sec-WebSocket-Key"))?,
            origin: request.fields.first("Origin"),
            deflate: Agreement::of(request.fields.all("Sec-WebSocket-Extensions")),
            protocols: request.fields.all("Sec-WebSocket-Protocol").flat_map(list_members).collect(),
        })
    }
}

/// Whether the lists in all lines of this name have this member, in any case.
fn has_member(request: &RequestHead<'_>, name: &str, member: &str) -> bool {
    request.fields.all(name).flat_map(list_members).any(|known| known.eq_ignore_ascii_case(member.as_bytes()))
}

fn line<'a>(request: &RequestHead<'a>, name: &str) -> Line<'a> {
    let mut line = Line::Absent;
    for value in request.fields.all(name) {
        line.add(value);
    }
    line
}

fn accept(key: Line<'_>) -> Result<String, Refusal> {
    let Line::Once(key) = key else { return Err(Refusal::Invalid("Sec-WebSocket-Key must be there once")) };
    if !STANDARD.decode(key).is_ok_and(|key| key.len() == KEY_BYTES) {
        return Err(Refusal::Invalid("Sec-WebSocket-Key must be 16 bytes in base64"));
    }
    Ok(STANDARD.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize()))
}
