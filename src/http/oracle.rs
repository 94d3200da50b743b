//! RFC 9110's rules for conditional and range requests in their simplest form, to compare the code with. A request is
//! made as a value and then written as text; the expected answer is computed from the value, byte by byte.

use std::time::{Duration, UNIX_EPOCH};

use proptest::collection::vec;
use proptest::option::of as maybe;
use proptest::prelude::*;
use proptest::sample::select;

use super::conditional::{Outcome, Validators, evaluate, parse_date};
use super::etag::EntityTag;
use super::fields::FieldValue;
use super::method::Method;
use super::range::{ByteRange, Multipart, Ranges, content_range, parse, requested};
use super::sections::Section;

/// The formats of RFC 9110 §5.6.7.
#[derive(Debug, Clone, Copy)]
pub(super) enum DateFormat {
    Imf,
    Rfc850,
    Asctime,
}

/// A date as text, put together from the pieces of its IMF-fixdate.
pub(super) fn date_text(secs: u64, format: DateFormat) -> String {
    let imf = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(secs));
    let pieces: Vec<&str> = imf.split([' ', ',']).filter(|piece| !piece.is_empty()).collect();
    let [weekday, day, month, year, time, _gmt] = pieces[..] else { panic!("{imf} is an IMF-fixdate") };
    match format {
        DateFormat::Imf => imf,
        DateFormat::Rfc850 => format!("{}, {day}-{month}-{} {time} GMT", whole_weekday(weekday), &year[2..]),
        DateFormat::Asctime => format!("{weekday} {month} {:>2} {time} {year}", day.trim_start_matches('0')),
    }
}

fn whole_weekday(short: &str) -> String {
    let rest = match short {
        "Tue" => "sday",
        "Wed" => "nesday",
        "Thu" => "rsday",
        "Sat" => "urday",
        _ => "day",
    };
    format!("{short}{rest}")
}

// Dates lie around this second, so that all orders occur.
const THEN: u64 = 1_700_000_000;

/// Opaque parts of the tags that occur.
const NAMES: [&str; 3] = ["a", "b,c", ""];

#[derive(Debug, Clone, Copy, PartialEq)]
struct Tag {
    weak: bool,
    name: &'static str,
}

impl Tag {
    fn text(self) -> String {
        format!("{}\"{}\"", if self.weak { "W/" } else { "" }, self.name)
    }
}

#[derive(Debug, Clone)]
enum Tags {
    Star,
    Listed(Vec<Vec<Tag>>),
    Junk(&'static str),
}

impl Tags {
    fn lines(&self) -> Vec<String> {
        let join = |tags: &Vec<Tag>| tags.iter().map(|tag| tag.text()).collect::<Vec<_>>().join(", ");
        match self {
            Tags::Star => vec!["*".to_string()],
            Tags::Listed(lines) => lines.iter().map(join).collect(),
            Tags::Junk(text) => vec![text.to_string()],
        }
    }

    /// Whether one of them is the current one in the eyes of `same`; none if it cannot be said.
    fn contains(&self, current: Option<Tag>, same: fn(Tag, Tag) -> bool) -> Option<bool> {
        match self {
            Tags::Star => Some(true),
            Tags::Listed(lines) => Some(lines.iter().flatten().any(|tag| current.is_some_and(|it| same(it, *tag)))),
            Tags::Junk(_) => None,
        }
    }
}

fn same_strong(one: Tag, other: Tag) -> bool {
    (one, other) == (Tag { weak: false, name: other.name }, Tag { weak: false, name: one.name })
}

fn same_weak(one: Tag, other: Tag) -> bool {
    one.name == other.name
}

#[derive(Debug, Clone, Copy)]
enum Date {
    Valid(u64, DateFormat),
    Twice(u64),
    Junk(&'static str),
}

impl Date {
    fn lines(self) -> Vec<String> {
        match self {
            Date::Valid(secs, format) => vec![date_text(secs, format)],
            Date::Twice(secs) => vec![date_text(secs, DateFormat::Imf); 2],
            Date::Junk(text) => vec![text.to_string()],
        }
    }

