//! Sites and routes of a configuration file, on real sockets.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

#[path = "sim/h2/frames.rs"]
#[allow(dead_code, reason = "shared with the simulator")]
mod frames;
#[path = "http2_client/mod.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod http2_client;
#[path = "server/support.rs"]
#[allow(dead_code, reason = "shared with the tests of the server")]
mod support;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, fs};

use frames::{DATA, END_STREAM};
use http2_client::Http2;
use support::{Server, field, status};

/// A folder of a test's own.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("tidemill-{}-sites-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let folder = Folder(env::temp_dir().join(name));
        fs::create_dir_all(&folder.0).unwrap();
        folder
    }

    fn write(&self, file: &str, content: &str) {
        let path = self.0.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn serve(&self, config: &str) -> Server {
        self.write("t.toml", config);
        Server::start(&["--config", self.0.join("t.toml").to_str().unwrap()])
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

/// Asks for this, with this Host and these fields, on a connection of its own.
fn ask(server: &Server, line: &str, host: &str, fields: &str) -> String {
    server.ask(&format!("{line} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{fields}\r\n"))
}

fn get(server: &Server, path: &str) -> String {
    ask(server, &format!("GET {path}"), "a.example", "")
}

fn content(response: &str) -> &str {
    response.split_once("\r\n\r\n").unwrap().1
}

const HOSTS: &str = r#"
[[site]]
hosts = ["a.example", "[::1]"]
respond = 200
body = "a"
[[site]]
hosts = ["*.a.example"]
respond = 200
body = "beneath"
"#;
const DEFAULT: &str = "[[site]]\nrespond = 200\nbody = \"default\"\n";

#[test]
fn a_request_has_the_site_of_the_host_that_it_names() {
    let folder = Folder::new();
    let (with, without) = (folder.serve(&format!("{HOSTS}{DEFAULT}")), folder.serve(HOSTS));
    for (host, site) in [
        ("a.example", "a"),
        ("A.example.:81", "a"),
        ("[0::1]:81", "a"),
        ("x.Y.a.example", "beneath"),
        ("b.example", "default"),
        ("xa.example", "default"),
        ("", "default"),
    ] {
        let answers = [&with, &without].map(|server| ask(server, "GET /", host, ""));
        assert_eq!(content(&answers[0]), site, "{host}");
        match site {
            "default" => assert_eq!(status(&answers[1]), "421", "{host}"),
            _ => assert_eq!(content(&answers[1]), site, "{host}"),
        }
    }
    // HTTP/1.0 need not name a host.
    assert_eq!(content(&with.ask("GET / HTTP/1.0\r\n\r\n")), "default");
    assert_eq!(status(&without.ask("GET / HTTP/1.0\r\n\r\n")), "421");
    assert_eq!(content(&without.ask("GET / HTTP/1.0\r\nHost: a.example\r\n\r\n")), "a");
    // The authority of an absolute target counts, and not Host (RFC 9112 §3.2.2).
    assert_eq!(content(&ask(&without, "GET http://x.a.example/", "a.example", "")), "beneath");
    assert_eq!(status(&ask(&without, "GET http://b.example/", "a.example", "")), "421");
    // A connection is kept, and each request on it has its own site.
    let mut client = without.connect();
    client.send("GET / HTTP/1.1\r\nHost: b.example\r\n\r\nGET / HTTP/1.1\r\nHost: x.a.example\r\n\r\n");
    assert_eq!(status(&client.read_response().0), "421");
    assert_eq!(client.read_response().1, "beneath");
}

#[test]
fn http2_names_the_host_in_its_authority() {
    let folder = Folder::new();
    let server = folder.serve(HOSTS);
    let mut client = Http2::new(server.connect(), 1 << 16);
    for (stream, authority, site) in [(1, "A.EXAMPLE:80", "a"), (3, "x.a.example", "beneath"), (5, "b.example", "421")]
    {
        let fields = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", authority)];
        client.ask(stream, END_STREAM, &fields);
        let mut answer = String::new();
        client.read_until(|frame| {
            if frame.stream == stream && frame.kind == DATA {
                answer.push_str(&String::from_utf8_lossy(&frame.payload));
            }
            frame.stream == stream && frame.has(END_STREAM)
        });
        assert!(answer.starts_with(site), "{authority}: {answer}");
    }
}

#[test]
fn no_spelling_leads_past_a_route_to_files_of_another() {
    let folder = Folder::new();
    folder.write("www/private/a.txt", "from the wrong folder");
    folder.write("www/private.txt", "public");
    folder.write("inside/a.txt", "inside");
    let server = folder.serve(
        r#"
[[site]]
root = "www"
[[site.route]]
path = "/private/"
root = "inside"
strip = true
"#,
    );
    assert_eq!(content(&get(&server, "/private/a.txt")), "inside");
    assert_eq!(content(&get(&server, "/private.txt")), "public");
    for path in [
        "//private/a.txt",
        "/private%2Fa.txt",
        "/./private/a.txt",
        "/x/../private/a.txt",
        "/%70rivate/a.txt",
        "/%2e/private/a.txt",
        "/x/%2e%2e/private/a.txt",
        "/x%2F..%2Fprivate/a.txt",
        "/private//a.txt",
        "/private/.//a.txt",
        "///private///a.txt",
        "/%2Fprivate/a.txt",
        "/private/%2e%2e/private/a.txt",
        "/x/..//private/a.txt",
        "/private;/a.txt",
        "/PRIVATE/a.txt",
        "/private%00/a.txt",
        "/private\\a.txt",
        "/private%5Ca.txt",
    ] {
        let response = get(&server, path);
        assert!(!response.contains("from the wrong folder"), "{path}: {response}");
        assert!(["200", "400", "404"].contains(&status(&response)), "{path}: {response}");
    }
}

#[test]
fn strip_takes_off_the_path_and_puts_it_back() {
    let folder = Folder::new();
    folder.write("dist/index.html", "app");
    folder.write("dist/sub/a.txt", "a");
    folder.write("dist/page.html", "page");
    let lab = Server::start(&[]);
    let server = folder.serve(&format!(
        r#"
[[site]]
[[site.route]]
path = "/app/"
root = "dist"
browse = true
try-html = true
strip = true
proxy = "/app/api/=http://{} strip"
[[site.route]]
path = "/lab/"
lab = true
strip = true
[[site.route]]
path = "/old/"
redirect = "/new/{{rest}}"
strip = true
"#,
        lab.address
    ));
    for (path, code, location) in [
        ("/app", "308", "./app/"),
        ("/app?q", "308", "./app/?q"),
        ("/x/../app", "308", "./app/"),
        ("/app/sub", "301", "sub/"),
        ("/app/page.html", "301", "page"),
        ("/old/a/b", "308", "/new/a/b"),
        ("/old/old/b", "308", "/new/old/b"),
        ("/old", "308", "/new/"),
    ] {
        let response = get(&server, path);
        assert_eq!((status(&response), field(&response, "Location")), (code, Some(location)), "{path}");
    }
    for (path, text) in [
        ("/app/", "app"),
        ("/app/page", "page"),
        ("/app/sub/a.txt", "a"),
        ("/app/api/plaintext", "Hello, World!"),
        ("/lab/plaintext", "Hello, World!"),
    ] {
        assert_eq!(content(&get(&server, path)), text, "{path}");
    }
    let listing = get(&server, "/app/sub/");
    assert!(listing.contains("href=\"a.txt\"") || listing.contains("href=\"./a.txt\""), "{listing}");
    for path in ["/plaintext", "/application", "/app/../plaintext", "/app/%2e%2e%2fplaintext"] {
        let response = get(&server, path);
        assert!(["400", "404"].contains(&status(&response)), "{path}: {response}");
    }
}

#[test]
fn errors_get_the_pages_of_their_route_and_those_of_upstreams_stay() {
    let folder = Folder::new();
    folder.write("pages/404.html", "our page");
    folder.write("pages/5xx.html", "our trouble");
    folder.write("www/a.txt", "file");
    let upstream = Server::start(&[]);
    let server = folder.serve(&format!(
        r#"
[[site]]
root = "www"
error-pages = "pages"
header = ["X-Site: yes"]
[[site.route]]
path = "/up/"
proxy = "http://{}"
[[site.route]]
path = "/gone/"
proxy = "http://127.0.0.1:1"
[[site.route]]
path = "=/said"
respond = 404
body = "said"
[[site.route]]
path = "=/bare"
respond = 503
"#,
        upstream.address
    ));
    let missing = get(&server, "/missing");
    assert_eq!((status(&missing), content(&missing)), ("404", "our page"));
    assert_eq!(field(&missing, "Content-Type"), Some("text/html; charset=utf-8"));
    let head = ask(&server, "HEAD /missing", "a", "");
    assert_eq!((field(&head, "Content-Length"), content(&head)), (Some("8"), ""));
    let json = ask(&server, "GET /missing", "a", "Accept: application/json\r\n");
    assert_eq!(content(&json), "our page", "whoever sets pages gets them");
    let theirs = get(&server, "/up/missing");
    assert_eq!((status(&theirs), field(&theirs, "X-Site")), ("404", Some("yes")), "{theirs}");
    assert!(!theirs.contains("our page"), "{theirs}");
    assert_eq!(content(&get(&server, "/gone/")), "our trouble", "the error was found here");
    assert_eq!(content(&get(&server, "/said")), "said");
    assert_eq!(content(&get(&server, "/bare")), "our trouble");
    // What is no error stays as it is.
    let file = get(&server, "/a.txt");
    let tag = field(&file, "ETag").unwrap().to_owned();
    let unchanged = ask(&server, "GET /a.txt", "a", &format!("If-None-Match: {tag}\r\n"));
    assert_eq!((status(&unchanged), content(&unchanged)), ("304", ""));
    let part = ask(&server, "GET /a.txt", "a", "Range: bytes=1-2\r\n");
    assert_eq!((status(&part), content(&part)), ("206", "il"));
}

#[test]
fn fields_of_a_route_replace_those_of_an_upstream_and_cors_is_its_own() {
    let folder = Folder::new();
    let upstream = folder.serve(
        "[[site]]\nrespond = 200\nbody = \"up\"\nheader = [\"X-A: theirs\", \"X-B: theirs\", \"Cache-Control: no-store\"]",
    );
    let server = folder.serve(&format!(
        r#"
[[site]]
proxy = "http://{}"
[[site.route]]
path = "/open/"
cors = ["https://a.example"]
header = ["X-A: ours", "X-B:", "/open/** Cache-Control: max-age=60"]
"#,
        upstream.address
    ));
    let origin = "Origin: https://a.example\r\n";
    let open = ask(&server, "GET /open/", "a", origin);
    assert_eq!(content(&open), "up");
    assert_eq!(field(&open, "X-A"), Some("ours"), "{open}");
    assert_eq!(field(&open, "Cache-Control"), Some("max-age=60"), "{open}");
    assert_eq!(open.matches("X-A").count(), 1, "{open}");
    assert_eq!(field(&open, "Access-Control-Allow-Origin"), Some("https://a.example"));
    let closed = ask(&server, "GET /", "a", origin);
    assert_eq!((field(&closed, "X-A"), field(&closed, "Access-Control-Allow-Origin")), (Some("theirs"), None));
    let preflight = format!("{origin}Access-Control-Request-Method: PUT\r\n");
    assert_eq!(status(&ask(&server, "OPTIONS /open/", "a", &preflight)), "204");
    assert_eq!(content(&ask(&server, "OPTIONS /", "a", &preflight)), "up", "upstreams answer for themselves");
}

#[test]
fn what_a_route_answers_by_itself_has_the_framing_of_its_status() {
    let folder = Folder::new();
    folder.write("page.svg", "<svg/>");
    let server = folder.serve(
        r#"
[[site]]
[[site.route]]
path = "=/none"
respond = 204
[[site.route]]
path = "=/method"
respond = 405
[[site.route]]
path = "=/file"
respond = 200
body-file = "page.svg"
[[site.route]]
path = "=/typed"
respond = 200
body = "{}"
content-type = "application/json"
[[site.route]]
methods = ["OPTIONS"]
respond = 200
body = "options"
"#,
    );
    let none = get(&server, "/none");
    assert_eq!((status(&none), field(&none, "Content-Length"), content(&none)), ("204", None, ""));
    assert_eq!(field(&get(&server, "/method"), "Allow"), Some(""), "RFC 9110 §15.5.6");
    let file = get(&server, "/file");
    assert_eq!((field(&file, "Content-Type"), content(&file)), (Some("image/svg+xml"), "<svg/>"));
    assert_eq!(field(&get(&server, "/typed"), "Content-Type"), Some("application/json"));
    let head = ask(&server, "HEAD /typed", "a", "");
    assert_eq!((field(&head, "Content-Length"), content(&head)), (Some("2"), ""));
    assert_eq!(content(&ask(&server, "OPTIONS *", "a", "")), "options");
    assert_eq!(status(&get(&server, "/other")), "404");
    // Content that nobody takes does not get in the way of the next request.
    let mut client = server.connect();
    client.send("POST /typed HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET /none HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.read_response().1, "{}");
    assert_eq!(status(&client.read_head()), "204");
}

#[test]
fn the_admin_answers_through_a_route_without_a_listener_of_its_own() {
    let folder = Folder::new();
    let server = folder.serve("[[site]]\n[[site.route]]\npath = \"/inside/\"\nadmin = true\nstrip = true\n");
    for (path, text) in
        [("/inside/connections", "connections: "), ("/inside/metrics", "tidemill_"), ("/inside/", "<html")]
    {
        let response = ask(&server, &format!("GET {path}"), "localhost", "");
        assert!(status(&response) == "200" && response.contains(text), "{path}: {response}");
    }
    assert_eq!(status(&get(&server, "/connections")), "404");
    // A name may mean this machine from one moment to the next, and the page that asks may be anybody's.
    assert_eq!(status(&get(&server, "/inside/connections")), "421");
}

/// What no route takes is 404 with all that the site says of its answers, and behind what it asks for.
#[test]
fn a_site_that_has_only_routes_answers_all_others_as_it_says() {
    let folder = Folder::new();
    folder.write("pages/404.html", "the site's page");
    folder.write("tokens", "0123456789abcdef\n");
    folder.write("private/x", "x");
    let server = folder.serve(
        r#"
[[site]]
error-pages = "pages"
header = ["X-A: 1"]
cors = true
max-upload-size = 2
[[site.route]]
path = "/private/"
bearer-tokens = "tokens"
root = "private"
strip = true
[[site.route]]
path = "/a/"
header = ["X-A: 2"]
respond = 200
[[site]]
hosts = ["guarded.example"]
bearer-tokens = "tokens"
error-pages = "pages"
[[site.route]]
path = "/a/"
respond = 200
allow = ["all"]
"#,
    );
    for path in ["/none", "/a//../private/x", "/private%2Fx"] {
        let none = get(&server, path);
        assert_eq!(
            (status(&none), content(&none), field(&none, "X-A")),
            ("404", "the site's page", Some("1")),
            "{path}"
        );
    }
    let head = ask(&server, "HEAD /none", "a", "Origin: https://b.example\r\n");
    assert_eq!((status(&head), content(&head), field(&head, "Content-Length")), ("404", "", Some("15")));
    assert_eq!(field(&head, "Access-Control-Allow-Origin"), Some("*"));
    assert_eq!(status(&ask(&server, "POST /none", "a", "Content-Length: 3\r\n")), "413");
    assert_eq!(field(&get(&server, "/a/"), "X-A"), Some("2"));
    let guarded = ask(&server, "GET /none", "guarded.example", "");
    assert_eq!((status(&guarded), content(&guarded).is_empty()), ("401", false));
    let token = "Authorization: Bearer 0123456789abcdef\r\n";
    assert_eq!(content(&ask(&server, "GET /none", "guarded.example", token)), "the site's page");
}

/// Whoever collects metrics from afar asks by a name. One that is written for the site is no name that somebody else has made up.
#[test]
fn the_admin_answers_under_the_hosts_that_are_written_for_its_site() {
    let folder = Folder::new();
    let server = folder.serve("[[site]]\nhosts = [\"metrics.example\"]\nadmin = true\n[[site]]\nadmin = true\n");
    assert_eq!(status(&ask(&server, "GET /metrics", "metrics.example", "")), "200");
    assert_eq!(status(&ask(&server, "GET /metrics", "rebound.example", "")), "421");
    assert_eq!(status(&ask(&server, "GET /metrics", "localhost", "")), "200");
}

/// Whoever collects metrics in a cluster asks by address. No page can bend an address, and no browser sends credentials of one host
/// to another.
#[test]
fn the_admin_of_the_default_site_answers_to_addresses_and_to_all_who_have_credentials() {
    let folder = Folder::new();
    folder.write("tokens", "0123456789abcdef\n");
    let server = folder.serve(
        "[[site]]\nadmin = true\n[[site.route]]\npath = \"/t/\"\nadmin = true\nstrip = true\nbearer-tokens = \"tokens\"\n",
    );
    for (host, code) in [("192.0.2.1:9100", "200"), ("[2001:db8::1]", "200"), ("rebound.example", "421"), ("", "421")] {
        assert_eq!(status(&ask(&server, "GET /metrics", host, "")), code, "{host}");
    }
    let token = "Authorization: Bearer 0123456789abcdef\r\n";
    assert_eq!(status(&ask(&server, "GET /t/metrics", "rebound.example", token)), "200");
    assert_eq!(status(&ask(&server, "GET /t/metrics", "rebound.example", "")), "401");
    assert_eq!(status(&ask(&server, "GET /metrics", "rebound.example", token)), "421");
}
