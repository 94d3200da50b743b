//! The answer to a request that opens a WebSocket.

use log::Level;

use super::origin::{is_same_host, is_same_host_but_for_the_port};
use super::{Application, Origin, Outgoing, WebSocket};
use crate::http::exchange::{Cx, Reply, Tunnel};
use crate::http::fields::{FieldName, FieldSet, FieldValue, is_token};
use crate::http::message::{self, RequestHead, Response, Version};
use crate::http::status::Status;
use crate::protocol::ws::deflate::Agreement;
use crate::protocol::ws::handshake::{Handshake, Refusal};
use crate::protocol::ws::receiver::Receiver;
use crate::service::errors::{self, Detail};
use crate::service::shares::Shares;

const UPGRADE: FieldName = FieldName::from_static("Upgrade");
const WEBSOCKET: &str = "websocket";
const ACCEPT: FieldName = FieldName::from_static("Sec-WebSocket-Accept");
const EXTENSIONS: FieldName = FieldName::from_static("Sec-WebSocket-Extensions");
const PROTOCOL: FieldName = FieldName::from_static("Sec-WebSocket-Protocol");
const VERSION: FieldName = FieldName::from_static("Sec-WebSocket-Version");
const VERSION_13: FieldValue = FieldValue::from_static("13");

/// As much of a field's value as the log shows, in bytes.
const SHOWN_BYTES_MAX: usize = 200;

/// What holds for all WebSockets of a server.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Which pages may open them; if empty, each endpoint decides.
    pub origins: Vec<Origin>,
    /// WebSockets at a time that may be compressed: their memory is what this bounds.
    compressed_max: usize,
    compressed: Shares,
}

/// What one endpoint wants of its WebSockets.
#[derive(Debug, Clone, Copy)]
pub struct Endpoint {
    /// Whether only pages of this host may open it, unless the policy says otherwise.
    pub same_host: bool,
    /// Whether messages may be compressed.
    pub deflate: bool,
    /// The subprotocols that it confirms.
    pub protocols: Subprotocols,
}

/// Which subprotocols an endpoint speaks (RFC 6455 §1.9).
#[derive(Debug, Clone, Copy)]
pub enum Subprotocols {
    /// These.
    Known(&'static [&'static str]),
    /// Any: what messages mean is all the same to it.
    Any,
}

impl Subprotocols {
    /// Whether an endpoint may confirm one that was offered. It is a token (§4.1).
    fn has(self, offered: &[u8]) -> bool {
        match self {
            Subprotocols::Known(known) => known.iter().any(|known| known.as_bytes() == offered),
            Subprotocols::Any => is_token(offered),
        }
    }
}

impl Policy {
    /// These origins, and up to `compressed_max` compressed WebSockets.
    pub fn new(origins: Vec<Origin>, compressed_max: usize) -> Policy {
        Policy { origins, compressed_max, compressed: Shares::default() }
    }

    fn admits(&self, endpoint: &Endpoint, origin: &[u8], host: Option<&[u8]>) -> bool {
        match self.origins.is_empty() {
            true => !endpoint.same_host || host.is_some_and(|host| is_same_host(origin, host)),
            false => self.origins.iter().any(|known| known.admits(origin)),
        }
    }

    /// Says in the log why a page may not open a WebSocket: browsers do not show the answer to anybody.
    fn explain_refusal(&self, origin: &[u8], host: &[u8], cx: &Cx<'_>) {
        let shown = |bytes: &[u8]| bytes[..bytes.len().min(SHOWN_BYTES_MAX)].escape_ascii().to_string();
        let (page, host_shown) = (shown(origin), shown(host));
        let why = match self.origins.is_empty() {
            false => "which --ws-origin does not name".to_owned(),
            true if is_same_host_but_for_the_port(origin, host) => format!(
                "and Host is {host_shown}, without the same port: a proxy in front must pass Host on as it is \
                 (nginx: proxy_set_header Host $http_host), or --ws-origin must name the page"
            ),
            true => format!("and Host is {host_shown}: the chat lets in pages of the same host, or of --ws-origin"),
        };
        cx.complain(Level::Info, format_args!("WebSocket refused with 403: its page is of {page}, {why}"));
    }
}

