//! A server around the session of HTTP/2, as short as it can be: it serves the simulated service on all streams, without a
//! socket and without any timeout. With it the clients are tested by themselves.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use tidemill::base::job_pool::JobPool;
use tidemill::base::limits::Limits;
use tidemill::base::listener_id::ListenerId;
use tidemill::base::listener_role::ListenerRole;
use tidemill::base::log_key::RequestKey;
use tidemill::base::moment::Moment;
use tidemill::base::peer::Peer;
use tidemill::base::ring::{RingBuffer, Room};
use tidemill::base::slots::Token;
use tidemill::base::terms::Terms;
use tidemill::base::throttle::Complaints;
use tidemill::base::wake::{Interrupt, WakeKey, Wakes};
use tidemill::http::body::{Body, Failure, Pull};
use tidemill::http::date::DateCache;
use tidemill::http::exchange::{Cx, Decision, Exchange, Reply, Source, Taker};
use tidemill::http::fields::{FieldSet, Fields};
use tidemill::http::message::Response;
use tidemill::http::status::Status;
use tidemill::protocol::h2::error::{ErrorCode, Fault};
use tidemill::protocol::h2::session::{Added, Scratch, Session, Step};
use tidemill::service::Service;

use crate::service::SimService;

/// One connection of the server.
pub struct NaiveServer {
    session: Session,
    inbox: RingBuffer,
    outbox: RingBuffer,
    scratch: Scratch,
    date: DateCache,
    service: SimService,
    streams: BTreeMap<u32, Served>,
    environment: Environment,
    /// What the client has done wrong.
    pub fault: Option<Fault>,
}

struct Environment {
    limits: Limits,
    began: Instant,
    held: Cell<Option<Box<tidemill::base::held::Held>>>,
    now: Duration,
    wakes: Wakes,
    jobs: JobPool,
    complaints: Complaints,
    file_looks: Cell<u64>,
    terms: Cell<Option<Rc<Terms>>>,
}

struct Asleep;

impl Interrupt for Asleep {
    fn wake(&self) {}
}

impl Environment {
    fn cx(&self, stream: u32) -> Cx<'_> {
        Cx {
            now: self.began + self.now,
            moment: Moment::default() + self.now,
            date_secs: 0,
            limits: &self.limits,
            wakes: &self.wakes,
            jobs: &self.jobs,
            complaints: &self.complaints,
            key: WakeKey { token: Token { index: 0, generation: 0 }, stream },
            connection: 1,
            request: RequestKey::Stream(stream),
            peer: Peer::Unix,
            named: None,
            certificate: None,
            server_name: None,
            identifier: None,
            listener: ListenerId::new(0),
            role: ListenerRole::Http,
            held: &self.held,
            draining: false,
            file_looks: &self.file_looks,
            terms: &self.terms,
        }
    }
}

/// A request, and how far its answer has come.
struct Served {
    answer: Answer,
    /// Content that has arrived, and that nobody has taken.
    input: Vec<u8>,
    has_input_ended: bool,
    is_end_told: bool,
    until: Option<Instant>,
}

enum Answer {
    Deciding(Box<dyn Exchange>),
    /// The head waits for room.
    Ready(Box<Response>),
    Sending(Content),
    /// The end waits for room, with these trailers.
    Ending(FieldSet),
    Done,
}

enum Content {
    Bytes(Vec<u8>),
    Source(Box<dyn Source>),
}

impl Content {
    fn pull(&mut self, room: &mut Room<'_>, cx: &mut Cx<'_>) -> Result<Pull, Failure> {
        match self {
            Content::Source(source) => source.pull(room, cx),
            Content::Bytes(bytes) => {
                let n = room.put(bytes);
                bytes.drain(..n);
                Ok(if bytes.is_empty() { Pull::End } else { Pull::More })
            }
        }
    }
}

impl Served {
    fn new(answer: Answer) -> Served {
        Served { answer, input: Vec::new(), has_input_ended: false, is_end_told: false, until: None }
    }

    fn taker(&mut self) -> Option<&mut dyn Taker> {
        match &mut self.answer {
            Answer::Deciding(exchange) => exchange.taker(),
            Answer::Sending(Content::Source(source)) => source.taker(),
            _ => None,
        }
    }
}

impl NaiveServer {
    /// A connection that has just been accepted.
    pub fn new(limits: Limits) -> NaiveServer {
        let mut server = NaiveServer {
            session: Session::new(&limits),
            inbox: RingBuffer::new(limits.inbox_bytes),
            outbox: RingBuffer::new(limits.outbox_bytes),
            scratch: Scratch::default(),
            date: DateCache::new(UNIX_EPOCH),
            service: SimService::default(),
            streams: BTreeMap::new(),
            environment: Environment {
                limits,
                began: Instant::now(),
                held: Cell::default(),
                now: Duration::ZERO,
                wakes: Wakes::new(Asleep),
                jobs: JobPool::without_threads(),
                complaints: Complaints::new(0),
                file_looks: Cell::new(0),
                terms: Cell::default(),
            },
            fault: None,
        };
        server.session.begin(&mut server.outbox, &server.environment.limits);
        server
    }

