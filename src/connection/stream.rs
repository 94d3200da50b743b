//! One request and its answer, whatever carries it: from the head to the last byte of the response.

use std::collections::VecDeque;
use std::mem;

use super::parts::{Front, Parts};
use super::sink::{Full, Sink};
use crate::base::limits::Limits;
use crate::base::peer::Node;
use crate::http::body::{Body, ContentPart, Failure, Pull, Wait};
use crate::http::exchange::{Breach, Cx, Decision, Exchange, Source, Taker};
use crate::http::fields::FieldSet;
use crate::http::message::Response;
use crate::http::status::Status;
use crate::observe::request_record::RequestRecord;
use crate::observe::timers::Part;
use crate::observe::verdict::Phase;
use crate::protocol::ProtocolError;

/// More content came than the request may have. None of it was announced, or it would not have been asked for.
pub(super) const CONTENT_TOO_LONG: ProtocolError = ProtocolError {
    status: Status::CONTENT_TOO_LARGE,
    reason: "the content is longer than it may be",
    section: "RFC 9110 §15.5.14",
};

/// One request and its answer.
///
/// Begin: [`respond`](Stream::respond), [`decide`](Stream::decide). Then [`produce`](Stream::produce) until it moves
/// nothing, and [`taker`](Stream::taker) whenever content has arrived. [`wait`](Stream::wait) says who moves it next.
#[derive(Default)]
pub(super) struct Stream {
    answer: Answer,
    /// What is known of the request; `None` between two requests.
    pub(super) record: Option<Box<RequestRecord>>,
}

/// Where the answer stands.
#[derive(Default)]
enum Answer {
    /// There is nothing to answer, or the answer is complete.
    #[default]
    Idle,
    /// An exchange has not decided on the response yet.
    Deciding(Box<dyn Exchange>, Wait),
    /// An interim response waits for room; then the exchange is asked again.
    Informing(Box<Interim>),
    /// The response is known and waits for room. In a box, as few do, and an idle connection has no room for it.
    Ready(Box<Response>),
    /// The head is out and the content follows; what it waits for, if it does.
    Sending(Content, Option<Wait>),
    /// All content is out. Its end is not, perhaps with these trailers. This source listens on then.
    Ending(FieldSet, Option<Listener>),
    /// All of the response is out, and its source still takes what the client sends.
    Listening(Listener),
}

struct Interim {
    exchange: Box<dyn Exchange>,
    status: Status,
    fields: FieldSet,
}

/// A source that goes on taking content behind its own end, and what it waits for. It is rare, and in a box, because the size of
/// an idle connection counts.
type Listener = Box<(Box<dyn Source>, Wait)>;

/// Where the response's content comes from.
enum Content {
    /// In a box, because an idle connection has room for none of this and its size counts.
    Parts(Box<Parts>),
    Source(Box<dyn Source>),
}

impl Content {
    /// The content of `body`, unless it is empty.
    fn of(body: Body) -> Option<Content> {
        let parts = |front, rest| Some(Content::Parts(Box::new(Parts::new(front, rest))));
        match body {
            Body::Empty => None,
            Body::Bytes(bytes) => parts(Some(ContentPart::Bytes(bytes)), VecDeque::new()),
            Body::File(part) => parts(Some(ContentPart::File(part)), VecDeque::new()),
            Body::Parts(mut pieces) => parts(pieces.pop_front(), pieces),
            Body::Source(source) => Some(Content::Source(source)),
        }
    }
}

impl Stream {
    /// A request of which this is known.
    pub(super) fn new(record: Box<RequestRecord>) -> Stream {
        Stream { answer: Answer::Idle, record: Some(record) }
    }

    /// The response will be what this exchange decides.
    pub(super) fn decide(&mut self, exchange: Box<dyn Exchange>) {
        if let Some(record) = &mut self.record {
            record.upstream = exchange.upstream();
        }
        self.answer = Answer::Deciding(exchange, Wait::Content);
    }

