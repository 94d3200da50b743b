//! What became of connections before they were accepted: the accept queue of each listener over the life of the loop.

use std::fmt::{self, Display, Formatter};
use std::rc::Rc;
use std::time::SystemTime;

use super::access_log::time_text::of_day;
use super::delay::Delay;
use crate::base::listener_id::ListenerId;

/// The accept queue of one listener since the loop began.
#[derive(Debug, Clone, Default)]
pub struct QueueStatus {
    /// Which listener.
    pub listener: ListenerId,
    /// Where it listens.
    pub address: String,
    /// The backlog as the kernel cut it, if it is known. There is room for one connection more.
    pub limit: Option<u32>,
    /// When the most connections waited that were seen.
    pub high_water: Option<HighWater>,
    /// Packets of clients that wanted to connect and that the kernel has dropped since the server has the listener, as far
    /// as the loop knows; `None` if the kernel does not count them.
    pub drops: Option<u32>,
    /// When the loop last learned that there were more of them.
    pub dropped_at: Option<SystemTime>,
}

/// The most connections that waited at a time.
#[derive(Debug, Clone)]
pub struct HighWater {
    /// How many.
    pub depth: u32,
    /// When they were seen.
    pub at: SystemTime,
    /// What the loop was busy with while they came, if that took long: the longest drive of that time, and how long they can
    /// have waited.
    pub behind: Option<Rc<Delay>>,
}

/// The kernel has dropped what clients sent in order to connect.
#[derive(Debug, Clone)]
pub struct Overflow {
    /// Where.
    pub address: String,
    /// How many packets, since this was last looked at.
    pub packets: u32,
    /// How many connections were in the queue when it was looked at, and before they were accepted.
    pub depth: u32,
    /// The backlog as the kernel cut it.
    pub limit: u32,
    /// When it was found.
    pub at: SystemTime,
    /// What the loop was busy with, if that is known.
    pub behind: Option<Rc<Delay>>,
    /// Whether nobody could be accepted, because all connections allowed were in use.
    pub is_barred: bool,
}

impl Display for Overflow {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Overflow { address, packets, depth, limit, at, behind, is_barred } = self;
        let room = u64::from(*limit) + 1;
        write!(f, "{address}: the accept queue overflows: the kernel has dropped {packets} ")?;
        write!(f, "packet{} of clients that want to connect, ", if *packets == 1 { "" } else { "s" })?;
        match behind.as_deref() {
            _ if *is_barred => write!(f, "noticed at {}, while all connections allowed are in use", of_day(*at))?,
            Some(Delay { took, connection, request }) => {
                let since = of_day(at.checked_sub(*took).unwrap_or(*at));
                write!(f, "since {since}, while the loop was busy for {took:.1?} with c={connection} {request}")?;
            }
            None => write!(f, "noticed at {}, and no drive was long", of_day(*at))?,
        }
        let advice = if *is_barred { "--max-connections" } else { "--backlog, and net.core.somaxconn with it" };
        write!(f, "; {depth} waited, and there is room for {room}: raise {advice}")
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn an_overflow_says_how_many_since_when_where_because_of_whom_and_what_to_do() {
        let behind = Delay { took: Duration::from_millis(250), connection: 3, request: "POST /users".into() };
        let overflow = Overflow {
            address: "127.0.0.1:8080".into(),
            packets: 37,
            depth: 17,
            limit: 16,
            at: UNIX_EPOCH + Duration::from_millis(60_250),
            behind: Some(Rc::new(behind)),
            is_barred: false,
        };
        let expected = "127.0.0.1:8080: the accept queue overflows: the kernel has dropped 37 packets of clients that want to \
                        connect, since 00:01:00.000, while the loop was busy for 250.0ms with c=3 POST /users; 17 waited, and \
                        there is room for 17: raise --backlog, and net.core.somaxconn with it";
        assert_eq!(overflow.to_string(), expected);
        let barred = Overflow { is_barred: true, ..overflow.clone() }.to_string();
        let expected = "noticed at 00:01:00.250, while all connections allowed are in use; 17 waited, and there is room for 17: \
                        raise --max-connections";
        assert!(barred.ends_with(expected), "{barred}");
        let alone = Overflow { packets: 1, behind: None, ..overflow }.to_string();
        assert!(alone.contains("dropped 1 packet of") && alone.contains("noticed at 00:01:00.250, and no"), "{alone}");
    }
}
