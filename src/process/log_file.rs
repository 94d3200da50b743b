//! Where the access log is written: a thread of its own, so that a slow disk or a full pipe holds up nobody else.
//!
//! The event loop adds lines to one buffer while the thread writes another; then they change places. What does not fit
//! is dropped and counted.

mod place;

use std::fs::File;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;

pub use place::Place;

use crate::base::throttle::{LogThrottle, Permit};
use crate::event_loop::Lines;

/// Lines that wait while the thread writes, in bytes.
const WAITING_BYTES_MAX: usize = 1024 * 1024;
/// How long the end of the server waits for lines that are not written yet.
const END_TIMEOUT: Duration = Duration::from_secs(1);
/// How long the server waits for the reader of a pipe before it closes the pipe for good, with lines unwritten.
const LEAVE_TIMEOUT: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// An open log, and the thread that writes it. Dropping it waits a moment for what is not written yet.
pub struct LogFile {
    shared: Arc<Shared>,
    is_terminal: bool,
    throttle: LogThrottle,
}

/// What the event loop and the thread have in common.
struct Shared {
    state: Mutex<State>,
    /// Notified when there is something to do for the thread, and when it has done everything.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: Vec<u8>,
    /// The file is to be reopened after so many bytes of `waiting`.
    reopen_at: Option<usize>,
    /// The thread is at work, or was called to it; it looks again before it sleeps.
    at_work: bool,
    ending: bool,
    dropped: u64,
    /// How many of them nobody was told about.
    untold: u64,
    /// Why the last of them were dropped, if it was not for want of room.
    error: Option<io::Error>,
}

impl State {
    fn count_dropped(&mut self, lines: u64) {
        self.dropped += lines;
        self.untold += lines;
    }

    fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.reopen_at.is_none()
    }

    /// What to say about lines that were dropped since it was last said.
    fn tell(&mut self) -> String {
        let count = std::mem::take(&mut self.untold);
        let lines = if count == 1 { "line" } else { "lines" };
        match self.error.take() {
            Some(error) => format!("access log: {count} {lines} dropped: {error}"),
            None => format!("access log: {count} {lines} dropped: nobody took them fast enough"),
        }
    }
}

impl Shared {
    /// Nobody panics while holding the lock; if somebody did, the lines would still be lines.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn call(&self, state: &mut State) {
        if !state.at_work {
            state.at_work = true;
            self.changed.notify_all();
        }
    }
}

impl LogFile {
    /// Opens the log and starts its thread.
    ///
    /// # Errors
    /// The place cannot be opened, or there can be no thread.
    pub fn start(place: Place) -> io::Result<LogFile> {
        let file = place.open()?;
        LogFile::write_to(file, place)
    }

    fn write_to(file: File, place: Place) -> io::Result<LogFile> {
        let is_terminal = file.is_terminal();
        let shared = Arc::new(Shared { state: Mutex::default(), changed: Condvar::new() });
        let mut writer = Writer { place, file, torn: false, leaving: false, shared: Arc::clone(&shared) };
        thread::Builder::new().name("access-log".into()).spawn(move || writer.run())?;
        Ok(LogFile { shared, is_terminal, throttle: LogThrottle::new(1) })
    }

    /// Whether the log is written to a terminal.
    pub fn is_terminal(&self) -> bool {
        self.is_terminal
    }
}

impl Lines for LogFile {
    fn take(&mut self, lines: &mut Vec<u8>) {
        let mut state = self.shared.lock();
        if state.waiting.is_empty() {
            std::mem::swap(&mut state.waiting, lines);
        } else {
            let fitting = fitting(lines, WAITING_BYTES_MAX.saturating_sub(state.waiting.len()));
            state.waiting.extend_from_slice(&lines[..fitting]);
            state.count_dropped(count(&lines[fitting..]));
        }
        lines.clear();
        self.shared.call(&mut state);
        if state.untold > 0 && matches!(self.throttle.allow(Instant::now()), Permit::Log { .. }) {
            let news = state.tell();
            drop(state);
            log::warn!("{news}");
        }
    }

    fn reopen(&mut self) {
        let mut state = self.shared.lock();
        let at = state.waiting.len();
        // A second order before the first was carried out changes nothing: all that follows the first goes to the file
        // that is found after both.
        state.reopen_at.get_or_insert(at);
        self.shared.call(&mut state);
    }

