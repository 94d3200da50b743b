//! What passes over a connection that speaks HTTP/2: the frames of a request, and both sides' frames to be printed.

use std::fmt::Write;

use crate::base::ring::RingBuffer;
use crate::http::status::Status;
use crate::protocol::h2::error::ErrorCode;
use crate::protocol::h2::fields::{FieldList, ListLimits};
use crate::protocol::h2::frame::{
    ACK, END_HEADERS, END_STREAM, FRAME_BYTES_MAX_LEAST, FRAME_HEAD_BYTES, FrameHead, Kind,
};
use crate::protocol::h2::frame_writer;
use crate::protocol::h2::hpack::decoder::Decoder;
use crate::protocol::h2::hpack::encoder::Encoder;
use crate::protocol::h2::hpack::representation::{LiteralKind, Representation};
use crate::protocol::h2::session::PREFACE;
use crate::protocol::h2::settings;
use crate::protocol::h2::stream_state::{Received, Sent, State};
use crate::service::explanation::printable;

/// The first stream of a client.
const STREAM: u32 = 1;
/// The last index of the static table (RFC 7541 §2.3.1).
const STATIC_MAX: u32 = 61;
/// As many bytes of a field or a payload are printed.
const SHOWN_BYTES: usize = 8;
/// Width of these bytes, and of what is said about a field.
const HEX: usize = 3 * FRAME_HEAD_BYTES + 1;
const HOW: usize = 48;
/// No block of the explanation is cut short: the server has said what it makes of it.
const NO_LIMITS: ListLimits = ListLimits { bytes_max: usize::MAX >> 8, fields_max: usize::MAX };

/// The fields of a request, in the order in which they are sent: what `Host` says is the authority (RFC 9113 §8.3.1).
fn fields(method: &[u8], target: &[u8], is_secure: bool, given: &[(Vec<u8>, Vec<u8>)]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let is_host = |name: &[u8]| name.eq_ignore_ascii_case(b"host");
    let host = given.iter().find(|(name, _)| is_host(name)).map_or(&b"localhost"[..], |(_, value)| value);
    let authority = if method == b"CONNECT" { target } else { host };
    let mut fields = vec![(&b":method"[..], method), (b":authority", authority)];
    if method != b"CONNECT" {
        // RFC 9113 §8.5: CONNECT has neither.
        let scheme = if is_secure { &b"https"[..] } else { b"http" };
        fields.extend([(&b":scheme"[..], scheme), (b":path", target)]);
    }
    let others = given.iter().filter(|(name, _)| !is_host(name));
    fields.extend(others.map(|(name, value)| (&name[..], &value[..])));
    fields.into_iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect()
}

/// What a client sends that asks for `target`: its preface (RFC 9113 §3.4) and a request, on the first stream. Its content,
/// if `content-length` announces any, is to follow.
pub fn request(method: &[u8], target: &[u8], is_secure: bool, given: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let mut block = Vec::new();
    let mut encoder = Encoder::default();
    let mut fields_out = encoder.block(&mut block);
    for (name, value) in fields(method, target, is_secure, given) {
        fields_out.field(&name, &value);
    }
    let announces = |(name, value): &(Vec<u8>, Vec<u8>)| name.eq_ignore_ascii_case(b"content-length") && value != b"0";
    let frame_bytes_max = FRAME_BYTES_MAX_LEAST as usize;
    let mut out = RingBuffer::new(frame_writer::field_block_bytes(block.len(), frame_bytes_max));
    let is_last = !given.iter().any(announces);
    let fits = frame_writer::put_field_block(&mut out, STREAM, &block, is_last, frame_bytes_max);
    debug_assert!(fits, "the ring was made for it");
    [&PREFACE[..], &frame_writer::settings(&[]), &out.readable().concat()].concat()
}

