//! Connections to upstreams, where the server is the client.

use std::net::TcpListener;

use crate::support::{Server, status};
use crate::{Captured, faults, tshark};

fn get(captured: &Captured, path: &str) -> String {
    let mut client = captured.logged.connect();
    client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
    status(&client.read_to_end()).to_owned()
}

#[test]
fn both_connections_of_a_request_are_captured() {
    let application = Server::start_untortured(&[]);
    let (host, port) = application.address.rsplit_once(':').unwrap();
    let Some(mut captured) = Captured::start(&["--proxy", &format!("/=http://{host}:{port}")]) else { return };
    assert_eq!(get(&captured, "/bytes/200000"), "200");
    captured.logged.lines(1);
    captured.stop();
    let file = captured.path();
    assert_eq!(faults(&file), Vec::<Vec<String>>::new());
    let ours = captured.port();
    let requests = tshark(&file, "http.request", &["tcp.dstport", "http.request.uri", "frame.packet_flags_direction"]);
    assert_eq!(requests.len(), 2, "{requests:?}");
    assert_eq!((requests[0][0].as_str(), requests[1][0].as_str()), (ours, port));
    let [inbound, outbound] = ["0x00000001", "0x00000002"];
    assert_eq!((requests[0][2].as_str(), requests[1][2].as_str()), (inbound, outbound));
    let of_upstream = format!("tcp.port == {port}");
    let flags = tshark(&file, &of_upstream, &["tcp.dstport", "tcp.flags.str"]);
    let is = |at: usize, set: &str| set.chars().all(|flag| flags[at][1].contains(flag));
    assert!(flags[0][0] == port && is(0, "S") && flags[1][0] != port && is(1, "AS") && flags[2][0] == port);
    let responses =
        tshark(&file, &format!("http.response && {of_upstream}"), &["http.response.code", "http.content_length"]);
    assert_eq!(responses, [["200", "200000"]]);
    let comments: Vec<String> = tshark(&file, "frame.comment", &["frame.comment"]).concat();
    let connects = format!("c=2 connects to upstream {host}:{port}");
    assert!(comments.iter().any(|comment| comment.contains(&connects)), "{comments:#?}");
    let interfaces = tshark(&file, &of_upstream, &["frame.interface_name"]);
    assert!(interfaces.iter().all(|name| name[0] == "upstreams"), "{interfaces:?}");
}

#[test]
fn a_connection_that_is_refused_has_a_syn_and_a_reset() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let Some(mut captured) = Captured::start(&["--proxy", &format!("/=http://127.0.0.1:{port}")]) else { return };
    assert_eq!(get(&captured, "/"), "502");
    captured.logged.lines(1);
    captured.stop();
    let file = captured.path();
    assert_eq!(faults(&file), Vec::<Vec<String>>::new());
    // It is tried once more.
    let flags = tshark(&file, &format!("tcp.port == {port}"), &["tcp.flags.syn", "tcp.flags.reset", "tcp.dstport"]);
    assert_eq!(flags.len(), 4, "{flags:?}");
    for asked in flags.chunks(2) {
        assert_eq!(
            (&asked[0][..], &asked[1][..2]),
            (&["1", "0", &port].map(String::from)[..], &["0", "1"].map(String::from)[..])
        );
    }
}

#[cfg(feature = "tls")]
#[test]
fn the_tls_of_an_upstream_is_decrypted() {
    use std::process::Command;

    let folder = crate::logged::Scratch::new();
    let certificates = folder.path("tls");
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidemill"));
    command.args(["--listen", "https:127.0.0.1:0"]).env_remove("TIDEMILL_TORTURE");
    command.arg(format!("--tls-self-signed={}", certificates.display()));
    let application = Server::spawn(command);
    let (route, authority) =
        (format!("/=https://{}", application.address), certificates.join("cert.pem").display().to_string());
    let Some(mut captured) = Captured::start(&["--proxy", &route, "--upstream-ca", &authority]) else { return };
    assert_eq!(get(&captured, "/plaintext"), "200");
    captured.logged.lines(1);
    captured.stop();
    let file = captured.path();
    assert_eq!(faults(&file), Vec::<Vec<String>>::new());
    let port = application.address.rsplit(':').next().unwrap();
    assert_eq!(tshark(&file, "tls && http.request", &["tcp.dstport", "http.request.uri"]), [[port, "/plaintext"]]);
    assert_eq!(tshark(&file, "tls && http.response", &["tcp.srcport", "http.response.code"]), [[port, "200"]]);
}
