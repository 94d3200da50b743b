//! The Common Log Format and the one that is combined from it and two fields, as every log analyser reads them.

use std::fmt;

use super::moment::Moment;
use super::{Entry, escape, put};
use crate::base::peer::Peer;

/// `%h - - %t "%r" %>s %b`: nobody is ever identified or logged in.
pub(super) fn common(entry: &Entry<'_>, moment: &Moment, lines: &mut Vec<u8>) {
    put(lines, format_args!("{} - - [{}] \"", host(entry.peer), moment.classic()));
    match &entry.line {
        Some(line) => {
            put(lines, format_args!("{} ", line.method));
            escape::plain(line.target, lines);
            put(lines, format_args!(" {}\" ", line.version()));
        }
        None => lines.extend_from_slice(b"-\" "),
    }
    put(lines, format_args!("{} {}", or_dash(entry.status), or_dash(Some(entry.content_bytes).filter(|n| *n > 0))));
}

/// The common format, then `"%{Referer}i" "%{User-Agent}i"`.
pub(super) fn combined(entry: &Entry<'_>, moment: &Moment, lines: &mut Vec<u8>) {
    common(entry, moment, lines);
    for value in [entry.referer, entry.user_agent] {
        lines.extend_from_slice(b" \"");
        escape::plain(if value.is_empty() { b"-" } else { value }, lines);
        lines.push(b'"');
    }
}

fn host(peer: Peer) -> impl fmt::Display {
    fmt::from_fn(move |f| match peer {
        Peer::Ip(address) => write!(f, "{}", address.ip()),
        Peer::Unix => f.write_str("unix:"),
    })
}

fn or_dash(number: Option<impl fmt::Display>) -> impl fmt::Display {
    fmt::from_fn(move |f| match &number {
        Some(number) => number.fmt(f),
        None => f.write_str("-"),
    })
}
