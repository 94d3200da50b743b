//! The loop turn by turn, in a world where nothing happens but what the test says.

mod accept_queues;
mod budget;
mod closing;
mod content;
mod deadlines;
mod echo;
mod http2;
mod http2_deadlines;
mod kernel;
mod listeners;
mod menu;
mod past;
mod races;
mod records;
mod replaced;
mod script;
mod stage;
mod telling;
#[cfg(feature = "_tls")]
mod tls;
#[cfg(feature = "_tls")]
mod tls_clients;
mod told;
mod upstreams;
mod verdicts;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use rustix::io::Errno;

use super::*;
use crate::base::listener_id::ListenerId;
use crate::base::wake::{Interrupt, LocalWaker};
use crate::http::body::{Body, Failure, Wait};
use crate::http::exchange::{Cx, Decision, Exchange, Reply};
use crate::http::message::{RequestHead, Response};
use crate::http::status::Status;
use crate::net::{Interest, Signal};
use script::{Client, ScriptedReactor};

const MS: Duration = Duration::from_millis(1);
const BACKOFF: Duration = Duration::from_millis(100);
/// How long an exchange waits that nobody wakes.
const PATIENCE: Duration = Duration::from_secs(3);

/// A loop, and the script of its world.
struct Scene {
    event_loop: EventLoop<ScriptedReactor, Gates>,
    gates: Gates,
    wakes: Wakes,
}

impl Scene {
    fn new(roles: &[ListenerRole]) -> Scene {
        Scene::with(roles, Limits::default())
    }

    fn with(roles: &[ListenerRole], limits: Limits) -> Scene {
        let limits = Limits { accept_backoff: BACKOFF, ..limits };
        let (wakes, gates) = (Wakes::new(Nobody), Gates::default());
        let reactor = ScriptedReactor::new(roles);
        let event_loop = EventLoop::new(reactor, gates.clone(), limits, wakes.clone(), JobPool::without_threads());
        Scene { event_loop, gates, wakes }
    }

    fn reactor(&mut self) -> &mut ScriptedReactor {
        self.event_loop.reactor()
    }

    fn pass(&mut self, time: Duration) {
        self.reactor().clock.pass(time);
    }

    /// Turns once, and says how long the poll was to last at most.
    fn turn(&mut self) -> Option<Duration> {
        self.event_loop.turn().unwrap();
        *self.reactor().polls.last().unwrap()
    }

    /// Turns once, and says what the client got in that turn.
    fn turn_for(&mut self, client: &Client) -> String {
        client.received();
        self.turn();
        client.received()
    }

    /// A client that has been accepted.
    fn client(&mut self, listener: usize) -> Client {
        let client = self.reactor().connect(listener);
        self.turn();
        assert!(client.token().is_some(), "accepted");
        client
    }

    /// The client asks for `path`, which the next turn finds.
    fn ask(&mut self, client: &Client, path: &str) {
        self.reactor().send(client, &format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
    }

    /// A client whose request waits at this gate.
    fn waiting(&mut self, path: &str) -> Client {
        let client = self.client(0);
        self.ask(&client, path);
        assert_eq!(self.turn_for(&client), "");
        client
    }
}

struct Nobody;

impl Interrupt for Nobody {
    fn wake(&self) {}
}

/// `/open/a` opens the gate `a` and wakes those who wait there; `/pass/a` waits at it and is answered when it opens;
/// `/pass/a/b` then opens `b` as well. `/restless` wakes itself whenever it is asked. `/much/a` is a response that takes
/// many drives, and can be woken at `a`. Everything else is answered at once.
#[derive(Clone, Default)]
struct Gates {
    waiting: Rc<RefCell<HashMap<String, Vec<LocalWaker>>>>,
    open: Rc<RefCell<Vec<String>>>,
    /// How often a restless exchange was asked.
    asked: Rc<Cell<u32>>,
    /// Through which listener the last request came.
    listener: Rc<Cell<ListenerId>>,
}

const MUCH: usize = 100_000;

impl Gates {
    fn open(&self, gate: &str) {
        self.open.borrow_mut().push(gate.to_owned());
        self.waiting.borrow_mut().remove(gate).iter().flatten().for_each(LocalWaker::wake);
    }

