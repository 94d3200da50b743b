//! The same over HTTP/2: a request that is answered at once allocates nothing, and a stream that waits only what it needs.

use std::io::Write;
use std::time::Instant;

use allocation_counter::measure;

use crate::requests::{DEADLINE, Folder, MEASURED, Running, WARM_UP, assert_allocate, lab};

/// A stream that waits may take so much memory, in bytes.
const WAITING_BYTES_MAX: i64 = 1536;
/// The streams that a client may have at a time.
const STREAMS: u32 = 100;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const WINDOW_UPDATE: u8 = 8;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

#[test]
fn plaintext_over_http2_allocates_nothing() {
    for at_once in [1, 32] {
        let mut client = Client::new(Running::new(lab()));
        assert_allocate(0, &client.allocations("/plaintext", at_once));
    }
}

#[test]
fn a_file_from_memory_over_http2_allocates_nothing() {
    let folder = Folder::new("http2");
    let mut client = Client::new(Running::new(folder.public()));
    assert_allocate(0, &client.allocations("/1k.bin", 32));
}

/// With all that belongs to it: its windows, its exchange, its record.
#[test]
fn streams_that_wait_for_a_timer_are_small() {
    let mut client = Client::new(Running::new(lab()));
    let requests = client.requests("/delay/10000", STREAMS);
    let waiting = measure(|| {
        client.running.client.write_all(&requests).unwrap();
        // They have all arrived with the first of these turns. The others let the connection come to rest.
        (0..4).for_each(|_| assert_eq!(client.running.turn(&mut [0; 1024]), 0));
    });
    let each = waiting.bytes_current / i64::from(STREAMS);
    assert!((100..=WAITING_BYTES_MAX).contains(&each), "{each} bytes for each of {STREAMS} streams");
}

/// A client that counts the ends of streams.
struct Client {
    running: Running,
    next_stream: u32,
    /// What is left of the frame that is arriving.
    left: usize,
    /// The part of a frame's head that has arrived.
    head: [u8; 9],
    head_len: usize,
    /// How many frames have begun.
    taken: usize,
}

impl Client {
    fn new(running: Running) -> Client {
        let mut client = Client { running, next_stream: 1, left: 0, head: [0; 9], head_len: 0, taken: 0 };
        let increment = 0x7fff_ffff_u32 - 65_535;
        let opening = [
            PREFACE,
            &frame(SETTINGS, 0, 0, &[]),
            &frame(SETTINGS, ACK, 0, &[]),
            &frame(WINDOW_UPDATE, 0, 0, &increment.to_be_bytes()),
        ];
        client.exchange(&opening.concat(), 0);
        // SETTINGS, their acknowledgement, and the window of the connection.
        while client.taken < 3 {
            client.read();
        }
        client
    }

    /// How often the loop allocates while it answers `at_once` requests; for each of many such exchanges.
    fn allocations(&mut self, path: &str, at_once: u32) -> Vec<u64> {
        for _ in 0..WARM_UP {
            let requests = self.requests(path, at_once);
            self.exchange(&requests, at_once);
        }
        let mut counts = Vec::new();
        // A drive for many requests is long, and a few of the longest are remembered in each second.
        for _ in 0..MEASURED / 4 {
            let requests = self.requests(path, at_once);
            counts.push(measure(|| self.exchange(&requests, at_once)).count_total);
        }
        counts
    }

    /// Requests on so many new streams.
    fn requests(&mut self, path: &str, count: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        for _ in 0..count {
            // :method GET, :scheme http, :path, :authority
            let path_len = u8::try_from(path.len()).unwrap();
            let block = [&[0x82, 0x86, 0x04, path_len], path.as_bytes(), b"\x01\x01a"].concat();
            bytes.extend(frame(HEADERS, END_STREAM | END_HEADERS, self.next_stream, &block));
            self.next_stream += 2;
        }
        bytes
    }

    /// Sends `requests` and reads until so many streams have ended.
    fn exchange(&mut self, requests: &[u8], ends: u32) {
        self.running.client.write_all(requests).unwrap();
        let (mut ended, began) = (0, Instant::now());
        while ended < ends {
            assert!(began.elapsed() < DEADLINE, "{ended} of {ends} streams have ended");
            ended += self.read();
        }
        assert_eq!(ended, ends);
    }

    /// Turns the loop once, and reads what has come of it. Says how many streams have ended.
    fn read(&mut self) -> u32 {
        let mut bytes = [0; 64 * 1024];
        let n = self.running.turn(&mut bytes);
        self.take(&bytes[..n])
    }

    /// How many streams have ended in these bytes.
    fn take(&mut self, mut bytes: &[u8]) -> u32 {
        let mut ends = 0;
        while !bytes.is_empty() {
            let skipped = self.left.min(bytes.len());
            self.left -= skipped;
            bytes = &bytes[skipped..];
            let Some((first, rest)) = bytes.split_first() else { break };
            self.head[self.head_len] = *first;
            self.head_len += 1;
            bytes = rest;
            if self.head_len == self.head.len() {
                self.head_len = 0;
                self.taken += 1;
                self.left = u32::from_be_bytes([0, self.head[0], self.head[1], self.head[2]]) as usize;
                let (kind, flags) = (self.head[3], self.head[4]);
                assert!([DATA, HEADERS, SETTINGS, WINDOW_UPDATE].contains(&kind), "a frame of kind {kind}");
                ends += u32::from([DATA, HEADERS].contains(&kind) && flags & END_STREAM != 0);
            }
        }
        ends
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}
