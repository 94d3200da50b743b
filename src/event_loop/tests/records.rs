//! What is told of each request: its times, its place in both streams, what held it up. The access log has all of it.

use std::time::Duration;

use super::menu::Act;
use super::stage::{REOPENING, Stage, get, post};
use crate::base::limits::Limits;
use crate::base::listener_role::ListenerRole;
use crate::base::wake::WakeKey;
use crate::net::{Reactor, Signal};
use crate::observe::histogram::Spread;

const TIMES: &str = "request head_ms first_byte_ms last_byte_ms";
const PLACES: &str = "request status bytes rx tx close";

/// How long the head of a response with so many bytes of content is.
fn head_len(path: &str) -> usize {
    let mut stage = Stage::new(Limits::default());
    let client = stage.asking(path);
    client.received().find("\r\n\r\n").unwrap() + 4
}

#[test]
fn a_request_stands_where_its_bytes_do() {
    let mut stage = Stage::new(Limits::default());
    let client = stage.client();
    let (mut rx, mut tx) = (1, 1);
    for ordinal in 1..=3 {
        stage.ask(&client, "/bytes/1000");
        stage.turn();
        let (end, sent) = (rx + get("/bytes/1000").len(), client.received().len());
        let line = format!("{ordinal} 200 1000 {rx}:{end} {tx}:{} null", tx + sent);
        assert_eq!(stage.log(PLACES), [line]);
        (rx, tx) = (end, tx + sent);
    }
    assert_eq!(stage.counters().requests, [0, 0, 3, 0, 0, 0]);
    assert_eq!((stage.counters().read_bytes, stage.counters().written_bytes), (rx as u64 - 1, tx as u64 - 1));
}

#[test]
fn a_request_begins_with_its_first_byte_and_its_line_says_when() {
    let mut stage = Stage::new(Limits::default());
    let client = stage.client();
    stage.pass(500);
    stage.send(&client, "GET / HTTP/1.1\r\n");
    stage.turn();
    stage.send(&client, "Host: a\r\n\r\n");
    stage.turn_after(300);
    assert_eq!(stage.log(TIMES), ["1 300.0 300.0 300.0"]);
    stage.send(&client, "GET /slow/250 HTTP/1.1\r\nHost: a\r\n\r\n");
    stage.turn_after(1000);
    assert_eq!(stage.log("time head_ms first_byte_ms last_byte_ms"), ["1970-01-01T00:00:01.800Z 0.0 250.0 250.0"]);
}

#[test]
fn the_first_byte_leaves_when_the_drive_is_over_and_the_last_one_when_it_has_left() {
    let mut stage = Stage::new(Limits::default());
    let client = stage.client();
    client.limit_room(1);
    stage.ask(&client, "/slow/80");
    stage.turn();
    stage.pass(20);
    stage.reactor().make_room(&client, 10_000);
    stage.turn();
    assert_eq!(stage.log(TIMES), ["1 0.0 80.0 100.0"]);
}

#[test]
fn no_first_byte_has_left_while_the_client_takes_nothing() {
    let mut stage = Stage::new(Limits::default());
    let client = stage.client();
    client.limit_room(0);
    stage.ask(&client, "/bytes/10");
    stage.turn();
    for room in [1, 10_000] {
        stage.pass(50);
        stage.reactor().make_room(&client, room);
        stage.turn();
    }
    assert_eq!(stage.log(TIMES), ["1 0.0 50.0 100.0"]);
}

#[test]
fn pipelined_requests_have_their_own_bytes_and_times() {
    let head = head_len("/bytes/100");
    let one = head + 100;
    // What leaves of the second response with the first one: nothing, one byte, all but one byte.
    for extra in [0, 1, one - 1] {
        let mut stage = Stage::new(Limits::default());
        let client = stage.client();
        client.limit_room(one + extra);
        stage.send(&client, &get("/bytes/100").repeat(3));
        stage.turn();
        let n = get("/bytes/100").len();
        assert_eq!(stage.log(TIMES), ["1 0.0 0.0 0.0"]);
        stage.pass(50);
        stage.reactor().make_room(&client, one - extra);
        stage.turn();
        // The second one's first byte left in the first drive, if any of it did.
        let first_byte = if extra == 0 { "50.0" } else { "0.0" };
        assert_eq!(stage.log(TIMES), [format!("2 0.0 {first_byte} 50.0")], "{extra} bytes");
        stage.pass(50);
        stage.reactor().make_room(&client, one);
        stage.turn();
        let places = format!("3 200 100 {}:{} {}:{} null", 2 * n + 1, 3 * n + 1, 2 * one + 1, 3 * one + 1);
        assert_eq!(stage.log(PLACES), [places]);
    }
}

