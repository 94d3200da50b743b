//! Whether an address is fit to get requests: by what becomes of its requests (passive), and by checks (active).
//!
//! Passive: three failures in a row eject an address for 10 s, and so does one connect that nobody answers: each more would cost
//! a request the whole timeout. Then it gets one request, the probe. If that succeeds, the address is back; if it fails, the
//! address is out for twice as long, up to 5 min. After 5 min in service without a break, the next ejection lasts 10 s again:
//! an address that fails every few minutes is not taken for a healthy one.
//!
//! A response is a success whatever its status says. Otherwise a client that can provoke an error of the application could
//! have the address ejected.
//!
//! Active, if it is asked for: three failed checks in a row take an address out of service, and two good ones bring it back.
//! Until the first checks are done it counts as good, as in HAProxy, so that a start delays nothing.
//!
//! Whoever comes into service starts slowly: its share rises from 1 % to the full one in 10 s, for caches are cold then.

use std::fmt;
use std::time::Duration;

use super::balance::{WEIGHT_FULL, mix};
use crate::base::moment::Moment;
use crate::observe::upstream::{Failure, Standing};

/// Failures in a row that eject an address.
pub const FAILURES_MAX: u32 = 3;
/// How long the first ejection lasts; each further one lasts twice as long as the one before.
pub const EJECTION_MIN: Duration = Duration::from_secs(10);
/// How long an ejection lasts at most, and for how long an address has to be in service before the first one is the next.
pub const EJECTION_MAX: Duration = Duration::from_secs(300);
/// How long an address starts slowly.
pub const SLOW_START: Duration = Duration::from_secs(10);
/// From one check of an address to the next, unless the route says otherwise.
pub const CHECK_INTERVAL: Duration = Duration::from_secs(5);
/// How long a check may take at most; longer is a failure.
const CHECK_TIMEOUT_MAX: Duration = Duration::from_secs(2);
/// Failed checks in a row that take an address out of service.
pub const CHECKS_TO_FALL: u32 = 3;
/// Good checks in a row that bring it back.
pub const CHECKS_TO_RISE: u32 = 2;

/// The first checks of all addresses are spread over so long a time.
const FIRST_CHECKS_WITHIN: Duration = Duration::from_secs(1);

/// The health of one address.
#[derive(Debug)]
pub struct Health {
    state: State,
    /// Counts the changes of `state`. A result counts only if its request began in the present term: requests that began
    /// before an ejection say nothing about the time after it.
    term: u32,
    /// How many ejections followed each other.
    ejections: u32,
    /// When its share began to rise; `None` if it began with the full one.
    rises_since: Option<Moment>,
    checks: Checks,
}

/// What is known by requests.
#[derive(Debug, Clone, Copy)]
enum State {
    In { failures: u32, since: Moment },
    Out { until: Moment },
    Probing { until: Moment },
}

/// What is known by checks.
#[derive(Debug)]
struct Checks {
    is_up: bool,
    /// Results in a row that say the opposite.
    contrary: u32,
    due: Moment,
    seed: u64,
    done: u64,
}

/// The term in which a request began, and whether it is the probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Term {
    number: u32,
    is_probe: bool,
}

impl Term {
    /// Whether the request decides if the address comes back.
    pub fn is_probe(self) -> bool {
        self.is_probe
    }
}

/// What has become of an address. Printed after the address, it is a line for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It is new; its share rises if others were there before.
    Joined {
        /// Whether it starts slowly.
        is_slow: bool,
    },
    /// Its name leads elsewhere by now.
    Left {
        /// Requests that it has still.
        active: u32,
    },
    /// It was ejected.
    Ejected {
        /// For how long.
        time: Duration,
        /// Failures in a row; 0 if it was the probe that failed.
        failures: u32,
        /// The last failure.
        why: Failure,
    },
    /// It would have been ejected, if half of the group were not out of service.
    Spared {
        /// The last failure.
        why: Failure,
    },
    /// Its probe has succeeded.
    Back,
    /// It is back, because the group has become smaller and more than half of it was ejected.
    Released,
    /// It fails the checks.
    Down {
        /// The last failure.
        why: Failure,
        /// Whether no address is in service any more.
        is_last: bool,
    },
    /// It passes the checks again.
    Up,
}

