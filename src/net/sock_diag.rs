//! What the kernel says about TCP sockets: it is asked over netlink (sock_diag(7)), by port, so that no descriptor is
//! needed and no `unsafe` either. Linux only; elsewhere every question is answered with [`io::ErrorKind::Unsupported`].
//!
//! A question about connections walks the kernel's table of all of them, once for each port and family, which takes
//! hundreds of microseconds even if there are few. A question about one connection is a look-up in that table, and takes
//! some tens of microseconds with the netlink socket it is asked on; one about a listener is asked on a socket that is kept,
//! and takes some microseconds. None waits for a peer: the kernel composes each part of its answer while it is asked for
//! it.

#[cfg(target_os = "linux")]
mod accept_queue;
#[cfg(target_os = "linux")]
mod dump;
#[cfg(target_os = "linux")]
mod message;
#[cfg(target_os = "linux")]
mod tcp_info;
#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::PeerProgress;
#[cfg(not(target_os = "linux"))]
use crate::base::accept_queue::AcceptQueue;
use crate::base::peer::canonical;
use crate::base::silence::PeerSigns;

/// Sockets as the kernel named them, one after the other: what opened or closed meanwhile may be missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot<T> {
    /// In no particular order.
    pub sockets: Vec<T>,
    /// Whether the kernel got to the end and was not disturbed. `false`: there were more sockets than asked for, or
    /// the kernel says that its table changed under it, so that some may be missing or named twice.
    pub complete: bool,
}

/// One end of a connection in the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpSocket {
    /// Our end. IPv4 addresses are IPv4 even if the socket is of both families.
    pub local: SocketAddr,
    /// The other end, in the form in which accepting a connection names it.
    pub peer: SocketAddr,
    /// Where the connection stands in its life.
    pub state: State,
    /// Bytes received that nobody has read yet, and one more once the peer has ended its direction.
    pub rqueue: u32,
    /// Bytes written that the peer has not acknowledged yet, sent or not, and one more for our own end.
    pub wqueue: u32,
    /// The rest of what the kernel knows. `None` for what it keeps of a closed connection in FIN-WAIT-2 once the socket
    /// itself is gone.
    pub info: Option<TcpInfo>,
}

/// The kernel's measurements of one connection (`struct tcp_info` of linux/tcp.h). Counts are since the connection was
/// opened. A kernel too old to know a field leaves it 0 or `None`; Linux 4.10 knows all but `snd_wnd`, Linux 5.4 all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TcpInfo {
    /// Bytes of content in the largest segment we send.
    pub snd_mss: u32,
    /// Segments sent and not acknowledged yet.
    pub unacked: u32,
    /// Segments of those that count as lost.
    pub lost: u32,
    /// Segments of those that were sent again.
    pub retrans: u32,
    /// How often the oldest of them was sent again without an answer.
    pub retransmits: u8,
    /// Probes of a shut window, or of an idle peer, that have had no answer.
    pub probes: u8,
    /// How often the time until the next try was doubled.
    pub backoff: u8,
    /// Segments sent again, all told.
    pub total_retrans: u32,
    /// Milliseconds since we last sent content.
    pub last_data_sent_ms: u32,
    /// Milliseconds since content last arrived.
    pub last_data_recv_ms: u32,
    /// Milliseconds since the peer last acknowledged anything.
    pub last_ack_recv_ms: u32,
    /// Round trip time in microseconds, smoothed. 0: not measured yet.
    pub rtt_us: u32,
    /// How much the round trip time varies, in microseconds.
    pub rttvar_us: u32,
    /// The shortest round trip of late, in microseconds; `None` before the first was measured.
    pub min_rtt_us: Option<u32>,
    /// The congestion window: how many segments may be on their way at once.
    pub snd_cwnd: u32,
    /// The peer's receive window, in bytes: 0 when it will take no more. Since Linux 5.4.
    pub snd_wnd: Option<u32>,
    /// The receive space to which the kernel tunes our window, in bytes.
    pub rcv_space: u32,
    /// Bytes written that have not been sent even once.
    pub notsent_bytes: u32,
    /// Bytes that the peer has acknowledged, our end counted as one.
    pub bytes_acked: u64,
    /// Bytes received, in order, the peer's end counted as one.
    pub bytes_received: u64,
    /// The latest rate at which the peer got what we sent, in bytes per second.
    pub delivery_rate: u64,
    /// Microseconds in which there was anything to send or to be acknowledged.
    pub busy_time_us: u64,
    /// Microseconds of those in which the peer's receive window kept us from sending.
    pub rwnd_limited_us: u64,
    /// Microseconds of those in which the size of our own send buffer kept us from sending.
    pub sndbuf_limited_us: u64,
}

/// How the kernel finds a socket that listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListenerKey {
    /// By its address. The cookie (SO_COOKIE) tells it from others that share the address (SO_REUSEPORT).
    Tcp {
        /// Where it listens.
        local: SocketAddr,
        /// The kernel's own number for it.
        cookie: u64,
        /// How many packets it had dropped when it became ours: these do not count.
        dropped_before: u32,
    },
    /// By the inode of the socket, which is not that of its file.
    Unix {
        /// What fstat(2) says about its descriptor.
        inode: u32,
    },
}

