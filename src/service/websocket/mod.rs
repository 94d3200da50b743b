//! A WebSocket as a source that takes content: what is the same for every application.
//!
//! `upgrade` answers the request that opens it. From then on the client's bytes are the request's content and ours are
//! the response's, so that backpressure is that of every other response: nothing is taken while too much waits to be
//! sent, and nothing is sent while there is no room for it.

mod gather;
mod origin;
mod outgoing;
mod upgrade;

pub use gather::Gather;
pub use origin::{InvalidOrigin, Origin};
pub use outgoing::Outgoing;
pub use upgrade::{Endpoint, Policy, Subprotocols, upgrade};

use std::fmt;
use std::time::{Duration, Instant};

use log::Level;

use crate::base::ring::Room;
use crate::http::body::{Failure, Pull, Wait};
use crate::http::exchange::{Breach, Cx, Source, Taker};
use crate::http::fields::Fields;
use crate::protocol::ws::close::CloseCode;
use crate::protocol::ws::receiver::{Event, Receiver};
use crate::protocol::ws::{Kind, Violation};
use crate::service::allowance::Allowance;
use crate::service::shares::Share;

/// While more than this waits to be sent, in bytes, nothing is taken.
const OUTGOING_BYTES_MAX: usize = 16 * 1024;
/// The longest part of a message that an application is given, in bytes.
const PART_BYTES_MAX: usize = 16 * 1024;
/// What may be delivered in one turn of the loop beyond what has arrived for it, in bytes. What arrives is bounded by
/// the connection's own budget, but a thousand times as much may come of it, and when that is sent back compressed it
/// fills no buffer that would stop it.
const INFLATED_BYTES_MAX: usize = 16 * 1024;
/// How often a WebSocket without pings is looked at.
const HOUR: Duration = Duration::from_secs(3600);

/// What a WebSocket is for.
pub trait Application {
    /// Until when nothing more may be received, so that others get their turn; `None`: it may.
    fn rests_until(&self, _cx: &Cx<'_>) -> Option<Instant> {
        None
    }

    /// Takes the next part of a message. Called only while little waits to be sent.
    fn receive(&mut self, part: MessagePart<'_>, out: &mut Outgoing, cx: &mut Cx<'_>) -> Result<(), Farewell>;

    /// Adds what else there is to send. Called when everything that was added before has gone, and after each wake.
    fn send(&mut self, _out: &mut Outgoing, _cx: &mut Cx<'_>) -> Result<(), Farewell> {
        Ok(())
    }

    /// Memory for what was received, or is to be sent, and is still kept, in bytes.
    fn kept_bytes(&self) -> usize {
        0
    }
}

/// A part of a message.
#[derive(Debug, Clone, Copy)]
pub struct MessagePart<'a> {
    /// The kind of the message. The content of text is UTF-8, although a part may end inside a character.
    pub kind: Kind,
    /// At most 16 KiB.
    pub content: &'a [u8],
    /// Whether the message ends with it.
    pub end: bool,
}

/// Why an application ends its WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Farewell {
    /// What the Close says.
    pub code: CloseCode,
    /// In words.
    pub reason: &'static str,
}

/// A WebSocket that is open, or closing.
struct WebSocket<A> {
    receiver: Receiver,
    out: Outgoing,
    application: A,
    life: Life,
    /// When the peer last sent anything.
    heard: Instant,
    /// When a Ping was sent since then, if one was.
    asked: Option<Instant>,
    /// Whether what there was to send did not fit.
    blocked: bool,
    /// Until when the application rests.
    rest: Option<Instant>,
    /// What may still be inflated in this turn.
    allowance: Allowance,
    /// Whether there may be more to receive than was received: in the input, or in the decompressor.
    held: bool,
    /// Given back when it ends.
    _share: Option<Share>,
    /// The Close that the peer has sent, and ours, in the order in which they came.
    closes: Vec<SaidClose>,
    /// How it was broken off, if it was.
    breach: Option<Breach>,
}

/// A Close, for the log.
struct SaidClose {
    from: &'static str,
    code: Option<CloseCode>,
    reason: Box<str>,
}

