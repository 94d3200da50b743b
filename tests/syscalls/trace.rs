//! What strace wrote, call by call.

use std::collections::{BTreeMap, HashMap};

/// Calls by kind. A kind that did not occur is missing.
pub type Counts = BTreeMap<&'static str, u64>;

/// The kinds of calls that the server counts, by the names it gives them.
pub const KINDS: [&str; 16] = [
    "epoll_wait",
    "epoll_ctl",
    "accept",
    "connect",
    "read",
    "write",
    "sendfile",
    "shutdown",
    "close",
    "preadv2",
    "statx",
    "setsockopt",
    "ioctl",
    "clock_gettime",
    "netlink",
    "wake",
];

/// One system call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    pub thread: u32,
    pub name: String,
    /// What follows the opening parenthesis, to the end of the line, with the result.
    pub rest: String,
}

impl Call {
    /// The first argument, where it is a descriptor.
    pub fn descriptor(&self) -> Option<u32> {
        self.rest.split([',', ')']).next()?.parse().ok()
    }

    /// The result, when it is a number.
    pub fn result(&self) -> Option<i64> {
        self.rest.rsplit_once(" = ")?.1.split_whitespace().next()?.parse().ok()
    }

    /// The last argument, where it is a number.
    pub fn last_argument(&self) -> Option<i64> {
        self.arguments().rsplit(", ").next()?.parse().ok()
    }

    pub fn would_block(&self) -> bool {
        self.rest.contains("= -1 EAGAIN")
    }

    /// Whether it is a wait of the loop, be it that it only looked.
    pub fn is_wait(&self) -> bool {
        matches!(&*self.name, "epoll_wait" | "epoll_pwait")
    }

    /// Whether it waited in vain: the deadline it woke for came, and there was no event.
    pub fn timed_out(&self) -> bool {
        self.is_wait() && self.result() == Some(0) && !self.only_looked()
    }

    /// Whether it is a wait with a timeout of 0.
    pub fn only_looked(&self) -> bool {
        // The events come before: all other arguments are numbers, or nothing. epoll_pwait ends in a signal mask and
        // its size.
        let from_the_end = if self.name == "epoll_pwait" { 2 } else { 0 };
        self.is_wait() && self.arguments().rsplit(", ").nth(from_the_end) == Some("0")
    }

    /// What is between the parentheses, as far as one can tell without parsing them.
    fn arguments(&self) -> &str {
        let call = self.rest.rsplit_once(" = ").map_or("", |(call, _)| call);
        call.trim_end().strip_suffix(')').unwrap_or("")
    }
}

/// All calls in the order in which they began.
pub fn parse(text: &str) -> Vec<Call> {
    let mut calls: Vec<Call> = Vec::new();
    let mut unfinished: HashMap<u32, usize> = HashMap::new();
    for line in text.lines() {
        let Some((thread, line)) = line.split_once(' ') else { continue };
        let (thread, line) = (thread.parse().expect("strace -f puts the thread first"), line.trim_start());
        if let Some(resumed) = line.strip_prefix("<... ") {
            if let Some(index) = unfinished.remove(&thread) {
                calls[index].rest += resumed.split_once(" resumed>").expect("what it resumes").1;
            }
        } else if let Some((name, rest)) = line.split_once('(').filter(|(name, _)| is_name(name)) {
            let begun = rest.strip_suffix(" <unfinished ...>");
            if begun.is_some() {
                unfinished.insert(thread, calls.len());
            }
            calls.push(Call { thread, name: name.to_owned(), rest: begun.unwrap_or(rest).to_owned() });
        }
    }
    calls
}

/// How a trace shows that a look at a slow reader has begun. The socket that is kept for other questions does not block.
pub const LOOK: &str = "AF_NETLINK, SOCK_DGRAM|SOCK_CLOEXEC, NETLINK_SOCK_DIAG";

/// The name of a whole question to the kernel over netlink.
const NETLINK: &str = "netlink";

/// The same calls, in which every question of `thread` over netlink is one call: from the questions for the addresses to
/// the close of the netlink socket; and on the socket that is kept for questions about accept queues, which does not block, what
/// is sent and what is received.
pub fn join_netlink(calls: Vec<Call>, thread: u32) -> Vec<Call> {
    let mut joined: Vec<Call> = Vec::new();
    let (mut asked_on, mut kept): (Option<u32>, Option<u32>) = (None, None);
    for call in calls {
        if call.thread != thread {
            joined.push(call);
        } else if let Some(socket) = asked_on {
            let is_over = call.name == "close" && call.descriptor() == Some(socket);
            asked_on = asked_on.filter(|_| !is_over);
        } else if kept.is_some() && call.descriptor() == kept {
            if call.name == "sendto" {
                joined.push(Call { name: NETLINK.to_owned(), ..call });
            }
        } else if call.name == "socket" && call.rest.starts_with("AF_NETLINK") && call.rest.contains("SOCK_NONBLOCK") {
            kept = call.result().and_then(|socket| u32::try_from(socket).ok());
        } else if call.name == "socket" && call.rest.starts_with("AF_NETLINK") {
            asked_on = call.result().and_then(|socket| u32::try_from(socket).ok());
            for of_address in ["getpeername", "getsockname"] {
                joined.pop_if(|before| before.thread == thread && before.name == of_address);
            }
            joined.push(Call { name: NETLINK.to_owned(), ..call });
        } else {
            joined.push(call);
        }
    }
    joined
}

