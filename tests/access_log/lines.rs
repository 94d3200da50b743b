//! Every format's line, exactly.

use std::net::TcpStream;
use std::process::Command;

use crate::logged::{Logged, Scratch};
use crate::support::{Client, Server, has_tool, wait_until};

const REQUEST: &str =
    "GET /plaintext?q HTTP/1.1\r\nHost: a\r\nReferer: http://b/?\"x\"\r\nUser-Agent: tide\\1 \x1b\u{e9}\r\n\r\n";

/// Without the escape, which is not allowed in a field.
fn request() -> String {
    REQUEST.replace('\x1b', "\t")
}

/// One request in this format that nothing held up: the client's port, the length of the whole response, and the line.
fn line(format: &str) -> (u16, usize, String) {
    let logged = Logged::start_untortured(format, &[]);
    let mut client = logged.connect();
    client.send(request());
    let (head, content) = client.read_response();
    let line = logged.lines(1).remove(0);
    (client.stream.local_addr().unwrap().port(), head.len() + content.len(), line)
}

/// `line` without what lies between the first `open` and the next `close`, which must look like `pattern`, a digit
/// standing for any digit.
fn cut(line: &str, open: &str, close: &str, pattern: &str) -> String {
    let (before, rest) = line.split_once(open).unwrap_or_else(|| panic!("no {open:?} in {line}"));
    let (time, after) = rest.split_once(close).unwrap_or_else(|| panic!("no {close:?} in {line}"));
    let alike = |(a, b): (char, char)| a == b || (a.is_ascii_digit() && b.is_ascii_digit());
    assert!(time.len() == pattern.len() && time.chars().zip(pattern.chars()).all(alike), "{time:?} in {line}");
    format!("{before}{open}{close}{after}")
}

#[test]
fn common_and_combined_are_the_classics() {
    let this_month = Command::new("date").args(["-u", "+%b/%Y"]).output().unwrap().stdout;
    let time = format!("10/{}:13:55:36 +0000", String::from_utf8(this_month).unwrap().trim());
    let common = "127.0.0.1 - - [] \"GET /plaintext?q HTTP/1.1\" 200 13";
    assert_eq!(cut(&line("common").2, "[", "]", &time), format!("{common} ---"));
    let combined = format!("{common} \"http://b/?\\x22x\\x22\" \"tide\\x5C1 \\x09\\xC3\\xA9\" ---");
    assert_eq!(cut(&line("combined").2, "[", "]", &time), combined);
}

#[test]
fn json_says_everything() {
    let (port, length, line) = line("json");
    let line = cut(&line, "\"time\":\"", "\"", "2000-10-10T13:55:36.042Z");
    // Times differ from run to run: what matters is that they are numbers, and in order.
    let object: serde_json::Value = serde_json::from_str(&line).unwrap();
    let [head, first, last] =
        ["head_ms", "first_byte_ms", "last_byte_ms"].map(|name| object[name].as_f64().expect("a number"));
    assert!(0.0 <= head && head <= first && first <= last && last < 20_000.0, "{line}");
    let parts = object["timers_ms"].as_object().unwrap();
    let sum: f64 = parts.values().map(|part| part.as_f64().unwrap()).sum();
    // Each part is rounded to a microsecond.
    assert!(
        (sum - last).abs() < 0.002 && parts.keys().all(|part| ["queue", "work"].contains(&part.as_str())),
        "{line}"
    );
    assert!(object["early_ms"].as_f64().unwrap() >= 0.0 && object["ahead"].is_u64(), "{line}");
    let without_times = line
        .split_inclusive(',')
        .filter(|member| {
            let times =
                ["\"head_ms", "\"first_byte_ms", "\"last_byte_ms", "\"timers_ms", "\"work", "\"early_ms", "\"ahead"];
            !times.iter().any(|time| member.starts_with(time))
        })
        .collect::<String>();
    let (rx, tx) = (request().len() + 1, length + 1);
    let expected = format!(
        r#"{{"time":"","connection":1,"request":1,"peer":"127.0.0.1:{port}","method":"GET","target":"/plaintext?q","version":"HTTP/1.1","status":200,"bytes":13,"close":null,"verdict":"---","paused_ms":0.000,"blocked_ms":0.000,"queued_max":0,"rx":"1:{rx}","tx":"1:{tx}","referer":"http://b/?\"x\"","user_agent":"tide\\1 \u0009é"}}"#
    );
    assert_eq!(without_times, expected);
}

#[test]
fn pretty_is_for_people_and_without_colours_in_a_file() {
    let (_, length, line) = line("pretty");
    let (time, rest) = line.split_at("13:55:36.042".len());
    assert_eq!(cut(&format!("[{time}]"), "[", "]", "13:55:36.042"), "[]");
    let (request, rest) = rest.split_at(" 200 GET /plaintext?q                       13B ".len());
    assert!(request.starts_with(" 200 GET /plaintext?q  ") && request.ends_with(" 13B "), "{line}");
    let (took, rest) = rest.trim_start().split_once("  ").unwrap();
    assert!(took.ends_with('s'), "{line}");
    assert_eq!(rest, format!("c=1 r=1 rx=1:{} tx=1:{}", self::request().len() + 1, length + 1));
}

