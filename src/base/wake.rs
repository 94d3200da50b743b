//! Wakes: how something outside a connection (a job, another connection, another thread) wakes its exchange.

use std::sync::{Arc, Mutex, PoisonError};

use super::slots::Token;

/// Interrupts a sleeping event loop, from any thread.
pub trait Interrupt: Send + Sync {
    /// Makes the current or next poll return. Called once for a batch of wakes.
    fn wake(&self);
}

/// The event loop's side: where wakes are collected.
#[derive(Clone)]
pub struct Wakes(Arc<Shared>);

/// The other side: wakes one connection. A wake for a connection that has gone reaches nobody.
#[derive(Clone)]
pub struct Waker {
    shared: Arc<Shared>,
    token: Token,
}

struct Shared {
    pending: Mutex<Vec<Token>>,
    wake: Box<dyn Interrupt>,
}

impl Wakes {
    /// An empty collection whose first wake calls `wake`.
    pub fn new(wake: impl Interrupt + 'static) -> Wakes {
        Wakes(Arc::new(Shared { pending: Mutex::new(Vec::new()), wake: Box::new(wake) }))
    }

    /// A handle that leaves wakes for `token`.
    pub fn waker(&self, token: Token) -> Waker {
        Waker { shared: Arc::clone(&self.0), token }
    }

    /// Moves all wakes left since the last call to `into`.
    pub fn collect(&self, into: &mut Vec<Token>) {
        into.append(&mut self.0.pending.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Waker {
    /// Leaves a wake: the exchange is asked again soon.
    pub fn wake(&self) {
        let mut pending = self.shared.pending.lock().unwrap_or_else(PoisonError::into_inner);
        // One more wake for the same connection says nothing new; this also bounds a chatty waker.
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
    struct ChannelInterrupt(Mutex<Sender<()>>);

    impl Interrupt for ChannelInterrupt {
        fn wake(&self) {
            self.0.lock().expect("not poisoned").send(()).expect("the test is still waiting");
        }
    }

    /// An empty collection, and one message for each wake.
    fn wakes() -> (Wakes, Receiver<()>) {
        let (sender, interrupts) = channel();
        (Wakes::new(ChannelInterrupt(Mutex::new(sender))), interrupts)
    }

    fn token(index: u32) -> Token {
        Token { index, generation: index + 100 }
    }

    fn collected(wakes: &Wakes) -> Vec<Token> {
        let mut tokens = Vec::new();
        wakes.collect(&mut tokens);
        tokens
    }

    #[test]
    fn wakes_reach_the_tokens_named_once() {
        let (wakes, _interrupts) = wakes();
        wakes.waker(token(1)).wake();
        wakes.waker(token(2)).clone().wake();
        assert_eq!(collected(&wakes), [token(1), token(2)]);
        assert_eq!(collected(&wakes), []);
    }

    #[test]
    fn collecting_keeps_what_was_there() {
        let (wakes, _interrupts) = wakes();
        let mut tokens = vec![token(9)];
        wakes.waker(token(1)).wake();
        wakes.collect(&mut tokens);
        assert_eq!(tokens, [token(9), token(1)]);
    }

    #[test]
    fn a_batch_wakes_once_and_the_next_one_again() {
        let (wakes, interrupts) = wakes();
        for index in 0..5 {
            wakes.waker(token(index)).wake();
        }
        assert_eq!(interrupts.try_iter().count(), 1);
        assert_eq!(collected(&wakes).len(), 5);
        wakes.waker(token(4)).wake();
        assert_eq!(interrupts.try_iter().count(), 1);
        assert_eq!(collected(&wakes), [token(4)]);
    }

    #[test]
    fn a_chatty_waker_takes_one_place() {
        let (wakes, interrupts) = wakes();
        let waker = wakes.waker(token(3));
        for _ in 0..1000 {
            waker.wake();
        }
        assert_eq!(collected(&wakes), [token(3)]);
        assert_eq!(interrupts.try_iter().count(), 1);
    }

    #[test]
    fn a_sleeper_is_woken_from_other_threads_and_misses_nothing() {
        const THREADS: u32 = 8;
        let (wakes, interrupts) = wakes();
        let wakers: Vec<Waker> = (0..THREADS).map(|index| wakes.waker(token(index))).collect();
        let threads: Vec<_> = wakers.into_iter().map(|waker| thread::spawn(move || waker.wake())).collect();
        let mut tokens = Vec::new();
        // Sleeps whenever there is nothing to collect: a wake without its interrupt would leave it asleep.
        while tokens.len() < THREADS as usize {
            interrupts.recv_timeout(Duration::from_secs(30)).expect("a wake for what is still to come");
            wakes.collect(&mut tokens);
        }
        for thread in threads {
            thread.join().expect("the notifying thread ended well");
        }
        tokens.sort_unstable();
        assert_eq!(tokens, (0..THREADS).map(token).collect::<Vec<_>>());
    }
}
