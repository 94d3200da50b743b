//! The states of a stream (RFC 9113 §5.1) as a table. The reserved states do not occur: clients must not push, and this
//! server does not.

use super::error::Fault;

/// Where a stream stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It has not begun.
    Idle,
    /// Both sides send.
    Open,
    /// We have ended our side.
    HalfClosedLocal,
    /// The client has ended its side.
    HalfClosedRemote,
    /// Nothing more is sent, but frames may still be under way.
    Closed(Ending),
}

/// How a stream was closed. It decides about frames that come late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Both sides have ended theirs.
    Ended,
    /// The client has sent RST_STREAM.
    ResetByPeer,
    /// We have sent RST_STREAM. The client may have sent anything before it knew.
    ResetByUs,
    /// Nobody remembers. It was closed long ago, or skipped: a higher identifier was used first (§5.1.1).
    Forgotten,
}

/// What arrives for a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// A field section.
    Headers {
        /// Nothing follows.
        end_stream: bool,
    },
    /// Content.
    Data {
        /// Nothing follows.
        end_stream: bool,
    },
    /// A dependency.
    Priority,
    /// The end.
    RstStream,
    /// More may be sent.
    WindowUpdate,
}

/// What we send on a stream, as far as it changes its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// A frame with END_STREAM.
    EndStream,
    /// RST_STREAM.
    RstStream,
}

/// A frame that does not fit to the state of its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Misfit {
    /// It was under way when the stream was closed. It is ignored; fields are decoded and windows are counted all the same.
    Late,
    /// The stream ends.
    Stream(Fault),
    /// The connection ends.
    Connection(Fault),
}

impl State {
    /// The state behind a frame that has arrived.
    ///
    /// # Errors
    /// The frame does not fit. The state remains.
    pub fn receive(self, frame: Received) -> Result<State, Misfit> {
        use Received::{Data, Headers, Priority, RstStream, WindowUpdate};
        match (self, frame) {
            (State::Idle, Headers { end_stream: false }) => Ok(State::Open),
            (State::Idle, Headers { end_stream: true }) => Ok(State::HalfClosedRemote),
            (State::Idle, Priority) => Ok(self),
            (State::Idle, Data { .. } | RstStream | WindowUpdate) => Err(Misfit::Connection(ON_IDLE)),

            (State::Open, Headers { end_stream: true } | Data { end_stream: true }) => Ok(State::HalfClosedRemote),
            (State::HalfClosedLocal, Headers { end_stream: true } | Data { end_stream: true }) => {
                Ok(State::Closed(Ending::Ended))
            }
            (State::Open | State::HalfClosedLocal, Headers { .. } | Data { .. } | Priority | WindowUpdate) => Ok(self),

            (State::HalfClosedRemote, Headers { .. } | Data { .. }) => Err(Misfit::Stream(BEHIND_ITS_END)),
            (State::HalfClosedRemote, Priority | WindowUpdate) => Ok(self),

            (State::Open | State::HalfClosedLocal | State::HalfClosedRemote, RstStream) => {
                Ok(State::Closed(Ending::ResetByPeer))
            }

            (State::Closed(Ending::ResetByUs), _) => Err(Misfit::Late),
            (State::Closed(_), Priority | RstStream | WindowUpdate) => Err(Misfit::Late),
            (State::Closed(Ending::Forgotten), Headers { .. }) => Err(Misfit::Connection(NOT_RISING)),
            (State::Closed(_), Headers { .. } | Data { .. }) => Err(Misfit::Connection(ON_CLOSED)),
        }
    }

    /// The state behind a frame that we send.
    pub fn send(self, frame: Sent) -> State {
        match (self, frame) {
            (State::Idle | State::Closed(_), _) => {
                debug_assert!(false, "{frame:?} is sent in state {self:?}");
                self
            }
            (_, Sent::RstStream) => State::Closed(Ending::ResetByUs),
            (State::HalfClosedRemote, Sent::EndStream) => State::Closed(Ending::Ended),
            (State::Open | State::HalfClosedLocal, Sent::EndStream) => State::HalfClosedLocal,
        }
    }

