//! Captures of connections that are open: somebody asks for one, and gets it as it is made.
//!
//! These have the content of a connection, as the drivers read and produce it: behind TLS, and from a moment in its middle on.
//! They are made on the loop's thread, in a queue of bounded length. What finds no room there is dropped and counted.

use std::net::SocketAddr;

use super::block::{self, Packet};
use super::segment::{ACK, DATA_BYTES_MAX, FIN, PSH, RST, Segment};
use super::{Direction, made_up, now};
use crate::base::byte_pipe::{PipeReader, PipeWriter, byte_pipe};
use crate::base::listener_role::ListenerRole;
use crate::base::peer::Peer;
use crate::net::marks::Text;

/// So many captures there may be at a time.
pub const LIVE_MAX: usize = 4;
/// What waits to be sent to whoever has asked for one, in bytes.
const WAITING_BYTES_MAX: usize = 4 << 20;

/// The connection of a capture, as it stands when that begins.
#[derive(Debug, Clone, Copy)]
pub struct Beginning {
    /// Its number.
    pub connection: u64,
    /// Our end, if it has an address.
    pub local: Option<SocketAddr>,
    /// The other end.
    pub peer: Peer,
    /// The role of its listener.
    pub role: ListenerRole,
    /// What is spoken on it.
    pub protocol: &'static str,
    /// Whether that is within TLS.
    pub is_secured: bool,
    /// Bytes received so far.
    pub received: u64,
    /// Bytes sent so far.
    pub sent: u64,
}

/// How a connection was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// With FIN from us, if our direction had not ended before.
    InOrder,
    /// We have reset it.
    ByReset,
    /// It was reset by the client.
    Broken,
}

/// The captures that are being made.
#[derive(Debug, Default)]
pub struct LiveCaptures(Vec<LiveCapture>);

#[derive(Debug)]
struct LiveCapture {
    connection: u64,
    client: SocketAddr,
    server: SocketAddr,
    /// The next sequence numbers of both sides: that of the first byte of the connection is 1.
    of_client: u64,
    of_server: u64,
    has_client_ended: bool,
    has_server_ended: bool,
    /// The last packet, which may still get comments.
    last: Option<Made>,
    /// `None` when the capture is over.
    out: Option<PipeWriter>,
    /// How many bytes of the file there are, and may be.
    written: u64,
    bytes_max: u64,
    /// Packets that there were, and those of them that were dropped, and of which no comment says so.
    seen: u64,
    dropped: u64,
    untold: u64,
    block: Vec<u8>,
}

/// A packet that is not written.
#[derive(Debug)]
struct Made {
    at: u64,
    direction: Direction,
    headers: Vec<u8>,
    data: Vec<u8>,
    /// Its length with its headers, in bytes; it may be longer than what is known of it.
    length: usize,
    comments: Vec<Box<str>>,
}

impl LiveCaptures {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Begins a capture of up to `bytes_max` bytes. `None`: there are as many as there may be.
    pub fn begin(&mut self, beginning: &Beginning, bytes_max: u64) -> Option<PipeReader> {
        self.forget_ended();
        if self.0.len() >= LIVE_MAX {
            return None;
        }
        let (out, reader) = byte_pipe(WAITING_BYTES_MAX);
        self.0.push(LiveCapture::begin(beginning, bytes_max, out));
        Some(reader)
    }

    /// What a reader may put between blocks so that it notices whether somebody still wants them.
    pub fn sign_of_life() -> Vec<u8> {
        let mut sign = Vec::new();
        block::statistics(&mut sign, 0, now(), None, &[]);
        sign
    }

    /// Whether somebody wants to know what is said on this connection.
    pub fn wants(&self, connection: u64) -> bool {
        self.0.iter().any(|live| live.connection == connection)
    }

    /// These bytes have come from the client, where `position` bytes had come before.
    pub fn received(&mut self, connection: u64, position: u64, bytes: [&[u8]; 2]) {
        self.each(connection, |live| {
            live.of_client = position + 1;
            live.add_data(Direction::FromClient, &bytes.concat(), 0);
        });
    }