    fn secs(self) -> Option<u64> {
        if let Date::Valid(secs, _) = self { Some(secs) } else { None }
    }
}

#[derive(Debug, Clone)]
enum Validator {
    Tag(Tag),
    Date(Date),
}

/// A conditional request to a resource.
#[derive(Debug, Clone)]
struct Asked {
    method: Method,
    if_match: Option<Tags>,
    if_none_match: Option<Tags>,
    if_modified_since: Option<Date>,
    if_unmodified_since: Option<Date>,
    if_range: Option<Validator>,
    range: Option<Set>,
}

/// The resource, and the time it is asked.
#[derive(Debug, Clone)]
struct Current {
    tag: Option<Tag>,
    modified: Option<u64>,
    now: u64,
    length: usize,
}

impl Asked {
    fn section(&self) -> Section {
        let mut section = Section::of(&[("Host", "example.org")]);
        let mut push = |name, lines: Vec<String>| lines.iter().for_each(|line| section.push(name, line.as_bytes()));
        push("If-Range", self.if_range.as_ref().map_or(vec![], Validator::lines));
        push("If-None-Match", self.if_none_match.as_ref().map_or(vec![], Tags::lines));
        push("If-Unmodified-Since", self.if_unmodified_since.map_or(vec![], Date::lines));
        push("Range", self.range.as_ref().map_or(vec![], |set| vec![set.text()]));
        push("If-Match", self.if_match.as_ref().map_or(vec![], Tags::lines));
        push("If-Modified-Since", self.if_modified_since.map_or(vec![], Date::lines));
        section
    }

    /// RFC 9110 §13.2.2 as a table: what is asked, whether it applies, whether it holds, and what follows if not. The
    /// first line that applies and does not hold decides.
    fn outcome(&self, current: &Current) -> Outcome {
        let reads = matches!(self.method, Method::Get | Method::Head);
        let Current { tag, modified, now, .. } = *current;
        let rows = [
            (
                self.if_match.is_some(),
                self.if_match.as_ref().is_some_and(|tags| tags.contains(tag, same_strong) == Some(true)),
                Outcome::PreconditionFailed,
            ),
            (
                self.if_match.is_none() && modified.is_some() && valid(self.if_unmodified_since),
                self.if_unmodified_since.and_then(Date::secs) >= modified,
                Outcome::PreconditionFailed,
            ),
            (
                self.if_none_match.is_some() && reads,
                self.if_none_match.as_ref().is_some_and(|tags| tags.contains(tag, same_weak) != Some(true)),
                Outcome::NotModified,
            ),
            (
                self.if_none_match.is_some() && !reads,
                self.if_none_match.as_ref().is_some_and(|tags| tags.contains(tag, same_weak) == Some(false)),
                Outcome::PreconditionFailed,
            ),
            (
                reads && self.if_none_match.is_none() && modified.is_some() && valid(self.if_modified_since),
                self.if_modified_since.and_then(Date::secs) < modified
                    || self.if_modified_since.and_then(Date::secs) > Some(now),
                Outcome::NotModified,
            ),
        ];
        let decided = rows.into_iter().find(|(applies, holds, _)| *applies && !*holds);
        let range = self.method == Method::Get && self.range.is_some() && self.fits(current);
        decided.map_or(Outcome::Proceed { range }, |(.., outcome)| outcome)
    }

    /// If-Range, RFC 9110 §13.1.5.
    fn fits(&self, current: &Current) -> bool {
        match self.if_range {
            None => true,
            Some(Validator::Tag(tag)) => current.tag.is_some_and(|it| same_strong(it, tag)),
            Some(Validator::Date(_)) => false,
        }
    }
}

fn valid(date: Option<Date>) -> bool {
    date.and_then(Date::secs).is_some()
}

impl Validator {
    fn lines(&self) -> Vec<String> {
        match self {
            Validator::Tag(tag) => vec![tag.text()],
            Validator::Date(date) => date.lines(),
        }
    }
}

/// A Range field's value.
#[derive(Debug, Clone)]
struct Set {
    unit: &'static str,
    specs: Vec<Spec>,
    /// What stands between two members, and around them.
    gap: &'static str,
}

#[derive(Debug, Clone, Copy)]
enum Spec {
    Between(u128, u128),
    From(u128),
    Suffix(u128),
    Junk(&'static str),
}

impl Spec {
    fn text(self) -> String {
        match self {
            Spec::Between(first, last) => format!("{first}-{last:03}"),
            Spec::From(first) => format!("{first}-"),
            Spec::Suffix(length) => format!("-{length}"),
            Spec::Junk(text) => text.to_string(),
        }
    }

