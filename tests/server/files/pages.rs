//! What people see instead of a file.

use super::{Site, ask, fs};
use crate::support::{Server, field, status};

const BROWSER: &str = "Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\n";

fn site() -> Site {
    Site::new().with("docs/deep/x.txt", "x").with("a b/page.html", "page").with("docs/index.html", "docs")
}

fn text(content: Vec<u8>) -> String {
    String::from_utf8(content).unwrap()
}

/// The answer to a browser; its page must be one.
fn visit(server: &Server, request: &str, lines: &str) -> (String, String) {
    let (head, content) = ask(server, request, &format!("{BROWSER}{lines}"));
    let page = text(content);
    assert_eq!(field(&head, "Content-Type"), Some("text/html; charset=utf-8"), "{request}: {head}");
    assert!(page.len() < 4096, "{} bytes", page.len());
    (head, page)
}

#[test]
fn every_refusal_is_a_page_for_people_and_a_line_for_programs() {
    let site = site();
    let server = site.serve(&["--browse"]);
    for (request, lines, expected, sentence) in [
        ("GET /nothing", "", "404 Not Found", "There is nothing at this address"),
        ("GET /docs/deep/.x", "", "404 Not Found", "There is nothing at this address"),
        ("GET /%", "", "400 Bad Request", "not written as addresses are"),
        ("DELETE /docs/", "", "405 Method Not Allowed", "can only be read"),
        ("BREW /docs/", "", "501 Not Implemented", "does not know what it was asked to do"),
        ("GET /docs/deep/x.txt", "If-Match: \"old\"\r\n", "412 Precondition Failed", "load it anew"),
        ("GET /docs/deep/x.txt", "Range: bytes=9-\r\n", "416 Range Not Satisfiable", "behind the end"),
        ("GET /docs/deep/x.txt", "Accept-Encoding: identity;q=0\r\n", "406 Not Acceptable", "does not accept"),
        ("GET /docs/deep", "", "301 Moved Permanently", "<a href=\"deep/\">deep/</a>"),
    ] {
        let (head, page) = visit(&server, request, lines);
        assert!(head.starts_with(&format!("HTTP/1.1 {expected}\r\n")), "{request}: {head}");
        assert!(page.contains(&format!("<h1>{expected}</h1>")) && page.contains(sentence), "{request}: {page}");
        assert!(head.contains("\r\nVary: Accept\r\n"), "a cache must not give a page to a program: {head}");
        let (head, content) = ask(&server, request, lines);
        assert_eq!(field(&head, "Content-Type"), Some("text/plain; charset=utf-8"), "{head}");
        assert_eq!(text(content), format!("{expected}\n"));
        assert!(head.contains("\r\nVary: Accept\r\n"), "{head}");
    }
}

#[test]
fn head_has_the_fields_of_the_page() {
    let site = site();
    let server = site.serve(&[]);
    for target in ["/nothing", "/docs/nothing/", "/docs"] {
        let without_date =
            |head: &str| head.lines().filter(|line| !line.starts_with("Date")).collect::<Vec<_>>().join("\n");
        let (head, _) = ask(&server, &format!("GET {target}"), BROWSER);
        assert_eq!(without_date(&ask(&server, &format!("HEAD {target}"), BROWSER).0), without_date(&head));
    }
}

/// A file that not even the superuser may read.
const WRITE_ONLY: [&str; 2] = ["/sys/bus/platform", "uevent"];

#[test]
fn what_may_not_be_read_is_said_to_be_there() {
    let [folder, name] = WRITE_ONLY;
    if !fs::exists(format!("{folder}/{name}")).unwrap() {
        return eprintln!("notice: there is no {folder}/{name}, hence no 403 is tested");
    }
    let server = Server::start(&[folder]);
    let (head, page) = visit(&server, &format!("GET /{name}"), "");
    assert_eq!(status(&head), "403");
    assert!(page.contains("it may not be shown") && page.contains("<a href=\"./\">the start page</a>"), "{page}");
}

/// A file that the kernel lets nobody read: `lo` has no speed.
const UNREADABLE: [&str; 2] = ["/sys/devices/virtual/net/lo", "speed"];

#[test]
fn what_cannot_be_read_is_a_page_too_and_its_reason_is_for_the_log_alone() {
    let [folder, name] = UNREADABLE;
    if !fs::exists(format!("{folder}/{name}")).unwrap() {
        return eprintln!("notice: there is no {folder}/{name}, hence no 500 is tested");
    }
    let server = Server::start(&["--header", "X-Frame-Options: DENY", folder]);
    let (head, page) = visit(&server, &format!("GET /{name}"), "");
    assert_eq!((status(&head), field(&head, "X-Frame-Options")), ("500", Some("DENY")));
    assert!(page.contains("<a href=\"\">Try again</a>") && !page.contains("Invalid argument"), "{page}");
    server.wait_for_log("500 for GET /speed: Invalid argument");
    let (_, content) = ask(&server, &format!("GET /{name}"), "");
    assert_eq!(text(content), "500 Internal Server Error\n");
}

