//! A WebSocket whose client does not read is not read either; nothing piles up in between, and nothing is lost.

use std::io::{ErrorKind, Write};
use std::thread;
use std::time::Duration;

use crate::client::{BINARY, CONTINUATION, FIN, PING, PONG, WebSocket, frame};
use crate::support::{Server, Uninterrupted, wait_until};

const SIZE: usize = 64 << 20;
const FRAME: usize = 1 << 20;
/// More than the kernel's buffers of both sides, both ways, may be tens of megabytes; the server's own must not.
const PEAK_KIB_MAX: u64 = 4 * 1024;

/// Byte `index` of a stream that repeats nowhere near its start.
fn byte_at(index: usize) -> u8 {
    ((index as u32).wrapping_mul(2_654_435_761) >> 24) as u8
}

/// One message in frames of a megabyte, with a Ping between them.
fn message() -> impl Iterator<Item = Vec<u8>> {
    (0..SIZE / FRAME).map(|at| {
        let content: Vec<u8> = (at * FRAME..(at + 1) * FRAME).map(byte_at).collect();
        let first = if at == 0 { BINARY } else { CONTINUATION } | if (at + 1) * FRAME == SIZE { FIN } else { 0 };
        [frame(first, &content), frame(FIN | PING, &[at as u8])].concat()
    })
}

#[test]
fn a_client_that_does_not_read_is_not_read_and_gets_everything_in_order_when_it_does() {
    let server = Server::start(&[]);
    let mut socket = WebSocket::open(&server, "/ws/echo");
    let writer = socket.client.stream.try_clone().unwrap();
    writer.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let (stuck, is_stuck) = std::sync::mpsc::channel();
    let mut writer = Uninterrupted(writer);
    let sender = thread::spawn(move || {
        for bytes in message() {
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                match writer.write(rest) {
                    Ok(n) => rest = &rest[n..],
                    Err(error) if error.kind() == ErrorKind::WouldBlock => stuck.send(()).unwrap(),
                    Err(error) => panic!("{error}"),
                }
            }
        }
    });
    // Nobody reads: all buffers fill up, the server's own being the smallest of them.
    is_stuck.recv_timeout(crate::support::DEADLINE).expect("the client is never held back");
    assert!(server.peak_kib() < PEAK_KIB_MAX, "peak memory: {} KiB", server.peak_kib());
    let (mut received, mut pongs) = (0, 0);
    while received < SIZE || pongs < SIZE / FRAME {
        let frame = socket.read();
        if frame.first == FIN | PONG {
            assert_eq!(frame.payload, [pongs as u8]);
            pongs += 1;
            continue;
        }
        let wrong = frame.payload.iter().enumerate().find(|(at, byte)| **byte != byte_at(received + at));
        assert_eq!(wrong, None, "in the frame at {received}");
        received += frame.payload.len();
    }
    sender.join().unwrap();
    assert_eq!(received, SIZE);
    assert!(server.peak_kib() < PEAK_KIB_MAX, "peak memory: {} KiB", server.peak_kib());
}

#[test]
fn pings_without_end_do_not_pile_up_as_pongs() {
    let server = Server::start(&["--send-timeout", "700ms"]);
    let socket = WebSocket::open(&server, "/ws/echo");
    let mut writer = socket.client.stream.try_clone().unwrap();
    let sender = thread::spawn(move || {
        let pings = frame(FIN | PING, &[1; 125]).repeat(500);
        while writer.write_all(&pings).is_ok() {}
    });
    let mut polite = WebSocket::open(&server, "/ws/echo");
    wait_until("the client that reads no pong is cut", || {
        polite.send(FIN | BINARY, "meanwhile");
        assert_eq!(polite.read_message().1, b"meanwhile");
        server.log().contains("the client stopped reading")
    });
    sender.join().unwrap();
    assert!(server.peak_kib() < PEAK_KIB_MAX, "peak memory: {} KiB", server.peak_kib());
}
