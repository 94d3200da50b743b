//! What a million idle connections cost, by building them: the loop's own tables, but without sockets.

use std::fs::File;
use std::io;
use std::mem::size_of;

use allocation_counter::measure;
use tidemill::base::listener_id::ListenerId;
use tidemill::base::listener_role::ListenerRole;
use tidemill::base::moment::Moment;
use tidemill::base::peer::Peer;
use tidemill::base::slots::Slots;
use tidemill::base::timer_wheel::TimerWheel;
use tidemill::connection::{Connection, Entrance, Identity};
use tidemill::net::stream::Stream;
use tidemill::net::{Io, Socket};

/// A million in the sense that fills vectors which double: what they allocate is then what is in use.
const CONNECTIONS: u64 = 1 << 20;
/// The most that each of them may cost, in bytes.
const BYTES_MAX: u64 = 380;
/// The connection itself, in its slot.
const CONNECTION: u64 = size_of::<Connection<Stream>>() as u64;
/// Its slot's generation.
const GENERATION: u64 = size_of::<u32>() as u64;
/// Its deadline's place in the wheel.
const DEADLINE: u64 = 16;

/// Everything that a connection owns while it is idle lies in its slot: rings and records are taken from pools only while there are
/// bytes and requests. What lists of connections with something to do take, they take for those alone.
#[test]
fn a_million_idle_connections_stay_within_their_bound() {
    let (mut slots, mut timers) = (Slots::new(), TimerWheel::new());
    let in_slots = measure(|| fill(&mut slots)).bytes_current as u64;
    let in_timers = measure(|| arm_all(&slots, &mut timers)).bytes_current as u64;
    assert_eq!(size_of::<Connection<NoSocket>>(), size_of::<Connection<Stream>>(), "as large as a real one");
    assert_eq!(in_slots, CONNECTIONS * (CONNECTION + GENERATION), "nothing else is allocated for a connection");
    // The wheel has its own nodes in front, and so a reserve behind.
    assert!(in_timers < 2 * CONNECTIONS * DEADLINE, "{in_timers} bytes for {CONNECTIONS} deadlines");
    let each = CONNECTION + GENERATION + DEADLINE;
    assert!(
        each <= BYTES_MAX,
        "{CONNECTION} bytes for the connection + {GENERATION} for its slot's generation + {DEADLINE} for its deadline = {each} \
         bytes each, or as many MB for a million; the bound is {BYTES_MAX}"
    );
}

fn fill(slots: &mut Slots<Connection<NoSocket>>) {
    for id in 0..CONNECTIONS {
        let token = slots.next_token();
        let who = Identity { id, token, peer: Peer::Unix };
        slots.insert(Connection::new(
            who,
            Entrance { listener: ListenerId::new(0), role: ListenerRole::Http },
            NoSocket::default(),
            None,
            Moment::default(),
        ));
    }
}

/// 16 a millisecond, from 75 s on.
fn arm_all(slots: &Slots<Connection<NoSocket>>, timers: &mut TimerWheel) {
    for (token, _) in slots.iter() {
        timers.arm(token.index, Moment::from_millis(75_000 + u64::from(token.index) / 16));
    }
}

/// Takes as much room as a socket.
#[derive(Default)]
struct NoSocket {
    _room: [u64; size_of::<Stream>() / size_of::<u64>()],
}

impl Socket for NoSocket {
    fn read(&mut self, _: [&mut [u8]; 2]) -> io::Result<Io> {
        Ok(Io::WouldBlock)
    }

    fn write(&mut self, _: [&[u8]; 2], _: bool) -> io::Result<Io> {
        Ok(Io::WouldBlock)
    }

    fn send_file(&mut self, _: &File, _: u64, _: usize) -> io::Result<Io> {
        Ok(Io::WouldBlock)
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
}
