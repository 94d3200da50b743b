//! Clients that break TLS in every way: each ends with an alert or in order, in bounded memory, with a line that says why.

use std::io::{Read, Write};
use std::net::TcpStream;

use rustls::ContentType;

use super::records::{CLOSE_NOTIFY, Came, FATAL, KEY_UPDATE, KEY_UPDATE_ASKING, Records, USER_CANCELED};
use super::{Secure, client_of, connect, get, serve};
use crate::support::Server;
use crate::tls_client::config;

const UNEXPECTED_MESSAGE: u8 = 10;
const BAD_RECORD_MAC: u8 = 20;
const RECORD_OVERFLOW: u8 = 22;
const ILLEGAL_PARAMETER: u8 = 47;
const DECODE_ERROR: u8 = 50;
const PROTOCOL_VERSION: u8 = 70;
const HANDSHAKE: u8 = 22;
const ALERT: u8 = 21;

fn hello() -> Vec<u8> {
    let mut hello = Vec::new();
    client_of(config(rustls::DEFAULT_VERSIONS), "ec.example").write_tls(&mut hello).unwrap();
    hello
}

/// A record that is not encrypted.
fn record(typ: u8, payload: &[u8]) -> Vec<u8> {
    let [high, low] = (payload.len() as u16).to_be_bytes();
    [&[typ, 3, 3, high, low], payload].concat()
}

/// Everything up to the end. A server that has refused goes on reading for a while, so it is no reset.
fn read_all(socket: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    socket.read_to_end(&mut all).unwrap();
    all
}

/// That the server still serves, and has not grown.
fn assert_well(server: &Server) {
    assert_eq!(Secure::new(server).get("/plaintext").1, b"Hello, World!");
    assert!(server.peak_kib() < 20 * 1024, "peak memory: {} KiB", server.peak_kib());
}

#[test]
fn a_hello_may_come_in_pieces_of_any_size() {
    let server = serve(&[]);
    let (mut by_segment, mut by_record) = (Secure::new(&server), Secure::new(&server));
    for (client, splits_records) in [(&mut by_segment, false), (&mut by_record, true)] {
        let mut hello = Vec::new();
        client.tls.write_tls(&mut hello).unwrap();
        if splits_records {
            let bytes: Vec<u8> = hello[5..].iter().flat_map(|byte| record(HANDSHAKE, &[*byte])).collect();
            client.socket.write_all(&bytes).unwrap();
        } else {
            for byte in hello {
                client.socket.write_all(&[byte]).unwrap();
            }
        }
        assert_eq!(client.get("/plaintext").1, b"Hello, World!");
    }
}

#[test]
fn who_is_no_client_of_tls_gets_the_alert_that_says_why() {
    let server = serve(&[]);
    // TLS 1.1: no signature algorithms, no other version.
    let mut old = vec![1, 0, 0, 45, 3, 2];
    old.extend([7; 32]);
    old.extend([0, 0, 6, 0xc0, 0x09, 0xc0, 0x13, 0, 0x2f, 1, 0]);
    old[3] = (old.len() - 4) as u8;
    let mut endless = vec![1, 0, 0xff, 0xff];
    endless.resize(16_000, 1);
    let endless: Vec<u8> = endless.chunks(1).cycle().take(300_000).flat_map(|byte| record(HANDSHAKE, byte)).collect();
    let cases: [(&str, Vec<u8>, &[u8], &str); 10] = [
        ("TLS 1.1", record(HANDSHAKE, &old), &[PROTOCOL_VERSION], "TLS: peer is incompatible"),
        ("a record of nothing known", vec![200, 3, 3, 0, 1, 1], &[DECODE_ERROR, UNEXPECTED_MESSAGE], "TLS: "),
        ("a wrong version", vec![HANDSHAKE, 9, 9, 0, 1, 1], &[DECODE_ERROR, PROTOCOL_VERSION], "TLS: "),
        ("a record too large", vec![HANDSHAKE, 3, 3, 0xff, 0xff], &[DECODE_ERROR, RECORD_OVERFLOW], "TLS: "),
        ("a message too large", record(HANDSHAKE, &[1, 1, 0, 0, 3, 3]), &[ILLEGAL_PARAMETER], "TLS: received corrupt"),
        ("endless", endless, &[ILLEGAL_PARAMETER], "TLS: a message is too large"),
        ("content first", record(23, b"GET / HTTP/1.1\r\n\r\n"), &[UNEXPECTED_MESSAGE], "TLS: received unexpected"),
        ("no hello", record(HANDSHAKE, &[2, 0, 0, 1, 1]), &[UNEXPECTED_MESSAGE, DECODE_ERROR], "TLS: "),
        ("an empty record", record(HANDSHAKE, &[]), &[DECODE_ERROR, UNEXPECTED_MESSAGE], "TLS: "),
        (
            "half a hello",
            [&record(HANDSHAKE, &hello()[5..9])[..], &record(23, b"x")].concat(),
            &[UNEXPECTED_MESSAGE],
            "TLS: ",
        ),
    ];
    for (what, bytes, alerts, line) in cases {
        let mut socket = connect(&server);
        socket.write_all(&bytes).ok();
        let answer = read_all(&mut socket);
        let [ALERT, 3, _, 0, 2, FATAL, alert] = answer[..] else { panic!("{what}: {}", answer.escape_ascii()) };
        assert!(alerts.contains(&alert), "{what}: alert {alert}");
        server.wait_for_log(line);
    }
    assert_well(&server);
}

