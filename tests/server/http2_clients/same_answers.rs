//! Every request has the same answer over HTTP/1.1 and over HTTP/2: status, fields and content.

use std::fs;

use super::client::{Answer, Client};
use super::{noise, serve, site};
use crate::support::{Server, field};

/// Content of which nobody reads more.
const ALL: usize = usize::MAX;

/// What RFC 9110 §7.6.1 and RFC 9112 give to connections of HTTP/1.1 alone.
const OF_HTTP1: [&str; 5] = ["connection", "keep-alive", "transfer-encoding", "upgrade", "trailer"];

type Case = (&'static str, &'static str, &'static [(&'static str, &'static str)], Vec<u8>, usize);

/// Method, path, fields, content, and how much of the answer's content is looked at.
fn cases() -> Vec<Case> {
    const HTML: &[(&str, &str)] = &[("accept", "text/html")];
    const JSON: &[(&str, &str)] = &[("accept", "application/json")];
    const TEXT: &[(&str, &str)] = &[("content-type", "text/plain")];
    let get = |path| ("GET", path, &[][..], Vec::new(), ALL);
    let with = |path, fields| ("GET", path, fields, Vec::new(), ALL);
    let mut cases = [
        "/plaintext",
        "/json",
        "/health",
        "/users/42",
        "/users/Ada%20%22L%22",
        "/users/%ff",
        "/users/%zz",
        "/hints",
        "/trailers",
        "/error",
        "/sheep?n=5&every=1ms",
        "/sheep?n=0",
        "/sheep?n=x",
        "/drip?bytes=10&over=10ms",
        "/delay/20",
        "/delay/x",
        "/bytes/0",
        "/bytes/1000000",
        "/stream/0",
        "/stream/1000000",
        "/nowhere",
        "/app.js",
        "/noise.bin",
        "/empty.txt",
        "/page",
        "/page/",
        "/page/index.html",
        "/folder",
        "/folder/",
        "/folder/a.txt?x=1",
        "/../x",
        "/users",
        "/echo",
    ]
    .map(get)
    .to_vec();
    for status in
        ["/status/200", "/status/204", "/status/205", "/status/304", "/status/418", "/status/599", "/status/1"]
    {
        cases.push(get(status));
    }
    cases.extend([
        ("GET", "/sse?every=1ms", &[][..], Vec::new(), 24),
        with("/folder/", HTML),
        with("/folder/", JSON),
        with("/nowhere", HTML),
        with("/app.js", &[("accept-encoding", "br")]),
        with("/app.js", &[("accept-encoding", "gzip")]),
        with("/app.js", &[("accept-encoding", "zstd;q=0.5, identity;q=0")]),
        with("/sheep?n=500&every=0", &[("accept-encoding", "gzip")]),
        with("/folder/", &[("accept-encoding", "zstd")]),
        with("/app.js", &[("if-none-match", "*")]),
        with("/app.js", &[("if-match", "\"other\"")]),
        with("/app.js", &[("if-modified-since", "Fri, 01 Jan 2100 00:00:00 GMT")]),
        with("/noise.bin", &[("range", "bytes=1000-1000999")]),
        with("/noise.bin", &[("range", "bytes=-1")]),
        with("/noise.bin", &[("range", "bytes=9999999-")]),
        with("/app.js", &[("range", "bytes=0-9,100-109")]),
        with("/plaintext", &[("expect", "something")]),
        with("/plaintext", &[("origin", "https://other.example")]),
        ("POST", "/users", &[], b"{\"name\":\"Ada\"}".to_vec(), ALL),
        ("POST", "/users", &[], b"{\"name\":}".to_vec(), ALL),
        ("POST", "/users", &[], Vec::new(), ALL),
        ("POST", "/users", &[], noise(5000), ALL),
        ("POST", "/echo", TEXT, b"hello".to_vec(), ALL),
        ("POST", "/echo", &[("expect", "100-continue")], b"hello".to_vec(), ALL),
        ("POST", "/echo", &[], Vec::new(), ALL),
        ("PUT", "/echo", &[], noise(1_000_000), ALL),
        ("POST", "/ndjson", &[], b"{\"a\":1}\n\n[2]\n".to_vec(), ALL),
        ("POST", "/ndjson", &[], b"1\n{\"a\":\n".to_vec(), ALL),
        ("POST", "/plaintext", &[], b"unwanted".to_vec(), ALL),
        ("POST", "/app.js", &[], b"unwanted".to_vec(), ALL),
        ("DELETE", "/nowhere", &[], Vec::new(), ALL),
        ("BREW", "/plaintext", &[], Vec::new(), ALL),
        ("OPTIONS", "/echo", &[], Vec::new(), ALL),
        ("OPTIONS", "/app.js", &[], Vec::new(), ALL),
    ]);
    // Every GET is also asked for by HEAD.
    let heads: Vec<Case> = cases.iter().filter(|case| case.0 == "GET").cloned().collect();
    cases.extend(heads.into_iter().map(|(_, path, fields, content, _)| ("HEAD", path, fields, content, ALL)));
    cases
}

#[test]
fn each_request_has_the_same_answer_over_both_versions() {
    let site = site();
    let server = serve(&site, &["--header", "X-Tide: high", "--cors", "--cache-control", "hashed"]);
    let mut client = Client::connect(server.listener(0));
    for (method, path, fields, content, limit) in cases() {
        let request = format!("{method} {path} {fields:?} with {} bytes", content.len());
        let length = content.len().to_string();
        let mut fields = fields.to_vec();
        if !content.is_empty() {
            fields.push(("content-length", &length));
        }
        let old = over_http1(&server, method, path, &fields, &content, limit);
        let new = client.ask(method, path, &fields, &content, limit);
        let new = comparable(new.unwrap_or_else(|error| panic!("{request}: {error}")), limit);
        assert!(new.content == old.content, "{request}: {} and {} bytes", new.content.len(), old.content.len());
        assert_eq!(Answer { content: Vec::new(), ..new }, Answer { content: Vec::new(), ..old }, "{request}");
    }
}

#[test]
fn the_comparison_has_every_endpoint_of_the_lab() {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/lab.md")).unwrap();
    let headings = page.lines().filter_map(|line| line.strip_prefix("### ")).flat_map(|line| line.split(", "));
    let cases = cases();
    for heading in headings {
        let (method, path) = heading.trim_matches('`').split_once(' ').unwrap();
        let start = path.split(['{', '?']).next().unwrap();
        // Two tests below have the first two; tunnels are asked for in another way (RFC 8441).
        let is_elsewhere = ["/", "/headers"].contains(&start) || start.starts_with("/ws/");
        assert!(is_elsewhere || cases.iter().any(|case| case.0 == method && case.1.starts_with(start)), "{heading}");
    }
}

#[test]
fn what_is_known_of_a_request_is_the_same_but_for_the_version() {
    let site = site();
    let server = serve(&site, &[]);
    let fields = [("x-tide", "high"), ("x-tide", "low"), ("cookie", "a=1; b=2"), ("te", "trailers")];
    let mut client = Client::connect(server.listener(0));
    let new = client.ask("GET", "/headers?a=%20", &fields, &[], ALL).unwrap();
    let new = String::from_utf8(new.content).unwrap();
    assert!(new.starts_with(r#"{"method":"GET","target":"/headers?a=%20","version":"HTTP/2.0","fields":["#), "{new}");
    for pair in [r#"["x-tide","high"],["x-tide","low"]"#, r#"["cookie","a=1; b=2"]"#, r#"["te","trailers"]"#] {
        assert!(new.contains(pair), "{new}");
    }
    let old = over_http1(&server, "GET", "/headers?a=%20", &fields, &[], ALL);
    let old = String::from_utf8(old.content).unwrap();
    assert!(old.contains(r#""target":"/headers?a=%20","version":"HTTP/1.1""#), "{old}");
}

#[test]
fn the_page_at_the_root_is_the_same() {
    let server = Server::start(&[]);
    let mut client = Client::connect(&server.address);
    let new = comparable(client.ask("GET", "/", &[], &[], ALL).unwrap(), ALL);
    assert_eq!(new, over_http1(&server, "GET", "/", &[], &[], ALL));
    assert_eq!(new.status, 200);
}

#[test]
fn the_admin_speaks_it_too() {
    let server = Server::start(&["--admin", "127.0.0.1:0"]);
    let mut visitor = Client::connect(&server.address);
    visitor.ask("GET", "/plaintext", &[], &[], ALL).unwrap();
    let mut client = Client::connect(server.admin());
    let page = client.ask("GET", "/", &[], &[], ALL).unwrap();
    assert_eq!((page.status, page.content.starts_with(b"<!doctype html>")), (200, true));
    let listed = client.ask("GET", "/connections", &[], &[], ALL).unwrap();
    let listed = String::from_utf8(listed.content).unwrap();
    assert!(listed.contains("http/2"), "{listed}");
    assert_eq!(client.ask("GET", "/metrics", &[], &[], ALL).unwrap().status, 200);
}

/// Asks over HTTP/1.1, on a connection of its own.
fn over_http1(
    server: &Server,
    method: &str,
    path: &str,
    fields: &[(&str, &str)],
    content: &[u8],
    limit: usize,
) -> Answer {
    let mut client = server.connect();
    let lines: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    client.send(format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n{lines}\r\n", server.address));
    client.send(content);
    let mut interim = Vec::new();
    let head = loop {
        let head = client.read_head();
        match status_of(&head) {
            code @ 100..200 => interim.push((code, fields_of(&head))),
            _ => break head,
        }
    };
    let mut answer = Answer {
        interim,
        status: status_of(&head),
        fields: fields_of(&head),
        content: Vec::new(),
        trailers: Vec::new(),
    };
    if method == "HEAD" || [204, 304].contains(&answer.status) {
        return comparable(answer, limit);
    }
    if field(&head, "Transfer-Encoding").is_none() {
        answer.content = client.read_exactly(field(&head, "Content-Length").unwrap().parse().unwrap());
        return comparable(answer, limit);
    }
    while answer.content.len() < limit {
        let size = client.read_line();
        let size = usize::from_str_radix(&size, 16).unwrap();
        if size == 0 {
            let lines = std::iter::from_fn(|| Some(client.read_line()).filter(|line| !line.is_empty()));
            answer.trailers = lines.map(|line| field_of(&line)).collect();
            break;
        }
        answer.content.extend(client.read_exactly(size));
        assert_eq!(client.read_exactly(2), b"\r\n");
    }
    comparable(answer, limit)
}

fn status_of(head: &str) -> u16 {
    head[9..12].parse().unwrap()
}

fn fields_of(head: &str) -> Vec<(String, String)> {
    head.lines().skip(1).filter(|line| !line.is_empty()).map(field_of).collect()
}

fn field_of(line: &str) -> (String, String) {
    let (name, value) = line.split_once(": ").unwrap();
    (name.to_lowercase(), value.to_owned())
}

/// Leaves out what may differ: fields of HTTP/1.1, times, the random boundary of several ranges, and the 100 that is not
/// sent if content has already come (RFC 9110 §10.1.1).
fn comparable(mut answer: Answer, limit: usize) -> Answer {
    answer.interim.retain(|(status, _)| *status != 100);
    answer.fields.retain(|(name, _)| !OF_HTTP1.contains(&name.as_str()));
    for (name, value) in &mut answer.fields {
        if name == "date" {
            value.clear();
        }
    }
    answer.content.truncate(limit);
    let boundary = answer.fields.iter().find_map(|(_, value)| value.split_once("boundary=")).map(|(_, b)| b.to_owned());
    if let Some(boundary) = boundary {
        let text = String::from_utf8(answer.content).unwrap();
        answer.content = text.replace(&boundary, "BOUNDARY").into_bytes();
        for (_, value) in &mut answer.fields {
            *value = value.replace(&boundary, "BOUNDARY");
        }
    }
    answer.fields.sort();
    answer
}
