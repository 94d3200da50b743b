//! `/connections`: what each of them waits for, as text for people and JSON for programs.

use std::fmt::Write;
use std::net::SocketAddr;
use std::time::Duration;

use super::durations::short;
use super::jobs;
use crate::base::json::{Millis, Object, array};
use crate::base::limits::RATE_FLOOR;
use crate::base::peer::Peer;
use crate::base::tls_facts::TlsStatus;
use crate::observe::delay::Delay;
use crate::observe::report::{
    ConnectionStatus, Connections, HalfStatus, Http2Status, KernelReport, KernelSocket, KernelTopic, PeerHealth,
    Progress, ServedRequest, StreamStatus, Transfer, UpstreamHalf,
};
use crate::observe::request_record::RequestRecord;
use crate::observe::timers::{PartTimes, some};
use crate::observe::wait_reason::WaitReason;

/// The server waits for nothing, but the kernel still has bytes for the client that it may not send.
const PEER_WINDOW: &str = "peer-window";

/// A wait in which the peer got on for longer than this is told with how long it is held up.
const GOT_ON: Duration = Duration::from_secs(1);

/// What the kernel is asked about: exactly those that are listed.
pub fn kernel_topic(connections: &Connections) -> KernelTopic {
    KernelTopic::Connections(connections.listed.iter().filter_map(ends).collect())
}

/// The two ends of a connection, ours first.
pub(super) fn ends(connection: &ConnectionStatus) -> Option<(SocketAddr, SocketAddr)> {
    match connection.peer {
        Peer::Ip(peer) => connection.local.map(|local| (local, peer)),
        Peer::Unix => None,
    }
}

pub(super) fn kernel_of<'k>(connection: &ConnectionStatus, kernel: &'k KernelReport) -> Option<&'k KernelSocket> {
    kernel.sockets.get(&ends(connection)?)
}

/// What it waits for, by all that is known.
fn wait(connection: &ConnectionStatus, kernel: Option<&KernelSocket>) -> &'static str {
    match kernel {
        Some(kernel) if connection.wait == "client-idle" && kernel.notsent > 0 => PEER_WINDOW,
        _ => connection.wait,
    }
}

/// For how long its wait is held up: of a peer that is to read or to send content, for how long it has moved less than the
/// floor rate. The server looks at a slow reader every few seconds only, and the kernel knows what was acknowledged since.
pub(super) fn held(connection: &ConnectionStatus, kernel: Option<&KernelSocket>) -> Duration {
    match (connection.wait, kernel) {
        ("client-slow-read", Some(kernel)) => {
            let gets_on = connection.taken.is_some_and(|(taken, ago)| {
                let moved = u128::from(kernel.acknowledged.saturating_sub(taken));
                moved > 0 && moved * 1000 >= ago.as_millis() * u128::from(RATE_FLOOR)
            });
            let held = if gets_on { Duration::ZERO } else { connection.held };
            // Nothing was sent since the window was shut, so nothing was acknowledged either.
            let is_shut = kernel.health() == PeerHealth::WindowShut;
            if is_shut { held.max(kernel.last_sent.min(connection.waited)) } else { held }
        }
        ("client-slow-read" | "client-slow-body", _) => connection.held,
        // What is left to read is with the kernel.
        ("client-idle", Some(kernel)) if kernel.notsent > 0 => connection.waited.min(kernel.last_sent),
        _ => connection.waited,
    }
}

/// How many wait for what, and a paragraph for each that is listed.
pub fn text(connections: &Connections, kernel: &KernelReport) -> String {
    let waits: Vec<String> = connections.waits.iter().map(|(wait, count)| format!("{count} {wait}")).collect();
    let upstreams = match connections.upstreams {
        0 => String::new(),
        upstreams => format!(" ({upstreams} of them to upstreams)"),
    };
    let mut out = format!(
        "connections: {}{upstreams}{}\n",
        connections.total,
        waits.iter().map(|wait| format!(", {wait}")).collect::<String>()
    );
    if let Some(missing) = &kernel.missing {
        out.push_str(&format!("the kernel's explanation is missing: {missing}\n"));
    }
    for connection in &connections.listed {
        out.push('\n');
        write_paragraph(&mut out, connection, kernel_of(connection, kernel)).expect("writing to a String cannot fail");
    }
    match connections.total - connections.listed.len() {
        0 => {}
        more => out.push_str(&format!("\n... and {more} more (?limit=N)\n")),
    }
    out
}

