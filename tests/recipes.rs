//! The files of docs/recipes, each run by the real binary and asked with curl.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

#[path = "server/support.rs"]
#[allow(dead_code, reason = "shared with the tests of the server")]
mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use support::{Server, field, status};

type Test = fn(&Recipe);

/// The recipes, and the test of each.
const TESTS: [(&str, Test); 10] = [
    ("static-site", static_site),
    ("spa-with-api", spa_with_api),
    ("two-sites-with-https", two_sites_with_https),
    ("password-on-one-path", password_on_one_path),
    ("download-mirror", download_mirror),
    ("websocket-application", websocket_application),
    ("canary-by-header", canary_by_header),
    ("maintenance", maintenance),
    ("fonts-with-cors", fonts_with_cors),
    ("health-and-metrics", health_and_metrics),
];

/// What stands in the recipes for a listener, and what a test puts there.
const PORTS: [(&str, &str); 3] =
    [("\"80\"", "127.0.0.1:0"), ("\"https:443\"", "https:127.0.0.1:0"), ("\"127.0.0.1:9100\"", "127.0.0.2:0")];

/// A copy of a recipe in a folder of its own.
struct Recipe {
    name: &'static str,
    folder: PathBuf,
}

impl Recipe {
    fn copy(name: &'static str) -> Recipe {
        let folder = env::temp_dir().join(format!("tidemill-{}-recipe-{name}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Recipe { name, folder }
    }

    fn write(&self, file: &str, content: &str) {
        let path = self.folder.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Runs the recipe with these upstreams in the place of its own.
    fn run(&self, upstreams: &[(&str, &Server)]) -> Server {
        let file = format!("{}.toml", self.name);
        let mut text = fs::read_to_string(recipes().join(&file)).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidemill"));
        let settings = settings(&text);
        for (address, free) in PORTS.iter().filter(|(address, _)| settings.contains(address)) {
            text = text.replace(address, &format!("\"{free}\""));
            command.args(["--listen", free]);
        }
        for (address, server) in upstreams {
            assert!(text.contains(address), "{address}");
            text = text.replace(address, &server.address);
        }
        self.write(&file, &text);
        command.arg("--config").arg(self.folder.join(&file));
        Server::spawn(command)
    }

    /// A server that always says this.
    fn upstream(&self, says: &str) -> Server {
        let file = format!("{says}.toml");
        self.write(&file, &format!("[[site]]\nrespond = 200\nbody = \"{says}\""));
        Server::start(&["--config", self.folder.join(&file).to_str().unwrap()])
    }
}

impl Drop for Recipe {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.folder).unwrap();
    }
}

fn recipes() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/recipes")
}

/// A recipe without its comments.
fn settings(text: &str) -> String {
    text.lines().filter(|line| !line.starts_with('#')).map(|line| format!("{line}\n")).collect()
}

