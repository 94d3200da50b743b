//! A listing on its way out, part by part.

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

/// Content from a listing. A pull writes what fits and at most one part more, which waits for the next room: a folder
/// of any size costs the listing, which may be shared, and a few KiB.
pub struct ListingSource {
    listing: Arc<Listing>,
    form: Form,
    /// The path of the folder, not encoded.
    path: Vec<u8>,
    /// How many segments of the path are parts of the listing.
    crumbs: usize,
    next: ListingPart,
    /// The latest part, of which the first `put` bytes are out.
    part: Vec<u8>,
    put: usize,
}

/// The parts of a listing, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ListingPart {
    Opening,
    Crumb(usize),
    Heading,
    Row(usize),
    Closing,
    Nothing,
}

/// Writes the parts of a form, each to the end of `out`.
pub(super) trait ListingParts {
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
        ListingSource { listing, form, path, crumbs, next: ListingPart::Opening, part: Vec::new(), put: 0 }
    }

    fn write_next(&mut self) {
        self.part.clear();
        self.put = 0;
        match self.form {
            Form::Html => write(&Page::new(&self.listing, &self.path), &self.listing, self.next, &mut self.part),
            Form::Json => write(&Document::new(&self.listing, &self.path), &self.listing, self.next, &mut self.part),
        }
        self.next = self.after(self.next);
    }

    fn after(&self, part: ListingPart) -> ListingPart {
        match part {
            ListingPart::Opening => self.crumb_or_heading(0),
            ListingPart::Crumb(index) => self.crumb_or_heading(index + 1),
            ListingPart::Heading => self.row_or_closing(0),
            ListingPart::Row(index) => self.row_or_closing(index + 1),
            ListingPart::Closing | ListingPart::Nothing => ListingPart::Nothing,
        }
    }

    fn crumb_or_heading(&self, index: usize) -> ListingPart {
        if index < self.crumbs { ListingPart::Crumb(index) } else { ListingPart::Heading }
    }

    fn row_or_closing(&self, index: usize) -> ListingPart {
        if index < self.listing.len() { ListingPart::Row(index) } else { ListingPart::Closing }
    }

    fn flow(&mut self, room: &mut Room<'_>) {
        self.put += room.put(&self.part[self.put..]);
    }
}

fn write(parts: &impl ListingParts, listing: &Listing, next: ListingPart, out: &mut Vec<u8>) {
    match next {
        ListingPart::Opening => parts.opening(out),
        ListingPart::Crumb(index) => parts.crumb(index, out),
        ListingPart::Heading => parts.heading(out),
        ListingPart::Row(index) => parts.row(index, &listing.member(index), out),
        ListingPart::Closing => parts.closing(out),
        ListingPart::Nothing => {}
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
                () if self.put < self.part.len() => return Ok(Pull::More),
                () if self.next == ListingPart::Nothing => return Ok(Pull::End),
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
            ListingPart::Opening | ListingPart::Crumb(_) | ListingPart::Heading => 0,
            ListingPart::Row(index) => index,
            ListingPart::Closing | ListingPart::Nothing => self.listing.len(),
        }
    }

    /// How much memory this source holds besides its listing, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.part.capacity() + self.path.capacity()
    }
}
