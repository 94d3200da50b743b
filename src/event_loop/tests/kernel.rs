//! What is asked of the kernel, counted, and what is kept: no call, timer or ring more than needed.

use std::rc::Rc;

use super::menu::Act;
use super::script::{Calls, Client};
use super::stage::{Stage, get, post};
use crate::base::limits::Limits;
use crate::base::listener_role::ListenerRole;
use crate::net::{Event, Interest, Readiness};
use crate::observe::histogram::Syscalls;
use crate::service::status::inspection_queue::{Asked, InspectionQueue};

const BOTH: Interest = Interest { read: true, write: true };
const WRITE: Interest = Interest { read: false, write: true };

/// What the kernel was asked to report since the last call.
fn arms(stage: &mut Stage) -> Vec<Interest> {
    std::mem::take(&mut stage.reactor().arms).into_iter().map(|(_, interest)| interest).collect()
}

fn small() -> Stage {
    let limits = Limits { inbox_bytes: 1024, head_bytes_max: 1024, outbox_bytes: 1024, ..Limits::default() };
    Stage::new(limits)
}

#[test]
fn an_ordinary_request_costs_one_read_and_one_write() {
    let mut stage = Stage::new(Limits::default());
    let client = stage.client();
    assert_eq!(arms(&mut stage), [Interest::READ]);
    let drives = stage.drives();
    for _ in 0..3 {
        stage.ask(&client, "/bytes/100");
        stage.turn();
        assert_eq!(client.calls(), Calls { reads: 1, writes: 1, ..Calls::default() });
    }
    assert_eq!(arms(&mut stage), []);
    assert_eq!(stage.drives() - drives, 3);
    let expected = Syscalls { wait: 4, ctl: 1, accept: 2, read: 3, write: 3, ..Syscalls::default() };
    let told = Syscalls { cpu_time: 0, ..stage.counters().syscalls };
    assert_eq!(told, expected);
}

#[test]
fn a_connection_that_ends_costs_a_close_and_nothing_more() {
    let mut stage = Stage::new(Limits::default());
    let client = stage.client();
    arms(&mut stage);
    stage.reactor().end(&client);
    stage.turn();
    assert_eq!(arms(&mut stage), []);
    assert_eq!(stage.sleeps(), None, "its timer is gone");
    assert_eq!(stage.counters().syscalls.close, 1);
    assert_eq!((stage.drives(), stage.event_loop.connections()), (1, 0));
}

#[test]
fn room_to_write_is_asked_for_while_there_is_none() {
    let mut stage = Stage::new(Limits::default());
    let client = stage.client();
    client.limit_room(10);
    arms(&mut stage);
    stage.ask(&client, "/bytes/100");
    stage.turn();
    assert_eq!(arms(&mut stage), [BOTH]);
    assert_eq!(client.calls().writes, 2, "the second one finds no room");
    stage.reactor().make_room(&client, 10);
    stage.turn();
    assert_eq!(arms(&mut stage), [], "it is still blocked");
    stage.turn();
    client.calls();
    stage.reactor().make_room(&client, 1000);
    stage.turn();
    assert_eq!(arms(&mut stage), [Interest::READ]);
    assert_eq!(client.calls().writes, 1);
}

#[test]
fn reading_is_not_asked_for_while_the_inbox_is_full() {
    let mut stage = small();
    stage.menu.plan(&[Act::Content, Act::Respond(0)]);
    *stage.menu.appetite.borrow_mut() = 0;
    let client = stage.client();
    stage.send(&client, &post("/takes", 2000));
    stage.turn();
    arms(&mut stage);
    client.calls();
    stage.send(&client, &"x".repeat(1023));
    stage.turn();
    assert_eq!(arms(&mut stage), []);
    stage.send(&client, &"x".repeat(977));
    stage.turn();
    assert_eq!(arms(&mut stage), [Interest::NONE]);
    assert_eq!(client.calls().reads, 2);
    *stage.menu.appetite.borrow_mut() = usize::MAX;
    stage.menu.waker.borrow().as_ref().unwrap().wake();
    stage.settle();
    assert_eq!(arms(&mut stage), [Interest::READ]);
    assert_eq!((client.statuses(), stage.menu.taken.borrow().len()), (vec![200], 2001));
}

