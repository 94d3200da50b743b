//! A client of HTTP/2 at its end of a simulated connection.

use std::fmt;
use std::time::Duration;

use super::{Http2, Last};
use crate::client::{PATIENCE, TOLERANCE, Window};
use crate::link::{LinkId, ServerEnd};
use crate::world::{Actor, World};

/// By then everything is over, and who reads nothing sees that.
const LONG: Duration = Duration::from_secs(1800);

/// What a client does with its connection besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Nothing.
    Good,
    /// It reads nothing but SETTINGS, and is cut.
    Deaf,
    /// It reads nothing at all, not even SETTINGS, and is cut.
    DeafFromTheBeginning,
    /// It resets its connection at this time.
    Resets(Duration),
    /// It closes its socket at this time.
    Vanishes(Duration),
}

impl Manner {
    fn at(self) -> Option<Duration> {
        match self {
            Manner::Good => None,
            Manner::Deaf | Manner::DeafFromTheBeginning => Some(Duration::ZERO),
            Manner::Resets(at) | Manner::Vanishes(at) => Some(at),
        }
    }
}

/// A client and its one connection.
pub struct Http2Actor {
    client: Http2,
    manner: Manner,
    began: Option<Duration>,
    reading: bool,
    stalled_until: Duration,
    /// When it last did anything.
    busy_at: Duration,
    /// When it is to be asked again.
    wakes_at: Option<Duration>,
    done: bool,
    link: LinkId,
}

impl Http2Actor {
    /// A client in this manner.
    pub fn new(client: Http2, manner: Manner) -> Http2Actor {
        Http2Actor {
            client,
            manner,
            began: None,
            reading: true,
            stalled_until: Duration::ZERO,
            busy_at: Duration::ZERO,
            wakes_at: None,
            done: false,
            link: 0,
        }
    }

    fn read(&mut self, world: &mut World) {
        let is_moving = !world.links[self.link].down.received.is_empty();
        let bytes = world.client_reads(self.link);
        if !bytes.is_empty() {
            self.check_patience(world);
            self.client.tunnel_timeout = world.upstreams.rules.tunnel_timeout;
            if let Err(error) = self.client.take(&bytes, world.now) {
                return self.fail(world, format!("{error}; {}", self.client.progress()));
            }
        }
        if is_moving {
            self.busy_at = world.now;
        }
        if !self.done && world.links[self.link].down.fin_received {
            self.ended(world, "a FIN");
        }
    }

    /// Nothing that can be said may wait without a reason.
    fn check_patience(&mut self, world: &mut World) {
        let marks = world.links[self.link].marks;
        let moved = world.upstreams.moved_at(self.link);
        let since = [Some(self.busy_at.max(moved)), Some(self.stalled_until), marks.accepted, marks.last_arrival];
        let silent = world.now.saturating_sub(since.into_iter().flatten().max().unwrap_or_default());
        let silence_max = self.client.silence_max().unwrap_or(Duration::MAX / 2);
        if silent > silence_max + PATIENCE && self.manner == Manner::Good {
            self.fail(
                world,
                format!("silence for {silent:?}, longer than {silence_max:?}: {}", self.client.progress()),
            );
        }
    }

    /// Does what is to be done besides reading.
    fn say(&mut self, world: &mut World) {
        let began = *self.began.get_or_insert(world.now);
        if self.manner.at().is_some_and(|at| began + at <= world.now) && self.reading {
            match self.manner {
                Manner::Good => {}
                // It has acknowledged SETTINGS: it is given up for nothing else.
                Manner::Deaf => self.reading = !self.client.has_settings(),
                Manner::DeafFromTheBeginning => {
                    self.reading = false;
                    world.wake_after(self.link, LONG);
                }
                Manner::Resets(_) => {
                    world.client_resets(self.link);
                    return self.finish(world, "aborts");
                }
                Manner::Vanishes(_) => {
                    world.client_closes(self.link);
                    return self.finish(world, "goes away");
                }
            }
        }
        loop {
            let bytes = self.client.act(world.now);
            if bytes.is_empty() {
                break;
            }
            self.busy_at = world.now;
            world.client_sends(self.link, &bytes);
        }
        if self.client.closes() && self.manner == Manner::Good {
            world.client_closes(self.link);
            return self.finish(world, "has everything and closes");
        }
        let manner = self.manner.at().map(|at| began + at).filter(|_| self.reading);
        let next = self.client.acts_at().into_iter().chain(manner).filter(|at| *at > world.now).min();
        if next.is_some() && next != self.wakes_at {
            self.wakes_at = next;
            world.wake_after(self.link, next.unwrap_or_default() - world.now);
        }
    }

    /// The server has ended the connection.
    fn ended(&mut self, world: &mut World, how: &str) {
        let verdict = self.verdict(world, how);
        if !world.links[self.link].client_closed {
            self.done = true;
            let kind = self.client.kind();
            let verdict = verdict.map_err(|error| format!("{kind}: {error}; {}", self.client.progress()));
            world.judge_end(self.link, how, verdict);
        }
    }

