//! What is known of one request: when it came and went, where it stood in the two byte streams, what held it up.

mod leaving;

use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt::{self, Display};
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use super::close_reason::Cut;
use super::delay::Delay;
use super::timers::{Drive, Part, PartTimes, Timeline, Timers, times_of_one_drive};
use super::verdict::{Disturbance, Means, Phase, Side, UNDISTURBED, Verdict};
use crate::base::held::Held;
use crate::base::limits::Limits;
use crate::base::log_key::RequestKey;
use crate::base::moment::Moment;
use crate::base::peer::Node;
use crate::base::terms::Terms;
use crate::base::upstream_facts::UpstreamFacts;
use crate::http::exchange::Breach;
use crate::http::message::{RequestHead, Version};
use crate::http::method::Method;
use crate::http::status::Status;
pub use leaving::LeavingRecords;

/// As much of a target as is kept, in bytes.
const TARGET_BYTES_MAX: usize = 512;
/// As much of another field's value as is kept, in bytes.
const FIELD_BYTES_MAX: usize = 512;
/// What is printed for a request whose method is not known.
pub(super) const NOT_UNDERSTOOD: &str = "(not understood)";
/// From so long on the kernel is asked why there was no room for the response: that takes about 20 us.
const WHY_BLOCKED_MIN: Duration = Duration::from_millis(10);
/// Records that are kept for the next requests.
const KEPT_MAX: usize = 64;

/// What is known of one request. Records are used again, so that keeping them costs no allocation in the long run.
#[derive(Debug)]
pub struct RequestRecord {
    /// The request's number on its connection, from 1.
    pub ordinal: u64,
    /// The stream that it came on; 0 for HTTP/1, which has no streams.
    pub stream: u32,
    /// Who has sent it, if that is not the peer: whom a trusted proxy names.
    pub client: Option<Node>,
    /// The request line; no method if it was not understood.
    pub method: Option<Method>,
    /// Its version.
    pub version: Version,
    /// Target, `Referer`, `User-Agent` and the identifier, one behind the other.
    texts: Vec<u8>,
    target_end: u16,
    referer_end: u16,
    user_agent_end: u16,
    /// Whether the response tells how long the request took.
    pub tells_times: bool,
    /// The status of its response, as soon as there is one.
    pub status: Option<Status>,
    /// When its first byte was noticed to be readable: the beginning of that turn.
    pub began: Moment,
    /// When the drive began in which its head was complete.
    pub head_at: Moment,
    /// Since when it may have been readable in the kernel: an estimate, at the latest [`Self::began`].
    pub readable_at: Moment,
    /// How many connections were driven in its turn before its head was complete.
    pub ahead: u32,
    /// Which connection it had to wait for before that drive, if it did. Requests that came in the same drive share it.
    pub behind: Option<Rc<Delay>>,
    /// When the drive was over in which the first byte of the response left.
    pub first_byte_at: Option<Moment>,
    /// When the drive was over in which the last byte left, or in which the connection ended.
    pub last_byte_at: Option<Moment>,
    /// Where it stands in the stream from the client, in bytes from its beginning.
    pub rx: Range<u64>,
    /// Where the response stands in the stream to the client, in bytes from its beginning.
    pub tx: Range<u64>,
    /// Length of the response's head in bytes.
    pub head_bytes: u64,
    /// What of the response follows its head, in bytes, if the bytes of other streams may stand in between.
    pub framed_bytes: u64,
    /// Content of the request that was taken so far, in bytes; of HTTP/1 alone.
    pub taken_bytes: u64,
    /// Content of the response that was framed so far, in bytes; of HTTP/2 alone.
    pub produced_bytes: u64,
    /// How long nothing was read, since nobody took what was there.
    pub paused: Stopwatch,
    /// Where its time went.
    timeline: Timeline,
    /// The most that waited to be sent, in bytes.
    pub queued_max: u64,
    /// How the conversation behind an upgrade ended, in words; they may be the client's.
    pub farewell: Option<Box<str>>,
    /// What it holds until it is over, if its route wants that.
    pub held: Option<Box<Held>>,
    /// How an upstream serves it, if one does.
    pub upstream: Option<Rc<UpstreamFacts>>,
    /// What its route says of it, if it has one that says something.
    pub terms: Option<Rc<Terms>>,
    /// How it was broken off, if it was and its verdict has not been noted.
    pub breach: Option<Breach>,
    /// What has disturbed it, if anything did. In a box, because most requests are not.
    pub disturbance: Option<Box<Disturbance>>,
    /// The next one in the chain that this one is in.
    next: Option<Box<RequestRecord>>,
}

