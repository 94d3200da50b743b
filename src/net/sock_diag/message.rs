//! Netlink messages to and from sock_diag: pure functions over bytes. Integers are in the machine's own order
//! (netlink(7)) but for addresses and ports, which are in the network's.

use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};

use rustix::net::AddressFamily;

use super::accept_queue::{INET_DIAG_SKMEMINFO, nobody};
use super::tcp_info;
use super::{Snapshot, State, TcpSocket};

/// `sizeof(struct nlmsghdr)`, linux/netlink.h: length u32, type u16, flags u16, sequence number u32, port u32.
const HEADER_LENGTH: usize = 16;

// linux/netlink.h
pub(super) const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_DUMP_INTR: u16 = 0x10;
const NLM_F_DUMP: u16 = 0x300;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// The two highest bits of an attribute's type are flags.
const NLA_TYPE_MASK: u16 = 0x3fff;

/// linux/sock_diag.h
const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// linux/in.h
const IPPROTO_TCP: u8 = 6;

// linux/inet_diag.h
const INET_DIAG_INFO: u16 = 2;
const INET_DIAG_NOCOOKIE: u32 = u32::MAX;

/// `sizeof(struct inet_diag_req_v2)`, linux/inet_diag.h: family u8, protocol u8, extensions u8, padding u8, states u32,
/// then `struct inet_diag_sockid`: source port and destination port, big-endian u16; source and destination address of
/// 16 bytes each; interface u32; cookie of two u32.
const REQUEST_LENGTH: usize = 56;

/// `sizeof(struct inet_diag_msg)`, linux/inet_diag.h: family u8, state u8, timer u8, retransmits u8, at 4 the
/// `inet_diag_sockid`, at 52 expires u32, rqueue u32, wqueue u32, uid u32, inode u32. Attributes follow.
pub(super) const SOCKET_LENGTH: usize = 72;

/// Which sockets a question is about.
#[derive(Debug, Clone, Copy)]
pub(super) enum Question<'a> {
    /// All of one family in any of `states` whose local port is `local_port`. The kernel compares the port itself; 0 would
    /// mean every port.
    Dump { family: AddressFamily, states: &'a [State], local_port: u16 },
    /// The one between these two addresses, which have the same family. The kernel answers about the listener at `local`
    /// if there is no such connection.
    One { local: SocketAddr, peer: SocketAddr },
    /// The listener at `local` whose SO_COOKIE this is.
    Listener { local: SocketAddr, cookie: u64 },
}

/// A netlink message about sockets whose payload has so many bytes, as far as its header goes.
pub(super) fn begin_message(payload_length: usize, flags: u16, sequence: u32) -> Vec<u8> {
    let length = u32::try_from(HEADER_LENGTH + payload_length).expect("a small constant");
    let mut bytes = Vec::with_capacity(HEADER_LENGTH + payload_length);
    bytes.extend(length.to_ne_bytes());
    bytes.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend(0u32.to_ne_bytes());
    bytes
}

/// Asks for TCP sockets with their TCP_INFO, and for listeners with what they have dropped.
pub(super) fn request(question: Question<'_>, sequence: u32) -> Vec<u8> {
    let family_of = |local: SocketAddr| if local.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let (family, flags, states, attribute) = match question {
        Question::Dump { family, states, .. } => (family, NLM_F_REQUEST | NLM_F_DUMP, mask(states), INET_DIAG_INFO),
        Question::One { local, .. } => (family_of(local), NLM_F_REQUEST, u32::MAX, INET_DIAG_INFO),
        Question::Listener { local, .. } => (family_of(local), NLM_F_REQUEST, u32::MAX, INET_DIAG_SKMEMINFO),
    };
    let family = u8::try_from(family.as_raw()).expect("AF_INET and AF_INET6 are small");
    let mut bytes = begin_message(REQUEST_LENGTH, flags, sequence);
    bytes.extend([family, IPPROTO_TCP, 1 << (attribute - 1), 0]);
    bytes.extend(states.to_ne_bytes());
    let mut cookie = [INET_DIAG_NOCOOKIE; 2];
    match question {
        Question::Dump { local_port, .. } => {
            bytes.extend(local_port.to_be_bytes());
            bytes.extend([0; 2 + 16 + 16 + 4]);
        }
        Question::One { local, peer } => bytes.extend(ends(local, peer)),
        Question::Listener { local, cookie: its } => {
            bytes.extend(ends(local, nobody(local)));
            // sock_diag_check_cookie of Linux: the lower half comes first.
            cookie = [its as u32, (its >> 32) as u32];
        }
    }
    bytes.extend(cookie.map(u32::to_ne_bytes).concat());
    bytes
}

