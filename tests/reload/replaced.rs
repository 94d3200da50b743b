//! What is new for requests that come afterwards.

use std::fs;
use std::process::Command;

use super::support::{field, status};
use super::{Mill, ask, content, saying, says};

#[test]
fn routes_and_fixed_answers_are_new_also_on_connections_that_live() {
    let mill = saying("routes", "one");
    let mut client = mill.server.connect();
    assert_eq!((ask(&mut client, "/"), mill.generation()), ("one".into(), 1.0));
    let said = mill.take_sites(
        "[[site]]\nrespond = 200\nbody = 'two'\n\
         [[site.route]]\npath = '/b/'\nrespond = 404\nbody = 'not here'\nheader = ['X-Generation: 2']\n\
         [[site]]\nhosts = ['other.example']\nredirect = 'https://a.example{uri}'\n",
    );
    assert!(
        said.contains("configuration 2 is in force: 2 sites, 3 routes, listeners: 2 open, 0 new, 0 closed"),
        "{said}"
    );
    mill.server.wait_for_log("configuration 2 is in force");
    assert_eq!(ask(&mut client, "/"), "two");
    let answer = mill.get("/b/c");
    assert_eq!((status(&answer), field(&answer, "X-Generation")), ("404", Some("2")), "{answer}");
    let other = mill.server.ask("GET /x?y HTTP/1.1\r\nHost: other.example\r\nConnection: close\r\n\r\n");
    assert_eq!(field(&other, "Location"), Some("https://a.example/x?y"), "{other}");
    mill.take_sites(&says("three"));
    assert_eq!([ask(&mut client, "/"), mill.content("/b/c")], ["three", "three"]);
    assert_eq!((mill.generation(), mill.metric("tidemill_config_last_failure_timestamp_seconds")), (3.0, 0.0));
    assert!(mill.metric("tidemill_config_last_success_timestamp_seconds") > 1e9);
}

#[test]
fn a_folder_may_change_and_so_may_how_it_is_served() {
    let text = |folder: &str, more: &str| format!("listen = ['127.0.0.1:0']\n[[site]]\nroot = '{folder}'\n{more}");
    let mill = Mill::prepared("folders", &text("a", ""), |folder| {
        for name in ["a", "b"] {
            fs::create_dir(folder.join(name)).unwrap();
            fs::write(folder.join(name).join("f.txt"), format!("file of {name}")).unwrap();
        }
    });
    assert_eq!(mill.content("/f.txt"), "file of a");
    mill.take(&text("b", ""));
    assert_eq!(mill.content("/f.txt"), "file of b");
    mill.take(&text("b", "header = ['X-A: b']\n"));
    let answer = mill.get("/f.txt");
    assert_eq!((field(&answer, "X-A"), content(&answer)), (Some("b"), "file of b"), "{answer}");
    mill.take_sites(&says("no folder"));
    assert_eq!(mill.content("/f.txt"), "no folder");
}

