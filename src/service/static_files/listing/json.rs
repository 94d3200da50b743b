//! The listing for programs.

use super::escape::{append, append_href, append_json};
use super::source::ListingParts;
use super::utc::Utc;
use super::{Listing, Member};

/// One JSON object (RFC 8259). Names are for reading; `href` is exact, whatever bytes a name has.
pub(super) struct Document<'a> {
    listing: &'a Listing,
    path: &'a [u8],
}

impl<'a> Document<'a> {
    pub(super) fn new(listing: &'a Listing, path: &'a [u8]) -> Document<'a> {
        Document { listing, path }
    }
}

impl ListingParts for Document<'_> {
    fn opening(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"path\":");
        append_json(out, self.path);
        out.extend_from_slice(b",\"entries\":[");
    }

    fn crumb(&self, _: usize, _: &mut Vec<u8>) {}

    fn heading(&self, _: &mut Vec<u8>) {}

    fn row(&self, index: usize, member: &Member<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(if index == 0 { b"\n{\"name\":" } else { b",\n{\"name\":" });
        append_json(out, member.name);
        out.extend_from_slice(b",\"href\":\"");
        append_href(out, member.name, member.is_directory);
        match member.is_directory {
            true => out.extend_from_slice(b"\",\"type\":\"directory\",\"size\":null"),
            false => append(out, format_args!("\",\"type\":\"file\",\"size\":{}", member.len)),
        }
        match member.modified_secs.and_then(Utc::from_secs) {
            Some(moment) => append(out, format_args!(",\"modified\":\"{moment}\"}}")),
            None => out.extend_from_slice(b",\"modified\":null}"),
        }
    }

    fn closing(&self, out: &mut Vec<u8>) {
        append(out, format_args!("\n],\"left_out\":{}}}\n", self.listing.left_out()));
    }
}
