//! What a client sends.

use std::time::Duration;

use super::ask::Ask;
use super::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PADDED, PING, PREFACE, PRIORITY_UPDATE, RST_STREAM,
    SETTINGS, WINDOW_UPDATE, frame, settings,
};
use super::stream::{Outcome, Stream, granted};
use super::{FRAME_BYTES, Http2, Last, WINDOW_BYTES};

const HEADER_TABLE_SIZE: u16 = 0x1;
const ENABLE_PUSH: u16 = 0x2;
const INITIAL_WINDOW_SIZE: u16 = 0x4;
const MAX_FRAME_SIZE: u16 = 0x5;
/// PRIORITY of HEADERS: a dependency and a weight, which nobody looks at (RFC 9113 §5.3.2).
const PRIORITY: u8 = 0x20;
const CANCEL: u32 = 0x8;
/// DATA of less than this is small for the server, in bytes.
const SMALL_DATA_BYTES: usize = 256;

impl Http2 {
    /// What it sends now.
    pub fn act(&mut self, now: Duration) -> Vec<u8> {
        self.now = now;
        self.begin();
        if !self.has_said_last {
            self.go_on(now);
        }
        self.sent += self.out.len() as u64;
        std::mem::take(&mut self.out)
    }

    fn go_on(&mut self, now: Duration) {
        self.ask(now);
        self.give_up(now);
        self.grant();
        self.upload();
        if self.pings_left > 0 && self.dice.chance(100) {
            self.pings_left -= 1;
            let payload = [0; 8].map(|_| self.dice.below(256) as u8);
            self.pings.push_back(payload);
            self.out.extend(frame(PING, 0, 0, &payload));
        }
        if self.windows.len() == 1 && !self.habits.later_windows.is_empty() && self.dice.chance(100) {
            let window = self.habits.later_windows.remove(0);
            self.windows.push_back(window);
            self.out.extend(settings(&[(INITIAL_WINDOW_SIZE, window)]));
        }
        // Who breaks rules does so at any time when it could open another stream.
        let breaks = matches!(self.habits.last, Last::Break(_)) && self.may_ask() && self.dice.chance(50);
        if breaks || self.is_settled() && self.windows.len() == 1 {
            self.say_last();
        }
    }

    /// Says its preface, if it has not yet.
    pub(super) fn begin(&mut self) {
        if std::mem::replace(&mut self.has_begun, true) {
            return;
        }
        self.out.extend(PREFACE);
        let habits = &self.habits;
        let mut parameters = vec![(ENABLE_PUSH, 0)];
        for (identifier, value, default) in [
            (HEADER_TABLE_SIZE, habits.table, 4096),
            (INITIAL_WINDOW_SIZE, habits.window, WINDOW_BYTES as u32),
            (MAX_FRAME_SIZE, habits.frame, FRAME_BYTES as u32),
        ] {
            if value != default {
                parameters.push((identifier, value));
            }
        }
        self.out.extend(settings(&parameters));
    }

    fn say_last(&mut self) {
        self.has_said_last = true;
        match &self.habits.last {
            Last::Close(true) => self.out.extend(frame(GOAWAY, 0, 0, &[0; 8])),
            Last::Break(offence) => self.out.extend((offence.bytes)(self.next_id)),
            Last::Close(false) | Last::Wait => {}
        }
    }

    /// Opens streams.
    fn ask(&mut self, now: Duration) {
        while self.may_ask()
            && let Some(ask) = self.asks.pop_front_if(|ask| self.opened_at + ask.after <= now)
        {
            let is_extended = ask.fields.iter().any(|(name, _)| name == ":protocol");
            if is_extended && !self.server.allows_connect {
                // RFC 8441 §3: not before the server has said that it may.
                if self.has_settings {
                    continue;
                }
                self.asks.push_front(ask);
                return;
            }
            self.open(ask, now);
        }
    }

    fn open(&mut self, ask: Ask, now: Duration) {
        let id = self.next_id;
        self.next_id += 2;
        self.opened_at = now;
        let mut update = ask.update.clone().map(|(is_early, priority)| {
            let payload = [&id.to_be_bytes()[..], priority.as_bytes()].concat();
            (is_early, frame(PRIORITY_UPDATE, 0, 0, &payload))
        });
        if let Some((_, update)) = update.take_if(|(is_early, _)| *is_early) {
            self.out.extend(update);
        }
        let mut block = Vec::new();
        let mut encoding = self.encoder.block(&mut block);
        ask.fields.iter().for_each(|(name, value)| encoding.field(name.as_bytes(), value.as_bytes()));
        let mut stream = Stream::new(ask, self.server.window, now);
        self.put_fields(id, &block, !stream.is_sending);
        stream.head_end = self.sent + self.out.len() as u64;
        self.streams.insert(id, stream);
        self.out.extend(update.map(|(_, update)| update).unwrap_or_default());
    }

