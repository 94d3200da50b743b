//! Everything that bounds the server, in one place.

use std::time::Duration;

/// The slowest honest client, in bytes per second.
pub const RATE_FLOOR: u64 = 256;

/// Limits on what a peer can cost and how long it may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// From accept to the first byte of the first request.
    pub first_byte_timeout: Duration,
    /// From accept to the end of the TLS handshake, however it trickles in.
    pub handshake_timeout: Duration,
    /// From the first to the last byte of a head, however it trickles in.
    pub header_timeout: Duration,
    /// Request content: without any progress; after that long a floor rate holds as well (`rate_floor`).
    pub body_timeout: Duration,
    /// Response: without any progress because the peer does not read.
    pub send_timeout: Duration,
    /// Between two requests.
    pub keep_alive_timeout: Duration,
    /// What clients are told of it, in seconds (`Keep-Alive: timeout=`); `None`: nothing.
    pub idle_told_secs: Option<u32>,
    /// After our last byte: without input from a peer that has not ended its direction.
    pub linger_timeout: Duration,
    /// After our last byte: altogether.
    pub linger_total: Duration,
    /// After our FIN on an idle connection: a request that crosses it is noticed.
    pub idle_linger: Duration,
    /// From the order to stop until connections that still work are cut.
    pub drain_timeout: Duration,
    /// From the order to stop until idle connections are closed: a request that is on its way already gets its answer.
    pub drain_idle_grace: Duration,

    /// A WebSocket on which nothing arrives is asked for a sign of life after this long, and closed after twice this
    /// long; zero: never.
    pub ws_ping_interval: Duration,
    /// From our Close on a WebSocket to the peer's.
    pub ws_close_timeout: Duration,

    /// A head, in bytes, request line and blank line included.
    pub head_bytes_max: usize,
    /// A request target, in bytes.
    pub target_bytes_max: usize,
    /// Field lines in a head, and in a trailer section.
    pub fields_max: usize,
    /// Content that a handler gathers before it answers, in bytes.
    pub gathered_bytes_max: usize,
    /// Content of a request, in bytes, whatever becomes of it; `u64::MAX`: any length.
    pub content_bytes_max: u64,
    /// Content nobody wants that is read and thrown away to keep a connection usable, in bytes.
    pub discarded_bytes_max: u64,
    /// Handlers stop when the client ends its direction before the response is complete.
    pub abort_on_close: bool,
    /// The slowest honest client, in bytes per second, measured after `body_timeout`.
    pub rate_floor: u64,

    /// A WebSocket message that an application takes as a whole, in bytes.
    pub ws_message_bytes_max: usize,
    /// What waits to be sent to a member of a chat room, in bytes.
    pub ws_queue_bytes_max: usize,

    /// Responses at a time whose content is coded as it is produced, each with up to 320 KiB of memory. Further ones go
    /// out as they are. 0: none is coded.
    pub coded_streams_max: usize,

    /// Input ring, in bytes; at least `head_bytes_max`.
    pub inbox_bytes: usize,
    /// Output ring, in bytes.
    pub outbox_bytes: usize,
    /// Bytes that one drive may move before other connections are driven.
    pub drive_bytes_max: usize,
    /// Passes that one drive may make before other connections are driven.
    pub drive_passes_max: u32,

    /// What holds for HTTP/2 only.
    pub http2: Http2Limits,

    /// Connections at a time, but for those of the admin.
    pub connections_max: usize,
    /// What that number comes from.
    pub connections_bound: ConnectionsBound,
    /// Connections through the admin listener at a time.
    pub admins_max: usize,
    /// Connections accepted in one turn.
    pub accepts_per_turn: usize,
    /// Full TLS handshakes that are begun in one turn. Each costs a signature, 0.1 to 0.4 ms.
    pub handshakes_per_turn: usize,
    /// How long the listeners rest when descriptors have run out.
    pub accept_backoff: Duration,
}

