//! Conditional requests (RFC 9110 §13): whether the version that the client has is still the current one.

use std::time::{Duration, UNIX_EPOCH};

use super::etag::{EntityTag, any_listed};
use super::fields::{FieldValue, Fields, Line};
use super::method::Method;

/// What distinguishes versions of the selected representation (RFC 9110 §8.8).
#[derive(Debug, Clone, Copy, Default)]
pub struct Validators<'a> {
    /// Its entity tag.
    pub etag: Option<EntityTag<'a>>,
    /// When it was last modified, in seconds since 1970.
    pub last_modified: Option<u64>,
}

/// How the conditions of a request decide about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The request is answered as if it had no conditions.
    Proceed {
        /// Whether Range is to be evaluated: there is one, the method is GET, and If-Range does not forbid it.
        range: bool,
    },
    /// 304: the client has the current version.
    NotModified,
    /// 412: the client expected another version than the current one.
    PreconditionFailed,
}

/// How the conditions of a request decide about it, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// What becomes of it.
    pub outcome: Outcome,
    /// The condition that was false; `None` if none was.
    pub because: Option<Condition>,
}

/// A conditional field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the registered fields themselves")]
pub enum Condition {
    IfMatch,
    IfUnmodifiedSince,
    IfNoneMatch,
    IfModifiedSince,
    IfRange,
}

impl Condition {
    /// All of them, in the order in which they are evaluated.
    pub const ALL: [Condition; 5] = [
        Condition::IfMatch,
        Condition::IfUnmodifiedSince,
        Condition::IfNoneMatch,
        Condition::IfModifiedSince,
        Condition::IfRange,
    ];

    /// The field's name.
    pub fn name(self) -> &'static str {
        match self {
            Condition::IfMatch => "If-Match",
            Condition::IfUnmodifiedSince => "If-Unmodified-Since",
            Condition::IfNoneMatch => "If-None-Match",
            Condition::IfModifiedSince => "If-Modified-Since",
            Condition::IfRange => "If-Range",
        }
    }

    /// Where the field is defined.
    pub fn section(self) -> &'static str {
        match self {
            Condition::IfMatch => "RFC 9110 §13.1.1",
            Condition::IfNoneMatch => "RFC 9110 §13.1.2",
            Condition::IfModifiedSince => "RFC 9110 §13.1.3",
            Condition::IfUnmodifiedSince => "RFC 9110 §13.1.4",
            Condition::IfRange => "RFC 9110 §13.1.5",
        }
    }
}

/// Evaluates the conditions among `fields` against the `validators` of a representation. Only for requests that would
/// be answered with 2xx without them (RFC 9110 §13.2.1). `now_secs` is the response's Date in seconds since 1970.
pub fn evaluate(method: Method, fields: Fields<'_>, validators: Validators<'_>, now_secs: u64) -> Verdict {
    match Conditions::of(fields) {
        Some(conditions) => conditions.evaluate(method, validators, now_secs),
        None => Verdict { outcome: Outcome::Proceed { range: false }, because: None },
    }
}

impl Line<'_> {
    /// Its date in seconds since 1970; `None` if it is absent or invalid. Then there is no condition (RFC 9110 §13.1.3,
    /// §13.1.4).
    fn date(self, now_secs: u64) -> Option<u64> {
        match self {
            Line::Once(value) => parse_date(value, now_secs),
            Line::Absent | Line::Several => None,
        }
    }
}

/// The conditional fields of a request, and whether it has a Range.
#[derive(Debug, Default)]
struct Conditions<'a> {
    fields: Fields<'a>,
    if_match: bool,
    if_none_match: bool,
    if_modified_since: Line<'a>,
    if_unmodified_since: Line<'a>,
    if_range: Line<'a>,
    range: bool,
}

