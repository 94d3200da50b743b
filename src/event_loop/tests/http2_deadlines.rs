//! Each wait of HTTP/2 ends at its millisecond and not one earlier, and the client is told why.

use std::time::Duration;

use super::http2::{Peer, bytes};
use super::menu::Act;
use super::stage::Stage;
use crate::base::limits::{Http2Limits, Limits};
use crate::net::Signal;

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// No two waits last equally long.
fn limits() -> Limits {
    Limits {
        first_byte_timeout: ms(1100),
        header_timeout: ms(1200),
        body_timeout: ms(1300),
        send_timeout: ms(80_000),
        keep_alive_timeout: ms(9000),
        drain_idle_grace: ms(2500),
        drain_timeout: ms(50_000),
        http2: Http2Limits {
            settings_timeout: ms(1600),
            stall_timeout: ms(1800),
            reset_delay: ms(90),
            ..Http2Limits::default()
        },
        ..Limits::default()
    }
}

/// What a server that stops says first.
const STOPS: [&str; 2] = ["GOAWAY 2147483647 NO_ERROR \"the server stops\"", "PING \"stopping\""];

fn stage() -> Stage {
    Stage::new(limits())
}

/// So many milliseconds from now these frames arrive, and not one earlier.
fn lasts(stage: &mut Stage, peer: &mut Peer, ms: u64, frames: &[&str]) {
    stage.turn_after(ms - 1);
    assert_eq!(peer.frames(), [""; 0], "1 ms early");
    stage.turn_after(1);
    stage.settle();
    assert_eq!(peer.frames(), frames);
}

/// So many milliseconds from now the connection ends because all streams are stuck, and not one earlier. `last` is the last
/// of them.
fn is_stuck_for(stage: &mut Stage, peer: &mut Peer, ms: u64, last: u32) {
    lasts(stage, peer, ms - 1, &[]);
    stage.turn_after(1);
    stage.settle();
    let goaway = format!("GOAWAY {last} ENHANCE_YOUR_CALM \"the windows of all streams are shut");
    assert!(peer.frames()[0].starts_with(&goaway));
}

/// RFC 9113 §6.5.3.
#[test]
fn settings_are_acknowledged_in_time() {
    let mut stage = stage();
    let mut peer = Peer::silent(&mut stage);
    peer.say(&mut stage, "preface");
    assert_eq!(peer.outline().len(), 3);
    peer.say(&mut stage, "GET 1 /");
    assert_eq!(peer.outline(), ["HEADERS 1"]);
    let fault = "GOAWAY 1 SETTINGS_TIMEOUT \"SETTINGS were not acknowledged in time (RFC 9113 §6.5.3)\"";
    lasts(&mut stage, &mut peer, 1600, &[fault]);
    assert_eq!(stage.sleeps(), Some(5000), "what it still sends is thrown away");
    let mut quick = Peer::silent(&mut stage);
    quick.say(&mut stage, "preface");
    stage.turn_after(1599);
    quick.say(&mut stage, "SETTINGS ack\nGET 1 /");
    stage.turn_after(1600);
    assert_eq!(quick.outline().last().map(String::as_str), Some("HEADERS 1"));
}

/// The requests that end with the connection were not idle, and the connection was not.
#[test]
fn settings_that_are_not_acknowledged_cut_streams_in_their_own_phases() {
    let mut stage = stage();
    stage.menu.plan(&[Act::Until(9000)]);
    let mut peer = Peer::silent(&mut stage);
    peer.say(&mut stage, "preface");
    peer.say(&mut stage, "GET 1 /takes");
    stage.turn_after(1600);
    assert_eq!(stage.log("verdict"), ["SGW"]);
    stage.turn_after(5000);
    let verdicts: Vec<_> = stage.counters().verdicts.iter().map(|(verdict, _)| verdict.to_string()).collect();
    assert_eq!(verdicts, ["SGW"]);
}

/// Who does not read what is said about it does not keep the loop busy.
#[test]
fn a_deadline_that_is_over_is_not_looked_at_again_and_again() {
    let mut stage = stage();
    let mut peer = Peer::silent(&mut stage);
    peer.client.limit_room(0);
    peer.say(&mut stage, "preface\nGET 1 /");
    stage.turn_after(1600);
    stage.settle();
    assert!(stage.sleeps() > Some(100), "{:?}", stage.sleeps());
    peer.read(&mut stage, 1 << 20);
    assert!(peer.frames().last().is_some_and(|frame| frame.starts_with("GOAWAY 1 SETTINGS_TIMEOUT")));
}

