//! Messages between this server and an upstream: a request that we send, and the head of a response that we get.

use super::fields::Fields;
use super::message::{Announced, Version};
use super::method::Method;
use super::status::Status;

/// A request as it goes to an upstream, checked and without what belongs to one connection alone (RFC 9110 §7.6.1). The
/// protocol adds the fields that frame its content and that are about its connection when it encodes the head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutgoingRequest {
    /// The method.
    pub method: Method,
    /// The target in origin-form, or `*` (RFC 9112 §3.2).
    pub target: Vec<u8>,
    /// The value of `Host`.
    pub host: Vec<u8>,
    /// All other fields as whole lines, each ended by CRLF. None of them frames content or is about the connection.
    pub lines: Vec<u8>,
    /// How much content follows.
    pub content: Announced,
    /// Whether the upstream is asked with `Expect: 100-continue` before the content is sent (RFC 9110 §10.1.1).
    pub expects_continue: bool,
    /// The protocol that is asked for with `Upgrade` (RFC 9110 §7.8), if one is.
    pub upgrade: Option<Vec<u8>>,
    /// Whether whoever gets the response understands trailers: `TE: trailers` (RFC 9110 §10.1.4).
    pub takes_trailers: bool,
}

impl OutgoingRequest {
    /// More bytes than its head has, and few more.
    pub fn head_bytes_max(&self) -> usize {
        let OutgoingRequest { method, target, host, lines, upgrade, .. } = self;
        let upgrade = upgrade.as_ref().map_or(0, Vec::len);
        method.as_str().len() + target.len() + host.len() + lines.len() + upgrade + FRAMING_BYTES_MAX
    }
}

/// What the protocol adds to the head of a request, in bytes: the version, names of fields, and fields that frame its content.
const FRAMING_BYTES_MAX: usize = 256;

/// How much content follows the head of a response, by its status, its fields and its request (RFC 9112 §6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseContent {
    /// None. If the request was HEAD, or the status is 304, this is the length that a response to GET has said.
    Nothing(Option<u64>),
    /// Exactly so many bytes, which may be none.
    Length(u64),
    /// Chunks, whose end is known when it comes.
    Chunked,
    /// Everything up to the end of the connection.
    UntilClose,
    /// Another protocol, in both directions, until each ends: the response is 101.
    Tunnel,
}

/// The head of a response, borrowed from the bytes it arrived in.
#[derive(Debug, Clone, Copy)]
pub struct ResponseHead<'a> {
    /// Its status.
    pub status: Status,
    /// The version that the upstream speaks.
    pub version: Version,
    /// All field lines in order, those about the connection included.
    pub fields: Fields<'a>,
    /// How much content follows.
    pub content: ResponseContent,
}
