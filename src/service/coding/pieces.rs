//! Content that is there already, as a source: bytes, and parts of files, which are read through the room.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use crate::base::disk::Residency;
use crate::base::job_name::JobKind;
use crate::base::job_pool::{QueueFull, Ticket};
use crate::base::ring::Room;
use crate::http::body::{Body, ContentPart, Failure, FilePart, Pull, Wait};
use crate::http::exchange::{Cx, Source};

/// How much a job reads of a file that is not in memory, in bytes.
const READ_BYTES_MAX: u64 = 64 * 1024;
/// How soon a full job queue is tried again.
const RETRY: Duration = Duration::from_millis(20);
/// When a job that has not answered is looked at again.
const PATIENCE: Duration = Duration::from_secs(60);

/// The content of `body`, as a source.
pub(super) fn source_of(body: Body) -> Box<dyn Source> {
    let parts: VecDeque<ContentPart> = match body {
        Body::Source(source) => return source,
        Body::Empty => VecDeque::new(),
        Body::Bytes(bytes) => [ContentPart::Bytes(bytes)].into(),
        Body::File(part) => [ContentPart::File(part)].into(),
        Body::Parts(parts) => parts,
    };
    Box::new(Pieces { parts, put: 0, reading: None, read: Vec::new() })
}

/// The parts that are left, the first of them perhaps in part.
struct Pieces {
    parts: VecDeque<ContentPart>,
    /// How much of the first part is out if it is bytes, or else of `read`.
    put: usize,
    reading: Option<Ticket<io::Result<Vec<u8>>>>,
    /// What a job has read from the file at the front. The part of the file begins behind it.
    read: Vec<u8>,
}

impl Pieces {
    /// Puts more of the first part, for which there is room. `Some`: it waits for a job.
    fn put(&mut self, room: &mut Room<'_>, cx: &mut Cx<'_>) -> Result<Option<Wait>, Failure> {
        let is_over = match self.parts.front_mut() {
            None => return Ok(None),
            Some(ContentPart::Bytes(bytes)) => {
                let bytes = bytes.as_slice();
                self.put += room.put(&bytes[self.put..]);
                self.put == bytes.len()
            }
            Some(ContentPart::File(_)) if self.put < self.read.len() => {
                self.put += room.put(&self.read[self.put..]);
                if self.put == self.read.len() {
                    (self.put, self.read) = (0, Vec::new());
                }
                false
            }
            Some(ContentPart::File(part)) if part.length == 0 => true,
            Some(ContentPart::File(_)) => return self.put_file(room, cx),
        };
        if is_over {
            self.parts.pop_front();
            self.put = 0;
        }
        Ok(None)
    }

    /// Reads what is in memory straight into `room`, and has a job read what is not: the loop never waits for a disk.
    fn put_file(&mut self, room: &mut Room<'_>, cx: &mut Cx<'_>) -> Result<Option<Wait>, Failure> {
        let Some(ContentPart::File(part)) = self.parts.front_mut() else { return Ok(None) };
        if let Some(ticket) = &mut self.reading {
            let Some(read) = ticket.take() else { return Ok(Some(Wait::Job(cx.now + PATIENCE))) };
            self.reading = None;
            self.read = read.map_err(Failure::new)?.map_err(Failure::new)?;
            return advance(part, self.read.len()).map(|()| None);
        }
        let space = room.space();
        let wanted = usize::try_from(part.length).unwrap_or(usize::MAX).min(space.len());
        match part.file.read_resident(&mut space[..wanted], part.offset).map_err(Failure::new)? {
            Residency::Read(n) => {
                room.advance(n);
                advance(part, n).map(|()| None)
            }
            Residency::Cold | Residency::Unknown => Ok(self.start_reading(cx)),
        }
    }

    fn start_reading(&mut self, cx: &Cx<'_>) -> Option<Wait> {
        let Some(ContentPart::File(part)) = self.parts.front() else { return None };
        let shown = part.shown();
        let FilePart { file, offset, length } = part.clone();
        let job = move || {
            let mut bytes = vec![0; length.min(READ_BYTES_MAX) as usize];
            let n = file.read_at(&mut bytes, offset)?;
            bytes.truncate(n);
            Ok(bytes)
        };
        match cx.submit(JobKind::Read, &shown, job) {
            Ok(ticket) => {
                self.reading = Some(ticket);
                Some(Wait::Job(cx.now + PATIENCE))
            }
            Err(QueueFull) => Some(Wait::Job(cx.now + RETRY)),
        }
    }
}

/// So many bytes of `part` were read.
fn advance(part: &mut FilePart, n: usize) -> Result<(), Failure> {
    if n == 0 {
        return Err(Failure::new("the file has become shorter while it was sent"));
    }
    part.offset += n as u64;
    part.length -= n as u64;
    Ok(())
}

impl Source for Pieces {
    fn length(&self) -> Option<u64> {
        Some(self.parts.iter().map(ContentPart::length).sum())
    }

