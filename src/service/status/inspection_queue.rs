//! Where questions about the loop are left. A service cannot look at connections while one of them is being driven: the
//! loop answers at the end of the turn, and wakes whoever asked.

use std::cell::RefCell;
use std::rc::Rc;

use crate::base::wake::LocalWaker;
use crate::observe::report::{
    CaptureOrder, CaptureRefusal, CaptureStream, Connections, Known, LoopStatus, Metrics, Overview, ReloadOutcome,
    Subject,
};
use crate::observe::upstream::GroupStatus;

/// What is asked, and where its answer goes.
pub enum Asked {
    /// How many connections wait for what, and so many of them in detail.
    Connections(usize, AnswerSlot<Connections>),
    /// All metrics.
    Metrics(AnswerSlot<Metrics>),
    /// The loop itself.
    Loop(AnswerSlot<LoopStatus>),
    /// The overview.
    Overview(AnswerSlot<Overview>),
    /// The upstreams.
    Upstreams(AnswerSlot<Vec<GroupStatus>>),
    /// All that is known of this.
    Subject(Subject, AnswerSlot<Known>),
    /// That this connection is captured from now on.
    Capture(CaptureOrder, AnswerSlot<Result<CaptureStream, CaptureRefusal>>),
    /// That the configuration is read again. The answer comes when that is done.
    Reload(AnswerSlot<ReloadOutcome>),
}

/// A question, kept by whoever asked it.
pub struct Question<R>(Rc<RefCell<Option<R>>>);

impl<R> Question<R> {
    /// The answer, as soon as it is there; once.
    pub fn answer(&self) -> Option<R> {
        self.0.borrow_mut().take()
    }
}

/// The loop's side of a question.
pub struct AnswerSlot<R> {
    given: Rc<RefCell<Option<R>>>,
    waker: LocalWaker,
}

impl<R> AnswerSlot<R> {
    /// Answers it.
    pub fn give(self, report: R) {
        *self.given.borrow_mut() = Some(report);
        self.waker.wake();
    }
}

/// Questions that have not been answered.
#[derive(Default)]
pub struct InspectionQueue(RefCell<Vec<Asked>>);

impl InspectionQueue {
    /// Leaves a question about this topic; `waker` is used when it is answered.
    pub fn ask<R>(&self, waker: LocalWaker, topic: impl FnOnce(AnswerSlot<R>) -> Asked) -> Question<R> {
        let given = Rc::default();
        self.0.borrow_mut().push(topic(AnswerSlot { given: Rc::clone(&given), waker }));
        Question(given)
    }

    /// The questions that were left first, so many at most.
    pub fn take(&self, max: usize) -> Vec<Asked> {
        let mut asked = self.0.borrow_mut();
        let max = max.min(asked.len());
        asked.drain(..max).collect()
    }

    /// Whether there is no question.
    pub fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }
}
