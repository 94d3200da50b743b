//! What a response tells about its request: an identifier, and how long it took.

use std::io::Write;
use std::ops::Deref;

use super::Identity;
use crate::base::moment::Moment;
use crate::http::fields::{FieldName, Fields};
use crate::http::forwarded::TrustedProxies;
use crate::http::message::Response;
use crate::observe::request_id::{ID_BYTES_MAX, RequestIds};
use crate::observe::request_record::RequestRecord;
use crate::observe::server_timing::{SERVER_TIMING, ServerTiming, TIMING_BYTES_MAX, timings};
use crate::protocol::h1::encode;

/// The longest name of the field with the identifier, in bytes.
pub const NAME_BYTES_MAX: usize = 64;

/// The most that these fields take in a head, in bytes.
pub(super) const BYTES_MAX: usize = {
    // Separators, or what HTTP/2 has in their place: lengths, and its part of the table's size.
    const LINE: usize = 16;
    NAME_BYTES_MAX + LINE + ID_BYTES_MAX + SERVER_TIMING_NAME.len() + LINE + TIMING_BYTES_MAX
};
const SERVER_TIMING_NAME: &str = "Server-Timing";

/// Which of these things responses tell.
#[derive(Debug, Clone, Default)]
pub struct Telling {
    /// How requests get their identifiers, if they do.
    pub request_ids: Option<RequestIds>,
    /// Which responses have `Server-Timing`, if any.
    pub server_timing: Option<ServerTiming>,
}

/// Memory for the value of `Server-Timing`.
pub(super) struct Timings([u8; TIMING_BYTES_MAX]);

impl Default for Timings {
    fn default() -> Timings {
        Timings([0; TIMING_BYTES_MAX])
    }
}

/// Fields that are told, by name and value.
#[derive(Default)]
pub(super) struct Told<'a> {
    fields: [(&'a [u8], &'a [u8]); 2],
    len: usize,
}

impl<'a> Told<'a> {
    fn add(&mut self, name: &'a FieldName, value: &'a [u8]) {
        self.fields[self.len] = (name.as_str().as_bytes(), value);
        self.len += 1;
    }
}

impl<'a> Deref for Told<'a> {
    type Target = [(&'a [u8], &'a [u8])];

    fn deref(&self) -> &Self::Target {
        &self.fields[..self.len]
    }
}

impl Telling {
    /// Notes in the record of a request what its response will tell. The other texts of the record must be known by then.
    /// `fields` are those of the request, if it was understood.
    #[cold]
    #[inline(never)]
    pub(super) fn prepare(
        &self,
        record: &mut RequestRecord,
        who: &Identity,
        fields: Option<Fields<'_>>,
        trusted: &TrustedProxies,
    ) {
        let is_trusted = trusted.trust(who.peer);
        if let Some(ids) = &self.request_ids {
            ids.name_request(record, who.id, fields.filter(|_| is_trusted));
        }
        if let Some(timing) = &self.server_timing {
            record.tells_times = timing.is_wanted(fields.unwrap_or_default(), is_trusted || who.peer.is_local());
        }
    }

    /// The fields for the head of a response that begins at `now`. What the response says for itself is not said twice.
    pub(super) fn fields<'a>(
        &'a self,
        response: &Response,
        record: &'a RequestRecord,
        now: Moment,
        memory: &'a mut Timings,
    ) -> Told<'a> {
        let mut told = Told::default();
        if let Some(ids) = &self.request_ids
            // Requests that came before there were identifiers have none.
            && !record.id().is_empty()
            && !has(response, ids.field())
        {
            told.add(ids.field(), record.id());
        }
        if record.tells_times && !has(response, &SERVER_TIMING) {
            let mut room = &mut memory.0[..];
            write!(room, "{}", timings(record, now)).expect("there is room for the longest value");
            let len = TIMING_BYTES_MAX - room.len();
            told.add(const { &SERVER_TIMING }, &memory.0[..len]);
        }
        told
    }
}

/// Adds these fields to the head of HTTP/1 that was encoded for `response`.
#[cold]
#[inline(never)]
pub(super) fn add_to(head: &mut Vec<u8>, telling: &Telling, response: &Response, record: &RequestRecord, now: Moment) {
    let mut memory = Timings::default();
    for (name, value) in &*telling.fields(response, record, now, &mut memory) {
        encode::add_field(head, name, value);
    }
}

fn has(response: &Response, wanted: &FieldName) -> bool {
    response.prepared.iter().any(|(name, _)| name.eq_ignore_ascii_case(wanted.as_str().as_bytes()))
        || response.fields.iter().any(|(name, _)| name.is(wanted))
}
