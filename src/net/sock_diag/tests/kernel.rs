//! Real connections on the loopback interface, and what the kernel says about them. Where it may not be asked, these
//! tests say so and pass.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::fstat;
use rustix::io::Errno;
use rustix::net::sockopt::socket_cookie;
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};

use crate::base::accept_queue::AcceptQueue;
use crate::net::listen_counters;
use crate::net::sock_diag::{ListenerKey, QueueReader, State, TcpSocket, connections, peer_progress};

/// How long the kernel may take to see what has just happened.
const PATIENCE: Duration = Duration::from_secs(10);

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Whether the kernel may be asked at all.
fn kernel_answers() -> bool {
    const CONFINED: [Errno; 5] = [Errno::PERM, Errno::ACCESS, Errno::PROTONOSUPPORT, Errno::AFNOSUPPORT, Errno::NOENT];
    match connections(&[1], 1) {
        Ok(_) => true,
        Err(error) if CONFINED.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error())) => {
            eprintln!("skipped: sock_diag is not available here: {error}");
            false
        }
        Err(error) => panic!("sock_diag: {error}"),
    }
}

/// Asks again and again until there is an answer that pleases.
fn until<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "the kernel did not come to say so");
        thread::yield_now();
    }
}

fn listen(ip: IpAddr, backlog: i32) -> io::Result<TcpListener> {
    let address = SocketAddr::new(ip, 0);
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    Ok(socket.into())
}

fn port(listener: &TcpListener) -> u16 {
    listener.local_addr().unwrap().port()
}

/// A client and its accepted other end.
fn pair(listener: &TcpListener, ip: IpAddr) -> (TcpStream, TcpStream) {
    let client = TcpStream::connect((ip, port(listener))).unwrap();
    let (accepted, _) = listener.accept().unwrap();
    (client, accepted)
}

/// What the kernel says about the server's end of a client's connection.
fn server_end(listener: &TcpListener, client: &TcpStream) -> Option<TcpSocket> {
    let peer = client.local_addr().unwrap();
    let snapshot = connections(&[port(listener)], 100).unwrap();
    assert!(snapshot.complete);
    snapshot.sockets.into_iter().find(|socket| socket.peer == peer)
}

/// Writes until the kernel takes no more.
fn fill(mut stream: &TcpStream) {
    stream.set_nonblocking(true).unwrap();
    let error = until(|| stream.write(&[0; 65536]).err());
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
}

#[test]
fn a_reader_that_does_not_read_is_to_blame() {
    if !kernel_answers() {
        return;
    }
    let listener = listen(LOCALHOST, 16).unwrap();
    let (idle_client, _idle) = pair(&listener, LOCALHOST);
    let (stuck_client, stuck) = pair(&listener, LOCALHOST);
    fill(&stuck);
    let (socket, info) = until(|| {
        let socket = server_end(&listener, &stuck_client)?;
        let info = socket.info.filter(|info| info.rwnd_limited_us > 0)?;
        Some((socket, info))
    });
    assert_eq!(socket.local, listener.local_addr().unwrap());
    assert_eq!(socket.state, State::Established);
    assert!(info.notsent_bytes > 0, "{info:?}");
    assert!(socket.wqueue >= info.notsent_bytes, "{socket:?}");
    assert!(info.bytes_acked > 0 && info.delivery_rate > 0, "{info:?}");
    assert!(info.rtt_us > 0 && info.snd_cwnd > 0 && info.snd_mss > 0, "{info:?}");
    assert!(info.busy_time_us >= info.rwnd_limited_us, "{info:?}");
    let idle = server_end(&listener, &idle_client).unwrap();
    let info = idle.info.unwrap();
    assert_eq!((idle.wqueue, info.notsent_bytes, info.unacked, info.rwnd_limited_us), (0, 0, 0, 0));
}

