//! A client of HTTP/2 and a naive server around our session, without a network between them but for the pieces in which
//! bytes arrive. So the client is tested by itself: it must be content with a server that is right, and must find out one
//! that is not.

use std::time::Duration;

use tidemill::base::limits::Limits;

use super::ask::{self, Ask, Reading};
use super::frames::{
    ACK, CONTINUATION, DATA, END_STREAM, Frame, Frames, GOAWAY, HEADERS, PING, RST_STREAM, SETTINGS, WINDOW_UPDATE,
};
use super::naive_server::NaiveServer;
use super::offence::OFFENCES;
use super::{Habits, Http2, Last};
use crate::dice::Dice;
use crate::request::Request;
use crate::service::pattern;

/// Rounds after which nothing good can come any more.
const ROUNDS_MAX: u32 = 1_000_000;

/// What becomes of the server's bytes on their way.
type Wire = Box<dyn FnMut(Vec<u8>) -> Vec<u8>>;

/// Plays until the client closes; says how its streams ended.
fn play(client: &mut Http2, limits: Limits, dice: &mut Dice, mut wire: Wire) -> Result<[usize; 5], String> {
    let (mut server, mut now, mut up) = (NaiveServer::new(limits), Duration::ZERO, Vec::new());
    let mut down = Vec::new();
    for _ in 0..ROUNDS_MAX {
        now += Duration::from_micros(1);
        up.extend(client.act(now));
        if client.closes() {
            return Ok(client.outcomes());
        }
        if server.fault.is_some() && !server.has_output() && down.is_empty() {
            return client.check_end().map(|()| client.outcomes());
        }
        let piece = dice.size(1, 40_000).min(up.len());
        let fed = server.feed(&up[..piece]);
        up.drain(..fed);
        server.drive(now);
        // Sometimes the client does not read.
        let mut has_moved = fed > 0 || server.has_output();
        if dice.chance(800) {
            down.extend(wire(server.output(dice.size(1, 100_000))));
            let piece = dice.size(1, 100_000).min(down.len());
            client.take(&down.drain(..piece).collect::<Vec<u8>>(), now)?;
        }
        has_moved |= !down.is_empty();
        if has_moved {
            continue;
        }
        up.extend(client.act(now));
        let waits = [client.acts_at(), server.acts_at()].into_iter().flatten().filter(|at| *at > now);
        match waits.min() {
            _ if !up.is_empty() => {}
            Some(at) => now = at,
            None if server.reset_stuck() => {}
            None if client.closes() || server.fault.is_some() => {}
            None => return Err(format!("nothing moves: {}, {:?}", client.progress(), server.fault)),
        }
    }
    Err(format!("no end: {}", client.progress()))
}

fn faithful() -> Wire {
    Box::new(|bytes| bytes)
}

fn limits(dice: &mut Dice) -> Limits {
    let mut limits = Limits { inbox_bytes: dice.size(256, 16 * 1024), ..Limits::default() };
    limits.outbox_bytes = dice.size(4096, 64 * 1024);
    limits.http2.streams_max = dice.between(1, 100) as u32;
    limits.http2.stream_window_bytes = dice.pick(&[1, 1000, 65_535, 65_536, 300_000]);
    limits.http2.connection_window_bytes = dice.pick(&[65_535, 1 << 20]);
    limits.http2.header_table_bytes = dice.pick(&[0, 100, 4096]);
    limits
}

/// A client with any habits, and its server's limits.
fn any_client(dice: &mut Dice) -> (Http2, Limits) {
    let mut habits = Habits::draw("any", dice);
    let limits = limits(dice);
    // Before it knows the limit, its streams could be refused.
    habits.waits_for_settings |= habits.streams_max > limits.http2.streams_max as usize;
    let gives_up = dice.pick(&[0, 0, 300]);
    let asks = (0..dice.size(1, 40)).map(|_| match dice.chance(50) {
        true => ask::never_read(dice, habits.window),
        false if dice.chance(gives_up) => ask::any(dice).giving_up(dice),
        false => ask::any(dice),
    });
    let asks = asks.collect();
    (Http2::new(habits, asks, dice.fork()), limits)
}

