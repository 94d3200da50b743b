//! Who may ask for what, and how often.

mod connections;
mod passwords;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use crate::frames::END_STREAM;
use crate::http2_client::Http2;
use crate::logged::Scratch;
use crate::support::{Client, Server, field, has_tool, status};
use crate::tls_client::corpus;

/// `htpasswd -nbB -C 4 alice 'open sesame'`: checked in no time.
const USERS: &str = "alice:$2y$04$VCtijXKuUqZrMsfEZnjpQOZ8s8KIYxJc4bULqRqbjJkCOhWpY1ulW\n";
/// `htpasswd -nbB -C 12 alice 'open sesame'`: checked in some seconds by a build for debugging, and in a quarter of one by others.
const SLOW_USERS: &str = "alice:$2y$12$RcgAV9t04h22BydTqih0YeRMKQCPxb9afaTm9KtF1d6ECCbtiIgO2\n";
const TOKEN: &str = "mF_9.B5f-4.1JqM0123";
const ALICE: &str = "Authorization: Basic YWxpY2U6b3BlbiBzZXNhbWU=\r\n";
const WRONG: &str = "Authorization: Basic YWxpY2U6b3BlbiBzZXNhbWE=\r\n";

/// Files for a server: users, tokens, and a folder with something to guard.
struct Files(Scratch);

impl Files {
    fn new() -> Files {
        let files = Files(Scratch::new());
        for folder in ["site/private", "site/open"] {
            std::fs::create_dir_all(files.0.path(folder)).unwrap();
        }
        for (name, content) in [
            ("users.htpasswd", USERS),
            ("slow.htpasswd", SLOW_USERS),
            ("tokens.txt", &*format!("{TOKEN} the build\n")),
            ("site/private/secret.txt", "secret"),
            ("site/open/a.txt", "open"),
        ] {
            std::fs::write(files.0.path(name), content).unwrap();
        }
        files
    }

    fn path(&self, name: &str) -> String {
        self.0.path(name).display().to_string()
    }

    /// Writes a configuration; the flag that names it.
    fn config(&self, text: &str) -> String {
        std::fs::write(self.0.path("t.toml"), text).unwrap();
        format!("--config={}", self.path("t.toml"))
    }

    /// A server with this configuration, and with more flags.
    fn serve(&self, text: &str, flags: &[&str]) -> Server {
        Server::start(&[&[&*self.config(text)], flags].concat())
    }
}

/// A request, after which the connection ends.
fn request(line: &str, fields: &str) -> String {
    format!("{line} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{fields}\r\n")
}

fn get(server: &Server, path: &str, fields: &str) -> String {
    server.ask(&request(&format!("GET {path}"), fields))
}

/// How many requests a rule has refused, as the metrics have it.
fn refused(server: &Server, rule: &str) -> u64 {
    let mut admin = Client::new(std::net::TcpStream::connect(server.admin()).unwrap());
    admin.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let metrics = admin.read_to_end();
    let name = format!("tidemill_access_refused_total{{rule=\"{rule}\"}} ");
    let line = metrics.lines().find_map(|line| line.strip_prefix(&name));
    line.unwrap_or_else(|| panic!("{metrics}")).parse().unwrap()
}

/// A rule as it is written in a file, a request that it refuses, and what comes of it.
struct Case {
    rule: &'static str,
    keys: &'static [(&'static str, &'static str)],
    fields: &'static str,
    /// The same request is answered so often before.
    answered: usize,
    status: &'static str,
    told: &'static [&'static str],
    logged: &'static str,
    explained: &'static str,
}