/// Limits of an HTTP/2 connection (RFC 9113). What it does not name is bounded as with HTTP/1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http2Limits {
    /// Whether HTTP/2 is spoken at all: offered by ALPN, and recognised where a client begins with it.
    pub is_offered: bool,
    /// Streams at a time, 1 to 1000: what they cost the loop grows with their number.
    pub streams_max: u32,
    /// What a client may send on a stream before it is consumed, in bytes; at most 2^31 - 1.
    pub stream_window_bytes: u32,
    /// The same for an upload that is consumed as fast as it arrives, in bytes; at least `stream_window_bytes`, at most
    /// 2^31 - 1.
    pub upload_window_bytes_max: u32,
    /// What a client may send on all streams before it is consumed, in bytes; 65,535 to 2^31 - 1. An upload that is consumed
    /// as fast as it arrives makes it grow as well.
    pub connection_window_bytes: u32,
    /// The payload of a frame from the client, in bytes; 16,384 to 16,777,215.
    pub frame_bytes_max: u32,
    /// The tables of fields that each side keeps for the other, in bytes.
    pub header_table_bytes: u32,
    /// The fields of a request, with 32 bytes for each, in bytes. Also a field block as it arrives.
    pub header_list_bytes_max: u32,
    /// CONTINUATION frames behind HEADERS.
    pub continuations_max: u32,
    /// Until the client acknowledges our SETTINGS.
    pub settings_timeout: Duration,
    /// Nothing is read while so much output waits, in bytes; at most `Limits::outbox_bytes`.
    pub output_bytes_max: u32,
    /// A stream that has content to send and whose window is shut must send `stall_bytes` within this time.
    pub stall_timeout: Duration,
    /// How much that is, in bytes, at least 1.
    pub stall_bytes: u32,
    /// Resets by the client, before we have begun to answer, that are borne; at least 1. A stream that ends normally makes
    /// up for one.
    pub resets_max: u32,
    /// How long each new stream is delayed when no more are borne.
    pub reset_delay: Duration,
    /// Other misbehaviour that is borne; at least 1.
    pub glitches_max: u32,
    /// How much of that is forgiven in a second.
    pub glitches_per_second: u32,
    /// What small DATA frames may lack to 256 bytes, altogether, until their content is consumed, and what tiny windows may
    /// lack to that until as much is sent, in bytes; at least 1.
    pub small_data_bytes_max: u32,
    /// Memory for content that has arrived and that nobody has taken, over all connections of a loop, in bytes. Each of
    /// them has as much as the window of a stream in any case, and a stream what its window has grown by.
    pub held_bytes_max: u32,
    /// Memory for content that handlers have taken and still keep, over all connections of a loop, in bytes. Each of them has
    /// half the window of a stream in any case.
    pub kept_bytes_max: u32,
}

impl Default for Http2Limits {
    fn default() -> Http2Limits {
        Http2Limits {
            is_offered: true,
            streams_max: 100,
            stream_window_bytes: 64 * 1024,
            upload_window_bytes_max: 8 * 1024 * 1024,
            connection_window_bytes: 1024 * 1024,
            frame_bytes_max: 16 * 1024,
            header_table_bytes: 4096,
            header_list_bytes_max: 32 * 1024,
            continuations_max: 8,
            settings_timeout: Duration::from_secs(10),
            output_bytes_max: 64 * 1024,
            stall_timeout: Duration::from_secs(30),
            stall_bytes: 16 * 1024,
            resets_max: 100,
            reset_delay: Duration::from_millis(100),
            glitches_max: 100,
            glitches_per_second: 10,
            small_data_bytes_max: 64 * 1024,
            held_bytes_max: 4 * 1024 * 1024,
            kept_bytes_max: 4 * 1024 * 1024,
        }
    }
}

/// What bounds the number of connections, so that the log can name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionsBound {
    /// `--max-connections`.
    Setting,
    /// The descriptors that the process may have (`ulimit -n`), so many.
    Descriptors(u64),
}

/// Connections through the admin listener at a time, if there are enough descriptors.
pub const ADMINS_MAX: usize = 100;

/// The most that `ws_message_bytes_max` may be, in bytes.
pub const WS_MESSAGE_BYTES_LIMIT: usize = 32 * 1024;
/// What `ws_queue_bytes_max` is, in bytes.
pub const WS_QUEUE_BYTES: usize = 256 * 1024;

