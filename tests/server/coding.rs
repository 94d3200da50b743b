//! Responses that are coded while they are sent, read by decoders that are not ours.

use std::fs;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use flate2::{Decompress, FlushDecompress};

use crate::files::Site;
use crate::support::{Client, Server, field, has_tool, status, wait_until};

/// Files up to this length are compressed as a whole.
const WHOLE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Responses that are coded at a time.
const STREAMS_MAX: usize = 256;

/// The head of the answer to a request with these further lines, on a connection that stays open.
fn begin(server: &Server, request_line: &str, lines: &str) -> (Client, String) {
    let mut client = server.connect();
    client.send(format!("{request_line} HTTP/1.1\r\nHost: a\r\n{lines}\r\n"));
    let head = client.read_head();
    (client, head)
}

/// The head alone.
fn head_of(server: &Server, request_line: &str, lines: &str) -> String {
    begin(server, request_line, lines).1
}

/// The next chunk; empty at the end of the content, whose trailers are left.
pub fn chunk(client: &mut Client) -> Vec<u8> {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        line.extend(client.read_exactly(1));
    }
    let size = usize::from_str_radix(std::str::from_utf8(&line).unwrap().trim(), 16).unwrap();
    let content = client.read_exactly(size);
    if size > 0 {
        assert_eq!(client.read_exactly(2), b"\r\n");
    }
    content
}

/// All chunks, and the blank line behind them.
pub fn chunks(client: &mut Client) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        match chunk(client) {
            last if last.is_empty() => {
                assert_eq!(client.read_exactly(2), b"\r\n");
                return all;
            }
            next => all.extend(next),
        }
    }
}

/// What a decoder of `coding` makes of complete content.
pub fn decoded(coding: &str, content: &[u8]) -> Vec<u8> {
    let mut all = Vec::new();
    match coding {
        "zstd" => all = zstd::decode_all(content).unwrap(),
        "gzip" => assert!(flate2::read::GzDecoder::new(content).read_to_end(&mut all).is_ok()),
        other => panic!("{other} was not asked for"),
    }
    all
}

/// A whole answer: head, and content decoded.
fn ask(server: &Server, request_line: &str, lines: &str) -> (String, Vec<u8>) {
    let (mut client, head) = begin(server, request_line, lines);
    let content = match field(&head, "Content-Length") {
        Some(length) => client.read_exactly(length.parse().unwrap()),
        None => chunks(&mut client),
    };
    let content = match field(&head, "Content-Encoding") {
        Some(coding) => decoded(coding, &content),
        None => content,
    };
    (head, content)
}

fn coding_of<'a>(server: &Server, target: &str, head: &'a mut String) -> Option<&'a str> {
    *head = begin(server, &format!("GET {target}"), "Accept-Encoding: gzip, deflate, br, zstd\r\n").1;
    field(head, "Content-Encoding")
}

/// The fields of a head that say what the content is, without `Date`.
pub fn described(head: &str) -> Vec<&str> {
    head.lines().filter(|line| !line.starts_with("Date")).collect()
}

#[test]
fn each_line_can_be_decoded_when_it_arrives() {
    let server = Server::start(&[]);
    // The second line comes in an hour: what can be decoded now came by itself.
    for target in ["/sheep?every=60m", "/sse?every=60m"] {
        let (mut client, head) = begin(&server, &format!("GET {target}"), "Accept-Encoding: gzip\r\n");
        assert_eq!((field(&head, "Content-Encoding"), field(&head, "Content-Length")), (Some("gzip"), None));
        let (mut gunzip, mut line) = (Decompress::new_gzip(15), Vec::with_capacity(1000));
        while !line.ends_with(b"\n") {
            gunzip.decompress_vec(&chunk(&mut client), &mut line, FlushDecompress::Sync).unwrap();
        }
        assert!(line.starts_with(b"0\n") || line.starts_with(b"id: 0\n"), "{:?}", String::from_utf8_lossy(&line));
        let (mut client, head) = begin(&server, &format!("GET {target}"), "Accept-Encoding: zstd\r\n");
        assert_eq!(field(&head, "Content-Encoding"), Some("zstd"));
        let mut unzstd = zstd::stream::write::Decoder::new(Vec::new()).unwrap();
        while !unzstd.get_ref().ends_with(b"\n") {
            unzstd.write_all(&chunk(&mut client)).unwrap();
            unzstd.flush().unwrap();
        }
    }
}

