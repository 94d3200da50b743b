//! HTTP/2 (RFC 9113), server side.
//!
//! Receiving: `frame_reader` takes frames out of the inbox, by the rules in `frame`. Sending: `frame_writer` makes
//! their bytes. `hpack` is in between: it makes fields of field blocks, and field blocks of fields, which stand in the list
//! of `fields`. `error` has the codes with which streams and connections end.

pub mod error;
pub mod fields;
pub mod frame;
pub mod frame_reader;
pub mod frame_writer;
pub mod hpack;
