//! Byte ranges (RFC 9110 §14): which parts of a representation a request asks for, and how they are sent.

use super::fields::{FieldValue, Fields, list_members};

/// More parts than this are not sent: no honest client needs them (RFC 9110 §17.15).
pub const PARTS_MAX: usize = 16;

/// A list with more members than this is ignored.
const SPECS_MAX: usize = 64;

/// More ranges than this that overlap another one are an attack or a mistake (RFC 9110 §17.15).
const OVERLAPPING_MAX: usize = 2;

/// A part of a representation: at least one byte, and all of it within the representation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteRange {
    /// Position of its first byte.
    pub first: u64,
    /// Position of its last byte, which is not before the first.
    pub last: u64,
}

#[allow(clippy::len_without_is_empty, reason = "no range is empty")]
impl ByteRange {
    /// How many bytes it has; at least one.
    pub fn len(self) -> u64 {
        self.last - self.first + 1
    }

    fn overlaps(self, other: ByteRange) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    /// Whether both can be joined: they overlap, or one begins where the other ends.
    fn touches(self, other: ByteRange) -> bool {
        self.first <= other.last.saturating_add(1) && other.first <= self.last.saturating_add(1)
    }

    /// The range that both are together if they touch.
    fn joined(self, other: ByteRange) -> ByteRange {
        ByteRange { first: self.first.min(other.first), last: self.last.max(other.last) }
    }
}

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ranges {
    /// All of the content: there is no Range, or it is invalid or not reasonable. 200.
    Ignore,
    /// Only parts behind the end. 416 with [`unsatisfied_content_range`].
    Unsatisfiable,
    /// One part. 206 with [`content_range`].
    One(ByteRange),
    /// Two to [`PARTS_MAX`] parts that neither overlap nor touch. They are in the order in which the request first
    /// mentioned a byte of each. 206 with [`Multipart`].
    Several(Vec<ByteRange>),
}

/// The ranges that the Range field among `fields` asks for, of a representation with `length` bytes. Only for GET, and
/// only if `conditional::evaluate` says so.
pub fn requested(fields: Fields<'_>, length: u64) -> Ranges {
    let mut lines = fields.all("range");
    match (lines.next(), lines.next()) {
        (Some(value), None) => parse(value, length),
        // Range is not a list field, so several lines cannot be joined (RFC 9110 §5.3).
        _ => Ranges::Ignore,
    }
}

/// The ranges that `value`, a Range field's, asks for, of a representation with `length` bytes.
pub fn parse(value: &[u8], length: u64) -> Ranges {
    match range_set(value).and_then(|set| Mentioned::of(set, length)) {
        Some(mentioned) => mentioned.chosen(),
        None => Ranges::Ignore,
    }
}

/// What follows `bytes=`; units are case-insensitive (RFC 9110 §14.1), and those we do not know are ignored (§14.2).
fn range_set(value: &[u8]) -> Option<&[u8]> {
    let (unit, set) = value.split_at_checked(b"bytes=".len())?;
    unit.eq_ignore_ascii_case(b"bytes=").then_some(set)
}

/// The ranges that a range set mentions.
#[derive(Default)]
struct Mentioned {
    /// Those that have bytes within the representation, in the order of the set.
    ranges: Vec<ByteRange>,
    /// Whether an empty representation is asked for what begins at its beginning. A Content-Range cannot name a part of
    /// zero bytes, so all of it is sent (RFC 9110 §14.2 allows that). Caches ask for `bytes=0-` to learn the length.
    nothing: bool,
}

impl Mentioned {
    /// `None` if the set is invalid, because one of its members is (RFC 9110 §14.1.1), or if it has no members or too
    /// many.
    fn of(set: &[u8], length: u64) -> Option<Mentioned> {
        let mut mentioned = Mentioned::default();
        let mut specs = 0;
        for member in list_members(set) {
            specs += 1;
            mentioned.add(RangeSpec::parse(member).filter(|_| specs <= SPECS_MAX)?, length);
        }
        (specs > 0).then_some(mentioned)
    }

    fn add(&mut self, spec: RangeSpec, length: u64) {
        match spec.within(length) {
            Some(range) => self.ranges.push(range),
            None => self.nothing |= length == 0 && spec.begins_at_the_beginning(),
        }
    }

    /// The ranges that are sent.
    fn chosen(self) -> Ranges {
        match self.ranges[..] {
            [] if self.nothing => Ranges::Ignore,
            [] => Ranges::Unsatisfiable,
            [only] => Ranges::One(only),
            _ if self.overlapping() > OVERLAPPING_MAX => Ranges::Ignore,
            _ => as_parts(self.coalesced()),
        }
    }