/// Adds up the time in which a condition held.
#[derive(Debug, Clone, Copy, Default)]
pub struct Stopwatch {
    /// In nanoseconds, while it ran before.
    total: u64,
    since: Option<Moment>,
}

impl Stopwatch {
    /// Starts the stopwatch, or stops it.
    pub fn set(&mut self, on: bool, now: Moment) {
        match (on, self.since) {
            (true, None) => self.since = Some(now),
            (false, Some(since)) => {
                self.total += now.nanos_since(since);
                self.since = None;
            }
            _ => {}
        }
    }

    /// How long the condition held until `now`.
    pub fn total(&self, now: Moment) -> Duration {
        Duration::from_nanos(self.total + self.since.map_or(0, |since| now.nanos_since(since)))
    }
}

impl RequestRecord {
    /// The record of a request whose first byte was noticed at `began`. Nothing else is known of it.
    pub fn new(began: Moment) -> RequestRecord {
        RequestRecord {
            ordinal: 0,
            stream: 0,
            client: None,
            method: None,
            version: Version::Http11,
            texts: Vec::new(),
            target_end: 0,
            referer_end: 0,
            user_agent_end: 0,
            tells_times: false,
            status: None,
            began,
            head_at: began,
            readable_at: began,
            ahead: 0,
            behind: None,
            first_byte_at: None,
            last_byte_at: None,
            rx: 0..0,
            tx: 0..0,
            head_bytes: 0,
            framed_bytes: 0,
            taken_bytes: 0,
            produced_bytes: 0,
            paused: Stopwatch::default(),
            timeline: Timeline::OneDrive,
            queued_max: 0,
            farewell: None,
            held: None,
            upstream: None,
            terms: None,
            breach: None,
            disturbance: None,
            next: None,
        }
    }

    /// The request ends before its response is complete. The first reason is the one that counts.
    pub fn end_early(&mut self, cut: Cut, phase: Phase, now: Moment) {
        self.note_verdict(Verdict::on_request(cut, phase), now).cut.get_or_insert(cut);
    }

    /// Notes who has disturbed the request. The first to do so is the one that counts. But a client that has ended its
    /// direction may wait for the answer all the same: then what disturbs the request next has really done so.
    pub fn note_verdict(&mut self, verdict: Verdict, now: Moment) -> &mut Disturbance {
        let is_end =
            |verdict: Verdict| verdict.side == Side::Client && matches!(verdict.means, Means::Fin | Means::CloseNotify);
        let was_half =
            self.disturbance.take_if(|earlier| earlier.cut.is_none() && is_end(earlier.verdict) && !is_end(verdict));
        self.disturbance.get_or_insert_with(|| {
            let half_closed = was_half.map(|earlier| earlier.at);
            let (cut, left_over, acknowledged, was_reset) = (None, 0, None, false);
            Box::new(Disturbance { verdict, at: now, half_closed, cut, left_over, acknowledged, was_reset })
        })
    }

    /// If its upstream has failed, that is what disturbs it, in this phase.
    pub fn note_upstream_failure(&mut self, phase: Phase, now: Moment) {
        let attempt = self.upstream.as_ref().and_then(|facts| facts.attempt());
        if let Some((end, _)) = attempt.and_then(|attempt| attempt.failed) {
            self.note_verdict(Verdict::on_upstream(end, phase), now);
        }
    }

    /// The letters of its verdict, or [`UNDISTURBED`].
    pub fn verdict(&self) -> impl Display + use<> {
        let verdict = self.disturbance.as_ref().map(|disturbance| disturbance.verdict);
        fmt::from_fn(move |f| match verdict {
            Some(verdict) => verdict.fmt(f),
            None => f.write_str(UNDISTURBED),
        })
    }

    /// Why the request ended before its response was complete, if it did.
    pub fn cut(&self) -> Option<Cut> {
        self.disturbance.as_ref()?.cut
    }

