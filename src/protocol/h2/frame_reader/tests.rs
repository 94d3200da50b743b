use proptest::prelude::*;

use super::super::error::ErrorCode;
use super::super::frame_writer;
use super::*;

const LIMITS: FrameLimits = FrameLimits { frame_bytes_max: 16_384, block_bytes_max: 200, continuations_max: 3 };
const INBOX_BYTES: usize = 300;

/// What was read, without the way it was cut.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    Frame(Frame),
    Content(Vec<u8>),
    Payload(Frame, Vec<u8>),
    Fault(ErrorCode, &'static str),
}

/// Reads pieces as they arrive, into an inbox that is smaller than many frames.
fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Seen> {
    let (mut reader, mut inbox, mut all) = (FrameReader::default(), RingBuffer::new(INBOX_BYTES), Vec::new());
    for mut piece in pieces {
        loop {
            piece = &piece[inbox.put(piece)..];
            match next(&mut reader, &mut inbox, &mut all) {
                Ok(true) => {}
                Ok(false) if piece.is_empty() => break,
                Ok(false) => assert!(!inbox.is_full(), "the reader is stuck"),
                Err(fault) => {
                    all.push(Seen::Fault(fault.code, fault.section));
                    return all;
                }
            }
        }
    }
    all
}

fn next(reader: &mut FrameReader, inbox: &mut RingBuffer, all: &mut Vec<Seen>) -> Result<bool, Fault> {
    let content = match reader.next(inbox, &LIMITS)? {
        None => return Ok(false),
        Some(Frame::Content(n)) => n,
        Some(frame @ (Frame::Headers { .. } | Frame::PriorityUpdate { .. })) => {
            all.push(Seen::Payload(frame, reader.payload(inbox).to_vec()));
            return Ok(true);
        }
        Some(frame) => {
            all.push(Seen::Frame(frame));
            return Ok(true);
        }
    };
    let bytes = inbox.contiguous(content).to_vec();
    reader.taken(inbox, content);
    match all.last_mut() {
        Some(Seen::Content(before)) => before.extend(bytes),
        _ => all.push(Seen::Content(bytes)),
    }
    Ok(true)
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = frame_writer::head(Kind::from_number(kind), flags, stream, payload.len()).to_vec();
    frame.extend_from_slice(payload);
    frame
}

/// What is read, however the input is cut.
fn read_in_every_way(input: &[u8]) -> Vec<Seen> {
    let whole = read([input]);
    assert_eq!(read(input.chunks(1)), whole, "byte by byte");
    for at in 1..input.len().min(700) {
        let (front, back) = input.split_at(at);
        assert_eq!(read([front, back]), whole, "cut at {at}");
    }
    whole
}

fn fault(input: &[u8]) -> (ErrorCode, &'static str) {
    match read_in_every_way(input).pop() {
        Some(Seen::Fault(code, section)) => (code, section),
        other => panic!("{other:?}"),
    }
}

fn headers(stream: u32, end_stream: bool, depends_on: Option<u32>, block: &[u8]) -> Seen {
    Seen::Payload(Frame::Headers { stream, end_stream, depends_on }, block.to_vec())
}

#[test]
fn data_passes_in_pieces_and_its_padding_is_dropped() {
    let (payload, content) = (1 + 1000 + 5, 1000);
    let input = frame(0, END_STREAM | PADDED, 7, &[&[5][..], &[b'x'; 1000], &[0; 5]].concat());
    let expected = [
        Seen::Frame(Frame::Data { stream: 7, payload, content, end_stream: true }),
        Seen::Content(vec![b'x'; 1000]),
        Seen::Frame(Frame::DataEnd { stream: 7, end_stream: true }),
        Seen::Frame(Frame::SettingsAck),
    ];
    assert_eq!(read_in_every_way(&[input, frame(4, ACK, 0, b"")].concat()), expected);
}

#[test]
fn empty_data_and_data_of_padding_only_have_no_content() {
    let input = [frame(0, 0, 1, b""), frame(0, PADDED, 1, &[2, 0, 0]), frame(0, PADDED, 1, &[0])].concat();
    let data = |payload| Seen::Frame(Frame::Data { stream: 1, payload, content: 0, end_stream: false });
    let end = || Seen::Frame(Frame::DataEnd { stream: 1, end_stream: false });
    assert_eq!(read_in_every_way(&input), [data(0), end(), data(3), end(), data(1), end()]);
}

