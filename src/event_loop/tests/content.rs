//! Content on its way in and out: who takes it, what is thrown away, what comes before what.

use std::sync::mpsc::channel;
use std::time::Instant;

use super::Nobody;
use super::menu::Act;
use super::script::{Calls, Client};
use super::stage::{Stage, get, post};
use crate::base::job_name::{JobKind, JobName};
use crate::base::job_pool::{JobPool, JobPoolLimits};
use crate::base::limits::Limits;
use crate::base::listener_role::ListenerRole;
use crate::base::slots::Token;
use crate::base::wake::{WakeKey, Wakes};
use crate::observe::wait_reason::WaitReason;

fn stage() -> Stage {
    Stage::new(Limits::default())
}

/// A client that has sent this, which a turn has found.
fn saying(stage: &mut Stage, text: &str) -> Client {
    let client = stage.client();
    stage.send(&client, text);
    stage.turn();
    client
}

const CHUNKED: &str = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
const CLOSES: &str = "\r\nConnection: close\r\n";

fn discarding() -> Stage {
    Stage::new(Limits { discarded_bytes_max: 100, ..Limits::default() })
}

#[test]
fn announced_content_that_nobody_wants_is_thrown_away_up_to_the_limit() {
    for (length, ends) in [(99, false), (100, false), (101, true)] {
        let mut stage = discarding();
        let client = saying(&mut stage, &post("/", length));
        assert_eq!(client.received().contains(CLOSES), ends, "{length} bytes");
        if !ends {
            stage.send(&client, &("x".repeat(length) + &get("/next")));
            stage.turn();
            assert_eq!(*stage.menu.called.borrow(), ["/", "/next"]);
            assert_eq!(client.statuses(), [200]);
        }
    }
}

#[test]
fn content_of_unknown_length_that_nobody_wants_is_counted_byte_by_byte() {
    for (length, ends) in [(100, false), (101, true)] {
        for pieces in [1, 2] {
            let mut stage = discarding();
            let client = saying(&mut stage, CHUNKED);
            assert!(!client.received().contains(CLOSES));
            let piece = length / pieces;
            for n in [piece, length - piece].into_iter().filter(|n| *n > 0) {
                stage.send(&client, &format!("{n:x}\r\n{}\r\n", "x".repeat(n)));
                stage.turn();
            }
            stage.send(&client, &("0\r\n\r\n".to_owned() + &get("/next")));
            stage.turn();
            assert_eq!(stage.menu.called.borrow().len(), if ends { 1 } else { 2 }, "{length} bytes in {pieces}");
            assert_eq!(client.calls().shutdowns, usize::from(ends));
        }
    }
}

#[test]
fn what_one_request_has_thrown_away_does_not_count_for_the_next() {
    let mut stage = discarding();
    let client = stage.client();
    for _ in 0..3 {
        stage.send(&client, &format!("{CHUNKED}3c\r\n{}\r\n0\r\n\r\n", "x".repeat(60)));
        stage.turn();
        assert_eq!(client.statuses(), [200]);
    }
    assert_eq!(stage.closes(), [0; 5]);
}

#[test]
fn content_that_nobody_wants_waits_for_the_response_to_begin() {
    let mut stage = discarding();
    stage.menu.plan(&[Act::Until(50), Act::Respond(1)]);
    let client = stage.client();
    stage.send(&client, &CHUNKED.replace("POST /", "POST /acts"));
    stage.turn();
    // It would be too much, and the response would say so if it had been looked at.
    stage.send(&client, &format!("65\r\n{}\r\n0\r\n\r\n", "x".repeat(101)));
    stage.turn();
    stage.turn_after(50);
    let received = client.received();
    assert!(received.starts_with("HTTP/1.1 200") && !received.contains(CLOSES));
    assert_eq!(client.calls().shutdowns, 1);
}

fn expecting(path: &str) -> String {
    post(path, 5).replace("Host: a\r\n", "Host: a\r\nExpect: 100-continue\r\n")
}

