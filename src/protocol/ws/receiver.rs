//! Takes messages, part by part, out of the frames that a client sends.

use super::close::{self, CloseCode};
use super::deflate::{Agreement, Inflater, TAIL};
use super::frame::{CONTROL_BYTES_MAX, FrameHead, HEAD_BYTES_MAX, Opcode};
use super::mask::Mask;
use super::utf8::Utf8;
use super::{Kind, Violation};

/// How much is unmasked at a time in front of the decompressor, in bytes.
const STEP: usize = 2048;

/// What the next bytes of the client mean.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub enum Event<'a> {
    /// Nothing yet: all bytes are used.
    NeedBytes,
    /// A part of a message, checked; it stands in `payload`. `end`: the last one, which may be empty.
    Part {
        /// The kind of the message.
        kind: Kind,
        /// Whether the message ends with it.
        end: bool,
    },
    /// Wants a Pong with the same payload.
    Ping(&'a [u8]),
    /// A Pong: the client is alive.
    Pong,
    /// The peer will send no more. Whatever follows is to be ignored (RFC 6455 §5.5.1).
    Close(Option<CloseCode>),
}

/// The receiving half of a WebSocket. Keeps no content but that of a control frame.
pub struct Receiver {
    intake: Intake,
    /// The message that has begun and not ended.
    message: Option<Message>,
    inflater: Option<Inflater>,
    control: Vec<u8>,
}

/// What the next byte is part of.
enum Intake {
    /// A frame's head, of which this has arrived.
    Head([u8; HEAD_BYTES_MAX], usize),
    /// A control frame's payload.
    Control(Opcode, Payload),
    /// A data frame's payload; `bool`: the message ends with it.
    Content(Payload, bool),
    /// Nothing: a compressed message has ended, and so many bytes of its tail have been added again.
    Tail(usize),
}

#[derive(Clone, Copy)]
struct Payload {
    left: u64,
    mask: Mask,
}

struct Message {
    kind: Kind,
    compressed: bool,
    utf8: Utf8,
}

const NO_HEAD: Intake = Intake::Head([0; HEAD_BYTES_MAX], 0);

impl Receiver {
    /// The receiver of a WebSocket that was just opened; compressed messages are refused without an agreement.
    pub fn new(deflate: Option<Agreement>) -> Receiver {
        Receiver { intake: NO_HEAD, message: None, inflater: deflate.map(Inflater::new), control: Vec::new() }
    }

    /// What the Close says that was received last: at most 123 bytes (RFC 6455 §5.5.1).
    pub fn close_reason(&self) -> &str {
        self.control.get(2..).and_then(|reason| str::from_utf8(reason).ok()).unwrap_or_default()
    }

    /// How much memory decompression takes now, in bytes, roughly.
    pub fn memory_bytes(&self) -> usize {
        self.inflater.as_ref().map_or(0, Inflater::memory_bytes)
    }