#[test]
fn content_that_nobody_wants_is_skipped_with_its_padding() {
    let input = [frame(0, PADDED, 1, &[&[9][..], &[b'x'; 500], &[0; 9]].concat()), frame(6, 0, 0, &[1; 8])].concat();
    let (mut reader, mut inbox) = (FrameReader::default(), RingBuffer::new(64));
    let mut rest = &input[..];
    let mut frames = 0;
    while !rest.is_empty() {
        rest = &rest[inbox.put(rest)..];
        while let Some(frame) = reader.next(&mut inbox, &LIMITS).expect("no fault") {
            frames += 1;
            match frame {
                Frame::Data { .. } => assert_eq!(reader.skip_content(), 500),
                frame => assert_eq!(frame, Frame::Ping { is_ack: false, payload: [1; 8] }),
            }
        }
    }
    assert_eq!(frames, 2);
}

#[test]
fn a_field_block_in_one_frame_is_taken_from_the_inbox() {
    let dependency = [0x80, 0, 0, 3, 255];
    let padded = [&[3][..], &dependency, b"block", &[0; 3]].concat();
    let input = [
        frame(1, END_HEADERS | END_STREAM, 1, b"block"),
        frame(1, END_HEADERS | PADDED | PRIORITY, 3, &padded),
        frame(1, END_HEADERS, 5, b""),
    ];
    let expected =
        [headers(1, true, None, b"block"), headers(3, false, Some(3), b"block"), headers(5, false, None, b"")];
    assert_eq!(read_in_every_way(&input.concat()), expected);
}

#[test]
fn a_field_block_in_several_frames_is_gathered() {
    let input = [
        frame(1, END_STREAM | PADDED, 1, b"\x02one \0\0"),
        frame(9, PADDED | PRIORITY, 1, b"two "),
        frame(9, 0, 1, b""),
        frame(9, END_HEADERS, 1, b"three"),
        frame(2, 0, 1, &[0, 0, 0, 9, 1]),
    ];
    let priority = Seen::Frame(Frame::Priority { stream: 1, depends_on: 9 });
    assert_eq!(read_in_every_way(&input.concat()), [headers(1, true, None, b"one two three"), priority]);
}

#[test]
fn a_field_block_larger_than_the_inbox_is_gathered() {
    let mut limits = LIMITS;
    limits.block_bytes_max = 1000;
    let (mut reader, mut inbox) = (FrameReader::default(), RingBuffer::new(64));
    let input = frame(1, END_HEADERS | PADDED, 1, &[&[200][..], &[b'x'; 700], &[0; 200]].concat());
    let (mut rest, mut blocks) = (&input[..], 0);
    while !rest.is_empty() {
        rest = &rest[inbox.put(rest)..];
        while let Some(frame) = reader.next(&mut inbox, &limits).expect("no fault") {
            let seen = Seen::Payload(frame, reader.payload(&mut inbox).to_vec());
            assert_eq!(seen, headers(1, false, None, &[b'x'; 700]));
            blocks += 1;
        }
    }
    assert_eq!((blocks, reader.is_within_field_block()), (1, false));
}

#[test]
fn nothing_comes_between_the_frames_of_a_field_block() {
    let begun = frame(1, 0, 1, b"one");
    for other in [
        frame(2, 0, 1, &[0; 5]),
        frame(9, END_HEADERS, 3, b"two"),
        frame(1, END_HEADERS, 1, b"two"),
        frame(0, 0, 1, b"x"),
        frame(6, 0, 0, &[0; 8]),
        frame(0xbb, 0, 0, b""),
    ] {
        assert_eq!(fault(&[&begun[..], &other].concat()), (ErrorCode::PROTOCOL_ERROR, "RFC 9113 §6.10"));
    }
    assert_eq!(fault(&frame(9, END_HEADERS, 1, b"x")), (ErrorCode::PROTOCOL_ERROR, "RFC 9113 §6.10"));
    let complete = [frame(1, END_HEADERS, 1, b"one"), frame(9, END_HEADERS, 1, b"two")].concat();
    assert_eq!(fault(&complete), (ErrorCode::PROTOCOL_ERROR, "RFC 9113 §6.10"));
}

