//! The head that is explained is the head that is sent, and the connection ends or goes on as was told.

use crate::site::Site;
use crate::support::{Client, Server, field};
use crate::{Asked, Page};

/// The lines of a head, without what is different every time.
fn comparable(head: &str) -> Vec<String> {
    let lines = head.lines().filter(|line| !line.starts_with("Date: "));
    lines.map(|line| line.split("; boundary=").next().unwrap_or_default().to_owned()).collect()
}

fn asked<'a>(request: &'a str, fields: &'a [&'a str]) -> Asked<'a> {
    Asked { request, fields }
}

#[track_caller]
fn assert_explained(server: &Server, asked: Asked<'_>, others: &[&str]) {
    let page = Page::of(asked, others);
    let mut client = server.connect();
    client.send(asked.head());
    for told in page.heads() {
        assert_eq!(comparable(&told), comparable(&client.read_head()), "{}\n{}", asked.request, page.0);
    }
    if let Some(connection) = page.line("connection") {
        assert_connection(connection, &page, asked, &mut client);
    }
}

#[track_caller]
fn assert_connection(told: &str, page: &Page, asked: Asked<'_>, client: &mut Client) {
    let head = page.heads().pop().unwrap();
    if told.starts_with("ended by the server") {
        assert!(client.is_closed_by_server(), "{}", page.0);
    } else if told.starts_with("kept") && field(&head, "Transfer-Encoding").is_none() {
        let has_content = page.line("send path") != Some("the head alone");
        let length = field(&head, "Content-Length").filter(|_| has_content).unwrap_or("0").parse().unwrap();
        client.read_exactly(length);
        client.send(asked.head());
        assert_eq!(comparable(&client.read_head()), comparable(&head), "the same again: {}", page.0);
    }
}

#[test]
fn the_lab_answers_as_explained() {
    let server = Server::start(&[]);
    let long = format!("GET /{}", "a".repeat(9000));
    let large = format!("X-Large: {}", "a".repeat(17_000));
    let large = [large.as_str()];
    let upgrade = [
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ];
    let all = [
        asked("GET /", &[]),
        asked("GET /plaintext", &[]),
        asked("HEAD /json", &[]),
        asked("GET /json HTTP/1.0", &[]),
        asked("GET /json HTTP/1.0", &["Connection: keep-alive"]),
        asked("GET /json", &["Connection: close"]),
        asked("GET http://other/users/%34%32?x", &[]),
        asked("OPTIONS *", &[]),
        asked("OPTIONS /users", &[]),
        asked("DELETE /users", &[]),
        asked("BREW /users", &[]),
        asked("CONNECT a:1", &[]),
        asked("GET /nowhere", &[]),
        asked("GET /%zz", &[]),
        asked("GET /error", &[]),
        asked("GET /status/503", &[]),
        asked("GET /delay/30", &[]),
        asked("GET /bytes/100000", &[]),
        asked("GET /stream/100000", &[]),
        asked("GET /stream/10 HTTP/1.0", &[]),
        asked("GET /sheep?n=3&every=10ms", &[]),
        asked("POST /users", &["Content-Length: 5", "Expect: 100-continue"]),
        asked("POST /echo", &[]),
        asked("GET /ws/echo", &upgrade),
        asked("GET /ws/echo", &[]),
        asked("GET / HTTP/2.0", &[]),
        asked("GET /", &["Bad : space"]),
        asked("GET /", &["Transfer-Encoding: chunked", "Content-Length: 1"]),
        asked("GET /", &["Expect: miracles"]),
        asked("G(T /", &[]),
        asked(&long, &[]),
        asked("GET /", &large),
    ];
    for asked in all {
        assert_explained(&server, asked, &[]);
    }
    let page = Page::of(asked("GET /", &["Host: one", "Host: two"]), &[]);
    page.assert_line("refused", "more than one Host (RFC 9112 §3.2)");
}

