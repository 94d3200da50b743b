//! The listing for people: one page, no script, nothing from anywhere else.

use std::fmt;

use super::escape::{append, append_href, append_text};
use super::source::{ListingParts, segments};
use super::utc::{ToTheMinute, Utc};
use super::{Listing, Member, Order, SortKey};
use crate::http::fields::FieldValue;

/// What a listing page needs, and no more: even if a name found a way to become markup, it could run and load nothing.
pub const CONTENT_SECURITY_POLICY: FieldValue = FieldValue::from_static(
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'",
);

/// What only listings have, besides the style that all pages share.
const TABLE_STYLE: &str = include_str!("table.css");

const BEFORE_TITLE: &str = "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
    <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
    <meta name=\"color-scheme\" content=\"light dark\">\n<title>";

const AFTER_TITLE: &str = concat!(
    "</title>\n<link rel=\"icon\" href=\"data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'%3E",
    "%3Cg fill='none' stroke='%23117a80' stroke-width='3'%3E%3Ccircle cx='16' cy='16' r='9'/%3E",
    "%3Cpath d='M16 1v30M3 8.5l26 15M29 8.5l-26 15'/%3E%3C/g%3E%3C/svg%3E\">\n<style>\n",
    include_str!("page.css"),
);

/// Appends the opening of a page, up to the parts of its path: with this title, and with what it has of a style besides the
/// one that all pages share.
pub(in super::super) fn append_opening(out: &mut Vec<u8>, append_title: impl FnOnce(&mut Vec<u8>), style: &str) {
    out.extend_from_slice(BEFORE_TITLE.as_bytes());
    append_title(out);
    out.extend_from_slice(AFTER_TITLE.as_bytes());
    out.extend_from_slice(style.as_bytes());
    out.extend_from_slice(b"</style>\n</head>\n<body>\n<header>\n<nav aria-label=\"Path\"><ol>\n");
}

/// A relative reference from a folder, or from a file in it, to the folder so many levels above.
pub(in super::super) struct Above(pub(in super::super) usize);

impl fmt::Display for Above {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("./")?;
        (0..self.0).try_for_each(|_| f.write_str("../"))
    }
}

/// Appends a folder as a part of a path.
pub(in super::super) fn append_crumb(
    out: &mut Vec<u8>,
    reference: impl fmt::Display,
    is_current: bool,
    append_name: impl FnOnce(&mut Vec<u8>),
) {
    let current = if is_current { " aria-current=\"page\"" } else { "" };
    append(out, format_args!("<li><a href=\"{reference}\"{current}><bdi>"));
    append_name(out);
    out.extend_from_slice(b"</bdi>/</a></li>\n");
}

/// The page in parts. References are relative, so the page stays right behind a prefix that a proxy has taken off.
pub(super) struct Page<'a> {
    listing: &'a Listing,
    path: &'a [u8],
}

impl<'a> Page<'a> {
    pub(super) fn new(listing: &'a Listing, path: &'a [u8]) -> Page<'a> {
        Page { listing, path }
    }

    /// The name of this folder; the root has none.
    fn name(&self) -> Option<&'a [u8]> {
        segments(self.path).next_back()
    }

    fn append_title(&self, out: &mut Vec<u8>) {
        match self.name() {
            Some(name) => {
                append_text(out, name);
                out.push(b'/');
            }
            None => out.extend_from_slice(b"Index of /"),
        }
    }

    /// What there is, in a few words.
    fn append_summary(&self, out: &mut Vec<u8>) {
        let folders = self.listing.folders();
        let files = self.listing.len() - folders;
        let counts = [(folders, "folder"), (files, "file")].into_iter().filter(|(n, _)| *n > 0);
        let counts: Vec<String> = counts.map(|(n, of)| count(n as u64, of)).collect();
        append(out, format_args!("<p class=\"sum\">{}</p>\n", counts.join(", ")));
        if self.listing.left_out() > 0 {
            let left_out = Grouped(self.listing.left_out());
            out.extend_from_slice(b"<p class=\"note\">This folder is too large to be shown whole: ");
            append(out, format_args!("{left_out} more of its entries are not on this page.</p>\n"));
        }
    }

    fn append_column(&self, key: SortKey, out: &mut Vec<u8>) {
        let order = self.listing.order();
        let is_current = order.key == key;
        let next = if is_current { order.reversed() } else { key.first_order() };
        let title = match key {
            SortKey::Name => "Name",
            SortKey::Size => "Size",
            SortKey::Time => "Modified",
        };
        out.extend_from_slice(b"<th scope=\"col\"");
        if is_current {
            let direction = if order.descending { "descending" } else { "ascending" };
            append(out, format_args!(" aria-sort=\"{direction}\""));
        }
        append(out, format_args!("><a href=\"{}\">{title}</a></th>", Query(next)));
    }
}