    fn verdict(&self, world: &World, how: &str) -> Result<(), String> {
        let marks = &world.links[self.link].marks;
        match self.manner {
            Manner::Deaf if world.told_to_stop.is_none() && !self.client.is_settled() => {
                return Window::of_slow_read(world.limits.send_timeout).holds(marks);
            }
            Manner::DeafFromTheBeginning if world.told_to_stop.is_none() => return check_deaf(world, self.link),
            Manner::Deaf | Manner::DeafFromTheBeginning | Manner::Resets(_) | Manner::Vanishes(_) => return Ok(()),
            Manner::Good => {}
        }
        // The server listens for a while when it has said all. Who is so slow that what it allows arrives after that is reset
        // in the middle of it.
        let lingered = marks.closed.unwrap_or_default().saturating_sub(marks.ended.unwrap_or_default());
        if how == "a reset" && lingered >= world.limits.linger_timeout {
            return Ok(());
        }
        if world.told_to_stop.is_some() {
            return self.check_stop(world);
        }
        self.client.check_end()?;
        match self.client.last() {
            // Who has broken a rule and goes on sending may be reset.
            Last::Break(_) => Ok(()),
            _ if how != "a FIN" => Err("it was to end in order".to_owned()),
            _ if self.client.goaway_code().is_none() => Err("the end without GOAWAY (RFC 9113 §6.8)".to_owned()),
            _ if self.client.goaway_code() != Some(0) => Ok(()),
            Last::Close(_) => self.check_idle_end(world).map_err(|_| "the connection was to persist".to_owned()),
            Last::Wait => self.check_idle_end(world),
        }
    }

    /// The server gives up a connection that is idle, when it is due.
    fn check_idle_end(&self, world: &World) -> Result<(), String> {
        let (marks, timeout) = (&world.links[self.link].marks, world.limits.keep_alive_timeout);
        let (ended, arrived) =
            (marks.ended.unwrap_or_default(), marks.last_arrival.max(marks.accepted).unwrap_or_default());
        // PINGs and SETTINGS are no work, and a stream that crosses the end comes too late.
        let asked = self.client.asked_at(marks.arrived_at_end);
        let (earliest, latest) = (asked + timeout, arrived.max(self.client.heard_at()) + timeout + TOLERANCE);
        match ended < earliest || ended > latest {
            true => Err(format!("idle at the end until {ended:?}, not from {earliest:?} to {latest:?}")),
            false => Ok(()),
        }
    }

    /// A server that was told to stop serves the streams that had begun, and takes no new ones.
    fn check_stop(&self, world: &World) -> Result<(), String> {
        if world.told_to_stop_at_once.is_some() {
            return Ok(());
        }
        self.client.check_stop(world.arrived_when_told[self.link], world.links[self.link].content_arrived())
    }

    fn finish(&mut self, world: &mut World, why: &str) {
        world.note(self.link, || format!("client {why}"));
        self.done = true;
    }

    fn fail(&mut self, world: &mut World, error: String) {
        self.done = true;
        world.fail(Some(self.link), format!("{} client: {error}", self.client.kind()));
    }
}

/// Who acknowledges no SETTINGS is told so, and is cut if it does not read that.
fn check_deaf(world: &World, link: LinkId) -> Result<(), String> {
    let (marks, limits) = (&world.links[link].marks, &world.limits);
    let took = marks.ended.unwrap_or_default().saturating_sub(marks.accepted.unwrap_or_default());
    let earliest = limits.http2.settings_timeout.min(limits.send_timeout).min(limits.keep_alive_timeout);
    let latest = limits.http2.settings_timeout + 3 * limits.send_timeout;
    match took + TOLERANCE < earliest || took > latest {
        true => Err(format!("given up after {took:?}, not from {earliest:?} to {latest:?}")),
        false => Ok(()),
    }
}

impl Actor for Http2Actor {
    fn kind(&self) -> &'static str {
        self.client.kind()
    }

    fn is_done(&self) -> bool {
        self.done
    }

    fn set_link(&mut self, link: LinkId) {
        self.link = link;
    }

    fn act(&mut self, world: &mut World) {
        if !self.done && self.stalled_until <= world.now && self.reading {
            self.read(world);
        }
        if !self.done && !self.reading && world.links[self.link].server == ServerEnd::Closed {
            self.ended(world, "a silent end");
        }
        if !self.done {
            self.say(world);
        }
    }

    fn readable(&mut self, world: &mut World) {
        if !self.done {
            world.may_stall(self.link, &mut self.stalled_until);
        }
        if !self.done && !self.reading && world.links[self.link].down.fin_received {
            // At last it looks, for the sake of close_notify.
            world.client_reads(self.link);
            self.ended(world, "a FIN");
        }
        self.act(world);
    }

    fn reset(&mut self, world: &mut World) {
        if !self.done && self.reading {
            self.read(world);
        }
        if !self.done {
            self.ended(world, "a reset");
        }
    }

    fn complaint(&self) -> String {
        format!("{self:?} still waits: {}", self.client.progress())
    }
}

impl fmt::Debug for Http2Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a {} client, {:?}, {:?}", self.client.kind(), self.manner, self.client.habits())
    }
}
