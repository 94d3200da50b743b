//! What each frame does to the session (RFC 9113 §6), once its head was found right.

use super::{Event, Phase, STOP_PING, Session, Work, list_limits};
use crate::http::status::Status;
use crate::protocol::ProtocolError;
use crate::protocol::h2::error::{ErrorCode, Fault};
use crate::protocol::h2::frame_reader::Frame;
use crate::protocol::h2::frame_writer;
use crate::protocol::h2::head::{Refusal, Request, check_trailers};
use crate::protocol::h2::hpack::decoder::{DecodeError, Decoded};
use crate::protocol::h2::ledger::Misbehaviour;
use crate::protocol::h2::priority::Priority;
use crate::protocol::h2::settings::NextSettings;
use crate::protocol::h2::stream_state::{Ending, Misfit, Received, State};
use crate::protocol::h2::streams::{Output, Stream};
use crate::protocol::h2::windows::{ReceiveWindow, SendWindow};

const DEPENDS_ON_ITSELF: Fault = Fault::protocol("a stream depends on itself", "RFC 7540 §5.3.1");
const BEHIND_GOAWAY: Fault =
    Fault { code: ErrorCode::REFUSED_STREAM, reason: "a stream behind GOAWAY", section: "RFC 9113 §6.8" };
const TOO_MANY: Fault =
    Fault { code: ErrorCode::REFUSED_STREAM, reason: "too many streams at a time", section: "RFC 9113 §5.1.2" };
const LIST_TOO_LARGE: ProtocolError = ProtocolError {
    status: Status::REQUEST_HEADER_FIELDS_TOO_LARGE,
    reason: "the fields of the head exceed the limit",
    section: "RFC 6585 §5",
};

/// A field section that has arrived.
#[derive(Debug, Clone, Copy)]
struct Section {
    stream: u32,
    end_stream: bool,
    depends_on: Option<u32>,
    /// The decoder has left out fields beyond the limits.
    is_too_large: bool,
}

impl Session {
    /// Does what a frame wants. `None`: nobody else has to know.
    pub(super) fn on_frame(&mut self, frame: Frame, work: &mut Work<'_>) -> Result<Option<Event>, Fault> {
        let is_settings = matches!(frame, Frame::Setting { .. } | Frame::SettingsEnd);
        if self.phase == Phase::FirstSettings && !is_settings {
            return Err(Fault::protocol("the first frame is not SETTINGS", "RFC 9113 §3.4"));
        }
        match frame {
            Frame::Data { stream, payload, content, end_stream } => {
                self.on_data(stream, payload, content, end_stream, work)
            }
            Frame::Content(bytes) => Ok(self.reader.data_stream().map(|stream| Event::Content { stream, bytes })),
            Frame::DataEnd { stream, end_stream } => self.on_data_end(stream, end_stream, work),
            Frame::Headers { stream, end_stream, depends_on } => {
                let is_too_large = self.decode(work)?;
                self.on_section(Section { stream, end_stream, depends_on, is_too_large }, work)
            }
            Frame::Priority { stream, depends_on } if stream == depends_on => {
                self.fail_stream(stream, DEPENDS_ON_ITSELF, work)
            }
            Frame::Priority { .. } | Frame::Ignored => Ok(None),
            Frame::PriorityOfWrongLength { stream } => {
                self.fail_stream(stream, Fault::frame_size("PRIORITY is not 5 bytes", "RFC 9113 §6.3"), work)
            }
            Frame::Reset { stream, code } => self.on_reset(stream, ErrorCode(code), work),
            Frame::Setting { identifier, value } => self.peer_next.set(identifier, value).map(|()| None),
            Frame::SettingsEnd => self.on_settings(work),
            Frame::SettingsAck => self.on_settings_ack(work),
            Frame::Ping { is_ack: true, payload } => {
                self.knows_of_stop |= payload == STOP_PING;
                Ok(None)
            }
            Frame::Ping { is_ack: false, payload } => {
                self.control.put(work.outbox, &frame_writer::ping(payload, true));
                if std::mem::take(&mut self.has_sent) { Ok(None) } else { self.charged(Misbehaviour::Ping, work) }
            }
            Frame::GoAway { code, .. } => Ok(Some(Event::GoAway(ErrorCode(code)))),
            Frame::WindowUpdate { stream: 0, increment } => self.on_connection_window(increment, work),
            Frame::WindowUpdate { stream, increment } => self.on_stream_window(stream, increment, work),
            Frame::PriorityUpdate { stream } => self.on_priority_update(stream, work),
        }
    }

