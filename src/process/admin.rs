//! What the kernel is asked for the pages of the admin listener.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::base::peer::canonical;
use crate::net::listener::Listener;
use crate::net::sock_diag::{self, TcpInfo, TcpSocket};
use crate::observe::report::{AcceptQueue, KernelReport, KernelSocket, KernelTopic};
use crate::service::status::AskKernel;

/// Sockets that the kernel may tell about at a time: it cannot be asked about some of a port's only.
const SOCKETS_MAX: usize = 100_000;
/// Others may listen on the same port at another address.
const QUEUES_MAX: usize = 100;

/// Asks about the sockets of `listeners` alone, whatever else this machine serves.
pub fn ask_kernel<'l>(listeners: impl Iterator<Item = &'l Listener>) -> AskKernel {
    let ports: Vec<u16> = listeners.filter_map(|listener| listener.local_address().port()).collect();
    Arc::new(move |topic| report(&ports, topic).unwrap_or_else(|error| missing(&error)))
}

fn missing(error: &io::Error) -> KernelReport {
    KernelReport { missing: Some(error.to_string()), ..KernelReport::default() }
}

fn report(ports: &[u16], topic: &KernelTopic) -> io::Result<KernelReport> {
    let mut report = KernelReport::default();
    match topic {
        _ if ports.is_empty() => {}
        KernelTopic::Connections(wanted) => {
            let sockets = sock_diag::connections(ports, SOCKETS_MAX)?.sockets;
            let ends = |socket: &TcpSocket| (canonical(socket.local), canonical(socket.peer));
            let wanted = sockets.iter().filter(|socket| wanted.contains(&ends(socket)));
            report.sockets = wanted.filter_map(|socket| Some((ends(socket), kernel_socket(socket)?))).collect();
        }
        KernelTopic::Queues => {
            let queues = sock_diag::listeners(ports, QUEUES_MAX)?.sockets;
            let queues = queues.into_iter();
            report.queues = queues
                .map(|queue| AcceptQueue { address: queue.local, depth: queue.depth, limit: queue.limit })
                .collect();
        }
    }
    Ok(report)
}

fn kernel_socket(socket: &TcpSocket) -> Option<KernelSocket> {
    let info: &TcpInfo = socket.info.as_ref()?;
    let microseconds = Duration::from_micros;
    Some(KernelSocket {
        rtt: microseconds(info.rtt_us.into()),
        unacked: info.unacked,
        notsent: info.notsent_bytes,
        rwnd_limited: microseconds(info.rwnd_limited_us),
        sndbuf_limited: microseconds(info.sndbuf_limited_us),
        resent: info.total_retrans,
    })
}
