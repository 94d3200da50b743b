//! The request being answered: from its head to the last byte of its response.

use log::Level;

use super::pieces::{Front, Pieces, Reader};
use super::{Connection, Life, Worker};
use crate::base::ring::Room;
use crate::http::body::{Body, Failure, Piece, Pull, Source, Wait};
use crate::http::message::{Announced, Response};
use crate::http::status::Status;
use crate::net::Socket;
use crate::observe::close_reason::CloseReason;
use crate::protocol::ProtocolError;
use crate::protocol::h1::server::{Receiving, Sending, Step};
use crate::service::{Cx, Decision, Exchange, Reply, Service, errors};

/// Where the answer to the current request stands.
pub(super) enum Work {
    /// There is nothing to answer, or the answer is complete.
    Idle,
    /// An exchange has not decided on its response yet.
    Deciding(Box<dyn Exchange>, Wait),
    /// The response is known, its head is not encoded yet.
    Answering(Box<Answer>),
    /// The head is out and the content follows; what it waits for, if it does.
    Sending(Content, Option<Wait>),
    /// All content is out, its framing is not closed yet.
    Ending,
}

/// A response that has to wait: for the rest of its request, or for room. In a box, as few do, and an idle connection has
/// no room for it.
pub(super) struct Answer {
    response: Response,
    /// Goes on only as the response's body.
    exchange: Option<Box<dyn Exchange>>,
}

/// Where the response's content comes from.
pub(super) enum Content {
    /// In a box, because an idle connection has room for none of this and its size counts.
    Pieces(Box<Pieces>),
    Source(Box<dyn Source>),
    Exchange(Box<dyn Exchange>),
}

impl Work {
    pub(super) fn is_idle(&self) -> bool {
        matches!(self, Work::Idle)
    }

    /// What the answer waits for, if it does.
    pub(super) fn wait(&self) -> Option<Wait> {
        match self {
            Work::Deciding(_, wait) => Some(*wait),
            Work::Sending(_, wait) => *wait,
            Work::Idle | Work::Answering(..) | Work::Ending => None,
        }
    }

    /// When the answer wants to be asked again.
    pub(super) fn timer(&self) -> Option<std::time::Instant> {
        self.wait().and_then(Wait::until)
    }

    fn answering(response: Response, exchange: Option<Box<dyn Exchange>>) -> Work {
        Work::Answering(Box::new(Answer { response, exchange }))
    }

    /// The exchange that takes the request's content, if anybody wants it.
    fn taker(&mut self) -> Option<&mut Box<dyn Exchange>> {
        match self {
            Work::Deciding(exchange, _) | Work::Sending(Content::Exchange(exchange), _) => Some(exchange),
            Work::Answering(answer) => answer.exchange.as_mut(),
            _ => None,
        }
    }
}

impl Content {
    /// The content of `body`, unless it is empty.
    fn new(body: Body, exchange: Option<Box<dyn Exchange>>) -> Option<Content> {
        match body {
            Body::Empty => None,
            Body::Bytes(bytes) => Some(Content::piece(Piece::Bytes(bytes))),
            Body::File(part) => Some(Content::piece(Piece::File(part))),
            Body::Pieces(pieces) => Some(Content::Pieces(Box::new(Pieces::new(pieces)))),
            Body::Source(source) => Some(Content::Source(source)),
            Body::Exchange(_) => exchange.map(Content::Exchange),
        }
    }

    fn piece(piece: Piece) -> Content {
        Content::Pieces(Box::new(Pieces::new([piece].into())))
    }

    fn pull(&mut self, room: &mut Room<'_>, cx: &mut Cx<'_>) -> Result<Pull, Failure> {
        match self {
            Content::Pieces(pieces) => {
                pieces.put(room);
                Ok(Pull::More)
            }
            Content::Source(source) => source.pull(room, cx.now),
            Content::Exchange(exchange) => exchange.pull(room, cx),
        }
    }
}

