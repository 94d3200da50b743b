//! Memory for the spans of field lines, which all connections of a loop use in turn.

use std::ops::Deref;

use crate::http::fields::FieldSpan;

/// The spans of the section that was looked at last: those of a head or trailers.
///
/// When a section comes in pieces, the spans of its first lines are still here with the next piece, unless somebody else's
/// section was looked at meanwhile. Sections are told apart by where they lie: one that is being received stays in its
/// connection's inbox, so no other is at the same address before it is over. Nothing is read through the address.
#[derive(Debug, Default)]
pub struct Spans {
    lines: Vec<FieldSpan>,
    address: usize,
}

impl Spans {
    /// From now on these are spans of `section`. Those that are here stay if it was looked at before and nobody else's was
    /// since; if it `is_new` they go in any case: it may lie where one did that is over.
    pub(super) fn turn_to(&mut self, section: &[u8], is_new: bool) {
        let address = section.as_ptr().addr();
        if is_new || address != self.address {
            self.lines.clear();
        }
        self.address = address;
    }

    /// Adds the span of the next line.
    #[inline]
    pub(super) fn push(&mut self, line: FieldSpan) {
        self.lines.push(line);
    }
}

impl Deref for Spans {
    type Target = [FieldSpan];

    fn deref(&self) -> &[FieldSpan] {
        &self.lines
    }
}
