//! Whether a request that has failed may be sent once more. It may if that is provably safe: the upstream cannot see it
//! twice, or seeing it twice has the same effect (RFC 9110 §9.2.2), and the client has got no byte of a response.
//!
//! | the attempt | the proof |
//! |---|---|
//! | The connection was refused. | [`Proof::ConnectRefused`] |
//! | The kernel has taken no byte of the request: no route, no connection in time, no TLS, or a reused connection that had ended. | [`Proof::NothingWritten`] |
//! | A reused connection ended with no byte of response, and the method is idempotent. | [`Proof::ReusedEof`] |
//! | Anything else. | none |
//!
//! A connection that is new and ends without a response is no proof: an upstream that crashes over a request would crash
//! over it once more. A timeout is none either: the upstream may still be at work.
//!
//! A connection that was not made in time, and a certificate that was refused, would end in the same way at the same address.
//! After these only another address is tried.

use std::fmt;

use super::budget::Budget;
use crate::base::moment::Moment;
use crate::http::method::Method;
use crate::observe::upstream::{Failure, Proof};

/// What has become of a request that was sent, or was to be sent, to an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// How it failed.
    pub failure: Failure,
    /// Whether the same address would fail in the same way once more, or take as long to.
    pub is_lasting: bool,
    /// Whether the request was sent once more already.
    pub is_retry: bool,
    /// Whether the connection had served a request before.
    pub is_reused: bool,
    /// How many bytes of the request the kernel has taken, or TLS.
    pub written: u64,
    /// How many bytes have come in response, those of interim responses included.
    pub received: u64,
}

/// Why a request is not sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It was sent twice already.
    AlreadyRetried,
    /// Part of a response has come.
    ResponseBegun,
    /// Its content is no longer whole in memory.
    ContentGone,
    /// The connection was a new one: the upstream may have ended it because of the request.
    NewConnection,
    /// The method is not idempotent: the upstream may have done what it asks for.
    NotIdempotent,
    /// The upstream may still be at work on it.
    StillUnderWay,
    /// The address would fail in the same way, and no other one has room.
    NoOtherAddress,
    /// Too many requests were sent again in the last seconds.
    OverBudget,
}

impl Refusal {
    /// All of them.
    pub const ALL: [Refusal; 8] = [
        Refusal::AlreadyRetried,
        Refusal::ResponseBegun,
        Refusal::ContentGone,
        Refusal::NewConnection,
        Refusal::NotIdempotent,
        Refusal::StillUnderWay,
        Refusal::NoOtherAddress,
        Refusal::OverBudget,
    ];