impl<S: Socket> Connection<S> {
    /// Inbox → protocol → exchange: one step. Says whether it moved anything.
    pub(super) fn receive<V: Service>(&mut self, worker: &mut Worker<V>) -> bool {
        if self.receiving_stopped || self.protocol.has_received_all() {
            return false;
        }
        let input_ended = self.channel.input_ended();
        let Some(inbox) = &mut self.channel.inbox else { return false };
        if inbox.is_empty() && self.protocol.receiving() == Receiving::Idle && !input_ended {
            // Between two requests there is nothing to look at; most drives come by here once.
            return false;
        }
        let began = self.waiting.head_began();
        match self.protocol.receive(inbox, &mut worker.scratch, &worker.around.limits) {
            Ok(Step::Head(request)) => {
                worker.marks.connection(self.id, |text| {
                    let target = request.target.raw.escape_ascii();
                    write!(text, "r={} head {} {target}", self.ordinal + 1, request.method);
                });
                let record = self.records.open(&mut worker.records, worker.moment);
                record.note_head(&request, worker.notes_fields);
                let mut cx = worker.around.cx(self.token, self.channel.peer, self.role);
                let reply = worker.service.call(&request, &mut cx);
                let head_bytes = self.protocol.release(inbox) as u64;
                let end = self.channel.received - inbox.len() as u64;
                record.began = began.unwrap_or(worker.moment);
                (record.rx, record.ordinal) = (end - head_bytes..end, self.ordinal + 1);
                self.on_reply(reply, worker);
                true
            }
            Ok(Step::Content(n)) => self.take_content(n, worker),
            Ok(Step::End(trailers)) => {
                let ended = self.work.taker().map_or(Ok(()), |exchange| {
                    exchange.end(trailers, &mut worker.around.cx(self.token, self.channel.peer, self.role))
                });
                self.protocol.release(inbox);
                self.end_rx();
                self.fail_on(ended, worker);
                true
            }
            Ok(Step::NeedBytes) => self.channel.input_ended() && self.on_eof(worker),
            Ok(Step::Paused) => false,
            Err(error) => self.on_protocol_error(error, worker),
        }
    }

    fn on_reply<V>(&mut self, reply: Result<Reply, Failure>, worker: &mut Worker<V>) {
        match reply {
            Ok(Reply::Respond(response)) if self.can_answer_at_once(response.head_bytes_max(), worker) => {
                self.send_head(response, None, worker);
            }
            Ok(Reply::Respond(response)) => self.work = Work::answering(response, None),
            Ok(Reply::Converse(exchange)) => self.work = Work::Deciding(exchange, Wait::Content),
            Ok(Reply::Upgrade(response, exchange)) => {
                self.protocol.upgrade();
                self.work = Work::answering(response, Some(exchange));
            }
            Err(failure) => self.fail(&failure, worker),
        }
    }

    /// Whether a response need not be kept until the rest of its request has been received, or until there is room for
    /// its head.
    fn can_answer_at_once<V>(&mut self, head_bytes_max: usize, worker: &mut Worker<V>) -> bool {
        self.protocol.content_to_come() == Announced::Nothing
            && !self.channel.outbox.ends_in_file()
            && self.channel.outbox.ring(&mut worker.outboxes).free() >= head_bytes_max
    }

    /// Offers `n` bytes of content at the front of the inbox to whoever wants them; content that nobody wants is
    /// thrown away.
    fn take_content<V>(&mut self, n: usize, worker: &mut Worker<V>) -> bool {
        let Some(inbox) = &mut self.channel.inbox else { return false };
        let Some(exchange) = self.work.taker() else {
            self.protocol.taken(inbox, n);
            return true;
        };
        let front = inbox.readable()[0];
        match exchange
            .take(&front[..n.min(front.len())], &mut worker.around.cx(self.token, self.channel.peer, self.role))
        {
            Ok(taken) => {
                self.protocol.taken(inbox, taken);
                taken > 0
            }
            Err(failure) => {
                self.fail(&failure, worker);
                true
            }
        }
    }