#[test]
fn an_alert_of_the_client_ends_the_connection_in_every_state() {
    let server = serve(&[]);
    let mut socket = connect(&server);
    socket.write_all(&record(ALERT, &[FATAL, 40])).unwrap();
    assert_eq!(read_all(&mut socket), b"", "before the hello");
    server.wait_for_log("TLS: the client sent the alert handshake_failure");

    let mut socket = connect(&server);
    socket.write_all(&[hello(), record(ALERT, &[FATAL, 48])].concat()).unwrap();
    assert!(read_all(&mut socket).starts_with(&[HANDSHAKE, 3, 3]), "in the place of Finished");
    server.wait_for_log("TLS: the client sent the alert unknown_ca");

    let mut client = Records::new(&server);
    client.send(ContentType::Alert, &[FATAL, 80]);
    assert_eq!(client.read_on(), Came::End);
    server.wait_for_log("TLS: the client sent the alert internal_error");

    let mut client = Records::new(&server);
    client.send_content(get("/bytes/30000000"));
    client.read_content(100_000);
    client.send(ContentType::Alert, &[FATAL, 20]);
    assert_eq!(client.read_alert(), None, "in the middle of a response");
    server.wait_for_log("TLS: the client sent the alert bad_record_mac");

    let mut client = Records::new(&server);
    for _ in 0..9 {
        client.send(ContentType::Alert, &USER_CANCELED);
    }
    assert_eq!(client.read_alert(), None, "more warnings than there may be");
    server.wait_for_log("TLS: peer misbehaved: TooManyWarningAlertsReceived");
    assert_well(&server);
}

#[test]
fn close_notify_in_the_middle_of_the_handshake_is_no_panic() {
    let server = serve(&[]);
    for bytes in [record(ALERT, &CLOSE_NOTIFY), [hello(), record(ALERT, &CLOSE_NOTIFY)].concat()] {
        let mut socket = connect(&server);
        socket.write_all(&bytes).unwrap();
        socket.shutdown(std::net::Shutdown::Write).unwrap();
        read_all(&mut socket);
    }
    assert_well(&server);
}

#[test]
fn records_may_be_small_and_some_empty_but_not_too_many() {
    let server = serve(&[]);
    let mut client = Records::new(&server);
    for byte in get("/plaintext").bytes() {
        client.send_content([byte]);
        client.send_content([]);
    }
    assert!(client.read_content(100).0.ends_with(b"Hello, World!"));
    for _ in 0..1000 {
        if !client.send_content([]) {
            break;
        }
    }
    assert_eq!(client.read_alert(), None);
    server.wait_for_log("TLS: peer misbehaved: TooManyEmptyFragments");
    assert_well(&server);
}

#[test]
fn what_breaks_the_protocol_behind_the_handshake_gets_an_alert() {
    let server = serve(&[]);
    type Case = (&'static str, fn(&mut Records), Option<u8>, &'static str);
    let cases: [Case; 9] = [
        ("a record too large", |client| assert!(client.send_content([b'x'; 16_385])), Some(RECORD_OVERFLOW), "TLS: "),
        (
            "plaintext",
            |client| client.socket.write_all(get("/plaintext").as_bytes()).unwrap(),
            Some(DECODE_ERROR),
            "TLS: received corrupt message of type InvalidContentType",
        ),
        (
            "a plain record",
            |client| client.socket.write_all(&record(23, &[7; 40])).unwrap(),
            Some(BAD_RECORD_MAC),
            "TLS: cannot decrypt peer's message",
        ),
        (
            "a record of before",
            |client| {
                let sealed = client.seal(ContentType::ApplicationData, b"GET ");
                client.socket.write_all(&[sealed.clone(), sealed].concat()).unwrap();
            },
            Some(BAD_RECORD_MAC),
            "TLS: cannot decrypt peer's message",
        ),
        (
            "another hello",
            |client| assert!(client.send(ContentType::Handshake, &hello()[5..])),
            Some(UNEXPECTED_MESSAGE),
            "TLS: received unexpected handshake message",
        ),
        (
            "a hello that is not encrypted",
            |client| client.socket.write_all(&hello()).unwrap(),
            Some(BAD_RECORD_MAC),
            "TLS: ",
        ),
        (
            "content in the middle of a message",
            |client| {
                client.send(ContentType::Handshake, &KEY_UPDATE[..2]);
                client.send_content("x");
            },
            None,
            "TLS: peer misbehaved: MessageInterleavedWithHandshakeMessage",
        ),
        (
            "an endless message",
            |client| {
                client.send(ContentType::Handshake, &[24, 0, 0xff, 0xf0]);
                for _ in 0..4000 {
                    client.send(ContentType::Handshake, &[0]);
                }
            },
            None,
            "TLS: a message is too large",
        ),
        (
            "a flood of KeyUpdates",
            |client| {
                for _ in 0..1000 {
                    client.update_keys(true);
                }
            },
            None,
            "TLS: peer misbehaved: TooManyKeyUpdateRequests",
        ),
    ];
    for (what, break_it, alert, line) in cases {
        for is_busy in [false, true] {
            let mut client = Records::new(&server);
            if is_busy {
                client.send_content(get("/bytes/1000000"));
            }
            break_it(&mut client);
            assert_eq!(client.read_alert(), alert, "{what}");
            server.wait_for_log(line);
        }
    }
    assert_well(&server);
}

