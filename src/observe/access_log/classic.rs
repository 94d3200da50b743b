//! The Common Log Format and the Combined Log Format, which has two more fields. Every log analyser reads them. Behind the
//! usual fields stand the verdict and the identifier, which analysers leave alone.

use std::fmt;

use super::time_text::TimeText;
use super::{Line, escape, put};
use crate::base::peer::Peer;

/// `%h - %u %t "%r" %>s %b`, and the verdict behind it: nobody is ever identified by ident (RFC 1413).
pub(super) fn common(line: &Line<'_>, time: &TimeText, lines: &mut Vec<u8>) {
    usual(line, time, lines);
    behind_the_usual(line, lines);
}

fn usual(line: &Line<'_>, time: &TimeText, lines: &mut Vec<u8>) {
    put(lines, format_args!("{} - ", host(line)));
    escape::word(line.record.user().unwrap_or(b"-"), lines);
    put(lines, format_args!(" [{}] \"", time.classic()));
    match line.record.method {
        Some(method) => {
            put(lines, format_args!("{method} "));
            escape::plain(line.target().unwrap_or(b"-"), lines);
            put(lines, format_args!(" {}\" ", line.version()));
        }
        None => lines.extend_from_slice(b"-\" "),
    }
    let content_bytes = Some(line.record.content_bytes()).filter(|n| *n > 0);
    put(lines, format_args!("{} {}", or_dash(line.status()), or_dash(content_bytes)));
}

/// The common format, then `"%{Referer}i" "%{User-Agent}i"`, and the verdict behind that.
pub(super) fn combined(line: &Line<'_>, time: &TimeText, lines: &mut Vec<u8>) {
    usual(line, time, lines);
    for value in [line.record.referer(), line.record.user_agent()] {
        lines.extend_from_slice(b" \"");
        escape::plain(if value.is_empty() { b"-" } else { value }, lines);
        lines.push(b'"');
    }
    behind_the_usual(line, lines);
}

/// The verdict, and the identifier if the request has one.
fn behind_the_usual(line: &Line<'_>, lines: &mut Vec<u8>) {
    put(lines, format_args!(" {}", line.record.verdict()));
    if !line.record.id().is_empty() {
        lines.push(b' ');
        escape::plain(line.record.id(), lines);
    }
}

/// Whom a trusted proxy names, or else the peer.
fn host(line: &Line<'_>) -> impl fmt::Display {
    let (client, peer) = (line.record.client, line.peer);
    fmt::from_fn(move |f| match (client, peer) {
        (Some(client), _) => write!(f, "{}", client.ip),
        (None, Peer::Ip(address)) => write!(f, "{}", address.ip()),
        (None, Peer::Unix) => f.write_str("unix:"),
    })
}

fn or_dash(number: Option<impl fmt::Display>) -> impl fmt::Display {
    fmt::from_fn(move |f| match &number {
        Some(number) => number.fmt(f),
        None => f.write_str("-"),
    })
}
