use std::cell::Cell;
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use super::*;
use crate::base::job_pool::JobPool;
use crate::base::limits::Limits;
use crate::base::listener_id::ListenerId;
use crate::base::listener_role::ListenerRole;
use crate::base::ring::Room;
use crate::base::wake::{Interrupt, Wakes};
use crate::http::body::{Body, Failure, Pull, Wait};
use crate::http::exchange::{Cx, Reply, Source, Taker};
use crate::http::fields::Fields;
use crate::http::message::{RequestHead, Response};
use crate::http::status::Status;
use crate::net::Io;
use crate::observe::close_reason::ClientEnd;
use crate::service::Service;

/// What the client at the other end of a connection does.
trait Client {
    /// Fills what the server reads into.
    fn send(&mut self, space: [&mut [u8]; 2]) -> io::Result<Io>;

    /// Takes from the `len` bytes that the server writes.
    fn take(&mut self, len: usize) -> io::Result<Io>;
}

/// A socket that leads straight to its client.
struct Direct<C>(C);

impl<C: Client> Socket for Direct<C> {
    fn read(&mut self, space: [&mut [u8]; 2]) -> io::Result<Io> {
        self.0.send(space)
    }

    fn write(&mut self, [front, back]: [&[u8]; 2], _more: bool) -> io::Result<Io> {
        self.0.take(front.len() + back.len())
    }

