//! strace, tcpdump and the log agree, byte for byte, on where every request and every response stood.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::ops::Range;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::logged::{Logged, Scratch, range};
use crate::support::{Server, has_tool, wait_until};

/// A tool that watches the server and says so on its output, until the test ends.
struct Watcher {
    child: Child,
    /// What it has said so far, on stdout and on stderr.
    said: Arc<Mutex<String>>,
}

impl Watcher {
    /// Starts it and waits until it has said `ready`; a notice and `None` if it ends instead.
    fn start(command: &mut Command, ready: &str) -> Option<Watcher> {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        collect(child.stdout.take().unwrap(), &said);
        collect(child.stderr.take().unwrap(), &said);
        let mut watcher = Watcher { child, said };
        let mut ended = false;
        wait_until("the watcher watches", || {
            ended = watcher.child.try_wait().unwrap().is_some();
            ended || watcher.said().contains(ready)
        });
        if ended {
            eprintln!("notice: skipped, {command:?} may not watch here: {}", watcher.said());
        }
        (!ended).then_some(watcher)
    }

    fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.child.kill().ok();
        self.child.wait().unwrap();
    }
}

fn collect(output: impl Read + Send + 'static, said: &Arc<Mutex<String>>) {
    let said = Arc::clone(said);
    thread::spawn(move || {
        let mut output = BufReader::new(output);
        let mut line = Vec::new();
        while output.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
            said.lock().unwrap().push_str(&String::from_utf8_lossy(&line));
            line.clear();
        }
    });
}

/// What one side saw of the two streams: pieces, in their order.
#[derive(Debug, Default)]
struct Seen {
    rx: Vec<Range<u64>>,
    tx: Vec<Range<u64>>,
}

/// Three requests on one connection, the second with content, the third with a response of many segments; what the log
/// says about them.
fn exchange(logged: &Logged) -> Vec<(Range<u64>, Range<u64>)> {
    let mut client = logged.connect();
    for request in [
        "GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST /users HTTP/1.1\r\nHost: a\r\nContent-Length: 7\r\n\r\n[1,2,3]",
        "GET /bytes/300000 HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        client.send(request);
        client.read_response();
    }
    logged.objects(3).iter().map(|object| (range(object, "rx"), range(object, "tx"))).collect()
}

/// Each range of the log is made of whole pieces, and nothing was seen that is in none of them.
#[track_caller]
fn assert_made_of(ranges: impl Iterator<Item = Range<u64>>, pieces: &[Range<u64>]) {
    let mut pieces = pieces.iter();
    let mut at = 0;
    for range in ranges {
        assert_eq!(range.start, at, "the log leaves nothing out");
        while at < range.end {
            let piece = pieces.next().unwrap_or_else(|| panic!("nothing was seen at {at} of {range:?}"));
            assert_eq!(piece.start, at, "in {range:?}");
            at = piece.end;
        }
        assert_eq!(at, range.end, "a piece ends where the log says that {range:?} does");
    }
    assert_eq!(pieces.next(), None, "everything that was seen is in the log");
}

#[track_caller]
fn assert_agreement(ranges: &[(Range<u64>, Range<u64>)], seen: &Seen) {
    assert_made_of(ranges.iter().map(|(rx, _)| rx.clone()), &seen.rx);
    assert_made_of(ranges.iter().map(|(_, tx)| tx.clone()), &seen.tx);
}

fn port(server: &Server) -> &str {
    server.address.rsplit(':').next().unwrap()
}

