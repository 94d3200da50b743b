//! Each trouble is found, worst first, and nothing else is.

use std::net::SocketAddr;
use std::time::{Duration, UNIX_EPOCH};

use super::*;
use crate::base::accept_queue::AcceptQueue;
use crate::base::job_name::{JobKind, JobName, Requester};
use crate::base::limits::ConnectionsBound;
use crate::base::listener_id::ListenerId;
use crate::base::moment::Moment;
use crate::base::peer::Peer;
use crate::http::method::Method;
use crate::observe::accept_queue::QueueStatus;
use crate::observe::histogram::{Histogram, Spread};
use crate::observe::jobs::{JobPlace, JobStatus};
use crate::observe::minute::{Counts, Minute, Tallies};
use crate::observe::report::{
    ConnectionStatus, Failures, Http2Status, KernelSocket, LongDrive, LoopStatus, MemoryBound, Progress, StreamStatus,
};
use crate::observe::request_record::RequestRecord;
use crate::observe::tls::Failure;
use crate::observe::upstream::{
    self, AddressCounters, AddressStatus, BudgetStatus, GroupStatus, Standing, UpstreamStatus,
};
use crate::observe::verdict::{Means, Phase, Side, Verdict};
use crate::observe::wait_reason::WaitReason;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// A server with 12 of 32 connections, 600 requests in a minute, and no trouble.
fn calm() -> Overview {
    let mut latency = Histogram::default();
    (0..600).for_each(|_| latency.record(MS));
    let tallies = Tallies {
        requests: [0, 0, 600, 0, 0, 0],
        latency,
        drops: [(ListenerId::new(0), 0)].into(),
        ..Tallies::default()
    };
    let queue =
        QueueStatus { address: "127.0.0.1:80".into(), limit: Some(16), drops: Some(3), ..QueueStatus::default() };
    let turn = LoopStatus {
        now: Moment::from_millis(100_000),
        phases: Vec::new(),
        turns: Spread::default(),
        drives: Spread::default(),
        lag: Spread::default(),
        events: 0,
        events_max: 0,
        longest: vec![drive(9, 19 * MS, None)],
        longest_of_hour: Vec::new(),
        jobs: Default::default(),
        syscalls: Vec::new(),
        queues: vec![queue],
    };
    Overview {
        turn,
        config: None,
        wall: UNIX_EPOCH,
        requests: 600,
        received_bytes: 0,
        sent_bytes: 0,
        latency: Spread::default(),
        minute: Minute { span: 60 * SECOND, tallies, seconds: Vec::new() },
        failures: Vec::new(),
        connections: 12,
        connections_max: 32,
        connections_bound: ConnectionsBound::Setting,
        accept_fails: false,
        waits: vec![("client-idle", 11), ("timer", 1)],
        upstreams: Vec::new(),
        upstream_waits: Vec::new(),
        paused: 0,
        blocked: 0,
        listed: vec![connection(1, "client-idle", 30 * SECOND), connection(2, "timer", 20 * SECOND)],
        disturbed: Vec::new(),
        draining: None,
        memory: vec![MemoryBound { flag: "--http2-kept", purpose: "content", used: 3 << 20, max: 4 << 20 }],
        certificates: vec![("CN=a".into(), UNIX_EPOCH + Duration::from_secs(90 * 86_400))],
    }
}

fn drive(connection: u64, took: Duration, off_cpu: Option<Duration>) -> LongDrive {
    let ended = Moment::from_millis(88_000);
    LongDrive { ended, wall: UNIX_EPOCH, took, off_cpu, connection, request: "POST /users".into() }
}

fn local() -> SocketAddr {
    ([127, 0, 0, 1], 80).into()
}

fn peer(id: u64) -> SocketAddr {
    ([127, 0, 0, 1], 50_000 + id as u16).into()
}

