//! A folder, served over HTTP.

mod coded_alone;
mod fields;
mod media_types;
mod pages;
mod spa;
mod try_html;

use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::{Server, field, status, wait_until};

/// A folder of this test's own, with a secret next to it; both go when the test ends.
pub struct Site {
    base: PathBuf,
    pub root: PathBuf,
}

const SECRET: &str = "this lies outside of the root";

impl Site {
    pub fn new() -> Site {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let base = std::env::temp_dir().join(format!("tidemill-files-{}-{number}", std::process::id()));
        let root = base.join("root");
        fs::create_dir_all(&root).unwrap();
        fs::create_dir_all(base.join("outside")).unwrap();
        fs::write(base.join("outside/secret.txt"), SECRET).unwrap();
        Site { base, root }
    }

    pub fn with(self, path: impl AsRef<Path>, content: impl AsRef<[u8]>) -> Site {
        let path = self.root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        self
    }

    pub fn serve(&self, arguments: &[&str]) -> Server {
        Server::start(&[arguments, &[self.root.to_str().unwrap()]].concat())
    }

    /// Replaces a file as careful programs do: whole, under another name first.
    fn replace(&self, name: &str, content: &[u8]) {
        fs::write(self.root.join(".new"), content).unwrap();
        fs::rename(self.root.join(".new"), self.root.join(name)).unwrap();
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.base).unwrap();
    }
}

/// The answer to a request with these further lines: head, and content as bytes.
fn ask(server: &Server, request_line: &str, lines: &str) -> (String, Vec<u8>) {
    let mut client = server.connect();
    client.send(format!("{request_line} HTTP/1.1\r\nHost: a\r\n{lines}Connection: close\r\n\r\n"));
    let head = client.read_head();
    let mut content = Vec::new();
    let has_content = !request_line.starts_with("HEAD") && !matches!(status(&head), "204" | "304");
    if let Some(length) = field(&head, "Content-Length").filter(|_| has_content) {
        content = client.read_exactly(length.parse().unwrap());
    }
    (head, content)
}

fn get(server: &Server, target: &str) -> (String, Vec<u8>) {
    ask(server, &format!("GET {target}"), "")
}

/// Bytes that repeat nowhere near.
fn noise(n: usize) -> Vec<u8> {
    (0..n as u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 23) as u8).collect()
}

#[test]
fn names_of_any_bytes_are_served() {
    let odd = std::ffi::OsStr::from_bytes(b"\xff\n%.txt");
    let site =
        Site::new().with("a b?#%.txt", "odd").with("index.html", "<h1>").with("d/index.html", "d").with(odd, "bytes");
    let server = site.serve(&[]);
    assert_eq!(get(&server, "/").1, b"<h1>");
    assert_eq!(get(&server, "/a%20b%3f%23%25.txt").1, b"odd");
    assert_eq!(get(&server, "/%ff%0a%25.txt").1, b"bytes");
    let (head, _) = get(&server, "/d?x=1");
    assert_eq!((status(&head), field(&head, "Location")), ("301", Some("d/?x=1")));
    for (request, expected) in
        [("GET /nothing", "404"), ("GET /a%00", "400"), ("POST /", "405"), ("BREW /", "501"), ("OPTIONS /", "204")]
    {
        assert_eq!(status(&ask(&server, request, "").0), expected, "{request}");
    }
}

#[test]
fn a_redirect_never_leads_to_another_host() {
    let site = Site::new().with("docs/x", "x");
    let server = site.serve(&[]);
    for target in ["//docs", "/\\evil/../docs", "/%5cevil/../docs", "//evil/..//docs"] {
        let (head, _) = get(&server, target);
        assert_eq!((status(&head), field(&head, "Location")), ("301", Some("docs/")), "{target}");
    }
}

