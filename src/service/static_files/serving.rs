//! A request for a file that has to wait for a job: to look it up, to compress, decode or hash it, or to list a
//! directory.

use std::fmt;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use log::Level;

use super::compress::{compress, decompress};
use super::hot::{FRESH_FOR, Hit, Known};
use super::listing::{CONTENT_SECURITY_POLICY, Form as ListingForm, Listing, Order};
use super::lookup::{Looked, Wanted, look_up};
use super::representation::{Common, Form, FormContent, Representation};
use super::resolve::Resolved;
use super::respond::{Action, error_content, respond_as_it_is};
use super::tag::Digest;
use super::{DECODED_BYTES_MAX, Shared, Store, fallback, listings, pages};
use crate::base::disk::NotServed;
use crate::base::job_name::JobKind;
use crate::base::job_pool::{QueueFull, Ticket};
use crate::http::body::{Body, Failure, Wait};
use crate::http::exchange::{Cx, Decision, Exchange};
use crate::http::fields::{CONTENT_SECURITY_POLICY as POLICY, FieldValue, VARY};
use crate::http::message::{OwnedHead, RequestHead, Response};
use crate::http::negotiate::{Accept, Coding};
use crate::http::status::Status;
use crate::service::flights::{Flights, Joined};

/// As much of a target as the log shows, in bytes.
const LOGGED_TARGET_BYTES: usize = 200;

/// When a job that has not answered is looked at again. Its wake comes earlier, unless the disk stalls.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often a file that has changed since it was found is looked up again for one request. One that changes all the time,
/// such as a log, is then sent as it is, without a tag.
const LOOKS_MAX: u32 = 3;

/// Jobs that requests wait for.
pub struct Jobs {
    lookups: Flights<Looked>,
    forms: Flights<Option<Arc<Form>>>,
}

impl Jobs {
    /// None yet.
    pub fn new() -> Jobs {
        Jobs { lookups: Flights::default(), forms: Flights::default() }
    }
}

/// One request on its way to its response.
pub struct Serving {
    shared: Rc<Shared>,
    request: OwnedHead,
    /// `None` for a path that is not shown.
    resolved: Option<Resolved<'static>>,
    /// The path does not exist, and the page for such paths is not for this request.
    is_refused: bool,
    progress: Progress,
    /// How often the file had changed since it was found.
    changes: u32,
}

enum Progress {
    /// To be looked up, knowing what was there before.
    Start(Option<Arc<Representation>>),
    /// Known, to be answered.
    Found(Hit),
    LookingUp(Joined<Looked>),
    Making(Hit, Coding, Joined<Option<Arc<Form>>>),
    Listing(Ticket<Result<Listing, NotServed>>),
}

/// What comes next.
enum Next {
    Progress(Progress),
    Respond(Response),
    Wait,
}

impl Serving {
    /// Answers `request`, for which this is known so far.
    pub fn new(
        shared: &Rc<Shared>,
        request: &RequestHead<'_>,
        resolved: Option<Resolved<'static>>,
        known: Known,
    ) -> Serving {
        let progress = match known {
            Known::Fresh(hit) => Progress::Found(hit),
            Known::Stale(hit) => Progress::Start(Some(hit.representation)),
            Known::Nothing => Progress::Start(None),
        };
        let (shared, request) = (Rc::clone(shared), request.to_owned());
        Serving { shared, request, resolved, is_refused: false, progress, changes: 0 }
    }

    fn step(&mut self, cx: &mut Cx<'_>) -> Result<Next, Failure> {
        match &mut self.progress {
            Progress::Start(known) => {
                let known = known.take();
                Ok(self.look_up(known, cx))
            }
            Progress::LookingUp(joined) => match joined.result() {
                Some(looked) => {
                    let started = joined.started();
                    let looked = looked.map_err(Failure::new)?;
                    self.on_looked(looked, started, cx)
                }
                None => Ok(Next::Wait),
            },
            Progress::Found(hit) => {
                let hit = hit.clone();
                Ok(self.answer(hit, cx))
            }
            Progress::Making(hit, coding, joined) => match joined.result() {
                Some(form) => {
                    let (hit, coding) = (hit.clone(), *coding);
                    self.on_made(&hit, coding, form.map_err(Failure::new)?);
                    Ok(Next::Progress(Progress::Found(hit)))
                }
                None => Ok(Next::Wait),
            },
            Progress::Listing(ticket) => match ticket.take() {
                Some(listing) => {
                    let listing = listing.map_err(Failure::new)?;
                    self.on_listed(listing, cx)
                }
                None => Ok(Next::Wait),
            },
        }
    }