#[test]
fn both_families_of_a_dual_stack_listener_are_named_as_accepting_names_them() {
    if !kernel_answers() {
        return;
    }
    let Ok(listener) = listen(Ipv6Addr::UNSPECIFIED.into(), 16) else {
        return eprintln!("skipped: no IPv6 here");
    };
    let mut clients = vec![pair(&listener, LOCALHOST)];
    match TcpStream::connect((Ipv6Addr::LOCALHOST, port(&listener))) {
        Ok(client) => clients.push((client, listener.accept().unwrap().0)),
        Err(error) => eprintln!("only IPv4 is tried: {error}"),
    }
    for (client, _) in &clients {
        let socket = server_end(&listener, client).unwrap();
        assert_eq!(socket.local, client.peer_addr().unwrap());
    }
    assert_eq!(connections(&[port(&listener)], 100).unwrap().sockets.len(), clients.len());
}

#[test]
fn a_connection_is_followed_through_its_states() {
    if !kernel_answers() {
        return;
    }
    let listener = listen(LOCALHOST, 16).unwrap();
    let (mut client, accepted) = pair(&listener, LOCALHOST);
    client.write_all(b"hello").unwrap();
    let socket = until(|| server_end(&listener, &client).filter(|socket| socket.rqueue > 0));
    assert_eq!((socket.state, socket.rqueue, socket.info.unwrap().bytes_received), (State::Established, 5, 5));
    client.shutdown(Shutdown::Write).unwrap();
    let socket = until(|| server_end(&listener, &client).filter(|socket| socket.state == State::CloseWait));
    assert_eq!(socket.rqueue, 6, "the peer's end counts");
    let (client, ending) = pair(&listener, LOCALHOST);
    ending.shutdown(Shutdown::Write).unwrap();
    until(|| server_end(&listener, &client).filter(|socket| socket.state == State::FinWait2));
    drop(accepted);
}

#[test]
fn a_closed_connection_whose_peer_stays_is_still_named() {
    if !kernel_answers() {
        return;
    }
    let listener = listen(LOCALHOST, 16).unwrap();
    let (client, accepted) = pair(&listener, LOCALHOST);
    drop(accepted);
    let socket = until(|| server_end(&listener, &client).filter(|socket| socket.state == State::FinWait2));
    assert_eq!(socket.local, listener.local_addr().unwrap());
}

/// What the kernel finds a listener by.
fn key(listener: &TcpListener) -> ListenerKey {
    ListenerKey::Tcp {
        local: listener.local_addr().unwrap(),
        cookie: socket_cookie(listener).unwrap(),
        dropped_before: 0,
    }
}

#[test]
fn the_accept_queue_holds_whom_nobody_has_accepted() {
    if !kernel_answers() {
        return;
    }
    let mut reader = QueueReader::open().unwrap();
    for ip in [LOCALHOST, IpAddr::V6(Ipv6Addr::UNSPECIFIED)] {
        let listener = listen(ip, 16).unwrap();
        let clients: Vec<_> = (0..3).map(|_| TcpStream::connect((LOCALHOST, port(&listener))).unwrap()).collect();
        let queue = |depth| AcceptQueue { depth, limit: 16, drops: Some(0) };
        let mut waiting = || reader.read(key(&listener)).unwrap();
        until(|| (waiting() == queue(3)).then_some(()));
        listener.accept().unwrap();
        assert_eq!(waiting(), queue(2));
        assert!(server_end(&listener, &clients[2]).is_some(), "connected all the same");
    }
}

#[test]
fn what_a_full_accept_queue_drops_is_counted_for_its_listener_alone() {
    if !kernel_answers() {
        return;
    }
    let mut reader = QueueReader::open().unwrap();
    let [full, other] = [(); 2].map(|()| listen(LOCALHOST, 1).unwrap());
    let overflows = || listen_counters::read().unwrap().overflows;
    let before = overflows();
    // There is room for one more than the backlog.
    let _waiting = [(); 2].map(|()| TcpStream::connect(full.local_addr().unwrap()).unwrap());
    until(|| (reader.read(key(&full)).unwrap().depth == 2).then_some(()));
    let late = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).unwrap();
    late.set_nonblocking(true).unwrap();
    assert!(late.connect(&full.local_addr().unwrap().into()).is_err(), "it is not answered");
    until(|| reader.read(key(&full)).ok().filter(|queue| queue.drops != Some(0)));
    // It is not to try again.
    drop(late);
    let queue = reader.read(key(&full)).unwrap();
    assert_eq!((queue.depth, queue.limit), (2, 1));
    let ListenerKey::Tcp { local, cookie, .. } = key(&full) else { unreachable!() };
    let dropped_before = queue.drops.unwrap() + 1;
    let wrapped = reader.read(ListenerKey::Tcp { local, cookie, dropped_before }).unwrap();
    assert_eq!(wrapped.drops, Some(u32::MAX));
    assert!(overflows() > before, "others may have overflown meanwhile, too");
    assert_eq!(reader.read(key(&other)).unwrap(), AcceptQueue { depth: 0, limit: 1, drops: Some(0) });
}