fn connection(id: u64, wait: &'static str, waited: Duration) -> ConnectionStatus {
    let mut record = RequestRecord::new(Moment::default());
    (record.ordinal, record.method) = (3, Some(Method::Get));
    record.set_texts(b"/big", b"", b"");
    ConnectionStatus {
        id,
        peer: Peer::Ip(peer(id)),
        local: Some(local()),
        protocol: "http/1",
        state: "sending",
        wait,
        waited,
        held: waited,
        taken: None,
        job: None,
        left: 47 * SECOND,
        asks_read: true,
        asks_write: true,
        inbox: (18, 16_384),
        outbox: (0, 0),
        received: 0,
        sent: 0,
        tls: None,
        ordinal: 3,
        http2: None,
        race: None,
        record: wait.contains("read").then_some(record),
        progress: Progress::default(),
        upstream: None,
        serves: None,
    }
}

/// What the kernel says of connections, by their numbers.
fn kernel(sockets: &[(u64, KernelSocket)]) -> KernelReport {
    let sockets = sockets.iter().map(|(id, socket)| ((local(), peer(*id)), *socket)).collect();
    KernelReport { sockets, ..KernelReport::default() }
}

fn socket() -> KernelSocket {
    KernelSocket {
        rtt: MS,
        unacked: 0,
        notsent: 0,
        rwnd_limited: Duration::ZERO,
        sndbuf_limited: Duration::ZERO,
        resent: 0,
        state: "ESTABLISHED",
        retransmits: 0,
        probes: 0,
        backoff: 0,
        acknowledged: 0,
        last_sent: Duration::ZERO,
        last_acknowledgement: Duration::ZERO,
        window: Some(65_536),
    }
}

/// The findings as lines: severity, kind, text.
fn lines(overview: &Overview, kernel: &KernelReport) -> Vec<String> {
    let line = |finding: &Finding| format!("{} {}: {}", finding.severity.name(), finding.kind, finding.text);
    findings(overview, kernel).iter().map(line).collect()
}

/// What is found if a calm server is changed in this way.
fn found(change: impl FnOnce(&mut Overview)) -> Vec<String> {
    let mut overview = calm();
    change(&mut overview);
    lines(&overview, &KernelReport::default())
}

fn verdict(side: Side, means: Means, phase: Phase) -> Verdict {
    Verdict { side, means, phase }
}

fn counts<K: Copy + PartialEq>(counts: &[(K, u64)]) -> Counts<K> {
    counts.iter().copied().collect()
}

#[test]
fn a_calm_server_says_so_with_facts() {
    let overview = calm();
    let findings = findings(&overview, &KernelReport::default());
    assert_eq!(findings, []);
    let expected = "Nothing is held up: 12 connections, 10 requests/s, p99 1.0ms";
    assert_eq!(headline(&overview, &findings), expected);
    let idle = Overview { connections: 1, minute: Minute::default(), ..overview };
    assert_eq!(headline(&idle, &[]), "Nothing is held up: 1 connection, no request in the last minute");
}

#[test]
fn notices_alone_are_no_trouble_and_the_worst_is_the_headline() {
    let mut overview = calm();
    overview.listed.push(connection(5, "client-slow-head", 2 * SECOND));
    let notices = findings(&overview, &KernelReport::default());
    assert_eq!(notices[0].text, "c=5 is held for 2.0s by its client, who has sent 18 bytes of a head; cut in 47.0s");
    assert!(headline(&overview, &notices).starts_with("Nothing is held up: "));
    overview.listed.push(connection(20, "client-slow-read", 13 * SECOND));
    overview.connections = 32;
    let all = findings(&overview, &KernelReport::default());
    let kinds: Vec<_> = all.iter().map(|finding| finding.kind).collect();
    assert_eq!(kinds, ["slots", "reader", "head"]);
    assert_eq!(headline(&overview, &all), "Every slot is taken: 32 of 32 connections, 11 of them client-idle");
    assert!(
        headline(&overview, &all[1..]).starts_with("c=20 is blocked for 13.0s by its reader"),
        "a key stays as it is"
    );
    assert_eq!(all[1].keys().as_deref(), Some("c=20 r=3"));
}