/// The states of a TCP connection (RFC 9293 §3.3.2), under Linux's numbers (include/net/tcp_states.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum State {
    /// Open both ways.
    Established = 1,
    /// We asked for a connection.
    SynSent = 2,
    /// The peer asked for a connection.
    SynReceived = 3,
    /// We have ended our direction; the end is not acknowledged yet.
    FinWait1 = 4,
    /// We have ended our direction; the peer has not.
    FinWait2 = 5,
    /// Over; the ports rest.
    TimeWait = 6,
    /// Not connected.
    Closed = 7,
    /// The peer has ended its direction; we have not.
    CloseWait = 8,
    /// The peer had ended its direction, then we did; our end is not acknowledged yet.
    LastAck = 9,
    /// Waiting for connections.
    Listen = 10,
    /// Both have ended their directions at once; our end is not acknowledged yet.
    Closing = 11,
}

impl State {
    /// The state of a number of Linux's.
    #[cfg(target_os = "linux")]
    fn of_code(code: u8) -> Option<State> {
        use State::*;
        let all = [
            Established,
            SynSent,
            SynReceived,
            FinWait1,
            FinWait2,
            TimeWait,
            Closed,
            CloseWait,
            LastAck,
            Listen,
            Closing,
        ];
        all.into_iter().find(|state| *state as u8 == code)
    }

    /// The name in RFC 9293.
    pub fn name(self) -> &'static str {
        match self {
            State::Established => "ESTABLISHED",
            State::SynSent => "SYN-SENT",
            State::SynReceived => "SYN-RECEIVED",
            State::FinWait1 => "FIN-WAIT-1",
            State::FinWait2 => "FIN-WAIT-2",
            State::TimeWait => "TIME-WAIT",
            State::Closed => "CLOSED",
            State::CloseWait => "CLOSE-WAIT",
            State::LastAck => "LAST-ACK",
            State::Listen => "LISTEN",
            State::Closing => "CLOSING",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The connections, at most `max`, whose local port is one of `local_ports`: established, or closed by one side or both
/// and not over yet. Both families; connections in accept queues too. Port 0 is nobody's.
///
/// # Errors
/// The kernel's: of old or confined systems [`io::ErrorKind::NotFound`] or `PermissionDenied`, for example.
/// [`io::ErrorKind::TimedOut`] when it says nothing for 200 ms, [`io::ErrorKind::InvalidData`] when what it says makes
/// no sense, [`io::ErrorKind::Unsupported`] where there is no Linux.
pub fn connections(local_ports: &[u16], max: usize) -> io::Result<Snapshot<TcpSocket>> {
    use State::{CloseWait, Closing, Established, FinWait1, FinWait2, LastAck};
    sockets(&[Established, CloseWait, FinWait1, FinWait2, Closing, LastAck], local_ports, max)
}

/// The connection from `local` to `peer`. An IPv4 address may be given in the form of IPv6.
///
/// # Errors
/// Those of [`connections`]; [`io::ErrorKind::NotFound`] also if there is no such connection any more. The kernel has 5 ms
/// for its answer.
pub fn connection(local: SocketAddr, peer: SocketAddr) -> io::Result<TcpSocket> {
    socket(canonical(local), canonical(peer))
}

/// How far the peer's kernel has taken what was written to the connection from `local` to `peer`.
///
/// # Errors
/// Those of [`connection`].
pub fn peer_progress(local: SocketAddr, peer: SocketAddr) -> io::Result<PeerProgress> {
    let found = connection(local, peer)?;
    let info = found.info.ok_or(io::ErrorKind::NotFound)?;
    // Our end was acknowledged, too, and is counted as one byte.
    let acknowledged = info.bytes_acked.saturating_sub(u64::from(found.state == State::FinWait2));
    let silent_for = PeerSigns {
        rtt: Duration::from_micros(info.rtt_us.into()),
        unacked: info.unacked,
        retransmits: info.retransmits,
        probes: info.probes,
        last_sent: Duration::from_millis(info.last_data_sent_ms.into()),
        last_acknowledgement: Duration::from_millis(info.last_ack_recv_ms.into()),
    }
    .silent_for();
    Ok(PeerProgress { acknowledged, window_was_shut: Duration::from_micros(info.rwnd_limited_us), silent_for })
}

#[cfg(target_os = "linux")]
pub use accept_queue::QueueReader;
#[cfg(target_os = "linux")]
use dump::{socket, sockets};

/// Asks the kernel about accept queues: here it cannot be asked.
#[cfg(not(target_os = "linux"))]
#[derive(Debug)]
pub struct QueueReader;

#[cfg(not(target_os = "linux"))]
impl QueueReader {
    /// Fails.
    ///
    /// # Errors
    /// Always [`io::ErrorKind::Unsupported`].
    pub fn open() -> io::Result<QueueReader> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "only Linux tells about accept queues"))
    }

    /// Fails.
    ///
    /// # Errors
    /// Always [`io::ErrorKind::Unsupported`].
    pub fn read(&mut self, _key: ListenerKey) -> io::Result<AcceptQueue> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(not(target_os = "linux"))]
fn socket(_local: SocketAddr, _peer: SocketAddr) -> io::Result<TcpSocket> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "only Linux tells about a socket by its addresses"))
}

#[cfg(not(target_os = "linux"))]
fn sockets(_states: &[State], _local_ports: &[u16], _max: usize) -> io::Result<Snapshot<TcpSocket>> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "only Linux tells about the sockets of a port"))
}
