use std::time::UNIX_EPOCH;

use super::super::frame::Kind;
use super::*;
use crate::http::date::DateCache;
use crate::http::fields::FieldSet;
use crate::http::message::Response;
use crate::http::status::Status;

mod windows;

const NOW: Moment = Moment::from_millis(1000);

/// A session with its rings.
struct Connection {
    session: Session,
    inbox: RingBuffer,
    outbox: RingBuffer,
    scratch: Scratch,
    limits: Limits,
}

impl Connection {
    /// One whose prefaces have been exchanged.
    fn new(outbox_bytes: usize) -> Connection {
        let limits = Limits::default();
        let (inbox, outbox) = (RingBuffer::new(limits.inbox_bytes), RingBuffer::new(outbox_bytes));
        let (session, scratch) = (Session::new(&limits), Scratch::default());
        let mut connection = Connection { session, inbox, outbox, scratch, limits };
        connection.session.begin(&mut connection.outbox, &connection.limits);
        connection.feed(PREFACE);
        connection.feed(&frame_writer::settings(&[]));
        assert_eq!(connection.steps(), ["need-bytes"]);
        connection.outbox.clear();
        connection
    }

    fn feed(&mut self, bytes: &[u8]) {
        assert_eq!(self.inbox.put(bytes), bytes.len());
    }

    fn get(&mut self, stream: u32) {
        // :method GET, :scheme http, :path /, :authority a
        let block = b"\x82\x86\x84\x01\x01a";
        self.feed(&frame_writer::head(Kind::Headers, 5, stream, block.len()));
        self.feed(block);
    }

    fn step(&mut self) -> Result<Step<'_>, Fault> {
        self.session.receive(&mut self.inbox, &mut self.outbox, &mut self.scratch, &self.limits, NOW)
    }

    /// The names of all steps up to the one behind which nothing can come.
    fn steps(&mut self) -> Vec<String> {
        let mut steps = Vec::new();
        loop {
            let (name, is_last) = match self.step() {
                Ok(Step::Head { is_delayed: true, .. }) => ("delayed-head".into(), false),
                Ok(Step::Head { .. }) => ("head".into(), false),
                Ok(Step::End { .. }) => ("end".into(), false),
                Ok(Step::Reset { .. }) => ("reset".into(), false),
                Ok(Step::Rejected { fault, .. }) => (format!("rejected {}", fault.code), false),
                Ok(Step::NeedBytes) => ("need-bytes".into(), true),
                Ok(Step::Paused) => ("paused".into(), true),
                Ok(other) => (format!("{other:?}"), false),
                Err(fault) => (fault.code.to_string(), true),
            };
            steps.push(name);
            if is_last {
                return steps;
            }
        }
    }

    fn respond(&mut self, stream: u32, length: Option<u64>) -> bool {
        let (response, date) = (Response::new(Status::OK), DateCache::new(UNIX_EPOCH));
        let added = Added { date: &date, field: None, told: &[] };
        self.session.send_head(stream, &response, length, added, &mut self.outbox, &mut self.scratch)
    }
}

#[test]
fn an_idle_connection_is_small() {
    assert!(size_of::<Session>() <= 1024, "{} bytes", size_of::<Session>());
    assert!(size_of::<Stream>() <= 112, "{} bytes", size_of::<Stream>());
}

#[test]
fn a_client_may_do_what_it_was_told_although_the_limits_are_others_now() {
    let mut connection = Connection::new(64 * 1024);
    let told = connection.limits.http2.clone();
    connection.feed(&frame_writer::settings_ack());
    let limits = &mut connection.limits.http2;
    (limits.streams_max, limits.stream_window_bytes, limits.frame_bytes_max) = (1, 100, 100);
    (limits.header_list_bytes_max, limits.header_table_bytes) = (40, 0);
    assert_eq!(connection.steps(), ["need-bytes"]);
    for stream in [1, 3, 5] {
        connection.get(stream);
        assert_eq!(connection.steps(), ["head", "end", "need-bytes"]);
    }
    assert_eq!(connection.session.ours(), &OurSettings::of(&told));
    // Whoever comes now is told something else.
    let next = Session::new(&connection.limits);
    assert_eq!((next.ours().streams_max, next.ours().frame_bytes_max), (1, 100));
    // A frame of the size that it was told, on a stream with the window that it was told.
    let block = b"\x83\x86\x84\x01\x01a";
    connection.feed(&frame_writer::head(Kind::Headers, 4, 7, block.len()));
    connection.feed(block);
    connection.feed(&frame_writer::head(Kind::Data, 1, 7, 12_000));
    let steps = connection.steps();
    assert_eq!(steps, ["head", "need-bytes"]);
    connection.feed(&[b'x'; 12_000]);
    assert!(matches!(connection.step(), Ok(Step::Content { stream: 7, bytes: 12_000 })));
}

