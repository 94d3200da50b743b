//! What a client of `/ws/echo` does: its steps, one after the other.

use std::time::Duration;

use super::{Manner, Message, Step, WebSocket};
use crate::frames::{self, CLOSE, CONTINUATION, FIN, PING, RSV1, masked};
use crate::world::World;

/// What a WebSocket may hold back beside its rings, in bytes: what waits to be sent before nothing more is taken, the
/// piece that was taken last, and the masks of small frames, which are not sent back.
const HELD_BYTES_MAX: usize = 16 * 1024 + 16 * 1024 + 8 * 1024;

impl WebSocket {
    pub(super) fn step(&mut self, world: &mut World) -> bool {
        let Some(step) = self.script.front() else { return false };
        match step {
            Step::Pause(wait) => return self.pause(*wait, world),
            Step::AwaitOpen if !self.open => return false,
            Step::AwaitEchoes if !(self.echoes.is_empty() && self.pongs.is_empty()) => return false,
            Step::AwaitPings(n) if self.pings < *n => return false,
            _ => {}
        }
        let Some(step) = self.script.pop_front() else { return false };
        self.busy_at = world.now;
        self.take_step(step, world);
        true
    }

    fn take_step(&mut self, step: Step, world: &mut World) {
        match step {
            Step::Send(bytes) => self.send(&bytes, world),
            Step::Say(message, manner) => self.say(message, &manner, world),
            Step::Ping(payload) => {
                let frame = self.frame(FIN | PING, &payload);
                self.pongs.push_back(payload);
                self.send(&frame, world);
            }
            Step::Close(code, reason) => {
                self.expected_close = Some(code);
                self.send_close(code, reason, world);
            }
            Step::Break(bytes, code) => {
                (self.expected_close, self.broke) = (Some(Some(code)), true);
                self.send(&bytes, world);
            }
            Step::Weigh => self.weigh(world),
            Step::StopReading => self.reading = false,
            Step::GoOnReading => {
                self.reading = true;
                self.read(world);
            }
            Step::Fin => {
                self.ended_direction = true;
                world.client_ends(self.link);
            }
            Step::Reset => {
                world.client_resets(self.link);
                self.finish(world, "aborts");
            }
            Step::Vanish => {
                world.client_closes(self.link);
                self.finish(world, "goes away");
            }
            Step::Pause(_) | Step::AwaitOpen | Step::AwaitEchoes => {}
            // Further Pings are counted anew.
            Step::AwaitPings(_) => self.pings = 0,
        }
    }

    fn pause(&mut self, wait: Duration, world: &mut World) -> bool {
        let is_over = world.has_paused(self.link, wait, &mut self.paused_until);
        if is_over {
            self.script.pop_front();
        }
        is_over
    }

    pub(super) fn send(&mut self, bytes: &[u8], world: &mut World) {
        self.sent_at = world.now;
        world.client_sends(self.link, bytes);
    }

    pub(super) fn frame(&mut self, first: u8, payload: &[u8]) -> Vec<u8> {
        let key = (self.dice.below(1 << 32) as u32).to_ne_bytes();
        masked(first, payload, key)
    }

    pub(super) fn send_close(&mut self, code: Option<u16>, reason: &str, world: &mut World) {
        self.close_sent = true;
        let payload = [&frames::closing(code), reason.as_bytes()].concat();
        let frame = self.frame(FIN | CLOSE, &payload);
        self.send(&frame, world);
    }

    fn say(&mut self, message: Message, manner: &Manner, world: &mut World) {
        let bytes = self.spoken(&message, manner);
        self.echoes.push_back(message);
        if manner.piece == 0 {
            return self.send(&bytes, world);
        }
        for piece in bytes.chunks(manner.piece).rev() {
            self.script.push_front(Step::Pause(Duration::from_micros(self.dice.below(2000))));
            self.script.push_front(Step::Send(piece.to_vec()));
        }
    }

    /// The frames of a message, and Pings between them.
    fn spoken(&mut self, message: &Message, manner: &Manner) -> Vec<u8> {
        let compressed = self.deflate.as_mut().filter(|_| manner.compressed);
        let rsv1 = if compressed.is_some() { RSV1 } else { 0 };
        let payload = compressed.map_or_else(|| message.content.clone(), |deflate| deflate.compress(&message.content));
        let (mut bytes, mut start, mut first) = (Vec::new(), 0, message.opcode | rsv1);
        for (index, cut) in manner.cuts.iter().enumerate() {
            let end = (*cut).clamp(start, payload.len());
            bytes.extend(self.frame(first, &payload[start..end]));
            (start, first) = (end, CONTINUATION);
            if let Some(ping) = manner.pings.get(index) {
                bytes.extend(self.frame(FIN | PING, ping));
                self.pongs.push_back(ping.clone());
            }
        }
        bytes.extend(self.frame(FIN | first, &payload[start..]));
        bytes
    }

    /// However much a client says: what nobody reads is not taken from it.
    fn weigh(&mut self, world: &mut World) {
        let link = &world.links[self.link];
        let taken = link.up.arrived as usize - link.up.received.len();
        let given = link.down.arrived as usize + link.down.held_by_sender();
        let most = HELD_BYTES_MAX + world.limits.inbox_bytes + world.limits.outbox_bytes + self.head_bytes as usize;
        // Who stops takes what is on its way, and throws it away.
        if taken > given + most && world.told_to_stop.is_none() {
            self.fail(world, format!("the server took {taken} bytes and gave {given}: it holds more than {most}"));
        }
    }
}
