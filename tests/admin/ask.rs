//! `/ask` and `tidemill ask`: what is known of one connection or one request.

use std::process::{Command, Output};

use super::{ask, ask_json, server};
use crate::support::{Server, field, status, wait_until};

/// What `tidemill ask` says about these keys.
fn tidemill_ask(admin: &str, keys: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidemill"));
    command.arg("ask").args(keys).args(["--admin", admin]).output().unwrap()
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

/// Waits until the connection is over, and returns what is said of it.
fn ended(server: &Server, target: &str) -> String {
    let mut told = String::new();
    wait_until("the connection is over", || {
        told = ask(server, target).1;
        told.contains(" ended ")
    });
    told
}

#[test]
fn a_connection_is_known_while_it_is_open() {
    let server = server(&[]);
    let mut client = server.connect();
    client.send("GET /delay/600000 HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_until("the request is there", || {
        ask(&server, "/ask?c=1").1.contains("  request  r=1 GET /delay/600000  reading paused 0s")
    });
    let open = ask_json(&server, "/ask?c=1&format=json");
    assert_eq!((&open["open"]["wait"], &open["ended"]), (&"timer".into(), &serde_json::Value::Null));
}

#[test]
fn a_connection_is_known_when_it_is_over_and_so_is_its_request() {
    let server = server(&[]);
    let mut hasty = server.connect();
    hasty.send("GET /delay/300 HTTP/1.1\r\nHost: a\r\n\r\n");
    drop(hasty);
    let told = ended(&server, "/ask?c=1&r=1");
    assert!(told.starts_with("c=1 127.0.0.1:"), "{told}");
    assert!(told.contains("GET /delay/300") && told.contains("CFW client left (FIN)"), "{told}");
    assert!(told.contains("\n  times    head "), "{told}");
    let json = ask_json(&server, "/ask?c=1&r=1&format=json");
    assert_eq!(json["requests"][0]["verdict"], "CFW");
    assert_eq!(json["requests"][0]["target"], "/delay/300");
    assert_eq!(json["ended"]["protocol"], "http/1");
}

#[test]
fn what_is_not_known_and_what_is_no_question_say_so() {
    let server = server(&[]);
    for (target, code) in [
        ("/ask", "400"),
        ("/ask?c=", "400"),
        ("/ask?c=1x", "400"),
        ("/ask?c=1&r=1&s=1", "400"),
        ("/ask?c=1&s=4294967296", "400"),
        ("/ask?c=99999999999999999999", "400"),
        ("/ask?c=1", "404"),
        ("/ask?c=1&s=5", "404"),
    ] {
        let (head, content) = ask(&server, target);
        assert_eq!(status(&head), code, "{target}: {content}");
        assert!(content.starts_with(if code == "400" { "expected /ask?c=N" } else { "nothing is known of c=1:" }));
    }
}

#[test]
fn the_past_can_be_switched_off() {
    let server = server(&["--past", "0"]);
    let _answer = server.ask("GET /plaintext HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let mut client = server.connect();
    client.send("GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n");
    client.read_response();
    assert_eq!(status(&ask(&server, "/ask?c=1").0), "404");
    let open = ask_json(&server, "/ask?c=2&format=json");
    assert_eq!((open["requests"].as_array().map(Vec::len), open["open"]["connection"].as_u64()), (Some(0), Some(2)));
}

#[test]
fn what_a_client_has_sent_cannot_break_the_answer() {
    let server = server(&[]);
    let _answer = server.ask(
        "GET /a\"'%0a<b>\u{e4}\u{2028} HTTP/1.1\r\nHost: a\r\nUser-Agent: \u{e4}\t\"\r\nConnection: close\r\n\r\n",
    );
    let told = ended(&server, "/ask?c=1");
    // The unit of microseconds is ours.
    assert!(told.replace('µ', "").bytes().all(|byte| byte == b'\n' || (b' '..=b'~').contains(&byte)), "{told}");
    ask_json(&server, "/ask?c=1&format=json");
}

#[test]
fn the_command_prints_what_the_server_says() {
    let server = server(&["--request-id"]);
    let response = server.ask("GET /plaintext HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let id = crate::support::field(&response, "X-Request-Id").unwrap();
    ended(&server, "/ask?c=1");
    for keys in [&["c=1"][..], &["r=1", "c=1"], &[id]] {
        let told = tidemill_ask(server.admin(), keys);
        assert!(told.status.success() && stdout(&told).contains(" 200 GET /plaintext "), "{keys:?} {told:?}");
        assert!(stdout(&told).contains(&format!(" id={id}")), "{told:?}");
    }
    let json = tidemill_ask(server.admin(), &["c=1", "--json"]);
    let json: serde_json::Value = serde_json::from_str(stdout(&json)).unwrap();
    assert_eq!(json["requests"][0]["request_id"], id);
    let unknown = tidemill_ask(server.admin(), &["c=9999"]);
    assert_eq!((unknown.status.code(), stdout(&unknown)), (Some(1), ""));
    assert!(stderr(&unknown).starts_with("tidemill: nothing is known of c=9999"), "{unknown:?}");
    let public = tidemill_ask(&server.address, &["c=1"]);
    assert_eq!(public.status.code(), Some(1));
    assert!(stderr(&public).contains("no admin listener"), "{public:?}");
    let wrong = tidemill_ask(server.admin(), &["17"]);
    assert_eq!((wrong.status.code(), stderr(&wrong).lines().count()), (Some(2), 1), "{wrong:?}");
}

#[test]
fn the_command_asks_over_a_unix_socket_and_says_if_nobody_is_there() {
    let path = std::env::temp_dir().join(format!("tidemill-ask-{}.sock", std::process::id()));
    let admin = format!("unix:{}", path.display());
    let mut server = Server::start(&["--admin", &admin]);
    server.ask("GET /plaintext HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let told = tidemill_ask(&admin, &["c=1", "r=1"]);
    assert!(stdout(&told).contains("GET /plaintext"), "{told:?}");
    server.signal("TERM");
    server.wait();
    let nobody = tidemill_ask(&admin, &["c=1"]);
    assert_eq!(nobody.status.code(), Some(1));
    assert!(stderr(&nobody).starts_with(&format!("tidemill: cannot ask {admin}: ")), "{nobody:?}");
}

/// The numbers of another run name other connections here. They gave somebody else's request.
#[test]
fn an_identifier_of_another_run_names_nothing() {
    let server = server(&["--request-id"]);
    let response = server.ask("GET /plaintext HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let id = field(&response, "X-Request-Id").unwrap().to_owned();
    let known = tidemill_ask(server.admin(), &[&id]);
    assert!(stdout(&known).contains("GET /plaintext"), "{known:?}");
    let other = format!("{}{}", if id.starts_with('0') { '1' } else { '0' }, &id[1..]);
    let unknown = tidemill_ask(server.admin(), &[&other]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(stderr(&unknown).contains("or in another run of the server"), "{unknown:?}");
}
