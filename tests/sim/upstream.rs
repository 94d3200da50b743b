//! Upstreams: whom the server connects to. They answer as the simulated service does (`service.rs`), so that clients know what
//! must come of their requests, but each connection has manners of its own, and in wild worlds these are bad ones.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use crate::dice::Dice;
use crate::link::{LinkId, Nature};
use crate::service::{REFUSAL, pattern, ticks};
use crate::timeline::excerpt;
use crate::world::{Actor, World};

/// All upstreams of a world.
#[derive(Debug)]
pub struct Upstreams {
    dice: Dice,
    /// Whether they may do what they should not.
    pub is_wild: bool,
    /// When anything last moved on a connection to one of them.
    pub moved_at: Duration,
    /// How often each request has reached one, by its tag.
    sightings: BTreeMap<u64, Sighting>,
}

/// A request that has reached an upstream.
#[derive(Debug, Clone, Copy)]
struct Sighting {
    link: LinkId,
    is_reused: bool,
    is_idempotent: bool,
    /// Bytes that the upstream had sent before on that connection.
    sent_before: u64,
    is_second: bool,
}

/// After how long a connection is there, or has failed for this reason; `None`: nobody ever answers.
type Reply = Option<(Duration, Option<ErrorKind>)>;

impl Default for Upstreams {
    fn default() -> Upstreams {
        Upstreams::new(Dice::new(0), false)
    }
}

impl Upstreams {
    /// Upstreams that follow from these dice.
    pub fn new(dice: Dice, is_wild: bool) -> Upstreams {
        Upstreams { dice, is_wild, moved_at: Duration::ZERO, sightings: BTreeMap::new() }
    }

    /// What becomes of a connection that is begun now, and who is at its other end.
    pub fn draw(&mut self, _address: SocketAddr, now: Duration) -> (Reply, Upstream, Nature) {
        self.moved_at = now;
        let dice = &mut self.dice;
        let after = match dice.below(4) {
            0 => dice.millis(0, 1500),
            _ => dice.micros(0, 50_000),
        };
        let failure = match dice.below(if self.is_wild { 24 } else { 1 }) {
            1 | 2 => Some(ErrorKind::ConnectionRefused),
            3 => Some(ErrorKind::HostUnreachable),
            _ => None,
        };
        let is_answered = !self.is_wild || !dice.chance(40);
        let manner = if self.is_wild { Manner::draw(dice) } else { Manner::draw_good(dice) };
        let upstream = Upstream::new(manner, self.is_wild, dice.fork());
        (is_answered.then_some((after, failure)), upstream, Nature::draw(dice))
    }

    /// Notes that a request has reached an upstream. It must not have, unless it is the first time, or the proof holds that it
    /// was safe to send it once more: the connection had been used before and has given no byte, and the method is idempotent
    /// (RFC 9110 §9.2.2). `read`: bytes that the server has read from the connection of the first time.
    fn note(&mut self, tag: u64, new: Sighting, read: impl FnOnce(LinkId) -> u64) -> Result<(), String> {
        let Some(first) = self.sightings.insert(tag, new) else { return Ok(()) };
        self.sightings.insert(tag, Sighting { is_second: true, ..new });
        let Sighting { link, is_reused, is_idempotent, sent_before, is_second } = first;
        let read = read(link).saturating_sub(sent_before);
        match is_reused && is_idempotent && !is_second && read == 0 {
            true => Ok(()),
            false => Err(format!("request {tag} comes once more, after {first:?} had given {read} bytes")),
        }
    }
}

/// What kind of upstream one is.
#[derive(Debug, Clone, Copy)]
enum Manner {
    /// It keeps the rules, and these pauses.
    Good(Duration),
    /// It ends the connection after so many bytes of responses, perhaps by a reset.
    EndsAt(u64, bool),
    /// It ends the connection when it has read so many bytes.
    EndsReading(usize, bool),
    /// It answers as soon as it has the head, and then perhaps reads nothing more.
    Early(bool),
    /// It says something else.
    Garbage(usize),
    /// It never reads.
    Deaf,
    /// It reads, and never answers.
    Silent,
    /// It ends its direction behind a response without having said so, and goes on reading.
    HalfClosing,
    /// So many interim responses come before the final one.
    Storm(usize),
    /// It says more than it was asked for, after a while.
    Chatty(Duration),
    /// It ends the connection when it has been idle for so long.
    Hasty(Duration),
}

