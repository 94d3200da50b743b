//! `explain -2`: the frames that are explained are the frames that are sent.

use crate::frames::{DATA, END_STREAM, GOAWAY, RST_STREAM};
use crate::http2_client::{Http2, head};
use crate::site::Site;
use crate::support::Server;
use crate::{Asked, Page, tidemill};

/// The frames on the first stream, and GOAWAY, as far as they are the same each time: name, length and flags. The date has
/// not always as many bytes, so HEADERS have no length.
fn told(page: &Page) -> Vec<String> {
    let (_, server) = page.0.split_once("the server sends\n").expect("what the server sends");
    let frames = server.lines().filter_map(|line| line.get(30..).filter(|_| line.as_bytes()[2..4] == *b"00"));
    let of_stream = frames.filter(|text| text.contains(" on stream 1,") || text.starts_with("GOAWAY"));
    let fixed = of_stream.map(|text| text.split(" (RFC").next().unwrap().replace(" on stream 1", ""));
    fixed.map(|text| if text.starts_with("HEADERS") { without_length(&text) } else { text }).collect()
}

fn without_length(text: &str) -> String {
    let parts = text.split(", ").enumerate().filter(|(nth, _)| *nth != 1);
    parts.map(|(_, part)| part).collect::<Vec<_>>().join(", ")
}

/// The same of what a server sends, up to the end of the stream or of the connection, or until the window is shut.
fn sent(client: &mut Http2, content_max: usize) -> Vec<String> {
    let (mut frames, mut content) = (Vec::new(), 0);
    loop {
        let frame = client.read();
        let flag = |flag, name| if frame.has(flag) { name } else { "" };
        let length = frame.payload.len();
        match (frame.kind, frame.stream) {
            (DATA, 1) => frames.push(format!("DATA, {length} bytes{}", flag(END_STREAM, ", END_STREAM"))),
            (1, 1) if frame.has(END_STREAM) => frames.push("HEADERS, END_STREAM END_HEADERS".into()),
            (1, 1) => frames.push("HEADERS, END_HEADERS".into()),
            (RST_STREAM, 1) => frames.push(format!("RST_STREAM, {length} bytes")),
            (GOAWAY, 0) => frames.push(format!("GOAWAY, {length} bytes")),
            _ => continue,
        }
        content += if frame.kind == DATA { length } else { 0 };
        let is_over = frame.kind == RST_STREAM || frame.kind == GOAWAY || frame.has(END_STREAM);
        if is_over || content >= content_max {
            return frames;
        }
    }
}

/// The same with DATA put together: how content is cut depends on what was in the outbox before.
fn joined(frames: Vec<String>) -> (Vec<String>, u64) {
    let (data, others): (Vec<String>, Vec<String>) = frames.into_iter().partition(|frame| frame.starts_with("DATA"));
    let length = |frame: &String| frame.split(' ').nth(1).unwrap().parse::<u64>().unwrap();
    let end = data.last().filter(|last| last.ends_with("END_STREAM")).map(|_| "END_STREAM on DATA".to_owned());
    (others.into_iter().chain(end).collect(), data.iter().map(length).sum())
}

#[track_caller]
fn assert_explained(server: &Server, request: &str, fields: &[(&str, &str)], others: &[&str]) -> Page {
    let given: Vec<String> = fields.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    let given: Vec<&str> = given.iter().map(String::as_str).collect();
    let page = Page::of(Asked { request, fields: &given }, &[&["-2"], others].concat());
    let (method, target) = request.split_once(' ').unwrap();
    let mut client = Http2::new(server.connect(), 65_535);
    client.ask(1, END_STREAM, &[&head(method, target)[..], fields].concat());
    assert_eq!(joined(told(&page)), joined(sent(&mut client, 65_535)), "{request}\n{}", page.0);
    page
}

#[test]
fn the_lab_sends_the_frames_that_are_explained() {
    let server = Server::start_untortured(&[]);
    for request in
        ["GET /plaintext", "HEAD /json", "GET /nothing", "POST /plaintext", "GET /delay/20", "GET /bytes/40000"]
    {
        let page = assert_explained(&server, request, &[], &[]);
        page.assert_line("stream", "closed; the connection is kept");
        assert!(page.0.contains("stream 1: half-closed (remote) → closed"), "{}", page.0);
    }
    let large = assert_explained(&server, "GET /bytes/200000", &[], &[]);
    large.assert_line("stream", "its window is shut after 65535 bytes");
    let wrong = assert_explained(&server, "GET /", &[("connection", "close")], &[]);
    wrong.assert_line("refused", "a connection-specific field (RFC 9113 §8.2.2)");
    wrong.assert_line("answer", "none: RST_STREAM on stream 1");
    let refused = assert_explained(&server, "GET /", &[("expect", "the impossible")], &[]);
    refused.assert_line("answer", "417 Expectation Failed");
}

#[test]
fn files_are_sent_as_explained() {
    let site = Site::new();
    let server = Server::start_untortured(&[site.path()]);
    let page = assert_explained(&server, "GET /lines.txt", &[("accept-encoding", "gzip")], &[site.path()]);
    page.assert_line("answer", "200 OK");
    assert!(page.line("on a thread").is_some() && page.line("while hot").is_some(), "{}", page.0);
    let large = assert_explained(&server, "GET /large.bin", &[("range", "bytes=0-65535")], &[site.path()]);
    large.assert_line("answer", "206 Partial Content");
    let large = assert_explained(&server, "GET /large.bin", &[], &[site.path()]);
    large.assert_line("send path", "read from the page cache into frames: 600000 bytes");
}

#[test]
fn fields_are_shown_as_they_are_represented() {
    let page = Page::of(
        Asked { request: "GET /a", fields: &["Authorization: Basic YWJj", "X-Twice: 1", "x-twice: 1"] },
        &["-2"],
    );
    let fields: Vec<&str> = page.0.lines().filter(|line| line.starts_with("    ")).collect();
    for (hex, how, field) in [
        ("82", "indexed, static 2 (§6.1)", ":method: GET"),
        ("04 02 2f 61", "literal, name static 4 (§6.2.2)", ":path: /a"),
        ("1f 08 88 ba 34 18 8a 73 …", "never indexed, name static 23, Huffman (§6.2.3)", "authorization: Basic YWJj"),
        ("00 85 f2 b2 7c 18 85 01 31", "literal (§6.2.2)", "x-twice: 1"),
        ("40 85 f2 b2 7c 18 85 01 31", "literal, added (§6.2.1)", "x-twice: 1"),
        ("8d", "indexed, static 13 (§6.1)", ":status: 404"),
    ] {
        let is_it = |line: &&str| line.trim_start().starts_with(hex) && line.contains(how) && line.ends_with(field);
        let found = fields.iter().any(is_it);
        assert!(found, "no {hex} {how} {field}\n{}", page.0);
    }
}

#[test]
fn what_http2_does_not_have_is_refused() {
    for (arguments, message) in [
        (["explain", "-2", "GET / HTTP/1.0"], "invalid value 'GET / HTTP/1.0' for '<REQUEST>'"),
        (["explain", "-2", "GET"], "invalid value 'GET' for '<REQUEST>'"),
        (["explain", "-2", "--no-http2"], "required"),
    ] {
        let output = tidemill(&arguments);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains(message), "{stderr}");
    }
    let output = tidemill(&["explain", "-2", "--no-http2", "GET /"]);
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "tidemill: '--http2' cannot be used with '--no-http2'; see --help\n"
    );
}
