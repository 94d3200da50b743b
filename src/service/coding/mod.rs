//! Content codings of what is produced (RFC 9110 §8.4): a response that nobody has coded yet is coded as it is pulled.
//!
//! Handlers know nothing of it: [`Coders::recode`] and [`Coders::recode_later`] are called in one place, behind the
//! router. A handler that negotiates by itself, as files do, asks for a [`Coder`]. `rules.rs` says what is coded,
//! `source.rs` codes it, and `encoder.rs` says what that costs.

mod encoder;
mod pieces;
mod rules;
mod source;
#[cfg(test)]
mod tests;

use std::mem;

pub use self::rules::{CODED_BYTES_MIN, CODINGS, forbids_transforms, refuses_transforms};
use self::rules::{Wishes, is_worth_coding, may_be_worth_coding, of_coded, varies_by_coding};
use self::source::CodedSource;
use super::shares::{Share, Shares};
use crate::base::limits::Limits;
use crate::http::body::Body;
use crate::http::exchange::{Exchange, concluded};
use crate::http::fields::{CONTENT_ENCODING, FieldValue, VARY};
use crate::http::message::{Origin, RequestHead, Response};
use crate::http::negotiate::Coding;

const ACCEPT_ENCODING: FieldValue = FieldValue::from_static("Accept-Encoding");

/// Those who code responses. Clones share the limit on how many responses are coded at a time.
#[derive(Debug, Clone, Default)]
pub struct Coders(Shares);

impl Coders {
    /// Codes the content of `response` as the client likes it best, if that is worth it. If too many responses are coded
    /// already, the content goes out as it is.
    #[inline]
    pub fn recode(&self, request: &RequestHead<'_>, response: &mut Response, limits: &Limits) {
        if may_be_worth_coding(response) {
            self.code(Wishes::of(request), response, limits);
        }
    }

    /// The same for what `exchange` will decide.
    pub fn recode_later(&self, request: &RequestHead<'_>, exchange: Box<dyn Exchange>) -> Box<dyn Exchange> {
        let (coders, wishes) = (self.clone(), Wishes::of(request));
        concluded(exchange, move |response, cx| coders.code(wishes, response, cx.limits))
    }

    /// Who codes one more response like this; `None` if as many as may are coded already.
    pub fn admit(&self, coding: Coding, limits: &Limits) -> Option<Coder> {
        let share = self.0.take(limits.coded_streams_max)?;
        Some(Coder { coding, _share: share, shares: self.0.clone() })
    }

    fn code(&self, wishes: Wishes, response: &mut Response, limits: &Limits) {
        if limits.coded_streams_max == 0 || !may_be_worth_coding(response) || !is_worth_coding(response) {
            return;
        }
        if !varies_by_coding(response) {
            response.fields.push((VARY, ACCEPT_ENCODING));
        }
        let coding = wishes.coding();
        if let Some(name) = coding.field_value()
            && let Some(coder) = self.admit(coding, limits)
        {
            if response.origin != Origin::Here {
                response.prepared = of_coded(&response.prepared);
            }
            response.fields.push((CONTENT_ENCODING, name));
            response.body = coder.coded(mem::take(&mut response.body));
        }
    }
}

/// The coding in which a request gets what is worth it.
pub fn coding_for(request: &RequestHead<'_>) -> Coding {
    Wishes::of(request).coding()
}

/// Codes one response. The permission for that ends with its content.
pub struct Coder {
    coding: Coding,
    _share: Share,
    shares: Shares,
}

impl Coder {
    /// `body` in the coding. Its length is not known, and no memory is taken before it is pulled.
    pub fn coded(self, body: Body) -> Body {
        Body::Source(Box::new(CodedSource::new(self, pieces::source_of(body))))
    }
}
