//! Content in parts: bytes that are there, and parts of files that are sent without passing through us.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use crate::base::disk::Residency;
use crate::base::job_name::JobKind;
use crate::base::job_pool::{QueueFull, Ticket};
use crate::base::ring::Room;
use crate::http::body::{ContentPart, Failure, FilePart};
use crate::http::exchange::Cx;

/// How much of a file is sent at a time, in bytes: each call ends in a packet that is not full, and others are served
/// in between.
const SEND_BYTES_MAX: u64 = 2 * 1024 * 1024;
/// How much of a file is taken to be in memory if its first byte and its last are, and how much a job reads, in bytes:
/// twice what the kernel reads ahead.
const PROBED_BYTES: u64 = 256 * 1024;
/// How much of the end of a file is sent as if it were not a large one, in bytes: what is complete for us shall nearly have
/// left, so that our deadlines are about what the client does.
const TAIL_BYTES: u64 = 256 * 1024;
/// How soon a full job queue is tried again.
const RETRY: Duration = Duration::from_millis(20);
/// When a job that has not answered is looked at again. A stalled disk keeps it waiting, and only it.
const PATIENCE: Duration = Duration::from_secs(60);

/// The parts that are left, the first of them perhaps in part.
pub(super) struct Parts {
    /// What comes next. Most responses have no more than this, and so need no allocation for a list.
    front: Option<ContentPart>,
    rest: VecDeque<ContentPart>,
    /// How many bytes of the first part are out, if it is bytes.
    sent: usize,
    /// Up to where the file at the front has just been brought into memory.
    warm_until: u64,
    warming: Option<Ticket<io::Result<()>>>,
    is_bulk: bool,
}

/// What is at the front.
pub(super) enum Front {
    /// Bytes, at least one: they go through [`Parts::put`].
    Bytes,
    /// This part of a file can be sent without waiting for a disk.
    File(FilePart),
    /// A job brings the file into memory; look again at this moment or when the job wakes us.
    Cold(Instant),
    /// Nothing: that was all.
    Nothing,
}

impl Parts {
    pub(super) fn new(front: Option<ContentPart>, rest: VecDeque<ContentPart>) -> Parts {
        Parts { front, rest, sent: 0, warm_until: 0, warming: None, is_bulk: false }
    }

    /// What comes next. A part of a file that is returned has to be sent. `residency` counts the system calls that ask
    /// whether a file is in memory.
    pub(super) fn front(&mut self, cx: &Cx<'_>, residency: &mut u64) -> Result<Front, Failure> {
        while self.front.as_ref().is_some_and(|part| part.length() == 0) {
            self.next();
        }
        match &self.front {
            None => Ok(Front::Nothing),
            Some(ContentPart::Bytes(_)) => Ok(Front::Bytes),
            Some(ContentPart::File(_)) => self.front_file(cx, residency),
        }
    }

    fn front_file(&mut self, cx: &Cx<'_>, residency: &mut u64) -> Result<Front, Failure> {
        let length = self.warm_bytes(residency)?;
        if length == 0 {
            return self.warm(cx).map(Front::Cold);
        }
        let Some(ContentPart::File(part)) = &mut self.front else { return Ok(Front::Nothing) };
        self.is_bulk = part.length > if self.is_bulk { TAIL_BYTES } else { SEND_BYTES_MAX };
        let length = if self.is_bulk { length.min(part.length - TAIL_BYTES) } else { length };
        let now_sent = FilePart { length, ..part.clone() };
        part.offset += length;
        part.length -= length;
        Ok(Front::File(now_sent))
    }