    /// What may be there for this request; `None` if nothing may.
    fn sought(&self) -> Option<&Resolved<'static>> {
        self.resolved.as_ref().filter(|_| !self.is_refused)
    }

    fn look_up(&mut self, known: Option<Arc<Representation>>, cx: &Cx<'_>) -> Next {
        let sought = self.sought();
        let wanted = match sought {
            Some(resolved) => Wanted::new(resolved, cx.date_secs, known),
            None => Wanted::nothing(cx.date_secs),
        };
        let key = sought.map(Resolved::key).unwrap_or_default();
        let shown = sought.map_or(b"(page for 404)".to_vec(), Resolved::shown);
        let name = (JobKind::LookUp, &shown[..]);
        let store = Arc::clone(&self.shared.store);
        let lookups = &self.shared.jobs.lookups;
        match lookups.join_within(FRESH_FOR, key, name, cx, move || look_up(&store, &wanted)) {
            Ok(joined) => Next::Progress(Progress::LookingUp(joined)),
            Err(QueueFull) => self.busy("too many look-ups wait for the disk already (--io-threads)", cx),
        }
    }

    /// 503, and why in the log: the client cannot tell what the server is short of.
    fn busy(&self, why: &str, cx: &Cx<'_>) -> Next {
        self.complain(Level::Warn, Status::SERVICE_UNAVAILABLE, &why, cx);
        Next::Respond(pages::busy(&self.request.as_head()))
    }

    /// 500. What went wrong is for the log, and never part of the answer.
    fn failed(&self, failure: &Failure, cx: &Cx<'_>) -> Next {
        self.complain(Level::Error, Status::INTERNAL_SERVER_ERROR, failure, cx);
        Next::Respond(pages::error(&self.request.as_head(), Status::INTERNAL_SERVER_ERROR))
    }

    fn complain(&self, level: Level, status: Status, why: &dyn fmt::Display, cx: &Cx<'_>) {
        let request = self.request.as_head();
        let target = &request.target.raw[..request.target.raw.len().min(LOGGED_TARGET_BYTES)];
        let (code, method) = (status.code(), request.method);
        cx.complain(level, format_args!("{code} for {method} {}: {why}", target.escape_ascii()));
    }

    fn on_looked(&mut self, looked: Looked, started: Instant, cx: &Cx<'_>) -> Result<Next, Failure> {
        let request = self.request.as_head();
        let sought = self.sought();
        let response = match (looked, sought) {
            (Looked::File(found), Some(resolved)) => {
                return Ok(Next::Progress(Progress::Found(self.shared.hot.keep(resolved, found, started))));
            }
            (Looked::Directory, Some(resolved)) => return Ok(self.start_listing(resolved.path(), cx)),
            (Looked::Redirect(address), Some(resolved)) => pages::redirect(&request, address, resolved.path()),
            (Looked::Missing(Some(page)), _) => error_content(&page, Status::NOT_FOUND),
            (Looked::Forbidden, _) => pages::error(&request, Status::FORBIDDEN),
            (Looked::Busy(what), _) => return Ok(self.busy(what, cx)),
            (Looked::Failed(cause), _) => return Err(Failure::new(cause)),
            (Looked::Missing(None) | Looked::File(_) | Looked::Directory | Looked::Redirect(_), _) => {
                pages::error(&request, Status::NOT_FOUND)
            }
        };
        if let Some(resolved) = sought {
            self.shared.hot.forget(resolved);
        }
        Ok(Next::Respond(if self.is_refused { fallback::varying(response) } else { response }))
    }

    fn answer(&mut self, hit: Hit, cx: &Cx<'_>) -> Next {
        if self.shared.refuses(&hit, &self.request.as_head(), self.resolved.as_ref()) {
            self.is_refused = true;
            return Next::Progress(Progress::Start(None));
        }
        match hit.respond(&self.request.as_head(), &self.shared.coders, cx) {
            Action::Respond(response) => Next::Respond(response),
            Action::Make(coding) => self.make(hit, coding, cx),
            Action::LookAgain if self.changes == LOOKS_MAX => {
                Next::Respond(respond_as_it_is(&self.request.as_head(), &hit.representation, cx.date_secs))
            }
            Action::LookAgain => {
                self.changes += 1;
                Next::Progress(Progress::Start(Some(hit.representation)))
            }
        }
    }

    fn make(&mut self, hit: Hit, coding: Coding, cx: &Cx<'_>) -> Next {
        let representation = Arc::clone(&hit.representation);
        // Its address tells it from all others: whoever can join the job holds this representation, too.
        let address = Arc::as_ptr(&representation).addr().to_ne_bytes();
        let key = [&address[..], coding.name().as_bytes()].concat();
        let (store, now_secs) = (Arc::clone(&self.shared.store), cx.date_secs);
        let kind = match representation.form(coding) {
            Some(_) => JobKind::Hash,
            None if coding == Coding::Identity => JobKind::Decompress,
            None => JobKind::Compress,
        };
        let shown = [b"/", &*representation.path].concat();
        let job = move || made(&store, &representation, coding, now_secs).map(Arc::new);
        match self.shared.jobs.forms.join(&key, (kind, &shown), cx, job) {
            Ok(joined) => Next::Progress(Progress::Making(hit, coding, joined)),
            // A client that does not take the coded form gets nothing else.
            Err(QueueFull) if kind == JobKind::Decompress => {
                self.busy("too many files wait to be decoded already (--io-threads)", cx)
            }
            // Sending more bytes now is better than asking the client to come again.
            Err(QueueFull) => Next::Progress(Progress::Found(hit.without_making())),
        }
    }

    fn on_made(&self, hit: &Hit, coding: Coding, form: Option<Arc<Form>>) {
        if let Some(resolved) = &self.resolved {
            self.shared.hot.keep_form(resolved, hit, coding, form);
        }
    }

    fn start_listing(&self, path: &[u8], cx: &Cx<'_>) -> Next {
        if !self.shared.listings.have_room() {
            return self
                .busy("the listings on their way out hold all the memory for them: their clients read slowly", cx);
        }
        let (store, path) = (Arc::clone(&self.shared.store), path.to_vec());
        let order = Order::asked(&self.request.as_head().target);
        let shown = [b"/", &*path].concat();
        let job = move || listings::read(&store.site, &path, order);
        match cx.submit(JobKind::List, &shown, job) {
            Ok(ticket) => Next::Progress(Progress::Listing(ticket)),
            Err(QueueFull) => self.busy("too many folders wait to be listed already (--io-threads)", cx),
        }
    }

    /// The folder was there when it was looked up.
    fn on_listed(&self, listing: Result<Listing, NotServed>, cx: &Cx<'_>) -> Result<Next, Failure> {
        let error = |status| Ok(Next::Respond(pages::error(&self.request.as_head(), status)));
        match listing {
            Ok(listing) => Ok(Next::Respond(self.list(listing))),
            Err(NotServed::Exhausted(what)) => Ok(self.busy(what, cx)),
            Err(NotServed::NotFound | NotServed::NotAFile) => error(Status::NOT_FOUND),
            Err(NotServed::Forbidden) => error(Status::FORBIDDEN),
            Err(failed @ NotServed::Failed(_)) => Err(Failure::new(failed)),
        }
    }

    fn list(&self, listing: Listing) -> Response {
        const ACCEPT: FieldValue = FieldValue::from_static("Accept");
        let json = Accept::of(self.request.as_head().fields).prefers_json();
        let form = if json { ListingForm::Json } else { ListingForm::Html };
        let path = self.resolved.as_ref().map_or(&[][..], |resolved| resolved.path());
        let source = self.shared.listings.source(listing, form, path);
        Response::new(Status::OK)
            .with_content(form.media_type(), Body::Source(Box::new(source)))
            .with_field(VARY, ACCEPT)
            .with_field(POLICY, CONTENT_SECURITY_POLICY)
    }
}

