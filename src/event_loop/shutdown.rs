//! Stopping: everything in flight is answered, then the loop ends.

use std::time::Instant;

use super::EventLoop;
use crate::net::{Reactor, Signal};
use crate::observe::close_reason::{CloseReason, Fault, Why};
use crate::observe::request_record::RequestRecord;
use crate::service::Service;

/// So many of the connections that are cut are listed.
const CUT_LISTED_MAX: usize = 20;

/// How a loop ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Everything in flight was answered.
    Clean,
    /// So many connections were still at work when the drain deadline came, or when a second interrupt did.
    Cut(usize),
}

/// The order to stop, and by when it must be done.
#[derive(Debug)]
pub(super) struct Shutdown {
    deadline: Instant,
}

impl Shutdown {
    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }
}

impl<R: Reactor, V: Service> EventLoop<R, V> {
    /// Whether it was told to stop.
    pub fn is_stopping(&self) -> bool {
        self.shutdown.is_some()
    }

    pub(super) fn on_signal(&mut self, signal: Signal) {
        self.interrupted |= signal == Signal::Interrupt;
        match (&self.shutdown, signal) {
            (_, Signal::Reopen) => self.reopen_logs(),
            (_, Signal::Reload) => self.on_hup(),
            (None, _) => self.start_draining(),
            (Some(_), Signal::Interrupt) => self.cut("interrupted while stopping"),
            (Some(_), Signal::Terminate) => {}
        }
    }

    fn reopen_logs(&mut self) {
        let is_captured = self.reactor.captured().is_some();
        self.reactor.reopen_capture();
        match &mut self.access_log {
            Some(log) => log.reopen(),
            None if is_captured => {}
            None => log::info!("there is no access log to reopen"),
        }
    }

    /// The configuration is read again, if it can be, and the files of TLS are.
    fn on_hup(&mut self) {
        self.reloading.order();
        let now = self.context.moment;
        let of_upstreams = self.upstreams.as_mut().and_then(|upstreams| upstreams.tls.as_mut());
        if self.tls.is_none() && of_upstreams.is_none() && !self.reloading.is_possible() {
            log::info!("there are no files to read again: neither a listener nor an upstream has TLS");
        }
        if !self.reloading.is_possible() {
            // Who reads the configuration reads the certificates with it: a fault of theirs is said once.
            self.tls.iter_mut().for_each(|tls| tls.order(now));
        }
        of_upstreams.into_iter().for_each(|tls| tls.order(now));
    }

    /// Stops accepting and tells every connection. Responses from here on end their connections; an idle connection
    /// closes, after a short grace for a request that is on its way.
    fn start_draining(&mut self) {
        let now = self.context.environment.now;
        self.shutdown = Some(Shutdown { deadline: now + self.context.environment.limits.drain_timeout });
        self.context.environment.draining = Some(self.context.moment);
        self.accept_the_rest();
        self.refuse_reloads();
        log::info!("stopping: {} connections to finish (SIGINT stops at once)", self.clients());
        self.queue_all();
    }

    /// Has every connection driven: something has changed for all of them.
    pub(super) fn queue_all(&mut self) {
        let tokens: Vec<_> = self.connections.iter().map(|(token, _)| token).collect();
        for token in tokens {
            if let Some(connection) = self.connections.get_mut(token) {
                self.run_queue.push(token, connection);
            }
        }
    }

    /// Closing a listener resets the connections in its queue: whoever got in before the order to stop is served.
    fn accept_the_rest(&mut self) {
        self.acceptor.end_rest();
        let listeners = self.reactor.listeners();
        listeners.iter().for_each(|(listener, _)| self.acceptor.on_readable(*listener));
        while !self.full().everyone && self.accept_one() {}
        self.ask_about_queues_at_last();
        self.acceptor.stop();
        let of_everyone = listeners.into_iter().filter(|(_, role)| role.is_for_everyone());
        of_everyone.for_each(|(listener, _)| self.reactor.close_listener(listener));
    }

    pub(super) fn expire_shutdown(&mut self) {
        if self.shutdown.as_ref().is_some_and(|shutdown| shutdown.deadline <= self.context.environment.now) {
            self.cut("the drain deadline has come");
        }
    }

    fn cut(&mut self, why: &str) {
        let left = self
            .connections
            .iter()
            .filter(|(_, connection)| connection.is_at_work() && connection.role().is_for_everyone())
            .count();
        // A client that is at work counts once.
        let left = if left > 0 { left } else { self.delivering() };
        if self.outcome.is_none() {
            self.outcome = Some(match left {
                0 => Outcome::Clean,
                _ => {
                    log::warn!("{why}: {left} connections are cut");
                    self.list_cut();
                    Outcome::Cut(left)
                }
            });
            self.abandon_all();
        }
    }

    /// Says whose requests are cut.
    fn list_cut(&self) {
        let at_work = self.connections.iter().map(|(_, connection)| connection);
        let at_work = at_work.filter(|connection| connection.is_at_work() && connection.role().is_for_everyone());
        for connection in at_work.take(CUT_LISTED_MAX) {
            let (record, phase) = (connection.record(), connection.phase().meaning());
            let key = connection.who().log_key(record.map(RequestRecord::key));
            match record {
                Some(record) => {
                    let (request, lasted) = (record.request(), self.context.moment.since(record.began));
                    log::warn!("{key}: cut: {request} after {lasted:.1?} {phase}");
                }
                None => log::warn!("{key}: cut: {} {phase}", connection.protocol()),
            }
        }
    }

    fn abandon_all(&mut self) {
        let tokens: Vec<_> = self.connections.iter().map(|(token, _)| token).collect();
        for token in tokens {
            if let Some(connection) = self.connections.get_mut(token) {
                connection.abandon(&mut self.context);
            }
        }
    }

    /// Connections but for those of the admin and those to upstreams. Nobody needs these when there are no others, but for what
    /// they have to deliver.
    pub(super) fn clients(&self) -> usize {
        self.connections.len() - self.admins.len() - self.upstreams_open
    }

    /// How many connections bring to an upstream the last words of clients, which may have left.
    fn delivering(&self) -> usize {
        self.connections.iter().filter(|(_, connection)| connection.delivers()).count()
    }

    pub(super) fn end_when_drained(&mut self) {
        if self.shutdown.is_some() && self.clients() == 0 && self.outcome.is_none() && self.delivering() == 0 {
            self.outcome = Some(Outcome::Clean);
            // An upstream must not take the end of a client that has broken off for an end in order.
            self.abandon_all();
        }
        if self.outcome.is_some() {
            self.close_records_that_are_left();
        }
    }

    /// Requests that end with the server are noted like all others.
    fn close_records_that_are_left(&mut self) {
        let tokens: Vec<_> = self.connections.iter().map(|(token, _)| token).collect();
        for token in tokens {
            if let Some(connection) = self.connections.get_mut(token) {
                let is_cut = connection.is_at_work();
                connection.close(match is_cut {
                    true => CloseReason::CutShort(Fault::Deadline),
                    false => CloseReason::ByServer(Why::Drain),
                });
                self.free(token);
            }
        }
    }
}