    fn end(&mut self) {
        let mut state = self.shared.lock();
        if state.ending {
            return;
        }
        state.ending = true;
        self.shared.changed.notify_all();
        let busy = |state: &mut State| state.at_work || !state.is_empty();
        let waited = self.shared.changed.wait_timeout_while(state, END_TIMEOUT, busy);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if state.at_work {
            log::warn!("access log: what was being written when the server ended may be missing");
        }
        let unwritten = count(&state.waiting);
        state.count_dropped(unwritten);
        if state.untold > 0 {
            log::warn!("{}", state.tell());
        }
    }

    fn dropped(&self) -> u64 {
        self.shared.lock().dropped
    }
}

impl Drop for LogFile {
    fn drop(&mut self) {
        self.end();
    }
}

/// How much of `lines` fits into `room` bytes, in whole lines.
fn fitting(lines: &[u8], room: usize) -> usize {
    if lines.len() <= room { lines.len() } else { memchr::memrchr(b'\n', &lines[..room]).map_or(0, |end| end + 1) }
}

fn count(lines: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', lines).count() as u64
}

/// The thread's side.
struct Writer {
    place: Place,
    file: File,
    /// The last write ended within a line.
    torn: bool,
    /// The file is to be reopened as soon as what belongs to it is written.
    leaving: bool,
    shared: Arc<Shared>,
}

impl Writer {
    fn run(&mut self) {
        let mut lines = Vec::new();
        while let Some(reopen_at) = self.next(&mut lines) {
            let (before, after) = lines.split_at(reopen_at.unwrap_or(lines.len()));
            self.leaving = reopen_at.is_some();
            self.write(before);
            if self.leaving {
                self.reopen();
            }
            self.write(after);
            lines.clear();
        }
    }

    /// Waits for work: exchanges the empty `lines` for those that wait, and says after how many bytes of them to
    /// reopen. `None` when the log ends.
    fn next(&self, lines: &mut Vec<u8>) -> Option<Option<usize>> {
        let mut state = self.shared.lock();
        while state.is_empty() {
            state.at_work = false;
            if state.ending {
                self.shared.changed.notify_all();
                return None;
            }
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.at_work = true;
        std::mem::swap(&mut state.waiting, lines);
        Some(state.reopen_at.take())
    }

    fn write(&mut self, lines: &[u8]) {
        if self.torn && !lines.is_empty() {
            self.torn = self.write_some(b"\n").is_err();
        }
        let mut rest = lines;
        while !rest.is_empty() {
            match self.write_some(rest) {
                Ok(n) => rest = &rest[n..],
                Err(error) => return self.give_up(lines, rest, error),
            }
        }
    }

    /// Drops the `rest` of `lines`.
    fn give_up(&mut self, lines: &[u8], rest: &[u8], error: io::Error) {
        let written = &lines[..lines.len() - rest.len()];
        self.torn = written.last().map_or(self.torn, |last| *last != b'\n');
        let mut state = self.shared.lock();
        state.count_dropped(count(rest));
        state.error = Some(error);
    }

    fn reopen(&mut self) {
        self.leaving = false;
        match self.place.open() {
            Ok(file) => (self.file, self.torn) = (file, false),
            Err(error) => log::error!("cannot reopen the access log, so it goes on where it is: {error}"),
        }
    }

    /// Writes at least one byte, however long that takes, unless the file is to be left.
    fn write_some(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.file.write(bytes) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(n) => return Ok(n),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // A FIFO, or a terminal or a pipe that somebody else has made non-blocking.
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.wait_for_room()?,
                Err(error) => return Err(error),
            }
        }
    }

    /// Standard output is never left: what is reopened is the same again.
    fn is_to_be_left(&self) -> bool {
        self.place != Place::Stdout && (self.leaving || self.shared.lock().reopen_at.is_some())
    }

    /// Waits until the kernel takes more. Fails when it does not, and another file is wanted.
    fn wait_for_room(&self) -> io::Result<()> {
        loop {
            let mut asked = [PollFd::new(&self.file, PollFlags::OUT)];
            if retry_on_intr(|| poll(&mut asked, Some(&LEAVE_TIMEOUT)))? > 0 {
                return Ok(());
            }
            if self.is_to_be_left() {
                return Err(io::Error::other("nobody read from the pipe that was to be left"));
            }
        }
    }
}

#[cfg(test)]
mod tests;