/// What a reference leads to from this path (RFC 3986 §5.2), if it is relative and has no dot segments.
fn resolved(path: &str, reference: &str) -> String {
    let first = reference.split(['/', '?']).next().unwrap();
    assert!(!first.is_empty() && first.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%".contains(&byte)));
    format!("{}{reference}", &path[..=path.rfind('/').unwrap()])
}

#[test]
fn a_redirect_to_a_folder_is_relative_and_leads_to_it() {
    let mut site = Site::new();
    for name in ["docs", "a b", "foo:bar", "%41", "\\evil", "...", "é", "?", "a/b"] {
        site = site.with(format!("{name}/index.html"), name);
    }
    let server = site.serve(&["--hidden"]);
    for (target, location) in [
        ("/docs", "docs/"),
        ("/docs?a=/../b", "docs/?a=/../b"),
        ("/a%20b", "a%20b/"),
        ("/foo:bar", "foo%3Abar/"),
        ("/%2541", "%2541/"),
        ("/\\evil", "%5Cevil/"),
        ("//\\evil", "%5Cevil/"),
        ("/%5cevil", "%5Cevil/"),
        ("/...", ".../"),
        ("/%c3%A9", "%C3%A9/"),
        ("/%3f?x", "%3F/?x"),
        ("/a/b", "b/"),
        ("/a%2fb", "a%2Fb/"),
        ("/x/..%2fa/b", "b/"),
        ("/x%2F..%2Fdocs", "x%2F..%2Fdocs/"),
        ("/d%6Fcs", "docs/"),
        ("/./docs", "docs/"),
        ("//a//b", "b/"),
    ] {
        let (head, _) = get(&server, target);
        assert_eq!((status(&head), field(&head, "Location")), ("301", Some(location)), "{target}");
        // What the client then asks for is the page of the folder.
        let path = target.split('?').next().unwrap();
        let (head, page) = get(&server, &resolved(path, location));
        assert_eq!(status(&head), "200", "{target} to {location}");
        assert!(!page.is_empty());
    }
}

#[test]
fn links_are_followed_as_far_as_they_may() {
    let site = Site::new().with("real/file.txt", "inside").with(".hidden", "no").with(".well-known/x", "yes");
    symlink("real", site.root.join("in")).unwrap();
    symlink("../outside", site.root.join("out")).unwrap();
    symlink(site.base.join("outside/secret.txt"), site.root.join("absolute")).unwrap();
    let pipe = site.root.join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for (flags, inside, outside) in
        [(&[][..], "200", "404"), (&["--follow-symlinks"], "200", "200"), (&["--no-symlinks"], "404", "404")]
    {
        let server = site.serve(flags);
        assert_eq!(status(&get(&server, "/in/file.txt").0), inside, "{flags:?}");
        assert_eq!(status(&get(&server, "/out/secret.txt").0), outside, "{flags:?}");
        assert_eq!(status(&get(&server, "/absolute").0), outside, "{flags:?}");
        assert_eq!(status(&get(&server, "/pipe").0), "404", "without waiting for a writer");
        assert_eq!(status(&get(&server, "/.hidden").0), "404");
        assert_eq!(get(&server, "/.well-known/x").1, b"yes");
    }
    assert_eq!(get(&site.serve(&["--hidden"]), "/.hidden").1, b"no");
}

#[test]
fn no_target_reaches_outside_of_the_root() {
    let site = Site::new().with("index.html", "inside").with("a/b/c.txt", "inside");
    symlink("../outside", site.root.join("link")).unwrap();
    symlink("/etc", site.root.join("etc")).unwrap();
    let server = site.serve(&["--browse", "--hidden"]);
    let list = fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus/traversal.txt")).unwrap();
    let targets: Vec<&[u8]> =
        list.split(|byte| *byte == b'\n').filter(|line| !line.is_empty() && !line.starts_with(b"#")).collect();
    assert!(targets.len() >= 200);
    for target in targets {
        let mut client = server.connect();
        client.send([b"GET ", target, b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"].concat());
        let answer = client.read_to_end();
        let name = String::from_utf8_lossy(target);
        assert!(!answer.contains(SECRET) && !answer.contains("root:"), "{name}: {answer}");
        assert!(matches!(status(&answer), "200" | "301" | "400" | "404"), "{name}: {answer}");
    }
}

#[test]
fn a_folder_that_turns_into_a_link_is_not_followed_out() {
    let site = Site::new().with("swap/secret.txt", "inside").with("keep/secret.txt", "inside");
    symlink("../outside", site.root.join("evil")).unwrap();
    let server = site.serve(&["--file-cache", "0"]);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let path = |name: &str| site.root.join(name);
            while !stop.load(Ordering::Relaxed) {
                fs::rename(path("swap"), path("away")).unwrap();
                fs::rename(path("evil"), path("swap")).unwrap();
                fs::rename(path("swap"), path("evil")).unwrap();
                fs::rename(path("away"), path("swap")).unwrap();
            }
        });
        let mut client = server.connect();
        let (mut served, started) = (0, Instant::now());
        while started.elapsed() < Duration::from_secs(2) {
            client.send("GET /swap/secret.txt HTTP/1.1\r\nHost: a\r\n\r\n");
            let (head, content) = client.read_response();
            assert_ne!(content, SECRET);
            served += u32::from(status(&head) == "200");
        }
        stop.store(true, Ordering::Relaxed);
        assert!(served > 0, "the folder was there at times");
    });
}