pub(super) fn write_paragraph(
    out: &mut String,
    c: &ConnectionStatus,
    kernel: Option<&KernelSocket>,
) -> std::fmt::Result {
    let (waited, left) = (short(c.waited), short(c.left));
    let (wait, held) = (wait(c, kernel), held(c, kernel));
    let gets_on = if held + GOT_ON < c.waited { format!(" (held for {})", short(held)) } else { String::new() };
    writeln!(out, "c={} {}  {}  {}  {wait} for {waited}{gets_on}, {left} left", c.id, c.peer, c.protocol, c.state)?;
    if let Some(record) = &c.record {
        write_request(out, record)?;
        writeln!(out, "  timers   {}", timers(record.part_times(record.began)))?;
    }
    for (name, transfer) in transfers(&c.progress) {
        writeln!(out, "  {name:8} {}", transfer_text(&transfer))?;
    }
    if let Some(half) = &c.upstream {
        writeln!(out, "  upstream {}", half_text(half, c.wait))?;
    }
    if let Some(served) = &c.serves {
        writeln!(out, "  serves   {}", served_text(served))?;
    }
    if let Some(job) = &c.job {
        writeln!(out, "  job      {}", jobs::sentence(job))?;
    }
    if let Some(race) = &c.race {
        writeln!(out, "  late     {}", race.sentence())?;
    }
    let queues = format!("inbox {} of {}, outbox {} of {}", c.inbox.0, c.inbox.1, c.outbox.0, c.outbox.1);
    writeln!(out, "  bytes    {} received, {} sent; {queues}; interest: {}", c.received, c.sent, interest(c))?;
    if let Some(tls) = &c.tls {
        writeln!(out, "  tls      {tls}")?;
    }
    if let Some(http2) = &c.http2 {
        write_http2(out, http2)?;
    }
    kernel.map_or(Ok(()), |kernel| write_kernel(out, kernel))
}

fn write_http2(out: &mut String, http2: &Http2Status) -> std::fmt::Result {
    let budgets: Vec<String> = http2.budgets.iter().map(|(name, percent)| format!("{name} {percent}%")).collect();
    let budgets = budgets.join(", ");
    writeln!(out, "  windows  {} to the client, {} to us", http2.may_send, http2.may_receive)?;
    write!(out, "  ledger   {budgets}")?;
    for (index, (kind, count)) in http2.misbehaviour.iter().enumerate() {
        write!(out, "{} {kind} {count}", if index == 0 { ";" } else { "," })?;
    }
    writeln!(out)?;
    if let Some(why) = &http2.gone_away {
        writeln!(out, "  goaway   {why}")?;
    }
    http2.streams.iter().try_for_each(|stream| write_stream(out, stream))?;
    match http2.streams_total - http2.streams.len() {
        0 => Ok(()),
        more => writeln!(out, "  ... and {more} more streams"),
    }
}

fn write_stream(out: &mut String, s: &StreamStatus) -> std::fmt::Result {
    let status = s.status.map_or("-".to_owned(), |status| status.to_string());
    let parts = if s.is_incremental { " i" } else { "" };
    let turn = s.turn.map_or("none".to_owned(), |turn| turn.to_string());
    let wait = if s.wait == "-" { "-".to_owned() } else { format!("{} for {}", s.wait, short(s.waited)) };
    writeln!(out, "  s={} {}  {status}  {}  u={}{parts}  {wait}", s.id, s.request, s.state, s.urgency)?;
    writeln!(
        out,
        "    windows {} to the client, {} to us; content {} waits; {} sent, {} queued; turn {turn}",
        s.may_send, s.may_receive, s.content, s.sent, s.queued
    )?;
    let parts = s.parts.map(|parts| format!("timers {}", timers(parts)));
    let transfers = transfers(&s.progress).map(|(name, transfer)| format!("{name} {}", transfer_text(&transfer)));
    let progress = parts.into_iter().chain(transfers).collect::<Vec<_>>();
    if !progress.is_empty() {
        writeln!(out, "    {}", progress.join("; "))?;
    }
    if let Some(terms) = &s.terms {
        writeln!(out, "    route {}", terms.route)?;
    }
    if let Some(half) = &s.upstream {
        writeln!(out, "    upstream {}", half_text(half, s.wait))?;
    }
    s.job.as_ref().map_or(Ok(()), |job| writeln!(out, "    job {}", jobs::sentence(job)))
}

