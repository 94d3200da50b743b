//! The model itself is tested here: edge-triggered epoll and TCP as they are on Linux.

use std::cell::RefCell;
use std::io::ErrorKind;
use std::rc::Rc;
use std::time::Duration;

use tidemill::base::listener_id::ListenerId;
use tidemill::base::slots::Token;
use tidemill::net::{Event, Interest, Io, Reactor, Readiness, Socket, is_out_of_descriptors};

use crate::client::{Client, Ending, Step};
use crate::dice::Dice;
use crate::link::Nature;
use crate::reactor::{SharedWorld, SimReactor, SimSocket};
use crate::timeline::Timeline;
use crate::world::{Faults, World};

const TOKEN: Token = Token { index: 3, generation: 5 };
const BOTH: Interest = Interest { read: true, write: true };
const WRITE: Interest = Interest { read: false, write: true };
const READABLE: Readiness = Readiness { readable: true, writable: false, hung_up: false, failed: false };

/// A world without surprises, with clients that do nothing by themselves: they do not even read.
fn world(natures: impl IntoIterator<Item = Nature>, faults: Faults) -> (SharedWorld, SimReactor) {
    let faults = Faults { events_max: 1024, ..faults };
    let mut world = World::new(Dice::new(1), faults, 1, Timeline::default());
    for nature in natures {
        world.add(Client::new("puppet", vec![Step::StopReading], Vec::new(), Ending::Anyhow), nature, Duration::ZERO);
    }
    let world = Rc::new(RefCell::new(world));
    let reactor = SimReactor::new(Rc::clone(&world));
    (world, reactor)
}

fn no_faults() -> Faults {
    Faults { connections_max: usize::MAX, turn_bytes_max: usize::MAX, descriptors_max: usize::MAX, ..Faults::default() }
}

/// One accepted connection, with READ armed.
fn accepted(nature: Nature) -> (SharedWorld, SimReactor, SimSocket) {
    let (world, mut reactor) = world([nature], no_faults());
    assert_eq!(poll(&mut reactor), [Event::Listener(ListenerId::new(0))]);
    let (mut socket, _) = reactor.accept(ListenerId::new(0)).expect("no faults").expect("somebody is there");
    reactor.arm(&mut socket, TOKEN, None, Interest::READ).expect("arming works");
    assert_eq!(poll(&mut reactor), []);
    (world, reactor, socket)
}

/// What has happened after enough time for everything that is on its way.
fn poll(reactor: &mut SimReactor) -> Vec<Event> {
    let mut events = Vec::new();
    reactor.poll(Some(Duration::from_secs(1)), &mut events).expect("polling works");
    events
}

fn told(readiness: Readiness) -> Vec<Event> {
    vec![Event::Connection(TOKEN, readiness)]
}

fn read(socket: &mut SimSocket, n: usize) -> Result<Io, ErrorKind> {
    socket.read([&mut vec![0; n], &mut []]).map_err(|error| error.kind())
}

fn write(socket: &mut SimSocket, n: usize) -> Result<Io, ErrorKind> {
    socket.write([&vec![b'x'; n], &[]], false).map_err(|error| error.kind())
}

#[test]
fn data_is_told_once_whether_it_is_read_or_not() {
    let (world, mut reactor, mut socket) = accepted(Nature::plain());
    world.borrow_mut().client_sends(0, b"abc");
    assert_eq!(poll(&mut reactor), told(READABLE));
    assert_eq!(poll(&mut reactor), [], "no new edge");
    world.borrow_mut().client_sends(0, b"de");
    assert_eq!(poll(&mut reactor), told(READABLE), "an edge although older data is unread");
    assert_eq!(read(&mut socket, 3), Ok(Io::Moved(3)));
    assert_eq!(read(&mut socket, 3), Ok(Io::Drained(2)));
    assert_eq!(read(&mut socket, 3), Ok(Io::WouldBlock));
}

#[test]
fn what_was_read_before_the_poll_is_not_told() {
    let (world, mut reactor, mut socket) = accepted(Nature::plain());
    world.borrow_mut().client_sends(0, b"abc");
    world.borrow_mut().run_out();
    assert_eq!(read(&mut socket, 9), Ok(Io::Drained(3)));
    assert_eq!(poll(&mut reactor), [], "epoll looks again when it is asked");
}

