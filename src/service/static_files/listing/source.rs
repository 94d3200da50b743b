//! A listing on its way out, piece by piece.

use std::sync::Arc;

use super::html::Page;
use super::json::Document;
use super::{Listing, Member};
use crate::base::ring::Room;
use crate::http::body::{Failure, Pull};
use crate::http::exchange::{Cx, Source};
use crate::http::fields::FieldValue;

/// How a listing is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A page for people.
    Html,
    /// `{"path":…,"entries":[…],"left_out":…}`
    Json,
}

impl Form {
    /// The value of Content-Type.
    pub const fn media_type(self) -> FieldValue {
        match self {
            Form::Html => FieldValue::from_static("text/html; charset=utf-8"),
            Form::Json => FieldValue::from_static("application/json"),
        }
    }
}

/// Content from a listing. A pull writes what fits and at most one piece more, which waits for the next room: a folder
/// of any size costs the listing, which may be shared, and a few KiB.
pub struct ListingSource {
    listing: Arc<Listing>,
    form: Form,
    /// The path of the folder, not encoded.
    path: Vec<u8>,
    /// How many parts of the path are pieces.
    crumbs: usize,
    next: Piece,
    /// The latest piece, of which the first `put` bytes are out.
    piece: Vec<u8>,
    put: usize,
}

/// The pieces in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piece {
    Opening,
    Crumb(usize),
    Heading,
    Row(usize),
    Closing,
    Nothing,
}

/// Writes the pieces of a form, each to the end of `out`.
pub(super) trait Pieces {
    fn opening(&self, out: &mut Vec<u8>);
    /// Part `index` of the path; the root is part 0.
    fn crumb(&self, index: usize, out: &mut Vec<u8>);
    fn heading(&self, out: &mut Vec<u8>);
    fn row(&self, index: usize, member: &Member<'_>, out: &mut Vec<u8>);
    fn closing(&self, out: &mut Vec<u8>);
}

impl ListingSource {
    /// The content for the folder at `path`: percent-decoded, from the root that the client sees, with or without
    /// slashes around it.
    pub fn new(listing: Arc<Listing>, form: Form, path: impl Into<Vec<u8>>) -> ListingSource {
        let path = path.into();
        let crumbs = match form {
            Form::Html => 1 + segments(&path).count(),
            Form::Json => 0,
        };
        ListingSource { listing, form, path, crumbs, next: Piece::Opening, piece: Vec::new(), put: 0 }
    }

    fn write_next(&mut self) {
        self.piece.clear();
        self.put = 0;
        match self.form {
            Form::Html => write(&Page::new(&self.listing, &self.path), &self.listing, self.next, &mut self.piece),
            Form::Json => write(&Document::new(&self.listing, &self.path), &self.listing, self.next, &mut self.piece),
        }
        self.next = self.after(self.next);
    }

    fn after(&self, piece: Piece) -> Piece {
        match piece {
            Piece::Opening => self.crumb_or_heading(0),
            Piece::Crumb(index) => self.crumb_or_heading(index + 1),
            Piece::Heading => self.row_or_closing(0),
            Piece::Row(index) => self.row_or_closing(index + 1),
            Piece::Closing | Piece::Nothing => Piece::Nothing,
        }
    }

    fn crumb_or_heading(&self, index: usize) -> Piece {
        if index < self.crumbs { Piece::Crumb(index) } else { Piece::Heading }
    }

    fn row_or_closing(&self, index: usize) -> Piece {
        if index < self.listing.len() { Piece::Row(index) } else { Piece::Closing }
    }

    fn flow(&mut self, room: &mut Room<'_>) {
        self.put += room.put(&self.piece[self.put..]);
    }
}

fn write(pieces: &impl Pieces, listing: &Listing, next: Piece, out: &mut Vec<u8>) {
    match next {
        Piece::Opening => pieces.opening(out),
        Piece::Crumb(index) => pieces.crumb(index, out),
        Piece::Heading => pieces.heading(out),
        Piece::Row(index) => pieces.row(index, &listing.member(index), out),
        Piece::Closing => pieces.closing(out),
        Piece::Nothing => {}
    }
}

/// The names between the slashes of a path.
pub(super) fn segments(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').filter(|segment| !segment.is_empty())
}

impl Source for ListingSource {
    fn length(&self) -> Option<u64> {
        None
    }

    fn pull(&mut self, room: &mut Room<'_>, _cx: &mut Cx<'_>) -> Result<Pull, Failure> {
        loop {
            self.flow(room);
            match () {
                () if self.put < self.piece.len() => return Ok(Pull::More),
                () if self.next == Piece::Nothing => return Ok(Pull::End),
                () if room.is_full() => return Ok(Pull::More),
                () => self.write_next(),
            }
        }
    }
}

#[cfg(test)]
impl ListingSource {
    /// How many rows have been written.
    pub(super) fn rows_written(&self) -> usize {
        match self.next {
            Piece::Opening | Piece::Crumb(_) | Piece::Heading => 0,
            Piece::Row(index) => index,
            Piece::Closing | Piece::Nothing => self.listing.len(),
        }
    }

    /// How much memory this source holds besides its listing, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.piece.capacity() + self.path.capacity()
    }
}
