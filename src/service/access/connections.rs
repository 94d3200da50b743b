//! How many connections of one client are served at a time.
//!
//! As with nginx, a connection counts while a request on it is answered: one that is idle takes nothing from anybody. It counts
//! once, however many streams of HTTP/2 it has. Behind a proxy it counts for whoever the request is from.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use super::client::ClientKey;

/// The connections of clients on which requests are answered. There is an entry for each such request at most.
#[derive(Debug, Default)]
pub struct Connections(RefCell<Counts>);

#[derive(Debug, Default)]
struct Counts {
    /// Requests, by client and connection.
    requests: HashMap<(ClientKey, u64), u32>,
    /// Connections, by client.
    connections: HashMap<ClientKey, u32>,
}

/// A request that is answered: its connection counts until this is dropped.
#[derive(Debug)]
#[must_use = "the connection counts no longer once this is dropped"]
pub struct Presence {
    connections: Rc<Connections>,
    client: ClientKey,
    connection: u64,
}

impl Connections {
    /// A request of this client on this connection, unless `max` others count for the client already.
    pub fn enter(self: &Rc<Connections>, client: ClientKey, connection: u64, max: u32) -> Option<Presence> {
        let counts = &mut *self.0.borrow_mut();
        let key = (client, connection);
        if let Some(requests) = counts.requests.get_mut(&key) {
            *requests += 1;
        } else {
            if counts.connections.get(&client).copied().unwrap_or(0) >= max {
                return None;
            }
            counts.requests.insert(key, 1);
            *counts.connections.entry(client).or_default() += 1;
        }
        Some(Presence { connections: Rc::clone(self), client, connection })
    }

    /// How many connections count for this client.
    pub fn of(&self, client: ClientKey) -> u32 {
        self.0.borrow().connections.get(&client).copied().unwrap_or(0)
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        let counts = &mut *self.connections.0.borrow_mut();
        let key = (self.client, self.connection);
        let Some(requests) = counts.requests.get_mut(&key) else { return };
        *requests -= 1;
        if *requests > 0 {
            return;
        }
        counts.requests.remove(&key);
        let Some(connections) = counts.connections.get_mut(&self.client) else { return };
        *connections -= 1;
        if *connections == 0 {
            counts.connections.remove(&self.client);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn client(n: u8) -> ClientKey {
        ClientKey::V4([n; 4])
    }

    #[test]
    fn a_connection_counts_once_and_until_its_last_request_is_over() {
        let connections = Rc::new(Connections::default());
        let enter = |n, connection| connections.enter(client(n), connection, 2);
        let (first, stream, second) = (enter(1, 7), enter(1, 7), enter(1, 8));
        assert!(first.is_some() && stream.is_some() && second.is_some());
        assert!(enter(1, 9).is_none() && enter(2, 9).is_some());
        drop(first);
        assert!(enter(1, 9).is_none(), "another stream is still answered");
        drop(stream);
        assert_eq!(connections.of(client(1)), 1);
        assert!(enter(1, 9).is_some());
    }

    proptest! {
        /// The oracle counts the distinct connections of all requests that are there.
        #[test]
        fn it_counts_distinct_connections(steps in prop::collection::vec((0..3_u8, 0..5_u64, 0..8_usize, any::<bool>()), 0..100)) {
            let connections = Rc::new(Connections::default());
            let mut there: Vec<((u8, u64), Presence)> = Vec::new();
            for (n, connection, index, leaves) in steps {
                if leaves && !there.is_empty() {
                    drop(there.swap_remove(index % there.len()));
                } else {
                    let mut others: Vec<u64> = there.iter().filter(|(key, _)| key.0 == n).map(|(key, _)| key.1).collect();
                    others.sort_unstable();
                    others.dedup();
                    let expected = others.contains(&connection) || others.len() < 3;
                    let presence = connections.enter(client(n), connection, 3);
                    prop_assert_eq!(presence.is_some(), expected);
                    there.extend(presence.map(|presence| ((n, connection), presence)));
                }
            }
            drop(there);
            let counts = connections.0.borrow();
            prop_assert!(counts.requests.is_empty() && counts.connections.is_empty(), "nothing is left behind");
        }
    }
}