#[test]
fn files_answer_as_explained() {
    let site = Site::new();
    let others = ["--browse", "--lab", "--cache-control", "max-age=5", site.path()];
    let server = Server::start(&others);
    let tag = Page::of(asked("GET /small.txt", &[]), &others).heads().pop().unwrap();
    let tag = field(&tag, "ETag").unwrap().to_owned();
    for condition in ["If-None-Match: ", "If-None-Match: W/", "If-Match: ", "If-Range: "] {
        let field = format!("{condition}{tag}");
        for request in ["GET /small.txt", "HEAD /small.txt"] {
            assert_explained(&server, asked(request, &[&field, "Range: bytes=1-2"]), &others);
        }
    }
    let all = [
        asked("GET /small.txt", &[]),
        asked("HEAD /small.txt", &[]),
        asked("GET /small.txt", &["If-Match: \"other\""]),
        asked("GET /small.txt", &["If-Modified-Since: Fri, 01 Jan 1999 00:00:00 GMT"]),
        asked("GET /small.txt", &["If-Unmodified-Since: Fri, 01 Jan 1999 00:00:00 GMT"]),
        asked("GET /small.txt", &["Range: bytes=1-2", "If-Range: \"other\""]),
        asked("GET /small.txt", &["Range: bytes=9-"]),
        asked("GET /small.txt", &["Range: lines=1-2"]),
        asked("HEAD /small.txt", &["Range: bytes=1-2"]),
        asked("GET /small.txt", &["Accept-Encoding: identity;q=0"]),
        asked("GET /large.bin", &[]),
        asked("GET /large.bin", &["Range: bytes=-100"]),
        asked("GET /large.bin", &["Range: bytes=0-9, 100-199"]),
        asked("GET /large.bin HTTP/1.0", &[]),
        asked("GET /lines.txt", &["Accept-Encoding: gzip"]),
        asked("GET /lines.txt", &["Accept-Encoding: gzip, br, zstd"]),
        asked("GET /lines.txt", &["Accept-Encoding: gzip", "Range: bytes=0-9"]),
        asked("GET /both.html", &["Accept-Encoding: br;q=0.1"]),
        asked("GET /both.html", &["Accept-Encoding: gzip"]),
        asked("GET /picture.svgz", &["Accept-Encoding: gzip"]),
        asked("GET /picture.svgz", &["Accept-Encoding: br"]),
        asked("GET /alone.html", &[]),
        asked("GET /long.html", &["Accept-Encoding: identity"]),
        asked("GET /a%20b", &[]),
        asked("GET //x/.././small.txt", &[]),
        asked("GET /folder?q=1", &[]),
        asked("GET /folder/", &[]),
        asked("GET /folder/?sort=size", &["Accept: application/json"]),
        asked("GET /indexed/", &[]),
        asked("GET /secret", &[]),
        asked("GET /.hidden", &[]),
        asked("GET /nothing", &["Accept: text/html"]),
        asked("GET /../up", &[]),
        asked("GET /%00", &[]),
        asked("POST /small.txt", &[]),
        asked("OPTIONS /small.txt", &[]),
        asked("BREW /small.txt", &[]),
        asked("GET /plaintext", &[]),
    ];
    for asked in all {
        assert_explained(&server, asked, &others);
    }
}

#[test]
fn settings_mean_what_they_mean_to_the_server() {
    let site = Site::new();
    let all: [(&[&str], &str); 11] = [
        (&["--hidden"], "GET /.hidden"),
        (&["--index", "entry,small.txt"], "GET /folder/"),
        (&["--try-html"], "GET /both"),
        (&["--try-html"], "GET /indexed/index.html?q"),
        (&["--default-type", "text/plain"], "GET /a%20b"),
        (&["--spa=both.html"], "GET /nothing"),
        (&["--header", "X-Powered-By: tides"], "GET /small.txt"),
        (&["--file-cache", "0"], "GET /lines.txt"),
        (&["--health"], "GET /healthz"),
        (&["--max-target-size", "64"], "GET /aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
        (&["--max-headers", "1"], "GET /small.txt"),
    ];
    for (flags, request) in all {
        let others = [flags, &[site.path()]].concat();
        assert_explained(&Server::start(&others), asked(request, &["Accept-Encoding: gzip"]), &others);
    }
    let spa = ["--spa=both.html", site.path()];
    let server = Server::start(&spa);
    for fields in [&[][..], &["Sec-Fetch-Dest: document"], &["Sec-Fetch-Dest: image", "Accept: text/html"]] {
        for request in ["GET /nothing", "GET /nothing.js", "HEAD /nothing.js"] {
            assert_explained(&server, asked(request, fields), &spa);
        }
    }
}

/// The routes of a file are followed, for the host that `--host` names, as the server follows them.
#[test]
fn a_host_leads_to_its_site_and_its_route() {
    let folder = Site::new();
    let config = format!("{}/t.toml", folder.path());
    let text = "[[site]]\nhosts = [\"a.example\"]\nroot = \".\"\n[[site.route]]\npath = \"/old/\"\nmethods = [\"GET\"]\n\
                redirect = \"/new/{rest}\"\n[[site.route]]\nfield = \"X-A\"\nrespond = 410\n";
    std::fs::write(&config, text).unwrap();
    let server = Server::start(&["--config", &config]);
    for (request, field, label, says) in [
        ("GET /old/x", "A: b", "route", "a redirect"),
        ("GET /small.txt", "X-A: b", "route", "always 410 Gone"),
        ("GET /small.txt", "A: b", "route", "files beneath ROOT"),
    ] {
        let asked = Asked { request, fields: &[field] };
        let page = Page::of(asked, &["--host", "A.example:80", "--config", &config]);
        page.assert_line("site", "a.example, for A.example:80: it has this name");
        page.assert_line(label, says);
        let real =
            server.ask(&format!("{request} HTTP/1.1\r\nHost: A.example:80\r\nConnection: close\r\n{field}\r\n\r\n"));
        let status = real.lines().next().unwrap().trim_start_matches("HTTP/1.1 ");
        page.assert_line("answer", status);
    }
    let post = Page::of(Asked { request: "POST /old/x", fields: &[] }, &["--host", "a.example", "--config", &config]);
    post.assert_line("routes", "not /old/ at ");
    post.assert_line("routes", ":4:1: the method is not GET");
    let other = Page::of(Asked { request: "GET /", fields: &[] }, &["--host", "b.example", "--config", &config]);
    other.assert_line("site", "none has b.example, and there is no default site: 421");
    other.assert_line("answer", "421 Misdirected Request");
}