    /// Takes as much as it has room for; how much that was.
    pub fn feed(&mut self, bytes: &[u8]) -> usize {
        self.inbox.put(bytes)
    }

    /// The next bytes for the client, so many at most.
    pub fn output(&mut self, most: usize) -> Vec<u8> {
        let n = self.outbox.len().min(most);
        let bytes = self.outbox.contiguous(n)[..n].to_vec();
        self.outbox.consume(n);
        bytes
    }

    /// Whether there is anything for the client.
    pub fn has_output(&self) -> bool {
        !self.outbox.is_empty()
    }

    /// When the next wait of a stream is over.
    pub fn acts_at(&self) -> Option<Duration> {
        let waits = self.streams.values().filter_map(|stream| stream.until);
        waits.min().map(|until| until.duration_since(self.environment.began))
    }

    /// Resets all streams that wait for a window; whether there were any.
    pub fn reset_stuck(&mut self) -> bool {
        let stuck = self.session.streams().filter(|stream| stream.has_content && stream.send.available() == 0);
        let stuck: Vec<u32> = stuck.map(|stream| stream.id).collect();
        for stream in &stuck {
            self.reset(*stream, ErrorCode::CANCEL);
        }
        !stuck.is_empty()
    }

    /// Does everything that can be done now.
    pub fn drive(&mut self, now: Duration) {
        self.environment.now = now;
        loop {
            self.session.put_control(&mut self.outbox);
            let mut has_moved = self.receive();
            let streams: Vec<u32> = self.streams.keys().copied().collect();
            for stream in streams {
                has_moved |= self.serve(stream);
            }
            has_moved |= self.send();
            if !has_moved {
                return;
            }
        }
    }

    fn receive(&mut self) -> bool {
        let NaiveServer { session, inbox, outbox, scratch, environment, .. } = self;
        let now = Moment::from_millis(environment.now.as_millis() as u64);
        match session.receive(inbox, outbox, scratch, &environment.limits, now) {
            Err(fault) => {
                self.fault = Some(fault);
                return false;
            }
            Ok(Step::NeedBytes | Step::Paused) => return false,
            Ok(Step::Head { stream, head, .. }) => {
                let answer = match self.service.call(&head, &mut environment.cx(stream)) {
                    Ok(Reply::Respond(response)) => Answer::Ready(Box::new(response)),
                    Ok(Reply::Decide(exchange)) => Answer::Deciding(exchange),
                    Ok(Reply::Upgrade(tunnel)) => {
                        let mut response = Response::new(Status::OK);
                        (response.fields, response.body) = (tunnel.fields, Body::Source(tunnel.content));
                        Answer::Ready(Box::new(response))
                    }
                    Err(_) => Answer::Ready(Box::new(Response::new(Status::INTERNAL_SERVER_ERROR))),
                };
                self.streams.insert(stream, Served::new(answer));
            }
            Ok(Step::Content { stream, bytes }) => {
                let content = inbox.contiguous(bytes)[..bytes].to_vec();
                session.taken(inbox, bytes);
                match self.streams.get_mut(&stream) {
                    Some(served) => served.input.extend(content),
                    None => session.consumed(stream, bytes, outbox, &environment.limits),
                }
            }
            Ok(Step::End { stream, .. }) => {
                if let Some(served) = self.streams.get_mut(&stream) {
                    served.has_input_ended = true;
                }
            }
            Ok(Step::Reset { stream, .. }) => {
                self.streams.remove(&stream);
            }
            Ok(Step::Refused { stream, error, .. }) => {
                let answer = Answer::Ready(Box::new(Response::new(error.status)));
                self.streams.insert(stream, Served::new(answer));
            }
            Ok(Step::Rejected { .. } | Step::GoAway(_)) => {}
        }
        true
    }

    /// What can be done on a stream but sending content; whether that moved anything.
    fn serve(&mut self, id: u32) -> bool {
        let moved = self.give_input(id) | self.decide(id) | self.begin(id) | self.end(id);
        let Some(served) = self.streams.get_mut(&id) else { return moved };
        let is_over = |until: &Instant| *until <= self.environment.began + self.environment.now;
        if matches!(served.answer, Answer::Sending(_))
            && (moved || served.until.take_if(|until| is_over(until)).is_some())
        {
            self.session.has_content(id, true);
        }
        if self.streams.get(&id).is_some_and(|served| matches!(served.answer, Answer::Done)) {
            // §8.1: nobody wants the rest of the request.
            self.reset(id, ErrorCode::NO_ERROR);
            return true;
        }
        moved
    }

