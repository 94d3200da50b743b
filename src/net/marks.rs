//! Marks between system calls: strace then shows what the server does, and why.
//!
//! A mark is a system call that fails before it touches anything: access(2) to a path beneath `/dev/null`, which is no
//! directory. No file system is asked, nothing can wait; but strace prints paths in full, and so shows the text.

use std::fmt::{self, Write};
use std::fs::File;
use std::io;
use std::time::Duration;

use rustix::fs::{Access, AtFlags, accessat};

use crate::base::job_name::JobName;
use crate::base::job_pool::JobStep;

/// The longest text of a mark, in bytes; what is longer ends in `...`.
const TEXT_BYTES_MAX: usize = 200;
const CUT: &[u8] = b"...";

/// Whether system calls are marked, and by failing at what. By default they are not, and a mark costs one comparison.
#[derive(Debug, Clone, Copy, Default)]
pub struct Marks(Option<&'static File>);

impl Marks {
    /// From now on every mark is a system call.
    ///
    /// # Errors
    /// The system's, if it does not let us open `/dev/null`.
    pub fn visible() -> io::Result<Marks> {
        // Marks are copied to wherever one is needed, and last as long as the process.
        Ok(Marks(Some(Box::leak(Box::new(File::open("/dev/null")?)))))
    }

    /// Marks what now happens on a connection, in the words that `what` writes.
    pub fn connection(self, id: u64, what: impl FnOnce(&mut Text)) {
        if let Some(nowhere) = self.0 {
            leave(nowhere, |text| {
                write!(text, "c={id} ");
                what(text);
            });
        }
    }

    /// Marks on a job thread what it is about to do, or has just done, and for whom.
    pub fn job(self, name: &JobName, step: JobStep) {
        if let Some(nowhere) = self.0 {
            leave(nowhere, |text| {
                if let Some(requester) = name.requester {
                    write!(text, "{requester} ");
                }
                match step {
                    JobStep::Begins => write!(text, "job {name}"),
                    JobStep::Ended => write!(text, "job done: {name}"),
                }
            });
        }
    }

    /// Marks that there is nothing to do until `timeout`, or until something happens. Looking without waiting is not
    /// marked.
    pub fn wait(self, timeout: Option<Duration>) {
        if let Some(nowhere) = self.0 {
            match timeout {
                Some(Duration::ZERO) => {}
                Some(timeout) => leave(nowhere, |text| write!(text, "wait {timeout:.1?}")),
                None => leave(nowhere, |text| write!(text, "wait without end")),
            }
        }
    }
}

/// A function of its own, so that it costs nothing where there are no marks.
#[cold]
fn leave(nowhere: &File, what: impl FnOnce(&mut Text)) {
    let mut text = Text { bytes: [0; TEXT_BYTES_MAX], len: 0 };
    write!(text, "tidemill ");
    what(&mut text);
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
    /// What `write!` calls. A text that is too long is cut.
    pub fn write_fmt(&mut self, what: fmt::Arguments<'_>) {
        if Write::write_fmt(self, what).is_err() {
            self.bytes[TEXT_BYTES_MAX - CUT.len()..].copy_from_slice(CUT);
        }
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            let place = self.bytes.get_mut(self.len).ok_or(fmt::Error)?;
            *place = if matches!(character, ' '..='~') { character as u8 } else { b'?' };
            self.len += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> String {
        let mut written = Text { bytes: [0; TEXT_BYTES_MAX], len: 0 };
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
        let marks = Marks::visible().unwrap();
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
