//! What a listener is for.

/// What the connections of a listener are for, and so who answers them and which limits they count against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListenerRole {
    /// HTTP, counted against `--max-connections`.
    Http,
    /// HTTP over TLS, counted against `--max-connections`.
    Https,
    /// TCP: every byte comes back. Counted against `--max-connections`.
    TcpEcho,
    /// TCP: every line comes back once it is complete. Counted against `--max-connections`.
    LineEcho,
    /// HTTP for the operator of the server: the admin's pages. It counts against a limit of its own and stays open while
    /// the server drains.
    Admin,
    /// Nobody listens: we have opened the connection, to an upstream. It counts against a limit of its own.
    Upstream,
}

impl ListenerRole {
    /// What `--listen` can ask for. The admin's listener has an option of its own.
    pub const OF_LISTEN: [ListenerRole; 4] =
        [ListenerRole::Http, ListenerRole::Https, ListenerRole::TcpEcho, ListenerRole::LineEcho];

    /// What stands before the address: the scheme that asks for it, and that its clients use.
    pub fn scheme(self) -> &'static str {
        match self {
            ListenerRole::Http | ListenerRole::Admin | ListenerRole::Upstream => "http",
            ListenerRole::Https => "https",
            ListenerRole::TcpEcho => "tcp-echo",
            ListenerRole::LineEcho => "line-echo",
        }
    }

    /// Whether it is for everyone. Such listeners share `--max-connections`, and close when the server is told to stop.
    pub fn is_for_everyone(self) -> bool {
        match self {
            ListenerRole::Http | ListenerRole::Https | ListenerRole::TcpEcho | ListenerRole::LineEcho => true,
            ListenerRole::Admin | ListenerRole::Upstream => false,
        }
    }
}