#[test]
fn the_second_of_two_pipelined_requests_waits_for_the_slow_first_one() {
    let mut stage = Stage::new(Limits::default());
    let client = stage.client();
    stage.send(&client, &(get("/slow/70") + &get("/")));
    stage.turn();
    assert_eq!(stage.log(TIMES), ["1 0.0 70.0 70.0", "2 0.0 70.0 70.0"]);
}

#[test]
fn the_drive_of_the_next_connection_begins_behind_the_slow_one() {
    let mut stage = Stage::new(Limits::default());
    let [slow, next] = [(); 2].map(|()| stage.client());
    stage.ask(&slow, "/slow/80");
    stage.ask(&next, "/");
    stage.turn();
    assert_eq!(stage.log(TIMES), ["1 0.0 80.0 80.0", "1 80.0 80.0 80.0"]);
}

#[test]
fn who_was_behind_a_long_drive_says_so() {
    for (ms, behind) in [(4, false), (5, true)] {
        let mut stage = Stage::new(Limits::default());
        let [slow, next] = [(); 2].map(|()| stage.client());
        stage.pass(100);
        stage.ask(&slow, &format!("/slow/{ms}"));
        stage.ask(&next, "/");
        stage.turn();
        let expected = format!("{{\"connection\":1,\"ms\":{ms}.0,\"request\":\"GET /slow/{ms}\"}}");
        assert_eq!(stage.log("behind"), ["null", if behind { expected.as_str() } else { "null" }]);
        stage.pass(100);
        stage.ask(&next, "/");
        stage.turn();
        assert_eq!(stage.log("behind"), ["null"], "it came while the loop slept");
    }
}

#[test]
fn who_has_been_driven_since_the_long_drive_is_not_behind_it() {
    let mut stage = Stage::new(Limits::default());
    let [slow, next] = [(); 2].map(|()| stage.client());
    stage.ask(&slow, "/slow/80");
    stage.ask(&next, "/");
    stage.turn();
    assert!(stage.log("behind")[1].contains("GET /slow/80"));
    // The poll returns at once: the request may have come in the turn before, but not before the connection was read.
    stage.ask(&next, "/");
    stage.turn();
    assert_eq!(stage.log("behind"), ["null"]);
}

#[test]
fn each_request_has_the_client_that_a_trusted_proxy_names() {
    let ask = |fields: &str| format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
    let requests =
        [ask("X-Forwarded-For: 192.0.2.1\r\n"), ask(""), ask("Forwarded: for=\"[2001:db8::1]:7\"\r\n")].concat();
    for (trusts, clients) in [(true, ["192.0.2.1", "null", "[2001:db8::1]:7"]), (false, ["null"; 3])] {
        let mut stage = Stage::new(Limits::default());
        if trusts {
            stage.event_loop.trust_proxies(["unix".parse().unwrap()].into_iter().collect());
        }
        let client = stage.client();
        stage.send(&client, &requests);
        stage.turn();
        assert_eq!(stage.log("client"), clients);
        // Of what was not understood nobody is named.
        stage.send(&client, "\n");
        stage.turn();
        assert_eq!(stage.log("client"), ["null"]);
    }
}

#[test]
fn what_waits_to_be_sent_includes_the_file() {
    let mut stage = Stage::new(Limits::default());
    let client = stage.client();
    let head = head_len("/file/5000");
    client.limit_room(0);
    stage.ask(&client, "/file/5000");
    stage.turn();
    for (ms, room) in [(30, head), (40, 1999), (50, 3001)] {
        stage.pass(ms);
        stage.reactor().make_room(&client, room);
        stage.turn();
    }
    let line = format!("{} 200 5000 120.0 30.0 120.0", head + 5000);
    assert_eq!(stage.log("queued_max status bytes last_byte_ms first_byte_ms blocked_ms"), [line]);
    assert_eq!(stage.counters().queued_max, (head + 5000) as u64);
    assert_eq!(client.received().matches('f').count(), 5000);
}