    fn send_file(&mut self, _file: &File, _offset: u64, count: usize) -> io::Result<Io> {
        self.0.take(count)
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

/// A loop's context, and the service of that loop.
struct Loop<V> {
    service: V,
    cx: LoopContext,
}

impl<V: Service> Loop<V> {
    fn new(service: V, limits: &Limits) -> Loop<V> {
        let (wakes, pool) = (Wakes::new(Nobody), JobPool::without_threads());
        Loop { service, cx: LoopContext::new(limits.clone(), wakes, pool, Instant::now(), UNIX_EPOCH) }
    }

    fn drive<S: Socket>(&mut self, connection: &mut Connection<S>) -> Settled {
        let settled = connection.drive(&mut self.service, &mut self.cx);
        connection.note_drive(self.cx.moment, &mut self.cx);
        settled
    }

    fn now(&self) -> Instant {
        self.cx.environment.now
    }

    /// Time passes, and then the deadline is looked at.
    fn pass<S: Socket>(&mut self, time: Duration, connection: &mut Connection<S>) {
        self.cx.on_turn(self.cx.moment + time, || UNIX_EPOCH);
        connection.expire(&mut self.cx);
    }
}

/// Who is at the other end.
const WHO: Identity = Identity { id: 1, token: Token { index: 0, generation: 0 }, peer: Peer::Unix };

fn through(role: ListenerRole) -> Entrance {
    Entrance { listener: ListenerId::new(0), role }
}

/// The connection of `client`, which has something to say, and the loop that serves it.
fn connect<C: Client, V: Service>(client: C, service: V, limits: &Limits) -> (Connection<Direct<C>>, Loop<V>) {
    let server = Loop::new(service, limits);
    let mut connection = Connection::new(WHO, through(ListenerRole::Http), Direct(client), None, server.cx.moment);
    connection.on_readiness(Readiness { readable: true, writable: true, ..Readiness::default() });
    (connection, server)
}

/// A client that sends pieces, one a read, then ends its direction, and keeps what it gets: at most 100 bytes a write.
struct Talker {
    pieces: VecDeque<Vec<u8>>,
    heard: Vec<u8>,
}

impl Socket for Talker {
    fn read(&mut self, [front, _]: [&mut [u8]; 2]) -> io::Result<Io> {
        let Some(piece) = self.pieces.front_mut() else { return Ok(Io::Eof) };
        let n = piece.len().min(front.len());
        front[..n].copy_from_slice(&piece[..n]);
        piece.drain(..n);
        if piece.is_empty() {
            self.pieces.pop_front();
        }
        Ok(Io::Moved(n))
    }

    fn write(&mut self, [front, _]: [&[u8]; 2], _more: bool) -> io::Result<Io> {
        let n = front.len().min(100);
        self.heard.extend_from_slice(&front[..n]);
        Ok(Io::Moved(n))
    }

    fn send_file(&mut self, _file: &File, _offset: u64, _count: usize) -> io::Result<Io> {
        Ok(Io::Eof)
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

/// What a client hears that sends these pieces to a listener with this role and then ends its direction.
pub(super) fn play(role: ListenerRole, pieces: &[&[u8]], limits: &Limits) -> Vec<u8> {
    play_with(Refusal, role, pieces, limits)
}

/// The same, with this service.
fn play_with(service: impl Service, role: ListenerRole, pieces: &[&[u8]], limits: &Limits) -> Vec<u8> {
    let mut server = Loop::new(service, limits);
    let talker = Talker { pieces: pieces.iter().map(|piece| piece.to_vec()).collect(), heard: Vec::new() };
    let mut connection = Connection::new(WHO, through(role), talker, None, server.cx.moment);
    connection.on_readiness(Readiness { readable: true, writable: true, ..Readiness::default() });
    while let Settled::Open { again, .. } = server.drive(&mut connection) {
        assert!(again, "it waits, although the client has more to say or to hear");
    }
    assert!(!matches!(connection.close_reason(), Some(CloseReason::CutShort(_) | CloseReason::Timeout(_))));
    std::mem::take(&mut connection.channel.socket.heard)
}

struct Nobody;

impl Interrupt for Nobody {
    fn wake(&self) {}
}

/// As much of `rest` as there is room for, taken off its front.
fn send_some(rest: &mut &'static [u8], front: &mut [u8]) -> usize {
    let (sent, left) = rest.split_at(rest.len().min(front.len()));
    front[..sent.len()].copy_from_slice(sent);
    *rest = left;
    sent.len()
}

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

struct Refusal;

impl Service for Refusal {
    fn call(&mut self, _: &RequestHead<'_>, _: &mut Cx<'_>) -> Result<Reply, Failure> {
        Ok(Reply::Respond(Response::new(Status::CONTENT_TOO_LARGE)))
    }
}

/// A client that asks once and then sends without end, and reads whatever it gets.
struct Flood {
    request: &'static [u8],
    /// How often the server has read, and how often it has written.
    calls: Rc<Cell<[usize; 2]>>,
}

/// One whose content nobody wants, and the calls it costs.
fn flood() -> (Flood, Rc<Cell<[usize; 2]>>) {
    let request = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999999\r\n\r\n";
    let calls = Rc::default();
    (Flood { request, calls: Rc::clone(&calls) }, calls)
}

impl Client for Flood {
    fn send(&mut self, [front, back]: [&mut [u8]; 2]) -> io::Result<Io> {
        let n = send_some(&mut self.request, front);
        front[n..].fill(b'x');
        back.fill(b'x');
        self.calls.update(|[reads, writes]| [reads + 1, writes]);
        Ok(Io::Moved(front.len() + back.len()))
    }

    fn take(&mut self, len: usize) -> io::Result<Io> {
        self.calls.update(|[reads, writes]| [reads, writes + 1]);
        Ok(Io::Moved(len))
    }
}

#[test]
fn who_goes_on_sending_after_our_last_byte_gains_no_time_by_it() {
    let limits = Limits::default();
    let (mut connection, mut server) = connect(flood().0, Refusal, &limits);
    let start = server.now();
    while !connection.is_closed() {
        server.pass(Duration::from_millis(100), &mut connection);
        let settled = server.drive(&mut connection);
        assert!(matches!(settled, Settled::Closed(_)) || connection.wait_reason() == WaitReason::Lingering);
        assert!(server.now() - start <= limits.linger_total + Duration::from_secs(1), "the flood never ends");
    }
    assert_eq!(connection.close_reason(), Some(CloseReason::Timeout(WaitReason::Lingering)));
}

/// A client that asks once and reads nothing; then, perhaps, it resets the connection.
struct Deaf {
    request: &'static [u8],
    resets: bool,
    has_reset: bool,
}

impl Client for Deaf {
    fn send(&mut self, [front, _]: [&mut [u8]; 2]) -> io::Result<Io> {
        let n = send_some(&mut self.request, front);
        self.has_reset = self.resets && n == 0;
        match n {
            _ if self.has_reset => Err(io::ErrorKind::ConnectionReset.into()),
            0 => Ok(Io::WouldBlock),
            n => Ok(Io::Drained(n)),
        }
    }

    fn take(&mut self, _: usize) -> io::Result<Io> {
        assert!(!self.has_reset, "nobody is there to write to");
        Ok(Io::WouldBlock)
    }
}

/// Its connection, once the answer to it waits in the outbox.
fn unheard(resets: bool) -> (Connection<Direct<Deaf>>, Loop<Refusal>) {
    let deaf = Deaf { request: GET, resets, has_reset: false };
    let (mut connection, mut server) = connect(deaf, Refusal, &Limits::default());
    assert!(!connection.is_at_work());
    assert!(matches!(server.drive(&mut connection), Settled::Open { .. }));
    assert_eq!((connection.requests(), connection.wait_reason()), (1, WaitReason::SlowRead));
    (connection, server)
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
    let (mut connection, mut server) = unheard(true);
    connection.on_readiness(Readiness { readable: true, writable: true, ..Readiness::default() });
    let settled = server.drive(&mut connection);
    assert!(matches!(settled, Settled::Closed(CloseReason::Broken(io::ErrorKind::ConnectionReset))), "{settled:?}");
}

/// A client that asks once and reads 300 bytes a second from a send buffer so large that the kernel never tells of it.
struct SlowReader {
    request: &'static [u8],
    /// How much has been read, in bytes, and not been filled again.
    room: Rc<Cell<usize>>,
}

impl Client for SlowReader {
    fn send(&mut self, [front, _]: [&mut [u8]; 2]) -> io::Result<Io> {
        let n = send_some(&mut self.request, front);
        Ok(if n == 0 { Io::WouldBlock } else { Io::Drained(n) })
    }

    fn take(&mut self, len: usize) -> io::Result<Io> {
        let n = self.room.get().min(len);
        self.room.set(self.room.get() - n);
        Ok(if n == 0 { Io::WouldBlock } else { Io::Moved(n) })
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
    let limits = Limits::default();
    let room = Rc::new(Cell::new(1000));
    let reader = SlowReader { request: GET, room: Rc::clone(&room) };
    let (mut connection, mut server) = connect(reader, Megabyte, &limits);
    let (start, second) = (server.now(), Duration::from_secs(1));
    let reads_until = start + 10 * limits.send_timeout;
    while matches!(server.drive(&mut connection), Settled::Open { .. }) {
        room.set(room.get() + if server.now() <= reads_until { 300 } else { 0 });
        server.pass(second, &mut connection);
    }
    assert_eq!(connection.close_reason(), Some(CloseReason::Timeout(WaitReason::SlowRead)));
    assert!(server.now() > reads_until, "cut after {:?} although it reads", server.now() - start);
    let outlived = server.now() - reads_until;
    assert!(outlived <= 2 * limits.send_timeout, "cut {outlived:?} after it stopped");
}

/// A client that sends request after request at once, and counts the writes that answer them.
struct Pipeline {
    requests: usize,
    writes: Rc<Cell<usize>>,
}

/// So long that a power of two of them fills an inbox.
const REQUEST: &[u8; 32] = b"GET /12345 HTTP/1.1\r\nHost: a\r\n\r\n";

impl Client for Pipeline {
    fn send(&mut self, [front, _]: [&mut [u8]; 2]) -> io::Result<Io> {
        let sent = self.requests.min(front.len() / REQUEST.len());
        self.requests -= sent;
        let bytes = &mut front[..sent * REQUEST.len()];
        bytes.copy_from_slice(&REQUEST.repeat(sent));
        let n = bytes.len();
        Ok(if n == front.len() { Io::Moved(n) } else { Io::Drained(n) })
    }

    fn take(&mut self, len: usize) -> io::Result<Io> {
        self.writes.set(self.writes.get() + 1);
        Ok(Io::Moved(len))
    }
}

/// So many requests, answered in one drive with an inbox for 32 of them: how many answers there were in how many writes,
/// and whether any are held back.
fn pipelined(requests: usize) -> (u64, usize, bool) {
    let limits = Limits { head_bytes_max: 1024, inbox_bytes: 1024, ..Limits::default() };
    let writes = Rc::new(Cell::new(0));
    let client = Pipeline { requests, writes: Rc::clone(&writes) };
    let (mut connection, mut server) = connect(client, Refusal, &limits);
    assert!(matches!(server.drive(&mut connection), Settled::Open { .. }));
    (connection.requests(), writes.get(), !connection.channel.outbox.is_empty())
}

#[test]
fn what_did_not_fit_into_one_read_is_answered_in_the_same_write() {
    assert_eq!(pipelined(31), (31, 1, false));
    // It took as many writes as reads.
    assert_eq!(pipelined(33), (33, 1, false));
    assert_eq!(pipelined(95), (95, 1, false));
}

#[test]
fn no_drive_ends_with_answers_held_back() {
    let (answered, writes, held_back) = pipelined(1_000_000);
    assert!(answered > 100 && writes > 0 && !held_back, "{answered} in {writes} writes, some held back: {held_back}");
}

#[test]
fn content_that_nobody_wants_does_not_delay_the_response_to_it() {
    // Reading on gained nothing where the outbox was full, and four reads went by before each write.
    let (client, calls) = flood();
    let (mut connection, mut server) = connect(client, Megabyte, &Limits::default());
    while calls.get()[1] < 16 {
        assert!(matches!(server.drive(&mut connection), Settled::Open { .. }));
    }
    let [reads, writes] = calls.get();
    assert!(reads <= writes + 1, "{reads} reads for {writes} writes");
}

/// Answers at once, with content that depends on the request's.
struct TakesAtOnce;

impl Service for TakesAtOnce {
    fn call(&mut self, _: &RequestHead<'_>, _: &mut Cx<'_>) -> Result<Reply, Failure> {
        let body = Body::Source(Box::new(Count(0)));
        Ok(Reply::Respond(Response { body, ..Response::new(Status::OK) }))
    }
}

/// Counts the bytes of the request's content, and says when it has ended.
struct Count(u8);

impl Taker for Count {
    fn take(&mut self, content: &[u8], _: &mut Cx<'_>) -> Result<usize, Failure> {
        self.0 += content.len() as u8;
        Ok(content.len())
    }

    fn end(&mut self, _: Fields<'_>, _: &mut Cx<'_>) -> Result<(), Failure> {
        Ok(())
    }
}

impl Source for Count {
    fn length(&self) -> Option<u64> {
        Some(1)
    }

    fn pull(&mut self, room: &mut Room<'_>, _: &mut Cx<'_>) -> Result<Pull, Failure> {
        if self.0 < 3 {
            return Ok(Pull::Pending(Wait::Content));
        }
        room.put(&[b'0' + self.0]);
        Ok(Pull::End)
    }

    fn taker(&mut self) -> Option<&mut dyn Taker> {
        Some(self)
    }
}

#[test]
fn a_response_that_takes_content_asks_for_it_before_its_head() {
    let head = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n";
    let heard = play_with(TakesAtOnce, ListenerRole::Http, &[head, b"abc"], &Limits::default());
    let heard = String::from_utf8(heard).unwrap();
    assert!(heard.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"), "{heard}");
    assert!(heard.ends_with("\r\n\r\n3") && !heard.contains("Connection: close"), "{heard}");
}

/// Fills the outbox with that many bytes of content, and answers the second request as `TakesAtOnce` does.
struct FillsThenTakes(Option<usize>);

impl Service for FillsThenTakes {
    fn call(&mut self, request: &RequestHead<'_>, cx: &mut Cx<'_>) -> Result<Reply, Failure> {
        let Some(n) = self.0.take() else { return TakesAtOnce.call(request, cx) };
        let body = vec![0; n].into();
        Ok(Reply::Respond(Response { body, ..Response::new(Status::OK) }))
    }
}

#[test]
fn a_response_that_takes_content_waits_for_room_however_little_is_missing() {
    // Where the head had room, and 100 Continue with it had none, the drive never ended.
    const REQUESTS: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n\
        POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n";
    let limits = Limits { outbox_bytes: 1024, ..Limits::default() };
    for filled in 0..1024 {
        let deaf = Deaf { request: REQUESTS, resets: false, has_reset: false };
        let (mut connection, mut server) = connect(deaf, FillsThenTakes(Some(filled)), &limits);
        assert!(matches!(server.drive(&mut connection), Settled::Open { again: false, .. }), "{filled} bytes");
    }
}

/// A connection to an upstream: what it was sent, and what it sends, one piece a read.
#[cfg(feature = "_tls")]
#[derive(Default)]
struct Wire {
    is_connected: bool,
    sent: Vec<u8>,
    coming: VecDeque<Vec<u8>>,
}

#[cfg(feature = "_tls")]
impl Socket for Wire {
    fn read(&mut self, [front, _]: [&mut [u8]; 2]) -> io::Result<Io> {
        let Some(piece) = self.coming.front_mut() else { return Ok(Io::WouldBlock) };
        let n = piece.len().min(front.len());
        front[..n].copy_from_slice(&piece[..n]);
        piece.drain(..n);
        self.coming.pop_front_if(|piece| piece.is_empty());
        Ok(Io::Moved(n))
    }

    fn write(&mut self, [front, back]: [&[u8]; 2], _more: bool) -> io::Result<Io> {
        if !self.is_connected {
            return Ok(Io::WouldBlock);
        }
        self.sent.extend([front, back].concat());
        Ok(Io::Moved(front.len() + back.len()))
    }

    fn send_file(&mut self, _file: &File, _offset: u64, _count: usize) -> io::Result<Io> {
        Err(io::ErrorKind::Unsupported.into())
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

/// The driver echoes, because TLS is the same whatever it carries.
#[cfg(feature = "_tls")]
#[test]
fn the_handshake_with_an_upstream_begins_when_the_connection_is_there() {
    use crate::net::tls::test_end::TestEnd;
    let (mut upstream, tls) = TestEnd::upstream("a.example");
    let session = tls.session("a.example").unwrap();
    let mut server = Loop::new(Refusal, &Limits::default());
    let mut connection =
        Connection::new(WHO, through(ListenerRole::TcpEcho), Wire::default(), Some(session), server.cx.moment);
    assert!(matches!(server.drive(&mut connection), Settled::Open { again: false, .. }));
    assert!(connection.channel.socket.sent.is_empty() && connection.channel.is_handshaking());
    assert!(connection.channel.facts().write_blocked, "the kernel will say when it is connected");
    connection.channel.socket.is_connected = true;
    connection.on_readiness(Readiness { writable: true, ..Readiness::default() });
    let mut heard = Vec::new();
    for round in 0..4 {
        while matches!(server.drive(&mut connection), Settled::Open { again: true, .. }) {}
        let sent = std::mem::take(&mut connection.channel.socket.sent);
        assert!(round > 0 || !sent.is_empty(), "nobody else begins");
        heard.extend(upstream.open(&sent).unwrap());
        let mut flight = upstream.flight();
        if round == 1 {
            assert!(!upstream.is_handshaking());
            flight.extend(upstream.seal("content"));
            flight.extend(upstream.seal_end());
        }
        // Records arrive in pieces.
        connection.channel.socket.coming.extend(flight.chunks(100).map(<[u8]>::to_vec));
        connection.on_readiness(Readiness { readable: true, ..Readiness::default() });
    }
    assert_eq!((heard, upstream.has_end), (b"content".to_vec(), true));
    assert_eq!(connection.close_reason(), Some(CloseReason::ByClient(ClientEnd::CloseNotify)));
    let counts = &server.cx.counters.tls;
    assert_eq!((counts.done_total(), counts.failed.len(), counts.broken.len()), (0, 0, 0), "these count clients");
    assert!(server.cx.times.handshakes.count() == 0);
}
