//! The access log as the loop keeps it: a line for each request that is over, handed on once a turn.

use crate::observe::access_log::{Formatter, Line};

/// Lines that are handed on before the turn is over, in bytes: a turn can end more requests than are worth holding.
const TURN_BYTES_MAX: usize = 256 * 1024;

/// Where the lines of the access log go. Nothing here may block: what cannot be kept is dropped and counted.
pub trait Lines {
    /// Takes whole lines and leaves an empty buffer, perhaps another one.
    fn take(&mut self, lines: &mut Vec<u8>);

    /// Begins anew where the log is now to be found: lines taken from here on go there.
    fn reopen(&mut self);

    /// Waits a moment for lines that are on their way. None are taken after that.
    fn end(&mut self) {}

    /// How many lines were dropped so far.
    fn dropped(&self) -> u64;
}

/// The access log of one event loop.
pub struct AccessLog {
    formatter: Formatter,
    lines: Vec<u8>,
    sink: Box<dyn Lines>,
}

impl AccessLog {
    /// A log that goes to `sink`.
    pub fn new(formatter: Formatter, sink: Box<dyn Lines>) -> AccessLog {
        AccessLog { formatter, lines: Vec::new(), sink }
    }

    /// Whether `Referer` and `User-Agent` are written.
    pub(super) fn writes_fields(&self) -> bool {
        self.formatter.writes_fields()
    }

    /// Adds the line of a request that is over.
    pub(super) fn add(&mut self, line: &Line<'_>) {
        self.formatter.write(line, &mut self.lines);
        if self.lines.len() >= TURN_BYTES_MAX {
            self.sink.take(&mut self.lines);
        }
    }

    /// Hands on the lines of this turn, if there are any.
    pub(super) fn end_turn(&mut self) -> bool {
        let any = !self.lines.is_empty();
        if any {
            self.sink.take(&mut self.lines);
        }
        any
    }

    /// What was noted before goes to the old place, what comes after to the new one.
    pub(super) fn reopen(&mut self) {
        self.end_turn();
        self.sink.reopen();
    }

    /// Ends the log, after which the number of lines that were dropped is final.
    pub(super) fn end(&mut self) {
        self.end_turn();
        self.sink.end();
    }

    /// How many lines were dropped so far.
    pub fn dropped(&self) -> u64 {
        self.sink.dropped()
    }
}
