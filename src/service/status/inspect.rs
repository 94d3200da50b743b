//! A request whose answer comes from the loop, and partly from the kernel: the loop is asked first.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::inspection_queue::Question;
use super::{AskKernel, ask, connections, fresh, metrics, now, page, turn, upstreams};
use crate::base::job_name::JobKind;
use crate::base::job_pool::Ticket;
use crate::http::body::{Body, Failure, Wait};
use crate::http::exchange::{Cx, Decision, Exchange};
use crate::http::fields::FieldValue;
use crate::http::media_type::{HTML, JSON, TEXT_UTF8};
use crate::http::status::Status;
use crate::observe::report::{Connections, KernelReport, KernelTopic, Known, LoopStatus, Metrics, Overview};
use crate::observe::upstream::GroupStatus;

const METRICS: FieldValue = FieldValue::from_static(metrics::MEDIA_TYPE);

/// How long to wait for the kernel's part of an answer. It takes milliseconds, unless all job threads are stuck; then the
/// answer must come without it.
const PATIENCE: Duration = Duration::from_millis(300);

/// For whom the answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// People.
    Text,
    /// Programs.
    Json,
    /// A browser that takes a picture, or prints it.
    Page,
}

/// A report that answers a request.
pub trait Shown {
    /// What the kernel is asked to add, if it knows anything of this.
    fn kernel_topic(&self) -> Option<KernelTopic>;

    /// The status of an answer with it.
    fn status(&self) -> Status {
        Status::OK
    }

    /// The report, with what the kernel has added, and its media type.
    fn show(&self, kernel: &KernelReport, format: Format) -> (FieldValue, String);
}

impl Shown for Connections {
    fn kernel_topic(&self) -> Option<KernelTopic> {
        Some(connections::kernel_topic(self))
    }

    fn show(&self, kernel: &KernelReport, format: Format) -> (FieldValue, String) {
        match format {
            Format::Text | Format::Page => (TEXT_UTF8, connections::text(self, kernel)),
            Format::Json => (JSON, connections::json(self, kernel)),
        }
    }
}

impl Shown for LoopStatus {
    fn kernel_topic(&self) -> Option<KernelTopic> {
        Some(KernelTopic::Queues)
    }

    fn show(&self, kernel: &KernelReport, format: Format) -> (FieldValue, String) {
        match format {
            Format::Text | Format::Page => (TEXT_UTF8, turn::text(self, kernel)),
            Format::Json => (JSON, turn::json(self, kernel)),
        }
    }
}

impl Shown for Metrics {
    fn kernel_topic(&self) -> Option<KernelTopic> {
        Some(KernelTopic::Queues)
    }

    fn show(&self, kernel: &KernelReport, _format: Format) -> (FieldValue, String) {
        (METRICS, metrics::text(self, kernel))
    }
}

impl Shown for Vec<GroupStatus> {
    fn kernel_topic(&self) -> Option<KernelTopic> {
        None
    }

    fn show(&self, _kernel: &KernelReport, format: Format) -> (FieldValue, String) {
        match format {
            Format::Text | Format::Page => (TEXT_UTF8, upstreams::text(self)),
            Format::Json => (JSON, upstreams::json(self)),
        }
    }
}

impl Shown for Overview {
    fn kernel_topic(&self) -> Option<KernelTopic> {
        Some(now::kernel_topic(self))
    }

    fn show(&self, kernel: &KernelReport, format: Format) -> (FieldValue, String) {
        match format {
            Format::Text => (TEXT_UTF8, now::text(self, kernel)),
            Format::Json => (JSON, now::json(self, kernel)),
            Format::Page => (HTML, page::still(self, kernel)),
        }
    }
}

impl Shown for Known {
    fn kernel_topic(&self) -> Option<KernelTopic> {
        Some(ask::kernel_topic(self))
    }

    fn status(&self) -> Status {
        if ask::is_anything_known(self) { Status::OK } else { Status::NOT_FOUND }
    }

    fn show(&self, kernel: &KernelReport, format: Format) -> (FieldValue, String) {
        match format {
            Format::Text | Format::Page => (TEXT_UTF8, ask::text(self, kernel)),
            Format::Json => (JSON, ask::json(self, kernel)),
        }
    }
}

/// A request that waits for answers.
pub struct Inspection<R> {
    asking: Asking<R>,
    format: Format,
    ask_kernel: AskKernel,
}

/// Which answer comes next.
enum Asking<R> {
    Loop(Question<R>),
    /// The kernel's; not waited for after that moment.
    Kernel(R, Ticket<KernelReport>, Instant),
}

impl<R: Shown + 'static> Inspection<R> {
    /// Waits for the answer to `question`.
    pub fn new(question: Question<R>, format: Format, ask_kernel: AskKernel) -> Inspection<R> {
        Inspection { asking: Asking::Loop(question), format, ask_kernel }
    }

    /// Asks the kernel for what it has to add.
    fn on_report(mut self: Box<Self>, report: R, cx: &Cx<'_>) -> Decision {
        let Some(topic) = report.kernel_topic() else {
            return shown(&report, &KernelReport::default(), self.format);
        };
        let ask_kernel = Arc::clone(&self.ask_kernel);
        let subject: &[u8] = match topic {
            KernelTopic::Connections(_) => b"connections",
            KernelTopic::Queues => b"accept queues",
            KernelTopic::All(_) => b"connections and accept queues",
        };
        match cx.submit(JobKind::Kernel, subject, move || ask_kernel(&topic)) {
            // Then the answer comes without the kernel's part.
            Err(_) => shown(&report, &busy(), self.format),
            Ok(ticket) => {
                let until = cx.now + PATIENCE;
                self.asking = Asking::Kernel(report, ticket, until);
                Decision::Pending(self, Wait::Job(until))
            }
        }
    }
}

fn shown(report: &impl Shown, kernel: &KernelReport, format: Format) -> Decision {
    let (content_type, text) = report.show(kernel, format);
    Decision::Respond(fresh(report.status(), content_type, Body::from(text)))
}

/// The threads that could ask the kernel have other things to do.
pub(super) fn busy() -> KernelReport {
    let missing = Some(String::from("the job threads are busy"));
    KernelReport { missing, ..KernelReport::default() }
}

impl<R: Shown + 'static> Exchange for Inspection<R> {
    fn respond(mut self: Box<Self>, cx: &mut Cx<'_>) -> Result<Decision, Failure> {
        Ok(match &mut self.asking {
            Asking::Loop(question) => match question.answer() {
                None => Decision::Pending(self, Wait::Until(cx.now + PATIENCE)),
                Some(report) => self.on_report(report, cx),
            },
            Asking::Kernel(report, ticket, until) => match ticket.take() {
                None if cx.now < *until => {
                    let until = *until;
                    Decision::Pending(self, Wait::Job(until))
                }
                told => shown(report, &told.and_then(Result::ok).unwrap_or_else(busy), self.format),
            },
        })
    }
}
