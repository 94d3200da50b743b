//! The response side of a connection that speaks HTTP/1.

use std::ops::Range;

use super::Stop;
use crate::base::buffer_pool::BufferPool;
use crate::base::listener_role::ListenerRole;
use crate::base::moment::Moment;
use crate::base::ring::Room;
use crate::connection::Environment;
use crate::connection::channel::Channel;
use crate::connection::sink::{Full, ShortContent, Sink};
use crate::connection::telling;
use crate::http::body::{Body, FilePart};
use crate::http::exchange::Tunnel;
use crate::http::fields::{FieldSet, UPGRADE};
use crate::http::message::{Announced, Response, Version};
use crate::http::status::Status;
use crate::net::Socket;
use crate::net::marks::Marks;
use crate::observe::close_reason::Why;
use crate::observe::counters::Counters;
use crate::observe::histogram::Syscalls;
use crate::observe::request_record::RequestRecord;
use crate::protocol::h1::Sending;
use crate::protocol::h1::server::Server;

/// Room for the interim response that asks for content, in bytes.
const INVITATION_BYTES_MAX: usize = 64;

/// Where the response of one request goes.
pub(super) struct Http1Sink<'a, S> {
    pub(super) codec: &'a mut Server,
    pub(super) stop: &'a mut Stop,
    pub(super) channel: &'a mut Channel<S>,
    pub(super) environment: &'a Environment,
    pub(super) outboxes: &'a mut BufferPool,
    pub(super) head: &'a mut Vec<u8>,
    pub(super) counters: &'a mut Counters,
    pub(super) marks: &'a Marks,
    /// The request's number on its connection.
    pub(super) ordinal: u64,
    pub(super) drive_began: Moment,
}

impl<S: Socket> Http1Sink<'_, S> {
    /// Whether the connection cannot be used after this response: the server stops, the request was refused, or more
    /// unwanted content follows than is thrown away. A client that waits for 100 Continue, and does not get it, may send
    /// its content or not, so that nobody could tell where the next request begins.
    fn is_last(&self, content_is_wanted: bool) -> bool {
        let content_is_too_much = !content_is_wanted
            && match self.codec.content_to_come() {
                Announced::Nothing => false,
                Announced::Length(n) => {
                    n > self.environment.limits.discarded_bytes_max || self.codec.expects_continue()
                }
                Announced::Unknown => self.codec.expects_continue(),
            };
        self.environment.draining.is_some() || *self.stop != Stop::No || content_is_too_much
    }

    /// Why the connection cannot be used after this response, to a request that was not refused: the client has asked for
    /// that, or the response is the `last` one for a reason of ours, or has no length.
    #[cold]
    fn why_it_ends(&self, asked_by_client: bool, last: bool, status: Status) -> Why {
        match () {
            () if status == Status::SWITCHING_PROTOCOLS => Why::Conversation,
            () if asked_by_client && self.codec.version() == Version::Http10 => Why::Http10,
            () if asked_by_client => Why::Asked,
            () if self.environment.draining.is_some() => Why::Drain,
            () if last => Why::Limit,
            // HTTP/1.0 has no chunks.
            () => Why::Http10,
        }
    }
}

impl<S: Socket> Sink for Http1Sink<'_, S> {
    #[inline]
    fn room_for_head(&mut self, response: &Response, with_invitation: bool) -> Result<(), Full> {
        let invitation = if with_invitation { INVITATION_BYTES_MAX } else { 0 };
        let outbox = self.channel.outbox.ring(self.outboxes);
        let told = self.environment.told_bytes_max();
        match outbox.free() >= response.head_bytes_max() + told + invitation {
            true => Ok(()),
            false if outbox.is_empty() => Err(Full::ForEver),
            false => Err(Full::Now),
        }
    }

    #[inline]
    fn head(&mut self, response: &Response, content_is_wanted: bool, record: Option<&RequestRecord>) -> Range<u64> {
        let last = self.is_last(content_is_wanted);
        let (id, ordinal) = (self.channel.who.id, self.ordinal);
        self.marks.connection(id, |text| write!(text, "r={ordinal} respond {}", response.status));
        let asked_by_client = !self.codec.persists();
        self.head.clear();
        let Environment { limits, date, .. } = self.environment;
        self.codec.send_head(response, response.body.length(), last, limits.idle_told_secs, date, self.head);
        if let Some(hsts) = &self.environment.hsts
            && self.channel.role == ListenerRole::Https
        {
            hsts.add_to(self.head, response);
        }
        if let (Some(telling), Some(record)) = (&self.environment.telling, record) {
            telling::add_to(self.head, telling, response, record, self.drive_began);
        }
        if *self.stop == Stop::No && !self.codec.persists() {
            let why = self.why_it_ends(asked_by_client, last, response.status);
            *self.stop = Stop::AfterResponse { why, asked_by_client };
        }
        let put = self.channel.outbox.ring(self.outboxes).put(self.head);
        debug_assert_eq!(put, self.head.len(), "there is room for the head");
        let end = self.channel.position();
        end - put as u64..end
    }

    /// RFC 9110 §15.2.2 and §7.8; the codec adds `Connection: Upgrade`.
    fn tunnel(&mut self, tunnel: Tunnel) -> Response {
        self.codec.upgrade();
        let mut response = Response::new(Status::SWITCHING_PROTOCOLS).with_field(UPGRADE, tunnel.protocol);
        response.prepared = tunnel.prepared;
        response.origin = tunnel.origin;
        response.fields.extend(tunnel.fields);
        response.body = Body::Source(tunnel.content);
        response
    }

    fn interim(&mut self, status: Status, fields: &FieldSet) -> bool {
        self.codec.interim(status, fields, self.channel.outbox.ring(self.outboxes))
    }

    fn invite_content(&mut self) -> bool {
        self.codec.expects_continue() && self.codec.send_continue(self.channel.outbox.ring(self.outboxes))
    }

    fn wants_content(&self) -> bool {
        self.codec.sending() == Sending::Content
    }

    #[inline]
    fn put_all(&mut self, content: &[u8]) -> bool {
        self.codec.put_all(self.channel.outbox.ring(self.outboxes), content)
    }

    fn room(&mut self) -> Option<Room<'_>> {
        self.codec.room(self.channel.outbox.ring(self.outboxes))
    }

    fn seal(&mut self, written: usize) {
        self.codec.seal(self.channel.outbox.ring(self.outboxes), written);
    }

    fn takes_files(&self) -> bool {
        self.channel.can_send_file()
    }

    fn file(&mut self, part: FilePart, is_bulk: bool) {
        self.channel.hold_unsent(is_bulk, self.counters);
        self.codec.pass_by(part.length);
        self.channel.outbox.add_file(part);
    }

    fn has_all_content(&self) -> bool {
        self.codec.has_all_content()
    }

    fn finish(&mut self, trailers: &FieldSet) -> Result<bool, ShortContent> {
        let trailers = Some(trailers).filter(|trailers| !trailers.is_empty());
        self.codec.finish(self.channel.outbox.ring(self.outboxes), trailers)
    }

    fn syscalls(&mut self) -> &mut Syscalls {
        &mut self.counters.syscalls
    }
}