    /// Takes bytes off the front of `input` up to the next event. `payload` is cleared and gets the content of a
    /// piece, at most `max` bytes of it (at least one). To be called again until it needs bytes: there may be an event
    /// without any. After an error nothing more may be received.
    pub fn receive(&mut self, input: &mut &[u8], payload: &mut Vec<u8>, max: usize) -> Result<Event<'_>, Violation> {
        debug_assert!(max > 0, "without room nothing can be received");
        payload.clear();
        loop {
            let event = match self.intake {
                Intake::Head(..) => self.read_head(input)?,
                Intake::Control(opcode, _) => {
                    if !self.read_control(input) {
                        return Ok(Event::NeedBytes);
                    }
                    return self.control_event(opcode);
                }
                Intake::Content(..) => self.read_content(input, payload, max)?,
                Intake::Tail(_) => self.read_tail(payload, max)?,
            };
            if let Some(event) = event {
                return Ok(event);
            }
        }
    }

    /// Continues a frame's head, and begins the frame when the head is complete.
    fn read_head(&mut self, input: &mut &[u8]) -> Result<Option<Event<'static>>, Violation> {
        let Intake::Head(mut bytes, held) = self.intake else { return Ok(None) };
        let arrived = input.len().min(bytes.len() - held);
        bytes[held..held + arrived].copy_from_slice(&input[..arrived]);
        match FrameHead::parse(&bytes[..held + arrived])? {
            Some((head, len)) => {
                *input = &input[len - held..];
                self.begin_frame(head)?;
                Ok(None)
            }
            None => {
                *input = &input[arrived..];
                self.intake = Intake::Head(bytes, held + arrived);
                Ok(Some(Event::NeedBytes))
            }
        }
    }

    fn begin_frame(&mut self, head: FrameHead) -> Result<(), Violation> {
        let payload = Payload { left: head.length, mask: head.mask };
        match (head.opcode, &self.message) {
            (Opcode::Close | Opcode::Ping | Opcode::Pong, _) if head.rsv1 => return Err(COMPRESSED_CONTROL),
            (Opcode::Close | Opcode::Ping | Opcode::Pong, _) => {
                self.control.clear();
                self.intake = Intake::Control(head.opcode, payload);
                return Ok(());
            }
            (Opcode::Continuation, None) => return Err(NOTHING_TO_CONTINUE),
            (Opcode::Continuation, Some(_)) if head.rsv1 => return Err(COMPRESSED_CONTINUATION),
            (Opcode::Continuation, Some(_)) => {}
            (Opcode::Text | Opcode::Binary, Some(_)) => return Err(MESSAGE_IN_MESSAGE),
            (Opcode::Text | Opcode::Binary, None) if head.rsv1 && self.inflater.is_none() => return Err(NOT_AGREED),
            (Opcode::Text, None) => self.message = Some(Message::new(Kind::Text, head.rsv1)),
            (Opcode::Binary, None) => self.message = Some(Message::new(Kind::Binary, head.rsv1)),
        }
        self.intake = Intake::Content(payload, head.fin);
        Ok(())
    }

    /// Continues a control frame's payload, and returns whether it is complete.
    fn read_control(&mut self, input: &mut &[u8]) -> bool {
        let Intake::Control(_, payload) = &mut self.intake else { return false };
        debug_assert!(payload.left as usize <= CONTROL_BYTES_MAX, "the head was checked");
        payload.read(input, &mut self.control, CONTROL_BYTES_MAX);
        payload.left == 0
    }

    fn control_event(&mut self, opcode: Opcode) -> Result<Event<'_>, Violation> {
        self.intake = NO_HEAD;
        match opcode {
            Opcode::Ping => Ok(Event::Ping(&self.control)),
            Opcode::Close => close::parse(&self.control).map(Event::Close),
            _ => Ok(Event::Pong),
        }
    }

    fn read_content(
        &mut self,
        input: &mut &[u8],
        out: &mut Vec<u8>,
        max: usize,
    ) -> Result<Option<Event<'static>>, Violation> {
        let (Intake::Content(payload, fin), Some(message)) = (&mut self.intake, &mut self.message) else {
            return Ok(None);
        };
        match &mut self.inflater {
            Some(inflater) if message.compressed => payload.inflate(input, inflater, out, max)?,
            _ => payload.read(input, out, max),
        }
        message.check(out)?;
        let (frame_ends, fin, compressed) = (payload.left == 0, *fin, message.compressed);
        match (frame_ends, fin) {
            (true, true) if compressed => self.intake = Intake::Tail(0),
            (true, true) => return self.end_message().map(Some),
            (true, false) => self.intake = NO_HEAD,
            (false, _) if out.is_empty() => return Ok(Some(Event::NeedBytes)),
            (false, _) => {}
        }
        Ok(self.part(out))
    }

    /// Adds the tail again that the sender has removed (RFC 7692 §7.2.2), and takes what the decompressor still holds.
    fn read_tail(&mut self, out: &mut Vec<u8>, max: usize) -> Result<Option<Event<'static>>, Violation> {
        let (Intake::Tail(put), Some(message), Some(inflater)) =
            (&mut self.intake, &mut self.message, &mut self.inflater)
        else {
            return Ok(None);
        };
        *put += inflater.inflate(&TAIL[*put..], out, max)?;
        message.check(out)?;
        if out.len() == max {
            return Ok(self.part(out));
        }
        inflater.end_message();
        self.end_message().map(Some)
    }

    /// What `out` holds is an event, if it holds anything.
    fn part(&self, out: &[u8]) -> Option<Event<'static>> {
        let message = self.message.as_ref().filter(|_| !out.is_empty())?;
        Some(Event::Part { kind: message.kind, end: false })
    }

    fn end_message(&mut self) -> Result<Event<'static>, Violation> {
        self.intake = NO_HEAD;
        match self.message.take() {
            Some(message) if !message.utf8.is_complete() => Err(HALF_A_CHARACTER),
            Some(message) => Ok(Event::Part { kind: message.kind, end: true }),
            None => Ok(Event::NeedBytes),
        }
    }
}