    /// Notes what its route has left for it, if that is anything.
    #[inline]
    pub fn take_terms(&mut self, left: &Cell<Option<Rc<Terms>>>) {
        if let Some(terms) = left.take() {
            self.terms = Some(terms);
        }
    }

    /// The limits of the request, if those of all are `limits`.
    pub fn limits<'a>(&'a self, limits: &'a Limits) -> &'a Limits {
        self.terms.as_ref().map_or(limits, |terms| &terms.limits)
    }

    /// Whether so many bytes are more content than the request may have, if the limits of all are `limits`. What another protocol
    /// sends is no content.
    pub fn is_too_long(&self, bytes: u64, limits: &Limits) -> bool {
        bytes > self.limits(limits).content_bytes_max && !self.is_upgrade() && self.method != Some(Method::Connect)
    }

    /// Whether it stands in the access log.
    pub fn is_logged(&self) -> bool {
        self.terms.as_ref().is_none_or(|terms| terms.is_logged)
    }

    /// Notes what the service has left for it, if that is anything.
    #[inline]
    pub fn take_held(&mut self, left: &Cell<Option<Box<Held>>>) {
        if let Some(held) = left.take() {
            self.held = Some(held);
        }
    }

    /// The user whose password it had, if that was right.
    pub fn user(&self) -> Option<&[u8]> {
        self.held.as_ref()?.user.as_ref()?.name()
    }

    /// What names it in the logs.
    pub fn key(&self) -> RequestKey {
        if self.stream == 0 { RequestKey::Ordinal(self.ordinal) } else { RequestKey::Stream(self.stream) }
    }

    /// Whether `key` names it. On HTTP/2 its number on the connection does so, too.
    pub fn is_named_by(&self, key: RequestKey) -> bool {
        key == self.key() || key == RequestKey::Ordinal(self.ordinal)
    }

    /// Notes the request line, and the fields that are wanted.
    pub fn note_head(&mut self, request: &RequestHead<'_>, with_fields: bool) {
        self.note_line(request.method, request.target.raw, request.version);
        if with_fields {
            let field = |name| request.fields.first(name).unwrap_or_default();
            self.set_texts(request.target.raw, field("Referer"), field("User-Agent"));
        }
    }

    /// Keeps these texts, each of them up to its limit. An empty one is one that is not known.
    pub fn set_texts(&mut self, target: &[u8], referer: &[u8], user_agent: &[u8]) {
        self.texts.clear();
        self.target_end = self.add_text(target, TARGET_BYTES_MAX);
        self.referer_end = self.add_text(referer, FIELD_BYTES_MAX);
        self.user_agent_end = self.add_text(user_agent, FIELD_BYTES_MAX);
    }

    /// Notes the identifier that `write` appends to a text: at most [`ID_BYTES_MAX`](super::request_id::ID_BYTES_MAX) bytes,
    /// which can be printed. The other texts must be known by then.
    pub fn set_id(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.texts.truncate(self.user_agent_end.into());
        write(&mut self.texts);
    }

    /// Notes the request line alone: of a request that was refused, the rest may not be known.
    pub fn note_line(&mut self, method: Method, target: &[u8], version: Version) {
        self.method = Some(method);
        self.version = version;
        self.texts.clear();
        self.target_end = self.add_text(target, TARGET_BYTES_MAX);
        (self.referer_end, self.user_agent_end) = (self.target_end, self.target_end);
    }

    /// Whether the response has opened a tunnel: with 101, or with 200 to CONNECT (RFC 8441 §5).
    pub fn is_upgrade(&self) -> bool {
        match self.status {
            Some(Status::OK) => self.method == Some(Method::Connect),
            status => status == Some(Status::SWITCHING_PROTOCOLS),
        }
    }

    fn add_text(&mut self, text: &[u8], bytes_max: usize) -> u16 {
        const { assert!(TARGET_BYTES_MAX + 2 * FIELD_BYTES_MAX <= u16::MAX as usize) };
        self.texts.extend_from_slice(&text[..text.len().min(bytes_max)]);
        self.texts.len() as u16
    }

    /// The request's target, perhaps only the beginning of it; empty if it is not known.
    pub fn target(&self) -> &[u8] {
        &self.texts[..self.target_end.into()]
    }

    /// `Referer`, or empty.
    pub fn referer(&self) -> &[u8] {
        &self.texts[self.target_end.into()..self.referer_end.into()]
    }