impl Health {
    /// That of an address which joins at `now`, and perhaps starts slowly. `seed` spreads the checks of several addresses.
    pub fn new(is_slow: bool, seed: u64, now: Moment) -> Health {
        let first = jitter(seed, FIRST_CHECKS_WITHIN);
        Health {
            state: State::In { failures: 0, since: now },
            term: 0,
            ejections: 0,
            rises_since: is_slow.then_some(now),
            checks: Checks { is_up: true, contrary: 0, due: now + first, seed, done: 0 },
        }
    }

    /// Whether it is neither ejected nor down.
    pub fn is_in_service(&self) -> bool {
        self.checks.is_up && !self.is_ejected()
    }

    /// Whether it is ejected; while its probe is under way, it is.
    pub fn is_ejected(&self) -> bool {
        !matches!(self.state, State::In { .. })
    }

    /// Whether it is time for a probe.
    pub fn is_probe_due(&self, now: Moment) -> bool {
        self.checks.is_up && matches!(self.state, State::Out { until } if until <= now)
    }

    /// When it may have a probe, if it is ejected.
    pub fn ejected_until(&self) -> Option<Moment> {
        match self.state {
            State::In { .. } => None,
            State::Out { until } | State::Probing { until } => Some(until),
        }
    }

    /// Failures since the last success; 0 if it is ejected.
    pub fn failures_in_a_row(&self) -> u32 {
        if let State::In { failures, .. } = self.state { failures } else { 0 }
    }

    /// Its share of what an address with the full one gets, in percent, at least 1.
    pub fn weight(&self, now: Moment) -> u32 {
        let age = self.rises_since.map_or(SLOW_START, |since| now.since(since)).min(SLOW_START);
        let gained = u128::from(WEIGHT_FULL - 1) * age.as_nanos() / SLOW_START.as_nanos();
        1 + gained as u32
    }

    /// How it stands.
    pub fn standing(&self, now: Moment) -> Standing {
        match self.state {
            _ if !self.checks.is_up => Standing::Down,
            State::In { .. } => Standing::InService(self.weight(now)),
            State::Out { until } => Standing::Out(until.since(now)),
            State::Probing { .. } => Standing::Probing,
        }
    }

    /// A request begins. If the address is ejected and has no probe, the request is one, even before it is time.
    pub fn begin(&mut self) -> Term {
        let State::Out { until } = self.state else { return Term { number: self.term, is_probe: false } };
        self.change(State::Probing { until });
        Term { number: self.term, is_probe: true }
    }

    /// A request that began in `term` has got a response.
    pub fn succeed(&mut self, term: Term, now: Moment) -> Option<Change> {
        match &mut self.state {
            _ if term.number != self.term => None,
            State::In { failures, .. } => {
                *failures = 0;
                None
            }
            State::Probing { .. } if term.is_probe => {
                self.come_back(now);
                Some(Change::Back)
            }
            State::Probing { .. } | State::Out { .. } => None,
        }
    }

    /// A request that began in `term` has failed. `may_eject` tells whether the group can do without the address.
    pub fn fail(&mut self, term: Term, why: Failure, may_eject: bool, now: Moment) -> Option<Change> {
        match &mut self.state {
            _ if term.number != self.term => None,
            State::In { failures, since } => {
                *failures = failures.saturating_add(1);
                let (failures, since) = (*failures, *since);
                if (failures >= FAILURES_MAX || why == Failure::ConnectTimeout) && may_eject {
                    if now.since(since) >= EJECTION_MAX {
                        self.ejections = 0;
                    }
                    return Some(Change::Ejected { time: self.eject(now), failures, why });
                }
                // Said once, and not with each further failure.
                (failures == FAILURES_MAX).then_some(Change::Spared { why })
            }
            // Nothing new: it was tried early, for want of a better one.
            State::Probing { until } if term.is_probe && now < *until => {
                let until = *until;
                self.change(State::Out { until });
                None
            }
            State::Probing { .. } if term.is_probe => Some(Change::Ejected { time: self.eject(now), failures: 0, why }),
            State::Probing { .. } | State::Out { .. } => None,
        }
    }