#[test]
fn nothing_is_read_while_answers_wait() {
    let mut connection = Connection::new(1024);
    for _ in 0..100 {
        connection.feed(&frame_writer::ping(*b"12345678", false));
    }
    assert_eq!(connection.steps(), ["paused"]);
    assert!(connection.outbox.free() < ANSWER_BYTES_MAX);
    let unread = connection.inbox.len();
    assert_eq!(connection.steps(), ["paused"]);
    assert_eq!(connection.inbox.len(), unread, "it is a question of room and of nothing else");
    connection.outbox.consume(17);
    connection.outbox.consume(ANSWER_BYTES_MAX);
    assert_eq!(connection.steps(), ["paused"]);
    assert!(connection.inbox.len() < unread);
}

#[test]
fn nothing_is_read_while_as_much_output_waits_as_may() {
    let mut connection = Connection::new(64 * 1024);
    connection.limits.http2.output_bytes_max = 512;
    for _ in 0..40 {
        connection.feed(&frame_writer::ping(*b"12345678", false));
    }
    assert_eq!(connection.steps(), ["paused"]);
    assert_eq!(connection.outbox.len(), 31 * 17, "the first answer behind 512 bytes is the last");
    connection.outbox.consume(100);
    assert_eq!(connection.steps(), ["paused"]);
    assert_eq!(connection.outbox.len(), 512);
    connection.outbox.clear();
    assert_eq!(connection.steps(), ["need-bytes"]);
}

#[test]
fn content_leaves_room_for_frames_of_the_connection() {
    let mut connection = Connection::new(4096);
    connection.get(1);
    assert_eq!(connection.steps(), ["head", "end", "need-bytes"]);
    assert!(connection.respond(1, None));
    connection.session.has_content(1, true);
    while let Some(mut room) = connection.session.room(1, &mut connection.outbox) {
        let n = room.put(&[0; 4096]);
        connection.session.seal(1, &mut connection.outbox, n);
    }
    assert_eq!(connection.outbox.free(), CONTROL_RESERVE);
    connection.feed(&frame_writer::ping(*b"12345678", false));
    assert_eq!(connection.steps(), ["need-bytes"]);
    assert_eq!(connection.outbox.free(), CONTROL_RESERVE - 17);
    let end = connection.session.finish(1, &FieldSet::EMPTY, &mut connection.outbox, &mut connection.scratch);
    assert_eq!(end.ok(), Some(false), "the end waits for room");
}

#[test]
fn a_reset_without_room_is_sent_later_and_before_anything_else() {
    let mut connection = Connection::new(4096);
    connection.get(1);
    connection.get(3);
    assert_eq!(connection.steps().len(), 5);
    assert!(connection.respond(3, Some(100)));
    connection.session.has_content(3, true);
    let filler = connection.outbox.free() - 5;
    connection.outbox.commit(filler);
    connection.session.reset(1, ErrorCode::CANCEL, &mut connection.outbox);
    assert_eq!(connection.steps(), ["paused"]);
    connection.outbox.clear();
    assert!(connection.session.room(3, &mut connection.outbox).is_none(), "first what is overdue");
    assert!(!connection.session.has_room_for_head(10, 1, &connection.outbox));
    connection.session.put_control(&mut connection.outbox);
    assert_eq!(connection.outbox.contiguous(13), frame_writer::rst_stream(1, ErrorCode::CANCEL));
    assert!(connection.session.room(3, &mut connection.outbox).is_some());
}

#[test]
fn small_responses_are_one_frame_and_end_their_stream() {
    let mut connection = Connection::new(4096);
    connection.get(1);
    assert_eq!(connection.steps().len(), 3);
    assert!(connection.respond(1, Some(5)));
    assert!(!connection.session.put_all(1, b"hell", &mut connection.outbox), "another length than announced");
    assert!(connection.session.put_all(1, b"hello", &mut connection.outbox));
    assert!(connection.session.has_all_content(1));
    assert_eq!(connection.session.streams().count(), 0);
    let end = connection.session.finish(1, &FieldSet::EMPTY, &mut connection.outbox, &mut connection.scratch);
    assert_eq!(end.ok(), Some(true), "its end was in the frame");
}

