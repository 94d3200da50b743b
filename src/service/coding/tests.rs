//! Coded responses against plain decoders, through rooms of any size and with a clock that is moved by hand.

use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use flate2::{Decompress, FlushDecompress};
use proptest::prelude::*;
use zstd::stream::raw::{Decoder, InBuffer, Operation, OutBuffer};

use super::source::{INPUT_BYTES, STREAM_TURN_BYTES_MAX};
use super::*;
use crate::base::ring::{RingBuffer, Room};
use crate::http::body::{Failure, Pull, Wait};
use crate::http::exchange::{Cx, Decision, Reply, Source, Taker};
use crate::http::fields::{CACHE_CONTROL, CONTENT_RANGE, ETAG, FieldName, FieldSet, Fields};
use crate::http::media_type::{HTML, JSON, OCTET_STREAM, TEXT};
use crate::http::status::Status;
use crate::service::lab::harness::{Played, Request, World};

const BOTH: [Coding; 2] = [Coding::Gzip, Coding::Zstd];

/// What a reader has decoded when it has these bytes, and whether it has seen the end.
fn decoded(coding: Coding, coded: &[u8]) -> (Vec<u8>, bool) {
    let (mut content, mut buffer, mut used) = (Vec::new(), vec![0; 4096], 0);
    let mut gunzip = Decompress::new_gzip(15);
    let mut unzstd = Decoder::new().unwrap();
    loop {
        let (taken, given, ended) = match coding {
            Coding::Gzip => {
                let before = (gunzip.total_in(), gunzip.total_out());
                let status = gunzip.decompress(&coded[used..], &mut buffer, FlushDecompress::Sync).unwrap();
                let moved = (gunzip.total_in() - before.0, gunzip.total_out() - before.1);
                (moved.0 as usize, moved.1 as usize, status == flate2::Status::StreamEnd)
            }
            _ => {
                let (mut input, mut output) = (InBuffer::around(&coded[used..]), OutBuffer::around(&mut buffer[..]));
                let hint = unzstd.run(&mut input, &mut output).unwrap();
                (input.pos(), output.pos(), hint == 0)
            }
        };
        used += taken;
        content.extend_from_slice(&buffer[..given]);
        if ended || (taken, given) == (0, 0) {
            assert!(!ended || used == coded.len(), "something stands behind the end");
            return (content, ended);
        }
    }
}

/// What a source of a test does next.
#[derive(Debug, Clone)]
enum Act {
    Put(Vec<u8>),
    Wait(Duration),
    Fail,
    /// Promises more and gives nothing.
    Lie,
}

/// Acts in order and ends.
struct Script {
    acts: VecDeque<Act>,
    until: Option<std::time::Instant>,
    pulled: Rc<Cell<usize>>,
}

impl Script {
    fn new(acts: &[Act]) -> Script {
        Script { acts: acts.iter().cloned().collect(), until: None, pulled: Rc::default() }
    }
}

impl Source for Script {
    fn length(&self) -> Option<u64> {
        None
    }

    fn pull(&mut self, room: &mut Room<'_>, cx: &mut Cx<'_>) -> Result<Pull, Failure> {
        loop {
            match self.acts.front_mut() {
                None => return Ok(Pull::End),
                Some(Act::Fail) => return Err(Failure::new("on purpose")),
                Some(Act::Lie) => return Ok(Pull::More),
                Some(Act::Wait(time)) => {
                    let until = *self.until.get_or_insert(cx.now + *time);
                    if cx.now < until {
                        return Ok(Pull::Pending(Wait::Until(until)));
                    }
                    self.until = None;
                }
                Some(Act::Put(bytes)) => {
                    let put = room.put(bytes);
                    self.pulled.set(self.pulled.get() + put);
                    bytes.drain(..put);
                    if !bytes.is_empty() {
                        return Ok(Pull::More);
                    }
                }
            }
            self.acts.pop_front();
        }
    }

    fn trailers(&mut self) -> Option<FieldSet> {
        Some(FieldSet::new([(
            FieldName::from_static("X-Pulled"),
            FieldValue::new(self.pulled.get().to_string()).unwrap(),
        )]))
    }
}

fn response(body: Body) -> Response {
    Response::new(Status::OK).with_content(TEXT, body)
}

fn scripted(acts: &[Act]) -> Response {
    response(Body::Source(Box::new(Script::new(acts))))
}

/// A request with this Accept-Encoding.
fn accepting(value: &str) -> Request {
    Request::get("/").field("Accept-Encoding", value.as_bytes())
}

