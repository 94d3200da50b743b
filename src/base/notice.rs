//! Notices: how something outside a connection (a job, another connection, another thread) wakes its exchange.

use std::sync::{Arc, Mutex, PoisonError};

use super::slots::Token;

/// Interrupts a sleeping event loop, from any thread.
pub trait Wake: Send + Sync {
    /// Makes the current or next poll return. Called once for a batch of notices.
    fn wake(&self);
}

/// The event loop's side: where notices are collected.
#[derive(Clone)]
pub struct Notices(Arc<Shared>);

/// The other side: wakes one connection. A notice for a connection that has gone reaches nobody.
#[derive(Clone)]
pub struct Notifier {
    shared: Arc<Shared>,
    token: Token,
}

struct Shared {
    pending: Mutex<Vec<Token>>,
    wake: Box<dyn Wake>,
}

impl Notices {
    /// An empty collection whose first notice calls `wake`.
    pub fn new(wake: impl Wake + 'static) -> Notices {
        Notices(Arc::new(Shared { pending: Mutex::new(Vec::new()), wake: Box::new(wake) }))
    }

    /// A handle that leaves notices for `token`.
    pub fn notifier(&self, token: Token) -> Notifier {
        Notifier { shared: Arc::clone(&self.0), token }
    }

    /// Moves all notices left since the last call to `into`.
    pub fn collect(&self, into: &mut Vec<Token>) {
        into.append(&mut self.0.pending.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Notifier {
    /// Leaves a notice: the exchange is asked again soon.
    pub fn notify(&self) {
        let mut pending = self.shared.pending.lock().unwrap_or_else(PoisonError::into_inner);
        // One more notice for the same connection says nothing new; this also bounds a chatty notifier.
        if pending.last() == Some(&self.token) {
            return;
        }
        pending.push(self.token);
        let is_first = pending.len() == 1;
        drop(pending);
        if is_first {
            self.shared.wake.wake();
        }
    }
}
