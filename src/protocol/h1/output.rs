//! The content that one side of a connection sends, put into its framing (RFC 9112 §6, §7). Servers send responses with
//! it, and clients requests.

use super::Sending;
use super::encode::{self, ChunkPrefix};
use super::framing::Wire;
use crate::base::ring::{RingBuffer, Room};
use crate::http::fields::{FieldSet, is_allowed_in_trailers};
use crate::protocol::ShortContent;

/// With less room than this a source is not asked for content, if there will be more room.
const USEFUL_ROOM: usize = 512;

/// What is written to the outbox next.
#[derive(Debug, Clone, Copy)]
pub enum Output {
    /// A head.
    Idle,
    /// Content, framed like this.
    Content(Wire),
    /// Nothing.
    Done,
}

impl Output {
    /// Behind a head whose content is framed like this.
    pub fn behind_head(wire: Wire) -> Output {
        if wire == Wire::Nothing { Output::Done } else { Output::Content(wire) }
    }

    /// The state of sending. `Done` right behind the head of a message without content.
    pub fn sending(&self) -> Sending {
        match self {
            Output::Idle => Sending::Idle,
            Output::Content(_) => Sending::Content,
            Output::Done => Sending::Done,
        }
    }

    /// Room for content, behind space for its framing, and no larger than what is left of the announced length; `None`
    /// while the outbox is too full for a useful amount. The outbox must not change until [`seal`](Output::seal).
    pub fn room<'a>(&self, outbox: &'a mut RingBuffer) -> Option<Room<'a>> {
        let (gap, size) = self.placement(outbox)?;
        let is_all = matches!(self, Output::Content(Wire::Length(left)) if *left == size as u64);
        let is_useful = size >= USEFUL_ROOM || is_all || outbox.is_empty();
        (size > 0 && is_useful).then(|| outbox.room(gap, size))
    }

    /// Frames and adds the first `written` bytes that were put into [`room`](Output::room).
    pub fn seal(&mut self, outbox: &mut RingBuffer, written: usize) {
        let Some((gap, size)) = self.placement(outbox) else { return };
        debug_assert!(written <= size, "more was written than there was room for");
        match self {
            // A chunk of size 0 would end the content.
            _ if written == 0 => {}
            Output::Content(Wire::Chunked) => {
                outbox.seal(gap, ChunkPrefix::new(written).as_bytes(), written);
                let whole = outbox.put_whole(encode::CRLF);
                debug_assert!(whole, "room for it was left");
            }
            Output::Content(Wire::Length(left)) => {
                outbox.commit(written);
                *left -= written as u64;
            }
            _ => outbox.commit(written),
        }
    }

    /// Adds all the content at once, if its length is the announced one and there is room for it. The message is then
    /// complete.
    pub fn put_all(&mut self, outbox: &mut RingBuffer, content: &[u8]) -> bool {
        let is_all = matches!(self, Output::Content(Wire::Length(left)) if *left == content.len() as u64);
        let put = is_all && outbox.put_whole(content);
        if put {
            *self = Output::Done;
        }
        put
    }

    /// Counts `n` bytes of content with a length that the caller sends past the outbox.
    pub fn pass_by(&mut self, n: u64) {
        if let Output::Content(Wire::Length(left)) = self {
            debug_assert!(n <= *left, "more than was announced");
            *left = left.saturating_sub(n);
        }
    }

    /// Whether all the content that was announced has been written. Only the end is missing.
    pub fn has_all_content(&self) -> bool {
        matches!(self, Output::Content(Wire::Length(0)))
    }

    /// How much content is still to be added, if its length was announced.
    pub fn left(&self) -> Option<u64> {
        match self {
            Output::Content(Wire::Length(left)) => Some(*left),
            Output::Content(_) => None,
            Output::Idle | Output::Done => Some(0),
        }
    }

    /// Ends the content; false if there was no room for the last chunk. If fewer bytes than announced were written, it
    /// is an error, and the connection must be cut.
    ///
    /// The trailers go into the last chunk if the content is chunked, and nowhere otherwise (RFC 9112 §7.1.2): a
    /// recipient may drop them, and so may we. Fields that trailers must not have are left out (RFC 9110 §6.5.1).
    pub fn finish(&mut self, outbox: &mut RingBuffer, trailers: Option<&FieldSet>) -> Result<bool, ShortContent> {
        debug_assert!(!matches!(self, Output::Idle), "content ends after a head");
        match *self {
            Output::Content(Wire::Length(missing)) if missing > 0 => return Err(ShortContent { missing }),
            Output::Content(Wire::Chunked) if !put_last_chunk(outbox, trailers) => return Ok(false),
            _ => *self = Output::Done,
        }
        Ok(true)
    }

    /// The gap that content needs in front of it in the outbox, and how much content may follow the gap; `None` if
    /// there is no content to send.
    fn placement(&self, outbox: &RingBuffer) -> Option<(usize, usize)> {
        match self {
            Output::Content(Wire::Chunked) => Some(encode::chunk_room(outbox.free())),
            Output::Content(Wire::Length(left)) => {
                Some((0, outbox.free().min(usize::try_from(*left).unwrap_or(usize::MAX))))
            }
            Output::Content(_) => Some((0, outbox.free())),
            Output::Idle | Output::Done => None,
        }
    }
}

/// Adds the chunk that ends the content, or nothing.
fn put_last_chunk(outbox: &mut RingBuffer, trailers: Option<&FieldSet>) -> bool {
    match trailers {
        None => outbox.put_whole(encode::LAST_CHUNK),
        Some(trailers) => encode::last_chunk(outbox, trailers.iter().filter(|(name, _)| is_allowed_in_trailers(name))),
    }
}
