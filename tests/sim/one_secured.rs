//! One connection to a listener of HTTPS, for fuzzing: a real client of TLS whose bytes are changed, cut and doubled, with
//! others before, between and behind them. Nothing it does may make the server panic, spin, or hold the connection for ever.
//!
//! The input: how many bytes of choices follow, the choices (limits, link), and then what the client does: a byte that says
//! what, and where bytes follow, a byte that says how many.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use tidemill::base::listener_role::ListenerRole;

use crate::dice::Dice;
use crate::link::{LinkId, Nature};
use crate::one_connection::{event_loop, limits, turn_until_closed, world};
use crate::secured::{self, ClientTls, Clients};
use crate::world::{Actor, World};

/// A ring for records, in bytes.
const RECORDS_BYTES: usize = 68 * 1024;

/// What a client does.
#[derive(Debug, Clone)]
enum Act {
    /// Sends content.
    Content(Vec<u8>),
    /// Sends bytes that are not its TLS's.
    Raw(Vec<u8>),
    /// Sends a record that is not encrypted, with this type.
    Record(u8, Vec<u8>),
    /// Changes what its TLS says next.
    Mangle(Mangle),
    /// Waits for something from the server.
    Wait,
    Pause(Duration),
    UpdateKeys,
    CloseNotify,
    Fin,
    Reset,
    StopReading,
}

/// What becomes of a flight.
#[derive(Debug, Clone, Copy)]
enum Mangle {
    /// A bit of the byte here is another.
    Flip(usize),
    /// It ends here.
    Cut(usize),
    /// It is said twice.
    Double,
    /// It goes out in records of one byte, as far as it is not encrypted.
    Crumble,
    /// It is not said.
    Swallow,
}

/// Plays `input`; an error says what the server did wrong.
pub fn play(input: &[u8]) -> Result<(), String> {
    let Some((choices, acts)) = input.split_first().and_then(|(n, rest)| rest.split_at_checked(usize::from(*n))) else {
        return Ok(());
    };
    let mut dice = Dice::scripted(choices);
    let mut limits = limits(&mut dice);
    limits.outbox_bytes = dice.pick(&[limits.outbox_bytes, RECORDS_BYTES]);
    let mut world = world(&mut dice, &limits, 0);
    world.allow_in_turn(3 * 4 * (RECORDS_BYTES + limits.outbox_bytes));
    world.listen(ListenerRole::Https);
    let client = Mangler::new(Clients::new().draw(&mut dice), acts);
    world.add_to(ListenerRole::Https, client, Nature::draw(&mut dice), Duration::ZERO);
    let world = Rc::new(RefCell::new(world));
    let mut event_loop = event_loop(&world, limits);
    event_loop.keep_tls(secured::server());
    turn_until_closed(&mut event_loop, &world)
}

/// The acts that `bytes` mean.
fn acts(mut bytes: &[u8]) -> VecDeque<Act> {
    let mut acts = VecDeque::new();
    while let Some((what, rest)) = bytes.split_first() {
        bytes = rest;
        let mut number = || {
            let (number, rest) = bytes.split_first().map_or((0, bytes), |(number, rest)| (*number, rest));
            bytes = rest;
            usize::from(number)
        };
        let act = match what % 16 {
            4 => Act::Mangle(Mangle::Flip(number())),
            5 => Act::Mangle(Mangle::Cut(number())),
            6 => Act::Mangle(Mangle::Double),
            7 => Act::Mangle(Mangle::Crumble),
            8 => Act::Mangle(Mangle::Swallow),
            9 => Act::Wait,
            10 => Act::Pause(Duration::from_millis(1 << (number() % 15))),
            11 => Act::UpdateKeys,
            12 => Act::CloseNotify,
            13 => Act::Fin,
            14 => Act::Reset,
            15 => Act::StopReading,
            what => {
                let (typ, count) = (number() as u8, number());
                let (piece, rest) = bytes.split_at(count.min(bytes.len()));
                bytes = rest;
                match what {
                    0 | 1 => Act::Content(piece.repeat(usize::from(typ.max(1)))),
                    2 => Act::Raw(piece.to_vec()),
                    _ => Act::Record(typ, piece.to_vec()),
                }
            }
        };
        acts.push_back(act);
    }
    acts
}

#[derive(Debug)]
struct Mangler {
    tls: ClientTls,
    acts: VecDeque<Act>,
    mangles: VecDeque<Mangle>,
    /// Its TLS understands the server no more.
    is_lost: bool,
    is_reading: bool,
    has_read: bool,
    paused_until: Option<Duration>,
    link: LinkId,
}

impl Mangler {
    fn new(tls: ClientTls, bytes: &[u8]) -> Mangler {
        Mangler {
            tls,
            acts: acts(bytes),
            mangles: VecDeque::new(),
            is_lost: false,
            is_reading: true,
            has_read: false,
            paused_until: None,
            link: 0,
        }
    }

