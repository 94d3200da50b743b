//! What is recorded, read back from the file.

use std::collections::VecDeque;
use std::fs::{self, OpenOptions};
use std::io::ErrorKind;
use std::path::Path;
use std::sync::atomic::AtomicU32;

use super::segment::{ACK, DATA_BYTES_MAX, FIN, PSH, RST, SYN};
use super::*;
use crate::net::Io;

const MIB: u64 = 1 << 20;

/// A folder of this test's own.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("tidemill-capture-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Folder(path)
    }

    fn options(&self) -> CaptureOptions {
        let interface = |name: &str, role| Interface { name: name.into(), role };
        CaptureOptions {
            path: self.0.join("x"),
            bytes_max: MIB,
            program: "mill".into(),
            interfaces: vec![interface("a", ListenerRole::Http), interface("b", ListenerRole::Https)],
        }
    }

    fn start(&self) -> Capture {
        Capture::start(self.options()).unwrap()
    }

    fn read(&self, name: &str) -> Captured {
        Captured::read(&self.0.join(name))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

/// A socket that does what it is told.
#[derive(Default)]
struct Script {
    reads: VecDeque<Result<&'static [u8], ErrorKind>>,
    unread: u64,
}

impl Socket for Script {
    fn read(&mut self, [front, back]: [&mut [u8]; 2]) -> io::Result<Io> {
        let bytes = self.reads.pop_front().unwrap()?;
        let of_front = bytes.len().min(front.len());
        front[..of_front].copy_from_slice(&bytes[..of_front]);
        back[..bytes.len() - of_front].copy_from_slice(&bytes[of_front..]);
        Ok(if bytes.is_empty() { Io::Eof } else { Io::Drained(bytes.len()) })
    }
    fn write(&mut self, [front, back]: [&[u8]; 2], _more: bool) -> io::Result<Io> {
        Ok(Io::Moved(front.len() + back.len()))
    }
    fn send_file(&mut self, _file: &File, _offset: u64, count: usize) -> io::Result<Io> {
        Ok(Io::Moved(count))
    }
    fn shutdown_write(&mut self) -> io::Result<()> {
        Ok(())
    }
    fn take_error(&mut self) -> io::Result<()> {
        Ok(())
    }
    fn abort_on_close(&mut self) -> io::Result<()> {
        Ok(())
    }
    fn unread(&self) -> io::Result<u64> {
        Ok(self.unread)
    }
    fn local_address(&self) -> Option<SocketAddr> {
        Some("127.0.0.1:80".parse().unwrap())
    }
}

fn accept(tap: &Tap, id: u64, script: Script) -> CapturedSocket<Script> {
    let peer = Peer::Ip(SocketAddr::from(([127, 0, 0, 1], 1000 + id as u16)));
    let mut socket = tap.capture(script, peer, 0, ListenerRole::Http);
    socket.on_named(id);
    socket
}

fn reads(reads: &[Result<&'static [u8], ErrorKind>]) -> Script {
    Script { reads: reads.iter().copied().collect(), unread: 0 }
}

/// A file, read back.
#[derive(Default)]
struct Captured {
    /// The types of the blocks.
    blocks: Vec<u32>,
    secrets: String,
    packets: Vec<Seen>,
    /// Of each interface.
    statistics: Vec<(u64, u64)>,
}

/// Who has sent a packet, its flags, and both sequence numbers.
type Told = (&'static str, u8, u32, u32);

/// A packet, read back.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    client_port: u16,
    is_inbound: bool,
    flags: u8,
    sequence: u32,
    acknowledged: u32,
    data: Vec<u8>,
    /// How long the data was.
    length: usize,
    comments: Vec<String>,
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap())
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn options(mut bytes: &[u8]) -> Vec<(u16, Vec<u8>)> {
    let mut options = Vec::new();
    while u16_at(bytes, 0) != 0 {
        let length = usize::from(u16_at(bytes, 2));
        options.push((u16_at(bytes, 0), bytes[4..4 + length].to_vec()));
        bytes = &bytes[4 + length.next_multiple_of(4)..];
    }
    options
}

impl Captured {
    fn read(path: &Path) -> Captured {
        let file = fs::read(path).unwrap();
        let (mut captured, mut rest) = (Captured::default(), &file[..]);
        while !rest.is_empty() {
            let length = u32_at(rest, 4) as usize;
            assert_eq!(u32_at(rest, length - 4) as usize, length, "both ends of a block tell its length");
            captured.add(u32_at(rest, 0), &rest[8..length - 4]);
            rest = &rest[length..];
        }
        captured
    }

    fn add(&mut self, kind: u32, body: &[u8]) {
        self.blocks.push(kind);
        match kind {
            6 => self.packets.push(Seen::of(body)),
            10 => self.secrets.push_str(std::str::from_utf8(&body[8..8 + u32_at(body, 4) as usize]).unwrap()),
            5 => {
                let values = options(&body[12..]);
                let value = |code| {
                    let (_, value) = values.iter().find(|(found, _)| *found == code).unwrap();
                    u64::from_le_bytes(value[..].try_into().unwrap())
                };
                self.statistics.push((value(4), value(5)));
            }
            _ => {}
        }
    }

    /// The packets behind the handshake: who has sent them, their flags, and both sequence numbers.
    fn story(&self) -> Vec<Told> {
        let told = |seen: &Seen| {
            (if seen.is_inbound { "client" } else { "server" }, seen.flags, seen.sequence, seen.acknowledged)
        };
        self.packets.iter().skip(3).map(told).collect()
    }
}

impl Seen {
    fn of(body: &[u8]) -> Seen {
        let (captured, length) = (u32_at(body, 12) as usize, u32_at(body, 16) as usize);
        // Behind the four bytes of the link.
        let packet = &body[24..20 + captured];
        let (tcp, big) = (&packet[20..], |at: usize| u32::from_be_bytes(packet[at..at + 4].try_into().unwrap()));
        let headers = 20 + usize::from(tcp[12] >> 4) * 4;
        let options = options(&body[20 + captured.next_multiple_of(4)..]);
        let is_inbound = options.contains(&(2, vec![1, 0, 0, 0]));
        let ports = [0, 2].map(|at| u16::from_be_bytes([tcp[at], tcp[at + 1]]));
        let comments = options.into_iter().filter(|(code, _)| *code == 1);
        Seen {
            client_port: if is_inbound { ports[0] } else { ports[1] },
            is_inbound,
            flags: tcp[13],
            sequence: big(24),
            acknowledged: big(28),
            data: packet[headers..].to_vec(),
            length: length - 4 - headers,
            comments: comments.map(|(_, text)| String::from_utf8(text).unwrap()).collect(),
        }
    }
}

#[test]
fn a_dialogue_has_its_packets_and_comments_in_their_places() {
    let folder = Folder::new();
    let capture = folder.start();
    let tap = capture.tap();
    let mut socket = accept(&tap, 7, reads(&[Ok(b"hello"), Ok(b"")]));
    tap.comment(7, "accepted");
    tap.add_secret("LABEL 1 2\n");
    assert!(matches!(socket.read([&mut [0; 2], &mut [0; 4]]), Ok(Io::Drained(5))));
    tap.comment(7, "head");
    tap.comment(8, "of nobody");
    assert!(matches!(socket.write([b"ab", b"c"], false), Ok(Io::Moved(3))));
    tap.end_turn();
    tap.comment(7, "after the turn");
    socket.shutdown_write().unwrap();
    assert!(matches!(socket.read([&mut [0; 2], &mut []]), Ok(Io::Eof)));
    drop(socket);
    drop(capture);
    let captured = folder.read("x");
    assert_eq!(captured.blocks[..4], [0x0A0D_0D0A, 1, 1, 10], "keys come before the packets of the same turn");
    assert_eq!(captured.secrets, "LABEL 1 2\n");
    assert_eq!(captured.packets[0].flags, SYN);
    assert_eq!((captured.packets[0].sequence, captured.packets[0].client_port), (0, 1007));
    let flags: Vec<u8> = captured.packets[..3].iter().map(|seen| seen.flags).collect();
    assert_eq!(flags, [SYN, SYN | ACK, ACK]);
    let expected = [
        ("client", PSH | ACK, 1, 1),
        ("server", PSH | ACK, 1, 6),
        ("server", FIN | ACK, 4, 6),
        ("client", FIN | ACK, 6, 5),
    ];
    assert_eq!(captured.story(), expected);
    assert_eq!([&captured.packets[3].data, &captured.packets[4].data], [&b"hello"[..], b"abc"]);
    let comments: Vec<&str> =
        captured.packets.iter().map(|seen| seen.comments.first().map_or("", |text| text)).collect();
    assert_eq!(comments, ["accepted", "", "", "head", "", "after the turn", ""]);
    assert_eq!(captured.statistics, [(7, 0), (0, 0)]);
}

/// What becomes of a socket before it is dropped.
type End = fn(&mut CapturedSocket<Script>);

#[test]
fn how_a_connection_ends_is_how_its_last_packet_looks() {
    let ends: [(End, &[Told]); 5] = [
        (|_| {}, &[("server", FIN | ACK, 1, 1)]),
        (|socket| socket.abort_on_close().unwrap(), &[("server", RST | ACK, 1, 1)]),
        (|socket| socket.socket().unread = 1, &[("server", RST | ACK, 1, 1)]),
        (
            |socket| {
                socket.socket().reads.extend([Err(ErrorKind::ConnectionReset), Err(ErrorKind::BrokenPipe)]);
                assert!(socket.read([&mut [0], &mut []]).is_err() && socket.read([&mut [0], &mut []]).is_err());
            },
            &[("client", RST | ACK, 1, 1)],
        ),
        (
            |socket| {
                socket.socket().reads.extend([Ok(&b""[..]), Ok(&b""[..])]);
                assert!(socket.read([&mut [0], &mut []]).is_ok() && socket.read([&mut [0], &mut []]).is_ok());
            },
            &[("client", FIN | ACK, 1, 1), ("server", FIN | ACK, 1, 2)],
        ),
    ];
    for (end, expected) in ends {
        let folder = Folder::new();
        let capture = folder.start();
        let mut socket = accept(&capture.tap(), 1, Script::default());
        end(&mut socket);
        capture.tap().comment(1, "over");
        drop(socket);
        drop(capture);
        let captured = folder.read("x");
        assert_eq!(captured.story(), expected);
        let comments = captured.packets.iter().flat_map(|seen| &seen.comments).count();
        assert_eq!(comments, 1, "a comment finds its place, whatever comes last");
    }
}

#[test]
fn a_comment_without_another_packet_is_added_to_the_last_one() {
    let folder = Folder::new();
    let capture = folder.start();
    let tap = capture.tap();
    let (mut first, second) = (accept(&tap, 1, reads(&[Err(ErrorKind::ConnectionReset)])), accept(&tap, 2, reads(&[])));
    assert!(first.read([&mut [0], &mut []]).is_err());
    let third = accept(&tap, 3, reads(&[]));
    tap.comment(1, "broken");
    drop(first);
    drop((second, third, capture));
    let captured = folder.read("x");
    let broken: Vec<&Seen> = captured.packets.iter().filter(|seen| !seen.comments.is_empty()).collect();
    assert_eq!(broken.len(), 1);
    assert_eq!((broken[0].client_port, broken[0].flags), (1001, RST | ACK));
}

#[test]
fn what_finds_no_room_in_memory_is_dropped_and_told() {
    let folder = Folder::new();
    let capture = Capture::start(CaptureOptions { bytes_max: 100 * MIB, ..folder.options() }).unwrap();
    let tap = capture.tap();
    let mut socket = accept(&tap, 1, reads(&[]));
    // Nothing is written before the turn ends.
    let bytes = vec![b'x'; MIB as usize];
    for _ in 0..20 {
        assert!(socket.write([&bytes, b""], false).is_ok());
    }
    let counts = tap.counts();
    let packets_of_write = bytes.len().div_ceil(DATA_BYTES_MAX) as u64;
    assert_eq!(counts.seen, 3 + 20 * packets_of_write);
    assert_eq!(counts.dropped, 13 * packets_of_write, "there is room for 7 MiB, and for what belongs to it");
    tap.end_turn();
    while tap.0.lock().bytes > 0 {
        thread::yield_now();
    }
    drop(socket);
    assert_eq!(tap.counts().dropped, counts.dropped);
    drop(capture);
    let captured = folder.read("x");
    let last = captured.packets.last().unwrap();
    assert_eq!(
        (last.flags, last.sequence),
        (FIN | ACK, 1 + 20 * MIB as u32),
        "what is missing has its sequence numbers"
    );
    assert_eq!(last.comments, [format!("{} packets are missing before this one", counts.dropped)]);
    assert_eq!(captured.statistics[0], (counts.seen + 1, counts.dropped));
}

#[test]
fn files_take_turns_and_stay_within_their_bound() {
    let folder = Folder::new();
    let capture = folder.start();
    let tap = capture.tap();
    let mut socket = accept(&tap, 1, reads(&[]));
    let bytes = [b'y'; 100_000];
    for _ in 0..30 {
        assert!(socket.write([&bytes, b""], false).is_ok());
        tap.end_turn();
        while tap.0.lock().bytes > 0 {
            thread::yield_now();
        }
    }
    drop(socket);
    drop(capture);
    let lengths = ["x", "x.1"].map(|name| fs::metadata(folder.0.join(name)).unwrap().len());
    assert!(lengths.iter().sum::<u64>() <= MIB && lengths[1] > MIB / 2 - 70_000, "{lengths:?}");
    assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 2);
    let (last, former) = (folder.read("x"), folder.read("x.1"));
    assert_eq!(last.blocks[..3], [0x0A0D_0D0A, 1, 1]);
    assert_eq!(last.packets[0].comments, ["this beginning is repeated: it is in an older file, or was dropped"]);
    assert_eq!(last.packets[0].flags, SYN, "so relative sequence numbers are the same in every file");
    let (end, next) = (former.packets.last().unwrap(), &last.packets[3]);
    assert_eq!(next.sequence, end.sequence + end.length as u32, "no packet is missing between the files");
    assert_eq!(last.packets.last().unwrap().sequence, 1 + 30 * 100_000);
    assert_eq!(former.statistics, [(former.packets.len() as u64, 0), (0, 0)]);
}

/// The listener is opened while the server runs.
#[test]
fn an_interface_may_come_later_and_is_in_every_file_from_then_on() {
    let folder = Folder::new();
    let capture = folder.start();
    let tap = capture.tap();
    let known = Interface { name: "b".into(), role: ListenerRole::Https };
    let new = Interface { name: "c".into(), role: ListenerRole::Http };
    assert_eq!([&known, &new, &new].map(|interface| tap.interface(interface.clone())), [1, 2, 2]);
    let peer = Peer::Ip(SocketAddr::from(([127, 0, 0, 1], 1001)));
    let mut socket = tap.capture(reads(&[]), peer, 2, ListenerRole::Http);
    socket.on_named(1);
    assert!(socket.write([b"ab", b""], false).is_ok());
    tap.end_turn();
    while tap.0.lock().bytes > 0 {
        thread::yield_now();
    }
    tap.reopen();
    assert!(socket.write([b"cd", b""], false).is_ok());
    drop(socket);
    drop(capture);
    let (former, last) = (folder.read("x.1"), folder.read("x"));
    assert_eq!((&former.blocks[..4], &last.blocks[..4]), (&[0x0A0D_0D0A, 1, 1, 1][..], &[0x0A0D_0D0A, 1, 1, 1][..]));
    assert_eq!(former.statistics, [(0, 0), (0, 0), (4, 0)]);
    assert_eq!(last.statistics, [(0, 0), (0, 0), (last.packets.len() as u64, 0)]);
}

#[test]
fn a_file_that_was_moved_away_stays_as_it_is() {
    let folder = Folder::new();
    let capture = folder.start();
    let tap = capture.tap();
    let socket = accept(&tap, 1, reads(&[]));
    tap.end_turn();
    while tap.0.lock().bytes > 0 {
        thread::yield_now();
    }
    fs::rename(folder.0.join("x"), folder.0.join("kept")).unwrap();
    tap.reopen();
    tap.end_turn();
    drop(socket);
    drop(capture);
    assert_eq!(folder.read("kept").packets.len(), 3);
    assert_eq!(folder.read("x").story(), [("server", FIN | ACK, 1, 1)]);
    assert!(!folder.0.join("x.1").exists());
}

#[test]
fn a_file_of_somebody_else_is_not_written_to() {
    let folder = Folder::new();
    let capture = folder.start();
    let tap = capture.tap();
    fs::rename(folder.0.join("x"), folder.0.join("kept")).unwrap();
    fs::write(folder.0.join("x"), "letter").unwrap();
    drop(accept(&tap, 1, reads(&[])));
    tap.reopen();
    drop(capture);
    assert_eq!(fs::read(folder.0.join("x")).unwrap(), b"letter");
    assert_eq!(folder.read("kept").packets.len(), 4, "it goes on where it was");
}

#[test]
fn a_part_of_a_file_is_read_or_has_its_true_length() {
    let folder = Folder::new();
    let capture = folder.start();
    let path = folder.0.join("content");
    fs::write(&path, [b'z'; 80_000]).unwrap();
    let mut socket = accept(&capture.tap(), 1, reads(&[]));
    // The file has become shorter than what was sent of it.
    assert!(socket.send_file(&File::open(&path).unwrap(), 10_000, 200_000).is_ok());
    drop(socket);
    drop(capture);
    let captured = folder.read("x");
    let lengths: Vec<(usize, usize)> =
        captured.packets[3..].iter().map(|seen| (seen.data.len(), seen.length)).collect();
    let rest = 200_000 - 3 * DATA_BYTES_MAX;
    let full = DATA_BYTES_MAX;
    assert_eq!(lengths, [(full, full), (70_000 - full, full), (0, full), (0, rest), (0, 0)]);
    assert!(captured.packets[3].data.iter().all(|byte| *byte == b'z'));
    assert_eq!(captured.story()[4], ("server", FIN | ACK, 200_001, 1));
}

#[test]
fn no_more_files_wait_than_may() {
    let folder = Folder::new();
    let capture = folder.start();
    let (tap, path) = (capture.tap(), folder.0.join("content"));
    fs::write(&path, b"content").unwrap();
    let mut socket = accept(&tap, 1, reads(&[]));
    for _ in 0..WAITING_FILES_MAX + 2 {
        assert!(socket.send_file(&File::open(&path).unwrap(), 0, 7).is_ok());
    }
    assert_eq!(tap.0.lock().files, WAITING_FILES_MAX);
    drop(socket);
    drop(capture);
    let known = folder.read("x").packets.iter().filter(|seen| seen.data == b"content").count();
    assert_eq!(known, WAITING_FILES_MAX);
}

#[test]
fn ends_of_a_unix_socket_have_addresses_that_are_made_up() {
    let folder = Folder::new();
    let capture = folder.start();
    let tap = capture.tap();
    let sockets: Vec<_> = (1..3).map(|_| tap.capture(Script::default(), Peer::Unix, 1, ListenerRole::Https)).collect();
    drop(sockets);
    drop(capture);
    let captured = folder.read("x");
    assert_eq!(captured.packets[0].comments, ["a Unix socket: the addresses are made up"]);
    assert_ne!(captured.packets[0].client_port, captured.packets[3].client_port);
    assert_eq!(captured.statistics, [(0, 0), (8, 0)]);
}

/// Its SYN is in one file, and what follows in the next one.
#[test]
fn a_connection_of_ours_is_there_when_a_call_shows_it() {
    let folder = Folder::new();
    let mut options = folder.options();
    options.interfaces.push(Interface { name: "upstreams".into(), role: ListenerRole::Upstream });
    let capture = Capture::start(options).unwrap();
    let (tap, upstream) = (capture.tap(), "10.0.0.1:80".parse().unwrap());
    let mut socket = tap.capture_upstream(reads(&[Ok(b"hello")]), upstream);
    socket.on_named(1);
    tap.comment(1, "connects");
    tap.reopen();
    assert!(socket.write([b"ab", b""], false).is_ok() && socket.read([&mut [0; 9], &mut []]).is_ok());
    drop(socket);
    let mut refused = tap.capture_upstream(reads(&[Err(ErrorKind::ConnectionRefused)]), upstream);
    assert!(refused.read([&mut [0; 9], &mut []]).is_err());
    drop(refused);
    drop(tap.capture_upstream(reads(&[]), upstream));
    drop(capture);
    let [first, second] = ["x.1", "x"].map(|name| folder.read(name));
    let told = |seen: &Seen| (seen.is_inbound, seen.flags, seen.sequence, seen.acknowledged);
    let asked = (false, SYN, 0, 0);
    assert_eq!(first.packets.iter().map(told).collect::<Vec<_>>(), [asked]);
    assert_eq!((&first.packets[0].comments[..], first.packets[0].client_port), (&["connects".to_owned()][..], 80));
    let expected = [
        asked,
        (true, SYN | ACK, 0, 1),
        (false, ACK, 1, 1),
        (false, PSH | ACK, 1, 1),
        (true, PSH | ACK, 1, 3),
        (false, FIN | ACK, 3, 6),
        asked,
        // RFC 9293 §3.5.2: it answers a SYN.
        (true, RST | ACK, 0, 1),
        asked,
    ];
    assert_eq!(second.packets.iter().map(told).collect::<Vec<_>>(), expected);
    assert_eq!((first.statistics[2], second.statistics[2]), ((1, 0), (9, 0)));
}

#[test]
fn places_that_cannot_be_written_are_refused() {
    let folder = Folder::new();
    let refused = |path: PathBuf| Capture::start(CaptureOptions { path, ..folder.options() }).err().unwrap();
    assert_eq!(refused(folder.0.clone()).kind(), ErrorKind::IsADirectory);
    assert_eq!(refused(folder.0.join("missing/x")).kind(), ErrorKind::NotFound);
    assert_eq!(refused("/dev/null".into()).to_string(), "it is no regular file");
}

#[test]
fn a_full_disk_does_not_end_anything() {
    let folder = Folder::new();
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let place = writer::Place { path: "/dev/full".into(), file: full };
    let capture = Capture::write_to(place, folder.options()).unwrap();
    let tap = capture.tap();
    drop(accept(&tap, 1, reads(&[])));
    drop(capture);
    assert_eq!(tap.counts(), CaptureCounts { seen: 4, dropped: 4 });
}

#[test]
fn what_a_full_disk_does_not_take_counts_once() {
    // The beginning of a connection that is repeated counted as dropped, and not as seen.
    let folder = Folder::new();
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let place = writer::Place { path: "/dev/full".into(), file: full };
    let capture = Capture::write_to(place, folder.options()).unwrap();
    let tap = capture.tap();
    let mut socket = accept(&tap, 1, reads(&[]));
    let bytes = vec![b'x'; MIB as usize];
    for _ in 0..5 {
        assert!(socket.write([&bytes, b""], false).is_ok());
    }
    drop(socket);
    drop(capture);
    let counts = tap.counts();
    assert!(counts.seen > 4 + 5 * bytes.len().div_ceil(DATA_BYTES_MAX) as u64, "no beginning was repeated: {counts:?}");
    assert_eq!(counts.dropped, counts.seen);
}
