//! The response side of a codec, as a stream uses it. It is generic and not dynamic, so HTTP/1 pays nothing for others.

use std::ops::Range;

use crate::base::ring::Room;
use crate::http::body::FilePart;
use crate::http::exchange::Tunnel;
use crate::http::fields::FieldSet;
use crate::http::message::Response;
use crate::http::status::Status;
use crate::observe::histogram::Syscalls;
use crate::observe::request_record::RequestRecord;

/// Where a response goes.
pub(super) trait Sink {
    /// Whether there is room for the head of a response, and for an invitation to send content if there is to be one.
    fn room_for_head(&mut self, response: &Response, with_invitation: bool) -> Result<(), Full>;

    /// Encodes the head of a final response, for which there is room. `content_is_wanted`: the response's source takes the
    /// request's content. `record` is that of the request, of which the head may tell something. The result is where the head
    /// stands in the stream to the client.
    fn head(&mut self, response: &Response, content_is_wanted: bool, record: Option<&RequestRecord>) -> Range<u64>;

    /// Encodes an interim response (RFC 9110 §15.2); false if there is no room for it now.
    fn interim(&mut self, status: Status, fields: &FieldSet) -> bool;

    /// Begins a tunnel: what follows in both directions is another protocol. The result is the response that says so.
    fn tunnel(&mut self, tunnel: Tunnel) -> Response;

    /// Tells a client that holds its content back to send it (RFC 9110 §10.1.1). Says whether anything was added.
    fn invite_content(&mut self) -> bool;

    /// Whether content is to follow the head that was sent.
    fn wants_content(&self) -> bool;

    /// Adds all the content at once, if that is what was announced and there is room for it.
    fn put_all(&mut self, content: &[u8]) -> bool;

    /// Room for content; `None` while there is too little of it.
    fn room(&mut self) -> Option<Room<'_>>;

    /// Frames and adds the first `written` bytes that were put into the room.
    fn seal(&mut self, written: usize);

    /// Whether parts of files can be added. Otherwise they go through the room.
    fn takes_files(&self) -> bool;
    /// Adds part of a file. `is_bulk`: it is one of many.
    fn file(&mut self, part: FilePart, is_bulk: bool);

    /// Whether all the content that was announced has been added.
    fn has_all_content(&self) -> bool;

    /// Ends the content, with these trailers if its framing has room for them (RFC 9110 §6.5.1); `Ok(false)` if there is no room for its end now.
    fn finish(&mut self, trailers: &FieldSet) -> Result<bool, ShortContent>;

    /// Counts of system calls, for those that ask about files.
    fn syscalls(&mut self) -> &mut Syscalls;
}

/// There is no room for a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// Not now.
    Now,
    /// It is larger than the outbox.
    ForEver,
}

pub(super) use crate::protocol::ShortContent;