    /// Its name in RFC 9113 §5.1.
    pub fn name(self) -> &'static str {
        match self {
            State::Idle => "idle",
            State::Open => "open",
            State::HalfClosedLocal => "half-closed (local)",
            State::HalfClosedRemote => "half-closed (remote)",
            State::Closed(_) => "closed",
        }
    }

    /// Whether the client may still send content or trailers.
    pub fn peer_may_send(self) -> bool {
        matches!(self, State::Open | State::HalfClosedLocal)
    }

    /// Whether we may still send content or trailers.
    pub fn we_may_send(self) -> bool {
        matches!(self, State::Open | State::HalfClosedRemote)
    }
}

const ON_IDLE: Fault = Fault::protocol("a frame on a stream that has not begun", "RFC 9113 §5.1");
const BEHIND_ITS_END: Fault = Fault::stream_closed("a frame behind END_STREAM", "RFC 9113 §5.1");
const ON_CLOSED: Fault = Fault::stream_closed("a frame on a closed stream", "RFC 9113 §5.1");
const NOT_RISING: Fault = Fault::protocol("a stream identifier that is not higher than all before", "RFC 9113 §5.1.1");

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::super::error::ErrorCode;
    use super::*;

    /// The figure in §5.1, and the text below it, without what only concerns push. `H` HEADERS, `D` DATA, `P` PRIORITY, `R`
    /// RST_STREAM, `W` WINDOW_UPDATE; `ES` has END_STREAM. `late` is ignored, an error of a stream is `s`, of the
    /// connection `c`. Not written: it stays as it is.
    const FIGURE: &str = "
        idle:          H open, H+ES half-closed (remote), D c:PROTOCOL_ERROR, D+ES c:PROTOCOL_ERROR,
                       R c:PROTOCOL_ERROR, W c:PROTOCOL_ERROR
        open:          H+ES half-closed (remote), D+ES half-closed (remote), R reset-by-peer,
                       send-ES half-closed-local, send-R reset-by-us
        half-closed-local: H+ES ended, D+ES ended, R reset-by-peer, send-R reset-by-us
        half-closed (remote): H s:STREAM_CLOSED, H+ES s:STREAM_CLOSED, D s:STREAM_CLOSED, D+ES s:STREAM_CLOSED,
                       R reset-by-peer, send-ES ended, send-R reset-by-us
        ended:         H c:STREAM_CLOSED, H+ES c:STREAM_CLOSED, D c:STREAM_CLOSED, D+ES c:STREAM_CLOSED,
                       P late, R late, W late
        reset-by-peer: H c:STREAM_CLOSED, H+ES c:STREAM_CLOSED, D c:STREAM_CLOSED, D+ES c:STREAM_CLOSED,
                       P late, R late, W late
        reset-by-us:   H late, H+ES late, D late, D+ES late, P late, R late, W late
        forgotten:     H c:PROTOCOL_ERROR, H+ES c:PROTOCOL_ERROR, D c:STREAM_CLOSED, D+ES c:STREAM_CLOSED,
                       P late, R late, W late";

    fn figure() -> BTreeMap<(String, String), String> {
        let mut table = BTreeMap::new();
        let mut state = String::new();
        for line in FIGURE.lines() {
            let (name, rest) = line.trim().split_once(": ").unwrap_or(("", line.trim()));
            if !name.is_empty() {
                state = name.to_string();
            }
            for rule in rest.split(',').map(str::trim).filter(|rule| !rule.is_empty()) {
                let (event, result) = rule.split_once(' ').expect("an event and a result");
                table.insert((state.clone(), event.to_string()), result.trim().to_string());
            }
        }
        table
    }

    fn name(state: State) -> &'static str {
        match state {
            State::Idle => "idle",
            State::Open => "open",
            State::HalfClosedLocal => "half-closed-local",
            State::HalfClosedRemote => "half-closed (remote)",
            State::Closed(Ending::Ended) => "ended",
            State::Closed(Ending::ResetByPeer) => "reset-by-peer",
            State::Closed(Ending::ResetByUs) => "reset-by-us",
            State::Closed(Ending::Forgotten) => "forgotten",
        }
    }

    /// One event, applied to a state, in the words of the figure.
    fn apply(state: &mut State, event: &str) -> String {
        let received = match event {
            "H" | "H+ES" => Received::Headers { end_stream: event == "H+ES" },
            "D" | "D+ES" => Received::Data { end_stream: event == "D+ES" },
            "P" => Received::Priority,
            "R" => Received::RstStream,
            "W" => Received::WindowUpdate,
            "send-ES" => {
                *state = state.send(Sent::EndStream);
                return name(*state).to_string();
            }
            _ => {
                *state = state.send(Sent::RstStream);
                return name(*state).to_string();
            }
        };
        match state.receive(received) {
            Ok(next) => {
                *state = next;
                name(next).to_string()
            }
            Err(Misfit::Late) => "late".to_string(),
            Err(Misfit::Stream(fault)) => format!("s:{}", fault.code),
            Err(Misfit::Connection(fault)) => format!("c:{}", fault.code),
        }
    }

    const EVENTS: [&str; 9] = ["H", "H+ES", "D", "D+ES", "P", "R", "W", "send-ES", "send-R"];
    const STATES: [State; 8] = [
        State::Idle,
        State::Open,
        State::HalfClosedLocal,
        State::HalfClosedRemote,
        State::Closed(Ending::Ended),
        State::Closed(Ending::ResetByPeer),
        State::Closed(Ending::ResetByUs),
        State::Closed(Ending::Forgotten),
    ];

    /// We send nothing on streams that have not begun or are closed, and end our side once.
    fn may_happen(state: State, event: &str) -> bool {
        match event {
            "send-ES" => state.we_may_send(),
            "send-R" => !matches!(state, State::Idle | State::Closed(_)),
            _ => true,
        }
    }

    #[test]
    fn every_state_and_every_event_are_as_in_the_figure() {
        let figure = figure();
        for state in STATES {
            for event in EVENTS.into_iter().filter(|event| may_happen(state, event)) {
                let key = (name(state).to_string(), event.to_string());
                let expected = figure.get(&key).map_or(name(state), String::as_str);
                assert_eq!(apply(&mut state.clone(), event), expected, "{event} in {}", name(state));
            }
        }
    }

    #[test]
    fn only_the_two_refusals_of_a_closed_stream_differ_by_what_is_remembered() {
        let refused = |ending| State::Closed(ending).receive(Received::Headers { end_stream: true });
        let code = |misfit| match misfit {
            Err(Misfit::Connection(fault)) => fault.code,
            other => panic!("{other:?}"),
        };
        assert_eq!(code(refused(Ending::Ended)), ErrorCode::STREAM_CLOSED);
        assert_eq!(code(refused(Ending::Forgotten)), ErrorCode::PROTOCOL_ERROR);
    }

    proptest! {
        #[test]
        fn a_life_follows_the_figure_and_ends_only_once(events in prop::collection::vec(0..EVENTS.len(), 0..30)) {
            let figure = figure();
            let mut state = State::Idle;
            for event in events.into_iter().map(|index| EVENTS[index]) {
                if !may_happen(state, event) {
                    continue;
                }
                let before = state;
                let key = (name(state).to_string(), event.to_string());
                let expected = figure.get(&key).cloned().unwrap_or_else(|| name(state).to_string());
                prop_assert_eq!(apply(&mut state, event), expected);
                let was_closed = matches!(before, State::Closed(_));
                prop_assert!(!was_closed || state == before);
                prop_assert!(before.peer_may_send() || before == State::Idle || !state.peer_may_send());
            }
        }
    }
}
