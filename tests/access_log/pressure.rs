//! What held a request up, in its line.

use std::io::Write;
use std::thread;
use std::time::Duration;

use crate::logged::Logged;

/// How long these clients do nothing: that is what is measured.
const SLOW: Duration = Duration::from_millis(300);

#[test]
fn a_slow_reader_shows_in_its_line() {
    const SIZE: usize = 32 * 1024 * 1024;
    let logged = Logged::start("json", &[]);
    let mut client = logged.connect();
    client.send(format!("GET /bytes/{SIZE} HTTP/1.1\r\nHost: a\r\n\r\n"));
    thread::sleep(SLOW);
    client.read_head();
    assert_eq!(client.read_exactly(SIZE).len(), SIZE);
    let object = logged.objects(1).remove(0);
    assert!(object["blocked_ms"].as_f64().unwrap() > 0.0, "{object}");
    assert!((1..=64 * 1024).contains(&object["queued_max"].as_u64().unwrap()), "{object}");
    assert_eq!(object["paused_ms"].as_f64(), Some(0.0));
    assert!(object["last_byte_ms"].as_f64() >= object["blocked_ms"].as_f64(), "{object}");
}

#[test]
fn an_upload_that_is_paused_shows_in_its_line() {
    const SIZE: usize = 32 * 1024 * 1024;
    let logged = Logged::start("json", &[]);
    let mut client = logged.connect();
    client.send(format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {SIZE}\r\n\r\n"));
    let mut writer = client.stream.try_clone().unwrap();
    let sender = thread::spawn(move || writer.write_all(&vec![b'x'; SIZE]).unwrap());
    // What comes back is not read, so that nobody takes what is sent either.
    thread::sleep(SLOW);
    client.read_head();
    assert_eq!(client.read_exactly(SIZE).len(), SIZE);
    sender.join().unwrap();
    let object = logged.objects(1).remove(0);
    assert!(object["paused_ms"].as_f64().unwrap() > 0.0, "{object}");
    assert!(object["blocked_ms"].as_f64().unwrap() > 0.0, "{object}");
    assert_eq!(object["bytes"].as_u64(), Some(SIZE as u64));
}

#[test]
fn pretty_tells_of_backpressure_only_where_there_was_some() {
    const SIZE: usize = 32 * 1024 * 1024;
    let logged = Logged::start("pretty", &[]);
    let mut client = logged.connect();
    client.send("GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n");
    client.read_response();
    client.send(format!("GET /bytes/{SIZE} HTTP/1.1\r\nHost: a\r\n\r\n"));
    thread::sleep(SLOW);
    client.read_head();
    assert_eq!(client.read_exactly(SIZE).len(), SIZE);
    let lines = logged.lines(2);
    assert!(!lines[0].contains("blocked"), "{lines:#?}");
    assert!(lines[1].contains("  blocked ") && lines[1].contains(" peak "), "{lines:#?}");
}