/// How far a WebSocket's life has come. It only moves downwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    /// Messages flow.
    Open,
    /// Our Close is on its way; the peer has until then to answer it (RFC 6455 §7.1.2).
    Closing(Instant),
    /// Nothing more is received; what waits still goes out.
    Over,
}

impl<A: Application> WebSocket<A> {
    fn new(receiver: Receiver, out: Outgoing, application: A, share: Option<Share>, now: Instant) -> WebSocket<A> {
        WebSocket {
            receiver,
            out,
            application,
            life: Life::Open,
            heard: now,
            asked: None,
            blocked: false,
            rest: None,
            allowance: Allowance::new(now),
            held: false,
            _share: share,
            closes: Vec::new(),
            breach: None,
        }
    }

    /// Receives from `input` as long as the application takes it.
    fn receive(&mut self, input: &mut &[u8], cx: &mut Cx<'_>) {
        let mut payload = Vec::new();
        while self.may_receive(cx) {
            let before = input.len();
            match self.receiver.receive(input, &mut payload, PART_BYTES_MAX) {
                Ok(Event::NeedBytes) => {
                    self.held = false;
                    return;
                }
                Ok(Event::Part { kind, end }) => {
                    self.allowance.spend(payload.len().saturating_sub(before - input.len()));
                    self.on_part(MessagePart { kind, content: &payload, end }, cx);
                }
                Ok(Event::Ping(payload)) if self.life == Life::Open => self.out.pong(payload),
                Ok(Event::Ping(_) | Event::Pong) => {}
                Ok(Event::Close(code)) => self.on_close(code),
                Err(violation) => self.on_violation(violation, cx),
            }
            self.held = true;
        }
        self.held |= !input.is_empty();
        if self.life == Life::Over {
            *input = &[];
        }
    }

    fn may_receive(&mut self, cx: &Cx<'_>) -> bool {
        self.rest = (self.life == Life::Open).then(|| self.application.rests_until(cx)).flatten();
        let is_its_turn = self.rest.is_none() && self.allowance.left(INFLATED_BYTES_MAX, cx.now) > 0;
        self.life != Life::Over && is_its_turn && self.out.len() < OUTGOING_BYTES_MAX
    }

    fn on_part(&mut self, part: MessagePart<'_>, cx: &mut Cx<'_>) {
        if self.life == Life::Open
            && let Err(farewell) = self.application.receive(part, &mut self.out, cx)
        {
            self.close(farewell, cx);
        }
    }

    /// RFC 6455 §5.5.1: a Close is answered by one, usually with the same code.
    fn on_close(&mut self, code: Option<CloseCode>) {
        self.closes.push(SaidClose { from: "client", code, reason: self.receiver.close_reason().into() });
        if self.life == Life::Open {
            self.say_close(code, "");
        }
        self.life = Life::Over;
    }

    fn say_close(&mut self, code: Option<CloseCode>, reason: &str) {
        self.out.close(code, reason);
        self.closes.push(SaidClose { from: "server", code, reason: reason.into() });
    }

    /// RFC 6455 §7.1.7: nothing of what follows can be trusted.
    fn on_violation(&mut self, violation: Violation, cx: &Cx<'_>) {
        cx.complain(Level::Info, format_args!("WebSocket closed with {}: {violation}", violation.code));
        if self.life == Life::Open {
            self.say_close(Some(violation.code), violation.reason);
        }
        self.breach = Some(Breach::Violation);
        self.life = Life::Over;
    }

    fn on_life(&mut self, cx: &Cx<'_>) {
        (self.heard, self.asked) = (cx.now, None);
    }

    fn close(&mut self, farewell: Farewell, cx: &Cx<'_>) {
        if self.life == Life::Open {
            self.say_close(Some(farewell.code), farewell.reason);
            self.life = Life::Closing(cx.now + cx.limits.ws_close_timeout);
        }
    }

    /// Acts on what does not come from the peer's frames: the clock, and the order to stop.
    fn tend(&mut self, cx: &Cx<'_>) {
        if cx.draining {
            self.close(Farewell { code: CloseCode::GOING_AWAY, reason: "the server stops" }, cx);
        }
        match self.life {
            Life::Open if cx.now < self.patience(cx) => {}
            Life::Open if self.asked.is_some() => {
                cx.complain(Level::Info, format_args!("WebSocket closed: no sign of life"));
                self.say_close(Some(CloseCode::UNEXPECTED), "no answer to a ping");
                self.breach = Some(Breach::Silence);
                self.life = Life::Over;
            }
            Life::Open => {
                self.out.ping();
                self.asked = Some(cx.now);
            }
            Life::Closing(deadline) if deadline <= cx.now => self.life = Life::Over,
            Life::Closing(_) | Life::Over => {}
        }
    }

