//! What is coded, and how.

use crate::http::body::Body;
use crate::http::etag::EntityTag;
use crate::http::fields::{FieldSet, Fields, Line, has_directive, list_members};
use crate::http::media_type::is_compressible;
use crate::http::message::{Origin, RequestHead, Response};
use crate::http::negotiate::{self, AcceptEncoding, Coding};
use crate::http::status::Status;

/// Content that is known to be shorter, in bytes, gains nothing.
pub const CODED_BYTES_MIN: u64 = 256;

/// What a response can be coded in while it is pulled. Brotli is not among them (`encoder.rs` says why).
pub const CODINGS: [Coding; 3] = [Coding::Identity, Coding::Gzip, Coding::Zstd];

/// What a request says about the coding of its response.
#[derive(Clone, Copy)]
pub(super) struct Wishes {
    encodings: AcceptEncoding,
    no_transform: bool,
}

impl Wishes {
    pub(super) fn of(request: &RequestHead<'_>) -> Wishes {
        Wishes { encodings: AcceptEncoding::of(request.fields), no_transform: refuses_transforms(request.fields) }
    }

    /// What the client likes best. Content that cannot be coded is sent to a client that refuses identity, too: it is
    /// produced for this request, so there is no other form to choose (RFC 9110 §12.5.3 leaves us that).
    pub(super) fn coding(self) -> Coding {
        match self.no_transform {
            true => Coding::Identity,
            false => self.encodings.choose(CODINGS).unwrap_or(Coding::Identity),
        }
    }
}

/// Whether a value of Cache-Control has `no-transform`: the content must stay as it is (RFC 9110 §7.7, RFC 9111
/// §5.2.2.6).
pub fn forbids_transforms(cache_control: &[u8]) -> bool {
    has_directive(cache_control, "no-transform")
}

/// Whether a request with these fields asks for the content as it is (RFC 9111 §5.2.1.6).
pub fn refuses_transforms(fields: Fields<'_>) -> bool {
    fields.all("cache-control").any(forbids_transforms)
}

/// Whether it is worth looking closer. Cheap, because every response comes by here: most are short, or files, which
/// negotiate by themselves.
#[inline]
pub(super) fn may_be_worth_coding(response: &Response) -> bool {
    response.may_be_coded
        && match &response.body {
            Body::Empty | Body::Parts(_) => false,
            Body::Bytes(bytes) => bytes.as_slice().len() as u64 >= CODED_BYTES_MIN,
            Body::File(_) | Body::Source(_) => true,
        }
}

/// Whether the content of `response` is to be coded for whoever wants that.
///
/// Not if it is short, or of a type that does not get smaller; not a part of something (206), and not what takes the
/// request's content meanwhile, because the client may wait for each byte of it. Not with fields that say something about
/// the bytes as they are: an entity tag, a digest, a range, another coding. A strong tag would have to be another one
/// for each coding (RFC 9110 §8.8.3.3), and only the handler could then evaluate conditions. That of an upstream's response
/// becomes weak ([`of_coded`]), because the upstream still evaluates conditions.
pub(super) fn is_worth_coding(response: &mut Response) -> bool {
    let may_become_weak = response.origin != Origin::Here;
    let ties = |(name, value): (&[u8], &[u8])| match () {
        () if name.eq_ignore_ascii_case(b"etag") => !may_become_weak,
        () if name.eq_ignore_ascii_case(b"cache-control") => forbids_transforms(value),
        () if name.eq_ignore_ascii_case(b"trailer") => list_members(value).any(is_tied_to_bytes),
        () => is_tied_to_bytes(name),
    };
    let has_content = response.status.allows_content()
        && ![Status::PARTIAL_CONTENT, Status::RESET_CONTENT].contains(&response.status);
    has_content
        && has_compressible_type(response)
        && response.body.length().is_none_or(|length| length >= CODED_BYTES_MIN)
        && response.body.taker().is_none()
        && !fields(response).any(ties)
}

/// Whether a field with this name says something about the bytes of the content as they are.
fn is_tied_to_bytes(name: &[u8]) -> bool {
    const TIED_TO_BYTES: [&[u8]; 6] =
        [b"content-encoding", b"content-range", b"etag", b"content-digest", b"repr-digest", b"content-md5"];
    TIED_TO_BYTES.iter().any(|tied| name.eq_ignore_ascii_case(tied))
}

/// Whether the content has one media type, and one that gets smaller. That of an upstream's response is among its fields.
fn has_compressible_type(response: &Response) -> bool {
    let mut line = Line::Absent;
    response.content_type.iter().for_each(|value| line.add(value.as_bytes()));
    let among_fields = response.prepared.iter().filter(|(name, _)| name.eq_ignore_ascii_case(b"content-type"));
    among_fields.for_each(|(_, value)| line.add(value));
    matches!(line, Line::Once(content_type) if is_compressible(content_type))
}

/// The fields of an upstream's response whose content is coded here. Its entity tag is weak, because the bytes are others
/// (RFC 9110 §8.8.3.3); what cannot be made weak is left out. The coded form has no ranges.
pub(super) fn of_coded(prepared: &FieldSet) -> FieldSet {
    let is_tag = |name: &[u8]| name.eq_ignore_ascii_case(b"etag");
    let mut line = Line::Absent;
    prepared.iter().filter(|(name, _)| is_tag(name)).for_each(|(_, value)| line.add(value));
    let tag = if let Line::Once(value) = line { EntityTag::parse(value) } else { None };
    let weak = tag.map(|tag| tag.weakened().to_field_value());
    FieldSet::of_parsed(prepared.iter().filter_map(|(name, value)| match () {
        () if is_tag(name) => weak.as_ref().map(|weak| (name, weak.as_bytes())),
        () if name.eq_ignore_ascii_case(b"accept-ranges") => None,
        () => Some((name, value)),
    }))
}

/// What of these trailers is still true behind coded content.
pub(super) fn trailers_of_coded(trailers: &FieldSet) -> FieldSet {
    FieldSet::of_parsed(trailers.iter().filter(|(name, _)| !is_tied_to_bytes(name)))
}

/// Whether `response` says already that it varies by Accept-Encoding.
pub(super) fn varies_by_coding(response: &Response) -> bool {
    fields(response).any(|(name, value)| name.eq_ignore_ascii_case(b"vary") && negotiate::varies_by_coding(value))
}

fn fields(response: &Response) -> impl Iterator<Item = (&[u8], &[u8])> {
    let others = response.fields.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
    response.prepared.iter().chain(others)
}
