//! How many descriptors the system grants, and what they are for.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::base::limits::{ADMINS_MAX, ConnectionsBound};
use crate::net::capture::DESCRIPTORS_MAX;

/// Descriptors of the process itself: standard streams, the selector, signals, the access log. So many are kept
/// back at least, and at most if there are few.
const OWN_MIN: u64 = 16;
const OWN_MAX: u64 = 64;

/// Descriptors for the admin, if there are few: four connections, and four questions to the kernel.
const ADMIN_MIN: u64 = 8;
/// Questions to the kernel at a time.
const QUESTIONS: u64 = 4;

/// A job that looks something up holds so many at most: the root, the file, its compressed siblings, and one that it is
/// about to look at.
const LOOK_UP: u64 = 6;

/// As many open files as the cache may hold, however many descriptors there are.
const CACHED_MAX: u64 = 1024;

/// Sockets with which names of upstreams are looked up at a time.
const LOOKED_UP_NAMES: u64 = 16;

/// As many connections as are worth allowing however many descriptors there are.
const CONNECTIONS_MAX: u64 = 1_000_000;

/// Who needs descriptors.
#[derive(Debug, Clone, Copy)]
pub struct Needs {
    /// The connections that were asked for.
    pub asked: Option<u32>,
    /// How many listeners there are.
    pub listeners: usize,
    /// Whether one of them is the admin's.
    pub admin: bool,
    /// How many threads look up files; 0 if none are served.
    pub file_threads: usize,
    /// Whether there is a capture.
    pub capture: bool,
    /// Whether requests are passed on to upstreams.
    pub proxy: bool,
}

/// What the descriptors are for. All shares together are no more than there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shares {
    /// Connections of everyone.
    pub connections: usize,
    /// What bounds them.
    pub bound: ConnectionsBound,
    /// Connections to upstreams, idle ones too; 0 if there are none.
    pub upstreams: usize,
    /// Connections of the admin.
    pub admins: usize,
    /// Files that are open at a time.
    pub files: usize,
    /// Those among them that the cache may hold.
    pub cached_files: usize,
}

/// Raises the limit on descriptors as far as the system lets us, and says what it is then.
pub fn raise_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
        // Not fatal: the server runs with what it has.
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            log::warn!("cannot raise the limit on open files: {error}");
        }
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Shares `descriptors` out.
///
/// If files are served, each connection may need one for its file besides its own; if requests are passed on, it may need one
/// for its upstream. So about half are for connections, or a third if there is both, and nobody gets a 503 for want of a
/// descriptor. More connections that are asked for are granted as long as a quarter is left for files, and a quarter for
/// upstreams. Where there are next to none, each share is at least one.
pub fn share(descriptors: u64, needs: &Needs) -> Shares {
    let own = (descriptors / 4).clamp(OWN_MIN, OWN_MAX).max(OWN_MIN + needs.listeners as u64);
    let admin_share = (descriptors / 8).clamp(ADMIN_MIN, ADMINS_MAX as u64 + QUESTIONS);
    let capture = if needs.capture { DESCRIPTORS_MAX } else { 0 };
    let names = if needs.proxy { LOOKED_UP_NAMES } else { 0 };
    let rest = descriptors.saturating_sub(own + capture + names + if needs.admin { admin_share } else { 0 });
    let look_ups = (LOOK_UP * needs.file_threads as u64).min(rest / 3);
    let rest = rest - look_ups;
    let cached = if needs.file_threads > 0 { (rest / 8).min(CACHED_MAX) } else { 0 };
    // What else a connection may need one for.
    let others = u64::from(needs.file_threads > 0) + u64::from(needs.proxy);
    let (safe, possible) = ((rest - cached) / (1 + others), rest - others * (rest / 4));
    let [safe, possible] = [safe, possible].map(|connections| connections.clamp(1, CONNECTIONS_MAX));
    let asked = needs.asked.map(u64::from);
    let connections = asked.map_or(safe, |asked| asked.min(possible));
    let is_as_asked = asked == Some(connections) || connections == CONNECTIONS_MAX;
    let left = rest.saturating_sub(connections);
    let upstreams = match (needs.proxy, needs.file_threads) {
        (false, _) => 0,
        (true, 0) => left.clamp(1, CONNECTIONS_MAX),
        (true, _) => (left.saturating_sub(cached) / 2).clamp(1, CONNECTIONS_MAX),
    };
    // Half of what a look-up holds is files.
    let files = (left.saturating_sub(upstreams) + look_ups / 2).max(1);
    Shares {
        connections: connections as usize,
        bound: if is_as_asked { ConnectionsBound::Setting } else { ConnectionsBound::Descriptors(descriptors) },
        upstreams: upstreams as usize,
        admins: (admin_share - QUESTIONS) as usize,
        files: usize::try_from(files).unwrap_or(usize::MAX),
        cached_files: cached.min(files / 2) as usize,
    }
}

