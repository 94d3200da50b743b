//! HTTP/2 with clients that others wrote, and the same answers as over HTTP/1.1.

#[cfg(feature = "tls")]
mod browser;
mod client;
mod same_answers;
mod stuck;
mod tools;

use std::process::Command;

use crate::files::Site;
use crate::support::Server;
#[cfg(feature = "tls")]
use crate::tls_client::corpus;

/// The lab and this site, on a plain listener and, behind it, on one for HTTPS.
fn serve(site: &Site, arguments: &[&str]) -> Server {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidemill"));
    command.args(["--listen", "127.0.0.1:0"]);
    #[cfg(feature = "tls")]
    {
        command.args(["--listen", "https:127.0.0.1:0"]);
        command.arg("--tls-cert").arg(corpus("ec.pem")).arg("--tls-key").arg(corpus("ec-sec1-key.pem"));
    }
    command.args(["--lab", "--browse"]).args(arguments).arg(&site.root);
    Server::spawn(command)
}

/// Where the server is: over TCP alone, and over TLS.
fn urls(server: &Server) -> Vec<String> {
    let mut urls = vec![format!("http://{}", server.listener(0))];
    if cfg!(feature = "tls") {
        urls.push(format!("https://{}", server.listener(1)));
    }
    urls
}

/// Content that repeats nowhere near its start.
fn noise(n: usize) -> Vec<u8> {
    (0..n as u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 23) as u8).collect()
}

/// A file that repeats itself, one that does not, an empty one, and folders with and without a page.
fn site() -> Site {
    Site::new()
        .with("app.js", "export const tide = 'high';\n".repeat(3000))
        .with("noise.bin", noise(3_000_001))
        .with("empty.txt", "")
        .with("page/index.html", "<!doctype html><title>page</title><p>hello\n")
        .with("folder/a.txt", "a\n")
        .with("folder/b.txt", "b\n")
}