#[test]
fn tcpdump_and_the_log_agree() {
    if !has_tool("tcpdump") {
        return;
    }
    let logged = Logged::start("json", &[]);
    let port = port(&logged.server);
    let mut command = Command::new("tcpdump");
    // Heads alone: room for as many segments as may come at once, where whole ones would fill the buffer and be dropped.
    command.args(["-i", "lo", "-n", "-l", "--immediate-mode", "-s", "128", "-B", "8192", "tcp", "port", port]);
    let Some(tcpdump) = Watcher::start(&mut command, "listening on lo") else { return };
    let ranges = exchange(&logged);
    let (last_rx, last_tx) = ranges.last().unwrap();
    wait_until("tcpdump has printed the last byte", || {
        let seen = segments(&tcpdump.said(), port);
        seen.rx.iter().any(|piece| piece.end >= last_rx.end) && seen.tx.iter().any(|piece| piece.end >= last_tx.end)
    });
    assert_agreement(&ranges, &segments(&tcpdump.said(), port));
}

/// The segments with data that tcpdump printed, with its relative numbers, in which the first byte is 1. One that was
/// sent again counts once.
fn segments(said: &str, port: &str) -> Seen {
    let mut seen = Seen::default();
    for line in said.lines() {
        let Some((addresses, rest)) = line.split_once(": Flags ") else { continue };
        let Some((_, rest)) = rest.split_once(" seq ") else { continue };
        let Some((start, end)) = rest.split(',').next().and_then(|seq| seq.split_once(':')) else { continue };
        let to_server = addresses.ends_with(&format!(".{port}"));
        let pieces = if to_server { &mut seen.rx } else { &mut seen.tx };
        let (start, end) = (start.parse::<u64>().unwrap() - 1, end.parse::<u64>().unwrap() - 1);
        if pieces.last().is_none_or(|last| start >= last.end) {
            pieces.push(start..end);
        }
    }
    seen
}

#[test]
fn strace_and_the_log_agree() {
    if !has_tool("strace") {
        return;
    }
    let logged = Logged::start_untortured("json", &[]);
    let mut command = Command::new("strace");
    let trace = format!("trace={}", [RX_CALLS, TX_CALLS].concat().join(","));
    command.args(["-f", "-e", &trace, "-p", &logged.server.pid().to_string()]);
    let Some(strace) = Watcher::start(&mut command, "attached") else { return };
    let ranges = exchange(&logged);
    let last = ranges.last().unwrap().1.end;
    wait_until("strace has printed the last byte", || {
        calls(&strace.said()).tx.last().is_some_and(|piece| piece.end >= last)
    });
    assert_agreement(&ranges, &calls(&strace.said()));
}

/// The calls that receive, and those that send. A full kernel buffer takes a part of what is queued, and what is queued
/// behind it then wraps around the end of the ring: two slices, which take another call than one does.
const RX_CALLS: &[&str] = &["recvfrom", "recvmsg", "readv"];
const TX_CALLS: &[&str] = &["sendto", "sendmsg", "writev", "sendfile"];

/// What the system calls on the one connection moved, put end to end. A call that another thread's line interrupts ends
/// in a line of its own, with its name but without its arguments.
fn calls(said: &str) -> Seen {
    let mut seen = Seen::default();
    for line in said.lines() {
        let Some(moved) = line.rsplit_once(" = ").and_then(|(_, result)| result.trim().parse::<u64>().ok()) else {
            continue;
        };
        let is_any_of = |calls: &[&str]| calls.iter().any(|call| line.contains(call));
        let pieces = match line {
            _ if moved == 0 => continue,
            // A question about an accept queue, which the loop asks in its first turn, or when many connect.
            _ if line.contains("nlmsg_") => continue,
            _ if is_any_of(RX_CALLS) => &mut seen.rx,
            _ if is_any_of(TX_CALLS) => &mut seen.tx,
            _ => continue,
        };
        let start = pieces.last().map_or(0, |last| last.end);
        pieces.push(start..start + moved);
    }
    seen
}

/// Writes what passes on the loopback device, from or to `port`, to `capture`. `None` with a notice if it may not.
fn captured(port: &str, capture: &str) -> Option<Watcher> {
    let mut command = Command::new("tcpdump");
    // Room for 400 segments of loopback: those that find none are dropped. `-Z`: it is not to become another user, who may
    // not write here.
    command.args(["-i", "lo", "-n", "-U", "--immediate-mode", "-s", "70000", "-B", "32768", "-Z", "root"]);
    command.args(["-w", capture, "tcp", "port", port]);
    Watcher::start(&mut command, "listening on lo")
}

