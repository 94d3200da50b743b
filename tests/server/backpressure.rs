//! Streams in both directions at once, in constant memory, and answers that are really seen.

use std::io::Write;
use std::net::Shutdown;
use std::thread;

use crate::support::{Server, field, read, status};

/// Byte `index` of a stream that repeats nowhere near its start.
fn byte_at(index: usize) -> u8 {
    ((index as u32).wrapping_mul(2_654_435_761) >> 24) as u8
}

#[test]
fn echo_streams_both_ways_at_once_in_constant_memory() {
    const SIZE: usize = 64 * 1024 * 1024;
    let server = Server::start(&[]);
    let mut client = server.connect();
    client.send(format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {SIZE}\r\nConnection: close\r\n\r\n"));
    let mut writer = client.stream.try_clone().unwrap();
    let sender = thread::spawn(move || {
        let mut piece = vec![0; 64 * 1024];
        for start in (0..SIZE).step_by(piece.len()) {
            piece.iter_mut().enumerate().for_each(|(offset, byte)| *byte = byte_at(start + offset));
            writer.write_all(&piece).unwrap();
        }
    });
    assert_eq!(field(&client.read_head(), "Content-Length"), Some(SIZE.to_string().as_str()));
    for start in (0..SIZE).step_by(64 * 1024) {
        let piece = client.read_exactly(64 * 1024);
        let wrong = piece.iter().enumerate().find(|(offset, byte)| **byte != byte_at(start + offset));
        assert_eq!(wrong, None, "in the piece at {start}");
    }
    sender.join().unwrap();
    assert!(client.is_closed_by_server());
    assert!(server.peak_kib() < 4 * 1024, "peak memory: {} KiB", server.peak_kib());
}

#[test]
fn an_error_answer_to_a_large_upload_is_seen_although_the_upload_goes_on() {
    // Closing with unread input resets the connection and destroys the answer: a client would see "connection reset"
    // instead of 413. Our side only ends its direction and reads on for a while.
    let server = Server::start(&[]);
    for _ in 0..20 {
        let mut client = server.connect();
        client.send("POST /users HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n");
        let mut writer = client.stream.try_clone().unwrap();
        let sender = thread::spawn(move || {
            // As rude as curl: it keeps sending until it is told to stop.
            for _ in 0..200 {
                if writer.write_all(&[b'x'; 16 * 1024]).is_err() {
                    break;
                }
            }
            writer.shutdown(Shutdown::Write).ok();
        });
        let answer = client.read_to_end();
        assert_eq!(status(&answer), "413");
        assert!(answer.contains("Connection: close"), "{answer}");
        sender.join().unwrap();
    }
}

#[test]
fn a_half_closed_client_gets_everything_it_asked_for() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    client.send("GET /bytes/3000000 HTTP/1.1\r\nHost: a\r\n\r\nGET /sheep?n=3&every=20ms HTTP/1.1\r\nHost: a\r\n\r\n");
    client.finish();
    assert_eq!(status(&client.read_head()), "200");
    assert_eq!(client.read_exactly(3_000_000).len(), 3_000_000);
    let rest = client.read_to_end();
    assert!(rest.ends_with("0\r\n\r\n"), "the second answer is whole: {rest}");
}

#[test]
fn a_firehose_does_not_starve_a_polite_client() {
    let server = Server::start(&[]);
    let mut firehose = server.connect().stream;
    firehose.write_all(b"GET /stream/18446744073709551615 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut flooder = server.connect().stream;
    let drain = thread::spawn(move || {
        let mut piece = vec![0; 256 * 1024];
        while read(&mut firehose, &mut piece).is_ok_and(|n| n > 0) {}
    });
    let flood = thread::spawn(move || {
        let batch = "GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n".repeat(500);
        let mut reader = flooder.try_clone().unwrap();
        let reading = thread::spawn(move || {
            let mut piece = vec![0; 256 * 1024];
            while read(&mut reader, &mut piece).is_ok_and(|n| n > 0) {}
        });
        while flooder.write_all(batch.as_bytes()).is_ok() {}
        reading.join().unwrap();
    });
    let mut polite = server.connect();
    for _ in 0..200 {
        polite.send("GET /json HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(polite.read_response().1, r#"{"message":"Hello, World!"}"#);
    }
    drop(server);
    drain.join().unwrap();
    flood.join().unwrap();
}
