//! A WebSocket between an application that does as it is told and a peer of bytes, with a clock that stands still
//! until it is moved.

use std::cell::RefCell;
use std::rc::Rc;

use proptest::prelude::*;

use super::*;
use crate::base::ring::RingBuffer;
use crate::http::exchange::Reply;
use crate::http::fields::FieldValue;
use crate::http::message::Version;
use crate::protocol::ws::deflate::{Agreement, Deflater};
use crate::protocol::ws::sender;
use crate::service::lab::harness::{Request, World};

const ENDPOINT: Endpoint = Endpoint { same_host: false, deflate: false, protocols: Subprotocols::Known(&[]) };
const SECOND: Duration = Duration::from_secs(1);

/// What the application has seen and what it is to do.
#[derive(Default)]
struct Script {
    /// The parts it was given, and whether they were the last of their message.
    received: Vec<(Vec<u8>, bool)>,
    /// How much waited to be sent when it was given each of them, in bytes.
    waiting: Vec<usize>,
    echo: bool,
    /// How long it rests after each part.
    rest: Option<Duration>,
    rests_until: Option<Instant>,
    leave: Option<Farewell>,
}

struct Scripted(Rc<RefCell<Script>>);

impl Application for Scripted {
    fn rests_until(&self, cx: &Cx<'_>) -> Option<Instant> {
        self.0.borrow().rests_until.filter(|until| cx.now < *until)
    }

    fn receive(&mut self, part: MessagePart<'_>, out: &mut Outgoing, cx: &mut Cx<'_>) -> Result<(), Farewell> {
        let mut script = self.0.borrow_mut();
        script.received.push((part.content.to_vec(), part.end));
        script.waiting.push(out.len());
        if script.echo {
            out.part(part.kind, part.content, part.end);
        }
        script.rests_until = script.rest.map(|rest| cx.now + rest);
        Ok(())
    }

    fn send(&mut self, _out: &mut Outgoing, _cx: &mut Cx<'_>) -> Result<(), Farewell> {
        self.0.borrow().leave.map_or(Ok(()), Err)
    }
}

/// An open WebSocket and everything around it.
struct Scene {
    world: World,
    script: Rc<RefCell<Script>>,
    source: Box<dyn Source>,
}

impl Scene {
    fn new() -> Scene {
        Scene::open(&ENDPOINT, "none")
    }

    /// One whose messages are compressed.
    fn compressed() -> Scene {
        Scene::open(&Endpoint { deflate: true, ..ENDPOINT }, "permessage-deflate")
    }

    fn open(endpoint: &Endpoint, extension: &str) -> Scene {
        let (world, script) = (World::new(), Rc::new(RefCell::new(Script::default())));
        let request = Request::get("/")
            .field("Connection", b"upgrade")
            .field("Upgrade", b"websocket")
            .field("Sec-WebSocket-Version", b"13")
            .field("Sec-WebSocket-Extensions", extension.as_bytes())
            .field("Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ==");
        let open = || Ok(Scripted(Rc::clone(&script)));
        let reply = upgrade(&request.head(), &Policy::default(), endpoint, &world.cx(), open);
        let Reply::Upgrade(tunnel) = reply else { panic!("the handshake is valid") };
        Scene { world, script, source: tunnel.content }
    }

    fn at(mut self, then: Instant) -> Scene {
        self.world.now = then;
        self
    }

    /// The peer sends these bytes; how many of them are taken.
    fn take(&mut self, bytes: &[u8]) -> usize {
        self.source.taker().unwrap().take(bytes, &mut self.world.cx()).unwrap()
    }

    /// What is sent while there is so much room, and what it waits for then.
    fn pull_into(&mut self, room: usize) -> (Vec<u8>, Pull) {
        let mut ring = RingBuffer::new(room);
        let mut space = ring.room(0, room);
        let pulled = self.source.pull(&mut space, &mut self.world.cx()).unwrap();
        let written = space.written();
        ring.seal(0, b"", written);
        (ring.readable().concat(), pulled)
    }

    fn pull(&mut self) -> (Vec<u8>, Pull) {
        self.pull_into(1 << 16)
    }

    /// How long it wants to wait now, while it has nothing to send.
    fn wait(&mut self) -> Duration {
        match self.pull() {
            (sent, Pull::Pending(Wait::Idle(then))) if sent.is_empty() => then - self.world.now,
            other => panic!("does not wait: {other:?}"),
        }
    }