#[test]
fn what_waited_behind_a_response_that_has_left_is_not_its_own() {
    let (head, big) = (head_len("/bytes/100"), head_len("/bytes/5000") + 5000);
    let mut stage = Stage::new(Limits::default());
    let client = stage.client();
    client.limit_room(head + 100);
    stage.send(&client, &(get("/bytes/100") + &get("/bytes/5000")));
    stage.turn();
    assert_eq!(stage.log("request queued_max"), ["1 0"]);
    stage.pass(10);
    stage.reactor().make_room(&client, 10_000);
    stage.turn();
    assert_eq!(stage.log("request queued_max blocked_ms"), [format!("2 {big} 10.0")]);
}

#[test]
fn blocked_and_paused_are_added_up() {
    let limits = Limits { inbox_bytes: 1024, head_bytes_max: 1024, ..Limits::default() };
    let mut stage = Stage::new(limits);
    stage.menu.plan(&[Act::Content, Act::Respond(2000)]);
    *stage.menu.appetite.borrow_mut() = 0;
    let client = stage.client();
    client.limit_room(0);
    stage.send(&client, &post("/takes", 1500));
    stage.turn();
    stage.pass(5);
    stage.send(&client, &"x".repeat(1023));
    stage.turn();
    stage.pass(7);
    stage.send(&client, "x");
    stage.turn();
    assert!(!stage.reactor().arms.last().unwrap().1.read, "the inbox is full");
    // The taker takes a byte: there is room again, until 50 ms later.
    stage.pass(11);
    *stage.menu.appetite.borrow_mut() = 1;
    stage.menu.waker.borrow().as_ref().unwrap().wake();
    stage.turn();
    stage.pass(13);
    stage.send(&client, "x");
    stage.turn();
    stage.pass(17);
    *stage.menu.appetite.borrow_mut() = usize::MAX;
    stage.menu.waker.borrow().as_ref().unwrap().wake();
    stage.turn();
    stage.send(&client, &"x".repeat(475));
    stage.settle();
    stage.pass(19);
    stage.reactor().make_room(&client, 10_000);
    stage.turn();
    assert_eq!(stage.log("status paused_ms blocked_ms last_byte_ms"), ["200 28.0 19.0 72.0"]);
}

#[test]
fn a_request_whose_client_is_gone_is_cut_where_it_left_off() {
    let head = head_len("/bytes/1000");
    let mut stage = Stage::new(Limits::default());
    let client = stage.client();
    client.limit_room(head + 10);
    let asked = get("/bytes/1000");
    stage.send(&client, &asked.repeat(2));
    stage.turn();
    stage.pass(40);
    stage.reactor().reset(&client);
    stage.turn();
    let (n, left) = (asked.len(), head + 10);
    let broken = "broken: connection reset";
    assert_eq!(
        stage.log("request status bytes rx tx close last_byte_ms first_byte_ms"),
        [
            format!("1 200 10 1:{} 1:{} {broken} 40.0 0.0", n + 1, left + 1),
            format!("2 200 0 {}:{} {}:{} {broken} 40.0 null", n + 1, 2 * n + 1, left + 1, left + 1),
        ]
    );
    assert_eq!((stage.counters().cut, stage.closes()), (2, [0, 0, 1, 0, 0]));
    assert_eq!(stage.counters().requests_over(), 2);
    // The records are used again, and nothing of this is left in them.
    let queued_max = stage.counters().queued_max;
    for _ in 0..2 {
        stage.asking("/");
    }
    assert!(queued_max > 0 && stage.counters().queued_max == queued_max, "the most is remembered");
    let clean = "/ 200 0 null 0 0.0 0.0";
    assert_eq!(stage.log("target status bytes close queued_max blocked_ms paused_ms"), [clean; 2]);
}

