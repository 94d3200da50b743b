//! `/events`: an overview, twice a second, for the live page.

use std::rc::Rc;
use std::time::{Duration, Instant};

use super::durations::spread_object;
use super::inspection_queue::{Asked, InspectionQueue, Question};
use super::{connections, turn};
use crate::base::json::{Object, array};
use crate::base::ring::Room;
use crate::http::body::{Failure, Pull, Wait};
use crate::http::exchange::{Cx, Source};
use crate::observe::report::{DisturbedStatus, KernelReport, Overview};

const EVERY: Duration = Duration::from_millis(500);
/// When an unanswered question is looked at again; in practice the answer always comes earlier.
const PATIENCE: Duration = Duration::from_secs(10);

/// A stream of overviews.
pub struct Events {
    inspections: Rc<InspectionQueue>,
    question: Option<Question<Overview>>,
    next: Instant,
    event: Vec<u8>,
    sent: usize,
}

impl Events {
    /// A stream that begins now.
    pub fn new(inspections: Rc<InspectionQueue>, now: Instant) -> Events {
        Events { inspections, question: None, next: now, event: Vec::new(), sent: 0 }
    }

    /// Puts what is left of the event; says whether nothing is.
    fn flow(&mut self, room: &mut Room<'_>) -> bool {
        self.sent += room.put(&self.event[self.sent..]);
        self.sent == self.event.len()
    }

    fn write(&mut self, overview: &Overview) {
        self.event = format!("data: {}\n\n", overview_json(overview)).into_bytes();
        self.sent = 0;
    }
}

impl Source for Events {
    fn length(&self) -> Option<u64> {
        None
    }

    fn pull(&mut self, room: &mut Room<'_>, cx: &mut Cx<'_>) -> Result<Pull, Failure> {
        loop {
            if !self.flow(room) {
                return Ok(Pull::More);
            }
            match self.question.as_ref().map(Question::answer) {
                Some(Some(overview)) => {
                    self.question = None;
                    self.write(&overview);
                }
                Some(None) => return Ok(Pull::Pending(Wait::Until(cx.now + PATIENCE))),
                None if cx.now < self.next => return Ok(Pull::Pending(Wait::Until(self.next))),
                None => {
                    self.next = cx.now + EVERY;
                    self.question = Some(self.inspections.ask(cx.local_waker(), Asked::Overview));
                }
            }
        }
    }
}

fn overview_json(overview: &Overview) -> String {
    turn::object(&overview.turn, &KernelReport::default())
        .number("requests", overview.requests)
        .number("received_bytes", overview.received_bytes)
        .number("sent_bytes", overview.sent_bytes)
        .raw("latency", spread_object(&overview.latency))
        .raw("waits", connections::waits_object(&overview.waits))
        .raw("paused", overview.paused)
        .raw("blocked", overview.blocked)
        .raw("slowest", array(overview.slowest.iter().map(|connection| connections::object(connection, None))))
        .raw("disturbed", array(overview.disturbed.iter().map(disturbed_object)))
        .raw("draining", overview.draining)
        .finish()
}

/// `request` and `line` are left out if it is a connection.
fn disturbed_object(disturbed: &DisturbedStatus) -> String {
    let (request, line) = disturbed.request.as_ref().map(|(key, line)| (key.to_string(), line.as_str())).unzip();
    Object::new()
        .raw("ago_ms", disturbed.ago.as_millis())
        .number("connection", disturbed.connection)
        .text("peer", &disturbed.peer.to_string())
        .optional_text("request", request.as_deref())
        .optional_text("line", line)
        .text("verdict", &disturbed.verdict.to_string())
        .text("text", &disturbed.text)
        .finish()
}
