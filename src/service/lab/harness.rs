//! Drives a service in tests as a connection would. It offers content in the given pieces, pulls through rooms of the
//! given sizes, and sets the clock forward to the end of each wait. It checks that exchanges and sources keep their
//! contract.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::base::job_pool::JobPool;
use crate::base::limits::Limits;
use crate::base::listener_id::ListenerId;
use crate::base::listener_role::ListenerRole;
use crate::base::log_key::RequestKey;
use crate::base::moment::Moment;
use crate::base::peer::Peer;
use crate::base::ring::RingBuffer;
use crate::base::slots::Token;
use crate::base::throttle::Complaints;
use crate::base::wake::{Interrupt, WakeKey, Wakes};
use crate::http::body::{Body, Failure, Pull, Wait};
use crate::http::exchange::{Cx, Decision, Exchange, Reply, Source, Taker};
use crate::http::fields::{FieldSet, FieldSpan, Fields};
use crate::http::message::{Announced, RequestHead, Response, Version};
use crate::http::method::Method;
use crate::http::status::Status;
use crate::http::target::{Target, TargetForm};
use crate::service::Service;
use crate::service::websocket::Policy;

/// A request head that owns its bytes.
#[derive(Debug)]
pub struct Request {
    method: Method,
    target: Vec<u8>,
    section: Vec<u8>,
    spans: Vec<FieldSpan>,
    announced: Announced,
    version: Version,
    authority: Option<&'static [u8]>,
    protocol: Option<&'static [u8]>,
}

impl Request {
    pub fn new(method: Method, target: &str) -> Request {
        let target = target.as_bytes().to_vec();
        let (section, spans, announced) = (Vec::new(), Vec::new(), Announced::Nothing);
        Request { method, target, section, spans, announced, version: Version::Http11, authority: None, protocol: None }
    }

    pub fn get(target: &str) -> Request {
        Request::new(Method::Get, target)
    }

    pub fn post(target: &str, announced: Announced) -> Request {
        Request { announced, ..Request::new(Method::Post, target) }
    }

    /// A request of HTTP/2 for a tunnel.
    pub fn connect(target: &str, protocol: &'static [u8]) -> Request {
        let request = Request::new(Method::Connect, target).version(Version::Http2);
        Request { announced: Announced::Unknown, protocol: Some(protocol), ..request }
    }

    /// The host that `:authority` names.
    pub fn authority(self, authority: &'static str) -> Request {
        Request { authority: Some(authority.as_bytes()), ..self }
    }