    /// How many of the ranges overlap another one.
    fn overlapping(&self) -> usize {
        let ranges = self.ranges.iter().enumerate();
        let overlaps = |at: usize, range: ByteRange| {
            self.ranges.iter().enumerate().any(|(other_at, other)| other_at != at && range.overlaps(*other))
        };
        ranges.filter(|(at, range)| overlaps(*at, **range)).count()
    }

    /// Joins ranges that touch (RFC 9110 §15.3.7.2), so that no byte is sent twice. A joined range takes the place of
    /// the first of them: a client that asks for the end first, such as a reader of archives, wants it first.
    fn coalesced(self) -> Vec<ByteRange> {
        let mut parts: Vec<ByteRange> = Vec::with_capacity(self.ranges.len());
        for range in self.ranges {
            match parts.iter().position(|part| part.touches(range)) {
                None => parts.push(range),
                Some(at) => absorb(&mut parts, at, range),
            }
        }
        parts
    }
}

/// Joins `range` to the part at `at`, which is the first that it touches, and to all later parts that it touches. Parts
/// do not touch each other, so the joined part touches no other.
fn absorb(parts: &mut Vec<ByteRange>, at: usize, range: ByteRange) {
    let touched = parts.extract_if(at.., |part| part.touches(range));
    let joined = touched.fold(range, ByteRange::joined);
    parts.insert(at, joined);
}

fn as_parts(parts: Vec<ByteRange>) -> Ranges {
    match parts[..] {
        [only] => Ranges::One(only),
        _ if parts.len() > PARTS_MAX => Ranges::Ignore,
        _ => Ranges::Several(parts),
    }
}

/// One member of a range set (RFC 9110 §14.1.2). A number that does not fit in 64 bits becomes the greatest one: both
/// are behind the end of every representation.
#[derive(Clone, Copy)]
enum RangeSpec {
    /// `first-last`
    Between(u64, u64),
    /// `first-`
    From(u64),
    /// `-length`
    Suffix(u64),
}

impl RangeSpec {
    fn parse(member: &[u8]) -> Option<RangeSpec> {
        let dash = memchr::memchr(b'-', member)?;
        match (&member[..dash], &member[dash + 1..]) {
            (b"", suffix) => number(suffix).map(RangeSpec::Suffix),
            (first, b"") => number(first).map(RangeSpec::From),
            (first, last) => RangeSpec::between(number(first)?, number(last)?),
        }
    }

    /// Invalid if it ends before it begins (RFC 9110 §14.1.1).
    fn between(first: u64, last: u64) -> Option<RangeSpec> {
        (first <= last).then_some(RangeSpec::Between(first, last))
    }

    /// Whether it begins with the first byte of what is empty.
    fn begins_at_the_beginning(self) -> bool {
        matches!(self, RangeSpec::Between(0, _) | RangeSpec::From(0) | RangeSpec::Suffix(_))
    }

    /// The part of it that is within `length` bytes, if there is one.
    fn within(self, length: u64) -> Option<ByteRange> {
        let end = length.checked_sub(1)?;
        let (first, last) = match self {
            RangeSpec::Between(first, last) => (first, last.min(end)),
            RangeSpec::From(first) => (first, end),
            RangeSpec::Suffix(suffix) => (length.saturating_sub(suffix), end),
        };
        (first <= last).then_some(ByteRange { first, last })
    }
}

/// 1*DIGIT
fn number(digits: &[u8]) -> Option<u64> {
    let add = |sum: u64, byte: &u8| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        Some(sum.saturating_mul(10).saturating_add(digit))
    };
    if digits.is_empty() { None } else { digits.iter().try_fold(0, add) }
}

/// `Content-Range` of a part of `length` bytes (RFC 9110 §14.4).
pub fn content_range(range: ByteRange, length: u64) -> FieldValue {
    FieldValue::new(content_range_text(range, length)).expect("digits and punctuation")
}

/// `Content-Range` of a 416, for a representation of `length` bytes (RFC 9110 §15.5.17).
pub fn unsatisfied_content_range(length: u64) -> FieldValue {
    FieldValue::new(format!("bytes */{length}")).expect("digits and punctuation")
}

fn content_range_text(range: ByteRange, length: u64) -> String {
    format!("bytes {}-{}/{length}", range.first, range.last)
}

