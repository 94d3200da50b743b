//! Where questions about the loop are left. A service cannot look at connections while one of them is being driven: the
//! loop answers at the end of the turn, and wakes whoever asked.

use std::cell::RefCell;
use std::rc::Rc;

use super::report::Report;
use crate::base::notice::Notifier;

/// What can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    /// How many connections wait for what, and so many of them in detail.
    Connections(usize),
    /// All metrics.
    Metrics,
    /// The loop itself.
    Loop,
    /// The whole at a glance.
    Overview,
}

/// A question, kept by whoever asked it.
pub struct Question(Rc<RefCell<Option<Report>>>);

impl Question {
    /// The answer, as soon as it is there; once.
    pub fn answer(&self) -> Option<Report> {
        self.0.borrow_mut().take()
    }
}

/// Questions that have not been answered.
#[derive(Default)]
pub struct Desk(RefCell<Vec<Asked>>);

/// The loop's side of a question.
pub struct Asked {
    /// What is asked.
    pub topic: Topic,
    answer: Rc<RefCell<Option<Report>>>,
    notifier: Notifier,
}

impl Desk {
    /// Leaves a question; `notifier` is used when it is answered.
    pub fn ask(&self, topic: Topic, notifier: Notifier) -> Question {
        let answer = Rc::default();
        self.0.borrow_mut().push(Asked { topic, answer: Rc::clone(&answer), notifier });
        Question(answer)
    }

    /// The questions that were left first, so many at most.
    pub fn take(&self, max: usize) -> Vec<Asked> {
        let mut asked = self.0.borrow_mut();
        let max = max.min(asked.len());
        asked.drain(..max).collect()
    }

    /// Whether nobody waits for an answer.
    pub fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }
}

impl Asked {
    /// Answers it.
    pub fn answer(self, report: Report) {
        *self.answer.borrow_mut() = Some(report);
        self.notifier.notify();
    }
}
