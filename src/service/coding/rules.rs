//! What is coded, and how.

use crate::http::body::Body;
use crate::http::fields::{Fields, has_directive, list_members};
use crate::http::media_type::is_compressible;
use crate::http::message::{RequestHead, Response};
use crate::http::negotiate::{AcceptEncoding, Coding};
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
/// for each coding (RFC 9110 §8.8.3.3), and only the handler could then evaluate conditions.
pub(super) fn is_worth_coding(response: &mut Response) -> bool {
    const TIED_TO_BYTES: [&[u8]; 6] =
        [b"content-encoding", b"content-range", b"etag", b"content-digest", b"repr-digest", b"content-md5"];
    let ties = |(name, value): (&[u8], &[u8])| {
        TIED_TO_BYTES.iter().any(|tied| name.eq_ignore_ascii_case(tied))
            || (name.eq_ignore_ascii_case(b"cache-control") && forbids_transforms(value))
    };
    let has_content = response.status.allows_content()
        && ![Status::PARTIAL_CONTENT, Status::RESET_CONTENT].contains(&response.status);
    has_content
        && response.content_type.as_ref().is_some_and(is_compressible)
        && response.body.length().is_none_or(|length| length >= CODED_BYTES_MIN)
        && response.body.taker().is_none()
        && !fields(response).any(ties)
}

/// Whether `response` says already that it varies by Accept-Encoding.
pub(super) fn varies_by_coding(response: &Response) -> bool {
    let names_it = |name: &[u8]| name == b"*" || name.eq_ignore_ascii_case(b"accept-encoding");
    fields(response).any(|(name, value)| name.eq_ignore_ascii_case(b"vary") && list_members(value).any(names_it))
}

fn fields(response: &Response) -> impl Iterator<Item = (&[u8], &[u8])> {
    let others = response.fields.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
    response.prepared.iter().chain(others)
}
