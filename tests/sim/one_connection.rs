//! One connection with a client that may do anything, for fuzzing: nothing it does may make the server panic, spin,
//! or hold the connection for ever.
//!
//! The input: how many bytes of choices follow, the choices (limits, link, how the bytes are split), and then what the
//! client sends.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tidemill::base::job_pool::JobPool;
use tidemill::base::limits::Limits;
use tidemill::base::wake::Wakes;
use tidemill::event_loop::EventLoop;
use tidemill::service::lab;
use tidemill::service::router::Router;
use tidemill::service::websocket::Policy;

use crate::client::{Client, Step};
use crate::dice::Dice;
use crate::link::{Nature, ServerEnd};
use crate::reactor::{SharedWorld, SimReactor, SimWake};
use crate::timeline::Timeline;
use crate::world::{Faults, World, turn_bytes_max};

/// After so many bytes the client has seen enough of an answer that may be endless.
const ENOUGH_BYTES: u64 = 100_000;
/// After so long it has waited enough for one.
const ENOUGH_TIME: Duration = Duration::from_secs(600);
/// Turns a server can need for that.
const TURNS_MAX: u32 = 300_000;

/// Plays `input`; an error says what the server did wrong.
pub fn play(input: &[u8]) -> Result<(), String> {
    let Some((choices, sent)) = input.split_first().and_then(|(n, rest)| rest.split_at_checked(usize::from(*n))) else {
        return Ok(());
    };
    let mut dice = Dice::scripted(choices);
    let limits = limits(&mut dice);
    let client = Client::careless(script(&mut dice, sent));
    let mut world = world(&mut dice, &limits, 1);
    world.add(client, Nature::draw(&mut dice), Duration::ZERO);
    let world = Rc::new(RefCell::new(world));
    let mut event_loop = event_loop(&world, limits);
    turn_until_closed(&mut event_loop, &world)
}

/// A loop that serves the lab.
pub fn event_loop(world: &SharedWorld, limits: Limits) -> EventLoop<SimReactor, Router> {
    let wakes = Wakes::new(SimWake(Arc::clone(&world.borrow().woken)));
    EventLoop::new(
        SimReactor::new(Rc::clone(world)),
        lab::service(Policy::default()),
        limits,
        wakes,
        JobPool::without_threads(),
    )
}

/// Small limits.
pub fn limits(dice: &mut Dice) -> Limits {
    let inbox_bytes = dice.size(64, 2048);
    Limits {
        inbox_bytes,
        head_bytes_max: inbox_bytes,
        outbox_bytes: dice.size(512, 4096),
        gathered_bytes_max: dice.size(16, 4096),
        discarded_bytes_max: dice.size(16, 4096) as u64,
        drive_bytes_max: dice.size(16, 4096),
        drive_passes_max: dice.between(1, 8) as u32,
        ..Limits::default()
    }
}

/// A world without clients, with so many listeners for HTTP.
pub fn world(dice: &mut Dice, limits: &Limits, listeners: usize) -> World {
    let faults = Faults {
        spurious_events: dice.pick(&[0, 100]),
        events_max: 1024,
        connections_max: usize::MAX,
        turn_bytes_max: turn_bytes_max(limits),
        descriptors_max: usize::MAX,
        ..Faults::default()
    };
    World::new(dice.fork(), faults, listeners, Timeline::default())
}

/// The bytes in pieces, and one of the ways in which a client can leave, or not.
fn script(dice: &mut Dice, mut sent: &[u8]) -> Vec<Step> {
    let mut steps = Vec::new();
    if dice.chance(100) {
        steps.push(Step::StopReading);
    }
    while !sent.is_empty() {
        let (piece, rest) = sent.split_at(dice.size(1, 4096).min(sent.len()));
        steps.push(Step::Send(piece.to_vec()));
        steps.push(Step::Pause(dice.micros(0, 1000)));
        sent = rest;
    }
    match dice.below(4) {
        0 => steps.push(Step::Fin),
        1 => steps.push(Step::Reset),
        2 => steps.push(Step::Close),
        _ => {}
    }
    steps
}

/// Turns until the only connection is over.
pub fn turn_until_closed(event_loop: &mut EventLoop<SimReactor, Router>, world: &SharedWorld) -> Result<(), String> {
    for _ in 0..TURNS_MAX {
        event_loop.turn().map_err(|error| error.to_string())?;
        let mut world = world.borrow_mut();
        if let Some(failure) = world.failure.take() {
            return Err(failure);
        }
        if world.links[0].server == ServerEnd::Closed {
            return if event_loop.connections() == 0 { Ok(()) } else { Err("closed but not freed".to_owned()) };
        }
        if world.asleep_for_good {
            return Err("nothing will ever happen to this connection".to_owned());
        }
        let has_enough = world.links[0].down.arrived > ENOUGH_BYTES || world.now > ENOUGH_TIME;
        if has_enough && !world.links[0].client_closed {
            world.client_resets(0);
        }
    }
    Err("the connection does not end".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUESTS: [&str; 8] = [
        "GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        "POST /users HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{\"a\": 12}",
        "GET /stream/1000000000 HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /sheep?n=3&every=1s HTTP/1.0\r\n\r\n",
        "GET /error HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST /ndjson HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n[1]\n",
        "PUT /plaintext HTTP/1.1\r\nHost: a\r\nContent-Length: 99999\r\n\r\nabc",
    ];

    #[test]
    fn whatever_a_client_sends_its_connection_ends() {
        let mut dice = Dice::new(7);
        for round in 0..300 {
            let choices: Vec<u8> = (0..dice.between(0, 255)).map(|_| dice.below(256) as u8).collect();
            let mut input = vec![choices.len() as u8];
            input.extend_from_slice(&choices);
            for _ in 0..dice.between(0, 4) {
                input.extend_from_slice(dice.pick(&REQUESTS).as_bytes());
            }
            if dice.chance(500) {
                let at = dice.between(choices.len(), input.len() - 1);
                input[at] = dice.below(256) as u8;
            }
            assert_eq!(play(&input), Ok(()), "round {round}: {}", input.escape_ascii());
        }
    }
}
