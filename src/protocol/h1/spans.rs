//! Memory for the spans of field lines, which all connections of a loop use in turn.

use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::http::fields::FieldSpan;

/// Memory for the spans of the head that is being read; one for a whole event loop.
#[derive(Debug, Default)]
pub struct Scratch {
    /// Spans of the field lines, reused from head to head.
    pub spans: Spans,
}

/// The spans of one section, a head or trailers: the one that was read last.
///
/// A section may arrive in pieces. When the next piece arrives, the spans of its first lines are still here, unless
/// another section was read in between. Each section therefore draws a number when it begins, and keeps it. The spans
/// belong to the section that drew a number last.
#[derive(Debug)]
pub struct Spans {
    lines: Vec<FieldSpan>,
    /// The number drawn last.
    owner: u64,
}

/// The number of a section, its lower half first: in this form it needs no alignment to 8 bytes, which would make each
/// connection larger. The default is nobody's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Owner([u32; 2]);

impl Owner {
    fn new(number: u64) -> Owner {
        Owner([number as u32, (number >> 32) as u32])
    }
}

/// How many numbers one `Spans` has for its sections: more than a loop can draw in a year.
const NUMBERS: u64 = 1 << 48;
/// Where the numbers of the next `Spans` begin. No two `Spans` have a number in common, so that a section is not taken
/// for another one if it is continued with other `Spans`.
static NEXT: AtomicU64 = AtomicU64::new(1);

impl Default for Spans {
    fn default() -> Spans {
        Spans { lines: Vec::new(), owner: NEXT.fetch_add(NUMBERS, Ordering::Relaxed) }
    }
}

impl Spans {
    /// For a section that begins, or whose spans have been overwritten: removes all spans. Those that follow belong to
    /// the owner that is returned.
    #[inline]
    pub(super) fn begin(&mut self) -> Owner {
        self.lines.clear();
        self.owner += 1;
        Owner::new(self.owner)
    }

    /// Whether these are the spans of this section.
    #[inline]
    pub(super) fn belong_to(&self, owner: Owner) -> bool {
        Owner::new(self.owner) == owner
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

    /// A section that arrives in pieces.
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
            let end = self.scan.advance(&self.section[..self.arrived], 0, false, spans, 100).expect("a good section");
            assert_eq!(end.is_some(), self.arrived == self.section.len());
            self.found = end.map(|_| spans.to_vec());
        }
    }

    #[test]
    fn a_section_finds_its_spans_again_with_other_memory() {
        let (mut first, mut second) = (Spans::default(), Spans::default());
        let (mut section, mut other) = (Arriving::new(3), Arriving::new(3));
        section.arrive(8, &mut first);
        other.arrive(10, &mut second);
        section.arrive(3, &mut second);
        section.arrive(4, &mut first);
        other.arrive(100, &mut first);
        section.arrive(100, &mut second);
        let mut alone = Arriving::new(3);
        alone.arrive(100, &mut Spans::default());
        assert_eq!((&section.found, &other.found), (&alone.found, &alone.found));
    }

    #[test]
    fn a_section_that_nobody_disturbs_is_read_once() {
        let (mut spans, mut section) = (Spans::default(), Arriving::new(4));
        section.arrive(1, &mut spans);
        let owner = Owner::new(spans.owner);
        while section.found.is_none() {
            section.arrive(1, &mut spans);
        }
        assert!(spans.belong_to(owner));
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