    /// Decodes the field block that has arrived, whatever its stream: the table of fields belongs to the connection (§4.3).
    /// Says whether the list is too large.
    fn decode(&mut self, work: &mut Work<'_>) -> Result<bool, Fault> {
        let block = self.reader.payload(work.inbox);
        match self.decoder.decode(block, list_limits(&self.ours, work.limits), work.list) {
            Ok(decoded) => Ok(decoded == Decoded::TooLarge),
            Err(DecodeError::Compression(error)) => {
                Err(Fault { code: ErrorCode::COMPRESSION_ERROR, reason: error.reason, section: error.section })
            }
            Err(DecodeError::Excessive) => {
                Err(Fault::calm("a field block becomes far larger than the limit", "RFC 9113 §10.5.1"))
            }
        }
    }

    /// HEADERS: a request begins, or ends with trailers.
    fn on_section(&mut self, section: Section, work: &mut Work<'_>) -> Result<Option<Event>, Fault> {
        let Section { stream, end_stream, .. } = section;
        if stream.is_multiple_of(2) {
            return Err(Fault::protocol("a client's stream has an even identifier", "RFC 9113 §5.1.1"));
        }
        let state = self.streams.state(stream);
        match state.receive(Received::Headers { end_stream }) {
            Err(misfit) => self.on_misfit(stream, misfit, work),
            Ok(next) if state == State::Idle => self.on_request(section, next, work),
            Ok(next) => self.on_trailers(section, next, work),
        }
    }

    fn on_request(&mut self, section: Section, next: State, work: &mut Work<'_>) -> Result<Option<Event>, Fault> {
        let Section { stream, end_stream, depends_on, is_too_large } = section;
        if self.last_taken.is_some() {
            // The client may have sent it before it knew (§6.8). If it was told because of its misbehaviour, that counts too.
            self.note_late(work.now);
            let event = self.reject(stream, BEHIND_GOAWAY, work);
            if self.is_warned {
                self.charge(Misbehaviour::ForcedReset, work)?;
            }
            return Ok(Some(event));
        }
        if self.streams.len() >= self.ours.streams_max as usize {
            let event = self.reject(stream, TOO_MANY, work);
            // It may not know our limit yet (§5.1.2).
            if self.is_acknowledged {
                self.charge(Misbehaviour::ForcedReset, work)?;
            }
            return Ok(Some(event));
        }
        let request = match (depends_on == Some(stream), is_too_large) {
            (true, _) => Err(Refusal::Malformed(DEPENDS_ON_ITSELF)),
            (false, true) => Err(Refusal::Answer(LIST_TOO_LARGE)),
            (false, false) => Request::new(work.list, end_stream, work.limits),
        };
        match request {
            Ok(request) => {
                self.open(stream, next, Some(&request), work);
                self.ends = end_stream.then_some(stream);
                Ok(Some(Event::Head { stream, request }))
            }
            Err(Refusal::Answer(error)) => {
                self.open(stream, next, None, work);
                self.ends = end_stream.then_some(stream);
                Ok(Some(Event::Refused { stream, error }))
            }
            Err(Refusal::Malformed(fault)) => {
                let event = self.reject(stream, fault, work);
                self.charge(Misbehaviour::ForcedReset, work)?;
                Ok(Some(event))
            }
        }
    }