/// A frame and a field block have as long as the head of a request, however they trickle in.
#[test]
fn half_a_frame_is_late_and_half_a_field_block() {
    let half_a_block = bytes("HEADERS 1 more :method: GET\nCONTINUATION 1 more :path: /");
    for half in [&bytes("GET 1 /")[..12], &bytes("PING \"12345678\"")[..3], &half_a_block] {
        let mut stage = stage();
        let mut peer = Peer::new(&mut stage);
        stage.reactor().send_bytes(&peer.client, &half[..half.len() - 1]);
        stage.turn();
        stage.turn_after(700);
        stage.reactor().send_bytes(&peer.client, &half[half.len() - 1..]);
        stage.turn();
        let fault = "GOAWAY 0 ENHANCE_YOUR_CALM \"a frame did not arrive in time (RFC 9113 §10.5) \"";
        lasts(&mut stage, &mut peer, 500, &[fault]);
        stage.reactor().end(&peer.client);
        stage.turn();
        assert_eq!(stage.timeouts(), [("client-slow-head", 1)]);
    }
}

/// What the session has not looked at, because the client does not read, is not late.
#[test]
fn frames_that_wait_for_the_client_to_read_are_not_late() {
    let mut stage = stage();
    let mut peer = Peer::new(&mut stage);
    peer.client.limit_room(0);
    peer.say(&mut stage, "SETTINGS 4=1000000\nWINDOW_UPDATE 0 1000000\nGET 1 /bytes/300000");
    // The outbox is full of content. The answers to some of these find room, and the others wait in the inbox.
    peer.say(&mut stage, "70 times PING \"12345678\"");
    stage.turn_after(1300);
    stage.turn_after(10_000);
    assert_eq!(stage.timeouts(), []);
    peer.read(&mut stage, 1 << 20);
    let frames = peer.frames();
    assert_eq!(frames.iter().filter(|frame| frame.starts_with("PING ack")).count(), 70);
    assert!(!frames.iter().any(|frame| frame.starts_with("GOAWAY")), "{:?}", frames.last());
}

/// RFC 9113 §5.4, §9.1: who is idle is told before the connection ends.
#[test]
fn an_idle_connection_ends_with_goaway() {
    let mut stage = stage();
    let mut peer = Peer::new(&mut stage);
    peer.say(&mut stage, "GET 1 /");
    peer.frames();
    stage.turn_after(5000);
    peer.say(&mut stage, "PING \"not idle\"");
    assert_eq!(peer.outline(), ["PING ack"], "which is not a request");
    lasts(&mut stage, &mut peer, 4000, &["GOAWAY 1 NO_ERROR \"idle for too long\""]);
    // A request that was on its way is thrown away, and does not have the kernel reset the connection.
    peer.say(&mut stage, "GET 3 /");
    assert_eq!(peer.frames(), [""; 0]);
    assert_eq!(stage.timeouts(), [], "until the client has ended its direction");
    stage.reactor().end(&peer.client);
    stage.turn();
    assert_eq!(stage.timeouts(), [("client-idle", 1)]);
}

/// RFC 9113 §6.8: twice, a second apart, and what was sent in between is served.
#[test]
fn a_server_that_stops_says_so_twice() {
    let mut stage = stage();
    let mut peer = Peer::new(&mut stage);
    stage.menu.plan(&[Act::Until(3000), Act::Respond(3)]);
    peer.say(&mut stage, "GET 1 /acts");
    stage.signal(Signal::Terminate);
    stage.turn();
    assert_eq!(peer.frames(), STOPS);
    stage.turn_after(900);
    peer.say(&mut stage, "GET 3 /");
    assert_eq!(peer.outline(), ["HEADERS 3"]);
    lasts(&mut stage, &mut peer, 100, &["GOAWAY 3 NO_ERROR \"the server stops\""]);
    peer.say(&mut stage, "GET 5 /");
    assert_eq!(peer.frames(), ["RST_STREAM 5 REFUSED_STREAM"]);
    stage.turn_after(2000);
    stage.settle();
    assert_eq!(peer.outline(), ["HEADERS 1", "DATA 1"]);
    stage.reactor().end(&peer.client);
    stage.turn();
    assert!(peer.client.is_closed());
}

