//! What a client of `/ws/echo` hears, and what it must not hear.

use std::time::Duration;

use super::{Ending, Step, WebSocket};
use crate::answer::Answer;
use crate::client::PATIENCE;
use crate::frames::{CLOSE, CONTINUATION, Deflate, FIN, Frame, PING, PONG};
use crate::world::World;

/// The answer to the one key that all clients have (RFC 6455 §1.3).
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

impl WebSocket {
    pub(super) fn read(&mut self, world: &mut World) {
        let bytes = world.client_reads(self.link);
        if !bytes.is_empty() {
            let silence = self.silence(world);
            self.busy_at = world.now;
            if self.open {
                self.frames.push(&bytes);
            } else {
                self.parser.push(&bytes);
                self.take_answers(world);
            }
            if self.open {
                self.take_frames(silence, world);
            }
        }
        if !self.done && world.links[self.link].down.fin_received {
            self.ended(world, "a FIN");
        }
    }

    /// How long nothing has happened that the server could wait for.
    fn silence(&self, world: &World) -> Duration {
        let marks = world.links[self.link].marks;
        let since = [Some(self.busy_at), Some(self.stalled_until), marks.accepted, marks.last_arrival];
        world.now.saturating_sub(since.into_iter().flatten().max().unwrap_or_default())
    }

    fn take_answers(&mut self, world: &mut World) {
        while !self.done && !self.open {
            match self.parser.next(false) {
                Err(error) => self.fail(world, error),
                Ok(None) => return,
                Ok(Some(answer)) => self.take_answer(&answer, world),
            }
        }
    }

    fn take_answer(&mut self, answer: &Answer, world: &mut World) {
        let expected = self.refusals.pop_front().unwrap_or(101);
        if answer.status != expected {
            return self.fail(world, format!("{} instead of {expected}", answer.status));
        }
        self.announced_close |= answer.announces_close();
        if expected != 101 {
            return;
        }
        match self.check_opening(answer) {
            Err(error) => self.fail(world, error),
            Ok(()) => {
                world.note(self.link, || "client has its WebSocket open".to_owned());
                self.open = true;
                let rest = self.parser.take_rest();
                self.frames.push(&rest);
            }
        }
    }

    /// RFC 6455 §4.1: what a client must check.
    fn check_opening(&mut self, answer: &Answer) -> Result<(), String> {
        let says = |name, value: &str| answer.field(name).is_some_and(|field| field.eq_ignore_ascii_case(value));
        if !says("upgrade", "websocket") || !says("connection", "upgrade") {
            return Err("101 without Upgrade".to_owned());
        }
        if answer.field("sec-websocket-accept") != Some(ACCEPT) {
            return Err("the wrong Sec-WebSocket-Accept".to_owned());
        }
        match answer.field("sec-websocket-extensions") {
            None => Ok(()),
            Some("permessage-deflate") if self.offers_deflate => {
                self.deflate = Some(Deflate::new());
                Ok(())
            }
            Some(other) => Err(format!("the extension {other} nobody offered")),
        }
    }

    fn take_frames(&mut self, silence: Duration, world: &mut World) {
        while !self.done {
            match self.frames.next() {
                Err(error) => self.fail(world, error),
                Ok(None) => return,
                Ok(Some(frame)) => {
                    if let Err(error) = self.on_frame(frame, silence, world) {
                        self.fail(world, error);
                    }
                }
            }
        }
    }

    fn on_frame(&mut self, frame: Frame, silence: Duration, world: &mut World) -> Result<(), String> {
        if self.received_close.is_some() {
            return Err("a frame after the Close (RFC 6455 §5.5.1)".to_owned());
        }
        match frame.opcode {
            PING => return self.on_ping(&frame, silence, world),
            CLOSE => return self.on_close(&frame, world),
            // Nothing that can be said may wait without a reason: a Ping's timer must not be what moves it.
            _ if silence > PATIENCE => return Err(format!("silence for {silence:?} before an answer")),
            _ => self.heard_at = world.now,
        }
        match frame.opcode {
            PONG => match self.pongs.pop_front() {
                Some(ping) if ping == frame.payload => Ok(()),
                None if self.is_careless() => Ok(()),
                ping => Err(format!("a Pong of {:?} to {ping:?}", frame.payload)),
            },
            _ => self.on_fragment(frame, world),
        }
    }