#[test]
fn full_slots_say_who_waits_outside_and_what_to_raise() {
    let mut overview = calm();
    overview.connections = 29;
    let short = "notice slots: slots run short: 29 of 32 connections, 11 of them client-idle";
    assert_eq!(lines(&overview, &KernelReport::default()), [short]);
    overview.connections = 32;
    let queue = AcceptQueue { depth: 5, limit: 16, drops: Some(3) };
    let kernel = KernelReport { queues: [(ListenerId::new(0), queue)].into(), ..KernelReport::default() };
    let all = findings(&overview, &kernel);
    let expected = "every slot is taken: 32 of 32 connections, 11 of them client-idle; 5 more wait to be accepted";
    assert_eq!((all.len(), &*all[0].text), (1, expected));
    assert!(all[0].advice.as_ref().unwrap().contains("--max-connections"));
    overview.connections_bound = ConnectionsBound::Descriptors(64);
    assert_eq!(findings(&overview, &kernel)[0].advice.as_deref(), Some("raise ulimit -n, which is 64"));
    overview.accept_fails = true;
    assert_eq!(findings(&overview, &kernel)[1].kind, "descriptors");
}

#[test]
fn an_accept_queue_that_overflows_is_found_also_before_the_loop_has_seen_it() {
    let dropped = |packets: &str| {
        format!(
            "alarm accept-queue: the accept queue of 127.0.0.1:80 overflows: {packets} of clients that want to connect dropped \
             in the last minute; it has room for 17"
        )
    };
    assert_eq!(
        found(|overview| overview.minute.tallies.drops = [(ListenerId::new(0), 37)].into()),
        [dropped("37 packets")]
    );
    let kernel = |depth, drops| KernelReport {
        queues: [(ListenerId::new(0), AcceptQueue { depth, limit: 16, drops: Some(drops) })].into(),
        ..KernelReport::default()
    };
    assert_eq!(lines(&calm(), &kernel(0, 4)), [dropped("1 packet")]);
    assert_eq!(lines(&calm(), &kernel(8, 3)), [""; 0]);
    let waits = "warning accept-queue: 9 connections wait to be accepted at 127.0.0.1:80, and there is room for 16";
    assert_eq!(lines(&calm(), &kernel(9, 3)), [waits]);
}

#[test]
fn errors_are_told_with_their_codes_and_the_request_that_fails_most() {
    let failures = |status, request: &str, count| Failures {
        status: Some(status),
        verdict: None,
        is_lost: false,
        request: request.into(),
        count,
        connection: 9,
        key: RequestKey::Ordinal(4),
    };
    let told = |count, known: &[Failures]| {
        found(|overview| {
            overview.minute.tallies.requests[5] = count;
            overview.failures = known.to_vec();
        })
    };
    let known = [failures(500, "GET /a", 18), failures(503, "GET /b", 2)];
    let expected = "alarm server-errors: 18 × 500, 2 × 503 in the last minute, most often GET /a (18 of 20)";
    assert_eq!(told(20, &known), [expected]);
    let expected = "alarm server-errors: 3000 × 5xx in the last minute, most often GET /a (18 of 20)";
    assert_eq!(told(3000, &known), [expected]);
    assert_eq!(told(1, &known[1..]), ["warning server-errors: 1 × 5xx in the last minute, all of them GET /b"]);
    assert_eq!(told(1, &[failures(500, "GET /a", 1)]), ["warning server-errors: 1 × 500 in the last minute: GET /a"]);
    assert_eq!(told(2, &[]), ["warning server-errors: 2 × 5xx in the last minute"], "nothing is kept (--past 0)");
}

#[test]
fn an_upstream_that_fails_is_named_before_the_errors_that_clients_got_for_it() {
    let refused = verdict(Side::Upstream, Means::Refusal, Phase::Handler);
    let known = Failures {
        status: Some(502),
        verdict: Some(refused),
        is_lost: false,
        request: "GET /a".into(),
        count: 20,
        connection: 9,
        key: RequestKey::Ordinal(4),
    };
    let told = found(|overview| {
        overview.minute.tallies.requests[5] = 20;
        overview.minute.tallies.disturbed = counts(&[(refused, 20)]);
        overview.failures = vec![known];
    });
    let expected = [
        "alarm upstream-failures: 20 requests failed by an upstream in the last minute: 20 × UXW (refusal, while the handler \
         worked), all of them GET /a",
        "alarm server-errors: 20 × 502 in the last minute, all of them GET /a",
    ];
    assert_eq!(told, expected);
}

