//! Each wait ends at its millisecond and not one earlier, and the loop sleeps until then.

use std::time::Duration;

use super::menu::Act;
use super::script::Client;
use super::stage::{Stage, post};
use crate::base::limits::Limits;
use crate::base::listener_role::ListenerRole;
use crate::net::Signal;
use crate::observe::wait_reason::WaitReason;

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// No two waits last equally long.
fn limits() -> Limits {
    Limits {
        first_byte_timeout: ms(1100),
        header_timeout: ms(1200),
        body_timeout: ms(1300),
        send_timeout: ms(8000),
        keep_alive_timeout: ms(1500),
        linger_timeout: ms(500),
        linger_total: ms(1700),
        idle_linger: ms(700),
        drain_idle_grace: ms(70),
        drain_timeout: ms(5000),
        rate_floor: 100,
        ..Limits::default()
    }
}

/// The client waits for this reason; so many milliseconds from now something becomes of it, and not one earlier.
fn lasts(stage: &mut Stage, client: &Client, reason: WaitReason, ms: u64, is_over: impl Fn(&Stage, &Client) -> bool) {
    assert_eq!(stage.wait_of(client), reason);
    assert_eq!(stage.sleeps(), Some(ms.into()), "{reason}");
    stage.turn_after(ms - 1);
    assert!(!is_over(stage, client), "{reason}: 1 ms early");
    stage.turn_after(1);
    assert!(is_over(stage, client), "{reason}: late");
}

fn is_closed(_: &Stage, client: &Client) -> bool {
    client.is_closed()
}

/// The server has ended its direction.
fn is_ended(_: &Stage, client: &Client) -> bool {
    client.calls().shutdowns == 1
}

#[test]
fn a_client_that_says_nothing_has_the_first_byte_timeout() {
    let mut stage = Stage::new(limits());
    let client = stage.client();
    lasts(&mut stage, &client, WaitReason::FirstByte, 1100, is_ended);
    lasts(&mut stage, &client, WaitReason::Lingering, 700, is_closed);
    assert_eq!(stage.timeouts(), [("client-silent", 1)]);
    assert_eq!(client.received(), "");
    assert_eq!(stage.sleeps(), None, "nobody is left to wait for");
}

#[test]
fn a_client_that_has_been_answered_has_the_keep_alive_timeout() {
    let mut stage = Stage::new(limits());
    let client = stage.client();
    stage.pass(1000);
    stage.ask(&client, "/");
    stage.turn();
    // The timer of the first wait is still there: it is armed once and not for each request.
    assert_eq!(stage.sleeps(), Some(100));
    stage.turn_after(100);
    lasts(&mut stage, &client, WaitReason::Idle, 1400, is_ended);
    lasts(&mut stage, &client, WaitReason::Lingering, 700, is_closed);
    assert_eq!(stage.timeouts(), [("client-idle", 1)]);
    assert_eq!(stage.closes(), [0, 0, 0, 0, 1]);
}

#[test]
fn a_head_that_trickles_in_gains_no_time_and_the_next_one_has_its_own() {
    let mut stage = Stage::new(limits());
    let client = stage.client();
    stage.send(&client, "GET / HTT");
    stage.turn();
    stage.turn_after(1100);
    stage.send(&client, "P/1.1\r\nHost:");
    stage.turn();
    stage.send(&client, " a\r\n\r\nGET /b HT");
    stage.turn_after(99);
    assert_eq!(client.statuses(), [200]);
    assert_eq!(stage.wait_of(&client), WaitReason::SlowHead);
    stage.turn_after(1);
    let answered = |_: &Stage, client: &Client| client.statuses() == [408];
    lasts(&mut stage, &client, WaitReason::SlowHead, 1199, answered);
    assert_eq!(stage.wait_of(&client), WaitReason::Lingering);
    stage.reactor().end(&client);
    stage.turn();
    assert_eq!(stage.timeouts(), [("client-slow-head", 1)], "it ended for that reason");
    assert_eq!(stage.closes(), [0, 0, 0, 0, 1]);
}

