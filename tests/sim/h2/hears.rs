//! What a client hears, and what it must not hear.

use std::time::Duration;

use tidemill::protocol::h2::fields::ListLimits;
use tidemill::protocol::h2::hpack::decoder::Decoded;

use super::frames::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, Frame, GOAWAY, HEADERS, PING, RST_STREAM, SETTINGS, WINDOW_UPDATE,
};
use super::stream::{ENHANCE_YOUR_CALM, FieldLines, NO_ERROR, Outcome, Stream};
use super::{Http2, Last, WINDOW_BYTES};

/// The largest window there is, in bytes (RFC 9113 §6.9.1).
const WINDOW_BYTES_MAX: i64 = 0x7fff_ffff;

impl Http2 {
    /// Takes the server's bytes. What it has to say to them comes with [`Http2::act`].
    ///
    /// # Errors
    /// The server is wrong, and how.
    pub fn take(&mut self, bytes: &[u8], now: Duration) -> Result<(), String> {
        self.now = now;
        // Over TLS the server may speak first.
        self.begin();
        self.frames.push(bytes);
        while let Some(frame) = self.frames.next() {
            let place = format!("a frame of type {} on stream {}", frame.kind, frame.stream);
            self.on_frame(&frame).map_err(|error| format!("{place}: {error}"))?;
        }
        Ok(())
    }

    fn on_frame(&mut self, frame: &Frame) -> Result<(), String> {
        if self.has_broken_rules() && frame.kind != GOAWAY {
            return Ok(());
        }
        if frame.kind != GOAWAY {
            self.heard_at = self.now;
        }
        let is_first_settings = frame.kind == SETTINGS && !frame.has(ACK);
        let is_of_connection = matches!(frame.kind, SETTINGS | PING | GOAWAY);
        match () {
            () if self.has_broken_rules() => {}
            () if !self.has_settings && !is_first_settings => return Err("SETTINGS must come first".to_owned()),
            () if self.block.is_some() && frame.kind != CONTINUATION => return Err("within a field block".to_owned()),
            () if frame.payload.len() > self.habits.frame as usize => return Err("a frame is too large".to_owned()),
            () if is_of_connection != (frame.stream == 0) && frame.kind != WINDOW_UPDATE => {
                return Err("on the wrong stream".to_owned());
            }
            () if frame.stream >= self.next_id || frame.stream != 0 && frame.stream.is_multiple_of(2) => {
                return Err("on a stream that was not opened".to_owned());
            }
            () => {}
        }
        match frame.kind {
            DATA => self.on_data(frame),
            HEADERS => {
                self.block = Some((frame.stream, frame.has(END_STREAM), Vec::new()));
                self.on_fragment(frame)
            }
            CONTINUATION => self.on_fragment(frame),
            RST_STREAM => self.on_reset(frame.stream, frame.number(0)?),
            SETTINGS if frame.has(ACK) => self.on_settings_ack(),
            SETTINGS => self.on_settings(frame),
            PING if frame.has(ACK) => match self.pings.pop_front() {
                Some(ping) if ping[..] == frame.payload => Ok(()),
                ping => Err(format!("the answer to {ping:?} is {:?}", frame.payload)),
            },
            PING => {
                self.out.extend(super::frames::frame(PING, ACK, 0, &frame.payload));
                Ok(())
            }
            GOAWAY => self.on_goaway(frame.number(0)?, frame.number(4)?, &frame.payload[8..]),
            WINDOW_UPDATE => self.on_window(frame.stream, frame.number(0)?),
            _ => Err("a frame that servers do not send".to_owned()),
        }
    }

    fn on_data(&mut self, frame: &Frame) -> Result<(), String> {
        let (length, window) = (frame.payload.len() as i64, self.window_max());
        let silent_since = self.now.saturating_sub(self.tunnel_timeout);
        self.left -= length;
        if self.left < 0 {
            return Err(format!("{} bytes more than the window of the connection", -self.left));
        }
        if frame.flags & !END_STREAM != 0 {
            return Err(format!("flags {:#x}", frame.flags));
        }
        let stream = self.stream(frame.stream)?;
        stream.received += length;
        // What is empty needs no window (§6.9.1).
        if length > 0 && stream.received > stream.granted + window {
            return Err(format!("{} bytes more than its window", stream.received - stream.granted - window));
        }
        stream.may_be_silent = stream.opened_at <= silent_since;
        if is_open(stream) { stream.on_data(&frame.payload, frame.has(END_STREAM)) } else { Ok(()) }
    }

