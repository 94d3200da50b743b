//! What a route says of the requests that it takes: how long their content may be, how long they may take, whether they are
//! logged.

use crate::files::Site;
use crate::frames::{DATA, END_STREAM, HEADERS, frame};
use crate::http2_client::{Http2, head};
use crate::logged::Logged;
use crate::proxy::{OK, Upstream, get};
use crate::support::{Server, field, status};

/// Routes in a file, in a folder that goes with the value.
fn file(routes: &str) -> (Site, String) {
    let site = Site::new().with("tidemill.toml", format!("[[site]]\n{routes}"));
    let flag = format!("--config={}", site.root.join("tidemill.toml").display());
    (site, flag)
}

/// A route to this upstream that takes 10 bytes, and a route that takes any number.
fn short_and_long(upstream: &Upstream) -> (Site, String) {
    let url = upstream.url();
    file(&format!(
        "[[site.route]]\npath = \"/short/\"\nproxy = \"{url}\"\nmax-upload-size = \"10\"\n\
         [[site.route]]\nproxy = \"{url}\"\n"
    ))
}

/// Nobody asks for it with 100 (Continue), and the upstream hears nothing. Ten bytes are not too long.
#[test]
fn content_that_is_announced_as_too_long_is_refused_at_once() {
    let upstream = Upstream::new();
    let (_site, config) = short_and_long(&upstream);
    let server = Server::start(&[&config]);
    let mut client = server.connect();
    client.send("POST /short/a HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 11\r\n\r\n");
    let (head, content) = client.read_response();
    assert_eq!(status(&head), "413", "{head}");
    assert_eq!(content, r#"{"error":"content_too_large","limit":10}"#);
    assert!(upstream.is_alone());
    server.wait_for_log("413 Content Too Large: the content is longer than 10 bytes (RFC 9110 §15.5.14)");
    for path in ["/short/a", "/long"] {
        let length = if path == "/long" { 11 } else { 10 };
        let mut client = server.connect();
        let content = "0123456789x".get(..length).unwrap();
        client.send(format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{content}"));
        let mut application = upstream.accept();
        assert!(application.read_head().starts_with("POST"));
        assert_eq!(application.read_exactly(length), content.as_bytes());
        application.send(OK);
        assert_eq!(status(&client.read_head()), "200");
    }
}

/// Chunks are counted as they come. The connection to the upstream ends, and its answer is not waited for.
#[test]
fn content_that_turns_out_too_long_is_refused_then() {
    let upstream = Upstream::new();
    let (_site, config) = short_and_long(&upstream);
    let server = Server::start(&[&config]);
    let mut client = server.connect();
    client.send("POST /short/a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n6\r\n012345\r\n");
    let mut application = upstream.accept();
    application.read_head();
    application.read_exactly("6\r\n012345\r\n".len());
    client.send("6\r\n012345\r\n");
    let response = client.read_head();
    assert_eq!(status(&response), "413", "{response}");
    assert_eq!(field(&response, "Connection"), Some("close"), "{response}");
    assert!(application.is_closed_by_server());
    server.wait_for_log("413 Content Too Large: the content is longer than it may be (RFC 9110 §15.5.14)");
}

/// The response has begun: it must not look complete.
#[test]
fn content_that_turns_out_too_long_behind_the_head_of_the_response_cuts_it() {
    let upstream = Upstream::new();
    let (_site, config) = short_and_long(&upstream);
    let server = Server::start(&[&config]);
    let mut client = server.connect();
    client.send("POST /short/a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n6\r\n012345\r\n");
    let mut application = upstream.accept();
    application.read_head();
    application.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegin");
    assert_eq!(status(&client.read_head()), "200");
    client.send("6\r\n012345\r\n");
    server.wait_for_log("cut in the middle of a response: the content is longer than it may be");
    assert!(application.is_closed_by_server());
}

#[test]
fn content_on_a_stream_is_counted_too() {
    let upstream = Upstream::new();
    let (_site, config) = short_and_long(&upstream);
    let server = Server::start(&[&config]);
    let mut client = Http2::new(server.connect(), 65535);
    // Announced: nobody asks the upstream.
    let announced = [&head("POST", "/short/a")[..], &[("content-length", "11")]].concat();
    client.ask(1, 0, &announced);
    client.read_until(|frame| frame.kind == HEADERS && frame.stream == 1 && contains(&frame.payload, "413"));
    assert!(upstream.is_alone());
    // Not announced.
    client.ask(3, 0, &head("POST", "/short/a"));
    client.client.send(frame(DATA, 0, 3, b"012345"));
    let mut application = upstream.accept();
    application.read_head();
    client.client.send(frame(DATA, 0, 3, b"012345"));
    client.read_until(|frame| frame.kind == DATA && frame.stream == 3 && contains(&frame.payload, "413"));
    assert!(application.is_closed_by_server());
    // The connection goes on, and so does a route without that limit.
    client.ask(5, 0, &head("POST", "/long"));
    client.client.send(frame(DATA, END_STREAM, 5, b"0123456789x"));
    let mut application = upstream.accept();
    application.read_head();
    application.send(OK);
    client.read_end_of(5);
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// The flag holds for all requests, and a route may say something else.
#[test]
fn a_route_may_take_more_than_all_others() {
    let server = Server::start(&["--max-upload-size=10"]);
    let post = |path: &str, n: usize| {
        let content = "x".repeat(n);
        format!("POST {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {n}\r\n\r\n{content}")
    };
    assert_eq!(status(&server.ask(&post("/echo", 11))), "413");
    assert_eq!(status(&server.ask(&post("/echo", 10))), "200");

    let (_site, config) = file(
        "lab = true\n[[site.route]]\npath = \"=/users\"\nlab = true\nmax-upload-size = \"20\"\nmax-body-size = \"15\"\n",
    );
    let server = Server::start(&["--max-upload-size=10", &config]);
    assert_eq!(status(&server.ask(&post("/echo", 11))), "413");
    // What is no user is no success either, but it was read.
    assert_eq!(status(&server.ask(&post("/users", 15))), "400");
    let response = server.ask(&post("/users", 16));
    assert!(status(&response) == "413" && response.contains(r#""limit":15"#), "{response}");
    let response = server.ask(&post("/users", 21));
    assert!(status(&response) == "413" && response.contains(r#""limit":20"#), "{response}");
}

/// Both requests are late by the route's timeout, while that of all others is an hour.
#[test]
fn a_route_has_a_timeout_of_its_own_for_content() {
    let (_site, config) =
        file("lab = true\n[[site.route]]\npath = \"=/users\"\nlab = true\nbody-timeout = \"100ms\"\n");
    let server = Server::start(&["--body-timeout=1h", &config]);
    let mut client = server.connect();
    client.send("POST /users HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nx");
    assert_eq!(status(&client.read_head()), "408");
    let mut client = Http2::new(server.connect(), 65535);
    client.ask(1, 0, &head("POST", "/users"));
    client.client.send(frame(DATA, 0, 1, b"x"));
    client.read_until(|frame| frame.kind == HEADERS && frame.stream == 1 && contains(&frame.payload, "408"));
}

/// A client that reads nothing is cut by the route's timeout, with either version.
#[test]
fn a_route_has_a_timeout_of_its_own_for_readers() {
    let (_site, config) = file("lab = true\nsend-timeout = \"200ms\"\n");
    let server = Server::start(&["--send-timeout=1h", &config]);
    let mut client = server.connect();
    client.send(get("/bytes/100000000"));
    server.wait_for_log("the client stopped reading");
    let mut other = Http2::new(server.connect(), (1 << 31) - 1);
    other.widen(0, (1 << 31) - 1 - 65535);
    other.get(1, "/bytes/100000000", "u=3");
    crate::support::wait_until("both are cut", || server.log().matches("the client stopped reading").count() == 2);
}

/// The log names the route of each request, and has nothing of those that are not to be logged.
#[test]
fn a_route_may_be_left_out_of_the_log() {
    let (_site, config) = file(
        "[[site.route]]\npath = \"=/quiet\"\nrespond = 204\nlog = false\n[[site.route]]\npath = \"/\"\nrespond = 200\n",
    );
    let logged = Logged::start("json", &[&config]);
    for path in ["/quiet", "/loud", "/quiet", "/last"] {
        logged.server.ask(&get(path).replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"));
    }
    let lines = logged.lines(2);
    assert!(lines[0].contains(r#""target":"/loud""#) && lines[1].contains(r#""target":"/last""#), "{lines:?}");
    assert!(lines[0].contains(r#""route":"/ at "#) && lines[0].contains("tidemill.toml:6:1"), "{lines:?}");
}

/// One folder, served in both ways. What lies next to a file in compressed form is sent in either.
#[test]
fn a_route_may_leave_files_uncompressed() {
    let site = Site::new().with("a.txt", "text ".repeat(1000)).with("b.txt", "b").with("b.txt.gz", "not looked at");
    let root = site.root.display();
    let (_config, config) = file(&format!(
        "root = \"{root}\"\n[[site.route]]\npath = \"/plain/\"\nroot = \"{root}\"\nstrip = true\ncompress = false\n"
    ));
    let server = Server::start(&[&config]);
    let ask = |path: &str| {
        server.ask(&get(path).replace("\r\n\r\n", "\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n"))
    };
    assert_eq!(field(&ask("/a.txt"), "Content-Encoding"), Some("gzip"));
    assert_eq!(field(&ask("/plain/a.txt"), "Content-Encoding"), None);
    assert_eq!(field(&ask("/plain/b.txt"), "Content-Encoding"), Some("gzip"));
}
