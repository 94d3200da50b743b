//! Responses: heads, content in turns, ends.

use super::{CONTROL_RESERVE, Phase, Scratch, Session};
use crate::base::ring::{RingBuffer, Room};
use crate::http::date::DateCache;
use crate::http::fields::FieldSet;
use crate::http::message::Response;
use crate::http::status::Status;
use crate::protocol::ShortContent;
use crate::protocol::h2::error::ErrorCode;
use crate::protocol::h2::frame::FRAME_HEAD_BYTES;
use crate::protocol::h2::frame_writer;
use crate::protocol::h2::head::{ResponseContent, put_interim, put_response, put_trailers, response_content};
use crate::protocol::h2::priority::Turn;
use crate::protocol::h2::stream_state::{Ending, Sent, State};
use crate::protocol::h2::streams::Output;

/// What a field may take beyond its separators in HTTP/1: lengths, and its part of the table's size. Also room for a field
/// that is not one of the response, but for its value. In bytes.
const FIELD_BYTES: usize = 16;

/// What every response has.
#[derive(Debug, Clone, Copy)]
pub struct Added<'a> {
    /// The date.
    pub date: &'a DateCache,
    /// Another field, with a name in lower case.
    pub field: Option<(&'a [u8], &'a [u8])>,
    /// Fields whose values are those of this response alone, with names in any case.
    pub told: &'a [(&'a [u8], &'a [u8])],
}

impl Session {
    /// Whether the stream has content to send, as far as its source knows. It takes no turns before.
    pub fn has_content(&mut self, stream: u32, has_content: bool) {
        if let Some(live) = self.streams.get_mut(stream) {
            live.has_content = has_content;
        }
        self.refresh(stream);
    }

    /// Whose turn it is to send content, and how much. Streams without content or without a window are passed over. `None`
    /// also while the window of the connection is shut, and after an error.
    pub fn next_turn(&self) -> Option<Turn> {
        if self.send.available() == 0 || self.phase == Phase::Failed { None } else { self.ready.next() }
    }

    /// Whether there is room for a head of so many bytes, as HTTP/1 would count them, with so many fields.
    pub fn has_room_for_head(&self, head_bytes_max: usize, fields: usize, outbox: &RingBuffer) -> bool {
        let block_bytes = head_bytes_max + (fields + 4) * FIELD_BYTES;
        let bytes = frame_writer::field_block_bytes(block_bytes, self.peer.frame_bytes_max as usize);
        self.control.is_empty() && outbox.free() >= bytes + CONTROL_RESERVE
    }

    /// Sends the head of a final response; there must be [room](Session::has_room_for_head) for it. `length` is that of
    /// the response's content, if known. Says whether content is to follow.
    pub fn send_head(
        &mut self,
        stream: u32,
        response: &Response,
        length: Option<u64>,
        added: Added<'_>,
        outbox: &mut RingBuffer,
        scratch: &mut Scratch,
    ) -> bool {
        let Some(live) = self.streams.get_mut(stream) else { return false };
        debug_assert!(live.output == Output::Idle, "one final response to a request");
        // What a tunnel carries has no length (RFC 8441 §5).
        let length = length.filter(|_| !live.is_tunnel || response.status != Status::OK);
        let (content, field) = response_content(response.status, live.is_head, length);
        live.expects_continue = false;
        scratch.block.clear();
        let mut block = self.encoder.block(&mut scratch.block);
        put_response(&mut block, response, field, added.date);
        if let Some((name, value)) = added.field {
            block.field(name, value);
        }
        for (name, value) in added.told {
            block.passing_field(name, value);
        }
        let is_last = content == ResponseContent::Nothing;
        self.put_field_block(stream, is_last, outbox, scratch);
        if is_last {
            self.end_output(stream, outbox);
        } else if let Some(live) = self.streams.get_mut(stream) {
            live.output = Output::Content(content);
        }
        !is_last
    }

    /// Sends an interim response (RFC 9110 §15.2), for which there must be room.
    pub fn interim(
        &mut self,
        stream: u32,
        status: Status,
        fields: &FieldSet,
        outbox: &mut RingBuffer,
        scratch: &mut Scratch,
    ) {
        debug_assert!(status.is_interim() && status != Status::SWITCHING_PROTOCOLS, "§8.6: there is no 101");
        let Some(live) = self.streams.get_mut(stream) else { return };
        live.expects_continue &= status != Status::CONTINUE;
        scratch.block.clear();
        put_interim(&mut self.encoder.block(&mut scratch.block), status, fields);
        self.put_field_block(stream, false, outbox, scratch);
    }