impl Message {
    fn new(kind: Kind, compressed: bool) -> Message {
        Message { kind, compressed, utf8: Utf8::default() }
    }

    fn check(&mut self, content: &[u8]) -> Result<(), Violation> {
        match self.kind {
            Kind::Text => self.utf8.check(content).map_err(|_| NOT_UTF8),
            Kind::Binary => Ok(()),
        }
    }
}

impl Payload {
    /// Unmasks what has arrived of it to the end of `out`, up to a length of `max`.
    fn read(&mut self, input: &mut &[u8], out: &mut Vec<u8>, max: usize) {
        let n = self.available(input).min(max - out.len());
        let start = out.len();
        out.extend_from_slice(&input[..n]);
        self.mask.apply(&mut out[start..]);
        self.consume(input, n);
    }

    /// Decompresses what has arrived of it to the end of `out`, up to a length of `max`.
    fn inflate(
        &mut self,
        input: &mut &[u8],
        inflater: &mut Inflater,
        out: &mut Vec<u8>,
        max: usize,
    ) -> Result<(), Violation> {
        while self.available(input) > 0 && out.len() < max {
            let mut step = [0; STEP];
            let unmasked = &mut step[..self.available(input).min(STEP)];
            unmasked.copy_from_slice(&input[..unmasked.len()]);
            let before = self.mask;
            self.mask.apply(unmasked);
            let used = inflater.inflate(unmasked, out, max)?;
            // Bytes that the decompressor did not take stay masked.
            self.mask = before.turned(used);
            self.consume(input, used);
        }
        Ok(())
    }

    fn available(&self, input: &[u8]) -> usize {
        usize::try_from(self.left).unwrap_or(usize::MAX).min(input.len())
    }

    fn consume(&mut self, input: &mut &[u8], n: usize) {
        *input = &input[n..];
        self.left -= n as u64;
    }
}

const NOTHING_TO_CONTINUE: Violation = Violation::protocol("a continuation of nothing", "RFC 6455 §5.4");
const MESSAGE_IN_MESSAGE: Violation = Violation::protocol("a message inside another message", "RFC 6455 §5.4");
const NOT_AGREED: Violation = Violation::protocol("a compressed message without an agreement", "RFC 6455 §5.2");
const COMPRESSED_CONTROL: Violation = Violation::protocol("a compressed control frame", "RFC 7692 §6.1");
const COMPRESSED_CONTINUATION: Violation = Violation::protocol("a continuation marked as compressed", "RFC 7692 §6.1");
const NOT_UTF8: Violation = Violation::content("a text message that is not UTF-8", "RFC 6455 §8.1");
const HALF_A_CHARACTER: Violation = Violation::content("a text message that ends inside a character", "RFC 6455 §8.1");

#[cfg(test)]
mod tests;