#[test]
fn a_source_that_fails_is_cut_in_the_drive_and_its_record_says_how_far_it_came() {
    let mut stage = Stage::new(Limits::default());
    stage.menu.plan(&[Act::Put(100), Act::Until(60), Act::Fail]);
    let client = stage.asking("/pull");
    let sent = client.received().len();
    stage.turn_after(60);
    assert_eq!(
        stage.log("status tx close head_ms first_byte_ms last_byte_ms"),
        [format!("200 1:{} cut short 0.0 0.0 60.0", sent + 1)]
    );
    assert_eq!((client.calls().aborts, stage.closes()), (1, [0, 0, 0, 1, 0]));
}

#[test]
fn a_request_that_was_not_understood_has_a_line_too() {
    let mut stage = Stage::new(Limits::default());
    let client = stage.client();
    stage.send(&client, "nonsense");
    stage.turn();
    stage.send(&client, "\r\n\r\nmore");
    stage.turn_after(25);
    stage.reactor().end(&client);
    stage.turn_after(10);
    let sent = client.received().len();
    let bytes = stage.log("request method status rx tx close head_ms first_byte_ms last_byte_ms");
    assert_eq!(bytes, [format!("1 null 400 1:17 1:{} null 25.0 25.0 25.0", sent + 1)]);
    assert_eq!(stage.counters().requests, [0, 0, 0, 0, 1, 0]);
}

#[test]
fn a_refused_request_behind_a_good_one_begins_where_it_does() {
    let mut stage = Stage::new(Limits::default());
    let client = stage.client();
    stage.send(&client, &(get("/") + "GET /bad HTTP/1.1\r\n\r\n"));
    stage.turn();
    let (n, m) = (get("/").len() + 1, "GET /bad HTTP/1.1\r\n\r\n".len());
    assert_eq!(
        stage.log("request method target status rx"),
        [format!("1 GET / 200 1:{n}"), format!("2 GET /bad 400 {n}:{}", n + m)]
    );
}

#[test]
fn all_that_came_with_malformed_content_belongs_to_the_refused_request() {
    let mut stage = Stage::new(Limits::default());
    stage.menu.plan(&[Act::Content]);
    let client = stage.client();
    let head = post("/takes", 5).replace("Content-Length: 5", "Transfer-Encoding: chunked");
    stage.send(&client, &head);
    stage.turn();
    stage.send(&client, "1\r\na\r\nnonsense\r\nmore");
    stage.turn();
    let end = head.len() + 20 + 1;
    assert_eq!(stage.log("request method target status rx"), [format!("1 POST /takes 400 1:{end}")]);
}

#[test]
fn a_request_that_does_not_come_to_its_end_is_no_request_but_for_its_answer() {
    let mut stage = Stage::new(Limits::default());
    let client = stage.client();
    stage.send(&client, "GET /half HTTP/1.1\r\nHos");
    stage.turn();
    stage.reactor().end(&client);
    stage.turn_after(30);
    assert_eq!(stage.log("request method target status rx close"), ["1 GET /half 400 1:24 null"]);
}

#[test]
fn an_upgraded_connection_is_one_request() {
    let mut stage = Stage::new(Limits::default());
    stage.menu.plan(&[Act::Put(10), Act::Idle(90), Act::End]);
    let client = stage.client();
    let request = "GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: test\r\n\r\n";
    stage.send(&client, request);
    stage.turn();
    let sent = client.received().len();
    stage.send(&client, "hello");
    stage.turn_after(20);
    assert_eq!(*stage.menu.taken.borrow(), "hello");
    stage.turn_after(70);
    stage.reactor().end(&client);
    stage.turn_after(5);
    let end = request.len() + 5 + 1;
    assert_eq!(
        stage.log("request status bytes rx tx head_ms first_byte_ms last_byte_ms timers_ms close"),
        [format!("1 101 10 1:{end} 1:{} 0.0 0.0 90.0 {{\"conversation\":90.0}} null", sent + 1)]
    );
    assert_eq!(stage.counters().requests, [0, 1, 0, 0, 0, 0]);
}