    /// A request that began in `term` is over. If it is a probe that has neither succeeded nor failed, because its client
    /// has left, the next request is the probe.
    pub fn end(&mut self, term: Term) {
        if let State::Probing { until } = self.state
            && term == (Term { number: self.term, is_probe: true })
        {
            self.change(State::Out { until });
        }
    }

    /// Ends an ejection without a probe.
    pub fn release(&mut self, now: Moment) -> Change {
        self.come_back(now);
        Change::Released
    }

    /// When the next check is due.
    pub fn check_due(&self) -> Moment {
        self.checks.due
    }

    /// A check begins: the next one is due an `interval` later, give or take a tenth, whatever becomes of this one.
    pub fn begin_check(&mut self, interval: Duration, now: Moment) {
        self.checks.done += 1;
        let tenth = interval / 10;
        let jitter = jitter(self.checks.seed ^ self.checks.done, 2 * tenth);
        self.checks.due = now + (interval - tenth + jitter);
    }

    /// A check has ended. `is_last` tells whether no other address is in service.
    pub fn end_check(&mut self, result: Result<(), Failure>, is_last: bool, now: Moment) -> Option<Change> {
        let checks = &mut self.checks;
        if result.is_ok() == checks.is_up {
            checks.contrary = 0;
            return None;
        }
        checks.contrary += 1;
        if checks.contrary < if checks.is_up { CHECKS_TO_FALL } else { CHECKS_TO_RISE } {
            return None;
        }
        checks.contrary = 0;
        checks.is_up = result.is_ok();
        match result {
            Err(why) => Some(Change::Down { why, is_last }),
            Ok(()) => {
                self.rises_since = Some(now);
                Some(Change::Up)
            }
        }
    }

    /// Returns for how long.
    fn eject(&mut self, now: Moment) -> Duration {
        // 2^5 times the shortest ejection is more than the longest.
        let time = (EJECTION_MIN * (1 << self.ejections.min(5))).min(EJECTION_MAX);
        self.ejections = self.ejections.saturating_add(1);
        self.change(State::Out { until: now + time });
        time
    }

    fn come_back(&mut self, now: Moment) {
        self.rises_since = Some(now);
        self.change(State::In { failures: 0, since: now });
    }

    fn change(&mut self, state: State) {
        self.state = state;
        self.term = self.term.wrapping_add(1);
    }
}

/// How long a check may take, if the next one comes after this `interval`: it is over by then.
pub fn check_timeout(interval: Duration) -> Duration {
    CHECK_TIMEOUT_MAX.min(interval - interval / 10)
}

/// A duration below `bound` that only depends on `seed`.
fn jitter(seed: u64, bound: Duration) -> Duration {
    Duration::from_millis(mix(seed) % (bound.as_millis() as u64).max(1))
}