#[test]
fn limits_hold_from_the_next_request_on() {
    let mill = saying("limits", "one");
    let mut client = mill.server.connect();
    let long = format!("/{}", "x".repeat(200));
    assert_eq!(ask(&mut client, &long), "one");
    let shorter = format!("listen = ['127.0.0.1:0']\nmax-target-size = 100\n{}", says("two"));
    mill.take(&shorter);
    client.send(format!("GET {long} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    assert_eq!(status(&client.read_response().0), "414");
    assert_eq!(status(&mill.get(&long)), "414");
    mill.take_sites(&says("three"));
    assert_eq!(mill.content(&long), "three");
    // What counts at the next start is said, and the rest is taken.
    let said_before = mill.server.log().len();
    mill.take(&format!("listen = ['127.0.0.1:0']\nmax-connections = 17\n{}", says("four")));
    assert_eq!(mill.content("/"), "four");
    mill.server.wait_for_log("configuration 4 is in force");
    let said = mill.server.log()[said_before..].to_owned();
    assert_eq!(said.matches("--max-connections stays as it was: it counts at the next start").count(), 1, "{said}");
}

#[test]
fn an_idle_connection_learns_that_its_time_is_over() {
    let mill = saying("idle", "one");
    let mut client = mill.server.connect();
    assert_eq!(ask(&mut client, "/"), "one");
    mill.take(&format!("listen = ['127.0.0.1:0']\nkeep-alive-timeout = '1ms'\n{}", says("two")));
    assert!(client.is_closed_by_server());
}

#[test]
fn the_access_log_goes_on_in_another_file_and_ends() {
    let text = |log: &str| format!("listen = ['127.0.0.1:0']\n{log}\n{}", says("x"));
    let mill = Mill::start("log", &text("access-log = 'a.log'"));
    let read = |name: &str| fs::read_to_string(mill.path(name)).unwrap_or_default();
    mill.get("/first");
    mill.take(&text("access-log = 'b.log'"));
    mill.get("/second");
    mill.take(&text(""));
    mill.get("/third");
    mill.take(&text("access-log = 'b.log'"));
    mill.get("/fourth");
    super::support::wait_until("the last line is written", || read("b.log").contains("/fourth"));
    // Orders through the admin listener are in it as well.
    let of_clients = |name: &str| -> Vec<String> {
        read(name).lines().filter(|line| !line.contains("POST /reload")).map(str::to_owned).collect()
    };
    let (a, b) = (of_clients("a.log"), of_clients("b.log"));
    assert!(a.len() == 1 && a[0].contains("/first"), "{a:?}");
    assert!(b.len() == 2 && b[0].contains("/second"), "{b:?}");
}

/// Of `htpasswd -nbBC 4 anna right`: bcrypt with the lowest cost.
const RIGHT: &str = "anna:$2y$04$Lfv.52ne33VjalRqe634ouETlnP61yzu2yfpQyPGNenvb/N9MqTDu\n";

/// Somebody else with the same password.
const BOB: &str = "bob:$2y$04$Lfv.52ne33VjalRqe634ouETlnP61yzu2yfpQyPGNenvb/N9MqTDu\n";

#[test]
fn another_file_of_users_counts_and_one_that_is_wrong_does_not() {
    let text = "listen = ['127.0.0.1:0']\n[[site]]\nrespond = 200\nbody = 'in'\nbasic-auth = 'users'\n";
    let mill = Mill::prepared("users", text, |folder| fs::write(folder.join("users"), BOB).unwrap());
    let enter = || {
        let request =
            "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Basic YW5uYTpyaWdodA==\r\n\r\n";
        status(&mill.server.ask(request)).to_owned()
    };
    assert_eq!(enter(), "401");
    mill.write("users", RIGHT);
    assert_eq!(enter(), "401", "nobody has told the server");
    assert_eq!(mill.reload().0, 0);
    assert_eq!(enter(), "200");
    mill.write("users", &format!("{RIGHT}bob:$apr1$x$y\n"));
    let (code, said) = mill.reload();
    assert!(code == 1 && said.contains("users:2"), "{code} {said}");
    assert_eq!(enter(), "200");
    mill.write("users", BOB);
    assert_eq!(mill.reload().0, 0);
    assert_eq!(enter(), "401", "what is known of a password goes with its user");
}

#[test]
fn buckets_of_a_rate_go_on() {
    let limited = |body: &str, rate: &str| format!("{}rate-limit = '{rate}'\n", says(body));
    let mill = saying("rate", "one");
    mill.take_sites(&limited("two", "1/h burst=2"));
    let statuses = || [(); 2].map(|()| status(&mill.get("/")).to_owned());
    assert_eq!(statuses(), ["200", "200"]);
    mill.take_sites(&limited("three", "1/h burst=2"));
    assert_eq!(statuses(), ["429", "429"], "the bucket is as empty as before");
    mill.take_sites(&limited("four", "2/h burst=3"));
    assert_eq!(statuses(), ["200", "200"], "another rate has a bucket of its own");
}

/// Without a folder, an admin listener, TLS and upstreams there are no threads for what may block.
#[test]
fn a_server_without_threads_takes_another_configuration_too() {
    let folder = super::Folder(std::env::temp_dir().join(format!("tidemill-reload-{}-bare", std::process::id())));
    fs::create_dir(&folder.0).unwrap();
    let file = folder.0.join("t.toml");
    let write = |body: &str| fs::write(&file, format!("listen = ['127.0.0.1:0']\n{}", says(body))).unwrap();
    write("one");
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidemill"));
    command.arg("--config").arg(&file);
    let server = super::support::Server::spawn(command);
    let mut client = server.connect();
    assert_eq!(ask(&mut client, "/"), "one");
    write("two");
    server.signal("HUP");
    server.wait_for_log("configuration 2 is in force");
    assert_eq!(ask(&mut client, "/"), "two");
}
