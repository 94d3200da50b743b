//! What a connection waits for, and until when. Every state has exactly one reason to wait and one deadline.

use std::time::Duration;

use crate::base::limits::{Limits, RATE_FLOOR};
use crate::base::moment::Moment;
use crate::observe::wait_reason::WaitReason;

/// When a slow reader is looked at for the first time, unless half of the timeout is shorter. What it has taken by then
/// counts as taken at once. A kernel takes the last bytes that it has room for after about 250 ms: the window is then too
/// small for a segment, and the sender waits for its persist timer (RFC 9293 §3.8.6.2.1).
const FIRST_LOOK: Duration = Duration::from_millis(500);
/// How many looks there are within the timeout. What a look finds counts as taken just now, so a slow reader is cut late by
/// one part of the timeout at most.
const LOOKS: u32 = 8;

/// The wait a connection is in: for what, since when, and how the peer gets on.
#[derive(Debug)]
pub(super) struct Waiting {
    reason: WaitReason,
    /// Which wait for that reason it is: two heads in a row are two waits.
    ordinal: u32,
    since: Moment,
    /// When the peer last moved something.
    progress: Moment,
    /// What it has moved since `since`, in bytes.
    moved: u64,
    /// The byte count that `moved` was last brought up to.
    seen: u64,
    /// For a slow read, and for a window: whether there was a look, what the peer had taken by the last one, in bytes, and
    /// when that was.
    looked: bool,
    taken: u64,
    /// Counted from `since`, in milliseconds, which an `u32` has for 49 days.
    looked_after: u32,
    /// For how long it had moved less than the floor rate when it moved something last, in milliseconds: each byte that moves
    /// pays for its share of a second.
    held_before: u32,
    /// How many looks of a slow read have found nothing since the last progress, and the most of them that ended with
    /// progress, with that one.
    quiet_looks: u8,
    lull_looks: u8,
}

impl Waiting {
    pub(super) fn new(now: Moment) -> Waiting {
        Waiting {
            reason: WaitReason::FirstByte,
            ordinal: 0,
            since: now,
            progress: now,
            moved: 0,
            seen: 0,
            looked: false,
            taken: 0,
            looked_after: 0,
            held_before: 0,
            quiet_looks: 0,
            lull_looks: 0,
        }
    }

    /// Notes what the connection waits for now. `count` is the ever growing number of bytes that the peer moves when
    /// it does what it is waited for; more of them is progress.
    pub(super) fn update(&mut self, reason: WaitReason, ordinal: u32, count: u64, now: Moment) {
        if (self.reason, self.ordinal) != (reason, ordinal) {
            *self = Waiting { reason, ordinal, since: now, seen: count, ..Waiting::new(now) };
        } else if count > self.seen {
            let bytes = count - self.seen;
            if !self.looked {
                self.moved += bytes;
            }
            self.seen = count;
            self.note_progress(bytes, now);
        }
    }

    /// Notes what the peer of a slow read has taken so far, in bytes. Our kernel buffers what the peer does not take, so
    /// the bytes that our kernel has taken say little about the peer.
    pub(super) fn on_look(&mut self, taken: u64, now: Moment) {
        if !self.looked {
            self.moved = 0;
        } else if taken > self.taken {
            let bytes = taken - self.taken;
            self.moved += bytes;
            self.note_progress(bytes, now);
        } else {
            self.quiet_looks = self.quiet_looks.saturating_add(1);
        }
        (self.looked, self.taken, self.looked_after) = (true, taken, millis(now.since(self.since)));
    }

    /// A wait for a window has lasted too long, and the peer has acknowledged so many bytes, but not all that were sent: it
    /// cannot open a window for more before it has read those. If these are `least` more than at the end of the wait before,
    /// the wait begins anew. Says whether it does.
    pub(super) fn prolong(&mut self, acknowledged: u64, least: u64, now: Moment) -> bool {
        let gets_on = acknowledged >= self.taken + least;
        self.taken = acknowledged;
        if gets_on {
            self.since = now;
        }
        gets_on
    }

    fn note_progress(&mut self, bytes: u64, now: Moment) {
        let paid = bytes.saturating_mul(1000) / RATE_FLOOR;
        let held = u64::from(millis(now.since(self.held_since())));
        self.held_before = held.saturating_sub(paid) as u32;
        self.lull_looks = self.lull_looks.max(self.quiet_looks.saturating_add(1));
        self.quiet_looks = 0;
        self.progress = now;
    }

