//! Requests that wait until an address has room, first come, first served.
//!
//! Whenever there may be more room than before, it is offered to as many waiters as there is room for:
//! `while queue.offered() < group.room() { wake(queue.offer()) }`. A waiter that was offered room stays in the queue until it
//! leaves: it may find that the room is gone, and then it still has its place. So a request that arrives may only choose an
//! address if nobody waits; otherwise it would take the room that another was offered.

use std::collections::VecDeque;
use std::time::Duration;

use crate::base::moment::Moment;

/// How many may wait.
pub const WAITERS_MAX: usize = 100;
/// For how long each may.
pub const WAIT_MAX: Duration = Duration::from_secs(5);

/// A queue of waiters. While nobody waits it owns little memory, and all calls are cheap.
#[derive(Debug)]
pub struct WaitQueue<W> {
    /// By ticket, which is also by deadline, for all may wait for equally long.
    places: VecDeque<Place<W>>,
    next: u64,
}

#[derive(Debug)]
struct Place<W> {
    ticket: Ticket,
    deadline: Moment,
    is_offered: bool,
    waiter: W,
}

/// Names a place in the queue. It never names another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// As many wait as may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

impl<W> WaitQueue<W> {
    /// Nobody waits.
    pub const fn new() -> WaitQueue<W> {
        WaitQueue { places: VecDeque::new(), next: 0 }
    }

    /// Whether nobody waits: then a request that arrives may choose an address.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// To how many of them room is offered at the moment.
    pub fn offered(&self) -> usize {
        self.places.iter().filter(|place| place.is_offered).count()
    }

    /// Adds one at the end; refuses it if [`WAITERS_MAX`] wait already. `now` never goes backwards.
    pub fn join(&mut self, waiter: W, now: Moment) -> Result<Ticket, Full> {
        if self.places.len() >= WAITERS_MAX {
            return Err(Full);
        }
        let ticket = Ticket(self.next);
        self.next += 1;
        self.places.push_back(Place { ticket, deadline: now + WAIT_MAX, is_offered: false, waiter });
        Ok(ticket)
    }

    /// Offers room to the first who was not offered any. It is to be woken, and then it chooses an address: with success it
    /// [leaves](WaitQueue::leave), otherwise it [goes on waiting](WaitQueue::decline).
    pub fn offer(&mut self) -> Option<&W> {
        let place = self.places.iter_mut().find(|place| !place.is_offered)?;
        place.is_offered = true;
        Some(&place.waiter)
    }

    /// Whether it is this waiter's turn: it was offered room, or is the first.
    pub fn may_choose(&self, ticket: Ticket) -> bool {
        self.position(ticket).is_some_and(|at| at == 0 || self.places[at].is_offered)
    }

    /// The room that it was offered is gone: it goes on waiting, in its place.
    pub fn decline(&mut self, ticket: Ticket) {
        if let Some(at) = self.position(ticket) {
            self.places[at].is_offered = false;
        }
    }

    /// Takes one out, wherever it is: it got an address, or its client has left. `None` if it is not here any more.
    pub fn leave(&mut self, ticket: Ticket) -> Option<W> {
        let at = self.position(ticket)?;
        self.places.remove(at).map(|place| place.waiter)
    }

    /// Takes out one who has waited for [`WAIT_MAX`]. To be called until there is none.
    pub fn expire(&mut self, now: Moment) -> Option<W> {
        self.next_deadline().filter(|deadline| *deadline <= now)?;
        self.places.pop_front().map(|place| place.waiter)
    }

    /// When the first one will have waited for too long.
    pub fn next_deadline(&self) -> Option<Moment> {
        self.places.front().map(|place| place.deadline)
    }

    /// When one will have waited for too long; `None` if it is not here any more.
    pub fn deadline(&self, ticket: Ticket) -> Option<Moment> {
        Some(self.places[self.position(ticket)?].deadline)
    }

    fn position(&self, ticket: Ticket) -> Option<usize> {
        self.places.binary_search_by_key(&ticket, |place| place.ticket).ok()
    }
}

