//! The real binary takes another configuration, by HUP and by `tidemill reload`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod in_flight;
mod listeners;
mod refused;
mod replaced;
mod signals;
#[allow(dead_code, reason = "other tests need more of it")]
#[path = "../server/support.rs"]
mod support;
#[cfg(feature = "tls")]
mod tls;
#[cfg(feature = "tls")]
#[allow(dead_code, reason = "other tests need more of it")]
#[path = "../tls_client/mod.rs"]
mod tls_client;
mod upstreams;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use support::{Client, DEADLINE, Server, wait_until};

/// A server with a configuration file of its own, in a folder of its own.
struct Mill {
    server: Server,
    folder: Folder,
}

/// A folder that goes with its value.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

/// A site that answers everything with `body`.
fn says(body: &str) -> String {
    format!("[[site]]\nrespond = 200\nbody = \"{body}\"\n")
}

/// A server with a listener on a free port, where all that comes gets the answer `body`.
fn saying(name: &str, body: &str) -> Mill {
    Mill::start(name, &format!("listen = [\"127.0.0.1:0\"]\n{}", says(body)))
}

impl Mill {
    /// Starts a server with this file, in whose folder there is nothing else.
    fn start(name: &str, text: &str) -> Mill {
        Mill::prepared(name, text, |_| ())
    }

    /// The same, in a folder in which something was prepared.
    fn prepared(name: &str, text: &str, prepare: impl FnOnce(&Path)) -> Mill {
        let folder = Folder(env::temp_dir().join(format!("tidemill-reload-{}-{name}", std::process::id())));
        fs::create_dir(&folder.0).unwrap();
        fs::write(folder.0.join("t.toml"), text).unwrap();
        prepare(&folder.0);
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidemill"));
        for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TIDEMILL_")) {
            command.env_remove(name);
        }
        command.arg("--config").arg(folder.0.join("t.toml")).args(["--admin", "127.0.0.1:0"]);
        let listen = text.lines().find(|line| line.starts_with("listen = ")).unwrap();
        let server = Server::spawn_with(command, listen.split(',').count());
        Mill { server, folder }
    }

    fn path(&self, name: &str) -> String {
        self.folder.0.join(name).display().to_string()
    }

    /// Replaces a file at once: a server that is told to read it never sees a part of it.
    fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.0.join("new"), text).unwrap();
        fs::rename(self.folder.0.join("new"), self.folder.0.join(name)).unwrap();
    }

    /// Writes the configuration and has it read. What `tidemill reload` says, with its exit code.
    fn try_take(&self, text: &str) -> (i32, String) {
        self.write("t.toml", text);
        self.reload()
    }

    fn reload(&self) -> (i32, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_tidemill"))
            .args(["reload", "--admin", self.server.admin()])
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8(said).unwrap())
    }

    /// Writes the configuration and has it taken, which must succeed.
    fn take(&self, text: &str) -> String {
        let (code, said) = self.try_take(text);
        assert_eq!(code, 0, "{said}");
        said
    }

    /// The same with the listener on the port that the kernel has chosen.
    fn take_sites(&self, sites: &str) -> String {
        self.take(&format!("listen = [\"127.0.0.1:0\"]\n{sites}"))
    }

    fn get(&self, path: &str) -> String {
        get(TcpStream::connect(&self.server.address).unwrap(), path)
    }

    fn get_unix(&self, name: &str, path: &str) -> String {
        get(UnixStream::connect(self.path(name)).unwrap(), path)
    }

    /// What is behind the head of the answer.
    fn content(&self, path: &str) -> String {
        content(&self.get(path)).to_owned()
    }

    fn metric(&self, name: &str) -> f64 {
        let metrics = get(TcpStream::connect(self.server.admin()).unwrap(), "/metrics");
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in {metrics}")).parse().unwrap()
    }

    /// The generation of the configuration in force.
    fn generation(&self) -> f64 {
        self.metric("tidemill_config_generation")
    }

    /// All that the server has logged by now.
    fn log(&self) -> String {
        // A later line is there only if all earlier ones are.
        let before = self.times_in_log("SIGUSR2");
        self.server.signal("USR2");
        wait_until("the next line is in the log", || self.times_in_log("SIGUSR2") > before);
        self.server.log()
    }

    fn times_in_log(&self, text: &str) -> usize {
        self.server.log().matches(text).count()
    }
}

/// What is answered on a connection of its own.
fn get(mut stream: impl Read + Write, path: &str) -> String {
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn content(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head: {answer:?}")).1
}

/// A request on a connection that stays open; the content of the answer.
fn ask(client: &mut Client, path: &str) -> String {
    client.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    client.read_response().1
}

fn patient(stream: UnixStream) -> UnixStream {
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}