/// A server with TLS besides, whose sessions can be decrypted with the keys in this file.
#[cfg(feature = "_tls")]
fn with_tls(scratch: &Scratch) -> (Logged, String) {
    let keys = scratch.path("keys.log").display().to_string();
    let pair =
        ["ec.pem", "ec-sec1-key.pem"].map(|name| format!("{}/tests/corpus/tls/{name}", env!("CARGO_MANIFEST_DIR")));
    let tls =
        ["--listen", "https://127.0.0.1:0", "--tls-cert", &pair[0], "--tls-key", &pair[1], "--tls-key-log", &keys];
    (Logged::start("json", &tls), keys)
}

/// The decrypted streams of a capture in which each connection is in the clear for whoever has its keys.
#[cfg(feature = "_tls")]
#[test]
fn tshark_decrypts_what_the_log_tells_of() {
    if !["tcpdump", "tshark", "curl"].into_iter().all(has_tool) {
        return;
    }
    let scratch = Scratch::new();
    let capture = scratch.path("capture.pcap").display().to_string();
    let (logged, keys) = with_tls(&scratch);
    let url = format!("https://{}", logged.server.listener(1));
    let port = url.rsplit(':').next().unwrap();
    let Some(_tcpdump) = captured(port, &capture) else { return };

    let urls = ["/plaintext", "/bytes/40000"].map(|path| format!("{url}{path}"));
    let mut curl = Command::new("curl");
    curl.args(["-sk", "--http1.1", "-o", "/dev/null", &urls[0], "-o", "/dev/null", &urls[1]]);
    assert!(curl.status().unwrap().success());
    let ranges: Vec<_> = logged.objects(2).iter().map(|object| (range(object, "rx"), range(object, "tx"))).collect();
    let (rx_end, tx_end) = (ranges[1].0.end, ranges[1].1.end);

    let mut streams = (Vec::new(), Vec::new());
    wait_until("tshark has decrypted the last byte", || {
        streams = followed(&capture, port, &as_tls(&keys, port));
        streams.1.len() as u64 >= tx_end
    });
    let (to_server, to_client) = streams;
    assert_eq!((to_server.len() as u64, to_client.len() as u64), (rx_end, tx_end), "offsets are those of the content");
    for ((rx, tx), target) in ranges.into_iter().zip(["/plaintext", "/bytes/40000"]) {
        let (request, response) = (&to_server[rx.start as usize..], &to_client[tx.start as usize..]);
        assert!(request.starts_with(format!("GET {target} HTTP/1.1\r\n").as_bytes()), "{target} at {rx:?}");
        assert!(response.starts_with(b"HTTP/1.1 200 OK\r\n"), "{target} at {tx:?}");
    }
}

/// What tshark is told so that it decrypts the connections to this port, and which of its layers then holds the plaintext.
#[cfg(feature = "_tls")]
fn as_tls(keys: &str, port: &str) -> Vec<String> {
    let option = |name: &str, value: String| [name.to_owned(), value];
    let all = [
        option("-o", format!("tls.keylog_file:{keys}")),
        option("-d", format!("tcp.port=={port},tls")),
        option("-z", "follow,tls,raw,0".into()),
    ];
    all.concat()
}

/// What the client and the server sent on the first connection, as tshark prints it: a line of hexadecimal digits for each
/// piece, with a tab in front of those that "Node 1" has sent.
fn followed(capture: &str, port: &str, options: &[String]) -> (Vec<u8>, Vec<u8>) {
    let mut tshark = Command::new("tshark");
    tshark.args(["-r", capture, "-q"]).args(options);
    let printed = String::from_utf8(tshark.output().unwrap().stdout).unwrap();
    let server_is_first =
        printed.lines().any(|line| line.starts_with("Node 0:") && line.ends_with(&format!(":{port}")));
    let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
    for line in printed.lines() {
        let digits = line.trim_start_matches('\t').as_bytes();
        let is_of_server = server_is_first != line.starts_with('\t');
        if digits.iter().all(u8::is_ascii_hexdigit) {
            let pairs = digits.chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
            let bytes = pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap());
            if is_of_server { &mut to_client } else { &mut to_server }.extend(bytes);
        }
    }
    (to_server, to_client)
}