/// The upstream's half of a request whose own half waits for this: which of both holds the other one up.
fn half_text(half: &UpstreamHalf, client_wait: &str) -> String {
    let Some(attempt) = &half.attempt else {
        return "none yet: the request waits for an address, or until one has room".to_owned();
    };
    let mut text = attempt.address.to_string();
    if let Some(connection) = attempt.connection {
        text.push_str(&format!(" c={connection}"));
    }
    match attempt.served_before {
        0 => {}
        served => text.push_str(&format!(" reused {served}")),
    }
    if let Some(proof) = half.retry {
        text.push_str(&format!(" retry={proof}"));
    }
    text.push_str(&match (half.connection, attempt.failed) {
        (Some(HalfStatus { state, wait, waited }), _) => format!(", {state}, {wait} for {}", short(waited)),
        (None, Some((_, phase))) => format!(", failed ({phase})"),
        (None, None) if attempt.over.is_some() => ", done".to_owned(),
        (None, None) => ", connecting".to_owned(),
    });
    match holder(half, client_wait) {
        Some(Holder::Upstream) => text.push_str("; the upstream holds the client up"),
        Some(Holder::Client) => text.push_str("; the client holds the upstream up"),
        None => {}
    }
    text
}

fn served_text(served: &ServedRequest) -> String {
    match served.client {
        Some((connection, request)) => format!("c={connection} {request} {}", served.request),
        None => format!("a health check: {}", served.request),
    }
}

/// The half of a proxied request that the other half waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holder {
    Client,
    Upstream,
}

/// Which half holds the other one up, if one does. As long as an upstream has nothing to say, and the client is still busy
/// with what has come, it is neither.
fn holder(half: &UpstreamHalf, client_wait: &str) -> Option<Holder> {
    let is_over = half.attempt.is_some_and(|attempt| attempt.over.is_some());
    match half.connection {
        _ if client_wait == WaitReason::Upstream.name() => Some(Holder::Upstream),
        Some(connection) if connection.wait == WaitReason::Relay.name() => Some(Holder::Client),
        None if is_over => Some(Holder::Client),
        Some(_) | None => None,
    }
}

/// Where the time went so far.
pub(super) fn timers(times: PartTimes) -> String {
    let parts: Vec<String> = some(times).map(|(part, time)| format!("{} {}", part.name(), short(time))).collect();
    if parts.is_empty() { "-".to_owned() } else { parts.join(", ") }
}

/// What is on its way, by name.
fn transfers(progress: &Progress) -> impl Iterator<Item = (&'static str, Transfer)> {
    let both = [("content", progress.content), ("response", progress.response)];
    both.into_iter().filter_map(|(name, transfer)| Some((name, transfer?)))
}

fn transfer_text(transfer: &Transfer) -> String {
    let total = transfer.total.map_or("unknown".to_owned(), |total| total.to_string());
    let pace = transfer.per_second().map_or(String::new(), |pace| format!(", {pace} bytes/s"));
    format!("{} of {total} bytes{pace}", transfer.bytes)
}

fn write_request(out: &mut String, record: &RequestRecord) -> std::fmt::Result {
    let (ordinal, request) = (record.ordinal, record.request());
    let (paused, blocked) = (short(record.paused_time()), short(record.blocked_time()));
    writeln!(out, "  request  r={ordinal} {request}  reading paused {paused}, writing blocked {blocked}")?;
    if let Some(client) = record.client {
        writeln!(out, "  client   {client}, as a trusted proxy says")?;
    }
    if let Some(terms) = &record.terms {
        writeln!(out, "  route    {}", terms.route)?;
    }
    if let Some(disturbance) = &record.disturbance {
        let (verdict, after) = (disturbance.verdict, short(disturbance.at.since(record.began)));
        let (side, means, phase) = (verdict.side.meaning(), verdict.means.meaning(), verdict.phase.meaning());
        writeln!(out, "  verdict  {verdict}: {side}, {means}, {phase}, after {after}")?;
    }
    match &record.behind {
        Some(delay) => writeln!(out, "  behind   {} c={} {}", short(delay.took), delay.connection, delay.request),
        None => Ok(()),
    }
}

fn write_kernel(out: &mut String, k: &KernelSocket) -> std::fmt::Result {
    let sending = format!("{} segments unacked, {} bytes not sent, {} segments resent", k.unacked, k.notsent, k.resent);
    let (window, buffer) = (short(k.rwnd_limited), short(k.sndbuf_limited));
    writeln!(
        out,
        "  kernel   rtt {}; {sending}; limited by its window for {window}, our buffer for {buffer}",
        short(k.rtt)
    )?;
    writeln!(out, "  peer     {}", health(k))
}