/// curl, with its output to be read.
pub fn curl(arguments: &[&str], url: &str) -> Child {
    let mut command = Command::new("curl");
    command.args(["-sSN", "--compressed", "--max-time", "20"]).args(arguments).arg(url).stdout(Stdio::piped());
    command.spawn().unwrap()
}

#[test]
fn curl_shows_each_line_when_it_arrives() {
    if !has_tool("curl") {
        return;
    }
    let server = Server::start(&[]);
    let mut child = curl(&[], &format!("http://{}/sheep?every=60m", server.address));
    let mut line = [0; 2];
    child.stdout.as_mut().unwrap().read_exact(&mut line).unwrap();
    assert_eq!(&line, b"0\n");
    child.kill().unwrap();
    child.wait().unwrap();
    let all = curl(&[], &format!("http://{}/sheep?n=2000&every=0", server.address)).wait_with_output().unwrap();
    assert!(all.status.success());
    let expected: String = (0..2000).map(|n| format!("{n}\n")).collect();
    assert!(all.stdout == expected.as_bytes());
    let tail = curl(&["-i"], &format!("http://{}/trailers", server.address)).wait_with_output().unwrap();
    let tail = String::from_utf8(tail.stdout).unwrap();
    assert!(tail.contains("Content-Encoding: ") && tail.contains("one\ntwo\nthree\n"), "{tail}");
}

#[test]
fn what_is_produced_is_coded_and_a_head_says_the_same() {
    let site = Site::new().with("404.html", "<p>there is nothing of this name</p>\n".repeat(20)).with("d/x", "");
    let server = site.serve(&["--lab", "--browse"]);
    let page = "Accept: text/html\r\n";
    let cases = [
        ("/d/", page, "<!doctype html>"),
        ("/d/", "Accept: application/json\r\n", "{\"path\":"),
        ("/nothing", "", "<p>there is nothing"),
        ("/sheep?n=5&every=0", "", "0\n1\n"),
        ("/drip?bytes=256&over=0", "", "ABC"),
    ];
    for (target, lines, start) in cases {
        for coding in ["gzip", "zstd"] {
            let lines = format!("{lines}Accept-Encoding: {coding}\r\n");
            let (head, content) = ask(&server, &format!("GET {target}"), &lines);
            assert_eq!(field(&head, "Content-Encoding"), Some(coding), "{target}");
            assert!(content.starts_with(start.as_bytes()), "{target}: {:?}", String::from_utf8_lossy(&content));
            assert!(head.contains("\r\nVary: Accept-Encoding\r\n"), "{target}: {head}");
            assert_eq!((field(&head, "Content-Length"), field(&head, "ETag")), (None, None), "{target}");
            let to_head = head_of(&server, &format!("HEAD {target}"), &lines);
            assert_eq!(described(&to_head), described(&head), "{target}");
        }
        let (head, content) = ask(&server, &format!("GET {target}"), lines);
        assert_eq!(field(&head, "Content-Encoding"), None, "{target}");
        assert!(head.contains("\r\nVary: Accept-Encoding\r\n") && content.starts_with(start.as_bytes()), "{target}");
    }
    // The page that is built in shows the path, and the line of text is too short.
    let bare = Site::new();
    let bare = bare.serve(&[]);
    for lines in [page, ""] {
        let (head, _) = ask(&bare, "GET /nothing", &format!("{lines}Accept-Encoding: gzip\r\n"));
        assert_eq!((status(&head), field(&head, "Content-Encoding")), ("404", None));
    }
}

