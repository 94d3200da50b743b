//! What a stream asks for, how it goes about it, and what must come of it.

use std::time::Duration;

use super::talk::Talk;
use crate::client::{Content, Expected, INVITATION_PATIENCE};
use crate::dice::Dice;
use crate::request::{self, Parts, Request};
use crate::service::pattern;
use crate::upstream::tunnel::{Kind, Target};

/// One request on a stream of its own.
pub struct Ask {
    /// Pseudo-fields and fields.
    pub fields: Vec<(String, String)>,
    /// What it sends.
    pub content: Vec<u8>,
    /// Whether trailers end the content.
    pub has_trailers: bool,
    /// What is said in a tunnel.
    pub talk: Option<Talk>,
    /// What is said in a tunnel to an upstream as soon as it is open, and then no more.
    pub tunnel: Option<Vec<u8>>,
    /// What must come of it.
    pub expected: Expected,
    /// It is malformed, and must be reset with PROTOCOL_ERROR.
    pub is_malformed: bool,
    /// An upstream answers, which may fail.
    pub is_fallible: bool,
    /// The trailers that must come.
    pub trailers: Vec<(String, String)>,
    /// The interim responses that may come, but for 100.
    pub hints: usize,
    /// It is opened so long after the one before.
    pub after: Duration,
    /// Bytes of content in a frame.
    pub piece: usize,
    /// How it reads the response.
    pub reading: Reading,
    /// Whether it goes away by itself.
    pub gives_up: Option<GivesUp>,
    /// A priority for PRIORITY_UPDATE, before or after the request.
    pub update: Option<(bool, String)>,
}

/// How a stream's window is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// So many bytes are always allowed.
    Ahead(u32),
    /// So many more are allowed when all that was allowed has come.
    InPortions(u32),
    /// Never beyond the initial window.
    Never,
}

/// When a stream is reset by its client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GivesUp {
    /// So long after it was opened.
    After(Duration),
    /// When so much content has come.
    At(usize),
}

/// A small window that is no tiny one, in bytes.
const PORTION_BYTES_MIN: usize = 256;
/// How much is drawn for a window, in bytes.
const WINDOW_BYTES_MAX: usize = 100_000;

impl Ask {
    /// This request, as one would ask without any peculiarities.
    pub fn plain(request: Request) -> Ask {
        let Parts { method, path, mut fields, content, chunked, expected } = request.into_parts();
        if !content.is_empty() && !chunked {
            fields.push(("content-length".to_owned(), content.len().to_string()));
        }
        let pseudo = [(":method", method), (":scheme", "http"), (":authority", "sim"), (":path", path.as_str())];
        let pseudo = pseudo.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Ask {
            fields: pseudo.into_iter().chain(fields).collect(),
            content,
            has_trailers: false,
            talk: None,
            tunnel: None,
            expected,
            is_malformed: false,
            is_fallible: false,
            trailers: Vec::new(),
            hints: 0,
            after: Duration::ZERO,
            piece: 16 * 1024,
            reading: Reading::Ahead(65_535),
            gives_up: None,
            update: None,
        }
    }

    /// This request, asked somehow.
    pub fn draw(request: Request, dice: &mut Dice) -> Ask {
        let mut ask = Ask::plain(request);
        ask.after = if dice.chance(600) { Duration::ZERO } else { dice.millis(0, 500) };
        ask.piece = dice.size(1, 16 * 1024).max(ask.content.len() / 100 + 1);
        ask.reading = match dice.below(4) {
            0 => Reading::InPortions(dice.size(PORTION_BYTES_MIN, WINDOW_BYTES_MAX) as u32),
            // When half of it is there more is allowed, and what is left is still not tiny.
            _ => Reading::Ahead(dice.size(2 * PORTION_BYTES_MIN, WINDOW_BYTES_MAX) as u32),
        };
        ask.has_trailers = !ask.content.is_empty() && dice.chance(100);
        if dice.chance(300) {
            ask.fields.push(("priority".to_owned(), priority(dice)));
        }
        if dice.chance(150) {
            ask.update = Some((dice.chance(500), priority(dice)));
        }
        ask
    }