const CASES: [Case; 5] = [
    Case {
        rule: "address",
        keys: &[("deny", "127.0.0.0/8")],
        fields: "",
        answered: 0,
        status: "403",
        told: &[],
        logged: "127.0.0.0/8",
        explained: "403",
    },
    Case {
        rule: "rate",
        keys: &[("rate-limit", "2/h")],
        fields: "",
        answered: 2,
        status: "429",
        told: &["Retry-After: 1800", "RateLimit-Policy: \"client\";q=2;w=3600", "RateLimit: \"client\";r=0;t=1800"],
        logged: "rate-limit: 2/h burst=2 by=client",
        explained: "rate-limit: 2/h burst=2 by=client",
    },
    Case {
        rule: "credentials",
        keys: &[("basic-auth", "users.htpasswd"), ("bearer-tokens", "tokens.txt"), ("realm", "the mill")],
        fields: "",
        answered: 0,
        status: "401",
        told: &[
            "WWW-Authenticate: Basic realm=\"the mill\", charset=\"UTF-8\"",
            "WWW-Authenticate: Bearer realm=\"the mill\"\r",
        ],
        logged: "there is no Authorization",
        explained: "there is no Authorization: 401",
    },
    Case {
        rule: "password",
        keys: &[("basic-auth", "users.htpasswd")],
        fields: WRONG,
        answered: 0,
        status: "401",
        told: &["WWW-Authenticate: Basic realm=\"restricted\", charset=\"UTF-8\""],
        logged: "the user or the password is wrong",
        explained: "basic-auth: the user or the password is wrong: 401",
    },
    Case {
        rule: "token",
        keys: &[("bearer-tokens", "tokens.txt")],
        fields: "Authorization: Bearer mF_9.B5f-4.1JqM0124\r\n",
        answered: 0,
        status: "401",
        told: &["WWW-Authenticate: Bearer realm=\"restricted\", error=\"invalid_token\""],
        logged: "the token is not known",
        explained: "bearer-tokens: the token is not known: 401",
    },
];

impl Case {
    /// As a table of a configuration file. `deny` is a list.
    fn table(&self) -> String {
        let line = |(key, value): &(&str, &str)| match *key {
            "deny" => format!("{key} = ['{value}']\n"),
            _ => format!("{key} = '{value}'\n"),
        };
        self.keys.iter().map(line).collect()
    }

    fn flags(&self, files: &Files) -> Vec<String> {
        let flag = |(key, value): &(&str, &str)| match *key {
            "basic-auth" | "bearer-tokens" => format!("--{key}={}", files.path(value)),
            _ => format!("--{key}={value}"),
        };
        self.keys.iter().map(flag).collect()
    }

    fn check_response(&self, response: &str, how: &str) {
        assert_eq!(status(response), self.status, "{} {how}: {response}", self.rule);
        for line in self.told {
            let text = response.to_ascii_lowercase();
            assert!(text.contains(&line.to_ascii_lowercase()), "{} {how}: no {line:?} in {response}", self.rule);
        }
    }
}

#[test]
fn what_is_refused_is_told_counted_and_logged() {
    let files = Files::new();
    for case in &CASES {
        let root = files.path("site");
        let flags = case.flags(&files);
        let flags: Vec<&str> = flags.iter().map(String::as_str).chain(["--admin", "127.0.0.1:0", &*root]).collect();
        let table = format!("[[site]]\nroot = 'site'\n[[site.route]]\npath = '/open/'\n{}", case.table());
        for (how, server) in
            [("by flags", Server::start(&flags)), ("by a file", files.serve(&table, &["--admin", "127.0.0.1:0"]))]
        {
            for _ in 0..case.answered {
                assert_eq!(status(&get(&server, "/open/a.txt", case.fields)), "200", "{} {how}", case.rule);
            }
            assert_eq!(refused(&server, case.rule), 0, "{how}");
            case.check_response(&get(&server, "/open/a.txt", case.fields), how);
            assert_eq!(refused(&server, case.rule), 1, "{how}");
            server.wait_for_log(&format!(" r=1: refused by the rule {}: ", case.rule));
            server.wait_for_log(case.logged);
            let head = server.ask(&request("HEAD /open/a.txt", case.fields));
            case.check_response(&head, how);
            assert!(head.ends_with("\r\n\r\n"), "HEAD has no content: {head}");
        }
        let config = files.config(&table);
        let mut explain = Command::new(env!("CARGO_BIN_EXE_tidemill"));
        explain.args(["explain", "GET /open/a.txt", &config]);
        if let Some(line) = case.fields.strip_suffix("\r\n") {
            explain.args(["-H", line]);
        }
        let said = String::from_utf8(explain.output().unwrap().stdout).unwrap();
        let has_rule = said.lines().any(|line| {
            let name = if matches!(case.rule, "password" | "token") { "credentials" } else { case.rule };
            line.starts_with(name) && line.contains(case.explained)
        });
        // The client of an explanation has no address, and a bucket that is full.
        assert!(has_rule || case.rule == "address", "{}: {said}", case.rule);
    }
}

