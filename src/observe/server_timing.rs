//! `Server-Timing`: what a response tells about the time that its request took (W3C Server Timing).

use std::fmt::{self, Display};

use super::request_record::RequestRecord;
use crate::base::json::Millis;
use crate::base::moment::Moment;
use crate::http::fields::{FieldName, Fields};

/// The name of the field.
pub const SERVER_TIMING: FieldName = FieldName::from_static("Server-Timing");
/// The longest value, in bytes: four names, and milliseconds with as many digits as there are.
pub const TIMING_BYTES_MAX: usize = 160;

/// Which responses have it.
#[derive(Debug, Clone)]
pub enum ServerTiming {
    /// All.
    Always,
    /// Those to requests with this field, if somebody has sent them who may know.
    OnRequest(FieldName),
}

impl ServerTiming {
    /// Whether the response to a request with these `fields` has it. `may_know`: its peer may ask for it.
    pub fn is_wanted(&self, fields: Fields<'_>, may_know: bool) -> bool {
        match self {
            ServerTiming::Always => true,
            ServerTiming::OnRequest(field) => may_know && fields.first(field.as_str()).is_some(),
        }
    }
}

/// The value for a response that begins at `now`, in milliseconds:
///
/// - `head`: from the first byte of the request to the drive in which its head was complete
/// - `content`: from there to its last byte, if somebody has taken its content to the end
/// - `wait`: from there to the response
/// - `queue`: the most that it waited behind another connection, if it did
///
/// These are times of the loop's drives. What the present drive has taken so far is not in them.
pub fn timings(record: &RequestRecord, now: Moment) -> impl Display {
    let ready_at = record.content_at.unwrap_or(record.head_at);
    fmt::from_fn(move |f| {
        write!(f, "head;dur={}", Millis(record.time_to_head()))?;
        if record.content_at.is_some() {
            write!(f, ", content;dur={}", Millis(ready_at.since(record.head_at)))?;
        }
        write!(f, ", wait;dur={}", Millis(now.since(ready_at)))?;
        match &record.behind {
            Some(delay) => write!(f, ", queue;dur={}", Millis(delay.took)),
            None => Ok(()),
        }
    })
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;
    use std::time::Duration;

    use super::*;
    use crate::observe::delay::Delay;

    #[test]
    fn times_add_up_from_the_first_byte_to_the_response() {
        let at = Moment::from_millis;
        let mut record = RequestRecord::new(at(10));
        record.head_at = at(12);
        assert_eq!(timings(&record, at(17)).to_string(), "head;dur=2.000, wait;dur=5.000");
        record.content_at = Some(at(15));
        record.behind =
            Some(Rc::new(Delay { took: Duration::from_micros(7_250), connection: 3, request: "GET /".into() }));
        let expected = "head;dur=2.000, content;dur=3.000, wait;dur=2.000, queue;dur=7.250";
        assert_eq!(timings(&record, at(17)).to_string(), expected);
    }

    #[test]
    fn the_longest_value_has_room() {
        let mut record = RequestRecord::new(Moment::default());
        let longest = Duration::from_nanos(u64::MAX);
        record.content_at = Some(Moment::default());
        record.behind = Some(Rc::new(Delay { took: longest, connection: 1, request: String::new() }));
        let end = Moment::default() + Duration::from_nanos(u64::MAX - 1);
        assert!(timings(&record, end).to_string().len() + 2 * "18446744073709".len() <= TIMING_BYTES_MAX);
    }
}
