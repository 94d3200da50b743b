//! What upstreams send, coded on its way to the client (`compress`), and read by decoders that are not ours.

use std::fmt::Write as _;
use std::io::{ErrorKind, Read, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use flate2::{Decompress, FlushDecompress};

use crate::coding::{chunk, chunks, curl, decoded, described};
use crate::frames::{DATA, END_STREAM, RST_STREAM};
use crate::http2_client::{Http2, head};
use crate::proxy::Upstream;
use crate::support::{Client, Server, Uninterrupted, field, has_tool, status};

const BOTH: [&str; 2] = ["gzip", "zstd"];

fn page() -> String {
    (0..200).fold(String::new(), |mut page, line| {
        writeln!(page, "<p>line {line} of the page</p>").unwrap();
        page
    })
}

/// Sends a request with these further lines, and has the upstream answer it. What the upstream got, the client, and the head that
/// it got.
fn begin(upstream: &Upstream, server: &Server, line: &str, lines: &str, response: &str) -> (String, Client, String) {
    let mut client = server.connect();
    client.send(format!("{line} HTTP/1.1\r\nHost: a\r\n{lines}\r\n"));
    let mut application = upstream.accept();
    let request = application.read_head();
    application.send(response);
    application.finish();
    let head = client.read_head();
    (request, client, head)
}

/// A whole response with these field lines. Its connection ends with it.
fn response(status: &str, lines: &str, content: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{lines}Connection: close\r\n\r\n{content}")
}

/// A page that is worth coding, with these further lines.
fn html(lines: &str) -> String {
    let page = page();
    response("200 OK", &format!("Content-Type: text/html\r\nContent-Length: {}\r\n{lines}", page.len()), &page)
}

/// All lines of this field.
fn all<'a>(head: &'a str, name: &str) -> Vec<&'a str> {
    head.lines()
        .filter_map(|line| line.split_once(": ").filter(|(key, _)| *key == name).map(|(_, value)| value))
        .collect()
}

#[test]
fn what_is_worth_it_is_coded_and_its_fields_say_so() {
    let upstream = Upstream::new();
    let server = upstream.behind(" compress");
    let page = page();
    let described_by =
        "Content-Type: text/html; charset=utf-8\r\nETag: \"abc\"\r\nAccept-Ranges: bytes\r\nVary: Origin\r\n";
    let framed = [
        response("200 OK", &format!("{described_by}Content-Length: {}\r\n", page.len()), &page),
        response("200 OK", described_by, &page),
        response(
            "200 OK",
            &format!("{described_by}Transfer-Encoding: chunked\r\n"),
            &format!("{:x}\r\n{page}\r\n0\r\n\r\n", page.len()),
        ),
    ];
    for (response, coding) in framed.iter().flat_map(|response| BOTH.map(|coding| (response, coding))) {
        let accept = format!("Accept-Encoding: {coding}\r\n");
        let (request, mut client, head) = begin(&upstream, &server, "GET /", &accept, response);
        assert_eq!(field(&request, "Accept-Encoding"), Some(coding), "the upstream may code it itself");
        assert!(decoded(coding, &chunks(&mut client)) == page.as_bytes(), "{coding} {head}");
        let fields = ["Content-Encoding", "ETag", "Accept-Ranges", "Content-Length"].map(|name| field(&head, name));
        assert_eq!(fields, [Some(coding), Some("W/\"abc\""), None, None], "{head}");
        assert_eq!(all(&head, "Vary"), ["Origin", "Accept-Encoding"]);
        let (_, _, to_head) = begin(
            &upstream,
            &server,
            "HEAD /",
            &accept,
            response.split_once("\r\n\r\n").map(|(head, _)| format!("{head}\r\n\r\n")).unwrap().as_str(),
        );
        assert_eq!(described(&to_head), described(&head));
    }
    // Whoever wants it as it is gets what the upstream says of it, and hears that others may get something else.
    let (_, mut client, head) = begin(&upstream, &server, "GET /", "", &framed[0]);
    assert_eq!(client.read_exactly(page.len()), page.as_bytes());
    let length = page.len().to_string();
    let fields = ["Content-Encoding", "ETag", "Accept-Ranges", "Content-Length"].map(|name| field(&head, name));
    assert_eq!(fields, [None, Some("\"abc\""), Some("bytes"), Some(&*length)], "{head}");
    assert_eq!(all(&head, "Vary"), ["Origin", "Accept-Encoding"]);
}

