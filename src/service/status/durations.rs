//! Durations, as text for people and in JSON for programs.

use std::time::Duration;

use crate::base::json::Object;
use crate::observe::histogram::Spread;

/// A duration with a digit after the point, in the unit that fits.
pub fn short(time: Duration) -> String {
    if time.is_zero() { "0s".into() } else { format!("{time:.1?}") }
}

/// A spread as an object; durations in microseconds.
pub fn spread_object(spread: &Spread) -> String {
    Object::new()
        .number("count", spread.count)
        .raw("total_us", spread.total.as_micros())
        .raw("p50_us", spread.p50.as_micros())
        .raw("p99_us", spread.p99.as_micros())
        .raw("p999_us", spread.p999.as_micros())
        .raw("max_us", spread.max.as_micros())
        .finish()
}
