//! A connection in miniature for tests: asks a service, feeds content in the pieces it is given, pulls through rooms of
//! the sizes it is given, lets the clock jump from wait to wait, and checks the contract of both sides on the way.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::base::job_pool::JobPool;
use crate::base::limits::Limits;
use crate::base::listener_role::ListenerRole;
use crate::base::peer::Peer;
use crate::base::ring::RingBuffer;
use crate::base::slots::Token;
use crate::base::throttle::Complaints;
use crate::base::wake::{Interrupt, Wakes};
use crate::http::body::{Body, Failure, Pull, Wait};
use crate::http::fields::{FieldSpan, Fields};
use crate::http::message::{Announced, RequestHead, Response, Version};
use crate::http::method::Method;
use crate::http::target::{Target, TargetForm};
use crate::service::websocket::Policy;
use crate::service::{Cx, Decision, Exchange, Reply, Service};

/// A request head that owns its bytes.
pub struct Request {
    method: Method,
    target: Vec<u8>,
    section: Vec<u8>,
    spans: Vec<FieldSpan>,
    announced: Announced,
}

impl Request {
    pub fn new(method: Method, target: &str) -> Request {
        let target = target.as_bytes().to_vec();
        Request { method, target, section: Vec::new(), spans: Vec::new(), announced: Announced::Nothing }
    }

    pub fn get(target: &str) -> Request {
        Request::new(Method::Get, target)
    }

    pub fn post(target: &str, announced: Announced) -> Request {
        Request { announced, ..Request::new(Method::Post, target) }
    }

    pub fn field(mut self, name: &str, value: &[u8]) -> Request {
        let name_start = self.section.len();
        self.section.extend_from_slice(name.as_bytes());
        let value_start = self.section.len();
        self.section.extend_from_slice(value);
        self.spans.push(FieldSpan {
            name_start: name_start as u32,
            name_len: name.len() as u32,
            value_start: value_start as u32,
            value_len: value.len() as u32,
        });
        self
    }

    pub fn head(&self) -> RequestHead<'_> {
        RequestHead {
            method: self.method,
            target: target(&self.target),
            version: Version::Http11,
            fields: Fields::new(&self.section, &self.spans),
            announced: self.announced,
        }
    }
}

fn target(raw: &[u8]) -> Target<'_> {
    let mut halves = raw.splitn(2, |byte| *byte == b'?');
    let (path, query) = (halves.next().unwrap(), halves.next());
    match path.first() {
        Some(b'/') => Target { form: TargetForm::Origin, raw, authority: None, path, query },
        Some(b'*') => Target { form: TargetForm::Asterisk, raw, authority: None, path, query },
        _ => Target { form: TargetForm::Authority, raw, authority: Some(raw), path: b"", query: None },
    }
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// As far as it was read (`World::reading`).
    pub content: Vec<u8>,
    /// The length that was announced.
    pub length: Option<u64>,
    /// Every wait for the clock: when it was to end, since the request, and how much content there was before.
    pub waits: Vec<(Duration, usize)>,
    /// How much of the request's content was taken.
    pub taken: usize,
    fields: Vec<(String, String)>,
}

impl Answer {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.content).unwrap()
    }

    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// All fields, a line each.
    pub fn fields(&self) -> String {
        self.fields.iter().map(|(name, value)| format!("{name}: {value}")).collect::<Vec<_>>().join("\n")
    }

    fn new(response: &Response) -> Answer {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let content_type = response.content_type.iter().map(|value| ("Content-Type", value));
        let others = response.fields.iter().map(|(name, value)| (name.as_str(), value));
        Answer {
            status: response.status.code(),
            content: Vec::new(),
            length: response.body.length(),
            waits: Vec::new(),
            taken: 0,
            fields: content_type.chain(others).map(|(name, value)| (name.to_owned(), text(value.as_bytes()))).collect(),
        }
    }
}

/// The surroundings of a request.
pub struct World {
    pub now: Instant,
    pub limits: Limits,
    content_max: usize,
    start: Instant,
    pub draining: bool,
    wakes: Wakes,
    jobs: JobPool,
    complaints: Complaints,
}

struct Asleep;

impl Interrupt for Asleep {
    fn wake(&self) {}
}

impl World {
    pub fn new() -> World {
        let now = Instant::now();
        let (wakes, jobs) = (Wakes::new(Asleep), JobPool::without_threads());
        let (limits, complaints) = (Limits::default(), Complaints::new(0));
        World { now, limits, content_max: 1 << 20, start: now, draining: false, wakes, jobs, complaints }
    }

    /// A world whose client gives up a response after `content_max` bytes or a few more.
    pub fn reading(content_max: usize) -> World {
        World { content_max, ..World::new() }
    }