/// Says that fewer connections are allowed than were asked for, or that files may find no descriptor, if that is so.
pub fn warn_if_too_few(shares: &Shares, needs: &Needs, descriptors: u64) {
    if let Some(asked) = needs.asked.filter(|asked| *asked as usize > shares.connections) {
        log::warn!(
            "--max-connections {asked}: {descriptors} open files are allowed, which is enough for {} connections; to have \
             more, raise the hard limit (ulimit -Hn)",
            shares.connections
        );
    }
    let enough = OWN_MIN + needs.listeners as u64 + LOOK_UP;
    if needs.file_threads > 0 && descriptors < enough {
        log::warn!("{descriptors} open files are allowed (ulimit -n): files may get 503; allow at least {enough}");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LAB: Needs = Needs { asked: None, listeners: 1, admin: false, file_threads: 0, capture: false, proxy: false };
    const FILES: Needs = Needs { admin: true, listeners: 2, file_threads: 4, ..LAB };

    fn connections(descriptors: u64, needs: Needs) -> usize {
        share(descriptors, &needs).connections
    }

    #[test]
    fn some_descriptors_are_kept_back() {
        assert_eq!(connections(1024, LAB), 960);
        assert_eq!(connections(64, LAB), 47);
        assert_eq!(connections(20, LAB), 3);
        assert_eq!(connections(0, LAB), 1);
        assert_eq!(connections(u64::MAX, LAB), 1_000_000);
        assert_eq!(connections(1024, Needs { listeners: 100, ..LAB }), 1024 - 116);
        assert_eq!(connections(1024, Needs { capture: true, ..LAB }), 960 - DESCRIPTORS_MAX as usize);
    }

    #[test]
    fn a_wish_is_granted_as_far_as_descriptors_go() {
        let asking = |asked| share(1024, &Needs { asked: Some(asked), ..LAB });
        let got = [10, 960, 961].map(|asked| (asking(asked).connections, asking(asked).bound));
        let (setting, descriptors) = (ConnectionsBound::Setting, ConnectionsBound::Descriptors(1024));
        assert_eq!(got, [(10, setting), (960, setting), (960, descriptors)]);
        assert_eq!(share(1024, &LAB).bound, descriptors);
    }

    #[test]
    fn each_connection_may_have_a_file_and_the_admin_comes_in() {
        let shares = share(64, &FILES);
        assert_eq!((shares.connections, shares.admins), (11, 4));
        assert!(shares.files > shares.connections + shares.cached_files, "{shares:?}");
        assert_eq!(connections(64, Needs { asked: Some(60), ..FILES }), 20, "a quarter is for files");
    }

    #[test]
    fn each_connection_may_have_an_upstream_and_names_are_looked_up() {
        let proxy = Needs { proxy: true, ..LAB };
        let shares = share(1024, &proxy);
        assert_eq!((shares.connections, shares.upstreams), (472, 472));
        let shares = share(1024, &Needs { asked: Some(10), ..proxy });
        assert_eq!(
            (shares.connections, shares.upstreams),
            (10, 1024 - 64 - 16 - 10),
            "streams of HTTP/2 take the rest"
        );
        assert_eq!(connections(1024, Needs { asked: Some(1000), ..proxy }), 708, "a quarter is for upstreams");
        let shares = share(1024, &Needs { proxy: true, ..FILES });
        assert!(shares.upstreams >= shares.connections && shares.files >= shares.connections, "{shares:?}");
        assert_eq!(share(u64::MAX, &proxy).upstreams, 1_000_000);
        assert_eq!(share(1024, &LAB).upstreams, 0);
    }

    proptest! {
        #[test]
        fn no_more_is_shared_out_than_there_is(
            descriptors in 80u64..100_000,
            asked in proptest::option::of(1u32..200_000),
            listeners in 1usize..4,
            admin: bool,
            file_threads in 0usize..=64,
            proxy: bool,
        ) {
            let needs = Needs { asked, listeners, admin, file_threads, capture: false, proxy };
            let shares = share(descriptors, &needs);
            let files = if file_threads > 0 { shares.files } else { 0 };
            let admins = if admin { shares.admins + QUESTIONS as usize } else { 0 };
            let names = if proxy { LOOKED_UP_NAMES as usize } else { 0 };
            let used = OWN_MIN as usize + shares.connections + shares.upstreams + names + files + admins;
            prop_assert!(used as u64 <= descriptors, "{shares:?}");
            prop_assert!(shares.connections > 0 && shares.cached_files <= shares.files);
            if asked.is_none() && file_threads > 0 && descriptors > 64 {
                prop_assert!(shares.files >= shares.connections + shares.cached_files, "{shares:?}");
            }
            if asked.is_none() && proxy && descriptors > 128 {
                prop_assert!(shares.upstreams >= shares.connections, "{shares:?}");
            }
        }
    }
}
