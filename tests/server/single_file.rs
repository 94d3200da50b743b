//! `tidemill FILE` serves one file and nothing next to it; and which files stand for their folder.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;

use crate::support::{Server, field};

/// A folder with files, gone when the test ends.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str, files: &[(&str, &str)]) -> Folder {
        let path = std::env::temp_dir().join(format!("tidemill-{name}-{}", std::process::id()));
        for (name, content) in files {
            let file = path.join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, content).unwrap();
        }
        Folder(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn get(server: &Server, target: &str) -> (String, String) {
    let mut client = server.connect();
    client.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n"));
    client.read_response()
}

#[track_caller]
fn assert_content(server: &Server, target: &str, content: &str) {
    let (head, found) = get(server, target);
    assert_eq!((head.starts_with("HTTP/1.1 200"), found.as_str()), (true, content), "{target}: {head}");
}

#[track_caller]
fn assert_not_found(server: &Server, target: &str) {
    let (head, content) = get(server, target);
    assert!(head.starts_with("HTTP/1.1 404") && !content.contains("secret"), "{target}: {head}{content}");
}

#[test]
fn a_single_file_is_served_at_the_root_and_under_its_name_and_nothing_else_is() {
    let files = [
        ("a b.txt", "the file"),
        ("secret.txt", "secret"),
        ("index.html", "secret"),
        ("404.html", "secret"),
        ("sub/secret.txt", "secret"),
        ("sub/index.html", "secret"),
    ];
    let folder = Folder::new("single", &files);
    for others in [&[][..], &["--browse"], &["--spa=secret.txt"], &["--hidden", "--follow-symlinks"]] {
        let server = Server::start(&[others, &[&folder.path("a b.txt")]].concat());
        for target in ["/", "/a%20b.txt", "/./a%20b.txt", "//", "/?x=y"] {
            assert_content(&server, target, "the file");
        }
        assert_eq!(field(&get(&server, "/").0, "Content-Type"), Some("text/plain; charset=utf-8"));
        for target in [
            "/secret.txt",
            "/index.html",
            "/404.html",
            "/sub",
            "/sub/",
            "/sub/secret.txt",
            "/a%20b.txt/",
            "/a%20b.txt/x",
            "/A%20b.txt",
            "/a%20b.txt.gz",
            "/nowhere",
            "/.hidden",
        ] {
            assert_not_found(&server, target);
        }
        assert!(get(&server, "/../secret.txt").0.starts_with("HTTP/1.1 400"));
    }
}

#[test]
fn a_single_file_may_be_hidden_a_link_or_without_a_folder_in_its_name() {
    let folder =
        Folder::new("forms", &[(".env", "the file"), ("other/target.txt", "the target"), ("404.html", "secret")]);
    symlink(folder.path("other/target.txt"), folder.path("link.txt")).unwrap();
    let server = Server::start(&[&folder.path(".env")]);
    assert_content(&server, "/", "the file");
    assert_content(&server, "/.env", "the file");
    assert_not_found(&server, "/404.html");
    let server = Server::start(&[&folder.path("link.txt")]);
    assert_content(&server, "/", "the target");
    assert_content(&server, "/link.txt", "the target");
    assert_not_found(&server, "/other/target.txt");
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidemill"));
    command.args(["--listen", "127.0.0.1:0", ".env"]).current_dir(&folder.0);
    assert_content(&Server::spawn(command), "/.env", "the file");
    let refused = Command::new(env!("CARGO_BIN_EXE_tidemill"))
        .args(["--listen", "127.0.0.1:0", "--no-symlinks", &folder.path("link.txt")])
        .output();
    let refused = refused.unwrap();
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8(refused.stderr).unwrap().ends_with(": it is a symbolic link\n"));
}

#[test]
fn a_single_file_that_goes_and_comes_back_is_404_meanwhile() {
    let folder = Folder::new("goes", &[("one.txt", "the file"), ("sub/one.txt", "secret")]);
    let server = Server::start(&["--file-cache", "0", &folder.path("one.txt")]);
    assert_content(&server, "/one.txt", "the file");
    fs::remove_file(folder.path("one.txt")).unwrap();
    assert_not_found(&server, "/one.txt");
    fs::rename(folder.path("sub"), folder.path("one.txt")).unwrap();
    for target in ["/", "/one.txt", "/one.txt/", "/one.txt/one.txt"] {
        assert_not_found(&server, target);
    }
    fs::rename(folder.path("one.txt"), folder.path("sub")).unwrap();
    fs::write(folder.path("one.txt"), "another").unwrap();
    assert_content(&server, "/", "another");
}

#[test]
fn the_first_index_file_that_is_there_stands_for_its_folder() {
    let files = [
        ("both/a.html", "a"),
        ("both/b.html", "b"),
        ("second/b.html", "b"),
        ("folder/a.html/x", "x"),
        ("folder/b.html", "b"),
        ("none/c.html", "c"),
        ("index.html", "no longer"),
    ];
    let folder = Folder::new("index", &files);
    let root = folder.path("");
    for flags in [&["--index", "a.html,b.html"][..], &["--index", "a.html", "--index=b.html"]] {
        let server = Server::start(&[flags, &[&root]].concat());
        assert_content(&server, "/both/", "a");
        assert_content(&server, "/second/", "b");
        assert_content(&server, "/folder/", "b");
        assert_not_found(&server, "/none/");
        assert_not_found(&server, "/");
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidemill"));
    command.args(["--listen", "127.0.0.1:0", "--browse", &root]).env("TIDEMILL_INDEX", "b.html,a.html");
    let server = Server::spawn(command);
    assert_content(&server, "/both/", "b");
    let listing = server.ask("GET /none/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(listing.contains("c.html"), "{listing}");
}

#[test]
fn next_to_a_folder_the_demo_page_is_not_there() {
    let folder = Folder::new("lab", &[("page.html", "the page")]);
    let server = Server::start(&["--lab", &folder.path("")]);
    assert_not_found(&server, "/");
    assert_content(&server, "/plaintext", "Hello, World!");
    fs::write(folder.path("index.html"), "of the folder").unwrap();
    let server = Server::start(&["--lab", &folder.path("")]);
    assert_content(&server, "/", "of the folder");
}