#[test]
fn content_without_progress_is_late_after_the_body_timeout() {
    let mut stage = Stage::new(limits());
    stage.menu.plan(&[Act::Content]);
    let client = stage.client();
    stage.send(&client, &post("/takes", 10));
    stage.turn();
    stage.turn_after(1100);
    assert_eq!(stage.wait_of(&client), WaitReason::SlowBody);
    let answered = |_: &Stage, client: &Client| client.statuses() == [408];
    lasts(&mut stage, &client, WaitReason::SlowBody, 200, answered);
    stage.turn_after(500);
    assert!(client.is_closed(), "it lingered");
    assert_eq!(stage.timeouts(), [("client-slow-body", 1)]);
}

#[test]
fn content_that_trickles_in_earns_its_time_at_the_floor_rate() {
    // 100 bytes a second: each byte earns 10 ms.
    let mut stage = Stage::new(limits());
    stage.menu.plan(&[Act::Content]);
    let client = stage.client();
    stage.send(&client, &post("/takes", 1000));
    stage.turn();
    stage.send(&client, "12345");
    stage.turn_after(1200);
    let answered = |_: &Stage, client: &Client| client.statuses() == [408];
    stage.turn_after(100);
    lasts(&mut stage, &client, WaitReason::SlowBody, 50, answered);
}

#[test]
fn content_that_comes_fast_enough_is_waited_for_from_its_last_byte() {
    let mut stage = Stage::new(limits());
    stage.menu.plan(&[Act::Content]);
    let client = stage.client();
    stage.send(&client, &post("/takes", 10_000));
    stage.turn();
    stage.send(&client, &"x".repeat(1000));
    stage.turn_after(1299);
    stage.turn_after(1299);
    assert_eq!(client.received(), "");
    stage.turn_after(1);
    assert_eq!(client.statuses(), [408]);
}

/// A client that has asked for more than there is room for.
fn deaf(stage: &mut Stage, acknowledged: Option<u64>) -> Client {
    let client = stage.client();
    client.limit_room(100);
    if let Some(bytes) = acknowledged {
        client.acknowledge(bytes);
    }
    stage.ask(&client, "/bytes/100000");
    stage.turn();
    assert_eq!(stage.wait_of(&client), WaitReason::SlowRead);
    client.calls();
    client
}

/// How long the loop sleeps until each look, in milliseconds, and what the look asks of the socket.
fn looks(stage: &mut Stage, client: &Client, mut on_look: impl FnMut(&Client)) -> (Vec<u128>, usize) {
    let (mut sleeps, mut writes) = (Vec::new(), 0);
    while !client.is_closed() {
        let sleep = stage.sleeps().expect("it is waited for");
        on_look(client);
        stage.turn_after(sleep as u64);
        sleeps.push(sleep);
        writes += client.calls().writes;
        assert!(sleeps.len() < 100, "it is never cut");
    }
    (sleeps, writes)
}

#[test]
fn it_is_looked_after_a_slow_reader_soon_and_then_in_each_eighth() {
    let mut stage = Stage::new(limits());
    let client = deaf(&mut stage, Some(0));
    let (sleeps, writes) = looks(&mut stage, &client, |_| ());
    assert_eq!(sleeps, [500, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 500]);
    assert_eq!(writes, 0, "the kernel tells how far the client has got");
    assert_eq!(stage.counters().syscalls.netlink, 10, "once more for the verdict");
    assert_eq!(stage.timeouts(), [("client-slow-read", 1)]);
    assert_eq!(stage.log("close last_byte_ms"), ["timeout: client-slow-read 8000.0"]);
}

