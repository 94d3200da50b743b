//! Takes frames out of an inbox as they arrive. A frame may be larger than the inbox: content passes through in pieces,
//! settings come one by one, and a field block that does not lie in the inbox as a whole is gathered.

use std::mem;
use std::ops::Range;

use super::error::Fault;
use super::frame::{ACK, END_HEADERS, END_STREAM, FRAME_HEAD_BYTES, FrameHead, Kind, PADDED, PRIORITY, dependency};
use crate::base::ring::RingBuffer;

/// Longest payload of a PRIORITY_UPDATE that is looked at, in bytes. Values have a dozen bytes.
const PRIORITY_UPDATE_BYTES_MAX: usize = 256;

/// A frame, or a part of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Frame {
    /// DATA begins. All of its payload, with padding, counts for flow control (RFC 9113 §6.1).
    Data {
        /// Its stream.
        stream: u32,
        /// Bytes of payload, padding included.
        payload: u32,
        /// Bytes of content.
        content: u32,
        /// Whether nothing follows on the stream.
        end_stream: bool,
    },
    /// So many bytes of DATA's content are at the front of the inbox, at least one, until [`FrameReader::taken`].
    Content(usize),
    /// All content of a DATA frame was taken.
    DataEnd {
        /// Its stream.
        stream: u32,
        /// Whether nothing follows on the stream.
        end_stream: bool,
    },
    /// A whole field block, from HEADERS and the CONTINUATION frames behind it. It is [`FrameReader::payload`].
    Headers {
        /// Its stream.
        stream: u32,
        /// Whether nothing follows on the stream.
        end_stream: bool,
        /// The stream that it wants to depend on.
        depends_on: Option<u32>,
    },
    /// PRIORITY.
    Priority {
        /// Its stream.
        stream: u32,
        /// The stream that it wants to depend on.
        depends_on: u32,
    },
    /// PRIORITY of a wrong length: an error of the stream (RFC 9113 §6.3).
    PriorityOfWrongLength {
        /// Its stream.
        stream: u32,
    },
    /// RST_STREAM.
    Reset {
        /// Its stream.
        stream: u32,
        /// Why, as a number (RFC 9113 §7).
        code: u32,
    },
    /// One parameter of SETTINGS.
    Setting {
        /// Which one.
        identifier: u16,
        /// Its value.
        value: u32,
    },
    /// All parameters of SETTINGS were returned.
    SettingsEnd,
    /// Our SETTINGS were acknowledged.
    SettingsAck,
    /// PING.
    Ping {
        /// Whether it answers ours.
        is_ack: bool,
        /// What the answer must repeat.
        payload: [u8; 8],
    },
    /// GOAWAY. Its debug data is skipped.
    GoAway {
        /// The last stream of ours that the peer knows; we open none.
        last_stream: u32,
        /// Why, as a number (RFC 9113 §7).
        code: u32,
    },
    /// WINDOW_UPDATE.
    WindowUpdate {
        /// Its stream, or 0 for the connection.
        stream: u32,
        /// How much more may be sent, in bytes. 0 is an error that depends on the stream (RFC 9113 §6.9).
        increment: u32,
    },
    /// PRIORITY_UPDATE (RFC 9218 §7.1). The new value of the Priority field is [`FrameReader::payload`].
    PriorityUpdate {
        /// The stream whose priority has changed.
        stream: u32,
    },
    /// A frame that is ignored.
    Ignored,
}

/// What bounds frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameLimits {
    /// Bytes of payload: our SETTINGS_MAX_FRAME_SIZE.
    pub frame_bytes_max: u32,
    /// Bytes of a field block that spans several frames or does not fit into the inbox.
    pub block_bytes_max: usize,
    /// CONTINUATION frames of one field block.
    pub continuations_max: u32,
}