/// Method and target of what [`request`] has made.
pub fn request_line(bytes: &[u8]) -> Vec<u8> {
    let mut decoder = Decoder::default();
    let frames = seen(bytes.strip_prefix(PREFACE).unwrap_or(bytes));
    let blocks: Vec<u8> =
        frames.iter().filter(|frame| frame.has_fields()).flat_map(|frame| frame.payload).copied().collect();
    let fields = decoded(&mut decoder, &blocks);
    let value = |name: &[u8]| fields.iter().find(|field| field.name == name).map(|field| field.value.clone());
    let target = value(b":path").or_else(|| value(b":authority"));
    [value(b":method").unwrap_or_default(), target.unwrap_or_default()].join(&b' ')
}

/// A frame that was sent.
pub struct Seen<'a> {
    head_bytes: &'a [u8],
    head: FrameHead,
    payload: &'a [u8],
}

/// The whole frames at the beginning of these bytes.
pub fn seen(mut bytes: &[u8]) -> Vec<Seen<'_>> {
    let mut all = Vec::new();
    while let Some((head_bytes, behind)) = bytes.split_first_chunk::<FRAME_HEAD_BYTES>() {
        let head = FrameHead::from_bytes(*head_bytes);
        let Some((payload, rest)) = behind.split_at_checked(head.length as usize) else { break };
        all.push(Seen { head_bytes, head, payload });
        bytes = rest;
    }
    all
}

/// What the frames of the server say of the response.
#[derive(Debug, Default)]
pub struct Answer {
    /// The final status.
    pub status: Option<Status>,
    /// The length that it announces.
    pub length: Option<String>,
    /// Bytes of content.
    pub content_bytes: u64,
    /// Whether its end was sent.
    pub has_ended: bool,
    /// The stream, or the connection, was ended instead.
    pub error: Option<String>,
}

/// Reads the response out of what the server has sent.
pub fn answer(sent: &[u8]) -> Answer {
    let (mut answer, mut decoder) = (Answer::default(), Decoder::default());
    let mut block = Vec::new();
    for frame in seen(sent) {
        match frame.head.kind {
            Kind::Headers | Kind::Continuation => {
                block.extend_from_slice(frame.payload);
                if frame.head.has(END_HEADERS) {
                    answer.note_fields(&decoded(&mut decoder, &std::mem::take(&mut block)));
                }
            }
            Kind::Data => answer.content_bytes += u64::from(frame.head.length),
            Kind::RstStream | Kind::GoAway => answer.error = Some(frame.text()),
            _ => {}
        }
        let may_end = matches!(frame.head.kind, Kind::Headers | Kind::Data);
        answer.has_ended |= may_end && frame.head.has(END_STREAM);
    }
    answer
}

impl Answer {
    fn note_fields(&mut self, fields: &[Field]) {
        let value = |name: &[u8]| fields.iter().find(|field| field.name == name).map(|field| printable(&field.value));
        let status = value(b":status").and_then(|code| Status::from_code(code.parse().ok()?));
        if let Some(status) = status.filter(|status| !status.is_interim()) {
            (self.status, self.length) = (Some(status), value(b"content-length"));
        }
    }
}

impl Seen<'_> {
    fn has_fields(&self) -> bool {
        matches!(self.head.kind, Kind::Headers | Kind::Continuation)
    }

    /// The frame in words: `HEADERS on stream 1, 30 bytes, END_STREAM END_HEADERS (RFC 9113 §6.2)`.
    fn text(&self) -> String {
        let FrameHead { length, kind, stream, .. } = self.head;
        let (name, section) = kind_text(kind);
        let on = if stream == 0 { String::new() } else { format!(" on stream {stream}") };
        let flags: String = flags(self.head).iter().map(|flag| format!(" {flag}")).collect();
        let says = self.says().map_or(String::new(), |says| format!(": {says}"));
        let comma = if flags.is_empty() { "" } else { "," };
        format!("{name}{on}, {length} bytes{comma}{flags} ({section}){says}")
    }

    /// What a payload without fields says.
    fn says(&self) -> Option<String> {
        let number = |at: usize| {
            self.payload.get(at..at + 4).map(|bytes| u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
        };
        match self.head.kind {
            Kind::RstStream => number(0).map(|code| ErrorCode(code).to_string()),
            Kind::WindowUpdate => number(0).map(|increment| format!("{increment} bytes more")),
            Kind::GoAway => {
                let why = printable(self.payload.get(8..)?);
                Some(format!("last stream {}, {}, \"{why}\"", number(0)?, ErrorCode(number(4)?)))
            }
            _ => None,
        }
    }
}

