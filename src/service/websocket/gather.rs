//! Messages as a whole, for applications that need them so.

use super::{Farewell, MessagePart};
use crate::protocol::ws::close::CloseCode;

/// Puts the parts of a message together, up to a length.
#[derive(Debug, Default)]
pub struct Gather {
    content: Vec<u8>,
}

impl Gather {
    /// Adds a part. Returns the whole message if that was the last one. A message of more than `bytes_max` ends the WebSocket
    /// before it is held (1009, RFC 6455 §7.4.1).
    pub fn add(&mut self, part: MessagePart<'_>, bytes_max: usize) -> Result<Option<Vec<u8>>, Farewell> {
        if self.content.len() + part.content.len() > bytes_max {
            self.content = Vec::new();
            return Err(Farewell { code: CloseCode::TOO_BIG, reason: "the message is too long" });
        }
        self.content.extend_from_slice(part.content);
        Ok(part.end.then(|| std::mem::take(&mut self.content)))
    }

    /// Memory for the parts of a message that is not complete, in bytes.
    pub fn kept_bytes(&self) -> usize {
        self.content.capacity()
    }
}
