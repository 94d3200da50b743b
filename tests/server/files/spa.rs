//! `--spa`: who gets the page for a path that does not exist, and who gets 404.

use super::*;

const BROWSER: &str = "Accept: text/html,application/xhtml+xml,*/*;q=0.8";
const ANY: &str = "Accept: */*";

fn site() -> Site {
    Site::new().with("index.html", "app").with("404.html", "own page").with("real.js", "script").with("d/x.txt", "x")
}

/// What a request for `target` with these lines gets: the page, 404, or something else.
#[track_caller]
fn outcome(server: &Server, target: &str, lines: &[&str]) -> &'static str {
    let fields: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    let (head, content) = ask(server, &format!("GET {target}"), &fields);
    let vary = field(&head, "Vary").unwrap_or_default();
    assert!(vary.starts_with("Accept, Sec-Fetch-Dest"), "{target} {lines:?}: {head}");
    let (of_head, _) = ask(server, &format!("HEAD {target}"), &fields);
    assert_eq!(status(&of_head), status(&head), "HEAD says what GET says");
    match (status(&head), &content[..]) {
        ("200", b"app") => "page",
        ("404", b"own page") => "404",
        _ => panic!("{target} {lines:?}: {head}"),
    }
}

#[test]
fn whoever_goes_to_a_page_gets_it_and_whoever_loads_an_asset_does_not() {
    let site = site();
    let server = site.serve(&["--spa"]);
    // Each target twice: first looked up, then known. And in both orders, since what is kept is kept for all.
    for (target, lines, expected) in [
        ("/a/route", &[][..], "page"),
        ("/a/route", &[ANY], "page"),
        ("/a/route", &[BROWSER], "page"),
        ("/a/route", &["Accept: application/json"], "page"),
        ("/a/route/", &[ANY], "page"),
        ("/d/", &[ANY], "page"),
        ("/v1.2", &[ANY], "page"),
        ("/old.html", &[ANY], "page"),
        ("/app.js/", &[ANY], "page"),
        ("/app.js", &[], "404"),
        ("/app.js", &[ANY], "404"),
        ("/app.js", &[BROWSER], "page"),
        ("/app.js", &["Accept: text/html;q=0, */*"], "404"),
        ("/app%2Ejs", &[ANY], "404"),
        ("/a/../app.js?v=1", &[ANY], "404"),
        ("/favicon.ico", &["Accept: image/avif,image/webp,*/*;q=0.8"], "404"),
        ("/app.js", &["Sec-Fetch-Dest: document", ANY], "page"),
        ("/app.js", &["Sec-Fetch-Dest: iframe"], "page"),
        ("/a/route", &["Sec-Fetch-Dest: document", BROWSER], "page"),
        ("/a/route", &["Sec-Fetch-Dest: script", ANY], "404"),
        ("/a/route", &["Sec-Fetch-Dest: style", BROWSER], "404"),
        ("/a/route", &["Sec-Fetch-Dest: empty", ANY], "page"),
        ("/a/route", &["Sec-Fetch-Dest: empty", BROWSER], "page"),
        ("/a/route", &["Sec-Fetch-Dest: empty", "Accept: application/json, text/plain, */*"], "404"),
        ("/data.json", &["Sec-Fetch-Dest: empty", ANY], "404"),
        ("/data.json", &["Sec-Fetch-Dest: empty", BROWSER], "page"),
        ("/app.js", &["Sec-Fetch-Dest: surely-not", BROWSER], "page"),
        ("/app.js", &["Sec-Fetch-Dest: surely-not", ANY], "404"),
    ] {
        for _ in 0..2 {
            assert_eq!(outcome(&server, target, lines), expected, "{target} {lines:?}");
        }
    }
}

#[test]
fn what_is_there_is_for_everyone() {
    let site = site();
    let server = site.serve(&["--spa", "--browse"]);
    for lines in ["", "Sec-Fetch-Dest: image\r\n", "Accept: text/html\r\n"] {
        for (target, expected) in
            [("/real.js", "200"), ("/index.html", "200"), ("/", "200"), ("/d", "301"), ("/d/", "200")]
        {
            let (head, _) = ask(&server, &format!("GET {target}"), lines);
            assert_eq!(status(&head), expected, "{target}: {head}");
            assert!(!head.contains("Sec-Fetch-Dest"), "{target}: {head}");
        }
    }
    for target in ["/.env.js", "/.git/a"] {
        let (head, _) = ask(&server, &format!("GET {target}"), "Sec-Fetch-Dest: document\r\n");
        assert_eq!(status(&head), "404", "{target} is hidden");
    }
}

#[test]
fn a_refusal_without_a_page_of_the_site_is_the_built_in_one() {
    let site = Site::new().with("app.html", "app");
    let server = site.serve(&["--spa=app.html", "--header", "X-Rule: 1", "--cache-control", "max-age=60", "--cors"]);
    for (accept, media_type) in [("*/*", "text/plain; charset=utf-8"), ("text/*", "text/plain; charset=utf-8")] {
        let (head, _) = ask(&server, "GET /app.js", &format!("Accept: {accept}\r\n"));
        assert_eq!((status(&head), field(&head, "Content-Type")), ("404", Some(media_type)), "{head}");
        assert_eq!((field(&head, "X-Rule"), field(&head, "Cache-Control")), (Some("1"), None), "{head}");
        assert_eq!(head.matches("Accept, Sec-Fetch-Dest").count(), 1, "{head}");
    }
    let (head, content) = ask(&server, "GET /a/route", "Sec-Fetch-Dest: image\r\nAccept: text/html\r\n");
    assert_eq!((status(&head), field(&head, "Content-Type")), ("404", Some("text/html; charset=utf-8")), "{head}");
    assert!(String::from_utf8_lossy(&content).contains("404 Not Found"));
}

#[test]
fn own_media_types_say_what_is_no_page() {
    let site = site();
    fs::write(site.base.join("types"), "text/html php\nmodel/own own\n").unwrap();
    let types = site.base.join("types");
    let server = site.serve(&["--spa", "--mime-types", types.to_str().unwrap(), "--default-type", "text/plain"]);
    assert_eq!(outcome(&server, "/old.php", &[ANY]), "page");
    assert_eq!(outcome(&server, "/x.own", &[ANY]), "404");
    assert_eq!(outcome(&server, "/v1.2", &[ANY]), "page");
    assert_eq!(outcome(&site.serve(&["--spa"]), "/x.own", &[ANY]), "page");
}

/// `--file-cache 0` keeps nothing, and the answers are the same.
#[test]
fn who_keeps_nothing_answers_alike() {
    let site = site();
    let server = site.serve(&["--spa", "--file-cache", "0"]);
    for _ in 0..2 {
        assert_eq!(outcome(&server, "/app.js", &[ANY]), "404");
        assert_eq!(outcome(&server, "/app.js", &[BROWSER]), "page");
        assert_eq!(outcome(&server, "/a/route", &["Sec-Fetch-Dest: font"]), "404");
    }
}