#[test]
fn upstreams_that_get_no_requests_and_requests_that_wait_for_them_are_found() {
    let address = |port: u16, standing| AddressStatus {
        address: ([10, 0, 0, 1], port).into(),
        upstream: 0,
        standing,
        active: 0,
        failures_in_a_row: 0,
        last_failure: Some((upstream::Failure::Refused, SECOND)),
        counters: AddressCounters::default(),
    };
    let group = |addresses: &[AddressStatus], waiting, unresolved: Option<&str>| GroupStatus {
        name: "/api/".into(),
        balance: "round-robin",
        max: Some(9),
        waiting,
        idle: 0,
        refused: 0,
        budget: BudgetStatus::default(),
        upstreams: vec![UpstreamStatus {
            name: "a.example:80".into(),
            unresolved: unresolved.map(Box::from),
            gone: AddressCounters::default(),
        }],
        addresses: addresses.to_vec(),
    };
    let told = |group| found(|overview| overview.upstreams = vec![group]);
    let (good, out) = (address(1, Standing::InService(100)), address(2, Standing::Out(7500 * MS)));
    assert_eq!(told(group(&[good.clone(), address(3, Standing::Leaving)], 0, None)), [""; 0]);
    let expected =
        "upstream-out: upstreams of /api/ out of service: 1 of 2: 10.0.0.1:2 (out for 7.5s: connection refused)";
    assert_eq!(told(group(&[good.clone(), out.clone()], 0, None)), [format!("warning {expected}")]);
    let all = [out, address(3, Standing::Down), address(4, Standing::Probing), address(5, Standing::Down)];
    let expected = "alarm upstream-out: upstreams of /api/ out of service: 4 of 4: 10.0.0.1:2 (out for 7.5s: connection refused), \
                    10.0.0.1:3 (down: connection refused), 10.0.0.1:4 (probing: connection refused), others";
    assert_eq!(told(group(&all, 0, None)), [expected]);
    let expected = "warning upstream-queue: 4 requests for /api/ held back until an upstream has room";
    assert_eq!(told(group(std::slice::from_ref(&good), 4, None)), [expected]);
    let expected = "upstream-name: a.example:80 of /api/ cannot be resolved: no such name";
    assert_eq!(told(group(&[good], 0, Some("no such name"))), [format!("warning {expected}")]);
    let nowhere = told(group(&[], 0, Some("no such name")));
    assert_eq!(nowhere, [format!("alarm {expected}; it has no address")]);
}

#[test]
fn whoever_is_blocked_is_told_from_what_blocks_it() {
    let mut overview = calm();
    overview.listed =
        vec![connection(20, "client-slow-read", 13 * SECOND), connection(21, "client-slow-read", 2 * SECOND)];
    let shut = KernelSocket { notsent: 127_488, window: Some(0), last_sent: 3 * SECOND, ..socket() };
    let silent = KernelSocket { probes: 2, last_acknowledgement: 6 * SECOND, ..shut };
    let network = KernelSocket { unacked: 12, notsent: 50_000, ..socket() };
    let buffer = KernelSocket { sndbuf_limited: 10 * SECOND, ..network };
    let reader = KernelSocket { rwnd_limited: 7 * SECOND, ..network };
    let told = |socket: KernelSocket| lines(&overview, &kernel(&[(20, socket)]))[0].clone();
    let blocked = "c=20 is blocked for 13.0s by its reader, who takes nothing or little: GET /big; so is 1 other";
    assert_eq!(lines(&overview, &KernelReport::default()), [format!("warning reader: {blocked}")]);
    assert_eq!(told(shut), format!("warning reader: {blocked}"));
    assert_eq!(told(reader), format!("warning reader: {blocked}"));
    let vanished = "c=20 has vanished: silent for 6.0s, 2 probes without an answer: GET /big";
    assert_eq!(told(silent), format!("warning vanished: {vanished}"));
    let by = |socket, kind: &str, text: &str| {
        let all = lines(&overview, &kernel(&[(20, socket)]));
        assert!(all.contains(&format!("warning {kind}: c=20 is blocked for 13.0s by {text}: GET /big")), "{all:?}");
    };
    by(network, "network", "the network: 12 segments not acknowledged");
    by(buffer, "send-buffer", "our send buffer, too small for its path");
    // For us it is idle, and the kernel knows better.
    overview.listed = vec![connection(20, "client-idle", 4 * SECOND)];
    assert_eq!(lines(&overview, &KernelReport::default()), [""; 0]);
    let unread = "notice unread: c=20 is held for 3.0s by its reader, whose answer is complete for us: 127488 bytes wait in the kernel";
    assert_eq!(lines(&overview, &kernel(&[(20, shut)])), [unread]);
    assert!(lines(&overview, &kernel(&[(20, silent)]))[0].starts_with("warning vanished: "));
}