#[test]
fn several_changes_are_one_event_and_a_fin_comes_with_its_data() {
    let (world, mut reactor, mut socket) = accepted(Nature::plain());
    world.borrow_mut().client_sends(0, b"abc");
    world.borrow_mut().client_sends(0, b"def");
    world.borrow_mut().client_ends(0);
    world.borrow_mut().run_out();
    assert_eq!(poll(&mut reactor), told(Readiness { hung_up: true, ..READABLE }));
    assert_eq!(read(&mut socket, 9), Ok(Io::Drained(6)), "a short read, although an end follows");
    assert_eq!(read(&mut socket, 9), Ok(Io::Eof));
    assert_eq!(poll(&mut reactor), [], "nobody says it again");
}

#[test]
fn a_direction_that_is_not_armed_says_nothing_until_it_is() {
    let (world, mut reactor, mut socket) = accepted(Nature::plain());
    reactor.arm(&mut socket, TOKEN, Some(Interest::READ), Interest::NONE).expect("arming works");
    world.borrow_mut().client_sends(0, b"abc");
    assert_eq!(poll(&mut reactor), []);
    reactor.arm(&mut socket, TOKEN, Some(Interest::NONE), Interest::READ).expect("arming works");
    assert_eq!(poll(&mut reactor), told(READABLE), "arming looks at what is there");
    reactor.arm(&mut socket, TOKEN, Some(Interest::READ), BOTH).expect("arming works");
    assert_eq!(poll(&mut reactor), told(Readiness { writable: true, ..READABLE }), "in both directions");
}

#[test]
fn space_is_told_after_a_write_that_found_none() {
    let mut nature = Nature { send_buffer: 900, ..Nature::plain() };
    nature.down.window = 200;
    let (world, mut reactor, mut socket) = accepted(nature);
    reactor.arm(&mut socket, TOKEN, Some(Interest::READ), WRITE).expect("arming works");
    assert_eq!(poll(&mut reactor).len(), 1, "there is space");
    assert_eq!(write(&mut socket, 1000), Ok(Io::Moved(900)));
    assert_eq!(write(&mut socket, 100), Ok(Io::WouldBlock));
    assert_eq!(poll(&mut reactor), [], "200 of 900 bytes are free, and that is not worth telling");
    assert_eq!(world.borrow_mut().client_reads(0).len(), 200);
    assert_eq!(poll(&mut reactor), told(Readiness { writable: true, ..Readiness::default() }));
    assert_eq!(write(&mut socket, 1000), Ok(Io::Moved(400)));
}

#[test]
fn a_reset_is_news_for_whoever_is_armed_at_all() {
    let (world, mut reactor, mut socket) = accepted(Nature::plain());
    reactor.arm(&mut socket, TOKEN, Some(Interest::READ), WRITE).expect("arming works");
    assert_eq!(poll(&mut reactor).len(), 1, "there is space");
    world.borrow_mut().client_sends(0, b"abc");
    world.borrow_mut().client_resets(0);
    let all = Readiness { readable: true, writable: true, hung_up: true, failed: true };
    assert_eq!(poll(&mut reactor), told(all));
    assert_eq!(read(&mut socket, 9), Ok(Io::Drained(3)), "what arrived before can still be read");
    assert_eq!(read(&mut socket, 9), Err(ErrorKind::ConnectionReset));
    assert_eq!(read(&mut socket, 9), Ok(Io::Eof), "an error is told once");
    assert_eq!(write(&mut socket, 9), Err(ErrorKind::BrokenPipe));
}

#[test]
fn both_directions_ended_is_a_hang_up() {
    let (world, mut reactor, mut socket) = accepted(Nature::plain());
    reactor.arm(&mut socket, TOKEN, Some(Interest::READ), WRITE).expect("arming works");
    assert_eq!(poll(&mut reactor).len(), 1, "there is space");
    socket.shutdown_write().expect("the connection lives");
    world.borrow_mut().client_ends(0);
    assert_eq!(poll(&mut reactor), told(Readiness { readable: true, writable: true, hung_up: true, failed: false }));
}

