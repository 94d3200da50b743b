//! Durations, sizes and numbers as people write them: `10s`, `500ms`, `64k`, `1MiB`.

use std::ops::RangeInclusive;
use std::time::Duration;

/// Nanoseconds of each unit, the largest first.
const TIME_UNITS: [(&str, u64); 4] =
    [("h", 3_600_000_000_000), ("m", 60_000_000_000), ("s", 1_000_000_000), ("ms", 1_000_000)];

/// Digits after the point that a duration may have.
const FRACTION_DIGITS_MAX: usize = 9;

/// Bytes of each unit, in lower case. As in other servers' configurations a bare letter is binary.
const SIZE_UNITS: [(&str, u64); 11] = [
    ("", 1),
    ("b", 1),
    ("k", 1 << 10),
    ("kib", 1 << 10),
    ("kb", 1_000),
    ("m", 1 << 20),
    ("mib", 1 << 20),
    ("mb", 1_000_000),
    ("g", 1 << 30),
    ("gib", 1 << 30),
    ("gb", 1_000_000_000),
];

/// Reads a duration: a decimal number, at once followed by `ms`, `s`, `m` or `h`. What is finer than a nanosecond is
/// cut off. `None` if it is anything else or too large.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = split_unit(text);
    let (_, nanos) = TIME_UNITS.into_iter().find(|(name, _)| *name == unit)?;
    let (whole, fraction) = match number.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (number, None),
    };
    let total = digits(whole)?.checked_mul(nanos)?.checked_add(fraction.map_or(Some(0), |f| part_of(f, nanos))?)?;
    Some(Duration::from_nanos(total))
}

/// `0.fraction` of `whole`.
fn part_of(fraction: &str, whole: u64) -> Option<u64> {
    if fraction.len() > FRACTION_DIGITS_MAX {
        return None;
    }
    let scaled = u128::from(digits(fraction)?) * u128::from(whole);
    u64::try_from(scaled / 10_u128.pow(fraction.len() as u32)).ok()
}

/// Writes a duration in the largest unit that divides it. Exact for whole milliseconds; what is finer is cut off.
pub fn format_duration(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    let (unit, size) = match TIME_UNITS.into_iter().find(|(_, size)| divides(u128::from(*size), nanos)) {
        Some(found) => found,
        None if nanos == 0 => TIME_UNITS[2],
        None => TIME_UNITS[3],
    };
    format!("{}{unit}", nanos / u128::from(size))
}

/// Reads a size in bytes: a whole number, at once followed by a unit in either case (k, m, g and KiB, MiB, GiB are
/// powers of 1024; KB, MB, GB of 1000) or by none. `None` if it is anything else or too large.
pub fn parse_size(text: &str) -> Option<u64> {
    let (number, unit) = split_unit(text);
    let unit = unit.to_ascii_lowercase();
    let (_, bytes) = SIZE_UNITS.into_iter().find(|(name, _)| *name == unit)?;
    digits(number)?.checked_mul(bytes)
}

/// Writes a size in the largest binary unit that divides it.
pub fn format_size(bytes: u64) -> String {
    match [("GiB", 30), ("MiB", 20), ("KiB", 10)].into_iter().find(|(_, shift)| divides(1 << shift, bytes.into())) {
        Some((unit, shift)) => format!("{}{unit}", bytes >> shift),
        None => bytes.to_string(),
    }
}

/// A parser for durations in `range`, for the command line.
pub fn duration(range: RangeInclusive<Duration>) -> impl Fn(&str) -> Result<Duration, String> + Clone + Send + Sync {
    move |text| match parse_duration(text) {
        Some(duration) if range.contains(&duration) => Ok(duration),
        Some(_) => Err(format!("expected {} to {}", format_duration(*range.start()), format_duration(*range.end()))),
        None => Err("expected a duration such as 10s or 500ms".into()),
    }
}

/// A parser for sizes in `range`, in bytes, for the command line.
pub fn size(range: RangeInclusive<u64>) -> impl Fn(&str) -> Result<usize, String> + Clone + Send + Sync {
    let length = length(range);
    move |text| length(text).map(|bytes| bytes as usize)
}

/// The same for what is never held in memory as a whole.
pub fn length(range: RangeInclusive<u64>) -> impl Fn(&str) -> Result<u64, String> + Clone + Send + Sync {
    move |text| match parse_size(text) {
        Some(bytes) if range.contains(&bytes) => Ok(bytes),
        Some(_) => Err(format!("expected {} to {}", format_size(*range.start()), format_size(*range.end()))),
        None => Err("expected a size such as 64k or 1MiB".into()),
    }
}

/// A parser for whole numbers in `range`, for the command line.
pub fn number(range: RangeInclusive<u32>) -> impl Fn(&str) -> Result<u32, String> + Clone + Send + Sync {
    move |text| match digits(text).and_then(|number| u32::try_from(number).ok()) {
        Some(number) if range.contains(&number) => Ok(number),
        _ => Err(format!("expected a number from {} to {}", range.start(), range.end())),
    }
}