impl Default for Policy {
    /// Each endpoint decides about origins; 256 WebSockets may be compressed.
    fn default() -> Policy {
        Policy::new(Vec::new(), 256)
    }
}

/// Opens a WebSocket for the application that `open` makes, or says why not.
pub fn upgrade<A: Application + 'static>(
    request: &RequestHead<'_>,
    policy: &Policy,
    endpoint: &Endpoint,
    cx: &Cx<'_>,
    open: impl FnOnce() -> Result<A, Response>,
) -> Reply {
    accept(request, policy, endpoint, cx, open).map_or_else(Reply::Respond, Reply::Upgrade)
}

fn accept<A: Application + 'static>(
    request: &RequestHead<'_>,
    policy: &Policy,
    endpoint: &Endpoint,
    cx: &Cx<'_>,
    open: impl FnOnce() -> Result<A, Response>,
) -> Result<Tunnel, Response> {
    let handshake = Handshake::of(request).map_err(|refusal| refuse(refusal, request.version))?;
    // Who is not a browser has no origin, and could name any.
    if let Some(origin) = handshake.origin
        && !policy.admits(endpoint, origin, request.authority())
    {
        policy.explain_refusal(origin, request.authority().unwrap_or_default(), cx);
        return Err(errors::error(Status::FORBIDDEN, "origin_not_allowed", []));
    }
    let application = open()?;
    let (deflate, share) =
        handshake.deflate.filter(|_| endpoint.deflate).zip(policy.compressed.take(policy.compressed_max)).unzip();
    let socket = WebSocket::new(Receiver::new(deflate), Outgoing::new(deflate), application, share, cx.now);
    Ok(Tunnel {
        protocol: FieldValue::from_static(WEBSOCKET),
        prepared: FieldSet::EMPTY,
        fields: fields(&handshake, deflate, endpoint),
        origin: message::Origin::Here,
        content: Box::new(socket),
    })
}

/// What the response that opens it says besides (RFC 6455 §4.2.2, RFC 8441 §5).
fn fields(handshake: &Handshake<'_>, deflate: Option<Agreement>, endpoint: &Endpoint) -> Vec<(FieldName, FieldValue)> {
    let mut fields: Vec<_> = handshake.accept.iter().map(|accept| (ACCEPT, value(accept.as_bytes()))).collect();
    if let Some(agreement) = deflate {
        fields.push((EXTENSIONS, value(agreement.to_string())));
    }
    if let Some(protocol) = handshake.protocols.iter().find(|offered| endpoint.protocols.has(offered)) {
        fields.push((PROTOCOL, value(*protocol)));
    }
    fields
}

fn value(text: impl Into<Vec<u8>>) -> FieldValue {
    FieldValue::new(text).expect("base64, parameters and tokens are field values")
}

fn refuse(refusal: Refusal, version: Version) -> Response {
    let detail = |reason| [("detail", Detail::Text(reason))];
    match refusal {
        // What `Router::upgrade` answers.
        Refusal::Method => {
            let allow = if version == Version::Http2 { "CONNECT, OPTIONS" } else { "GET, OPTIONS" };
            errors::method_not_allowed(FieldValue::from_static(allow))
        }
        Refusal::Invalid(reason) => errors::bad_request("invalid_handshake", detail(reason)),
        // There is no Upgrade in HTTP/2, and therefore no 426 (RFC 9113 §8.6).
        Refusal::Upgrade(reason) if version == Version::Http2 => {
            errors::bad_request("invalid_handshake", detail(reason)).with_field(VERSION, VERSION_13)
        }
        // RFC 9110 §15.5.22 asks for Upgrade, RFC 6455 §4.4 for the version.
        Refusal::Upgrade(reason) => errors::error(Status::UPGRADE_REQUIRED, "upgrade_required", detail(reason))
            .with_field(UPGRADE, FieldValue::from_static(WEBSOCKET))
            .with_field(VERSION, VERSION_13),
    }
}