#[test]
fn a_client_is_content_with_a_server_that_is_right() {
    let mut sum = [0; 5];
    for seed in 0..300 {
        let mut dice = Dice::new(seed);
        let (mut client, limits) = any_client(&mut dice);
        let outcomes =
            play(&mut client, limits, &mut dice, faithful()).unwrap_or_else(|error| panic!("{seed}: {error}"));
        sum.iter_mut().zip(outcomes).for_each(|(sum, outcome)| *sum += outcome);
    }
    let [complete, cut, given_up, excused, not_asked] = sum;
    assert!(complete > 1000 && cut > 50 && given_up > 20, "{sum:?}");
    assert_eq!((excused, not_asked), (0, 0));
}

#[test]
fn a_client_that_breaks_a_rule_wants_to_be_told_so() {
    for offence in OFFENCES {
        for seed in 0..10 {
            let mut dice = Dice::new(seed);
            let asks = (0..dice.between(0, 5)).map(|_| ask::any(&mut dice)).collect();
            let habits = Habits { last: Last::Break(offence), ..Habits::plain() };
            let mut client = Http2::new(habits, asks, dice.fork());
            let outcomes = play(&mut client, Limits::default(), &mut dice, faithful());
            outcomes.unwrap_or_else(|error| panic!("{}, {seed}: {error}", offence.what));
        }
    }
}

/// A client that asks for a bit of everything, and with the same limits on both sides always.
fn asking_for_everything() -> Http2 {
    let get = |path: &str, content: Vec<u8>| Ask::plain(Request::new("GET", path.to_owned(), 200, content));
    let mut trailing = get("/trailers/300/2", pattern(2, 300));
    trailing.trailers = vec![("sum".to_owned(), "2".to_owned())];
    let echo = Request::new("POST", "/echo/5000".to_owned(), 200, pattern(3, 9000));
    let asks = vec![
        get("/known/70000/1", pattern(1, 70_000)),
        get("/chunked/70000/4", pattern(4, 70_000)),
        Ask { hints: 1, ..get("/hints/1", b"hinted".to_vec()) },
        trailing,
        Ask::plain(echo.with_content(pattern(3, 9000), true)),
        ask::talking(&mut Dice::new(1)),
    ];
    let habits = Habits { pings: 3, later_windows: vec![1000], reading: Reading::Ahead(65_535), ..Habits::plain() };
    Http2::new(habits, asks, Dice::new(1))
}

/// A wire that makes other frames of the first frame of a kind, if there is one.
fn tampering(is_it: fn(&Frame) -> bool, change: fn(Frame) -> Vec<Frame>) -> Wire {
    let (mut frames, mut is_done) = (Frames::default(), false);
    Box::new(move |bytes| {
        frames.push(&bytes);
        let mut out = Vec::new();
        while let Some(frame) = frames.next() {
            let is_changed = !is_done && is_it(&frame);
            is_done |= is_changed;
            let changed = if is_changed { change(frame) } else { vec![frame] };
            changed.iter().for_each(|frame| out.extend(frame.to_bytes()));
        }
        out
    })
}

fn has_content(frame: &Frame) -> bool {
    frame.kind == DATA && !frame.payload.is_empty()
}