    /// The response is known: its head goes out now if there is room, and all of it if it is small. Says whether the
    /// head went out; `produce` tries again if it did not.
    ///
    /// `response` is taken apart where it lies: it is large, and most requests come by here.
    #[inline]
    pub(super) fn respond(&mut self, response: &mut Response, out: &mut impl Sink) -> Result<bool, Failure> {
        let content_is_wanted = response.body.taker().is_some();
        match out.room_for_head(response, content_is_wanted) {
            Ok(()) => {}
            Err(Full::Now) => {
                let response = mem::replace(response, Response::new(Status::OK));
                self.answer = Answer::Ready(Box::new(response));
                return Ok(false);
            }
            Err(Full::ForEver) => return Err(Failure::new("the response's head is larger than the outbox")),
        }
        if content_is_wanted {
            // A client that holds its content back would wait for it behind the head as well.
            out.invite_content();
        }
        let head = out.head(response, content_is_wanted, self.record.as_deref());
        if let Some(record) = &mut self.record {
            record.status = Some(response.status);
            record.head_bytes = head.end - head.start;
            record.tx = head.start..head.start;
        }
        if !out.wants_content() {
            return Ok(true);
        }
        // Most answers are small and known: they are complete with their head.
        if let Body::Bytes(bytes) = &response.body
            && out.put_all(bytes.as_slice())
        {
            return Ok(true);
        }
        let content = Content::of(mem::take(&mut response.body));
        self.answer = content.map_or(Answer::Ending(FieldSet::EMPTY, None), |content| Answer::Sending(content, None));
        Ok(true)
    }

    /// The response is known and replaces whatever was to be answered. It goes out with the next `produce`.
    pub(super) fn replace_answer(&mut self, response: Response) {
        self.answer = Answer::Ready(Box::new(response));
    }

    /// Adds more of the response: one step. Says whether it moved anything. `request_complete`: no content is to come.
    ///
    /// # Errors
    /// The handler's failure. What becomes of the request then depends on whether its response has begun.
    pub(super) fn produce(
        &mut self,
        out: &mut impl Sink,
        request_complete: bool,
        cx: &mut Cx<'_>,
    ) -> Result<bool, Failure> {
        match &mut self.answer {
            Answer::Idle => Ok(false),
            Answer::Deciding(..) => self.ask(out, request_complete, cx),
            Answer::Informing(_) => Ok(self.inform(out)),
            Answer::Ready(_) => self.begin_response(out),
            Answer::Sending(Content::Parts(_), _) => self.send_part(out, cx),
            Answer::Sending(Content::Source(_), _) => self.pull(out, request_complete, cx),
            Answer::Ending(..) => self.end(out),
            Answer::Listening(_) => Ok(self.listen(cx)),
        }
    }

    /// Who takes the request's content, if anybody does.
    pub(super) fn taker(&mut self) -> Option<&mut dyn Taker> {
        match &mut self.answer {
            Answer::Deciding(exchange, _) => exchange.taker(),
            Answer::Informing(interim) => interim.exchange.taker(),
            Answer::Ready(response) => response.body.taker(),
            Answer::Sending(Content::Source(source), _) => source.taker(),
            Answer::Ending(_, Some(listener)) | Answer::Listening(listener) => listener.0.taker(),
            Answer::Idle | Answer::Sending(Content::Parts(_), _) | Answer::Ending(_, None) => None,
        }
    }

    /// Whether an exchange has yet to decide, and takes content for that.
    pub(super) fn decides_by_content(&mut self) -> bool {
        match &mut self.answer {
            Answer::Deciding(exchange, _) => exchange.taker().is_some(),
            Answer::Informing(interim) => interim.exchange.taker().is_some(),
            Answer::Idle | Answer::Ready(_) | Answer::Sending(..) | Answer::Ending(..) | Answer::Listening(_) => false,
        }
    }

    /// The client of the request that a trusted proxy has named, if one has.
    pub(super) fn client(&self) -> Option<Node> {
        self.record.as_ref().and_then(|record| record.client)
    }

    /// The limits of the request, if those of all are `limits`.
    pub(super) fn limits<'a>(&'a self, limits: &'a Limits) -> &'a Limits {
        self.record.as_ref().map_or(limits, |record| record.limits(limits))
    }