#[test]
fn conditions_and_ranges_hold_for_small_and_large_files() {
    for length in [5_000, 900_000] {
        let content = noise(length);
        let site = Site::new().with("file.bin", &content);
        let server = site.serve(&[]);
        let (head, whole) = get(&server, "/file.bin");
        assert!(whole == content);
        let etag = field(&head, "ETag").unwrap().to_owned();
        let modified = field(&head, "Last-Modified").unwrap().to_owned();
        let without_date = |head: &str| head.lines().filter(|line| !line.starts_with("Date")).collect::<String>();
        assert_eq!(without_date(&ask(&server, "HEAD /file.bin", "").0), without_date(&head));
        for (lines, expected) in [
            (format!("If-None-Match: W/{etag}\r\n"), "304"),
            (format!("If-None-Match: \"x\", {etag}\r\n"), "304"),
            (format!("If-Modified-Since: {modified}\r\n"), "304"),
            (format!("If-None-Match: \"x\"\r\nIf-Modified-Since: {modified}\r\n"), "200"),
            (format!("If-Match: {etag}\r\n"), "200"),
            ("If-Match: \"x\"\r\n".into(), "412"),
            ("If-Unmodified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n".into(), "412"),
            (format!("Range: bytes=0-9\r\nIf-Range: {etag}\r\n"), "206"),
            ("Range: bytes=0-9\r\nIf-Range: \"x\"\r\n".into(), "200"),
            (format!("Range: bytes={length}-\r\n"), "416"),
            ("Range: lines=1-2\r\n".into(), "200"),
        ] {
            assert_eq!(status(&ask(&server, "GET /file.bin", &lines).0), expected, "{lines}");
        }
        for (range, start, end) in
            [("0-0", 0, 1), ("100-", 100, length), ("-700", length - 700, length), ("4000-99999999", 4000, length)]
        {
            let (head, part) = ask(&server, "GET /file.bin", &format!("Range: bytes={range}\r\n"));
            assert_eq!(field(&head, "Content-Range"), Some(format!("bytes {start}-{}/{length}", end - 1).as_str()));
            assert!(part == content[start..end], "{range}");
        }
        let (head, parts) = ask(&server, "GET /file.bin", "Range: bytes=10-19,3000-4499\r\n");
        let boundary = field(&head, "Content-Type").unwrap().split_once("boundary=").unwrap().1;
        let heads = |range: &str| {
            format!(
                "--{boundary}\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes {range}/{length}\r\n\r\n"
            )
        };
        let expected = [
            heads("10-19").as_bytes(),
            &content[10..20],
            b"\r\n",
            heads("3000-4499").as_bytes(),
            &content[3000..4500],
            format!("\r\n--{boundary}--\r\n").as_bytes(),
        ]
        .concat();
        assert!(parts == expected);
    }
}

#[test]
fn the_whole_of_an_empty_file_is_no_error() {
    let site = Site::new().with("empty.txt", "");
    let server = site.serve(&[]);
    for (range, expected) in [("0-", "200"), ("0-0", "200"), ("0-1048575", "200"), ("-1", "200"), ("5-", "416")] {
        let (head, content) = ask(&server, "GET /empty.txt", &format!("Range: bytes={range}\r\n"));
        assert_eq!(status(&head), expected, "{range}");
        if expected == "200" {
            assert_eq!((field(&head, "Content-Length"), content.len()), (Some("0"), 0), "{range}");
            assert_eq!(field(&head, "Content-Range"), None, "{range}");
        }
    }
}

