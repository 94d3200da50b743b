//! The request that opens a WebSocket, on HTTP/1.1 (RFC 6455 §4.2) and on HTTP/2 (RFC 8441 §5).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

use super::deflate::Agreement;
use crate::http::fields::{Line, list_members};
use crate::http::message::{Announced, RequestHead, Version};

/// What the key is joined with before it is hashed (RFC 6455 §1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// Length of a key in bytes, decoded.
const KEY_BYTES: usize = 16;
/// Its name in `Upgrade` and `:protocol`.
const WEBSOCKET: &[u8] = b"websocket";

/// A valid request for a WebSocket.
#[derive(Debug, PartialEq, Eq)]
pub struct Handshake<'a> {
    /// The value of `Sec-WebSocket-Accept` that proves that it was understood. HTTP/2 needs no proof.
    pub accept: Option<String>,
    /// The origin that a browser says its page has.
    pub origin: Option<&'a [u8]>,
    /// The compression that the client offers, if we support it.
    pub deflate: Option<Agreement>,
    /// The subprotocols that the client knows, the one it likes best first.
    pub protocols: Vec<&'a [u8]>,
}

/// Why a request does not open a WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Its method is not the one that opens WebSockets in this version of HTTP: 405.
    Method,
    /// It does not ask for a WebSocket, or not for version 13: 426.
    Upgrade(&'static str),
    /// It is invalid: 400, for this reason.
    Invalid(&'static str),
}

const NO_WEBSOCKET: Refusal = Refusal::Upgrade("this resource is a WebSocket");

impl<'a> Handshake<'a> {
    /// Checks a request by the list in RFC 6455 §4.2.1. On HTTP/2 `:protocol` stands for `Upgrade` and `Connection`, and
    /// there is no key (RFC 8441 §5).
    pub fn of(request: &RequestHead<'a>) -> Result<Handshake<'a>, Refusal> {
        if request.method != request.version.tunnel_method() {
            return Err(Refusal::Method);
        }
        let is_upgrade = match request.protocol {
            Some(protocol) if protocol.eq_ignore_ascii_case(WEBSOCKET) => false,
            Some(_) => return Err(NO_WEBSOCKET),
            None => check_upgrade(request).map(|()| true)?,
        };
        if line(request, "Sec-WebSocket-Version") != Line::Once(b"13") {
            return Err(Refusal::Upgrade("Sec-WebSocket-Version must be 13"));
        }
        Ok(Handshake {
            accept: is_upgrade.then(|| accept(line(request, "Sec-WebSocket-Key"))).transpose()?,
            origin: origin(line(request, "Origin"))?,
            deflate: Agreement::of(request.fields.all("Sec-WebSocket-Extensions")),
            protocols: request.fields.all("Sec-WebSocket-Protocol").flat_map(list_members).collect(),
        })
    }
}

/// What only HTTP/1.1 needs, where the whole connection goes over to the other protocol (RFC 9110 §7.8).
fn check_upgrade(request: &RequestHead<'_>) -> Result<(), Refusal> {
    if !has_member(request, "Upgrade", WEBSOCKET) {
        return Err(NO_WEBSOCKET);
    }
    if request.version < Version::Http11 {
        return Err(Refusal::Invalid("an upgrade needs HTTP/1.1"));
    }
    if !has_member(request, "Connection", b"upgrade") {
        return Err(Refusal::Invalid("Connection must name Upgrade"));
    }
    match request.announced {
        Announced::Nothing => Ok(()),
        Announced::Length(_) | Announced::Unknown => Err(Refusal::Invalid("the request must not have content")),
    }
}

/// Whether the lists in all lines of this name have this member, in any case.
fn has_member(request: &RequestHead<'_>, name: &str, member: &[u8]) -> bool {
    request.fields.all(name).flat_map(list_members).any(|known| known.eq_ignore_ascii_case(member))
}

fn line<'a>(request: &RequestHead<'a>, name: &str) -> Line<'a> {
    let mut line = Line::Absent;
    for value in request.fields.all(name) {
        line.add(value);
    }
    line
}

/// Several origins are refused: two recipients could choose different ones.
fn origin(origin: Line<'_>) -> Result<Option<&[u8]>, Refusal> {
    match origin {
        Line::Absent => Ok(None),
        Line::Once(origin) => Ok(Some(origin)),
        Line::Several => Err(Refusal::Invalid("Origin must not be there twice")),
    }
}

