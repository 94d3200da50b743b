//! Who sends next (RFC 9218): the Priority field, PRIORITY_UPDATE, and the order of streams that have something to send.

use std::cmp::Ordering;
use std::collections::VecDeque;

use super::dictionary::{self, Item};

/// A stream with others of the same urgency sends so many bytes until it is another's turn.
pub const TURN_BYTES: u32 = WHOLE_TURN as u32;
/// The same, as it is kept.
const WHOLE_TURN: u16 = 16 * 1024;
/// Memory for so many streams is kept when none is ready.
const KEPT_MAX: usize = 4;
/// Beyond that there is memory for so many more at a time.
const GROWTH: usize = 16;

/// How urgent a response is (RFC 9218 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Priority {
    /// 0 is the most urgent, 7 the least.
    pub urgency: u8,
    /// It is of use in parts: it shares with others of the same urgency.
    pub is_incremental: bool,
}

impl Default for Priority {
    fn default() -> Priority {
        Priority { urgency: 3, is_incremental: false }
    }
}

impl Priority {
    /// The priority in a Priority field or a PRIORITY_UPDATE frame. A value that is no dictionary is ignored as a whole, a
    /// parameter that is out of its range or of another type alone (RFC 9218 §4).
    pub fn from_field(value: &[u8]) -> Priority {
        Priority::from_fields([value])
    }

    /// The same for a field of several lines, which are one dictionary: the last value of a key counts (RFC 8941 §4.2).
    pub fn from_fields<'a>(lines: impl IntoIterator<Item = &'a [u8]>) -> Priority {
        let mut priority = Priority::default();
        let read = |value| {
            dictionary::read(value, |key, item| match (key, item) {
                (b"u", Item::Integer(urgency @ 0..=7)) => priority.urgency = urgency as u8,
                (b"u", _) => priority.urgency = Priority::default().urgency,
                (b"i", Item::Boolean(is_incremental)) => priority.is_incremental = is_incremental,
                (b"i", _) => priority.is_incremental = false,
                _ => {}
            })
        };
        if lines.into_iter().all(read) { priority } else { Priority::default() }
    }
}

/// The streams that have something to send and a window for it, in the order of their turns. Others are not in it and
/// cost nothing.
///
/// A more urgent stream comes before all others. Within an urgency, streams that are of use only as a whole come first,
/// the oldest of them alone until it is done (RFC 9218 §10); then the incremental ones in turn.
#[derive(Debug, Default)]
pub struct Priorities {
    /// In the order of their turns.
    ready: VecDeque<Ready>,
    turns: u64,
}

#[derive(Debug, Clone, Copy)]
struct Ready {
    stream: u32,
    priority: Priority,
    /// When its turn began or will come, among the incremental ones.
    turn: u64,
    /// What is left of its turn, in bytes.
    left: u16,
}

impl Ready {
    fn order(&self, other: &Ready) -> Ordering {
        let key = |ready: &Ready| (ready.priority.urgency, ready.priority.is_incremental, ready.turn, ready.stream);
        key(self).cmp(&key(other))
    }
}

/// Who sends now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// The stream.
    pub stream: u32,
    /// How many bytes it may send before the next one is asked for.
    pub bytes: u32,
}

impl Priorities {
    /// The stream has something to send and a window for it. It comes behind those of its kind that are there already, if
    /// they take turns.
    pub fn insert(&mut self, stream: u32, priority: Priority) {
        if self.contains(stream) {
            return;
        }
        let turn = if priority.is_incremental { self.next_turn() } else { 0 };
        self.place(Ready { stream, priority, turn, left: WHOLE_TURN });
    }

    /// The stream has nothing to send, or no window.
    pub fn remove(&mut self, stream: u32) {
        if let Some(at) = self.position(stream) {
            self.ready.remove(at);
        }
        if self.ready.is_empty() && self.ready.capacity() > KEPT_MAX {
            self.ready = VecDeque::new();
        }
    }

    /// The stream has another priority from now on.
    pub fn change(&mut self, stream: u32, priority: Priority) {
        if let Some(at) = self.position(stream)
            && self.ready[at].priority != priority
        {
            self.ready.remove(at);
            self.insert(stream, priority);
        }
    }

    /// Whose turn it is.
    pub fn next(&self) -> Option<Turn> {
        self.ready.front().map(|ready| Turn { stream: ready.stream, bytes: ready.left.into() })
    }