    pub fn version(self, version: Version) -> Request {
        Request { version, ..self }
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
        let target = target(&self.target);
        RequestHead {
            method: self.method,
            target: Target { authority: self.authority.or(target.authority), ..target },
            version: self.version,
            fields: Fields::new(&self.section, &self.spans),
            announced: self.announced,
            protocol: self.protocol,
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
#[derive(Debug, Default)]
pub struct Played {
    /// 0 if there was no final response.
    pub status: u16,
    /// The interim responses that came before it, with their fields.
    pub interim: Vec<(u16, String)>,
    /// As far as it was read (`World::reading`).
    pub content: Vec<u8>,
    /// The length that was announced.
    pub length: Option<u64>,
    /// The trailers, a line each.
    pub trailers: Option<String>,
    /// Every wait for the clock: when it was to end, since the request, and how much content there was before.
    pub waits: Vec<(Duration, usize)>,
    /// How much of the request's content was taken.
    pub taken: usize,
    fields: Vec<(String, String)>,
}

impl Played {
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

    /// The final response begins. What is left of it is its source, if it has one.
    fn begin(&mut self, response: Response) -> Option<Box<dyn Source>> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let content_type = response.content_type.iter().map(|value| ("Content-Type", value));
        let others = response.fields.iter().map(|(name, value)| (name.as_str(), value));
        self.fields =
            content_type.chain(others).map(|(name, value)| (name.to_owned(), text(value.as_bytes()))).collect();
        self.status = response.status.code();
        self.length = response.body.length();
        match response.body {
            Body::Empty => {}
            Body::Bytes(bytes) => self.content = bytes.as_slice().to_vec(),
            Body::File(_) | Body::Parts(_) => panic!("the lab has no files"),
            Body::Source(source) => return Some(source),
        }
        None
    }
}

/// The environment of a request.
pub struct World {
    pub now: Instant,
    pub held: std::cell::Cell<Option<Box<crate::base::held::Held>>>,
    pub limits: Limits,
    content_max: usize,
    start: Instant,
    pub draining: bool,
    pub file_looks: std::cell::Cell<u64>,
    /// What a service has left.
    pub terms: std::cell::Cell<Option<std::rc::Rc<crate::base::terms::Terms>>>,
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
        World {
            now,
            limits,
            content_max: 1 << 20,
            start: now,
            held: Default::default(),
            draining: false,
            file_looks: Default::default(),
            terms: Default::default(),
            wakes,
            jobs,
            complaints,
        }
    }

    /// A world whose client gives up a response after `content_max` bytes or a few more.
    pub fn reading(content_max: usize) -> World {
        World { content_max, ..World::new() }
    }

    pub fn cx(&self) -> Cx<'_> {
        let key = WakeKey { token: Token { index: 0, generation: 0 }, stream: 0 };
        let (limits, wakes, jobs, complaints) = (&self.limits, &self.wakes, &self.jobs, &self.complaints);
        Cx {
            now: self.now,
            moment: Moment::default(),
            date_secs: 0,
            limits,
            wakes,
            jobs,
            complaints,
            key,
            connection: 1,
            request: RequestKey::Ordinal(1),
            peer: Peer::Unix,
            named: None,
            certificate: None,
            server_name: None,
            identifier: None,
            listener: ListenerId::new(0),
            role: ListenerRole::Http,
            held: &self.held,
            draining: self.draining,
            file_looks: &self.file_looks,
            terms: &self.terms,
        }
    }

    /// The next turn begins, a nanosecond later. Says whether somebody was woken for it.
    pub fn next_turn(&mut self) -> bool {
        self.now += Duration::from_nanos(1);
        self.wakes.begin_turn();
        let mut ready = Vec::new();
        self.wakes.collect_ready(&mut ready);
        !ready.is_empty()
    }

    /// The lab's answer to a request without content.
    pub fn get(&mut self, target: &str) -> Played {
        self.ask(&Request::get(target), &[], &[65536]).unwrap()
    }

    /// The lab's answer to `request`, whose content comes in these pieces, read through rooms of these sizes.
    pub fn ask(&mut self, request: &Request, pieces: &[&[u8]], rooms: &[usize]) -> Result<Played, Failure> {
        let reply = super::service(Policy::default()).call(&request.head(), &mut self.cx())?;
        self.finish(reply, pieces, rooms)
    }

    /// What becomes of `reply`.
    pub fn finish(&mut self, reply: Reply, pieces: &[&[u8]], rooms: &[usize]) -> Result<Played, Failure> {
        let mut played = Played::default();
        let answering = match reply {
            Reply::Respond(response) => played.begin(response).map(Answering::Sending),
            Reply::Decide(exchange) => Some(Answering::Deciding(exchange)),
            Reply::Upgrade(tunnel) => {
                let mut response = Response::new(Status::SWITCHING_PROTOCOLS);
                (response.fields, response.body) = (tunnel.fields, Body::Source(tunnel.content));
                played.begin(response).map(Answering::Sending)
            }
        };
        if let Some(answering) = answering {
            self.play(answering, &mut played, pieces, &mut rooms.iter().copied().cycle())?;
        }
        Ok(played)
    }