    /// The same, and its client goes away at some time.
    pub fn giving_up(mut self, dice: &mut Dice) -> Ask {
        self.gives_up = Some(match dice.below(3) {
            0 => GivesUp::After(Duration::ZERO),
            1 => GivesUp::After(dice.millis(0, 300)),
            _ => GivesUp::At(dice.size(1, 50_000)),
        });
        self
    }

    /// Whether content waits for 100 Continue.
    pub fn waits_to_continue(&self) -> bool {
        self.fields.iter().any(|(name, _)| name == "expect")
    }
}

fn priority(dice: &mut Dice) -> String {
    let incremental = dice.pick(&["", ", i", ", i=?0"]);
    format!("u={}{incremental}", dice.below(8))
}

/// Any request that ends well.
pub fn any(dice: &mut Dice) -> Ask {
    match dice.below(20) {
        0 => trailing(dice),
        1 => hinted(dice),
        2 => expecting(dice, 3),
        3 => refused(dice),
        4 => broken(dice),
        5 => talking(dice),
        6 if dice.chance(300) => malformed(dice),
        7 if dice.chance(300) => for_another_protocol(dice),
        _ => {
            let request = request::any(dice);
            Ask::draw(request, dice)
        }
    }
}

/// Any request that an upstream can answer. In a wild world that may fail, and nothing need come for so long.
pub fn for_upstreams(dice: &mut Dice, is_wild: bool, silence_max: Duration) -> Ask {
    let ask = match dice.below(20) {
        0..=2 => expecting(dice, 2),
        3 | 4 => tunnelling(dice),
        5 => {
            let request = request::bulk(dice);
            Ask::draw(request, dice)
        }
        _ => {
            let request = request::any(dice);
            Ask::draw(request, dice)
        }
    };
    by_upstreams(ask, dice, is_wild, silence_max)
}

/// The same request, which an upstream answers.
pub fn by_upstreams(mut ask: Ask, dice: &mut Dice, is_wild: bool, silence_max: Duration) -> Ask {
    ask.fields.extend(dice.tag().map(|tag| ("tag".to_owned(), tag.to_string())));
    let patience = if ask.waits_to_continue() { INVITATION_PATIENCE } else { Duration::ZERO };
    ask.expected.silence_max += silence_max.max(patience);
    Ask { is_fallible: is_wild, ..ask }
}

/// A short request with short content, if it has any.
pub fn small(dice: &mut Dice) -> Ask {
    let request = match dice.below(3) {
        0 => request::echo(dice, 300),
        1 => request::gather(dice, 300),
        _ => request::get(dice),
    };
    Ask::draw(request, dice)
}

/// A long response to a client that allows all of it.
pub fn large(dice: &mut Dice) -> Ask {
    let salt = dice.below(1000);
    let whole = pattern(salt, 300_000);
    let request = Request::new("GET", format!("/chunked/300000/{salt}"), 200, whole);
    Ask { reading: Reading::Ahead(1 << 30), after: Duration::ZERO, ..Ask::draw(request, dice) }
}

/// The end of the response has fields.
fn trailing(dice: &mut Dice) -> Ask {
    let (n, salt) = (dice.size(1, 50_000) - 1, dice.below(1000));
    let request = Request::new("GET", format!("/trailers/{n}/{salt}"), 200, pattern(salt, n));
    let trailers = vec![("sum".to_owned(), salt.to_string())];
    Ask { trailers, ..Ask::draw(request, dice) }
}

/// 103 comes before the response.
fn hinted(dice: &mut Dice) -> Ask {
    let hints = dice.between(1, 3);
    let request = Request::new("GET", format!("/hints/{hints}"), 200, b"hinted".to_vec());
    Ask { hints, ..Ask::draw(request, dice) }
}