/// What becomes of a response after it has come by the coders.
fn played(request: &Request, mut response: Response, rooms: &[usize]) -> Result<Played, Failure> {
    let mut world = World::new();
    Coders::default().recode(&request.head(), &mut response, &world.limits);
    world.finish(Reply::Respond(response), &[], rooms)
}

/// The coding of the response to a client that accepts all of them.
fn coding_of(response: Response) -> Option<String> {
    let played = played(&accepting("gzip, deflate, br, zstd"), response, &[1 << 16]).unwrap();
    played.field("Content-Encoding").map(str::to_owned)
}

fn long() -> Vec<u8> {
    b"a line of the content\n".repeat(100)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_was_produced_can_be_decoded_whenever_nothing_follows(
        pieces in prop::collection::vec(prop::collection::vec(prop_oneof![Just(b'a'), any::<u8>()], 0..1500), 0..8),
        waits in prop::collection::vec(prop::option::of(1..5000_u64), 8),
        rooms in prop::collection::vec(1..3000_usize, 1..6),
        coding in prop::sample::select(BOTH.to_vec()),
    ) {
        let (mut acts, mut whole, mut at_waits) = (Vec::new(), Vec::new(), Vec::new());
        for (piece, wait) in pieces.iter().zip(waits) {
            whole.extend_from_slice(piece);
            acts.push(Act::Put(piece.clone()));
            if let Some(ms) = wait {
                acts.push(Act::Wait(Duration::from_millis(ms)));
                at_waits.push(whole.clone());
            }
        }
        let played = played(&accepting(coding.name()), scripted(&acts), &rooms).unwrap();
        prop_assert_eq!(played.field("Content-Encoding"), Some(coding.name()));
        prop_assert!(decoded(coding, &played.content) == (whole, true));
        prop_assert_eq!(played.waits.len(), at_waits.len());
        for ((_, sent), content) in played.waits.iter().zip(at_waits) {
            prop_assert!(decoded(coding, &played.content[..*sent]) == (content, false), "cut at {}", sent);
        }
    }
}

#[test]
fn rooms_of_one_byte_end() {
    for coding in BOTH {
        let acts = [Act::Put(long()), Act::Wait(Duration::from_secs(1)), Act::Put(b"the end".to_vec())];
        let played = played(&accepting(coding.name()), scripted(&acts), &[1]).unwrap();
        assert_eq!(decoded(coding, &played.content), ([&long()[..], b"the end"].concat(), true));
    }
}

#[test]
fn nothing_is_flushed_twice() {
    for coding in BOTH {
        let waits = [Act::Wait(Duration::from_secs(1)), Act::Wait(Duration::from_secs(1))];
        let acts = [&[Act::Put(b"once".to_vec())], &waits[..]].concat();
        let played = played(&accepting(coding.name()), scripted(&acts), &[100]).unwrap();
        let [(_, first), (_, second)] = played.waits[..] else { panic!("{:?}", played.waits) };
        assert!(first > 0 && first == second, "{coding:?}: {first} {second}");
    }
}

#[test]
fn empty_content_of_unknown_length_is_coded_too() {
    for coding in BOTH {
        let played = played(&accepting(coding.name()), scripted(&[]), &[100]).unwrap();
        assert_eq!(decoded(coding, &played.content), (Vec::new(), true));
    }
}

#[test]
fn trailers_and_failures_are_those_of_the_inner_source() {
    let coded = played(&accepting("gzip"), scripted(&[Act::Put(long())]), &[100]).unwrap();
    assert_eq!(coded.trailers.as_deref(), Some("X-Pulled: 2200"));
    for (act, cause) in [(Act::Fail, "on purpose"), (Act::Lie, "a source promised more content and gave none")] {
        let failed = played(&accepting("gzip"), scripted(&[Act::Put(long()), act]), &[100]).unwrap_err();
        assert_eq!(failed.cause, cause);
    }
}

