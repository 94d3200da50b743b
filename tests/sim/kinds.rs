//! Kinds of clients: good ones, slow ones, rude ones and broken ones.

use std::time::Duration;

use tidemill::base::limits::Limits;

use crate::client::{Client, Content, Ending, Expected, Since, Step, Window};
use crate::dice::Dice;
use crate::link::Nature;
use crate::request::{self, Asked, Request};
use crate::service::pattern;
use crate::world::Actor;

/// What a kind of client is drawn from.
pub struct Draw<'a> {
    /// The world's choices.
    pub dice: &'a mut Dice,
    /// What the server is limited to.
    pub limits: &'a Limits,
}

type Drawn = (Client, Nature);
type Kind = fn(&mut Draw<'_>) -> Drawn;

/// Every kind of client that is one by itself, with how often it is drawn.
const KINDS: [(u64, Kind); 19] = [
    (6, polite),
    (4, pipelining),
    (3, byte_by_byte),
    (2, half_closing),
    (2, http10),
    (2, closing),
    (2, expecting_continue),
    (2, unread_continue),
    (3, uploading_to_a_refusal),
    (2, silent),
    (2, slow_head),
    (1, patient_head),
    (2, slow_body),
    (1, stalled_body),
    (1, patient_body),
    (3, deaf),
    (2, idle),
    (3, aborting),
    (3, garbage),
];

/// Draws a client of any kind.
pub fn any(draw: &mut Draw<'_>) -> Drawn {
    let all: u64 = KINDS.iter().map(|(weight, _)| weight).sum::<u64>() + 2;
    let mut at = draw.dice.below(all);
    for (weight, kind) in KINDS {
        if at < weight {
            return kind(draw);
        }
        at -= weight;
    }
    broken_answer(draw)
}

/// Draws a client of any kind whose answers can come from an upstream.
pub fn any_behind_proxy(draw: &mut Draw<'_>, is_wild: bool, silence_max: Duration) -> Drawn {
    if draw.dice.chance(80) {
        let (client, nature) = bulky(draw);
        return (client.behind_proxy(is_wild, silence_max), nature);
    }
    loop {
        let (client, nature) = any(draw);
        // What they are to get depends on how the service itself fails or refuses.
        if !["uploading", "unlucky"].contains(&client.kind()) {
            return (client.behind_proxy(is_wild, silence_max), nature);
        }
    }
}

/// A script that is being written, with what must come of it.
#[derive(Default)]
struct Script {
    steps: Vec<Step>,
    expected: Vec<Expected>,
    sent: u64,
}

impl Script {
    fn send(&mut self, bytes: Vec<u8>) {
        self.sent += bytes.len() as u64;
        self.steps.push(Step::Send(bytes));
    }

    fn expect(&mut self, expected: Expected, head: u64) {
        self.expected.push(Expected { head_end: self.sent + head, ..expected });
    }

    /// Sends a whole request.
    fn ask(&mut self, asked: Asked) {
        let Asked { mut head, content, expected } = asked;
        self.expect(expected, head.len() as u64);
        head.extend_from_slice(&content);
        self.send(head);
    }

    fn await_answers(&mut self) {
        self.steps.push(Step::AwaitAnswers(self.expected.len()));
    }

    fn pause(&mut self, wait: Duration) {
        self.steps.push(Step::Pause(wait));
    }

    /// Sends `bytes` in pieces, with a pause in front of each.
    fn trickle(&mut self, bytes: &[u8], piece: usize, every: Duration) {
        for piece in bytes.chunks(piece) {
            self.pause(every);
            self.send(piece.to_vec());
        }
    }

    fn client(self, kind: &'static str, ending: Ending) -> Client {
        Client::new(kind, self.steps, self.expected, ending)
    }
}

/// A few requests, each after the answer to the one before.
fn polite(draw: &mut Draw<'_>) -> Drawn {
    let mut script = Script::default();
    for _ in 0..draw.dice.between(1, 6) {
        let asked = request::any(draw.dice).build(draw.dice);
        script.ask(asked);
        script.await_answers();
        let thinks = draw.dice.chance(300);
        script.pause(draw.dice.millis(0, if thinks { 2000 } else { 5 }));
    }
    (script.client("polite", Ending::Ours), Nature::draw(draw.dice))
}

/// Uploads more than is held between a client and an upstream.
fn bulky(draw: &mut Draw<'_>) -> Drawn {
    let mut script = Script::default();
    for _ in 0..draw.dice.between(1, 2) {
        let asked = request::bulk(draw.dice).build(draw.dice);
        script.ask(asked);
        script.await_answers();
    }
    (script.client("bulky", Ending::Ours), Nature::draw(draw.dice))
}

/// Many requests without waiting for an answer, at once or one after the other.
fn pipelining(draw: &mut Draw<'_>) -> Drawn {
    let mut script = Script::default();
    let (unhurried, at_once) = draw.dice.pick(&[(true, false), (false, false), (false, true)]);
    for _ in 0..draw.dice.between(2, 24) {
        let asked = request::any(draw.dice).build(draw.dice);
        script.ask(asked);
        if unhurried {
            script.pause(draw.dice.millis(0, 200));
        }
    }
    if at_once {
        let all: Vec<u8> = script.steps.drain(..).flat_map(bytes_of).collect();
        script.steps.push(Step::Send(all));
    }
    (script.client("pipelining", Ending::Ours), Nature::draw(draw.dice))
}

fn bytes_of(step: Step) -> Vec<u8> {
    match step {
        Step::Send(bytes) => bytes,
        _ => Vec::new(),
    }
}

/// Every byte is a segment of its own.
fn byte_by_byte(draw: &mut Draw<'_>) -> Drawn {
    let mut script = Script::default();
    for _ in 0..draw.dice.between(1, 3) {
        let request = match draw.dice.below(3) {
            0 => request::echo(draw.dice, 300),
            1 => request::gather(draw.dice, 300),
            _ => request::get(draw.dice),
        };
        script.ask(request.build(draw.dice));
    }
    let mut nature = Nature::draw(draw.dice);
    nature.up.segment = (1, 1);
    nature.up.delay.1 = nature.up.delay.0 + draw.dice.below(500);
    (script.client("byte-by-byte", Ending::Ours), nature)
}

/// Ends its direction right behind its requests, and wants every answer all the same.
fn half_closing(draw: &mut Draw<'_>) -> Drawn {
    let mut script = Script::default();
    for _ in 0..draw.dice.between(1, 4) {
        let asked = request::any(draw.dice).build(draw.dice);
        script.ask(asked);
    }
    script.steps.push(Step::Fin);
    (script.client("half-closing", Ending::Theirs(Window::promptly())), Nature::draw(draw.dice))
}

/// HTTP/1.0: no chunks, and an end to the connection unless it was asked to persist.
fn http10(draw: &mut Draw<'_>) -> Drawn {
    let mut script = Script::default();
    for _ in 0..draw.dice.between(0, 2) {
        let (n, salt) = (draw.dice.size(1, 20_000), draw.dice.below(1000));
        let request = Request::new("GET", format!("/fixed/{n}/{salt}"), 200, pattern(salt, n)).in_http10();
        script.ask(request.with_field("Connection", "keep-alive").build(draw.dice));
        script.await_answers();
    }
    let last = request::get(draw.dice).in_http10();
    script.ask(last.build(draw.dice));
    (script.client("HTTP/1.0", Ending::Theirs(Window::promptly())), Nature::draw(draw.dice))
}

/// Says itself that its last request is the last.
fn closing(draw: &mut Draw<'_>) -> Drawn {
    let mut script = Script::default();
    for _ in 0..draw.dice.between(0, 2) {
        let asked = request::any(draw.dice).build(draw.dice);
        script.ask(asked);
    }
    let last = if draw.dice.chance(300) { filling(draw) } else { request::any(draw.dice).closing() };
    script.ask(last.build(draw.dice));
    let mut nature = Nature::draw(draw.dice);
    if draw.dice.chance(500) {
        // More than it announced, all in one segment: it must not cost the client the answer.
        script.send(pattern(8, draw.dice.size(1, 5000)));
        let all: Vec<u8> = script.steps.drain(..).flat_map(bytes_of).collect();
        nature.up.segment = (all.len(), all.len());
        nature.up.window = nature.up.window.max(all.len());
        script.steps.push(Step::Send(all));
    }
    (script.client("closing", Ending::Theirs(Window::promptly())), nature)
}

/// A request that fills the inbox to its last byte: what stands behind it is still with the kernel.
fn filling(draw: &mut Draw<'_>) -> Request {
    const REST: &str = "GET /fixed/3000/1 HTTP/1.1\r\nHost: sim\r\nConnection: close\r\nPad: \r\n\r\n";
    let pad = "x".repeat(draw.limits.inbox_bytes - REST.len());
    Request::new("GET", "/fixed/3000/1".to_owned(), 200, pattern(1, 3000)).with_field("Pad", &pad).closing()
}

/// Sends its content only after `100 Continue`.
fn expecting_continue(draw: &mut Draw<'_>) -> Drawn {
    let request = match draw.dice.below(3) {
        0 => request::echo(draw.dice, 20_000).expecting(|expected| expected.interim = true),
        1 => request::gather(draw.dice, 20_000).expecting(|expected| expected.interim = true),
        // Nobody knows whether the content follows.
        _ => request::refused(draw.dice, 20_000, u64::MAX).expecting(|expected| expected.closes = true),
    };
    let Asked { head, content, expected } = request.with_field("Expect", "100-continue").build(draw.dice);
    let mut script = Script::default();
    script.expect(expected, head.len() as u64);
    script.send(head);
    script.steps.push(Step::SendIfContinued(content));
    (script.client("expecting", Ending::Ours), Nature::draw(draw.dice))
}

/// Expects `100 Continue` but does not wait for it.
fn unread_continue(draw: &mut Draw<'_>) -> Drawn {
    let mut script = Script::default();
    let request = request::gather(draw.dice, 20_000).with_field("Expect", "100-continue");
    script.ask(request.expecting(|expected| expected.interim = true).build(draw.dice));
    let next = request::get(draw.dice).build(draw.dice);
    script.ask(next);
    (script.client("impatient", Ending::Ours), Nature::draw(draw.dice))
}

/// Goes on sending what was refused, and must see the refusal.
fn uploading_to_a_refusal(draw: &mut Draw<'_>) -> Drawn {
    let mut script = Script::default();
    let refused = request::refused(draw.dice, 300_000, draw.limits.discarded_bytes_max);
    if draw.dice.chance(300) {
        let asked = request::get(draw.dice).build(draw.dice);
        script.ask(asked);
    }
    script.ask(refused.build(draw.dice));
    let persists_to_the_end = draw.dice.chance(500);
    if persists_to_the_end {
        script.steps.push(Step::Fin);
    }
    let ending = if persists_to_the_end { Ending::Theirs(Window::promptly()) } else { Ending::Ours };
    (script.client("uploading", ending), Nature::draw(draw.dice))
}

/// Never says a word.
fn silent(draw: &mut Draw<'_>) -> Drawn {
    let ending = Ending::Theirs(Window::at(Since::Accept, draw.limits.first_byte_timeout));
    (Script::default().client("silent", ending), Nature::draw(draw.dice))
}

/// A head that trickles in for ever.
fn slow_head(draw: &mut Draw<'_>) -> Drawn {
    let timeout = draw.limits.header_timeout;
    let mut script = Script::default();
    let late = Expected { closes: true, silence_max: timeout, ..Expected::new(408, Content::Anything) };
    script.expect(late, 1000);
    script.send(b"G".to_vec());
    let piece = draw.dice.between(1, 4);
    script.trickle(b"ET / HTTP/1.1\r\nHost: sim\r\nSlow: lorem ipsum dolor sit amet", piece, timeout / 8);
    let ending = Ending::Theirs(Window::at(Since::FirstByte, timeout));
    (script.client("slow head", ending), Nature::draw(draw.dice))
}

/// A head that takes its time, but not too long.
fn patient_head(draw: &mut Draw<'_>) -> Drawn {
    let Asked { head, expected, .. } = request::get(draw.dice).build(draw.dice);
    let mut script = Script::default();
    script.expect(expected, head.len() as u64);
    let pieces = draw.dice.between(2, 10);
    let every = draw.limits.header_timeout * 6 / 10 / (pieces as u32 + 1);
    script.send(head[..1].to_vec());
    script.trickle(&head[1..], head.len().div_ceil(pieces), every);
    (script.client("patient head", Ending::Ours), Nature::draw(draw.dice))
}

/// Content that goes on, but below the floor rate.
fn slow_body(draw: &mut Draw<'_>) -> Drawn {
    let timeout = draw.limits.body_timeout;
    let mut script = begun_body(draw.limits, 100_000);
    script.trickle(&pattern(1, 4000), draw.dice.between(1, 20), Duration::from_secs(1));
    let latest = timeout + timeout / 5 + Duration::from_secs(1);
    let ending = Ending::Theirs(Window { since: Since::FirstByte, earliest: timeout, latest });
    (script.client("slow body", ending), Nature::draw(draw.dice))
}

/// Content that stops in the middle.
fn stalled_body(draw: &mut Draw<'_>) -> Drawn {
    let mut script = begun_body(draw.limits, 10_000);
    let sent = draw.dice.between(0, 9000);
    script.send(pattern(2, sent));
    let ending = Ending::Theirs(Window::at(Since::LastByte, draw.limits.body_timeout));
    (script.client("stalled body", ending), Nature::draw(draw.dice))
}

fn begun_body(limits: &Limits, length: usize) -> Script {
    let mut script = Script::default();
    let head = format!("POST /gather/1000000 HTTP/1.1\r\nHost: sim\r\nContent-Length: {length}\r\n\r\n");
    let silence_max = limits.body_timeout;
    let late = Expected { closes: true, silence_max, ..Expected::new(408, Content::Anything) };
    script.expect(late, head.len() as u64);
    script.send(head.into_bytes());
    script
}

/// Content that takes its time, well above the floor rate.
fn patient_body(draw: &mut Draw<'_>) -> Drawn {
    let floor = draw.limits.rate_floor;
    let seconds = draw.limits.body_timeout.as_secs() * 2;
    let sent = pattern(3, (floor * seconds * 2) as usize);
    let asked = Request::new("POST", "/gather/1000000".to_owned(), 200, sent.clone());
    let Asked { head, content, expected } = asked.with_content(sent, false).build(draw.dice);
    let mut script = Script::default();
    script.expect(expected, head.len() as u64);
    script.send(head);
    script.trickle(&content, floor as usize, Duration::from_millis(500));
    (script.client("patient body", Ending::Ours), Nature::draw(draw.dice))
}

/// Asks for a lot and reads nothing.
fn deaf(draw: &mut Draw<'_>) -> Drawn {
    let mut script = Script::default();
    let mut nature = Nature::draw(draw.dice);
    nature.down.window = nature.down.window.min(16 * 1024);
    script.steps.push(Step::StopReading);
    let whole = pattern(7, 300_000);
    let mut request = match draw.dice.chance(300) {
        true => Request::new("POST", "/echo/1000".to_owned(), 200, whole.clone()).with_content(whole.clone(), false),
        false => Request::new("GET", "/chunked/300000/7".to_owned(), 200, Vec::new()),
    };
    request = request.expecting(|expected| expected.content = Content::CutWithin(whole));
    script.ask(request.build(draw.dice));
    (script.client("deaf", Ending::Cut(Window::of_slow_read(draw.limits.send_timeout))), nature)
}

/// Keeps its connection without another request.
fn idle(draw: &mut Draw<'_>) -> Drawn {
    let mut script = Script::default();
    for _ in 0..draw.dice.between(1, 3) {
        let asked = request::get(draw.dice).build(draw.dice);
        script.ask(asked);
        script.await_answers();
    }
    let ending = Ending::Theirs(Window::at(Since::LastWrite, draw.limits.keep_alive_timeout));
    (script.client("idle", ending), Nature::draw(draw.dice))
}

/// Disappears at any moment.
fn aborting(draw: &mut Draw<'_>) -> Drawn {
    let mut script = Script::default();
    for _ in 0..draw.dice.between(0, 4) {
        let asked = request::any(draw.dice).build(draw.dice);
        script.ask(asked);
    }
    if draw.dice.chance(300) {
        let half = request::gather(draw.dice, 3000).build(draw.dice);
        script.expect(half.expected, half.head.len() as u64);
        let whole = [half.head, half.content].concat();
        script.send(whole[..draw.dice.between(0, whole.len() - 1)].to_vec());
    }
    let wait = draw.dice.size(1, 400_000) as u64;
    script.pause(Duration::from_micros(wait));
    script.steps.push(draw.dice.pick(&[Step::Reset, Step::Close].each_ref()).clone());
    (script.client("aborting", Ending::Anyhow), Nature::draw(draw.dice))
}

const GARBAGE: [(&[u8], u16); 13] = [
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS hello", 400),
    (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\n\r\n", 400),
    (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
    (b"GET / HTTP/1.1\nHost: a\n\n", 400),
    (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n", 400),
    (b"G@T / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc", 400),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400),
    (b"POST /gather/9 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: a\r\n folded: b\r\n\r\n", 400),
];

/// Sends what is no request, perhaps behind some that are, and goes on sending.
fn garbage(draw: &mut Draw<'_>) -> Drawn {
    let mut script = Script::default();
    for _ in 0..draw.dice.between(0, 3) {
        let asked = request::any(draw.dice).build(draw.dice);
        script.ask(asked);
    }
    let (bytes, status) = draw.dice.pick(&GARBAGE);
    let refused = Expected { closes: true, ..Expected::new(status, Content::Anything) };
    script.expect(refused, bytes.len() as u64);
    let junk = if draw.dice.chance(500) { draw.dice.size(1, 50_000) } else { 0 };
    script.send([bytes, &pattern(5, junk)].concat());
    (script.client("garbage", Ending::Theirs(Window::promptly())), Nature::draw(draw.dice))
}

/// A good client whose answer breaks off at the server.
fn broken_answer(draw: &mut Draw<'_>) -> Drawn {
    let mut script = Script::default();
    let (n, salt) = (draw.dice.size(1, 50_000), draw.dice.below(1000));
    let path = format!("/{}/{n}/{salt}", draw.dice.pick(&["broken", "short"]));
    let whole = pattern(salt, n);
    let mut request = Request::new("GET", path, 200, Vec::new());
    request = request.expecting(|expected| expected.content = Content::CutWithin(whole));
    if draw.dice.chance(300) {
        request = request.in_http10();
    }
    script.ask(request.build(draw.dice));
    (script.client("unlucky", Ending::Cut(Window::promptly())), Nature::draw(draw.dice))
}

/// Two clients of whom one waits for the other.
pub fn pair(draw: &mut Draw<'_>, place: usize) -> [Drawn; 2] {
    let (mut waits, mut comes) = (Script::default(), Script::default());
    let request = Request::new("GET", format!("/meet/{place}"), 200, b"met".to_vec());
    let request = request.expecting(|expected| expected.silence_max = Duration::from_secs(20));
    waits.ask(request.build(draw.dice));
    comes.pause(draw.dice.millis(0, 10_000).min(draw.limits.first_byte_timeout / 2));
    comes.ask(Request::new("GET", format!("/come/{place}"), 200, b"came".to_vec()).build(draw.dice));
    let natures = [Nature::draw(draw.dice), Nature::draw(draw.dice)];
    let clients = [waits.client("waiting", Ending::Ours), comes.client("coming", Ending::Ours)];
    let [waits, comes] = clients;
    let [first, second] = natures;
    [(waits, first), (comes, second)]
}