    fn wait(&self, gate: &str, cx: &Cx<'_>) {
        self.waiting.borrow_mut().entry(gate.to_owned()).or_default().push(cx.local_waker());
    }
}

impl Service for Gates {
    fn call(&mut self, request: &RequestHead<'_>, cx: &mut Cx<'_>) -> Result<Reply, Failure> {
        self.listener.set(cx.listener);
        let path = std::str::from_utf8(request.target.path).unwrap();
        let words: Vec<&str> = path.split('/').skip(1).collect();
        match words[..] {
            ["open", gate] => self.open(gate),
            ["pass", gate, ref next @ ..] => {
                self.wait(gate, cx);
                let next = next.first().map(|next| (*next).to_owned());
                return Ok(Reply::Decide(Box::new(Pass { gates: self.clone(), gate: gate.to_owned(), next })));
            }
            ["restless"] => return Ok(Reply::Decide(Box::new(Restless(self.clone())))),
            ["much", gate] => {
                self.wait(gate, cx);
                return Ok(Reply::Respond(Response {
                    body: Body::from(vec![b'x'; MUCH]),
                    ..Response::new(Status::OK)
                }));
            }
            _ => {}
        }
        Ok(Reply::Respond(Response::new(Status::OK)))
    }
}

struct Pass {
    gates: Gates,
    gate: String,
    next: Option<String>,
}

impl Exchange for Pass {
    fn respond(self: Box<Self>, cx: &mut Cx<'_>) -> Result<Decision, Failure> {
        if !self.gates.open.borrow().contains(&self.gate) {
            return Ok(Decision::Pending(self, Wait::Until(cx.now + PATIENCE)));
        }
        self.next.iter().for_each(|next| self.gates.open(next));
        Ok(Decision::Respond(Response::new(Status::OK)))
    }
}

struct Restless(Gates);

impl Exchange for Restless {
    fn respond(self: Box<Self>, cx: &mut Cx<'_>) -> Result<Decision, Failure> {
        self.0.asked.update(|asked| asked + 1);
        cx.local_waker().wake();
        Ok(Decision::Pending(self, Wait::Until(cx.now + PATIENCE)))
    }
}

fn emfile() -> io::Error {
    io::Error::from_raw_os_error(Errno::MFILE.raw_os_error())
}

#[test]
fn what_one_connection_has_for_another_leaves_in_the_same_turn() {
    let mut scene = Scene::new(&[ListenerRole::Http]);
    let waits = scene.waiting("/pass/a");
    let opens = scene.client(0);
    scene.ask(&opens, "/open/a");
    assert!(scene.turn_for(&waits).starts_with("HTTP/1.1 200 OK\r\n"));
    assert!(opens.received().starts_with("HTTP/1.1 200 OK\r\n"));
    assert_ne!(scene.turn(), Some(Duration::ZERO), "nobody is left to be driven");
}

#[test]
fn who_is_woken_in_the_second_pass_is_driven_in_the_next_turn_which_does_not_sleep() {
    let mut scene = Scene::new(&[ListenerRole::Http]);
    let first = scene.waiting("/pass/a/b");
    let second = scene.waiting("/pass/b");
    let opens = scene.client(0);
    scene.ask(&opens, "/open/a");
    assert_eq!(scene.turn_for(&second), "");
    assert!(first.received().starts_with("HTTP/1.1 200 OK\r\n"));
    assert_eq!(scene.turn(), Some(Duration::ZERO));
    assert!(second.received().starts_with("HTTP/1.1 200 OK\r\n"));
}

#[test]
fn who_is_woken_between_two_turns_is_driven_in_the_next_one_which_does_not_sleep() {
    let mut scene = Scene::new(&[ListenerRole::Http]);
    let waits = scene.waiting("/pass/a");
    scene.gates.open("a");
    assert_eq!(scene.turn(), Some(Duration::ZERO));
    assert!(waits.received().starts_with("HTTP/1.1 200 OK\r\n"));
}

#[test]
fn who_always_wakes_itself_is_driven_twice_a_turn_and_no_more() {
    let mut scene = Scene::new(&[ListenerRole::Http]);
    let restless = scene.client(0);
    scene.ask(&restless, "/restless");
    scene.turn();
    for _ in 0..10 {
        let before = scene.gates.asked.get();
        assert_eq!(scene.turn(), Some(Duration::ZERO));
        assert_eq!(scene.gates.asked.get() - before, 2);
    }
}

#[test]
fn who_has_spent_its_budget_is_not_driven_again_because_it_was_woken() {
    let limits = Limits { drive_bytes_max: 2000, outbox_bytes: 1024, ..Limits::default() };
    let mut scene = Scene::with(&[ListenerRole::Http], limits);
    let much = scene.client(0);
    scene.ask(&much, "/much/a");
    scene.turn();
    let alone = scene.turn_for(&much).len();
    assert!(alone > 0);
    let opens = scene.client(0);
    scene.ask(&opens, "/open/a");
    assert_eq!(scene.turn_for(&much).len(), alone);
    assert!(opens.received().starts_with("HTTP/1.1 200 OK\r\n"));
    assert_eq!(scene.turn_for(&much).len(), alone, "it is still in the queue");
}

#[test]
fn a_wake_for_a_connection_that_has_gone_reaches_nobody() {
    let mut scene = Scene::new(&[ListenerRole::Http]);
    let gone = scene.client(0);
    let token = gone.token().unwrap();
    scene.reactor().end(&gone);
    scene.turn();
    assert!(gone.is_closed());
    let next = scene.waiting("/pass/a");
    assert_eq!(next.token().unwrap().index, token.index, "the slot is used again");
    let key = WakeKey { token, stream: 0 };
    scene.wakes.local_waker(key).wake();
    scene.wakes.waker(key).wake();
    scene.reactor().events.push(Event::Wake);
    let drives = scene.event_loop.phases.drives.count();
    scene.turn();
    assert_eq!(scene.event_loop.phases.drives.count(), drives);
    assert_eq!(next.received(), "");
}

#[test]
fn a_wake_from_another_thread_is_an_event() {
    let mut scene = Scene::new(&[ListenerRole::Http]);
    let waits = scene.waiting("/pass/a");
    scene.gates.open.borrow_mut().push("a".to_owned());
    scene.wakes.waker(WakeKey { token: waits.token().unwrap(), stream: 0 }).wake();
    scene.reactor().events.push(Event::Wake);
    assert!(scene.turn_for(&waits).starts_with("HTTP/1.1 200 OK\r\n"));
}

#[test]
fn a_batch_of_wakes_from_other_threads_costs_one_interrupt() {
    let mut scene = Scene::new(&[ListenerRole::Http]);
    for client in ["/pass/a", "/pass/b"].map(|path| scene.waiting(path)) {
        scene.wakes.waker(WakeKey { token: client.token().unwrap(), stream: 0 }).wake();
    }
    let drives = scene.event_loop.phases.drives.count();
    scene.reactor().events.push(Event::Wake);
    scene.turn();
    assert_eq!(scene.event_loop.phases.drives.count() - drives, 2);
    // An interrupt may find that somebody else has collected the wakes.
    scene.reactor().events.push(Event::Wake);
    scene.turn();
    assert_eq!(scene.event_loop.context.counters.syscalls.wake, 1);
}

#[test]
fn requests_on_a_connection_arm_it_once() {
    let mut scene = Scene::new(&[ListenerRole::Http]);
    let client = scene.client(0);
    for _ in 0..3 {
        scene.ask(&client, "/");
        assert!(scene.turn_for(&client).starts_with("HTTP/1.1 200 OK\r\n"));
    }
    assert_eq!(scene.reactor().arms, [(client.token().unwrap(), Interest::READ)]);
}

#[test]
fn an_admin_who_met_emfile_is_served_after_the_rest_although_nobody_else_may_come_in() {
    // The rest was timed only while there was room for everyone, so the admin waited for some other event.
    let limits = Limits { connections_max: 1, ..Limits::default() };
    let mut scene = Scene::with(&[ListenerRole::Http, ListenerRole::Admin], limits);
    scene.client(0);
    let waiting = scene.reactor().connect(0);
    scene.reactor().fail_accept(1, emfile());
    let admin = scene.reactor().connect(1);
    scene.turn();
    assert_eq!((scene.event_loop.connections(), &scene.reactor().accepts[..]), (1, &[1, 1][..]));
    assert_eq!(scene.turn(), Some(BACKOFF));
    assert_eq!(scene.reactor().accepts, [1, 1], "it rests");
    scene.pass(BACKOFF);
    scene.turn();
    assert_eq!((admin.token().is_some(), waiting.token().is_some()), (true, false));
    assert_eq!(scene.reactor().accepts, [1, 3], "the admin, and the end of its queue");
}

#[test]
fn admins_do_not_count_against_the_limit_of_everyone() {
    let roles = [ListenerRole::Http, ListenerRole::Admin, ListenerRole::TcpEcho, ListenerRole::LineEcho];
    let limits = Limits { connections_max: 3, ..Limits::default() };
    let mut scene = Scene::with(&roles, limits);
    let admins = [(); 5].map(|()| scene.client(1));
    let everyone = [0, 2, 3].map(|listener| scene.client(listener));
    let waiting = [0, 2, 3].map(|listener| scene.reactor().connect(listener));
    scene.turn();
    let entered = |clients: &[Client]| clients.iter().filter(|client| client.token().is_some()).count();
    assert_eq!((scene.event_loop.connections(), entered(&waiting)), (8, 0));
    // An admin who leaves makes room for no one else.
    scene.reactor().end(&admins[0]);
    scene.turn();
    scene.turn();
    assert_eq!((scene.event_loop.connections(), entered(&waiting)), (7, 0));
    scene.reactor().end(&everyone[1]);
    scene.turn();
    scene.turn();
    assert_eq!((scene.event_loop.connections(), entered(&waiting)), (7, 1));
    // Nor does an admin who comes take a place.
    scene.client(1);
    assert_eq!((scene.event_loop.connections(), entered(&waiting)), (8, 1));
}

#[test]
fn a_connection_that_is_freed_ends_the_rest() {
    let mut scene = Scene::new(&[ListenerRole::Http]);
    let leaves = scene.client(0);
    scene.reactor().fail_accept(0, emfile());
    let waits = scene.reactor().connect(0);
    scene.turn();
    assert_eq!(scene.turn(), Some(BACKOFF));
    assert_eq!((scene.reactor().accepts[0], waits.token()), (3, None), "it rests");
    scene.pass(MS);
    scene.reactor().end(&leaves);
    assert_eq!(scene.turn(), Some(BACKOFF), "but for the event");
    assert!(leaves.is_closed());
    assert_eq!(scene.turn(), Some(Duration::ZERO), "there is a descriptor again");
    assert!(waits.token().is_some());
    assert_eq!((scene.reactor().accepts[0], scene.event_loop.connections()), (5, 1));
}

#[test]
fn told_to_stop_it_serves_who_is_queued_and_goes_on_for_the_admin() {
    let mut scene = Scene::new(&[ListenerRole::Http, ListenerRole::Admin, ListenerRole::TcpEcho]);
    let queued = [0, 2].map(|listener| scene.reactor().connect(listener));
    scene.reactor().events = vec![Event::Signal(Signal::Terminate)];
    scene.turn();
    assert!(queued.iter().all(|client| client.token().is_some()));
    assert_eq!(scene.reactor().open, [1]);
    assert_eq!(scene.event_loop.outcome(), None);
    let admin = scene.client(1);
    scene.ask(&admin, "/");
    assert!(scene.turn_for(&admin).starts_with("HTTP/1.1 200 OK\r\n"));
}

#[test]
fn who_waits_for_a_descriptor_when_the_order_to_stop_comes_is_served() {
    let mut scene = Scene::new(&[ListenerRole::Http]);
    scene.reactor().fail_accept(0, emfile());
    let waits = scene.reactor().connect(0);
    scene.turn();
    assert_eq!((scene.reactor().accepts[0], waits.token()), (1, None), "it rests");
    scene.reactor().events = vec![Event::Signal(Signal::Terminate)];
    scene.turn();
    assert!(waits.token().is_some());
    assert_eq!(scene.event_loop.sum_up().accept_pauses, 1);
}

#[test]
fn listeners_take_turns() {
    let limits = Limits { accepts_per_turn: 2, ..Limits::default() };
    let mut scene = Scene::with(&[ListenerRole::Http, ListenerRole::TcpEcho], limits);
    let clients = [0, 0, 1, 1].map(|listener| scene.reactor().connect(listener));
    scene.turn();
    assert_eq!(clients.each_ref().map(|client| client.token().is_some()), [true, false, true, false]);
    scene.turn();
    assert!(clients.iter().all(|client| client.token().is_some()));
}
