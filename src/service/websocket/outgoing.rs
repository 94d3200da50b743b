//! Frames on their way out.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::base::ring::Room;
use crate::protocol::ws::Kind;
use crate::protocol::ws::close::CloseCode;
use crate::protocol::ws::deflate::Agreement;
use crate::protocol::ws::sender::{self, Sender};

/// A queue that keeps its memory for so many entries when it is empty.
const ENTRIES_KEPT: usize = 8;

/// The sending half of a WebSocket: frames that wait for room, in order. The callers bound its length.
pub struct Outgoing {
    sender: Sender,
    queue: VecDeque<Frames>,
    /// How much of the first entry is out, in bytes.
    sent: usize,
    /// How much of all entries is not, in bytes.
    len: usize,
}

/// Whole frames.
enum Frames {
    /// Of this WebSocket.
    Own(Vec<u8>),
    /// Of many WebSockets.
    Shared(Arc<[u8]>),
}

impl Frames {
    fn bytes(&self) -> &[u8] {
        match self {
            Frames::Own(bytes) => bytes,
            Frames::Shared(bytes) => bytes,
        }
    }
}

impl Outgoing {
    /// Nothing yet.
    pub(super) fn new(deflate: Option<Agreement>) -> Outgoing {
        Outgoing { sender: Sender::new(deflate), queue: VecDeque::new(), sent: 0, len: 0 }
    }

    /// Adds the next part of a message; `end`: the last one. All parts of a message are of one kind.
    pub fn part(&mut self, kind: Kind, content: &[u8], end: bool) {
        self.append(|sender, out| sender.put_piece(out, kind, content, end));
    }

    /// Adds a frame that others send as well: a whole message, made by `protocol::ws::sender::frame`.
    pub fn shared(&mut self, frame: Arc<[u8]>) {
        debug_assert!(!self.sender.in_message(), "a message inside another one");
        self.len += frame.len();
        self.queue.push_back(Frames::Shared(frame));
    }

    pub(super) fn ping(&mut self) {
        self.append(|_, out| sender::put_ping(out));
    }

    pub(super) fn pong(&mut self, payload: &[u8]) {
        self.append(|_, out| sender::put_pong(out, payload));
    }

    pub(super) fn close(&mut self, code: Option<CloseCode>, reason: &str) {
        self.append(|_, out| sender::put_close(out, code, reason));
    }

    fn append(&mut self, put: impl FnOnce(&mut Sender, &mut Vec<u8>)) {
        // What is being sent is not appended to: it would never be freed while its end keeps moving away.
        let is_being_sent = self.queue.len() == 1 && self.sent > 0;
        if is_being_sent || !matches!(self.queue.back(), Some(Frames::Own(_))) {
            self.queue.push_back(Frames::Own(Vec::new()));
        }
        let Some(Frames::Own(out)) = self.queue.back_mut() else { return };
        let before = out.len();
        put(&mut self.sender, out);
        self.len += out.len() - before;
    }

    /// How much waits, in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Memory for what waits and for compression, in bytes, roughly.
    pub fn memory_bytes(&self) -> usize {
        self.len + self.sender.memory_bytes()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Moves as much as there is room for.
    pub(super) fn flow(&mut self, room: &mut Room<'_>) {
        while let Some(frames) = self.queue.front() {
            let left = &frames.bytes()[self.sent..];
            let moved = room.put(left);
            self.len -= moved;
            self.sent += moved;
            if moved < left.len() {
                return;
            }
            self.queue.pop_front();
            self.sent = 0;
        }
        self.queue.shrink_to(ENTRIES_KEPT);
    }
}
