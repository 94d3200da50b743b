//! A protocol of lines, such as one writes by hand with `nc`: each line comes back as `Echo: <line>`. `quit` ends it.

use super::LoopContext;
use super::channel::Channel;
use super::driver::{Cut, DriverStatus, DriverWait, Ending, Protocol};
use super::stopping::Stopping;
use crate::base::ring::RingBuffer;
use crate::net::Socket;
use crate::observe::close_reason::Why;
use crate::observe::wait_reason::WaitReason;
use crate::service::Service;

/// The longest line in bytes, without its end. It is less where the inbox is too small for that.
const LINE_BYTES_MAX: usize = 8 * 1024;
/// The longest end of a line: CRLF.
const LINE_END_BYTES: usize = 2;

/// One connection whose lines are answered.
#[derive(Debug, Default)]
pub(super) struct LineEcho {
    part: Part,
    /// Lines that were answered.
    lines: u64,
    stopping: Stopping,
}

/// What comes next.
#[derive(Debug, Clone, Copy)]
enum Part {
    /// The rest of a line. So many bytes at the front of the inbox are known to have no LF.
    Line { searched: usize },
    /// The rest of an answer: so many bytes of the line, and behind them so many that end it.
    Answer { line: usize, end: usize },
    /// Nothing, for this reason: the client has said `quit` or too long a line, or the server stops.
    Over(Why),
}

impl Default for Part {
    fn default() -> Part {
        Part::Line { searched: 0 }
    }
}

impl Protocol for LineEcho {
    /// A line is answered when its LF has come. The answers therefore do not depend on how the lines were split or
    /// joined on their way.
    fn advance<S: Socket>(
        &mut self,
        channel: &mut Channel<S>,
        _service: &mut impl Service,
        cx: &mut LoopContext,
    ) -> Result<bool, Cut> {
        self.stopping.update(channel, cx);
        let everything_is_read = self.stopping.is_all(channel.received());
        let Channel { inbox, outbox, .. } = channel;
        let Some(inbox) = inbox else { return Ok(false) };
        let mut moved = false;
        while self.step(inbox, outbox.ring(&mut cx.outboxes)) {
            moved = true;
        }
        if let Part::Line { searched } = self.part
            && searched == inbox.len()
            && everything_is_read
        {
            // All lines that have come are answered, and the rest of this one does not count any more.
            inbox.clear();
            self.part = Part::Over(Why::Drain);
        }
        Ok(moved)
    }

    /// What follows the last LF is no line.
    fn finish<S: Socket>(&mut self, channel: &Channel<S>) -> Option<Ending> {
        let is_over = match self.part {
            Part::Line { searched } => {
                let answered = channel.received() - channel.inbox_len() as u64;
                channel.input_ended() && searched == channel.inbox_len() || self.stopping.is_all(answered)
            }
            Part::Answer { .. } => false,
            Part::Over(_) => true,
        };
        is_over.then(|| self.stopping.ending())
    }

    fn is_idle(&self) -> bool {
        matches!(self.part, Part::Line { searched: 0 })
    }

    fn wait<S: Socket>(&self, channel: &Channel<S>) -> DriverWait {
        let timer = self.stopping.ends_at();
        let reason = match self.part {
            _ if timer.is_some() => WaitReason::Timer,
            _ if channel.received() == 0 => WaitReason::FirstByte,
            Part::Line { searched: 0 } => WaitReason::Idle,
            _ => WaitReason::SlowLine,
        };
        DriverWait { reason, ordinal: self.lines as u32, timer, ignores_input: false, due: None }
    }

    fn why(&self) -> Why {
        if let Part::Over(why) = self.part { why } else { Why::Drain }
    }

    fn status<S: Socket>(&self, channel: &Channel<S>) -> DriverStatus<'_> {
        let is_sending = !channel.outbox.is_empty();
        let state = match self.part {
            _ if is_sending => "sending",
            Part::Line { searched: 0 } => "idle",
            _ => "receiving a line",
        };
        DriverStatus { protocol: "line-echo", state, answered: self.lines, record: None, is_sending }
    }
}

