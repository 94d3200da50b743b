//! Connections that wait to be accepted: how many were seen, when the kernel is asked, and what it has dropped.

use std::time::UNIX_EPOCH;

use super::*;
use crate::observe::accept_queue::QueueStatus;

/// A loop whose kernel tells of accept queues with room for one more than `backlog`.
fn scene(backlog: u32, limits: Limits) -> Scene {
    scene_with_drops(backlog, 0, limits)
}

/// The same if it has dropped something already.
fn scene_with_drops(backlog: u32, dropped: u32, limits: Limits) -> Scene {
    let mut reactor = ScriptedReactor::new(&[ListenerRole::Http, ListenerRole::Http]);
    reactor.backlog = Some((backlog, dropped));
    let (wakes, gates) = (Wakes::new(Nobody), Gates::default());
    let mut event_loop = EventLoop::new(reactor, gates.clone(), limits, wakes.clone(), JobPool::without_threads());
    assert_eq!(event_loop.reactor().questions.split_off(0), [0, 1], "each is asked at the beginning");
    Scene { event_loop, gates, wakes }
}

impl Scene {
    fn connect(&mut self, clients: usize) -> Vec<Client> {
        (0..clients).map(|_| self.reactor().connect(0)).collect()
    }

    fn queue(&self) -> QueueStatus {
        self.event_loop.accept_queues.statuses().remove(0)
    }

    fn most(&self) -> Option<u32> {
        Some(self.queue().high_water?.depth)
    }

    fn questions(&mut self) -> usize {
        self.reactor().questions.split_off(0).len()
    }

    /// How often the kernel is asked in a turn after so many milliseconds, and how many connections are known by then to
    /// have been dropped from the first queue.
    fn asks_after(&mut self, ms: u32) -> (usize, Option<u32>) {
        self.pass(ms * MS);
        self.turn();
        (self.questions(), self.queue().drops)
    }
}

#[test]
fn who_is_accepted_in_a_row_has_waited_and_the_kernel_need_not_be_asked() {
    let mut scene = scene(100, Limits::default());
    assert_eq!(scene.most(), None);
    let _one = scene.client(0);
    assert_eq!(scene.most(), Some(1));
    scene.pass(7 * MS);
    let _many = scene.connect(40);
    scene.turn();
    let most = scene.queue().high_water.unwrap();
    assert_eq!((most.depth, most.at, most.behind.is_none()), (40, UNIX_EPOCH + 7 * MS, true));
    let _fewer = scene.connect(39);
    scene.pass(MS);
    scene.turn();
    assert_eq!(scene.queue().high_water.unwrap().at, UNIX_EPOCH + 7 * MS, "the first time counts");
    assert_eq!(scene.questions(), 0);
    assert_eq!(scene.event_loop.accept_queues.statuses()[1].high_water.as_ref().map(|most| most.depth), None);
}

#[test]
fn requests_on_connections_that_are_kept_alive_ask_nothing() {
    let mut scene = scene(0, Limits::default());
    let client = scene.client(0);
    scene.questions();
    for _ in 0..100 {
        scene.ask(&client, "/");
        scene.pass(20 * MS);
        scene.turn();
        assert!(client.received().starts_with("HTTP/1.1 200"));
    }
    assert_eq!(scene.questions(), 0);
}

#[test]
fn who_is_left_in_the_queue_is_counted_by_the_kernel_now_and_then() {
    let mut scene = scene(1000, Limits { accepts_per_turn: 64, ..Limits::default() });
    let _clients = scene.connect(300);
    scene.turn();
    assert_eq!((scene.most(), scene.questions()), (Some(300), 1));
    scene.turn();
    scene.turn();
    assert_eq!(scene.questions(), 0, "not so soon");
    let _more = scene.connect(400);
    scene.pass(10 * MS);
    scene.turn();
    assert_eq!((scene.most(), scene.questions()), (Some(108 + 400), 1));
    assert_eq!(scene.event_loop.context.counters.syscalls.netlink, 2);
}

#[test]
fn a_load_of_new_connections_pays_no_hundredth_of_its_system_calls() {
    for (burst, backlog) in [(1, 0), (1, 4096), (2, 1), (16, 15), (64, 4096), (100, 4096), (5, 1)] {
        let mut scene = scene(backlog, Limits::default());
        for _ in 0..1000 {
            let clients = scene.connect(burst);
            scene.turn();
            clients.iter().for_each(|client| {
                if client.token().is_some() {
                    scene.event_loop.reactor().end(client);
                }
            });
            // What so many connections take at least.
            scene.pass(Duration::from_micros(300) * burst as u32);
            scene.turn();
        }
        let calls = scene.event_loop.context.counters.syscalls.by_kind();
        let all: u64 = calls.iter().map(|(_, calls)| calls).sum();
        let asked = scene.event_loop.context.counters.syscalls.netlink;
        assert!(100 * asked <= all, "{burst} at a time: {asked} of {all}");
    }
}

#[test]
fn what_the_kernel_dropped_is_found_when_the_queue_was_full() {
    let mut scene = scene(15, Limits::default());
    let _clients = scene.connect(15);
    scene.turn();
    scene.reactor().backlog = Some((15, 7));
    assert_eq!((scene.questions(), scene.queue().drops), (0, Some(0)), "it was not full");
    scene.pass(10 * MS);
    let _full = scene.connect(16);
    scene.turn();
    let queue = scene.queue();
    assert_eq!((queue.drops, queue.dropped_at, scene.questions()), (Some(7), Some(UNIX_EPOCH + 10 * MS), 1));
    assert_eq!(scene.most(), Some(16));
}

