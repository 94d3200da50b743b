//! Requests whose responses are complete and have not left yet.

use std::iter;

use super::{RecordQueue, RequestRecord};
use crate::observe::close_reason::{CloseReason, Cut};
use crate::observe::timers::Drive;
use crate::observe::verdict::Phase;

/// The requests of one connection whose responses are complete, and have not left yet.
///
/// They are a queue made of two chains, so that an idle connection owns no memory for it, and the oldest is at hand
/// however many there are.
#[derive(Debug, Default)]
pub struct LeavingRecords {
    /// The oldest first: it is the one that is being sent. Nobody is in front only if nobody is behind.
    front: Option<Box<RequestRecord>>,
    /// Those behind them, the newest first.
    back: Option<Box<RequestRecord>>,
}

impl LeavingRecords {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.front.is_none()
    }

    /// The oldest: its response is on its way.
    pub fn front(&self) -> Option<&RequestRecord> {
        self.front.as_deref()
    }

    /// The same.
    #[inline]
    pub fn front_mut(&mut self) -> Option<&mut RequestRecord> {
        self.front.as_deref_mut()
    }

    /// Adds a request whose response is complete; where it ends is known.
    pub fn push(&mut self, mut record: Box<RequestRecord>) {
        if self.front.is_none() {
            self.front = Some(record);
        } else {
            record.next = self.back.take();
            self.back = Some(record);
        }
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &RequestRecord> {
        let fronts = iter::successors(self.front.as_deref(), |record| record.next.as_deref());
        fronts.chain(iter::successors(self.back.as_deref(), |record| record.next.as_deref()))
    }

    /// Does something with each of them, in no order.
    pub fn for_each(&mut self, mut act: impl FnMut(&mut RequestRecord)) {
        for mut next in [self.front.as_deref_mut(), self.back.as_deref_mut()] {
            while let Some(record) = next {
                act(record);
                next = record.next.as_deref_mut();
            }
        }
    }

    /// Whether all of them were cut: no response is left that somebody could wait for.
    pub fn are_cut(&self) -> bool {
        let chain = |first: &'_ Option<Box<RequestRecord>>| {
            let mut next = first.as_deref();
            while let Some(record) = next.filter(|record| record.cut().is_some()) {
                next = record.next.as_deref();
            }
            next.is_none()
        };
        chain(&self.front) && chain(&self.back)
    }

    /// Nobody is left in front: those behind take their place.
    #[inline(never)]
    fn turn_round(&mut self) {
        while let Some(mut record) = self.back.take() {
            self.back = record.next.take();
            record.next = self.front.take();
            self.front = Some(record);
        }
    }

    /// Moves those whose response has left to `finished`: `sent` bytes of all had left when the drive was over. Says whether
    /// one of them was blocked for so long that the kernel may say why.
    ///
    /// It stands where it is called, which is in each drive: most drives end one request.
    #[inline(always)]
    pub fn retire(&mut self, sent: u64, drive: &Drive, finished: &mut RecordQueue) -> bool {
        let mut was_blocked = false;
        while let Some(mut record) = self.front.take_if(|record| record.tx.end <= sent) {
            self.front = record.next.take();
            was_blocked |= record.note_over(drive);
            finished.push_back(record);
            if self.front.is_none() && self.back.is_some() {
                self.turn_round();
            }
        }
        was_blocked
    }

    /// The connection was over with this drive, when `sent` bytes had left of all: moves all records to `finished`.
    /// `unfinished` is the request that was being received or answered, and what was going on with it. Says whether one of
    /// them was blocked for so long that the kernel may say why.
    #[inline(never)]
    pub fn cut(
        &mut self,
        unfinished: Option<(Box<RequestRecord>, Phase)>,
        reason: CloseReason,
        sent: u64,
        drive: &Drive,
        finished: &mut RecordQueue,
    ) -> bool {
        let mut was_blocked = self.retire(sent, drive, finished);
        let start = finished.len();
        was_blocked |= self.retire(u64::MAX, drive, finished);
        for record in finished.iter_mut().skip(start) {
            record.end_early(Cut::Connection(reason), Phase::Sending, drive.over);
        }
        if let Some((mut record, phase)) = unfinished {
            record.end_early(Cut::Connection(reason), phase, drive.over);
            if record.status.is_none() {
                record.tx = sent..sent;
            }
            was_blocked |= record.note_over(drive);
            finished.push_back(record);
        }
        for record in finished.iter_mut().skip(start) {
            let end = record.tx.end.min(sent);
            if let Some(disturbance) = &mut record.disturbance {
                disturbance.left_over = record.tx.end - end;
            }
            record.tx = record.tx.start.min(sent)..end;
        }
        was_blocked
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::moment::Moment;
    use crate::http::status::Status;
    use crate::observe::close_reason::{ClientEnd, Fault};
    use crate::observe::request_record::RecordPool;

    const BY_CLIENT: CloseReason = CloseReason::ByClient(ClientEnd::Fin);
    const CUT_SHORT: CloseReason = CloseReason::CutShort(Fault::Handler);

    /// Records of so many complete responses of 10 bytes each, none of which has left.
    fn complete(count: u64, pool: &mut RecordPool) -> LeavingRecords {
        let mut leaving = LeavingRecords::default();
        for ordinal in 1..=count {
            let mut record = pool.take(Moment::default());
            (record.ordinal, record.status, record.tx) = (ordinal, Some(Status::OK), (ordinal - 1) * 10..ordinal * 10);
            leaving.push(record);
        }
        leaving
    }

    /// A drive that began at once when it was due.
    fn drive(due: u64, over: u64) -> Drive {
        Drive { due: at(due), began: at(due), over: at(over) }
    }

    fn ordinals(finished: &RecordQueue) -> Vec<u64> {
        finished.iter().map(|record| record.ordinal).collect()
    }

    fn at(ms: u64) -> Moment {
        Moment::from_millis(ms)
    }

    #[test]
    fn responses_leave_in_order_and_the_oldest_is_in_front() {
        let (mut pool, mut finished) = (RecordPool::default(), RecordQueue::new());
        let mut leaving = complete(5, &mut pool);
        assert_eq!(leaving.front().map(|record| record.ordinal), Some(1));
        leaving.retire(9, &drive(0, 1), &mut finished);
        assert_eq!(ordinals(&finished), [0; 0], "one byte of the first is left");
        leaving.retire(25, &drive(0, 2), &mut finished);
        assert_eq!(ordinals(&finished), [1, 2]);
        assert!(finished.iter().all(|record| record.last_byte_at == Some(at(2)) && record.cut().is_none()));
        assert_eq!(leaving.front().map(|record| record.ordinal), Some(3));
        assert_eq!(leaving.front_mut().map(|record| record.ordinal), Some(3));
    }

    #[test]
    fn the_oldest_is_in_front_in_whatever_order_they_come_and_leave() {
        for moves in 0..1_u32 << 10 {
            let (mut leaving, mut finished, mut came) = (LeavingRecords::default(), RecordQueue::new(), 0);
            for comes in (0..10).map(|step| moves >> step & 1 == 1) {
                if comes {
                    came += 1;
                    let mut record = Box::new(RequestRecord::new(at(0)));
                    (record.ordinal, record.tx.end) = (came, came);
                    leaving.push(record);
                } else {
                    leaving.retire(finished.len() as u64 + 1, &drive(0, 0), &mut finished);
                }
                let oldest = Some(finished.len() as u64 + 1).filter(|ordinal| *ordinal <= came);
                assert_eq!(leaving.front().map(|record| record.ordinal), oldest);
                assert_eq!(leaving.front_mut().map(|record| record.ordinal), oldest);
                assert_eq!(ordinals(&finished), (1..=finished.len() as u64).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn a_close_cuts_what_has_not_left_and_the_request_that_was_not_over() {
        let (mut pool, mut finished) = (RecordPool::default(), RecordQueue::new());
        let mut leaving = complete(3, &mut pool);
        let mut unfinished = pool.take(Moment::default());
        unfinished.ordinal = 4;
        leaving.cut(Some((unfinished, Phase::Handler)), BY_CLIENT, 15, &drive(0, 3), &mut finished);
        assert_eq!(ordinals(&finished), [1, 2, 3, 4]);
        assert!(finished.iter().all(|record| record.last_byte_at == Some(at(3))));
        let cuts: Vec<_> = finished.iter().map(|record| (record.cut(), record.tx.clone())).collect();
        let by_client = Some(Cut::Connection(BY_CLIENT));
        assert_eq!(cuts, [(None, 0..10), (by_client, 10..15), (by_client, 15..15), (by_client, 15..15)]);
        assert!(leaving.front().is_none());
    }

    #[test]
    fn the_response_of_a_stream_is_cut_where_it_ends_and_not_behind_those_of_others() {
        let (mut pool, mut finished) = (RecordPool::default(), RecordQueue::new());
        let mut leaving = complete(3, &mut pool);
        leaving.for_each(|record| {
            let stream = record.ordinal as u32;
            (record.stream, record.tx) = (stream, record.ordinal..10 * record.ordinal);
        });
        leaving.cut(None, BY_CLIENT, 15, &drive(0, 3), &mut finished);
        let ranges: Vec<_> = finished.iter().map(|record| record.tx.clone()).collect();
        assert_eq!(ranges, [1..10, 2..15, 3..15]);
    }

    #[test]
    fn half_a_response_is_cut_where_it_left_off() {
        let (mut pool, mut finished) = (RecordPool::default(), RecordQueue::new());
        let mut unfinished = pool.take(Moment::default());
        (unfinished.status, unfinished.tx) = (Some(Status::OK), 40..60);
        LeavingRecords::default().cut(Some((unfinished, Phase::Sending)), CUT_SHORT, 55, &drive(0, 3), &mut finished);
        assert_eq!((finished[0].cut(), finished[0].tx.clone()), (Some(Cut::Connection(CUT_SHORT)), 40..55));
        assert_eq!(finished[0].disturbance.as_ref().map(|disturbance| disturbance.left_over), Some(5));
    }
}