#[test]
fn a_client_is_told_to_go_on_when_its_content_is_waited_for() {
    for (path, acts) in
        [("/takes", &[Act::Content, Act::Respond(2)][..]), ("/duplex", &[Act::Content, Act::Put(2), Act::End][..])]
    {
        let mut stage = stage();
        stage.menu.plan(acts);
        let client = saying(&mut stage, &expecting(path));
        // A response that takes content while it is sent asks for it before its head: later it would be too late.
        let expected = if path == "/takes" { vec![100] } else { vec![100, 200] };
        assert_eq!(client.statuses(), expected, "{path}");
        stage.send(&client, "12345");
        stage.turn();
        assert_eq!(stage.menu.taken.borrow().as_str(), "12345.");
        let expected = if path == "/takes" { vec![200] } else { vec![] };
        assert_eq!(client.statuses(), expected, "{path}");
    }
}

#[test]
fn a_client_is_not_told_to_go_on_without_need() {
    // It did not ask; its content has come; the answer does not depend on it; something else is waited for.
    let all = expecting("/takes") + "12345";
    for (request, acts, expected) in [
        (post("/takes", 5), &[Act::Content, Act::Respond(2)][..], &[][..]),
        (all, &[Act::Content, Act::Respond(2)], &[200]),
        (expecting("/takes"), &[Act::Respond(2)], &[200]),
        (expecting("/takes"), &[Act::Until(100), Act::Respond(2)], &[]),
        (expecting("/"), &[], &[200]),
    ] {
        let mut stage = stage();
        stage.menu.plan(acts);
        let client = saying(&mut stage, &request);
        assert_eq!(client.statuses(), expected, "{request:?}");
    }
}

#[test]
fn a_client_that_waits_for_100_and_gets_an_answer_without_it_gets_no_other() {
    let mut stage = stage();
    let client = saying(&mut stage, &expecting("/"));
    assert!(client.received().contains(CLOSES));
}

#[test]
fn interim_responses_come_before_the_final_one_and_each_once() {
    let mut stage = stage();
    stage.menu.plan(&[Act::Interim, Act::Until(50), Act::Interim, Act::Respond(3)]);
    let client = saying(&mut stage, &(get("/acts") + &get("/")));
    assert_eq!(client.statuses(), [103]);
    stage.turn_after(50);
    assert_eq!(client.statuses(), [103, 200, 200]);
}

#[test]
fn a_client_of_http_1_0_gets_no_interim_response() {
    let mut stage = stage();
    stage.menu.plan(&[Act::Interim, Act::Respond(3)]);
    let client = saying(&mut stage, "GET /acts HTTP/1.0\r\n\r\n");
    assert_eq!(client.statuses(), [200]);
}

#[test]
fn an_interim_response_waits_for_room() {
    let mut stage = Stage::new(Limits { outbox_bytes: 1024, ..Limits::default() });
    stage.menu.plan(&[Act::Interim, Act::Respond(3)]);
    let client = stage.client();
    client.limit_room(0);
    stage.send(&client, &(get("/bytes/910") + &get("/acts")));
    stage.turn();
    assert!(stage.menu.called.borrow().len() == 2 && *stage.menu.asked.borrow() == 1);
    stage.reactor().make_room(&client, 10_000);
    stage.turn();
    assert_eq!(client.statuses(), [200, 103, 200]);
    assert_eq!(stage.log("request status head_ms close"), ["1 200 0.0 null", "2 200 0.0 null"]);
}

#[test]
fn who_waits_for_content_that_has_ended_has_failed() {
    for (request, status) in [
        (get("/takes"), 500),
        (post("/takes", 5) + "12345", 500),
        (get("/duplex"), 200),
        (post("/duplex", 5) + "12345", 200),
    ] {
        let mut stage = stage();
        stage.menu.plan(&[Act::Content]);
        let client = saying(&mut stage, &request);
        assert_eq!(client.statuses(), [status], "{request:?}");
        assert_eq!(client.is_closed(), status == 200, "a source is cut, and what it has said leaves first");
    }
}

