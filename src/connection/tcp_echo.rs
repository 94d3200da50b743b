//! The echo protocol (RFC 862) over TCP: sends back what comes. It has no requests, so the smallest driver looks like this.

use super::LoopContext;
use super::channel::Channel;
use super::driver::{Cut, DriverStatus, DriverWait, Ending, Protocol};
use super::stopping::Stopping;
use crate::net::Socket;
use crate::observe::wait_reason::WaitReason;
use crate::service::Service;

/// One connection that is echoed.
#[derive(Debug, Default)]
pub(super) struct TcpEcho {
    /// Bytes that were moved from the inbox to the outbox. While none comes, the connection is idle.
    echoed: u64,
    stopping: Stopping,
}

impl Protocol for TcpEcho {
    /// What does not fit into the outbox stays in the inbox. A full inbox ends READ interest, and so a client that does
    /// not read is not read from.
    fn advance<S: Socket>(
        &mut self,
        channel: &mut Channel<S>,
        _service: &mut impl Service,
        cx: &mut LoopContext,
    ) -> Result<bool, Cut> {
        self.stopping.update(channel, cx);
        let before = self.echoed;
        while let Some(inbox) = channel.inbox.as_mut().filter(|inbox| !inbox.is_empty()) {
            let moved = channel.outbox.ring(&mut cx.outboxes).put(inbox.readable()[0]);
            inbox.consume(moved);
            self.echoed += moved as u64;
            if moved == 0 {
                break;
            }
        }
        Ok(self.echoed > before)
    }

    /// When the client has ended its direction, or the server stops, and everything that counts is in the outbox.
    fn finish<S: Socket>(&mut self, channel: &Channel<S>) -> Option<Ending> {
        let client_has_ended = channel.input_ended() && channel.inbox_is_empty();
        (client_has_ended || self.stopping.is_all(self.echoed)).then(|| self.stopping.ending())
    }

    fn is_idle(&self) -> bool {
        true
    }

    fn wait<S: Socket>(&self, _channel: &Channel<S>) -> DriverWait {
        let timer = self.stopping.ends_at();
        let reason = match timer {
            Some(_) => WaitReason::Timer,
            None if self.echoed == 0 => WaitReason::FirstByte,
            None => WaitReason::Idle,
        };
        DriverWait { reason, ordinal: self.echoed as u32, timer, ignores_input: false, due: None }
    }

    fn status<S: Socket>(&self, channel: &Channel<S>) -> DriverStatus<'_> {
        let is_sending = !channel.outbox.is_empty();
        let state = if is_sending { "sending" } else { "idle" };
        DriverStatus { protocol: "tcp-echo", state, answered: 0, record: None, is_sending }
    }
}

#[cfg(test)]
mod tests {
    use crate::base::limits::Limits;
    use crate::base::listener_role::ListenerRole;
    use crate::connection::tests::play;

    #[test]
    fn what_comes_goes_back_whatever_the_pieces_and_the_rings() {
        let sent: Vec<u8> = (0..100_000_u32).map(|n| n as u8 ^ (n >> 8) as u8).collect();
        for (inbox_bytes, outbox_bytes, piece) in [(64, 1024, 1), (100, 1024, 7), (16 * 1024, 64 * 1024, 100_000)] {
            let limits = Limits { head_bytes_max: inbox_bytes, inbox_bytes, outbox_bytes, ..Limits::default() };
            let pieces: Vec<&[u8]> = sent.chunks(piece).collect();
            assert!(play(ListenerRole::TcpEcho, &pieces, &limits) == sent, "{inbox_bytes} {outbox_bytes} {piece}");
        }
    }
}
