//! How much memory the content of one connection's streams may take from others.

use log::Level;

use super::Http2;
use super::open_stream::OpenStream;
use crate::connection::LoopContext;
use crate::connection::channel::Channel;
use crate::net::Socket;
use crate::protocol::h2::error::ErrorCode;

impl Http2 {
    /// Memory for content is bounded over all connections of the loop: for what nobody takes, and for what handlers keep. A
    /// connection may have as much as the window of one stream in any case, or half of that, so that others cannot take that
    /// from it.
    ///
    /// What windows have grown by comes on top of what nobody takes: there are limits for that as well. Of what handlers keep, a
    /// connection may have as much as is left for others. So one alone has half, and of many each has the same.
    pub(super) fn bound_memory<S: Socket>(&mut self, stream: u32, channel: &mut Channel<S>, cx: &mut LoopContext) {
        let limits = &cx.environment.limits.http2;
        let holds_too_much = cx.held.get() > limits.held_bytes_max as usize + cx.grown.get();
        let left = (limits.kept_bytes_max as usize).saturating_sub(cx.kept.get());
        if !holds_too_much && cx.kept.get() <= left {
            return;
        }
        let Some(at) = self.position(stream) else { return };
        let own_max = self.session.ours().stream_window_bytes as usize;
        let exceeds = |bytes: fn(&OpenStream) -> usize, most: usize| {
            bytes(&self.open[at]) > 0 && self.open.iter().map(|open| bytes(open)).sum::<usize>() > most
        };
        if holds_too_much && exceeds(OpenStream::held_bytes, own_max) && !self.open[at].has_grown() {
            let key = channel.who.log_key(Some(self.open[at].key()));
            let held = format_args!("{key}: reset: content that nobody takes fills the memory for it");
            cx.complain(Level::Info, held);
            self.with(at, channel, cx, |open, work| open.reset(ErrorCode::ENHANCE_YOUR_CALM, work));
        } else if exceeds(OpenStream::kept_bytes, left.max(own_max / 2)) {
            self.with(at, channel, cx, |open, work| open.refuse_content(work));
        }
    }
}
