//! Capture: what connections read and write, in a file for Wireshark and tshark, as packets.
//!
//! [`Capture`] owns the file and the thread that writes it. Its [`Tap`] goes to whoever has something to record: a
//! [`CapturedSocket`] records the bytes, [`Marks`](super::marks::Marks) the comments, and TLS its keys. Nothing here waits:
//! what finds no room in memory is dropped and counted.

mod block;
pub mod live;
mod segment;
mod socket;
mod writer;

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub use socket::CapturedSocket;

use super::Socket;
use crate::base::listener_role::ListenerRole;
use crate::base::peer::Peer;
use writer::{Place, Writer};

/// What waits for the disk, in bytes, and how many files that were sent wait to be read. Each of these has a descriptor.
const WAITING_BYTES_MAX: usize = 8 * 1024 * 1024;
const WAITING_FILES_MAX: usize = 16;
/// Descriptors that a capture has at a time, at most: its file and the next one, those that wait, and one more that was opened
/// before it was clear that it may not wait.
pub const DESCRIPTORS_MAX: u64 = 2 + WAITING_FILES_MAX as u64 + 1;
/// Comments of a connection that wait for its next packet, in bytes.
const COMMENTS_BYTES_MAX: usize = 2048;
/// How long the end of the server waits for what is not written yet.
const END_TIMEOUT: Duration = Duration::from_secs(1);

/// What is captured, and where to.
#[derive(Debug, Clone)]
pub struct CaptureOptions {
    /// The file.
    pub path: PathBuf,
    /// The most bytes on disk: of this file and of the one before it.
    pub bytes_max: u64,
    /// The name of the program with its version.
    pub program: String,
    /// The listeners, and one for all upstreams, if there are any. More may follow: see [`Tap::interface`].
    pub interfaces: Vec<Interface>,
}

/// A listener, or all upstreams, as the file names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its address.
    pub name: String,
    /// What it is for.
    pub role: ListenerRole,
}

/// How much has been captured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CaptureCounts {
    /// Packets that there were.
    pub seen: u64,
    /// Those of them that are not in the file, because memory or the disk had no room for them.
    pub dropped: u64,
}

/// A capture that runs. Dropping it waits a moment for what is not written yet.
pub struct Capture {
    tap: Tap,
}

impl Capture {
    /// Makes the file, or empties it, and starts the thread that writes it.
    ///
    /// # Errors
    /// The file cannot be written, or is no regular file, or there can be no thread.
    pub fn start(options: CaptureOptions) -> io::Result<Capture> {
        let place = Place::create(options.path.clone())?;
        Capture::write_to(place, options)
    }

    fn write_to(place: Place, options: CaptureOptions) -> io::Result<Capture> {
        let counts = vec![CaptureCounts::default(); options.interfaces.len()];
        let of_upstreams = options.interfaces.iter().position(|interface| interface.role == ListenerRole::Upstream);
        let state = State { interfaces: options.interfaces.clone(), counts, of_upstreams, ..State::default() };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let mut writer = Writer::new(place, options, Arc::clone(&shared));
        thread::Builder::new().name("pcapng".into()).spawn(move || writer.run())?;
        Ok(Capture { tap: Tap(shared) })
    }

    /// For those who have something to record.
    pub fn tap(&self) -> Tap {
        self.tap.clone()
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.tap.end_turn();
        let shared = &self.tap.0;
        let mut state = shared.lock();
        state.is_ending = true;
        shared.changed.notify_all();
        let waited = shared.changed.wait_timeout_while(state, END_TIMEOUT, |state| !state.has_ended);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if !state.has_ended || state.untold > 0 {
            log::warn!("capture: the last packets are missing: the disk does not take them fast enough");
        }
    }
}

/// Takes what is to be recorded. Clones record to the same file.
#[derive(Clone)]
pub struct Tap(Arc<Shared>);

impl fmt::Debug for Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tap").finish_non_exhaustive()
    }
}

/// What the loop and the thread have in common.
struct Shared {
    state: Mutex<State>,
    /// Notified when there is something to do for the thread, and when it has ended.
    changed: Condvar,
}

