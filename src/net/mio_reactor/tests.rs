//! Against the real kernel, over loopback.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::net::UnixStream;

use proptest::prelude::*;

use super::*;
use crate::net::listener::Address;
use crate::net::{Io, Socket};

const PATIENCE: Duration = Duration::from_secs(20);
const TOKEN: Token = Token { index: 7, generation: u32::MAX };

fn reactor() -> (MioReactor, u16) {
    let address = Address::Tcp((Ipv4Addr::LOCALHOST, 0).into());
    let reactor = MioReactor::new(vec![Listener::bind(&address, 16).unwrap()]).unwrap();
    let Address::Tcp(local) = *reactor.bound()[0].local_address() else { panic!("not TCP") };
    (reactor, local.port())
}

/// Polls until `wanted` finds what it looks for in what happened.
fn until<T>(reactor: &mut MioReactor, mut wanted: impl FnMut(&Event) -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        let mut events = Vec::new();
        let left = PATIENCE.checked_sub(start.elapsed()).expect("the event came in time");
        reactor.poll(Some(left), &mut events).unwrap();
        if let Some(found) = events.iter().find_map(&mut wanted) {
            return found;
        }
    }
}

fn until_ready(reactor: &mut MioReactor, mut enough: impl FnMut(Readiness) -> bool) -> Readiness {
    until(reactor, |event| match event {
        Event::Connection(TOKEN, readiness) => enough(*readiness).then_some(*readiness),
        _ => None,
    })
}

fn happens_at_once(reactor: &mut MioReactor) -> Vec<Event> {
    let mut events = Vec::new();
    reactor.poll(Some(Duration::ZERO), &mut events).unwrap();
    events
}

fn accept(reactor: &mut MioReactor) -> (Stream, Peer) {
    until(reactor, |event| (*event == Event::Listener(0)).then_some(()));
    reactor.accept(0).unwrap().expect("someone is in the queue")
}

fn connected() -> (MioReactor, Stream, TcpStream) {
    let (mut reactor, port) = reactor();
    let client = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let (server, peer) = accept(&mut reactor);
    assert_eq!(peer, Peer::Ip(client.local_addr().unwrap()));
    (reactor, server, client)
}

fn read(server: &mut Stream) -> Io {
    server.read([&mut [0; 8], &mut [0; 8]]).unwrap()
}

#[test]
fn a_queue_is_emptied_and_then_says_so() {
    let (mut reactor, port) = reactor();
    let clients = [(); 3].map(|()| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap());
    accept(&mut reactor);
    for _ in 1..clients.len() {
        assert!(reactor.accept(0).unwrap().is_some());
    }
    assert!(reactor.accept(0).unwrap().is_none());
    assert!(reactor.accept(9).unwrap().is_none(), "a listener that does not exist has an empty queue");
}

#[test]
fn bytes_arrive_in_both_slices_and_then_the_end() {
    let (mut reactor, mut server, mut client) = connected();
    reactor.arm(&mut server, TOKEN, None, Interest::READ).unwrap();
    assert_eq!(read(&mut server), Io::WouldBlock);
    client.write_all(b"0123456789").unwrap();
    assert!(!until_ready(&mut reactor, |readiness| readiness.readable).hung_up);

    let (mut front, mut back) = ([0; 4], [0; 16]);
    assert_eq!(server.read([&mut front, &mut back]).unwrap(), Io::Drained(10));
    assert_eq!((&front, &back[..6]), (b"0123", b"456789".as_slice()));

    client.write_all(b"01234567").unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    until_ready(&mut reactor, |readiness| readiness.hung_up && readiness.readable);
    assert_eq!(server.read([&mut front, &mut []]).unwrap(), Io::Moved(4));
    assert_eq!(server.read([&mut front, &mut []]).unwrap(), Io::Moved(4));
    assert_eq!(read(&mut server), Io::Eof);
}

