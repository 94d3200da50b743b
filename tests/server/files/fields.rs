//! Which fields a site adds to what.

use super::{Site, ask, get};
use crate::support::{Server, field, status};

const IMMUTABLE: &str = "public, max-age=31536000, immutable";

fn site() -> Site {
    Site::new()
        .with("index.html", "start")
        .with("app.html", "app")
        .with("assets/index-BsZHvUq1.js", "hashed")
        .with("assets/plain.js", "plain")
        .with("docs/index.html", "docs")
        .with("list/a.css", "a")
}

/// The value of a field in the answer to `GET target`, with the status it has to have.
fn value(server: &Server, target: &str, name: &str, expected_status: &str) -> Option<String> {
    let (head, _) = get(server, target);
    assert_eq!(status(&head), expected_status, "{target}: {head}");
    field(&head, name).map(str::to_owned)
}

#[test]
fn a_field_is_for_what_its_pattern_names() {
    let site = site();
    let server = site.serve(&[
        "--header",
        "X-All: 1",
        "--header",
        "*.js,*.css X-Kind: code",
        "--header",
        "/docs/ X-Docs: 1",
        "--header",
        "/list/** X-All: 2",
    ]);
    for (target, name, expected) in [
        ("/", "X-All", Some("1")),
        ("/", "X-Kind", None),
        ("/assets/plain.js", "X-Kind", Some("code")),
        ("/assets/pl%61in.js", "X-Kind", Some("code")),
        ("/assets/../list/./a.css", "X-All", Some("2")),
        ("/docs/", "X-Docs", Some("1")),
        ("/docs/index.html", "X-Docs", Some("1")),
        ("/index.html", "X-Docs", None),
    ] {
        // The second answer comes from memory.
        for _ in 0..2 {
            assert_eq!(value(&server, target, name, "200").as_deref(), expected, "{target} {name}");
        }
    }
}

#[test]
fn answers_that_are_no_files_have_the_fields_but_those_about_caching() {
    let site = site();
    let server = site.serve(&[
        "--browse",
        "--header",
        "X-All: 1",
        "--cache-control",
        "max-age=60",
        "--header",
        "/list/** Expires: 0",
        "--header",
        "X-Content-Type-Options: own",
        "--header",
        "/gone* X-Gone: 1",
    ]);
    for (line, lines, code) in [
        ("GET /gone", "", "404"),
        ("GET /gone%", "", "400"),
        ("GET /docs", "", "301"),
        ("GET /list/", "", "200"),
        ("OPTIONS /list/a.css", "", "204"),
        ("POST /list/a.css", "Content-Length: 0\r\n", "405"),
        ("GET /list/a.css", "Range: bytes=9-\r\n", "416"),
        ("GET /list/a.css", "If-Match: \"x\"\r\n", "412"),
    ] {
        let (head, _) = ask(&server, line, lines);
        assert_eq!((status(&head), field(&head, "X-All")), (code, Some("1")), "{line}: {head}");
        assert_eq!((field(&head, "Cache-Control"), field(&head, "Expires")), (None, None), "{line}: {head}");
        assert_eq!(head.matches("X-Content-Type-Options: ").count(), 1, "{line}: {head}");
        assert_eq!(field(&head, "X-Gone").is_some(), line.contains("/gone"), "{line}: {head}");
    }
    let (head, _) = get(&server, "/list/a.css");
    assert_eq!(field(&head, "X-Content-Type-Options"), Some("own"));
    assert_eq!(head.matches("X-Content-Type-Options: ").count(), 1, "{head}");
    let revalidated = format!("If-None-Match: {}\r\n", field(&head, "ETag").unwrap());
    let (head, _) = ask(&server, "GET /list/a.css", &revalidated);
    assert_eq!((status(&head), field(&head, "Cache-Control")), ("304", Some("max-age=60")));
}

#[test]
fn hashed_assets_are_kept_and_nothing_else() {
    let site = site();
    let server =
        site.serve(&["--spa=app.html", "--cache-control", "hashed", "--header", "/docs/* Cache-Control: private"]);
    for (target, expected) in [
        ("/assets/index-BsZHvUq1.js", IMMUTABLE),
        ("/assets/plain.js", "no-cache"),
        ("/", "no-cache"),
        ("/docs/", "private"),
    ] {
        assert_eq!(value(&server, target, "Cache-Control", "200").as_deref(), Some(expected), "{target}");
    }
    // Who goes to an asset of the release before gets the page, which must not be kept for a year.
    let (head, _) = ask(&server, "GET /assets/index-CtZHvUq2.js", "Accept: text/html\r\n");
    assert_eq!((status(&head), field(&head, "Cache-Control")), ("200", Some("no-cache")));
    assert_eq!(value(&server, "/assets/index-CtZHvUq2.js", "Cache-Control", "404"), None, "a page loads it");
    let server = site.serve(&["--cache-control", "hashed"]);
    assert_eq!(value(&server, "/assets/index-CtZHvUq2.js", "Cache-Control", "404"), None);
    for all in [IMMUTABLE, "max-age=60"] {
        let server = site.serve(&["--spa=app.html", "--cache-control", all]);
        let fallback = if all == IMMUTABLE { "no-cache" } else { all };
        // Both orders: what is kept of the one must not answer for the other.
        for (target, expected) in [("/a/route", fallback), ("/app.html", all), ("/a/route", fallback)] {
            assert_eq!(value(&server, target, "Cache-Control", "200").as_deref(), Some(expected), "{target} {all}");
        }
    }
}