/// curl checks what the client of HTTP/2 here would have to decode.
#[test]
fn every_protocol_refuses_alike() {
    if !has_tool("curl") {
        return;
    }
    let files = Files::new();
    for case in CASES.iter().filter(|case| case.answered == 0) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidemill"));
        command.args(["--listen", "127.0.0.1:0", "--listen", "https:127.0.0.1:0"]);
        command.arg("--tls-cert").arg(corpus("ec.pem")).arg("--tls-key").arg(corpus("ec-sec1-key.pem"));
        let server = Server::spawn({
            command.args(case.flags(&files)).arg(files.path("site"));
            command
        });
        let (plain, secured) = (format!("http://{}", server.listener(0)), format!("https://{}", server.listener(1)));
        for (url, protocol) in
            [(&plain, "--http1.1"), (&plain, "--http2-prior-knowledge"), (&secured, "--http1.1"), (&secured, "--http2")]
        {
            let mut curl = Command::new("curl");
            curl.args(["-sik", "--max-time", "20", protocol, &format!("{url}/open/a.txt")]);
            if let Some(line) = case.fields.strip_suffix("\r\n") {
                curl.args(["-H", line]);
            }
            let response = String::from_utf8(curl.output().unwrap().stdout).unwrap();
            let how = format!("{protocol} {url}");
            let response = response.replacen("HTTP/2 ", "HTTP/2.0 ", 1);
            case.check_response(&response, &how);
        }
    }
}

/// A folder takes two slashes for one, and `%2F` for a slash: no other spelling leads to a file past what guards it.
#[test]
fn no_spelling_of_a_path_leads_past_a_rule() {
    let files = Files::new();
    let rule = "path = '/private/'\nbasic-auth = 'users.htpasswd'\n";
    let before = format!("[[site]]\nroot = 'site'\n[[site.route]]\n{rule}");
    let behind = format!("[[site]]\nroot = 'site'\n[[site.route]]\npath = '/open/'\n[[site.route]]\n{rule}");
    let pattern = before.replace("'/private/'", "'/private/*'");
    for table in [&before, &behind, &pattern] {
        let server = files.serve(table, &[]);
        for path in [
            "/private/secret.txt",
            "//private/secret.txt",
            "/private//secret.txt",
            "/%70rivate/secret.txt",
            "/%70%72%69vate/secret.txt",
            "/private%2fsecret.txt",
            "/private%2Fsecret.txt",
            "/%2fprivate/secret.txt",
            "/x/../private/secret.txt",
            "/x/%2e%2e/private/secret.txt",
            "/x%2f..%2fprivate/secret.txt",
            "/./private/secret.txt",
            "/.//private/secret.txt",
            "/open/../private/secret.txt",
            "/open/..%2fprivate/secret.txt",
            "/open//..//private/secret.txt",
            "/open//../private/secret.txt",
            "/x//../private/secret.txt",
            "/x/%2f../private/secret.txt",
            "/x//%2e%2e/private/secret.txt",
            "//open/..//private/secret.txt",
            "/open///../../private/secret.txt",
            "/private/./secret.txt",
            "/private/x/../secret.txt",
            "http://a/private/secret.txt",
            "http://a//private/secret.txt",
        ] {
            let response = get(&server, path, "");
            assert!(matches!(status(&response), "400" | "401" | "404"), "{path}: {response}");
            assert!(!response.contains("secret"), "{path}: {response}");
            let mut client = Http2::new(server.connect(), 65535);
            let fields = [(":method", "GET"), (":scheme", "http"), (":path", path), (":authority", "a")];
            client.ask(1, END_STREAM, &fields);
            client.read_until(|frame| {
                assert!(!frame.payload.windows(6).any(|window| window == b"secret"), "{path} over HTTP/2");
                frame.stream == 1 && (frame.has(END_STREAM) || frame.kind == crate::frames::RST_STREAM)
            });
        }
        assert!(get(&server, "/private/secret.txt", ALICE).ends_with("\r\n\r\nsecret"));
        assert!(get(&server, "/open/a.txt", "").ends_with("\r\n\r\nopen"));
    }
}

