//! One HTTP/2 connection as a value: frames come in, requests and their content go out; responses come in, frames go out.
//! It knows no socket, no clock, no callback and no log.

mod control;
mod frames;
mod output;

pub use self::output::Added;

use self::control::Control;
use super::error::{ErrorCode, Fault};
use super::fields::{FieldList, ListLimits};
use super::frame_reader::{Frame, FrameLimits, FrameReader};
use super::frame_writer;
use super::head::Request;
use super::hpack::decoder::Decoder;
use super::hpack::encoder::Encoder;
use super::ledger::{Ledger, Misbehaviour, Standing};
use super::priority::{Priorities, Priority};
use super::settings::{NextSettings, OurSettings, PeerSettings};
use super::stream_state::{Ending, State};
use super::streams::{Stream, Streams};
use super::windows::{INITIAL_WINDOW_BYTES, ReceiveWindow, SendWindow, WINDOW_BYTES_MAX};
use crate::base::limits::Limits;
use crate::base::moment::Moment;
use crate::base::ring::RingBuffer;
use crate::http::fields::Fields;
use crate::http::message::RequestHead;
use crate::http::method::Method;
use crate::protocol::ProtocolError;

/// What a client sends first (RFC 9113 §3.4).
pub const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Responses leave so much of the outbox free for frames that the connection itself must send, in bytes.
const CONTROL_RESERVE: usize = 1024;
/// What GOAWAY says when the server was told to stop.
pub const SERVER_STOPS: &str = "the server stops";
/// What is in the PING behind the first GOAWAY of a server that stops.
const STOP_PING: [u8; 8] = *b"stopping";
/// No frame is read without so much room for what it may have to be answered with, in bytes.
const ANSWER_BYTES_MAX: usize = 256;

/// Memory for one head at a time; one for a whole event loop.
#[derive(Debug, Default)]
pub struct Scratch {
    /// The fields that were decoded last.
    list: FieldList,
    /// The field block that is being sent.
    block: Vec<u8>,
}

/// What has arrived.
#[derive(Debug)]
#[must_use]
pub enum Step<'a> {
    /// The head of a request, on a new stream.
    Head {
        /// The stream.
        stream: u32,
        /// The head. It does not last: copy what is kept.
        head: RequestHead<'a>,
        /// It opens a tunnel (RFC 8441).
        is_tunnel: bool,
        /// The client has reset so many streams that the service of new ones must be delayed.
        is_delayed: bool,
    },
    /// A request that is well-formed and must be answered with this error, on a new stream.
    Refused {
        /// The stream.
        stream: u32,
        /// What is known of the request.
        line: RequestLine<'a>,
        /// What to answer.
        error: ProtocolError,
    },
    /// A request that was malformed, or one for which there was no stream: it was reset at once, and nobody has to do
    /// anything.
    Rejected {
        /// The stream.
        stream: u32,
        /// What is known of the request.
        line: RequestLine<'a>,
        /// Why.
        fault: Fault,
    },
    /// So many bytes of content are at the front of the inbox, at least one. They stay there until
    /// [`Session::taken`], and count as waiting until [`Session::consumed`].
    Content {
        /// The stream.
        stream: u32,
        /// How many bytes.
        bytes: usize,
    },
    /// The request is complete, with these trailers. Also follows a head without content.
    End {
        /// The stream.
        stream: u32,
        /// The trailers. They do not last.
        trailers: Fields<'a>,
    },
    /// The stream is closed: by RST_STREAM from the client, or by one that we had to send.
    Reset {
        /// The stream.
        stream: u32,
        /// Why.
        code: ErrorCode,
        /// The rule that the client broke, if it did.
        fault: Option<Fault>,
    },
    /// The client takes no new streams, which we do not open anyway, and will go when all are done.
    GoAway(ErrorCode),
    /// Nothing more before more bytes arrive.
    NeedBytes,
    /// Nothing more before there is more room in the outbox: the client does not read what it has caused. After an error:
    /// nothing more ever.
    Paused,
}

/// What is known of a request that is not served. It does not last.
#[derive(Debug, Clone, Copy)]
pub struct RequestLine<'a> {
    /// The method, if there is one.
    pub method: Option<Method>,
    /// The target as it was sent, or empty. Nothing is known to be right about it.
    pub target: &'a [u8],
}

