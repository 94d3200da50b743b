//! The response for a representation: coding, conditions and ranges decide, in this order.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use super::representation::{Compressible, Form, FormContent, Representation};
use super::{fallback, pages};
use crate::http::body::{Body, Bytes, ContentPart, FilePart};
use crate::http::conditional::{self, Outcome, Validators, Verdict};
use crate::http::etag::EntityTag;
use crate::http::exchange::Cx;
use crate::http::fields::{CONTENT_RANGE, FieldValue, VARY, X_CONTENT_TYPE_OPTIONS};
use crate::http::message::{Origin, RequestHead, Response};
use crate::http::method::Method;
use crate::http::negotiate::{AcceptEncoding, Coding};
use crate::http::range::{self, ByteRange, Multipart, Ranges};
use crate::http::status::Status;
use crate::service::coding::{Coders, refuses_transforms};

/// A representation, with what has been made of it since it was found.
#[derive(Clone, Copy)]
pub struct Offer<'a> {
    /// What was found.
    pub representation: &'a Representation,
    /// The forms that were made of it, by coding.
    pub made: &'a MadeForms,
    /// What can still be made.
    pub making: Making,
}

/// What can be made of a representation when somebody asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Making {
    /// Compressed forms, and tags of large files.
    All,
    /// Tags: compressed forms could not be kept.
    Tags,
    /// Nothing now.
    Nothing,
}

/// Forms that we made, by coding.
pub type MadeForms = [MadeForm; Coding::ALL.len()];

/// A form that was made here: compressed, or the file's own form with its tag.
#[derive(Debug, Clone, Default)]
pub enum MadeForm {
    /// Nobody has asked for it.
    #[default]
    Unmade,
    /// It would not be smaller, or the file has changed meanwhile.
    Useless,
    /// Here it is.
    Made(Arc<Form>),
}

/// What to do for a request.
pub enum Action {
    /// Send this.
    Respond(Response),
    /// Make this form, then ask again.
    Make(Coding),
    /// The file has changed since it was found.
    LookAgain,
}

/// Answers a GET or HEAD with what is offered.
pub fn respond(request: &RequestHead<'_>, offer: &Offer<'_>, coders: &Coders, cx: &Cx<'_>) -> Action {
    Action::Respond(match choose(request, offer) {
        Choice::Form(_, form) | Choice::AsSent(_, form) if !form.is_unchanged(cx.file_looks) => {
            return Action::LookAgain;
        }
        Choice::Form(_, form) => with_form(request, offer.representation, form, cx.date_secs),
        Choice::AsSent(coding, identity) => coded_as_sent(request, offer.representation, identity, coding, coders, cx),
        Choice::Unmade(coding) => return Action::Make(coding),
        // It could not be decoded, because it is another one by now.
        Choice::None if !offer.representation.original().1.is_unchanged(cx.file_looks) => return Action::LookAgain,
        Choice::None => not_acceptable(request, offer.representation),
    })
}

/// Answers with what the file happens to be now: nothing is promised about which version that is.
pub fn respond_as_it_is(request: &RequestHead<'_>, representation: &Representation, now_secs: u64) -> Response {
    let representation = &representation.without_tags();
    let offer = Offer { representation, made: &MadeForms::default(), making: Making::Nothing };
    match choose(request, &offer) {
        Choice::Form(_, form) => with_form(request, representation, form, now_secs),
        Choice::Unmade(_) | Choice::AsSent(..) | Choice::None => not_acceptable(request, representation),
    }
}

/// Answers with a form that is there. Nearly every answer comes by here, so it is made in place: otherwise the compiler
/// would copy the response, which is large.
#[inline(always)]
fn with_form(request: &RequestHead<'_>, representation: &Representation, form: &Form, now_secs: u64) -> Response {
    let selection = Selection::of(request, form, representation.common.last_modified, now_secs);
    let content_type = &representation.content_type;
    match (selection.verdict.outcome, &selection.ranges) {
        (Outcome::NotModified, _) => {
            Response::new(Status::NOT_MODIFIED).with_prepared(form.not_modified_fields.clone())
        }
        (Outcome::PreconditionFailed, _) => pages::error(request, Status::PRECONDITION_FAILED),
        (Outcome::Proceed { .. }, Ranges::Ignore) => whole(form, content_type, Status::OK),
        (Outcome::Proceed { .. }, Ranges::Unsatisfiable) => unsatisfiable(request, form),
        (Outcome::Proceed { .. }, Ranges::One(range)) => part(form, content_type, *range),
        (Outcome::Proceed { .. }, Ranges::Several(ranges)) => parts(form, content_type, ranges),
    }
}

