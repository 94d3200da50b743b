//! Wakes: how something outside a connection (a job, another connection, another thread) wakes its exchange.
//!
//! There are two ways. A [`Waker`] may be used from any thread: it takes a mutex and interrupts the poll. A
//! [`LocalWaker`] stays on the loop's own thread: it adds to the ready list, which the loop looks at anyway, and costs no
//! system call.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::slots::Token;

/// Interrupts a sleeping event loop, from any thread.
pub trait Interrupt: Send + Sync {
    /// Makes the current or next poll return. Called once for a batch of wakes.
    fn wake(&self);
}

/// What is woken: one stream of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WakeKey {
    /// The connection.
    pub token: Token,
    /// Which of its streams. HTTP/1 has one, which is always 0.
    pub stream: u32,
}

impl WakeKey {
    /// That of no connection. The loop turns, and looks at what is nobody's.
    pub const NOBODY: WakeKey = WakeKey { token: Token { index: u32::MAX, generation: u32::MAX }, stream: 0 };
}

/// A wake that was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wake {
    /// What is woken.
    pub key: WakeKey,
    /// If a job that is done has left it: since when that had a thread.
    pub job_began: Option<Instant>,
}

/// The event loop's side: where wakes are collected.
#[derive(Clone)]
pub struct Wakes {
    shared: Arc<Shared>,
    ready: Rc<ReadyList>,
}

/// Wakes one stream, from any thread. A wake for a connection that has gone reaches nobody.
#[derive(Clone)]
pub struct Waker {
    shared: Arc<Shared>,
    key: WakeKey,
}

/// Wakes one stream, from the loop's own thread. A wake for a connection that has gone reaches nobody.
#[derive(Clone)]
pub struct LocalWaker {
    ready: Rc<ReadyList>,
    key: WakeKey,
}

struct Shared {
    pending: Mutex<Vec<Wake>>,
    wake: Box<dyn Interrupt>,
}

/// What was woken on the loop's own thread.
#[derive(Default)]
struct ReadyList {
    /// To be driven as soon as the loop can, in this turn if possible.
    soon: RefCell<Vec<WakeKey>>,
    /// To be driven in the next turn, and not before.
    next_turn: RefCell<Vec<WakeKey>>,
}

impl Wakes {
    /// An empty collection whose first wake from a [`Waker`] calls `wake`.
    pub fn new(wake: impl Interrupt + 'static) -> Wakes {
        let shared = Arc::new(Shared { pending: Mutex::new(Vec::new()), wake: Box::new(wake) });
        Wakes { shared, ready: Rc::default() }
    }

    /// A handle that wakes `key` from any thread.
    pub fn waker(&self, key: WakeKey) -> Waker {
        Waker { shared: Arc::clone(&self.shared), key }
    }

    /// A handle that wakes `key` from the loop's own thread.
    pub fn local_waker(&self, key: WakeKey) -> LocalWaker {
        LocalWaker { ready: Rc::clone(&self.ready), key }
    }

    /// Moves all wakes that a [`Waker`] left since the last call to `into`.
    pub fn collect(&self, into: &mut Vec<Wake>) {
        into.append(&mut self.shared.pending.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Moves what is ready in this turn to `into`.
    pub fn collect_ready(&self, into: &mut Vec<Wake>) {
        into.extend(self.ready.soon.borrow_mut().drain(..).map(|key| Wake { key, job_began: None }));
    }

    /// A new turn begins: what was to wait for it is ready now.
    pub fn begin_turn(&self) {
        self.ready.soon.borrow_mut().append(&mut self.ready.next_turn.borrow_mut());
    }

    /// Whether somebody was woken on the loop's own thread and has not been collected.
    pub fn is_anybody_ready(&self) -> bool {
        !self.ready.soon.borrow().is_empty() || !self.ready.next_turn.borrow().is_empty()
    }
}

impl Waker {
    /// What it wakes.
    pub fn key(&self) -> WakeKey {
        self.key
    }

    /// Leaves a wake: the exchange is asked again soon.
    pub fn wake(&self) {
        self.leave(None);
    }

    /// The same, because a job is done that had a thread since `began`.
    pub fn wake_for_job(&self, began: Instant) {
        self.leave(Some(began));
    }

    fn leave(&self, job_began: Option<Instant>) {
        let mut pending = self.shared.pending.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = pending.last_mut().filter(|last| last.key == self.key) {
            last.job_began = last.job_began.or(job_began);
            return;
        }
        pending.push(Wake { key: self.key, job_began });
        let is_first = pending.len() == 1;
        drop(pending);
        if is_first {
            self.shared.wake.wake();
        }
    }
}

impl fmt::Debug for Waker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Waker").field(&self.key).finish()
    }
}

impl LocalWaker {
    /// What it wakes.
    pub fn key(&self) -> WakeKey {
        self.key
    }

    /// Leaves a wake: the exchange is asked again soon, if possible in this turn.
    pub fn wake(&self) {
        push_once(&mut self.ready.soon.borrow_mut(), self.key);
    }

    /// Leaves a wake for the next turn: for whoever could go on, but has had its share of this one.
    pub fn wake_in_next_turn(&self) {
        push_once(&mut self.ready.next_turn.borrow_mut(), self.key);
    }
}

