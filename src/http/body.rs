//! Bodies are pulled: content is produced only when there is room for it, so a slow reader stops its producer by itself.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use crate::base::disk::OpenFile;
use crate::base::ring::Room;

/// The content of a response.
pub enum Body {
    /// None.
    Empty,
    /// All of it, here and now.
    Bytes(Bytes),
    /// Part of a file, sent without passing through us where the protocol and the system allow it.
    File(FilePart),
    /// Bytes and parts of files, one after the other.
    Pieces(VecDeque<Piece>),
    /// Pulled from a source as room appears.
    Source(Box<dyn Source>),
    /// Pulled from the exchange that is also taking the request's content (`service::Exchange::pull`); the length if
    /// it is known.
    Exchange(Option<u64>),
}

impl Body {
    /// Bytes that live as long as the program.
    pub const fn from_static(bytes: &'static [u8]) -> Body {
        Body::Bytes(Bytes::Static(bytes))
    }

    /// The length in bytes if it is known before the last byte is.
    pub fn length(&self) -> Option<u64> {
        match self {
            Body::Empty => Some(0),
            Body::Bytes(bytes) => Some(bytes.as_slice().len() as u64),
            Body::File(part) => Some(part.length),
            Body::Pieces(pieces) => Some(pieces.iter().map(Piece::length).sum()),
            Body::Source(source) => source.length(),
            Body::Exchange(length) => *length,
        }
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Body {
        Body::Bytes(Bytes::Owned(bytes))
    }
}

impl From<String> for Body {
    fn from(text: String) -> Body {
        Body::from(text.into_bytes())
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Body::Empty => f.write_str("Empty"),
            Body::Bytes(bytes) => write!(f, "Bytes({})", bytes.as_slice().len()),
            Body::File(part) => write!(f, "File({}+{})", part.offset, part.length),
            Body::Pieces(pieces) => write!(f, "Pieces({})", pieces.len()),
            Body::Source(source) => write!(f, "Source({:?})", source.length()),
            Body::Exchange(length) => write!(f, "Exchange({length:?})"),
        }
    }
}

/// Bytes that are there as a whole, whoever owns them.
#[derive(Debug)]
pub enum Bytes {
    /// Part of the program.
    Static(&'static [u8]),
    /// Made for this response.
    Owned(Vec<u8>),
    /// Part of something that other responses share.
    Shared(Arc<[u8]>, Range<usize>),
}

impl Bytes {
    /// The bytes themselves.
    pub fn as_slice(&self) -> &[u8] {
        match self {
            Bytes::Static(bytes) => bytes,
            Bytes::Owned(bytes) => bytes,
            Bytes::Shared(bytes, range) => &bytes[range.clone()],
        }
    }
}

/// Part of a file that was opened when the response was decided: what its name means later does not matter.
#[derive(Debug, Clone)]
pub struct FilePart {
    /// The file.
    pub file: Arc<OpenFile>,
    /// Where the part begins, in bytes from the start of the file.
    pub offset: u64,
    /// How long it is, in bytes.
    pub length: u64,
}

/// One of several pieces of content.
#[derive(Debug)]
pub enum Piece {
    /// Bytes that are there.
    Bytes(Bytes),
    /// Part of a file.
    File(FilePart),
}

impl Piece {
    /// Its length in bytes.
    pub fn length(&self) -> u64 {
        match self {
            Piece::Bytes(bytes) => bytes.as_slice().len() as u64,
            Piece::File(part) => part.length,
        }
    }
}

/// Produces content piece by piece.
pub trait Source {
    /// How many bytes there will be in all, if that is known. Asked once, before the first pull.
    fn length(&self) -> Option<u64>;

    /// Puts more content into `room`, as much as is there and fits. `room` is never full when this is called, and
    /// never takes more than the announced length. Must not block.
    fn pull(&mut self, room: &mut Room<'_>, now: Instant) -> Result<Pull, Failure>;
}

/// What a pull says about the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Pull {
    /// There is more, as soon as there is room. Something was put, or the room is full.
    More,
    /// There is nothing just now.
    Pending(Wait),
    /// That was all.
    End,
}

/// Who moves a waiting producer next. Every wait has an end, so that no connection can be forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// The request's content: its next bytes, or its end. The body timeout bounds this wait.
    Content,
    /// The clock reaches this moment, or a notice (`base::wake`) comes earlier.
    Until(Instant),
    /// A job leaves its notice; looked at again at this moment if it has not.
    Job(Instant),
    /// Nobody is late: the client may speak, or a notice come; looked at again at this moment.
    Idle(Instant),
}

impl Wait {
    /// When to look again, if nothing else ends the wait; `None`: the content's own deadline tells.
    pub fn until(self) -> Option<Instant> {
        match self {
            Wait::Content => None,
            Wait::Until(at) | Wait::Job(at) | Wait::Idle(at) => Some(at),
        }
    }
}

/// Why a handler could not do its work. Before the head is sent it becomes a 500 and a log line; after that the
/// connection is cut, so that the client cannot take half an answer for a whole one.
#[derive(Debug)]
pub struct Failure {
    /// The cause, for the log only; a client never sees it.
    pub cause: String,
}

impl Failure {
    /// A failure with this cause.
    pub fn new(cause: impl fmt::Display) -> Failure {
        Failure { cause: cause.to_string() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.cause)
    }
}

impl std::error::Error for Failure {}
