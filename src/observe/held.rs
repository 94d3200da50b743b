//! What holds up a response on a connection with several streams, apart from the network.

use std::time::Duration;

use crate::base::moment::Moment;

/// Makes the causes, all of them and their names from one list.
macro_rules! causes {
    ($($(#[$meaning:meta])* $cause:ident $name:literal;)*) => {
        /// What holds up one stream, and not its whole connection. A closed set, made to be printed.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum HeldBy {
            $($(#[$meaning])* $cause,)*
        }

        impl HeldBy {
            /// All of them, each at its place.
            pub const ALL: [HeldBy; [$($name),*].len()] = [$(HeldBy::$cause),*];

            /// As it is printed.
            pub fn name(self) -> &'static str {
                match self {
                    $(HeldBy::$cause => $name,)*
                }
            }
        }
    };
}

causes! {
    /// There is content, and the stream's window has no room for it.
    StreamWindow "stream-window";
    /// There is content, and the connection's window has no room for it.
    ConnectionWindow "connection-window";
    /// There is content, and other streams are served first.
    Turn "turn";
    /// The handler waits for the clock, or for a job.
    Handler "handler";
    /// The request is delayed, because the client has reset too many streams.
    Delay "delay";
}

/// For how long a stream was held up by each cause. At any moment it is held up by one of them, or by none.
#[derive(Debug, Clone, Copy, Default)]
pub struct Held {
    nanos: [u64; HeldBy::ALL.len()],
    present: Option<(HeldBy, Moment)>,
}

impl Held {
    /// From `now` on the stream is held up by this.
    pub fn set(&mut self, by: Option<HeldBy>, now: Moment) {
        if self.present.map(|(cause, _)| cause) == by {
            return;
        }
        if let Some((cause, since)) = self.present {
            self.nanos[cause as usize] += now.nanos_since(since);
        }
        self.present = by.map(|cause| (cause, now));
    }

    /// What holds it up, and since when.
    pub fn present(&self) -> Option<(HeldBy, Moment)> {
        self.present
    }

    /// For how long each cause has held it up until `now`.
    pub fn times(&self, now: Moment) -> [(HeldBy, Duration); HeldBy::ALL.len()] {
        HeldBy::ALL.map(|cause| {
            let present = self.present.filter(|(present, _)| *present == cause);
            let going_on = present.map_or(0, |(_, since)| now.nanos_since(since));
            (cause, Duration::from_nanos(self.nanos[cause as usize] + going_on))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_has_its_own_time_and_the_present_one_counts_until_now() {
        let (mut held, at) = (Held::default(), Moment::from_millis);
        held.set(Some(HeldBy::Handler), at(10));
        held.set(Some(HeldBy::Handler), at(12));
        held.set(Some(HeldBy::Turn), at(15));
        held.set(None, at(17));
        held.set(Some(HeldBy::Handler), at(20));
        let times = held.times(at(21)).map(|(cause, time)| (cause.name(), time.as_millis()));
        let expected = [("stream-window", 0), ("connection-window", 0), ("turn", 2), ("handler", 6), ("delay", 0)];
        assert_eq!(times, expected);
        assert_eq!(held.present(), Some((HeldBy::Handler, at(20))));
    }
}
