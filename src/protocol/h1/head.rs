//! Makes a request of the bytes of a complete head.

use super::framing::ControlFields;
use super::scan::{NOT_A_METHOD, RequestLine};
use super::target;
use crate::http::fields::{FieldSpan, Fields};
use crate::http::message::{RequestHead, Version};
use crate::http::method::Method;
use crate::protocol::ProtocolError;

/// What the connection must remember of a request until it has answered it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// Version of the client.
    pub version: Version,
    /// The response has no content on the wire, whatever its head says.
    pub to_head: bool,
    /// The connection persists after this request, as far as the client is concerned.
    pub persists: bool,
    /// The client waits for 100 Continue.
    pub expects_continue: bool,
}

impl Default for Terms {
    /// Terms for the response to input that is not a valid request.
    fn default() -> Terms {
        Terms { version: Version::Http11, to_head: false, persists: true, expects_continue: false }
    }
}

/// Reads the head in `bytes`. Its lines have been found and checked.
pub fn parse<'a>(
    line: RequestLine,
    bytes: &'a [u8],
    spans: &'a [FieldSpan],
) -> Result<(RequestHead<'a>, Terms), ProtocolError> {
    let version = line.version();
    let Some(method) = Method::from_token(line.method(bytes)) else { return Err(NOT_A_METHOD) };
    let target = target::parse(&method, line.target(bytes))?;
    let fields = Fields::new(bytes, spans);
    let control = ControlFields::of(fields);
    control.check_host(version)?;
    let announced = control.request_framing(&method, version, fields)?;
    let terms = Terms {
        version,
        to_head: method == Method::Head,
        // There is no tunnel after CONNECT, but the client may already have sent bytes for it (RFC 9110 §9.3.6).
        persists: method != Method::Connect && control.persistence(version),
        expects_continue: control.expectation(version, announced)?,
    };
    Ok((RequestHead { method, target, version, fields, announced, protocol: None }, terms))
}
