//! Passwords are checked elsewhere, and nothing is lost meanwhile.

use super::*;
use crate::proxy::Upstream;
use crate::support::wait_until;

fn flag(files: &Files, users: &str) -> String {
    format!("--basic-auth={}", files.path(users))
}

/// A wrong password for alice; each number is another one.
fn guess(n: usize) -> String {
    const DIGITS: [&str; 10] = ["MA==", "MQ==", "Mg==", "Mw==", "NA==", "NQ==", "Ng==", "Nw==", "OA==", "OQ=="];
    // "alice:" is eight characters of Base64 with nothing left over, and "00n" is four.
    let tail = DIGITS[n % 10];
    let hundred = ["MDAw", "MDAx", "MDAy", "MDAz", "MDA0", "MDA1", "MDA2", "MDA3", "MDA4", "MDA5"][n / 10 % 10];
    format!("Authorization: Basic YWxpY2U6{hundred}{tail}\r\n")
}

#[test]
fn a_client_that_waits_for_100_gets_401_without_it() {
    let files = Files::new();
    let server = Server::start(&[&*flag(&files, "users.htpasswd")]);
    let upload = "POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n";
    for authorization in ["", WRONG, "Authorization: Basic =\r\n"] {
        let mut client = server.connect();
        client.send(format!("{upload}{authorization}\r\n"));
        let (head, _) = client.read_response();
        assert_eq!(status(&head), "401", "{head}");
    }
    let mut client = server.connect();
    client.send(format!("{upload}{ALICE}\r\n"));
    assert_eq!(status(&client.read_head()), "100");
    client.send("hello");
    assert_eq!(client.read_response().1, "hello");
    // The password is known by now.
    client.send(format!("{upload}{ALICE}\r\n"));
    assert_eq!(status(&client.read_head()), "100");
    client.send("world");
    assert_eq!(client.read_response().1, "world");
}

#[test]
fn content_that_was_refused_is_not_taken_for_the_next_request() {
    let files = Files::new();
    let server = Server::start(&[&*flag(&files, "users.htpasswd")]);
    let next = format!("GET /plaintext HTTP/1.1\r\nHost: a\r\n{ALICE}\r\n");
    let smuggled = "GET /error HTTP/1.1\r\nHost: a\r\n\r\n";
    for authorization in ["", WRONG, "Authorization: Bearer x\r\n"] {
        for content in [
            format!("Content-Length: {}\r\n\r\n{smuggled}", smuggled.len()),
            format!(
                "Transfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n{:x}\r\n{smuggled}\r\n0\r\nX-T: 1\r\n\r\n",
                smuggled.len()
            ),
        ] {
            let mut client = server.connect();
            let upload = format!("POST /echo HTTP/1.1\r\nHost: a\r\n{authorization}{content}");
            client.send(format!("{upload}{upload}{next}"));
            for expected in ["401", "401", "200"] {
                let (head, content) = client.read_response();
                assert_eq!(status(&head), expected, "{authorization}: {head}{content}");
            }
        }
    }
}

