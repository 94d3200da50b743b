//! A wall-clock time as logs write it, in UTC. The calendar is worked out once a second.

use std::fmt::{self, Display};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::http::date::DateCache;

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// `13:55:36.123`.
pub fn of_day(wall: SystemTime) -> String {
    TimeText::of(wall).of_day().to_string()
}

/// `2000-10-10T13:55:36.123Z` (RFC 3339).
pub fn rfc3339(wall: SystemTime) -> String {
    TimeText::of(wall).rfc3339().to_string()
}

/// The time of the line that is being written.
#[derive(Debug)]
pub(super) struct TimeText {
    date: DateCache,
    millis: u32,
}

impl TimeText {
    pub(super) fn new() -> TimeText {
        TimeText { date: DateCache::new(UNIX_EPOCH), millis: 0 }
    }

    fn of(wall: SystemTime) -> TimeText {
        let mut text = TimeText::new();
        text.set(wall);
        text
    }

    pub(super) fn set(&mut self, wall: SystemTime) {
        // How long this second lasts is of no interest here.
        let _rest_of_second = self.date.refresh(wall);
        self.millis = wall.duration_since(UNIX_EPOCH).unwrap_or_default().subsec_millis();
    }

    /// `10/Oct/2000:13:55:36 +0000`.
    pub(super) fn classic(&self) -> impl Display {
        fmt::from_fn(|f| write!(f, "{}/{}/{}:{} +0000", self.day(), self.month(), self.year(), self.time()))
    }

    /// `2000-10-10T13:55:36.123Z` (RFC 3339).
    pub fn rfc3339(&self) -> impl Display {
        fmt::from_fn(|f| {
            let month = MONTHS.iter().position(|name| *name == self.month()).unwrap_or(0) + 1;
            write!(f, "{}-{month:02}-{}T{}.{:03}Z", self.year(), self.day(), self.time(), self.millis)
        })
    }

    /// `13:55:36.123`.
    pub fn of_day(&self) -> impl Display {
        fmt::from_fn(|f| write!(f, "{}.{:03}", self.time(), self.millis))
    }

    // The parts of an IMF-fixdate: `Sun, 06 Nov 1994 08:49:37 GMT`.

    fn day(&self) -> &str {
        self.part(5, 7)
    }

    fn month(&self) -> &str {
        self.part(8, 11)
    }

    fn year(&self) -> &str {
        self.part(12, 16)
    }

    fn time(&self) -> &str {
        self.part(17, 25)
    }

    fn part(&self, from: usize, to: usize) -> &str {
        let text = self.date.as_bytes().as_slice();
        std::str::from_utf8(&text[from..to]).unwrap_or("?")
    }
}
