//! What the page says about why.

use crate::site::{LARGE, Site};
use crate::{Asked, Page, tidemill};

fn page(site: &Site, request: &str, fields: &[&str]) -> Page {
    Page::of(Asked { request, fields }, &[site.path()])
}

#[test]
fn every_step_of_a_file_names_its_rule() {
    let site = Site::new();
    let plain = page(&site, "GET /small.txt", &[]);
    plain.assert_line("request", "GET /small.txt HTTP/1.1");
    plain.assert_line("target", "origin-form, path /small.txt (RFC 9112 §3.2.1)");
    plain.assert_line("path", "small.txt");
    plain.assert_line("file", "small.txt, 6 bytes, text/plain; charset=utf-8");
    plain.assert_line("coding", "identity, 6 bytes: no Accept-Encoding (RFC 9110 §12.5.3)");
    plain.assert_line("answer", "200 OK (RFC 9110 §15.3.1)");
    plain.assert_line("framing", "Content-Length: 6 (RFC 9112 §6.2)");
    plain.assert_line("connection", "kept for the next request (RFC 9112 §9.3)");
    plain.assert_line("send path", "from memory, where the file is kept, 6 bytes");
    plain.assert_line("while hot", "recvfrom ×1, sendto ×1");

    let large = page(&site, "GET /large.bin", &["Range: bytes=-100"]);
    large.assert_line("range", &format!("bytes {}-{} of {LARGE} (RFC 9110 §14.2)", LARGE - 100, LARGE - 1));
    large.assert_line("send path", "from the page cache to the socket: 100 bytes");

    let packed = page(&site, "GET /lines.txt", &["Accept-Encoding: gzip"]);
    packed.assert_line("coding", "gzip, ");
    packed.assert_line("on a thread", "look it up, compress it to gzip");
    let long = page(&site, "GET /long.txt", &["Accept-Encoding: zstd"]);
    long.assert_line("forms", "identity; too long to be compressed as a whole");
    long.assert_line("coding", "zstd, while it is sent: Accept-Encoding: zstd (RFC 9110 §12.5.3)");
    long.assert_line("framing", "Transfer-Encoding: chunked");
    long.assert_line("connection", "kept for the next request");
    assert!(long.line("waits").is_none(), "{}", long.0);
    let sibling = page(&site, "GET /both.html", &["Accept-Encoding: br"]);
    sibling.assert_line("forms", "identity, br");
    sibling.assert_line("coding", "br, 10 bytes: Accept-Encoding: br");
}

#[test]
fn what_is_not_compressed_says_why() {
    let site = Site::new();
    let forms = |request, arguments: &[&str], expected| {
        let asked = Asked { request, fields: &["Accept-Encoding: gzip"] };
        Page::of(asked, &[arguments, &[site.path()]].concat()).assert_line("forms", expected);
    };
    forms("GET /large.bin", &[], "identity; application/octet-stream is not compressed, since most of it");
    forms("GET /small.txt", &[], "identity; not compressed, since 6 bytes would hardly become fewer");
    let no_transform = ["--cache-control", "no-transform"];
    forms("GET /lines.txt", &no_transform, "identity; not compressed, since its Cache-Control says no-transform");
    forms("GET /lines.txt", &["--file-cache", "0"], "identity; --file-cache 0 compresses nothing");
}

#[test]
fn the_rule_is_named_that_a_field_comes_from() {
    let site = Site::new();
    let rules = ["--cache-control", "max-age=60", "--header", "*.txt,*.md Cache-Control: no-store", site.path()];
    let field = |request| Page::of(Asked { request, fields: &[] }, &rules);
    field("GET /small.txt").assert_line("field", "Cache-Control: no-store, for *.txt,*.md");
    field("GET /both.html").assert_line("field", "Cache-Control: max-age=60, for everything");
}