#[test]
fn whoever_gets_on_is_not_blocked_however_long_it_has_been_going_on() {
    let told = |wait, held, taken, socket| {
        let mut overview = calm();
        overview.listed = vec![ConnectionStatus { held, taken, ..connection(20, wait, 60 * SECOND) }];
        assert_eq!(
            culprits(&overview, &kernel(&[(20, socket)])).len(),
            lines(&overview, &kernel(&[(20, socket)])).len()
        );
        lines(&overview, &kernel(&[(20, socket)])).pop().unwrap_or_default()
    };
    let read = |held, taken, socket| told("client-slow-read", held, taken, socket);
    // Our kernel has taken more a moment ago.
    let network = KernelSocket { unacked: 34, notsent: 50_000, ..socket() };
    assert_eq!(read(30 * MS, None, network), "");
    assert!(read(3 * SECOND, None, network).starts_with("warning network: c=20 is blocked for 3.0s by the network"));
    // The client's kernel has acknowledged more than was known 4 s ago: the floor rate, and less.
    let got = |acknowledged| KernelSocket { acknowledged, ..network };
    let looked = Some((1000, 4 * SECOND));
    assert_eq!(read(4 * SECOND, looked, got(1000 + 4 * 256)), "");
    assert!(read(4 * SECOND, looked, got(999 + 4 * 256)).contains("c=20 is blocked for 4.0s"));
    assert!(read(4 * SECOND, Some((1000, Duration::ZERO)), got(1000)).contains("c=20 is blocked for 4.0s"));
    // It has read well since the look, and stopped then.
    let stopped = KernelSocket { window: Some(0), unacked: 0, last_sent: 2 * SECOND, ..got(1 << 20) };
    assert!(read(4 * SECOND, looked, stopped).contains("c=20 is blocked for 2.0s by its reader"));
    // So it is with whoever sends, and with the end of an answer that only the kernel still has.
    assert_eq!(told("client-slow-body", 30 * MS, None, socket()), "");
    assert!(told("client-slow-body", 3 * SECOND, None, socket()).contains("c=20 is held for 3.0s by its client, who"));
    assert_eq!(told("client-idle", 60 * SECOND, None, KernelSocket { last_sent: 20 * MS, ..network }), "");
}

fn stream(id: u32, wait: &'static str, waited: Duration) -> StreamStatus {
    StreamStatus {
        id,
        request: "GET /s".into(),
        status: Some(200),
        state: "half-closed (remote)",
        urgency: 3,
        is_incremental: false,
        may_send: 0,
        may_receive: 0,
        content: 0,
        queued: 0,
        turn: None,
        wait,
        waited,
        job: None,
        sent: 0,
        parts: None,
        progress: Progress::default(),
        terms: None,
        upstream: None,
    }
}