    fn is_valid(self) -> bool {
        // What does not fit 64 bits is as large as can be.
        let clamp = |number: u128| number.min(u64::MAX.into());
        match self {
            Spec::Between(first, last) => clamp(first) <= clamp(last),
            Spec::From(_) | Spec::Suffix(_) => true,
            Spec::Junk(_) => false,
        }
    }

    /// Which bytes of `length` it asks for.
    fn marks(self, length: usize) -> Vec<bool> {
        let is_asked = |at: usize| match self {
            Spec::Between(first, last) => (first..=last).contains(&(at as u128)),
            Spec::From(first) => at as u128 >= first,
            Spec::Suffix(suffix) => (length - at) as u128 <= suffix,
            Spec::Junk(_) => false,
        };
        (0..length).map(is_asked).collect()
    }

    fn is_satisfiable(self, length: usize) -> bool {
        let is_all_of_nothing = length == 0 && matches!(self, Spec::Between(0, _) | Spec::From(0) | Spec::Suffix(_));
        self.marks(length).contains(&true) || is_all_of_nothing
    }
}

impl Set {
    fn text(&self) -> String {
        let specs: Vec<String> = self.specs.iter().map(|spec| spec.text()).collect();
        format!("{}={}", self.unit, specs.join(self.gap))
    }