/// Both ends of a socket, as far as the interface in `struct inet_diag_sockid`.
fn ends(local: SocketAddr, peer: SocketAddr) -> Vec<u8> {
    let mut bytes = [local.port(), peer.port()].map(u16::to_be_bytes).concat();
    bytes.extend([ip_bytes(local), ip_bytes(peer)].concat());
    bytes.extend(interface(local).max(interface(peer)).to_ne_bytes());
    bytes
}

/// An address in the place for one, which is as long as one of IPv6.
fn ip_bytes(address: SocketAddr) -> [u8; 16] {
    match address.ip() {
        IpAddr::V6(ip) => ip.octets(),
        IpAddr::V4(ip) => {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&ip.octets());
            bytes
        }
    }
}

/// The interface of a link-local address; 0: any.
fn interface(address: SocketAddr) -> u32 {
    match address {
        SocketAddr::V6(address) => address.scope_id(),
        SocketAddr::V4(_) => 0,
    }
}

/// One bit for each state.
fn mask(states: &[State]) -> u32 {
    states.iter().fold(0, |mask, state| mask | 1 << *state as u8)
}

/// What to do after a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Receive another: the kernel has more to say.
    Receive,
    /// Nothing: the answer is complete.
    Finish,
    /// Give up: there are more sockets than the snapshot may hold.
    GiveUp,
}

/// Adds what one datagram of the answer to question `sequence` says to `snapshot`, as long as that has at most `max`
/// sockets.
///
/// # Errors
/// The kernel's, and [`io::ErrorKind::InvalidData`] for a message that is not what linux/inet_diag.h promises.
pub(super) fn read_datagram(
    datagram: &[u8],
    sequence: u32,
    max: usize,
    snapshot: &mut Snapshot<TcpSocket>,
) -> io::Result<Next> {
    let mut rest = datagram;
    while !rest.is_empty() {
        let (message, after) = Message::split(rest).ok_or_else(malformed)?;
        rest = after;
        if message.sequence != sequence {
            continue;
        }
        snapshot.complete &= message.flags & NLM_F_DUMP_INTR == 0;
        match message.kind {
            NLMSG_ERROR => check_status(message.payload)?,
            NLMSG_DONE => return check_status(message.payload).map(|()| Next::Finish),
            SOCK_DIAG_BY_FAMILY if snapshot.sockets.len() >= max => {
                snapshot.complete = false;
                return Ok(Next::GiveUp);
            }
            SOCK_DIAG_BY_FAMILY => snapshot.sockets.push(socket(message.payload).ok_or_else(malformed)?),
            _ => {}
        }
    }
    Ok(Next::Receive)
}

/// The payload of the message in this datagram that answers question `sequence` about one socket.
///
/// # Errors
/// The kernel's, and [`io::ErrorKind::InvalidData`] if there is no such message.
pub(super) fn only_payload(datagram: &[u8], sequence: u32) -> io::Result<&[u8]> {
    let (message, _) =
        Message::split(datagram).filter(|(message, _)| message.sequence == sequence).ok_or_else(malformed)?;
    match message.kind {
        SOCK_DIAG_BY_FAMILY => Ok(message.payload),
        NLMSG_ERROR => check_status(message.payload).and_then(|()| Err(malformed())),
        _ => Err(malformed()),
    }
}

pub(super) fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the kernel's answer about sockets makes no sense")
}

