//! How connections end, and who is said to have ended them.

use std::time::Duration;

use super::menu::Act;
use super::script::{Calls, Client};
use super::stage::{Stage, get, post};
use crate::base::limits::Limits;
use crate::base::listener_role::ListenerRole;
use crate::event_loop::Outcome;
use crate::net::Signal;
use crate::observe::wait_reason::WaitReason;

const BY_CLIENT: [u64; 5] = [1, 0, 0, 0, 0];
const BY_SERVER: [u64; 5] = [0, 1, 0, 0, 0];
const BROKEN: [u64; 5] = [0, 0, 1, 0, 0];
const CUT_SHORT: [u64; 5] = [0, 0, 0, 1, 0];

const LAST: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

fn stage() -> Stage {
    Stage::new(Limits::default())
}

/// A client that has sent this, which a turn has found.
fn saying(stage: &mut Stage, text: &str) -> Client {
    let client = stage.client();
    stage.send(&client, text);
    stage.turn();
    client
}

fn calls(client: &Client) -> (usize, usize, usize) {
    let Calls { reads, writes, shutdowns, .. } = client.calls();
    (reads, writes, shutdowns)
}

#[test]
fn a_client_that_ends_first_has_ended_the_connection() {
    for asks in [false, true] {
        let mut stage = stage();
        let client = stage.client();
        if asks {
            stage.ask(&client, "/");
        }
        stage.reactor().end(&client);
        stage.turn();
        assert!(client.is_closed());
        assert_eq!((client.statuses().len(), stage.closes()), (usize::from(asks), BY_CLIENT));
        assert_eq!(calls(&client), (1 + usize::from(asks), usize::from(asks), 0));
        assert_eq!(stage.counters().syscalls.close, 1);
    }
}

#[test]
fn a_client_that_asked_for_the_end_and_has_not_ended_is_left_after_one_more_read() {
    let mut stage = stage();
    let client = saying(&mut stage, LAST);
    assert!(client.is_closed());
    assert_eq!((client.statuses(), stage.closes()), (vec![200], BY_SERVER));
    assert_eq!(calls(&client), (2, 1, 0));
}

#[test]
fn a_client_that_asked_for_the_end_and_ended_meanwhile_was_the_first() {
    let mut stage = stage();
    let client = stage.client();
    stage.send(&client, LAST);
    client.end_silently();
    stage.turn();
    assert!(client.is_closed());
    assert_eq!((stage.closes(), calls(&client)), (BY_CLIENT, (2, 1, 0)));
}

#[test]
fn a_client_that_asked_for_the_end_and_sent_more_is_listened_to() {
    // Closing would reset the connection, and the answer might be lost.
    let mut stage = stage();
    let client = stage.client();
    stage.send(&client, &(LAST.to_owned() + &get("/never")));
    stage.turn();
    assert_eq!((client.statuses(), stage.wait_of(&client)), (vec![200], WaitReason::Lingering));
    assert_eq!(client.calls().shutdowns, 1);
    assert_eq!(*stage.menu.called.borrow(), ["/"]);
    stage.reactor().end(&client);
    stage.turn();
    assert!(client.is_closed());
    assert_eq!(stage.closes(), BY_SERVER, "its direction ended second");
}

#[test]
fn what_comes_between_the_last_answer_and_the_last_read_is_listened_to_as_well() {
    let mut stage = stage();
    let client = stage.client();
    client.limit_room(0);
    stage.send(&client, LAST);
    stage.turn();
    client.send_silently("more");
    stage.reactor().make_room(&client, 1000);
    stage.turn();
    assert_eq!((stage.wait_of(&client), client.calls().shutdowns), (WaitReason::Lingering, 1));
    assert_eq!(stage.counters().read_bytes, LAST.len() as u64 + 4);
    assert_eq!(stage.counters().syscalls.shutdown, 1);
}

