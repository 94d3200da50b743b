//! Groups against single examples, and against what anybody can count from outside.

use proptest::prelude::*;

use super::*;
use crate::http::method::Method;
use crate::service::proxy::balance::KeySource;
use crate::service::proxy::budget::Budget;
use crate::service::proxy::health::{CHECK_INTERVAL, EJECTION_MIN, FAILURES_MAX};
use crate::service::proxy::retry::{Attempt, may_retry};

const WHY: Failure = Failure::Refused;
const ALL: [Balance; 3] = [Balance::RoundRobin, Balance::LeastConn, Balance::Hash(KeySource::Client)];
const CHECKED: Option<Duration> = Some(CHECK_INTERVAL);

fn at(ms: u64) -> Moment {
    Moment::from_millis(ms)
}

fn address(n: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, n], 80))
}

fn addresses(numbers: impl IntoIterator<Item = u8>) -> Vec<SocketAddr> {
    numbers.into_iter().map(address).collect()
}

/// A group of one upstream with addresses 1 to `count`.
fn group(count: u8, settings: GroupSettings) -> Group {
    let mut group = Group::new("/api/".into(), vec!["a.example:80".into()], settings);
    group.set_addresses(0, &addresses(1..=count), at(0));
    group
}

fn round_robin(count: u8) -> Group {
    group(count, GroupSettings::default())
}

fn chosen(choice: Choice) -> Assignment {
    match choice {
        Choice::Address(assignment) => assignment,
        Choice::None { why, .. } => panic!("no address: {why:?}"),
    }
}

/// One request to any address.
fn begin(group: &mut Group, ms: u64) -> Assignment {
    chosen(group.choose(None, None, at(ms)))
}

/// Which address gets one request, which succeeds.
fn serve(group: &mut Group, ms: u64) -> SocketAddr {
    let assignment = begin(group, ms);
    group.on_success(&assignment, at(ms));
    let address = assignment.address;
    group.on_end(assignment);
    address
}

/// Requests fail at address `n`, and succeed at others, until something has become of it.
fn fail_until_event(group: &mut Group, n: u8, ms: u64) -> Option<Event> {
    for _ in 0..1000 {
        let assignment = begin(group, ms);
        let event = match assignment.address == address(n) {
            true => group.on_failure(&assignment, WHY, at(ms)),
            false => group.on_success(&assignment, at(ms)),
        };
        group.on_end(assignment);
        if event.is_some() {
            return event;
        }
    }
    None
}

fn standing(group: &Group, n: u8, ms: u64) -> Standing {
    let status = group.status(0, BudgetStatus::default(), at(ms));
    status.addresses.iter().find(|status| status.address == address(n)).expect("it is known").standing
}

#[test]
fn an_address_that_fails_is_out_and_comes_back_through_a_probe_slowly() {
    let mut group = round_robin(3);
    let event = fail_until_event(&mut group, 1, 0).unwrap();
    assert_eq!(event.to_string(), "10.0.0.1:80 is out for 10 s after 3 failures in a row: connection refused");
    assert!((0..100).all(|_| serve(&mut group, 9_999) != address(1)));
    let probe = begin(&mut group, 10_000);
    assert!(probe.is_probe() && probe.address == address(1));
    assert!((0..100).all(|_| serve(&mut group, 10_000) != address(1)), "only one probe at a time");
    let back = group.on_success(&probe, at(10_000)).unwrap();
    assert_eq!(back.to_string(), "10.0.0.1:80 is back after its probe succeeded; its share rises over 10 s");
    group.on_end(probe);
    let share = |group: &mut Group, ms| (0..300).filter(|_| serve(group, ms) == address(1)).count();
    assert_eq!([10_000, 15_000, 20_000].map(|ms| share(&mut group, ms)), [1, 60, 100]);
}