/// Where the frames with fields and content stand that were sent on each stream: from the first byte of the first to the
/// last byte of the last.
fn spans(mut bytes: &[u8], preface: usize) -> BTreeMap<u32, Range<u64>> {
    let (mut spans, mut at) = (BTreeMap::<u32, Range<u64>>::new(), preface as u64);
    bytes = &bytes[preface..];
    while let Some((head, rest)) = bytes.split_at_checked(9) {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let stream = u32::from_be_bytes(head[5..9].try_into().unwrap());
        let Some(behind) = rest.get(length..) else { break };
        let end = at + 9 + length as u64;
        if [0, 1, 9].contains(&head[3]) {
            spans.entry(stream).or_insert(at..end).end = end;
        }
        (at, bytes) = (end, behind);
    }
    spans
}

/// Three streams at a time with content that goes both ways. The response of the second is complete before its request.
fn ask_over_http2(url: &str, scratch: &Scratch) {
    let content = scratch.path("content");
    std::fs::write(&content, "c".repeat(30_000)).unwrap();
    let mut nghttp = Command::new("nghttp");
    nghttp.args(["-n", "--no-verify-peer", "-d"]).arg(content);
    nghttp.args(["/echo", "/plaintext", "/echo?again"].map(|target| format!("{url}{target}")));
    let output = nghttp.output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// The log says of each stream what tshark has seen of it.
fn assert_streams(logged: &Logged, seen: impl Fn() -> (Vec<u8>, Vec<u8>)) {
    let objects = logged.objects(3);
    let mut streams = (BTreeMap::new(), BTreeMap::new());
    let told = |name| -> BTreeMap<u32, Range<u64>> {
        objects.iter().map(|object| (object["stream"].as_u64().unwrap() as u32, range(object, name))).collect()
    };
    wait_until("tshark has seen the last byte", || {
        let (to_server, to_client) = seen();
        streams = (spans(&to_server, 24.min(to_server.len())), spans(&to_client, 0));
        streams == (told("rx"), told("tx"))
    });
    assert!(objects.iter().all(|object| object["version"] == "HTTP/2.0" && object["close"].is_null()), "{objects:#?}");
}

#[test]
fn tshark_sees_the_streams_where_the_log_says() {
    if !["tcpdump", "tshark", "nghttp"].into_iter().all(has_tool) {
        return;
    }
    let scratch = Scratch::new();
    let capture = scratch.path("capture.pcap").display().to_string();
    let logged = Logged::start("json", &[]);
    let Some(_tcpdump) = captured(port(&logged.server), &capture) else { return };
    ask_over_http2(&format!("http://{}", logged.server.address), &scratch);
    let options = ["-z", "follow,tcp,raw,0"].map(str::to_owned);
    assert_streams(&logged, || followed(&capture, port(&logged.server), &options));
}

#[cfg(feature = "_tls")]
#[test]
fn tshark_decrypts_the_streams_where_the_log_says() {
    if !["tcpdump", "tshark", "nghttp"].into_iter().all(has_tool) {
        return;
    }
    let scratch = Scratch::new();
    let capture = scratch.path("capture.pcap").display().to_string();
    let (logged, keys) = with_tls(&scratch);
    let url = format!("https://{}", logged.server.listener(1));
    let port = url.rsplit(':').next().unwrap();
    let Some(_tcpdump) = captured(port, &capture) else { return };
    ask_over_http2(&url, &scratch);
    assert_streams(&logged, || followed(&capture, port, &as_tls(&keys, port)));
}