#[test]
fn each_request_is_timed_once_and_a_conversation_by_its_first_byte_alone() {
    let mut stage = Stage::new(Limits::default());
    let client = stage.client();
    stage.ask(&client, "/slow/80");
    stage.turn();
    stage.pass(1000);
    client.limit_room(1);
    stage.ask(&client, "/slow/20");
    stage.turn();
    stage.pass(300);
    stage.reactor().make_room(&client, 1000);
    stage.turn();
    stage.menu.plan(&[Act::Put(1), Act::Until(5000), Act::End]);
    let talks = stage.client();
    stage.send(&talks, "GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: test\r\n\r\n");
    stage.turn();
    stage.turn_after(5000);
    assert_eq!(stage.counters().requests_over(), 3);
    let totals = stage.event_loop.sum_up();
    let of = |spread: Spread| (spread.count, spread.total.as_millis());
    assert_eq!((of(totals.latency), of(totals.first_byte)), ((2, 80 + 320), (3, 80 + 20)));
    assert_eq!(totals.busy, Duration::from_millis(80 + 1000 + 20 + 300 + 5000));
    assert_eq!((totals.busiest_second, totals.accepted, totals.connections_max), (1, 2, 2));
}

#[test]
fn what_is_cut_is_not_timed() {
    let mut stage = Stage::new(Limits::default());
    let client = stage.client();
    client.limit_room(1);
    stage.ask(&client, "/bytes/1000");
    stage.turn();
    stage.reactor().reset(&client);
    stage.turn();
    let totals = stage.event_loop.sum_up();
    assert_eq!((totals.latency.count, totals.first_byte.count, totals.counters.cut), (0, 0, 1));
}

#[test]
fn the_admins_requests_are_logged_and_counted_as_his() {
    let mut stage = Stage::with_roles(&[ListenerRole::Http, ListenerRole::Admin], Limits::default());
    let [client, admin] = [0, 1].map(|listener| stage.client_of(listener));
    for who in [&client, &admin, &admin] {
        stage.ask(who, "/");
        stage.turn();
    }
    assert_eq!(stage.log("listener connection request"), ["null 1 1", "admin 2 1", "admin 2 2"]);
    assert_eq!((stage.counters().admin_requests, stage.counters().requests_over()), (2, 3));
    assert_eq!(stage.event_loop.tally().waits.total(), 1, "he is not interested in himself");
}

#[test]
fn a_request_is_named_to_its_wakers_by_its_connection_and_the_only_stream() {
    let mut stage = Stage::new(Limits::default());
    let clients = [(); 2].map(|()| stage.asking("/"));
    let keys: Vec<_> = clients.iter().map(|client| WakeKey { token: client.token().unwrap(), stream: 0 }).collect();
    assert_eq!(*stage.menu.keys.borrow(), keys);
}

#[test]
fn who_ends_with_the_server_in_a_slow_turn_began_when_it_did() {
    let mut stage = Stage::new(Limits::default());
    stage.menu.plan(&[Act::Until(60_000)]);
    let [waits, slow] = [(); 2].map(|()| stage.client());
    stage.pass(1000);
    stage.ask(&waits, "/acts");
    stage.turn();
    stage.pass(500);
    stage.ask(&slow, "/slow/80");
    stage.signal(Signal::Interrupt);
    stage.signal(Signal::Interrupt);
    stage.turn();
    assert_eq!(
        stage.log("target time last_byte_ms"),
        ["/slow/80 1970-01-01T00:00:01.500Z 80.0", "/acts 1970-01-01T00:00:01.000Z 580.0"]
    );
}

#[test]
fn a_request_that_is_late_is_answered_when_its_own_drive_begins() {
    let mut stage = Stage::new(Limits::default());
    let client = stage.client();
    stage.send(&client, "GET / HTT");
    stage.turn();
    // The turn that finds it late has had something to do before.
    stage.signal(Signal::Reopen);
    stage.turn_after(10_000);
    let late = format!("408 {}.0", 10_000 + REOPENING);
    assert_eq!((client.statuses(), stage.log("status head_ms")), (vec![408], vec![late]));
}

#[test]
fn the_date_of_a_response_is_that_of_its_second() {
    let mut stage = Stage::new(Limits::default());
    let client = stage.client();
    for (ms, second) in [(0, 0), (999, 0), (1, 1), (999, 1), (58_001, 60)] {
        stage.pass(ms);
        stage.ask(&client, "/");
        stage.turn();
        let date = format!("\r\nDate: Thu, 01 Jan 1970 00:{:02}:{:02} GMT\r\n", second / 60, second % 60);
        assert!(client.received().contains(&date), "{date}");
    }
}

