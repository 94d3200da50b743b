//! Scripts of other sites: what browsers are told about them.

use crate::support::{Server, field, status};

const ORIGIN: &str = "https://app.example";

fn ask(server: &Server, line: &str, fields: &str) -> String {
    server.ask(&format!("{line} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{fields}\r\n"))
}

fn allowed(response: &str) -> (Option<&str>, bool) {
    let origin = field(response, "Access-Control-Allow-Origin");
    (origin, field(response, "Access-Control-Allow-Credentials") == Some("true"))
}

#[test]
fn without_the_option_nothing_is_said() {
    let server = Server::start(&[]);
    let response = ask(&server, "GET /json", &format!("Origin: {ORIGIN}\r\n"));
    assert!(!response.contains("Access-Control-"), "{response}");
    let preflight = format!("Origin: {ORIGIN}\r\nAccess-Control-Request-Method: PUT\r\n");
    assert!(!ask(&server, "OPTIONS /json", &preflight).contains("Access-Control-"));
}

#[test]
fn every_answer_may_be_read_whatever_its_status_and_whoever_makes_it() {
    let folder = std::env::temp_dir().join(format!("tidemill-cors-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("docs")).unwrap();
    std::fs::write(folder.join("video.bin"), [7; 1000]).unwrap();
    let root = folder.to_str().unwrap();
    for (option, expected) in
        [("--cors", ("*", false)), (&*format!("--cors=https://b.example,{ORIGIN}"), (ORIGIN, true))]
    {
        let server = Server::start(&["--lab", option, root]);
        for (line, fields, code) in [
            ("GET /video.bin", "", "200"),
            ("GET /video.bin", "Range: bytes=0-9\r\n", "206"),
            ("GET /video.bin", "Range: bytes=5000-\r\n", "416"),
            ("HEAD /video.bin", "", "200"),
            ("GET /nothing", "", "404"),
            ("GET /docs", "", "301"),
            ("POST /video.bin", "Content-Length: 0\r\n", "405"),
            ("GET /json", "", "200"),
            ("GET /delay/1", "", "200"),
            ("GET /sheep?n=1&every=1ms", "", "200"),
            ("POST /users", "Content-Length: 2\r\n", "400"),
        ] {
            let fields = format!("Origin: {ORIGIN}\r\nConnection: close\r\n{fields}");
            // Two bytes behind the head are content where it announces some, and nothing otherwise.
            let response = server.ask(&format!("{line} HTTP/1.1\r\nHost: a\r\n{fields}\r\n{{]"));
            assert_eq!(status(&response), code, "{option} {line}: {response}");
            assert_eq!(allowed(&response), (Some(expected.0), expected.1), "{option} {line}: {response}");
            let exposed = field(&response, "Access-Control-Expose-Headers").unwrap();
            assert!(exposed.contains("Content-Range") && exposed.contains("ETag"), "{exposed}");
            let varies = response.lines().any(|line| line.eq_ignore_ascii_case("vary: origin"));
            assert_eq!(varies, expected.1, "{option} {line}: {response}");
        }
    }
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn sites_that_are_not_named_may_not_read() {
    let server = Server::start(&[&*format!("--cors={ORIGIN}")]);
    for origin in ["https://app.example.evil.net", "http://app.example", "null"] {
        let response = ask(&server, "GET /json", &format!("Origin: {origin}\r\n"));
        assert_eq!((status(&response), allowed(&response)), ("200", (None, false)), "{origin}");
        let preflight = format!("Origin: {origin}\r\nAccess-Control-Request-Method: PUT\r\n");
        assert_eq!(allowed(&ask(&server, "OPTIONS /users", &preflight)), (None, false), "{origin}");
    }
}

#[test]
fn a_preflight_is_answered_on_every_path_and_options_without_one_as_before() {
    let server = Server::start(&["--cors"]);
    let preflight = format!(
        "Origin: {ORIGIN}\r\nAccess-Control-Request-Method: PUT\r\nAccess-Control-Request-Headers: content-type, x-own\r\n"
    );
    for path in ["/users", "/nothing", "/"] {
        let response = ask(&server, &format!("OPTIONS {path}"), &preflight);
        assert_eq!((status(&response), allowed(&response)), ("204", (Some("*"), false)), "{path}");
        assert_eq!(field(&response, "Access-Control-Allow-Headers"), Some("content-type, x-own"));
        assert!(field(&response, "Access-Control-Allow-Methods").unwrap().contains("PUT"));
        assert_eq!(field(&response, "Access-Control-Max-Age"), Some("86400"));
    }
    let plain = ask(&server, "OPTIONS /users", "");
    assert!(field(&plain, "Allow").is_some_and(|allow| allow.contains("POST")), "{plain}");
}
