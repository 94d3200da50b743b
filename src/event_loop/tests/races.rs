//! Requests that come when an idle connection has been ended by the server.

use std::io;
use std::time::Duration;

use rustix::io::Errno;

use super::http2::Peer;
use super::menu::Act;
use super::script::Client;
use super::stage::Stage;
use crate::base::limits::Limits;
use crate::base::listener_role::ListenerRole;
use crate::event_loop::Outcome;
use crate::net::Signal;
use crate::observe::keep_alive_race::KeepAliveRace;
use crate::observe::report::Subject;
use crate::observe::wait_reason::WaitReason;

pub(super) const IDLE: u64 = 75_000;

pub(super) fn stage_of(roles: &[ListenerRole], limits: Limits) -> Stage {
    let mut stage = Stage::with_roles(roles, limits);
    stage.event_loop.keep_past(8);
    stage
}

fn stage() -> Stage {
    stage_of(&[ListenerRole::Http], Limits::default())
}

/// What is known of the first connection, which is over.
pub(super) fn race(stage: &Stage) -> Option<KeepAliveRace> {
    let known = stage.event_loop.known(Subject { run: None, connection: 1, request: None });
    known.ended.expect("it is over").race
}

/// A client that was answered, and idle for so long that the server has ended its direction.
fn left_idle(stage: &mut Stage) -> Client {
    let client = stage.asking("/");
    stage.turn_after(IDLE);
    assert_eq!((client.calls().shutdowns, client.is_closed()), (1, false));
    assert_eq!((client.statuses(), stage.wait_of(&client)), (vec![200], WaitReason::Lingering));
    client
}

#[test]
fn a_request_that_crosses_our_fin_is_counted_and_dated() {
    let mut stage = stage();
    let client = left_idle(&mut stage);
    stage.menu.called.borrow_mut().clear();
    stage.ask(&client, "/late");
    stage.turn_after(7);
    assert!(client.is_closed());
    assert_eq!((client.received().as_str(), client.calls().aborts), ("", 1), "reset and not answered");
    assert!(stage.menu.called.borrow().is_empty());
    let race = race(&stage).unwrap();
    assert_eq!((race.requests, race.first_after), (1, Duration::from_millis(7)));
    assert_eq!(race.sentence(), "a request came 7.0 ms after our FIN of 00:01:15.000");
    assert_eq!(stage.counters().keep_alive_races, [1, 0]);
    assert_eq!((stage.timeouts(), stage.counters().first_fins), (vec![("client-idle", 1)], [0, 1, 0]));
    assert_eq!(stage.counters().requests_over(), 1);
}

#[test]
fn a_browser_that_connects_early_and_asks_too_late_has_lost_the_same_race() {
    let mut stage = stage();
    let client = stage.client();
    stage.turn_after(5000);
    stage.send(&client, "G");
    stage.turn_after(999);
    assert!(client.is_closed());
    assert_eq!((stage.counters().keep_alive_races, stage.timeouts()), ([1, 0], vec![("client-silent", 1)]));
}

/// So much is waited for, and no more.
#[test]
fn who_sends_nothing_more_is_left_after_a_second() {
    let mut stage = stage();
    let client = left_idle(&mut stage);
    assert_eq!(stage.sleeps(), Some(1000));
    stage.turn_after(999);
    assert!(!client.is_closed());
    stage.turn_after(1);
    assert_eq!((client.is_closed(), client.calls().aborts), (true, 0));
    assert_eq!((race(&stage), stage.counters().keep_alive_races), (None, [0, 0]));
    assert_eq!((stage.timeouts(), stage.counters().first_fins), (vec![("client-idle", 1)], [0, 1, 0]));
    assert_eq!(stage.sleeps(), None);
}

#[test]
fn who_ends_its_direction_or_resets_or_sends_empty_lines_has_lost_no_race() {
    for how in ["FIN", "RST", "lines"] {
        let mut stage = stage();
        let client = left_idle(&mut stage);
        match how {
            "FIN" => stage.reactor().end(&client),
            "RST" => stage.reactor().reset(&client),
            _ => stage.send(&client, "\r\n"),
        }
        stage.turn();
        assert_eq!(client.is_closed(), how != "lines");
        stage.turn_after(1000);
        assert_eq!((client.is_closed(), stage.counters().keep_alive_races), (true, [0, 0]), "{how}");
        assert_eq!((stage.timeouts(), stage.counters().first_fins), (vec![("client-idle", 1)], [0, 1, 0]), "{how}");
    }
}

#[test]
fn an_end_behind_a_request_that_crosses_our_fin_changes_nothing() {
    let mut stage = stage();
    let client = left_idle(&mut stage);
    client.send_silently("GET /late HTTP/1.1\r\n");
    stage.reactor().end(&client);
    stage.turn();
    assert_eq!((client.is_closed(), stage.counters().keep_alive_races), (true, [1, 0]));
}

