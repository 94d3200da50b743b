//! `tidemill ask --pcapng`: a connection that is open, from some moment on.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::logged::Scratch;
use crate::support::{Client, Server, has_tool, read, status, wait_until};
use crate::{faults, tshark};

fn server(more: &[&str]) -> Server {
    Server::start_untortured(&[&["--admin", "127.0.0.1:0", "--lab", env!("CARGO_MANIFEST_DIR")], more].concat())
}

/// An asker, whose capture has begun.
struct Asker {
    process: Child,
}

impl Asker {
    fn start(server: &Server, words: &[&str], stdout: Stdio) -> Asker {
        let before = begun(server);
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidemill"));
        command.args(["ask", "--admin", server.admin(), "--pcapng"]).args(words);
        let process = command.stdin(Stdio::null()).stdout(stdout).stderr(Stdio::piped()).spawn().unwrap();
        wait_until("the capture has begun", || begun(server) > before);
        Asker { process }
    }

    /// Waits until the capture is over. Returns what was said.
    fn wait(mut self) -> String {
        let mut said = String::new();
        self.process.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert!(self.process.wait().unwrap().success(), "{said}");
        said
    }
}

/// How many captures have begun.
fn begun(server: &Server) -> usize {
    server.log().matches("is captured from now on").count()
}

fn get(client: &mut Client, target: &str) -> String {
    client.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
    let (head, content) = client.read_response();
    assert_eq!(status(&head), "200");
    content
}

