//! Driving a connection, and noting what a drive has brought about.

use std::time::Duration;

use super::access_log::AccessLog;
use super::cpu_clock::CpuClock;
use super::phases::Phases;
use super::run_queue::RunQueue;
use crate::base::listener_role::ListenerRole;
use crate::base::moment::Moment;
use crate::base::slots::Token;
use crate::base::timer_wheel::TimerWheel;
use crate::connection::{Connection, LoopContext, Settled};
use crate::net::{Interest, Reactor};
use crate::observe::access_log::{Line, summary};
use crate::observe::close_reason::CloseReason;
use crate::observe::delay::LONG_NANOS;
use crate::service::Service;

/// What driving a connection takes: the loop without its connections.
pub(super) struct DriveParts<'a, R: Reactor, V: Service> {
    pub(super) reactor: &'a mut R,
    pub(super) service: &'a mut V,
    pub(super) context: &'a mut LoopContext,
    pub(super) run_queue: &'a mut RunQueue,
    pub(super) timers: &'a mut TimerWheel,
    pub(super) phases: &'a mut Phases,
    pub(super) cpu: &'a mut CpuClock,
    pub(super) access_log: &'a mut Option<AccessLog>,
    pub(super) closed: &'a mut Vec<Token>,
}

impl<R: Reactor, V: Service> DriveParts<'_, R, V> {
    pub(super) fn drive(&mut self, token: Token, connection: &mut Connection<R::Socket>) {
        let settled = connection.drive(self.service, self.context);
        self.apply(token, connection, settled);
    }

    /// Does what a connection asked for when it settled.
    pub(super) fn apply(&mut self, token: Token, connection: &mut Connection<R::Socket>, settled: Settled) {
        match settled {
            Settled::Closed(_) => self.on_closed(token),
            Settled::Open { interest, deadline, again } => {
                self.timers.arm(token.index, deadline);
                self.arm(token, connection, interest);
                if again {
                    self.run_queue.push(token, connection);
                }
            }
        }
    }

    /// Asks the kernel for what the connection now needs, if that is not what it was asked for already.
    fn arm(&mut self, token: Token, connection: &mut Connection<R::Socket>, interest: Interest) {
        let (socket, armed) = connection.armed_socket();
        if armed == Some(interest) {
            return;
        }
        self.context.counters.syscalls.ctl += 1;
        match self.reactor.arm(socket, token, armed, interest) {
            Ok(()) => connection.on_armed(interest),
            Err(error) => {
                log::error!("{}: the kernel refuses to watch it: {error}", connection.who().log_key(None));
                connection.close(CloseReason::Broken(error.kind()));
                self.on_closed(token);
            }
        }
    }

    fn on_closed(&mut self, token: Token) {
        self.closed.push(token);
    }

    /// Notes how long a drive took, what it has brought about, and which requests it ended. Returns when the next drive
    /// begins.
    pub(super) fn on_driven(&mut self, connection: &mut Connection<R::Socket>, began: Moment) -> Moment {
        let now = self.reactor.clock();
        let nanos = now.nanos_since(began);
        connection.note_drive(now, self.context);
        let who = connection.who();
        let finished = &self.context.finished;
        let write_request = |request: &mut String| {
            match finished.back().map(|record| &**record).or(connection.record()) {
                Some(record) => record.write_request(request),
                // An echo connection has no requests. Any other has none just now.
                None => request.push_str(connection.protocol()),
            }
        };
        let mut off_cpu = None;
        if self.cpu.is_due(nanos, now) {
            self.context.counters.syscalls.cpu_time += 1;
            off_cpu = self.cpu.read(nanos, now, self.reactor.cpu_time());
        }
        // Answers of the admin listener are named only if they hold others up.
        let is_named = || nanos >= LONG_NANOS || connection.role() != ListenerRole::Admin;
        self.phases.drove(nanos, now, is_named, |drive| {
            write_request(&mut drive.request);
            (drive.wall, drive.off_cpu, drive.connection) = (self.reactor.wall(), off_cpu, who.id);
        });
        if nanos >= LONG_NANOS {
            self.context.long_drives.note(Duration::from_nanos(nanos), now, who.id, write_request);
        }
        self.close_records(connection, now);
        if let Some(live) = &mut self.context.live_captures {
            connection.end_captured_drive(live);
            self.context.forget_captures();
        }
        self.context.drive_began = now;
        self.context.arrivals.driven += 1;
        now
    }

    /// Counts and logs the requests that are over, oldest first.
    pub(super) fn close_records(&mut self, connection: &Connection<R::Socket>, now: Moment) {
        let (who, role) = (connection.who(), connection.role());
        while let Some(record) = self.context.finished.pop_front() {
            if role == ListenerRole::Admin {
                self.context.count_admin_request(&record);
            }
            self.context.marks.comment(who.id, |text| write!(text, "{}", summary(&record)));
            if let Some(live) = &mut self.context.live_captures {
                live.comment(who.id, |text| write!(text, "{} {}", summary(&record), record.request()));
            }
            self.context.close_record(record, who, role, |record| {
                if let Some(log) = self.access_log.as_mut().filter(|_| record.is_logged()) {
                    let wall = self.reactor.wall();
                    let began = wall.checked_sub(now.since(record.began)).unwrap_or(wall);
                    let tls = connection.tls();
                    let tls = tls.as_ref();
                    log.add(&Line { began, connection: who.id, peer: who.peer, role, tls, record });
                }
            });
        }
    }
}