#[test]
fn a_coded_form_alone_says_what_is_made_of_it() {
    let site = Site::new();
    let decoded = page(&site, "GET /alone.html", &["Accept-Encoding: br"]);
    decoded.assert_line("forms", "gzip; it is decoded when that is asked for");
    decoded.assert_line("coding", "identity, 600 bytes");
    decoded.assert_line("on a thread", "look it up, decode it");
    let coded = page(&site, "GET /picture.svgz", &["Accept-Encoding: gzip"]);
    coded.assert_line("coding", "gzip, ");
    coded.assert_line("on a thread", "look it up");
    let long = page(&site, "GET /long.html", &["Accept-Encoding: br"]);
    assert_eq!(long.line("forms"), Some("gzip"), "too long to be decoded");
    let page_of = |request| Page::of(Asked { request, fields: &[] }, &["--try-html", site.path()]);
    page_of("GET /both.html").assert_line("file", "a page, asked for with its extension");
    page_of("GET /both/").assert_line("file", "a page, asked for with a slash at its end");
    page_of("GET /indexed/index").assert_line("file", "the index file of a folder, asked for by its name");
    page_of("GET /both").assert_line("file", "both.html, 7 bytes");
    page(&site, "GET /folder", &[]).assert_line("file", "a folder, asked for without a slash at its end");
}

#[test]
fn whether_a_path_that_does_not_exist_gets_the_page_has_a_reason() {
    let site = Site::new();
    let spa = |request, fields: &[&str]| Page::of(Asked { request, fields }, &["--spa=both.html", site.path()]);
    let route = spa("GET /nothing", &[]);
    route
        .assert_line("spa", "nothing has this name: the page of --spa, since neither Sec-Fetch-Dest nor its extension");
    route.assert_line("file", "both.html, 7 bytes");
    let named = spa("GET /nothing.js", &["Accept: text/html"]);
    named.assert_line("spa", "the page of --spa, since Accept names text/html");
    let asset = spa("GET /nothing.js", &[]);
    asset.assert_line(
        "spa",
        "nothing has this name: not the page of --spa, since it has the extension of something else",
    );
    asset.assert_line("answer", "404");
    asset.assert_line("on a thread", "look it up");
    let loaded = spa("GET /nothing", &["Sec-Fetch-Dest: script"]);
    loaded.assert_line("spa", "not the page of --spa, since Sec-Fetch-Dest says that it is loaded by a page");
    assert_eq!(spa("GET /both.html", &["Sec-Fetch-Dest: script"]).line("spa"), None, "it is there");
    assert_eq!(page(&site, "GET /nothing.js", &[]).line("spa"), None, "there is no such page");
}

#[test]
fn a_condition_that_decides_is_named() {
    let site = Site::new();
    let because = |fields: &[&str], part: &str| page(&site, "GET /small.txt", fields).assert_line("conditional", part);
    because(&["If-None-Match: *"], "If-None-Match: * → what the client has is still good: 304 (RFC 9110 §13.1.2)");
    because(&["If-Match: \"a\""], "412 (RFC 9110 §13.1.1)");
    because(&["If-None-Match: \"a\""], "nothing in If-None-Match stands in the way (RFC 9110 §13.2.2)");
    because(
        &["If-None-Match: \"a\"", "If-Modified-Since: Thu, 01 Jan 2026 00:00:00 GMT"],
        "nothing in If-None-Match stands in the way (RFC 9110 §13.2.2); \
         If-Modified-Since is not looked at beside If-None-Match (RFC 9110 §13.1.3)",
    );
    because(&["If-Range: \"a\"", "Range: bytes=0-1"], "so it gets the whole (RFC 9110 §13.1.5)");
    because(&[], "no condition");
}

#[test]
fn refusals_say_why() {
    let site = Site::new();
    page(&site, "GET /../up", &[]).assert_line("path", "a .. in it leaves ROOT (RFC 3986 §5.2.4)");
    page(&site, "GET /%zz", &[]).assert_line("path", "a % in it is not followed by two hexadecimal digits");
    page(&site, "GET /%00", &[]).assert_line("path", "a NUL");
    page(&site, "GET /.hidden", &[]).assert_line("path", "hidden");
    page(&site, "GET /nothing", &[]).assert_line("file", "nothing has this name");
    page(&site, "PUT /small.txt", &[]).assert_line("method", "files have GET, HEAD and OPTIONS");
    let refused = page(&site, "GET /", &["A : b"]);
    refused.assert_line("refused", "whitespace between a field name and its colon (RFC 9112 §5.1)");
    refused.assert_line("answer", "400 Bad Request (RFC 9110 §15.5.1)");
    refused.assert_line("connection", "ended by the server");
    page(&site, "GET /", &["Accept-Encoding: *;q=0"]).assert_line("file", "nothing has this name");
    page(&site, "GET /small.txt", &["Accept-Encoding: *;q=0"]).assert_line("coding", "none that is there is accepted");
}