/// How the peer stands, in a sentence.
pub(super) fn health(k: &KernelSocket) -> String {
    let acknowledged = match k.acknowledged {
        0 => "nothing acknowledged".to_owned(),
        bytes => format!("{bytes} bytes acknowledged"),
    };
    match k.health() {
        PeerHealth::Silent => {
            let (tries, what) = match k.retransmits {
                0 => (k.probes, "probe"),
                retransmits => (retransmits, "retransmit"),
            };
            let plural = if tries == 1 { "" } else { "s" };
            let silent = short(k.last_acknowledgement);
            format!("silent for {silent}: {tries} {what}{plural} without an answer, {acknowledged}; {}", k.state)
        }
        PeerHealth::WindowShut => {
            let (shut, answered) = (short(k.last_sent), short(k.last_acknowledgement));
            format!("alive, its window shut for {shut}: it answered {answered} ago, {acknowledged}; {}", k.state)
        }
        PeerHealth::Alive => {
            format!("alive, heard {} ago, {acknowledged}; {}", short(k.last_acknowledgement), k.state)
        }
    }
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
        .raw("upstreams", connections.upstreams)
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
    let request = c.record.as_ref().map(RequestRecord::request).unwrap_or_default();
    let time = |time: fn(&RequestRecord) -> Duration| c.record.as_ref().map_or(0, |record| time(record).as_millis());
    let client = c.record.as_ref().and_then(|record| record.client).map(|client| client.to_string());
    let route = c.record.as_ref().and_then(|record| record.terms.as_deref());
    let object = Object::new()
        .number("connection", c.id)
        .text("peer", &c.peer.to_string())
        .optional_text("client", client.as_deref())
        .text("protocol", c.protocol)
        .text("state", c.state)
        .text("wait", wait(c, kernel))
        .raw("waited_ms", c.waited.as_millis())
        .raw("held_ms", held(c, kernel).as_millis())
        .raw("left_ms", c.left.as_millis())
        .text("interest", interest(c))
        .number("request", c.ordinal)
        .text("line", &request)
        .optional_text("route", route.map(|terms| &*terms.route))
        .number("received", c.received)
        .number("sent", c.sent)
        .raw("inbox", c.inbox.0)
        .raw("inbox_max", c.inbox.1)
        .raw("outbox", c.outbox.0)
        .raw("outbox_max", c.outbox.1)
        .raw("paused_ms", time(RequestRecord::paused_time))
        .raw("blocked_ms", time(RequestRecord::blocked_time));
    let object = with_progress(object, c.record.as_ref().map(|record| record.part_times(record.began)), &c.progress);
    let object = match c.record.as_ref().and_then(|record| record.disturbance.as_ref()) {
        Some(disturbance) => object.text("verdict", &disturbance.verdict.to_string()),
        None => object,
    };
    let object = match c.record.as_ref().and_then(|record| record.behind.as_deref()) {
        Some(delay) => object.raw("behind", delay_object(delay)),
        None => object,
    };
    let object = match &c.upstream {
        Some(half) => object.raw("upstream", half_object(half, c.wait)),
        None => object,
    };
    let object = match &c.serves {
        Some(served) => object.raw("serves", served_object(served)),
        None => object,
    };
    let object = match &c.job {
        Some(job) => object.raw("job", jobs::wait_object(job)),
        None => object,
    };
    let object = match &c.race {
        Some(race) => object.raw("late", race.object()),
        None => object,
    };
    let object = match &c.tls {
        Some(tls) => object.raw("tls", tls_object(tls)),
        None => object,
    };
    let object = match &c.http2 {
        Some(http2) => object.raw("http2", http2_object(http2)),
        None => object,
    };
    match kernel {
        Some(kernel) => object.raw("kernel", kernel_object(kernel)),
        None => object,
    }
    .finish()
}