#[test]
fn what_was_dropped_before_the_loop_began_is_found_in_its_first_turn() {
    let mut scene = scene_with_drops(100, 5, Limits::default());
    assert_eq!(scene.queue().drops, Some(0));
    assert_eq!(scene.asks_after(0), (2, Some(5)));
    assert_eq!(scene.asks_after(100), (0, Some(5)));
}

#[test]
fn a_full_queue_that_may_not_be_asked_about_yet_is_asked_about_later() {
    let mut scene = scene(3, Limits::default());
    let _full = scene.connect(4);
    assert_eq!(scene.asks_after(0), (1, Some(0)));
    scene.reactor().backlog = Some((3, 2));
    let _again = scene.connect(4);
    assert_eq!(scene.asks_after(0), (0, Some(0)));
    assert_eq!(scene.asks_after(10), (1, Some(2)));
    assert_eq!(scene.asks_after(10), (0, Some(2)));
}

#[test]
fn the_drive_that_held_the_loop_is_named() {
    let mut scene = scene(2, Limits::default());
    let busy = scene.client(0);
    busy.slow_down_reads(80);
    scene.ask(&busy, "/held");
    scene.turn();
    let _clients = scene.connect(3);
    scene.reactor().backlog = Some((2, 1));
    scene.turn();
    let queue = scene.queue();
    let most = queue.high_water.unwrap();
    let behind = most.behind.unwrap();
    assert_eq!((most.depth, behind.connection, behind.request.as_str()), (3, 1, "GET /held"));
    assert!(behind.took >= 80 * MS);
    assert_eq!(queue.drops, Some(1));
}

#[test]
fn who_may_not_come_in_is_counted_when_the_kernel_tells_of_somebody() {
    let mut scene = scene(10, Limits { connections_max: 1, ..Limits::default() });
    let only = scene.client(0);
    scene.questions();
    let _waiting = scene.connect(5);
    scene.pass(10 * MS);
    scene.turn();
    assert_eq!((scene.most(), scene.questions()), (Some(5), 1));
    for _ in 0..10 {
        scene.pass(10 * MS);
        scene.ask(&only, "/");
        scene.turn();
    }
    assert_eq!(scene.questions(), 0, "nobody has come");
    scene.reactor().backlog = Some((10, 3));
    let _waits_too = scene.connect(1);
    scene.turn();
    assert_eq!((scene.most(), scene.queue().drops), (Some(6), Some(3)));
}

#[test]
fn as_long_as_somebody_waits_who_may_not_come_in_the_loop_wakes_to_look() {
    let mut scene = scene(10, Limits { connections_max: 1, ..Limits::default() });
    let only = scene.client(0);
    scene.pass(10 * MS);
    let _waiting = scene.connect(11);
    scene.turn();
    scene.questions();
    scene.reactor().backlog = Some((10, 3));
    assert_eq!(scene.turn(), Some(1000 * MS));
    assert_eq!(scene.asks_after(1000), (1, Some(3)));
    assert_eq!(scene.turn(), Some(1000 * MS));
    scene.reactor().forget_queue(0);
    scene.reactor().end(&only);
    scene.pass(1000 * MS);
    scene.turn();
    scene.pass(2000 * MS);
    scene.turn();
    scene.questions();
    assert_eq!(scene.asks_after(2000), (0, Some(3)), "nobody waits any more");
    assert_eq!(scene.event_loop.accept_queues.due(), None);
}

#[test]
fn two_queues_that_nobody_may_leave_do_not_have_each_other_asked_about_again() {
    let mut scene = scene(10, Limits { connections_max: 1, ..Limits::default() });
    let _only = scene.client(0);
    scene.pass(20 * MS);
    let _waiting = [0, 1, 0].map(|listener| {
        scene.pass(4 * MS);
        let client = scene.reactor().connect(listener);
        scene.turn();
        client
    });
    let mut questions_of = |turns| {
        for _ in 0..turns {
            scene.pass(5 * MS);
            scene.turn();
        }
        scene.questions()
    };
    assert!(questions_of(4) > 0);
    assert_eq!(questions_of(20), 0);
}

#[test]
fn while_descriptors_are_missing_the_kernel_counts() {
    let mut scene = scene(10, Limits::default());
    scene.reactor().fail_accept(0, emfile());
    let _waiting = scene.connect(5);
    scene.turn();
    assert_eq!((scene.most(), scene.questions()), (Some(5), 1));
}

#[test]
fn the_last_look_is_taken_before_listeners_are_closed() {
    let mut scene = scene(100, Limits::default());
    let _clients = scene.connect(3);
    scene.reactor().backlog = Some((100, 9));
    scene.reactor().events.push(Event::Signal(Signal::Terminate));
    scene.turn();
    assert_eq!((scene.questions(), scene.queue().drops, scene.most()), (2, Some(9), Some(3)));
    let queues = scene.event_loop.sum_up().queues;
    assert_eq!(queues[0].drops, Some(9));
}

#[test]
fn a_kernel_that_tells_nothing_leaves_what_was_accepted_in_a_row() {
    let mut scene = Scene::with(&[ListenerRole::Http], Limits { accepts_per_turn: 4, ..Limits::default() });
    let _clients = scene.connect(9);
    scene.turn();
    let queue = scene.queue();
    assert_eq!((scene.most(), queue.limit, queue.drops), (Some(4), None, None));
    assert_eq!(scene.event_loop.context.counters.syscalls.netlink, 0);
}