    /// These bytes have been sent to the client, where `position` bytes had been before, and behind them `unknown` bytes that
    /// cannot be told.
    pub fn sent(&mut self, connection: u64, position: u64, bytes: [&[u8]; 2], unknown: usize) {
        self.each(connection, |live| {
            live.of_server = position + 1;
            live.add_data(Direction::ToClient, &bytes.concat(), unknown);
        });
    }

    /// Adds a comment to the last packet.
    pub fn comment(&mut self, connection: u64, what: impl Fn(&mut Text)) {
        self.each(connection, |live| {
            let comment = Text::of(|text| {
                write!(text, "c={connection} ");
                what(text);
            });
            match &mut live.last {
                Some(last) => last.comments.push(comment),
                // What is known only later needs a packet of its own.
                None => live.add(Direction::ToClient, ACK, &[], 0, vec![comment]),
            }
        });
    }

    /// A drive of the connection is over. Whether the client has ended its direction by now, and whether we have.
    pub fn note_ends(&mut self, connection: u64, has_client_ended: bool, has_server_ended: bool) {
        self.each(connection, |live| live.note_ends(has_client_ended, has_server_ended));
    }

    /// Hands on what there is. The last packet gets no more comments.
    pub fn flush(&mut self, connection: u64) {
        self.each(connection, LiveCapture::write_last);
        self.forget_ended();
    }

    /// The connection is over: `why`.
    pub fn end(&mut self, connection: u64, closed: Closed, why: impl Fn(&mut Text)) {
        self.each(connection, |live| match closed {
            Closed::InOrder => live.note_ends(false, true),
            Closed::ByReset => live.add(Direction::ToClient, RST | ACK, &[], 0, Vec::new()),
            Closed::Broken => live.add(Direction::FromClient, RST | ACK, &[], 0, Vec::new()),
        });
        self.comment(connection, why);
        self.each(connection, |live| live.finish("the connection is over"));
        self.forget_ended();
    }

    fn each(&mut self, connection: u64, act: impl FnMut(&mut LiveCapture)) {
        self.0.iter_mut().filter(|live| live.connection == connection).for_each(act);
    }

    fn forget_ended(&mut self) {
        self.0.retain(|live| live.out.as_ref().is_some_and(PipeWriter::has_reader));
    }
}

impl LiveCapture {
    fn begin(beginning: &Beginning, bytes_max: u64, out: PipeWriter) -> LiveCapture {
        let Beginning { connection, peer, role, protocol, is_secured, received, sent, .. } = *beginning;
        let (server, client) = match (beginning.local, peer) {
            (Some(server), Peer::Ip(client)) => (server, client),
            _ => made_up(connection, role),
        };
        let mut live = LiveCapture {
            connection,
            client,
            server,
            of_client: received + 1,
            of_server: sent + 1,
            has_client_ended: false,
            has_server_ended: false,
            last: None,
            out: Some(out),
            written: 0,
            bytes_max,
            seen: 0,
            dropped: 0,
            untold: 0,
            block: Vec::new(),
        };
        let program = concat!("tidemill ", env!("CARGO_PKG_VERSION"));
        let about = "What the server has read and written on one connection from a moment in its middle on, as packets. \
                     It has seen no acknowledgements and no retransmissions, so there are none.";
        block::section_header(&mut live.block, program, about);
        block::interface(&mut live.block, role.scheme(), role.scheme());
        live.put_block();
        // Each side says where it stands, so that readers know where both directions begin.
        let made_up = if peer == Peer::Unix { "; a Unix socket: the addresses are made up" } else { "" };
        let secured = if is_secured { "; TLS is taken off" } else { "" };
        let comment = Text::of(|text| {
            write!(
                text,
                "c={connection} {protocol} from here on: rx={} tx={}{secured}{made_up}",
                received + 1,
                sent + 1
            );
        });
        live.add(Direction::FromClient, ACK, &[], 0, vec![comment]);
        live.add(Direction::ToClient, ACK, &[], 0, Vec::new());
        live.write_last();
        live
    }

