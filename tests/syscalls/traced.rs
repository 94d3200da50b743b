//! A server that strace follows from its first call on, and the calls between two of its own accounts.

use std::collections::{BTreeMap, HashSet};
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::support::{Client, DEADLINE, has_tool, wait_until};
use crate::table;
use crate::trace::{Call, Counts, KINDS, join_netlink, kind, parse};

/// The request for an account. strace shows enough of what was read to find it.
const ACCOUNT: &str = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
/// What an account costs: the loop answers at the end of a turn, has a thread ask the kernel in the next one, for which it does
/// not sleep, and sends the account when that thread wakes it.
pub const ACCOUNT_CALLS: [(&str, u64); 4] = [("epoll_wait", 3), ("read", 1), ("write", 1), ("wake", 1)];
/// Calls of the allocator.
const MEMORY: [&str; 5] = ["brk", "mmap", "munmap", "mremap", "madvise"];

/// A directory of this test's own, removed at its end.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new() -> Scratch {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("tidemill-syscalls-{}-{number}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Scratch(path)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

/// Repeats an attempt until it is quick enough: a file is looked at again when it is asked for half a second later, and
/// that has its own cost. An attempt tells how long it took from its first request for the file to the last response.
pub fn while_fresh(attempt: impl Fn() -> Option<(Duration, Traced)>) -> Option<Window> {
    const FRESH_FOR: Duration = Duration::from_millis(490);
    let give_up = Instant::now() + DEADLINE;
    while Instant::now() < give_up {
        let (took, server) = attempt()?;
        if took < FRESH_FOR {
            return Some(server.between_accounts());
        }
    }
    eprintln!("notice: skipped, this machine is too slow");
    None
}

/// The server, its accounts, and where strace writes.
pub struct Traced {
    child: Child,
    address: String,
    admin: Client,
    accounts: Vec<Counts>,
    scratch: Scratch,
}

impl Traced {
    /// Starts the server under strace; `None`, with a notice, where that is impossible.
    pub fn start(arguments: &[&str]) -> Option<Traced> {
        if !can_trace() {
            return None;
        }
        let scratch = Scratch::new();
        // With -D the server is our child and strace its own: whoever kills the server ends strace with it.
        let mut child = Command::new("strace")
            .args(["-D", "-f", "-o"])
            .arg(scratch.path("strace"))
            .arg(env!("CARGO_BIN_EXE_tidemill"))
            .args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
            .args(arguments)
            .env_remove("TIDEMILL_TORTURE")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let address = announced(lines.next(), "listening on");
        let admin = Client::new(TcpStream::connect(announced(lines.next(), "admin on")).unwrap());
        Some(Traced { child, address, admin, accounts: Vec::new(), scratch })
    }