/// The client is whom a trusted proxy names, and an IPv6 client is its /64.
#[test]
fn behind_a_trusted_proxy_the_client_is_who_it_names() {
    let files = Files::new();
    let table = "trusted-proxy = ['127.0.0.1']\n[[site]]\nlab = true\n[[site.route]]\npath = '/plaintext'\n\
                 deny = ['192.0.2.0/24', '::1']\n[[site.route]]\npath = '/json'\nrate-limit = '1/h'\n\
                 [[site.route]]\npath = '/health'\nallow = ['127.0.0.1']\n";
    let server = files.serve(table, &[]);
    let asked = |path: &str, fields: &str| status(&get(&server, path, fields)).to_owned();
    for (fields, expected) in [
        ("", "200"),
        ("X-Forwarded-For: 198.51.100.1\r\n", "200"),
        ("X-Forwarded-For: 192.0.2.9\r\n", "403"),
        ("X-Forwarded-For: ::ffff:192.0.2.9\r\n", "403"),
        ("X-Forwarded-For: 198.51.100.1, 192.0.2.9\r\n", "403"),
        ("X-Forwarded-For: 192.0.2.9, 198.51.100.1\r\n", "200"),
        ("Forwarded: for=\"[::1]:5\"\r\n", "403"),
        ("X-Forwarded-For: nobody\r\n", "403"),
        ("X-Forwarded-For: 198.51.100.1\r\nForwarded: for=198.51.100.2\r\n", "403"),
    ] {
        assert_eq!(asked("/plaintext", fields), expected, "{fields}");
    }
    // Who is not named does not get what the proxy would.
    assert_eq!((asked("/health", ""), asked("/health", "X-Forwarded-For: x\r\n")), ("200".into(), "403".into()));
    for (client, expected) in [
        ("2001:db8:0:1::1", "200"),
        ("2001:db8:0:1:ffff::2", "429"),
        ("2001:db8:0:2::1", "200"),
        ("192.0.2.1", "200"),
        ("192.0.2.2", "200"),
        ("::ffff:192.0.2.2", "429"),
    ] {
        assert_eq!(asked("/json", &format!("X-Forwarded-For: {client}\r\n")), expected, "{client}");
    }
    // Nobody is believed who is not trusted.
    let server = files.serve(&table.replace("trusted-proxy = ['127.0.0.1']\n", ""), &[]);
    assert_eq!(status(&get(&server, "/plaintext", "X-Forwarded-For: 192.0.2.9\r\n")), "200");
}