    fn note_ends(&mut self, has_client_ended: bool, has_server_ended: bool) {
        if has_client_ended && !std::mem::replace(&mut self.has_client_ended, true) {
            self.add(Direction::FromClient, FIN | ACK, &[], 0, Vec::new());
            self.of_client += 1;
        }
        if has_server_ended && !std::mem::replace(&mut self.has_server_ended, true) {
            self.add(Direction::ToClient, FIN | ACK, &[], 0, Vec::new());
            self.of_server += 1;
        }
    }

    /// Packets with these bytes, and behind them with `unknown` bytes.
    fn add_data(&mut self, direction: Direction, bytes: &[u8], unknown: usize) {
        let pieces = bytes.chunks(DATA_BYTES_MAX).map(|piece| (piece, piece.len()));
        let blanks = (0..unknown).step_by(DATA_BYTES_MAX).map(|start| (&[][..], (unknown - start).min(DATA_BYTES_MAX)));
        for (piece, length) in pieces.chain(blanks) {
            self.add(direction, PSH | ACK, piece, length, Vec::new());
            match direction {
                Direction::FromClient => self.of_client += length as u64,
                Direction::ToClient => self.of_server += length as u64,
            }
        }
    }

    /// A packet with `length` bytes, of which `data` is known.
    fn add(&mut self, direction: Direction, flags: u8, data: &[u8], length: usize, comments: Vec<Box<str>>) {
        self.write_last();
        let (from, to, sequence, acknowledged) = match direction {
            Direction::FromClient => (self.client, self.server, self.of_client, self.of_server),
            Direction::ToClient => (self.server, self.client, self.of_server, self.of_client),
        };
        let headers = Segment { from, to, sequence, acknowledged, flags }.headers(data, length);
        let (data, length) = (data.to_vec(), headers.len() + length);
        self.last = Some(Made { at: now(), direction, headers, data, length, comments });
    }

    /// Writes the last packet, if that is not done. If there is no room for it, a comment on the next one says so.
    fn write_last(&mut self) {
        let Some(Made { at, direction, headers, data, length, mut comments }) = self.last.take() else { return };
        if self.untold > 0 {
            comments.insert(0, format!("{} packets are missing before this one", self.untold).into());
        }
        let is_inbound = direction == Direction::FromClient;
        let packet =
            Packet { interface: 0, at, is_inbound, headers: &headers, data: &data, length, comments: &comments };
        block::packet(&mut self.block, &packet);
        self.seen += 1;
        if self.written + self.block.len() as u64 > self.bytes_max {
            self.block.clear();
            self.dropped += 1;
            return self.finish("the size that was asked for is reached");
        }
        match self.put_block() {
            true => self.untold = 0,
            false => (self.dropped, self.untold) = (self.dropped + 1, self.untold + 1),
        }
    }

    /// Hands on the block that was made, or drops it. Says whether there was room.
    fn put_block(&mut self) -> bool {
        let has_room = self.out.as_ref().is_some_and(|out| out.put(&self.block));
        self.written += if has_room { self.block.len() as u64 } else { 0 };
        self.block.clear();
        has_room
    }

