//! Upstreams that fail: what is tried again, and what the client and the log are told.

use std::time::Duration;

use super::{OK, Upstream, refusing};
use crate::frames::{DATA, END_STREAM, frame};
use crate::http2_client::{Http2, head};
use crate::support::{Server, status};

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
    // It accepts, and says nothing in the handshake.
    let (silent, upstream) = (Upstream::new(), Upstream::new());
    let secured = silent.url().replace("http:", "https:");
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