/// What tshark puts together of the first stream, both directions, as hexadecimal digits.
fn followed(file: &Path) -> String {
    let output = Command::new("tshark").arg("-r").arg(file).args(["-q", "-z", "follow,tcp,ascii,0"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn what_is_said_from_now_on_can_be_followed_and_stands_where_the_log_says() {
    if !has_tool("tshark") {
        return;
    }
    let (server, scratch) = (server(&["--access-log"]), Scratch::new());
    let file = scratch.path("live.pcapng");
    let mut client = server.connect();
    get(&mut client, "/plaintext?before");
    let asker = Asker::start(&server, &["c=1", file.to_str().unwrap()], Stdio::null());
    get(&mut client, "/plaintext?within");
    // Goes past the server's memory.
    let lock = get(&mut client, "/Cargo.lock");
    client.finish();
    assert_eq!(client.read_to_end(), "");
    let said = asker.wait();
    assert!(said.contains(" packets of c=1 captured\n"), "{said}");
    assert_eq!(faults(&file), Vec::<Vec<String>>::new());
    let text = followed(&file);
    assert!(text.contains("GET /plaintext?within HTTP/1.1") && text.contains("Hello, World!"), "{text}");
    assert!(!text.contains("before"), "{text}");
    let requests = tshark(&file, "http.request", &["http.request.uri", "tcp.seq_raw"]);
    // `rx` of the log is the number of the first byte, from 1, and so is the sequence number.
    let head = "GET /plaintext?before HTTP/1.1\r\nHost: a\r\n\r\n".len();
    let expected = [
        ["/plaintext?within".to_owned(), (head + 1).to_string()],
        ["/Cargo.lock".to_owned(), (2 * head + 1).to_string()],
    ];
    assert_eq!(requests, expected);
    let folder = scratch.path("objects");
    let export = format!("http,{}", folder.display());
    let output =
        Command::new("tshark").arg("-r").arg(&file).args(["-q", "--export-objects", &export]).output().unwrap();
    assert!(output.status.success());
    assert!(fs::read_to_string(folder.join("Cargo.lock")).unwrap() == lock);
    let comments = tshark(&file, "frame.comment", &["frame.comment"]).concat().join("\n");
    for comment in [
        "c=1 http/1 from here on: rx=",
        "c=1 r=2 over 200 rx=",
        "verdict --- GET /plaintext?within",
        "c=1 close: CFI closed by the client between requests after 3 requests",
    ] {
        assert!(comments.contains(comment), "{comment}: {comments}");
    }
    let fins = tshark(&file, "tcp.flags.fin == 1", &["tcp.srcport"]);
    let port = server.address.rsplit(':').next().unwrap();
    assert_eq!(fins.iter().map(|fin| fin[0] == port).collect::<Vec<_>>(), [false, true]);
}

/// The content of TLS is captured without keys, since the server takes it off.
#[cfg(feature = "tls")]
#[test]
fn over_tls_the_content_is_captured() {
    use std::io::Write;
    use std::sync::Arc;

    use crate::tls_client::{config, corpus};

    if !has_tool("tshark") {
        return;
    }
    let (certificate, key) = (corpus("ec.pem").display().to_string(), corpus("ec-sec1-key.pem").display().to_string());
    let server = server(&["--listen", "https:127.0.0.1:0", "--tls-cert", &certificate, "--tls-key", &key]);
    let scratch = Scratch::new();
    let file = scratch.path("live.pcapng");
    let stream = std::net::TcpStream::connect(server.listener(1)).unwrap();
    let name = "a.example".try_into().unwrap();
    let tls = rustls::ClientConnection::new(Arc::new(config(&[&rustls::version::TLS13])), name).unwrap();
    let mut client = rustls::StreamOwned::new(tls, stream);
    let mut ask = |target: &str| {
        write!(client, "GET {target} HTTP/1.1\r\nHost: a.example\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"Hello, World!") {
            let mut bytes = [0; 1024];
            let n = read(&mut client, &mut bytes).unwrap();
            assert!(n > 0);
            answer.extend(&bytes[..n]);
        }
    };
    ask("/plaintext?before");
    let asker = Asker::start(&server, &["c=1", file.to_str().unwrap()], Stdio::null());
    ask("/plaintext?within");
    drop(client);
    asker.wait();
    let port = server.listener(1).rsplit(':').next().unwrap().to_owned();
    let output = Command::new("tshark")
        .arg("-r")
        .arg(&file)
        .args(["-d", &format!("tcp.port=={port},http"), "-Y", "http", "-T", "fields"])
        .args(["-e", "http.request.uri", "-e", "http.response.code"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text, "/plaintext?within\t\n\t200\n", "{}", String::from_utf8_lossy(&output.stderr));
    let comments = tshark(&file, "frame.comment", &["frame.comment"]).concat().join("\n");
    assert!(comments.contains("; TLS is taken off"), "{comments}");
}

#[test]
fn there_may_be_four_and_who_leaves_makes_room() {
    let (server, scratch) = (server(&[]), Scratch::new());
    let mut client = server.connect();
    get(&mut client, "/plaintext");
    let files: Vec<_> = (0..4).map(|number| scratch.path(&format!("{number}.pcapng"))).collect();
    let mut askers: Vec<Asker> =
        files.iter().map(|file| Asker::start(&server, &["c=1", file.to_str().unwrap()], Stdio::null())).collect();
    let fifth = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidemill"));
        let file = scratch.path("fifth.pcapng");
        command
            .args(["ask", "--admin", server.admin(), "--pcapng", "c=1"])
            .arg(file)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let refused = fifth().wait_with_output().unwrap();
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(
        (refused.status.code(), said.as_str()),
        (Some(1), "tidemill: 4 captures are under way, and there may be no more at a time\n")
    );
    let mut first = askers.remove(0);
    first.process.kill().unwrap();
    first.process.wait().unwrap();
    // What is said is written to whoever has left, and shows that.
    let mut last = None;
    wait_until("there is room again", || {
        get(&mut client, "/plaintext");
        let mut process = last.take().unwrap_or_else(fifth);
        match begun(&server) {
            5 => {
                askers.push(Asker { process });
                true
            }
            _ => {
                if process.try_wait().unwrap().is_none() {
                    last = Some(process);
                }
                false
            }
        }
    });
    drop(client);
    askers.into_iter().for_each(|asker| assert!(asker.wait().contains(" packets of c=1 captured")));
    // A file that ends where the asker left has whole blocks.
    assert!(fs::metadata(&files[0]).unwrap().len() % 4 == 0);
}

#[test]
fn only_open_connections_of_everyone_are_captured_and_only_the_admin_offers_it() {
    let server = server(&[]);
    for (words, said) in [
        (&["c=1"][..], "c=1 is not open: only what an open connection says can be captured"),
        // That of the asker before.
        (&["c=2"], "c=2 is not open"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidemill"));
        let output = command.args(["ask", "--admin", server.admin(), "--pcapng"]).args(words).output().unwrap();
        assert!(output.stdout.is_empty() && String::from_utf8_lossy(&output.stderr).contains(said), "{output:?}");
    }
    let mut admin = Client::new(std::net::TcpStream::connect(server.admin()).unwrap());
    let own = server.log().len();
    admin.send("GET /capture?c=3 HTTP/1.0\r\nHost: localhost\r\n\r\n");
    assert!(admin.read_to_end().starts_with("HTTP/1.1 404 "), "an admin is nobody's to capture: {own}");
    for target in ["/capture", "/capture?c=x", "/capture?c=1&bytes=x"] {
        let mut admin = Client::new(std::net::TcpStream::connect(server.admin()).unwrap());
        admin.send(format!("GET {target} HTTP/1.0\r\nHost: localhost\r\n\r\n"));
        assert!(admin.read_to_end().starts_with("HTTP/1.1 400 "), "{target}");
    }
    assert!(server.ask("GET /capture?c=1 HTTP/1.0\r\n\r\n").starts_with("HTTP/1.1 404 "));
    assert_eq!(begun(&server), 0);
}

/// The capture ends at its size, and its last block says so.
#[test]
fn a_capture_ends_at_its_size_and_goes_to_standard_output() {
    let (server, scratch) = (server(&[]), Scratch::new());
    let file = scratch.path("live.pcapng");
    let mut client = server.connect();
    get(&mut client, "/plaintext");
    let out = File::create(&file).unwrap();
    let asker = Asker::start(&server, &["c=1", "--pcapng-size", "1MiB"], Stdio::from(out));
    get(&mut client, "/bytes/3000000");
    asker.wait();
    let bytes = fs::read(&file).unwrap();
    assert!((900_000..=1_100_000).contains(&bytes.len()), "{}", bytes.len());
    assert!(String::from_utf8_lossy(&bytes[bytes.len() - 200..]).contains("the size that was asked for is reached"));
    assert_eq!(get(&mut client, "/plaintext"), "Hello, World!");
}

#[test]
fn a_page_of_another_site_cannot_take_the_captures() {
    let server = server(&[]);
    let ask = |site: &str| {
        let request = format!(
            "GET /capture?c=9 HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: {site}\r\nConnection: close\r\n\r\n"
        );
        let mut admin = Client::new(std::net::TcpStream::connect(server.admin()).unwrap());
        admin.send(request);
        let head = admin.read_response().0;
        status(&head).to_owned()
    };
    assert_eq!(["cross-site", "same-site", "same-origin", "none"].map(ask), ["403", "403", "404", "404"]);
}