    /// Nothing more comes: `why`.
    fn finish(&mut self, why: &str) {
        self.write_last();
        block::statistics(&mut self.block, 0, now(), Some((self.seen, self.dropped)), &[why.into()]);
        self.put_block();
        self.out = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ring::RingBuffer;

    fn beginning(connection: u64) -> Beginning {
        Beginning {
            connection,
            local: Some("127.0.0.1:80".parse().unwrap()),
            peer: Peer::Ip("127.0.0.1:4660".parse().unwrap()),
            role: ListenerRole::Http,
            protocol: "http/1",
            is_secured: false,
            received: 99,
            sent: 999,
        }
    }

    /// What has been captured so far: of each block its type, of each packet the sequence number and the flags.
    fn blocks(reader: &PipeReader) -> Vec<(u32, u32, u8)> {
        let mut ring = RingBuffer::new(8 << 20);
        let n = reader.take(&mut ring.room(0, 8 << 20));
        ring.seal(0, b"", n);
        let mut bytes = &ring.readable().concat()[..];
        let mut blocks = Vec::new();
        let number = |bytes: &[u8]| u32::from_le_bytes(bytes[..4].try_into().unwrap());
        while !bytes.is_empty() {
            let (kind, length) = (number(bytes), number(&bytes[4..]) as usize);
            assert_eq!(number(&bytes[length - 4..]) as usize, length);
            let tcp = &bytes[28 + 4 + 20..];
            let is_packet = kind == 6;
            let sequence = if is_packet { u32::from_be_bytes(tcp[4..8].try_into().unwrap()) } else { 0 };
            blocks.push((kind, sequence, if is_packet { tcp[13] } else { 0 }));
            bytes = &bytes[length..];
        }
        blocks
    }

    const DATA: u8 = PSH | ACK;

    #[test]
    fn a_capture_begins_where_the_connection_stands_and_ends_with_it() {
        let mut captures = LiveCaptures::default();
        let reader = captures.begin(&beginning(7), 1 << 20).unwrap();
        assert_eq!(blocks(&reader)[1..], [(1, 0, 0), (6, 100, ACK), (6, 1000, ACK)]);
        captures.received(7, 99, [b"ab", b"c"]);
        captures.received(8, 0, [b"another connection", b""]);
        captures.sent(7, 999, [b"defg", b""], 0);
        assert_eq!(blocks(&reader), [(6, 100, DATA)], "the last one may get comments");
        captures.comment(7, |text| write!(text, "r=1 over"));
        captures.note_ends(7, true, false);
        captures.flush(7);
        assert_eq!(blocks(&reader), [(6, 1000, DATA), (6, 103, FIN | ACK)]);
        captures.end(7, Closed::InOrder, |text| write!(text, "close"));
        assert_eq!(blocks(&reader), [(6, 1004, FIN | ACK), (5, 0, 0)]);
        assert!(reader.has_ended() && captures.is_empty());
    }

    #[test]
    fn a_reset_is_one_and_what_is_not_known_has_its_length() {
        for (closed, sequence) in [(Closed::ByReset, 1000 + 70_000), (Closed::Broken, 100)] {
            let mut captures = LiveCaptures::default();
            let reader = captures.begin(&beginning(7), 1 << 20).unwrap();
            blocks(&reader);
            captures.sent(7, 999, [b"", b""], 70_000);
            captures.end(7, closed, |_| {});
            let rest = 1000 + DATA_BYTES_MAX as u32;
            assert_eq!(blocks(&reader), [(6, 1000, DATA), (6, rest, DATA), (6, sequence, RST | ACK), (5, 0, 0)]);
        }
    }

    #[test]
    fn a_capture_ends_at_its_size_and_is_forgotten_when_nobody_wants_it() {
        let mut captures = LiveCaptures::default();
        let reader = captures.begin(&beginning(7), 10_000).unwrap();
        let others: Vec<_> = (0..3).map(|_| captures.begin(&beginning(7), 1 << 30).unwrap()).collect();
        assert!(captures.begin(&beginning(8), 10_000).is_none(), "four at a time");
        for number in 0..20 {
            captures.received(7, 99 + 1000 * number, [&[b'x'; 1000], b""]);
        }
        captures.flush(7);
        let kinds: Vec<u32> = blocks(&reader).into_iter().map(|block| block.0).collect();
        assert!(reader.has_ended() && kinds.ends_with(&[6, 5]) && kinds.len() < 15, "{kinds:?}");
        drop(others);
        assert!(captures.wants(7));
        captures.flush(7);
        assert!(captures.is_empty());
    }

    #[test]
    fn what_finds_no_room_is_counted_and_the_next_packet_says_so() {
        let mut captures = LiveCaptures::default();
        let reader = captures.begin(&beginning(7), 1 << 30).unwrap();
        for number in 0..100 {
            captures.received(7, 99 + 60_000 * number, [&[b'x'; 60_000], b""]);
        }
        captures.flush(7);
        let there = blocks(&reader).len();
        assert!((60..80).contains(&there), "{there}");
        captures.received(7, 99 + 60_000 * 100, [b"y", b""]);
        captures.flush(7);
        let mut ring = RingBuffer::new(1 << 20);
        let n = reader.take(&mut ring.room(0, 1 << 20));
        ring.seal(0, b"", n);
        let text = String::from_utf8_lossy(&ring.readable().concat()).into_owned();
        assert!(text.contains(&format!("{} packets are missing before this one", 104 - there)), "{text}");
    }
}