    /// Whether the head of the response is out, and content follows.
    pub(super) fn is_sending(&self) -> bool {
        matches!(self.answer, Answer::Sending(..))
    }

    /// Whether the response is complete, and its source still takes what the client sends.
    pub(super) fn is_listening(&self) -> bool {
        matches!(self.answer, Answer::Listening(_))
    }

    /// Whether there is nothing to answer.
    pub(super) fn is_idle(&self) -> bool {
        matches!(self.answer, Answer::Idle)
    }

    /// What the response's content waited for may be there: its source is asked again.
    pub(super) fn resume(&mut self) {
        if let Answer::Sending(_, wait) = &mut self.answer {
            *wait = None;
        }
    }

    /// What the answer waits for, if it does.
    pub(super) fn wait(&self) -> Option<Wait> {
        match &self.answer {
            Answer::Deciding(_, wait) => Some(*wait),
            Answer::Sending(_, wait) => *wait,
            Answer::Listening(listener) => Some(listener.1),
            Answer::Idle | Answer::Informing(_) | Answer::Ready(_) | Answer::Ending(..) => None,
        }
    }

    /// What part of the request's time passes while the answer waits, if it does.
    pub(super) fn waiting_part(&self) -> Option<Part> {
        let is_upgrade = || self.record.as_ref().is_some_and(|record| record.is_upgrade());
        Some(match self.wait()? {
            Wait::Until(_) => Part::Clock,
            // When the job gets a thread is known when it is done.
            Wait::Job(_) => Part::JobQueued,
            Wait::Upstream(_) => Part::Upstream,
            Wait::Content if !is_upgrade() => Part::Content,
            Wait::Content | Wait::Idle(_) => Part::Conversation,
        })
    }

    /// What is going on. Of an answer that waits for nothing, a part is on its way.
    pub(super) fn phase(&self) -> Phase {
        let is_upgrade = self.record.as_ref().is_some_and(|record| record.is_upgrade());
        match (&self.answer, self.wait()) {
            (Answer::Listening(_), _) | (Answer::Sending(..), Some(Wait::Idle(_))) => Phase::Conversation,
            (Answer::Sending(..) | Answer::Ending(..), _) if is_upgrade => Phase::Conversation,
            (_, Some(Wait::Content)) => Phase::Content,
            (Answer::Deciding(..) | Answer::Informing(_), _) | (_, Some(_)) => Phase::Handler,
            (_, None) => Phase::Sending,
        }
    }

    /// What was going on when the handler failed. An answer of which nothing `is_out` was still the handler's work.
    pub(super) fn phase_of_fault(&self, is_out: bool) -> Phase {
        match self.phase() {
            Phase::Sending if !is_out => Phase::Handler,
            phase => phase,
        }
    }

    /// Tells the source of the answer whether some of what it has given is still to be sent: `is_unsent`, or it has no head yet.
    pub(super) fn note_unsent(&mut self, is_unsent: bool) {
        match &mut self.answer {
            Answer::Ready(response) => {
                if let Body::Source(source) = &mut response.body {
                    source.note_unsent(true);
                }
            }
            Answer::Sending(Content::Source(source), _) => source.note_unsent(is_unsent),
            Answer::Ending(_, Some(listener)) | Answer::Listening(listener) => listener.0.note_unsent(is_unsent),
            Answer::Idle | Answer::Deciding(..) | Answer::Informing(_) => {}
            Answer::Sending(Content::Parts(_), _) | Answer::Ending(_, None) => {}
        }
    }

    /// How the conversation was broken off, if that has not been told yet.
    pub(super) fn take_breach(&mut self) -> Option<Breach> {
        self.record.as_mut()?.breach.take()
    }