    /// `User-Agent`, or empty.
    pub fn user_agent(&self) -> &[u8] {
        &self.texts[self.referer_end.into()..self.user_agent_end.into()]
    }

    /// The request's identifier, or empty.
    pub fn id(&self) -> &[u8] {
        &self.texts[self.user_agent_end.into()..]
    }

    /// Method and target, to be printed: bytes that are not printable are escaped. It is never empty; `-` stands for a
    /// target that is not known.
    pub fn request(&self) -> String {
        let mut text = String::new();
        self.write_request(&mut text);
        text
    }

    /// The same, at the end of `text`.
    pub fn write_request(&self, text: &mut String) {
        let Some(method) = self.method else { return text.push_str(NOT_UNDERSTOOD) };
        let target = if self.target().is_empty() { b"-" } else { self.target() };
        text.push_str(method.as_str());
        text.push(' ');
        text.extend(target.escape_ascii().map(char::from));
    }

    /// How long it was readable in the kernel before the turn began in which its first byte was noticed: an estimate.
    pub fn time_before_turn(&self) -> Duration {
        self.began.since(self.readable_at)
    }

    /// The time from the request's first byte to the beginning of the drive in which its head was complete.
    pub fn time_to_head(&self) -> Duration {
        self.head_at.since(self.began)
    }

    /// The time from the request's first byte to the end of the drive in which the first byte of the response left;
    /// `None` if no byte of it has left.
    pub fn time_to_first_byte(&self) -> Option<Duration> {
        // A response that leaves in one write is noticed only when all of it has left.
        let at = self.first_byte_at.or(self.last_byte_at.filter(|_| !self.tx.is_empty()));
        at.map(|at| at.since(self.began))
    }

    /// The time from the request's first byte to the end of the drive in which the request ended: the last byte of its
    /// response left, or its connection ended. `None` if the request is not over.
    pub fn time_to_last_byte(&self) -> Option<Duration> {
        self.last_byte_at.map(|at| at.since(self.began))
    }

    /// How long reading was paused. A pause that goes on counts up to the end of the request, if the request is over.
    pub fn paused_time(&self) -> Duration {
        self.paused.total(self.last_byte_at.unwrap_or_default())
    }

    /// How long there was something to send that the kernel had no room for; with several responses queued on HTTP/1, the
    /// time counts for the first one. It is in no drive.
    pub fn blocked_time(&self) -> Duration {
        self.timers().map_or(Duration::ZERO, Timers::blocked)
    }

    /// Where its time went up to `now`, or up to its end if it is over. The parts add up to the time since its first byte.
    pub fn part_times(&self, now: Moment) -> PartTimes {
        let now = self.last_byte_at.unwrap_or(now);
        match &self.timeline {
            Timeline::OneDrive => times_of_one_drive(self.began, self.head_at, now),
            Timeline::FirstWait(part, since) => {
                let mut times = times_of_one_drive(self.began, self.head_at, *since);
                times[*part as usize].1 += now.since(*since);
                times
            }
            Timeline::Several(timers) => timers.times(now),
        }
    }

    /// What it waits for and since when, if it was not over within one drive.
    pub fn present_part(&self) -> Option<(Part, Moment)> {
        match &self.timeline {
            Timeline::OneDrive => None,
            Timeline::FirstWait(part, since) => Some((*part, *since)),
            Timeline::Several(timers) => Some(timers.present()),
        }
    }

    /// What the client's kernel had acknowledged of the response when it was over, in bytes, if the kernel was asked.
    pub fn acknowledged(&self) -> Option<u64> {
        self.timers()?.acknowledged
    }

    /// Its head has taken more than one turn: it was complete when one began at `due`.
    pub fn note_slow_head(&mut self, due: Moment) {
        self.timeline = Timeline::Several(Box::new(Timers::new(self.began, due, self.head_at)));
    }

    /// A drive is over, and the request is not: it waits for this now. `moved`: the drive was about it.
    pub fn note_wait(&mut self, drive: &Drive, part: Part, moved: bool) {
        match self.timeline {
            Timeline::OneDrive if self.head_at == drive.began => self.timeline = Timeline::FirstWait(part, drive.over),
            Timeline::FirstWait(present, _) if present == part && !moved => {}
            _ => {
                self.count_drive(drive, part, moved);
            }
        }
    }