#[test]
fn a_peer_that_has_vanished_is_not_called_a_slow_reader() {
    let mut stage = Stage::new(limits());
    let client = deaf(&mut stage, Some(0));
    client.fall_silent(ms(7000));
    // The kernel takes the window for shut while it hears nothing.
    client.shut_window(ms(7500));
    looks(&mut stage, &client, |_| ());
    assert_eq!(stage.log("close verdict"), ["the peer has vanished, timeout: client-slow-read NTS"]);
    assert_eq!(verdicts(&stage), ["NTS"]);
    assert_eq!(stage.timeouts(), [("client-slow-read", 1)], "it is still what was waited for");
}

#[test]
fn an_answer_that_nobody_has_acknowledged_shows_when_its_idle_connection_ends() {
    for (silent, expected) in [(false, "STI"), (true, "NTI")] {
        let mut stage = Stage::new(limits());
        let client = stage.client();
        client.acknowledge(0);
        stage.ask(&client, "/");
        stage.turn();
        if silent {
            client.fall_silent(ms(1500));
        }
        while !client.is_closed() {
            let sleep = stage.sleeps().expect("it is waited for");
            stage.turn_after(sleep as u64);
        }
        assert_eq!(verdicts(&stage), [expected]);
    }
}

/// The verdicts on connections that are over.
fn verdicts(stage: &Stage) -> Vec<String> {
    stage.counters().verdicts.iter().map(|(verdict, _)| verdict.to_string()).collect()
}

#[test]
fn who_asks_on_without_reading_gains_no_time_by_it() {
    // Each answer began a new wait, so that one request before each timeout kept the connection for ever.
    let mut stage = Stage::new(limits());
    let client = stage.client();
    client.limit_room(100);
    client.acknowledge(0);
    stage.ask(&client, "/bytes/200");
    stage.turn();
    stage.turn_after(1);
    for _ in 0..7 {
        stage.ask(&client, "/bytes/1");
        stage.turn_after(1000);
        assert_eq!((stage.wait_of(&client), client.is_closed()), (WaitReason::SlowRead, false));
    }
    stage.turn_after(998);
    assert!(!client.is_closed());
    stage.turn_after(1);
    assert_eq!(stage.timeouts(), [("client-slow-read", 1)]);
}

#[test]
fn a_short_send_timeout_has_its_first_look_after_half_of_it() {
    let mut stage = Stage::new(Limits { send_timeout: ms(800), ..limits() });
    let client = deaf(&mut stage, Some(0));
    assert_eq!(looks(&mut stage, &client, |_| ()).0, [400, 100, 100, 100, 100]);
}

#[test]
fn where_the_kernel_does_not_tell_each_look_tries_to_write() {
    let mut stage = Stage::new(limits());
    let client = deaf(&mut stage, None);
    let (_, writes) = looks(&mut stage, &client, |_| ());
    // The drives that follow find no room either, and do not try again.
    assert_eq!((writes, stage.counters().syscalls.netlink), (9, 0));
}

#[test]
fn who_takes_something_is_cut_a_timeout_later() {
    let mut stage = Stage::new(limits());
    let client = deaf(&mut stage, Some(0));
    let mut left = 4;
    let (sleeps, _) = looks(&mut stage, &client, |client| {
        // What the first look finds is no progress: it counts as taken at once.
        let n = u64::min(4 - left, 3) * 5000;
        client.acknowledge(n + 1);
        left = u64::saturating_sub(left, 1);
    });
    assert_eq!(sleeps.iter().sum::<u128>(), 3500 + 8000);
}

#[test]
fn after_a_lull_that_ended_the_next_may_last_twice_as_long() {
    // A kernel that acknowledges in lumps made a reader of 2 kB/s look like somebody who had stopped.
    for (lull_ms, more_ms, next_ms) in [(4500, 0, 8000), (5500, 0, 10_000), (7500, 0, 14_000), (7500, 1000, 14_000)] {
        let mut stage = Stage::new(limits());
        let client = deaf(&mut stage, Some(0));
        let mut at = 0;
        let (sleeps, _) = looks(&mut stage, &client, |client| {
            at += if at == 0 { 500 } else { 1000 };
            // One look or two find what ends the lull.
            if at >= lull_ms && at <= lull_ms + more_ms {
                client.acknowledge(at as u64);
            }
        });
        assert_eq!(sleeps.iter().sum::<u128>(), lull_ms + more_ms + next_ms);
    }
}

