//! Requests that come when the server has ended an idle connection: each has crossed the server's FIN, or its GOAWAY.
//!
//! RFC 9112 §9.5: the client may send the request again on another connection if it is idempotent. RFC 9113 §6.8: any request
//! behind GOAWAY.

use std::time::{Duration, SystemTime};

use super::access_log::time_text::of_day;
use crate::base::json::{Millis, Object};

/// How a server says that it answers no more requests on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goodbye {
    /// With FIN, behind the `close_notify` of TLS.
    Fin,
    /// With GOAWAY, which names the last stream that is served.
    GoAway,
}

impl Goodbye {
    /// All of them, in the order of their numbers, as they are counted.
    pub const LABELS: [&str; 2] = ["fin", "goaway"];

    fn name(self) -> &'static str {
        match self {
            Goodbye::Fin => "FIN",
            Goodbye::GoAway => "GOAWAY",
        }
    }
}

/// What came on a connection when the server had said goodbye.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeepAliveRace {
    /// How the server had said it.
    pub goodbye: Goodbye,
    /// When: the beginning of that turn.
    pub said_at: SystemTime,
    /// How many requests came.
    pub requests: u32,
    /// How long after that the first of them was read, from turn to turn.
    pub first_after: Duration,
}

impl KeepAliveRace {
    /// The same in words.
    pub fn sentence(&self) -> String {
        let KeepAliveRace { requests, .. } = self;
        let (said_at, goodbye) = (of_day(self.said_at), self.goodbye.name());
        let ms = self.first_after.as_secs_f64() * 1000.0;
        match requests {
            1 => format!("a request came {ms:.1} ms after our {goodbye} of {said_at}"),
            _ => format!("{requests} requests came after our {goodbye} of {said_at}, the first {ms:.1} ms after it"),
        }
    }

    /// The same for programs.
    pub fn object(&self) -> String {
        Object::new()
            .text("after", self.goodbye.name())
            .number("requests", self.requests.into())
            .raw("first_ms", Millis(self.first_after))
            .text("text", &self.sentence())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn the_sentence_dates_what_was_crossed() {
        let said_at = UNIX_EPOCH + Duration::from_millis(3_599_734);
        let first_after = Duration::from_micros(349);
        let mut race = KeepAliveRace { goodbye: Goodbye::Fin, said_at, requests: 1, first_after };
        assert_eq!(race.sentence(), "a request came 0.3 ms after our FIN of 00:59:59.734");
        (race.goodbye, race.requests) = (Goodbye::GoAway, 3);
        assert_eq!(
            race.object(),
            r#"{"after":"GOAWAY","requests":3,"first_ms":0.349,"text":"3 requests came after our GOAWAY of 00:59:59.734, the first 0.3 ms after it"}"#
        );
    }
}