#[test]
fn at_most_half_is_ejected_and_one_address_never() {
    for (count, most) in [(1, 0), (2, 1), (3, 1), (4, 2), (5, 2)] {
        let mut group = round_robin(count);
        let events: Vec<Event> = (0..u32::from(count) * 10)
            .filter_map(|_| {
                let assignment = begin(&mut group, 0);
                let event = group.on_failure(&assignment, WHY, at(0));
                group.on_end(assignment);
                event
            })
            .collect();
        let out = (1..=count).filter(|n| standing(&group, *n, 0) == Standing::Out(EJECTION_MIN)).count();
        let spared = events.iter().filter(|event| event.change == Change::Spared { why: WHY }).count();
        assert_eq!((out, spared), (most, usize::from(count) - most), "of {count}: {events:?}");
    }
}

#[test]
fn those_that_are_down_count_when_others_are_to_be_ejected() {
    let mut group = group(4, GroupSettings { check_interval: CHECKED, ..GroupSettings::default() });
    fail_checks(&mut group, 1);
    fail_checks(&mut group, 2);
    let event = fail_until_event(&mut group, 3, 0).unwrap();
    assert_eq!(event.change, Change::Spared { why: WHY });
}

fn fail_checks(group: &mut Group, n: u8) -> Event {
    let checks = group.checks_due(at(1_000_000));
    let checks = if checks.is_empty() { group.checks_due(at(2_000_000)) } else { checks };
    let id = checks.iter().find(|check| check.address == address(n)).expect("its check is due").id;
    group.on_check(id, Err(WHY), at(1000));
    group.on_check(id, Err(WHY), at(2000));
    group.on_check(id, Err(WHY), at(3000)).expect("it is down")
}

#[test]
fn if_all_are_down_all_get_requests() {
    let mut group = group(2, GroupSettings { check_interval: CHECKED, ..GroupSettings::default() });
    let first = fail_checks(&mut group, 1);
    assert_eq!(first.to_string(), "10.0.0.1:80 is down after 3 failed checks in a row: connection refused");
    assert!((0..10).all(|_| serve(&mut group, 4000) == address(2)));
    // Its next checks are not due before some seconds have passed.
    let second =
        group.addresses.iter().find(|(_, a)| a.address == address(2)).map(|(token, _)| AddressId(token)).unwrap();
    let events: Vec<Event> = (0..3).filter_map(|_| group.on_check(second, Err(WHY), at(5000))).collect();
    assert!(matches!(events[..], [Event { change: Change::Down { is_last: true, .. }, .. }]), "{events:?}");
    let served: Vec<SocketAddr> = (0..4).map(|_| serve(&mut group, 5000)).collect();
    assert_eq!(served.iter().filter(|served| **served == address(1)).count(), 2);
    assert_eq!(group.on_check(second, Ok(()), at(6000)), None);
    assert_eq!(group.on_check(second, Ok(()), at(7000)).map(|event| event.change), Some(Change::Up));
    assert!((0..10).all(|_| serve(&mut group, 7000) == address(2)));
}

#[test]
fn checks_are_due_once_each_and_only_if_they_are_wanted() {
    let mut unchecked = round_robin(3);
    assert_eq!((unchecked.next_check_at(), unchecked.checks_due(at(60_000)).len()), (None, 0));
    let mut group = group(3, GroupSettings { check_interval: CHECKED, ..GroupSettings::default() });
    assert_eq!(group.checks_due(at(1000)).len(), 3);
    assert_eq!(group.checks_due(at(1000)).len(), 0);
    let next = group.next_check_at().unwrap();
    assert!(next >= at(5500) && next < at(6500), "{next:?}");
    assert_eq!(group.checks_due(next).len(), 1, "jitter spreads them");
}

