//! Every stream of frames is read whole, byte by byte, at every split and through payloads of every small size: what it
//! means must not depend on how it arrives.

use proptest::prelude::*;

use super::*;
use crate::protocol::ws::deflate::Deflater;

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// What a stream of frames means.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Meaning {
    Text(String),
    Binary(Vec<u8>),
    /// What there is of a message that does not end.
    Unfinished(Vec<u8>),
    Ping(Vec<u8>),
    Pong,
    Close(Option<u16>),
    Violation(&'static str),
}

/// A client's frame with this first byte.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        0..=125 => bytes.push(0x80 | payload.len() as u8),
        126..=0xffff => bytes.extend([&[0xfe][..], &(payload.len() as u16).to_be_bytes()].concat()),
        _ => bytes.extend([&[0xff][..], &(payload.len() as u64).to_be_bytes()].concat()),
    }
    bytes.extend(KEY);
    bytes.extend(payload.iter().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key));
    bytes
}

fn agreement() -> Agreement {
    Agreement::of([&b"permessage-deflate"[..]].into_iter()).unwrap()
}

/// What the pieces mean, read through payloads of at most `max` bytes.
fn meaning<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, max: usize) -> Vec<Meaning> {
    let mut receiver = Receiver::new(Some(agreement()));
    let (mut meanings, mut content, mut payload) = (Vec::new(), Vec::new(), Vec::new());
    for mut input in pieces {
        loop {
            let event = receiver.receive(&mut input, &mut payload, max);
            assert!(payload.len() <= max, "the payload is longer than was allowed");
            match event {
                Ok(Event::NeedBytes) => {
                    assert!(input.is_empty(), "needs bytes and leaves some");
                    assert!(payload.is_empty(), "content without an event");
                    break;
                }
                Ok(Event::Part { kind, end }) => {
                    content.extend_from_slice(&payload);
                    if end {
                        let whole = std::mem::take(&mut content);
                        meanings.push(match kind {
                            Kind::Text => Meaning::Text(String::from_utf8(whole).expect("text was checked")),
                            Kind::Binary => Meaning::Binary(whole),
                        });
                    }
                }
                Ok(Event::Ping(payload)) => meanings.push(Meaning::Ping(payload.to_vec())),
                Ok(Event::Pong) => meanings.push(Meaning::Pong),
                Ok(Event::Close(code)) => {
                    meanings.push(Meaning::Close(code.map(CloseCode::number)));
                    return meanings;
                }
                Err(violation) => {
                    meanings.push(Meaning::Violation(violation.reason));
                    return meanings;
                }
            }
        }
    }
    if !content.is_empty() {
        meanings.push(Meaning::Unfinished(content));
    }
    meanings
}

/// Reads the stream in all the ways there are, and checks that it always means `expected`.
fn assert_means(stream: &[u8], expected: &[Meaning]) {
    assert_eq!(meaning([stream], 1 << 20), expected, "whole: {stream:02x?}");
    for max in [1, 2, 3, 7] {
        assert_eq!(meaning([stream], max), expected, "payloads of {max}: {stream:02x?}");
        assert_eq!(meaning(stream.chunks(1), max), expected, "byte by byte, payloads of {max}: {stream:02x?}");
    }
    assert_eq!(meaning(stream.chunks(1), 1 << 20), expected, "byte by byte: {stream:02x?}");
    for split in 0..=stream.len() {
        let (front, back) = stream.split_at(split);
        assert_eq!(meaning([front, back], 1 << 20), expected, "split at {split}: {stream:02x?}");
    }
}

fn text(text: &str) -> Meaning {
    Meaning::Text(text.into())
}

#[test]
fn the_examples_of_the_standard() {
    // RFC 6455 §5.7
    assert_means(&[0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58], &[text("Hello")]);
    assert_means(&frame(0x89, b"Hello"), &[Meaning::Ping(b"Hello".into())]);
    assert_means(&frame(0x8a, b"Hello"), &[Meaning::Pong]);
    assert_means(&frame(0x82, &[9; 256]), &[Meaning::Binary(vec![9; 256])]);
    // RFC 7692 §7.2.3.1: one frame, and two.
    let hello = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    assert_means(&frame(0xc1, &hello), &[text("Hello")]);
    assert_means(&[frame(0x41, &hello[..3]), frame(0x80, &hello[3..])].concat(), &[text("Hello")]);
    // §7.2.3.2: the second message refers to the first.
    let stream = [frame(0xc1, &hello), frame(0xc1, &[0xf2, 0x00, 0x11, 0x00, 0x00])].concat();
    assert_means(&stream, &[text("Hello"), text("Hello")]);
}