#[test]
fn who_waits_for_content_that_it_does_not_take_has_failed() {
    let mut stage = stage();
    stage.menu.plan(&[Act::Content]);
    let client = saying(&mut stage, &post("/acts", 5));
    assert_eq!(client.statuses(), [500]);
}

#[test]
fn an_exchange_is_asked_after_each_piece_and_at_the_end() {
    let mut stage = stage();
    stage.menu.plan(&[Act::Content, Act::Respond(1)]);
    let client = saying(&mut stage, &post("/takes", 4));
    for (piece, taken) in [("a", "a"), ("bc", "abc"), ("d", "abcd.")] {
        let asked = *stage.menu.asked.borrow();
        assert_eq!(stage.wait_of(&client), WaitReason::SlowBody);
        stage.send(&client, piece);
        stage.turn();
        assert!(*stage.menu.asked.borrow() > asked);
        assert_eq!(*stage.menu.taken.borrow(), taken);
    }
    assert_eq!(client.statuses(), [200]);
}

#[test]
fn nothing_overtakes_a_file() {
    for room in [None, Some(1), Some(700)] {
        let mut stage = stage();
        let client = stage.client();
        if room.is_some() {
            client.limit_room(0);
        }
        let paths = ["/between/300/5000/200", "/file/400", "/bytes/100"];
        stage.send(&client, &paths.map(get).concat());
        stage.settle();
        // With one byte at a time, as often as there are bytes.
        for _ in 0..7000 {
            let Some(room) = room.filter(|_| stage.counters().requests_over() < 3) else { break };
            stage.reactor().make_room(&client, room);
            stage.settle();
        }
        let received = client.received();
        let contents: Vec<_> =
            received.split("HTTP/1.1 ").skip(1).map(|part| part.split_once("\r\n\r\n").unwrap().1).collect();
        let (b, f) = (|n| "b".repeat(n), |n| "f".repeat(n));
        assert!(contents == [b(300) + &f(5000) + &b(200), f(400), b(100)], "{room:?}: {received}");
    }
}

#[test]
fn parts_without_bytes_are_left_out() {
    for (path, bytes) in [("/between/0/50/0", 50), ("/between/0/0/7", 7), ("/between/7/0/0", 7), ("/between/0/0/0", 0)]
    {
        let mut stage = stage();
        let client = saying(&mut stage, &(get(path) + &get("/next")));
        assert_eq!(stage.log("target bytes close"), [format!("{path} {bytes} null"), "/next 0 null".to_owned()]);
        assert_eq!(client.statuses(), [200, 200]);
    }
}

#[test]
fn the_bytes_before_a_file_leave_with_one_call_and_the_file_with_another() {
    let mut stage = stage();
    let client = saying(&mut stage, &get("/file/5000"));
    // The kernel is told that more follows: both may share a packet.
    assert_eq!(client.calls(), Calls { reads: 1, writes: 1, unfinished: 1, sendfiles: 1, ..Calls::default() });
    assert_eq!(stage.counters().syscalls.sendfile, 1);
    let sent = client.received().len() as u64;
    assert_eq!(stage.counters().written_bytes, sent);
}

#[test]
fn the_kernel_may_hold_unsent_what_it_likes_of_all_but_the_end_of_a_large_file() {
    for (length, holds) in [(2 << 20, &[][..]), ((2 << 20) + 1, &[true, false])] {
        let mut stage = stage();
        let client = saying(&mut stage, &get(&format!("/file/{length}")));
        stage.settle();
        assert_eq!((client.holds().as_slice(), client.received().matches('f').count()), (holds, length));
        assert_eq!(stage.counters().syscalls.option, holds.len() as u64);
    }
}

#[test]
fn what_a_job_has_just_read_is_sent_although_the_system_cannot_tell_that_it_is_in_memory() {
    let mut stage = stage();
    let _client = saying(&mut stage, &get("/unknown/10"));
    stage.settle();
    assert_eq!(stage.log("status bytes"), ["200 10"]);
}