#[test]
fn requests_through_the_admin_listener_are_marked() {
    let logged = Logged::start("json", &["--admin", "127.0.0.1:0"]);
    let admin = Client::new(TcpStream::connect(logged.server.admin()).unwrap());
    for (mut client, target) in [(admin, "/healthz"), (logged.connect(), "/plaintext")] {
        client.send(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        client.read_response();
    }
    let listeners = logged.objects(2).iter().map(|object| object["listener"].clone()).collect::<Vec<_>>();
    assert_eq!(listeners, ["admin".into(), serde_json::Value::Null]);
}

#[test]
fn a_file_gets_the_combined_format_unless_another_is_asked_for() {
    let logged = Logged::start("combined", &[]);
    let scratch = Scratch::new();
    let server = Server::start(&[&scratch.flag()]);
    let request = "GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    logged.server.ask(request);
    server.ask(request);
    wait_until("there is a line", || scratch.log().ends_with('\n'));
    let without_time = |line: &str| line.split_once(']').unwrap().1.to_owned();
    assert_eq!(without_time(scratch.log().trim_end()), without_time(&logged.lines(1)[0]));
}

#[test]
fn no_client_can_forge_a_line_or_reach_the_terminal() {
    const HOSTILE: [&[u8]; 6] = [
        b"GET /plaintext HTTP/1.1\r\nHost: a\r\nUser-Agent: x\" 200 1\\\r\n\r\n",
        b"GET /plaintext HTTP/1.1\r\nHost: a\r\nReferer: \x80\x9b31m\xc2\x9b31m\xff\t\r\n\r\n",
        b"GET /a\"b\\c HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /%0a%1b[31m HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /\x1b[31m HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /plaintext HTTP/1.1\r\nHost: a\r\nUser-Agent: a\n127.0.0.1 - - forged\r\n\r\n",
    ];
    for format in ["common", "combined", "json", "pretty"] {
        let logged = Logged::start(format, &[]);
        for request in HOSTILE {
            let mut client = logged.connect();
            client.send(request);
            client.finish();
            client.read_to_end();
        }
        for line in logged.lines(HOSTILE.len()) {
            assert!(!line.contains(char::is_control), "{format}: {line:?}");
            assert!(format == "json" || line.is_ascii(), "{format}: {line:?}");
            match format {
                "common" => assert_eq!(line.matches('"').count(), 2, "{line}"),
                "combined" => assert_eq!(line.matches('"').count(), 6, "{line}"),
                "json" => drop(serde_json::from_str::<serde_json::Value>(&line).unwrap()),
                _ => {}
            }
        }
    }
}

#[test]
fn a_terminal_gets_the_pretty_format_in_colours_unless_they_are_not_wanted() {
    if !has_tool("script") {
        return;
    }
    assert!(line_on_a_terminal("NO_COLOR=").contains(" \x1b[32m200\x1b[0m GET /plaintext "));
    assert!(line_on_a_terminal("NO_COLOR=1").contains(" 200 GET /plaintext "));
}

/// The line of one request to a server whose stdout is a terminal, which it gets from script(1).
fn line_on_a_terminal(environment: &str) -> String {
    let scratch = Scratch::new();
    let (pid, said) = (scratch.path("pid"), scratch.path("said"));
    let unset = if environment.ends_with('=') { "-u NO_COLOR" } else { environment };
    let server = format!(
        "echo $$ > {} && exec env {unset} {} -l 127.0.0.1:0 --access-log",
        pid.display(),
        env!("CARGO_BIN_EXE_tidemill")
    );
    let mut script = Command::new("script");
    // What it says on its terminal is the log alone.
    script.env_remove("TIDEMILL_TORTURE");
    script.args(["-q", "-f", "-e", "-c", &server]).arg(&said);
    let server = Server::spawn(script);
    let _end = Terminate(std::fs::read_to_string(pid).unwrap().trim().to_owned());
    let mut client = server.connect();
    client.send("GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n");
    client.read_response();
    let said = || String::from_utf8_lossy(&std::fs::read(&said).unwrap()).into_owned();
    wait_until("the line is shown", || said().contains("rx="));
    said().lines().find(|line| line.contains("rx=")).unwrap().to_owned()
}

/// Ends the process with this id, which is not a child of the test, however the test ends.
struct Terminate(String);

impl Drop for Terminate {
    fn drop(&mut self) {
        Command::new("kill").args(["-s", "TERM", &self.0]).status().expect("kill can be run");
    }
}