#[test]
fn a_lull_lasts_two_timeouts_at_most() {
    let mut stage = Stage::new(limits());
    let client = deaf(&mut stage, Some(0));
    let mut at = 0;
    let (sleeps, _) = looks(&mut stage, &client, |client| {
        at += if at == 0 { 500 } else { 1000 };
        // The second lull is of 13 s.
        match at {
            7500 => client.acknowledge(5000),
            20_500 => client.acknowledge(10_000),
            _ => {}
        }
    });
    assert_eq!(sleeps.iter().sum::<u128>(), 20_500 + 16_000);
}

#[test]
fn below_the_floor_rate_progress_does_not_help() {
    // What has been taken by the first look, after 500 ms, earns nothing: 107 * 7.5 > 8 * 100.
    for (bytes_a_second, is_cut) in [(106, true), (107, false)] {
        let mut stage = Stage::new(limits());
        let client = deaf(&mut stage, Some(0));
        let mut at = 0;
        while !client.is_closed() && at < 20_000 {
            let sleep = stage.sleeps().unwrap() as u64;
            at += sleep;
            client.acknowledge(at * bytes_a_second / 1000);
            stage.turn_after(sleep);
        }
        assert_eq!((client.is_closed(), at == 8000), (is_cut, is_cut), "{bytes_a_second} bytes a second, {at} ms");
    }
}

#[test]
fn what_our_kernel_has_taken_before_the_first_look_earns_no_time() {
    let mut stage = Stage::new(limits());
    let client = deaf(&mut stage, Some(0));
    stage.pass(100);
    stage.reactor().make_room(&client, 2000);
    stage.turn();
    let (sleeps, _) = looks(&mut stage, &client, |_| ());
    assert_eq!(sleeps.iter().sum::<u128>(), 8000 - 100);
}

#[test]
fn what_our_kernel_takes_is_progress_and_what_the_client_sends_is_not() {
    for (sends, lasts_ms) in [(false, 2000 + 8000), (true, 1500 + 8000)] {
        let mut stage = Stage::new(limits());
        let client = deaf(&mut stage, Some(0));
        stage.turn_after(500);
        client.acknowledge(5000);
        stage.turn_after(1000);
        stage.pass(500);
        match sends {
            true => stage.ask(&client, "/"),
            false => stage.reactor().make_room(&client, 100),
        }
        stage.turn();
        let (sleeps, _) = looks(&mut stage, &client, |_| ());
        assert_eq!(sleeps.iter().sum::<u128>(), lasts_ms - 2000);
    }
}

/// A client that was refused and has not ended its direction.
fn lingering(stage: &mut Stage) -> Client {
    let client = stage.client();
    stage.send(&client, "?\r\n\r\n");
    stage.turn();
    assert_eq!((client.statuses(), client.calls().shutdowns), (vec![400], 1));
    client
}

#[test]
fn a_client_that_says_nothing_more_is_listened_to_for_the_linger_timeout() {
    let mut stage = Stage::new(limits());
    let client = lingering(&mut stage);
    lasts(&mut stage, &client, WaitReason::Lingering, 500, is_closed);
    assert_eq!(stage.timeouts(), [("lingering", 1)]);
}

#[test]
fn a_client_that_goes_on_talking_is_listened_to_for_the_linger_total() {
    let mut stage = Stage::new(limits());
    let client = lingering(&mut stage);
    for _ in 0..4 {
        stage.send(&client, "more");
        stage.turn_after(400);
    }
    lasts(&mut stage, &client, WaitReason::Lingering, 100, is_closed);
}

