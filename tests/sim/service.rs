//! What the simulated server answers: a small endpoint for each way in which an answer can come about.
//!
//! Every answer follows from the request alone, so that a client knows each byte of it beforehand.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::{Duration, Instant};

use tidemill::base::ring::Room;
use tidemill::http::body::{Body, Failure, Pull, Wait};
use tidemill::http::exchange::{Cx, Decision, Exchange, Reply, Source, Taker};
use tidemill::http::fields::{FieldName, FieldSet, FieldValue, Fields};
use tidemill::http::message::{RequestHead, Response};
use tidemill::http::status::Status;
use tidemill::service::Service;
use tidemill::service::lab;
use tidemill::service::proxy::Proxy;
use tidemill::service::router::Router;
use tidemill::service::websocket::Policy;

const BYTES: FieldValue = FieldValue::from_static("application/octet-stream");
/// How long somebody waits at a meeting point.
const MEETING_TIMEOUT: Duration = Duration::from_secs(600);

/// How long a wake may take to arrive.
const NOTICE_TIME_MAX: Duration = Duration::from_millis(50);
/// Refusals to take content in one turn that are too many.
const REFUSALS_MAX: u32 = 1000;

/// `n` bytes in which every place differs from its neighbours and from other salts.
pub fn pattern(salt: u64, n: usize) -> Vec<u8> {
    (0..n).map(|at| pattern_byte(salt, at)).collect()
}

fn pattern_byte(salt: u64, at: usize) -> u8 {
    ((at as u32).wrapping_add((salt as u32).wrapping_mul(977)).wrapping_mul(2_654_435_761) >> 24) as u8
}

/// The lines that `/ticks/n` sends.
pub fn ticks(n: usize) -> Vec<u8> {
    (0..n).flat_map(|line| format!("{line}\n").into_bytes()).collect()
}

/// WebSockets at a time that may be compressed: few enough for some to be opened without.
const COMPRESSED_MAX: usize = 2;

/// The service.
pub struct SimService {
    meetings: Meetings,
    /// The WebSockets of the binary.
    lab: Router,
    progress: Progress,
    /// Upstreams that answer instead, if there are any.
    pub proxy: Option<Proxy>,
}

/// Counts content that is taken by the clock: what one read has brought may take many waits.
pub type Progress = Rc<Cell<u64>>;

impl Default for SimService {
    fn default() -> SimService {
        SimService::new(Progress::default())
    }
}

type Meetings = Rc<RefCell<BTreeMap<u64, Meeting>>>;

#[derive(Default)]
struct Meeting {
    came_at: Option<Instant>,
    waiting: Vec<Box<dyn Fn()>>,
}

impl Service for SimService {
    fn call(&mut self, request: &RequestHead<'_>, cx: &mut Cx<'_>) -> Result<Reply, Failure> {
        if let Some(reply) = self.proxy.as_ref().and_then(|proxy| proxy.call(request, cx)) {
            return Ok(reply);
        }
        let path = String::from_utf8_lossy(request.target.path).into_owned();
        let mut parts = path.split('/').skip(1);
        let name = parts.next().unwrap_or_default();
        let mut number = || parts.next().and_then(|part| part.parse::<u64>().ok()).unwrap_or_default();
        let (first, second) = (number(), number());
        let (n, now) = (first as usize, cx.now);
        match name {
            "fixed" => Ok(respond(Status::OK, Body::from(pattern(second, n)))),
            "known" => {
                Ok(respond(Status::OK, source(Pattern { salt: second, at: 0, end: n, known: true, fails: false })))
            }
            "chunked" => {
                Ok(respond(Status::OK, source(Pattern { salt: second, at: 0, end: n, known: false, fails: false })))
            }
            "broken" => {
                Ok(respond(Status::OK, source(Pattern { salt: second, at: 0, end: n, known: false, fails: true })))
            }
            "short" => Ok(respond(
                Status::OK,
                source(Short(Pattern { salt: second, at: 0, end: n, known: true, fails: false })),
            )),
            "ticks" => {
                let every = Duration::from_millis(second);
                Ok(respond(Status::OK, source(Ticks { line: 0, rest: Vec::new(), count: n, every, next: now + every })))
            }
            "refuse" => Ok(respond(Status::from_code(first as u16).unwrap_or(Status::FORBIDDEN), refusal())),
            "fail" => Err(Failure::new("as asked for")),
            "fail-late" => Ok(Reply::Decide(Box::new(FailsLate))),
            "delay" => Ok(Reply::Decide(Box::new(Delay { until: now + Duration::from_millis(first) }))),
            "echo" => Ok(Reply::Decide(Box::new(Echo::new(n.max(1))))),
            "gather" => {
                Ok(Reply::Decide(Box::new(Gather { limit: n, content: Vec::new(), is_too_long: false, ended: false })))
            }
            "slow-take" => {
                let (portion, every) = (n.max(1), Duration::from_millis(second));
                Ok(Reply::Decide(Box::new(SlowTake::new(portion, every, now, Rc::clone(&self.progress)))))
            }
            "trailers" => {
                let pattern = Pattern { salt: second, at: 0, end: n, known: false, fails: false };
                Ok(respond(Status::OK, source(Trailing(pattern))))
            }
            "hints" => Ok(Reply::Decide(Box::new(Hints { left: first }))),
            "meet" => Ok(self.meet(first, cx)),
            "come" => Ok(self.come(first, now)),
            "ws" => self.lab.call(request, cx),
            _ => Ok(respond(Status::NOT_FOUND, Body::Empty)),
        }
    }
}