#[test]
fn fragments_are_one_message_and_control_frames_stand_between_them() {
    let stream = [
        frame(0x01, "aé".as_bytes().split_at(2).0),
        frame(0x89, b"?"),
        frame(0x00, b""),
        frame(0x8a, b""),
        frame(0x80, "aé".as_bytes().split_at(2).1),
        frame(0x02, b""),
        frame(0x80, b""),
    ]
    .concat();
    assert_means(&stream, &[Meaning::Ping(b"?".into()), Meaning::Pong, text("aé"), Meaning::Binary(vec![])]);
}

#[test]
fn a_length_of_eight_bytes_is_read_at_every_split_of_its_head() {
    let content = vec![9; 0x1_0000];
    let stream = frame(0x82, &content);
    for split in 0..=14 {
        let (head, rest) = stream.split_at(split);
        for pieces in [vec![head, rest], head.chunks(1).chain([rest]).collect()] {
            assert_eq!(meaning(pieces, 1 << 20), [Meaning::Binary(content.clone())], "split at {split}");
        }
    }
}

#[test]
fn nothing_is_said_about_what_follows_a_close() {
    assert_means(&[frame(0x88, b"\x03\xe8"), vec![0xff; 9]].concat(), &[Meaning::Close(Some(1000))]);
    assert_means(&frame(0x88, b""), &[Meaning::Close(None)]);
    assert_means(&frame(0x88, b"\x0f\xa0later"), &[Meaning::Close(Some(4000))]);
}

#[test]
fn each_rule_has_its_violation() {
    let violation = |reason| [Meaning::Violation(reason)];
    for (stream, reason) in [
        (frame(0x80, b"x"), NOTHING_TO_CONTINUE.reason),
        (frame(0xc9, b"x"), COMPRESSED_CONTROL.reason),
        (frame(0x81, b"\xff"), NOT_UTF8.reason),
        (frame(0x81, b"\xc3"), HALF_A_CHARACTER.reason),
        (frame(0x88, b"\x03"), "a Close with half a code"),
        (frame(0x88, b"\x03\xed"), "a Close with a code that must not be sent"),
        (frame(0xa1, b""), "a reserved bit is set"),
        (frame(0x83, b""), "a reserved opcode"),
        (frame(0x09, b""), "a fragmented control frame"),
        (frame(0x89, &[0; 126]), "a control frame of more than 125 bytes"),
        (vec![0x81, 0x00], "a client's frame without a mask"),
        (vec![0x82, 0xfe, 0, 1, 0, 0, 0, 0, 0], "a length in more bytes than it needs"),
        (frame(0xc2, b"\xff\xff"), "compressed content that is not DEFLATE"),
    ] {
        assert_means(&stream, &violation(reason));
    }
    let unfinished = |second: Vec<u8>, reason| {
        let stream = [frame(0x02, b""), second].concat();
        assert_means(&stream, &violation(reason));
    };
    unfinished(frame(0x81, b""), MESSAGE_IN_MESSAGE.reason);
    unfinished(frame(0xc0, b""), COMPRESSED_CONTINUATION.reason);
}

#[test]
fn compression_needs_an_agreement() {
    let mut payload = Vec::new();
    let mut receiver = Receiver::new(None);
    assert_eq!(receiver.receive(&mut &frame(0xc1, b"x")[..], &mut payload, 9), Err(NOT_AGREED));
}

#[test]
fn text_is_refused_at_its_first_bad_byte_although_the_frame_goes_on() {
    let (mut receiver, mut payload) = (Receiver::new(None), Vec::new());
    let stream = frame(0x01, b"a\xf4\x90 and more");
    // Up to and including the byte that makes it more than U+10FFFF.
    let event = receiver.receive(&mut &stream[..9], &mut payload, 100);
    assert_eq!(event, Err(NOT_UTF8));
}

#[test]
fn a_bomb_is_given_in_bounded_pieces() {
    let mut deflater = Deflater::new(agreement());
    let bomb = deflater.deflate(&vec![0; 10 << 20], true);
    assert!(bomb.len() < 200_000, "{} bytes", bomb.len());
    let stream = frame(0xc2, &bomb);
    let (mut receiver, mut payload, mut input, mut total) =
        (Receiver::new(Some(agreement())), Vec::new(), &stream[..], 0);
    loop {
        let event = receiver.receive(&mut input, &mut payload, 4096).unwrap();
        total += payload.len();
        assert!(payload.capacity() <= 16 * 1024, "{} bytes for a piece of 4096", payload.capacity());
        if event == (Event::Part { kind: Kind::Binary, end: true }) {
            break;
        }
        assert_eq!(event, Event::Part { kind: Kind::Binary, end: false });
    }
    assert_eq!(total, 10 << 20);
}