    /// The job that it waits for has a thread since `began`.
    pub fn note_job_began(&mut self, began: Moment) {
        if let Some(timers) = self.timers_mut() {
            timers.on_job_began(began);
        }
    }

    /// The kernel says that the client's window was shut for so long, and up to where it has acknowledged the stream to it.
    pub fn note_peer(&mut self, window_was_shut: Duration, acknowledged: u64) {
        let tx = self.tx.clone();
        if let Some(timers) = self.timers_mut() {
            timers.blame(window_was_shut);
            timers.acknowledged = Some(acknowledged.clamp(tx.start, tx.end) - tx.start);
        }
    }

    /// The request is over with this drive. Says whether it was blocked for so long that the kernel may say why.
    #[inline]
    fn note_over(&mut self, drive: &Drive) -> bool {
        self.last_byte_at = Some(drive.over);
        (!matches!(self.timeline, Timeline::OneDrive) || self.head_at != drive.began) && self.end_timers(drive)
    }

    #[cold]
    #[inline(never)]
    fn end_timers(&mut self, drive: &Drive) -> bool {
        self.count_drive(drive, Part::Queue, true) >= WHY_BLOCKED_MIN
    }

    /// Counts a drive that is more than the beginning of the first wait. Returns how long the request was blocked by then.
    fn count_drive(&mut self, drive: &Drive, next: Part, moved: bool) -> Duration {
        let mut timers = match std::mem::replace(&mut self.timeline, Timeline::OneDrive) {
            Timeline::Several(timers) => timers,
            Timeline::FirstWait(part, since) => self.timers_of_first_wait(part, since),
            Timeline::OneDrive => {
                let mut timers = Timers::new(self.began, self.began, self.head_at);
                if self.head_at != drive.began {
                    // Of a response that waits behind others nobody has said so.
                    timers.wait_behind_others();
                }
                Box::new(timers)
            }
        };
        timers.on_drive(drive, next, moved);
        let blocked = timers.blocked();
        self.timeline = Timeline::Several(timers);
        blocked
    }

    /// Timers of a request that has waited for this since then, and for nothing before.
    fn timers_of_first_wait(&self, part: Part, since: Moment) -> Box<Timers> {
        let mut timers = Timers::new(self.began, self.began, self.head_at);
        timers.enter(part, since);
        Box::new(timers)
    }

    fn timers(&self) -> Option<&Timers> {
        match &self.timeline {
            Timeline::Several(timers) => Some(timers),
            _ => None,
        }
    }

    /// Its timers, unless it had nothing to wait for so far.
    fn timers_mut(&mut self) -> Option<&mut Timers> {
        if let Timeline::FirstWait(part, since) = self.timeline {
            self.timeline = Timeline::Several(self.timers_of_first_wait(part, since));
        }
        match &mut self.timeline {
            Timeline::Several(timers) => Some(timers),
            _ => None,
        }
    }

    /// A copy of the record alone, to be shown. Its stopwatch has stopped at `now`, and its timers count up to then.
    pub fn snapshot(&self, now: Moment) -> RequestRecord {
        let mut copy = RequestRecord {
            ordinal: self.ordinal,
            stream: self.stream,
            client: self.client,
            method: self.method,
            version: self.version,
            texts: self.texts.clone(),
            target_end: self.target_end,
            referer_end: self.referer_end,
            user_agent_end: self.user_agent_end,
            tells_times: self.tells_times,
            status: self.status,
            began: self.began,
            head_at: self.head_at,
            readable_at: self.readable_at,
            ahead: self.ahead,
            behind: self.behind.clone(),
            first_byte_at: self.first_byte_at,
            last_byte_at: self.last_byte_at,
            rx: self.rx.clone(),
            tx: self.tx.clone(),
            head_bytes: self.head_bytes,
            framed_bytes: self.framed_bytes,
            taken_bytes: self.taken_bytes,
            produced_bytes: self.produced_bytes,
            paused: self.paused,
            timeline: self.timeline.clone(),
            queued_max: self.queued_max,
            farewell: self.farewell.clone(),
            held: None,
            upstream: self.upstream.clone(),
            terms: self.terms.clone(),
            breach: self.breach,
            disturbance: self.disturbance.clone(),
            next: None,
        };
        copy.paused.set(false, now);
        if let Some(timers) = copy.timers_mut() {
            timers.bring_up_to(now);
        }
        copy
    }