    pub fn connect(&self) -> Client {
        Client::new(TcpStream::connect(&self.address).unwrap())
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    /// Waits until the loop sleeps. What is sent then is an event of its own, and wakes it once.
    pub fn settle(&self) {
        wait_until("the loop sleeps", || {
            let call = std::fs::read_to_string(format!("/proc/{}/syscall", self.child.id())).unwrap();
            is_sleep(&call)
        });
    }

    /// Asks the server for its account.
    pub fn explain(&mut self) {
        self.settle();
        self.admin.send(ACCOUNT);
        let (_, content) = self.admin.read_response();
        self.accounts.push(counters(&content));
        self.settle();
    }

    /// Sends a request to the admin's listener and returns the response's content.
    pub fn ask_admin(&mut self, target: &str) -> String {
        self.settle();
        self.admin.send(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        let (_, content) = self.admin.read_response();
        self.settle();
        content
    }

    /// What has been traced so far.
    pub fn text(&self) -> String {
        std::fs::read_to_string(self.scratch.path("strace")).unwrap()
    }

    /// How many connections there are, as far as strace has told.
    pub fn open_connections(&self) -> usize {
        let mut open = HashSet::new();
        for call in parse(&self.text()) {
            match &*call.name {
                "accept4" | "accept" => open.extend(call.result().filter(|result| *result >= 0)),
                "close" => {
                    call.descriptor().map(|closed| open.remove(&i64::from(closed)));
                }
                _ => {}
            }
        }
        open.len()
    }

    /// Ends the server. Returns all calls, and the accounts.
    pub fn finish(mut self) -> (Trace, Vec<Counts>) {
        let loop_thread = self.child.id();
        self.child.kill().unwrap();
        wait_until("strace has seen the end", || has_ended(&self.text(), loop_thread));
        let calls = join_netlink(parse(&self.text()), loop_thread);
        let eventfd = calls.iter().find(|call| call.name.starts_with("eventfd")).and_then(Call::result);
        let eventfd = eventfd.expect("the loop has an eventfd") as u32;
        (Trace { calls, loop_thread, eventfd }, std::mem::take(&mut self.accounts))
    }

    /// Ends the server, and returns what happened between its two accounts. What it counted is what strace saw.
    pub fn between_accounts(self) -> Window {
        let (trace, accounts) = self.finish();
        let [before, after] = &accounts[..] else { panic!("two accounts: {accounts:?}") };
        let window = trace.between("GET /metrics", "GET /metrics");
        assert_eq!(window.counts, difference(after, before), "counters and strace agree: {window:#?}");
        window.without_handing_on().without(&ACCOUNT_CALLS)
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn can_trace() -> bool {
    if !has_tool("strace") {
        return false;
    }
    // A kernel that restricts tracing may leave it to any of those involved to fail: what counts is that there is a
    // trace. The tracer has our end of the pipe until it has written all of it.
    let tried = Command::new("strace").args(["-D", "-f", "true"]).output().unwrap();
    let said = String::from_utf8_lossy(&tried.stderr);
    let traces = said.contains("+++ exited with 0 +++") && std::fs::read_to_string("/proc/self/syscall").is_ok();
    if !traces {
        eprintln!("notice: skipped, strace may not trace here: {said}");
    }
    traces
}

fn announced(line: Option<String>, what: &str) -> String {
    let line = line.unwrap_or_else(|| panic!("the server ended before it said {what:?}"));
    let url = line.strip_prefix(what).unwrap_or_else(|| panic!("not {what:?}: {line:?}"));
    url.trim().trim_start_matches("http://").trim_end_matches('/').to_owned()
}

/// Whether a line of /proc/PID/syscall is epoll_wait or epoll_pwait, on x86-64 or AArch64, with a timeout that is not 0.
fn is_sleep(line: &str) -> bool {
    let mut words = line.split_whitespace();
    words.next().is_some_and(|number| ["232", "281", "22"].contains(&number))
        && words.nth(3).is_some_and(|timeout| timeout != "0x0")
}

/// Whether a trace tells of a thread's end.
fn has_ended(trace: &str, thread: u32) -> bool {
    let told = |line: &str| {
        line.split_once(' ').is_some_and(|(of, what)| of == thread.to_string() && what.trim_start().starts_with("+++ "))
    };
    trace.lines().rev().any(told)
}

fn counters(metrics: &str) -> Counts {
    let counter = |line: &str| {
        let (call, count) = line.strip_prefix("tidemill_syscalls_total{call=\"")?.split_once("\"} ")?;
        let kind =
            KINDS.into_iter().find(|kind| *kind == call).unwrap_or_else(|| panic!("{call} is counted, not known"));
        Some((kind, count.parse().unwrap()))
    };
    metrics.lines().filter_map(counter).collect()
}

/// What `after` has more of than `before`.
pub fn difference(after: &Counts, before: &Counts) -> Counts {
    let grown = after.iter().map(|(kind, count)| (*kind, count - before.get(kind).unwrap_or(&0)));
    grown.filter(|(_, count)| *count > 0).collect()
}

/// All calls of a server.
pub struct Trace {
    calls: Vec<Call>,
    loop_thread: u32,
    eventfd: u32,
}

impl Trace {
    /// The calls after the turn that reads the first request that begins like `from`, up to the end of the turn that reads
    /// the next one that begins like `to`: a request for an account is answered at the end of its turn.
    pub fn between(&self, from: &str, to: &str) -> Window {
        let reads = |what: &str, call: &Call| call.name == "recvfrom" && call.rest.contains(&format!("\"{what}"));
        let next_wait = |after: usize| {
            let waits = |call: &Call| call.thread == self.loop_thread && call.is_wait();
            after + self.calls[after..].iter().position(waits).expect("every turn is followed by a wait")
        };
        let first = self.calls.iter().position(|call| reads(from, call)).expect("the first request was read");
        let rest = &self.calls[first + 1..];
        let last = first + 1 + rest.iter().position(|call| reads(to, call)).expect("the second request was read");
        Window::of(&self.calls[next_wait(first)..next_wait(last)], self)
    }
}

/// A part of a trace, by what the loop did.
#[derive(Debug)]
pub struct Window {
    /// The loop's calls, but for those that only debug builds make.
    pub calls: Vec<Call>,
    /// Those that the server counts, and wakes by whichever thread.
    pub counts: Counts,
    /// Those that it does not count, but for the allocator's.
    pub others: Vec<String>,
}

impl Window {
    fn of(calls: &[Call], trace: &Trace) -> Window {
        let (mut counts, mut others) = (Counts::new(), Vec::new());
        let ours = |call: &&Call| call.thread == trace.loop_thread && !is_debug_check(call);
        for call in calls {
            match kind(call, trace.eventfd) {
                Ok("wake") => *counts.entry("wake").or_default() += 1,
                _ if !ours(&call) => {}
                Ok(kind) => *counts.entry(kind).or_default() += 1,
                Err(other) if MEMORY.contains(&other) => {}
                Err(other) => others.push(other.to_owned()),
            }
        }
        Window { calls: calls.iter().filter(ours).cloned().collect(), counts, others }
    }

    /// The same without so many calls, which must be there.
    pub fn without(mut self, known: &[(&'static str, u64)]) -> Window {
        for (kind, count) in known {
            let have = self.counts.entry(kind).or_default();
            *have = have.checked_sub(*count).unwrap_or_else(|| panic!("{count} {kind} among {:#?}", self.calls));
        }
        self.counts.retain(|_, count| *count > 0);
        self
    }

    /// The same without the calls by which the first account was handed to a thread. Nothing was written before.
    fn without_handing_on(mut self) -> Window {
        let before = self.calls.iter().take_while(|call| call.name != "sendto");
        for _ in before.filter(|call| call.name == "futex") {
            let index = self.others.iter().position(|other| other == "futex").expect("it is among the others");
            self.others.remove(index);
        }
        self
    }

    /// How often the loop woke only to bring a deadline closer: it does nothing before it sleeps again. A connection whose
    /// deadline was put off is driven then, and after a drive the CPU clock may be read.
    pub fn idle_wakes(&self) -> u64 {
        let calls: Vec<&Call> = self.calls.iter().filter(|call| call.name != "clock_gettime").collect();
        let pairs = calls.windows(2);
        pairs.filter(|pair| pair[0].timed_out() && pair[1].is_wait()).count() as u64
    }

    /// The calls counted, without idle wakes.
    pub fn busy(&self) -> Counts {
        let mut counts = self.counts.clone();
        let waits = counts.entry("epoll_wait").or_default();
        *waits -= self.idle_wakes();
        // The CPU clock is read now and then, and after a long drive: whether it was depends on the time that passed.
        counts.remove("clock_gettime");
        counts.retain(|_, count| *count > 0);
        counts
    }

    /// Fails unless this is `times` what the table says of `scenario`, and nothing else.
    pub fn assert_row(&self, scenario: &str, times: u64) {
        assert_calls(&self.busy(), scenario, times, &format!("{:#?}", self.calls));
        assert_eq!(self.others, [""; 0], "calls that are in no column: {:#?}", self.calls);
    }
}

/// Fails unless `counts` is `times` what the table says of `scenario`.
pub fn assert_calls(counts: &Counts, scenario: &str, times: u64, explanation: &str) {
    let expected: BTreeMap<_, _> =
        table::expected(scenario).into_iter().map(|(kind, count)| (kind, count * times)).collect();
    assert_eq!(counts, &expected, "{scenario}, {times} times: {explanation}");
}

/// In debug builds the standard library makes sure that what it closes is open.
fn is_debug_check(call: &Call) -> bool {
    cfg!(debug_assertions) && call.name == "fcntl" && call.rest.contains("F_GETFD")
}

#[test]
fn a_wake_after_which_only_the_cpu_clock_is_read_is_idle() {
    let text = "\
7 epoll_wait(5, [], 1024, 64) = 0
7 clock_gettime(CLOCK_THREAD_CPUTIME_ID, {tv_sec=0, tv_nsec=1}) = 0
7 epoll_wait(5, [], 1024, 64) = 0
7 epoll_wait(5, [{events=EPOLLIN, data={u32=1, u64=1}}], 1024, 64) = 1
7 clock_gettime(CLOCK_THREAD_CPUTIME_ID, {tv_sec=0, tv_nsec=2}) = 0
7 epoll_wait(5, [], 1024, 64) = 0
7 sendto(9, \"x\", 1, MSG_NOSIGNAL, NULL, 0) = 1
";
    let trace = Trace { calls: parse(text), loop_thread: 7, eventfd: 6 };
    let window = Window::of(&trace.calls, &trace);
    assert_eq!(window.idle_wakes(), 2, "not the one with an event, nor the one in which something was sent");
    assert_eq!(window.busy(), [("epoll_wait", 2), ("write", 1)].into());
}
