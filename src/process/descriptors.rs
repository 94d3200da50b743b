//! How many descriptors, and therefore connections, the system grants.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors that are not for connections: standard streams, the selector, listeners, files.
const RESERVED: u64 = 64;

/// As many connections as are worth allowing however many descriptors there are.
const CONNECTIONS_MAX: u64 = 1_000_000;

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

/// How many connections to allow: what was asked for, and never more than `descriptors` suffice for.
pub fn connections_max(asked: Option<u32>, descriptors: u64) -> usize {
    let possible = possible_connections(descriptors);
    match asked.map(u64::from) {
        Some(asked) if asked > possible => {
            log::warn!(
                "--max-connections {asked}: {descriptors} open files are allowed, which is enough for {possible} \
                 connections; to have more, raise the hard limit (ulimit -Hn)"
            );
            possible as usize
        }
        Some(asked) => asked as usize,
        None => possible as usize,
    }
}

/// Half of a very small number, so that something is left for both.
fn possible_connections(descriptors: u64) -> u64 {
    (descriptors - RESERVED.min(descriptors / 2)).clamp(1, CONNECTIONS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_descriptors_are_kept_back() {
        assert_eq!(connections_max(None, 1024), 960);
        assert_eq!(connections_max(None, 20), 10);
        assert_eq!(connections_max(None, 0), 1);
        assert_eq!(connections_max(None, u64::MAX), 1_000_000);
    }

    #[test]
    fn a_wish_is_granted_as_far_as_descriptors_go() {
        assert_eq!(connections_max(Some(10), 1024), 10);
        assert_eq!(connections_max(Some(960), 1024), 960);
        assert_eq!(connections_max(Some(961), 1024), 960);
    }
}