/// Whoever wants to come in does not wait for somebody who may still send a request.
#[test]
fn who_lingers_holds_no_slot_that_others_want() {
    let mut stage = stage_of(&[ListenerRole::Http], Limits { connections_max: 1, ..Limits::default() });
    let only = stage.asking("/");
    stage.turn_after(IDLE);
    assert!(only.is_closed(), "all slots are taken");
    let next = stage.client();
    assert_eq!(stage.event_loop.connections(), 1);

    let mut stage = stage_of(&[ListenerRole::Http], Limits { connections_max: 3, ..Limits::default() });
    let lingering = [stage.asking("/"), stage.asking("/")];
    stage.turn_after(IDLE);
    assert!(lingering.iter().all(|client| !client.is_closed()));
    let newcomers = [0, 0, 0].map(|listener| stage.reactor().connect(listener));
    stage.turn();
    stage.turn();
    assert!(lingering.iter().all(Client::is_closed));
    assert!(newcomers.iter().all(|client| client.token().is_some()));
    assert_eq!((stage.counters().first_fins, stage.event_loop.context.idle_lingerers), ([0, 2, 0], 0));
    drop(next);
}

#[test]
fn who_lingers_holds_no_descriptor_that_others_want() {
    let mut stage = stage();
    let lingering = left_idle(&mut stage);
    stage.reactor().fail_accept(0, io::Error::from_raw_os_error(Errno::MFILE.raw_os_error()));
    let newcomer = stage.reactor().connect(0);
    stage.turn();
    assert_eq!((lingering.is_closed(), newcomer.token()), (true, None));
    stage.turn();
    assert!(newcomer.token().is_some(), "at once");
}

#[test]
fn a_server_that_stops_waits_for_nobody_who_is_idle() {
    let mut stage = stage();
    let lingering = left_idle(&mut stage);
    let idle = stage.client();
    stage.signal(Signal::Terminate);
    stage.turn();
    assert_eq!((lingering.is_closed(), idle.is_closed()), (true, false));
    stage.turn_after(250);
    assert_eq!((idle.is_closed(), idle.calls().shutdowns), (true, 0));
    assert_eq!(stage.event_loop.outcome(), Some(Outcome::Clean));
}

/// RFC 9113 §6.8: the client may send those again, and has to learn that from GOAWAY. So the connection is not reset.
#[test]
fn streams_behind_goaway_are_counted_and_dated() {
    let mut stage = stage();
    let mut peer = Peer::new(&mut stage);
    peer.say(&mut stage, "GET 1 /");
    peer.frames();
    stage.turn_after(IDLE);
    assert_eq!(peer.frames(), ["GOAWAY 1 NO_ERROR \"idle for too long\""]);
    stage.turn_after(4);
    peer.say(
        &mut stage,
        "PING \"12345678\"\nGET 3 /late\nPOST 5 /late\n3 times DATA 5 \"\\{x*9000}\"\nGET 7 /late\nPING \"x2345678\"",
    );
    assert_eq!((peer.frames(), peer.client.is_closed()), (vec![], false));
    let known = stage.event_loop.known(Subject { run: None, connection: 1, request: None });
    assert_eq!(known.open.unwrap().race.map(|race| race.requests), Some(3), "while it lingers");
    stage.turn_after(996);
    assert_eq!((peer.client.is_closed(), peer.client.calls().aborts), (true, 0));
    let race = race(&stage).unwrap();
    let expected = "3 requests came after our GOAWAY of 00:01:15.000, the first 4.0 ms after it";
    assert_eq!((race.sentence().as_str(), stage.counters().keep_alive_races), (expected, [0, 3]));
    assert_eq!(stage.timeouts(), [("client-idle", 1)]);
}

/// Also while a stream in front of them is still answered, and while the connection lingers because there is none.
#[test]
fn streams_behind_a_goaway_that_warns_are_counted() {
    for path in ["/acts", "/"] {
        let mut stage = stage();
        let mut peer = Peer::new(&mut stage);
        stage.menu.plan(&[Act::Until(60_000)]);
        peer.say(&mut stage, &format!("GET 1 {path}\n80 times PING \"12345678\""));
        assert!(peer.frames().iter().any(|frame| frame.starts_with("GOAWAY 1 NO_ERROR")));
        peer.say(&mut stage, "GET 3 /\nGET 5 /");
        let refused: &[&str] = if path == "/" { &[] } else { &["RST_STREAM 3", "RST_STREAM 5"] };
        assert_eq!(peer.outline(), refused);
        stage.reactor().reset(&peer.client);
        stage.turn();
        assert_eq!((peer.client.is_closed(), stage.counters().keep_alive_races), (true, [0, 2]), "{path}");
    }
}

/// What cannot be understood is not counted, and holds nothing up.
#[test]
fn nonsense_behind_goaway_is_thrown_away() {
    let mut stage = stage();
    let peer = Peer::new(&mut stage);
    stage.turn_after(IDLE);
    stage.reactor().send_bytes(&peer.client, [&[0, 0, 8, 6, 0, 0, 0, 0, 1][..], &[0xff; 100_000]].concat());
    stage.turn();
    stage.settle();
    assert_eq!(stage.sleeps(), Some(1000));
    stage.turn_after(1000);
    assert_eq!((peer.client.is_closed(), stage.counters().keep_alive_races), (true, [0, 0]));
}