    pub(super) fn reason(&self) -> WaitReason {
        self.reason
    }

    pub(super) fn since(&self) -> Moment {
        self.since
    }

    /// Since when the peer has moved less than the floor rate, as far as that is known: of a slow read, bytes count when our
    /// kernel takes them, and when a look finds that the peer's has them.
    pub(super) fn held_since(&self) -> Moment {
        self.progress.earlier(Duration::from_millis(self.held_before.into()))
    }

    /// What the last look at a slow read has found, in bytes, and when that was; `None` before the first one.
    pub(super) fn last_look(&self) -> Option<(u64, Moment)> {
        self.looked.then_some((self.taken, self.looked_at()))
    }

    fn looked_at(&self) -> Moment {
        self.since + Duration::from_millis(self.looked_after.into())
    }

    /// When this wait has lasted too long, or when the next look is due. `timer` is when a waiting handler wants to be
    /// asked again; `draining` when the server was told to stop.
    pub(super) fn deadline(&self, limits: &Limits, timer: Option<Moment>, draining: Option<Moment>) -> Moment {
        match self.reason {
            WaitReason::FirstByte => self.idle_deadline(limits.first_byte_timeout, limits, draining),
            WaitReason::Idle => self.idle_deadline(limits.keep_alive_timeout, limits, draining),
            // Absolute, as is that of a head. There is no request yet, so it is idle for a server that stops.
            WaitReason::TlsHandshake => self.idle_deadline(limits.handshake_timeout, limits, draining),
            // Absolute: a head that trickles in byte by byte is late all the same.
            WaitReason::SlowHead => self.since + limits.header_timeout,
            // So is a line. People write lines, and need longer.
            WaitReason::SlowLine => self.since + limits.keep_alive_timeout,
            WaitReason::SlowBody => self.pace_deadline(limits.body_timeout, limits.rate_floor),
            // The ordinal changes with each `stall_bytes` that the client lets through.
            WaitReason::Window => self.since + limits.http2.stall_timeout,
            WaitReason::SlowRead => {
                let timeout = limits.send_timeout;
                let next_look =
                    self.looked_at() + if self.looked { timeout / LOOKS } else { FIRST_LOOK.min(timeout / 2) };
                next_look.min(self.slow_read_deadline(limits))
            }
            WaitReason::Timer
            | WaitReason::Job
            | WaitReason::Upstream
            | WaitReason::Conversation
            // These have a deadline of the driver's.
            | WaitReason::Connecting
            | WaitReason::UpstreamSilent
            | WaitReason::UpstreamSlowRead
            | WaitReason::Relay
            | WaitReason::Pooled => timer.unwrap_or(self.since),
            WaitReason::Lingering => self.linger_deadline(limits, draining),
        }
    }

    /// A request that was on its way when the server was told to stop gets a moment to arrive and be answered.
    fn idle_deadline(&self, timeout: Duration, limits: &Limits, draining: Option<Moment>) -> Moment {
        let deadline = self.since + timeout;
        draining.map_or(deadline, |at| deadline.min(self.since.max(at) + limits.drain_idle_grace))
    }

    /// A client that goes on sending is read from for a while, but it does not keep the server from stopping.
    fn linger_deadline(&self, limits: &Limits, draining: Option<Moment>) -> Moment {
        let deadline = (self.progress + limits.linger_timeout).min(self.since + limits.linger_total);
        draining.map_or(deadline, |at| deadline.min(self.since.max(at) + limits.linger_timeout))
    }

    /// Some progress within every `timeout`, and after the first of them `floor` bytes a second on average.
    fn pace_deadline(&self, timeout: Duration, floor: u64) -> Moment {
        (self.progress + timeout).min(self.since + timeout + self.earned(floor))
    }

    /// Some progress within every timeout, and from the end of the first of them on the floor rate on average.
    ///
    /// A kernel that has little room acknowledges in lumps of half its receive buffer or a whole segment (RFC 9293
    /// §3.8.6.2.2), and on loopback a segment has 64 KiB. So after a lull that ended, the next may last twice as long,
    /// but no longer than two timeouts.
    pub(super) fn slow_read_deadline(&self, limits: &Limits) -> Moment {
        let timeout = limits.send_timeout;
        let paced = self.since + timeout.max(self.earned(limits.rate_floor));
        let lull_max = timeout / LOOKS * (2 * u32::from(self.lull_looks)).clamp(LOOKS, 2 * LOOKS);
        paced.min(self.progress + lull_max)
    }

