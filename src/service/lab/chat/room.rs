//! Rooms, their members, and what waits for each of them.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use slab::Slab;

use crate::base::log_key::LogKey;
use crate::base::wake::LocalWaker;

/// What a frame in a queue costs besides its bytes.
const ENTRY_BYTES: usize = 32;

/// How long a beat is, and how much may be sent to a room within it: in bytes, and in frames put into mailboxes. A mailbox
/// holds several beats, so only slow members miss something.
const BEAT: Duration = Duration::from_millis(1);
const BYTES_PER_BEAT: usize = 32 * 1024;
pub const DELIVERIES_PER_BEAT: usize = 10_000;

/// All rooms that have members.
pub struct Rooms {
    rooms: RefCell<HashMap<Box<str>, Rc<Room>>>,
    rooms_max: usize,
    /// Whose mailbox has overflowed, in any room, since this was last asked.
    overflowed: RefCell<Vec<LogKey>>,
}

/// A room: what one member sends reaches all members.
pub struct Room {
    name: Box<str>,
    members: RefCell<Slab<Rc<Mailbox>>>,
    pace: Cell<Pace>,
}

/// What was sent to a room lately. A sender must leave the other members time to receive it, and the loop time for other
/// connections.
#[derive(Clone, Copy, Default)]
struct Pace {
    /// When the beat began; `None` before the first message.
    began: Option<Instant>,
    bytes: usize,
    deliveries: usize,
    /// The latest turn of the loop in which a member wanted to send or to receive, known by its time.
    turn: Option<Instant>,
    /// How many such turns began after the last message.
    turns: u32,
}

/// A member, and what waits for it.
pub struct Mailbox {
    name: Box<str>,
    /// Its place in the room, as long as it is in it.
    key: Cell<Option<usize>>,
    frames: RefCell<VecDeque<Arc<[u8]>>>,
    bytes: Cell<usize>,
    bytes_max: usize,
    /// It is in no room any more, and does not know it yet.
    overflowed: Cell<bool>,
    client: LogKey,
    waker: LocalWaker,
}

/// A place in a room, given up when it is dropped.
pub struct Membership {
    rooms: Rc<Rooms>,
    room: Rc<Room>,
    mailbox: Rc<Mailbox>,
}

/// A mailbox was full: what came then is lost, and the member is not in the room any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overflowed;

impl Rooms {
    /// No rooms yet, and never more than `rooms_max`.
    pub fn new(rooms_max: usize) -> Rooms {
        Rooms { rooms: RefCell::default(), rooms_max, overflowed: RefCell::default() }
    }

    /// Lets `client` enter the room of this name, which is made if need be, as `member`; `None` if there are too many
    /// rooms. `waker` wakes the member when there is something for it; more than `bytes_max` bytes do not wait for it.
    pub fn enter(
        self: &Rc<Self>,
        name: &str,
        member: Box<str>,
        client: LogKey,
        waker: LocalWaker,
        bytes_max: usize,
    ) -> Option<Membership> {
        let room = self.room(name)?;
        let mailbox = Rc::new(Mailbox::new(member, client, waker, bytes_max));
        mailbox.key.set(Some(room.members.borrow_mut().insert(Rc::clone(&mailbox))));
        Some(Membership { rooms: Rc::clone(self), room, mailbox })
    }

    /// A room that is empty is closed.
    fn close_if_empty(&self, room: &Room) {
        if room.len() == 0 {
            self.rooms.borrow_mut().remove(&room.name);
        }
    }

    fn room(&self, name: &str) -> Option<Rc<Room>> {
        let mut rooms = self.rooms.borrow_mut();
        if let Some(room) = rooms.get(name) {
            return Some(Rc::clone(room));
        }
        let room = (rooms.len() < self.rooms_max).then(|| Rc::new(Room::new(name)))?;
        rooms.insert(name.into(), Rc::clone(&room));
        Some(room)
    }
}

impl Room {
    fn new(name: &str) -> Room {
        Room { name: name.into(), members: RefCell::default(), pace: Cell::default() }
    }

    /// How many are in it.
    pub fn len(&self) -> usize {
        self.members.borrow().len()
    }

    /// Until when no member may send, if enough was sent for now.
    pub fn rests_until(&self, now: Instant) -> Option<Instant> {
        let mut pace = self.pace.get();
        pace.on_turn(now);
        if pace.ends().is_none_or(|end| end <= now) {
            pace.begin(now);
        }
        self.pace.set(pace);
        pace.ends().filter(|_| pace.is_full())
    }

