//! What holds for any input of an HTTP/2 session: what it says and sends does not depend on how the input is cut, and nothing
//! a client sends makes it panic or send what a client could not read.

use crate::driver::events;
use crate::driver::script::{Item, items};
use proptest::prelude::*;
use tidemill::base::limits::Limits;

/// A line of a script, often a sensible one.
fn line() -> impl Strategy<Value = String> {
    let stream = || prop_oneof![8 => (0..4_u32).prop_map(|n| 2 * n + 1), 1 => 0..12_u32];
    let size = || prop_oneof![Just(0), Just(1), 2..300_usize, Just(9000), Just(16_384)];
    let number = || prop_oneof![0..10_u32, Just(65_535), Just(0x7fff_ffff), any::<u32>()];
    let end = || prop_oneof![Just(""), Just("end ")];
    let head =
        prop_oneof![Just(""), Just("cookie: a | cookie: b"), Just("content-length: 5"), Just("X: y"), Just("te: x")];
    prop_oneof![
        4 => (stream(), head.clone()).prop_map(|(stream, head)| format!("GET {stream} / {head}")),
        4 => (stream(), head).prop_map(|(stream, head)| format!("POST {stream} /x {head}")),
        4 => (stream(), end(), size()).prop_map(|(stream, end, n)| format!("DATA {stream} {end}\"\\{{x*{n}}}\"")),
        1 => (stream(), end(), 0..9_u32).prop_map(|(stream, end, n)| format!("DATA {stream} {end}pad={n} \"abc\"")),
        1 => stream().prop_map(|stream| format!("HEADERS {stream} end x: y")),
        1 => stream().prop_map(|stream| format!("HEADERS {stream} more x: y")),
        1 => stream().prop_map(|stream| format!("CONTINUATION {stream} y: z")),
        2 => stream().prop_map(|stream| format!("RST_STREAM {stream} CANCEL")),
        2 => (stream(), number()).prop_map(|(stream, n)| format!("WINDOW_UPDATE {stream} {n}")),
        1 => (1..10_u32, number()).prop_map(|(id, n)| format!("SETTINGS {id}={n}")),
        1 => Just("SETTINGS 4=3 1=0".to_string()),
        1 => Just("SETTINGS ack".to_string()),
        1 => Just("PING \"12345678\"".to_string()),
        1 => (stream(), stream()).prop_map(|(one, other)| format!("PRIORITY {one} {other}")),
        1 => (stream(), 0..9_u32).prop_map(|(stream, u)| format!("PRIORITY_UPDATE {stream} u={u}, i")),
        1 => (any::<u8>(), any::<u8>(), stream()).prop_map(|(kind, flags, id)| format!("FRAME {kind} {flags} {id} \"12345\"")),
        3 => (stream(), size()).prop_map(|(stream, n)| format!("! respond {stream} 200 \"\\{{y*{n}}}\"")),
        2 => (stream(), size()).prop_map(|(stream, n)| format!("! stream {stream} 200 \"\\{{z*{n}}}\"")),
        1 => stream().prop_map(|stream| format!("! finish {stream} a: b")),
        1 => stream().prop_map(|stream| format!("! reset {stream} CANCEL")),
        1 => Just("! hold".to_string()),
        1 => Just("! shut-down".to_string()),
        1 => (stream(), size()).prop_map(|(stream, n)| format!("! consumed {stream} {n}")),
    ]
}

fn script(lines: &[String]) -> Vec<Item> {
    let preface = items("a property", "preface");
    preface.into_iter().chain(lines.iter().flat_map(|line| items("a property", line))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn nothing_depends_on_how_input_is_cut(
        lines in prop::collection::vec(line(), 0..25),
        sizes in prop::collection::vec(1..400_usize, 1..4),
    ) {
        let (script, limits) = (script(&lines), Limits::default());
        let whole = events(&script, &limits, usize::MAX, usize::MAX, 64 * 1024);
        for size in sizes {
            let cut = events(&script, &limits, size, size, 64 * 1024);
            prop_assert_eq!(&cut, &whole, "in pieces of {}", size);
        }
    }

    /// An inbox that is smaller than many frames makes no difference either.
    #[test]
    fn nothing_depends_on_the_size_of_the_inbox(lines in prop::collection::vec(line(), 0..25)) {
        let (script, limits) = (script(&lines), Limits::default());
        let small = Limits { inbox_bytes: 512, ..Limits::default() };
        let whole = events(&script, &limits, usize::MAX, usize::MAX, 64 * 1024);
        prop_assert_eq!(events(&script, &small, usize::MAX, usize::MAX, 64 * 1024), whole);
    }

    #[test]
    fn no_bytes_are_too_strange(
        lines in prop::collection::vec(line(), 0..8),
        noise in prop::collection::vec(any::<u8>(), 0..200),
        at in any::<prop::sample::Index>(),
    ) {
        let mut script = script(&lines);
        script.push(Item::Bytes(noise.clone()));
        let bytes: Vec<usize> =
            (0..script.len()).filter(|index| matches!(script[*index], Item::Bytes(_))).collect();
        if let Item::Bytes(bytes) = &mut script[*at.get(&bytes)] {
            let place = at.index(bytes.len().max(1));
            bytes.iter_mut().skip(place).zip(&noise).for_each(|(byte, noise)| *byte ^= noise);
        }
        let limits = Limits::default();
        let whole = events(&script, &limits, usize::MAX, usize::MAX, 64 * 1024);
        prop_assert_eq!(events(&script, &limits, 1, 7, 64 * 1024), whole);
    }
}