impl Shared {
    /// Nobody panics while holding the lock; if somebody did, the events would still be events.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Default)]
struct State {
    /// Events of this turn, which may still get comments.
    turn: Vec<Event>,
    /// Those of earlier turns.
    waiting: Vec<Event>,
    /// Keys that are not written. They stand in front of the packets of the same turn.
    secrets: String,
    /// Memory of what is not written, in bytes, and its open files.
    bytes: usize,
    files: usize,
    /// Connections by their number, and the comments that wait for their next packet.
    connections: HashMap<u64, Named>,
    /// Connections so far.
    accepted: u64,
    /// All of them, also those that the thread does not know yet.
    interfaces: Vec<Interface>,
    /// For each of them.
    counts: Vec<CaptureCounts>,
    /// The interface of connections to upstreams.
    of_upstreams: Option<usize>,
    /// Packets that were dropped, and no comment says so.
    untold: u64,
    /// The file is to be begun anew after so many events of `waiting`.
    reopen_at: Option<usize>,
    /// The thread is at work, or was called to it.
    at_work: bool,
    is_ending: bool,
    has_ended: bool,
}

struct Named {
    flow: Arc<Flow>,
    comments: Vec<Box<str>>,
}

/// What the packets of a connection have in common.
struct Flow {
    /// Its number, once it has one.
    id: AtomicU64,
    interface: u32,
    server: SocketAddr,
    client: SocketAddr,
    /// Whether the addresses are made up.
    is_unix: bool,
    /// Whether we have begun the connection: then we are the client.
    is_ours: bool,
    /// When it was accepted, or when we have begun it.
    began_at: u64,
    /// In which file its beginning was written last. Only the thread asks.
    section: AtomicU64,
    /// Whether that beginning has the answer of the server. Only the thread asks.
    is_answered: AtomicBool,
}

impl Flow {
    /// A connection of a client that begins now.
    fn new(interface: usize, server: SocketAddr, client: SocketAddr) -> Flow {
        Flow {
            id: AtomicU64::new(0),
            interface: interface as u32,
            server,
            client,
            is_unix: false,
            is_ours: false,
            began_at: now(),
            section: AtomicU64::new(0),
            is_answered: AtomicBool::new(false),
        }
    }
}

/// Something that happened on a connection.
struct Event {
    flow: Arc<Flow>,
    /// Nanoseconds since 1970.
    at: u64,
    direction: Direction,
    /// The next sequence numbers of both sides: that of the first byte is 1.
    of_client: u64,
    of_server: u64,
    what: What,
    comments: Vec<Box<str>>,
    /// So many packets of any connections were dropped before this one.
    missing: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    FromClient,
    ToClient,
}

enum What {
    /// A client's connection was accepted: its whole handshake.
    Accepted,
    /// We have asked for a connection, and it was there later.
    Asked,
    Answered,
    Bytes(Box<[u8]>),
    /// Part of a file, which the thread reads, or of which the length alone is known.
    FilePart {
        file: Option<File>,
        offset: u64,
        length: usize,
    },
    Fin,
    Reset,
}

impl Event {
    /// In how many packets it is written.
    fn packets(&self) -> u64 {
        match &self.what {
            What::Accepted => 3,
            What::Answered => 2,
            What::Bytes(bytes) => bytes.len().div_ceil(segment::DATA_BYTES_MAX) as u64,
            What::FilePart { length, .. } => length.div_ceil(segment::DATA_BYTES_MAX) as u64,
            What::Asked | What::Fin | What::Reset => 1,
        }
    }

    /// The memory that it needs, in bytes.
    fn bytes(&self) -> usize {
        let data = if let What::Bytes(bytes) = &self.what { bytes.len() } else { 0 };
        size_of::<Event>() + data + bytes_of(&self.comments)
    }

    fn files(&self) -> usize {
        usize::from(matches!(self.what, What::FilePart { file: Some(_), .. }))
    }
}

fn bytes_of(comments: &[Box<str>]) -> usize {
    comments.iter().map(|comment| size_of::<Box<str>>() + comment.len()).sum()
}

impl State {
    /// Whether there is nothing to do for the thread.
    fn is_written(&self) -> bool {
        self.waiting.is_empty() && self.reopen_at.is_none()
    }

    /// Keeps an event, or drops it if there is no room.
    fn add(&mut self, mut event: Event) {
        if let Some(named) = self.connections.get_mut(&event.flow.id.load(Ordering::Relaxed)) {
            event.comments = std::mem::take(&mut named.comments);
        }
        let packets = event.packets();
        let Some(counts) = self.counts.get_mut(event.flow.interface as usize) else { return };
        counts.seen += packets;
        let bytes = event.bytes();
        if self.bytes + bytes > WAITING_BYTES_MAX {
            counts.dropped += packets;
            self.untold += packets;
            return;
        }
        if let What::FilePart { file: file @ Some(_), .. } = &mut event.what
            && self.files >= WAITING_FILES_MAX
        {
            *file = None;
        }
        self.bytes += bytes;
        self.files += event.files();
        event.missing = std::mem::take(&mut self.untold);
        self.turn.push(event);
    }
}

impl Tap {
    /// The number of this interface. If there is none like it so far, there is from now on.
    pub fn interface(&self, interface: Interface) -> usize {
        let state = &mut *self.0.lock();
        if let Some(number) = state.interfaces.iter().position(|other| *other == interface) {
            return number;
        }
        if interface.role == ListenerRole::Upstream {
            state.of_upstreams = Some(state.interfaces.len());
        }
        state.interfaces.push(interface);
        state.counts.push(CaptureCounts::default());
        state.interfaces.len() - 1
    }

