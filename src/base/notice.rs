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

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::thread;
    use std::time::Duration;

    use super::*;

    /// Wakes a thread that waits on the other end of a channel.
    struct ChannelWake(Mutex<Sender<()>>);

    impl Wake for ChannelWake {
        fn wake(&self) {
            self.0.lock().expect("not poisoned").send(()).expect("the test is still waiting");
        }
    }

    /// An empty collection, and one message for each wake.
    fn notices() -> (Notices, Receiver<()>) {
        let (sender, wakes) = channel();
        (Notices::new(ChannelWake(Mutex::new(sender))), wakes)
    }

    fn token(index: u32) -> Token {
        Token { index, generation: index + 100 }
    }

    fn collected(notices: &Notices) -> Vec<Token> {
        let mut tokens = Vec::new();
        notices.collect(&mut tokens);
        tokens
    }

    #[test]
    fn notices_reach_the_tokens_named_once() {
        let (notices, _wakes) = notices();
        notices.notifier(token(1)).notify();
        notices.notifier(token(2)).clone().notify();
        assert_eq!(collected(&notices), [token(1), token(2)]);
        assert_eq!(collected(&notices), []);
    }

    #[test]
    fn collecting_keeps_what_was_there() {
        let (notices, _wakes) = notices();
        let mut tokens = vec![token(9)];
        notices.notifier(token(1)).notify();
        notices.collect(&mut tokens);
        assert_eq!(tokens, [token(9), token(1)]);
    }

    #[test]
    fn a_batch_wakes_once_and_the_next_one_again() {
        let (notices, wakes) = notices();
        for index in 0..5 {
            notices.notifier(token(index)).notify();
        }
        assert_eq!(wakes.try_iter().count(), 1);
        assert_eq!(collected(&notices).len(), 5);
        notices.notifier(token(4)).notify();
        assert_eq!(wakes.try_iter().count(), 1);
        assert_eq!(collected(&notices), [token(4)]);
    }

    #[test]
    fn a_chatty_notifier_takes_one_place() {
        let (notices, wakes) = notices();
        let notifier = notices.notifier(token(3));
        for _ in 0..1000 {
            notifier.notify();
        }
        assert_eq!(collected(&notices), [token(3)]);
        assert_eq!(wakes.try_iter().count(), 1);
    }

    #[test]
    fn a_sleeper_is_woken_from_other_threads_and_misses_nothing() {
        const THREADS: u32 = 8;
        let (notices, wakes) = notices();
        let notifiers: Vec<Notifier> = (0..THREADS).map(|index| notices.notifier(token(index))).collect();
        let threads: Vec<_> = notifiers.into_iter().map(|notifier| thread::spawn(move || notifier.notify())).collect();
        let mut tokens = Vec::new();
        // Sleeps whenever there is nothing to collect: a notice without its wake would leave it asleep.
        while tokens.len() < THREADS as usize {
            wakes.recv_timeout(Duration::from_secs(30)).expect("a wake for what is still to come");
            notices.collect(&mut tokens);
        }
        for thread in threads {
            thread.join().expect("the notifying thread ended well");
        }
        tokens.sort_unstable();
        assert_eq!(tokens, (0..THREADS).map(token).collect::<Vec<_>>());
    }
}