impl ListingParts for Page<'_> {
    fn opening(&self, out: &mut Vec<u8>) {
        append_opening(out, |out| self.append_title(out), TABLE_STYLE);
    }

    fn crumb(&self, index: usize, out: &mut Vec<u8>) {
        let name = index.checked_sub(1).and_then(|before| segments(self.path).nth(before)).unwrap_or_default();
        let above = segments(self.path).count() - index;
        append_crumb(out, Above(above), above == 0, |out| append_text(out, name));
    }

    fn heading(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"</ol></nav>\n<h1><bdi>");
        self.append_title(out);
        out.extend_from_slice(b"</bdi></h1>\n");
        self.append_summary(out);
        out.extend_from_slice(b"</header>\n<main>\n<table>\n<thead><tr>");
        SortKey::ALL.iter().for_each(|key| self.append_column(*key, out));
        out.extend_from_slice(b"</tr></thead>\n<tbody>\n");
        if self.name().is_some() {
            out.extend_from_slice(PARENT.as_bytes());
        }
        if self.listing.is_empty() && self.listing.left_out() == 0 {
            out.extend_from_slice(EMPTY.as_bytes());
        }
    }

    fn row(&self, _: usize, member: &Member<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(if member.is_directory {
            b"<tr><td><a class=\"d\" href=\""
        } else {
            b"<tr><td><a href=\""
        });
        append_href(out, member.name, member.is_directory);
        out.extend_from_slice(b"\"><bdi>");
        append_text(out, member.name);
        out.extend_from_slice(if member.is_directory { b"</bdi>/</a></td><td>" } else { b"</bdi></a></td><td" });
        if !member.is_directory {
            append(out, format_args!(" title=\"{}\">{}", count(member.len, "byte"), Size(member.len)));
        }
        out.extend_from_slice(b"</td><td>");
        if let Some(moment) = member.modified_secs.and_then(Utc::from_secs) {
            append(out, format_args!("<time datetime=\"{moment}\">{}</time>", ToTheMinute(moment)));
        }
        out.extend_from_slice(b"</td></tr>\n");
    }

    fn closing(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"</tbody>\n</table>\n</main>\n<footer>Times are UTC.</footer>\n</body>\n</html>\n");
    }
}

const PARENT: &str = "<tr><td><a class=\"u\" href=\"../\">../</a></td><td></td><td></td></tr>\n";
const EMPTY: &str = "<tr><td colspan=\"3\" class=\"none\">This folder is empty.</td></tr>\n";

/// The reference to this page in another order, as an attribute has it.
struct Query(Order);

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let order = if self.0.descending { "desc" } else { "asc" };
        write!(f, "?sort={}&amp;order={order}", self.0.key.as_str())
    }
}

/// A number with its thousands apart: `1,234,567`.
struct Grouped(u64);

impl fmt::Display for Grouped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < 1000 {
            return write!(f, "{}", self.0);
        }
        write!(f, "{},{:03}", Grouped(self.0 / 1000), self.0 % 1000)
    }
}

/// `1 file`, `1,200 files`.
fn count(n: u64, of: &str) -> String {
    format!("{} {of}{}", Grouped(n), if n == 1 { "" } else { "s" })
}

/// A length for people, rounded to two or three digits: `17 B`, `1.2 KiB`, `340 MiB`.
struct Size(u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < 1024 {
            return write!(f, "{} B", self.0);
        }
        // In tenths of the unit; the smallest unit in which it does not round to 1024.
        let rounded = |unit: u32| (u128::from(self.0) * 10 + (1 << (10 * unit - 1))) >> (10 * unit);
        let unit = (1..6).find(|unit| rounded(*unit) < 10_235).unwrap_or(6);
        let (tenths, prefix) = (rounded(unit), char::from(b"KMGTPE"[unit as usize - 1]));
        match tenths {
            0..100 => write!(f, "{}.{} {prefix}iB", tenths / 10, tenths % 10),
            _ => write!(f, "{} {prefix}iB", (tenths + 5) / 10),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_rounded_to_what_can_be_read_at_a_glance() {
        let shown = |len| Size(len).to_string();
        assert_eq!([0, 1, 1023, 1024].map(shown), ["0 B", "1 B", "1023 B", "1.0 KiB"]);
        assert_eq!([1234, 10_188, 10_240, 348_160].map(shown), ["1.2 KiB", "9.9 KiB", "10 KiB", "340 KiB"]);
        assert_eq!([1_048_000, 1_048_064, 1_048_576].map(shown), ["1023 KiB", "1.0 MiB", "1.0 MiB"]);
        assert_eq!([5 << 30, 7 << 40, 3 << 50, u64::MAX].map(shown), ["5.0 GiB", "7.0 TiB", "3.0 PiB", "16 EiB"]);
    }

    #[test]
    fn numbers_are_grouped_and_things_counted() {
        assert_eq!([0, 999, 1000, 1_002_003].map(|n| Grouped(n).to_string()), ["0", "999", "1,000", "1,002,003"]);
        assert_eq!(count(1, "file"), "1 file");
        assert_eq!(count(1200, "file"), "1,200 files");
    }
}
