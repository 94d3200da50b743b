//! What a client sends, and what the server does meanwhile, in words. `tests/corpus/h2/README.md` describes them.

use tidemill::http::fields::{FieldName, FieldSet, FieldValue};
use tidemill::http::status::Status;
use tidemill::protocol::h2::error::ErrorCode;
use tidemill::protocol::h2::frame::{END_HEADERS, END_STREAM, Kind, PADDED, PRIORITY};
use tidemill::protocol::h2::frame_writer;
use tidemill::protocol::h2::session::PREFACE;

use super::corpus_text::unescaped;

/// Bytes from the client, or something that the server does when all bytes before it have been received.
#[derive(Debug, Clone)]
pub enum Item {
    Bytes(Vec<u8>),
    Act(Action),
}

#[derive(Debug, Clone)]
pub enum Action {
    /// A response whose length is known.
    Respond {
        stream: u32,
        status: Status,
        content: Vec<u8>,
    },
    /// A response whose length is not known; more may follow.
    Stream {
        stream: u32,
        status: Status,
        content: Vec<u8>,
    },
    Finish(u32, FieldSet),
    Interim(u32, Status),
    Reset(u32, ErrorCode),
    Wait(u64),
    Consume(bool),
    Consumed(u32, usize),
    Announce,
    ShutDown,
}

/// One line.
pub fn items(place: &str, line: &str) -> Vec<Item> {
    let (times, line) = match line.split_once(" times ") {
        Some((times, rest)) if times.parse::<usize>().is_ok() => (times.parse().expect("a number"), rest),
        _ => (1, line),
    };
    let mut words = Words { place, rest: line };
    let item = match words.rest.strip_prefix("! ") {
        Some(rest) => Item::Act(action(&mut Words { place, rest })),
        None => Item::Bytes(frame(&mut words)),
    };
    match item {
        Item::Bytes(bytes) => vec![Item::Bytes(bytes.repeat(times))],
        Item::Act(_) => vec![item; times],
    }
}

struct Words<'a> {
    place: &'a str,
    rest: &'a str,
}

impl<'a> Words<'a> {
    fn next(&mut self) -> &'a str {
        let (word, rest) = self.rest.split_once(' ').unwrap_or((self.rest, ""));
        self.rest = rest;
        word
    }

    /// The next word, if it is this one.
    fn has(&mut self, word: &str) -> bool {
        let is_next = self.rest == word || self.rest.starts_with(&format!("{word} "));
        if is_next {
            self.next();
        }
        is_next
    }

    /// The value of the next word, if it has this name.
    fn value(&mut self, name: &str) -> Option<u32> {
        let value = self.rest.split(' ').next()?.strip_prefix(name)?.strip_prefix('=')?;
        let number = value.parse().unwrap_or_else(|_| panic!("{}: {value:?} is no number", self.place));
        self.next();
        Some(number)
    }

    fn number(&mut self) -> u32 {
        let word = self.next();
        let radix = if word.starts_with("0x") { 16 } else { 10 };
        let number = u32::from_str_radix(word.trim_start_matches("0x"), radix);
        number.unwrap_or_else(|_| panic!("{}: {word:?} is no number", self.place))
    }

    fn code(&mut self) -> ErrorCode {
        let word = self.next();
        ErrorCode::from_name(word).unwrap_or_else(|| ErrorCode(word.parse().expect("a code")))
    }

    fn status(&mut self) -> Status {
        Status::from_code(self.number() as u16).expect("a status")
    }

    /// The rest of the line as bytes, without quotes around it.
    fn bytes(&mut self) -> Vec<u8> {
        let text = std::mem::take(&mut self.rest);
        let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
        unescaped(self.place, text)
    }

    fn fields(&mut self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let text = std::mem::take(&mut self.rest);
        let lines = text.split(" | ").filter(|line| !line.is_empty());
        let field = |line: &str| {
            let at = line[1..].find(':').unwrap_or_else(|| panic!("{}: {line:?}", self.place)) + 1;
            let value = &line[at + 1..];
            let value = value.strip_prefix(' ').unwrap_or(value);
            (unescaped(self.place, &line[..at]), unescaped(self.place, value))
        };
        lines.map(field).collect()
    }
}