#[test]
fn a_handler_that_waits_or_fails_is_told() {
    let page = |request: &str, fields: &[&str]| Page::of(Asked { request, fields }, &[]);
    page("GET /users/a%20b", &[]).assert_line("parameter", "id = a b");
    page("GET /nowhere", &[]).assert_line("route", "lab: no pattern fits this path");
    page("GET /%zz", &[]).assert_line("route", "not followed by two hexadecimal digits (RFC 3986 §2.1)");
    page("OPTIONS *", &[]).assert_line("route", "the server as a whole");
    page("DELETE /users", &[]).assert_line("method", "DELETE has no handler here, but POST, OPTIONS");
    page("GET /delay/30000", &[]).assert_line("waits", "30s for the clock");
    page("GET /sheep", &[]).assert_line("connection", "goes on when the clock says so");
    page("GET /stream/10000000000", &[]).assert_line("connection", "goes on sending");
    page("GET /error", &[]).assert_line("failure", "fails on purpose");
    let waits = page("POST /users", &["Content-Length: 5"]);
    waits.assert_line("content", "5 bytes to come (RFC 9112 §6.2)");
    waits.assert_line("answer", "none yet: it waits for the request's content");
}

#[test]
fn nothing_that_is_asked_reaches_the_terminal_as_it_is() {
    let output = tidemill(&["explain", "GET /\u{1b}[31m"]);
    assert!(!output.stdout.contains(&0x1b));
    let site = Site::new();
    let page = page(&site, "GET /%1b[31m", &[]);
    page.assert_line("path", "\\u{1b}[31m");
}

#[test]
fn what_the_server_would_warn_about_is_said_on_stderr() {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tidemill"));
    let output = command.env_clear().env("TIDEMILL_HIDEN", "1").args(["explain", "GET /plaintext"]).output().unwrap();
    let warning = "tidemill: TIDEMILL_HIDEN has no effect: there is no such setting; TIDEMILL_HIDDEN is one\n";
    assert_eq!((output.status.code(), String::from_utf8(output.stderr).unwrap().as_str()), (Some(0), warning));
    assert!(String::from_utf8(output.stdout).unwrap().contains("200 OK"));
}

#[test]
fn what_cannot_be_asked_is_a_line_and_exit_code_2() {
    for (arguments, expected) in [
        (&["explain"][..], "tidemill: the following required arguments were not provided: <REQUEST>; see --help\n"),
        (
            &["explain", "nonsense"],
            "tidemill: invalid value 'nonsense' for '<REQUEST>': expected a method and a target, such as 'GET /path'; see --help\n",
        ),
        (
            &["explain", "GET /", "/nowhere"],
            "tidemill: invalid value '/nowhere' for '[ROOT]': expected a directory or a file that exists; see --help\n",
        ),
        (
            &["explain", "-H", "nonsense", "GET /"],
            "tidemill: invalid value 'nonsense' for '-H <NAME: VALUE>': expected a field such as 'Accept-Encoding: gzip'; see --help\n",
        ),
    ] {
        let output = tidemill(arguments);
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(2), &b""[..]), "{arguments:?}");
        assert_eq!(String::from_utf8(output.stderr).unwrap(), expected, "{arguments:?}");
    }
}

#[test]
fn help_tells_how_to_ask() {
    let output = tidemill(&["explain", "--help"]);
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    for part in ["tidemill explain [OPTIONS]", "'GET /path'", "-H <NAME: VALUE>", "--browse", "[ROOT]"] {
        assert!(text.contains(part), "{part} is missing from:\n{text}");
    }
}