#[test]
fn what_repeats_the_request_or_is_small_is_not_coded() {
    let server = Server::start(&["--admin", "127.0.0.1:0"]);
    let long = "x".repeat(3000);
    let head = &mut String::new();
    for target in ["/plaintext", "/json", "/bytes/100000", "/drip?bytes=255&over=0", "/status/404", "/nothing"] {
        assert_eq!(coding_of(&server, target, head), None, "{target}");
    }
    for target in [format!("/users/{long}"), format!("/headers?{long}"), format!("/bytes/{long}")] {
        assert_eq!(coding_of(&server, &target, head), None, "it repeats what was asked");
        let length: usize = field(head, "Content-Length").unwrap().parse().unwrap();
        assert!(length > 3000, "{head}");
    }
    let post = |target: &str, content: &str| {
        let lines = format!(
            "Accept-Encoding: gzip\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{content}",
            content.len()
        );
        let mut client = server.connect();
        client.send(format!("POST {target} HTTP/1.1\r\nHost: a\r\n{lines}"));
        client.read_response()
    };
    for (target, content) in [("/echo", long.clone()), ("/users", format!("\"{long}\""))] {
        let (head, answer) = post(target, &content);
        assert_eq!((status(&head), field(&head, "Content-Encoding")), ("200", None), "{target}");
        assert!(answer.contains(&long), "{target}");
    }
    // Those who look in see targets that anybody may have asked for.
    let mut admin = Client::new(std::net::TcpStream::connect(server.admin()).unwrap());
    admin.send("GET /metrics HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n");
    assert!(!admin.read_to_end().contains("Content-Encoding"));
}

#[test]
fn an_odd_wish_gets_an_answer() {
    let server = Server::start(&[]);
    let cases = [
        ("gzip;q=nought, gzip;q=7, \"gzip\", ,,;q=1, gzip zstd", None),
        ("gzip;level=9", None),
        ("GZIP ; Q=1.000", Some("gzip")),
        ("\u{e9}, x-gzip", Some("gzip")),
        ("*;q=0.001", Some("zstd")),
        ("*;q=0", None),
    ];
    for (wish, coding) in cases {
        let (head, content) = ask(&server, "GET /sheep?n=3&every=0", &format!("Accept-Encoding: {wish}\r\n"));
        assert_eq!((status(&head), field(&head, "Content-Encoding")), ("200", coding), "{wish}");
        assert_eq!(content, b"0\n1\n2\n", "{wish}");
    }
    let lines = "Accept-Encoding: gzip\r\nCache-Control: no-transform\r\n";
    assert_eq!(field(&ask(&server, "GET /sheep?n=3&every=0", lines).0, "Content-Encoding"), None);
}

#[test]
fn a_connection_is_used_again_after_a_coded_response() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let request = "GET /sheep?n=1000&every=0 HTTP/1.1\r\nHost: a\r\nAccept-Encoding: zstd\r\n\r\n";
    client.send(format!("{request}{request}GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n"));
    for _ in 0..2 {
        assert_eq!(field(&client.read_head(), "Content-Encoding"), Some("zstd"));
        assert!(decoded("zstd", &chunks(&mut client)).ends_with(b"\n999\n"));
    }
    assert_eq!(client.read_response().1, "Hello, World!");
    let mut old = server.connect();
    old.send("GET /sheep?n=1000&every=0 HTTP/1.0\r\nAccept-Encoding: gzip\r\n\r\n");
    assert_eq!(field(&old.read_head(), "Transfer-Encoding"), None);
    let mut content = Vec::new();
    while !old.is_closed_by_server_into(&mut content) {}
    assert!(decoded("gzip", &content).ends_with(b"\n999\n"));
}

/// Text that hardly gets smaller.
fn noise(n: usize) -> Vec<u8> {
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    (0..n).map(|_| next()).collect()
}

