//! A client that asks for another protocol, as a WebSocket does, and whom an upstream lets have it: what both say then, in
//! whatever order, must come to the other side byte for byte, and each direction ends by itself (RFC 9110 §7.8).

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use crate::answer::{Answer, Parser};
use crate::client::{PATIENCE, TOLERANCE, is_upstreams_error};
use crate::kinds::Draw;
use crate::link::{LinkId, Nature};
use crate::proxied::Proxied;
use crate::upstream::End;
use crate::upstream::tunnel::{Kind, Target};
use crate::world::{Actor, World};

/// One thing a client does, or waits for.
#[derive(Debug, Clone)]
enum Step {
    Send(Vec<u8>),
    Pause(Duration),
    /// Until the other protocol begins.
    AwaitOpen,
    /// Until all that the upstream says has come, with its end.
    AwaitEnd,
    /// It ends its direction.
    Fin,
    Reset,
    /// It closes its socket.
    Leave,
}

/// A client and its one connection.
pub struct Tunneller {
    script: VecDeque<Step>,
    target: Target,
    tag: u64,
    is_wild: bool,
    /// How long nothing need come from upstreams.
    silence_max: Duration,
    /// How long nothing may be said.
    tunnel_timeout: Duration,
    parser: Parser,
    expected: Vec<u8>,
    had: usize,
    is_open: bool,
    is_refused: bool,
    has_heard_end: bool,
    /// It has said all, and ended its direction.
    has_ended: bool,
    paused_until: Option<Duration>,
    stalled_until: Duration,
    busy_at: Duration,
    done: bool,
    link: LinkId,
}

/// Draws a client that wants a tunnel.
pub fn any(draw: &mut Draw<'_>, proxied: &Proxied) -> (Tunneller, Nature) {
    let dice = &mut *draw.dice;
    let kind = dice.pick(&[Kind::Echo, Kind::Echo, Kind::Talk, Kind::First, Kind::Late, Kind::Silent]);
    let target = Target::draw(kind, dice);
    let tag = dice.tag().unwrap_or_default();
    let path = target.path();
    let head =
        format!("GET {path} HTTP/1.1\r\nHost: sim\r\nConnection: upgrade\r\nUpgrade: chat\r\nTag: {tag}\r\n\r\n");
    let mut script = VecDeque::from([Step::Send(head.into_bytes()), Step::AwaitOpen]);
    if kind == Kind::First {
        script.push_back(Step::AwaitEnd);
    }
    let said = target.said_up();
    let piece = dice.size(1, 50_000).max(said.len() / 30 + 1);
    for piece in said.chunks(piece) {
        if dice.chance(200) {
            script.push_back(Step::Pause(dice.millis(0, 1000)));
        }
        script.push_back(Step::Send(piece.to_vec()));
    }
    match dice.below(8) {
        // It leaves at any moment, perhaps before there is a tunnel.
        0 => {
            script.truncate(dice.between(1, script.len()));
            script.retain(|step| dice.chance(500) || !matches!(step, Step::AwaitOpen | Step::AwaitEnd));
            script.push_back(Step::Pause(Duration::from_micros(dice.size(1, 400_000) as u64)));
            script.push_back(dice.pick(&[Step::Reset, Step::Leave].each_ref()).clone());
        }
        // Nobody ends anything.
        1 if kind == Kind::Silent => {}
        _ => script.push_back(Step::Fin),
    }
    let client = Tunneller {
        script,
        target,
        tag,
        is_wild: proxied.is_wild,
        silence_max: proxied.silence_max(),
        tunnel_timeout: proxied.route.tunnel_timeout,
        parser: Parser::new(),
        expected: target.said_down(),
        had: 0,
        is_open: false,
        is_refused: false,
        has_heard_end: false,
        has_ended: false,
        paused_until: None,
        stalled_until: Duration::ZERO,
        busy_at: Duration::ZERO,
        done: false,
        link: 0,
    };
    (client, Nature::draw(dice))
}