#[test]
fn clients_on_a_unix_socket_have_a_name_of_their_own() {
    let files = Files::new();
    let socket = files.path("s.sock");
    let listen = format!("unix:{socket}");
    for (rule, by_tcp, by_socket) in
        [("--allow=unix", "403", "200"), ("--deny=unix", "200", "403"), ("--allow=127.0.0.1", "200", "403")]
    {
        let server = Server::start(&["--listen", &listen, rule]);
        assert_eq!(status(&get(&server, "/plaintext", "")), by_tcp, "{rule}");
        let mut client = UnixStream::connect(&socket).unwrap();
        client.write_all(request("GET /plaintext", "").as_bytes()).unwrap();
        let mut response = String::new();
        client.read_to_string(&mut response).unwrap();
        assert_eq!(status(&response), by_socket, "{rule}: {response}");
        drop(server);
        std::fs::remove_file(&socket).unwrap_or_default();
    }
}

#[test]
fn a_rate_by_field_is_that_of_each_value() {
    let server = Server::start(&["--rate-limit", "1/h by=X-Key"]);
    let asked = |fields: &str| status(&get(&server, "/plaintext", fields)).to_owned();
    for (fields, expected) in
        [("X-Key: a\r\n", "200"), ("x-key: a\r\n", "429"), ("X-Key: b\r\n", "200"), ("", "200"), ("", "429")]
    {
        assert_eq!(asked(fields), expected, "{fields:?}");
    }
}

#[test]
fn routes_share_a_limit_that_they_inherit_and_no_other() {
    let files = Files::new();
    let table = "[[site]]\nlab = true\nrate-limit = '2/h'\n[[site.route]]\npath = '/plaintext'\n[[site.route]]\n\
                 path = '/json'\n[[site.route]]\npath = '/health'\nrate-limit = '2/h'\n[[site]]\nhosts = ['b.example']\nlab = true\n";
    let server = files.serve(table, &[]);
    let asked = |path: &str| status(&get(&server, path, "")).to_owned();
    assert_eq!(["/plaintext", "/json", "/plaintext", "/json"].map(asked), ["200", "200", "429", "429"]);
    assert_eq!(["/health", "/health", "/health"].map(asked), ["200", "200", "429"], "a limit of its own");
    let other = server.ask("GET /json HTTP/1.1\r\nHost: b.example\r\nConnection: close\r\n\r\n");
    assert_eq!(status(&other), "200", "a site without a limit");
}

/// A browser sends no credentials with a preflight (Fetch §4.8), and a script may read why it was refused.
#[test]
fn a_preflight_is_answered_before_a_password_is_asked_for() {
    let files = Files::new();
    let users = format!("--basic-auth={}", files.path("users.htpasswd"));
    let server = Server::start(&["--cors=https://app.example", &users]);
    let origin = "Origin: https://app.example\r\n";
    let preflight = format!("{origin}Access-Control-Request-Method: PUT\r\n");
    let response = server.ask(&request("OPTIONS /echo", &preflight));
    assert_eq!(status(&response), "204", "{response}");
    for (line, fields, code) in [
        ("OPTIONS /echo", "", "401"),
        ("OPTIONS /echo", origin, "401"),
        ("OPTIONS *", "", "401"),
        ("HEAD /plaintext", origin, "401"),
        ("GET /plaintext", origin, "401"),
    ] {
        let response = server.ask(&request(line, fields));
        assert_eq!(status(&response), code, "{line}: {response}");
        let allowed = field(&response, "Access-Control-Allow-Origin");
        assert_eq!(allowed.is_some(), !fields.is_empty(), "{line}: {response}");
    }
    let response = get(&server, "/plaintext", &format!("{origin}{ALICE}"));
    assert_eq!((status(&response), field(&response, "Access-Control-Allow-Credentials")), ("200", Some("true")));
}

/// What was wrong with a file of users is said before anything is served.
#[test]
fn a_file_that_cannot_be_read_stops_the_start() {
    let files = Files::new();
    std::fs::write(files.0.path("bad.htpasswd"), "bob:$apr1$x$y\n").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidemill"));
    command.args(["--listen", "127.0.0.1:0", &format!("--basic-auth={}", files.path("bad.htpasswd"))]);
    let output = command.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains("bad.htpasswd") && said.contains("htpasswd -B"), "{said}");
}