#[test]
fn a_client_that_asked_for_the_end_and_is_not_done_with_its_content_is_listened_to() {
    let mut stage = stage();
    let client = saying(&mut stage, &post("/", 10).replace("Host: a", "Host: a\r\nConnection: close"));
    assert_eq!((client.statuses(), client.calls().shutdowns), (vec![200], 1));
    assert_eq!(stage.wait_of(&client), WaitReason::Lingering);
}

#[test]
fn a_connection_that_the_kernel_does_not_watch_is_closed_in_that_turn() {
    let mut stage = stage();
    stage.reactor().refuses_arms = true;
    let client = stage.reactor().connect(0);
    stage.turn();
    assert!(client.is_closed());
    assert_eq!((stage.closes(), stage.event_loop.connections()), (BROKEN, 0));
    assert_eq!(stage.sleeps(), None);
}

#[test]
fn no_listener_is_always_first() {
    let roles = [ListenerRole::Http, ListenerRole::TcpEcho, ListenerRole::LineEcho];
    let mut stage = Stage::with_roles(&roles, Limits { accepts_per_turn: 2, ..Limits::default() });
    let clients = [0, 0, 0, 1, 1, 2].map(|listener| stage.reactor().connect(listener));
    let mut entered = Vec::new();
    for _ in 0..3 {
        stage.turn();
        entered.push(clients.iter().map(|client| u8::from(client.token().is_some())).collect::<Vec<_>>());
    }
    assert_eq!(entered, [[1, 0, 0, 1, 0, 0], [1, 1, 0, 1, 0, 1], [1, 1, 1, 1, 1, 1]]);
}

#[test]
fn a_refused_request_ends_the_connection_and_what_follows_is_not_looked_at() {
    let mut stage = stage();
    let client = saying(&mut stage, &("GET / HTTP/1.1\r\n\r\n".to_owned() + &get("/never")));
    assert_eq!((client.statuses(), client.calls().shutdowns), (vec![400], 1));
    stage.ask(&client, "/never");
    stage.turn();
    assert!(stage.menu.called.borrow().is_empty() && !client.is_closed());
    stage.reactor().end(&client);
    stage.turn();
    assert_eq!(stage.closes(), BY_SERVER);
}

#[test]
fn a_refused_client_that_does_not_read_is_a_slow_reader() {
    let mut stage = stage();
    let client = stage.client();
    client.limit_room(0);
    stage.send(&client, "?\r\n\r\n");
    stage.turn();
    assert_eq!(stage.wait_of(&client), WaitReason::SlowRead);
    assert_eq!(client.calls().shutdowns, 0, "the answer has not left");
}

#[test]
fn a_last_answer_that_is_on_its_way_waits_for_its_reader_alone() {
    let mut stage = Stage::new(Limits { drive_passes_max: 1, ..Limits::default() });
    let client = stage.client();
    client.limit_room(10);
    stage.send(&client, LAST);
    stage.turn();
    assert_eq!((client.received().len(), stage.wait_of(&client)), (10, WaitReason::SlowRead), "there may be more room");
}

#[test]
fn told_to_stop_it_answers_for_the_last_time_and_listens_a_while() {
    let mut stage = stage();
    stage.menu.plan(&[Act::Until(100), Act::Respond(3)]);
    let client = stage.asking("/acts");
    stage.signal(Signal::Terminate);
    stage.turn();
    stage.turn_after(100);
    assert!(client.received().contains("\r\nConnection: close\r\n"));
    assert_eq!(stage.wait_of(&client), WaitReason::Lingering);
    assert_eq!(stage.event_loop.outcome(), None);
    stage.reactor().end(&client);
    stage.turn();
    assert_eq!((stage.closes(), stage.event_loop.outcome()), (BY_SERVER, Some(Outcome::Clean)));
    assert_eq!(stage.event_loop.sum_up().cut_at_end, 0);
}

