//! Tools and libraries that people use, over TCP alone and over TLS.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::{noise, serve, site, urls};
use crate::files::Site;
use crate::support::{DEADLINE, Server, has_tool, wait_until};

/// What a program has printed, if it has ended well.
fn run(program: impl AsRef<Path>, arguments: &[&str]) -> String {
    let Output { status, stdout, stderr } = output(program.as_ref(), arguments);
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{:?} {arguments:?}: {stdout}\n{stderr}", program.as_ref());
    stdout.into_owned()
}

/// How a program has ended. `timeout` ends one that hangs.
fn output(program: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new("timeout");
    command.arg(format!("{}s", 2 * DEADLINE.as_secs())).arg(program).args(arguments);
    command.stdin(Stdio::null()).output().unwrap()
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/server/http2_clients").join(name)
}

/// Runs a script that says what is wrong, with both URLs.
fn run_script(server: &Server, interpreter: &str, name: &str) {
    let script = script(name);
    for url in urls(server) {
        run(interpreter, &[script.to_str().unwrap(), &url]);
    }
}

/// curl, by prior knowledge or by ALPN; whatever it prints.
fn curl(url: &str, arguments: &[&str]) -> String {
    let version = if url.starts_with("https") { "--http2" } else { "--http2-prior-knowledge" };
    run("curl", &[&["-sSk", "--max-time", "30", version], arguments, &[url]].concat())
}

/// A file to send, and its content.
fn upload(site: &Site, bytes: usize) -> (String, Vec<u8>) {
    let (path, content) = (site.root.join(".upload"), noise(bytes));
    fs::write(&path, &content).unwrap();
    (path.display().to_string(), content)
}

#[test]
fn curl_sends_and_receives() {
    if !has_tool("curl") || !run("curl", &["--version"]).contains("HTTP2") {
        return;
    }
    let site = site();
    let server = serve(&site, &["--hsts"]);
    let (file, content) = upload(&site, 10 << 20);
    let back = site.root.join(".back").display().to_string();
    for url in urls(&server) {
        let is_tls = url.starts_with("https");
        let version = curl(&format!("{url}/plaintext"), &["-w", " %{http_version} %{http_code}"]);
        assert_eq!(version, "Hello, World! 2 200");
        for arguments in [&["-T", &file][..], &["--data-binary", &format!("@{file}")]] {
            curl(&format!("{url}/echo"), &[arguments, &["-o", &back]].concat());
            assert!(fs::read(&back).unwrap() == content, "{url} {arguments:?}");
        }
        let expect = curl(&format!("{url}/echo"), &["-H", "Expect: 100-continue", "-T", &file, "-o", &back, "-D", "-"]);
        assert!(expect.starts_with("HTTP/2 100") && expect.contains("HTTP/2 200"), "{expect}");
        curl(&format!("{url}/noise.bin"), &["-r", "1000-1000999", "-o", &back]);
        assert!(fs::read(&back).unwrap() == noise(3_000_001)[1000..=1_000_999], "{url}");
        let coded = curl(&format!("{url}/app.js"), &["--compressed", "-D", "-", "-o", &back]);
        assert!(coded.contains("content-encoding: "), "{coded}");
        assert!(fs::read(&back).unwrap() == fs::read(site.root.join("app.js")).unwrap());
        assert_eq!(coded.contains("strict-transport-security: max-age="), is_tls, "{coded}");
        let head = curl(&format!("{url}/trailers"), &["-i"]);
        assert!(head.contains("one\ntwo\nthree\nx-lines: 3\r\nx-bytes: 14\r\n"), "{head}");
        let hints = curl(&format!("{url}/hints"), &["-i"]);
        assert!(hints.starts_with("HTTP/2 103") && hints.contains("\r\n\r\nHTTP/2 200"), "{hints}");
        let all = curl(&url, &["-X", "OPTIONS", "--request-target", "*", "-w", "%{http_code}"]);
        assert!(all.starts_with("204"), "{all}");
    }
}

/// Old versions of curl lose all but the first of parallel transfers by prior knowledge, whatever the server.
#[test]
#[cfg(feature = "tls")]
fn curl_has_fifty_transfers_at_a_time_on_one_connection() {
    if !has_tool("curl") || !run("curl", &["--version"]).contains("HTTP2") {
        return;
    }
    let site = site();
    let server = serve(&site, &[]);
    let url = &urls(&server)[1];
    let urls: Vec<String> = (0..50).map(|n| format!("{url}/bytes/{}", n * 10_007)).collect();
    let mut arguments = vec!["-Z", "--parallel-max", "50", "-w", "%{http_code} %{size_download} %{num_connects}\n"];
    arguments.extend(urls[1..].iter().flat_map(|url| ["-o", "/dev/null", url]).chain(["-o", "/dev/null"]));
    let printed = curl(&urls[0], &arguments);
    let mut sizes: Vec<usize> =
        printed.lines().filter_map(|line| line.strip_prefix("200 ")?.split(' ').next()?.parse().ok()).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, (0..50).map(|n| n * 10_007).collect::<Vec<_>>(), "{printed}");
    assert_eq!(printed.lines().filter(|line| line.ends_with(" 1")).count(), 1, "{printed}");
}

