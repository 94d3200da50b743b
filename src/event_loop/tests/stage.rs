//! A loop that serves a [`Menu`] in a scripted world, with an access log, and what a test wants to know of it.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use super::Nobody;
use super::menu::Menu;
use super::script::{Client, Clock, ScriptedReactor};
use crate::base::job_pool::JobPool;
use crate::base::limits::Limits;
use crate::base::listener_role::ListenerRole;
use crate::base::wake::Wakes;
use crate::event_loop::{AccessLog, EventLoop, Lines};
use crate::net::{Event, Signal};
use crate::observe::access_log::{Format, Formatter};
use crate::observe::counters::Counters;
use crate::observe::wait_reason::WaitReason;

pub struct Stage {
    pub event_loop: EventLoop<ScriptedReactor, Menu>,
    pub menu: Menu,
    clock: Clock,
    lines: Rc<RefCell<Vec<u8>>>,
}

/// Keeps the lines of the access log for the test.
struct Kept {
    lines: Rc<RefCell<Vec<u8>>>,
    clock: Clock,
}

/// How long it takes to reopen the access log, in milliseconds.
pub const REOPENING: u64 = 30;

impl Lines for Kept {
    fn take(&mut self, lines: &mut Vec<u8>) {
        self.lines.borrow_mut().append(lines);
    }

    fn reopen(&mut self) {
        self.clock.pass(Duration::from_millis(REOPENING));
    }

    fn dropped(&self) -> u64 {
        0
    }
}

/// The role of the only listener, if there is but one.
const HTTP: [ListenerRole; 1] = [ListenerRole::Http];

impl Stage {
    pub fn new(limits: Limits) -> Stage {
        Stage::with_roles(&HTTP, limits)
    }

    pub fn with_roles(roles: &[ListenerRole], limits: Limits) -> Stage {
        Stage::with_jobs(roles, limits, JobPool::without_threads())
    }

    /// A stage whose jobs these threads run.
    pub fn with_jobs(roles: &[ListenerRole], limits: Limits, jobs: JobPool) -> Stage {
        let reactor = ScriptedReactor::new(roles);
        let (clock, lines) = (reactor.clock.clone(), Rc::default());
        let menu = Menu::new(clock.clone());
        let mut event_loop = EventLoop::new(reactor, menu.clone(), limits, Wakes::new(Nobody), jobs);
        let kept = Kept { lines: Rc::clone(&lines), clock: clock.clone() };
        let log = AccessLog::new(Formatter::new(Format::Json, false), Box::new(kept));
        event_loop.keep_access_log(Some(log));
        Stage { event_loop, menu, clock, lines }
    }

    pub fn reactor(&mut self) -> &mut ScriptedReactor {
        self.event_loop.reactor()
    }

    /// So many milliseconds pass.
    pub fn pass(&self, ms: u64) {
        self.clock.pass(Duration::from_millis(ms));
    }

    /// Turns once, and says how long the poll was to last at most.
    pub fn turn(&mut self) -> Option<Duration> {
        self.event_loop.turn().unwrap();
        *self.reactor().polls.last().unwrap()
    }

    /// So many milliseconds pass, and then the loop turns.
    pub fn turn_after(&mut self, ms: u64) {
        self.pass(ms);
        self.turn();
    }

    /// How long the next poll is to last at most, in milliseconds.
    pub fn sleeps(&mut self) -> Option<u128> {
        self.turn().map(|time| time.as_millis())
    }

    /// Turns until the loop has nothing to do at once.
    pub fn settle(&mut self) {
        for _ in 0..1000 {
            if self.turn() != Some(Duration::ZERO) && self.reactor().events.is_empty() {
                return;
            }
        }
        panic!("it never comes to rest");
    }

    /// A client that has been accepted by the first listener.
    pub fn client(&mut self) -> Client {
        self.client_of(0)
    }

    /// A client whose request to `/takes` has a head that takes 10 ms to come, and content that comes 20 ms later.
    pub fn client_of_late_post(&mut self) -> Client {
        let client = self.client();
        let request = post("/takes", 4);
        let (line, rest) = request.split_at(5);
        self.send(&client, line);
        self.turn();
        self.pass(10);
        self.send(&client, rest);
        self.turn();
        self.pass(20);
        self.send(&client, "abcd");
        self.turn();
        client
    }

    pub fn client_of(&mut self, listener: usize) -> Client {
        let client = self.reactor().connect(listener);
        self.turn();
        assert!(client.token().is_some(), "accepted");
        client
    }

    /// The client sends this, which the next turn finds.
    pub fn send(&mut self, client: &Client, text: &str) {
        self.reactor().send(client, text);
    }

    /// The client asks for `path`, which the next turn finds.
    pub fn ask(&mut self, client: &Client, path: &str) {
        self.send(client, &get(path));
    }

    /// A client that has asked for this, which a turn has found.
    pub fn asking(&mut self, path: &str) -> Client {
        let client = self.client();
        self.ask(&client, path);
        self.turn();
        client
    }

    pub fn signal(&mut self, signal: Signal) {
        self.reactor().events.push(Event::Signal(signal));
    }

    pub fn wait_of(&self, client: &Client) -> WaitReason {
        self.event_loop.connections.get(client.token().unwrap()).expect("it is open").wait_reason()
    }

    pub fn counters(&self) -> &Counters {
        &self.event_loop.context.counters
    }

    /// How many connections ended: the client first, the server first, broken, cut short, timed out.
    pub fn closes(&self) -> [u64; 5] {
        let counters = self.counters();
        [
            counters.closed_by_client,
            counters.closed_by_server,
            counters.broken,
            counters.cut_short,
            counters.timeouts.total(),
        ]
    }

    /// The waits that lasted too long.
    pub fn timeouts(&self) -> Vec<(&'static str, u64)> {
        self.counters().timeouts.some_by_name().collect()
    }

    /// The letters of the connections that are over, with how many there are of each if that is not one.
    pub fn verdicts(&self) -> String {
        let counted = self.counters().verdicts.iter().map(|(verdict, count)| match count {
            1 => verdict.to_string(),
            count => format!("{count}{verdict}"),
        });
        counted.collect::<Vec<_>>().join(" ")
    }

    pub fn drives(&self) -> u64 {
        self.event_loop.phases.drives.count()
    }

    /// These members of each line that the access log has got since the last call, with a space between them.
    pub fn log(&mut self, members: &str) -> Vec<String> {
        let lines = String::from_utf8(std::mem::take(&mut *self.lines.borrow_mut())).unwrap();
        let members = |line: &str| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            let texts = members.split(' ').map(|member| match &line[member] {
                serde_json::Value::String(text) => text.clone(),
                value => value.to_string(),
            });
            texts.collect::<Vec<_>>().join(" ")
        };
        lines.lines().map(members).collect()
    }
}

pub fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

/// A request with so many bytes of content to come.
pub fn post(path: &str, length: usize) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n")
}