#[test]
fn field_blocks_are_bounded_in_frames_and_in_bytes() {
    let calm = (ErrorCode::ENHANCE_YOUR_CALM, "RFC 9113 §10.5.1");
    let begun = frame(1, 0, 1, b"");
    let empty = frame(9, 0, 1, b"");
    assert_eq!(fault(&[&begun[..], &empty.repeat(4)].concat()), calm);
    assert_eq!(read(std::iter::once(&[&begun[..], &empty.repeat(3)].concat()[..])), []);
    let half = frame(9, 0, 1, &[0; 100]);
    assert_eq!(fault(&[begun, half.repeat(2), frame(9, END_HEADERS, 1, b"x")].concat()), calm);
}

#[test]
fn padding_beyond_the_frame_ends_the_connection() {
    assert_eq!(fault(&frame(0, PADDED, 1, &[4, 0, 0, 0])), (ErrorCode::PROTOCOL_ERROR, "RFC 9113 §6.1"));
    assert_eq!(fault(&frame(0, PADDED, 1, &[1])), (ErrorCode::PROTOCOL_ERROR, "RFC 9113 §6.1"));
    let padded = frame(1, PADDED | PRIORITY | END_HEADERS, 1, &[1, 0, 0, 0, 0, 0]);
    assert_eq!(fault(&padded), (ErrorCode::PROTOCOL_ERROR, "RFC 9113 §6.2"));
    let just_enough = frame(0, PADDED, 1, &[3, 0, 0, 0]);
    assert_eq!(read_in_every_way(&just_enough).len(), 2);
}

#[test]
fn frames_of_a_fixed_length_are_read_and_reserved_bits_are_ignored() {
    let input = [
        frame(3, 0xff, 5, &[0, 0, 0, 8]),
        frame(4, 0, 0, b"\0\x03\0\0\0\x64\x0a\x0a\xff\xff\xff\xff"),
        frame(6, 0xfe, 0, b"12345678"),
        frame(6, ACK, 0, b"12345678"),
        frame(7, 0, 0, b"\x80\0\0\x05\0\0\0\x0bbecause"),
        frame(8, 0, 9, &[0x80, 0, 1, 0]),
        frame(0xbb, 0xff, 3, &[7; 400]),
        frame(0x10, 0, 0, b"\x80\0\0\x03u=1, i"),
        frame(0x10, 0, 0, &[0; 257]),
        frame(2, 0, 3, &[0; 4]),
    ];
    let expected = [
        Seen::Frame(Frame::Reset { stream: 5, code: 8 }),
        Seen::Frame(Frame::Setting { identifier: 3, value: 100 }),
        Seen::Frame(Frame::Setting { identifier: 0x0a0a, value: u32::MAX }),
        Seen::Frame(Frame::SettingsEnd),
        Seen::Frame(Frame::Ping { is_ack: false, payload: *b"12345678" }),
        Seen::Frame(Frame::Ping { is_ack: true, payload: *b"12345678" }),
        Seen::Frame(Frame::GoAway { last_stream: 5, code: 11 }),
        Seen::Frame(Frame::WindowUpdate { stream: 9, increment: 256 }),
        Seen::Frame(Frame::Ignored),
        Seen::Payload(Frame::PriorityUpdate { stream: 3 }, b"u=1, i".to_vec()),
        Seen::Frame(Frame::Ignored),
        Seen::Frame(Frame::PriorityOfWrongLength { stream: 3 }),
    ];
    assert_eq!(read_in_every_way(&input.concat()), expected);
}

#[test]
fn settings_may_be_larger_than_the_inbox() {
    let input = frame(4, 0, 0, &b"\0\x03\0\0\0\x64".repeat(200));
    let seen = read_in_every_way(&input);
    assert_eq!((seen.len(), seen.last()), (201, Some(&Seen::Frame(Frame::SettingsEnd))));
}

prop_compose! {
    fn any_frame()(
        kind in prop_oneof![0..0x11_u8, any::<u8>()],
        flags in prop_oneof![Just(0), Just(END_HEADERS), any::<u8>()],
        stream in 0..4_u32,
        payload in prop::collection::vec(prop_oneof![0..3_u8, any::<u8>()], 0..400),
    ) -> Vec<u8> {
        frame(kind, flags, stream, &payload)
    }
}

proptest! {
    #[test]
    fn the_result_does_not_depend_on_how_input_is_cut(
        frames in prop::collection::vec(any_frame(), 1..6),
        noise in prop::collection::vec(any::<u8>(), 0..40),
        size in 1..300_usize,
    ) {
        let input = [frames.concat(), noise].concat();
        let whole = read([&input[..]]);
        prop_assert_eq!(read(input.chunks(size)), whole);
    }
}