#[test]
fn a_time_before_files_were_written_is_not_told() {
    let site = Site::new().with("page.txt", "one");
    let path = site.root.join("page.txt");
    let set_time = |secs: i64| {
        assert!(Command::new("touch").args(["-d", &format!("@{secs}")]).arg(&path).status().unwrap().success());
    };
    for secs in [-86_400, -1, 0, 1] {
        fs::write(&path, "one").unwrap();
        set_time(secs);
        let server = site.serve(&[]);
        let (head, _) = get(&server, "/page.txt");
        assert_eq!(field(&head, "Last-Modified"), None, "{secs}: {head}");
        let etag = field(&head, "ETag").unwrap().to_owned();
        assert_eq!(status(&ask(&server, "GET /page.txt", &format!("If-None-Match: {etag}\r\n")).0), "304");
        // A client may have a date from elsewhere.
        for since in ["Thu, 01 Jan 1970 00:00:00 GMT", "Sun, 06 Nov 1994 08:49:37 GMT"] {
            assert_eq!(status(&ask(&server, "GET /page.txt", &format!("If-Modified-Since: {since}\r\n")).0), "200");
        }
    }
    set_time(315_532_800);
    let (head, _) = get(&site.serve(&[]), "/page.txt");
    assert_eq!(field(&head, "Last-Modified"), Some("Tue, 01 Jan 1980 00:00:00 GMT"));
}

#[test]
fn every_coding_has_its_own_validator_and_decodes_to_the_file() {
    let page = "<p>the same again and again</p>\n".repeat(4_000);
    let site =
        Site::new().with("page.html", &page).with("pre.css", "identity").with("pre.css.gz", "as the file has it");
    let server = site.serve(&[]);
    let mut etags = Vec::new();
    for coding in ["br", "zstd", "gzip"] {
        let (head, content) = ask(&server, "GET /page.html", &format!("Accept-Encoding: {coding}\r\n"));
        assert_eq!((field(&head, "Content-Encoding"), field(&head, "Vary")), (Some(coding), Some("Accept-Encoding")));
        let mut decoded = Vec::new();
        match coding {
            "br" => brotli::BrotliDecompress(&mut &content[..], &mut decoded).unwrap(),
            "zstd" => decoded = zstd::decode_all(&content[..]).unwrap(),
            _ => assert!(flate2::read::GzDecoder::new(&content[..]).read_to_end(&mut decoded).is_ok()),
        }
        assert!(decoded == page.as_bytes(), "{coding}");
        let (part_head, part) =
            ask(&server, "GET /page.html", &format!("Accept-Encoding: {coding}\r\nRange: bytes=5-14\r\n"));
        assert_eq!((status(&part_head), &part[..]), ("206", &content[5..15]), "{coding}");
        etags.push(field(&head, "ETag").unwrap().to_owned());
    }
    etags.push(field(&get(&server, "/page.html").0, "ETag").unwrap().to_owned());
    etags.sort();
    etags.dedup();
    assert_eq!(etags.len(), 4);
    assert_eq!(ask(&server, "GET /pre.css", "Accept-Encoding: gzip\r\n").1, b"as the file has it");
    assert_eq!(status(&ask(&server, "GET /page.html", "Accept-Encoding: *;q=0\r\n").0), "406");
    let plain = site.serve(&["--file-cache", "0"]);
    assert_eq!(field(&ask(&plain, "GET /page.html", "Accept-Encoding: br\r\n").0, "Content-Encoding"), None);
}

#[test]
fn a_file_that_changes_is_noticed() {
    let site = Site::new().with("file.txt", "first");
    let server = site.serve(&[]);
    let mut client = server.connect();
    let mut now = || {
        client.send("GET /file.txt HTTP/1.1\r\nHost: a\r\n\r\n");
        let (head, content) = client.read_response();
        (status(&head).to_owned(), content)
    };
    assert_eq!(now().1, "first");
    site.replace("file.txt", b"second");
    wait_until("the new file is served", || now().1 == "second");
    fs::write(site.root.join("file.txt"), "grown in place").unwrap();
    wait_until("the longer file is served", || now().1 == "grown in place");
    fs::remove_file(site.root.join("file.txt")).unwrap();
    wait_until("the file is gone", || now().0 == "404");
}

