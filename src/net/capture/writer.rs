//! The thread that turns events into packets and writes them.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use super::block::{self, Packet};
use super::segment::{ACK, DATA_BYTES_MAX, FIN, PSH, RST, SYN, Segment};
use super::{CaptureOptions, Direction, Event, Flow, Interface, Shared, What, now};
use crate::base::throttle::{LogThrottle, Permit};

/// What is written in one call, in bytes, about.
const WRITE_BYTES: usize = 256 * 1024;
/// What a block adds to the headers, the data and the comments of its packet, in bytes, at most.
const BLOCK_ADDS_MAX: usize = 64;
/// What an interface needs at the end of a file, in bytes.
const STATISTICS_BYTES: usize = 52;

/// So many packets begin a connection.
const HANDSHAKE_PACKETS: u64 = 3;
/// A comment on a beginning that is written once more.
const BEGINNING_IS_ELSEWHERE: &str = "this beginning is repeated: it is in an older file, or was dropped";

/// A file that is open, and where it is.
pub(super) struct Place {
    pub(super) path: PathBuf,
    pub(super) file: File,
}

impl Place {
    /// Makes the file, for this user alone, or empties it.
    pub(super) fn create(path: PathBuf) -> io::Result<Place> {
        // Opening a pipe that nobody reads would wait for a reader.
        if fs::metadata(&path).is_ok_and(|metadata| metadata.file_type().is_dir()) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        if fs::metadata(&path).is_ok_and(|metadata| !metadata.is_file()) {
            return Err(io::Error::other("it is no regular file"));
        }
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        Ok(Place { path, file })
    }

    /// Begins a new file. The present one gets `.1` behind its name, unless it has been moved away.
    fn renew(&mut self) -> io::Result<()> {
        let ours = self.file.metadata()?;
        let is_there =
            fs::metadata(&self.path).is_ok_and(|found| (found.dev(), found.ino()) == (ours.dev(), ours.ino()));
        let mut former = self.path.clone().into_os_string();
        former.push(".1");
        if is_there {
            fs::rename(&self.path, &former)?;
        }
        // What somebody else has put there is not ours to write to.
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.path) {
            Ok(file) => self.file = file,
            Err(error) if is_there => return fs::rename(former, &self.path).and(Err(error)),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Takes back what stands behind the first `length` bytes.
    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.file.set_len(length)?;
        self.file.seek(SeekFrom::Start(length)).map(|_| ())
    }
}

/// The thread's side of a capture.
pub(super) struct Writer {
    place: Place,
    /// The most bytes in one file.
    bytes_max: u64,
    program: String,
    interfaces: Vec<Interface>,
    shared: Arc<Shared>,
    /// The number of the present file, and what it has: bytes, and packets of each interface.
    section: u64,
    written: u64,
    packets: Vec<u64>,
    /// For each interface, how many packets had been dropped when the file began.
    dropped_before: Vec<u64>,
    /// What is to be written, and how many packets of each interface are in it.
    out: Vec<u8>,
    out_packets: Vec<u64>,
    /// The keys that came with the present events.
    secrets: String,
    /// Packets that the disk has not taken, and no comment says so.
    missing: u64,
    /// Packets that were dropped, and the log does not say so.
    untold: u64,
    throttle: LogThrottle,
}

/// What the thread has taken to write.
struct Batch {
    events: Vec<Event>,
    /// The file is begun anew after so many of them.
    reopen_at: Option<usize>,
}

impl Writer {
    /// A writer of files that have up to `bytes_max` bytes together: the present one, and the one before it.
    pub(super) fn new(place: Place, options: CaptureOptions, shared: Arc<Shared>) -> Writer {
        let CaptureOptions { bytes_max, program, interfaces, .. } = options;
        let none = vec![0; interfaces.len()];
        Writer {
            place,
            bytes_max: bytes_max / 2,
            program,
            interfaces,
            shared,
            section: 0,
            written: 0,
            packets: none.clone(),
            dropped_before: none.clone(),
            out: Vec::new(),
            out_packets: none,
            secrets: String::new(),
            missing: 0,
            untold: 0,
            throttle: LogThrottle::new(1),
        }
    }