    /// Drives an exchange, and then its source, to the end of the response.
    fn play(
        &mut self,
        mut answering: Answering,
        played: &mut Played,
        pieces: &[&[u8]],
        rooms: &mut dyn Iterator<Item = usize>,
    ) -> Result<(), Failure> {
        let mut content = Content::new(pieces);
        let mut idle = 0;
        while played.content.len() < self.content_max {
            let (mut moved, mut until) = (false, None);
            if let Answering::Deciding(exchange) = answering {
                answering = match exchange.respond(&mut self.cx())? {
                    Decision::Respond(response) => match played.begin(response) {
                        Some(source) => Answering::Sending(source),
                        None => return Ok(()),
                    },
                    Decision::Pending(exchange, wait) => {
                        assert!(wait != Wait::Content || !content.ended, "waits for content that has ended");
                        until = wait.until();
                        Answering::Deciding(exchange)
                    }
                    Decision::Interim(exchange, status, fields) => {
                        assert!(status.is_interim() && ![100, 101].contains(&status.code()), "{status}");
                        played.interim.push((status.code(), text_lines(&fields)));
                        moved = true;
                        Answering::Deciding(exchange)
                    }
                    Decision::Upgrade(_) => panic!("no endpoint of the lab upgrades later"),
                };
            }
            moved |= content.offer(answering.taker(), played, &mut self.cx())?;
            if let Answering::Sending(source) = &mut answering {
                let before = played.content.len();
                let cx = &mut self.cx();
                match pull(rooms, played, |room| source.pull(room, cx))? {
                    Pull::End => {
                        played.trailers = source.trailers().map(|fields| text_lines(&fields));
                        return Ok(());
                    }
                    Pull::Pending(wait) => {
                        assert!(wait != Wait::Content || !content.ended, "waits for content that has ended");
                        until = wait.until();
                    }
                    Pull::More => moved = true,
                }
                moved |= played.content.len() > before;
            }
            idle = if moved { 0 } else { idle + 1 };
            // What was taken or refused in one round may decide the response in the next.
            if idle == 2 {
                self.wait(until.expect("nobody moves this exchange"), played);
                idle = 0;
            }
        }
        Ok(())
    }

    fn wait(&mut self, then: Instant, played: &mut Played) {
        assert!(then > self.now, "a wait that is over already");
        played.waits.push((then - self.start, played.content.len()));
        self.now = then;
    }
}

/// The request's content that has not been taken yet.
struct Content<'a> {
    pieces: VecDeque<&'a [u8]>,
    ended: bool,
}

impl<'a> Content<'a> {
    fn new(pieces: &[&'a [u8]]) -> Content<'a> {
        Content { pieces: pieces.iter().copied().filter(|piece| !piece.is_empty()).collect(), ended: false }
    }

    /// Offers the first piece, or the end. Says whether that moved anything.
    fn offer(&mut self, taker: Option<&mut dyn Taker>, played: &mut Played, cx: &mut Cx<'_>) -> Result<bool, Failure> {
        let Some(taker) = taker else {
            // The connection throws it away.
            *self = Content { pieces: VecDeque::new(), ended: true };
            return Ok(false);
        };
        let Some(piece) = self.pieces.front_mut() else {
            let ends = !std::mem::replace(&mut self.ended, true);
            return if ends { taker.end(Fields::default(), cx).map(|()| true) } else { Ok(false) };
        };
        let n = taker.take(piece, cx)?;
        *piece = &piece[n..];
        played.taken += n;
        self.pieces.retain(|piece| !piece.is_empty());
        Ok(n > 0)
    }
}

/// How far a response has come.
enum Answering {
    Deciding(Box<dyn Exchange>),
    Sending(Box<dyn Source>),
}

impl Answering {
    fn taker(&mut self) -> Option<&mut dyn Taker> {
        match self {
            Answering::Deciding(exchange) => exchange.taker(),
            Answering::Sending(source) => source.taker(),
        }
    }
}

fn text_lines(fields: &FieldSet) -> String {
    String::from_utf8_lossy(fields.as_lines()).trim_end().replace("\r\n", "\n")
}

/// One pull, through a room that starts somewhere in a ring, with what it promises checked.
fn pull(
    rooms: &mut dyn Iterator<Item = usize>,
    played: &mut Played,
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
    played.content.extend_from_slice(front);
    played.content.extend_from_slice(back);
    Ok(pulled)
}