    /// The input has ended and the protocol needs more of it.
    fn on_eof<V>(&mut self, worker: &mut Worker<V>) -> bool {
        match self.protocol.on_eof() {
            Ok(more) => more,
            Err(error) => self.on_protocol_error(error, worker),
        }
    }

    fn on_protocol_error<V>(&mut self, error: ProtocolError, worker: &mut Worker<V>) -> bool {
        if self.may_still_answer() {
            self.refuse(worker, error.status, error.reason, error.section);
        } else if self.has_answered() {
            worker.complain(Level::Info, format_args!("{}: closed after the response: {error}", self.channel.peer));
            self.receiving_stopped = true;
        } else {
            worker
                .complain(Level::Info, format_args!("{}: cut in the middle of a response: {error}", self.channel.peer));
            self.cut_short();
        }
        true
    }

    /// Whether the response is complete while its request is not. Whatever becomes of the rest of the request, the
    /// response must arrive: the connection ends in order and not with a reset.
    pub(super) fn has_answered(&self) -> bool {
        self.protocol.sending() == Sending::Done && self.life == Life::Serving
    }

    /// Whether nothing of a final response is out yet, so that another one can take its place.
    pub(super) fn may_still_answer(&self) -> bool {
        self.protocol.sending() == Sending::Idle && self.life == Life::Serving && !self.receiving_stopped
    }

    /// Answers with an error that ends the connection.
    pub(super) fn refuse<V>(&mut self, worker: &mut Worker<V>, status: Status, reason: &str, section: &str) {
        worker.complain(Level::Info, format_args!("{}: {status}: {reason} ({section})", self.channel.peer));
        self.receiving_stopped = true;
        self.open_record_of_refused(worker);
        self.work = Work::answering(errors::refuse(status, reason, section), None);
    }

    /// Also what could not be understood as a request is one in the books.
    fn open_record_of_refused<V>(&mut self, worker: &mut Worker<V>) {
        let received = self.channel.received();
        if let Some(record) = self.records.current_mut() {
            record.rx.end = received;
        } else {
            let record = self.records.open(&mut worker.records, worker.moment);
            record.began = self.waiting.head_began().unwrap_or(worker.moment);
            record.rx = received - self.channel.inbox_len() as u64..received;
            record.ordinal = self.ordinal + 1;
        }
    }

    fn fail_on<V>(&mut self, result: Result<(), Failure>, worker: &mut Worker<V>) {
        if let Err(failure) = result {
            self.fail(&failure, worker);
        }
    }

    /// The handler failed: a 500 if nothing of its response is out yet, otherwise the connection is cut.
    pub(super) fn fail<V>(&mut self, failure: &Failure, worker: &mut Worker<V>) {
        worker.complain(Level::Error, format_args!("{}: handler failed: {failure}", self.channel.peer));
        if self.protocol.sending() == Sending::Idle {
            self.work = Work::answering(errors::internal_error(), None);
        } else {
            worker.complain(Level::Info, format_args!("{}: cut in the middle of a response", self.channel.peer));
            self.cut_short();
        }
    }

    /// Half an answer must not look like a whole one: not even the end of the stream is sent.
    fn cut_short(&mut self) {
        self.channel.abort_on_close();
        self.close(CloseReason::CutShort);
    }

    /// Exchange → protocol → outbox: one step. Says whether it moved anything.
    pub(super) fn produce<V>(&mut self, worker: &mut Worker<V>) -> bool {
        match &self.work {
            Work::Idle => self.complete_request(),
            // Whatever comes next would overtake it.
            _ if self.channel.outbox.ends_in_file() => false,
            Work::Deciding(..) => self.decide(worker),
            Work::Answering(answer) => {
                let head_bytes_max = answer.response.head_bytes_max();
                self.answer(head_bytes_max, worker)
            }
            Work::Sending(Content::Pieces(_), _) => self.send_piece(worker),
            Work::Sending(..) => self.pull(worker),
            Work::Ending => self.end(worker),
        }
    }