/// Whether `amount`, if it is any, is so many whole units.
fn divides(unit: u128, amount: u128) -> bool {
    amount > 0 && amount.is_multiple_of(unit)
}

/// Where the unit begins: at the first letter.
fn split_unit(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len()))
}

/// One or more digits and nothing else; `str::parse` would take a sign.
fn digits(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_need_a_unit() {
        for (text, millis) in [
            ("10s", 10_000),
            ("500ms", 500),
            ("2m", 120_000),
            ("1h", 3_600_000),
            ("1.5s", 1_500),
            ("0.25m", 15_000),
            ("0s", 0),
            ("007s", 7_000),
            ("1.000000000s", 1_000),
        ] {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
        assert_eq!(parse_duration("0.0000015s"), Some(Duration::from_nanos(1_500)));
        for text in [
            "",
            "10",
            "s",
            "10 s",
            " 10s",
            "10s ",
            "-1s",
            "+1s",
            "1.s",
            ".5s",
            "1.2.3s",
            "1,5s",
            "10S",
            "10sec",
            "1e3s",
            "10us",
            "1d",
            "99999999999h",
            "18446744073709551616ms",
            "1.0000000001s",
            "٣s",
            "1s1s",
        ] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_may_have_a_unit() {
        for (text, bytes) in [
            ("4096", 4096),
            ("64k", 65_536),
            ("64K", 65_536),
            ("64KiB", 65_536),
            ("64kb", 64_000),
            ("1MiB", 1 << 20),
            ("1m", 1 << 20),
            ("1MB", 1_000_000),
            ("2g", 2 << 30),
            ("2GiB", 2 << 30),
            ("2GB", 2_000_000_000),
            ("7B", 7),
            ("0", 0),
        ] {
            assert_eq!(parse_size(text), Some(bytes), "{text}");
        }
        for text in ["", "k", "64 k", "-1", "+1", "1.5m", "1t", "1kk", "0x10", "18446744073709551616", "99999999999g"] {
            assert_eq!(parse_size(text), None, "{text}");
        }
    }

    #[test]
    fn values_are_written_in_their_largest_unit() {
        let written =
            [0, 1, 1_000, 1_500, 60_000, 90_000, 3_600_000, 86_400_000].map(Duration::from_millis).map(format_duration);
        assert_eq!(written, ["0s", "1ms", "1s", "1500ms", "1m", "90s", "1h", "24h"]);
        assert_eq!(format_duration(Duration::from_nanos(1_999_999)), "1ms");
        let written = [0, 1, 1023, 1024, 1536, 16_384, 1 << 20, 3 << 30].map(format_size);
        assert_eq!(written, ["0", "1", "1023", "1KiB", "1536", "16KiB", "1MiB", "3GiB"]);
    }

    #[test]
    fn a_refusal_says_what_would_be_right() {
        let duration = duration(Duration::from_millis(1)..=Duration::from_secs(3600));
        assert_eq!(duration("1h"), Ok(Duration::from_secs(3600)));
        assert_eq!(duration("0s").unwrap_err(), "expected 1ms to 1h");
        assert_eq!(duration("61m").unwrap_err(), "expected 1ms to 1h");
        assert_eq!(duration("10").unwrap_err(), "expected a duration such as 10s or 500ms");
        let size = size(512..=1 << 20);
        assert_eq!(size("1m"), Ok(1 << 20));
        assert_eq!(size("511").unwrap_err(), "expected 512 to 1MiB");
        assert_eq!(size("big").unwrap_err(), "expected a size such as 64k or 1MiB");
        let number = number(1..=9);
        assert_eq!(number("9"), Ok(9));
        for text in ["0", "10", "-1", "+1", "", "x", "4294967297"] {
            assert_eq!(number(text).unwrap_err(), "expected a number from 1 to 9", "{text}");
        }
    }

    proptest! {
        #[test]
        fn whole_milliseconds_survive_writing_and_reading(millis in 0..=u64::MAX / 1_000_000) {
            let duration = Duration::from_millis(millis);
            prop_assert_eq!(parse_duration(&format_duration(duration)), Some(duration));
        }

        #[test]
        fn sizes_survive_writing_and_reading(bytes: u64, shift in 0..64) {
            let bytes = bytes >> shift << (shift / 2);
            prop_assert_eq!(parse_size(&format_size(bytes)), Some(bytes));
        }

        #[test]
        fn decimal_fractions_are_exact(whole in 0..1_000_000_u64, micros in 0..1_000_000_u64) {
            let text = format!("{whole}.{micros:06}s");
            prop_assert_eq!(parse_duration(&text), Some(Duration::from_micros(whole * 1_000_000 + micros)));
        }

        #[test]
        fn no_text_panics(text in "\\PC*|[0-9.]{0,30}[a-zA-Z]{0,3}") {
            let durations = parse_duration(&text).map(format_duration);
            let sizes = parse_size(&text).map(format_size);
            prop_assert!(durations.is_none() || sizes.is_none() || text.ends_with('m'));
        }
    }
}
