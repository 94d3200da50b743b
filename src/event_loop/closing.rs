//! The end of a connection: what is counted, kept, logged and freed.

use log::Level;

use super::EventLoop;
use crate::base::listener_role::ListenerRole;
use crate::base::slots::Token;
use crate::connection::Connection;
use crate::net::{Reactor, Socket};
use crate::observe::keep_alive_race::KeepAliveRace;
use crate::service::Service;

impl<R: Reactor, V: Service> EventLoop<R, V> {
    /// Frees the slot of a connection that is over, and tells whoever wants to know how it ended.
    pub(super) fn free(&mut self, token: Token) {
        let Some(mut connection) = self.connections.remove(token) else { return };
        // Others may have been driven in this turn, so its beginning would be too early.
        let closed_at = self.phases.mark();
        connection.give_back(closed_at, &mut self.context);
        self.context.counters.syscalls.close += 1;
        let race = connection.race(&self.context, || self.reactor.wall());
        if let Some(race) = &race {
            self.context.counters.count_race(race);
        }
        self.split().1.close_records(&connection, closed_at);
        self.timers.disarm(token.index);
        self.acceptor.end_rest();
        match connection.role() {
            ListenerRole::Admin => self.forget_admin(token, &connection),
            ListenerRole::Upstream => self.upstreams_open -= 1,
            ListenerRole::Http | ListenerRole::Https | ListenerRole::TcpEcho | ListenerRole::LineEcho => {}
        }
        if let Some(past) = self.context.past.as_mut().filter(|_| connection.role() != ListenerRole::Admin)
            && let Some(ended) = connection.past(closed_at, race)
        {
            past.add_connection(ended);
        }
        self.log_end(&connection, race.as_ref());
        if let Some(reason) = connection.close_reason() {
            let (id, marks) = (connection.who().id, self.context.marks);
            marks.strace(id, |text| write!(text, "close: {reason}"));
            let line = || close_line(&connection, race.as_ref());
            marks.comment(id, |text| write!(text, "close: {}", line()));
            if let Some(live) = &mut self.context.live_captures {
                live.end(id, connection.captured_end(), |text| write!(text, "close: {}", line()));
                self.context.forget_captures();
            }
        }
    }

    /// Says why a connection is over: to everybody, if its client is to blame, or if a request came too late.
    fn log_end(&self, connection: &Connection<R::Socket>, race: Option<&KeepAliveRace>) {
        let (key, now) = (connection.who().log_key(None), self.context.moment);
        if connection.ends_badly() || race.is_some() {
            let (line, farewell) = (close_line(connection, race), connection.farewell(now));
            self.context.complain(Level::Info, format_args!("{key}: {line}{farewell}"));
        } else {
            log::debug!("{key}: {}{}", close_line(connection, race), connection.farewell(now));
        }
    }
}

fn close_line<S: Socket>(connection: &Connection<S>, race: Option<&KeepAliveRace>) -> String {
    let reason = match (connection.verdict(), connection.close_reason()) {
        (Some(verdict), Some(reason)) => verdict.with_reason(reason).to_string(),
        _ => String::from("open"),
    };
    let how = if connection.is_truncated() { ", without close_notify" } else { "" };
    let late = race.map_or(String::new(), |race| format!("; {}", race.sentence()));
    match connection.requests() {
        1 => format!("{reason} after 1 request{how}{late}"),
        n => format!("{reason} after {n} requests{how}{late}"),
    }
}