    /// Whether the client's end is the end of the answer, because that is still worked at; `always`: whoever does. What is there
    /// is sent, and the directions of another protocol end each by itself.
    pub(super) fn ends_with_client(&self, always: bool) -> bool {
        let is_upgrade = || self.record.as_ref().is_some_and(|record| record.is_upgrade());
        match &self.answer {
            Answer::Deciding(exchange, _) => always || exchange.ends_with_client(),
            Answer::Informing(interim) => always || interim.exchange.ends_with_client(),
            Answer::Sending(Content::Source(source), Some(_)) => (always || source.ends_with_client()) && !is_upgrade(),
            Answer::Idle | Answer::Ready(_) | Answer::Sending(..) | Answer::Ending(..) | Answer::Listening(_) => false,
        }
    }

    /// The client takes nothing more. Says whether what it has sent is still of use: then its source listens.
    pub(super) fn outlives_output(&mut self) -> bool {
        let lives_on = match &mut self.answer {
            Answer::Sending(Content::Source(source), _) => source.outlives_output(),
            Answer::Ending(_, Some(listener)) | Answer::Listening(listener) => listener.0.outlives_output(),
            _ => false,
        };
        if lives_on {
            self.answer = match mem::take(&mut self.answer) {
                // It is asked in this drive what it waits for.
                Answer::Sending(Content::Source(source), _) => Answer::Listening(Box::new((source, Wait::Content))),
                Answer::Ending(_, Some(listener)) => Answer::Listening(listener),
                answer => answer,
            };
        }
        lives_on
    }

    /// Drops the answer: nobody waits for it any more.
    pub(super) fn abandon(&mut self) {
        self.answer = Answer::Idle;
    }

    /// Notes in the record how a conversation stands that ends with its connection.
    pub(super) fn note_farewell(&mut self) {
        let source = match &self.answer {
            Answer::Sending(Content::Source(source), _) => Some(source),
            Answer::Listening(listener) => Some(&listener.0),
            _ => None,
        };
        if let Some(source) = source
            && let Some(record) = self.record.as_mut().filter(|record| record.is_upgrade())
        {
            record.farewell = source.farewell().map(String::into_boxed_str);
        }
    }

    fn ask(&mut self, out: &mut impl Sink, request_complete: bool, cx: &mut Cx<'_>) -> Result<bool, Failure> {
        let Answer::Deciding(exchange, _) = mem::take(&mut self.answer) else { return Ok(false) };
        match exchange.respond(cx)? {
            Decision::Respond(response) => {
                if let Some(record) = &mut self.record {
                    record.note_upstream_failure(Phase::Handler, cx.moment);
                }
                self.answer = Answer::Ready(Box::new(response));
                Ok(true)
            }
            Decision::Interim(exchange, status, fields) => {
                self.answer = Answer::Informing(Box::new(Interim { exchange, status, fields }));
                Ok(true)
            }
            Decision::Upgrade(tunnel) => {
                self.answer = Answer::Ready(Box::new(out.tunnel(tunnel)));
                Ok(true)
            }
            Decision::Pending(mut exchange, wait) => {
                let waits_for_content = wait == Wait::Content;
                if waits_for_content && request_complete {
                    return Err(Failure::new("waits for content that has ended"));
                }
                if waits_for_content && exchange.taker().is_none() {
                    return Err(Failure::new("waits for content that it does not take"));
                }
                // One that had to be allowed first, and then asks an upstream, knows it only now.
                if let Some(record) = self.record.as_mut().filter(|record| record.upstream.is_none()) {
                    record.upstream = exchange.upstream();
                }
                self.answer = Answer::Deciding(exchange, wait);
                Ok(waits_for_content && out.invite_content())
            }
        }
    }

    fn inform(&mut self, out: &mut impl Sink) -> bool {
        let Answer::Informing(interim) = mem::take(&mut self.answer) else { return false };
        let informed = out.interim(interim.status, &interim.fields);
        self.answer = match informed {
            true => Answer::Deciding(interim.exchange, Wait::Content),
            false => Answer::Informing(interim),
        };
        informed
    }

    fn begin_response(&mut self, out: &mut impl Sink) -> Result<bool, Failure> {
        let Answer::Ready(mut response) = mem::take(&mut self.answer) else { return Ok(false) };
        self.respond(&mut response, out)
    }