    fn pull(&mut self, room: &mut Room<'_>, cx: &mut Cx<'_>) -> Result<Pull, Failure> {
        loop {
            match () {
                () if self.parts.is_empty() => return Ok(Pull::End),
                () if room.is_full() => return Ok(Pull::More),
                () => {}
            }
            if let Some(wait) = self.put(room, cx)? {
                return Ok(Pull::Pending(wait));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::FileExt;
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::base::disk::{Found, Links, OpenFile, Root};
    use crate::base::ring::RingBuffer;
    use crate::http::body::Bytes;
    use crate::service::lab::harness::World;

    /// A file with these bytes, open; its name is gone already.
    fn file(name: &str, content: &[u8]) -> Arc<OpenFile> {
        let (folder, name) = (std::env::temp_dir(), format!("tidemill-pieces-{}-{name}", std::process::id()));
        let path = folder.join(&name);
        fs::write(&path, content).unwrap();
        let found = Root::open(Path::new(&folder), Links::Beneath).unwrap().find(name.as_bytes()).unwrap();
        fs::remove_file(path).unwrap();
        let Found::File(file) = found else { panic!("a file") };
        Arc::new(file)
    }

    fn part(file: &Arc<OpenFile>, offset: u64, length: u64) -> ContentPart {
        ContentPart::File(FilePart { file: Arc::clone(file), offset, length })
    }

    fn pieces(parts: impl Into<VecDeque<ContentPart>>) -> Pieces {
        Pieces { parts: parts.into(), put: 0, reading: None, read: Vec::new() }
    }

    /// All of it, through rooms of `room_bytes`. `cold`: jobs read what is in files.
    fn pulled(mut pieces: Pieces, room_bytes: usize, cold: bool) -> Result<Vec<u8>, Failure> {
        let (world, mut content) = (World::new(), Vec::new());
        loop {
            if cold && pieces.reading.is_none() && pieces.read.is_empty() {
                let is_file = |part: &ContentPart| matches!(part, ContentPart::File(part) if part.length > 0);
                let started = pieces.parts.front().is_some_and(is_file).then(|| pieces.start_reading(&world.cx()));
                assert!(started.is_none_or(|wait| matches!(wait, Some(Wait::Job(_)))));
            }
            let mut ring = RingBuffer::new(room_bytes);
            let mut room = ring.room(0, usize::MAX);
            let pulled = pieces.pull(&mut room, &mut world.cx())?;
            let written = room.written();
            ring.seal(0, b"", written);
            content.extend_from_slice(ring.contiguous(written));
            match pulled {
                Pull::End => return Ok(content),
                Pull::More => assert_eq!(written, room_bytes, "there was room for more"),
                // Where the system cannot tell what is in memory, a job reads it, and has done so already.
                Pull::Pending(wait) => assert!(matches!(wait, Wait::Job(_)), "{wait:?}"),
            }
        }
    }

    fn content(len: usize) -> Vec<u8> {
        (0..len).map(|index| (index / 7) as u8).collect()
    }

    #[test]
    fn parts_come_in_order_whether_they_are_in_memory_or_not() {
        let bytes = content(200_000);
        let file = file("order", &bytes);
        for cold in [false, true] {
            for room_bytes in [1000, 8192, 70_000] {
                let parts = [
                    ContentPart::Bytes(Bytes::Static(b"head")),
                    part(&file, 10, 150_000),
                    part(&file, 0, 0),
                    ContentPart::Bytes(Bytes::Static(b"")),
                    part(&file, 199_999, 1),
                    ContentPart::Bytes(Bytes::Owned(b"tail".to_vec())),
                ];
                let pieces = pieces(parts);
                assert_eq!(pieces.length(), Some(150_009));
                let expected = [b"head", &bytes[10..150_010], &bytes[199_999..], b"tail"].concat();
                assert!(pulled(pieces, room_bytes, cold).unwrap() == expected, "{room_bytes} {cold}");
            }
        }
        assert_eq!(pulled(pieces([]), 10, false).unwrap(), b"");
    }

    #[test]
    fn a_file_that_became_shorter_fails() {
        for cold in [false, true] {
            let file = file("shorter", &content(1000));
            let failed = pulled(pieces([part(&file, 0, 1001)]), 100, cold).unwrap_err();
            assert_eq!(failed.cause, "the file has become shorter while it was sent");
        }
    }

    #[test]
    fn what_is_added_behind_the_part_is_not_sent() {
        let path = std::env::temp_dir().join(format!("tidemill-pieces-{}-longer", std::process::id()));
        fs::write(&path, content(1000)).unwrap();
        let root = Root::open(path.parent().unwrap(), Links::Beneath).unwrap();
        let Found::File(file) = root.find(path.file_name().unwrap().as_encoded_bytes()).unwrap() else {
            panic!("a file")
        };
        fs::OpenOptions::new().write(true).open(&path).unwrap().write_all_at(b"more", 1000).unwrap();
        fs::remove_file(path).unwrap();
        let file = Arc::new(file);
        for cold in [false, true] {
            assert!(pulled(pieces([part(&file, 0, 1000)]), 300, cold).unwrap() == content(1000));
        }
    }
}
