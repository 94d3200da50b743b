//! Deadlines: arming, moving and expiring one costs the same however many there are.

use super::moment::Moment;

/// Bits of a tick that one level looks at.
const SLOT_BITS: usize = 6;
/// Slots in a level: one bit each in a `u64`.
const SLOTS: usize = 1 << SLOT_BITS;
/// Seven levels of six bits reach 2^42 ms, 139 years, from the beginning.
const LEVELS: usize = 7;
/// List heads: one for each slot of each level. They are the first nodes; the entries follow.
const HEADS: usize = LEVELS * SLOTS;
/// The horizon.
const LAST_TICK: u64 = (1 << (SLOT_BITS * LEVELS)) - 1;
/// As many entries of a slot are looked at to find the earliest.
const FEW: usize = 4;
/// The tick of an entry that is in no list; later than any other, so that every deadline is earlier.
const DISARMED: u64 = u64::MAX;

/// A hierarchical timer wheel with one entry for each slot index.
///
/// The deadline itself lives with its owner; the wheel only promises that someone looks by then. An entry is therefore
/// moved only to an earlier time; an owner that is found not to be due yet is armed again for its real deadline.
///
/// Time is counted in ticks of 1 ms since the loop began. Read a tick as a number of seven digits to the base of 64. An
/// entry's level is the highest digit in which it differs from the current tick, its slot in that level is the digit's
/// value. So the slots of a level never wrap, and everything in a lower level is due before anything in a higher one:
/// the first occupied slot of the lowest occupied level always holds the earliest entries.
///
/// Memory: 7 KiB, and 16 bytes for each index up to the highest one ever armed.
#[derive(Debug)]
pub struct TimerWheel {
    /// The latest time `expire` was called with.
    now: Moment,
    /// The tick `now` lies in. Everything earlier has expired.
    current: u64,
    /// Which slots of each level have entries.
    occupied: [u64; LEVELS],
    /// `HEADS` list heads, then one node for each index.
    nodes: Vec<Node>,
}

/// A link in the circular list of its slot. The list of an empty slot consists of its head.
#[derive(Debug, Clone, Copy)]
struct Node {
    prev: u32,
    next: u32,
    tick: u64,
}

impl TimerWheel {
    /// An empty wheel.
    pub fn new() -> TimerWheel {
        let nodes = (0..HEADS as u32).map(|head| Node { prev: head, next: head, tick: DISARMED }).collect();
        TimerWheel { now: Moment::default(), current: 0, occupied: [0; LEVELS], nodes }
    }

    /// Makes sure that `index` expires at `at` or earlier; never before `at` by the wheel's own doing, unless `at`
    /// lies beyond the horizon, 139 years after the start. A time that has passed expires with the next `expire`.
    pub fn arm(&mut self, index: u32, at: Moment) {
        let tick = self.tick_for(at);
        let node = self.node_of(index);
        if self.nodes[node].tick <= tick {
            return;
        }
        self.unlink(node);
        self.link(node, tick);
    }

    /// Forgets `index`.
    pub fn disarm(&mut self, index: u32) {
        let node = HEADS + index as usize;
        if node < self.nodes.len() {
            self.unlink(node);
        }
    }

    /// Moves every index that is due by `now` to `due`, in no particular order. A `now` earlier than the last one is
    /// taken for the last one.
    ///
    /// The cost depends on how many entries are due or come closer than a digit, never on how much time has passed.
    pub fn expire(&mut self, now: Moment, due: &mut Vec<u32>) {
        self.now = self.now.max(now);
        let until = self.now.millis_floor().min(LAST_TICK);
        while let Some((head, begins)) = self.first_slot()
            && begins <= until
        {
            // No entry is earlier than this slot, so time may jump to its beginning: no other entry changes its place.
            self.current = begins;
            self.empty(head, until, due);
        }
        self.current = until;
    }

