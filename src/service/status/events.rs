//! `/events`: an overview, twice a second, for the live page.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::inspect::busy;
use super::inspection_queue::{Asked, InspectionQueue, Question};
use super::{AskKernel, now};
use crate::base::job_name::JobKind;
use crate::base::job_pool::Ticket;
use crate::base::ring::Room;
use crate::http::body::{Failure, Pull, Wait};
use crate::http::exchange::{Cx, Source};
use crate::observe::report::{KernelReport, Overview};

const EVERY: Duration = Duration::from_millis(500);
/// When an unanswered question is looked at again; in practice the answer always comes earlier.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long to wait for the kernel's part. Then an event comes without it, so that a page stays alive while all job threads
/// are stuck.
const KERNEL_PATIENCE: Duration = Duration::from_millis(300);

/// A stream of overviews.
pub struct Events {
    inspections: Rc<InspectionQueue>,
    ask_kernel: AskKernel,
    asking: Asking,
    /// The last question to the kernel, if its answer was not waited for any longer.
    late: Option<Ticket<KernelReport>>,
    next: Instant,
    event: Vec<u8>,
    sent: usize,
}

/// Which answer comes next.
enum Asking {
    /// None, before the next event is due.
    Nobody,
    Loop(Question<Overview>),
    /// The kernel's; not waited for after that moment.
    Kernel(Box<Overview>, Ticket<KernelReport>, Instant),
}

impl Events {
    /// A stream that begins now.
    pub fn new(inspections: Rc<InspectionQueue>, ask_kernel: AskKernel, now: Instant) -> Events {
        Events { inspections, ask_kernel, asking: Asking::Nobody, late: None, next: now, event: Vec::new(), sent: 0 }
    }

    /// Puts what is left of the event; says whether nothing is.
    fn flow(&mut self, room: &mut Room<'_>) -> bool {
        self.sent += room.put(&self.event[self.sent..]);
        self.sent == self.event.len()
    }

    fn write(&mut self, overview: &Overview, kernel: &KernelReport) {
        self.event = format!("data: {}\n\n", now::json(overview, kernel)).into_bytes();
        self.sent = 0;
    }

    /// Goes on until there is an event to send, or something to wait for.
    fn step(&mut self, cx: &mut Cx<'_>) -> Option<Wait> {
        match std::mem::replace(&mut self.asking, Asking::Nobody) {
            Asking::Nobody if cx.now < self.next => return Some(Wait::Until(self.next)),
            Asking::Nobody => {
                self.next = cx.now + EVERY;
                self.asking = Asking::Loop(self.inspections.ask(cx.local_waker(), Asked::Overview));
            }
            Asking::Loop(question) => match question.answer() {
                Some(overview) => self.ask_kernel(overview, cx),
                None => {
                    self.asking = Asking::Loop(question);
                    return Some(Wait::Until(cx.now + PATIENCE));
                }
            },
            Asking::Kernel(overview, mut ticket, until) => match ticket.take() {
                None if cx.now < until => {
                    self.asking = Asking::Kernel(overview, ticket, until);
                    return Some(Wait::Job(until));
                }
                None => {
                    self.late = Some(ticket);
                    self.write(&overview, &busy());
                }
                Some(told) => self.write(&overview, &told.unwrap_or_else(|_| busy())),
            },
        }
        None
    }

    /// Asks, unless the last question is still in the queue: job threads that are stuck are not to get ever more to do.
    fn ask_kernel(&mut self, overview: Overview, cx: &Cx<'_>) {
        self.late.take_if(|late| late.take().is_some());
        if self.late.is_some() {
            return self.write(&overview, &busy());
        }
        let (topic, ask_kernel) = (now::kernel_topic(&overview), Arc::clone(&self.ask_kernel));
        match cx.submit(JobKind::Kernel, b"the live page", move || ask_kernel(&topic)) {
            Ok(ticket) => self.asking = Asking::Kernel(Box::new(overview), ticket, cx.now + KERNEL_PATIENCE),
            Err(_) => self.write(&overview, &busy()),
        }
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
            if let Some(wait) = self.step(cx) {
                return Ok(Pull::Pending(wait));
            }
        }
    }
}
