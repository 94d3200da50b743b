//! Clients of HTTP/2 in a scripted world: what is held for them, whose turn it is, who is woken, and what is told of it.

#[path = "../../../tests/corpus_text/mod.rs"]
#[allow(dead_code, reason = "the corpora need more of it")]
mod corpus_text;
#[path = "../../../tests/h2/driver/script.rs"]
#[allow(dead_code, reason = "a client does not act as the server")]
mod script;
#[path = "../../../tests/h2/driver/sent.rs"]
mod sent;

use self::script::{Item, items};
use super::menu::Act;
use super::script::Client;
use super::stage::Stage;
use crate::base::limits::{Http2Limits, Limits};

/// A client that sends frames in the words of `tests/corpus/h2/README.md`, and reads them in the same words.
pub struct Peer {
    pub client: Client,
    reader: sent::Client,
}

/// The bytes of these frames, one a line.
pub fn bytes(words: &str) -> Vec<u8> {
    let items = words.lines().map(str::trim_start).flat_map(|line| items(line, line));
    let bytes = items.flat_map(|item| match item {
        Item::Bytes(bytes) => bytes,
        Item::Act(_) => panic!("a client does nothing but send"),
    });
    bytes.collect()
}

impl Peer {
    /// A client that has said nothing.
    pub fn silent(stage: &mut Stage) -> Peer {
        Peer { client: stage.client(), reader: sent::Client::default() }
    }

    /// A client with both prefaces behind it.
    pub fn new(stage: &mut Stage) -> Peer {
        let mut peer = Peer::silent(stage);
        peer.say(stage, "preface\nSETTINGS ack");
        let frames = peer.frames();
        assert_eq!(frames.last().map(String::as_str), Some("SETTINGS ack"), "{frames:?}");
        peer
    }

    /// Sends these frames, and lets the server do what it can.
    pub fn say(&mut self, stage: &mut Stage, words: &str) {
        stage.reactor().send_bytes(&self.client, bytes(words));
        stage.turn();
        stage.settle();
    }

    /// Reads so many bytes more.
    pub fn read(&mut self, stage: &mut Stage, bytes: usize) {
        stage.reactor().make_room(&self.client, bytes);
        stage.turn();
        stage.settle();
    }

    /// The frames that have arrived since the last call.
    pub fn frames(&mut self) -> Vec<String> {
        self.reader.read(&self.client.received_bytes())
    }

    /// Of each of these frames the name and the stream, equal ones in a row once.
    pub fn outline(&mut self) -> Vec<String> {
        let frames = self.frames();
        let mut outline: Vec<String> =
            frames.iter().map(|frame| frame.split(' ').take(2).collect::<Vec<_>>().join(" ")).collect();
        outline.dedup();
        outline
    }
}

fn limits(http2: Http2Limits) -> Limits {
    Limits { http2, ..Limits::default() }
}

/// Content that is not taken waits, and closes the window; what stands behind it is read all the same.
#[test]
fn content_that_is_not_taken_waits_and_frames_behind_it_are_read() {
    let mut stage = Stage::new(Limits::default());
    let mut peer = Peer::new(&mut stage);
    *stage.menu.appetite.borrow_mut() = 10;
    stage.menu.plan(&[Act::Content, Act::Respond(2)]);
    peer.say(&mut stage, "POST 1 /takes\n4 times DATA 1 \"\\{x*16000}\"\nPING \"behind!!\"\nGET 3 /");
    assert_eq!(peer.outline(), ["PING ack", "HEADERS 3"]);
    assert_eq!(stage.menu.taken.borrow().len(), 10);
    *stage.menu.appetite.borrow_mut() = 40_000;
    stage.menu.waker.borrow().iter().for_each(|waker| waker.wake());
    stage.menu.keys.borrow_mut().clear();
    peer.say(&mut stage, "DATA 1 \"y\"");
    let updates = peer.frames();
    let [update] = &updates[..] else { panic!("{updates:?}") };
    let freed: u32 = update.strip_prefix("WINDOW_UPDATE 1 ").and_then(|freed| freed.parse().ok()).expect(update);
    assert!((32 * 1024..=40_010).contains(&freed), "it is told as soon as half of the window is free: {freed}");
    *stage.menu.appetite.borrow_mut() = usize::MAX;
    peer.say(&mut stage, "DATA 1 end \"z\"");
    assert_eq!(peer.outline(), ["HEADERS 1", "DATA 1"]);
    assert!(stage.menu.taken.borrow().ends_with("xyz."));
}