    /// Sends the next part of content that is there: bytes go through the outbox, a file goes past it where that is possible.
    fn send_part(&mut self, out: &mut impl Sink, cx: &mut Cx<'_>) -> Result<bool, Failure> {
        let Answer::Sending(Content::Parts(parts), wait) = &mut self.answer else { return Ok(false) };
        *wait = None;
        if !out.takes_files() && parts.begin_with_file() {
            let Some(mut room) = out.room() else { return Ok(false) };
            let cold = parts.copy_file(&mut room, cx)?;
            *wait = cold.map(Wait::Job);
            let written = room.written();
            out.seal(written);
            return Ok(written > 0);
        }
        match parts.front(cx, &mut out.syscalls().residency)? {
            Front::File(part) => out.file(part, parts.is_bulk()),
            Front::Cold(until) => {
                *wait = Some(Wait::Job(until));
                return Ok(false);
            }
            Front::Bytes => {
                let Some(mut room) = out.room() else { return Ok(false) };
                parts.put(&mut room);
                let written = room.written();
                out.seal(written);
            }
            Front::Nothing => self.answer = Answer::Ending(FieldSet::EMPTY, None),
        }
        Ok(true)
    }

    /// Content is produced only here, and only while there is room for it.
    fn pull(&mut self, out: &mut impl Sink, request_complete: bool, cx: &mut Cx<'_>) -> Result<bool, Failure> {
        let Answer::Sending(Content::Source(source), wait) = &mut self.answer else { return Ok(false) };
        if out.has_all_content() {
            self.answer = Answer::Ending(FieldSet::EMPTY, None);
            return Ok(true);
        }
        let Some(mut room) = out.room() else { return Ok(false) };
        let pulled = source.pull(&mut room, cx);
        let (written, full) = (room.written(), room.is_full());
        out.seal(written);
        *wait = None;
        if let (Err(_), Some(record)) = (&pulled, &mut self.record) {
            record.note_upstream_failure(Phase::Sending, cx.moment);
        }
        match pulled? {
            Pull::End => {
                let trailers = source.trailers().unwrap_or_default();
                let listens = source.listens(cx);
                if listens.is_none() {
                    note_end(&mut self.record, source.as_ref());
                }
                let Answer::Sending(Content::Source(source), _) = mem::take(&mut self.answer) else { return Ok(false) };
                self.answer = Answer::Ending(trailers, listens.map(|wait| Box::new((source, wait))));
                self.end(out)?;
            }
            Pull::More if written == 0 && !full => {
                return Err(Failure::new("a source promised more content and gave none"));
            }
            Pull::More => {}
            Pull::Pending(Wait::Content) if request_complete => {
                return Err(Failure::new("a source waits for content that has ended"));
            }
            Pull::Pending(until) => {
                *wait = Some(until);
                return Ok(written > 0);
            }
        }
        Ok(true)
    }

    /// Asks a source behind its end whether it still takes content. Says whether it has stopped.
    fn listen(&mut self, cx: &mut Cx<'_>) -> bool {
        let Answer::Listening(listener) = &mut self.answer else { return false };
        let (source, wait) = &mut **listener;
        if let Some(until) = source.listens(cx) {
            *wait = until;
            return false;
        }
        note_end(&mut self.record, source.as_ref());
        self.answer = Answer::Idle;
        true
    }

    fn end(&mut self, out: &mut impl Sink) -> Result<bool, Failure> {
        let Answer::Ending(trailers, listener) = &mut self.answer else { return Ok(false) };
        match out.finish(trailers) {
            Ok(finished) => {
                if finished {
                    self.answer = listener.take().map_or(Answer::Idle, Answer::Listening);
                }
                Ok(finished)
            }
            Err(short) => Err(Failure::new(format_args!("its content is {} bytes short", short.missing))),
        }
    }
}

/// Notes how a conversation has ended, if the content of this source was one.
fn note_end(record: &mut Option<Box<RequestRecord>>, source: &dyn Source) {
    if let Some(record) = record.as_mut().filter(|record| record.is_upgrade()) {
        record.farewell = source.farewell().map(String::into_boxed_str);
        record.breach = source.breach();
    }
}