/// The form in this coding: the file's own with its tag, or one that is made of the original. `None` if that would not be
/// smaller, or is too large to be decoded, or if the file is no longer what it was.
pub fn made(store: &Store, representation: &Representation, coding: Coding, now_secs: u64) -> Option<Form> {
    match representation.form(coding) {
        Some(form) => hashed(store, form, coding, &representation.common, now_secs),
        None => recoded(representation, coding),
    }
}

fn hashed(store: &Store, form: &Form, coding: Coding, common: &Common, now_secs: u64) -> Option<Form> {
    let FormContent::File(file) = &form.content else { return None };
    let digest = Digest::of_file(file).inspect_err(|error| log::warn!("cannot read a file: {error}")).ok()??;
    store.digests.remember(form.version, digest, now_secs);
    Some(Form::new(coding, form.length, form.content.clone(), form.version, Some(digest.tag(coding)), common))
}

fn recoded(representation: &Representation, coding: Coding) -> Option<Form> {
    let (original_coding, original) = representation.original();
    let recode = |bytes: &[u8]| match coding {
        Coding::Identity => decompress(original_coding, bytes, DECODED_BYTES_MAX),
        coding => compress(coding, bytes),
    };
    let content = match &original.content {
        FormContent::Memory(bytes) => recode(bytes),
        FormContent::File(file) => {
            let bytes = file.read_all(usize::try_from(original.length).ok()?).ok()??;
            let unchanged = file.meta_now().is_ok_and(|meta| meta == original.version);
            if unchanged { recode(&bytes) } else { Ok(None) }
        }
    };
    let warn = |error: &io::Error| log::warn!("{}: cannot recode it: {error}", representation.path.escape_ascii());
    let content: Arc<[u8]> = content.inspect_err(warn).ok()??.into();
    // Of its own bytes: what was decoded has the tag that the file itself would have.
    let (length, etag) = (content.len() as u64, Some(Digest::of_bytes(&content).tag(coding)));
    Some(Form::new(coding, length, FormContent::Memory(content), original.version, etag, &representation.common))
}

impl Exchange for Serving {
    fn respond(mut self: Box<Self>, cx: &mut Cx<'_>) -> Result<Decision, Failure> {
        loop {
            match self.step(cx).unwrap_or_else(|failure| self.failed(&failure, cx)) {
                Next::Progress(progress) => self.progress = progress,
                Next::Respond(mut response) => {
                    self.shared.finish(&mut response, &self.request.as_head(), self.resolved.as_ref());
                    return Ok(Decision::Respond(response));
                }
                Next::Wait => return Ok(Decision::Pending(self, Wait::Job(cx.now + PATIENCE))),
            }
        }
    }
}