#[test]
fn files_beyond_the_limit_are_coded_while_they_are_sent() {
    let site = Site::new().with("whole.txt", "").with("long.txt", "").with("long.bin", "").with("pre.txt", "");
    for (name, length) in
        [("whole.txt", WHOLE_BYTES_MAX), ("long.txt", WHOLE_BYTES_MAX + 1), ("long.bin", WHOLE_BYTES_MAX + 1)]
    {
        fs::File::options().write(true).open(site.root.join(name)).unwrap().set_len(length as u64).unwrap();
    }
    let server = site.serve(&[]);
    let zstd = "Accept-Encoding: zstd\r\n";
    let head = head_of(&server, "HEAD /whole.txt", zstd);
    assert!(field(&head, "Content-Length").is_some() && field(&head, "ETag").unwrap().ends_with("-zstd\""), "{head}");
    assert_eq!(field(&head, "Accept-Ranges"), Some("bytes"));

    let (head, content) = ask(&server, "GET /long.txt", zstd);
    assert!(content == vec![0; WHOLE_BYTES_MAX + 1]);
    let tag = field(&head, "ETag").unwrap();
    assert!(tag.starts_with("W/\"") && tag.ends_with("-zstd\""), "{head}");
    assert_eq!((field(&head, "Accept-Ranges"), field(&head, "Content-Length")), (Some("none"), None));
    assert_eq!(field(&head, "Vary"), Some("Accept-Encoding"));
    assert_eq!(described(&head_of(&server, "HEAD /long.txt", zstd)), described(&head));

    let plain = head_of(&server, "HEAD /long.txt", "");
    let strong = field(&plain, "ETag").unwrap();
    assert_eq!((field(&plain, "Vary"), field(&plain, "Accept-Ranges")), (Some("Accept-Encoding"), Some("bytes")));
    let head_with = |lines: String| head_of(&server, "HEAD /long.txt", &lines);
    // A tag is good for its own coding alone.
    let not_modified = head_with(format!("{zstd}If-None-Match: {tag}\r\n"));
    assert_eq!((status(&not_modified), field(&not_modified, "ETag")), ("304", Some(tag)));
    assert_eq!(status(&head_with(format!("If-None-Match: {tag}\r\n"))), "200");
    assert_eq!(status(&head_with(format!("{zstd}If-None-Match: {strong}\r\n"))), "200");
    assert_eq!(status(&head_with(format!("Accept-Encoding: gzip\r\nIf-None-Match: {tag}\r\n"))), "200");
    assert_eq!(status(&head_with(format!("{zstd}If-Match: {tag}\r\n"))), "412", "a weak tag matches nothing strongly");
    // Parts are of the file as it is.
    let range = format!("{zstd}Range: bytes=0-9\r\n");
    let (part, content) = ask(&server, "GET /long.txt", &range);
    assert_eq!((status(&part), field(&part, "Content-Encoding"), content.len()), ("206", None, 10));
    assert_eq!(field(&part, "ETag"), Some(strong));
    let (part, _) = ask(&server, "GET /long.txt", &format!("{range}If-Range: {strong}\r\n"));
    assert_eq!(status(&part), "206");
    let whole = head_of(&server, "GET /long.txt", &format!("{range}If-Range: {tag}\r\n"));
    assert_eq!((status(&whole), field(&whole, "Content-Encoding")), ("200", None));
    // No brotli while it is sent; identity refused; and what does not get smaller.
    assert_eq!(field(&head_of(&server, "HEAD /long.txt", "Accept-Encoding: br\r\n"), "Content-Encoding"), None);
    assert_eq!(
        field(&begin(&server, "HEAD /long.txt", "Accept-Encoding: gzip, *;q=0\r\n").1, "Content-Encoding"),
        Some("gzip")
    );
    assert_eq!(status(&begin(&server, "HEAD /long.txt", "Accept-Encoding: br, *;q=0\r\n").1), "406");
    assert_eq!(field(&head_of(&server, "HEAD /long.bin", zstd), "Vary"), None);
}