/// Takes frames out of the front of an inbox: [`next`](FrameReader::next), [`taken`](FrameReader::taken),
/// [`skip_content`](FrameReader::skip_content), [`payload`](FrameReader::payload).
#[derive(Debug, Default)]
pub struct FrameReader {
    at: At,
    /// The field block whose end has not arrived.
    gathered: Option<Box<Block>>,
    /// The field block that was gathered and then returned.
    returned: Option<Box<Block>>,
    /// Bytes at the front of the inbox that belong to the frame that was returned.
    held: usize,
    /// Where among them its payload lies.
    payload: Range<usize>,
}

/// What is at the front of the inbox.
#[derive(Debug, Clone, Copy, Default)]
enum At {
    /// The head of a frame, or the whole of it.
    #[default]
    Head,
    /// Content of DATA: so much is left, and then padding.
    Data { stream: u32, end_stream: bool, content: u32, padding: u32 },
    /// So many bytes with parameters of SETTINGS.
    Settings(u32),
    /// A fragment of the field block that is gathered: so much is left, and then padding.
    Fragment { left: u32, padding: u32, is_last: bool },
    /// So many bytes that nobody wants.
    Skipped(u32),
}

/// A field block that is gathered.
#[derive(Debug)]
struct Block {
    stream: u32,
    end_stream: bool,
    depends_on: Option<u32>,
    continuations: u32,
    bytes: Vec<u8>,
}

/// What HEADERS or CONTINUATION say besides their fragment of the field block.
#[derive(Debug, Clone, Copy)]
struct Opening {
    /// Bytes in front of the fragment, the head included.
    in_front: usize,
    /// Bytes of the fragment.
    fragment: u32,
    /// Bytes behind it.
    padding: u32,
    depends_on: Option<u32>,
}

