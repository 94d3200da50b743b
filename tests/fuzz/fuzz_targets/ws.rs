//! Any bytes behind the handshake of a WebSocket mean the same whole and in pieces, with and without compression, and
//! through payloads of any size; no panic, no spin, no payload longer than was asked for. And what our sender says in any
//! pieces is received as it was said.
//!
//! The first four bytes choose the agreement, the pieces, the payloads, and what the rest is: bytes as they come, payloads
//! in frames that are right, or pieces of messages to send.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidemill::protocol::ws::Kind;
use tidemill::protocol::ws::deflate::Agreement;
use tidemill::protocol::ws::receiver::{Event, Receiver};
use tidemill::protocol::ws::sender::Sender;

/// Payloads at least this long, when there may be a thousand times as much content as input.
const INFLATED_MIN: usize = 256;

/// What a stream of frames means.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Meaning {
    Message(Kind, Vec<u8>),
    /// What there is of a message that does not end.
    Unfinished(Vec<u8>),
    Ping(Vec<u8>),
    Pong,
    Close(Option<u16>),
    /// The code is the same; which of two wrongs is found first in compressed text is not.
    Violation(u16),
}

fuzz_target!(|bytes: &[u8]| {
    let [agreement, piece, payload, mode, rest @ ..] = bytes else { return };
    let (agreement, piece) = (agree(*agreement), usize::from(*piece) + 1);
    let payload_max = usize::from(*payload) + if agreement.is_some() { INFLATED_MIN } else { 1 };
    match mode % 3 {
        0 => means_the_same(agreement, rest, piece, payload_max),
        1 => means_the_same(agreement, &framed(rest), piece, payload_max),
        _ => comes_back(agreement, rest, piece, payload_max),
    }
});

fn agree(choice: u8) -> Option<Agreement> {
    (choice & 1 != 0).then(|| Agreement {
        server_no_context_takeover: choice & 2 != 0,
        client_no_context_takeover: choice & 2 != 0,
        server_max_window_bits: (choice & 4 != 0).then_some(9 + choice / 8 % 7),
    })
}

fn means_the_same(agreement: Option<Agreement>, stream: &[u8], piece: usize, payload_max: usize) {
    let whole = meaning(agreement, [stream], 1 << 16);
    assert_eq!(meaning(agreement, stream.chunks(1), payload_max), whole, "byte by byte");
    assert_eq!(meaning(agreement, stream.chunks(piece), 1 << 16), whole, "in pieces of {piece}");
    let (front, back) = stream.split_at(piece.min(stream.len()));
    assert_eq!(meaning(agreement, [front, back], payload_max), whole, "split at {piece}");
}

/// What the pieces mean, read through payloads of at most `max` bytes.
fn meaning<'a>(agreement: Option<Agreement>, pieces: impl IntoIterator<Item = &'a [u8]>, max: usize) -> Vec<Meaning> {
    let mut receiver = Receiver::new(agreement);
    let (mut meanings, mut content, mut payload) = (Vec::new(), Vec::new(), Vec::new());
    for mut input in pieces {
        loop {
            let before = input.len();
            let event = receiver.receive(&mut input, &mut payload, max);
            assert!(payload.len() <= max && payload.capacity() <= 2 * max + 4096, "{} bytes", payload.capacity());
            match event {
                Ok(Event::NeedBytes) => {
                    assert!(input.is_empty() && payload.is_empty(), "needs bytes and leaves some");
                    break;
                }
                Ok(Event::Part { kind, end }) => {
                    assert!(end || !payload.is_empty(), "a piece of nothing");
                    content.extend_from_slice(&payload);
                    if end {
                        meanings.push(Meaning::Message(kind, std::mem::take(&mut content)));
                    }
                }
                Ok(Event::Ping(payload)) => meanings.push(Meaning::Ping(payload.to_vec())),
                Ok(Event::Pong) => meanings.push(Meaning::Pong),
                Ok(Event::Close(code)) => {
                    meanings.push(Meaning::Close(code.map(|code| code.number())));
                    return meanings;
                }
                Err(violation) => {
                    meanings.push(Meaning::Violation(violation.code.number()));
                    return meanings;
                }
            }
            assert!(input.len() <= before, "input grows");
        }
    }
    for message in &meanings {
        let Meaning::Message(Kind::Text, content) = message else { continue };
        assert!(str::from_utf8(content).is_ok(), "text that is not UTF-8");
    }
    if !content.is_empty() {
        meanings.push(Meaning::Unfinished(content));
    }
    meanings
}

/// A client's frame with this first byte.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        0..=125 => bytes.push(0x80 | payload.len() as u8),
        _ => bytes.extend([&[0xfe][..], &(payload.len() as u16).to_be_bytes()].concat()),
    }
    let key = [0x37, 0xfa, 0x21, 0x3d];
    bytes.extend(key);
    bytes.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    bytes
}

/// Frames with what `bytes` say in them: each begins with a first byte and a length.
fn framed(mut bytes: &[u8]) -> Vec<u8> {
    let mut stream = Vec::new();
    while let [first, length, rest @ ..] = bytes {
        let (payload, behind) = rest.split_at(usize::from(*length).min(rest.len()));
        stream.extend(frame(*first, payload));
        bytes = behind;
    }
    stream
}

/// Our sender's frames are a client's, but for the mask.
fn comes_back(agreement: Option<Agreement>, bytes: &[u8], piece: usize, payload_max: usize) {
    let (mut sender, mut said, mut content, mut out) = (Sender::new(agreement), Vec::new(), Vec::new(), Vec::new());
    for part in bytes.chunks(piece) {
        let end = part[0] % 3 == 0;
        sender.put_piece(&mut out, Kind::Binary, part, end);
        content.extend_from_slice(part);
        if end {
            said.push(Meaning::Message(Kind::Binary, std::mem::take(&mut content)));
        }
    }
    sender.put_piece(&mut out, Kind::Binary, b"", true);
    said.push(Meaning::Message(Kind::Binary, content));
    assert_eq!(meaning(agreement, remasked(&out).chunks(piece), payload_max), said);
}

/// The same frames with masks.
fn remasked(mut ours: &[u8]) -> Vec<u8> {
    let mut stream = Vec::new();
    while let [first, length, rest @ ..] = ours {
        let (length, rest) = match (length, rest) {
            (126, [high, low, rest @ ..]) => (usize::from(u16::from_be_bytes([*high, *low])), rest),
            (short, rest) => (usize::from(*short), rest),
        };
        stream.extend(frame(*first, &rest[..length]));
        ours = &rest[length..];
    }
    stream
}
