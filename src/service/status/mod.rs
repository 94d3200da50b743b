//! The admin listener's answers: what the server does just now, and why anything waits.

mod accept_queues;
mod ask;
mod capture;
pub mod connections;
mod durations;
mod events;
mod findings;
mod health;
mod inspect;
pub mod inspection_queue;
mod jobs;
mod local_name;
pub mod metrics;
mod now;
mod page;
mod reload;
mod turn;
pub mod upstreams;

use std::rc::Rc;
use std::sync::Arc;

pub use health::health;

use crate::observe::report::{KernelReport, KernelTopic};
use capture::Capture;
use events::Events;
use inspect::{Format, Inspection, Shown};
use inspection_queue::{AnswerSlot, Asked, InspectionQueue};
use local_name::Names;
use reload::Reload;

use super::Service;
use super::event_stream::event_stream;
use super::router::{Handler, Params, Router};
use crate::base::peer::Peer;
use crate::http::body::{Body, Failure};
use crate::http::exchange::{Cx, Reply};
use crate::http::fields::{CACHE_CONTROL, FieldValue};
use crate::http::media_type::TEXT_UTF8;
use crate::http::message::{RequestHead, Response};
use crate::http::negotiate::Accept;
use crate::http::status::Status;

const NO_STORE: FieldValue = FieldValue::from_static("no-store");

/// Connections that are listed unless the request says otherwise, and at most.
const LISTED: usize = 100;
const LISTED_MAX: usize = 1000;

/// Asks the kernel about the server's sockets; may block.
pub type AskKernel = Arc<dyn Fn(&KernelTopic) -> KernelReport + Send + Sync>;

/// Everything that the admin listener serves. Clones are the same.
#[derive(Clone)]
pub struct Admin {
    router: Rc<Router>,
    /// Which hosts requests over TCP may name: see [`local_name`].
    names: Names,
}

impl Service for Admin {
    fn call(&mut self, request: &RequestHead<'_>, cx: &mut Cx<'_>) -> Result<Reply, Failure> {
        self.respond_to(request, cx)
    }
}

impl Admin {
    /// The same for a route. `is_protected`: no web page can have a browser ask it under a name of the page's own, because the
    /// route's site has only hosts that are written for it, or because the route asks for credentials, which a browser sends
    /// only to the host for which they were given.
    pub fn for_route(&self, is_protected: bool) -> Admin {
        let names = if is_protected { Names::All } else { Names::Addresses };
        Admin { router: Rc::clone(&self.router), names }
    }

    /// Decides what becomes of this request.
    pub fn respond_to(&self, request: &RequestHead<'_>, cx: &mut Cx<'_>) -> Result<Reply, Failure> {
        // The peer and not whom it names: the names of this machine protect its browsers.
        match cx.peer {
            Peer::Ip(_) if !self.names.fit(request) => Ok(Reply::Respond(self.names.refusal())),
            _ => self.router.respond_to(request, cx),
        }
    }
}

/// The admin's pages. Their questions about the loop are left in `inspections`.
pub fn service(inspections: &Rc<InspectionQueue>, ask_kernel: &AskKernel) -> Admin {
    Admin { router: Rc::new(router(inspections, ask_kernel)), names: Names::ThisMachine }
}

fn router(inspections: &Rc<InspectionQueue>, ask_kernel: &AskKernel) -> Router {
    let (events_inspections, events_kernel) = (Rc::clone(inspections), Arc::clone(ask_kernel));
    let events = move |_: &RequestHead<'_>, _: &Params<'_>, cx: &mut Cx<'_>| -> Result<Reply, Failure> {
        let events = Events::new(Rc::clone(&events_inspections), Arc::clone(&events_kernel), cx.now);
        Ok(Reply::Respond(event_stream(Body::Source(Box::new(events)))))
    };
    health(Router::new())
        .get("/", page::page(inspections, ask_kernel))
        .get("/now", inspect(inspections, ask_kernel, |_, answer| Asked::Overview(answer)))
        .get(
            "/connections",
            inspect(inspections, ask_kernel, |request, answer| Asked::Connections(limit(request), answer)),
        )
        .get("/metrics", inspect(inspections, ask_kernel, |_, answer| Asked::Metrics(answer)))
        .get("/loop", inspect(inspections, ask_kernel, |_, answer| Asked::Loop(answer)))
        .get("/upstreams", inspect(inspections, ask_kernel, |_, answer| Asked::Upstreams(answer)))
        .get("/ask", ask_about(inspections, ask_kernel))
        .get("/events", events)
        .get("/capture", capture_of(inspections))
        .post("/reload", reload(inspections))
}