#[test]
fn a_full_send_buffer_blocks_until_the_peer_reads() {
    let (mut reactor, mut server, mut client) = connected();
    let chunk = [b'x'; 1 << 16];
    let mut sent = 0;
    while let Io::Moved(n) = server.write([&chunk, &chunk]).unwrap() {
        sent += n;
    }
    reactor.arm(&mut server, TOKEN, None, Interest { read: true, write: true }).unwrap();
    assert_eq!(happens_at_once(&mut reactor), [], "nothing to read, no room to write");

    let reader = std::thread::spawn(move || {
        let mut received = vec![0; sent];
        client.read_exact(&mut received).unwrap();
        client
    });
    until_ready(&mut reactor, |readiness| readiness.writable);
    assert!(matches!(server.write([b"more", b""]).unwrap(), Io::Moved(_)));
    drop(reader.join().unwrap());
}

#[test]
fn turning_a_direction_on_reports_it_again() {
    let (mut reactor, mut server, mut client) = connected();
    reactor.arm(&mut server, TOKEN, None, Interest::READ).unwrap();
    client.write_all(b"unread").unwrap();
    until_ready(&mut reactor, |readiness| readiness.readable);
    assert_eq!(happens_at_once(&mut reactor), [], "edge-triggered: said once");

    reactor.arm(&mut server, TOKEN, Some(Interest::READ), Interest::READ).unwrap();
    assert_eq!(happens_at_once(&mut reactor), [], "no change, no call");

    let both = Interest { read: true, write: true };
    reactor.arm(&mut server, TOKEN, Some(Interest::READ), both).unwrap();
    until_ready(&mut reactor, |readiness| readiness.readable && readiness.writable);

    reactor.arm(&mut server, TOKEN, Some(both), Interest::NONE).unwrap();
    client.write_all(b"more").unwrap();
    assert_eq!(happens_at_once(&mut reactor), [], "nothing is asked, nothing is told");
    reactor.arm(&mut server, TOKEN, Some(Interest::NONE), Interest::READ).unwrap();
    until_ready(&mut reactor, |readiness| readiness.readable);
}

