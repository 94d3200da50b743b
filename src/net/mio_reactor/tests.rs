//! Against the real kernel, over loopback.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::net::UnixStream;

use proptest::prelude::*;

use super::*;
use crate::net::listener::{Address, ListenOptions};
use crate::net::{Io, Socket};

const PATIENCE: Duration = Duration::from_secs(20);
const TOKEN: Token = Token { index: 7, generation: u32::MAX };

fn reactor() -> (MioReactor, u16) {
    let address = Address::Tcp((Ipv4Addr::LOCALHOST, 0).into());
    let reactor = MioReactor::new(vec![(
        Listener::bind(&address, &ListenOptions::with_backlog(16)).unwrap().remove(0),
        ListenerRole::Http,
    )])
    .unwrap();
    let Address::Tcp(local) = *reactor.bound().next().unwrap().1.local_address() else { panic!("not TCP") };
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
    until(reactor, |event| (*event == Event::Listener(ListenerId::new(0))).then_some(()));
    reactor.accept(ListenerId::new(0)).unwrap().expect("someone is in the queue")
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
        assert!(reactor.accept(ListenerId::new(0)).unwrap().is_some());
    }
    assert!(reactor.accept(ListenerId::new(0)).unwrap().is_none());
    assert!(reactor.accept(ListenerId::new(9)).unwrap().is_none(), "a listener that does not exist has an empty queue");
}

#[test]
fn listeners_that_stay_open_keep_their_numbers() {
    let address = Address::Tcp((Ipv4Addr::LOCALHOST, 0).into());
    let roles = [ListenerRole::TcpEcho, ListenerRole::Admin, ListenerRole::Http];
    let listeners =
        roles.map(|role| (Listener::bind(&address, &ListenOptions::with_backlog(16)).unwrap().remove(0), role));
    let addresses = listeners.each_ref().map(|(listener, _)| listener.local_address().to_string());
    let mut reactor = MioReactor::new(listeners.into()).unwrap();
    let ids = [0, 1, 2].map(ListenerId::new);
    assert_eq!(reactor.listeners(), ids.into_iter().zip(roles).collect::<Vec<_>>());
    [ids[0], ids[2], ids[2]].into_iter().for_each(|id| reactor.close_listener(id));
    assert_eq!(reactor.listeners(), [(ids[1], ListenerRole::Admin)]);
    let clients = addresses.map(TcpStream::connect);
    assert_eq!(clients.each_ref().map(Result::is_ok), [false, true, false]);
    until(&mut reactor, |event| (*event == Event::Listener(ListenerId::new(1))).then_some(()));
    assert!(reactor.accept(ListenerId::new(0)).unwrap().is_none());
    assert!(reactor.accept(ListenerId::new(1)).unwrap().is_some());
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
    while let Io::Moved(n) = server.write([&chunk, &chunk], false).unwrap() {
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
    assert!(matches!(server.write([b"more", b""], false).unwrap(), Io::Moved(_)));
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
    assert_eq!(server.write([b"good", b"bye"], false).unwrap(), Io::Moved(7));
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
    let listener = Listener::bind(&Address::Unix(path.clone()), &ListenOptions::with_backlog(16)).unwrap().remove(0);
    let mut reactor = MioReactor::new(vec![(listener, ListenerRole::Http)]).unwrap();
    let mut client = UnixStream::connect(&path).unwrap();
    let (mut server, peer) = accept(&mut reactor);
    assert_eq!(peer, Peer::Unix);

    reactor.arm(&mut server, TOKEN, None, Interest::READ).unwrap();
    client.write_all(b"hello").unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    until_ready(&mut reactor, |readiness| readiness.readable && readiness.hung_up);
    assert_eq!(read(&mut server), Io::Drained(5));
    assert_eq!(read(&mut server), Io::Eof);
    assert_eq!(server.write([b"hel", b"lo"], false).unwrap(), Io::Moved(5));
    server.abort_on_close().unwrap();
    server.shutdown_write().unwrap();
    let mut received = String::new();
    client.read_to_string(&mut received).unwrap();
    assert_eq!(received, "hello", "nothing is thrown away");

    reactor.close_listener(ListenerId::new(0));
    assert!(!path.exists());
    std::fs::remove_dir(directory).unwrap();
}

#[test]
fn a_listener_that_is_opened_later_tells_of_those_who_wait_already() {
    let (mut reactor, _) = reactor();
    let address = Address::Tcp((Ipv4Addr::LOCALHOST, 0).into());
    for number in 1..4 {
        let listener = Listener::bind(&address, &ListenOptions::with_backlog(16)).unwrap().remove(0);
        assert_eq!(listener.asked(), Some(&address));
        let local = listener.local_address().to_string();
        let _client = TcpStream::connect(&local).unwrap();
        let id = reactor.open_listener(listener, ListenerRole::Admin).unwrap();
        assert_eq!((id, reactor.address(id)), (ListenerId::new(number), local.clone()));
        until(&mut reactor, |event| (*event == Event::Listener(id)).then_some(()));
        assert!(reactor.accept(id).unwrap().is_some());
        reactor.close_listener(id);
        assert_eq!(TcpStream::connect(local).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        assert!(reactor.listener(id).is_none() && reactor.listener(ListenerId::new(0)).is_some());
    }
}

#[test]
fn closed_listeners_refuse_and_connections_go_on() {
    let (mut reactor, mut server, mut client) = connected();
    let address = client.peer_addr().unwrap();
    assert_eq!(reactor.bound().count(), 1);
    reactor.close_listener(ListenerId::new(0));
    assert_eq!(reactor.bound().count(), 0);
    assert!(reactor.accept(ListenerId::new(0)).unwrap().is_none());
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
    until(&mut reactor, |event| (*event == Event::Wake).then_some(()));
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
        (seen.len() == 4).then_some(())
    });
    for signal in [Signal::Terminate, Signal::Interrupt, Signal::Reopen, Signal::Reload] {
        assert!(seen.contains(&Event::Signal(signal)), "{signal:?}");
    }
    assert_eq!(happens_at_once(&mut reactor), []);
}