fn kind_text(kind: Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::Data => ("DATA", "RFC 9113 §6.1"),
        Kind::Headers => ("HEADERS", "RFC 9113 §6.2"),
        Kind::Priority => ("PRIORITY", "RFC 9113 §6.3"),
        Kind::RstStream => ("RST_STREAM", "RFC 9113 §6.4"),
        Kind::Settings => ("SETTINGS", "RFC 9113 §6.5"),
        Kind::PushPromise => ("PUSH_PROMISE", "RFC 9113 §6.6"),
        Kind::Ping => ("PING", "RFC 9113 §6.7"),
        Kind::GoAway => ("GOAWAY", "RFC 9113 §6.8"),
        Kind::WindowUpdate => ("WINDOW_UPDATE", "RFC 9113 §6.9"),
        Kind::Continuation => ("CONTINUATION", "RFC 9113 §6.10"),
        Kind::PriorityUpdate => ("PRIORITY_UPDATE", "RFC 9218 §7.1"),
        Kind::Unknown(_) => ("a frame of an unknown type", "RFC 9113 §4.1"),
    }
}

fn flags(head: FrameHead) -> Vec<&'static str> {
    let known: &[(u8, &'static str)] = match head.kind {
        Kind::Data => &[(END_STREAM, "END_STREAM")],
        Kind::Headers => &[(END_STREAM, "END_STREAM"), (END_HEADERS, "END_HEADERS")],
        Kind::Continuation => &[(END_HEADERS, "END_HEADERS")],
        Kind::Settings | Kind::Ping => &[(ACK, "ACK")],
        _ => &[],
    };
    known.iter().filter(|(flag, _)| head.has(*flag)).map(|(_, name)| *name).collect()
}

/// A field as it was sent.
struct Field {
    bytes: Vec<u8>,
    how: String,
    name: Vec<u8>,
    value: Vec<u8>,
}

/// The fields of a block, with the bytes of each. What cannot be decoded ends the list: the server has said so.
fn decoded(decoder: &mut Decoder, block: &[u8]) -> Vec<Field> {
    let (mut fields, mut list, mut rest) = (Vec::new(), FieldList::default(), block);
    // The decoder is given one representation at a time; each is a block by itself.
    while let (before, Ok(representation)) = (rest, Representation::take(&mut rest)) {
        let bytes = before[..before.len() - rest.len()].to_vec();
        if decoder.decode(&bytes, NO_LIMITS, &mut list).is_err() {
            break;
        }
        let field = list.fields(0).iter().next();
        let (name, value) = field.map_or_else(Default::default, |(name, value)| (name.to_vec(), value.to_vec()));
        fields.push(Field { bytes, how: how(representation), name, value });
    }
    fields
}

/// How a field is represented, and where that is defined.
fn how(representation: Representation) -> String {
    let table = |index: u32| match index {
        0..=STATIC_MAX => format!("static {index}"),
        _ => format!("dynamic {index}"),
    };
    match representation {
        Representation::Indexed(index) => format!("indexed, {} (§6.1)", table(index)),
        Representation::TableSize(bytes) => format!("table of {bytes} bytes (§6.3)"),
        Representation::Literal { kind, name, is_huffman } => {
            let (what, section) = match kind {
                LiteralKind::Added => ("literal, added", "§6.2.1"),
                LiteralKind::NotAdded => ("literal", "§6.2.2"),
                LiteralKind::NeverIndexed => ("never indexed", "§6.2.3"),
            };
            let name = if name == 0 { String::new() } else { format!(", name {}", table(name)) };
            let huffman = if is_huffman { ", Huffman" } else { "" };
            format!("{what}{name}{huffman} ({section})")
        }
    }
}

