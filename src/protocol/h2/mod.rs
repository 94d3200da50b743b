//! HTTP/2 (RFC 9113), server side.
//!
//! `session` is one connection: a value that ties all of this together. Start there.
//!
//! Receiving: `frame_reader` takes frames out of the inbox, by the rules in `frame`. Sending: `frame_writer` makes
//! their bytes. `hpack` is in between: it makes fields of field blocks, and field blocks of fields; `fields` and `head`
//! make a request of fields, and fields of a response. `error` has the codes with which streams and connections end.
//!
//! What a connection knows: `settings` of the peer, `windows` of flow control, `streams` with a `stream_state`
//! each, `priority` for their order, and a `ledger` of what the peer has done to us.

mod dictionary;
pub mod error;
pub mod fields;
pub mod frame;
pub mod frame_reader;
pub mod frame_writer;
pub mod head;
pub mod hpack;
pub mod ledger;
pub mod priority;
pub mod session;
pub mod settings;
pub mod stream_state;
pub mod streams;
pub mod windows;