    /// Its name, for logs.
    pub fn name(self) -> &'static str {
        match self {
            Refusal::AlreadyRetried => "already-retried",
            Refusal::ResponseBegun => "response-begun",
            Refusal::ContentGone => "content-gone",
            Refusal::NewConnection => "new-connection",
            Refusal::NotIdempotent => "not-idempotent",
            Refusal::StillUnderWay => "still-under-way",
            Refusal::NoOtherAddress => "no-other-address",
            Refusal::OverBudget => "over-budget",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Decides, and takes the retry out of the budget if there is to be one. `is_replayable` tells whether the content that the
/// client has sent so far is still there from its first byte on; it is if there is none. `has_other`: another address has room.
pub fn may_retry(
    method: Method,
    attempt: &Attempt,
    is_replayable: bool,
    has_other: bool,
    budget: &mut Budget,
    now: Moment,
) -> Result<Proof, Refusal> {
    let proof = proof(method, attempt, is_replayable)?;
    if attempt.is_lasting && !has_other {
        return Err(Refusal::NoOtherAddress);
    }
    if budget.take(now) { Ok(proof) } else { Err(Refusal::OverBudget) }
}

fn proof(method: Method, attempt: &Attempt, is_replayable: bool) -> Result<Proof, Refusal> {
    let Attempt { failure, is_retry, is_reused, written, received, .. } = *attempt;
    match failure {
        _ if is_retry => Err(Refusal::AlreadyRetried),
        _ if received > 0 => Err(Refusal::ResponseBegun),
        _ if !is_replayable => Err(Refusal::ContentGone),
        Failure::Refused if written == 0 => Ok(Proof::ConnectRefused),
        _ if written == 0 => Ok(Proof::NothingWritten),
        Failure::Closed | Failure::Reset if !is_reused => Err(Refusal::NewConnection),
        Failure::Closed | Failure::Reset if !method.is_idempotent() => Err(Refusal::NotIdempotent),
        Failure::Closed | Failure::Reset => Ok(Proof::ReusedEof),
        // The others do not occur after a byte of the request, or without one of a response.
        _ => Err(Refusal::StillUnderWay),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAILURES: [Failure; Failure::KINDS] = [
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

    /// A request whose first byte was written to a reused connection, which then ended.
    const ENDED: Attempt = Attempt {
        failure: Failure::Closed,
        is_lasting: false,
        is_retry: false,
        is_reused: true,
        written: 1,
        received: 0,
    };

    fn decide(method: &str, attempt: Attempt, is_replayable: bool) -> Result<Proof, Refusal> {
        let method = Method::from_token(method.as_bytes()).unwrap();
        may_retry(method, &attempt, is_replayable, false, &mut Budget::default(), Moment::default())
    }

    #[test]
    fn every_line_of_the_table() {
        let refused = Attempt { failure: Failure::Refused, is_reused: false, written: 0, ..ENDED };
        let unwritten = Attempt { written: 0, ..ENDED };
        let lines = [
            ("POST", refused, Ok(Proof::ConnectRefused)),
            ("POST", Attempt { failure: Failure::ConnectTimeout, ..refused }, Ok(Proof::NothingWritten)),
            ("POST", Attempt { failure: Failure::Unreachable, ..refused }, Ok(Proof::NothingWritten)),
            ("POST", Attempt { failure: Failure::Tls, ..refused }, Ok(Proof::NothingWritten)),
            ("POST", unwritten, Ok(Proof::NothingWritten)),
            ("GET", ENDED, Ok(Proof::ReusedEof)),
            ("GET", Attempt { failure: Failure::Reset, ..ENDED }, Ok(Proof::ReusedEof)),
            ("GET", Attempt { is_reused: false, ..ENDED }, Err(Refusal::NewConnection)),
            ("POST", ENDED, Err(Refusal::NotIdempotent)),
            ("GET", Attempt { failure: Failure::Timeout, ..ENDED }, Err(Refusal::StillUnderWay)),
            ("GET", Attempt { received: 1, ..ENDED }, Err(Refusal::ResponseBegun)),
            ("GET", Attempt { failure: Failure::Malformed, received: 1, ..ENDED }, Err(Refusal::ResponseBegun)),
            ("GET", Attempt { is_retry: true, ..refused }, Err(Refusal::AlreadyRetried)),
        ];
        for (method, attempt, expected) in lines {
            assert_eq!(decide(method, attempt, true), expected, "{method} {attempt:?}");
        }
        assert_eq!(decide("GET", ENDED, false), Err(Refusal::ContentGone));
    }

    /// The rule in other words, over everything that can be.
    #[test]
    fn every_attempt_is_sent_again_exactly_if_the_rule_allows_it() {
        let bits = 0..16_u32;
        for (failure, bits) in FAILURES.into_iter().flat_map(|failure| bits.clone().map(move |bits| (failure, bits))) {
            let [is_retry, is_reused, is_written, is_received] = [1, 2, 4, 8].map(|bit| bits & bit != 0);
            let (written, received) = (u64::from(is_written) * 9, u64::from(is_received));
            let attempt = Attempt { failure, is_lasting: false, is_retry, is_reused, written, received };
            for (method, is_idempotent) in IDEMPOTENCE {
                for is_replayable in [false, true] {
                    let ended = matches!(failure, Failure::Closed | Failure::Reset);
                    let is_safe = !is_written || (ended && is_reused && is_idempotent);
                    let expected = is_safe && is_replayable && !is_received && !is_retry;
                    let decision = decide(method, attempt, is_replayable);
                    assert_eq!(decision.is_ok(), expected, "{method} {attempt:?} {is_replayable}: {decision:?}");
                }
            }
        }
    }

    const IDEMPOTENCE: [(&str, bool); 11] = [
        ("GET", true),
        ("HEAD", true),
        ("OPTIONS", true),
        ("TRACE", true),
        ("PUT", true),
        ("DELETE", true),
        ("POST", false),
        ("PATCH", false),
        ("CONNECT", false),
        ("BREW", false),
        ("get", false),
    ];

    #[test]
    fn only_what_is_sent_again_costs_budget() {
        let (mut budget, now) = (Budget::default(), Moment::default());
        let mut decide = |attempt: &Attempt| may_retry(Method::Get, attempt, true, true, &mut budget, now);
        let timeout = Attempt { failure: Failure::Timeout, ..ENDED };
        (0..100).for_each(|_| assert_eq!(decide(&timeout), Err(Refusal::StillUnderWay)));
        (0..100).for_each(|_| assert_eq!(decide(&ENDED), Ok(Proof::ReusedEof)));
        assert_eq!(decide(&ENDED), Err(Refusal::OverBudget));
        assert_eq!(decide(&timeout), Err(Refusal::StillUnderWay));
    }

    #[test]
    fn what_would_fail_in_the_same_way_is_tried_at_another_address_only() {
        let (mut budget, now) = (Budget::default(), Moment::default());
        let attempt = Attempt { failure: Failure::ConnectTimeout, is_lasting: true, written: 0, ..ENDED };
        let mut decide = |has_other| may_retry(Method::Get, &attempt, true, has_other, &mut budget, now);
        assert_eq!((decide(false), decide(true)), (Err(Refusal::NoOtherAddress), Ok(Proof::NothingWritten)));
    }

    #[test]
    fn proofs_and_refusals_are_printed_by_their_names() {
        let names = Proof::ALL.map(|proof| format!("retry={proof}"));
        assert_eq!(names, ["retry=connect-refused", "retry=nothing-written", "retry=reused-eof-0B"]);
        let refusals = Refusal::ALL.map(|refusal| refusal.to_string());
        let expected = "already-retried response-begun content-gone new-connection not-idempotent still-under-way no-other-address \
             over-budget";
        assert_eq!(refusals.join(" "), expected);
    }
}
