//! Listeners that come and go while the loop turns.

use super::stage::get;
use super::*;

fn scene(limits: Limits) -> Scene {
    Scene::with(&[ListenerRole::Http, ListenerRole::Admin], limits)
}

#[test]
fn who_comes_through_a_new_listener_is_served() {
    let mut scene = scene(Limits::default());
    let before = scene.client(0);
    let added = scene.event_loop.add_listener((), ListenerRole::Http).unwrap();
    assert_eq!(added, ListenerId::new(2));
    let roles = [ListenerRole::Http, ListenerRole::Admin, ListenerRole::Http];
    let expected: Vec<_> = (0..).map(ListenerId::new).zip(roles).collect();
    assert_eq!(scene.event_loop.listeners(), expected);
    assert_eq!(scene.event_loop.accept_queues.statuses().len(), 3);
    let client = scene.client(2);
    for client in [&before, &client] {
        scene.ask(client, "/");
        scene.turn();
        assert_eq!(client.statuses(), [200]);
    }
}

#[test]
fn a_service_is_told_which_listener_has_accepted() {
    let mut scene = scene(Limits::default());
    scene.event_loop.add_listener((), ListenerRole::Http).unwrap();
    for listener in [2, 0] {
        let client = scene.client(listener);
        scene.ask(&client, "/");
        scene.turn();
        assert_eq!(scene.gates.listener.get(), ListenerId::new(listener as u32));
    }
}

#[test]
fn who_waits_in_the_queue_of_a_listener_is_accepted_before_it_closes() {
    let mut scene = scene(Limits { accepts_per_turn: 4, ..Limits::default() });
    let before = scene.client(0);
    let waiting: Vec<_> = (0..10).map(|_| scene.reactor().connect(0)).collect();
    scene.event_loop.remove_listener(ListenerId::new(0));
    assert_eq!(scene.event_loop.listeners(), [(ListenerId::new(1), ListenerRole::Admin)]);
    for open in [&[0, 1][..], &[0, 1], &[1]] {
        scene.turn();
        assert_eq!(scene.reactor().open, open);
    }
    assert_eq!(scene.event_loop.connections(), 11);
    for client in waiting.iter().chain([&before]) {
        scene.ask(client, "/");
        scene.turn();
        assert_eq!(client.statuses(), [200]);
    }
    let statuses = scene.event_loop.accept_queues.statuses();
    assert_eq!(statuses.iter().map(|status| status.listener).collect::<Vec<_>>(), [ListenerId::new(1)]);
}

#[test]
fn a_listener_without_anybody_closes_in_the_next_turn() {
    let mut scene = scene(Limits::default());
    scene.turn();
    scene.event_loop.remove_listener(ListenerId::new(0));
    scene.event_loop.remove_listener(ListenerId::new(0));
    scene.event_loop.remove_listener(ListenerId::new(7));
    scene.turn();
    assert_eq!(scene.reactor().polls.last(), Some(&Some(Duration::ZERO)), "it does not sleep before");
    assert_eq!(scene.reactor().open, [1]);
    scene.turn();
    assert_eq!(scene.reactor().polls.last(), Some(&None));
    // An event that was on its way is about nobody.
    scene.reactor().events.push(Event::Listener(ListenerId::new(0)));
    scene.turn();
}

#[test]
fn who_waits_for_room_is_accepted_as_soon_as_there_is_some_though_not_later_than_a_drain_takes() {
    for leaves in [true, false] {
        let mut scene = scene(Limits { connections_max: 1, ..Limits::default() });
        let first = scene.client(0);
        let second = scene.reactor().connect(0);
        scene.event_loop.remove_listener(ListenerId::new(0));
        scene.turn();
        assert_eq!(scene.reactor().open, [0, 1], "there is no room");
        if leaves {
            scene.reactor().end(&first);
            scene.turn();
            scene.turn();
            scene.ask(&second, "/");
            scene.turn();
            assert_eq!(second.statuses(), [200]);
            scene.reactor().end(&second);
            scene.turn();
            scene.turn();
            assert_eq!(scene.reactor().open, [1], "the queue is seen to be empty when there is room");
        } else {
            scene.ask(&first, "/pass/a");
            scene.turn();
            scene.pass(Limits::default().drain_timeout);
            scene.turn();
            assert_eq!((scene.reactor().open.as_slice(), second.token()), (&[1][..], None));
        }
    }
}

#[test]
fn a_listener_that_is_for_something_else_keeps_its_queue() {
    let mut scene = scene(Limits::default());
    let waiting = scene.reactor().connect(0);
    scene.event_loop.set_listener_role(ListenerId::new(0), ListenerRole::TcpEcho);
    scene.turn();
    scene.reactor().send(&waiting, "as it is");
    scene.turn();
    assert_eq!(waiting.received(), "as it is");
    assert_eq!(scene.event_loop.listeners()[0], (ListenerId::new(0), ListenerRole::TcpEcho));
}

#[test]
fn a_server_that_stops_opens_nothing_for_everyone() {
    let mut scene = scene(Limits::default());
    let client = scene.client(0);
    scene.ask(&client, "/pass/a");
    scene.turn();
    scene.reactor().events.push(Event::Signal(Signal::Terminate));
    scene.turn();
    scene.event_loop.remove_listener(ListenerId::new(0));
    scene.event_loop.add_listener((), ListenerRole::Http).unwrap();
    let admin = scene.event_loop.add_listener((), ListenerRole::Admin).unwrap();
    scene.turn();
    assert_eq!((scene.reactor().open.as_slice(), admin), (&[1, 3][..], ListenerId::new(3)));
}

#[test]
fn a_thousand_listeners_that_come_and_go_leave_nothing_behind() {
    let mut scene = scene(Limits::default());
    for round in 0..1000 {
        let added = scene.event_loop.add_listener((), ListenerRole::Http).unwrap();
        let client = scene.reactor().connect(added.number() as usize);
        scene.event_loop.remove_listener(added);
        scene.turn();
        scene.reactor().send(&client, &get("/"));
        scene.turn();
        assert_eq!(client.statuses(), [200], "{round}");
        scene.reactor().end(&client);
        scene.turn();
        scene.turn();
    }
    assert_eq!((scene.event_loop.listeners().len(), scene.event_loop.accept_queues.statuses().len()), (2, 2));
    assert_eq!(scene.event_loop.connections(), 0);
    assert_eq!(scene.reactor().open, [0, 1]);
}