#[test]
fn a_retry_goes_elsewhere_and_rather_to_an_ejected_address_than_to_the_same() {
    let mut group = round_robin(2);
    let failed = begin(&mut group, 0);
    let except = Some(failed.id);
    for _ in 0..10 {
        let retry = chosen(group.choose(None, except, at(0)));
        assert_ne!(retry.address, failed.address);
        group.on_end(retry);
    }
    group.on_end(failed);
    fail_until_event(&mut group, 2, 0).unwrap();
    let failed = begin(&mut group, 1000);
    assert_eq!(failed.address, address(1));
    let retry = chosen(group.choose(None, Some(failed.id), at(1000)));
    assert!(retry.address == address(2) && retry.is_probe());
    let another = chosen(group.choose(None, Some(failed.id), at(1000)));
    assert!(another.address == address(2) && !another.is_probe());
    let back = group.on_success(&retry, at(1001)).unwrap();
    assert_eq!(back.change, Change::Back);
    [failed, retry, another].into_iter().for_each(|assignment| group.on_end(assignment));
    // With nothing else, the same address is tried once more.
    group.set_addresses(0, &addresses([1]), at(2000));
    let failed = begin(&mut group, 2000);
    assert_eq!(chosen(group.choose(None, Some(failed.id), at(2000))).address, address(1));
}

#[test]
fn a_full_group_says_so_and_when_to_come_again() {
    let mut group = group(2, GroupSettings { max: Some(2), ..GroupSettings::default() });
    assert_eq!(group.room(), 4);
    let mut assignments: Vec<Assignment> = (0..4).map(|_| begin(&mut group, 0)).collect();
    let seconds = Duration::from_secs;
    let full = |retry_after| Choice::None { why: NoAddress::AtMax, retry_after };
    assert_eq!((group.room(), group.choose(None, None, at(0))), (0, full(seconds(5))));
    group.on_end(assignments.pop().unwrap());
    assert_eq!(group.room(), 1);
    let again = begin(&mut group, 0);
    let id = again.id;
    let events: Vec<_> = (0..3).filter_map(|_| group.on_failure(&again, WHY, at(0))).collect();
    assert_eq!(events.len(), 1);
    let full_at = |group: &mut Group, ms| group.choose(None, None, at(ms));
    assert_eq!(full_at(&mut group, 1000), full(seconds(5)), "the probe is due in 9 s");
    assert_eq!(full_at(&mut group, 7000), full(seconds(3)));
    assert_eq!(full_at(&mut group, 9900), full(seconds(1)));
    assert!(group.is_listed(id));
    group.set_addresses(0, &[], at(0));
    let unknown = Choice::None { why: NoAddress::Unknown, retry_after: seconds(5) };
    assert_eq!((group.choose(None, None, at(0)), group.room()), (unknown, 0));
}

#[test]
fn addresses_that_stay_keep_their_state_and_gone_ones_end_without_harm() {
    let mut group = round_robin(4);
    fail_until_event(&mut group, 1, 0).unwrap();
    let held: Vec<Assignment> = (0..3).map(|_| begin(&mut group, 0)).collect();
    let events = group.set_addresses(0, &addresses([1, 3, 4, 5, 5]), at(1000));
    let lines: Vec<String> = events.iter().map(Event::to_string).collect();
    assert_eq!(lines, ["10.0.0.2:80 leaves; active requests: 1", "10.0.0.5:80 joins; its share rises over 10 s"]);
    assert_eq!(standing(&group, 1, 1000), Standing::Out(Duration::from_secs(9)));
    assert_eq!(standing(&group, 2, 1000), Standing::Leaving);
    assert!((0..50).all(|_| serve(&mut group, 1000) != address(2)));
    let gone = held.iter().find(|assignment| assignment.address == address(2)).unwrap().id;
    assert!(!group.is_listed(gone) && group.counters_mut(gone).is_some());
    for assignment in held {
        assert_eq!(group.on_failure(&assignment, WHY, at(1000)), None);
        group.on_end(assignment);
    }
    assert!(group.counters_mut(gone).is_none());
    let status = group.status(0, BudgetStatus::default(), at(1000));
    assert_eq!((status.addresses.len(), status.upstreams[0].gone.failures[0]), (4, 1), "its counts are kept");
    assert_eq!(group.on_check(gone, Err(WHY), at(1000)), None);
}