impl FrameReader {
    /// The next frame, or part of one; `None` until more bytes arrive. What the last call returned is released first.
    ///
    /// # Errors
    /// What ends the connection. Nothing may be read after it.
    ///
    /// It stands where it is called: once for each frame, and otherwise only for frames that are thrown away.
    #[inline(always)]
    pub fn next(&mut self, inbox: &mut RingBuffer, limits: &FrameLimits) -> Result<Option<Frame>, Fault> {
        self.release(inbox);
        loop {
            match self.at {
                At::Head => {
                    let Some(bytes) = front(inbox, 0) else { return Ok(None) };
                    let head = FrameHead::from_bytes(bytes);
                    self.check(head, limits)?;
                    if !matches!(head.kind, Kind::Headers | Kind::Continuation) {
                        return self.begin(head, inbox);
                    }
                    let Some(opening) = opening(head, inbox)? else { return Ok(None) };
                    let frame_bytes = FRAME_HEAD_BYTES + head.length as usize;
                    if head.kind == Kind::Headers && head.has(END_HEADERS) && frame_bytes <= inbox.capacity() {
                        return Ok(self.whole_block(head, opening, frame_bytes, inbox));
                    }
                    inbox.consume(opening.in_front);
                    self.gather(head, opening, limits)?;
                }
                At::Fragment { left, padding, is_last } => {
                    if !self.take_fragment(left, padding, is_last, inbox) {
                        return Ok(None);
                    }
                    if is_last {
                        return Ok(self.gathered_block());
                    }
                }
                At::Data { stream, end_stream, content, padding } => {
                    return Ok(self.content(stream, end_stream, content, padding, inbox));
                }
                At::Settings(left) => return Ok(self.setting(left, inbox)),
                At::Skipped(left) => {
                    let n = left.min(inbox.len() as u32);
                    inbox.consume(n as usize);
                    self.at = skipped(left - n);
                    if n < left {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// The field block, or the value, of the frame that was just returned.
    pub fn payload<'a>(&'a self, inbox: &'a mut RingBuffer) -> &'a [u8] {
        match &self.returned {
            Some(block) => &block.bytes,
            None => &inbox.contiguous(self.held)[self.payload.clone()],
        }
    }

    /// Consumes the bytes of the frame that the last call of `next` returned.
    pub fn release(&mut self, inbox: &mut RingBuffer) {
        inbox.consume(mem::take(&mut self.held));
        self.payload = 0..0;
        self.returned = None;
    }

    /// Consumes the first `n` bytes of the content that was returned.
    pub fn taken(&mut self, inbox: &mut RingBuffer, n: usize) {
        inbox.consume(n);
        if let At::Data { content, .. } = &mut self.at {
            *content -= n as u32;
        }
    }

    /// Nobody wants the rest of this DATA frame: it is thrown away as it arrives, and its end is not returned. Returns how
    /// much content that is.
    pub fn skip_content(&mut self) -> u32 {
        let At::Data { content, padding, .. } = self.at else { return 0 };
        self.at = skipped(content + padding);
        content
    }

    /// The stream whose DATA is being read.
    pub fn data_stream(&self) -> Option<u32> {
        if let At::Data { stream, .. } = self.at { Some(stream) } else { None }
    }

    /// Bytes at the front of the inbox that belong to the frame that was returned, and are consumed later.
    pub fn held(&self) -> usize {
        self.held
    }

    /// How many bytes are still to be skipped before the next frame or field block begins; `None`: one has begun that is not
    /// over.
    pub fn bytes_to_next(&self) -> Option<u32> {
        match self.at {
            At::Head if self.gathered.is_none() => Some(0),
            At::Skipped(left) if self.gathered.is_none() => Some(left),
            _ => None,
        }
    }

    /// Whether a field block has begun, and its end has not arrived.
    pub fn is_within_field_block(&self) -> bool {
        self.gathered.is_some()
    }

    /// What the head alone shows to be wrong, here and now.
    fn check(&self, head: FrameHead, limits: &FrameLimits) -> Result<(), Fault> {
        match &self.gathered {
            Some(block) if head.kind != Kind::Continuation || head.stream != block.stream => {
                // A field block is one unit on the wire (§4.3).
                return Err(Fault::protocol("a frame between the frames of a field block", "RFC 9113 §6.10"));
            }
            None if head.kind == Kind::Continuation => {
                return Err(Fault::protocol("CONTINUATION without HEADERS before it", "RFC 9113 §6.10"));
            }
            _ => {}
        }
        head.check(limits.frame_bytes_max)
    }

    /// Any frame but those of a field block. `None` until the part of it that is looked at has arrived.
    fn begin(&mut self, head: FrameHead, inbox: &mut RingBuffer) -> Result<Option<Frame>, Fault> {
        let FrameHead { stream, length, .. } = head;
        let frame = match head.kind {
            Kind::Data => return self.begin_data(head, inbox),
            Kind::PriorityUpdate => return Ok(self.priority_update(length, inbox)),
            Kind::Settings if head.has(ACK) => Frame::SettingsAck,
            Kind::Settings => {
                inbox.consume(FRAME_HEAD_BYTES);
                return Ok(self.setting(length, inbox));
            }
            Kind::Priority if length != 5 => {
                self.skip(FRAME_HEAD_BYTES, length, inbox);
                return Ok(Some(Frame::PriorityOfWrongLength { stream }));
            }
            Kind::Priority => match payload::<5>(inbox) {
                Some([d0, d1, d2, d3, _]) => Frame::Priority { stream, depends_on: dependency([d0, d1, d2, d3]) },
                None => return Ok(None),
            },
            Kind::RstStream => match payload(inbox) {
                Some(code) => Frame::Reset { stream, code: u32::from_be_bytes(code) },
                None => return Ok(None),
            },
            Kind::WindowUpdate => match payload(inbox) {
                Some(bytes) => Frame::WindowUpdate { stream, increment: u32::from_be_bytes(bytes) & 0x7fff_ffff },
                None => return Ok(None),
            },
            Kind::Ping => match payload(inbox) {
                Some(payload) => Frame::Ping { is_ack: head.has(ACK), payload },
                None => return Ok(None),
            },
            Kind::GoAway => return Ok(self.go_away(length, inbox)),
            Kind::Headers | Kind::Continuation | Kind::PushPromise | Kind::Unknown(_) => {
                self.skip(FRAME_HEAD_BYTES, length, inbox);
                return Ok(Some(Frame::Ignored));
            }
        };
        inbox.consume(FRAME_HEAD_BYTES + length as usize);
        Ok(Some(frame))
    }

    fn begin_data(&mut self, head: FrameHead, inbox: &mut RingBuffer) -> Result<Option<Frame>, Fault> {
        let Some(opening) = opening(head, inbox)? else { return Ok(None) };
        inbox.consume(opening.in_front);
        let (stream, content, padding) = (head.stream, opening.fragment, opening.padding);
        self.at = At::Data { stream, end_stream: head.has(END_STREAM), content, padding };
        Ok(Some(Frame::Data { stream, payload: head.length, content, end_stream: head.has(END_STREAM) }))
    }

    fn content(
        &mut self,
        stream: u32,
        end_stream: bool,
        content: u32,
        padding: u32,
        inbox: &RingBuffer,
    ) -> Option<Frame> {
        if content == 0 {
            self.at = skipped(padding);
            return Some(Frame::DataEnd { stream, end_stream });
        }
        let n = inbox.len().min(content as usize);
        (n > 0).then_some(Frame::Content(n))
    }

    fn setting(&mut self, left: u32, inbox: &mut RingBuffer) -> Option<Frame> {
        self.at = At::Settings(left);
        if left == 0 {
            self.at = At::Head;
            return Some(Frame::SettingsEnd);
        }
        let [i0, i1, value @ ..] = front::<6>(inbox, 0)?;
        inbox.consume(6);
        self.at = At::Settings(left - 6);
        Some(Frame::Setting { identifier: u16::from_be_bytes([i0, i1]), value: u32::from_be_bytes(value) })
    }

    fn go_away(&mut self, length: u32, inbox: &mut RingBuffer) -> Option<Frame> {
        let [s0, s1, s2, s3, code @ ..] = payload::<8>(inbox)?;
        self.skip(FRAME_HEAD_BYTES + 8, length - 8, inbox);
        let last_stream = u32::from_be_bytes([s0, s1, s2, s3]) & 0x7fff_ffff;
        Some(Frame::GoAway { last_stream, code: u32::from_be_bytes(code) })
    }

    fn priority_update(&mut self, length: u32, inbox: &mut RingBuffer) -> Option<Frame> {
        let frame_bytes = FRAME_HEAD_BYTES + length as usize;
        if length as usize > PRIORITY_UPDATE_BYTES_MAX {
            self.skip(FRAME_HEAD_BYTES, length, inbox);
            return Some(Frame::Ignored);
        }
        let stream = u32::from_be_bytes(payload(inbox)?) & 0x7fff_ffff;
        if inbox.len() < frame_bytes {
            return None;
        }
        self.held = frame_bytes;
        self.payload = FRAME_HEAD_BYTES + 4..frame_bytes;
        Some(Frame::PriorityUpdate { stream })
    }

    /// HEADERS that are a whole field block, in the inbox as soon as all of it has arrived there.
    fn whole_block(
        &mut self,
        head: FrameHead,
        opening: Opening,
        frame_bytes: usize,
        inbox: &mut RingBuffer,
    ) -> Option<Frame> {
        if inbox.len() < frame_bytes {
            return None;
        }
        self.held = frame_bytes;
        self.payload = opening.in_front..opening.in_front + opening.fragment as usize;
        let (stream, end_stream, depends_on) = (head.stream, head.has(END_STREAM), opening.depends_on);
        Some(Frame::Headers { stream, end_stream, depends_on })
    }

    /// A fragment that is to be gathered begins.
    fn gather(&mut self, head: FrameHead, opening: Opening, limits: &FrameLimits) -> Result<(), Fault> {
        let block = self.gathered.get_or_insert_with(|| {
            let (depends_on, end_stream) = (opening.depends_on, head.has(END_STREAM));
            Box::new(Block { stream: head.stream, end_stream, depends_on, continuations: 0, bytes: Vec::new() })
        });
        block.continuations += u32::from(head.kind == Kind::Continuation);
        // Without the whole block the connection's table of fields would be wrong for all that follows, so that these
        // are errors of the connection (§10.5.1).
        if block.continuations > limits.continuations_max {
            return Err(Fault::calm("too many CONTINUATION frames", "RFC 9113 §10.5.1"));
        }
        if block.bytes.len() + opening.fragment as usize > limits.block_bytes_max {
            return Err(Fault::calm("a field block is too large", "RFC 9113 §10.5.1"));
        }
        let (left, padding) = (opening.fragment, opening.padding);
        self.at = At::Fragment { left, padding, is_last: head.has(END_HEADERS) };
        Ok(())
    }

    /// Takes what has arrived of a fragment; true if that was all of it.
    fn take_fragment(&mut self, left: u32, padding: u32, is_last: bool, inbox: &mut RingBuffer) -> bool {
        let n = inbox.len().min(left as usize);
        let [first, second] = inbox.readable();
        if let Some(block) = &mut self.gathered {
            let from_first = n.min(first.len());
            block.bytes.extend_from_slice(&first[..from_first]);
            block.bytes.extend_from_slice(&second[..n - from_first]);
        }
        inbox.consume(n);
        let left = left - n as u32;
        self.at = if left == 0 { skipped(padding) } else { At::Fragment { left, padding, is_last } };
        left == 0
    }

    fn gathered_block(&mut self) -> Option<Frame> {
        self.returned = self.gathered.take();
        let &Block { stream, end_stream, depends_on, .. } = self.returned.as_deref()?;
        Some(Frame::Headers { stream, end_stream, depends_on })
    }

    /// Consumes so many bytes that have arrived, and throws away so many behind them.
    fn skip(&mut self, arrived: usize, to_come: u32, inbox: &mut RingBuffer) {
        inbox.consume(arrived);
        self.at = skipped(to_come);
    }
}

/// So many bytes that nobody wants, and then the next frame.
fn skipped(bytes: u32) -> At {
    if bytes == 0 { At::Head } else { At::Skipped(bytes) }
}

/// What stands in front of the content of DATA or the fragment of HEADERS and CONTINUATION; `None` until it has arrived.
fn opening(head: FrameHead, inbox: &RingBuffer) -> Result<Option<Opening>, Fault> {
    let in_front = FRAME_HEAD_BYTES + head.bytes_in_front() as usize;
    if inbox.len() < in_front {
        return Ok(None);
    }
    let is_padded = head.has(PADDED) && head.kind != Kind::Continuation;
    let padding = if is_padded { inbox.get(FRAME_HEAD_BYTES).map_or(0, u32::from) } else { 0 };
    let Some(fragment) = (head.length - head.bytes_in_front()).checked_sub(padding) else {
        let section = if head.kind == Kind::Data { "RFC 9113 §6.1" } else { "RFC 9113 §6.2" };
        return Err(Fault::protocol("more padding than the frame has room for", section));
    };
    let has_dependency = head.has(PRIORITY) && head.kind == Kind::Headers;
    let depends_on = has_dependency.then(|| front(inbox, in_front - 5).map(dependency)).flatten();
    Ok(Some(Opening { in_front, fragment, padding, depends_on }))
}

/// The first bytes of a frame's payload, if they have arrived.
fn payload<const N: usize>(inbox: &RingBuffer) -> Option<[u8; N]> {
    front(inbox, FRAME_HEAD_BYTES)
}

/// The bytes from `offset` on, if they have arrived.
fn front<const N: usize>(inbox: &RingBuffer, offset: usize) -> Option<[u8; N]> {
    if inbox.len() < offset + N {
        return None;
    }
    let mut bytes = [0; N];
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = inbox.get(offset + index)?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests;