const GARBAGE: [&[u8]; 9] = [
    b"220 smtp.example.com ESMTP\r\n",
    b"HTTP/1.1 2000 OK\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    // Only what follows its head is wrong.
    b"HTTP/1.1 299 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nabc",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: chat\r\nConnection: upgrade\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nX : y\r\n\r\n",
    b"\0\0\0\0",
];

impl Manner {
    fn draw_good(dice: &mut Dice) -> Manner {
        Manner::Good(match dice.chance(300) {
            true => dice.millis(1, 1500),
            false => Duration::ZERO,
        })
    }

    fn draw(dice: &mut Dice) -> Manner {
        match dice.below(22) {
            0..=5 => Manner::draw_good(dice),
            6..=8 => Manner::EndsAt(dice.size(1, 200_000) as u64 - 1, dice.chance(500)),
            9 => Manner::EndsReading(dice.size(1, 20_000) - 1, dice.chance(500)),
            10 | 11 => Manner::Early(dice.chance(500)),
            12 => Manner::Garbage(dice.between(0, GARBAGE.len() - 1)),
            13 => Manner::Deaf,
            14 => Manner::Silent,
            15 | 16 => Manner::HalfClosing,
            17 => Manner::Storm(dice.size(1, 200)),
            18 | 19 => Manner::Chatty(dice.millis(0, 3000)),
            _ => Manner::Hasty(dice.millis(0, 5000)),
        }
    }
}

/// One connection's end at an upstream.
pub struct Upstream {
    manner: Manner,
    is_wild: bool,
    dice: Dice,
    link: LinkId,
    /// What has arrived and was not understood yet.
    input: Vec<u8>,
    read: usize,
    /// The request whose head is at the beginning of the input.
    request: Option<Request>,
    requests: u64,
    /// What is to be sent, each piece after a pause.
    output: VecDeque<(Duration, Vec<u8>)>,
    paused_until: Option<Duration>,
    sent: u64,
    /// After the output it ends its direction, and perhaps goes on reading.
    ends: Option<Ends>,
    /// It ends the connection when it is idle for so long.
    idle_for: Option<Duration>,
    idle_since: Option<Duration>,
    /// Whether it answers the server's FIN with its own.
    ends_with_server: bool,
    /// Clients of HTTP/2 know which trailers must come.
    may_add_trailers: bool,
    is_over: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ends {
    Half,
    Whole,
}

/// The head of a request.
struct Request {
    method: String,
    path: String,
    fields: Vec<(String, String)>,
    head_len: usize,
    is_answered: bool,
}

impl Request {
    /// The request whose head is at the beginning of `input`, if it is complete there. It must be strictly right.
    fn parse(input: &[u8]) -> Result<Option<Request>, String> {
        let Some(end) = input.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
        let head = String::from_utf8_lossy(&input[..end]).into_owned();
        let wrong = |what: &str| Err(format!("an upstream gets a request with {what}: {head:?}"));
        let mut lines = head.split("\r\n");
        let words: Vec<&str> = lines.next().unwrap_or_default().split(' ').collect();
        let [method, path, "HTTP/1.1"] = words[..] else { return wrong("a bad request line") };
        let mut fields = Vec::new();
        for line in lines {
            let Some((name, value)) = line.split_once(": ") else { return wrong("a bad field line") };
            fields.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        let request =
            Request { method: method.to_owned(), path: path.to_owned(), fields, head_len: end + 4, is_answered: false };
        match () {
            () if request.count("host") != 1 => wrong("no Host, or more than one"),
            () if request.count("content-length") + request.count("transfer-encoding") > 1 => wrong("two framings"),
            () if request.count("via") != 1 => wrong("no Via, or more than one"),
            () if ["connection", "keep-alive", "te"].iter().any(|name| request.count(name) > 0) => {
                wrong("fields of another connection (RFC 9110 §7.6.1)")
            }
            () => Ok(Some(request)),
        }
    }

    fn count(&self, name: &str) -> usize {
        self.fields.iter().filter(|(other, _)| other == name).count()
    }

    fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// Whether the client that the server has it from speaks this version.
    fn is_from(&self, version: &str) -> bool {
        self.field("via").is_some_and(|via| via.starts_with(version))
    }

    fn is_idempotent(&self) -> bool {
        ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"].contains(&self.method.as_str())
    }

    /// The content, and where the request ends, if all of it is in `input`.
    fn content(&self, input: &[u8]) -> Result<Option<(Vec<u8>, usize)>, String> {
        if self.count("transfer-encoding") > 0 {
            return unchunk(input, self.head_len);
        }
        let length =
            self.field("content-length").map_or(Ok(0), str::parse::<usize>).map_err(|error| error.to_string())?;
        let end = self.head_len + length;
        Ok(input.get(self.head_len..end).map(|content| (content.to_vec(), end)))
    }
}

/// The content of the chunks from `at` on, and where they end.
fn unchunk(input: &[u8], mut at: usize) -> Result<Option<(Vec<u8>, usize)>, String> {
    let mut content = Vec::new();
    let line = |at: usize| {
        let rest = &input[at.min(input.len())..];
        rest.windows(2).position(|two| two == b"\r\n").map(|end| String::from_utf8_lossy(&rest[..end]).into_owned())
    };
    loop {
        let Some(size) = line(at) else { return Ok(None) };
        at += size.len() + 2;
        let size = usize::from_str_radix(&size, 16).map_err(|_| format!("an upstream gets the chunk size {size:?}"))?;
        if size == 0 {
            break;
        }
        let Some(chunk) = input.get(at..at + size + 2) else { return Ok(None) };
        if !chunk.ends_with(b"\r\n") {
            return Err("an upstream gets a chunk that is longer than its size".to_owned());
        }
        content.extend_from_slice(&chunk[..size]);
        at += size + 2;
    }
    loop {
        let Some(trailer) = line(at) else { return Ok(None) };
        at += trailer.len() + 2;
        if trailer.is_empty() {
            return Ok(Some((content, at)));
        }
    }
}

/// What is said about a request.
struct Answer {
    status: u16,
    /// The content, each piece after a pause.
    pieces: Vec<(Duration, Vec<u8>)>,
}

impl Answer {
    fn new(status: u16, content: Vec<u8>) -> Answer {
        Answer { status, pieces: vec![(Duration::ZERO, content)] }
    }