#[test]
fn one_that_comes_back_while_requests_are_active_is_the_same() {
    let mut group = group(2, GroupSettings { max: Some(1), ..GroupSettings::default() });
    let held = begin(&mut group, 0);
    let n = if held.address == address(1) { 2 } else { 1 };
    group.set_addresses(0, &addresses([n]), at(0));
    group.set_addresses(0, &addresses([1, 2]), at(1));
    assert_eq!(group.room(), 1, "it has its request still");
    group.on_end(held);
    assert_eq!(group.room(), 2);
}

#[test]
fn a_group_that_becomes_smaller_takes_ejected_addresses_back() {
    let mut group = round_robin(4);
    fail_until_event(&mut group, 1, 0).unwrap();
    fail_until_event(&mut group, 2, 500).unwrap();
    let events = group.set_addresses(0, &addresses([1, 2]), at(1000));
    let released: Vec<SocketAddr> =
        events.iter().filter(|event| event.change == Change::Released).map(|event| event.address).collect();
    assert_eq!(released, [address(1)], "its time would have been over first");
    group.set_addresses(0, &addresses([2]), at(1000));
    assert!(matches!(standing(&group, 2, 1000), Standing::InService(_)));
}

#[test]
fn a_name_with_too_many_addresses_costs_no_more_than_the_most() {
    let mut group = round_robin(1);
    let many: Vec<SocketAddr> = (0..10_000_u16).map(|port| SocketAddr::from(([10, 0, 0, 2], port))).collect();
    let all = [many.as_slice(), &addresses([1])].concat();
    group.set_addresses(0, &all, at(0));
    assert_eq!(group.listed().count(), ADDRESSES_MAX);
    assert!(group.listed().any(|listed| listed.address == address(1)), "those that are known stay");
    assert!(group.set_addresses(7, &all, at(0)).is_empty(), "there is no such upstream");
}

#[test]
fn a_key_probes_only_its_own_address() {
    let mut group = group(3, GroupSettings { balance: Balance::Hash(KeySource::Client), ..GroupSettings::default() });
    let of = |group: &mut Group, key, ms| {
        let assignment = chosen(group.choose(Some(key), None, at(ms)));
        let (address, is_probe) = (assignment.address, assignment.is_probe());
        group.on_end(assignment);
        (address, is_probe)
    };
    let homes: Vec<SocketAddr> = (0..100).map(|key| of(&mut group, key, 0).0).collect();
    let assignment = chosen(group.choose(Some(0), None, at(0)));
    assert_eq!((0..3).filter_map(|_| group.on_failure(&assignment, WHY, at(0))).count(), 1);
    group.on_end(assignment);
    for (key, home) in (0..).zip(&homes) {
        assert_ne!(of(&mut group, key, 5000).0, homes[0]);
        assert_eq!(of(&mut group, key, 10_000), (*home, *home == homes[0]));
    }
}

/// Upstreams restart one after the other every 2 s, each for half a second, under 64 requests at a time.
fn restart_in_turn(count: u8, balance: &Balance) -> usize {
    let mut group = group(count, GroupSettings { balance: balance.clone(), ..GroupSettings::default() });
    let (mut budget, mut errors) = (Budget::default(), 0);
    for ms in (0..40_000).step_by(50) {
        let restarting = address((ms / 2000 % u64::from(count)) as u8 + 1);
        let is_down = |address: SocketAddr| address == restarting && ms % 2000 < 500;
        let now = at(ms);
        let begun: Vec<Assignment> = (0..64)
            .map(|n| {
                budget.on_request(now);
                chosen(group.choose(Some(mix(n)), None, now))
            })
            .collect();
        let mut again = Vec::new();
        for assignment in begun {
            if is_down(assignment.address) {
                group.on_failure(&assignment, WHY, now);
                let (written, received) = (0, 0);
                let attempt =
                    Attempt { failure: WHY, is_lasting: false, is_retry: false, is_reused: false, written, received };
                match may_retry(Method::Post, &attempt, true, true, &mut budget, now) {
                    Ok(_) => again.push(chosen(group.choose(None, Some(assignment.id), now))),
                    Err(_) => errors += 1,
                }
            } else {
                group.on_success(&assignment, now);
            }
            group.on_end(assignment);
        }
        for assignment in again {
            if is_down(assignment.address) {
                errors += 1;
                group.on_failure(&assignment, WHY, now);
            } else {
                group.on_success(&assignment, now);
            }
            group.on_end(assignment);
        }
    }
    errors
}