impl Tunneller {
    fn step(&mut self, world: &mut World) -> bool {
        let Some(step) = self.script.front() else { return false };
        match step {
            Step::Pause(wait) => {
                if !world.has_paused(self.link, *wait, &mut self.paused_until) {
                    return false;
                }
            }
            Step::AwaitOpen if !self.is_open => return false,
            Step::AwaitEnd if !self.has_heard_end => return false,
            Step::AwaitOpen | Step::AwaitEnd => {}
            Step::Send(bytes) => world.client_sends(self.link, bytes),
            Step::Fin => {
                world.client_ends(self.link);
                self.has_ended = true;
            }
            Step::Reset => {
                world.client_resets(self.link);
                self.finish(world, "aborts");
            }
            Step::Leave => {
                world.upstreams.leavers.insert(self.tag);
                world.client_closes(self.link);
                self.finish(world, "goes away");
            }
        }
        self.busy_at = world.now;
        self.script.pop_front();
        true
    }

    fn read(&mut self, world: &mut World) {
        let bytes = world.client_reads(self.link);
        if !bytes.is_empty() {
            self.check_patience(world);
            if let Err(wrong) = self.take(&bytes, world) {
                return self.fail(world, &wrong);
            }
        }
        if !self.done && !self.has_heard_end && world.links[self.link].down.fin_received {
            self.has_heard_end = true;
            self.ended(world, "a FIN");
        }
    }

    fn take(&mut self, bytes: &[u8], world: &mut World) -> Result<(), String> {
        if self.is_open {
            return self.take_said(bytes);
        }
        self.parser.push(bytes);
        while let Some(answer) = self.parser.next(false)? {
            match answer.status {
                101 => {
                    self.check_opening(&answer)?;
                    world.note(self.link, || "client has its tunnel".to_owned());
                    self.is_open = true;
                    let rest = self.parser.take_rest();
                    return self.take_said(&rest);
                }
                103 if self.is_wild => {}
                _ if self.is_wild && is_upstreams_error(&answer, false) => {
                    self.is_refused = true;
                    world.client_closes(self.link);
                    self.finish(world, "is refused a tunnel");
                    return Ok(());
                }
                status => return Err(format!("{status} instead of 101: {}", answer.content.escape_ascii())),
            }
        }
        Ok(())
    }

    fn check_opening(&self, answer: &Answer) -> Result<(), String> {
        let says = |name, value: &str| answer.field(name).is_some_and(|field| field.eq_ignore_ascii_case(value));
        match says("upgrade", "chat") && says("connection", "upgrade") {
            true => Ok(()),
            false => Err(format!("101 with the fields {:?}", answer.fields)),
        }
    }

    fn take_said(&mut self, bytes: &[u8]) -> Result<(), String> {
        if !self.expected[self.had..].starts_with(bytes) {
            return Err(format!("what the upstream has not said, behind byte {}", self.had));
        }
        self.had += bytes.len();
        Ok(())
    }

    /// Nothing that can be said may wait without a reason.
    fn check_patience(&mut self, world: &mut World) {
        let marks = world.links[self.link].marks;
        let moved = world.upstreams.moved_at(self.link);
        let since = [Some(self.busy_at.max(moved)), Some(self.stalled_until), marks.accepted, marks.last_arrival];
        let silent = world.now.saturating_sub(since.into_iter().flatten().max().unwrap_or_default());
        self.busy_at = world.now;
        if silent > PATIENCE + self.silence_max {
            self.fail(world, &format!("silence for {silent:?} before these bytes"));
        }
    }