impl<'a> Conditions<'a> {
    /// Picks them out of all fields; `None` if there are none, as in most requests.
    fn of(fields: Fields<'a>) -> Option<Conditions<'a>> {
        let mut conditions = Conditions { fields, ..Conditions::default() };
        let mut any = false;
        for (name, value) in fields.iter() {
            any |= conditions.add(name, value);
        }
        any.then_some(conditions)
    }

    /// Compares the length of the name first: most fields are none of these, and then that is the only comparison.
    fn add(&mut self, name: &[u8], value: &'a [u8]) -> bool {
        match name.len() {
            5 if name.eq_ignore_ascii_case(b"range") => self.range = true,
            8 if name.eq_ignore_ascii_case(b"if-match") => self.if_match = true,
            8 if name.eq_ignore_ascii_case(b"if-range") => self.if_range.add(value),
            13 if name.eq_ignore_ascii_case(b"if-none-match") => self.if_none_match = true,
            17 if name.eq_ignore_ascii_case(b"if-modified-since") => self.if_modified_since.add(value),
            19 if name.eq_ignore_ascii_case(b"if-unmodified-since") => self.if_unmodified_since.add(value),
            _ => return false,
        }
        true
    }

    /// RFC 9110 §13.2.2, by its numbers.
    fn evaluate(&self, method: Method, validators: Validators<'_>, now_secs: u64) -> Verdict {
        let only_reads = matches!(method, Method::Get | Method::Head);
        let not_modified = if only_reads { Outcome::NotModified } else { Outcome::PreconditionFailed };
        let is_false = |condition, outcome| Verdict { outcome, because: Some(condition) };
        // 1. If-Match: if false, 412.
        if self.if_match && !self.matches(validators) {
            return is_false(Condition::IfMatch, Outcome::PreconditionFailed);
        }
        // 2. If-Unmodified-Since, only without If-Match: if false, 412.
        if !self.if_match && !self.is_unmodified(validators, now_secs) {
            return is_false(Condition::IfUnmodifiedSince, Outcome::PreconditionFailed);
        }
        // 3. If-None-Match: if false, 304 to GET and HEAD, and 412 to all others.
        if self.if_none_match && !self.none_match(only_reads, validators) {
            return is_false(Condition::IfNoneMatch, not_modified);
        }
        // 4. If-Modified-Since, only for GET and HEAD, and only without If-None-Match: if false, 304.
        if only_reads && !self.if_none_match && !self.is_modified(validators, now_secs) {
            return is_false(Condition::IfModifiedSince, Outcome::NotModified);
        }
        // 5. Range with If-Range: if that is false, Range is ignored. Range means something for GET alone (§14.2).
        let range = self.range && method == Method::Get;
        if range && !self.range_fits(validators) {
            return is_false(Condition::IfRange, Outcome::Proceed { range: false });
        }
        // 6. Otherwise the method is performed.
        Verdict { outcome: Outcome::Proceed { range }, because: None }
    }

    /// If-Match (RFC 9110 §13.1.1), with strong comparison. An invalid list matches nothing: to refuse the request is
    /// safer than to change the wrong version.
    fn matches(&self, validators: Validators<'_>) -> bool {
        let is_current = |tag: EntityTag<'_>| validators.etag.is_some_and(|current| current.matches_strongly(tag));
        any_listed(self.fields.all("if-match"), is_current).unwrap_or(false)
    }

    /// If-None-Match (RFC 9110 §13.1.2), with weak comparison. With an invalid list, a request that reads gets the
    /// content, and a request that writes is refused.
    fn none_match(&self, only_reads: bool, validators: Validators<'_>) -> bool {
        let is_current = |tag: EntityTag<'_>| validators.etag.is_some_and(|current| current.matches_weakly(tag));
        any_listed(self.fields.all("if-none-match"), is_current).map_or(only_reads, |found| !found)
    }

    /// If-Unmodified-Since (RFC 9110 §13.1.4); no condition without a valid date, or without one to compare it with.
    fn is_unmodified(&self, validators: Validators<'_>, now_secs: u64) -> bool {
        let dates = self.if_unmodified_since.date(now_secs).zip(validators.last_modified);
        dates.is_none_or(|(date, last_modified)| last_modified <= date)
    }

    /// If-Modified-Since (RFC 9110 §13.1.3); no condition without a valid date, or without one to compare it with. A
    /// date in the future is invalid, as in RFC 2616 §14.25: we never send such a Last-Modified, and if we accepted it,
    /// the answer would be 304 for as long as the client's clock is wrong.
    fn is_modified(&self, validators: Validators<'_>, now_secs: u64) -> bool {
        let date = self.if_modified_since.date(now_secs).filter(|date| *date <= now_secs);
        date.zip(validators.last_modified).is_none_or(|(date, last_modified)| last_modified > date)
    }

    /// If-Range (RFC 9110 §13.1.5): whether the client's other parts are of the current version. If that is not
    /// certain, it gets all of the content. A date never makes it certain: whoever writes a file can set its time, so
    /// we do not know that no other version had the same (RFC 9110 §8.8.2.2).
    fn range_fits(&self, validators: Validators<'_>) -> bool {
        match self.if_range {
            Line::Absent => true,
            Line::Several => false,
            Line::Once(value) => {
                let (tag, current) = (EntityTag::parse(value), validators.etag);
                tag.zip(current).is_some_and(|(tag, current)| current.matches_strongly(tag))
            }
        }
    }
}

/// The last second of the year 9999, since 1970: an HTTP date has four digits for the year.
const LAST_SECOND: u64 = 253_402_300_799;

/// The `Last-Modified` field for a time in seconds since 1970, which must not be later than the response's own Date (RFC
/// 9110 §8.8.2.1).
pub fn last_modified_value(secs: u64) -> FieldValue {
    let text = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(secs.min(LAST_SECOND)));
    FieldValue::new(text).expect("a date has letters, digits and punctuation")
}