impl SimService {
    /// A service that counts its `progress`.
    pub fn new(progress: Progress) -> SimService {
        let policy = Policy::new(Vec::new(), COMPRESSED_MAX);
        SimService { meetings: Meetings::default(), lab: lab::endpoints(policy), progress, proxy: None }
    }

    fn meet(&mut self, place: u64, cx: &Cx<'_>) -> Reply {
        let (waker, local) = (cx.waker(), cx.local_waker());
        // Both ways to wake an exchange are used.
        let wake: Box<dyn Fn()> =
            if place.is_multiple_of(2) { Box::new(move || waker.wake()) } else { Box::new(move || local.wake()) };
        self.meetings.borrow_mut().entry(place).or_default().waiting.push(wake);
        let (meetings, until) = (Rc::clone(&self.meetings), cx.now + MEETING_TIMEOUT);
        Reply::Decide(Box::new(Meet { meetings, place, since: cx.now, until }))
    }

    fn come(&mut self, place: u64, now: Instant) -> Reply {
        let mut meetings = self.meetings.borrow_mut();
        let meeting = meetings.entry(place).or_default();
        meeting.came_at = Some(now);
        meeting.waiting.iter().for_each(|wake| wake());
        respond(Status::OK, Body::from_static(b"came"))
    }
}

/// The content of every refusal.
pub const REFUSAL: &[u8] = &[b'x'; 600];

fn refusal() -> Body {
    Body::from_static(REFUSAL)
}

fn response(status: Status, body: Body) -> Response {
    Response::new(status).with_content(BYTES, body)
}

fn respond(status: Status, body: Body) -> Reply {
    Reply::Respond(response(status, body))
}

fn source(source: impl Source + 'static) -> Body {
    Body::Source(Box::new(source))
}

/// A pattern of some length, known beforehand or not, whole or broken off.
struct Pattern {
    salt: u64,
    at: usize,
    end: usize,
    known: bool,
    fails: bool,
}

impl Source for Pattern {
    fn length(&self) -> Option<u64> {
        self.known.then_some(self.end as u64)
    }

    fn pull(&mut self, room: &mut Room<'_>, _cx: &mut Cx<'_>) -> Result<Pull, Failure> {
        while self.at < self.end && !room.is_full() {
            let (salt, at) = (self.salt, self.at);
            let n = room.space().len().min(self.end - at);
            for (offset, place) in room.space()[..n].iter_mut().enumerate() {
                *place = pattern_byte(salt, at + offset);
            }
            room.advance(n);
            self.at += n;
        }
        match self.at == self.end {
            false => Ok(Pull::More),
            true if self.fails => Err(Failure::new("broke off, as asked for")),
            true => Ok(Pull::End),
        }
    }
}

/// Announces one byte more than it has.
struct Short(Pattern);

impl Source for Short {
    fn length(&self) -> Option<u64> {
        self.0.length().map(|length| length + 1)
    }

    fn pull(&mut self, room: &mut Room<'_>, cx: &mut Cx<'_>) -> Result<Pull, Failure> {
        self.0.pull(room, cx)
    }
}

struct Ticks {
    line: usize,
    /// What is still to be sent of the line before.
    rest: Vec<u8>,
    count: usize,
    every: Duration,
    next: Instant,
}

