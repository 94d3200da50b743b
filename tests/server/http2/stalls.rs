//! Windows that stay shut, or open a little.

use std::fs;

use super::client::{Client, bytes, on_streams};
use super::siege::{ATTACKERS, Siege};
use crate::support::Server;

/// A folder with a file of 4 MiB.
struct Site(std::path::PathBuf);

impl Site {
    fn new(name: &str) -> Site {
        let folder = std::env::temp_dir().join(format!("tidemill-http2-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("large"), vec![b'l'; 4 << 20]).unwrap();
        Site(folder)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).expect("it was made by this test");
    }
}

#[test]
fn shut_windows_hold_large_files_for_little() {
    let site = Site::new("shut");
    let mut siege = Siege::of(&[site.path(), "--lab"]);
    let attack = [bytes("SETTINGS 4=0"), on_streams(100, "GET # /large")].concat();
    let attackers = siege.lay(ATTACKERS, &attack);
    for attacker in &attackers {
        assert_eq!((attacker.count("HEADERS"), attacker.count("DATA"), attacker.is_over), (100, 0, false));
    }
    siege.check();
}

#[test]
fn the_window_of_the_connection_holds_all_streams_for_little() {
    let site = Site::new("shared");
    let mut siege = Siege::of(&[site.path(), "--lab"]);
    let attack = [bytes("SETTINGS 4=10000000"), on_streams(100, "GET # /large")].concat();
    let attackers = siege.lay(ATTACKERS, &attack);
    assert!(attackers.iter().all(|attacker| attacker.count("DATA") > 0 && !attacker.is_over));
    siege.check();
}

#[test]
fn who_opens_no_window_in_time_is_ended() {
    let mut siege = Siege::of(&["--http2-stall-timeout", "1s"]);
    let shut = [bytes("SETTINGS 4=0"), on_streams(100, "GET # /bytes/1000000")].concat();
    let shared = [bytes("SETTINGS 4=10000000"), on_streams(100, "GET # /bytes/1000000")].concat();
    let attacks = [shut, shared];
    let mut attackers = siege.lay_each(ATTACKERS, |number| (attacks[number % 2].as_slice().into(), true));
    while !attackers.iter().all(|attacker| attacker.is_over) {
        siege.press(&mut attackers);
    }
    for attacker in &attackers {
        attacker.expect_goodbye("ENHANCE_YOUR_CALM", "windows of all streams are shut");
    }
    siege.check();
}

#[test]
fn a_stream_that_is_stuck_is_reset_and_others_go_on() {
    let server = Server::start(&["--http2-stall-timeout", "300ms"]);
    let mut client = Client::connect(&server);
    client.send("SETTINGS 4=0\nGET 1 /bytes/100000\nGET 3 /delay/1500");
    client.until("RST_STREAM 1 ENHANCE_YOUR_CALM");
    client.send("WINDOW_UPDATE 3 1000");
    assert_eq!(client.response(3)[1], r#"DATA 3 end "{"delayed_ms":1500}""#);
}

/// Windows of one byte: of a stream, and of the connection.
#[test]
fn windows_that_open_byte_by_byte_are_counted() {
    // What is opened in one read adds up, and then is no longer tiny.
    let mut siege = Siege::of(&["--http2-small-data", "8KiB"]);
    let stream = "SETTINGS 4=0\nGET 1 /bytes/100000\n400 times WINDOW_UPDATE 1 1";
    let connection = "SETTINGS 4=10000000\nGET 1 /bytes/100000\n400 times WINDOW_UPDATE 0 1";
    let settings = "SETTINGS 4=1\nGET 1 /bytes/100000\n200 times SETTINGS 4=0 4=1";
    let attacks = [(stream, "tiny-window"), (connection, "tiny-window"), (settings, "settings=")];
    let mut attackers = siege.lay_each(ATTACKERS, |number| {
        let attack = attacks[number % 3].0;
        let opening = if number % 3 == 1 { attack.split_once("400").unwrap().0 } else { attack };
        (bytes(opening).into(), true)
    });
    // The window of the connection has 65,535 bytes at first.
    for attacker in attackers.iter_mut().skip(1).step_by(3) {
        attacker.send("400 times WINDOW_UPDATE 0 1");
    }
    siege.press(&mut attackers);
    for (number, attacker) in attackers.iter().enumerate() {
        attacker.expect_goodbye("ENHANCE_YOUR_CALM", attacks[number % 3].1);
    }
    siege.check();
}
