//! The response side of one stream of a connection that speaks HTTP/2.

use std::ops::Range;

use crate::base::listener_role::ListenerRole;
use crate::base::moment::Moment;
use crate::base::ring::{RingBuffer, Room};
use crate::connection::Environment;
use crate::connection::sink::{Full, ShortContent, Sink};
use crate::connection::telling::Timings;
use crate::http::body::{Body, FilePart};
use crate::http::exchange::Tunnel;
use crate::http::fields::FieldSet;
use crate::http::message::Response;
use crate::http::status::Status;
use crate::net::marks::Marks;
use crate::observe::histogram::Syscalls;
use crate::observe::request_record::RequestRecord;
use crate::protocol::h2::session::{Added, Scratch, Session};

/// Room for the interim response that asks for content, in bytes.
const INVITATION_BYTES_MAX: usize = 64;

/// Where the response of one stream goes.
pub(super) struct Http2Sink<'a> {
    pub(super) session: &'a mut Session,
    pub(super) stream: u32,
    pub(super) outbox: &'a mut RingBuffer,
    /// Where the outbox begins in the stream to the client.
    pub(super) sent: u64,
    pub(super) scratch: &'a mut Scratch,
    pub(super) environment: &'a Environment,
    pub(super) syscalls: &'a mut Syscalls,
    pub(super) marks: &'a Marks,
    pub(super) connection: u64,
    pub(super) role: ListenerRole,
    pub(super) drive_began: Moment,
    pub(super) added: Appended,
}

/// What was added of a response.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Appended {
    /// Bytes behind its head.
    pub(super) framed_bytes: u64,
    /// Content alone.
    pub(super) content_bytes: u64,
    /// Where the last byte of it ends in the stream to the client, if any was added.
    pub(super) end: Option<u64>,
}

impl Http2Sink<'_> {
    fn position(&self) -> u64 {
        self.sent + self.outbox.len() as u64
    }

    /// A part of the response was added at `start`, perhaps with frames of the connection behind it, of which `before` bytes
    /// had been sent until then. Returns where it ends.
    fn note_added(&mut self, start: u64, before: u64) -> u64 {
        let end = self.position() - (self.session.control_bytes() - before);
        if end > start {
            self.added.end = Some(end);
        }
        end
    }

    /// The same for what comes behind the head.
    fn note_framed(&mut self, start: u64, before: u64) {
        self.added.framed_bytes += self.note_added(start, before) - start;
    }
}

impl Sink for Http2Sink<'_> {
    fn room_for_head(&mut self, response: &Response, with_invitation: bool) -> Result<(), Full> {
        let invitation = if with_invitation { INVITATION_BYTES_MAX } else { 0 };
        let fields = response.prepared.len() + response.fields.len();
        let told = self.environment.told_bytes_max();
        match self.session.has_room_for_head(response.head_bytes_max() + told + invitation, fields, self.outbox) {
            true => Ok(()),
            false if self.outbox.is_empty() => Err(Full::ForEver),
            false => Err(Full::Now),
        }
    }

    fn head(&mut self, response: &Response, _content_is_wanted: bool, record: Option<&RequestRecord>) -> Range<u64> {
        let stream = self.stream;
        self.marks.connection(self.connection, |text| write!(text, "s={stream} respond {}", response.status));
        let (start, before) = (self.position(), self.session.control_bytes());
        let Environment { hsts, date, telling, .. } = self.environment;
        let mut memory = None;
        let told = telling.as_ref().zip(record).map(|(telling, record)| {
            telling.fields(response, record, self.drive_began, memory.insert(Timings::default()))
        });
        let hsts = hsts.as_ref().filter(|_| self.role == ListenerRole::Https);
        let added = Added {
            date,
            field: hsts.and_then(|hsts| hsts.field_for(response)),
            told: told.as_deref().unwrap_or_default(),
        };
        let length = response.body.length();
        self.session.send_head(stream, response, length, added, self.outbox, self.scratch);
        start..self.note_added(start, before)
    }

    /// RFC 8441 §5.
    fn tunnel(&mut self, tunnel: Tunnel) -> Response {
        let mut response = Response::new(Status::OK);
        response.prepared = tunnel.prepared;
        response.origin = tunnel.origin;
        response.fields.extend(tunnel.fields);
        response.body = Body::Source(tunnel.content);
        response
    }

    fn interim(&mut self, status: Status, fields: &FieldSet) -> bool {
        if !self.session.has_room_for_head(fields.as_lines().len(), fields.len(), self.outbox) {
            return false;
        }
        self.session.interim(self.stream, status, fields, self.outbox, self.scratch);
        true
    }

    fn invite_content(&mut self) -> bool {
        let is_awaited = self.session.stream(self.stream).is_some_and(|stream| stream.expects_continue);
        is_awaited && self.interim(Status::CONTINUE, &FieldSet::EMPTY)
    }

    fn wants_content(&self) -> bool {
        self.session.wants_content(self.stream)
    }

    fn put_all(&mut self, content: &[u8]) -> bool {
        let (start, before) = (self.position(), self.session.control_bytes());
        let put = self.session.put_all(self.stream, content, self.outbox);
        self.note_framed(start, before);
        self.added.content_bytes += if put { content.len() as u64 } else { 0 };
        put
    }

    fn room(&mut self) -> Option<Room<'_>> {
        self.session.room(self.stream, self.outbox)
    }

    fn seal(&mut self, written: usize) {
        let (start, before) = (self.position(), self.session.control_bytes());
        self.session.seal(self.stream, self.outbox, written);
        self.note_framed(start, before);
        self.added.content_bytes += written as u64;
    }

    fn takes_files(&self) -> bool {
        false
    }

    /// Never called: each frame of a file needs a head, so its content goes through the room.
    fn file(&mut self, _part: FilePart, _is_bulk: bool) {
        debug_assert!(false, "HTTP/2 takes no files");
    }

    fn has_all_content(&self) -> bool {
        self.session.has_all_content(self.stream)
    }

    fn finish(&mut self, trailers: &FieldSet) -> Result<bool, ShortContent> {
        let (start, before) = (self.position(), self.session.control_bytes());
        let finished = self.session.finish(self.stream, trailers, self.outbox, self.scratch);
        self.note_framed(start, before);
        finished
    }

    fn syscalls(&mut self) -> &mut Syscalls {
        self.syscalls
    }
}