    fn send(&mut self, world: &mut World, mut flight: Vec<u8>) {
        if flight.is_empty() {
            return;
        }
        match self.mangles.pop_front() {
            None => {}
            Some(Mangle::Flip(at)) => {
                let at = at % flight.len();
                flight[at] ^= 1 << (at % 8);
            }
            Some(Mangle::Cut(at)) => flight.truncate(at),
            Some(Mangle::Double) => flight.extend(flight.clone()),
            Some(Mangle::Crumble) => flight = crumble(&flight),
            Some(Mangle::Swallow) => flight.clear(),
        }
        world.client_sends(self.link, &flight);
    }

    fn read(&mut self, world: &mut World) {
        let bytes = world.client_reads(self.link);
        self.has_read |= !bytes.is_empty();
        if !self.is_lost {
            self.is_lost = self.tls.open(&bytes).is_err();
            let flight = self.tls.flight();
            self.send(world, flight);
        }
    }

    /// Does what is next; whether it goes on.
    fn step(&mut self, world: &mut World) -> bool {
        let can_seal = !self.is_lost && !self.tls.is_handshaking();
        let Some(act) = self.acts.front().cloned() else { return false };
        match act {
            Act::Wait if !self.has_read => return false,
            Act::Wait => self.has_read = false,
            Act::Pause(wait) if !world.has_paused(self.link, wait, &mut self.paused_until) => return false,
            Act::Content(content) if can_seal => {
                let sealed = self.tls.seal(&content);
                self.send(world, sealed);
            }
            Act::UpdateKeys if can_seal => {
                let sealed = self.tls.update_keys();
                self.send(world, sealed);
            }
            Act::CloseNotify if can_seal => {
                let sealed = self.tls.close();
                self.is_lost = true;
                self.send(world, sealed);
            }
            Act::Raw(bytes) => world.client_sends(self.link, &bytes),
            Act::Record(typ, bytes) => world.client_sends(self.link, &record(typ, &bytes)),
            Act::Mangle(mangle) => self.mangles.push_back(mangle),
            Act::Fin => {
                world.client_ends(self.link);
                self.acts.clear();
            }
            Act::Reset => {
                world.client_resets(self.link);
                self.acts.clear();
            }
            Act::StopReading => self.is_reading = false,
            Act::Pause(_) | Act::Content(_) | Act::UpdateKeys | Act::CloseNotify => {}
        }
        self.acts.pop_front();
        true
    }
}

fn record(typ: u8, payload: &[u8]) -> Vec<u8> {
    let [high, low] = (payload.len() as u16).to_be_bytes();
    [&[typ, 3, 3, high, low], payload].concat()
}

/// Each byte of the records in a record of its own.
fn crumble(mut flight: &[u8]) -> Vec<u8> {
    let mut crumbs = Vec::new();
    while let [typ, _, _, high, low, rest @ ..] = flight {
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(rest.len());
        crumbs.extend(rest[..length].iter().flat_map(|byte| record(*typ, &[*byte])));
        flight = &rest[length..];
    }
    crumbs
}

impl Actor for Mangler {
    fn kind(&self) -> &'static str {
        "mangler"
    }

    fn is_done(&self) -> bool {
        false
    }

    fn complaint(&self) -> String {
        "it has none".to_owned()
    }

    fn set_link(&mut self, link: LinkId) {
        self.link = link;
    }

    fn act(&mut self, world: &mut World) {
        let mut bounds = 10_000;
        // The first flight is the hello, which may come behind something else.
        while bounds > 0 && !world.links[self.link].client_closed && self.step(world) {
            bounds -= 1;
        }
        if !self.is_lost && !world.links[self.link].client_closed {
            let flight = self.tls.flight();
            self.send(world, flight);
        }
    }

    fn readable(&mut self, world: &mut World) {
        if self.is_reading {
            self.read(world);
        }
        self.act(world);
    }

    fn reset(&mut self, _world: &mut World) {
        self.acts.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTENT: [&[u8]; 5] = [
        b"GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n123456789",
        b"GET /stream/1000000000 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /bytes/200000 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 99999\r\n\r\nx",
    ];

    /// Acts that go far: the handshake is waited for, more often than not.
    pub fn input(dice: &mut Dice) -> Vec<u8> {
        let choices: Vec<u8> = (0..dice.between(0, 60)).map(|_| dice.below(256) as u8).collect();
        let mut input = vec![choices.len() as u8];
        input.extend(choices);
        if dice.chance(700) {
            input.extend([9, 10, 5]);
        }
        for _ in 0..dice.between(0, 12) {
            let what = dice.below(16) as u8;
            input.push(what);
            match what {
                0 | 1 => {
                    let content = dice.pick(&CONTENT);
                    input.extend([dice.pick(&[1, 1, 30]), content.len() as u8]);
                    input.extend(content);
                }
                2 | 3 => {
                    let n = dice.size(1, 64);
                    input.extend([dice.pick(&[20, 21, 22, 23, 24]), n as u8]);
                    input.extend((0..n).map(|_| dice.pick(&[0, 1, 2, 3, 22, 100, 255])));
                }
                4 | 5 | 10 => input.push(dice.below(256) as u8),
                _ => {}
            }
        }
        input
    }

    #[test]
    fn whatever_a_client_of_tls_does_its_connection_ends() {
        let mut dice = Dice::new(8);
        for round in 0..400 {
            let input = input(&mut dice);
            assert_eq!(play(&input), Ok(()), "round {round}: {}", input.escape_ascii());
        }
    }
}
