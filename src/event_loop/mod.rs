//! One thread, one loop.

use std::io;

use crate::base::limits::Limits;
use crate::base::notice::Notices;
use crate::net::Reactor;
use crate::service::Service;

/// How a loop ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Everything in flight was answered.
    Clean,
    /// So many connections were still at work when the drain deadline came, or when a second interrupt did.
    Cut(usize),
}

/// The event loop.
pub struct EventLoop<R: Reactor, S: Service> {
    reactor: R,
    service: S,
}

impl<R: Reactor, S: Service> EventLoop<R, S> {
    /// A loop over `reactor`'s listeners.
    pub fn new(reactor: R, service: S, _limits: Limits, _notices: Notices) -> EventLoop<R, S> {
        EventLoop { reactor, service }
    }

    /// Turns once.
    pub fn turn(&mut self) -> io::Result<()> {
        todo!()
    }

    /// How the loop ended; `None` while it has not.
    pub fn outcome(&self) -> Option<Outcome> {
        todo!()
    }

    /// The world this loop lives in.
    pub fn reactor(&mut self) -> &mut R {
        &mut self.reactor
    }

    /// What answers.
    pub fn service(&mut self) -> &mut S {
        &mut self.service
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        todo!()
    }
}
