//! The server's side of a world: edge-triggered epoll and its sockets, as the event loop sees them.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::unix::fs::FileExt;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tidemill::base::listener_id::ListenerId;
use tidemill::base::listener_role::ListenerRole;
use tidemill::base::moment::Moment;
use tidemill::base::peer::Peer;
use tidemill::base::slots::Token;
use tidemill::base::wake::Interrupt;
use tidemill::net::{Event, Interest, Io, PeerProgress, Reactor, Socket};

use crate::link::{Direction, LinkId};
use crate::timeline::excerpt;
use crate::world::World;

/// A world that the loop and the person who watches it share.
pub type SharedWorld = Rc<RefCell<World>>;

/// The kernel of a simulated world.
pub struct SimReactor {
    world: SharedWorld,
    began: Instant,
    now: Instant,
}

impl SimReactor {
    /// The kernel of `world`.
    pub fn new(world: SharedWorld) -> SimReactor {
        let began = Instant::now();
        SimReactor { world, began, now: began }
    }
}

impl Reactor for SimReactor {
    type Socket = SimSocket;
    type Listener = ();

    fn now(&self) -> Instant {
        self.now
    }

    fn origin(&self) -> Instant {
        self.began
    }

    fn clock(&self) -> Moment {
        Moment::new(self.began, self.began + self.world.borrow().now)
    }

    fn wall(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_700_000_000) + self.world.borrow().now
    }

    fn poll(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()> {
        let mut world = self.world.borrow_mut();
        world.poll(timeout, events);
        self.now = self.began + world.now;
        Ok(())
    }

    fn listeners(&self) -> Vec<(ListenerId, ListenerRole)> {
        self.world.borrow().listeners()
    }

    fn open_listener(&mut self, (): (), role: ListenerRole) -> io::Result<ListenerId> {
        Ok(self.world.borrow_mut().listen(role))
    }

    fn set_role(&mut self, listener: ListenerId, role: ListenerRole) {
        self.world.borrow_mut().set_role(listener, role);
    }

    fn close_listener(&mut self, listener: ListenerId) {
        self.world.borrow_mut().close_listener(listener);
    }

    fn accept(&mut self, listener: ListenerId) -> io::Result<Option<(SimSocket, Peer)>> {
        let accepted = self.world.borrow_mut().accept(listener)?;
        Ok(accepted.map(|link| {
            let peer = SocketAddr::from(([10, 0, (link >> 8) as u8, link as u8], 40_000));
            (SimSocket { world: Rc::clone(&self.world), link }, Peer::Ip(peer))
        }))
    }

    fn connect(&mut self, address: SocketAddr) -> io::Result<SimSocket> {
        let link = self.world.borrow_mut().begin_connection(address)?;
        Ok(SimSocket { world: Rc::clone(&self.world), link })
    }

    fn arm(&mut self, socket: &mut SimSocket, token: Token, from: Option<Interest>, to: Interest) -> io::Result<()> {
        let mut world = self.world.borrow_mut();
        let registered = world.links[socket.link].interest;
        if registered != from {
            world.fail(Some(socket.link), format!("armed from {from:?}, but {registered:?} is registered"));
        }
        if from != Some(to) {
            world.note(socket.link, || format!("armed {to:?} as {token:?}"));
            world.links[socket.link].arm(token, to);
        }
        Ok(())
    }
}

impl Drop for SimReactor {
    fn drop(&mut self) {
        if let Ok(mut world) = self.world.try_borrow_mut() {
            world.stop_listening();
        }
    }
}

/// The server's end of one connection. Dropping it closes it.
pub struct SimSocket {
    world: SharedWorld,
    link: LinkId,
}

impl Socket for SimSocket {
    fn read(&mut self, space: [&mut [u8]; 2]) -> io::Result<Io> {
        let mut world = self.world.borrow_mut();
        let asked = space[0].len() + space[1].len();
        assert!(asked > 0, "a read needs room");
        world.creep();
        let outcome = read(&mut world, self.link, space);
        world.note(self.link, || format!("read of {asked}: {outcome:?}"));
        outcome
    }

    fn write(&mut self, bytes: [&[u8]; 2], _more: bool) -> io::Result<Io> {
        let mut world = self.world.borrow_mut();
        assert!(!bytes[0].is_empty() || !bytes[1].is_empty(), "a write needs bytes");
        world.creep();
        let outcome = write(&mut world, self.link, bytes);
        let asked = bytes[0].len() + bytes[1].len();
        world.note(self.link, || format!("write of {asked} {}: {outcome:?}", excerpt(bytes[0])));
        outcome
    }

