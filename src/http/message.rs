//! Requests and responses as RFC 9110 defines them, whatever the version on the wire.

use std::ops::Range;

use super::body::Body;
use super::fields::{FieldName, FieldSet, FieldValue, Fields, OwnedFields};
use super::method::Method;
use super::status::Status;
use super::target::{Target, TargetForm};

/// The version a message came in or goes out with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// HTTP/1.0 (RFC 1945, as far as RFC 9112 still speaks of it)
    Http10,
    /// HTTP/1.1, and any later 1.x (RFC 9110 §2.5)
    Http11,
    /// HTTP/2 (RFC 9113)
    Http2,
}

impl Version {
    /// The method of requests for a tunnel to another protocol: GET with `Upgrade` (RFC 9110 §7.8), or CONNECT with
    /// `:protocol` (RFC 8441 §4).
    pub fn tunnel_method(self) -> Method {
        if self == Version::Http2 { Method::Connect } else { Method::Get }
    }
}

/// How much content a request announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Announced {
    /// No content at all.
    Nothing,
    /// Exactly so many bytes (more than none).
    Length(u64),
    /// Some, but the length is not announced (chunked).
    Unknown,
}

/// The head of a request, borrowed from the bytes it arrived in. A handler copies what it wants to keep.
#[derive(Debug, Clone, Copy)]
pub struct RequestHead<'a> {
    /// The method.
    pub method: Method,
    /// The target.
    pub target: Target<'a>,
    /// Version of the message.
    pub version: Version,
    /// All field lines in order.
    pub fields: Fields<'a>,
    /// How much content follows.
    pub announced: Announced,
    /// The protocol that `:protocol` names: a CONNECT that asks for a tunnel to it (RFC 8441 §4). HTTP/1 asks with `Upgrade`.
    pub protocol: Option<&'a [u8]>,
}

/// A copy of a request's head, for a handler that decides only after the bytes of the head have been consumed.
#[derive(Debug, Clone)]
pub struct OwnedHead {
    method: Method,
    form: TargetForm,
    version: Version,
    announced: Announced,
    fields: OwnedFields,
    /// The target, its parts and the protocol, one behind the other: one allocation instead of five.
    texts: Box<[u8]>,
    raw: Span,
    authority: Option<Span>,
    path: Span,
    query: Option<Span>,
    protocol: Option<Span>,
}

/// Where one text stands among several. None of them is as long as 4 GiB, because heads are bounded.
type Span = Range<u32>;

impl<'a> RequestHead<'a> {
    /// Whom the request is for: the authority of its target, which comes before Host (RFC 9112 §3.2.2), or Host.
    pub fn authority(&self) -> Option<&'a [u8]> {
        self.target.authority.or_else(|| self.fields.host())
    }

    /// A copy that does not depend on the bytes it arrived in.
    pub fn to_owned(&self) -> OwnedHead {
        let Target { form, raw, authority, path, query } = self.target;
        let parts = [Some(raw), authority, Some(path), query, self.protocol];
        let mut texts = Vec::with_capacity(parts.iter().flatten().map(|part| part.len()).sum());
        let mut add = |part: &[u8]| {
            let start = texts.len() as u32;
            texts.extend_from_slice(part);
            start..texts.len() as u32
        };
        OwnedHead {
            method: self.method,
            form,
            version: self.version,
            announced: self.announced,
            fields: self.fields.to_owned(),
            raw: add(raw),
            authority: authority.map(&mut add),
            path: add(path),
            query: query.map(&mut add),
            protocol: self.protocol.map(&mut add),
            texts: texts.into(),
        }
    }
}

impl OwnedHead {
    /// How much memory it takes, in bytes.
    pub fn memory_bytes(&self) -> usize {
        size_of::<OwnedHead>() + self.texts.len() + self.fields.memory_bytes()
    }

    /// The head as it arrived.
    pub fn as_head(&self) -> RequestHead<'_> {
        let optional = |span: &Option<Span>| span.as_ref().map(|span| self.text(span));
        RequestHead {
            method: self.method,
            target: Target {
                form: self.form,
                raw: self.text(&self.raw),
                authority: optional(&self.authority),
                path: self.text(&self.path),
                query: optional(&self.query),
            },
            version: self.version,
            fields: self.fields.as_fields(),
            announced: self.announced,
            protocol: optional(&self.protocol),
        }
    }

    fn text(&self, span: &Span) -> &[u8] {
        &self.texts[span.start as usize..span.end as usize]
    }
}

/// Who made a response, and so says when (`Date`) and with which software (`Server`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// This server: the protocol adds both fields.
    Here,
    /// An upstream. Both fields stay as it has sent them. If it has not sent `Date`, the protocol adds it, because a
    /// recipient with a clock must record when the response came (RFC 9110 §6.6.1). It adds no `Server`.
    Upstream {
        /// Whether `Date` is among the fields.
        is_dated: bool,
    },
}