/// Windows grow out of what all streams of the loop share, and a stream that ends gives its part back.
#[test]
fn windows_grow_as_long_as_others_leave_something() {
    const WINDOW: u32 = 64 * 1024;
    let mut stage = Stage::new(limits(Http2Limits { upload_window_bytes_max: 2 * WINDOW, ..Http2Limits::default() }));
    stage.menu.plan(&[Act::Content]);
    let mut peers = [Peer::new(&mut stage), Peer::new(&mut stage)];
    // More than half of a window, which is consumed.
    let upload = |stream: u32| format!("POST {stream} /takes\n3 times DATA {stream} \"\\{{x*16000}}\"");
    let update = |stream: u32, grown: u32| [format!("WINDOW_UPDATE {stream} {}", 48_000 + grown)];
    for (peer, stream) in [(0, 1), (0, 3), (1, 1), (1, 3)] {
        let peer = &mut peers[peer];
        peer.say(&mut stage, &upload(stream));
        assert_eq!(peer.frames(), update(stream, WINDOW), "{stream}");
    }
    let [one, other] = &mut peers;
    other.say(&mut stage, &upload(5));
    assert_eq!(other.frames(), update(5, 0), "twice the largest window is all there is");
    one.say(&mut stage, "RST_STREAM 1 CANCEL");
    other.say(&mut stage, &upload(7));
    assert_eq!(other.frames(), update(7, WINDOW));
}

/// What nobody takes is bounded for all connections together, but each has the window of a stream.
#[test]
fn content_that_nobody_takes_is_bounded_for_all_connections() {
    let small = Http2Limits { held_bytes_max: 4096, stream_window_bytes: 1024, ..Http2Limits::default() };
    let mut stage = Stage::new(limits(small));
    stage.menu.plan(&[Act::Until(600_000)]);
    let mut first = Peer::new(&mut stage);
    for stream in [1, 3, 5, 7, 9] {
        first.say(&mut stage, &format!("POST {stream} /acts\nDATA {stream} \"\\{{x*1000}}\""));
    }
    assert_eq!(first.outline(), ["RST_STREAM 9"]);
    let mut second = Peer::new(&mut stage);
    second.say(&mut stage, "POST 1 /acts\nDATA 1 \"\\{x*1000}\"");
    assert_eq!(second.outline(), [""; 0], "it has its own");
    second.say(&mut stage, "POST 3 /acts\nDATA 3 \"\\{x*1000}\"");
    assert_eq!(second.frames(), ["RST_STREAM 3 ENHANCE_YOUR_CALM"]);
    // What is over is held no longer.
    first.say(&mut stage, "RST_STREAM 1 CANCEL\nRST_STREAM 3 CANCEL");
    second.say(&mut stage, "POST 5 /acts\nDATA 5 \"\\{x*1000}\"");
    assert_eq!(second.outline(), [""; 0]);
}

/// The record of a request is larger than the smallest response.
#[test]
fn requests_are_not_read_while_many_responses_have_not_left() {
    let mut stage = Stage::new(Limits::default());
    let mut peer = Peer::new(&mut stage);
    peer.client.limit_room(0);
    let requests: Vec<String> = (0..1000).map(|n| format!("HEAD {} /", 2 * n + 1)).collect();
    peer.say(&mut stage, &requests.join("\n"));
    let called = stage.menu.called.borrow().len();
    assert!((200..=300).contains(&called), "{called}");
    peer.read(&mut stage, 1 << 20);
    assert_eq!(peer.frames().len(), 1000);
    assert_eq!(stage.log("stream").len(), 1000);
}