/// Signals and exits are no calls.
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// What a call counts as; an error names what the server does not count.
pub fn kind(call: &Call, eventfd: u32) -> Result<&'static str, &str> {
    Ok(match &*call.name {
        "epoll_wait" | "epoll_pwait" => "epoll_wait",
        "epoll_ctl" => "epoll_ctl",
        "accept4" | "accept" => "accept",
        "connect" => "connect",
        "recvfrom" | "readv" => "read",
        "write" if call.descriptor() == Some(eventfd) => "wake",
        "sendto" | "sendmsg" | "writev" => "write",
        "sendfile" => "sendfile",
        "shutdown" => "shutdown",
        "close" => "close",
        "preadv2" => "preadv2",
        "statx" => "statx",
        "setsockopt" => "setsockopt",
        "ioctl" => "ioctl",
        "clock_gettime" => "clock_gettime",
        NETLINK => "netlink",
        other => return Err(other),
    })
}

#[test]
fn calls_are_put_together_and_told_apart() {
    let text = "\
7 epoll_wait(5, [{events=EPOLLIN, data={u32=1, u64=1}}], 1024, 0) = 1
7 epoll_wait(5,  <unfinished ...>
8 futex(0x1, FUTEX_WAIT_PRIVATE, 0, NULL <unfinished ...>
7 <... epoll_wait resumed>[], 1024, 20) = 0
7 recvfrom(11, \"GET /(\"..., 16384, 0, NULL, NULL) = 36
7 sendfile(11, 13, [1], 196873)           = -1 EAGAIN (Resource temporarily unavailable)
7 epoll_pwait(5, [], 1024, 0, NULL, 8)    = 0
7 --- SIGTERM {si_signo=SIGTERM} ---
7 +++ exited with 0 +++
";
    let calls = parse(text);
    let names: Vec<_> = calls.iter().map(|call| (call.thread, &*call.name, call.result())).collect();
    assert_eq!(
        names,
        [
            (7, "epoll_wait", Some(1)),
            (7, "epoll_wait", Some(0)),
            (8, "futex", None),
            (7, "recvfrom", Some(36)),
            (7, "sendfile", Some(-1)),
            (7, "epoll_pwait", Some(0)),
        ]
    );
    let looks: Vec<bool> = calls.iter().map(Call::only_looked).collect();
    assert_eq!(looks, [true, false, false, false, false, true]);
    assert!(calls[1].timed_out() && !calls[5].timed_out());
    assert!(calls[4].would_block());
    assert_eq!((calls[4].descriptor(), calls[4].last_argument()), (Some(11), Some(196873)));
}

#[test]
fn a_question_over_netlink_is_one_call() {
    let text = "\
7 epoll_wait(5, [], 1024, 250) = 0
7 getsockname(9, {sa_family=AF_INET}, [128 => 16]) = 0
7 getpeername(9, {sa_family=AF_INET}, [128 => 16]) = 0
7 socket(AF_NETLINK, SOCK_DGRAM|SOCK_CLOEXEC, NETLINK_SOCK_DIAG) = 12
7 setsockopt(12, SOL_SOCKET, SO_RCVTIMEO_OLD, \"\", 16) = 0
7 sendto(12, [{nlmsg_len=72}], 72, 0, NULL, 0) = 72
8 close(12) = 0
7 recvfrom(12, [{nlmsg_len=400}], 4096, MSG_TRUNC, NULL, NULL) = 400
7 close(12) = 0
7 close(9) = 0
";
    let calls = join_netlink(parse(text), 7);
    let names: Vec<_> = calls.iter().map(|call| (call.thread, &*call.name)).collect();
    assert_eq!(names, [(7, "epoll_wait"), (7, "netlink"), (8, "close"), (7, "close")]);
}

#[test]
fn a_question_on_the_socket_that_is_kept_is_one_call_too() {
    let text = "\
7 socket(AF_NETLINK, SOCK_DGRAM|SOCK_CLOEXEC|SOCK_NONBLOCK, NETLINK_SOCK_DIAG) = 12
7 recvfrom(9, \"GET\", 16384, 0, NULL, NULL) = 3
7 sendto(12, [{nlmsg_len=72}], 72, 0, NULL, 0) = 72
7 recvfrom(12, [{nlmsg_len=400}], 4096, MSG_TRUNC, NULL, NULL) = 400
7 close(9) = 0
";
    let calls = join_netlink(parse(text), 7);
    let names: Vec<_> = calls.iter().map(|call| &*call.name).collect();
    assert_eq!(names, ["recvfrom", "netlink", "close"]);
}
