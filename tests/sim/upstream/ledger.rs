//! What upstreams know of the server: which connections there are and what they serve, and which requests have come.

use std::net::SocketAddr;
use std::time::Duration;

use super::Upstreams;
use super::request::Request;
use crate::link::{Link, LinkId, ServerEnd};
use crate::world::World;

/// A request that has reached an upstream.
#[derive(Debug, Clone, Copy)]
pub struct Sighting {
    link: LinkId,
    is_reused: bool,
    is_idempotent: bool,
    /// Bytes that the server had read before from that connection.
    read_before: u64,
    is_second: bool,
}

/// How a direction of a tunnel has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// In order.
    Fin,
    /// The socket was closed, in order if nothing more came.
    Closed,
    /// By a reset.
    Reset,
}

/// What an upstream has said in a tunnel.
#[derive(Debug, Clone, Copy, Default)]
pub struct Said {
    /// In bytes.
    pub bytes: usize,
    /// And how that ended, if it has.
    pub end: Option<End>,
    /// It has heard all that the client had to say, and the end of it.
    pub has_heard: bool,
    /// The client has heard the end, and has said all, and nobody has broken off.
    pub is_over: bool,
}

/// What is known of a connection to an upstream.
#[derive(Debug)]
pub struct Known {
    pub address: SocketAddr,
    /// The request that it serves.
    pub serves: Option<Serves>,
    /// The client of HTTP/1 whose request it has served last.
    pub served: Option<LinkId>,
    /// The server asks whether the upstream is well.
    pub is_check: bool,
    /// It has served requests, and nothing is left of them.
    pub is_idle: bool,
    /// The upstream has given its answer to a request of which it has read so much, and reads no more.
    pub left: Option<(Request, Vec<u8>)>,
    /// When anything last moved on it that a client may wait for.
    pub moved_at: Duration,
    /// Since when there has been something that the server could read.
    pub unread_since: Option<Duration>,
    /// Since when nothing has been left to be read or written, with the upstream idle.
    pub quiet_since: Option<Duration>,
}

/// A request that is being served.
#[derive(Debug)]
pub struct Serves {
    /// Whose it is.
    pub client: Option<LinkId>,
    /// Whether that speaks HTTP/1.
    pub is_of_http1: bool,
    /// What the server had read and written by then, on the connection to the upstream.
    pub upstream: Moved,
    /// And on that of its client.
    pub downstream: Moved,
    /// The client's bytes are not more than those that the upstream gets: they are not chunked.
    pub is_measured: bool,
}

/// How many bytes the server has moved on a connection.
#[derive(Debug, Clone, Copy, Default)]
pub struct Moved {
    pub read: u64,
    pub written: u64,
}

impl Moved {
    /// By now.
    pub fn on(link: &Link) -> Moved {
        let read = link.up.arrived - link.up.received.len() as u64;
        Moved { read, written: link.down.arrived + link.down.held_by_sender() as u64 }
    }
}

impl Known {
    /// Whether the server has written all of a request whose upstream reads no more, and has read the answer.
    fn is_through(&self, link: &Link) -> bool {
        let Some((request, read)) = self.left.as_ref().filter(|_| Moved::on(link).read == link.up.arrived) else {
            return false;
        };
        let written: Vec<u8> = read.iter().chain(&link.down.received).copied().collect();
        link.up.held_by_sender() == 0 && request.content(&written).is_ok_and(|content| content.is_some())
    }
}

impl Upstreams {
    /// The server begins a connection to this address. `open`: those that it has open besides.
    pub fn on_connect(&mut self, link: LinkId, address: SocketAddr, open: usize, now: Duration) -> Result<(), String> {
        self.known.insert(
            link,
            Known {
                address,
                serves: None,
                served: None,
                is_check: false,
                is_idle: false,
                left: None,
                moved_at: now,
                unread_since: None,
                quiet_since: None,
            },
        );
        if self.rules.open_max.is_some_and(|max| open >= max) {
            return Err(format!("one connection to upstreams more than {:?}", self.rules.open_max));
        }
        self.names.as_ref().map_or(Ok(()), |names| names.check(address.ip(), now))
    }

    /// Something moves on a connection to an upstream.
    pub fn on_move(&mut self, link: LinkId, now: Duration) {
        let Some(known) = self.known.get_mut(&link) else { return };
        known.moved_at = now;
        if let Some(client) = known.serves.as_ref().and_then(|serves| serves.client) {
            self.moved_for.insert(client, now);
        }
    }

    /// A name has been resolved: everybody may have waited for it.
    pub fn on_name(&mut self, now: Duration) {
        self.moved_for.values_mut().for_each(|at| *at = now);
        self.known.values_mut().for_each(|known| known.moved_at = now);
    }

    /// Whether nothing has moved in a tunnel for as long as nothing may, and what its client is told or says there may be on its
    /// way behind what else is sent on its connection: that is so in HTTP/2. `sent_at`: when the upstream has last said anything.
    pub fn is_silent_in_a_queue(&self, link: LinkId, sent_at: Duration, world: &World) -> bool {
        let Some(known) = self.known.get(&link) else { return false };
        let client = known.serves.as_ref().filter(|serves| !serves.is_of_http1).and_then(|serves| serves.client);
        let queued = client.map_or(0, |client| {
            let Link { up, down, .. } = &world.links[client];
            up.held_by_sender() + down.held_by_sender() + down.received.len()
        });
        let written_at = world.links[link].last_writes.back().map(|(_, at)| *at);
        queued > 0 && world.now >= sent_at.max(written_at.unwrap_or_default()) + self.rules.tunnel_timeout
    }