fn http2_object(http2: &Http2Status) -> String {
    let numbers = |numbers: &[(&'static str, u32)]| {
        numbers.iter().fold(Object::new(), |object, (name, number)| object.raw(name, number)).finish()
    };
    Object::new()
        .raw("may_send", http2.may_send)
        .raw("may_receive", http2.may_receive)
        .raw("spent_percent", numbers(&http2.budgets))
        .raw("misbehaviour", numbers(&http2.misbehaviour))
        .optional_text("goaway", http2.gone_away.as_deref())
        .raw("streams_total", http2.streams_total)
        .raw("streams", array(http2.streams.iter().map(stream_object)))
        .finish()
}

fn stream_object(s: &StreamStatus) -> String {
    let object = Object::new()
        .raw("stream", s.id)
        .text("line", &s.request)
        .optional_text("route", s.terms.as_deref().map(|terms| &*terms.route))
        .raw("status", s.status.map_or("null".to_owned(), |status| status.to_string()))
        .text("state", s.state)
        .raw("urgency", s.urgency)
        .raw("incremental", s.is_incremental)
        .raw("may_send", s.may_send)
        .raw("may_receive", s.may_receive)
        .raw("content", s.content)
        .number("sent", s.sent)
        .number("queued", s.queued)
        .raw("turn", s.turn.map_or("null".to_owned(), |turn| turn.to_string()));
    let object = match s.wait {
        "-" => object.raw("wait", "null"),
        wait => object.text("wait", wait),
    }
    .raw("waited_ms", s.waited.as_millis());
    let object = with_progress(object, s.parts, &s.progress);
    let object = match &s.upstream {
        Some(half) => object.raw("upstream", half_object(half, s.wait)),
        None => object,
    };
    match &s.job {
        Some(job) => object.raw("job", jobs::wait_object(job)),
        None => object,
    }
    .finish()
}

/// What is not known, or did not happen, is left out.
fn half_object(half: &UpstreamHalf, client_wait: &str) -> String {
    let Some(attempt) = &half.attempt else { return Object::new().finish() };
    let object = Object::new().text("address", &attempt.address.to_string());
    let object = match attempt.connection {
        Some(connection) => object.number("connection", connection).number("served_before", attempt.served_before),
        None => object,
    };
    let object = match half.connection {
        Some(HalfStatus { state, wait, waited }) => {
            object.text("state", state).text("wait", wait).raw("waited_ms", waited.as_millis())
        }
        None => object,
    };
    let holder = holder(half, client_wait).map(|holder| match holder {
        Holder::Client => "client",
        Holder::Upstream => "upstream",
    });
    object
        .optional_text("failed_in", attempt.failed.map(|(_, phase)| phase))
        .optional_text("retry", half.retry)
        .optional_text("held_up_by", holder)
        .finish()
}

fn served_object(served: &ServedRequest) -> String {
    let object = match served.client {
        Some((connection, request)) => {
            Object::new().number("connection", connection).text("request", &request.to_string())
        }
        None => Object::new(),
    };
    object.text("line", &served.request).finish()
}

fn or_null(number: Option<u64>) -> String {
    number.map_or("null".to_owned(), |number| number.to_string())
}

/// Adds where the time went so far, and how far the request has come.
fn with_progress(object: Object, parts: Option<PartTimes>, progress: &Progress) -> Object {
    let object = match parts {
        Some(times) => {
            let parts = some(times).fold(Object::new(), |object, (part, time)| object.raw(part.name(), Millis(time)));
            object.raw("timers_ms", parts.finish())
        }
        None => object,
    };
    let members = [("content_progress", progress.content), ("response_progress", progress.response)];
    members.into_iter().fold(object, |object, (name, transfer)| match transfer {
        Some(transfer) => object.raw(
            name,
            Object::new()
                .number("bytes", transfer.bytes)
                .raw("total", or_null(transfer.total))
                .raw("per_second", or_null(transfer.per_second()))
                .finish(),
        ),
        None => object,
    })
}

pub(super) fn delay_object(delay: &Delay) -> String {
    Object::new()
        .raw("ms", delay.took.as_millis())
        .number("connection", delay.connection)
        .text("request", &delay.request)
        .finish()
}

/// With the members of the access log.
pub(super) fn tls_object(tls: &TlsStatus) -> String {
    let TlsStatus { session, waited, read, written } = tls;
    let object = Object::new()
        .number("read", *read)
        .number("written", *written)
        .optional_text("version", session.version)
        .optional_text("cipher", session.suite)
        .optional_text("group", session.group)
        .optional_text("sni", session.name.as_deref())
        .optional_text("alpn", session.protocol);
    let object = match waited {
        Some(waited) => object
            .raw("resumed", session.is_resumed)
            .raw("handshake_wait_ms", Millis(*waited))
            .raw("handshake_cpu_ms", Millis(session.worked)),
        None => object,
    };
    let client = session.client.as_deref();
    object
        .optional_text("client_subject", client.map(|client| client.subject.as_str()))
        .optional_text("client_sha256", client.map(|client| client.fingerprint.as_str()))
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
        .text("state", kernel.state)
        .text("peer", kernel.health().name())
        .raw("retransmits", kernel.retransmits)
        .raw("probes", kernel.probes)
        .raw("backoff", kernel.backoff)
        .raw("acknowledged", kernel.acknowledged)
        .raw("last_sent_ms", kernel.last_sent.as_millis())
        .raw("last_acknowledgement_ms", kernel.last_acknowledgement.as_millis())
        .finish()
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::base::log_key::RequestKey;
    use crate::base::moment::Moment;
    use crate::base::tls_facts::{ClientCertificate, SessionFacts};
    use crate::base::upstream_facts::{UpstreamAttempt, UpstreamFacts};
    use crate::http::method::Method;
    use crate::observe::timers::{Drive, Part, times_of_one_drive};

    fn listed(record: Option<RequestRecord>) -> Connections {
        let ms = Duration::from_millis;
        let connection = ConnectionStatus {
            id: 13,
            peer: Peer::Unix,
            local: None,
            protocol: "http/1",
            state: "sending",
            wait: "client-slow-read",
            waited: ms(2000),
            held: ms(2000),
            taken: None,
            job: None,
            left: ms(58_000),
            asks_read: true,
            asks_write: true,
            inbox: (0, 0),
            outbox: (65_536, 65_536),
            received: 93,
            sent: 3_329_041,
            tls: None,
            http2: None,
            ordinal: 1,
            record,
            race: None,
            progress: Progress::default(),
            upstream: None,
            serves: None,
        };
        Connections { total: 1, upstreams: 0, waits: vec![("client-slow-read", 1)], listed: vec![connection] }
    }

    /// A request whose writing was blocked for two seconds, and which had to wait for another connection's.
    fn delayed() -> RequestRecord {
        let mut record = RequestRecord::new(Moment::default());
        (record.ordinal, record.method) = (1, Some(Method::Get));
        record.set_texts(b"/a\"", b"", b"");
        let at = Moment::from_millis;
        let drive = Drive { due: at(0), began: at(0), over: at(500) };
        record.note_wait(&drive, Part::Blocked, true);
        let (took, request) = (Duration::from_millis(122), "POST /\\\"users".to_owned());
        record.behind = Some(Rc::new(Delay { took, connection: 3, request }));
        record.snapshot(Moment::from_millis(2500))
    }

    #[test]
    fn text_shows_the_request_and_what_it_had_to_wait_for() {
        let expected = "connections: 1, 1 client-slow-read

c=13 unix:  http/1  sending  client-slow-read for 2.0s, 58.0s left
  request  r=1 GET /a\\\"  reading paused 0s, writing blocked 2.0s
  behind   122.0ms c=3 POST /\\\"users
  timers   work 500.0ms, blocked 2.0s
  bytes    93 received, 3329041 sent; inbox 0 of 0, outbox 65536 of 65536; interest: read write
";
        assert_eq!(text(&listed(Some(delayed())), &KernelReport::default()), expected);
    }

    #[test]
    fn whom_a_trusted_proxy_names_is_shown() {
        let mut record = delayed();
        record.client = Some(crate::base::peer::Node { ip: "192.0.2.1".parse().unwrap(), port: Some(7) });
        let listed = listed(Some(record));
        let text = text(&listed, &KernelReport::default());
        assert!(
            text.contains("writing blocked 2.0s\n  client   192.0.2.1:7, as a trusted proxy says\n  behind "),
            "{text}"
        );
        let json = json(&listed, &KernelReport::default());
        assert!(json.contains(r#""peer":"unix:","client":"192.0.2.1:7","protocol""#), "{json}");
    }

    #[test]
    fn tls_is_shown_as_far_as_it_has_come() {
        let client = ClientCertificate { subject: "CN=a\x1b[31m".into(), fingerprint: "ab12".into() };
        let session = SessionFacts {
            version: Some("TLSv1.2"),
            suite: Some("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"),
            group: Some("X25519"),
            name: Some("a.example".into()),
            protocol: Some("http/1.1"),
            is_resumed: false,
            client: Some(client.into()),
            worked: Duration::from_micros(345),
        };
        let all = TlsStatus { session, waited: Some(Duration::from_millis(2)), read: 10, written: 20 };
        let begun = TlsStatus { read: 5, ..TlsStatus::default() };
        for (tls, paragraph, object) in [
            (
                all,
                "  tls      TLSv1.2, TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, X25519, name a.example, alpn http/1.1, client \
                 \"CN=a\\u{1b}[31m\" SHA-256 ab12; full handshake, waited 2.0ms, worked 345.0µs; ciphertext 10 read, 20 \
                 written\n",
                r#","tls":{"read":10,"written":20,"version":"TLSv1.2","cipher":"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256","group":"X25519","sni":"a.example","alpn":"http/1.1","resumed":false,"handshake_wait_ms":2.000,"handshake_cpu_ms":0.345,"client_subject":"CN=a\u001b[31m","client_sha256":"ab12"}}]}"#,
            ),
            (begun, "  tls      no version yet; ciphertext 5 read, 0 written\n", r#","tls":{"read":5,"written":0}}]}"#),
        ] {
            let mut listed = listed(None);
            listed.listed[0].tls = Some(tls);
            let text = text(&listed, &KernelReport::default());
            assert!(text.ends_with(paragraph), "{text}");
            let json = json(&listed, &KernelReport::default());
            assert!(json.ends_with(object), "{json}");
        }
    }

    /// Two streams of three: one whose window is shut, and one whose content nobody takes.
    fn http2() -> Http2Status {
        let paused = StreamStatus {
            id: 3,
            request: "POST /b".into(),
            status: None,
            state: "open",
            urgency: 3,
            is_incremental: false,
            may_send: 65_535,
            may_receive: 60_000,
            content: 5535,
            queued: 0,
            turn: None,
            wait: "-",
            waited: Duration::ZERO,
            job: None,
            sent: 0,
            parts: None,
            progress: Progress::default(),
            terms: None,
            upstream: None,
        };
        let response = Transfer { bytes: 65_535, total: Some(100_000), took: Duration::from_millis(1500) };
        let shut = StreamStatus {
            id: 1,
            request: "GET /a\\\"".into(),
            status: Some(200),
            state: "half-closed (remote)",
            urgency: 0,
            is_incremental: true,
            may_send: -5,
            content: 0,
            queued: 70,
            turn: Some(2),
            wait: "stream-window",
            waited: Duration::from_millis(1500),
            sent: 65_620,
            parts: Some(times_of_one_drive(Moment::default(), Moment::from_millis(2), Moment::from_millis(5))),
            progress: Progress { content: None, response: Some(response) },
            ..paused.clone()
        };
        Http2Status {
            may_send: 17,
            may_receive: 1_048_576,
            budgets: vec![("resets", 0), ("glitches", 4)],
            misbehaviour: vec![("glitch", 3), ("ping", 1)],
            gone_away: Some("NO_ERROR: the server stops".into()),
            streams_total: 3,
            streams: vec![shut, paused],
        }
    }

    #[test]
    fn streams_are_listed_with_their_windows_and_what_they_wait_for() {
        let mut listed = listed(None);
        listed.listed[0].http2 = Some(Box::new(http2()));
        let text = text(&listed, &KernelReport::default());
        let expected = "\
  windows  17 to the client, 1048576 to us
  ledger   resets 0%, glitches 4%; glitch 3, ping 1
  goaway   NO_ERROR: the server stops
  s=1 GET /a\\\"  200  half-closed (remote)  u=0 i  stream-window for 1.5s
    windows -5 to the client, 60000 to us; content 0 waits; 65620 sent, 70 queued; turn 2
    timers queue 2.0ms, work 3.0ms; response 65535 of 100000 bytes, 43690 bytes/s
  s=3 POST /b  -  open  u=3  -
    windows 65535 to the client, 60000 to us; content 5535 waits; 0 sent, 0 queued; turn none
  ... and 1 more streams
";
        assert!(text.ends_with(expected), "{text}");
        let json = json(&listed, &KernelReport::default());
        let expected = r#","http2":{"may_send":17,"may_receive":1048576,"spent_percent":{"resets":0,"glitches":4},"misbehaviour":{"glitch":3,"ping":1},"goaway":"NO_ERROR: the server stops","streams_total":3,"streams":[{"stream":1,"line":"GET /a\\\"","status":200,"state":"half-closed (remote)","urgency":0,"incremental":true,"may_send":-5,"may_receive":60000,"content":0,"sent":65620,"queued":70,"turn":2,"wait":"stream-window","waited_ms":1500,"timers_ms":{"queue":2.000,"work":3.000},"response_progress":{"bytes":65535,"total":100000,"per_second":43690}},{"stream":3,"line":"POST /b","status":null,"state":"open","urgency":3,"incremental":false,"may_send":65535,"may_receive":60000,"content":5535,"sent":0,"queued":0,"turn":null,"wait":null,"waited_ms":0}]}}]}"#;
        assert!(json.ends_with(expected), "{json}");
    }

    #[test]
    fn what_is_on_its_way_is_shown_with_its_pace() {
        let mut listed = listed(Some(delayed()));
        let transfer = |bytes, total, ms| Some(Transfer { bytes, total, took: Duration::from_millis(ms) });
        listed.listed[0].progress = Progress { content: transfer(500, None, 250), response: transfer(0, Some(7), 0) };
        let text = text(&listed, &KernelReport::default());
        let expected = "\n  content  500 of unknown bytes, 2000 bytes/s\n  response 0 of 7 bytes\n  bytes ";
        assert!(text.contains(expected), "{text}");
        let json = json(&listed, &KernelReport::default());
        let expected = r#","content_progress":{"bytes":500,"total":null,"per_second":2000},"response_progress":{"bytes":0,"total":7,"per_second":null},"#;
        assert!(json.contains(expected), "{json}");
    }

    #[test]
    fn a_proxied_request_is_shown_with_its_other_half_and_which_one_holds_the_other_up() {
        let facts = UpstreamFacts::default();
        facts.begin("127.0.0.1:3000".parse().unwrap(), Moment::default());
        let half = |change: &dyn Fn(&mut UpstreamAttempt), wait: Option<&'static str>| {
            facts.note(change);
            let connection = wait.map(|wait| HalfStatus { state: "here", wait, waited: Duration::from_millis(1200) });
            UpstreamHalf { connection, ..*UpstreamHalf::of(&facts) }
        };
        let over = Some(Moment::from_millis(3));
        let (no_change, reused): (&dyn Fn(&mut UpstreamAttempt), _) =
            (&|_| {}, &|attempt: &mut UpstreamAttempt| (attempt.connection, attempt.served_before) = (Some(2), 3));
        for (half, wait, text, holder) in [
            (half(no_change, None), "upstream", ", connecting; the upstream holds the client up", Some("upstream")),
            (
                half(reused, Some("upstream-silent")),
                "upstream",
                " c=2 reused 3, here, upstream-silent for 1.2s; the upstream holds the client up",
                Some("upstream"),
            ),
            (
                half(no_change, Some("relay")),
                "client-slow-read",
                " c=2 reused 3, here, relay for 1.2s; the client holds the upstream up",
                Some("client"),
            ),
            (
                half(no_change, Some("upstream-silent")),
                "client-slow-read",
                " c=2 reused 3, here, upstream-silent for 1.2s",
                None,
            ),
            (
                half(&|attempt| attempt.over = over, None),
                "stream-window",
                " c=2 reused 3, done; the client holds the upstream up",
                Some("client"),
            ),
        ] {
            assert_eq!(half_text(&half, wait), format!("127.0.0.1:3000{text}"));
            let object: serde_json::Value = serde_json::from_str(&half_object(&half, wait)).unwrap();
            assert_eq!(object.get("held_up_by").and_then(|by| by.as_str()), holder, "{text}");
        }
        let none = UpstreamHalf::of(&UpstreamFacts::default());
        assert!(half_text(&none, "upstream").starts_with("none yet: "));
    }

    #[test]
    fn a_connection_to_an_upstream_names_the_request_that_it_serves() {
        let mut listed = listed(None);
        let client = Some((1, RequestKey::Ordinal(3)));
        listed.listed[0].serves = Some(Box::new(ServedRequest { client, request: "GET /a".into() }));
        assert!(text(&listed, &KernelReport::default()).contains("\n  serves   c=1 r=3 GET /a\n"));
        let object = r#""serves":{"connection":1,"request":"r=3","line":"GET /a"}"#;
        assert!(json(&listed, &KernelReport::default()).contains(object));
        listed.listed[0].serves = Some(Box::new(ServedRequest { client: None, request: "GET /healthz".into() }));
        assert!(text(&listed, &KernelReport::default()).contains("\n  serves   a health check: GET /healthz\n"));
    }

    #[test]
    fn json_is_exact() {
        let object = |record| json(&listed(record), &KernelReport::default());
        let expected = r#"{"total":1,"upstreams":0,"waits":{"client-slow-read":1},"connections":[{"connection":13,"peer":"unix:","protocol":"http/1","state":"sending","wait":"client-slow-read","waited_ms":2000,"held_ms":2000,"left_ms":58000,"interest":"read write","request":1,"line":"GET /a\\\"","received":93,"sent":3329041,"inbox":0,"inbox_max":0,"outbox":65536,"outbox_max":65536,"paused_ms":0,"blocked_ms":2000,"timers_ms":{"work":500.000,"blocked":2000.000},"behind":{"ms":122,"connection":3,"request":"POST /\\\"users"}}]}"#;
        assert_eq!(object(Some(delayed())), expected);
        let without = object(None);
        assert!(
            without.contains(r#""request":1,"line":"","#) && without.ends_with(r#""blocked_ms":0}]}"#),
            "{without}"
        );
    }
}
