//! What is known of how an upstream serves a request, for logs and for those who ask.

use std::cell::Cell;
use std::net::SocketAddr;

use super::log_key::RequestKey;
use super::moment::Moment;

/// How an upstream serves one request. The exchange and the connection to the upstream fill it, and the request's record shows
/// it, also while the request is under way.
#[derive(Debug, Default)]
pub struct UpstreamFacts {
    /// The number of the client's connection, and the request on it. A check of the upstream's health has neither.
    pub client: Option<(u64, RequestKey)>,
    attempt: Cell<Option<UpstreamAttempt>>,
    retry: Cell<Option<&'static str>>,
}

/// The last attempt to have it served.
#[derive(Debug, Clone, Copy)]
pub struct UpstreamAttempt {
    /// Where the upstream is.
    pub address: SocketAddr,
    /// The number of the connection to it, as soon as there is one.
    pub connection: Option<u64>,
    /// How many requests that connection had served before.
    pub served_before: u64,
    /// When the request was given to the connection, and when that had been begun.
    pub began: Moment,
    /// When the connection was begun.
    pub dialled: Moment,
    /// When the connection was there, if it was new.
    pub connected: Option<Moment>,
    /// When TLS was agreed on, if it was new and has TLS.
    pub secured: Option<Moment>,
    /// When the first byte of the response came.
    pub first_byte: Option<Moment>,
    /// When the response was complete, or the upstream had failed.
    pub over: Option<Moment>,
    /// How it has failed, and in which phase, if it has.
    pub failed: Option<(UpstreamEnd, &'static str)>,
}

/// How an upstream has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpstreamEnd {
    /// It has refused the connection, or TLS with an alert.
    Refused,
    /// It took too long.
    Timeout,
    /// It has ended its direction too early.
    Fin,
    /// It has reset the connection.
    Reset,
    /// What it has sent is no response, or no TLS that we accept.
    Malformed,
    /// The kernel cannot reach it.
    Network,
    /// The fault is ours: there is no socket left.
    NoSocket,
}

impl UpstreamFacts {
    /// Nothing is known yet of how this request, on the connection with this number, is served.
    pub fn new(connection: u64, request: RequestKey) -> UpstreamFacts {
        UpstreamFacts { client: Some((connection, request)), ..UpstreamFacts::default() }
    }

    /// The last attempt.
    pub fn attempt(&self) -> Option<UpstreamAttempt> {
        self.attempt.get()
    }

    /// A new attempt begins at `now`.
    pub fn begin(&self, address: SocketAddr, now: Moment) {
        self.attempt.set(Some(UpstreamAttempt {
            address,
            connection: None,
            served_before: 0,
            began: now,
            dialled: now,
            connected: None,
            secured: None,
            first_byte: None,
            over: None,
            failed: None,
        }));
    }

    /// Notes something about the attempt that is under way.
    pub fn note(&self, change: impl FnOnce(&mut UpstreamAttempt)) {
        let mut attempt = self.attempt.get();
        if let Some(attempt) = &mut attempt {
            change(attempt);
        }
        self.attempt.set(attempt);
    }

    /// Why it was safe to send the request once more, if that was done.
    pub fn retry(&self) -> Option<&'static str> {
        self.retry.get()
    }

    /// The request is sent once more, because of this proof that it is safe.
    pub fn note_retry(&self, proof: &'static str) {
        self.retry.set(Some(proof));
    }
}