/// One message, or a control frame, of a client that follows the rules.
#[derive(Debug, Clone)]
enum Utterance {
    Message { text: Option<String>, bytes: Vec<u8>, cuts: Vec<usize>, compressed: bool, interlude: bool },
    Ping(Vec<u8>),
}

fn utterance() -> impl Strategy<Value = Utterance> {
    let message = (
        any::<Option<String>>(),
        proptest::collection::vec(0..9_u8, 0..400),
        proptest::collection::vec(0..400_usize, 0..4),
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(|(text, bytes, cuts, compressed, interlude)| Utterance::Message {
            text,
            bytes,
            cuts,
            compressed,
            interlude,
        });
    prop_oneof![4 => message, 1 => proptest::collection::vec(any::<u8>(), 0..126).prop_map(Utterance::Ping)]
}

/// The frames of an utterance, and what they mean.
fn spoken(utterance: &Utterance, deflater: &mut Deflater) -> (Vec<u8>, Vec<Meaning>) {
    match utterance {
        Utterance::Ping(payload) => (frame(0x89, payload), vec![Meaning::Ping(payload.clone())]),
        Utterance::Message { text, bytes, cuts, compressed, interlude } => {
            let content = text.as_ref().map_or(&bytes[..], |text| text.as_bytes());
            let payload = if *compressed { deflater.deflate(content, true) } else { content.to_vec() };
            let mut ends: Vec<usize> = cuts.iter().map(|cut| (*cut).min(payload.len())).collect();
            ends.sort_unstable();
            ends.push(payload.len());
            let (mut stream, mut start, mut meanings) = (Vec::new(), 0, Vec::new());
            for (index, end) in ends.iter().enumerate() {
                let kind = if index > 0 {
                    0
                } else if text.is_some() {
                    1
                } else {
                    2
                };
                let fin = if index + 1 == ends.len() { 0x80 } else { 0 };
                let rsv1 = if index == 0 && *compressed { 0x40 } else { 0 };
                stream.extend(frame(fin | rsv1 | kind, &payload[start..*end]));
                if *interlude && fin == 0 {
                    stream.extend(frame(0x8a, b"."));
                    meanings.push(Meaning::Pong);
                }
                start = *end;
            }
            meanings.push(text.clone().map_or_else(|| Meaning::Binary(bytes.clone()), Meaning::Text));
            (stream, meanings)
        }
    }
}

proptest! {
    #[test]
    fn what_is_spoken_is_heard_however_it_arrives(
        utterances in proptest::collection::vec(utterance(), 0..6),
        piece in 1..300_usize, max in 1..500_usize,
    ) {
        let mut deflater = Deflater::new(agreement());
        let (streams, meanings): (Vec<_>, Vec<_>) = utterances.iter().map(|said| spoken(said, &mut deflater)).unzip();
        let (stream, expected) = (streams.concat(), meanings.concat());
        prop_assert_eq!(meaning(stream.chunks(piece), max), expected);
    }

    #[test]
    fn no_bytes_make_it_panic_and_no_split_changes_what_they_mean(
        bytes in proptest::collection::vec(any::<u8>(), 0..200), first in prop_oneof![Just(0x81_u8), Just(0x02), Just(0xc2), Just(0x88)],
        piece in 1..20_usize,
    ) {
        let stream = frame(first, &bytes);
        prop_assert_eq!(codes(meaning(stream.chunks(piece), 50)), codes(meaning([&stream[..]], 50)));
        prop_assert_eq!(codes(meaning(bytes.chunks(piece), 50)), codes(meaning([&bytes[..]], 50)));
    }
}

/// Of compressed text that is neither text nor DEFLATE, the pieces decide what is noticed first. Both are 1007.
fn codes(meanings: Vec<Meaning>) -> Vec<Meaning> {
    let content =
        |reason: &str| ["a text message that is not UTF-8", "compressed content that is not DEFLATE"].contains(&reason);
    let coded = |meaning| match meaning {
        Meaning::Violation(reason) if content(reason) => Meaning::Violation("1007"),
        meaning => meaning,
    };
    meanings.into_iter().map(coded).collect()
}

#[test]
fn compressed_text_that_is_wrong_twice_is_1007_however_it_arrives() {
    // Found by the property above: a stored byte that is no text, then what is no DEFLATE.
    let stream = frame(0xc1, &[0x00, 0x01, 0x00, 0xfe, 0xff, 0xff, 0xff]);
    for piece in 1..=stream.len() {
        assert_eq!(codes(meaning(stream.chunks(piece), 50)), [Meaning::Violation("1007")], "pieces of {piece}");
    }
}