    fn open(&mut self, id: u32, state: State, request: Option<&Request>, work: &mut Work<'_>) {
        let early = self.early_priorities.iter().rposition(|(stream, _)| *stream == id);
        let told = early.map(|at| self.early_priorities.swap_remove(at).1);
        self.early_priorities.retain(|(stream, _)| *stream > id);
        let field = Priority::from_fields(work.list.fields(0).all("priority"));
        self.streams.open(Stream {
            id,
            state,
            send: SendWindow::new(self.peer.window_bytes),
            receive: ReceiveWindow::new(self.stream_window),
            priority: told.unwrap_or(field),
            content_left: request.and_then(|request| request.content_length),
            small_data: 0,
            output: Output::Idle,
            has_content: false,
            // Known even if the request is refused: no response to HEAD has content (RFC 9110 §9.3.2).
            is_head: work.list.fields(0).first(":method") == Some(b"HEAD"),
            is_tunnel: request.is_some_and(|request| request.is_tunnel),
            expects_continue: request.is_some_and(|request| request.expects_continue),
        });
    }

    fn on_trailers(&mut self, section: Section, next: State, work: &mut Work<'_>) -> Result<Option<Event>, Fault> {
        let Section { stream, end_stream, is_too_large, .. } = section;
        let Some(live) = self.streams.get(stream) else { return Ok(None) };
        let fault = if live.is_tunnel {
            Some(Fault::protocol("HEADERS in a tunnel", "RFC 9113 §8.5"))
        } else if !end_stream {
            Some(Fault::protocol("HEADERS in the middle of a request", "RFC 9113 §8.1"))
        } else if live.content_left.is_some_and(|left| left > 0) {
            Some(Fault::protocol("less content than content-length says", "RFC 9113 §8.1.1"))
        } else if is_too_large {
            Some(Fault::calm("the trailers exceed the limit", "RFC 9113 §10.5.1"))
        } else {
            check_trailers(work.list).err()
        };
        match fault {
            Some(fault) => self.fail_stream(stream, fault, work),
            None => {
                self.advance_state(stream, next, work);
                Ok(Some(Event::End { stream, has_trailers: true }))
            }
        }
    }

    /// DATA begins. All of it is counted now, so that it makes no difference how it is cut on its way.
    fn on_data(
        &mut self,
        stream: u32,
        payload: u32,
        content: u32,
        end_stream: bool,
        work: &mut Work<'_>,
    ) -> Result<Option<Event>, Fault> {
        // It counts for the connection even if the stream is closed (§5.1, §6.9).
        self.receive.receive(payload)?;
        if let Err(misfit) = self.streams.state(stream).receive(Received::Data { end_stream }) {
            self.reader.skip_content();
            self.credit(payload, 0, work.outbox);
            return self.on_misfit(stream, misfit, work);
        }
        let Some(live) = self.streams.get_mut(stream) else { return Ok(None) };
        live.expects_continue = false;
        if let Err(fault) = live.receive.receive(payload) {
            self.credit(payload, 0, work.outbox);
            return self.fail_stream(stream, fault, work);
        }
        if let Some(left) = live.content_left {
            let Some(left) = left.checked_sub(content.into()) else {
                let fault = Fault::protocol("more content than content-length says", "RFC 9113 §8.1.1");
                return self.fail_stream(stream, fault, work);
            };
            live.content_left = Some(left);
        }
        self.consumed(stream, (payload - content) as usize, work.outbox, work.limits);
        if end_stream {
            return Ok(None);
        }
        if content == 0 {
            return self.charged(Misbehaviour::EmptyFrame, work);
        }
        let (charged, standing) = self.ledger.charge_data(content, work.now);
        if let Some(live) = self.streams.get_mut(stream) {
            live.small_data += charged;
        }
        self.judge(standing, work.outbox, work.now).map(|()| None)
    }

