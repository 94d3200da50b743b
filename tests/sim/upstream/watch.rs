//! What the server must never do to its connections to upstreams, looked at whenever it polls.

use std::time::Duration;

use super::ledger::{Known, Moved, Serves};
use crate::link::{Link, LinkId, ServerEnd};
use crate::world::World;

/// What a relay holds in each direction, in bytes.
const RING_BYTES: usize = 32 * 1024;
/// Heads, framing, interim responses and what is thrown away, in bytes.
const BESIDES_BYTES: usize = 24 * 1024;
/// How exactly an idle connection is closed.
const TOLERANCE: Duration = Duration::from_secs(1);
/// A connection that has rested for so long is read before it is used again, and what arrives while that is done may cross.
const RESTED: Duration = Duration::from_millis(150);
const CROSSING: Duration = Duration::from_millis(10);

impl World {
    /// What one side sends and the other does not take is not taken from the first: the rings of both connections, and those
    /// between them, are all there is. And nobody keeps an idle connection for longer than it may.
    pub fn watch_the_upstreams(&mut self) {
        let now = self.now;
        let held = RING_BYTES + BESIDES_BYTES + self.limits.inbox_bytes + self.limits.outbox_bytes;
        let World { links, upstreams, .. } = self;
        let idle_timeout = upstreams.rules.idle_timeout;
        let mut wrong = None;
        for (link, known) in upstreams.all_known().filter(|(link, _)| links[*link].server == ServerEnd::Open) {
            if let Some(bytes) = known.serves.as_ref().and_then(|serves| hoarded(links, link, serves, held as u64)) {
                wrong = Some((link, format!("{bytes} bytes are held between client and upstream, more than {held}")));
            }
            known.quiet_since = is_quiet(links, link, known).then(|| known.quiet_since.unwrap_or(now));
            if known.quiet_since.is_some_and(|since| now > since + idle_timeout + TOLERANCE) {
                wrong = Some((link, format!("idle since {:?}, and not closed", known.quiet_since)));
            }
        }
        if let Some((link, wrong)) = wrong {
            self.fail(Some(link), wrong);
        }
    }

    /// The server writes to an upstream. If that begins another request on an idle connection, there must be nothing to read:
    /// it would be taken for the response. Torture hides what there is.
    pub fn watch_the_reuse(&mut self, link: LinkId) {
        let (now, marks) = (self.now, self.links[link].marks);
        let Some(known) = self.upstreams.known(link).filter(|known| known.is_idle) else { return };
        let has_rested = marks.last_write.max(marks.last_read).is_some_and(|moved| now > moved + RESTED);
        let was_told = known.unread_since.is_some_and(|since| now > since + CROSSING);
        if has_rested && was_told && !self.upstreams.rules.is_tortured {
            self.fail(Some(link), format!("used again, with something to read since {:?}", known.unread_since));
        }
    }
}

/// How much is held between a client and the upstream that serves it, if that is too much.
fn hoarded(links: &[Link], link: LinkId, serves: &Serves, held: u64) -> Option<u64> {
    let client = &links[serves.client?];
    // What has been given to somebody who is gone is not counted any more.
    let is_gone = |link: &Link| link.server_was_reset || link.client_closed;
    if client.server != ServerEnd::Open || is_gone(client) || is_gone(&links[link]) {
        return None;
    }
    let (upstream, downstream) = (Moved::on(&links[link]), Moved::on(client));
    let (taken, given) = (upstream.read - serves.upstream.read, downstream.written - serves.downstream.written);
    let down = taken.saturating_sub(given);
    let (taken, given) = (downstream.read - serves.downstream.read, upstream.written - serves.upstream.written);
    let up = if serves.is_measured { taken.saturating_sub(given) } else { 0 };
    Some(down.max(up)).filter(|bytes| *bytes > held)
}

/// Whether the server can only wait for another request: its client has got all of the response.
fn is_quiet(links: &[Link], link: LinkId, known: &Known) -> bool {
    let is_empty = |Link { up, down, .. }: &Link| {
        up.held_by_sender() + up.received.len() + down.held_by_sender() + down.received.len() == 0
    };
    let Some(client) = known.served.map(|client| &links[client]) else { return false };
    // One that says something without being asked is listened to for a while, behind our FIN.
    known.is_idle && !links[link].write_shut && is_empty(&links[link]) && (client.has_ended() || is_empty(client))
}
