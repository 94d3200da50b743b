//! Requests, and what must come of them.

use std::time::Duration;

use crate::client::{Content, Expected};
use crate::dice::Dice;
use crate::service::{REFUSAL, pattern, ticks};

/// A request on the wire, and its answer.
pub struct Asked {
    /// The head.
    pub head: Vec<u8>,
    /// The content, framed.
    pub content: Vec<u8>,
    /// What must come of it.
    pub expected: Expected,
}

/// A request that is being put together.
pub struct Request {
    method: &'static str,
    path: String,
    fields: String,
    http10: bool,
    content: Vec<u8>,
    chunked: bool,
    expected: Expected,
}

/// What a request asks for, whatever the version.
pub struct Parts {
    /// The method.
    pub method: &'static str,
    /// The target.
    pub path: String,
    /// Names in lower case, and values.
    pub fields: Vec<(String, String)>,
    /// The content.
    pub content: Vec<u8>,
    /// Whether its length is not announced.
    pub chunked: bool,
    /// What must come of it.
    pub expected: Expected,
}

impl Request {
    /// A request without content that must get this answer.
    pub fn new(method: &'static str, path: String, status: u16, content: Vec<u8>) -> Request {
        let expected = Expected::new(status, Content::Exactly(content));
        Request { method, path, fields: String::new(), http10: false, content: Vec::new(), chunked: false, expected }
    }

    /// The same with this content.
    pub fn with_content(mut self, content: Vec<u8>, chunked: bool) -> Request {
        (self.content, self.chunked) = (content, chunked);
        self
    }

    /// The same with one more field line.
    pub fn with_field(mut self, name: &str, value: &str) -> Request {
        self.fields += &format!("{name}: {value}\r\n");
        self
    }

    /// The same, and the connection is to end with the answer.
    pub fn closing(mut self) -> Request {
        self.expected.closes = true;
        self.with_field("Connection", "close")
    }

    /// The same in HTTP/1.0.
    pub fn in_http10(mut self) -> Request {
        self.http10 = true;
        self.expected.to_http10 = true;
        self.expected.may_close = true;
        self
    }

    /// What the expectation depends on besides.
    pub fn expecting(mut self, change: impl FnOnce(&mut Expected)) -> Request {
        change(&mut self.expected);
        self
    }

    /// What it asks for, for a version with other framing.
    pub fn into_parts(self) -> Parts {
        let Request { method, path, fields, content, chunked, expected, .. } = self;
        let pair =
            |line: &str| line.split_once(": ").map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()));
        Parts { method, path, fields: fields.lines().filter_map(pair).collect(), content, chunked, expected }
    }

    /// The bytes.
    pub fn build(self, dice: &mut Dice) -> Asked {
        let version = if self.http10 { "1.0" } else { "1.1" };
        let host = if self.http10 { "" } else { "Host: sim\r\n" };
        let framing = match (self.method, self.chunked) {
            ("GET" | "HEAD", _) => String::new(),
            (_, true) => "Transfer-Encoding: chunked\r\n".to_owned(),
            (_, false) => format!("Content-Length: {}\r\n", self.content.len()),
        };
        let Request { method, path, fields, .. } = &self;
        // A head that was made to fill the inbox cannot be longer.
        let tag = dice.tag().filter(|_| !fields.contains("Pad: "));
        let tag = tag.map(|tag| format!("Tag: {tag}\r\n")).unwrap_or_default();
        let head = format!("{method} {path} HTTP/{version}\r\n{host}{framing}{fields}{tag}\r\n");
        let content = if self.chunked { chunks(&self.content, dice) } else { self.content };
        Asked { head: head.into_bytes(), content, expected: self.expected }
    }
}

fn chunks(content: &[u8], dice: &mut Dice) -> Vec<u8> {
    let (mut framed, mut rest) = (Vec::new(), content);
    while !rest.is_empty() {
        let n = dice.size(1, 5000).min(rest.len());
        let extension = if dice.chance(100) { ";a=b" } else { "" };
        framed.extend_from_slice(format!("{n:x}{extension}\r\n").as_bytes());
        framed.extend_from_slice(&rest[..n]);
        framed.extend_from_slice(b"\r\n");
        rest = &rest[n..];
    }
    let trailer = if dice.chance(100) { "Sum: 1\r\n" } else { "" };
    framed.extend_from_slice(format!("0\r\n{trailer}\r\n").as_bytes());
    framed
}

