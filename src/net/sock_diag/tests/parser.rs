//! Messages built by hand or recorded, whole, cut and mangled.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use proptest::collection::vec;
use proptest::prelude::*;
use rustix::net::AddressFamily;

use crate::base::accept_queue::AcceptQueue;
use crate::net::sock_diag::accept_queue::{question, tcp_queue, unix_queue};
use crate::net::sock_diag::message::{Next, Question, only_payload, read_datagram, request};
use crate::net::sock_diag::tcp_info;
use crate::net::sock_diag::{ListenerKey, Snapshot, State, TcpInfo, TcpSocket};

/// What the tests ask with, and the kernel repeats.
const SEQUENCE: u32 = 7;

/// Reads a datagram into a fresh snapshot of at most `max` sockets.
fn read(datagram: &[u8], max: usize) -> io::Result<(Next, Snapshot<TcpSocket>)> {
    let mut snapshot = Snapshot { sockets: Vec::new(), complete: true };
    read_datagram(datagram, SEQUENCE, max, &mut snapshot).map(|next| (next, snapshot))
}

/// A message with its padding, from the layout in linux/netlink.h.
fn message(kind: u16, flags: u16, sequence: u32, payload: &[u8]) -> Vec<u8> {
    let length = 16 + payload.len() as u32;
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend([kind, flags].map(u16::to_ne_bytes).concat());
    bytes.extend([sequence, 4711].map(u32::to_ne_bytes).concat());
    bytes.extend(payload);
    bytes.resize(bytes.len().next_multiple_of(4), 0xee);
    bytes
}

/// A `struct nlattr` and its value, with its padding.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = [4 + value.len() as u16, kind].map(u16::to_ne_bytes).concat();
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0xee);
    bytes
}

/// A `struct inet_diag_msg` from port 80 to port 50000 on interface 3, with 11 bytes in and 12 bytes out.
fn socket(family: u8, state: u8, source: [u8; 16], destination: [u8; 16]) -> Vec<u8> {
    let mut bytes = vec![family, state, 0, 0];
    bytes.extend([80, 50_000].map(u16::to_be_bytes).concat());
    bytes.extend([source, destination].concat());
    // Interface, cookie of two, expires, rqueue, wqueue, uid, inode.
    bytes.extend([3, 91, 92, 93, 11, 12, 94, 95].map(u32::to_ne_bytes).concat());
    bytes
}

fn ipv4_bytes(a: u8, b: u8, c: u8, d: u8) -> [u8; 16] {
    // What is behind an IPv4 address is no part of it.
    [a, b, c, d, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9]
}

fn ipv6_bytes(text: &str) -> [u8; 16] {
    text.parse::<std::net::Ipv6Addr>().unwrap().octets()
}