    /// When request and response are both complete, the next request may come.
    fn complete_request(&mut self) -> bool {
        let completed = self.protocol.cycle();
        if completed {
            self.complete_record();
            self.ordinal += 1;
        }
        completed
    }

    /// The whole response is in the outbox, or has left.
    pub(super) fn complete_record(&mut self) {
        self.end_rx();
        if let Some(record) = self.records.current_mut() {
            record.tx.end = self.channel.sent() + self.channel.outbox.len();
            self.records.complete();
        }
    }

    /// Whatever the client sent so far belongs to this request: content that did not end before the connection did, and
    /// all that was said after an upgrade. Only behind a request that is complete there may be others.
    pub(super) fn end_rx(&mut self) {
        let others = if self.protocol.receiving() == Receiving::Content { 0 } else { self.channel.inbox_len() };
        let end = self.channel.received() - others as u64;
        if let Some(record) = self.records.current_mut() {
            record.rx.end = record.rx.end.max(end);
        }
    }

    fn decide<V>(&mut self, worker: &mut Worker<V>) -> bool {
        if self.protocol.expects_continue() && !self.invite_content(worker) {
            return false;
        }
        let content_ended = self.protocol.receiving() == Receiving::Done;
        let Work::Deciding(exchange, wait) = &mut self.work else { return false };
        match exchange.respond(&mut worker.around.cx(self.token, self.channel.peer, self.role)) {
            Ok(Decision::Pending(Wait::Content)) if content_ended => {
                self.fail(&Failure::new("waits for content that has ended"), worker);
                true
            }
            Ok(Decision::Pending(next)) => {
                *wait = next;
                false
            }
            Ok(Decision::Respond(response)) => {
                self.on_decision(response);
                true
            }
            Err(failure) => {
                self.fail(&failure, worker);
                true
            }
        }
    }

    fn on_decision(&mut self, response: Response) {
        let Work::Deciding(exchange, _) = std::mem::replace(&mut self.work, Work::Idle) else { return };
        let exchange = matches!(response.body, Body::Exchange(_)).then_some(exchange);
        self.work = Work::answering(response, exchange);
    }

    /// The exchange wants the content that the client holds back: tells it to go on (RFC 9110 §10.1.1).
    fn invite_content<V>(&mut self, worker: &mut Worker<V>) -> bool {
        let outbox = self.channel.outbox.ring(&mut worker.outboxes);
        self.protocol.send_continue(outbox)
    }

    /// Encodes the response's head, as soon as there is room for the whole of it.
    fn answer<V>(&mut self, head_bytes_max: usize, worker: &mut Worker<V>) -> bool {
        let outbox = self.channel.outbox.ring(&mut worker.outboxes);
        if outbox.free() < head_bytes_max && !outbox.is_empty() {
            return false;
        }
        if outbox.capacity() < head_bytes_max {
            self.fail(&Failure::new("the response's head is larger than the outbox"), worker);
            return true;
        }
        let Work::Answering(answer) = std::mem::replace(&mut self.work, Work::Idle) else { return false };
        self.send_head(answer.response, answer.exchange, worker);
        true
    }

    fn send_head<V>(&mut self, response: Response, exchange: Option<Box<dyn Exchange>>, worker: &mut Worker<V>) {
        let last = self.is_last(exchange.is_some(), worker);
        worker.head.clear();
        worker.marks.connection(self.id, |text| write!(text, "r={} respond {}", self.ordinal + 1, response.status));
        let could_persist = self.protocol.persists();
        self.protocol.send_head(&response, response.body.length(), last, &worker.around.date, &mut worker.head);
        self.ends_unasked = could_persist && !self.protocol.persists();
        if let Some(record) = self.records.current_mut() {
            let start = self.channel.sent() + self.channel.outbox.len();
            (record.status, record.tx, record.head_bytes) =
                (Some(response.status), start..start, worker.head.len() as u64);
        }
        let outbox = self.channel.outbox.ring(&mut worker.outboxes);
        let fitted = outbox.put(&worker.head);
        debug_assert_eq!(fitted, worker.head.len(), "room for the head was made sure of");
        if self.protocol.sending() != Sending::Content {
            return;
        }
        match response.body {
            // Most answers are small and known: they are complete with their head.
            Body::Bytes(bytes) if self.protocol.put_all(outbox, bytes.as_slice()) => {}
            body => {
                let content = Content::new(body, exchange);
                self.work = content.map_or(Work::Ending, |content| Work::Sending(content, None));
            }
        }
    }

