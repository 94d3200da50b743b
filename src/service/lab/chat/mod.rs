//! `GET /ws/chat?room=NAME&name=NAME`: chat rooms. Every member may send, and all members of the room receive it.
//!
//! A message is encoded once, and all members of the room share its bytes. Each member has a mailbox of bounded size. A
//! member whose mailbox overflows is closed. It does not delay the others.

mod room;
#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use log::Level;

use super::arguments::Argument;
use crate::base::json::Object;
use crate::base::limits::{WS_MESSAGE_BYTES_LIMIT, WS_QUEUE_BYTES};
use crate::http::exchange::{Cx, Reply};
use crate::http::message::{RequestHead, Response};
use crate::http::status::Status;
use crate::protocol::ws::Kind;
use crate::protocol::ws::close::CloseCode;
use crate::protocol::ws::sender::frame;
use crate::service::errors;
use crate::service::websocket::{
    Application, Endpoint, Farewell, Gather, MessagePart, Outgoing, Policy, Subprotocols, upgrade,
};

use room::{Membership, Overflowed, Rooms};

/// Only pages of this host may open it, so that no other page can send to a room unasked. Messages are not compressed, so
/// that all members can share them.
const ENDPOINT: Endpoint =
    Endpoint { same_host: true, deflate: false, protocols: Subprotocols::Known(&["chat.tidemill"]) };

/// Rooms at a time.
const ROOMS_MAX: usize = 1000;
/// Length of a name, of a room or a member, in bytes.
const NAME_BYTES_MAX: usize = 64;
/// Rooms of up to so many members are told who comes and goes.
const ANNOUNCED_MEMBERS_MAX: usize = 32;
/// How much is moved from a mailbox at a time, in bytes.
const OUT_BYTES: usize = 16 * 1024;

/// How much longer JSON may make a text: a control character of one byte becomes six.
const ESCAPED: usize = 6;
/// What an event has besides its name and its text, and its frame besides the event, in bytes.
const EVENT_BYTES: usize = 256;
/// A member that keeps up has room for the longest message.
const _: () = assert!(ESCAPED * (WS_MESSAGE_BYTES_LIMIT + NAME_BYTES_MAX) + EVENT_BYTES <= WS_QUEUE_BYTES);

const TOO_SLOW: Farewell = Farewell { code: CloseCode::TRY_AGAIN_LATER, reason: "too slow for this room" };

/// The chat: its rooms, and what has happened in them.
pub struct Chat {
    rooms: Rc<Rooms>,
    guests: Cell<u64>,
    overflows: Rc<Cell<u64>>,
}

impl Chat {
    /// A chat in which nobody is yet.
    pub fn new() -> Chat {
        Chat { rooms: Rc::new(Rooms::new(ROOMS_MAX)), guests: Cell::new(0), overflows: Rc::default() }
    }

    /// Lets the client in.
    pub fn open(&self, request: &RequestHead<'_>, policy: &Policy, cx: &mut Cx<'_>) -> Reply {
        let (client, waker, queue_bytes_max) = (cx.log_key(), cx.local_waker(), cx.limits.ws_queue_bytes_max);
        upgrade(request, policy, &ENDPOINT, cx, || {
            let room = name(&Argument::query(request, "room", "lobby"))?;
            let name = name(&Argument::query(request, "name", ""))?.unwrap_or_else(|| self.guest());
            let room = room.unwrap_or_else(|| "lobby".into());
            let membership =
                self.rooms.enter(&room, name, client, waker, queue_bytes_max).ok_or_else(|| too_many_rooms(cx))?;
            Ok(Member::new(membership, Rc::clone(&self.overflows)))
        })
    }

    fn guest(&self) -> Box<str> {
        self.guests.set(self.guests.get() + 1);
        format!("guest {}", self.guests.get()).into()
    }
}

/// A name of at most 64 bytes without control characters, or `None` if it is empty, or a 400.
fn name(argument: &Argument<'_>) -> Result<Option<Box<str>>, Response> {
    let name = argument.text()?.trim();
    if name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
        return Err(argument.refusal("invalid_parameter", "a name of at most 64 bytes without control characters"));
    }
    Ok((!name.is_empty()).then(|| name.into()))
}

