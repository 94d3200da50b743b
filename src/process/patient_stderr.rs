//! Writing to stderr: diagnostics, which never hold up the event loop, and the report at the end.

use std::io::{self, Write};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;

/// A pipe that polls as writable takes this many bytes without blocking (`PIPE_BUF`, pipe(7)).
const LINE_BYTES_MAX: usize = 4096;
/// How long the end of the process waits for a reader.
const LAST_WORD_PATIENCE: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// Stderr, for one whole line a write. When its reader does not keep up, lines are left out, and the next line that goes
/// through is preceded by how many. Clients can provoke lines; waiting for a reader of the log would let them stop the
/// server.
pub(super) struct PatientStderr {
    left_out: u64,
}

impl PatientStderr {
    pub(super) fn new() -> PatientStderr {
        PatientStderr { left_out: 0 }
    }

    fn report_left_out(&mut self) -> io::Result<()> {
        if self.left_out > 0 {
            writeln!(io::stderr(), "({} lines left out: nobody was reading)", std::mem::take(&mut self.left_out))?;
        }
        Ok(())
    }
}

impl Write for PatientStderr {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if !takes_a_line() {
            self.left_out += 1;
            return Ok(line.len());
        }
        self.report_left_out()?;
        // The report before it may have taken the last of the room, so ask again.
        if takes_a_line() {
            io::stderr().write_all(&line[..line.len().min(LINE_BYTES_MAX)])?;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Says `text` before the process ends. A reader that is slow gets a moment for each piece of it; one that has stopped
/// must not keep the process.
///
/// # Errors
/// The text, or a part of it, could not be written: the reader has gone, or took nothing in time.
pub(super) fn say_at_last(text: &str) -> io::Result<()> {
    for piece in text.as_bytes().chunks(LINE_BYTES_MAX) {
        if !takes_a_line_within(LAST_WORD_PATIENCE) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        io::stderr().write_all(piece)?;
    }
    Ok(())
}

/// Whether a write would not block. If poll(2) fails, it is tried: files never block.
fn takes_a_line() -> bool {
    takes_a_line_within(Timespec { tv_sec: 0, tv_nsec: 0 })
}

fn takes_a_line_within(patience: Timespec) -> bool {
    let stderr = io::stderr();
    let mut asked = [PollFd::new(&stderr, PollFlags::OUT)];
    retry_on_intr(|| poll(&mut asked, Some(&patience))).map_or(true, |ready| ready > 0)
}
