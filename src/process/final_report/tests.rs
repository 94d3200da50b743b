use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::*;
use crate::base::job_name::{JobKind, Requester};
use crate::base::listener_id::ListenerId;
use crate::base::moment::Moment;
use crate::base::tls_facts::SessionFacts;
use crate::observe::histogram::Syscalls;
use crate::observe::http2::Http2Counts;
use crate::observe::jobs::{JobPlace, JobStatus, JobsStatus};
use crate::observe::tls::{Failure, TlsCounts};
use crate::observe::verdict::{Means, Phase, Side};
use crate::observe::wait_reason::{WaitCounts, WaitReason};

fn us(us: u64) -> Duration {
    Duration::from_micros(us)
}

fn spread(p50: u64) -> Spread {
    let [p50, p90, p99, p999, max] = [1, 2, 30, 400, 5000].map(|times| us(times * p50));
    Spread { count: 9, total: 9 * p90, p50, p90, p99, p999, max }
}

fn verdicts(all: &[(Side, Means, Phase, usize)]) -> VerdictCounts {
    let mut counts = VerdictCounts::default();
    for &(side, means, phase, count) in all {
        (0..count).for_each(|_| counts.count(Verdict { side, means, phase }));
    }
    counts
}

fn counted() -> Counters {
    let mut timeouts = WaitCounts::default();
    [WaitReason::Idle, WaitReason::Idle, WaitReason::SlowHead].into_iter().for_each(|reason| timeouts.count(reason));
    Counters {
        syscalls: Syscalls { wait: 50_000, ctl: 64, read: 200_000, write: 200_001, ..Syscalls::default() },
        requests: [3, 1, 199_990, 0, 5, 1],
        cut: 4,
        admin_requests: 2,
        read_bytes: 8 * 1024 * 1024,
        written_bytes: 3 * 1024 * 1024 * 1024,
        upstream_read_bytes: 0,
        upstream_written_bytes: 0,
        queued_max: 65_536,
        closed_by_client: 60,
        closed_by_server: 2,
        broken: 4,
        cut_short: 1,
        verdicts: verdicts(&[
            (Side::Client, Means::Fin, Phase::Idle, 60),
            (Side::Server, Means::Asked, Phase::Idle, 2),
        ]),
        lost: Default::default(),
        request_verdicts: verdicts(&[(Side::Client, Means::Reset, Phase::Sending, 4)]),
        first_fins: [60, 5, 5],
        keep_alive_races: [3, 1],
        timeouts,
        tls: TlsCounts::default(),
        http2: Http2Counts::default(),
    }
}

fn run() -> Totals {
    Totals {
        counters: counted(),
        uptime: Duration::from_millis(5250),
        busy: Duration::from_secs(2),
        busiest_second: 120_000,
        latency: spread(55),
        client_latency: spread(60),
        first_byte: spread(40),
        handshakes: Spread::default(),
        turn: spread(7),
        lag: spread(1000),
        turns: 50_000,
        events: 200_000,
        events_max: 64,
        phases: vec![
            ("poll", Duration::from_millis(3750)),
            ("collect", Duration::from_millis(100)),
            ("run", Duration::from_millis(1390)),
            ("expire", Duration::from_millis(2)),
            ("accept", Duration::from_millis(4)),
            ("reap", Duration::from_millis(4)),
        ],
        accepted: 70,
        connections_max: 64,
        cut_at_end: 1,
        inboxes_max: 16 * 1024,
        outboxes_max: 1024 * 1024,
        queues: Vec::new(),
        accept_pauses: 1,
        longest_drives: Vec::new(),
        jobs: JobsStatus::default(),
        dropped_packets: 5,
        dropped_lines: 17,
    }
}

fn text(totals: &Totals, cpu: Option<Cpu>, colours: bool) -> String {
    let urls = ["http://127.0.0.1:8080/".to_string(), "unix:/run/mill".to_string()];
    FinalReport { totals, urls: &urls, listen: None, cpu, colours, begins_anew: false }.to_string()
}

const CPU: Cpu = Cpu {
    user: Duration::from_millis(500),
    system: Duration::from_millis(1100),
    this_thread: Duration::from_millis(1500),
};

