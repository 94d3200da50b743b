//! What the loop says about its connections when it is asked.

use std::rc::Rc;
use std::time::Duration;

use super::Nobody;
use super::menu::Act;
use super::stage::{Stage, get, post};
use crate::base::limits::Limits;
use crate::base::listener_role::ListenerRole;
use crate::base::ring::RingBuffer;
use crate::base::slots::Token;
use crate::base::wake::{LocalWaker, WakeKey, Wakes};
use crate::observe::report::{CaptureOrder, CaptureRefusal, CaptureStream, Connections, Overview};
use crate::service::status::inspection_queue::{AnswerSlot, Asked, InspectionQueue};

const INBOX: usize = 1024;

/// A stage with an idle client, one that does not read, one whose content nobody takes, and an admin. The one that does
/// not read has been there for longest.
fn stage() -> Stage {
    let limits = Limits { inbox_bytes: INBOX, head_bytes_max: INBOX, ..Limits::default() };
    let mut stage = Stage::with_roles(&[ListenerRole::Http, ListenerRole::Admin], limits);
    let deaf = stage.client();
    deaf.limit_room(0);
    deaf.acknowledge(0);
    stage.send(&deaf, &(get("/bytes/100") + &get("/bytes/200")));
    stage.turn();
    stage.pass(10);
    stage.menu.plan(&[Act::Content]);
    *stage.menu.appetite.borrow_mut() = 0;
    let paused = stage.client();
    stage.send(&paused, &post("/takes", 5000));
    stage.turn();
    stage.send(&paused, &"x".repeat(INBOX));
    stage.turn();
    stage.pass(10);
    stage.asking("/");
    stage.client_of(1);
    stage.pass(10);
    stage.turn();
    stage
}

fn waker() -> LocalWaker {
    let nobody = WakeKey { token: Token { index: 1000, generation: 0 }, stream: 0 };
    Wakes::new(Nobody).local_waker(nobody)
}

/// The answer to this question, which the next turn gives.
fn ask<R>(stage: &mut Stage, topic: impl FnOnce(AnswerSlot<R>) -> Asked) -> R {
    let queue = Rc::new(InspectionQueue::default());
    stage.event_loop.answer_inspections(Rc::clone(&queue));
    let question = queue.ask(waker(), topic);
    stage.turn();
    question.answer().unwrap()
}

#[test]
fn connections_are_told_without_the_admins_and_those_that_hold_something_up_come_first() {
    let mut stage = stage();
    for (limit, ids) in [(0, &[][..]), (1, &[1]), (2, &[1, 2]), (3, &[1, 2, 3]), (9, &[1, 2, 3])] {
        let told: Connections = ask(&mut stage, |slot| Asked::Connections(limit, slot));
        assert_eq!(told.total, 3);
        assert_eq!(told.waits.iter().map(|(_, count)| count).sum::<u64>(), 3);
        assert_eq!(told.listed.iter().map(|connection| connection.id).collect::<Vec<_>>(), ids);
    }
}

#[test]
fn the_longest_waits_are_told_whoever_came_first() {
    let mut stage = Stage::new(Limits::default());
    let clients = [(); 4].map(|()| stage.client());
    for number in [2, 0, 3, 1] {
        stage.ask(&clients[number], "/");
        stage.turn_after(10);
    }
    for (limit, ids) in [(1, &[3][..]), (2, &[3, 1]), (3, &[3, 1, 4]), (4, &[3, 1, 4, 2])] {
        let told: Connections = ask(&mut stage, |slot| Asked::Connections(limit, slot));
        assert_eq!(told.listed.iter().map(|connection| connection.id).collect::<Vec<_>>(), ids);
    }
}

#[test]
fn a_connection_is_told_as_it_is() {
    let mut stage = stage();
    let told: Connections = ask(&mut stage, |slot| Asked::Connections(3, slot));
    let [deaf, paused, idle] = &told.listed[..] else { panic!("there are three") };
    assert_eq!([deaf, paused, idle].map(|told| told.wait), ["client-slow-read", "client-slow-body", "client-idle"]);
    assert_eq!([deaf, paused, idle].map(|told| told.waited.as_millis()), [30, 20, 10]);
    assert_eq!([deaf, paused, idle].map(|told| told.ordinal), [1, 1, 2], "the oldest that has not left");
    assert_eq!(
        [deaf, paused, idle].map(|told| (told.asks_read, told.asks_write)),
        [(true, true), (false, false), (true, false)]
    );
    let limits = Limits::default();
    assert_eq!(deaf.left, limits.send_timeout - Duration::from_millis(30), "and not the next look");
    assert_eq!(idle.left, limits.keep_alive_timeout - Duration::from_millis(10));
    assert!(deaf.outbox.0 > 300 && deaf.sent == 0);
    assert_eq!((paused.inbox, paused.outbox), ((INBOX, INBOX), (0, 0)));
    let record = paused.record.as_ref().unwrap();
    assert_eq!((record.request().as_str(), record.paused_time()), ("POST /takes", Duration::from_millis(20)));
}