#[test]
fn nghttp_asks_for_all_that_a_page_needs_and_sends() {
    if !has_tool("nghttp") {
        return;
    }
    let site = site().with("all.html", "<!doctype html><script src=app.js></script><img src=noise.bin>");
    let server = serve(&site, &[]);
    let (file, content) = upload(&site, 3 << 20);
    for url in urls(&server) {
        let frames = run("nghttp", &["-nv", &format!("{url}/plaintext")]);
        for line in ["SETTINGS_MAX_CONCURRENT_STREAMS(0x03):100", ":status: 200", "END_STREAM"] {
            assert!(frames.contains(line), "{line}: {frames}");
        }
        let parts = run("nghttp", &["-nas", &format!("{url}/all.html")]);
        for path in ["/all.html", "/app.js", "/noise.bin"] {
            let line = parts.lines().find(|line| line.ends_with(path));
            assert!(line.is_some_and(|line| line.contains("  200  ")), "{path}: {parts}");
        }
        let echoed = output("nghttp".as_ref(), &["-d", &file, "-b", "255", &format!("{url}/echo")]);
        assert!(echoed.stdout == content, "{} bytes", echoed.stdout.len());
        let expect = ["-nv", "-d", &file, "--expect-continue", "--trailer", "x-sum: 1", &format!("{url}/echo")];
        let frames = run("nghttp", &expect);
        assert!(frames.contains(":status: 100") && frames.contains(":status: 200"), "{frames}");
        let small = output("nghttp".as_ref(), &["-w", "10", "-W", "16", &format!("{url}/noise.bin")]);
        assert!(small.stdout == noise(3_000_001), "windows of 1 KiB and 64 KiB");
        let large = run("nghttp", &["-nv", "--continuation", &format!("{url}/plaintext")]);
        assert!(large.contains(":status: 200"), "{large}");
    }
}

#[test]
fn h2load_is_served() {
    if !has_tool("h2load") {
        return;
    }
    let site = site();
    let server = serve(&site, &[]);
    let file = site.root.join("app.js").display().to_string();
    for url in urls(&server) {
        let loads: [(&[&str], &str, usize); 4] = [
            (&["-c", "10", "-m", "32"], "/plaintext", 5000),
            (&["-c", "4", "-m", "20", "-w", "14", "-W", "18"], "/bytes/100000", 500),
            (&["-c", "4", "-m", "10", "-d", &file], "/echo", 200),
            (&["-c", "200", "-m", "2"], "/json", 400),
        ];
        for (arguments, path, count) in loads {
            let count = count.to_string();
            let printed = run("h2load", &[&["-n", &count], arguments, &[&format!("{url}{path}")]].concat());
            assert!(printed.contains(&format!(" {count} succeeded, 0 failed, 0 errored, 0 timeout")), "{printed}");
        }
    }
}

/// HAProxy opens a window again by exactly what it has just passed on, however little that is.
#[test]
fn haproxy_passes_on_what_it_gets() {
    if !has_tool("haproxy") || !has_tool("curl") {
        return;
    }
    let site = site();
    let server = serve(&site, &[]);
    let (file, content) = upload(&site, 10 << 20);
    let path = |name: &str| site.root.join(name).display().to_string();
    let (socket, settings, back) = (path(".haproxy"), path(".haproxy.cfg"), path(".back"));
    let config = format!(
        "defaults\n mode http\n timeout connect 9s\n timeout client 9s\n timeout server 9s\n\
         listen here\n bind unix@{socket}\n http-reuse always\n server there {} proto h2\n",
        server.listener(0)
    );
    fs::write(&settings, config).unwrap();
    let mut haproxy = Command::new("haproxy").args(["-q", "-db", "-f", &settings]).spawn().unwrap();
    wait_until("HAProxy listens", || fs::exists(&socket).unwrap());
    let ask = |path: &str, arguments: &[&str]| {
        let url = format!("http://a{path}");
        let own = ["-sS", "--max-time", "30", "--unix-socket", &socket, "-o", &back, "-w", "%{http_code}"];
        output("curl".as_ref(), &[&own, arguments, &[&url]].concat())
    };
    let outcomes = [
        (ask("/bytes/50000000", &[]), fs::metadata(&back).unwrap().len() == 50_000_000),
        (ask("/noise.bin", &[]), fs::read(&back).unwrap() == noise(3_000_001)),
        (ask("/echo", &["-T", &file]), fs::read(&back).unwrap() == content),
    ];
    haproxy.kill().unwrap();
    haproxy.wait().unwrap();
    for (output, is_whole) in outcomes {
        assert!(output.stdout == b"200" && is_whole, "{output:?}; the server: {}", server.log());
    }
}

#[test]
fn node_is_served() {
    if has_tool("node") {
        let site = site();
        run_script(&serve(&site, &[]), "node", "client.mjs");
    }
}

#[test]
fn python_is_served() {
    // That of the system may have the modules where another one is in front of it.
    let has_modules = |python: &&str| output(python.as_ref(), &["-c", "import h2, httpx"]).status.success();
    let Some(python) = ["python3", "/usr/bin/python3"].into_iter().find(has_modules) else {
        return eprintln!("notice: skipped, python3 has no modules h2 and httpx");
    };
    let site = site();
    run_script(&serve(&site, &[]), python, "client.py");
}

#[test]
#[cfg(feature = "tls")]
fn go_is_served() {
    if has_tool("go") {
        let site = site();
        let server = serve(&site, &[]);
        run("go", &["run", script("client.go").to_str().unwrap(), &urls(&server)[1]]);
    }
}
