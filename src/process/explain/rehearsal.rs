//! Rehearses a request: a connection as the server has it answers it, but the socket is simulated, jobs run at once, and
//! the clock jumps to the end of each wait.

use std::cell::Ref;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use super::frames;
use super::order::Asked;
use super::paper::{Paper, PaperSocket};
use super::report::Understood;
use super::witness::{Watched, Witness};
use crate::base::disk;
use crate::base::job_pool::JobPool;
use crate::base::limits::Limits;
use crate::base::listener_id::ListenerId;
use crate::base::listener_role::ListenerRole;
use crate::base::moment::Moment;
use crate::base::peer::Peer;
use crate::base::ring::RingBuffer;
use crate::base::slots::Token;
use crate::base::wake::{Interrupt, Wakes};
use crate::connection::{Connection, Entrance, Identity, LoopContext, Settled, Telling};
use crate::net::Readiness;
use crate::observe::close_reason::CloseReason;
use crate::observe::wait_reason::WaitReason;
use crate::protocol::h1::server::{Server, Step};
use crate::protocol::h1::spans::Scratch;
use crate::protocol::h2::{self, session::Session};
use crate::service::front::Front;

/// When enough of a long content is sent to know how it goes on, in bytes.
const SENT_BYTES_MAX: u64 = 64 << 20;
/// How often the clock may jump before a handler decides.
const JUMPS_MAX: u32 = 16;

/// Where requests are rehearsed, one after the other.
pub struct Rehearsals {
    service: Witness,
    entrance: Entrance,
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

/// How far an answer has come.
struct Progress {
    sent_bytes: u64,
    is_answered: bool,
}

impl Progress {
    fn of(paper: &Paper, asked: &Asked) -> Progress {
        let is_answered = match asked {
            Asked::Http1(_) => paper.sent_bytes > 0,
            // SETTINGS come at once, and are no answer.
            Asked::Http2(_) => frames::answer(&paper.sent).status.is_some(),
        };
        Progress { sent_bytes: paper.sent_bytes, is_answered }
    }
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
        let entrance = Entrance { listener: ListenerId::NONE, role: ListenerRole::Http };
        Rehearsals { service: Witness::new(front), entrance, cx, wakes, wall, waited: Duration::ZERO }
    }

    /// Responses tell this about their requests.
    pub fn tell(&mut self, telling: Option<Telling>) {
        self.cx.environment.telling = telling.map(Box::new);
    }

    /// Requests come through this listener from now on, over TLS perhaps with this server name.
    pub fn enter(&mut self, entrance: Entrance, server_name: Option<String>) {
        self.entrance = entrance;
        self.service.server_name = server_name;
    }

    /// Who answers.
    pub fn front(&self) -> &Front {
        &self.service.front
    }

    /// What the service was seen to do.
    pub fn watched(&self) -> Ref<'_, Watched> {
        self.service.watched.borrow()
    }

    /// What the protocol makes of a request.
    pub fn understand(&self, asked: &Asked) -> Understood {
        match asked {
            Asked::Http1(head) => self.understand_http1(head),
            Asked::Http2(bytes) => self.understand_http2(bytes),
        }
    }

    fn understand_http2(&self, bytes: &[u8]) -> Understood {
        let limits = &self.cx.environment.limits;
        let (mut inbox, mut outbox) = (RingBuffer::new(bytes.len()), RingBuffer::new(limits.outbox_bytes));
        let (mut session, mut scratch) = (Session::new(limits), h2::session::Scratch::default());
        inbox.put(bytes);
        session.begin(&mut outbox, limits);
        loop {
            match session.receive(&mut inbox, &mut outbox, &mut scratch, limits, self.cx.moment) {
                Ok(h2::session::Step::Head { head, .. }) => return Some(Ok(head.to_owned())),
                Ok(h2::session::Step::Refused { error, .. }) => return Some(Err(error.to_string())),
                Ok(h2::session::Step::Rejected { fault, .. }) | Err(fault) => return Some(Err(fault.to_string())),
                Ok(h2::session::Step::NeedBytes | h2::session::Step::Paused) => return None,
                Ok(_) => {}
            }
        }
    }

    fn understand_http1(&self, head: &[u8]) -> Understood {
        let limits = &self.cx.environment.limits;
        let mut inbox = RingBuffer::new(limits.inbox_bytes);
        inbox.put(head);
        match Server::new().receive(&mut inbox, &mut Scratch::default(), limits) {
            Ok(Step::Head(request)) => Some(Ok(request.to_owned())),
            Ok(_) => None,
            Err(error) => Some(Err(error.to_string())),
        }
    }

    /// Answers a client that sends this and nothing else.
    pub fn rehearse(&mut self, asked: &Asked) -> Rehearsal {
        let (Asked::Http1(bytes) | Asked::Http2(bytes)) = asked;
        let socket = PaperSocket::new(bytes);
        let paper = Rc::clone(&socket.0);
        let token = Token { index: 0, generation: 0 };
        let peer = Peer::Ip(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let who = Identity { id: 1, token, peer };
        let mut connection = Connection::new(who, self.entrance, socket, None, self.cx.moment);
        connection.on_readiness(Readiness { readable: true, writable: true, ..Readiness::default() });
        disk::take_calls();
        let end = self.drive(&mut connection, || Progress::of(&paper.borrow(), asked));
        let (disk, waited) = (disk::take_calls(), std::mem::take(&mut self.waited));
        connection.give_back(self.cx.moment, &mut self.cx);
        self.cx.on_turn(Moment::default(), || self.wall);
        Rehearsal { paper: paper.take(), disk, end, waited }
    }

    /// Begins the next turn, if somebody was woken for it.
    fn next_turn(&mut self, connection: &mut Connection<PaperSocket>) -> bool {
        self.wakes.begin_turn();
        let mut ready = Vec::new();
        self.wakes.collect_ready(&mut ready);
        ready.iter().for_each(|wake| connection.on_woken(wake.key.stream, None));
        if !ready.is_empty() {
            let later = self.cx.moment + Duration::from_nanos(1);
            let wall = self.wall + later.since(Moment::default());
            self.cx.on_turn(later, || wall);
        }
        !ready.is_empty()
    }

    /// Tells the connection which of its streams were woken by jobs.
    fn wake(&mut self, connection: &mut Connection<PaperSocket>) {
        let mut woken = Vec::new();
        self.wakes.collect(&mut woken);
        woken.iter().for_each(|wake| connection.on_woken(wake.key.stream, None));
    }

    /// Drives the connection until it waits for the client, or for the clock when it has begun to answer.
    fn drive(&mut self, connection: &mut Connection<PaperSocket>, progress: impl Fn() -> Progress) -> End {
        let mut jumps = 0;
        loop {
            self.wake(connection);
            match (connection.drive(&mut self.service, &mut self.cx), connection.wait_reason()) {
                (Settled::Closed(reason), _) => return End::Closed(reason),
                (Settled::Open { .. }, _) if progress().sent_bytes > SENT_BYTES_MAX => return End::Sends,
                // What the job was for is there already.
                (Settled::Open { again: true, .. }, _) | (_, WaitReason::Job) => {}
                (Settled::Open { .. }, _) if self.next_turn(connection) => {}
                (Settled::Open { deadline, .. }, WaitReason::Timer) if !progress().is_answered && jumps < JUMPS_MAX => {
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