#[test]
fn reading_is_not_asked_for_behind_the_end_of_the_input() {
    let mut stage = Stage::new(Limits::default());
    let client = stage.client();
    client.limit_room(0);
    stage.ask(&client, "/bytes/100");
    stage.reactor().end(&client);
    stage.turn();
    assert_eq!(arms(&mut stage), [Interest::READ, WRITE]);
    stage.reactor().make_room(&client, 1000);
    stage.turn();
    assert_eq!((arms(&mut stage), stage.closes()), (vec![], [1, 0, 0, 0, 0]));
    assert!(client.is_closed());
}

#[test]
fn a_hint_that_proves_wrong_costs_one_call_and_moves_nothing() {
    let mut stage = Stage::new(Limits::default());
    let client = stage.client();
    arms(&mut stage);
    for (readiness, calls) in [
        (Readiness { readable: true, ..Readiness::default() }, Calls { reads: 1, ..Calls::default() }),
        (Readiness { writable: true, ..Readiness::default() }, Calls::default()),
    ] {
        stage.reactor().events.push(Event::Connection(client.token().unwrap(), readiness));
        stage.turn();
        assert_eq!(client.calls(), calls);
    }
    assert_eq!(arms(&mut stage), []);
}

#[test]
fn two_events_for_a_connection_are_one_drive() {
    let mut stage = Stage::new(Limits::default());
    let client = stage.client();
    stage.send(&client, "GET / HTTP/1.1\r\n");
    stage.send(&client, "Host: a\r\n\r\n");
    stage.turn();
    assert_eq!((client.statuses(), stage.drives()), (vec![200], 1));
}

#[test]
fn data_and_a_fin_in_one_event_are_both_read() {
    let mut stage = Stage::new(Limits::default());
    let client = stage.client();
    client.send_silently(&get("/"));
    stage.reactor().end(&client);
    stage.turn();
    assert_eq!((client.statuses(), client.is_closed(), client.calls().reads), (vec![200], true, 2));
}

/// How many rings were lent at a time at most: for input, and for output.
fn rings(stage: &Stage) -> (u64, u64) {
    let (inboxes, outboxes) = stage.event_loop.context.lent_bytes_max();
    (inboxes / 1024, outboxes / 1024)
}

#[test]
fn an_idle_connection_owns_no_ring() {
    let mut stage = small();
    let clients = [(); 10].map(|()| stage.client());
    for client in &clients {
        stage.ask(client, "/bytes/100");
        stage.turn();
    }
    assert_eq!(rings(&stage), (1, 1));
}