    fn on_data_end(&mut self, stream: u32, end_stream: bool, work: &mut Work<'_>) -> Result<Option<Event>, Fault> {
        if !end_stream {
            return Ok(None);
        }
        let Some(live) = self.streams.get(stream) else { return Ok(None) };
        if live.content_left.is_some_and(|left| left > 0) {
            let fault = Fault::protocol("less content than content-length says", "RFC 9113 §8.1.1");
            return self.fail_stream(stream, fault, work);
        }
        match live.state.receive(Received::Data { end_stream }) {
            Ok(next) => {
                self.advance_state(stream, next, work);
                Ok(Some(Event::End { stream, has_trailers: false }))
            }
            Err(misfit) => self.on_misfit(stream, misfit, work),
        }
    }

    fn on_reset(&mut self, stream: u32, code: ErrorCode, work: &mut Work<'_>) -> Result<Option<Event>, Fault> {
        if let Err(misfit) = self.streams.state(stream).receive(Received::RstStream) {
            return self.on_misfit(stream, misfit, work);
        }
        let Some(live) = self.streams.get(stream) else { return Ok(None) };
        let is_answered = live.output != Output::Idle;
        self.close(stream, Ending::ResetByPeer, work.outbox);
        if !is_answered {
            self.charge(Misbehaviour::ResetBeforeAnswer, work)?;
        }
        Ok(Some(Event::Reset { stream, code, fault: None }))
    }

    /// All parameters have arrived, and hold from now on (§6.5.3).
    fn on_settings(&mut self, work: &mut Work<'_>) -> Result<Option<Event>, Fault> {
        let (before, told) = (self.peer, self.peer_next);
        let after = told.settings;
        (self.peer, self.peer_next) = (after, NextSettings::behind(after));
        // RFC 7541 §4.2: the smallest of several sizes has to be signalled, too.
        if [told.table_bytes_least, after.header_table_bytes] != [before.header_table_bytes; 2] {
            self.encoder.set_table_size(told.table_bytes_least as usize);
            self.encoder.set_table_size(after.header_table_bytes as usize);
        }
        // No window may become too large (§6.9.2), also not between two parameters.
        if [told.window_bytes_most, after.window_bytes] != [before.window_bytes; 2] {
            for stream in self.streams.iter_mut() {
                stream.send.shift(before.window_bytes, told.window_bytes_most)?;
                stream.send.shift(told.window_bytes_most, after.window_bytes)?;
            }
            self.refresh_all();
        }
        self.control.put(work.outbox, &frame_writer::settings_ack());
        if self.phase == Phase::FirstSettings {
            self.phase = Phase::Running;
            return Ok(None);
        }
        self.charged(Misbehaviour::Settings, work)
    }

    /// The client knows our settings from now on. One acknowledgement is due; another is a glitch.
    fn on_settings_ack(&mut self, work: &mut Work<'_>) -> Result<Option<Event>, Fault> {
        if self.is_acknowledged {
            return self.charged(Misbehaviour::Glitch, work);
        }
        self.is_acknowledged = true;
        self.decoder.set_table_size(self.ours.header_table_bytes as usize);
        let (before, after) = (self.stream_window, self.ours.stream_window_bytes);
        self.stream_window = after;
        for stream in self.streams.iter_mut() {
            stream.receive.shift(before, after);
            // What was consumed may have been too little for an update of the larger window.
            let increment = stream.receive.consume(0, work.limits.http2.upload_window_bytes_max);
            if let Some(increment) = increment.filter(|_| stream.state.peer_may_send()) {
                self.control.put(work.outbox, &frame_writer::window_update(stream.id, increment));
            }
        }
        Ok(None)
    }

    fn on_connection_window(&mut self, increment: u32, work: &mut Work<'_>) -> Result<Option<Event>, Fault> {
        if increment == 0 {
            return Err(Fault::protocol("WINDOW_UPDATE of 0", "RFC 9113 §6.9"));
        }
        self.send.widen(increment)?;
        if self.ready.next().is_none() {
            return Ok(None);
        }
        let standing = self.ledger.charge_window(self.send.available(), work.now);
        self.judge(standing, work.outbox, work.now).map(|()| None)
    }