fn frame(words: &mut Words<'_>) -> Vec<u8> {
    match words.next() {
        "preface" => [&PREFACE[..], &frame_writer::settings(&[])].concat(),
        "PREFACE" => PREFACE.to_vec(),
        "RAW" => words.bytes(),
        "GET" => request(words, "GET", true),
        "HEAD" => request(words, "HEAD", true),
        "POST" => request(words, "POST", false),
        "HEADERS" => headers(words, Kind::Headers),
        "CONTINUATION" => headers(words, Kind::Continuation),
        "BLOCK" => {
            let (stream, flags) = (words.number(), flags_of_headers(words));
            frame_of(Kind::Headers, flags, stream, &words.bytes())
        }
        "DATA" => {
            let stream = words.number();
            let end = if words.has("end") { END_STREAM } else { 0 };
            let (flags, payload) = padded(words.value("pad"), end, words);
            frame_of(Kind::Data, flags, stream, &payload)
        }
        "PRIORITY" => {
            let (stream, depends_on) = (words.number(), words.number());
            frame_of(Kind::Priority, 0, stream, &[&depends_on.to_be_bytes()[..], &[16]].concat())
        }
        "RST_STREAM" => frame_writer::rst_stream(words.number(), words.code()).to_vec(),
        "SETTINGS" if words.has("ack") => frame_writer::settings_ack().to_vec(),
        "SETTINGS" => settings(words),
        "PING" => {
            let is_ack = words.has("ack");
            frame_writer::ping(words.bytes().try_into().expect("8 bytes"), is_ack).to_vec()
        }
        "GOAWAY" => frame_writer::go_away(words.number(), words.code(), ""),
        "WINDOW_UPDATE" => frame_writer::window_update(words.number(), words.number()).to_vec(),
        "PRIORITY_UPDATE" => {
            let stream = words.number();
            frame_of(Kind::PriorityUpdate, 0, 0, &[&stream.to_be_bytes()[..], &words.bytes()].concat())
        }
        "FRAME" => {
            let (kind, flags, stream) = (words.number() as u8, words.number() as u8, words.number());
            frame_of(Kind::from_number(kind), flags, stream, &words.bytes())
        }
        other => panic!("{}: {other:?} is no frame", words.place),
    }
}

fn frame_of(kind: Kind, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    [&frame_writer::head(kind, flags, stream, payload.len())[..], payload].concat()
}

fn request(words: &mut Words<'_>, method: &str, end_stream: bool) -> Vec<u8> {
    let (stream, path) = (words.number(), unescaped(words.place, words.next()));
    let mut block = Vec::new();
    for (name, value) in [(":method", method), (":scheme", "http"), (":authority", "a.test")] {
        put_field(&mut block, name.as_bytes(), value.as_bytes());
    }
    put_field(&mut block, b":path", &path);
    for (name, value) in words.fields() {
        put_field(&mut block, &name, &value);
    }
    frame_of(Kind::Headers, END_HEADERS | if end_stream { END_STREAM } else { 0 }, stream, &block)
}

fn flags_of_headers(words: &mut Words<'_>) -> u8 {
    let end = if words.has("end") { END_STREAM } else { 0 };
    end | if words.has("more") { 0 } else { END_HEADERS }
}

fn headers(words: &mut Words<'_>, kind: Kind) -> Vec<u8> {
    let (stream, mut flags) = (words.number(), flags_of_headers(words));
    let (pad, depends_on) = (words.value("pad"), words.value("depends"));
    let mut payload = Vec::new();
    if let Some(pad) = pad {
        flags |= PADDED;
        payload.push(pad as u8);
    }
    if let Some(depends_on) = depends_on {
        flags |= PRIORITY;
        payload.extend(depends_on.to_be_bytes());
        payload.push(16);
    }
    for (name, value) in words.fields() {
        put_field(&mut payload, &name, &value);
    }
    payload.extend(vec![0; pad.unwrap_or(0) as usize]);
    frame_of(kind, flags, stream, &payload)
}

/// Content between the length of its padding and the padding.
fn padded(pad: Option<u32>, flags: u8, words: &mut Words<'_>) -> (u8, Vec<u8>) {
    let content = words.bytes();
    match pad {
        None => (flags, content),
        Some(pad) => (flags | PADDED, [&[pad as u8][..], &content, &vec![0; pad as usize]].concat()),
    }
}

fn settings(words: &mut Words<'_>) -> Vec<u8> {
    let mut parameters = Vec::new();
    while !words.rest.is_empty() {
        let word = words.next();
        let (identifier, value) = word.split_once('=').unwrap_or_else(|| panic!("{}: {word:?}", words.place));
        parameters.push((identifier.parse().expect("an identifier"), value.parse().expect("a value")));
    }
    frame_writer::settings(&parameters)
}

/// A literal without indexing and without Huffman code (RFC 7541 §6.2.2).
fn put_field(block: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    block.push(0);
    for text in [name, value] {
        match text.len().checked_sub(127) {
            None => block.push(text.len() as u8),
            Some(mut rest) => {
                block.push(127);
                while rest >= 128 {
                    block.push((rest & 127) as u8 | 128);
                    rest >>= 7;
                }
                block.push(rest as u8);
            }
        }
        block.extend_from_slice(text);
    }
}

fn action(words: &mut Words<'_>) -> Action {
    match words.next() {
        "respond" => Action::Respond { stream: words.number(), status: words.status(), content: words.bytes() },
        "stream" => Action::Stream { stream: words.number(), status: words.status(), content: words.bytes() },
        "finish" => {
            let stream = words.number();
            let fields = words.fields().into_iter().map(|(name, value)| {
                let name = FieldName::new(String::from_utf8(name).expect("ASCII")).expect("a name");
                (name, FieldValue::new(value).expect("a value"))
            });
            Action::Finish(stream, FieldSet::new(fields))
        }
        "interim" => Action::Interim(words.number(), words.status()),
        "reset" => Action::Reset(words.number(), words.code()),
        "wait" => Action::Wait(words.number().into()),
        "hold" => Action::Consume(false),
        "consumed" => Action::Consumed(words.number(), words.number() as usize),
        "announce" => Action::Announce,
        "shut-down" => Action::ShutDown,
        other => panic!("{}: {other:?} is no action", words.place),
    }
}