#[test]
fn keys_are_updated_while_idle_and_while_a_response_runs() {
    let server = serve(&[]);
    let mut client = Records::new(&server);
    for asks in [true, false] {
        client.update_keys(asks);
        if asks {
            assert_eq!(client.read_on(), Came::Record(ContentType::Handshake, KEY_UPDATE.to_vec()), "at once");
        }
        client.send_content(get("/plaintext"));
        let (response, updates) = client.read_content(100);
        assert!(response.ends_with(b"Hello, World!") && updates == 0, "{}", response.escape_ascii());
    }
    client.send_content(get("/bytes/20000000"));
    let (first, _) = client.read_content(1_000_000);
    for asks in [true, false, true] {
        client.update_keys(asks);
    }
    let head = first.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    let (rest, updates) = client.read_content(head + 20_000_000 - first.len());
    assert_eq!(first.len() + rest.len(), head + 20_000_000);
    assert!((1..=2).contains(&updates), "{updates} answers");
    // A KeyUpdate that comes in two pieces is one.
    client.send(ContentType::Handshake, &KEY_UPDATE_ASKING[..2]);
    client.send(ContentType::Handshake, &KEY_UPDATE_ASKING[2..]);
    assert_eq!(client.read_on(), Came::Record(ContentType::Handshake, KEY_UPDATE.to_vec()));
    assert_well(&server);
}

#[test]
fn half_a_message_does_not_disturb_a_response() {
    let server = serve(&[]);
    let mut client = Records::new(&server);
    client.send_content(get("/bytes/3000000"));
    client.send(ContentType::Handshake, &KEY_UPDATE[..2]);
    let (response, _) = client.read_content(3_000_100);
    let head = response.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    assert_eq!(client.read_content(head + 3_000_000 - response.len()).0.len() + response.len(), head + 3_000_000);
}

#[test]
fn what_follows_close_notify_means_nothing() {
    let server = serve(&[]);
    for junk in [&b""[..], b"GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n", &[0; 50_000]] {
        let mut client = Records::new(&server);
        let mut bytes = client.seal(ContentType::ApplicationData, get("/plaintext").as_bytes());
        bytes.extend(client.seal(ContentType::Alert, &CLOSE_NOTIFY));
        bytes.extend(client.seal(ContentType::ApplicationData, get("/json").as_bytes()));
        bytes.extend_from_slice(junk);
        client.socket.write_all(&bytes).unwrap();
        let (response, _) = client.read_content(100);
        assert!(response.ends_with(b"Hello, World!"), "{}", response.escape_ascii());
        assert_eq!(client.read_on(), Came::Record(ContentType::Alert, CLOSE_NOTIFY.to_vec()));
    }
    assert_well(&server);
}

#[test]
fn nothing_is_renegotiated() {
    let server = serve(&[]);
    let mut client = Records::of_tls12(&server);
    client.send(ContentType::Handshake, &hello()[5..]);
    assert_eq!(client.read(), Came::Record(ContentType::Alert, vec![1, 100]), "no_renegotiation, which is a warning");
    client.send_content(get("/plaintext"));
    let Came::Record(ContentType::ApplicationData, response) = client.read() else { panic!("no response") };
    assert!(response.ends_with(b"Hello, World!"));
    client.send(ContentType::Handshake, &hello()[5..]);
    client.send(ContentType::Handshake, &hello()[5..]);
    client.read_alert();
    server.wait_for_log("TLS: peer misbehaved: TooManyRenegotiationRequests");
    assert_well(&server);
}

#[test]
fn many_half_hellos_are_no_load() {
    let server = serve(&[]);
    let half: Vec<TcpStream> = (0..200)
        .map(|_| {
            let mut socket = connect(&server);
            let hello = hello();
            socket.write_all(&hello[..hello.len() / 2]).unwrap();
            socket
        })
        .collect();
    assert_well(&server);
    let ticks = server.cpu_ticks();
    // The server's own timer says when 300 ms are over.
    Secure::new(&server).get("/delay/300");
    assert!(server.cpu_ticks() - ticks < 10, "it spins");
    drop(half);
}