#[test]
fn the_way_back_leads_to_what_is_there() {
    let site = site();
    let server = site.serve(&["--browse"]);
    for (target, folder, root) in [
        ("/docs/deep/nothing", "/docs/deep/", "/"),
        ("/docs/deep/nothing/", "/docs/deep/", "/"),
        ("/a%20b/nothing?q=1", "/a%20b/", "/"),
        ("/docs//deep/nothing", "/docs//deep/", "/"),
    ] {
        let (_, page) = visit(&server, &format!("GET {target}"), "");
        let (_, back) = page.split_once("<p>Back to ").unwrap();
        let references: Vec<_> = back.split("href=\"").skip(1).map(|rest| rest.split_once('"').unwrap().0).collect();
        let leads_to: Vec<_> = references.iter().map(|reference| above(target, reference)).collect();
        assert_eq!(leads_to, [folder, root], "{target}: {references:?}");
        for target in leads_to {
            assert_eq!(status(&ask(&server, &format!("GET {target}"), BROWSER).0), "200", "{target}");
        }
    }
}

/// Where `./` and `../` lead to from a target (RFC 3986 §5.2).
fn above<'a>(target: &'a str, reference: &str) -> &'a str {
    let mut folder = &target[..target.split('?').next().unwrap().rfind('/').unwrap()];
    for _ in reference.matches("../") {
        folder = &folder[..folder.rfind('/').unwrap()];
    }
    &target[..=folder.len()]
}

#[test]
fn a_page_runs_nothing_and_loads_nothing() {
    let site = site();
    let server = site.serve(&["--browse"]);
    let (listing, _) = ask(&server, "GET /", BROWSER);
    let policy = field(&listing, "Content-Security-Policy").unwrap();
    let (head, page) = visit(&server, "GET /%3Cscript%3Ealert(1)%3C/script%3E/x\"onclick='y", "");
    assert_eq!(field(&head, "Content-Security-Policy"), Some(policy));
    assert!(page.contains("&lt;script&gt;alert(1)&lt;") && page.contains("x&quot;onclick=&#39;y"), "{page}");
    for wrong in ["<script", "onclick='y", "src=", "@import", "url(\"http", "href=\"http"] {
        assert!(!page.contains(wrong), "{wrong} in {page}");
    }
    let (head, page) = visit(&server, "GET /docs?x=\"><script>&y", "");
    assert_eq!(field(&head, "Location"), Some("docs/?x=\"><script>&y"));
    assert!(page.contains("<a href=\"docs/?x=&quot;&gt;&lt;script&gt;&amp;y\">"), "{page}");
}

#[test]
fn the_root_is_listed_as_what_it_is() {
    let site = site();
    let page = site.serve(&["--browse"]).ask(&format!("GET / HTTP/1.0\r\n{BROWSER}\r\n"));
    assert!(page.contains("<title>Index of /</title>") && page.contains("<h1><bdi>Index of /</bdi></h1>"), "{page}");
}

#[test]
fn the_demo_page_tells_how_to_serve_a_folder_and_what_it_tells_is_so() {
    let site = Site::new().with("folder/docs/x.txt", "x").with("folder/index.html", "your own page");
    let page = Server::start(&[]).ask("GET / HTTP/1.0\r\n\r\n");
    let commands: Vec<_> = page.split("<code>tidemill").skip(1).map(|rest| rest.split('<').next().unwrap()).collect();
    assert_eq!(commands, [" ./folder", " --browse .", " --browse --listen :8080 ./folder", " --help"]);
    for (command, target, expected) in [
        (commands[0], "/", "your own page"),
        (commands[0], "/docs/", "404 Not Found"),
        (commands[1], "/folder/", "your own page"),
        (commands[1], "/folder/docs/", "x.txt"),
        (commands[2], "/docs/", "x.txt"),
    ] {
        let mut tidemill = std::process::Command::new(env!("CARGO_BIN_EXE_tidemill"));
        tidemill.current_dir(&site.root).env("TIDEMILL_LISTEN", "127.0.0.1:0");
        tidemill.args(command.replace(":8080", "127.0.0.1:0").split_whitespace());
        let answer = Server::spawn(tidemill).ask(&format!("GET {target} HTTP/1.0\r\n{BROWSER}\r\n"));
        assert!(answer.contains(expected), "{command}: {answer}");
    }
}