    /// The stream has sent so many bytes. If that was its turn, the next one follows.
    pub fn sent(&mut self, stream: u32, bytes: u32) {
        let Some(at) = self.position(stream) else { return };
        let ready = &mut self.ready[at];
        ready.left = ready.left.saturating_sub(u16::try_from(bytes).unwrap_or(u16::MAX));
        if ready.left > 0 {
            return;
        }
        ready.left = WHOLE_TURN;
        if ready.priority.is_incremental
            && let Some(mut ready) = self.ready.remove(at)
        {
            ready.turn = self.next_turn();
            self.place(ready);
        }
    }

    /// How many bytes are left of the stream's turn; a whole turn if it is not among them.
    pub fn left(&self, stream: u32) -> u32 {
        self.position(stream).map_or(TURN_BYTES, |at| self.ready[at].left.into())
    }

    /// Whether the stream is among them.
    pub fn contains(&self, stream: u32) -> bool {
        self.position(stream).is_some()
    }

    /// The streams in the order of their turns.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        self.ready.iter().map(|ready| ready.stream)
    }

    fn place(&mut self, ready: Ready) {
        let at = self.ready.partition_point(|other| other.order(&ready) == Ordering::Less);
        if self.ready.len() == self.ready.capacity() {
            // As with the streams: doubling would waste memory.
            self.ready.reserve_exact(if self.ready.is_empty() { KEPT_MAX } else { GROWTH });
        }
        self.ready.insert(at, ready);
    }

    fn position(&self, stream: u32) -> Option<usize> {
        self.ready.iter().position(|ready| ready.stream == stream)
    }

    fn next_turn(&mut self) -> u64 {
        self.turns += 1;
        self.turns
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn priority(urgency: u8, is_incremental: bool) -> Priority {
        Priority { urgency, is_incremental }
    }

    /// RFC 8941 §4.2.
    #[test]
    fn the_lines_of_a_field_are_one_dictionary() {
        let of = |lines: &[&'static str]| {
            let priority = Priority::from_fields(lines.iter().map(|line| line.as_bytes()));
            (priority.urgency, priority.is_incremental)
        };
        assert_eq!(of(&["u=5", "u=1"]), (1, false));
        assert_eq!(of(&["i", "u=7"]), (7, true));
        assert_eq!(of(&["u=5, i", "", "i=?0"]), (5, false));
        assert_eq!(of(&["u=5", "u=("]), (3, false), "it is no dictionary");
        assert_eq!(of(&[]), (3, false));
    }

    #[test]
    fn fields_say_urgency_and_whether_parts_are_of_use() {
        let cases: [(&str, Priority); 18] = [
            ("", priority(3, false)),
            ("u=0", priority(0, false)),
            ("u=7, i", priority(7, true)),
            ("i,u=1", priority(1, true)),
            ("i=?1", priority(3, true)),
            ("i=?0", priority(3, false)),
            ("u=5;x=1;y, i;q", priority(5, true)),
            ("u=1,u=2", priority(2, false)),
            ("u=1, u=9", priority(3, false)),
            ("u=8, i", priority(3, true)),
            ("u=-1", priority(3, false)),
            ("u=1.5, i", priority(3, true)),
            ("u=\"1\", i", priority(3, true)),
            ("u, i=2", priority(3, false)),
            ("u=(1 2), i, other=\"a, b\", t=tok/en:*, b=:aGk=:", priority(3, true)),
            ("u=1, i,", priority(3, false)),
            ("u=1 i", priority(3, false)),
            ("U=1", priority(3, false)),
        ];
        for (value, expected) in cases {
            assert_eq!(Priority::from_field(value.as_bytes()), expected, "{value:?}");
        }
    }

    #[test]
    fn urgent_before_others_and_sequential_before_incremental() {
        let mut priorities = Priorities::default();
        for (stream, urgency, is_incremental) in
            [(1, 5, false), (3, 3, true), (5, 3, false), (7, 0, true), (9, 3, true)]
        {
            priorities.insert(stream, priority(urgency, is_incremental));
        }
        assert_eq!(priorities.iter().collect::<Vec<_>>(), [7, 5, 3, 9, 1]);
        priorities.sent(7, TURN_BYTES);
        assert_eq!(priorities.next(), Some(Turn { stream: 7, bytes: TURN_BYTES }), "it is alone in its urgency");
        priorities.remove(7);
        priorities.sent(5, TURN_BYTES);
        assert_eq!(priorities.next().map(|turn| turn.stream), Some(5), "sequential streams do not take turns");
        priorities.remove(5);
        priorities.sent(3, TURN_BYTES - 1);
        assert_eq!(priorities.next(), Some(Turn { stream: 3, bytes: 1 }));
        priorities.sent(3, 1);
        assert_eq!(priorities.next().map(|turn| turn.stream), Some(9));
        priorities.change(1, priority(0, false));
        assert_eq!(priorities.next().map(|turn| turn.stream), Some(1));
        priorities.change(2, priority(0, false));
        assert!(!priorities.contains(2), "a stream without content stays out");
    }

    /// RFC 9218 §10 said with a list that is searched anew each time.
    #[derive(Default)]
    struct Naive {
        streams: Vec<(u32, Priority, u32)>,
    }

    impl Naive {
        fn next(&self) -> Option<Turn> {
            let rank = |at: &usize| {
                let (stream, priority, _) = self.streams[*at];
                (priority.urgency, priority.is_incremental, if priority.is_incremental { *at as u32 } else { stream })
            };
            let at = (0..self.streams.len()).min_by_key(rank)?;
            Some(Turn { stream: self.streams[at].0, bytes: self.streams[at].2 })
        }

        fn take(&mut self, stream: u32) -> Option<(u32, Priority, u32)> {
            let at = self.streams.iter().position(|(other, ..)| *other == stream)?;
            Some(self.streams.remove(at))
        }

        fn sent(&mut self, stream: u32, bytes: u32) {
            let Some(entry) = self.streams.iter_mut().find(|(other, ..)| *other == stream) else { return };
            entry.2 = entry.2.saturating_sub(bytes);
            if entry.2 == 0 {
                let (stream, priority, _) = self.take(stream).expect("it was found");
                self.streams.push((stream, priority, TURN_BYTES));
            }
        }
    }

    #[derive(Debug, Clone)]
    enum Happening {
        Insert(u32, Priority),
        Remove(u32),
        Change(u32, Priority),
        Sent(u32),
    }

    fn happening() -> impl Strategy<Value = Happening> {
        let stream = || 0..12_u32;
        let any_priority = || (0..4_u8, any::<bool>()).prop_map(|(urgency, parts)| priority(urgency, parts));
        prop_oneof![
            4 => (stream(), any_priority()).prop_map(|(stream, priority)| Happening::Insert(stream, priority)),
            1 => stream().prop_map(Happening::Remove),
            1 => (stream(), any_priority()).prop_map(|(stream, priority)| Happening::Change(stream, priority)),
            6 => (1..TURN_BYTES).prop_map(Happening::Sent),
        ]
    }

    proptest! {
        #[test]
        fn the_order_is_that_of_a_naive_list(happenings in prop::collection::vec(happening(), 0..80)) {
            let (mut priorities, mut naive) = (Priorities::default(), Naive::default());
            for happening in happenings {
                match happening {
                    Happening::Insert(stream, priority) => {
                        priorities.insert(stream, priority);
                        if !naive.streams.iter().any(|(other, ..)| *other == stream) {
                            naive.streams.push((stream, priority, TURN_BYTES));
                        }
                    }
                    Happening::Remove(stream) => {
                        priorities.remove(stream);
                        naive.take(stream);
                    }
                    Happening::Change(stream, priority) => {
                        priorities.change(stream, priority);
                        let is_other = naive.streams.iter().any(|(id, old, _)| *id == stream && *old != priority);
                        if is_other {
                            naive.take(stream);
                            naive.streams.push((stream, priority, TURN_BYTES));
                        }
                    }
                    Happening::Sent(bytes) => {
                        if let Some(turn) = priorities.next() {
                            let bytes = bytes.min(turn.bytes);
                            priorities.sent(turn.stream, bytes);
                            naive.sent(turn.stream, bytes);
                        }
                    }
                }
                prop_assert_eq!(priorities.next(), naive.next());
            }
        }

        #[test]
        fn no_field_value_is_too_strange(value in prop::collection::vec(any::<u8>(), 0..40)) {
            prop_assert!(Priority::from_field(&value).urgency <= 7);
        }
    }
}