fn too_many_rooms(cx: &Cx<'_>) -> Response {
    cx.complain(Level::Warn, format_args!("503: there are {ROOMS_MAX} chat rooms already"));
    errors::error(Status::SERVICE_UNAVAILABLE, "too_many_rooms", [])
}

/// One end of the chat.
struct Member {
    membership: Membership,
    gather: Gather,
    overflows: Rc<Cell<u64>>,
    /// Whether it has been told where it is.
    welcomed: bool,
}

impl Member {
    fn new(membership: Membership, overflows: Rc<Cell<u64>>) -> Member {
        let member = Member { membership, gather: Gather::default(), overflows, welcomed: false };
        member.announce("joined");
        member
    }

    fn event(&self, kind: &str, name: &str) -> Object {
        let members = self.membership.room().len() as u64;
        Object::new().text("type", kind).text("name", name).number("members", members)
    }

    /// Tells the others, unless the room has too many members.
    fn announce(&self, kind: &str) {
        if self.membership.room().len() <= ANNOUNCED_MEMBERS_MAX {
            self.tell_all(self.event(kind, self.membership.name()));
        }
    }

    /// Tells all members. If mailboxes overflow, tells the remaining members who has left.
    fn tell_all(&self, event: Object) {
        let mut lost = self.membership.tell_all(&shared(event));
        while let Some(gone) = lost.pop() {
            if self.membership.room().len() <= ANNOUNCED_MEMBERS_MAX {
                lost.extend(self.membership.tell_all(&shared(self.event("left", gone.name()))));
            }
        }
    }
}

/// A text message that many can share.
fn shared(object: Object) -> Arc<[u8]> {
    frame(Kind::Text, object.finish().as_bytes()).into()
}

impl Application for Member {
    fn rests_until(&self, cx: &Cx<'_>) -> Option<Instant> {
        self.membership.room().rests_until(cx.now)
    }

    fn receive(&mut self, part: MessagePart<'_>, _out: &mut Outgoing, cx: &mut Cx<'_>) -> Result<(), Farewell> {
        if self.membership.is_lost() {
            return Err(TOO_SLOW);
        }
        if part.kind == Kind::Binary {
            return Err(Farewell { code: CloseCode::UNSUPPORTED, reason: "the chat is made of text" });
        }
        if let Some(message) = self.gather.add(part, cx.limits.ws_message_bytes_max)? {
            // It was checked as it arrived.
            let text = String::from_utf8_lossy(&message);
            self.tell_all(self.event("message", self.membership.name()).text("text", &text));
            self.report_overflows(cx);
        }
        Ok(())
    }

    fn send(&mut self, out: &mut Outgoing, cx: &mut Cx<'_>) -> Result<(), Farewell> {
        if !std::mem::replace(&mut self.welcomed, true) {
            out.part(Kind::Text, self.event("welcome", self.membership.name()).finish().as_bytes(), true);
        }
        self.report_overflows(cx);
        while out.len() < OUT_BYTES {
            match self.membership.take() {
                Ok(Some(frame)) => out.shared(frame),
                Ok(None) => break,
                Err(Overflowed) => return Err(TOO_SLOW),
            }
        }
        Ok(())
    }

    fn kept_bytes(&self) -> usize {
        self.gather.kept_bytes() + self.membership.waiting_bytes()
    }
}

impl Member {
    /// Logs which members were closed because they are slow. It does so at once: such a member may not read for long.
    fn report_overflows(&self, cx: &Cx<'_>) {
        for client in self.membership.overflowed() {
            let count = self.overflows.get() + 1;
            self.overflows.set(count);
            let what = format_args!("{client}: WebSocket closed: does not keep up with its chat room ({count} so far)");
            cx.complaints.log(cx.now, Level::Info, what);
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if self.membership.leave() {
            self.announce("left");
        }
    }
}