    /// Whether it has asked to be driven again in the next turn.
    fn wants_another_turn(&self) -> bool {
        let (world, mut soon, mut next_turn) = (self.world.cx(), Vec::new(), Vec::new());
        world.wakes.collect_ready(&mut soon);
        assert!(soon.is_empty(), "a second drive in the same turn could do nothing");
        world.wakes.begin_turn();
        world.wakes.collect_ready(&mut next_turn);
        !next_turn.is_empty()
    }

    fn received(&self) -> Vec<(Vec<u8>, bool)> {
        self.script.borrow().received.clone()
    }
}

/// A client's frame; its mask of zeros changes nothing.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = sender::frame(Kind::Text, payload);
    frame[0] = first;
    frame[1] |= 0x80;
    let at = frame.len() - payload.len();
    frame.splice(at..at, [0; 4]);
    frame
}

/// A Close of ours or, in its payload, of the client.
fn close(code: CloseCode, reason: &str) -> Vec<u8> {
    let mut out = Vec::new();
    sender::put_close(&mut out, Some(code), reason);
    out
}

fn client_close() -> Vec<u8> {
    frame(0x88, &NORMAL.to_be_bytes())
}

/// The close code of whoever is content.
const NORMAL: u16 = 1000;
const PING: [u8; 2] = [0x89, 0];

/// The fields of the response that opens the WebSocket, a line each, or the status of the refusal.
fn opened(request: &Request, endpoint: &Endpoint) -> Result<String, u16> {
    let open = || Ok(Scripted(Rc::default()));
    match upgrade(&request.head(), &Policy::default(), endpoint, &World::new().cx(), open) {
        Reply::Upgrade(tunnel) => {
            assert_eq!(tunnel.protocol.as_bytes(), b"websocket");
            let text = |value: &FieldValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
            let lines = tunnel.fields.iter().map(|(name, value)| format!("{}: {}", name.as_str(), text(value)));
            Ok(lines.collect::<Vec<_>>().join("\n"))
        }
        Reply::Respond(response) => Err(response.status.code()),
        Reply::Decide(_) => panic!("the answer is known at once"),
    }
}

fn connect() -> Request {
    Request::connect("/ws", b"websocket").field("sec-websocket-version", b"13")
}

#[test]
fn what_opens_a_websocket_is_the_same_in_both_versions_but_for_the_proof() {
    let endpoint = Endpoint { deflate: true, protocols: Subprotocols::Any, ..ENDPOINT };
    let asked = |request: Request| {
        request.field("Sec-WebSocket-Extensions", b"permessage-deflate").field("Sec-WebSocket-Protocol", b"a, b")
    };
    let agreed = "Sec-WebSocket-Extensions: permessage-deflate\nSec-WebSocket-Protocol: a";
    let proof = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
    let upgrade = Request::get("/").field("Connection", b"upgrade").field("Upgrade", b"websocket");
    let upgrade = upgrade.field("Sec-WebSocket-Version", b"13").field("Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ==");
    assert_eq!(opened(&asked(upgrade), &endpoint), Ok(format!("{proof}\n{agreed}")));
    assert_eq!(opened(&asked(connect()), &endpoint), Ok(agreed.to_owned()));
    assert_eq!(opened(&connect(), &endpoint), Ok(String::new()));
}