    /// What the service says, too (`service.rs`).
    fn to(request: &Request, content: Vec<u8>) -> Answer {
        let mut parts = request.path.split('/').skip(1);
        let name = parts.next().unwrap_or_default();
        let mut number = || parts.next().and_then(|part| part.parse::<u64>().ok()).unwrap_or_default();
        let (first, second) = (number(), number());
        match name {
            "fixed" | "known" | "chunked" => Answer::new(200, pattern(second, first as usize)),
            "echo" | "gather" | "slow-take" => Answer::new(200, content),
            "delay" => Answer { status: 200, pieces: vec![(Duration::from_millis(first), b"late".to_vec())] },
            "ticks" => {
                let every = Duration::from_millis(second);
                let lines = String::from_utf8(ticks(first as usize)).unwrap_or_default();
                let pieces = lines.split_inclusive('\n').map(|line| (every, line.as_bytes().to_vec())).collect();
                Answer { status: 200, pieces }
            }
            "refuse" => Answer::new(first as u16, REFUSAL.to_vec()),
            "fail" | "fail-late" => Answer::new(500, b"failed".to_vec()),
            _ => Answer::new(404, Vec::new()),
        }
    }

    fn length(&self) -> usize {
        self.pieces.iter().map(|(_, piece)| piece.len()).sum()
    }
}

impl Upstream {
    fn new(manner: Manner, is_wild: bool, mut dice: Dice) -> Upstream {
        let idle_for = match manner {
            Manner::Hasty(idle) => Some(idle),
            _ => None,
        };
        Upstream {
            manner,
            is_wild,
            link: 0,
            input: Vec::new(),
            read: 0,
            request: None,
            requests: 0,
            output: VecDeque::new(),
            paused_until: None,
            sent: 0,
            ends: None,
            idle_for,
            idle_since: None,
            ends_with_server: dice.chance(700),
            may_add_trailers: false,
            is_over: false,
            dice,
        }
    }

    fn take_input(&mut self, world: &mut World) {
        let bytes = world.client_reads(self.link);
        self.read += bytes.len();
        self.input.extend_from_slice(&bytes);
        if let Manner::EndsReading(n, resets) = self.manner
            && self.read >= n
        {
            return self.end(world, resets);
        }
        while !self.is_over && self.take_request(world) {}
        if !self.is_over && world.links[self.link].down.fin_received && self.ends_with_server && self.output.is_empty()
        {
            self.end(world, false);
        }
    }