#[test]
fn an_admin_at_work_does_not_keep_it_from_ending_and_is_logged() {
    let mut stage = Stage::with_roles(&[ListenerRole::Http, ListenerRole::Admin], Limits::default());
    stage.menu.plan(&[Act::Until(60_000)]);
    let admin = stage.client_of(1);
    stage.ask(&admin, "/acts");
    stage.turn();
    stage.signal(Signal::Terminate);
    stage.turn();
    assert_eq!(stage.event_loop.outcome(), Some(Outcome::Clean));
    assert!(admin.is_closed());
    assert_eq!(stage.log("listener request status close"), ["admin 1 null cut short"]);
}

#[test]
fn a_second_interrupt_cuts_who_is_at_work_and_a_second_terminate_does_not() {
    let mut stage = stage();
    stage.menu.plan(&[Act::Put(10), Act::Until(60_000)]);
    let [half, idle] = [stage.asking("/pull"), stage.client()];
    let sent = half.received().len();
    stage.signal(Signal::Interrupt);
    stage.turn();
    stage.signal(Signal::Terminate);
    stage.turn();
    assert_eq!((stage.event_loop.outcome(), half.is_closed()), (None, false));
    stage.signal(Signal::Interrupt);
    stage.turn();
    assert_eq!(stage.event_loop.outcome(), Some(Outcome::Cut(1)));
    assert!(stage.event_loop.was_interrupted() && half.is_closed() && idle.is_closed());
    assert_eq!((half.calls().aborts, idle.calls().aborts), (1, 0), "half an answer must not look like a whole one");
    assert_eq!(stage.log("status tx close"), [format!("200 1:{} cut short", sent + 1)]);
    assert_eq!(stage.event_loop.connections(), 0);
}

#[test]
fn whoever_is_cut_gets_our_fin_unless_the_response_must_not_look_complete() {
    for (path, ended, first_fins) in [
        ("/acts", false, [0, 1, 0]),
        ("/acts", true, [1, 0, 0]),
        ("/pull", false, [0, 0, 1]),
        ("/pull", true, [1, 0, 0]),
    ] {
        let mut stage = stage();
        stage.menu.plan(&[Act::Put(10), Act::Until(60_000)]);
        if path == "/acts" {
            stage.menu.plan(&[Act::Until(60_000)]);
        }
        let client = stage.asking(path);
        if ended {
            stage.reactor().end(&client);
            stage.turn();
        }
        stage.signal(Signal::Interrupt);
        stage.signal(Signal::Interrupt);
        stage.turn();
        assert_eq!(stage.event_loop.outcome(), Some(Outcome::Cut(1)), "{path} {ended}");
        let aborts = usize::from(path == "/pull");
        assert_eq!((client.calls().aborts, stage.counters().first_fins), (aborts, first_fins), "{path} {ended}");
    }
}

#[test]
fn who_has_half_a_line_or_waits_for_the_rest_of_a_last_answer_is_cut() {
    for (role, text, cut) in [
        (ListenerRole::Http, LAST, true),
        (ListenerRole::LineEcho, "half", true),
        (ListenerRole::LineEcho, "", false),
        (ListenerRole::Http, "", false),
    ] {
        let mut stage = Stage::with_roles(&[role], Limits::default());
        let client = stage.client();
        client.limit_room(10);
        stage.send(&client, text);
        stage.turn();
        stage.signal(Signal::Interrupt);
        stage.signal(Signal::Interrupt);
        stage.turn();
        let expected = if cut { Outcome::Cut(1) } else { Outcome::Clean };
        assert_eq!(stage.event_loop.outcome(), Some(expected), "{role:?} {text:?}");
    }
}

#[test]
fn who_lingers_has_its_answer_and_is_not_cut() {
    let mut stage = stage();
    let client = saying(&mut stage, "?\r\n\r\n");
    assert_eq!(stage.wait_of(&client), WaitReason::Lingering);
    stage.signal(Signal::Interrupt);
    stage.signal(Signal::Interrupt);
    stage.turn();
    assert_eq!((stage.event_loop.outcome(), client.calls().aborts), (Some(Outcome::Clean), 0));
}

