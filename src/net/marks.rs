//! Marks between system calls: strace then shows what the server does, and why.
//!
//! A mark is a system call that fails before it touches anything: access(2) to a path beneath `/dev/null`, which is no
//! directory. No file system is asked, nothing can wait; but strace prints paths in full, and so shows the text.

use std::fmt::{self, Write};
use std::fs::File;
use std::io;
use std::time::Duration;

use super::capture::Tap;
use rustix::fs::{Access, AtFlags, accessat};

use crate::base::job_name::JobName;
use crate::base::job_pool::JobStep;

/// The longest text of a mark, in bytes; what is longer ends in `...`.
const TEXT_BYTES_MAX: usize = 200;
const CUT: &[u8] = b"...";

/// Who is told what happens. By default that is nobody, and a mark costs one comparison.
#[derive(Clone, Copy, Default)]
pub struct Marks(Option<&'static Readers>);

/// Those who are told.
struct Readers {
    /// strace, and by failing at what.
    nowhere: Option<File>,
    /// The capture: marks are comments on its packets.
    capture: Option<Tap>,
}

impl Marks {
    /// Marks for strace, where every mark is a system call, and for a capture.
    ///
    /// # Errors
    /// The system's, if it does not let us open `/dev/null`.
    pub fn new(for_strace: bool, capture: Option<Tap>) -> io::Result<Marks> {
        let nowhere = if for_strace { Some(File::open("/dev/null")?) } else { None };
        // Marks are copied to wherever one is needed, and last as long as the process.
        Ok(Marks(Some(Box::leak(Box::new(Readers { nowhere, capture })))))
    }

    /// Marks what now happens on a connection, in the words that `what` writes.
    pub fn connection(self, id: u64, what: impl FnOnce(&mut Text)) {
        if let Some(readers) = self.0 {
            tell(readers.nowhere.as_ref(), readers.capture.as_ref(), id, what);
        }
    }

    /// The same for strace alone: what says nothing about the bytes.
    pub fn strace(self, id: u64, what: impl FnOnce(&mut Text)) {
        if let Some(readers) = self.0 {
            tell(readers.nowhere.as_ref(), None, id, what);
        }
    }

    /// The same for the capture alone: what is known when the system calls are over.
    pub fn comment(self, id: u64, what: impl FnOnce(&mut Text)) {
        if let Some(readers) = self.0 {
            tell(None, readers.capture.as_ref(), id, what);
        }
    }

    /// Marks on a job thread what it is about to do, or has just done, and for whom.
    pub fn job(self, name: &JobName, step: JobStep) {
        if let Some(Readers { nowhere: Some(nowhere), .. }) = self.0 {
            let whose = fmt::from_fn(|f| name.requester.map_or(Ok(()), |requester| write!(f, "{requester} ")));
            match step {
                JobStep::Begins => leave(nowhere, format_args!("{whose}job {name}")),
                JobStep::Ended => leave(nowhere, format_args!("{whose}job done: {name}")),
            }
        }
    }

    /// Marks that there is nothing to do until `timeout`, or until something happens. Looking without waiting is not
    /// marked.
    pub fn wait(self, timeout: Option<Duration>) {
        if let Some(Readers { nowhere: Some(nowhere), .. }) = self.0 {
            match timeout {
                Some(Duration::ZERO) => {}
                Some(timeout) => leave(nowhere, format_args!("wait {timeout:.1?}")),
                None => leave(nowhere, format_args!("wait without end")),
            }
        }
    }
}

/// A function of its own, so that it costs nothing where there are no marks.
#[cold]
fn tell(nowhere: Option<&File>, capture: Option<&Tap>, id: u64, what: impl FnOnce(&mut Text)) {
    let mut text = Text::new();
    write!(text, "c={id} ");
    what(&mut text);
    if let Some(nowhere) = nowhere {
        leave(nowhere, format_args!("{}", text.as_str()));
    }
    if let Some(tap) = capture {
        tap.comment(id, text.as_str());
    }
}

#[cold]
fn leave(nowhere: &File, what: fmt::Arguments<'_>) {
    let mut text = Text::new();
    write!(text, "tidemill {what}");
    let reached = accessat(nowhere, text.as_bytes(), Access::EXISTS, AtFlags::empty()).is_ok();
    debug_assert!(!reached, "there is nothing beneath a file that is no directory");
}

/// Printable ASCII of bounded length. Whatever a client has sent, the path has no end in its middle and a terminal that
/// shows it is told nothing else.
pub struct Text {
    bytes: [u8; TEXT_BYTES_MAX],
    len: usize,
}

impl Text {
    fn new() -> Text {
        Text { bytes: [0; TEXT_BYTES_MAX], len: 0 }
    }

    /// What is written by `what`.
    pub(super) fn of(what: impl FnOnce(&mut Text)) -> Box<str> {
        let mut text = Text::new();
        what(&mut text);
        text.as_str().into()
    }

    /// What `write!` calls. A text that is too long is cut.
    pub fn write_fmt(&mut self, what: fmt::Arguments<'_>) {
        if Write::write_fmt(self, what).is_err() {
            self.bytes[TEXT_BYTES_MAX - CUT.len()..].copy_from_slice(CUT);
        }
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

impl Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            let place = self.bytes.get_mut(self.len).ok_or(fmt::Error)?;
            *place = match character {
                ' '..='~' => character as u8,
                // As in 650.1µs.
                'µ' => b'u',
                _ => b'?',
            };
            self.len += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> String {
        let mut written = Text::new();
        write!(written, "{text}");
        String::from_utf8(written.as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn a_text_is_printable_and_bounded() {
        assert_eq!(text("head GET /a?b=\"c\""), "head GET /a?b=\"c\"");
        assert_eq!(text("a\0b\nc\u{1b}[31m\u{7f}é…"), "a?b?c?[31m???");
        let longest = "x".repeat(TEXT_BYTES_MAX);
        assert_eq!(text(&longest), longest);
        assert_eq!(text(&format!("{longest}y")), format!("{}...", "x".repeat(TEXT_BYTES_MAX - 3)));
        assert_eq!(text(&"é".repeat(10_000)).len(), TEXT_BYTES_MAX);
    }

    #[test]
    fn a_mark_reaches_nothing() {
        let marks = Marks::new(true, None).unwrap();
        // Taken as paths from anywhere else, these exist.
        for path in ["/", ".", "..", "../..", "/dev/null", ""] {
            marks.connection(7, |text| write!(text, "{path}"));
            marks.connection(7, |text| write!(text, "/../{path}"));
        }
        for timeout in [None, Some(Duration::ZERO), Some(Duration::MAX)] {
            marks.wait(timeout);
            Marks::default().wait(timeout);
        }
    }
}