/// How several parts are put together: `multipart/byteranges` (RFC 9110 §14.6). The content is, for each part, its
/// [`part_head`](Multipart::part_head) and its bytes, and [`closing`](Multipart::closing) at the end.
#[derive(Debug, Clone)]
pub struct Multipart {
    boundary: String,
    content_type: FieldValue,
    length: u64,
}

impl Multipart {
    /// Parts of a representation of this media type and `length` in bytes (less than 2⁶³). `boundary` must be 1 to 70
    /// letters and digits that its bytes cannot be expected to contain, so it should be random (RFC 2046 §5.1.1).
    pub fn new(boundary: String, content_type: FieldValue, length: u64) -> Multipart {
        debug_assert!((1..=70).contains(&boundary.len()) && boundary.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        Multipart { boundary, content_type, length }
    }

    /// `Content-Type` of the whole.
    pub fn content_type(&self) -> FieldValue {
        let text = format!("multipart/byteranges; boundary={}", self.boundary);
        FieldValue::new(text).expect("a boundary has letters and digits only")
    }

    /// What stands before the bytes of the part `range`. Its line break belongs to the boundary, so the first part has
    /// none (RFC 2046 §5.1.1).
    pub fn part_head(&self, range: ByteRange, is_first: bool) -> Vec<u8> {
        let mut head = if is_first { Vec::new() } else { b"\r\n".to_vec() };
        head.extend_from_slice(format!("--{}\r\nContent-Type: ", self.boundary).as_bytes());
        head.extend_from_slice(self.content_type.as_bytes());
        head.extend_from_slice(b"\r\nContent-Range: ");
        head.extend_from_slice(content_range_text(range, self.length).as_bytes());
        head.extend_from_slice(b"\r\n\r\n");
        head
    }

    /// What stands behind the bytes of the last part.
    pub fn closing(&self) -> Vec<u8> {
        format!("\r\n--{}--\r\n", self.boundary).into_bytes()
    }

    /// The length in bytes of the whole content with these parts: its `Content-Length`.
    pub fn total_length(&self, parts: &[ByteRange]) -> u64 {
        let part = |(at, range): (usize, &ByteRange)| self.part_head(*range, at == 0).len() as u64 + range.len();
        parts.iter().enumerate().map(part).sum::<u64>() + self.closing().len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::sections::Section;

    fn one(first: u64, last: u64) -> Ranges {
        Ranges::One(ByteRange { first, last })
    }

    fn several(ranges: &[(u64, u64)]) -> Ranges {
        Ranges::Several(ranges.iter().map(|(first, last)| ByteRange { first: *first, last: *last }).collect())
    }

    fn of(value: &str, length: u64) -> Ranges {
        parse(value.as_bytes(), length)
    }

    #[test]
    fn the_examples_of_the_rfc() {
        // RFC 9110 §14.1.2, of 10,000 bytes.
        assert_eq!(of("bytes=0-499", 10_000), one(0, 499));
        assert_eq!(of("bytes=500-999", 10_000), one(500, 999));
        assert_eq!(of("bytes=-500", 10_000), one(9500, 9999));
        assert_eq!(of("bytes=9500-", 10_000), one(9500, 9999));
        assert_eq!(of("bytes=0-0,-1", 10_000), several(&[(0, 0), (9999, 9999)]));
        assert_eq!(of("bytes= 0-999, 4500-5499, -1000", 10_000), several(&[(0, 999), (4500, 5499), (9000, 9999)]));
        assert_eq!(of("bytes=500-600,601-999", 10_000), one(500, 999));
        assert_eq!(of("bytes=500-700,601-999", 10_000), one(500, 999));
    }

    #[test]
    fn what_lies_behind_the_end_is_cut_or_unsatisfiable() {
        assert_eq!(of("bytes=5-99", 10), one(5, 9));
        assert_eq!(of("bytes=-99", 10), one(0, 9));
        assert_eq!(of("bytes=10-", 10), Ranges::Unsatisfiable);
        assert_eq!(of("bytes=-0", 10), Ranges::Unsatisfiable);
        assert_eq!(of("bytes=10-11,3-4,99-", 10), one(3, 4));
        assert_eq!(of("bytes=0-99999999999999999999999", 10), one(0, 9));
        assert_eq!(of("bytes=-99999999999999999999999", 10), one(0, 9));
        assert_eq!(of("bytes=99999999999999999999999-", u64::MAX), Ranges::Unsatisfiable);
        assert_eq!(of("bytes=0-", u64::MAX), one(0, u64::MAX - 1));
    }

    #[test]
    fn nothing_has_an_end_but_no_part() {
        for whole in ["bytes=0-", "bytes=0-0", "bytes=0-99", "bytes=-0", "bytes=-1", "bytes=0-,-0", "bytes=7-,0-"] {
            assert_eq!(of(whole, 0), Ranges::Ignore, "{whole}");
        }
        for behind_the_end in ["bytes=1-", "bytes=5-9", "bytes=1-,2-"] {
            assert_eq!(of(behind_the_end, 0), Ranges::Unsatisfiable, "{behind_the_end}");
        }
        assert_eq!(of("bytes=-0", 1), Ranges::Unsatisfiable, "of what is not empty it asks for nothing");
    }

    #[test]
    fn what_is_no_range_set_is_ignored() {
        let ignored = [
            "",
            "bytes",
            "bytes=",
            "bytes=,",
            "bytes=-",
            "bytes=5",
            "bytes=5-4",
            "bytes=0-1,5-4",
            "bytes=a-",
            "bytes=0-b",
            "bytes=0-1;2-3",
            "bytes = 0-1",
            "bytes:0-1",
            "items=0-1",
            "kbytes=0-1",
            "bytes=0-1 2-3",
            "bytes=--1",
        ];
        for value in ignored {
            assert_eq!(of(value, 10), Ranges::Ignore, "{value}");
        }
        assert_eq!(of("BYTES=0-1", 10), one(0, 1));
        assert_eq!(of("bytes=,\t0-1 ,, ", 10), one(0, 1));
    }

    #[test]
    fn two_range_fields_are_none() {
        let section = Section::of(&[("range", "bytes=0-1"), ("Range", "bytes=3-4")]);
        assert_eq!(requested(section.fields(), 10), Ranges::Ignore);
        assert_eq!(requested(Section::of(&[("Range", "bytes=3-4")]).fields(), 10), one(3, 4));
        assert_eq!(requested(Fields::default(), 10), Ranges::Ignore);
    }

    #[test]
    fn joined_ranges_stand_where_the_first_of_them_stood() {
        assert_eq!(of("bytes=90-99,0-1,5-6,80-89", 100), several(&[(80, 99), (0, 1), (5, 6)]));
        assert_eq!(of("bytes=0-1,9-9,4-5,2-3,7-7", 100), several(&[(0, 5), (9, 9), (7, 7)]));
        assert_eq!(of("bytes=50-,0-9,5-19", 100), several(&[(50, 99), (0, 19)]));
    }

    #[test]
    fn abuse_gets_the_whole() {
        let list = |count: u64, step: u64| {
            let specs: Vec<String> = (0..count).map(|index| format!("{}-{}", index * step, index * step)).collect();
            of(&format!("bytes={}", specs.join(",")), 1000)
        };
        assert!(matches!(list(16, 2), Ranges::Several(parts) if parts.len() == PARTS_MAX));
        assert_eq!(list(17, 2), Ranges::Ignore);
        assert_eq!(list(64, 1), one(0, 63), "long, but one piece");
        assert_eq!(list(65, 1), Ranges::Ignore);
        assert_eq!(of("bytes=0-9,5-14", 100), one(0, 14));
        assert_eq!(of("bytes=0-9,5-14,10-19", 100), Ranges::Ignore, "more than two overlap");
        assert_eq!(of("bytes=0-,0-,0-", 100), Ranges::Ignore);
    }

    #[test]
    fn parts_are_named_and_counted() {
        assert_eq!(content_range(ByteRange { first: 0, last: 9 }, 10).as_bytes(), b"bytes 0-9/10");
        assert_eq!(unsatisfied_content_range(0).as_bytes(), b"bytes */0");
        let multipart = Multipart::new("b7".to_string(), FieldValue::from_static("text/css"), 100);
        assert_eq!(multipart.content_type().as_bytes(), b"multipart/byteranges; boundary=b7");
        let parts = [ByteRange { first: 90, last: 99 }, ByteRange { first: 0, last: 0 }];
        let first = b"--b7\r\nContent-Type: text/css\r\nContent-Range: bytes 90-99/100\r\n\r\n";
        let second = b"\r\n--b7\r\nContent-Type: text/css\r\nContent-Range: bytes 0-0/100\r\n\r\n";
        assert_eq!(multipart.part_head(parts[0], true), first);
        assert_eq!(multipart.part_head(parts[1], false), second);
        assert_eq!(multipart.closing(), b"\r\n--b7--\r\n");
        assert_eq!(multipart.total_length(&parts), (first.len() + 10 + second.len() + 1 + 10) as u64);
    }
}