impl<W> Default for WaitQueue<W> {
    fn default() -> WaitQueue<W> {
        WaitQueue::new()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(ms: u64) -> Moment {
        Moment::from_millis(ms)
    }

    #[test]
    fn an_empty_queue_owns_nothing() {
        let mut queue = WaitQueue::<u32>::new();
        assert_eq!(queue.offer(), None);
        assert_eq!((queue.expire(at(9)), queue.next_deadline(), queue.places.capacity()), (None, None, 0));
    }

    #[test]
    fn a_hundred_wait_for_five_seconds() {
        let mut queue = WaitQueue::new();
        (0..100).for_each(|n| assert!(queue.join(n, at(n)).is_ok()));
        assert_eq!(queue.join(100, at(100)), Err(Full));
        assert_eq!((queue.next_deadline(), queue.expire(at(4999))), (Some(at(5000)), None));
        assert_eq!(queue.expire(at(5000)), Some(0));
        assert_eq!(queue.expire(at(5000)), None);
        assert!(queue.join(100, at(5000)).is_ok());
    }

    #[test]
    fn who_finds_no_room_keeps_its_place() {
        let mut queue = WaitQueue::new();
        let (first, second) = (queue.join("first", at(0)).unwrap(), queue.join("second", at(0)).unwrap());
        assert_eq!(queue.offer(), Some(&"first"));
        assert!(queue.may_choose(first) && !queue.may_choose(second));
        assert_eq!(queue.offer(), Some(&"second"));
        assert_eq!(queue.offer(), None);
        assert!(queue.may_choose(second));
        queue.decline(first);
        assert_eq!(queue.offer(), Some(&"first"));
        assert_eq!((queue.offered(), queue.leave(first), queue.offered()), (2, Some("first"), 1));
        assert_eq!(queue.leave(first), None);
        assert!(!queue.may_choose(first));
    }

    #[derive(Debug, Clone)]
    enum Step {
        Join,
        Offer,
        Leave(usize),
        Decline(usize),
        Expire,
        Wait(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            8 => Just(Step::Join),
            2 => Just(Step::Offer),
            1 => (0..120_usize).prop_map(Step::Leave),
            1 => (0..120_usize).prop_map(Step::Decline),
            1 => Just(Step::Expire),
            2 => (0..600_u64).prop_map(Step::Wait),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn it_behaves_like_a_plain_list(steps in proptest::collection::vec(step(), 0..1000)) {
            let (mut queue, mut now) = (WaitQueue::new(), 0);
            // Ticket, when it joined, whether it was offered room.
            let mut list: Vec<(Ticket, u64, bool)> = Vec::new();
            let mut tickets: Vec<(Ticket, usize)> = Vec::new();
            for (n, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Join => match queue.join(n, at(now)) {
                        Ok(ticket) => {
                            prop_assert!(list.len() < WAITERS_MAX && !tickets.contains(&(ticket, n)));
                            list.push((ticket, now, false));
                            tickets.push((ticket, n));
                        }
                        Err(Full) => prop_assert_eq!(list.len(), WAITERS_MAX),
                    },
                    Step::Offer => {
                        let first = list.iter_mut().find(|(_, _, is_offered)| !is_offered);
                        let expected = first.map(|(ticket, _, is_offered)| {
                            *is_offered = true;
                            tickets.iter().find(|(given, _)| given == ticket).unwrap().1
                        });
                        prop_assert_eq!(queue.offer().copied(), expected);
                    }
                    // Tickets of those who are gone are among them.
                    Step::Leave(of) if !tickets.is_empty() => {
                        let (ticket, waiter) = tickets[tickets.len().saturating_sub(1 + of)];
                        let place = list.iter().position(|(waits, _, _)| *waits == ticket);
                        prop_assert_eq!(queue.leave(ticket), place.map(|_| waiter));
                        list.retain(|(waits, _, _)| *waits != ticket);
                    }
                    Step::Decline(of) if !tickets.is_empty() => {
                        let (ticket, _) = tickets[tickets.len().saturating_sub(1 + of)];
                        queue.decline(ticket);
                        list.iter_mut().filter(|(waits, _, _)| *waits == ticket).for_each(|place| place.2 = false);
                    }
                    Step::Leave(_) | Step::Decline(_) => {}
                    Step::Expire => {
                        let expired = list.iter().position(|(_, joined, _)| now - joined >= 5000);
                        let ticket = expired.map(|place| list.remove(place).0);
                        let waiter = ticket.map(|ticket| tickets.iter().find(|(given, _)| *given == ticket).unwrap().1);
                        prop_assert_eq!(queue.expire(at(now)), waiter);
                    }
                    Step::Wait(ms) => now += ms,
                }
                prop_assert_eq!((queue.len(), queue.is_empty()), (list.len(), list.is_empty()));
                prop_assert_eq!(queue.offered(), list.iter().filter(|(_, _, is_offered)| *is_offered).count());
                prop_assert_eq!(queue.next_deadline(), list.first().map(|(_, joined, _)| at(joined + 5000)));
                for (index, (ticket, _, is_offered)) in list.iter().enumerate() {
                    prop_assert_eq!(queue.may_choose(*ticket), index == 0 || *is_offered);
                }
            }
        }
    }
}
