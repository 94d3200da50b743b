//! What a request asks for in its path and query: numbers and durations within bounds, or a 400 that says what would
//! be right.

use std::borrow::Cow;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::http::body::Failure;
use crate::http::exchange::Reply;
use crate::http::message::{RequestHead, Response};
use crate::http::target::percent_decode;
use crate::service::errors::{self, Detail};
use crate::service::router::Params;

/// The longest interval a request may ask for.
const INTERVAL_MAX: Duration = Duration::from_secs(3600);

/// One value that the request gives, and what it is called.
pub struct Argument<'a> {
    name: &'static str,
    value: Cow<'a, [u8]>,
}

impl<'a> Argument<'a> {
    /// The query parameter `name`; `default` if it is not there.
    pub fn query(request: &RequestHead<'a>, name: &'static str, default: &'static str) -> Argument<'a> {
        let raw = request.target.query_parameter(name).unwrap_or(default.as_bytes());
        // Nothing with a broken escape is a number or a duration, so it is refused below as it stands.
        Argument { name, value: percent_decode(raw).unwrap_or(Cow::Borrowed(raw)) }
    }

    /// The path parameter `name`.
    pub fn path(params: &Params<'a>, name: &'static str) -> Argument<'a> {
        Argument { name, value: params.decoded(name) }
    }

    /// A whole number within `range`, or a 400.
    pub fn number(&self, range: RangeInclusive<u64>) -> Result<u64, Response> {
        let number = parse_number(&self.value).filter(|number| range.contains(number));
        let expected = || format!("a whole number from {} to {}", range.start(), range.end());
        number.ok_or_else(|| self.refusal("invalid_parameter", &expected()))
    }

    /// A duration of at most an hour: `1s`, `250ms`, `2m`, `0`; or a 400.
    pub fn duration(&self) -> Result<Duration, Response> {
        let duration = parse_duration(&self.value).filter(|duration| *duration <= INTERVAL_MAX);
        let expected = "a duration of at most an hour, such as 1s, 250ms, 2m or 0";
        duration.ok_or_else(|| self.refusal("invalid_parameter", expected))
    }

    /// The value as text, or a 400.
    pub fn text(&self) -> Result<&str, Response> {
        std::str::from_utf8(&self.value).map_err(|_| self.refusal("invalid_utf8", "UTF-8, percent-encoded"))
    }

    /// The 400 that names this argument, its value and what was `expected` instead.
    pub fn refusal(&self, code: &str, expected: &str) -> Response {
        let value = String::from_utf8_lossy(&self.value);
        let details = [
            ("parameter", Detail::Text(self.name)),
            ("value", Detail::Text(&value)),
            ("expected", Detail::Text(expected)),
        ];
        errors::bad_request(code, details)
    }
}

/// A refused argument is an answer like any other.
pub fn or_refusal(reply: Result<Reply, Response>) -> Result<Reply, Failure> {
    Ok(reply.unwrap_or_else(Reply::Respond))
}

fn parse_number(text: &[u8]) -> Option<u64> {
    // `str::parse` would take a sign as well.
    let digits = text.iter().all(u8::is_ascii_digit).then_some(text)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn parse_duration(text: &[u8]) -> Option<Duration> {
    let unit_at = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(unit_at);
    let number = parse_number(digits)?;
    match unit {
        b"ms" => Some(Duration::from_millis(number)),
        b"s" => Some(Duration::from_secs(number)),
        b"m" => number.checked_mul(60).map(Duration::from_secs),
        b"" if number == 0 => Some(Duration::ZERO),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_digits_and_nothing_else() {
        assert_eq!(parse_number(b"0"), Some(0));
        assert_eq!(parse_number(b"18446744073709551615"), Some(u64::MAX));
        for wrong in ["", "+1", "-1", "1 ", "1.0", "0x10", "18446744073709551616", "١"] {
            assert_eq!(parse_number(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn durations_have_a_unit() {
        for (text, ms) in [("1s", 1000), ("250ms", 250), ("2m", 120_000), ("0", 0), ("0s", 0), ("007s", 7000)] {
            assert_eq!(parse_duration(text.as_bytes()), Some(Duration::from_millis(ms)), "{text}");
        }
        for wrong in ["", "1", "s", "ms", "1 s", "1S", "-1s", "1.5s", "1h", "307445734561825861m", "1sms"] {
            assert_eq!(parse_duration(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