    /// A field block in one frame, or in several.
    fn put_fields(&mut self, id: u32, block: &[u8], end_stream: bool) {
        let cuts = if self.dice.chance(self.habits.cuts) { self.dice.between(1, 3) } else { 0 };
        let piece = block.len() / (cuts + 1) + 1;
        let count = block.chunks(piece).count();
        for (index, fragment) in block.chunks(piece).enumerate() {
            let mut flags = if index + 1 == count { END_HEADERS } else { 0 };
            let mut payload = fragment.to_vec();
            if index == 0 {
                flags |= if end_stream { END_STREAM } else { 0 };
                if self.dice.chance(self.habits.padding) {
                    flags |= PRIORITY;
                    payload.splice(..0, [0x80, 0, 0, 0, 7]);
                }
                flags |= self.pad(&mut payload, usize::MAX);
            }
            self.out.extend(frame(if index == 0 { HEADERS } else { CONTINUATION }, flags, id, &payload));
        }
    }

    /// Pads a payload, perhaps, with so many bytes at most.
    fn pad(&mut self, payload: &mut Vec<u8>, room: usize) -> u8 {
        if room == 0 || !self.dice.chance(self.habits.padding) {
            return 0;
        }
        let length = self.dice.between(0, (room - 1).min(255)) as u8;
        payload.insert(0, length);
        payload.resize(payload.len() + usize::from(length), 0);
        PADDED
    }

    fn give_up(&mut self, now: Duration) {
        for (id, stream) in &mut self.streams {
            if stream.outcome.is_none() && stream.is_given_up(now) {
                (stream.outcome, stream.is_sending) = (Some(Outcome::GivenUp), false);
                self.out.extend(frame(RST_STREAM, 0, *id, &CANCEL.to_be_bytes()));
            }
        }
    }

    /// Allows the server more.
    fn grant(&mut self) {
        let window = self.window();
        for (id, stream) in &mut self.streams {
            if let Some(grant) = stream.grant(window, self.now) {
                self.out.extend(frame(WINDOW_UPDATE, 0, *id, &grant.to_be_bytes()));
            }
        }
        if let Some(grant) = granted(self.habits.reading, self.left) {
            self.granted_at = self.now;
            self.left += i64::from(grant);
            self.out.extend(frame(WINDOW_UPDATE, 0, 0, &grant.to_be_bytes()));
        }
    }

    /// Sends content on all streams that may send some, a frame on each in turn.
    fn upload(&mut self) {
        let mut ids: Vec<u32> =
            self.streams.iter().filter(|(_, stream)| stream.is_sending).map(|(id, _)| *id).collect();
        self.dice.shuffle(&mut ids);
        let mut has_moved = true;
        while std::mem::take(&mut has_moved) {
            for id in &ids {
                has_moved |= self.upload_frame(*id);
            }
        }
    }

    fn upload_frame(&mut self, id: u32) -> bool {
        let Some(stream) = self.streams.get_mut(&id) else { return false };
        if self.small_data_left < SMALL_DATA_BYTES {
            stream.ask.piece = stream.ask.piece.max(SMALL_DATA_BYTES);
        }
        let most = self.send_window.min(stream.send_window).min(self.server.frame as i64);
        let Some((n, is_last)) = stream.sendable(most) else { return false };
        let mut payload = stream.take_content(n);
        if !is_last {
            self.small_data_left -= SMALL_DATA_BYTES.saturating_sub(n).min(self.small_data_left);
        }
        let has_trailers = is_last && stream.ask.has_trailers;
        stream.is_sending = !is_last;
        let end = if is_last && !has_trailers { END_STREAM } else { 0 };
        // Padding counts, too.
        let padded = self.pad(&mut payload, usize::try_from(most).unwrap_or(0).saturating_sub(n));
        let length = payload.len() as i64;
        self.send_window -= length;
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.send_window -= length;
        }
        if length > 0 || end != 0 {
            self.out.extend(frame(DATA, end | padded, id, &payload));
        }
        if has_trailers {
            let mut block = Vec::new();
            self.encoder.block(&mut block).field(b"sum", b"1");
            self.put_fields(id, &block, true);
        }
        !is_last
    }

    /// Acknowledges the server's SETTINGS.
    pub(super) fn acknowledge(&mut self) {
        self.out.extend(frame(SETTINGS, super::frames::ACK, 0, &[]));
    }
}