    fn decide(&mut self, id: u32) -> bool {
        let Some(served) = self.streams.get_mut(&id) else { return false };
        let exchange = match std::mem::replace(&mut served.answer, Answer::Done) {
            Answer::Deciding(exchange) => exchange,
            other => {
                served.answer = other;
                return false;
            }
        };
        let mut moved = true;
        served.until = None;
        served.answer = match exchange.respond(&mut self.environment.cx(id)) {
            Ok(Decision::Respond(response)) => Answer::Ready(Box::new(response)),
            Ok(Decision::Pending(exchange, wait)) => {
                (served.until, moved) = (wait.until(), false);
                Answer::Deciding(exchange)
            }
            Ok(Decision::Interim(exchange, status, fields)) => {
                self.session.interim(id, status, &fields, &mut self.outbox, &mut self.scratch);
                Answer::Deciding(exchange)
            }
            // No path of these worlds upgrades later.
            Ok(Decision::Upgrade(_)) | Err(_) => Answer::Ready(Box::new(Response::new(Status::INTERNAL_SERVER_ERROR))),
        };
        moved
    }

    /// Sends the head, if there is room for it.
    fn begin(&mut self, id: u32) -> bool {
        let Some(Served { answer, .. }) = self.streams.get_mut(&id) else { return false };
        let Answer::Ready(response) = answer else { return false };
        if !self.session.has_room_for_head(response.head_bytes_max(), response.fields.len(), &self.outbox) {
            return false;
        }
        let length = match &response.body {
            Body::Source(source) => source.length(),
            body => body.length(),
        };
        let (out, scratch) = (&mut self.outbox, &mut self.scratch);
        let is_followed = self.session.send_head(
            id,
            response,
            length,
            Added { date: &self.date, field: None, told: &[] },
            out,
            scratch,
        );
        let content = match std::mem::take(&mut response.body) {
            Body::Source(source) => Content::Source(source),
            Body::Bytes(bytes) => Content::Bytes(bytes.as_slice().to_vec()),
            _ => Content::Bytes(Vec::new()),
        };
        *answer = if is_followed { Answer::Sending(content) } else { Answer::Done };
        true
    }

    /// Offers what has arrived to whoever takes it.
    fn give_input(&mut self, id: u32) -> bool {
        let Some(served) = self.streams.get_mut(&id) else { return false };
        let input = std::mem::take(&mut served.input);
        let ends = served.has_input_ended && !served.is_end_told;
        let waits = matches!(served.answer, Answer::Deciding(_) | Answer::Ready(_));
        let mut cx = self.environment.cx(id);
        let taken = match served.taker() {
            None => {
                if waits {
                    0
                } else {
                    input.len()
                }
            }
            Some(taker) if !input.is_empty() => {
                taker.take(&input, &mut cx).expect("the simulated service takes any content")
            }
            Some(taker) if ends => {
                taker.end(Fields::default(), &mut cx).expect("the simulated service takes any end");
                served.is_end_told = true;
                return true;
            }
            Some(_) if self.session.streams().any(|live| live.id == id && live.expects_continue) => {
                let (out, scratch) = (&mut self.outbox, &mut self.scratch);
                self.session.interim(id, Status::CONTINUE, &FieldSet::EMPTY, out, scratch);
                return true;
            }
            Some(_) => 0,
        };
        served.input = input[taken..].to_vec();
        self.session.consumed(id, taken, &mut self.outbox, &self.environment.limits);
        taken > 0
    }

    /// Ends the response, if there is room for that.
    fn end(&mut self, id: u32) -> bool {
        let Some(Served { answer, .. }) = self.streams.get_mut(&id) else { return false };
        let Answer::Ending(trailers) = answer else { return false };
        match self.session.finish(id, trailers, &mut self.outbox, &mut self.scratch) {
            Ok(false) => return false,
            Ok(true) => *answer = Answer::Done,
            Err(_) => self.reset(id, ErrorCode::INTERNAL_ERROR),
        }
        true
    }

    /// Sends content, in turns.
    fn send(&mut self) -> bool {
        let NaiveServer { session, outbox, streams, environment, .. } = self;
        let mut moved = false;
        while let Some(id) = session.next_turn().map(|turn| turn.stream) {
            let Some(served) = streams.get_mut(&id) else { return moved };
            let Answer::Sending(content) = &mut served.answer else { return moved };
            let Some(mut room) = session.room(id, outbox) else { return moved };
            let pulled = content.pull(&mut room, &mut environment.cx(id));
            let written = room.written();
            session.seal(id, outbox, written);
            served.until = None;
            match pulled {
                Ok(Pull::More) if session.has_all_content(id) => served.answer = Answer::Done,
                Ok(Pull::More) => {}
                Ok(Pull::Pending(wait)) => {
                    served.until = wait.until();
                    session.has_content(id, false);
                    moved |= written > 0;
                    continue;
                }
                Ok(Pull::End) => {
                    session.has_content(id, false);
                    let trailers = match content {
                        Content::Source(source) => source.trailers(),
                        Content::Bytes(_) => None,
                    };
                    served.answer = Answer::Ending(trailers.unwrap_or(FieldSet::EMPTY));
                }
                Err(_) => {
                    self.reset(id, ErrorCode::INTERNAL_ERROR);
                    return true;
                }
            }
            moved = true;
        }
        moved
    }

    fn reset(&mut self, id: u32, code: ErrorCode) {
        self.streams.remove(&id);
        self.session.reset(id, code, &mut self.outbox);
    }
}
