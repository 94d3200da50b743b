//! Rooms, their members, and what waits for each of them.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use slab::Slab;

use crate::base::notice::Notifier;
use crate::base::peer::Peer;

/// What a frame in a queue costs besides its bytes.
const ENTRY_BYTES: usize = 32;

/// All rooms that have members.
pub struct Rooms {
    rooms: RefCell<HashMap<Box<str>, Rc<Room>>>,
    rooms_max: usize,
    /// Whose mailbox overflowed, as long as nobody has asked.
    overflowed: RefCell<Vec<Peer>>,
}

/// A room: whatever is said in it reaches all its members.
pub struct Room {
    name: Box<str>,
    members: RefCell<Slab<Rc<Mailbox>>>,
}

/// What waits for one member.
pub struct Mailbox {
    frames: RefCell<VecDeque<Arc<[u8]>>>,
    bytes: Cell<usize>,
    bytes_max: usize,
    overflowed: Cell<bool>,
    peer: Peer,
    notifier: Notifier,
}

/// A place in a room, given up when it is dropped.
pub struct Membership {
    rooms: Rc<Rooms>,
    room: Rc<Room>,
    /// Until it has left.
    key: Option<usize>,
    mailbox: Rc<Mailbox>,
}

/// A mailbox was full: what came then is lost, and so is the member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overflowed;

impl Rooms {
    /// None yet, and never more than `rooms_max`.
    pub fn new(rooms_max: usize) -> Rooms {
        Rooms { rooms: RefCell::default(), rooms_max, overflowed: RefCell::default() }
    }

    /// Lets `peer` enter the room of this name, which is made if need be; `None` if there are too many rooms. `notifier`
    /// wakes the member when there is something for it; more than `bytes_max` bytes do not wait for it.
    pub fn enter(self: &Rc<Self>, name: &str, peer: Peer, notifier: Notifier, bytes_max: usize) -> Option<Membership> {
        let room = self.room(name)?;
        let mailbox = Rc::new(Mailbox::new(peer, notifier, bytes_max));
        let key = room.members.borrow_mut().insert(Rc::clone(&mailbox));
        Some(Membership { rooms: Rc::clone(self), room, key: Some(key), mailbox })
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
        Room { name: name.into(), members: RefCell::default() }
    }

    /// How many are in it.
    pub fn len(&self) -> usize {
        self.members.borrow().len()
    }
}

impl Mailbox {
    fn new(peer: Peer, notifier: Notifier, bytes_max: usize) -> Mailbox {
        let (frames, bytes, overflowed) = (RefCell::default(), Cell::new(0), Cell::new(false));
        Mailbox { frames, bytes, bytes_max, overflowed, peer, notifier }
    }

    /// Adds a frame, or overflows, but only once. A mailbox that is empty has room for any.
    fn put(&self, frame: &Arc<[u8]>) -> Result<(), Overflowed> {
        if self.overflowed.get() {
            return Ok(());
        }
        self.notifier.notify();
        let bytes = self.bytes.get() + frame.len() + ENTRY_BYTES;
        let mut frames = self.frames.borrow_mut();
        if bytes > self.bytes_max && !frames.is_empty() {
            self.overflowed.set(true);
            *frames = VecDeque::new();
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

    /// Puts a frame into every mailbox of the room.
    pub fn tell_all(&self, frame: &Arc<[u8]>) {
        for (_, mailbox) in self.room.members.borrow().iter() {
            if mailbox.put(frame).is_err() {
                self.rooms.overflowed.borrow_mut().push(mailbox.peer);
            }
        }
    }

    /// Whose mailbox has overflowed since somebody last asked. They may not know it for long: whoever does not read has
    /// no room to be told anything.
    pub fn overflowed(&self) -> Vec<Peer> {
        self.rooms.overflowed.take()
    }

    /// The next frame for this member.
    pub fn take(&self) -> Result<Option<Arc<[u8]>>, Overflowed> {
        if self.mailbox.overflowed.get() { Err(Overflowed) } else { Ok(self.mailbox.take()) }
    }

    /// Leaves the room, which is closed when it is empty.
    pub fn leave(&mut self) {
        if let Some(key) = self.key.take() {
            self.room.members.borrow_mut().remove(key);
            if self.room.len() == 0 {
                self.rooms.rooms.borrow_mut().remove(&self.room.name);
            }
        }
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.leave();
    }
}
