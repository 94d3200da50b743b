//! What the kernel is asked for the pages of the admin listener.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::base::accept_queue::ListenCounters;
use crate::base::listener_id::ListenerId;
use crate::base::peer::canonical;
use crate::net::listen_counters;
use crate::net::listener::Listener;
use crate::net::sock_diag::{self, ListenerKey, QueueReader, TcpInfo, TcpSocket};
use crate::observe::report::{KernelReport, KernelSocket, KernelTopic};
use crate::service::status::AskKernel;

/// Sockets that the kernel may tell about at a time: it cannot be asked about some of a port's only.
const SOCKETS_MAX: usize = 100_000;

/// What the kernel may be asked about: the sockets of our listeners alone, whatever else this machine serves.
#[derive(Clone, Default)]
pub struct KernelSubjects(Arc<Mutex<Subjects>>);

#[derive(Clone, Default)]
struct Subjects {
    ports: Vec<u16>,
    keys: Vec<(ListenerId, ListenerKey)>,
}

impl KernelSubjects {
    /// From now on these are our listeners. Connections that came through others are still asked about.
    pub fn set<'l>(&self, listeners: impl Iterator<Item = (ListenerId, &'l Listener)>) {
        let mut subjects = self.lock();
        subjects.keys.clear();
        for (id, listener) in listeners {
            subjects.keys.extend(listener.key().ok().map(|key| (id, key)));
            if let Some(port) = listener.local_address().port().filter(|port| !subjects.ports.contains(port)) {
                subjects.ports.push(port);
            }
        }
    }

    /// Asks about them, and how much was counted for all listeners of the network namespace since it was `listen_before`.
    pub fn asked(&self, listen_before: Option<ListenCounters>) -> AskKernel {
        let subjects = self.clone();
        Arc::new(move |topic| {
            let subjects = subjects.lock().clone();
            report(&subjects, listen_before, topic).unwrap_or_else(|error| missing(&error))
        })
    }

    /// Nobody panics while holding the lock.
    fn lock(&self) -> MutexGuard<'_, Subjects> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn missing(error: &io::Error) -> KernelReport {
    KernelReport { missing: Some(error.to_string()), ..KernelReport::default() }
}

fn report(subjects: &Subjects, listen_before: Option<ListenCounters>, topic: &KernelTopic) -> io::Result<KernelReport> {
    let mut report = KernelReport::default();
    if let KernelTopic::Queues | KernelTopic::All(_) = topic {
        report.listen = listen_before.zip(listen_counters::read().ok()).map(|(before, now)| now.since(before));
        match QueueReader::open() {
            Ok(mut reader) => {
                let read = |(id, key): &(ListenerId, ListenerKey)| Some((*id, reader.read(*key).ok()?));
                report.queues = subjects.keys.iter().filter_map(read).collect();
            }
            Err(error) => report.missing = Some(error.to_string()),
        }
    }
    match topic {
        KernelTopic::Connections(wanted) | KernelTopic::All(wanted) => {
            let is_accepted = |ends: &&(SocketAddr, SocketAddr)| subjects.ports.contains(&ends.0.port());
            let (accepted, opened): (Vec<_>, Vec<_>) = wanted.iter().partition(is_accepted);
            let mut sockets = Vec::new();
            if !accepted.is_empty() {
                sockets = sock_diag::connections(&subjects.ports, SOCKETS_MAX)?.sockets;
            }
            // Each of those that we have opened has a port of its own.
            sockets.extend(opened.iter().filter_map(|(local, peer)| sock_diag::connection(*local, *peer).ok()));
            let ends = |socket: &TcpSocket| (canonical(socket.local), canonical(socket.peer));
            let wanted = sockets.iter().filter(|socket| wanted.contains(&ends(socket)));
            report.sockets = wanted.filter_map(|socket| Some((ends(socket), kernel_socket(socket)?))).collect();
        }
        KernelTopic::Queues => {}
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
        state: socket.state.name(),
        retransmits: info.retransmits,
        probes: info.probes,
        backoff: info.backoff,
        acknowledged: info.bytes_acked,
        last_sent: Duration::from_millis(info.last_data_sent_ms.into()),
        last_acknowledgement: Duration::from_millis(info.last_ack_recv_ms.into()),
        window: info.snd_wnd,
    })
}
