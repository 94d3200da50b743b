//! Orders that come close together, and orders to a server that stops.

use super::support::{status, wait_until};
use super::{Mill, saying, says};

#[test]
fn of_orders_that_come_close_together_the_last_file_counts() {
    let mill = saying("twice", "0");
    for round in 1..=30 {
        mill.write("t.toml", &format!("listen = ['127.0.0.1:0']\n{}", says("between")));
        mill.server.signal("HUP");
        mill.write("t.toml", &format!("listen = ['127.0.0.1:0']\n{}", says(&round.to_string())));
        mill.server.signal("HUP");
        wait_until("the last one is in force", || mill.content("/") == round.to_string());
    }
    // An order may be carried out together with the one before, and there is no other reason for fewer of them.
    assert!((31.0..=61.0).contains(&mill.generation()), "{}", mill.generation());
    assert_eq!(mill.times_in_log("ERROR"), 0, "{}", mill.server.log());
}

#[test]
fn a_server_that_stops_takes_nothing_new() {
    let mut mill = Mill::start("stopping", "listen = ['127.0.0.1:0']\nlab = true\n");
    let mut client = mill.server.connect();
    client.send("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\na");
    assert_eq!(status(&client.read_head()), "200");
    mill.server.signal("TERM");
    mill.server.wait_for_log("stopping: 1 connections to finish");
    mill.write("t.toml", &format!("listen = ['127.0.0.1:0', 'unix:new.sock']\n{}", says("new")));
    mill.server.signal("HUP");
    let (code, said) = mill.reload();
    assert_eq!((code, said.as_str()), (1, "tidemill: nothing has changed: the server stops\n"));
    client.send("b");
    client.read_to_end();
    assert_eq!(mill.server.wait().code(), Some(0));
    assert_eq!(mill.times_in_log("is in force") + mill.times_in_log("unix:"), 0, "{}", mill.server.log());
}

/// The order to stop may come while a file is read. Whatever comes first, the server ends.
#[test]
fn an_order_to_stop_right_behind_ends_the_server() {
    for round in 0..10 {
        let mut mill = saying(&format!("then-stop-{round}"), "one");
        mill.write("t.toml", &format!("listen = ['127.0.0.1:0', 'unix:new.sock']\n{}", says("new")));
        mill.server.signal("HUP");
        mill.server.signal("TERM");
        assert_eq!(mill.server.wait().code(), Some(0));
    }
}