#[test]
fn a_listener_that_has_gone_or_another_of_its_address_is_not_found() {
    if !kernel_answers() {
        return;
    }
    let mut reader = QueueReader::open().unwrap();
    let listener = listen(LOCALHOST, 16).unwrap();
    let ListenerKey::Tcp { local, cookie, dropped_before } = key(&listener) else { unreachable!() };
    assert!(reader.read(ListenerKey::Tcp { local, cookie: cookie ^ (1 << 40), dropped_before }).is_err());
    assert!(
        reader.read(ListenerKey::Tcp { local, cookie, dropped_before }).is_ok(),
        "the next answer is read all the same"
    );
    drop(listener);
    let gone = until(|| reader.read(ListenerKey::Tcp { local, cookie, dropped_before }).err());
    assert_eq!(gone.kind(), ErrorKind::NotFound);
    assert!(reader.read(ListenerKey::Unix { inode: 1 }).is_err());
}

#[test]
fn the_accept_queue_of_a_unix_socket_has_a_depth_and_a_limit() {
    if !kernel_answers() {
        return;
    }
    let path = std::env::temp_dir().join(format!("tidemill-queue-{}.sock", std::process::id()));
    let listener = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    listener.bind(&SockAddr::unix(&path).unwrap()).unwrap();
    listener.listen(7).unwrap();
    let _clients = [(); 2].map(|()| UnixStream::connect(&path).unwrap());
    std::fs::remove_file(&path).unwrap();
    let inode = u32::try_from(fstat(&listener).unwrap().st_ino).unwrap();
    let queue = QueueReader::open().unwrap().read(ListenerKey::Unix { inode });
    match queue {
        Ok(queue) => assert_eq!(queue, AcceptQueue { depth: 2, limit: 7, drops: None }),
        // The kernel's module for Unix sockets is not there.
        Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound),
    }
}

#[test]
fn other_ports_are_left_out() {
    if !kernel_answers() {
        return;
    }
    let [asked, other, unasked] = [(); 3].map(|()| listen(LOCALHOST, 16).unwrap());
    let _connected = [&asked, &other, &unasked].map(|listener| pair(listener, LOCALHOST));
    let ports = [port(&asked), port(&other), port(&asked), 0];
    let mut found: Vec<_> =
        connections(&ports, 100).unwrap().sockets.iter().map(|socket| socket.local.port()).collect();
    found.sort_unstable();
    let mut expected = vec![port(&asked), port(&other)];
    expected.sort_unstable();
    assert_eq!(found, expected);
    assert_eq!(connections(&[], 100).unwrap().sockets, []);
}

#[test]
fn there_are_never_more_than_asked_for() {
    if !kernel_answers() {
        return;
    }
    let listener = listen(LOCALHOST, 16).unwrap();
    let _connected: Vec<_> = (0..3).map(|_| pair(&listener, LOCALHOST)).collect();
    for (max, complete) in [(0, false), (2, false), (3, true)] {
        let snapshot = connections(&[port(&listener)], max).unwrap();
        assert_eq!((snapshot.sockets.len(), snapshot.complete), (max, complete));
    }
}

#[test]
fn an_answer_of_many_datagrams_is_read_to_its_end() {
    if !kernel_answers() {
        return;
    }
    let listener = listen(LOCALHOST, 16).unwrap();
    let connected: Vec<_> = (0..200).map(|_| pair(&listener, LOCALHOST)).collect();
    let snapshot = connections(&[port(&listener)], 1000).unwrap();
    let mut found: Vec<_> = snapshot.sockets.iter().map(|socket| socket.peer.port()).collect();
    let mut expected: Vec<_> = connected.iter().map(|(client, _)| client.local_addr().unwrap().port()).collect();
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
}