#[test]
fn a_stream_without_a_window_is_found_though_its_connection_goes_on() {
    let http2 = |streams, percent| Http2Status {
        may_send: 0,
        may_receive: 0,
        budgets: vec![("glitches", 3), ("resets", percent)],
        misbehaviour: Vec::new(),
        gone_away: None,
        streams_total: 2,
        streams,
    };
    let told = |wait, streams, percent| {
        found(|overview| {
            let http2 = Some(Box::new(http2(streams, percent)));
            overview.listed = vec![ConnectionStatus { http2, ..connection(7, wait, SECOND) }];
        })
    };
    let streams = || vec![stream(1, "timer", 60 * SECOND), stream(3, "stream-window", 13 * SECOND)];
    let shut = "warning window: c=7 is blocked for 13.0s by its client, who opens no window of the stream: s=3 GET /s";
    assert_eq!(told("timer", streams(), 79), [shut]);
    assert_eq!(told("client-window", streams(), 0), [shut]);
    let connection = vec![stream(5, "connection-window", 2 * SECOND)];
    assert!(told("timer", connection, 0)[0].contains("opens no window of the connection: s=5 GET /s"));
    assert_eq!(told("timer", vec![stream(1, "timer", SECOND)], 0), [""; 0]);
    let ledger = "notice ledger: c=7 has used 80% of what is borne of it (resets); then come delays, or GOAWAY";
    assert_eq!(told("timer", Vec::new(), 80), [ledger]);
}

#[test]
fn a_loop_that_was_held_names_who_held_it() {
    let held = found(|overview| {
        overview.turn.longest.extend([drive(20, 71 * MS, Some(30 * MS)), drive(9, 30 * MS, None)]);
    });
    let text = "the loop was held for 71.0ms by c=20 POST /users, 12 s ago, and in 1 other second of the last minute";
    assert_eq!(held, [format!("warning loop-held: {text}")]);
    let mut overview = calm();
    overview.turn.longest = vec![drive(20, 2 * SECOND, Some(2 * SECOND))];
    let all = findings(&overview, &KernelReport::default());
    assert_eq!((all[0].severity, all[0].about), (Severity::Alarm, Some((20, None))));
    assert_eq!(all[0].text, "the loop did not run for 2.0s while it served c=20 POST /users, 12 s ago");
    assert_eq!(all[0].advice.as_deref(), Some("the machine is busy, or the process was stopped"));
    let off_cpu = |ms| found(|overview| overview.turn.longest = vec![drive(20, ms * MS, Some(ms * MS))]).remove(0);
    assert!(off_cpu(199).starts_with("notice loop-held: the loop did not run for 199.0ms while it served c=20"));
    assert!(off_cpu(200).starts_with("warning loop-held: "));
    let busy = found(|overview| overview.minute.tallies.work_nanos = 57_000_000_000);
    assert_eq!(busy, ["warning loop-busy: the loop was at work for 95% of the last minute: it has little to spare"]);
}

fn job(kind: JobKind, subject: &[u8], place: JobPlace, since: Duration) -> JobStatus {
    let requester = Requester { connection: 7, stream: 0 };
    JobStatus { name: JobName::new(kind, subject, Some(requester)), place, since, waiting: vec![requester] }
}

#[test]
fn jobs_that_are_stalled_name_the_oldest_one_and_what_it_waits_behind() {
    let running = |kind, since| job(kind, b"/mnt/slow", JobPlace::Running("io-1".into()), since);
    let queued = |since| job(JobKind::LookUp, b"/a", JobPlace::Queued { ahead: 0, is_wanted: true }, since);
    let told = |running: Vec<JobStatus>, queued: Vec<JobStatus>| {
        found(|overview| {
            let jobs = &mut overview.turn.jobs;
            (jobs.quick_queued, jobs.running, jobs.queued) = (queued.len(), running, queued);
        })
    };
    let stalled = "alarm jobs: jobs are stalled: 1 wait for a thread, look-up /a for 2.1s, behind look-up /mnt/slow, running \
                   for 9.3s on io-1";
    assert_eq!(told(vec![running(JobKind::LookUp, 9300 * MS)], vec![queued(2100 * MS)]), [stalled]);
    let alone = "warning jobs: a job takes long: look-up /mnt/slow, running for 9.3s on io-1";
    assert_eq!(told(vec![running(JobKind::LookUp, 9300 * MS)], vec![queued(MS)]), [alone]);
    assert!(told(vec![running(JobKind::Compress, 2 * SECOND)], Vec::new())[0].starts_with("notice jobs: "));
    let many = "warning jobs: 1 job waits for a thread, look-up /a for 2.0s";
    assert_eq!(told(vec![running(JobKind::LookUp, MS)], vec![queued(2 * SECOND)]), [many]);
    assert_eq!(told(vec![running(JobKind::LookUp, MS)], vec![queued(MS)]), [""; 0]);
    assert_eq!(told(vec![running(JobKind::Resolve, 4 * SECOND)], Vec::new()), [""; 0]);
}

