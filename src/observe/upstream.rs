//! Upstreams in numbers and reasons: why a request failed at an address, why it could be sent again, and how the addresses
//! of a group stand.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use super::histogram::Histogram;

/// Why an address has failed a request or a check. What fails on our side, for want of descriptors or of local ports, is
/// none of these: it says nothing about the address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Nobody listens there: ECONNREFUSED.
    Refused,
    /// No way leads there: EHOSTUNREACH, ENETUNREACH.
    Unreachable,
    /// It was not connected in time.
    ConnectTimeout,
    /// The TLS handshake failed.
    Tls,
    /// It ended the connection before the response was whole.
    Closed,
    /// It reset the connection before the response was whole: ECONNRESET, EPIPE.
    Reset,
    /// It sent nothing, or took nothing, for too long.
    Timeout,
    /// What it sent is no valid response.
    Malformed,
    /// A check got this status, and another was expected.
    Status(u16),
}

impl Failure {
    /// How many kinds there are.
    pub const KINDS: usize = 9;

    /// The names of the kinds, in their order.
    pub const NAMES: [&str; Failure::KINDS] =
        ["refused", "unreachable", "connect-timeout", "tls", "closed", "reset", "timeout", "malformed", "status"];

    /// The place of its kind among [`Failure::NAMES`].
    pub fn kind(self) -> usize {
        match self {
            Failure::Refused => 0,
            Failure::Unreachable => 1,
            Failure::ConnectTimeout => 2,
            Failure::Tls => 3,
            Failure::Closed => 4,
            Failure::Reset => 5,
            Failure::Timeout => 6,
            Failure::Malformed => 7,
            Failure::Status(_) => 8,
        }
    }

    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        Failure::NAMES[self.kind()]
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Failure::Refused => "connection refused",
            Failure::Unreachable => "unreachable",
            Failure::ConnectTimeout => "not connected in time",
            Failure::Tls => "TLS handshake failed",
            Failure::Closed => "connection closed early",
            Failure::Reset => "connection reset",
            Failure::Timeout => "no answer in time",
            Failure::Malformed => "invalid response",
            Failure::Status(status) => return write!(f, "status {status}"),
        })
    }
}

/// Why it was safe to send a request again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// The connection was refused, so that nobody has seen the request.
    ConnectRefused,
    /// The kernel had taken no byte of the request.
    NothingWritten,
    /// A reused connection ended with no byte of response, and the method is idempotent.
    ReusedEof,
}

impl Proof {
    /// All of them.
    pub const ALL: [Proof; 3] = [Proof::ConnectRefused, Proof::NothingWritten, Proof::ReusedEof];

    /// As it is printed: the value of `retry=` in the access log.
    pub fn name(self) -> &'static str {
        match self {
            Proof::ConnectRefused => "connect-refused",
            Proof::NothingWritten => "nothing-written",
            Proof::ReusedEof => "reused-eof-0B",
        }
    }
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What is counted at one address.
#[derive(Debug, Clone, Default)]
pub struct AddressCounters {
    /// Requests that were given to it; one that is sent again counts again.
    pub requests: u64,
    /// Connections that were made to it.
    pub connections_made: u64,
    /// Requests that got a connection which had served others.
    pub connections_reused: u64,
    /// Failures, by their kind.
    pub failures: [u64; Failure::KINDS],
    /// Requests that failed here and were sent again, by the proof that this was safe, in the order of [`Proof::ALL`].
    pub retries: [u64; Proof::ALL.len()],
    /// How often it was ejected.
    pub ejections: u64,
    /// From asking for a connection until it is there, without TLS.
    pub connect: Histogram,
    /// From the last byte of a request to the first of its response.
    pub first_byte: Histogram,
}

impl AddressCounters {
    /// Counts a failure.
    pub fn count_failure(&mut self, failure: Failure) {
        self.failures[failure.kind()] += 1;
    }

    /// Counts a request that failed here and is sent again.
    pub fn count_retry(&mut self, proof: Proof) {
        self.retries[proof as usize] += 1;
    }