#[test]
fn what_must_stay_as_it_is_does() {
    let upstream = Upstream::new();
    let server = upstream.behind(" compress");
    let accept = "Accept-Encoding: gzip\r\n";
    let long = "a".repeat(3000);
    let short = response("200 OK", "Content-Type: text/html\r\nContent-Length: 255\r\n", &"a".repeat(255));
    let picture = response("200 OK", "Content-Type: image/png\r\nContent-Length: 3000\r\n", &long);
    let part = response(
        "206 Partial Content",
        "Content-Type: text/html\r\nContent-Range: bytes 0-2999/9000\r\nContent-Length: 3000\r\n",
        &long,
    );
    let two_types = html("Content-Type: text/plain\r\n");
    let chunked = format!("{:x}\r\n{}\r\n0\r\n\r\n", page().len(), page());
    let announced = response(
        "200 OK",
        "Content-Type: text/html\r\nTransfer-Encoding: chunked\r\nTrailer: Content-Digest\r\n",
        &chunked,
    );
    let cases: [(&str, &str, &str); 13] = [
        ("a picture", accept, &picture),
        ("short", accept, &short),
        ("a part", accept, &part),
        ("coded already", accept, &html("Content-Encoding: br\r\n")),
        ("identity", accept, &html("Content-Encoding: identity\r\n")),
        ("no-transform", accept, &html("Cache-Control: max-age=5, no-transform\r\n")),
        ("a digest", accept, &html("Content-Digest: sha-256=:AA==:\r\n")),
        ("a digest behind it", accept, &announced),
        ("two types", accept, &two_types),
        ("without a type", accept, &response("200 OK", &format!("Content-Length: {}\r\n", page().len()), &page())),
        ("no content", accept, &response("204 No Content", "Content-Type: text/html\r\n", "")),
        ("for a part", "Accept-Encoding: gzip\r\nRange: bytes=0-\r\n", &html("ETag: \"a\"\r\n")),
        ("the client forbids it", "Accept-Encoding: gzip\r\nCache-Control: no-transform\r\n", &html("ETag: \"a\"\r\n")),
    ];
    for (what, lines, response) in cases {
        let (_, mut client, head) =
            begin(&upstream, &server, "GET /", &format!("{lines}Connection: close\r\n"), response);
        let (sent, content) = response.split_once("\r\n\r\n").unwrap();
        for name in ["Content-Encoding", "Content-Length", "ETag", "Content-Type"] {
            assert_eq!(field(&head, name), field(sent, name), "{what}: {head}");
        }
        let received = client.read_to_end();
        assert!(received == content, "{what}: {} bytes", received.len());
    }
    let plain = upstream.behind("");
    let (_, mut client, head) = begin(&upstream, &plain, "GET /", accept, &html("ETag: \"a\"\r\n"));
    assert_eq!(
        (field(&head, "Content-Encoding"), field(&head, "Vary"), field(&head, "ETag")),
        (None, None, Some("\"a\""))
    );
    assert_eq!(client.read_exactly(page().len()), page().as_bytes(), "nothing is coded unless the route says so");
}

#[test]
fn a_client_revalidates_what_it_has_under_the_tag_that_it_has() {
    let upstream = Upstream::new();
    let server = upstream.behind(" compress");
    for (sent, tag, expected) in [
        ("W/\"abc\"", "\"abc\"", "W/\"abc\""),
        ("\"x\", W/\"abc\"", "\"abc\"", "W/\"abc\""),
        ("\"abc\"", "\"abc\"", "\"abc\""),
        ("W/\"abc\", \"abc\"", "\"abc\"", "\"abc\""),
        ("*", "\"abc\"", "\"abc\""),
        ("W/\"abc\"", "W/\"abc\"", "W/\"abc\""),
    ] {
        let lines = format!("Accept-Encoding: gzip\r\nIf-None-Match: {sent}\r\n");
        let not_modified = response("304 Not Modified", &format!("ETag: {tag}\r\nContent-Length: 500\r\n"), "");
        let (request, _, head) = begin(&upstream, &server, "GET /", &lines, &not_modified);
        assert_eq!(field(&request, "If-None-Match"), Some(sent));
        let fields = ["ETag", "Vary", "Content-Length", "Content-Encoding"].map(|name| field(&head, name));
        assert_eq!(fields, [Some(expected), Some("Accept-Encoding"), None, None], "{sent}");
    }
}

/// Decodes pieces as they come.
enum Decoding {
    Gzip(Decompress, Vec<u8>),
    Zstd(zstd::stream::write::Decoder<'static, Vec<u8>>),
}

impl Decoding {
    fn new(coding: &str) -> Decoding {
        match coding {
            "gzip" => Decoding::Gzip(Decompress::new_gzip(15), Vec::with_capacity(4096)),
            _ => Decoding::Zstd(zstd::stream::write::Decoder::new(Vec::new()).unwrap()),
        }
    }

    fn add(&mut self, piece: &[u8]) {
        match self {
            Decoding::Gzip(gunzip, text) => {
                gunzip.decompress_vec(piece, text, FlushDecompress::Sync).unwrap();
            }
            Decoding::Zstd(unzstd) => unzstd.write_all(piece).and_then(|()| unzstd.flush()).unwrap(),
        }
    }