/// Answers with a form that is coded while it is sent. If as many responses as may are coded already, the file is sent as
/// it is.
#[inline(never)]
fn coded_as_sent(
    request: &RequestHead<'_>,
    representation: &Representation,
    identity: &Form,
    coding: Coding,
    coders: &Coders,
    cx: &Cx<'_>,
) -> Response {
    let form = Form::coded_as_sent(identity, coding, &representation.common);
    let selection = Selection::of(request, &form, representation.common.last_modified, cx.date_secs);
    let is_sent = matches!(selection.verdict.outcome, Outcome::Proceed { .. });
    let coder = if is_sent { coders.admit(coding, cx.limits) } else { None };
    if is_sent && coder.is_none() && AcceptEncoding::of(request.fields).weight(Coding::Identity) == 0 {
        return pages::busy(request);
    }
    let form = if is_sent && coder.is_none() { identity } else { &form };
    let mut response = with_form(request, representation, form, cx.date_secs);
    if let Some(coder) = coder {
        response.body = coder.coded(response.body);
    }
    response
}

/// What of a form is sent: its conditions decide, then its ranges.
pub struct Selection {
    /// What the conditions make of the request.
    pub verdict: Verdict,
    /// Which parts are asked for; all of it where Range is not to be looked at.
    pub ranges: Ranges,
}

impl Selection {
    /// What of `form`, last modified then, this request selects.
    pub fn of(request: &RequestHead<'_>, form: &Form, last_modified: Option<u64>, now_secs: u64) -> Selection {
        let etag = form.etag.as_ref().and_then(|etag| EntityTag::of_checked(etag.as_bytes()));
        let validators = Validators { etag, last_modified };
        let verdict = conditional::evaluate(request.method, request.fields, validators, now_secs);
        let ranges = match verdict.outcome {
            Outcome::Proceed { range: true } => range::requested(request.fields, form.length),
            _ => Ranges::Ignore,
        };
        Selection { verdict, ranges }
    }
}

/// The whole of a representation as the content of an error, such as the site's own page for 404.
pub fn error_content(representation: &Representation, status: Status) -> Response {
    let (_, form) = representation.original();
    let body = body(form, 0, form.length);
    let response = Response::new(status).with_content(representation.content_type.clone(), body);
    response.with_field(X_CONTENT_TYPE_OPTIONS, pages::NOSNIFF.clone())
}

/// Which form a client gets.
pub enum Choice<'a> {
    /// This one, in this coding.
    Form(Coding, &'a Arc<Form>),
    /// One in this coding, which has to be made.
    Unmade(Coding),
    /// One in this coding, which is made of this form while it is sent.
    AsSent(Coding, &'a Arc<Form>),
    /// It accepts none that there is.
    None,
}

/// The form that the client likes best. One that no file has is made if it is worth it.
pub fn choose<'a>(request: &RequestHead<'_>, offer: &Offer<'a>) -> Choice<'a> {
    if !offer.representation.common.varies {
        // The usual case has nothing to choose from, but may still be refused.
        let accepted = AcceptEncoding::of(request.fields).weight(Coding::Identity) > 0;
        return if accepted { offer.choice(Coding::Identity) } else { Choice::None };
    }
    // Parts are of the file as it is, if it is coded only while it is sent: nobody knows where they are in that.
    let whole = request.method != Method::Get || request.fields.first("range").is_none();
    let (accepted, available) = (AcceptEncoding::of(request.fields), |coding: &Coding| offer.has(*coding, whole));
    let mut best = accepted.choose(Coding::ALL.into_iter().filter(available));
    if best.is_some_and(|coding| offer.compresses(coding)) && refuses_transforms(request.fields) {
        let others = Coding::ALL.into_iter().filter(|coding| available(coding) && !offer.compresses(*coding));
        best = accepted.choose(others);
    }
    best.map_or(Choice::None, |coding| offer.choice(coding))
}

impl<'a> Offer<'a> {
    /// Whether there is a form in this coding, or can be one. `whole`: the client does not ask for a part.
    fn has(&self, coding: Coding, whole: bool) -> bool {
        let as_sent = || self.representation.compressible == Compressible::AsSent;
        let makeable = || self.making == Making::All && self.representation.can_make(coding) && (whole || !as_sent());
        match &self.made[coding as usize] {
            MadeForm::Made(_) => true,
            MadeForm::Unmade => self.representation.form(coding).is_some() || makeable(),
            MadeForm::Useless => self.representation.form(coding).is_some(),
        }
    }

    /// Whether a form in this coding would be compressed here. A coded file is a form of the site's own.
    fn compresses(&self, coding: Coding) -> bool {
        coding != Coding::Identity && self.representation.form(coding).is_none()
    }

    /// The form in a coding that the offer has.
    #[inline]
    fn choice(&self, coding: Coding) -> Choice<'a> {
        match self.representation.form(coding) {
            // The usual case: what has its tag is not made again.
            Some(form) if form.etag.is_some() => Choice::Form(coding, form),
            _ => self.made_choice(coding),
        }
    }

    /// What was made comes first: a file's own form is then the same, with a tag.
    fn made_choice(&self, coding: Coding) -> Choice<'a> {
        let makeable = |form: &Form| form.can_be_hashed() && self.making != Making::Nothing;
        match (&self.made[coding as usize], self.representation.form(coding)) {
            (MadeForm::Made(form), _) => Choice::Form(coding, form),
            (MadeForm::Unmade, Some(form)) if makeable(form) => Choice::Unmade(coding),
            (_, Some(form)) => Choice::Form(coding, form),
            (_, None) if self.representation.compressible == Compressible::AsSent => self.as_sent(coding),
            (_, None) => Choice::Unmade(coding),
        }
    }

    /// What is coded while it is sent has a tag that is made from that of the file.
    fn as_sent(&self, coding: Coding) -> Choice<'a> {
        match self.choice(Coding::Identity) {
            Choice::Form(_, identity) => Choice::AsSent(coding, identity),
            unmade => unmade,
        }
    }
}