/// RFC 9218 §10: what is urgent comes next, although a large response has begun.
#[test]
fn an_urgent_response_comes_in_the_middle_of_a_large_one() {
    let mut stage = Stage::new(Limits::default());
    let mut peer = Peer::new(&mut stage);
    peer.client.limit_room(0);
    peer.say(&mut stage, "SETTINGS 4=1000000\nWINDOW_UPDATE 0 1000000\nGET 1 /bytes/900000 priority: u=5");
    peer.read(&mut stage, 300_000);
    assert_eq!(peer.outline(), ["SETTINGS ack", "HEADERS 1", "DATA 1"]);
    peer.say(&mut stage, "GET 3 /bytes/30000 priority: u=0\nGET 5 /bytes/30000 priority: u=5");
    peer.read(&mut stage, 1_000_000);
    let outline = peer.outline();
    assert_eq!(outline[..6], ["DATA 1", "HEADERS 3", "HEADERS 5", "DATA 3", "DATA 1", "DATA 5"], "{outline:?}");
}

/// RFC 9218 §10: what can be used in parts takes turns of 16 KiB.
#[test]
fn incremental_responses_take_turns() {
    let mut stage = Stage::new(Limits::default());
    let mut peer = Peer::new(&mut stage);
    peer.client.limit_room(0);
    peer.say(&mut stage, "WINDOW_UPDATE 0 1000000\nGET 1 /bytes/60000 priority: i\nGET 3 /bytes/60000 priority: i");
    peer.read(&mut stage, 1_000_000);
    let data: Vec<String> = peer.outline().into_iter().filter(|frame| frame.starts_with("DATA")).collect();
    assert_eq!(data.len(), 8, "four turns each: {data:?}");
}

/// Only the stream that was woken is asked again.
#[test]
fn who_is_woken_is_asked_and_nobody_else() {
    let mut stage = Stage::new(Limits::default());
    let mut peer = Peer::new(&mut stage);
    stage.menu.plan(&[Act::Job(60_000)]);
    peer.say(&mut stage, "GET 1 /acts\nGET 3 /acts\nGET 5 /acts");
    let asked = *stage.menu.asked.borrow();
    // The waker of the last one.
    stage.menu.waker.borrow().iter().for_each(|waker| waker.wake());
    stage.turn();
    stage.settle();
    assert_eq!(*stage.menu.asked.borrow(), asked + 1);
    let streams: Vec<u32> = stage.menu.keys.borrow().iter().map(|key| key.stream).collect();
    assert_eq!(streams, [1, 3, 5]);
}

/// Each piece of content gives a stream a go, and if it then waits for room, it is to be asked again: once. Otherwise a client
/// that does not read would make each drive of its connection longer with each frame.
#[test]
fn however_much_comes_for_a_stream_that_waits_for_room_it_is_asked_once() {
    let mut stage = Stage::new(Limits::default());
    let mut peer = Peer::new(&mut stage);
    peer.client.limit_room(0);
    stage.menu.plan(&[Act::Interim, Act::Content]);
    peer.say(&mut stage, "SETTINGS 4=1000000\nWINDOW_UPDATE 0 1000000\nGET 1 /bytes/300000");
    peer.say(&mut stage, "POST 3 /takes");
    for _ in 0..40 {
        peer.say(&mut stage, "DATA 3 \"\\{x*300}\"");
    }
    assert_eq!(*stage.menu.asked.borrow(), 1, "the interim response waits");
    peer.read(&mut stage, 1 << 20);
    assert_eq!(*stage.menu.asked.borrow(), 2);
}

/// A line for each stream, however it ends.
#[test]
fn each_stream_has_a_record() {
    let mut stage = Stage::new(Limits::default());
    let mut peer = Peer::new(&mut stage);
    stage.menu.plan(&[Act::Until(60_000)]);
    let malformed = "HEADERS 7 end :method: GET | :scheme: http | :path: / | :authority: a | X: y";
    peer.say(&mut stage, &format!("GET 1 /bytes/5\nGET 3 /acts\nRST_STREAM 3 CANCEL\nGET 5 /acts\n{malformed}"));
    stage.reactor().reset(&peer.client);
    stage.turn();
    let mut lines = stage.log("request status close");
    lines.sort();
    let cuts = [
        "null reset by the client: CANCEL",
        "null broken: connection reset",
        "null reset by the server: PROTOCOL_ERROR",
    ];
    assert_eq!(lines, ["1 200 null", &format!("2 {}", cuts[0]), &format!("3 {}", cuts[1]), &format!("4 {}", cuts[2])]);
}