impl Source for Ticks {
    fn length(&self) -> Option<u64> {
        None
    }

    fn pull(&mut self, room: &mut Room<'_>, cx: &mut Cx<'_>) -> Result<Pull, Failure> {
        if self.rest.is_empty() {
            match () {
                () if self.line == self.count => return Ok(Pull::End),
                () if cx.now < self.next => return Ok(Pull::Pending(Wait::Until(self.next))),
                () => {}
            }
            self.rest = format!("{}\n", self.line).into_bytes();
            self.line += 1;
            self.next = cx.now + self.every;
        }
        let n = room.put(&self.rest);
        self.rest.drain(..n);
        Ok(Pull::More)
    }
}

/// Has its salt behind it.
struct Trailing(Pattern);

impl Source for Trailing {
    fn length(&self) -> Option<u64> {
        None
    }

    fn pull(&mut self, room: &mut Room<'_>, cx: &mut Cx<'_>) -> Result<Pull, Failure> {
        self.0.pull(room, cx)
    }

    fn trailers(&mut self) -> Option<FieldSet> {
        let salt = FieldValue::new(self.0.salt.to_string()).expect("digits");
        Some(FieldSet::new([(FieldName::from_static("Sum"), salt)]))
    }
}

/// So many interim responses come first.
struct Hints {
    left: u64,
}

impl Exchange for Hints {
    fn respond(mut self: Box<Self>, _: &mut Cx<'_>) -> Result<Decision, Failure> {
        if self.left == 0 {
            return Ok(Decision::Respond(response(Status::OK, Body::from_static(b"hinted"))));
        }
        self.left -= 1;
        let link = FieldSet::new([(FieldName::from_static("Link"), FieldValue::from_static("</style.css>"))]);
        Ok(Decision::Interim(self, Status::EARLY_HINTS, link))
    }
}

struct FailsLate;

impl Exchange for FailsLate {
    fn respond(self: Box<Self>, _: &mut Cx<'_>) -> Result<Decision, Failure> {
        Err(Failure::new("late, as asked for"))
    }
}

struct Delay {
    until: Instant,
}

impl Exchange for Delay {
    fn respond(self: Box<Self>, cx: &mut Cx<'_>) -> Result<Decision, Failure> {
        if cx.now < self.until {
            let until = self.until;
            return Ok(Decision::Pending(self, Wait::Until(until)));
        }
        Ok(Decision::Respond(response(Status::OK, Body::from_static(b"late"))))
    }
}

/// How often content was refused in one turn.
#[derive(Default)]
struct Refusals {
    at: Option<Instant>,
    count: u32,
}

impl Refusals {
    /// Time stands still during a turn: a loop that goes on offering what was refused would never end.
    fn count(&mut self, now: Instant) {
        self.count = if self.at == Some(now) { self.count + 1 } else { 0 };
        self.at = Some(now);
        assert!(self.count < REFUSALS_MAX, "content is offered again and again in one turn");
    }
}

struct Echo {
    refusals: Refusals,
    ring: VecDeque<u8>,
    capacity: usize,
    ended: bool,
}

impl Echo {
    fn new(capacity: usize) -> Echo {
        Echo { refusals: Refusals::default(), ring: VecDeque::new(), capacity, ended: false }
    }
}

impl Taker for Echo {
    fn take(&mut self, content: &[u8], cx: &mut Cx<'_>) -> Result<usize, Failure> {
        let n = content.len().min(self.capacity - self.ring.len());
        if n == 0 {
            self.refusals.count(cx.now);
        } else {
            // Byte by byte is slow, but it is progress.
            self.refusals = Refusals::default();
        }
        self.ring.extend(&content[..n]);
        Ok(n)
    }

    fn end(&mut self, _: Fields<'_>, _: &mut Cx<'_>) -> Result<(), Failure> {
        self.ended = true;
        Ok(())
    }
}

impl Exchange for Echo {
    fn taker(&mut self) -> Option<&mut dyn Taker> {
        Some(self)
    }

    fn respond(self: Box<Self>, _: &mut Cx<'_>) -> Result<Decision, Failure> {
        if self.ring.is_empty() && !self.ended {
            return Ok(Decision::Pending(self, Wait::Content));
        }
        Ok(Decision::Respond(response(Status::OK, Body::Source(self))))
    }
}

impl Source for Echo {
    fn length(&self) -> Option<u64> {
        None
    }

