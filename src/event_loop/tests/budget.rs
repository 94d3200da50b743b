//! How much one drive may do, and whose turn it is then.

use std::time::Duration;

use super::menu::Act;
use super::script::Client;
use super::stage::Stage;
use crate::base::limits::Limits;
use crate::base::listener_role::ListenerRole;

/// An echo that reads 64 bytes at a time.
fn echo(drive_bytes_max: usize, drive_passes_max: u32) -> (Stage, Client) {
    let limits = Limits { inbox_bytes: 64, head_bytes_max: 64, drive_bytes_max, drive_passes_max, ..Limits::default() };
    let mut stage = Stage::with_roles(&[ListenerRole::TcpEcho], limits);
    let client = stage.client();
    stage.send(&client, &"x".repeat(64 * 100));
    (stage, client)
}

/// Reads and writes of the next turn, and how many bytes have come back.
fn one_turn(stage: &mut Stage, client: &Client) -> (usize, usize, usize) {
    client.calls();
    stage.turn();
    let calls = client.calls();
    (calls.reads, calls.writes, client.received().len())
}

#[test]
fn a_drive_makes_no_more_passes_than_it_may() {
    for passes in [1, 2, 5] {
        let (mut stage, client) = echo(1_000_000, passes as u32);
        for _ in 0..3 {
            assert_eq!(one_turn(&mut stage, &client), (passes, 1, 64 * passes));
        }
        assert_eq!(stage.drives(), 3);
    }
}

#[test]
fn a_drive_moves_no_more_bytes_than_it_may_and_what_it_has_begun() {
    for (bytes, passes) in [(64, 1), (65, 2), (128, 2), (129, 3), (192, 3), (193, 4)] {
        let (mut stage, client) = echo(bytes, 1000);
        for _ in 0..3 {
            assert_eq!(one_turn(&mut stage, &client), (passes, 1, 64 * passes), "{bytes} bytes");
        }
    }
}

#[test]
fn what_is_written_counts_against_the_budget_as_well() {
    // Each pass fills and empties an outbox of 1024 bytes.
    for (bytes, passes) in [(1024, 1), (1025, 2), (2048, 2), (2049, 3)] {
        let limits = Limits { outbox_bytes: 1024, drive_bytes_max: bytes, ..Limits::default() };
        let mut stage = Stage::new(limits);
        let client = stage.asking("/bytes/20000");
        client.received();
        for _ in 0..2 {
            assert_eq!(one_turn(&mut stage, &client), (0, passes, 1024 * passes), "{bytes} bytes");
        }
    }
}

#[test]
fn a_loop_with_somebody_in_its_queue_does_not_sleep_and_asks_nothing_of_the_kernel() {
    let (mut stage, client) = echo(64, 16);
    let arms = stage.reactor().arms.len();
    let mut turns = 0;
    stage.turn();
    while stage.turn() == Some(Duration::ZERO) {
        turns += 1;
    }
    // A hundred drives with something to read, and one that finds nothing.
    assert_eq!((turns, client.received().len()), (100, 6400));
    assert_eq!(stage.reactor().arms.len(), arms);
}

#[test]
fn each_has_its_share_in_turn_and_who_comes_goes_to_the_end() {
    let limits = Limits { outbox_bytes: 1024, drive_bytes_max: 1024, ..Limits::default() };
    let mut stage = Stage::new(limits);
    let [a, b, c] = [(); 3].map(|()| stage.client());
    let tokens = [&a, &b, &c].map(|client| client.token().unwrap());
    stage.ask(&b, "/bytes/100000");
    stage.ask(&a, "/bytes/100000");
    stage.turn();
    stage.ask(&c, "/bytes/100000");
    stage.turn();
    stage.turn();
    let written = std::mem::take(&mut *stage.reactor().written.borrow_mut());
    let order: Vec<_> = written.iter().map(|token| tokens.iter().position(|other| other == token).unwrap()).collect();
    // In the second turn, c is behind those that were in the queue already.
    assert_eq!(order, [1, 0, 1, 0, 2, 1, 0, 2]);
}

#[test]
fn who_is_woken_in_the_first_pass_comes_before_those_that_have_spent_their_budget() {
    let limits = Limits { outbox_bytes: 1024, drive_bytes_max: 1024, ..Limits::default() };
    let mut stage = Stage::new(limits);
    stage.menu.plan(&[Act::Until(1000), Act::Respond(0)]);
    let waits = stage.asking("/acts");
    let waker = stage.menu.waker.borrow().clone().unwrap();
    let [a, b] = [(); 2].map(|()| stage.client());
    stage.ask(&a, "/bytes/100000");
    stage.ask(&b, "/bytes/100000");
    stage.turn();
    stage.menu.plan(&[Act::Respond(0)]);
    let asked = stage.client();
    *stage.menu.wakes.borrow_mut() = Some(waker);
    stage.ask(&asked, "/wake");
    stage.reactor().written.borrow_mut().clear();
    let drives = stage.drives();
    stage.turn();
    assert_eq!(stage.drives() - drives, 4);
    let names = [("a", &a), ("b", &b), ("asked", &asked), ("waits", &waits)];
    let order = |stage: &mut Stage| -> Vec<&str> {
        let written = std::mem::take(&mut *stage.reactor().written.borrow_mut());
        let name = |token| names.iter().find(|(_, client)| client.token() == Some(token)).unwrap().0;
        written.into_iter().map(name).collect()
    };
    assert_eq!(order(&mut stage), ["a", "b", "asked", "waits"]);
    stage.turn();
    assert_eq!(order(&mut stage), ["a", "b"], "nobody has lost its place");
}

#[test]
fn a_wake_costs_one_drive_however_often_it_is_left() {
    let mut stage = Stage::new(Limits::default());
    stage.menu.plan(&[Act::Until(1000)]);
    stage.asking("/acts");
    let waker = stage.menu.waker.borrow().clone().unwrap();
    let drives = stage.drives();
    for _ in 0..5 {
        waker.wake();
        waker.wake_in_next_turn();
    }
    assert_eq!(stage.turn(), Some(Duration::ZERO));
    assert_eq!(stage.drives() - drives, 1);
    assert_ne!(stage.turn(), Some(Duration::ZERO));
    assert_eq!(stage.drives() - drives, 1);
}

#[test]
fn what_is_asked_of_the_kernel_stays_while_the_queue_moves_the_connection() {
    let (mut stage, client) = echo(1_000_000, 1);
    let arms = stage.reactor().arms.len();
    client.limit_room(0);
    assert_eq!(one_turn(&mut stage, &client), (1, 1, 0));
    stage.reactor().make_room(&client, 128);
    assert_eq!(one_turn(&mut stage, &client), (1, 1, 128));
    assert_eq!(stage.reactor().arms.len(), arms);
}

#[test]
fn an_ordinary_request_is_over_in_one_pass() {
    let mut stage = Stage::new(Limits { drive_passes_max: 1, ..Limits::default() });
    let client = stage.asking("/");
    assert_eq!((client.statuses(), stage.drives()), (vec![200], 1));
    assert_ne!(stage.turn(), Some(Duration::ZERO));
    assert_eq!(stage.drives(), 1);
}