impl<'a> RequestLine<'a> {
    fn of(list: &'a FieldList) -> RequestLine<'a> {
        let fields = list.fields(0);
        let method = fields.first(":method").and_then(Method::from_token);
        let target = if method == Some(Method::Connect) { ":authority" } else { ":path" };
        RequestLine { method, target: fields.first(target).unwrap_or_default() }
    }
}

/// A step without what it borrows.
#[derive(Debug, Clone, Copy)]
enum Event {
    Head { stream: u32, request: Request },
    Refused { stream: u32, error: ProtocolError },
    Rejected { stream: u32, fault: Fault },
    Content { stream: u32, bytes: usize },
    End { stream: u32, has_trailers: bool },
    Reset { stream: u32, code: ErrorCode, fault: Option<Fault> },
    GoAway(ErrorCode),
    NeedBytes,
    Paused,
}

/// Where the connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// So many bytes of the preface have arrived.
    Preface(usize),
    /// SETTINGS must come next (RFC 9113 §3.4).
    FirstSettings,
    /// Any frame may come.
    Running,
    /// After an error nothing is received.
    Failed,
}

/// Server side of one HTTP/2 connection.
///
/// Receiving: [`begin`](Session::begin), [`receive`](Session::receive), [`taken`](Session::taken),
/// [`consumed`](Session::consumed). Sending: [`has_content`](Session::has_content) and
/// [`next_turn`](Session::next_turn) say whose turn it is; [`interim`](Session::interim), [`send_head`](Session::send_head),
/// [`put_all`](Session::put_all), or [`room`](Session::room), [`seal`](Session::seal) and [`finish`](Session::finish).
/// Ending: [`reset`](Session::reset), [`announce_shutdown`](Session::announce_shutdown),
/// [`shut_down`](Session::shut_down).
#[derive(Debug)]
pub struct Session {
    phase: Phase,
    reader: FrameReader,
    decoder: Decoder,
    encoder: Encoder,
    peer: PeerSettings,
    /// What is being told by the SETTINGS that are arriving.
    peer_next: NextSettings,
    /// Whether the client has acknowledged ours.
    is_acknowledged: bool,
    /// What the client may send on a new stream, as far as it knows.
    stream_window: u32,
    /// What the client has been told.
    ours: OurSettings,
    send: SendWindow,
    receive: ReceiveWindow,
    streams: Streams,
    /// Whose END is to be told next: a head without content was told.
    ends: Option<u32>,
    ready: Priorities,
    /// Priorities of streams that have not begun (RFC 9218 §7.1).
    early_priorities: Vec<(u32, Priority)>,
    ledger: Ledger,
    control: Control,
    /// No new streams are taken behind this one: GOAWAY has said so.
    last_taken: Option<u32>,
    /// The last GOAWAY that was sent.
    gone_away: Option<Box<GoneAway>>,
    /// The client has read that the server will stop.
    knows_of_stop: bool,
    /// GOAWAY was sent because of misbehaviour.
    is_warned: bool,
    /// Something was sent on a stream since the last PING.
    has_sent: bool,
    /// Windows do not grow beyond this, in bytes.
    growth_max: u32,
    /// Content that was sent on all streams, in bytes.
    content_sent: u64,
    /// Bytes that were consumed so far.
    consumed_bytes: u64,
    /// Where the present frame begins in the input, or the field block that it belongs to.
    frame_start: u64,
}

/// A GOAWAY that was sent.
#[derive(Debug)]
pub struct GoneAway {
    /// Its code.
    pub code: ErrorCode,
    /// Its debug data.
    pub why: String,
    /// What came behind the last stream that is served, once that has been named.
    pub late: Option<Late>,
}

/// Requests on streams behind the last one that is served (§6.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Late {
    /// When GOAWAY had named that one.
    pub said_at: Moment,
    /// How many came.
    pub requests: u32,
    /// When the first of them did.
    pub first_at: Option<Moment>,
}

