//! How the WebSocket of a client of `/ws/echo` ends, and how it had to.

use std::time::Duration;

use super::{Ending, WebSocket};
use crate::client::TOLERANCE;
use crate::world::World;

impl WebSocket {
    pub(super) fn ended(&mut self, world: &mut World, how: &str) {
        let verdict = self.verdict(world, how);
        if !world.links[self.link].client_closed {
            self.done = true;
            let verdict = verdict.map_err(|error| format!("{}: {error}; {}", self.kind, self.progress()));
            world.judge_end(self.link, how, verdict);
        }
    }

    fn verdict(&self, world: &World, how: &str) -> Result<(), String> {
        if world.told_to_stop.is_some() {
            return self.check_stop(world, how);
        }
        match self.ending {
            Ending::Anyhow => Ok(()),
            Ending::Cut(window) => window.holds(&world.links[self.link].marks),
            Ending::InOrder => self.check_order(how),
            Ending::Silent(interval) => self.check_order(how).and_then(|()| self.check_silence(interval, world)),
        }
    }

    fn check_order(&self, how: &str) -> Result<(), String> {
        let heard_all = self.echoes.is_empty() && self.pongs.is_empty() && self.frames.is_between();
        match () {
            () if how != "a FIN" => Err("it was to end in order".to_owned()),
            () if !self.open => Err("it was never opened".to_owned()),
            () if self.received_close != self.expected_close => Err("the wrong Close, or none".to_owned()),
            () if !heard_all || (self.partial.is_some() && !self.broke) => {
                Err("not everything has come back".to_owned())
            }
            () => Ok(()),
        }
    }

    /// One interval until the Ping, and another until the Close.
    fn check_silence(&self, interval: Duration, world: &World) -> Result<(), String> {
        let marks = &world.links[self.link].marks;
        let (Some(ended), Some(arrived)) = (marks.ended, self.arrived_at_ping) else {
            return Err("given up without a Ping".to_owned());
        };
        // What had arrived before was heard when the connection was accepted.
        let arrived = arrived.max(marks.accepted.unwrap_or_default());
        let (earliest, latest) = (arrived + 2 * interval, arrived.max(self.heard_at) + 2 * interval + TOLERANCE);
        match ended < earliest || ended > latest {
            true => Err(format!("given up at {ended:?}, not from {earliest:?} to {latest:?}")),
            false => Ok(()),
        }
    }

    /// A server that was told to stop says so to everybody (1001), unless it is to stop at once, or had no request yet.
    fn check_stop(&self, world: &World, how: &str) -> Result<(), String> {
        let cut = world.told_to_stop_at_once.is_some() || how != "a FIN";
        let arrived = world.arrived_when_told[self.link] >= self.head_bytes;
        let goes =
            matches!(self.ending, Ending::Anyhow | Ending::Cut(_)) || self.ended_direction || self.announced_close;
        match () {
            () if cut || goes || self.received_close.is_some() => Ok(()),
            () if self.open || arrived => Err("told to stop, the server did not say so".to_owned()),
            () => Ok(()),
        }
    }
}