/// The result that an error message or the end of a dump begins with: an error number, negated.
fn check_status(payload: &[u8]) -> io::Result<()> {
    match bytes_at(payload, 0).map(i32::from_ne_bytes) {
        Some(0..) => Ok(()),
        Some(code) => Err(io::Error::from_raw_os_error(code.saturating_neg())),
        None => Err(malformed()),
    }
}

/// One message of a datagram.
struct Message<'a> {
    kind: u16,
    flags: u16,
    sequence: u32,
    payload: &'a [u8],
}

impl<'a> Message<'a> {
    /// The first message, and what follows it.
    fn split(bytes: &'a [u8]) -> Option<(Message<'a>, &'a [u8])> {
        let length = usize::try_from(u32::from_ne_bytes(bytes_at(bytes, 0)?)).ok()?;
        let message = Message {
            kind: u16::from_ne_bytes(bytes_at(bytes, 4)?),
            flags: u16::from_ne_bytes(bytes_at(bytes, 6)?),
            sequence: u32::from_ne_bytes(bytes_at(bytes, 8)?),
            payload: bytes.get(HEADER_LENGTH..length)?,
        };
        Some((message, after(bytes, length)))
    }
}

/// What follows the first `length` bytes: NLMSG_ALIGN and NLA_ALIGN (linux/netlink.h) both round up to 4. The last one
/// may lack its padding.
fn after(bytes: &[u8], length: usize) -> &[u8] {
    bytes.get(length.next_multiple_of(4)..).unwrap_or_default()
}

/// Reads a `struct inet_diag_msg` and its attributes. `None`: it is not one.
fn socket(payload: &[u8]) -> Option<TcpSocket> {
    let attributes = payload.get(SOCKET_LENGTH..)?;
    let [family, state] = bytes_at(payload, 0)?;
    let interface = u32::from_ne_bytes(bytes_at(payload, 40)?);
    let address = |ip_at, port_at| {
        let port = u16::from_be_bytes(bytes_at(payload, port_at)?);
        socket_address(family, bytes_at(payload, ip_at)?, port, interface)
    };
    Some(TcpSocket {
        local: address(8, 4)?,
        peer: address(24, 6)?,
        state: State::of_code(state)?,
        rqueue: u32::from_ne_bytes(bytes_at(payload, 56)?),
        wqueue: u32::from_ne_bytes(bytes_at(payload, 60)?),
        info: attribute(attributes, INET_DIAG_INFO)?.map(tcp_info::read),
    })
}

/// An address as accept(2) gives it, but IPv4 under its own name. Only a link-local one needs the interface.
fn socket_address(family: u8, bytes: [u8; 16], port: u16, interface: u32) -> Option<SocketAddr> {
    let [a, b, c, d, ..] = bytes;
    let ip = match AddressFamily::from_raw(family.into()) {
        AddressFamily::INET => IpAddr::from([a, b, c, d]),
        AddressFamily::INET6 => IpAddr::from(bytes).to_canonical(),
        _ => return None,
    };
    Some(match ip {
        IpAddr::V6(ip) if ip.is_unicast_link_local() => SocketAddrV6::new(ip, port, 0, interface).into(),
        _ => SocketAddr::new(ip, port),
    })
}

/// The first attribute of type `kind`, if there is one; `None` if these are no attributes. Each is a `struct nlattr`
/// (linux/netlink.h: length u16 including this header, type u16) and its value.
pub(super) fn attribute(attributes: &[u8], kind: u16) -> Option<Option<&[u8]>> {
    let mut rest = attributes;
    while !rest.is_empty() {
        let length = usize::from(u16::from_ne_bytes(bytes_at(rest, 0)?));
        let found = u16::from_ne_bytes(bytes_at(rest, 2)?) & NLA_TYPE_MASK;
        let value = rest.get(4..length)?;
        if found == kind {
            return Some(Some(value));
        }
        rest = after(rest, length);
    }
    Some(None)
}

/// The `N` bytes from `start` on, if there are so many.
pub(super) fn bytes_at<const N: usize>(bytes: &[u8], start: usize) -> Option<[u8; N]> {
    bytes.get(start..)?.first_chunk().copied()
}