/// What a call of `receive` works with.
struct Work<'a> {
    inbox: &'a mut RingBuffer,
    outbox: &'a mut RingBuffer,
    list: &'a mut FieldList,
    limits: &'a Limits,
    now: Moment,
}

impl Session {
    /// A connection that has just been opened.
    pub fn new(limits: &Limits) -> Session {
        Session {
            phase: Phase::Preface(0),
            reader: FrameReader::default(),
            decoder: Decoder::default(),
            encoder: Encoder::new(limits.http2.header_table_bytes as usize),
            peer: PeerSettings::default(),
            peer_next: NextSettings::behind(PeerSettings::default()),
            is_acknowledged: false,
            // Until it has read our SETTINGS it believes in the default (§6.9.2).
            stream_window: limits.http2.stream_window_bytes.max(INITIAL_WINDOW_BYTES),
            ours: OurSettings::of(&limits.http2),
            send: SendWindow::new(INITIAL_WINDOW_BYTES),
            receive: ReceiveWindow::new(INITIAL_WINDOW_BYTES),
            streams: Streams::new(limits.http2.streams_max),
            ends: None,
            ready: Priorities::default(),
            early_priorities: Vec::new(),
            ledger: Ledger::new(&limits.http2),
            control: Control::default(),
            last_taken: None,
            gone_away: None,
            knows_of_stop: false,
            is_warned: false,
            has_sent: false,
            growth_max: WINDOW_BYTES_MAX,
            content_sent: 0,
            consumed_bytes: 0,
            frame_start: 0,
        }
    }

    /// What the client has been told, and what therefore holds on this connection.
    pub fn ours(&self) -> &OurSettings {
        &self.ours
    }

    /// Sends our preface: SETTINGS (§3.4), and the window of the whole connection, which SETTINGS cannot say.
    pub fn begin(&mut self, outbox: &mut RingBuffer, limits: &Limits) {
        self.control.put(outbox, &frame_writer::settings(&self.ours.pairs()));
        if let Some(increment) = self.receive.grow(limits.http2.connection_window_bytes) {
            self.control.put(outbox, &frame_writer::window_update(0, increment));
        }
    }

