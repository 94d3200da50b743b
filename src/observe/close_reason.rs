//! Why a connection ended, and why a request did before its response was complete.

use std::fmt;

use super::wait_reason::WaitReason;

/// Why a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// The client ended its direction before we ended ours, and everything that was to be sent has left.
    ByClient,
    /// We ended our direction first: after a response, as one side asked or an error demanded, or because we stop.
    ByServer,
    /// Reading or writing failed: usually the client reset the connection.
    Broken(std::io::ErrorKind),
    /// The connection waited too long.
    Timeout(WaitReason),
    /// A handler failed in the middle of its response, or the request broke the protocol's rules in the middle of its
    /// own: what was sent is incomplete and must be seen to be.
    CutShort,
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
            CloseReason::ByClient => f.write_str("closed by the client"),
            CloseReason::ByServer => f.write_str("closed by the server"),
            CloseReason::Broken(kind) => write!(f, "broken: {kind}"),
            CloseReason::Timeout(reason) => write!(f, "timeout: {reason}"),
            CloseReason::CutShort => f.write_str("cut short"),
        }
    }
}
