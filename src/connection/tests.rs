use std::cell::Cell;
use std::fs::File;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use super::*;
use crate::base::job_pool::JobPool;
use crate::base::limits::Limits;
use crate::base::notice::{Notices, Wake};
use crate::http::body::Failure;
use crate::http::message::{RequestHead, Response};
use crate::net::Io;
use crate::service::{Cx, Entrance, Reply, Service};

/// A client that asks once and then sends without end, and reads whatever it gets.
struct Flood {
    request: &'static [u8],
}

impl Socket for Flood {
    fn read(&mut self, space: [&mut [u8]; 2]) -> io::Result<Io> {
        let [front, back] = space;
        let n = self.request.len().min(front.len());
        front[..n].copy_from_slice(&self.request[..n]);
        self.request = &self.request[n..];
        front[n..].fill(b'x');
        back.fill(b'x');
        Ok(Io::Moved(front.len() + back.len()))
    }

    fn write(&mut self, [front, back]: [&[u8]; 2], _more: bool) -> io::Result<Io> {
        Ok(Io::Moved(front.len() + back.len()))
    }

    fn send_file(&mut self, _file: &File, _offset: u64, count: usize) -> io::Result<Io> {
        Ok(Io::Moved(count))
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn take_error(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn abort_on_close(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Refusal;

impl Service for Refusal {
    fn call(&mut self, _: &RequestHead<'_>, _: &mut Cx<'_>) -> Result<Reply, Failure> {
        Ok(Reply::Respond(Response::new(Status::CONTENT_TOO_LARGE)))
    }
}

struct Nobody;

impl Wake for Nobody {
    fn wake(&self) {}
}

#[test]
fn who_goes_on_sending_after_our_last_byte_gains_no_time_by_it() {
    let start = Instant::now();
    let limits = Limits::default();
    let mut worker =
        Worker::new(Refusal, limits.clone(), Notices::new(Nobody), JobPool::without_threads(), start, UNIX_EPOCH);
    let socket = Flood { request: b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999999\r\n\r\n" };
    let token = Token { index: 0, generation: 0 };
    let mut connection = Connection::new(1, token, Entrance::Public, socket, Peer::Unix, worker.moment);
    connection.on_readiness(Readiness { readable: true, writable: true, ..Readiness::default() });
    while !connection.is_closed() {
        worker.on_turn(worker.around.now + Duration::from_millis(100), || UNIX_EPOCH);
        connection.expire(&mut worker);
        let settled = connection.drive(&mut worker);
        assert!(matches!(settled, Settled::Closed(_)) || connection.wait_reason() == WaitReason::Lingering);
        assert!(worker.around.now - start <= limits.linger_total + Duration::from_secs(1), "the flood never ends");
    }
    assert_eq!(connection.close_reason(), Some(CloseReason::Timeout(WaitReason::Lingering)));
}

/// A client that asks once and reads nothing; then, perhaps, it resets the connection.
struct Deaf {
    request: &'static [u8],
    resets: bool,
    has_reset: bool,
}

impl Socket for Deaf {
    fn read(&mut self, [front, _]: [&mut [u8]; 2]) -> io::Result<Io> {
        let n = self.request.len();
        self.has_reset = self.resets && n == 0;
        if self.has_reset {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        front[..n].copy_from_slice(std::mem::take(&mut self.request));
        Ok(if n == 0 { Io::WouldBlock } else { Io::Drained(n) })
    }

    fn write(&mut self, _: [&[u8]; 2], _more: bool) -> io::Result<Io> {
        assert!(!self.has_reset, "nobody is there to write to");
        Ok(Io::WouldBlock)
    }

    fn send_file(&mut self, _: &File, _: u64, _: usize) -> io::Result<Io> {
        Ok(Io::WouldBlock)
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn take_error(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn abort_on_close(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Its connection, once the answer to it waits in the outbox.
fn unheard(resets: bool) -> (Connection<Deaf>, Worker<Refusal>) {
    let start = Instant::now();
    let mut worker =
        Worker::new(Refusal, Limits::default(), Notices::new(Nobody), JobPool::without_threads(), start, UNIX_EPOCH);
    let socket = Deaf { request: b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", resets, has_reset: false };
    let token = Token { index: 0, generation: 0 };
    let mut connection = Connection::new(1, token, Entrance::Public, socket, Peer::Unix, worker.moment);
    assert!(!connection.is_at_work());
    connection.on_readiness(Readiness { readable: true, ..Readiness::default() });
    assert!(matches!(connection.drive(&mut worker), Settled::Open { .. }));
    assert_eq!((connection.requests(), connection.wait_reason()), (1, WaitReason::SlowRead));
    (connection, worker)
}

#[test]
fn an_answer_that_has_not_left_is_work() {
    // Made whole, it waits in the outbox: cutting it off is no clean end.
    let (connection, _) = unheard(false);
    assert!(connection.is_at_work());
}

#[test]
fn nothing_is_written_to_a_client_that_was_just_found_gone() {
    // strace showed it: a read that failed with ECONNRESET, and a write of 64 KiB right after it.
    let (mut connection, mut worker) = unheard(true);
    connection.on_readiness(Readiness { readable: true, writable: true, ..Readiness::default() });
    let settled = connection.drive(&mut worker);
    assert!(matches!(settled, Settled::Closed(CloseReason::Broken(io::ErrorKind::ConnectionReset))), "{settled:?}");
}

/// A client that asks once and reads 300 bytes a second from a send buffer so large that the kernel never tells of it.
struct SlowReader {
    request: &'static [u8],
    /// How much has been read, in bytes, and not been filled again.
    room: Rc<Cell<usize>>,
}

impl Socket for SlowReader {
    fn read(&mut self, [front, _]: [&mut [u8]; 2]) -> io::Result<Io> {
        let n = self.request.len();
        front[..n].copy_from_slice(std::mem::take(&mut self.request));
        Ok(if n == 0 { Io::WouldBlock } else { Io::Drained(n) })
    }

    fn write(&mut self, [front, back]: [&[u8]; 2], _more: bool) -> io::Result<Io> {
        let n = self.room.get().min(front.len() + back.len());
        self.room.set(self.room.get() - n);
        Ok(if n == 0 { Io::WouldBlock } else { Io::Moved(n) })
    }

    fn send_file(&mut self, _: &File, _: u64, _: usize) -> io::Result<Io> {
        Ok(Io::WouldBlock)
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn take_error(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn abort_on_close(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Megabyte;

impl Service for Megabyte {
    fn call(&mut self, _: &RequestHead<'_>, _: &mut Cx<'_>) -> Result<Reply, Failure> {
        let body = vec![0; 1 << 20].into();
        Ok(Reply::Respond(Response { body, ..Response::new(Status::OK) }))
    }
}

#[test]
fn whoever_reads_slowly_from_a_large_send_buffer_is_not_cut_until_it_stops() {
    // The kernel tells of room only from a third of the buffer on. The simulator found readers who were cut before that.
    let (start, second) = (Instant::now(), Duration::from_secs(1));
    let limits = Limits::default();
    let mut worker =
        Worker::new(Megabyte, limits.clone(), Notices::new(Nobody), JobPool::without_threads(), start, UNIX_EPOCH);
    let room = Rc::new(Cell::new(1000));
    let socket = SlowReader { request: b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", room: Rc::clone(&room) };
    let mut connection =
        Connection::new(1, Token { index: 0, generation: 0 }, Entrance::Public, socket, Peer::Unix, worker.moment);
    connection.on_readiness(Readiness { readable: true, writable: true, ..Readiness::default() });
    let reads_until = start + 10 * limits.send_timeout;
    while matches!(connection.drive(&mut worker), Settled::Open { .. }) {
        worker.on_turn(worker.around.now + second, || UNIX_EPOCH);
        room.set(room.get() + if worker.around.now <= reads_until { 300 } else { 0 });
        connection.expire(&mut worker);
    }
    assert_eq!(connection.close_reason(), Some(CloseReason::Timeout(WaitReason::SlowRead)));
    assert!(worker.around.now > reads_until, "cut after {:?} although it reads", worker.around.now - start);
    let outlived = worker.around.now - reads_until;
    assert!(outlived <= 2 * limits.send_timeout, "cut {outlived:?} after it stopped");
}
