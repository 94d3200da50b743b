//! Why a connection ended, and why a request did before its response was complete.

use std::fmt;

use super::wait_reason::WaitReason;

/// Why a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// The client ended its direction before we ended ours, and everything that was to be sent has left.
    ByClient(ClientEnd),
    /// We ended our direction first, for this reason.
    ByServer(Why),
    /// Reading or writing failed: usually the client reset the connection.
    Broken(std::io::ErrorKind),
    /// The connection waited too long.
    Timeout(WaitReason),
    /// The same, and the peer does not answer: it has vanished, or the network between us has gone.
    Vanished(WaitReason),
    /// What was sent is incomplete and must be seen to be: the connection was reset.
    CutShort(Fault),
}

/// How a client ended its direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientEnd {
    /// With FIN, or what ends the stream of a Unix socket.
    Fin,
    /// With the alert of TLS, which means the same (RFC 8446 §6.1).
    CloseNotify,
    /// With GOAWAY because of an error (RFC 9113 §6.8).
    GoAway,
    /// With an alert of TLS that says what it refuses, such as our certificate (RFC 8446 §6.2).
    Alert,
}

/// Why we ended our direction first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The client has asked for it: `Connection: close`.
    Asked,
    /// HTTP/1.0, or a response to it that has no other end.
    Http10,
    /// What was spoken behind an upgrade has come to its end.
    Conversation,
    /// A request was refused, or a TLS handshake, and nothing that follows could be understood.
    Refusal,
    /// More content follows than is thrown away.
    Limit,
    /// The rules of HTTP/2 were broken, and GOAWAY says which.
    GoAway,
    /// The server was told to stop.
    Drain,
    /// Nobody needs a connection to an upstream any more.
    Unneeded,
}

impl CloseReason {
    /// Whether the client has reset the connection, as its kernel does for whatever it is sent once its socket is closed.
    pub fn is_reset(self) -> bool {
        use std::io::ErrorKind::{BrokenPipe, ConnectionReset, NotConnected};
        matches!(self, CloseReason::Broken(ConnectionReset | BrokenPipe | NotConnected))
    }
}

/// Why a response is not complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The handler failed in the middle of it, or the file that was sent became shorter.
    Handler,
    /// The content of the request broke the protocol's rules in the middle of it.
    Request,
    /// The server stopped before it was complete.
    Deadline,
}

/// Why a request ended although its response was not complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Its connection ended for this reason.
    Connection(CloseReason),
    /// Its stream was reset by the client.
    ResetByClient(ResetCode),
    /// We reset its stream.
    ResetByServer(ResetCode),
}

/// The error code with which a stream was reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResetCode {
    /// As it is sent.
    pub number: u32,
    /// Its registered name, if it has one.
    pub name: Option<&'static str>,
}

impl ResetCode {
    /// A name out of a closed set: codes that have none are `other`.
    pub fn label(self) -> &'static str {
        self.name.unwrap_or("other")
    }
}

impl fmt::Display for ResetCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name {
            Some(name) => f.write_str(name),
            None => write!(f, "error code {:#x}", self.number),
        }
    }
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cut::Connection(reason) => reason.fmt(f),
            Cut::ResetByClient(code) => write!(f, "reset by the client: {code}"),
            Cut::ResetByServer(code) => write!(f, "reset by the server: {code}"),
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CloseReason::ByClient(_) => f.write_str("closed by the client"),
            CloseReason::ByServer(_) => f.write_str("closed by the server"),
            CloseReason::Broken(kind) => write!(f, "broken: {kind}"),
            CloseReason::Timeout(reason) => write!(f, "timeout: {reason}"),
            CloseReason::Vanished(reason) => write!(f, "the peer has vanished, timeout: {reason}"),
            CloseReason::CutShort(_) => f.write_str("cut short"),
        }
    }
}