    /// The parts that are sent of `length` bytes, as the positions of their bytes; none if the field is ignored.
    fn parts(&self, length: usize) -> Option<Vec<Vec<usize>>> {
        let is_valid =
            self.specs.iter().all(|spec| spec.is_valid()) && !self.specs.is_empty() && self.specs.len() <= 64;
        if !self.unit.eq_ignore_ascii_case("bytes") || !is_valid {
            return None;
        }
        let marks: Vec<Vec<bool>> = self.specs.iter().map(|spec| spec.marks(length)).collect();
        let mut runs = runs(&marks, length);
        runs.sort_by_key(|run| marks.iter().position(|marks| run.iter().any(|at| marks[*at])));
        let is_empty_end = runs.is_empty() && self.specs.iter().any(|spec| spec.is_satisfiable(length));
        (overlapping(&marks) <= 2 && runs.len() <= 16 && !is_empty_end).then_some(runs)
    }
}

/// The positions that are marked anywhere, with neighbours together.
fn runs(marks: &[Vec<bool>], length: usize) -> Vec<Vec<usize>> {
    let mut runs: Vec<Vec<usize>> = Vec::new();
    for at in (0..length).filter(|at| marks.iter().any(|marks| marks[*at])) {
        match runs.last_mut() {
            Some(run) if run.contains(&at.wrapping_sub(1)) => run.push(at),
            _ => runs.push(vec![at]),
        }
    }
    runs
}

/// How many have a mark where another one has one.
fn overlapping(marks: &[Vec<bool>]) -> usize {
    let shared =
        |one: usize, other: usize| one != other && (marks[one].iter().zip(&marks[other])).any(|(a, b)| *a && *b);
    (0..marks.len()).filter(|one| (0..marks.len()).any(|other| shared(*one, other))).count()
}

fn positions(range: ByteRange) -> Vec<usize> {
    (range.first as usize..=range.last as usize).collect()
}

/// What the code under test says, in the oracle's terms.
fn parts(ranges: &Ranges) -> Option<Vec<Vec<usize>>> {
    match ranges {
        Ranges::Ignore => None,
        Ranges::Unsatisfiable => Some(vec![]),
        Ranges::One(range) => Some(vec![positions(*range)]),
        Ranges::Several(ranges) => Some(ranges.iter().copied().map(positions).collect()),
    }
}

/// The bytes of a representation.
fn content(length: usize) -> Vec<u8> {
    (0..length).map(|at| b'A' + (at % 26) as u8).collect()
}

/// The whole multipart content, as a client takes it apart: (Content-Range, bytes) of each part.
fn taken_apart(content: &[u8], boundary: &str) -> Vec<(String, Vec<u8>)> {
    let text = String::from_utf8(content.to_vec()).expect("the content is ASCII");
    let body = text.strip_prefix(&format!("--{boundary}\r\n")).expect("begins with a boundary");
    let body = body.strip_suffix(&format!("\r\n--{boundary}--\r\n")).expect("ends with the last boundary");
    let part = |part: &str| {
        let (head, content) = part.split_once("\r\n\r\n").expect("a part has a head");
        let range = head.strip_prefix("Content-Type: a/b\r\nContent-Range: ").expect("the fields of a part");
        (range.to_string(), content.as_bytes().to_vec())
    };
    body.split(&format!("\r\n--{boundary}\r\n")).map(part).collect()
}

/// Sends several parts and takes them apart again.
fn check_multipart(ranges: &[ByteRange], length: usize) -> Result<(), TestCaseError> {
    let multipart = Multipart::new("x7".to_string(), FieldValue::from_static("a/b"), length as u64);
    let whole = content(length);
    let mut sent = Vec::new();
    for (index, range) in ranges.iter().enumerate() {
        sent.extend(multipart.part_head(*range, index == 0));
        sent.extend(&whole[range.first as usize..=range.last as usize]);
    }
    sent.extend(multipart.closing());
    prop_assert_eq!(multipart.total_length(ranges), sent.len() as u64);
    let expected = ranges.iter().map(|range| {
        let bytes = positions(*range).iter().map(|at| whole[*at]).collect::<Vec<_>>();
        (format!("bytes {}-{}/{length}", range.first, range.last), bytes)
    });
    prop_assert_eq!(taken_apart(&sent, "x7"), expected.collect::<Vec<_>>());
    Ok(())
}

fn tag() -> impl Strategy<Value = Tag> {
    (any::<bool>(), select(&NAMES[..])).prop_map(|(weak, name)| Tag { weak, name })
}

fn tags() -> impl Strategy<Value = Tags> {
    prop_oneof![
        1 => Just(Tags::Star),
        4 => vec(vec(tag(), 0..4), 1..3).prop_map(Tags::Listed),
        1 => select(&["a", "\"a", "\"a\" \"b,c\"", "*, \"a\"", "\"a\", *", "w/\"a\""][..]).prop_map(Tags::Junk),
    ]
}

fn date() -> impl Strategy<Value = Date> {
    let format = select(&[DateFormat::Imf, DateFormat::Rfc850, DateFormat::Asctime][..]);
    prop_oneof![
        6 => (THEN - 2..THEN + 3, format).prop_map(|(secs, format)| Date::Valid(secs, format)),
        1 => (THEN - 2..THEN + 3).prop_map(Date::Twice),
        1 => select(&["0", "", "Tue, 14 Nov 2023", "Mon, 14 Nov 2023 22:13:20 GMT"][..]).prop_map(Date::Junk),
    ]
}

fn validator() -> impl Strategy<Value = Validator> {
    prop_oneof![tag().prop_map(Validator::Tag), date().prop_map(Validator::Date)]
}

fn position() -> impl Strategy<Value = u128> {
    prop_oneof![
        20 => 0..60u128,
        1 => select(&[u64::MAX as u128 - 1, u64::MAX as u128, u64::MAX as u128 + 1, u128::MAX][..]),
    ]
}

fn spec() -> impl Strategy<Value = Spec> {
    prop_oneof![
        8 => (position(), position()).prop_map(|(one, other)| Spec::Between(one.min(other), one.max(other))),
        3 => position().prop_map(Spec::From),
        3 => position().prop_map(Spec::Suffix),
        // Backwards as often as not, hence invalid.
        1 => (position(), position()).prop_map(|(first, last)| Spec::Between(first, last)),
    ]
}

fn junk() -> impl Strategy<Value = Spec> {
    let texts = ["-", "7", "a-b", "1-2-3", "--1", "+1-2", "1 - 2", "0x1-", "1-a", "*", "1;2-3", "\"1-2\""];
    select(texts.to_vec()).prop_map(Spec::Junk)
}

/// Specs that do not overlap but may touch, in any order.
fn many() -> impl Strategy<Value = Vec<Spec>> {
    let steps = vec((0..4u128, 0..3u128), 1..72).prop_map(|steps| {
        let mut at = 0;
        let mut next = |(gap, more): (u128, u128)| {
            let first = at + gap;
            at = first + more + 1;
            Spec::Between(first, at - 1)
        };
        steps.into_iter().map(&mut next).collect::<Vec<_>>()
    });
    steps.prop_shuffle()
}

fn set() -> impl Strategy<Value = Set> {
    let specs = prop_oneof![
        4 => vec(spec(), 1..2),
        4 => vec(spec(), 0..5),
        3 => many(),
        1 => vec(prop_oneof![spec(), junk()], 1..4),
    ];
    let unit = prop_oneof![12 => Just("bytes"), 2 => Just("ByTeS"), 1 => select(&["byte", "bytes ", "", "items"][..])];
    (unit, specs, select(&[",", ", ", " ,\t", ",,", " , ,"][..])).prop_map(|(unit, specs, gap)| Set {
        unit,
        specs,
        gap,
    })
}

fn asked() -> impl Strategy<Value = Asked> {
    let method = prop_oneof![6 => Just(Method::Get), 2 => Just(Method::Head), 2 => Just(Method::Put)];
    let some = |strategy| prop::option::weighted(0.3, strategy);
    let dates = (prop::option::weighted(0.3, date()), prop::option::weighted(0.3, date()));
    let range = (maybe(validator()), prop::option::weighted(0.7, set()));
    (method, some(tags().boxed()), some(tags().boxed()), dates, range).prop_map(
        |(method, if_match, if_none_match, (if_modified_since, if_unmodified_since), (if_range, range))| Asked {
            method,
            if_match,
            if_none_match,
            if_modified_since,
            if_unmodified_since,
            if_range,
            range,
        },
    )
}

fn current() -> impl Strategy<Value = Current> {
    let modified = prop::option::weighted(0.9, THEN - 1..THEN + 2);
    (prop::option::weighted(0.9, tag()), modified, THEN - 2..THEN + 4, length())
        .prop_map(|(tag, modified, now, length)| Current { tag, modified, now, length })
}

fn length() -> impl Strategy<Value = usize> {
    prop_oneof![1 => Just(0usize), 8 => 0..60usize, 2 => 60..300usize]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12_000))]

