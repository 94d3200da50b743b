//! `Server-Timing`: what a response tells about the time that its request took (W3C Server Timing).

use std::fmt::{self, Display};

use super::request_record::RequestRecord;
use super::timers::Part;
use crate::base::json::Millis;
use crate::base::moment::Moment;
use crate::http::fields::{FieldName, Fields};

/// The name of the field.
pub const SERVER_TIMING: FieldName = FieldName::from_static("Server-Timing");
/// The parts that may lie in front of a response.
const IN_FRONT: [Part; 9] = [
    Part::Head,
    Part::Queue,
    Part::Work,
    Part::Content,
    Part::Clock,
    Part::JobQueued,
    Part::JobRunning,
    Part::Delay,
    Part::Turn,
];
/// The longest value, in bytes: all names, and milliseconds with as many digits as there are.
pub const TIMING_BYTES_MAX: usize = {
    const NUMBER: usize = ", ;dur=18446744073709.552".len();
    let (mut bytes, mut at) = ("behind".len() + NUMBER, 0);
    while at < IN_FRONT.len() {
        bytes += IN_FRONT[at].name().len() + NUMBER;
        at += 1;
    }
    bytes
};

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

/// The value for a response that begins in a drive that began at `now`: the [parts](super::timers::Part) of the time since
/// the first byte of the request, in milliseconds, which add up to the whole, and `behind`, the most that it waited behind
/// another connection, if it did.
///
/// What the present drive has taken so far is not in them.
pub fn timings(record: &RequestRecord, now: Moment) -> impl Display {
    fmt::from_fn(move |f| {
        let mut comma = "";
        for (part, time) in record.part_times(now) {
            if part == Part::Queue || (IN_FRONT.contains(&part) && !time.is_zero()) {
                write!(f, "{comma}{};dur={}", part.name(), Millis(time))?;
                comma = ", ";
            }
        }
        match &record.behind {
            Some(delay) => write!(f, ", behind;dur={}", Millis(delay.took)),
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
    use crate::observe::timers::Drive;

    #[test]
    fn times_add_up_from_the_first_byte_to_the_response() {
        let at = Moment::from_millis;
        let mut record = RequestRecord::new(at(10));
        record.head_at = at(12);
        assert_eq!(timings(&record, at(12)).to_string(), "queue;dur=2.000");
        let drive = Drive { due: at(10), began: at(12), over: at(13) };
        record.note_wait(&drive, Part::Content, true);
        record.behind =
            Some(Rc::new(Delay { took: Duration::from_micros(7_250), connection: 3, request: "GET /".into() }));
        let expected = "queue;dur=2.000, work;dur=1.000, content;dur=4.000, behind;dur=7.250";
        assert_eq!(timings(&record, at(17)).to_string(), expected);
    }

    #[test]
    fn the_longest_value_has_room() {
        let mut record = RequestRecord::new(Moment::default());
        let longest = Duration::from_nanos(u64::MAX);
        record.behind = Some(Rc::new(Delay { took: longest, connection: 1, request: String::new() }));
        let at = Moment::from_millis;
        let mut now = 0;
        for part in Part::ALL {
            let drive = Drive { due: at(now), began: at(now + 1), over: at(now + 2) };
            record.note_wait(&drive, part, true);
            now += 1_000_000_000_000;
        }
        let value = timings(&record, Moment::from_nanos(u64::MAX)).to_string();
        assert_eq!(value.matches("dur").count(), IN_FRONT.len() + 1, "{value}");
        assert!(value.len() <= TIMING_BYTES_MAX, "{value}");
    }
}