#[test]
fn what_ended_badly_in_the_last_minute_is_told_by_kind() {
    let timeouts = found(|overview| {
        let all =
            [(WaitReason::SlowHead, 3), (WaitReason::Idle, 70), (WaitReason::SlowRead, 2), (WaitReason::FirstByte, 9)];
        overview.minute.tallies.timeouts = counts(&all);
    });
    assert_eq!(
        timeouts,
        ["warning timeouts: 5 timeouts in the last minute: 3 × client-slow-head, 2 × client-slow-read"]
    );
    let left = verdict(Side::Client, Means::Fin, Phase::Handler);
    let disturbed = |all: &[(Verdict, u64)]| found(|overview| overview.minute.tallies.lost = counts(all));
    assert_eq!(
        disturbed(&[(left, 1)]),
        [
            "notice clients-left: 1 client left before it had its answer in the last minute: 1 × CFW (FIN, while the handler worked)"
        ]
    );
    assert!(
        disturbed(&[(left, 60)])[0].starts_with("warning clients-left: 60 clients left before they had their answers")
    );
    let races = |races| found(|overview| overview.minute.tallies.races = races);
    let one =
        "1 request in the last minute came when the server had just ended its idle connection: the keep-alive race";
    assert_eq!(races(1), [format!("notice keep-alive-race: {one}")]);
    assert!(races(10)[0].starts_with("warning keep-alive-race: 10 requests in the last minute came"));
    let fault = verdict(Side::Server, Means::Handler, Phase::Sending);
    let lost = verdict(Side::Network, Means::Timeout, Phase::Sending);
    let all = disturbed(&[(lost, 2), (fault, 1), (verdict(Side::Operator, Means::Drain, Phase::Sending), 5)]);
    assert_eq!(
        all,
        [
            "alarm faults: 1 answer cut by faults of handlers in the last minute: 1 × SHS (fault of the handler, while sending)",
            "warning requests-lost: 2 requests lost to the network in the last minute: 2 × NTS (timeout, while sending)",
        ]
    );
}

#[test]
fn what_holds_now_is_told_before_what_is_over_if_it_is_as_bad() {
    let mut overview = calm();
    overview.minute.tallies.timeouts = counts(&[(WaitReason::SlowHead, 3)]);
    overview.turn.longest = vec![drive(20, 71 * MS, None)];
    overview.listed = vec![connection(8, "client-slow-read", 3 * SECOND)];
    let vanished =
        KernelSocket { unacked: 1, retransmits: 2, last_acknowledgement: 3 * SECOND, last_sent: SECOND, ..socket() };
    let kinds = |overview: &Overview| {
        let all = findings(overview, &kernel(&[(8, vanished)]));
        all.iter().map(|finding| finding.kind).collect::<Vec<_>>()
    };
    assert_eq!(kinds(&overview), ["vanished", "loop-held", "timeouts"]);
    // What is worse comes first all the same.
    overview.minute.tallies.requests[5] = 20;
    assert_eq!(kinds(&overview), ["server-errors", "vanished", "loop-held", "timeouts"]);
}

#[test]
fn tls_and_http2_are_told_with_alerts_and_codes() {
    let handshakes = |failed, done| {
        found(|overview| {
            let tallies = &mut overview.minute.tallies;
            tallies.handshake_failures = counts(&[(Failure::Theirs("unknown_ca"), failed)]);
            tallies.handshakes = done;
        })
    };
    let text = "handshakes: 7 of 20 TLS handshakes failed in the last minute: 7 × the client's alert unknown_ca";
    assert_eq!(handshakes(7, 13), [format!("warning {text}")]);
    assert!(handshakes(7, 1000)[0].starts_with("notice handshakes: 7 of 1007 TLS handshakes"));
    let http2 = found(|overview| {
        let tallies = &mut overview.minute.tallies;
        tallies.goaways = counts(&[("NO_ERROR", 50), ("ENHANCE_YOUR_CALM", 2)]);
        tallies.resets_by_server = counts(&[("NO_ERROR", 9), ("REFUSED_STREAM", 40), ("CANCEL", 1)]);
        tallies.delayed_streams = 6;
    });
    assert_eq!(
        http2,
        [
            "warning http2-goaway: GOAWAY to HTTP/2 clients in the last minute: 2 × ENHANCE_YOUR_CALM",
            "warning http2-resets: streams of HTTP/2 reset by the server in the last minute: 40 × REFUSED_STREAM, 1 × CANCEL",
            "warning http2-delays: 6 streams of HTTP/2 delayed in the last minute, because clients have reset too many",
        ]
    );
    let cancels = found(|overview| overview.minute.tallies.resets_by_server = counts(&[("CANCEL", 1)]));
    assert!(cancels[0].starts_with("notice http2-resets"));
}