    /// Records from now on what is read and written through `socket`, which was just accepted by a listener with this role, on
    /// the interface with this number.
    pub fn capture<S: Socket>(&self, socket: S, peer: Peer, interface: usize, role: ListenerRole) -> CapturedSocket<S> {
        let number = {
            let mut state = self.0.lock();
            state.accepted += 1;
            state.accepted
        };
        let (server, client) = match (socket.local_address(), peer) {
            (Some(server), Peer::Ip(client)) => (server, client),
            _ => made_up(number, role),
        };
        let flow = Flow { is_unix: peer == Peer::Unix, ..Flow::new(interface, server, client) };
        CapturedSocket::new(socket, flow, self.clone())
    }

    /// Records from now on what is read and written through `socket`, with which a connection to the upstream at this `address`
    /// was just begun.
    pub fn capture_upstream<S: Socket>(&self, socket: S, address: SocketAddr) -> CapturedSocket<S> {
        let of_upstreams = Interface { name: "upstreams".into(), role: ListenerRole::Upstream };
        let known = self.0.lock().of_upstreams;
        let interface = known.unwrap_or_else(|| self.interface(of_upstreams));
        let unknown: SocketAddr = match address {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let client = socket.local_address().unwrap_or(unknown);
        let flow = Flow { is_ours: true, ..Flow::new(interface, address, client) };
        CapturedSocket::new(socket, flow, self.clone())
    }

    /// Adds a comment to the last packet, if it is one of this connection, or else to the next packet of the connection.
    pub fn comment(&self, id: u64, text: &str) {
        let mut state = self.0.lock();
        let State { turn, connections, bytes, .. } = &mut *state;
        let Some(named) = connections.get_mut(&id) else { return };
        let comment = Box::<str>::from(text);
        let size = bytes_of(std::slice::from_ref(&comment));
        match turn.last_mut().filter(|event| Arc::ptr_eq(&event.flow, &named.flow)) {
            Some(event) if *bytes + size <= WAITING_BYTES_MAX => {
                *bytes += size;
                event.comments.push(comment);
            }
            None if bytes_of(&named.comments) + size <= COMMENTS_BYTES_MAX => named.comments.push(comment),
            _ => {}
        }
    }

    /// Adds a line to the keys, in the format of NSS.
    pub fn add_secret(&self, line: &str) {
        let mut state = self.0.lock();
        if state.bytes + line.len() <= WAITING_BYTES_MAX {
            state.bytes += line.len();
            state.secrets.push_str(line);
        }
    }

    /// Hands on what this turn has brought. What it has recorded gets no more comments.
    pub fn end_turn(&self) {
        let mut state = self.0.lock();
        let State { turn, waiting, .. } = &mut *state;
        waiting.append(turn);
        if !state.is_written() && !state.at_work {
            state.at_work = true;
            self.0.changed.notify_all();
        }
    }

    /// Begins the file anew. What was there before has another name, unless somebody has moved it.
    pub fn reopen(&self) {
        let mut state = self.0.lock();
        let State { turn, waiting, reopen_at, .. } = &mut *state;
        waiting.append(turn);
        // A second order before the first was carried out changes nothing.
        reopen_at.get_or_insert(waiting.len());
    }

    /// How much has been captured, on all interfaces.
    pub fn counts(&self) -> CaptureCounts {
        self.0.lock().counts.iter().fold(CaptureCounts::default(), |sum, counts| CaptureCounts {
            seen: sum.seen + counts.seen,
            dropped: sum.dropped + counts.dropped,
        })
    }

    fn add(&self, event: Event) {
        self.0.lock().add(event);
    }

    /// From now on comments on this connection are taken.
    fn on_named(&self, flow: &Arc<Flow>, id: u64) {
        flow.id.store(id, Ordering::Relaxed);
        self.0.lock().connections.insert(id, Named { flow: Arc::clone(flow), comments: Vec::new() });
    }

    /// The connection has ended: comments that wait for another packet are added to its last one of this turn.
    fn on_ended(&self, flow: &Arc<Flow>) {
        let mut state = self.0.lock();
        let Some(named) = state.connections.remove(&flow.id.load(Ordering::Relaxed)) else { return };
        if named.comments.is_empty() {
            return;
        }
        let last = state.turn.iter_mut().rev().find(|event| Arc::ptr_eq(&event.flow, flow));
        if let Some(event) = last {
            let added = bytes_of(&named.comments);
            event.comments.extend(named.comments);
            state.bytes += added;
        }
    }
}

/// Addresses for the ends of a Unix socket, which has none: those for examples (RFC 5737), with the port that readers expect
/// of such a listener, and one for each client.
fn made_up(number: u64, role: ListenerRole) -> (SocketAddr, SocketAddr) {
    let server = match role {
        ListenerRole::Http | ListenerRole::Admin | ListenerRole::Upstream => 80,
        ListenerRole::Https => 443,
        ListenerRole::TcpEcho | ListenerRole::LineEcho => 7,
    };
    let client = 1024 + (number % 64_000) as u16;
    ((Ipv4Addr::new(192, 0, 2, 1), server).into(), (Ipv4Addr::new(192, 0, 2, 2), client).into())
}

/// The time, as a packet has it: nanoseconds since 1970, until 2554.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}

#[cfg(test)]
mod tests;