    fn on_ping(&mut self, frame: &Frame, silence: Duration, world: &mut World) -> Result<(), String> {
        let interval = world.limits.ws_ping_interval;
        if silence > interval + PATIENCE {
            return Err(format!("a Ping after {silence:?} of silence"));
        }
        // Nothing is on its way in either direction then, once the first Ping was answered.
        let waits = matches!(self.script.front(), Some(Step::AwaitPings(_))) && self.pings > 0;
        if waits && self.answers_pings && world.now < self.sent_at + interval {
            return Err("a Ping too early".to_owned());
        }
        self.pings += 1;
        let arrived = world.links[self.link].marks.last_arrival.unwrap_or_default();
        self.reads_late |= world.now > arrived + interval + PATIENCE;
        let stopped = world.told_to_stop.map(|told| told + interval + PATIENCE);
        if !self.reads_late && stopped.is_some_and(|stopped| world.now > stopped) {
            return Err("told to stop, the server goes on".to_owned());
        }
        self.arrived_at_ping = self.arrived_at_ping.or(world.links[self.link].marks.last_arrival);
        if self.answers_pings && !self.close_sent && !self.ended_direction {
            let pong = self.frame(FIN | PONG, &frame.payload);
            self.insert(&pong, world);
        }
        Ok(())
    }

    /// Sends a frame, but not inside another one.
    fn insert(&mut self, frame: &[u8], world: &mut World) {
        match self.script.front() {
            Some(Step::Pause(_)) if matches!(self.script.get(1), Some(Step::Send(_))) => {
                let behind =
                    self.script.iter().take_while(|step| matches!(step, Step::Pause(_) | Step::Send(_))).count();
                self.script.insert(behind, Step::Send(frame.to_vec()));
            }
            _ => self.send(frame, world),
        }
    }

    fn on_close(&mut self, frame: &Frame, world: &mut World) -> Result<(), String> {
        let code = frame.code();
        // What waits in the kernel for a slow reader was sent: an answer to what stands behind it comes late.
        let gives_up = code == Some(1011) && self.reads_late;
        if gives_up {
            self.ending = Ending::Anyhow;
        }
        let is_expected = self.expected_close == Some(code) || self.is_careless();
        let stops = world.told_to_stop.is_some() && code == Some(1001);
        if !is_expected && !stops {
            return Err(format!(
                "closed with {code:?}, not {:?}: {}",
                self.expected_close,
                frame.payload.escape_ascii()
            ));
        }
        self.received_close = Some(code);
        world.note(self.link, || format!("client hears a Close, {code:?}"));
        // Whoever is in the middle of a frame cannot answer; whoever has broken a rule is not listened to.
        let mid_frame = self.script.iter().any(|step| matches!(step, Step::Send(_)));
        self.script.retain(|step| matches!(step, Step::Fin | Step::Reset | Step::Vanish));
        if !self.close_sent && !self.broke && !self.ended_direction && !mid_frame {
            self.send_close(code, "", world);
        }
        Ok(())
    }

    fn on_fragment(&mut self, frame: Frame, world: &mut World) -> Result<(), String> {
        if frame.rsv1 && self.deflate.is_none() {
            return Err("compressed without an agreement".to_owned());
        }
        match (frame.opcode, &mut self.partial) {
            (CONTINUATION, None) => return Err("a continuation of nothing".to_owned()),
            (CONTINUATION, Some(_)) if frame.rsv1 => return Err("RSV1 in a continuation".to_owned()),
            (CONTINUATION, Some((_, _, payload))) => payload.extend_from_slice(&frame.payload),
            (_, Some(_)) => return Err("a message inside a message".to_owned()),
            (opcode, None) => self.partial = Some((opcode, frame.rsv1, frame.payload)),
        }
        self.check_beginning()?;
        if frame.fin { self.on_message(world) } else { Ok(()) }
    }

    /// What has come back of a message is how it begins; nothing comes back that was not said.
    fn check_beginning(&self) -> Result<(), String> {
        let Some((opcode, compressed, payload)) = &self.partial else { return Ok(()) };
        let Some(said) = self.echoes.front().filter(|said| said.opcode == *opcode) else {
            // Of a message that broke a rule the beginning may come back.
            let may_begin = (self.broke || self.is_careless()) && self.echoes.is_empty();
            return if may_begin { Ok(()) } else { Err("nobody said that".to_owned()) };
        };
        match !compressed && !said.content.starts_with(payload) {
            true => Err("a message comes back changed".to_owned()),
            false => Ok(()),
        }
    }

    fn on_message(&mut self, world: &mut World) -> Result<(), String> {
        let Some((_, compressed, payload)) = self.partial.take() else { return Ok(()) };
        let Some(said) = self.echoes.pop_front() else {
            return if self.is_careless() { Ok(()) } else { Err("nobody said that".to_owned()) };
        };
        let content = match &mut self.deflate {
            Some(deflate) if compressed => deflate.decompress(&payload)?,
            _ => payload,
        };
        let left = self.echoes.len();
        world.note(self.link, || format!("client hears its message of {} bytes, {left} to come", content.len()));
        if content == said.content { Ok(()) } else { Err("a message comes back changed".to_owned()) }
    }
}
