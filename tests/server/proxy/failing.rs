//! Upstreams that fail: what is tried again, and what the client and the log are told.

use std::time::Duration;

use super::{OK, Upstream, get, refusing};
use crate::frames::{DATA, END_STREAM, PING, frame};
use crate::http2_client::{Http2, head};
use crate::support::{Server, status};
#[cfg(feature = "tls")]
use crate::tls_client::corpus;

/// An upstream that accepts, and then says nothing in the TLS handshake.
#[cfg(feature = "tls")]
fn silent() -> (Upstream, String) {
    let upstream = Upstream::new();
    let url = upstream.url().replace("http:", "https:");
    (upstream, url)
}

/// More than is kept for another try, and than all buffers of a request have room for.
const UPLOAD: usize = 300_000;

#[test]
fn an_upload_of_any_size_goes_to_another_address_if_no_byte_of_it_was_written() {
    let upstream = Upstream::new();
    for framing in [format!("Content-Length: {UPLOAD}"), "Transfer-Encoding: chunked".to_owned()] {
        // A server of its own, so that the address which refuses has its turn first.
        let server =
            Server::start(&["--log-level", "info", "--proxy", &format!("/={},{}", refusing(), upstream.url())]);
        let is_chunked = framing.starts_with('T');
        let content = vec![b'x'; UPLOAD];
        let mut request = format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n").into_bytes();
        match is_chunked {
            false => request.extend(&content),
            true => {
                request.extend(format!("{UPLOAD:x}\r\n").as_bytes());
                request.extend(&content);
                request.extend(b"\r\n0\r\n\r\n");
            }
        }
        let mut client = server.connect();
        let writer = client.stream.try_clone().unwrap();
        let sending = std::thread::spawn(move || std::io::Write::write_all(&mut &writer, &request).unwrap());
        let mut application = upstream.accept();
        application.read_head();
        match is_chunked {
            false => assert_eq!(application.read_exactly(UPLOAD), content),
            true => {
                let mut arrived = 0;
                while arrived < UPLOAD {
                    arrived += super::read_chunk(&mut application).len();
                }
                assert_eq!(application.read_exactly(5), b"0\r\n\r\n");
            }
        }
        application.send(OK);
        assert_eq!(status(&client.read_response().0), "200", "{}", server.log());
        sending.join().unwrap();
        assert!(server.log().contains("retry=connect-refused"), "{}", server.log());
    }
}

#[test]
fn an_upload_over_http2_goes_to_another_address_if_no_byte_of_it_was_written() {
    let upstream = Upstream::new();
    let server = Server::start(&["--log-level", "info", "--proxy", &format!("/={},{}", refusing(), upstream.url())]);
    let mut client = Http2::new(server.connect(), 65535);
    client.ask(1, 0, &[&head("POST", "/")[..], &[("content-length", "60000")]].concat());
    // As much as the first window has room for.
    for n in 0..6 {
        client.client.send(frame(DATA, if n == 5 { END_STREAM } else { 0 }, 1, &[b'x'; 10_000]));
    }
    let mut application = upstream.accept();
    application.read_head();
    assert_eq!(application.read_exactly(60_000).len(), 60_000);
    application.send(OK);
    client.read_end_of(1);
    assert!(server.log().contains("retry=connect-refused"), "{}", server.log());
}

#[test]
#[cfg(feature = "tls")]
fn a_client_is_not_late_with_content_that_waits_for_a_connection() {
    let (upstream, (silent, secured)) = (Upstream::new(), silent());
    let route = format!("/={secured},{} connect-timeout=700ms", upstream.url());
    let server = Server::start(&["--body-timeout", "200ms", "--proxy", &route]);
    let mut client = server.connect();
    client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {UPLOAD}\r\n\r\n"));
    let writer = client.stream.try_clone().unwrap();
    let sending = std::thread::spawn(move || std::io::Write::write_all(&mut &writer, &vec![b'x'; UPLOAD]).unwrap());
    let _silent = silent.accept();
    // Longer than the client may take: that nothing comes of that is what is tested.
    std::thread::sleep(Duration::from_millis(400));
    let mut application = upstream.accept();
    application.read_head();
    assert_eq!(application.read_exactly(UPLOAD).len(), UPLOAD);
    application.send(OK);
    assert_eq!(status(&client.read_response().0), "200", "{}", server.log());
    sending.join().unwrap();
}