#[test]
fn content_behind_a_password_that_is_being_checked_arrives_whole() {
    let files = Files::new();
    let upstream = Upstream::new();
    // A server for each, because a password is checked once.
    for (content, seen) in [
        ("Content-Length: 5\r\n\r\nhello".to_owned(), "hello"),
        (
            "Transfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n".to_owned(),
            "5\r\nhello\r\n0\r\n",
        ),
        ("Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(), "0\r\n\r\n"),
        ("Content-Length: 0\r\n\r\n".to_owned(), ""),
    ] {
        let server = Server::start(&["--proxy", &format!("/={}", upstream.url()), &*flag(&files, "slow.htpasswd")]);
        let mut client = server.connect();
        client
            .send(format!("POST /a HTTP/1.1\r\nHost: a\r\n{ALICE}{content}GET /b HTTP/1.1\r\nHost: a\r\n{ALICE}\r\n"));
        let mut application = upstream.accept();
        let head = application.read_head();
        assert!(head.starts_with("POST /a ") && head.contains(ALICE.trim_end()), "{head}");
        // Content that is short may be framed in another way, but not be another.
        let content = match field(&head, "Content-Length") {
            Some(length) => application.read_exactly(length.parse().unwrap()),
            None if field(&head, "Transfer-Encoding").is_some() => application.read_exactly(seen.len()),
            None => Vec::new(),
        };
        let content = String::from_utf8(content).unwrap();
        assert!(content == seen || (content == "hello" && seen.contains("hello")), "{content:?} instead of {seen:?}");
        application.send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\na");
        drop(application);
        assert_eq!(client.read_response().1, "a");
        let mut application = upstream.accept();
        assert!(application.read_head().starts_with("GET /b "));
        application.send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\nb");
        assert_eq!(client.read_response().1, "b");
    }
}

#[test]
fn the_lab_echoes_what_came_while_a_password_was_checked() {
    let files = Files::new();
    let long = "0123456789".repeat(20_000);
    for content in [
        format!("Content-Length: {}\r\n\r\n{long}", long.len()),
        format!("Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{long}\r\n0\r\nX-T: 1\r\n\r\n", long.len()),
    ] {
        let server = Server::start(&[&*flag(&files, "slow.htpasswd")]);
        let upload = format!("POST /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{ALICE}{content}");
        let echoed = server.ask(&upload);
        assert!(echoed.contains("HTTP/1.1 200") && echoed.contains(&long[..1000]), "{}", &echoed[..200]);
    }
}

#[test]
fn a_websocket_and_an_upstream_are_behind_the_password() {
    let files = Files::new();
    let upstream = Upstream::new();
    let server = Server::start(&[
        "--lab",
        "--proxy",
        &format!("/app/={}", upstream.url()),
        &*flag(&files, "users.htpasswd"),
        &files.path("site"),
    ]);
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for path in ["/ws/echo", "/app/ws"] {
        for authorization in ["", WRONG] {
            let mut client = server.connect();
            client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n{upgrade}{authorization}\r\n"));
            assert_eq!(status(&client.read_response().0), "401", "{path}");
        }
    }
    assert!(upstream.is_alone(), "nothing has reached it");
    let mut client = server.connect();
    client.send(format!("GET /ws/echo HTTP/1.1\r\nHost: a\r\n{upgrade}{ALICE}\r\n"));
    assert_eq!(status(&client.read_head()), "101");
    // "hi", masked with zeros (RFC 6455 §5.3).
    client.send([0x81, 0x82, 0, 0, 0, 0, b'h', b'i']);
    assert_eq!(client.read_exactly(4), [0x81, 2, b'h', b'i']);
    let mut client = server.connect();
    client.send(format!("GET /app/ws HTTP/1.1\r\nHost: a\r\n{upgrade}{ALICE}\r\n"));
    let mut application = upstream.accept();
    application.read_head();
    application.send(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\nword",
    );
    assert_eq!(status(&client.read_head()), "101");
    assert_eq!(client.read_exactly(4), b"word");
}

/// What is asked for meanwhile is answered meanwhile. That is counted, and not timed.
#[test]
fn a_check_delays_nobody_else() {
    let files = Files::new();
    let table = "[[site]]\nlab = true\n[[site.route]]\npath = '/json'\nbasic-auth = 'slow.htpasswd'\n";
    let server = files.serve(table, &[]);
    let mut guessing: Vec<Client> = (0..4).map(|_| server.connect()).collect();
    for (n, client) in guessing.iter_mut().enumerate() {
        client.send(request("GET /json", &guess(n)));
    }
    let mut other = server.connect();
    let mut is_over = || {
        guessing.iter_mut().all(|client| {
            client.stream.set_nonblocking(true).unwrap();
            let is_there = client.stream.peek(&mut [0]).is_ok();
            client.stream.set_nonblocking(false).unwrap();
            is_there
        })
    };
    let mut answered = 0;
    wait_until("the guesses are answered", || {
        for _ in 0..10 {
            other.send("GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n");
            assert_eq!(status(&other.read_response().0), "200");
            answered += 1;
        }
        is_over()
    });
    assert!(answered >= 50, "{answered} requests were answered while four passwords were checked");
    for client in &mut guessing {
        assert_eq!(status(&client.read_to_end()), "401");
    }
}

#[test]
fn a_flood_of_guesses_gets_503_and_users_who_are_known_are_served() {
    let files = Files::new();
    let server = Server::start(&["--admin", "127.0.0.1:0", &*flag(&files, "slow.htpasswd")]);
    assert_eq!(status(&get(&server, "/plaintext", ALICE)), "200");
    let mut guessing: Vec<Client> = (0..60).map(|_| server.connect()).collect();
    for (n, client) in guessing.iter_mut().enumerate() {
        client.send(request("GET /plaintext", &guess(n)));
    }
    wait_until("some are refused", || refused(&server, "password-checks") > 0);
    for _ in 0..50 {
        assert_eq!(status(&get(&server, "/plaintext", ALICE)), "200");
    }
    // Who has not got an answer yet waits for a check. Nobody waits for that here.
    let refusals = refused(&server, "password-checks");
    assert!((1..=44).contains(&refusals), "16 of a client may wait: {refusals}");
    let last = guessing.last_mut().unwrap().read_to_end();
    assert!(matches!((status(&last), field(&last, "Retry-After")), ("503", Some("1")) | ("401", None)), "{last}");
}

/// Only a right password makes a name worth writing. A space and a quote in it would move the fields behind it.
#[test]
fn the_access_log_has_the_user_whose_password_was_right() {
    // The user is `anna b"` with an é behind it, and the password that of alice.
    const ANNA: &str = "Authorization: Basic YW5uYSBiIsOpOm9wZW4gc2VzYW1l\r\n";
    for (format, names) in [
        ("combined", [r" - anna\x20b\x22\xC3\xA9 [", " - alice [", " - alice [", " - - [", " - - ["]),
        ("json", [r#""user":"anna b\"é","#, r#""user":"alice","#, r#""user":"alice","#, "", ""]),
    ] {
        let files = Files::new();
        let users = format!("{USERS}anna b\"é:{}", USERS.split_once(':').unwrap().1);
        std::fs::write(files.path("users.htpasswd"), users).unwrap();
        let (log, format) = (format!("--access-log={}", files.path("log")), format!("--log-format={format}"));
        let server = Server::start(&[&*flag(&files, "users.htpasswd"), &log, &format]);
        for fields in [ANNA, ALICE, ALICE, WRONG, ""] {
            get(&server, "/plaintext", fields);
        }
        let log = || std::fs::read_to_string(files.path("log")).unwrap_or_default();
        wait_until("all lines are there", || log().lines().count() == names.len());
        for (line, name) in log().lines().zip(names) {
            assert!(line.contains(name) && (!name.is_empty() || !line.contains("\"user\":")), "{line}: {name}");
        }
    }
}
