//! Over a kernel that never makes anybody wait by itself.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use super::*;
use crate::net::stream::Stream;

const TOKEN: Token = Token { index: 3, generation: 4 };
const BOTH: Interest = Interest { read: true, write: true };
const HOUR: Option<Duration> = Some(Duration::from_secs(3600));

/// Always has as much to read and takes as much as it is asked to.
struct Endless;

impl Socket for Endless {
    fn read(&mut self, space: [&mut [u8]; 2]) -> io::Result<Io> {
        Ok(Io::Moved(space[0].len() + space[1].len()))
    }
    fn write(&mut self, bytes: [&[u8]; 2], _: bool) -> io::Result<Io> {
        Ok(Io::Moved(bytes[0].len() + bytes[1].len()))
    }
    fn send_file(&mut self, _: &File, _: u64, count: usize) -> io::Result<Io> {
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

type Sockets = Vec<TorturedSocket<Endless>>;

fn tortured(faults: &str, connections: usize) -> (Torture, Sockets) {
    let mut torture = Torture::new(faults.parse().unwrap());
    let sockets = (0..connections).map(|_| torture.accept(Endless)).collect();
    (torture, sockets)
}

fn read(socket: &mut impl Socket) -> Io {
    let mut space = [0; 1 << 16];
    let (front, back) = space.split_at_mut(100);
    socket.read([front, back]).unwrap()
}

fn write(socket: &mut impl Socket) -> Io {
    socket.write([&[0; 100], &[0; 1 << 16]], false).unwrap()
}

/// Tries until it is told to wait.
fn until_blocked(mut attempt: impl FnMut() -> Io) {
    assert!((0..1000).any(|_| attempt() == Io::WouldBlock), "never told to wait");
}

fn told(torture: &Torture) -> Vec<Event> {
    let mut events = Vec::new();
    let asleep = torture.report_pending(HOUR, &mut events);
    let expected = if events.is_empty() { HOUR } else { Some(Duration::ZERO) };
    assert_eq!(asleep, expected, "it may sleep if there is nothing to tell, and only then");
    events
}

fn event(readable: bool, writable: bool) -> Event {
    Event::Connection(TOKEN, Readiness { readable, writable, ..Readiness::default() })
}

#[test]
fn whoever_waits_without_need_is_told_once_and_at_the_next_poll() {
    let (torture, mut sockets) = tortured("would-block=0.5", 1);
    let socket = &mut sockets[0];
    socket.on_armed(TOKEN, BOTH);
    assert_eq!(told(&torture), []);
    until_blocked(|| read(socket));
    assert_eq!(told(&torture), [event(true, false)]);
    assert_eq!(told(&torture), []);
    until_blocked(|| write(socket));
    until_blocked(|| read(socket));
    until_blocked(|| read(socket));
    assert_eq!(told(&torture), [event(true, true)], "several changes are one event");
    assert_eq!(told(&torture), []);
    let file = File::open(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).unwrap();
    until_blocked(|| socket.send_file(&file, 0, 10).unwrap());
    assert_eq!(told(&torture), [event(false, true)]);
}

#[test]
fn nobody_is_told_what_was_not_asked_for_until_it_is() {
    let (torture, mut sockets) = tortured("would-block=0.5", 1);
    let socket = &mut sockets[0];
    socket.on_armed(TOKEN, Interest::READ);
    until_blocked(|| write(socket));
    assert_eq!(told(&torture), []);
    socket.on_armed(TOKEN, BOTH);
    assert_eq!(told(&torture), [event(false, true)]);

    until_blocked(|| read(socket));
    socket.on_armed(TOKEN, Interest::NONE);
    assert_eq!(told(&torture), [], "turned off before it was told");
    socket.on_armed(TOKEN, Interest::READ);
    assert_eq!(told(&torture), [event(true, false)]);
    assert_eq!(told(&torture), []);
}

#[test]
fn whoever_has_closed_is_told_nothing() {
    let (torture, mut sockets) = tortured("would-block=0.5", 1);
    sockets[0].on_armed(TOKEN, BOTH);
    until_blocked(|| read(&mut sockets[0]));
    sockets.clear();
    assert_eq!(told(&torture), []);
}

#[test]
fn what_a_connection_meets_depends_on_its_number_and_on_nobody_else() {
    let all = "seed=7,short-read,short-write,would-block=0.1";
    let reads = |socket: &mut TorturedSocket<Endless>| (0..50).map(|_| read(socket)).collect::<Vec<_>>();
    let (_, mut first) = tortured(all, 3);
    let (_, mut second) = tortured(all, 3);
    let expected: Vec<_> = first.iter_mut().map(reads).collect();
    for (socket, expected) in second.iter_mut().zip(&expected).rev() {
        let with_writes = (0..50).map(|_| {
            let _written = write(socket);
            read(socket)
        });
        assert_eq!(with_writes.collect::<Vec<_>>(), *expected);
    }
    assert!(expected[0] != expected[1] && expected[1] != expected[2]);
    let (_, mut other) = tortured(&all.replace('7', "8"), 1);
    assert_ne!(reads(&mut other[0]), expected[0], "another seed");
}

#[test]
fn only_what_was_asked_for_is_tortured() {
    let (_, mut sockets) = tortured("short-read", 1);
    assert!((0..100).all(|_| write(&mut sockets[0]) == Io::Moved(100 + (1 << 16))));
    let reads: Vec<Io> = (0..100).map(|_| read(&mut sockets[0])).collect();
    assert!(reads.contains(&Io::Moved(1)) && !reads.contains(&Io::Moved(1 << 16)), "{reads:?}");

    let (_, mut sockets) = tortured("short-write", 1);
    assert!((0..100).all(|_| read(&mut sockets[0]) == Io::Moved(1 << 16)));
    let writes: Vec<Io> = (0..100).map(|_| write(&mut sockets[0])).collect();
    assert!(writes.contains(&Io::Moved(1)) && !writes.contains(&Io::Moved(100 + (1 << 16))), "{writes:?}");
}

#[test]
fn a_read_cut_short_does_not_claim_that_there_is_no_more() {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    let faults = "short-read".parse().unwrap();
    let stream = Stream::Unix(mio::net::UnixStream::from_std(ours));
    let mut socket = TorturedSocket::new(stream, faults, 0, WaitingList::default());
    let sent: Vec<u8> = (0..100_000_u32).map(|n| (n % 251) as u8).collect();
    theirs.write_all(&sent).unwrap();
    let (mut received, mut space) = (Vec::new(), [0; 1 << 14]);
    while received.len() < sent.len() {
        let (front, back) = space.split_at_mut(10);
        let n = match socket.read([front, back]).unwrap() {
            Io::Moved(n) => n,
            Io::Drained(n) => {
                assert_eq!(received.len() + n, sent.len(), "drained before the end");
                n
            }
            other => panic!("{other:?}"),
        };
        received.extend_from_slice(&space[..n]);
    }
    assert!(received == sent);
    drop(theirs);
    assert_eq!(read(&mut socket), Io::Eof);
}

#[test]
fn what_was_hidden_does_not_turn_an_end_into_a_reset() {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    let stream = Stream::Unix(mio::net::UnixStream::from_std(ours));
    let mut socket = TorturedSocket::new(stream, "would-block=0.9".parse().unwrap(), 0, WaitingList::default());
    theirs.write_all(&[b'x'; 100_000]).unwrap();
    until_blocked(|| read(&mut socket));
    drop(socket);
    assert_eq!(theirs.read(&mut [0]).unwrap(), 0, "an end");
}

#[test]
fn who_tries_again_although_the_kernel_refused_is_not_lied_to() {
    // Simulated readers were cut at the send deadline although they read: the one write that would have shown it was put
    // off.
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    // Where the kernel holds less than is read below, that fails.
    theirs.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let stream = Stream::Unix(mio::net::UnixStream::from_std(ours));
    let mut socket = TorturedSocket::new(stream, "would-block=0.9".parse().unwrap(), 0, WaitingList::default());
    for _ in 0..20 {
        while !socket.is_full {
            let _put_off_or_moved = write(&mut socket);
        }
        assert_eq!(write(&mut socket), Io::WouldBlock, "nobody reads");
        theirs.read_exact(&mut [0; 1 << 17]).unwrap();
        assert!(matches!(write(&mut socket), Io::Moved(_)), "there is room");
    }
}