    pub fn cx(&self) -> Cx<'_> {
        let token = Token { index: 0, generation: 0 };
        let (limits, wakes, jobs, complaints) = (&self.limits, &self.wakes, &self.jobs, &self.complaints);
        let (now, peer) = (self.now, Peer::Unix);
        Cx {
            now,
            date_secs: 0,
            limits,
            wakes,
            jobs,
            complaints,
            token,
            peer,
            role: ListenerRole::Public,
            draining: self.draining,
        }
    }

    /// The lab's answer to a request without content.
    pub fn get(&mut self, target: &str) -> Answer {
        self.ask(&Request::get(target), &[], &[65536]).unwrap()
    }

    /// The lab's answer to `request`, whose content comes in these pieces, read through rooms of these sizes.
    pub fn ask(&mut self, request: &Request, pieces: &[&[u8]], rooms: &[usize]) -> Result<Answer, Failure> {
        let reply = super::service(Policy::default()).call(&request.head(), &mut self.cx())?;
        self.finish(reply, pieces, rooms)
    }

    /// What becomes of `reply`.
    pub fn finish(&mut self, reply: Reply, pieces: &[&[u8]], rooms: &[usize]) -> Result<Answer, Failure> {
        let mut rooms = rooms.iter().copied().cycle();
        match reply {
            Reply::Respond(response) => self.read(response, &mut rooms),
            Reply::Converse(exchange) => self.converse(exchange, None, pieces, &mut rooms),
            Reply::Upgrade(response, exchange) => {
                self.converse(exchange, Some(Answer::new(&response)), pieces, &mut rooms)
            }
        }
    }

    fn read(&mut self, response: Response, rooms: &mut dyn Iterator<Item = usize>) -> Result<Answer, Failure> {
        let mut answer = Answer::new(&response);
        match response.body {
            Body::Empty => {}
            Body::Bytes(bytes) => answer.content = bytes.as_slice().to_vec(),
            Body::Exchange(_) => panic!("there is no exchange to pull from"),
            Body::File(_) | Body::Pieces(_) => panic!("the lab has no files"),
            Body::Source(mut source) => {
                while answer.content.len() < self.content_max {
                    let now = self.now;
                    match pull(rooms, &mut answer, |room| source.pull(room, now))? {
                        Pull::More => {}
                        Pull::End => break,
                        Pull::Pending(Wait::Content) => panic!("a source has no content to wait for"),
                        Pull::Pending(wait) => self.wait(wait.until().expect("another wait ends"), &mut answer),
                    }
                }
            }
        }
        Ok(answer)
    }

    fn wait(&mut self, then: Instant, answer: &mut Answer) {
        assert!(then > self.now, "a wait that is over already");
        answer.waits.push((then - self.start, answer.content.len()));
        self.now = then;
    }

    fn converse(
        &mut self,
        mut exchange: Box<dyn Exchange>,
        mut answer: Option<Answer>,
        pieces: &[&[u8]],
        rooms: &mut dyn Iterator<Item = usize>,
    ) -> Result<Answer, Failure> {
        let mut content: VecDeque<&[u8]> = pieces.iter().copied().filter(|piece| !piece.is_empty()).collect();
        let (mut ended, mut taken) = (false, 0);
        let mut idle = 0;
        loop {
            let (mut moved, mut until) = (false, None);
            if answer.is_none() {
                match exchange.respond(&mut self.cx())? {
                    Decision::Respond(response @ Response { body: Body::Exchange(_), .. }) => {
                        answer = Some(Answer::new(&response));
                    }
                    Decision::Respond(response) => return Ok(Answer { taken, ..self.read(response, rooms)? }),
                    Decision::Pending(Wait::Content) => assert!(!ended, "waits for content that has ended"),
                    Decision::Pending(wait) => until = wait.until(),
                }
            }
            if let Some(piece) = content.front_mut() {
                let n = exchange.take(piece, &mut self.cx())?;
                *piece = &piece[n..];
                taken += n;
                moved = n > 0;
                content.retain(|piece| !piece.is_empty());
            } else if !ended {
                exchange.end(Fields::default(), &mut self.cx())?;
                (ended, moved) = (true, true);
            }
            if let Some(answer) = &mut answer {
                let before = answer.content.len();
                let cx = &mut self.cx();
                match pull(rooms, answer, |room| exchange.pull(room, cx))? {
                    Pull::End => return Ok(Answer { taken, ..std::mem::replace(answer, Answer::new(&empty())) }),
                    Pull::Pending(Wait::Content) => assert!(!ended, "waits for content that has ended"),
                    Pull::Pending(wait) => until = wait.until(),
                    Pull::More => {}
                }
                moved |= answer.content.len() > before;
            }
            idle = if moved { 0 } else { idle + 1 };
            // What was taken or refused in one round may decide the response in the next.
            if idle == 2 {
                let then = until.expect("nobody moves this exchange");
                assert!(then > self.now, "a wait that is over already");
                self.now = then;
            }
        }
    }
}

fn empty() -> Response {
    Response::new(crate::http::status::Status::OK)
}

/// One pull, through a room that starts somewhere in a ring, with what it promises checked.
fn pull(
    rooms: &mut dyn Iterator<Item = usize>,
    answer: &mut Answer,
    produce: impl FnOnce(&mut crate::base::ring::Room<'_>) -> Result<Pull, Failure>,
) -> Result<Pull, Failure> {
    let mut ring = RingBuffer::new(rooms.next().unwrap() + 1);
    // The room wraps around the end of the ring.
    let capacity = ring.capacity();
    ring.put(&vec![0; capacity / 2 + 1]);
    ring.consume(capacity / 2);
    let mut room = ring.room(0, usize::MAX);
    let pulled = produce(&mut room)?;
    let (written, full) = (room.written(), room.is_full());
    assert!(pulled != Pull::More || written > 0 || full, "more, but nothing was put");
    ring.seal(0, b"", written);
    ring.consume(1);
    let [front, back] = ring.readable();
    answer.content.extend_from_slice(front);
    answer.content.extend_from_slice(back);
    Ok(pulled)
}
