//! Where the time of requests went, as the access log tells, and as their clients and the wires know it: for random requests,
//! whose clients take their time in ways that are known.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tidemill::base::job_pool::JobPool;
use tidemill::base::limits::Limits;
use tidemill::base::wake::Wakes;
use tidemill::event_loop::EventLoop;
use tidemill::net::Reactor;

use crate::access_log::{LogAudit, are_parts_the_whole, link};
use crate::client::{Client, Ending, Step};
use crate::dice::Dice;
use crate::link::{Marks, Nature, Wire};
use crate::reactor::{SharedWorld, SimReactor, SimWake};
use crate::request;
use crate::scenario;
use crate::service::SimService;
use crate::timeline::Timeline;
use crate::tortured::Tortured;
use crate::world::{Faults, World};

const WORLDS: u64 = 25;
const CLIENTS: usize = 40;
/// Turns after which a world will not end any more.
const TURNS_MAX: u32 = 200_000;

/// How one client takes its time.
struct Taken {
    /// When it connects, and sends the first part of the head.
    began: Duration,
    /// Before the rest of the head.
    head: Duration,
    /// Before the content, if there is any.
    content: Duration,
    /// How long the handler waits for the clock, if that is known.
    clock: Option<Duration>,
}

#[test]
fn parts_of_1000_random_requests_are_the_whole_and_agree_with_their_clients() {
    assert_eq!((0..WORLDS).map(|seed| check(seed, |reactor| reactor)).sum::<usize>(), 1000);
}

#[test]
fn so_they_do_under_torture() {
    let tortured = |seed| check(seed, |reactor| Tortured::new(reactor, scenario::torture(seed)));
    assert_eq!((0..WORLDS).map(tortured).sum::<usize>(), 1000);
}

/// Runs one world. Returns how many requests were looked at.
fn check<R: Reactor>(seed: u64, kernel: impl FnOnce(SimReactor) -> R) -> usize {
    let mut dice = Dice::new(seed);
    let faults = Faults { events_max: 1024, descriptors_max: usize::MAX, ..Faults::default() };
    let faults = Faults { connections_max: usize::MAX, turn_bytes_max: usize::MAX, ..faults };
    let mut world = World::new(dice.fork(), faults, 1, Timeline::default());
    let taken: Vec<Taken> = (0..CLIENTS).map(|_| add_client(&mut world, &mut dice)).collect();
    let world = Rc::new(RefCell::new(world));
    let lines = run(&world, kernel);
    assert_eq!(lines.len(), CLIENTS, "seed {seed}");
    for line in &lines {
        let marks = world.borrow().links[link(line)].marks;
        check_line(line, &taken[link(line)], &marks).unwrap_or_else(|wrong| panic!("seed {seed}: {wrong}: {line}"));
    }
    lines.len()
}

fn run<R: Reactor>(world: &SharedWorld, kernel: impl FnOnce(SimReactor) -> R) -> Vec<Value> {
    let wakes = Wakes::new(SimWake(Arc::clone(&world.borrow().woken)));
    let reactor = kernel(SimReactor::new(Rc::clone(world)));
    let limits = Limits::default();
    let mut event_loop = EventLoop::new(reactor, SimService::default(), limits, wakes, JobPool::without_threads());
    let audit = LogAudit::default();
    event_loop.keep_access_log(Some(audit.log()));
    for _ in 0..TURNS_MAX {
        event_loop.turn().expect("a simulated poll does not fail");
        let world = world.borrow();
        assert_eq!(world.failure, None);
        if world.is_content() && event_loop.connections() == 0 {
            return audit.lines();
        }
    }
    panic!("the world does not end");
}

/// A client with one request, which may begin slowly, go on slowly, and read slowly.
fn add_client(world: &mut World, dice: &mut Dice) -> Taken {
    let mut pause = |most| if dice.chance(500) { Duration::ZERO } else { dice.micros(1, most) };
    let (began, head, content) = (pause(2_000_000), pause(300_000), pause(300_000));
    let asked = request::any(dice).build(dice);
    let clock = clock(&asked.head);
    let (line, rest) = asked.head.split_at(dice.between(1, asked.head.len() - 1));
    let has_content = !asked.content.is_empty();
    let mut script = vec![Step::Send(line.to_vec())];
    // Without a pause the head comes at once.
    match head.is_zero() {
        true => script[0] = Step::Send(asked.head.clone()),
        false => script.extend([Step::Pause(head), Step::Send(rest.to_vec())]),
    }
    if has_content {
        let pause = (!content.is_zero()).then_some(Step::Pause(content));
        script.extend(pause.into_iter().chain([Step::Send(asked.content)]));
    }
    let mut expected = asked.expected;
    expected.silence_max += Duration::from_secs(10);
    let wire = || Wire { segment: (1460, 1460), delay: (10, 10), fin_rides: true, window: 64 * 1024 };
    let nature = Nature {
        up: wire(),
        down: Wire { window: dice.size(512, 64 * 1024), ..wire() },
        send_buffer: dice.size(4096, 64 * 1024),
        short_writes: dice.pick(&[0, 300]),
        short_reads: dice.pick(&[0, 300]),
        stalls: dice.pick(&[0, 100]),
        stall: (1, 300),
    };
    world.add(Client::new("timed", script, vec![expected], Ending::Ours), nature, began);
    Taken { began, head, content: if has_content { content } else { Duration::ZERO }, clock }
}

/// How long the handler of this request waits for the clock.
fn clock(head: &[u8]) -> Option<Duration> {
    let path = String::from_utf8_lossy(head).split(' ').nth(1)?.to_owned();
    let ms = path.strip_prefix("/delay/")?.parse().ok()?;
    Some(Duration::from_millis(ms))
}

fn check_line(line: &Value, taken: &Taken, marks: &Marks) -> Result<(), String> {
    if !are_parts_the_whole(line) {
        return Err("the parts are not the whole".to_owned());
    }
    let part = |name: &str| line["timers_ms"][name].as_f64().unwrap_or(0.0);
    // What the client has had to wait for behind the last byte that the server's kernel took, no server can know.
    let all = ms(marks.answered.ok_or("no answer")? - taken.began);
    let behind = ms(marks.answered.unwrap_or_default().saturating_sub(marks.last_write.ok_or("no write")?));
    let whole = line["last_byte_ms"].as_f64().ok_or("no whole")?;
    agree("the client's clock", whole + behind, all)?;
    agree("the head", part("head"), ms(taken.head))?;
    agree("the content", part("content"), ms(taken.content))?;
    if let Some(clock) = taken.clock {
        // Deadlines count in whole milliseconds, and the simulated kernel adds up to 0.9 ms.
        agree("the clock", part("clock"), ms(clock) + 1.0)?;
    }
    Ok(())
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// Within a millisecond, or 5 %.
fn agree(what: &str, ours: f64, theirs: f64) -> Result<(), String> {
    let tolerance = (0.05 * theirs).max(1.0);
    match (ours - theirs).abs() <= tolerance {
        true => Ok(()),
        false => Err(format!("{what} says {theirs:.3} ms, and the log {ours:.3} ms")),
    }
}