#[test]
fn an_order_to_stop_leaves_idle_clients_a_grace_and_no_more() {
    for asks in [false, true] {
        let mut stage = Stage::new(limits());
        let client = stage.client();
        if asks {
            stage.ask(&client, "/");
        }
        stage.turn();
        stage.pass(200);
        stage.signal(Signal::Terminate);
        stage.turn();
        let reason = if asks { WaitReason::Idle } else { WaitReason::FirstByte };
        lasts(&mut stage, &client, reason, 70, is_closed);
        assert_eq!(stage.closes(), [0, 1, 0, 0, 0], "that is not the client's doing");
    }
}

#[test]
fn who_asks_within_the_grace_is_answered_for_the_last_time() {
    let mut stage = Stage::new(limits());
    let client = stage.client();
    stage.signal(Signal::Terminate);
    stage.turn();
    stage.pass(69);
    stage.ask(&client, "/");
    stage.turn();
    assert!(client.received().contains("\r\nConnection: close\r\n"));
    // What was armed for the grace.
    stage.turn_after(1);
    lasts(&mut stage, &client, WaitReason::Lingering, 499, is_closed);
}

#[test]
fn who_lingers_does_not_keep_a_server_from_ending() {
    let mut stage = Stage::new(limits());
    let client = lingering(&mut stage);
    stage.send(&client, "more");
    stage.turn_after(400);
    stage.signal(Signal::Terminate);
    stage.turn_after(10);
    stage.send(&client, "more");
    stage.turn_after(400);
    stage.turn_after(99);
    assert!(!client.is_closed());
    stage.turn_after(1);
    assert!(client.is_closed(), "500 ms after the order");
}

#[test]
fn an_exchange_is_asked_again_at_the_millisecond_it_named() {
    for (act, reason) in [
        (Act::Until(300), WaitReason::Timer),
        (Act::Job(400), WaitReason::Job),
        (Act::Idle(900), WaitReason::Conversation),
    ] {
        let mut stage = Stage::new(limits());
        stage.menu.plan(&[act, Act::Respond(0)]);
        let client = stage.asking("/acts");
        let asked = *stage.menu.asked.borrow();
        let time = match act {
            Act::Until(ms) | Act::Job(ms) | Act::Idle(ms) => ms,
            _ => unreachable!(),
        };
        lasts(&mut stage, &client, reason, time, |_, client| client.statuses() == [200]);
        assert_eq!(*stage.menu.asked.borrow(), asked + 1, "when its wait was over, and not before");
        assert_eq!(stage.closes(), [0; 5]);
    }
}

#[test]
fn the_drain_deadline_is_waited_for_to_the_millisecond() {
    let mut stage = Stage::with_roles(&[ListenerRole::Http, ListenerRole::Admin], limits());
    stage.menu.plan(&[Act::Until(60_000)]);
    let [client, admin] = [0, 1].map(|listener| stage.client_of(listener));
    stage.ask(&client, "/acts");
    stage.ask(&admin, "/acts");
    stage.turn();
    stage.signal(Signal::Terminate);
    stage.turn();
    stage.turn_after(4999);
    assert_eq!(stage.event_loop.outcome(), None);
    assert_eq!(stage.sleeps(), Some(1));
    stage.turn_after(1);
    assert_eq!(stage.event_loop.outcome(), Some(crate::event_loop::Outcome::Cut(1)), "the admin does not count");
    assert_eq!(stage.event_loop.sum_up().cut_at_end, 1);
    assert!(client.is_closed() && admin.is_closed());
    assert_eq!(client.received(), "", "nothing had begun");
}

#[test]
fn a_deadline_is_not_put_off_by_a_turn_that_took_long() {
    // The poll was to last as long as if it had begun with the turn before it.
    let mut stage = Stage::new(limits());
    let silent = stage.client();
    let client = stage.client();
    stage.ask(&client, "/slow/80");
    stage.turn();
    assert_eq!(stage.sleeps(), Some(1100 - 80));
    stage.turn_after(1100 - 80);
    assert_eq!(silent.calls().shutdowns, 1);
}