/// What curl gets, with its head.
fn curl(arguments: &[&str]) -> String {
    let output = Command::new("curl").args(["-sSi", "--noproxy", "*", "--max-time", "20"]).args(arguments).output();
    let output = output.unwrap();
    assert!(output.status.success(), "curl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Asks the first listener.
fn get(server: &Server, path: &str, arguments: &[&str]) -> String {
    curl(&[&[&*format!("http://{}{path}", server.address)], arguments].concat())
}

#[track_caller]
fn assert_answer(response: &str, code: &str, content: &str) {
    assert_eq!(status(response), code, "{response}");
    assert!(response.contains(content), "no {content:?} in {response}");
}

/// One after the other: they are started and stopped within moments, and curl has to be there for all of them.
#[test]
fn each_recipe_does_what_it_says() {
    if !support::has_tool("curl") {
        return;
    }
    let mut files: Vec<_> = fs::read_dir(recipes()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    files.retain(|name| name.to_string_lossy().ends_with(".toml"));
    let mut tested: Vec<std::ffi::OsString> = TESTS.iter().map(|(name, _)| format!("{name}.toml").into()).collect();
    files.sort();
    tested.sort();
    assert_eq!(files, tested, "each recipe has a test");
    for (name, test) in TESTS {
        eprintln!("{name}");
        test(&Recipe::copy(name));
    }
}

fn static_site(recipe: &Recipe) {
    recipe.write("www/index.html", "<p>home");
    recipe.write("www/about.html", "<p>about");
    recipe.write("www/assets/a.css", "p {}");
    recipe.write("errors/404.html", "<p>nothing here");
    let server = recipe.run(&[]);
    assert_answer(&get(&server, "/", &[]), "200", "<p>home");
    assert_answer(&get(&server, "/about", &[]), "200", "<p>about");
    let redirect = get(&server, "/about.html", &[]);
    assert_eq!((status(&redirect), field(&redirect, "Location")), ("301", Some("about")), "{redirect}");
    let asset = get(&server, "/assets/a.css", &[]);
    assert_eq!(field(&asset, "Cache-Control"), Some("max-age=604800"), "{asset}");
    assert_eq!(field(&get(&server, "/", &[]), "Cache-Control"), None);
    let missing = get(&server, "/assets/b.css", &[]);
    assert_answer(&missing, "404", "<p>nothing here");
    assert_eq!(field(&missing, "Cache-Control"), None, "an error is not kept");
}

fn spa_with_api(recipe: &Recipe) {
    recipe.write("dist/index.html", "<p>app");
    recipe.write("dist/app.0123abcd.js", "1");
    let api = Server::start(&[]);
    let server = recipe.run(&[("127.0.0.1:3000", &api)]);
    let page = get(&server, "/users/17", &["-H", "Accept: text/html"]);
    assert_answer(&page, "200", "<p>app");
    assert_eq!(field(&page, "Cache-Control"), Some("no-cache"), "{page}");
    let script = get(&server, "/app.0123abcd.js", &[]);
    assert!(field(&script, "Cache-Control").is_some_and(|value| value.contains("immutable")), "{script}");
    assert_answer(&get(&server, "/api/plaintext", &[]), "200", "Hello, World!");
    assert_answer(&get(&server, "/api/nothing", &["-H", "Accept: text/html"]), "404", "");
}

fn two_sites_with_https(recipe: &Recipe) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/tls");
    for (name, certificate, key) in
        [("example.org", "ec.pem", "ec-sec1-key.pem"), ("example.net", "rsa.pem", "rsa-pkcs8-key.pem")]
    {
        recipe.write(&format!("{name}.pem"), &fs::read_to_string(corpus.join(certificate)).unwrap());
        recipe.write(&format!("{name}.key"), &fs::read_to_string(corpus.join(key)).unwrap());
    }
    recipe.write("example.org/index.html", "<p>org");
    let upstream = recipe.upstream("net");
    let server = recipe.run(&[("127.0.0.1:3000", &upstream)]);
    let port = |listener| server.listener(listener).rsplit_once(':').unwrap().1.to_owned();
    let (http, https) = (port(0), port(1));
    let secured = |host: &str, path: &str| {
        let to = format!("{host}:{https}:127.0.0.1");
        curl(&["-k", "--resolve", &to, &format!("https://{host}:{https}{path}")])
    };
    let home = secured("example.org", "/");
    assert!(home.ends_with("<p>org"), "{home}");
    assert!(home.starts_with("HTTP/2 200") && field(&home, "Strict-Transport-Security").is_some(), "{home}");
    let redirect = secured("www.example.org", "/a?b");
    assert!(redirect.starts_with("HTTP/2 301"), "{redirect}");
    assert_eq!(field(&redirect, "Location"), Some("https://example.org/a?b"));
    for host in ["example.net", "shop.example.net"] {
        assert!(secured(host, "/").ends_with("net"), "{host}");
    }
    assert!(secured("example.com", "/").starts_with("HTTP/2 421"));
    let to = format!("example.org:{http}:127.0.0.1");
    let plain = curl(&["--resolve", &to, &format!("http://example.org:{http}/a?b")]);
    assert_eq!(status(&plain), "308", "{plain}");
    assert_eq!(field(&plain, "Location"), Some(&*format!("https://example.org:{https}/a?b")));
}

fn password_on_one_path(recipe: &Recipe) {
    recipe.write("www/index.html", "<p>home");
    recipe.write("www/internal/index.html", "<p>inside");
    recipe.write("users.htpasswd", "anna:$2y$04$bgvTOMCeblvrRTM8LKNleuEVmIGwGThZuBfDLKdXgIHlmR4ys.h3m\n");
    let server = recipe.run(&[]);
    assert_answer(&get(&server, "/", &[]), "200", "<p>home");
    let refused = get(&server, "/internal/", &[]);
    assert_answer(&refused, "401", "");
    assert!(field(&refused, "WWW-Authenticate").is_some_and(|value| value.contains("the mill")), "{refused}");
    assert_answer(&get(&server, "/internal/", &["-u", "anna:secret"]), "200", "<p>inside");
    assert_answer(&get(&server, "/internal/", &["-u", "anna:wrong"]), "401", "");
    // No other spelling leads past it.
    for path in
        ["//internal/", "/%69nternal/", "/internal%2F", "/./internal/index.html", "/x/../internal/", "/internal"]
    {
        let response = get(&server, path, &["--path-as-is"]);
        assert!(["401", "404"].contains(&status(&response)), "{path}: {response}");
    }
}

fn download_mirror(recipe: &Recipe) {
    recipe.write("mirror/images/a.iso", "image");
    let server = recipe.run(&[]);
    assert_answer(&get(&server, "/images/", &[]), "200", "a.iso");
    assert_answer(&get(&server, "/images/a.iso", &["-r", "1-2"]), "206", "\r\n\r\nma");
    // One client and one connection, faster than two a second.
    let url = format!("http://{}/images/a.iso", server.address);
    let all = curl(&vec![&*url; 100]);
    let refused = all.matches("HTTP/1.1 429 ").count();
    assert!(refused > 50, "{refused} of 100 were refused");
    assert!(field(&all[all.find("HTTP/1.1 429 ").unwrap()..], "Retry-After").is_some(), "{all}");
}

fn websocket_application(recipe: &Recipe) {
    recipe.write("www/index.html", "<p>chat");
    let application = Server::start(&[]);
    let server = recipe.run(&[("127.0.0.1:3000", &application)]);
    assert_answer(&get(&server, "/", &[]), "200", "<p>chat");
    // curl does not speak for itself behind the 101.
    let mut client = server.connect();
    client.send(
        "GET /ws/echo HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    let head = client.read_head();
    assert_eq!(status(&head), "101", "{head}");
    assert_eq!(field(&head, "Sec-WebSocket-Accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
    // "hi" with a mask of zeros, and without one on the way back (RFC 6455 §5.2).
    client.send(b"\x81\x82\0\0\0\0hi");
    assert_eq!(client.read_exactly(4), b"\x81\x02hi");
}

fn canary_by_header(recipe: &Recipe) {
    let (stable, canary) = (recipe.upstream("stable"), recipe.upstream("canary"));
    let server = recipe.run(&[("127.0.0.1:3000", &stable), ("127.0.0.1:3001", &canary)]);
    for fields in [&[][..], &["-H", "X-Canary: no"]] {
        let response = get(&server, "/", fields);
        assert_answer(&response, "200", "\r\n\r\nstable");
        assert_eq!(field(&response, "X-Version"), None);
    }
    let response = get(&server, "/", &["-H", "X-Canary: yes"]);
    assert_answer(&response, "200", "\r\n\r\ncanary");
    assert_eq!(field(&response, "X-Version"), Some("canary"));
}

fn maintenance(recipe: &Recipe) {
    recipe.write("maintenance.html", "<p>back soon");
    recipe.write("maintenance/logo.svg", "<svg/>");
    let application = recipe.upstream("inside");
    let server = recipe.run(&[("127.0.0.1:3000", &application)]);
    for path in ["/", "/any/path?x", "/maintenance"] {
        let response = get(&server, path, &[]);
        if path == "/maintenance" {
            assert_eq!(field(&response, "Location"), Some("./maintenance/"), "{response}");
            continue;
        }
        assert_answer(&response, "503", "<p>back soon");
        assert_eq!(field(&response, "Retry-After"), Some("600"));
        assert_eq!(field(&response, "Content-Type"), Some("text/html; charset=utf-8"));
    }
    assert_answer(&get(&server, "/maintenance/logo.svg", &[]), "200", "<svg/>");
    assert_answer(&get(&server, "/", &["-H", "X-Inside: yes"]), "200", "inside");
    assert_eq!(status(&get(&server, "/", &["-I"])), "503");
}

fn fonts_with_cors(recipe: &Recipe) {
    recipe.write("www/index.html", "<p>home");
    recipe.write("www/fonts/a.woff2", "font");
    let server = recipe.run(&[]);
    let origin = ["-H", "Origin: https://a.example"];
    let font = get(&server, "/fonts/a.woff2", &origin);
    assert_answer(&font, "200", "font");
    assert_eq!(field(&font, "Access-Control-Allow-Origin"), Some("*"), "{font}");
    assert_eq!(field(&font, "Cache-Control"), Some("public, max-age=31536000, immutable"));
    let page = get(&server, "/", &origin);
    assert_eq!((field(&page, "Access-Control-Allow-Origin"), field(&page, "Cache-Control")), (None, None), "{page}");
    // Another spelling is not led past the route.
    assert_eq!(status(&get(&server, "//fonts/a.woff2", &origin)), "404");
}

fn health_and_metrics(recipe: &Recipe) {
    let application = recipe.upstream("application");
    let server = recipe.run(&[("127.0.0.1:3000", &application)]);
    let inside = |path: &str| curl(&[&format!("http://{}{path}", server.listener(1))]);
    for path in ["/", "/metrics", "/up"] {
        assert_answer(&get(&server, path, &[]), "200", "\r\n\r\napplication");
    }
    assert_answer(&inside("/metrics"), "200", "\ntidemill_requests_total");
    assert_answer(&inside("/up"), "200", "\r\n\r\nup\n");
    assert_answer(&inside("/"), "404", "");
    assert_answer(&inside("/connections"), "404", "");
}
