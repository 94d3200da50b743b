//! Who is to be driven, oldest first, each at most once.

use std::collections::VecDeque;

use crate::base::slots::Token;
use crate::connection::Connection;
use crate::net::Socket;

/// Connections with something to do. A connection knows whether it stands here, so it never stands here twice.
#[derive(Debug, Default)]
pub(super) struct RunQueue(VecDeque<Token>);

impl RunQueue {
    pub(super) fn push<S: Socket>(&mut self, token: Token, connection: &mut Connection<S>) {
        if connection.on_queued() {
            self.0.push_back(token);
        }
    }

    pub(super) fn pop(&mut self) -> Option<Token> {
        self.0.pop_front()
    }

    /// Puts the first `count` of them last; otherwise the order stays.
    pub(super) fn put_behind(&mut self, count: usize) {
        self.0.rotate_left(count);
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