proptest! {
    #[test]
    fn what_is_packed_can_be_unpacked(index in 0..1u32 << 31, generation: u32, id in 0..1u32 << 30) {
        for origin in [Origin::Connection(Token { index, generation }), Origin::Listener(ListenerId::new(id))] {
            prop_assert_eq!(Origin::unpack(origin.pack()), origin);
        }
    }
}

#[test]
fn the_corners_of_the_token_space_do_not_touch() {
    let corners = [0, 1, NO_CONNECTION as u32 - 1]
        .into_iter()
        .flat_map(|index| [0, 1 << 31, u32::MAX].map(|generation| Origin::Connection(Token { index, generation })));
    let listeners = [0, (SIGNALS - NO_CONNECTION - 1) as u32].map(|number| Origin::Listener(ListenerId::new(number)));
    let others = [Origin::Waker, Origin::Signals].into_iter().chain(listeners);
    let all: Vec<Origin> = corners.chain(others).collect();
    for origin in &all {
        assert_eq!(Origin::unpack(origin.pack()), *origin);
    }
    let distinct: std::collections::HashSet<usize> = all.iter().map(|origin| origin.pack().0).collect();
    assert_eq!(distinct.len(), all.len());
}

/// An open file of `len` bytes that can be told from each other; its name is gone already.
fn patterned_file(name: &str, len: usize) -> (File, Vec<u8>) {
    let path = std::env::temp_dir().join(format!("tidemill-{}-{name}", std::process::id()));
    let content: Vec<u8> = (0..len).map(|index| (index % 251) as u8).collect();
    std::fs::write(&path, &content).unwrap();
    let file = File::options().read(true).write(true).open(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    (file, content)
}

fn received(client: &mut impl Read, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    client.read_exact(&mut bytes).unwrap();
    bytes
}

#[test]
fn pieces_of_a_file_are_sent_from_anywhere_and_its_end_is_told() {
    let (_reactor, mut server, mut client) = connected();
    let (mut file, content) = patterned_file("pieces", 10_000);
    assert_eq!(server.send_file(&file, 0, 100).unwrap(), Io::Moved(100));
    assert_eq!(received(&mut client, 100), content[..100]);
    assert_eq!(server.send_file(&file, 9_000, 5_000).unwrap(), Io::Moved(1_000), "as far as it goes");
    assert_eq!(received(&mut client, 1_000), content[9_000..]);
    assert_eq!(server.send_file(&file, 10_000, 1).unwrap(), Io::Eof);
    assert_eq!(server.send_file(&file, 1 << 40, 1).unwrap(), Io::Eof);
    file.set_len(50).unwrap();
    assert_eq!(server.send_file(&file, 100, 100).unwrap(), Io::Eof, "it was truncated");
    assert_eq!(file.stream_position().unwrap(), 0, "the position is left alone");
}

#[test]
fn a_file_larger_than_the_send_buffer_blocks_until_the_peer_reads() {
    const LEN: usize = 32 << 20;
    let (mut reactor, mut server, mut client) = connected();
    let (file, content) = patterned_file("large", LEN);
    reactor.arm(&mut server, TOKEN, None, Interest { read: true, write: true }).unwrap();
    let mut sent = 0;
    while let Io::Moved(n) = server.send_file(&file, sent as u64, 1 << 20).unwrap() {
        assert!(n <= 1 << 20);
        sent += n;
    }
    assert!(sent < LEN, "the send buffer is smaller than the file");
    happens_at_once(&mut reactor);
    let reader = std::thread::spawn(move || received(&mut client, LEN));
    while sent < LEN {
        match server.send_file(&file, sent as u64, 1 << 20).unwrap() {
            Io::Moved(n) => sent += n,
            Io::WouldBlock => drop(until_ready(&mut reactor, |readiness| readiness.writable)),
            other => panic!("{other:?}"),
        }
    }
    assert!(reader.join().unwrap() == content, "every byte in its place");
}

#[test]
fn a_file_to_a_peer_that_has_gone_is_an_error() {
    let (mut reactor, mut server, client) = connected();
    let (file, _) = patterned_file("gone", 1000);
    reactor.arm(&mut server, TOKEN, None, Interest::READ).unwrap();
    socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    until_ready(&mut reactor, |readiness| readiness.hung_up);
    let kind = server.send_file(&file, 0, 1000).unwrap_err().kind();
    assert!(matches!(kind, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{kind:?}");
}

#[test]
fn bytes_and_the_file_that_follows_arrive_in_order() {
    let (_reactor, mut server, mut client) = connected();
    let (file, content) = patterned_file("follows", 3_000);
    for (front, back) in [(&b"head"[..], &b""[..]), (b"he", b"ad"), (b"", b"head")] {
        assert_eq!(server.write([front, back], true).unwrap(), Io::Moved(4));
        assert_eq!(server.send_file(&file, 0, 3_000).unwrap(), Io::Moved(3_000));
        assert_eq!(received(&mut client, 4), b"head");
        assert_eq!(received(&mut client, 3_000), content);
    }
}

#[test]
#[cfg(target_os = "linux")]
fn bytes_wait_for_the_file_that_follows_and_share_its_packet() {
    let (_reactor, mut server, mut client) = connected();
    let (file, _) = patterned_file("share", 100);
    let Stream::Tcp(socket) = &server else { panic!("not TCP") };
    // What the server does for every connection (inherited from the listener): no other reason to wait is left.
    assert!(socket.nodelay().unwrap());
    let mut held_back = 0;
    for _ in 0..20 {
        assert_eq!(server.write([b"head", b""], true).unwrap(), Io::Moved(4));
        client.set_nonblocking(true).unwrap();
        held_back += usize::from(client.peek(&mut [0]).is_err());
        client.set_nonblocking(false).unwrap();
        assert_eq!(server.send_file(&file, 0, 100).unwrap(), Io::Moved(100));
        received(&mut client, 104);
    }
    // The kernel waits no longer than 200 ms, which a busy machine may overrun.
    assert!(held_back > 10, "held back {held_back} times of 20");
}

#[test]
fn a_unix_connection_sends_files_too() {
    let (ours, mut client) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut server = Stream::Unix(mio::net::UnixStream::from_std(ours));
    let (file, content) = patterned_file("unix", 1 << 20);
    assert_eq!(server.write([b"he", b"ad"], true).unwrap(), Io::Moved(4));
    assert_eq!(server.send_file(&file, 500, 100).unwrap(), Io::Moved(100));
    assert_eq!(received(&mut client, 104), [b"head", &content[500..600]].concat());
    assert_eq!(server.send_file(&file, 1 << 20, 100).unwrap(), Io::Eof);
    let mut sent = 0;
    while let Io::Moved(n) = server.send_file(&file, sent as u64, content.len()).unwrap() {
        sent += n;
    }
    assert!(0 < sent && sent < content.len(), "the socket is full");
    assert_eq!(received(&mut client, sent), content[..sent]);
}

#[test]
fn the_cpu_time_of_a_thread_grows_with_its_work_alone() {
    let (reactor, _) = reactor();
    let before = reactor.cpu_time();
    let others_work = std::thread::spawn(|| {
        let used = || clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from).unwrap();
        let began = used();
        while used() - began < Duration::from_millis(50) {}
    });
    others_work.join().unwrap();
    let waited = reactor.cpu_time() - before;
    assert!(waited < Duration::from_millis(50), "{waited:?}");
    let began = Instant::now();
    while reactor.cpu_time() - before < Duration::from_millis(10) {
        assert!(began.elapsed() < PATIENCE, "its own work does not count");
    }
}

#[test]
fn a_stream_tells_what_its_peer_has_acknowledged_if_it_has_one_that_tells() {
    let (_reactor, mut server, mut client) = connected();
    let told = |stream: &Stream| stream.peer_progress()?.ok().map(|progress| progress.acknowledged);
    let Some(nothing) = told(&server) else { return eprintln!("skipped: sock_diag is not available here") };
    assert_eq!(nothing, 0);
    assert_eq!(server.write([b"hello", b""], false).unwrap(), Io::Moved(5));
    client.read_exact(&mut [0; 5]).unwrap();
    let began = Instant::now();
    while told(&server) != Some(5) {
        assert!(began.elapsed() < PATIENCE, "{:?}", server.peer_progress());
    }
    let mut tortured = Torture::new("seed=1,short-write".parse().unwrap());
    let tortured = Stream::Tortured(Box::new(tortured.accept(server)));
    assert_eq!(told(&tortured), Some(5));
    let (ours, _theirs) = UnixStream::pair().unwrap();
    assert!(Stream::Unix(mio::net::UnixStream::from_std(ours)).peer_progress().is_none());
}