/// Reads an HTTP date in any of its three formats (RFC 9110 §5.6.7), in seconds since 1970. `None` if it is invalid,
/// before 1970, a leap second, or has the wrong weekday. `now_secs` decides the century of a year with two digits.
pub fn parse_date(value: &[u8], now_secs: u64) -> Option<u64> {
    let rewritten = with_whole_year(value, now_secs);
    let text = std::str::from_utf8(rewritten.as_ref().map_or(value, |date| date.as_slice())).ok()?;
    let time = httpdate::parse_http_date(text).ok()?;
    time.duration_since(UNIX_EPOCH).ok().map(|since_epoch| since_epoch.as_secs())
}

/// Rewrites an rfc850-date (`Sunday, 06-Nov-94 08:49:37 GMT`) as an IMF-fixdate. It need not be a valid date.
fn with_whole_year(value: &[u8], now_secs: u64) -> Option<[u8; 29]> {
    const WEEKDAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
    let weekday = WEEKDAYS.iter().find(|weekday| value.starts_with(weekday.as_bytes()))?;
    let [b',', b' ', d1, d2, b'-', m1, m2, m3, b'-', y1, y2, time @ ..] = &value[weekday.len()..] else { return None };
    let [y1, y2] = [y1, y2].map(|digit| digit.is_ascii_digit().then(|| u64::from(digit - b'0')));
    let year = whole_year(y1? * 10 + y2?, now_secs);
    let mut date = *b"Day, 00 Mon 0000 00:00:00 GMT";
    date[..3].copy_from_slice(&weekday.as_bytes()[..3]);
    date[5..11].copy_from_slice(&[*d1, *d2, b' ', *m1, *m2, *m3]);
    date[12..16].copy_from_slice(format!("{year:04}").as_bytes());
    (time.len() == date[16..].len()).then(|| date[16..].copy_from_slice(time))?;
    Some(date)
}

