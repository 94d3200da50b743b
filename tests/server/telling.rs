//! Identifiers of requests and `Server-Timing`, as clients of the real binary see them.

use crate::logged::Logged;
use crate::support::{Server, field, status};

/// A request with these further lines, after which the connection ends.
fn request(target: &str, fields: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{fields}\r\n")
}

#[test]
fn nothing_is_told_by_default() {
    let server = Server::start(&[]);
    let response = server.ask(&request("/plaintext", "X-Request-Id: a\r\n"));
    assert!(!response.contains("Request-Id") && !response.contains("Server-Timing"), "{response}");
}

#[test]
fn the_client_and_the_log_have_the_same_identifier_in_all_formats() {
    for format in ["common", "combined", "json", "pretty"] {
        let logged = Logged::start(format, &["--request-id", "--trusted-proxy", "127.0.0.1"]);
        let theirs = logged.server.ask(&request("/plaintext", "X-Request-Id: Root=1-6789:a/b\r\n"));
        assert_eq!(field(&theirs, "X-Request-Id"), Some("Root=1-6789:a/b"));
        let ours = logged.server.ask(&request("/nothing", ""));
        let id = field(&ours, "X-Request-Id").unwrap();
        assert!(id.ends_with("-c2-r1"), "{id}");
        let lines = logged.lines(2);
        for (line, id) in lines.iter().zip(["Root=1-6789:a/b", id]) {
            let expected = match format {
                "json" => format!(",\"request_id\":\"{id}\","),
                "pretty" => format!(" id={id}"),
                _ => format!(" --- {id}"),
            };
            assert!(line.contains(&expected), "{line}");
        }
    }
}

/// None of these reaches the response or the log.
#[test]
fn hostile_identifiers_are_replaced() {
    let arguments =
        ["--request-id=Trace-Id", "--trusted-proxy", "127.0.0.1", "--max-header-size", "1MiB", "--no-http2"];
    let logged = Logged::start("json", &arguments);
    let huge = "a".repeat((1 << 20) - 200);
    let hostile = ["a b", "a\"}", "\u{e4}", "\u{1b}[31m", "a\tb", "a,b", &"a".repeat(129), &huge];
    for (index, value) in hostile.iter().enumerate() {
        let response = logged.server.ask(&request("/plaintext", &format!("Trace-Id: {value}\r\n")));
        match status(&response) {
            "200" => {
                let id = field(&response, "Trace-Id").unwrap();
                assert!(id.ends_with(&format!("-c{}-r1", index + 1)), "{id}");
            }
            // Control bytes are refused before anybody looks at the field.
            refused => assert_eq!((refused, *value), ("400", "\u{1b}[31m")),
        }
    }
    // A line break begins another field, and two fields are no identifier.
    for lines in ["Trace-Id: a\r\nTrace-Id: b\r\n", "Trace-Id: \r\nb: c\r\n"] {
        let response = logged.server.ask(&request("/plaintext", lines));
        assert!(field(&response, "Trace-Id").unwrap().ends_with("-r1"), "{response}");
    }
    for line in logged.lines(hostile.len() + 2) {
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        let id = line["request_id"].as_str().unwrap();
        assert!(id.contains("-c") && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'), "{id}");
    }
}

#[test]
fn two_runs_give_different_identifiers() {
    let [one, other] = [(); 2].map(|()| {
        let response = Server::start(&["--request-id"]).ask(&request("/plaintext", ""));
        field(&response, "X-Request-Id").unwrap().to_owned()
    });
    assert_ne!(one, other);
}

#[test]
fn the_timing_names_the_wait() {
    let server = Server::start(&["--server-timing"]);
    let response = server.ask(&request("/delay/60", ""));
    let timing = field(&response, "Server-Timing").unwrap();
    let clock: f64 = timing.split("clock;dur=").nth(1).unwrap().split(',').next().unwrap().parse().unwrap();
    // The handler counts from the beginning of its turn.
    assert!(clock >= 50.0, "{timing}");
    assert!(timing.starts_with("queue;dur="), "{timing}");
}

#[test]
fn the_timing_is_told_on_request() {
    let server = Server::start(&["--server-timing=X-Debug"]);
    let has = |fields| server.ask(&request("/plaintext", fields)).contains("\r\nServer-Timing: ");
    assert_eq!((has(""), has("x-debug: 1\r\n"), has("X-Debug2: 1\r\n")), (false, true, false));
}
