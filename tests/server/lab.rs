//! The lab endpoints over the wire; their details are tested beside their code.

use crate::support::{Server, status};

fn get(server: &Server, target: &str) -> String {
    server.ask(&format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"))
}

#[test]
fn techempower_answers_have_exactly_the_fields_they_need() {
    let server = Server::start(&[]);
    for (path, media_type, content) in
        [("/plaintext", "text/plain", "Hello, World!"), ("/json", "application/json", r#"{"message":"Hello, World!"}"#)]
    {
        let mut client = server.connect();
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let (head, got) = client.read_response();
        let mut names: Vec<&str> = head.lines().skip(1).filter_map(|line| line.split(':').next()).collect();
        names.retain(|name| !name.is_empty());
        names.sort_unstable();
        assert_eq!(names, ["Content-Length", "Content-Type", "Date", "Server"], "{head}");
        assert!(head.contains(&format!("Content-Type: {media_type}\r\n")), "{head}");
        assert_eq!(got, content);
    }
}

#[test]
fn a_failing_handler_gives_500_a_log_line_and_hurts_nobody() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    client.send("GET /error HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(status(&client.read_response().0), "500");
    server.wait_for_log("handler failed");
    client.send("GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.read_response().1, "Hello, World!", "not even its own connection");
}

#[test]
fn every_endpoint_answers() {
    let server = Server::start(&[]);
    for (target, expected, part) in [
        ("/", "200", "tidemill"),
        ("/health", "200", r#"{"status":"up"}"#),
        ("/users/4%222", "200", r#"{"user_id":"4\"2"}"#),
        ("/sheep?n=3&every=1ms", "200", "2\r\n0\n\r\n2\r\n1\n\r\n2\r\n2\n\r\n0\r\n\r\n"),
        ("/bytes/5", "200", "Content-Length: 5"),
        ("/stream/5", "200", "Transfer-Encoding: chunked"),
        ("/drip?bytes=5&over=10ms", "200", "Content-Length: 5"),
        ("/delay/10", "200", "delay"),
        ("/status/418", "418", "I'm a Teapot"),
        ("/headers", "200", "Host"),
        ("/error", "500", r#"{"error":"internal_error"}"#),
        ("/nothing", "404", r#"{"error":"not_found"}"#),
        ("/echo", "405", "Allow: "),
    ] {
        let answer = get(&server, target);
        assert_eq!(status(&answer), expected, "{target}: {answer}");
        assert!(answer.contains(part), "{target}: {answer}");
    }
}

#[test]
fn a_flood_of_bad_requests_does_not_hide_a_failing_handler() {
    let server = Server::start(&[]);
    for _ in 0..100 {
        assert_eq!(status(&server.ask("\n")), "400");
    }
    assert_eq!(status(&get(&server, "/error")), "500");
    server.wait_for_log("handler failed");
}