    /// Reads the front of the inbox and returns what it is. What an earlier call returned is released first. Frames that
    /// must be answered are answered in `outbox`.
    ///
    /// # Errors
    /// The connection has ended. GOAWAY with the reason is in the outbox, and nothing more is received.
    pub fn receive<'a>(
        &mut self,
        inbox: &mut RingBuffer,
        outbox: &mut RingBuffer,
        scratch: &'a mut Scratch,
        limits: &Limits,
        now: Moment,
    ) -> Result<Step<'a>, Fault> {
        let mut work = Work { inbox, outbox, list: &mut scratch.list, limits, now };
        let event = self.advance(&mut work).inspect_err(|fault| self.fail(work.outbox, fault, now))?;
        Ok(match event {
            Event::Head { stream, request } => {
                let (head, is_tunnel) = (request.head(&scratch.list), request.is_tunnel);
                Step::Head { stream, head, is_tunnel, is_delayed: self.ledger.delays_new_streams() }
            }
            Event::Refused { stream, error } => Step::Refused { stream, line: RequestLine::of(&scratch.list), error },
            Event::Rejected { stream, fault } => Step::Rejected { stream, line: RequestLine::of(&scratch.list), fault },
            Event::Content { stream, bytes } => Step::Content { stream, bytes },
            Event::End { stream, has_trailers: true } => Step::End { stream, trailers: scratch.list.fields(0) },
            Event::End { stream, has_trailers: false } => Step::End { stream, trailers: Fields::default() },
            Event::Reset { stream, code, fault } => Step::Reset { stream, code, fault },
            Event::GoAway(code) => Step::GoAway(code),
            Event::NeedBytes => Step::NeedBytes,
            Event::Paused => Step::Paused,
        })
    }

    /// Takes the first `bytes` of the content that was just returned out of the inbox.
    pub fn taken(&mut self, inbox: &mut RingBuffer, bytes: usize) {
        self.reader.taken(inbox, bytes);
        self.consumed_bytes += bytes as u64;
    }

    /// From now on no window grows beyond so many bytes, whatever the limits allow.
    pub fn limit_growth(&mut self, window_bytes_max: u32) {
        self.growth_max = window_bytes_max;
    }

    /// Content that was taken has been consumed: the client may send as much again, on its stream and altogether.
    pub fn consumed(&mut self, stream: u32, bytes: usize, outbox: &mut RingBuffer, limits: &Limits) {
        let Some(live) = self.streams.get_mut(stream) else { return };
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX).min(live.receive.unconsumed());
        let size_max = limits.http2.upload_window_bytes_max.min(self.growth_max);
        let increment = live.receive.consume(bytes, size_max).filter(|_| live.state.peer_may_send());
        if live.receive.unconsumed() == 0 {
            self.ledger.refund_data(std::mem::take(&mut live.small_data));
        }
        if let Some(increment) = increment {
            self.control.put(outbox, &frame_writer::window_update(stream, increment));
        }
        // The window of the connection must not be what holds up an upload that its stream has a window for.
        self.credit(bytes, size_max, outbox);
    }

    /// Says that the server will stop soon: the client should open no more streams (§6.8). Those that are already under way
    /// are still taken. The PING behind that asks whether the client has read it (§6.7).
    pub fn announce_shutdown(&mut self, outbox: &mut RingBuffer) {
        self.tell_to_go(0x7fff_ffff, ErrorCode::NO_ERROR, SERVER_STOPS, outbox);
        self.control.put(outbox, &frame_writer::ping(STOP_PING, false));
    }

    /// Whether the client has read what [`announce_shutdown`](Session::announce_shutdown) has said, and all that was sent
    /// before. What it had sent until then has arrived.
    pub fn knows_of_stop(&self) -> bool {
        self.knows_of_stop
    }

    /// Takes no new streams. Those that live go on.
    pub fn shut_down(&mut self, outbox: &mut RingBuffer, code: ErrorCode, why: &str, now: Moment) {
        self.put_go_away(outbox, code, why, now);
    }

    /// Throws away what has arrived when nothing can be answered any more. Says whether there was a request in it.
    pub fn discard_late(&mut self, inbox: &mut RingBuffer, limits: &Limits, now: Moment) -> bool {
        let before = self.late_requests();
        while self.phase != Phase::Failed {
            match self.next_late(inbox, limits) {
                Ok(Some(Frame::Headers { stream, .. })) if self.streams.state(stream) == State::Idle => {
                    self.streams.skip(stream, Ending::ResetByUs);
                    self.note_late(now);
                }
                Ok(Some(Frame::Data { .. })) => {
                    self.reader.skip_content();
                }
                Ok(Some(_)) => {}
                Ok(None) => return self.late_requests() > before,
                Err(_) => self.phase = Phase::Failed,
            }
        }
        inbox.clear();
        self.late_requests() > before
    }

    /// The next frame of those that are thrown away.
    fn next_late(&mut self, inbox: &mut RingBuffer, limits: &Limits) -> Result<Option<Frame>, Fault> {
        if let Phase::Preface(arrived) = self.phase
            && !self.take_preface(arrived, inbox)?
        {
            return Ok(None);
        }
        self.reader.next(inbox, &frame_limits(&self.ours, limits))
    }

    fn late_requests(&self) -> u32 {
        self.gone_away.as_ref().and_then(|gone| gone.late).map_or(0, |late| late.requests)
    }

    /// A request has come behind the last one that is served.
    fn note_late(&mut self, now: Moment) {
        if let Some(late) = self.gone_away.as_mut().and_then(|gone| gone.late.as_mut()) {
            late.requests += 1;
            late.first_at.get_or_insert(now);
        }
    }

    /// Whether everything has been answered after [`shut_down`](Session::shut_down).
    pub fn is_done(&self) -> bool {
        self.last_taken.is_some() && self.streams.is_empty()
    }

    /// Whether the client's preface has arrived (§3.4).
    pub fn is_established(&self) -> bool {
        !matches!(self.phase, Phase::Preface(_) | Phase::FirstSettings)
    }

    /// Whether the client has acknowledged our SETTINGS. It has `settings_timeout` for that (§6.5.3).
    pub fn is_acknowledged(&self) -> bool {
        self.is_acknowledged
    }

    /// Ends the connection because of a timeout or another reason that is not in a frame.
    pub fn fail(&mut self, outbox: &mut RingBuffer, fault: &Fault, now: Moment) {
        self.phase = Phase::Failed;
        let mut why = format!("{} ({})", fault.reason, fault.section);
        if fault.code == ErrorCode::ENHANCE_YOUR_CALM {
            why = format!("{why} {}", self.ledger.summary(now));
        }
        self.put_go_away(outbox, fault.code, &why, now);
    }

    /// Where the frame that was returned last begins in the input; of a field block: where its first frame does.
    pub fn frame_start(&self) -> u64 {
        self.frame_start
    }

    /// Where it ends, or that part of it that was looked at.
    pub fn frame_end(&self) -> u64 {
        self.consumed_bytes + self.reader.held() as u64
    }

    /// A stream that lives.
    pub fn stream(&self, id: u32) -> Option<&Stream> {
        self.streams.get(id)
    }

    /// How much content we may send on all streams, in bytes. It is never negative.
    pub fn send_window_bytes(&self) -> u32 {
        self.send.available()
    }

    /// Whether the client may send content on this stream, as far as our windows go.
    pub fn may_receive_content(&self, id: u32) -> bool {
        self.receive.left() > 0 && self.streams.get(id).is_some_and(|live| live.receive.left() > 0)
    }

    /// How much content we have sent on all streams, in bytes.
    pub fn content_sent(&self) -> u64 {
        self.content_sent
    }

    /// The streams that live.
    pub fn streams(&self) -> impl Iterator<Item = &Stream> {
        self.streams.iter()
    }

    /// The streams that have something to send and a window for it, in the order of their turns.
    pub fn turns(&self) -> impl Iterator<Item = u32> {
        self.ready.iter()
    }

    /// What the client has done that cost more than it should.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The last GOAWAY that was sent, if one was.
    pub fn gone_away(&self) -> Option<&GoneAway> {
        self.gone_away.as_deref()
    }

    /// How much content the client may send on all streams, in bytes.
    pub fn receive_window_bytes(&self) -> i32 {
        self.receive.left()
    }

    /// Whether a field block has begun and its end has not arrived. That has a deadline, like half a head of HTTP/1.
    pub fn is_within_field_block(&self) -> bool {
        self.reader.is_within_field_block()
    }

    /// Bytes of frames of the connection itself that went to the outbox at once, so far. The end of a response may add
    /// some behind it.
    pub fn control_bytes(&self) -> u64 {
        self.control.put_bytes()
    }

    /// Moves frames of the connection that found no room to the outbox.
    pub fn put_control(&mut self, outbox: &mut RingBuffer) {
        self.control.put_overdue(outbox);
    }

    /// The last stream that GOAWAY names may become lower and never higher (§6.8).
    fn put_go_away(&mut self, outbox: &mut RingBuffer, code: ErrorCode, why: &str, now: Moment) {
        let last_taken = *self.last_taken.get_or_insert(self.streams.highest());
        self.tell_to_go(last_taken, code, why, outbox);
        if let Some(gone) = &mut self.gone_away {
            gone.late.get_or_insert(Late { said_at: now, requests: 0, first_at: None });
        }
    }

    fn tell_to_go(&mut self, last_stream: u32, code: ErrorCode, why: &str, outbox: &mut RingBuffer) {
        self.control.put(outbox, &frame_writer::go_away(last_stream, code, why));
        let late = self.gone_away.take().and_then(|gone| gone.late);
        self.gone_away = Some(Box::new(GoneAway { code, why: why.to_owned(), late }));
    }

    fn advance(&mut self, work: &mut Work<'_>) -> Result<Event, Fault> {
        self.control.put_overdue(work.outbox);
        if let Some(stream) = self.ends.take() {
            return Ok(Event::End { stream, has_trailers: false });
        }
        let output_bytes_max = work.limits.http2.output_bytes_max as usize;
        loop {
            let is_full = work.outbox.len() >= output_bytes_max || work.outbox.free() < ANSWER_BYTES_MAX;
            if self.phase == Phase::Failed || !self.control.is_empty() || is_full {
                return Ok(Event::Paused);
            }
            if let Phase::Preface(arrived) = self.phase {
                if !self.take_preface(arrived, work.inbox)? {
                    return Ok(Event::NeedBytes);
                }
                continue;
            }
            let Some(frame) = self.next_frame(work)? else { return Ok(Event::NeedBytes) };
            if let Some(event) = self.on_frame(frame, work)? {
                return Ok(event);
            }
        }
    }

    fn next_frame(&mut self, work: &mut Work<'_>) -> Result<Option<Frame>, Fault> {
        if let Some(skipped) = self.reader.bytes_to_next() {
            self.frame_start = self.frame_end() + u64::from(skipped);
        }
        let unread = work.inbox.len();
        let frame = self.reader.next(work.inbox, &frame_limits(&self.ours, work.limits));
        self.consumed_bytes += (unread - work.inbox.len()) as u64;
        frame
    }

    /// Takes what has arrived of the preface; true if that was all of it.
    fn take_preface(&mut self, mut arrived: usize, inbox: &mut RingBuffer) -> Result<bool, Fault> {
        while let (Some(expected), Some(byte)) = (PREFACE.get(arrived), inbox.get(0)) {
            if byte != *expected {
                return Err(Fault::protocol("the connection does not begin with the preface", "RFC 9113 §3.4"));
            }
            inbox.consume(1);
            arrived += 1;
            self.consumed_bytes += 1;
        }
        let is_complete = arrived == PREFACE.len();
        self.phase = if is_complete { Phase::FirstSettings } else { Phase::Preface(arrived) };
        Ok(is_complete)
    }

    /// The window of the connection: so many bytes do not wait any more. If none waits, it may grow to `size_max` bytes.
    fn credit(&mut self, bytes: u32, size_max: u32, outbox: &mut RingBuffer) {
        if let Some(increment) = self.receive.consume(bytes, size_max) {
            self.control.put(outbox, &frame_writer::window_update(0, increment));
        }
    }

    /// Ends the life of a stream. What was not consumed of it is given back to the connection, because nobody will.
    fn close(&mut self, stream: u32, ending: Ending, outbox: &mut RingBuffer) {
        if self.reader.data_stream() == Some(stream) {
            self.reader.skip_content();
        }
        self.ready.remove(stream);
        self.ends = self.ends.filter(|ended| *ended != stream);
        let Some(closed) = self.streams.close(stream, ending) else { return };
        self.ledger.refund_data(closed.small_data);
        self.credit(closed.receive.unconsumed(), 0, outbox);
        if ending == Ending::Ended {
            self.ledger.on_good_end();
        }
    }

    /// Charges the client, and draws the consequence.
    fn charge(&mut self, what: Misbehaviour, work: &mut Work<'_>) -> Result<(), Fault> {
        let standing = self.ledger.charge(what, work.now);
        self.judge(standing, work.outbox, work.now)
    }

    fn judge(&mut self, standing: Standing, outbox: &mut RingBuffer, now: Moment) -> Result<(), Fault> {
        match standing {
            Standing::Warned if self.last_taken.is_none() => {
                let why = format!("too much misbehaviour: {}", self.ledger.summary(now));
                self.is_warned = true;
                self.shut_down(outbox, ErrorCode::NO_ERROR, &why, now);
                Ok(())
            }
            Standing::Good | Standing::Warned => Ok(()),
            Standing::Exhausted => Err(Fault::calm("too much misbehaviour", "RFC 9113 §10.5")),
        }
    }
}

fn frame_limits(ours: &OurSettings, limits: &Limits) -> FrameLimits {
    FrameLimits {
        frame_bytes_max: ours.frame_bytes_max,
        // A block is hardly ever longer than the list that it becomes, which counts 32 bytes more for each field.
        block_bytes_max: ours.header_list_bytes_max as usize,
        continuations_max: limits.http2.continuations_max,
    }
}

fn list_limits(ours: &OurSettings, limits: &Limits) -> ListLimits {
    ListLimits { bytes_max: ours.header_list_bytes_max as usize, fields_max: limits.fields_max }
}

#[cfg(test)]
mod tests;