    fn pull(&mut self, room: &mut Room<'_>, _: &mut Cx<'_>) -> Result<Pull, Failure> {
        let n = room.put(self.ring.as_slices().0);
        self.ring.drain(..n);
        match (self.ring.is_empty(), self.ended) {
            (false, _) => Ok(Pull::More),
            (true, false) => Ok(Pull::Pending(Wait::Content)),
            (true, true) => Ok(Pull::End),
        }
    }

    fn taker(&mut self) -> Option<&mut dyn Taker> {
        Some(self)
    }
}

struct Gather {
    limit: usize,
    content: Vec<u8>,
    is_too_long: bool,
    ended: bool,
}

impl Taker for Gather {
    fn take(&mut self, content: &[u8], _: &mut Cx<'_>) -> Result<usize, Failure> {
        let taken = &content[..content.len().min(self.limit - self.content.len())];
        self.content.extend_from_slice(taken);
        self.is_too_long = taken.len() < content.len();
        Ok(taken.len())
    }

    fn end(&mut self, _: Fields<'_>, _: &mut Cx<'_>) -> Result<(), Failure> {
        self.ended = true;
        Ok(())
    }
}

impl Exchange for Gather {
    fn taker(&mut self) -> Option<&mut dyn Taker> {
        Some(self)
    }

    fn respond(self: Box<Self>, _: &mut Cx<'_>) -> Result<Decision, Failure> {
        if self.is_too_long {
            return Ok(Decision::Respond(response(Status::CONTENT_TOO_LARGE, refusal())));
        }
        if !self.ended {
            return Ok(Decision::Pending(self, Wait::Content));
        }
        Ok(Decision::Respond(response(Status::OK, Body::from(self.content))))
    }
}

/// Takes a little content, and then none for a while; only the clock makes it go on.
struct SlowTake {
    portion: usize,
    every: Duration,
    next: Instant,
    refused: bool,
    refusals: Refusals,
    progress: Progress,
    content: Vec<u8>,
    ended: bool,
}

impl SlowTake {
    fn new(portion: usize, every: Duration, now: Instant, progress: Progress) -> SlowTake {
        let refusals = Refusals::default();
        SlowTake { portion, every, next: now, refused: false, refusals, progress, content: Vec::new(), ended: false }
    }
}

impl Taker for SlowTake {
    fn take(&mut self, content: &[u8], cx: &mut Cx<'_>) -> Result<usize, Failure> {
        self.refused = cx.now < self.next;
        if self.refused {
            self.refusals.count(cx.now);
            return Ok(0);
        }
        let n = content.len().min(self.portion);
        self.progress.update(|count| count + n as u64);
        self.content.extend_from_slice(&content[..n]);
        self.next = cx.now + self.every;
        Ok(n)
    }

    fn end(&mut self, _: Fields<'_>, _: &mut Cx<'_>) -> Result<(), Failure> {
        self.ended = true;
        Ok(())
    }
}

impl Exchange for SlowTake {
    fn taker(&mut self) -> Option<&mut dyn Taker> {
        Some(self)
    }

    fn respond(self: Box<Self>, _: &mut Cx<'_>) -> Result<Decision, Failure> {
        match (self.ended, self.refused) {
            (true, _) => Ok(Decision::Respond(response(Status::OK, Body::from(self.content)))),
            (false, true) => {
                let next = self.next;
                Ok(Decision::Pending(self, Wait::Until(next)))
            }
            (false, false) => Ok(Decision::Pending(self, Wait::Content)),
        }
    }
}

/// Waits until somebody comes to the same place; only a wake makes it go on in time.
struct Meet {
    meetings: Meetings,
    place: u64,
    since: Instant,
    until: Instant,
}

impl Exchange for Meet {
    fn respond(self: Box<Self>, cx: &mut Cx<'_>) -> Result<Decision, Failure> {
        let came_at = self.meetings.borrow().get(&self.place).and_then(|meeting| meeting.came_at);
        if came_at.is_none() && cx.now < self.until {
            let until = self.until;
            return Ok(Decision::Pending(self, Wait::Until(until)));
        }
        // A wake arrives soon: an exchange that is asked much later was asked for another reason.
        let in_time = |at: Instant| cx.now.duration_since(at.max(self.since)) <= NOTICE_TIME_MAX;
        let status = if came_at.is_some_and(in_time) { Status::OK } else { Status::GATEWAY_TIMEOUT };
        Ok(Decision::Respond(response(status, Body::from_static(b"met"))))
    }
}
