//! Connections without requests: what they wait for, how they end when the server stops, and their name for those whom they
//! hold up.

use std::time::Duration;

use super::script::Client;
use super::stage::Stage;
use crate::base::limits::Limits;
use crate::base::listener_role::ListenerRole;
use crate::event_loop::Outcome;
use crate::net::Signal;
use crate::observe::wait_reason::WaitReason;

const ECHOES: [ListenerRole; 2] = [ListenerRole::TcpEcho, ListenerRole::LineEcho];
const GRACE_MS: u64 = 70;
const LINE: &str = "line\n";

fn limits() -> Limits {
    Limits { drain_idle_grace: Duration::from_millis(GRACE_MS), ..Limits::default() }
}

fn stage(role: ListenerRole) -> Stage {
    Stage::with_roles(&[role], limits())
}

/// What comes back for so many lines.
fn echoed(role: ListenerRole, lines: usize) -> String {
    let answer = if role == ListenerRole::LineEcho { format!("Echo: {LINE}") } else { LINE.to_owned() };
    answer.repeat(lines)
}

fn order_to_stop(stage: &mut Stage) {
    stage.signal(Signal::Terminate);
    stage.turn();
}

/// Whether the server has ended its direction, in this turn.
fn has_ended(client: &Client) -> bool {
    client.calls().shutdowns > 0
}

#[test]
fn a_client_that_goes_on_sending_gets_back_what_was_read_within_the_grace_and_then_the_end() {
    for role in ECHOES {
        for step in [1, 10] {
            let mut stage = stage(role);
            let client = stage.client();
            stage.send(&client, LINE);
            order_to_stop(&mut stage);
            let mut lines = 1;
            for _ in 0..GRACE_MS / step {
                assert!(!has_ended(&client), "{role:?}: after {lines} lines");
                stage.send(&client, LINE);
                stage.turn_after(step);
                lines += 1;
            }
            assert_eq!(client.received(), echoed(role, lines), "{role:?}");
            assert!(has_ended(&client), "{role:?}: it goes on");
            // What comes now is thrown away, so that no reset destroys what is on its way.
            stage.send(&client, LINE);
            stage.turn();
            assert_eq!((client.received().as_str(), client.is_closed()), ("", false));
            stage.reactor().end(&client);
            stage.turn();
            assert_eq!(stage.event_loop.outcome(), Some(Outcome::Clean));
        }
    }
}

#[test]
fn a_client_that_is_silent_is_closed_at_the_end_of_the_grace() {
    for role in ECHOES {
        for sent in ["", LINE, "line\nha"] {
            let mut stage = stage(role);
            let client = stage.client();
            stage.send(&client, sent);
            stage.turn_after(500);
            order_to_stop(&mut stage);
            assert_eq!((stage.wait_of(&client), stage.sleeps()), (WaitReason::Timer, Some(GRACE_MS.into())));
            stage.turn_after(GRACE_MS - 1);
            assert!(!client.is_closed(), "{role:?} {sent:?}: early");
            stage.turn_after(1);
            assert!(client.is_closed(), "{role:?} {sent:?}: late");
            assert_eq!((stage.closes(), stage.event_loop.outcome()), ([0, 1, 0, 0, 0], Some(Outcome::Clean)));
        }
    }
}

#[test]
fn a_client_that_does_not_read_gets_back_what_was_read_when_it_reads_again() {
    for role in ECHOES {
        let mut stage = stage(role);
        let client = stage.client();
        client.limit_room(0);
        stage.send(&client, &LINE.repeat(3));
        order_to_stop(&mut stage);
        stage.turn_after(GRACE_MS);
        assert!(!has_ended(&client), "{role:?}");
        stage.send(&client, &LINE.repeat(2));
        stage.reactor().make_room(&client, 1_000_000);
        stage.turn_after(100);
        assert_eq!(client.received(), echoed(role, 5), "{role:?}");
        assert!(has_ended(&client), "{role:?}");
    }
}

/// The rings are full, so the kernel holds the rest. Nothing of it may be lost, whether or not the client reads on within
/// the grace.
#[test]
fn what_had_arrived_comes_back_although_the_rings_had_no_room_for_it() {
    const LINES: usize = 1000;
    for role in ECHOES {
        for pause in [0, GRACE_MS - 1, GRACE_MS, 10 * GRACE_MS] {
            let (inbox, outbox) = (64, 1024);
            let limits = Limits { inbox_bytes: inbox, head_bytes_max: inbox, outbox_bytes: outbox, ..limits() };
            let mut stage = Stage::with_roles(&[role], limits);
            let client = stage.client();
            client.limit_room(0);
            stage.send(&client, &LINE.repeat(LINES));
            order_to_stop(&mut stage);
            stage.pass(pause);
            let mut turns = 0;
            while !has_ended(&client) && !client.is_closed() {
                stage.reactor().make_room(&client, 100);
                stage.turn_after(1);
                turns += 1;
                assert!(turns < 1000, "{role:?} {pause}: it goes on");
            }
            let asked = stage.counters().syscalls.unread;
            assert_eq!((client.received(), asked), (echoed(role, LINES), 1), "{role:?} {pause}");
        }
    }
}

