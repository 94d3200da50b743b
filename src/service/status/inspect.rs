//! An answer that has to be asked for: first the loop, then, where it adds something, the kernel.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::desk::Question;
use super::report::{KernelReport, KernelTopic, Report};
use super::{AskKernel, connections, fresh, metrics, turn};
use crate::base::job_pool::{Lane, Ticket};
use crate::http::body::{Body, Failure, Wait};
use crate::http::fields::FieldValue;
use crate::http::media_type::{JSON, TEXT_UTF8};
use crate::http::message::Response;
use crate::http::status::Status;
use crate::service::{Cx, Decision, Exchange};

const METRICS: FieldValue = FieldValue::from_static(metrics::MEDIA_TYPE);

/// How long the kernel's part of an answer is waited for. It takes milliseconds, unless all threads are stuck, which is
/// when people look.
const PATIENCE: Duration = Duration::from_millis(300);

/// For whom the answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// People.
    Text,
    /// Programs.
    Json,
}

/// One question on its way to an answer.
pub struct Inspection {
    question: Question,
    format: Format,
    ask_kernel: AskKernel,
    report: Option<Report>,
    kernel: Kernel,
}

/// How far the kernel's part has come.
enum Kernel {
    NotAsked,
    /// Given up at that moment.
    Asked(Ticket<KernelReport>, Instant),
    Known(KernelReport),
}

impl Inspection {
    /// Waits for the answer to `question`.
    pub fn new(question: Question, format: Format, ask_kernel: AskKernel) -> Inspection {
        Inspection { question, format, ask_kernel, report: None, kernel: Kernel::NotAsked }
    }

    /// What to wait for, if the answer is not complete.
    fn advance(&mut self, cx: &Cx<'_>) -> Option<Wait> {
        if self.report.is_none() {
            self.report = self.question.answer();
        }
        match &self.report {
            None => Some(Wait::Until(cx.now + PATIENCE)),
            Some(Report::Connections(list)) => {
                let topic = connections::kernel_topic(list);
                self.advance_kernel(topic, cx)
            }
            Some(Report::Loop(_)) => self.advance_kernel(KernelTopic::Queues, cx),
            // The kernel has nothing to add.
            Some(Report::Metrics(_) | Report::Overview(_)) => None,
        }
    }

    fn advance_kernel(&mut self, topic: KernelTopic, cx: &Cx<'_>) -> Option<Wait> {
        match &mut self.kernel {
            Kernel::NotAsked => {
                let ask_kernel = Arc::clone(&self.ask_kernel);
                let asked = cx.jobs.submit(Lane::Quick, cx.notifier(), move || ask_kernel(&topic));
                // Without it the answer is shorter, and comes all the same.
                let until = cx.now + PATIENCE;
                self.kernel = asked.map_or(Kernel::Known(busy()), |ticket| Kernel::Asked(ticket, until));
                matches!(self.kernel, Kernel::Asked(..)).then_some(Wait::Job(until))
            }
            Kernel::Asked(ticket, until) => {
                let told = ticket.take();
                if told.is_none() && cx.now < *until {
                    return Some(Wait::Job(*until));
                }
                self.kernel = Kernel::Known(told.and_then(Result::ok).unwrap_or_else(busy));
                None
            }
            Kernel::Known(_) => None,
        }
    }

    fn response(&mut self) -> Response {
        let nothing = KernelReport::default();
        let kernel = if let Kernel::Known(known) = &self.kernel { known } else { &nothing };
        let (content_type, text) = match (&self.report, self.format) {
            (Some(Report::Connections(list)), Format::Text) => (TEXT_UTF8, connections::text(list, kernel)),
            (Some(Report::Connections(list)), Format::Json) => (JSON, connections::json(list, kernel)),
            (Some(Report::Loop(status)), Format::Text) => (TEXT_UTF8, turn::text(status, kernel)),
            (Some(Report::Loop(status)), Format::Json) => (JSON, turn::json(status, kernel)),
            (Some(Report::Metrics(families)), _) => (METRICS, metrics::text(families)),
            (Some(Report::Overview(_)) | None, _) => (TEXT_UTF8, String::new()),
        };
        fresh(Status::OK, content_type, Body::from(text))
    }
}

/// The threads that could ask the kernel have other things to do.
fn busy() -> KernelReport {
    let missing = Some(String::from("the job threads are busy"));
    KernelReport { missing, ..KernelReport::default() }
}

impl Exchange for Inspection {
    fn respond(&mut self, cx: &mut Cx<'_>) -> Result<Decision, Failure> {
        Ok(match self.advance(cx) {
            Some(wait) => Decision::Pending(wait),
            None => Decision::Respond(self.response()),
        })
    }
}