    /// How long the bytes that were moved would take at `floor` bytes a second.
    fn earned(&self, floor: u64) -> Duration {
        Duration::from_millis(self.moved.saturating_mul(1000) / floor.max(1))
    }
}

fn millis(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits { body_timeout: Duration::from_secs(30), rate_floor: 256, ..Limits::default() }
    }

    fn after(start: Moment, secs: u64) -> Moment {
        start + Duration::from_secs(secs)
    }

    #[test]
    fn a_trickle_below_the_floor_does_not_outlive_the_timeout() {
        let start = Moment::default();
        let mut waiting = Waiting::new(start);
        waiting.update(WaitReason::SlowBody, 0, 100, start);
        for second in 1..=30 {
            waiting.update(WaitReason::SlowBody, 0, 100 + second, after(start, second));
        }
        let deadline = waiting.deadline(&limits(), None, None);
        assert!(deadline < after(start, 31), "30 bytes earn a tenth of a second");
    }

    #[test]
    fn an_honest_slow_client_earns_its_time() {
        let start = Moment::default();
        let mut waiting = Waiting::new(start);
        waiting.update(WaitReason::SlowBody, 0, 0, start);
        for second in 1..=600 {
            let now = after(start, second);
            assert!(waiting.deadline(&limits(), None, None) > now, "second {second}");
            waiting.update(WaitReason::SlowBody, 0, second * 300, now);
        }
        let silent = waiting.deadline(&limits(), None, None);
        assert_eq!(silent, after(start, 630), "silence still ends after one timeout");
    }

    #[test]
    fn a_wait_in_which_much_moves_is_not_held_and_one_in_which_little_moves_is() {
        let start = Moment::default();
        let mut waiting = Waiting::new(start);
        waiting.update(WaitReason::SlowRead, 0, 0, start);
        waiting.update(WaitReason::SlowRead, 0, 1 << 20, after(start, 1));
        assert_eq!(waiting.held_since(), after(start, 1), "what moves fast is not saved up");
        // The kernel has taken all. What the peer takes of it is known by the looks.
        waiting.on_look(1000, after(start, 2));
        assert_eq!((waiting.held_since(), waiting.last_look()), (after(start, 1), Some((1000, after(start, 2)))));
        waiting.on_look(1000 + RATE_FLOOR, after(start, 9));
        assert_eq!(waiting.held_since(), after(start, 2), "a second is paid for");
        waiting.on_look(1 << 20, after(start, 16));
        assert_eq!((waiting.held_since(), waiting.since()), (after(start, 16), start));
    }

    #[test]
    fn a_head_has_an_absolute_deadline_and_the_next_head_its_own() {
        let start = Moment::default();
        let mut waiting = Waiting::new(start);
        waiting.update(WaitReason::SlowHead, 0, 1, start);
        waiting.update(WaitReason::SlowHead, 0, 9, after(start, 9));
        assert_eq!(waiting.deadline(&Limits::default(), None, None), after(start, 10));
        waiting.update(WaitReason::SlowHead, 1, 50, after(start, 9));
        assert_eq!(waiting.deadline(&Limits::default(), None, None), after(start, 19));
    }

    #[test]
    fn whoever_goes_on_sending_does_not_keep_a_server_from_ending() {
        let (start, limits) = (Moment::default(), Limits::default());
        let mut waiting = Waiting::new(start);
        waiting.update(WaitReason::Lingering, 0, 0, start);
        for second in 1..=20 {
            waiting.update(WaitReason::Lingering, 0, second, after(start, second));
        }
        assert_eq!(waiting.deadline(&limits, None, None), after(start, 20) + limits.linger_timeout);
        let told = after(start, 10);
        assert_eq!(waiting.deadline(&limits, None, Some(told)), told + limits.linger_timeout);
    }

    #[test]
    fn an_order_to_stop_shortens_idle_waits_only() {
        let start = Moment::default();
        let mut waiting = Waiting::new(start);
        waiting.update(WaitReason::Idle, 3, 0, start);
        let grace = Limits::default().drain_idle_grace;
        let told = after(start, 2);
        assert_eq!(waiting.deadline(&Limits::default(), None, Some(told)), told + grace);
        waiting.update(WaitReason::SlowHead, 3, 0, start);
        assert_eq!(waiting.deadline(&Limits::default(), None, Some(told)), after(start, 10));
    }
}