#[test]
fn a_file_that_keeps_its_length_and_its_time_is_noticed() {
    for length in [4, 3_000, 900_000] {
        let site = Site::new().with("i.html", "A".repeat(length));
        let (page, other) = (site.root.join("i.html"), site.base.join("other.html"));
        let run = |program: &str, arguments: &[&std::ffi::OsStr]| {
            assert!(Command::new(program).args(arguments).status().unwrap().success());
        };
        fs::write(&other, "B".repeat(length)).unwrap();
        for file in [&page, &other] {
            run("touch", &["-d".as_ref(), "@315532800".as_ref(), file.as_os_str()]);
        }
        let server = site.serve(&[]);
        let (head, _) = get(&server, "/i.html");
        let etag = field(&head, "ETag").unwrap().to_owned();
        let coded = ask(&server, "GET /i.html", "Accept-Encoding: gzip\r\n").0;
        let coded = field(&coded, "ETag").unwrap().to_owned();
        run("cp", &["-p".as_ref(), other.as_os_str(), page.as_os_str()]);
        let replaced = Instant::now();
        wait_until("the new file is served", || get(&server, "/i.html").1[0] == b'B');
        // The machine may be slow; that the second is kept is tested with a clock that stands still.
        assert!(replaced.elapsed() < Duration::from_secs(5), "{:?}", replaced.elapsed());
        for (lines, expected) in [
            (format!("If-None-Match: {etag}\r\n"), b"B".as_slice()),
            (format!("If-None-Match: {coded}\r\nAccept-Encoding: gzip\r\n"), b"\x1f\x8b"),
            (format!("Range: bytes=2-\r\nIf-Range: {etag}\r\n"), b"B"),
            ("Range: bytes=2-\r\nIf-Range: Tue, 01 Jan 1980 00:00:00 GMT\r\n".into(), b"B"),
        ] {
            let expected = if length == 4 { b"B" } else { expected };
            let (head, content) = ask(&server, "GET /i.html", &lines);
            assert_eq!(status(&head), "200", "{lines}");
            assert!(content.starts_with(expected), "{lines}");
        }
        let replica = Site::new().with("i.html", "B".repeat(length));
        run("touch", &["-d".as_ref(), "@315532800".as_ref(), replica.root.join("i.html").as_os_str()]);
        let tag = |server: &Server| field(&get(server, "/i.html").0, "ETag").unwrap().to_owned();
        assert_eq!(tag(&server), tag(&replica.serve(&[])));
    }
}

#[test]
fn a_root_that_is_replaced_is_served_anew() {
    let site = Site::new();
    for release in ["1", "2"] {
        fs::create_dir_all(site.base.join("releases").join(release)).unwrap();
        fs::write(site.base.join("releases").join(release).join("v.txt"), release).unwrap();
        fs::write(site.base.join("releases").join(release).join("large.bin"), release.repeat(40_000_000)).unwrap();
    }
    let point = |release: &str| {
        symlink(format!("releases/{release}"), site.base.join("new")).unwrap();
        fs::rename(site.base.join("new"), site.base.join("current")).unwrap();
    };
    point("1");
    let current = site.base.join("current");
    let server = Server::start(&[current.to_str().unwrap()]);
    assert_eq!(get(&server, "/v.txt").1, b"1");
    let mut under_way = server.connect();
    under_way.send("GET /large.bin HTTP/1.1\r\nHost: a\r\n\r\n");
    let length: usize = field(&under_way.read_head(), "Content-Length").unwrap().parse().unwrap();
    point("2");
    wait_until("the new release is served", || get(&server, "/v.txt").1 == b"2");
    assert!(under_way.read_exactly(length).iter().all(|byte| *byte == b'1'), "what has begun stays with its release");

    // The path of the working directory is kept, too, and not what is there.
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidemill"));
    command.args(["--listen", "127.0.0.1:0", "."]).current_dir(site.base.join("releases/1"));
    let relative = Server::spawn(command);
    assert_eq!(get(&relative, "/v.txt").1, b"1");
    fs::rename(site.base.join("releases/1"), site.base.join("releases/old")).unwrap();
    fs::create_dir(site.base.join("releases/1")).unwrap();
    fs::write(site.base.join("releases/1/v.txt"), "1 again").unwrap();
    wait_until("what is there now is served", || get(&relative, "/v.txt").1 == b"1 again");

    fs::remove_file(&current).unwrap();
    wait_until("there is nothing", || status(&get(&server, "/v.txt").0) == "404");
    get(&server, "/v.txt");
    fs::create_dir(&current).unwrap();
    fs::write(current.join("v.txt"), "3").unwrap();
    wait_until("the new folder is served", || get(&server, "/v.txt").1 == b"3");
    server.wait_for_log("is back");
    let log = server.log();
    assert_eq!((log.matches("cannot be served").count(), log.matches("is back").count()), (1, 1), "{log}");
}

