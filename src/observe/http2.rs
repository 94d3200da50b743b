//! HTTP/2 in numbers.

use std::collections::BTreeMap;

/// HTTP/2 of one event loop, from its start.
#[derive(Debug, Clone, Default)]
pub struct Http2Counts {
    /// Connections that have begun to speak it.
    pub connections: u64,
    /// Streams that have begun.
    pub streams: u64,
    /// Streams that were delayed, because their client had reset too many.
    pub delayed: u64,
    /// Streams that clients have reset, by the names of the error codes.
    pub reset_by_client: BTreeMap<&'static str, u64>,
    /// Streams that we have reset.
    pub reset_by_server: BTreeMap<&'static str, u64>,
    /// Connections that are over and to which GOAWAY was sent, by the names of the last error codes.
    pub goaways: BTreeMap<&'static str, u64>,
    /// What clients have done that cost more than it should, by kind, on connections that are over.
    pub misbehaviour: BTreeMap<&'static str, u64>,
}

/// Adds to a count. The names are out of a closed set.
pub fn add(counts: &mut BTreeMap<&'static str, u64>, name: &'static str, number: u64) {
    *counts.entry(name).or_default() += number;
}

/// What was counted on HTTP/2 connections that are open.
#[derive(Debug, Clone, Default)]
pub struct Http2Now {
    /// Streams that live.
    pub streams: u64,
    /// Content of requests that nobody has taken, in bytes.
    pub content_bytes: u64,
    /// What their clients have done that cost more than it should, by kind.
    pub misbehaviour: BTreeMap<&'static str, u64>,
}