#[test]
fn a_run_with_everything_in_it() {
    let expected = "\
Served for 5.25s @ http://127.0.0.1:8080/ unix:/run/mill
  70 connections, 64 at most at a time
  Server Stats       p50       p90       p99     p99.9       Max
    Latency      55.00us  110.00us    1.65ms   22.00ms  275.00ms
    Client est   60.00us  120.00us    1.80ms   24.00ms  300.00ms
    First byte   40.00us   80.00us    1.20ms   16.00ms  200.00ms
    Loop turn     7.00us   14.00us  210.00us    2.80ms   35.00ms
    Timer lag     1.00ms    2.00ms   30.00ms  400.00ms     5.00s
  200000 requests in 2.00s, 3.00GB written, 8.00MB read
  Status: no response 3, 1xx 1, 2xx 199990, 4xx 5, 5xx 1
  Of these through the admin listener: 2
  Requests cut off: 4
  Disturbed requests: CRS 4 (client: reset, while sending)
  Closed by: client 60, server 2, reset 4, cut short 1, timeout 3 (client-idle 2, client-slow-head 1)
  Verdicts: CFI 60 (client: FIN, between requests), SAI 2 (server: as the client asked, between requests)
  First FIN by: client 60, server 5, nobody 5
  Requests that came too late: 3 after our FIN, 1 after GOAWAY
  Cut at the end: 1 connection
  Syscalls/request: 2.25 (epoll_wait 0.25, epoll_ctl 0.000320, read 1.00, write 1.00)
  CPU/request: 8.00us (user 2.50us, system 5.50us), 80% of a core, 0.50us of it outside the loop's thread
  Time: poll 25.0%, collect 5.0%, run 69.5%, expire 0.1%, accept 0.2%, reap 0.2%
  Turns: 50000, 4.0 events each, 64 at most
  Peak buffers: 16.00KB in, 1.00MB out; 64.00KB left waiting by one response
  Accept pauses: 1
  Access log lines dropped: 17
  Packets of the capture dropped: 5
Requests/sec: 100000.00, 120000 in the busiest second
Transfer/sec:      1.50GB, 4.00MB read
";
    assert_eq!(text(&run(), Some(CPU), false), expected);
}

/// 08:49:37.123 of a day.
fn ended() -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(784_111_777_123)
}

#[test]
fn long_drives_are_named_with_what_they_computed_and_waited() {
    let drive = |took_us: u64, off_cpu: Option<u64>| LongDrive {
        ended: Moment::default(),
        wall: ended(),
        took: us(took_us),
        off_cpu: off_cpu.map(us),
        connection: 3,
        request: "POST /users".into(),
    };
    let short = || drive(999, None);
    let text_of = |longest_drives: Vec<LongDrive>| text(&Totals { longest_drives, ..run() }, None, false);
    assert!(!text_of(vec![short(), short()]).contains("Longest drives"));
    let expected = "
  Longest drives      Took    On CPU   Off CPU
    08:49:37.123  122.00ms   42.00ms   80.00ms  c=3 POST /users
    08:49:37.123    1.00ms         -         -  c=3 POST /users
  Peak buffers";
    let text = text_of(vec![short(), drive(1000, None), drive(122_000, Some(80_000))]);
    assert!(text.contains(expected), "{text}");
    let text = text_of((0..60).map(|ms| drive(ms * 1000, None)).collect());
    assert_eq!(text.lines().filter(|line| line.ends_with("c=3 POST /users")).count(), NAMED_MAX, "{text}");
}

#[test]
fn long_jobs_are_named_also_those_that_still_run() {
    let name =
        |subject: &[u8], connection| JobName::new(JobKind::LookUp, subject, Some(Requester { connection, stream: 0 }));
    let long =
        |subject: &[u8], ms| LongJobStatus { name: name(subject, 7), took: Duration::from_millis(ms), ended: ended() };
    let place = || JobPlace::Running("tidemill-io-0".into());
    let running = |since| JobStatus { name: name(b"/mnt/slow/b", 8), place: place(), since, waiting: Vec::new() };
    let past = LongJobs {
        ran: vec![("look-up", 2), ("hash", 1)],
        longest: vec![long(b"/mnt/slow/\x1b", 25_000)],
        delayed: 4,
        most_delayed: Some(long(b"/a", 1500)),
    };
    let running = vec![running(Duration::from_millis(999)), running(LONG)];
    let jobs = JobsStatus { past, running, ..JobsStatus::default() };
    let told = text(&Totals { jobs, ..run() }, None, false);
    let expected = "
  Jobs that ran for 1s or longer: look-up 2, hash 1
    08:49:37.123    25.00s  look-up /mnt/slow/\\x1b  c=7
    still runs       1.00s  look-up /mnt/slow/b  c=8
  Jobs that were queued for 1s or longer: 4
    08:49:37.123     1.50s  look-up /a  c=7
  Peak buffers";
    assert!(told.contains(expected), "{told}");
}

#[test]
fn a_run_with_tls() {
    let mut tls = TlsCounts::default();
    for is_resumed in [false, true, true] {
        tls.count_done(&SessionFacts { version: Some("TLSv1.3"), is_resumed, ..SessionFacts::default() });
    }
    tls.failed.extend([(Failure::Silent("timeout"), 1), (Failure::Ours("unrecognized_name"), 2)]);
    tls.failed.insert(Failure::Theirs("unknown_ca"), 3);
    tls.broken.insert(Failure::Ours("bad_record_mac"), 1);
    let totals = Totals { counters: Counters { tls, ..counted() }, handshakes: spread(600), ..run() };
    let text = text(&totals, None, false);
    for lines in [
        "    Handshake   600.00us    1.20ms   18.00ms  240.00ms     3.00s\n",
        "\n  TLS handshakes: 3, 2 of them resumed\n  \
         TLS handshakes failed: 6 (our alert unrecognized_name 2, the client's alert unknown_ca 3, timeout 1)\n  \
         Ended by TLS: 1 (our alert bad_record_mac 1)\n",
    ] {
        assert!(text.contains(lines), "{text}");
    }
}

