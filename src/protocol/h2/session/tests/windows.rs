//! Both levels of windows against plain sums: whoever has a window sends, and nobody else.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// What happens to a connection whose streams all have content without end.
#[derive(Debug, Clone)]
enum Happening {
    /// A request comes and is answered.
    Request,
    /// WINDOW_UPDATE on the so-manieth stream.
    Stream(usize, u32),
    /// WINDOW_UPDATE on the connection.
    Connection(u32),
    /// SETTINGS_INITIAL_WINDOW_SIZE.
    Setting(u32),
    /// The so-manieth stream is reset by the client.
    Reset(usize),
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        3 => Just(Happening::Request),
        4 => (0..8_usize, 1..40_000_u32).prop_map(|(nth, bytes)| Happening::Stream(nth, bytes)),
        4 => (1..90_000_u32).prop_map(Happening::Connection),
        2 => (0..80_000_u32).prop_map(Happening::Setting),
        1 => (0..8_usize).prop_map(Happening::Reset),
    ]
}

/// The windows as sums.
struct Sums {
    streams: BTreeMap<u32, i64>,
    connection: i64,
    setting: i64,
}

impl Sums {
    fn nth(&self, nth: usize) -> Option<u32> {
        self.streams.keys().nth(nth).copied()
    }
}

fn apply(happening: &Happening, connection: &mut Connection, sums: &mut Sums, next: &mut u32) {
    match *happening {
        Happening::Request => {
            connection.get(*next);
            assert_eq!(connection.steps(), ["head", "end", "need-bytes"]);
            assert!(connection.respond(*next, None));
            connection.session.has_content(*next, true);
            sums.streams.insert(*next, sums.setting);
            *next += 2;
        }
        Happening::Stream(nth, bytes) => {
            let Some(stream) = sums.nth(nth) else { return };
            connection.feed(&frame_writer::window_update(stream, bytes));
            *sums.streams.entry(stream).or_default() += i64::from(bytes);
        }
        Happening::Connection(bytes) => {
            connection.feed(&frame_writer::window_update(0, bytes));
            sums.connection += i64::from(bytes);
        }
        Happening::Setting(bytes) => {
            connection.feed(&frame_writer::settings(&[(4, bytes)]));
            sums.streams.values_mut().for_each(|window| *window += i64::from(bytes) - sums.setting);
            sums.setting = bytes.into();
        }
        Happening::Reset(nth) => {
            let Some(stream) = sums.nth(nth) else { return };
            connection.feed(&frame_writer::rst_stream(stream, ErrorCode::CANCEL));
            sums.streams.remove(&stream);
            assert_eq!(connection.steps(), ["reset", "need-bytes"]);
        }
    }
}

/// Sends until nobody can.
fn pump(connection: &mut Connection, sums: &mut Sums) {
    while let Some(turn) = connection.session.next_turn() {
        connection.outbox.clear();
        let mut room = connection.session.room(turn.stream, &mut connection.outbox).expect("a turn needs a window");
        let most = room.remaining();
        let n = room.put(&vec![0; most]);
        assert!(n > 0 && n <= turn.bytes as usize);
        connection.session.seal(turn.stream, &mut connection.outbox, n);
        let window = sums.streams.get_mut(&turn.stream).expect("a stream that lives");
        *window -= n as i64;
        sums.connection -= n as i64;
        assert!(*window >= 0 && sums.connection >= 0, "more was sent than allowed");
    }
    connection.outbox.clear();
}

proptest! {
    #[test]
    fn whoever_has_a_window_sends_and_nobody_else(happenings in prop::collection::vec(happening(), 0..40)) {
        let mut connection = Connection::new(64 * 1024);
        let (mut sums, mut next) = (Sums { streams: BTreeMap::new(), connection: 65_535, setting: 65_535 }, 1);
        for happening in &happenings {
            apply(happening, &mut connection, &mut sums, &mut next);
            prop_assert_eq!(connection.steps(), ["need-bytes"]);
            pump(&mut connection, &mut sums);
            prop_assert!(sums.connection == 0 || sums.streams.values().all(|window| *window <= 0), "somebody waits");
            let windows = connection.session.streams().map(|stream| (stream.id, i64::from(stream.send.bytes())));
            prop_assert_eq!(windows.collect::<BTreeMap<_, _>>(), sums.streams.clone());
        }
    }
}