#[test]
fn a_reset_is_told_even_if_nothing_is_asked() {
    let (mut reactor, mut server, client) = connected();
    reactor.arm(&mut server, TOKEN, None, Interest::READ).unwrap();
    reactor.arm(&mut server, TOKEN, Some(Interest::READ), Interest::NONE).unwrap();
    socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    until_ready(&mut reactor, |readiness| readiness.failed);
    assert_eq!(server.take_error().unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    server.take_error().expect("an error is told once");
}

#[test]
fn our_end_is_read_after_everything_we_wrote() {
    let (_reactor, mut server, mut client) = connected();
    assert_eq!(server.write([b"good", b"bye"]).unwrap(), Io::Moved(7));
    server.shutdown_write().unwrap();
    let mut received = String::new();
    client.read_to_string(&mut received).unwrap();
    assert_eq!(received, "goodbye");
}

#[test]
fn an_abortive_close_resets() {
    let (_reactor, mut server, mut client) = connected();
    server.abort_on_close().unwrap();
    drop(server);
    assert_eq!(client.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_reset_is_news_for_both_directions() {
    let (mut reactor, mut server, client) = connected();
    reactor.arm(&mut server, TOKEN, None, Interest::READ).unwrap();
    socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    until_ready(&mut reactor, |readiness| readiness.hung_up && readiness.readable && readiness.writable);
    let error = server.read([&mut [0; 1], &mut []]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_unix_connection_does_all_the_same() {
    let directory = std::env::temp_dir().join(format!("tidemill-{}-reactor", std::process::id()));
    std::fs::create_dir(&directory).unwrap();
    let path = directory.join("socket");
    let listener = Listener::bind(&Address::Unix(path.clone()), 16).unwrap();
    let mut reactor = MioReactor::new(vec![listener]).unwrap();
    let mut client = UnixStream::connect(&path).unwrap();
    let (mut server, peer) = accept(&mut reactor);
    assert_eq!(peer, Peer::Unix);

    reactor.arm(&mut server, TOKEN, None, Interest::READ).unwrap();
    client.write_all(b"hello").unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    until_ready(&mut reactor, |readiness| readiness.readable && readiness.hung_up);
    assert_eq!(read(&mut server), Io::Drained(5));
    assert_eq!(read(&mut server), Io::Eof);
    assert_eq!(server.write([b"hel", b"lo"]).unwrap(), Io::Moved(5));
    server.abort_on_close().unwrap();
    server.shutdown_write().unwrap();
    let mut received = String::new();
    client.read_to_string(&mut received).unwrap();
    assert_eq!(received, "hello", "nothing is thrown away");

    reactor.stop_listening();
    assert!(!path.exists());
    std::fs::remove_dir(directory).unwrap();
}

#[test]
fn closed_listeners_refuse_and_connections_go_on() {
    let (mut reactor, mut server, mut client) = connected();
    let address = client.peer_addr().unwrap();
    assert_eq!(reactor.listeners(), 1);
    reactor.stop_listening();
    assert_eq!(reactor.listeners(), 0);
    assert!(reactor.accept(0).unwrap().is_none());
    assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    client.write_all(b"still here").unwrap();
    reactor.arm(&mut server, TOKEN, None, Interest::READ).unwrap();
    until_ready(&mut reactor, |readiness| readiness.readable);
}

#[test]
fn a_waker_wakes_from_another_thread() {
    let (mut reactor, _) = reactor();
    let waker = reactor.waker();
    let thread = std::thread::spawn(move || waker.wake());
    until(&mut reactor, |event| (*event == Event::Notice).then_some(()));
    thread.join().unwrap();
}

#[test]
fn a_poll_never_ends_before_its_timeout() {
    let (mut reactor, _) = reactor();
    for micros in [1, 400, 999, 1001, 2500] {
        let timeout = Duration::from_micros(micros);
        let deadline = Instant::now() + timeout;
        let mut events = Vec::new();
        reactor.poll(Some(timeout), &mut events).unwrap();
        assert_eq!(events, []);
        assert!(reactor.now() >= deadline, "{micros} µs: woke early");
    }
}

#[test]
fn signals_become_events_and_those_without_a_purpose_do_not_kill() {
    let (mut reactor, _) = reactor();
    reactor.watch_signals().unwrap();
    for signal in [SIGHUP, SIGUSR1, SIGUSR2, SIGQUIT, SIGINT] {
        signal_hook::low_level::raise(signal).unwrap();
    }
    let mut seen = Vec::new();
    until(&mut reactor, |event| {
        seen.push(*event);
        (seen.len() == 2).then_some(())
    });
    assert!(seen.contains(&Event::Signal(Signal::Terminate)) && seen.contains(&Event::Signal(Signal::Interrupt)));
    assert_eq!(happens_at_once(&mut reactor), []);
}

proptest! {
    #[test]
    fn what_is_packed_can_be_unpacked(index in 0..1u32 << 31, generation: u32, id in 0..1usize << 30) {
        for origin in [Origin::Connection(Token { index, generation }), Origin::Listener(id)] {
            prop_assert_eq!(Origin::unpack(origin.pack()), origin);
        }
    }
}

#[test]
fn the_corners_of_the_token_space_do_not_touch() {
    let corners = [0, 1, NO_CONNECTION as u32 - 1]
        .into_iter()
        .flat_map(|index| [0, 1 << 31, u32::MAX].map(|generation| Origin::Connection(Token { index, generation })));
    let others = [Origin::Waker, Origin::Signals, Origin::Listener(0), Origin::Listener(SIGNALS - NO_CONNECTION - 1)];
    let all: Vec<Origin> = corners.chain(others).collect();
    for origin in &all {
        assert_eq!(Origin::unpack(origin.pack()), *origin);
    }
    let distinct: std::collections::HashSet<usize> = all.iter().map(|origin| origin.pack().0).collect();
    assert_eq!(distinct.len(), all.len());
}