    /// What follows the response's head on the wire, in bytes, as far as it has left.
    pub fn content_bytes(&self) -> u64 {
        let behind_head = (self.tx.end - self.tx.start).saturating_sub(self.head_bytes);
        if self.stream == 0 { behind_head } else { behind_head.min(self.framed_bytes) }
    }

    /// How much of the response has left, with its head and its framing, in bytes.
    pub fn response_bytes(&self) -> u64 {
        let bytes = self.tx.end - self.tx.start;
        if self.stream == 0 { bytes } else { bytes.min(self.head_bytes + self.framed_bytes) }
    }

    /// A drive was over at `now`, when `sent` bytes had left on the connection and `queued` waited to: notes whether the
    /// response has begun to leave.
    pub fn note_leaving(&mut self, sent: u64, queued: u64, now: Moment) {
        self.queued_max = self.queued_max.max(queued);
        if self.first_byte_at.is_none() && self.status.is_some() && sent > self.tx.start {
            self.first_byte_at = Some(now);
        }
    }

    /// Becomes what `new` makes, but keeps the memory for texts. Each field is set where it stands: most records have nothing
    /// that would have to be dropped, and to drop a whole one is a call.
    fn clear(&mut self, now: Moment) {
        #[rustfmt::skip]
        let RequestRecord {
            ordinal, stream, client, method, version, texts, target_end, referer_end, user_agent_end, tells_times, status,
            began, head_at, readable_at, ahead, behind, first_byte_at, last_byte_at, rx, tx, head_bytes, framed_bytes,
            taken_bytes, produced_bytes, paused, timeline, queued_max, farewell, held, upstream, terms, breach, disturbance,
            next,
        } = self;
        texts.clear();
        (*target_end, *referer_end, *user_agent_end) = (0, 0, 0);
        (*ordinal, *stream, *ahead, *queued_max) = (0, 0, 0, 0);
        (*head_bytes, *framed_bytes, *taken_bytes, *produced_bytes) = (0, 0, 0, 0);
        (*method, *version, *status, *tells_times) = (None, Version::Http11, None, false);
        (*began, *head_at, *readable_at) = (now, now, now);
        (*first_byte_at, *last_byte_at) = (None, None);
        (*rx, *tx, *paused) = (0..0, 0..0, Stopwatch::default());
        (*client, *behind, *farewell, *disturbance, *next) = (None, None, None, None, None);
        (*timeline, *upstream, *terms, *breach) = (Timeline::OneDrive, None, None, None);
        *held = None;
    }
}

/// Several records, oldest first. They are in boxes, so that only an address is copied when one moves.
pub type RecordQueue = VecDeque<Box<RequestRecord>>;

/// Records that nobody uses just now, the last one given back in front: it is still in the cache.
#[derive(Debug, Default)]
pub struct RecordPool {
    first: Option<Box<RequestRecord>>,
    len: usize,
}

impl RecordPool {
    /// A record for the next request, which begins at `now`.
    pub fn take(&mut self, now: Moment) -> Box<RequestRecord> {
        match self.first.take() {
            Some(mut record) => {
                self.first = record.next.take();
                self.len -= 1;
                record.clear(now);
                record
            }
            None => Box::new(RequestRecord::new(now)),
        }
    }