/// How many bytes the client's kernel has acknowledged.
fn acknowledged_by_client(accepted: &TcpStream) -> io::Result<u64> {
    Ok(peer_progress(accepted.local_addr()?, accepted.peer_addr()?)?.acknowledged)
}

/// Follows what a client's kernel acknowledges while the client reads nothing, a part and all.
fn follow_acknowledgements(listener: &TcpListener, ip: IpAddr) {
    let (mut client, mut accepted) = pair(listener, ip);
    assert_eq!(acknowledged_by_client(&accepted).unwrap(), 0);
    accepted.write_all(b"hello").unwrap();
    until(|| (acknowledged_by_client(&accepted).unwrap() == 5).then_some(()));
    let mut written = 5;
    accepted.set_nonblocking(true).unwrap();
    let error = until(|| match accepted.write(&[0; 65536]) {
        Ok(n) => {
            written += n as u64;
            None
        }
        Err(error) => Some(error),
    });
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    // The client's kernel takes what it has room for, and the rest stays with ours.
    let stuck = until(|| {
        let info = server_end(listener, &client)?.info?;
        (info.unacked == 0 && info.notsent_bytes > 0 && info.rwnd_limited_us > 0).then_some(info.bytes_acked)
    });
    let told = acknowledged_by_client(&accepted).unwrap();
    assert!(5 < stuck && stuck <= told && told < written, "{stuck}, {told} of {written}");
    client.read_exact(&mut vec![0; stuck as usize]).unwrap();
    until(|| (acknowledged_by_client(&accepted).unwrap() > told).then_some(()));
    client.read_exact(&mut vec![0; (written - stuck) as usize]).unwrap();
    until(|| (acknowledged_by_client(&accepted).unwrap() == written).then_some(()));
    accepted.shutdown(Shutdown::Write).unwrap();
    until(|| server_end(listener, &client).filter(|socket| socket.state == State::FinWait2));
    assert_eq!(acknowledged_by_client(&accepted).unwrap(), written, "our end is no byte");
}

#[test]
fn what_a_client_has_acknowledged_is_told_over_both_families() {
    if !kernel_answers() {
        return;
    }
    follow_acknowledgements(&listen(LOCALHOST, 16).unwrap(), LOCALHOST);
    let Ok(dual_stack) = listen(Ipv6Addr::UNSPECIFIED.into(), 16) else {
        return eprintln!("skipped: no IPv6 here");
    };
    follow_acknowledgements(&dual_stack, LOCALHOST);
    match TcpStream::connect((Ipv6Addr::LOCALHOST, port(&dual_stack))) {
        Ok(_) => {
            dual_stack.accept().unwrap();
            follow_acknowledgements(&dual_stack, Ipv6Addr::LOCALHOST.into());
        }
        Err(error) => eprintln!("only IPv4 is tried: {error}"),
    }
}

#[test]
fn nothing_is_told_of_a_connection_that_is_gone() {
    if !kernel_answers() {
        return;
    }
    let listener = listen(LOCALHOST, 16).unwrap();
    let (client, accepted) = pair(&listener, LOCALHOST);
    let (local, peer) = (accepted.local_addr().unwrap(), accepted.peer_addr().unwrap());
    assert_eq!(peer_progress(local, peer).unwrap().acknowledged, 0);
    SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    // The listener has the same address and port, and is not taken for the connection.
    let error = until(|| peer_progress(local, peer).err());
    assert_eq!(error.kind(), ErrorKind::NotFound);
    drop(listener);
    assert_eq!(peer_progress(local, peer).unwrap_err().kind(), ErrorKind::NotFound);
    let (listener, unconnected) = (listen(LOCALHOST, 16).unwrap(), SocketAddr::new(LOCALHOST, 1));
    let error = peer_progress(listener.local_addr().unwrap(), unconnected).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}