/// What of `bytes` is taken in each turn, until all is, while `others` are coded too.
fn taken_per_turn(coding: Coding, bytes: usize, others: usize) -> Vec<usize> {
    let (mut world, coders) = (World::new(), Coders::default());
    let _others: Vec<Coder> = (0..others).map(|_| coders.admit(coding, &world.limits).unwrap()).collect();
    let script = Script::new(&[Act::Put(vec![b'a'; bytes])]);
    let pulled = Rc::clone(&script.pulled);
    let coder = coders.admit(coding, &world.limits).unwrap();
    let Body::Source(mut source) = coder.coded(Body::Source(Box::new(script))) else { panic!("a source") };
    let mut turns = Vec::new();
    loop {
        let before = pulled.get();
        let pull = loop {
            let mut ring = RingBuffer::new(64 * 1024);
            match source.pull(&mut ring.room(0, usize::MAX), &mut world.cx()).unwrap() {
                Pull::More => {}
                other => break other,
            }
        };
        turns.push(pulled.get() - before);
        match pull {
            Pull::End => return turns,
            Pull::Pending(Wait::Until(until)) if until > world.now => {
                assert!(world.next_turn(), "nobody wakes it in the next turn");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_turn_takes_a_bounded_input_however_little_comes_of_it() {
    for coding in BOTH {
        let alone = taken_per_turn(coding, 3 * STREAM_TURN_BYTES_MAX + 1, 0);
        assert_eq!(alone, [STREAM_TURN_BYTES_MAX, STREAM_TURN_BYTES_MAX, STREAM_TURN_BYTES_MAX, 1]);
        assert_eq!(taken_per_turn(coding, STREAM_TURN_BYTES_MAX - 1, 0), [STREAM_TURN_BYTES_MAX - 1]);
        // Together they take 1 MiB: 64 KiB for each of 16, and less for each of more.
        assert_eq!(taken_per_turn(coding, 2 * STREAM_TURN_BYTES_MAX, 15)[0], STREAM_TURN_BYTES_MAX);
        assert_eq!(taken_per_turn(coding, 2 * STREAM_TURN_BYTES_MAX, 31)[0], STREAM_TURN_BYTES_MAX / 2);
        assert_eq!(taken_per_turn(coding, 2 * STREAM_TURN_BYTES_MAX, 255)[0], INPUT_BYTES);
    }
}

#[test]
fn as_many_as_may_are_coded_and_no_more() {
    let (mut world, coders) = (World::new(), Coders::default());
    world.limits.coded_streams_max = 2;
    let request = accepting("gzip");
    let coded = |coders: &Coders, world: &World| {
        let mut response = response(long().into());
        coders.recode(&request.head(), &mut response, &world.limits);
        assert!(response.fields.contains(&(VARY, ACCEPT_ENCODING)), "it varies, coded or not");
        let is_coded = response.fields.iter().any(|(name, _)| *name == CONTENT_ENCODING);
        assert_eq!(response.body.length().is_none(), is_coded);
        (is_coded, response)
    };
    let (first, held) = coded(&coders, &world);
    let (second, also_held) = coded(&coders.clone(), &world);
    let (third, _) = coded(&coders, &world);
    assert_eq!((first, second, third), (true, true, false));
    drop(held);
    assert!(coded(&coders, &world).0, "a share was not given back");
    drop(also_held);
    world.limits.coded_streams_max = 0;
    let mut response = response(long().into());
    coders.recode(&request.head(), &mut response, &world.limits);
    assert!(response.fields.is_empty(), "nothing is coded, so nothing varies");
}

#[test]
fn both_sides_of_the_shortest_content() {
    let bytes = |n: usize| Body::from(vec![b'a'; n]);
    assert_eq!(coding_of(response(bytes(255))), None);
    assert_eq!(coding_of(response(bytes(256))).as_deref(), Some("zstd"));
    let source = |n: u64| {
        struct Long(u64);
        impl Source for Long {
            fn length(&self) -> Option<u64> {
                Some(self.0)
            }
            fn pull(&mut self, room: &mut Room<'_>, _: &mut Cx<'_>) -> Result<Pull, Failure> {
                self.0 -= room.put(&vec![b'a'; self.0 as usize]) as u64;
                Ok(if self.0 == 0 { Pull::End } else { Pull::More })
            }
        }
        Body::Source(Box::new(Long(n)))
    };
    assert_eq!(coding_of(response(source(255))), None);
    assert_eq!(coding_of(response(source(256))).as_deref(), Some("zstd"));
}

#[test]
fn what_must_stay_as_it_is_does() {
    let content = || Body::from(long());
    let with =
        |name: FieldName, value: &'static str| response(content()).with_field(name, FieldValue::from_static(value));
    let untouched = [
        ("binary", Response::new(Status::OK).with_content(OCTET_STREAM, content())),
        ("without a type", Response { body: content(), ..Response::new(Status::OK) }),
        ("kept", response(content()).as_it_is()),
        ("coded already", with(CONTENT_ENCODING, "br")),
        ("no-transform", with(CACHE_CONTROL, "max-age=3, No-Transform")),
        ("a tag", with(ETAG, "\"a\"")),
        ("a range", with(CONTENT_RANGE, "bytes 0-9/10")),
        ("a digest", with(FieldName::from_static("Repr-Digest"), "sha-256=:AA==:")),
        ("prepared", response(content()).with_prepared(FieldSet::new([(ETAG, FieldValue::from_static("W/\"a\""))]))),
        ("206", Response { status: Status::PARTIAL_CONTENT, ..response(content()) }),
        ("nothing", response(Body::Empty)),
        ("parts", response(Body::Parts(VecDeque::new()))),
    ];
    for (what, mut response) in untouched {
        let before = (response.fields.len(), response.body.length());
        Coders::default().recode(&accepting("gzip").head(), &mut response, &World::new().limits);
        assert_eq!((response.fields.len(), response.body.length()), before, "{what}");
    }
    let coded = [
        ("JSON", Response::new(Status::OK).with_content(JSON, content())),
        ("an error", Response { status: Status::NOT_FOUND, ..response(content()) }.with_content(HTML, content())),
        ("no-cache", with(CACHE_CONTROL, "no-cache, x=\"no-transform\"")),
    ];
    for (what, response) in coded {
        assert_eq!(coding_of(response).as_deref(), Some("zstd"), "{what}");
    }
}

/// The fields of an upstream's response to a client that takes gzip, when its content has come by the coders.
fn of_upstream(fields: &[(&str, &str)]) -> Vec<String> {
    let lines = fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    let mut response = Response::of_upstream(Status::OK, FieldSet::of_parsed(lines), long().into());
    response.may_be_coded = true;
    Coders::default().recode(&accepting("gzip").head(), &mut response, &World::new().limits);
    let line =
        |name: &[u8], value: &[u8]| format!("{}: {}", String::from_utf8_lossy(name), String::from_utf8_lossy(value));
    let prepared = response.prepared.iter().map(|(name, value)| line(name, value));
    let others = response.fields.iter().map(|(name, value)| line(name.as_str().as_bytes(), value.as_bytes()));
    prepared.chain(others).collect()
}

#[test]
fn the_fields_of_an_upstream_say_what_is_true_of_the_coded_content() {
    const TEXT: (&str, &str) = ("content-type", "text/plain");
    let coded = ["content-type: text/plain", "Vary: Accept-Encoding", "Content-Encoding: gzip"];
    assert_eq!(of_upstream(&[TEXT]), coded);
    assert_eq!(of_upstream(&[TEXT, ("Accept-Ranges", "bytes")]), coded);
    for (tag, weak) in [("\"a\"", "W/\"a\""), ("W/\"a\"", "W/\"a\""), ("\"\"", "W/\"\"")] {
        let fields = of_upstream(&[("etag", tag), TEXT]);
        assert_eq!(fields, [&[&*format!("etag: {weak}")], &coded[..]].concat(), "{tag}");
    }
    // What is no tag cannot be a weak one, and of two tags nobody knows which one counts.
    assert_eq!(of_upstream(&[TEXT, ("ETag", "a")]), coded);
    assert_eq!(of_upstream(&[TEXT, ("ETag", "\"a\""), ("ETag", "\"b\"")]), coded);
    for untouched in [
        &[("Content-Type", "image/png"), ("ETag", "\"a\"")][..],
        &[("ETag", "\"a\"")],
        &[TEXT, TEXT],
        &[TEXT, ("Content-Encoding", "gzip")],
        &[TEXT, ("Trailer", "X, repr-digest")],
        &[TEXT, ("Cache-Control", "no-transform")],
    ] {
        let lines: Vec<String> = untouched.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        assert_eq!(of_upstream(untouched), lines);
    }
}

#[test]
fn statuses_without_content_have_no_coding() {
    for status in [Status::NO_CONTENT, Status::NOT_MODIFIED, Status::RESET_CONTENT, Status::SWITCHING_PROTOCOLS] {
        let mut response = Response { status, ..response(long().into()) };
        Coders::default().recode(&accepting("gzip").head(), &mut response, &World::new().limits);
        assert!(response.fields.is_empty(), "{status}");
    }
}

#[test]
fn the_client_decides_which_coding_it_is() {
    let cases: [(&[&str], Option<&str>); 14] = [
        (&["gzip"], Some("gzip")),
        (&["x-gzip;q=0.1"], Some("gzip")),
        (&["gzip, zstd"], Some("zstd")),
        (&["gzip", "br, zstd;q=0.5"], Some("gzip")),
        (&["br"], None),
        (&["br, *"], Some("zstd")),
        (&["identity, gzip;q=0.9"], None),
        (&["gzip;q=0"], None),
        (&[""], None),
        (&[], None),
        (&["gzip;q=2, ;;;, zstd;q=, \u{0}"], None),
        (&["gzip;q=0.0001"], None),
        (&["*;q=0, gzip"], Some("gzip")),
        // It is refused in every form that there can be, and gets the only one that there is.
        (&["*;q=0"], None),
    ];
    for (lines, expected) in cases {
        let request =
            lines.iter().fold(Request::get("/"), |request, line| request.field("Accept-Encoding", line.as_bytes()));
        let played = played(&request, response(long().into()), &[4096]).unwrap();
        assert_eq!(played.field("Content-Encoding"), expected, "{lines:?}");
        assert_eq!(played.field("Vary"), Some("Accept-Encoding"), "{lines:?}");
        assert_eq!(played.length, expected.is_none().then_some(2200), "{lines:?}");
    }
    let request = accepting("gzip").field("Cache-Control", b"no-transform");
    assert_eq!(played(&request, response(long().into()), &[4096]).unwrap().field("Content-Encoding"), None);
}

#[test]
fn a_field_that_names_the_coding_is_not_repeated() {
    for (value, lines) in [("Accept", 2), ("accept-encoding, Origin", 1), ("*", 1)] {
        let mut response = response(long().into()).with_field(VARY, FieldValue::from_static(value));
        Coders::default().recode(&accepting("gzip").head(), &mut response, &World::new().limits);
        assert_eq!(response.fields.iter().filter(|(name, _)| *name == VARY).count(), lines, "{value}");
    }
}

/// Says 103 and waits before it answers with what it was sent.
struct Slow {
    step: u32,
    taken: Vec<u8>,
    ended: bool,
}

impl Taker for Slow {
    fn take(&mut self, content: &[u8], _: &mut Cx<'_>) -> Result<usize, Failure> {
        self.taken.extend_from_slice(content);
        Ok(content.len())
    }

    fn end(&mut self, _: Fields<'_>, _: &mut Cx<'_>) -> Result<(), Failure> {
        self.ended = true;
        Ok(())
    }
}

impl Exchange for Slow {
    fn taker(&mut self) -> Option<&mut dyn Taker> {
        Some(self)
    }

    fn respond(mut self: Box<Self>, cx: &mut Cx<'_>) -> Result<Decision, Failure> {
        self.step += 1;
        Ok(match self.step {
            1 => Decision::Interim(self, Status::EARLY_HINTS, FieldSet::EMPTY),
            2 => Decision::Pending(self, Wait::Until(cx.now + Duration::from_secs(1))),
            _ if !self.ended => Decision::Pending(self, Wait::Content),
            _ => Decision::Respond(response(self.taken.into())),
        })
    }
}

#[test]
fn an_exchange_is_asked_as_before_and_its_response_is_coded() {
    let mut world = World::new();
    let slow = Box::new(Slow { step: 0, taken: Vec::new(), ended: false });
    let exchange = Coders::default().recode_later(&accepting("zstd").head(), slow);
    let content = long();
    let played = world.finish(Reply::Decide(exchange), &[&content[..1000], &content[1000..]], &[77]).unwrap();
    assert_eq!((played.interim.len(), played.taken), (1, content.len()));
    assert_eq!(played.field("Content-Encoding"), Some("zstd"));
    assert_eq!(decoded(Coding::Zstd, &played.content), (content, true));
}

#[test]
fn what_takes_content_while_it_answers_is_not_coded() {
    struct Duplex;
    impl Taker for Duplex {
        fn take(&mut self, content: &[u8], _: &mut Cx<'_>) -> Result<usize, Failure> {
            Ok(content.len())
        }
        fn end(&mut self, _: Fields<'_>, _: &mut Cx<'_>) -> Result<(), Failure> {
            Ok(())
        }
    }
    impl Source for Duplex {
        fn length(&self) -> Option<u64> {
            None
        }
        fn pull(&mut self, _: &mut Room<'_>, _: &mut Cx<'_>) -> Result<Pull, Failure> {
            Ok(Pull::End)
        }
        fn taker(&mut self) -> Option<&mut dyn Taker> {
            Some(self)
        }
    }
    assert_eq!(coding_of(response(Body::Source(Box::new(Duplex)))), None);
}