#[test]
fn what_must_not_be_transformed_is_not() {
    let page = "<p>the same again and again</p>\n".repeat(100);
    let site = Site::new()
        .with("page.html", &page)
        .with("long.txt", "")
        .with("page.css", "identity")
        .with("page.css.gz", "made by hand");
    fs::File::options()
        .write(true)
        .open(site.root.join("long.txt"))
        .unwrap()
        .set_len(WHOLE_BYTES_MAX as u64 + 1)
        .unwrap();
    for flags in [["--cache-control", "public, no-transform"], ["--header", "cache-control: No-Transform"]] {
        let server = site.serve(&flags);
        for target in ["/page.html", "/long.txt"] {
            let head = head_of(&server, &format!("HEAD {target}"), "Accept-Encoding: gzip\r\n");
            assert_eq!((field(&head, "Content-Encoding"), field(&head, "Vary")), (None, None), "{target}");
        }
        // A form that the site has itself is no transformation of ours.
        let head = head_of(&server, "HEAD /page.css", "Accept-Encoding: gzip\r\n");
        assert_eq!(field(&head, "Content-Encoding"), Some("gzip"));
    }
    // The client may ask for that, too.
    let server = site.serve(&[]);
    for target in ["/page.html", "/long.txt", "/page.css"] {
        for (lines, transformed) in [("", true), ("Cache-Control: max-age=0, No-Transform\r\n", false), ("", true)] {
            let head = head_of(&server, &format!("HEAD {target}"), &format!("Accept-Encoding: gzip\r\n{lines}"));
            let expected = Some("gzip").filter(|_| transformed || target == "/page.css");
            assert_eq!((field(&head, "Content-Encoding"), field(&head, "Vary")), (expected, Some("Accept-Encoding")));
        }
        let refused = "Accept-Encoding: gzip, identity;q=0\r\nCache-Control: no-transform\r\n";
        let head = head_of(&server, &format!("HEAD {target}"), refused);
        assert_eq!(status(&head), if target == "/page.css" { "200" } else { "406" }, "{target}");
    }
    let server = site.serve(&["--header", "*.html Cache-Control: no-transform"]);
    let coding = |target: &str| {
        let head = head_of(&server, &format!("HEAD {target}"), "Accept-Encoding: gzip\r\n");
        field(&head, "Content-Encoding").map(str::to_owned)
    };
    assert_eq!((coding("/page.html"), coding("/long.txt").as_deref()), (None, Some("gzip")));
    let server = site.serve(&["--file-cache", "0", "--lab", "--browse"]);
    for target in ["/page.html", "/long.txt", "/sheep?n=1&every=0"] {
        assert_eq!(
            field(&head_of(&server, &format!("HEAD {target}"), "Accept-Encoding: gzip\r\n"), "Content-Encoding"),
            None
        );
    }
}

#[test]
fn a_file_that_becomes_shorter_ends_the_connection_and_not_the_content() {
    let site = Site::new().with("long.txt", noise(3 * WHOLE_BYTES_MAX));
    let server = site.serve(&[]);
    let (mut client, head) = begin(&server, "GET /long.txt", "Accept-Encoding: zstd\r\n");
    assert_eq!(field(&head, "Content-Encoding"), Some("zstd"));
    chunk(&mut client);
    fs::File::options().write(true).open(site.root.join("long.txt")).unwrap().set_len(1000).unwrap();
    let mut content = Vec::new();
    while !client.is_closed_by_server_into(&mut content) {}
    assert!(!content.ends_with(b"\r\n0\r\n\r\n"), "half a file passed for a whole one");
    server.wait_for_log("the file has become shorter");
}