#[test]
fn what_is_full_or_lost_or_will_be_is_found() {
    let memory = found(|overview| overview.memory[0].used = 4 << 20);
    assert_eq!(memory, ["warning memory: memory for content runs short: 4096 of 4096 KiB; clients wait for it"]);
    let until = |days: u64| {
        found(|overview| {
            overview.wall = UNIX_EPOCH + Duration::from_secs((90 - days) * 86_400);
        })
    };
    assert_eq!(until(14), [""; 0]);
    assert_eq!(
        until(13),
        ["warning certificate: the certificate of CN=a expires in 13 days: 1970-04-01T00:00:00.000Z"]
    );
    let expired = found(|overview| overview.wall = UNIX_EPOCH + Duration::from_secs(91 * 86_400));
    assert_eq!(expired, ["alarm certificate: the certificate of CN=a has expired: 1970-04-01T00:00:00.000Z"]);
    let lost = found(|overview| {
        (overview.minute.tallies.dropped_lines, overview.minute.tallies.dropped_packets) = (123, 1);
    });
    let lines_of = "warning access-log: 123 lines of the access log dropped in the last minute";
    assert_eq!(lost, [lines_of, "notice capture: 1 packet of the capture dropped in the last minute"]);
    let missing = KernelReport { missing: Some("busy".into()), ..KernelReport::default() };
    assert_eq!(lines(&calm(), &missing), ["notice kernel-missing: what the kernel says is missing: busy"]);
}

#[test]
fn a_server_that_stops_says_what_keeps_it() {
    let stopping = |listed: Vec<ConnectionStatus>| {
        found(|overview| {
            (overview.connections, overview.listed) = (listed.len(), listed);
            overview.draining = Some((3 * SECOND, 27 * SECOND));
        })
    };
    let kept = stopping(vec![
        connection(7, "client-slow-read", 900 * MS),
        connection(8, "timer", SECOND),
        connection(9, "client-idle", SECOND),
    ]);
    let text = "the server has been stopping for 3.0s, kept by c=7 GET /big (client-slow-read for 900.0ms) and 1 other \
                connection; cut in 27.0s";
    assert_eq!(kept, [format!("warning draining: {text}")]);
    let idle = stopping(vec![connection(9, "client-idle", SECOND)]);
    assert_eq!(idle, ["warning draining: the server has been stopping for 3.0s: 1 connection to end"]);
}

#[test]
fn culprits_are_those_that_are_held_up_the_longest_first() {
    let mut overview = calm();
    overview.listed.extend([connection(5, "client-slow-read", SECOND), connection(6, "job-pool", 2 * SECOND)]);
    let kernel = kernel(&[(5, KernelSocket { notsent: 9, window: Some(0), ..socket() })]);
    let found: Vec<_> =
        culprits(&overview, &kernel).iter().map(|c| (c.connection.id, c.cause.name(), c.kernel.is_some())).collect();
    assert_eq!(found, [(6, "job", false), (5, "reader", true)]);
}

#[test]
fn what_peers_have_sent_is_quoted_in_json() {
    let finding =
        Finding::new(Severity::Warning, "reader", "\"</script>\u{1b}".into()).about(7, Some(RequestKey::Stream(5)));
    let object: serde_json::Value = serde_json::from_str(&object(&finding)).unwrap();
    assert_eq!((&object["text"], &object["stream"]), (&"\"</script>\u{1b}".into(), &5.into()));
}
