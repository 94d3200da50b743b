//! How a line of the log begins that is about a connection or a request: with what finds the same one in all other places.

use std::fmt;

use super::peer::Client;

/// Which request on its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestKey {
    /// Its number, from 1.
    Ordinal(u64),
    /// The stream of HTTP/2 that it came on.
    Stream(u32),
}

/// What a line of the log is about: `127.0.0.1:40372 c=17 r=3`, or with HTTP/2 `s=5`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogKey {
    /// Who is at the other end, or whom that one names.
    pub client: Client,
    /// The number of the connection.
    pub connection: u64,
    /// The request, if it is about one.
    pub request: Option<RequestKey>,
}

impl RequestKey {
    /// The stream; 0 for HTTP/1, which has none.
    pub fn stream(self) -> u32 {
        match self {
            RequestKey::Ordinal(_) => 0,
            RequestKey::Stream(stream) => stream,
        }
    }
}

impl fmt::Display for RequestKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RequestKey::Ordinal(ordinal) => write!(f, "r={ordinal}"),
            RequestKey::Stream(stream) => write!(f, "s={stream}"),
        }
    }
}

impl fmt::Display for LogKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} c={}", self.client, self.connection)?;
        self.request.map_or(Ok(()), |request| write!(f, " {request}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::peer::{Node, Peer};

    #[test]
    fn a_line_begins_with_the_client_and_ends_with_the_request() {
        let key = |client, request| LogKey { client, connection: 17, request }.to_string();
        let peer = Peer::Ip("127.0.0.1:40372".parse().unwrap());
        assert_eq!(key(peer.into(), None), "127.0.0.1:40372 c=17");
        assert_eq!(key(peer.into(), Some(RequestKey::Ordinal(3))), "127.0.0.1:40372 c=17 r=3");
        assert_eq!(key(Peer::Unix.into(), Some(RequestKey::Stream(5))), "unix: c=17 s=5");
        let named = Some(Node { ip: "192.0.2.1".parse().unwrap(), port: None });
        assert_eq!(key(Client { peer, named }, None), "192.0.2.1 through 127.0.0.1:40372 c=17");
    }
}