    fn ended(&mut self, world: &mut World, how: &str) {
        let verdict = self.verdict(world, how);
        // It may still have something to say.
        let goes_on = how == "a FIN" && self.is_open && !self.script.is_empty() && verdict.is_ok();
        if goes_on || self.done || world.links[self.link].client_closed {
            return;
        }
        self.done = true;
        let (had, all) = (self.had, self.expected.len());
        if let Some(said) = world.upstreams.tunnels.get_mut(&self.tag) {
            let is_unhurried = verdict.is_ok() && world.told_to_stop.is_none() && how == "a FIN";
            said.is_over = is_unhurried && self.has_ended && !self.is_wild;
        }
        let verdict = verdict.map_err(|error| format!("{self:?}: {error}, with {had} of {all} bytes"));
        world.judge_end(self.link, how, verdict);
    }

    fn verdict(&self, world: &World, how: &str) -> Result<(), String> {
        let marks = world.links[self.link].marks;
        let said = world.upstreams.tunnels.get(&self.tag).copied().unwrap_or_default();
        let has_all = self.had == self.expected.len();
        let arrived = world.arrived_when_told.get(self.link).copied().unwrap_or_default();
        let silent = marks.idle_at_end().min(marks.ended.unwrap_or_default().saturating_sub(self.busy_at));
        match () {
            () if world.told_to_stop_at_once.is_some() => Ok(()),
            // Nothing was asked for when the server was told to stop.
            () if world.told_to_stop.is_some() && !self.is_open && arrived == 0 => Ok(()),
            () if self.is_open && silent + TOLERANCE >= self.tunnel_timeout => Ok(()),
            () if self.is_wild && !self.is_open && how == "a reset" => Ok(()),
            () if !self.is_open => Err("it was never opened".to_owned()),
            // A direction that ends in order is whole, as far as its client can tell.
            () if how == "a FIN" && has_all && self.target.kind != Kind::Silent => Ok(()),
            () if how == "a FIN" && self.target.kind == Kind::Silent && self.script.is_empty() => Ok(()),
            () if how == "a FIN" && self.is_wild && said.bytes == self.had && said.end.is_some_and(in_order) => Ok(()),
            () if how == "a FIN" => Err(format!("it ends in order, and the upstream has said {said:?}")),
            () if self.is_wild && said.end.is_some_and(|end| end != End::Fin) => Ok(()),
            () if has_all && self.script.is_empty() && said.end == Some(End::Closed) => Ok(()),
            () => Err(format!("it breaks off, and the upstream has said {said:?}")),
        }
    }

    fn finish(&mut self, world: &mut World, why: &str) {
        world.note(self.link, || format!("client {why}"));
        self.done = true;
    }

    fn fail(&mut self, world: &mut World, error: &str) {
        self.done = true;
        world.fail(Some(self.link), format!("{self:?}: {error}"));
    }
}

fn in_order(end: End) -> bool {
    end != End::Reset
}

impl Actor for Tunneller {
    fn kind(&self) -> &'static str {
        "tunnelling"
    }

    fn is_done(&self) -> bool {
        self.done
    }

    fn complaint(&self) -> String {
        let (had, all) = (self.had, self.expected.len());
        format!("{self:?} still waits, with {had} of {all} bytes")
    }

    fn set_link(&mut self, link: LinkId) {
        self.link = link;
    }

    fn act(&mut self, world: &mut World) {
        if !self.done && self.stalled_until <= world.now {
            self.read(world);
        }
        while !self.done && self.step(world) {}
        if !self.done && self.has_heard_end && self.script.is_empty() {
            self.ended(world, "a FIN");
        }
    }

    fn readable(&mut self, world: &mut World) {
        if !self.done {
            world.may_stall(self.link, &mut self.stalled_until);
        }
        self.act(world);
    }

    fn reset(&mut self, world: &mut World) {
        if !self.done {
            self.read(world);
        }
        if !self.done {
            self.ended(world, "a reset");
        }
    }
}

impl fmt::Debug for Tunneller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tunneller { target, script, is_open, .. } = self;
        let state = if *is_open { "open" } else { "not open" };
        write!(f, "a client of {}, {state}, with {} steps to go", target.path(), script.len())
    }
}
