//! What a listener is for.

/// What the connections of a listener are for, and so who answers them and which limits they count against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListenerRole {
    /// HTTP for everyone.
    Public,
    /// HTTP for whoever looks after the server. It counts against a limit of its own and stays open while the server
    /// drains.
    Admin,
}