#[test]
fn endless_content_that_becomes_nothing_leaves_the_others_their_turn() {
    let server = Server::start(&[]);
    let target = format!("GET /drip?bytes={}&over=0", u64::MAX);
    let greedy: Vec<_> = (0..8).map(|_| begin(&server, &target, "Accept-Encoding: zstd\r\n")).collect();
    assert!(greedy.iter().all(|(_, head)| field(head, "Content-Encoding") == Some("zstd")));
    let mut client = server.connect();
    for _ in 0..20 {
        client.send("GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.read_response().1, "Hello, World!");
    }
    assert!(server.peak_kib() < 20 * 1024, "{} KiB", server.peak_kib());
}

#[test]
fn a_long_file_goes_out_as_it_is_when_enough_is_coded() {
    raise_limit();
    let site = Site::new().with("long.txt", "");
    let length = WHOLE_BYTES_MAX as u64 + 1;
    fs::File::options().write(true).open(site.root.join("long.txt")).unwrap().set_len(length).unwrap();
    let server = site.serve(&["--lab"]);
    let answer = |lines: &str| head_of(&server, "HEAD /long.txt", &format!("Accept-Encoding: {lines}\r\n"));
    let coded = answer("gzip");
    assert_eq!(field(&coded, "Content-Encoding"), Some("gzip"));
    let stream = || begin(&server, "GET /sse?every=60m", "Accept-Encoding: gzip\r\n");
    let _streams: Vec<_> = (0..STREAMS_MAX).map(|_| stream()).collect();
    let plain = answer("gzip");
    assert_eq!((status(&plain), field(&plain, "Content-Encoding")), ("200", None));
    assert_eq!(field(&plain, "Content-Length"), Some(length.to_string().as_str()));
    assert_eq!((field(&plain, "Accept-Ranges"), field(&plain, "Vary")), (Some("bytes"), Some("Accept-Encoding")));
    let refused = answer("gzip, *;q=0");
    assert_eq!((status(&refused), field(&refused, "Retry-After")), ("503", Some("1")));
    let tag = field(&coded, "ETag").unwrap();
    let not_modified = answer(&format!("gzip\r\nIf-None-Match: {tag}"));
    assert_eq!((status(&not_modified), field(&not_modified, "ETag")), ("304", Some(tag)), "this needs no coder");
}

/// As many open files as the system grants us.
fn raise_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();
}

#[test]
fn of_a_thousand_streams_as_many_as_may_are_coded() {
    raise_limit();
    let server = Server::start(&["--max-connections", "5000"]);
    let is_coded = |head: &str| field(head, "Content-Encoding").is_some();
    let mut streams: Vec<_> = (0..1000)
        .map(|_| {
            let (mut client, head) = begin(&server, "GET /sse?every=60m", "Accept-Encoding: gzip, zstd\r\n");
            chunk(&mut client);
            (client, head)
        })
        .collect();
    let coded: Vec<bool> = streams.iter().map(|(_, head)| is_coded(head)).collect();
    assert!(coded[..STREAMS_MAX].iter().all(|is| *is) && coded[STREAMS_MAX..].iter().all(|is| !is));
    assert!(streams.iter().all(|(_, head)| field(head, "Vary") == Some("Accept-Encoding")));
    let peak = server.peak_kib();
    assert!(peak < 320 * STREAMS_MAX as u64 + 20 * 1024, "{peak} KiB");
    // Whoever leaves in the middle makes room for another one. A client that only ends its direction may still read.
    for (client, _) in &streams {
        socket2::SockRef::from(&client.stream).set_linger(Some(Duration::ZERO)).unwrap();
    }
    let one_more = || is_coded(&head_of(&server, "HEAD /sse", "Accept-Encoding: gzip\r\n"));
    assert!(!one_more());
    drop(streams.remove(0));
    wait_until("a share is given back", one_more);
    wait_until("a HEAD gives it back, too", one_more);
    drop(streams);
    let again =
        || (0..STREAMS_MAX).map(|_| begin(&server, "GET /sse", "Accept-Encoding: gzip\r\n")).collect::<Vec<_>>();
    wait_until("all shares are given back", || again().iter().all(|(_, head)| is_coded(head)));
}
