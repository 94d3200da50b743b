//! A client of one of the echo protocols: what it sends and when, every byte that must come back, and how its connection
//! must end.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use tidemill::base::listener_role::ListenerRole;

use crate::client::{Ending, PATIENCE, Step, TOLERANCE};
use crate::echo_kinds::answers;
use crate::link::LinkId;
use crate::world::{Actor, World};

/// A client and its one connection. `Step::AwaitAnswers` counts bytes here.
pub struct EchoClient {
    kind: &'static str,
    script: VecDeque<Step>,
    /// All that must come back.
    expected: Vec<u8>,
    ending: Ending,
    /// The protocol, and all that the script sends.
    role: ListenerRole,
    sent: Vec<u8>,
    /// How many bytes have come back.
    had: usize,
    reading: bool,
    paused_until: Option<Duration>,
    stalled_until: Duration,
    busy_at: Duration,
    done: bool,
    link: LinkId,
}

impl EchoClient {
    /// A client that follows `script`, which sends `sent` (at most), and must get exactly `expected`.
    pub fn new(
        kind: &'static str,
        script: Vec<Step>,
        (role, sent): (ListenerRole, Vec<u8>),
        expected: Vec<u8>,
        ending: Ending,
    ) -> Self {
        EchoClient {
            kind,
            script: script.into(),
            expected,
            ending,
            role,
            sent,
            had: 0,
            reading: true,
            paused_until: None,
            stalled_until: Duration::ZERO,
            busy_at: Duration::ZERO,
            done: false,
            link: 0,
        }
    }

    fn step(&mut self, world: &mut World) -> bool {
        let Some(step) = self.script.front() else { return false };
        match step {
            Step::Send(bytes) | Step::SendIfContinued(bytes) => world.client_sends(self.link, bytes),
            Step::Pause(wait) => {
                let is_over = world.has_paused(self.link, *wait, &mut self.paused_until);
                if !is_over {
                    return false;
                }
            }
            Step::AwaitAnswers(bytes) if self.had < *bytes => return false,
            Step::AwaitAnswers(_) => {}
            Step::StopReading => self.reading = false,
            Step::Fin => world.client_ends(self.link),
            Step::Reset => {
                world.client_resets(self.link);
                self.finish(world, "aborts");
            }
            Step::Close => {
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
            self.take(&bytes, world);
        }
        if !self.done && world.links[self.link].down.fin_received {
            self.ended(world, "a FIN");
        }
    }

    fn take(&mut self, bytes: &[u8], world: &mut World) {
        if !self.expected[self.had..].starts_with(bytes) {
            return self.fail(world, format!("{} bytes at {} are not what must come back", bytes.len(), self.had));
        }
        self.had += bytes.len();
    }

    /// What can come back does so at once: a wake-up that came by luck, or by a timeout, came late.
    fn check_patience(&mut self, world: &mut World) {
        let marks = world.links[self.link].marks;
        let since = [Some(self.busy_at), Some(self.stalled_until), marks.accepted, marks.last_arrival];
        let silent = world.now.saturating_sub(since.into_iter().flatten().max().unwrap_or_default());
        self.busy_at = world.now;
        if silent > PATIENCE && !matches!(self.ending, Ending::Cut(_)) {
            self.fail(world, format!("silence for {silent:?} before these bytes"));
        }
    }

    /// The server has ended the connection.
    fn ended(&mut self, world: &mut World, how: &str) {
        let verdict = self.verdict(world, how).map_err(|error| format!("{self:?}: {error}"));
        if !world.links[self.link].client_closed {
            self.done = true;
            world.judge_end(self.link, how, verdict);
        }
    }

    fn verdict(&self, world: &World, how: &str) -> Result<(), String> {
        let marks = world.links[self.link].marks;
        if world.told_to_stop.is_some() {
            return self.check_end_of_drain(world, how);
        }
        // Whoever takes very long to read finds that the server has not waited for more.
        let is_late = !self.has_everything() || !self.script.is_empty();
        if how == "a FIN" && is_late && marks.idle_at_end() >= world.limits.keep_alive_timeout {
            return Ok(());
        }
        match self.ending {
            Ending::Cut(window) => window.holds(&marks),
            Ending::Anyhow => Ok(()),
            _ if !self.has_everything() => Err("more was to come back".to_owned()),
            Ending::Ours => Err("the connection was to persist".to_owned()),
            Ending::Theirs(_) if how != "a FIN" => Err("it was to end in order".to_owned()),
            Ending::Theirs(window) => window.holds(&marks),
        }
    }

    /// A server that stops closes whoever is idle after a grace. What it had received by then comes back before, unless it
    /// was told to stop at once.
    fn check_end_of_drain(&self, world: &World, how: &str) -> Result<(), String> {
        let (Some(told), Some(ended), None) =
            (world.told_to_stop, world.links[self.link].marks.ended, world.told_to_stop_at_once)
        else {
            return Ok(());
        };
        let arrived = world.arrived_when_told[self.link] as usize;
        let due = answers(self.role, &self.sent[..arrived], &world.limits).len();
        if how == "a FIN" && self.had < due {
            return Err(format!("{arrived} bytes had arrived when it was told to stop"));
        }
        let idle = world.links[self.link].marks.idle_at_end().min(ended.saturating_sub(told));
        match self.has_everything() && self.script.is_empty() && idle > world.limits.drain_idle_grace + TOLERANCE {
            true => Err(format!("told to stop, the server let an idle connection live for {idle:?}")),
            false => Ok(()),
        }
    }

    fn has_everything(&self) -> bool {
        self.had == self.expected.len()
    }

    fn finish(&mut self, world: &mut World, why: &str) {
        world.note(self.link, || format!("client {why}"));
        self.done = true;
    }

    fn fail(&mut self, world: &mut World, error: String) {
        self.done = true;
        world.fail(Some(self.link), format!("{self:?}: {error}"));
    }
}

impl Actor for EchoClient {
    fn kind(&self) -> &'static str {
        self.kind
    }

    fn is_done(&self) -> bool {
        self.done
    }

    fn set_link(&mut self, link: LinkId) {
        self.link = link;
    }

    fn act(&mut self, world: &mut World) {
        loop {
            if !self.done && self.stalled_until <= world.now && self.reading {
                self.read(world);
            }
            if self.done || !self.step(world) {
                break;
            }
        }
        if !self.done && self.script.is_empty() && self.has_everything() && matches!(self.ending, Ending::Ours) {
            world.client_closes(self.link);
            self.finish(world, "has everything and closes");
        }
    }

    fn readable(&mut self, world: &mut World) {
        if !self.done {
            world.may_stall(self.link, &mut self.stalled_until);
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
        format!("{self:?} still waits")
    }
}

impl fmt::Debug for EchoClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (had, all, steps) = (self.had, self.expected.len(), self.script.len());
        write!(f, "a {} client (has {had} of {all} bytes, {steps} steps to go, ending {:?})", self.kind, self.ending)
    }
}