    /// Counts what another has counted, too.
    pub fn add(&mut self, other: &AddressCounters) {
        self.requests += other.requests;
        self.connections_made += other.connections_made;
        self.connections_reused += other.connections_reused;
        self.failures.iter_mut().zip(other.failures).for_each(|(sum, count)| *sum += count);
        self.retries.iter_mut().zip(other.retries).for_each(|(sum, count)| *sum += count);
        self.ejections += other.ejections;
        self.connect.add(&other.connect);
        self.first_byte.add(&other.first_byte);
    }
}

/// Whether an address gets requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It does, with this share of what the others get, in percent.
    InService(u32),
    /// It was ejected, for so long still; then it gets a probe.
    Out(Duration),
    /// Its probe is under way.
    Probing,
    /// It fails the checks.
    Down,
    /// Its name leads elsewhere by now; it has requests that began before.
    Leaving,
}

impl Standing {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Standing::InService(_) => "in-service",
            Standing::Out(_) => "out",
            Standing::Probing => "probing",
            Standing::Down => "down",
            Standing::Leaving => "leaving",
        }
    }
}

/// One address of a group.
#[derive(Debug, Clone)]
pub struct AddressStatus {
    /// The address.
    pub address: SocketAddr,
    /// The upstream that it belongs to, by its place in the group.
    pub upstream: usize,
    /// Whether it gets requests.
    pub standing: Standing,
    /// How many requests it has at the moment.
    pub active: u32,
    /// Failures since the last success.
    pub failures_in_a_row: u32,
    /// Its last failure, and how long ago that was.
    pub last_failure: Option<(Failure, Duration)>,
    /// What was counted.
    pub counters: AddressCounters,
}

/// One upstream of a group.
#[derive(Debug, Clone)]
pub struct UpstreamStatus {
    /// Its name with the port, as it was configured.
    pub name: String,
    /// Why its name cannot be resolved at present, if so. Addresses that were known before stay in use.
    pub unresolved: Option<Box<str>>,
    /// What was counted at addresses that it has no longer.
    pub gone: AddressCounters,
}

/// One group: the upstreams that share the requests of a route.
#[derive(Debug, Clone)]
pub struct GroupStatus {
    /// What names it.
    pub name: String,
    /// How requests are shared out.
    pub balance: &'static str,
    /// How many requests an address may have at a time; `None`: any number.
    pub max: Option<u32>,
    /// Requests that wait until an address has room.
    pub waiting: usize,
    /// Connections that wait for a request.
    pub idle: usize,
    /// Requests that got no address so far: none was known, or none had room in time.
    pub refused: u64,
    /// Requests and retries of the last seconds, and how many retries the budget has refused so far.
    pub budget: BudgetStatus,
    /// Its upstreams.
    pub upstreams: Vec<UpstreamStatus>,
    /// Their addresses.
    pub addresses: Vec<AddressStatus>,
}

/// How a retry budget stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BudgetStatus {
    /// Requests in the window.
    pub requests: u64,
    /// Retries in the window.
    pub retries: u64,
    /// How many retries the window allows.
    pub allowed: u64,
    /// Retries that were refused since the beginning.
    pub refused: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_failure_has_its_own_place_and_name() {
        let all = [
            Failure::Refused,
            Failure::Unreachable,
            Failure::ConnectTimeout,
            Failure::Tls,
            Failure::Closed,
            Failure::Reset,
            Failure::Timeout,
            Failure::Malformed,
            Failure::Status(500),
        ];
        let kinds: Vec<usize> = all.iter().map(|failure| failure.kind()).collect();
        assert_eq!(kinds, (0..Failure::KINDS).collect::<Vec<_>>());
        assert_eq!((Failure::Refused.name(), Failure::Status(503).name()), ("refused", "status"));
        assert_eq!(Failure::Status(503).to_string(), "status 503");
    }

    #[test]
    fn counters_add_up() {
        let mut one = AddressCounters { requests: 1, ejections: 2, ..AddressCounters::default() };
        one.count_failure(Failure::Malformed);
        one.count_retry(Proof::ReusedEof);
        one.connect.record(Duration::from_millis(3));
        let mut both = one.clone();
        both.add(&one);
        assert_eq!((both.requests, both.ejections, both.failures[7], both.retries), (2, 4, 2, [0, 0, 2]));
        assert_eq!((both.connect.count(), both.first_byte.count()), (2, 0));
    }
}