#[test]
fn what_comes_from_who_lingers_is_thrown_away_however_much_it_is() {
    let limits = Limits { inbox_bytes: 1024, head_bytes_max: 1024, ..Limits::default() };
    let mut stage = Stage::new(limits);
    let client = saying(&mut stage, "?\r\n\r\n");
    stage.send(&client, &"x".repeat(5000));
    stage.settle();
    assert_eq!(stage.counters().read_bytes, 5005);
    stage.send(&client, "x");
    stage.reactor().end(&client);
    stage.turn();
    assert_eq!((client.is_closed(), stage.closes()), (true, BY_SERVER));
}

#[test]
fn an_order_to_reopen_the_log_stops_nothing() {
    let mut stage = stage();
    let client = stage.client();
    stage.signal(Signal::Reopen);
    stage.turn();
    assert!(!stage.reactor().open.is_empty() && !stage.event_loop.was_interrupted());
    stage.ask(&client, "/");
    stage.turn();
    assert_eq!(client.statuses(), [200]);
}

#[test]
fn a_reset_breaks_the_connection_whatever_it_waits_for() {
    for path in ["/acts", "/bytes/100000"] {
        let mut stage = stage();
        stage.menu.plan(&[Act::Until(1000)]);
        let client = stage.client();
        client.limit_room(0);
        stage.ask(&client, path);
        stage.turn();
        client.calls();
        stage.reactor().reset(&client);
        stage.turn();
        assert!(client.is_closed());
        assert_eq!((stage.closes(), calls(&client)), (BROKEN, (1, 0, 0)), "{path}");
        assert_eq!(stage.drives(), 2);
    }
}

#[test]
fn a_reset_is_noticed_although_there_is_no_room_to_read() {
    let limits = Limits { inbox_bytes: 1024, head_bytes_max: 1024, ..Limits::default() };
    let mut stage = Stage::new(limits);
    stage.menu.plan(&[Act::Until(60_000)]);
    let client = stage.asking("/acts");
    stage.send(&client, &"x".repeat(2000));
    stage.turn();
    client.calls();
    stage.reactor().reset(&client);
    stage.turn();
    assert!(client.is_closed());
    assert_eq!((stage.closes(), calls(&client)), (BROKEN, (0, 0, 0)));
}

#[test]
fn a_handler_that_fails_gets_a_500_before_its_response_and_a_cut_in_it() {
    let mut stage = stage();
    stage.menu.plan(&[Act::Fail]);
    let client = stage.asking("/acts");
    assert_eq!((client.statuses(), client.is_closed()), (vec![500], false));
    let client = stage.asking("/pull");
    assert!(client.is_closed());
    assert_eq!((client.calls().aborts, stage.closes()), (1, CUT_SHORT));
}

#[test]
fn a_source_that_promises_more_and_gives_none_has_failed() {
    let mut stage = stage();
    stage.menu.plan(&[Act::Put(0), Act::End]);
    let client = stage.asking("/pull");
    assert!(client.is_closed());
    assert_eq!((client.calls().aborts, stage.closes()), (1, CUT_SHORT));
}

#[test]
fn a_file_that_became_shorter_is_cut() {
    let mut stage = stage();
    stage.menu.plan(&[Act::Until(1)]);
    let client = stage.asking("/short/100/60");
    assert!(client.is_closed());
    assert_eq!((client.calls().aborts, stage.closes()), (1, CUT_SHORT));
    assert_eq!(client.received().matches('f').count(), 60);
    assert_eq!(stage.log("status close bytes"), ["200 cut short 60"]);
}