    fn send_file(&mut self, file: &File, offset: u64, count: usize) -> io::Result<Io> {
        let mut bytes = vec![0; count];
        match file.read_at(&mut bytes, offset)? {
            0 => Ok(Io::Eof),
            n => self.write([&bytes[..n], &[]], false),
        }
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        let mut world = self.world.borrow_mut();
        world.creep();
        let now = world.now;
        let link = &mut world.links[self.link];
        if link.server_was_reset || link.is_connecting {
            return Err(ErrorKind::NotConnected.into());
        }
        link.write_shut = true;
        link.down.fin_queued = true;
        link.mark_end(now);
        if link.up.fin_received {
            link.edge_for_all();
        }
        world.count_progress();
        world.note(self.link, || "server sends FIN".to_owned());
        world.pump(self.link, Direction::Down);
        Ok(())
    }

    fn local_address(&self) -> Option<SocketAddr> {
        Some(SocketAddr::from(([10, 8, 0, 1], 80)))
    }

    fn take_error(&mut self) -> io::Result<()> {
        self.world.borrow_mut().links[self.link].take_error()
    }

    fn unread(&self) -> io::Result<u64> {
        Ok(self.world.borrow().links[self.link].up.received.len() as u64)
    }

    fn peer_progress(&self) -> Option<io::Result<PeerProgress>> {
        let acknowledged = self.world.borrow().links[self.link].down.arrived;
        Some(Ok(PeerProgress { acknowledged, window_was_shut: Duration::ZERO, silent_for: None }))
    }

    fn abort_on_close(&mut self) -> io::Result<()> {
        self.world.borrow_mut().links[self.link].abort_on_close = true;
        Ok(())
    }
}

impl Drop for SimSocket {
    fn drop(&mut self) {
        // A panic may have come from within the world; it is the one to report.
        if let Ok(mut world) = self.world.try_borrow_mut() {
            world.close(self.link);
        }
    }
}

fn read(world: &mut World, id: LinkId, space: [&mut [u8]; 2]) -> io::Result<Io> {
    let World { links, dice, now, upstreams, .. } = world;
    let link = &mut links[id];
    let asked = space[0].len() + space[1].len();
    let there = link.up.received.len();
    if there == 0 {
        link.take_error()?;
        return match () {
            () if link.up.fin_received || link.server_was_reset => Ok(Io::Eof),
            () => Ok(Io::WouldBlock),
        };
    }
    let mut n = there.min(asked);
    if dice.chance(link.nature.short_reads) {
        n = dice.between(1, n);
    }
    link.moved_in_turn += n;
    link.marks.last_read = Some(*now);
    upstreams.on_readable(id, n < there || link.up.fin_received, *now);
    for (byte, place) in link.up.received.drain(..n).zip(space.into_iter().flatten()) {
        *place = byte;
    }
    world.count_progress();
    world.pump(id, Direction::Up);
    // A read that was cut short for another reason than the end of what is there must not claim that end.
    Ok(if n == there && n < asked { Io::Drained(n) } else { Io::Moved(n) })
}

fn write(world: &mut World, id: LinkId, bytes: [&[u8]; 2]) -> io::Result<Io> {
    world.watch_the_reuse(id);
    let World { links, dice, now, .. } = world;
    let link = &mut links[id];
    let asked = bytes[0].len() + bytes[1].len();
    link.take_error()?;
    if link.is_connecting {
        return Ok(Io::WouldBlock);
    }
    if link.server_was_reset {
        return Err(ErrorKind::BrokenPipe.into());
    }
    if link.write_shut {
        world.fail(Some(id), "written to after its FIN".to_owned());
        return Err(ErrorKind::BrokenPipe.into());
    }
    let mut n = link.send_space().min(asked);
    if n > 0 && dice.chance(link.nature.short_writes) {
        n = dice.between(1, n);
    }
    // Linux remembers that a write found too little room, and tells when there is enough again.
    link.wants_space |= n < asked;
    if n == 0 {
        link.marks.send_blocked.get_or_insert(*now);
        return Ok(Io::WouldBlock);
    }
    link.mark_write(n, *now);
    link.moved_in_turn += n;
    link.down.unsent.extend(bytes[0].iter().chain(bytes[1]).take(n));
    world.count_progress();
    world.pump(id, Direction::Down);
    Ok(Io::Moved(n))
}

/// Makes a world's poll return with a wake.
pub struct SimWake(pub Arc<AtomicBool>);

impl Interrupt for SimWake {
    fn wake(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