#[test]
fn while_a_file_is_replaced_every_answer_is_one_version() {
    let site = Site::new().with("file.txt", "a".repeat(1000));
    let server = site.serve(&[]);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0_usize.. {
                let letter = b'a' + (round % 26) as u8;
                // Now small enough for memory, now large enough for sendfile.
                site.replace("file.txt", &vec![letter; 1000 + (round % 3) * 150_000]);
                if stop.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
        let clients: Vec<_> = (0..4)
            .map(|_| {
                let mut client = server.connect();
                scope.spawn(move || {
                    let started = Instant::now();
                    let mut versions = std::collections::HashSet::new();
                    while started.elapsed() < Duration::from_secs(3) {
                        client.send("GET /file.txt HTTP/1.1\r\nHost: a\r\n\r\n");
                        let (head, content) = client.read_response();
                        assert_eq!(status(&head), "200");
                        let first = content.as_bytes()[0];
                        assert!(content.bytes().all(|byte| byte == first), "two versions in one answer");
                        versions.insert((first, content.len()));
                    }
                    versions.len()
                })
            })
            .collect();
        let versions: Vec<usize> = clients.into_iter().map(|client| client.join().unwrap()).collect();
        stop.store(true, Ordering::Relaxed);
        assert!(versions.iter().all(|seen| *seen > 1), "changes were seen: {versions:?}");
    });
}

#[test]
fn a_file_that_shrinks_while_it_is_sent_ends_the_connection() {
    let site = Site::new().with("file.bin", noise(64 * 1024 * 1024));
    let server = site.serve(&[]);
    let mut client = server.connect();
    client.send("GET /file.bin HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(status(&client.read_head()), "200");
    assert_eq!(client.read_exactly(1000).len(), 1000);
    fs::OpenOptions::new().write(true).open(site.root.join("file.bin")).unwrap().set_len(2_000_000).unwrap();
    assert!(client.is_closed_by_server());
    server.wait_for_log("became shorter");
}

#[test]
fn folders_are_listed_only_if_asked_for() {
    let site = Site::new().with("d/<b>&.txt", "x").with("d/.hidden", "x").with("d/sub/x", "x");
    assert_eq!(status(&get(&site.serve(&[]), "/d/").0), "404");
    let server = site.serve(&["--browse"]);
    let page = server.ask("GET /d/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAccept: text/html\r\n\r\n");
    assert!(page.contains("&lt;b&gt;&amp;.txt") && !page.contains("<b>&") && !page.contains(".hidden"), "{page}");
    let json = server.ask("GET /d/ HTTP/1.0\r\nAccept: application/json\r\n\r\n");
    let listing: serde_json::Value = serde_json::from_str(json.split_once("\r\n\r\n").unwrap().1).unwrap();
    let names: Vec<_> = listing["entries"].as_array().unwrap().iter().map(|entry| entry["name"].clone()).collect();
    assert_eq!(names, ["sub", "<b>&.txt"]);
}

#[test]
fn a_site_has_its_own_pages_and_fields() {
    let site = Site::new().with("404.html", "own page").with("app.html", "app").with("x.odd", "x");
    fs::write(site.base.join("types"), "text/odd odd\n").unwrap();
    let types = site.base.join("types");
    let flags =
        ["--header", "X-Frame-Options: DENY", "--cache-control", "no-cache", "--mime-types", types.to_str().unwrap()];
    let server = site.serve(&flags);
    let (head, content) = get(&server, "/nothing");
    assert_eq!((status(&head), &content[..]), ("404", &b"own page"[..]));
    assert_eq!(field(&head, "X-Content-Type-Options"), Some("nosniff"));
    let (head, _) = get(&server, "/x.odd");
    assert_eq!(field(&head, "X-Frame-Options"), Some("DENY"));
    assert_eq!(field(&head, "Cache-Control"), Some("no-cache"));
    assert!(field(&head, "Content-Type").unwrap().starts_with("text/odd"), "{head}");
    assert_eq!(field(&head, "X-Content-Type-Options"), Some("nosniff"));
    let app = site.serve(&["--spa=app.html"]);
    assert_eq!(get(&app, "/some/route").1, b"app");
    let lab = site.serve(&["--lab"]);
    assert_eq!(get(&lab, "/plaintext").1, b"Hello, World!");
    assert_eq!(get(&lab, "/x.odd").1, b"x");
}
