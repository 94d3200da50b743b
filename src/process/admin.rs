//! The entrance for whoever looks after the server, and what the kernel is asked on their behalf.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::net::listener::{Address, Listener};
use crate::net::sock_diag::{self, TcpInfo, TcpSocket};
use crate::service::status::AskKernel;
use crate::service::status::report::{KernelReport, KernelSocket};

/// Sockets that the kernel is asked about at a time: as many as `/connections` lists at most.
const SOCKETS_MAX: usize = 100_000;
/// Others may listen on the same port at another address.
const QUEUES_MAX: usize = 100;

/// Asks about the sockets of `listeners` alone, whatever else this machine serves.
pub fn ask_kernel<'l>(listeners: impl Iterator<Item = &'l Listener>) -> AskKernel {
    let ports: Vec<u16> = listeners.filter_map(port).collect();
    Arc::new(move || report(&ports).map_err(|error| error.to_string()))
}

fn port(listener: &Listener) -> Option<u16> {
    match listener.local_address() {
        Address::Tcp(address) => Some(address.port()),
        Address::Unix(_) => None,
    }
}

fn report(ports: &[u16]) -> std::io::Result<KernelReport> {
    if ports.is_empty() {
        return Ok(KernelReport::default());
    }
    let sockets = sock_diag::connections(ports, SOCKETS_MAX)?.sockets;
    let queues = sock_diag::listeners(ports, QUEUES_MAX)?.sockets;
    Ok(KernelReport {
        sockets: sockets.iter().filter_map(kernel_socket).collect(),
        queues: queues.into_iter().map(|queue| (queue.local, queue.depth, queue.limit)).collect(),
    })
}

fn kernel_socket(socket: &TcpSocket) -> Option<KernelSocket> {
    let info: &TcpInfo = socket.info.as_ref()?;
    let microseconds = Duration::from_micros;
    Some(KernelSocket {
        peer: SocketAddr::new(socket.peer.ip().to_canonical(), socket.peer.port()),
        rtt: microseconds(info.rtt_us.into()),
        unacked: info.unacked,
        notsent: info.notsent_bytes,
        rwnd_limited: microseconds(info.rwnd_limited_us),
        sndbuf_limited: microseconds(info.sndbuf_limited_us),
        resent: info.total_retrans,
    })
}