/// Content is sent only if it is wanted, by so many kinds of services.
fn expecting(dice: &mut Dice, kinds: u64) -> Ask {
    let request = match dice.below(kinds) {
        0 => request::echo(dice, 20_000),
        1 => request::gather(dice, 20_000),
        _ => request::refused(dice, 20_000, u64::MAX),
    };
    Ask::draw(request.with_field("expect", "100-continue").expecting(|expected| expected.interim = true), dice)
}

/// Content that nobody wants.
fn refused(dice: &mut Dice) -> Ask {
    let request = request::refused(dice, 200_000, u64::MAX);
    Ask::draw(request, dice)
}

/// The response breaks off at the server.
fn broken(dice: &mut Dice) -> Ask {
    let (n, salt) = (dice.size(1, 50_000), dice.below(1000));
    let path = format!("/{}/{n}/{salt}", dice.pick(&["broken", "short"]));
    let whole = Content::CutWithin(pattern(salt, n));
    let request = Request::new("GET", path, 200, Vec::new()).expecting(|expected| expected.content = whole);
    Ask::draw(request, dice)
}

/// A WebSocket.
pub fn talking(dice: &mut Dice) -> Ask {
    let request = Request::new("CONNECT", "/ws/echo".to_owned(), 200, Vec::new());
    let mut ask = Ask::draw(request, dice);
    ask.fields.insert(1, (":protocol".to_owned(), "websocket".to_owned()));
    ask.fields.push(("sec-websocket-version".to_owned(), "13".to_owned()));
    ask.expected.content = Content::Anything;
    Ask { talk: Some(Talk::draw(dice)), ..ask }
}

/// A WebSocket whose upstream does not look at what is said there, and nor does its client.
fn tunnelling(dice: &mut Dice) -> Ask {
    let kind = dice.pick(&[Kind::Echo, Kind::Echo, Kind::Talk, Kind::Late]);
    let target = Target::draw(kind, dice);
    let mut ask = Ask::draw(Request::new("CONNECT", target.path(), 200, target.said_down()), dice);
    ask.fields.insert(1, (":protocol".to_owned(), "websocket".to_owned()));
    ask.fields.push(("sec-websocket-version".to_owned(), "13".to_owned()));
    ask.piece = ask.piece.max(target.up / 100);
    Ask { tunnel: Some(target.said_up()), ..ask }
}

/// Breaks a rule of requests (RFC 9113 §8.1.1).
fn malformed(dice: &mut Dice) -> Ask {
    let request = request::get(dice);
    let mut ask = Ask { is_malformed: true, ..Ask::draw(request, dice) };
    let (name, value) = dice.pick(&[
        ("connection", "close"),
        ("te", "gzip"),
        ("upgrade", "websocket"),
        ("host", "another"),
        ("content-length", "3"),
        (":path", "/again"),
        (":unknown", ""),
    ]);
    let place = if name.starts_with(':') { dice.between(0, 4) } else { ask.fields.len() };
    ask.fields.insert(place, (name.to_owned(), value.to_owned()));
    ask
}

/// RFC 9220 §3: nobody here knows this protocol.
fn for_another_protocol(dice: &mut Dice) -> Ask {
    let request = Request::new("CONNECT", "/ws/echo".to_owned(), 501, Vec::new());
    let mut ask = Ask::draw(request, dice);
    ask.fields.insert(1, (":protocol".to_owned(), "connect-udp".to_owned()));
    ask.expected.content = Content::Anything;
    ask
}

/// A response that is longer than the window that is never opened.
pub fn never_read(dice: &mut Dice, window: u32) -> Ask {
    let (n, salt) = (window as usize + dice.size(1, 50_000), dice.below(1000));
    let name = dice.pick(&["fixed", "known", "chunked"]);
    let request = Request::new("GET", format!("/{name}/{n}/{salt}"), 200, Vec::new());
    let whole = Content::CutWithin(pattern(salt, n));
    let request = request.expecting(|expected| expected.content = whole);
    Ask { reading: Reading::Never, gives_up: None, ..Ask::draw(request, dice) }
}
