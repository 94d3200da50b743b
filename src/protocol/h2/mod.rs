//! HTTP/2 (RFC 9113), server side.
//!
//! `hpack` makes fields of field blocks and field blocks of fields. `fields` has the list that received fields stand in,
//! and the rules that they must keep.

pub mod fields;
pub mod hpack;