#[test]
fn connections_that_are_answered_in_one_turn_use_the_same_rings() {
    let mut stage = small();
    let clients = [(); 10].map(|()| stage.client());
    for client in &clients {
        stage.send(client, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    }
    stage.turn();
    assert_eq!((stage.closes()[1], rings(&stage)), (10, (1, 1)));
}

/// Three clients that have sent half a head and do not read what they asked for before.
fn hold_rings(stage: &mut Stage) -> [Client; 3] {
    [(); 3].map(|()| {
        let client = stage.client();
        client.limit_room(0);
        stage.send(&client, &(get("/bytes/100") + "GET"));
        stage.turn();
        client
    })
}

#[test]
fn rings_come_back_however_a_connection_ends() {
    let mut stage = small();
    for _ in 0..3 {
        for client in hold_rings(&mut stage) {
            stage.reactor().reset(&client);
        }
        stage.turn();
        assert_eq!(stage.event_loop.connections(), 0);
    }
    hold_rings(&mut stage);
    stage.turn_after(60_000);
    stage.turn_after(60_000);
    assert_eq!(stage.event_loop.connections(), 0);
    hold_rings(&mut stage);
    assert_eq!(rings(&stage), (3, 3));
}

#[test]
fn what_a_look_at_a_slow_reader_writes_is_counted() {
    let mut stage = Stage::new(Limits::default());
    let client = stage.client();
    client.limit_room(10);
    stage.ask(&client, "/bytes/5000");
    stage.turn();
    assert_eq!(stage.counters().written_bytes, 10);
    client.calls();
    // Nobody has been told of the room.
    client.make_room_silently(20);
    stage.turn_after(500);
    assert_eq!((stage.counters().written_bytes, client.received().len()), (30, 30));
    let calls = client.calls().writes as u64;
    assert_eq!(stage.counters().syscalls.write, 2 + calls);
    client.make_room_silently(100_000);
    stage.turn_after(7500);
    let all = 30 + client.received().len() as u64;
    assert_eq!(stage.counters().written_bytes, all);
    assert_eq!(stage.log("tx last_byte_ms"), [format!("1:{} 8000.0", all + 1)]);
}

#[test]
fn nobody_is_driven_by_a_timer_that_was_left_behind() {
    let mut stage = Stage::new(Limits::default());
    let client = stage.client();
    stage.pass(1000);
    stage.ask(&client, "/");
    stage.turn();
    let (drives, mut at) = (stage.drives(), 1000);
    // The timer of the first byte is there, and one that follows; the wheel may bring it closer in a few steps.
    let mut turns = 0;
    while !client.is_closed() {
        let sleep = stage.sleeps().unwrap() as u64;
        assert!(sleep > 0, "it spins");
        at += sleep;
        turns += 1;
        stage.turn_after(sleep);
    }
    assert_eq!(at, 77_000);
    assert!(turns <= 8, "{turns} turns");
    assert_eq!(stage.drives() - drives, 3, "at 5 s, at the end, and a second later");
}

#[test]
fn the_admin_is_not_in_the_numbers_of_everyone() {
    let mut stage = Stage::with_roles(&[ListenerRole::Admin, ListenerRole::Http], Limits::default());
    let [admin, client] = [0, 1].map(|listener| stage.client_of(listener));
    for who in [&admin, &client] {
        who.limit_room(0);
        stage.ask(who, "/bytes/100");
    }
    stage.turn();
    let tally = stage.event_loop.tally();
    assert_eq!((tally.waits.total(), tally.blocked, tally.paused), (1, 1, 0));
    assert_eq!((stage.event_loop.admins.len(), stage.event_loop.connections()), (1, 2));
    stage.reactor().end(&admin);
    stage.reactor().make_room(&admin, 1000);
    stage.turn();
    assert_eq!((stage.event_loop.admins.len(), stage.event_loop.connections()), (0, 1));
}

#[test]
fn questions_are_answered_in_the_turn_that_finds_them_and_a_few_at_a_time() {
    let mut stage = Stage::with_roles(&[ListenerRole::Admin, ListenerRole::Http], Limits::default());
    let [_admin, client] = [0, 1].map(|listener| stage.client_of(listener));
    stage.ask(&client, "/");
    stage.turn();
    let inspections = Rc::new(InspectionQueue::default());
    stage.event_loop.answer_inspections(Rc::clone(&inspections));
    let waker = stage.menu.waker.borrow().clone().unwrap();
    let questions = [(); 5].map(|()| inspections.ask(waker.clone(), |answer| Asked::Connections(10, answer)));
    assert_eq!(stage.sleeps(), Some(0));
    let answers: Vec<_> = questions.iter().map(|question| question.answer()).collect();
    assert_eq!(answers.iter().filter(|answer| answer.is_some()).count(), 4);
    let connections = answers[0].as_ref().unwrap();
    // The admin does not count.
    assert_eq!((connections.total, connections.listed.len()), (1, 1));
    assert_eq!((connections.listed[0].ordinal, connections.listed[0].wait), (2, "client-idle"));
    assert_eq!(stage.sleeps(), Some(0));
    assert!(questions[4].answer().is_some());
}
