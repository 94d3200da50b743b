//! The Date field (RFC 9110 §6.6.1). It is formatted once a second and not for each response.

use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// An IMF-fixdate and the second that it stands for.
#[derive(Debug, Clone)]
pub struct DateCache {
    second: u64,
    text: [u8; DateCache::LENGTH],
}

impl DateCache {
    /// Length of an IMF-fixdate in bytes: `Sun, 06 Nov 1994 08:49:37 GMT`.
    pub const LENGTH: usize = 29;

    /// A cache that holds the date of `wall`.
    pub fn new(wall: SystemTime) -> DateCache {
        let mut cache = DateCache { second: 0, text: [b' '; DateCache::LENGTH] };
        cache.format(wall);
        cache
    }

    /// Formats the date again if `wall` is in another second; returns how long it stays correct.
    pub fn refresh(&mut self, wall: SystemTime) -> Duration {
        let since_epoch = wall.duration_since(UNIX_EPOCH).unwrap_or_default();
        if since_epoch.as_secs() != self.second {
            self.format(wall);
        }
        Duration::from_secs(1) - Duration::from_nanos(u64::from(since_epoch.subsec_nanos()))
    }

    /// The second that it stands for, since 1970.
    pub fn second(&self) -> u64 {
        self.second
    }

    /// The date as it stands in the field.
    pub fn as_bytes(&self) -> &[u8; DateCache::LENGTH] {
        &self.text
    }

    fn format(&mut self, wall: SystemTime) {
        // httpdate panics before 1970 and after 9999. A clock that is so wrong is taken for the nearest of the two.
        let year_9999 = UNIX_EPOCH + Duration::from_secs(253_402_300_799);
        let wall = wall.clamp(UNIX_EPOCH, year_9999);
        self.second = wall.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let date = httpdate::HttpDate::from(wall);
        write!(&mut self.text[..], "{date}").expect("an IMF-fixdate has this length");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_is_an_imf_fixdate_and_says_how_long_it_holds() {
        let wall = UNIX_EPOCH + Duration::from_millis(784_111_777_250);
        let mut cache = DateCache::new(wall);
        assert_eq!(cache.as_bytes(), b"Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(cache.refresh(wall), Duration::from_millis(750));
        let _ = cache.refresh(wall + Duration::from_millis(750));
        assert_eq!(cache.as_bytes(), b"Sun, 06 Nov 1994 08:49:38 GMT");
    }

    #[test]
    fn a_clock_outside_the_formats_range_is_clamped() {
        let cache = DateCache::new(UNIX_EPOCH - Duration::from_secs(9));
        assert_eq!(cache.as_bytes(), b"Thu, 01 Jan 1970 00:00:00 GMT");
        let cache = DateCache::new(UNIX_EPOCH + Duration::from_secs(999_999_999_999));
        assert_eq!(cache.as_bytes(), b"Fri, 31 Dec 9999 23:59:59 GMT");
    }
}