#[test]
fn upstreams_that_restart_in_turn_cost_no_request() {
    for (count, balance) in [2, 3, 5].into_iter().flat_map(|count| ALL.map(|balance| (count, balance))) {
        assert_eq!(restart_in_turn(count, &balance), 0, "{count} upstreams, {balance:?}");
    }
    assert!(restart_in_turn(1, &Balance::RoundRobin) > 0, "one alone is missed");
}

#[derive(Debug, Clone)]
enum Step {
    Choose { key: u64, is_retry: bool },
    Succeed(usize),
    Fail(usize),
    End(usize),
    SetAddresses { upstream: usize, numbers: Vec<u8> },
    Check { which: usize, is_good: bool },
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let which = 0..1000_usize;
    prop_oneof![
        12 => (0..50_u64, any::<bool>()).prop_map(|(key, is_retry)| Step::Choose { key, is_retry }),
        3 => which.clone().prop_map(Step::Succeed),
        8 => which.clone().prop_map(Step::Fail),
        8 => which.clone().prop_map(Step::End),
        1 => (0..3_usize, proptest::collection::vec(1..9_u8, 0..8))
            .prop_map(|(upstream, numbers)| Step::SetAddresses { upstream, numbers }),
        3 => (which, prop_oneof![1 => Just(true), 2 => Just(false)])
            .prop_map(|(which, is_good)| Step::Check { which, is_good }),
        3 => prop_oneof![3 => 0..1000_u64, 1 => 0..30_000_u64].prop_map(Step::Wait),
    ]
}

/// What a naive observer knows of an address: from the events, and from what it did itself.
#[derive(Debug, Default, Clone)]
struct Seen {
    is_listed: bool,
    is_ejected: bool,
    is_down: bool,
    active: u32,
    /// Probes that have neither a result nor an end.
    probes: u32,
    /// Failures in a row of requests that began when it was in.
    failures: u32,
    /// Results of requests that began earlier do not count.
    since: usize,
}

struct World {
    group: Group,
    max: Option<u32>,
    now: u64,
    seen: std::collections::BTreeMap<(usize, SocketAddr), Seen>,
    /// Assignments with the step in which they began, and whether they have no result yet.
    held: Vec<(Assignment, usize, bool)>,
    last_failed: Option<AddressId>,
    step: usize,
}

impl World {
    fn new(balance: Balance, max: Option<u32>) -> World {
        let names = vec!["a.example:80".into(), "b.example:80".into()];
        let group = Group::new("/".into(), names, GroupSettings { balance, max, check_interval: CHECKED });
        World { group, max, now: 0, seen: Default::default(), held: Vec::new(), last_failed: None, step: 0 }
    }

    fn count(&self, is_counted: impl Fn(&Seen) -> bool) -> usize {
        self.seen.values().filter(|seen| seen.is_listed && is_counted(seen)).count()
    }

    fn of(&mut self, assignment: usize) -> &mut Seen {
        let (assignment, _, _) = &self.held[assignment];
        self.seen.get_mut(&(assignment.upstream, assignment.address)).expect("it was seen")
    }