    pub(super) fn run(&mut self) {
        self.begin_file();
        self.write();
        while let Some(batch) = self.next() {
            let (bytes, files) = needs(&batch.events, &self.secrets);
            if !self.secrets.is_empty() {
                block::secrets(&mut self.out, &self.secrets);
            }
            let mut before = batch.events;
            let after = before.split_off(batch.reopen_at.unwrap_or(before.len()));
            before.into_iter().for_each(|event| self.add(event));
            if batch.reopen_at.is_some() {
                self.renew(false);
            }
            after.into_iter().for_each(|event| self.add(event));
            self.write();
            let mut state = self.shared.lock();
            state.bytes -= bytes;
            state.files -= files;
        }
        self.end_file();
        self.write();
        self.shared.lock().has_ended = true;
        self.shared.changed.notify_all();
    }

    /// Waits for events. `None` at the end.
    fn next(&mut self) -> Option<Batch> {
        let mut state = self.shared.lock();
        while state.is_written() {
            state.at_work = false;
            if state.is_ending {
                return None;
            }
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.at_work = true;
        self.secrets = std::mem::take(&mut state.secrets);
        for interface in &state.interfaces[self.interfaces.len()..] {
            block::interface(&mut self.out, &interface.name, interface.role.scheme());
            self.interfaces.push(interface.clone());
            for counts in [&mut self.packets, &mut self.dropped_before, &mut self.out_packets] {
                counts.push(0);
            }
        }
        Some(Batch { events: std::mem::take(&mut state.waiting), reopen_at: state.reopen_at.take() })
    }

    /// What stands at the beginning of each file. Keys come before the packets that they open.
    fn begin_file(&mut self) {
        self.section += 1;
        self.packets.fill(0);
        let comment = "What the server has read and written, as packets. It has seen no acknowledgements and no \
                       retransmissions, so there are none.";
        block::section_header(&mut self.out, &self.program, comment);
        for Interface { name, role } in &self.interfaces {
            block::interface(&mut self.out, name, role.scheme());
        }
        if !self.secrets.is_empty() {
            block::secrets(&mut self.out, &self.secrets);
        }
    }

    fn end_file(&mut self) {
        let dropped: Vec<u64> = self.shared.lock().counts.iter().map(|counts| counts.dropped).collect();
        for (number, (dropped, before)) in dropped.iter().zip(&self.dropped_before).enumerate() {
            let dropped = dropped - before;
            let seen = self.packets[number] + dropped;
            block::statistics(&mut self.out, number as u32, now(), Some((seen, dropped)), &[]);
        }
    }

    /// Goes on in a new file, if there can be one. Otherwise a file that `is_full` is emptied, so that no more than is allowed is
    /// on the disk.
    fn renew(&mut self, is_full: bool) {
        // What is not written yet counts for this file.
        self.write();
        self.end_file();
        self.write();
        match self.place.renew() {
            Ok(()) => {}
            Err(error) if !is_full => {
                return self.complain(format_args!("cannot begin anew, so it goes on where it is: {error}"));
            }
            Err(error) => {
                self.complain(format_args!("is emptied, because there can be no other file: {error}"));
                if let Err(error) = self.place.cut(0) {
                    self.complain(format_args!("cannot be emptied: {error}"));
                }
            }
        }
        self.written = 0;
        for (before, counts) in self.dropped_before.iter_mut().zip(&self.shared.lock().counts) {
            *before = counts.dropped;
        }
        self.begin_file();
    }

    /// Adds the packets of an event.
    fn add(&mut self, mut event: Event) {
        let mut comments = std::mem::take(&mut event.comments);
        if event.missing > 0 {
            self.note_lost(event.missing, &"the disk does not take them fast enough");
        }
        let missing = event.missing + std::mem::take(&mut self.missing);
        if missing > 0 {
            comments.insert(0, format!("{missing} packets are missing before this one").into());
        }
        let flow = Arc::clone(&event.flow);
        match event.what {
            What::Accepted | What::Asked => return self.add_beginning(&flow, &event.what, &comments),
            What::Answered => flow.is_answered.store(true, Ordering::Relaxed),
            _ => {}
        }
        if flow.section.load(Ordering::Relaxed) != self.section {
            self.repeat_beginning(&flow);
        } else if let What::Answered = event.what {
            self.add_answer(&flow, event.at, &comments);
        }
        match event.what {
            What::Accepted | What::Asked | What::Answered => {}
            What::Fin => self.add_packet(&event, 0, FIN | ACK, &[], 0, &comments),
            What::Reset => {
                if flow.is_ours && !flow.is_answered.load(Ordering::Relaxed) {
                    // RFC 9293 §3.5.2: a reset that answers a SYN has the sequence number 0.
                    event.of_server = 0;
                }
                self.add_packet(&event, 0, RST | ACK, &[], 0, &comments);
            }
            What::Bytes(ref bytes) => {
                for (number, data) in bytes.chunks(DATA_BYTES_MAX).enumerate() {
                    let comments = if number == 0 { &comments[..] } else { &[] };
                    self.add_packet(&event, number * DATA_BYTES_MAX, PSH | ACK, data, data.len(), comments);
                }
            }
            What::FilePart { ref file, offset, length } => {
                self.add_file_part(&event, file.as_ref(), offset, length, &comments);
            }
        }
    }

    /// A part of a file, as far as it can still be read.
    fn add_file_part(&mut self, event: &Event, file: Option<&File>, offset: u64, length: usize, comments: &[Box<str>]) {
        let mut buffer = vec![0; length.min(DATA_BYTES_MAX)];
        for start in (0..length).step_by(DATA_BYTES_MAX) {
            let wanted = (length - start).min(DATA_BYTES_MAX);
            let known = file.map_or(0, |file| read_up_to(file, &mut buffer[..wanted], offset + start as u64));
            let comments = if start == 0 { comments } else { &[] };
            self.add_packet(event, start, PSH | ACK, &buffer[..known], wanted, comments);
        }
    }

    /// The handshake of TCP, so that readers know where both directions begin; or its first packet, if `what` there was is that we
    /// have asked for the connection.
    fn add_beginning(&mut self, flow: &Arc<Flow>, what: &What, comments: &[Box<str>]) {
        let mut comments = comments.to_vec();
        if flow.is_unix {
            comments.push("a Unix socket: the addresses are made up".into());
        }
        let first = handshake_event(flow, flow.began_at, Direction::FromClient, [0, 0]);
        self.add_packet(&first, 0, SYN, &[], 0, &comments);
        flow.section.store(self.section, Ordering::Relaxed);
        if let What::Accepted = what {
            self.add_answer(flow, flow.began_at, &[]);
        }
    }

    /// The rest of the handshake.
    fn add_answer(&mut self, flow: &Arc<Flow>, at: u64, comments: &[Box<str>]) {
        let second = handshake_event(flow, at, Direction::ToClient, [1, 0]);
        self.add_packet(&second, 0, SYN | ACK, &[], 0, comments);
        let third = handshake_event(flow, at, Direction::FromClient, [1, 1]);
        self.add_packet(&third, 0, ACK, &[], 0, &[]);
    }

    /// The beginning once more, in a file that does not have it. These packets count as all others do.
    fn repeat_beginning(&mut self, flow: &Arc<Flow>) {
        let is_whole = !flow.is_ours || flow.is_answered.load(Ordering::Relaxed);
        let (what, packets) = if is_whole { (What::Accepted, HANDSHAKE_PACKETS) } else { (What::Asked, 1) };
        if let Some(counts) = self.shared.lock().counts.get_mut(flow.interface as usize) {
            counts.seen += packets;
        }
        self.add_beginning(flow, &what, &[BEGINNING_IS_ELSEWHERE.into()]);
    }

    /// A packet with `length` bytes of the event from `start` on, of which `data` is known.
    fn add_packet(
        &mut self,
        event: &Event,
        start: usize,
        flags: u8,
        data: &[u8],
        length: usize,
        comments: &[Box<str>],
    ) {
        let Event { flow, direction, of_client, of_server, .. } = event;
        let (from, to, sequence, acknowledged) = match direction {
            Direction::FromClient => (flow.client, flow.server, of_client, of_server),
            Direction::ToClient => (flow.server, flow.client, of_server, of_client),
        };
        let sequence = sequence + start as u64;
        let headers = Segment { from, to, sequence, acknowledged: *acknowledged, flags }.headers(data, length);
        let options: usize = comments.iter().map(|comment| comment.len() + 8).sum();
        let needed = headers.len() + data.len() + options + BLOCK_ADDS_MAX + self.interfaces.len() * STATISTICS_BYTES;
        if self.written + (self.out.len() + needed) as u64 > self.bytes_max {
            self.renew(true);
            if flow.section.load(Ordering::Relaxed) != self.section && flags & SYN == 0 {
                self.repeat_beginning(flow);
            }
        }
        let is_inbound = (*direction == Direction::FromClient) != flow.is_ours;
        let length = headers.len() + length;
        let packet =
            Packet { interface: flow.interface, at: event.at, is_inbound, headers: &headers, data, length, comments };
        block::packet(&mut self.out, &packet);
        self.out_packets[flow.interface as usize] += 1;
        if self.out.len() >= WRITE_BYTES {
            self.write();
        }
    }

    /// Writes what is to be written. What the disk does not take is dropped as a whole: the file must end with a block.
    fn write(&mut self) {
        match self.place.file.write_all(&self.out) {
            Ok(()) => {
                self.written += self.out.len() as u64;
                self.packets.iter_mut().zip(&self.out_packets).for_each(|(sum, packets)| *sum += packets);
            }
            Err(error) => self.give_up(&error),
        }
        self.out.clear();
        self.out_packets.fill(0);
        if self.written == 0 {
            // The beginning of the file was not written: it comes before whatever comes next.
            self.begin_file();
        }
    }

    fn give_up(&mut self, error: &io::Error) {
        let lost: u64 = self.out_packets.iter().sum();
        self.missing += lost;
        // Connections whose beginning was among it begin again with their next packet.
        self.section += 1;
        for (counts, packets) in self.shared.lock().counts.iter_mut().zip(&self.out_packets) {
            counts.dropped += packets;
        }
        self.note_lost(lost, error);
        if let Err(error) = self.place.cut(self.written) {
            self.complain(format_args!("ends with half a block: {error}"));
        }
    }

    /// Says that packets were dropped, with those of which the throttle has let nothing be said.
    fn note_lost(&mut self, packets: u64, why: &dyn fmt::Display) {
        self.untold += packets;
        if self.untold > 0
            && let Permit::Log { .. } = self.throttle.allow(Instant::now())
        {
            log::warn!("{}: {} packets dropped: {why}", self.place.path.display(), self.untold);
            self.untold = 0;
        }
    }

    fn complain(&mut self, what: fmt::Arguments<'_>) {
        if let Permit::Log { .. } = self.throttle.allow(Instant::now()) {
            log::warn!("{}: {what}", self.place.path.display());
        }
    }
}

/// A packet of the handshake, with the sequence numbers of the client and of the server.
fn handshake_event(flow: &Arc<Flow>, at: u64, direction: Direction, [of_client, of_server]: [u64; 2]) -> Event {
    let (flow, what, comments) = (Arc::clone(flow), What::Accepted, Vec::new());
    Event { flow, at, direction, of_client, of_server, what, comments, missing: 0 }
}

/// The memory and the open files of what was taken.
fn needs(events: &[Event], secrets: &str) -> (usize, usize) {
    let bytes: usize = events.iter().map(Event::bytes).sum();
    (bytes + secrets.len(), events.iter().map(Event::files).sum())
}

/// Reads until `buffer` is full or nothing more can be read. Says how much that was.
fn read_up_to(file: &File, buffer: &mut [u8], offset: u64) -> usize {
    let mut known = 0;
    while known < buffer.len() {
        match file.read_at(&mut buffer[known..], offset + known as u64) {
            Ok(0) => break,
            Ok(n) => known += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    known
}
