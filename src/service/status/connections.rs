//! `/connections`: what each of them waits for, as text for people and JSON for programs.

use std::collections::HashMap;
use std::fmt::Write;
use std::net::SocketAddr;

use super::report::{ConnectionStatus, KernelReport, KernelSocket};
use crate::base::peer::Peer;
use crate::service::json::Object;

/// What the kernel says, by peer.
pub type KernelView = HashMap<SocketAddr, KernelSocket>;

/// What the kernel says, to be looked up.
pub fn kernel_view(report: &KernelReport) -> KernelView {
    report.sockets.iter().map(|socket| (socket.peer, *socket)).collect()
}

fn kernel_of<'k>(connection: &ConnectionStatus, kernel: &'k KernelView) -> Option<&'k KernelSocket> {
    match connection.peer {
        Peer::Ip(peer) => kernel.get(&peer),
        Peer::Unix => None,
    }
}

/// Two lines for each: what it does and waits for, and what the kernel says.
pub fn text(connections: &[ConnectionStatus], kernel: &KernelView) -> String {
    let mut out = format!("{} connections, the longest wait first\n", connections.len());
    for connection in connections {
        write_lines(&mut out, connection, kernel_of(connection, kernel)).expect("writing to a String cannot fail");
    }
    out
}

fn write_lines(out: &mut String, connection: &ConnectionStatus, kernel: Option<&KernelSocket>) -> std::fmt::Result {
    let c = connection;
    writeln!(out, "\nc={} {} {}: {} for {:.1?}, at most {:.1?} more", c.id, c.peer, c.state, c.wait, c.waited, c.left)?;
    if !c.request.is_empty() {
        writeln!(out, "  request  r={} {}, paused {:.1?}, blocked {:.1?}", c.ordinal, c.request, c.paused, c.blocked)?;
    }
    writeln!(
        out,
        "  bytes    received {}, sent {}; inbox {} of {}, outbox {} of {}; interest {}",
        c.received,
        c.sent,
        c.inbox.0,
        c.inbox.1,
        c.outbox.0,
        c.outbox.1,
        interest(c)
    )?;
    let Some(k) = kernel else { return Ok(()) };
    writeln!(
        out,
        "  kernel   rtt {:.1?}, {} unacked, {} bytes not sent, {} retransmitted; limited by the peer's window for {:.1?}, \
         by the send buffer for {:.1?}",
        k.rtt, k.unacked, k.notsent, k.retransmitted, k.rwnd_limited, k.sndbuf_limited
    )
}

fn interest(connection: &ConnectionStatus) -> &'static str {
    match (connection.asks_read, connection.asks_write) {
        (true, true) => "read write",
        (true, false) => "read",
        (false, true) => "write",
        (false, false) => "none",
    }
}

/// An array of objects; durations in milliseconds.
pub fn json(connections: &[ConnectionStatus], kernel: &KernelView) -> String {
    let objects: Vec<String> =
        connections.iter().map(|connection| object(connection, kernel_of(connection, kernel))).collect();
    format!("[{}]", objects.join(","))
}

/// One connection as an object.
pub fn object(connection: &ConnectionStatus, kernel: Option<&KernelSocket>) -> String {
    let c = connection;
    let object = Object::new()
        .number("connection", c.id)
        .text("peer", &c.peer.to_string())
        .text("state", c.state)
        .text("wait", c.wait)
        .raw("waited_ms", c.waited.as_millis())
        .raw("left_ms", c.left.as_millis())
        .text("interest", interest(c))
        .number("request", c.ordinal)
        .text("line", &c.request)
        .number("received", c.received)
        .number("sent", c.sent)
        .raw("inbox", c.inbox.0)
        .raw("inbox_max", c.inbox.1)
        .raw("outbox", c.outbox.0)
        .raw("outbox_max", c.outbox.1)
        .raw("paused_ms", c.paused.as_millis())
        .raw("blocked_ms", c.blocked.as_millis());
    match kernel {
        Some(kernel) => object.raw("kernel", kernel_object(kernel)),
        None => object,
    }
    .finish()
}

fn kernel_object(kernel: &KernelSocket) -> String {
    Object::new()
        .raw("rtt_us", kernel.rtt.as_micros())
        .raw("unacked", kernel.unacked)
        .raw("notsent", kernel.notsent)
        .raw("retransmitted", kernel.retransmitted)
        .raw("rwnd_limited_ms", kernel.rwnd_limited.as_millis())
        .raw("sndbuf_limited_ms", kernel.sndbuf_limited.as_millis())
        .finish()
}