    fn on_fragment(&mut self, frame: &Frame) -> Result<(), String> {
        let Some((stream, end_stream, mut block)) = self.block.take() else { return Err("of nothing".to_owned()) };
        if stream != frame.stream {
            return Err(format!("within a field block on stream {stream}"));
        }
        block.extend_from_slice(&frame.payload);
        if !frame.has(END_HEADERS) {
            self.block = Some((stream, end_stream, block));
            return Ok(());
        }
        let fields = self.decode(&block)?;
        let stream = self.stream(stream)?;
        if is_open(stream) { stream.on_fields(fields, end_stream) } else { Ok(()) }
    }

    fn decode(&mut self, block: &[u8]) -> Result<FieldLines, String> {
        let limits = ListLimits { bytes_max: 64 * 1024, fields_max: 200 };
        match self.decoder.decode(block, limits, &mut self.list) {
            Ok(Decoded::All) => {}
            other => return Err(format!("a field block: {other:?}")),
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(self.list.fields(0).iter().map(|(name, value)| (text(name), text(value))).collect())
    }

    fn on_reset(&mut self, id: u32, code: u32) -> Result<(), String> {
        let since = self.now.saturating_sub(self.habits.stall_timeout);
        let is_connection_stalled = self.granted_at <= since;
        let stream = self.stream(id)?;
        let is_stalled = is_connection_stalled || stream.is_stalled_since(since);
        if is_open(stream) { stream.on_reset(code, is_stalled) } else { Ok(()) }
    }

    fn on_settings(&mut self, frame: &Frame) -> Result<(), String> {
        if !frame.payload.len().is_multiple_of(6) || self.has_settings {
            return Err("SETTINGS of a wrong length, or for a second time".to_owned());
        }
        self.has_settings = true;
        for parameter in frame.payload.chunks(6) {
            let value = u32::from_be_bytes([parameter[2], parameter[3], parameter[4], parameter[5]]);
            match u16::from_be_bytes([parameter[0], parameter[1]]) {
                0x1 => self.encoder.set_table_size(value as usize),
                0x3 => self.server.streams_max = value as usize,
                0x4 => {
                    let difference = i64::from(value) - self.server.window;
                    self.server.window = value.into();
                    self.streams.values_mut().for_each(|stream| stream.send_window += difference);
                }
                0x5 => self.server.frame = value as usize,
                0x8 => self.server.allows_connect = value == 1,
                _ => {}
            }
        }
        self.acknowledge();
        Ok(())
    }

    fn on_settings_ack(&mut self) -> Result<(), String> {
        if self.windows.len() == 1 {
            return Err("an acknowledgement of nothing".to_owned());
        }
        self.windows.pop_front();
        self.decoder.set_table_size(self.habits.table as usize);
        Ok(())
    }

    fn on_goaway(&mut self, last: u32, code: u32, debug: &[u8]) -> Result<(), String> {
        let may_fail = match &self.habits.last {
            Last::Break(offence) if self.has_said_last => offence.code == code,
            _ => code == ENHANCE_YOUR_CALM && self.is_stuck(),
        };
        if code != NO_ERROR && !may_fail {
            return Err(format!("code {code}: {}", debug.escape_ascii()));
        }
        if self.goaway.is_some_and(|(before, _)| before < last) {
            return Err("the last stream becomes higher".to_owned());
        }
        self.goaway = Some((last, code));
        let is_lost = |id: u32| id > last || code != NO_ERROR;
        let lost = self.streams.iter_mut().filter(|(id, stream)| is_lost(**id) && stream.outcome.is_none());
        lost.for_each(|(_, stream)| (stream.outcome, stream.is_sending) = (Some(Outcome::Excused), false));
        Ok(())
    }

    /// Whether a server may give the connection up, because windows were not opened for too long.
    fn is_stuck(&self) -> bool {
        let since = self.now.saturating_sub(self.habits.stall_timeout);
        let is_stalled = |stream: &Stream| stream.outcome.is_none() && stream.is_stalled_since(since);
        self.granted_at <= since && self.habits.stall_timeout <= self.now || self.streams.values().any(is_stalled)
    }

    fn on_window(&mut self, stream: u32, increment: u32) -> Result<(), String> {
        let window = match stream {
            0 => &mut self.send_window,
            id => &mut self.stream(id)?.send_window,
        };
        *window += i64::from(increment);
        if increment == 0 || *window > WINDOW_BYTES_MAX.max(WINDOW_BYTES) {
            return Err(format!("an increment of {increment} to {window}"));
        }
        Ok(())
    }

    fn stream(&mut self, id: u32) -> Result<&mut Stream, String> {
        self.streams.get_mut(&id).ok_or_else(|| "on a stream that was not opened".to_owned())
    }
}

/// Whether what comes on it is looked at: what is under way when a client gives up means nothing any more.
fn is_open(stream: &Stream) -> bool {
    !matches!(stream.outcome, Some(Outcome::GivenUp | Outcome::Excused))
}
