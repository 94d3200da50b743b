//! What a deadline costs, however many there are: a wheel is right if the time per entry does not grow with their number.
//!
//! Entries are touched in order and at random. At random, a million of them (16 MB) no longer fit into the cache, and what
//! then grows is the price of memory; in order, as slots of a slab are handed out, it does not.
//!
//! `cargo bench --bench timers`; the line beneath each is in entries per second.

use std::hint::black_box;
use std::time::Duration;

use divan::Bencher;
use divan::counter::ItemsCount;
use tidemill::base::moment::Moment;
use tidemill::base::timer_wheel::TimerWheel;

/// How many deadlines there are.
const COUNTS: [u32; 3] = [1_000, 100_000, 1_000_000];
/// The deadline of an idle connection.
const IDLE: Duration = Duration::from_secs(75);
/// The deadline that follows it when a request begins, which is earlier.
const HEADER: Duration = Duration::from_secs(10);

fn main() {
    divan::main();
}

/// Entries one behind the other.
#[divan::bench_group(sample_count = 20, sample_size = 1)]
mod in_order {
    use super::*;

    #[divan::bench(args = COUNTS)]
    fn arm(bencher: Bencher, count: u32) {
        arm_all(bencher, in_order(count));
    }

    #[divan::bench(args = COUNTS)]
    fn move_earlier(bencher: Bencher, count: u32) {
        move_all(bencher, in_order(count));
    }

    #[divan::bench(args = COUNTS)]
    fn expire(bencher: Bencher, count: u32) {
        expire_all(bencher, in_order(count));
    }
}

/// Entries as chance will have it.
#[divan::bench_group(sample_count = 20, sample_size = 1)]
mod at_random {
    use super::*;

    #[divan::bench(args = COUNTS)]
    fn arm(bencher: Bencher, count: u32) {
        arm_all(bencher, at_random(count));
    }

    #[divan::bench(args = COUNTS)]
    fn move_earlier(bencher: Bencher, count: u32) {
        move_all(bencher, at_random(count));
    }

    #[divan::bench(args = COUNTS)]
    fn expire(bencher: Bencher, count: u32) {
        expire_all(bencher, at_random(count));
    }
}

/// A wheel that has no entry, but memory for all of them.
fn arm_all(bencher: Bencher, order: Vec<u32>) {
    let empty = || {
        let mut wheel = armed(&order, IDLE);
        order.iter().for_each(|index| wheel.disarm(*index));
        wheel
    };
    bencher.counter(ItemsCount::new(order.len())).with_inputs(empty).bench_local_refs(|wheel| {
        for (at, index) in (0_u64..).zip(black_box(&order)) {
            wheel.arm(*index, spread(at) + IDLE);
        }
    });
}

/// A wheel whose every entry is moved to an earlier time.
fn move_all(bencher: Bencher, order: Vec<u32>) {
    let full = || armed(&order, IDLE);
    bencher.counter(ItemsCount::new(order.len())).with_inputs(full).bench_local_refs(|wheel| {
        for (at, index) in (0_u64..).zip(black_box(&order)) {
            wheel.arm(*index, spread(at) + HEADER);
        }
    });
}

/// A wheel that is asked for its next wake, and wakes then, until it has no entry any more: with all that moving entries
/// from level to level costs.
fn expire_all(bencher: Bencher, order: Vec<u32>) {
    let mut due = Vec::with_capacity(order.len());
    let full = || armed(&order, IDLE);
    bencher.counter(ItemsCount::new(order.len())).with_inputs(full).bench_local_refs(|wheel| {
        due.clear();
        while let Some(wake) = wheel.next_wake() {
            wheel.expire(black_box(wake), &mut due);
        }
        assert_eq!(due.len(), order.len());
    });
}

/// A wheel with a deadline for each of these: so long `after` they fell silent, one behind the other.
fn armed(order: &[u32], after: Duration) -> TimerWheel {
    let mut wheel = TimerWheel::new();
    for (at, index) in (0_u64..).zip(order) {
        wheel.arm(*index, spread(at) + after);
    }
    wheel
}

/// As if a hundred thousand connections fell silent in a second.
fn spread(at: u64) -> Moment {
    Moment::default() + Duration::from_micros(at * 10)
}

fn in_order(count: u32) -> Vec<u32> {
    (0..count).collect()
}

/// The same numbers, in an order that is the same every time (Fisher and Yates, by a linear congruential generator).
fn at_random(count: u32) -> Vec<u32> {
    let (mut order, mut state) = (in_order(count), 1_u64);
    for at in (1..order.len()).rev() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        order.swap(at, (state >> 33) as usize % (at + 1));
    }
    order
}
