//! Whatever the kernel does to reads and writes, the same bytes arrive.

use std::io::Write;
use std::thread;

use crate::support::{Client, Server, field};

/// Each fault alone, all together, and hardly anything that moves at once.
const TORTURES: [&str; 5] = [
    "seed=1,short-read",
    "seed=2,short-write",
    "seed=3,would-block=0.5",
    "seed=7,short-read,short-write,would-block=0.1",
    "seed=8,short-read,short-write,would-block=0.9",
];

/// `len` bytes that repeat nowhere near their start.
fn pattern(len: u32) -> Vec<u8> {
    (0..len).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

/// Runs `test` with a server for each torture.
fn with_each(arguments: &[&str], test: impl Fn(&Server, &str)) {
    for torture in TORTURES {
        test(&Server::start(&[arguments, &["--torture", torture]].concat()), torture);
    }
}

/// Head and content of one response that says how long it is.
fn response(client: &mut Client) -> (String, Vec<u8>) {
    let head = client.read_head();
    let length = field(&head, "Content-Length").unwrap().parse().unwrap();
    (head, client.read_exactly(length))
}

#[test]
fn a_large_file_arrives_as_it_is() {
    let root = std::env::temp_dir().join(format!("tidemill-{}-torture", std::process::id()));
    std::fs::create_dir(&root).unwrap();
    let content = pattern(5_000_000);
    std::fs::write(root.join("large.bin"), &content).unwrap();
    with_each(&[root.to_str().unwrap()], |server, torture| {
        let mut client = server.connect();
        for _ in 0..2 {
            client.send("GET /large.bin HTTP/1.1\r\nHost: a\r\n\r\n");
            assert!(response(&mut client).1 == content, "{torture}");
        }
    });
    std::fs::remove_dir_all(root).unwrap();
}

#[test]
fn an_upload_comes_back_as_it_was_sent() {
    let content = pattern(1_500_000);
    with_each(&[], |server, torture| {
        let mut client = server.connect();
        let head = format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", content.len());
        let mut writer = client.stream.try_clone().unwrap();
        let sent = [head.as_bytes(), &content].concat();
        let sender = thread::spawn(move || writer.write_all(&sent).unwrap());
        assert!(response(&mut client).1 == content, "{torture}");
        sender.join().unwrap();
    });
}

#[test]
fn chunks_are_read_and_written_whole() {
    let content = pattern(100_000);
    let mut request =
        b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n".to_vec();
    for chunk in content.chunks(777) {
        request.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        request.extend_from_slice(chunk);
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"0\r\n\r\n");
    with_each(&[], |server, torture| {
        let mut client = server.connect();
        let mut writer = client.stream.try_clone().unwrap();
        let sent = request.clone();
        let sender = thread::spawn(move || writer.write_all(&sent).unwrap());
        assert_eq!(field(&client.read_head(), "Transfer-Encoding"), Some("chunked"));
        assert!(unchunked(&mut client) == content, "{torture}");
        assert_eq!(client.read_to_end(), "");
        sender.join().unwrap();
    });
}

fn unchunked(client: &mut Client) -> Vec<u8> {
    let mut content = Vec::new();
    loop {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.extend(client.read_exactly(1));
        }
        let size = usize::from_str_radix(std::str::from_utf8(&line).unwrap().trim_end(), 16).unwrap();
        content.extend(client.read_exactly(size));
        assert_eq!(client.read_exactly(2), b"\r\n");
        if size == 0 {
            return content;
        }
    }
}

#[test]
fn pipelined_requests_are_answered_in_order_and_word_for_word() {
    let paths = ["/plaintext", "/bytes/20000", "/users/17", "/status/404", "/json", "/bytes/1", "/nowhere"];
    let requests: String =
        (0..20).flat_map(|_| paths).map(|path| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).collect();
    let answers = |server: &Server| {
        let mut client = server.connect();
        client.send(&requests);
        let undated = |head: String| head.lines().filter(|line| !line.starts_with("Date: ")).collect::<String>();
        let mut answer = || {
            let (head, content) = response(&mut client);
            (undated(head), content)
        };
        (0..20 * paths.len()).map(|_| answer()).collect::<Vec<_>>()
    };
    let expected = answers(&Server::start_untortured(&[]));
    assert!(expected[0].0.starts_with("HTTP/1.1 200 OK") && expected[0].1 == b"Hello, World!");
    with_each(&[], |server, torture| assert!(answers(server) == expected, "{torture}"));
}