    /// Whether a request was complete.
    fn take_request(&mut self, world: &mut World) -> bool {
        if self.ends.is_some() {
            return false;
        }
        if self.request.is_none() {
            match Request::parse(&self.input) {
                Ok(None) => return false,
                Ok(Some(request)) => self.begin(request, world),
                Err(wrong) => world.fail(Some(self.link), wrong),
            }
        }
        let Some(request) = self.request.take() else { return false };
        match request.content(&self.input) {
            Ok(None) => {
                self.request = Some(request);
                false
            }
            Ok(Some((content, end))) => {
                self.input.drain(..end);
                if !request.is_answered {
                    self.answer(&request, content);
                }
                true
            }
            Err(wrong) => {
                world.fail(Some(self.link), wrong);
                false
            }
        }
    }

    /// A head is complete.
    fn begin(&mut self, mut request: Request, world: &mut World) {
        self.idle_since = None;
        let is_idempotent = request.is_idempotent();
        if let Some(tag) = request.field("tag").and_then(|tag| tag.parse().ok()) {
            let (is_reused, sent_before) = (self.requests > 0, self.sent);
            let new = Sighting { link: self.link, is_reused, is_idempotent, sent_before, is_second: false };
            let World { upstreams, links, .. } = world;
            let read = |link: LinkId| links[link].up.arrived - links[link].up.received.len() as u64;
            if let Err(wrong) = upstreams.note(tag, new, read) {
                world.fail(Some(self.link), wrong);
            }
        }
        self.requests += 1;
        let expects = request.field("expect").is_some();
        let is_early = matches!(self.manner, Manner::Early(_)) || expects && request.path.starts_with("/refuse");
        if is_early {
            request.is_answered = true;
            if expects {
                // The content may never come.
                self.ends = Some(Ends::Whole);
            }
            let content = if request.path.starts_with("/refuse") { REFUSAL } else { b"" };
            let (status, method) = (if content.is_empty() { 413 } else { 403 }, request.method.clone());
            let status = request
                .path
                .split('/')
                .nth(2)
                .filter(|_| !content.is_empty())
                .map_or(status, |code| code.parse().unwrap_or(status));
            self.say(&method, Answer::new(status, content.to_vec()), true);
        } else if expects {
            self.output.push_back((Duration::ZERO, b"HTTP/1.1 100 Continue\r\n\r\n".to_vec()));
        }
        self.request = Some(request);
    }

    /// A request is complete.
    fn answer(&mut self, request: &Request, content: Vec<u8>) {
        match self.manner {
            Manner::Silent | Manner::Deaf => return,
            Manner::Garbage(which) => self.output.push_back((Duration::ZERO, GARBAGE[which].to_vec())),
            Manner::Storm(n) => {
                let hint = b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n";
                self.output.extend((0..n).map(|_| (Duration::ZERO, hint.to_vec())));
            }
            _ => {}
        }
        let needs_length = request.is_from("1.0");
        self.may_add_trailers = request.is_from("1.1");
        self.say(&request.method, Answer::to(request, content), needs_length);
        match self.manner {
            Manner::HalfClosing => self.ends = Some(Ends::Half),
            // It is no response: one that crosses the next request would be taken for the response to that.
            Manner::Chatty(after) if self.ends.is_none() => self.output.push_back((after, b"and so on\r\n".to_vec())),
            _ => {}
        }
    }