    /// By when `expire` must be called again; `None` while nothing is armed.
    ///
    /// Exact for what is due within the current 64 ms, and while few entries share a slot; otherwise it may be early, to
    /// bring far entries closer: at most six times for an entry. `expire` at this time always expires or moves something.
    pub fn next_wake(&self) -> Option<Moment> {
        let (head, begins) = self.first_slot()?;
        let tick = self.earliest_of_few(head).unwrap_or(begins);
        Some(Moment::from_millis(tick))
    }

    /// The earliest tick in a slot; `None` if it has too many entries to look at each of them. A server with little to do
    /// is so spared most of the times that it would wake for nothing.
    fn earliest_of_few(&self, head: usize) -> Option<u64> {
        let (mut earliest, mut node) = (None, self.nodes[head].next as usize);
        for _ in 0..FEW {
            if node == head {
                return earliest;
            }
            let Node { next, tick, .. } = self.nodes[node];
            earliest = Some(earliest.map_or(tick, |earliest: u64| earliest.min(tick)));
            node = next as usize;
        }
        earliest.filter(|_| node == head)
    }

    /// The first tick that is not before `at`, or the current one.
    fn tick_for(&self, at: Moment) -> u64 {
        if at <= self.now {
            return self.current;
        }
        at.millis_ceil().min(LAST_TICK)
    }

    /// The node of `index`, made if this is its first time.
    fn node_of(&mut self, index: u32) -> usize {
        let node = HEADS + index as usize;
        while self.nodes.len() <= node {
            let own = u32::try_from(self.nodes.len()).expect("slots are bounded by descriptors");
            self.nodes.push(Node { prev: own, next: own, tick: DISARMED });
        }
        node
    }

    /// Puts a node that is in no list where `tick` belongs.
    fn link(&mut self, node: usize, tick: u64) {
        let head = self.head_for(tick);
        let last = self.nodes[head].prev;
        self.nodes[node] = Node { prev: last, next: head as u32, tick };
        self.nodes[last as usize].next = node as u32;
        self.nodes[head].prev = node as u32;
        self.occupied[head / SLOTS] |= 1 << (head % SLOTS);
    }

    /// Takes a node out of its list; nothing changes if it is in none.
    fn unlink(&mut self, node: usize) {
        let Node { prev, next, tick } = self.nodes[node];
        if tick == DISARMED {
            return;
        }
        self.nodes[prev as usize].next = next;
        self.nodes[next as usize].prev = prev;
        self.nodes[node].tick = DISARMED;
        // Only an entry that is alone with its list's head has the same neighbour on both sides.
        if prev == next {
            let head = prev as usize;
            self.occupied[head / SLOTS] &= !(1 << (head % SLOTS));
        }
    }

    /// Takes everything out of a slot that begins now: to `due` what is due by `until`, the rest to lower levels.
    fn empty(&mut self, head: usize, until: u64, due: &mut Vec<u32>) {
        while self.nodes[head].next != head as u32 {
            let node = self.nodes[head].next as usize;
            let tick = self.nodes[node].tick;
            self.unlink(node);
            if tick <= until {
                due.push((node - HEADS) as u32);
            } else {
                self.link(node, tick);
            }
        }
    }

    /// Where entries for `tick`, which is not before the current one, are kept.
    fn head_for(&self, tick: u64) -> usize {
        let differing = tick ^ self.current;
        let level = (differing | 1).ilog2() as usize / SLOT_BITS;
        level * SLOTS + digit(tick, level)
    }

    /// The slot with the earliest entries, and the tick at which it begins.
    fn first_slot(&self) -> Option<(usize, u64)> {
        let level = self.occupied.iter().position(|slots| *slots != 0)?;
        let slot = self.occupied[level].trailing_zeros() as usize;
        let above = SLOT_BITS * (level + 1);
        let begins = (self.current >> above << above) | ((slot as u64) << (SLOT_BITS * level));
        Some((level * SLOTS + slot, begins))
    }
}

