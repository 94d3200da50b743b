//! Kinds of WebSockets: good ones, ones in small pieces, silent ones, ones that do not read, rude ones and broken ones.

use std::time::Duration;

use crate::client::Window;
use crate::dice::Dice;
use crate::frames::{BINARY, CLOSE, CONTINUATION, FIN, PING, RSV1, TEXT, masked};
use crate::kinds::Draw;
use crate::link::Nature;
use crate::service::pattern;
use crate::websocket::{Ending, Manner, Message, Plan, Step, WebSocket};

type Drawn = (WebSocket, Nature);
type Kind = fn(&mut Draw<'_>) -> Drawn;

/// Every kind, with how often it is drawn.
const KINDS: [(u64, Kind); 10] = [
    (4, polite),
    (3, talkative),
    (4, fragmenting),
    (2, idle),
    (2, silent),
    (3, deaf),
    (3, rude),
    (2, half_closing),
    (3, vanishing),
    (1, never_opened),
];

/// Draws a WebSocket of any kind.
pub fn any(draw: &mut Draw<'_>) -> Drawn {
    let mut at = draw.dice.below(KINDS.iter().map(|(weight, _)| weight).sum());
    for (weight, kind) in KINDS {
        if at < weight {
            return kind(draw);
        }
        at -= weight;
    }
    polite(draw)
}

/// The request that opens a WebSocket, with other fields than `with`, and what comes of it.
fn request(method: &str, version: &str, key: &str, extensions: &str, status: u16) -> (Vec<u8>, u16) {
    let request = format!(
        "{method} /ws/echo HTTP/1.1\r\nHost: a\r\nConnection: x, upgrade\r\nUpgrade: WebSocket\r\n\
         Sec-WebSocket-Version: {version}\r\nSec-WebSocket-Key: {key}\r\n{extensions}\r\n"
    );
    (request.into_bytes(), status)
}

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// Opens its WebSocket, perhaps after it was refused one.
fn requests(dice: &mut Dice, offers_deflate: bool) -> Vec<(Vec<u8>, u16)> {
    let extensions = if offers_deflate { "Sec-WebSocket-Extensions: permessage-deflate\r\n" } else { "" };
    let mut requests = Vec::new();
    if dice.chance(100) {
        let (method, version, key, status) =
            dice.pick(&[("PUT", "13", KEY, 405), ("GET", "8", KEY, 426), ("GET", "13", "c2hvcnQ=", 400)]);
        requests.push(request(method, version, key, "", status));
    }
    requests.push(request("GET", "13", KEY, extensions, 101));
    requests
}

/// A talk that is being written.
struct Talk {
    steps: Vec<Step>,
    offers_deflate: bool,
}

impl Talk {
    /// With frames right behind the request, unless it has to be known first what is agreed on.
    fn begin(dice: &mut Dice) -> Talk {
        let offers_deflate = dice.chance(300);
        let waits = offers_deflate || dice.chance(500);
        Talk { steps: if waits { vec![Step::AwaitOpen] } else { Vec::new() }, offers_deflate }
    }

    /// Without compression.
    fn plain() -> Talk {
        Talk { steps: Vec::new(), offers_deflate: false }
    }

    fn say(&mut self, message: Message, manner: Manner) {
        self.steps.push(Step::Say(message, manner));
    }

    /// A message in one frame, or a Ping.
    fn say_something(&mut self, dice: &mut Dice, bytes_max: usize) {
        if dice.chance(150) {
            return self.steps.push(Step::Ping(ping(dice)));
        }
        let manner = Manner { compressed: dice.chance(700), ..Manner::default() };
        self.say(message(dice, bytes_max), manner);
    }

    fn await_echoes(&mut self) {
        self.steps.push(Step::AwaitEchoes);
    }

    fn close(&mut self, dice: &mut Dice) {
        let close = [(None, ""), (Some(1000), ""), (Some(1001), "bye"), (Some(3000), "mehr Licht"), (Some(4999), "")];
        let (code, reason) = dice.pick(&close);
        self.steps.push(Step::Close(code, reason));
    }

    fn by(self, kind: &'static str, ending: Ending, dice: &mut Dice) -> WebSocket {
        let requests = requests(dice, self.offers_deflate);
        let Talk { steps: script, offers_deflate } = self;
        let answers_pings = !matches!(ending, Ending::Silent(_) | Ending::Cut(_));
        WebSocket::new(Plan { kind, requests, script, ending, offers_deflate, answers_pings }, dice.fork())
    }
}

fn ping(dice: &mut Dice) -> Vec<u8> {
    let (salt, n) = (dice.below(1000), dice.between(0, 125));
    pattern(salt, n)
}

/// A message of up to so many bytes, perhaps none.
fn message(dice: &mut Dice, bytes_max: usize) -> Message {
    let (n, salt) = (dice.size(1, bytes_max), dice.below(1000));
    match dice.below(10) {
        0 => Message { opcode: dice.pick(&[TEXT, BINARY]), content: Vec::new() },
        1..=4 => Message { opcode: TEXT, content: text(salt, n) },
        5 => Message { opcode: BINARY, content: vec![b'a'; n] },
        _ => Message { opcode: BINARY, content: pattern(salt, n) },
    }
}

/// Text with characters of every length, about `n` bytes of it.
fn text(salt: u64, n: usize) -> Vec<u8> {
    const CHARACTERS: [char; 8] = ['a', '\u{e9}', '\u{20ac}', '\u{1f30a}', ' ', 'z', '\u{7ff}', '\u{10ffff}'];
    let choices = pattern(salt, n.div_ceil(2));
    choices.into_iter().map(|choice| CHARACTERS[usize::from(choice % 8)]).collect::<String>().into_bytes()
}

/// A few messages, each after the one before has come back.
fn polite(draw: &mut Draw<'_>) -> Drawn {
    let mut talk = Talk::begin(draw.dice);
    for _ in 0..draw.dice.between(1, 6) {
        talk.say_something(draw.dice, 60_000);
        talk.await_echoes();
        talk.steps.push(Step::Pause(draw.dice.millis(0, 50)));
    }
    talk.close(draw.dice);
    (talk.by("polite WebSocket", Ending::InOrder, draw.dice), Nature::draw(draw.dice))
}

/// Many messages and the Close without waiting for anything.
fn talkative(draw: &mut Draw<'_>) -> Drawn {
    let mut talk = Talk::begin(draw.dice);
    for _ in 0..draw.dice.between(2, 24) {
        talk.say_something(draw.dice, 20_000);
    }
    talk.close(draw.dice);
    (talk.by("talkative WebSocket", Ending::InOrder, draw.dice), Nature::draw(draw.dice))
}

/// Messages in frames that end anywhere, with Pings between them, handed over in pieces that end anywhere as well.
fn fragmenting(draw: &mut Draw<'_>) -> Drawn {
    let mut talk = Talk::begin(draw.dice);
    for _ in 0..draw.dice.between(1, 4) {
        let message = message(draw.dice, 3000);
        let mut cuts: Vec<usize> =
            (0..draw.dice.between(0, 8)).map(|_| draw.dice.between(0, message.content.len())).collect();
        cuts.sort_unstable();
        let pings = (0..draw.dice.between(0, cuts.len())).map(|_| ping(draw.dice)).collect();
        let piece = if draw.dice.chance(500) { 0 } else { draw.dice.size(1, 200) };
        talk.say(message, Manner { cuts, pings, compressed: draw.dice.chance(500), piece });
        if draw.dice.chance(500) {
            talk.await_echoes();
        }
    }
    talk.close(draw.dice);
    let mut nature = Nature::draw(draw.dice);
    if draw.dice.chance(300) {
        nature.up.segment = (1, 1);
        nature.up.delay.1 = nature.up.delay.0 + draw.dice.below(500);
    }
    (talk.by("fragmenting WebSocket", Ending::InOrder, draw.dice), nature)
}

/// Says little, and answers the server's Pings.
fn idle(draw: &mut Draw<'_>) -> Drawn {
    let mut talk = Talk::begin(draw.dice);
    talk.say_something(draw.dice, 1000);
    talk.await_echoes();
    talk.steps.push(Step::AwaitPings(draw.dice.between(1, 4)));
    talk.say_something(draw.dice, 1000);
    talk.close(draw.dice);
    (talk.by("idle WebSocket", Ending::InOrder, draw.dice), Nature::draw(draw.dice))
}

/// Says little, and nothing at all from then on.
fn silent(draw: &mut Draw<'_>) -> Drawn {
    let mut talk = Talk::begin(draw.dice);
    for _ in 0..draw.dice.between(0, 2) {
        talk.say_something(draw.dice, 1000);
    }
    let mut nature = Nature::draw(draw.dice);
    nature.stalls = 0;
    (talk.by("silent WebSocket", Ending::Silent(draw.limits.ws_ping_interval), draw.dice), nature)
}

/// Says a lot and reads nothing.
fn deaf(draw: &mut Draw<'_>) -> Drawn {
    let mut talk = Talk::plain();
    talk.steps.push(Step::StopReading);
    let mut nature = Nature::draw(draw.dice);
    nature.down.window = nature.down.window.min(16 * 1024);
    let mut left = 400_000;
    while left > 0 {
        let n = draw.dice.size(1000, 100_000).min(left);
        talk.say(Message { opcode: BINARY, content: pattern(1, n) }, Manner::default());
        left -= n;
    }
    for _ in 0..10 {
        talk.steps.push(Step::Pause(draw.dice.millis(1, 1000)));
        talk.steps.push(Step::Weigh);
    }
    // By then it is over, and it sees that.
    talk.steps.push(Step::Pause(draw.limits.send_timeout + Duration::from_secs(3600)));
    talk.steps.push(Step::GoOnReading);
    let ending = Ending::Cut(Window::of_slow_read(draw.limits.send_timeout));
    (talk.by("deaf WebSocket", ending, draw.dice), nature)
}

/// What breaks a rule, and the code it is refused with.
fn offences() -> [(Vec<u8>, u16); 14] {
    let frame = |first: u8, payload: &[u8]| masked(first, payload, [7, 0, 9, 1]);
    [
        (b"\x82\x02hi".to_vec(), 1002),
        (frame(FIN | 0x20 | TEXT, b"hi"), 1002),
        (frame(FIN | RSV1 | PING, b"hi"), 1002),
        (frame(FIN | 0x3, b"hi"), 1002),
        (frame(FIN | 0xb, b"hi"), 1002),
        (frame(FIN | CONTINUATION, b"hi"), 1002),
        (frame(PING, b"hi"), 1002),
        (frame(FIN | PING, &[0; 126]), 1002),
        (b"\x82\xfe\x00\x01\x00\x00\x00\x00h".to_vec(), 1002),
        (b"\x82\xff\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00".to_vec(), 1002),
        (frame(FIN | CLOSE, b"\x03\xed"), 1002),
        (frame(FIN | CLOSE, b"\x03\xe8\xff"), 1007),
        (frame(FIN | TEXT, b"fine, and then \xed\xa0\x80"), 1007),
        ([frame(TEXT, b"half \xe2\x82"), frame(FIN | CONTINUATION, b"")].concat(), 1007),
    ]
}

/// Breaks a rule, perhaps behind messages that do not, and goes on sending.
fn rude(draw: &mut Draw<'_>) -> Drawn {
    let mut talk = Talk::begin(draw.dice);
    for _ in 0..draw.dice.between(0, 3) {
        talk.say_something(draw.dice, 5000);
    }
    let offences = offences();
    let (mut bytes, code) = offences[draw.dice.below(offences.len() as u64) as usize].clone();
    if draw.dice.chance(500) {
        bytes.extend(pattern(5, draw.dice.size(1, 50_000)));
    }
    talk.steps.push(Step::Break(bytes, code));
    (talk.by("rude WebSocket", Ending::InOrder, draw.dice), Nature::draw(draw.dice))
}

/// Ends its direction without a Close, and wants to hear what it said all the same.
fn half_closing(draw: &mut Draw<'_>) -> Drawn {
    let mut talk = Talk::plain();
    for _ in 0..draw.dice.between(0, 4) {
        talk.say_something(draw.dice, 20_000);
    }
    talk.steps.push(Step::Fin);
    (talk.by("half-closing WebSocket", Ending::InOrder, draw.dice), Nature::draw(draw.dice))
}

/// Disappears at any moment: in a message, in a frame.
fn vanishing(draw: &mut Draw<'_>) -> Drawn {
    let mut talk = Talk::begin(draw.dice);
    for _ in 0..draw.dice.between(0, 3) {
        talk.say_something(draw.dice, 20_000);
    }
    if draw.dice.chance(500) {
        let begun = masked(draw.dice.pick(&[BINARY, FIN | BINARY, FIN | PING, FIN | CLOSE]), b"", [0; 4]);
        let half = masked(FIN | BINARY, &pattern(3, draw.dice.size(1, 3000)), [1, 2, 3, 4]);
        let kept = draw.dice.between(0, half.len() - 1);
        talk.steps.push(Step::Send(if draw.dice.chance(500) { begun } else { half[..kept].to_vec() }));
    }
    talk.steps.push(Step::Pause(Duration::from_micros(draw.dice.size(1, 400_000) as u64)));
    talk.steps.push(draw.dice.pick(&[Step::Reset, Step::Vanish, Step::Fin].each_ref()).clone());
    (talk.by("vanishing WebSocket", Ending::Anyhow, draw.dice), Nature::draw(draw.dice))
}

/// Disappears in the middle of its request.
fn never_opened(draw: &mut Draw<'_>) -> Drawn {
    let (mut request, status) = request("GET", "13", KEY, "", 101);
    request.truncate(draw.dice.between(0, request.len() - 1));
    let gone = draw.dice.pick(&[Step::Reset, Step::Vanish].each_ref()).clone();
    let plan = Plan {
        kind: "WebSocket that is never opened",
        requests: vec![(request, status)],
        script: vec![Step::Pause(draw.dice.millis(0, 300)), gone],
        ending: Ending::Anyhow,
        offers_deflate: false,
        answers_pings: true,
    };
    (WebSocket::new(plan, draw.dice.fork()), Nature::draw(draw.dice))
}