#[test]
fn content_that_is_short_is_an_error() {
    let mut connection = Connection::new(4096);
    connection.get(1);
    assert_eq!(connection.steps().len(), 3);
    assert!(connection.respond(1, Some(5)));
    let end = connection.session.finish(1, &FieldSet::EMPTY, &mut connection.outbox, &mut connection.scratch);
    assert_eq!(end.map_err(|short| short.missing), Err(5));
    connection.session.reset(1, ErrorCode::INTERNAL_ERROR, &mut connection.outbox);
    assert_eq!(connection.session.streams().count(), 0);
}

#[test]
fn after_an_error_nothing_is_read() {
    let mut connection = Connection::new(4096);
    connection.feed(&frame_writer::window_update(0, 0));
    connection.get(1);
    assert_eq!(connection.steps(), ["PROTOCOL_ERROR"]);
    assert_eq!(connection.steps(), ["paused"]);
}

#[test]
fn a_shut_down_session_is_done_when_its_streams_are() {
    let mut connection = Connection::new(4096);
    connection.get(1);
    assert_eq!(connection.steps().len(), 3);
    connection.session.shut_down(&mut connection.outbox, ErrorCode::NO_ERROR, "bye", Moment::default());
    assert!(!connection.session.is_done());
    assert!(!connection.respond(1, Some(0)));
    assert!(connection.session.is_done());
}

/// RFC 9113 §6.9.2: what a client has sent before it knew of a smaller window can be more than that.
#[test]
fn a_window_that_becomes_smaller_than_what_was_sent_opens_again() {
    let mut connection = Connection::new(4096);
    connection.session.ours.stream_window_bytes = 1000;
    connection.limits.http2.upload_window_bytes_max = 1000;
    // POST whose content follows.
    connection.feed(&frame_writer::head(Kind::Headers, 4, 1, 6));
    connection.feed(b"\x83\x86\x84\x01\x01a");
    connection.feed(&frame_writer::data_head(1, 3000, false));
    connection.feed(&[0; 3000]);
    assert!(matches!(connection.step(), Ok(Step::Head { .. })));
    assert!(matches!(connection.step(), Ok(Step::Content { bytes: 3000, .. })));
    connection.session.taken(&mut connection.inbox, 3000);
    connection.session.consumed(1, 3000, &mut connection.outbox, &connection.limits);
    assert!(connection.outbox.is_empty(), "that is little of 64 KiB");
    connection.feed(&frame_writer::settings_ack());
    assert_eq!(connection.steps(), ["need-bytes"]);
    assert_eq!(connection.outbox.readable().concat(), frame_writer::window_update(1, 3000));
}

#[test]
fn a_frame_begins_behind_the_padding_of_the_one_before() {
    const SETTINGS: u64 = 9;
    let mut connection = Connection::new(4096);
    let mut expected = PREFACE.len() as u64 + SETTINGS;
    for stream in [1, 3, 5, 7] {
        let length = match stream {
            // PADDED, in one frame and in two.
            1 => {
                connection.feed(&frame_writer::head(Kind::Headers, 0xd, stream, 1 + 6 + 3));
                connection.feed(b"\x03\x82\x86\x84\x01\x01a\0\0\0");
                9 + 10
            }
            3 => {
                connection.feed(&frame_writer::head(Kind::Headers, 9, stream, 1 + 3 + 2));
                connection.feed(b"\x02\x82\x86\x84\0\0");
                connection.feed(&frame_writer::head(Kind::Continuation, 4, stream, 3));
                connection.feed(b"\x01\x01a");
                9 + 6 + 9 + 3
            }
            _ => {
                connection.get(stream);
                9 + 6
            }
        };
        assert!(matches!(connection.step(), Ok(Step::Head { .. })));
        assert_eq!(connection.session.frame_start(), expected, "stream {stream}");
        assert_eq!(connection.steps(), ["end", "need-bytes"]);
        expected += length;
    }
}