#[test]
fn closing_in_order_delivers_everything() {
    let (world, _reactor, mut socket) = accepted(Nature::plain());
    assert_eq!(write(&mut socket, 50_000), Ok(Io::Moved(50_000)));
    drop(socket);
    world.borrow_mut().run_out();
    let world = world.borrow();
    assert_eq!((world.links[0].down.arrived, world.links[0].down.fin_received), (50_000, true));
}

#[test]
fn closing_with_unread_input_destroys_what_is_on_its_way() {
    let mut nature = Nature::plain();
    nature.down.window = 2000;
    let (world, _reactor, mut socket) = accepted(nature);
    assert_eq!(write(&mut socket, 50_000), Ok(Io::Moved(50_000)));
    world.borrow_mut().client_sends(0, b"more");
    world.borrow_mut().run_out();
    drop(socket);
    world.borrow_mut().run_out();
    let world = world.borrow();
    assert!(world.links[0].down.arrived <= 2000 && world.links[0].client_was_reset);
}

#[test]
fn input_after_the_close_destroys_what_is_on_its_way() {
    let mut nature = Nature::plain();
    nature.down.delay = (10_000, 10_000);
    nature.down.window = 2000;
    let (world, _reactor, mut socket) = accepted(nature);
    assert_eq!(write(&mut socket, 50_000), Ok(Io::Moved(50_000)));
    drop(socket);
    world.borrow_mut().client_sends(0, b"more");
    world.borrow_mut().run_out();
    let world = world.borrow();
    assert!(world.links[0].down.arrived <= 2000 && world.links[0].client_was_reset);
}

#[test]
fn a_listener_speaks_once_and_says_nothing_of_those_left_behind() {
    let natures = [Nature::plain(), Nature::plain(), Nature::plain()];
    let (_world, mut reactor) = world(natures, Faults { descriptors_max: 1, ..no_faults() });
    assert_eq!(poll(&mut reactor), [Event::Listener(ListenerId::new(0))]);
    let first = reactor.accept(ListenerId::new(0)).expect("one descriptor is left");
    assert!(first.is_some());
    let error = reactor.accept(ListenerId::new(0)).err().expect("there is no descriptor");
    assert!(is_out_of_descriptors(&error));
    drop(first);
    assert_eq!(poll(&mut reactor), [], "a free descriptor is nobody's event");
    assert!(reactor.accept(ListenerId::new(0)).expect("a descriptor is free").is_some(), "they still wait");
}

#[test]
fn closing_the_listeners_refuses_who_waits() {
    let (world, mut reactor) = world([Nature::plain()], no_faults());
    assert_eq!(poll(&mut reactor), [Event::Listener(ListenerId::new(0))]);
    reactor.close_listener(ListenerId::new(0));
    assert!(reactor.accept(ListenerId::new(0)).expect("no faults").is_none());
    world.borrow_mut().run_out();
    assert!(world.borrow().links[0].client_was_reset);
}

#[test]
fn the_clock_jumps_to_the_timeout_and_no_further() {
    let (_world, mut reactor) = world([], no_faults());
    let before = reactor.now();
    assert_eq!(poll(&mut reactor), []);
    let slept = reactor.now() - before;
    assert!(slept >= Duration::from_secs(1) && slept < Duration::from_millis(1002), "{slept:?}");
}

#[test]
fn sleeping_without_end_in_a_quiet_world_is_noticed() {
    let (world, mut reactor) = world([], no_faults());
    let mut events = Vec::new();
    reactor.poll(None, &mut events).expect("polling works");
    assert!(events.is_empty() && world.borrow().asleep_for_good);
}

#[test]
fn turning_without_moving_anything_is_noticed() {
    let (world, mut reactor) = world([], no_faults());
    for _ in 0..1000 {
        reactor.poll(Some(Duration::ZERO), &mut Vec::new()).expect("polling works");
    }
    assert!(world.borrow().failure.as_deref().is_some_and(|failure| failure.starts_with("spins")));
}