const PARTS: &str = "last_byte_ms timers_ms";

/// What the log says of the parts of a request, without spaces.
fn parts(stage: &mut Stage) -> Vec<String> {
    stage.log(PARTS).into_iter().map(|line| line.replace('"', "")).collect()
}

#[test]
fn a_slow_head_slow_content_and_a_slow_handler_are_told_apart() {
    let mut stage = Stage::new(Limits::default());
    stage.menu.plan(&[Act::Content, Act::Until(70), Act::Respond(5)]);
    stage.client_of_late_post();
    stage.turn_after(70);
    stage.settle();
    assert_eq!(parts(&mut stage), ["100.0 {clock:70.0,content:20.0,head:10.0}"]);
}

#[test]
fn a_job_that_is_done_says_for_how_long_it_was_queued() {
    let mut stage = Stage::new(Limits::default());
    stage.menu.plan(&[Act::Job(80), Act::Respond(5)]);
    let client = stage.client();
    stage.ask(&client, "/takes");
    stage.turn();
    let began = stage.reactor().now() + Duration::from_millis(30);
    stage.pass(80);
    let key = WakeKey { token: client.token().unwrap(), stream: 0 };
    stage.event_loop.wakes.waker(key).wake_for_job(began);
    stage.event_loop.on_wakes();
    stage.turn();
    assert_eq!(parts(&mut stage), ["80.0 {job-queued:30.0,job-running:50.0}"]);
}

#[test]
fn what_the_loop_does_for_others_and_for_the_request_is_told_apart() {
    let mut stage = Stage::new(Limits::default());
    let [slow, next] = [(); 2].map(|()| stage.client());
    stage.ask(&slow, "/slow/80");
    stage.ask(&next, "/slow/15");
    stage.turn();
    assert_eq!(parts(&mut stage), ["80.0 {work:80.0}", "95.0 {queue:80.0,work:15.0}"]);
}

#[test]
fn a_response_that_is_blocked_says_whether_its_reader_was_to_blame() {
    for (acknowledges, shut, expected) in [
        (true, 30, "100.0 {network:70.0,reader:30.0} 12"),
        (true, 999, "100.0 {reader:100.0} 12"),
        (false, 0, "100.0 {blocked:100.0} null"),
    ] {
        let mut stage = Stage::new(Limits::default());
        let client = stage.client();
        client.limit_room(0);
        if acknowledges {
            client.acknowledge(12);
        }
        client.shut_window(Duration::from_millis(shut));
        stage.ask(&client, "/bytes/100");
        stage.turn();
        stage.pass(100);
        stage.reactor().make_room(&client, 10_000);
        stage.turn();
        assert_eq!(stage.log("last_byte_ms timers_ms acknowledged")[0].replace('"', ""), expected);
    }
}

#[test]
fn the_kernel_is_asked_only_about_what_was_blocked_for_long_and_a_window_counts_once() {
    let mut stage = Stage::new(Limits::default());
    let client = stage.client();
    client.acknowledge(0);
    client.shut_window(Duration::from_millis(40));
    for (ms, asked) in [(9, 0), (50, 1), (50, 2)] {
        client.limit_room(0);
        stage.ask(&client, "/bytes/100");
        stage.turn();
        stage.pass(ms);
        stage.reactor().make_room(&client, 10_000);
        stage.turn();
        assert_eq!(stage.counters().syscalls.netlink, asked);
    }
    let expected = ["9.0 {blocked:9.0}", "50.0 {network:10.0,reader:40.0}", "50.0 {network:50.0}"];
    assert_eq!(parts(&mut stage), expected);
}

#[test]
fn a_response_behind_a_blocked_one_waits_for_its_turn() {
    let one = head_len("/bytes/100") + 100;
    let mut stage = Stage::new(Limits::default());
    let client = stage.client();
    client.limit_room(0);
    stage.send(&client, &get("/bytes/100").repeat(3));
    stage.turn();
    for _ in 0..3 {
        stage.pass(20);
        stage.reactor().make_room(&client, one);
        stage.turn();
    }
    let expected = ["20.0 {blocked:20.0}", "40.0 {blocked:20.0,turn:20.0}", "60.0 {blocked:20.0,turn:40.0}"];
    assert_eq!(parts(&mut stage), expected);
}