#[inline(always)]
fn whole(form: &Form, content_type: &FieldValue, status: Status) -> Response {
    Response {
        status,
        content_type: Some(content_type.clone()),
        prepared: form.fields.clone(),
        fields: Vec::new(),
        body: body(form, 0, form.length),
        may_be_coded: false,
        origin: Origin::Here,
    }
}

fn part(form: &Form, content_type: &FieldValue, range: ByteRange) -> Response {
    Response::new(Status::PARTIAL_CONTENT)
        .with_content(content_type.clone(), body(form, range.first, range.len()))
        .with_prepared(form.fields.clone())
        .as_it_is()
        .with_field(CONTENT_RANGE, range::content_range(range, form.length))
}

fn parts(form: &Form, content_type: &FieldValue, ranges: &[ByteRange]) -> Response {
    let multipart = Multipart::new(boundary(), content_type.clone(), form.length);
    let mut parts = VecDeque::with_capacity(2 * ranges.len() + 1);
    for (number, range) in ranges.iter().enumerate() {
        parts.push_back(ContentPart::Bytes(Bytes::Owned(multipart.part_head(*range, number == 0))));
        parts.push_back(content_part(form, range.first, range.len()));
    }
    parts.push_back(ContentPart::Bytes(Bytes::Owned(multipart.closing())));
    Response::new(Status::PARTIAL_CONTENT)
        .with_content(multipart.content_type(), Body::Parts(parts))
        .with_prepared(form.fields.clone())
        .as_it_is()
}

/// Random, so that nobody can put it into a file beforehand. The standard library seeds its hash tables from the
/// system's randomness; that will do.
fn boundary() -> String {
    let random = || RandomState::new().hash_one(0);
    format!("{:016x}{:016x}", random(), random())
}

fn body(form: &Form, offset: u64, length: u64) -> Body {
    match content_part(form, offset, length) {
        ContentPart::Bytes(bytes) => Body::Bytes(bytes),
        ContentPart::File(part) => Body::File(part),
    }
}

fn content_part(form: &Form, offset: u64, length: u64) -> ContentPart {
    match &form.content {
        FormContent::Memory(bytes) => {
            ContentPart::Bytes(Bytes::Shared(Arc::clone(bytes), offset as usize..(offset + length) as usize))
        }
        FormContent::File(file) => ContentPart::File(FilePart { file: Arc::clone(file), offset, length }),
    }
}

fn unsatisfiable(request: &RequestHead<'_>, form: &Form) -> Response {
    let content_range = range::unsatisfied_content_range(form.length);
    pages::error(request, Status::RANGE_NOT_SATISFIABLE).with_field(CONTENT_RANGE, content_range)
}

/// RFC 9110 §15.5.7. It varies too: another client would have been served.
fn not_acceptable(request: &RequestHead<'_>, representation: &Representation) -> Response {
    const ACCEPT_ENCODING: FieldValue = FieldValue::from_static("Accept-Encoding");
    let response = pages::error(request, Status::NOT_ACCEPTABLE);
    let response = if representation.common.is_fallback { fallback::varying(response) } else { response };
    response.with_field(VARY, ACCEPT_ENCODING)
}