#[test]
fn a_client_that_breaks_the_rules_in_the_middle_of_its_response_is_cut() {
    let mut stage = stage();
    stage.menu.plan(&[Act::Put(10), Act::Until(60_000)]);
    let client = stage.client();
    stage.send(&client, "POST /duplex HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    stage.turn();
    assert_eq!(client.statuses(), [200]);
    stage.send(&client, "nonsense\r\n");
    stage.turn();
    assert!(client.is_closed());
    assert_eq!((client.calls().aborts, stage.closes()), (1, CUT_SHORT));
}

#[test]
fn a_client_that_breaks_the_rules_after_its_response_is_listened_to() {
    let mut stage = stage();
    let client = stage.client();
    stage.send(&client, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    stage.turn();
    assert_eq!(client.statuses(), [200]);
    stage.send(&client, "nonsense\r\n");
    stage.turn();
    assert_eq!((client.received().as_str(), client.calls().shutdowns), ("", 1));
    stage.reactor().end(&client);
    stage.turn();
    assert_eq!(stage.closes(), BY_SERVER);
}

#[test]
fn content_that_is_late_after_the_response_ends_the_connection_for_that_reason() {
    let mut stage = stage();
    let client = saying(&mut stage, &post("/", 10));
    assert_eq!((client.statuses(), stage.wait_of(&client)), (vec![200], WaitReason::SlowBody));
    stage.turn_after(30_000);
    assert_eq!((client.received().as_str(), client.calls().shutdowns), ("", 1));
    stage.turn_after(5000);
    assert_eq!(stage.timeouts(), [("client-slow-body", 1)]);
}

#[test]
fn content_that_is_late_in_the_middle_of_the_response_cuts_it() {
    let mut stage = stage();
    stage.menu.plan(&[Act::Put(10), Act::Content]);
    let client = saying(&mut stage, &post("/duplex", 10));
    assert_eq!((client.statuses(), stage.wait_of(&client)), (vec![200], WaitReason::SlowBody));
    stage.turn_after(29_999);
    assert!(!client.is_closed());
    stage.turn_after(1);
    assert!(client.is_closed());
    assert_eq!((client.calls().aborts, stage.timeouts()), (1, vec![("client-slow-body", 1)]));
}

#[test]
fn an_admin_finds_room_until_there_are_a_hundred() {
    let mut stage = Stage::with_roles(&[ListenerRole::Http, ListenerRole::Admin], Limits::default());
    let admins: Vec<_> = (0..100).map(|_| stage.client_of(1)).collect();
    let next = stage.reactor().connect(1);
    stage.turn();
    assert_eq!((next.token(), stage.event_loop.connections()), (None, 100));
    assert_ne!(stage.sleeps(), Some(0), "it does not spin");
    stage.client_of(0);
    stage.reactor().end(&admins[7]);
    stage.turn();
    stage.turn();
    assert!(next.token().is_some());
}

#[test]
fn no_more_are_accepted_in_a_turn_than_allowed_and_the_rest_in_the_next() {
    let mut stage = Stage::new(Limits { accepts_per_turn: 3, connections_max: 8, ..Limits::default() });
    let clients: Vec<_> = (0..9).map(|_| stage.reactor().connect(0)).collect();
    let mut entered = Vec::new();
    for _ in 0..4 {
        let sleep = stage.turn();
        entered.push((stage.event_loop.connections(), sleep == Some(Duration::ZERO)));
    }
    assert_eq!(entered, [(3, false), (6, true), (8, true), (8, false)]);
    assert_eq!(stage.reactor().accepts, [8], "nobody is asked for who may not come in");
    stage.reactor().end(&clients[0]);
    stage.turn();
    stage.turn();
    assert_eq!((stage.event_loop.connections(), stage.reactor().accepts[0]), (8, 9));
    assert_eq!(stage.event_loop.sum_up().connections_max, 8);
    assert_eq!(stage.event_loop.sum_up().accepted, 9);
}