    fn take_events(&mut self, events: impl IntoIterator<Item = Event>) {
        for event in events {
            let seen = self.seen.entry((event.upstream, event.address)).or_default();
            match event.change {
                Change::Joined { .. } => {
                    assert!(!seen.is_listed, "{event} twice");
                    if seen.active == 0 {
                        *seen = Seen { since: self.step, ..Seen::default() };
                    }
                    seen.is_listed = true;
                }
                Change::Left { active } => {
                    assert!(seen.is_listed && active == seen.active, "{event}");
                    seen.is_listed = false;
                }
                Change::Ejected { failures, .. } => {
                    assert!(failures == 0 || failures == seen.failures, "{event}: {seen:?}");
                    (seen.is_ejected, seen.since) = (true, self.step);
                }
                Change::Spared { .. } => assert_eq!(seen.failures, FAILURES_MAX, "{event}"),
                Change::Back | Change::Released => {
                    assert!(seen.is_ejected, "{event}");
                    (seen.is_ejected, seen.failures, seen.probes, seen.since) = (false, 0, 0, self.step);
                }
                Change::Down { is_last, .. } => {
                    seen.is_down = true;
                    assert_eq!(is_last, self.count(|seen| !seen.is_down && !seen.is_ejected) == 0, "{event}");
                }
                Change::Up => seen.is_down = false,
            }
        }
    }

    fn choose(&mut self, key: u64, is_retry: bool) {
        let in_service = self.count(|seen| !seen.is_down && !seen.is_ejected);
        let max = self.max.unwrap_or(u32::MAX);
        let has_room = |seen: &Seen| seen.active < max && (in_service == 0 || (!seen.is_down && !seen.is_ejected));
        assert_eq!(self.group.room() > 0, self.count(has_room) > 0);
        let except = self.last_failed.filter(|_| is_retry);
        match self.group.choose(Some(key), except, at(self.now)) {
            Choice::None { why: NoAddress::Unknown, .. } => assert_eq!(self.count(|_| true), 0),
            Choice::None { why: NoAddress::AtMax, .. } => assert_eq!(self.count(has_room), 0, "there was room"),
            Choice::Address(assignment) => {
                let seen = self.seen.get_mut(&(assignment.upstream, assignment.address)).expect("it joined");
                assert!(seen.is_listed && seen.active < max, "{assignment:?}: {seen:?}");
                let is_in_service = !seen.is_down && !seen.is_ejected;
                assert!(is_in_service || in_service == 0 || except.is_some() || assignment.is_probe());
                assert!(!assignment.is_probe() || (seen.is_ejected && seen.probes == 0), "a probe is alone");
                if is_in_service {
                    assert!(!assignment.is_probe());
                }
                seen.active += 1;
                seen.probes += u32::from(assignment.is_probe());
                let is_elsewhere = |id: AddressId| id != assignment.id;
                let others = self.seen.values().filter(|seen| seen.is_listed).count() > 1;
                if let Some(except) = except.filter(|_| others && self.max.is_none()) {
                    assert!(is_elsewhere(except), "there was another address");
                }
                self.held.push((assignment, self.step, true));
            }
        }
    }

    fn result(&mut self, which: usize, is_good: bool) {
        let (began, is_open) = (self.held[which].1, std::mem::take(&mut self.held[which].2));
        if !is_open {
            return;
        }
        let is_probe = self.held[which].0.is_probe();
        let seen = self.of(which);
        seen.probes -= u32::from(is_probe && seen.is_ejected && began > seen.since && seen.probes > 0);
        if began > seen.since && !seen.is_ejected {
            seen.failures = if is_good { 0 } else { seen.failures + 1 };
        }
        let expected = (seen.is_listed && !seen.is_ejected && began > seen.since && seen.failures >= FAILURES_MAX)
            .then(|| (self.count(|seen| seen.is_down || seen.is_ejected), self.count(|_| true)));
        let out_already = usize::from(self.of(which).is_down);
        let (assignment, now) = (&self.held[which].0, at(self.now));
        let event = match is_good {
            true => self.group.on_success(assignment, now),
            false => self.group.on_failure(assignment, WHY, now),
        };
        if let (Some((out, listed)), false) = (expected, is_good) {
            let is_ejected = matches!(event, Some(Event { change: Change::Ejected { .. }, .. }));
            assert_eq!(is_ejected, 2 * (out - out_already + 1) <= listed, "{event:?}: {out} of {listed} are out");
        }
        self.last_failed = if is_good { self.last_failed } else { Some(self.held[which].0.id) };
        self.take_events(event);
    }