    /// Says this, in some framing.
    fn say(&mut self, method: &str, answer: Answer, needs_length: bool) {
        let dice = &mut self.dice;
        // If only the end of the connection ends the content, nobody can tell that it came too early.
        let can_be_told = !matches!(self.manner, Manner::EndsAt(_, false));
        let (length, until_close) = (answer.length(), !needs_length && can_be_told && dice.chance(150));
        let is_chunked = !until_close && !needs_length && dice.chance(400);
        let http10 = !is_chunked && dice.chance(150);
        let says_close = self.ends.is_some() || dice.chance(100);
        let mut head = format!("HTTP/1.{} {} Some Reason\r\n", u8::from(!http10), answer.status);
        match () {
            () if is_chunked => head += "Transfer-Encoding: chunked\r\n",
            () if until_close => {}
            () => head += &format!("Content-Length: {length}\r\n"),
        }
        let persists = !until_close && !says_close && (!http10 || dice.chance(500));
        match () {
            () if !persists && !http10 => head += "Connection: close\r\n",
            () if persists && http10 => head += "Connection: keep-alive\r\n",
            () => {}
        }
        if persists && dice.chance(300) {
            let seconds = dice.between(1, 8) as u64;
            head += &format!("Keep-Alive: timeout={seconds}\r\n");
            self.idle_for = self.idle_for.or(Some(Duration::from_secs(seconds)));
        }
        head += "\r\n";
        let pause = match self.manner {
            Manner::Good(pause) => pause,
            _ => Duration::ZERO,
        };
        self.output.push_back((pause, head.into_bytes()));
        let is_bare = method == "HEAD" || matches!(answer.status, 204 | 304);
        for (wait, piece) in answer.pieces.into_iter().filter(|_| !is_bare) {
            let mut wait = wait;
            let size = self.dice.size(1, 20_000).max(piece.len() / 20 + 1);
            for part in piece.chunks(size) {
                let framed = match is_chunked {
                    true => [format!("{:x}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat(),
                    false => part.to_vec(),
                };
                let paused = if self.dice.chance(200) { pause } else { Duration::ZERO };
                self.output.push_back((std::mem::take(&mut wait) + paused, framed));
            }
        }
        if is_chunked && !is_bare {
            let trailer = if self.may_add_trailers && self.dice.chance(200) { "Sum: 1\r\n" } else { "" };
            self.output.push_back((Duration::ZERO, format!("0\r\n{trailer}\r\n").into_bytes()));
        }
        if !persists {
            self.ends = Some(Ends::Whole);
        }
    }

    /// Sends what is due.
    fn send(&mut self, world: &mut World) {
        while let Some((pause, _)) = self.output.front().filter(|_| !self.is_over) {
            if !pause.is_zero() && !world.has_paused(self.link, *pause, &mut self.paused_until) {
                return;
            }
            let Some((_, mut bytes)) = self.output.pop_front() else { return };
            let end = match self.manner {
                Manner::EndsAt(at, resets) if self.sent + bytes.len() as u64 >= at => {
                    bytes.truncate((at - self.sent) as usize);
                    Some(resets)
                }
                _ => None,
            };
            self.sent += bytes.len() as u64;
            if !bytes.is_empty() {
                world.client_sends(self.link, &bytes);
            }
            if let Some(resets) = end {
                self.end(world, resets);
            }
        }
        match self.ends {
            Some(Ends::Whole) if !self.is_over => self.end(world, false),
            Some(Ends::Half) if !world.links[self.link].up.fin_queued => world.client_ends(self.link),
            _ => {}
        }
    }

    /// An upstream that is idle may end the connection. A good one does not count the time in which its kernel still sends.
    fn rest(&mut self, world: &mut World) {
        let is_idle = self.request.is_none() && self.input.is_empty() && self.output.is_empty();
        let Some(idle_for) = self.idle_for.filter(|_| is_idle && !self.is_over && self.requests > 0) else { return };
        let is_sending = !self.is_wild && world.links[self.link].up.held_by_sender() > 0;
        match self.idle_since.filter(|_| !is_sending) {
            Some(since) if world.now >= since + idle_for => self.end(world, false),
            Some(_) => {}
            None => {
                self.idle_since = Some(world.now);
                world.wake_after(self.link, idle_for);
            }
        }
    }

    fn end(&mut self, world: &mut World, resets: bool) {
        self.is_over = true;
        self.output.clear();
        if resets { world.client_resets(self.link) } else { world.client_closes(self.link) }
    }
}

impl Actor for Upstream {
    fn kind(&self) -> &'static str {
        "upstream"
    }

    fn is_done(&self) -> bool {
        true
    }

    fn complaint(&self) -> String {
        String::new()
    }

    fn set_link(&mut self, link: LinkId) {
        self.link = link;
    }

    fn act(&mut self, world: &mut World) {
        if !self.is_over {
            self.send(world);
            self.rest(world);
        }
    }

    fn readable(&mut self, world: &mut World) {
        let is_deaf = match self.manner {
            Manner::Deaf => true,
            Manner::Early(reads_on) => !reads_on && self.requests > 0,
            _ => false,
        };
        if self.is_over || is_deaf {
            return;
        }
        self.take_input(world);
        self.act(world);
    }

    fn reset(&mut self, _: &mut World) {
        self.is_over = true;
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an upstream, {:?}, has sent {} B, unread {}", self.manner, self.sent, excerpt(&self.input))
    }
}