/// An idle connection lives until the second GOAWAY, although others have less time, and no longer: the client has read the
/// first, so that nothing is on its way.
#[test]
fn an_idle_connection_ends_with_the_second_goaway() {
    let mut stage = Stage::new(Limits { drain_idle_grace: ms(250), ..limits() });
    let mut peer = Peer::new(&mut stage);
    peer.say(&mut stage, "SETTINGS ack\nGET 1 /");
    peer.frames();
    stage.signal(Signal::Terminate);
    stage.turn();
    assert_eq!(peer.frames(), STOPS);
    peer.say(&mut stage, "PING ack \"stopping\"");
    lasts(&mut stage, &mut peer, 1000, &["GOAWAY 1 NO_ERROR \"the server stops\""]);
    stage.turn();
    assert!(peer.client.is_closed(), "nobody waits for the client to close");
}

/// A client that reads slowly has its response and the first GOAWAY still before it, and may open a stream. If that came to
/// a socket that is closed, the kernel would reset the connection, and the response would be lost (RFC 9293 §3.6.1).
#[test]
fn an_idle_connection_is_not_closed_on_a_client_that_has_not_read_the_first_goaway() {
    // The second GOAWAY ends an idle connection, or the end of its grace does, which comes at the same time.
    for (grace, ping) in [(250, ""), (2500, ""), (2500, "PING ack \"stopped?\"")] {
        let mut stage = Stage::new(Limits { drain_idle_grace: ms(grace), ..limits() });
        let mut peer = Peer::new(&mut stage);
        peer.say(&mut stage, "SETTINGS ack\nGET 1 /");
        peer.frames();
        stage.signal(Signal::Terminate);
        stage.turn();
        assert_eq!(peer.frames(), STOPS);
        peer.say(&mut stage, ping);
        lasts(&mut stage, &mut peer, 1000, &["GOAWAY 1 NO_ERROR \"the server stops\""]);
        stage.turn();
        assert!(!peer.client.is_closed());
        peer.say(&mut stage, "GET 3 /");
        assert_eq!(peer.outline().len(), 0, "it is thrown away");
        assert!(!peer.client.is_closed());
        stage.reactor().end(&peer.client);
        stage.turn();
        assert!(peer.client.is_closed());
    }
}

/// A stream whose window stays shut is reset, and a connection all of whose streams are stuck is closed.
#[test]
fn a_shut_window_has_a_deadline() {
    let mut stage = stage();
    let mut peer = Peer::new(&mut stage);
    stage.menu.plan(&[Act::Until(60_000)]);
    peer.say(&mut stage, "SETTINGS 4=0\nGET 1 /acts\nGET 3 /bytes/100000");
    assert_eq!(peer.outline(), ["SETTINGS ack", "HEADERS 3"]);
    stage.turn_after(1700);
    peer.say(&mut stage, "WINDOW_UPDATE 3 20000");
    assert_eq!(peer.outline(), ["DATA 3"]);
    stage.turn_after(1700);
    peer.say(&mut stage, "WINDOW_UPDATE 3 10000");
    assert_eq!(peer.outline(), ["DATA 3"], "less than 16 KiB more: no new time");
    lasts(&mut stage, &mut peer, 100, &["RST_STREAM 3 ENHANCE_YOUR_CALM"]);
    peer.say(&mut stage, "RST_STREAM 1 CANCEL\nGET 5 /bytes/10\nGET 7 /bytes/10");
    assert_eq!(peer.outline(), ["HEADERS 5", "HEADERS 7"]);
    is_stuck_for(&mut stage, &mut peer, 1800, 7);
}

/// A client on a slow link: what the kernel took is still on its way to it, and until it has read that it cannot open its
/// window. While enough of it arrives in each of these times, it is not late.
#[test]
fn who_still_reads_what_was_sent_is_not_late_with_its_window() {
    let mut stage = stage();
    let mut peer = Peer::new(&mut stage);
    peer.client.acknowledge(0);
    peer.say(&mut stage, "GET 1 /bytes/100000");
    assert_eq!(peer.outline(), ["HEADERS 1", "DATA 1"]);
    for acknowledged in [20_000, 40_000] {
        peer.client.acknowledge(acknowledged);
        stage.turn_after(1800);
        stage.settle();
        assert_eq!(peer.frames(), [""; 0]);
    }
    // Less than 16 KiB of it arrived.
    peer.client.acknowledge(50_000);
    is_stuck_for(&mut stage, &mut peer, 1800, 1);
}

