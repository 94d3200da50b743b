//! Kinds of clients of HTTP/2: good ones, hasty ones, ones that change their mind, ones that do not read, and broken ones.

use std::time::Duration;

use super::actor::{Http2Actor, Manner};
use super::ask::{self, Ask, Reading};
use super::offence::OFFENCES;
use super::{Habits, Http2, Last};
use crate::dice::Dice;
use crate::kinds::Draw;
use crate::link::Nature;

type Drawn = (Http2Actor, Nature);
type Kind = fn(&mut Draw<'_>) -> Drawn;

/// Every kind, with how often it is drawn.
const KINDS: [(u64, Kind); 11] = [
    (6, polite),
    (4, hasty),
    (3, byte_by_byte),
    (3, fickle),
    (3, talking),
    (2, |draw| idle(draw, ask::any)),
    (2, |draw| half_reading(draw, ask::any, as_it_is)),
    (2, |draw| stuck(draw, as_it_is)),
    (2, |draw| deaf(draw, as_it_is)),
    (3, |draw| vanishing(draw, ask::any)),
    (3, rude),
];

/// Draws a client of any kind.
pub fn any(draw: &mut Draw<'_>) -> Drawn {
    let mut at = draw.dice.below(KINDS.iter().map(|(weight, _)| weight).sum());
    for (weight, kind) in KINDS {
        if at < weight {
            return kind(draw);
        }
        at -= weight;
    }
    polite(draw)
}

/// Draws a client of which all requests can be answered by upstreams.
pub fn any_behind_proxy(draw: &mut Draw<'_>, is_wild: bool, silence_max: Duration) -> Drawn {
    let by_upstreams = |ask: Ask, dice: &mut Dice| ask::by_upstreams(ask, dice, is_wild, silence_max);
    let for_upstreams = |dice: &mut Dice| ask::for_upstreams(dice, is_wild, silence_max);
    match draw.dice.below(16) {
        0 | 1 => return vanishing(draw, for_upstreams),
        2 => return idle(draw, for_upstreams),
        // What comes of them depends on whether there is enough that they do not read.
        3 if !is_wild => return half_reading(draw, for_upstreams, by_upstreams),
        4 if !is_wild => return stuck(draw, by_upstreams),
        5 if !is_wild => return deaf(draw, by_upstreams),
        _ => {}
    }
    let (hurries, changes_its_mind) = (draw.dice.chance(300), draw.dice.chance(300));
    let habits = match hurries {
        true => Habits { streams_max: 100, waits_for_settings: true, ..Habits::draw("hasty HTTP/2", draw.dice) },
        false => Habits { streams_max: draw.dice.between(1, 4), ..Habits::draw("polite HTTP/2", draw.dice) },
    };
    let asks = asks(draw.dice, if hurries { 20 } else { 8 }, |dice| {
        let ask = ask::for_upstreams(dice, is_wild, silence_max);
        if changes_its_mind && dice.chance(500) { ask.giving_up(dice) } else { ask }
    });
    client(habits, asks, Manner::Good, draw)
}

fn as_it_is(ask: Ask, _: &mut Dice) -> Ask {
    ask
}

/// So many asks as `ask` draws.
fn asks(dice: &mut Dice, most: usize, mut ask: impl FnMut(&mut Dice) -> Ask) -> Vec<Ask> {
    (0..dice.size(1, most)).map(|_| ask(dice)).collect()
}

fn client(habits: Habits, asks: Vec<Ask>, manner: Manner, draw: &mut Draw<'_>) -> Drawn {
    let http2 = &draw.limits.http2;
    // Before it knows the limit, its streams could be refused.
    let waits_for_settings = habits.waits_for_settings || habits.streams_max > http2.streams_max as usize;
    let habits = Habits { stall_timeout: http2.stall_timeout, waits_for_settings, ..habits };
    (Http2Actor::new(Http2::new(habits, asks, draw.dice.fork()), manner), Nature::draw(draw.dice))
}

/// A few streams at a time.
fn polite(draw: &mut Draw<'_>) -> Drawn {
    let habits = Habits { streams_max: draw.dice.between(1, 4), ..Habits::draw("polite HTTP/2", draw.dice) };
    let asks = asks(draw.dice, 12, ask::any);
    client(habits, asks, Manner::Good, draw)
}

/// Everything at once, as many streams as the server allows.
fn hasty(draw: &mut Draw<'_>) -> Drawn {
    let habits = Habits { streams_max: 100, waits_for_settings: true, ..Habits::draw("hasty HTTP/2", draw.dice) };
    let asks = asks(draw.dice, 60, |dice| Ask { after: Duration::ZERO, ..ask::any(dice) });
    client(habits, asks, Manner::Good, draw)
}

/// Every byte is a segment of its own.
fn byte_by_byte(draw: &mut Draw<'_>) -> Drawn {
    let habits = Habits::draw("byte-by-byte HTTP/2", draw.dice);
    let asks = asks(draw.dice, 6, ask::small);
    let (actor, mut nature) = client(habits, asks, Manner::Good, draw);
    nature.up.segment = (1, 1);
    nature.up.delay.1 = nature.up.delay.0 + draw.dice.below(500);
    (actor, nature)
}

/// Resets some of its streams.
fn fickle(draw: &mut Draw<'_>) -> Drawn {
    let habits = Habits::draw("fickle HTTP/2", draw.dice);
    let asks = asks(draw.dice, 40, |dice| match dice.chance(500) {
        true => ask::any(dice).giving_up(dice),
        false => ask::any(dice),
    });
    client(habits, asks, Manner::Good, draw)
}

/// WebSockets beside other streams.
fn talking(draw: &mut Draw<'_>) -> Drawn {
    let habits = Habits::draw("talking HTTP/2", draw.dice);
    let asks = asks(draw.dice, 8, |dice| if dice.chance(600) { ask::talking(dice) } else { ask::any(dice) });
    client(habits, asks, Manner::Good, draw)
}

/// Keeps its connection when it has everything.
fn idle(draw: &mut Draw<'_>, any: impl FnMut(&mut Dice) -> Ask) -> Drawn {
    let habits = Habits { last: Last::Wait, ..Habits::draw("idle HTTP/2", draw.dice) };
    let asks = asks(draw.dice, 5, any);
    let (actor, mut nature) = client(habits, asks, Manner::Good, draw);
    nature.stalls = 0;
    (actor, nature)
}

/// Some of its windows never open.
fn half_reading(draw: &mut Draw<'_>, any: impl Fn(&mut Dice) -> Ask, made: impl Fn(Ask, &mut Dice) -> Ask) -> Drawn {
    let habits = Habits { later_windows: Vec::new(), ..Habits::draw("half-reading HTTP/2", draw.dice) };
    let window = habits.window;
    let asks = asks(draw.dice, 12, |dice| match dice.chance(300) {
        true => made(ask::never_read(dice, window), dice),
        false => any(dice),
    });
    client(habits, asks, Manner::Good, draw)
}

/// The window of its connection never opens.
fn stuck(draw: &mut Draw<'_>, made: impl Fn(Ask, &mut Dice) -> Ask) -> Drawn {
    let habits = Habits { reading: Reading::Never, ..Habits::draw("stuck HTTP/2", draw.dice) };
    let asks = (0..draw.dice.between(1, 6)).map(|_| made(ask::never_read(draw.dice, 65_535), draw.dice)).collect();
    client(habits, asks, Manner::Good, draw)
}

/// Stops reading frames.
fn deaf(draw: &mut Draw<'_>, made: impl Fn(Ask, &mut Dice) -> Ask) -> Drawn {
    let habits = Habits { reading: Reading::Ahead(1 << 30), ..Habits::draw("deaf HTTP/2", draw.dice) };
    let asks = (0..draw.dice.between(2, 6)).map(|_| made(ask::large(draw.dice), draw.dice)).collect();
    let manner = draw.dice.pick(&[Manner::Deaf, Manner::DeafFromTheBeginning]);
    let (actor, mut nature) =
        client(Habits { window: 1 << 30, later_windows: Vec::new(), ..habits }, asks, manner, draw);
    nature.down.window = nature.down.window.min(16 * 1024);
    (actor, nature)
}

/// Disappears at any moment.
fn vanishing(draw: &mut Draw<'_>, any: impl FnMut(&mut Dice) -> Ask) -> Drawn {
    let habits = Habits::draw("vanishing HTTP/2", draw.dice);
    let asks = asks(draw.dice, 20, any);
    let at = Duration::from_micros(draw.dice.size(1, 400_000) as u64);
    let manner = draw.dice.pick(&[Manner::Resets(at), Manner::Vanishes(at)]);
    client(habits, asks, manner, draw)
}

/// Breaks a rule.
fn rude(draw: &mut Draw<'_>) -> Drawn {
    let habits = Habits { last: Last::Break(draw.dice.pick(&OFFENCES)), ..Habits::draw("rude HTTP/2", draw.dice) };
    let asks = if draw.dice.chance(300) { Vec::new() } else { asks(draw.dice, 10, ask::any) };
    client(habits, asks, Manner::Good, draw)
}