    /// How long the silence may last before something is done about it: one interval, and another for the answer.
    fn patience(&self, cx: &Cx<'_>) -> Instant {
        match cx.limits.ws_ping_interval {
            Duration::ZERO => cx.now + HOUR,
            interval => self.asked.unwrap_or(self.heard) + interval,
        }
    }

    /// Asks the application for more, and takes what the receiver holds back since there was no room for it.
    fn refill(&mut self, cx: &mut Cx<'_>) {
        if self.life == Life::Open
            && let Err(farewell) = self.application.send(&mut self.out, cx)
        {
            self.close(farewell, cx);
        }
        self.receive(&mut &[][..], cx);
    }

    fn next_wait(&mut self, cx: &Cx<'_>) -> Wait {
        if self.held && self.allowance.left(INFLATED_BYTES_MAX, cx.now) == 0 {
            // Nothing else may ever wake it for what it holds back itself.
            cx.local_waker().wake_in_next_turn();
        }
        Wait::Idle(match self.life {
            Life::Closing(deadline) => deadline,
            // Without anything to receive after it, the end of the rest changes nothing.
            Life::Open | Life::Over => {
                self.rest.filter(|_| self.held).into_iter().fold(self.patience(cx), Instant::min)
            }
        })
    }
}

impl fmt::Display for SaidClose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code {
            Some(code) => write!(f, "{code} from the {}", self.from)?,
            None => write!(f, "without a code from the {}", self.from)?,
        }
        if self.reason.is_empty() { Ok(()) } else { write!(f, " ({})", self.reason) }
    }
}

impl<A: Application> Taker for WebSocket<A> {
    fn take(&mut self, content: &[u8], cx: &mut Cx<'_>) -> Result<usize, Failure> {
        self.on_life(cx);
        let mut rest = content;
        self.receive(&mut rest, cx);
        Ok(content.len() - rest.len())
    }

    /// The peer has ended its direction without a Close, or after one: there is nobody to talk to (RFC 6455 §7.1.5).
    fn end(&mut self, _trailers: Fields<'_>, _cx: &mut Cx<'_>) -> Result<(), Failure> {
        if self.life != Life::Over {
            self.breach = Some(Breach::Unfinished);
        }
        self.life = Life::Over;
        Ok(())
    }

    fn kept_bytes(&self) -> usize {
        self.receiver.memory_bytes() + self.out.memory_bytes() + self.application.kept_bytes()
    }
}

impl<A: Application> Source for WebSocket<A> {
    fn length(&self) -> Option<u64> {
        None
    }

    /// Both Closes with their codes and reasons (RFC 6455 §7.1.5, §7.1.6).
    fn farewell(&self) -> Option<String> {
        let said: Vec<String> = self.closes.iter().map(SaidClose::to_string).collect();
        Some(if said.is_empty() { "no Close".to_owned() } else { format!("Close {}", said.join(", ")) })
    }

    fn breach(&self) -> Option<Breach> {
        self.breach
    }

    fn pull(&mut self, room: &mut Room<'_>, cx: &mut Cx<'_>) -> Result<Pull, Failure> {
        // Room has appeared where there was none: somebody reads.
        if std::mem::take(&mut self.blocked) {
            self.on_life(cx);
        }
        self.tend(cx);
        loop {
            self.out.flow(room);
            if !self.out.is_empty() {
                self.blocked = true;
                return Ok(Pull::More);
            }
            self.refill(cx);
            match self.life {
                _ if !self.out.is_empty() => {}
                Life::Over => return Ok(Pull::End),
                Life::Open | Life::Closing(_) => return Ok(Pull::Pending(self.next_wait(cx))),
            }
        }
    }

    fn taker(&mut self) -> Option<&mut dyn Taker> {
        Some(self)
    }
}

#[cfg(test)]
mod tests;
