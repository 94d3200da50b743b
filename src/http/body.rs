//! Content is pulled: it is produced only when there is room for it, so that a slow reader also slows its producer.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use log::Level;

use super::exchange::{Source, Taker};
use crate::base::disk::OpenFile;

/// The content of a response.
#[derive(Default)]
pub enum Body {
    /// None.
    #[default]
    Empty,
    /// All of it, in memory.
    Bytes(Bytes),
    /// Part of a file. The system sends it straight from the page cache where the protocol allows that.
    File(FilePart),
    /// Bytes and parts of files, one after the other.
    Parts(VecDeque<ContentPart>),
    /// Pulled from a source as room appears. The source may take the request's content meanwhile.
    Source(Box<dyn Source>),
}

impl Body {
    /// Who takes the request's content while this is sent; `None`: nobody.
    pub fn taker(&mut self) -> Option<&mut dyn Taker> {
        match self {
            Body::Source(source) => source.taker(),
            _ => None,
        }
    }

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
            Body::Parts(parts) => Some(parts.iter().map(ContentPart::length).sum()),
            Body::Source(source) => source.length(),
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
            Body::Parts(parts) => write!(f, "Parts({})", parts.len()),
            Body::Source(source) => write!(f, "Source({:?})", source.length()),
        }
    }
}

/// Bytes in memory, and who owns them.
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

/// Part of a file. The file was opened when the response was decided, so it does not matter if its name is given to
/// another file later.
#[derive(Debug, Clone)]
pub struct FilePart {
    /// The file.
    pub file: Arc<OpenFile>,
    /// Where the part begins, in bytes from the start of the file.
    pub offset: u64,
    /// How long it is, in bytes.
    pub length: u64,
}

impl FilePart {
    /// As it is shown: the file's path, and where the part begins.
    pub fn shown(&self) -> Vec<u8> {
        [b"/", self.file.path(), format!(" from {}", self.offset).as_bytes()].concat()
    }
}

/// One of several parts of content.
#[derive(Debug)]
pub enum ContentPart {
    /// Bytes in memory.
    Bytes(Bytes),
    /// Part of a file.
    File(FilePart),
}

impl ContentPart {
    /// Its length in bytes.
    pub fn length(&self) -> u64 {
        match self {
            ContentPart::Bytes(bytes) => bytes.as_slice().len() as u64,
            ContentPart::File(part) => part.length,
        }
    }
}

/// What a pull says about the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Pull {
    /// There is more, as soon as there is room. Something was put, or the room is full.
    More,
    /// There is nothing now, but there will be.
    Pending(Wait),
    /// That was all.
    End,
}

/// What a producer waits for. Every wait has an end, so that no connection can be forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// The request's content: its next bytes, or its end. The body timeout bounds this wait.
    Content,
    /// This moment, or a wake (`base::wake`) before it.
    Until(Instant),
    /// The wake of a job that is running. If it has not come at this moment, the producer is asked again.
    Job(Instant),
    /// An upstream, which leaves a wake. If it has not come at this moment, the producer is asked again.
    Upstream(Instant),
    /// Input from the client, or a wake. Neither has to come; the producer is asked again at this moment.
    Idle(Instant),
}

impl Wait {
    /// When the wait ends at the latest; `None` if the body timeout decides that.
    pub fn until(self) -> Option<Instant> {
        match self {
            Wait::Content => None,
            Wait::Until(at) | Wait::Job(at) | Wait::Upstream(at) | Wait::Idle(at) => Some(at),
        }
    }
}

/// Why a handler could not do its work. Before the head is sent, the client gets a 500. After that the connection is
/// cut, so that the client does not take a part of the response for all of it. The cause is logged in both cases.
#[derive(Debug)]
pub struct Failure {
    /// The cause, for the log only; a client never sees it.
    pub cause: String,
    /// How serious that is for whoever reads the log.
    pub level: Level,
}

impl Failure {
    /// A failure with this cause.
    pub fn new(cause: impl fmt::Display) -> Failure {
        Failure { cause: cause.to_string(), level: Level::Error }
    }

    /// Who has failed, as the log says it before the cause.
    pub fn who(&self) -> &'static str {
        if self.level == Level::Error { "handler failed: " } else { "" }
    }

    /// The failure of an upstream, which is none of this server. The cause names it.
    pub fn of_upstream(cause: impl fmt::Display) -> Failure {
        Failure { cause: cause.to_string(), level: Level::Warn }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.cause)
    }
}

impl std::error::Error for Failure {}
