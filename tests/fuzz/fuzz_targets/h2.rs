//! Any bytes behind the preface of an HTTP/2 connection, in pieces: steps or an error, and no panic. Every request is answered
//! with content, and what is sent stays within the windows, which the session checks itself in this build.
//!
//! The first byte is the length of the pieces.

#![no_main]

use std::time::UNIX_EPOCH;

use libfuzzer_sys::fuzz_target;
use tidemill::base::limits::Limits;
use tidemill::base::moment::Moment;
use tidemill::base::ring::RingBuffer;
use tidemill::http::date::DateCache;
use tidemill::http::message::Response;
use tidemill::http::status::Status;
use tidemill::protocol::h2::session::{Added, PREFACE, Scratch, Session, Step};

fuzz_target!(|bytes: &[u8]| {
    let [size, bytes @ ..] = bytes else { return };
    let limits = Limits::default();
    let (mut inbox, mut outbox) = (RingBuffer::new(limits.inbox_bytes), RingBuffer::new(limits.outbox_bytes));
    let (mut session, mut scratch) = (Session::new(&limits), Scratch::default());
    session.begin(&mut outbox, &limits);
    let input = [&PREFACE[..], b"\0\0\0\x04\0\0\0\0\0", bytes].concat();
    for (nth, piece) in input.chunks(usize::from(*size) + 1).enumerate() {
        assert_eq!(inbox.put(piece), piece.len(), "what was read makes room");
        let now = Moment::from_millis(nth as u64);
        if !receive(&mut session, &mut inbox, &mut outbox, &mut scratch, &limits, now) {
            return;
        }
        send(&mut session, &mut outbox);
        assert!(session.streams().count() <= limits.http2.streams_max as usize);
    }
});

/// Receives what there is; false if the connection has ended.
fn receive(
    session: &mut Session,
    inbox: &mut RingBuffer,
    outbox: &mut RingBuffer,
    scratch: &mut Scratch,
    limits: &Limits,
    now: Moment,
) -> bool {
    loop {
        let stream = match session.receive(inbox, outbox, scratch, limits, now) {
            Err(_) => return false,
            Ok(Step::NeedBytes) => return true,
            Ok(Step::Paused) => {
                outbox.clear();
                continue;
            }
            Ok(Step::Content { stream, bytes }) => {
                session.taken(inbox, bytes);
                session.consumed(stream, bytes, outbox, limits);
                continue;
            }
            Ok(Step::Head { stream, .. } | Step::Refused { stream, .. }) => stream,
            Ok(_) => continue,
        };
        if !session.has_room_for_head(256, 0, outbox) {
            session.put_control(outbox);
            outbox.clear();
        }
        let (response, date) = (Response::new(Status::OK), DateCache::new(UNIX_EPOCH));
        let length = (stream % 4 == 1).then_some(u64::from(stream) * 100);
        if session.send_head(stream, &response, length, Added { date: &date, field: None, told: &[] }, outbox, scratch)
        {
            session.has_content(stream, true);
        }
    }
}

/// Sends a few turns of content.
fn send(session: &mut Session, outbox: &mut RingBuffer) {
    for _ in 0..4 {
        let Some(turn) = session.next_turn() else { return };
        outbox.clear();
        let Some(mut room) = session.room(turn.stream, outbox) else { return };
        let n = room.put(&[b'x'; 5000]);
        assert!(n <= turn.bytes as usize);
        session.seal(turn.stream, outbox, n);
    }
}