/// The year that its last two digits mean: the latest one that is not more than 50 years ahead (RFC 9110 §5.6.7).
fn whole_year(two_digits: u64, now_secs: u64) -> u64 {
    // The mean year of the calendar; its error of a day or two is nothing in 50 years.
    const YEAR_SECS: u64 = 31_556_952;
    let latest = (1970 + now_secs.min(LAST_SECOND) / YEAR_SECS + 50).min(9999);
    latest - (latest + 100 - two_digits) % 100
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::http::oracle::{DateFormat, date_text};
    use crate::http::sections::Section;

    /// Sun, 06 Nov 1994 08:49:37 GMT
    const THEN: u64 = 784_111_777;
    const NOW: u64 = 1_790_000_000;

    fn verdict(method: Method, lines: &[(&str, &str)]) -> Verdict {
        let etag = EntityTag::parse(b"\"now\"");
        evaluate(method, Section::of(lines).fields(), Validators { etag, last_modified: Some(THEN) }, NOW)
    }

    fn outcome(method: Method, lines: &[(&str, &str)]) -> Outcome {
        verdict(method, lines).outcome
    }

    const SAME: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const WHOLE: Outcome = Outcome::Proceed { range: false };
    const PART: Outcome = Outcome::Proceed { range: true };

    #[test]
    fn a_request_without_conditions_proceeds() {
        assert_eq!(outcome(Method::Get, &[]), WHOLE);
        assert_eq!(outcome(Method::Get, &[("Host", "a"), ("Rango", "b"), ("If-Match-", "c")]), WHOLE);
        assert_eq!(outcome(Method::Get, &[("RANGE", "bytes=0-")]), PART);
    }

    #[test]
    fn a_cache_that_is_still_right_is_told_so() {
        assert_eq!(outcome(Method::Get, &[("If-None-Match", "W/\"now\"")]), Outcome::NotModified);
        assert_eq!(outcome(Method::Head, &[("if-none-match", "*")]), Outcome::NotModified);
        assert_eq!(outcome(Method::Get, &[("If-None-Match", "\"old\"")]), WHOLE);
        assert_eq!(outcome(Method::Get, &[("If-Modified-Since", SAME)]), Outcome::NotModified);
        assert_eq!(outcome(Method::Get, &[("If-Modified-Since", BEFORE)]), WHOLE);
        assert_eq!(outcome(Method::Get, &[("If-Modified-Since", SAME), ("Range", "bytes=0-")]), Outcome::NotModified);
    }

    #[test]
    fn entity_tags_overrule_dates() {
        assert_eq!(outcome(Method::Get, &[("If-None-Match", "\"old\""), ("If-Modified-Since", SAME)]), WHOLE);
        assert_eq!(outcome(Method::Get, &[("If-Match", "\"now\""), ("If-Unmodified-Since", BEFORE)]), WHOLE);
    }

    #[test]
    fn writers_are_protected() {
        let failed = Outcome::PreconditionFailed;
        assert_eq!(outcome(Method::Put, &[("If-Match", "\"now\"")]), WHOLE);
        assert_eq!(outcome(Method::Put, &[("If-Match", "W/\"now\"")]), failed, "weak tags match nothing strongly");
        assert_eq!(outcome(Method::Put, &[("If-Unmodified-Since", BEFORE)]), failed);
        assert_eq!(outcome(Method::Put, &[("If-None-Match", "*")]), failed);
        assert_eq!(outcome(Method::Put, &[("If-Modified-Since", SAME)]), WHOLE, "means nothing to PUT");
    }

    #[test]
    fn what_cannot_be_read_is_taken_to_the_safe_side() {
        assert_eq!(outcome(Method::Get, &[("If-Match", "now")]), Outcome::PreconditionFailed);
        assert_eq!(outcome(Method::Get, &[("If-None-Match", "now")]), WHOLE);
        assert_eq!(outcome(Method::Put, &[("If-None-Match", "now")]), Outcome::PreconditionFailed);
        assert_eq!(outcome(Method::Get, &[("If-Unmodified-Since", "yesterday")]), WHOLE);
        assert_eq!(outcome(Method::Get, &[("If-Modified-Since", "0")]), WHOLE);
        let twice = [("If-Modified-Since", SAME), ("If-Modified-Since", SAME)];
        assert_eq!(outcome(Method::Get, &twice), WHOLE);
        let tomorrow = date_text(NOW + 86_400, DateFormat::Imf);
        assert_eq!(outcome(Method::Get, &[("If-Modified-Since", &tomorrow)]), WHOLE);
    }

    #[test]
    fn a_part_is_sent_only_if_it_fits() {
        let with_range = |if_range| outcome(Method::Get, &[("Range", "bytes=0-"), ("If-Range", if_range)]);
        assert_eq!(with_range("\"now\""), PART);
        assert_eq!(with_range("W/\"now\""), WHOLE);
        assert_eq!(with_range("\"old\""), WHOLE);
        assert_eq!(with_range(SAME), WHOLE, "another version may have had the same date");
        assert_eq!(with_range(BEFORE), WHOLE);
        assert_eq!(with_range("now"), WHOLE);
        assert_eq!(outcome(Method::Get, &[("If-Range", "\"now\"")]), WHOLE);
        assert_eq!(outcome(Method::Head, &[("Range", "bytes=0-")]), WHOLE, "Range is for GET alone");
    }

    #[test]
    fn a_verdict_names_the_condition_that_was_false() {
        let because = |lines: &[(&str, &str)]| verdict(Method::Get, lines).because;
        assert_eq!(because(&[("If-None-Match", "\"old\""), ("Range", "bytes=0-")]), None);
        assert_eq!(because(&[("If-Match", "\"old\""), ("If-None-Match", "\"now\"")]), Some(Condition::IfMatch));
        assert_eq!(because(&[("If-Unmodified-Since", BEFORE)]), Some(Condition::IfUnmodifiedSince));
        assert_eq!(because(&[("If-None-Match", "*"), ("If-Modified-Since", SAME)]), Some(Condition::IfNoneMatch));
        assert_eq!(because(&[("If-Modified-Since", SAME)]), Some(Condition::IfModifiedSince));
        assert_eq!(because(&[("Range", "bytes=0-"), ("If-Range", "\"old\"")]), Some(Condition::IfRange));
        assert_eq!(because(&[("If-Range", "\"old\"")]), None, "without Range it means nothing");
    }

    #[test]
    fn without_validators_nothing_matches_and_no_date_counts() {
        let outcome = |lines: &[(&str, &str)]| {
            evaluate(Method::Get, Section::of(lines).fields(), Validators::default(), NOW).outcome
        };
        assert_eq!(outcome(&[("If-Match", "\"a\"")]), Outcome::PreconditionFailed);
        assert_eq!(outcome(&[("If-Match", "*")]), WHOLE);
        assert_eq!(outcome(&[("If-None-Match", "\"a\"")]), WHOLE);
        assert_eq!(outcome(&[("If-None-Match", "*")]), Outcome::NotModified);
        assert_eq!(outcome(&[("If-Modified-Since", SAME)]), WHOLE);
        assert_eq!(outcome(&[("If-Unmodified-Since", BEFORE)]), WHOLE);
        assert_eq!(outcome(&[("Range", "bytes=0-"), ("If-Range", SAME)]), WHOLE);
    }

    #[test]
    fn all_three_formats_are_dates_and_nothing_else_is() {
        for good in [SAME, "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"] {
            assert_eq!(parse_date(good.as_bytes(), NOW), Some(THEN), "{good}");
        }
        let bad = [
            "",
            "0",
            "-1",
            "784111777",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Nov 1994 08:49:37 UTC",
            "Mon, 06 Nov 1994 08:49:37 GMT",
            "Sun, 6 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 94 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:60 GMT",
            "Thu, 30 Feb 1995 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37",
            "Sunday, 06-Nov-1994 08:49:37 GMT",
            "Sun, 06-Nov-94 08:49:37 GMT",
            "Sunday, 06-Nov-9x 08:49:37 GMT",
            "Monday, 06-Nov-94 08:49:37 GMT",
            "Sunday, 06 Nov 94 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMTx",
            "sun, 06 nov 1994 08:49:37 gmt",
            "Wed, 31 Dec 1969 23:59:59 GMT",
            "Sun Nov 6 08:49:37 1994",
            "Sun Nov  6 08:49:37 94",
            "1994-11-06T08:49:37Z",
        ];
        for bad in bad {
            assert_eq!(parse_date(bad.as_bytes(), NOW), None, "{bad}");
        }
    }

    #[test]
    fn two_digits_of_a_year_reach_fifty_years_ahead() {
        // NOW is in 2026.
        assert_eq!([0, 26, 76, 77, 99].map(|digits| whole_year(digits, NOW)), [2000, 2026, 2076, 1977, 1999]);
        assert_eq!(whole_year(94, u64::MAX), 9994);
        // 1 January was a Tuesday in 2075 and is one in no other year 75 near it.
        assert!(parse_date(b"Tuesday, 01-Jan-75 00:00:00 GMT", NOW).is_some_and(|secs| secs > NOW));
        assert_eq!(parse_date(b"Saturday, 01-Jan-77 00:00:00 GMT", NOW), Some(220_924_800));
        assert_eq!(parse_date(b"Friday, 01-Jan-77 00:00:00 GMT", NOW), None, "that is 2077");
    }

    #[test]
    fn last_modified_is_never_later_than_the_response() {
        assert_eq!(last_modified_value(THEN).as_bytes(), SAME.as_bytes());
        assert_eq!(last_modified_value(u64::MAX).as_bytes(), b"Fri, 31 Dec 9999 23:59:59 GMT");
    }

    proptest! {
        #[test]
        fn a_date_survives_its_formats(secs in 0..=LAST_SECOND, near in NOW - 1_500_000_000..NOW + 1_500_000_000) {
            for format in [DateFormat::Imf, DateFormat::Asctime] {
                prop_assert_eq!(parse_date(date_text(secs, format).as_bytes(), NOW), Some(secs));
            }
            let value = last_modified_value(secs);
            prop_assert_eq!(value, FieldValue::new(date_text(secs, DateFormat::Imf)).unwrap());
            prop_assert_eq!(parse_date(date_text(near, DateFormat::Rfc850).as_bytes(), NOW), Some(near));
        }

        #[test]
        fn a_date_with_a_wrong_byte_is_no_panic(
            secs in 0..=LAST_SECOND,
            format in prop::sample::select(vec![DateFormat::Imf, DateFormat::Rfc850, DateFormat::Asctime]),
            at: prop::sample::Index,
            byte: u8,
            now_secs: u64,
        ) {
            let mut text = date_text(secs, format).into_bytes();
            let at = at.index(text.len());
            text[at] = byte;
            if let Some(parsed) = parse_date(&text, now_secs) {
                prop_assert!(parsed <= LAST_SECOND);
            }
        }
    }
}