/// Content that a client sends.
pub fn content(dice: &mut Dice, max: usize) -> Vec<u8> {
    let (salt, n) = (dice.below(1000), dice.size(1, max));
    pattern(salt, n)
}

/// Any request whose connection can persist after its answer.
pub fn any(dice: &mut Dice) -> Request {
    match dice.below(16) {
        0..=6 => get(dice),
        7 | 8 => echo(dice, 30_000),
        9 | 10 => gather(dice, 20_000),
        11 => slow_take(dice),
        12 => delay(dice),
        13 => ticking(dice),
        14 => Request::new("GET", "/nowhere".to_owned(), 404, Vec::new()),
        _ => failing(dice),
    }
}

/// A request for a pattern.
pub fn get(dice: &mut Dice) -> Request {
    let name = dice.pick(&["fixed", "known", "chunked"]);
    let (n, salt) = (dice.size(1, 100_000) - 1, dice.below(1000));
    let path = format!("/{name}/{n}/{salt}");
    match dice.chance(100) {
        true => Request::new("HEAD", path, 200, Vec::new()).expecting(|expected| expected.to_head = true),
        false => Request::new("GET", path, 200, pattern(salt, n)),
    }
}

/// Content there and back at the same time.
pub fn echo(dice: &mut Dice, max: usize) -> Request {
    let sent = content(dice, max);
    let path = format!("/echo/{}", dice.size(1, 8192).max(sent.len() / 512));
    let chunked = dice.chance(500);
    Request::new("POST", path, 200, sent.clone()).with_content(sent, chunked)
}

/// Content there, then back.
pub fn gather(dice: &mut Dice, max: usize) -> Request {
    let sent = content(dice, max);
    let chunked = dice.chance(500);
    Request::new("POST", "/gather/1000000".to_owned(), 200, sent.clone()).with_content(sent, chunked)
}

/// More content than rings hold, there and then back.
pub fn bulk(dice: &mut Dice) -> Request {
    let (salt, n, chunked) = (dice.below(1000), dice.between(40_000, 250_000), dice.chance(500));
    let sent = pattern(salt, n);
    Request::new("PUT", "/gather/1000000".to_owned(), 200, sent.clone()).with_content(sent, chunked)
}

fn slow_take(dice: &mut Dice) -> Request {
    let (portion, every) = (dice.between(100, 2000), dice.between(1, 100));
    let sent = content(dice, portion * 20);
    let chunked = dice.chance(500);
    let path = format!("/slow-take/{portion}/{every}");
    // Framing cuts portions into pieces, and each piece costs a wait of its own.
    let silence = Duration::from_millis(every as u64 * (40 + sent.len() as u64));
    let request = Request::new("POST", path, 200, sent.clone()).with_content(sent, chunked);
    request.expecting(|expected| expected.silence_max = silence)
}

fn delay(dice: &mut Dice) -> Request {
    let millis = dice.size(1, 5000) as u64;
    let request = Request::new("GET", format!("/delay/{millis}"), 200, b"late".to_vec());
    request.expecting(|expected| expected.silence_max = Duration::from_millis(millis))
}

fn ticking(dice: &mut Dice) -> Request {
    let (n, millis) = (dice.between(0, 20), dice.size(1, 3000) as u64);
    let request = Request::new("GET", format!("/ticks/{n}/{millis}"), 200, ticks(n));
    request.expecting(|expected| expected.silence_max = Duration::from_millis(millis))
}

fn failing(dice: &mut Dice) -> Request {
    let path = dice.pick(&["/fail", "/fail-late"]).to_owned();
    Request::new("GET", path, 500, Vec::new()).expecting(|expected| expected.content = Content::Anything)
}

/// Content that nobody wants.
pub fn refused(dice: &mut Dice, max: usize, discarded_max: u64) -> Request {
    let sent = content(dice, max);
    let (status, chunked) = (dice.pick(&[403, 413]), dice.chance(500));
    // Content that is little enough is thrown away for the connection's sake. How much it is, is known beforehand only if
    // its length is announced.
    let is_too_much = sent.len() as u64 > discarded_max;
    let request = Request::new("POST", format!("/refuse/{status}"), status, REFUSAL.to_vec());
    request.with_content(sent, chunked).expecting(|expected| {
        (expected.closes, expected.ends_unannounced) = (is_too_much && !chunked, is_too_much && chunked);
    })
}