#[test]
fn the_overview_lists_those_first_that_wait_for_their_clients() {
    let told: Overview = ask(&mut stage(), Asked::Overview);
    assert_eq!((told.paused, told.blocked), (1, 1));
    assert_eq!(told.listed.iter().map(|connection| connection.id).collect::<Vec<_>>(), [1, 2, 3]);
}

#[test]
fn four_questions_are_answered_in_a_turn_and_the_loop_does_not_sleep_before_the_others() {
    let mut stage = stage();
    let queue = Rc::new(InspectionQueue::default());
    stage.event_loop.answer_inspections(Rc::clone(&queue));
    assert_ne!(stage.turn(), Some(Duration::ZERO));
    let questions = [(); 9].map(|()| queue.ask(waker(), Asked::Loop));
    for answered in [4, 4, 1, 0] {
        let slept = stage.turn();
        assert_eq!(questions.iter().filter_map(|question| question.answer()).count(), answered);
        assert_eq!(slept == Some(Duration::ZERO), answered > 0);
    }
}

/// What has been captured since the last call, as far as it is text.
fn captured(stream: &CaptureStream) -> String {
    let mut ring = RingBuffer::new(1 << 20);
    let n = stream.file.take(&mut ring.room(0, 1 << 20));
    ring.seal(0, b"", n);
    String::from_utf8_lossy(&ring.readable().concat()).into_owned()
}

#[test]
fn a_connection_is_captured_until_it_ends_and_then_nobody_is_asked_any_more() {
    let mut stage = Stage::with_roles(&[ListenerRole::Http, ListenerRole::Admin], Limits::default());
    let client = stage.asking("/");
    let other = stage.client();
    stage.client_of(1);
    let wish = |connection| move |answer| Asked::Capture(CaptureOrder { connection, bytes_max: 1 << 20 }, answer);
    assert!(matches!(ask(&mut stage, wish(3)), Err(CaptureRefusal::NotOpen)), "the admin");
    assert!(stage.event_loop.context.live_captures.is_none());
    let [one, two] = [(); 2].map(|()| ask(&mut stage, wish(1)).unwrap());
    for stream in [&one, &two] {
        assert!(captured(stream).contains("c=1 http/1 from here on: rx=28 tx="));
    }
    stage.ask(&client, "/bytes/5");
    stage.ask(&other, "/other");
    stage.turn();
    let said = captured(&one);
    assert!(said.contains("GET /bytes/5 HTTP/1.1\r\n") && said.contains("\r\n\r\nbbbbb"), "{said}");
    assert!(said.contains("c=1 r=2 over 200 rx=28:") && !said.contains("other"), "{said}");
    drop(one);
    stage.reactor().end(&client);
    stage.turn();
    let said = captured(&two);
    assert!(said.contains("c=1 close: CFI closed by the client") && said.contains("the connection is over"), "{said}");
    assert!(two.file.has_ended() && stage.event_loop.context.live_captures.is_none());
    assert!(matches!(ask(&mut stage, wish(1)), Err(CaptureRefusal::NotOpen)), "it is over");
}

/// Four askers who have all left make room, although nothing was said meanwhile.
#[test]
fn captures_are_bounded_and_askers_who_have_left_do_not_count() {
    let mut stage = Stage::new(Limits::default());
    stage.client();
    let wish = |answer| Asked::Capture(CaptureOrder { connection: 1, bytes_max: 1 << 20 }, answer);
    let all = [(); 4].map(|()| ask(&mut stage, wish).unwrap());
    assert!(matches!(ask(&mut stage, wish), Err(CaptureRefusal::TooMany(4))));
    drop(all);
    assert!(ask(&mut stage, wish).is_ok());
}
