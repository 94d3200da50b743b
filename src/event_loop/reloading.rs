//! Orders to read the configuration again: by a signal, or through the admin listener. Whoever owns the loop carries them out
//! between two turns.

use super::EventLoop;
use crate::net::Reactor;
use crate::observe::report::{ConfigStatus, ReloadOutcome};
use crate::service::Service;
use crate::service::status::inspection_queue::AnswerSlot;

/// What was ordered, and what has become of earlier orders.
#[derive(Default)]
pub(super) struct Reloading {
    /// Whether the owner carries orders out.
    is_possible: bool,
    is_ordered: bool,
    /// Those who have asked for it and wait for the outcome.
    waiting: Vec<AnswerSlot<ReloadOutcome>>,
    /// How the configuration stands, if the owner tells.
    pub(super) status: Option<ConfigStatus>,
}

impl Reloading {
    pub(super) fn is_possible(&self) -> bool {
        self.is_possible
    }

    /// The configuration is to be read again.
    pub(super) fn order(&mut self) {
        self.is_ordered = self.is_possible;
    }
}

/// The order to read the configuration again. Whoever has given it waits for the outcome.
#[must_use = "somebody may wait for the outcome"]
pub struct ReloadRequest {
    waiting: Vec<AnswerSlot<ReloadOutcome>>,
}

impl ReloadRequest {
    /// Tells the outcome to those who wait for it: a sentence about what is in force now, or about what is wrong and why nothing
    /// has changed.
    pub fn answer(self, outcome: &ReloadOutcome) {
        self.waiting.into_iter().for_each(|slot| slot.give(outcome.clone()));
    }

    /// Nobody carries out orders of a server that stops.
    pub fn refuse(self) {
        self.answer(&Err("the server stops".into()));
    }
}

impl<R: Reactor, V: Service> EventLoop<R, V> {
    /// From now on the owner of the loop carries out what [`take_reload_request`](EventLoop::take_reload_request) returns.
    pub fn accept_reloads(&mut self) {
        self.reloading.is_possible = true;
    }

    /// Whether [`take_reload_request`](EventLoop::take_reload_request) may return one.
    #[inline]
    pub fn is_reload_ordered(&self) -> bool {
        self.reloading.is_ordered
    }

    /// The order to read the configuration again, if one was given since the last call, by HUP or through the admin listener.
    /// Several orders are one.
    pub fn take_reload_request(&mut self) -> Option<ReloadRequest> {
        let is_ordered = std::mem::take(&mut self.reloading.is_ordered) && !self.is_stopping();
        is_ordered.then(|| ReloadRequest { waiting: std::mem::take(&mut self.reloading.waiting) })
    }

    /// From now on metrics and reports say this of the configuration.
    pub fn set_config_status(&mut self, status: ConfigStatus) {
        self.reloading.status = Some(status);
    }

    /// Somebody has asked through the admin listener.
    pub(super) fn on_reload_asked(&mut self, answer: AnswerSlot<ReloadOutcome>) {
        if self.is_stopping() {
            answer.give(Err("the server stops".into()));
        } else if !self.reloading.is_possible {
            answer.give(Err("the server has no configuration file to read again (--config)".into()));
        } else {
            self.reloading.order();
            self.reloading.waiting.push(answer);
        }
    }

    /// The server stops.
    pub(super) fn refuse_reloads(&mut self) {
        ReloadRequest { waiting: std::mem::take(&mut self.reloading.waiting) }.refuse();
    }
}