/// The digit of `tick` that `level` looks at.
fn digit(tick: u64, level: usize) -> usize {
    (tick >> (SLOT_BITS * level)) as usize % SLOTS
}

impl Default for TimerWheel {
    fn default() -> TimerWheel {
        TimerWheel::new()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    fn millis(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    fn micros(n: u64) -> Duration {
        Duration::from_micros(n)
    }

    /// A wheel and the time it started at.
    fn wheel() -> (TimerWheel, Moment) {
        (TimerWheel::new(), Moment::default())
    }

    fn expired(wheel: &mut TimerWheel, now: Moment) -> Vec<u32> {
        let mut due = Vec::new();
        wheel.expire(now, &mut due);
        due.sort_unstable();
        due
    }

    #[test]
    fn an_entry_expires_at_its_time_and_once() {
        let (mut wheel, start) = wheel();
        wheel.arm(7, start + millis(10));
        assert_eq!(wheel.next_wake(), Some(start + millis(10)));
        assert_eq!(expired(&mut wheel, start + micros(9_999)), [0_u32; 0]);
        assert_eq!(expired(&mut wheel, start + millis(10)), [7]);
        assert_eq!(wheel.next_wake(), None);
        assert_eq!(expired(&mut wheel, start + DAY), [0_u32; 0]);
    }

    #[test]
    fn times_between_two_ticks_round_up() {
        let (mut wheel, start) = wheel();
        wheel.arm(0, start + Duration::from_nanos(1_000_001));
        assert_eq!(expired(&mut wheel, start + micros(1_999)), [0_u32; 0]);
        assert_eq!(expired(&mut wheel, start + millis(2)), [0]);
    }

    #[test]
    fn a_later_time_changes_nothing_and_an_earlier_one_moves_the_entry() {
        let (mut wheel, start) = wheel();
        wheel.arm(0, start + millis(5000));
        wheel.arm(0, start + millis(9000));
        wheel.arm(0, start + millis(300));
        assert_eq!(expired(&mut wheel, start + millis(300)), [0]);
        assert_eq!(wheel.next_wake(), None, "nothing stayed at the other times");
    }

    #[test]
    fn an_expired_entry_can_be_armed_for_later() {
        let (mut wheel, start) = wheel();
        wheel.arm(0, start + millis(1));
        assert_eq!(expired(&mut wheel, start + millis(1)), [0]);
        wheel.arm(0, start + millis(70));
        assert_eq!(expired(&mut wheel, start + millis(69)), [0_u32; 0]);
        assert_eq!(expired(&mut wheel, start + millis(70)), [0]);
    }

    #[test]
    fn a_disarmed_entry_does_not_expire_and_its_neighbours_do() {
        let (mut wheel, start) = wheel();
        for index in 0..3 {
            wheel.arm(index, start + millis(100));
        }
        wheel.disarm(1);
        wheel.disarm(1);
        wheel.disarm(999);
        assert_eq!(expired(&mut wheel, start + millis(100)), [0, 2]);
        wheel.arm(5, start + millis(200));
        wheel.disarm(5);
        assert_eq!(wheel.next_wake(), None);
    }

    #[test]
    fn a_time_that_has_passed_expires_with_the_next_expire() {
        let (mut wheel, start) = wheel();
        let now = start + micros(100_700);
        assert_eq!(expired(&mut wheel, now), [0_u32; 0]);
        wheel.arm(0, start);
        wheel.arm(1, start + micros(100_400));
        wheel.arm(2, now);
        wheel.arm(3, now + micros(1));
        assert!(wheel.next_wake().expect("armed") <= now);
        assert_eq!(expired(&mut wheel, now), [0, 1, 2]);
        assert_eq!(wheel.next_wake(), Some(start + millis(101)));
    }

    #[test]
    fn time_that_goes_backwards_is_ignored() {
        let (mut wheel, start) = wheel();
        wheel.arm(0, start + millis(1000));
        assert_eq!(expired(&mut wheel, start + millis(900)), [0_u32; 0]);
        assert_eq!(expired(&mut wheel, start + millis(100)), [0_u32; 0]);
        wheel.arm(1, start + millis(800));
        assert_eq!(expired(&mut wheel, start), [1]);
        assert_eq!(expired(&mut wheel, start + millis(1000)), [0]);
    }

    #[test]
    fn few_entries_are_not_looked_at_early_and_many_are() {
        let (mut wheel, start) = wheel();
        for index in 0..FEW as u32 {
            wheel.arm(index, start + millis(75_010 + u64::from(index)));
        }
        assert_eq!(wheel.next_wake(), Some(start + millis(75_010)));
        wheel.arm(FEW as u32, start + millis(75_020));
        assert!(wheel.next_wake().expect("armed") < start + millis(75_010), "to bring them closer");
    }

    #[test]
    fn a_long_jump_over_an_almost_empty_wheel_is_instant() {
        let (mut wheel, start) = wheel();
        wheel.arm(0, start + 30 * DAY + millis(1));
        let mut now = start;
        // 4 x 10^15 ticks altogether: visiting each would not end.
        for _ in 0..1000 {
            now = now + 50 * DAY;
            let due = expired(&mut wheel, now);
            assert_eq!(due, [0]);
            wheel.arm(0, now + 49 * DAY);
        }
    }

    #[test]
    fn a_deadline_beyond_the_horizon_is_looked_at_early() {
        let (mut wheel, start) = wheel();
        let horizon = start + millis(LAST_TICK);
        wheel.arm(0, horizon + DAY);
        assert_eq!(expired(&mut wheel, start + millis(LAST_TICK - 1)), [0_u32; 0]);
        assert_eq!(wheel.next_wake(), Some(horizon));
        assert_eq!(expired(&mut wheel, horizon), [0]);
        // Beyond it there is no promise but this one: nothing breaks, everything is due.
        wheel.arm(0, horizon + 2 * DAY);
        assert_eq!(expired(&mut wheel, horizon + DAY), [0]);
    }

    #[test]
    fn the_horizon_is_further_than_any_timeout() {
        assert!(millis(LAST_TICK) > 100 * 365 * DAY);
    }

    #[test]
    fn a_million_entries_take_sixteen_megabytes_however_often_they_are_armed() {
        const ENTRIES: u32 = 1_000_000;
        assert_eq!(size_of::<Node>(), 16);
        let (mut wheel, start) = wheel();
        wheel.nodes.reserve_exact(ENTRIES as usize);
        let reserved = wheel.nodes.capacity();
        for seconds in [75, 30, 10] {
            for index in 0..ENTRIES {
                wheel.arm(index, start + Duration::from_secs(seconds) + micros(u64::from(index)));
            }
        }
        assert_eq!(wheel.nodes.len(), HEADS + ENTRIES as usize);
        assert_eq!(wheel.nodes.capacity(), reserved, "nothing was allocated for a move");
        assert_eq!(expired(&mut wheel, start + Duration::from_secs(11)).len(), ENTRIES as usize);
        assert_eq!(wheel.next_wake(), None);
    }

    const INDEXES: u32 = 12;

    /// One thing done to a wheel; times in microseconds from the current one.
    #[derive(Debug, Clone)]
    enum Operation {
        Arm(u32, i64),
        Disarm(u32),
        Advance(i64),
        Wake,
    }

    /// Times of every order of magnitude up to 40 days, some on whole ticks, some in the past.
    fn distance() -> impl Strategy<Value = i64> {
        let magnitude =
            prop_oneof![Just(2_000_i64), Just(100_000), Just(5_000_000), Just(400_000_000), Just(3_456_000_000_000)];
        (magnitude, 0.0..1.0_f64, any::<bool>(), 0..8_u8).prop_map(|(most, share, whole, direction)| {
            let distance = (most as f64 * share) as i64;
            let distance = if whole { distance / 1000 * 1000 } else { distance };
            if direction == 0 { -distance } else { distance }
        })
    }

    fn operation() -> impl Strategy<Value = Operation> {
        prop_oneof![
            6 => (0..INDEXES, distance()).prop_map(|(index, distance)| Operation::Arm(index, distance)),
            1 => (0..INDEXES).prop_map(Operation::Disarm),
            2 => distance().prop_map(Operation::Advance),
            2 => Just(Operation::Wake),
        ]
    }

    /// A wheel next to a plain list of what it should hold.
    struct Pair {
        start: Moment,
        wheel: TimerWheel,
        /// Microseconds since the start.
        now: u64,
        /// What is armed: the tick it is due at, and the time that was asked for, in microseconds.
        list: BTreeMap<u32, (u64, u64)>,
    }

    impl Pair {
        fn new() -> Pair {
            let (wheel, start) = wheel();
            Pair { start, wheel, now: 0, list: BTreeMap::new() }
        }

        fn apply(&mut self, operation: &Operation) {
            match *operation {
                Operation::Arm(index, distance) => self.arm(index, self.now.saturating_add_signed(distance)),
                Operation::Disarm(index) => {
                    self.wheel.disarm(index);
                    self.list.remove(&index);
                }
                Operation::Advance(distance) => self.expire(self.now.saturating_add_signed(distance)),
                Operation::Wake => {
                    if let Some(wake) = self.wheel.next_wake() {
                        self.expire(wake.since(self.start).as_micros() as u64);
                    }
                }
            }
            self.check_next_wake();
        }

        fn arm(&mut self, index: u32, at: u64) {
            self.wheel.arm(index, self.start + micros(at));
            let tick = if at <= self.now { self.now / 1000 } else { at.div_ceil(1000) };
            let is_earlier = self.list.get(&index).is_none_or(|(armed, _)| tick < *armed);
            if is_earlier {
                self.list.insert(index, (tick, at));
            }
        }

        fn expire(&mut self, at: u64) {
            self.now = self.now.max(at);
            let due = expired(&mut self.wheel, self.start + micros(at));
            for index in &due {
                let (_, asked) = self.list[index];
                assert!(asked <= self.now, "{index} expired early");
            }
            let tick = self.now / 1000;
            let is_due = |(due, _): &(u64, u64)| *due <= tick;
            let expected: Vec<u32> =
                self.list.iter().filter(|(_, entry)| is_due(entry)).map(|(index, _)| *index).collect();
            assert_eq!(due, expected);
            self.list.retain(|_, entry| !is_due(entry));
        }

        fn check_next_wake(&self) {
            let earliest = self.list.values().map(|(tick, _)| *tick).min();
            let wake = self.wheel.next_wake();
            assert_eq!(wake.is_some(), earliest.is_some());
            if let (Some(wake), Some(earliest)) = (wake, earliest) {
                assert!(wake <= self.start + millis(earliest));
                assert!(wake >= self.start + millis(self.now / 1000), "a time that has passed tells nothing");
                if self.list.len() <= FEW {
                    assert_eq!(wake, self.start + millis(earliest), "few entries are not looked at early");
                }
            }
        }

        /// Sleeps from wake to wake until nothing is left; returns how often.
        fn run_dry(&mut self) -> usize {
            let mut steps = 0;
            while self.wheel.next_wake().is_some() {
                self.apply(&Operation::Wake);
                steps += 1;
                assert!(steps < 10_000, "no progress");
            }
            steps
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn the_wheel_does_what_a_plain_list_does(operations in prop::collection::vec(operation(), 1..80)) {
            let mut pair = Pair::new();
            for operation in &operations {
                pair.apply(operation);
            }
            let armed = pair.list.len();
            let steps = pair.run_dry();
            prop_assert!(pair.list.is_empty());
            prop_assert!(steps <= armed * LEVELS, "{steps} wakes for {armed} entries");
        }
    }
}