    /// How many bytes from the front on can be sent without waiting for a disk.
    fn warm_bytes(&mut self, calls: &mut u64) -> Result<u64, Failure> {
        if !self.has_warmed()? {
            return Ok(0);
        }
        let Some(ContentPart::File(part)) = &self.front else { return Ok(0) };
        let end = part.offset + part.length.min(SEND_BYTES_MAX);
        // What a job has just read is not doubted: where the system cannot tell, it would be read for ever.
        let mut warm = self.warm_until.clamp(part.offset, end);
        while warm < end {
            let step = (end - warm).min(PROBED_BYTES);
            // The byte in front of every step but the first has just been asked about.
            let (first, length) = if warm == part.offset { (warm, step) } else { (warm + step - 1, 1) };
            if !part.file.is_resident(first, length, calls).map_err(Failure::new)? {
                break;
            }
            warm += step;
        }
        Ok(warm - part.offset)
    }

    /// Whether a file is at the front.
    pub(super) fn begin_with_file(&self) -> bool {
        matches!(self.front.iter().chain(&self.rest).find(|part| part.length() > 0), Some(ContentPart::File(_)))
    }

    /// Puts what is in memory of the file at the front. If that is nothing, a job brings it into memory: the result is when
    /// to look again, unless the job wakes us before.
    pub(super) fn copy_file(&mut self, room: &mut Room<'_>, cx: &Cx<'_>) -> Result<Option<Instant>, Failure> {
        if !self.has_warmed()? {
            return self.warm(cx).map(Some);
        }
        while self.front.as_ref().is_some_and(|part| part.length() == 0) {
            self.next();
        }
        while let (Some(ContentPart::File(part)), false) = (&mut self.front, room.is_full()) {
            let space = room.space();
            let count = usize::try_from(part.length).unwrap_or(usize::MAX).min(space.len());
            let copied = match part.file.read_resident(&mut space[..count], part.offset).map_err(Failure::new)? {
                Residency::Read(n) => n,
                // What a job has just read is not doubted: where the system cannot tell, it would be read for ever.
                Residency::Unknown if part.offset < self.warm_until => {
                    part.file.read_at(&mut space[..count], part.offset).map_err(Failure::new)?
                }
                Residency::Cold | Residency::Unknown if room.written() > 0 => return Ok(None),
                Residency::Cold | Residency::Unknown => return self.warm(cx).map(Some),
            };
            if copied == 0 {
                return Err(Failure::new("a file became shorter while it was sent"));
            }
            room.advance(copied);
            part.offset += copied as u64;
            part.length -= copied as u64;
            if part.length == 0 {
                self.next();
            }
        }
        Ok(None)
    }

    /// Whether no job is reading the file at the front.
    fn has_warmed(&mut self) -> Result<bool, Failure> {
        let Some(ticket) = &mut self.warming else { return Ok(true) };
        let Some(warmed) = ticket.take() else { return Ok(false) };
        self.warming = None;
        warmed.map_err(Failure::new)?.map_err(Failure::new)?;
        Ok(true)
    }

    /// Whether the part of a file that was last returned is one of many.
    pub(super) fn is_bulk(&self) -> bool {
        self.is_bulk
    }

    fn warm(&mut self, cx: &Cx<'_>) -> Result<Instant, Failure> {
        let Some(ContentPart::File(part)) = &self.front else { return Ok(cx.now) };
        if self.warming.is_some() {
            return Ok(cx.now + PATIENCE);
        }
        let (file, offset, length) = (part.file.clone(), part.offset, part.length.min(PROBED_BYTES));
        match cx.submit(JobKind::Read, &part.shown(), move || file.warm(offset, length)) {
            Ok(ticket) => {
                self.warming = Some(ticket);
                self.warm_until = offset + length;
                Ok(cx.now + PATIENCE)
            }
            Err(QueueFull) => Ok(cx.now + RETRY),
        }
    }

    /// Puts bytes from the front piece.
    pub(super) fn put(&mut self, room: &mut Room<'_>) {
        let Some(ContentPart::Bytes(bytes)) = &self.front else { return };
        self.sent += room.put(&bytes.as_slice()[self.sent..]);
        if self.sent == bytes.as_slice().len() {
            self.next();
        }
    }

    fn next(&mut self) {
        self.front = self.rest.pop_front();
        self.sent = 0;
        self.warm_until = 0;
        self.is_bulk = false;
    }
}
