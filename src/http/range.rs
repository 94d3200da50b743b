//! Byte ranges (RFC 9110 §14): which parts of a representation a request asks for, and how they are sent.

use super::fields::{FieldValue, Fields, list_members};

/// More parts than this are not sent: nobody who reads needs them (RFC 9110 §17.15).
pub const PARTS_MAX: usize = 16;

/// Longer lists than this are not even looked at.
const SPECS_MAX: usize = 64;

/// More ranges than this that overlap another one are an attack or a mistake (RFC 9110 §17.15).
const OVERLAPPING_MAX: usize = 2;

/// A part of a representation: at least one byte, and all of it there.
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

    /// Whether both are one range together: they overlap, or one begins where the other ends.
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
    /// All of it: there is no Range that is meant for us, or none that is reasonable. 200.
    Ignore,
    /// Nothing that is there. 416 with [`unsatisfied_content_range`].
    Unsatisfiable,
    /// One part. 206 with [`content_range`].
    One(ByteRange),
    /// So many parts that neither overlap nor touch, at least two and at most [`PARTS_MAX`], in the order in which the
    /// request first mentioned a byte of them. 206 with [`Multipart`].
    Several(Vec<ByteRange>),
}

/// The ranges that the Range field among `fields` asks for, of a representation with `length` bytes. Only for GET, and
/// only if `conditional::evaluate` says so.
pub fn requested(fields: Fields<'_>, length: u64) -> Ranges {
    let mut lines = fields.all("range");
    match (lines.next(), lines.next()) {
        (Some(value), None) => parse(value, length),
        // Not a list field: several lines joined are no valid value (RFC 9110 §5.3).
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

/// What a range set says of a representation.
#[derive(Default)]
struct Mentioned {
    /// What is there of what it asks for, in its order.
    ranges: Vec<ByteRange>,
    /// Whether it asks for the end of a representation that has none: satisfiable, but no Content-Range could name
    /// those no bytes.
    nothing: bool,
}

impl Mentioned {
    /// `None` if one of the set's members is invalid, for then the whole set is (RFC 9110 §14.1.1), if it has no member
    /// at all, or far too many.
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
            None => self.nothing |= matches!(spec, RangeSpec::Suffix(1..)),
        }
    }

    /// What of it is sent.
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

    /// Ranges that touch made one (RFC 9110 §15.3.7.2), so that no byte is sent twice. It stands where the first of
    /// them stood: a client that asks for the end first, such as a reader of archives, wants it first.
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

/// Joins `range` to the part at `at`, which is the first that it touches, and any later ones it touches to that. Parts
/// do not touch each other, so the joined one touches nothing else.
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

/// One member of a range set (RFC 9110 §14.1.2). A number too large to be counted is as large as can be: it lies behind
/// the end of everything.
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

    /// What of it lies within `length` bytes, if anything does.
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

/// `Content-Range` of an answer that no part of `length` bytes was asked for (416, RFC 9110 §15.5.17).
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
