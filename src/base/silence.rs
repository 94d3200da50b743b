//! Whether the peer of a TCP connection still answers.

use std::time::Duration;

/// What the kernel knows that tells of it.
#[derive(Debug, Clone, Copy)]
pub struct PeerSigns {
    /// Smoothed round-trip time.
    pub rtt: Duration,
    /// Segments sent and not acknowledged.
    pub unacked: u32,
    /// How often the oldest of them was sent again without an answer.
    pub retransmits: u8,
    /// Probes of a shut window that have had no answer.
    pub probes: u8,
    /// How long ago content was sent last.
    pub last_sent: Duration,
    /// How long ago the peer's kernel has acknowledged anything.
    pub last_acknowledgement: Duration,
}

impl PeerSigns {
    /// A peer that answers does so within a round trip and the time by which an acknowledgement may be delayed, which is at
    /// most 500 ms (RFC 9293 §3.8.6.3).
    const ACKNOWLEDGEMENT_DELAY: Duration = Duration::from_millis(500);

    /// For how long the peer has answered nothing, if it should have: it has vanished, or the network between us has gone.
    ///
    /// That segments were resent tells nothing: on loopback, a peer that does not read lets segments fall that have no room,
    /// and acknowledges what it has at each try. What counts is whether anything was answered since the last try. A probe of a
    /// shut window is not content, so the time of the last content does not tell of it, but the kernel counts those that
    /// have had no answer.
    pub fn silent_for(&self) -> Option<Duration> {
        let patience = 2 * self.rtt + Self::ACKNOWLEDGEMENT_DELAY;
        let is_unanswered = self.unacked > 0 && self.last_acknowledgement > self.last_sent + patience;
        ((is_unanswered && self.retransmits > 0) || self.probes > 1).then_some(self.last_acknowledgement)
    }
}
