//! Requests that are in flight end as they have begun.

use std::fs;

use super::support::{Client, read, status};
use super::{Mill, says};

const LAB: &str = "listen = ['127.0.0.1:0']\nlab = true\n";

/// A server that has the lab, and gets rid of it with `replace`.
fn lab(name: &str) -> Mill {
    Mill::start(name, LAB)
}

fn replace(mill: &Mill) {
    mill.take_sites(&says("new"));
    assert_eq!(mill.content("/echo"), "new");
}

#[test]
fn an_upload_is_taken_to_its_end() {
    let mill = lab("upload");
    let mut client = mill.server.connect();
    client.send("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nhello");
    // The lab echoes what it has, so the request is in its hands.
    let head = client.read_head();
    replace(&mill);
    client.send("world");
    let echoed = match super::support::field(&head, "Transfer-Encoding") {
        Some(_) => {
            let mut echoed = String::new();
            loop {
                let length = usize::from_str_radix(&client.read_line(), 16).unwrap();
                echoed.push_str(&String::from_utf8(client.read_exactly(length)).unwrap());
                client.read_line();
                if length == 0 {
                    break echoed;
                }
            }
        }
        None => String::from_utf8(client.read_exactly(10)).unwrap(),
    };
    assert_eq!(echoed, "helloworld");
    assert_eq!(super::ask(&mut client, "/echo"), "new", "and the next one is for the new routes");
}

#[test]
fn a_download_is_sent_to_its_end() {
    const BYTES: usize = 30_000_000;
    let text = "listen = ['127.0.0.1:0']\n[[site]]\nroot = 'site'\n";
    let mill = Mill::prepared("download", text, |folder| {
        fs::create_dir(folder.join("site")).unwrap();
        fs::write(folder.join("site/f"), vec![b'x'; BYTES]).unwrap();
    });
    let mut client = mill.server.connect();
    client.send("GET /f HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let head = client.read_head();
    assert_eq!(status(&head), "200");
    replace(&mill);
    // Also if the folder is gone: the file is open.
    fs::remove_dir_all(mill.path("site")).unwrap();
    assert!(client.read_exactly(BYTES).iter().all(|byte| *byte == b'x'));
    assert_eq!(super::ask(&mut client, "/f"), "new");
}

#[test]
fn events_go_on() {
    let mill = lab("events");
    let mut client = mill.server.connect();
    client.send("GET /sse?every=10ms HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(status(&client.read_head()), "200");
    replace(&mill);
    let mut piece = [0; 4096];
    let mut all = Vec::new();
    while all.len() < 20_000 {
        let n = read(&mut client.stream, &mut piece).unwrap();
        assert!(n > 0, "{:?}", String::from_utf8_lossy(&all));
        all.extend_from_slice(&piece[..n]);
    }
}

#[test]
fn a_websocket_goes_on() {
    let mill = lab("websocket");
    let mut client = mill.server.connect();
    client.send(
        "GET /ws/echo HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    assert_eq!(status(&client.read_head()), "101");
    let echo = |client: &mut Client| {
        // A text frame of two bytes, with a mask of zeros (RFC 6455 §5.2).
        client.send(b"\x81\x82\0\0\0\0hi");
        assert_eq!(client.read_exactly(4), b"\x81\x02hi");
    };
    echo(&mut client);
    replace(&mill);
    echo(&mut client);
}