/// CVE-2023-44487: after a hundred resets new requests are served a little later, and not refused.
#[test]
fn who_resets_too_much_is_served_later() {
    let mut stage = stage();
    let mut peer = Peer::new(&mut stage);
    stage.menu.plan(&[Act::Until(60_000)]);
    let resets = (0..100).map(|n| format!("GET {0} /acts\nRST_STREAM {0} CANCEL\n", 2 * n + 1)).collect::<String>();
    peer.say(&mut stage, &resets);
    stage.menu.called.borrow_mut().clear();
    peer.say(&mut stage, "GET 1001 /bytes/3\nGET 1003 /bytes/3\nRST_STREAM 1003 CANCEL\nPING \"at once!\"");
    assert_eq!(peer.frames(), ["PING ack \"at once!\""]);
    assert_eq!(stage.menu.called.borrow().len(), 0, "not even called");
    stage.turn_after(89);
    assert_eq!(peer.frames(), [""; 0]);
    stage.turn_after(1);
    stage.settle();
    assert_eq!(peer.outline(), ["HEADERS 1001", "DATA 1001"]);
    assert_eq!(*stage.menu.called.borrow(), ["/bytes/3"], "one was reset before");
}

/// RFC 9110 §15.5.9: content that does not come.
#[test]
fn content_that_does_not_come_is_answered_with_408() {
    let mut stage = stage();
    let mut peer = Peer::new(&mut stage);
    stage.menu.plan(&[Act::Content, Act::Respond(1)]);
    peer.say(&mut stage, "POST 1 /takes\nDATA 1 \"x\"");
    stage.turn_after(1299);
    assert_eq!(peer.frames(), [""; 0]);
    stage.turn_after(1);
    stage.settle();
    let frames = peer.frames();
    assert!(frames[0].starts_with("HEADERS 1 :status: 408"), "{frames:?}");
    assert_eq!(frames.last().map(String::as_str), Some("RST_STREAM 1 NO_ERROR"), "{frames:?}");
}

/// After an error only the outbox has a deadline: nothing is said twice, and the loop sleeps.
#[test]
fn a_client_that_reads_nothing_is_told_once_that_its_settings_are_late() {
    let mut stage = stage();
    let mut peer = Peer::silent(&mut stage);
    peer.client.limit_room(0);
    peer.say(&mut stage, "preface");
    stage.turn_after(1600);
    stage.settle();
    assert!(stage.sleeps() > Some(1000), "{:?}", stage.sleeps());
    stage.turn_after(1000);
    peer.read(&mut stage, 1 << 20);
    let goaways = peer.frames().iter().filter(|frame| frame.starts_with("GOAWAY")).count();
    assert_eq!(goaways, 1);
}

/// Who has not read that it may send is not late with what it sends.
#[test]
fn content_is_not_late_while_its_window_waits_to_be_read() {
    let mut stage = stage();
    let mut peer = Peer::new(&mut stage);
    peer.client.limit_room(0);
    stage.menu.plan(&[Act::Content, Act::Respond(3)]);
    peer.say(&mut stage, "SETTINGS 4=1000000\nWINDOW_UPDATE 0 1000000\nGET 1 /bytes/300000\nPOST 3 /takes");
    stage.turn_after(5000);
    peer.read(&mut stage, 1 << 20);
    assert_eq!(peer.outline().last().map(String::as_str), Some("DATA 1"), "not yet");
    stage.turn_after(1299);
    assert_eq!(peer.frames(), [""; 0]);
    stage.turn_after(1);
    stage.settle();
    assert_eq!(peer.outline()[0], "HEADERS 3");
    // Nor is who has no window at all, because what it has sent is not taken.
    *stage.menu.appetite.borrow_mut() = 0;
    stage.menu.plan(&[Act::Content, Act::Content, Act::Respond(3)]);
    peer.say(&mut stage, "POST 5 /takes\n4 times DATA 5 \"\\{x*16000}\"\nDATA 5 \"\\{x*1536}\"");
    stage.turn_after(5000);
    assert_eq!(peer.outline(), [""; 0]);
}