fn ipv4_socket() -> Vec<u8> {
    socket(2, 1, ipv4_bytes(127, 0, 0, 1), ipv4_bytes(192, 0, 2, 1))
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// The only socket that a datagram with this payload holds.
fn only(payload: &[u8]) -> TcpSocket {
    let (next, snapshot) = read(&message(20, 2, SEQUENCE, payload), 10).unwrap();
    assert_eq!((next, snapshot.complete, snapshot.sockets.len()), (Next::Receive, true, 1));
    snapshot.sockets[0].clone()
}

#[test]
fn a_request_has_the_layout_of_the_headers() {
    let states = &[State::Established, State::Listen];
    let bytes = request(Question::Dump { family: AddressFamily::INET6, states, local_port: 8080 }, 0x0102_0304);
    let mut expected =
        [72u32.to_ne_bytes().to_vec(), 20u16.to_ne_bytes().to_vec(), 0x301u16.to_ne_bytes().to_vec()].concat();
    expected.extend([0x0102_0304, 0].map(u32::to_ne_bytes).concat());
    expected.extend([10, 6, 2, 0]);
    expected.extend((1u32 << 1 | 1 << 10).to_ne_bytes());
    expected.extend([0x1f, 0x90]);
    expected.extend([0; 38]);
    expected.extend([0xff; 8]);
    assert_eq!(bytes, expected);
}

#[test]
fn a_request_for_one_socket_names_both_ends() {
    let header = [72u32.to_ne_bytes().to_vec(), [20u16, 1].map(u16::to_ne_bytes).concat()].concat();
    let expected = |family, source: [u8; 16], destination: [u8; 16], interface: u32| {
        let ports = [0x1f, 0x90, 0xc3, 0x50].to_vec();
        let mut bytes = [header.clone(), [SEQUENCE, 0].map(u32::to_ne_bytes).concat()].concat();
        bytes.extend([family, 6, 2, 0, 0xff, 0xff, 0xff, 0xff]);
        bytes.extend([ports, source.to_vec(), destination.to_vec(), interface.to_ne_bytes().to_vec()].concat());
        bytes.extend([0xff; 8]);
        bytes
    };
    let ask = |local, peer| request(Question::One { local: address(local), peer: address(peer) }, SEQUENCE);
    let ipv4 = |last| [127, 0, 0, last, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(ask("127.0.0.1:8080", "127.0.0.2:50000"), expected(2, ipv4(1), ipv4(2), 0));
    let (ours, theirs) = (ipv6_bytes("fe80::1"), ipv6_bytes("fe80::2"));
    assert_eq!(ask("[fe80::1%3]:8080", "[fe80::2%3]:50000"), expected(10, ours, theirs, 3));
}

#[test]
fn an_ipv4_socket_is_read() {
    let socket = only(&ipv4_socket());
    assert_eq!(
        socket,
        TcpSocket {
            local: address("127.0.0.1:80"),
            peer: address("192.0.2.1:50000"),
            state: State::Established,
            rqueue: 11,
            wqueue: 12,
            info: None,
        }
    );
}

#[test]
fn an_ipv6_socket_is_read() {
    let socket = only(&socket(10, 8, ipv6_bytes("::1"), ipv6_bytes("2001:db8::1")));
    assert_eq!((socket.local, socket.peer), (address("[::1]:80"), address("[2001:db8::1]:50000")));
    assert_eq!(socket.state, State::CloseWait);
}

#[test]
fn a_mapped_address_is_ipv4() {
    let socket = only(&socket(10, 1, ipv6_bytes("::ffff:127.0.0.1"), ipv6_bytes("::ffff:192.0.2.1")));
    assert_eq!((socket.local, socket.peer), (address("127.0.0.1:80"), address("192.0.2.1:50000")));
}

#[test]
fn only_a_link_local_address_names_its_interface() {
    let socket = only(&socket(10, 1, ipv6_bytes("fe80::1"), ipv6_bytes("2001:db8::1")));
    assert_eq!((socket.local, socket.peer), (address("[fe80::1%3]:80"), address("[2001:db8::1]:50000")));
}

#[test]
fn each_state_has_its_number_and_name() {
    // The order of include/net/tcp_states.h, from 1 on.
    let names =
        "ESTABLISHED SYN-SENT SYN-RECEIVED FIN-WAIT-1 FIN-WAIT-2 TIME-WAIT CLOSED CLOSE-WAIT LAST-ACK LISTEN CLOSING";
    for (code, name) in (1..).zip(names.split(' ')) {
        assert_eq!(only(&socket(2, code, [0; 16], [0; 16])).state.to_string(), name);
    }
}

#[test]
fn an_unknown_state_or_family_makes_no_sense() {
    for (family, state) in [(2, 0), (2, 12), (1, 1), (0, 1)] {
        let payload = socket(family, state, [0; 16], [0; 16]);
        assert_eq!(read(&message(20, 2, SEQUENCE, &payload), 10).unwrap_err().kind(), ErrorKind::InvalidData);
    }
}

#[test]
fn the_measurements_are_found_among_other_attributes() {
    let mut info = vec![0; 104];
    info[68..72].copy_from_slice(&1234u32.to_ne_bytes());
    let shutdown = attribute(8, &[0]);
    let payload = [ipv4_socket(), shutdown.clone(), attribute(2, &info), shutdown].concat();
    assert_eq!(only(&payload).info, Some(TcpInfo { rtt_us: 1234, ..TcpInfo::default() }));
}

#[test]
fn the_flags_of_an_attribute_are_not_part_of_its_type() {
    let payload = [ipv4_socket(), attribute(0x8002, &[0; 8])].concat();
    assert_eq!(only(&payload).info, Some(TcpInfo::default()));
}

#[test]
fn the_last_attribute_may_lack_its_padding() {
    let unpadded = [[5u16, 8].map(u16::to_ne_bytes).concat(), vec![0]].concat();
    assert_eq!(only(&[ipv4_socket(), unpadded].concat()).info, None);
}

#[test]
fn an_attribute_that_lies_about_its_length_makes_no_sense() {
    for length in [0u16, 3, 9, u16::MAX] {
        let mut lying = attribute(8, &[0; 4]);
        lying[..2].copy_from_slice(&length.to_ne_bytes());
        let payload = [ipv4_socket(), lying].concat();
        let error = read(&message(20, 2, SEQUENCE, &payload), 10).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData, "{length}");
    }
}

#[test]
fn a_message_that_lies_about_its_length_makes_no_sense() {
    for length in [0u32, 15, 89, u32::MAX] {
        let mut lying = message(20, 2, SEQUENCE, &ipv4_socket());
        lying[..4].copy_from_slice(&length.to_ne_bytes());
        assert_eq!(read(&lying, 10).unwrap_err().kind(), ErrorKind::InvalidData, "{length}");
    }
}

#[test]
fn the_kernels_refusal_is_its_error() {
    let not_found = message(2, 0, SEQUENCE, &[(-2i32).to_ne_bytes(), [0; 4]].concat());
    assert_eq!(read(&not_found, 10).unwrap_err().kind(), ErrorKind::NotFound);
    let at_the_end = message(3, 2, SEQUENCE, &(-1i32).to_ne_bytes());
    assert_eq!(read(&at_the_end, 10).unwrap_err().kind(), ErrorKind::PermissionDenied);
    read(&message(2, 0, SEQUENCE, &i32::MIN.to_ne_bytes()), 10).unwrap_err();
    let empty = message(2, 0, SEQUENCE, &[]);
    assert_eq!(read(&empty, 10).unwrap_err().kind(), ErrorKind::InvalidData);
}

#[test]
fn the_end_may_stand_alone_or_behind_sockets() {
    let done = message(3, 2, SEQUENCE, &[0; 4]);
    let (next, snapshot) = read(&done, 10).unwrap();
    assert_eq!((next, snapshot.sockets.len()), (Next::Finish, 0));
    let (next, snapshot) = read(&[message(20, 2, SEQUENCE, &ipv4_socket()), done].concat(), 10).unwrap();
    assert_eq!((next, snapshot.sockets.len(), snapshot.complete), (Next::Finish, 1, true));
}

#[test]
fn nothing_to_do_and_answers_to_other_questions_are_passed_over() {
    let other = message(20, 2, SEQUENCE - 1, &ipv4_socket());
    let refusal = message(2, 0, SEQUENCE - 1, &(-1i32).to_ne_bytes());
    let noop = message(1, 0, SEQUENCE, &[]);
    let (next, snapshot) = read(&[other, refusal, noop].concat(), 10).unwrap();
    assert_eq!((next, snapshot.sockets.len(), snapshot.complete), (Next::Receive, 0, true));
}

#[test]
fn an_interrupted_answer_is_marked() {
    let interrupted = message(20, 2 | 0x10, SEQUENCE, &ipv4_socket());
    let (next, snapshot) = read(&interrupted, 10).unwrap();
    assert_eq!((next, snapshot.sockets.len(), snapshot.complete), (Next::Receive, 1, false));
}

#[test]
fn one_socket_too_many_ends_the_reading() {
    let three = message(20, 2, SEQUENCE, &ipv4_socket()).repeat(3);
    let (next, snapshot) = read(&three, 2).unwrap();
    assert_eq!((next, snapshot.sockets.len(), snapshot.complete), (Next::GiveUp, 2, false));
    let (next, snapshot) = read(&three, 3).unwrap();
    assert_eq!((next, snapshot.sockets.len(), snapshot.complete), (Next::Receive, 3, true));
}

#[test]
fn an_older_kernel_leaves_out_the_end() {
    // All ones, so that every field that is there shows.
    let whole = tcp_info::read(&[1; 232]);
    assert_eq!((whole.rwnd_limited_us, whole.snd_wnd), (0x0101_0101_0101_0101, Some(0x0101_0101)));
    let linux_4_10 = tcp_info::read(&[1; 192]);
    assert_eq!(linux_4_10, TcpInfo { snd_wnd: None, ..whole });
    let linux_2_6 = tcp_info::read(&[1; 104]);
    assert_eq!((linux_2_6.total_retrans, linux_2_6.bytes_acked, linux_2_6.min_rtt_us), (0x0101_0101, 0, None));
    assert_eq!(tcp_info::read(&[]), TcpInfo::default());
    assert_eq!(tcp_info::read(&[1; 1000]), whole, "a newer kernel adds to it");
}

#[test]
fn a_round_trip_not_measured_yet_has_no_minimum() {
    let mut info = [0; 232];
    info[148..152].copy_from_slice(&u32::MAX.to_ne_bytes());
    assert_eq!(tcp_info::read(&info).min_rtt_us, None);
}

/// An answer of Linux 6.18 to question 7, the datagrams one after the other: a connection whose client reads nothing,
/// two that are idle, and the end.
#[cfg(target_endian = "little")]
const RECORDED: &[u8] = include_bytes!("recorded.bin");

#[cfg(target_endian = "little")]
#[test]
fn a_recorded_answer_is_read_as_the_c_headers_would() {
    let (next, snapshot) = read(RECORDED, 10).unwrap();
    assert_eq!((next, snapshot.complete), (Next::Finish, true));
    let peers: Vec<_> = snapshot.sockets.iter().map(|socket| socket.peer.port()).collect();
    assert_eq!(peers, [44040, 44064, 44052]);
    let stuck = TcpInfo {
        snd_mss: 47616,
        unacked: 0,
        lost: 0,
        retrans: 0,
        retransmits: 0,
        probes: 0,
        backoff: 0,
        total_retrans: 1,
        last_data_sent_ms: 44,
        last_data_recv_ms: 300,
        last_ack_recv_ms: 44,
        rtt_us: 4719,
        rttvar_us: 9402,
        min_rtt_us: Some(9),
        snd_cwnd: 15,
        snd_wnd: Some(0),
        rcv_space: 65483,
        notsent_bytes: 4_067_840,
        bytes_acked: 128_512,
        bytes_received: 0,
        delivery_rate: 1_322_666_666,
        busy_time_us: 300_000,
        rwnd_limited_us: 300_000,
        sndbuf_limited_us: 0,
    };
    assert_eq!(
        snapshot.sockets[0],
        TcpSocket {
            local: address("127.0.0.1:44295"),
            peer: address("127.0.0.1:44040"),
            state: State::Established,
            rqueue: 0,
            wqueue: 4_067_840,
            info: Some(stuck),
        }
    );
}

#[cfg(target_endian = "little")]
#[test]
fn a_recorded_answer_cut_anywhere_gives_its_beginning_or_an_error() {
    let (_, whole) = read(RECORDED, 10).unwrap();
    for length in 0..RECORDED.len() {
        match read(&RECORDED[..length], 10) {
            Ok((next, cut)) => {
                assert_eq!(next, Next::Receive, "{length}: the end is cut off");
                assert!(whole.sockets.starts_with(&cut.sockets), "{length}");
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::InvalidData, "{length}"),
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_give_an_answer_or_an_error(datagram in vec(any::<u8>(), 0..2048), max in 0..4usize) {
        if let Ok((_, snapshot)) = read(&datagram, max) {
            prop_assert!(snapshot.sockets.len() <= max);
        }
    }

    /// Well-formed on the outside, so that the insides are reached.
    #[test]
    fn any_payload_gives_an_answer_or_an_error(
        payloads in vec((0..24u16, vec(prop_oneof![0..16u8, any::<u8>()], 0..200)), 0..4),
        max in 0..4usize,
    ) {
        let datagram = payloads.iter().map(|(kind, payload)| message(*kind, 2, SEQUENCE, payload)).collect::<Vec<_>>();
        if let Ok((_, snapshot)) = read(&datagram.concat(), max) {
            prop_assert!(snapshot.sockets.len() <= max);
        }
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn a_mangled_recorded_answer_gives_an_answer_or_an_error(
        changes in vec((0..RECORDED.len(), prop_oneof![0..24u8, any::<u8>()]), 1..20),
        length in 0..=RECORDED.len(),
        max in 0..4usize,
    ) {
        let mut datagram = RECORDED.to_vec();
        changes.iter().for_each(|(at, byte)| datagram[*at] = *byte);
        if let Ok((_, snapshot)) = read(&datagram[..length], max) {
            prop_assert!(snapshot.sockets.len() <= max);
        }
    }
}

/// The answer about a listener whose kernel counts dropped packets if `drops` says so.
fn listener(state: u8, drops: Option<u32>) -> Vec<u8> {
    let memory = drops.map(|drops| [[0; 8].as_slice(), &[drops]].concat());
    let memory = memory.map(|memory| memory.iter().flat_map(|number| number.to_ne_bytes()).collect::<Vec<_>>());
    let attributes = memory.map(|memory| attribute(7, &memory)).unwrap_or_default();
    [socket(2, state, ipv4_bytes(127, 0, 0, 1), ipv4_bytes(0, 0, 0, 0)), attributes].concat()
}

#[test]
fn the_queue_of_a_listener_is_read() {
    let queue = |drops| AcceptQueue { depth: 11, limit: 12, drops };
    assert_eq!(tcp_queue(&listener(10, Some(37))), Some(queue(Some(37))));
    assert_eq!(tcp_queue(&listener(10, None)), Some(queue(None)), "a kernel that does not tell");
    assert_eq!(tcp_queue(&listener(1, Some(37))), None, "a connection");
    let whole = listener(10, Some(37));
    (0..whole.len()).for_each(|length| assert_ne!(tcp_queue(&whole[..length]), Some(queue(Some(37))), "{length}"));
    let lengths = attribute(4, &[5_u32, 6].map(u32::to_ne_bytes).concat());
    let unix = |state| [&[1, 1, state, 0], [0; 12].as_slice(), &lengths].concat();
    assert_eq!(unix_queue(&unix(10)), Some(AcceptQueue { depth: 5, limit: 6, drops: None }));
    assert_eq!(unix_queue(&unix(1)), None, "a connection");
    (0..unix(10).len()).for_each(|length| assert_eq!(unix_queue(&unix(10)[..length]), None, "{length}"));
}

#[test]
fn a_question_about_a_listener_names_its_address_and_its_cookie() {
    let bytes = question(
        ListenerKey::Tcp { local: address("127.0.0.1:8080"), cookie: 0x1_0000_0002, dropped_before: 5 },
        SEQUENCE,
    );
    assert_eq!(bytes[16..20], [2, 6, 1 << 6, 0]);
    assert_eq!(bytes[24..32], [0x1f, 0x90, 0, 0, 127, 0, 0, 1]);
    assert_eq!(bytes[32..64], [0; 32]);
    assert_eq!(bytes[64..], [2_u32, 1].map(u32::to_ne_bytes).concat());
    let bytes = question(ListenerKey::Unix { inode: 99 }, SEQUENCE);
    assert_eq!(bytes[..4], (bytes.len() as u32).to_ne_bytes());
    assert_eq!(bytes[16..20], [1, 0, 0, 0]);
    assert_eq!(bytes[20..], [u32::MAX, 99, 0x10, u32::MAX, u32::MAX].map(u32::to_ne_bytes).concat());
}

#[test]
fn only_the_answer_to_the_question_is_taken() {
    let payload = listener(10, Some(1));
    assert_eq!(only_payload(&message(20, 0, SEQUENCE, &payload), SEQUENCE).unwrap(), payload);
    let refused = |datagram: &[u8]| only_payload(datagram, SEQUENCE).unwrap_err();
    assert_eq!(refused(&message(20, 0, SEQUENCE + 1, &payload)).kind(), ErrorKind::InvalidData);
    assert_eq!(refused(&message(2, 0, SEQUENCE, &(-2_i32).to_ne_bytes())).kind(), ErrorKind::NotFound);
    assert_eq!(refused(&message(2, 0, SEQUENCE, &0_i32.to_ne_bytes())).kind(), ErrorKind::InvalidData);
    assert_eq!(refused(&message(3, 0, SEQUENCE, &payload)).kind(), ErrorKind::InvalidData);
    assert_eq!(refused(&[]).kind(), ErrorKind::InvalidData);
}
