//! What a connection may wait for, and how many connections did.

use std::fmt;

/// Makes the reasons, `ALL` of them and their names from one list, so that none can be missing anywhere.
macro_rules! wait_reasons {
    ($($(#[$meaning:meta])* $reason:ident $name:literal;)*) => {
        /// Why a connection waits; a closed set, made to be printed.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum WaitReason {
            $($(#[$meaning])* $reason,)*
        }

        impl WaitReason {
            /// All of them, each at its place: `ALL[reason as usize]` is `reason`.
            pub const ALL: [WaitReason; [$($name),*].len()] = [$(WaitReason::$reason),*];

            /// As it is printed.
            pub fn name(self) -> &'static str {
                match self {
                    $(WaitReason::$reason => $name,)*
                }
            }
        }
    };
}

wait_reasons! {
    /// Nothing has arrived since the connection was accepted.
    FirstByte "client-silent";
    /// The TLS handshake is not over.
    TlsHandshake "tls-handshake";
    /// Between two requests.
    Idle "client-idle";
    /// A request head has begun and not ended.
    SlowHead "client-slow-head";
    /// A line has begun and not ended (line echo).
    SlowLine "client-slow-line";
    /// Request content is wanted.
    SlowBody "client-slow-body";
    /// The client does not read what it asked for.
    SlowRead "client-slow-read";
    /// The client has no window open for what is to be sent (HTTP/2).
    Window "client-window";
    /// A handler waits for the clock or for a wake.
    Timer "timer";
    /// A handler, or the content of a file, waits for a job thread.
    Job "job-pool";
    /// A conversation goes on in which nobody has to say anything just now.
    Conversation "conversation";
    /// A handler, or the content of its response, waits for an upstream.
    Upstream "upstream";
    /// A connection to an upstream, or its TLS handshake, is not complete.
    Connecting "upstream-connect";
    /// An upstream has a request and does not answer, or does not go on.
    UpstreamSilent "upstream-silent";
    /// An upstream does not read what it is sent.
    UpstreamSlowRead "upstream-slow-read";
    /// A connection to an upstream waits for the client's side, which sends or reads slowly.
    Relay "relay";
    /// A connection to an upstream waits for the next request.
    Pooled "pooled";
    /// Our last byte is out; the client has not ended its direction.
    Lingering "lingering";
}

impl WaitReason {
    /// Whether it is a stream that waits, and not the connection.
    pub fn is_of_streams(self) -> bool {
        use WaitReason::{Conversation, Job, SlowBody, Timer, Upstream, Window};
        matches!(self, SlowBody | Window | Timer | Job | Upstream | Conversation)
    }

    /// Whether it has a deadline of its driver's alone.
    pub fn is_of_driver(self) -> bool {
        self.is_of_streams() || self.is_of_upstreams()
    }

    /// Whether it is a connection to an upstream that waits. It acts on its deadlines itself.
    pub fn is_of_upstreams(self) -> bool {
        use WaitReason::{Connecting, Pooled, Relay, UpstreamSilent, UpstreamSlowRead};
        matches!(self, Connecting | UpstreamSilent | UpstreamSlowRead | Relay | Pooled)
    }
}

impl fmt::Display for WaitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A count for each reason.
#[derive(Debug, Clone, Copy, Default)]
pub struct WaitCounts([u64; WaitReason::ALL.len()]);

impl WaitCounts {
    /// Once more for this reason.
    pub fn count(&mut self, reason: WaitReason) {
        self.0[reason as usize] += 1;
    }

    /// For all reasons together.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// For each reason, also where it is none.
    pub fn by_reason(&self) -> impl Iterator<Item = (WaitReason, u64)> + use<> {
        WaitReason::ALL.into_iter().zip(self.0)
    }

    /// For each reason by its name, also where it is none.
    pub fn by_name(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
        self.by_reason().map(|(reason, count)| (reason.name(), count))
    }

    /// Those reasons by name for which there is any.
    pub fn some_by_name(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
        self.by_name().filter(|(_, count)| *count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_counted_under_its_own_name() {
        for reason in WaitReason::ALL {
            let mut counts = WaitCounts::default();
            counts.count(reason);
            assert_eq!(counts.some_by_name().collect::<Vec<_>>(), [(reason.name(), 1)]);
            assert_eq!((counts.total(), counts.by_name().count()), (1, WaitReason::ALL.len()));
        }
    }
}
