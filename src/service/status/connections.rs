//! `/connections`: what each of them waits for, as text for people and JSON for programs.

use std::fmt::Write;
use std::net::SocketAddr;

use super::durations::short;
use crate::base::json::{Object, array};
use crate::base::peer::Peer;
use crate::observe::report::{ConnectionStatus, Connections, KernelReport, KernelSocket, KernelTopic};

/// Nobody has to say anything, but the kernel still has something for the client, and may not send it.
const PEER_WINDOW: &str = "peer-window";

/// What the kernel is asked about: exactly those that are listed.
pub fn kernel_topic(connections: &Connections) -> KernelTopic {
    KernelTopic::Connections(connections.listed.iter().filter_map(ends).collect())
}

/// The two ends of a connection, ours first.
fn ends(connection: &ConnectionStatus) -> Option<(SocketAddr, SocketAddr)> {
    match connection.peer {
        Peer::Ip(peer) => connection.local.map(|local| (local, peer)),
        Peer::Unix => None,
    }
}

fn kernel_of<'k>(connection: &ConnectionStatus, kernel: &'k KernelReport) -> Option<&'k KernelSocket> {
    kernel.sockets.get(&ends(connection)?)
}

/// What it waits for, by all that is known.
fn wait(connection: &ConnectionStatus, kernel: Option<&KernelSocket>) -> &'static str {
    match kernel {
        Some(kernel) if connection.wait == "client-idle" && kernel.notsent > 0 => PEER_WINDOW,
        _ => connection.wait,
    }
}

/// How many wait for what, and a paragraph for each that is listed.
pub fn text(connections: &Connections, kernel: &KernelReport) -> String {
    let waits: Vec<String> = connections.waits.iter().map(|(wait, count)| format!("{count} {wait}")).collect();
    let mut out = format!(
        "connections: {}{}\n",
        connections.total,
        waits.iter().map(|wait| format!(", {wait}")).collect::<String>()
    );
    if let Some(missing) = &kernel.missing {
        out.push_str(&format!("the kernel's explanation is missing: {missing}\n"));
    }
    for connection in &connections.listed {
        write_paragraph(&mut out, connection, kernel_of(connection, kernel)).expect("writing to a String cannot fail");
    }
    match connections.total - connections.listed.len() {
        0 => {}
        more => out.push_str(&format!("\n... and {more} more (?limit=N)\n")),
    }
    out
}

fn write_paragraph(out: &mut String, c: &ConnectionStatus, kernel: Option<&KernelSocket>) -> std::fmt::Result {
    let (waited, left) = (short(c.waited), short(c.left));
    let wait = wait(c, kernel);
    writeln!(out, "\nc={} {}  {}  {wait} for {waited}, {left} left", c.id, c.peer, c.state)?;
    if !c.request.is_empty() {
        let (paused, blocked) = (short(c.paused), short(c.blocked));
        writeln!(out, "  request  r={} {}  reading paused {paused}, writing blocked {blocked}", c.ordinal, c.request)?;
    }
    let queues = format!("inbox {} of {}, outbox {} of {}", c.inbox.0, c.inbox.1, c.outbox.0, c.outbox.1);
    writeln!(out, "  bytes    {} received, {} sent; {queues}; interest: {}", c.received, c.sent, interest(c))?;
    kernel.map_or(Ok(()), |kernel| write_kernel(out, kernel))
}

fn write_kernel(out: &mut String, k: &KernelSocket) -> std::fmt::Result {
    let sending = format!("{} segments unacked, {} bytes not sent, {} segments resent", k.unacked, k.notsent, k.resent);
    let (window, buffer) = (short(k.rwnd_limited), short(k.sndbuf_limited));
    writeln!(
        out,
        "  kernel   rtt {}; {sending}; limited by its window for {window}, our buffer for {buffer}",
        short(k.rtt)
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

/// The same as an object; durations in milliseconds.
pub fn json(connections: &Connections, kernel: &KernelReport) -> String {
    let listed = connections.listed.iter().map(|connection| object(connection, kernel_of(connection, kernel)));
    Object::new()
        .optional_text("kernel_missing", kernel.missing.as_deref())
        .raw("total", connections.total)
        .raw("waits", waits_object(&connections.waits))
        .raw("connections", array(listed))
        .finish()
}

/// How many connections wait for what.
pub fn waits_object(waits: &[(&'static str, u64)]) -> String {
    waits.iter().fold(Object::new(), |object, (wait, count)| object.raw(wait, count)).finish()
}

/// One connection as an object.
pub fn object(connection: &ConnectionStatus, kernel: Option<&KernelSocket>) -> String {
    let c = connection;
    let object = Object::new()
        .number("connection", c.id)
        .text("peer", &c.peer.to_string())
        .text("state", c.state)
        .text("wait", wait(c, kernel))
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
        .raw("resent", kernel.resent)
        .raw("rwnd_limited_ms", kernel.rwnd_limited.as_millis())
        .raw("sndbuf_limited_ms", kernel.sndbuf_limited.as_millis())
        .finish()
}
