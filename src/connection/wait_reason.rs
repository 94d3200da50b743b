//! What a connection may wait for.

use std::fmt;

/// Why a connection waits; a closed set, made to be printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitReason {
    /// Nothing has arrived since the connection was accepted.
    FirstByte,
    /// Between two requests.
    Idle,
    /// A request head has begun and not ended.
    SlowHead,
    /// Request content is wanted.
    SlowBody,
    /// The client does not read what it asked for.
    SlowRead,
    /// A handler waits for the clock or for a notice.
    Timer,
    /// A handler, or the content of a file, waits for a job thread.
    Job,
    /// A conversation goes on in which nobody has to say anything just now.
    Conversation,
    /// Our last byte is out; the client has not ended its direction.
    Lingering,
}

impl WaitReason {
    /// All of them.
    pub const ALL: [WaitReason; 9] = [
        WaitReason::FirstByte,
        WaitReason::Idle,
        WaitReason::SlowHead,
        WaitReason::SlowBody,
        WaitReason::SlowRead,
        WaitReason::Timer,
        WaitReason::Job,
        WaitReason::Conversation,
        WaitReason::Lingering,
    ];

    /// As it is printed.
    pub fn name(self) -> &'static str {
        match self {
            WaitReason::FirstByte => "client-silent",
            WaitReason::Idle => "client-idle",
            WaitReason::SlowHead => "client-slow-head",
            WaitReason::SlowBody => "client-slow-body",
            WaitReason::SlowRead => "client-slow-read",
            WaitReason::Timer => "timer",
            WaitReason::Job => "job-pool",
            WaitReason::Conversation => "conversation",
            WaitReason::Lingering => "lingering",
        }
    }
}

impl fmt::Display for WaitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