/// CVE-2023-44487
#[test]
fn rapid_resets_delay_new_streams_until_some_end_well() {
    let mut connection = Connection::new(4096);
    for n in 0..100 {
        connection.get(2 * n + 1);
        connection.feed(&frame_writer::rst_stream(2 * n + 1, ErrorCode::CANCEL));
        assert_eq!(connection.steps(), ["head", "end", "reset", "need-bytes"], "stream {}", 2 * n + 1);
    }
    connection.get(201);
    assert_eq!(connection.steps(), ["delayed-head", "end", "need-bytes"]);
    assert!(!connection.respond(201, Some(0)));
    connection.get(203);
    assert_eq!(connection.steps(), ["head", "end", "need-bytes"]);
}

/// CVE-2025-8671
#[test]
fn resets_that_the_client_provokes_are_counted() {
    let mut connection = Connection::new(64 * 1024);
    for n in 0..75 {
        connection.get(2 * n + 1);
        connection.feed(&frame_writer::window_update(2 * n + 1, 0));
        assert_eq!(connection.steps(), ["head", "end", "reset", "need-bytes"]);
    }
    connection.get(201);
    assert_eq!(connection.steps(), ["rejected REFUSED_STREAM", "need-bytes"], "GOAWAY was sent");
    let sent = String::from_utf8_lossy(&connection.outbox.readable().concat()).into_owned();
    assert!(sent.contains("too much misbehaviour: forced-reset=75 glitches=75%"), "{sent}");
}

#[test]
fn malformed_requests_are_counted_also_when_they_are_refused() {
    let mut connection = Connection::new(64 * 1024);
    // Requests without pseudo-fields.
    let malformed = |stream| frame_writer::head(Kind::Headers, 5, stream, 0);
    for n in 0..75 {
        connection.feed(&malformed(2 * n + 1));
        assert_eq!(connection.steps(), ["rejected PROTOCOL_ERROR", "need-bytes"]);
    }
    for n in 75..99 {
        connection.feed(&malformed(2 * n + 1));
    }
    assert_eq!(connection.steps(), [vec!["rejected REFUSED_STREAM"; 24], vec!["need-bytes"]].concat());
    connection.feed(&malformed(199));
    assert_eq!(connection.steps(), ["ENHANCE_YOUR_CALM"]);
}

#[test]
fn a_stream_that_is_reset_behind_its_head_has_no_end() {
    let mut connection = Connection::new(4096);
    connection.get(1);
    assert!(matches!(connection.step(), Ok(Step::Head { .. })));
    connection.session.reset(1, ErrorCode::CANCEL, &mut connection.outbox);
    assert_eq!(connection.steps(), ["need-bytes"]);
}

#[test]
fn priorities_of_streams_that_were_skipped_are_forgotten() {
    let mut connection = Connection::new(4096);
    for stream in [3, 5, 7] {
        connection.feed(&frame_writer::head(Kind::PriorityUpdate, 0, 0, 7));
        connection.feed(&[0, 0, 0, stream]);
        connection.feed(b"u=1");
    }
    connection.get(5);
    assert_eq!(connection.steps(), ["head", "end", "need-bytes"]);
    let early: Vec<u32> = connection.session.early_priorities.iter().map(|(stream, _)| *stream).collect();
    assert_eq!(early, [7]);
    assert_eq!(connection.session.streams().map(|stream| stream.priority.urgency).collect::<Vec<_>>(), [1]);
}

/// RFC 7541 §4.2: the smallest of several sizes is signalled, and then the last. RFC 9113 §6.5.3: they hold in their order.
#[test]
fn a_table_that_was_smaller_for_a_moment_is_told_of_both_sizes() {
    for (sizes, updates) in [
        (&[(1, 0), (1, 4096)][..], &b"\x20\x3f\xe1\x1f"[..]),
        (&[(1, 50), (1, 8192)], b"\x3f\x13\x3f\xe1\x1f"),
        (&[(1, 50), (1, 100)], b"\x3f\x13\x3f\x45"),
        (&[(1, 8192), (1, 4096)], b""),
    ] {
        let mut connection = Connection::new(4096);
        connection.get(1);
        connection.steps();
        connection.respond(1, Some(0));
        connection.feed(&frame_writer::settings(sizes));
        connection.get(3);
        connection.steps();
        connection.outbox.clear();
        connection.respond(3, Some(0));
        let sent = connection.outbox.readable().concat();
        let block = &sent[9..];
        assert!(block.starts_with(updates), "{sizes:?}: {}", block.escape_ascii());
        assert_eq!(block[updates.len()], 0x88, "{sizes:?}: :status 200 follows");
    }
}
