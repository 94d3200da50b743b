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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::h1::scan::FieldScan;

    /// A section of so many lines, and the next piece of it that has not arrived.
    struct Arriving {
        section: Vec<u8>,
        arrived: usize,
        scan: FieldScan,
        found: Option<Vec<FieldSpan>>,
    }

    impl Arriving {
        fn new(lines: usize) -> Arriving {
            let lines: String = (0..lines).map(|line| format!("N{line}:{}\r\n", "v".repeat(line))).collect();
            let section = format!("{lines}\r\n").into_bytes();
            Arriving { section, arrived: 0, scan: FieldScan::starting_at(0), found: None }
        }

        fn arrive(&mut self, bytes: usize, spans: &mut Spans) {
            self.arrived = (self.arrived + bytes).min(self.section.len());
            let end = self.scan.advance(&self.section[..self.arrived], false, spans, 100).expect("a good section");
            assert_eq!(end.is_some(), self.arrived == self.section.len());
            self.found = end.map(|_| spans.to_vec());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2048))]

        #[test]
        fn sections_that_arrive_by_turns_get_their_own_spans(
            lines in prop::array::uniform3(0..5_usize),
            pieces in prop::collection::vec((0..3_usize, 1..12_usize), 0..40),
        ) {
            let mut spans = Spans::default();
            let mut sections = lines.map(Arriving::new);
            let rest = (0..3).map(|which| (which, usize::from(u16::MAX)));
            for (which, bytes) in pieces.into_iter().chain(rest) {
                if sections[which].found.is_none() {
                    sections[which].arrive(bytes, &mut spans);
                }
            }
            for (section, lines) in sections.iter().zip(lines) {
                let mut alone = Arriving::new(lines);
                alone.arrive(usize::from(u16::MAX), &mut Spans::default());
                prop_assert_eq!(&section.found, &alone.found);
                prop_assert_eq!(section.found.as_ref().map(Vec::len), Some(lines));
            }
        }
    }
}