/// Answers with what is known of a connection or a request.
fn ask_about(inspections: &Rc<InspectionQueue>, ask_kernel: &AskKernel) -> impl Handler + use<> {
    let (inspections, ask_kernel) = (Rc::clone(inspections), Arc::clone(ask_kernel));
    move |request: &RequestHead<'_>, _: &Params<'_>, cx: &mut Cx<'_>| -> Result<Reply, Failure> {
        let Some(subject) = ask::subject(&request.target) else {
            let expected = Body::from_static(ask::EXPECTED.as_bytes());
            return Ok(Reply::Respond(fresh(Status::BAD_REQUEST, TEXT_UTF8, expected)));
        };
        let question = inspections.ask(cx.local_waker(), |answer| Asked::Subject(subject, answer));
        Ok(Reply::Decide(Box::new(Inspection::new(question, format(request), Arc::clone(&ask_kernel)))))
    }
}

/// Answers with what a connection reads and writes from now on.
fn capture_of(inspections: &Rc<InspectionQueue>) -> impl Handler + use<> {
    let inspections = Rc::clone(inspections);
    move |request: &RequestHead<'_>, _: &Params<'_>, cx: &mut Cx<'_>| -> Result<Reply, Failure> {
        if is_of_another_site(request) {
            let refused = Body::from_static(b"a page of another site may not begin a capture\n");
            return Ok(Reply::Respond(fresh(Status::FORBIDDEN, TEXT_UTF8, refused)));
        }
        let Some(order) = capture::order(&request.target) else {
            let expected = Body::from_static(capture::EXPECTED.as_bytes());
            return Ok(Reply::Respond(fresh(Status::BAD_REQUEST, TEXT_UTF8, expected)));
        };
        let question = inspections.ask(cx.local_waker(), |answer| Asked::Capture(order, answer));
        Ok(Reply::Decide(Box::new(Capture::new(order, question))))
    }
}

/// Has the configuration read again, and answers with what came of it.
fn reload(inspections: &Rc<InspectionQueue>) -> impl Handler + use<> {
    let inspections = Rc::clone(inspections);
    move |request: &RequestHead<'_>, _: &Params<'_>, cx: &mut Cx<'_>| -> Result<Reply, Failure> {
        if is_of_another_site(request) {
            let refused = Body::from_static(b"a page of another site may not have the configuration read again\n");
            return Ok(Reply::Respond(fresh(Status::FORBIDDEN, TEXT_UTF8, refused)));
        }
        Ok(Reply::Decide(Box::new(Reload(inspections.ask(cx.local_waker(), Asked::Reload)))))
    }
}

/// Answers with the report on a topic, and what the kernel has to add to it.
fn inspect<R: Shown + 'static>(
    inspections: &Rc<InspectionQueue>,
    ask_kernel: &AskKernel,
    topic: fn(&RequestHead<'_>, AnswerSlot<R>) -> Asked,
) -> impl Handler + use<R> {
    let (inspections, ask_kernel) = (Rc::clone(inspections), Arc::clone(ask_kernel));
    move |request: &RequestHead<'_>, _: &Params<'_>, cx: &mut Cx<'_>| -> Result<Reply, Failure> {
        let question = inspections.ask(cx.local_waker(), |answer| topic(request, answer));
        Ok(Reply::Decide(Box::new(Inspection::new(question, format(request), Arc::clone(&ask_kernel)))))
    }
}

/// An answer about this moment: nobody is to keep it.
fn fresh(status: Status, content_type: FieldValue, content: Body) -> Response {
    Response::new(status).with_content(content_type, content).with_field(CACHE_CONTROL, NO_STORE)
}

/// Whether a browser says that a page of another site has made it ask (Fetch Metadata): that page could not read the answer, but
/// it could take what there are few of.
fn is_of_another_site(request: &RequestHead<'_>) -> bool {
    request.fields.first("Sec-Fetch-Site").is_some_and(|site| !matches!(site, b"same-origin" | b"none"))
}

/// `?limit=N`.
fn limit(request: &RequestHead<'_>) -> usize {
    let given = request.target.query_parameter("limit").and_then(|value| std::str::from_utf8(value).ok()?.parse().ok());
    given.unwrap_or(LISTED as u64).min(LISTED_MAX as u64) as usize
}

/// JSON for programs that ask for it, in the query or by Accept; text for everyone else.
fn format(request: &RequestHead<'_>) -> Format {
    match request.target.query_parameter("format") {
        Some(b"json") => Format::Json,
        Some(_) => Format::Text,
        None if Accept::of(request.fields).prefers_json() => Format::Json,
        None => Format::Text,
    }
}