/// Adds `key` unless it was the last one added: one more wake for it says nothing new, and a chatty waker must not fill the
/// list.
fn push_once(keys: &mut Vec<WakeKey>, key: WakeKey) {
    if keys.last() != Some(&key) {
        keys.push(key);
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

    fn key(index: u32) -> WakeKey {
        WakeKey { token: Token { index, generation: index + 100 }, stream: index % 2 }
    }

    fn collected(wakes: &Wakes) -> Vec<WakeKey> {
        let mut left = Vec::new();
        wakes.collect(&mut left);
        left.into_iter().map(|wake| wake.key).collect()
    }

    fn ready(wakes: &Wakes) -> Vec<WakeKey> {
        let mut left = Vec::new();
        wakes.collect_ready(&mut left);
        left.into_iter().map(|wake| wake.key).collect()
    }

    #[test]
    fn wakes_reach_the_keys_named_once() {
        let (wakes, _interrupts) = wakes();
        wakes.waker(key(1)).wake();
        wakes.waker(key(2)).clone().wake();
        assert_eq!(collected(&wakes), [key(1), key(2)]);
        assert_eq!(collected(&wakes), []);
    }

    #[test]
    fn collecting_keeps_what_was_there() {
        let (wakes, _interrupts) = wakes();
        let wake = |index| Wake { key: key(index), job_began: None };
        let mut left = vec![wake(9)];
        wakes.waker(key(1)).wake();
        wakes.collect(&mut left);
        assert_eq!(left, [wake(9), wake(1)]);
    }

    #[test]
    fn a_job_says_since_when_it_ran_also_behind_another_wake() {
        let (wakes, _interrupts) = wakes();
        let (waker, began) = (wakes.waker(key(1)), Instant::now());
        waker.wake();
        waker.wake_for_job(began);
        waker.wake();
        let mut left = Vec::new();
        wakes.collect(&mut left);
        assert_eq!(left, [Wake { key: key(1), job_began: Some(began) }]);
    }

    #[test]
    fn a_batch_wakes_once_and_the_next_one_again() {
        let (wakes, interrupts) = wakes();
        for index in 0..5 {
            wakes.waker(key(index)).wake();
        }
        assert_eq!(interrupts.try_iter().count(), 1);
        assert_eq!(collected(&wakes).len(), 5);
        wakes.waker(key(4)).wake();
        assert_eq!(interrupts.try_iter().count(), 1);
        assert_eq!(collected(&wakes), [key(4)]);
    }

    #[test]
    fn a_chatty_waker_takes_one_place() {
        let (wakes, interrupts) = wakes();
        let waker = wakes.waker(key(3));
        for _ in 0..1000 {
            waker.wake();
        }
        assert_eq!(collected(&wakes), [key(3)]);
        assert_eq!(interrupts.try_iter().count(), 1);
    }

    #[test]
    fn a_sleeper_is_woken_from_other_threads_and_misses_nothing() {
        const THREADS: u32 = 8;
        let (wakes, interrupts) = wakes();
        let wakers: Vec<Waker> = (0..THREADS).map(|index| wakes.waker(key(index))).collect();
        let threads: Vec<_> = wakers.into_iter().map(|waker| thread::spawn(move || waker.wake())).collect();
        let mut keys = Vec::new();
        // Sleeps whenever there is nothing to collect: a wake without its interrupt would leave it asleep.
        while keys.len() < THREADS as usize {
            interrupts.recv_timeout(Duration::from_secs(30)).expect("a wake for what is still to come");
            keys.append(&mut collected(&wakes));
        }
        for thread in threads {
            thread.join().expect("the notifying thread ended well");
        }
        keys.sort_unstable();
        assert_eq!(keys, (0..THREADS).map(key).collect::<Vec<_>>());
    }

    #[test]
    fn two_streams_of_a_connection_are_woken_apart() {
        let (wakes, _interrupts) = wakes();
        let first = key(0);
        let second = WakeKey { stream: 1, ..first };
        for key in [first, second, first] {
            wakes.waker(key).wake();
            wakes.local_waker(key).wake();
        }
        assert_eq!(collected(&wakes), [first, second, first]);
        assert_eq!(ready(&wakes), [first, second, first]);
    }

    #[test]
    fn a_local_wake_interrupts_nobody_and_is_seen_at_once() {
        let (wakes, interrupts) = wakes();
        assert!(!wakes.is_anybody_ready());
        let waker = wakes.local_waker(key(1));
        (0..1000).for_each(|_| waker.wake());
        wakes.local_waker(key(2)).wake();
        assert!(wakes.is_anybody_ready());
        assert_eq!(collected(&wakes), []);
        assert_eq!(ready(&wakes), [key(1), key(2)]);
        assert!(!wakes.is_anybody_ready());
        assert_eq!(interrupts.try_iter().count(), 0);
    }

    #[test]
    fn a_wake_for_the_next_turn_waits_for_it_and_keeps_the_loop_awake() {
        let (wakes, _interrupts) = wakes();
        wakes.local_waker(key(1)).wake_in_next_turn();
        assert!(wakes.is_anybody_ready());
        assert_eq!(ready(&wakes), []);
        wakes.begin_turn();
        assert_eq!(ready(&wakes), [key(1)]);
        assert!(!wakes.is_anybody_ready());
    }
}
