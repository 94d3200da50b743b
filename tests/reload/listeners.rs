//! Listeners that stay, come, go, and change what they are for.

use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use super::support::{field, status, wait_until};
use super::{Mill, ask, content, get, patient, saying, says};

/// Where the listener is that was opened for `[::1]`.
fn opened(mill: &Mill) -> String {
    mill.server.wait_for_log("listening on http://[::1]");
    let log = mill.server.log();
    let (_, address) = log.lines().find_map(|line| line.split_once("listening on http://[::1]")).unwrap();
    format!("[::1]{}", address.trim_end_matches('/'))
}

#[test]
fn one_more_is_opened_and_those_that_stay_are_not_touched() {
    let mill = saying("more", "one");
    let mut client = mill.server.connect();
    assert_eq!(ask(&mut client, "/"), "one");
    let said = mill.take(&format!("listen = ['127.0.0.1:0', '[::1]:0', 'unix:a.sock']\n{}", says("two")));
    assert!(said.contains("4 open, 2 new, 0 closed"), "{said}");
    assert_eq!([mill.content("/"), ask(&mut client, "/")], ["two", "two"]);
    assert_eq!(content(&mill.get_unix("a.sock", "/")), "two");
    let new = opened(&mill);
    assert_eq!(content(&get(TcpStream::connect(&new).unwrap(), "/")), "two");
    let mut through_new = super::support::Client::new(TcpStream::connect(&new).unwrap());
    assert_eq!(ask(&mut through_new, "/"), "two");
    let said = mill.take_sites(&says("three"));
    assert!(said.contains("2 open, 0 new, 2 closed"), "{said}");
    wait_until("it is closed", || TcpStream::connect(&new).is_err());
    wait_until("its path is removed", || UnixStream::connect(mill.path("a.sock")).is_err());
    assert_eq!(ask(&mut through_new, "/"), "three", "a connection outlives its listener");
    assert_eq!([mill.content("/"), ask(&mut client, "/")], ["three", "three"]);
}

#[test]
fn who_waits_in_the_queue_of_one_that_is_closed_is_served() {
    let text = |more: &str, body: &str| format!("max-connections = 1\nlisten = ['127.0.0.1:0'{more}]\n{}", says(body));
    let mill = Mill::start("queue", &text("", "one"));
    mill.take(&text(", '[::1]:0', 'unix:a.sock'", "three"));
    let second = opened(&mill);
    let mut first = mill.server.connect();
    assert_eq!(ask(&mut first, "/"), "three");
    // There is no room for these.
    let request = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let mut waiting: Vec<_> =
        (0..3).map(|_| super::support::Client::new(TcpStream::connect(&second).unwrap())).collect();
    waiting.iter_mut().for_each(|client| client.send(request));
    let mut waiting_unix = patient(UnixStream::connect(mill.path("a.sock")).unwrap());
    std::io::Write::write_all(&mut waiting_unix, request.as_bytes()).unwrap();
    mill.take(&text("", "four"));
    assert_eq!(ask(&mut first, "/"), "four");
    drop(first);
    for mut client in waiting {
        assert_eq!(content(&client.read_to_end()), "four");
    }
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut waiting_unix, &mut answer).unwrap();
    assert_eq!(content(&answer), "four");
    wait_until("it is closed", || TcpStream::connect(&second).is_err());
    assert_eq!(mill.content("/"), "four");
}

#[test]
fn sites_follow_their_listeners() {
    let site = |listen: &str, body: &str| format!("{}listen = ['unix:{listen}']\n", says(body));
    let text = |sites: &str| format!("listen = ['127.0.0.1:0']\n{sites}");
    let mill = Mill::start("sites", &text(&says("everywhere")));
    mill.take(&text(&[site("a.sock", "a"), site("b.sock", "b")].concat()));
    let said = || ["a.sock", "b.sock"].map(|name| content(&mill.get_unix(name, "/")).to_owned());
    assert_eq!(said(), ["a", "b"]);
    assert_eq!(status(&mill.get("/")), "421", "no site belongs to this listener");
    mill.take(&text(&[site("b.sock", "a"), site("a.sock", "b")].concat()));
    assert_eq!(said(), ["b", "a"]);
    mill.take(&text(&format!(
        "{}{}",
        site("a.sock", "a"),
        says("everywhere").replace("respond", "hosts = ['localhost']\nrespond")
    )));
    assert_eq!(content(&mill.get_unix("a.sock", "/")), "everywhere");
    wait_until("it is closed", || UnixStream::connect(mill.path("b.sock")).is_err());
}

/// The redirect to https names the port that the kernel has chosen.
#[cfg(feature = "tls")]
#[test]
fn the_redirect_to_https_goes_where_https_is() {
    let https = super::tls::pair("ec.pem", "ec-sec1-key.pem");
    let text = |body: &str| {
        format!("https-redirect = true\nlisten = ['127.0.0.1:0', 'https:127.0.0.1:0']\n{https}{}", says(body))
    };
    let mill = Mill::start("redirect", &text("one"));
    let location = || field(&mill.get("/x"), "Location").map(str::to_owned).unwrap();
    let before = location();
    assert!(before.starts_with("https://localhost:") && !before.contains(":0/"), "{before}");
    mill.take(&text("two"));
    assert_eq!(location(), before);
}

/// Sockets that were passed stay, also if one of them is the admin's and others are listened at beside them.
#[cfg(target_os = "linux")]
#[test]
fn sockets_that_were_passed_stay() {
    use std::net::TcpListener;
    use std::os::fd::OwnedFd;
    use std::process::{Child, Command, Stdio};

    struct Process(Child);

    impl Drop for Process {
        fn drop(&mut self) {
            self.0.kill().expect("the server can be killed");
            self.0.wait().expect("the server can be waited for");
        }
    }

    let folder = super::Folder(std::env::temp_dir().join(format!("tidemill-reload-{}-passed", std::process::id())));
    std::fs::create_dir(&folder.0).unwrap();
    let write = |body: &str| {
        let text = format!("listen = ['unix:a.sock']\n{}", says(body));
        std::fs::write(folder.0.join("t.toml"), text).unwrap();
    };
    write("one");
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let [admin, everyone] = listeners.each_ref().map(|listener| listener.local_addr().unwrap().to_string());
    let [third, fourth] = listeners.map(OwnedFd::from);
    let script =
        "exec 3<&0 4<&1 1>&2 0</dev/null; LISTEN_FDS=2 LISTEN_FDNAMES=admin:http LISTEN_PID=$$ exec \"$0\" \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", script, env!("CARGO_BIN_EXE_tidemill"), "--config"]).arg(folder.0.join("t.toml"));
    let command = command.stdin(third).stdout(fourth).stderr(Stdio::null()).spawn();
    let _server = Process(command.unwrap());
    let reload = || Command::new(env!("CARGO_BIN_EXE_tidemill")).args(["reload", "--admin", &admin]).output().unwrap();
    let said = || {
        let stream = TcpStream::connect(&everyone).unwrap();
        stream.set_read_timeout(Some(super::support::DEADLINE)).unwrap();
        content(&get(stream, "/")).to_owned()
    };
    assert_eq!(said(), "one");
    for body in ["two", "three"] {
        write(body);
        let output = reload();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(text.contains("3 open, 0 new, 0 closed"), "{text}");
        assert_eq!(said(), body);
    }
}