/// RFC 9113 §8.1: the last bytes of a response may leave when a window opens, long after the handler was asked.
/// While the connection is driven for one stream, another waits as before.
#[test]
fn each_stream_says_where_its_time_went() {
    let mut stage = Stage::new(Limits::default());
    let mut peer = Peer::new(&mut stage);
    stage.menu.plan(&[Act::Content, Act::Until(30), Act::Respond(3)]);
    peer.say(&mut stage, "SETTINGS 4=5\nGET 1 /bytes/10\nPOST 3 /takes");
    for part in ["a", "b"] {
        stage.pass(20);
        peer.say(&mut stage, &format!("DATA 3 \"{part}\""));
    }
    stage.pass(20);
    peer.say(&mut stage, "DATA 3 end \"c\"");
    stage.turn_after(30);
    stage.settle();
    stage.pass(10);
    peer.say(&mut stage, "WINDOW_UPDATE 1 1000");
    let lines: Vec<String> =
        stage.log("stream last_byte_ms timers_ms").iter().map(|line| line.replace('"', "")).collect();
    assert_eq!(lines, ["3 90.0 {clock:30.0,content:60.0}", "1 100.0 {stream-window:100.0}"]);
}

#[test]
fn a_response_that_is_complete_ends_a_request_that_is_not() {
    let mut stage = Stage::new(Limits::default());
    let mut peer = Peer::new(&mut stage);
    peer.say(&mut stage, "SETTINGS 4=5\nPOST 1 /bytes/10 content-length: 1000000");
    assert_eq!(peer.outline(), ["SETTINGS ack", "HEADERS 1", "DATA 1"]);
    peer.say(&mut stage, "WINDOW_UPDATE 1 1000");
    let frames = peer.frames();
    assert!(frames[0].starts_with("DATA 1 end"), "{frames:?}");
    assert_eq!(frames[1..], [""; 0], "some clients lose a response that they read together with a reset");
    stage.turn_after(499);
    assert_eq!(peer.frames(), [""; 0]);
    stage.turn_after(1);
    stage.settle();
    assert_eq!(peer.frames(), ["RST_STREAM 1 NO_ERROR"]);
    peer.say(&mut stage, "GET 3 /bytes/3");
    assert!(peer.frames()[0].starts_with("HEADERS 3 :status: 200"), "the connection goes on");
}

#[test]
fn a_request_that_ends_while_its_client_reads_the_response_is_not_reset() {
    let mut stage = Stage::new(Limits::default());
    let mut peer = Peer::new(&mut stage);
    peer.say(&mut stage, "POST 1 /bytes/3 content-length: 70000");
    assert_eq!(peer.outline(), ["HEADERS 1", "DATA 1"]);
    let piece = "x".repeat(10_000);
    for n in 1..=7 {
        let end = if n == 7 { "end " } else { "" };
        peer.say(&mut stage, &format!("DATA 1 {end}\"{piece}\""));
    }
    stage.turn_after(500);
    stage.settle();
    assert!(peer.frames().iter().all(|frame| !frame.starts_with("RST_STREAM")));
}

/// RFC 9110 §10.1.1: a client may wait for 100 for long.
#[test]
fn content_is_asked_for_when_there_is_room_to_do_so() {
    let mut stage = Stage::new(Limits::default());
    let mut peer = Peer::new(&mut stage);
    peer.client.limit_room(0);
    stage.menu.plan(&[Act::Content, Act::Respond(2)]);
    peer.say(&mut stage, "SETTINGS 4=1000000\nWINDOW_UPDATE 0 1000000\nGET 1 /bytes/300000");
    peer.say(&mut stage, "POST 3 /takes expect: 100-continue");
    peer.read(&mut stage, 1 << 20);
    let frames = peer.frames();
    assert!(frames.iter().any(|frame| frame == "HEADERS 3 :status: 100"), "{:?}", peer.outline());
    peer.say(&mut stage, "DATA 3 end \"x\"");
    assert_eq!(peer.outline(), ["HEADERS 3", "DATA 3"]);
}