impl LineEcho {
    /// Says whether it moved anything.
    fn step(&mut self, inbox: &mut RingBuffer, outbox: &mut RingBuffer) -> bool {
        match self.part {
            Part::Line { searched } => self.look_for_end(searched, inbox, outbox),
            Part::Answer { line: 0, end } => {
                let answered = outbox.put_whole(b"\n");
                if answered {
                    inbox.consume(end);
                    self.lines += 1;
                    self.part = Part::default();
                }
                answered
            }
            Part::Answer { line, end } => {
                let front = inbox.readable()[0];
                let moved = outbox.put(&front[..line.min(front.len())]);
                inbox.consume(moved);
                self.part = Part::Answer { line: line - moved, end };
                moved > 0
            }
            Part::Over(_) => false,
        }
    }

    fn look_for_end(&mut self, searched: usize, inbox: &mut RingBuffer, outbox: &mut RingBuffer) -> bool {
        let line_bytes_max = LINE_BYTES_MAX.min(inbox.capacity() - LINE_END_BYTES);
        let arrived = inbox.len();
        let bytes = inbox.contiguous(arrived);
        let found = memchr::memchr(b'\n', &bytes[searched..]).map(|at| searched + at);
        let line = match found {
            Some(lf) => bytes[..lf].strip_suffix(b"\r").unwrap_or(&bytes[..lf]),
            // One byte more is the CR of a line that is not too long, or it is too long whatever follows.
            None if arrived <= line_bytes_max || (arrived == line_bytes_max + 1 && bytes.ends_with(b"\r")) => {
                self.part = Part::Line { searched: arrived };
                return false;
            }
            None => bytes,
        };
        let end = found.map_or(0, |lf| lf + 1 - line.len());
        let (begun, part) = match line {
            line if line.len() > line_bytes_max => {
                let answer = format!("Line too long (more than {line_bytes_max} bytes).\n");
                (outbox.put_whole(answer.as_bytes()), Part::Over(Why::Refusal))
            }
            b"quit" => (outbox.put_whole(b"Bye.\n"), Part::Over(Why::Conversation)),
            line => (outbox.put_whole(b"Echo: "), Part::Answer { line: line.len(), end }),
        };
        if begun {
            self.lines += u64::from(matches!(part, Part::Over(_)));
            self.part = part;
        }
        begun
    }
}

#[cfg(test)]
mod tests {
    use crate::base::limits::Limits;
    use crate::base::listener_role::ListenerRole;
    use crate::connection::tests::play;

    const SMALL: usize = 64;

    /// What a client is sent that sends `text` in pieces of so many bytes.
    fn answers(text: &str, piece: usize) -> String {
        let limits = Limits { head_bytes_max: SMALL, inbox_bytes: SMALL, ..Limits::default() };
        let pieces: Vec<&[u8]> = text.as_bytes().chunks(piece).collect();
        String::from_utf8(play(ListenerRole::LineEcho, &pieces, &limits)).unwrap()
    }

    #[test]
    fn each_line_is_answered_however_it_was_cut() {
        let longest = "x".repeat(SMALL - 2);
        for (text, expected) in [
            ("a\nb\r\n\n\r\nno end", "Echo: a\nEcho: b\nEcho: \nEcho: \n".to_owned()),
            ("quit \nquit\r\nnever\n", "Echo: quit \nBye.\n".to_owned()),
            ("a\rb\n\r\r\n", "Echo: a\rb\nEcho: \r\n".to_owned()),
            (&format!("{longest}\r\n{longest}\nx\n"), format!("Echo: {longest}\nEcho: {longest}\nEcho: x\n")),
            (&format!("a\n{longest}x\nb\n"), format!("Echo: a\nLine too long (more than {} bytes).\n", SMALL - 2)),
            (&format!("{longest}{longest}{longest}"), format!("Line too long (more than {} bytes).\n", SMALL - 2)),
            (&format!("{longest}x"), format!("Line too long (more than {} bytes).\n", SMALL - 2)),
            (&format!("{longest}\r"), String::new()),
            (&format!("{longest}\rx"), format!("Line too long (more than {} bytes).\n", SMALL - 2)),
        ] {
            for piece in 1..=text.len() {
                assert_eq!(answers(text, piece), expected, "{text:?} in pieces of {piece}");
            }
        }
    }
}
