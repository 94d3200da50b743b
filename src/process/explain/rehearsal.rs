//! Rehearses a request: a connection as the server has it answers it, but the socket is simulated, jobs run at once, and
//! the clock jumps to the end of each wait.

use std::cell::Ref;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use super::paper::{Paper, PaperSocket};
use super::witness::{Watched, Witness};
use crate::base::disk;
use crate::base::job_pool::JobPool;
use crate::base::limits::Limits;
use crate::base::listener_role::ListenerRole;
use crate::base::moment::Moment;
use crate::base::peer::Peer;
use crate::base::ring::RingBuffer;
use crate::base::slots::Token;
use crate::base::wake::{Interrupt, Wakes};
use crate::connection::{Connection, Identity, LoopContext, Settled};
use crate::http::message::OwnedHead;
use crate::net::Readiness;
use crate::observe::close_reason::CloseReason;
use crate::observe::wait_reason::WaitReason;
use crate::protocol::ProtocolError;
use crate::protocol::h1::server::{Scratch, Server, Step};
use crate::service::front::Front;

/// When enough of a long content is sent to know how it goes on, in bytes.
const SENT_BYTES_MAX: u64 = 64 << 20;
/// How often the clock may jump before a handler decides.
const JUMPS_MAX: u32 = 16;

/// Where requests are rehearsed, one after the other.
pub struct Rehearsals {
    service: Witness,
    cx: LoopContext,
    wakes: Wakes,
    wall: SystemTime,
    /// How long the clock was made to jump.
    waited: Duration,
}

/// What became of one request.
pub struct Rehearsal {
    /// What was sent, and with which calls.
    pub paper: Paper,
    /// What the file system was asked, on the loop and on job threads.
    pub disk: disk::Calls,
    /// What the connection does after that.
    pub end: End,
    /// How long the clock was made to jump.
    pub waited: Duration,
}

/// What a connection does when there is nothing more to rehearse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It is over.
    Closed(CloseReason),
    /// It waits.
    Waits(WaitReason),
    /// It goes on sending.
    Sends,
}

/// The simulated loop never sleeps, so there is nobody to wake.
struct Awake;

impl Interrupt for Awake {
    fn wake(&self) {}
}

impl Rehearsals {
    /// Requests are given to `front`.
    pub fn new(front: Front, limits: Limits) -> Rehearsals {
        let (start, wall) = (Instant::now(), SystemTime::now());
        let jobs = JobPool::without_threads();
        let wakes = Wakes::new(Awake);
        let cx = LoopContext::new(limits, wakes.clone(), jobs, start, wall);
        Rehearsals { service: Witness::new(front), cx, wakes, wall, waited: Duration::ZERO }
    }

    /// What the service was seen to do.
    pub fn watched(&self) -> Ref<'_, Watched> {
        self.service.watched.borrow()
    }

    /// What the protocol makes of a head; `None` if it asks for more bytes.
    pub fn understand(&self, head: &[u8]) -> Option<Result<OwnedHead, ProtocolError>> {
        let limits = &self.cx.environment.limits;
        let mut inbox = RingBuffer::new(limits.inbox_bytes);
        inbox.put(head);
        match Server::new().receive(&mut inbox, &mut Scratch::default(), limits) {
            Ok(Step::Head(request)) => Some(Ok(request.to_owned())),
            Ok(_) => None,
            Err(error) => Some(Err(error)),
        }
    }

    /// Answers a client that sends `head` and nothing else.
    pub fn rehearse(&mut self, head: &[u8]) -> Rehearsal {
        let socket = PaperSocket::new(head);
        let paper = Rc::clone(&socket.0);
        let token = Token { index: 0, generation: 0 };
        let peer = Peer::Ip(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let who = Identity { id: 1, token, peer };
        let mut connection = Connection::new(who, ListenerRole::Http, socket, None, self.cx.moment);
        connection.on_readiness(Readiness { readable: true, writable: true, ..Readiness::default() });
        disk::take_calls();
        let end = self.drive(&mut connection, || paper.borrow().sent_bytes);
        let (disk, waited) = (disk::take_calls(), std::mem::take(&mut self.waited));
        connection.give_back(self.cx.moment, &mut self.cx);
        self.cx.on_turn(Moment::default(), || self.wall);
        Rehearsal { paper: paper.take(), disk, end, waited }
    }

    /// Begins the next turn, if somebody was woken for it.
    fn next_turn(&mut self) -> bool {
        self.wakes.begin_turn();
        let mut ready = Vec::new();
        self.wakes.collect_ready(&mut ready);
        if !ready.is_empty() {
            let later = self.cx.moment + Duration::from_nanos(1);
            let wall = self.wall + later.since(Moment::default());
            self.cx.on_turn(later, || wall);
        }
        !ready.is_empty()
    }

    /// Drives the connection until it waits for the client, or for the clock when it has begun to answer.
    fn drive(&mut self, connection: &mut Connection<PaperSocket>, sent_bytes: impl Fn() -> u64) -> End {
        let mut jumps = 0;
        loop {
            match (connection.drive(&mut self.service, &mut self.cx), connection.wait_reason()) {
                (Settled::Closed(reason), _) => return End::Closed(reason),
                (Settled::Open { .. }, _) if sent_bytes() > SENT_BYTES_MAX => return End::Sends,
                // What the job was for is there already.
                (Settled::Open { again: true, .. }, _) | (_, WaitReason::Job) => {}
                (Settled::Open { .. }, _) if self.next_turn() => {}
                (Settled::Open { deadline, .. }, WaitReason::Timer) if sent_bytes() == 0 && jumps < JUMPS_MAX => {
                    jumps += 1;
                    let later = deadline.max(self.cx.moment);
                    self.waited += later.since(self.cx.moment);
                    let wall = self.wall + later.since(Moment::default());
                    self.cx.on_turn(later, || wall);
                }
                (_, reason) => return End::Waits(reason),
            }
        }
    }
}