    /// Whether the connection cannot be used after this response: we are stopping, the request was refused, or too
    /// much content is still to come that nobody wants, if it comes at all.
    fn is_last<V>(&self, content_is_wanted: bool, worker: &Worker<V>) -> bool {
        let content_is_too_much = match self.protocol.content_to_come() {
            Announced::Nothing => false,
            Announced::Length(n) => n > worker.around.limits.discarded_bytes_max || self.protocol.expects_continue(),
            Announced::Unknown => true,
        };
        worker.around.draining.is_some() || self.receiving_stopped || (content_is_too_much && !content_is_wanted)
    }

    /// Sends the next piece: bytes are pulled like all other content, a file goes past the ring.
    fn send_piece<V>(&mut self, worker: &mut Worker<V>) -> bool {
        let Work::Sending(Content::Pieces(pieces), wait) = &mut self.work else { return false };
        let reader = Reader {
            jobs: &worker.around.jobs,
            waker: worker.around.wakes.waker(self.token),
            residency: &mut worker.stats.syscalls.residency,
        };
        match pieces.front(reader, worker.around.now) {
            Ok(Front::File(part)) => {
                *wait = None;
                self.channel.hold_unsent(pieces.is_bulk(), &mut worker.stats.syscalls);
                self.protocol.pass_by(part.length);
                self.channel.outbox.add_file(part);
                true
            }
            Ok(Front::Cold(until)) => {
                *wait = Some(Wait::Job(until));
                false
            }
            Ok(Front::Bytes | Front::Nothing) => self.pull(worker),
            Err(failure) => {
                self.fail(&failure, worker);
                true
            }
        }
    }

    /// Content is produced only here, and only while there is room for it.
    fn pull<V>(&mut self, worker: &mut Worker<V>) -> bool {
        if self.protocol.has_all_content() {
            self.work = Work::Ending;
            return true;
        }
        let content_ended = self.protocol.receiving() == Receiving::Done;
        let outbox = self.channel.outbox.ring(&mut worker.outboxes);
        let Some(mut room) = self.protocol.room(outbox) else { return false };
        let Work::Sending(content, wait) = &mut self.work else { return false };
        let pulled = content.pull(&mut room, &mut worker.around.cx(self.token, self.channel.peer, self.role));
        let (written, full) = (room.written(), room.is_full());
        self.protocol.seal(outbox, written);
        *wait = None;
        match pulled {
            Ok(Pull::End) => {
                self.work = Work::Ending;
                self.end(worker);
            }
            Ok(Pull::More) if written == 0 && !full => {
                self.fail(&Failure::new("a source promised more content and gave none"), worker);
            }
            Ok(Pull::Pending(Wait::Content)) if content_ended => {
                self.fail(&Failure::new("a source waits for content that has ended"), worker);
            }
            Ok(Pull::More) => {}
            Ok(Pull::Pending(until)) => {
                *wait = Some(until);
                return written > 0;
            }
            Err(failure) => self.fail(&failure, worker),
        }
        true
    }

    fn end<V>(&mut self, worker: &mut Worker<V>) -> bool {
        let outbox = self.channel.outbox.ring(&mut worker.outboxes);
        match self.protocol.finish(outbox) {
            Ok(finished) => {
                if finished {
                    self.work = Work::Idle;
                }
                finished
            }
            Err(short) => {
                let failure = Failure::new(format_args!("its content is {} bytes short", short.missing));
                self.fail(&failure, worker);
                true
            }
        }
    }
}