    /// When anything last moved that this client may wait for: on connections that serve it, or nobody as far as is known. Where
    /// requests wait for each other, everything counts.
    pub fn moved_at(&self, client: LinkId) -> Duration {
        let wait_for_each_other = self.rules.max.is_some() || self.rules.open_max.is_some();
        let counts = |known: &&Known| wait_for_each_other || known.serves.is_none() && !known.is_check;
        let connections = self.known.values().filter(counts).map(|known| known.moved_at);
        let own = self.moved_for.get(&client).copied();
        connections.chain(own).max().unwrap_or_default()
    }

    /// The server has read what there was, or something has arrived there that it can read.
    pub fn on_readable(&mut self, link: LinkId, is_readable: bool, now: Duration) {
        let Some(known) = self.known.get_mut(&link) else { return };
        known.unread_since = is_readable.then(|| known.unread_since.unwrap_or(now));
    }

    /// What is known of a connection.
    pub fn known(&self, link: LinkId) -> Option<&Known> {
        self.known.get(&link)
    }

    /// All connections to upstreams there have been.
    pub fn all_known(&mut self) -> impl Iterator<Item = (LinkId, &mut Known)> {
        self.known.iter_mut().map(|(link, known)| (*link, known))
    }

    /// An upstream has answered a request and reads no more than this of it.
    pub fn set_left(&mut self, link: LinkId, left: impl FnOnce() -> (Request, Vec<u8>)) {
        if let Some(known) = self.known.get_mut(&link).filter(|known| known.left.is_none()) {
            known.left = Some(left());
        }
    }

    /// Whether an upstream has done all that a connection was used for.
    pub fn set_idle(&mut self, link: LinkId, is_idle: bool, now: Duration) {
        let Some(known) = self.known.get_mut(&link).filter(|known| known.is_idle != is_idle) else { return };
        (known.is_idle, known.moved_at) = (is_idle, now);
        if let Some(serves) = known.serves.take_if(|_| is_idle) {
            known.served = serves.client.filter(|_| serves.is_of_http1);
        }
    }
}

impl World {
    /// A request has reached an upstream, which has had so many before on this connection.
    ///
    /// # Errors
    /// It must not have, unless it is the first time, or the proof holds that it was safe to send it once more: the connection
    /// had been used before and has given no byte, and the method is idempotent (RFC 9110 §9.2.2). Nor must it if there are as
    /// many requests at this address as there may be, or if the address fails its checks and others do not.
    pub fn upstream_gets(&mut self, link: LinkId, request: &Request, before: u64) -> Result<(), String> {
        let now = self.now;
        let World { links, upstreams, told_to_stop, .. } = self;
        let upstream = Moved::on(&links[link]);
        let client = request.client().filter(|client| *client < links.len());
        let downstream = client.map_or(Moved::default(), |client| Moved::on(&links[client]));
        let is_of_http1 = request.is_from("1.");
        let is_measured = is_of_http1 && (request.length().is_some() || request.field("upgrade").is_some());
        let Some(known) = upstreams.known.get_mut(&link) else {
            return Err("a connection that nobody began".to_owned());
        };
        known.is_idle = false;
        let address = known.address;
        if request.is_check() {
            known.is_check = true;
            return match &mut upstreams.checks {
                None => Err("a check that nobody has asked for".to_owned()),
                // Without room it is put off, and a bad upstream may not hear of it.
                Some(_) if told_to_stop.is_some() || upstreams.rules.is_wild => Ok(()),
                Some(checks) => checks.on_check(address, now),
            };
        }
        known.serves = Some(Serves { client, is_of_http1, upstream, downstream, is_measured });
        upstreams.on_move(link, now);
        if upstreams.checks.as_ref().is_some_and(|checks| !upstreams.rules.is_wild && checks.is_misled(address, now)) {
            return Err(format!("a request goes to {address}, which fails its checks"));
        }
        let is_busy = |(at, known): (&LinkId, &Known)| {
            let Link { server, write_shut, .. } = &links[*at];
            let is_open = *server == ServerEnd::Open && !write_shut;
            known.address == address && known.serves.is_some() && is_open && !known.is_through(&links[*at])
        };
        let busy = upstreams.known.iter().filter(|(at, known)| is_busy((at, known))).count();
        if upstreams.rules.max.is_some_and(|max| busy > max as usize) {
            return Err(format!("{busy} requests at {address}, more than {:?}", upstreams.rules.max));
        }
        let Some(tag) = request.tag() else { return Ok(()) };
        let (is_reused, is_idempotent, read_before) = (before > 0, request.is_idempotent(), upstream.read);
        let new = Sighting { link, is_reused, is_idempotent, read_before, is_second: false };
        let Some(first) = upstreams.sightings.insert(tag, new) else { return Ok(()) };
        upstreams.sightings.insert(tag, Sighting { is_second: true, ..new });
        let Sighting { link: at, is_reused, is_idempotent, read_before, is_second } = first;
        let read = Moved::on(&links[at]).read.saturating_sub(read_before);
        match is_reused && is_idempotent && !is_second && read == 0 {
            true => Ok(()),
            false => Err(format!("request {tag} comes once more, after {first:?} had given {read} bytes")),
        }
    }
}