    /// Removes the members whose mailbox has overflowed.
    fn remove_overflowed(&self) -> Vec<Rc<Mailbox>> {
        let mut members = self.members.borrow_mut();
        let overflowed: Vec<_> =
            members.iter().map(|(_, mailbox)| mailbox).filter(|mailbox| mailbox.overflowed.get()).cloned().collect();
        for key in overflowed.iter().filter_map(|mailbox| mailbox.key.take()) {
            members.remove(key);
        }
        overflowed
    }

    fn count(&self, frame: &[u8]) {
        let pace = self.pace.get();
        let (bytes, deliveries) = (pace.bytes + frame.len() + ENTRY_BYTES, pace.deliveries + self.len());
        self.pace.set(Pace { bytes, deliveries, turns: 0, ..pace });
    }
}

/// In the first turn after a message, some members are driven after the sender. In the second turn all have been driven.
const TURNS_TO_HEAR: u32 = 2;

impl Pace {
    fn on_turn(&mut self, now: Instant) {
        if self.turn != Some(now) {
            (self.turn, self.turns) = (Some(now), self.turns.saturating_add(1));
        }
    }

    /// Begins the next beat. If the process had no core for a while, time has passed in which nobody was driven: what was
    /// said still waits in the mailboxes, so that it counts for the next beat, too.
    fn begin(&mut self, now: Instant) {
        self.began = Some(now);
        if self.turns >= TURNS_TO_HEAR {
            (self.bytes, self.deliveries) = (0, 0);
        }
    }

    /// When the beat is over; `None` before the first one.
    fn ends(&self) -> Option<Instant> {
        self.began.map(|began| began + self.lasts())
    }

    /// Whether enough was sent in this beat.
    fn is_full(&self) -> bool {
        self.bytes >= BYTES_PER_BEAT || self.deliveries >= DELIVERIES_PER_BEAT
    }

    /// How long the others need to receive what was sent: a long message fills several beats.
    fn lasts(&self) -> Duration {
        let beats = (self.bytes / BYTES_PER_BEAT).max(self.deliveries / DELIVERIES_PER_BEAT).max(1);
        BEAT * u32::try_from(beats).unwrap_or(u32::MAX)
    }
}

impl Mailbox {
    /// The member's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn new(name: Box<str>, client: LogKey, waker: LocalWaker, bytes_max: usize) -> Mailbox {
        let (frames, bytes, overflowed) = (RefCell::default(), Cell::new(0), Cell::new(false));
        Mailbox { name, key: Cell::new(None), frames, bytes, bytes_max, overflowed, client, waker }
    }

    /// Adds a frame, or overflows. A mailbox that is empty has room for any.
    fn put(&self, frame: &Arc<[u8]>) -> Result<(), Overflowed> {
        self.waker.wake();
        let bytes = self.bytes.get() + frame.len() + ENTRY_BYTES;
        let mut frames = self.frames.borrow_mut();
        if bytes > self.bytes_max && !frames.is_empty() {
            self.overflowed.set(true);
            *frames = VecDeque::new();
            self.bytes.set(0);
            return Err(Overflowed);
        }
        frames.push_back(Arc::clone(frame));
        self.bytes.set(bytes);
        Ok(())
    }

    fn take(&self) -> Option<Arc<[u8]>> {
        let mut frames = self.frames.borrow_mut();
        let frame = frames.pop_front()?;
        self.bytes.set(self.bytes.get() - frame.len() - ENTRY_BYTES);
        if frames.is_empty() {
            // Idle members hold no memory.
            *frames = VecDeque::new();
        }
        Some(frame)
    }
}

impl Membership {
    /// The room it is in.
    pub fn room(&self) -> &Room {
        &self.room
    }

    /// The member's name.
    pub fn name(&self) -> &str {
        &self.mailbox.name
    }

    /// Puts a frame into every mailbox of the room. Returns the members that were removed because their mailbox overflowed.
    pub fn tell_all(&self, frame: &Arc<[u8]>) -> Vec<Rc<Mailbox>> {
        self.room.count(frame);
        let members = self.room.members.borrow();
        let overflows = members.iter().filter(|(_, mailbox)| mailbox.put(frame).is_err()).count();
        drop(members);
        if overflows == 0 {
            return Vec::new();
        }
        let lost = self.room.remove_overflowed();
        self.rooms.overflowed.borrow_mut().extend(lost.iter().map(|mailbox| mailbox.client));
        self.rooms.close_if_empty(&self.room);
        lost
    }