#[test]
fn a_run_with_http2() {
    let http2 = Http2Counts {
        connections: 2,
        streams: 120,
        delayed: 3,
        reset_by_client: [("CANCEL", 4), ("other", 1)].into(),
        goaways: [("ENHANCE_YOUR_CALM", 1)].into(),
        ..Http2Counts::default()
    };
    let text = text(&Totals { counters: Counters { http2, ..counted() }, ..run() }, None, false);
    let lines = "\n  HTTP/2: 2 connections, 120 streams\n  Streams delayed: 3\n  \
                 Streams reset by clients: 5 (CANCEL 4, other 1)\n  GOAWAY sent: 1 (ENHANCE_YOUR_CALM 1)\n  Syscalls";
    assert!(text.contains(lines), "{text}");
}

#[test]
fn a_run_in_which_nothing_happened() {
    let totals = Totals { uptime: Duration::from_secs(90), turns: 1, events: 1, events_max: 1, ..Totals::default() };
    let expected = "\
Served for 1.50m @ http://127.0.0.1:8080/ unix:/run/mill
  0 connections, 0 at most at a time
  0 requests in 0.00us, 0B written, 0B read
  Closed by: client 0, server 0, reset 0, cut short 0, timeout 0
  Turns: 1, 1.0 events each, 1 at most
  Peak buffers: 0B in, 0B out; 0B left waiting by one response
";
    assert_eq!(text(&totals, Some(CPU), false), expected);
}

#[test]
fn colours_change_nothing_else() {
    let coloured = text(&run(), Some(CPU), true);
    assert_eq!(coloured.matches(YELLOW).count(), 7, "{coloured}");
    assert_eq!(coloured.matches(BOLD).count(), 3, "{coloured}");
    let plain = [BOLD, YELLOW, RESET].iter().fold(coloured, |text, code| text.replace(code, ""));
    assert_eq!(plain, text(&run(), Some(CPU), false));
    let counters = Counters { requests: [0, 0, 1, 0, 0, 0], closed_by_client: 1, ..Counters::default() };
    let calm = Totals { counters, accepted: 1, ..Totals::default() };
    assert!(!text(&calm, None, true).contains(YELLOW));
}

#[test]
fn units_change_where_they_would_be_rounded_up() {
    let of = |ns| duration(Duration::from_nanos(ns));
    assert_eq!([of(999), of(999_994), of(999_996), of(1_000_000)], ["1.00us", "999.99us", "1.00ms", "1.00ms"]);
    assert_eq!([of(999_994_000), of(999_996_000), of(59_990_000_000)], ["999.99ms", "1.00s", "59.99s"]);
    assert_eq!([of(60_000_000_000), of(3_600_000_000_000)], ["1.00m", "1.00h"]);
    assert_eq!([bytes(1023.0), bytes(1024.0), bytes(1_572_864.0)], ["1023B", "1.00KB", "1.50MB"]);
    assert_eq!([ratio(1, 3), ratio(1, 50), ratio(1, 3000), ratio(0, 9)], ["0.33", "0.0200", "0.000333", "0.000000"]);
}

#[test]
fn a_run_whose_accept_queues_were_in_use() {
    let at = UNIX_EPOCH + Duration::from_millis(3_723_250);
    let behind = Delay { took: Duration::from_millis(250), connection: 3, request: "POST /users".into() };
    let queue = |address: &str, limit, high_water, drops| QueueStatus {
        listener: ListenerId::new(0),
        address: address.into(),
        limit,
        high_water,
        drops,
        dropped_at: None,
    };
    let queues = vec![
        queue("127.0.0.1:80", Some(16), Some(HighWater { depth: 17, at, behind: Some(Rc::new(behind)) }), Some(5)),
        queue("unix:/a", None, Some(HighWater { depth: 2, at, behind: None }), None),
        queue("[::1]:80", Some(16), None, Some(0)),
    ];
    let (totals, urls) = (Totals { queues, ..run() }, []);
    let listen = Some(ListenCounters { overflows: 8, drops: 9 });
    let report = |colours| FinalReport { totals: &totals, urls: &urls, listen, cpu: None, colours, begins_anew: false };
    let expected = "  Peak buffers: 16.00KB in, 1.00MB out; 64.00KB left waiting by one response
  Accept queue of 127.0.0.1:80: 17 of 17 at 01:02:03.250, behind c=3 POST /users for 250.00ms; 5 packets dropped
  Accept queue of unix:/a: 2 at 01:02:03.250
  Listeners of this network: 8 overflows, 9 drops
  Accept pauses: 1
";
    let text = report(false).to_string();
    assert!(text.contains(expected), "{text}");
    assert!(report(true).to_string().contains("\x1b[33m  Accept queue of 127.0.0.1:80"));
    assert!(report(true).to_string().contains("\n  Accept queue of unix:/a"));
}