    fn end(&mut self, which: usize) {
        let (is_probe, began, is_open) = (self.held[which].0.is_probe(), self.held[which].1, self.held[which].2);
        let seen = self.of(which);
        seen.active -= 1;
        seen.probes -= u32::from(is_probe && is_open && began > seen.since && seen.probes > 0);
        let (assignment, _, _) = self.held.swap_remove(which);
        self.group.on_end(assignment);
    }

    fn check(&mut self, which: usize, is_good: bool) {
        let due = self.group.checks_due(at(self.now));
        assert!(self.group.next_check_at().is_none_or(|next| next > at(self.now)));
        let ids: Vec<AddressId> = self.group.addresses.iter().map(|(token, _)| AddressId(token)).collect();
        assert!(due.iter().all(|check| ids.contains(&check.id)));
        if !ids.is_empty() {
            let result = if is_good { Ok(()) } else { Err(Failure::Status(500)) };
            let event = self.group.on_check(ids[which % ids.len()], result, at(self.now));
            self.take_events(event);
        }
    }

    fn take(&mut self, step: Step) {
        self.step += 1;
        let which = |which: usize| which % self.held.len().max(1);
        match step {
            Step::Choose { key, is_retry } => self.choose(key, is_retry),
            Step::Succeed(_) | Step::Fail(_) | Step::End(_) if self.held.is_empty() => {}
            Step::Succeed(number) => self.result(which(number), true),
            Step::Fail(number) => self.result(which(number), false),
            Step::End(number) => self.end(which(number)),
            Step::SetAddresses { upstream, numbers } => {
                let events = self.group.set_addresses(upstream, &addresses(numbers), at(self.now));
                self.take_events(events);
            }
            Step::Check { which, is_good } => self.check(which, is_good),
            Step::Wait(ms) => self.now += ms,
        }
        let (listed, ejected) = (self.count(|_| true), self.count(|seen| seen.is_ejected));
        assert!(2 * ejected <= listed, "{ejected} of {listed} are ejected");
    }

    /// What the group says of itself is what was seen.
    fn compare(&self) {
        let status = self.group.status(0, BudgetStatus::default(), at(self.now));
        for address in &status.addresses {
            let seen = &self.seen[&(address.upstream, address.address)];
            let expected = match (seen.is_listed, seen.is_down, seen.is_ejected, seen.probes) {
                (false, ..) => "leaving",
                (_, true, ..) => "down",
                (_, _, true, 0) => "out",
                (_, _, true, _) => "probing",
                _ => "in-service",
            };
            assert_eq!((address.standing.name(), address.active), (expected, seen.active), "{address:?} {seen:?}");
        }
        let known = self.seen.values().filter(|seen| seen.is_listed || seen.active > 0).count();
        assert_eq!(status.addresses.len(), known, "those that are over are freed");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn ten_thousand_events_break_no_rule(
        steps in proptest::collection::vec(step(), 2000..10_000),
        balance in proptest::sample::select(ALL.to_vec()),
        max in proptest::sample::select(vec![None, Some(1), Some(3)]),
    ) {
        let mut world = World::new(balance, max);
        world.take(Step::SetAddresses { upstream: 0, numbers: (1..5).collect() });
        for step in steps {
            world.take(step);
            if world.step.is_multiple_of(8) {
                world.compare();
            }
        }
        while !world.held.is_empty() {
            world.take(Step::End(0));
        }
        world.compare();
    }
}