impl Change {
    /// Whether it is for the worse.
    pub fn is_bad(&self) -> bool {
        matches!(self, Change::Ejected { .. } | Change::Spared { .. } | Change::Down { .. })
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rises = format_args!("its share rises over {} s", SLOW_START.as_secs());
        match self {
            Change::Joined { is_slow: false } => f.write_str("joins"),
            Change::Joined { is_slow: true } => write!(f, "joins; {rises}"),
            Change::Left { active: 0 } => f.write_str("leaves"),
            Change::Left { active } => write!(f, "leaves; active requests: {active}"),
            Change::Ejected { time, failures: 0, why } => {
                write!(f, "is out for {} s after its probe failed: {why}", time.as_secs())
            }
            Change::Ejected { time, failures: 1, why } => write!(f, "is out for {} s: {why}", time.as_secs()),
            Change::Ejected { time, failures, why } => {
                write!(f, "is out for {} s after {failures} failures in a row: {why}", time.as_secs())
            }
            Change::Spared { why } => write!(
                f,
                "stays in service after {FAILURES_MAX} failures in a row, for no more than half may be out: {why}"
            ),
            Change::Back => write!(f, "is back after its probe succeeded; {rises}"),
            Change::Released => write!(f, "is back without a probe, for no more than half may be out; {rises}"),
            Change::Down { why, is_last } => {
                write!(f, "is down after {CHECKS_TO_FALL} failed checks in a row: {why}")?;
                if *is_last { f.write_str("; no address is in service, so all get requests") } else { Ok(()) }
            }
            Change::Up => write!(f, "is up after {CHECKS_TO_RISE} good checks in a row; {rises}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WHY: Failure = Failure::Refused;

    fn at(seconds: u64) -> Moment {
        Moment::from_millis(seconds * 1000)
    }

    fn health() -> Health {
        Health::new(false, 1, at(0))
    }

    /// Fails three requests, or the probe.
    fn eject(health: &mut Health, now: Moment) -> Duration {
        for _ in 0..FAILURES_MAX {
            let term = health.begin();
            if let Some(Change::Ejected { time, .. }) = health.fail(term, WHY, true, now) {
                return time;
            }
        }
        panic!("not ejected: {health:?}")
    }

    #[test]
    fn three_failures_in_a_row_eject_and_a_success_in_between_does_not_count_them() {
        let mut health = health();
        let term = health.begin();
        for _ in 0..10 {
            assert_eq!(health.fail(term, WHY, true, at(1)), None);
            assert_eq!(health.fail(term, WHY, true, at(1)), None);
            assert_eq!(health.succeed(term, at(1)), None);
        }
        assert!(health.is_in_service());
        assert_eq!(eject(&mut health, at(1)), EJECTION_MIN);
        assert!(!health.is_in_service() && !health.is_probe_due(at(10)) && health.is_probe_due(at(11)));
        assert_eq!(health.standing(at(4)), Standing::Out(Duration::from_secs(7)));
    }

    #[test]
    fn ejections_double_up_to_five_minutes_and_begin_anew_after_five_minutes_in_service() {
        let (mut health, mut now) = (health(), at(0));
        let times: Vec<u64> = (0..7)
            .map(|_| {
                let time = eject(&mut health, now);
                now = now + time;
                time.as_secs()
            })
            .collect();
        assert_eq!(times, [10, 20, 40, 80, 160, 300, 300]);
        for (in_service, expected) in [(299, 300), (300, 10), (1, 20)] {
            let probe = health.begin();
            assert_eq!(health.succeed(probe, now), Some(Change::Back));
            now = now + Duration::from_secs(in_service);
            let time = eject(&mut health, now);
            assert_eq!(time.as_secs(), expected, "after {in_service} s in service");
            now = now + time;
        }
    }

    #[test]
    fn a_probe_is_alone_and_only_its_own_result_counts() {
        let mut health = health();
        let old = health.begin();
        eject(&mut health, at(0));
        let probe = health.begin();
        assert!(probe.is_probe() && !health.is_probe_due(at(10)));
        assert_eq!(health.standing(at(10)), Standing::Probing);
        let other = health.begin();
        assert!(!other.is_probe());
        for term in [old, other] {
            assert_eq!(health.succeed(term, at(10)), None);
            assert_eq!(health.fail(term, WHY, true, at(10)), None);
            health.end(term);
            assert_eq!(health.standing(at(10)), Standing::Probing);
        }
        let failed = health.fail(probe, WHY, true, at(10));
        assert_eq!(failed, Some(Change::Ejected { time: 2 * EJECTION_MIN, failures: 0, why: WHY }));
        health.end(probe);
        assert_eq!(health.succeed(probe, at(10)), None);
        assert_eq!(health.standing(at(10)), Standing::Out(2 * EJECTION_MIN));
    }

    #[test]
    fn a_probe_that_ends_without_a_result_gives_its_place_to_the_next_request() {
        let mut health = health();
        eject(&mut health, at(0));
        let probe = health.begin();
        health.end(probe);
        assert!(health.is_probe_due(at(10)));
        let next = health.begin();
        assert_eq!(health.succeed(probe, at(11)), None);
        assert_eq!(health.succeed(next, at(11)), Some(Change::Back));
    }

    #[test]
    fn an_early_probe_may_bring_it_back_and_cannot_make_it_worse() {
        let mut health = health();
        eject(&mut health, at(0));
        let early = health.begin();
        assert_eq!(health.fail(early, WHY, true, at(3)), None);
        assert_eq!(health.standing(at(3)), Standing::Out(Duration::from_secs(7)));
        let early = health.begin();
        assert_eq!(health.succeed(early, at(4)), Some(Change::Back));
    }

    #[test]
    fn one_that_the_group_needs_is_spared_until_it_can_be_done_without() {
        let mut health = health();
        let term = health.begin();
        let changes: Vec<_> = (0..5).map(|_| health.fail(term, WHY, false, at(1))).collect();
        assert_eq!(changes, [None, None, Some(Change::Spared { why: WHY }), None, None]);
        let ejected = Change::Ejected { time: EJECTION_MIN, failures: 6, why: WHY };
        assert_eq!(health.fail(term, WHY, true, at(1)), Some(ejected));
    }

    #[test]
    fn checks_fall_after_three_and_rise_after_two() {
        let mut health = health();
        let mut check = |ok: bool, second| health.end_check(if ok { Ok(()) } else { Err(WHY) }, true, at(second));
        let down = Some(Change::Down { why: WHY, is_last: true });
        let results = [false, false, true, false, false, false, false, true, false, true, true, false];
        let changes: Vec<_> = (0..).zip(results).map(|(second, ok)| check(ok, second)).collect();
        let mut expected = vec![None; results.len()];
        (expected[5], expected[10]) = (down, Some(Change::Up));
        assert_eq!(changes, expected);
        assert_eq!((health.weight(at(10)), health.weight(at(20))), (1, 100), "it starts slowly");
    }

    #[test]
    fn a_change_is_one_plain_line() {
        let seconds = Duration::from_secs;
        let lines = [
            (Change::Joined { is_slow: false }, "joins"),
            (Change::Joined { is_slow: true }, "joins; its share rises over 10 s"),
            (Change::Left { active: 0 }, "leaves"),
            (Change::Left { active: 3 }, "leaves; active requests: 3"),
            (
                Change::Ejected { time: seconds(10), failures: 3, why: WHY },
                "is out for 10 s after 3 failures in a row: connection refused",
            ),
            (
                Change::Ejected { time: seconds(20), failures: 0, why: Failure::Timeout },
                "is out for 20 s after its probe failed: no answer in time",
            ),
            (
                Change::Spared { why: Failure::Reset },
                "stays in service after 3 failures in a row, for no more than half may be out: connection reset",
            ),
            (Change::Back, "is back after its probe succeeded; its share rises over 10 s"),
            (Change::Released, "is back without a probe, for no more than half may be out; its share rises over 10 s"),
            (
                Change::Down { why: Failure::Status(500), is_last: false },
                "is down after 3 failed checks in a row: status 500",
            ),
            (
                Change::Down { why: WHY, is_last: true },
                "is down after 3 failed checks in a row: connection refused; no address is in service, so all get requests",
            ),
            (Change::Up, "is up after 2 good checks in a row; its share rises over 10 s"),
        ];
        for (change, line) in lines {
            assert_eq!(change.to_string(), line);
        }
    }

    proptest! {
        #[test]
        fn the_share_rises_linearly(ms in 0..20_000_u64) {
            let health = Health::new(true, 1, at(5));
            let weight = health.weight(at(5) + Duration::from_millis(ms));
            let exact = 1.0 + 99.0 * ms.min(10_000) as f64 / 10_000.0;
            prop_assert!(f64::from(weight) <= exact && f64::from(weight) > exact - 1.0, "{} for {}", weight, exact);
            prop_assert_eq!(Health::new(false, 1, at(5)).weight(at(5)), 100);
        }

        #[test]
        fn checks_come_in_their_interval_give_or_take_a_tenth(seed: u64, checks in 1..50_u32, ms in 100..100_000_u64) {
            let interval = Duration::from_millis(ms);
            let mut health = Health::new(true, seed, at(9));
            prop_assert!(health.check_due() >= at(9) && health.check_due() < at(10));
            for _ in 0..checks {
                let now = health.check_due();
                health.begin_check(interval, now);
                let pause = health.check_due().since(now);
                prop_assert!(pause >= interval * 9 / 10 && pause < interval * 11 / 10, "{:?}", pause);
                prop_assert!(check_timeout(interval) <= pause, "there is one at a time");
            }
        }
    }
}
