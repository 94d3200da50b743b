//! How many requests may be sent again: a budget, so that retries cannot multiply the load of upstreams that fail.
//!
//! Retries are at most a fifth of the requests of the last 10 s, as in Finagle, Linkerd and Envoy. If there are few requests,
//! 10 retries a second are allowed: a quiet site may lose an upstream in the moment in which a browser asks for a hundred
//! files. Finagle and Linkerd have the same number, in addition to the fifth; here it is the larger one of both, so that a
//! fifth is what a busy upstream has to bear and not more.

use crate::base::moment::Moment;
use crate::observe::upstream::BudgetStatus;

/// So many requests allow one retry.
pub const REQUESTS_PER_RETRY: u64 = 5;
/// Retries a second that are allowed, however few requests there are.
pub const RETRIES_PER_SECOND_MIN: u64 = 10;
/// The window in seconds. It slides by whole seconds: the second that has begun counts as one.
pub const WINDOW_SECONDS: u64 = 10;

/// The retry budget of one group.
#[derive(Debug, Clone, Default)]
pub struct Budget {
    /// A ring: second `n` is at `n % WINDOW_SECONDS`.
    seconds: [Second; WINDOW_SECONDS as usize],
    /// The second that was counted last, from the beginning of the loop.
    current: u64,
    refused: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Second {
    requests: u64,
    retries: u64,
}

impl Budget {
    /// Counts a request, but not one that is sent again.
    pub fn on_request(&mut self, now: Moment) {
        self.second(now).requests += 1;
    }

    /// Takes a retry out of the budget, if one is left.
    pub fn take(&mut self, now: Moment) -> bool {
        let BudgetStatus { retries, allowed, .. } = self.status(now);
        let is_left = retries < allowed;
        match is_left {
            true => self.second(now).retries += 1,
            false => self.refused += 1,
        }
        is_left
    }

    /// How it stands.
    pub fn status(&mut self, now: Moment) -> BudgetStatus {
        self.second(now);
        let requests: u64 = self.seconds.iter().map(|second| second.requests).sum();
        let retries = self.seconds.iter().map(|second| second.retries).sum();
        let allowed = (requests / REQUESTS_PER_RETRY).max(RETRIES_PER_SECOND_MIN * WINDOW_SECONDS);
        BudgetStatus { requests, retries, allowed, refused: self.refused }
    }

    /// The second that `now` lies in. Forgets those that have left the window.
    fn second(&mut self, now: Moment) -> &mut Second {
        let second = now.since(Moment::default()).as_secs().max(self.current);
        let passed = (second - self.current).min(WINDOW_SECONDS);
        for ago in 0..passed {
            self.seconds[index(second - ago)] = Second::default();
        }
        self.current = second;
        &mut self.seconds[index(second)]
    }
}

fn index(second: u64) -> usize {
    (second % WINDOW_SECONDS) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(ms: u64) -> Moment {
        Moment::from_millis(ms)
    }

    #[test]
    fn a_quiet_group_has_ten_retries_a_second() {
        let mut budget = Budget::default();
        let taken = (0..170).filter(|_| budget.take(at(500))).count();
        assert_eq!(taken, 100);
        assert_eq!(budget.status(at(500)), BudgetStatus { requests: 0, retries: 100, allowed: 100, refused: 70 });
        assert!(!budget.take(at(9999)) && budget.take(at(10_000)), "they count for ten seconds");
    }

    #[test]
    fn a_busy_group_has_a_fifth() {
        let mut budget = Budget::default();
        (0..1000).for_each(|n| budget.on_request(at(n)));
        assert_eq!((0..1000).filter(|_| budget.take(at(1000))).count(), 200);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn it_decides_like_a_list_of_all_events(
            events in proptest::collection::vec((0..2000_u64, proptest::bool::weighted(0.8)), 1000..3000),
        ) {
            let (mut budget, mut now_ms) = (Budget::default(), 0);
            let (mut requests, mut retries): (Vec<u64>, Vec<u64>) = (Vec::new(), Vec::new());
            for (pause, is_request) in events {
                // Crowded, with a pause of some seconds now and then.
                now_ms += if pause < 1999 { pause % 3 } else { 3700 };
                let now_second = now_ms / 1000;
                let in_window = |times: &[u64]| {
                    times.iter().filter(|ms| **ms / 1000 + WINDOW_SECONDS > now_second).count() as u64
                };
                if is_request {
                    budget.on_request(at(now_ms));
                    requests.push(now_ms);
                } else {
                    let allowed = (in_window(&requests) / 5).max(100);
                    let taken = budget.take(at(now_ms));
                    prop_assert_eq!(taken, in_window(&retries) < allowed);
                    retries.extend(taken.then_some(now_ms));
                    prop_assert!(!taken || in_window(&retries) <= allowed, "more than the budget");
                }
            }
        }
    }
}