/// A server with an https: listener whose certificate no proxy accepts, and its URL.
#[cfg(feature = "tls")]
fn untrusted() -> (Server, String) {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tidemill"));
    command.args(["--listen", "https:127.0.0.1:0"]);
    command.arg("--tls-cert").arg(corpus("ec.pem")).arg("--tls-key").arg(corpus("ec-sec1-key.pem"));
    let server = Server::spawn(command);
    let url = format!("https://{}", server.address);
    (server, url)
}

#[test]
#[cfg(feature = "tls")]
fn why_a_certificate_is_refused_is_told_and_it_is_not_tried_twice_at_one_address() {
    let (_secured, url) = untrusted();
    let server = Server::start(&["--access-log", "--log-format", "json", "--proxy", &format!("/={url}")]);
    let mut client = server.connect();
    client.send(get("/"));
    let (head, content) = client.read_response();
    assert_eq!(status(&head), "502");
    let why = "TLS: the certificate is that of an authority (CA:TRUE), and not of a server";
    assert!(content.contains(&format!(r#""phase":"tls","why":"{why}"#)), "{content}");
    server.wait_for_log(" WARN ");
    let log = server.log();
    let warning = log.lines().find(|line| line.contains(" WARN ")).unwrap();
    assert!(warning.contains("502 Bad Gateway: upstream") && warning.contains(why), "{warning}");
    assert!(!log.contains("retry="), "{log}");

    // Another address may have another certificate.
    let upstream = Upstream::new();
    let server = Server::start(&["--proxy", &format!("/={url},{}", upstream.url())]);
    let mut client = server.connect();
    client.send(get("/"));
    let mut application = upstream.accept();
    application.read_head();
    application.send(OK);
    assert_eq!(client.read_response().1, "ok");
    assert!(server.log().contains("retry=nothing-written"), "{}", server.log());
}

#[test]
#[cfg(feature = "tls")]
fn a_connection_that_takes_too_long_is_tried_once_at_each_address() {
    let ((first, first_url), (second, second_url)) = (silent(), silent());
    let server = Server::start(&["--proxy", &format!("/={first_url} connect-timeout=50ms")]);
    let mut client = server.connect();
    client.send(get("/"));
    assert_eq!(status(&client.read_response().0), "504");
    first.accept();
    assert!(first.is_alone(), "it is not tried again");

    let server = Server::start(&["--proxy", &format!("/={first_url},{second_url} connect-timeout=50ms")]);
    let mut client = server.connect();
    client.send(get("/"));
    assert_eq!(status(&client.read_response().0), "504");
    first.accept();
    second.accept();
    assert!(first.is_alone() && second.is_alone(), "each is tried once");
}

#[test]
fn a_request_that_no_upstream_has_room_for_is_told_its_route() {
    let upstream = Upstream::new();
    let server = upstream.behind(" max=1");
    // One is served, 100 wait, and all others are turned away.
    let mut clients = [0; 2].map(|_| Http2::new(server.connect(), 65535));
    for client in &mut clients {
        (0..60).for_each(|n| client.ask(2 * n + 1, END_STREAM, &head("GET", "/")));
        // Its answer shows that what comes before it has been looked at.
        client.client.send(frame(PING, 0, 0, b"12345678"));
        client.read_until(|frame| frame.kind == PING);
    }
    let [_, mut last] = clients;
    last.ask(121, END_STREAM, &head("GET", "/"));
    last.read_until(|frame| {
        let is_it = frame.stream == 121 && frame.kind == DATA;
        if is_it {
            assert_eq!(
                String::from_utf8_lossy(&frame.payload),
                r#"{"error":"upstream_unavailable","route":"/","why":"all of its addresses have as many requests as they may"}"#
            );
        }
        is_it
    });
}