/// A read stops short at urgent data and at passed descriptors, and no event tells of what is behind them.
#[test]
fn what_is_behind_a_read_that_stopped_short_comes_back_too() {
    for role in ECHOES {
        let mut stage = stage(role);
        let client = stage.client();
        stage.send(&client, LINE);
        order_to_stop(&mut stage);
        client.stop_reads_after(LINE.len() + 1);
        client.send_silently(&LINE.repeat(10));
        stage.turn_after(GRACE_MS);
        let mut turns = 0;
        while !has_ended(&client) {
            stage.turn();
            turns += 1;
            assert!(turns < 20, "{role:?}: it spins");
        }
        assert_eq!(client.received(), echoed(role, 11), "{role:?}");
    }
}

/// A client that reads and sends without a pause is ahead of the server, whose rings are always full. It must end all the
/// same.
#[test]
fn a_client_that_keeps_both_rings_full_is_not_echoed_for_ever() {
    for role in ECHOES {
        let (inbox, outbox) = (64, 1024);
        let limits = Limits { inbox_bytes: inbox, head_bytes_max: inbox, outbox_bytes: outbox, ..limits() };
        let mut stage = Stage::with_roles(&[role], limits);
        let client = stage.client();
        client.limit_room(0);
        stage.send(&client, &LINE.repeat(1000));
        order_to_stop(&mut stage);
        stage.pass(GRACE_MS);
        let mut turns = 0;
        while !has_ended(&client) {
            stage.send(&client, &LINE.repeat(1000));
            stage.reactor().make_room(&client, 1000);
            stage.turn();
            turns += 1;
            assert!(turns < 100, "{role:?}: it goes on");
        }
        // What was still unread when the server saw that the grace was over had arrived as well.
        let (received, arrived) = (client.received(), echoed(role, 2000));
        assert!(received.starts_with(&arrived), "{role:?}: {} of {} bytes", received.len(), arrived.len());
        assert!(received == echoed(role, 3000)[..received.len()], "{role:?}: {received}");
    }
}

#[test]
fn half_a_line_is_a_wait_of_its_own_which_a_trickle_does_not_make_longer() {
    let limits = Limits { keep_alive_timeout: Duration::from_millis(1500), ..limits() };
    let mut stage = Stage::with_roles(&[ListenerRole::LineEcho], limits);
    let client = stage.client();
    assert_eq!(stage.wait_of(&client), WaitReason::FirstByte);
    for (sent, wait) in [("ha", WaitReason::SlowLine), ("lf\n", WaitReason::Idle), ("a\nb", WaitReason::SlowLine)] {
        stage.send(&client, sent);
        stage.turn();
        assert_eq!(stage.wait_of(&client), wait, "after {sent:?}");
    }
    stage.turn_after(1499);
    stage.send(&client, "c");
    stage.turn();
    assert!(!client.is_closed());
    stage.turn_after(1);
    assert_eq!((client.is_closed(), stage.timeouts()), (true, vec![("client-slow-line", 1)]));
}

#[test]
fn a_long_drive_of_an_echo_is_named_by_its_protocol() {
    for (role, name) in [(ListenerRole::TcpEcho, "tcp-echo"), (ListenerRole::LineEcho, "line-echo")] {
        let mut stage = Stage::with_roles(&[role, ListenerRole::Http], limits());
        let [slow, next] = [0, 1].map(|listener| stage.client_of(listener));
        slow.slow_down_reads(80);
        stage.send(&slow, LINE);
        stage.ask(&next, "/");
        stage.turn();
        let behind = format!("{{\"connection\":1,\"ms\":80.0,\"request\":\"{name}\"}}");
        assert_eq!(stage.log("behind"), [behind]);
        let now = stage.event_loop.context.moment;
        let longest: Vec<_> =
            stage.event_loop.phases.longest_of_seconds(now).map(|drive| drive.request.clone()).collect();
        assert_eq!(longest, [name]);
    }
}

#[test]
fn a_client_that_says_quit_has_ended_a_conversation_and_too_long_a_line_is_refused() {
    let too_long = "x".repeat(9000);
    for (text, verdict) in [("a\nquit\n", "SWC"), (&too_long, "SXC"), ("a\n", "CFC")] {
        let mut stage = stage(ListenerRole::LineEcho);
        let client = stage.client();
        stage.send(&client, text);
        stage.turn();
        stage.reactor().end(&client);
        stage.turn();
        assert_eq!((client.is_closed(), stage.verdicts().as_str()), (true, verdict), "{text:.9}");
    }
}