    /// Conditions and ranges together, as a file is asked for.
    #[test]
    fn the_answer_is_what_the_rfc_says(asked in asked(), current in current()) {
        let section = asked.section();
        let opaque = current.tag.map(|tag| tag.text());
        let etag = opaque.as_ref().and_then(|text| EntityTag::parse(text.as_bytes()));
        let validators = Validators { etag, last_modified: current.modified };
        let outcome = evaluate(asked.method, section.fields(), validators, current.now).outcome;
        prop_assert_eq!(outcome, asked.outcome(&current));
        if outcome == (Outcome::Proceed { range: true }) {
            let ranges = requested(section.fields(), current.length as u64);
            let expected = asked.range.as_ref().and_then(|set| set.parts(current.length));
            prop_assert_eq!(parts(&ranges), expected);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn ranges_are_the_bytes_that_were_marked(set in set(), length in length()) {
        let ranges = parse(set.text().as_bytes(), length as u64);
        prop_assert_eq!(parts(&ranges), set.parts(length));
        match &ranges {
            Ranges::Several(several) => check_multipart(several, length)?,
            Ranges::One(range) => {
                let expected = format!("bytes {}-{}/{length}", range.first, range.last);
                let value = content_range(*range, length as u64);
                prop_assert_eq!(value.as_bytes(), expected.as_bytes());
            }
            Ranges::Ignore | Ranges::Unsatisfiable => {}
        }
    }

    #[test]
    fn no_bytes_are_too_odd(value in vec(any::<u8>(), 0..40), specs in "[0-9,\t -]{0,30}", length: u64, now: u64) {
        prop_assert_eq!(parse(&value, length), Ranges::Ignore);
        let text = format!("bytes={specs}");
        if let Ranges::One(range) = parse(text.as_bytes(), length) {
            prop_assert!(range.first <= range.last && range.last < length);
        }
        let date = parse_date(&value, now);
        prop_assert!(date.is_none(), "{:?}", date);
    }
}