fn with(frame: Frame, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<Frame> {
    vec![frame, Frame { kind, flags, stream, payload: payload.to_vec() }]
}

fn ends(frame: &Frame) -> bool {
    frame.has(END_STREAM) && matches!(frame.kind, DATA | HEADERS)
}

/// What is changed, the frames that it could be, and what becomes of the first of these.
type Change = (&'static str, fn(&Frame) -> bool, fn(Frame) -> Vec<Frame>);

const CHANGES: [Change; 21] = [
    ("content is changed", has_content, |mut frame| {
        frame.payload[0] ^= 1;
        vec![frame]
    }),
    ("content is left out", has_content, |_| vec![]),
    ("content comes twice", has_content, |frame| vec![frame.clone(), frame]),
    ("content goes elsewhere", has_content, |frame| vec![Frame { stream: frame.stream ^ 2, ..frame }]),
    ("content is padded", has_content, |frame| vec![Frame { flags: frame.flags | 8, ..frame }]),
    (
        "content ends early",
        |frame| frame.kind == DATA && !frame.has(END_STREAM),
        |frame| vec![Frame { flags: END_STREAM, ..frame }],
    ),
    ("an end is left out", ends, |frame| vec![Frame { flags: frame.flags & !END_STREAM, ..frame }]),
    ("an end comes twice", ends, |frame| {
        let stream = frame.stream;
        with(frame, DATA, END_STREAM, stream, b"")
    }),
    ("a head is left out", |frame| frame.kind == HEADERS, |_| vec![]),
    ("a head comes twice", |frame| frame.kind == HEADERS, |frame| vec![frame.clone(), frame]),
    (
        "a field block is wrong",
        |frame| frame.kind == HEADERS,
        |mut frame| {
            frame.payload.push(0xff);
            vec![frame]
        },
    ),
    (
        "trailers are left out",
        |frame| frame.kind == HEADERS && frame.has(END_STREAM),
        |frame| vec![Frame { kind: DATA, payload: Vec::new(), ..frame }],
    ),
    ("a stream is reset", has_content, |frame| {
        let stream = frame.stream;
        with(frame, RST_STREAM, 0, stream, &[0, 0, 0, 2])
    }),
    ("nobody has opened the stream", has_content, |frame| with(frame, DATA, 0, 1001, b"x")),
    ("the server goes", has_content, |frame| with(frame, GOAWAY, 0, 0, &[0, 0, 0, 99, 0, 0, 0, 2])),
    ("CONTINUATION of nothing", has_content, |frame| with(frame, CONTINUATION, 4, 1, b"")),
    ("SETTINGS are left out", |frame| frame.kind == SETTINGS && !frame.has(ACK), |_| vec![]),
    ("an acknowledgement is left out", |frame| frame.kind == SETTINGS && frame.has(ACK), |_| vec![]),
    (
        "a PING is answered with another",
        |frame| frame.kind == PING,
        |mut frame| {
            frame.payload[7] ^= 1;
            vec![frame]
        },
    ),
    ("an answer to no PING", has_content, |frame| with(frame, PING, ACK, 0, &[0; 8])),
    ("a window that grows too large", has_content, |frame| {
        with(frame, WINDOW_UPDATE, 0, 0, &0x7fff_ffff_u32.to_be_bytes())
    }),
];

#[test]
fn a_client_finds_out_whatever_is_wrong_on_its_way() {
    let limits = Limits::default();
    play(&mut asking_for_everything(), limits.clone(), &mut Dice::new(2), faithful()).expect("nothing is wrong");
    for (what, is_it, change) in CHANGES {
        for seed in 0..3 {
            let wire = tampering(is_it, change);
            let outcome = play(&mut asking_for_everything(), limits.clone(), &mut Dice::new(seed), wire);
            assert!(outcome.is_err(), "{what}, {seed}: {outcome:?}");
        }
    }
}

/// Windows are checked by themselves: whatever else is wrong is found first otherwise.
#[test]
fn a_client_finds_out_who_sends_more_than_it_allows() {
    let begun = |window, reading| {
        let ask = Ask::plain(Request::new("GET", "/chunked/300000/1".to_owned(), 200, pattern(1, 300_000)));
        let habits = Habits { window, reading, ..Habits::plain() };
        let mut client = Http2::new(habits, vec![Ask { reading: Reading::Never, ..ask }], Dice::new(1));
        let mut server = NaiveServer::new(Limits { outbox_bytes: 256 * 1024, ..Limits::default() });
        let mut sent = client.act(Duration::ZERO);
        while !sent.is_empty() {
            assert_eq!(server.feed(&sent), sent.len());
            server.drive(Duration::ZERO);
            client.take(&server.output(usize::MAX), Duration::ZERO).expect("the server is right so far");
            sent = client.act(Duration::ZERO);
        }
        client
    };
    let more = Frame { kind: DATA, flags: 0, stream: 1, payload: vec![0] }.to_bytes();
    let wrong = begun(1000, Reading::Ahead(1 << 20)).take(&more, Duration::ZERO);
    assert_eq!(wrong, Err("a frame of type 0 on stream 1: 1 bytes more than its window".to_owned()));
    let wrong = begun(200_000, Reading::Never).take(&more, Duration::ZERO);
    assert_eq!(wrong, Err("a frame of type 0 on stream 1: 1 bytes more than the window of the connection".to_owned()));
}