    fn on_stream_window(&mut self, stream: u32, increment: u32, work: &mut Work<'_>) -> Result<Option<Event>, Fault> {
        if let Err(misfit) = self.streams.state(stream).receive(Received::WindowUpdate) {
            return self.on_misfit(stream, misfit, work);
        }
        if increment == 0 {
            return self.fail_stream(stream, Fault::protocol("WINDOW_UPDATE of 0", "RFC 9113 §6.9"), work);
        }
        let Some(live) = self.streams.get_mut(stream) else { return Ok(None) };
        if let Err(fault) = live.send.widen(increment) {
            return self.fail_stream(stream, fault, work);
        }
        if !live.has_content {
            return Ok(None);
        }
        let window = live.send.available();
        self.refresh(stream);
        let standing = self.ledger.charge_window(window, work.now);
        self.judge(standing, work.outbox, work.now).map(|()| None)
    }

    /// RFC 9218 §7.1. It may come before its stream begins, and counts more than the Priority field.
    fn on_priority_update(&mut self, stream: u32, work: &mut Work<'_>) -> Result<Option<Event>, Fault> {
        if stream.is_multiple_of(2) {
            return Err(Fault::protocol("PRIORITY_UPDATE for a stream that is not a request", "RFC 9218 §7.1"));
        }
        let priority = Priority::from_field(self.reader.payload(work.inbox));
        if let Some(live) = self.streams.get_mut(stream) {
            live.priority = priority;
            self.ready.change(stream, priority);
            return Ok(None);
        }
        if self.streams.state(stream) == State::Idle {
            self.early_priorities.retain(|(early, _)| *early != stream);
            if self.early_priorities.len() >= self.ours.streams_max as usize {
                return self.charged(Misbehaviour::Glitch, work);
            }
            self.early_priorities.push((stream, priority));
        }
        Ok(None)
    }

    fn on_misfit(&mut self, stream: u32, misfit: Misfit, work: &mut Work<'_>) -> Result<Option<Event>, Fault> {
        match misfit {
            Misfit::Late => Ok(None),
            Misfit::Stream(fault) => self.fail_stream(stream, fault, work),
            Misfit::Connection(fault) => Err(fault),
        }
    }

    /// The error of a stream: it is reset. One that has not begun cannot be, and then it is the connection's error (§5.1).
    fn fail_stream(&mut self, stream: u32, fault: Fault, work: &mut Work<'_>) -> Result<Option<Event>, Fault> {
        match self.streams.state(stream) {
            State::Idle => return Err(fault),
            State::Closed(_) => return Ok(None),
            _ => {}
        }
        self.charge(Misbehaviour::ForcedReset, work)?;
        self.reset(stream, fault.code, work.outbox);
        Ok(Some(Event::Reset { stream, code: fault.code, fault: Some(fault) }))
    }

    /// Resets a stream that has just begun, and that nobody knows of.
    fn reject(&mut self, stream: u32, fault: Fault, work: &mut Work<'_>) -> Event {
        self.streams.skip(stream, Ending::ResetByUs);
        self.control.put(work.outbox, &frame_writer::rst_stream(stream, fault.code));
        Event::Rejected { stream, fault }
    }

    fn advance_state(&mut self, stream: u32, next: State, work: &mut Work<'_>) {
        match next {
            State::Closed(ending) => self.close(stream, ending, work.outbox),
            _ => {
                if let Some(live) = self.streams.get_mut(stream) {
                    live.state = next;
                }
            }
        }
    }

    fn charged(&mut self, what: Misbehaviour, work: &mut Work<'_>) -> Result<Option<Event>, Fault> {
        self.charge(what, work).map(|()| None)
    }
}