impl Limits {
    /// The limits that a running server goes over to if these are `wanted`, and the settings of which it keeps what it has, because
    /// memory and descriptors were shared out by that when it began. Its input rings have `ring_bytes`: a head can be as long.
    pub fn changed_to(&self, wanted: Limits, ring_bytes: usize) -> (Limits, Vec<&'static str>) {
        let mut next = Limits {
            inbox_bytes: self.inbox_bytes,
            outbox_bytes: self.outbox_bytes,
            connections_max: self.connections_max,
            connections_bound: self.connections_bound,
            admins_max: self.admins_max,
            head_bytes_max: wanted.head_bytes_max.min(ring_bytes),
            ..wanted.clone()
        };
        next.http2.output_bytes_max =
            next.http2.output_bytes_max.min(u32::try_from(next.outbox_bytes).unwrap_or(u32::MAX));
        let kept = [
            ("--max-header-size", next.head_bytes_max != wanted.head_bytes_max),
            ("--max-connections", next.connections_max != wanted.connections_max),
            ("--http2-output", next.http2.output_bytes_max != wanted.http2.output_bytes_max),
        ];
        (next, kept.into_iter().filter(|(_, is_kept)| *is_kept).map(|(setting, _)| setting).collect())
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            first_byte_timeout: Duration::from_secs(5),
            handshake_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            send_timeout: Duration::from_secs(60),
            keep_alive_timeout: Duration::from_secs(75),
            idle_told_secs: None,
            linger_timeout: Duration::from_secs(5),
            linger_total: Duration::from_secs(30),
            idle_linger: Duration::from_secs(1),
            drain_timeout: Duration::from_secs(30),
            drain_idle_grace: Duration::from_millis(250),
            ws_ping_interval: Duration::from_secs(30),
            ws_close_timeout: Duration::from_secs(5),

            head_bytes_max: 16 * 1024,
            target_bytes_max: 8 * 1024,
            fields_max: 100,
            gathered_bytes_max: 1024 * 1024,
            content_bytes_max: u64::MAX,
            discarded_bytes_max: 64 * 1024,
            abort_on_close: false,
            rate_floor: RATE_FLOOR,
            ws_message_bytes_max: 16 * 1024,
            ws_queue_bytes_max: WS_QUEUE_BYTES,

            coded_streams_max: 256,

            inbox_bytes: 16 * 1024,
            outbox_bytes: 64 * 1024,
            drive_bytes_max: 64 * 1024,
            drive_passes_max: 16,

            http2: Http2Limits::default(),

            connections_max: 10_000,
            connections_bound: ConnectionsBound::Setting,
            admins_max: ADMINS_MAX,
            accepts_per_turn: 64,
            handshakes_per_turn: 8,
            accept_backoff: Duration::from_millis(100),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_shared_out_at_the_start_stays() {
        let old = Limits::default();
        let wanted = Limits {
            keep_alive_timeout: Duration::from_secs(1),
            fields_max: 7,
            head_bytes_max: 64 * 1024,
            inbox_bytes: 64 * 1024,
            outbox_bytes: 1,
            connections_max: 3,
            admins_max: 1,
            ..Limits::default()
        };
        let (next, kept) = old.changed_to(wanted.clone(), 20_000);
        assert_eq!(kept, ["--max-header-size", "--max-connections"]);
        let expected = Limits {
            head_bytes_max: 20_000,
            inbox_bytes: old.inbox_bytes,
            outbox_bytes: old.outbox_bytes,
            connections_max: old.connections_max,
            admins_max: old.admins_max,
            ..wanted
        };
        assert_eq!(next, expected);
        let (same, kept) = next.changed_to(next.clone(), 20_000);
        assert_eq!((same, kept), (next, Vec::new()));
    }

    #[test]
    fn a_shorter_head_is_no_matter_of_rings() {
        let old = Limits::default();
        let wanted = Limits { head_bytes_max: 1024, ..Limits::default() };
        assert_eq!(old.changed_to(wanted.clone(), old.inbox_bytes), (wanted, Vec::new()));
    }
}