    /// Keeps a record that nobody needs any more for another request.
    pub fn give_back(&mut self, mut record: Box<RequestRecord>) {
        if self.len < KEPT_MAX {
            record.next = self.first.take();
            self.first = Some(record);
            self.len += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_snapshot_is_the_record_with_its_stopwatches_stopped() {
        let at = Moment::from_millis;
        let mut record = RequestRecord::new(at(10));
        record.method = Some(Method::Get);
        record.set_texts(b"/a\n", b"r", b"u");
        record.note_wait(&drive(10, 12), Part::Blocked, true);
        let snapshot = record.snapshot(at(15));
        assert_eq!(
            (snapshot.request().as_str(), snapshot.referer(), snapshot.user_agent()),
            ("GET /a\\n", &b"r"[..], &b"u"[..])
        );
        assert_eq!((record.blocked_time(), snapshot.blocked_time()), (Duration::ZERO, Duration::from_millis(3)));
    }

    #[test]
    fn times_are_relative_to_the_first_byte() {
        let (at, ms) = (Moment::from_millis, Duration::from_millis);
        let mut record = RequestRecord::new(at(10));
        record.head_at = at(11);
        record.paused.set(true, at(12));
        assert_eq!(
            (record.time_to_head(), record.time_to_first_byte(), record.time_to_last_byte()),
            (ms(1), None, None)
        );
        record.last_byte_at = Some(at(20));
        assert_eq!((record.time_to_first_byte(), record.time_to_last_byte()), (None, Some(ms(10))));
        assert_eq!(record.paused_time(), ms(8), "until the request was over");
        record.tx = 0..1;
        assert_eq!(record.time_to_first_byte(), Some(ms(10)), "all of it left at once");
        record.first_byte_at = Some(at(15));
        assert_eq!(record.time_to_first_byte(), Some(ms(5)));
    }

    #[test]
    fn the_text_of_a_request_is_never_empty() {
        let mut record = RequestRecord::new(Moment::default());
        assert_eq!(record.request(), "(not understood)");
        record.method = Some(Method::Post);
        assert_eq!(record.request(), "POST -");
    }

    /// A drive that began at once when it was due.
    fn drive(due: u64, over: u64) -> Drive {
        Drive { due: at(due), began: at(due), over: at(over) }
    }

    fn at(ms: u64) -> Moment {
        Moment::from_millis(ms)
    }

    #[test]
    fn a_bounded_number_of_records_is_kept_and_each_is_as_good_as_new() {
        let mut pool = RecordPool::default();
        for _ in 0..2 * KEPT_MAX {
            let mut record = Box::new(RequestRecord::new(at(1)));
            (record.status, record.queued_max) = (Some(Status::OK), 7);
            record.set_texts(b"/a", b"r", b"u");
            pool.give_back(record);
        }
        let kept = std::iter::successors(pool.first.as_deref(), |record| record.next.as_deref()).count();
        assert_eq!(kept, KEPT_MAX);
        let taken = pool.take(at(2));
        assert_eq!((taken.began, taken.status, taken.queued_max), (at(2), None, 0));
        assert_eq!((taken.target(), taken.user_agent(), taken.next.is_none()), (&b""[..], &b""[..], true));
    }

    proptest! {
        /// The first wait of a request has no timers of its own, and nobody sees the difference.
        #[test]
        fn however_often_it_waits_it_tells_what_timers_tell(
            head in 0..2_u64,
            drives in prop::collection::vec((0..9_u64, 0..9_u64, 0..3_usize, any::<bool>()), 0..6),
        ) {
            let mut record = RequestRecord::new(at(3));
            record.head_at = at(5);
            let mut timers = Timers::new(at(3), at(3), at(5));
            let mut now = 5 + head;
            if head > 0 && !drives.is_empty() {
                timers.wait_behind_others();
            }
            for (pause, work, part, moved) in drives {
                let drive = Drive { due: at(now), began: at(now), over: at(now + work) };
                let part = [Part::Turn, Part::JobQueued, Part::Blocked][part];
                record.note_wait(&drive, part, moved);
                timers.on_drive(&drive, part, moved);
                now += work + pause;
                prop_assert_eq!(record.part_times(at(now)), timers.times(at(now)));
                prop_assert_eq!(record.present_part(), Some(timers.present()));
                prop_assert_eq!(record.blocked_time(), timers.blocked());
                let mut later = timers.clone();
                later.bring_up_to(at(now));
                let mut snapshot = record.snapshot(at(now));
                prop_assert_eq!(snapshot.blocked_time(), later.blocked());
                later.on_job_began(at(now));
                snapshot.note_job_began(at(now));
                prop_assert_eq!(snapshot.part_times(at(now)), later.times(at(now)));
            }
        }
    }

    #[test]
    fn a_pause_that_goes_on_is_shown_up_to_now() {
        let mut record = RequestRecord::new(at(10));
        record.paused.set(true, at(12));
        let snapshot = record.snapshot(at(19));
        assert_eq!((snapshot.paused_time(), record.paused_time()), (Duration::from_millis(7), Duration::ZERO));
    }
}
