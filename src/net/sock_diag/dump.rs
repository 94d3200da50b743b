//! The conversation with the kernel, on a netlink socket of its own: one question for each port and family, or one about
//! a single connection.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::{Errno, retry_on_intr};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with};

use super::message::{Next, Question, malformed, read_datagram, request};
use super::{Snapshot, State, TcpSocket};

/// The kernel composes its answers at once; this is for what we have not thought of.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(200);
/// The same for a question that the event loop waits for.
const ONE_ANSWER_TIMEOUT: Duration = Duration::from_millis(5);

/// The kernel makes no datagram of a dump larger than this, whatever room there is (netlink_recvmsg of Linux).
const DATAGRAM_BYTES_MAX: usize = 32 * 1024;
/// The answer about one socket has about 400 bytes.
const ONE_DATAGRAM_BYTES_MAX: usize = 4 * 1024;

/// Sockets, at most `max`, in any of `states` whose local port is one of `local_ports`.
pub(super) fn sockets(states: &[State], local_ports: &[u16], max: usize) -> io::Result<Snapshot<TcpSocket>> {
    let mut snapshot = Snapshot { sockets: Vec::new(), complete: true };
    let mut kernel = Kernel::open(ANSWER_TIMEOUT, DATAGRAM_BYTES_MAX)?;
    for port in distinct(local_ports) {
        for family in [AddressFamily::INET, AddressFamily::INET6] {
            kernel.ask(Question::Dump { family, states, local_port: port })?;
            // What the kernel still has to say goes with the socket.
            if kernel.answer(max, &mut snapshot)? == Next::GiveUp {
                return Ok(snapshot);
            }
        }
    }
    Ok(snapshot)
}

/// The connection between these two addresses.
pub(super) fn socket(local: SocketAddr, peer: SocketAddr) -> io::Result<TcpSocket> {
    let mut snapshot = Snapshot { sockets: Vec::new(), complete: true };
    let mut kernel = Kernel::open(ONE_ANSWER_TIMEOUT, ONE_DATAGRAM_BYTES_MAX)?;
    kernel.ask(Question::One { local, peer })?;
    // There is one message in the answer, and no other marks its end.
    kernel.datagram(1, &mut snapshot)?;
    let is_same = |one: SocketAddr, other: SocketAddr| (one.ip(), one.port()) == (other.ip(), other.port());
    let found = snapshot.sockets.pop().filter(|found| is_same(found.local, local) && is_same(found.peer, peer));
    found.ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// The ports to ask about, each once. The kernel takes 0 for "any".
fn distinct(local_ports: &[u16]) -> Vec<u16> {
    let mut ports: Vec<u16> = local_ports.iter().copied().filter(|port| *port != 0).collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

/// The kernel's sock_diag at the other end of a netlink socket.
struct Kernel {
    socket: OwnedFd,
    /// The number of the latest question, which its answer repeats.
    sequence: u32,
    buffer: Vec<u8>,
}

impl Kernel {
    fn open(timeout: Duration, datagram_bytes_max: usize) -> io::Result<Kernel> {
        let protocol = Some(netlink::SOCK_DIAG);
        let socket = socket_with(AddressFamily::NETLINK, SocketType::DGRAM, SocketFlags::CLOEXEC, protocol)?;
        set_socket_timeout(&socket, Timeout::Recv, Some(timeout))?;
        Ok(Kernel { socket, sequence: 0, buffer: vec![0; datagram_bytes_max] })
    }

    /// A netlink socket without an address sends to the kernel. It never waits there: requests are dealt with at once.
    fn ask(&mut self, question: Question<'_>) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let request = request(question, self.sequence);
        retry_on_intr(|| send(&self.socket, &request, SendFlags::empty()))?;
        Ok(())
    }

    /// Reads the answer to the latest question; never [`Next::Receive`].
    fn answer(&mut self, max: usize, snapshot: &mut Snapshot<TcpSocket>) -> io::Result<Next> {
        loop {
            match self.datagram(max, snapshot)? {
                Next::Receive => {}
                end => return Ok(end),
            }
        }
    }

    /// Reads the next datagram of that answer.
    fn datagram(&mut self, max: usize, snapshot: &mut Snapshot<TcpSocket>) -> io::Result<Next> {
        let length = self.receive()?;
        // With TRUNC the length is that of the whole datagram, even if only a part of it had room.
        let datagram = self.buffer.get(..length).ok_or_else(malformed)?;
        read_datagram(datagram, self.sequence, max, snapshot)
    }

    /// Receives one datagram into the buffer and tells its length.
    fn receive(&mut self) -> io::Result<usize> {
        match retry_on_intr(|| recv(&self.socket, &mut self.buffer[..], RecvFlags::TRUNC)) {
            Ok((_, length)) => Ok(length),
            Err(Errno::AGAIN) => Err(io::ErrorKind::TimedOut.into()),
            Err(error) => Err(error.into()),
        }
    }
}