    /// How much waits for this member, in bytes.
    pub fn waiting_bytes(&self) -> usize {
        self.mailbox.bytes.get()
    }

    /// Whether it is in the room no more, because it did not keep up.
    pub fn is_lost(&self) -> bool {
        self.mailbox.overflowed.get()
    }

    /// Whose mailbox has overflowed since this was last asked. Such a member may learn it late, because it does not read.
    pub fn overflowed(&self) -> Vec<LogKey> {
        self.rooms.overflowed.take()
    }

    /// The next frame for this member.
    pub fn take(&self) -> Result<Option<Arc<[u8]>>, Overflowed> {
        if self.is_lost() { Err(Overflowed) } else { Ok(self.mailbox.take()) }
    }

    /// Leaves the room, which is closed when it is empty. Says whether it was still in it.
    pub fn leave(&self) -> bool {
        let key = self.mailbox.key.take();
        if let Some(key) = key {
            self.room.members.borrow_mut().remove(key);
            self.rooms.close_if_empty(&self.room);
        }
        key.is_some()
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::log_key::RequestKey;
    use crate::base::peer::{Client, Peer};
    use crate::base::slots::Token;
    use crate::base::wake::{Interrupt, WakeKey, Wakes};

    const LOG_KEY: LogKey = LogKey {
        client: Client { peer: Peer::Unix, named: None },
        connection: 1,
        request: Some(RequestKey::Ordinal(1)),
    };

    struct Asleep;

    impl Interrupt for Asleep {
        fn wake(&self) {}
    }

    fn enter(rooms: &Rc<Rooms>, wakes: &Wakes, room: &str, bytes_max: usize) -> Option<Membership> {
        let key = WakeKey { token: Token { index: 0, generation: 0 }, stream: 0 };
        rooms.enter(room, "x".into(), LOG_KEY, wakes.local_waker(key), bytes_max)
    }

    fn frame(len: usize) -> Arc<[u8]> {
        vec![7; len].into()
    }

    fn scene(rooms_max: usize) -> (Rc<Rooms>, Wakes) {
        (Rc::new(Rooms::new(rooms_max)), Wakes::new(Asleep))
    }

    #[test]
    fn a_room_is_there_as_long_as_somebody_is_in_it() {
        let (rooms, wakes) = scene(1);
        let first = enter(&rooms, &wakes, "a", 100).unwrap();
        let second = enter(&rooms, &wakes, "a", 100).unwrap();
        assert_eq!(first.room().len(), 2);
        assert!(enter(&rooms, &wakes, "b", 100).is_none(), "there may be one");
        drop(first);
        assert_eq!(second.room().len(), 1);
        assert!(enter(&rooms, &wakes, "b", 100).is_none());
        drop(second);
        assert!(enter(&rooms, &wakes, "b", 100).is_some());
    }

    #[test]
    fn whoever_has_left_hears_nothing_and_leaves_once() {
        let (rooms, wakes) = scene(1);
        let gone = enter(&rooms, &wakes, "a", 100).unwrap();
        let stays = enter(&rooms, &wakes, "a", 100).unwrap();
        assert!(gone.leave());
        assert!(!gone.leave());
        gone.tell_all(&frame(3));
        assert_eq!(stays.take(), Ok(Some(frame(3))));
        assert_eq!((stays.room().len(), gone.take()), (1, Ok(None)));
    }

    #[test]
    fn what_is_told_is_shared_and_wakes() {
        let (rooms, wakes) = scene(1);
        let members: Vec<Membership> = (0..3).map(|_| enter(&rooms, &wakes, "a", 100).unwrap()).collect();
        let told = frame(3);
        members[0].tell_all(&told);
        assert_eq!(Arc::strong_count(&told), 4);
        assert!(wakes.is_anybody_ready());
        for member in &members {
            assert!(member.take().unwrap().is_some_and(|heard| Arc::ptr_eq(&heard, &told)));
            assert_eq!(member.take(), Ok(None));
        }
    }

    #[test]
    fn a_mailbox_overflows_by_its_bytes_and_alone() {
        let (rooms, wakes) = scene(1);
        let each = 68 + ENTRY_BYTES;
        let slow = enter(&rooms, &wakes, "a", 3 * each).unwrap();
        let fast = enter(&rooms, &wakes, "a", 3 * each).unwrap();
        for _ in 0..3 {
            slow.tell_all(&frame(68));
            assert_eq!(fast.take(), Ok(Some(frame(68))));
        }
        assert_eq!(slow.overflowed(), [], "full, and no more than that");
        for _ in 0..2 {
            slow.tell_all(&frame(1));
            assert_eq!(fast.take(), Ok(Some(frame(1))));
        }
        assert_eq!(slow.take(), Err(Overflowed));
        assert_eq!(fast.take(), Ok(None));
        assert_eq!(fast.overflowed(), [LOG_KEY], "once");
        assert_eq!(slow.overflowed(), []);
    }

    #[test]
    fn whoever_has_overflowed_is_not_in_the_room_any_more_and_nobody_leaves_in_its_place() {
        let (rooms, wakes) = scene(1);
        let slow = enter(&rooms, &wakes, "a", 50).unwrap();
        let fast = enter(&rooms, &wakes, "a", 1000).unwrap();
        assert_eq!(fast.tell_all(&frame(10)).len(), 0);
        let lost = fast.tell_all(&frame(10));
        assert_eq!((lost.len(), fast.room().len(), slow.is_lost()), (1, 1, true));
        // Somebody else gets its place.
        let late = enter(&rooms, &wakes, "a", 1000).unwrap();
        assert!(!slow.leave());
        drop(slow);
        assert_eq!(late.room().len(), 2);
        fast.tell_all(&frame(5));
        assert_eq!(late.take(), Ok(Some(frame(5))));
    }

    #[test]
    fn a_room_whose_last_member_overflows_is_closed() {
        let (rooms, wakes) = scene(1);
        let slow = enter(&rooms, &wakes, "a", 50).unwrap();
        (0..2).for_each(|_| drop(slow.tell_all(&frame(10))));
        let other = enter(&rooms, &wakes, "b", 50).unwrap();
        drop(slow);
        assert_eq!(other.room().len(), 1);
    }

    #[test]
    fn what_was_taken_makes_room() {
        let (rooms, wakes) = scene(1);
        let member = enter(&rooms, &wakes, "a", 2 * (10 + ENTRY_BYTES)).unwrap();
        for _ in 0..100 {
            member.tell_all(&frame(10));
            member.tell_all(&frame(10));
            assert_eq!(member.take(), Ok(Some(frame(10))));
            assert_eq!(member.take(), Ok(Some(frame(10))));
        }
        assert_eq!(member.overflowed(), []);
    }

    #[test]
    fn a_room_rests_for_as_many_beats_as_were_said() {
        let (rooms, wakes) = scene(1);
        let member = enter(&rooms, &wakes, "a", 1 << 20).unwrap();
        let start = Instant::now();
        for (said, beats) in [(BYTES_PER_BEAT - ENTRY_BYTES, 1), (6 * BYTES_PER_BEAT, 6)] {
            let now = start + 10 * beats * BEAT;
            assert_eq!(member.room().rests_until(now), None);
            member.tell_all(&frame(said));
            let end = now + beats * BEAT;
            assert_eq!(member.room().rests_until(end - Duration::from_nanos(1)), Some(end));
            assert_eq!(member.room().rests_until(end), None);
        }
    }

    #[test]
    fn a_room_rests_until_its_members_have_been_driven_however_late_that_is() {
        let (rooms, wakes) = scene(1);
        let member = enter(&rooms, &wakes, "a", 1 << 20).unwrap();
        let told = Instant::now();
        assert_eq!(member.room().rests_until(told), None);
        member.tell_all(&frame(BYTES_PER_BEAT));
        assert_eq!(member.room().rests_until(told), Some(told + BEAT));
        let first = told + 10 * BEAT;
        assert_eq!(member.room().rests_until(first), Some(first + BEAT));
        assert_eq!(member.room().rests_until(first), Some(first + BEAT), "the same turn");
        let second = first + 10 * BEAT;
        assert_eq!(member.room().rests_until(second), None);
    }

    #[test]
    fn an_empty_mailbox_has_room_for_any_frame() {
        let (rooms, wakes) = scene(1);
        let member = enter(&rooms, &wakes, "a", 10).unwrap();
        member.tell_all(&frame(1000));
        assert_eq!(member.take(), Ok(Some(frame(1000))));
        member.tell_all(&frame(1000));
        member.tell_all(&frame(1));
        assert_eq!(member.take(), Err(Overflowed));
    }
}