fn accept(key: Line<'_>) -> Result<String, Refusal> {
    let Line::Once(key) = key else { return Err(Refusal::Invalid("Sec-WebSocket-Key must be there once")) };
    if !STANDARD.decode(key).is_ok_and(|key| key.len() == KEY_BYTES) {
        return Err(Refusal::Invalid("Sec-WebSocket-Key must be 16 bytes in base64"));
    }
    Ok(accept_of(key))
}

/// The value of `Sec-WebSocket-Accept` for this value of `Sec-WebSocket-Key` (RFC 6455 §4.2.2).
pub fn accept_of(key: &[u8]) -> String {
    STANDARD.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::limits::Limits;
    use crate::base::ring::RingBuffer;
    use crate::protocol::h1::server::{Server, Step};
    use crate::protocol::h1::spans::Scratch;
    use crate::protocol::h2::fields::{FieldList, ListLimits};
    use crate::protocol::h2::head::Request;
    use crate::protocol::h2::hpack::decoder::{Decoded, Decoder};
    use crate::protocol::h2::hpack::encoder::Encoder;

    /// What a request comes to: the accepted key, origin, compression and subprotocols, or why not.
    type Outcome = Result<(Option<String>, Option<String>, bool, Vec<String>), Refusal>;

    /// What a request means that arrives in these pieces.
    fn outcome<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Option<Outcome> {
        let (mut server, mut scratch, limits) = (Server::new(), Scratch::default(), Limits::default());
        let mut inbox = RingBuffer::new(limits.inbox_bytes);
        for piece in pieces {
            assert_eq!(inbox.put(piece), piece.len());
            match server.receive(&mut inbox, &mut scratch, &limits).expect("the request is HTTP") {
                Step::Head(request) => return Some(Handshake::of(&request).map(owned)),
                step => assert_eq!(format!("{step:?}"), "NeedBytes"),
            }
        }
        None
    }

    fn owned(handshake: Handshake<'_>) -> (Option<String>, Option<String>, bool, Vec<String>) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let protocols = handshake.protocols.iter().map(|protocol| text(protocol)).collect();
        (handshake.accept, handshake.origin.map(text), handshake.deflate.is_some(), protocols)
    }

    /// Reads the request in all the ways there are: whole, byte by byte, and at every split.
    fn assert_means(request: &str, expected: &Outcome) {
        let bytes = request.as_bytes();
        assert_eq!(outcome([bytes]).as_ref(), Some(expected), "whole: {request}");
        assert_eq!(outcome(bytes.chunks(1)).as_ref(), Some(expected), "byte by byte: {request}");
        for split in 0..bytes.len() {
            let (front, back) = bytes.split_at(split);
            assert_eq!(outcome([front, back]).as_ref(), Some(expected), "split at {split}: {request}");
        }
    }

    const REQUEST: &str = "GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                           Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

    /// The request with something else in it.
    fn with(found: &str, instead: &str) -> String {
        let request = REQUEST.replace(found, instead);
        assert_ne!(request, REQUEST, "{found} is not in it");
        request
    }

    fn accepted(origin: Option<&str>, deflate: bool, protocols: &[&str]) -> Outcome {
        let protocols = protocols.iter().map(|protocol| (*protocol).to_owned()).collect();
        Ok((Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".into()), origin.map(Into::into), deflate, protocols))
    }

    #[test]
    fn the_example_of_the_standard() {
        // RFC 6455 §1.3
        assert_means(REQUEST, &accepted(None, false, &[]));
    }

    #[test]
    fn what_is_asked_for_is_found_in_lists_in_any_case_and_on_any_line() {
        let plain = accepted(None, false, &[]);
        assert_means(&with("Connection: Upgrade", "connection: keep-alive,\tUPGRADE , x"), &plain);
        assert_means(&with("Connection: Upgrade", "Connection: x\r\nConnection: upgrade"), &plain);
        assert_means(&with("Upgrade: websocket", "UPGRADE: h2c, WebSocket"), &plain);
        let more = "Origin: http://a\r\nSec-WebSocket-Protocol: x, y\r\nSec-WebSocket-Protocol: z\r\n\
                    Sec-WebSocket-Extensions: other, permessage-deflate\r\n\r\n";
        let request = REQUEST.strip_suffix("\r\n").map(|head| format!("{head}{more}")).expect("it ends so");
        assert_means(&request, &accepted(Some("http://a"), true, &["x", "y", "z"]));
    }

    /// What a request of HTTP/2 with these fields means.
    fn outcome_of_http2(fields: &[(&str, &str)]) -> Outcome {
        let (mut block, mut list) = (Vec::new(), FieldList::default());
        let mut encoder = Encoder::default();
        let mut encoding = encoder.block(&mut block);
        fields.iter().for_each(|(name, value)| encoding.field(name.as_bytes(), value.as_bytes()));
        let limits = ListLimits { bytes_max: 64 * 1024, fields_max: 100 };
        assert_eq!(Decoder::default().decode(&block, limits, &mut list), Ok(Decoded::All));
        let request = Request::new(&mut list, false, &Limits::default()).expect("the request is HTTP/2");
        Handshake::of(&request.head(&list)).map(owned)
    }

    const CONNECT: [(&str, &str); 6] = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "https"),
        (":authority", "a"),
        (":path", "/chat"),
        ("sec-websocket-version", "13"),
    ];

    #[test]
    fn http2_asks_with_connect_and_needs_no_key() {
        // RFC 8441 §5.1
        assert_eq!(outcome_of_http2(&CONNECT), Ok((None, None, false, vec![])));
        let mut fields = CONNECT.to_vec();
        fields[1] = (":protocol", "WebSocket");
        fields.extend([("origin", "https://a"), ("sec-websocket-protocol", "x, y"), ("sec-websocket-protocol", "z")]);
        // Who sends a key all the same gets no proof.
        fields.extend([("sec-websocket-extensions", "permessage-deflate"), ("sec-websocket-key", "?")]);
        let protocols = ["x", "y", "z"].map(str::to_owned).to_vec();
        assert_eq!(outcome_of_http2(&fields), Ok((None, Some("https://a".into()), true, protocols)));
    }

    #[test]
    fn http2_has_its_refusals() {
        let with = |more: &[(&'static str, &'static str)]| outcome_of_http2(&[&CONNECT[..], more].concat());
        let no_version = Err(Refusal::Upgrade("Sec-WebSocket-Version must be 13"));
        assert_eq!(outcome_of_http2(&CONNECT[..5]), no_version);
        assert_eq!(with(&[("sec-websocket-version", "13")]), no_version);
        let twice = Err(Refusal::Invalid("Origin must not be there twice"));
        assert_eq!(with(&[("origin", "https://a"), ("origin", "https://a")]), twice);
        // What asks for a WebSocket in HTTP/1.1 is an ordinary GET here.
        let get = [(":method", "GET"), CONNECT[2], CONNECT[3], CONNECT[4], CONNECT[5]];
        assert_eq!(outcome_of_http2(&get), Err(Refusal::Method));
        assert_eq!(
            outcome_of_http2(&[(":method", "CONNECT"), (":authority", "a:443")]),
            Err(Refusal::Upgrade(no_ws()))
        );
    }

    fn no_ws() -> &'static str {
        "this resource is a WebSocket"
    }

    #[test]
    fn each_rule_has_its_refusal() {
        let (no_upgrade, no_version) = ("this resource is a WebSocket", "Sec-WebSocket-Version must be 13");
        let no_key = "Sec-WebSocket-Key must be there once";
        let bad_key = "Sec-WebSocket-Key must be 16 bytes in base64";
        for (found, instead, refusal) in [
            ("GET", "PUT", Refusal::Method),
            ("Upgrade: websocket\r\n", "", Refusal::Upgrade(no_upgrade)),
            ("websocket", "websockets", Refusal::Upgrade(no_upgrade)),
            ("Version: 13", "Version: 8", Refusal::Upgrade(no_version)),
            ("Version: 13", "Version: 13, 8", Refusal::Upgrade(no_version)),
            ("Sec-WebSocket-Version: 13\r\n", "", Refusal::Upgrade(no_version)),
            ("HTTP/1.1", "HTTP/1.0", Refusal::Invalid("an upgrade needs HTTP/1.1")),
            ("Connection: Upgrade", "Connection: close", Refusal::Invalid("Connection must name Upgrade")),
            ("Host: a", "Host: a\r\nContent-Length: 1", Refusal::Invalid("the request must not have content")),
            (
                "Host: a",
                "Host: a\r\nOrigin: http://a\r\nOrigin: http://a",
                Refusal::Invalid("Origin must not be there twice"),
            ),
            ("Sec-WebSocket-Key", "Sec-WebSocket-Clef", Refusal::Invalid(no_key)),
            ("Host: a", "Host: a\r\nSec-WebSocket-Key: x", Refusal::Invalid(no_key)),
            ("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQ", Refusal::Invalid(bad_key)),
            ("dGhlIHNhbXBsZSBub25jZQ==", "c2hvcnQ=", Refusal::Invalid(bad_key)),
            ("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZSE=", Refusal::Invalid(bad_key)),
        ] {
            assert_means(&with(found, instead), &Err(refusal));
        }
    }
}