#[test]
fn however_often_a_file_is_asked_for_that_a_job_reads_there_is_one_job() {
    let jobs = JobPool::new(JobPoolLimits { threads: 1, ..JobPoolLimits::default() }, Instant::now).unwrap();
    let mut stage = Stage::with_jobs(&[ListenerRole::Http], Limits::default(), jobs.clone());
    // The only thread is busy until the test is over.
    let ((began, has_begun), (over, is_over)) = (channel::<()>(), channel::<()>());
    let busy = move || {
        drop(began);
        is_over.recv().ok()
    };
    let nobody = WakeKey { token: Token { index: 1000, generation: 0 }, stream: 0 };
    let _ticket = jobs.submit(JobName::new(JobKind::Read, b"/", None), Wakes::new(Nobody).waker(nobody), busy).unwrap();
    assert!(has_begun.recv().is_err());
    let client = saying(&mut stage, &get("/unknown/10"));
    for _ in 0..3 {
        stage.menu.waker.borrow().as_ref().unwrap().wake();
        let drives = stage.drives();
        stage.turn();
        assert_eq!((stage.drives() - drives, stage.wait_of(&client)), (1, WaitReason::Job));
    }
    assert_eq!(jobs.numbers().quick_queued, 1);
    drop(over);
}

#[test]
fn an_exchange_decides_before_more_content_is_looked_at_which_may_be_malformed() {
    let mut stage = stage();
    stage.menu.plan(&[Act::Respond(2)]);
    let client = stage.client();
    stage.send(&client, &(CHUNKED.replace("POST /", "POST /takes") + "1\r\na\r\nnonsense\r\n"));
    stage.turn();
    assert_eq!((client.statuses(), stage.menu.taken.borrow().as_str()), (vec![200], "a"));
    assert_eq!(client.calls().shutdowns, 1);
}

#[test]
fn a_trailer_follows_content_in_chunks_and_no_other() {
    for (version, has_it) in [("1.1", true), ("1.0", false)] {
        let mut stage = stage();
        stage.menu.plan(&[Act::Put(3), Act::EndInTrailer]);
        let client = saying(&mut stage, &get("/pull").replace("1.1", version));
        let received = client.received();
        assert!(
            received.ends_with(if has_it { "\r\n3\r\nsss\r\n0\r\nSum: 42\r\n\r\n" } else { "\r\n\r\nsss" }),
            "{received}"
        );
    }
}

#[test]
fn a_tunnel_takes_what_stands_behind_its_head_and_its_end() {
    let mut stage = stage();
    stage.menu.plan(&[Act::Put(3), Act::Idle(60_000), Act::End]);
    let client = stage.client();
    let request = "GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: test\r\n\r\n";
    stage.send(&client, &(request.to_owned() + &get("/no-request")));
    stage.turn();
    let received = client.received();
    assert!(received.starts_with("HTTP/1.1 101 ") && received.ends_with("\r\n\r\nsss"), "{received}");
    assert_eq!(stage.wait_of(&client), WaitReason::Conversation);
    stage.reactor().end(&client);
    stage.turn();
    assert_eq!(*stage.menu.taken.borrow(), get("/no-request") + ".");
    assert_eq!(stage.menu.called.borrow().len(), 1);
}

#[test]
fn the_protocols_without_requests_are_idle_between_their_answers() {
    for (role, answer) in [(ListenerRole::TcpEcho, "a\n"), (ListenerRole::LineEcho, "Echo: a\n")] {
        let mut stage = Stage::with_roles(&[role], Limits::default());
        let client = stage.client();
        assert_eq!(stage.wait_of(&client), WaitReason::FirstByte);
        for _ in 0..3 {
            stage.send(&client, "a\n");
            stage.turn_after(20_000);
            assert_eq!((client.received().as_str(), stage.wait_of(&client)), (answer, WaitReason::Idle));
        }
        stage.turn_after(74_999);
        assert_eq!(client.calls().shutdowns, 0);
        stage.turn_after(1);
        assert_eq!(client.calls().shutdowns, 1);
        stage.turn_after(1000);
        assert_eq!((client.is_closed(), stage.timeouts()), (true, vec![("client-idle", 1)]));
    }
}
