//! The streams of a connection: those that live, and what is remembered of those that do not.

use std::collections::VecDeque;

use super::head::ResponseContent;
use super::priority::Priority;
use super::stream_state::{Ending, State};
use super::windows::{ReceiveWindow, SendWindow};

/// Of so many closed streams it is remembered how they were closed, or of as many as may live at a time if that is more:
/// what a client has sent before it knew does no harm.
const CLOSED_MIN: usize = 128;

/// Memory for so many streams is kept when none lives.
const KEPT_MAX: usize = 4;
/// Beyond that there is memory for so many more at a time.
const GROWTH: usize = 16;

/// A stream that lives.
#[derive(Debug)]
pub struct Stream {
    /// Its identifier.
    pub id: u32,
    /// Open or half-closed.
    pub state: State,
    /// How much we may send.
    pub send: SendWindow,
    /// How much the client may send.
    pub receive: ReceiveWindow,
    /// How urgent its response is.
    pub priority: Priority,
    /// How much content is still to come, if that was announced.
    pub content_left: Option<u64>,
    /// What was charged for small DATA that is not consumed.
    pub small_data: u32,
    /// Where the response stands.
    pub output: Output,
    /// Whether there is content to send, as far as the response's source knows.
    pub has_content: bool,
    /// The response has no content.
    pub is_head: bool,
    /// It is a tunnel (RFC 8441).
    pub is_tunnel: bool,
    /// The client waits for 100 Continue.
    pub expects_continue: bool,
}

/// Where a response stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// Its head has not been sent.
    Idle,
    /// This is to follow.
    Content(ResponseContent),
    /// It is complete.
    Done,
}

/// All streams of a connection.
#[derive(Debug)]
pub struct Streams {
    /// In the order of their identifiers.
    live: Vec<Stream>,
    /// The last ones that were closed.
    closed: VecDeque<(u32, Ending)>,
    closed_max: usize,
    /// The highest identifier that the client has used.
    highest: u32,
}

impl Streams {
    /// Of a connection on which so many may live at a time.
    pub fn new(streams_max: u32) -> Streams {
        let closed_max = CLOSED_MIN.max(streams_max as usize);
        Streams { live: Vec::new(), closed: VecDeque::new(), closed_max, highest: 0 }
    }

    /// The state of any stream of the client.
    pub fn state(&self, id: u32) -> State {
        if let Some(stream) = self.get(id) {
            return stream.state;
        }
        if id > self.highest {
            return State::Idle;
        }
        let ending = self.closed.iter().rev().find(|(closed, _)| *closed == id).map(|(_, ending)| *ending);
        State::Closed(ending.unwrap_or(Ending::Forgotten))
    }

    /// A stream that lives.
    pub fn get(&self, id: u32) -> Option<&Stream> {
        self.position(id).map(|at| &self.live[at])
    }

    /// A stream that lives.
    pub fn get_mut(&mut self, id: u32) -> Option<&mut Stream> {
        self.position(id).map(|at| &mut self.live[at])
    }

    /// A stream begins. Its identifier is higher than all before.
    pub fn open(&mut self, stream: Stream) {
        debug_assert!(stream.id > self.highest, "identifiers rise");
        self.highest = stream.id;
        if self.live.len() == self.live.capacity() {
            // Doubling would waste up to half of the memory of a client that has as many as it may.
            self.live.reserve_exact(if self.live.is_empty() { KEPT_MAX } else { GROWTH });
        }
        self.live.push(stream);
    }

    /// A stream that never lived is closed.
    pub fn skip(&mut self, id: u32, ending: Ending) {
        self.highest = self.highest.max(id);
        self.remember(id, ending);
    }

    /// A stream does not live any longer.
    pub fn close(&mut self, id: u32, ending: Ending) -> Option<Stream> {
        let stream = self.live.remove(self.position(id)?);
        if self.live.is_empty() && self.live.capacity() > KEPT_MAX {
            // An idle connection owns no memory for many streams.
            self.live = Vec::new();
        }
        self.remember(id, ending);
        Some(stream)
    }

    /// The streams that live.
    pub fn iter(&self) -> impl Iterator<Item = &Stream> {
        self.live.iter()
    }

    /// The streams that live.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Stream> {
        self.live.iter_mut()
    }

    /// How many streams live.
    pub fn len(&self) -> usize {
        self.live.len()
    }

    /// Whether none lives.
    pub fn is_empty(&self) -> bool {
        self.live.is_empty()
    }

    /// The highest identifier that the client has used; 0 if none.
    pub fn highest(&self) -> u32 {
        self.highest
    }

    fn position(&self, id: u32) -> Option<usize> {
        self.live.binary_search_by_key(&id, |stream| stream.id).ok()
    }

    fn remember(&mut self, id: u32, ending: Ending) {
        if self.closed.len() == self.closed_max {
            self.closed.pop_front();
        }
        self.closed.push_back((id, ending));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_closed_is_remembered_for_a_while() {
        let mut streams = Streams::new(100);
        assert_eq!(streams.state(1), State::Idle);
        streams.skip(5, Ending::ResetByUs);
        assert_eq!(streams.state(3), State::Closed(Ending::Forgotten));
        assert_eq!(streams.state(5), State::Closed(Ending::ResetByUs));
        assert_eq!((streams.state(7), streams.highest()), (State::Idle, 5));
        for id in (7..).step_by(2).take(CLOSED_MIN) {
            streams.skip(id, Ending::Ended);
        }
        assert_eq!(streams.state(5), State::Closed(Ending::Forgotten));
        assert_eq!(streams.state(7), State::Closed(Ending::Ended));
    }

    #[test]
    fn as_many_are_remembered_as_may_live() {
        let mut streams = Streams::new(300);
        for id in (1..).step_by(2).take(300) {
            streams.skip(id, Ending::ResetByUs);
        }
        assert_eq!(streams.state(1), State::Closed(Ending::ResetByUs));
        streams.skip(601, Ending::ResetByUs);
        assert_eq!(streams.state(1), State::Closed(Ending::Forgotten));
    }
}