    fn text(&self) -> &[u8] {
        match self {
            Decoding::Gzip(_, text) => text,
            Decoding::Zstd(unzstd) => unzstd.get_ref(),
        }
    }
}

const EVENTS: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

#[test]
fn each_event_can_be_decoded_when_it_arrives() {
    let upstream = Upstream::new();
    let server = upstream.behind(" compress");
    for coding in BOTH {
        let mut client = server.connect();
        client.send(format!("GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: {coding}\r\n\r\n"));
        let mut application = upstream.accept();
        application.read_head();
        application.send(EVENTS);
        assert_eq!(field(&client.read_head(), "Content-Encoding"), Some(coding));
        let (mut decoding, mut events) = (Decoding::new(coding), String::new());
        for number in 0..3 {
            application.send(format!("9\r\ndata: {number}\n\n\r\n"));
            write!(events, "data: {number}\n\n").unwrap();
            // The next one is not sent before this one has come.
            while decoding.text() != events.as_bytes() {
                decoding.add(&chunk(&mut client));
            }
        }
        application.send("0\r\n\r\n");
        while !chunk(&mut client).is_empty() {}
    }
    let mut client = Http2::new(server.connect(), 65535);
    client.ask(1, END_STREAM, &[&head("GET", "/")[..], &[("accept-encoding", "gzip")]].concat());
    let mut application = upstream.accept();
    application.read_head();
    application.send(EVENTS);
    let mut decoding = Decoding::new("gzip");
    for number in 0..3 {
        application.send(format!("9\r\ndata: {number}\n\n\r\n"));
        client.read_until(|frame| {
            if frame.kind == DATA {
                decoding.add(&frame.payload);
            }
            decoding.text().ends_with(format!("data: {number}\n\n").as_bytes())
        });
    }
}

#[test]
fn a_response_that_is_cut_off_is_never_a_whole_one() {
    let upstream = Upstream::new();
    let server = upstream.behind(" compress");
    let page = page();
    for framing in ["Content-Length: 100000", "Transfer-Encoding: chunked"] {
        let content = if framing.starts_with("C") { page.clone() } else { format!("{:x}\r\n{page}\r\n", page.len()) };
        let response = format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n{framing}\r\n\r\n{content}");
        for (version, coding) in [("1.0", "gzip"), ("1.0", "zstd"), ("1.1", "gzip"), ("1.1", "zstd")] {
            let mut client = server.connect();
            client.send(format!("GET / HTTP/{version}\r\nHost: a\r\nAccept-Encoding: {coding}\r\n\r\n"));
            let mut application = upstream.accept();
            application.read_head();
            application.send(&response);
            drop(application);
            // To HTTP/1.0 the end of the connection is the end of the content, so that it has to be a reset.
            let mut received = Vec::new();
            let ended = client.stream.read_to_end(&mut received).map_err(|error| error.kind());
            assert_eq!(ended, Err(ErrorKind::ConnectionReset), "{version} {coding} {framing}");
            let at = memchr::memmem::find(&received, b"\r\n\r\n").expect("a head") + 4;
            let head = std::str::from_utf8(&received[..at]).unwrap();
            assert_eq!(field(head, "Content-Encoding"), Some(coding));
            assert!(!received.ends_with(b"\r\n0\r\n\r\n"), "{version} {coding} {framing}");
            if version == "1.0" {
                let content = &received[at..];
                let is_whole = match coding {
                    "gzip" => flate2::read::GzDecoder::new(content).read_to_end(&mut Vec::new()).is_ok(),
                    _ => !content.is_empty() && zstd::decode_all(content).is_ok(),
                };
                assert!(!is_whole, "the coded content has no end");
            }
        }
        let mut client = Http2::new(server.connect(), 65535);
        client.ask(1, END_STREAM, &[&head("GET", "/")[..], &[("accept-encoding", "gzip")]].concat());
        let mut application = upstream.accept();
        application.read_head();
        application.send(&response);
        drop(application);
        client.read_until(|frame| {
            assert!(frame.stream != 1 || !frame.has(END_STREAM) || frame.kind == RST_STREAM, "a part is no whole");
            frame.stream == 1 && frame.kind == RST_STREAM
        });
    }
}

#[test]
fn a_client_of_http_1_0_gets_coded_content_up_to_the_end_of_the_connection() {
    let upstream = Upstream::new();
    let server = upstream.behind(" compress");
    let mut client = server.connect();
    client.send("GET / HTTP/1.0\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n");
    let mut application = upstream.accept();
    application.read_head();
    application.send(html(""));
    application.finish();
    let head = client.read_head();
    assert_eq!((field(&head, "Content-Encoding"), field(&head, "Transfer-Encoding")), (Some("gzip"), None));
    let mut content = Vec::new();
    while !client.is_closed_by_server_into(&mut content) {}
    assert!(decoded("gzip", &content) == page().as_bytes());
}

#[test]
fn trailers_pass_but_for_those_about_bytes_that_are_others_now() {
    let upstream = Upstream::new();
    let server = upstream.behind(" compress");
    let page = page();
    let content = format!("{:x}\r\n{page}\r\n0\r\nX-T: 1\r\nContent-Digest: sha-256=:AA==:\r\n\r\n", page.len());
    let response = response("200 OK", "Content-Type: text/html\r\nTransfer-Encoding: chunked\r\n", &content);
    let (_, mut client, head) =
        begin(&upstream, &server, "GET /", "Accept-Encoding: gzip\r\nTE: trailers\r\n", &response);
    assert_eq!(field(&head, "Content-Encoding"), Some("gzip"));
    while !chunk(&mut client).is_empty() {}
    assert_eq!(client.read_exactly(10), b"X-T: 1\r\n\r\n");
}

#[test]
fn an_upstream_is_read_from_no_faster_than_the_client_reads() {
    let upstream = Upstream::new();
    let server = upstream.behind(" compress");
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: zstd\r\n\r\n");
    let mut application = upstream.accept();
    application.read_head();
    application.send("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n");
    // Content that hardly gets smaller, so that what is not read stays large.
    let mut state = 1_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    let piece: Vec<u8> = (0..1 << 20).map(|_| random()).collect();
    application.stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let mut sent = Vec::new();
    loop {
        let at = sent.len() % piece.len();
        match Uninterrupted(&mut application.stream).write(&piece[at..]) {
            Ok(n) => sent.extend_from_slice(&piece[at..at + n]),
            Err(_) => break,
        }
        assert!(sent.len() < 256 << 20, "the server takes what nobody reads");
    }
    assert!(server.peak_kib() < 24 * 1024, "{} KiB", server.peak_kib());
    application.finish();
    assert_eq!(field(&client.read_head(), "Content-Encoding"), Some("zstd"));
    assert!(decoded("zstd", &chunks(&mut client)) == sent, "nothing is lost meanwhile");
}

/// The same page through tools: each decodes by itself.
#[test]
fn curl_and_the_tools_of_the_codings_read_it() {
    if !has_tool("curl") {
        return;
    }
    let upstream = Upstream::new();
    let server = upstream.behind(" compress");
    let url = format!("http://{}/", server.address);
    let answer = |response: &str| {
        let mut application = upstream.accept();
        let request = application.read_head();
        application.send(response);
        application.finish();
        request
    };
    for flags in [&["--http1.1"][..], &["--http1.0"], &["--http2-prior-knowledge"]] {
        let child = curl(&[flags, &["-i"]].concat(), &url);
        let request = answer(&html("ETag: \"abc\"\r\n"));
        assert!(field(&request, "Accept-Encoding").unwrap().contains("gzip"), "{request}");
        let output = child.wait_with_output().unwrap();
        let shown = String::from_utf8(output.stdout).unwrap();
        let (head, content) = shown.split_once("\r\n\r\n").unwrap();
        assert!(output.status.success() && content == page(), "{flags:?}");
        assert!(field(head, "Content-Encoding").is_some_and(|coding| BOTH.contains(&coding)), "{flags:?}: {head}");
    }
    // What is cut off is an error, and not a short page.
    let child = curl(&[], &url);
    answer("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 9000\r\n\r\n<p>the beginning");
    assert!(!child.wait_with_output().unwrap().status.success());
    for (coding, tool) in [("gzip", "gzip"), ("zstd", "zstd")] {
        if !has_tool(tool) {
            continue;
        }
        let mut command = Command::new("curl");
        command
            .args(["-sS", "--max-time", "20", "-H", &format!("Accept-Encoding: {coding}"), &url])
            .stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        answer(&html(""));
        let decoder = Command::new(tool).arg("-dc").stdin(child.stdout.take().unwrap()).output().unwrap();
        assert!(decoder.status.success() && decoder.stdout == page().as_bytes(), "{tool}");
        assert!(child.wait().unwrap().success());
    }
    // A part is a part of what the upstream has.
    let child = curl(&["-r", "3-9", "-i"], &url);
    let part = response(
        "206 Partial Content",
        "Content-Type: text/html\r\nContent-Range: bytes 3-9/6090\r\nContent-Length: 7\r\n",
        "line 0 ",
    );
    assert_eq!(field(&answer(&part), "Range"), Some("bytes=3-9"));
    let output = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    assert_eq!((status(&output), field(&output, "Content-Encoding")), ("206", None));
    assert!(output.ends_with("\r\n\r\nline 0 "), "{output}");
}