/// A response as a service gives it. The protocol adds framing and connection fields when it encodes the head, and Date and
/// Server as far as its origin leaves that to it.
#[derive(Debug)]
pub struct Response {
    /// Status code; never 1xx, but for the 101 of an upgrade.
    pub status: Status,
    /// `Content-Type`. It has a member of its own because nearly every response has just this one field.
    pub content_type: Option<FieldValue>,
    /// Fields that were made beforehand, because many responses have them. They are sent before the others.
    pub prepared: FieldSet,
    /// All other fields, in the order they are sent.
    pub fields: Vec<(FieldName, FieldValue)>,
    /// The content.
    pub body: Body,
    /// Whether the content may be put into another coding on its way out (RFC 9110 §8.4). Not if its coding has been
    /// negotiated already, and not if it repeats what the client sent: next to a secret, the length of compressed content
    /// would betray the secret (BREACH).
    pub may_be_coded: bool,
    /// Who made it.
    pub origin: Origin,
}

impl Response {
    /// A response without content and fields.
    pub fn new(status: Status) -> Response {
        let (prepared, fields, body) = (FieldSet::EMPTY, Vec::new(), Body::Empty);
        Response { status, content_type: None, prepared, fields, body, may_be_coded: true, origin: Origin::Here }
    }

    /// A response with this content of this media type, and no other fields.
    pub fn of_content(status: Status, content_type: FieldValue, body: Body) -> Response {
        let (prepared, fields) = (FieldSet::EMPTY, Vec::new());
        let content_type = Some(content_type);
        Response { status, content_type, prepared, fields, body, may_be_coded: true, origin: Origin::Here }
    }

    /// A response that an upstream has made, with its fields but for those that frame content or are about its connection.
    /// `Content-Type`, `Date` and `Server` are among them, where the upstream has put them. Its content is not put into
    /// another coding, unless somebody says so.
    pub fn of_upstream(status: Status, fields: FieldSet, body: Body) -> Response {
        debug_assert!(
            !fields.iter().any(|(name, _)| is_about_the_connection(name)),
            "a field of the upstream's connection is not for ours"
        );
        let is_dated = fields.iter().any(|(name, _)| name.eq_ignore_ascii_case(b"date"));
        let origin = Origin::Upstream { is_dated };
        Response { prepared: fields, body, may_be_coded: false, origin, ..Response::new(status) }
    }

    /// An upper bound for the bytes its head takes on the wire.
    pub fn head_bytes_max(&self) -> usize {
        // Status line with the longest reason, Server, Date, framing and connection fields, and the blank line.
        const PROTOCOL_FIELDS: usize = 256;
        const LINE: usize = ": \r\n".len();
        let content_type = self.content_type.as_ref().map_or(0, |value| value.as_bytes().len() + 12 + LINE);
        let fields = self.fields.iter().map(|(name, value)| name.as_str().len() + value.as_bytes().len() + LINE);
        PROTOCOL_FIELDS + content_type + self.prepared.as_lines().len() + fields.sum::<usize>()
    }

    /// The same response with this content of this media type.
    pub fn with_content(mut self, content_type: FieldValue, body: Body) -> Response {
        self.content_type = Some(content_type);
        self.body = body;
        self
    }

    /// The same response, whose content is not put into another coding.
    pub fn as_it_is(mut self) -> Response {
        self.may_be_coded = false;
        self
    }

    /// The same response with these prepared fields. Framing and connection fields belong to the protocol and must not
    /// be among them.
    pub fn with_prepared(mut self, fields: FieldSet) -> Response {
        debug_assert!(
            !fields.iter().any(|(name, _)| is_owned_by_the_protocol(name)),
            "a prepared field is the protocol's business"
        );
        self.prepared = fields;
        self
    }

    /// The same response with one more field. Framing and connection fields belong to the protocol and must not be
    /// given here.
    pub fn with_field(mut self, name: FieldName, value: FieldValue) -> Response {
        debug_assert!(
            !is_owned_by_the_protocol(name.as_str().as_bytes()),
            "{} is the protocol's business",
            name.as_str()
        );
        self.fields.push((name, value));
        self
    }
}

/// Whether the protocol alone sends the field with this name in a response that is made here.
pub fn is_owned_by_the_protocol(name: &[u8]) -> bool {
    let owned = ["date", "server", "content-type", "trailer"];
    is_about_the_connection(name) || owned.iter().any(|owned| name.eq_ignore_ascii_case(owned.as_bytes()))
}

/// Whether the field with this name frames content on one connection, or says whether that connection persists.
fn is_about_the_connection(name: &[u8]) -> bool {
    let fields = ["connection", "content-length", "transfer-encoding", "keep-alive"];
    fields.iter().any(|field| name.eq_ignore_ascii_case(field.as_bytes()))
}