#[test]
fn what_opens_none_in_http2_says_why_without_upgrade() {
    let refusal = |request: &Request| {
        let reply =
            upgrade(&request.head(), &Policy::default(), &ENDPOINT, &World::new().cx(), || Ok(Scripted(Rc::default())));
        World::new().finish(reply, &[], &[4096]).unwrap()
    };
    let get = refusal(&Request::get("/ws").version(Version::Http2));
    assert_eq!((get.status, get.field("Allow")), (405, Some("CONNECT, OPTIONS")));
    let old = refusal(&Request::connect("/ws", b"websocket").field("sec-websocket-version", b"8"));
    assert_eq!((old.status, old.field("Sec-WebSocket-Version"), old.field("Upgrade")), (400, Some("13"), None));
    assert_eq!(old.text(), r#"{"error":"invalid_handshake","detail":"Sec-WebSocket-Version must be 13"}"#);
    let other = refusal(&Request::connect("/ws", b"connect-udp").field("sec-websocket-version", b"13"));
    assert_eq!((other.status, other.field("Upgrade")), (400, None));
    let http1 = refusal(&Request::get("/ws"));
    assert_eq!((http1.status, http1.field("Upgrade")), (426, Some("websocket")));
}

#[test]
fn the_host_of_a_page_is_compared_with_the_authority() {
    let endpoint = Endpoint { same_host: true, ..ENDPOINT };
    let from =
        |origin: &str| opened(&connect().authority("example.org:8443").field("origin", origin.as_bytes()), &endpoint);
    assert_eq!(from("https://example.org:8443"), Ok(String::new()));
    assert_eq!(from("https://example.org"), Err(403));
    assert_eq!(from("https://other.example:8443"), Err(403));
    assert_eq!(opened(&connect().authority("example.org"), &endpoint), Ok(String::new()), "no browser");
}

#[test]
fn silence_is_answered_by_a_ping_and_then_by_the_end() {
    let mut scene = Scene::new();
    let opened = scene.world.now;
    let interval = scene.world.limits.ws_ping_interval;
    assert_eq!(scene.wait(), interval);
    scene = scene.at(opened + interval - Duration::from_nanos(1));
    assert_eq!(scene.pull().0, b"", "not before its time");
    scene = scene.at(opened + interval);
    let (sent, _) = scene.pull();
    assert_eq!(sent, PING);
    assert_eq!(scene.wait(), interval, "as long again, and no second ping");
    scene = scene.at(opened + 2 * interval);
    let (sent, pulled) = scene.pull();
    assert_eq!((sent, pulled), (close(CloseCode::UNEXPECTED, "no answer to a ping"), Pull::End));
}

#[test]
fn a_pong_or_any_other_byte_buys_another_interval() {
    for sign in [frame(0x8a, b""), vec![0x81]] {
        let mut scene = Scene::new();
        let (opened, interval) = (scene.world.now, scene.world.limits.ws_ping_interval);
        scene = scene.at(opened + interval);
        assert_eq!(scene.pull().0, PING);
        scene = scene.at(opened + interval + 20 * SECOND);
        assert_eq!(scene.take(&sign), sign.len());
        assert_eq!(scene.wait(), interval);
        scene = scene.at(opened + 2 * interval + 20 * SECOND);
        assert_eq!(scene.pull().0, PING);
    }
}

#[test]
fn an_interval_of_zero_asks_for_nothing_ever() {
    let mut scene = Scene::new();
    scene.world.limits.ws_ping_interval = Duration::ZERO;
    for _ in 0..100 {
        let wait = scene.wait();
        assert!(wait >= HOUR);
        scene.world.now += wait;
    }
}

#[test]
fn a_farewell_waits_for_its_answer_but_not_forever() {
    let farewell = Farewell { code: CloseCode::UNSUPPORTED, reason: "no" };
    let closing = || {
        let mut scene = Scene::new();
        scene.script.borrow_mut().leave = Some(farewell);
        assert_eq!(scene.pull().0, close(farewell.code, farewell.reason));
        scene
    };
    let mut answered = closing();
    assert_eq!(answered.wait(), answered.world.limits.ws_close_timeout);
    assert_eq!(answered.take(&client_close()), client_close().len());
    assert_eq!(answered.pull(), (Vec::new(), Pull::End));
    let mut ignored = closing();
    let sent = ignored.world.now;
    // What arrives in between is no answer, and buys no time.
    ignored.world.now = sent + 4 * SECOND;
    let chatter = [frame(0x81, b"but"), frame(0x89, b"ping")].concat();
    assert_eq!(ignored.take(&chatter), chatter.len());
    assert_eq!(ignored.wait(), SECOND);
    assert_eq!(ignored.received(), [], "the application has left");
    ignored.world.now = sent + 5 * SECOND;
    assert_eq!(ignored.pull(), (Vec::new(), Pull::End));
}

#[test]
fn the_order_to_stop_is_said_once_and_ends_with_the_answer() {
    let mut scene = Scene::new();
    scene.world.draining = true;
    assert_eq!(scene.pull().0, close(CloseCode::GOING_AWAY, "the server stops"));
    assert_eq!(scene.wait(), scene.world.limits.ws_close_timeout);
    assert_eq!(scene.take(&client_close()), client_close().len());
    assert_eq!(scene.pull(), (Vec::new(), Pull::End));
}

#[test]
fn the_order_to_stop_comes_behind_what_waits_already() {
    let mut scene = Scene::new();
    scene.script.borrow_mut().echo = true;
    scene.take(&frame(0x01, b"begun"));
    scene.world.draining = true;
    let expected = [b"\x01\x05begun".to_vec(), close(CloseCode::GOING_AWAY, "the server stops")].concat();
    assert_eq!(scene.pull().0, expected);
}

#[test]
fn a_close_ends_it_and_everything_behind_it_is_swallowed() {
    let mut scene = Scene::new();
    scene.script.borrow_mut().echo = true;
    let bytes = [frame(0x81, b"a"), client_close(), frame(0x81, b"b"), vec![0xff; 100_000]].concat();
    assert_eq!(scene.take(&bytes), bytes.len());
    let expected = [b"\x81\x01a".to_vec(), close(CloseCode::received(NORMAL).unwrap(), "")].concat();
    assert_eq!(scene.pull(), (expected, Pull::End));
    assert_eq!(scene.received(), [(b"a".to_vec(), true)]);
}

#[test]
fn the_end_of_the_input_is_the_end() {
    let mut scene = Scene::new();
    scene.script.borrow_mut().echo = true;
    scene.take(&frame(0x81, b"last words"));
    scene.source.taker().unwrap().end(Fields::default(), &mut scene.world.cx()).unwrap();
    assert_eq!(scene.pull(), (b"\x81\x0alast words".to_vec(), Pull::End), "what was said before is still answered");
}

#[test]
fn nothing_is_taken_while_too_much_waits_to_be_sent() {
    let mut scene = Scene::new();
    scene.script.borrow_mut().echo = true;
    let message = frame(0x82, &[7; 5000]);
    let stream: Vec<u8> = message.repeat(20);
    let (mut taken, mut sent, mut ended) = (0, Vec::new(), false);
    while !ended {
        if taken < stream.len() {
            let n = scene.take(&stream[taken..]);
            taken += n;
        }
        let (bytes, pulled) = scene.pull_into(700);
        sent.extend(bytes);
        ended = taken == stream.len() && matches!(pulled, Pull::Pending(_));
        let waiting = taken.saturating_sub(sent.len());
        assert!(waiting < OUTGOING_BYTES_MAX + PART_BYTES_MAX + message.len(), "{waiting} bytes pile up");
    }
    assert_eq!(sent, sender::frame(Kind::Binary, &[7; 5000]).repeat(20));
    assert!(scene.script.borrow().waiting.iter().all(|waiting| *waiting < OUTGOING_BYTES_MAX));
    assert!(scene.received().iter().all(|(part, _)| part.len() <= PART_BYTES_MAX));
}

#[test]
fn pings_are_not_taken_either_while_their_pongs_wait() {
    let mut scene = Scene::new();
    let pings = frame(0x89, &[1; 125]).repeat(1000);
    let taken = scene.take(&pings);
    assert!(taken < 2 * OUTGOING_BYTES_MAX, "{taken}");
    assert_eq!(scene.take(&pings[taken..]), 0);
    let (pongs, _) = scene.pull();
    assert!(pongs.len() >= OUTGOING_BYTES_MAX && pongs.len() < 2 * OUTGOING_BYTES_MAX);
    assert!(scene.take(&pings[taken..]) > 0);
}

#[test]
fn an_application_that_rests_gets_the_next_piece_when_its_rest_is_over() {
    const REST: Duration = Duration::from_millis(1);
    let mut scene = Scene::new();
    scene.script.borrow_mut().rest = Some(REST);
    let bytes = frame(0x81, b"a").repeat(3);
    let mut taken = 0;
    for turn in 1..=3 {
        taken += scene.take(&bytes[taken..]);
        assert_eq!(scene.received().len(), turn);
        assert_eq!(scene.take(b"\x81"), 0, "not before the rest is over");
        let wake = scene.world.now + REST;
        assert!(matches!(scene.pull(), (sent, Pull::Pending(Wait::Idle(until))) if sent.is_empty() && until == wake));
        scene.world.now = wake;
    }
    assert_eq!(taken, bytes.len());
}

#[test]
fn whoever_holds_nothing_back_is_not_woken_when_the_rest_is_over() {
    let mut scene = Scene::new();
    scene.script.borrow_mut().rests_until = Some(scene.world.now + SECOND);
    let interval = scene.world.limits.ws_ping_interval;
    assert_eq!(scene.wait(), interval, "others may rest, but nothing has arrived");
    assert_eq!(scene.take(b"\x81"), 0);
    assert_eq!(scene.wait(), SECOND);
    scene.world.now += SECOND;
    assert_eq!(scene.take(&frame(0x81, b"a")), 7);
    scene.script.borrow_mut().rests_until = Some(scene.world.now + SECOND);
    assert_eq!(scene.wait(), interval);
}

#[test]
fn a_bomb_is_inflated_a_little_in_each_turn_and_goes_on_in_the_next() {
    const SIZE: usize = 4 << 20;
    let agreement = Agreement::of([&b"permessage-deflate"[..]].into_iter()).unwrap();
    let bomb = frame(0xc2, &Deflater::new(agreement).deflate(&vec![0; SIZE], true));
    assert!(bomb.len() < 64 * 1024, "{} bytes can arrive in one turn", bomb.len());
    let mut scene = Scene::compressed();
    scene.script.borrow_mut().echo = true;
    let inflated = |scene: &Scene| -> usize { scene.received().iter().map(|(part, _)| part.len()).sum() };
    let (mut taken, mut before) = (0, 0);
    loop {
        // As in a drive: over and over, until nothing moves.
        loop {
            let used = if taken < bomb.len() { scene.take(&bomb[taken..]) } else { 0 };
            taken += used;
            let (sent, pulled) = scene.pull();
            assert!(matches!(pulled, Pull::Pending(_)), "its echo is so small that it always fits");
            if used == 0 && sent.is_empty() {
                break;
            }
        }
        let in_this_turn = inflated(&scene) - before;
        assert!(in_this_turn < INFLATED_BYTES_MAX + PART_BYTES_MAX + bomb.len(), "{in_this_turn} in one turn");
        before += in_this_turn;
        if !scene.wants_another_turn() {
            break;
        }
        assert!(in_this_turn > 0, "it spins");
        scene.world.now += Duration::from_nanos(1);
    }
    assert_eq!((before, taken), (SIZE, bomb.len()), "it is not forgotten half way");
    assert!(scene.received().last().is_some_and(|(_, end)| *end));
}

#[test]
fn what_is_not_compressed_needs_no_other_turn() {
    let mut scene = Scene::compressed();
    let bytes = frame(0x82, &[7; 5000]).repeat(100);
    assert_eq!(scene.take(&bytes), bytes.len());
    assert!(matches!(scene.pull().1, Pull::Pending(_)) && !scene.wants_another_turn());
}

#[test]
fn a_message_is_gathered_up_to_its_limit() {
    let mut gather = Gather::default();
    let part = |content, end| MessagePart { kind: Kind::Text, content, end };
    for _ in 0..2 {
        assert_eq!(gather.add(part(b"123", false), 5), Ok(None));
        assert_eq!(gather.add(part(b"45", true), 5), Ok(Some(b"12345".to_vec())));
    }
    assert_eq!(gather.add(part(b"12345", false), 5), Ok(None));
    assert_eq!(gather.add(part(b"6", false), 5).unwrap_err().code, CloseCode::TOO_BIG);
}

#[test]
fn a_violation_is_said_and_nothing_more_is_read() {
    let mut scene = Scene::new();
    let bytes = [frame(0x81, b"good"), b"\x81\x02hi".to_vec(), frame(0x81, b"ignored")].concat();
    assert_eq!(scene.take(&bytes), bytes.len());
    let expected = close(CloseCode::PROTOCOL_ERROR, "a client's frame without a mask");
    assert_eq!(scene.pull(), (expected, Pull::End));
    assert_eq!(scene.received(), [(b"good".to_vec(), true)]);
}

#[test]
fn a_violation_after_our_close_gets_no_second_one() {
    let mut scene = Scene::new();
    scene.world.draining = true;
    assert_eq!(scene.pull().0, close(CloseCode::GOING_AWAY, "the server stops"));
    scene.take(b"\x81\x02hi");
    assert_eq!(scene.pull(), (Vec::new(), Pull::End));
}

proptest! {
    #[test]
    fn what_is_sent_does_not_depend_on_the_room_or_on_who_owns_it(
        frames in proptest::collection::vec((any::<bool>(), 0..300_usize), 0..20),
        rooms in proptest::collection::vec(1..200_usize, 1..5),
        flow_between: bool,
    ) {
        let (mut out, mut expected, mut sent) = (Outgoing::new(None), Vec::new(), Vec::new());
        let mut rooms = rooms.into_iter().cycle();
        let mut flow = |out: &mut Outgoing, sent: &mut Vec<u8>| {
            let size = rooms.next().unwrap();
            let mut ring = RingBuffer::new(size);
            let mut room = ring.room(0, size);
            out.flow(&mut room);
            let written = room.written();
            ring.seal(0, b"", written);
            sent.extend(ring.readable().concat());
        };
        for (at, (is_shared, len)) in frames.into_iter().enumerate() {
            let content = vec![at as u8; len];
            expected.extend(sender::frame(Kind::Binary, &content));
            match is_shared {
                true => out.shared(sender::frame(Kind::Binary, &content).into()),
                false => out.part(Kind::Binary, &content, true),
            }
            if flow_between {
                flow(&mut out, &mut sent);
            }
            prop_assert_eq!(out.len(), expected.len() - sent.len());
        }
        while !out.is_empty() {
            flow(&mut out, &mut sent);
        }
        prop_assert_eq!(sent, expected);
    }
}