    /// Room for content, behind the head of its frame; `None` if there is no window or too little room. The outbox must not
    /// change until [`seal`](Session::seal).
    pub fn room<'a>(&self, stream: u32, outbox: &'a mut RingBuffer) -> Option<Room<'a>> {
        let size = self.content_bytes_max(stream, outbox);
        (size > 0).then(|| outbox.room(FRAME_HEAD_BYTES, size))
    }

    /// Frames and adds the first `written` bytes that were put into [`room`](Session::room). The last byte of content with
    /// a known length ends the stream.
    pub fn seal(&mut self, stream: u32, outbox: &mut RingBuffer, written: usize) {
        debug_assert!(written <= self.content_bytes_max(stream, outbox), "more was written than there was room for");
        let Some(live) = self.streams.get_mut(stream).filter(|_| written > 0) else { return };
        let bytes = written as u32;
        live.send.spend(bytes);
        self.send.spend(bytes);
        self.ledger.on_sent(bytes);
        self.content_sent += u64::from(bytes);
        let mut is_last = false;
        if let Output::Content(ResponseContent::Length(left)) = &mut live.output {
            *left -= written as u64;
            is_last = *left == 0;
        }
        outbox.seal(FRAME_HEAD_BYTES, &frame_writer::data_head(stream, written, is_last), written);
        self.has_sent = true;
        self.ready.sent(stream, bytes);
        if is_last { self.end_output(stream, outbox) } else { self.refresh(stream) }
    }

    /// Adds all the content at once, if its length is the announced one and there is room for it in one frame. The response
    /// is then complete.
    pub fn put_all(&mut self, stream: u32, content: &[u8], outbox: &mut RingBuffer) -> bool {
        let output = self.streams.get(stream).map(|live| live.output);
        let is_all = output == Some(Output::Content(ResponseContent::Length(content.len() as u64)));
        if !is_all || content.len() > self.content_bytes_max(stream, outbox) {
            return false;
        }
        outbox.room(FRAME_HEAD_BYTES, content.len()).put(content);
        self.seal(stream, outbox, content.len());
        true
    }

    /// Whether content of the response is to follow its head.
    pub fn wants_content(&self, stream: u32) -> bool {
        self.streams.get(stream).is_some_and(|live| matches!(live.output, Output::Content(_)))
    }

    /// Whether all the content that was announced has been sent.
    pub fn has_all_content(&self, stream: u32) -> bool {
        self.streams.get(stream).is_none_or(|live| live.output == Output::Done)
    }

    /// Ends the content, with these trailers if there are any; false if there was no room for the end. If fewer bytes than
    /// announced were sent, it is an error, and the stream must be reset.
    pub fn finish(
        &mut self,
        stream: u32,
        trailers: &FieldSet,
        outbox: &mut RingBuffer,
        scratch: &mut Scratch,
    ) -> Result<bool, ShortContent> {
        match self.streams.get(stream).map(|live| live.output) {
            Some(Output::Content(ResponseContent::Length(missing))) => return Err(ShortContent { missing }),
            Some(Output::Content(ResponseContent::Unknown)) => {}
            _ => return Ok(true),
        }
        let lines = trailers.as_lines().len();
        if !self.has_room_for_head(lines, trailers.iter().count(), outbox) {
            return Ok(false);
        }
        scratch.block.clear();
        if !trailers.is_empty() {
            put_trailers(&mut self.encoder.block(&mut scratch.block), trailers);
        }
        match scratch.block.is_empty() {
            true => {
                outbox.put(&frame_writer::data_head(stream, 0, true));
            }
            false => self.put_field_block(stream, true, outbox, scratch),
        }
        self.end_output(stream, outbox);
        Ok(true)
    }

    /// Ends a stream at once, whatever has been sent or received of it. NO_ERROR behind a complete response tells the client
    /// that the rest of the request is not wanted (§8.1).
    pub fn reset(&mut self, stream: u32, code: ErrorCode, outbox: &mut RingBuffer) {
        if self.streams.get(stream).is_none() {
            return;
        }
        self.control.put(outbox, &frame_writer::rst_stream(stream, code));
        self.close(stream, Ending::ResetByUs, outbox);
    }

    /// Puts the stream among those that take turns, or takes it out.
    pub(super) fn refresh(&mut self, stream: u32) {
        let Some(live) = self.streams.get(stream) else { return };
        let is_ready = live.has_content && matches!(live.output, Output::Content(_)) && live.send.available() > 0;
        if is_ready { self.ready.insert(stream, live.priority) } else { self.ready.remove(stream) }
    }

    /// The same for all streams.
    pub(super) fn refresh_all(&mut self) {
        let streams: Vec<u32> = self.streams.iter().map(|stream| stream.id).collect();
        for stream in streams {
            self.refresh(stream);
        }
    }

    /// How much content may go into one frame now: both windows, the peer's and our limits, what is left of the turn, what
    /// was announced, and the room.
    fn content_bytes_max(&self, stream: u32, outbox: &RingBuffer) -> usize {
        let Some(live) = self.streams.get(stream) else { return 0 };
        let announced = match live.output {
            Output::Content(ResponseContent::Length(left)) => u32::try_from(left).unwrap_or(u32::MAX),
            Output::Content(ResponseContent::Unknown) => u32::MAX,
            Output::Idle | Output::Done | Output::Content(ResponseContent::Nothing) => 0,
        };
        if !self.control.is_empty() {
            return 0;
        }
        let windows = live.send.available().min(self.send.available());
        let frame = self.peer.frame_bytes_max.min(self.ready.left(stream));
        let room = outbox.free().saturating_sub(FRAME_HEAD_BYTES + CONTROL_RESERVE);
        (announced.min(windows).min(frame) as usize).min(room)
    }

    fn put_field_block(&mut self, stream: u32, is_last: bool, outbox: &mut RingBuffer, scratch: &Scratch) {
        self.has_sent = true;
        let frame_bytes_max = self.peer.frame_bytes_max as usize;
        let put = frame_writer::put_field_block(outbox, stream, &scratch.block, is_last, frame_bytes_max);
        debug_assert!(put, "there is room for a field block before it is made");
    }

    /// Our side of the stream is complete.
    fn end_output(&mut self, stream: u32, outbox: &mut RingBuffer) {
        let Some(live) = self.streams.get_mut(stream) else { return };
        live.output = Output::Done;
        live.state = live.state.send(Sent::EndStream);
        self.ready.remove(stream);
        if let Some(State::Closed(ending)) = self.streams.get(stream).map(|live| live.state) {
            self.close(stream, ending, outbox);
        }
    }
}