/// Prints frames of one direction, and what they do to the stream.
pub struct Printer<'a> {
    text: &'a mut String,
    state: State,
}

impl<'a> Printer<'a> {
    /// Prints to the end of this text.
    pub fn new(text: &'a mut String) -> Printer<'a> {
        Printer { text, state: State::Idle }
    }

    /// What the client has sent.
    pub fn client(&mut self, bytes: &[u8]) {
        let (preface, frames) = bytes.split_at(PREFACE.len());
        let preface = printable(preface);
        self.line(&format!("the client sends \"{preface}\" (RFC 9113 §3.4), and"));
        self.frames(&seen(frames), |state, frame| {
            let end_stream = frame.has(END_STREAM);
            let received = match frame.kind {
                Kind::Headers => Received::Headers { end_stream },
                _ => return state,
            };
            state.receive(received).unwrap_or(state)
        });
    }

    /// What the server has sent.
    pub fn server(&mut self, bytes: &[u8]) {
        self.line("\nthe server sends");
        self.frames(&seen(bytes), |state, frame| match frame.kind {
            Kind::RstStream => state.send(Sent::RstStream),
            Kind::Headers | Kind::Data if frame.has(END_STREAM) => state.send(Sent::EndStream),
            _ => state,
        });
    }

    fn frames(&mut self, frames: &[Seen<'_>], step: impl Fn(State, FrameHead) -> State) {
        let (mut decoder, mut block) = (Decoder::default(), Vec::new());
        for frame in frames {
            self.line(&format!("  {}  {}", hex(frame.head_bytes), frame.text()));
            match frame.head.kind {
                Kind::Settings => self.settings(frame.payload),
                Kind::Data => self.payload(frame.payload),
                Kind::Headers | Kind::Continuation => block.extend_from_slice(frame.payload),
                _ => {}
            }
            if frame.has_fields() && frame.head.has(END_HEADERS) {
                self.fields(&decoded(&mut decoder, &std::mem::take(&mut block)));
            }
            let next = step(self.state, frame.head);
            if frame.head.stream == STREAM && next != self.state {
                let (from, to) = (self.state.name(), next.name());
                self.line(&format!("    stream {STREAM}: {from} → {to} (RFC 9113 §5.1)"));
                self.state = next;
            }
        }
    }

    fn settings(&mut self, payload: &[u8]) {
        for parameter in payload.chunks_exact(6) {
            let identifier = u16::from_be_bytes([parameter[0], parameter[1]]);
            let value = u32::from_be_bytes([parameter[2], parameter[3], parameter[4], parameter[5]]);
            let name = settings::name(identifier).unwrap_or("unknown");
            self.line(&format!("    {:HEX$}{name} {value}", hex(parameter)));
        }
    }

    fn fields(&mut self, fields: &[Field]) {
        for Field { bytes, how, name, value } in fields {
            let colon = if name.is_empty() { "" } else { ": " };
            let field = format!("{}{colon}{}", printable(name), printable(value));
            self.line(format!("    {:HEX$}{how:HOW$}  {field}", hex(bytes)).trim_end());
        }
    }

    fn payload(&mut self, payload: &[u8]) {
        if !payload.is_empty() {
            self.line(&format!("    {}", hex(payload)));
        }
    }

    fn line(&mut self, line: &str) {
        writeln!(self.text, "{line}").expect("a String takes everything");
    }
}

/// The first bytes, and whether there are more. Never more than the nine of a frame's head.
fn hex(bytes: &[u8]) -> String {
    let shown = if bytes.len() <= FRAME_HEAD_BYTES { bytes } else { &bytes[..SHOWN_BYTES] };
    let digits: Vec<String> = shown.iter().map(|byte| format!("{byte:02x}")).collect();
    let more = if shown.len() < bytes.len() { " …" } else { "" };
    format!("{}{more}", digits.join(" "))
}
