//! The accept queue of one listener: a question about one socket, and a netlink socket that is kept for such questions.
//! The event loop asks them when connections wait: at a time at which there may be no descriptor left to open one.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::io::{Errno, retry_on_intr};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with};

use super::message::{
    NLM_F_REQUEST, Question, SOCKET_LENGTH, attribute, begin_message, bytes_at, malformed, only_payload, request,
};
use super::{ListenerKey, State};
use crate::base::accept_queue::AcceptQueue;

// linux/unix_diag.h
const UDIAG_SHOW_RQLEN: u32 = 0x10;
const UNIX_DIAG_RQLEN: u16 = 4;
/// `sizeof(struct unix_diag_req)`: family u8, protocol u8, padding u16, states u32, inode u32, show u32, cookie of two u32.
const UNIX_REQUEST_LENGTH: usize = 24;
/// `sizeof(struct unix_diag_msg)`: family u8, type u8, state u8, padding u8, inode u32, cookie of two u32. Attributes follow.
const UNIX_SOCKET_LENGTH: usize = 16;
/// Two u32: no cookie is compared.
const NO_COOKIE: [u8; 8] = [0xff; 8];

// linux/inet_diag.h, linux/sock_diag.h
pub(super) const INET_DIAG_SKMEMINFO: u16 = 7;
/// The attribute is an array of u32; this is where the number of dropped packets stands.
const SK_MEMINFO_DROPS: usize = 8;

/// The answer about one socket has about 400 bytes.
const DATAGRAM_BYTES_MAX: usize = 4 * 1024;

/// Asks the kernel about accept queues.
#[derive(Debug)]
pub struct QueueReader {
    socket: OwnedFd,
    /// The number of the latest question, which its answer repeats.
    sequence: u32,
    buffer: Vec<u8>,
}

impl QueueReader {
    /// Opens a netlink socket.
    ///
    /// # Errors
    /// The kernel's.
    pub fn open() -> io::Result<QueueReader> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, Some(netlink::SOCK_DIAG))?;
        Ok(QueueReader { socket, sequence: 0, buffer: vec![0; DATAGRAM_BYTES_MAX] })
    }

    /// What the kernel says about the listener. This takes two system calls and never waits: the kernel composes its answer
    /// while it takes the question.
    ///
    /// # Errors
    /// The kernel's: [`io::ErrorKind::NotFound`] if nobody listens there any more, for example;
    /// [`io::ErrorKind::InvalidData`] when what it says makes no sense.
    pub fn read(&mut self, key: ListenerKey) -> io::Result<AcceptQueue> {
        self.sequence = self.sequence.wrapping_add(1);
        let question = question(key, self.sequence);
        retry_on_intr(|| send(&self.socket, &question, SendFlags::empty()))?;
        let length = match retry_on_intr(|| recv(&self.socket, &mut self.buffer[..], RecvFlags::TRUNC)) {
            Ok((_, length)) => length,
            Err(Errno::AGAIN) => return Err(io::ErrorKind::TimedOut.into()),
            Err(error) => return Err(error.into()),
        };
        // With TRUNC the length is that of the whole datagram, even if only a part of it had room.
        let datagram = self.buffer.get(..length).ok_or_else(malformed)?;
        let payload = only_payload(datagram, self.sequence)?;
        let queue = match key {
            ListenerKey::Tcp { dropped_before, .. } => tcp_queue(payload).map(|queue| AcceptQueue {
                drops: queue.drops.map(|drops| drops.wrapping_sub(dropped_before)),
                ..queue
            }),
            ListenerKey::Unix { .. } => unix_queue(payload),
        };
        queue.ok_or_else(malformed)
    }
}

/// The question about a listener.
pub(super) fn question(key: ListenerKey, sequence: u32) -> Vec<u8> {
    match key {
        ListenerKey::Tcp { local, cookie, .. } => request(Question::Listener { local, cookie }, sequence),
        ListenerKey::Unix { inode } => {
            let mut bytes = begin_message(UNIX_REQUEST_LENGTH, NLM_F_REQUEST, sequence);
            let family = u8::try_from(AddressFamily::UNIX.as_raw()).expect("AF_UNIX is small");
            bytes.extend([family, 0, 0, 0]);
            bytes.extend([u32::MAX, inode, UDIAG_SHOW_RQLEN].map(u32::to_ne_bytes).concat());
            bytes.extend(NO_COOKIE);
            bytes
        }
    }
}

/// The address that stands for the peer of a listener.
pub(super) fn nobody(local: SocketAddr) -> SocketAddr {
    let ip: IpAddr = match local {
        SocketAddr::V4(_) => [0; 4].into(),
        SocketAddr::V6(_) => [0; 16].into(),
    };
    (ip, 0).into()
}

/// Reads a `struct inet_diag_msg` about a listener. While a socket listens, the kernel puts other meanings into the two
/// queues (tcp_diag_get_info of Linux). `None`: it is not one.
pub(super) fn tcp_queue(payload: &[u8]) -> Option<AcceptQueue> {
    let [_, state] = bytes_at(payload, 0)?;
    let memory = attribute(payload.get(SOCKET_LENGTH..)?, INET_DIAG_SKMEMINFO)?;
    let queue = AcceptQueue {
        depth: u32::from_ne_bytes(bytes_at(payload, 56)?),
        limit: u32::from_ne_bytes(bytes_at(payload, 60)?),
        drops: memory.and_then(|memory| bytes_at(memory, 4 * SK_MEMINFO_DROPS)).map(u32::from_ne_bytes),
    };
    (state == State::Listen as u8).then_some(queue)
}

/// Reads a `struct unix_diag_msg` about a listener. `None`: it is not one. To connect to a Unix socket whose queue is full
/// fails or waits, and nobody counts that.
pub(super) fn unix_queue(payload: &[u8]) -> Option<AcceptQueue> {
    let [_, _, state] = bytes_at(payload, 0)?;
    let lengths = attribute(payload.get(UNIX_SOCKET_LENGTH..)?, UNIX_DIAG_RQLEN)??;
    let queue = AcceptQueue {
        depth: u32::from_ne_bytes(bytes_at(lengths, 0)?),
        limit: u32::from_ne_bytes(bytes_at(lengths, 4)?),
        drops: None,
    };
    (state == State::Listen as u8).then_some(queue)
}
