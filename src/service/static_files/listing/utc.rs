//! Times of day and year in UTC, from seconds since 1970.

use std::fmt;

/// A moment of the years 1970 to 9999, to the second. Shown as RFC 3339 has it: `1994-11-06T08:49:37Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Utc {
    year: u64,
    month: u64,
    day: u64,
    second_of_day: u64,
}

const DAY_SECS: u64 = 86_400;

/// The first second of the year 10000, which four digits cannot tell.
const END_SECS: u64 = 253_402_300_800;

/// Days from 1 March of the year 0 to 1 January 1970. Years that begin in March have their odd day at the end.
const DAYS_TO_1970: u64 = 719_468;

/// Days in 400, 100 and 4 years, where the odd day of the longer period is not counted.
const DAYS_400: u64 = 146_097;
const DAYS_100: u64 = 36_524;
const DAYS_4: u64 = 1_461;

/// The day on which each month begins, in a year that begins in March.
const MONTH_STARTS: [u64; 12] = [0, 31, 61, 92, 122, 153, 184, 214, 245, 275, 306, 337];

impl Utc {
    /// The moment so many seconds after the beginning of 1970; `None` after the year 9999.
    pub(super) fn from_secs(secs: u64) -> Option<Utc> {
        if secs >= END_SECS {
            return None;
        }
        let (year, day_of_year) = march_year(secs / DAY_SECS + DAYS_TO_1970);
        let month = MONTH_STARTS.partition_point(|start| *start <= day_of_year) - 1;
        let day = day_of_year - MONTH_STARTS[month] + 1;
        // Months 10 and 11 are January and February of the year after.
        let (year, month) = if month < 10 { (year, month + 3) } else { (year + 1, month - 9) };
        Some(Utc { year, month: month as u64, day, second_of_day: secs % DAY_SECS })
    }
}

/// Shows a moment without its seconds: `1994-11-06 08:49`.
pub(super) struct ToTheMinute(pub(super) Utc);

impl fmt::Display for ToTheMinute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Utc { year, month, day, second_of_day: second } = self.0;
        write!(f, "{year:04}-{month:02}-{day:02} {:02}:{:02}", second / 3600, second / 60 % 60)
    }
}

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Utc { year, month, day, second_of_day: second } = self;
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

/// The year and the day in it, from 0, of the day so many days after 1 March of the year 0.
fn march_year(days: u64) -> (u64, u64) {
    let (periods_400, day) = (days / DAYS_400, days % DAYS_400);
    // The last century of four, and the last year of four, are a day longer: it is not the first of a fifth.
    let centuries = (day / DAYS_100).min(3);
    let day = day - centuries * DAYS_100;
    let (periods_4, day) = (day / DAYS_4, day % DAYS_4);
    let years = (day / 365).min(3);
    (periods_400 * 400 + centuries * 100 + periods_4 * 4 + years, day - years * 365)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(secs: u64) -> String {
        Utc::from_secs(secs).expect("before the year 10000").to_string()
    }

    #[test]
    fn known_moments_are_shown_as_rfc_3339_has_them() {
        assert_eq!(shown(0), "1970-01-01T00:00:00Z");
        assert_eq!(shown(784_111_777), "1994-11-06T08:49:37Z");
        assert_eq!(shown(951_782_399), "2000-02-28T23:59:59Z");
        assert_eq!(shown(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(shown(4_107_542_400), "2100-03-01T00:00:00Z");
        assert_eq!(shown(END_SECS - 1), "9999-12-31T23:59:59Z");
        assert_eq!(Utc::from_secs(END_SECS), None);
        assert_eq!(Utc::from_secs(u64::MAX), None);
    }

    #[test]
    fn the_short_form_has_minutes() {
        let moment = Utc::from_secs(784_111_777).expect("before the year 10000");
        assert_eq!(ToTheMinute(moment).to_string(), "1994-11-06 08:49");
    }

    #[test]
    fn every_day_until_9999_follows_the_day_before() {
        let is_leap = |year| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let lengths = |year| [31, 28 + u64::from(is_leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        let months =
            (1970..=9999).flat_map(|year| (1..).zip(lengths(year)).map(move |(month, len)| (year, month, len)));
        let days = months.flat_map(|(year, month, len)| (1..=len).map(move |day| (year, month, day)));
        let mut secs = 0;
        for (year, month, day) in days {
            assert_eq!(Utc::from_secs(secs), Some(Utc { year, month, day, second_of_day: 0 }));
            secs += DAY_SECS;
        }
        assert_eq!(secs, END_SECS);
    }
}
